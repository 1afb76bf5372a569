/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Quotes bytes as Go's strconv.Quote (and so the verb %q) does: text between double quotes, with \a
 * \b \f \n \r \t \v \\ and \" for themselves, \xNN for other control characters and for bytes that
 * are not valid UTF-8, \uNNNN and \UNNNNNNNN for code points that unicode.IsPrint does not hold
 * for.
 */
#ifndef ETCHLET_BASE_QUOTE_H
#define ETCHLET_BASE_QUOTE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* A quotation that goes on over pieces, into memory of its owner. */
struct quote {
	char *dst;
	size_t cap, len;
	uint8_t rest[4]; /* of a sequence that a piece cut in two */
	uint8_t rest_len;
	bool is_full; /* it did not fit: what is in dst is no quotation */
};

/* At most len bytes become 4 * len + 2. */
void quote_begin(struct quote *q, char *dst, size_t cap);
void quote_put(struct quote *q, const uint8_t *p, size_t len);
/* Bytes written, without a NUL; or ERR_LIMIT when it did not fit. */
ssize_t quote_end(struct quote *q);

/* Go's unicode.IsPrint: letters, marks, numbers, punctuation, symbols and the ASCII space. */
bool quote_is_print(uint32_t code);

#endif
