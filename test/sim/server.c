/* SPDX-License-Identifier: Apache-2.0 */
#include "test/sim/server.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "net/hpack.h"
#include "port/sim/sim.h"
#include "test/sim/bytes.h"
#include "test/sim/verdict.h"

enum {
	DATA = 0,
	HEADERS = 1,
	PRIORITY = 2,
	RST_STREAM = 3,
	SETTINGS = 4,
	PING = 6,
	GOAWAY = 7,
	WINDOW_UPDATE = 8,
	CONTINUATION = 9,
	END_STREAM = 1,
	ACK = 1,
	END_HEADERS = 4,
	PADDED = 8,
	FRAME_HEAD = 9,
	WINDOW_START = 65535,
	WINDOW_MAX = 0x7fffffff,
	TRAILER_MAX = 512,
};

static const char preface[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

struct stream {
	struct server_call call; /* first */
	struct stream *next;
	struct conn *conn;
	uint32_t id;
	int64_t window; /* what we may send */
	int64_t in_window; /* what the client may send */
	uint32_t in_owed;
	struct bytes in, out;
	bool is_client_done, has_headers, is_finished, is_dead;
	int code;
	char message[128];
};

struct conn {
	struct conn *next;
	uint32_t id;
	int host;
	struct bytes in;
	bool has_preface, has_settings, is_going, is_closed, is_indexed;
	struct hpack_decoder hpack;
	int64_t window, in_window;
	uint32_t in_owed;
	uint32_t peer_window, peer_frame_max;
	uint32_t last_stream, block_stream;
	uint8_t block_flags;
	struct stream *streams;
};

struct server_cfg server_cfg;
static const struct server_ops *ops;
static struct conn *conns;
static uint64_t serials;

/* -- streams ---------------------------------------------------------------------------------- */

struct server_call *server_next(struct server_call *after)
{
	struct stream *s = after ? (struct stream *)after : NULL;
	struct conn *c = s ? s->conn : conns;

	s = s ? s->next : c ? c->streams : NULL;
	while (c) {
		for (; s; s = s->next) {
			if (!s->is_dead && !s->is_finished)
				return &s->call;
		}
		c = c->next;
		s = c ? c->streams : NULL;
	}
	return NULL;
}

struct server_call *server_find(uint64_t serial)
{
	for (struct server_call *c = server_next(NULL); c; c = server_next(c)) {
		if (c->serial == serial)
			return c;
	}
	return NULL;
}

size_t server_backlog(const struct server_call *c)
{
	return ((const struct stream *)c)->out.len;
}

/* It is freed later: callers further up may hold it. */
static void stream_kill(struct stream *s)
{
	if (s->is_dead)
		return;
	s->is_dead = true;
	ops->ended(&s->call);
}

static void conn_sweep(struct conn *c)
{
	struct stream **at = &c->streams;

	while (*at) {
		struct stream *s = *at;

		if (!s->is_dead) {
			at = &s->next;
			continue;
		}
		*at = s->next;
		bytes_free(&s->in);
		bytes_free(&s->out);
		free(s);
	}
}

static struct stream *stream_find(struct conn *c, uint32_t id)
{
	for (struct stream *s = c->streams; s; s = s->next) {
		if (s->id == id && !s->is_dead)
			return s;
	}
	return NULL;
}

/* -- frames out ------------------------------------------------------------------------------- */

static void frame(
	struct conn *c, uint8_t type, uint8_t flags, uint32_t stream, const void *p, size_t len)
{
	const uint8_t head[FRAME_HEAD] = {(uint8_t)(len >> 16), (uint8_t)(len >> 8), (uint8_t)len,
		type, flags, (uint8_t)(stream >> 24), (uint8_t)(stream >> 16),
		(uint8_t)(stream >> 8), (uint8_t)stream};
	struct bytes b = {0};

	bytes_put(&b, head, sizeof(head));
	bytes_put(&b, p, len);
	sim_conn_send(c->id, b.p, b.len);
	bytes_free(&b);
}

static void put32(uint8_t *p, uint32_t v)
{
	p[0] = (uint8_t)(v >> 24);
	p[1] = (uint8_t)(v >> 16);
	p[2] = (uint8_t)(v >> 8);
	p[3] = (uint8_t)v;
}

static uint32_t get32(const uint8_t *p)
{
	return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static void frame32(struct conn *c, uint8_t type, uint32_t stream, uint32_t v)
{
	uint8_t p[4];

	put32(p, v);
	frame(c, type, 0, stream, p, sizeof(p));
}

static void noise(struct conn *c)
{
	static const uint8_t ping[8] = "noise...";

	switch (sim_random(3)) {
	case 0:
		frame(c, PING, 0, 0, ping, sizeof(ping));
		break;
	case 1:
		frame(c, 0xbe, 0x5a, 0, ping, sim_random(9)); /* unknown: ignored, RFC 9113 5.5 */
		break;
	default:
		frame(c, SETTINGS, 0, 0, NULL, 0);
		break;
	}
}

static void put_field(struct buf *b, const char *name, const char *value)
{
	if (hpack_encode(b, name, strlen(name), value, strlen(value), false))
		abort();
}

static void send_block(struct stream *s, const struct buf *b, uint8_t flags)
{
	size_t len = b->tail;
	size_t first = sim_chance(server_cfg.noise_chance) ? sim_random((uint32_t)len + 1) : len;

	frame(s->conn, HEADERS, (uint8_t)(flags | (first == len ? END_HEADERS : 0)), s->id, b->mem,
		first);
	if (first < len)
		frame(s->conn, CONTINUATION, END_HEADERS, s->id, b->mem + first, len - first);
}

/* ":status: 200" is the static table's 8, the name "content-type" its 31. */
static void put_head(struct conn *c, struct buf *b)
{
	static const char type[] = "application/grpc";
	const uint8_t literal[] = {0x88, 0x40 | 31, sizeof(type) - 1};
	const uint8_t again[] = {0x88, 0x80 | 62};

	if (!server_cfg.has_index) {
		buf_put(b, again, 1);
		put_field(b, "content-type", type);
	} else if (c->is_indexed) {
		buf_put(b, again, sizeof(again));
	} else {
		c->is_indexed = true;
		buf_put(b, literal, sizeof(literal));
		buf_put(b, type, sizeof(type) - 1);
	}
}

static void send_head(struct stream *s)
{
	uint8_t mem[TRAILER_MAX];
	struct buf b;

	if (s->has_headers)
		return;
	s->has_headers = true;
	buf_init(&b, mem, sizeof(mem));
	put_head(s->conn, &b);
	send_block(s, &b, 0);
}

static void send_trailers(struct stream *s)
{
	uint8_t mem[TRAILER_MAX];
	char code[8];
	struct buf b;

	buf_init(&b, mem, sizeof(mem));
	if (!s->has_headers)
		put_head(s->conn, &b);
	snprintf(code, sizeof(code), "%d", s->code);
	put_field(&b, "grpc-status", code);
	if (s->message[0])
		put_field(&b, "grpc-message", s->message);
	send_block(s, &b, END_STREAM);
	if (!s->is_client_done)
		frame32(s->conn, RST_STREAM, s->id, 0);
}

static void send_data(struct stream *s, size_t n)
{
	struct conn *c = s->conn;
	size_t pad = 0;
	struct bytes b = {0};
	uint8_t pad_len;

	if (sim_chance(server_cfg.noise_chance) && (int64_t)n + 8 < s->window &&
		(int64_t)n + 8 < c->window)
		pad = sim_random(8);
	if (pad) {
		const uint8_t zeros[8] = {0};

		pad_len = (uint8_t)(pad - 1);
		bytes_put(&b, &pad_len, 1);
		bytes_put(&b, s->out.p, n);
		bytes_put(&b, zeros, pad - 1);
		frame(c, DATA, PADDED, s->id, b.p, b.len);
		bytes_free(&b);
	} else {
		frame(c, DATA, 0, s->id, s->out.p, n);
	}
	s->window -= (int64_t)(n + pad);
	c->window -= (int64_t)(n + pad);
	bytes_drop(&s->out, n);
}

/* One frame of this stream, if it can go. */
static bool stream_step(struct stream *s)
{
	struct conn *c = s->conn;
	int64_t n = (int64_t)s->out.len;

	if (s->is_dead || (!n && !s->is_finished))
		return false;
	if (!n) {
		send_trailers(s);
		stream_kill(s);
		return true;
	}
	send_head(s);
	if (n > s->window)
		n = s->window;
	if (n > c->window)
		n = c->window;
	if (n > server_cfg.frame_max)
		n = server_cfg.frame_max;
	if (n > c->peer_frame_max)
		n = c->peer_frame_max;
	if (n <= 0)
		return false;
	if (sim_chance(200))
		n = 1 + sim_random((uint32_t)n);
	if (sim_chance(server_cfg.noise_chance))
		noise(c);
	if (sim_chance(server_cfg.reset_chance)) {
		static const uint32_t codes[] = {2, 7, 8, 11};

		frame32(c, RST_STREAM, s->id, codes[sim_random(4)]);
		stream_kill(s);
		return true;
	}
	send_data(s, (size_t)n);
	if (sim_chance(server_cfg.goaway_chance))
		server_goaway(c->id);
	if (!s->out.len && !s->is_finished)
		ops->drained(&s->call);
	return true;
}

static void conn_pump(struct conn *c)
{
	bool has_moved = true;

	while (has_moved && !c->is_closed && c->has_settings) {
		has_moved = false;
		for (struct stream *s = c->streams; s; s = s->next)
			has_moved = stream_step(s) || has_moved;
	}
}

void server_send(struct server_call *call, const void *p, size_t len)
{
	struct stream *s = (struct stream *)call;
	const uint8_t prefix[5] = {
		0, (uint8_t)(len >> 24), (uint8_t)(len >> 16), (uint8_t)(len >> 8), (uint8_t)len};

	if (s->is_dead || s->is_finished)
		return;
	bytes_put(&s->out, prefix, sizeof(prefix));
	bytes_put(&s->out, p, len);
	conn_pump(s->conn);
}

void server_finish(struct server_call *call, int code, const char *message)
{
	struct stream *s = (struct stream *)call;

	if (s->is_dead || s->is_finished)
		return;
	s->is_finished = true;
	s->code = code;
	snprintf(s->message, sizeof(s->message), "%s", message);
	conn_pump(s->conn);
}

static struct conn *conn_find(uint32_t id)
{
	for (struct conn *c = conns; c; c = c->next) {
		if (c->id == id && !c->is_closed)
			return c;
	}
	return NULL;
}

static void on_goaway_end(void *user, uint64_t id)
{
	struct conn *c = conn_find((uint32_t)id);
	uint8_t p[8] = {0};

	(void)user;
	if (!c)
		return;
	put32(p, c->last_stream);
	frame(c, GOAWAY, 0, 0, p, sizeof(p));
	sim_conn_cut(c->id, SIM_CUT_END);
}

/* RFC 9113 6.8: first with the highest id there is, so that what is on the way is still taken. */
void server_goaway(uint32_t id)
{
	struct conn *c = conn_find(id);
	uint8_t p[8] = {0x7f, 0xff, 0xff, 0xff};

	if (!c || c->is_going)
		return;
	c->is_going = true;
	frame(c, GOAWAY, 0, 0, p, sizeof(p));
	sim_at(sim_between(0, 3 * SIM_S), on_goaway_end, NULL, id);
}

/* -- frames in -------------------------------------------------------------------------------- */

static void on_field(
	void *user, const char *name, size_t name_len, const char *value, size_t value_len)
{
	struct stream *s = user;

	if (!s)
		return;
	if (name_len == 5 && memcmp(name, ":path", 5) == 0)
		snprintf(s->call.path, sizeof(s->call.path), "%.*s", (int)value_len, value);
	else if (name_len == 5 && memcmp(name, "token", 5) == 0)
		snprintf(s->call.token, sizeof(s->call.token), "%.*s", (int)value_len, value);
	else if (name_len == 9 && memcmp(name, "hasleader", 9) == 0)
		s->call.has_leader = true;
}

static struct stream *stream_open(struct conn *c, uint32_t id)
{
	struct stream *s = calloc(1, sizeof(*s));
	uint32_t open = 0;

	if (!s)
		abort();
	for (struct stream *o = c->streams; o; o = o->next)
		open += !o->is_dead;
	if (server_cfg.max_streams && open >= server_cfg.max_streams)
		verdict_fail("more streams than MAX_CONCURRENT_STREAMS %u",
			(unsigned)server_cfg.max_streams);
	if (id % 2 == 0 || id <= c->last_stream)
		verdict_fail(
			"stream %u is opened behind %u", (unsigned)id, (unsigned)c->last_stream);
	c->last_stream = id;
	s->conn = c;
	s->id = id;
	s->window = c->peer_window;
	s->in_window = server_cfg.window;
	s->call = (struct server_call){.serial = ++serials, .conn = c->id, .host = c->host};
	s->next = c->streams;
	c->streams = s;
	return s;
}

static void messages(struct stream *s)
{
	while (s->in.len >= 5 && !s->is_dead) {
		size_t len = get32(s->in.p + 1);
		uint8_t *p;

		if (s->in.len < 5 + len)
			break;
		p = malloc(len + 1);
		if (!p)
			abort();
		memcpy(p, s->in.p + 5, len);
		bytes_drop(&s->in, 5 + len);
		if (!s->is_finished)
			ops->message(&s->call, p, len);
		free(p);
	}
}

static void owe(
	struct conn *c, uint32_t stream, int64_t *window, uint32_t *owed, size_t len, uint32_t all)
{
	*window -= (int64_t)len;
	if (*window < 0)
		verdict_fail("the client sends more than a window of ours (stream %u)",
			(unsigned)stream);
	*owed += (uint32_t)len;
	if (*owed && (!server_cfg.is_lazy || *owed > all / 2)) {
		frame32(c, WINDOW_UPDATE, stream, *owed);
		*window += *owed;
		*owed = 0;
	}
}

static void on_data(struct conn *c, uint32_t id, uint8_t flags, const uint8_t *p, size_t len)
{
	struct stream *s = stream_find(c, id);

	owe(c, 0, &c->in_window, &c->in_owed, len, WINDOW_START);
	if (!s)
		return;
	if (len)
		owe(c, id, &s->in_window, &s->in_owed, len, server_cfg.window);
	bytes_put(&s->in, p, len);
	if (flags & END_STREAM)
		s->is_client_done = true;
	messages(s);
}

static void on_settings(struct conn *c, uint8_t flags, const uint8_t *p, size_t len)
{
	if (flags & ACK)
		return;
	for (size_t i = 0; i + 6 <= len; i += 6) {
		uint32_t v = get32(p + i + 2);

		if (p[i + 1] == 4) {
			for (struct stream *s = c->streams; s; s = s->next)
				s->window += (int64_t)v - c->peer_window;
			c->peer_window = v;
		}
		if (p[i + 1] == 5)
			c->peer_frame_max = v;
	}
	frame(c, SETTINGS, ACK, 0, NULL, 0);
}

static void on_window(struct conn *c, uint32_t id, uint32_t v)
{
	struct stream *s = id ? stream_find(c, id) : NULL;
	int64_t *window = id ? s ? &s->window : NULL : &c->window;

	if (!v)
		verdict_fail("WINDOW_UPDATE of 0");
	if (!window)
		return;
	*window += v;
	if (*window > WINDOW_MAX)
		verdict_fail("a window above 2^31 - 1 (stream %u)", (unsigned)id);
}

static void on_headers(
	struct conn *c, uint8_t type, uint8_t flags, uint32_t id, const uint8_t *p, size_t len)
{
	struct stream *s;

	if (type == HEADERS) {
		if (flags & PADDED)
			verdict_fail("the simulated server does not know padded HEADERS");
		s = stream_open(c, id);
		c->block_stream = id;
		c->block_flags = flags;
		hpack_block_begin(&c->hpack);
	}
	s = stream_find(c, c->block_stream);
	if (hpack_block_decode(&c->hpack, p, len, on_field, s))
		verdict_fail("the client's header block is malformed");
	if (!(flags & END_HEADERS))
		return;
	if (hpack_block_end(&c->hpack))
		verdict_fail("the client's header block ends within a field");
	if (s && (c->block_flags & END_STREAM))
		s->is_client_done = true;
}

static void on_frame(
	struct conn *c, uint8_t type, uint8_t flags, uint32_t id, const uint8_t *p, size_t len)
{
	struct stream *s;

	switch (type) {
	case DATA:
		on_data(c, id, flags, p, len);
		break;
	case HEADERS:
	case CONTINUATION:
		on_headers(c, type, flags, id, p, len);
		break;
	case RST_STREAM:
		s = stream_find(c, id);
		if (s)
			stream_kill(s);
		break;
	case SETTINGS:
		on_settings(c, flags, p, len);
		break;
	case PING:
		if (!(flags & ACK))
			frame(c, PING, ACK, 0, p, len);
		break;
	case WINDOW_UPDATE:
		on_window(c, id, get32(p) & WINDOW_MAX);
		break;
	default:
		break;
	}
}

static void send_settings(struct conn *c)
{
	uint8_t p[12] = {0, 4};
	size_t len = 6;

	put32(p + 2, server_cfg.window);
	if (server_cfg.max_streams) {
		p[7] = 3;
		put32(p + 8, server_cfg.max_streams);
		len = 12;
	}
	frame(c, SETTINGS, 0, 0, p, len);
	c->has_settings = true;
}

static void on_opened(uint32_t id, int host)
{
	struct conn *c = calloc(1, sizeof(*c));

	if (!c)
		abort();
	c->id = id;
	c->host = host;
	c->window = c->in_window = WINDOW_START;
	c->peer_window = WINDOW_START;
	c->peer_frame_max = 16384;
	hpack_decoder_init(&c->hpack);
	c->next = conns;
	conns = c;
	ops->opened(id, host);
}

static void on_received(uint32_t id, const uint8_t *p, size_t len)
{
	struct conn *c = conn_find(id);
	size_t want = sizeof(preface) - 1;

	if (!c)
		return;
	bytes_put(&c->in, p, len);
	if (!c->has_preface) {
		if (c->in.len < want)
			return;
		if (memcmp(c->in.p, preface, want) != 0)
			verdict_fail("the connection does not begin with the preface");
		bytes_drop(&c->in, want);
		c->has_preface = true;
		if (!sim_chance(server_cfg.silent_chance))
			send_settings(c);
	}
	while (c->in.len >= FRAME_HEAD && !c->is_closed) {
		const uint8_t *h = c->in.p;
		size_t n = (size_t)h[0] << 16 | (size_t)h[1] << 8 | h[2];
		uint8_t *f;

		if (n > 16384)
			verdict_fail("a frame of %zu bytes from the client", n);
		if (c->in.len < FRAME_HEAD + n)
			break;
		f = malloc(FRAME_HEAD + n);
		if (!f)
			abort();
		memcpy(f, h, FRAME_HEAD + n);
		bytes_drop(&c->in, FRAME_HEAD + n);
		on_frame(c, f[3], f[4], get32(f + 5) & WINDOW_MAX, f + FRAME_HEAD, n);
		free(f);
	}
	conn_pump(c);
	conn_sweep(c);
}

static void conn_shut(struct conn *c)
{
	c->is_closed = true;
	for (struct stream *s = c->streams; s; s = s->next)
		stream_kill(s);
}

static void on_closed(uint32_t id)
{
	struct conn *c = conn_find(id);

	if (c)
		conn_shut(c);
	/* Others, of long ago, can be freed now: nobody is within a call on them. */
	for (struct conn **at = &conns; *at;) {
		struct conn *old = *at;

		if (!old->is_closed || old == c) {
			at = &old->next;
			continue;
		}
		*at = old->next;
		conn_sweep(old);
		bytes_free(&old->in);
		free(old);
	}
}

static const struct sim_server_ops net_ops = {
	.opened = on_opened,
	.received = on_received,
	.closed = on_closed,
};

void server_reset(const struct server_ops *new_ops)
{
	for (struct conn *c = conns; ops && c; c = c->next)
		conn_shut(c);
	on_closed(0);
	ops = new_ops;
	serials = 0;
	server_cfg = (struct server_cfg){.window = WINDOW_START, .frame_max = 16384};
	sim_net.server = &net_ops;
}
