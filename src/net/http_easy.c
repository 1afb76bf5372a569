/* SPDX-License-Identifier: Apache-2.0 */
/* One easy handle: its options, all of them set here, and what libcurl calls. Its defaults from the environment or
 * from files are never used. */
#include "net/http_private.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/err.h"
#include "base/kconfig.h"
#include "base/version.h"
#include "base/wipe.h"
#include "net/http_curl.h"
#include "net/tls_http.h"

enum {
	EASY_BUFFER_LEN = 16384, /* read at once; what libcurl sends from is not smaller */
	EASY_DROPPED_MAX = 16384, /* of a redirect's body, to keep the connection */
	EASY_RESOLVE_MAX = PORT_HOST_MAX + 16 + PORT_ADDR_MAX * PORT_ADDR_TEXT_MAX,
	EASY_BEARER_MAX = 8192,
};

/* -- what libcurl calls --------------------------------------------------------------------------- */

static void call_failed(struct http_call *c, int err, const char *why)
{
	if (c->err)
		return;
	c->err = err;
	(void)snprintf(c->why, sizeof(c->why), "%s", why);
}

/* Connected, with TLS and through the proxy: now the request goes out. */
static int on_connected(void *user, char *a, char *b, int a_port, int b_port)
{
	struct http_call *c = user;

	(void)a;
	(void)b;
	(void)a_port;
	(void)b_port;
	if (http_transfer_is_ended(&c->t))
		return CURL_PREREQFUNC_ABORT;
	if (IS_ENABLED(CONFIG_NET_TLS) && c->url.is_https) {
		struct curl_tlssessioninfo *info = NULL;

		(void)curl_easy_getinfo(c->t.easy, CURLINFO_TLS_SSL_PTR, &info);
		c->ssl = info ? info->internals : NULL;
		tls_http_begin(http_trust_tls(c->pool->trust), c->ssl);
	}
	http_call_set_phase(c, HTTP_WAIT);
	return CURL_PREREQFUNC_OK;
}

static size_t on_read(char *dst, size_t size, size_t n, void *user)
{
	struct http_call *c = user;
	struct http_request *r = c->r;
	uint64_t left;
	ssize_t len;

	if (http_transfer_is_ended(&c->t))
		return CURL_READFUNC_ABORT;
	left = r->body_len - r->sent;
	n *= size;
	if (!left)
		return 0;
	len = r->read(r, r->sent, dst, n < left ? n : (size_t)left);
	if (http_transfer_is_ended(&c->t))
		return CURL_READFUNC_ABORT;
	if (len <= 0) {
		int err = len ? (int)len : ERR_IO;

		call_failed(
			c, err, len ? err_text(err) : "there is less to send than was promised");
		return CURL_READFUNC_ABORT;
	}
	r->sent += (uint64_t)len;
	return (size_t)len;
}

/* A kept connection may turn out to be closed when the request was half sent. */
static int on_seek(void *user, curl_off_t offset, int origin)
{
	struct http_call *c = user;

	if (http_transfer_is_ended(&c->t) || origin != SEEK_SET || offset < 0 ||
		(uint64_t)offset > c->r->body_len)
		return CURL_SEEKFUNC_FAIL;
	c->r->sent = (uint64_t)offset;
	return CURL_SEEKFUNC_OK;
}

/* All headers are there. 0, or an error that ends the request. */
static int head_is_whole(struct http_call *c)
{
	struct http_request *r = c->r;
	int err;

	http_call_set_phase(c, HTTP_BODY);
	if (http_head_is_redirect(&c->head)) {
		c->is_next = true;
		return 0;
	}
	/* To a request in the absolute form the proxy answers itself; a tunnel's is not seen here. */
	if (c->has_proxy && c->head.answer.status == 407) {
		call_failed(c, ERR_AUTH, "the proxy wants a login, or another one (407)");
		return c->err;
	}
	r->answer = c->head.answer;
	err = r->begin ? r->begin(r) : 0;
	if (err && !http_transfer_is_ended(&c->t))
		call_failed(c, err, err_text(err));
	return err;
}

static size_t on_header(char *p, size_t size, size_t n, void *user)
{
	struct http_call *c = user;
	bool was_complete = c->head.is_complete;
	int err;

	n *= size;
	if (http_transfer_is_ended(&c->t))
		return CURL_WRITEFUNC_ERROR;
	err = http_head_take(&c->head, p, n);
	if (err) {
		call_failed(c, ERR_HTTP,
			err == ERR_LIMIT
				? "the headers of the answer are too long"
				: "the answer is no HTTP: its length is told in two ways, or not as a number");
		return CURL_WRITEFUNC_ERROR;
	}
	if (c->head.is_complete && !was_complete && head_is_whole(c))
		return CURL_WRITEFUNC_ERROR;
	return http_transfer_is_ended(&c->t) ? CURL_WRITEFUNC_ERROR : n;
}

static size_t on_body(char *p, size_t size, size_t n, void *user)
{
	struct http_call *c = user;
	int err;

	n *= size;
	if (http_transfer_is_ended(&c->t))
		return CURL_WRITEFUNC_ERROR;
	if (c->is_next) {
		c->dropped_len += n;
		return c->dropped_len > EASY_DROPPED_MAX ? CURL_WRITEFUNC_ERROR : n;
	}
	if (c->r->rate_bytes_s && c->due_ms > c->loop->now_ms) {
		http_call_hold(c);
		return CURL_WRITEFUNC_PAUSE;
	}
	c->body_len += n;
	http_call_count_rate(c, n);
	err = c->r->body ? c->r->body(c->r, (const uint8_t *)p, n) : 0;
	if (http_transfer_is_ended(&c->t))
		return CURL_WRITEFUNC_ERROR;
	if (err) {
		call_failed(c, err, err_text(err));
		return CURL_WRITEFUNC_ERROR;
	}
	return n;
}

static CURLcode on_tls(CURL *easy, void *ssl_config, void *user)
{
	struct http_call *c = user;
	int err;

	(void)easy;
	if (!IS_ENABLED(CONFIG_NET_TLS) || http_transfer_is_ended(&c->t) ||
		tls_peer_set(&c->peer, c->url.host))
		return CURLE_ABORTED_BY_CALLBACK;
	err = tls_http_set_up(ssl_config, http_trust_tls(c->pool->trust), &c->peer);
	return err == ERR_NOMEM ? CURLE_OUT_OF_MEMORY : err ? CURLE_ABORTED_BY_CALLBACK : CURLE_OK;
}

/* -- headers -------------------------------------------------------------------------------------- */

static int list_add(struct curl_slist **list, const char *text)
{
	struct curl_slist *longer = curl_slist_append(*list, text);

	if (!longer)
		return ERR_NOMEM;
	*list = longer;
	return 0;
}

static bool is_field(const char *header, const char *name)
{
	size_t len = strlen(name);

	return strncasecmp(header, name, len) == 0 && header[len] == ':';
}

static int headers_add(struct http_call *c)
{
	const struct http_request *r = c->r;
	bool has_type = false;
	int err = 0;

	for (const char *const *h = r->headers; !err && h && *h; h++) {
		has_type |= is_field(*h, "Content-Type");
		if (c->has_login || !(is_field(*h, "Authorization") || is_field(*h, "Cookie")))
			err = list_add(&c->headers, *h);
	}
	if (!err && r->bearer && c->has_login) {
		char line[EASY_BEARER_MAX + 32];

		(void)snprintf(line, sizeof(line), "Authorization: Bearer %s", r->bearer);
		err = list_add(&c->headers, line);
		wipe(line, sizeof(line));
	}
	/* Those of libcurl's own: an answer to Expect would only cost time, and this is no form. */
	if (!err && r->is_post)
		err = list_add(&c->headers, "Expect:");
	if (!err && r->is_post && !has_type)
		err = list_add(&c->headers, "Content-Type:");
	return err;
}

/* -- options -------------------------------------------------------------------------------------- */

/* What the name stands for, so that libcurl need not ask: "+host:port:addr,addr". The sign makes it forget that after a minute. */
static int names_add(struct http_call *c, const char *host, uint16_t port,
	const struct port_addr *addrs, size_t count)
{
	char line[EASY_RESOLVE_MAX];
	int len = snprintf(line, sizeof(line), "+%s:%u:", host, (unsigned)port);

	for (size_t i = 0; i < count; i++) {
		char text[PORT_ADDR_TEXT_MAX];

		port_addr_format(text, &addrs[i]);
		*strrchr(text, ':') = '\0';
		len += snprintf(line + len, sizeof(line) - (size_t)len, "%s%s", i ? "," : "", text);
	}
	return count ? list_add(&c->names, line) : 0;
}

struct options {
	CURL *easy;
	CURLcode ret; /* of the first that failed */
};

static void set_long(struct options *o, CURLoption option, long value)
{
	if (!o->ret)
		o->ret = curl_easy_setopt(o->easy, option, value);
}

static void set_text(struct options *o, CURLoption option, const char *value)
{
	if (!o->ret)
		o->ret = curl_easy_setopt(o->easy, option, value);
}

static void set_data(struct options *o, CURLoption option, void *value)
{
	if (!o->ret)
		o->ret = curl_easy_setopt(o->easy, option, value);
}

static void set_callbacks(struct options *o, struct http_call *c)
{
	CURL *easy = o->easy;

	(void)curl_easy_setopt(easy, CURLOPT_PREREQFUNCTION, on_connected);
	(void)curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, on_header);
	(void)curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, on_body);
	(void)curl_easy_setopt(easy, CURLOPT_READFUNCTION, on_read);
	(void)curl_easy_setopt(easy, CURLOPT_SEEKFUNCTION, on_seek);
	set_data(o, CURLOPT_PREREQDATA, c);
	set_data(o, CURLOPT_HEADERDATA, c);
	set_data(o, CURLOPT_WRITEDATA, c);
	set_data(o, CURLOPT_READDATA, c);
	set_data(o, CURLOPT_SEEKDATA, c);
	set_data(o, CURLOPT_ERRORBUFFER, c->error);
}

static void set_proxy(struct options *o, const struct proxy *p)
{
	char text[PROXY_TEXT_MAX];

	/* Ours knows of no proxy then, the system's own does. */
	if (!IS_ENABLED(CONFIG_NET_PROXY)) {
		(void)curl_easy_setopt(o->easy, CURLOPT_PROXY, "");
		return;
	}
	/* Empty: not the environment's either. */
	set_text(o, CURLOPT_PROXY, p ? proxy_format(text, p) : "");
	set_text(o, CURLOPT_NOPROXY, "");
	if (!p)
		return;
	set_long(o, CURLOPT_PROXYAUTH, CURLAUTH_BASIC);
	set_text(o, CURLOPT_PROXYUSERNAME, p->user);
	set_text(o, CURLOPT_PROXYPASSWORD, p->password);
	set_long(o, CURLOPT_HEADEROPT, CURLHEADER_SEPARATE);
	set_long(o, CURLOPT_SUPPRESS_CONNECT_HEADERS, 1);
}

static void set_tls(struct options *o, struct http_call *c)
{
	set_long(o, CURLOPT_SSL_VERIFYPEER, 1);
	set_long(o, CURLOPT_SSL_VERIFYHOST, 2);
	set_long(o, CURLOPT_SSL_SESSIONID_CACHE, 0);
	set_text(o, CURLOPT_CAINFO, NULL);
	set_text(o, CURLOPT_CAPATH, NULL);
	if (!o->ret)
		o->ret = curl_easy_setopt(o->easy, CURLOPT_SSL_CTX_FUNCTION, on_tls);
	set_data(o, CURLOPT_SSL_CTX_DATA, c);
}

static void set_request(struct options *o, struct http_call *c)
{
	const struct http_request *r = c->r;

	if (r->is_post) {
		set_long(o, CURLOPT_POST, 1);
		if (!o->ret)
			o->ret = curl_easy_setopt(
				o->easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)r->body_len);
	} else {
		set_long(o, CURLOPT_HTTPGET, 1);
	}
	if (c->has_login && c->url.user[0]) {
		set_long(o, CURLOPT_HTTPAUTH, CURLAUTH_BASIC);
		set_text(o, CURLOPT_USERNAME, c->url.user);
		set_text(o, CURLOPT_PASSWORD, c->url.password);
	}
	if (r->unix_path)
		set_text(o, CURLOPT_UNIX_SOCKET_PATH, r->unix_path);
	set_data(o, CURLOPT_HTTPHEADER, c->headers);
	set_data(o, CURLOPT_RESOLVE, c->names);
}

int http_easy_set_up(struct http_call *c, const char *host, uint16_t port,
	const struct port_addr *addrs, size_t count)
{
	const char *version = version_string();
	char agent[64];
	struct options o = {.easy = curl_easy_init()};
	int err;

	c->t.easy = o.easy;
	if (!o.easy)
		return ERR_NOMEM;
	err = headers_add(c);
	if (!err)
		err = names_add(c, host, port, addrs, count);
	if (err)
		return err;
	(void)snprintf(agent, sizeof(agent), "etchlet/%.*s", (int)strcspn(version, " "), version);
	set_text(&o, CURLOPT_URL, c->url.text);
	set_text(&o, CURLOPT_PROTOCOLS_STR, c->url.is_https ? "https" : "http");
	set_text(&o, CURLOPT_USERAGENT, agent);
	set_long(&o, CURLOPT_NOSIGNAL, 1);
	set_long(&o, CURLOPT_NOPROGRESS, 1);
	set_long(&o, CURLOPT_HTTP_VERSION, CURL_HTTP_VERSION_1_1);
	set_long(&o, CURLOPT_FOLLOWLOCATION, 0);
	set_long(&o, CURLOPT_HTTP_CONTENT_DECODING, 0);
	set_long(&o, CURLOPT_BUFFERSIZE, EASY_BUFFER_LEN);
	set_long(&o, CURLOPT_UPLOAD_BUFFERSIZE, EASY_BUFFER_LEN);
	/* libcurl divides this between the addresses; what ends it is our own timer. */
	set_long(&o, CURLOPT_CONNECTTIMEOUT_MS,
		c->r->connect_timeout_ms < INT32_MAX ? (long)c->r->connect_timeout_ms : INT32_MAX);
	set_callbacks(&o, c);
	set_proxy(&o, c->proxy);
	if (c->url.is_https)
		set_tls(&o, c);
	set_request(&o, c);
	return o.ret == CURLE_OUT_OF_MEMORY ? ERR_NOMEM : o.ret ? ERR_UNSUPPORTED : 0;
}
