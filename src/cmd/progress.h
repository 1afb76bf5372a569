/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One line on the terminal that says how downloads go on: rewritten at most once a second while some are under way, taken away
 * before each line of the log and at the end. There is none where standard error is no terminal, or
 * another process is in its foreground.
 */
#ifndef ETCHLET_CMD_PROGRESS_H
#define ETCHLET_CMD_PROGRESS_H

#include "base/loop.h"
#include "cmd/report.h"

enum {
	PROGRESS_INTERVAL_MS = 1000,
};

struct progress {
	struct loop *loop; /* private, as is all that follows */
	const struct report *report;
	struct loop_timer timer;
	bool is_drawn;
};

/* One at a time in a process. report outlives it. */
void progress_open(struct progress *p, struct loop *loop, const struct report *report);
/* Harmless on zeros and a second time. */
void progress_close(struct progress *p);

#endif
