/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The Huffman code of HPACK (RFC 7541 5.2 and appendix B), decoding only: what we send is plain.
 *
 * A string may come in pieces of any size. The code is canonical (codes of one length are
 * consecutive numbers in the order of their symbols), so a table of its 21 lengths and a list of
 * the symbols are all that is needed.
 */
#ifndef ETCHLET_NET_HUFFMAN_H
#define ETCHLET_NET_HUFFMAN_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* Bits that did not make a whole symbol yet. */
struct huffman {
	uint64_t bits; /* the lowest bits_len of them count */
	uint8_t bits_len;
};

void huffman_init(struct huffman *h);

/* Returns how many symbols the piece ended; the first cap of them are in dst. ERR_HTTP2 when the
 * string holds the EOS symbol. */
ssize_t huffman_decode(struct huffman *h, const uint8_t *p, size_t len, uint8_t *dst, size_t cap);

/* At the string's end: 0, or ERR_HTTP2 when the padding is longer than 7 bits or not all ones. */
int huffman_end(const struct huffman *h);

#endif
