/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "cmd/report_fetch.h"
#include "report_helper.h"

int64_t port_pid(void)
{
	return 42;
}

uint64_t port_memory_resident(void)
{
	return 716800;
}

/* What the sinks say: every one of them has the same. */
static struct fetch_sink sinks[REPORT_TEST_WATCHES];
static struct fetch_progress told[400];
static size_t told_count;

bool fetch_progress(const struct fetch_sink *f, size_t i, struct fetch_progress *p)
{
	assert_true(f >= sinks && f < sinks + REPORT_TEST_WATCHES);
	if (i >= told_count)
		return false;
	*p = told[i];
	return true;
}

static char text[REPORT_HEAD_BYTES + REPORT_TEST_WATCHES * REPORT_WATCH_BYTES + 1];

static const struct fetch_progress loading = {.key = "/fw/a",
	.name = "fw.bin",
	.state = "loading",
	.bytes = 12897484,
	.size = 28311552,
	.rate_bytes_s = 1258292,
	.eta_s = 12};
static const struct fetch_progress unknown = {
	.key = "/fw/b", .name = "", .state = "waiting", .eta_s = -1, .why = "the server says 404"};

static int set_up(void **state)
{
	(void)state;
	rig_set_up(1);
	rig_go_live(12);
	rig.rows[0].fetch = &sinks[0];
	told[0] = loading;
	told[1] = unknown;
	told_count = 2;
	return 0;
}

static const char *line_of(const struct fetch_progress *p)
{
	static char line[REPORT_FETCH_LINE_MAX];

	return report_fetch_line(line, p, LOG_SHOW_MAX);
}

static void a_line_says_how_far_it_is(void **state)
{
	struct fetch_progress p = loading;

	(void)state;
	assert_string_equal(line_of(&p), "fw.bin  45 %  12.2 of 27.0 MiB  1.2 MiB/s  12 s left");
	p.eta_s = 119;
	p.rate_bytes_s = 1000;
	assert_string_equal(
		line_of(&p), "fw.bin  45 %  12.2 of 27.0 MiB  1000 bytes/s  119 s left");
	p.eta_s = 120;
	p.rate_bytes_s = 0;
	assert_string_equal(line_of(&p), "fw.bin  45 %  12.2 of 27.0 MiB  0 bytes/s  2 min left");
	p.eta_s = 7200;
	p.size = 1024;
	p.bytes = 1023;
	assert_string_equal(line_of(&p), "fw.bin  99 %  0.9 of 1.0 KiB  0 bytes/s  2 h left");
	p.eta_s = -1;
	p.size = p.bytes = 1023;
	assert_string_equal(line_of(&p), "fw.bin  100 %  1023 of 1023 bytes  0 bytes/s");
	p.size = 0;
	p.bytes = UINT64_C(3) << 30;
	assert_string_equal(line_of(&p), "fw.bin  3.0 GiB  0 bytes/s");
}

static void no_number_is_too_large_for_it(void **state)
{
	struct fetch_progress p = loading;

	(void)state;
	p.bytes = UINT64_MAX;
	p.size = UINT64_MAX;
	p.rate_bytes_s = UINT64_MAX;
	p.eta_s = INT64_MAX;
	assert_non_null(strstr(line_of(&p), "fw.bin  100 %  17179869183.9 of 17179869183.9 GiB"));
	/* The server sends more than it should. */
	p.size = 1;
	assert_non_null(strstr(line_of(&p), "  100 %  "));
	p.bytes = 0;
	assert_non_null(strstr(line_of(&p), "  0 %  0 of 1 bytes"));
}

static void a_line_says_what_is_waited_for(void **state)
{
	struct fetch_progress p = unknown;

	(void)state;
	assert_string_equal(line_of(&p), "/fw/b  waiting: the server says 404");
	p.why[0] = '\0';
	(void)snprintf(p.name, sizeof(p.name), "n");
	assert_string_equal(line_of(&p), "n  waiting");
	/* Whatever the texts are, it is one line and fits. */
	memset(p.name, '\n', sizeof(p.name) - 1);
	memset(p.why, '\x1b', sizeof(p.why) - 1);
	assert_true(strlen(line_of(&p)) < REPORT_FETCH_LINE_MAX - 1);
	assert_null(strchr(line_of(&p), '\n'));
	assert_null(strchr(line_of(&p), '\x1b'));
}

static const char *json(void)
{
	ssize_t n = report_json(&rig.report, text, sizeof(text) - 1);

	assert_true(n > 0);
	text[n] = '\0';
	assert_true(json_is_line(text, (size_t)n));
	return text;
}

static void json_has_each_one(void **state)
{
	(void)state;
	assert_non_null(strstr(json(),
		"\"last_error\":null,\"fetch\":[{\"key\":\"/fw/a\",\"name\":\"fw.bin\",\"state\":\"loading\","
		"\"bytes\":12897484,\"size\":28311552,\"rate\":1258292,\"eta_s\":12,\"error\":null},"
		"{\"key\":\"/fw/b\",\"name\":null,\"state\":\"waiting\",\"bytes\":0,\"size\":null,\"rate\":0,"
		"\"eta_s\":null,\"error\":\"the server says 404\"}]}]}\n"));
	told_count = 0;
	assert_non_null(strstr(json(), "\"last_error\":null,\"fetch\":[]}]}\n"));
	/* A watch that fetches nothing has no such member. */
	rig.rows[0].fetch = NULL;
	assert_null(strstr(json(), "fetch"));
}

static unsigned count_of(const char *what)
{
	unsigned n = 0;

	for (const char *at = text; (at = strstr(at, what)); at++)
		n++;
	return n;
}

static const char *table(void)
{
	ssize_t n = report_table(&rig.report, text, sizeof(text));

	assert_true(n > 0);
	return text;
}

static void the_table_shows_them_below_their_watch(void **state)
{
	(void)state;
	assert_non_null(
		strstr(table(), "\n    . fw.bin  45 %  12.2 of 27.0 MiB  1.2 MiB/s  12 s left\n"
				"    ! /fw/b  waiting: the server says 404\n"));
	for (told_count = 0; told_count < 300; told_count++)
		told[told_count] = loading;
	assert_non_null(strstr(table(), "\n    . and more artifacts that are not in place\n"));
	assert_int_equal(count_of("fw.bin"), 1 + REPORT_FETCH_COUNT);
	rig.rows[0].fetch = NULL;
	assert_null(strstr(table(), "fw.bin"));
}

/* The worst there can be, in all watches at once. */
static void many_are_cut_and_never_too_many(void **state)
{
	struct fetch_progress *p = &told[0];

	(void)state;
	rig_set_up(REPORT_TEST_WATCHES);
	rig_go_live(INT64_MAX);
	*p = (struct fetch_progress){.state = "hashing",
		.bytes = UINT64_MAX,
		.size = INT64_MAX,
		.rate_bytes_s = UINT64_MAX,
		.eta_s = INT64_MAX};
	memset(p->key, '"', sizeof(p->key) - 1);
	memset(p->name, '\\', sizeof(p->name) - 1);
	memset(p->why, '"', sizeof(p->why) - 1);
	for (told_count = 1; told_count < 400; told_count++)
		told[told_count] = told[0];
	for (size_t i = 0; i < REPORT_TEST_WATCHES; i++) {
		struct watch *w = &rig.watches[i];

		memset(rig.sinks[i].why, '"', sizeof(rig.sinks[i].why) - 1);
		rig.sinks[i].errors = UINT64_MAX;
		memset(w->feed.last_skipped, '\\', sizeof(w->feed.last_skipped) - 1);
		w->feed.events = w->feed.batches = w->feed.unmappable = UINT64_MAX;
		rig.rows[i].fetch = &sinks[i];
	}
	(void)json();
	assert_int_equal(
		count_of("\"state\":\"hashing\""), REPORT_TEST_WATCHES + REPORT_FETCH_COUNT);
	(void)table();
}

static char metrics[65536];
static size_t metrics_len;

static int put(void *user, const char *p, size_t len)
{
	(void)user;
	assert_true(metrics_len + len < sizeof(metrics));
	memcpy(metrics + metrics_len, p, len);
	metrics_len += len;
	metrics[metrics_len] = '\0';
	return 0;
}

static void metrics_count_them(void **state)
{
	(void)state;
	metrics_len = 0;
	sinks[0].bytes = 7;
	sinks[0].placed = 8;
	sinks[0].refused = 9;
	assert_int_equal(report_metrics(&rig.report, put, NULL), 0);
	assert_non_null(strstr(metrics,
		"# TYPE etchlet_fetch_bytes_total counter\netchlet_fetch_bytes_total{watch=\"w0\"} 7\n"));
	assert_non_null(strstr(metrics,
		"# TYPE etchlet_fetch_artifacts_total counter\n"
		"etchlet_fetch_artifacts_total{watch=\"w0\",result=\"placed\"} 8\n"
		"etchlet_fetch_artifacts_total{watch=\"w0\",result=\"refused\"} 9\n"));
	/* The longest name there can be. */
	memset(rig.names[0], '"', sizeof(rig.names[0]) - 1);
	metrics_len = 0;
	assert_int_equal(report_metrics(&rig.report, put, NULL), 0);
	/* Nobody fetches: nothing is said of it. */
	rig.rows[0].fetch = NULL;
	metrics_len = 0;
	assert_int_equal(report_metrics(&rig.report, put, NULL), 0);
	assert_null(strstr(metrics, "fetch"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_line_says_how_far_it_is),
		cmocka_unit_test(no_number_is_too_large_for_it),
		cmocka_unit_test(a_line_says_what_is_waited_for),
		cmocka_unit_test_setup(json_has_each_one, set_up),
		cmocka_unit_test_setup(the_table_shows_them_below_their_watch, set_up),
		cmocka_unit_test_setup(many_are_cut_and_never_too_many, set_up),
		cmocka_unit_test_setup(metrics_count_them, set_up),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
