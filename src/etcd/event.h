/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What etcd tells of keys: the fields of mvccpb.KeyValue and mvccpb.Event, and of the header that
 * every answer has. Revisions and leases are as in etcd's API (int64).
 */
#ifndef ETCHLET_ETCD_EVENT_H
#define ETCHLET_ETCD_EVENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
	/* etcd counts its revisions from 1; 2^62 and more, or below 0, is a fault of the server. */
	ETCD_REVISION_BITS = 62,
};

static inline bool etcd_revision_is_valid(int64_t rev)
{
	return rev >= 0 && rev < (INT64_C(1) << ETCD_REVISION_BITS);
}

/* etcdserverpb.ResponseHeader */
struct etcd_header {
	uint64_t cluster_id; /* 0: not told */
	uint64_t member_id;
	int64_t revision; /* 0: not told */
	uint64_t raft_term;
	bool is_present;
};

enum etcd_event_type {
	ETCD_EVENT_PUT = 0,
	ETCD_EVENT_DELETE = 1,
};

/*
 * mvccpb.Event, or a mvccpb.KeyValue of a listing (type PUT). When the first bytes of its value are
 * due, the key and what comes before the lease are filled in. When the first bytes of the previous
 * value are due, all of it is.
 */
struct etcd_event {
	int32_t type; /* an enum etcd_event_type, or one that is not known */
	bool is_listed; /* of a listing, not of a watch */
	bool is_key_long; /* key_len is above CONFIG_ETCD_KEY_BYTES: key holds its beginning alone */
	bool has_prev; /* prev_kv was there */
	const uint8_t *key; /* at most CONFIG_ETCD_KEY_BYTES; empty only if the type is not known */
	size_t key_len; /* the whole key's */
	uint64_t value_len;
	uint64_t prev_len; /* of prev_kv's value */
	int64_t create_rev; /* 0 of a DELETE */
	int64_t mod_rev;
	int64_t version; /* 0 of a DELETE */
	int64_t lease; /* 0: none */
};

/* Whose bytes a piece of a value is. */
enum etcd_value {
	ETCD_VALUE,
	ETCD_VALUE_PREV,
};

#endif
