/* SPDX-License-Identifier: Apache-2.0 */
/*
 * libcurl made ready: its memory is the counted heap, its random numbers are the port's, and it has neither a resolver
 * nor the environment. With the system's own build of it only the memory is.
 */
#ifndef ETCHLET_NET_HTTP_CURL_H
#define ETCHLET_NET_HTTP_CURL_H

#include <stdbool.h>

struct addrinfo;

/* Once for each user, before anything of libcurl is called. 0 or ERR_NOMEM. */
int http_curl_open(void);
/* The last one gives back what libcurl keeps for itself. */
void http_curl_close(void);

/* Whether its TLS is the mbedTLS that this program knows: not so for the system's own build with another library. */
bool http_curl_has_tls(void);

/* What libcurl calls in place of the system's (net/curl_config.h): they know no name and no variable. */
int http_curl_getaddrinfo(
	const char *host, const char *service, const struct addrinfo *hints, struct addrinfo **out);
char *http_curl_getenv(const char *name);

#endif
