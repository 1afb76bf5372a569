/* SPDX-License-Identifier: Apache-2.0 */
/* Ranges of keys: the ends of prefixes, what is in a range and what is no range. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "etcd/range.h"

#include <stdlib.h>
#include <string.h>

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

struct text {
	const char *p;
	size_t len;
};

#define T(s) \
	{ \
		s, sizeof(s) - 1 \
	}

static void prefixes_end_behind_their_last_key(void **state)
{
	static const struct {
		struct text prefix, key, end;
		struct text in, before, behind; /* of no length: there is none */
	} rows[] = {
		{T("/config/"), T("/config/"), T("/config0"), T("/config/\xff\xff"), T("/config"),
			T("/config0")},
		{T("a"), T("a"), T("b"), T("a"), T("Z"), T("b")},
		{T("a\xff"), T("a\xff"), T("b"), T("a\xff\x00"), T("a\xfe\xff"), T("b")},
		{T("a\xff\xff"), T("a\xff\xff"), T("b"), T("a\xff\xff\xff"), T("a\xff\xfe"),
			T("b")},
		{T("\xfe\xff"), T("\xfe\xff"), T("\xff"), T("\xfe\xff\x01"), T("\xfe\xfe"),
			T("\xff")},
		{T("\xff"), T("\xff"), T("\0"), T("\xff\xff\xff"), T("\xfe\xff"), T("")},
		{T("\xff\xff"), T("\xff\xff"), T("\0"), T("\xff\xff\x00"), T("\xff\xfe"), T("")},
		{T("\x00"), T("\x00"), T("\x01"), T("\x00\x00"), T(""), T("\x01")},
		{T("\x7f"), T("\x7f"), T("\x80"), T("\x7f\xff"), T("\x7e"), T("\x80")},
		{T(""), T("\0"), T("\0"), T("anything"), T(""), T("")},
	};
	size_t i;

	(void)state;
	for (i = 0; i < COUNT(rows); i++) {
		/* Not a byte more than is promised to be enough. */
		uint8_t *mem = malloc(rows[i].prefix.len ? rows[i].prefix.len : 1);
		struct etcd_range r;

		assert_non_null(mem);
		etcd_range_prefix(&r, rows[i].prefix.p, rows[i].prefix.len, mem);
		assert_int_equal(r.key_len, rows[i].key.len);
		assert_memory_equal(r.key, rows[i].key.p, r.key_len);
		assert_int_equal(r.end_len, rows[i].end.len);
		assert_memory_equal(r.end, rows[i].end.p, r.end_len);
		assert_true(etcd_range_is_valid(&r));
		assert_true(etcd_range_has(&r, r.key, r.key_len));
		assert_true(etcd_range_has(&r, rows[i].in.p, rows[i].in.len));
		if (rows[i].before.len)
			assert_false(etcd_range_has(&r, rows[i].before.p, rows[i].before.len));
		if (rows[i].behind.len)
			assert_false(etcd_range_has(&r, rows[i].behind.p, rows[i].behind.len));
		free(mem);
	}
}

static void prefix_of_nothing_needs_no_memory_of_the_caller(void **state)
{
	uint8_t mem[1];
	struct etcd_range r;

	(void)state;
	etcd_range_prefix(&r, NULL, 0, mem);
	assert_true(etcd_range_is_valid(&r));
	assert_true(etcd_range_has(&r, "\0", 1));
}

static void ranges_are_checked(void **state)
{
	static const struct {
		struct text key, end;
		int is_valid;
		struct text in, out;
	} rows[] = {
		{T("a"), T("c"), 1, T("b\xff"), T("c")},
		{T("a"), T("a\0"), 1, T("a"), T("a\0")},
		{T("a"), T("aa"), 1, T("a\x60"), T("aa")},
		{T("b"), T("\0"), 1, T("\xff\xff\xff"), T("a\xff")},
		{T("\0"), T("\0"), 1, T("\0"), T("")},
		{T(""), T("b"), 1, T("a"), T("b")},
		{T(""), T("\0"), 1, T("\xff"), T("")},
		{T("\x7f"), T("\x80"), 1, T("\x7f\xff"), T("\x80")},
		{T("a"), T("a"), 0, T(""), T("")},
		{T("b"), T("a"), 0, T(""), T("")},
		{T("aa"), T("a"), 0, T(""), T("")},
		{T("\x80"), T("\x7f"), 0, T(""), T("")},
		{T("a"), T("\0\0"), 0, T(""), T("")},
		{T("\0\0"), T("\0"), 1, T("\0\0"), T("\0")},
	};
	size_t i;

	(void)state;
	for (i = 0; i < COUNT(rows); i++) {
		struct etcd_range r;

		etcd_range_from(&r, rows[i].key.p, rows[i].key.len, rows[i].end.p, rows[i].end.len);
		assert_int_equal(etcd_range_is_valid(&r), rows[i].is_valid);
		if (rows[i].in.len)
			assert_true(etcd_range_has(&r, rows[i].in.p, rows[i].in.len));
		if (rows[i].out.len)
			assert_false(etcd_range_has(&r, rows[i].out.p, rows[i].out.len));
	}
}

static void single_keys_are_ranges(void **state)
{
	struct etcd_range r, first;
	uint8_t mem[8];

	(void)state;
	etcd_range_key(&r, "/key", 4);
	assert_true(etcd_range_is_valid(&r));
	assert_true(etcd_range_has(&r, "/key", 4));
	assert_false(etcd_range_has(&r, "/key\0", 5));
	assert_false(etcd_range_has(&r, "/ke", 3));
	assert_int_equal(r.end_len, 0);

	etcd_range_key(&r, "", 0);
	assert_false(etcd_range_is_valid(&r));

	etcd_range_prefix(&r, "/dir/", 5, mem);
	etcd_range_first(&first, &r);
	assert_int_equal(first.key_len, 5);
	assert_memory_equal(first.key, "/dir/", 5);
	assert_int_equal(first.end_len, 0);
	assert_true(etcd_range_is_valid(&first));

	etcd_range_prefix(&r, "", 0, mem);
	etcd_range_first(&first, &r);
	assert_true(etcd_range_is_valid(&first));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(prefixes_end_behind_their_last_key),
		cmocka_unit_test(prefix_of_nothing_needs_no_memory_of_the_caller),
		cmocka_unit_test(ranges_are_checked),
		cmocka_unit_test(single_keys_are_ranges),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
