/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Requests against a scripted server in the same loop (http_server.h), and against OpenSSL's servers (tls_server.py) with
 * certificates made for them (tls_pki.sh); run it from the root of the source tree.
 */
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <poll.h>
#include <sys/random.h>
#include <time.h>

#include "base/err.h"
#include "base/heap.h"
#include "base/kconfig.h"
#include "base/version.h"
#include "http_server.h"
#include "net/http.h"

/* -- the platform's clocks and random numbers ------------------------------------------------- */

static int64_t wall_offset_s, now_offset_ms;
static bool is_random_missing;

int64_t port_now_ms(void)
{
	struct timespec ts;

	assert_int_equal(clock_gettime(CLOCK_MONOTONIC, &ts), 0);
	return now_offset_ms + (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

int64_t port_wall_s(void)
{
	return (int64_t)time(NULL) + wall_offset_s;
}

int port_random(void *dst, size_t len)
{
	if (is_random_missing)
		return ERR_ENTROPY;
	assert_int_equal(getrandom(dst, len, 0), (ssize_t)len);
	return 0;
}

/* -- one request ------------------------------------------------------------------------------ */

static struct loop loop;
static struct http *http;
static struct server *server;
static char why[HTTP_WHY_MAX];

enum stop_at { STOP_NOWHERE, STOP_IN_READ, STOP_IN_BEGIN, STOP_IN_BODY };

struct ask {
	struct http_request r;
	char url[HTTP_URL_MAX + 16];
	char body[4096];
	uint64_t len; /* received; what fits stands in body */
	unsigned pieces;
	int begun, done, err;
	struct http_answer answer; /* of begin() */
	char why[HTTP_WHY_MAX];
	const char *content; /* of a POST; NULL: 'p' all along */
	int begin_err, body_err, read_err;
	enum stop_at stop_at;
	bool want_close; /* in place of stopping */
	uint64_t new_rate; /* set in the first piece */
	struct ask *again; /* started from within done() */
};

static void ask_start(struct ask *a);

static bool ask_stop(struct ask *a, enum stop_at at)
{
	if (a->stop_at != at)
		return false;
	if (a->want_close) {
		http_close(http);
		http = NULL;
	} else {
		http_stop(&a->r);
	}
	assert_false(http_is_under_way(&a->r));
	return true;
}

static ssize_t on_read(struct http_request *r, uint64_t offset, void *dst, size_t len)
{
	struct ask *a = r->user;

	assert_false(a->done);
	assert_true(offset + len <= r->body_len);
	assert_int_equal(offset, r->sent);
	if (ask_stop(a, STOP_IN_READ))
		return 1;
	if (a->read_err)
		return a->read_err;
	if (a->content)
		memcpy(dst, a->content + offset, len);
	else
		memset(dst, 'p', len);
	return (ssize_t)len;
}

static int on_begin(struct http_request *r)
{
	struct ask *a = r->user;

	assert_false(a->done);
	a->begun++;
	a->answer = r->answer;
	(void)ask_stop(a, STOP_IN_BEGIN);
	return a->begin_err;
}

static int on_body(struct http_request *r, const uint8_t *p, size_t len)
{
	struct ask *a = r->user;

	assert_false(a->done);
	assert_int_equal(a->begun, 1);
	assert_true(len > 0);
	if (a->len < sizeof(a->body) - 1) {
		size_t fits = sizeof(a->body) - 1 - (size_t)a->len;

		memcpy(a->body + a->len, p, len < fits ? len : fits);
	}
	a->len += len;
	a->pieces++;
	if (a->new_rate && a->pieces == 1)
		http_set_rate(r, a->new_rate);
	(void)ask_stop(a, STOP_IN_BODY);
	return a->body_err;
}

static void on_done(struct http_request *r, int err, const char *reason)
{
	struct ask *a = r->user;

	assert_false(http_is_under_way(r));
	a->done++;
	a->err = err;
	snprintf(a->why, sizeof(a->why), "%s", reason);
	if (err)
		assert_non_null(strstr(reason, ": "));
	else
		assert_string_equal(reason, "");
	if (a->again)
		ask_start(a->again);
}

static void ask_to(struct ask *a, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void ask_to(struct ask *a, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(a->url, sizeof(a->url), fmt, ap);
	va_end(ap);
}

static void ask_set_up(struct ask *a)
{
	a->r.url = a->url;
	a->r.user = a;
	a->r.read = on_read;
	a->r.begin = on_begin;
	a->r.body = on_body;
	a->r.done = on_done;
	if (!a->r.connect_timeout_ms)
		a->r.connect_timeout_ms = 3000;
	if (!a->r.timeout_ms)
		a->r.timeout_ms = 3000;
}

static void ask_start(struct ask *a)
{
	ask_set_up(a);
	assert_int_equal(http_start(http, &a->r, why, sizeof(why)), 0);
	assert_int_equal(a->done, 0);
	assert_true(http_is_under_way(&a->r));
}

static void on_wake(struct loop_timer *t)
{
	(void)t;
}

static void turn_for(const int *until, int64_t ms)
{
	struct loop_timer wake = {.fn = on_wake};
	int64_t end = port_now_ms() + ms;

	loop_update_now(&loop);
	while (!(until && *until) && port_now_ms() < end) {
		loop_timer_set_at(&loop, &wake, end);
		assert_int_equal(loop_turn(&loop), 0);
	}
	loop_timer_clear(&loop, &wake);
	if (until)
		assert_true(*until);
}

static void ask_run(struct ask *a)
{
	ask_start(a);
	turn_for(&a->done, 10000);
	assert_int_equal(a->done, 1);
	a->body[a->len < sizeof(a->body) ? a->len : sizeof(a->body) - 1] = '\0';
}

static void expect_error_at(size_t row, const struct ask *a, int err, const char *words)
{
	if (a->err != err || !strstr(a->why, words))
		fail_msg("%zu: %s: '%s', in place of %s: '%s'", row, err_name(a->err), a->why,
			err_name(err), words);
}

static void expect_error(const struct ask *a, int err, const char *words)
{
	expect_error_at(0, a, err, words);
}

static void open_with(const char *cacert, const char *cert, const char *key)
{
	struct http_cfg cfg = {.loop = &loop, .cacert = cacert, .cert = cert, .key = key};

	assert_int_equal(http_open(&http, &cfg, why, sizeof(why)), 0);
}

static void serve(const struct answer *answers, size_t count)
{
	server = server_open(&loop, answers, count);
}

static int set_up(void **state)
{
	(void)state;
	loop_init(&loop);
	http = NULL;
	server = NULL;
	wall_offset_s = 0;
	is_random_missing = false;
	open_with(NULL, NULL, NULL);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	http_close(http);
	if (server)
		server_close(server);
	assert_null(loop.fds);
	assert_null(loop.timers);
	assert_int_equal(heap_bytes(), 0);
	return 0;
}

static size_t count_of(const char *text, const char *part)
{
	size_t n = 0;

	for (const char *p = text; (p = strstr(p, part)); p++)
		n++;
	return n;
}

/* -- answers ---------------------------------------------------------------------------------- */

#define OK_HEAD "HTTP/1.1 200 OK\r\n"
#define HELLO OK_HEAD "Content-Length: 5\r\n\r\nhello"

static void a_get_is_answered_and_the_connection_is_kept(void **state)
{
	static const struct answer answers[] = {{.text = HELLO}, {.text = HELLO}};
	struct ask a = {.err = 1}, b = {.err = 1};

	(void)state;
	serve(answers, 2);
	ask_to(&a, "http://127.0.0.1:%u/a?b=c#d", server->port);
	ask_to(&b, "http://127.0.0.1:%u", server->port);
	ask_run(&a);
	assert_int_equal(a.err, 0);
	assert_string_equal(a.body, "hello");
	assert_int_equal(a.answer.status, 200);
	assert_int_equal(a.answer.len, 5);
	assert_int_equal(a.answer.range_first, -1);
	assert_int_equal(a.answer.retry_after_ms, -1);
	assert_string_equal(a.answer.validator, "");
	assert_non_null(strstr(server->got, "GET /a?b=c HTTP/1.1\r\n"));
	assert_non_null(strstr(server->got, "\r\nUser-Agent: etchlet/"));
	assert_null(strstr(server->got, "Encoding"));
	assert_null(strstr(server->got, "Cookie"));
	ask_run(&b);
	assert_string_equal(b.body, "hello");
	assert_non_null(strstr(server->got, "GET / HTTP/1.1\r\n"));
	assert_int_equal(server->accepted, 1);
}

static void a_connection_that_is_not_needed_is_closed(void **state)
{
	static const struct answer answers[] = {{.text = HELLO}, {.text = HELLO}};
	struct ask a = {.err = 1}, b = {.err = 1};

	(void)state;
	serve(answers, 2);
	ask_to(&a, "http://127.0.0.1:%u/", server->port);
	memcpy(b.url, a.url, sizeof(b.url));
	ask_run(&a);
	assert_int_equal(server->open, 1);
	now_offset_ms += CONFIG_HTTP_IDLE_S * 1000 - 500;
	turn_for(NULL, 10);
	assert_int_equal(server->open, 1);
	now_offset_ms += 2000;
	turn_for(NULL, 20);
	assert_int_equal(server->open, 0);
	ask_run(&b);
	assert_int_equal(b.err, 0);
}

static void no_more_than_two_connections_are_kept(void **state)
{
	static const struct answer answers[] = {{.text = HELLO, .step = 40, .step_ms = 30},
		{.text = HELLO, .step = 40, .step_ms = 30},
		{.text = HELLO, .step = 40, .step_ms = 30},
		{.text = HELLO, .step = 40, .step_ms = 30}};
	struct ask a[4] = {{.err = 1}};

	(void)state;
	serve(answers, 4);
	for (int i = 0; i < 4; i++) {
		ask_to(&a[i], "http://127.0.0.1:%u/%d", server->port, i);
		ask_start(&a[i]);
	}
	for (int i = 0; i < 4; i++) {
		turn_for(&a[i].done, 5000);
		assert_int_equal(a[i].err, 0);
	}
	assert_int_equal(server->accepted, 4);
	turn_for(NULL, 50);
	assert_true(server->open <= 2);
}

static void any_split_gives_the_same(void **state)
{
	static const char *const text =
		OK_HEAD "Transfer-Encoding: chunked\r\nETag: \"x\"\r\n\r\n"
			"3\r\nhel\r\n2;a=b\r\nlo\r\n0\r\nTrailer: 1\r\n\r\n";

	(void)state;
	for (unsigned step = 1; step < 90; step += step < 8 ? 1 : 9) {
		struct answer one = {.text = text, .step = step};
		struct ask a = {.err = 1};

		serve(&one, 1);
		ask_to(&a, "http://127.0.0.1:%u/", server->port);
		ask_run(&a);
		assert_int_equal(a.err, 0);
		assert_string_equal(a.body, "hello");
		assert_int_equal(a.answer.len, -1);
		assert_string_equal(a.answer.validator, "\"x\"");
		server_close(server);
		server = NULL;
	}
}

static void a_post_is_streamed(void **state)
{
	static const struct answer answers[] = {
		{.text = "HTTP/1.1 204 No Content\r\n\r\n"}, {.text = HELLO}, {.text = HELLO}};
	static const char *const headers[] = {
		"Content-Type: application/x-ndjson", "Etchlet-Revision: 5", NULL};
	struct ask a = {.content = "{\"a\":1}\n",
		.r = {.is_post = true, .body_len = 8, .headers = headers}};
	struct ask b = {.r = {.is_post = true, .body_len = 300000, .bearer = "tok"}};
	struct ask c = {.r = {.is_post = true}};

	(void)state;
	serve(answers, 3);
	ask_to(&a, "http://127.0.0.1:%u/hook", server->port);
	memcpy(b.url, a.url, sizeof(b.url));
	memcpy(c.url, a.url, sizeof(c.url));
	ask_run(&a);
	assert_int_equal(a.err, 0);
	assert_int_equal(a.answer.status, 204);
	assert_int_equal(a.r.sent, 8);
	assert_non_null(strstr(server->got, "POST /hook HTTP/1.1\r\n"));
	assert_non_null(strstr(server->got, "\r\nContent-Length: 8\r\n"));
	assert_non_null(strstr(server->got, "\r\nContent-Type: application/x-ndjson\r\n"));
	assert_non_null(strstr(server->got, "\r\nEtchlet-Revision: 5\r\n"));
	assert_non_null(strstr(server->got, "\r\n\r\n{\"a\":1}\n"));
	assert_null(strstr(server->got, "Expect"));
	server->got_len = 0;
	ask_run(&b);
	assert_int_equal(b.err, 0);
	assert_int_equal(b.r.sent, 300000);
	assert_true(server->got_len > 300000);
	assert_null(strstr(server->got, "Content-Type"));
	assert_null(strstr(server->got, "Expect"));
	assert_non_null(strstr(server->got, "\r\nAuthorization: Bearer tok\r\n"));
	server->got_len = 0;
	ask_run(&c);
	assert_int_equal(c.err, 0);
	assert_non_null(strstr(server->got, "\r\nContent-Length: 0\r\n"));
}

static void a_post_on_a_connection_that_was_closed_is_sent_again(void **state)
{
	static const struct answer answers[] = {
		{.text = HELLO}, {.text = "", .is_reset = true}, {.text = HELLO}};
	struct ask a = {.err = 1},
		   b = {.content = "0123456789", .r = {.is_post = true, .body_len = 10}};

	(void)state;
	serve(answers, 3);
	ask_to(&a, "http://127.0.0.1:%u/", server->port);
	memcpy(b.url, a.url, sizeof(b.url));
	ask_run(&a);
	ask_run(&b);
	assert_int_equal(b.err, 0);
	assert_int_equal(b.r.sent, 10);
	assert_int_equal(server->accepted, 2);
	assert_int_equal(count_of(server->got, "0123456789"), 2);
}

static void what_the_headers_say_is_told(void **state)
{
	static const struct {
		const char *lines;
		int64_t len, range_first, range_total, retry_after_ms;
		const char *validator;
	} rows[] = {
		{"Content-Length: 0\r\nETag: \"a\"\r\n", 0, -1, -1, -1, "\"a\""},
		{"Content-Length: 0\r\nETag: W/\"a\"\r\n", 0, -1, -1, -1, ""},
		{"Content-Length: 0\r\nETag: a\r\n", 0, -1, -1, -1, ""},
		{"Content-Length: 0\r\nLast-Modified: Sun, 06 Nov 1994 08:49:37 GMT\r\nETag:\"b\" \r\n",
			0, -1, -1, -1, "\"b\""},
		{"Content-Length: 0\r\nETag: W/\"b\"\r\nLast-Modified: Sun, 06 Nov 1994 08:49:37 GMT\r\n",
			0, -1, -1, -1, "Sun, 06 Nov 1994 08:49:37 GMT"},
		{"Content-Length: 0\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\nLast-Modified: Sun, 06 Nov 1994 08:49:37 GMT\r\n",
			0, -1, -1, -1, ""},
		{"Content-Length: 0\r\nETag: \"a\tb\"\r\n", 0, -1, -1, -1, ""},
		{"Content-Length: 0\r\nETag: \"a\x7f\"\r\n", 0, -1, -1, -1, ""},
		{"Content-Length: 0\r\nLast-Modified: Sun,\t06 Nov 1994 08:49:37 GMT\r\n", 0, -1,
			-1, -1, ""},
		{"Content-Length: 0\r\nContent-Range: bytes 10-19/30\r\n", 0, 10, 30, -1, ""},
		{"Content-Length: 0\r\ncontent-range: bytes 10-19/*\r\n", 0, 10, -1, -1, ""},
		{"Content-Length: 0\r\nContent-Range: bytes */30\r\n", 0, -1, 30, -1, ""},
		{"Content-Length: 0\r\nContent-Range: bytes 20-19/30\r\n", 0, -1, -1, -1, ""},
		{"Content-Length: 0\r\nContent-Range: bytes 10-30/30\r\n", 0, -1, -1, -1, ""},
		{"Content-Length: 0\r\nContent-Range: bytes -19/30\r\n", 0, -1, -1, -1, ""},
		{"Content-Length: 0\r\nContent-Range: lines 1-2/3\r\n", 0, -1, -1, -1, ""},
		{"Content-Length: 0\r\nContent-Range: bytes 10-19/30x\r\n", 0, -1, -1, -1, ""},
		{"Content-Length: 0\r\nRetry-After: 120\r\n", 0, -1, -1, 120000, ""},
		{"Content-Length: 0\r\nRetry-After: 99999999999999999999\r\n", 0, -1, -1, INT64_MAX,
			""},
		{"Content-Length: 0\r\nRetry-After: soon\r\n", 0, -1, -1, -1, ""},
		{"Content-Length: 0\r\nRetry-After: -5\r\n", 0, -1, -1, -1, ""},
		{"Content-Length: 0\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\nRetry-After: Sun, 06 Nov 1994 08:50:37 GMT\r\n",
			0, -1, -1, 60000, ""},
		{"Content-Length: 0\r\nRetry-After: Sun, 06 Nov 1994 08:50:37 GMT\r\n", 0, -1, -1,
			0, ""},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		char text[512];
		struct answer one = {.text = text};
		struct ask a = {.err = 1};

		snprintf(text, sizeof(text), "HTTP/1.1 503 Later\r\n%s\r\n", rows[i].lines);
		serve(&one, 1);
		ask_to(&a, "http://127.0.0.1:%u/", server->port);
		ask_run(&a);
		assert_int_equal(a.err, 0);
		assert_int_equal(a.answer.status, 503);
		assert_int_equal(a.answer.len, rows[i].len);
		assert_int_equal(a.answer.range_first, rows[i].range_first);
		assert_int_equal(a.answer.range_total, rows[i].range_total);
		assert_int_equal(a.answer.retry_after_ms, rows[i].retry_after_ms);
		assert_string_equal(a.answer.validator, rows[i].validator);
		server_close(server);
		server = NULL;
	}
}

static void an_interim_answer_counts_for_nothing(void **state)
{
	static const struct answer one = {
		.text = "HTTP/1.1 103 Early\r\nETag: \"no\"\r\nRetry-After: 5\r\n\r\n" HELLO};
	struct ask a = {.err = 1};

	(void)state;
	serve(&one, 1);
	ask_to(&a, "http://127.0.0.1:%u/", server->port);
	ask_run(&a);
	assert_int_equal(a.err, 0);
	assert_int_equal(a.begun, 1);
	assert_string_equal(a.answer.validator, "");
	assert_int_equal(a.answer.retry_after_ms, -1);
	assert_string_equal(a.body, "hello");
}

/* -- answers that are none -------------------------------------------------------------------- */

static void what_is_wrong_is_told(void **state)
{
	static char endless[40000];
	static const struct {
		struct answer answer;
		int err;
		const char *words;
	} rows[] = {
		{{.text = OK_HEAD "Content-Length: 9\r\n\r\nhello", .is_closing = true}, ERR_CLOSED,
			"the answer breaks off after 5 of 9 bytes"},
		{{.text = OK_HEAD "Transfer-Encoding: chunked\r\n\r\n5\r\nhel", .is_closing = true},
			ERR_CLOSED, "breaks off"},
		{{.text = OK_HEAD "Content-Le", .is_closing = true}, ERR_CLOSED,
			"breaks off in its headers"},
		{{.text = "", .is_closing = true}, ERR_CLOSED, "without an answer"},
		{{.text = "", .is_reset = true}, ERR_RESET, "reset"},
		{{.text = "SSH-2.0-OpenSSH\r\n", .is_closing = true}, ERR_HTTP, "no HTTP"},
		{{.text = OK_HEAD "Transfer-Encoding: chunked\r\n\r\nzz\r\n", .is_closing = true},
			ERR_CLOSED, "breaks off"},
		{{.text = OK_HEAD "Content-Length: 1\r\nContent-Length: 2\r\n\r\nab",
			 .is_closing = true},
			ERR_HTTP, "no HTTP"},
		{{.text = endless}, ERR_HTTP, "headers of the answer are too long"},
		{{.text = OK_HEAD "X: ", .more = 1 << 20}, ERR_HTTP, ""},
		{{.text = "HTTP/9.9 200 OK\r\n\r\n", .is_closing = true}, ERR_HTTP, "no HTTP"},
	};

	(void)state;
	snprintf(endless, sizeof(endless), OK_HEAD);
	while (strlen(endless) < sizeof(endless) - 100)
		snprintf(endless + strlen(endless), 100,
			"X-Header: of some length, and again and again\r\n");
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct ask a = {.err = 1};

		serve(&rows[i].answer, 1);
		ask_to(&a, "http://user:secret@127.0.0.1:%u/a?token=secret", server->port);
		ask_run(&a);
		expect_error_at(i, &a, rows[i].err, rows[i].words);
		assert_null(strstr(a.why, "secret"));
		assert_null(strstr(a.why, "user"));
		assert_non_null(strstr(a.why, "/a?...: "));
		assert_non_null(
			strstr(server->got, "\r\nAuthorization: Basic dXNlcjpzZWNyZXQ=\r\n"));
		server_close(server);
		server = NULL;
	}
}

static void what_the_owner_does_not_want_ends_it(void **state)
{
	static const struct answer answers[] = {
		{.text = HELLO}, {.text = HELLO}, {.text = HELLO}, {.text = HELLO}};
	struct ask a = {.begin_err = ERR_NOSPACE}, b = {.body_err = ERR_IO},
		   c = {.read_err = ERR_NOENT, .r = {.is_post = true, .body_len = 5}};

	(void)state;
	serve(answers, 4);
	ask_to(&a, "http://127.0.0.1:%u/", server->port);
	memcpy(b.url, a.url, sizeof(b.url));
	memcpy(c.url, a.url, sizeof(c.url));
	ask_run(&a);
	expect_error(&a, ERR_NOSPACE, "no space left");
	assert_int_equal(a.len, 0);
	ask_run(&b);
	expect_error(&b, ERR_IO, "input/output error");
	ask_run(&c);
	expect_error(&c, ERR_NOENT, "no such file");
}

static void nobody_there_is_told(void **state)
{
	struct ask a = {.err = 1}, b = {.err = 1}, c = {.err = 1},
		   d = {.r = {.unix_path = "/tmp/etchlet-no-such-socket"}};
	uint16_t port;

	(void)state;
	serve(NULL, 0);
	port = server->port;
	server_close(server);
	server = NULL;
	ask_to(&a, "http://127.0.0.1:%u/", port);
	ask_run(&a);
	expect_error(&a, ERR_REFUSED, "connection refused");
	ask_to(&b, "http://no-such-name.invalid/x");
	ask_run(&b);
	expect_error(&b, ERR_DNS,
		"http://no-such-name.invalid/x: the name no-such-name.invalid not resolved");
	ask_to(&c, "http://localhost:%u/", port);
	ask_run(&c);
	expect_error(&c, ERR_REFUSED, "connection refused");
	ask_to(&d, "http://local/x");
	ask_run(&d);
	expect_error(&d, ERR_NOENT, "unix:/tmp/etchlet-no-such-socket /x: no such file");
}

static void a_name_is_resolved_by_the_port(void **state)
{
	static const struct answer answers[] = {{.text = HELLO}, {.text = HELLO}};
	struct ask a = {.err = 1}, b = {.err = 1};

	(void)state;
	serve(answers, 2);
	ask_to(&a, "http://localhost:%u/", server->port);
	ask_to(&b, "http://LOCALHOST:%u/", server->port);
	ask_run(&a);
	assert_int_equal(a.err, 0);
	assert_non_null(strstr(server->got, "\r\nHost: localhost:"));
	ask_run(&b);
	assert_int_equal(b.err, 0);
}

static void a_local_socket_is_asked(void **state)
{
	static const struct answer one = {.text = HELLO};
	struct ask a = {.r = {.unix_path = "/tmp/etchlet-test-http.sock"}};

	(void)state;
	unlink(a.r.unix_path);
	server = server_listen(&loop, AF_UNIX, a.r.unix_path);
	server->answers = &one;
	server->count = 1;
	ask_to(&a, "http://no-such-name.invalid/x");
	ask_run(&a);
	assert_int_equal(a.err, 0);
	assert_non_null(strstr(server->got, "GET /x HTTP/1.1\r\nHost: no-such-name.invalid\r\n"));
	unlink(a.r.unix_path);
}

static void urls_that_cannot_be_asked_are_refused(void **state)
{
	static const struct {
		const char *url;
		int err;
	} rows[] = {{"ftp://h/", ERR_CONFIG}, {"h/x", ERR_CONFIG}, {"", ERR_CONFIG},
		{"http://", ERR_CONFIG}, {"http://h:0x/", ERR_CONFIG},
		{"http://h:99999/", ERR_CONFIG}, {"http://h/a b", ERR_CONFIG},
		{"file:///etc/passwd", ERR_CONFIG}, {"http://h/\r\nX: y", ERR_CONFIG},
		{"http://[::1/", ERR_CONFIG}, {"http://h/", 0}, {"HTTP://h:1/?x#y", 0},
		{"http://[fe80::1%25eth0]:8080/", 0},
		{"https://u:p@h/", IS_ENABLED(CONFIG_NET_TLS) ? 0 : ERR_UNSUPPORTED}};
	static const char *const bad_headers[] = {"A: b\r\nC: d", NULL};
	struct ask a = {.r = {.headers = bad_headers}}, b = {.r = {.bearer = "a\nb"}};
	char too_long[HTTP_URL_MAX + 8];

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		assert_int_equal(http_check_url(rows[i].url, why, sizeof(why)), rows[i].err);
	memset(too_long, 'a', sizeof(too_long));
	memcpy(too_long, "http://h/", 9);
	too_long[HTTP_URL_MAX] = '\0';
	assert_int_equal(http_check_url(too_long, why, sizeof(why)), ERR_LIMIT);
	too_long[HTTP_URL_MAX - 1] = '\0';
	assert_int_equal(http_check_url(too_long, why, sizeof(why)), 0);
	ask_to(&a, "ftp://h/");
	ask_set_up(&a);
	assert_int_equal(http_start(http, &a.r, why, sizeof(why)), ERR_CONFIG);
	ask_to(&a, "http://127.0.0.1/");
	assert_int_equal(http_start(http, &a.r, why, sizeof(why)), ERR_CONFIG);
	ask_set_up(&b);
	ask_to(&b, "http://127.0.0.1/");
	assert_int_equal(http_start(http, &b.r, why, sizeof(why)), ERR_CONFIG);
	assert_false(http_is_under_way(&b.r));
}

/* -- redirects -------------------------------------------------------------------------------- */

#define MOVED(status, where) \
	"HTTP/1.1 " status " Moved\r\nLocation: " where "\r\nContent-Length: 4\r\n\r\ngone"

static void redirects_are_followed(void **state)
{
	static const char *const headers[] = {
		"Range: bytes=5-", "If-Range: \"x\"", "Authorization: Mine", NULL};
	char elsewhere[256];
	struct answer answers[] = {{.text = MOVED("302", "b/c?d")}, {.text = MOVED("307", "../e")},
		{.text = elsewhere}, {.text = HELLO}};
	struct ask a = {.r = {.redirects = 3, .headers = headers}};

	(void)state;
	serve(answers, 4);
	snprintf(elsewhere, sizeof(elsewhere),
		"HTTP/1.1 301 M\r\nLocation: http://localhost:%u/f g#h\r\n\r\n", server->port);
	answers[2].is_closing = true;
	ask_to(&a, "http://u:p@127.0.0.1:%u/a/x", server->port);
	ask_run(&a);
	assert_int_equal(a.err, 0);
	assert_int_equal(a.begun, 1);
	assert_string_equal(a.body, "hello");
	assert_non_null(strstr(server->got, "GET /a/b/c?d HTTP/1.1\r\n"));
	assert_non_null(strstr(server->got, "GET /a/e HTTP/1.1\r\n"));
	assert_non_null(strstr(server->got, "GET /f%20g HTTP/1.1\r\n"));
	assert_int_equal(count_of(server->got, "\r\nRange: bytes=5-\r\n"), 4);
	assert_int_equal(count_of(server->got, "\r\nIf-Range: \"x\"\r\n"), 4);
	/* To another host no login goes along. */
	assert_int_equal(count_of(server->got, "\r\nAuthorization: "), 3);
}

static void a_login_does_not_come_back(void **state)
{
	char there[256], back[256];
	struct answer answers[] = {{.text = there}, {.text = back}, {.text = HELLO}};
	struct ask a = {.r = {.redirects = 3, .bearer = "tok"}};

	(void)state;
	serve(answers, 3);
	snprintf(there, sizeof(there),
		"HTTP/1.1 301 M\r\nLocation: http://localhost:%u/\r\nContent-Length: 0\r\n\r\n",
		server->port);
	snprintf(back, sizeof(back),
		"HTTP/1.1 301 M\r\nLocation: http://x:y@127.0.0.1:%u/\r\nContent-Length: 0\r\n\r\n",
		server->port);
	ask_to(&a, "http://127.0.0.1:%u/", server->port);
	ask_run(&a);
	assert_int_equal(a.err, 0);
	assert_int_equal(count_of(server->got, "Authorization: "), 1);
}

static void redirects_that_are_not_followed_are_told(void **state)
{
	static const struct {
		const char *text;
		bool is_post;
		unsigned redirects;
		const char *words;
	} rows[] = {
		{MOVED("302", "/loop"), false, 2, "which is one too many"},
		{MOVED("302", "/x"), false, 0, "/x, which is not followed"},
		{MOVED("307", "/x"), true, 5, "/x, which a POST does not follow"},
		{MOVED("307", "http://u:secret@h/x?t=secret"), true, 5,
			"(307) to http://h/x?..., which"},
		{MOVED("302", "//u:secret@h/?t=secret"), false, 0,
			"(302) to http://h/?..., which is not"},
		{MOVED("302", "ftp://u:secret@h/x"), true, 5,
			"(302) to what cannot be asked, which"},
		{MOVED("302", "ftp://127.0.0.1/x"), false, 5, "neither http nor https"},
		{MOVED("302", "http://127.0.0.1:99999/x"), false, 5, "no URL"},
		{MOVED("302", "file:///etc/passwd"), false, 5, "neither http nor https"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct answer answers[3] = {
			{.text = rows[i].text}, {.text = rows[i].text}, {.text = rows[i].text}};
		struct ask a = {.r = {.redirects = rows[i].redirects, .is_post = rows[i].is_post}};

		serve(answers, 3);
		ask_to(&a, "http://127.0.0.1:%u/", server->port);
		ask_run(&a);
		expect_error_at(i, &a, ERR_HTTP, rows[i].words);
		assert_null(strstr(a.why, "secret"));
		assert_int_equal(a.begun, 0);
		server_close(server);
		server = NULL;
	}
}

static void the_body_of_a_redirect_may_have_no_end(void **state)
{
	static const struct answer answers[] = {
		{.text = "HTTP/1.1 302 F\r\nLocation: /b\r\n\r\n", .more = 1ULL << 40},
		{.text = HELLO}};
	struct ask a = {.r = {.redirects = 1}};

	(void)state;
	serve(answers, 2);
	ask_to(&a, "http://127.0.0.1:%u/", server->port);
	ask_run(&a);
	assert_int_equal(a.err, 0);
	assert_string_equal(a.body, "hello");
}

/* Nor may it come for ever: no limit of the owner's holds for it. */
static void the_body_of_a_redirect_may_be_slow(void **state)
{
	static const struct answer answers[] = {{.text = "HTTP/1.1 302 F\r\nLocation: /b\r\n\r\n",
							.more = 10000,
							.step = 50,
							.step_ms = 20},
		{.text = HELLO}};
	struct ask a = {.r = {.redirects = 1, .timeout_ms = 300}};
	struct ask b = {.r = {.is_post = true, .timeout_ms = 300}};
	int64_t began = port_now_ms();

	(void)state;
	serve(answers, 2);
	ask_to(&a, "http://127.0.0.1:%u/", server->port);
	ask_run(&a);
	assert_int_equal(a.err, 0);
	assert_string_equal(a.body, "hello");
	server->at = 0;
	memcpy(b.url, a.url, sizeof(b.url));
	ask_run(&b);
	expect_error(&b, ERR_HTTP, "a POST does not follow");
	assert_int_equal(b.r.answer.status, 302);
	assert_true(port_now_ms() - began < 2500);
}

static void a_status_of_redirects_without_a_place_is_an_answer(void **state)
{
	static const struct answer answers[] = {
		{.text = "HTTP/1.1 302 F\r\nContent-Length: 0\r\n\r\n"},
		{.text = "HTTP/1.1 304 N\r\nLocation: /x\r\n\r\n"}};
	struct ask a = {.r = {.redirects = 1}}, b = {.r = {.redirects = 1}};

	(void)state;
	serve(answers, 2);
	ask_to(&a, "http://127.0.0.1:%u/", server->port);
	memcpy(b.url, a.url, sizeof(b.url));
	ask_run(&a);
	assert_int_equal(a.err, 0);
	assert_int_equal(a.answer.status, 302);
	ask_run(&b);
	assert_int_equal(b.err, 0);
	assert_int_equal(b.answer.status, 304);
}

/* -- time ------------------------------------------------------------------------------------- */

static void what_takes_too_long_is_given_up(void **state)
{
	static const struct {
		struct answer answer;
		struct http_request r;
		const char *words;
	} rows[] = {
		{{.text = "", .is_mute = true}, {.timeout_ms = 200}, "no answer for 200 ms"},
		{{.text = HELLO, .step = 1, .step_ms = 60}, {.timeout_ms = 200},
			"no answer for 200 ms"},
		{{.text = HELLO, .is_deaf = true},
			{.timeout_ms = 200, .is_post = true, .body_len = 64 << 20},
			"nothing could be sent for 200 ms"},
		{{.text = OK_HEAD "Content-Length: 9\r\n\r\nhello"}, {.timeout_ms = 200},
			"comes too slowly"},
		{{.text = OK_HEAD "\r\n", .more = 1000, .step = 20, .step_ms = 20},
			{.timeout_ms = 300, .slow_bytes = 2000}, "comes too slowly"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct ask a = {.r = rows[i].r};
		int64_t began = port_now_ms();

		serve(&rows[i].answer, 1);
		ask_to(&a, "http://127.0.0.1:%u/", server->port);
		ask_run(&a);
		expect_error_at(i, &a, ERR_TIMEOUT, rows[i].words);
		assert_true(port_now_ms() - began >= 200);
		assert_true(port_now_ms() - began < 2000);
		server_close(server);
		server = NULL;
	}
}

static void what_moves_on_is_not_given_up(void **state)
{
	static const struct answer one = {
		.text = OK_HEAD "\r\n", .more = 400, .step = 20, .step_ms = 40, .is_closing = true};
	struct ask a = {.r = {.timeout_ms = 200}}, b = {.r = {.timeout_ms = 200, .slow_bytes = 50}};

	(void)state;
	serve(&one, 1);
	ask_to(&a, "http://127.0.0.1:%u/", server->port);
	memcpy(b.url, a.url, sizeof(b.url));
	ask_run(&a);
	assert_int_equal(a.err, 0);
	assert_int_equal(a.len, 400);
	server->at = 0;
	ask_run(&b);
	assert_int_equal(b.err, 0);
	assert_int_equal(b.len, 400);
}

#ifdef CONFIG_NET_PROXY

static void proxies_are_asked(void **state)
{
	static const struct answer answers[] = {{.text = HELLO},
		{.text = "HTTP/1.1 407 P\r\nContent-Length: 3\r\n\r\nno!"}, {.text = HELLO},
		{.text = "HTTP/1.1 407 P\r\nContent-Length: 3\r\n\r\nno!", .is_closing = true},
		{.text = "HTTP/1.1 403 P\r\nContent-Length: 3\r\n\r\nno!", .is_closing = true}};
	struct proxy proxy = {.host = "localhost", .user = "u", .password = "p:w"};
	struct proxy_set set = {.configured = &proxy};
	struct http_cfg cfg = {.loop = &loop, .proxies = &set};
	struct ask a = {.url = "http://no-such-name.invalid/x"},
		   b = {.url = "http://no-such-name.invalid/x"}, c = {.err = 1},
		   d = {.url = "https://no-such-name.invalid/x"},
		   e = {.url = "https://no-such-name.invalid/x"};

	(void)state;
	serve(answers, 5);
	proxy.port = server->port;
	http_close(http);
	assert_int_equal(http_open(&http, &cfg, why, sizeof(why)), 0);
	ask_run(&a);
	assert_int_equal(a.err, 0);
	assert_non_null(strstr(server->got, "GET http://no-such-name.invalid/x HTTP/1.1\r\n"));
	assert_non_null(strstr(server->got, "\r\nProxy-Authorization: Basic dTpwOnc=\r\n"));
	ask_run(&b);
	expect_error(&b, ERR_AUTH, "the proxy wants a login");
	assert_null(strstr(b.why, "p:w"));
	/* One that need not be asked. */
	set.no_proxy = "127.0.0.1";
	server->got_len = 0;
	ask_to(&c, "http://127.0.0.1:%u/y", server->port);
	ask_run(&c);
	assert_int_equal(c.err, 0);
	assert_non_null(strstr(server->got, "GET /y HTTP/1.1\r\n"));
	assert_null(strstr(server->got, "Proxy-Authorization"));
	if (!IS_ENABLED(CONFIG_NET_TLS))
		return;
	server->got_len = 0;
	ask_run(&d);
	expect_error(&d, ERR_AUTH, "the proxy wants a login");
	assert_non_null(strstr(server->got, "CONNECT no-such-name.invalid:443 HTTP/1.1\r\n"));
	ask_run(&e);
	expect_error(&e, ERR_UNREACHABLE, "the proxy refused with status 403");
	assert_non_null(strstr(e.why, " through proxy http://localhost:"));
	assert_int_equal(e.begun, 0);
}

static void the_environment_names_no_proxy(void **state)
{
	static const struct answer answers[] = {{.text = HELLO}};
	struct ask a = {.err = 1};

	(void)state;
	serve(answers, 1);
	setenv("http_proxy", "http://127.0.0.1:1", 1);
	setenv("all_proxy", "http://127.0.0.1:1", 1);
	ask_to(&a, "http://127.0.0.1:%u/", server->port);
	ask_run(&a);
	assert_int_equal(a.err, 0);
	unsetenv("http_proxy");
	unsetenv("all_proxy");
}

#endif

static void connecting_has_an_end(void **state)
{
	struct ask a = {.r = {.connect_timeout_ms = 150}};
	struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof(in);
	int full[4], fd = socket(AF_INET, SOCK_STREAM, 0);

	(void)state;
	/* A queue that is full answers nobody. */
	assert_int_equal(bind(fd, (void *)&in, sizeof(in)), 0);
	assert_int_equal(listen(fd, 0), 0);
	assert_int_equal(getsockname(fd, (void *)&in, &len), 0);
	for (int i = 0; i < 4; i++) {
		full[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
		(void)connect(full[i], (void *)&in, sizeof(in));
	}
	poll(NULL, 0, 20);
	ask_to(&a, "http://127.0.0.1:%u/", ntohs(in.sin_port));
	ask_run(&a);
	expect_error(&a, ERR_TIMEOUT, "no connection within 150 ms");
	for (int i = 0; i < 4; i++)
		close(full[i]);
	close(fd);
}

static void the_rate_is_kept_and_can_be_changed(void **state)
{
	static const struct answer one = {
		.text = OK_HEAD "Content-Length: 200000\r\n\r\n", .more = 200000};
	struct ask a = {.r = {.rate_bytes_s = 400000, .timeout_ms = 100}},
		   b = {.r = {.rate_bytes_s = 20000, .timeout_ms = 5000}, .new_rate = 400000},
		   c = {.r = {.rate_bytes_s = 1000, .timeout_ms = 30000}}, d = {.new_rate = 400000};
	int64_t began = port_now_ms();

	(void)state;
	serve(&one, 1);
	ask_to(&a, "http://127.0.0.1:%u/", server->port);
	memcpy(b.url, a.url, sizeof(b.url));
	memcpy(c.url, a.url, sizeof(c.url));
	memcpy(d.url, a.url, sizeof(d.url));
	ask_run(&a);
	assert_int_equal(a.err, 0);
	assert_int_equal(a.len, 200000);
	assert_in_range(port_now_ms() - began, 250, 1500);
	/* From within the first piece. */
	began = port_now_ms();
	server->at = 0;
	ask_run(&b);
	assert_int_equal(b.err, 0);
	assert_int_equal(b.len, 200000);
	assert_in_range(port_now_ms() - began, 250, 3000);
	/* From outside, while it is held. */
	began = port_now_ms();
	server->at = 0;
	ask_start(&c);
	turn_for(NULL, 200);
	assert_true(c.len > 0 && c.len < 100000);
	http_set_rate(&c.r, 0);
	turn_for(&c.done, 2000);
	assert_int_equal(c.err, 0);
	assert_int_equal(c.len, 200000);
	/* A limit where there was none. */
	began = port_now_ms();
	server->at = 0;
	ask_run(&d);
	assert_int_equal(d.len, 200000);
	assert_in_range(port_now_ms() - began, 250, 1500);
}

/* -- ending it -------------------------------------------------------------------------------- */

static void it_can_be_stopped_at_any_moment(void **state)
{
	static const struct answer one = {.text = HELLO, .step = 7, .step_ms = 1};

	(void)state;
	for (int turns = 0; turns < 40; turns++) {
		struct ask a = {.r = {.is_post = turns % 2, .body_len = turns % 2 ? 40000 : 0}};

		serve(&one, 1);
		ask_to(&a, "http://%s:%u/", turns % 3 ? "127.0.0.1" : "localhost", server->port);
		ask_start(&a);
		for (int i = 0; i < turns && !a.done; i++)
			assert_int_equal(loop_turn(&loop), 0);
		http_stop(&a.r);
		http_stop(&a.r);
		assert_false(http_is_under_way(&a.r));
		turn_for(NULL, 2);
		assert_true(a.done <= 1);
		server_close(server);
		server = NULL;
	}
}

static void it_can_be_stopped_and_closed_from_within(void **state)
{
	static const struct answer answers[] = {{.text = HELLO}, {.text = HELLO}};

	(void)state;
	for (int i = 0; i < 6; i++) {
		struct ask a = {.stop_at = STOP_IN_READ + (unsigned)i % 3, .want_close = i >= 3};
		struct ask other = {.err = 1};

		a.r.is_post = a.stop_at == STOP_IN_READ;
		a.r.body_len = a.r.is_post ? 50000 : 0;
		serve(answers, 2);
		ask_to(&a, "http://127.0.0.1:%u/", server->port);
		memcpy(other.url, a.url, sizeof(a.url));
		ask_start(&a);
		if (a.want_close)
			ask_start(&other);
		turn_for(NULL, 50);
		assert_int_equal(a.done, 0);
		assert_false(http_is_under_way(&a.r));
		assert_false(http_is_under_way(&other.r));
		if (!http)
			open_with(NULL, NULL, NULL);
		else
			ask_run(&other);
		server_close(server);
		server = NULL;
	}
}

static void it_can_begin_again_from_within_done(void **state)
{
	static const struct answer answers[] = {{.text = HELLO}, {.text = HELLO}};
	struct ask b = {.err = 1}, a = {.again = &b};

	(void)state;
	serve(answers, 2);
	ask_to(&a, "http://127.0.0.1:%u/", server->port);
	memcpy(b.url, a.url, sizeof(b.url));
	ask_run(&a);
	turn_for(&b.done, 2000);
	assert_int_equal(b.err, 0);
}

static void reading_files_again_leaves_requests_alone(void **state)
{
	static const struct answer answers[] = {
		{.text = HELLO, .step = 10, .step_ms = 5}, {.text = HELLO}};
	struct ask a = {.err = 1}, b = {.err = 1};

	(void)state;
	serve(answers, 2);
	ask_to(&a, "http://127.0.0.1:%u/", server->port);
	memcpy(b.url, a.url, sizeof(b.url));
	ask_start(&a);
	turn_for(NULL, 10);
	assert_int_equal(http_reload(http, why, sizeof(why)), 0);
	turn_for(&a.done, 2000);
	assert_int_equal(a.err, 0);
	turn_for(NULL, 5);
	assert_int_equal(server->open, 0);
	ask_run(&b);
	assert_int_equal(b.err, 0);
	assert_int_equal(server->accepted, 2);
}

/* -- TLS -------------------------------------------------------------------------------------- */

#ifdef CONFIG_NET_TLS

#include "tls_servers.h"

static char *const specs[] = {"/usr/bin/python3", "test/unit/tls_server.py", tls_dir,
	"server:server:http", "tls12:server:http:1.2", "tls13:server:http:1.3", "other:other:http",
	"expired:expired:http", "future:future:http", "client:server:http:client",
	"weak:weak:http:weak", "mute:server:mute", "plain:server:plain",
	"dribble:server:http:dribble", NULL};

static int tls_set_up_all(void **state)
{
	(void)state;
	return tls_servers_start(specs);
}

static int tls_tear_down_all(void **state)
{
	(void)state;
	tls_servers_stop();
	return 0;
}

static void ask_tls(struct ask *a, const char *name, const char *host)
{
	memset(a, 0, sizeof(*a));
	ask_to(a, "https://%s:%u/x", host, port_of(name));
	a->r.timeout_ms = a->r.connect_timeout_ms = 2000;
	ask_run(a);
}

static void servers_are_verified(void **state)
{
	struct ask a;

	(void)state;
	http_close(http);
	open_with(path("ca.pem"), NULL, NULL);
	ask_tls(&a, "server", "localhost");
	assert_int_equal(a.err, 0);
	assert_non_null(strstr(a.body, "sni=localhost client=None"));
	ask_tls(&a, "server", "127.0.0.1");
	assert_int_equal(a.err, 0);
	/* A literal is no server name. */
	assert_non_null(strstr(a.body, "sni=None"));
	ask_tls(&a, "tls12", "localhost");
	assert_non_null(strstr(a.body, "TLSv1.2"));
	ask_tls(&a, "dribble", "localhost");
	assert_int_equal(a.err, 0);
	ask_tls(&a, "tls13", "localhost");
	if (IS_ENABLED(CONFIG_TLS_1_3))
		assert_non_null(strstr(a.body, "TLSv1.3"));
	else
		expect_error(&a, ERR_TLS, "protocol version");
	ask_tls(&a, "other", "localhost");
	expect_error(&a, ERR_TLS_VERIFY,
		"the name 'localhost' is not in the certificate (it has DNS:a, IP:1.2.3.4)");
	ask_tls(&a, "other", "127.0.0.1");
	expect_error(&a, ERR_TLS_VERIFY, "the address '127.0.0.1' is not in the certificate");
	ask_tls(&a, "expired", "localhost");
	expect_error(&a, ERR_TLS_VERIFY, "has expired on 2021-01-01");
	ask_tls(&a, "future", "localhost");
	expect_error(&a, ERR_TLS_VERIFY, "is not valid before 2048-01-01");
	ask_tls(&a, "weak", "localhost");
	expect_error(&a, ERR_TLS_VERIFY, "too weak");
	ask_tls(&a, "client", "localhost");
	expect_error(&a, ERR_TLS_VERIFY, "it wants a client certificate");
	ask_tls(&a, "plain", "localhost");
	expect_error(&a, ERR_TLS, "not TLS");
	ask_tls(&a, "mute", "localhost");
	expect_error(&a, ERR_TIMEOUT, "no connection within 2000 ms");
	/* A clock without a battery. */
	wall_offset_s = -port_wall_s();
	ask_tls(&a, "server", "localhost");
	assert_int_equal(a.err, 0);
	is_random_missing = true;
	ask_tls(&a, "server", "127.0.0.1");
	expect_error(&a, ERR_ENTROPY, "no random numbers yet");
	is_random_missing = false;
	ask_tls(&a, "server", "127.0.0.1");
	assert_int_equal(a.err, 0);
}

static void nobody_is_trusted_without_a_reason(void **state)
{
	struct ask a;

	(void)state;
	ask_tls(&a, "server", "localhost");
	expect_error(&a, ERR_TLS_VERIFY, "no trusted certificates are known");
	http_close(http);
	open_with(path("ca2.pem"), NULL, NULL);
	ask_tls(&a, "server", "localhost");
	expect_error(&a, ERR_TLS_VERIFY, "is signed by an unknown CA");
}

static void copy_file(const char *from, char *to)
{
	static char source[128];
	char *const copy[] = {"/bin/cp", source, to, NULL};

	snprintf(source, sizeof(source), "%s", path(from));
	run_to_end(copy);
}

static void our_certificate_is_shown_and_read_again(void **state)
{
	static char ca[128], cert[128], key[128];
	struct http_cfg cfg = {.loop = &loop, .cacert = ca, .cert = cert, .key = key};
	struct ask a;

	(void)state;
	snprintf(ca, sizeof(ca), "%s", path("ca.pem"));
	snprintf(cert, sizeof(cert), "%s", path("client.pem"));
	snprintf(key, sizeof(key), "%s", path("here.key"));
	http_close(http);
	assert_int_equal(http_open(&http, &cfg, why, sizeof(why)), ERR_NOENT);
	assert_null(http);
	assert_non_null(strstr(why, "here.key"));
	copy_file("client.key", key);
	open_with(ca, cert, key);
	ask_tls(&a, "client", "localhost");
	assert_int_equal(a.err, 0);
	assert_non_null(strstr(a.body, "client=client"));
	copy_file("client2.key", key);
	assert_int_equal(http_reload(http, why, sizeof(why)), ERR_CONFIG);
	assert_non_null(strstr(why, "does not fit"));
	ask_tls(&a, "client", "localhost");
	assert_int_equal(a.err, 0);
	copy_file("client.key", key);
	assert_int_equal(http_reload(http, why, sizeof(why)), 0);
	ask_tls(&a, "client", "localhost");
	assert_int_equal(a.err, 0);
}

/* Bundles are large: many watches read the same one at the start, and at a reload. */
static void files_are_read_once_for_all_who_ask_together(void **state)
{
	static char ca[128];
	struct http_cfg cfg = {.loop = &loop, .cacert = ca};
	struct http *others[2];
	size_t first, before;
	struct ask a;

	(void)state;
	snprintf(ca, sizeof(ca), "%s", path("ca.pem"));
	http_close(http);
	before = heap_bytes();
	open_with(ca, NULL, NULL);
	first = heap_bytes() - before;
	before = heap_bytes();
	assert_int_equal(http_open(&others[0], &cfg, why, sizeof(why)), 0);
	assert_true(heap_bytes() - before < first / 2);
	/* It stays with whoever has it. */
	http_close(others[0]);
	ask_tls(&a, "server", "localhost");
	assert_int_equal(a.err, 0);
	/* Later the files may be others. */
	turn_for(NULL, 2);
	before = heap_bytes();
	assert_int_equal(http_open(&others[0], &cfg, why, sizeof(why)), 0);
	assert_true(heap_bytes() - before > first / 2);
	before = heap_bytes();
	assert_int_equal(http_open(&others[1], &cfg, why, sizeof(why)), 0);
	assert_true(heap_bytes() - before < first / 2);
	http_close(others[0]);
	http_close(others[1]);
}

static void a_handshake_can_be_stopped_at_any_moment(void **state)
{
	(void)state;
	http_close(http);
	open_with(path("ca.pem"), NULL, NULL);
	for (int turns = 0; turns < 24; turns++) {
		struct ask a = {.err = 1};

		ask_to(&a, "https://127.0.0.1:%u/x", port_of("server"));
		ask_start(&a);
		for (int i = 0; i < turns && !a.done; i++)
			assert_int_equal(loop_turn(&loop), 0);
		http_stop(&a.r);
		turn_for(NULL, 1);
	}
}

static void https_does_not_lead_to_http(void **state)
{
	struct ask a = {.r = {.redirects = 5}};

	(void)state;
	http_close(http);
	open_with(path("ca.pem"), NULL, NULL);
	ask_to(&a, "https://127.0.0.1:%u/to-http", port_of("server"));
	ask_run(&a);
	expect_error(&a, ERR_HTTP, "from https to http, which is not followed");
}

#else
static int tls_set_up_all(void **state)
{
	(void)state;
	return 0;
}
#define tls_tear_down_all tls_set_up_all
#endif

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_get_is_answered_and_the_connection_is_kept),
		TEST(a_connection_that_is_not_needed_is_closed),
		TEST(no_more_than_two_connections_are_kept),
		TEST(any_split_gives_the_same),
		TEST(a_post_is_streamed),
		TEST(a_post_on_a_connection_that_was_closed_is_sent_again),
		TEST(what_the_headers_say_is_told),
		TEST(an_interim_answer_counts_for_nothing),
		TEST(what_is_wrong_is_told),
		TEST(what_the_owner_does_not_want_ends_it),
		TEST(nobody_there_is_told),
		TEST(a_name_is_resolved_by_the_port),
		TEST(a_local_socket_is_asked),
		TEST(urls_that_cannot_be_asked_are_refused),
		TEST(redirects_are_followed),
		TEST(a_login_does_not_come_back),
		TEST(redirects_that_are_not_followed_are_told),
		TEST(the_body_of_a_redirect_may_have_no_end),
		TEST(the_body_of_a_redirect_may_be_slow),
		TEST(a_status_of_redirects_without_a_place_is_an_answer),
		TEST(what_takes_too_long_is_given_up),
		TEST(what_moves_on_is_not_given_up),
		TEST(connecting_has_an_end),
#ifdef CONFIG_NET_PROXY
		TEST(proxies_are_asked),
		TEST(the_environment_names_no_proxy),
#endif
		TEST(the_rate_is_kept_and_can_be_changed),
		TEST(it_can_be_stopped_at_any_moment),
		TEST(it_can_be_stopped_and_closed_from_within),
		TEST(it_can_begin_again_from_within_done),
		TEST(reading_files_again_leaves_requests_alone),
#ifdef CONFIG_NET_TLS
		TEST(servers_are_verified),
		TEST(nobody_is_trusted_without_a_reason),
		TEST(our_certificate_is_shown_and_read_again),
		TEST(files_are_read_once_for_all_who_ask_together),
		TEST(a_handshake_can_be_stopped_at_any_moment),
		TEST(https_does_not_lead_to_http),
#endif
	};

	return cmocka_run_group_tests(tests, tls_set_up_all, tls_tear_down_all);
}
