/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The way through a proxy, agreed with it over a connection that is there already: CONNECT to an HTTP proxy (RFC 9110
 * 9.3.6), or SOCKS5 (RFC 1928), by libcurl. Afterwards the connection leads to the target, and not a byte of what the
 * target sends was taken from it.
 *
 * The login is sent at once, as Basic (RFC 7617) or in the way of RFC 1929. The name of the target is resolved by the
 * proxy. What a refusing proxy says is read to the end of its headers at most. It waits as long as the owner lets it.
 */
#ifndef ETCHLET_NET_TUNNEL_H
#define ETCHLET_NET_TUNNEL_H

#include "base/loop.h"
#include "net/proxy.h"
#include "port/port.h"

enum {
	TUNNEL_WHY_MAX = 384 + PORT_HOST_MAX, /* bytes of a reason, NUL included */
};

struct tunnel;

struct tunnel_cfg {
	struct loop *loop;
	const struct proxy *proxy; /* outlives the tunnel, as all that is pointed to */
	const struct port_addr *peer; /* the proxy's address in use */
	int fd; /* connected to it; stays the caller's, who neither polls nor reads it meanwhile */
	const char *host; /* of the target, a name or an address, IPv6 without brackets */
	uint16_t port;
	/* From the loop, once: 0; ERR_AUTH (user and password), ERR_REFUSED and ERR_UNREACHABLE (what the proxy makes of the target), ERR_HTTP (it is
	 * no proxy of that kind), ERR_CLOSED, ERR_RESET, ERR_NET, ERR_NOMEM. why: a few words for a person, "" when err is 0. It is to be closed then. */
	void (*done)(void *user, int err, const char *why);
	void *user;
};

/* *out: NULL after an error. cfg is copied. 0, or ERR_NOMEM: done() will not be called. */
int tunnel_open(struct tunnel **out, const struct tunnel_cfg *cfg);

/* Ends it without done(), also from within done(). The connection stays open. NULL is harmless. */
void tunnel_close(struct tunnel *t);

#endif
