/* SPDX-License-Identifier: Apache-2.0 */
/*
 * HTTP/1.1 requests by libcurl, driven by the loop through its multi-socket interface: one thread, and nothing
 * blocks. Names are resolved by the port before libcurl is asked, so that its own resolver never runs. The files
 * http*.c are the only ones that know its API.
 *
 * A struct http is what the requests of one owner share: the connections that are kept open, and one TLS identity
 * with the certificates that are trusted. Several requests may be under way at once. What libcurl takes
 * for itself comes from the counted heap and is given back.
 *
 * TLS is mbedTLS with the rules of net/tls.h: the same versions and ciphers, names in subject alternative names only, the
 * clock never before this program's own date, and the same words for what is wrong.
 *
 * Redirects are followed here, one request after the other, and never from https to http.
 */
#ifndef ETCHLET_NET_HTTP_H
#define ETCHLET_NET_HTTP_H

#include "base/loop.h"
#include "net/proxy.h"

#include <sys/types.h>

enum {
	HTTP_WHY_MAX = 512, /* bytes of a reason, NUL included */
	HTTP_URL_MAX = 2048, /* bytes of a URL, NUL included */
	HTTP_VALIDATOR_MAX = 256, /* bytes of an entity tag or a date, NUL included */
	HTTP_SOCKET_COUNT =
		8, /* sockets of one struct http that are polled at once; half as many connections: further requests wait */
};

struct http;
struct http_request;

struct http_cfg {
	struct loop *loop;
	const struct proxy_set *
		proxies; /* NULL: none; outlives the struct http, and may change between requests */
	const char *cacert, *cert,
		*key; /* as in struct tls_files; cacert NULL: no server is trusted */
};

/* What has come of the answer, once its headers are complete. Of a redirect that is followed nothing is told. */
struct http_answer {
	int status; /* 200 to 599; 0: none yet */
	int64_t len; /* of the body that comes; -1: not told */
	int64_t range_first; /* Content-Range (RFC 9110 14.4); -1: none that could be read */
	int64_t range_total; /* the same; -1: not told */
	int64_t retry_after_ms; /* Retry-After as a delay, whichever form it had (RFC 9110 10.2.3); -1: none */
	char validator
		[HTTP_VALIDATOR_MAX]; /* for If-Range: a strong ETag, else Last-Modified; "": none */
};

struct http_request {
	/* The owner's, set before http_start(); what is pointed to stays as it is until the request has ended. */
	const char *url; /* http or https, a fragment is not sent */
	const char *unix_path; /* a local socket in place of url's host; NULL: none */
	bool is_post; /* else GET */
	const char *const
		*headers; /* "Name: value", NULL at the end; NULL: none but the usual ones */
	const char *
		bearer; /* token for Authorization (RFC 6750 2.1); not sent after a redirect to another host; NULL: none */
	uint64_t body_len; /* of a POST */
	/* Bytes of the body from offset on: as many as it says, or an error, which ends the request. */
	ssize_t (*read)(struct http_request *r, uint64_t offset, void *dst, size_t len);
	int64_t connect_timeout_ms; /* DNS, TCP, proxy and TLS */
	int64_t timeout_ms; /* without a byte sent or received, and from the last byte sent to the answer's headers */
	int64_t slow_bytes; /* fewer than that received in each timeout_ms of the body are too slow; 0: any will do */
	uint64_t rate_bytes_s; /* received at most; 0: no limit */
	unsigned redirects; /* that are followed */
	/* The headers are complete: r->answer is filled. 0 to go on with the body, or an error that ends the request. NULL: go on. */
	int (*begin)(struct http_request *r);
	/* A piece of the body, which is never compressed. 0, or an error that ends the request. */
	int (*body)(struct http_request *r, const uint8_t *p, size_t len);
	/* From the loop, once. err: 0, and the answer is complete whatever its status; what begin(), read() or body() have
	 * returned; or ERR_DNS, ERR_REFUSED, ERR_UNREACHABLE, ERR_TIMEOUT, ERR_TLS, ERR_TLS_VERIFY, ERR_CLOSED, ERR_RESET, ERR_NET,
	 * ERR_HTTP (no HTTP, or a redirect that is not followed: where none is, answer.status is its own and why says where it points), ERR_AUTH (the proxy wants a login), ERR_CONFIG (no URL that could be
	 * asked), ERR_NOMEM, ERR_ENTROPY, ERR_NOENT and ERR_ACCESS (the local socket). why: one line for a person that names what was asked ("http://h/x: connection
	 * refused"), with user and password of no URL in it; "" when err is 0. It may be started again from within. */
	void (*done)(struct http_request *r, int err, const char *why);
	void *user;
	struct http_answer answer;
	uint64_t sent; /* bytes of the body, for progress */
	void *impl; /* private; NULL: not under way */
};

/* Allocates what is shared. *out: NULL before and after an error. 0, ERR_NOMEM, or an error of tls_context_load() with why filled. */
int http_open(struct http **out, const struct http_cfg *cfg, char *why, size_t why_cap);

/* Certificates and keys are read again. Requests under way go on with what they began with. As http_open(); on an error all stays. */
int http_reload(struct http *h, char *why, size_t why_cap);

/* 0: done() will be called. ERR_NOMEM, ERR_LIMIT (URL too long), ERR_CONFIG (no URL of http or https), ERR_UNSUPPORTED (https without TLS): it will not, and
 * why says what is wrong. */
int http_start(struct http *h, struct http_request *r, char *why, size_t why_cap);
/* Another limit for a request under way; 0: none. */
void http_set_rate(struct http_request *r, uint64_t rate_bytes_s);
/* Ends it without done(). Harmless when it is not under way. It may be called from within any callback of any request, as
 * all that follows may. */
void http_stop(struct http_request *r);
bool http_is_under_way(const struct http_request *r);

/* Ends all requests without done(), and closes all connections. NULL is harmless. */
void http_close(struct http *h);

/* Whether a URL could be asked, before anything is done: 0, or an error as of http_start(). */
int http_check_url(const char *url, char *why, size_t why_cap);

/* "libcurl 8.14.1" */
const char *http_library_version(void);

#endif
