/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "base/heap.h"

static void what_is_taken_is_counted(void **state)
{
	size_t peak;
	char *a, *b;

	(void)state;
	assert_int_equal(heap_bytes(), 0);
	a = heap_calloc(10, 100);
	b = heap_calloc(1, 24);
	assert_non_null(a);
	assert_non_null(b);
	assert_int_equal(heap_bytes(), 1024);
	assert_int_equal(heap_peak_bytes(), 1024);
	heap_free(a);
	assert_int_equal(heap_bytes(), 24);
	assert_int_equal(heap_peak_bytes(), 1024);
	a = heap_calloc(1, 2000);
	assert_int_equal(heap_peak_bytes(), 2024);
	heap_free(b);
	heap_free(a);
	heap_free(NULL);
	peak = heap_peak_bytes();
	assert_int_equal(heap_bytes(), 0);
	assert_int_equal(peak, 2024);
}

static void memory_is_zero_and_aligned_for_anything(void **state)
{
	(void)state;
	for (size_t len = 0; len < 200; len++) {
		uint8_t *p = heap_calloc(1, len);

		assert_non_null(p);
		assert_int_equal((uintptr_t)p % _Alignof(max_align_t), 0);
		for (size_t i = 0; i < len; i++)
			assert_int_equal(p[i], 0);
		memset(p, 0xff, len);
		heap_free(p);
	}
}

static void what_cannot_be_is_refused_and_not_counted(void **state)
{
	(void)state;
	assert_null(heap_calloc(SIZE_MAX, 1));
	assert_null(heap_calloc(SIZE_MAX - 8, 1));
	assert_null(heap_calloc(SIZE_MAX / 2, 3));
	assert_null(heap_calloc(3, SIZE_MAX / 2));
	assert_int_equal(heap_bytes(), 0);
}

static void a_block_that_grows_or_shrinks_keeps_its_bytes(void **state)
{
	char *p, *copy;

	(void)state;
	p = heap_realloc(NULL, 4);
	assert_non_null(p);
	memcpy(p, "abc", 4);
	p = heap_realloc(p, 3000);
	assert_non_null(p);
	assert_string_equal(p, "abc");
	assert_int_equal((uintptr_t)p % _Alignof(max_align_t), 0);
	assert_int_equal(heap_bytes(), 3000);
	assert_true(heap_peak_bytes() >= 3000);
	memset(p + 4, 1, 2996);
	p = heap_realloc(p, 4);
	assert_string_equal(p, "abc");
	assert_int_equal(heap_bytes(), 4);
	copy = heap_strdup(p);
	assert_string_equal(copy, "abc");
	assert_ptr_not_equal(copy, p);
	assert_int_equal(heap_bytes(), 8);
	assert_null(heap_realloc(p, SIZE_MAX));
	assert_null(heap_malloc(SIZE_MAX - 8));
	assert_string_equal(p, "abc");
	heap_free(copy);
	heap_free(p);
	p = heap_malloc(0);
	assert_non_null(p);
	heap_free(p);
	assert_int_equal(heap_bytes(), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_taken_is_counted),
		cmocka_unit_test(memory_is_zero_and_aligned_for_anything),
		cmocka_unit_test(what_cannot_be_is_refused_and_not_counted),
		cmocka_unit_test(a_block_that_grows_or_shrinks_keeps_its_bytes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
