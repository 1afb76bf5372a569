/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a value asks for: {"url":…,"sha256":…,"size":…,"name":…,"sig":…}, an object as RFC 8259 has it. url and sha256 are
 * needed; what is null counts as not given; other members are passed over, whatever is in them. One that
 * stands twice is refused: readers differ about which one counts.
 */
#ifndef ETCHLET_SINK_FETCH_VALUE_H
#define ETCHLET_SINK_FETCH_VALUE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "net/http.h"
#include "net/tls_digest.h"

enum {
	FETCH_NAME_MAX = 201, /* bytes of a name, NUL included */
	FETCH_SIG_MAX = 161, /* bytes of a signature in base64, NUL included */
};

struct fetch_want {
	char url[HTTP_URL_MAX]; /* printable ASCII; "": nothing is wanted */
	char name[FETCH_NAME_MAX]; /* fetch_name_is_good() */
	char sig[FETCH_SIG_MAX]; /* "": none */
	uint8_t sha256[TLS_SHA256_LEN];
	int64_t size; /* bytes; -1: not told */
};

/*
 * text[len] is the whole value. Without "name" it is the last component of the key. 0, or ERR_CONFIG with why, a few words for
 * a person that hold nothing of the value; then *w is empty.
 */
int fetch_value_parse(struct fetch_want *w, const char *text, size_t len, const uint8_t *key,
	size_t key_len, char *why, size_t why_cap);

/* One component of A-Z a-z 0-9 . _ - + , = @ : ~ that does not begin with a dot. */
bool fetch_name_is_good(const char *name, size_t len);

/* Whether both ask for the same. */
bool fetch_want_is_same(const struct fetch_want *a, const struct fetch_want *b);

#endif
