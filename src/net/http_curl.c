/* SPDX-License-Identifier: Apache-2.0 */
#include "net/http_curl.h"

#include <netdb.h>

#include <curl/curl.h>

#include "base/err.h"
#include "base/heap.h"
#include "base/kconfig.h"
#include "net/http.h"
#include "net/tls_http.h"

static unsigned users;

int http_curl_open(void)
{
	if (!users && curl_global_init_mem(CURL_GLOBAL_DEFAULT, heap_malloc, heap_free,
			      heap_realloc, heap_strdup, heap_calloc))
		return ERR_NOMEM;
	users++;
	return 0;
}

void http_curl_close(void)
{
	if (--users == 0)
		curl_global_cleanup();
}

bool http_curl_has_tls(void)
{
	return IS_ENABLED(CONFIG_NET_TLS) &&
	       tls_http_is_known(curl_version_info(CURLVERSION_NOW)->ssl_version);
}

const char *http_library_version(void)
{
	return "libcurl " LIBCURL_VERSION;
}

int http_curl_getaddrinfo(
	const char *host, const char *service, const struct addrinfo *hints, struct addrinfo **out)
{
	(void)host;
	(void)service;
	(void)hints;
	*out = NULL;
	return EAI_FAIL;
}

char *http_curl_getenv(const char *name)
{
	(void)name;
	return NULL;
}
