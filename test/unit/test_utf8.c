/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "base/utf8.h"

/* The definition of RFC 3629 section 3, written down another way: decode, encode again, compare. */
static size_t encode(uint32_t c, uint8_t dst[4])
{
	if (c < 0x80) {
		dst[0] = (uint8_t)c;
		return 1;
	}
	if (c < 0x800) {
		dst[0] = (uint8_t)(0xc0 | c >> 6);
		dst[1] = (uint8_t)(0x80 | (c & 63));
		return 2;
	}
	if (c < 0x10000) {
		dst[0] = (uint8_t)(0xe0 | c >> 12);
		dst[1] = (uint8_t)(0x80 | (c >> 6 & 63));
		dst[2] = (uint8_t)(0x80 | (c & 63));
		return 3;
	}
	dst[0] = (uint8_t)(0xf0 | c >> 18);
	dst[1] = (uint8_t)(0x80 | (c >> 12 & 63));
	dst[2] = (uint8_t)(0x80 | (c >> 6 & 63));
	dst[3] = (uint8_t)(0x80 | (c & 63));
	return 4;
}

static void test_every_code_point(void **state)
{
	(void)state;
	for (uint32_t c = 0; c < 0x200000; c++) {
		bool is_valid = c <= 0x10ffff && (c < 0xd800 || c > 0xdfff);
		uint8_t text[4];
		size_t len = encode(c, text);
		uint32_t code = 0;

		if (utf8_is_valid(text, len) != is_valid)
			fail_msg("U+%04X", (unsigned)c);
		if (utf8_next(text, len, &code) != (is_valid ? (int)len : -1))
			fail_msg("U+%04X", (unsigned)c);
		if (is_valid && code != c)
			fail_msg("U+%04X", (unsigned)c);
	}
}

/* All sequences of one, two and three bytes: valid if and only if made of whole code points. */
static void test_every_short_sequence(void **state)
{
	static uint8_t valid2[65536 / 8], valid3[1 << 21];

	(void)state;
	for (uint32_t c = 0x80; c < 0x10000; c++) {
		uint8_t t[4];
		size_t len = encode(c, t);

		if (c >= 0xd800 && c <= 0xdfff)
			continue;
		if (len == 2) {
			uint32_t i = (uint32_t)t[0] << 8 | t[1];

			valid2[i / 8] |= (uint8_t)(1 << i % 8);
		} else {
			uint32_t i = (uint32_t)t[0] << 16 | (uint32_t)t[1] << 8 | t[2];

			valid3[i / 8] |= (uint8_t)(1 << i % 8);
		}
	}
	for (uint32_t i = 0; i < 1 << 24; i++) {
		uint8_t t[3] = {(uint8_t)(i >> 16), (uint8_t)(i >> 8), (uint8_t)i};
		uint32_t first = i >> 8, last = i & 0xffff;
		bool has_first = valid2[first / 8] >> first % 8 & 1;
		bool has_last = valid2[last / 8] >> last % 8 & 1;
		bool want = (valid3[i / 8] >> i % 8 & 1) || (has_first && t[2] < 0x80) ||
			    (t[0] < 0x80 && has_last) ||
			    (t[0] < 0x80 && t[1] < 0x80 && t[2] < 0x80);

		if (utf8_is_valid(t, 3) != want)
			fail_msg("%02x %02x %02x", t[0], t[1], t[2]);
	}
}

static void test_cut_off(void **state)
{
	static const uint8_t emoji[] = {0xf0, 0x9f, 0x98, 0x80};
	uint32_t code;

	(void)state;
	for (size_t len = 1; len < 4; len++) {
		struct utf8 u;

		assert_int_equal(utf8_next(emoji, len, &code), 0);
		assert_false(utf8_is_valid(emoji, len));
		utf8_init(&u);
		assert_true(utf8_feed(&u, emoji, len));
		assert_false(utf8_is_whole(&u));
	}
	assert_true(utf8_is_valid(emoji, 4));
	assert_true(utf8_is_valid(emoji, 0));
}

/* Any split gives the same answer; long ASCII goes through the fast way. */
static void test_splits(void **state)
{
	static const char *const texts[] = {
		"plain ascii that is longer than two words of eight",
		"gr\xc3\xbc\xc3\x9f"
		"e \xe2\x82\xac \xf0\x9f\x98\x80 and then some more text",
		"0123456789abcde\xff"
		"0123456789",
		"0123456\xed\xa0\x80 surrogate",
		"0123456\xe2\x82",
		"\xc0\xaf",
		"\xf4\x90\x80\x80",
	};
	static const bool want[] = {true, true, false, false, false, false, false};

	(void)state;
	for (size_t t = 0; t < sizeof(texts) / sizeof(texts[0]); t++) {
		const uint8_t *p = (const uint8_t *)texts[t];
		size_t len = strlen(texts[t]);

		assert_int_equal(utf8_is_valid(p, len), want[t]);
		for (size_t a = 0; a <= len; a++) {
			for (size_t b = a; b <= len; b++) {
				struct utf8 u;

				utf8_init(&u);
				utf8_feed(&u, p, a);
				utf8_feed(&u, p + a, b - a);
				utf8_feed(&u, p + b, len - b);
				assert_int_equal(utf8_is_whole(&u), want[t]);
			}
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_every_code_point),
		cmocka_unit_test(test_every_short_sequence),
		cmocka_unit_test(test_cut_off),
		cmocka_unit_test(test_splits),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
