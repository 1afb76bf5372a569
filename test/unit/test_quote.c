/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "base/err.h"
#include "base/quote.h"

/* A small literal of C may hold NUL: its length is that of the array. */
#define CASE(in, out) \
	{ \
		(const uint8_t *)(in), sizeof(in) - 1, out \
	}

static const struct {
	const uint8_t *in;
	size_t len;
	const char *want;
} cases[] = {
	CASE("", "\"\""),
	CASE("plain text, 1 'x' `y`", "\"plain text, 1 'x' `y`\""),
	CASE("\a\b\f\n\r\t\v\\\"", "\"\\a\\b\\f\\n\\r\\t\\v\\\\\\\"\""),
	CASE("\0\x01\x1f\x7f", "\"\\x00\\x01\\x1f\\x7f\""),
	CASE("\xc3\xbc\xe2\x82\xac\xf0\x9f\x98\x80", "\"\xc3\xbc\xe2\x82\xac\xf0\x9f\x98\x80\""),
	CASE("\xc2\x80\xc2\xa0\xc2\xad\xe2\x80\xa8", "\"\\u0080\\u00a0\\u00ad\\u2028\""),
	CASE("\xef\xbb\xbf\xf3\xa0\x80\x81\xf4\x8f\xbf\xbf", "\"\\ufeff\\U000e0001\\U0010ffff\""),
	CASE("\xef\xbf\xbd", "\"\xef\xbf\xbd\""),
	CASE("\xff\xfe"
	     "a\xc3",
		"\"\\xff\\xfea\\xc3\""),
	CASE("\xed\xa0\x80\xc0\xaf\xe2\x82", "\"\\xed\\xa0\\x80\\xc0\\xaf\\xe2\\x82\""),
	CASE("\xf0\x9f\x98"
	     "z",
		"\"\\xf0\\x9f\\x98z\""),
};

static void test_cases_in_all_splits(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		size_t len = cases[i].len, want_len = strlen(cases[i].want);

		for (size_t a = 0; a <= len; a++) {
			for (size_t b = a; b <= len; b++) {
				char dst[128];
				struct quote q;

				quote_begin(&q, dst, sizeof(dst));
				quote_put(&q, cases[i].in, a);
				quote_put(&q, cases[i].in + a, b - a);
				quote_put(&q, cases[i].in + b, len - b);
				assert_int_equal(quote_end(&q), want_len);
				assert_memory_equal(dst, cases[i].want, want_len);
			}
		}
	}
}

static void test_bounded(void **state)
{
	(void)state;
	for (size_t cap = 0; cap < 16; cap++) {
		char dst[16];
		struct quote q;

		memset(dst, '#', sizeof(dst));
		quote_begin(&q, dst, cap);
		quote_put(&q,
			(const uint8_t *)"ab\n\xff"
					 "cd",
			6);
		/* "ab\n\xffcd" has twelve */
		assert_int_equal(quote_end(&q), cap < 12 ? ERR_LIMIT : 12);
		for (size_t i = cap; i < sizeof(dst); i++)
			assert_int_equal(dst[i], '#');
	}
}

/*
 * Every code point against Python's unicodedata, where the same Unicode version is at hand.
 * Python answers with the code points at which printable begins or ends.
 */
static void test_is_print(void **state)
{
	static const char script[] = "import unicodedata as u\n"
				     "if u.unidata_version != '14.0.0': raise SystemExit\n"
				     "n = False\n"
				     "for c in range(0x110000):\n"
				     "    p = c == 32 or u.category(chr(c))[0] in 'LMNPS'\n"
				     "    if p != n: print(c)\n"
				     "    n = p\n";
	char command[sizeof(script) + 64];
	unsigned edge = 0, edges = 0;
	bool is_print = false;
	FILE *python;

	(void)state;
	/* Some for machines without it. */
	assert_true(quote_is_print('a') && quote_is_print(' ') && quote_is_print(0xa1));
	assert_true(quote_is_print(0x4e00) && quote_is_print(0x1f600));
	assert_false(quote_is_print(0x7f) || quote_is_print(0xa0) || quote_is_print(0x3000));
	assert_false(quote_is_print(0xd800) || quote_is_print(0xe000) || quote_is_print(0x378));
	assert_false(quote_is_print(0x10ffff) || quote_is_print(0x110000));

	snprintf(command, sizeof(command), "python3 -c \"%s\" 2>/dev/null", script);
	python = popen(command, "r");
	assert_non_null(python);
	for (uint32_t c = 0; c < 0x110000; c++) {
		while (edge <= c) {
			if (edges)
				is_print = !is_print;
			edges++;
			if (fscanf(python, "%u", &edge) != 1)
				edge = UINT32_MAX;
		}
		if (edges == 1 && edge == UINT32_MAX) {
			pclose(python);
			skip();
		}
		if (quote_is_print(c) != is_print)
			fail_msg("U+%04X", (unsigned)c);
	}
	pclose(python);
	assert_true(edges > 1000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_cases_in_all_splits),
		cmocka_unit_test(test_bounded),
		cmocka_unit_test(test_is_print),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
