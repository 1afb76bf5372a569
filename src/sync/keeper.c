/* SPDX-License-Identifier: Apache-2.0 */
#include "sync/keeper.h"

#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "base/log.h"

static void keeper_arm(struct keeper *k, int64_t due_ms)
{
	if (!k->timer.is_set || due_ms < k->timer.due_ms)
		loop_timer_set_at(k->loop, &k->timer, due_ms);
}

static void keeper_fault(struct keeper *k, int err, const char *doing)
{
	char what[300], why[CONFIG_JOURNAL_NAME_LEN + 128];

	snprintf(what, sizeof(what), "state file %.256s", k->cfg.path);
	snprintf(why, sizeof(why), "cannot %s: %s", doing,
		k->journal.flash.why ? k->journal.flash.why : err_text(err));
	trouble_meet(&k->trouble, k->loop->now_ms, what, why,
		"the positions stay in memory; it is tried again every 10 s");
	k->retry_ms = k->loop->now_ms + KEEPER_RETRY_MS;
	keeper_arm(k, k->retry_ms);
}

/* The journal keeps what is asked for; mostly the positions here are newer than its own. */
static void keeper_find_late(struct keeper *k, struct keeper_entry *e)
{
	struct journal_record rec = {0};
	enum journal_found found = journal_find(&k->journal, e->id, &rec);

	if (e->is_unread && e->found_late && found != JOURNAL_NONE)
		e->found_late(e, found == JOURNAL_FOUND ? &rec : NULL);
	e->is_unread = false;
}

static int keeper_try_open(struct keeper *k)
{
	struct journal *j = &k->journal;
	int err =
		journal_open(j, k->cfg.path, PORT_FLASH_UPDATE, k->cfg.is_relaxed, k->loop->now_ms);

	if (j->is_damaged && !k->is_recovered)
		log_warn("state file %s: damaged, no record in it is intact; it is put aside as "
			 "%s.damaged",
			k->cfg.path, k->cfg.path);
	else if (j->is_recovered && !k->is_recovered)
		log_warn(
			"state file %s: was damaged; its newest intact records count", k->cfg.path);
	k->is_recovered = k->is_recovered || j->is_damaged || j->is_recovered;
	for (struct keeper_entry *e = k->entries; !err && e; e = e->next)
		keeper_find_late(k, e);
	return err;
}

static int keeper_write(struct keeper *k, struct keeper_entry *e)
{
	struct journal_record rec = {
		.position_rev = e->pos->rev,
		.cluster_id = e->pos->cluster_id,
		.raft_term = e->pos->raft_term,
	};
	int err = e->settle ? e->settle(e) : 0;

	if (err) {
		keeper_arm(k, k->loop->now_ms + KEEPER_RETRY_MS);
		return err;
	}
	err = journal_append(&k->journal, e->id, e->name, &rec, k->loop->now_ms);
	if (err) {
		keeper_fault(k, err, "write");
		if (err == ERR_READONLY)
			journal_close(&k->journal);
		return err;
	}
	e->written_rev = rec.position_rev;
	return 0;
}

/* What was written is on storage: it counts as saved. */
static void keeper_note_saved(struct keeper *k)
{
	for (struct keeper_entry *e = k->entries; e; e = e->next) {
		if (e->written_rev < 0)
			continue;
		e->saved_rev = e->written_rev;
		e->saved_ms = k->loop->now_ms;
		e->was_saved = true;
		if (e->pos->is_known && e->pos->rev == e->saved_rev)
			position_saved(e->pos);
	}
}

/* Whether the file is open and may be tried. */
static bool keeper_is_ready(struct keeper *k)
{
	int err;

	if (!k->cfg.path || k->loop->now_ms < k->retry_ms)
		return false;
	if (k->journal.is_open)
		return true;
	err = keeper_try_open(k);
	if (err)
		keeper_fault(k, err, "open");
	return !err;
}

static int64_t keeper_due_ms(const struct keeper *k, const struct keeper_entry *e)
{
	if (e->pos->dirt == POSITION_CLEAN || !e->pos->is_known)
		return INT64_MAX;
	if (!e->was_saved)
		return k->loop->now_ms;
	return e->saved_ms + (e->pos->dirt == POSITION_MOVED_BY_EVENT ? k->cfg.interval_ms
								      : k->cfg.quiet_interval_ms);
}

/* Writes e when it is due (is_all: when it has moved). Whether that failed; *next_ms: when one is due later. */
static bool keeper_run_one(struct keeper *k, struct keeper_entry *e, bool is_all, int64_t *next_ms)
{
	int64_t due_ms = keeper_due_ms(k, e);

	e->written_rev = -1;
	if (due_ms == INT64_MAX)
		return false;
	/* To open the file may change what is to be written. */
	if ((is_all || due_ms <= k->loop->now_ms) && keeper_is_ready(k))
		return keeper_due_ms(k, e) != INT64_MAX && keeper_write(k, e) != 0;
	if (due_ms < *next_ms)
		*next_ms = due_ms;
	return false;
}

/* Saves whatever is due, with one wait for the storage. */
static void keeper_run(struct keeper *k, bool is_all)
{
	int64_t next_ms = INT64_MAX;
	bool has_failed = false, was_written = false;
	int err;

	for (struct keeper_entry *e = k->entries; e; e = e->next) {
		has_failed = keeper_run_one(k, e, is_all, &next_ms) || has_failed;
		was_written = was_written || e->written_rev >= 0;
	}
	if (was_written) {
		err = journal_sync(&k->journal);
		if (err) {
			keeper_fault(k, err, "write");
		} else {
			keeper_note_saved(k);
			if (!has_failed)
				trouble_end(
					&k->trouble, k->loop->now_ms, "state file: written again");
		}
	}
	if (next_ms != INT64_MAX)
		keeper_arm(k, next_ms > k->retry_ms ? next_ms : k->retry_ms);
}

static void on_timer(struct loop_timer *timer)
{
	keeper_run(timer->user, false);
}

void keeper_init(struct keeper *k, struct loop *loop, const struct keeper_cfg *cfg)
{
	memset(k, 0, sizeof(*k));
	k->loop = loop;
	k->cfg = *cfg;
	k->retry_ms = INT64_MIN;
	k->timer.fn = on_timer;
	k->timer.user = k;
	trouble_init(&k->trouble, KEEPER_RETRY_MS);
}

int keeper_open(struct keeper *k)
{
	int err;

	if (!k->cfg.path)
		return 0;
	err = keeper_try_open(k);
	if (err == ERR_LOCKED)
		return err;
	if (err)
		keeper_fault(k, err, "open");
	else if (k->journal.flash.is_readonly)
		keeper_fault(k, ERR_READONLY, "write");
	return 0;
}

enum journal_found keeper_add(struct keeper *k, struct keeper_entry *e)
{
	struct journal_record rec = {0};
	enum journal_found found = JOURNAL_NONE;

	e->next = k->entries;
	k->entries = e;
	e->saved_rev = -1;
	e->was_saved = false;
	e->is_unread = k->cfg.path && !k->journal.is_open;
	if (k->cfg.path)
		found = journal_find(&k->journal, e->id, &rec);
	if (found == JOURNAL_FOUND) {
		position_load(e->pos, rec.position_rev, rec.cluster_id, rec.raft_term);
		e->saved_rev = rec.position_rev;
	}
	return found;
}

void keeper_touch(struct keeper *k, struct keeper_entry *e)
{
	int64_t due_ms;

	if (!k->cfg.path)
		return;
	due_ms = keeper_due_ms(k, e);
	if (due_ms <= k->loop->now_ms && k->loop->now_ms >= k->retry_ms)
		keeper_run(k, false);
	else if (due_ms != INT64_MAX)
		keeper_arm(k, due_ms > k->retry_ms ? due_ms : k->retry_ms);
}

void keeper_save(struct keeper *k, struct keeper_entry *e)
{
	e->was_saved = false;
	keeper_touch(k, e);
}

void keeper_retry(struct keeper *k)
{
	if (!k->trouble.is_on)
		return;
	k->retry_ms = INT64_MIN;
	keeper_run(k, false);
}

void keeper_remove(struct keeper *k, struct keeper_entry *e)
{
	struct keeper_entry **at = &k->entries;

	if (k->cfg.path && e->pos->dirt != POSITION_CLEAN) {
		e->was_saved = false; /* due at once */
		keeper_run(k, false);
	}
	while (*at != e)
		at = &(*at)->next;
	*at = e->next;
	e->next = NULL;
}

int keeper_forget(struct keeper *k, const char *name)
{
	struct journal *j = &k->journal;
	int err = 0;

	if (k->cfg.path && !keeper_is_ready(k))
		return ERR_AGAIN;
	for (size_t i = 0; i < CONFIG_JOURNAL_WATCH_COUNT && j->is_open && !err; i++) {
		const struct journal_watch *w = &j->watches[i];

		if (!w->is_known || !w->has_record || strcmp(w->name, name) != 0)
			continue;
		err = journal_forget(j, w->id, k->loop->now_ms);
		if (!err)
			err = journal_sync(j);
		if (!err)
			log_info("state file %s: the position of watch %s is forgotten",
				k->cfg.path, name);
	}
	return err;
}

void keeper_close(struct keeper *k)
{
	if (!k->cfg.path)
		return;
	k->retry_ms = INT64_MIN;
	keeper_run(k, true);
	loop_timer_clear(k->loop, &k->timer);
	journal_close(&k->journal);
}
