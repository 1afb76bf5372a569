/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A byte buffer over memory of its owner: bytes are added at the tail and taken from the head. It
 * cannot exist without a cap, and never grows.
 */
#ifndef ETCHLET_BASE_BUF_H
#define ETCHLET_BASE_BUF_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/err.h"

struct buf {
	uint8_t *mem;
	size_t cap;
	size_t head; /* first byte that is held */
	size_t tail; /* one past the last */
};

static inline void buf_init(struct buf *b, void *mem, size_t cap)
{
	b->mem = mem;
	b->cap = cap;
	b->head = b->tail = 0;
}

static inline size_t buf_len(const struct buf *b)
{
	return b->tail - b->head;
}

/* Bytes that buf_put() would take. */
static inline size_t buf_room(const struct buf *b)
{
	return b->cap - buf_len(b);
}

static inline uint8_t *buf_head(const struct buf *b)
{
	return b->mem + b->head;
}

static inline void buf_clear(struct buf *b)
{
	b->head = b->tail = 0;
}

/* Takes len bytes from the head; len is at most buf_len(). */
static inline void buf_drop(struct buf *b, size_t len)
{
	b->head += len;
	if (b->head == b->tail)
		b->head = b->tail = 0;
}

/* Moves what is held to the front, so that all room is at the tail. Returns where to write. */
static inline uint8_t *buf_tail(struct buf *b)
{
	if (b->head) {
		memmove(b->mem, b->mem + b->head, buf_len(b));
		b->tail -= b->head;
		b->head = 0;
	}
	return b->mem + b->tail;
}

/* After up to buf_room() bytes were written at buf_tail(). */
static inline void buf_added(struct buf *b, size_t len)
{
	b->tail += len;
}

/* All of it or nothing: ERR_AGAIN when there is no room. */
static inline int buf_put(struct buf *b, const void *src, size_t len)
{
	if (len > buf_room(b))
		return ERR_AGAIN;
	if (len > b->cap - b->tail)
		buf_tail(b);
	if (len)
		memcpy(b->mem + b->tail, src, len);
	b->tail += len;
	return 0;
}

#endif
