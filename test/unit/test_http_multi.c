/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/err.h"
#include "base/heap.h"
#include "http_server.h"
#include "net/http_multi.h"

struct fetch {
	struct http_transfer t;
	char url[128];
	char body[256];
	size_t len;
	CURLcode result;
	int done, gone;
	bool want_stop; /* in the middle of the body */
	bool want_close; /* the whole multi handle then */
	bool want_close_when_done;
	struct fetch *then; /* started from within done() */
	struct http_multi *multi;
};

static struct loop loop;
static int multi_gone;

static void on_multi_gone(struct http_multi *m)
{
	(void)m;
	multi_gone++;
}

static void fetch_start(struct fetch *f, struct http_multi *m);

static size_t on_body(char *p, size_t size, size_t n, void *user)
{
	struct fetch *f = user;

	assert_false(http_transfer_is_ended(&f->t));
	assert_true(f->len + size * n < sizeof(f->body));
	memcpy(f->body + f->len, p, size * n);
	f->len += size * n;
	if (f->want_stop) {
		http_multi_end(&f->t);
		assert_int_equal(f->gone, 0);
		assert_true(http_transfer_is_ended(&f->t));
	}
	if (f->want_close) {
		http_multi_close(f->multi, on_multi_gone);
		assert_int_equal(multi_gone, 0);
	}
	return http_transfer_is_ended(&f->t) ? 0 : size * n;
}

static void on_done(struct http_transfer *t, CURLcode result)
{
	struct fetch *f = t->user;

	f->done++;
	f->result = result;
	if (f->then)
		fetch_start(f->then, f->multi);
	if (f->want_close_when_done)
		http_multi_close(f->multi, on_multi_gone);
	http_multi_end(t);
	http_multi_end(t);
}

static void on_gone(struct http_transfer *t)
{
	struct fetch *f = t->user;

	f->gone++;
}

static void fetch_start(struct fetch *f, struct http_multi *m)
{
	f->multi = m;
	f->t.easy = curl_easy_init();
	assert_non_null(f->t.easy);
	f->t.done = on_done;
	f->t.gone = on_gone;
	f->t.user = f;
	curl_easy_setopt(f->t.easy, CURLOPT_URL, f->url);
	curl_easy_setopt(f->t.easy, CURLOPT_PROXY, "");
	curl_easy_setopt(f->t.easy, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(f->t.easy, CURLOPT_WRITEFUNCTION, on_body);
	curl_easy_setopt(f->t.easy, CURLOPT_WRITEDATA, f);
	assert_int_equal(http_multi_add(m, &f->t), 0);
	assert_int_equal(f->done, 0);
}

static void turn_until(const int *what)
{
	int64_t end;

	loop_update_now(&loop);
	end = loop.now_ms + 5000;
	while (!*what && loop.now_ms < end) {
		struct loop_timer wake = {.fn = NULL};

		(void)wake;
		assert_int_equal(loop_turn(&loop), 0);
	}
	assert_true(*what);
}

#define ANSWER "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"
static const struct answer answers[] = {{.text = ANSWER}, {.text = ANSWER}, {.text = ANSWER}};

static int set_up(void **state)
{
	(void)state;
	loop_init(&loop);
	multi_gone = 0;
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	assert_int_equal(heap_bytes(), 0);
	return 0;
}

static void it_is_done_once_and_the_connection_is_kept(void **state)
{
	struct server *s = server_open(&loop, answers, 3);
	struct http_multi m;
	struct fetch a = {.len = 0}, b = {.len = 0};

	(void)state;
	assert_int_equal(http_multi_open(&m, &loop, 2), 0);
	snprintf(a.url, sizeof(a.url), "http://127.0.0.1:%u/", s->port);
	memcpy(b.url, a.url, sizeof(b.url));
	a.then = &b;
	fetch_start(&a, &m);
	turn_until(&b.done);
	assert_int_equal(a.done, 1);
	assert_int_equal(a.gone, 1);
	assert_int_equal(b.gone, 1);
	assert_int_equal(a.result, CURLE_OK);
	assert_int_equal(b.result, CURLE_OK);
	assert_memory_equal(b.body, "hello", 5);
	http_multi_close(&m, on_multi_gone);
	assert_int_equal(multi_gone, 1);
	assert_true(s->accepted <= 2);
	server_close(s);
	assert_null(loop.fds);
	assert_null(loop.timers);
}

static void a_name_that_was_not_resolved_is_not_looked_for(void **state)
{
	struct http_multi m;
	struct fetch a = {.url = "http://a.test:1/"};

	(void)state;
	assert_int_equal(http_multi_open(&m, &loop, 2), 0);
	fetch_start(&a, &m);
	turn_until(&a.done);
	assert_int_equal(a.result, CURLE_COULDNT_RESOLVE_HOST);
	http_multi_close(&m, NULL);
}

static void it_can_be_ended_at_any_moment(void **state)
{
	struct server *s = server_open(&loop, answers, 3);
	struct http_multi m;

	(void)state;
	assert_int_equal(http_multi_open(&m, &loop, 2), 0);
	/* After each number of turns. */
	for (int turns = 0; turns < 12; turns++) {
		struct fetch a = {.len = 0};

		s->at = 0;
		snprintf(a.url, sizeof(a.url), "http://127.0.0.1:%u/", s->port);
		fetch_start(&a, &m);
		for (int i = 0; i < turns && !a.done; i++)
			assert_int_equal(loop_turn(&loop), 0);
		http_multi_end(&a.t);
		assert_int_equal(a.gone, 1);
		assert_true(a.done || turns < 11);
	}
	/* And from within its own callback. */
	{
		struct fetch a = {.want_stop = true};

		s->at = 0;
		snprintf(a.url, sizeof(a.url), "http://127.0.0.1:%u/", s->port);
		fetch_start(&a, &m);
		turn_until(&a.gone);
		assert_int_equal(a.done, 0);
		assert_int_equal(a.gone, 1);
	}
	http_multi_close(&m, NULL);
	server_close(s);
}

static void all_can_be_closed_from_within(void **state)
{
	struct server *s = server_open(&loop, answers, 3);

	(void)state;
	for (int i = 0; i < 2; i++) {
		struct http_multi m;
		struct fetch a = {.want_close = i == 0, .want_close_when_done = i == 1};

		s->at = 0;
		multi_gone = 0;
		assert_int_equal(http_multi_open(&m, &loop, 2), 0);
		snprintf(a.url, sizeof(a.url), "http://127.0.0.1:%u/", s->port);
		fetch_start(&a, &m);
		turn_until(&multi_gone);
		assert_int_equal(a.done, i);
		assert_int_equal(a.gone, 1);
		http_multi_close(&m, on_multi_gone);
		assert_int_equal(multi_gone, 1);
	}
	server_close(s);
	assert_null(loop.fds);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(
			it_is_done_once_and_the_connection_is_kept, set_up, tear_down),
		cmocka_unit_test_setup_teardown(
			a_name_that_was_not_resolved_is_not_looked_for, set_up, tear_down),
		cmocka_unit_test_setup_teardown(it_can_be_ended_at_any_moment, set_up, tear_down),
		cmocka_unit_test_setup_teardown(all_can_be_closed_from_within, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
