/* SPDX-License-Identifier: Apache-2.0 */
/*
 * gRPC over HTTP/2 (the protocol that grpc.io calls "gRPC over HTTP2"): one channel is one
 * connection; calls are unary or bidirectional streams on it.
 *
 * A message that comes in is not collected: its bytes are handed on as they arrive, so that a
 * message may be larger than memory. A message that goes out is small and is copied into the
 * channel's one send buffer, which holds one message at a time.
 */
#ifndef ETCHLET_NET_GRPC_H
#define ETCHLET_NET_GRPC_H

#include "base/buf.h"
#include "base/loop.h"
#include "net/conn.h"
#include "net/h2.h"

/* https://github.com/grpc/grpc/blob/master/doc/statuscodes.md */
enum grpc_code {
	GRPC_OK = 0,
	GRPC_CANCELLED = 1,
	GRPC_UNKNOWN = 2,
	GRPC_INVALID_ARGUMENT = 3,
	GRPC_DEADLINE_EXCEEDED = 4,
	GRPC_NOT_FOUND = 5,
	GRPC_ALREADY_EXISTS = 6,
	GRPC_PERMISSION_DENIED = 7,
	GRPC_RESOURCE_EXHAUSTED = 8,
	GRPC_FAILED_PRECONDITION = 9,
	GRPC_ABORTED = 10,
	GRPC_OUT_OF_RANGE = 11,
	GRPC_UNIMPLEMENTED = 12,
	GRPC_INTERNAL = 13,
	GRPC_UNAVAILABLE = 14,
	GRPC_DATA_LOSS = 15,
	GRPC_UNAUTHENTICATED = 16,
};

enum {
	GRPC_MESSAGE_MAX = 256, /* bytes of a grpc-message that are kept */
	GRPC_PREFIX_LEN = 5, /* compressed flag and length before each message */
	GRPC_METADATA_MAX = 4, /* of a call */
};

const char *grpc_code_name(int code);

/* How a call ended. message: grpc-message after percent-decoding, or our own words when the status
 * was made here (is_local); foreign bytes, so show it by log_show(). */
struct grpc_status {
	int code;
	bool is_local; /* not from the server: synthesised from HTTP, RST_STREAM, deadline or loss */
	const char *message;
	size_t message_len;
};

struct grpc_channel;
struct grpc_call;

struct grpc_channel_ops {
	/* Connected, and the peer's SETTINGS are in. */
	void (*up)(struct grpc_channel *ch);
	/* It is over: every call has been ended by done() before. The channel is closed and may be
	 * opened again at once. why: one line for a person. */
	void (*down)(struct grpc_channel *ch, int err, const char *why);
	/* GOAWAY: calls that run may finish, new ones need a new connection. */
	void (*going_away)(struct grpc_channel *ch, const char *why);
	/* After grpc_call_start() or grpc_call_send() had said ERR_AGAIN: worth trying again. */
	void (*writable)(struct grpc_channel *ch);
};

struct grpc_channel_cfg {
	struct conn_target target;
	const char *authority; /* ":authority" */
	int64_t settings_timeout_ms;
	int64_t keepalive_time_ms;
	int64_t keepalive_timeout_ms;
};

struct grpc_call_ops {
	/* A message of len bytes begins. 0, or an error that ends the call. */
	int (*msg_begin)(struct grpc_call *call, uint32_t len);
	/* Bytes taken, at most len; with less nothing more is offered until grpc_call_resume(). An
	 * error (not ERR_AGAIN) closes the channel with it. */
	ssize_t (*msg_data)(struct grpc_call *call, const uint8_t *p, size_t len);
	/* All bytes were taken. ERR_AGAIN: asked again after grpc_call_resume(). An error closes the channel. */
	int (*msg_end)(struct grpc_call *call);
	/* The call is over; its memory is the owner's again. */
	void (*done)(struct grpc_call *call, const struct grpc_status *st);
};

struct grpc_call {
	const struct grpc_call_ops *ops; /* set by the owner, with user and stream.ring */
	void *user;
	struct h2_stream
		stream; /* ring: set by the owner, see h2.h; no memory when all is taken at once */
	struct grpc_channel *channel; /* NULL: not running */
	/* private */
	struct loop_timer deadline;
	struct grpc_call *next;
	uint32_t msg_left; /* bytes of the message that were not taken yet */
	uint8_t prefix[GRPC_PREFIX_LEN];
	uint8_t prefix_len;
	bool is_in_message;
	bool is_end_due; /* msg_end() is to be called, or has said ERR_AGAIN */
	bool is_ended; /* the server has ended the stream; done() waits for msg_end() */
	bool is_grpc; /* the content-type is gRPC's */
	bool has_status;
	uint8_t status_code;
	int http_status;
	uint16_t message_len;
	char message[GRPC_MESSAGE_MAX];
};

struct grpc_metadata {
	const char *name;
	const char *value;
	bool is_secret;
};

struct grpc_channel {
	const struct grpc_channel_ops *ops;
	void *user;
	struct loop *loop;
	const struct grpc_channel_cfg *cfg;
	struct conn conn;
	struct h2 h2;
	bool is_open; /* between grpc_channel_open() and down() or close */
	bool is_up; /* calls can be made */
	/* private */
	bool is_writable_wanted;
	struct grpc_call *calls;
	struct grpc_call *tx_call; /* whose message waits in tx */
	struct buf tx;
	bool is_tx_last;
	struct loop_timer settings_timer, keepalive_timer;
	struct loop_timer more; /* reading goes on after others had their turn */
	struct loop_task flush;
	int64_t last_recv_ms;
	int64_t ping_sent_ms; /* 0: none is unanswered */
	uint32_t keepalive_factor; /* doubled by "too_many_pings" */
	int fail_err; /* the channel ends with it at the end of the turn */
	char why[CONN_WHY_MAX];
	uint8_t out_mem[CONFIG_H2_OUT_BYTES];
	uint8_t tx_mem[CONFIG_GRPC_SEND_BYTES + GRPC_PREFIX_LEN];
	uint8_t rx_mem[CONFIG_GRPC_RECV_BYTES];
};

void grpc_channel_init(
	struct grpc_channel *ch, struct loop *loop, const struct grpc_channel_ops *ops, void *user);

/* Connects. cfg outlives the connection. Ends by up() or down(), never within this call. */
void grpc_channel_open(struct grpc_channel *ch, const struct grpc_channel_cfg *cfg);

/* Ends it without down(): calls that run are ended by done() (UNAVAILABLE, is_local). GOAWAY(NO_ERROR) is sent if it can. */
void grpc_channel_close(struct grpc_channel *ch);

/* How many calls the server lets run at once. */
uint32_t grpc_channel_max_calls(const struct grpc_channel *ch);

/* The keepalive interval in force, ms (doubled after too_many_pings). */
int64_t grpc_channel_keepalive_ms(const struct grpc_channel *ch);

/*
 * Starts a call with its first message (msg may be NULL with a bidirectional call). path:
 * "/etcdserverpb.KV/Range". is_unary: our side ends after it. timeout_ms: 0 for none; when it is
 * over the call ends with DEADLINE_EXCEEDED.
 * 0; ERR_AGAIN: no stream or no room now, writable() tells when; ERR_GOAWAY: not on this channel;
 * ERR_LIMIT: msg is longer than CONFIG_GRPC_SEND_BYTES.
 */
int grpc_call_start(struct grpc_channel *ch, struct grpc_call *call, const char *path,
	const struct grpc_metadata *md, size_t n, const void *msg, size_t len, bool is_unary,
	int64_t timeout_ms);

/* One more message of a bidirectional call. 0, ERR_AGAIN, ERR_LIMIT, ERR_CLOSED. */
int grpc_call_send(struct grpc_call *call, const void *msg, size_t len);

/* Offers again, at once, what msg_data() or msg_end() had not taken. */
void grpc_call_resume(struct grpc_call *call);

/* Ends it with RST_STREAM(CANCEL), without done(). Harmless when it does not run. */
void grpc_call_cancel(struct grpc_call *call);

static inline bool grpc_call_is_running(const struct grpc_call *call)
{
	return call->channel != NULL;
}

#endif
