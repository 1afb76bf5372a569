/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the files of the HTTP/2 client share: h2.c (streams and sending), h2_recv.c (frames that
 * come in), h2_block.c (header blocks that come in). Nobody else includes it.
 */
#ifndef ETCHLET_NET_H2_PRIVATE_H
#define ETCHLET_NET_H2_PRIVATE_H

#include "net/h2.h"

/* RFC 9113 6 */
enum h2_type {
	H2_DATA = 0x0,
	H2_HEADERS = 0x1,
	H2_PRIORITY = 0x2,
	H2_RST_STREAM = 0x3,
	H2_SETTINGS = 0x4,
	H2_PUSH_PROMISE = 0x5,
	H2_PING = 0x6,
	H2_GOAWAY = 0x7,
	H2_WINDOW_UPDATE = 0x8,
	H2_CONTINUATION = 0x9,
};

enum h2_flag {
	H2_FLAG_END_STREAM = 0x1,
	H2_FLAG_ACK = 0x1,
	H2_FLAG_END_HEADERS = 0x4,
	H2_FLAG_PADDED = 0x8,
	H2_FLAG_PRIORITY = 0x20,
};

/* RFC 9113 6.5.2 */
enum h2_setting {
	H2_SETTING_HEADER_TABLE_SIZE = 1,
	H2_SETTING_ENABLE_PUSH = 2,
	H2_SETTING_MAX_CONCURRENT_STREAMS = 3,
	H2_SETTING_INITIAL_WINDOW_SIZE = 4,
	H2_SETTING_MAX_FRAME_SIZE = 5,
	H2_SETTING_MAX_HEADER_LIST_SIZE = 6,
};

enum {
	H2_FRAME_HEAD = 9,
	H2_FRAME_MAX = 16384, /* ours; frames are never collected, so there is nothing to gain */
	H2_WINDOW_MAX = INT32_MAX, /* 2^31-1 (RFC 9113 6.9.1) */
	H2_WINDOW_DEFAULT =
		65535, /* the connection's, and a stream's until SETTINGS say otherwise */
	H2_STREAM_ID_MAX = INT32_MAX,
};

/* A stream that is in the middle of a callback; stream is NULL once it was forgotten within. */
struct h2_guard {
	struct h2_stream *stream;
	struct h2_guard *up;
};

static inline uint32_t h2_get32(const uint8_t *p)
{
	return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

/* h2.c */

/* The open stream of an id, or NULL. */
struct h2_stream *h2_stream_find(struct h2 *h2, uint32_t id);
/* Whether the peer has closed that stream, as far back as we remember. */
bool h2_is_closed_by_peer(const struct h2 *h2, uint32_t id);
/* The peer has ended s; end() now, or when the owner has taken what is in the ring. */
void h2_stream_remote_end(struct h2 *h2, struct h2_stream *s);
/* Ends s by the peer's word, with reset(). */
void h2_stream_abort(struct h2 *h2, struct h2_stream *s, uint32_t code, bool is_unprocessed);
/* RST_STREAM for a violation, and reset(). */
void h2_stream_fail(struct h2 *h2, struct h2_stream *s, enum h2_code code, const char *text);
/* Bytes of s were received: to its owner, or into the ring. */
void h2_stream_deliver(struct h2 *h2, struct h2_stream *s, const uint8_t *p, size_t len);
/* Bytes of s will not be looked at any more: gives the window back once it is worth a frame. */
void h2_stream_credit(struct h2 *h2, struct h2_stream *s, size_t len);
/* The same for the connection. */
void h2_credit(struct h2 *h2, size_t len);
/* Ends the connection with GOAWAY. Returns ERR_HTTP2, or ERR_LIMIT for ENHANCE_YOUR_CALM. */
int h2_fail(struct h2 *h2, enum h2_code code, const char *text);
/* A frame that the peer is owed (answers to PING and SETTINGS, RST_STREAM). 0, or the error that
 * has ended the connection. */
int h2_answer(
	struct h2 *h2, enum h2_type type, uint8_t flags, uint32_t id, const uint8_t *p, size_t len);
/* Calls writable() when somebody waits for it and there is room. */
void h2_tell_writable(struct h2 *h2);

/* h2_block.c */

/* A HEADERS frame begins a block. */
int h2_block_begin(struct h2 *h2);
/* A piece of it. */
int h2_block_add(struct h2 *h2, const uint8_t *p, size_t len);
/* END_HEADERS. */
int h2_block_end(struct h2 *h2);

#endif
