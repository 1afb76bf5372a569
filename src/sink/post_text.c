/* SPDX-License-Identifier: Apache-2.0 */
#include "sink/post_text.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "base/log.h"
#include "base/wipe.h"
#include "port/port.h"

#define POST_LOCAL "unix:"
#define POST_LOCAL_URL "http://localhost"

enum {
	POST_LOCAL_PATH_MAX = 107, /* sun_path of Linux, without its NUL */
	POST_SHOWN_SCHEME_MAX = 8, /* "https://" */
};

/* -- URLs ------------------------------------------------------------------------------------- */

static const char *post_text_local(const char *url)
{
	size_t len = sizeof(POST_LOCAL) - 1;

	return strncmp(url, POST_LOCAL, len) ? NULL : url + len;
}

int post_text_target(struct post_target *target, const char *url, char *mem, size_t cap, char *why,
	size_t why_cap)
{
	const char *path = post_text_local(url);
	const char *request = path ? strstr(path, ":/") : NULL;
	size_t len, request_len, url_len = sizeof(POST_LOCAL_URL) - 1;

	*target = (struct post_target){.url = url};
	if (!path)
		return 0;
	len = request ? (size_t)(request - path) : strlen(path);
	request = request ? request + 1 : "/";
	request_len = strlen(request);
	if (!len) {
		(void)snprintf(why, why_cap, "names no socket");
		return ERR_CONFIG;
	}
	if (len > POST_LOCAL_PATH_MAX || len + 1 + url_len + request_len + 1 > cap) {
		(void)snprintf(why, why_cap,
			"a socket's path has %d bytes at most, and the URL %zu",
			POST_LOCAL_PATH_MAX, cap - url_len - 2 - len);
		return ERR_LIMIT;
	}
	memcpy(mem, path, len);
	mem[len] = '\0';
	target->unix_path = mem;
	mem += len + 1;
	memcpy(mem, POST_LOCAL_URL, url_len);
	memcpy(mem + url_len, request, request_len + 1);
	target->url = mem;
	return 0;
}

bool post_text_is_tls(const char *url)
{
	static const char scheme[] = "https://";

	/* Schemes do not depend on case (RFC 3986 3.1). */
	for (size_t i = 0; i < sizeof(scheme) - 1; i++) {
		if ((url[i] | ('a' - 'A')) != (scheme[i] | ('a' - 'A')))
			return false;
	}
	return true;
}

void post_text_shown(char *dst, size_t cap, const char *url)
{
	size_t len = strcspn(url, "?#"), scheme_len = 0;
	const char *host, *rest;
	char text[POST_SHOWN_SCHEME_MAX + 256];
	size_t host_len = 0;

	/* libcurl takes any number of slashes from one to three. */
	if (!post_text_local(url) && len > strcspn(url, ":")) {
		scheme_len = strcspn(url, ":") + 1;
		scheme_len += strspn(url + scheme_len, "/");
		host_len = strcspn(url + scheme_len, "/?#");
	}
	host = rest = url + scheme_len;
	/* The last of them ends the user's part. */
	for (size_t i = 0; i < host_len; i++) {
		if (host[i] == '@')
			rest = host + i + 1;
	}
	/* A query may hold a secret, too. */
	(void)snprintf(text, sizeof(text), "%.*s%.*s%s",
		(int)(scheme_len < POST_SHOWN_SCHEME_MAX ? scheme_len : POST_SHOWN_SCHEME_MAX), url,
		(int)(url + len - rest), rest, url[len] == '?' ? "?..." : "");
	(void)log_show(dst, cap, text, strlen(text));
}

/* -- headers ---------------------------------------------------------------------------------- */

size_t post_text_encoded_max(const char *text)
{
	return strlen(text) * 3 + 1;
}

size_t post_text_encode(char *dst, const char *text, bool is_key)
{
	static const char hex[] = "0123456789ABCDEF";
	char *at = dst;

	for (; *text; text++) {
		uint8_t c = (uint8_t)*text;

		if (c > ' ' && c < 0x7f && !strchr(is_key ? "%\"\\/" : "%\"\\", c)) {
			*at++ = (char)c;
		} else {
			*at++ = '%';
			*at++ = hex[c >> 4];
			*at++ = hex[c & 15];
		}
	}
	*at = '\0';
	return (size_t)(at - dst);
}

/* -- the token -------------------------------------------------------------------------------- */

static bool is_white(char c)
{
	return c == ' ' || (c >= '\t' && c <= '\r') || c == '\0';
}

ssize_t post_text_token(const char *path, char *dst, char *why, size_t why_cap)
{
	ssize_t n = port_file_read(path, dst, CONFIG_POST_TOKEN_BYTES - 1), at = 0;

	if (n < 0) {
		(void)snprintf(why, why_cap, "token file %s: %s", path,
			n == ERR_LIMIT ? "too long" : err_text((int)n));
		wipe(dst, CONFIG_POST_TOKEN_BYTES);
		return n;
	}
	while (n && is_white(dst[n - 1]))
		n--;
	dst[n] = '\0';
	/* What stands in a header ends at a line's end, and what follows would be another header. */
	while (at < n && dst[at] > ' ' && dst[at] < 0x7f)
		at++;
	if (n && at == n)
		return n;
	if (n)
		(void)snprintf(why, why_cap,
			"token file %s: byte %zd is not visible ASCII, which no token can have",
			path, at + 1);
	else
		(void)snprintf(why, why_cap, "token file %s has no token in it", path);
	wipe(dst, CONFIG_POST_TOKEN_BYTES);
	return ERR_AUTH;
}

/* -- answers ---------------------------------------------------------------------------------- */

/* Of those that people meet (RFC 9110 15). */
static const char *post_text_phrase(int status)
{
	static const struct {
		int status;
		const char *phrase;
	} phrases[] = {
		{301, " Moved Permanently"},
		{302, " Found"},
		{303, " See Other"},
		{307, " Temporary Redirect"},
		{308, " Permanent Redirect"},
		{400, " Bad Request"},
		{401, " Unauthorized"},
		{403, " Forbidden"},
		{404, " Not Found"},
		{405, " Method Not Allowed"},
		{408, " Request Timeout"},
		{409, " Conflict"},
		{410, " Gone"},
		{413, " Content Too Large"},
		{415, " Unsupported Media Type"},
		{422, " Unprocessable Entity"},
		{425, " Too Early"},
		{429, " Too Many Requests"},
		{500, " Internal Server Error"},
		{502, " Bad Gateway"},
		{503, " Service Unavailable"},
		{504, " Gateway Timeout"},
	};

	for (size_t i = 0; i < sizeof(phrases) / sizeof(phrases[0]); i++) {
		if (phrases[i].status == status)
			return phrases[i].phrase;
	}
	return "";
}

void post_text_answer(char *dst, size_t cap, const char *shown, const char *verb, int status,
	const char *redirect, const uint8_t *line, size_t line_len)
{
	int n;

	if (*redirect) {
		post_text_fit(dst, cap, redirect);
		return;
	}
	n = snprintf(dst, cap, "%s: %s%d%s%s", shown, verb, status, post_text_phrase(status),
		line_len ? ": " : "");
	if (line_len && n > 0 && (size_t)n < cap)
		(void)log_show(dst + n, cap - (size_t)n, line, line_len);
}

/* Whether a character of UTF-8 goes on here. */
static bool is_inner(char c)
{
	return ((uint8_t)c & 0xc0) == 0x80;
}

void post_text_fit(char *dst, size_t cap, const char *text)
{
	size_t len = strlen(text), head = cap / 3, tail = cap - head - sizeof("...");

	if (len < cap) {
		(void)snprintf(dst, cap, "%s", text);
		return;
	}
	while (head && is_inner(text[head]))
		head--;
	while (tail && is_inner(text[len - tail]))
		tail--;
	(void)snprintf(dst, cap, "%.*s...%s", (int)head, text, text + len - tail);
}
