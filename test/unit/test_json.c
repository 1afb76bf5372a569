/* SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "base/json.h"

#define assert_json(j, text) \
	do { \
		ssize_t n_ = json_end(j); \
		assert_int_equal(n_, strlen(text)); \
		assert_memory_equal((j)->dst, text, strlen(text)); \
	} while (0)

static void write_sample(struct json *j)
{
	json_object_begin(j);
	json_member_string(j, "a", "x\"y\\z\n\x01\x7f");
	json_member_int(j, "n", -5);
	json_member(j, "list");
	json_array_begin(j);
	json_uint(j, 7);
	json_object_begin(j);
	json_object_end(j);
	json_array_begin(j);
	json_array_end(j);
	json_bool(j, true);
	json_array_end(j);
	json_member_bool(j, "no", false);
	json_member_null(j, "nil");
	json_member_string(j, "none", NULL);
	json_member_uint(j, "u", UINT64_MAX);
	json_member(j, "id");
	json_uint_string(j, UINT64_MAX);
	json_member_bytes(j, "k", "ok", 2);
	json_member_bytes(j, "k", "\xff", 1);
	json_object_end(j);
	json_newline(j);
}

static const char sample[] =
	"{\"a\":\"x\\\"y\\\\z\\n\\u0001\x7f\",\"n\":-5,\"list\":[7,{},[],true],\"no\":false,"
	"\"nil\":null,\"none\":null,\"u\":18446744073709551615,"
	"\"id\":\"18446744073709551615\",\"k\":\"ok\",\"k_base64\":\"/w==\"}\n";

static void test_writer(void **state)
{
	char dst[512];
	struct json j;

	(void)state;
	json_begin(&j, dst, sizeof(dst));
	write_sample(&j);
	assert_json(&j, sample);
}

/* Whatever the room, nothing is written beyond it, and too little is told. */
static void test_bounded(void **state)
{
	char dst[512];

	(void)state;
	for (size_t cap = 0; cap <= sizeof(sample); cap++) {
		struct json j;

		memset(dst, '#', sizeof(dst));
		json_begin(&j, dst, cap);
		write_sample(&j);
		assert_int_equal(json_end(&j),
			cap < sizeof(sample) - 1 ? ERR_LIMIT : (int)sizeof(sample) - 1);
		for (size_t i = cap; i < sizeof(dst); i++)
			assert_int_equal(dst[i], '#');
	}
}

static void test_buf(void **state)
{
	char mem[16];
	struct buf b;
	struct json j;

	(void)state;
	buf_init(&b, mem, sizeof(mem));
	assert_int_equal(buf_put(&b, "0123456789", 10), 0);
	buf_drop(&b, 8);
	json_begin_buf(&j, &b);
	json_string(&j, "0123456789");
	assert_int_equal(json_end_buf(&j, &b), 0);
	assert_int_equal(buf_len(&b), 14);
	assert_memory_equal(buf_head(&b), "89\"0123456789\"", 14);
	json_begin_buf(&j, &b);
	json_int(&j, 123);
	assert_int_equal(json_end_buf(&j, &b), ERR_AGAIN);
	assert_int_equal(buf_len(&b), 14);
}

static void test_escapes(void **state)
{
	/* RFC 8259 section 7; 0x7f and what is not ASCII stay as they are. */
	for (unsigned c = 0; c < 0x80; c++) {
		char want[16], dst[16];
		uint8_t text[2] = {(uint8_t)c, 0};
		struct json j;

		if (c == '\b' || c == '\f' || c == '\n' || c == '\r' || c == '\t')
			snprintf(want, sizeof(want), "\"\\%c\"", "btn?fr"[c - 8]);
		else if (c < 0x20)
			snprintf(want, sizeof(want), "\"\\u%04x\"", c);
		else if (c == '"' || c == '\\')
			snprintf(want, sizeof(want), "\"\\%c\"", (int)c);
		else
			snprintf(want, sizeof(want), "\"%c\"", (int)c);
		json_begin(&j, dst, sizeof(dst));
		json_text(&j, text, 1);
		assert_json(&j, want);
	}
	(void)state;
}

static void test_invalid_text(void **state)
{
	char dst[64];
	struct json j;

	(void)state;
	json_begin(&j, dst, sizeof(dst));
	json_text(&j, "a\xff\"\xc3\xbc\xc3", 6);
	assert_json(&j, "\"a\xef\xbf\xbd\\\"\xc3\xbc\xef\xbf\xbd\"");
}

/* Each byte at each place of a word and beside it. */
static void test_scan(void **state)
{
	(void)state;
	for (size_t len = 1; len <= 20; len++) {
		for (size_t at = 0; at < len; at++) {
			for (unsigned c = 0; c < 256; c++) {
				uint8_t text[20];
				enum json_text_kind want = JSON_TEXT_PLAIN;

				memset(text, (int)(c + at) % 2 ? ' ' : '~', sizeof(text));
				text[at] = (uint8_t)c;
				if (c >= 0x80)
					want = JSON_TEXT_BINARY;
				else if (c < 0x20 || c == '"' || c == '\\')
					want = JSON_TEXT_ESCAPE;
				if (json_text_scan(text, len) != want)
					fail_msg("0x%02x at %zu of %zu", c, at, len);
			}
		}
	}
	assert_int_equal(json_text_scan((const uint8_t *)"", 0), JSON_TEXT_PLAIN);
	/* The escape may stand before or behind what is not ASCII. */
	assert_int_equal(json_text_scan((const uint8_t *)"\n\xc3\xbc", 3), JSON_TEXT_ESCAPE);
	assert_int_equal(json_text_scan((const uint8_t *)"\xc3\xbc\n", 3), JSON_TEXT_ESCAPE);
	assert_int_equal(json_text_scan((const uint8_t *)"\xc3\xbc~", 3), JSON_TEXT_PLAIN);
	assert_int_equal(json_text_scan((const uint8_t *)"\n\xc3", 2), JSON_TEXT_BINARY);
}

/* Little room at a time gives the same text as much room at once. */
static void test_escape_in_parts(void **state)
{
	static const uint8_t src[] = "abcdefgh\x01\"ij\\kl\nmnopqrstuv\xc3\xbcwxyz0123456789\x1f";
	char want[128], got[128];
	size_t len = sizeof(src) - 1, want_len;

	(void)state;
	assert_int_equal(json_escape(want, sizeof(want), &want_len, src, len), len);
	for (size_t cap = JSON_ESCAPE_MAX; cap < 60; cap++) {
		size_t in = 0, out = 0, used;

		while (in < len) {
			size_t n = json_escape(got + out, cap, &used, src + in, len - in);

			assert_true(n > 0);
			assert_true(used <= cap);
			in += n;
			out += used;
		}
		assert_int_equal(out, want_len);
		assert_memory_equal(got, want, want_len);
	}
}

static void test_numbers(void **state)
{
	static const uint64_t numbers[] = {0, 1, 9, 10, 99, 100, 4294967295, 4294967296,
		42949672960, 9999999999, 9223372036854775807, 9223372036854775808u, UINT64_MAX};

	(void)state;
	/* All powers of ten and their neighbours. */
	for (uint64_t n = 1, i = 0; i < 20; i++, n *= 10) {
		for (uint64_t near = n - 1; near <= n + 1; near++) {
			char want[32], got[JSON_NUMBER_MAX];

			snprintf(want, sizeof(want), "%" PRIu64, near);
			assert_int_equal(json_format_uint(got, near), strlen(want));
			assert_memory_equal(got, want, strlen(want));
		}
	}
	for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
		char want[32], got[JSON_NUMBER_MAX];
		size_t n = json_format_uint(got, numbers[i]);

		snprintf(want, sizeof(want), "%" PRIu64, numbers[i]);
		assert_int_equal(n, strlen(want));
		assert_memory_equal(got, want, n);
		n = json_format_int(got, (int64_t)numbers[i]);
		snprintf(want, sizeof(want), "%" PRId64, (int64_t)numbers[i]);
		assert_int_equal(n, strlen(want));
		assert_memory_equal(got, want, n);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_writer),
		cmocka_unit_test(test_bounded),
		cmocka_unit_test(test_buf),
		cmocka_unit_test(test_escapes),
		cmocka_unit_test(test_invalid_text),
		cmocka_unit_test(test_scan),
		cmocka_unit_test(test_escape_in_parts),
		cmocka_unit_test(test_numbers),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
