/* SPDX-License-Identifier: Apache-2.0 */
/* In the place of TLS where the build leaves it out: nothing can be loaded, so nothing else is ever
 * called. */
#include "net/tls.h"

#include <stdio.h>

#include "base/err.h"
#include "base/kconfig.h"

#ifndef CONFIG_NET_TLS

static int tls_refuse(char *why, size_t why_cap)
{
	(void)snprintf(why, why_cap, "TLS: %s", err_text(ERR_UNSUPPORTED));
	return ERR_UNSUPPORTED;
}

int tls_context_load(
	struct tls_context **out, const struct tls_files *files, char *why, size_t why_cap)
{
	(void)out;
	(void)files;
	return tls_refuse(why, why_cap);
}

void tls_context_free(struct tls_context *ctx)
{
	(void)ctx;
}

int tls_start(struct tls **out, struct tls_context *ctx, int fd, const char *host, uint16_t port,
	char *why, size_t why_cap)
{
	(void)ctx;
	(void)fd;
	(void)host;
	(void)port;
	*out = NULL;
	return tls_refuse(why, why_cap);
}

int tls_handshake(struct tls *t, char *why, size_t why_cap)
{
	(void)t;
	return tls_refuse(why, why_cap);
}

ssize_t tls_recv(struct tls *t, void *dst, size_t len, char *why, size_t why_cap)
{
	(void)t;
	(void)dst;
	(void)len;
	return tls_refuse(why, why_cap);
}

ssize_t tls_send(struct tls *t, const void *src, size_t len, char *why, size_t why_cap)
{
	(void)t;
	(void)src;
	(void)len;
	return tls_refuse(why, why_cap);
}

int tls_want(const struct tls *t)
{
	(void)t;
	return 0;
}

bool tls_has_pending(const struct tls *t)
{
	(void)t;
	return false;
}

void tls_end(struct tls *t)
{
	(void)t;
}

const char *tls_describe(const struct tls *t, char *dst, size_t cap)
{
	(void)t;
	if (cap)
		dst[0] = '\0';
	return dst;
}

int tls_context_finding(const struct tls_context *ctx, unsigned index, int64_t now_s,
	bool *is_error, char *what, size_t cap)
{
	(void)ctx;
	(void)index;
	(void)now_s;
	(void)cap;
	(void)what;
	*is_error = false;
	return 0;
}

const char *tls_library_version(void)
{
	return "none";
}

#endif
