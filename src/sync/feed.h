/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The feed: hands what comes for one watch to each of its sinks exactly once, in order, however
 * often the connection breaks and wherever a sink says "not now".
 *
 * An event has a place: its revision, and its index among the events of that revision. etcd sends
 * the events of a revision in the same order every time, and a value at a revision never changes, so
 * a place, a stage and a count of bytes say exactly how far a sink has got. What comes again on the next
 * connection is passed over up to there, in the middle of a value too.
 *
 * A sink that others wait for in vain is left behind: the input goes on without it. When it is ready again, the
 * stream begins anew at the lowest place that is open, and each sink passes over what it has. So nothing is ever
 * queued for a sink, and a slow one costs the others nothing.
 *
 * A revision is closed when nothing more of it can come: the response is complete, or an event of
 * a later revision has begun. Only closed revisions are committed.
 */
#ifndef ETCHLET_SYNC_FEED_H
#define ETCHLET_SYNC_FEED_H

#include "base/log.h"
#include "sink/sink.h"

struct feed_cursor {
	int64_t closed_rev; /* everything up to it has been handed to this sink */
	int64_t rev;
	uint32_t index;
	bool is_begun; /* the sink has taken event(), not yet event_end() */
	bool is_behind; /* left behind: it gets nothing until feed_catch_up() */
	bool is_free; /* it is behind, and has called wake() since */
	uint64_t taken[2]; /* bytes, by enum etcd_value */
};

/* Who is told of the event at hand. */
enum feed_audience {
	FEED_NOBODY,
	FEED_KEEPERS, /* of its removal, for it is too long to be delivered */
	FEED_ALL,
};

struct feed {
	const char *name; /* of the watch, for log lines */
	struct sink *sinks[CONFIG_SINK_COUNT];
	size_t sink_count;
	uint64_t max_value_len; /* may be changed at any time, holds from the next event on */
	/* Everything up to it has been handed to all sinks that are not behind: a stream goes on after it. */
	int64_t closed_rev;
	int64_t event_rev; /* the highest revision that had an event */
	/* counters since the start */
	uint64_t events; /* that were delivered; listed keys do not count */
	uint64_t batches; /* answers of which events were delivered; listings do not count */
	uint64_t too_long; /* keys and values above their limits */
	uint64_t unknown; /* events of a type that is not known */
	uint64_t unmappable; /* keys that a sink had no place for */
	char last_skipped[LOG_SHOW_MAX]; /* the last key of these, fit to be shown; "": none */
	struct log_limit long_key, long_value,
		unknown_type; /* a flow of them is told now and then */
	uint64_t
		steps; /* calls that a sink has taken: who waits for one sees by it whether it moves */
	/* private */
	const struct etcd_event *event; /* at hand, while is_in_event */
	struct feed_cursor cursors[CONFIG_SINK_COUNT];
	uint64_t value_limit; /* max_value_len, as it was when the event began */
	int64_t in_rev; /* where the input is; 0: at the start of a stream */
	uint32_t in_index;
	uint32_t event_index; /* events of event_rev that were counted */
	uint64_t in_offset[2];
	uint64_t batch_events; /* events at the end of the last answer */
	enum feed_audience audience; /* of the event at hand */
	bool is_in_event;
	bool is_prev_skipped; /* its previous value is too long, and goes to none */
	bool is_listing;
	uint32_t
		asked_mask; /* sinks that have taken the call about a listing which is being made */
	uint32_t blocked_mask; /* sinks that all wait for, in the call at hand */
	int blocked_err; /* what one of them has answered */
};

void feed_init(struct feed *f, const char *name, uint64_t max_value_len);
/* At most CONFIG_SINK_COUNT: ERR_LIMIT. The owner has set wake, fail and user. */
int feed_add_sink(struct feed *f, struct sink *sink);

/* Everything up to rev counts as handed over: what was loaded from the journal, or where a watch begins. */
void feed_set_closed(struct feed *f, int64_t rev);

/* A new stream begins, which brings every event after feed->closed_rev again. */
void feed_restart(struct feed *f);

/*
 * As in struct etcd_split_ops: 0 or bytes taken; ERR_AGAIN: the same call again after a wake(). feed_event() may also return
 * ERR_REVISION, or ERR_HISTORY: an event of which a sink has a part does not come again. The event stays where it is until its end. One whose key or value is too long goes
 * to no sink, but to those that keep something for each key as a DELETE; of one whose previous value is too long, all
 * but that.
 */
int feed_event(struct feed *f, const struct etcd_event *e);
ssize_t feed_value(struct feed *f, enum etcd_value which, const uint8_t *p, size_t len);
int feed_event_end(struct feed *f, const struct etcd_event *e);

/* A response is complete. */
void feed_close(struct feed *f);

/* Nothing happened up to rev. 0 or ERR_AGAIN. A sink that can't take it is told by a later one: it misses nothing. */
int feed_progress(struct feed *f, int64_t rev);

/* A full listing begins, and ends. Between them feed_event() and so on bring the keys. 0 or ERR_AGAIN. */
int feed_list_begin(struct feed *f, const struct sink_sync *sync);
int feed_list_end(struct feed *f, int64_t rev);
/* It broke off, and goes on at the same revision with the key that was not complete. */
void feed_list_go_on(struct feed *f);
/* It broke off; the next one will begin anew. */
void feed_list_abort(struct feed *f);
/* Whether every sink would take feed_list_begin() now. */
bool feed_is_ready(const struct feed *f);

/* -- sinks that are left behind: see sink.h -- */

/* A sink has called wake(). */
void feed_note_wake(struct feed *f, const struct sink *s);
/* The call at hand was answered ERR_AGAIN, and others wait: those sinks are left behind. Not in a listing. */
void feed_leave_blocked(struct feed *f);
/* Whether one that was left behind could go on now. */
bool feed_can_catch_up(const struct feed *f);
/* They take part again; the stream must begin anew after feed->closed_rev, which may be lower than it was. */
void feed_catch_up(struct feed *f);
/* Whether all are behind, so that a stream is of no use. */
bool feed_is_parked(const struct feed *f);
/* Whether more than one sink takes part. */
bool feed_has_others(const struct feed *f);

/* The highest revision that all sinks have processed. */
int64_t feed_done_rev(const struct feed *f);

/* Whether a sink that takes part has a part of an event: it may hold what others need too, until it has the rest. */
bool feed_is_mid_event(const struct feed *f);

/* Whether something was handed over that is not processed yet, or is being handed over, or a sink is behind. */
bool feed_is_waiting(const struct feed *f);

/* A sink had no place for this key. */
void feed_note_unmappable(struct feed *f, const struct etcd_event *e);

#endif
