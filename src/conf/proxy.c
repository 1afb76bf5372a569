/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which proxies there are: [http://|socks5h://][USER[:PASSWORD]@]HOST[:PORT] by the option proxy, else by the variables
 * that curl reads. A proxy may hold a password, so no message shows it.
 */
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/err.h"
#include "conf/options.h"
#include "conf/value.h"

enum {
	HTTP_PORT = 80, /* as in any URL (RFC 9110 4.2.1) */
	SOCKS_PORT = 1080, /* RFC 1928 3 */
	SOCKS_LOGIN_MAX = 255, /* bytes of a user or a password (RFC 1929 2) */
	HTTP_LOGIN_MAX = 1024,
};

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* A copy without %XX (RFC 3986 2.1). *why: what is wrong with it. */
static int decode(const struct conf_at *at, const char **out, const char *p, size_t len, size_t max,
	const char **why)
{
	char *dst = conf_take(at->conf, len + 1, 1);
	size_t n = 0;

	if (!dst)
		return conf_fail_room(at);
	for (size_t i = 0; i < len; i++) {
		char c = p[i];

		if (c == '%') {
			int high = i + 2 < len ? hex_digit(p[i + 1]) : -1;
			int low = high < 0 ? -1 : hex_digit(p[i + 2]);

			if (low < 0) {
				*why = "has a % without two hex digits in its user or password; "
				       "a % itself is %25";
				return 0;
			}
			c = (char)(high * 16 + low);
			i += 2;
		}
		if ((unsigned char)c < 0x20 || c == 0x7f) {
			*why = "has a control character in its user or password";
			return 0;
		}
		dst[n++] = c;
	}
	dst[n] = '\0';
	if (n > max)
		*why = "has too long a user or password";
	*out = dst;
	return 0;
}

/* USER[:PASSWORD], without the @. */
static int login_parse(const struct conf_at *at, struct conf_proxy *proxy, const char *p,
	const char *end, const char **why)
{
	const char *colon = memchr(p, ':', (size_t)(end - p));
	const char *user_end = colon ? colon : end;
	size_t max = proxy->is_socks ? SOCKS_LOGIN_MAX : HTTP_LOGIN_MAX;
	int r;

	proxy->user = proxy->password = "";
	r = decode(at, &proxy->user, p, (size_t)(user_end - p), max, why);
	if (!r && !*why)
		r = decode(at, &proxy->password, colon ? colon + 1 : end,
			colon ? (size_t)(end - colon - 1) : 0, max, why);
	if (r || *why)
		return r;
	/* Basic authentication takes the first colon for the end of the user (RFC 7617 2). */
	if (!proxy->is_socks && strchr(proxy->user, ':'))
		*why = "has a user with a ':' in it";
	else if (!proxy->user[0])
		*why = "has an empty user";
	return 0;
}

/* Takes the scheme off. NULL, or what is wrong with it. */
static const char *scheme_parse(struct conf_proxy *proxy, const char **p, const char *end)
{
	static const struct {
		const char *name, *why;
		bool is_socks;
	} schemes[] = {
		{"http", NULL, false},
		{"socks5h", NULL, true},
		{"https",
			"begins with https://: TLS to a proxy is not supported, use http:// or "
			"socks5h://, what is sent to etcd over https is encrypted inside",
			false},
		{"socks5",
			"begins with socks5://: names are resolved by the proxy here, use socks5h://",
			false},
		{"socks", "begins with socks://: use socks5h://", false},
		{"socks4", "begins with socks4://: use socks5h://", false},
		{"socks4a", "begins with socks4a://: use socks5h://", false},
	};
	size_t len = 0;

	while (*p + len < end && (*p)[len] != ':' && (*p)[len] != '@' && (*p)[len] != '/')
		len++;
	if (end - *p - (ptrdiff_t)len < 3 || memcmp(*p + len, "://", 3) != 0)
		return NULL;
	for (size_t i = 0; i < sizeof(schemes) / sizeof(schemes[0]); i++) {
		if (strlen(schemes[i].name) == len && !strncasecmp(schemes[i].name, *p, len)) {
			proxy->is_socks = schemes[i].is_socks;
			*p += len + 3;
			return schemes[i].why;
		}
	}
	return "begins with neither http:// nor socks5h://";
}

/* HOST[:PORT], and a "/" at the end, which says nothing. */
static int authority_parse(const struct conf_at *at, struct conf_proxy *proxy, const char *p,
	const char *end, const char **why)
{
	uint64_t port = proxy->is_socks ? SOCKS_PORT : HTTP_PORT;
	const char *host, *rest, *colon = memchr(p, ':', (size_t)(end - p));
	size_t len;

	if (p < end && *p != '[' && colon && memchr(colon + 1, ':', (size_t)(end - colon) - 1))
		*why = "needs [ ] around an IPv6 address";
	else
		*why = conf_host_parse(&host, &len, &rest, p, end);
	if (*why)
		return 0;
	if (rest < end && *rest == ':') {
		rest++;
		if (conf_number_parse(&port, rest, (size_t)(end - rest), UINT16_MAX) || !port)
			*why = "has a port that is not 1 to 65535";
	} else if (rest != end) {
		*why = "is not [http://|socks5h://][USER[:PASSWORD]@]HOST[:PORT]";
	}
	proxy->port = (uint16_t)port;
	return *why ? 0 : conf_copy(at, &proxy->host, host, len);
}

/* One proxy. at says where it stands, without its text. 0, with *why where it is wrong; or ERR_CONFIG. */
static int proxy_parse(
	const struct conf_at *at, struct conf_proxy *out, const char *p, const char **why)
{
	const char *end = p + strlen(p), *login_end = NULL;
	struct conf_proxy proxy = {0};
	int r = 0;

	*why = scheme_parse(&proxy, &p, end);
	if (*why)
		return 0;
	/* The last @: a password is often written with one in it. */
	for (const char *q = p; q < end; q++)
		login_end = *q == '@' ? q : login_end;
	if (login_end) {
		r = login_parse(at, &proxy, p, login_end, why);
		p = login_end + 1;
	}
	if (end > p && end[-1] == '/')
		end--;
	if (!*why && memchr(p, '/', (size_t)(end - p)))
		*why = "has a path, which a proxy's address has not";
	if (!r && !*why)
		r = authority_parse(at, &proxy, p, end, why);
	if (!r && !*why)
		*out = proxy;
	return r;
}

/* The first of the variables that is set to something. */
static int env_read(struct conf *conf, struct conf_proxy *out, const char *const names[])
{
	const struct conf_at at = {.conf = conf};
	const char *value = NULL, *why = NULL;
	int r;

	for (; *names; names++) {
		value = getenv(*names);
		if (value && value[0])
			break;
	}
	if (!*names)
		return 0;
	r = proxy_parse(&at, out, value, &why);
	return why ? conf_fail(&at, "%s of the environment %s", *names, why) : r;
}

/* Both lists count, that of the option and that of the environment. */
static int no_proxy_read(struct conf *conf)
{
	const struct conf_at at = conf_at_option(conf, CONF_O_NO_PROXY);
	const char *env = getenv("no_proxy");
	size_t len, env_len;
	char *both;

	if (!env || !env[0])
		env = getenv("NO_PROXY");
	if (!env || !env[0])
		return 0;
	if (!conf->no_proxy || !conf->no_proxy[0]) {
		conf->no_proxy = env;
		return 0;
	}
	len = strlen(conf->no_proxy);
	env_len = strlen(env);
	both = conf_take(conf, len + 1 + env_len + 1, 1);
	if (!both)
		return conf_fail_room(&at);
	memcpy(both, conf->no_proxy, len);
	both[len] = ',';
	memcpy(both + len + 1, env, env_len + 1);
	conf->no_proxy = both;
	return 0;
}

int conf_proxy_read(struct conf *conf)
{
	/* HTTP_PROXY is not read: a CGI program gets it from whoever sends a request with a header Proxy. */
	static const char *const https[] = {
		"https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY", NULL};
	static const char *const http[] = {"http_proxy", "all_proxy", "ALL_PROXY", NULL};
	const struct conf_at at = conf_at_option(conf, CONF_O_PROXY);
	const char *why = NULL;
	int r;

	if (conf->proxy_text) {
		if (!conf->proxy_text[0] || !strcmp(conf->proxy_text, "none"))
			return 0;
		r = proxy_parse(&at, &conf->proxy, conf->proxy_text, &why);
		if (why)
			return conf_fail(&at, "%s", why);
	} else {
		r = env_read(conf, &conf->https_proxy, https);
		if (!r)
			r = env_read(conf, &conf->http_proxy, http);
	}
	return r ? r : no_proxy_read(conf);
}
