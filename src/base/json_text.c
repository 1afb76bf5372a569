/* SPDX-License-Identifier: Apache-2.0 */
/* The parts of JSON that each event needs: text and numbers. The writer is in json.c. */
#include "base/json.h"

#include <string.h>

#include "base/utf8.h"

enum {
	JSON_BLOCK_LEN = 256,
};

#define JSON_ONES UINT64_C(0x0101010101010101)
#define JSON_TOPS UINT64_C(0x8080808080808080)

/* "00" to "99" */
static const char json_digits[] = "00010203040506070809101112131415161718192021222324"
				  "25262728293031323334353637383940414243444546474849"
				  "50515253545556575859606162636465666768697071727374"
				  "75767778798081828384858687888990919293949596979899";

/*
 * The tests of a whole word at once tell whether there is such a byte, not which: a borrow may mark
 * a byte above the one that is meant, but never one when none is. A double quote is 0x22: with that
 * bit turned it is right above the control characters, and one subtraction finds both.
 */

/* Whether a byte of w is not ASCII, a control character, a double quote or a backslash: its marks
 * are in the top bits. Those of several words may be joined before they are looked at. */
__attribute__((always_inline)) static inline uint64_t json_word_marks(uint64_t w)
{
	return w | ((w ^ JSON_ONES * 0x02) - JSON_ONES * 0x21) |
	       ((w ^ JSON_ONES * '\\') - JSON_ONES);
}

/* The same, but bytes that are not ASCII do not count. */
__attribute__((always_inline)) static inline uint64_t json_word_needs_escape(uint64_t w)
{
	return (((w ^ JSON_ONES * 0x02) - JSON_ONES * 0x21) |
		       ((w ^ JSON_ONES * '\\') - JSON_ONES)) &
	       ~w & JSON_TOPS;
}

__attribute__((always_inline)) static inline uint64_t json_word(const uint8_t *p)
{
	uint64_t w;

	memcpy(&w, p, sizeof(w));
	return w;
}

static inline bool json_needs_escape(uint8_t c)
{
	return c < 0x20 || c == '"' || c == '\\';
}

/* How many bytes at p can be copied as they are. Those of UTF-8 sequences are among them. */
static size_t json_plain_len(const uint8_t *p, size_t len)
{
	size_t i = 0;

	while (len - i >= 8 && !json_word_needs_escape(json_word(p + i)))
		i += 8;
	while (i < len && !json_needs_escape(p[i]))
		i++;
	return i;
}

/* A count that is known and no way out: compilers make vector instructions of it where there are any. */
static inline bool json_block_is_plain(const uint8_t *p)
{
	uint64_t marks = 0;

	for (size_t i = 0; i < JSON_BLOCK_LEN; i += 8)
		marks |= json_word_marks(json_word(p + i));
	return !(marks & JSON_TOPS);
}

static inline bool json_pair_is_plain(const uint8_t *p, const uint8_t *q)
{
	return !((json_word_marks(json_word(p)) | json_word_marks(json_word(q))) & JSON_TOPS);
}

/* Whether all is ASCII without anything to escape. */
static inline bool json_is_plain(const uint8_t *p, size_t len)
{
	const uint8_t *end = p + len;

	if (len < 8) {
		while (p < end && *p < 0x80 && !json_needs_escape(*p))
			p++;
		return p == end;
	}
	for (; end - p >= JSON_BLOCK_LEN; p += JSON_BLOCK_LEN)
		if (!json_block_is_plain(p))
			return false;
	for (; end - p > 16; p += 16)
		if (!json_pair_is_plain(p, p + 8))
			return false;
	/* The last words may overlap those before. */
	return json_pair_is_plain(end - p < 8 ? end - 8 : p, end - 8);
}

__attribute__((noinline)) static enum json_text_kind json_text_scan_all(
	const uint8_t *p, size_t len)
{
	if (!utf8_is_valid(p, len))
		return JSON_TEXT_BINARY;
	return json_plain_len(p, len) < len ? JSON_TEXT_ESCAPE : JSON_TEXT_PLAIN;
}

enum json_text_kind json_text_scan(const uint8_t *p, size_t len)
{
	return json_is_plain(p, len) ? JSON_TEXT_PLAIN : json_text_scan_all(p, len);
}

/* Writes the escape of c, up to JSON_ESCAPE_MAX bytes; returns its length. */
static size_t json_escape_char(char *dst, uint8_t c)
{
	static const char hex[] = "0123456789abcdef";
	static const char shorts[] = "btn\0fr"; /* from 8 on */

	dst[0] = '\\';
	if (c >= 8 && c <= 13 && c != 11) {
		dst[1] = shorts[c - 8];
		return 2;
	}
	if (c >= 0x20) {
		dst[1] = (char)c;
		return 2;
	}
	dst[1] = 'u';
	dst[2] = dst[3] = '0';
	dst[4] = hex[c >> 4];
	dst[5] = hex[c & 15];
	return 6;
}

size_t json_escape(char *dst, size_t cap, size_t *used, const uint8_t *src, size_t len)
{
	size_t in = 0, out = 0;

	while (in < len) {
		char esc[JSON_ESCAPE_MAX];
		size_t n = len - in < cap - out ? len - in : cap - out;

		n = json_plain_len(src + in, n);
		memcpy(dst + out, src + in, n);
		in += n;
		out += n;
		if (in == len || !json_needs_escape(src[in]))
			break;
		n = json_escape_char(esc, src[in]);
		if (n > cap - out)
			break;
		memcpy(dst + out, esc, n);
		in++;
		out += n;
	}
	*used = out;
	return in;
}

static size_t json_digit_count(uint32_t n)
{
	if (n < 100000)
		return n < 100 ? (n < 10 ? 1 : 2) : (n < 1000 ? 3 : (n < 10000 ? 4 : 5));
	if (n < 10000000)
		return n < 1000000 ? 6 : 7;
	return n < 100000000 ? 8 : (n < 1000000000 ? 9 : 10);
}

static size_t json_format(char *dst, uint64_t n)
{
	size_t len = 0, at;
	uint64_t high = n;
	uint32_t low;

	/* A lease or a version, more often than not. */
	if (n < 10) {
		dst[0] = (char)('0' + n);
		return 1;
	}
	/* 64-bit division is dear on 32-bit machines: as few as can be. */
	while (high > UINT32_MAX) {
		high /= 10;
		len++;
	}
	low = (uint32_t)high;
	at = json_digit_count(low);
	for (len += at, at = len; n > UINT32_MAX; n /= 10)
		dst[--at] = (char)('0' + n % 10);
	while (low >= 10) {
		const char *two = json_digits + 2 * (low % 100);

		low /= 100;
		dst[--at] = two[1];
		dst[--at] = two[0];
	}
	if (at)
		dst[0] = (char)('0' + low);
	return len;
}

size_t json_format_uint(char dst[JSON_NUMBER_MAX], uint64_t n)
{
	return json_format(dst, n);
}

size_t json_format_int(char dst[JSON_NUMBER_MAX], int64_t n)
{
	if (n >= 0)
		return json_format(dst, (uint64_t)n);
	/* 19 digits at most behind the sign */
	dst[0] = '-';
	return 1 + json_format(dst + 1, 0 - (uint64_t)n);
}
