/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "base/base64.h"

/* In pieces of piece bytes, into room for room bytes at a time. */
static size_t encode(char *dst, const uint8_t *src, size_t len, size_t piece, size_t room)
{
	struct base64 b = {0};
	size_t out = 0, in = 0;

	while (in < len) {
		size_t n = len - in < piece ? len - in : piece, used;
		size_t took = base64_put(&b, dst + out, room, &used, src + in, n);

		assert_true(used <= room);
		assert_true(took <= n);
		assert_true(took > 0);
		in += took;
		out += used;
	}
	return out + base64_end(&b, dst + out);
}

/* RFC 4648 section 10 */
static void test_rfc_vectors(void **state)
{
	static const char *const vectors[][2] = {{"", ""}, {"f", "Zg=="}, {"fo", "Zm8="},
		{"foo", "Zm9v"}, {"foob", "Zm9vYg=="}, {"fooba", "Zm9vYmE="},
		{"foobar", "Zm9vYmFy"}};

	(void)state;
	for (size_t i = 0; i < sizeof(vectors) / sizeof(vectors[0]); i++) {
		const char *in = vectors[i][0], *want = vectors[i][1];

		assert_int_equal(base64_len(strlen(in)), strlen(want));
		for (size_t piece = 1; piece <= 7; piece++) {
			char got[16];
			size_t n = encode(got, (const uint8_t *)in, strlen(in), piece, 16);

			assert_int_equal(n, strlen(want));
			assert_memory_equal(got, want, n);
		}
	}
}

static void test_all_digits_and_splits(void **state)
{
	/* The groups 0, 1, 2, ... 63: each digit once. */
	static const char digits[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	uint8_t src[48];
	char got[80];

	(void)state;
	for (unsigned i = 0; i < 16; i++) {
		uint32_t w = (4 * i) << 18 | (4 * i + 1) << 12 | (4 * i + 2) << 6 | (4 * i + 3);

		src[3 * i] = (uint8_t)(w >> 16);
		src[3 * i + 1] = (uint8_t)(w >> 8);
		src[3 * i + 2] = (uint8_t)w;
	}
	for (size_t piece = 1; piece <= 48; piece++) {
		for (size_t room = 4; room <= 12; room++) {
			assert_int_equal(encode(got, src, 48, piece, room), 64);
			assert_memory_equal(got, digits, 64);
		}
	}
}

static void test_no_room(void **state)
{
	struct base64 b = {0};
	char dst[4];
	size_t used = 9;

	(void)state;
	assert_int_equal(base64_put(&b, dst, 3, &used, (const uint8_t *)"abc", 3), 0);
	assert_int_equal(used, 0);
	assert_int_equal(base64_end(&b, dst), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_rfc_vectors),
		cmocka_unit_test(test_all_digits_and_splits),
		cmocka_unit_test(test_no_room),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
