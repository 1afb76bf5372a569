/* SPDX-License-Identifier: Apache-2.0 */
/* Hooks of a watch that keeps files: their paths, and when the files are there. */
#define _GNU_SOURCE
#include "hook_helper.h"

/* -- paths ------------------------------------------------------------------------------------- */

static void begin_mirrored(const char *script, bool want_prev)
{
	struct hook_cfg cfg = cfg_of(script);

	cfg.files_user = &hook;
	cfg.files = &mirror_double;
	cfg.want_prev = want_prev;
	begin_cfg(&cfg);
}

static void test_paths(void **state)
{
	(void)state;
	begin_mirrored("cat >$T/in", true);
	assert_int_equal(event("/a", "\"path\":\"no", 6, false, "\"path\":\"no"), 0);
	assert_int_equal(event("/b!", "2", 7, false, NULL), 0);
	assert_int_equal(event("/c", NULL, 8, false, NULL), 0);
	assert_int_equal(event("/d", "", 8, false, NULL), 0);
	assert_int_equal(event("/\"path\":\"x", "1", 8, false, NULL), 0);
	commit(8);
	UNTIL(hook.batch.sink.done_rev == 8);
	assert_int_equal(path_calls, 0);
#define PATHS_WANT(end) \
	PATH_LINE("/a", ",\"path\":\"a" end "\"", "6") \
	",\"prev_value\":\"\\\"path\\\":\\\"no\"}\n" PATH_LINE("/b!", "", \
		"7") "}\n" \
		     "{\"watch\":\"net\",\"type\":\"delete\",\"key\":\"/c\",\"mod_revision\":8}\n" PATH_LINE( \
			     "/d", ",\"path\":\"d" end "\"", "8") "}\n"
	char *got = read_text("in"), *want = (char *)(uintptr_t)PATHS_WANT("");

	assert_memory_equal(got, want, strlen(want));
	hook_free(&hook);

	begin_mirrored("cat >$T/in; [ -e $T/go ]", true);
	hook.batch.attempt.backoff_min_ms = hook.batch.attempt.backoff_max_ms = 1000000;
	assert_int_equal(event("/a", "\"path\":\"no", 6, false, "\"path\":\"no"), 0);
	assert_int_equal(event("/b!", "2", 7, false, NULL), 0);
	assert_int_equal(event("/c", NULL, 8, false, NULL), 0);
	shape++;
	is_moved = true;
	assert_int_equal(event("/d", "", 8, false, NULL), 0);
	assert_int_equal(event("/x", "", 8, false, NULL), 0);
	commit(8);
	UNTIL(hook.batch.state == BATCH_WAIT);
	assert_int_equal(path_calls, 3);
	check_text("in", PATHS_WANT("/%%") PATH_LINE("/x", ",\"path\":\"x\"", "8") "}\n");
	/* Not when nothing has changed; and again when something has. */
	hook.batch.sink.ops->retry(&hook.batch.sink);
	UNTIL(hook.batch.sink.errors == 2);
	assert_int_equal(path_calls, 3);
	shape++;
	close(open(in_dir("go"), O_CREAT | O_WRONLY, 0600));
	hook.batch.sink.ops->retry(&hook.batch.sink);
	UNTIL(hook.batch.sink.done_rev == 8);
	assert_int_equal(path_calls, 6);
	check_text("in", PATHS_WANT("/%%/%%") PATH_LINE("/x", ",\"path\":\"x\"", "8") "}\n");
}

/* Paths and names lie across every bound of what is looked at together. */
static void test_many_paths(void **state)
{
	static char key[CONFIG_ETCD_KEY_BYTES], want[LOG_CAP];
	FILE *f;
	int n = 0;

	(void)state;
	begin_mirrored("cat >$T/in", false);
	while (hook.batch.spool.len < 1000000) {
		size_t len = 2 + (size_t)(n * 7919) % (n % 50 ? 300 : sizeof(key) - 3);

		memset(key, 'a' + n % 20, len);
		key[0] = '/';
		key[len] = '\0';
		assert_int_equal(event(key, "v", 6, false, NULL), 0);
		n++;
		turn();
	}
	shape++;
	is_moved = true;
	commit(6);
	turn();
	assert_int_equal(hook.batch.state, BATCH_PREPARE);
	assert_int_equal(event("/z", "1", 7, false, NULL), ERR_BUSY);
	UNTIL(hook.batch.sink.done_rev == 6);
	assert_int_equal(path_calls, n);
	f = fopen(in_dir("in"), "r");
	assert_non_null(f);
	for (int i = 0; i < n; i++) {
		static char line[LOG_CAP];
		size_t len = 2 + (size_t)(i * 7919) % (i % 50 ? 300 : sizeof(key) - 3);

		memset(key, 'a' + i % 20, len);
		key[0] = '/';
		key[len] = '\0';
		snprintf(want, sizeof(want), PATH_LINE("%s", ",\"path\":\"%s/%%%%\"", "6") "}\n",
			key, key + 1);
		assert_non_null(fgets(line, sizeof(line), f));
		assert_string_equal(line, want);
	}
	assert_int_equal(fgetc(f), EOF);
	fclose(f);
}

/* -- files that come later --------------------------------------------------------------------- */

static void begin_fetching(const char *script)
{
	struct hook_cfg cfg = cfg_of(script);

	cfg.files = &fetch_double;
	cfg.files_user = &hook;
	cfg.fetch_path = "/some/folder";
	cfg.backoff_min_ms = cfg.backoff_max_ms = 1000000;
	begin_cfg(&cfg);
}

/* From within another sink's call, as from anywhere. */
static void files_done(int64_t rev)
{
	files_done_rev = rev;
	in_call = true;
	hook_files_moved(&hook);
	in_call = false;
}

static void turns(int n)
{
	while (n--)
		turn();
}

static void test_waits_for_files(void **state)
{
	char condition[SINK_WHY_MAX + 64];

	(void)state;
	begin_fetching("cat >$T/in; echo $ETCHLET_FETCH $ETCHLET_REVISION >>$T/runs");
	assert_true(hook.batch.sink.is_follower);
	files_done(5);
	put("/a", "1", 6);
	turns(3);
	assert_int_equal(hook.batch.state, BATCH_AWAIT);
	assert_string_equal(sink_condition(&hook.batch.sink, condition, sizeof(condition)),
		"hook waits for downloads");
	/* Neither queues, nor keeps a listing away. */
	assert_int_equal(event("/b", "2", 7, false, NULL), ERR_BUSY);
	assert_true(is_ready());
	/* What moves on without events is waited for, too: it comes at once where nothing is pending. */
	commit(9);
	files_done(6);
	turns(3);
	assert_int_equal(hook.batch.state, BATCH_AWAIT);
	assert_int_equal(path_calls, 0);
	files_done(9);
	UNTIL(hook.batch.sink.done_rev == 9);
	check_text("in", PATH_LINE("/a", ",\"path\":\"a\"", "6") "}\n");
	check_text("runs", "/some/folder 6\n");
	assert_int_equal(wakes, 1);
	/* They are there already, and nobody tells. */
	files_done_rev = 10;
	put("/a", "1", 10);
	UNTIL(hook.batch.sink.done_rev == 10);
	/* Nobody waits: being told is harmless. */
	files_done(11);
	turns(2);
	assert_int_equal(hook.batch.state, BATCH_IDLE);
	check_text("runs", "/some/folder 6\n/some/folder 10\n");
}

static void test_listing_supersedes_what_waits(void **state)
{
	(void)state;
	begin_fetching("cat >$T/in");
	put("/a", "1", 6);
	turns(2);
	assert_int_equal(hook.batch.state, BATCH_AWAIT);
	assert_int_equal(sync_begin(SYNC_CLUSTER, 3), 0);
	synced(3);
	turns(2);
	assert_int_equal(hook.batch.state, BATCH_AWAIT);
	files_done(3);
	UNTIL(hook.batch.sink.done_rev == 3);
	assert_null(strstr(read_text("in"), "/a"));
}

static void test_stop_while_it_waits(void **state)
{
	(void)state;
	begin_fetching("touch $T/run");
	put("/a", "1", 6);
	turns(2);
	stop(800);
	assert_true(hook.batch.sink.is_stopped);
	files_done(6);
	turns(3);
	assert_int_equal(wakes, 1);
	assert_false(has_file("run"));
	assert_int_equal(hook.batch.sink.done_rev, 0);
}

static void test_refused_files_are_left_out(void **state)
{
	(void)state;
	begin_fetching("cat >$T/in; echo x >>$T/runs; [ -e $T/go ]");
	files_done_rev = 100;
	is_moved = true;
	/* Whatever the shape is: what was gathered are no paths yet. */
	assert_int_equal(event("/a", "1", 6, false, NULL), 0);
	assert_int_equal(event("/ax", "2", 6, false, NULL), 0);
	assert_int_equal(event("/bx", "2", 6, false, NULL), 0);
	assert_int_equal(event("/c", NULL, 6, false, NULL), 0);
	assert_int_equal(event("/d!", "2", 6, false, NULL), 0);
	assert_int_equal(event("/ex", "2", 6, false, NULL), 0);
	commit(6);
	UNTIL(hook.batch.state == BATCH_WAIT);
#define REST_WANT \
	"{\"watch\":\"net\",\"type\":\"delete\",\"key\":\"/c\",\"mod_revision\":6}\n" PATH_LINE( \
		"/d!", "", "6") "}\n"
	check_text("in", PATH_LINE("/a", ",\"path\":\"a/%%\"", "6") "}\n" REST_WANT);
	assert_int_equal(path_calls, 4);
	/* Another try with what there is by then: from what was gathered, not from what came of it. */
	shape++;
	is_moved = false;
	hook.batch.sink.ops->retry(&hook.batch.sink);
	UNTIL(hook.batch.sink.errors == 2);
	assert_int_equal(path_calls, 8);
	check_text("in", PATH_LINE("/a", ",\"path\":\"a\"", "6") "}\n" REST_WANT);
	/* Nothing has changed. */
	close(open(in_dir("go"), O_CREAT | O_WRONLY, 0600));
	hook.batch.sink.ops->retry(&hook.batch.sink);
	UNTIL(hook.batch.sink.done_rev == 6);
	assert_int_equal(path_calls, 8);
	check_text("runs", "x\nx\nx\n");
}

static void test_nothing_left(void **state)
{
	(void)state;
	begin_fetching("echo x >>$T/runs; cat >$T/in; [ ! -e $T/bad ]");
	files_done_rev = 100;
	put("/ax", "1", 6);
	UNTIL(hook.batch.sink.done_rev == 6);
	assert_int_equal(wakes, 1);
	assert_false(has_file("runs"));
	/* After a failure: the refusal came later, so it has not worked. */
	close(open(in_dir("bad"), O_CREAT | O_WRONLY, 0600));
	put("/b", "1", 7);
	UNTIL(hook.batch.state == BATCH_WAIT);
	hook.batch.spool.len = 0;
	shape++;
	hook.batch.sink.ops->retry(&hook.batch.sink);
	UNTIL(hook.batch.sink.done_rev == 7);
	check_text("runs", "x\n");
	check_log("works again", 0);
	assert_false(hook.batch.sink.is_failing);
	/* A listing always has its two lines. */
	unlink(in_dir("bad"));
	assert_int_equal(sync_begin(SYNC_FIRST, 8), 0);
	assert_int_equal(event("/ax", "1", 8, true, NULL), 0);
	synced(8);
	UNTIL(hook.batch.sink.done_rev == 8);
	check_text("in",
		"{\"watch\":\"net\",\"type\":\"sync\",\"reason\":\"first\",\"revision\":8}\n"
		"{\"watch\":\"net\",\"type\":\"synced\",\"revision\":8}\n");
}

/* Lines that stay and lines that go, cut by every bound of what is looked at together. */
static void test_many_lines_are_left_out(void **state)
{
	static char key[CONFIG_ETCD_KEY_BYTES], want[LOG_CAP], line[LOG_CAP];
	FILE *f;
	int n = 0;

	(void)state;
	begin_fetching("cat >$T/in");
	files_done_rev = 6;
	for (; hook.batch.spool.len < 1000000; n++) {
		size_t len = 2 + (size_t)(n * 7919) % (n % 50 ? 300 : sizeof(key) - 3);

		memset(key, n % 3 ? 'a' : 'x', len);
		key[0] = '/';
		key[len] = '\0';
		assert_int_equal(event(key, n % 7 ? "v" : NULL, 6, false, NULL), 0);
		turn();
	}
	commit(6);
	UNTIL(hook.batch.sink.done_rev == 6);
	f = fopen(in_dir("in"), "r");
	assert_non_null(f);
	for (int i = 0; i < n; i++) {
		size_t len = 2 + (size_t)(i * 7919) % (i % 50 ? 300 : sizeof(key) - 3);

		memset(key, i % 3 ? 'a' : 'x', len);
		key[0] = '/';
		key[len] = '\0';
		if (i % 7 == 0)
			snprintf(want, sizeof(want),
				"{\"watch\":\"net\",\"type\":\"delete\",\"key\":\"%s\","
				"\"mod_revision\":6}\n",
				key);
		else if (i % 3 == 0)
			continue;
		else
			snprintf(want, sizeof(want), PATH_LINE("%s", ",\"path\":\"%s\"", "6") "}\n",
				key, key + 1);
		assert_non_null(fgets(line, sizeof(line), f));
		assert_string_equal(line, want);
	}
	assert_int_equal(fgetc(f), EOF);
	fclose(f);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(test_paths),
		TEST(test_many_paths),
		TEST(test_waits_for_files),
		TEST(test_listing_supersedes_what_waits),
		TEST(test_stop_while_it_waits),
		TEST(test_refused_files_are_left_out),
		TEST(test_nothing_left),
		TEST(test_many_lines_are_left_out),
	};

	alarm(300);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
