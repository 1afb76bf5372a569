/* SPDX-License-Identifier: Apache-2.0 */
/*
 * UTF-8 as RFC 3629 has it: no surrogates, nothing longer than needed, nothing above U+10FFFF.
 */
#ifndef ETCHLET_BASE_UTF8_H
#define ETCHLET_BASE_UTF8_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A check that goes on over pieces; all zero at the start. */
struct utf8 {
	uint8_t need; /* bytes that the sequence still lacks */
	uint8_t low, high; /* between which its next byte must lie */
	bool is_bad;
};

static inline void utf8_init(struct utf8 *u)
{
	*u = (struct utf8){0};
}

/* Returns whether all bytes so far are the beginning of valid text. */
bool utf8_feed(struct utf8 *u, const uint8_t *p, size_t len);

/* Whether what was fed is valid text that ends here. */
static inline bool utf8_is_whole(const struct utf8 *u)
{
	return !u->is_bad && u->need == 0;
}

bool utf8_is_valid(const uint8_t *p, size_t len);

/*
 * The code point at p (len at least 1). Returns the bytes it has (1 to 4); 0 when it begins well,
 * but is cut off by len; -1 when p[0] begins no valid sequence.
 */
int utf8_next(const uint8_t *p, size_t len, uint32_t *code);

/* Bytes of the sequence at p (len at least 1); 0 when no whole and valid one begins there. */
static inline size_t utf8_sequence_len(const uint8_t *p, size_t len)
{
	uint32_t code;
	int n = utf8_next(p, len, &code);

	return n > 0 ? (size_t)n : 0;
}

#endif
