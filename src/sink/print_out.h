/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One output that events are printed to: standard output, a file, a FIFO, or a spool that a program
 * is given, with its buffer.
 *
 * All print sinks that name the same path share one (run's watches with "print = -"). A sink holds
 * it from the beginning of a line to its end, so lines never mix. What is printed is gathered, and
 * written when the buffer is full and at the end of the loop's turn.
 *
 * Trouble is logged here: once, when its reason changes, and when it is over. It is tried again
 * every PRINT_RETRY_MS, and nothing is lost meanwhile. Only one thing is for good: standard output
 * without a reader (ERR_PIPE). A FIFO that lost its reader waits for the next one; what went into a
 * FIFO counts as written. Writes to a FIFO end at a line's end where they can, so that only a line
 * of more than PRINT_ATOMIC_LEN bytes can be torn by a reader that leaves; its rest is then passed
 * over, and this is logged.
 *
 * A spool's trouble is for its one client to log.
 */
#ifndef ETCHLET_SINK_PRINT_OUT_H
#define ETCHLET_SINK_PRINT_OUT_H

#include "base/buf.h"
#include "base/loop.h"

enum {
	PRINT_MARK_COUNT =
		8, /* commits of one sink that may wait for their bytes, each for itself */
	PRINT_RETRY_MS = 1000, /* an output in trouble is tried again */
	PRINT_ATOMIC_LEN = 4096, /* bytes that Linux writes into a pipe as a whole (PIPE_BUF) */
	PRINT_HOLD_LEN = CONFIG_PRINT_VALUE_BYTES > CONFIG_ETCD_KEY_BYTES ? CONFIG_PRINT_VALUE_BYTES
									  : CONFIG_ETCD_KEY_BYTES,
};

struct print_mark {
	uint64_t offset; /* bytes written since the start that it waits for */
	int64_t revision;
};

/* Who prints to an output. */
struct print_client {
	struct print_out *out;
	struct print_client *next;
	/* From the loop, never from within a call: done_rev moved, or there is room again. */
	void (*wake)(struct print_client *c);
	/* The same: trouble has begun, or has another reason. ERR_PIPE: for good. */
	void (*fail)(struct print_client *c, int err);
	/* From anywhere: the trouble is over. NULL: that need not be told. */
	void (*over)(struct print_client *c);
	int64_t done_rev;
	bool want_room, want_fail, has_moved; /* private, as is what follows */
	struct print_mark marks[PRINT_MARK_COUNT];
	size_t mark_count;
};

struct print_out {
	struct loop *loop;
	const char *path;
	bool is_json; /* lines end where a line feed is: a torn one can be passed over */
	struct port_spool *spool; /* in place of path and output; NULL: none */
	struct port_output output;
	bool is_open;
	bool is_failed; /* for good */
	bool is_blocked; /* waits for the descriptor or the timer */
	bool is_mid_line; /* the last byte written was not a line feed */
	bool is_skipping; /* the rest of a line whose reader left */
	bool is_torn; /* the last line has no end, and its client is gone */
	int trouble; /* its code; 0: none */
	struct loop_fd fd;
	struct loop_timer timer;
	struct loop_task task;
	struct print_client *clients;
	struct print_client *holder; /* whose line has begun */
	uint64_t written; /* bytes that are done with since the start */
	struct buf buf;
	uint8_t mem[CONFIG_PRINT_BUFFER_BYTES];
	/* The holder's: a key or value that is not printed yet. */
	size_t hold_len, hold_at; /* bytes held, and how many of them are printed */
	uint8_t hold[PRINT_HOLD_LEN];
};

/* Nothing is opened, and nothing can fail: the spool is its owner's. */
void print_out_open_spool(struct print_out *o, struct loop *loop, struct port_spool *spool);

/*
 * Opens path ("-": standard output), which must live as long as o. 0, also when a FIFO has no
 * reader yet; else what the first try ended with: it is logged, and tried again like any other
 * trouble.
 */
int print_out_open(struct print_out *o, struct loop *loop, const char *path);
/* Writes what the output takes now and closes it. Its clients may only be taken away afterwards.
 * Harmless when it was never opened and is all zero. */
void print_out_close(struct print_out *o);

/* What was written is on storage after it: for a position that is to be saved. 0 or an error. */
int print_out_sync(struct print_out *o);

/* c: wake and fail filled in, the rest zero. */
void print_out_add(struct print_out *o, struct print_client *c);
void print_out_remove(struct print_client *c);

/* Becomes the holder, or stays it. false: another one holds it, wake() tells. */
bool print_out_hold(struct print_client *c);
void print_out_release(struct print_client *c);

/* A listing begins: no revision of before counts any more, for it may be of another history. */
void print_out_forget(struct print_client *c);

/* Up to revision all has been printed. done_rev follows, at once or later. */
void print_out_commit(struct print_client *c, int64_t revision);

/* What c has printed and is not written yet is forgotten, and a trouble is not waited for. c is the
 * only client. */
void print_out_drop(struct print_client *c);

/* Writes what the output takes now. Returns whether nothing is left. */
bool print_out_flush(struct print_out *o);

/* Whether a FIFO has no reader. */
bool print_out_is_unread(const struct print_out *o);
/* Whether a trouble is waited for, tried at once. */
void print_out_retry(struct print_out *o);

/* The slow way of print_out_room(). */
uint8_t *print_out_make_room(struct print_client *c, size_t len);

/* Where the holder may write len bytes (at most half the buffer); NULL: not now, wake() tells. */
static inline uint8_t *print_out_room(struct print_client *c, size_t len)
{
	struct buf *b = &c->out->buf;

	if (len <= b->cap - b->tail && !c->out->is_failed)
		return b->mem + b->tail;
	return print_out_make_room(c, len);
}

/* How many bytes it may write there. */
static inline size_t print_out_room_len(const struct print_client *c)
{
	return c->out->buf.cap - c->out->buf.tail;
}

/* It has written len bytes there. */
static inline void print_out_added(struct print_client *c, size_t len)
{
	c->out->buf.tail += len;
	if (!c->out->task.is_posted)
		loop_task_post(c->out->loop, &c->out->task);
}

#endif
