/* SPDX-License-Identifier: Apache-2.0 */
#include "net/h2_private.h"

#include <string.h>

#include "base/err.h"

static bool is_text(const char *p, size_t len, const char *text)
{
	return len == strlen(text) && memcmp(p, text, len) == 0;
}

/* RFC 9113 8.2.1 */
static bool is_name_ok(const char *name, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		unsigned char c = (unsigned char)name[i];

		if (c <= 0x20 || (c >= 'A' && c <= 'Z') || c >= 0x7f || c == ':')
			return false;
	}
	return len > 0;
}

static bool is_blank(char c)
{
	return c == ' ' || c == '\t';
}

static bool is_value_ok(const char *value, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if (value[i] == '\0' || value[i] == '\r' || value[i] == '\n')
			return false;
	return len == 0 || !(is_blank(value[0]) || is_blank(value[len - 1]));
}

/* RFC 9113 8.2.2 */
static bool is_connection_specific(
	const char *name, size_t len, const char *value, size_t value_len)
{
	return is_text(name, len, "connection") || is_text(name, len, "proxy-connection") ||
	       is_text(name, len, "keep-alive") || is_text(name, len, "transfer-encoding") ||
	       is_text(name, len, "upgrade") ||
	       (is_text(name, len, "te") && !is_text(value, value_len, "trailers"));
}

/* A number of digits only; below 0 when it is none, or too large to be true. */
static int64_t number_parse(const char *p, size_t len)
{
	int64_t v = 0;

	if (len == 0 || len > 18)
		return -1;
	for (size_t i = 0; i < len; i++) {
		if (p[i] < '0' || p[i] > '9')
			return -1;
		v = v * 10 + (p[i] - '0');
	}
	return v;
}

/* RFC 9113 8.3, 8.3.2: ":status" once, before all others, and nothing else with a colon. */
static const char *pseudo_add(
	struct h2 *h2, const char *name, size_t name_len, const char *value, size_t value_len)
{
	int64_t status = number_parse(value, value_len);

	if (h2->block_is_trailers || h2->block_has_regular || h2->block_status ||
		!is_text(name, name_len, ":status"))
		return "pseudo-header out of place";
	/* RFC 9113 8.6: 101 (Switching Protocols) is not in HTTP/2. */
	if (value_len != 3 || status < 100 || status > 599 || status == 101)
		return "malformed :status";
	h2->block_status = (uint16_t)status;
	return NULL;
}

static const char *content_length_add(struct h2_stream *s, const char *value, size_t value_len)
{
	int64_t v = number_parse(value, value_len);

	if (v < 0 || (s->content_left >= 0 && s->content_left != v))
		return "malformed content-length";
	s->content_left = v;
	return NULL;
}

/* NULL, or what is wrong. */
static const char *field_check(
	struct h2 *h2, const char *name, size_t name_len, const char *value, size_t value_len)
{
	if (!is_value_ok(value, value_len))
		return "malformed header value";
	if (name_len && name[0] == ':')
		return pseudo_add(h2, name, name_len, value, value_len);
	if (!is_name_ok(name, name_len))
		return "malformed header name";
	h2->block_has_regular = true;
	if (!h2->block_is_trailers && !h2->block_status)
		return "no :status";
	if (is_connection_specific(name, name_len, value, value_len))
		return "connection-specific header";
	if (h2->block_status >= 200 && is_text(name, name_len, "content-length"))
		return content_length_add(h2->rx_stream, value, value_len);
	return NULL;
}

static void on_field(
	void *user, const char *name, size_t name_len, const char *value, size_t value_len)
{
	struct h2 *h2 = user;
	struct h2_stream *s = h2->rx_stream;
	const char *wrong;

	if (!s)
		return;
	wrong = field_check(h2, name, name_len, value, value_len);
	if (wrong)
		h2_stream_fail(h2, s, H2_PROTOCOL_ERROR, wrong);
	else if (h2->block_has_regular && (h2->block_is_trailers || h2->block_status >= 200))
		s->ops->header(s, name, name_len, value, value_len);
}

int h2_block_begin(struct h2 *h2)
{
	struct h2_stream *s = h2->rx_stream;

	h2->block_id = h2->rx_id;
	h2->block_len = 0;
	h2->block_continuations = 0;
	h2->block_status = 0;
	h2->block_is_end = h2->rx_flags & H2_FLAG_END_STREAM;
	h2->block_is_trailers = s && s->has_headers;
	h2->block_has_regular = false;
	hpack_block_begin(&h2->hpack);
	if (h2->block_is_trailers && !h2->block_is_end) /* RFC 9113 8.1 */
		h2_stream_fail(h2, s, H2_PROTOCOL_ERROR, "trailers without END_STREAM");
	return 0;
}

int h2_block_add(struct h2 *h2, const uint8_t *p, size_t len)
{
	/* Header block without end: it costs no memory, but time. */
	h2->block_len += (uint32_t)len;
	if (h2->block_len > CONFIG_H2_HEADER_BLOCK_BYTES)
		return h2_fail(h2, H2_ENHANCE_YOUR_CALM, "header block too large");
	if (hpack_block_decode(&h2->hpack, p, len, on_field, h2))
		return h2_fail(h2, H2_COMPRESSION_ERROR, "malformed header block");
	/* Header list too large: the stream alone pays, the table was kept in step. */
	if (h2->hpack.is_list_over && h2->rx_stream)
		h2_stream_fail(h2, h2->rx_stream, H2_ENHANCE_YOUR_CALM, "header list too large");
	return 0;
}

int h2_block_end(struct h2 *h2)
{
	struct h2_stream *s = h2->rx_stream;
	int status = h2->block_status;

	h2->block_id = 0;
	if (hpack_block_end(&h2->hpack))
		return h2_fail(h2, H2_COMPRESSION_ERROR, "header block cut short");
	if (!s)
		return 0;
	if (h2->block_is_trailers) {
		h2->noise = 0;
		s->ops->header_end(s, H2_BLOCK_TRAILERS, 0);
	} else if (status == 0) {
		h2_stream_fail(h2, s, H2_PROTOCOL_ERROR, "no :status");
	} else if (status >= 200) {
		h2->noise = 0;
		s->has_headers = true;
		if (status == 204 || status == 304) /* RFC 9113 8.1.1: never with content */
			s->content_left = -1;
		s->ops->header_end(s, H2_BLOCK_HEADERS, status);
	} else if (h2->block_is_end) {
		h2_stream_fail(h2, s, H2_PROTOCOL_ERROR, "END_STREAM on an informational answer");
	} else {
		s->ops->header_end(s, H2_BLOCK_INFORMATIONAL, status);
	}
	return 0;
}
