/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A network in memory, with a clock that stands still (fake_clock.h), and the small server side of
 * HTTP/2 that a gRPC test needs. It defines the port_* functions for TCP and names, so it is
 * included by one file of a test program, and the platform's own are then not linked. What runs
 * above is real: loop, conn, h2, grpc.
 *
 * The server does nothing by itself: it takes what the client sends apart (and fails the test where
 * the client breaks the windows it was given), and says what the test makes it say.
 */
#ifndef ETCHLET_TEST_FAKE_CONN_H
#define ETCHLET_TEST_FAKE_CONN_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "net/hpack.h"
#include "port/port.h"

#include "fake_clock.h"

enum {
	FAKE_PEERS = 3, /* connections that are remembered */
	FAKE_CALLS = 24, /* streams of one that are remembered */
	FAKE_SEND_MAX = 1 << 18, /* bytes for the client that wait */
	FAKE_FRAME_MAX = 16384,
	FAKE_HEAD = 9,
	FAKE_TEXT_MAX = 12288,
	FAKE_FD = 100,
	FAKE_WINDOW = 65535,
};

/* RFC 9113 6, as the server writes and reads it. */
enum fake_frame {
	FAKE_DATA = 0,
	FAKE_HEADERS = 1,
	FAKE_RST_STREAM = 3,
	FAKE_SETTINGS = 4,
	FAKE_PING = 6,
	FAKE_GOAWAY = 7,
	FAKE_WINDOW_UPDATE = 8,
	FAKE_END_STREAM = 1,
	FAKE_ACK = 1,
	FAKE_END_HEADERS = 4,
	FAKE_MAX_STREAMS = 3,
	FAKE_INITIAL_WINDOW = 4,
	FAKE_MAX_HEADER_LIST = 6,
};

/* A stream, as the server sees it. */
struct fake_call {
	uint32_t id;
	char headers[FAKE_TEXT_MAX]; /* "name: value\n" each */
	uint8_t block[FAKE_TEXT_MAX]; /* as it came */
	uint8_t body[FAKE_TEXT_MAX];
	size_t headers_len, block_len, body_len;
	bool is_ended; /* by the client, properly */
	bool is_reset; /* by the client */
	uint32_t reset_code;
	int64_t window; /* what the server may send */
	int64_t client_window; /* what the client may send */
};

struct fake_peer {
	int fd; /* 0: never used */
	bool is_closed; /* by the client */
	uint8_t wait[FAKE_SEND_MAX]; /* for the client */
	size_t wait_head, wait_tail;
	int end; /* what receiving gives behind that: ERR_CLOSED or ERR_RESET; 0: nothing yet */
	uint8_t rx[FAKE_HEAD + FAKE_FRAME_MAX]; /* a frame of the client's that is not whole */
	size_t rx_len;
	bool has_preface;
	struct hpack_decoder hpack;
	int64_t window, client_window; /* of the connection */
	int64_t stream_window, client_stream_window; /* of new streams */
	unsigned settings_acks, pings, pongs, goaways, calls_count;
	uint32_t goaway_code;
	uint8_t ping[8];
	struct fake_call calls[FAKE_CALLS];
};

struct fake_net {
	size_t split; /* bytes that are received at once; 0: any number */
	size_t send_room; /* bytes that the socket still takes */
	int send_err; /* what sending ends with; 0: fine */
	int connect_err; /* what connecting ends with; 0: fine */
	bool is_silent; /* connecting never ends */
	unsigned dials;
	struct fake_peer peers[FAKE_PEERS];
	struct fake_peer *peer; /* the newest connection */
};

static struct fake_net fake_net;

static inline struct fake_peer *fake_peer_of(int fd)
{
	for (size_t i = 0; i < FAKE_PEERS; i++) {
		if (fake_net.peers[i].fd == fd && !fake_net.peers[i].is_closed)
			return &fake_net.peers[i];
	}
	fail_msg("descriptor %d is not open", fd);
	return NULL;
}

static inline int fake_ready(int fd)
{
	const struct fake_peer *p = fake_peer_of(fd);
	int got = 0;

	if (fake_net.is_silent)
		return 0;
	if (p->wait_head < p->wait_tail || p->end)
		got |= PORT_POLL_IN;
	if (fake_net.send_room || fake_net.send_err)
		got |= PORT_POLL_OUT;
	return got | (p->end == ERR_RESET ? PORT_POLL_ERR : 0);
}

static inline void fake_net_reset(void)
{
	fake_clock_reset();
	fake_clock.ready = fake_ready;
	memset(&fake_net, 0, sizeof(fake_net));
	fake_net.send_room = SIZE_MAX;
}

/* -- what the client sends -------------------------------------------------------------------- */

static inline uint32_t fake_get32(const uint8_t *p)
{
	return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static inline struct fake_call *fake_call_of(struct fake_peer *p, uint32_t id)
{
	for (size_t i = 0; i < FAKE_CALLS; i++) {
		if (p->calls[i].id == id && id)
			return &p->calls[i];
	}
	fail_msg("no stream %u", (unsigned)id);
	return NULL;
}

static inline void fake_on_field(
	void *user, const char *name, size_t name_len, const char *value, size_t value_len)
{
	struct fake_call *c = user;
	size_t room = sizeof(c->headers) - c->headers_len;

	assert_true(name_len + value_len + 4 < room);
	c->headers_len += (size_t)snprintf(c->headers + c->headers_len, room, "%.*s: %.*s\n",
		(int)name_len, name, (int)value_len, value);
}

static inline void fake_on_headers(
	struct fake_peer *p, uint32_t id, unsigned flags, const uint8_t *body, size_t len)
{
	struct fake_call *c = &p->calls[p->calls_count % FAKE_CALLS];

	assert_int_equal(id, 2 * p->calls_count + 1);
	assert_true(flags & FAKE_END_HEADERS);
	assert_true(len <= sizeof(c->block));
	memset(c, 0, sizeof(*c));
	p->calls_count++;
	c->id = id;
	c->window = p->stream_window;
	c->client_window = p->client_stream_window;
	c->is_ended = flags & FAKE_END_STREAM;
	c->block_len = len;
	memcpy(c->block, body, len);
	hpack_block_begin(&p->hpack);
	assert_int_equal(hpack_block_decode(&p->hpack, body, len, fake_on_field, c), 0);
	assert_int_equal(hpack_block_end(&p->hpack), 0);
}

static inline void fake_on_data(
	struct fake_peer *p, uint32_t id, unsigned flags, const uint8_t *body, size_t len)
{
	struct fake_call *c = fake_call_of(p, id);

	assert_false(c->is_ended || c->is_reset);
	assert_true(len <= sizeof(c->body) - c->body_len);
	c->client_window -= (int64_t)len;
	p->client_window -= (int64_t)len;
	assert_true(c->client_window >= 0 && p->client_window >= 0);
	memcpy(c->body + c->body_len, body, len);
	c->body_len += len;
	c->is_ended = flags & FAKE_END_STREAM;
}

static inline void fake_on_settings(struct fake_peer *p, const uint8_t *body, size_t len)
{
	for (size_t i = 0; i + 6 <= len; i += 6) {
		if (body[i + 1] == FAKE_INITIAL_WINDOW)
			p->stream_window = fake_get32(body + i + 2);
	}
}

static inline void fake_on_frame(struct fake_peer *p, const uint8_t *head, size_t len)
{
	uint32_t id = fake_get32(head + 5);
	const uint8_t *body = head + FAKE_HEAD;

	switch (head[3]) {
	case FAKE_DATA:
		fake_on_data(p, id, head[4], body, len);
		break;
	case FAKE_HEADERS:
		fake_on_headers(p, id, head[4], body, len);
		break;
	case FAKE_RST_STREAM:
		fake_call_of(p, id)->is_reset = true;
		fake_call_of(p, id)->reset_code = fake_get32(body);
		break;
	case FAKE_SETTINGS:
		if (head[4] & FAKE_ACK)
			p->settings_acks++;
		else
			fake_on_settings(p, body, len);
		break;
	case FAKE_PING:
		p->pongs += head[4] & FAKE_ACK;
		p->pings += !(head[4] & FAKE_ACK);
		memcpy(p->ping, body, sizeof(p->ping));
		break;
	case FAKE_GOAWAY:
		p->goaways++;
		p->goaway_code = fake_get32(body + 4);
		break;
	case FAKE_WINDOW_UPDATE:
		*(id ? &fake_call_of(p, id)->window : &p->window) += fake_get32(body);
		break;
	default:
		fail_msg("a frame of type %d", head[3]);
	}
}

static inline void fake_take(struct fake_peer *p, const uint8_t *src, size_t len)
{
	static const char preface[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
	size_t need;

	for (; len; src++, len--) {
		p->rx[p->rx_len++] = *src;
		if (!p->has_preface) {
			assert_memory_equal(p->rx, preface, p->rx_len);
			if (p->rx_len == sizeof(preface) - 1) {
				p->has_preface = true;
				p->rx_len = 0;
			}
			continue;
		}
		if (p->rx_len < FAKE_HEAD)
			continue;
		need = fake_get32(p->rx) >> 8;
		assert_true(need <= FAKE_FRAME_MAX);
		if (p->rx_len < FAKE_HEAD + need)
			continue;
		p->rx_len = 0;
		fake_on_frame(p, p->rx, need);
	}
}

/* -- TCP -------------------------------------------------------------------------------------- */

int port_addr_parse(struct port_addr *addr, const char *text, uint16_t port)
{
	*addr = (struct port_addr){.ip = {10, 0, 0, 1}, .port = port};
	return text[0] >= '0' && text[0] <= '9' ? 0 : ERR_RANGE;
}

char *port_addr_format(char dst[PORT_ADDR_TEXT_MAX], const struct port_addr *addr)
{
	snprintf(dst, PORT_ADDR_TEXT_MAX, "%d.%d.%d.%d:%u", addr->ip[0], addr->ip[1], addr->ip[2],
		addr->ip[3], (unsigned)addr->port);
	return dst;
}

int port_resolve_start(struct port_resolve *r, const char *host, uint16_t port)
{
	(void)host;
	(void)port;
	r->fd = -1;
	return ERR_DNS;
}

int port_resolve_take(
	struct port_resolve *r, struct port_addr *addrs, size_t max, char *why, size_t why_cap)
{
	(void)r;
	(void)addrs;
	(void)max;
	snprintf(why, why_cap, "there are no names here");
	return ERR_DNS;
}

void port_resolve_cancel(struct port_resolve *r)
{
	r->fd = -1;
}

int port_tcp_connect(const struct port_addr *addr, int64_t user_timeout_ms)
{
	struct fake_peer *p = &fake_net.peers[fake_net.dials % FAKE_PEERS];

	(void)addr;
	(void)user_timeout_ms;
	assert_true(p->fd == 0 || p->is_closed);
	memset(p, 0, sizeof(*p));
	p->fd = FAKE_FD + (int)fake_net.dials++;
	p->window = p->stream_window = FAKE_WINDOW;
	p->client_window = p->client_stream_window = FAKE_WINDOW;
	hpack_decoder_init(&p->hpack);
	fake_net.peer = p;
	return p->fd;
}

int port_tcp_result(int fd)
{
	(void)fake_peer_of(fd);
	return fake_net.connect_err;
}

ssize_t port_tcp_recv(int fd, void *dst, size_t len)
{
	struct fake_peer *p = fake_peer_of(fd);
	size_t n = p->wait_tail - p->wait_head;

	if (!n)
		return p->end ? p->end : ERR_AGAIN;
	if (n > len)
		n = len;
	if (fake_net.split && n > fake_net.split)
		n = fake_net.split;
	memcpy(dst, p->wait + p->wait_head, n);
	p->wait_head += n;
	if (p->wait_head == p->wait_tail)
		p->wait_head = p->wait_tail = 0;
	return (ssize_t)n;
}

ssize_t port_tcp_send(int fd, const void *src, size_t len)
{
	struct fake_peer *p = fake_peer_of(fd);

	if (fake_net.send_err)
		return fake_net.send_err;
	if (!fake_net.send_room)
		return ERR_AGAIN;
	if (len > fake_net.send_room)
		len = fake_net.send_room;
	if (fake_net.send_room != SIZE_MAX)
		fake_net.send_room -= len;
	fake_take(p, src, len);
	return (ssize_t)len;
}

void port_tcp_close(int fd)
{
	fake_peer_of(fd)->is_closed = true;
}

/* -- what the server says, on the newest connection ------------------------------------------- */

static inline void fake_say(const void *src, size_t len)
{
	struct fake_peer *p = fake_net.peer;

	assert_true(len <= sizeof(p->wait) - p->wait_tail);
	if (len)
		memcpy(p->wait + p->wait_tail, src, len);
	p->wait_tail += len;
}

static inline void fake_frame(
	enum fake_frame type, unsigned flags, uint32_t id, const void *body, size_t len)
{
	const uint8_t head[FAKE_HEAD] = {(uint8_t)(len >> 16), (uint8_t)(len >> 8), (uint8_t)len,
		(uint8_t)type, (uint8_t)flags, (uint8_t)(id >> 24), (uint8_t)(id >> 16),
		(uint8_t)(id >> 8), (uint8_t)id};

	fake_say(head, sizeof(head));
	fake_say(body, len);
}

static inline void fake_frame32(enum fake_frame type, uint32_t id, uint32_t v)
{
	const uint8_t body[4] = {
		(uint8_t)(v >> 24), (uint8_t)(v >> 16), (uint8_t)(v >> 8), (uint8_t)v};

	fake_frame(type, 0, id, body, sizeof(body));
}

/* No setting at all when what is 0. */
static inline void fake_settings(unsigned what, uint32_t v)
{
	const uint8_t body[6] = {0, (uint8_t)what, (uint8_t)(v >> 24), (uint8_t)(v >> 16),
		(uint8_t)(v >> 8), (uint8_t)v};

	if (what == FAKE_INITIAL_WINDOW)
		fake_net.peer->client_stream_window = v;
	fake_frame(FAKE_SETTINGS, 0, 0, body, what ? sizeof(body) : 0);
}

static inline void fake_window_update(uint32_t id, uint32_t n)
{
	*(id ? &fake_call_of(fake_net.peer, id)->client_window : &fake_net.peer->client_window) +=
		n;
	fake_frame32(FAKE_WINDOW_UPDATE, id, n);
}

static inline void fake_reset(uint32_t id, uint32_t code)
{
	fake_frame32(FAKE_RST_STREAM, id, code);
}

static inline void fake_goaway(uint32_t last_id, uint32_t code, const char *debug)
{
	uint8_t body[8 + 256] = {(uint8_t)(last_id >> 24), (uint8_t)(last_id >> 16),
		(uint8_t)(last_id >> 8), (uint8_t)last_id, (uint8_t)(code >> 24),
		(uint8_t)(code >> 16), (uint8_t)(code >> 8), (uint8_t)code};

	assert_true(strlen(debug) <= 256);
	memcpy(body + 8, debug, strlen(debug));
	fake_frame(FAKE_GOAWAY, 0, 0, body, 8 + strlen(debug));
}

/* The answer to the client's last PING. */
static inline void fake_pong(void)
{
	fake_frame(FAKE_PING, FAKE_ACK, 0, fake_net.peer->ping, 8);
}

static inline size_t fake_put_string(uint8_t *dst, const char *text, size_t len)
{
	size_t n = 0;

	/* RFC 7541 5.1, an integer with a prefix of seven bits */
	if (len < 127) {
		dst[n++] = (uint8_t)len;
	} else {
		size_t rest = len - 127;

		dst[n++] = 127;
		for (; rest >= 128; rest >>= 7)
			dst[n++] = (uint8_t)(rest | 128);
		dst[n++] = (uint8_t)rest;
	}
	memcpy(dst + n, text, len);
	return n + len;
}

/* A block of headers in literals. lines: "name: value\n" each. */
static inline void fake_headers(uint32_t id, const char *lines, bool is_end)
{
	uint8_t block[FAKE_TEXT_MAX];
	size_t len = 0;

	while (*lines) {
		const char *sep = strstr(lines, ": "), *end = strchr(lines, '\n');

		assert_true(sep && end && sep < end);
		assert_true(len + (size_t)(end - lines) + 16 < sizeof(block));
		block[len++] = 0;
		len += fake_put_string(block + len, lines, (size_t)(sep - lines));
		len += fake_put_string(block + len, sep + 2, (size_t)(end - sep - 2));
		lines = end + 1;
	}
	fake_frame(FAKE_HEADERS, FAKE_END_HEADERS | (is_end ? FAKE_END_STREAM : 0), id, block, len);
}

static const char fake_grpc_headers[] = ":status: 200\ncontent-type: application/grpc\n";

/* One DATA frame, within the windows that the client gave. */
static inline void fake_data(uint32_t id, const void *p, size_t len, bool is_end)
{
	struct fake_call *c = fake_call_of(fake_net.peer, id);

	assert_true(len <= FAKE_FRAME_MAX);
	c->window -= (int64_t)len;
	fake_net.peer->window -= (int64_t)len;
	assert_true(c->window >= 0 && fake_net.peer->window >= 0);
	fake_frame(FAKE_DATA, is_end ? FAKE_END_STREAM : 0, id, p, len);
}

/* A message behind its prefix. It fits into a frame. */
static inline void fake_message(uint32_t id, const void *p, size_t len)
{
	static uint8_t body[FAKE_FRAME_MAX];

	assert_true(len + 5 <= sizeof(body));
	body[0] = 0;
	body[1] = (uint8_t)(len >> 24);
	body[2] = (uint8_t)(len >> 16);
	body[3] = (uint8_t)(len >> 8);
	body[4] = (uint8_t)len;
	if (len)
		memcpy(body + 5, p, len);
	fake_data(id, body, len + 5, false);
}

static inline void fake_trailers(uint32_t id, int code, const char *message)
{
	char lines[512];

	snprintf(lines, sizeof(lines), "grpc-status: %d\n%s%s%s", code,
		*message ? "grpc-message: " : "", message, *message ? "\n" : "");
	fake_headers(id, lines, true);
}

/* Headers, one message and status 0: a whole unary answer. */
static inline void fake_answer(uint32_t id, const void *p, size_t len)
{
	fake_headers(id, fake_grpc_headers, false);
	fake_message(id, p, len);
	fake_trailers(id, 0, "");
}

/* The answer of a handler that fails before it begins (gRPC's "Trailers-Only"). */
static inline void fake_refusal(uint32_t id, int code, const char *message)
{
	char lines[512];

	snprintf(lines, sizeof(lines), "%sgrpc-status: %d\ngrpc-message: %s\n", fake_grpc_headers,
		code, message);
	fake_headers(id, lines, true);
}

/* The connection ends behind what was said: ERR_CLOSED or ERR_RESET. */
static inline void fake_hang_up(int err)
{
	fake_net.peer->end = err;
}

/* -- what a test asks about ------------------------------------------------------------------- */

/* The newest stream. */
static inline struct fake_call *fake_last_call(void)
{
	assert_true(fake_net.peer && fake_net.peer->calls_count > 0);
	return fake_call_of(fake_net.peer, 2 * fake_net.peer->calls_count - 1);
}

/* Whether the request has this header line. */
static inline bool fake_has_header(const struct fake_call *c, const char *line)
{
	const char *at = strstr(c->headers, line);
	size_t len = strlen(line);

	while (at && !((at == c->headers || at[-1] == '\n') && at[len] == '\n'))
		at = strstr(at + 1, line);
	return at != NULL;
}

static inline bool fake_has_path(const struct fake_call *c, const char *path)
{
	char line[160];

	snprintf(line, sizeof(line), ":path: %s", path);
	return fake_has_header(c, line);
}

/* The message number n of the client's on a stream; its length, or -1 when it is not whole. */
static inline ssize_t fake_message_of(const struct fake_call *c, unsigned n, const uint8_t **p)
{
	size_t at = 0;

	*p = NULL;
	while (at + 5 <= c->body_len) {
		size_t len = fake_get32(c->body + at + 1);

		assert_int_equal(c->body[at], 0);
		if (at + 5 + len > c->body_len)
			break;
		*p = c->body + at + 5;
		if (n-- == 0)
			return (ssize_t)len;
		at += 5 + len;
	}
	return -1;
}

#endif
