/* SPDX-License-Identifier: Apache-2.0 */
#include "base/quote.h"

#include <string.h>

#include "base/err.h"
#include "base/utf8.h"

#include "base/quote_table.h"

bool quote_is_print(uint32_t code)
{
	const uint8_t *p = quote_table;
	uint32_t edge = 0;
	bool is_print = false;

	if (code < 0x7f)
		return code >= 0x20;
	/* Lengths of runs that are printable in turn and not, in groups of seven bits. */
	while (p < quote_table + sizeof(quote_table)) {
		uint32_t run = 0;

		do
			run = run << 7 | (*p & 0x7fU);
		while (*p++ & 0x80);
		edge += run;
		if (code < edge)
			return is_print;
		is_print = !is_print;
	}
	return false;
}

static void quote_write(struct quote *q, const char *p, size_t len)
{
	if (q->is_full || len > q->cap - q->len) {
		q->is_full = true;
		return;
	}
	memcpy(q->dst + q->len, p, len);
	q->len += len;
}

/* A backslash, the letter and that many digits. */
static void quote_hex(struct quote *q, char letter, uint32_t n, size_t digits)
{
	static const char hex[] = "0123456789abcdef";
	char text[10] = {'\\', letter};

	for (size_t i = 0; i < digits; i++)
		text[2 + i] = hex[n >> 4 * (digits - 1 - i) & 15];
	quote_write(q, text, 2 + digits);
}

/* A code point that stands in the len bytes at p. */
static void quote_code(struct quote *q, const uint8_t *p, size_t len, uint32_t code)
{
	static const char shorts[] = "abtnvfr"; /* from 7 on */
	char esc[2] = {'\\', (char)code};

	if (code == '"' || code == '\\') {
		quote_write(q, esc, 2);
	} else if (quote_is_print(code)) {
		quote_write(q, (const char *)p, len);
	} else if (code >= 7 && code <= 13) {
		esc[1] = shorts[code - 7];
		quote_write(q, esc, 2);
	} else if (code < 0x20 || code == 0x7f) {
		quote_hex(q, 'x', code, 2);
	} else if (code < 0x10000) {
		quote_hex(q, 'u', code, 4);
	} else {
		quote_hex(q, 'U', code, 8);
	}
}

/* Quotes what is whole at p. Returns the bytes it took: all but a sequence that is cut off. */
static size_t quote_whole(struct quote *q, const uint8_t *p, size_t len)
{
	size_t i = 0;

	while (i < len) {
		uint32_t code;
		int n = utf8_next(p + i, len - i, &code);

		if (n == 0)
			break;
		if (n > 0) {
			quote_code(q, p + i, (size_t)n, code);
			i += (size_t)n;
		} else {
			quote_hex(q, 'x', p[i++], 2);
		}
	}
	return i;
}

void quote_begin(struct quote *q, char *dst, size_t cap)
{
	*q = (struct quote){.dst = dst, .cap = cap};
	quote_write(q, "\"", 1);
}

void quote_put(struct quote *q, const uint8_t *p, size_t len)
{
	size_t n;

	if (q->is_full)
		return;
	/* A sequence that was cut in two gets one byte after the other until it is whole or bad. */
	while (q->rest_len && len) {
		q->rest[q->rest_len++] = *p++;
		len--;
		n = quote_whole(q, q->rest, q->rest_len);
		q->rest_len = (uint8_t)(q->rest_len - n);
		memmove(q->rest, q->rest + n, q->rest_len);
	}
	n = quote_whole(q, p, len);
	if (len - n) {
		memcpy(q->rest, p + n, len - n);
		q->rest_len = (uint8_t)(len - n);
	}
}

ssize_t quote_end(struct quote *q)
{
	for (size_t i = 0; i < q->rest_len; i++)
		quote_hex(q, 'x', q->rest[i], 2);
	q->rest_len = 0;
	quote_write(q, "\"", 1);
	return q->is_full ? ERR_LIMIT : (ssize_t)q->len;
}
