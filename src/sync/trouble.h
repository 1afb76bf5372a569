/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Something is wrong and is tried again: one line when it begins, one when its reason changes (at
 * most one in min_gap_ms), one when it is over.
 */
#ifndef ETCHLET_SYNC_TROUBLE_H
#define ETCHLET_SYNC_TROUBLE_H

#include <stdbool.h>
#include <stdint.h>

enum {
	TROUBLE_WHY_MAX = 384, /* bytes of a reason that are kept, NUL included */
};

struct trouble {
	int64_t min_gap_ms;
	bool is_on;
	int64_t since_ms, told_ms;
	uint32_t count; /* how often it was met since it began */
	char why[TROUBLE_WHY_MAX]; /* the last reason, also when it is over; "" if there never was one */
};

void trouble_init(struct trouble *t, int64_t min_gap_ms);

/* what: "watch network"; why: "permission denied"; then: what follows ("tried again in 3 s"). */
void trouble_meet(
	struct trouble *t, int64_t now_ms, const char *what, const char *why, const char *then);

/* what: "watch network: goes on". Says it only when there was trouble. */
void trouble_end(struct trouble *t, int64_t now_ms, const char *what);

#endif
