/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Header blocks of a hostile peer. The input is cut into blocks; each is decoded whole and, by a
 * second decoder, in pieces. Both must tell the same, agree on the table, and stay within limits.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "net/hpack.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct told {
	uint64_t hash;
	size_t size; /* as RFC 9113 6.5.2 counts a list */
};

static void check(int is_true)
{
	if (!is_true)
		abort();
}

static uint64_t hash_add(uint64_t hash, const char *p, size_t len)
{
	for (size_t i = 0; i < len; i++)
		hash = (hash ^ (uint8_t)p[i]) * UINT64_C(1099511628211);
	return hash * 31 + len;
}

static void on_field(
	void *user, const char *name, size_t name_len, const char *value, size_t value_len)
{
	struct told *t = user;

	t->hash = hash_add(hash_add(t->hash, name, name_len), value, value_len);
	t->size += name_len + value_len + HPACK_FIELD_OVERHEAD;
}

static int decode(
	struct hpack_decoder *d, const uint8_t *p, size_t len, size_t step, struct told *t)
{
	hpack_block_begin(d);
	for (size_t at = 0; at < len; at += step) {
		size_t n = len - at < step ? len - at : step;
		/* A copy of its own, so that a sanitizer sees a read past the end. */
		uint8_t *piece = malloc(n);
		int rc;

		check(piece != NULL);
		memcpy(piece, p + at, n);
		rc = hpack_block_decode(d, piece, n, on_field, t);
		free(piece);
		if (rc)
			return rc;
	}
	return hpack_block_end(d);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct hpack_decoder whole, pieces;

	hpack_decoder_init(&whole);
	hpack_decoder_init(&pieces);
	while (size >= 3) {
		size_t len = (size_t)data[0] << 3 | data[1] >> 5;
		size_t step = 1 + data[2] % 16;
		struct told a = {0}, b = {0};
		int rc;

		data += 3;
		size -= 3;
		if (len > size)
			len = size;
		rc = decode(&whole, data, len, len ? len : 1, &a);
		check(rc == decode(&pieces, data, len, step, &b));
		check(a.hash == b.hash && a.size == b.size);
		check(a.size <= CONFIG_H2_HEADER_LIST_BYTES);
		check(whole.size == pieces.size && whole.count == pieces.count);
		check(whole.size <= whole.size_max && whole.size_max <= CONFIG_HPACK_TABLE_BYTES);
		check((whole.count == 0) == (whole.size == 0) && whole.head <= whole.tail);
		if (rc)
			break;
		data += len;
		size -= len;
	}
	return 0;
}
