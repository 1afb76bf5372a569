/* SPDX-License-Identifier: Apache-2.0 */
/* The other side of a TLS connection, as far as it must be told from others: who it has to be, and what was found. */
#ifndef ETCHLET_NET_TLS_PEER_H
#define ETCHLET_NET_TLS_PEER_H

#include <stdbool.h>
#include <stdint.h>

#include "port/port.h"

enum { TLS_WHY_MAX = 512 }; /* bytes of a reason, NUL included */

struct tls_keys;

struct tls_peer {
	char host[PORT_HOST_MAX]; /* without the root's dot; a literal without its scope */
	bool is_literal;
	struct port_addr literal;
	bool has_cert; /* we have a certificate to show */
	bool is_done; /* the handshake is */
	bool is_verified; /* certificates were shown and looked at, so it was not resumed */
	uint8_t raw_alert; /* read past mbedTLS, 0 when there was none */
	int cause; /* the port's error beneath mbedTLS's, 0 when there was none */
	int failed; /* of a handshake in libcurl: the error, with its reason in why; 0: none is known */
	struct tls_keys *keys; /* for a connection of libcurl's: what it began with */
	int64_t not_after_s; /* when the first certificate that vouches for it expires */
	char why[TLS_WHY_MAX]; /* of verification */
};

/* All else is zero. 0, or ERR_LIMIT: the name is too long. */
int tls_peer_set(struct tls_peer *p, const char *host);

#endif
