/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Ranges of keys, as etcd's requests name them: from key (included) to end (not included). An empty
 * end means key alone; an end of one zero byte means every key from key on; key and end of one zero
 * byte each mean every key there is.
 *
 * A range points to memory of its caller, who keeps it for as long as the range is used.
 */
#ifndef ETCHLET_ETCD_RANGE_H
#define ETCHLET_ETCD_RANGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct etcd_range {
	const uint8_t *key;
	size_t key_len;
	const uint8_t *end;
	size_t end_len;
};

/* One key. An empty key is none: etcd_range_is_valid() tells. */
void etcd_range_key(struct etcd_range *r, const void *key, size_t key_len);

/* From key up to end, as in etcd's API. An empty key begins with the first key there is. */
void etcd_range_from(
	struct etcd_range *r, const void *key, size_t key_len, const void *end, size_t end_len);

/*
 * Every key that begins with key; with an empty one every key there is. end_mem has room for key_len
 * bytes (at least 1) and holds the end of the range from then on.
 */
void etcd_range_prefix(struct etcd_range *r, const void *key, size_t key_len, uint8_t *end_mem);

/* Whether a key can lie in it at all: a mistake of the user's if not, and etcd would refuse it. */
bool etcd_range_is_valid(const struct etcd_range *r);

bool etcd_range_has(const struct etcd_range *r, const void *key, size_t key_len);

/* The one key at which the range begins: what whoever may read the range may read, at least cost. */
void etcd_range_first(struct etcd_range *first, const struct etcd_range *r);

#endif
