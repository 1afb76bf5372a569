/* SPDX-License-Identifier: Apache-2.0 */
/*
 * libcurl is given a connection that is open already, stops before it would send a request (CURLOPT_CONNECT_ONLY), and
 * never closes the descriptor. It reads a proxy's answer byte by byte, or exactly as many as the next step of SOCKS has;
 * so what stands behind the answer stays in the socket for whoever reads it next.
 */
#include "net/tunnel.h"

#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "base/heap.h"
#include "base/log.h"
#include "net/http_multi.h"

enum {
	TUNNEL_URL_MAX = PORT_HOST_MAX + 24,
};

struct tunnel {
	struct tunnel_cfg cfg;
	struct http_multi multi;
	struct http_transfer transfer;
	bool is_fd_given; /* libcurl has the descriptor */
	bool is_closed; /* the owner is done with it */
	int status; /* of the proxy's answer; 0: none yet */
	size_t header_len;
	bool is_foreign; /* it does not speak HTTP/1 */
	int err;
	char reason[LOG_SHOW_MAX]; /* the words behind the status, fit to be shown */
	char why[TUNNEL_WHY_MAX];
	char curl_why[CURL_ERROR_SIZE];
};

/* -- what libcurl asks ---------------------------------------------------------------------------- */

static curl_socket_t tunnel_on_socket_open(
	void *user, curlsocktype purpose, struct curl_sockaddr *addr)
{
	struct tunnel *t = user;

	(void)purpose;
	(void)addr;
	/* Once: a second connection, which it makes for another try at a login, is not wanted. */
	if (t->is_fd_given)
		return CURL_SOCKET_BAD;
	t->is_fd_given = true;
	return t->cfg.fd;
}

static int tunnel_on_socket_options(void *user, curl_socket_t fd, curlsocktype purpose)
{
	(void)user;
	(void)fd;
	(void)purpose;
	return CURL_SOCKOPT_ALREADY_CONNECTED;
}

static int tunnel_on_socket_close(void *user, curl_socket_t fd)
{
	(void)user;
	(void)fd;
	return 0;
}

/* "HTTP/1.1 403 Forbidden" (RFC 9112 4). */
static bool tunnel_take_status(struct tunnel *t, const char *line, size_t len)
{
	static const char version[] = "HTTP/1.";
	size_t n = sizeof(version) - 1;
	int status = 0;

	if (len < n + 5 || memcmp(line, version, n) != 0 || line[n + 1] != ' ')
		return false;
	for (size_t i = n + 2; i < n + 5; i++) {
		if (line[i] < '0' || line[i] > '9')
			return false;
		status = status * 10 + (line[i] - '0');
	}
	line += n + 5;
	len -= n + 5;
	while (len && (line[len - 1] == '\n' || line[len - 1] == '\r' || line[len - 1] == ' '))
		len--;
	t->status = status;
	log_show(t->reason, sizeof(t->reason), line, len);
	return true;
}

/* A line of the proxy's answer. Nothing behind a refusal is read, for its page may have no end. */
static size_t tunnel_on_header(char *line, size_t size, size_t n, void *user)
{
	struct tunnel *t = user;
	size_t len = size * n;

	t->header_len += len;
	if (t->header_len > CONFIG_TUNNEL_HEADER_BYTES)
		return CURL_WRITEFUNC_ERROR;
	if (!t->status && !tunnel_take_status(t, line, len)) {
		t->is_foreign = true;
		return CURL_WRITEFUNC_ERROR;
	}
	if ((*line == '\r' || *line == '\n') && t->status / 100 != 2)
		return CURL_WRITEFUNC_ERROR;
	return len;
}

/* -- how it ended --------------------------------------------------------------------------------- */

__attribute__((format(printf, 3, 4))) static void tunnel_set_why(
	struct tunnel *t, int err, const char *fmt, ...)
{
	va_list ap;

	t->err = err;
	va_start(ap, fmt);
	(void)vsnprintf(t->why, sizeof(t->why), fmt, ap);
	va_end(ap);
}

static void tunnel_refused(struct tunnel *t)
{
	const struct tunnel_cfg *cfg = &t->cfg;

	if (t->status == 407 || (t->status == 401 && cfg->proxy->user))
		tunnel_set_why(t, ERR_AUTH, "%d%s: %s", t->status, t->reason,
			cfg->proxy->user ? "user or password is wrong"
					 : "it wants user and password");
	else if (t->status / 100 == 5)
		tunnel_set_why(t, ERR_UNREACHABLE, "it has no connection to %.*s:%u (%d%s)",
			(int)PORT_HOST_MAX, cfg->host, (unsigned)cfg->port, t->status, t->reason);
	else
		tunnel_set_why(t, ERR_REFUSED, "connection to %.*s:%u refused by it (%d%s)",
			(int)PORT_HOST_MAX, cfg->host, (unsigned)cfg->port, t->status, t->reason);
}

/* RFC 1928 6, in words. */
static void tunnel_socks_failed(struct tunnel *t, long code)
{
	const struct tunnel_cfg *cfg = &t->cfg;
	const char *why = NULL;
	int err = ERR_UNREACHABLE;

	switch (code) {
	case CURLPX_NO_AUTH:
	case CURLPX_USER_REJECTED:
		tunnel_set_why(t, ERR_AUTH, "%s",
			cfg->proxy->user ? "user or password is wrong"
					 : "it wants user and password");
		return;
	case CURLPX_BAD_VERSION:
	case CURLPX_UNKNOWN_MODE:
	case CURLPX_GSSAPI_PERMSG:
		tunnel_set_why(t, ERR_HTTP, "it does not speak SOCKS5");
		return;
	case CURLPX_CLOSED:
	case CURLPX_RECV_AUTH:
	case CURLPX_RECV_CONNECT:
	case CURLPX_RECV_REQACK:
	case CURLPX_RECV_ADDRESS:
	case CURLPX_SEND_AUTH:
	case CURLPX_SEND_CONNECT:
	case CURLPX_SEND_REQUEST:
		tunnel_set_why(t, ERR_CLOSED, "%s", err_text(ERR_CLOSED));
		return;
	case CURLPX_REPLY_NOT_ALLOWED:
		err = ERR_REFUSED;
		why = "not allowed";
		break;
	case CURLPX_REPLY_CONNECTION_REFUSED:
		err = ERR_REFUSED;
		why = "connection refused";
		break;
	case CURLPX_REPLY_NETWORK_UNREACHABLE:
		why = "network unreachable";
		break;
	case CURLPX_REPLY_HOST_UNREACHABLE:
		why = "host unreachable, or its name not known";
		break;
	case CURLPX_REPLY_TTL_EXPIRED:
		why = "TTL expired";
		break;
	case CURLPX_REPLY_ADDRESS_TYPE_NOT_SUPPORTED:
		why = "it does not know this kind of address";
		break;
	case CURLPX_REPLY_COMMAND_NOT_SUPPORTED:
		why = "it makes no connections";
		break;
	default:
		why = "general failure";
		break;
	}
	tunnel_set_why(t, err, "it has no connection to %.*s:%u (%s)", (int)PORT_HOST_MAX,
		cfg->host, (unsigned)cfg->port, why);
}

static void tunnel_broke_off(struct tunnel *t)
{
	long errnum = 0;

	(void)curl_easy_getinfo(t->transfer.easy, CURLINFO_OS_ERRNO, &errnum);
	/* Nothing else tells one line of more than its limit from the end of the connection. */
	if (strstr(t->curl_why, "too large"))
		tunnel_set_why(t, ERR_HTTP, "its answer has no end");
	else
		tunnel_set_why(t, ERR_CLOSED, "%s",
			err_text(errnum ? err_from_errno((int)errnum) : ERR_CLOSED));
}

static void tunnel_failed(struct tunnel *t, CURLcode result)
{
	long code = CURLPX_OK;

	if (t->is_foreign)
		tunnel_set_why(t, ERR_HTTP, "it does not speak HTTP/1");
	else if (t->header_len > CONFIG_TUNNEL_HEADER_BYTES)
		tunnel_set_why(t, ERR_HTTP, "its answer has no end");
	else if (t->status && t->status / 100 != 2)
		tunnel_refused(t);
	else if (result == CURLE_PROXY &&
		 curl_easy_getinfo(t->transfer.easy, CURLINFO_PROXY_ERROR, &code) == CURLE_OK)
		tunnel_socks_failed(t, code);
	else if (result == CURLE_RECV_ERROR || result == CURLE_SEND_ERROR)
		tunnel_broke_off(t);
	else if (result == CURLE_OUT_OF_MEMORY)
		tunnel_set_why(t, ERR_NOMEM, "%s", err_text(ERR_NOMEM));
	else
		tunnel_set_why(t, ERR_HTTP, "%s (libcurl: %d)", err_text(ERR_HTTP), (int)result);
}

/* libcurl has given everything back, its nodes in the loop too. */
static void tunnel_on_gone(struct http_multi *m)
{
	struct tunnel *t = (void *)((char *)m - offsetof(struct tunnel, multi));

	if (t->is_closed)
		heap_free(t);
	else
		t->cfg.done(t->cfg.user, t->err, t->why);
}

static void tunnel_on_done(struct http_transfer *transfer, CURLcode result)
{
	struct tunnel *t = transfer->user;

	if (result != CURLE_OK)
		tunnel_failed(t, result);
	http_multi_close(&t->multi, tunnel_on_gone);
}

/* -- the owner's side ----------------------------------------------------------------------------- */

static bool tunnel_set_login(CURL *easy, const struct proxy *proxy)
{
	if (!proxy->user)
		return true;
	return !curl_easy_setopt(easy, CURLOPT_PROXYUSERNAME, proxy->user) &&
	       !curl_easy_setopt(easy, CURLOPT_PROXYPASSWORD, proxy->password) &&
	       !curl_easy_setopt(easy, CURLOPT_PROXYAUTH, (long)CURLAUTH_BASIC) &&
	       !curl_easy_setopt(easy, CURLOPT_SOCKS5_AUTH, (long)CURLAUTH_BASIC);
}

static bool tunnel_set_socket(CURL *easy, struct tunnel *t)
{
	return !curl_easy_setopt(easy, CURLOPT_OPENSOCKETFUNCTION, tunnel_on_socket_open) &&
	       !curl_easy_setopt(easy, CURLOPT_OPENSOCKETDATA, t) &&
	       !curl_easy_setopt(easy, CURLOPT_SOCKOPTFUNCTION, tunnel_on_socket_options) &&
	       !curl_easy_setopt(easy, CURLOPT_CLOSESOCKETFUNCTION, tunnel_on_socket_close);
}

static bool tunnel_set_all(CURL *easy, struct tunnel *t)
{
	const struct tunnel_cfg *cfg = &t->cfg;
	bool is_v6 = strchr(cfg->host, ':') != NULL;
	char url[TUNNEL_URL_MAX], peer[PORT_ADDR_TEXT_MAX];

	(void)snprintf(url, sizeof(url), "http://%s%s%s:%u/", is_v6 ? "[" : "", cfg->host,
		is_v6 ? "]" : "", (unsigned)cfg->port);
	return !curl_easy_setopt(easy, CURLOPT_URL, url) &&
	       !curl_easy_setopt(easy, CURLOPT_CONNECT_ONLY, 1L) &&
	       !curl_easy_setopt(easy, CURLOPT_PROXY, port_addr_format(peer, cfg->peer)) &&
	       !curl_easy_setopt(easy, CURLOPT_PROXYTYPE,
		       (long)(cfg->proxy->kind == PROXY_SOCKS5H ? CURLPROXY_SOCKS5_HOSTNAME
								: CURLPROXY_HTTP)) &&
	       !curl_easy_setopt(easy, CURLOPT_HTTPPROXYTUNNEL, 1L) &&
	       !curl_easy_setopt(easy, CURLOPT_NOPROXY, "") &&
	       !curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, tunnel_on_header) &&
	       !curl_easy_setopt(easy, CURLOPT_HEADERDATA, t) &&
	       !curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, t->curl_why) &&
	       !curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L) &&
	       /* The owner's deadline is the one that counts. */
	       !curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS, (long)INT32_MAX) &&
	       tunnel_set_socket(easy, t) && tunnel_set_login(easy, cfg->proxy);
}

int tunnel_open(struct tunnel **out, const struct tunnel_cfg *cfg)
{
	struct tunnel *t = heap_calloc(1, sizeof(*t));

	*out = NULL;
	if (!t)
		return ERR_NOMEM;
	t->cfg = *cfg;
	if (http_multi_open(&t->multi, cfg->loop, 0)) {
		heap_free(t);
		return ERR_NOMEM;
	}
	t->transfer.user = t;
	t->transfer.done = tunnel_on_done;
	t->transfer.easy = curl_easy_init();
	if (t->transfer.easy && tunnel_set_all(t->transfer.easy, t) &&
		!http_multi_add(&t->multi, &t->transfer)) {
		*out = t;
		return 0;
	}
	curl_easy_cleanup(t->transfer.easy);
	t->is_closed = true;
	http_multi_close(&t->multi, tunnel_on_gone);
	return ERR_NOMEM;
}

void tunnel_close(struct tunnel *t)
{
	if (!t || t->is_closed)
		return;
	t->is_closed = true;
	if (!t->multi.curl)
		heap_free(t);
	else if (!t->multi.is_closed)
		http_multi_close(&t->multi, tunnel_on_gone);
}
