/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "base/err.h"
#include "port/port.h"
#include "sink/attempt.h"

static uint32_t random_bits;
static int random_err;

int64_t port_now_ms(void)
{
	return 0;
}

int64_t port_wall_s(void)
{
	return 0;
}

int port_random(void *dst, size_t len)
{
	assert_int_equal(len, sizeof(random_bits));
	memcpy(dst, &random_bits, len);
	return random_err;
}

static void test_delays(void **state)
{
	struct attempt a = {.backoff_min_ms = 200, .backoff_max_ms = 30000};

	(void)state;
	random_err = 0;
	for (int i = 0; i < 100; i++) {
		int64_t most = i < 8 ? (int64_t)200 << i : 30000;

		/* Full jitter: from nothing to the doubled delay. */
		random_bits = UINT32_MAX;
		assert_int_equal(attempt_delay_ms(&a, 0), most);
		a.failures--;
		random_bits = 0;
		assert_int_equal(attempt_delay_ms(&a, 0), 0);
	}
	(void)attempt_succeeded(&a);
	random_bits = UINT32_MAX;
	assert_int_equal(attempt_delay_ms(&a, 0), 200);
	/* Without entropy it is still within its bounds. */
	random_err = ERR_ENTROPY;
	for (int i = 0; i < 100; i++)
		assert_in_range(attempt_delay_ms(&a, 1000 * i), 0, 30000);
	a = (struct attempt){0};
	assert_int_equal(attempt_delay_ms(&a, 5), 0);
	/* The longest that can be configured does not overflow. */
	a = (struct attempt){.backoff_min_ms = INT64_MAX / 2, .backoff_max_ms = INT64_MAX - 1};
	for (int i = 0; i < 100; i++)
		assert_true(attempt_delay_ms(&a, 5) >= 0);
}

static void test_what_is_logged(void **state)
{
	struct attempt a = {.backoff_min_ms = 200, .backoff_max_ms = 30000};

	(void)state;
	assert_false(attempt_succeeded(&a));
	assert_true(attempt_failed(&a, 1000, 1));
	assert_false(attempt_failed(&a, 90000, 1));
	assert_true(attempt_failed(&a, 90000, 2));
	/* Two in turn: not more often than that. */
	assert_false(attempt_failed(&a, 90001, 1));
	assert_false(attempt_failed(&a, 119999, 1));
	assert_true(attempt_failed(&a, 120000, 1));
	assert_true(attempt_succeeded(&a));
	assert_false(attempt_succeeded(&a));
	assert_true(attempt_failed(&a, 120001, 1));
}

static void test_other_delays(void **state)
{
	struct attempt a = {.backoff_min_ms = 1000, .backoff_max_ms = 600000, .failures = 20};
	struct loop loop;
	struct loop_timer timer = {0};

	(void)state;
	loop_init(&loop);
	attempt_set_backoff(&a, 10, 500);
	attempt_shorten(&a, &loop, &timer);
	assert_false(timer.is_set);
	loop_timer_set(&loop, &timer, 500000);
	attempt_shorten(&a, &loop, &timer);
	assert_int_equal(timer.due_ms, loop.now_ms + 500);
	loop_timer_set(&loop, &timer, 300);
	attempt_shorten(&a, &loop, &timer);
	assert_int_equal(timer.due_ms, loop.now_ms + 300);
	random_err = 0;
	random_bits = UINT32_MAX;
	assert_int_equal(attempt_delay_ms(&a, 0), 500);
	random_bits = 0;
	assert_int_equal(attempt_delay_ms(&a, 0), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_delays),
		cmocka_unit_test(test_what_is_logged),
		cmocka_unit_test(test_other_delays),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
