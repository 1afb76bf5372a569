/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Base64 as RFC 4648 section 4 has it, padded, over pieces of any size.
 */
#ifndef ETCHLET_BASE_BASE64_H
#define ETCHLET_BASE_BASE64_H

#include <stddef.h>
#include <stdint.h>

enum {
	BASE64_END_MAX = 4, /* bytes base64_end() may write */
};

/* All zero at the start. */
struct base64 {
	uint8_t rest[2]; /* bytes that do not make a group of three yet */
	uint8_t rest_len;
};

/* Bytes of text that len bytes make, padding included. */
static inline size_t base64_len(size_t len)
{
	return (len + 2) / 3 * 4;
}

/*
 * Takes as many bytes of src as fit into cap bytes of text. Returns how many it took and sets *used
 * to the bytes written. It writes whole groups only, and takes nothing when cap is below 4.
 */
size_t base64_put(
	struct base64 *b, char *dst, size_t cap, size_t *used, const uint8_t *src, size_t len);

/* The last group with its padding: 0 or 4 bytes of dst. Then b is at its start again. */
size_t base64_end(struct base64 *b, char dst[BASE64_END_MAX]);

#endif
