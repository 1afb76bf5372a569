/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A sink of the simulated device that is slow, busy and fails as a hook or a mirror does: in front of print a
 * keeper, which runs out of room in the middle of values, and behind it a follower, which works for a while on
 * each batch.
 *
 * Each holds what it is given against all that really happened: within one run every event once, in
 * order, none missing; a listing equals the store; a follower gets nothing that its keeper does not
 * have; no position covers an event that it has not processed.
 */
#ifndef TEST_SIM_WORKER_H
#define TEST_SIM_WORKER_H

#include "base/loop.h"
#include "sink/sink.h"
#include "test/sim/history.h"

struct watch;

struct worker_cursor {
	int64_t rev;
	int index; /* of the last event; UINT16_MAX: all of rev */
};

struct worker {
	struct sink sink;
	struct loop *loop;
	const struct watch *watch;
	const struct worker *keeper; /* of a follower */
	uint16_t from, to; /* keys */
	uint32_t trouble; /* of 1000 calls, how many fail; of 1000 batches, how many take long */
	struct loop_timer timer;
	bool is_down; /* until the timer */
	int held_err; /* what every call is answered with, see worker_hold(); 0: none */
	bool is_unready; /* for a listing */
	bool is_unsettled; /* the last settle() has failed */
	bool is_working; /* on the batch up to work_rev */
	int64_t work_rev;
	/* where it is */
	int history; /* -1: not known yet */
	struct worker_cursor at, processed;
	bool is_in_event, has_batch, is_listing;
	int64_t list_rev;
	size_t listed;
	struct {
		uint16_t key;
		int64_t rev;
	} list[HISTORY_ZONE];
	uint64_t value_got;
	struct worker_cursor event; /* at hand, outside a listing */
};

/* from: the first of the watch's HISTORY_ZONE keys. */
void worker_init(struct worker *w, struct loop *loop, const struct watch *watch,
	const struct worker *keeper, bool is_keeper, uint16_t from, uint32_t trouble);
/* The run begins: at the position of its watch. */
void worker_started(struct worker *w);
/* After each turn. */
void worker_turned(struct worker *w);
/* Takes nothing from now on, for that reason; 0: goes on, and says so. */
void worker_hold(struct worker *w, int err);
/* Nothing goes wrong any more. */
void worker_calm(struct worker *w);
bool worker_is_caught_up(const struct worker *w);

#endif
