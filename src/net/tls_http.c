/* SPDX-License-Identifier: Apache-2.0 */
#include "net/tls_http.h"
#include "net/tls_internal.h"

#include <stdio.h>
#include <string.h>
#include <mbedtls/ctr_drbg.h>
#include <mbedtls/entropy.h>

#include "base/err.h"

bool tls_http_is_known(const char *ssl_version)
{
	return ssl_version && strncmp(ssl_version, "mbedTLS/", 8) == 0;
}

int tls_http_set_up(void *ssl_config, struct tls_context *ctx, struct tls_peer *p)
{
	mbedtls_ssl_config *conf = ssl_config;
	struct tls_keys *k = ctx ? ctx->keys : NULL;

	p->keys = k;
	p->has_cert = k && k->has_cert;
	if (!k || (!k->has_ca && !k->is_unverified)) {
		p->failed = ERR_TLS_VERIFY;
		(void)snprintf(p->why, sizeof(p->why), "no trusted certificates are known");
		return p->failed;
	}
	k->cause = 0;
	if (tls_conf_set_up(conf, k, &k->cause))
		return ERR_NOMEM;
	mbedtls_ssl_conf_verify(conf, tls_verify, p);
#if defined(MBEDTLS_SSL_SESSION_TICKETS)
	/* libcurl is told to keep no session: each connection shows its certificates. */
	mbedtls_ssl_conf_session_tickets(conf, MBEDTLS_SSL_SESSION_TICKETS_DISABLED);
#if defined(MBEDTLS_SSL_PROTO_TLS1_3)
	mbedtls_ssl_conf_tls13_enable_signal_new_session_tickets(
		conf, MBEDTLS_SSL_TLS1_3_SIGNAL_NEW_SESSION_TICKETS_DISABLED);
#endif
#endif
	return 0;
}

/* A connection may lie where another one lay before. */
void tls_http_begin(struct tls_context *ctx, const void *ssl)
{
	if (ctx && ctx->keys->failed_ssl == ssl)
		ctx->keys->failed_ssl = NULL;
}

bool tls_http_has_failed(struct tls_context *ctx, const void *ssl, struct tls_peer *p)
{
	struct tls_keys *k = ctx ? ctx->keys : NULL;

	if (!k || !ssl || k->failed_ssl != ssl)
		return false;
	k->failed_ssl = NULL;
	p->has_cert = k->has_cert;
	p->is_done = true;
	p->raw_alert = k->failed_alert;
	p->why[0] = '\0';
	p->failed = tls_explain_failure(p, NULL, k->failed_ret, p->why, sizeof(p->why));
	return true;
}

/*
 * What libcurl calls in place of mbedTLS's functions (net/curl_config.h), with their prototypes. Its generator of random
 * numbers keeps nothing and is the port: there are none that were not the port's, and when there are none the handshake fails.
 */
void http_curl_entropy_init(mbedtls_entropy_context *ctx);
void http_curl_entropy_free(mbedtls_entropy_context *ctx);
int http_curl_entropy(void *data, unsigned char *dst, size_t len);
void http_curl_random_init(mbedtls_ctr_drbg_context *ctx);
void http_curl_random_free(mbedtls_ctr_drbg_context *ctx);
int http_curl_random_seed(mbedtls_ctr_drbg_context *ctx,
	int (*entropy)(void *data, unsigned char *dst, size_t len), void *data,
	const unsigned char *custom, size_t len);
int http_curl_random(void *data, unsigned char *dst, size_t len);
int http_curl_set_hostname(mbedtls_ssl_context *ssl, const char *host);
int http_curl_handshake(mbedtls_ssl_context *ssl);
int http_curl_read(mbedtls_ssl_context *ssl, unsigned char *dst, size_t len);

void http_curl_entropy_init(mbedtls_entropy_context *ctx)
{
	(void)ctx;
}

void http_curl_entropy_free(mbedtls_entropy_context *ctx)
{
	(void)ctx;
}

int http_curl_entropy(void *data, unsigned char *dst, size_t len)
{
	(void)data;
	return tls_random(NULL, dst, len);
}

void http_curl_random_init(mbedtls_ctr_drbg_context *ctx)
{
	(void)ctx;
}

void http_curl_random_free(mbedtls_ctr_drbg_context *ctx)
{
	(void)ctx;
}

int http_curl_random_seed(mbedtls_ctr_drbg_context *ctx,
	int (*entropy)(void *data, unsigned char *dst, size_t len), void *data,
	const unsigned char *custom, size_t len)
{
	(void)ctx;
	(void)entropy;
	(void)data;
	(void)custom;
	(void)len;
	return 0;
}

int http_curl_random(void *data, unsigned char *dst, size_t len)
{
	(void)data;
	return tls_random(NULL, dst, len);
}

/* A literal is no server name (RFC 6066 3). tls_verify() looks for it by itself. */
int http_curl_set_hostname(mbedtls_ssl_context *ssl, const char *host)
{
	struct port_addr literal;

	return mbedtls_ssl_set_hostname(ssl, port_addr_parse(&literal, host, 0) ? host : NULL);
}

/* The last of several locks is here too: whoever was not looked at is nobody. */
int http_curl_handshake(mbedtls_ssl_context *ssl)
{
	struct tls_peer *p = ssl->MBEDTLS_PRIVATE(conf)->MBEDTLS_PRIVATE(p_vrfy);
	char why[TLS_WHY_MAX];
	int ret;

	/* What waits inside mbedTLS is announced by no poll. */
	do {
		ret = mbedtls_ssl_handshake(ssl);
	} while (ret == MBEDTLS_ERR_SSL_WANT_READ && mbedtls_ssl_check_pending(ssl));
	if (!ret && !p->keys->is_unverified && !p->is_verified) {
		p->failed = ERR_TLS_VERIFY;
		(void)snprintf(p->why, sizeof(p->why), "the server showed no certificate");
		return MBEDTLS_ERR_X509_CERT_VERIFY_FAILED;
	}
	if (!ret)
		p->is_done = true;
	if (p->keys->cause)
		p->cause = p->keys->cause;
	/* -1 is libcurl's: it knows what happened to the connection. */
	if (!ret || ret == MBEDTLS_ERR_SSL_WANT_READ || ret == MBEDTLS_ERR_SSL_WANT_WRITE ||
		(ret == -1 && !p->cause))
		return ret;
	p->failed = tls_explain_failure(p, ssl, ret, why, sizeof(why));
	memcpy(p->why, why, sizeof(why));
	return ret;
}

/* With TLS 1.3 a server refuses our certificate when we think that the handshake is over. Whose request the connection serves is not
 * known here, so what happened is kept where all connections have their certificates. */
int http_curl_read(mbedtls_ssl_context *ssl, unsigned char *dst, size_t len)
{
	int *cause = ssl->MBEDTLS_PRIVATE(conf)->MBEDTLS_PRIVATE(p_rng);
	struct tls_keys *k =
		(struct tls_keys *)(void *)((char *)cause - offsetof(struct tls_keys, cause));
	int ret = mbedtls_ssl_read(ssl, dst, len);

	if (ret < -1 && ret != MBEDTLS_ERR_SSL_WANT_READ && ret != MBEDTLS_ERR_SSL_WANT_WRITE &&
		ret != MBEDTLS_ERR_SSL_PEER_CLOSE_NOTIFY &&
		ret != MBEDTLS_ERR_SSL_RECEIVED_NEW_SESSION_TICKET) {
		const uint8_t *in_msg = ssl->MBEDTLS_PRIVATE(in_msg);

		k->failed_ssl = ssl;
		k->failed_ret = ret;
		k->failed_alert =
			ret == MBEDTLS_ERR_SSL_FATAL_ALERT_MESSAGE && in_msg ? in_msg[1] : 0;
	}
	return ret;
}
