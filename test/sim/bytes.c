/* SPDX-License-Identifier: Apache-2.0 */
#include "test/sim/bytes.h"

#include <stdlib.h>
#include <string.h>

#include "test/sim/verdict.h"

void bytes_put(struct bytes *b, const void *src, size_t len)
{
	if (b->len + len > b->cap) {
		b->cap = (b->len + len) * 2;
		b->p = realloc(b->p, b->cap);
		if (!b->p)
			abort();
	}
	if (len)
		memcpy(b->p + b->len, src, len);
	b->len += len;
}

void bytes_drop(struct bytes *b, size_t len)
{
	b->len -= len;
	if (b->len)
		memmove(b->p, b->p + len, b->len);
}

void bytes_free(struct bytes *b)
{
	free(b->p);
	*b = (struct bytes){0};
}

void pb_put_varint(struct bytes *b, uint64_t v)
{
	do {
		uint8_t byte = (uint8_t)((v & 0x7f) | (v > 0x7f ? 0x80 : 0));

		bytes_put(b, &byte, 1);
		v >>= 7;
	} while (v);
}

void pb_put_uint(struct bytes *b, unsigned field, uint64_t v)
{
	if (!v)
		return;
	pb_put_varint(b, field << 3);
	pb_put_varint(b, v);
}

void pb_put_bytes(struct bytes *b, unsigned field, const void *src, size_t len)
{
	pb_put_varint(b, field << 3 | 2);
	pb_put_varint(b, len);
	bytes_put(b, src, len);
}

static bool take_varint(const uint8_t *p, size_t len, size_t *at, uint64_t *v)
{
	*v = 0;
	for (unsigned shift = 0; *at < len && shift < 64; shift += 7) {
		uint8_t byte = p[(*at)++];

		*v |= (uint64_t)(byte & 0x7f) << shift;
		if (byte < 0x80)
			return true;
	}
	return false;
}

bool pb_next(const uint8_t *p, size_t len, size_t *at, struct pb_field *f)
{
	uint64_t tag, v;

	if (*at >= len)
		return false;
	*f = (struct pb_field){0};
	if (take_varint(p, len, at, &tag) && take_varint(p, len, at, &v)) {
		f->number = (unsigned)(tag >> 3);
		f->value = v;
		if ((tag & 7) == 0)
			return true;
		if ((tag & 7) == 2 && v <= len - *at) {
			f->p = p + *at;
			f->len = (size_t)v;
			*at += f->len;
			return true;
		}
	}
	verdict_fail("a request that is no protobuf message");
	return false;
}
