/* SPDX-License-Identifier: Apache-2.0 */
/* What the requests of one owner share, and the list of them. */
#include "net/http.h"

#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "base/heap.h"
#include "base/kconfig.h"
#include "base/wipe.h"
#include "net/http_curl.h"
#include "net/http_private.h"

enum {
	HTTP_KEPT = 2, /* connections without a request that are kept */
	HTTP_BEARER_MAX = 8192,
};

struct http {
	struct loop *loop;
	const struct proxy_set *proxies;
	const char *cacert, *cert, *key;
	struct http_pool *pool;
	struct http_call *calls;
	struct loop_timer idle;
};

/* -- connections that belong together --------------------------------------------------------- */

static void pool_free(struct http_multi *m)
{
	/* It is the first member. */
	struct http_pool *p = (struct http_pool *)(void *)m;

	if (IS_ENABLED(CONFIG_NET_TLS))
		http_trust_leave(p->trust);
	heap_free(p);
}

void http_pool_leave(struct http_pool *p)
{
	if (--p->users)
		return;
	if (p->is_open)
		http_multi_close(&p->multi, pool_free);
	else
		pool_free(&p->multi);
}

static int pool_enter(struct http *h)
{
	struct http_pool *p = h->pool;

	if (!p->is_open && http_multi_open(&p->multi, h->loop, HTTP_KEPT))
		return ERR_NOMEM;
	p->is_open = true;
	p->users++;
	return 0;
}

static int pool_make(struct http_pool **out, struct http *h, char *why, size_t why_cap)
{
	struct http_pool *p = heap_calloc(1, sizeof(*p));
	struct tls_files files = {.cacert = h->cacert, .cert = h->cert, .key = h->key};
	int err = 0;

	*out = NULL;
	if (!p) {
		(void)snprintf(why, why_cap, "%s", err_text(ERR_NOMEM));
		return ERR_NOMEM;
	}
	p->users = 1;
	if (IS_ENABLED(CONFIG_NET_TLS) && (files.cacert || files.cert || files.key))
		err = http_trust_enter(&p->trust, h->loop, &files, why, why_cap);
	if (err) {
		heap_free(p);
		return err;
	}
	*out = p;
	return 0;
}

/* Nobody has asked for a while: the servers, and the memory, get everything back. */
static void http_on_idle(struct loop_timer *timer)
{
	struct http *h = timer->user;

	if (h->calls || !h->pool->is_open || h->pool->users > 1)
		return;
	http_multi_close(&h->pool->multi, NULL);
	h->pool->is_open = false;
}

/* -- the end of a request --------------------------------------------------------------------- */

void http_call_free(struct http_call *c)
{
	struct http_pool *p = c->pool;

	http_call_clean(c);
	wipe(c, sizeof(*c));
	heap_free(c);
	http_pool_leave(p);
}

/* It is nobody's any more. */
static void call_drop(struct http_call *c)
{
	struct http *h = c->http;
	struct http_call **at = &h->calls;

	while (*at != c)
		at = &(*at)->next;
	*at = c->next;
	c->r->impl = NULL;
	c->r = NULL;
	c->http = NULL;
	loop_timer_clear(c->loop, &c->timer);
	loop_timer_clear(c->loop, &c->resume);
	if (!h->calls)
		loop_timer_set(h->loop, &h->idle, (int64_t)CONFIG_HTTP_IDLE_S * 1000);
	if (c->t.multi)
		http_multi_end(&c->t);
	else
		http_call_free(c);
}

void http_call_finish(struct http_call *c, int err, const char *why)
{
	struct http_request *r = c->r;
	bool is_on_the_way = c->proxy_text[0] && c->phase <= HTTP_CONNECT;
	char url[HTTP_SHOW_MAX], line[HTTP_WHY_MAX] = "";

	if (err)
		(void)snprintf(line, sizeof(line), "%s%s%.80s: %s",
			http_url_show(url, &c->url, r->unix_path),
			is_on_the_way ? " through proxy " : "", is_on_the_way ? c->proxy_text : "",
			why);
	call_drop(c);
	r->done(r, err, line);
}

void http_stop(struct http_request *r)
{
	if (r->impl)
		call_drop(r->impl);
}

bool http_is_under_way(const struct http_request *r)
{
	return r->impl != NULL;
}

/* -- its beginning ---------------------------------------------------------------------------- */

static int start_failed(int err, const char *what, char *why, size_t why_cap)
{
	(void)snprintf(why, why_cap, "%s", what);
	return err;
}

/* A line end in a header would begin another one. */
static bool is_one_line(const char *text)
{
	for (; *text; text++) {
		if ((unsigned char)*text < 0x20 || *text == 0x7f)
			return false;
	}
	return true;
}

static int check_headers(const struct http_request *r, char *why, size_t why_cap)
{
	for (const char *const *h = r->headers; h && *h; h++) {
		if (!is_one_line(*h))
			return start_failed(
				ERR_CONFIG, "a header with control characters", why, why_cap);
	}
	if (r->bearer && strlen(r->bearer) >= HTTP_BEARER_MAX)
		return start_failed(ERR_CONFIG, "the token is too long", why, why_cap);
	if (r->bearer && !is_one_line(r->bearer))
		return start_failed(
			ERR_CONFIG, "the token has control characters in it", why, why_cap);
	return 0;
}

int http_check_url(const char *url, char *why, size_t why_cap)
{
	struct http_url *parsed = heap_calloc(1, sizeof(*parsed));
	int err;

	if (!parsed)
		return start_failed(ERR_NOMEM, err_text(ERR_NOMEM), why, why_cap);
	err = http_curl_open();
	if (!err) {
		err = http_url_parse(parsed, NULL, url, why, why_cap);
		http_curl_close();
	}
	wipe(parsed, sizeof(*parsed));
	heap_free(parsed);
	return err;
}

static int call_prepare(
	struct http_call *c, struct http *h, struct http_request *r, char *why, size_t why_cap)
{
	int err;

	c->loop = h->loop;
	c->r = r;
	c->http = h;
	c->pool = h->pool;
	c->has_login = true;
	c->resolve.fd = c->resolve_fd.fd = -1;
	err = http_url_parse(&c->url, NULL, r->url, why, why_cap);
	if (!err && c->url.is_https && !http_curl_has_tls())
		return start_failed(ERR_UNSUPPORTED,
			"this build's libcurl was made with another TLS library", why, why_cap);
	return err;
}

int http_start(struct http *h, struct http_request *r, char *why, size_t why_cap)
{
	struct http_call *c;
	int err = check_headers(r, why, why_cap);

	if (r->impl)
		return start_failed(ERR_BUG, err_text(ERR_BUG), why, why_cap);
	if (err)
		return err;
	c = heap_calloc(1, sizeof(*c));
	if (!c || pool_enter(h)) {
		heap_free(c);
		return start_failed(ERR_NOMEM, err_text(ERR_NOMEM), why, why_cap);
	}
	err = call_prepare(c, h, r, why, why_cap);
	if (!err) {
		c->why[0] = '\0';
		err = http_call_begin(c);
		if (err) {
			(void)snprintf(why, why_cap, "%s", c->why);
			err = err == ERR_UNSUPPORTED ? err : ERR_NOMEM;
		}
	}
	if (err) {
		http_call_free(c);
		if (!h->calls)
			loop_timer_set(h->loop, &h->idle, (int64_t)CONFIG_HTTP_IDLE_S * 1000);
		return err;
	}
	c->next = h->calls;
	h->calls = c;
	r->impl = c;
	loop_timer_clear(h->loop, &h->idle);
	return 0;
}

/* -- all of them ------------------------------------------------------------------------------ */

int http_open(struct http **out, const struct http_cfg *cfg, char *why, size_t why_cap)
{
	struct http *h = heap_calloc(1, sizeof(*h));
	int err;

	*out = NULL;
	if (!h)
		return start_failed(ERR_NOMEM, err_text(ERR_NOMEM), why, why_cap);
	h->loop = cfg->loop;
	h->proxies = cfg->proxies;
	h->cacert = cfg->cacert;
	h->cert = cfg->cert;
	h->key = cfg->key;
	h->idle.fn = http_on_idle;
	h->idle.user = h;
	h->idle.slack_ms = 1000;
	err = pool_make(&h->pool, h, why, why_cap);
	if (err) {
		heap_free(h);
		return err;
	}
	*out = h;
	return 0;
}

const struct proxy_set *http_proxies(const struct http *h)
{
	return h->proxies;
}

int http_reload(struct http *h, char *why, size_t why_cap)
{
	struct http_pool *p;
	int err = pool_make(&p, h, why, why_cap);

	if (err)
		return err;
	http_pool_leave(h->pool);
	h->pool = p;
	return 0;
}

void http_close(struct http *h)
{
	if (!h)
		return;
	while (h->calls)
		call_drop(h->calls);
	loop_timer_clear(h->loop, &h->idle);
	http_pool_leave(h->pool);
	heap_free(h);
}
