/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fuzzes the splitter. The first bytes of the input say what kind of message it is, how long it
 * claims to be, how it is cut and how often the receiver refuses; the rest is the message. It is
 * read twice, whole and in pieces: both must tell the same.
 *
 * What must hold, whatever comes: nothing outside the input is read, calls come in their order, a
 * key is never longer than its memory, values are as long as was said, revisions are possible ones.
 */
#include "base/err.h"
#include "etcd/split.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct receiver {
	uint64_t sum; /* of all that was told */
	uint64_t left[2]; /* of the values to come */
	uint32_t random; /* 0: never refuses */
	enum { WANT_BEGIN, WANT_EVENT, WANT_VALUE, WANT_DONE } want;
	bool has_prev_value;
	const struct etcd_event *event;
	int64_t prev_lease; /* as it was with the previous value */
};

static void check(bool is_so)
{
	if (!is_so)
		abort();
}

static void add(struct receiver *r, const void *p, size_t len)
{
	size_t i;

	for (i = 0; i < len; i++)
		r->sum = (r->sum ^ ((const uint8_t *)p)[i]) * UINT64_C(1099511628211);
}

static void add_number(struct receiver *r, uint64_t v)
{
	add(r, &v, sizeof(v));
}

static bool refuses(struct receiver *r)
{
	if (!r->random)
		return false;
	r->random = r->random * 1664525U + 1013904223U;
	return r->random >> 30 == 0;
}

static int on_begin(void *user, const struct etcd_answer *a)
{
	struct receiver *r = user;

	if (refuses(r))
		return ERR_AGAIN;
	check(r->want == WANT_BEGIN);
	r->want = WANT_EVENT;
	check(a->reason_len <= ETCD_REASON_MAX);
	check(etcd_revision_is_valid(a->header.revision) && etcd_revision_is_valid(a->compact_rev));
	add(r, a->reason, a->reason_len);
	add_number(r, a->header.cluster_id);
	add_number(r, (uint64_t)a->header.revision);
	add_number(r, (uint64_t)a->watch_id);
	add_number(r, (uint64_t)(a->is_created * 4 + a->is_canceled * 2 + a->is_fragment));
	return 0;
}

static int on_event(void *user, const struct etcd_event *e)
{
	struct receiver *r = user;

	if (refuses(r))
		return ERR_AGAIN;
	check(r->want == WANT_EVENT);
	r->want = WANT_VALUE;
	r->has_prev_value = false;
	r->event = e;
	check(e->is_key_long == (e->key_len > CONFIG_ETCD_KEY_BYTES));
	check(etcd_revision_is_valid(e->create_rev) && etcd_revision_is_valid(e->mod_rev));
	r->left[ETCD_VALUE] = e->value_len;
	add(r, e->key, e->is_key_long ? CONFIG_ETCD_KEY_BYTES : e->key_len);
	add_number(r, (uint64_t)e->mod_rev);
	add_number(r, (uint64_t)e->create_rev);
	add_number(r, (uint64_t)e->version);
	add_number(r, (uint64_t)e->type);
	return 0;
}

static ssize_t on_value(void *user, enum etcd_value which, const uint8_t *p, size_t len)
{
	struct receiver *r = user;

	if (refuses(r))
		return ERR_AGAIN;
	check(r->want == WANT_VALUE && len > 0);
	if (which == ETCD_VALUE) {
		check(!r->has_prev_value && len <= r->left[ETCD_VALUE]);
	} else {
		check(r->left[ETCD_VALUE] == 0);
		check(r->event->has_prev && len <= r->event->prev_len - r->left[ETCD_VALUE_PREV]);
		r->has_prev_value = true;
		r->prev_lease = r->event->lease;
	}
	if (refuses(r))
		len -= 1;
	add(r, p, len);
	if (which == ETCD_VALUE)
		r->left[ETCD_VALUE] -= len;
	else
		r->left[ETCD_VALUE_PREV] += len;
	return (ssize_t)len;
}

static int on_event_end(void *user, const struct etcd_event *e)
{
	struct receiver *r = user;

	if (refuses(r))
		return ERR_AGAIN;
	check(r->want == WANT_VALUE && r->left[ETCD_VALUE] == 0);
	check(r->left[ETCD_VALUE_PREV] == e->prev_len);
	r->left[ETCD_VALUE_PREV] = 0;
	/* An event of unknown type may be of any shape. */
	if (r->has_prev_value && (e->type == ETCD_EVENT_PUT || e->type == ETCD_EVENT_DELETE))
		check(r->prev_lease == e->lease);
	r->want = WANT_EVENT;
	add_number(r, (uint64_t)e->lease);
	add_number(r, e->value_len);
	add_number(r, e->has_prev);
	return 0;
}

static int on_end(void *user, const struct etcd_answer *a)
{
	struct receiver *r = user;

	if (refuses(r))
		return ERR_AGAIN;
	check(r->want == WANT_EVENT);
	r->want = WANT_DONE;
	add_number(r, a->event_count);
	add_number(r, (uint64_t)a->count);
	return 0;
}

static const struct etcd_split_ops ops = {on_begin, on_event, on_value, on_event_end, on_end};
static struct etcd_split split;

/* Each piece lies in memory of its own size, so that a byte too many is seen. */
static int read_message(struct receiver *r, enum etcd_split_kind kind, uint64_t claimed,
	const uint8_t *msg, size_t len, size_t piece)
{
	int refusals = 0, err;

	etcd_split_begin(&split, kind, claimed, &ops, r);
	while (len) {
		size_t n = piece < len ? piece : len;
		uint8_t *copy = malloc(n);
		ssize_t took;

		check(copy != NULL);
		memcpy(copy, msg, n);
		took = etcd_split_feed(&split, copy, n);
		free(copy);
		if (took < 0)
			return (int)took;
		check((size_t)took <= n);
		refusals = took ? 0 : refusals + 1;
		check(refusals < 200 && (r->random || (size_t)took == n));
		msg += took;
		len -= (size_t)took;
	}
	do {
		err = etcd_split_end(&split);
	} while (err == ERR_AGAIN && refusals++ < 1000);
	check(err != ERR_AGAIN && (err != 0 || r->want == WANT_DONE));
	return err;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct receiver whole = {0}, pieces = {0};
	enum etcd_split_kind kind;
	size_t piece;
	uint64_t len;
	int r;

	if (size < 4)
		return 0;
	kind = data[0] & 1 ? ETCD_SPLIT_RANGE : ETCD_SPLIT_WATCH;
	piece = data[1] % 64U + 1;
	pieces.random = data[2];
	len = size - 4 + (data[0] & 2 ? data[3] : 0);
	r = read_message(&whole, kind, len, data + 4, size - 4, size);
	check(read_message(&pieces, kind, len, data + 4, size - 4, piece) == r);
	check(pieces.want == whole.want);
	/* In the middle of a value that has no end, pieces and sums may differ. */
	if (r == 0)
		check(pieces.sum == whole.sum);
	return 0;
}
