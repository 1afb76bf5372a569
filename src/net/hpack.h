/* SPDX-License-Identifier: Apache-2.0 */
/*
 * HPACK (RFC 7541): header compression for HTTP/2.
 *
 * The decoder is fed with a block in pieces of any size and calls back once per field; a block is
 * never collected. Its memory is the struct: the dynamic table, and room behind it for the one
 * field that is being decoded. It knows field sizes, but not what fields mean.
 *
 * The encoder is stateless. It uses the static table and literals that are not indexed, so there
 * is no table to keep in step with the peer's, and nothing that a secret could leak through (RFC
 * 7541 7.1).
 */
#ifndef ETCHLET_NET_HPACK_H
#define ETCHLET_NET_HPACK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "net/huffman.h"

/* One decoded field. name and value are not terminated, may hold any byte, and live until the
 * call returns. The decoder must not be touched within it. */
typedef void hpack_field_fn(
	void *user, const char *name, size_t name_len, const char *value, size_t value_len);

enum {
	HPACK_FIELD_OVERHEAD = 32, /* of a field in the table and in the list (RFC 7541 4.1) */
	HPACK_TABLE_DEFAULT = 4096, /* RFC 9113 6.5.2 */
	HPACK_SIZE_UPDATE_ZERO = 0x20, /* starts a block: "the encoder's dynamic table is empty" */
};

struct hpack_decoder {
	/* The block's list grew over CONFIG_H2_HEADER_LIST_BYTES: no more fields are told of, but
	 * the dynamic table is kept in step. */
	bool is_list_over;
	/* private */
	bool is_update_due; /* our table is smaller than the RFC's default: the peer must say so */
	bool is_update_allowed;
	bool is_indexed; /* the literal goes into the table */
	bool is_huffman;
	uint8_t state;
	uint8_t what; /* the integer that is being read */
	uint8_t shift;
	uint16_t count; /* entries */
	uint16_t head, tail; /* of the entries in mem, oldest first */
	uint32_t size; /* of the entries as RFC 7541 4.1 counts */
	uint32_t size_max; /* as the peer's encoder has chosen */
	uint32_t list_left;
	uint32_t num;
	uint32_t text_len, name_len; /* of the literal so far; what is too long is only counted */
	uint32_t str_left;
	struct huffman huffman;
	uint8_t mem[CONFIG_HPACK_TABLE_BYTES + CONFIG_H2_HEADER_LIST_BYTES];
};

void hpack_decoder_init(struct hpack_decoder *d);

/* A block begins. */
void hpack_block_begin(struct hpack_decoder *d);

/* A piece of it; all is taken. fn may be NULL: the table alone is kept in step. 0, or ERR_HTTP2:
 * the block is malformed, the connection cannot go on (COMPRESSION_ERROR). */
int hpack_block_decode(
	struct hpack_decoder *d, const uint8_t *p, size_t len, hpack_field_fn *fn, void *user);

/* It ends here. 0, or ERR_HTTP2 when it was cut within a field. */
int hpack_block_end(const struct hpack_decoder *d);

/* Appends one field, all of it or nothing. is_secret: never to be indexed by anybody on the way
 * (RFC 7541 7.1.3). 0, or ERR_AGAIN when there is no room at the tail of out (nothing is moved). */
int hpack_encode(struct buf *out, const char *name, size_t name_len, const char *value,
	size_t value_len, bool is_secret);

/* The most bytes that hpack_encode() takes for a field. */
static inline size_t hpack_encode_max(size_t name_len, size_t value_len)
{
	return 1 + 6 + name_len + 6 + value_len;
}

#endif
