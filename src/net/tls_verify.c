/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which certificates are accepted. mbedTLS builds the chain and checks signatures, uses and
 * strengths. Done here instead, from within its callback:
 *
 *  - time: its clock is the system's, which on a device without a battery begins in 1970. Nothing
 *    can rightly be earlier than this program's own date, so that is the least that now can be;
 *  - the name: it must be in a subject alternative name (RFC 9525 6.3). mbedTLS would also take a
 *    common name, and does not tell a wrong name from a missing one;
 *  - the reason, which names the certificate.
 */
#include "net/tls_internal.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "base/log.h"
#include "base/version.h"

/* -- time ------------------------------------------------------------------------------------- */

int64_t tls_now_s(void)
{
	int64_t now_s = port_wall_s();

	return now_s > version_build_time_s() ? now_s : version_build_time_s();
}

bool tls_is_clock_behind(void)
{
	return port_wall_s() < version_build_time_s();
}

/* Days since 1970 in the proleptic Gregorian calendar; years begin in March, so that the leap day
 * comes last. */
int64_t tls_time_s(const mbedtls_x509_time *t)
{
	int64_t y = t->mon <= 2 ? t->year - 1 : t->year;
	int64_t m = t->mon <= 2 ? t->mon + 9 : t->mon - 3;
	int64_t days =
		365 * y + y / 4 - y / 100 + y / 400 + (153 * m + 2) / 5 + t->day - 1 - 719468;

	return ((days * 24 + t->hour) * 60 + t->min) * 60 + t->sec;
}

char *tls_date(char dst[16], int64_t s)
{
	int64_t days = s / 86400 - (s % 86400 < 0) + 719468;
	int64_t era = (days >= 0 ? days : days - 146096) / 146097;
	int64_t doe = days - era * 146097;
	int64_t yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365;
	int64_t doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
	int64_t mp = (5 * doy + 2) / 153;
	int month = (int)(mp < 10 ? mp + 3 : mp - 9);

	(void)snprintf(dst, 16, "%04d-%02d-%02d", (int)((yoe + era * 400 + (month <= 2)) % 10000),
		month, (int)(doy - (153 * mp + 2) / 5 + 1));
	return dst;
}

/* -- names ------------------------------------------------------------------------------------ */

enum {
	SAN_DNS = 2, /* RFC 5280 4.2.1.6, GeneralName */
	SAN_IP = 7,
	SAN_TAG_MASK = 0x1f,
};

static int ascii_lower(int c)
{
	return c >= 'A' && c <= 'Z' ? c + 'a' - 'A' : c;
}

static bool is_same_text(const char *a, const uint8_t *b, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		if (ascii_lower((unsigned char)a[i]) != ascii_lower(b[i]))
			return false;
	}
	return true;
}

/* RFC 9525 6.3: a wildcard stands for the whole leftmost label and no more. Lengths are compared, so
 * a NUL inside hides nothing. */
static bool is_dns_match(const char *host, const uint8_t *san, size_t len)
{
	size_t host_len = strlen(host);
	const char *dot = strchr(host, '.');

	if (len && san[len - 1] == '.')
		len--;
	if (len == host_len && is_same_text(host, san, len))
		return true;
	if (len < 3 || san[0] != '*' || san[1] != '.' || !dot || dot == host)
		return false;
	return len - 1 == strlen(dot) && is_same_text(dot, san + 1, len - 1);
}

static bool is_name_in(const struct tls_peer *p, const mbedtls_x509_crt *crt)
{
	size_t ip_len = p->literal.is_v6 ? 16 : 4;

	for (const mbedtls_x509_sequence *s = &crt->subject_alt_names; s; s = s->next) {
		int kind = s->buf.tag & SAN_TAG_MASK;

		if (!s->buf.p)
			continue;
		if (p->is_literal && kind == SAN_IP && s->buf.len == ip_len &&
			memcmp(s->buf.p, p->literal.ip, ip_len) == 0)
			return true;
		if (!p->is_literal && kind == SAN_DNS &&
			is_dns_match(p->host, s->buf.p, s->buf.len))
			return true;
	}
	return false;
}

int tls_peer_set(struct tls_peer *p, const char *host)
{
	size_t len = strlen(host);

	memset(p, 0, sizeof(*p));
	p->not_after_s = INT64_MAX;
	if (len >= sizeof(p->host))
		return ERR_LIMIT;
	p->is_literal = port_addr_parse(&p->literal, host, 0) == 0;
	if (p->is_literal && strchr(host, '%'))
		len = (size_t)(strchr(host, '%') - host);
	else if (len > 1 && host[len - 1] == '.')
		len--;
	memcpy(p->host, host, len);
	p->host[len] = '\0';
	return 0;
}

/* -- words ------------------------------------------------------------------------------------ */

char *tls_subject(char dst[TLS_SUBJECT_MAX], const mbedtls_x509_name *name)
{
	char raw[LOG_SHOW_BYTES];
	int len = mbedtls_x509_dn_gets(raw, sizeof(raw), name);

	/* Too long, or not to be shown at all. */
	if (len < 0)
		len = snprintf(raw, sizeof(raw), "?");
	return log_show(dst, TLS_SUBJECT_MAX, raw, (size_t)len);
}

struct words {
	char *dst;
	size_t cap, len;
};

static void words_add(struct words *w, const char *text)
{
	size_t len = strlen(text);

	if (len >= w->cap - w->len)
		len = w->cap - w->len - 1;
	memcpy(w->dst + w->len, text, len);
	w->len += len;
	w->dst[w->len] = '\0';
}

/* "DNS:a, IP:1.2.3.4": what the certificate is for. */
static void words_add_names(struct words *w, const mbedtls_x509_crt *crt)
{
	bool is_first = true;

	for (const mbedtls_x509_sequence *s = &crt->subject_alt_names; s; s = s->next) {
		int kind = s->buf.tag & SAN_TAG_MASK;
		char text[PORT_ADDR_TEXT_MAX + 64];

		if (!s->buf.p || (kind != SAN_DNS && kind != SAN_IP))
			continue;
		if (w->cap - w->len < sizeof(text)) {
			words_add(w, ", ...");
			return;
		}
		words_add(w, is_first ? "it has " : ", ");
		is_first = false;
		words_add(w, kind == SAN_DNS ? "DNS:" : "IP:");
		if (kind == SAN_DNS) {
			log_show(text, sizeof(text), s->buf.p, s->buf.len);
		} else if (s->buf.len == 4 || s->buf.len == 16) {
			struct port_addr addr = {.is_v6 = s->buf.len == 16};

			memcpy(addr.ip, s->buf.p, s->buf.len);
			port_addr_format(text, &addr);
			/* No port belongs to it: "1.2.3.4:0", "[::1]:0". */
			text[strlen(text) - 2] = '\0';
		} else {
			(void)snprintf(text, sizeof(text), "?");
		}
		words_add(w, text);
	}
	if (is_first)
		words_add(w,
			"it has no subject alternative name for servers; a common name does not count");
}

/* The clock as far as it explains a date that does not fit. */
static const char *words_of_clock(char *dst, size_t cap)
{
	char clock[16], taken[16];

	tls_date(clock, port_wall_s());
	if (tls_is_clock_behind())
		(void)snprintf(dst, cap,
			" (the clock says %s, before this program was built: taking %s as now)",
			clock, tls_date(taken, tls_now_s()));
	else
		(void)snprintf(dst, cap, " (the clock says %s)", clock);
	return dst;
}

static void tls_explain(struct tls_peer *p, const mbedtls_x509_crt *crt, int depth, uint32_t flags)
{
	struct words w = {.dst = p->why, .cap = sizeof(p->why)};
	char name[TLS_SUBJECT_MAX], date[16], clock[128], at[24] = "";
	bool is_self_signed;

	if (p->why[0])
		return;
	if (flags == MBEDTLS_X509_BADCERT_CN_MISMATCH) {
		words_add(&w, p->is_literal ? "the address '" : "the name '");
		words_add(&w, log_show(name, sizeof(name), p->host, strlen(p->host)));
		words_add(&w, "' is not in the certificate (");
		words_add_names(&w, crt);
		words_add(&w, ")");
		return;
	}
	is_self_signed = crt->subject_raw.len == crt->issuer_raw.len &&
			 memcmp(crt->subject_raw.p, crt->issuer_raw.p, crt->issuer_raw.len) == 0;
	words_add(&w, "certificate '");
	words_add(&w, tls_subject(name, &crt->subject));
	words_add(&w, "' (issued by '");
	words_add(&w, tls_subject(name, &crt->issuer));
	if (depth > 0)
		(void)snprintf(at, sizeof(at), ", depth %d", depth);
	words_add(&w, "'");
	words_add(&w, at);
	words_add(&w, ") ");
	if (flags & MBEDTLS_X509_BADCERT_EXPIRED) {
		words_add(&w, "has expired on ");
		words_add(&w, tls_date(date, tls_time_s(&crt->valid_to)));
		words_add(&w, words_of_clock(clock, sizeof(clock)));
	} else if (flags & MBEDTLS_X509_BADCERT_FUTURE) {
		words_add(&w, "is not valid before ");
		words_add(&w, tls_date(date, tls_time_s(&crt->valid_from)));
		words_add(&w, words_of_clock(clock, sizeof(clock)));
	} else if (flags & MBEDTLS_X509_BADCERT_BAD_MD) {
		words_add(&w, "is signed with a hash that is too weak");
	} else if (flags & (MBEDTLS_X509_BADCERT_BAD_KEY | MBEDTLS_X509_BADCERT_BAD_PK)) {
		words_add(&w, "has or is signed by a key that is too weak or of an unknown kind");
	} else if (flags & MBEDTLS_X509_BADCERT_NOT_TRUSTED) {
		words_add(&w, is_self_signed ? "is self-signed and not among the trusted ones"
					     : "is signed by an unknown CA");
	} else if (flags & (MBEDTLS_X509_BADCERT_KEY_USAGE | MBEDTLS_X509_BADCERT_EXT_KEY_USAGE |
				   MBEDTLS_X509_BADCERT_NS_CERT_TYPE)) {
		words_add(&w, "is not meant for a server (key usage)");
	} else {
		(void)snprintf(clock, sizeof(clock), "is not accepted (0x%" PRIx32 ")", flags);
		words_add(&w, clock);
	}
}

/* Called for each certificate of the chain, the server's own (depth 0) last. */
int tls_verify(void *user, mbedtls_x509_crt *crt, int depth, uint32_t *flags)
{
	struct tls_peer *p = user;
	int64_t now_s = tls_now_s();
	int64_t not_after_s = tls_time_s(&crt->valid_to);

	p->is_verified = true;
	if (!crt->raw.p) {
		/* mbedTLS passes over what it cannot parse, in case it is not needed. It is. */
		(void)snprintf(p->why, sizeof(p->why),
			"a certificate of the server is signed in a way that is weak or unknown");
		*flags |= MBEDTLS_X509_BADCERT_BAD_MD;
		return 0;
	}
	*flags &= ~(uint32_t)(MBEDTLS_X509_BADCERT_EXPIRED | MBEDTLS_X509_BADCERT_FUTURE |
			      MBEDTLS_X509_BADCERT_CN_MISMATCH);
	if (now_s > not_after_s)
		*flags |= MBEDTLS_X509_BADCERT_EXPIRED;
	if (now_s < tls_time_s(&crt->valid_from))
		*flags |= MBEDTLS_X509_BADCERT_FUTURE;
	if (depth == 0 && !is_name_in(p, crt))
		*flags |= MBEDTLS_X509_BADCERT_CN_MISMATCH;
	if (not_after_s < p->not_after_s)
		p->not_after_s = not_after_s;
	if (*flags)
		tls_explain(p, crt, depth, *flags);
	return 0;
}
