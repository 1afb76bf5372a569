/* SPDX-License-Identifier: Apache-2.0 */
#include "test/sim/history.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void history_init(struct history *h, uint64_t cluster_id, uint64_t term, int64_t rev)
{
	*h = (struct history){
		.cluster_id = cluster_id, .term = term, .term_first = term, .rev = rev};
}

void history_free(struct history *h)
{
	free(h->events);
	*h = (struct history){0};
}

static void append(struct history *h, const struct hist_event *e)
{
	if (h->n == h->cap) {
		h->cap = h->cap ? h->cap * 2 : 256;
		h->events = realloc(h->events, h->cap * sizeof(*e));
		if (!h->events)
			abort();
	}
	h->events[h->n++] = *e;
	h->last[e->key] = h->n;
}

void history_fork(struct history *h, const struct history *from, int64_t rev)
{
	history_init(h, from->cluster_id, 0, rev);
	h->fork_rev = rev;
	for (size_t i = 0; i < from->n && from->events[i].rev <= rev; i++)
		append(h, &from->events[i]);
	h->compact_rev = from->compact_rev < rev ? from->compact_rev : rev;
}

static struct hist_event *begin(struct history *h, uint16_t key)
{
	const struct hist_event *last = h->n ? &h->events[h->n - 1] : NULL;
	struct hist_event e = {.rev = h->rev + 1, .key = key, .prev = h->last[key]};

	if (last && last->rev == e.rev)
		e.index = (uint16_t)(last->index + 1);
	/* etcd: duplicate key given in txn request */
	if (e.prev && h->events[e.prev - 1].rev == e.rev)
		return NULL;
	if (e.prev && h->events[e.prev - 1].is_delete)
		e.prev = 0;
	append(h, &e);
	return &h->events[h->n - 1];
}

bool history_put(struct history *h, uint16_t key, uint32_t value_len, uint64_t seed, int64_t lease)
{
	struct hist_event *e = begin(h, key);

	if (!e)
		return false;
	e->create_rev = e->prev ? h->events[e->prev - 1].create_rev : e->rev;
	e->version = e->prev ? h->events[e->prev - 1].version + 1 : 1;
	e->value_len = value_len;
	e->value_seed = seed;
	e->lease = lease;
	return true;
}

bool history_delete(struct history *h, uint16_t key)
{
	struct hist_event *e;

	if (!h->last[key] || h->events[h->last[key] - 1].is_delete)
		return false;
	e = begin(h, key);
	if (!e)
		return false;
	e->is_delete = true;
	return true;
}

void history_commit(struct history *h)
{
	if (h->n && h->events[h->n - 1].rev > h->rev)
		h->rev++;
}

void history_compact(struct history *h, int64_t rev)
{
	if (rev <= h->compact_rev || rev > h->rev || h->compaction_count == HISTORY_COMPACTIONS)
		return;
	h->compact_rev = rev;
	h->compactions[h->compaction_count++] = rev;
}

const struct hist_event *history_at(const struct history *h, uint16_t key, int64_t rev)
{
	for (size_t i = h->last[key]; i;) {
		const struct hist_event *e = &h->events[i - 1];

		if (e->rev <= rev)
			return e->is_delete ? NULL : e;
		if (e->prev) {
			i = e->prev;
			continue;
		}
		/* Behind a creation there may be a deletion. */
		for (i--; i && h->events[i - 1].key != key; i--)
			;
	}
	return NULL;
}

const struct hist_event *history_next(
	const struct history *h, int64_t rev, int index, uint16_t from, uint16_t to)
{
	size_t low = 0, high = h->n;

	while (low < high) {
		size_t mid = low + (high - low) / 2;
		const struct hist_event *e = &h->events[mid];

		if (e->rev < rev || (e->rev == rev && e->index <= index))
			low = mid + 1;
		else
			high = mid;
	}
	for (; low < h->n; low++) {
		if (h->events[low].key >= from && h->events[low].key < to)
			return &h->events[low];
	}
	return NULL;
}

char *history_name(char dst[HISTORY_NAME_MAX], uint16_t key)
{
	snprintf(dst, HISTORY_NAME_MAX, "/%c/%02d", 'a' + key / HISTORY_ZONE % 26,
		key % HISTORY_ZONE % 100);
	return dst;
}

uint16_t history_key_from(const uint8_t *p, size_t len)
{
	uint16_t key = 0;

	for (; key < HISTORY_KEYS; key++) {
		char name[HISTORY_NAME_MAX];
		size_t n = strlen(history_name(name, key));
		int order = memcmp(name, p, n < len ? n : len);

		if (order > 0 || (order == 0 && n >= len))
			break;
	}
	return key;
}

void history_value(struct bytes *dst, const struct hist_event *e)
{
	static const char text[] = "abcdefghijklmnopqrstuvwxyz0123456789\"\\\n /{},:";
	uint64_t x = e->value_seed * 0x9e3779b97f4a7c15u + 1;
	uint8_t kind = (uint8_t)(e->value_seed % 4);

	dst->len = 0;
	for (uint32_t i = 0; i < e->value_len; i++) {
		uint8_t byte;

		x ^= x << 13;
		x ^= x >> 7;
		x ^= x << 17;
		byte = (uint8_t)(x >> 32);
		if (kind == 3)
			byte = i ? byte : 0xff;
		else
			byte = (uint8_t)text[byte % (kind == 2 ? sizeof(text) - 1 : 36)];
		bytes_put(dst, &byte, 1);
	}
}
