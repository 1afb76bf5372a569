/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A web server in the place of net/http.c: pages that the test has put up, and what goes wrong with them. It answers from the
 * loop, a piece in each turn. Included by one file of a test program, which then does not link the real one.
 */
#ifndef ETCHLET_TEST_FAKE_HTTP_H
#define ETCHLET_TEST_FAKE_HTTP_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "net/http.h"

enum { FAKE_PAGES_MAX = 300, FAKE_CALLS_MAX = 16, FAKE_PIECE_LEN = 16384 };

struct fake_page {
	const char *url;
	const uint8_t *body;
	size_t len;
	const char *etag; /* NULL: none */
	int status; /* 0: 200 or 206 */
	int err; /* it can't be asked at all */
	int64_t told_len; /* Content-Length is a lie; 0: it is not */
	size_t piece_len; /* 0: FAKE_PIECE_LEN */
	int64_t piece_ms; /* between two pieces */
	size_t cut_after; /* bytes of an answer, then cut_err; 0: it is whole */
	int cut_err; /* 0: it ends as if it were whole */
	bool has_no_range, has_no_length, is_endless, is_wrong_range;
	int64_t retry_after_ms; /* 0: not told */
	/* What was asked */
	unsigned asked;
	char range[64], if_range[300], unknown[64];
};

static struct fake_page fake_pages[FAKE_PAGES_MAX];
static size_t fake_page_count;

struct fake_call {
	struct http_request *r;
	struct fake_page *page;
	struct loop_timer timer;
	size_t at, end, sent;
	bool is_begun;
};

static struct fake_call fake_calls[FAKE_CALLS_MAX];
static struct loop *fake_loop;
static unsigned fake_under_way, fake_most;
static int fake_reload_err; /* of http_reload() */

static inline void fake_http_reset(void)
{
	memset(fake_pages, 0, sizeof(fake_pages));
	memset(fake_calls, 0, sizeof(fake_calls));
	fake_page_count = 0;
	fake_under_way = fake_most = 0;
	fake_reload_err = 0;
}

static inline struct fake_page *fake_put_up(const char *url, const void *body, size_t len)
{
	struct fake_page *p = &fake_pages[fake_page_count++];

	assert_true(fake_page_count <= FAKE_PAGES_MAX);
	*p = (struct fake_page){.url = url, .body = body, .len = len};
	return p;
}

static inline struct fake_page *fake_page_of(const char *url)
{
	for (size_t i = 0; i < fake_page_count; i++) {
		if (strcmp(fake_pages[i].url, url) == 0)
			return &fake_pages[i];
	}
	return NULL;
}

static inline void fake_end(struct fake_call *c, int err)
{
	struct http_request *r = c->r;

	loop_timer_clear(fake_loop, &c->timer);
	c->r = NULL;
	r->impl = NULL;
	fake_under_way--;
	r->done(r, err, err ? "http://server/x: it broke" : "");
}

static inline int fake_begin(struct fake_call *c)
{
	struct fake_page *p = c->page;
	struct http_answer *a = &c->r->answer;
	size_t from = 0;
	bool is_partial = p->range[0] && !p->has_no_range;

	*a = (struct http_answer){.status = 404,
		.len = 0,
		.range_first = -1,
		.range_total = -1,
		.retry_after_ms = -1};
	if (p->retry_after_ms)
		a->retry_after_ms = p->retry_after_ms;
	if (p->status || !p->body) {
		a->status = p->status ? p->status : 404;
		c->at = c->end = 0;
		return c->r->begin(c->r);
	}
	if (p->if_range[0] && (!p->etag || strcmp(p->if_range, p->etag) != 0))
		is_partial = false;
	if (is_partial)
		from = (size_t)strtoul(p->range, NULL, 10);
	a->status = 200;
	if (is_partial && from >= p->len) {
		a->status = 416;
		a->range_total = (int64_t)p->len;
		c->at = c->end = 0;
		return c->r->begin(c->r);
	}
	if (is_partial) {
		a->status = 206;
		a->range_first = (int64_t)from + p->is_wrong_range;
		a->range_total = (int64_t)p->len;
	}
	a->len = p->has_no_length ? -1 : p->told_len ? p->told_len : (int64_t)(p->len - from);
	if (p->etag)
		snprintf(a->validator, sizeof(a->validator), "%s", p->etag);
	c->at = from;
	c->end = p->len;
	return c->r->begin(c->r);
}

static inline void fake_step(struct loop_timer *timer)
{
	struct fake_call *c = timer->user;
	struct fake_page *p = c->page;
	size_t n = p->piece_len ? p->piece_len : FAKE_PIECE_LEN;
	int err;

	if (p->err) {
		fake_end(c, p->err);
		return;
	}
	if (!c->is_begun) {
		c->is_begun = true;
		err = fake_begin(c);
		if (err)
			fake_end(c, err);
		else
			loop_timer_set(fake_loop, timer, p->piece_ms);
		return;
	}
	if (n > c->end - c->at)
		n = c->end - c->at;
	if (p->cut_after && n > p->cut_after - c->sent)
		n = p->cut_after - c->sent;
	err = n ? c->r->body(c->r, p->body + c->at, n) : 0;
	c->at += n;
	c->sent += n;
	if (p->is_endless && c->at == c->end)
		c->at = 0;
	if (err)
		fake_end(c, err);
	else if (p->cut_after && c->sent == p->cut_after)
		fake_end(c, p->cut_err);
	else if (c->at == c->end)
		fake_end(c, 0);
	else
		loop_timer_set(fake_loop, timer, p->piece_ms);
}

int http_open(struct http **out, const struct http_cfg *cfg, char *why, size_t why_cap)
{
	(void)why;
	(void)why_cap;
	fake_loop = cfg->loop;
	*out = (struct http *)(void *)&fake_loop;
	return 0;
}

int http_reload(struct http *h, char *why, size_t why_cap)
{
	(void)h;
	(void)snprintf(why, why_cap, "%s", fake_reload_err ? "a bad certificate" : "");
	return fake_reload_err;
}

int http_start(struct http *h, struct http_request *r, char *why, size_t why_cap)
{
	struct fake_page *p = fake_page_of(r->url);
	struct fake_call *c = fake_calls;

	(void)h;
	assert_null(r->impl);
	if (http_check_url(r->url, why, why_cap))
		return ERR_CONFIG;
	if (!p) {
		p = fake_put_up("", NULL, 0);
		snprintf(p->unknown, sizeof(p->unknown), "%s", r->url);
		p->url = p->unknown;
	}
	while (c->r)
		c++;
	assert_true(c < fake_calls + FAKE_CALLS_MAX);
	p->asked++;
	p->range[0] = p->if_range[0] = '\0';
	for (size_t i = 0; r->headers && r->headers[i]; i++) {
		if (strncmp(r->headers[i], "Range: bytes=", 13) == 0)
			snprintf(p->range, sizeof(p->range), "%s", r->headers[i] + 13);
		else if (strncmp(r->headers[i], "If-Range: ", 10) == 0)
			snprintf(p->if_range, sizeof(p->if_range), "%s", r->headers[i] + 10);
	}
	*c = (struct fake_call){.r = r, .page = p, .timer = {.fn = fake_step, .user = c}};
	r->impl = c;
	r->answer = (struct http_answer){0};
	fake_under_way++;
	if (fake_under_way > fake_most)
		fake_most = fake_under_way;
	loop_timer_set(fake_loop, &c->timer, 0);
	return 0;
}

void http_set_rate(struct http_request *r, uint64_t rate_bytes_s)
{
	r->rate_bytes_s = rate_bytes_s;
}

void http_stop(struct http_request *r)
{
	struct fake_call *c = r->impl;

	if (!c)
		return;
	loop_timer_clear(fake_loop, &c->timer);
	c->r = NULL;
	r->impl = NULL;
	fake_under_way--;
}

bool http_is_under_way(const struct http_request *r)
{
	return r->impl != NULL;
}

void http_close(struct http *h)
{
	(void)h;
	for (int i = 0; i < FAKE_CALLS_MAX; i++) {
		if (fake_calls[i].r)
			http_stop(fake_calls[i].r);
	}
}

int http_check_url(const char *url, char *why, size_t why_cap)
{
	if (strncmp(url, "http://", 7) == 0 || strncmp(url, "https://", 8) == 0)
		return 0;
	snprintf(why, why_cap, "it is no URL of http or https");
	return ERR_CONFIG;
}

const char *http_library_version(void)
{
	return "none";
}

#endif
