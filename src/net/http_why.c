/* SPDX-License-Identifier: Apache-2.0 */
/* What libcurl ended with, in a code of ours and in words. */
#include "net/http_private.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "base/kconfig.h"
#include "base/log.h"
#include "net/tls_http.h"

/* The error of the system beneath it; 0: none, or one that says nothing. */
static int call_system_error(struct http_call *c)
{
	long number = 0;
	int err;

	(void)curl_easy_getinfo(c->t.easy, CURLINFO_OS_ERRNO, &number);
	err = number ? err_from_errno((int)number) : 0;
	return err == ERR_AGAIN ? 0 : err == ERR_PIPE ? ERR_CLOSED : err;
}

static int say(int err, const char *what, char *why, size_t why_cap)
{
	(void)snprintf(why, why_cap, "%s", what ? what : err_text(err));
	return err;
}

/* libcurl's own words, which may hold some of the network's. */
static int say_more(struct http_call *c, int err, const char *what, char *why, size_t why_cap)
{
	char shown[LOG_SHOW_MAX];

	log_show(shown, sizeof(shown), c->error, strlen(c->error));
	(void)snprintf(
		why, why_cap, "%s%s%s%s", what, shown[0] ? " (" : "", shown, shown[0] ? ")" : "");
	return err;
}

static int explain_connect(struct http_call *c, char *why, size_t why_cap)
{
	int err = call_system_error(c);
	const char *proxy = c->has_proxy ? "the proxy: " : "";

	if (c->r->unix_path && err == ERR_REFUSED)
		return say(err, "nobody answers at this local socket", why, why_cap);
	if (!err)
		return say_more(c, ERR_UNREACHABLE,
			c->has_proxy ? "no connection, or none that the proxy makes"
				     : "no connection",
			why, why_cap);
	(void)snprintf(why, why_cap, "%s%s", proxy, err_text(err));
	return err;
}

/* A proxy that answered, and not as was hoped. */
static int explain_proxy(struct http_call *c, CURLcode result, char *why, size_t why_cap)
{
	long status = 0, code = 0;

	(void)curl_easy_getinfo(c->t.easy, CURLINFO_HTTP_CONNECTCODE, &status);
	(void)curl_easy_getinfo(c->t.easy, CURLINFO_PROXY_ERROR, &code);
	if (status == 407 || code == CURLPX_USER_REJECTED || code == CURLPX_NO_AUTH)
		return say(ERR_AUTH, "the proxy wants a login, or another one", why, why_cap);
	if (status >= 300) {
		(void)snprintf(why, why_cap, "the proxy refused with status %ld", status);
		return ERR_UNREACHABLE;
	}
	switch (code) {
	case CURLPX_REPLY_CONNECTION_REFUSED:
		return say(ERR_REFUSED, "the proxy says: connection refused", why, why_cap);
	case CURLPX_REPLY_HOST_UNREACHABLE:
	case CURLPX_REPLY_NETWORK_UNREACHABLE:
	case CURLPX_REPLY_TTL_EXPIRED:
		return say(ERR_UNREACHABLE, "the proxy says: unreachable", why, why_cap);
	case CURLPX_REPLY_NOT_ALLOWED:
		return say(ERR_UNREACHABLE, "the proxy does not allow it", why, why_cap);
	default:
		break;
	}
	if (result == CURLE_PROXY)
		return say_more(c, ERR_UNREACHABLE, "the proxy failed", why, why_cap);
	return 0;
}

static int explain_tls(struct http_call *c, CURLcode result, char *why, size_t why_cap)
{
	int err = call_system_error(c);

	if (c->peer.failed)
		return say(c->peer.failed, c->peer.why, why, why_cap);
	if (result == CURLE_PEER_FAILED_VERIFICATION)
		return say(ERR_TLS_VERIFY, c->peer.why[0] ? c->peer.why : NULL, why, why_cap);
	if (err)
		return say(err, NULL, why, why_cap);
	return say_more(c, ERR_TLS, "TLS failed", why, why_cap);
}

/* The connection broke. */
static int explain_broken(struct http_call *c, char *why, size_t why_cap)
{
	int err = call_system_error(c);

	if (IS_ENABLED(CONFIG_NET_TLS) &&
		tls_http_has_failed(http_trust_tls(c->pool->trust), c->ssl, &c->peer))
		return say(c->peer.failed, c->peer.why, why, why_cap);
	if (err)
		return say(err, NULL, why, why_cap);
	if (c->phase == HTTP_BODY)
		return say_more(c, ERR_CLOSED, "the answer breaks off", why, why_cap);
	return say_more(c, ERR_CLOSED, "the connection broke", why, why_cap);
}

int http_explain(struct http_call *c, CURLcode result, char *why, size_t why_cap)
{
	int err;

	if (c->err)
		return say(c->err, c->why, why, why_cap);
	if (result == CURLE_OUT_OF_MEMORY)
		return say(ERR_NOMEM, NULL, why, why_cap);
	err = c->has_proxy && c->phase == HTTP_CONNECT ? explain_proxy(c, result, why, why_cap) : 0;
	if (err)
		return err;
	switch (result) {
	case CURLE_COULDNT_RESOLVE_HOST:
	case CURLE_COULDNT_RESOLVE_PROXY:
		return say(ERR_DNS, NULL, why, why_cap);
	case CURLE_COULDNT_CONNECT:
		return explain_connect(c, why, why_cap);
	case CURLE_OPERATION_TIMEDOUT:
		return say(ERR_TIMEOUT, NULL, why, why_cap);
	case CURLE_SSL_CONNECT_ERROR:
	case CURLE_PEER_FAILED_VERIFICATION:
	case CURLE_SSL_CERTPROBLEM:
	case CURLE_SSL_CIPHER:
		return explain_tls(c, result, why, why_cap);
	case CURLE_ABORTED_BY_CALLBACK:
		if (c->peer.failed)
			return explain_tls(c, result, why, why_cap);
		return say(ERR_BUG, NULL, why, why_cap);
	case CURLE_GOT_NOTHING:
		return say(ERR_CLOSED, "the server closed the connection without an answer", why,
			why_cap);
	case CURLE_PARTIAL_FILE:
		(void)snprintf(why, why_cap,
			"the answer breaks off after %" PRIu64 " of %" PRId64 " bytes", c->body_len,
			c->head.answer.len);
		return ERR_CLOSED;
	case CURLE_SEND_ERROR:
	case CURLE_RECV_ERROR:
		return explain_broken(c, why, why_cap);
	case CURLE_WEIRD_SERVER_REPLY:
	case CURLE_UNSUPPORTED_PROTOCOL:
#if LIBCURL_VERSION_NUM >= 0x080600
	case CURLE_TOO_LARGE:
#endif
	case CURLE_BAD_CONTENT_ENCODING:
	case CURLE_HTTP2:
		return say_more(c, ERR_HTTP, "the answer is no HTTP, or none that is understood",
			why, why_cap);
	case CURLE_URL_MALFORMAT:
		return say(ERR_CONFIG, "no URL", why, why_cap);
	default:
		return say_more(c, ERR_NET, "it failed", why, why_cap);
	}
}
