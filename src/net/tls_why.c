/* SPDX-License-Identifier: Apache-2.0 */
/* What went wrong with a connection, in a code of ours and in words. */
#include "net/tls_internal.h"

#include <stdio.h>

#include "base/err.h"
#include "base/kconfig.h"

enum {
	TLS_ALERT_HANDSHAKE_FAILURE = 40, /* RFC 8446 6 */
	TLS_ALERT_BAD_CERTIFICATE = 42,
	TLS_ALERT_PROTOCOL_VERSION = 70,
	TLS_ALERT_CERTIFICATE_REQUIRED = 116,
	TLS_ALERT_NO_APPLICATION_PROTOCOL = 120,
};

static const char *alert_text(int alert)
{
	switch (alert) {
	case 10:
		return "unexpected message";
	case TLS_ALERT_HANDSHAKE_FAILURE:
		return "handshake failure, no common cipher or group";
	case TLS_ALERT_BAD_CERTIFICATE:
		return "bad certificate";
	case 43:
		return "unsupported certificate";
	case 44:
		return "certificate revoked";
	case 45:
		return "certificate expired";
	case 46:
		return "certificate not accepted";
	case 47:
		return "illegal parameter";
	case 48:
		return "unknown CA";
	case 49:
		return "access denied";
	case 50:
		return "message could not be decoded";
	case 51:
		return "signature or checksum wrong";
	case TLS_ALERT_PROTOCOL_VERSION:
		return "protocol version";
	case 71:
		return "insufficient security";
	case 80:
		return "internal error";
	case 112:
		return "unrecognised name";
	case TLS_ALERT_CERTIFICATE_REQUIRED:
		return "certificate required";
	default:
		return "no known reason";
	}
}

static int explain_alert(
	const struct tls_peer *p, const mbedtls_ssl_context *ssl, char *why, size_t why_cap)
{
	const uint8_t *in_msg = ssl ? ssl->MBEDTLS_PRIVATE(in_msg) : NULL;
	int alert = p->raw_alert ? p->raw_alert : in_msg ? in_msg[1] : 0;
	const char *hint = "";

	if (alert == TLS_ALERT_NO_APPLICATION_PROTOCOL) {
		(void)snprintf(why, why_cap, "%s", err_text(ERR_TLS_ALPN));
		return ERR_TLS_ALPN;
	}
	/* OpenSSL says "handshake failure" for a missing certificate; after the server's own flight
	 * it is about nothing else. */
	if (alert == TLS_ALERT_HANDSHAKE_FAILURE && p->is_verified && !p->has_cert)
		alert = TLS_ALERT_CERTIFICATE_REQUIRED;
	if (alert >= TLS_ALERT_BAD_CERTIFICATE && alert <= 49)
		hint = p->has_cert ? ": it is about our certificate"
				   : ": it may want a client certificate";
	else if (alert == TLS_ALERT_CERTIFICATE_REQUIRED)
		hint = ": it wants a client certificate";
	else if (alert == TLS_ALERT_PROTOCOL_VERSION)
		hint = IS_ENABLED(CONFIG_TLS_1_3) ? ": it takes neither TLS 1.2 nor 1.3"
						  : ": it does not take TLS 1.2, and this build "
						    "has no TLS 1.3";
	(void)snprintf(why, why_cap, "the server refused with alert %d (%s)%s", alert,
		alert_text(alert), hint);
	return alert == TLS_ALERT_CERTIFICATE_REQUIRED || (alert >= 42 && alert <= 49)
		       ? ERR_TLS_VERIFY
		       : ERR_TLS;
}

/* mbedTLS adds the code of a lower module to that of a higher one. */
static int code_high(int ret)
{
	return ret < 0 ? -(-ret & 0xff80) : ret;
}

static int explain_code(const struct tls_peer *p, int ret, char *why, size_t why_cap)
{
	const char *what;

	switch (code_high(ret)) {
	case MBEDTLS_ERR_SSL_ALLOC_FAILED:
	case MBEDTLS_ERR_X509_ALLOC_FAILED:
		(void)snprintf(why, why_cap, "%s", err_text(ERR_NOMEM));
		return ERR_NOMEM;
	case MBEDTLS_ERR_SSL_INVALID_RECORD:
	case MBEDTLS_ERR_SSL_UNEXPECTED_MESSAGE:
		what = p->is_done ? "malformed or unexpected TLS record"
				  : "the answer is not TLS, or not what belongs here (is it http?)";
		break;
	case MBEDTLS_ERR_SSL_INVALID_MAC:
		what = "a record was changed on its way";
		break;
	case MBEDTLS_ERR_SSL_BAD_PROTOCOL_VERSION:
		what = "the server has no TLS version that this build takes";
		break;
	case MBEDTLS_ERR_SSL_HANDSHAKE_FAILURE:
		what = "no common cipher, group or signature";
		break;
	case MBEDTLS_ERR_SSL_NO_APPLICATION_PROTOCOL:
		(void)snprintf(why, why_cap, "%s", err_text(ERR_TLS_ALPN));
		return ERR_TLS_ALPN;
	case MBEDTLS_ERR_X509_UNKNOWN_SIG_ALG:
	case MBEDTLS_ERR_X509_UNKNOWN_OID:
		(void)snprintf(why, why_cap,
			"a certificate of the server is signed in a way that is weak or unknown");
		return ERR_TLS_VERIFY;
	case MBEDTLS_ERR_PK_UNKNOWN_NAMED_CURVE:
	case MBEDTLS_ERR_PK_UNKNOWN_PK_ALG:
	case MBEDTLS_ERR_SSL_BAD_CERTIFICATE:
		(void)snprintf(why, why_cap,
			"a certificate of the server is of a kind that is not supported");
		return ERR_TLS_VERIFY;
	default:
		(void)snprintf(why, why_cap, "TLS failed (-0x%04x)", (unsigned)-ret);
		return ERR_TLS;
	}
	(void)snprintf(why, why_cap, "%s", what);
	return ERR_TLS;
}

int tls_explain_failure(
	struct tls_peer *p, const mbedtls_ssl_context *ssl, int ret, char *why, size_t why_cap)
{
	uint32_t flags = p->is_done ? 0 : mbedtls_ssl_get_verify_result(ssl);

	if (p->raw_alert)
		return explain_alert(p, ssl, why, why_cap);
	if (p->cause && p->cause != ERR_CLOSED) {
		(void)snprintf(why, why_cap, "%s", err_text(p->cause));
		return p->cause;
	}
	switch (ret) {
	case 0:
	case MBEDTLS_ERR_SSL_CONN_EOF:
	case MBEDTLS_ERR_SSL_PEER_CLOSE_NOTIFY:
		(void)snprintf(why, why_cap, "%s",
			p->is_done ? err_text(ERR_CLOSED)
				   : "the server closed the connection during the handshake");
		return ERR_CLOSED;
	case MBEDTLS_ERR_SSL_FATAL_ALERT_MESSAGE:
		return explain_alert(p, ssl, why, why_cap);
	case MBEDTLS_ERR_SSL_CA_CHAIN_REQUIRED:
		(void)snprintf(why, why_cap, "no trusted certificates are known (cacert)");
		return ERR_TLS_VERIFY;
	default:
		break;
	}
	if (!p->is_done && p->is_verified && !p->why[0] && flags && flags != UINT32_MAX)
		/* Found after the chain was looked at: what the certificate may be used for. */
		(void)snprintf(p->why, sizeof(p->why),
			"the certificate of the server is not meant for a server, or its key is of "
			"an unknown kind");
	if (!p->is_done && p->why[0]) {
		(void)snprintf(why, why_cap, "%s", p->why);
		return ERR_TLS_VERIFY;
	}
	return explain_code(p, ret, why, why_cap);
}
