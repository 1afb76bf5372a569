/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which proxy leads to a host: the one that was configured, or those of the environment, but for what
 * no_proxy names. Nothing here connects, allocates or reads the environment.
 */
#ifndef ETCHLET_NET_PROXY_H
#define ETCHLET_NET_PROXY_H

#include <stdbool.h>
#include <stdint.h>

enum proxy_kind {
	PROXY_HTTP, /* CONNECT (RFC 9110 9.3.6); plain HTTP in the absolute form (RFC 9112 3.2.2) */
	PROXY_SOCKS5H, /* RFC 1928, and 1929 for the login; the proxy resolves the name */
};

struct proxy {
	enum proxy_kind kind;
	const char *host; /* a name or an address, IPv6 without brackets */
	uint16_t port;
	const char *user, *password; /* NULL: none; decoded */
};

struct proxy_set {
	const struct proxy *configured; /* for everything; NULL: those of the environment hold */
	const struct proxy
		*https; /* https_proxy, for https and for connections to etcd; NULL: none */
	const struct proxy *http; /* http_proxy, for plain http; NULL: none */
	const char *no_proxy; /* a list, see proxy_is_exempt(); NULL: none */
};

/* What a connection is for. */
enum proxy_use {
	PROXY_FOR_ETCD, /* always a tunnel, with TLS in it or without */
	PROXY_FOR_HTTPS,
	PROXY_FOR_HTTP,
};

/* NULL: none, it is reached directly. set may be NULL. */
const struct proxy *proxy_find(
	const struct proxy_set *set, enum proxy_use use, const char *host, uint16_t port);

/*
 * Whether a list of the form of no_proxy names a host. Entries are separated by commas and blanks: "*" is every
 * host; a name is that host and all below it, with or without a dot in front; an address, or one
 * with a prefix length ("10.0.0.0/8", "fd00::/8"), holds for literal addresses; ":PORT" may follow. Case does not count.
 */
bool proxy_is_exempt(const char *list, const char *host, uint16_t port);

/* "http://10.0.0.1:3128" or "socks5h://[::1]:1080", without user and password. Returns dst. */
enum { PROXY_TEXT_MAX = 288 };
char *proxy_format(char dst[PROXY_TEXT_MAX], const struct proxy *p);

#endif
