/* SPDX-License-Identifier: Apache-2.0 */
#include "net/h2.h"

#include <string.h>

#include "base/err.h"
#include "net/h2_private.h"

enum {
	/* What requests and data leave free in out: GOAWAY, and answers that cannot wait. */
	OUT_KEEP_GOAWAY = H2_FRAME_HEAD + 8,
	OUT_KEEP_ANSWERS = OUT_KEEP_GOAWAY + CONFIG_H2_ANSWER_BYTES,
	/* A window is given back when half of it was used up: few frames, and no stop and go. */
	CREDIT_STREAM = CONFIG_H2_WINDOW_BYTES / 2,
	CREDIT_CONNECTION = H2_WINDOW_DEFAULT / 2,
};

static const char preface[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"; /* RFC 9113 3.4 */

static uint8_t *put32(uint8_t *p, uint32_t v)
{
	p[0] = (uint8_t)(v >> 24);
	p[1] = (uint8_t)(v >> 16);
	p[2] = (uint8_t)(v >> 8);
	p[3] = (uint8_t)v;
	return p + 4;
}

static void put_head(uint8_t *p, size_t len, enum h2_type type, unsigned flags, uint32_t id)
{
	put32(p, (uint32_t)len << 8 | type);
	p[4] = (uint8_t)flags;
	put32(p + 5, id);
}

/* How many bytes out has room for when keep are left free. */
static size_t out_room(const struct h2 *h2, size_t keep)
{
	size_t room = buf_room(&h2->out);

	return room > keep ? room - keep : 0;
}

/* All of the frame or, when out has no room, nothing: ERR_AGAIN. */
static int put_frame(struct h2 *h2, size_t keep, enum h2_type type, unsigned flags, uint32_t id,
	const void *p, size_t len)
{
	uint8_t head[H2_FRAME_HEAD];

	if (out_room(h2, keep) < sizeof(head) + len)
		return ERR_AGAIN;
	put_head(head, len, type, flags, id);
	(void)buf_put(&h2->out, head, sizeof(head));
	return buf_put(&h2->out, p, len);
}

static int put_frame32(struct h2 *h2, size_t keep, enum h2_type type, uint32_t id, uint32_t v)
{
	uint8_t mem[4];

	put32(mem, v);
	return put_frame(h2, keep, type, 0, id, mem, sizeof(mem));
}

static uint8_t *put_setting(uint8_t *p, enum h2_setting setting, uint32_t v)
{
	p[0] = 0;
	p[1] = (uint8_t)setting;
	return put32(p + 2, v);
}

void h2_init(struct h2 *h2, const struct h2_ops *ops, void *user, void *out_mem, size_t out_cap)
{
	uint8_t mem[4 * 6], *p = mem;

	memset(h2, 0, offsetof(struct h2, debug));
	h2->ops = ops;
	h2->user = user;
	buf_init(&h2->out, out_mem, out_cap);
	h2->peer = (struct h2_settings){
		.header_table_size = HPACK_TABLE_DEFAULT,
		.max_concurrent_streams = UINT32_MAX,
		.initial_window_size = H2_WINDOW_DEFAULT,
		.max_frame_size = H2_FRAME_MAX,
		.max_header_list_size = UINT32_MAX,
	};
	h2->next_id = 1;
	h2->goaway_last_id = H2_STREAM_ID_MAX;
	h2->send_window = H2_WINDOW_DEFAULT;
	h2->recv_window = H2_WINDOW_DEFAULT;
	h2->rx_need = H2_FRAME_HEAD;
	hpack_decoder_init(&h2->hpack);

	p = put_setting(p, H2_SETTING_ENABLE_PUSH, 0);
	p = put_setting(p, H2_SETTING_INITIAL_WINDOW_SIZE, CONFIG_H2_WINDOW_BYTES);
	p = put_setting(p, H2_SETTING_MAX_HEADER_LIST_SIZE, CONFIG_H2_HEADER_LIST_BYTES);
	if (CONFIG_HPACK_TABLE_BYTES != HPACK_TABLE_DEFAULT)
		p = put_setting(p, H2_SETTING_HEADER_TABLE_SIZE, CONFIG_HPACK_TABLE_BYTES);
	(void)buf_put(&h2->out, preface, sizeof(preface) - 1);
	(void)put_frame(h2, 0, H2_SETTINGS, 0, 0, mem, (size_t)(p - mem));
}

struct h2_stream *h2_stream_find(struct h2 *h2, uint32_t id)
{
	struct h2_stream *s = h2->streams;

	while (s && s->id != id)
		s = s->next;
	return s;
}

bool h2_is_closed_by_peer(const struct h2 *h2, uint32_t id)
{
	for (size_t i = 0; i < H2_CLOSED_IDS; i++)
		if (h2->closed_ids[i] == id)
			return true;
	return false;
}

/* After it nothing in h2 points to s. */
static void stream_forget(struct h2 *h2, struct h2_stream *s)
{
	struct h2_stream **at = &h2->streams;

	while (*at != s)
		at = &(*at)->next;
	*at = s->next;
	h2->stream_count--;
	for (struct h2_guard *g = h2->guards; g; g = g->up)
		if (g->stream == s)
			g->stream = NULL;
	if (h2->rx_stream == s)
		h2->rx_stream = NULL;
	if (s->is_remote_closed) {
		h2->closed_ids[h2->closed_next] = s->id;
		h2->closed_next = (uint8_t)((h2->closed_next + 1u) % H2_CLOSED_IDS);
	}
	s->id = 0;
	s->is_paused = s->is_delivering = false;
}

static void die(struct h2 *h2, enum h2_code code)
{
	uint8_t mem[8];

	put32(mem, 0); /* RFC 9113 6.8: no stream of the peer's was processed, it cannot open any */
	put32(mem + 4, code);
	(void)put_frame(h2, 0, H2_GOAWAY, 0, 0, mem, sizeof(mem));
	h2->is_dead = true;
	while (h2->streams)
		stream_forget(h2, h2->streams);
}

int h2_fail(struct h2 *h2, enum h2_code code, const char *text)
{
	if (h2->is_dead)
		return h2->error;
	h2->error = code == H2_ENHANCE_YOUR_CALM ? ERR_LIMIT : ERR_HTTP2;
	h2->error_code = code;
	h2->error_text = text;
	die(h2, code);
	return h2->error;
}

void h2_close(struct h2 *h2, enum h2_code code)
{
	if (!h2->is_dead)
		die(h2, code);
}

int h2_answer(
	struct h2 *h2, enum h2_type type, uint8_t flags, uint32_t id, const uint8_t *p, size_t len)
{
	if (h2->is_dead)
		return h2->error;
	/* PING flood, SETTINGS flood: who makes us answer has to read what we say. */
	if (put_frame(h2, OUT_KEEP_GOAWAY, type, flags, id, p, len))
		return h2_fail(h2, H2_ENHANCE_YOUR_CALM, "more answers demanded than read");
	return 0;
}

static void send_reset(struct h2 *h2, uint32_t id, enum h2_code code)
{
	uint8_t mem[4];

	put32(mem, code);
	/* When it fails the connection is over, and h2_recv() tells. */
	(void)h2_answer(h2, H2_RST_STREAM, 0, id, mem, sizeof(mem));
}

static void stream_finish(struct h2 *h2, struct h2_stream *s)
{
	uint32_t id = s->id;

	stream_forget(h2, s);
	/* RFC 9113 8.1: nothing is to come, so what we might still send is of no use. */
	if (!s->is_local_closed)
		send_reset(h2, id, H2_NO_ERROR);
	s->ops->end(s);
}

void h2_stream_remote_end(struct h2 *h2, struct h2_stream *s)
{
	s->is_remote_closed = true;
	if (!s->is_paused)
		stream_finish(h2, s);
}

void h2_stream_abort(struct h2 *h2, struct h2_stream *s, uint32_t code, bool is_unprocessed)
{
	s->is_remote_closed = true;
	stream_forget(h2, s);
	s->ops->reset(s, (enum h2_code)code, true, is_unprocessed);
}

void h2_stream_fail(struct h2 *h2, struct h2_stream *s, enum h2_code code, const char *text)
{
	uint32_t id = s->id;

	stream_forget(h2, s);
	h2->error_code = code;
	h2->error_text = text;
	send_reset(h2, id, code);
	s->ops->reset(s, code, false, false);
}

void h2_stream_reset(struct h2 *h2, struct h2_stream *s, enum h2_code code)
{
	uint32_t id = s->id;

	if (id == 0)
		return;
	stream_forget(h2, s);
	send_reset(h2, id, code);
}

void h2_credit(struct h2 *h2, size_t len)
{
	h2->recv_credit += (uint32_t)len;
	if (h2->recv_credit < CREDIT_CONNECTION)
		return;
	/* Without room now it waits for h2_sent(). */
	if (put_frame32(h2, OUT_KEEP_GOAWAY, H2_WINDOW_UPDATE, 0, h2->recv_credit))
		return;
	h2->recv_window += h2->recv_credit;
	h2->recv_credit = 0;
}

void h2_stream_credit(struct h2 *h2, struct h2_stream *s, size_t len)
{
	s->recv_credit += (uint32_t)len;
	if (s->recv_credit < CREDIT_STREAM || s->is_remote_closed)
		return;
	if (put_frame32(h2, OUT_KEEP_GOAWAY, H2_WINDOW_UPDATE, s->id, s->recv_credit))
		return;
	s->recv_window += s->recv_credit;
	s->recv_credit = 0;
}

/* Offers bytes until the owner takes no more. Returns what was taken, or below 0 when the stream
 * was closed within. */
static ssize_t stream_offer(struct h2 *h2, struct h2_stream *s, const uint8_t *p, size_t len)
{
	struct h2_guard guard = {.stream = s, .up = h2->guards};
	size_t done = 0, taken;

	/* cppcheck-suppress autoVariables ; it is taken off again below */
	h2->guards = &guard;
	s->is_delivering = true;
	do {
		s->is_resumed = false;
		taken = s->ops->data(s, p + done, len - done);
		if (!guard.stream)
			break;
		done += taken;
		h2_stream_credit(h2, s, taken);
	} while (done < len && s->is_resumed);
	h2->guards = guard.up;
	if (!guard.stream)
		return ERR_CLOSED;
	s->is_delivering = false;
	return (ssize_t)done;
}

void h2_stream_deliver(struct h2 *h2, struct h2_stream *s, const uint8_t *p, size_t len)
{
	if (!s->is_paused) {
		ssize_t taken = stream_offer(h2, s, p, len);

		if (taken < 0 || (size_t)taken == len)
			return;
		p += taken;
		len -= (size_t)taken;
		s->is_paused = true;
	}
	/* There is room: the peer cannot send more than the window, and the ring is as large. */
	if (buf_put(&s->ring, p, len))
		h2_stream_fail(h2, s, H2_INTERNAL_ERROR, "data not taken, and no room to keep it");
}

void h2_stream_resume(struct h2 *h2, struct h2_stream *s)
{
	if (s->id == 0)
		return;
	if (s->is_delivering) {
		s->is_resumed = true;
		return;
	}
	if (!s->is_paused)
		return;
	ssize_t taken = stream_offer(h2, s, buf_head(&s->ring), buf_len(&s->ring));
	if (taken < 0)
		return;
	buf_drop(&s->ring, (size_t)taken);
	if (buf_len(&s->ring))
		return;
	s->is_paused = false;
	if (s->is_remote_closed)
		stream_finish(h2, s);
}

uint32_t h2_max_streams(const struct h2 *h2)
{
	return h2->peer.max_concurrent_streams;
}

/* The HEADERS frame of a request, at the tail of out. */
static int put_request(
	struct h2 *h2, uint32_t id, const struct h2_field *fields, size_t n, bool is_end)
{
	struct buf b = h2->out;
	size_t start, len;
	uint8_t *head = buf_tail(&b);

	h2->out = b;
	start = b.tail;
	if (out_room(h2, OUT_KEEP_ANSWERS) <= H2_FRAME_HEAD)
		return ERR_AGAIN;
	b.cap -= OUT_KEEP_ANSWERS;
	b.tail += H2_FRAME_HEAD;
	/* RFC 9113 4.3.1: whatever table size the peer allows, now or later, we have none. */
	if (id == 1)
		b.mem[b.tail++] = HPACK_SIZE_UPDATE_ZERO;
	for (size_t i = 0; i < n; i++) {
		if (hpack_encode(&b, fields[i].name, strlen(fields[i].name), fields[i].value,
			    fields[i].value_len, fields[i].is_secret))
			return start ? ERR_AGAIN : ERR_LIMIT;
	}
	len = b.tail - start - H2_FRAME_HEAD;
	if (len > h2->peer.max_frame_size)
		return ERR_LIMIT;
	put_head(
		head, len, H2_HEADERS, H2_FLAG_END_HEADERS | (is_end ? H2_FLAG_END_STREAM : 0), id);
	h2->out.tail = b.tail;
	return 0;
}

static int request(
	struct h2 *h2, struct h2_stream *s, const struct h2_field *fields, size_t n, bool is_end)
{
	uint64_t list_len = 0;
	int rc;

	if (s->id || (s->ring.cap && s->ring.cap < CONFIG_H2_WINDOW_BYTES))
		return ERR_BUG;
	if (h2->is_dead || h2->is_going_away || h2->next_id > H2_STREAM_ID_MAX)
		return ERR_GOAWAY;
	if (h2->stream_count >= h2->peer.max_concurrent_streams)
		return ERR_AGAIN;
	for (size_t i = 0; i < n; i++)
		list_len += strlen(fields[i].name) + fields[i].value_len + HPACK_FIELD_OVERHEAD;
	if (list_len > h2->peer.max_header_list_size)
		return ERR_LIMIT;
	rc = put_request(h2, h2->next_id, fields, n, is_end);
	if (rc)
		return rc;
	s->id = h2->next_id;
	s->content_left = -1;
	s->send_window = (int32_t)h2->peer.initial_window_size;
	s->recv_window = CONFIG_H2_WINDOW_BYTES;
	s->recv_credit = 0;
	s->is_paused = s->is_delivering = s->is_resumed = false;
	s->has_headers = s->is_remote_closed = false;
	s->is_local_closed = is_end;
	buf_clear(&s->ring);
	s->next = h2->streams;
	h2->streams = s;
	h2->stream_count++;
	h2->next_id += 2;
	h2->noise = 0;
	return 0;
}

int h2_request(
	struct h2 *h2, struct h2_stream *s, const struct h2_field *fields, size_t n, bool is_end)
{
	int rc = request(h2, s, fields, n, is_end);

	if (rc == ERR_AGAIN)
		h2->is_blocked = true;
	return rc;
}

/* How much of len fits into one DATA frame now. */
static size_t send_room(const struct h2 *h2, const struct h2_stream *s, size_t len)
{
	int32_t window = s->send_window < h2->send_window ? s->send_window : h2->send_window;
	size_t room = out_room(h2, OUT_KEEP_ANSWERS + H2_FRAME_HEAD);

	if (window <= 0)
		return 0;
	if (len > (size_t)window)
		len = (size_t)window;
	if (len > room)
		len = room;
	return len < h2->peer.max_frame_size ? len : h2->peer.max_frame_size;
}

ssize_t h2_stream_send(struct h2 *h2, struct h2_stream *s, const void *p, size_t len, bool is_end)
{
	size_t done = 0, n;

	if (s->id == 0 || s->is_local_closed)
		return ERR_CLOSED;
	while ((n = send_room(h2, s, len - done)) > 0) {
		bool is_last = is_end && done + n == len;

		(void)put_frame(h2, OUT_KEEP_ANSWERS, H2_DATA, is_last ? H2_FLAG_END_STREAM : 0,
			s->id, (const uint8_t *)p + done, n);
		s->send_window -= (int32_t)n;
		h2->send_window -= (int32_t)n;
		s->is_local_closed = is_last;
		done += n;
		h2->noise = 0;
	}
	if (done < len) {
		h2->is_blocked = true;
	} else if (len == 0 && is_end) {
		if (put_frame(h2, OUT_KEEP_ANSWERS, H2_DATA, H2_FLAG_END_STREAM, s->id, p, 0)) {
			h2->is_blocked = true;
			return ERR_AGAIN;
		}
		s->is_local_closed = true;
	}
	return (ssize_t)done;
}

int h2_ping(struct h2 *h2)
{
	uint8_t mem[8];

	if (h2->is_dead)
		return ERR_GOAWAY;
	if (h2->is_ping_out)
		return ERR_AGAIN;
	put32(mem, 0);
	put32(mem + 4, h2->ping_number + 1);
	if (put_frame(h2, OUT_KEEP_ANSWERS, H2_PING, 0, 0, mem, sizeof(mem)))
		return ERR_AGAIN;
	h2->ping_number++;
	h2->is_ping_out = true;
	return 0;
}

void h2_tell_writable(struct h2 *h2)
{
	if (!h2->is_blocked || h2->is_dead || !out_room(h2, OUT_KEEP_ANSWERS + H2_FRAME_HEAD))
		return;
	h2->is_blocked = false;
	h2->ops->writable(h2);
}

void h2_sent(struct h2 *h2)
{
	if (h2->is_dead)
		return;
	h2_credit(h2, 0);
	for (struct h2_stream *s = h2->streams; s; s = s->next)
		h2_stream_credit(h2, s, 0);
	h2_tell_writable(h2);
}

enum h2_code h2_error_code(const struct h2 *h2)
{
	return h2->error_code;
}

const char *h2_error_text(const struct h2 *h2)
{
	return h2->error_text ? h2->error_text : "";
}

const char *h2_code_name(uint32_t code)
{
	static const char *const names[] = {
		"NO_ERROR",
		"PROTOCOL_ERROR",
		"INTERNAL_ERROR",
		"FLOW_CONTROL_ERROR",
		"SETTINGS_TIMEOUT",
		"STREAM_CLOSED",
		"FRAME_SIZE_ERROR",
		"REFUSED_STREAM",
		"CANCEL",
		"COMPRESSION_ERROR",
		"CONNECT_ERROR",
		"ENHANCE_YOUR_CALM",
		"INADEQUATE_SECURITY",
		"HTTP_1_1_REQUIRED",
	};

	return code < sizeof(names) / sizeof(names[0]) ? names[code] : "UNKNOWN";
}
