/* SPDX-License-Identifier: Apache-2.0 */
/* The list of endpoints: [http://|https://]HOST[:PORT], separated by commas. */
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/err.h"
#include "base/kconfig.h"
#include "conf/options.h"
#include "conf/value.h"
#include "port/port.h"

enum {
	PORT_DEFAULT = 2379, /* IANA: etcd-client */
};

static bool is_letter_or_digit(char c)
{
	return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

const char *conf_host_parse(
	const char **host, size_t *host_len, const char **rest, const char *p, const char *end)
{
	char text[PORT_HOST_MAX];
	struct port_addr addr;
	bool is_name = false;
	const char *q = p;

	if (p < end && *p == '[') {
		*host = ++p;
		q = memchr(p, ']', (size_t)(end - p));
		if (!q)
			return "lacks a ]";
		*rest = q + 1;
	} else {
		*host = p;
		while (q < end && (is_letter_or_digit(*q) || strchr("-._", *q))) {
			is_name = is_name || (*q != '.' && (*q < '0' || *q > '9'));
			q++;
		}
		*rest = q;
	}
	*host_len = (size_t)(q - p);
	if (!*host_len)
		return "lacks a host";
	if (*host_len >= sizeof(text))
		return "has too long a host name";
	if (is_name)
		return NULL;
	memcpy(text, p, *host_len);
	text[*host_len] = '\0';
	if (port_addr_parse(&addr, text, 0) < 0 || addr.is_v6 != (q < end && *q == ']'))
		return "has a malformed address";
	return NULL;
}

/* One endpoint: at->value, of at->len bytes. */
static int endpoint_parse(const struct conf_at *at, struct conf_endpoint *e)
{
	static const char http[] = "http://", https[] = "https://";
	const char *p = at->value, *end = p + at->len, *host, *rest, *why;
	size_t host_len, colons = 0;
	uint64_t port = PORT_DEFAULT;

	if (!strncasecmp(p, https, sizeof(https) - 1)) {
		e->is_tls = true;
		p += sizeof(https) - 1;
	} else if (!strncasecmp(p, http, sizeof(http) - 1)) {
		e->is_tls = false;
		p += sizeof(http) - 1;
	}
	for (const char *q = p; q < end; q++) {
		if (end - q >= 3 && !memcmp(q, "://", 3))
			return conf_fail(at, "begins with neither http:// nor https://");
		colons += *q == ':';
	}
	if (colons > 1 && !memchr(p, '[', (size_t)(end - p)))
		return conf_fail(at, "needs [ ] around an IPv6 address");
	why = conf_host_parse(&host, &host_len, &rest, p, end);
	if (why)
		return conf_fail(at, "%s", why);
	if (end > rest && end[-1] == '/')
		end--;
	if (rest < end && *rest == ':') {
		const char *digits = rest + 1;

		if (conf_number_parse(&port, digits, (size_t)(end - digits), UINT16_MAX) || !port)
			return conf_fail(at, "has a port that is not 1 to 65535");
	} else if (rest != end) {
		return conf_fail(at, "is not [http://|https://]HOST[:PORT]");
	}
	e->port = (uint16_t)port;
	return conf_copy(at, &e->host, host, host_len);
}

int conf_endpoints_parse(const struct conf_at *at, bool is_kept, bool is_tls)
{
	struct conf *conf = at->conf;
	size_t before = conf->text_len, count = 0;
	const char *p = at->value, *end = p + at->len;
	struct conf_at item = *at;

	for (;;) {
		const char *comma = memchr(p, ',', (size_t)(end - p));
		const char *next = comma ? comma : end;
		struct conf_endpoint e = {.is_tls = is_tls};

		if (count == CONFIG_CONF_ENDPOINT_COUNT)
			return conf_fail(
				at, "has more than %d endpoints", CONFIG_CONF_ENDPOINT_COUNT);
		item.value = p + strspn(p, " \t");
		item.value = item.value < next ? item.value : next;
		item.len = (size_t)(next - item.value);
		while (item.len && strchr(" \t", item.value[item.len - 1]))
			item.len--;
		if (endpoint_parse(&item, &e) < 0)
			return ERR_CONFIG;
		if (is_kept && e.is_tls && !IS_ENABLED(CONFIG_NET_TLS))
			return conf_fail(&item, "needs TLS, which this build does not have");
		if (is_kept)
			conf->endpoints[count] = e;
		count++;
		if (!comma)
			break;
		p = comma + 1;
	}
	if (is_kept)
		conf->endpoint_count = count;
	else
		conf->text_len = before;
	return 0;
}

char *conf_endpoint_format(char dst[CONF_ENDPOINT_TEXT_MAX], const struct conf_endpoint *e)
{
	bool is_v6 = strchr(e->host, ':') != NULL;

	(void)snprintf(dst, CONF_ENDPOINT_TEXT_MAX, "%s://%s%s%s:%u", e->is_tls ? "https" : "http",
		is_v6 ? "[" : "", e->host, is_v6 ? "]" : "", (unsigned)e->port);
	return dst;
}
