/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One request, from resolving the name to its end, redirects included. Each hop is a transfer of its own.
 *
 *  RESOLVE  the port is asked for the name        -> CONNECT when it is there
 *  CONNECT  libcurl connects, or has a connection -> WAIT
 *  WAIT     the request goes out                  -> BODY with the last header
 *  BODY                                           -> RESOLVE when it was a redirect
 *
 * Each ends by its deadline too.
 */
#include "net/http_private.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "base/heap.h"
#include "base/kconfig.h"
#include "base/log.h"
#include "base/wipe.h"

enum {
	CALL_LOOKS = 4, /* how often in timeout_ms progress is looked at */
	CALL_RATE_SLACK_MS = 100, /* pieces that come early by no more are not held */
};

/* -- redirects ------------------------------------------------------------------------------------ */

/* The place in the answer, without what may be secret in it. */
static void call_show_location(const struct http_call *c, char to[HTTP_SHOW_MAX])
{
	struct http_url there;
	char why[96];

	if (c->head.is_location_too_long ||
		http_url_parse(&there, &c->url, c->head.location, why, sizeof(why)))
		(void)snprintf(to, HTTP_SHOW_MAX, "what cannot be asked");
	else
		(void)http_url_show(to, &there, NULL);
}

/* Where the answer sends to: 0 with c->url changed, or an error with words. */
static int call_follow(struct http_call *c, char *why, size_t why_cap)
{
	struct http_url before = c->url;
	int err;

	if (c->r->is_post || c->hops >= c->r->redirects) {
		char to[HTTP_SHOW_MAX];

		c->r->answer.status = c->head.answer.status;
		call_show_location(c, to);
		(void)snprintf(why, why_cap, "it answers with a redirect (%d) to %s, which %s",
			c->head.answer.status, to,
			c->r->is_post      ? "a POST does not follow"
			: !c->r->redirects ? "is not followed"
					   : "is one too many");
		return ERR_HTTP;
	}
	if (c->head.is_location_too_long) {
		(void)snprintf(why, why_cap, "the URL that it redirects to is too long");
		return ERR_HTTP;
	}
	err = http_url_parse(&c->url, &before, c->head.location, why, why_cap);
	if (err == ERR_NOMEM)
		return err;
	if (err) {
		char reason[128];

		(void)snprintf(reason, sizeof(reason), "%.*s", (int)sizeof(reason) - 1, why);
		(void)snprintf(why, why_cap, "it redirects to what cannot be asked: %s", reason);
		return ERR_HTTP;
	}
	if (before.is_https && !c->url.is_https) {
		(void)snprintf(
			why, why_cap, "it redirects from https to http, which is not followed");
		return ERR_HTTP;
	}
	/* Who asked for a login is not who gets it elsewhere. */
	if (!http_url_is_same_origin(&before, &c->url)) {
		c->has_login = false;
		wipe(c->url.user, sizeof(c->url.user));
		wipe(c->url.password, sizeof(c->url.password));
	} else {
		memcpy(c->url.user, before.user, sizeof(before.user));
		memcpy(c->url.password, before.password, sizeof(before.password));
	}
	wipe(&before, sizeof(before));
	c->hops++;
	return 0;
}

/* Of a redirect's body nothing is wanted, not even its end. */
static void call_go_on(struct http_call *c)
{
	char why[HTTP_WHY_MAX] = "";
	int err = call_follow(c, why, sizeof(why));

	if (err)
		http_call_finish(c, err, why);
	else
		http_multi_end(&c->t);
}

/* -- deadlines ------------------------------------------------------------------------------------ */

static void call_look_later(struct http_call *c)
{
	int64_t ms = c->r->timeout_ms / CALL_LOOKS;

	loop_timer_set(c->loop, &c->timer, ms > 0 ? ms : 1);
}

void http_call_set_phase(struct http_call *c, enum http_phase phase)
{
	enum http_phase before = c->phase;

	c->phase = phase;
	c->since_ms = c->loop->now_ms;
	/* Resolving and connecting share one deadline. */
	if (phase == HTTP_RESOLVE)
		loop_timer_set(c->loop, &c->timer, c->r->connect_timeout_ms);
	else if (phase != HTTP_CONNECT)
		call_look_later(c);
	if (phase == HTTP_BODY && before != HTTP_BODY) {
		c->window_ms = c->since_ms;
		c->window_len = c->body_len;
	}
}

static bool call_is_stalled(struct http_call *c)
{
	int64_t now_ms = c->loop->now_ms;
	curl_off_t sent = 0;

	/* Taken by the system, which may be less than what was read from the owner. */
	(void)curl_easy_getinfo(c->t.easy, CURLINFO_SIZE_UPLOAD_T, &sent);
	if (sent != c->seen_bytes)
		c->since_ms = now_ms;
	c->seen_bytes = sent;
	return now_ms - c->since_ms >= c->r->timeout_ms;
}

static bool call_is_slow(struct http_call *c)
{
	const struct http_request *r = c->r;
	int64_t now_ms = c->loop->now_ms;
	uint64_t least = r->slow_bytes > 1 ? (uint64_t)r->slow_bytes : 1;
	uint64_t got = c->body_len + c->dropped_len - c->window_len;
	uint64_t seconds = (uint64_t)r->timeout_ms / 1000;

	if (now_ms - c->window_ms < r->timeout_ms)
		return false;
	/* What is held by our own limit is not the server's slowness. */
	if (r->rate_bytes_s && r->rate_bytes_s < least && r->rate_bytes_s * seconds / 2 < least)
		least = r->rate_bytes_s * seconds / 2;
	c->window_ms = now_ms;
	c->window_len = c->body_len + c->dropped_len;
	return !c->is_held && got < least;
}

static void call_on_timer(struct loop_timer *timer)
{
	struct http_call *c = timer->user;
	char why[96];

	if (c->phase == HTTP_RESOLVE || c->phase == HTTP_CONNECT) {
		(void)snprintf(why, sizeof(why), "%s within %" PRId64 " ms",
			c->phase == HTTP_RESOLVE ? "name not resolved" : "no connection",
			c->r->connect_timeout_ms);
		http_call_finish(c, ERR_TIMEOUT, why);
	} else if (c->phase == HTTP_WAIT && call_is_stalled(c)) {
		(void)snprintf(why, sizeof(why), "%s for %" PRId64 " ms",
			c->r->is_post && (uint64_t)c->seen_bytes < c->r->body_len
				? "nothing could be sent"
				: "no answer",
			c->r->timeout_ms);
		http_call_finish(c, ERR_TIMEOUT, why);
	} else if (c->phase == HTTP_BODY && c->is_next) {
		/* What comes of it is looked at by nobody, so it has one deadline. */
		if (c->loop->now_ms - c->since_ms >= c->r->timeout_ms)
			call_go_on(c);
		else
			call_look_later(c);
	} else if (c->phase == HTTP_BODY && call_is_slow(c)) {
		(void)snprintf(why, sizeof(why), "the answer comes too slowly");
		http_call_finish(c, ERR_TIMEOUT, why);
	} else {
		call_look_later(c);
	}
}

/* -- rate ----------------------------------------------------------------------------------------- */

static void call_on_resume(struct loop_timer *timer)
{
	struct http_call *c = timer->user;

	c->is_held = false;
	http_multi_resume(&c->t);
}

void http_call_count_rate(struct http_call *c, size_t len)
{
	uint64_t rate = c->r->rate_bytes_s;
	int64_t now_ms = c->loop->now_ms;

	if (!rate)
		return;
	if (c->due_ms < now_ms - CALL_RATE_SLACK_MS)
		c->due_ms = now_ms - CALL_RATE_SLACK_MS;
	/* A piece is not longer than libcurl's buffer. */
	c->due_ms += (int64_t)((uint64_t)len * 1000 / rate);
}

void http_call_hold(struct http_call *c)
{
	c->is_held = true;
	loop_timer_set_at(c->loop, &c->resume, c->due_ms);
}

void http_set_rate(struct http_request *r, uint64_t rate_bytes_s)
{
	struct http_call *c = r->impl;

	r->rate_bytes_s = rate_bytes_s;
	/* What was too early by the old limit is looked at anew; from within libcurl the next piece does that. */
	if (!c)
		return;
	c->due_ms = 0;
	if (c->is_held)
		loop_timer_set(c->loop, &c->resume, 0);
}

/* -- the transfer --------------------------------------------------------------------------------- */

static void call_on_done(struct http_transfer *t, CURLcode result)
{
	struct http_call *c = t->user;
	char why[HTTP_WHY_MAX] = "";
	int err = 0;

	log_debug("http: libcurl ends with %d (%s)", (int)result, c->error);
	if (c->is_next && !c->err) {
		call_go_on(c);
		return;
	}
	if (result) {
		err = http_explain(c, result, why, sizeof(why));
	} else if (!c->head.is_complete) {
		/* libcurl takes the end of the connection for the end of them. */
		err = ERR_CLOSED;
		(void)snprintf(why, sizeof(why), "the answer breaks off in its headers");
	}
	http_call_finish(c, err, why);
}

/* Everything that is needed to connect is known. */
static int call_connect(struct http_call *c, const char *host, uint16_t port,
	const struct port_addr *addrs, size_t count)
{
	int err = http_easy_set_up(c, host, port, addrs, count);

	if (!err)
		err = http_multi_add(&c->pool->multi, &c->t);
	if (err) {
		(void)snprintf(c->why, sizeof(c->why), "%s",
			err == ERR_UNSUPPORTED ? "this libcurl lacks something that is needed"
					       : err_text(err));
		return err;
	}
	c->phase = HTTP_CONNECT;
	return 0;
}

static void call_where_to(struct http_call *c, const char **host, uint16_t *port)
{
	*host = c->url.host;
	*port = c->url.port;
	c->proxy = NULL;
	if (IS_ENABLED(CONFIG_NET_PROXY) && !c->r->unix_path)
		c->proxy = proxy_find(http_proxies(c->http),
			c->url.is_https ? PROXY_FOR_HTTPS : PROXY_FOR_HTTP, *host, *port);
	c->has_proxy = c->proxy != NULL;
	c->proxy_text[0] = '\0';
	if (IS_ENABLED(CONFIG_NET_PROXY) && c->proxy)
		(void)proxy_format(c->proxy_text, c->proxy);
	if (c->proxy) {
		*host = c->proxy->host;
		*port = c->proxy->port;
	}
}

static void call_on_resolved(struct loop_fd *fd, int events)
{
	struct http_call *c = fd->user;
	struct port_addr addrs[PORT_ADDR_MAX];
	char words[128], shown[LOG_SHOW_MAX], why[HTTP_WHY_MAX];
	const char *host;
	uint16_t port;
	int count, err;

	(void)events;
	call_where_to(c, &host, &port);
	count = port_resolve_take(&c->resolve, addrs, PORT_ADDR_MAX, words, sizeof(words));
	if (count == ERR_AGAIN)
		return;
	loop_fd_remove(c->loop, &c->resolve_fd);
	port_resolve_cancel(&c->resolve);
	c->resolve.fd = -1;
	if (count <= 0) {
		log_show(shown, sizeof(shown), host, strlen(host));
		(void)snprintf(why, sizeof(why), "%s%s not resolved: %s",
			c->has_proxy ? "the proxy's name " : "the name ", shown,
			count ? words : "it has no address");
		http_call_finish(c, count ? count : ERR_DNS, why);
		return;
	}
	err = call_connect(c, host, port, addrs, (size_t)count);
	if (err)
		http_call_finish(c, err, c->why);
}

int http_call_begin(struct http_call *c)
{
	struct port_addr literal;
	const char *host;
	uint16_t port;
	int err;

	c->timer.fn = call_on_timer;
	c->timer.user = c->resume.user = c->resolve_fd.user = c->t.user = c;
	c->resume.fn = call_on_resume;
	c->resolve_fd.fn = call_on_resolved;
	c->t.done = call_on_done;
	c->t.gone = http_call_gone;
	c->resolve.fd = c->resolve_fd.fd = -1;
	c->r->sent = 0;
	c->seen_bytes = 0;
	c->body_len = c->window_len = c->dropped_len = 0;
	c->error[0] = '\0';
	c->ssl = NULL;
	memset(&c->peer, 0, sizeof(c->peer));
	memset(&c->head, 0, sizeof(c->head));
	http_head_reset(&c->head);
	c->r->answer = c->head.answer;
	call_where_to(c, &host, &port);
	http_call_set_phase(c, HTTP_RESOLVE);
	if (c->r->unix_path || port_addr_parse(&literal, host, port) == 0)
		return call_connect(c, host, port, NULL, 0);
	err = port_resolve_start(&c->resolve, host, port);
	if (!err) {
		c->resolve_fd.fd = c->resolve.fd;
		c->resolve_fd.want = PORT_POLL_IN;
		err = loop_fd_add(c->loop, &c->resolve_fd);
	}
	if (err)
		(void)snprintf(c->why, sizeof(c->why), "%s", err_text(err));
	return err;
}

/* -- its end -------------------------------------------------------------------------------------- */

void http_call_clean(struct http_call *c)
{
	loop_timer_clear(c->loop, &c->timer);
	loop_timer_clear(c->loop, &c->resume);
	c->is_held = false;
	loop_fd_remove(c->loop, &c->resolve_fd);
	if (c->resolve.fd >= 0)
		port_resolve_cancel(&c->resolve);
	c->resolve.fd = c->resolve_fd.fd = -1;
	curl_easy_cleanup(c->t.easy);
	c->t.easy = NULL;
	curl_slist_free_all(c->headers);
	curl_slist_free_all(c->names);
	c->headers = c->names = NULL;
}

void http_call_gone(struct http_transfer *t)
{
	struct http_call *c = t->user;
	int err;

	http_call_clean(c);
	if (!c->r) {
		http_call_free(c);
		return;
	}
	c->is_next = false;
	err = http_call_begin(c);
	if (err)
		http_call_finish(c, err, c->why);
}
