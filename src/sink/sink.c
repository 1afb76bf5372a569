/* SPDX-License-Identifier: Apache-2.0 */
#include "sink/sink.h"

#include <stdio.h>

const char *sink_condition(const struct sink *s, char *dst, size_t cap)
{
	char now[SINK_WHY_MAX] = "";

	if (s->ops->now)
		s->ops->now(s, now, sizeof(now));
	if (!*now && !s->is_failing)
		return NULL;
	if (s->is_failing)
		(void)snprintf(dst, cap, "%s: %s", *now ? now : s->name, s->why);
	else
		(void)snprintf(dst, cap, "%s", now);
	return dst;
}

const char *sync_reason_name(enum sync_reason reason)
{
	switch (reason) {
	case SYNC_FIRST:
		return "first";
	case SYNC_COMPACTED:
		return "compacted";
	case SYNC_CLUSTER:
		return "cluster";
	case SYNC_ROLLBACK:
		return "rollback";
	case SYNC_STATE:
		return "state";
	}
	return "unknown";
}
