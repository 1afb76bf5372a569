/* SPDX-License-Identifier: Apache-2.0 */
/* What a POST carries, and what its answer means. The requests themselves are played here. */
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/err.h"
#include "sink/post.h"

/* -- time, which stands still, and the most of jitter ------------------------------------------ */

static int64_t now_ms;

int64_t port_now_ms(void)
{
	return now_ms;
}

int64_t port_wall_s(void)
{
	return 0;
}

int port_random(void *dst, size_t len)
{
	memset(dst, 0xFF, len);
	return 0;
}

/* -- requests ---------------------------------------------------------------------------------- */

static struct http_request *request; /* under way; NULL: none */
static unsigned starts, stops, reloads;
static int open_err, start_err;
static char body[65536];
static bool is_open;

int http_open(struct http **out, const struct http_cfg *cfg, char *why, size_t why_cap)
{
	assert_non_null(cfg->loop);
	snprintf(why, why_cap, "/ca.pem: cannot be");
	*out = open_err ? NULL : (struct http *)&is_open;
	is_open = !open_err;
	return open_err;
}

int http_reload(struct http *h, char *why, size_t why_cap)
{
	assert_ptr_equal(h, &is_open);
	snprintf(why, why_cap, "/ca.pem: cannot be");
	reloads++;
	return open_err;
}

int http_start(struct http *h, struct http_request *r, char *why, size_t why_cap)
{
	size_t got = 0;

	assert_ptr_equal(h, &is_open);
	assert_null(request);
	starts++;
	if (start_err) {
		snprintf(why, why_cap, "it cannot");
		return start_err;
	}
	request = r;
	assert_true(r->body_len < sizeof(body));
	while (got < r->body_len) {
		ssize_t n = r->read(r, got, body + got, 7);

		assert_in_range(n, 1, 7);
		got += (size_t)n;
	}
	body[got] = '\0';
	return 0;
}

void http_stop(struct http_request *r)
{
	stops += request == r;
	if (request == r)
		request = NULL;
}

void http_close(struct http *h)
{
	if (h)
		is_open = false;
}

int http_check_url(const char *url, char *why, size_t why_cap)
{
	snprintf(why, why_cap, "no URL");
	return strncmp(url, "http", 4) ? ERR_CONFIG : 0;
}

/* -- the world --------------------------------------------------------------------------------- */

static struct loop loop;
static struct loop_timer tick;
static struct post_sink post;
static unsigned wakes, fails;
static int fail_err;
static char log_text[65536];
static char token_path[] = "/tmp/etchlet-post-XXXXXX";

static void on_wake(struct sink *s)
{
	(void)s;
	wakes++;
}

static void on_fail(struct sink *s, int err)
{
	(void)s;
	fails++;
	fail_err = err;
}

static void on_log(enum log_level level, const char *line, size_t len)
{
	size_t at = strlen(log_text);

	(void)level;
	assert_true(at + len + 2 < sizeof(log_text));
	memcpy(log_text + at, line, len);
	memcpy(log_text + at + len, "\n", 2);
}

static void on_tick(struct loop_timer *t)
{
	loop_timer_set(&loop, t, 0);
}

static struct post_cfg cfg_of(void)
{
	return (struct post_cfg){.loop = &loop,
		.watch_name = "net",
		.url = "http://user:secret@h/x",
		.device = "dev 7",
		.connect_timeout_ms = 5000,
		.timeout_ms = 30000,
		.backoff_min_ms = 100,
		.backoff_max_ms = 1000};
}

static void begin_cfg(const struct post_cfg *cfg)
{
	char why[256];

	assert_int_equal(post_init(&post, cfg, why, sizeof(why)), 0);
	post.batch.sink.wake = on_wake;
	post.batch.sink.fail = on_fail;
}

static void begin(void)
{
	struct post_cfg cfg = cfg_of();

	begin_cfg(&cfg);
}

static int setup(void **state)
{
	(void)state;
	now_ms = 1000000;
	request = NULL;
	starts = stops = wakes = fails = reloads = 0;
	open_err = start_err = 0;
	log_text[0] = '\0';
	memset(&post, 0, sizeof(post));
	log_set_writer(on_log);
	loop_init(&loop);
	tick = (struct loop_timer){.fn = on_tick};
	loop_timer_set(&loop, &tick, 0);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	post_free(&post);
	loop_timer_clear(&loop, &tick);
	assert_null(loop.timers);
	assert_null(request);
	assert_false(is_open);
	log_set_writer(NULL);
	return 0;
}

static void turns(int n)
{
	while (n--)
		assert_int_equal(loop_turn(&loop), 0);
}

static void wait_ms(int64_t ms)
{
	now_ms += ms;
	turns(3);
}

static int event(const char *key, int64_t rev)
{
	struct etcd_event e = {.type = ETCD_EVENT_DELETE,
		.key = (const uint8_t *)key,
		.key_len = strlen(key),
		.mod_rev = rev};
	const struct sink_ops *ops = post.batch.sink.ops;
	int ret = ops->event(&post.batch.sink, &e);

	if (!ret)
		assert_int_equal(ops->event_end(&post.batch.sink, &e), 0);
	return ret;
}

static void give(const char *key, int64_t rev)
{
	assert_int_equal(event(key, rev), 0);
	post.batch.sink.ops->commit(&post.batch.sink, rev);
	turns(3);
}

static void list(int64_t rev)
{
	struct sink_sync sync = {.reason = SYNC_ROLLBACK, .revision = rev};

	assert_int_equal(post.batch.sink.ops->sync_begin(&post.batch.sink, &sync), 0);
	assert_int_equal(post.batch.sink.ops->synced(&post.batch.sink, rev), 0);
	post.batch.sink.ops->commit(&post.batch.sink, rev);
	turns(3);
}

static void retry(void)
{
	post.batch.sink.ops->retry(&post.batch.sink);
	turns(3);
}

static const char *condition(void)
{
	static char text[SINK_WHY_MAX + 64];

	return sink_condition(&post.batch.sink, text, sizeof(text));
}

static const char *header(const char *name)
{
	for (const char *const *h = request->headers; *h; h++) {
		if (!strncmp(*h, name, strlen(name)))
			return *h + strlen(name);
	}
	return NULL;
}

/* The headers of the answer, and its body. */
static int begin_answer(int status, const char *text)
{
	struct http_request *r = request;

	assert_non_null(r);
	r->answer.status = status;
	assert_int_equal(r->begin(r), 0);
	return *text ? r->body(r, (const uint8_t *)text, strlen(text)) : 0;
}

static void end_request(int err, const char *why)
{
	struct http_request *r = request;

	assert_non_null(r);
	request = NULL;
	r->done(r, err, why);
	turns(2);
}

static void answer(int status, const char *text)
{
	assert_int_equal(begin_answer(status, text), 0);
	end_request(0, "");
}

static void check_log(const char *needle, size_t count)
{
	size_t n = 0;

	for (const char *p = log_text; (p = strstr(p, needle)); p++)
		n++;
	if (n != count)
		fail_msg("\"%s\" %zu times, not %zu:\n%s", needle, n, count, log_text);
}

/* -- what is sent ------------------------------------------------------------------------------ */

static void test_request(void **state)
{
	char key[128];

	(void)state;
	begin();
	assert_int_equal(event("/a", 11), 0);
	give("/b", 12);
	assert_non_null(request);
	assert_true(request->is_post);
	assert_string_equal(request->url, "http://user:secret@h/x");
	assert_null(request->unix_path);
	assert_null(request->bearer);
	assert_int_equal(request->redirects, 0);
	assert_int_equal(request->timeout_ms, 30000);
	assert_int_equal(request->connect_timeout_ms, 5000);
	assert_int_equal(request->body_len, post.batch.spool.len);
	assert_string_equal(body,
		"{\"watch\":\"net\",\"type\":\"delete\",\"key\":\"/a\",\"mod_revision\":11}\n"
		"{\"watch\":\"net\",\"type\":\"delete\",\"key\":\"/b\",\"mod_revision\":12}\n");
	assert_string_equal(header("Content-Type: "), "application/x-ndjson");
	assert_string_equal(header("Etchlet-Watch: "), "net");
	assert_string_equal(header("Etchlet-Revision: "), "12");
	assert_string_equal(header("Etchlet-Reason: "), "event");
	assert_string_equal(header("Etchlet-Device: "), "dev%207");
	snprintf(key, sizeof(key), "%s", header("Idempotency-Key: "));
	assert_int_equal(strncmp(key, "\"dev%207/net/12/event/", 22), 0);
	assert_string_equal(condition(), "posts");
	/* One at a time. */
	assert_int_equal(event("/c", 13), ERR_BUSY);
	answer(503, "");
	wait_ms(100);
	assert_int_equal(starts, 2);
	assert_string_equal(header("Idempotency-Key: "), key);
	answer(200, "");
	assert_int_equal(post.batch.sink.done_rev, 12);
	assert_int_equal(wakes, 1);
	/* The same revision of another history is another batch. */
	list(12);
	assert_string_equal(header("Etchlet-Reason: "), "rollback");
	answer(204, "");
	give("/other", 12);
	assert_string_not_equal(header("Idempotency-Key: "), key);
	answer(200, "");
	assert_int_equal(event("/a", 11), 0);
	give("/b", 12);
	assert_string_equal(header("Idempotency-Key: "), key);
	answer(200, "");
}

static void test_names_are_safe(void **state)
{
	struct post_cfg cfg = cfg_of();

	(void)state;
	cfg.device = "a/b\r\nX: y";
	cfg.watch_name = "w/\xc3\xa4 \"";
	begin_cfg(&cfg);
	give("/a", 5);
	assert_string_equal(header("Etchlet-Device: "), "a/b%0D%0AX:%20y");
	assert_string_equal(header("Etchlet-Watch: "), "w/%C3%A4%20%22");
	assert_int_equal(strncmp(header("Idempotency-Key: "),
				 "\"a%2Fb%0D%0AX:%20y/w%2F%C3%A4%20%22/5/event/", 44),
		0);
	post_free(&post);
	assert_int_equal(stops, 1);
	cfg.device = NULL;
	cfg.url = "unix:/run/x:/y";
	begin_cfg(&cfg);
	give("/a", 5);
	assert_null(header("Etchlet-Device: "));
	assert_string_equal(request->unix_path, "/run/x");
	assert_string_equal(request->url, "http://localhost/y");
	answer(503, "");
	assert_string_equal(post.batch.sink.why, "unix:/run/x:/y: 503 Service Unavailable");
}

static void write_token(const char *text)
{
	FILE *f = fopen(token_path, "w");

	assert_non_null(f);
	fputs(text, f);
	fclose(f);
}

static void test_token(void **state)
{
	struct post_cfg cfg = cfg_of();
	int fd = mkstemp(token_path);

	(void)state;
	assert_true(fd >= 0);
	close(fd);
	cfg.token_path = token_path;
	begin_cfg(&cfg);
	write_token("first\n");
	give("/a", 5);
	assert_string_equal(request->bearer, "first");
	answer(401, "");
	/* Nothing of it is left between two tries. */
	assert_int_equal(post.token[0], 0);
	write_token("second");
	retry();
	assert_string_equal(request->bearer, "second");
	answer(500, "");
	unlink(token_path);
	retry();
	assert_null(request);
	assert_int_equal(fail_err, ERR_NOENT);
	assert_non_null(strstr(condition(), "post failed, tried again: token file /tmp/"));
	write_token("bad token");
	retry();
	assert_null(request);
	assert_int_equal(fail_err, ERR_AUTH);
	write_token("third");
	wait_ms(1000);
	assert_string_equal(request->bearer, "third");
	answer(200, "");
	assert_int_equal(post.batch.sink.done_rev, 5);
	unlink(token_path);
}

/* -- what an answer means ---------------------------------------------------------------------- */

static void test_statuses(void **state)
{
	static const int again[] = {408, 425, 429, 500, 502, 503, 504, 599};
	static const int held[] = {300, 301, 304, 308, 400, 401, 403, 404, 413, 422, 451, 499};
	static const int good[] = {200, 201, 202, 204, 299};
	int64_t rev = 5;

	(void)state;
	begin();
	for (size_t i = 0; i < sizeof(again) / sizeof(again[0]); i++) {
		give("/a", ++rev);
		answer(again[i], "");
		assert_int_equal(post.batch.state, BATCH_WAIT);
		assert_false(post.batch.is_held);
		assert_int_equal(fail_err, ERR_IO);
		assert_int_equal(
			strncmp(condition(), "post failed, tried again: http://h/x: ", 38), 0);
		/* The first delay, at most. */
		wait_ms(100);
		assert_string_equal(condition() ? "again" : "", "again");
		answer(good[i % 5], "");
		assert_int_equal(post.batch.sink.done_rev, rev);
		assert_null(condition());
	}
	check_log("http://h/x works again at revision 6", 1);
	for (size_t i = 0; i < sizeof(held) / sizeof(held[0]); i++) {
		give("/a", ++rev);
		answer(held[i], "");
		assert_true(post.batch.is_held);
		assert_int_equal(
			strncmp(condition(), "post rejected, held: http://h/x: rejected with ", 47),
			0);
		/* The longest delay only. */
		wait_ms(499);
		assert_null(request);
		wait_ms(501);
		answer(200, "");
		assert_int_equal(post.batch.sink.done_rev, rev);
	}
	check_log("; it is held, and now and then tried again", 12);
}

static void test_delays_grow(void **state)
{
	(void)state;
	begin();
	give("/a", 5);
	for (int64_t limit = 100, tries = 1; tries < 8; tries++) {
		answer(503, "");
		wait_ms(limit - 1);
		assert_null(request);
		wait_ms(1);
		assert_int_equal(starts, tries + 1);
		limit = limit * 2 < 1000 ? limit * 2 : 1000;
	}
	check_log("503 Service Unavailable", 1);
	end_request(ERR_REFUSED, "http://h/x: connection refused");
	assert_int_equal(fail_err, ERR_REFUSED);
	assert_string_equal(post.batch.sink.why, "http://h/x: connection refused");
	assert_int_equal(post.batch.sink.errors, 8);
}

static void test_first_line_of_the_answer(void **state)
{
	(void)state;
	begin();
	give("/a", 5);
	assert_int_equal(begin_answer(422, "\r\n\n"), 0);
	assert_int_equal(request->body(request, (const uint8_t *)"no \x1b[1m", 7), 0);
	assert_int_equal(request->body(request, (const uint8_t *)"field\nsecret", 12), 0);
	end_request(0, "");
	assert_string_equal(post.batch.sink.why,
		"http://h/x: rejected with 422 Unprocessable Entity: no \\x1B[1mfield");
	retry();
	/* That of another answer. */
	assert_int_equal(begin_answer(422, "x"), 0);
	end_request(0, "");
	assert_string_equal(
		post.batch.sink.why, "http://h/x: rejected with 422 Unprocessable Entity: x");
}

/* The status is what counts, however the answer ends. */
static void test_bodies_that_do_not_end(void **state)
{
	static char piece[4097];
	size_t sent = 0;

	(void)state;
	begin();
	memset(piece, 'x', 4096);
	give("/a", 5);
	assert_int_equal(begin_answer(200, ""), 0);
	while (!request->body(request, (const uint8_t *)piece, 4096))
		sent += 4096;
	assert_int_equal(sent, CONFIG_POST_ANSWER_BYTES);
	end_request(ERR_LIMIT, "the peer exceeded a limit");
	assert_int_equal(post.batch.sink.done_rev, 5);
	/* Slowly. */
	give("/a", 6);
	assert_int_equal(begin_answer(200, "x"), 0);
	for (int i = 0; i < 29; i++) {
		assert_int_equal(request->body(request, (const uint8_t *)"x", 1), 0);
		wait_ms(1000);
	}
	assert_int_equal(stops, 0);
	wait_ms(1000);
	assert_int_equal(stops, 1);
	assert_int_equal(post.batch.sink.done_rev, 6);
	/* Cut. */
	give("/a", 7);
	assert_int_equal(begin_answer(200, "x"), 0);
	end_request(ERR_CLOSED, "closed");
	assert_int_equal(post.batch.sink.done_rev, 7);
	give("/a", 8);
	assert_int_equal(begin_answer(503, "busy"), 0);
	end_request(ERR_CLOSED, "closed");
	assert_string_equal(post.batch.sink.why, "http://h/x: 503 Service Unavailable: busy");
}

static void test_redirects(void **state)
{
	(void)state;
	begin();
	give("/a", 5);
	request->answer.status = 302;
	end_request(ERR_HTTP, "http://h/x: points to http://elsewhere, which is not followed");
	assert_true(post.batch.is_held);
	assert_string_equal(post.batch.sink.why,
		"http://h/x: points to http://elsewhere, which is not followed");
}

static void test_retry_after(void **state)
{
	(void)state;
	begin();
	give("/a", 5);
	request->answer.retry_after_ms = 60000;
	answer(503, "");
	assert_int_equal(
		strncmp(condition(), "post failed, waits as it was told to: http://h/x: 503", 53),
		0);
	/* Nothing makes it shorter. */
	wait_ms(59999);
	retry();
	post_set_delays(&post, 1, 2, 3);
	assert_int_equal(post.request.connect_timeout_ms, 3);
	turns(3);
	assert_null(request);
	assert_int_equal(post.timer.is_set, false);
	/* But it is over in time, and a person may be faster than the jitter. */
	wait_ms(1);
	assert_null(request);
	retry();
	assert_non_null(request);
	/* More than can be meant. */
	request->answer.retry_after_ms = INT64_C(1) << 60;
	answer(429, "");
	wait_ms((int64_t)CONFIG_POST_RETRY_AFTER_S * 1000 - 1);
	assert_null(request);
	wait_ms(3);
	assert_non_null(request);
	/* What was told once does not count for the next answer. */
	answer(429, "");
	wait_ms(4);
	answer(200, "");
	assert_int_equal(post.batch.sink.done_rev, 5);
}

static void test_listing_supersedes_what_failed(void **state)
{
	(void)state;
	begin();
	give("/a", 5);
	request->answer.retry_after_ms = 60000;
	answer(429, "");
	list(3);
	/* It takes its place, and waits as it was told. */
	assert_int_equal(post.batch.state, BATCH_WAIT);
	wait_ms(59000);
	assert_int_equal(post.batch.state, BATCH_WAIT);
	wait_ms(2000);
	assert_non_null(strstr(body, "rollback"));
	assert_null(strstr(body, "/a"));
	answer(200, "");
	assert_int_equal(post.batch.sink.done_rev, 3);
	check_log("works again at revision 3", 1);
}

static void test_skip(void **state)
{
	struct post_cfg cfg = cfg_of();

	(void)state;
	cfg.is_skipped = true;
	begin_cfg(&cfg);
	give("/a", 5);
	answer(503, "");
	wait_ms(100);
	answer(422, "what?\n");
	assert_int_equal(post.batch.sink.done_rev, 5);
	assert_int_equal(post.batch.sink.errors, 2);
	assert_false(post.batch.sink.is_failing);
	assert_null(condition());
	assert_string_equal(
		post.batch.sink.why, "http://h/x: rejected with 422 Unprocessable Entity: what?");
	check_log("what?; the batch of revision 5 is skipped", 1);
	check_log("works again", 0);
	give("/b", 6);
	answer(301, "");
	assert_int_equal(post.batch.sink.done_rev, 6);
	assert_int_equal(post.batch.sink.errors, 3);
	check_log("is skipped", 1);
	/* These are no rejections. */
	give("/c", 7);
	answer(429, "");
	assert_int_equal(post.batch.state, BATCH_WAIT);
}

/* -- troubles, start and end ------------------------------------------------------------------- */

static void test_stop(void **state)
{
	(void)state;
	begin();
	give("/a", 5);
	post.batch.sink.ops->stop(&post.batch.sink, 6800);
	assert_false(post.batch.sink.is_stopped);
	wait_ms(799);
	assert_false(post.batch.sink.is_stopped);
	wait_ms(1);
	assert_true(post.batch.sink.is_stopped);
	assert_int_equal(stops, 1);
	assert_int_equal(wakes, 1);
	assert_int_equal(post.batch.sink.done_rev, 0);
	check_log(
		"http://h/x: not answered in time at the stop; the batch of revision 5 comes again",
		1);
	post_free(&post);
	/* It is answered. */
	begin();
	give("/a", 5);
	post.batch.sink.ops->stop(&post.batch.sink, 800);
	wait_ms(500);
	assert_int_equal(begin_answer(200, ""), 0);
	/* A body that does not end gets no more time. */
	wait_ms(300);
	assert_true(post.batch.sink.is_stopped);
	assert_int_equal(post.batch.sink.done_rev, 5);
	post_free(&post);
	/* While it waits. */
	begin();
	give("/a", 5);
	answer(503, "");
	post.batch.sink.ops->stop(&post.batch.sink, 800);
	assert_true(post.batch.sink.is_stopped);
	wait_ms(10000);
	assert_null(request);
}

static void test_cannot_start(void **state)
{
	(void)state;
	begin();
	start_err = ERR_NOMEM;
	give("/a", 5);
	assert_int_equal(fail_err, ERR_NOMEM);
	assert_string_equal(post.batch.sink.why, "it cannot");
	start_err = 0;
	wait_ms(100);
	answer(200, "");
	assert_int_equal(post.batch.sink.done_rev, 5);
}

static void test_init_and_reload(void **state)
{
	struct post_cfg cfg = cfg_of();
	char why[256];

	(void)state;
	begin();
	assert_int_equal(post_reload(&post, why, sizeof(why)), 0);
	open_err = ERR_CONFIG;
	assert_int_equal(post_reload(&post, why, sizeof(why)), ERR_CONFIG);
	assert_string_equal(why, "/ca.pem: cannot be");
	assert_int_equal(reloads, 2);
	post_free(&post);
	assert_int_equal(post_init(&post, &cfg, why, sizeof(why)), ERR_CONFIG);
	assert_string_equal(why, "/ca.pem: cannot be");
	post_free(&post);
	open_err = 0;
	cfg.watch_name = "\xff";
	assert_int_equal(post_init(&post, &cfg, why, sizeof(why)), ERR_RANGE);
	post_free(&post);
	post_free(&post);
	assert_int_equal(post_check_url("unix:/x", why, sizeof(why)), 0);
	assert_int_equal(post_check_url("http://x", why, sizeof(why)), 0);
	assert_int_equal(post_check_url("ftp://x", why, sizeof(why)), ERR_CONFIG);
	assert_int_equal(post_check_url("unix:", why, sizeof(why)), ERR_CONFIG);
}

/* More than is read in one turn. */
static void test_large_batch(void **state)
{
	char key[2000];

	(void)state;
	begin();
	memset(key, 'k', sizeof(key));
	key[sizeof(key) - 1] = '\0';
	for (int i = 0; i < 30; i++) {
		assert_int_equal(event(key, 5), 0);
		turns(1);
	}
	post.batch.sink.ops->commit(&post.batch.sink, 5);
	turns(20);
	assert_non_null(request);
	assert_int_equal(strlen(body), request->body_len);
	answer(200, "");
	assert_int_equal(post.batch.sink.done_rev, 5);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(test_request),
		TEST(test_names_are_safe),
		TEST(test_token),
		TEST(test_statuses),
		TEST(test_delays_grow),
		TEST(test_first_line_of_the_answer),
		TEST(test_bodies_that_do_not_end),
		TEST(test_redirects),
		TEST(test_retry_after),
		TEST(test_listing_supersedes_what_failed),
		TEST(test_skip),
		TEST(test_stop),
		TEST(test_cannot_start),
		TEST(test_init_and_reload),
		TEST(test_large_batch),
	};

	alarm(300);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
