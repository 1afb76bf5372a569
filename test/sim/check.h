/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Holds what the device prints, and the positions that it keeps, against all that really happened.
 *
 * Within one run of the agent every event of a watch's range stands once, in order, none missing,
 * from behind the position it began with; a listing equals the store of its revision and has a
 * reason that is true; no position, in memory or on flash, covers an event whose line was not
 * written in full.
 */
#ifndef TEST_SIM_CHECK_H
#define TEST_SIM_CHECK_H

#include "test/sim/device.h"

/* A new life. */
void check_reset(void);
/* The agent has started: takes down where its watches begin. */
void check_started(void);
/* A watch was added at run time. */
void check_added(int i);
/* The position of a watch was forgotten by intent. */
void check_forgotten(int i);
/* After each turn. */
void check_turned(void);
/* The run is over, cleanly or not. */
void check_ended(bool is_clean, bool could_save);
/* Whether everything that happened is printed. */
bool check_is_caught_up(void);
/* Whether a restore could be told at all: by a position that the user gave, or that no raft term is known of, it
 * cannot. */
bool check_knows_history(void);
/* Events and listings seen so far. */
uint64_t check_event_count(void);
uint64_t check_sync_count(void);
/* The reason of the last listing, "" if there was none. */
const char *check_last_reason(void);
/* A test does by intent what no reason is for. */
void check_allow(const char *reason);

#endif
