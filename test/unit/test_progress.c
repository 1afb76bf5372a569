/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "base/log.h"
#include "cmd/progress.h"
#include "fake_clock.h"
#include "sink/fetch.h"

/* A terminal of one line, that of the cursor: what stands on it, and the lines that were ended. */
static char screen[1024], ended[4096];
static unsigned writes;
static bool is_terminal;

bool port_stderr_is_terminal(void)
{
	return is_terminal;
}

void port_stderr_write(const char *p, size_t len)
{
	size_t at = strlen(screen);

	writes++;
	for (size_t i = 0; i < len; i++) {
		if (p[i] == '\r') {
			at = 0;
		} else if (len - i >= 3 && !memcmp(p + i, "\033[K", 3)) {
			screen[at] = '\0';
			i += 2;
		} else if (len - i >= 5 && !memcmp(p + i, "\033[?7", 4)) {
			i += 4;
		} else if (p[i] == '\n') {
			(void)snprintf(ended + strlen(ended), sizeof(ended) - strlen(ended), "%s|",
				screen);
			screen[at = 0] = '\0';
		} else {
			if (!screen[at])
				screen[at + 1] = '\0';
			screen[at++] = p[i];
		}
	}
}

static struct fetch_sink sink;
static struct fetch_progress told[4];
static size_t told_count;

bool fetch_progress(const struct fetch_sink *f, size_t i, struct fetch_progress *p)
{
	assert_ptr_equal(f, &sink);
	if (i >= told_count)
		return false;
	*p = told[i];
	return true;
}

static struct loop loop;
static struct report_watch rows[2];
static struct report report;
static struct progress progress;

static int set_up(void **state)
{
	(void)state;
	memset(screen, 0, sizeof(screen));
	memset(ended, 0, sizeof(ended));
	writes = 0;
	is_terminal = true;
	fake_clock_reset();
	loop_init(&loop);
	rows[1].fetch = &sink;
	report = (struct report){.watches = rows, .watch_count = 2};
	told_count = 1;
	told[0] = (struct fetch_progress){.name = "fw.bin",
		.state = "loading",
		.bytes = 512,
		.size = 1024,
		.rate_bytes_s = 256,
		.eta_s = 2};
	progress_open(&progress, &loop, &report);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	progress_close(&progress);
	log_info("x");
	return 0;
}

static void it_is_drawn_once_a_second(void **state)
{
	(void)state;
	fake_run(&loop, PROGRESS_INTERVAL_MS - 1);
	assert_int_equal(writes, 0);
	fake_run(&loop, 1);
	assert_string_equal(screen, "fw.bin  50 %  0.5 of 1.0 KiB  256 bytes/s  2 s left");
	told[0].bytes = 1024;
	told[0].eta_s = 0;
	fake_run(&loop, PROGRESS_INTERVAL_MS - 1);
	assert_int_equal(writes, 1);
	fake_run(&loop, 1);
	assert_string_equal(screen, "fw.bin  100 %  1.0 of 1.0 KiB  256 bytes/s  0 s left");
	told[2] = told[1] = told[0];
	told_count = 3;
	fake_run(&loop, PROGRESS_INTERVAL_MS);
	assert_string_equal(
		screen, "fw.bin  100 %  1.0 of 1.0 KiB  256 bytes/s  0 s left  and 2 more");
	assert_string_equal(ended, "");
}

static void a_line_of_the_log_has_its_line_alone(void **state)
{
	(void)state;
	fake_run(&loop, PROGRESS_INTERVAL_MS);
	log_info("something");
	assert_string_equal(ended, "etchlet: info: something|");
	assert_string_equal(screen, "");
	/* Nothing is taken away twice. */
	writes = 0;
	log_info("else");
	assert_int_equal(writes, 1);
	fake_run(&loop, PROGRESS_INTERVAL_MS);
	assert_non_null(strstr(screen, "50 %"));
}

static void what_is_over_is_taken_away(void **state)
{
	(void)state;
	fake_run(&loop, PROGRESS_INTERVAL_MS);
	told[0].state = "waiting";
	fake_run(&loop, PROGRESS_INTERVAL_MS);
	assert_string_equal(screen, "");
	writes = 0;
	fake_run(&loop, 10 * PROGRESS_INTERVAL_MS);
	assert_int_equal(writes, 0);
	told[0].state = "loading";
	fake_run(&loop, PROGRESS_INTERVAL_MS);
	assert_non_null(strstr(screen, "50 %"));
	progress_close(&progress);
	assert_string_equal(screen, "");
	progress_close(&progress);
	assert_string_equal(ended, "");
}

static void in_the_background_there_is_none(void **state)
{
	(void)state;
	is_terminal = false;
	fake_run(&loop, 3 * PROGRESS_INTERVAL_MS);
	assert_int_equal(writes, 0);
}

static void without_a_terminal_nothing_is_done(void **state)
{
	(void)state;
	progress_close(&progress);
	is_terminal = false;
	progress_open(&progress, &loop, &report);
	is_terminal = true;
	fake_run(&loop, 3 * PROGRESS_INTERVAL_MS);
	assert_int_equal(writes, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(it_is_drawn_once_a_second, set_up, tear_down),
		cmocka_unit_test_setup_teardown(
			a_line_of_the_log_has_its_line_alone, set_up, tear_down),
		cmocka_unit_test_setup_teardown(what_is_over_is_taken_away, set_up, tear_down),
		cmocka_unit_test_setup_teardown(in_the_background_there_is_none, set_up, tear_down),
		cmocka_unit_test_setup_teardown(
			without_a_terminal_nothing_is_done, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
