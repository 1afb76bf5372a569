/* SPDX-License-Identifier: Apache-2.0 */
/* Hooks: whatever their programs do wrong. */
#define _GNU_SOURCE
#include "hook_helper.h"

/* -- programs that fail ------------------------------------------------------------------------ */

static void test_retries_with_the_same_input(void **state)
{
	(void)state;
	begin("n=$(cat $T/n 2>/dev/null); echo x$n >$T/n; cat >$T/in.$n; [ \"$n\" = xxxx ]");
	put("/a", "1", 6);
	UNTIL(hook.batch.sink.done_rev == 6);
	for (int i = 0; i <= 4; i++) {
		char name[16];

		snprintf(name, sizeof(name), "in.%.*s", i, "xxxx");
		check_text(name, PUT_LINE("/a", "1", "6"));
	}
	assert_int_equal(hook.batch.sink.errors, 4);
	assert_int_equal(fails, 4);
	assert_int_equal(fail_err, ERR_IO);
	assert_non_null(strstr(hook.batch.sink.why, "ended with status 1"));
	check_log("ended with status 1 at revision 6; it is tried again", 1);
	check_log("works again", 1);
	assert_int_equal(wakes, 1);
}

static void test_killed_by_a_signal(void **state)
{
	(void)state;
	begin("[ -e $T/second ] || { touch $T/second; kill -9 $$; }");
	put("/a", "1", 6);
	UNTIL(hook.batch.sink.done_rev == 6);
	check_log("status 137", 1);
	assert_int_equal(hook.batch.sink.errors, 1);
}

static void test_cannot_start(void **state)
{
	char script[64];
	char *argv[] = {script, NULL};
	struct hook_cfg cfg = cfg_of("");
	int fd;

	(void)state;
	snprintf(script, sizeof(script), "%s/script", dir);
	cfg.argv = argv;
	begin_cfg(&cfg);
	assert_int_equal(hook_check(argv), ERR_NOENT);
	put("/a", "1", 6);
	UNTIL(hook.batch.sink.errors >= 3);
	assert_int_equal(fail_err, ERR_NOENT);
	check_log("not started: no such file", 1);
	fd = open(script, O_WRONLY | O_CREAT, 0600);
	assert_int_equal(write(fd, "#!/bin/sh\ncat >$T/in\n", 21), 21);
	close(fd);
	assert_int_equal(hook_check(argv), ERR_ACCESS);
	UNTIL(fail_err == ERR_ACCESS);
	chmod(script, 0700);
	assert_int_equal(hook_check(argv), 0);
	UNTIL(hook.batch.sink.done_rev == 6);
	check_text("in", PUT_LINE("/a", "1", "6"));
	check_log("works again", 1);
}

static bool is_gone(int pid)
{
	char path[64], text[256] = "";
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	f = fopen(path, "r");
	if (!f)
		return true;
	(void)!fread(text, 1, sizeof(text) - 1, f);
	fclose(f);
	/* Of somebody else's to be collected. */
	return strstr(text, ") Z") != NULL;
}

static void test_sleeps_beyond_its_time(void **state)
{
	struct hook_cfg cfg =
		cfg_of("[ -e $T/pid ] && exit 0; (trap '' TERM; exec sleep 300) & "
		       "trap 'exit 0' TERM; echo $! >$T/new; mv $T/new $T/pid; wait; wait");

	(void)state;
	begin_cfg(&cfg);
	put("/a", "1", 6);
	UNTIL(has_file("pid"));
	assert_int_equal(hook.program.state, PROGRAM_RUN);
	skew_ms += 15000;
	/* That it ended with 0 upon SIGTERM does not count, and what it started goes with it. */
	UNTIL(hook.batch.sink.errors);
	assert_int_equal(fail_err, ERR_TIMEOUT);
	check_log("ran longer than 15000 ms and was ended", 1);
	UNTIL(is_gone(read_number("pid")));
	UNTIL(hook.batch.sink.done_rev == 6);
}

static void test_ignores_sigterm(void **state)
{
	struct hook_cfg cfg = cfg_of("[ -e $T/pid ] && exit 0; trap '' TERM; "
				     "sleep 300 & echo $! >$T/new; mv $T/new $T/pid; wait; wait");

	(void)state;
	begin_cfg(&cfg);
	put("/a", "1", 6);
	UNTIL(has_file("pid"));
	skew_ms += 15000;
	UNTIL(hook.program.state == PROGRAM_TERM);
	for (int i = 0; i < 5; i++)
		turn();
	assert_int_equal(hook.program.state, PROGRAM_TERM);
	skew_ms += PROGRAM_KILL_MS;
	UNTIL(hook.batch.sink.errors == 1);
	UNTIL(is_gone(read_number("pid")));
	UNTIL(hook.batch.sink.done_rev == 6);
}

static void test_missed_signal(void **state)
{
	(void)state;
	begin("exit 0");
	loop_fd_remove(&loop, &signals);
	put("/a", "1", 6);
	UNTIL(hook.batch.sink.done_rev == 6);
}

/* -- its input, output and descriptors --------------------------------------------------------- */

static void test_never_reads(void **state)
{
	char *value = text_of(1 << 20);

	(void)state;
	begin("[ -e $T/go ] || exit 0; wc -c >$T/len; [ $(cat $T/len) -gt 10000000 ]");
	for (int round = 0; round < 2; round++) {
		for (int i = 0; i < 10; i++)
			assert_int_equal(event("/a", value, 6 + round, false, NULL), 0);
		/* What is large is in a file without a name. */
		assert_true(hook.batch.spool.is_file);
		assert_int_equal(rmdir(dir), round ? -1 : 0);
		if (!round)
			assert_int_equal(mkdir(dir, 0700), 0);
		commit(6 + round);
		UNTIL(hook.batch.sink.done_rev == 6 + round);
		close(open(in_dir("go"), O_CREAT | O_WRONLY, 0600));
	}
	assert_int_equal(hook.batch.sink.errors, 0);
	/* Nothing is kept open between two batches. */
	assert_int_equal(count_descriptors(), descriptors);
	free(value);
}

static void test_closes_its_descriptors(void **state)
{
	(void)state;
	begin("exec <&- >&- 2>&-; sleep 0.2; exit 0");
	put("/a", "1", 6);
	UNTIL(hook.batch.sink.done_rev == 6);
	assert_int_equal(hook.batch.sink.errors, 0);
}

static void test_descriptors_of_the_program(void **state)
{
	int stray = open("/dev/null", O_RDONLY);

	(void)state;
	begin("ls /proc/$$/fd; echo x 2>/dev/null >&0 && echo writable; "
	      "readlink /proc/$$/fd/1 /proc/$$/fd/2 | uniq | wc -l >$T/outputs");
	put("/a", "1", 6);
	UNTIL(hook.batch.sink.done_rev == 6);
	assert_string_equal(log_text, "hook net: 0\nhook net: 1\nhook net: 2\n");
	assert_int_equal(read_number("outputs"), 1);
	close(stray);
}

static void test_output_lines(void **state)
{
	(void)state;
	begin("printf 'one\\n\\ntwo\\r\\n\\377\\001\\n'; printf err >&2; sleep 0.1; "
	      "printf 'or\\nlast'");
	put("/a", "1", 6);
	UNTIL(hook.batch.sink.done_rev == 6);
	assert_string_equal(log_text,
		"hook net: one\nhook net: two\nhook net: \\xFF\\x01\nhook net: error\n"
		"hook net: last\n");
}

static void test_output_without_measure(void **state)
{
	struct hook_cfg cfg = cfg_of("yes");

	(void)state;
	/* Lines without end, and an end only by force. */
	begin_cfg(&cfg);
	put("/a", "1", 6);
	UNTIL(count_log("hook net: y\n") == CONFIG_HOOK_LOG_LINES);
	skew_ms += 15000;
	UNTIL(hook.batch.sink.errors);
	assert_int_equal(count_log("hook net: y\n"), CONFIG_HOOK_LOG_LINES);
	check_log("more lines not shown", 1);
	hook_free(&hook);
	UNTIL(!hook_is_running(&hook));

	/* One line of 100 MB, and rubbish. */
	log_len = 0;
	begin("head -c 100000000 /dev/zero; echo; head -c 100000 /bin/ls; seq 1000");
	put("/a", "1", 6);
	UNTIL(hook.batch.sink.done_rev == 6);
	assert_memory_equal(log_text, "hook net: \\x00\\x00", 18);
	check_log("ELF", 1);
	assert_int_equal(count_log("\n"), CONFIG_HOOK_LOG_LINES + 1);
	assert_true(log_len < 10000);
}

/* More hooks than the loop has room for. */
static void test_output_without_a_place(void **state)
{
	static struct loop_fd others[CONFIG_LOOP_FD_COUNT];

	(void)state;
	begin("echo first; head -c 300000 /dev/zero; echo; echo last");
	for (size_t i = 0; i < CONFIG_LOOP_FD_COUNT - 1; i++) {
		others[i].fd = -1;
		assert_int_equal(loop_fd_add(&loop, &others[i]), 0);
	}
	put("/a", "1", 6);
	UNTIL(hook.batch.sink.done_rev == 6);
	check_log("hook net: first\n", 1);
	check_log("hook net: last\n", 1);
	for (size_t i = 0; i < CONFIG_LOOP_FD_COUNT - 1; i++)
		loop_fd_remove(&loop, &others[i]);
}

static void test_leaves_something_running(void **state)
{
	int64_t from_ms = real_ms();
	int pid;

	(void)state;
	begin("sleep 300 & echo $! >$T/pid; echo hello");
	put("/a", "1", 6);
	UNTIL(hook.batch.sink.done_rev == 6);
	assert_true(real_ms() - from_ms < 10000);
	check_log("hook net: hello\n", 1);
	pid = read_number("pid");
	assert_false(is_gone(pid));
	assert_int_equal(kill(pid, SIGKILL), 0);
}

/* -- any order of calls ------------------------------------------------------------------------ */

static uint32_t random_state;

static uint32_t random_below(uint32_t n)
{
	random_state = random_state * 1664525 + 1013904223;
	return (random_state >> 8) % n;
}

/* What was taken and not superseded reaches a run that ends well: once, in order, and not earlier
 * than its commit. */
static void run_history(uint32_t seed)
{
	static char pending[TEXT_CAP], want[TEXT_CAP];
	struct hook_cfg cfg = cfg_of("cat >$T/in; [ ! -e $T/bad ] || { rm $T/bad; exit 1; }; "
				     "cat $T/in >>$T/all");
	size_t pending_len = 0, want_len = 0;
	int64_t rev = 10, committed = 0;
	bool is_listing = false, is_open = false;

	random_state = seed;
	cfg.settle_ms = seed % 3 ? 0 : 5;
	begin_cfg(&cfg);
	for (int step = 0; step < 120; step++) {
		int64_t done = hook.batch.sink.done_rev;
		char key[16], *at;
		size_t cap;

		if (hook.batch.state == BATCH_IDLE && pending_len && !is_open) {
			memcpy(want + want_len, pending, pending_len);
			want_len += pending_len;
			pending_len = 0;
			assert_int_equal(done, committed);
		}
		at = pending + pending_len;
		cap = sizeof(pending) - pending_len;
		switch (random_below(is_listing ? 6 : 8)) {
		case 0:
			if (sync_begin(SYNC_FIRST, rev + 1)) {
				assert_true(hook_is_running(&hook));
				break;
			}
			rev++;
			pending_len = (size_t)snprintf(pending, sizeof(pending),
				"{\"watch\":\"net\",\"type\":\"sync\",\"reason\":\"first\","
				"\"revision\":%" PRId64 "}\n",
				rev);
			is_listing = is_open = true;
			break;
		case 1:
			if (!is_listing)
				break;
			synced(rev);
			committed = rev;
			pending_len += (size_t)snprintf(at, cap,
				"{\"watch\":\"net\",\"type\":\"synced\",\"revision\":%" PRId64
				"}\n",
				rev);
			is_listing = is_open = false;
			break;
		case 2:
			close(open(in_dir("bad"), O_CREAT | O_WRONLY, 0600));
			break;
		case 3:
			hook.batch.sink.ops->retry(&hook.batch.sink);
			break;
		case 4:
			turn();
			break;
		case 5:
			if (is_open && !is_listing) {
				commit(rev);
				committed = rev;
				is_open = false;
			}
			break;
		default:
			snprintf(key, sizeof(key), "/k%d", step);
			if (event(key, "v", rev + !is_open, false, NULL)) {
				assert_false(is_open);
				break;
			}
			rev += !is_open;
			is_open = true;
			pending_len += (size_t)snprintf(
				at, cap, PUT_LINE("/k%d", "v", "%" PRId64), step, rev);
			break;
		}
	}
	if (is_listing) {
		hook_free(&hook);
	} else {
		if (is_open)
			commit(committed = rev);
		UNTIL(hook.batch.state == BATCH_IDLE);
		memcpy(want + want_len, pending, pending_len);
		want_len += pending_len;
		if (committed)
			assert_int_equal(hook.batch.sink.done_rev, committed);
		hook_free(&hook);
	}
	want[want_len] = '\0';
	if (want_len)
		check_text("all", want);
	unlink(in_dir("all"));
	unlink(in_dir("bad"));
}

static void test_random_histories(void **state)
{
	(void)state;
	for (uint32_t seed = 1; seed <= 40; seed++)
		run_history(seed);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(test_retries_with_the_same_input),
		TEST(test_killed_by_a_signal),
		TEST(test_cannot_start),
		TEST(test_sleeps_beyond_its_time),
		TEST(test_ignores_sigterm),
		TEST(test_missed_signal),
		TEST(test_never_reads),
		TEST(test_closes_its_descriptors),
		TEST(test_descriptors_of_the_program),
		TEST(test_output_lines),
		TEST(test_output_without_measure),
		TEST(test_output_without_a_place),
		TEST(test_leaves_something_running),
		TEST(test_random_histories),
	};

	alarm(300);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
