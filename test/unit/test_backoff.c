/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/backoff.h"

#define MIN_MS 200
#define MAX_MS 30000
#define LARGEST UINT32_MAX

/* The longest delays, try by try. */
static void check_limits(uint32_t round_len, const int64_t *want, size_t n)
{
	struct backoff b;

	backoff_init(&b, MIN_MS, MAX_MS, round_len);
	for (size_t i = 0; i < n; i++)
		assert_int_equal(backoff_next_ms(&b, LARGEST), want[i]);
}

static void limits_double_after_the_first_round(void **state)
{
	const int64_t one[] = {200, 400, 800, 1600, 3200, 6400, 12800, 25600, 30000, 30000};
	const int64_t three[] = {200, 200, 200, 400, 800, 1600};

	(void)state;
	check_limits(1, one, sizeof(one) / sizeof(one[0]));
	check_limits(3, three, sizeof(three) / sizeof(three[0]));
	check_limits(0, one, sizeof(one) / sizeof(one[0]));
}

static void jitter_is_full(void **state)
{
	struct backoff b;

	(void)state;
	for (uint32_t i = 0; i < 40; i++) {
		backoff_init(&b, MIN_MS, MAX_MS, 1);
		for (uint32_t k = 0; k < i; k++)
			backoff_next_ms(&b, 0);
		assert_int_equal(backoff_next_ms(&b, 0), 0);
	}
	backoff_init(&b, MIN_MS, MAX_MS, 1);
	assert_in_range(backoff_next_ms(&b, UINT32_MAX / 2), MIN_MS / 2 - 1, MIN_MS / 2 + 1);
}

static void it_starts_over(void **state)
{
	struct backoff b;

	(void)state;
	backoff_init(&b, MIN_MS, MAX_MS, 1);
	for (int i = 0; i < 20; i++)
		backoff_next_ms(&b, LARGEST);
	backoff_start_over(&b);
	assert_int_equal(backoff_next_ms(&b, LARGEST), MIN_MS);
}

static void it_never_overflows(void **state)
{
	struct backoff b;

	(void)state;
	backoff_init(&b, 1, INT64_MAX / 4, 1);
	for (int i = 0; i < 200; i++)
		assert_true(backoff_next_ms(&b, LARGEST) >= 0);
	b.tries = UINT32_MAX;
	assert_true(backoff_next_ms(&b, LARGEST) >= 0);
	assert_int_equal(b.tries, UINT32_MAX);
}

static void a_max_below_min_is_min(void **state)
{
	struct backoff b;

	(void)state;
	backoff_init(&b, 500, 100, 1);
	assert_int_equal(backoff_next_ms(&b, LARGEST), 500);
	assert_int_equal(backoff_next_ms(&b, LARGEST), 500);
}

static void slow_is_the_upper_half(void **state)
{
	struct backoff b;

	(void)state;
	backoff_init(&b, MIN_MS, MAX_MS, 1);
	assert_int_equal(backoff_slow_ms(&b, 0), MAX_MS);
	assert_int_equal(backoff_slow_ms(&b, LARGEST), MAX_MS / 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(limits_double_after_the_first_round),
		cmocka_unit_test(jitter_is_full),
		cmocka_unit_test(it_starts_over),
		cmocka_unit_test(it_never_overflows),
		cmocka_unit_test(a_max_below_min_is_min),
		cmocka_unit_test(slow_is_the_upper_half),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
