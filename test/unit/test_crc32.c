/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/crc32.h"

/* The definition, bit by bit. */
static uint32_t slow(const uint8_t *p, size_t len)
{
	uint32_t crc = 0xffffffff;

	for (size_t i = 0; i < len; i++) {
		crc ^= p[i];
		for (int bit = 0; bit < 8; bit++)
			crc = crc & 1 ? (crc >> 1) ^ 0xedb88320 : crc >> 1;
	}
	return ~crc;
}

static void test_known_values(void **state)
{
	(void)state;
	/* The check value of the catalogue of CRCs, and the one of zlib's documentation. */
	assert_int_equal(crc32_update(0, "123456789", 9), 0xcbf43926);
	assert_int_equal(crc32_update(0, "", 0), 0);
	assert_int_equal(crc32_update(0, "a", 1), 0xe8b7be43);
}

static void test_same_as_definition_and_in_parts(void **state)
{
	uint8_t data[256];

	(void)state;
	for (size_t i = 0; i < sizeof(data); i++)
		data[i] = (uint8_t)(i * 7 + i / 3);
	for (size_t len = 0; len <= sizeof(data); len++) {
		uint32_t whole = slow(data, len);

		for (size_t cut = 0; cut <= len; cut++)
			assert_int_equal(
				crc32_update(crc32_update(0, data, cut), data + cut, len - cut),
				whole);
	}
}

static void test_finds_two_flipped_bits(void **state)
{
	uint8_t rec[32];
	uint32_t good;

	(void)state;
	memset(rec, 0x5a, sizeof(rec));
	good = crc32_update(0, rec, sizeof(rec));
	for (unsigned a = 0; a < sizeof(rec) * 8; a++) {
		rec[a / 8] ^= (uint8_t)(1u << a % 8);
		assert_int_not_equal(crc32_update(0, rec, sizeof(rec)), good);
		for (unsigned b = 0; b < a; b++) {
			rec[b / 8] ^= (uint8_t)(1u << b % 8);
			assert_int_not_equal(crc32_update(0, rec, sizeof(rec)), good);
			rec[b / 8] ^= (uint8_t)(1u << b % 8);
		}
		rec[a / 8] ^= (uint8_t)(1u << a % 8);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_known_values),
		cmocka_unit_test(test_same_as_definition_and_in_parts),
		cmocka_unit_test(test_finds_two_flipped_bits),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
