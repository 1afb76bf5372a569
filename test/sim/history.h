/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A history: everything that ever happened to the keys of one cluster, revision by revision, which a
 * real etcd forgets and the tests must not. A restore from a backup begins another history with the
 * same past.
 *
 * Keys are numbers: 0 to HISTORY_KEYS - 1 in the order of their names, HISTORY_ZONE of them in each of the folders
 * "/a/", "/b/", ... Values are made from a seed.
 */
#ifndef TEST_SIM_HISTORY_H
#define TEST_SIM_HISTORY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "test/sim/bytes.h"

enum {
	HISTORY_ZONES = 3,
	HISTORY_ZONE = 24,
	HISTORY_KEYS = HISTORY_ZONES * HISTORY_ZONE,
	HISTORY_NAME_MAX = 16,
	HISTORY_COMPACTIONS = 256,
};

struct hist_event {
	int64_t rev;
	uint16_t index; /* in its revision */
	uint16_t key;
	bool is_delete;
	int64_t create_rev, version, lease;
	uint32_t value_len;
	uint64_t value_seed;
	size_t prev; /* the event that it replaces, + 1; 0: none */
};

struct history {
	uint64_t cluster_id;
	uint64_t term, term_first; /* now, and the first of this history */
	int64_t rev, compact_rev;
	int64_t fork_rev; /* up to there it is as the history before it */
	int64_t compactions[HISTORY_COMPACTIONS];
	size_t compaction_count;
	struct hist_event *events;
	size_t n, cap;
	size_t last[HISTORY_KEYS]; /* the newest event of a key, + 1 */
};

void history_init(struct history *h, uint64_t cluster_id, uint64_t term, int64_t rev);
/* As it was at rev. */
void history_fork(struct history *h, const struct history *from, int64_t rev);
void history_free(struct history *h);

/* A change in revision h->rev + 1; history_commit() makes that revision the current one. Deleting what is not
 * there changes nothing: false. */
bool history_put(struct history *h, uint16_t key, uint32_t value_len, uint64_t seed, int64_t lease);
bool history_delete(struct history *h, uint16_t key);
void history_commit(struct history *h);
void history_compact(struct history *h, int64_t rev);

/* Whether key is alive as of rev: its event, or NULL. */
const struct hist_event *history_at(const struct history *h, uint16_t key, int64_t rev);
/* The first event behind (rev, index) whose key lies in from to to - 1; NULL: none. */
const struct hist_event *history_next(
	const struct history *h, int64_t rev, int index, uint16_t from, uint16_t to);

char *history_name(char dst[HISTORY_NAME_MAX], uint16_t key);
/* The first key whose name is not before p[len]. */
uint16_t history_key_from(const uint8_t *p, size_t len);
void history_value(struct bytes *dst, const struct hist_event *e);

#endif
