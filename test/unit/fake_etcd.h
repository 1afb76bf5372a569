/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What an etcd says and is asked, in protobuf's encoding: the little that tests of the client's calls
 * need. The field numbers are those of etcd's API.
 */
#ifndef ETCHLET_TEST_FAKE_ETCD_H
#define ETCHLET_TEST_FAKE_ETCD_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

enum {
	FAKE_PB_MAX = 32768,
	FAKE_CLUSTER = 1234,
	FAKE_MEMBER = 99,
	FAKE_TERM = 3,
};

/* A message that is being written. */
struct fake_pb {
	uint8_t p[FAKE_PB_MAX];
	size_t len;
};

static inline void fake_pb_varint(struct fake_pb *m, uint64_t v)
{
	assert_true(m->len + 10 <= sizeof(m->p));
	for (; v >= 128; v >>= 7)
		m->p[m->len++] = (uint8_t)(v | 128);
	m->p[m->len++] = (uint8_t)v;
}

/* As in proto3, 0 is left out. */
static inline void fake_pb_number(struct fake_pb *m, unsigned field, uint64_t v)
{
	if (!v)
		return;
	fake_pb_varint(m, field << 3);
	fake_pb_varint(m, v);
}

static inline void fake_pb_bytes(struct fake_pb *m, unsigned field, const void *p, size_t len)
{
	fake_pb_varint(m, field << 3 | 2);
	fake_pb_varint(m, len);
	assert_true(m->len + len <= sizeof(m->p));
	if (len)
		memcpy(m->p + m->len, p, len);
	m->len += len;
}

static inline void fake_pb_header(struct fake_pb *m, int64_t rev)
{
	static struct fake_pb h;

	h.len = 0;
	fake_pb_number(&h, 1, FAKE_CLUSTER);
	fake_pb_number(&h, 2, FAKE_MEMBER);
	fake_pb_number(&h, 3, (uint64_t)rev);
	fake_pb_number(&h, 4, FAKE_TERM);
	fake_pb_bytes(m, 1, h.p, h.len);
}

/* mvccpb.KeyValue as field of m. */
static inline void fake_pb_kv(struct fake_pb *m, unsigned field, const void *key, size_t key_len,
	const void *value, size_t value_len, int64_t rev)
{
	static struct fake_pb kv;

	kv.len = 0;
	fake_pb_bytes(&kv, 1, key, key_len);
	fake_pb_number(&kv, 2, (uint64_t)rev);
	fake_pb_number(&kv, 3, (uint64_t)rev);
	fake_pb_number(&kv, 4, 1);
	if (value_len)
		fake_pb_bytes(&kv, 5, value, value_len);
	fake_pb_bytes(m, field, kv.p, kv.len);
}

/* A field of a message that was received; is_there false: it is absent (0, or no bytes). */
struct fake_pb_field {
	bool is_there;
	uint64_t v;
	const uint8_t *p;
	size_t len;
};

static inline uint64_t fake_pb_read(const uint8_t *p, size_t len, size_t *at)
{
	uint64_t v = 0;
	unsigned bits = 0;

	do {
		assert_true(*at < len && bits < 64);
		v |= (uint64_t)(p[*at] & 127) << bits;
		bits += 7;
	} while (p[(*at)++] & 128);
	return v;
}

static inline struct fake_pb_field fake_pb_find(const uint8_t *p, size_t len, unsigned number)
{
	struct fake_pb_field found = {0};
	size_t at = 0;

	while (at < len) {
		uint64_t tag = fake_pb_read(p, len, &at);
		struct fake_pb_field f = {.is_there = true, .v = fake_pb_read(p, len, &at)};

		assert_true((tag & 7) == 0 || (tag & 7) == 2);
		if ((tag & 7) == 2) {
			f.p = p + at;
			f.len = (size_t)f.v;
			assert_true(f.len <= len - at);
			at += f.len;
		}
		if (tag >> 3 == number)
			found = f;
	}
	return found;
}

#endif
