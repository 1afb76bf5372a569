/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The splitter is shown messages that Google's protobuf has encoded, and messages that nobody should
 * send, cut into pieces in every way; what its callbacks are told is written down as text and must
 * be the same each time. The input lies against a guard page, and is overwritten after each call.
 */
#define _DEFAULT_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/err.h"
#include "etcd/split.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define WANT_SPLIT_VECTORS
#include "test/unit/vectors/etcd.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

enum {
	TRACE_MAX = 256 * 1024,
	INPUT_MAX = (3 * CONFIG_ETCD_KEY_BYTES / 65536 + 1) * 65536, /* whole pages */
};

/* How a receiver behaves, and what it was told. */
struct receiver {
	char trace[TRACE_MAX];
	size_t len;
	char value_of; /* 'V' or 'P' while a value's line is open */
	uint64_t value_len[2];
	uint32_t random; /* 0: takes everything; 1: each call comes twice; else by chance */
	bool has_refused; /* the last call */
	bool was_again; /* in this feed */
	int fail_at, fail_with; /* the n-th call from 1 on fails */
	int calls;
	const uint8_t *key;
	const struct etcd_event *event;
	int64_t prev_lease; /* as it was with the previous value */
};

static struct receiver rec, whole;
static struct etcd_split split;
static uint8_t *guard; /* the end of readable memory */

static __attribute__((format(printf, 1, 2))) void note(const char *fmt, ...)
{
	va_list ap;

	if (rec.value_of) {
		rec.value_of = 0;
		rec.trace[rec.len++] = '\n';
	}
	va_start(ap, fmt);
	rec.len += (size_t)vsnprintf(rec.trace + rec.len, TRACE_MAX - rec.len, fmt, ap);
	va_end(ap);
	assert_true(rec.len < TRACE_MAX);
}

static void note_hex(const void *p, size_t len)
{
	static const char digits[] = "0123456789abcdef";
	size_t i;

	assert_true(rec.len + 2 * len + 2 < TRACE_MAX);
	for (i = 0; i < len; i++) {
		rec.trace[rec.len++] = digits[((const uint8_t *)p)[i] >> 4];
		rec.trace[rec.len++] = digits[((const uint8_t *)p)[i] & 15];
	}
	rec.trace[rec.len] = 0;
}

static uint32_t chance(void)
{
	rec.random = rec.random * 1664525U + 1013904223U;
	return rec.random >> 16;
}

/* Whether this call is refused, and with what. */
static int refuse(void)
{
	rec.calls++;
	if (rec.fail_at == rec.calls)
		return rec.fail_with;
	if (rec.random == 1)
		rec.has_refused = !rec.has_refused;
	else
		rec.has_refused = rec.random && chance() % 3 == 0;
	if (!rec.has_refused)
		return 0;
	rec.was_again = true;
	return ERR_AGAIN;
}

static void note_answer(const struct etcd_answer *a)
{
	assert_true(a->reason_len <= ETCD_REASON_MAX);
	note("B %d %llu %llu %lld %llu %lld %d%d%d %lld ", a->header.is_present,
		(unsigned long long)a->header.cluster_id, (unsigned long long)a->header.member_id,
		(long long)a->header.revision, (unsigned long long)a->header.raft_term,
		(long long)a->watch_id, a->is_created, a->is_canceled, a->is_fragment,
		(long long)a->compact_rev);
	note_hex(a->reason, a->reason_len);
	note("\n");
}

static int on_begin(void *user, const struct etcd_answer *a)
{
	int r = refuse();

	assert_ptr_equal(user, &rec);
	if (r)
		return r;
	note_answer(a);
	return 0;
}

static int on_event(void *user, const struct etcd_event *e)
{
	int r = refuse();

	(void)user;
	if (r)
		return r;
	rec.key = e->key;
	rec.event = e;
	rec.value_len[0] = rec.value_len[1] = 0;
	note("E %d %d%d ", e->type, e->is_listed, e->is_key_long);
	note_hex(e->key, e->is_key_long ? CONFIG_ETCD_KEY_BYTES : e->key_len);
	note(" %zu %lld %lld %lld %llu\n", e->key_len, (long long)e->create_rev,
		(long long)e->mod_rev, (long long)e->version, (unsigned long long)e->value_len);
	return 0;
}

static ssize_t on_value(void *user, enum etcd_value which, const uint8_t *p, size_t len)
{
	char of = which == ETCD_VALUE ? 'V' : 'P';
	int r = refuse();

	(void)user;
	assert_true(len > 0);
	if (r)
		return r;
	/* All that stood before these bytes is known. */
	if (which == ETCD_VALUE) {
		assert_true(rec.event->value_len >= rec.value_len[which] + len);
	} else {
		assert_true(rec.event->has_prev);
		assert_true(rec.event->prev_len >= rec.value_len[which] + len);
		assert_true(rec.event->value_len == rec.value_len[ETCD_VALUE]);
		rec.prev_lease = rec.event->lease;
	}
	if (rec.random > 1 && chance() % 2) {
		size_t some = chance() % (len + 1);

		if (some < len)
			rec.was_again = true;
		len = some;
	}
	if (len && rec.value_of != of) {
		note("%c ", of);
		rec.value_of = of;
	}
	note_hex(p, len);
	rec.value_len[which] += len;
	return (ssize_t)len;
}

static int on_event_end(void *user, const struct etcd_event *e)
{
	int r = refuse();

	(void)user;
	/* What was told first is where it was. */
	assert_ptr_equal(e, rec.event);
	assert_ptr_equal(e->key, rec.key);
	if (r)
		return r;
	assert_true(rec.value_len[ETCD_VALUE] == e->value_len);
	assert_true(rec.value_len[ETCD_VALUE_PREV] == e->prev_len);
	if (e->prev_len)
		assert_true(rec.prev_lease == e->lease);
	note("X %lld %d %llu %llu\n", (long long)e->lease, e->has_prev,
		(unsigned long long)e->prev_len, (unsigned long long)e->value_len);
	return 0;
}

static int on_end(void *user, const struct etcd_answer *a)
{
	int r = refuse();

	(void)user;
	if (r)
		return r;
	note("Z %d %lld %llu\n", a->has_more, (long long)a->count,
		(unsigned long long)a->event_count);
	return 0;
}

static const struct etcd_split_ops ops = {on_begin, on_event, on_value, on_event_end, on_end};

/* Feeds one piece from the edge of the guard page, as often as it takes. */
static int feed(const uint8_t *p, size_t len)
{
	int refusals = 0;

	while (len) {
		uint8_t *at = guard - len;
		ssize_t r;

		memcpy(at, p, len);
		rec.was_again = false;
		r = etcd_split_feed(&split, at, len);
		memset(at, 0xa5, len);
		if (r < 0) {
			assert_int_not_equal(r, ERR_AGAIN);
			assert_int_equal(etcd_split_feed(&split, at, len), r);
			assert_int_equal(etcd_split_end(&split), r);
			return (int)r;
		}
		assert_true((size_t)r <= len);
		/* Fewer bytes than there were mean a refusal, and nothing else does. */
		assert_int_equal((size_t)r < len, rec.was_again);
		refusals = r ? 0 : refusals + 1;
		assert_true(refusals < 100);
		p += r;
		len -= (size_t)r;
	}
	return 0;
}

static void begin(bool is_range, uint64_t len, uint32_t random)
{
	rec.len = 0;
	rec.trace[0] = 0;
	rec.value_of = 0;
	rec.random = random;
	rec.has_refused = false;
	rec.calls = 0;
	memset(&split.key, 0xa5, sizeof(split.key));
	etcd_split_begin(&split, is_range ? ETCD_SPLIT_RANGE : ETCD_SPLIT_WATCH, len, &ops, &rec);
}

static int end(void)
{
	int refusals = 0, r;

	do {
		r = etcd_split_end(&split);
		assert_true(refusals++ < 100);
	} while (r == ERR_AGAIN);
	if (r == 0)
		assert_int_equal(etcd_split_end(&split), 0);
	else
		assert_int_equal(etcd_split_end(&split), r);
	if (rec.value_of)
		note("\n");
	return r;
}

/* The whole message, cut at the places that follow from seed. */
static int run(
	bool is_range, const void *msg, size_t len, size_t piece, size_t first, uint32_t random)
{
	const uint8_t *p = msg;
	size_t left = len;
	int r = 0;

	begin(is_range, len, random);
	while (left && !r) {
		size_t n = first ? first : piece;

		if (n > left)
			n = left;
		first = 0;
		r = feed(p, n);
		p += n;
		left -= n;
	}
	r = r ? r : end();
	if (rec.value_of) /* it broke off */
		note("\n");
	return r;
}

/* Every cut, and every way to refuse, gives what was told when all came at once. */
static void check_all_cuts(const char *name, bool is_range, const void *msg, size_t len, int want)
{
	size_t n;
	uint32_t random;

	assert_int_equal(run(is_range, msg, len, INPUT_MAX, 0, 0), want);
	whole = rec;
	for (n = 1; n <= len; n++) {
		if (run(is_range, msg, len, n, 0, 0) != want || strcmp(rec.trace, whole.trace))
			fail_msg("%s in pieces of %zu:\n%s", name, n, rec.trace);
		if (run(is_range, msg, len, INPUT_MAX, n, 0) != want ||
			strcmp(rec.trace, whole.trace))
			fail_msg("%s cut at %zu:\n%s", name, n, rec.trace);
		for (random = 1; random < 5; random++)
			if (run(is_range, msg, len, INPUT_MAX, n, random) != want ||
				strcmp(rec.trace, whole.trace))
				fail_msg("%s refused, cut at %zu:\n%s", name, n, rec.trace);
	}
	for (random = 1; random < 20; random++)
		for (n = 1; n < 5; n++)
			if (run(is_range, msg, len, n, 0, random) != want ||
				strcmp(rec.trace, whole.trace))
				fail_msg("%s refused %u, in pieces of %zu:\n%s", name, random, n,
					rec.trace);
}

static void reads_what_protobuf_wrote(void **state)
{
	size_t i;

	(void)state;
	for (i = 0; i < COUNT(split_vectors); i++) {
		const struct split_vector *v = &split_vectors[i];

		assert_int_equal(run(v->is_range, v->bytes, v->len, INPUT_MAX, 0, 0), 0);
		if (strcmp(rec.trace, v->trace))
			fail_msg("%s: told\n%s, not\n%s", v->name, rec.trace, v->trace);
		check_all_cuts(v->name, v->is_range, v->bytes, v->len, 0);
	}
}

/* A message that ends too early, and one whose length says more than there is. */
static void refuses_what_is_cut_short(void **state)
{
	size_t i, n;

	(void)state;
	for (i = 0; i < COUNT(split_vectors); i++) {
		const struct split_vector *v = &split_vectors[i];

		for (n = 0; n < v->len; n++) {
			begin(v->is_range, v->len, 0);
			assert_int_equal(feed((const uint8_t *)v->bytes, n), 0);
			assert_int_equal(end(), ERR_PROTO);
		}
	}
	for (n = 1; n <= 4; n++) {
		begin(false, 4, 0);
		assert_int_equal(feed((const uint8_t *)"\x10\x01\x18\x01\x20", 5), ERR_BUG);
	}
}

#define BAD(name, bytes, err) \
	{ \
		(name), false, (bytes), sizeof(bytes) - 1, (err) \
	}
#define BAD_RANGE(name, bytes, err) \
	{ \
		(name), true, (bytes), sizeof(bytes) - 1, (err) \
	}
#define MAX64 "\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"
#define REV62 "\x80\x80\x80\x80\x80\x80\x80\x80\x40"

static const struct {
	const char *name;
	bool is_range;
	const char *bytes;
	size_t len;
	int err;
} bad[] = {
	BAD("field 0", "\x00\x01", ERR_PROTO),
	BAD("field 0 with a length", "\x02\x00", ERR_PROTO),
	BAD("tag above 32 bits", "\x80\x80\x80\x80\x10\x00", ERR_PROTO),
	BAD("group", "\x0b\x0c", ERR_PROTO),
	BAD("end of a group", "\x0c", ERR_PROTO),
	BAD("unknown group", "\xa3\x06\xa4\x06", ERR_PROTO),
	BAD("wire type 6", "\x16\x01", ERR_PROTO),
	BAD("wire type 7", "\x17\x01", ERR_PROTO),
	BAD("header as a number", "\x08\x01", ERR_PROTO),
	BAD("header fixed", "\x0d\x01\x02\x03\x04", ERR_PROTO),
	BAD("watch_id with a length", "\x12\x01\x01", ERR_PROTO),
	BAD("watch_id fixed", "\x11\x01\x02\x03\x04\x05\x06\x07\x08", ERR_PROTO),
	BAD("reason as a number", "\x30\x01", ERR_PROTO),
	BAD("events as a number", "\x58\x01", ERR_PROTO),
	BAD("type with a length", "\x5a\x03\x0a\x01\x01", ERR_PROTO),
	BAD("kv as a number", "\x5a\x02\x10\x01", ERR_PROTO),
	BAD("key as a number", "\x5a\x04\x12\x02\x08\x01", ERR_PROTO),
	BAD("value fixed", "\x5a\x0a\x12\x08\x0a\x01k\x2d\x01\x02\x03\x04", ERR_PROTO),
	BAD("varint of 11 bytes", "\x10\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x00", ERR_PROTO),
	BAD("varint of 65 bits", "\x10\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02", ERR_PROTO),
	BAD("unknown varint of 65 bits", "\x40\xff\xff\xff\xff\xff\xff\xff\xff\xff\x7f", ERR_PROTO),
	BAD("tag without a number", "\x10", ERR_PROTO),
	BAD("number cut off", "\x10\x80", ERR_PROTO),
	BAD("tag cut off", "\x90", ERR_PROTO),
	BAD("length without bytes", "\x0a\x01", ERR_PROTO),
	BAD("length 2^64-1", "\x0a" MAX64 "\x00", ERR_PROTO),
	BAD("unknown length 2^64-1", "\x42" MAX64 "\x00", ERR_PROTO),
	BAD("length 2^63", "\x32\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01\x00", ERR_PROTO),
	BAD("fixed 64 cut off", "\x79\x01\x02\x03\x04\x05\x06\x07", ERR_PROTO),
	BAD("fixed 32 cut off", "\x7d\x01\x02\x03", ERR_PROTO),
	BAD("event beyond the message", "\x5a\x03\x08\x01", ERR_PROTO),
	BAD("kv beyond its event", "\x5a\x04\x12\x04\x0a\x00\x0a\x00\x0a\x00", ERR_PROTO),
	BAD("key beyond its kv", "\x5a\x05\x12\x03\x0a\x02k\x10\x01\x10\x01", ERR_PROTO),
	BAD("value beyond its kv", "\x5a\x08\x12\x06\x0a\x01k\x2a\x02v\x10\x01\x10\x01", ERR_PROTO),
	BAD("value beyond its kv, within its event", "\x5a\x0a\x12\x06\x0a\x01k\x2a\x02v\x08\x00",
		ERR_PROTO),
	BAD("value 2^64-1", "\x5a\x11\x12\x0f\x0a\x01k\x2a" MAX64 "v", ERR_PROTO),
	BAD("value 2^64-9: a sum that overflows",
		"\x5a\x11\x12\x0f\x0a\x01k\x2a\xf7\xff\xff\xff\xff\xff\xff\xff\xff\x01v",
		ERR_PROTO),
	BAD("number across the end of its kv", "\x5a\x05\x12\x03\x0a\x00\x18\x01", ERR_PROTO),
	BAD("number beyond its event", "\x5a\x02\x08\x80\x01", ERR_PROTO),
	BAD("fixed across the end of its kv",
		"\x5a\x07\x12\x05\x0a\x00\x3d\x01\x02\x10\x01\x10\x01", ERR_PROTO),
	BAD("revision 2^62", "\x0a\x0a\x18" REV62, ERR_REVISION),
	BAD("revision -1", "\x0a\x0b\x18" MAX64, ERR_REVISION),
	BAD("compact_revision 2^62", "\x28" REV62, ERR_REVISION),
	BAD("create_revision 2^62", "\x5a\x0f\x12\x0d\x0a\x01k\x10" REV62, ERR_REVISION),
	BAD("mod_revision 2^62", "\x5a\x0f\x12\x0d\x0a\x01k\x18" REV62, ERR_REVISION),
	BAD("mod_revision -1", "\x5a\x10\x12\x0e\x0a\x01k\x18" MAX64, ERR_REVISION),
	BAD("prev_kv's mod_revision 2^62", "\x5a\x0c\x1a\x0a\x18" REV62, ERR_REVISION),
	BAD_RANGE("listed revision 2^62", "\x0a\x0a\x18" REV62, ERR_REVISION),
	BAD_RANGE("listed mod_revision 2^62", "\x12\x0d\x0a\x01k\x18" REV62, ERR_REVISION),
	BAD("event of nothing", "\x5a\x00", ERR_PROTO),
	BAD("put without a key", "\x5a\x04\x12\x02\x18\x01", ERR_PROTO),
	BAD("put with an empty key", "\x5a\x07\x12\x05\x0a\x00\x2a\x01v", ERR_PROTO),
	BAD("delete without a kv", "\x5a\x02\x08\x01", ERR_PROTO),
	BAD_RANGE("listed without a key", "\x12\x00", ERR_PROTO),
	BAD("second kv", "\x5a\x0a\x12\x03\x0a\x01k\x12\x03\x0a\x01k", ERR_PROTO),
	BAD("second prev_kv", "\x5a\x0f\x12\x03\x0a\x01k\x1a\x03\x0a\x01k\x1a\x03\x0a\x01k",
		ERR_PROTO),
	BAD("second value", "\x5a\x0b\x12\x09\x0a\x01k\x2a\x01v\x2a\x01v", ERR_PROTO),
	BAD("second value, empty", "\x5a\x0a\x12\x08\x0a\x01k\x2a\x01v\x2a\x00", ERR_PROTO),
	BAD("second prev value", "\x5a\x0d\x12\x03\x0a\x01k\x1a\x06\x2a\x01v\x2a\x01v", ERR_PROTO),
	BAD("value before its key", "\x5a\x08\x12\x06\x2a\x01v\x0a\x01k", ERR_PROTO),
	BAD("key again after the value", "\x5a\x0b\x12\x09\x0a\x01k\x2a\x01v\x0a\x01k", ERR_PROTO),
	BAD("mod_revision after the value", "\x5a\x0a\x12\x08\x0a\x01k\x2a\x01v\x18\x09",
		ERR_PROTO),
	BAD("type after the value", "\x5a\x0a\x12\x06\x0a\x01k\x2a\x01v\x08\x01", ERR_PROTO),
	BAD("prev value before its kv", "\x5a\x0a\x1a\x03\x2a\x01v\x12\x03\x0a\x01k", ERR_PROTO),
	BAD("watch_id after events", "\x5a\x05\x12\x03\x0a\x01k\x10\x01", ERR_PROTO),
	BAD("canceled after events", "\x5a\x05\x12\x03\x0a\x01k\x20\x01", ERR_PROTO),
	BAD("fragment after events", "\x5a\x05\x12\x03\x0a\x01k\x38\x01", ERR_PROTO),
	BAD("reason after events", "\x5a\x05\x12\x03\x0a\x01k\x32\x01r", ERR_PROTO),
	BAD("header after events", "\x5a\x05\x12\x03\x0a\x01k\x0a\x00", ERR_PROTO),
	BAD("other header after events",
		"\x0a\x02\x18\x05\x5a\x05\x12\x03\x0a\x01k\x0a\x02\x18\x06", ERR_PROTO),
	BAD_RANGE("header after keys", "\x12\x03\x0a\x01k\x0a\x02\x18\x01", ERR_PROTO),
};

static void refuses_hostile_messages(void **state)
{
	size_t i;

	(void)state;
	for (i = 0; i < COUNT(bad); i++) {
		int r = run(bad[i].is_range, bad[i].bytes, bad[i].len, INPUT_MAX, 0, 0);

		if (r != bad[i].err)
			fail_msg("%s: %s", bad[i].name, err_name(r));
		check_all_cuts(bad[i].name, bad[i].is_range, bad[i].bytes, bad[i].len, bad[i].err);
	}
}

/* Mutated messages: whatever comes of them, it does not depend on how they are cut. */
static void cuts_never_matter(void **state)
{
	uint32_t seed = 1;
	uint32_t round;

	(void)state;
	for (round = 0; round < 30000; round++) {
		const struct split_vector *v = &split_vectors[(seed >> 8) % COUNT(split_vectors)];
		uint8_t msg[2048];
		size_t len = v->len, i;
		int want;

		assert_true(len <= sizeof(msg));
		memcpy(msg, v->bytes, len);
		for (i = 0; len && i < 1 + round % 4; i++) {
			seed = seed * 1664525U + 1013904223U;
			msg[(seed >> 8) % len] = (uint8_t)(seed >> 24 ^ (round & 1 ? 0x80 : 0));
		}
		seed = seed * 1664525U + 1013904223U;
		want = run(v->is_range, msg, len, INPUT_MAX, 0, 0);
		whole.len = rec.len;
		memcpy(whole.trace, rec.trace, rec.len + 1);
		assert_int_equal(run(v->is_range, msg, len, 1, 0, 0), want);
		assert_string_equal(rec.trace, whole.trace);
		assert_int_equal(run(v->is_range, msg, len, 1 + (seed >> 8) % 40, 0, seed), want);
		assert_string_equal(rec.trace, whole.trace);
	}
}

static uint8_t *put_varint(uint8_t *p, uint64_t v)
{
	for (; v > 0x7f; v >>= 7)
		*p++ = (uint8_t)(v | 0x80);
	*p++ = (uint8_t)v;
	return p;
}

/* A listing of one key of key_len bytes, and a value of value_len bytes. */
static size_t build(uint8_t *msg, size_t key_len, size_t value_len)
{
	uint8_t num[10], *p = msg;
	size_t key_num = (size_t)(put_varint(num, key_len) - num);
	size_t value_num = (size_t)(put_varint(num, value_len) - num);

	*p++ = 0x12;
	p = put_varint(p, 2 + key_num + key_len + value_num + value_len);
	*p++ = 0x0a;
	p = put_varint(p, key_len);
	memset(p, 'k', key_len);
	if (key_len)
		p[key_len - 1] = 'e';
	p += key_len;
	*p++ = 0x2a;
	p = put_varint(p, value_len);
	memset(p, 'v', value_len);
	return (size_t)(p + value_len - msg);
}

static void keeps_long_keys_short(void **state)
{
	static const size_t lens[] = {1, 127, 128, CONFIG_ETCD_KEY_BYTES - 1, CONFIG_ETCD_KEY_BYTES,
		CONFIG_ETCD_KEY_BYTES + 1, 3 * CONFIG_ETCD_KEY_BYTES};
	static const size_t pieces[] = {INPUT_MAX, 1, 7, 1000, CONFIG_ETCD_KEY_BYTES};
	static uint8_t msg[INPUT_MAX];
	size_t i, j;

	(void)state;
	for (i = 0; i < COUNT(lens); i++) {
		size_t len = build(msg, lens[i], 20000);
		bool is_long = lens[i] > CONFIG_ETCD_KEY_BYTES;

		for (j = 0; j < COUNT(pieces); j++) {
			assert_int_equal(run(true, msg, len, pieces[j], 0, 0), 0);
			assert_int_equal(split.event.key_len, lens[i]);
			assert_int_equal(split.event.is_key_long, is_long);
			assert_int_equal(split.key[0], lens[i] == 1 ? 'e' : 'k');
			if (!is_long)
				assert_int_equal(split.key[lens[i] - 1], 'e');
			assert_int_equal(split.event.value_len, 20000);
			assert_true(rec.value_len[ETCD_VALUE] == 20000);
		}
	}
}

/* A value passes as it comes: the pointers are the input's. */
static const uint8_t *told_at;
static size_t told_len;

static ssize_t on_value_where(void *user, enum etcd_value which, const uint8_t *p, size_t len)
{
	(void)user;
	(void)which;
	told_at = p;
	told_len = len;
	return (ssize_t)len;
}

static void hands_on_values_in_place(void **state)
{
	struct etcd_split_ops where = ops;
	static uint8_t msg[INPUT_MAX];
	size_t len = build(msg, 3, 1000), head = len - 1000;

	(void)state;
	where.value = on_value_where;
	rec.random = 0;
	rec.len = 0;
	etcd_split_begin(&split, ETCD_SPLIT_RANGE, len, &where, &rec);
	told_at = NULL;
	/* With the first byte of the value, and not before. */
	assert_int_equal(etcd_split_feed(&split, msg, head), (int)head);
	assert_null(told_at);
	assert_null(strstr(rec.trace, "E "));
	assert_int_equal(etcd_split_feed(&split, msg + head, 1), 1);
	assert_ptr_equal(told_at, msg + head);
	assert_non_null(strstr(rec.trace, "E "));
	assert_int_equal(etcd_split_feed(&split, msg + head + 1, 999), 999);
	assert_ptr_equal(told_at, msg + head + 1);
	assert_int_equal(told_len, 999);
}

/* A length that no memory could hold is no trouble: nothing is kept. */
static void takes_no_memory_for_large_messages(void **state)
{
	static const uint64_t value_len = UINT64_C(1) << 40;
	static uint8_t chunk[16384];
	uint8_t head[64], *p = head;
	struct etcd_split_ops where = ops;
	int i;

	(void)state;
	where.value = on_value_where;
	*p++ = 0x12;
	p = put_varint(p, value_len + 10);
	p = (uint8_t *)memcpy(p, "\x0a\x01k", 3) + 3;
	*p++ = 0x2a;
	p = put_varint(p, value_len);
	rec.random = 0;
	rec.len = 0;
	etcd_split_begin(&split, ETCD_SPLIT_RANGE, UINT64_MAX, &where, &rec);
	assert_int_equal(etcd_split_feed(&split, head, (size_t)(p - head)), (int)(p - head));
	for (i = 0; i < 1000; i++)
		assert_int_equal(etcd_split_feed(&split, chunk, sizeof(chunk)), (int)sizeof(chunk));
	assert_true(split.event.value_len == value_len);
	assert_int_equal(etcd_split_end(&split), ERR_PROTO);
}

/* An error of a callback ends the message, whichever callback it is, and comes out as it is. */
static void passes_on_errors(void **state)
{
	const struct split_vector *v = NULL;
	size_t i;
	int calls, n;

	(void)state;
	for (i = 0; i < COUNT(split_vectors); i++)
		if (!strcmp(split_vectors[i].name, "transaction"))
			v = &split_vectors[i];
	assert_non_null(v);
	assert_int_equal(run(false, v->bytes, v->len, INPUT_MAX, 0, 0), 0);
	calls = rec.calls;
	assert_true(calls > 20);
	rec.fail_with = ERR_NOSPACE;
	for (n = 1; n <= calls; n++) {
		rec.fail_at = n;
		assert_int_equal(run(false, v->bytes, v->len, INPUT_MAX, 0, 0), ERR_NOSPACE);
		assert_int_equal(rec.calls, n);
	}
	rec.fail_at = 0;
}

static int set_up(void **state)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	uint8_t *mem = mmap(
		NULL, INPUT_MAX + page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	(void)state;
	if (mem == MAP_FAILED)
		return -1;
	guard = mem + INPUT_MAX;
	return mprotect(guard, page, PROT_NONE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(reads_what_protobuf_wrote),
		cmocka_unit_test(refuses_what_is_cut_short),
		cmocka_unit_test(refuses_hostile_messages),
		cmocka_unit_test(cuts_never_matter),
		cmocka_unit_test(keeps_long_keys_short),
		cmocka_unit_test(hands_on_values_in_place),
		cmocka_unit_test(takes_no_memory_for_large_messages),
		cmocka_unit_test(passes_on_errors),
	};

	return cmocka_run_group_tests(tests, set_up, NULL);
}
