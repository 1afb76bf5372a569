/* SPDX-License-Identifier: Apache-2.0 */
/* One watch: see the table of its states in agent.h. */
#include "sync/agent.h"

#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "base/crc32.h"
#include "base/err.h"
#include "base/log.h"

enum {
	WATCH_PAST_MS = 1000, /* so long without an event, and nothing of the past is to come */
};

static const char *watch_state_name(enum watch_state state)
{
	static const char *const names[] = {
		"off", "list", "create", "live", "pause", "park", "gone"};

	return names[state];
}

void watch_set_state(struct watch *w, enum watch_state state)
{
	if (w->state != state)
		log_debug("watch %s: %s -> %s", w->name, watch_state_name(w->state),
			watch_state_name(state));
	w->state = state;
	if (state != WATCH_CREATE && state != WATCH_PAUSE && state != WATCH_GONE)
		loop_timer_clear(w->agent->loop, &w->timer);
}

static void watch_meet_trouble(struct watch *w, const char *why, const char *then)
{
	char what[160];

	snprintf(what, sizeof(what), "watch %.128s", w->name);
	trouble_meet(&w->trouble, w->agent->loop->now_ms, what, why, then);
}

void watch_end_trouble(struct watch *w)
{
	char what[160];

	if (!w->trouble.is_on)
		return; /* as mostly, and this is asked with each answer */
	snprintf(what, sizeof(what), "watch %.128s: goes on", w->name);
	trouble_end(&w->trouble, w->agent->loop->now_ms, what);
}

/* The watch has proved to live: what was met before it counts no more. */
void watch_prove(struct watch *w)
{
	if (w->was_listed)
		lister_forget_overtaken(&w->agent->lister);
	w->was_listed = false;
	w->is_history_doubtful = false;
	watch_end_trouble(w);
}

bool watch_has_lived_long(const struct watch *w)
{
	return w->state == WATCH_LIVE &&
	       w->agent->loop->now_ms - w->live_since_ms > w->agent->cfg.backoff_max_ms;
}

/* Saves the position when it is due; not before a linearizable answer has told the raft term that goes with it, for
 * without that a restored cluster may not be known again. */
void watch_touch(struct watch *w)
{
	if (w->is_checked)
		keeper_touch(&w->agent->keeper, &w->entry);
}

/* Whether a position is held against the server's history before the watch is asked for. */
bool watch_needs_proof(const struct watch *w)
{
	return position_is_firm(&w->pos) || w->synced_rev;
}

/* Tried again after a while. is_slow: a person must act first. */
void watch_pause(struct watch *w, bool is_slow, const char *why)
{
	struct agent *a = w->agent;
	int64_t delay_ms;
	char then[64];

	if (watch_has_lived_long(w))
		backoff_start_over(&w->backoff);
	delay_ms = backoff_next_ms(&w->backoff, agent_random(a));
	if (is_slow && w->backoff.tries > w->backoff.round_len)
		delay_ms = backoff_slow_ms(&w->backoff, agent_random(a));
	snprintf(then, sizeof(then), "it is tried again in %" PRId64 ".%03" PRId64 " s",
		delay_ms / 1000, delay_ms % 1000);
	watch_meet_trouble(w, why, then);
	watch_set_state(w, WATCH_PAUSE);
	loop_timer_set(a->loop, &w->timer, delay_ms);
}

static void on_timer(struct loop_timer *timer)
{
	struct watch *w = timer->user;
	struct agent *a = w->agent;
	int64_t timeout_ms = a->cfg.session.command_timeout_ms;

	if (w->state == WATCH_CREATE) {
		/* Answers come in turn: while others come, or a sink does not take them now, this one
		 * waits behind them. */
		if (a->stream.is_blocked || a->stream.last_data_ms + timeout_ms > a->loop->now_ms) {
			loop_timer_set(a->loop, timer, timeout_ms);
			return;
		}
		agent_drop(a, ERR_TIMEOUT, "no answer to a watch request within %" PRId64 " ms",
			timeout_ms);
		return;
	}
	if (w->state == WATCH_GONE) {
		agent_watch_ended(a, w);
		return;
	}
	w->is_denied = false;
	watch_set_state(w, WATCH_OFF);
	/* What was denied may have been the proof that it needs. */
	if (!w->is_checked)
		w->agent->is_probe_due = true;
	agent_wake(w->agent);
}

void watch_retry(struct watch *w)
{
	if (w->state == WATCH_PAUSE)
		loop_timer_set(w->agent->loop, &w->timer, 0);
	for (size_t i = 0; i < w->feed.sink_count; i++) {
		if (w->feed.sinks[i]->ops->retry)
			w->feed.sinks[i]->ops->retry(w->feed.sinks[i]);
	}
}

static void on_leave_timer(struct loop_timer *timer)
{
	watch_leave_now(timer->user);
}

void watch_init(struct watch *w, struct agent *a)
{
	w->agent = a;
	w->state = WATCH_OFF;
	w->cancel_id = -1;
	w->timer.fn = on_timer;
	w->timer.user = w;
	w->is_leaving = false;
	w->leave_timer = (struct loop_timer){.fn = on_leave_timer, .user = w};
	position_init(&w->pos, a->cfg.idle_after_ms, a->cfg.probe_interval_ms);
	feed_init(&w->feed, w->name, a->cfg.max_value_len);
	backoff_init(&w->backoff, a->cfg.backoff_min_ms, a->cfg.backoff_max_ms, 1);
	trouble_init(&w->trouble, a->cfg.backoff_max_ms);
}

void watch_want_list(struct watch *w, enum sync_reason reason, int64_t compact_rev)
{
	w->is_list_due = true;
	w->sync = (struct sink_sync){.reason = reason, .compact_revision = compact_rev};
}

/* Whether nothing can have happened between what the state file knows and p. Revisions of another cluster, or of one
 * that was restored since, prove nothing. */
static bool is_made_up_for(const struct position *p, const struct journal_record *record)
{
	return p->is_known && record->position_rev >= p->rev && record->raft_term <= p->raft_term &&
	       (!record->cluster_id || !p->cluster_id || record->cluster_id == p->cluster_id);
}

/*
 * The state file could not be read at the start, and now it can: it knows a position from which on nothing was
 * told. What was listed since makes up for it; else a listing must.
 */
static void on_found_late(struct keeper_entry *e, const struct journal_record *record)
{
	struct watch *w = (struct watch *)((char *)e - offsetof(struct watch, entry));

	if (w->syncs || w->is_list_due || (record && is_made_up_for(&w->pos, record)))
		return;
	log_warn("watch %s: the state file can be read now, and holds an older position or one of "
		 "another history: full synchronisation",
		w->name);
	watch_want_list(w, SYNC_STATE, 0);
	position_forget(&w->pos);
	agent_wake(w->agent);
}

/* What a saved position covers is on storage before it. */
static int on_settle(struct keeper_entry *e)
{
	struct watch *w = (struct watch *)((char *)e - offsetof(struct watch, entry));

	for (size_t i = 0; i < w->feed.sink_count; i++) {
		struct sink *s = w->feed.sinks[i];
		int err = s->ops->settle ? s->ops->settle(s) : 0;

		if (err < 0)
			return err;
	}
	return 0;
}

/* Positions belong to it. */
static uint32_t watch_identity(const struct watch *w)
{
	uint32_t id = journal_watch_id(
		w->name, w->range.key, w->range.key_len, w->range.end, w->range.end_len);

	for (size_t i = 0; i < w->feed.sink_count; i++) {
		uint64_t n = w->feed.sinks[i]->identity;
		uint8_t bytes[8];

		for (size_t at = 0; at < sizeof(bytes); at++)
			bytes[at] = (uint8_t)(n >> 8 * at);
		if (n)
			id = crc32_update(id, bytes, sizeof(bytes));
	}
	return id;
}

void watch_load(struct watch *w)
{
	w->entry.found_late = on_found_late;
	w->entry.settle = on_settle;
	w->entry.id = watch_identity(w);
	switch (keeper_add(&w->agent->keeper, &w->entry)) {
	case JOURNAL_FOUND:
		log_info("watch %s: resumes after revision %" PRId64, w->name, w->pos.rev);
		break;
	case JOURNAL_LOST:
		watch_want_list(w, SYNC_STATE, 0);
		return;
	case JOURNAL_NONE:
		if (w->given_rev > 0)
			position_give(&w->pos, w->given_rev);
		break;
	}
	if (w->pos.is_known)
		feed_set_closed(&w->feed, w->pos.rev);
}

void watch_connected(struct watch *w)
{
	position_connected(&w->pos, w->agent->loop->now_ms);
	w->is_checked = w->is_denied = w->was_relogged = false;
}

void watch_stream_closed(struct watch *w)
{
	w->cancel_id = -1;
	if (w->state == WATCH_CREATE || w->state == WATCH_LIVE)
		watch_set_state(w, WATCH_OFF);
	if (!w->feed.is_listing)
		feed_restart(&w->feed);
}

void watch_disconnected(struct watch *w)
{
	position_disconnected(&w->pos);
	if (w->feed.is_listing)
		feed_list_abort(&w->feed);
	if (w->state == WATCH_LIST)
		watch_set_state(w, WATCH_OFF);
	watch_stream_closed(w);
	w->is_checked = false;
}

/* -- its sinks -------------------------------------------------------------------------------- */

void watch_note_wake(struct watch *w, struct sink *s)
{
	feed_note_wake(&w->feed, s);
	watch_update(w);
}

void watch_relist(struct watch *w)
{
	struct agent *a = w->agent;

	log_warn("watch %s: what its folder held is in doubt: full synchronisation", w->name);
	w->entry.id = watch_identity(w);
	w->entry.saved_rev = -1;
	w->synced_rev = 0;
	position_forget(&w->pos);
	watch_want_list(w, SYNC_FIRST, 0);
	if (a->listing == w) {
		agent_detach(a, w);
		watch_set_state(w, WATCH_OFF);
	}
	agent_wake(a);
}

void watch_list_held(struct watch *w)
{
	agent_detach(w->agent, w);
	watch_pause(w, false, "a sink takes nothing, and others wait to be listed");
}

void watch_stop_sinks(struct watch *w, int64_t timeout_ms)
{
	for (size_t i = 0; i < w->feed.sink_count; i++) {
		struct sink *s = w->feed.sinks[i];

		if (s->ops->stop)
			s->ops->stop(s, timeout_ms);
	}
}

void watch_leave(struct watch *w, int64_t timeout_ms)
{
	if (w->state == WATCH_LIVE)
		w->cancel_id = w->id;
	agent_detach(w->agent, w);
	watch_set_state(w, WATCH_GONE);
	if (!w->feed.is_listing)
		feed_restart(&w->feed);
	watch_stop_sinks(w, timeout_ms);
	/* Also when all have ended at once: it is told from the loop. */
	loop_timer_set(w->agent->loop, &w->timer, watch_has_ended(w) ? 0 : timeout_ms);
}

void watch_leave_now(struct watch *w)
{
	if (!w->is_leaving)
		return;
	w->is_leaving = false;
	loop_timer_clear(w->agent->loop, &w->leave_timer);
	watch_leave(w, w->leave_timeout_ms);
}

bool watch_has_ended(const struct watch *w)
{
	for (size_t i = 0; i < w->feed.sink_count; i++) {
		const struct sink *s = w->feed.sinks[i];

		if (s->ops->stop && !s->is_stopped)
			return false;
	}
	return true;
}

/* When a server that was asked for the past has long sent it. */
static int64_t watch_past_ms(const struct watch *w)
{
	int64_t newest_ms = w->live_since_ms > w->event_ms ? w->live_since_ms : w->event_ms;

	return newest_ms + WATCH_PAST_MS;
}

bool watch_has_caught_up(const struct watch *w, int64_t rev)
{
	const struct agent *a = w->agent;
	int64_t past_ms = watch_past_ms(w);

	if (!w->pos.is_known || w->synced_rev || w->is_list_due || feed_is_waiting(&w->feed))
		return false;
	if (w->feed.closed_rev >= rev || w->pos.rev >= rev)
		return true;
	/*
	 * No server tells when a watch has seen the past, but all send it at their next tick of 100 ms. What was
	 * sent before a later answer has come with it: a network that stands still is not taken for quiet.
	 */
	return w->state == WATCH_LIVE && !a->stream.is_blocked && !a->stream.is_in_message &&
	       a->loop->now_ms >= past_ms &&
	       (a->probed.asked_ms >= past_ms || grpc_channel_max_calls(&a->session.channel) < 2);
}

void watch_prove_past(struct watch *w)
{
	struct agent *a = w->agent;
	int64_t now_ms = a->loop->now_ms, past_ms = watch_past_ms(w);

	if (w->state != WATCH_LIVE || now_ms < past_ms || a->probed.asked_ms >= past_ms ||
		etcd_probe_is_running(&a->probe))
		return;
	if (a->probe_asked_ms >= past_ms && now_ms - a->probe_asked_ms < WATCH_PAST_MS)
		return;
	a->is_probe_due = true;
	agent_wake(a);
}

void watch_set_times(struct watch *w)
{
	const struct agent_cfg *cfg = &w->agent->cfg;

	position_set_times(&w->pos, cfg->idle_after_ms, cfg->probe_interval_ms);
	backoff_set(&w->backoff, cfg->backoff_min_ms, cfg->backoff_max_ms, 1);
	w->trouble.min_gap_ms = cfg->backoff_max_ms;
	w->feed.max_value_len = cfg->max_value_len;
	watch_touch(w); /* what is due may be due earlier */
}

/* -- what is processed ------------------------------------------------------------------------ */

void watch_update(struct watch *w)
{
	struct keeper *k = &w->agent->keeper;
	int64_t done_rev = feed_done_rev(&w->feed);
	int64_t event_rev = done_rev < w->feed.event_rev ? done_rev : w->feed.event_rev;
	bool has_moved;

	if (w->synced_rev) {
		if (done_rev < w->synced_rev)
			return;
		position_restart(&w->pos, done_rev, &w->sync_header);
		w->synced_rev = 0;
		log_info("watch %s: synchronised (%s), position %" PRId64, w->name,
			sync_reason_name(w->last_reason), w->pos.rev);
		keeper_save(k, &w->entry);
		return;
	}
	if (!w->pos.is_known) {
		/* A server whose headers tell no revision. Where a listing is due nothing is known before it. */
		if (w->state != WATCH_LIVE || !done_rev || w->is_list_due)
			return;
		position_restart(&w->pos, done_rev, &(struct etcd_header){0});
		has_moved = true;
	} else {
		has_moved = position_propose(&w->pos, POSITION_EVENTS, event_rev);
		has_moved = position_propose(&w->pos, POSITION_PROGRESS, done_rev) || has_moved;
	}
	if (has_moved)
		watch_touch(w);
}

void watch_idle(struct watch *w)
{
	struct agent *a = w->agent;

	/* An answer that is held up, or not complete, may have events of any watch behind it. */
	if (!position_idle(&w->pos, a->loop->now_ms,
		    w->state != WATCH_LIVE || w->synced_rev || feed_is_waiting(&w->feed) ||
			    a->stream.is_blocked || a->stream.is_in_message))
		return;
	log_debug("watch %s: idle, position %" PRId64, w->name, w->pos.rev);
	watch_prove(w);
	keeper_touch(&a->keeper, &w->entry);
}
