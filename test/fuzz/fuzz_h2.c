/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A hostile server and a fickle owner. The input is a list of steps: bytes of the server (raw, or
 * framed so that the fuzzer need not find lengths by itself), requests, data that is sent, data
 * that is taken or left, resets, sockets that take all or nothing. After each step the invariants
 * are checked: see invariants().
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "net/h2.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { STREAMS = 3, OUT_CAP = 2048 };

static struct h2 h2;
static struct h2_stream streams[STREAMS];
static uint8_t rings[STREAMS][CONFIG_H2_WINDOW_BYTES];
static uint8_t out_mem[OUT_CAP];
static const uint8_t *script;
static size_t script_len;
static unsigned depth;

static void check(int is_true)
{
	if (!is_true)
		abort();
}

static unsigned take(void)
{
	if (!script_len)
		return 0;
	script_len--;
	return *script++;
}

static void request(unsigned i)
{
	struct h2_field fields[] = {
		{":method", "POST", 4, false},
		{":path", "/etcdserverpb.Watch/Watch", take() % 26, false},
		{"token", "0123456789", 10, true},
	};
	int rc = h2_request(&h2, &streams[i], fields, 3, take() & 1);

	check(rc == 0 || rc == ERR_AGAIN || rc == ERR_GOAWAY || rc == ERR_LIMIT || rc == ERR_BUG);
	check((rc == ERR_BUG) == (rc != 0 && streams[i].id != 0));
}

/* What an owner may do at any time, in callbacks too. */
static void act(void)
{
	unsigned what = take(), i = what / 8 % STREAMS;
	static const uint8_t text[2048];

	switch (what % 8) {
	case 0:
		request(i);
		break;
	case 1:
		(void)h2_stream_send(&h2, &streams[i], text, take() * 8, take() & 1);
		break;
	case 2:
		if (depth < 8) {
			depth++;
			h2_stream_resume(&h2, &streams[i]);
			depth--;
		}
		break;
	case 3:
		h2_stream_reset(&h2, &streams[i], H2_CANCEL);
		check(streams[i].id == 0);
		break;
	case 4:
		(void)h2_ping(&h2);
		break;
	case 5:
		if (take() == 255)
			h2_close(&h2, H2_NO_ERROR);
		break;
	default:
		break;
	}
}

static void on_header(
	struct h2_stream *s, const char *name, size_t name_len, const char *value, size_t value_len)
{
	check(s->id != 0 && name_len > 0 && name[0] != ':');
	check(name_len + value_len <= CONFIG_H2_HEADER_LIST_BYTES);
	check(memchr(name, '\n', name_len) == NULL && memchr(value, '\n', value_len) == NULL);
	if (take() == 1)
		act();
}

static void on_header_end(struct h2_stream *s, enum h2_block block, int status)
{
	check(s->id != 0);
	check(block == H2_BLOCK_TRAILERS ? status == 0
					 : status >= (block == H2_BLOCK_HEADERS ? 200 : 100));
	if (take() == 1)
		act();
}

static size_t on_data(struct h2_stream *s, const uint8_t *p, size_t len)
{
	unsigned how = take();
	volatile uint8_t sum = 0;

	check(s->id != 0 && len > 0 && len <= CONFIG_H2_WINDOW_BYTES);
	for (size_t i = 0; i < len; i++)
		sum = (uint8_t)(sum + p[i]);
	if (how % 8 == 1)
		act();
	return how % 4 == 3 ? len * (how / 4) / 64 : len;
}

static void on_end(struct h2_stream *s)
{
	check(s->id == 0);
	if (take() == 1)
		act();
}

static void on_reset(struct h2_stream *s, enum h2_code code, bool is_by_peer, bool is_unprocessed)
{
	(void)code;
	check(s->id == 0 && (is_by_peer || !is_unprocessed));
	if (take() == 1)
		act();
}

static const struct h2_stream_ops stream_ops = {
	.header = on_header,
	.header_end = on_header_end,
	.data = on_data,
	.end = on_end,
	.reset = on_reset,
};

static void on_conn(struct h2 *conn)
{
	check(conn == &h2 && !conn->is_dead);
	if (take() == 1)
		act();
}

static void on_goaway(struct h2 *conn, uint32_t last_id, enum h2_code code, const uint8_t *debug,
	size_t debug_len)
{
	(void)code;
	(void)debug;
	check(conn->is_going_away && debug_len <= CONFIG_H2_GOAWAY_DEBUG_BYTES);
	for (int i = 0; i < STREAMS; i++)
		check(streams[i].id <= last_id || streams[i].is_remote_closed);
}

static const struct h2_ops ops = {
	.settings = on_conn,
	.ping_ack = on_conn,
	.goaway = on_goaway,
	.writable = on_conn,
};

static void invariants(int rc)
{
	unsigned open = 0;

	check(h2.out.head <= h2.out.tail && h2.out.tail <= OUT_CAP);
	check(h2.is_dead ? rc == h2_recv(&h2, (const uint8_t *)"x", 1) : rc == 0);
	check(rc == 0 || (h2_error_code(&h2) != H2_NO_ERROR && *h2_error_text(&h2)));
	check(rc == 0 ||
		rc == (h2_error_code(&h2) == H2_ENHANCE_YOUR_CALM ? ERR_LIMIT : ERR_HTTP2));
	check(h2.guards == NULL);
	for (int i = 0; i < STREAMS; i++) {
		const struct h2_stream *s = &streams[i];

		if (!s->id)
			continue;
		open++;
		check(!h2.is_dead && !s->is_delivering);
		check(s->is_paused == (buf_len(&s->ring) > 0));
		check(s->ring.tail <= s->ring.cap);
		/* What is in the ring, what was taken and what may come is the window, always. */
		if (!s->is_remote_closed && h2.rx_stream != s)
			check(buf_len(&s->ring) + s->recv_credit + s->recv_window ==
				CONFIG_H2_WINDOW_BYTES);
		check(!s->is_remote_closed || s->is_paused || h2.rx_stream == s);
	}
	check(open == h2.stream_count);
}

static int receive(const uint8_t *p, size_t len, size_t step)
{
	int rc = 0;

	for (size_t at = 0; at < len && !rc; at += step) {
		size_t n = len - at < step ? len - at : step;
		uint8_t *piece = malloc(n);

		check(piece != NULL);
		memcpy(piece, p + at, n);
		rc = h2_recv(&h2, piece, n);
		free(piece);
	}
	return rc;
}

/* A frame of type, with a right length and an id that is likely open. */
static int receive_frame(void)
{
	uint8_t frame[9 + 64 * 16] = {0};
	unsigned what = take(), len = take() % 64;
	size_t i;

	if (what >= 0xf0)
		len *= 16;
	frame[1] = (uint8_t)(len >> 8);
	frame[2] = (uint8_t)len;
	frame[3] = what % 16 < 10 ? (uint8_t)(what % 16) : 0;
	frame[4] = (uint8_t)take();
	frame[8] = (uint8_t)(take() % 32);
	for (i = 0; i < len && script_len; i++)
		frame[9 + i] = (uint8_t)take();
	return receive(frame, 9 + len, 1 + take() % 40);
}

/* What a correct server could say now: an answer's parts, on a stream that is open. */
static int receive_good(void)
{
	static uint8_t frame[9 + 16384 + 256];
	unsigned what = take(), i = what / 8 % STREAMS;
	size_t len = 0;
	uint8_t type = 0, flags = 0;

	switch (what % 8) {
	case 0: /* the answer's headers */
		type = 1;
		flags = 4;
		frame[9 + len++] = 0x88;
		break;
	case 1: /* trailers */
		type = 1;
		flags = 5;
		break;
	case 2:
		flags = 1;
		break;
	case 3: /* the peer's PING */
		type = 6;
		len = 8;
		break;
	default:
		len = (size_t)take() << (what / 32);
		if (len > streams[i].recv_window)
			len = streams[i].recv_window;
		break;
	}
	if (streams[i].id == 0 && type != 6)
		return 0;
	frame[1] = (uint8_t)(len >> 8);
	frame[2] = (uint8_t)len;
	frame[3] = type;
	frame[4] = flags;
	frame[7] = type == 6 ? 0 : (uint8_t)(streams[i].id >> 8);
	frame[8] = type == 6 ? 0 : (uint8_t)streams[i].id;
	return receive(frame, 9 + len, 1 + (size_t)take() * 64);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const uint8_t settings[9] = {0, 0, 0, 4, 0, 0, 0, 0, 0};

	script = data;
	script_len = size;
	memset(streams, 0, sizeof(streams));
	for (int i = 0; i < STREAMS; i++) {
		streams[i].ops = &stream_ops;
		buf_init(&streams[i].ring, rings[i], sizeof(rings[i]));
	}
	h2_init(&h2, &ops, NULL, out_mem, sizeof(out_mem));
	if (take() & 1)
		(void)h2_recv(&h2, settings, sizeof(settings));
	request(0);
	while (script_len) {
		unsigned what = take();
		int rc = h2.is_dead ? h2.error : 0;

		if (what % 4 == 0) {
			size_t n = take();

			if (n > script_len)
				n = script_len;
			const uint8_t *p = script;
			script += n;
			script_len -= n;
			rc = receive(p, n, 1 + what / 4);
		} else if (what % 4 == 1) {
			rc = receive_frame();
		} else if (what % 4 == 2) {
			rc = receive_good();
		} else if (what & 4) {
			buf_drop(&h2.out, buf_len(&h2.out) * (what / 8) / 31);
			h2_sent(&h2);
		} else {
			act();
		}
		if (h2.is_dead)
			rc = h2.error;
		invariants(rc);
	}
	return 0;
}
