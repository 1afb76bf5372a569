/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the files of "etchlet run" share. Nothing else includes it.
 *
 * run.c has the command's life, run_watch.c one watch with its sinks, run_reload.c the reading of a
 * changed file.
 *
 * A watch of the file lives in one block of memory: the struct below, its sinks, and its own copy of
 * its section, so that the configuration it came from may be replaced. Blocks are made at the start
 * and at a reload, and given back when their watch has ended.
 */
#ifndef ETCHLET_CMD_RUN_H
#define ETCHLET_CMD_RUN_H

#include "cmd/client.h"
#include "cmd/control.h"
#include "cmd/metrics.h"
#include "cmd/notify.h"
#include "cmd/progress.h"
#include "cmd/report.h"
#include "sink/fetch.h"
#include "sink/hook.h"
#include "sink/mirror.h"
#include "sink/post.h"
#include "sink/print.h"
#include "sync/agent.h"

enum {
	RUN_STOP_MS = 800, /* a stop takes at most a second */
	RUN_STOP_HOOK_MS = 6800, /* or seven, when a hook runs */
	RUN_OPEN_RETRY_MS =
		5000, /* a mirror that can't be opened is tried that often, with jitter */
	RUN_FORGET_RETRY_MS = 10000, /* what could not be forgotten is tried that often */
	RUN_WHY_MAX = 256, /* bytes of a sink's condition */
};

/* A path that is printed to, shared by all watches that name it. */
struct run_out {
	struct run_out *next;
	unsigned users; /* watches that hold it */
	bool is_open;
	struct print_out out;
	char path[];
};

/*
 *	QUEUED -> CLOSED         the watch it takes the place of has ended
 *	CLOSED -> OPEN           its sinks are open, and the agent has it
 *	OPEN -> LEAVING          the file has no place for it any more
 *	QUEUED, CLOSED, LEAVING -> gone
 */
enum run_watch_state {
	RUN_WATCH_QUEUED,
	RUN_WATCH_CLOSED, /* its mirror can't be opened now; tried again at its timer */
	RUN_WATCH_OPEN,
	RUN_WATCH_LEAVING, /* its sinks are given the time to end */
};

struct run_cmd;

struct run_watch {
	struct run_cmd *run;
	struct run_watch *next; /* in the order of the file, those that leave among them */
	enum run_watch_state state;
	struct conf_watch conf; /* a copy of its own */
	const char *device; /* the same, for the hook and for headers */
	const char *http_cacert; /* the same, of a watch with post or fetch; NULL: none */
	struct watch watch; /* its trouble is that of opening until the agent has it */
	struct loop_timer timer; /* the next try to open, while CLOSED */
	/* Of the same block; NULL: the watch has none. */
	struct mirror_sink *mirror;
	struct print_sink *print;
	struct post_sink *post;
	struct fetch_sink *fetch;
	struct hook_sink *hook;
	struct run_out *out;
};

struct run_cmd {
	struct client client;
	struct agent agent;
	struct conf *conf; /* the one at hand */
	struct conf *spare; /* what the next one is read into; NULL: not there yet */
	char *state_path, *control_path; /* as they were at the start */
	char *metrics_path; /* as it is written now; NULL: it is not */
	uint8_t durability;
	struct run_watch *watches;
	struct run_out *outs;
	struct report report;
	struct report_watch rows[CONFIG_CONF_WATCH_COUNT];
	struct control control;
	struct metrics metrics;
	struct notify notify;
	struct progress progress;
	struct loop_timer timeout;
	struct loop_timer forget; /* the next try of what could not be forgotten */
	struct trouble forget_trouble;
	bool is_stopping;
	int status;
};

/* -- run.c -- */

bool run_has_hook(const struct run_cmd *run);
/* The report's table of watches, after they have changed. */
void run_list_watches(struct run_cmd *run);
/* Positions that the file wants to be forgotten; name NULL: all of them, else this one if it is among them. What can't be
 * now is tried again by itself. */
void run_forget(struct run_cmd *run, const char *name);
/* The metrics file, as conf wants it. */
void run_open_metrics(struct run_cmd *run);

/* -- run_watch.c -- */

/*
 * Makes the block of a section of conf, for run->watches or a list that may still be dropped:
 * nothing is opened. 0; or ERR_CONFIG, and conf->why says what is wrong.
 */
int run_watch_make(struct run_cmd *run, struct conf *conf, const struct conf_watch *section,
	struct run_watch **out);
/* Whether a start would refuse its mirror, URL or certificates: ERR_CONFIG, and conf->why says why; else 0. */
int run_watch_check(struct run_watch *w, struct conf *conf);
/* Opens it and gives it to the agent; what goes wrong is told, and tried again by itself. CMD_DONE; or, at the start,
 * the exit status after a line: another agent has its mirror, or this lies in that of another watch. At the start
 * run_watch_begin() follows. */
int run_watch_open(struct run_watch *w, bool is_start);
/* At the start: gives it to the agent, if it is open. */
void run_watch_begin(struct run_watch *w);
/* What can be opened now is: after another has ended, or upon SIGUSR1. */
void run_watch_open_all(struct run_cmd *run);
/* The file has no place for it any more. It may be gone afterwards. */
void run_watch_leave(struct run_watch *w);
/* The agent has taken it out: struct agent's removed(). */
void run_watch_left(struct agent *a, struct watch *w);
/* Its sinks take over the delays of run->conf, and read their certificates again. */
void run_watch_reload(struct run_watch *w);
/* Gives everything back; after the agent has stopped, or has never had it. */
void run_watch_free(struct run_watch *w);
/* --once: whether it has processed what there was at the start. */
bool run_watch_is_done(const struct run_watch *w);
/* What is wrong with it, for a person, in dst or elsewhere; NULL: nothing is known. */
const char *run_watch_why(const struct run_watch *w, char *dst, size_t cap);

/* -- run_reload.c -- */

void run_reload(struct run_cmd *run);

#endif
