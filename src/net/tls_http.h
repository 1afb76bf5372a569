/* SPDX-License-Identifier: Apache-2.0 */
/*
 * TLS inside libcurl, by the rules of net/tls.h: libcurl drives mbedTLS, and what it is to trust, offer and refuse is
 * put into its configuration from a tls_context.
 */
#ifndef ETCHLET_NET_TLS_HTTP_H
#define ETCHLET_NET_TLS_HTTP_H

#include <stdbool.h>

#include "net/tls.h"
#include "net/tls_peer.h"

/* Whether the library that libcurl names as its own ("mbedTLS/3.6.6") is the one that this module knows. */
bool tls_http_is_known(const char *ssl_version);

/*
 * For CURLOPT_SSL_CTX_FUNCTION: puts all of it into libcurl's mbedtls_ssl_config. p was set with tls_peer_set(), and stays where it
 * is until the handshake is over; ctx stays as it is, and is not loaded again, until the connection is closed; NULL: nothing is trusted.
 * 0; ERR_TLS_VERIFY (nothing is trusted) with p->failed and p->why filled; ERR_NOMEM.
 */
int tls_http_set_up(void *ssl_config, struct tls_context *ctx, struct tls_peer *p);

/* A request is about to use a connection: ssl is CURLINFO_TLS_SSL_PTR's. */
void tls_http_begin(struct tls_context *ctx, const void *ssl);
/* Whether it was TLS that broke that connection: then p->failed and p->why are filled. */
bool tls_http_has_failed(struct tls_context *ctx, const void *ssl, struct tls_peer *p);

#endif
