/* SPDX-License-Identifier: Apache-2.0 */
/* The metrics file. What is in it is checked by metrics_check.py, which knows the format and its conventions. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/err.h"
#include "cmd/metrics.h"
#include "report_helper.h"

static char dir[] = "/tmp/etchlet-test-XXXXXX";
static char path[64], new_path[64];
static char text[1 << 18];
static struct metrics metrics;

static int set_up(void **state)
{
	(void)state;
	(void)snprintf(dir, sizeof(dir), "/tmp/etchlet-test-XXXXXX");
	if (!mkdtemp(dir))
		return -1;
	(void)snprintf(path, sizeof(path), "%s/etchlet.prom", dir);
	(void)snprintf(new_path, sizeof(new_path), "%s/etchlet.prom.new", dir);
	rig_set_up(2);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	metrics_close(&metrics);
	(void)unlink(path);
	(void)rmdir(path);
	(void)unlink(new_path);
	return rmdir(dir);
}

static const char *content(void)
{
	ssize_t n = port_file_read(path, text, sizeof(text) - 1);

	assert_true(n >= 0);
	text[n] = '\0';
	return text;
}

static void has_line(const char *line)
{
	char want[256];

	(void)snprintf(want, sizeof(want), "\n%s\n", line);
	if (!strstr(content(), want))
		fail_msg("no line: %s\nin: %s", line, text);
}

/* The exit status of the checker. */
static int check(const char *file)
{
	int status = 0;
	pid_t pid = fork();

	if (pid == 0) {
		(void)execl("/usr/bin/python3", "python3", "test/system/harness/metrics_check.py",
			file, (char *)NULL);
		_exit(99);
	}
	assert_true(pid > 0);
	assert_true(waitpid(pid, &status, 0) == pid);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void open_it(void)
{
	metrics_open(&metrics, &rig.loop, path, 15000, &rig.report);
}

static void an_agent_that_knows_nothing_has_valid_figures(void **state)
{
	struct stat st;

	(void)state;
	(void)umask(077);
	open_it();
	(void)umask(022);
	assert_int_equal(check(path), 0);
	has_line("etchlet_connected 0");
	has_line("etchlet_start_time_seconds 1700000000");
	has_line("etchlet_watch_synced{watch=\"w1\"} 0");
	assert_null(strstr(content(), "etchlet_position_revision{"));
	assert_null(strstr(content(), "\netchlet_probe_revision "));
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0644);
	assert_int_equal(access(new_path, F_OK), -1);
}

static void all_figures_are_there(void **state)
{
	(void)state;
	rig_go_live(12);
	rig.agent.reconnects = 7;
	rig.agent.probed.at_ms -= 3000;
	rig.agent.keeper.cfg.path = "state";
	rig.agent.keeper.journal.session_records = 3;
	rig.agent.keeper.journal.session_erases = 1;
	rig.watches[1].feed.events = 4;
	rig.watches[1].feed.batches = 5;
	rig.watches[1].feed.too_long = 6;
	rig.sinks[1].errors = 9;
	open_it();
	assert_int_equal(check(path), 0);
	has_line("etchlet_connected 1");
	has_line("etchlet_reconnects_total 7");
	has_line("etchlet_probe_revision 12");
	has_line("etchlet_probe_timestamp_seconds 1699999997");
	has_line("etchlet_state_writes_total 3");
	has_line("etchlet_state_written_bytes_total 96");
	has_line("etchlet_state_erases_total 1");
	has_line("etchlet_position_revision{watch=\"w1\"} 12");
	has_line("etchlet_saved_position_revision{watch=\"w0\"} 10");
	has_line("etchlet_events_total{watch=\"w1\"} 4");
	has_line("etchlet_batches_total{watch=\"w1\"} 5");
	has_line("etchlet_syncs_total{watch=\"w1\"} 1");
	has_line("etchlet_sink_errors_total{watch=\"w1\"} 9");
	has_line("etchlet_skipped_total{watch=\"w1\",cause=\"too_long\"} 6");
	has_line("etchlet_watch_in_step{watch=\"w0\"} 1");
}

static void a_name_cannot_break_the_format(void **state)
{
	static char longest[600];

	(void)state;
	rig_go_live(12);
	rig.watches[0].name = "a\"b\\c\nd} 7\n\xff";
	memset(longest, '"', sizeof(longest) - 1);
	rig.watches[1].name = longest;
	open_it();
	assert_int_equal(check(path), 0);
	has_line("etchlet_watch_synced{watch=\"a\\\"b\\\\c\\\\x0Ad} 7\\\\x0A\\\\xFF\"} 1");
}

static void the_start_moves_only_with_the_clock(void **state)
{
	(void)state;
	rig_wall_s = 5;
	open_it();
	has_line("etchlet_start_time_seconds 5");
	/* A second more or less by rounding is none. */
	rig_now_ms += 15999;
	rig_wall_s += 17;
	assert_int_equal(loop_turn(&rig.loop), 0);
	has_line("etchlet_start_time_seconds 5");
	rig_now_ms += 15000;
	rig_wall_s = 1700000000;
	assert_int_equal(loop_turn(&rig.loop), 0);
	has_line("etchlet_start_time_seconds 1699999970");
}

static void it_is_replaced_and_at_a_clean_stop_removed(void **state)
{
	struct stat before, after;

	(void)state;
	open_it();
	assert_int_equal(stat(path, &before), 0);
	rig_go_live(3);
	rig_now_ms += 15000 + 15000 / 8;
	assert_int_equal(loop_turn(&rig.loop), 0);
	assert_int_equal(stat(path, &after), 0);
	assert_true(before.st_ino != after.st_ino);
	has_line("etchlet_connected 1");
	metrics_close(&metrics);
	assert_int_equal(access(path, F_OK), -1);
	assert_int_equal(access(new_path, F_OK), -1);
	metrics_close(&metrics);
}

static void another_interval_replaces_it_at_once(void **state)
{
	struct stat before, after;

	(void)state;
	open_it();
	assert_int_equal(stat(path, &before), 0);
	metrics_set_interval(&metrics, 1000);
	assert_int_equal(stat(path, &after), 0);
	assert_true(before.st_ino != after.st_ino);
	rig_go_live(3);
	rig_now_ms += 1000 + 1000 / 8;
	assert_int_equal(loop_turn(&rig.loop), 0);
	has_line("etchlet_connected 1");
	assert_int_equal(unlink(path), 0);
	metrics_write_now(&metrics);
	assert_int_equal(access(path, F_OK), 0);
	metrics_close(&metrics);
	metrics_write_now(&metrics);
	assert_int_equal(access(path, F_OK), -1);
}

static void a_link_that_was_planted_is_not_followed(void **state)
{
	char victim[64];
	struct stat st;

	(void)state;
	(void)snprintf(victim, sizeof(victim), "%s/victim", dir);
	assert_int_equal(symlink(victim, new_path), 0);
	open_it();
	assert_int_equal(lstat(victim, &st), -1);
	assert_int_equal(lstat(path, &st), 0);
	assert_true(S_ISREG(st.st_mode));
}

static char told[4][LOG_LINE_MAX];
static unsigned told_count;

static void teller(enum log_level level, const char *line, size_t len)
{
	(void)level;
	if (told_count < 4)
		(void)snprintf(told[told_count], LOG_LINE_MAX, "%.*s", (int)len, line);
	told_count++;
}

static void trouble_is_told_once_and_when_it_is_over(void **state)
{
	(void)state;
	told_count = 0;
	log_set_writer(teller);
	assert_int_equal(mkdir(path, 0700), 0);
	open_it();
	for (int i = 0; i < 3; i++) {
		rig_now_ms += 20000;
		assert_int_equal(loop_turn(&rig.loop), 0);
	}
	assert_int_equal(told_count, 1);
	assert_non_null(strstr(told[0], "metrics file /tmp/"));
	assert_int_equal(access(new_path, F_OK), -1);
	assert_int_equal(rmdir(path), 0);
	rig_now_ms += 20000;
	assert_int_equal(loop_turn(&rig.loop), 0);
	assert_int_equal(told_count, 2);
	assert_non_null(strstr(told[1], "written again"));
	log_set_writer(NULL);
}

static void the_checker_can_say_no(void **state)
{
	(void)state;
	assert_int_equal(check("--self-test"), 0);
	assert_int_equal(check("/dev/null"), 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_checker_can_say_no),
		cmocka_unit_test_setup_teardown(
			an_agent_that_knows_nothing_has_valid_figures, set_up, tear_down),
		cmocka_unit_test_setup_teardown(all_figures_are_there, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_name_cannot_break_the_format, set_up, tear_down),
		cmocka_unit_test_setup_teardown(
			the_start_moves_only_with_the_clock, set_up, tear_down),
		cmocka_unit_test_setup_teardown(
			it_is_replaced_and_at_a_clean_stop_removed, set_up, tear_down),
		cmocka_unit_test_setup_teardown(
			another_interval_replaces_it_at_once, set_up, tear_down),
		cmocka_unit_test_setup_teardown(
			a_link_that_was_planted_is_not_followed, set_up, tear_down),
		cmocka_unit_test_setup_teardown(
			trouble_is_told_once_and_when_it_is_over, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
