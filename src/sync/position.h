/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The position of one watch: the highest revision of which every event has been processed. This
 * file is its only owner. It is a pure state machine over (time, proposal): it makes no call and
 * reads no clock.
 *
 * What moves it on, and the rule for each:
 *
 *   EVENTS    every sink has processed all events up to there: at once
 *   PROGRESS  the server told for this very watch that nothing happened up to there, and nothing
 *             that came before waits to be processed: at once
 *   idle      no event came for idle_after_ms, nothing waits, and the connection was not
 *             interrupted in that time: to the revision of the newest probe that was answered at
 *             least settle_ms ago on this connection. The delay makes sure that no event which the probe's
 *             answer overtook is still under way.
 *
 * It never moves back, but by position_restart() after a full synchronisation.
 *
 * With it are kept the id of the cluster and the highest raft term that a linearizable answer
 * told: a revision means something in one history only. position_judge() says whether an answer is
 * of that history.
 */
#ifndef ETCHLET_SYNC_POSITION_H
#define ETCHLET_SYNC_POSITION_H

#include "etcd/event.h"

enum position_source {
	POSITION_EVENTS,
	POSITION_PROGRESS,
};

enum position_fit {
	POSITION_FITS,
	POSITION_OTHER_CLUSTER, /* its id differs from the one kept */
	POSITION_BEHIND, /* an older revision or raft term than is possible in this history */
};

enum {
	POSITION_PROBE_COUNT = 4, /* answers that are remembered until they are old enough */
};

/* What has moved it since it was saved last; decides when it is saved again. */
enum position_dirt {
	POSITION_CLEAN,
	POSITION_MOVED_QUIETLY, /* by probe or progress alone */
	POSITION_MOVED_BY_EVENT,
};

struct position {
	int64_t rev; /* meaningless while !is_known */
	uint64_t cluster_id; /* 0: not known */
	uint64_t raft_term; /* 0: not known */
	bool is_known;
	bool is_given; /* by the user, not by a server: nothing is known to be processed */
	bool has_fitted; /* a linearizable answer lay behind it */
	enum position_dirt dirt;
	/* private */
	int64_t idle_after_ms, settle_ms;
	int64_t quiet_since_ms;
	int64_t asked_rev; /* the position when the newest question was sent */
	bool is_connected;
	uint8_t probe_count;
	struct {
		int64_t at_ms;
		int64_t rev;
	} probes[POSITION_PROBE_COUNT]; /* oldest first */
};

/* idle_after_ms is greater than settle_ms. Nothing is known at first. */
void position_init(struct position *p, int64_t idle_after_ms, int64_t settle_ms);

/* Other times for the idle rule. */
void position_set_times(struct position *p, int64_t idle_after_ms, int64_t settle_ms);

/* What was saved earlier. Clean. */
void position_load(struct position *p, int64_t rev, uint64_t cluster_id, uint64_t raft_term);

/* The user's --rev: everything before rev counts as processed. */
void position_give(struct position *p, int64_t rev);

/* Sets it, back or forth: a full synchronisation as of rev is processed, or the watch begins there.
 * Counts as moved by an event. */
void position_restart(struct position *p, int64_t rev, const struct etcd_header *header);

/* A full synchronisation has begun: what was known counts no more, until position_restart(). */
void position_forget(struct position *p);

/* Proposes a revision. Whether it moved. */
bool position_propose(struct position *p, enum position_source source, int64_t rev);

/* The connection: its beginning and its end interrupt the quiet time, and probes of another count for nothing. */
void position_connected(struct position *p, int64_t now_ms);
void position_disconnected(struct position *p);

/* An event was received, whatever becomes of it. */
void position_note_event(struct position *p, int64_t now_ms);

/* Whether an answer can be held against it. What the user gave may lie in the future, until a server has told that
 * it does not. */
bool position_is_firm(const struct position *p);

/* A linearizable question is being sent. */
void position_note_asked(struct position *p);

/* It was answered, and the answer fits. */
void position_note_probe(struct position *p, int64_t now_ms, const struct etcd_header *header);

/* The idle rule. is_waiting: something received is not processed yet. Whether it moved. */
bool position_idle(struct position *p, int64_t now_ms, bool is_waiting);

/* When position_idle() can move it at the earliest, as far as is known now; INT64_MAX: not before another probe. */
int64_t position_idle_due_ms(const struct position *p);

/* Judges a linearizable answer: its cluster, its revision and its raft term. */
enum position_fit position_judge(const struct position *p, const struct etcd_header *header);

/* Judges any other answer: by its cluster alone, for a lagging member is not another history. */
enum position_fit position_judge_cluster(
	const struct position *p, const struct etcd_header *header);

/* The cluster's id becomes known by the first header that tells it. */
void position_note_header(struct position *p, const struct etcd_header *header);

/* It has been saved as it is now. */
void position_saved(struct position *p);

#endif
