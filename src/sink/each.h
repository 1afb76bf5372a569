/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The sink behind "etchlet watch KEY -- CMD ARG...": runs CMD once per event, one at a time, with
 * the event in the environment as etcdctl has it: ETCD_WATCH_REVISION (the event's own revision),
 * ETCD_WATCH_EVENT_TYPE, ETCD_WATCH_KEY and ETCD_WATCH_VALUE, these three quoted as Go's %q does. A
 * listed key is a PUT; lines about the stream run nothing.
 *
 * Processed means: it ended with 0. Anything else, or longer than timeout_ms (then SIGTERM, and
 * PROGRAM_KILL_MS later SIGKILL to its process group), is tried again with the same event, after an
 * exponential delay with full jitter. A failure is logged once, when its reason changes and when it
 * is over.
 *
 * Linux gives one string of the environment 128 KiB: where a quoted value does not fit, CMD runs
 * without ETCD_WATCH_VALUE, and this is logged.
 *
 * Put it behind print among a watch's sinks: commands start at the end of the loop's turn, when the
 * event has been written.
 */
#ifndef ETCHLET_SINK_EACH_H
#define ETCHLET_SINK_EACH_H

#include "base/log.h"
#include "base/loop.h"
#include "base/quote.h"
#include "sink/attempt.h"
#include "sink/program.h"
#include "sink/sink.h"

enum {
	EACH_REVISION_MAX = 48, /* bytes of ETCD_WATCH_REVISION=... */
};

struct each_cfg {
	struct loop *loop;
	char *const *argv; /* NULL-terminated; must live as long as the sink */
	int64_t timeout_ms; /* 0: none */
	int64_t backoff_min_ms, backoff_max_ms;
};

/* See each.c */
enum each_state {
	EACH_IDLE,
	EACH_FILL,
	EACH_READY,
	EACH_RUN,
	EACH_WAIT,
	EACH_STOPPED,
};

struct each_sink {
	struct sink sink;
	struct each_cfg cfg; /* private, as is all that follows */
	enum each_state state;
	struct program program;
	struct loop_task task;
	struct loop_timer timer; /* for the next try */
	struct quote quote; /* of the value */
	char *key_mem; /* ETCD_WATCH_KEY=..., terminated */
	char *value_mem; /* ETCD_WATCH_VALUE=..., terminated */
	char revision[EACH_REVISION_MAX];
	bool is_delete, is_value_long;
	bool is_stopping;
	bool is_pending; /* an event was taken and is not processed */
	int64_t mod_rev;
	int64_t commit_rev; /* told by commit(), not processed yet; 0: none */
	struct attempt attempt; /* reason: an exit status, or a code below 0 */
};

/*
 * Allocates the memory for one environment, CONFIG_EACH_ENV_BYTES + 4 * CONFIG_ETCD_KEY_BYTES,
 * once. Fills in sink.ops and sink.name; the owner sets wake, fail and user. 0 or ERR_NOMEM.
 */
int each_init(struct each_sink *s, const struct each_cfg *cfg);
/* Whether a command runs just now. */
bool each_is_running(const struct each_sink *s);
/* Call it upon PORT_SIGNAL_CHILD. */
void each_child_ended(struct each_sink *s);
/* Harmless after a failed each_init(). A command that still runs is killed. */
void each_free(struct each_sink *s);

#endif
