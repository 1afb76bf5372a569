/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of the TLS adapter share; nothing else includes it. */
#ifndef ETCHLET_NET_TLS_INTERNAL_H
#define ETCHLET_NET_TLS_INTERNAL_H

#include <mbedtls/build_info.h>
#include <mbedtls/pk.h>
#include <mbedtls/platform.h>
#include <mbedtls/ssl.h>
#include <mbedtls/x509_crt.h>

#include "net/conn.h"
#include "net/tls.h"
#include "net/tls_peer.h"
#include "port/port.h"

enum { TLS_SUBJECT_MAX = 160 }; /* bytes of a certificate's subject that are shown, NUL included */

/* What was read from files. A connection keeps its own until it ends, whatever is read meanwhile. */
struct tls_keys {
	mbedtls_ssl_config conf;
	mbedtls_x509_crt ca, cert;
	mbedtls_pk_context key;
	bool has_ca, has_cert, is_unverified;
	int ca_unusable; /* certificates in the bundle that mbedTLS cannot use */
	int cause; /* of libcurl's connections: ERR_ENTROPY when there were no random numbers */
	const void
		*failed_ssl; /* the connection of libcurl's that failed last after its handshake */
	int failed_ret;
	uint8_t failed_alert; /* 0: it was none */
	bool is_replaced; /* the context has newer ones: the connection frees these */
};

/* To resume at a server: by name and port, for a ticket of one says nothing about another. */
struct tls_session {
	bool is_set;
	char host[PORT_HOST_MAX];
	uint16_t port;
	uint32_t used; /* the lowest is the oldest */
	int64_t not_after_s; /* when the first certificate that vouched for it expires */
	mbedtls_ssl_session session;
};

struct tls {
	mbedtls_ssl_context ssl;
	struct tls_context *ctx;
	struct tls_keys *keys;
	int fd;
	int want;
	size_t pending_len; /* bytes in a record that tls_send() could not send whole */
	bool is_out_whole; /* all that mbedTLS wanted to send was taken */
	uint16_t port;
	bool is_broken;
	bool is_offered; /* a session was offered to the server */
	unsigned tickets;
	struct tls_peer peer;
};

struct tls_context {
	struct tls_keys *keys;
	struct tls conn;
	bool is_in_use;
	bool is_freed; /* while it was in use: the end of the connection frees it */
	uint32_t clock;
	struct tls_session sessions[CONFIG_TLS_SESSION_COUNT];
};

/* Random numbers for mbedTLS. *cause receives ERR_ENTROPY when there are none. */
int tls_random(void *cause, unsigned char *dst, size_t len);

/* Wall clock, but never before this program was built. */
int64_t tls_now_s(void);

/* Whether the wall clock cannot be right. */
bool tls_is_clock_behind(void);

/* Seconds since 1970 of a time in UTC. */
int64_t tls_time_s(const mbedtls_x509_time *t);

/* "2026-01-31" */
char *tls_date(char dst[16], int64_t s);

/* The subject of a certificate, fit to be shown: "CN=server". */
char *tls_subject(char dst[TLS_SUBJECT_MAX], const mbedtls_x509_name *name);

/* mbedTLS's verification callback; user is the struct tls_peer. */
int tls_verify(void *user, mbedtls_x509_crt *crt, int depth, uint32_t *flags);

/* Turns what mbedTLS returned into a code of ours and words. The connection is no use after it. ssl may be NULL when p->is_done. */
int tls_explain_failure(
	struct tls_peer *p, const mbedtls_ssl_context *ssl, int ret, char *why, size_t why_cap);

/* Sets up what all connections have in common: versions, ciphers, certificates, random numbers. 0 or an error of mbedTLS. *cause, which
 * lives as long as conf, receives ERR_ENTROPY when there are no random numbers. */
int tls_conf_set_up(mbedtls_ssl_config *conf, struct tls_keys *k, int *cause);

void tls_keys_free(struct tls_keys *k);

/* The session kept for the server of t, or NULL. */
struct tls_session *tls_session_find(struct tls *t);
/* Keeps the session of t for the next connection to its server. */
void tls_session_keep(struct tls *t);
void tls_session_drop(struct tls_session *s);

#endif
