/* SPDX-License-Identifier: Apache-2.0 */
#include "base/utf8.h"

#include <string.h>

/* How many bytes from p on are ASCII, counted in words; the caller looks at the rest one by one. */
static size_t utf8_ascii_words(const uint8_t *p, size_t len)
{
	size_t i = 0;
	uint64_t w;

	while (len - i >= sizeof(w)) {
		memcpy(&w, p + i, sizeof(w));
		if (w & UINT64_C(0x8080808080808080))
			break;
		i += sizeof(w);
	}
	return i;
}

/* The table of RFC 3629 section 4: how many bytes follow lead, and the limits of the first.
 * Returns false when no sequence begins with lead. */
static bool utf8_lead(uint8_t lead, struct utf8 *u)
{
	u->low = 0x80;
	u->high = 0xbf;
	if (lead >= 0xc2 && lead <= 0xdf) {
		u->need = 1;
	} else if (lead >= 0xe0 && lead <= 0xef) {
		u->need = 2;
		if (lead == 0xe0)
			u->low = 0xa0; /* else it is longer than needed */
		if (lead == 0xed)
			u->high = 0x9f; /* else a surrogate */
	} else if (lead >= 0xf0 && lead <= 0xf4) {
		u->need = 3;
		if (lead == 0xf0)
			u->low = 0x90;
		if (lead == 0xf4)
			u->high = 0x8f; /* else above U+10FFFF */
	} else {
		return false;
	}
	return true;
}

bool utf8_feed(struct utf8 *u, const uint8_t *p, size_t len)
{
	size_t i = 0;

	if (u->is_bad)
		return false;
	while (i < len) {
		uint8_t c = p[i];

		if (u->need) {
			if (c < u->low || c > u->high)
				goto bad;
			u->need--;
			u->low = 0x80;
			u->high = 0xbf;
			i++;
		} else if (c < 0x80) {
			size_t n = utf8_ascii_words(p + i, len - i);

			i += n ? n : 1;
		} else {
			if (!utf8_lead(c, u))
				goto bad;
			i++;
		}
	}
	return true;
bad:
	u->is_bad = true;
	return false;
}

bool utf8_is_valid(const uint8_t *p, size_t len)
{
	struct utf8 u;

	utf8_init(&u);
	return utf8_feed(&u, p, len) && utf8_is_whole(&u);
}

int utf8_next(const uint8_t *p, size_t len, uint32_t *code)
{
	struct utf8 u;
	uint32_t c;
	int n;

	utf8_init(&u);
	if (p[0] < 0x80) {
		*code = p[0];
		return 1;
	}
	if (!utf8_lead(p[0], &u))
		return -1;
	n = 1 + u.need;
	/* The lead of n bytes holds 7 - n bits. */
	c = p[0] & (0x7fU >> n);
	for (int i = 1; i < n; i++) {
		if ((size_t)i == len)
			return 0;
		if (p[i] < u.low || p[i] > u.high)
			return -1;
		u.low = 0x80;
		u.high = 0xbf;
		c = c << 6 | (p[i] & 0x3fU);
	}
	*code = c;
	return n;
}
