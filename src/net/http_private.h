/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of http.h share; nothing else includes it. */
#ifndef ETCHLET_NET_HTTP_PRIVATE_H
#define ETCHLET_NET_HTTP_PRIVATE_H

#include "net/http.h"
#include "net/http_multi.h"
#include "net/tls.h"
#include "net/tls_peer.h"

/* -- URLs (http_url.c) ---------------------------------------------------------------------------- */

enum {
	HTTP_SHOW_MAX = 400, /* bytes of a URL as it is shown, NUL included */
	HTTP_LOGIN_MAX = 256, /* bytes of a user or a password in a URL, NUL included */
};

struct http_url {
	char text[HTTP_URL_MAX]; /* without user, password and fragment */
	char host[PORT_HOST_MAX]; /* IPv6 without brackets */
	uint16_t port;
	bool is_https;
	char user[HTTP_LOGIN_MAX], password[HTTP_LOGIN_MAX]; /* decoded; "": none */
};

/* base: where text, which may be relative, was found (RFC 3986 5); such a URL has no login. NULL: text is absolute, and the owner's.
 * 0; ERR_NOMEM, ERR_LIMIT, ERR_CONFIG, ERR_UNSUPPORTED, with a few words in why that don't name the URL. */
int http_url_parse(struct http_url *out, const struct http_url *base, const char *text, char *why,
	size_t why_cap);
bool http_url_is_same_origin(const struct http_url *a, const struct http_url *b);
/* "https://h:1/path?...", fit to be shown. Returns dst. */
char *http_url_show(char dst[HTTP_SHOW_MAX], const struct http_url *u, const char *unix_path);

/* -- headers of an answer (http_head.c) ----------------------------------------------------------- */

enum { HTTP_LOCATION_MAX = HTTP_URL_MAX };

struct http_head {
	struct http_answer answer;
	size_t len; /* of all lines so far, those of interim answers included */
	bool is_complete, is_chunked, is_location_too_long;
	int64_t date_s, retry_s,
		modified_s; /* of Date, Retry-After and Last-Modified, since 1970; -1: not told */
	char location[HTTP_LOCATION_MAX];
};

/* Nothing is known, but len stays. */
void http_head_reset(struct http_head *head);
/* One line as libcurl hands it over, with its end. 0; ERR_LIMIT (too many); ERR_HTTP. is_complete is set by the empty line of the last one. */
int http_head_take(struct http_head *head, const char *line, size_t len);
/* RFC 9110 15.4: whether the answer sends somewhere else. */
bool http_head_is_redirect(const struct http_head *head);

/* -- certificates (http_trust.c) ------------------------------------------------------------------ */

struct http_trust;

/* What the files hold, read now or by somebody else in this turn of the loop. 0, ERR_NOMEM, or an error of tls_context_load() with why filled. */
int http_trust_enter(struct http_trust **out, const struct loop *loop,
	const struct tls_files *files, char *why, size_t why_cap);
/* NULL of NULL. */
struct tls_context *http_trust_tls(const struct http_trust *t);
/* NULL is harmless. */
void http_trust_leave(struct http_trust *t);

/* -- one request under way (http_call.c) ---------------------------------------------------------- */

/* Connections that began with the same certificates. It lives until nobody uses it. */
struct http_pool {
	struct http_multi multi;
	bool is_open; /* multi is */
	struct http_trust *trust; /* NULL: none */
	unsigned users;
};

void http_pool_leave(struct http_pool *p);
const struct proxy_set *http_proxies(const struct http *h);

enum http_phase {
	HTTP_RESOLVE, /* connect_timeout_ms holds for it and the next */
	HTTP_CONNECT,
	HTTP_WAIT, /* sending, and for the headers of the answer */
	HTTP_BODY,
};

struct http_call {
	struct http *http; /* NULL: its owner has ended it */
	struct http_request *r; /* as well */
	struct http_pool *pool;
	struct loop *loop;
	struct http_call *next;
	enum http_phase phase;
	struct http_url url;
	bool has_login; /* Authorization goes along */
	unsigned hops; /* redirects that were followed */
	bool is_next; /* the answer sends to head.location, where it goes when libcurl lets go of this one */
	int err; /* why a callback of libcurl's ended it, with words in why; 0: it did not */
	char why[HTTP_WHY_MAX];
	const struct proxy *proxy; /* of this hop; NULL: none. Looked at while it is set up only */
	bool has_proxy;
	char proxy_text[PROXY_TEXT_MAX]; /* the same for a person; "": none */
	struct port_resolve resolve;
	struct loop_fd resolve_fd;
	struct http_transfer t;
	struct curl_slist *headers, *names;
	char error[CURL_ERROR_SIZE];
	struct tls_peer peer;
	const void *ssl; /* which TLS connection it uses; only to tell it from others */
	struct http_head head;
	struct loop_timer timer; /* of the phase */
	int64_t since_ms; /* of the phase, or of the last progress in it */
	int64_t seen_bytes; /* sent, when that was looked at last */
	int64_t window_ms; /* the body is measured from then on */
	uint64_t body_len, window_len, dropped_len;
	struct loop_timer resume; /* set while it is held for the sake of the rate */
	int64_t due_ms; /* when the next piece may come */
	bool is_held;
};

/* Begins the request at c->url. 0, or an error with c->why filled. */
int http_call_begin(struct http_call *c);
/* Frees what a hop has taken; libcurl has let go of it. */
void http_call_clean(struct http_call *c);
/* All of it is over: tells the owner, and frees c. From the loop. */
void http_call_finish(struct http_call *c, int err, const char *why);
/* libcurl has let go: on to the next hop, or freed. */
void http_call_gone(struct http_transfer *t);
/* Frees a call that libcurl has nothing of. */
void http_call_free(struct http_call *c);
/* What a piece of the body means for the rate: it was taken now. */
void http_call_count_rate(struct http_call *c, size_t len);
/* The rest of the body waits until the rate allows it. */
void http_call_hold(struct http_call *c);
void http_call_set_phase(struct http_call *c, enum http_phase phase);

/* -- what an easy handle is told (http_easy.c) ---------------------------------------------------- */

/* Sets up c->t.easy for c->url, with addresses of the name to connect to (count 0: needs none). 0, ERR_NOMEM, ERR_UNSUPPORTED. */
int http_easy_set_up(struct http_call *c, const char *host, uint16_t port,
	const struct port_addr *addrs, size_t count);

/* -- what went wrong (http_why.c) ----------------------------------------------------------------- */

/* An error of ours and words, without the URL, for what libcurl ended with. */
int http_explain(struct http_call *c, CURLcode result, char *why, size_t why_cap);

#endif
