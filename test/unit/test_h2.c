/* SPDX-License-Identifier: Apache-2.0 */
/* MAP_ANONYMOUS */
#define _DEFAULT_SOURCE

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

#include "base/err.h"
#include "guard.h"
#include "net/h2.h"
#include "vectors/h2.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

enum {
	DATA = 0,
	HEADERS = 1,
	PRIORITY = 2,
	RST_STREAM = 3,
	SETTINGS = 4,
	PUSH_PROMISE = 5,
	PING = 6,
	GOAWAY = 7,
	WINDOW_UPDATE = 8,
	CONTINUATION = 9,
	END_STREAM = 1,
	ACK = 1,
	END_HEADERS = 4,
	PADDED = 8,
	PRIORITY_FLAG = 0x20,
	STREAMS = 4,
	WINDOW = CONFIG_H2_WINDOW_BYTES,
};

/* The blocks of some tests are made for these sizes. */
static void skip_unless_default_sizes(void)
{
	if (CONFIG_HPACK_TABLE_BYTES != 4096 || CONFIG_H2_HEADER_LIST_BYTES != 4096)
		skip();
}

/* One connection, its streams, and what their owner was told, as text. */
struct world {
	struct h2 h2;
	struct h2_stream s[STREAMS];
	uint8_t ring[STREAMS][WINDOW];
	size_t allow[STREAMS]; /* how many bytes data() still takes */
	size_t got[STREAMS];
	struct h2_stream *victim; /* is reset within the next data() */
	bool is_closing; /* h2_close() within the next data() */
	bool is_asking_again; /* h2_request() with the same stream in its end() */
	bool is_resuming; /* h2_stream_resume() within data(), once */
	unsigned writable;
	uint8_t out[4096];
	uint8_t in[1 << 17];
	size_t in_len;
	char log[1 << 16];
	size_t log_len;
	struct h2_stream *log_data; /* the log ends with data of this stream */
};

static struct world w;

static const struct h2_field request_fields[] = {
	{":method", "POST", 4, false},
	{":scheme", "http", 4, false},
	{":path", "/p", 2, false},
	{"te", "trailers", 8, false},
	{"token", "secret", 6, true},
};

static void log_put(const char *p, size_t len)
{
	assert_true(len < sizeof(w.log) - w.log_len);
	memcpy(w.log + w.log_len, p, len);
	w.log_len += len;
	w.log[w.log_len] = '\0';
}

static __attribute__((format(printf, 1, 2))) void log_line(const char *fmt, ...)
{
	char text[256];
	va_list ap;

	va_start(ap, fmt);
	int n = vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	if (w.log_data)
		log_put("\n", 1);
	w.log_data = NULL;
	log_put(text, (size_t)n);
}

static int number_of(const struct h2_stream *s)
{
	return (int)(s - w.s);
}

static void on_header(
	struct h2_stream *s, const char *name, size_t name_len, const char *value, size_t value_len)
{
	log_line("%d %.*s: %.*s\n", number_of(s), (int)name_len, name, (int)value_len, value);
}

static void on_header_end(struct h2_stream *s, enum h2_block block, int status)
{
	static const char *const names[] = {"info", "headers", "trailers"};

	log_line("%d %s %d\n", number_of(s), names[block], status);
}

static size_t on_data(struct h2_stream *s, const uint8_t *p, size_t len)
{
	int i = number_of(s);
	size_t n = len < w.allow[i] ? len : w.allow[i];

	assert_true(len > 0);
	if (n) {
		if (w.log_data != s) {
			log_line("%d data ", i);
			w.log_data = s;
		}
		log_put((const char *)p, n < 400 ? n : 400);
	}
	w.allow[i] -= n;
	w.got[i] += n;
	if (w.is_resuming) {
		w.is_resuming = false;
		w.allow[i] = SIZE_MAX;
		h2_stream_resume(&w.h2, s);
	}
	if (w.victim) {
		struct h2_stream *victim = w.victim;

		w.victim = NULL;
		h2_stream_reset(&w.h2, victim, H2_CANCEL);
	}
	if (w.is_closing)
		h2_close(&w.h2, H2_NO_ERROR);
	return n;
}

static int request(int i, bool is_end)
{
	return h2_request(&w.h2, &w.s[i], request_fields, COUNT(request_fields), is_end);
}

static void on_end(struct h2_stream *s)
{
	log_line("%d end\n", number_of(s));
	assert_int_equal(s->id, 0);
	if (w.is_asking_again) {
		w.is_asking_again = false;
		assert_int_equal(request(number_of(s), false), 0);
	}
}

static void on_reset(struct h2_stream *s, enum h2_code code, bool is_by_peer, bool is_unprocessed)
{
	assert_int_equal(s->id, 0);
	assert_true(is_by_peer || *h2_error_text(&w.h2));
	log_line("%d reset %s %s%s\n", number_of(s), h2_code_name(code), is_by_peer ? "peer" : "us",
		is_unprocessed ? " unprocessed" : "");
}

static const struct h2_stream_ops stream_ops = {
	.header = on_header,
	.header_end = on_header_end,
	.data = on_data,
	.end = on_end,
	.reset = on_reset,
};

static void on_settings(struct h2 *h2)
{
	log_line("settings %u %u\n", h2->peer.initial_window_size, h2->peer.max_frame_size);
}

static void on_ping_ack(struct h2 *h2)
{
	(void)h2;
	log_line("ping_ack\n");
}

static void on_goaway(
	struct h2 *h2, uint32_t last_id, enum h2_code code, const uint8_t *debug, size_t debug_len)
{
	(void)h2;
	log_line("goaway %u %s \"%.*s\"\n", last_id, h2_code_name(code), (int)debug_len,
		(const char *)debug);
}

static void on_writable(struct h2 *h2)
{
	(void)h2;
	w.writable++;
}

static const struct h2_ops ops = {
	.settings = on_settings,
	.ping_ack = on_ping_ack,
	.goaway = on_goaway,
	.writable = on_writable,
};

static void in_put(const void *p, size_t len)
{
	assert_true(len <= sizeof(w.in) - w.in_len);
	if (len)
		memcpy(w.in + w.in_len, p, len);
	w.in_len += len;
}

static void in_frame(int type, int flags, uint32_t id, const void *p, size_t len)
{
	const uint8_t head[9] = {(uint8_t)(len >> 16), (uint8_t)(len >> 8), (uint8_t)len,
		(uint8_t)type, (uint8_t)flags, (uint8_t)(id >> 24), (uint8_t)(id >> 16),
		(uint8_t)(id >> 8), (uint8_t)id};

	in_put(head, sizeof(head));
	in_put(p, len);
}

static unsigned hex_digit(char c)
{
	return c <= '9' ? (unsigned)(c - '0') : (unsigned)(c - 'a' + 10);
}

/* Hex digits, blanks, and [text] for a string of HPACK without Huffman code. */
static size_t payload(uint8_t *dst, const char *text)
{
	size_t n = 0;

	while (*text) {
		if (*text == ' ') {
			text++;
		} else if (*text == '[') {
			size_t len = (size_t)(strchr(text, ']') - text) - 1;

			dst[n++] = (uint8_t)len;
			memcpy(dst + n, text + 1, len);
			n += len;
			text += len + 2;
		} else {
			dst[n++] = (uint8_t)(hex_digit(text[0]) << 4 | hex_digit(text[1]));
			text += 2;
		}
	}
	return n;
}

static void in_text(int type, int flags, uint32_t id, const char *text)
{
	uint8_t mem[512];

	in_frame(type, flags, id, mem, payload(mem, text));
}

/* Gives what was put in, in pieces of step bytes, each against the end of memory. */
static int feed(size_t step)
{
	int rc = 0;

	for (size_t at = 0; at < w.in_len && !rc; at += step) {
		size_t n = w.in_len - at < step ? w.in_len - at : step;

		rc = h2_recv(&w.h2, guard_copy(w.in + at, n), n);
		assert_true(w.h2.out.tail <= w.h2.out.cap);
	}
	w.in_len = 0;
	return rc;
}

static int feed_all(void)
{
	return feed(sizeof(w.in));
}

static void sent(void)
{
	buf_clear(&w.h2.out);
	h2_sent(&w.h2);
}

/* The frame at *at of out: its type, and where the next is. -1 at the end. */
static int out_next(size_t *at, int *flags, uint32_t *id, const uint8_t **p, size_t *len)
{
	const uint8_t *head = buf_head(&w.h2.out) + *at;

	if (*at == buf_len(&w.h2.out))
		return -1;
	assert_true(buf_len(&w.h2.out) - *at >= 9);
	*len = (size_t)head[0] << 16 | (size_t)head[1] << 8 | head[2];
	*flags = head[4];
	*id = (uint32_t)head[5] << 24 | (uint32_t)head[6] << 16 | (uint32_t)head[7] << 8 | head[8];
	*p = head + 9;
	*at += 9 + *len;
	assert_true(*at <= buf_len(&w.h2.out));
	return head[3];
}

/* What out holds, as text: one word a frame. */
static const char *out_text(void)
{
	static const char *const names[] = {"DATA", "HEADERS", "PRIORITY", "RST_STREAM", "SETTINGS",
		"PUSH_PROMISE", "PING", "GOAWAY", "WINDOW_UPDATE", "CONTINUATION"};
	static char text[4096];
	size_t at = 0, len, n = 0;
	const uint8_t *p;
	int type, flags;
	uint32_t id;

	text[0] = '\0';
	while ((type = out_next(&at, &flags, &id, &p, &len)) >= 0) {
		uint32_t v = len >= 4 ? (uint32_t)p[len - 4] << 24 | (uint32_t)p[len - 3] << 16 |
						(uint32_t)p[len - 2] << 8 | p[len - 1]
				      : 0;

		if (type == PING || type == DATA || type == HEADERS)
			v = (uint32_t)len;
		n += (size_t)snprintf(text + n, sizeof(text) - n, "%s%s.%d.%u.%u", n ? " " : "",
			names[type], flags, id, v);
	}
	return text;
}

/* A connection whose peer's SETTINGS are in, with nothing in out. */
static void start(void)
{
	memset(&w, 0, sizeof(w));
	h2_init(&w.h2, &ops, NULL, w.out, sizeof(w.out));
	/* The blocks in here do not begin with the size of a table that was made smaller. */
	w.h2.hpack.is_update_due = false;
	for (int i = 0; i < STREAMS; i++) {
		w.s[i].ops = &stream_ops;
		buf_init(&w.s[i].ring, w.ring[i], sizeof(w.ring[i]));
		w.allow[i] = SIZE_MAX;
	}
}

static void start_ready(void)
{
	start();
	in_text(SETTINGS, 0, 0, "");
	assert_int_equal(feed_all(), 0);
	buf_clear(&w.h2.out);
	w.log_len = 0;
	w.log[0] = '\0';
}

/* ... and with stream 0 open (id 1), its final headers received when has_headers. */
static void start_open(bool has_headers)
{
	start_ready();
	assert_int_equal(request(0, false), 0);
	if (has_headers) {
		in_text(HEADERS, END_HEADERS, 1, "88");
		assert_int_equal(feed_all(), 0);
	}
	buf_clear(&w.h2.out);
	w.log_len = 0;
	w.log[0] = '\0';
}

static void test_preface(void **state)
{
	static const char want[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

	(void)state;
	start();
	assert_memory_equal(buf_head(&w.h2.out), want, 24);
	buf_drop(&w.h2.out, 24);
	/* ENABLE_PUSH 0, INITIAL_WINDOW_SIZE, MAX_HEADER_LIST_SIZE */
	const uint8_t *p = buf_head(&w.h2.out);
	assert_int_equal(p[2], 18 + (CONFIG_HPACK_TABLE_BYTES == 4096 ? 0 : 6));
	assert_memory_equal(p + 3, "\x04\0\0\0\0\0\0\x02\0\0\0\0\0\x04", 14);
	assert_int_equal(buf_len(&w.h2.out), 9 + p[2]);
}

static void test_request_and_answer(void **state)
{
	(void)state;
	start_ready();
	assert_int_equal(request(0, false), 0);
	/* RFC 9113 4.3.1: the first block tells that we have no table. */
	const uint8_t want[] =
		"\x01\x04\0\0\0\x01\x20\x83\x86\x04\x02/p\x00\x02te\x08trailers\x10\x05token"
		"\x06secret";
	assert_int_equal(buf_len(&w.h2.out), 3 + sizeof(want) - 1);
	assert_memory_equal(buf_head(&w.h2.out) + 3, want, sizeof(want) - 1);
	buf_clear(&w.h2.out);
	assert_int_equal(h2_stream_send(&w.h2, &w.s[0], "hi", 2, true), 2);
	assert_string_equal(out_text(), "DATA.1.1.2");
	assert_int_equal(h2_stream_send(&w.h2, &w.s[0], "hi", 2, true), ERR_CLOSED);
	in_text(HEADERS, END_HEADERS, 1, "88 00[a][b]");
	in_frame(DATA, 0, 1, "xyz", 3);
	in_text(HEADERS, END_HEADERS | END_STREAM, 1, "00[grpc-status][0]");
	assert_int_equal(feed_all(), 0);
	assert_string_equal(w.log,
		"0 a: b\n0 headers 200\n0 data xyz\n0 grpc-status: 0\n0 trailers 0\n0 end\n");
	/* Both sides had ended: nothing is left to be said. */
	assert_string_equal(out_text(), "DATA.1.1.2");
	/* The second request does not repeat the table's size, and has the next id. */
	buf_clear(&w.h2.out);
	assert_int_equal(request(1, true), 0);
	assert_int_equal(w.s[1].id, 3);
	assert_int_equal(buf_head(&w.h2.out)[4], END_HEADERS | END_STREAM);
	assert_int_equal(buf_head(&w.h2.out)[9], 0x83);
}

struct frame {
	int type, flags;
	uint32_t id;
	const char *payload;
};

/* want: "CODE" of the GOAWAY, "stream CODE" of the RST_STREAM, or "ok". */
struct rule {
	const char *name;
	bool has_headers; /* the answer's headers were received before */
	struct frame f[4];
	const char *want;
};

#define END_FRAMES \
	{ \
		-1, 0, 0, NULL \
	}

/* clang-format off */
static const struct rule rules[] = {
	/* RFC 9113 4.1, 5.1 */
	{"DATA on stream 0", true, {{DATA, 0, 0, "00"}, END_FRAMES}, "PROTOCOL_ERROR"},
	{"DATA on an idle stream", true, {{DATA, 0, 3, "00"}, END_FRAMES}, "PROTOCOL_ERROR"},
	{"DATA on a server's stream", true, {{DATA, 0, 2, "00"}, END_FRAMES}, "PROTOCOL_ERROR"},
	{"HEADERS on stream 0", true, {{HEADERS, 4, 0, "88"}, END_FRAMES}, "PROTOCOL_ERROR"},
	{"HEADERS on an idle stream", true, {{HEADERS, 4, 3, "88"}, END_FRAMES}, "PROTOCOL_ERROR"},
	{"HEADERS on a server's stream", true, {{HEADERS, 4, 2, "88"}, END_FRAMES}, "PROTOCOL_ERROR"},
	{"the reserved bit of an id", true, {{DATA, 0, 0x80000001, "61"}, END_FRAMES}, "ok"},
	{"DATA after END_STREAM", true, {{DATA, 1, 1, "61"}, {DATA, 0, 1, "61"}, END_FRAMES}, "STREAM_CLOSED"},
	{"HEADERS after END_STREAM", true, {{DATA, 1, 1, "61"}, {HEADERS, 5, 1, "88"}, END_FRAMES}, "STREAM_CLOSED"},
	{"DATA after RST_STREAM", true, {{RST_STREAM, 0, 1, "00000000"}, {DATA, 0, 1, "61"}, END_FRAMES}, "STREAM_CLOSED"},
	{"RST_STREAM after END_STREAM", true, {{DATA, 1, 1, "61"}, {RST_STREAM, 0, 1, "00000000"}, END_FRAMES}, "ok"},
	{"WINDOW_UPDATE after END_STREAM", true, {{DATA, 1, 1, "61"}, {WINDOW_UPDATE, 0, 1, "00000001"}, END_FRAMES}, "ok"},
	{"PRIORITY after END_STREAM", true, {{DATA, 1, 1, "61"}, {PRIORITY, 0, 1, "00000000 10"}, END_FRAMES}, "ok"},
	/* 5.5 */
	{"unknown frame on a stream", true, {{0x42, 0xff, 1, "010203"}, {0xff, 0, 0, ""}, {DATA, 1, 1, ""}, END_FRAMES}, "ok"},
	{"unknown frame in a block", true, {{HEADERS, 1, 1, "00"}, {0x42, 0, 1, ""}, END_FRAMES}, "PROTOCOL_ERROR"},
	/* 6.1 */
	{"DATA before HEADERS", false, {{DATA, 0, 1, "61"}, END_FRAMES}, "stream PROTOCOL_ERROR"},
	{"padded DATA", true, {{DATA, 8, 1, "02 61 0000"}, {DATA, 9, 1, "00"}, END_FRAMES}, "ok"},
	{"DATA of padding only", true, {{DATA, 9, 1, "02 0000"}, END_FRAMES}, "ok"},
	{"DATA with more padding than frame", true, {{DATA, 8, 1, "03 0000"}, END_FRAMES}, "PROTOCOL_ERROR"},
	{"padded DATA without a length", true, {{DATA, 8, 1, ""}, END_FRAMES}, "FRAME_SIZE_ERROR"},
	/* 6.2 */
	{"HEADERS with padding and priority", false, {{HEADERS, 0x2d, 1, "02 00000003 10 88 0000"}, END_FRAMES}, "ok"},
	{"HEADERS with priority cut", false, {{HEADERS, 0x25, 1, "00000003"}, END_FRAMES}, "FRAME_SIZE_ERROR"},
	{"HEADERS with more padding than frame", false, {{HEADERS, 0xd, 1, "02 88"}, END_FRAMES}, "PROTOCOL_ERROR"},
	/* 6.3 */
	{"PRIORITY", true, {{PRIORITY, 0, 1, "00000000 10"}, {PRIORITY, 0, 7, "00000000 10"}, END_FRAMES}, "ok"},
	{"PRIORITY on stream 0", true, {{PRIORITY, 0, 0, "00000000 10"}, END_FRAMES}, "PROTOCOL_ERROR"},
	{"PRIORITY of 4 bytes", true, {{PRIORITY, 0, 1, "00000000"}, END_FRAMES}, "FRAME_SIZE_ERROR"},
	/* 6.4 */
	{"RST_STREAM of 3 bytes", true, {{RST_STREAM, 0, 1, "000000"}, END_FRAMES}, "FRAME_SIZE_ERROR"},
	{"RST_STREAM on stream 0", true, {{RST_STREAM, 0, 0, "00000000"}, END_FRAMES}, "PROTOCOL_ERROR"},
	{"RST_STREAM on an idle stream", true, {{RST_STREAM, 0, 5, "00000000"}, END_FRAMES}, "PROTOCOL_ERROR"},
	/* 6.5 */
	{"SETTINGS on a stream", true, {{SETTINGS, 0, 1, ""}, END_FRAMES}, "PROTOCOL_ERROR"},
	{"SETTINGS of 5 bytes", true, {{SETTINGS, 0, 0, "0001000000"}, END_FRAMES}, "FRAME_SIZE_ERROR"},
	{"SETTINGS ACK with a payload", true, {{SETTINGS, 1, 0, "000100000000"}, END_FRAMES}, "FRAME_SIZE_ERROR"},
	{"SETTINGS ACK", true, {{SETTINGS, 1, 0, ""}, END_FRAMES}, "ok"},
	{"ENABLE_PUSH 1", true, {{SETTINGS, 0, 0, "000200000001"}, END_FRAMES}, "PROTOCOL_ERROR"},
	{"ENABLE_PUSH 0", true, {{SETTINGS, 0, 0, "000200000000"}, END_FRAMES}, "ok"},
	{"INITIAL_WINDOW_SIZE 2^31", true, {{SETTINGS, 0, 0, "000480000000"}, END_FRAMES}, "FLOW_CONTROL_ERROR"},
	{"INITIAL_WINDOW_SIZE 2^31-1", true, {{SETTINGS, 0, 0, "00047fffffff"}, END_FRAMES}, "ok"},
	{"MAX_FRAME_SIZE 16383", true, {{SETTINGS, 0, 0, "000500003fff"}, END_FRAMES}, "PROTOCOL_ERROR"},
	{"MAX_FRAME_SIZE 2^24", true, {{SETTINGS, 0, 0, "000501000000"}, END_FRAMES}, "PROTOCOL_ERROR"},
	{"MAX_FRAME_SIZE 2^24-1", true, {{SETTINGS, 0, 0, "000500ffffff"}, END_FRAMES}, "ok"},
	{"unknown setting", true, {{SETTINGS, 0, 0, "4242ffffffff 000300000001"}, END_FRAMES}, "ok"},
	/* 6.6, 8.4 */
	{"PUSH_PROMISE", true, {{PUSH_PROMISE, 4, 1, "00000002 82"}, END_FRAMES}, "PROTOCOL_ERROR"},
	/* 6.7 */
	{"PING on a stream", true, {{PING, 0, 1, "0000000000000000"}, END_FRAMES}, "PROTOCOL_ERROR"},
	{"PING of 7 bytes", true, {{PING, 0, 0, "00000000000000"}, END_FRAMES}, "FRAME_SIZE_ERROR"},
	{"PING ACK nobody asked for", true, {{PING, 1, 0, "0000000000000000"}, END_FRAMES}, "ok"},
	/* 6.8 */
	{"GOAWAY on a stream", true, {{GOAWAY, 0, 1, "00000001 00000000"}, END_FRAMES}, "PROTOCOL_ERROR"},
	{"GOAWAY of 7 bytes", true, {{GOAWAY, 0, 0, "00000001 000000"}, END_FRAMES}, "FRAME_SIZE_ERROR"},
	{"GOAWAY with a rising id", true, {{GOAWAY, 0, 0, "00000001 00000000"}, {GOAWAY, 0, 0, "00000003 00000000"}, END_FRAMES}, "PROTOCOL_ERROR"},
	/* 6.9 */
	{"WINDOW_UPDATE of 3 bytes", true, {{WINDOW_UPDATE, 0, 1, "000001"}, END_FRAMES}, "FRAME_SIZE_ERROR"},
	{"WINDOW_UPDATE on an idle stream", true, {{WINDOW_UPDATE, 0, 3, "00000001"}, END_FRAMES}, "PROTOCOL_ERROR"},
	{"WINDOW_UPDATE of 0", true, {{WINDOW_UPDATE, 0, 0, "00000000"}, END_FRAMES}, "PROTOCOL_ERROR"},
	{"WINDOW_UPDATE of 0 on a stream", true, {{WINDOW_UPDATE, 0, 1, "00000000"}, END_FRAMES}, "stream PROTOCOL_ERROR"},
	{"connection window overflow", true, {{WINDOW_UPDATE, 0, 0, "7fff0001"}, END_FRAMES}, "FLOW_CONTROL_ERROR"},
	{"connection window of 2^31-1", true, {{WINDOW_UPDATE, 0, 0, "7fff0000"}, END_FRAMES}, "ok"},
	{"stream window overflow", true, {{WINDOW_UPDATE, 0, 1, "7fffffff"}, END_FRAMES}, "stream FLOW_CONTROL_ERROR"},
	{"stream window overflow by SETTINGS", true, {{WINDOW_UPDATE, 0, 1, "7fff0000"}, {SETTINGS, 0, 0, "000400010000"}, END_FRAMES}, "FLOW_CONTROL_ERROR"},
	/* 6.10 */
	{"CONTINUATION", false, {{HEADERS, 1, 1, "88 00"}, {CONTINUATION, 0, 1, ""}, {CONTINUATION, 4, 1, "[a][b]"}, END_FRAMES}, "ok"},
	{"CONTINUATION alone", false, {{CONTINUATION, 4, 1, "88"}, END_FRAMES}, "PROTOCOL_ERROR"},
	{"CONTINUATION after END_HEADERS", false, {{HEADERS, 4, 1, "88"}, {CONTINUATION, 4, 1, ""}, END_FRAMES}, "PROTOCOL_ERROR"},
	{"CONTINUATION of another stream", false, {{HEADERS, 0, 1, "88"}, {CONTINUATION, 4, 3, ""}, END_FRAMES}, "PROTOCOL_ERROR"},
	{"PING within a block", false, {{HEADERS, 0, 1, "88"}, {PING, 0, 0, "0000000000000000"}, END_FRAMES}, "PROTOCOL_ERROR"},
	/* 4.3 */
	{"HPACK index 0", false, {{HEADERS, 4, 1, "80"}, END_FRAMES}, "COMPRESSION_ERROR"},
	{"block cut short", false, {{HEADERS, 4, 1, "88 00 05"}, END_FRAMES}, "COMPRESSION_ERROR"},
	{"table update in the middle", false, {{HEADERS, 4, 1, "88 20"}, END_FRAMES}, "COMPRESSION_ERROR"},
	{"table update too large", false, {{HEADERS, 4, 1, "3fe2ff7f 88"}, END_FRAMES}, "COMPRESSION_ERROR"},
	{"table update at the start", false, {{HEADERS, 5, 1, "20 3fe11f 88"}, END_FRAMES}, "ok"},
	{"HPACK error after a malformed field", false, {{HEADERS, 4, 1, "88 00[A][b] 80"}, END_FRAMES}, "COMPRESSION_ERROR"},
	/* 8.1 */
	{"informational answers", false, {{HEADERS, 4, 1, "08[100]"}, {HEADERS, 4, 1, "08[103] 00[a][b]"}, {HEADERS, 5, 1, "88"}, END_FRAMES}, "ok"},
	{"informational answer with END_STREAM", false, {{HEADERS, 5, 1, "08[100]"}, END_FRAMES}, "stream PROTOCOL_ERROR"},
	{"DATA after an informational answer", false, {{HEADERS, 4, 1, "08[100]"}, {DATA, 0, 1, "61"}, END_FRAMES}, "stream PROTOCOL_ERROR"},
	{"trailers without END_STREAM", true, {{HEADERS, 4, 1, "00[a][b]"}, END_FRAMES}, "stream PROTOCOL_ERROR"},
	{"trailers with :status", true, {{HEADERS, 5, 1, "88"}, END_FRAMES}, "stream PROTOCOL_ERROR"},
	{"trailers that are empty", true, {{HEADERS, 5, 1, ""}, END_FRAMES}, "ok"},
	/* 8.1.1 */
	{"content-length", false, {{HEADERS, 4, 1, "88 0f0d[3]"}, {DATA, 8, 1, "02 6161 0000"}, {DATA, 1, 1, "61"}, END_FRAMES}, "ok"},
	{"content-length, with trailers", false, {{HEADERS, 4, 1, "88 0f0d[1]"}, {DATA, 0, 1, "61"}, {HEADERS, 5, 1, "00[a][b]"}, END_FRAMES}, "ok"},
	{"less than content-length", false, {{HEADERS, 4, 1, "88 0f0d[3]"}, {DATA, 1, 1, "6161"}, END_FRAMES}, "stream PROTOCOL_ERROR"},
	{"more than content-length", false, {{HEADERS, 4, 1, "88 0f0d[3]"}, {DATA, 0, 1, "61616161"}, END_FRAMES}, "stream PROTOCOL_ERROR"},
	{"content-length and nothing", false, {{HEADERS, 5, 1, "88 0f0d[3]"}, END_FRAMES}, "stream PROTOCOL_ERROR"},
	{"content-length of a 304", false, {{HEADERS, 5, 1, "8b 0f0d[3]"}, END_FRAMES}, "ok"},
	{"content-length twice", false, {{HEADERS, 5, 1, "88 0f0d[0] 0f0d[0]"}, END_FRAMES}, "ok"},
	{"two content-lengths", false, {{HEADERS, 4, 1, "88 0f0d[1] 0f0d[2]"}, END_FRAMES}, "stream PROTOCOL_ERROR"},
	{"content-length is no number", false, {{HEADERS, 4, 1, "88 0f0d[-1]"}, END_FRAMES}, "stream PROTOCOL_ERROR"},
	{"content-length too large", false, {{HEADERS, 4, 1, "88 0f0d[99999999999999999999]"}, END_FRAMES}, "stream PROTOCOL_ERROR"},
	/* 8.2.1 */
	{"name in upper case", false, {{HEADERS, 4, 1, "88 00[aB][b]"}, END_FRAMES}, "stream PROTOCOL_ERROR"},
	{"name with a blank", false, {{HEADERS, 4, 1, "88 00[a b][b]"}, END_FRAMES}, "stream PROTOCOL_ERROR"},
	{"name with a colon", false, {{HEADERS, 4, 1, "88 00[a:b][b]"}, END_FRAMES}, "stream PROTOCOL_ERROR"},
	{"name beyond ASCII", false, {{HEADERS, 4, 1, "88 0001ff[b]"}, END_FRAMES}, "stream PROTOCOL_ERROR"},
	{"name that is empty", false, {{HEADERS, 4, 1, "88 00[][b]"}, END_FRAMES}, "stream PROTOCOL_ERROR"},
	{"value with NUL", false, {{HEADERS, 4, 1, "88 00[a] 03610061"}, END_FRAMES}, "stream PROTOCOL_ERROR"},
	{"value with CR", false, {{HEADERS, 4, 1, "88 00[a] 03610d61"}, END_FRAMES}, "stream PROTOCOL_ERROR"},
	{"value with LF", false, {{HEADERS, 4, 1, "88 00[a] 03610a61"}, END_FRAMES}, "stream PROTOCOL_ERROR"},
	{"value after a blank", false, {{HEADERS, 4, 1, "88 00[a][ b]"}, END_FRAMES}, "stream PROTOCOL_ERROR"},
	{"value before a tab", false, {{HEADERS, 4, 1, "88 00[a] 026209"}, END_FRAMES}, "stream PROTOCOL_ERROR"},
	{"value that is empty, value beyond ASCII", false, {{HEADERS, 5, 1, "88 00[a][] 00[a] 03ff8001"}, END_FRAMES}, "ok"},
	/* 8.2.2 */
	{"connection", false, {{HEADERS, 4, 1, "88 00[connection][close]"}, END_FRAMES}, "stream PROTOCOL_ERROR"},
	{"transfer-encoding", false, {{HEADERS, 4, 1, "88 0f2a[chunked]"}, END_FRAMES}, "stream PROTOCOL_ERROR"},
	{"te", false, {{HEADERS, 4, 1, "88 00[te][gzip]"}, END_FRAMES}, "stream PROTOCOL_ERROR"},
	{"upgrade in trailers", true, {{HEADERS, 5, 1, "00[upgrade][h2c]"}, END_FRAMES}, "stream PROTOCOL_ERROR"},
	/* 8.3 */
	{"no :status", false, {{HEADERS, 4, 1, "00[a][b]"}, END_FRAMES}, "stream PROTOCOL_ERROR"},
	{"no field", false, {{HEADERS, 4, 1, ""}, END_FRAMES}, "stream PROTOCOL_ERROR"},
	{":status after a field", false, {{HEADERS, 4, 1, "88 00[a][b] 88"}, END_FRAMES}, "stream PROTOCOL_ERROR"},
	{":status twice", false, {{HEADERS, 4, 1, "88 88"}, END_FRAMES}, "stream PROTOCOL_ERROR"},
	{"pseudo-header of a request", false, {{HEADERS, 4, 1, "88 82"}, END_FRAMES}, "stream PROTOCOL_ERROR"},
	{":status of 2 digits", false, {{HEADERS, 4, 1, "08[20]"}, END_FRAMES}, "stream PROTOCOL_ERROR"},
	{":status of 4 digits", false, {{HEADERS, 4, 1, "08[0200]"}, END_FRAMES}, "stream PROTOCOL_ERROR"},
	{":status 099", false, {{HEADERS, 4, 1, "08[099]"}, END_FRAMES}, "stream PROTOCOL_ERROR"},
	{":status 600", false, {{HEADERS, 4, 1, "08[600]"}, END_FRAMES}, "stream PROTOCOL_ERROR"},
	{":status 2x0", false, {{HEADERS, 4, 1, "08[2x0]"}, END_FRAMES}, "stream PROTOCOL_ERROR"},
	{":status 101", false, {{HEADERS, 4, 1, "08[101]"}, END_FRAMES}, "stream PROTOCOL_ERROR"},
	{"a stream's error leaves the table in step", false, {{HEADERS, 4, 1, "00[a][b] 40[x][y]"}, {HEADERS, 4, 1, "be"}, END_FRAMES}, "stream PROTOCOL_ERROR"},
};
/* clang-format on */

static void rule_check(const struct rule *r, size_t step)
{
	const char *got = "ok";
	char mem[64];
	int rc;

	start_open(r->has_headers);
	for (const struct frame *f = r->f; f->payload; f++)
		in_text(f->type, f->flags, f->id, f->payload);
	rc = feed(step);
	if (rc) {
		size_t len = buf_len(&w.h2.out);

		got = h2_code_name(h2_error_code(&w.h2));
		/* The GOAWAY is the last that is sent, and carries the same code. */
		assert_true(w.h2.is_dead && len >= 17);
		assert_int_equal(buf_head(&w.h2.out)[len - 14], GOAWAY);
		assert_int_equal(buf_head(&w.h2.out)[len - 1], h2_error_code(&w.h2));
		assert_int_equal(rc, ERR_HTTP2);
		assert_int_equal(h2_recv(&w.h2, (const uint8_t *)"x", 1), rc);
	} else if (strstr(w.log, "us\n")) {
		snprintf(mem, sizeof(mem), "RST_STREAM.0.1.%u", h2_error_code(&w.h2));
		assert_non_null(strstr(out_text(), mem));
		snprintf(mem, sizeof(mem), "stream %s", h2_code_name(h2_error_code(&w.h2)));
		got = mem;
	}
	if (strcmp(got, r->want) != 0)
		fail_msg("%s, by %zu bytes: %s (%s), not %s", r->name, step, got,
			h2_error_text(&w.h2), r->want);
}

static void test_rules_of_rfc_9113(void **state)
{
	(void)state;
	skip_unless_default_sizes();
	for (size_t i = 0; i < COUNT(rules); i++) {
		rule_check(&rules[i], 1);
		rule_check(&rules[i], 5);
		rule_check(&rules[i], sizeof(w.in));
	}
}

static void test_first_frame(void **state)
{
	(void)state;
	start();
	in_text(PING, 0, 0, "0000000000000000");
	assert_int_equal(feed_all(), ERR_HTTP2);
	start();
	in_text(SETTINGS, ACK, 0, "");
	assert_int_equal(feed_all(), ERR_HTTP2);
	assert_int_equal(h2_error_code(&w.h2), H2_PROTOCOL_ERROR);
	start();
	in_put("HTTP/1.1 400 Bad Request\r\n", 26);
	assert_int_equal(feed_all(), ERR_HTTP2);
	assert_non_null(strstr(h2_error_text(&w.h2), "HTTP/1"));
	start_ready();
	in_put("\x00\x40\x01\0\0\0\0\0\x01", 9); /* 16385 */
	assert_int_equal(feed_all(), ERR_HTTP2);
	assert_int_equal(h2_error_code(&w.h2), H2_FRAME_SIZE_ERROR);
}

static void test_conversation_at_every_split(void **state)
{
	static const char want[] =
		"settings 65535 16384\n"
		"0 info 103\n"
		"0 content-type: application/grpc\n0 x-trace: 0123456789abcdef\n0 headers 200\n"
		"1 content-type: application/grpc\n1 x-trace: 0123456789abcdef\n1 headers 200\n"
		"0 data hello \n"
		"1 data "
		"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
		"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
		"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
		"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\n"
		"settings 70000 16384\n"
		"0 data world\n"
		"0 grpc-status: 0\n0 grpc-message: all is well\n0 trailers 0\n0 end\n"
		"2 content-type: application/grpc\n2 x-trace: 0123456789abcdef\n"
		"2 grpc-status: 5\n2 grpc-message: r\u00e9vision\n2 headers 200\n2 end\n"
		"1 reset CANCEL peer\n"
		"goaway 5 NO_ERROR \"bye\"\n";
	uint8_t mem[4096];
	size_t len = 0;

	(void)state;
	skip_unless_default_sizes();
	for (const char *p = server_hex; *p; p += 2)
		mem[len++] = (uint8_t)(hex_digit(p[0]) << 4 | hex_digit(p[1]));
	for (size_t step = 1; step <= len; step++) {
		start();
		/* The first SETTINGS come before or after the requests: no difference. */
		for (int i = 0; i < 3; i++)
			assert_int_equal(request(i, i == 1), 0);
		buf_clear(&w.h2.out);
		in_put(mem, len);
		if (feed(step))
			fail_msg("by %zu bytes: %s", step, h2_error_text(&w.h2));
		assert_string_equal(w.log, want);
		assert_string_equal(out_text(),
			"SETTINGS.1.0.0 PING.1.0.8 SETTINGS.1.0.0 RST_STREAM.0.1.0 RST_STREAM.0.5.0");
		assert_int_equal(w.h2.send_window, 65535 + 1000);
	}
}

static void data_frames(uint32_t id, size_t len, size_t frame_len)
{
	static uint8_t mem[16384];

	for (size_t i = 0; i < sizeof(mem); i++)
		mem[i] = (uint8_t)('a' + i % 26);
	for (; len; len -= frame_len) {
		if (frame_len > len)
			frame_len = len;
		in_frame(DATA, 0, id, mem, frame_len);
	}
}

static void test_window_is_given_back_by_halves(void **state)
{
	static const uint8_t padding[256] = {255};

	(void)state;
	if (WINDOW != 16384)
		skip();
	start_open(true);
	data_frames(1, WINDOW / 2 - 1, 1000);
	assert_int_equal(feed_all(), 0);
	assert_string_equal(out_text(), "");
	data_frames(1, 1, 1);
	assert_int_equal(feed_all(), 0);
	char want[64];
	snprintf(want, sizeof(want), "WINDOW_UPDATE.0.1.%d", WINDOW / 2);
	assert_string_equal(out_text(), want);
	/* The connection's, too. */
	buf_clear(&w.h2.out);
	for (int i = 0; i < 8; i++)
		data_frames(1, WINDOW / 4, 16384);
	assert_int_equal(feed_all(), 0);
	assert_non_null(strstr(out_text(), "WINDOW_UPDATE.0.0."));
	/* Padding counts (RFC 9113 6.1). */
	start_open(true);
	for (size_t i = 0; i < WINDOW / 2 / sizeof(padding); i++)
		in_frame(DATA, PADDED, 1, padding, sizeof(padding));
	assert_int_equal(feed_all(), 0);
	assert_string_equal(out_text(), want);
}

static void test_window_is_enforced(void **state)
{
	(void)state;
	if (WINDOW > (int)sizeof(w.in) / 2)
		skip();
	start_open(true);
	w.allow[0] = 0;
	data_frames(1, WINDOW, 4000);
	assert_int_equal(feed_all(), 0);
	assert_int_equal(buf_len(&w.s[0].ring), WINDOW);
	data_frames(1, 1, 1);
	assert_int_equal(feed_all(), 0);
	assert_string_equal(w.log, "0 reset FLOW_CONTROL_ERROR us\n");
	/* What comes for it now is dropped, and the connection's window given back. */
	for (int i = 0; i < 20; i++) {
		data_frames(1, 16384, 16384);
		assert_int_equal(feed_all(), 0);
		sent();
	}
}

static void test_connection_window_is_enforced(void **state)
{
	(void)state;
	start_open(true);
	h2_stream_reset(&w.h2, &w.s[0], H2_CANCEL);
	w.h2.out.tail = w.h2.out.cap - 20; /* no room for WINDOW_UPDATE */
	for (int i = 0; i < 3; i++)
		data_frames(1, 16384, 16384);
	data_frames(1, 16383, 16383);
	assert_int_equal(feed_all(), 0);
	data_frames(1, 1, 1);
	assert_int_equal(feed_all(), ERR_HTTP2);
	assert_int_equal(h2_error_code(&w.h2), H2_FLOW_CONTROL_ERROR);
	/* With room the window comes back, by h2_sent(). */
	start_open(true);
	h2_stream_reset(&w.h2, &w.s[0], H2_CANCEL);
	w.h2.out.tail = w.h2.out.cap - 20;
	for (int i = 0; i < 3; i++)
		data_frames(1, 16384, 16384);
	assert_int_equal(feed_all(), 0);
	sent();
	assert_string_equal(out_text(), "WINDOW_UPDATE.0.0.49152");
}

static void test_paused_stream_holds_up_nobody(void **state)
{
	(void)state;
	start_open(true);
	assert_int_equal(request(1, false), 0);
	in_text(HEADERS, END_HEADERS, 3, "88");
	w.allow[0] = 5;
	in_frame(DATA, 0, 1, "0123456789", 10);
	in_frame(DATA, 0, 3, "other", 5);
	in_frame(DATA, 0, 1, "abc", 3);
	in_text(PING, 0, 0, "0102030405060708");
	in_frame(DATA, END_STREAM, 3, "!", 1);
	assert_int_equal(feed(1), 0);
	assert_string_equal(w.log, "1 headers 200\n0 data 01234\n1 data other!\n1 end\n");
	assert_non_null(strstr(out_text(), "PING.1.0.8"));
	assert_true(w.s[0].is_paused);
	/* Part of it, then all, then straight on. */
	w.log_len = 0;
	w.allow[0] = 3;
	h2_stream_resume(&w.h2, &w.s[0]);
	assert_true(w.s[0].is_paused);
	w.allow[0] = SIZE_MAX;
	h2_stream_resume(&w.h2, &w.s[0]);
	assert_false(w.s[0].is_paused);
	h2_stream_resume(&w.h2, &w.s[0]);
	h2_stream_resume(&w.h2, &w.s[1]);
	in_frame(DATA, END_STREAM, 1, "+", 1);
	assert_int_equal(feed_all(), 0);
	assert_string_equal(w.log, "0 data 56789abc+\n0 end\n");
}

static void test_end_waits_for_the_data(void **state)
{
	(void)state;
	start_open(true);
	w.allow[0] = 0;
	in_frame(DATA, 0, 1, "abc", 3);
	in_text(HEADERS, END_HEADERS | END_STREAM, 1, "00[grpc-status][0]");
	/* The server does not want more of us: that takes nothing away (RFC 9113 8.1). */
	in_text(RST_STREAM, 0, 1, "00000000");
	assert_int_equal(feed_all(), 0);
	assert_string_equal(w.log, "0 grpc-status: 0\n0 trailers 0\n");
	w.allow[0] = SIZE_MAX;
	h2_stream_resume(&w.h2, &w.s[0]);
	assert_string_equal(w.log, "0 grpc-status: 0\n0 trailers 0\n0 data abc\n0 end\n");
	assert_string_equal(out_text(), "");
	/* Without that our half is closed by us. */
	start_open(true);
	w.allow[0] = 0;
	in_frame(DATA, END_STREAM, 1, "abc", 3);
	assert_int_equal(feed_all(), 0);
	w.allow[0] = SIZE_MAX;
	h2_stream_resume(&w.h2, &w.s[0]);
	assert_string_equal(w.log, "0 data abc\n0 end\n");
	assert_string_equal(out_text(), "RST_STREAM.0.1.0");
}

/* A trickle through a paused stream: never more than the window, nothing lost, nothing twice. */
static void test_back_pressure_in_small_steps(void **state)
{
	size_t total = 0, taken = 0, window = WINDOW;
	unsigned seed = 1;

	(void)state;
	start_open(true);
	w.allow[0] = 0;
	while (total < 160 * 1024 || total < 2 * WINDOW) {
		size_t n = 1 + (seed = seed * 1103515245 + 12345) / 65536 % 700;

		if (n > window)
			n = window;
		if (n) {
			uint8_t mem[700];

			for (size_t i = 0; i < n; i++)
				mem[i] = (uint8_t)((total + i) % 251);
			in_frame(DATA, 0, 1, mem, n);
			assert_int_equal(feed(1 + seed / 65536 % 300), 0);
			total += n;
			window -= n;
		}
		assert_true(buf_len(&w.s[0].ring) <= WINDOW);
		w.log_len = 0;
		w.log_data = NULL;
		w.got[0] = 0;
		w.allow[0] = seed / 65536 % 399;
		h2_stream_resume(&w.h2, &w.s[0]);
		if (w.got[0]) {
			const char *p = w.log + strlen("0 data ");

			for (size_t i = 0; i < w.got[0]; i++)
				assert_int_equal((uint8_t)p[i], (taken + i) % 251);
		}
		taken += w.got[0];
		w.allow[0] = 0;

		size_t at = 0, len;
		const uint8_t *p;
		int type, flags;
		uint32_t id;
		while ((type = out_next(&at, &flags, &id, &p, &len)) >= 0)
			if (type == WINDOW_UPDATE && id == 1)
				window += (size_t)p[0] << 24 | (size_t)p[1] << 16 |
					  (size_t)p[2] << 8 | p[3];
		sent();
		assert_true(total - taken == buf_len(&w.s[0].ring));
	}
}

static void test_calls_within_callbacks(void **state)
{
	(void)state;
	/* The stream itself is reset within its data(): the rest of the frame is dropped. */
	start_open(true);
	w.victim = &w.s[0];
	in_frame(DATA, 0, 1, "abcdef", 6);
	in_frame(DATA, END_STREAM, 1, "g", 1);
	assert_int_equal(feed(9 + 3), 0);
	assert_string_equal(w.log, "0 data abc");
	assert_string_equal(out_text(), "RST_STREAM.0.1.8");
	/* Another one, while its ring is full. */
	start_open(true);
	assert_int_equal(request(1, false), 0);
	w.allow[0] = 0;
	in_frame(DATA, 0, 1, "abcdef", 6);
	in_text(HEADERS, END_HEADERS, 3, "88");
	assert_int_equal(feed_all(), 0);
	w.victim = &w.s[0];
	in_frame(DATA, 0, 3, "x", 1);
	assert_int_equal(feed_all(), 0);
	assert_int_equal(w.s[0].id, 0);
	h2_stream_resume(&w.h2, &w.s[0]);
	/* The memory of a stream that ended is used again in its end(). */
	start_open(true);
	w.is_asking_again = true;
	in_frame(DATA, END_STREAM, 1, "abc", 3);
	in_text(HEADERS, END_HEADERS | END_STREAM, 3, "88");
	assert_int_equal(feed_all(), 0);
	assert_string_equal(w.log, "0 data abc\n0 end\n0 headers 200\n0 end\n");
	/* Resume within data() that takes nothing. */
	start_open(true);
	w.allow[0] = 0;
	w.is_resuming = true;
	in_frame(DATA, 0, 1, "abc", 3);
	assert_int_equal(feed_all(), 0);
	assert_string_equal(w.log, "0 data abc");
	assert_false(w.s[0].is_paused);
	/* The connection is closed within data(). */
	start_open(true);
	w.is_closing = true;
	in_frame(DATA, END_STREAM, 1, "abc", 3);
	in_frame(DATA, END_STREAM, 1, "abc", 3);
	assert_int_equal(feed_all(), 0);
	assert_string_equal(w.log, "0 data abc");
	assert_string_equal(out_text(), "GOAWAY.0.0.0");
	assert_int_equal(w.s[0].id, 0);
	assert_int_equal(h2_stream_send(&w.h2, &w.s[0], "x", 1, false), ERR_CLOSED);
	assert_int_equal(request(0, false), ERR_GOAWAY);
	assert_int_equal(h2_ping(&w.h2), ERR_GOAWAY);
}

static void test_without_a_ring(void **state)
{
	(void)state;
	start_ready();
	buf_init(&w.s[0].ring, NULL, 0);
	assert_int_equal(request(0, true), 0);
	in_text(HEADERS, END_HEADERS, 1, "88");
	in_frame(DATA, 0, 1, "abc", 3);
	assert_int_equal(feed_all(), 0);
	w.allow[0] = 1;
	in_frame(DATA, 0, 1, "def", 3);
	assert_int_equal(feed_all(), 0);
	assert_string_equal(w.log, "0 headers 200\n0 data abcd\n0 reset INTERNAL_ERROR us\n");
	buf_init(&w.s[1].ring, w.ring[1], WINDOW - 1);
	assert_int_equal(request(1, true), ERR_BUG);
}

static void test_sending_within_windows(void **state)
{
	static uint8_t mem[70000];

	(void)state;
	start_ready();
	in_text(SETTINGS, 0, 0, "000400000064"); /* 100 */
	assert_int_equal(feed_all(), 0);
	assert_int_equal(request(0, false), 0);
	sent();
	assert_int_equal(h2_stream_send(&w.h2, &w.s[0], mem, 150, true), 100);
	assert_string_equal(out_text(), "DATA.0.1.100");
	sent();
	/* A smaller initial window: below 0, and up again (RFC 9113 6.9.2). */
	in_text(SETTINGS, 0, 0, "00040000000a");
	assert_int_equal(feed_all(), 0);
	assert_int_equal(w.s[0].send_window, -90);
	in_text(WINDOW_UPDATE, 0, 1, "0000005a");
	assert_int_equal(feed_all(), 0);
	sent();
	assert_int_equal(h2_stream_send(&w.h2, &w.s[0], mem, 50, true), 0);
	w.writable = 0;
	in_text(WINDOW_UPDATE, 0, 1, "00000001");
	assert_int_equal(feed_all(), 0);
	assert_int_equal(w.writable, 1);
	assert_int_equal(h2_stream_send(&w.h2, &w.s[0], mem, 50, true), 1);
	in_text(SETTINGS, 0, 0, "00040000ffff");
	assert_int_equal(feed_all(), 0);
	sent();
	assert_int_equal(h2_stream_send(&w.h2, &w.s[0], mem, 49, true), 49);
	assert_string_equal(out_text(), "DATA.1.1.49");
	sent();
	/* out is the bound, and the connection's window, over all streams. */
	size_t total = 0;
	assert_int_equal(request(1, false), 0);
	for (int i = 0; i < 100; i++) {
		ssize_t n = h2_stream_send(&w.h2, &w.s[1], mem, sizeof(mem), false);

		assert_true(n >= 0 && buf_room(&w.h2.out) >= CONFIG_H2_ANSWER_BYTES);
		total += (size_t)n;
		sent();
	}
	assert_int_equal(total, 65535 - 150);
	assert_int_equal(w.h2.send_window, 0);
	/* The end alone needs no window. */
	assert_int_equal(h2_stream_send(&w.h2, &w.s[1], NULL, 0, true), 0);
	assert_string_equal(out_text(), "DATA.1.3.0");
}

static void test_streams_are_limited(void **state)
{
	(void)state;
	start_ready();
	in_text(SETTINGS, 0, 0, "000300000001");
	assert_int_equal(feed_all(), 0);
	assert_int_equal(h2_max_streams(&w.h2), 1);
	assert_int_equal(request(0, true), 0);
	assert_int_equal(request(0, true), ERR_BUG);
	assert_int_equal(request(1, true), ERR_AGAIN);
	in_text(HEADERS, END_HEADERS | END_STREAM, 1, "88");
	assert_int_equal(feed_all(), 0);
	assert_int_equal(w.writable, 1);
	assert_int_equal(request(1, true), 0);
	/* Ids run out. */
	h2_stream_reset(&w.h2, &w.s[1], H2_CANCEL);
	h2_stream_reset(&w.h2, &w.s[1], H2_CANCEL);
	w.h2.next_id = 0x7fffffff;
	assert_int_equal(request(1, true), 0);
	h2_stream_reset(&w.h2, &w.s[1], H2_CANCEL);
	assert_int_equal(request(1, true), ERR_GOAWAY);
}

static void test_request_that_does_not_fit(void **state)
{
	static char big[20000];
	struct h2_field f[] = {{":method", "POST", 4, false}, {"token", big, 0, true}};

	(void)state;
	memset(big, 'x', sizeof(big));
	start_ready();
	f[1].value_len = 3700;
	assert_int_equal(h2_request(&w.h2, &w.s[0], f, 2, true), 0);
	assert_int_equal(h2_request(&w.h2, &w.s[1], f, 2, true), ERR_AGAIN);
	assert_int_equal(w.s[1].id, 0);
	sent();
	assert_int_equal(w.writable, 1);
	assert_int_equal(h2_request(&w.h2, &w.s[1], f, 2, true), 0);
	sent();
	f[1].value_len = 4000;
	assert_int_equal(h2_request(&w.h2, &w.s[2], f, 2, true), ERR_LIMIT);
	/* RFC 9113 6.5.2 */
	in_text(SETTINGS, 0, 0, "000600000080");
	assert_int_equal(feed_all(), 0);
	sent();
	f[1].value_len = 128 - 64 - 7 - 4 - 5;
	assert_int_equal(h2_request(&w.h2, &w.s[2], f, 2, true), 0);
	h2_stream_reset(&w.h2, &w.s[2], H2_CANCEL);
	f[1].value_len++;
	assert_int_equal(h2_request(&w.h2, &w.s[2], f, 2, true), ERR_LIMIT);
}

static void test_goaway(void **state)
{
	(void)state;
	start_ready();
	for (int i = 0; i < 3; i++)
		assert_int_equal(request(i, true), 0);
	/* In two steps, as graceful servers do: nothing is lost by the first. */
	in_text(GOAWAY, 0, 0, "7fffffff 00000000");
	assert_int_equal(feed_all(), 0);
	assert_string_equal(w.log, "goaway 2147483647 NO_ERROR \"\"\n");
	assert_int_equal(request(3, true), ERR_GOAWAY);
	in_text(GOAWAY, 0, 0, "00000001 0000000b 746f6f20");
	in_text(HEADERS, END_HEADERS | END_STREAM, 1, "88");
	w.log_len = 0;
	assert_int_equal(feed(1), 0);
	assert_string_equal(w.log, "2 reset ENHANCE_YOUR_CALM peer unprocessed\n"
				   "1 reset ENHANCE_YOUR_CALM peer unprocessed\n"
				   "goaway 1 ENHANCE_YOUR_CALM \"too \"\n"
				   "0 headers 200\n0 end\n");
	/* Text longer than what is kept. */
	static uint8_t mem[8 + 1000];
	mem[3] = 1;
	in_frame(GOAWAY, 0, 0, mem, sizeof(mem));
	assert_int_equal(feed_all(), 0);
	assert_int_equal(w.h2.debug_len, CONFIG_H2_GOAWAY_DEBUG_BYTES);
}

static void test_reset_by_peer(void **state)
{
	(void)state;
	start_ready();
	for (int i = 0; i < 2; i++)
		assert_int_equal(request(i, true), 0);
	in_text(RST_STREAM, 0, 1, "00000007");
	in_text(RST_STREAM, 0, 3, "00001234");
	assert_int_equal(feed_all(), 0);
	assert_string_equal(
		w.log, "0 reset REFUSED_STREAM peer unprocessed\n1 reset UNKNOWN peer\n");
}

static void test_ping(void **state)
{
	(void)state;
	start_open(true);
	assert_int_equal(h2_ping(&w.h2), 0);
	assert_int_equal(h2_ping(&w.h2), ERR_AGAIN);
	uint8_t mem[8];
	memcpy(mem, buf_head(&w.h2.out) + 9, 8);
	in_text(PING, ACK, 0, "ffffffffffffffff");
	assert_int_equal(feed_all(), 0);
	assert_string_equal(w.log, "");
	in_frame(PING, ACK, 0, mem, 8);
	in_frame(PING, ACK, 0, mem, 8);
	assert_int_equal(feed_all(), 0);
	assert_string_equal(w.log, "ping_ack\n");
	assert_int_equal(h2_ping(&w.h2), 0);
	/* The peer's is answered with its own bytes. */
	buf_clear(&w.h2.out);
	in_text(PING, 0, 0, "0102030405060708");
	assert_int_equal(feed(3), 0);
	assert_memory_equal(buf_head(&w.h2.out), "\0\0\x08\x06\x01\0\0\0\0\1\2\3\4\5\6\7\x08", 17);
}

/* Attacks: each must end with ENHANCE_YOUR_CALM, none before its limit. */
static void flood(
	const char *name, int type, int flags, uint32_t id, const char *text, bool is_read)
{
	unsigned i;
	int rc = 0;

	start_open(true);
	for (i = 0; i < CONFIG_H2_NOISE_COUNT + 10 && !rc; i++) {
		in_text(type, flags, id, text);
		rc = feed_all();
		if (is_read && !rc)
			sent();
	}
	if (rc != ERR_LIMIT || h2_error_code(&w.h2) != H2_ENHANCE_YOUR_CALM)
		fail_msg("%s: %d after %u", name, rc, i);
	if (is_read)
		assert_true(i > CONFIG_H2_NOISE_COUNT - 10);
	assert_int_equal(buf_head(&w.h2.out)[buf_len(&w.h2.out) - 1], H2_ENHANCE_YOUR_CALM);
}

static void test_floods(void **state)
{
	(void)state;
	flood("PING, answers read", PING, 0, 0, "0000000000000000", true);
	flood("PING, answers not read", PING, 0, 0, "0000000000000000", false);
	flood("PING ACK", PING, ACK, 0, "0000000000000000", true);
	flood("SETTINGS, answers read", SETTINGS, 0, 0, "000300000001", true);
	flood("SETTINGS, answers not read", SETTINGS, 0, 0, "", false);
	flood("SETTINGS ACK", SETTINGS, ACK, 0, "", true);
	flood("WINDOW_UPDATE", WINDOW_UPDATE, 0, 1, "00000001", true);
	flood("PRIORITY", PRIORITY, 0, 1, "0000000010", true);
	flood("RST_STREAM", RST_STREAM, 0, 1, "00000000", true);
	flood("unknown", 0x42, 0, 0, "", true);
	flood("GOAWAY", GOAWAY, 0, 0, "00000001 00000000", true);
	flood("empty DATA", DATA, 0, 1, "", true);
	flood("padding", DATA, PADDED, 1, "020000", true);
	start_open(false);
	for (int i = 0; i < CONFIG_H2_NOISE_COUNT + 10; i++)
		in_text(HEADERS, END_HEADERS, 1, "08[100]");
	assert_int_equal(feed_all(), ERR_LIMIT);
	/* What is useful makes the count start over. */
	start_open(true);
	for (int i = 0; i < 5 * CONFIG_H2_NOISE_COUNT; i++) {
		in_text(WINDOW_UPDATE, 0, 1, "00000001");
		if (i % 500 == 0)
			in_frame(DATA, 0, 1, "x", 1);
		assert_int_equal(feed_all(), 0);
	}
}

static void test_continuation_flood(void **state)
{
	(void)state;
	for (int n = CONFIG_H2_CONTINUATION_COUNT; n <= CONFIG_H2_CONTINUATION_COUNT + 1; n++) {
		start_open(false);
		in_text(HEADERS, 0, 1, "88");
		for (int i = 1; i < n; i++)
			in_text(CONTINUATION, 0, 1, "");
		in_text(CONTINUATION, END_HEADERS, 1, "");
		assert_int_equal(feed_all(), n > CONFIG_H2_CONTINUATION_COUNT ? ERR_LIMIT : 0);
	}
}

static void test_header_list_too_large(void **state)
{
	static uint8_t mem[16384];
	size_t n = 0;

	(void)state;
	skip_unless_default_sizes();
	/* One stream pays; the table is in step for the next. */
	start_open(false);
	assert_int_equal(request(1, false), 0);
	buf_clear(&w.h2.out);
	mem[n++] = 0x88;
	memcpy(mem + n, "\x40\x01x\x01y\x40\x01z\x64", 9);
	n += 9;
	memset(mem + n, 'v', 100);
	n += 100;
	memset(mem + n, 0xbe, 60);
	n += 60;
	in_frame(HEADERS, END_HEADERS, 1, mem, n);
	in_text(HEADERS, END_HEADERS, 3, "88 bf");
	assert_int_equal(feed(7), 0);
	assert_non_null(strstr(w.log, "0 reset ENHANCE_YOUR_CALM us\n1 x: y\n1 headers 200\n"));
	assert_string_equal(out_text(), "RST_STREAM.0.1.11");
	/* A block without end: the connection pays. */
	start_open(false);
	n = 0;
	mem[n++] = 0x88;
	memcpy(mem + n, "\x00\x01x\x7f\x80\x80\x80\x01", 8);
	n += 8;
	in_frame(HEADERS, 0, 1, mem, n);
	in_frame(CONTINUATION, 0, 1, mem, CONFIG_H2_HEADER_BLOCK_BYTES - n);
	assert_int_equal(feed(1000), 0);
	in_frame(CONTINUATION, 0, 1, mem, 1);
	assert_int_equal(feed_all(), ERR_LIMIT);
	assert_int_equal(h2_error_code(&w.h2), H2_ENHANCE_YOUR_CALM);
}

/* Frames for streams that we have reset may still be under way: dropped, with HPACK in step. */
static void test_what_was_reset_is_dropped(void **state)
{
	(void)state;
	skip_unless_default_sizes();
	start_open(false);
	assert_int_equal(request(1, false), 0);
	h2_stream_reset(&w.h2, &w.s[0], H2_CANCEL);
	in_text(HEADERS, END_HEADERS, 1, "88 40[x][y]");
	in_frame(DATA, END_STREAM, 1, "abc", 3);
	in_text(WINDOW_UPDATE, 0, 1, "00000000");
	in_text(RST_STREAM, 0, 1, "00000000");
	in_text(HEADERS, END_HEADERS | END_STREAM, 3, "88 be");
	assert_int_equal(feed(2), 0);
	assert_string_equal(w.log, "1 x: y\n1 headers 200\n1 end\n");
}

static void test_code_names(void **state)
{
	(void)state;
	assert_string_equal(h2_code_name(H2_NO_ERROR), "NO_ERROR");
	assert_string_equal(h2_code_name(H2_ENHANCE_YOUR_CALM), "ENHANCE_YOUR_CALM");
	assert_string_equal(h2_code_name(H2_HTTP_1_1_REQUIRED), "HTTP_1_1_REQUIRED");
	assert_string_equal(h2_code_name(14), "UNKNOWN");
	assert_string_equal(h2_code_name(UINT32_MAX), "UNKNOWN");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_preface),
		cmocka_unit_test(test_request_and_answer),
		cmocka_unit_test(test_rules_of_rfc_9113),
		cmocka_unit_test(test_first_frame),
		cmocka_unit_test(test_conversation_at_every_split),
		cmocka_unit_test(test_window_is_given_back_by_halves),
		cmocka_unit_test(test_window_is_enforced),
		cmocka_unit_test(test_connection_window_is_enforced),
		cmocka_unit_test(test_paused_stream_holds_up_nobody),
		cmocka_unit_test(test_end_waits_for_the_data),
		cmocka_unit_test(test_back_pressure_in_small_steps),
		cmocka_unit_test(test_calls_within_callbacks),
		cmocka_unit_test(test_without_a_ring),
		cmocka_unit_test(test_sending_within_windows),
		cmocka_unit_test(test_streams_are_limited),
		cmocka_unit_test(test_request_that_does_not_fit),
		cmocka_unit_test(test_goaway),
		cmocka_unit_test(test_reset_by_peer),
		cmocka_unit_test(test_ping),
		cmocka_unit_test(test_floods),
		cmocka_unit_test(test_continuation_flood),
		cmocka_unit_test(test_header_list_too_large),
		cmocka_unit_test(test_what_was_reset_is_dropped),
		cmocka_unit_test(test_code_names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
