/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A program that a sink runs: one at a time, in a process group of its own, and not for longer than
 * it may. Then, and at a stop, SIGTERM goes to the group, and SIGKILL later. What it left running
 * goes on, unless it was ended that way.
 */
#ifndef ETCHLET_SINK_PROGRAM_H
#define ETCHLET_SINK_PROGRAM_H

#include "base/loop.h"

enum {
	PROGRAM_KILL_MS = 5000, /* from SIGTERM to SIGKILL */
	PROGRAM_STOP_MS = 2000, /* what it gets at a stop before SIGTERM */
	PROGRAM_POLL_MS = 1000, /* its end is looked for that often, should SIGCHLD be missed */
};

/* See program.c */
enum program_state {
	PROGRAM_IDLE,
	PROGRAM_RUN,
	PROGRAM_TERM,
	PROGRAM_KILL,
};

struct program {
	struct loop *loop; /* the owner fills in these four */
	int64_t timeout_ms; /* 0: none */
	/* From the loop: its exit status, or 128 + the signal that ended it; or ERR_TIMEOUT, whatever
	 * its status. It may be started again at once. */
	void (*ended)(struct program *p, int result);
	void *user;
	enum program_state state; /* private, as is all that follows */
	struct port_child child;
	struct loop_timer timer; /* the deadline of the state */
	struct loop_timer poll; /* for an end that was not told */
	bool is_stopping;
	bool was_late; /* its time was over */
	int64_t stop_due_ms;
};

/* As port_child_start(), and with its errors. Not while it runs. */
int program_start(struct program *p, char *const argv[], char *const env[], int stdin_fd,
	int stdout_fd, int stderr_fd);
static inline bool program_is_running(const struct program *p)
{
	return p->state != PROGRAM_IDLE;
}
/* Call it upon PORT_SIGNAL_CHILD. */
void program_child_ended(struct program *p);
/* It runs, and has to end: ended() is called within timeout_ms, though not even SIGKILL may have
 * ended it. */
void program_stop(struct program *p, int64_t timeout_ms);
/* Kills it where it runs, without ended(). Harmless on zeros. */
void program_free(struct program *p);

#endif
