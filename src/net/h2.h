/* SPDX-License-Identifier: Apache-2.0 */
/*
 * HTTP/2 client (RFC 9113), the protocol alone: it is fed with bytes and leaves bytes to be sent.
 * It knows nothing of sockets, clocks, gRPC or etcd, and takes no memory of its own.
 *
 *   h2_recv()          bytes from the peer in; calls back for what they mean
 *   h2->out            bytes for the peer, which the owner sends, drops, and reports by h2_sent()
 *
 * Back-pressure. The data of a stream is offered to its owner as it comes, straight from the
 * input. What the owner does not take is kept in the stream's own ring, which is as large as the
 * window that the peer was given, so that a stream whose owner is busy never holds up another, nor
 * a PING. The window is given back as the owner takes bytes.
 *
 * A violation ends the connection: GOAWAY with the RFC's code is put into h2->out, h2_recv()
 * returns an error, and h2_error_text() names it. A violation of one stream alone resets that
 * stream. Once the connection is over (is_dead) all its streams are forgotten, without callbacks.
 *
 * The caller owns struct h2, the streams, their rings and the memory of out, and keeps them in
 * place. h2_init() and h2_recv() must not be called from within a callback; everything else may.
 */
#ifndef ETCHLET_NET_H2_H
#define ETCHLET_NET_H2_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/buf.h"
#include "net/hpack.h"

/* RFC 9113 7 */
enum h2_code {
	H2_NO_ERROR = 0x0,
	H2_PROTOCOL_ERROR = 0x1,
	H2_INTERNAL_ERROR = 0x2,
	H2_FLOW_CONTROL_ERROR = 0x3,
	H2_SETTINGS_TIMEOUT = 0x4,
	H2_STREAM_CLOSED = 0x5,
	H2_FRAME_SIZE_ERROR = 0x6,
	H2_REFUSED_STREAM = 0x7,
	H2_CANCEL = 0x8,
	H2_COMPRESSION_ERROR = 0x9,
	H2_CONNECT_ERROR = 0xa,
	H2_ENHANCE_YOUR_CALM = 0xb,
	H2_INADEQUATE_SECURITY = 0xc,
	H2_HTTP_1_1_REQUIRED = 0xd,
};

struct h2;
struct h2_stream;

enum h2_block {
	H2_BLOCK_INFORMATIONAL, /* a 1xx answer; the final one is still to come (RFC 9113 8.1) */
	H2_BLOCK_HEADERS, /* the final answer's header section */
	H2_BLOCK_TRAILERS,
};

/*
 * What a stream's owner is told. After end() or reset() the stream is closed, h2 has forgotten it,
 * and its memory is the owner's again.
 */
struct h2_stream_ops {
	/* One field of the block that is being received, as it is decoded: the block may still turn
	 * out to be malformed, which ends the stream by reset(). Names and values are checked as
	 * RFC 9113 8.2.1 and 8.3 demand, are not terminated and live until the call returns.
	 * ":status" comes as status of header_end() instead. Fields of a 1xx answer are dropped. */
	void (*header)(struct h2_stream *s, const char *name, size_t name_len, const char *value,
		size_t value_len);
	/* status: 100 to 599, 0 with trailers. Trailers are told of as they come, which may be
	 * while data from before them still waits in the ring; end() comes after that data. */
	void (*header_end)(struct h2_stream *s, enum h2_block block, int status);
	/* Returns how many of the bytes were taken (len is 1 or more); with less than len nothing
	 * more is offered until h2_stream_resume(). */
	size_t (*data)(struct h2_stream *s, const uint8_t *p, size_t len);
	/* The peer has ended the stream properly, and all data was taken. */
	void (*end)(struct h2_stream *s);
	/* It ended otherwise: RST_STREAM by the peer, a violation by the peer (is_by_peer false;
	 * h2_error_text() tells which), or a GOAWAY that leaves it out. Data that waits in the ring
	 * is lost. is_unprocessed: the server has not looked at it, so that asking again is safe
	 * (RFC 9113 8.7). code may be one that the RFC does not name. */
	void (*reset)(struct h2_stream *s, enum h2_code code, bool is_by_peer, bool is_unprocessed);
};

struct h2_stream {
	const struct h2_stream_ops
		*ops; /* set by the owner before h2_request(), as are user and ring */
	void *user; /* the owner's */
	struct buf ring; /* at least CONFIG_H2_WINDOW_BYTES, or no memory (cap 0) when data() always
			  * takes everything; a data() that then does not gets a reset */
	uint32_t id; /* 0: closed; set it to 0 before the first use */
	/* private */
	struct h2_stream *next;
	int64_t content_left; /* RFC 9113 8.1.1; -1: no content-length was told */
	int32_t send_window; /* below 0 when the peer made its initial window smaller */
	uint32_t recv_window; /* what the peer may still send */
	uint32_t recv_credit; /* taken, not yet given back */
	bool is_paused; /* the ring holds what data() did not take */
	bool is_delivering; /* data() is being called */
	bool is_resumed; /* ... and the owner called h2_stream_resume() within */
	bool has_headers; /* of the final answer */
	bool is_remote_closed;
	bool is_local_closed;
};

/* What the connection's owner is told; h2->user is his. */
struct h2_ops {
	/* The peer's first SETTINGS are in (h2->peer holds them), or later ones changed. */
	void (*settings)(struct h2 *h2);
	/* The answer to h2_ping(). */
	void (*ping_ack)(struct h2 *h2);
	/* The peer will not take new streams. Streams above last_id were reset by then. debug: the
	 * peer's bytes, at most CONFIG_H2_GOAWAY_DEBUG_BYTES of them. A graceful peer says it
	 * twice, with 2^31-1 first (RFC 9113 6.8). */
	void (*goaway)(struct h2 *h2, uint32_t last_id, enum h2_code code, const uint8_t *debug,
		size_t debug_len);
	/* After h2_request() had said ERR_AGAIN, or h2_stream_send() had not taken all: worth
	 * trying again. Called at the end of h2_recv() or h2_sent(), once; may be called in vain. */
	void (*writable)(struct h2 *h2);
};

struct h2_settings {
	uint32_t header_table_size;
	uint32_t max_concurrent_streams;
	uint32_t initial_window_size;
	uint32_t max_frame_size;
	uint32_t max_header_list_size;
};

enum {
	H2_OUT_MIN = 1024, /* bytes of memory for out */
	H2_CLOSED_IDS = 8, /* streams last closed by the peer that are remembered */
};

struct h2_guard;

struct h2 {
	const struct h2_ops *ops;
	void *user;
	struct buf out;
	struct h2_settings
		peer; /* the initial values of RFC 9113 6.5.2 until the peer says otherwise */
	bool has_peer_settings;
	bool is_going_away; /* a GOAWAY was received: no new streams here */
	bool is_dead; /* by a violation, or by h2_close() */
	/* private */
	struct h2_stream *streams;
	struct h2_guard *guards; /* streams whose data() is being called */
	uint32_t stream_count;
	uint32_t next_id;
	uint32_t goaway_last_id;
	int32_t send_window;
	uint32_t recv_window;
	uint32_t recv_credit;
	uint32_t noise; /* frames in a row that carried nothing */
	uint32_t ping_number; /* of the last PING that was sent */
	bool is_ping_out;
	bool is_blocked; /* the owner waits for writable() */
	/* what is wrong */
	int error;
	enum h2_code error_code;
	const char *error_text;
	/* the frame that is being received */
	struct h2_stream *rx_stream; /* NULL: what it carries is dropped */
	uint32_t rx_id;
	uint32_t rx_left; /* bytes of the part that is being received */
	uint8_t rx_type, rx_flags, rx_part, rx_need, rx_have, rx_pad;
	uint8_t rx_fixed[9];
	/* the header block that is being received */
	uint32_t block_id; /* 0: none */
	uint32_t block_len;
	uint16_t block_status;
	uint8_t block_continuations;
	bool block_is_end; /* END_STREAM */
	bool block_is_trailers;
	bool block_has_regular; /* a field that is no pseudo-header was seen */
	uint8_t closed_next;
	uint32_t closed_ids[H2_CLOSED_IDS];
	uint16_t debug_len;
	uint8_t debug[CONFIG_H2_GOAWAY_DEBUG_BYTES];
	struct hpack_decoder hpack;
};

/* A header field to be sent; the name in lower case. is_secret: never indexed (RFC 7541 7.1.3). */
struct h2_field {
	const char *name;
	const char *value;
	size_t value_len;
	bool is_secret;
};

/* Forgets everything and puts the client's preface and SETTINGS into out. out_cap: at least
 * H2_OUT_MIN, and room for the largest request's header block and CONFIG_H2_ANSWER_BYTES. */
void h2_init(struct h2 *h2, const struct h2_ops *ops, void *user, void *out_mem, size_t out_cap);

/*
 * Bytes from the peer, any split. Takes all of them. 0; ERR_HTTP2 when the peer broke the
 * protocol, ERR_LIMIT when it broke a limit: then send what is in out and close. After h2_close()
 * bytes are dropped, and 0 is returned.
 */
int h2_recv(struct h2 *h2, const uint8_t *p, size_t len);

/* After an error of h2_recv(): the code that the GOAWAY carries and what was wrong, in a few words.
 * Within a stream's reset() that is not the peer's: the same of that stream. */
enum h2_code h2_error_code(const struct h2 *h2);
const char *h2_error_text(const struct h2 *h2);

/* Tells the RFC's name of a code ("PROTOCOL_ERROR"); "UNKNOWN" for others. */
const char *h2_code_name(uint32_t code);

/*
 * Opens stream s with a request. is_end: it has no data. 0; ERR_AGAIN: no stream (the peer's
 * MAX_CONCURRENT_STREAMS) or no room in out right now; ERR_GOAWAY: not on this connection any more
 * (GOAWAY, dead, or out of stream ids); ERR_LIMIT: the header list is more than the peer takes, or
 * than one frame or an empty out can hold; ERR_BUG: s is open, or its ring too small.
 */
int h2_request(
	struct h2 *h2, struct h2_stream *s, const struct h2_field *fields, size_t n, bool is_end);

/* How many streams the peer lets us have at once (at most UINT32_MAX). */
uint32_t h2_max_streams(const struct h2 *h2);

/*
 * Sends data on s: as many bytes as windows and out have room for. Returns that count (0 and more);
 * is_end ends our side when all len bytes were taken. ERR_CLOSED: s is closed, or our side of it;
 * ERR_AGAIN: is_end with len 0 found no room in out.
 */
ssize_t h2_stream_send(struct h2 *h2, struct h2_stream *s, const void *p, size_t len, bool is_end);

/* Offers again, before it returns, what was not taken. Harmless on a stream that is not paused or
 * is closed. Within the stream's own data() it takes effect when that returns. */
void h2_stream_resume(struct h2 *h2, struct h2_stream *s);

/* RST_STREAM; the stream is forgotten at once, without a callback. Harmless when it is closed. */
void h2_stream_reset(struct h2 *h2, struct h2_stream *s, enum h2_code code);

/* Sends a PING. 0; ERR_AGAIN while an answer is outstanding or out has no room; ERR_GOAWAY: it is
 * dead. */
int h2_ping(struct h2 *h2);

/* Says goodbye: GOAWAY with code, if out has room, and forgets all streams, without callbacks. For
 * a transport that is lost too. Harmless on a dead connection. */
void h2_close(struct h2 *h2, enum h2_code code);

/* The owner has taken bytes from out: goes on with what waited for room. */
void h2_sent(struct h2 *h2);

#endif
