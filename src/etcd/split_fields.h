/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What becomes of each field of the messages that the splitter reads: the tables it follows, with
 * the field numbers of etcd's API. Part of split.c, and included there alone.
 */
#ifndef ETCHLET_ETCD_SPLIT_FIELDS_H
#define ETCHLET_ETCD_SPLIT_FIELDS_H

#include "etcd/split.h"

enum wire {
	WIRE_VARINT = 0,
	WIRE_64 = 1,
	WIRE_LEN = 2,
	WIRE_32 = 5,
};

enum message {
	MSG_WATCH,
	MSG_RANGE,
	MSG_HEADER,
	MSG_EVENT,
	MSG_KV,
	MSG_PREV,
};

enum field_kind {
	FIELD_SKIP,
	/* varints */
	FIELD_INT,
	FIELD_REVISION,
	FIELD_BOOL,
	FIELD_ENUM,
	/* with a length */
	FIELD_HEADER,
	FIELD_EVENT,
	FIELD_LISTED, /* a kv that is an event by itself */
	FIELD_KV,
	FIELD_PREV,
	FIELD_KEY,
	FIELD_REASON,
	FIELD_VALUE,
	FIELD_PREV_VALUE,

	FIELD_FIRST_LEN = FIELD_HEADER,
};

/* What callbacks were told and what must not change any more: bits. */
enum {
	TOLD_ANSWER = 1,
	TOLD_EVENT = 2,
};

struct etcd_split_field {
	uint8_t kind;
	uint8_t told; /* when that was told it must not change */
	uint16_t offset; /* in struct etcd_split; 0: not kept */
};

#define AT(member) ((uint16_t)offsetof(struct etcd_split, member))

static const struct etcd_split_field fields_watch[] = {
	[1] = {.kind = FIELD_HEADER},
	[2] = {FIELD_INT, TOLD_ANSWER, AT(answer.watch_id)},
	[3] = {FIELD_BOOL, TOLD_ANSWER, AT(answer.is_created)},
	[4] = {FIELD_BOOL, TOLD_ANSWER, AT(answer.is_canceled)},
	[5] = {FIELD_REVISION, TOLD_ANSWER, AT(answer.compact_rev)},
	[6] = {.kind = FIELD_REASON},
	[7] = {FIELD_BOOL, TOLD_ANSWER, AT(answer.is_fragment)},
	[11] = {.kind = FIELD_EVENT},
};

static const struct etcd_split_field fields_range[] = {
	[1] = {.kind = FIELD_HEADER},
	[2] = {.kind = FIELD_LISTED},
	[3] = {FIELD_BOOL, 0, AT(answer.has_more)},
	[4] = {FIELD_INT, 0, AT(answer.count)},
};

static const struct etcd_split_field fields_header[] = {
	[1] = {FIELD_INT, TOLD_ANSWER, AT(answer.header.cluster_id)},
	[2] = {FIELD_INT, TOLD_ANSWER, AT(answer.header.member_id)},
	[3] = {FIELD_REVISION, TOLD_ANSWER, AT(answer.header.revision)},
	[4] = {FIELD_INT, TOLD_ANSWER, AT(answer.header.raft_term)},
};

static const struct etcd_split_field fields_event[] = {
	[1] = {FIELD_ENUM, TOLD_EVENT, AT(event.type)},
	[2] = {.kind = FIELD_KV},
	[3] = {.kind = FIELD_PREV},
};

static const struct etcd_split_field fields_kv[] = {
	[1] = {.kind = FIELD_KEY},
	[2] = {FIELD_REVISION, TOLD_EVENT, AT(event.create_rev)},
	[3] = {FIELD_REVISION, TOLD_EVENT, AT(event.mod_rev)},
	[4] = {FIELD_INT, TOLD_EVENT, AT(event.version)},
	[5] = {.kind = FIELD_VALUE},
	[6] = {FIELD_INT, 0, AT(event.lease)},
};

static const struct etcd_split_field fields_prev[] = {
	[2] = {.kind = FIELD_REVISION},
	[3] = {.kind = FIELD_REVISION},
	[5] = {.kind = FIELD_PREV_VALUE},
};

#define FIELDS(table) \
	{ \
		(table), (uint8_t)(sizeof(table) / sizeof((table)[0])) \
	}

static const struct {
	const struct etcd_split_field *fields;
	uint8_t count;
} messages[] = {
	[MSG_WATCH] = FIELDS(fields_watch),
	[MSG_RANGE] = FIELDS(fields_range),
	[MSG_HEADER] = FIELDS(fields_header),
	[MSG_EVENT] = FIELDS(fields_event),
	[MSG_KV] = FIELDS(fields_kv),
	[MSG_PREV] = FIELDS(fields_prev),
};

static const struct etcd_split_field field_unknown = {.kind = FIELD_SKIP};

/* The one byte of a field's tag, for numbers below 16. */
#define TAG(number, wire) ((number) << 3 | (unsigned int)(wire))

static inline enum wire field_wire(const struct etcd_split_field *f)
{
	return f->kind < FIELD_FIRST_LEN ? WIRE_VARINT : WIRE_LEN;
}

#endif
