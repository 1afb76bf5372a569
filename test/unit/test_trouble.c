/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "base/log.h"
#include "sync/trouble.h"

enum {
	GAP_MS = 30000,
};

static char told[4096];
static size_t told_len;
static struct trouble t;

static void writer(enum log_level level, const char *line, size_t len)
{
	static const char letters[] = "EWID";
	int n = snprintf(told + told_len, sizeof(told) - told_len, "%c %.*s\n", letters[level],
		(int)len, line);

	assert_true(n > 0 && (size_t)n < sizeof(told) - told_len);
	told_len += (size_t)n;
}

static void expect(const char *want)
{
	assert_string_equal(told, want);
	told[0] = '\0';
	told_len = 0;
}

static int set_up(void **state)
{
	(void)state;
	log_set_writer(writer);
	log_set_level(LOG_LEVEL_INFO);
	trouble_init(&t, GAP_MS);
	expect("");
	return 0;
}

static void meet(int64_t now_ms, const char *why)
{
	trouble_meet(&t, now_ms, "watch a", why, "tried again");
}

static void trouble_is_told_once_at_its_beginning_and_once_at_its_end(void **state)
{
	(void)state;
	assert_string_equal(t.why, "");
	trouble_end(&t, 0, "watch a: goes on");
	expect("");
	meet(1000, "refused");
	expect("W watch a: refused; tried again\n");
	for (int64_t ms = 2000; ms < 100 * GAP_MS; ms += 7000)
		meet(ms, "refused");
	expect("");
	assert_true(t.is_on);
	trouble_end(&t, 100 * GAP_MS + 1250, "watch a: goes on");
	assert_false(t.is_on);
	assert_int_equal(t.count, 430);
	expect("I watch a: goes on (after 3000.2 s, 430 failures)\n");
	trouble_end(&t, 100 * GAP_MS + 2000, "watch a: goes on");
	expect("");
	/* What it was about is known afterwards. */
	assert_string_equal(t.why, "refused");
}

static void another_reason_is_told_but_not_too_often(void **state)
{
	(void)state;
	meet(0, "refused");
	meet(100, "reset");
	meet(GAP_MS - 1, "timed out");
	expect("W watch a: refused; tried again\n");
	meet(GAP_MS, "timed out");
	expect("W watch a: timed out; tried again\n");
	meet(GAP_MS + 1, "refused");
	meet(2 * GAP_MS - 1, "refused");
	expect("");
	meet(2 * GAP_MS, "refused");
	expect("W watch a: refused; tried again\n");
	/* The first reason again after a while is no news. */
	meet(9 * GAP_MS, "refused");
	expect("");
}

static void trouble_that_comes_again_is_told_again(void **state)
{
	(void)state;
	meet(0, "refused");
	trouble_end(&t, 500, "watch a: goes on");
	meet(600, "refused");
	expect("W watch a: refused; tried again\n"
	       "I watch a: goes on (after 0.5 s, 1 failure)\n"
	       "W watch a: refused; tried again\n");
	assert_int_equal(t.count, 1);
	assert_int_equal(t.since_ms, 600);
	trouble_end(&t, 1650, "watch a: goes on");
	expect("I watch a: goes on (after 1.0 s, 1 failure)\n");
}

static void everything_is_told_when_debugging(void **state)
{
	(void)state;
	log_set_level(LOG_LEVEL_DEBUG);
	meet(0, "refused");
	meet(1, "refused");
	expect("W watch a: refused; tried again\nD watch a: refused; tried again\n");
}

static void a_long_reason_is_cut_and_is_still_the_same_reason(void **state)
{
	char why[TROUBLE_WHY_MAX + 100];

	(void)state;
	memset(why, 'y', sizeof(why) - 1);
	why[sizeof(why) - 1] = '\0';
	meet(0, why);
	assert_int_equal(strlen(t.why), TROUBLE_WHY_MAX - 1);
	told[0] = '\0';
	told_len = 0;
	meet(10 * GAP_MS, why);
	expect("");
	why[10] = 'x';
	meet(20 * GAP_MS, why);
	assert_true(told_len > 0);
	told[0] = '\0';
	told_len = 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(
			trouble_is_told_once_at_its_beginning_and_once_at_its_end, set_up),
		cmocka_unit_test_setup(another_reason_is_told_but_not_too_often, set_up),
		cmocka_unit_test_setup(trouble_that_comes_again_is_told_again, set_up),
		cmocka_unit_test_setup(everything_is_told_when_debugging, set_up),
		cmocka_unit_test_setup(a_long_reason_is_cut_and_is_still_the_same_reason, set_up),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
