/* SPDX-License-Identifier: Apache-2.0 */
#include "sink/mirror_name.h"

#include <stdbool.h>
#include <string.h>

static const char hex[] = "0123456789ABCDEF";

size_t mirror_name_cut(const uint8_t *key, size_t key_len)
{
	while (key_len && key[key_len - 1] != '/')
		key_len--;
	return key_len;
}

static bool is_plain(uint8_t c)
{
	if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9'))
		return true;
	return c && strchr("._-+,=@:~ ", c);
}

static bool is_same(const uint8_t *p, size_t len, const char *name)
{
	return len == strlen(name) && memcmp(p, name, len) == 0;
}

/* One component of the key. Bytes written, or 0. */
static size_t put_component(const uint8_t *p, size_t len, bool is_first, char *dst, size_t cap)
{
	bool is_dots = is_same(p, len, ".") || is_same(p, len, "..");
	bool is_own = is_first && is_same(p, len, MIRROR_OWN_NAME);
	size_t at = 0;

	if (cap > MIRROR_NAME_MAX)
		cap = MIRROR_NAME_MAX;
	if (len == 0) {
		if (!cap)
			return 0;
		dst[0] = '%';
		return 1;
	}
	for (size_t i = 0; i < len; i++) {
		if (is_plain(p[i]) && !is_dots && !(is_own && i == 0)) {
			if (cap - at < 1)
				return 0;
			dst[at++] = (char)p[i];
			continue;
		}
		if (cap - at < 3)
			return 0;
		dst[at++] = '%';
		dst[at++] = hex[p[i] >> 4];
		dst[at++] = hex[p[i] & 15];
	}
	return at;
}

size_t mirror_name_make(const uint8_t *key, size_t key_len, size_t cut, char *dst, size_t cap)
{
	size_t from = cut, at = 0;

	if (key_len < cut || !cap)
		return 0;
	cap--; /* for the NUL */
	for (;;) {
		const uint8_t *slash = memchr(key + from, '/', key_len - from);
		size_t end = slash ? (size_t)(slash - key) : key_len;
		size_t n = put_component(key + from, end - from, from == cut, dst + at, cap - at);

		if (!n)
			return 0;
		at += n;
		if (!slash)
			break;
		if (at == cap)
			return 0;
		dst[at++] = '/';
		from = end + 1;
	}
	dst[at] = '\0';
	return at;
}
