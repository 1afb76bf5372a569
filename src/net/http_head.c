/* SPDX-License-Identifier: Apache-2.0 */
/* The headers of an answer, as far as anybody wants to know them. libcurl has seen to their form (RFC 9112 5). */
#include "net/http_private.h"

#include <string.h>
#include <strings.h>

#include "base/err.h"

void http_head_reset(struct http_head *head)
{
	size_t len = head->len;

	memset(head, 0, sizeof(*head));
	head->len = len;
	head->answer.len = head->answer.range_first = head->answer.range_total = -1;
	head->answer.retry_after_ms = -1;
	head->date_s = head->retry_s = head->modified_s = -1;
}

/* Digits only. The number, saturated, and the bytes that it takes; 0: there is none. */
static size_t take_number(const char *p, size_t len, int64_t *out)
{
	size_t n = 0;

	*out = 0;
	for (; n < len && p[n] >= '0' && p[n] <= '9'; n++) {
		int digit = p[n] - '0';

		*out = *out > (INT64_MAX - digit) / 10 ? INT64_MAX : *out * 10 + digit;
	}
	return n;
}

/* Any of the forms of RFC 9110 5.6.7. Seconds since 1970, or -1. */
static int64_t date_of(const char *p, size_t len)
{
	char text[64];

	if (len >= sizeof(text))
		return -1;
	memcpy(text, p, len);
	text[len] = '\0';
	return (int64_t)curl_getdate(text, NULL);
}

/* RFC 9110 14.4: "bytes 0-499/1234", "bytes 0-499/" and a star, or a star in place of the range. */
static void take_content_range(struct http_answer *a, const char *p, size_t len)
{
	int64_t first = -1, last = -1, total = -1;
	size_t n;

	if (len < 6 || strncasecmp(p, "bytes ", 6) != 0)
		return;
	p += 6;
	len -= 6;
	if (len && *p == '*') {
		p++;
		len--;
	} else {
		n = take_number(p, len, &first);
		if (!n || n == len || p[n] != '-')
			return;
		p += n + 1;
		len -= n + 1;
		n = take_number(p, len, &last);
		if (!n || last < first)
			return;
		p += n;
		len -= n;
	}
	if (!len || *p != '/')
		return;
	p++;
	len--;
	n = take_number(p, len, &total);
	if (n != len || !n) {
		if (len != 1 || *p != '*')
			return;
		total = -1;
	}
	if (total >= 0 && last >= total)
		return;
	a->range_first = first;
	a->range_total = total;
}

static void take_validator(struct http_head *head, const char *p, size_t len)
{
	if (len >= sizeof(head->answer.validator))
		return;
	/* It is sent back in a header, which may not hold what some servers let pass (RFC 9110 5.5). */
	for (size_t i = 0; i < len; i++) {
		if ((uint8_t)p[i] < 0x20 || p[i] == 0x7f)
			return;
	}
	memcpy(head->answer.validator, p, len);
	head->answer.validator[len] = '\0';
}

static bool is_name(const char *line, size_t len, const char *name)
{
	return strlen(name) == len && strncasecmp(line, name, len) == 0;
}

/* 0, or ERR_HTTP: the answer says two things about its length, and a proxy may have believed the other (RFC 9112 6.3). */
static int take_field(
	struct http_head *head, const char *line, size_t name_len, const char *p, size_t len)
{
	int64_t number;

	if (is_name(line, name_len, "Content-Length")) {
		if (!len || take_number(p, len, &number) != len ||
			(head->answer.len >= 0 && head->answer.len != number))
			return ERR_HTTP;
		head->answer.len = number;
	} else if (is_name(line, name_len, "Transfer-Encoding")) {
		head->is_chunked = true;
	} else if (is_name(line, name_len, "Content-Range")) {
		take_content_range(&head->answer, p, len);
	} else if (is_name(line, name_len, "Retry-After")) {
		if (len && take_number(p, len, &number) == len)
			head->answer.retry_after_ms =
				number > INT64_MAX / 1000 ? INT64_MAX : number * 1000;
		else
			head->retry_s = date_of(p, len);
	} else if (is_name(line, name_len, "Date")) {
		head->date_s = date_of(p, len);
	} else if (is_name(line, name_len, "ETag")) {
		/* A weak one vouches for no bytes (RFC 9110 13.1.5). */
		if (len >= 2 && p[0] == '"' && p[len - 1] == '"')
			take_validator(head, p, len);
	} else if (is_name(line, name_len, "Last-Modified")) {
		head->modified_s = date_of(p, len);
		if (!head->answer.validator[0] && head->modified_s >= 0)
			take_validator(head, p, len);
	} else if (is_name(line, name_len, "Location")) {
		head->is_location_too_long = len >= sizeof(head->location);
		if (!head->is_location_too_long) {
			memcpy(head->location, p, len);
			head->location[len] = '\0';
		}
	}
	return 0;
}

/* What several fields say together. */
static void head_complete(struct http_head *head)
{
	struct http_answer *a = &head->answer;

	head->is_complete = true;
	if (head->is_chunked)
		a->len = -1;
	/* By the server's own clock where it tells it: ours may stand at 1970. */
	if (head->retry_s >= 0 && a->retry_after_ms < 0) {
		int64_t now_s = head->date_s >= 0 ? head->date_s : port_wall_s();

		a->retry_after_ms = head->retry_s > now_s ? (head->retry_s - now_s) * 1000 : 0;
	}
	/* What was changed in the second in which it was sent may change once more in it (RFC 9110 8.8.2.2). */
	if (a->validator[0] && a->validator[0] != '"' && head->date_s >= 0 &&
		head->modified_s >= head->date_s)
		a->validator[0] = '\0';
}

int http_head_take(struct http_head *head, const char *line, size_t len)
{
	const char *colon;
	size_t at;

	head->len += len;
	if (head->len > CONFIG_HTTP_HEADER_BYTES)
		return ERR_LIMIT;
	/* Of a trailer (RFC 9110 6.5) nothing is wanted. */
	if (head->is_complete)
		return 0;
	if (len >= 12 && memcmp(line, "HTTP/", 5) == 0) {
		const char *space = memchr(line, ' ', len);
		int64_t status;

		http_head_reset(head);
		if (space && take_number(space + 1, len - (size_t)(space + 1 - line), &status) == 3)
			head->answer.status = (int)status;
		return 0;
	}
	while (len && (line[len - 1] == '\n' || line[len - 1] == '\r'))
		len--;
	if (!len) {
		/* An interim answer comes before the one that counts (RFC 9110 15.2). */
		if (head->answer.status >= 200)
			head_complete(head);
		return 0;
	}
	colon = memchr(line, ':', len);
	if (!colon)
		return 0;
	at = (size_t)(colon + 1 - line);
	while (at < len && (line[at] == ' ' || line[at] == '\t'))
		at++;
	while (len > at && (line[len - 1] == ' ' || line[len - 1] == '\t'))
		len--;
	return take_field(head, line, (size_t)(colon - line), line + at, len - at);
}

bool http_head_is_redirect(const struct http_head *head)
{
	int status = head->answer.status;

	return (head->location[0] || head->is_location_too_long) &&
	       (status == 301 || status == 302 || status == 303 || status == 307 || status == 308);
}
