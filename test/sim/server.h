/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The framing of a gRPC server over the simulated network: HTTP/2 as a server may speak it, with all
 * the freedom that it has, and eyes on what the client may not do (which is a verdict).
 */
#ifndef TEST_SIM_SERVER_H
#define TEST_SIM_SERVER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct server_call {
	uint64_t serial; /* never used twice */
	uint32_t conn;
	int host;
	char path[64];
	char token[64];
	bool has_leader; /* the client wants to be told when the member has none */
	void *user; /* the model's */
};

struct server_ops {
	void (*opened)(uint32_t conn, int host);
	/* A whole message of the client's. */
	void (*message)(struct server_call *c, const uint8_t *p, size_t len);
	/* It is over: ended by server_finish() (all was sent), by the client or with its connection. */
	void (*ended)(struct server_call *c);
	/* Everything that was to be sent is. */
	void (*drained)(struct server_call *c);
};

struct server_cfg {
	uint32_t max_streams; /* 0: not told */
	uint32_t window; /* of a stream, towards us */
	uint32_t frame_max; /* of DATA that we send */
	uint32_t silent_chance; /* no SETTINGS ever */
	uint32_t reset_chance; /* of a DATA frame: the stream is reset instead */
	uint32_t goaway_chance; /* of a DATA frame: the connection is being closed */
	uint32_t noise_chance; /* PING, empty DATA, unknown frames, padding */
	bool is_lazy; /* windows are given back late */
	bool has_index; /* answers use the dynamic table */
};
extern struct server_cfg server_cfg;

void server_reset(const struct server_ops *ops);
struct server_call *server_find(uint64_t serial);
struct server_call *server_next(struct server_call *after); /* NULL: the first */
/* Bytes that were not sent yet. */
size_t server_backlog(const struct server_call *c);
/* Sends a message behind its length. It may end the call within: is_gone then says so. */
void server_send(struct server_call *c, const void *p, size_t len);
/* Ends the call behind all that was sent. c is not to be used any more. */
void server_finish(struct server_call *c, int code, const char *message);
/* The two steps of a graceful end. */
void server_goaway(uint32_t conn);

#endif
