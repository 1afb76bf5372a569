/* SPDX-License-Identifier: Apache-2.0 */
/* One connection: handshake, records, and the sessions that are kept for the next one. */
#include "net/tls.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <mbedtls/net_sockets.h>
#include <mbedtls/version.h>

#include "base/err.h"
#include "base/kconfig.h"
#include "net/tls_internal.h"

enum {
	TLS_RECORD_MAX = 16384, /* RFC 8446 5.1 */
	/* TLS 1.3 tickets that are looked at in one connection. A server sends one or two; each
	 * costs a handful of hashes, and thousands of them would be an attack. */
	TLS_TICKETS_MAX = 32,
};

/* -- sessions --------------------------------------------------------------------------------- */

struct tls_session *tls_session_find(struct tls *t)
{
	for (size_t i = 0; i < CONFIG_TLS_SESSION_COUNT; i++) {
		struct tls_session *s = &t->ctx->sessions[i];

		if (s->is_set && s->port == t->port && strcmp(s->host, t->peer.host) == 0)
			return s;
	}
	return NULL;
}

void tls_session_drop(struct tls_session *s)
{
	if (s->is_set)
		mbedtls_ssl_session_free(&s->session);
	s->is_set = false;
}

/* A place for the server of t: a free one, else that of the server not seen for longest. */
static struct tls_session *session_place(struct tls *t)
{
	struct tls_session *place = &t->ctx->sessions[0];

	for (size_t i = 0; i < CONFIG_TLS_SESSION_COUNT; i++) {
		struct tls_session *s = &t->ctx->sessions[i];

		if (!s->is_set)
			return s;
		if (s->used < place->used)
			place = s;
	}
	return place;
}

void tls_session_keep(struct tls *t)
{
	struct tls_session *s = tls_session_find(t);

	/* The files were read anew meanwhile: this connection's trust is not that of the next. */
	if (t->keys != t->ctx->keys)
		return;
	if (!s)
		s = session_place(t);
	tls_session_drop(s);
	mbedtls_ssl_session_init(&s->session);
	if (mbedtls_ssl_get_session(&t->ssl, &s->session)) {
		/* Out of memory, or the session was handed out before: a full handshake next time. */
		mbedtls_ssl_session_free(&s->session);
		return;
	}
	memcpy(s->host, t->peer.host, sizeof(s->host));
	s->port = t->port;
	s->not_after_s = t->peer.not_after_s;
	s->used = ++t->ctx->clock;
	s->is_set = true;
}

static void session_offer(struct tls *t)
{
	struct tls_session *s = tls_session_find(t);

	if (!s)
		return;
	/* A resumed handshake shows no certificate, so its date is looked at here. */
	if (tls_now_s() > s->not_after_s || mbedtls_ssl_set_session(&t->ssl, &s->session)) {
		tls_session_drop(s);
		return;
	}
	s->used = ++t->ctx->clock;
	t->peer.not_after_s = s->not_after_s;
	t->is_offered = true;
}

/* -- the socket beneath ----------------------------------------------------------------------- */

/*
 * A server that refuses our certificate says so and closes while we are still sending: the failure
 * of sending must not hide its reason, which is waiting to be read. In the clear it is the record
 * 21, version, length 2, level, alert (RFC 5246 6.2.1, 7.2).
 */
static void tls_look_for_alert(struct tls *t)
{
	uint8_t record[7];

	if (!t->peer.is_done && port_tcp_recv(t->fd, record, sizeof(record)) == sizeof(record) &&
		record[0] == MBEDTLS_SSL_MSG_ALERT && record[3] == 0 && record[4] == 2)
		t->peer.raw_alert = record[6];
}

static int tls_on_send(void *user, const unsigned char *p, size_t len)
{
	struct tls *t = user;
	ssize_t n = port_tcp_send(t->fd, p, len);

	t->is_out_whole = n == (ssize_t)len;
	if (n >= 0)
		return (int)n;
	if (n == ERR_AGAIN)
		return MBEDTLS_ERR_SSL_WANT_WRITE;
	t->peer.cause = (int)n;
	tls_look_for_alert(t);
	return MBEDTLS_ERR_NET_SEND_FAILED;
}

static int tls_on_recv(void *user, unsigned char *p, size_t len)
{
	struct tls *t = user;
	ssize_t n = port_tcp_recv(t->fd, p, len);

	if (n >= 0)
		return (int)n;
	if (n == ERR_AGAIN)
		return MBEDTLS_ERR_SSL_WANT_READ;
	t->peer.cause = (int)n;
	return n == ERR_CLOSED ? 0 : MBEDTLS_ERR_NET_RECV_FAILED;
}

/* -- a connection ----------------------------------------------------------------------------- */

/* Turns what mbedTLS returned into a code of ours and words. The connection is no use after it. */
static int tls_failed(struct tls *t, int ret, char *why, size_t why_cap)
{
	t->is_broken = true;
	return tls_explain_failure(&t->peer, &t->ssl, ret, why, why_cap);
}

int tls_start(struct tls **out, struct tls_context *ctx, int fd, const char *host, uint16_t port,
	char *why, size_t why_cap)
{
	struct tls *t = &ctx->conn;
	int ret;

	*out = NULL;
	if (ctx->is_in_use) {
		(void)snprintf(why, why_cap, "a TLS connection is open already");
		return ERR_BUG;
	}
	memset(t, 0, sizeof(*t));
	if (tls_peer_set(&t->peer, host)) {
		(void)snprintf(why, why_cap, "the host name is too long");
		return ERR_LIMIT;
	}
	if (!ctx->keys->has_ca && !ctx->keys->is_unverified) {
		(void)snprintf(why, why_cap, "no trusted certificates are known (cacert)");
		return ERR_TLS_VERIFY;
	}
	t->ctx = ctx;
	t->keys = ctx->keys;
	t->fd = fd;
	t->want = PORT_POLL_OUT;
	t->peer.has_cert = t->keys->has_cert;
	t->port = port;
	mbedtls_ssl_init(&t->ssl);
	ctx->is_in_use = true;
	ret = mbedtls_ssl_setup(&t->ssl, &t->keys->conf);
	/* A literal is no server name (RFC 6066 3). tls_verify() looks for it by itself. */
	if (!ret)
		ret = mbedtls_ssl_set_hostname(&t->ssl, t->peer.is_literal ? NULL : t->peer.host);
	if (ret) {
		ret = tls_failed(t, ret, why, why_cap);
		tls_end(t);
		return ret;
	}
	mbedtls_ssl_set_verify(&t->ssl, tls_verify, &t->peer);
	mbedtls_ssl_set_bio(&t->ssl, t, tls_on_send, tls_on_recv, NULL);
	session_offer(t);
	*out = t;
	return 0;
}

/* Whether ret means to wait; t->want says for what. */
static bool tls_is_waiting(struct tls *t, int ret)
{
	if (ret == MBEDTLS_ERR_SSL_WANT_READ)
		t->want = PORT_POLL_IN;
	else if (ret == MBEDTLS_ERR_SSL_WANT_WRITE)
		t->want = PORT_POLL_OUT;
	else
		return false;
	return true;
}

static int tls_check_peer(struct tls *t, char *why, size_t why_cap)
{
	/* The last of several locks: whoever was neither looked at nor known from before is nobody. */
	if (!t->keys->is_unverified && !t->peer.is_verified && !t->is_offered) {
		(void)snprintf(why, why_cap, "the server showed no certificate");
		return ERR_TLS_VERIFY;
	}
	if (!mbedtls_ssl_get_alpn_protocol(&t->ssl)) {
		(void)snprintf(why, why_cap, "%s", err_text(ERR_TLS_ALPN));
		return ERR_TLS_ALPN;
	}
	return 0;
}

int tls_handshake(struct tls *t, char *why, size_t why_cap)
{
	int ret, err;

	if (t->is_broken)
		return ERR_BUG;
	do {
		ret = mbedtls_ssl_handshake(&t->ssl);
	} while (ret == MBEDTLS_ERR_SSL_WANT_READ && tls_has_pending(t));
	if (tls_is_waiting(t, ret))
		return ERR_AGAIN;
	if (ret)
		return tls_failed(t, ret, why, why_cap);
	err = tls_check_peer(t, why, why_cap);
	if (err) {
		t->is_broken = true;
		return err;
	}
	t->peer.is_done = true;
	/* TLS 1.3 brings its tickets later, among the data. */
	if (mbedtls_ssl_get_version_number(&t->ssl) == MBEDTLS_SSL_VERSION_TLS1_2)
		tls_session_keep(t);
	return 0;
}

ssize_t tls_recv(struct tls *t, void *dst, size_t len, char *why, size_t why_cap)
{
	int ret;

	if (!t->peer.is_done || t->is_broken)
		return ERR_BUG;
	for (;;) {
		ret = mbedtls_ssl_read(&t->ssl, dst, len < TLS_RECORD_MAX ? len : TLS_RECORD_MAX);
		if (ret == MBEDTLS_ERR_SSL_RECEIVED_NEW_SESSION_TICKET) {
			if (++t->tickets > TLS_TICKETS_MAX) {
				t->is_broken = true;
				(void)snprintf(why, why_cap, "too many session tickets");
				return ERR_LIMIT;
			}
			tls_session_keep(t);
		} else if (ret != MBEDTLS_ERR_SSL_WANT_READ || !tls_has_pending(t)) {
			break;
		}
		/* A ticket that waits inside mbedTLS is announced by no poll: go on. */
	}
	if (ret > 0)
		return ret;
	if (tls_is_waiting(t, ret))
		return ERR_AGAIN;
	return tls_failed(t, ret, why, why_cap);
}

ssize_t tls_send(struct tls *t, const void *src, size_t len, char *why, size_t why_cap)
{
	int max_len, ret;

	if (!t->peer.is_done || t->is_broken || len < t->pending_len)
		return ERR_BUG;
	max_len = mbedtls_ssl_get_max_out_record_payload(&t->ssl);
	if (max_len < 0)
		return tls_failed(t, max_len, why, why_cap);
	/*
	 * A record that is half sent holds exactly the bytes of the first call: mbedTLS would
	 * report the length of this one, of which the rest was never sent. And a call that reads may
	 * have sent the other half, before it looked at a ticket: then mbedTLS has forgotten the
	 * record, and would send its bytes a second time.
	 */
	if (t->pending_len)
		len = t->pending_len;
	else if (len > (size_t)max_len)
		len = (size_t)max_len;
	if (t->pending_len && t->is_out_whole)
		ret = (int)len;
	else
		ret = mbedtls_ssl_write(&t->ssl, src, len);
	if (ret > 0) {
		t->pending_len = 0;
		return ret;
	}
	if (ret == MBEDTLS_ERR_SSL_RECEIVED_NEW_SESSION_TICKET) {
		/* One that tls_recv() had begun to look at. */
		tls_session_keep(t);
		ret = MBEDTLS_ERR_SSL_WANT_WRITE;
	}
	if (tls_is_waiting(t, ret)) {
		/* Nothing is stuck: what it waits for came before a record was made of src. */
		if (!t->is_out_whole)
			t->pending_len = len;
		return ERR_AGAIN;
	}
	return tls_failed(t, ret, why, why_cap);
}

int tls_want(const struct tls *t)
{
	return t->want;
}

bool tls_has_pending(const struct tls *t)
{
	return !t->is_broken && mbedtls_ssl_check_pending(&t->ssl);
}

void tls_end(struct tls *t)
{
	struct tls_context *ctx;

	if (!t)
		return;
	ctx = t->ctx;
	/* One attempt: who closes does not wait, and the peer knows by the end of TCP. */
	if (t->peer.is_done && !t->is_broken && !t->pending_len)
		(void)mbedtls_ssl_close_notify(&t->ssl);
	/* A session with which no handshake came to its end may be why. */
	if (t->is_offered && !t->peer.is_done) {
		struct tls_session *s = tls_session_find(t);

		if (s)
			tls_session_drop(s);
	}
	mbedtls_ssl_free(&t->ssl);
	if (t->keys->is_replaced)
		tls_keys_free(t->keys);
	t->keys = NULL;
	ctx->is_in_use = false;
	if (ctx->is_freed)
		tls_context_free(ctx);
}

const char *tls_describe(const struct tls *t, char *dst, size_t cap)
{
	if (!t || !t->peer.is_done)
		(void)snprintf(dst, cap, "%s", "");
	else
		(void)snprintf(dst, cap, "%s %s%s", mbedtls_ssl_get_version(&t->ssl),
			mbedtls_ssl_get_ciphersuite(&t->ssl),
			t->is_offered && !t->peer.is_verified && !t->keys->is_unverified
				? ", resumed"
				: "");
	return dst;
}

const char *tls_library_version(void)
{
	return "mbedTLS " MBEDTLS_VERSION_STRING;
}
