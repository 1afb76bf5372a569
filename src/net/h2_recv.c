/* SPDX-License-Identifier: Apache-2.0 */
#include "net/h2_private.h"

#include <string.h>

#include "base/err.h"

/*
 * The parts of a frame. FIXED is what a type has in front (pad length, priority, or all of it);
 * with SETTINGS it comes again for each setting. BODY is passed on as it comes.
 *
 *	HEAD -> FIXED -> BODY -> PAD -> HEAD
 */
enum part { PART_HEAD, PART_FIXED, PART_BODY, PART_PAD };

static int protocol_error(struct h2 *h2, const char *text)
{
	return h2_fail(h2, H2_PROTOCOL_ERROR, text);
}

static int size_error(struct h2 *h2)
{
	return h2_fail(h2, H2_FRAME_SIZE_ERROR, "frame of a wrong size");
}

/* RFC 9113 5.1: only we open streams, by odd ids in order. */
static bool is_idle(const struct h2 *h2, uint32_t id)
{
	return id % 2 == 0 || id >= h2->next_id;
}

/* DATA and HEADERS: sets rx_stream; NULL when the frame is of a stream that is closed. */
static int stream_select(struct h2 *h2)
{
	struct h2_stream *s = h2->rx_stream;

	if (h2->rx_id == 0 || is_idle(h2, h2->rx_id))
		return protocol_error(h2, "frame on a stream that was not opened");
	if (!s || s->id != h2->rx_id)
		s = h2->rx_stream = h2_stream_find(h2, h2->rx_id);
	/* RFC 9113 5.1 "closed": what we have reset may still be under way, and is dropped. */
	if (!s && h2_is_closed_by_peer(h2, h2->rx_id))
		return h2_fail(h2, H2_STREAM_CLOSED, "frame on a stream that the peer has closed");
	if (s && s->is_remote_closed)
		h2_stream_fail(h2, s, H2_STREAM_CLOSED, "frame after END_STREAM");
	return 0;
}

static int head_data(struct h2 *h2, uint32_t len)
{
	int rc = stream_select(h2);
	struct h2_stream *s = h2->rx_stream;

	if (rc)
		return rc;
	if (len > h2->recv_window)
		return h2_fail(h2, H2_FLOW_CONTROL_ERROR, "connection window exceeded");
	/* Given back at once: what is kept in memory is bounded by the windows of the streams. */
	h2->recv_window -= len;
	h2_credit(h2, len);
	if (!s)
		return 0;
	if (!s->has_headers)
		h2_stream_fail(h2, s, H2_PROTOCOL_ERROR, "DATA before HEADERS");
	else if (len > s->recv_window)
		h2_stream_fail(h2, s, H2_FLOW_CONTROL_ERROR, "stream window exceeded");
	else
		s->recv_window -= len;
	return 0;
}

/* CONTINUATION is looked at by on_head(): it is legal in one place only. */
static int head_by_type(struct h2 *h2, uint32_t len)
{
	bool is_padded = h2->rx_flags & H2_FLAG_PADDED;
	int rc = 0;

	switch (h2->rx_type) {
	case H2_DATA:
		h2->rx_need = is_padded;
		rc = head_data(h2, len);
		break;
	case H2_HEADERS:
		h2->rx_need = (uint8_t)(is_padded + (h2->rx_flags & H2_FLAG_PRIORITY ? 5 : 0));
		rc = stream_select(h2);
		break;
	case H2_PRIORITY: /* RFC 9113 5.3.2: read and forgotten */
		if (h2->rx_id == 0)
			return protocol_error(h2, "PRIORITY without a stream");
		return len == 5 ? 0 : size_error(h2);
	case H2_RST_STREAM:
		h2->rx_need = 4;
		if (is_idle(h2, h2->rx_id))
			return protocol_error(h2, "RST_STREAM on a stream that was not opened");
		return len == 4 ? 0 : size_error(h2);
	case H2_WINDOW_UPDATE:
		h2->rx_need = 4;
		if (h2->rx_id && is_idle(h2, h2->rx_id))
			return protocol_error(h2, "WINDOW_UPDATE on a stream that was not opened");
		return len == 4 ? 0 : size_error(h2);
	case H2_SETTINGS:
		h2->rx_need = len ? 6 : 0;
		if (len % 6 || (len && h2->rx_flags & H2_FLAG_ACK))
			return size_error(h2);
		break;
	case H2_PING:
		h2->rx_need = 8;
		if (len != 8)
			return size_error(h2);
		break;
	case H2_GOAWAY:
		h2->rx_need = 8;
		h2->debug_len = 0;
		break;
	case H2_PUSH_PROMISE: /* RFC 9113 8.4: our SETTINGS forbid it */
		return protocol_error(h2, "PUSH_PROMISE");
	default: /* RFC 9113 5.5: what is not known is ignored */
		break;
	}
	if (rc)
		return rc;
	if (h2->rx_id &&
		(h2->rx_type == H2_SETTINGS || h2->rx_type == H2_PING || h2->rx_type == H2_GOAWAY))
		return protocol_error(h2, "frame for the connection on a stream");
	return len < h2->rx_need ? size_error(h2) : 0;
}

static int head_continuation(struct h2 *h2)
{
	/* RFC 9113 6.10 */
	if (h2->rx_type != H2_CONTINUATION || h2->rx_id != h2->block_id)
		return protocol_error(h2, "CONTINUATION expected, or not expected");
	/* CONTINUATION flood */
	if (++h2->block_continuations > CONFIG_H2_CONTINUATION_COUNT)
		return h2_fail(h2, H2_ENHANCE_YOUR_CALM, "too many CONTINUATION frames");
	return 0;
}

static int on_head(struct h2 *h2)
{
	const uint8_t *p = h2->rx_fixed;
	uint32_t len = h2_get32(p) >> 8;
	int rc;

	h2->rx_type = p[3];
	h2->rx_flags = p[4];
	h2->rx_id = h2_get32(p + 5) & INT32_MAX;
	h2->rx_pad = 0;
	h2->rx_have = h2->rx_need = 0;
	h2->rx_part = PART_FIXED;
	if (!h2->has_peer_settings) {
		if (memcmp(p, "HTTP/1.", 7) == 0)
			return protocol_error(h2, "the server speaks HTTP/1");
		if (h2->rx_type != H2_SETTINGS || h2->rx_flags & H2_FLAG_ACK) /* RFC 9113 3.4 */
			return protocol_error(h2, "the first frame is not SETTINGS");
	}
	if (len > H2_FRAME_MAX)
		return h2_fail(h2, H2_FRAME_SIZE_ERROR, "frame larger than MAX_FRAME_SIZE");
	/* Empty frames flood, PING, SETTINGS, WINDOW_UPDATE, PRIORITY, RST_STREAM and unknown
	 * frames flood: each frame counts, and what is useful makes it start over. */
	if (++h2->noise > CONFIG_H2_NOISE_COUNT)
		return h2_fail(h2, H2_ENHANCE_YOUR_CALM, "too many frames that carry nothing");
	if (h2->block_id || h2->rx_type == H2_CONTINUATION)
		rc = head_continuation(h2);
	else
		rc = head_by_type(h2, len);
	h2->rx_left = len - h2->rx_need;
	return rc;
}

static int setting_apply(struct h2 *h2)
{
	unsigned setting = (unsigned)h2->rx_fixed[0] << 8 | h2->rx_fixed[1];
	uint32_t v = h2_get32(h2->rx_fixed + 2);

	switch (setting) {
	case H2_SETTING_HEADER_TABLE_SIZE:
		h2->peer.header_table_size = v;
		break;
	case H2_SETTING_ENABLE_PUSH:
		if (v)
			return protocol_error(h2, "ENABLE_PUSH by a server");
		break;
	case H2_SETTING_MAX_CONCURRENT_STREAMS:
		h2->peer.max_concurrent_streams = v;
		break;
	case H2_SETTING_INITIAL_WINDOW_SIZE:
		if (v > H2_WINDOW_MAX)
			return h2_fail(h2, H2_FLOW_CONTROL_ERROR, "INITIAL_WINDOW_SIZE too large");
		/* RFC 9113 6.9.2: streams that are open change with it, below 0 if need be. */
		for (struct h2_stream *s = h2->streams; s; s = s->next) {
			int64_t window = (int64_t)s->send_window + v - h2->peer.initial_window_size;

			if (window > H2_WINDOW_MAX)
				return h2_fail(h2, H2_FLOW_CONTROL_ERROR, "stream window overflow");
			s->send_window = (int32_t)window;
		}
		h2->peer.initial_window_size = v;
		break;
	case H2_SETTING_MAX_FRAME_SIZE:
		if (v < 16384 || v > 0xffffff)
			return protocol_error(h2, "MAX_FRAME_SIZE out of range");
		h2->peer.max_frame_size = v;
		break;
	case H2_SETTING_MAX_HEADER_LIST_SIZE:
		h2->peer.max_header_list_size = v;
		break;
	default: /* RFC 9113 6.5.2: what is not known is ignored */
		break;
	}
	return 0;
}

static int fixed_settings(struct h2 *h2)
{
	int rc = h2->rx_need ? setting_apply(h2) : 0;

	if (h2->rx_left) {
		h2->rx_left -= h2->rx_need;
		h2->rx_part = PART_FIXED;
	}
	return rc;
}

static int fixed_data(struct h2 *h2)
{
	struct h2_stream *s = h2->rx_stream;

	if (!s)
		return 0;
	if (h2->rx_need)
		h2_stream_credit(h2, s, 1u + h2->rx_pad);
	if (h2->rx_left)
		h2->noise = 0;
	if (s->content_left < 0)
		return 0;
	if (h2->rx_left > s->content_left)
		h2_stream_fail(h2, s, H2_PROTOCOL_ERROR, "more data than content-length tells");
	else
		s->content_left -= h2->rx_left;
	return 0;
}

static int fixed_window_update(struct h2 *h2)
{
	uint32_t v = h2_get32(h2->rx_fixed) & INT32_MAX;
	struct h2_stream *s;

	if (h2->rx_id == 0) {
		if (v == 0)
			return protocol_error(h2, "WINDOW_UPDATE of 0");
		if ((int64_t)h2->send_window + v > H2_WINDOW_MAX)
			return h2_fail(h2, H2_FLOW_CONTROL_ERROR, "connection window overflow");
		h2->send_window += (int32_t)v;
		return 0;
	}
	s = h2_stream_find(h2, h2->rx_id);
	if (!s)
		return 0;
	if (v == 0)
		h2_stream_fail(h2, s, H2_PROTOCOL_ERROR, "WINDOW_UPDATE of 0");
	else if ((int64_t)s->send_window + v > H2_WINDOW_MAX)
		h2_stream_fail(h2, s, H2_FLOW_CONTROL_ERROR, "stream window overflow");
	else
		s->send_window = (int32_t)(s->send_window + (int64_t)v);
	return 0;
}

static int fixed_rst_stream(struct h2 *h2)
{
	uint32_t code = h2_get32(h2->rx_fixed);
	struct h2_stream *s = h2_stream_find(h2, h2->rx_id);

	if (!s)
		return 0;
	/* The answer is complete and still wanted; the peer only tells us to send no more. */
	if (s->is_remote_closed)
		s->is_local_closed = true;
	else
		h2_stream_abort(h2, s, code, code == H2_REFUSED_STREAM);
	return 0;
}

static int fixed_ping(struct h2 *h2)
{
	if (!(h2->rx_flags & H2_FLAG_ACK))
		return h2_answer(h2, H2_PING, H2_FLAG_ACK, 0, h2->rx_fixed, 8);
	if (!h2->is_ping_out || h2_get32(h2->rx_fixed) ||
		h2_get32(h2->rx_fixed + 4) != h2->ping_number)
		return 0;
	h2->is_ping_out = false;
	h2->noise = 0;
	h2->ops->ping_ack(h2);
	return 0;
}

static int on_fixed(struct h2 *h2)
{
	h2->rx_part = PART_BODY;
	h2->rx_have = 0;
	switch (h2->rx_type) {
	case H2_DATA:
	case H2_HEADERS:
		if (h2->rx_flags & H2_FLAG_PADDED) {
			h2->rx_pad = h2->rx_fixed[0];
			if (h2->rx_pad > h2->rx_left)
				return protocol_error(h2, "more padding than frame");
			h2->rx_left -= h2->rx_pad;
		}
		return h2->rx_type == H2_DATA ? fixed_data(h2) : h2_block_begin(h2);
	case H2_SETTINGS:
		return fixed_settings(h2);
	case H2_RST_STREAM:
		return fixed_rst_stream(h2);
	case H2_PING:
		return fixed_ping(h2);
	case H2_WINDOW_UPDATE:
		return fixed_window_update(h2);
	default:
		return 0;
	}
}

static int on_body(struct h2 *h2, const uint8_t *p, size_t len)
{
	size_t room = sizeof(h2->debug) - h2->debug_len;

	switch (h2->rx_type) {
	case H2_DATA:
		if (h2->rx_stream)
			h2_stream_deliver(h2, h2->rx_stream, p, len);
		return 0;
	case H2_HEADERS:
	case H2_CONTINUATION:
		return h2_block_add(h2, p, len);
	case H2_GOAWAY:
		if (len > room)
			len = room;
		memcpy(h2->debug + h2->debug_len, p, len);
		h2->debug_len = (uint16_t)(h2->debug_len + len);
		return 0;
	default:
		return 0;
	}
}

/* The first of the streams that a GOAWAY leaves out, or NULL. */
static struct h2_stream *find_above(const struct h2 *h2, uint32_t last_id)
{
	struct h2_stream *s = h2->streams;

	while (s && (s->id <= last_id || s->is_remote_closed))
		s = s->next;
	return s;
}

static int end_goaway(struct h2 *h2)
{
	uint32_t last_id = h2_get32(h2->rx_fixed) & INT32_MAX;
	uint32_t code = h2_get32(h2->rx_fixed + 4);
	struct h2_stream *s;

	if (last_id > h2->goaway_last_id) /* RFC 9113 6.8 */
		return protocol_error(h2, "GOAWAY with a higher stream than before");
	h2->goaway_last_id = last_id;
	h2->is_going_away = true;
	while ((s = find_above(h2, last_id)))
		h2_stream_abort(h2, s, code, true);
	if (!h2->is_dead)
		h2->ops->goaway(h2, last_id, (enum h2_code)code, h2->debug, h2->debug_len);
	return 0;
}

static int end_settings(struct h2 *h2)
{
	int rc;

	if (h2->rx_flags & H2_FLAG_ACK)
		return 0;
	h2->has_peer_settings = true;
	rc = h2_answer(h2, H2_SETTINGS, H2_FLAG_ACK, 0, NULL, 0);
	if (rc == 0)
		h2->ops->settings(h2);
	return rc;
}

/* The peer's END_STREAM, when the stream is still there. */
static void end_stream(struct h2 *h2)
{
	struct h2_stream *s = h2->rx_stream;

	if (!s)
		return;
	if (s->content_left > 0)
		h2_stream_fail(h2, s, H2_PROTOCOL_ERROR, "less data than content-length tells");
	else
		h2_stream_remote_end(h2, s);
}

static int on_end(struct h2 *h2)
{
	int rc;

	switch (h2->rx_type) {
	case H2_DATA:
		if (h2->rx_flags & H2_FLAG_END_STREAM)
			end_stream(h2);
		return 0;
	case H2_HEADERS:
	case H2_CONTINUATION:
		if (!(h2->rx_flags & H2_FLAG_END_HEADERS))
			return 0;
		rc = h2_block_end(h2);
		if (rc == 0 && h2->block_is_end)
			end_stream(h2);
		return rc;
	case H2_SETTINGS:
		return end_settings(h2);
	case H2_GOAWAY:
		return end_goaway(h2);
	default:
		return 0;
	}
}

/* Goes on to the next part as long as the present one needs no bytes. */
static int advance(struct h2 *h2)
{
	int rc = 0;

	while (rc == 0 && !h2->is_dead) {
		switch ((enum part)h2->rx_part) {
		case PART_HEAD:
			if (h2->rx_have < H2_FRAME_HEAD)
				return 0;
			rc = on_head(h2);
			break;
		case PART_FIXED:
			if (h2->rx_have < h2->rx_need)
				return 0;
			rc = on_fixed(h2);
			break;
		case PART_BODY:
			if (h2->rx_left)
				return 0;
			h2->rx_part = PART_PAD;
			break;
		case PART_PAD:
			if (h2->rx_pad)
				return 0;
			rc = on_end(h2);
			h2->rx_part = PART_HEAD;
			h2->rx_need = H2_FRAME_HEAD;
			h2->rx_have = 0;
			break;
		}
	}
	return rc;
}

static size_t min_size(size_t a, size_t b)
{
	return a < b ? a : b;
}

int h2_recv(struct h2 *h2, const uint8_t *p, size_t len)
{
	int rc = 0;

	while (len && rc == 0 && !h2->is_dead) {
		size_t n;

		if (h2->rx_part == PART_BODY) {
			n = min_size(len, h2->rx_left);
			h2->rx_left -= (uint32_t)n;
			rc = on_body(h2, p, n);
		} else if (h2->rx_part == PART_PAD) {
			n = min_size(len, h2->rx_pad);
			h2->rx_pad = (uint8_t)(h2->rx_pad - n);
		} else {
			n = min_size(len, (size_t)(h2->rx_need - h2->rx_have));
			memcpy(h2->rx_fixed + h2->rx_have, p, n);
			h2->rx_have = (uint8_t)(h2->rx_have + n);
		}
		p += n;
		len -= n;
		if (rc == 0)
			rc = advance(h2);
	}
	if (h2->is_dead)
		return h2->error;
	h2_tell_writable(h2);
	return rc;
}
