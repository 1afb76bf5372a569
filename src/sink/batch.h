/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What sinks have in common that deal with a batch at a time: gathered as JSON lines, then tried until it is processed.
 *
 * A batch is what came with one answer of the server, or within settle_ms after the first one; a
 * whole listing is one, an empty one too. Its lines are gathered in a spool (memory of the system up to
 * CONFIG_BATCH_SPOOL_BYTES, a file without a name beyond). Once it is whole it stays as it is until it is
 * processed: a try that fails is made again after an exponential delay with full jitter. Meanwhile, and during a
 * try, event() answers ERR_BUSY: nothing is queued here. A listing supersedes a batch whose try has
 * failed; during a try, sync_begin() answers ERR_BUSY.
 *
 * The owner brings what a try is: a program that runs, a request that is made.
 *
 * A failure is logged once, when its reason changes and when it is over; fail() is called for each.
 */
#ifndef ETCHLET_SINK_BATCH_H
#define ETCHLET_SINK_BATCH_H

#include "base/loop.h"
#include "sink/attempt.h"
#include "sink/print.h"
#include "sink/sink.h"

struct batch;

enum {
	BATCH_EMPTY = 1, /* prepare(): nothing is left of it, and so it is processed */
};

/* Called from the loop, but for begin(), drop() and stop(). */
struct batch_ops {
	/* A batch begins, before its first line. NULL: that is nothing. */
	void (*begin)(struct batch *b);
	/* Whether a try has to wait for something; batch_ready() tells that this may have changed. NULL: never. */
	bool (*must_wait)(struct batch *b);
	/* A step of what is due before a try. 0: it is made; BATCH_EMPTY; ERR_AGAIN: the next step is taken in
	 * another turn; another error: the try has failed with it. NULL: nothing is due. */
	int (*prepare)(struct batch *b, bool is_first);
	/* A try begins: 0, and batch_ended() follows, not from within; or an error that it has failed with. */
	int (*start)(struct batch *b);
	/* It has to end: batch_ended() is called within timeout_ms, from within or later. */
	void (*stop)(struct batch *b, int64_t timeout_ms);
	/* Words for the result of a try that failed, into b->sink.why. */
	void (*describe)(struct batch *b, int result);
	/* The batch is gone, with what the owner keeps for it. NULL: that is nothing. */
	void (*drop)(struct batch *b);
	/* As that of struct sink_ops. */
	void (*now)(const struct batch *b, char *dst, size_t cap);
};

struct batch_cfg {
	struct loop *loop;
	const struct batch_ops *ops;
	const char *kind; /* what log lines begin with: "hook" */
	const char *sink_name; /* "exec" */
	const char *watch_name;
	const char *subject; /* what "works again" */
	int64_t settle_ms; /* 0: a batch ends with its answer */
	int64_t backoff_min_ms, backoff_max_ms;
	bool want_prev;
	size_t (*path)(void *user, const uint8_t *key, size_t key_len, char *dst,
		size_t cap); /* as in struct print_cfg; NULL: puts have their values */
	void *path_user;
	const char *spool_folder; /* lives as long as the sink; NULL: CONFIG_BATCH_SPOOL_FOLDER */
	size_t mem_len; /* bytes for the owner, in b->mem */
};

/* See batch.c */
enum batch_state {
	BATCH_IDLE,
	BATCH_GATHER,
	BATCH_SETTLE,
	BATCH_LIST,
	BATCH_LISTED,
	BATCH_READY,
	BATCH_AWAIT,
	BATCH_PREPARE,
	BATCH_RUN,
	BATCH_WAIT,
	BATCH_STOPPED,
};

struct batch {
	struct sink sink;
	struct batch_cfg
		cfg; /* private, as is all that follows, but for what the owner is told of */
	enum batch_state state;
	struct print_sink print; /* makes the lines */
	struct print_out
		*out; /* from the heap: their buffer; the owner may use its hold in prepare() */
	char *mem; /* the owner's, mem_len bytes */
	struct port_spool spool; /* the lines, for the owner to read */
	struct attempt attempt; /* reason: the result of a try, or a code below 0 */
	struct loop_task task;
	struct loop_timer timer; /* the deadline of the state */
	int64_t settle_due_ms; /* 0: the batch has no whole answer yet */
	int64_t commit_rev; /* told by commit(), not processed yet; 0: none */
	int64_t revision; /* for the owner: the highest of the batch, or the listing's */
	const char *reason; /* for the owner: "event", or that of the listing */
	int64_t not_before_ms; /* the owner's, set in describe(): the next try comes at that time or later; 0: any */
	bool is_held; /* the owner's, set in describe(): only a person can help, tried at the longest delay */
	bool is_listing; /* for the owner */
	bool is_stopping;
	bool is_awaited; /* somebody was told that no listing can begin now */
};

/*
 * Allocates once: the buffers of its lines, sizeof(struct print_out), and mem. Fills in
 * sink.ops and sink.name; the owner of the sink sets wake, fail and user. 0, ERR_NOMEM, or ERR_LIMIT or
 * ERR_RANGE: the watch's name.
 */
int batch_init(struct batch *b, const struct batch_cfg *cfg);
/* Whether a try is under way. */
static inline bool batch_is_running(const struct batch *b)
{
	return b->state == BATCH_RUN;
}
/* The try has ended: 0, the batch is processed; else a result for describe(), an error below 0. */
void batch_ended(struct batch *b, int result);
/* The try has ended, and the batch counts as processed though nobody has taken it; the owner tells. */
void batch_skip(struct batch *b);
/* What must_wait() looks at has changed. May be called at any time. */
void batch_ready(struct batch *b);
/* The delays of the tries to come; one that is waited for now is not longer than backoff_max_ms. */
void batch_set_backoff(struct batch *b, int64_t backoff_min_ms, int64_t backoff_max_ms);
/* Harmless after a failed batch_init(), and on zeros. The owner has ended a try before. */
void batch_free(struct batch *b);

#endif
