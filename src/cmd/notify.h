/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tells the init system how the start goes, by the protocol of sd_notify(3), without its library. Where
 * NOTIFY_SOCKET is not set, nothing happens at all. Nothing waits: what can't be sent now is sent a little later.
 *
 * The watchdog is fed from the loop alone, so one that hangs is not.
 */
#ifndef ETCHLET_CMD_NOTIFY_H
#define ETCHLET_CMD_NOTIFY_H

#include "base/loop.h"
#include "cmd/report.h"

enum {
	NOTIFY_RETRY_MS = 100, /* when the init system is slow to read */
	NOTIFY_AWAY_MS = 10000, /* when it is not there */
	NOTIFY_STATUS_MS = 1000, /* a status line is sent at most that often */
	NOTIFY_STATUS_SLACK_MS = 60000, /* and looked at when the loop wakes, or after it */
};

struct notify {
	struct loop *loop;
	const struct report *report;
	/* private */
	struct port_notify port;
	struct loop_timer status_timer, watchdog_timer, retry_timer;
	int64_t watchdog_ms; /* between two of its notices; 0: none is wanted */
	unsigned due; /* notices that could not be sent yet */
	char told[REPORT_LINE_MAX]; /* the last status line */
};

/* Reads the environment and takes NOTIFY_SOCKET, WATCHDOG_USEC and WATCHDOG_PID out of it, so that no hook inherits
 * them. From now on the watchdog is fed. */
void notify_open(struct notify *n, struct loop *loop, const struct report *report);

/* The configuration is read and the agent runs (also: it is reloaded). */
void notify_ready(struct notify *n);
/* SIGHUP: before the configuration is read again. */
void notify_reloading(struct notify *n);
void notify_stopping(struct notify *n);

/* Harmless on zeros and a second time. */
void notify_close(struct notify *n);

#endif
