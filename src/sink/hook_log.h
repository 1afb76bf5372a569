/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a hook's program prints, in the log: a line each, cut at LOG_SHOW_BYTES, and at most
 * CONFIG_HOOK_LOG_LINES of a run; how many more there were is told at its end. Empty lines are left
 * out. Private to the hook.
 */
#ifndef ETCHLET_SINK_HOOK_LOG_H
#define ETCHLET_SINK_HOOK_LOG_H

#include <stddef.h>
#include <stdint.h>

#include "base/log.h"

struct hook_log {
	const char *name; /* of the watch; set by the owner, the rest begins as zero */
	uint32_t shown;
	uint64_t hidden; /* lines beyond those */
	size_t len;
	uint8_t line[LOG_SHOW_MAX]; /* a line's beginning; one that is longer fills it and is cut */
};

/* Cut anywhere. */
void hook_log_add(struct hook_log *l, const uint8_t *p, size_t len);
/* The run is over: a last line without its end is told, and the next run begins. */
void hook_log_end(struct hook_log *l);

#endif
