/* SPDX-License-Identifier: Apache-2.0 */
#include "sync/trouble.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"

void trouble_init(struct trouble *t, int64_t min_gap_ms)
{
	*t = (struct trouble){.min_gap_ms = min_gap_ms};
}

void trouble_meet(
	struct trouble *t, int64_t now_ms, const char *what, const char *why, const char *then)
{
	bool is_new = !t->is_on;
	bool is_other = strncmp(t->why, why, sizeof(t->why) - 1) != 0;

	if (is_new) {
		t->is_on = true;
		t->since_ms = now_ms;
		t->count = 0;
	}
	t->count++;
	if (is_new || (is_other && now_ms - t->told_ms >= t->min_gap_ms)) {
		t->told_ms = now_ms;
		snprintf(t->why, sizeof(t->why), "%s", why);
		log_warn("%s: %s; %s", what, why, then);
	} else {
		log_debug("%s: %s; %s", what, why, then);
	}
}

void trouble_end(struct trouble *t, int64_t now_ms, const char *what)
{
	if (!t->is_on)
		return;
	t->is_on = false;
	log_info("%s (after %" PRId64 ".%01" PRId64 " s, %" PRIu32 " %s)", what,
		(now_ms - t->since_ms) / 1000, (now_ms - t->since_ms) % 1000 / 100, t->count,
		t->count == 1 ? "failure" : "failures");
}
