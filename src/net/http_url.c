/* SPDX-License-Identifier: Apache-2.0 */
/* URLs, taken apart by libcurl so that both of us read them the same way. */
#include "net/http_private.h"

#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "base/kconfig.h"
#include "base/log.h"
#include "base/wipe.h"

static int url_failed(int err, const char *what, char *why, size_t why_cap)
{
	(void)snprintf(why, why_cap, "%s", what);
	return err;
}

/* A part that may be missing: then dst is "". 0, ERR_LIMIT or ERR_NOMEM. */
static int url_get(CURLU *u, CURLUPart part, unsigned flags, char *dst, size_t cap)
{
	char *text = NULL;
	CURLUcode ret = curl_url_get(u, part, &text, flags);
	size_t len;

	dst[0] = '\0';
	if (ret == CURLUE_OUT_OF_MEMORY)
		return ERR_NOMEM;
	if (ret || !text)
		return 0;
	len = strlen(text);
	if (len < cap)
		memcpy(dst, text, len + 1);
	wipe(text, len);
	curl_free(text);
	return len < cap ? 0 : ERR_LIMIT;
}

/* The host as the port takes it: IPv6 without brackets, with its scope. */
static int url_get_host(CURLU *u, struct http_url *out)
{
	char zone[64];
	int err = url_get(u, CURLUPART_HOST, 0, out->host, sizeof(out->host));
	size_t len = strlen(out->host);

	/* Case does not count in it (RFC 3986 6.2.2.1), but does where names are looked up. */
	for (char *p = out->host; *p; p++)
		*p = (char)(*p >= 'A' && *p <= 'Z' ? *p + 'a' - 'A' : *p);
	if (err || len < 2 || out->host[0] != '[')
		return err;
	err = url_get(u, CURLUPART_ZONEID, 0, zone, sizeof(zone));
	if (err || len - 2 + strlen(zone) + 2 > sizeof(out->host))
		return err ? err : ERR_LIMIT;
	memmove(out->host, out->host + 1, len - 2);
	(void)snprintf(out->host + len - 2, sizeof(out->host) - (len - 2), "%s%s",
		zone[0] ? "%" : "", zone);
	return 0;
}

static int url_get_login(CURLU *u, struct http_url *out)
{
	int err = url_get(u, CURLUPART_USER, CURLU_URLDECODE, out->user, sizeof(out->user));

	return err ? err
		   : url_get(u, CURLUPART_PASSWORD, CURLU_URLDECODE, out->password,
			     sizeof(out->password));
}

static int url_take_apart(CURLU *u, struct http_url *out, bool has_login)
{
	char port[8], scheme[8];
	unsigned number = 0;
	int err = 0;

	out->user[0] = out->password[0] = '\0';
	if (has_login)
		err = url_get_login(u, out);
	if (curl_url_set(u, CURLUPART_USER, NULL, 0) ||
		curl_url_set(u, CURLUPART_PASSWORD, NULL, 0) ||
		curl_url_set(u, CURLUPART_FRAGMENT, NULL, 0))
		err = ERR_NOMEM;
	if (!err)
		err = url_get(u, CURLUPART_URL, 0, out->text, sizeof(out->text));
	if (!err)
		err = url_get_host(u, out);
	if (!err)
		err = url_get(u, CURLUPART_PORT, CURLU_DEFAULT_PORT, port, sizeof(port));
	if (!err)
		err = url_get(u, CURLUPART_SCHEME, 0, scheme, sizeof(scheme));
	if (err)
		return err;
	for (const char *p = port; *p >= '0' && *p <= '9'; p++)
		number = number * 10 + (unsigned)(*p - '0');
	out->port = (uint16_t)number;
	out->is_https = strcmp(scheme, "https") == 0;
	return out->host[0] && out->port && out->text[0] ? 0 : ERR_CONFIG;
}

static int url_check_scheme(CURLU *u, char *why, size_t why_cap)
{
	char scheme[32];
	int err = url_get(u, CURLUPART_SCHEME, 0, scheme, sizeof(scheme));

	if (err == ERR_NOMEM)
		return url_failed(err, err_text(err), why, why_cap);
	if (err || (strcmp(scheme, "http") != 0 && strcmp(scheme, "https") != 0))
		return url_failed(ERR_CONFIG, "neither http nor https", why, why_cap);
	if (!IS_ENABLED(CONFIG_NET_TLS) && scheme[4])
		return url_failed(
			ERR_UNSUPPORTED, "this build has no TLS, so no https", why, why_cap);
	return 0;
}

/* An empty host is none (RFC 9110 4.2.1); libcurl takes the beginning of the path for it then. */
static bool url_has_host(const char *text)
{
	const char *host = strstr(text, "://");

	return host && host[3] && !strchr("/?#", host[3]);
}

int http_url_parse(struct http_url *out, const struct http_url *base, const char *text, char *why,
	size_t why_cap)
{
	CURLU *u;
	CURLUcode ret = CURLUE_OK;
	int err = 0;

	if (strlen(text) >= HTTP_URL_MAX)
		return url_failed(ERR_LIMIT, "the URL is too long", why, why_cap);
	u = curl_url();
	if (!u)
		return url_failed(ERR_NOMEM, err_text(ERR_NOMEM), why, why_cap);
	if (base)
		ret = curl_url_set(u, CURLUPART_URL, base->text, CURLU_NON_SUPPORT_SCHEME);
	if (!ret)
		ret = curl_url_set(u, CURLUPART_URL, text,
			CURLU_NON_SUPPORT_SCHEME |
				(base ? CURLU_URLENCODE | CURLU_ALLOW_SPACE : 0));
	/* Of a login it only finds fault with the memory that it takes. */
	if (ret == CURLUE_OUT_OF_MEMORY || ret == CURLUE_BAD_LOGIN)
		err = url_failed(ERR_NOMEM, err_text(ERR_NOMEM), why, why_cap);
	else if (ret)
		err = url_failed(ERR_CONFIG,
			ret == CURLUE_BAD_SCHEME ? "neither http nor https" : "no URL", why,
			why_cap);
	if (!err)
		err = url_check_scheme(u, why, why_cap);
	if (!err && !base && !url_has_host(text))
		err = url_failed(ERR_CONFIG, "there is no host in the URL", why, why_cap);
	if (!err) {
		err = url_take_apart(u, out, base == NULL);
		if (err)
			(void)snprintf(why, why_cap, "%s",
				err == ERR_LIMIT    ? "the URL, or a part of it, is too long"
				: err == ERR_CONFIG ? "no URL"
						    : err_text(err));
	}
	curl_url_cleanup(u);
	return err;
}

bool http_url_is_same_origin(const struct http_url *a, const struct http_url *b)
{
	return a->is_https == b->is_https && a->port == b->port && strcmp(a->host, b->host) == 0;
}

char *http_url_show(char dst[HTTP_SHOW_MAX], const struct http_url *u, const char *unix_path)
{
	char shown[LOG_SHOW_MAX];
	const char *path = u->text;

	if (unix_path) {
		path = strstr(path, "://");
		path = path ? strchr(path + 3, '/') : NULL;
		path = path ? path : "";
	}
	/* A query may hold a secret. */
	log_show(shown, sizeof(shown), path, strcspn(path, "?"));
	(void)snprintf(dst, HTTP_SHOW_MAX, "%s%s%s%s%s", unix_path ? "unix:" : "",
		unix_path ? unix_path : "", unix_path ? " " : "", shown,
		strchr(path, '?') ? "?..." : "");
	return dst;
}
