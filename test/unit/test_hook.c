/* SPDX-License-Identifier: Apache-2.0 */
/* Hooks: what is a batch, when it starts, and what stops it. */
#define _GNU_SOURCE
#include "hook_helper.h"

/* -- a batch ----------------------------------------------------------------------------------- */

static void test_batch_and_environment(void **state)
{
	struct hook_cfg cfg = cfg_of("cat >$T/in; env | grep ^ETCHLET_ | sort >$T/env");
	char want[1024], folder[512];

	(void)state;
	setenv("ETCHLET_MIRROR", "inherited", 1);
	setenv("ETCHLET_REASON", "inherited", 1);
	begin_cfg(&cfg);
	assert_int_equal(event("/a\"b", "1", 11, false, NULL), 0);
	assert_int_equal(event("/b", NULL, 12, false, NULL), 0);
	turn();
	assert_int_equal(hook.batch.state, BATCH_GATHER);
	commit(12);
	assert_false(hook_is_running(&hook));
	turn();
	assert_true(hook_is_running(&hook));
	UNTIL(hook.batch.sink.done_rev);
	assert_int_equal(hook.batch.sink.done_rev, 12);
	assert_int_equal(wakes, 1);
	assert_int_equal(fails, 0);
	check_text("in",
		PUT_LINE("/a\\\"b", "1",
			"11") "{\"watch\":\"net\",\"type\":\"delete\",\"key\":\"/b\",\"mod_revision\":12}\n");
	check_text("env", "ETCHLET_REASON=event\nETCHLET_REVISION=12\nETCHLET_WATCH=net\n");
	assert_string_equal(log_text, "");
	hook_free(&hook);

	/* All of them, and a folder that is relative. */
	cfg.files_user = &hook;
	cfg.files = &mirror_double;
	cfg.mirror_path = "some/folder";
	cfg.device = "id 7";
	begin_cfg(&cfg);
	assert_int_equal(sync_begin(SYNC_COMPACTED, 40), 0);
	synced(40);
	UNTIL(hook.batch.sink.done_rev);
	snprintf(want, sizeof(want),
		"ETCHLET_DEVICE=id 7\nETCHLET_MIRROR=%s/some/folder\nETCHLET_REASON=compacted\n"
		"ETCHLET_REVISION=40\nETCHLET_WATCH=net\n",
		getcwd(folder, sizeof(folder)));
	check_text("env", want);
	unsetenv("ETCHLET_MIRROR");
	unsetenv("ETCHLET_REASON");
}

static void test_commits_without_events(void **state)
{
	(void)state;
	begin("touch $T/run; while [ ! -e $T/go ]; do sleep 0.02; done");
	commit(5);
	assert_int_equal(hook.batch.sink.done_rev, 5);
	turn();
	assert_false(has_file("run"));
	put("/a", "1", 6);
	/* It is processed together with what is under way. */
	commit(8);
	UNTIL(has_file("run"));
	commit(9);
	assert_int_equal(hook.batch.sink.done_rev, 5);
	close(open(in_dir("go"), O_CREAT | O_WRONLY, 0600));
	UNTIL(wakes);
	assert_int_equal(hook.batch.sink.done_rev, 9);
	commit(10);
	assert_int_equal(hook.batch.sink.done_rev, 10);
}

static void test_busy(void **state)
{
	struct hook_cfg cfg =
		cfg_of("touch $T/run; while [ ! -e $T/go ]; do sleep 0.02; done; rm $T/go $T/run; "
		       "[ -e $T/well ]");

	(void)state;
	cfg.backoff_min_ms = cfg.backoff_max_ms = 60000;
	begin_cfg(&cfg);
	assert_true(is_ready());
	/* What comes in one turn is one batch. */
	put("/a", "1", 5);
	put("/a", "1", 6);
	UNTIL(has_file("run"));
	assert_int_equal(event("/b", "2", 7, false, NULL), ERR_BUSY);
	assert_false(is_ready());
	assert_int_equal(sync_begin(SYNC_FIRST, 9), ERR_BUSY);
	assert_int_equal(wakes, 0);
	close(open(in_dir("go"), O_CREAT | O_WRONLY, 0600));
	UNTIL(hook.batch.state == BATCH_WAIT);
	/* Told, for a listing may begin now; events may not. */
	assert_int_equal(wakes, 1);
	assert_true(is_ready());
	assert_int_equal(event("/b", "2", 7, false, NULL), ERR_BUSY);
	/* Nobody asks: nobody is told. */
	hook.batch.sink.ops->retry(&hook.batch.sink);
	UNTIL(has_file("run"));
	close(open(in_dir("go"), O_CREAT | O_WRONLY, 0600));
	UNTIL(hook.batch.state == BATCH_WAIT);
	assert_int_equal(wakes, 1);
	close(open(in_dir("well"), O_CREAT | O_WRONLY, 0600));
	hook.batch.sink.ops->retry(&hook.batch.sink);
	UNTIL(has_file("run"));
	close(open(in_dir("go"), O_CREAT | O_WRONLY, 0600));
	UNTIL(hook.batch.state == BATCH_IDLE);
	assert_int_equal(wakes, 2);
	assert_int_equal(hook.batch.sink.done_rev, 6);
	assert_int_equal(event("/b", "2", 7, false, NULL), 0);
}

/* The program starts at the end of this turn. */
static bool is_due(void)
{
	return hook.batch.state == BATCH_SETTLE && hook.batch.timer.is_set &&
	       hook.batch.timer.due_ms <= hook.batch.cfg.loop->now_ms;
}

static void test_settle(void **state)
{
	struct hook_cfg cfg = cfg_of("cat >>$T/in; echo $ETCHLET_REVISION >>$T/runs");

	(void)state;
	cfg.settle_ms = 60000;
	begin_cfg(&cfg);
	put("/a", "1", 6);
	assert_int_equal(hook.batch.state, BATCH_SETTLE);
	turn();
	put("/b", "2", 7);
	skew_ms += 30000;
	turn();
	put("/c", "3", 8);
	commit(9);
	turn();
	assert_int_equal(hook.batch.state, BATCH_SETTLE);
	/* The answer that is under way at its end belongs to it. */
	assert_int_equal(event("/d", "4", 10, false, NULL), 0);
	skew_ms += 60000;
	turn();
	assert_int_equal(hook.batch.state, BATCH_GATHER);
	assert_int_equal(event("/e", "5", 10, false, NULL), 0);
	commit(10);
	assert_true(is_due());
	UNTIL(hook.batch.sink.done_rev == 10);
	check_text("runs", "10\n");
	check_text("in", PUT_LINE("/a", "1", "6") PUT_LINE("/b", "2", "7") PUT_LINE("/c", "3", "8")
				 PUT_LINE("/d", "4", "10") PUT_LINE("/e", "5", "10"));
	/* The next one settles anew. */
	put("/f", "6", 11);
	turn();
	assert_int_equal(hook.batch.state, BATCH_SETTLE);
	skew_ms += 60000;
	UNTIL(hook.batch.sink.done_rev == 11);
	check_text("runs", "10\n11\n");
}

static void test_answer_of_many_revisions_is_one_batch(void **state)
{
	struct hook_cfg cfg = cfg_of("echo $ETCHLET_REVISION >>$T/runs");

	(void)state;
	begin_cfg(&cfg);
	hook.batch.sink.is_mid_answer = true;
	put("/a", "1", 6);
	put("/b", "2", 7);
	turn();
	assert_int_equal(hook.batch.state, BATCH_SETTLE);
	/* What comes last may be nothing for this sink. */
	hook.batch.sink.is_mid_answer = false;
	commit(8);
	assert_true(is_due());
	UNTIL(hook.batch.sink.done_rev == 8);
	check_text("runs", "7\n");
	/* An answer that stays away does not keep what has come. */
	hook.batch.sink.is_mid_answer = true;
	put("/c", "3", 9);
	skew_ms += 1000;
	UNTIL(hook.batch.sink.done_rev == 9);
	check_text("runs", "7\n9\n");
}

static void test_large_batch_does_not_settle(void **state)
{
	struct hook_cfg cfg = cfg_of("wc -c >$T/len");
	char *value = text_of(CONFIG_BATCH_FULL_BYTES / 2);

	(void)state;
	cfg.settle_ms = 1000000;
	begin_cfg(&cfg);
	put("/a", value, 6);
	assert_int_equal(hook.batch.state, BATCH_SETTLE);
	put("/b", value, 7);
	UNTIL(hook.batch.sink.done_rev == 7);
	assert_true(read_number("len") > CONFIG_BATCH_FULL_BYTES);
	free(value);
}

/* -- listings ---------------------------------------------------------------------------------- */

static void test_listing(void **state)
{
	struct hook_cfg cfg = cfg_of(
		"cat >$T/in; echo $ETCHLET_REASON $ETCHLET_REVISION >>$T/runs; [ ! -e $T/bad ]");

	(void)state;
	cfg.settle_ms = 1000000; /* no listing waits for more */
	begin_cfg(&cfg);
	put("/old", "1", 6);
	/* What was gathered before counts for nothing, nor does a listing that breaks off. */
	assert_int_equal(sync_begin(SYNC_FIRST, 40), 0);
	assert_int_equal(event("/l", "torn", 7, true, NULL), 0);
	assert_int_equal(sync_begin(SYNC_FIRST, 41), 0);
	assert_int_equal(event("/l", "1", 7, true, NULL), 0);
	commit(39);
	turn();
	assert_int_equal(hook.batch.state, BATCH_LIST);
	synced(41);
	UNTIL(hook.batch.sink.done_rev == 41);
	check_text("in",
		"{\"watch\":\"net\",\"type\":\"sync\",\"reason\":\"first\",\"revision\":41}\n"
		"{\"watch\":\"net\",\"type\":\"put\",\"key\":\"/l\",\"value\":\"1\","
		"\"create_revision\":3,\"mod_revision\":7,\"version\":4,\"lease\":\"0\","
		"\"sync\":true}\n"
		"{\"watch\":\"net\",\"type\":\"synced\",\"revision\":41}\n");
	/* An empty one is a batch too, and supersedes one that has failed. */
	close(open(in_dir("bad"), O_CREAT | O_WRONLY, 0600));
	hook.batch.cfg.settle_ms = 0;
	hook.batch.attempt.backoff_min_ms = hook.batch.attempt.backoff_max_ms = 1000000;
	put("/bad", "1", 42);
	UNTIL(hook.batch.state == BATCH_WAIT);
	unlink(in_dir("bad"));
	assert_int_equal(sync_begin(SYNC_ROLLBACK, 20), 0);
	assert_int_equal(hook.batch.state, BATCH_LIST);
	synced(20);
	UNTIL(hook.batch.sink.done_rev == 20);
	check_text("runs", "first 41\nevent 42\nrollback 20\n");
	check_text("in",
		"{\"watch\":\"net\",\"type\":\"sync\",\"reason\":\"rollback\",\"revision\":20}\n"
		"{\"watch\":\"net\",\"type\":\"synced\",\"revision\":20}\n");
	/* The torn event of a batch is gone with it. */
	struct etcd_event e = {.key = (const uint8_t *)"/t", .key_len = 2, .value_len = 9};

	assert_int_equal(hook.batch.sink.ops->event(&hook.batch.sink, &e), 0);
	assert_int_equal(sync_begin(SYNC_STATE, 21), 0);
	synced(21);
	UNTIL(hook.batch.sink.done_rev == 21);
	assert_null(strstr(read_text("in"), "truncated"));
}

/* -- retry and stop ---------------------------------------------------------------------------- */

static void test_retry(void **state)
{
	struct hook_cfg cfg = cfg_of("[ -e $T/go ]");
	char condition[SINK_WHY_MAX + 64];

	(void)state;
	cfg.backoff_min_ms = cfg.backoff_max_ms = 1000000;
	begin_cfg(&cfg);
	put("/a", "1", 6);
	assert_null(sink_condition(&hook.batch.sink, condition, sizeof(condition)));
	UNTIL(hook.batch.state == BATCH_RUN);
	assert_string_equal(
		sink_condition(&hook.batch.sink, condition, sizeof(condition)), "hook runs");
	UNTIL(hook.batch.state == BATCH_WAIT);
	assert_non_null(sink_condition(&hook.batch.sink, condition, sizeof(condition)));
	assert_int_equal(strncmp(condition, "hook failed, tried again: ", 26), 0);
	assert_non_null(strstr(condition, "ended with status 1"));
	assert_true(hook.batch.sink.is_failing && hook.batch.sink.why_ms);
	close(open(in_dir("go"), O_CREAT | O_WRONLY, 0600));
	hook.batch.sink.ops->retry(&hook.batch.sink);
	UNTIL(hook.batch.sink.done_rev == 6);
	assert_null(sink_condition(&hook.batch.sink, condition, sizeof(condition)));
	assert_false(hook.batch.sink.is_failing);
	hook.batch.sink.ops->retry(&hook.batch.sink);
	turn();
	assert_int_equal(hook.batch.state, BATCH_IDLE);
}

/* The one that it waits for, too. */
static void test_other_backoff(void **state)
{
	struct hook_cfg cfg = cfg_of("[ -e $T/go ]");

	(void)state;
	cfg.backoff_min_ms = cfg.backoff_max_ms = 1000000000;
	begin_cfg(&cfg);
	put("/a", "1", 6);
	UNTIL(hook.batch.state == BATCH_WAIT);
	close(open(in_dir("go"), O_CREAT | O_WRONLY, 0600));
	hook_set_backoff(&hook, 1, 5);
	UNTIL(hook.batch.sink.done_rev == 6);
	hook_set_backoff(&hook, 1, 5);
	assert_int_equal(hook.batch.state, BATCH_IDLE);
}

static void check_stops_at_once(void)
{
	unsigned before = wakes;

	stop(7000);
	assert_true(hook.batch.sink.is_stopped);
	turn();
	assert_int_equal(wakes, before + 1);
	assert_int_equal(event("/z", "1", 99, false, NULL), ERR_BUSY);
	assert_int_equal(sync_begin(SYNC_FIRST, 99), ERR_BUSY);
	skew_ms += 100000;
	for (int i = 0; i < 3; i++)
		turn();
	assert_false(has_file("run"));
	assert_int_equal(hook.batch.sink.done_rev, 0);
	hook_free(&hook);
}

static void test_stop_where_nothing_runs(void **state)
{
	struct hook_cfg cfg = cfg_of("touch $T/run");
	struct hook_cfg bad = cfg_of("touch $T/run");
	char *argv[] = {(char *)"/no/such/program", NULL};

	(void)state;
	begin_cfg(&cfg);
	check_stops_at_once();
	begin_cfg(&cfg);
	assert_int_equal(event("/a", "1", 6, false, NULL), 0);
	check_stops_at_once();
	begin_cfg(&cfg);
	put("/a", "1", 6);
	assert_true(is_due());
	check_stops_at_once();
	cfg.settle_ms = 1000;
	begin_cfg(&cfg);
	put("/a", "1", 6);
	check_stops_at_once();
	begin_cfg(&cfg);
	assert_int_equal(sync_begin(SYNC_FIRST, 5), 0);
	check_stops_at_once();
	bad.argv = argv;
	bad.backoff_min_ms = bad.backoff_max_ms = 1000000;
	begin_cfg(&bad);
	put("/a", "1", 6);
	UNTIL(hook.batch.state == BATCH_WAIT);
	check_stops_at_once();
	/* While paths are put in. */
	cfg.settle_ms = 0;
	cfg.files_user = &hook;
	cfg.files = &mirror_double;
	begin_cfg(&cfg);
	put("/a", "1", 6);
	shape++;
	turn();
	assert_int_equal(hook.batch.state, BATCH_PREPARE);
	check_stops_at_once();
}

static void test_stop_lets_it_end(void **state)
{
	(void)state;
	begin("touch $T/run; sleep 0.3");
	put("/a", "1", 6);
	UNTIL(has_file("run"));
	stop(7000);
	assert_false(hook.batch.sink.is_stopped);
	assert_true(hook_is_running(&hook));
	UNTIL(hook.batch.sink.is_stopped);
	assert_int_equal(hook.batch.sink.done_rev, 6);
	assert_int_equal(wakes, 1);
	assert_string_equal(log_text, "");
}

static void test_stop_ends_it(void **state)
{
	(void)state;
	begin("trap 'touch $T/term' TERM; touch $T/run; while :; do sleep 0.05; done");
	put("/a", "1", 6);
	UNTIL(has_file("run"));
	stop(7000);
	skew_ms += PROGRAM_STOP_MS - 1500;
	turn();
	assert_int_equal(hook.program.state, PROGRAM_RUN);
	skew_ms += 1500;
	UNTIL(has_file("term"));
	assert_int_equal(hook.program.state, PROGRAM_TERM);
	skew_ms += 4500;
	UNTIL(hook.batch.sink.is_stopped);
	assert_int_equal(hook.batch.sink.done_rev, 0);
	assert_int_equal(wakes, 1);
	check_log("ended with status 137 at the stop; the batch of revision 6 comes again", 1);
	assert_int_equal(fails, 0);
}

static void test_freed_while_it_runs(void **state)
{
	int pid;

	(void)state;
	begin("sleep 300 & echo $$ >$T/new; mv $T/new $T/pid; wait");
	put("/a", "1", 6);
	UNTIL(has_file("pid"));
	pid = read_number("pid");
	hook_free(&hook);
	/* Nothing of it is left, not even for the process table. */
	UNTIL(kill(pid, 0) < 0 && errno == ESRCH);
}

/* -- no room for a batch ----------------------------------------------------------------------- */

static void test_no_room(void **state)
{
	struct hook_cfg cfg = cfg_of("wc -c >$T/len");
	char *value = text_of(16000);
	int sent = 0, ret = 0;
	char folder[64];

	(void)state;
	snprintf(folder, sizeof(folder), "%s/spool", dir);
	cfg.spool_folder = folder;
	begin_cfg(&cfg);
	while (sent < 20) {
		struct etcd_event e = {.key = (const uint8_t *)"/a",
			.key_len = 2,
			.value_len = 16000,
			.mod_rev = 6};

		if (ret != ERR_AGAIN || sent == 0)
			ret = hook.batch.sink.ops->event(&hook.batch.sink, &e);
		if (ret == ERR_AGAIN)
			break;
		for (size_t at = 0; at < 16000;) {
			ssize_t n = hook.batch.sink.ops->value(&hook.batch.sink, &e, ETCD_VALUE,
				(const uint8_t *)value + at, 16000 - at);

			if (n == ERR_AGAIN || n == 0)
				break;
			at += (size_t)n;
		}
		ret = hook.batch.sink.ops->event_end(&hook.batch.sink, &e);
		if (ret == ERR_AGAIN)
			break;
		sent++;
	}
	/* In memory there is room for four of them. */
	assert_in_range(sent, 3, 5);
	turn();
	assert_int_equal(fails, 1);
	assert_int_equal(fail_err, ERR_NOENT);
	check_log("a batch can't be kept in", 1);
	skew_ms += 3000;
	turn();
	assert_int_equal(hook.batch.sink.errors, 1);
	assert_int_equal(wakes, 0);
	/* A listing that fits begins all the same. */
	assert_int_equal(sync_begin(SYNC_FIRST, 7), 0);
	synced(7);
	UNTIL(hook.batch.sink.done_rev == 7);
	check_log("works again", 1);
	/* And what does not, when there is room again. */
	assert_int_equal(event("/a", value, 8, false, NULL), 0);
	assert_int_equal(event("/a", value, 8, false, NULL), 0);
	assert_int_equal(event("/a", value, 8, false, NULL), 0);
	assert_int_equal(event("/a", value, 8, false, NULL), 0);
	assert_int_equal(event("/b", "short", 8, false, NULL), 0);
	hook.batch.spool.mem_max = hook.batch.spool.len;
	commit(8);
	turn();
	turn();
	assert_int_equal(hook.batch.state, BATCH_READY);
	assert_int_equal(mkdir(folder, 0700), 0);
	skew_ms += 1000;
	UNTIL(hook.batch.sink.done_rev == 8);
	assert_true(read_number("len") > 64000);
	rmdir(folder);
	free(value);
}

static void test_bad_names(void **state)
{
	struct hook_cfg cfg = cfg_of("");
	char *name = text_of(PRINT_PREFIX_MAX);

	(void)state;
	cfg.watch_name = name;
	assert_int_equal(hook_init(&hook, &cfg), ERR_LIMIT);
	hook_free(&hook);
	cfg.watch_name = "\xff";
	assert_int_equal(hook_init(&hook, &cfg), ERR_RANGE);
	hook_free(&hook);
	hook_free(&hook);
	free(name);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(test_batch_and_environment),
		TEST(test_commits_without_events),
		TEST(test_busy),
		TEST(test_settle),
		TEST(test_answer_of_many_revisions_is_one_batch),
		TEST(test_large_batch_does_not_settle),
		TEST(test_listing),
		TEST(test_retry),
		TEST(test_other_backoff),
		TEST(test_stop_where_nothing_runs),
		TEST(test_stop_lets_it_end),
		TEST(test_stop_ends_it),
		TEST(test_freed_while_it_runs),
		TEST(test_no_room),
		TEST(test_bad_names),
	};

	alarm(300);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
