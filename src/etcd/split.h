/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The splitter: follows the nesting of a WatchResponse or a RangeResponse as its bytes arrive, hands
 * the bytes of values on, and collects nothing but one key and one cancel reason. So a response may
 * be larger than memory.
 *
 * Unknown fields are skipped, whatever their type (protobuf's rule for newer servers); unknown types
 * of events are handed on. Where a field is absent, it is 0. Where a number is given twice, the last
 * one counts.
 *
 * Fields may come in any order, but a callback is told once: what it was told must not change
 * afterwards. So key, revisions and type stand before a value, kv before the value of prev_kv, and
 * header, watch_id and so on before events, as in every etcd. A message that does it otherwise is
 * ERR_PROTO. So is a second kv or prev_kv in an event, a second value, a PUT or DELETE without a key,
 * a group, a known field of a wrong type, and a message that contradicts its own lengths.
 */
#ifndef ETCHLET_ETCD_SPLIT_H
#define ETCHLET_ETCD_SPLIT_H

#include "etcd/event.h"

#include <sys/types.h>

enum etcd_split_kind {
	ETCD_SPLIT_WATCH, /* etcdserverpb.WatchResponse */
	ETCD_SPLIT_RANGE, /* etcdserverpb.RangeResponse */
};

enum {
	ETCD_REASON_MAX = 256, /* bytes of a cancel reason that are kept */
};

/* Everything of a response but its events. */
struct etcd_answer {
	struct etcd_header header;
	/* WatchResponse */
	int64_t watch_id;
	int64_t compact_rev;
	bool is_created, is_canceled, is_fragment;
	char reason[ETCD_REASON_MAX]; /* cancel_reason: foreign bytes, cut, not terminated */
	size_t reason_len; /* of what is kept: at most ETCD_REASON_MAX */
	/* RangeResponse; they stand behind the keys, so they are known only in end() */
	bool has_more;
	int64_t count;
	uint64_t event_count; /* events or keys so far */
};

/*
 * All of them are set. Each may answer ERR_AGAIN (value: less than it was offered): nothing more is
 * taken, and the same call comes again with the next etcd_split_feed() or etcd_split_end(). Any other
 * error ends the message and is passed on. Order: begin, then for each event: event, value (none for
 * an empty one), event_end; then end.
 *
 * The event and its key stay where they are, and the key as it is, from event to event_end. The
 * lease is known before the first byte of a previous value, as are has_prev and prev_len; without
 * such bytes, they are in event_end. The bytes of a value are the input's, and valid during the call
 * alone. A callback does not call the splitter.
 */
struct etcd_split_ops {
	/* Before the first event; when there is none, before end(). */
	int (*begin)(void *user, const struct etcd_answer *a);
	int (*event)(void *user, const struct etcd_event *e);
	/* Bytes taken. */
	ssize_t (*value)(void *user, enum etcd_value which, const uint8_t *p, size_t len);
	int (*event_end)(void *user, const struct etcd_event *e);
	int (*end)(void *user, const struct etcd_answer *a);
};

enum {
	ETCD_SPLIT_DEPTH = 3, /* response, event, kv */
};

/* Of the caller, who sets nothing in it and reads nothing of it. */
struct etcd_split {
	const struct etcd_split_ops *ops;
	void *user;
	uint64_t pos; /* bytes of the message that were taken */
	uint64_t acc; /* of a varint that is not complete */
	uint64_t left; /* bytes of the field at hand that are still to come */
	const struct etcd_split_field *field; /* at hand */
	size_t kept; /* bytes of it that were collected */
	struct {
		uint64_t end; /* where it ends in the message */
		uint8_t msg;
	} frames[ETCD_SPLIT_DEPTH];
	int err; /* that ended the message */
	uint8_t depth;
	uint8_t state;
	uint8_t after_value; /* the state behind a value */
	uint8_t acc_bits;
	uint8_t told; /* what callbacks were told already */
	bool is_listing;
	bool has_kv;
	bool has_prev_value;
	struct etcd_answer answer;
	struct etcd_event event;
	uint8_t key[CONFIG_ETCD_KEY_BYTES]; /* last: the offsets of the others are small */
};

/* A message of len bytes begins; whatever was before is forgotten. */
void etcd_split_begin(struct etcd_split *s, enum etcd_split_kind kind, uint64_t len,
	const struct etcd_split_ops *ops, void *user);

/*
 * Bytes taken (fewer than len after ERR_AGAIN of a callback, 0 if it took none), or an error: of a
 * callback, ERR_PROTO, ERR_REVISION (a revision of 2^62 and more or below 0), or ERR_BUG for more
 * bytes than the message has. After an error every call gives the same error.
 */
ssize_t etcd_split_feed(struct etcd_split *s, const uint8_t *p, size_t len);

/*
 * After all bytes were taken: 0, ERR_AGAIN (call again), ERR_PROTO when the message is cut short, or
 * as etcd_split_feed(). Callbacks that become due with the last byte come here.
 */
int etcd_split_end(struct etcd_split *s);

#endif
