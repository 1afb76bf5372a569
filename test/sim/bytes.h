/* SPDX-License-Identifier: Apache-2.0 */
/* Bytes that grow, and the little of protobuf's encoding (varints and lengths) that a server needs. */
#ifndef TEST_SIM_BYTES_H
#define TEST_SIM_BYTES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct bytes {
	uint8_t *p;
	size_t len, cap;
};

void bytes_put(struct bytes *b, const void *src, size_t len);
void bytes_drop(struct bytes *b, size_t len);
void bytes_free(struct bytes *b);

void pb_put_varint(struct bytes *b, uint64_t v);
/* Nothing is put for 0, as in proto3. */
void pb_put_uint(struct bytes *b, unsigned field, uint64_t v);
void pb_put_bytes(struct bytes *b, unsigned field, const void *src, size_t len);

struct pb_field {
	unsigned number;
	uint64_t value; /* of a varint */
	const uint8_t *p; /* of bytes; NULL: a varint */
	size_t len;
};

/* The next field of p[len], from *at on. false: the end. A malformed message is a verdict. */
bool pb_next(const uint8_t *p, size_t len, size_t *at, struct pb_field *f);

#endif
