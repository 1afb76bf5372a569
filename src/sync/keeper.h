/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Keeps the positions in the journal: when to save, and what to do while the state file can't be
 * opened or written.
 *
 * A position that an event has moved is saved at once when the last save is interval_ms ago, else
 * when it will be: within interval_ms, and not more often. One that moved by probe or progress alone is
 * saved once in quiet_interval_ms. Trouble is told, and tried again every KEEPER_RETRY_MS; meanwhile
 * positions live in memory.
 */
#ifndef ETCHLET_SYNC_KEEPER_H
#define ETCHLET_SYNC_KEEPER_H

#include "base/loop.h"
#include "store/journal.h"
#include "sync/position.h"
#include "sync/trouble.h"

enum {
	KEEPER_RETRY_MS = 10000,
};

struct keeper_cfg {
	const char *path; /* NULL: nothing is kept */
	int64_t interval_ms;
	int64_t quiet_interval_ms;
	bool is_relaxed;
};

/* One position that is kept. */
struct keeper_entry {
	uint32_t id; /* journal_watch_id() */
	const char *name;
	struct position *pos;
	/* Called before pos is saved: what it covers must be on storage after it. NULL: it is. An
	 * error: not saved now. */
	int (*settle)(struct keeper_entry *e);
	/* The file could not be opened when the entry was added, and now it can: what it says of it; NULL:
	 * there may have been a position. Called before anything is written. NULL: of no interest. */
	void (*found_late)(struct keeper_entry *e, const struct journal_record *record);
	int64_t saved_rev; /* -1: never */
	/* private */
	int64_t saved_ms;
	int64_t written_rev; /* not known to be on storage yet; -1: none */
	bool was_saved;
	bool is_unread; /* the file could not be opened yet */
	struct keeper_entry *next;
};

struct keeper {
	struct loop *loop;
	struct keeper_cfg cfg;
	struct journal journal;
	struct keeper_entry *entries;
	struct loop_timer timer;
	struct trouble trouble;
	int64_t retry_ms; /* no try before it */
	bool is_recovered; /* the journal was damaged */
};

void keeper_init(struct keeper *k, struct loop *loop, const struct keeper_cfg *cfg);

/* 0, also when the state file can't be used now (that is told, and tried again); ERR_LOCKED: another agent uses it. */
int keeper_open(struct keeper *k);

/* Adds an entry and loads its position. What was found; JOURNAL_NONE when the file can't be read. */
enum journal_found keeper_add(struct keeper *k, struct keeper_entry *e);

/* The position of e may have moved: saves it, now or when it is due. */
void keeper_touch(struct keeper *k, struct keeper_entry *e);

/* Saves e now, whatever the interval: where a watch begins, or after a full synchronisation. */
void keeper_save(struct keeper *k, struct keeper_entry *e);

/* What could not be written is tried again now, not only when its time has come. */
void keeper_retry(struct keeper *k);

/* Saves e when it has moved, and takes it out. */
void keeper_remove(struct keeper *k, struct keeper_entry *e);

/* Forgets what is kept under a name that no entry has. 0, also when there is nothing; ERR_AGAIN: the file is not open, so it
 * must be asked for again; or an error of journal_forget(). */
int keeper_forget(struct keeper *k, const char *name);

/* A clean stop: saves what has moved, and closes. */
void keeper_close(struct keeper *k);

#endif
