/* SPDX-License-Identifier: Apache-2.0 */
#include "base/json.h"

#include <string.h>

#include "base/base64.h"
#include "base/utf8.h"

void json_begin(struct json *j, char *dst, size_t cap)
{
	*j = (struct json){.dst = dst, .cap = cap};
}

ssize_t json_end(struct json *j)
{
	return j->is_full ? ERR_LIMIT : (ssize_t)j->len;
}

void json_begin_buf(struct json *j, struct buf *b)
{
	char *tail = (char *)buf_tail(b);

	json_begin(j, tail, buf_room(b));
}

int json_end_buf(struct json *j, struct buf *b)
{
	if (j->is_full)
		return ERR_AGAIN;
	buf_added(b, j->len);
	return 0;
}

static void json_write(struct json *j, const void *p, size_t len)
{
	if (j->is_full || len > j->cap - j->len) {
		j->is_full = true;
		return;
	}
	if (len)
		memcpy(j->dst + j->len, p, len);
	j->len += len;
}

static void json_char(struct json *j, char c)
{
	json_write(j, &c, 1);
}

/* Before each value; a member's name stands before its own value and takes the comma. */
static void json_comma(struct json *j)
{
	if (j->want_comma)
		json_char(j, ',');
	j->want_comma = true;
}

static void json_open(struct json *j, char c)
{
	json_comma(j);
	json_char(j, c);
	j->want_comma = false;
}

static void json_close(struct json *j, char c)
{
	json_char(j, c);
	j->want_comma = true;
}

void json_object_begin(struct json *j)
{
	json_open(j, '{');
}

void json_object_end(struct json *j)
{
	json_close(j, '}');
}

void json_array_begin(struct json *j)
{
	json_open(j, '[');
}

void json_array_end(struct json *j)
{
	json_close(j, ']');
}

void json_member(struct json *j, const char *name)
{
	json_comma(j);
	json_char(j, '"');
	json_write(j, name, strlen(name));
	json_write(j, "\":", 2);
	j->want_comma = false;
}

/* Valid text, without quotes. */
static void json_escaped(struct json *j, const uint8_t *p, size_t len)
{
	size_t used;

	if (j->is_full)
		return;
	if (json_escape(j->dst + j->len, j->cap - j->len, &used, p, len) < len)
		j->is_full = true;
	else
		j->len += used;
}

void json_text(struct json *j, const void *p, size_t len)
{
	const uint8_t *src = p;

	json_comma(j);
	json_char(j, '"');
	if (json_text_scan(src, len) != JSON_TEXT_BINARY) {
		json_escaped(j, src, len);
	} else {
		while (len) {
			uint32_t code;
			int n = utf8_next(src, len, &code);

			if (n > 0) {
				json_escaped(j, src, (size_t)n);
			} else {
				json_write(j, "\xef\xbf\xbd", 3);
				n = 1;
			}
			src += n;
			len -= (size_t)n;
		}
	}
	json_char(j, '"');
}

void json_string(struct json *j, const char *text)
{
	if (text)
		json_text(j, text, strlen(text));
	else
		json_null(j);
}

void json_raw(struct json *j, const char *text, size_t len)
{
	json_comma(j);
	json_write(j, text, len);
}

void json_int(struct json *j, int64_t n)
{
	char digits[JSON_NUMBER_MAX];

	json_raw(j, digits, json_format_int(digits, n));
}

void json_uint(struct json *j, uint64_t n)
{
	char digits[JSON_NUMBER_MAX];

	json_raw(j, digits, json_format_uint(digits, n));
}

void json_uint_string(struct json *j, uint64_t n)
{
	char digits[JSON_NUMBER_MAX];

	json_text(j, digits, json_format_uint(digits, n));
}

void json_bool(struct json *j, bool is_true)
{
	if (is_true)
		json_raw(j, "true", 4);
	else
		json_raw(j, "false", 5);
}

void json_null(struct json *j)
{
	json_raw(j, "null", 4);
}

void json_newline(struct json *j)
{
	json_char(j, '\n');
	j->want_comma = false;
}

void json_member_text(struct json *j, const char *name, const void *p, size_t len)
{
	json_member(j, name);
	json_text(j, p, len);
}

void json_member_string(struct json *j, const char *name, const char *text)
{
	json_member(j, name);
	json_string(j, text);
}

void json_member_int(struct json *j, const char *name, int64_t n)
{
	json_member(j, name);
	json_int(j, n);
}

void json_member_uint(struct json *j, const char *name, uint64_t n)
{
	json_member(j, name);
	json_uint(j, n);
}

void json_member_bool(struct json *j, const char *name, bool is_true)
{
	json_member(j, name);
	json_bool(j, is_true);
}

void json_member_null(struct json *j, const char *name)
{
	json_member(j, name);
	json_null(j);
}

void json_member_bytes(struct json *j, const char *name, const void *p, size_t len)
{
	struct base64 b64 = {0};
	char end[BASE64_END_MAX];
	size_t used;

	if (json_text_scan(p, len) != JSON_TEXT_BINARY) {
		json_member_text(j, name, p, len);
		return;
	}
	json_comma(j);
	json_char(j, '"');
	json_write(j, name, strlen(name));
	json_write(j, "_base64\":\"", 10);
	if (!j->is_full) {
		if (base64_put(&b64, j->dst + j->len, j->cap - j->len, &used, p, len) < len)
			j->is_full = true;
		j->len += used;
	}
	json_write(j, end, base64_end(&b64, end));
	json_char(j, '"');
}
