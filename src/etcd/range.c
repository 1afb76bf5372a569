/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Ranges of keys, compared as etcd does: byte by byte, unsigned, a shorter key before a longer one
 * that it begins.
 */
#include "etcd/range.h"

#include <string.h>

static const uint8_t zero[1] = {0};

static int key_compare(const uint8_t *a, size_t a_len, const uint8_t *b, size_t b_len)
{
	size_t n = a_len < b_len ? a_len : b_len;
	int r = n ? memcmp(a, b, n) : 0;

	if (r)
		return r;
	return a_len < b_len ? -1 : a_len > b_len;
}

static bool is_zero(const uint8_t *p, size_t len)
{
	return len == 1 && p[0] == 0;
}

void etcd_range_key(struct etcd_range *r, const void *key, size_t key_len)
{
	*r = (struct etcd_range){.key = key, .key_len = key_len};
}

void etcd_range_from(
	struct etcd_range *r, const void *key, size_t key_len, const void *end, size_t end_len)
{
	/* etcd takes no empty key; the first one there can be is a zero byte. */
	*r = (struct etcd_range){
		.key = key_len ? key : zero,
		.key_len = key_len ? key_len : sizeof(zero),
		.end = end,
		.end_len = end_len,
	};
}

void etcd_range_prefix(struct etcd_range *r, const void *key, size_t key_len, uint8_t *end_mem)
{
	size_t len = key_len;

	if (len)
		memcpy(end_mem, key, len);
	/* What comes after all keys with this beginning: its last byte one higher. One of 0xff has no
	 * higher, so that the byte before it is the one. */
	while (len && end_mem[len - 1] == 0xff)
		len--;
	if (len) {
		end_mem[len - 1]++;
	} else {
		end_mem[0] = 0;
		len = 1;
	}
	etcd_range_from(r, key, key_len, end_mem, len);
}

bool etcd_range_is_valid(const struct etcd_range *r)
{
	if (!r->key_len)
		return false;
	return !r->end_len || is_zero(r->end, r->end_len) ||
	       key_compare(r->end, r->end_len, r->key, r->key_len) > 0;
}

bool etcd_range_has(const struct etcd_range *r, const void *key, size_t key_len)
{
	int c = key_compare(key, key_len, r->key, r->key_len);

	if (!r->end_len)
		return c == 0;
	if (c < 0)
		return false;
	return is_zero(r->end, r->end_len) || key_compare(key, key_len, r->end, r->end_len) < 0;
}

void etcd_range_first(struct etcd_range *first, const struct etcd_range *r)
{
	etcd_range_key(first, r->key, r->key_len);
}
