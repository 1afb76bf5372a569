/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The sink that runs a program for each batch: "exec = PROGRAM ARG..." of a watch.
 *
 * A batch is what came with one answer of the server, or within settle_ms after the first one; a
 * whole listing is one, an empty one too. Its JSON lines are gathered in a spool (memory of the system up to
 * CONFIG_HOOK_SPOOL_BYTES, a file without a name beyond), which is the program's standard input, so
 * that a program that does not read holds nobody up. In a watch with a mirror a put has "path" in
 * place of its value; where a file's place has changed by the time the program starts, it has the
 * new one.
 *
 * Processed means: it ended with 0. Anything else, or longer than timeout_ms (SIGTERM, PROGRAM_KILL_MS
 * later SIGKILL to its process group), and the same batch is tried again after an exponential delay
 * with full jitter. Meanwhile, and while it runs, event() answers ERR_BUSY: nothing is queued here. A
 * listing supersedes a batch that failed; while the program runs, sync_begin() answers ERR_BUSY.
 *
 * What the program prints is logged line by line (hook_log.h). Its pipe is closed when it ends: what it left
 * running after success stays, and must have an output of its own.
 *
 * A failure is logged once, when its reason changes and when it is over; fail() is called for each,
 * with ERR_TIMEOUT, ERR_IO for an exit status or a signal, or what kept it from being started.
 */
#ifndef ETCHLET_SINK_HOOK_H
#define ETCHLET_SINK_HOOK_H

#include "base/loop.h"
#include "sink/attempt.h"
#include "sink/hook_log.h"
#include "sink/hook_path.h"
#include "sink/print.h"
#include "sink/program.h"
#include "sink/sink.h"

struct mirror_sink;

/* The three of mirror.h by these names, in a build that has it: where a key's file is. */
struct hook_mirror {
	size_t (*key_path)(
		struct mirror_sink *m, const uint8_t *key, size_t key_len, char *dst, size_t cap);
	size_t (*path_now)(
		struct mirror_sink *m, const char *path, size_t len, char *dst, size_t cap);
	uint32_t (*shape)(const struct mirror_sink *m);
};

enum {
	HOOK_REVISION_MAX = 40, /* bytes of ETCHLET_REVISION=... */
	HOOK_REASON_MAX = 40, /* bytes of ETCHLET_REASON=... */
};

struct hook_cfg {
	struct loop *loop;
	const char *watch_name;
	char *const *argv; /* NULL-terminated; lives as long as the sink */
	int64_t timeout_ms; /* 0: none */
	int64_t settle_ms; /* 0: a batch ends with its answer */
	int64_t backoff_min_ms, backoff_max_ms;
	bool want_prev;
	struct mirror_sink *mirror; /* of the same watch; NULL: none */
	const struct hook_mirror *mirror_ops; /* with it */
	const char *mirror_path; /* ETCHLET_MIRROR, made absolute; NULL: not set */
	const char *device; /* ETCHLET_DEVICE; NULL: not set */
	const char *spool_folder; /* lives as long as the sink; NULL: CONFIG_HOOK_SPOOL_FOLDER */
};

/* See hook.c */
enum hook_state {
	HOOK_IDLE,
	HOOK_GATHER,
	HOOK_SETTLE,
	HOOK_LIST,
	HOOK_LISTED,
	HOOK_READY,
	HOOK_PATHS,
	HOOK_RUN,
	HOOK_WAIT,
	HOOK_STOPPED,
};

struct hook_sink {
	struct sink sink;
	struct hook_cfg cfg; /* private, as is all that follows */
	enum hook_state state;
	struct print_sink print; /* makes the lines */
	struct print_out *out; /* from the heap: their buffer, and what a path is worked out in */
	struct port_spool spool; /* the batch */
	struct port_spool next_spool; /* the batch with other paths, while they are put in */
	struct hook_path paths;
	struct hook_log log;
	struct attempt attempt; /* reason: an exit status, or a code below 0 */
	struct program program;
	struct loop_fd output; /* of the program; fd -1: closed */
	struct loop_task task;
	struct loop_timer timer; /* the deadline of the state */
	int64_t settle_due_ms; /* 0: the batch has no whole answer yet */
	int64_t commit_rev; /* told by commit(), not processed yet; 0: none */
	int64_t batch_rev; /* ETCHLET_REVISION */
	uint32_t shape; /* of the mirror, when the paths of the batch were right */
	uint32_t next_shape; /* for those that are being put in */
	bool is_stopping;
	bool is_awaited; /* somebody was told that no listing can begin now */
	const char *env_watch, *env_mirror, *env_device; /* from the heap, behind out */
	char env_revision[HOOK_REVISION_MAX];
	char env_reason[HOOK_REASON_MAX];
};

/*
 * Allocates once: the buffers of its lines, sizeof(struct print_out), and the environment. Fills in
 * sink.ops and sink.name; the owner sets wake, fail and user. 0, ERR_NOMEM, or ERR_LIMIT or ERR_RANGE: the watch's name.
 */
int hook_init(struct hook_sink *s, const struct hook_cfg *cfg);
/* Whether a program runs just now. */
bool hook_is_running(const struct hook_sink *s);
/* Call it upon PORT_SIGNAL_CHILD. */
void hook_child_ended(struct hook_sink *s);
/* The delays of the tries to come; one that is waited for now is not longer than backoff_max_ms. */
void hook_set_backoff(struct hook_sink *s, int64_t backoff_min_ms, int64_t backoff_max_ms);
/* Harmless after a failed hook_init(), and on zeros. A program that still runs is killed. */
void hook_free(struct hook_sink *s);
/* For check: whether the program can be run, as PATH finds it. 0, ERR_NOENT, ERR_ACCESS. */
int hook_check(char *const argv[]);

#endif
