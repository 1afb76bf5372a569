/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The agent's condition in words: for programs, for a person, for Prometheus and for the init system. Reads what the
 * agent counts and changes nothing; every text that came from outside goes through log_show(), so the
 * outcome is valid UTF-8 whatever a key or a server says.
 *
 * Nothing is allocated. What does not fit is written again with its texts cut shorter; numbers are never cut.
 */
#ifndef ETCHLET_CMD_REPORT_H
#define ETCHLET_CMD_REPORT_H

#include "base/kconfig.h"
#include "sync/agent.h"

struct fetch_sink;

enum {
	/* Downloads that are listed: one of each watch where there is one, and that many more. */
	REPORT_FETCH_COUNT = IS_ENABLED(CONFIG_SINK_FETCH) ? 8 : 0,
	REPORT_FETCH_BYTES = IS_ENABLED(CONFIG_SINK_FETCH) ? 384 : 0, /* with its texts cut */
	REPORT_HEAD_BYTES =
		3072 +
		REPORT_FETCH_COUNT * REPORT_FETCH_BYTES, /* of a report, whatever the watches */
	REPORT_WATCH_BYTES = 1024 + REPORT_FETCH_BYTES, /* and for each watch, with its texts cut */
	REPORT_LINE_MAX = 160, /* of report_line(), NUL included */
};

/* A watch as the configuration names it. */
struct report_watch {
	const struct watch *watch;
	const void *key; /* as it was asked for; may hold any bytes */
	size_t key_len;
	bool is_prefix;
	const struct fetch_sink *fetch; /* NULL: it downloads nothing */
};

/* Filled by the owner, who keeps it up to date: watches and watch_count may change between two turns. */
struct report {
	struct agent *agent;
	int64_t start_ms; /* monotonic */
	const struct report_watch *watches; /* in the order in which they are shown */
	size_t watch_count;
	/* private */
	int64_t start_wall_s; /* as it was told; 0: not yet */
};

/* One object as "etchlet status --json" prints it, and a line end. Its length, or ERR_LIMIT: never with
 * REPORT_HEAD_BYTES + watch_count * REPORT_WATCH_BYTES. */
ssize_t report_json(const struct report *r, char *dst, size_t cap);

/* Lines for a person, 80 columns wide but for long names. Length and ERR_LIMIT as above. */
ssize_t report_table(const struct report *r, char *dst, size_t cap);

/* "connected to https://10.0.0.1:2379, 3 of 4 watches in step"; terminated. */
void report_line(const struct report *r, char dst[REPORT_LINE_MAX]);

/* Takes a piece of the text; an error ends it. */
typedef int report_put_fn(void *user, const char *text, size_t len);

/* The text exposition format of Prometheus (version 0.0.4), piece by piece. 0 or the error of put. */
int report_metrics(struct report *r, report_put_fn *put, void *user);

/* Whether the Watch stream is open and brings events: a watch lives on it. */
bool report_is_connected(const struct report *r);

/* Whether nothing is missing: its position is known, it was listed where that was due, and nothing is wrong with it
 * or its sinks now. */
bool report_is_in_step(const struct watch *w);

/* The first of its sinks that fails now; NULL: none. */
const struct sink *report_failing_sink(const struct watch *w);

/* What hinders its sinks, one that fails first: dst, or NULL. */
const char *report_waits(const struct watch *w, char *dst, size_t cap);

#endif
