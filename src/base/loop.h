/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The loop: one thread, one poll, and the tick scheduler that tells it how long to sleep.
 *
 * Everything that waits is an intrusive node which its owner embeds and initialises: a loop_fd, a
 * loop_timer or a loop_task. The loop allocates nothing and owns none of them.
 *
 * "Now" is read once per turn and handed down as loop->now_ms (monotonic milliseconds). There is no
 * periodic tick: the loop sleeps until the nearest deadline. A timer may slide (slack_ms), so that
 * several of them fall on one wake-up.
 */
#ifndef ETCHLET_BASE_LOOP_H
#define ETCHLET_BASE_LOOP_H

#include <stdbool.h>
#include <stdint.h>

#include "port/port.h"

struct loop;
struct loop_fd;
struct loop_timer;
struct loop_task;

/* events: a set of PORT_POLL_IN and PORT_POLL_OUT; errors and hang-ups come as PORT_POLL_ERR. */
typedef void loop_fd_fn(struct loop_fd *fd, int events);
typedef void loop_timer_fn(struct loop_timer *timer);
typedef void loop_task_fn(struct loop_task *task);

struct loop_fd {
	int fd; /* owned by the caller; -1 when not watched */
	int want; /* PORT_POLL_IN | PORT_POLL_OUT; 0: errors only */
	loop_fd_fn *fn;
	void *user;
	struct loop_fd *next; /* private */
	bool is_added; /* private */
};

struct loop_timer {
	int64_t due_ms; /* monotonic; read it only while is_set */
	uint32_t slack_ms; /* may fire that much later, to join another wake-up */
	bool is_set;
	loop_timer_fn *fn;
	void *user;
	struct loop_timer *next; /* private */
};

/* Runs once at the end of the turn in which it was posted. */
struct loop_task {
	bool is_posted;
	loop_task_fn *fn;
	void *user;
	struct loop_task *next; /* private */
};

struct loop {
	int64_t now_ms; /* monotonic, of this turn */
	uint64_t wakeups; /* how often poll returned */
	bool is_stopped;
	bool is_in_timers; /* private */
	struct loop_fd *fds;
	struct loop_timer *timers; /* ordered by due_ms */
	struct loop_task *tasks, **tasks_end;
};

void loop_init(struct loop *loop);

/* Reads the clock again; for what runs outside a turn. */
void loop_update_now(struct loop *loop);

/* At most CONFIG_LOOP_FD_COUNT at once: one more returns ERR_LIMIT. fd->want may be changed at any time. */
int loop_fd_add(struct loop *loop, struct loop_fd *fd);
/* Harmless when it is not added. Safe inside any callback, also for another node. */
void loop_fd_remove(struct loop *loop, struct loop_fd *fd);

/* Sets or moves the deadline to now + delay_ms. */
void loop_timer_set(struct loop *loop, struct loop_timer *timer, int64_t delay_ms);
void loop_timer_set_at(struct loop *loop, struct loop_timer *timer, int64_t due_ms);
void loop_timer_clear(struct loop *loop, struct loop_timer *timer);

/* Posting a task that is already posted does nothing. A task may post others: they run in the same turn's end. */
void loop_task_post(struct loop *loop, struct loop_task *task);
void loop_task_cancel(struct loop *loop, struct loop_task *task);

/* One turn: sleep until something is due, call what is due. Returns 0, or ERR_IO when poll fails. */
int loop_turn(struct loop *loop);

/* Turns until loop_stop(). */
int loop_run(struct loop *loop);
void loop_stop(struct loop *loop);

#endif
