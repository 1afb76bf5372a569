/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/heap.h"
#include "base/version.h"
#include "cmd/report_facts.h"
#include "report_helper.h"

/* In place of the platform's. */
static uint64_t resident = 716800;

int64_t port_pid(void)
{
	return 42;
}

uint64_t port_memory_resident(void)
{
	return resident;
}

static char text[REPORT_HEAD_BYTES + REPORT_TEST_WATCHES * REPORT_WATCH_BYTES + 1];

static int set_up(void **state)
{
	(void)state;
	resident = 716800;
	rig_set_up(1);
	return 0;
}

static const char *json(void)
{
	ssize_t n = report_json(&rig.report, text, sizeof(text) - 1);

	assert_true(n > 0);
	text[n] = '\0';
	assert_true(json_is_line(text, (size_t)n));
	return text;
}

static const char *table(void)
{
	ssize_t n = report_table(&rig.report, text, sizeof(text));

	assert_true(n > 0);
	assert_int_equal(strlen(text), n);
	return text;
}

static void the_strict_reader_can_say_no(void **state)
{
	static const char good[] = "{\"a\":[1,-2,\"\\\"\",null],\"b\":{}}\n";
	static const char *const bad[] = {"", "{}", "{}\n\n", "{\"a\":}\n", "{\"a\":1,}\n",
		"[1,]\n", "{\"a\" :1}\n", "\"\\x\"\n", "\"\x01\"\n", "\"\xff\"\n", "01\n", "-\n",
		"nul\n", "{a:1}\n", "\"a\n", "[[[[[[[[[]]]]]]]]]\n"};

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_false(json_is_line(bad[i], strlen(bad[i])));
	assert_true(json_is_line(good, strlen(good)));
}

static void what_is_not_known_is_null(void **state)
{
	char want[2048];

	(void)state;
	resident = 0;
	(void)snprintf(want, sizeof(want),
		"{\"version\":\"%s\",\"pid\":42,\"uptime_s\":0,\"connected\":false,\"endpoint\":null,"
		"\"cluster_id\":null,\"member_id\":null,\"reconnects\":0,\"last_error\":null,"
		"\"probe\":{\"revision\":null,\"age_s\":null},"
		"\"state\":{\"file\":null,\"writes\":0,\"bytes\":0,\"erases\":0,\"recovered\":false},"
		"\"memory\":{\"rss_kb\":null,\"heap_peak_bytes\":%zu},"
		"\"watches\":[{\"name\":\"w0\",\"key\":\"/config/\",\"prefix\":true,\"synced\":false,"
		"\"position\":null,\"saved_position\":null,\"events\":0,\"batches\":0,\"syncs\":0,"
		"\"last_sync_reason\":null,\"sink_errors\":0,\"unmappable\":0,\"too_long\":0,"
		"\"unknown\":0,\"last_skipped\":null,\"last_error\":null}]}\n",
		version_string(), heap_peak_bytes());
	assert_string_equal(json(), want);
}

static void what_is_known_is_told(void **state)
{
	struct watch *w = &rig.watches[0];
	char want[2048];

	(void)state;
	rig_go_live(12);
	rig_now_ms += 5999;
	loop_update_now(&rig.loop);
	rig.agent.probed.at_ms += 2000;
	rig.agent.reconnects = 7;
	(void)snprintf(rig.agent.trouble.why, sizeof(rig.agent.trouble.why), "connection refused");
	rig.agent.keeper.cfg.path = "/var/lib/etchlet/state";
	rig.agent.keeper.is_recovered = true;
	rig.agent.keeper.journal.session_records = 3;
	rig.agent.keeper.journal.session_erases = 1;
	w->feed.events = 4;
	w->feed.batches = 5;
	w->last_reason = SYNC_COMPACTED;
	w->feed.unmappable = 6;
	w->feed.too_long = 7;
	w->feed.unknown = 8;
	(void)snprintf(w->feed.last_skipped, sizeof(w->feed.last_skipped), "/config/b");
	rig.sinks[0].errors = 9;
	(void)snprintf(rig.sinks[0].why, sizeof(rig.sinks[0].why), "exit status 1");
	(void)snprintf(want, sizeof(want),
		"{\"version\":\"%s\",\"pid\":42,\"uptime_s\":5,\"connected\":true,"
		"\"endpoint\":\"http://10.0.0.1:2379\",\"cluster_id\":\"18446744073709551615\","
		"\"member_id\":\"9223372036854775809\",\"reconnects\":7,"
		"\"last_error\":\"connection refused\",\"probe\":{\"revision\":12,\"age_s\":3},"
		"\"state\":{\"file\":\"/var/lib/etchlet/state\",\"writes\":3,\"bytes\":96,\"erases\":1,"
		"\"recovered\":true},\"memory\":{\"rss_kb\":700,\"heap_peak_bytes\":%zu},"
		"\"watches\":[{\"name\":\"w0\",\"key\":\"/config/\",\"prefix\":true,\"synced\":true,"
		"\"position\":12,\"saved_position\":10,\"events\":4,\"batches\":5,\"syncs\":1,"
		"\"last_sync_reason\":\"compacted\",\"sink_errors\":9,\"unmappable\":6,\"too_long\":7,"
		"\"unknown\":8,\"last_skipped\":\"/config/b\",\"last_error\":\"exit status 1\"}]}\n",
		version_string(), heap_peak_bytes());
	assert_string_equal(json(), want);
}

static void connected_means_that_the_stream_is_open(void **state)
{
	(void)state;
	rig_go_live(5);
	assert_true(report_is_connected(&rig.report));
	/* However its watches are. */
	rig.watches[0].state = WATCH_PARK;
	assert_true(report_is_connected(&rig.report));
	rig.watches[0].state = WATCH_LIVE;
	rig.agent.stream.call.channel = NULL;
	assert_false(report_is_connected(&rig.report));
}

static void synced_and_in_step_are_two_things(void **state)
{
	struct watch *w = &rig.watches[0];

	(void)state;
	rig_go_live(5);
	assert_true(report_is_synced(w) && report_is_in_step(w));
	/* An event waits for its sink. */
	w->feed.closed_rev = w->feed.in_rev = 6;
	assert_true(report_is_synced(w) && !report_is_in_step(w));
	rig.sinks[0].done_rev = 6;
	w->trouble.is_on = true;
	assert_true(report_is_synced(w) && !report_is_in_step(w));
	w->trouble.is_on = false;
	w->is_list_due = true;
	assert_true(!report_is_synced(w) && !report_is_in_step(w));
}

static void trouble_that_is_on_is_the_last_error(void **state)
{
	struct watch *w = &rig.watches[0];

	(void)state;
	assert_null(report_last_error(w));
	(void)snprintf(w->trouble.why, sizeof(w->trouble.why), "denied");
	assert_string_equal(report_last_error(w), "denied");
	(void)snprintf(rig.sinks[0].why, sizeof(rig.sinks[0].why), "exit status 1");
	assert_string_equal(report_last_error(w), "exit status 1");
	w->trouble.is_on = true;
	assert_string_equal(report_last_error(w), "denied");
}

static void the_newest_of_several_is_the_last_error(void **state)
{
	struct watch *w = &rig.watches[0];
	struct sink other = {.why = "no space left", .why_ms = 20};

	(void)state;
	w->feed.sinks[w->feed.sink_count++] = &other;
	(void)snprintf(w->trouble.why, sizeof(w->trouble.why), "denied");
	(void)snprintf(rig.sinks[0].why, sizeof(rig.sinks[0].why), "exit status 1");
	rig.sinks[0].why_ms = 10;
	w->trouble.told_ms = 15;
	assert_string_equal(report_last_error(w), "no space left");
	rig.sinks[0].why_ms = 30;
	assert_string_equal(report_last_error(w), "exit status 1");
	w->trouble.told_ms = 31;
	assert_string_equal(report_last_error(w), "denied");
	/* One that is on is not newer for that. */
	w->trouble.is_on = true;
	rig.sinks[0].why_ms = 32;
	assert_string_equal(report_last_error(w), "exit status 1");
}

/* Texts of every length with every byte, in every place that takes one. */
static void hostile_texts_leave_it_valid(void **state)
{
	static char bytes[300];
	struct watch *w = &rig.watches[0];

	(void)state;
	rig_go_live(5);
	for (unsigned first = 1; first < 256; first++) {
		for (size_t i = 0; i < sizeof(bytes) - 1; i++)
			bytes[i] = (char)(1 + (first + i * 7) % 255);
		w->name = bytes;
		rig.rows[0].key = bytes;
		rig.rows[0].key_len = sizeof(bytes);
		(void)snprintf(w->trouble.why, sizeof(w->trouble.why), "%s", bytes);
		w->trouble.is_on = true;
		(void)snprintf(w->feed.last_skipped, sizeof(w->feed.last_skipped), "%.200s", bytes);
		(void)snprintf(rig.agent.trouble.why, sizeof(rig.agent.trouble.why), "%s", bytes);
		rig.agent.trouble.is_on = true;
		rig.agent.keeper.cfg.path = bytes;
		(void)json();
		for (const char *p = table(); *p; p++)
			assert_true((uint8_t)*p >= 0x20 || *p == '\n');
	}
}

static void a_key_may_hold_nul_bytes(void **state)
{
	(void)state;
	rig.rows[0].key = "a\0\"b";
	rig.rows[0].key_len = 4;
	assert_non_null(strstr(json(), "\"key\":\"a\\\\x00\\\"b\""));
}

/* The worst that all watches together can say fits in what is promised; and in less, it is either whole or refused. */
static void it_fits_or_says_so(void **state)
{
	static char longest[LOG_SHOW_MAX * 2];
	size_t promised = REPORT_HEAD_BYTES + REPORT_TEST_WATCHES * REPORT_WATCH_BYTES;
	size_t whole = 0;
	char *exact;

	(void)state;
	rig_set_up(REPORT_TEST_WATCHES);
	rig_go_live((INT64_C(1) << 62) - 1);
	memset(longest, '"', sizeof(longest) - 1);
	rig.agent.keeper.cfg.path = longest;
	memset(rig.agent.session.authority, '"', sizeof(rig.agent.session.authority) - 1);
	memset(rig.agent.trouble.why, '"', sizeof(rig.agent.trouble.why) - 1);
	rig.agent.trouble.is_on = true;
	for (size_t i = 0; i < REPORT_TEST_WATCHES; i++) {
		struct watch *w = &rig.watches[i];

		w->name = longest;
		rig.rows[i].key = longest;
		rig.rows[i].key_len = sizeof(longest) - 1;
		w->feed.events = w->feed.batches = w->syncs = UINT64_MAX;
		w->feed.unmappable = w->feed.too_long = w->feed.unknown = UINT64_MAX;
		w->last_reason = SYNC_COMPACTED;
		memset(w->feed.last_skipped, '"', sizeof(w->feed.last_skipped) - 1);
		memset(w->trouble.why, '"', sizeof(w->trouble.why) - 1);
		w->trouble.is_on = i % 2;
		rig.sinks[i].errors = UINT64_MAX;
		memset(rig.sinks[i].why, '"', sizeof(rig.sinks[i].why) - 1);
	}
	for (size_t cap = 0; cap <= promised; cap += cap < 64 ? 1 : 61) {
		ssize_t n, m;

		exact = malloc(cap + 1);
		n = report_json(&rig.report, exact, cap);
		assert_true(n == ERR_LIMIT || json_is_line(exact, (size_t)n));
		if (n > 0 && !whole)
			whole = cap;
		m = report_table(&rig.report, exact, cap);
		assert_true(m == ERR_LIMIT || (m > 0 && exact[m - 1] == '\n'));
		free(exact);
	}
	assert_true(whole && whole < promised);
	assert_true(report_table(&rig.report, text, promised) > 0);
	assert_true(report_json(&rig.report, text, promised) > 0);
}

static void a_table_fits_in_80_columns(void **state)
{
	size_t columns = 0;

	(void)state;
	rig_set_up(3);
	rig_go_live(12345678901);
	rig.watches[0].last_reason = SYNC_COMPACTED;
	rig.watches[1].name = "a-name-of-14-b";
	rig.watches[2].name = "a-name-that-is-longer-than-its-column";
	rig.watches[1].feed.events = 12345678;
	(void)snprintf(rig.watches[1].trouble.why, 64, "permission denied");
	rig.watches[1].trouble.is_on = true;
	rig_now_ms += 125000;
	loop_update_now(&rig.loop);
	for (const char *p = table(); *p; p++) {
		columns = *p == '\n' ? 0 : columns + 1;
		assert_true(columns <= 80);
	}
	assert_non_null(strstr(text, "\nw0             in step  12345678901 12345678899        0 "
				     "       0  1 (compacted)\n"));
	assert_non_null(strstr(text, "\na-name-of-14-b trouble  12345678901 "));
	assert_non_null(strstr(text, "\n    ! permission denied (for "));
	assert_non_null(strstr(text, "\na-name-that-is-longer-than-its-column\n               in "
				     "step  12345678901 "));
	assert_non_null(strstr(text, "up for 2 min\n"));
	assert_non_null(strstr(text, "connected to http://10.0.0.1:2379, 0 reconnects\n"));
}

static void say_runs(const struct sink *s, char *dst, size_t cap)
{
	(void)s;
	(void)snprintf(dst, cap, "hook runs");
}

static void a_table_says_what_its_sinks_do(void **state)
{
	static const struct sink_ops ops = {.now = say_runs}, none;
	struct watch *w = &rig.watches[0];

	(void)state;
	rig_go_live(12);
	(void)table();
	assert_non_null(strstr(text, "\nw0             in step "));
	assert_null(strstr(text, "hook"));
	/* What is done and hinders nothing is not told. */
	rig.sinks[0].ops = &ops;
	(void)table();
	assert_null(strstr(text, "hook"));
	rig.sinks[0].done_rev = 11;
	(void)table();
	assert_non_null(strstr(text, "\nw0             waiting "));
	assert_non_null(strstr(text, "\n    . hook runs\n"));
	(void)snprintf(rig.sinks[0].why, sizeof(rig.sinks[0].why), "exit status 1");
	(void)table();
	assert_non_null(strstr(text, "\n    last error: exit status 1\n    . hook runs\n"));
	rig.sinks[0].is_failing = true;
	(void)table();
	assert_non_null(strstr(text, "\nw0             trouble "));
	assert_non_null(strstr(text, "\n    ! hook runs: exit status 1\n"));
	assert_null(strstr(text, "last error"));
	assert_false(report_is_in_step(w));
	/* Also where nothing waits: a file may not be on storage. */
	rig.sinks[0].done_rev = 12;
	rig.sinks[0].name = "mirror";
	rig.sinks[0].ops = &none;
	(void)table();
	assert_non_null(strstr(text, "\n    ! mirror: exit status 1\n"));
	assert_false(report_is_in_step(w));
}

static void a_table_says_what_is_wrong(void **state)
{
	(void)state;
	(void)snprintf(rig.agent.trouble.why, 64, "connection refused");
	rig.agent.trouble.is_on = true;
	rig.agent.trouble.since_ms = rig.loop.now_ms;
	rig.agent.keeper.cfg.path = "/x/state";
	(void)snprintf(rig.agent.keeper.trouble.why, 64, "cannot open: read-only");
	rig.agent.keeper.trouble.is_on = true;
	rig.watches[0].feed.too_long = 2;
	(void)snprintf(rig.watches[0].feed.last_skipped, 64, "/config/b");
	(void)table();
	assert_non_null(strstr(text, "connection  not connected, 0 reconnects\n"));
	assert_non_null(strstr(text, "! connection refused (for 0 s)\n"));
	assert_non_null(strstr(text, "! cannot open: read-only (for "));
	assert_non_null(strstr(text, "revision    not known yet\n"));
	assert_non_null(strstr(text, "w0             to list            -           - "));
	assert_non_null(strstr(text, "not delivered: 2, the last one '/config/b'\n"));
}

static void one_line_says_it_all(void **state)
{
	char line[REPORT_LINE_MAX];

	(void)state;
	rig_set_up(3);
	report_line(&rig.report, line);
	assert_string_equal(line, "not connected, 0 of 3 watches in step");
	rig_go_live(5);
	rig.watches[1].trouble.is_on = true;
	report_line(&rig.report, line);
	assert_string_equal(line, "connected to http://10.0.0.1:2379, 2 of 3 watches in step");
	rig.agent.stream.call.channel = NULL;
	memset(rig.agent.session.authority, '\n', sizeof(rig.agent.session.authority) - 1);
	report_line(&rig.report, line);
	assert_null(strchr(line, '\n'));
	assert_non_null(strstr(line, "..., 2 of 3 watches in step"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_strict_reader_can_say_no),
		cmocka_unit_test_setup(what_is_not_known_is_null, set_up),
		cmocka_unit_test_setup(what_is_known_is_told, set_up),
		cmocka_unit_test_setup(connected_means_that_the_stream_is_open, set_up),
		cmocka_unit_test_setup(synced_and_in_step_are_two_things, set_up),
		cmocka_unit_test_setup(trouble_that_is_on_is_the_last_error, set_up),
		cmocka_unit_test_setup(the_newest_of_several_is_the_last_error, set_up),
		cmocka_unit_test_setup(a_table_says_what_its_sinks_do, set_up),
		cmocka_unit_test_setup(hostile_texts_leave_it_valid, set_up),
		cmocka_unit_test_setup(a_key_may_hold_nul_bytes, set_up),
		cmocka_unit_test_setup(it_fits_or_says_so, set_up),
		cmocka_unit_test_setup(a_table_fits_in_80_columns, set_up),
		cmocka_unit_test_setup(a_table_says_what_is_wrong, set_up),
		cmocka_unit_test_setup(one_line_says_it_all, set_up),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
