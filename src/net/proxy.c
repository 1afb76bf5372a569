/* SPDX-License-Identifier: Apache-2.0 */
#include "net/proxy.h"

#include <stdio.h>
#include <string.h>

#include "port/port.h"

enum {
	V4_BITS = 32,
	V6_BITS = 128,
};

/* A piece of the list: where it begins and how long it is. */
struct piece {
	const char *p;
	size_t len;
};

static bool is_separator(char c)
{
	return c == ',' || c == ' ' || (c >= '\t' && c <= '\r');
}

static char lower(char c)
{
	return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}

static bool is_same(const char *a, const char *b, size_t len)
{
	while (len && lower(a[len - 1]) == lower(b[len - 1]))
		len--;
	return !len;
}

/* Cuts decimal digits off the end, with the character before them. False: the end is no such number. */
static bool number_cut(struct piece *e, char before, unsigned max, unsigned *out)
{
	size_t at = e->len, value = 0;

	while (at && e->p[at - 1] >= '0' && e->p[at - 1] <= '9')
		at--;
	if (!at || at == e->len || e->p[at - 1] != before || e->len - at > 5)
		return false;
	for (size_t i = at; i < e->len; i++)
		value = value * 10 + (size_t)(e->p[i] - '0');
	if (value > max)
		return false;
	*out = (unsigned)value;
	e->len = at - 1;
	return true;
}

static bool is_colon_alone(const struct piece *e)
{
	const char *first = memchr(e->p, ':', e->len);

	return first && !memchr(first + 1, ':', e->len - (size_t)(first - e->p) - 1);
}

/* Cuts ":PORT" off, and the brackets around an address. False: it is for another port, or malformed. */
static bool port_cut(struct piece *e, uint16_t port)
{
	bool is_bracketed = e->len && e->p[0] == '[';
	unsigned wanted = port;

	if ((is_bracketed && e->p[e->len - 1] != ']') || (!is_bracketed && is_colon_alone(e))) {
		if (!number_cut(e, ':', UINT16_MAX, &wanted) || wanted != port)
			return false;
	}
	if (is_bracketed) {
		if (e->len < 2 || e->p[e->len - 1] != ']')
			return false;
		e->p++;
		e->len -= 2;
	}
	return true;
}

/* A literal address; ::ffff:10.0.0.1 is 10.0.0.1. */
static bool addr_parse(struct port_addr *addr, const char *p, size_t len)
{
	static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};
	char text[PORT_ADDR_TEXT_MAX];

	if (!len || len >= sizeof(text))
		return false;
	memcpy(text, p, len);
	text[len] = '\0';
	if (port_addr_parse(addr, text, 0) < 0)
		return false;
	if (addr->is_v6 && !memcmp(addr->ip, mapped, sizeof(mapped))) {
		memmove(addr->ip, addr->ip + sizeof(mapped), 4);
		addr->is_v6 = false;
	}
	return true;
}

static bool is_addr_in(const struct port_addr *addr, const struct port_addr *net, unsigned bits)
{
	unsigned rest = bits % 8;

	if (addr->is_v6 != net->is_v6 || memcmp(addr->ip, net->ip, bits / 8) != 0)
		return false;
	return !rest || !((addr->ip[bits / 8] ^ net->ip[bits / 8]) >> (8 - rest));
}

/* An address, or a network in the form of RFC 4632 3.1. */
static bool is_addr_exempt(struct piece e, const struct port_addr *addr, uint16_t port)
{
	unsigned bits = UINT16_MAX;
	struct port_addr net;

	if (memchr(e.p, '/', e.len)) {
		if (!number_cut(&e, '/', V6_BITS, &bits))
			return false;
	} else if (!port_cut(&e, port)) {
		return false;
	}
	if (!addr_parse(&net, e.p, e.len))
		return false;
	if (bits == UINT16_MAX)
		bits = net.is_v6 ? V6_BITS : V4_BITS;
	return bits <= (net.is_v6 ? V6_BITS : V4_BITS) && is_addr_in(addr, &net, bits);
}

/* "example.com", ".example.com" and "*.example.com": the host itself and all below it. */
static bool is_name_exempt(struct piece e, const char *host, size_t host_len, uint16_t port)
{
	if (!port_cut(&e, port))
		return false;
	if (e.len > 1 && e.p[0] == '*' && e.p[1] == '.') {
		e.p++;
		e.len--;
	}
	if (e.len && e.p[0] == '.') {
		e.p++;
		e.len--;
	}
	if (e.len && e.p[e.len - 1] == '.')
		e.len--;
	if (!e.len || e.len > host_len || !is_same(e.p, host + host_len - e.len, e.len))
		return false;
	return e.len == host_len || host[host_len - e.len - 1] == '.';
}

bool proxy_is_exempt(const char *list, const char *host, uint16_t port)
{
	size_t host_len = strlen(host);
	struct port_addr addr;
	bool is_literal;

	/* A name may end in a dot (RFC 1034 3.1), and means the same. */
	if (host_len && host[host_len - 1] == '.')
		host_len--;
	is_literal = addr_parse(&addr, host, host_len);
	while (*list) {
		struct piece e = {.p = list};

		while (list[e.len] && !is_separator(list[e.len]))
			e.len++;
		list += e.len + (list[e.len] != '\0');
		if (!e.len)
			continue;
		if (e.len == 1 && *e.p == '*')
			return true;
		if (is_literal ? is_addr_exempt(e, &addr, port)
			       : is_name_exempt(e, host, host_len, port))
			return true;
	}
	return false;
}

const struct proxy *proxy_find(
	const struct proxy_set *set, enum proxy_use use, const char *host, uint16_t port)
{
	const struct proxy *p;

	if (!set)
		return NULL;
	p = set->configured ? set->configured : use == PROXY_FOR_HTTP ? set->http : set->https;
	return p && set->no_proxy && proxy_is_exempt(set->no_proxy, host, port) ? NULL : p;
}

char *proxy_format(char dst[PROXY_TEXT_MAX], const struct proxy *p)
{
	bool is_v6 = strchr(p->host, ':') != NULL;

	(void)snprintf(dst, PROXY_TEXT_MAX, "%s://%s%s%s:%u",
		p->kind == PROXY_SOCKS5H ? "socks5h" : "http", is_v6 ? "[" : "", p->host,
		is_v6 ? "]" : "", (unsigned)p->port);
	return dst;
}
