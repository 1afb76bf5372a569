/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Writes the metrics file for Prometheus (node_exporter's textfile collector) every interval: a new file beside
 * it, renamed over it, so that a reader sees the old or the new one. It is not synchronised with the
 * storage: after a power cut the next one follows within an interval.
 *
 * At a clean stop it is removed: figures that do not move look like those of a healthy agent.
 */
#ifndef ETCHLET_CMD_METRICS_H
#define ETCHLET_CMD_METRICS_H

#include "base/loop.h"
#include "cmd/report.h"
#include "sync/trouble.h"

struct metrics {
	struct loop *loop;
	const char *path;
	int64_t interval_ms;
	struct report *report;
	/* private */
	struct loop_timer timer;
	struct trouble trouble;
	bool was_written;
};

/* Writes it now and then every interval_ms. What goes wrong is told, and tried again at the next time. path and
 * report outlive it. */
void metrics_open(struct metrics *m, struct loop *loop, const char *path, int64_t interval_ms,
	struct report *report);

/* From now on every interval_ms, beginning now: the file that is there is replaced, never missing. */
void metrics_set_interval(struct metrics *m, int64_t interval_ms);

/* Does not wait for the next time. Harmless on zeros. */
void metrics_write_now(struct metrics *m);

/* Removes the file, if it was written. Harmless on zeros and a second time. */
void metrics_close(struct metrics *m);

#endif
