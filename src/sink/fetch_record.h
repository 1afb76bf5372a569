/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is kept of one key in DIR/.etchlet, in a file of its own that is named by the key's hash. Encoding and decoding
 * touch no file. All that differs from what was encoded, in length or in any bit, is found by a CRC.
 */
#ifndef ETCHLET_SINK_FETCH_RECORD_H
#define ETCHLET_SINK_FETCH_RECORD_H

#include "base/log.h"
#include "sink/fetch_value.h"

enum {
	FETCH_HASH_LEN = 16,
	FETCH_KEY_SHOWN =
		LOG_SHOW_BYTES, /* bytes of a key that are kept, for those who read the status */
	FETCH_WHY_MAX = 128, /* bytes of why it is refused, NUL included */
	FETCH_BOOT_MAX = 40, /* bytes of the system's boot id, NUL included */
	FETCH_RECORD_MAX = 4096, /* bytes of a record */
};

#define FETCH_LEN_UNKNOWN UINT64_MAX

/* Why what is wanted is not taken. Those marked * hold until the value changes, the others are looked at again. */
enum fetch_refusal {
	FETCH_NOT_REFUSED,
	FETCH_MALFORMED, /* * the value */
	FETCH_BAD_DIGEST, /* * all of it came, and is something else */
	FETCH_BAD_URL, /* none that could be asked */
	FETCH_TOO_LARGE, /* more than fetch-max-size */
	FETCH_UNSIGNED, /* a signature is demanded, and there is none that is right */
	FETCH_NAME_TAKEN, /* another key has this name */
	FETCH_FOREIGN, /* something that is not ours has this name */
	FETCH_REFUSAL_COUNT,
};

struct fetch_record {
	uint8_t hash[FETCH_HASH_LEN]; /* of the key */
	int64_t rev; /* of the value */
	uint8_t key[FETCH_KEY_SHOWN]; /* its beginning */
	size_t key_len; /* bytes in key */
	struct fetch_want want;
	enum fetch_refusal refused;
	char why[FETCH_WHY_MAX]; /* of a refusal */
	/* want.name is, or may be by now, a file of ours that nothing else here tells of: so it is written before a file gets
	 * a name that it does not have yet. */
	bool is_claimed;
	/* What is in place under which name; "": nothing. */
	char placed_name[FETCH_NAME_MAX];
	uint8_t placed_sha256[TLS_SHA256_LEN];
	uint64_t placed_len; /* FETCH_LEN_UNKNOWN: nobody has looked */
	int64_t mtime_s;
	uint32_t mtime_ns;
	/* Of the part that is there. */
	char validator[HTTP_VALIDATOR_MAX];
	char boot[FETCH_BOOT_MAX]; /* when this was written; "": not known */
};

/* Bytes written. */
size_t fetch_record_encode(uint8_t dst[FETCH_RECORD_MAX], const struct fetch_record *r);
/* Whether it is one, and of the key with this hash; else *r holds nothing of use. */
bool fetch_record_decode(
	struct fetch_record *r, const uint8_t *src, size_t len, const uint8_t hash[FETCH_HASH_LEN]);

#endif
