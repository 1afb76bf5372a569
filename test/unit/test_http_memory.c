/* SPDX-License-Identifier: Apache-2.0 */
/* Each piece of memory that a request takes is refused once: it ends with an error, and nothing is left behind. */
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/err.h"
#include "base/heap.h"
#include "http_server.h"
#include "net/http.h"

/* -- a heap that runs out at a given moment ------------------------------------------------------- */

static size_t blocks, calls, refused_at;

static int is_refused(void)
{
	return ++calls == refused_at;
}

void *heap_calloc(size_t n, size_t size)
{
	void *p = is_refused() ? NULL : calloc(n ? n : 1, size ? size : 1);

	blocks += p != NULL;
	return p;
}

void *heap_malloc(size_t size)
{
	return heap_calloc(1, size);
}

void *heap_realloc(void *p, size_t size)
{
	void *now = is_refused() ? NULL : realloc(p, size ? size : 1);

	blocks += now && !p;
	return now;
}

char *heap_strdup(const char *s)
{
	char *copy = heap_calloc(1, strlen(s) + 1);

	if (copy)
		memcpy(copy, s, strlen(s) + 1);
	return copy;
}

void heap_free(void *p)
{
	blocks -= p != NULL;
	free(p);
}

size_t heap_bytes(void)
{
	return blocks;
}

size_t heap_peak_bytes(void)
{
	return blocks;
}

/* -- requests ------------------------------------------------------------------------------------- */

static struct loop loop;
static int done, result;

static ssize_t on_read(struct http_request *r, uint64_t offset, void *dst, size_t len)
{
	(void)r;
	(void)offset;
	memset(dst, 'p', len);
	return (ssize_t)len;
}

static void on_done(struct http_request *r, int err, const char *why)
{
	(void)r;
	(void)why;
	done++;
	result = err;
}

/* Whether it went well with the n-th piece refused; 0: none is. */
static bool run(size_t n, struct server *s, struct http_request *r)
{
	struct http_cfg cfg = {.loop = &loop};
	struct http *http = NULL;
	char why[HTTP_WHY_MAX];
	int err;
	int64_t end;

	s->at = 0;
	done = 0;
	calls = 0;
	refused_at = n;
	err = http_open(&http, &cfg, why, sizeof(why));
	if (!err)
		err = http_start(http, r, why, sizeof(why));
	if (err)
		if (err && err != ERR_NOMEM)
			fail_msg("%zu: %s: %s", n, err_name(err), why);
	loop_update_now(&loop);
	end = loop.now_ms + 5000;
	while (!err && !done && loop.now_ms < end)
		assert_int_equal(loop_turn(&loop), 0);
	assert_int_equal(done, err ? 0 : 1);
	http_close(http);
	assert_int_equal(blocks, 0);
	return !err && !result;
}

#define ANSWER "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"

static void each_piece_of_memory_may_be_missing(void **state)
{
	static const struct answer answers[] = {
		{.text = "HTTP/1.1 302 F\r\nLocation: /b\r\nContent-Length: 0\r\n\r\n"},
		{.text = ANSWER}};
	static const char *const headers[] = {"A: b", "C: d", NULL};
	struct server *s;
	char url[64];

	(void)state;
	loop_init(&loop);
	for (int is_post = 0; is_post < 2; is_post++) {
		struct http_request r = {.url = url,
			.headers = headers,
			.bearer = "tok",
			.redirects = 1,
			.is_post = is_post,
			.body_len = 40000,
			.read = on_read,
			.done = on_done,
			.connect_timeout_ms = 1000,
			.timeout_ms = 1000};
		size_t n = 0, total;

		s = server_open(&loop, is_post ? answers + 1 : answers, is_post ? 1 : 2);
		snprintf(url, sizeof(url), "http://u:p@localhost:%u/a", s->port);
		assert_true(run(0, s, &r));
		total = calls;
		assert_true(total > 20);
		while (++n <= total)
			(void)run(n, s, &r);
		assert_true(run(0, s, &r));
		server_close(s);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_piece_of_memory_may_be_missing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
