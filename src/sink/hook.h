/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The sink that runs a program for each batch: "exec = PROGRAM ARG..." of a watch.
 *
 * The batch's lines (sink/batch.h) are the program's standard input, so
 * that a program that does not read holds nobody up. Where the watch keeps files, in a mirror or by
 * fetch, a put has "path" in place of its value; where a file's place has changed by the time the
 * program starts, it has the new one. The program does not start before the files are in place.
 *
 * Processed means: it ended with 0. Anything else, or longer than timeout_ms (SIGTERM, PROGRAM_KILL_MS
 * later SIGKILL to its process group), and the same batch is tried again.
 *
 * What the program prints is logged line by line (hook_log.h). Its pipe is closed when it ends: what it left
 * running after success stays, and must have an output of its own.
 *
 * fail() is called with ERR_TIMEOUT, ERR_IO for an exit status or a signal, or what kept it from being started.
 */
#ifndef ETCHLET_SINK_HOOK_H
#define ETCHLET_SINK_HOOK_H

#include "base/loop.h"
#include "sink/batch.h"
#include "sink/hook_log.h"
#include "sink/hook_path.h"
#include "sink/program.h"

/* Where the files of a watch are; user: what keeps them, a sink before this one. */
struct hook_files {
	/* What the batch has for a key's file until the program starts, as struct print_cfg asks for it. */
	size_t (*key_path)(void *user, const uint8_t *key, size_t key_len, char *dst, size_t cap);
	/* The path in place of that, terminated; 0: it has none. */
	size_t (*path_now)(void *user, const char *path, size_t len, char *dst, size_t cap);
	/* Another number when a path may have changed. */
	uint32_t (*shape)(void *user);
	/* Files of events up to this revision are in place, or will never be. NULL: of all that it was given. */
	int64_t (*done_rev)(void *user);
	/* A line whose path_now() is 0 is left out of what the program gets, and path_now() is asked at the first try
	 * and always for what key_path() gave; else the line keeps the path that it had. */
	bool is_line_dropped;
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
	const struct hook_files *files; /* of the same watch; NULL: none */
	void *files_user; /* with it */
	const char *mirror_path; /* ETCHLET_MIRROR, made absolute; NULL: not set */
	const char *fetch_path; /* ETCHLET_FETCH, as well */
	const char *device; /* ETCHLET_DEVICE; NULL: not set */
	const char *spool_folder; /* lives as long as the sink; NULL: CONFIG_BATCH_SPOOL_FOLDER */
};

struct hook_sink {
	struct batch batch;
	struct hook_cfg cfg; /* private, as is all that follows */
	struct port_spool next_spool; /* the batch with other paths */
	struct hook_path paths; /* while they are put in */
	struct hook_log log;
	struct program program;
	struct loop_fd output; /* of the program; fd -1: closed */
	struct loop_timer output_timer; /* where the loop has no room for it */
	uint32_t shape; /* of the files, when the paths of the batch were right */
	uint32_t next_shape; /* for those that are being put in */
	bool is_in_next; /* the program gets next_spool */
	const char *env_watch, *env_mirror, *env_fetch, *env_device; /* in batch.mem */
	char env_revision[HOOK_REVISION_MAX];
	char env_reason[HOOK_REASON_MAX];
};

/*
 * As batch_init(): it allocates once, with the environment. Fills in batch.sink.ops and name; the owner sets wake, fail and
 * user. 0, ERR_NOMEM, or ERR_LIMIT or ERR_RANGE: the watch's name.
 */
int hook_init(struct hook_sink *s, const struct hook_cfg *cfg);
/* Whether a program runs just now. */
static inline bool hook_is_running(const struct hook_sink *s)
{
	return batch_is_running(&s->batch);
}
/* cfg.files->done_rev() has moved. May be called at any time. */
void hook_files_moved(struct hook_sink *s);
/* Call it upon PORT_SIGNAL_CHILD. */
void hook_child_ended(struct hook_sink *s);
/* The delays of the tries to come; one that is waited for now is not longer than backoff_max_ms. */
void hook_set_backoff(struct hook_sink *s, int64_t backoff_min_ms, int64_t backoff_max_ms);
/* Harmless after a failed hook_init(), and on zeros. A program that still runs is killed. */
void hook_free(struct hook_sink *s);
/* For check: whether the program can be run, as PATH finds it. 0, ERR_NOENT, ERR_ACCESS. */
int hook_check(char *const argv[]);

#endif
