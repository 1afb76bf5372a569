/* SPDX-License-Identifier: Apache-2.0 */
#include "conf_helper.h"

#include "conf/value.h"

static const char bare[] = "needs a unit, such as 500ms, 5s, 10m or 1h30m";
static const char no_time[] = "is not a time such as 500ms, 5s, 10m or 1h30m";
static const char range[] = "is out of range";

static void test_duration_good(void **state)
{
	static const struct {
		const char *text;
		int64_t ms;
	} good[] = {
		{"500ms", 500},
		{"5s", 5000},
		{"10m", 600000},
		{"2h", 7200000},
		{"1h30m", 5400000},
		{"1h30m5s7ms", 5405007},
		{"1.5s", 1500},
		{"0.25h", 900000},
		{".5s", 500},
		{"5.s", 5000},
		{"0s", 0},
		{"1ns", 1},
		{"999us", 1},
		{"1001us", 2},
		{"1.0005s", 1001},
		{"0.99999999999999999999999999s", 1000},
		{"876000h", INT64_C(3153600000000)},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		int64_t ms = -1;

		assert_null(conf_duration_parse(&ms, good[i].text, strlen(good[i].text)));
		assert_int_equal(ms, good[i].ms);
	}
}

static void test_duration_bad(void **state)
{
	static const struct {
		const char *text, *why;
	} bad[] = {
		{"", no_time},
		{"5", bare},
		{"0", bare},
		{"1h30", bare},
		{"1.5", bare},
		{"s", no_time},
		{".s", no_time},
		{".", no_time},
		{"5x", no_time},
		{"5S", no_time},
		{"5 s", no_time},
		{"-5s", no_time},
		{"+5s", no_time},
		{"5s5", bare},
		{"1e3s", no_time},
		{"0x5s", no_time},
		{"5ss", no_time},
		{"1.2.3s", no_time},
		{"876001h", range},
		{"876000h1ns", range},
		{"99999999999999999999s", range},
		{"18446744073709551616ns", range},
		{"3153600000000000001ns", range},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		int64_t ms;
		const char *why = conf_duration_parse(&ms, bad[i].text, strlen(bad[i].text));

		assert_non_null(why);
		assert_string_equal(why, bad[i].why);
	}
}

static void test_size(void **state)
{
	static const struct {
		const char *text;
		uint64_t len;
	} good[] = {
		{"1K", 1024},
		{"64K", 65536},
		{"2M", 2097152},
		{"1G", 1073741824},
		{"1024G", UINT64_C(1) << 40},
	};
	static const char *const bad[] = {"", "K", "1000", "0", "0K", "-1K", "64KB", "64k", "1.5M",
		"64X", "1K1K", " 1K", "1025G", "99999999999999999999M", "18014398509481984K"};
	uint64_t len;

	(void)state;
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		assert_null(conf_size_parse(&len, good[i].text, strlen(good[i].text)));
		assert_int_equal(len, good[i].len);
	}
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_non_null(conf_size_parse(&len, bad[i], strlen(bad[i])));
	assert_string_equal(conf_size_parse(&len, "1000", 4), "needs a unit: 64K, 2M or 1G");
	assert_string_equal(conf_size_parse(&len, "1025G", 5), range);
	/* A NUL is not the end of the list of units. */
	assert_non_null(conf_size_parse(&len, "5\0", 2));
}

static void test_number_and_mode(void **state)
{
	uint64_t n;
	uint32_t mode;

	(void)state;
	assert_null(conf_number_parse(&n, "65535", 5, 65535));
	assert_int_equal(n, 65535);
	assert_string_equal(conf_number_parse(&n, "65536", 5, 65535), range);
	assert_string_equal(conf_number_parse(&n, "99999999999999999999", 20, UINT64_MAX), range);
	assert_null(conf_number_parse(&n, "18446744073709551615", 20, UINT64_MAX));
	assert_true(n == UINT64_MAX);
	assert_string_equal(conf_number_parse(&n, "", 0, 9), "is not a number");
	assert_string_equal(conf_number_parse(&n, "1 ", 2, 9), "is not a number");
	assert_string_equal(conf_number_parse(&n, "7", 1, 5), range);
	assert_null(conf_mode_parse(&mode, "0640", 4));
	assert_int_equal(mode, 0640);
	assert_null(conf_mode_parse(&mode, "777", 3));
	assert_string_equal(conf_mode_parse(&mode, "1000", 4), range);
	assert_string_equal(conf_mode_parse(&mode, "0680", 4), "is not an octal mode such as 0640");
	assert_string_equal(conf_mode_parse(&mode, "", 0), "is not an octal mode such as 0640");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_duration_good),
		cmocka_unit_test(test_duration_bad),
		cmocka_unit_test(test_size),
		cmocka_unit_test(test_number_and_mode),
	};

	return cmocka_run_group_tests(tests, helper_setup, helper_teardown);
}
