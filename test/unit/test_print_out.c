/* SPDX-License-Identifier: Apache-2.0 */
/* The output: who waits for whom, trouble, torn lines, the end. */
#include "print_helper.h"

/* Many small events cost a few writes, and none is written within a call while there is room. */
static void test_gathers(void **state)
{
	(void)state;
	if (CONFIG_PRINT_BUFFER_BYTES < 8192)
		skip();
	begin((struct print_cfg){.format = PRINT_JSON});
	for (int i = 0; i < 20; i++)
		feed(&sinks[0], sample_of("/some/key", "some value"));
	assert_int_equal(w.writes, 0);
	turn();
	assert_int_equal(w.writes, 1);
	for (int i = 0; i < 1000; i++)
		feed(&sinks[0], sample_of("/some/key", "some value"));
	turn();
	/* 120 bytes a line into 8,192 */
	assert_in_range(w.writes, 2, 20);
	end();
}

static void test_busy_takes_nothing(void **state)
{
	struct sample x = sample_of("/key", "some value");
	size_t before;
	int ret;

	(void)state;
	begin((struct print_cfg){.format = PRINT_JSON});
	w.budget = 0;
	do {
		ret = call_event(&sinks[0], &x.e);
		if (!ret && call_value(&sinks[0], &x.e, ETCD_VALUE, x.value, 10) == 10)
			ret = call_end(&sinks[0], &x.e);
	} while (!ret && sinks[0].state == PRINT_IDLE);
	before = buf_len(&out.buf);
	assert_true(before > CONFIG_PRINT_BUFFER_BYTES / 2);
	assert_int_equal(call_event(&sinks[0], &x.e), ERR_AGAIN);
	assert_int_equal(buf_len(&out.buf), before);
	turn();
	turn();
	assert_int_equal(w.polled_fd, FD);
	assert_int_equal(wakes, 0);
	w.budget = OUT_CAP;
	turn();
	assert_true(wakes > 0);
	if (sinks[0].state == PRINT_VALUE)
		assert_int_equal(call_value(&sinks[0], &x.e, ETCD_VALUE, x.value, 10), 10);
	if (sinks[0].state != PRINT_IDLE)
		assert_int_equal(call_end(&sinks[0], &x.e), 0);
	assert_int_equal(call_event(&sinks[0], &x.e), 0);
	turn();
	turn();
	assert_int_equal(w.polled_fd, -1);
	end();
}

static void test_commit(void **state)
{
	(void)state;
	begin((struct print_cfg){.format = PRINT_JSON});
	/* Nothing is under way: at once. */
	commit(&sinks[0], 5);
	assert_int_equal(sinks[0].sink.done_rev, 5);
	feed(&sinks[0], sample_of("/a", "1"));
	commit(&sinks[0], 6);
	assert_int_equal(sinks[0].sink.done_rev, 5);
	w.budget = 10;
	turn();
	assert_int_equal(sinks[0].sink.done_rev, 5);
	assert_int_equal(wakes, 0);
	w.budget = OUT_CAP;
	turn();
	assert_int_equal(sinks[0].sink.done_rev, 6);
	assert_int_equal(wakes, 1);
	end();
}

/* An output that always lags a little behind still lets the position move, and never too far. */
static void test_commit_under_load(void **state)
{
	uint64_t ends[2001] = {0};
	uint64_t total = 0;
	int64_t last = 0;
	unsigned moves = 0;

	(void)state;
	begin((struct print_cfg){.format = PRINT_JSON});
	w.budget = 0;
	for (int64_t rev = 1; rev <= 2000; rev++) {
		feed(&sinks[0], sample_of("/a", "1"));
		total = w.len + buf_len(&out.buf);
		ends[rev] = total;
		commit(&sinks[0], rev);
		/* 3,000 bytes stay behind all the time. */
		w.budget = total > 3000 + w.len ? (size_t)(total - 3000 - w.len) : 0;
		if (w.budget)
			turn();
		assert_true(sinks[0].sink.done_rev >= last);
		assert_true(ends[sinks[0].sink.done_rev] <= w.len);
		if (sinks[0].sink.done_rev > last)
			moves++;
		last = sinks[0].sink.done_rev;
	}
	assert_true(moves > 100);
	assert_true(last > 1900);
	w.budget = OUT_CAP;
	turn();
	assert_int_equal(sinks[0].sink.done_rev, 2000);
	end();
}

/* Every way in which an event can be left, on a slow output: whole lines all the same. */
static void check_torn(size_t key_len, size_t len, size_t fed, size_t prev_fed, const char *member)
{
	char *key = make_text(0, key_len), *value = make_text(0, len),
	     *prev = make_text(0, prev_fed);
	static char want[OUT_CAP];
	static const char rest[] = ",\"truncated\":true}\n"
				   "{\"type\":\"sync\",\"reason\":\"compacted\",\"revision\":40,"
				   "\"compact_revision\":33}\n";
	struct sample x = sample_of(key, value);
	size_t n, from;
	int ret;

	begin((struct print_cfg){.format = PRINT_JSON});
	budget_step = 900;
	w.budget = 0;
	x.e.has_prev = prev_fed > 0;
	x.e.prev_len = prev_fed ? prev_fed + 1 : 0;
	x.e.lease = 5;
	feed_begin(&sinks[0], &x);
	feed_value(&sinks[0], &x.e, ETCD_VALUE, x.value, fed);
	feed_value(&sinks[0], &x.e, ETCD_VALUE_PREV, (const uint8_t *)prev, prev_fed);
	while ((ret = call_sync_begin(&sinks[0], SYNC_COMPACTED, 40)) == ERR_AGAIN)
		give_budget();
	assert_int_equal(ret, 0);
	for (int i = 0; i < 1000 && buf_len(&out.buf); i++) {
		w.budget += budget_step;
		turn();
	}
	n = put_text(want, 0, "{\"type\":\"put\",\"key\":\"%s\"%s", key, member);
	assert_memory_equal(w.got, want, n);
	from = n;
	if (len > 16384 && fed) {
		n = append_base64(want, (const uint8_t *)value, fed);
		assert_memory_equal(w.got + from, want, n);
		from += n;
		assert_int_equal(w.got[from++], '"');
	} else if (fed && fed == len) {
		assert_memory_equal(w.got + from, value, len);
		from += len;
		assert_int_equal(w.got[from++], '"');
	}
	if (prev_fed) {
		n = put_text(want, 0,
			",\"create_revision\":3,\"mod_revision\":12,\"version\":4,\"lease\":\"5\"%s",
			prev_fed > 16384 ? ",\"prev_value_base64\":\"" : "");
		assert_memory_equal(w.got + from, want, n);
		from += n;
	}
	if (prev_fed > 16384) {
		n = append_base64(want, (const uint8_t *)prev, prev_fed);
		assert_memory_equal(w.got + from, want, n);
		from += n;
		assert_int_equal(w.got[from++], '"');
	}
	w.len -= from;
	memmove(w.got, w.got + from, w.len);
	check_bytes(rest, sizeof(rest) - 1);
	end();
	budget_step = 0;
	free(key);
	free(value);
	free(prev);
}

static void test_torn_json(void **state)
{
	static const size_t keys[] = {2, 4096};

	(void)state;
	for (size_t k = 0; k < 2; k++) {
		check_torn(keys[k], 10, 0, 0, "");
		check_torn(keys[k], 10, 4, 0, "");
		check_torn(keys[k], 10, 10, 0, ",\"value\":\"");
		check_torn(keys[k], 16384, 16000, 0, "");
		check_torn(keys[k], 16384, 16384, 0, ",\"value\":\"");
		check_torn(keys[k], 20000, 1, 0, ",\"value_base64\":\"");
		check_torn(keys[k], 20000, 17000, 0, ",\"value_base64\":\"");
		check_torn(keys[k], 20000, 19999, 0, ",\"value_base64\":\"");
		check_torn(keys[k], 10, 10, 5, ",\"value\":\"");
		check_torn(keys[k], 10, 10, 16385, ",\"value\":\"");
		check_torn(keys[k], 10, 10, 40000, ",\"value\":\"");
	}
}

static void test_torn_simple(void **state)
{
	struct sample x = sample_of("/a", "value");

	(void)state;
	begin((struct print_cfg){.format = PRINT_SIMPLE});
	feed_begin(&sinks[0], &x);
	feed_value(&sinks[0], &x.e, ETCD_VALUE, x.value, 3);
	assert_int_equal(call_sync_begin(&sinks[0], SYNC_COMPACTED, 40), 0);
	feed(&sinks[0], x);
	check("PUT\n/a\nval\nPUT\n/a\nvalue\n");
	assert_non_null(strstr(log_text, "33"));
	end();
}

/* Two sinks on one output: lines do not mix, and the one that waits is woken. */
static void test_shared_output(void **state)
{
	struct sample x = sample_of("/a", "value"), y = sample_of("/b", NULL);

	(void)state;
	begin((struct print_cfg){.format = PRINT_JSON, .watch_name = "a"});
	add_sink(1, (struct print_cfg){.format = PRINT_JSON, .watch_name = "b"});
	feed_begin(&sinks[0], &x);
	feed_value(&sinks[0], &x.e, ETCD_VALUE, x.value, 2);
	assert_int_equal(call_event(&sinks[1], &y.e), ERR_AGAIN);
	assert_int_equal(call_sync_begin(&sinks[1], SYNC_FIRST, 1), ERR_AGAIN);
	turn();
	turn();
	assert_int_equal(wakes, 0);
	/* Nothing of its own is under way: what it commits is done when what stands there is. */
	feed_value(&sinks[0], &x.e, ETCD_VALUE, x.value + 2, 3);
	assert_int_equal(call_end(&sinks[0], &x.e), 0);
	commit(&sinks[0], 12);
	turn();
	assert_int_equal(sinks[0].sink.done_rev, 12);
	assert_int_equal(sinks[1].sink.done_rev, 0);
	assert_int_equal(wakes, 2);
	feed(&sinks[1], y);
	commit(&sinks[1], 13);
	check("{\"watch\":\"a\",\"type\":\"put\",\"key\":\"/a\",\"value\":\"value\","
	      "\"create_revision\":3,\"mod_revision\":12,\"version\":4,\"lease\":\"0\"}\n"
	      "{\"watch\":\"b\",\"type\":\"delete\",\"key\":\"/b\","
	      "\"mod_revision\":13}\n");
	assert_int_equal(sinks[0].sink.done_rev, 12);
	assert_int_equal(sinks[1].sink.done_rev, 13);
	print_free(&sinks[1]);
	end();
}

static void test_no_space(void **state)
{
	char condition[SINK_WHY_MAX + 64];

	(void)state;
	begin_path("/file");
	w.is_file = true;
	print_out_close(&out);
	begin_path("/file");
	add_sink(0, (struct print_cfg){.format = PRINT_SIMPLE});
	w.budget = 5;
	feed(&sinks[0], sample_of("/a", "value"));
	commit(&sinks[0], 12);
	w.most = 5;
	w.err = 0;
	turn();
	w.err = ERR_NOSPACE;
	w.now_ms += PRINT_RETRY_MS;
	turn();
	turn();
	assert_int_equal(fails, 1);
	assert_int_equal(fail_err, ERR_NOSPACE);
	assert_int_equal(log_lines, 1);
	assert_true(sinks[0].sink.is_failing);
	assert_true(sinks[0].sink.why_ms > 0 && sinks[0].sink.why_ms <= loop.now_ms);
	(void)sink_condition(&sinks[0].sink, condition, sizeof(condition));
	assert_int_equal(strncmp(condition, "not written, tried again: print /file: ", 39), 0);
	for (int i = 0; i < 5; i++) {
		w.now_ms += PRINT_RETRY_MS;
		turn();
	}
	assert_int_equal(fails, 1);
	assert_int_equal(log_lines, 1);
	assert_int_equal(sinks[0].sink.done_rev, 0);
	w.err = 0;
	w.budget = OUT_CAP;
	/* A person has made room and asks for a try. */
	sinks[0].sink.ops->retry(&sinks[0].sink);
	turn();
	check("PUT\n/a\nvalue\n");
	assert_int_equal(sinks[0].sink.done_rev, 12);
	assert_int_equal(log_lines, 2);
	assert_null(sink_condition(&sinks[0].sink, condition, sizeof(condition)));
	end();
}

static void test_stdout_closed(void **state)
{
	struct sample x = sample_of("/a", "value");

	(void)state;
	begin((struct print_cfg){.format = PRINT_JSON});
	w.err = ERR_PIPE;
	feed(&sinks[0], x);
	commit(&sinks[0], 12);
	assert_int_equal(fails, 0);
	turn();
	assert_int_equal(fails, 1);
	assert_int_equal(fail_err, ERR_PIPE);
	assert_int_equal(call_event(&sinks[0], &x.e), ERR_AGAIN);
	w.now_ms += 10 * PRINT_RETRY_MS;
	turn();
	assert_int_equal(fails, 1);
	assert_int_equal(w.writes, 1);
	assert_int_equal(sinks[0].sink.done_rev, 0);
	sinks[0].sink.ops->stop(&sinks[0].sink, 1000);
	assert_true(sinks[0].sink.is_stopped);
	end();
}

/* A FIFO waits for its first reader, and for the next when that has left; lines are whole. */
static void test_fifo(void **state)
{
	struct sample x = sample_of("/a", "value");
	char *long_text, condition[SINK_WHY_MAX + 64];

	(void)state;
	if (CONFIG_PRINT_BUFFER_BYTES < 8192)
		skip();
	long_text = make_text(0, 9000);
	begin_path("/fifo");
	print_out_close(&out);
	memset(&w, 0, sizeof(w));
	w.most = w.budget = OUT_CAP;
	w.open_err = ERR_AGAIN;
	loop_init(&loop);
	assert_int_equal(print_out_open(&out, &loop, "/fifo"), 0);
	add_sink(0, (struct print_cfg){.format = PRINT_JSON});
	for (int i = 0; i < 10; i++)
		feed(&sinks[0], sample_of("/a", "value"));
	while (call_event(&sinks[0], &x.e) == 0 &&
		call_value(&sinks[0], &x.e, ETCD_VALUE, x.value, 5) == 5)
		(void)call_end(&sinks[0], &x.e);
	assert_int_equal(w.writes, 0);
	assert_string_equal(
		sink_condition(&sinks[0].sink, condition, sizeof(condition)), "no reader at /fifo");
	w.now_ms += PRINT_RETRY_MS;
	turn();
	assert_int_equal(w.opens, 2);
	w.open_err = 0;
	w.now_ms += PRINT_RETRY_MS;
	turn();
	assert_true(w.writes > 1);
	assert_true(wakes > 0);
	assert_true(w.len > 0 && w.got[w.len - 1] == '\n');
	assert_int_equal(log_lines, 0);

	/* It leaves; the next one gets the line that could not be written, as a whole. */
	if (sinks[0].state != PRINT_IDLE) {
		feed_value(&sinks[0], &x.e, ETCD_VALUE, x.value,
			sinks[0].state == PRINT_VALUE ? 5 : 0);
		assert_int_equal(call_end(&sinks[0], &x.e), 0);
	}
	turn();
	w.err = ERR_PIPE;
	feed(&sinks[0], sample_of("/b", NULL));
	turn();
	assert_int_equal(fails, 0);
	assert_int_equal(w.closes, 1);
	w.err = 0;
	w.len = 0;
	w.now_ms += PRINT_RETRY_MS;
	turn();
	check("{\"type\":\"delete\",\"key\":\"/b\",\"mod_revision\":13}\n");

	/* It leaves within a line that no pipe takes whole: the rest is passed over. */
	w.budget = 4096;
	w.len = 0;
	feed(&sinks[0], sample_of("/c", long_text));
	turn();
	w.err = ERR_PIPE;
	w.budget = OUT_CAP;
	turn();
	w.err = 0;
	w.len = 0;
	feed(&sinks[0], sample_of("/b", NULL));
	w.now_ms += PRINT_RETRY_MS;
	turn();
	check("{\"type\":\"delete\",\"key\":\"/b\",\"mod_revision\":13}\n");
	assert_non_null(strstr(log_text, "cut off"));
	free(long_text);
	end();
}

static void test_open_fails(void **state)
{
	(void)state;
	begin_path("/nowhere/x");
	print_out_close(&out);
	log_lines = 0;
	w.open_err = ERR_NOENT;
	loop_init(&loop);
	assert_int_equal(print_out_open(&out, &loop, "/nowhere/x"), ERR_NOENT);
	add_sink(0, (struct print_cfg){.format = PRINT_SIMPLE});
	feed(&sinks[0], sample_of("/a", "value"));
	turn();
	assert_int_equal(fails, 1);
	assert_int_equal(fail_err, ERR_NOENT);
	assert_int_equal(log_lines, 1);
	w.open_err = 0;
	w.now_ms += PRINT_RETRY_MS;
	turn();
	check("PUT\n/a\nvalue\n");
	assert_int_equal(log_lines, 2);
	end();
}

static void test_stop(void **state)
{
	struct sample x = sample_of("/a", "value");

	(void)state;
	/* Everything can be written: at once; a torn line stays torn. */
	begin((struct print_cfg){.format = PRINT_JSON});
	feed(&sinks[0], sample_of("/b", NULL));
	commit(&sinks[0], 13);
	feed_begin(&sinks[0], &x);
	in_call = true;
	sinks[0].sink.ops->stop(&sinks[0].sink, 1000);
	in_call = false;
	assert_true(sinks[0].sink.is_stopped);
	assert_int_equal(sinks[0].sink.done_rev, 13);
	turn();
	assert_true(wakes > 0);
	check("{\"type\":\"delete\",\"key\":\"/b\",\"mod_revision\":13}\n"
	      "{\"type\":\"put\",\"key\":\"/a\"");
	assert_int_equal(call_event(&sinks[0], &x.e), ERR_AGAIN);
	end();

	/* The output is slow, but fast enough. */
	begin((struct print_cfg){.format = PRINT_JSON});
	w.budget = 10;
	feed(&sinks[0], x);
	commit(&sinks[0], 12);
	sinks[0].sink.ops->stop(&sinks[0].sink, 1000);
	assert_false(sinks[0].sink.is_stopped);
	w.budget = OUT_CAP;
	turn();
	assert_true(sinks[0].sink.is_stopped);
	assert_int_equal(sinks[0].sink.done_rev, 12);
	assert_int_equal(w.now_ms, 0);
	end();

	/* It takes nothing any more. */
	begin((struct print_cfg){.format = PRINT_JSON});
	w.budget = 10;
	feed(&sinks[0], x);
	commit(&sinks[0], 12);
	sinks[0].sink.ops->stop(&sinks[0].sink, 1000);
	turn();
	turn();
	turn();
	assert_true(sinks[0].sink.is_stopped);
	assert_true(wakes > 0);
	assert_int_equal(w.now_ms, 1000);
	assert_int_equal(sinks[0].sink.done_rev, 0);
	end();
}

/* A sink that goes in the middle of an event leaves whole lines to the one that stays. */
static void test_one_of_two_goes(void **state)
{
	char *value = make_text(0, 20000);
	struct sample x = sample_of("/a", value);

	(void)state;
	begin((struct print_cfg){.format = PRINT_JSON, .watch_name = "one"});
	add_sink(1, (struct print_cfg){.format = PRINT_JSON, .watch_name = "two"});
	feed_begin(&sinks[0], &x);
	feed_value(&sinks[0], &x.e, ETCD_VALUE, x.value, 3);
	print_free(&sinks[0]);
	feed(&sinks[1], sample_of("/b", "2"));
	turn();
	check("{\"watch\":\"one\",\"type\":\"put\",\"key\":\"/a\",\"value_base64\":\"YWJj\",\"truncated\":true}\n"
	      "{\"watch\":\"two\",\"type\":\"put\",\"key\":\"/b\",\"value\":\"2\",\"create_revision\":3,"
	      "\"mod_revision\":12,\"version\":4,\"lease\":\"0\"}\n");
	end();
	free(value);
}

static void test_sync_reasons(void **state)
{
	(void)state;
	assert_string_equal(sync_reason_name(SYNC_FIRST), "first");
	assert_string_equal(sync_reason_name(SYNC_COMPACTED), "compacted");
	assert_string_equal(sync_reason_name(SYNC_CLUSTER), "cluster");
	assert_string_equal(sync_reason_name(SYNC_ROLLBACK), "rollback");
	assert_string_equal(sync_reason_name(SYNC_STATE), "state");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_gathers),
		cmocka_unit_test(test_busy_takes_nothing),
		cmocka_unit_test(test_commit),
		cmocka_unit_test(test_commit_under_load),
		cmocka_unit_test(test_torn_json),
		cmocka_unit_test(test_torn_simple),
		cmocka_unit_test(test_shared_output),
		cmocka_unit_test(test_no_space),
		cmocka_unit_test(test_stdout_closed),
		cmocka_unit_test(test_fifo),
		cmocka_unit_test(test_open_fails),
		cmocka_unit_test(test_stop),
		cmocka_unit_test(test_one_of_two_goes),
		cmocka_unit_test(test_sync_reasons),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
