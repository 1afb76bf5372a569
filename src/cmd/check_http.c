/* SPDX-License-Identifier: Apache-2.0 */
/* etchlet check, of what a watch asks web servers for. Nothing is asked of them: a connection is made, and closed. */
#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "base/kconfig.h"
#include "cmd/check.h"
#include "net/proxy.h"
#include "sink/post.h"

struct check_where {
	char host[PORT_HOST_MAX];
	uint16_t port;
};

/* -- certificates ----------------------------------------------------------------------------- */

static void check_http_files(struct client *c, const struct conf_watch *w, const char *about)
{
	const struct tls_files files = {
		.cacert = client_http_cacert(c->conf, w),
		.cert = w->http_cert,
		.key = w->http_key,
	};
	struct tls_context *tls = NULL;
	char why[CHECK_TEXT_MAX];

	/* The agent's own are told of already. */
	if ((!w->http_cacert && !w->http_cert) || !files.cacert)
		return;
	if (!tls_context_load(&tls, &files, why, sizeof(why)))
		check_certificates(tls, about);
	tls_context_free(tls);
}

/* -- who answers ------------------------------------------------------------------------------ */

/* Of a URL that could be used. */
static bool where_of(struct check_where *where, const char *url)
{
	const char *host = strstr(url, "://"), *at, *colon;
	size_t len, host_len;
	unsigned port = post_is_tls(url) ? 443 : 80;

	if (!host)
		return false;
	host += 3;
	len = strcspn(host, "/?#");
	for (at = memchr(host, '@', len); at; at = memchr(host, '@', len)) {
		len -= (size_t)(at + 1 - host);
		host = at + 1;
	}
	colon = *host == '[' ? memchr(host, ']', len) : host;
	colon = colon ? memchr(colon, ':', len - (size_t)(colon - host)) : NULL;
	host_len = colon ? (size_t)(colon - host) : len;
	if (colon && (size_t)(colon + 1 - host) < len) {
		port = 0;
		for (const char *p = colon + 1; p < host + len && port <= UINT16_MAX; p++)
			port = port * 10 + (unsigned)(*p - '0');
	}
	if (host_len > 1 && *host == '[') {
		host++;
		host_len -= 2;
	}
	if (!host_len || host_len >= sizeof(where->host) || !port || port > UINT16_MAX)
		return false;
	memcpy(where->host, host, host_len);
	where->host[host_len] = '\0';
	where->port = (uint16_t)port;
	return true;
}

/* 0, or an error; within timeout_ms. */
static int wait_for(int fd, int want, int64_t due_ms)
{
	struct port_poll poll = {.fd = fd, .want = want};
	int64_t left_ms = due_ms - port_now_ms();
	int n;

	do {
		n = port_poll(&poll, 1, left_ms > 0 ? left_ms : 0);
		left_ms = due_ms - port_now_ms();
	} while (n == 0 && left_ms > 0);
	return n > 0 ? 0 : n < 0 ? n : ERR_TIMEOUT;
}

/* How many addresses there are, or an error with why. */
static ssize_t resolve(const struct check_where *where, struct port_addr *addrs, size_t max,
	int64_t due_ms, char *why, size_t why_cap)
{
	struct port_resolve r = {.fd = -1};
	ssize_t n = port_addr_parse(addrs, where->host, where->port);

	if (!n)
		return 1;
	n = port_resolve_start(&r, where->host, where->port);
	if (!n)
		n = wait_for(r.fd, PORT_POLL_IN, due_ms);
	if (n)
		(void)snprintf(why, why_cap, "%s", err_text((int)n));
	else
		n = port_resolve_take(&r, addrs, max, why, why_cap);
	port_resolve_cancel(&r);
	return n == ERR_AGAIN ? ERR_DNS : n;
}

/* Whether somebody answers there: 0, or an error with why. */
static int connect_to(
	const struct check_where *where, int64_t timeout_ms, char *why, size_t why_cap)
{
	struct port_addr addrs[PORT_ADDR_MAX];
	int64_t due_ms = port_now_ms() + timeout_ms;
	ssize_t n = resolve(where, addrs, PORT_ADDR_MAX, due_ms, why, why_cap);
	int err = n < 0 ? (int)n : ERR_DNS;

	for (ssize_t i = 0; i < n; i++) {
		int fd = port_tcp_connect(&addrs[i], timeout_ms);

		err = fd < 0 ? fd : wait_for(fd, PORT_POLL_OUT, due_ms);
		if (!err)
			err = port_tcp_result(fd);
		if (fd >= 0)
			port_tcp_close(fd);
		if (!err)
			return 0;
		(void)snprintf(why, why_cap, "%s", err_text(err));
	}
	return err;
}

static void check_host(struct client *c, const struct conf_watch *w, const char *about)
{
	const struct proxy *proxy = NULL;
	struct check_where where;
	char why[CHECK_TEXT_MAX / 2];

	if (!where_of(&where, w->post))
		return;
	if (IS_ENABLED(CONFIG_NET_PROXY))
		proxy = proxy_find(&c->proxies,
			post_is_tls(w->post) ? PROXY_FOR_HTTPS : PROXY_FOR_HTTP, where.host,
			where.port);
	if (proxy) {
		(void)snprintf(where.host, sizeof(where.host), "%s", proxy->host);
		where.port = proxy->port;
	}
	if (connect_to(&where, c->conf->dial_timeout_ms, why, sizeof(why)))
		check_find(FINDING_ERROR, about,
			proxy ? "check the proxy's host and port; no-proxy leads past it"
			      : "check host and port, the device's DNS and route, and that the service runs",
			"post: %s%s port %u: %s", proxy ? "proxy " : "", where.host,
			(unsigned)where.port, why);
	else
		check_find(FINDING_INFO, about, NULL, "post: somebody answers at %s%s port %u",
			proxy ? "proxy " : "", where.host, (unsigned)where.port);
}

static void check_socket(const char *path, const char *about)
{
	/* What is part of no build without the status cannot be tested there. */
	int fd = IS_ENABLED(CONFIG_CMD_STATUS) ? port_local_connect(path) : ERR_UNSUPPORTED;

	if (fd >= 0) {
		port_tcp_close(fd);
		check_find(FINDING_INFO, about, NULL, "post: somebody answers at %s", path);
	} else if (fd != ERR_UNSUPPORTED) {
		check_find(FINDING_ERROR, about,
			fd == ERR_ACCESS
				? "make the socket writable for the user that etchlet runs as"
				: "check the path, and that the service runs",
			"post: %s: %s", path, err_text(fd));
	}
}

/* -- post ------------------------------------------------------------------------------------- */

static void check_post(struct client *c, const struct conf_watch *w, const char *about)
{
	char why[CHECK_TEXT_MAX / 2], path[PORT_LOCAL_PATH_MAX];

	if (w->post_token_path && post_check_token(w->post_token_path, why, sizeof(why)))
		check_find(FINDING_ERROR, about,
			"write a token into the file, and make it readable for the user that etchlet runs as",
			"post: %s", why);
	if (post_local_path(w->post, path, sizeof(path))) {
		check_socket(path, about);
		return;
	}
	if (w->post_token_path && !post_is_tls(w->post))
		check_find(FINDING_WARNING, about, "use https",
			"post: the token goes over the network in clear text");
	check_host(c, w, about);
}

void check_http(struct client *c, const struct conf_watch *w, const char *about)
{
	if (client_check_http(c, c->conf, w)) {
		check_find(
			FINDING_CONFIG, about, "mend it in the configuration", "%s", c->conf->why);
		return;
	}
	if (IS_ENABLED(CONFIG_NET_TLS))
		check_http_files(c, w, about);
	if (IS_ENABLED(CONFIG_SINK_POST) && w->post)
		check_post(c, w, about);
}
