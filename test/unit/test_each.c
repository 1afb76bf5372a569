/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/err.h"
#include "base/log.h"
#include "sink/each.h"

/* -- a world of which the clock and the programs are the test's -------------------------------- */

enum { RUNS_MAX = 200 };

static struct {
	int64_t now_ms;
	bool is_running;
	int result; /* of the one that runs, ERR_AGAIN until it ends */
	int start_err;
	unsigned starts, terms, kills;
	int64_t started_ms[RUNS_MAX];
	char env[5][140000];
	size_t env_count;
	uint8_t random;
} w;

int64_t port_now_ms(void)
{
	return w.now_ms;
}

int64_t port_wall_s(void)
{
	return 0;
}

int port_random(void *dst, size_t len)
{
	for (size_t i = 0; i < len; i++)
		((uint8_t *)dst)[i] = w.random = (uint8_t)(w.random * 5 + 57);
	return 0;
}

int port_poll(struct port_poll *fds, size_t n, int64_t timeout_ms)
{
	(void)fds;
	assert_int_equal(n, 0);
	if (timeout_ms > 0)
		w.now_ms += timeout_ms;
	return 0;
}

int port_signals_open(void)
{
	return ERR_UNSUPPORTED;
}

int port_signals_take(void)
{
	return 0;
}

int port_child_start(struct port_child *c, char *const argv[], char *const env[], int stdin_fd,
	int stdout_fd, int stderr_fd)
{
	assert_false(w.is_running);
	assert_string_equal(argv[0], "cmd");
	assert_true(stdin_fd < 0 && stdout_fd < 0 && stderr_fd < 0);
	assert_true(w.starts < RUNS_MAX);
	w.started_ms[w.starts++] = w.now_ms;
	if (w.start_err)
		return w.start_err;
	for (w.env_count = 0; env[w.env_count]; w.env_count++) {
		size_t len = strlen(env[w.env_count]);

		/* What Linux takes in one string. */
		assert_true(len < 131072);
		memcpy(w.env[w.env_count], env[w.env_count], len + 1);
	}
	c->pid = 5;
	w.is_running = true;
	w.result = ERR_AGAIN;
	return 0;
}

int port_child_result(struct port_child *c)
{
	assert_int_equal(c->pid, 5);
	assert_true(w.is_running);
	if (w.result != ERR_AGAIN) {
		w.is_running = false;
		c->pid = 0;
	}
	return w.result;
}

void port_child_kill(struct port_child *c, bool force)
{
	assert_int_equal(c->pid, 5);
	assert_true(w.is_running);
	if (force)
		w.kills++;
	else
		w.terms++;
}

bool port_child_has_ended(const struct port_child *c)
{
	assert_int_equal(c->pid, 5);
	return w.result != ERR_AGAIN;
}

void port_child_abandon(struct port_child *c)
{
	port_child_kill(c, true);
	w.is_running = false;
	c->pid = 0;
}

int port_child_check(const char *argv0)
{
	(void)argv0;
	return ERR_NOENT;
}

int port_pipe_open(struct port_pipe *p)
{
	(void)p;
	return ERR_NOMEM;
}

ssize_t port_pipe_read(int fd, void *dst, size_t len)
{
	(void)fd;
	(void)dst;
	(void)len;
	return ERR_CLOSED;
}

/* -- the sink under test ----------------------------------------------------------------------- */

static char *const argv_cmd[] = {"cmd", "arg", NULL};
static struct loop loop;
static struct each_sink sink;
static unsigned wakes, log_lines;
static char log_text[4096];
static bool in_call;

static void on_wake(struct sink *s)
{
	(void)s;
	assert_false(in_call);
	wakes++;
}

static void on_fail(struct sink *s, int err)
{
	(void)s;
	fail_msg("told to be broken for good: %s", err_name(err));
}

static void on_log(enum log_level level, const char *line, size_t len)
{
	(void)level;
	log_lines++;
	snprintf(log_text, sizeof(log_text), "%.*s", (int)len, line);
}

static int setup(void **state)
{
	struct each_cfg cfg = {.loop = &loop,
		.argv = argv_cmd,
		.timeout_ms = 30000,
		.backoff_min_ms = 200,
		.backoff_max_ms = 30000};

	(void)state;
	memset(&w, 0, sizeof(w));
	wakes = log_lines = 0;
	log_set_writer(on_log);
	loop_init(&loop);
	assert_int_equal(each_init(&sink, &cfg), 0);
	sink.sink.wake = on_wake;
	sink.sink.fail = on_fail;
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	each_free(&sink);
	assert_null(loop.timers);
	assert_null(loop.tasks);
	log_set_writer(NULL);
	return 0;
}

static void turn(void)
{
	assert_int_equal(loop_turn(&loop), 0);
}

static int begin(const char *key, int64_t rev, bool is_delete)
{
	struct etcd_event e = {.type = is_delete ? ETCD_EVENT_DELETE : ETCD_EVENT_PUT,
		.key = (const uint8_t *)key,
		.key_len = strlen(key),
		.mod_rev = rev};
	int ret;

	in_call = true;
	ret = sink.sink.ops->event(&sink.sink, &e);
	in_call = false;
	return ret;
}

static ssize_t value(enum etcd_value which, const char *p, size_t len)
{
	struct etcd_event e = {0};

	return sink.sink.ops->value(&sink.sink, &e, which, (const uint8_t *)p, len);
}

static int end(void)
{
	struct etcd_event e = {0};
	int ret;

	in_call = true;
	ret = sink.sink.ops->event_end(&sink.sink, &e);
	in_call = false;
	return ret;
}

static void put(const char *key, const char *text, int64_t rev)
{
	assert_int_equal(begin(key, rev, false), 0);
	assert_int_equal(value(ETCD_VALUE, text, strlen(text)), strlen(text));
	assert_int_equal(end(), 0);
	sink.sink.ops->commit(&sink.sink, rev);
}

static void ended(int result)
{
	assert_true(w.is_running);
	w.result = result;
	each_child_ended(&sink);
}

static void check_env(size_t i, const char *want)
{
	assert_true(i < w.env_count);
	assert_string_equal(w.env[i], want);
}

/* Until the next command starts, or the clock has moved by limit_ms. */
static bool wait_start(int64_t limit_ms)
{
	int64_t until_ms = w.now_ms + limit_ms;
	unsigned before = w.starts;

	while (w.starts == before && w.now_ms < until_ms && (loop.timers || loop.tasks))
		turn();
	return w.starts > before;
}

/* -- the tests --------------------------------------------------------------------------------- */

static void test_environment(void **state)
{
	(void)state;
	assert_int_equal(begin("/a\"\n\xff", 12, false), 0);
	/* In pieces, one of which cuts a character in two. */
	assert_int_equal(value(ETCD_VALUE, "v\xc3", 2), 2);
	assert_int_equal(value(ETCD_VALUE, "\xbc\t", 2), 2);
	assert_int_equal(value(ETCD_VALUE_PREV, "old", 3), 3);
	assert_int_equal(end(), 0);
	assert_int_equal(w.starts, 0);
	turn();
	assert_int_equal(w.starts, 1);
	assert_int_equal(w.env_count, 4);
	check_env(0, "ETCD_WATCH_REVISION=12");
	check_env(1, "ETCD_WATCH_EVENT_TYPE=\"PUT\"");
	check_env(2, "ETCD_WATCH_KEY=\"/a\\\"\\n\\xff\"");
	check_env(3, "ETCD_WATCH_VALUE=\"v\xc3\xbc\\t\"");
	ended(0);
	assert_int_equal(begin("/a", 13, true), 0);
	assert_int_equal(end(), 0);
	turn();
	check_env(0, "ETCD_WATCH_REVISION=13");
	check_env(1, "ETCD_WATCH_EVENT_TYPE=\"DELETE\"");
	check_env(2, "ETCD_WATCH_KEY=\"/a\"");
	check_env(3, "ETCD_WATCH_VALUE=\"\"");
	ended(0);
	assert_int_equal(log_lines, 0);
}

static void test_one_at_a_time(void **state)
{
	(void)state;
	put("/a", "1", 5);
	assert_int_equal(begin("/b", 6, false), ERR_AGAIN);
	turn();
	assert_int_equal(begin("/b", 6, false), ERR_AGAIN);
	assert_int_equal(sink.sink.done_rev, 0);
	/* A signal of somebody else's child. */
	each_child_ended(&sink);
	assert_int_equal(wakes, 0);
	ended(0);
	assert_int_equal(wakes, 1);
	assert_int_equal(sink.sink.done_rev, 5);
	put("/b", "2", 6);
	turn();
	check_env(2, "ETCD_WATCH_KEY=\"/b\"");
	ended(0);
	assert_int_equal(sink.sink.done_rev, 6);
	/* Nothing is under way: what has no event of this watch is done at once. */
	sink.sink.ops->commit(&sink.sink, 9);
	assert_int_equal(sink.sink.done_rev, 9);
}

static void test_missed_signal(void **state)
{
	(void)state;
	put("/a", "1", 5);
	turn();
	w.result = 0;
	for (int i = 0; i < 3; i++)
		turn();
	assert_int_equal(sink.sink.done_rev, 5);
	assert_true(w.now_ms <= 2 * PROGRAM_POLL_MS);
}

static void test_lines_about_the_stream(void **state)
{
	struct sink_sync sync = {.reason = SYNC_FIRST, .revision = 40};

	(void)state;
	assert_int_equal(sink.sink.ops->sync_begin(&sink.sink, &sync), 0);
	assert_int_equal(sink.sink.ops->progress(&sink.sink, 40), 0);
	assert_int_equal(sink.sink.ops->synced(&sink.sink, 40), 0);
	sink.sink.ops->commit(&sink.sink, 40);
	assert_int_equal(sink.sink.done_rev, 40);
	turn();
	assert_int_equal(w.starts, 0);
	/* An event that never ended is forgotten. */
	assert_int_equal(begin("/a", 41, false), 0);
	assert_int_equal(value(ETCD_VALUE, "torn", 4), 4);
	assert_int_equal(sink.sink.ops->sync_begin(&sink.sink, &sync), 0);
	put("/b", "whole", 42);
	turn();
	assert_int_equal(w.starts, 1);
	check_env(3, "ETCD_WATCH_VALUE=\"whole\"");
	/* What was committed before a listing counts no more: it may be of another history. */
	assert_int_equal(sink.sink.ops->sync_begin(&sink.sink, &sync), 0);
	ended(0);
	assert_int_equal(sink.sink.done_rev, 40);
}

static void test_retries(void **state)
{
	int64_t longest = 0;
	unsigned first_lines;

	(void)state;
	put("/a", "1", 5);
	turn();
	for (unsigned i = 0; i < 60; i++) {
		int64_t from = w.now_ms, gap;
		int64_t most = i < 8 ? (int64_t)200 << i : 30000;

		ended(3);
		assert_true(wait_start(100000));
		gap = w.now_ms - from;
		/* Full jitter: anything up to the doubled delay. A timer can't fire at once. */
		assert_true(gap <= most + 1);
		longest = gap > longest ? gap : longest;
		check_env(3, "ETCD_WATCH_VALUE=\"1\"");
		assert_int_equal(begin("/b", 6, false), ERR_AGAIN);
	}
	assert_true(longest > 10000);
	assert_int_equal(log_lines, 1);
	assert_non_null(strstr(log_text, "status 3"));
	first_lines = log_lines;
	ended(4);
	assert_int_equal(log_lines, first_lines + 1);
	assert_non_null(strstr(log_text, "status 4"));
	/* Another reason again, but too soon to be told. */
	sink.sink.ops->retry(&sink.sink);
	turn();
	ended(3);
	assert_int_equal(log_lines, first_lines + 1);
	sink.sink.ops->retry(&sink.sink);
	turn();
	ended(0);
	assert_int_equal(log_lines, first_lines + 2);
	assert_int_equal(sink.sink.done_rev, 5);
	/* It starts over with small delays. */
	put("/b", "1", 6);
	turn();
	ended(1);
	assert_true(wait_start(202));
}

static void test_cannot_start(void **state)
{
	(void)state;
	w.start_err = ERR_NOENT;
	put("/a", "1", 5);
	turn();
	assert_int_equal(w.starts, 1);
	assert_true(wait_start(100000));
	assert_int_equal(log_lines, 1);
	assert_non_null(strstr(log_text, "no such file"));
	w.start_err = 0;
	assert_true(wait_start(100000));
	ended(0);
	assert_int_equal(log_lines, 2);
	assert_int_equal(sink.sink.done_rev, 5);
}

static void test_timeout(void **state)
{
	(void)state;
	put("/a", "1", 5);
	turn();
	while (!w.terms)
		turn();
	assert_in_range(w.now_ms, 30000, 31000);
	while (!w.kills)
		turn();
	assert_in_range(w.now_ms, 35000, 37000);
	/* Its end does not count, whatever it says. */
	ended(0);
	assert_int_equal(sink.sink.done_rev, 0);
	assert_non_null(strstr(log_text, "longer"));
	assert_true(wait_start(1000));
	ended(0);
	assert_int_equal(sink.sink.done_rev, 5);
	assert_int_equal(w.starts, 2);
}

static void test_long_value(void **state)
{
	static char text[CONFIG_EACH_ENV_BYTES];
	/* Name, two quotes and a NUL; the longest that fits, and one more. */
	size_t fits = CONFIG_EACH_ENV_BYTES - sizeof("ETCD_WATCH_VALUE=\"\"");

	(void)state;
	memset(text, 'x', sizeof(text));
	for (size_t more = 0; more < 2; more++) {
		size_t done = 0, len = fits + more;

		assert_int_equal(begin("/a", 5, false), 0);
		while (done < len) {
			size_t n = len - done < 16384 ? len - done : 16384;

			assert_int_equal(value(ETCD_VALUE, text + done, n), n);
			done += n;
		}
		assert_int_equal(end(), 0);
		turn();
		assert_int_equal(w.env_count, 4 - more);
		assert_int_equal(log_lines, more);
		if (!more)
			assert_int_equal(strlen(w.env[3]), CONFIG_EACH_ENV_BYTES - 1);
		ended(0);
	}
}

static void test_long_key(void **state)
{
	char key[CONFIG_ETCD_KEY_BYTES + 1];

	(void)state;
	memset(key, 0xff, CONFIG_ETCD_KEY_BYTES);
	key[CONFIG_ETCD_KEY_BYTES] = '\0';
	put(key, "1", 5);
	turn();
	assert_int_equal(strlen(w.env[2]), sizeof("ETCD_WATCH_KEY=\"\"") - 1 + 4 * strlen(key));
	ended(0);
}

static void stop(int64_t timeout_ms)
{
	in_call = true;
	sink.sink.ops->stop(&sink.sink, timeout_ms);
	in_call = false;
}

static void test_stop_idle(void **state)
{
	(void)state;
	stop(7000);
	assert_true(sink.sink.is_stopped);
	turn();
	assert_int_equal(wakes, 1);
	assert_int_equal(begin("/a", 5, false), ERR_AGAIN);
}

static void test_stop_while_waiting(void **state)
{
	(void)state;
	put("/a", "1", 5);
	turn();
	ended(1);
	stop(7000);
	assert_true(sink.sink.is_stopped);
	assert_false(wait_start(100000));
	assert_int_equal(sink.sink.done_rev, 0);
}

static void test_stop_lets_it_end(void **state)
{
	(void)state;
	put("/a", "1", 5);
	turn();
	stop(7000);
	assert_false(sink.sink.is_stopped);
	assert_int_equal(w.terms, 0);
	ended(0);
	assert_true(sink.sink.is_stopped);
	assert_int_equal(wakes, 1);
	assert_int_equal(sink.sink.done_rev, 5);
}

static void test_stop_ends_it(void **state)
{
	int64_t from;

	(void)state;
	put("/a", "1", 5);
	turn();
	from = w.now_ms;
	stop(7000);
	while (!w.terms)
		turn();
	assert_in_range(w.now_ms - from, PROGRAM_STOP_MS, PROGRAM_STOP_MS + 1000);
	while (!w.kills)
		turn();
	assert_true(w.now_ms - from < 7000);
	ended(128 + 9);
	assert_true(sink.sink.is_stopped);
	assert_int_equal(sink.sink.done_rev, 0);
	assert_false(wait_start(100000));
}

/* Not even SIGKILL ended it. */
static void test_stop_gives_up(void **state)
{
	int64_t from;

	(void)state;
	put("/a", "1", 5);
	turn();
	from = w.now_ms;
	stop(1000);
	while (!sink.sink.is_stopped && w.now_ms < from + 100000)
		turn();
	assert_true(w.terms > 0 && w.kills > 0);
	assert_in_range(w.now_ms - from, 1000, 2000);
	assert_true(wakes > 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_environment, setup, teardown),
		cmocka_unit_test_setup_teardown(test_one_at_a_time, setup, teardown),
		cmocka_unit_test_setup_teardown(test_missed_signal, setup, teardown),
		cmocka_unit_test_setup_teardown(test_lines_about_the_stream, setup, teardown),
		cmocka_unit_test_setup_teardown(test_retries, setup, teardown),
		cmocka_unit_test_setup_teardown(test_cannot_start, setup, teardown),
		cmocka_unit_test_setup_teardown(test_timeout, setup, teardown),
		cmocka_unit_test_setup_teardown(test_long_value, setup, teardown),
		cmocka_unit_test_setup_teardown(test_long_key, setup, teardown),
		cmocka_unit_test_setup_teardown(test_stop_idle, setup, teardown),
		cmocka_unit_test_setup_teardown(test_stop_while_waiting, setup, teardown),
		cmocka_unit_test_setup_teardown(test_stop_lets_it_end, setup, teardown),
		cmocka_unit_test_setup_teardown(test_stop_ends_it, setup, teardown),
		cmocka_unit_test_setup_teardown(test_stop_gives_up, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
