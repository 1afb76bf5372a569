/* SPDX-License-Identifier: Apache-2.0 */
/* One watch: see the table of its states in agent.h. */
#include "sync/agent.h"

#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "base/log.h"

static const char *watch_state_name(enum watch_state state)
{
	static const char *const names[] = {"off", "list", "create", "live", "pause"};

	return names[state];
}

static void watch_set_state(struct watch *w, enum watch_state state)
{
	if (w->state != state)
		log_debug("watch %s: %s -> %s", w->name, watch_state_name(w->state),
			watch_state_name(state));
	w->state = state;
	if (state != WATCH_CREATE && state != WATCH_PAUSE)
		loop_timer_clear(w->agent->loop, &w->timer);
}

static void watch_meet_trouble(struct watch *w, const char *why, const char *then)
{
	char what[160];

	snprintf(what, sizeof(what), "watch %.128s", w->name);
	trouble_meet(&w->trouble, w->agent->loop->now_ms, what, why, then);
}

static void watch_end_trouble(struct watch *w)
{
	char what[160];

	snprintf(what, sizeof(what), "watch %.128s: goes on", w->name);
	trouble_end(&w->trouble, w->agent->loop->now_ms, what);
}

/* The watch has proved to live: what was met before it counts no more. */
static void watch_prove(struct watch *w)
{
	if (w->was_listed)
		lister_forget_overtaken(&w->agent->lister);
	w->was_listed = false;
	w->is_history_doubtful = false;
	watch_end_trouble(w);
}

static bool has_lived_long(const struct watch *w)
{
	return w->state == WATCH_LIVE &&
	       w->agent->loop->now_ms - w->live_since_ms > w->agent->cfg.backoff_max_ms;
}

/* Saves the position when it is due; not before a linearizable answer has told the raft term that goes with it, for
 * without that a restored cluster may not be known again. */
static void watch_touch(struct watch *w)
{
	if (w->is_checked)
		keeper_touch(&w->agent->keeper, &w->entry);
}

/* Whether a position is held against the server's history before the watch is asked for. */
static bool is_proof_needed(const struct watch *w)
{
	return (w->pos.is_known && !w->pos.is_given) || w->synced_rev;
}

/* Tried again after a while. is_slow: a person must act first. */
static void watch_pause(struct watch *w, bool is_slow, const char *why)
{
	struct agent *a = w->agent;
	int64_t delay_ms;
	char then[64];

	if (has_lived_long(w))
		backoff_start_over(&w->backoff);
	delay_ms = backoff_next_ms(&w->backoff, agent_random(a));
	if (is_slow && w->backoff.tries > w->backoff.round_len)
		delay_ms = backoff_slow_ms(&w->backoff, agent_random(a));
	snprintf(then, sizeof(then), "tried again in %" PRId64 ".%03" PRId64 " s", delay_ms / 1000,
		delay_ms % 1000);
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

void watch_init(struct watch *w, struct agent *a)
{
	w->agent = a;
	w->state = WATCH_OFF;
	w->timer.fn = on_timer;
	w->timer.user = w;
	position_init(&w->pos, a->cfg.idle_after_ms, a->cfg.probe_interval_ms);
	feed_init(&w->feed, w->name, a->cfg.max_value_len);
	backoff_init(&w->backoff, a->cfg.backoff_min_ms, a->cfg.backoff_max_ms, 1);
	trouble_init(&w->trouble, a->cfg.backoff_max_ms);
}

static void watch_want_list(struct watch *w, enum sync_reason reason, int64_t compact_rev)
{
	w->is_list_due = true;
	w->sync = (struct sink_sync){.reason = reason, .compact_revision = compact_rev};
}

/*
 * The state file could not be read at the start, and now it can: it knows a position from which on nothing was
 * told. What was listed since makes up for it; else a listing must.
 */
static void on_found_late(struct keeper_entry *e, const struct journal_record *record)
{
	struct watch *w = (struct watch *)((char *)e - offsetof(struct watch, entry));

	if (w->syncs || w->is_list_due ||
		(w->pos.is_known && record && record->position_rev >= w->pos.rev))
		return;
	log_warn(
		"watch %s: the state file can be read now, and holds an older position: full synchronisation",
		w->name);
	watch_want_list(w, SYNC_STATE, 0);
	position_forget(&w->pos);
	if (w->state == WATCH_LIVE || w->state == WATCH_CREATE)
		w->agent->is_stream_stale = true;
	agent_wake(w->agent);
}

void watch_load(struct watch *w)
{
	w->entry.found_late = on_found_late;
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

/* -- asking ----------------------------------------------------------------------------------- */

/*
 * Where a watch begins when everything up to base is known. Some servers can lose a delete at exactly the
 * revision they were compacted to: what is known already is asked for again, and dropped. So of a
 * server that could not tell its version just now.
 */
static int64_t watch_rev_behind(const struct watch *w, int64_t base)
{
	const struct etcd_session *s = &w->agent->session;

	if (base > 0 && (s->is_version_doubtful || etcd_version_loses_delete(&s->status.version)))
		return base;
	return base + 1;
}

/* The first revision that is asked for; 0: from now on. */
static int64_t watch_start_rev(const struct watch *w)
{
	int64_t base = w->feed.closed_rev;

	if (!w->pos.is_known && !w->synced_rev)
		return 0;
	if (w->pos.is_known && w->pos.rev > base)
		base = w->pos.rev;
	return w->pos.is_given ? base + 1 : watch_rev_behind(w, base);
}

static int watch_create(struct watch *w, int64_t start_rev)
{
	struct agent *a = w->agent;
	struct etcd_watch_request req = {
		.range = w->range,
		.start_rev = start_rev,
		.want_progress = true,
		.want_prev = w->want_prev,
		.want_fragment = true,
	};
	int err;

	if (etcd_reader_is_running(&a->stream))
		err = etcd_reader_create(&a->stream, &req);
	else
		err = etcd_reader_watch(&a->stream, &a->session, &req);
	if (err)
		return err;
	log_debug("watch %s: asked for, from revision %" PRId64, w->name, start_rev);
	a->creating = w;
	return 0;
}

static int watch_pump_create(struct watch *w)
{
	struct agent *a = w->agent;
	int err;

	if (a->creating || a->is_held || a->is_stream_stale)
		return 0;
	/* Where the server allows one stream only, listings come first: they need it too. */
	if (grpc_channel_max_calls(&a->session.channel) < 2 && agent_has_list_due(a) &&
		!feed_is_mid_event(&w->feed))
		return 0;
	if (is_proof_needed(w) && !w->is_checked)
		return 0;
	if ((w->pos.is_known || w->synced_rev) && !a->session.is_version_settled)
		return 0;
	feed_restart(&w->feed);
	err = watch_create(w, watch_start_rev(w));
	if (err)
		return err;
	watch_set_state(w, WATCH_CREATE);
	loop_timer_set(a->loop, &w->timer, a->cfg.session.command_timeout_ms);
	return 0;
}

static bool has_other_mid_event(const struct watch *w)
{
	for (const struct watch *o = w->agent->watches; o; o = o->next) {
		if (o != w && feed_is_mid_event(&o->feed))
			return true;
	}
	return false;
}

/*
 * While a listing is read, the watch that goes on behind it is opened already and the stream is held
 * closed: so no compaction can come between the two. That holds up the other watches on the stream,
 * so with others it is done only when compaction was faster once already.
 */
static int watch_pump_early(struct watch *w)
{
	struct agent *a = w->agent;
	int err;

	if (a->listing != w || !w->feed.is_listing || a->is_held || a->creating ||
		a->is_stream_stale || !a->session.is_version_settled ||
		(a->watches->next && (!w->was_listed || has_other_mid_event(w))) ||
		grpc_channel_max_calls(&a->session.channel) < 2)
		return 0;
	err = watch_create(w, watch_rev_behind(w, w->sync.revision));
	if (!err)
		a->is_held = true;
	return err;
}

static int watch_pump_list(struct watch *w)
{
	struct agent *a = w->agent;
	int err;

	if (a->listing && a->listing != w)
		return 0;
	/* Where the server allows one stream only, the listing needs it; but first another watch
	 * goes on with the event that it has begun, for they may share an output. */
	if (grpc_channel_max_calls(&a->session.channel) < 2 && !a->listing &&
		has_other_mid_event(w))
		return 0;
	if (etcd_reader_is_running(&a->stream) && grpc_channel_max_calls(&a->session.channel) < 2) {
		a->is_stream_stale = true;
		agent_wake(a);
		return 0;
	}
	if (!a->listing) {
		a->listing = w;
		lister_start(&a->lister, &a->session, &w->range, 0);
	}
	err = lister_pump(&a->lister);
	return err ? err : watch_pump_early(w);
}

int watch_pump(struct watch *w)
{
	if (w->state == WATCH_OFF) {
		if (!w->pos.is_known && !w->synced_rev && !w->is_list_due && w->want_first_list)
			watch_want_list(w, SYNC_FIRST, 0);
		if (w->is_list_due)
			watch_set_state(w, WATCH_LIST);
	}
	switch (w->state) {
	case WATCH_OFF:
		return watch_pump_create(w);
	case WATCH_LIST:
		return watch_pump_list(w);
	default:
		return 0;
	}
}

/* -- whether the server is of the position's history ------------------------------------------ */

/* What answers are held against: the position, or what it will be when the sinks have processed the
 * listing that was handed over. */
static struct position watch_expected(const struct watch *w)
{
	struct position p = w->pos;

	if (w->synced_rev) {
		position_restart(&p, w->synced_rev, &w->sync_header);
		p.asked_rev = w->asked_synced_rev;
	}
	return p;
}

void watch_note_asked(struct watch *w)
{
	position_note_asked(&w->pos);
	w->asked_synced_rev = w->synced_rev;
}

/*
 * An answer does not fit. The first time it is held for a fault of this server or this connection,
 * which is dropped; when the next one says the same, a full synchronisation is due. The endpoints are
 * dialled in turn, so the next one is another member's wherever another member answers.
 */
static void watch_suspect(struct watch *w, enum position_fit fit, const struct etcd_header *header)
{
	struct agent *a = w->agent;

	if (w->suspect == fit && w->suspect_conn != a->conn_count) {
		log_warn("watch %s: %s: position %" PRId64 " (cluster %" PRIu64
			 ", raft term %" PRIu64 "), the server says revision %" PRId64
			 " (cluster %" PRIu64 ", raft term %" PRIu64 "): full synchronisation",
			w->name,
			fit == POSITION_OTHER_CLUSTER
				? "it is another cluster"
				: "the cluster is behind, restored from a backup",
			w->pos.rev, w->pos.cluster_id, w->pos.raft_term, header->revision,
			header->cluster_id, header->raft_term);
		w->suspect = POSITION_FITS;
		watch_want_list(w, fit == POSITION_OTHER_CLUSTER ? SYNC_CLUSTER : SYNC_ROLLBACK, 0);
		return;
	}
	w->suspect = fit;
	w->suspect_conn = a->conn_count;
	agent_drop(a, ERR_STATUS,
		fit == POSITION_OTHER_CLUSTER ? "cluster id %" PRIu64 " at revision %" PRId64
						" is not the position's; asking again"
					      : "raft term %" PRIu64 " and revision %" PRId64
						" are behind the position; asking again",
		fit == POSITION_OTHER_CLUSTER ? header->cluster_id : header->raft_term,
		header->revision);
}

bool watch_probed(struct watch *w, const struct etcd_header *header)
{
	const struct position expected = watch_expected(w);
	enum position_fit fit = position_judge(&expected, header);

	if (w->is_list_due)
		return true;
	if (fit != POSITION_FITS) {
		watch_suspect(w, fit, header);
		return w->is_list_due;
	}
	w->suspect = POSITION_FITS;
	w->is_checked = true;
	if (has_lived_long(w))
		watch_prove(w);
	position_note_probe(&w->pos, w->agent->loop->now_ms, header);
	if (w->pos.dirt != POSITION_CLEAN)
		keeper_touch(&w->agent->keeper, &w->entry);
	return true;
}

void watch_denied(struct watch *w, const char *why)
{
	w->is_denied = true;
	/* A watch that runs goes on: etcd checks permissions only when it is created. */
	if (w->state == WATCH_OFF && is_proof_needed(w) && !w->is_checked)
		watch_pause(w, true, why);
}

/* -- the stream ------------------------------------------------------------------------------- */

int watch_answer_begin(struct watch *w, const struct etcd_answer *answer)
{
	const struct position expected = watch_expected(w);
	enum position_fit fit = position_judge_cluster(&expected, &answer->header);

	if (fit == POSITION_FITS)
		return 0;
	watch_suspect(w, fit, &answer->header);
	if (w->is_list_due) {
		if (w->agent->creating == w)
			w->agent->creating = NULL;
		watch_set_state(w, WATCH_OFF);
		w->agent->is_stream_stale = true;
		agent_wake(w->agent);
	}
	return ERR_AGAIN; /* nothing more is wanted of this stream */
}

static void watch_created(struct watch *w, const struct etcd_answer *answer)
{
	/* Its raft term may be an isolated member's own: only a linearizable answer tells one, as the
	 * probe before it did. */
	const struct etcd_header header = {.cluster_id = answer->header.cluster_id,
		.revision = answer->header.revision,
		.raft_term = w->pos.raft_term,
		.is_present = answer->header.is_present};
	struct agent *a = w->agent;

	if (answer->watch_id < 0 || agent_has_id(a, answer->watch_id)) {
		agent_drop(a, ERR_PROTO, "watch id %" PRId64 " cannot be", answer->watch_id);
		return;
	}
	a->creating = NULL;
	w->id = answer->watch_id;
	w->live_since_ms = a->loop->now_ms;
	w->is_synced = true;
	w->was_relogged = false;
	watch_set_state(w, WATCH_LIVE);
	/* What was quiet before the watch was there does not count. */
	position_connected(&w->pos, a->loop->now_ms);
	position_note_header(&w->pos, &answer->header);
	if (!w->pos.is_known && !w->synced_rev && answer->header.revision > 0) {
		position_restart(&w->pos, header.revision, &header);
		feed_set_closed(&w->feed, w->pos.rev);
		watch_touch(w);
		log_info("watch %s: starts after revision %" PRId64, w->name, w->pos.rev);
	}
	/* Behind a listing it must first survive: compaction may have been faster. */
	if (!w->was_listed)
		watch_end_trouble(w);
	agent_proved(a);
}

static void watch_compacted(struct watch *w, int64_t compact_rev)
{
	struct agent *a = w->agent;
	char why[128];

	snprintf(why, sizeof(why),
		"what came after revision %" PRId64 " has been compacted (compact revision %" PRId64
		")",
		w->pos.is_known ? w->pos.rev : w->feed.closed_rev, compact_rev);
	/* Compaction was faster than the last listing. */
	if (w->was_listed)
		lister_note_overtaken(&a->lister);
	watch_want_list(w, SYNC_COMPACTED, compact_rev);
	if (w->was_listed) {
		watch_pause(w, false, why);
		return;
	}
	log_info("watch %s: %s: full synchronisation", w->name, why);
	watch_set_state(w, WATCH_OFF);
}

/* etcd gives the text of a Go error, "rpc error: code = X desc = Y": Y is what a person needs. */
static void reason_show(char *dst, size_t cap, const struct etcd_answer *answer)
{
	static const char mark[] = " desc = ";
	size_t at = 0, len = sizeof(mark) - 1;

	for (size_t i = 0; !at && i + len <= answer->reason_len; i++) {
		if (memcmp(answer->reason + i, mark, len) == 0)
			at = i + len;
	}
	log_show(dst, cap, answer->reason + at, answer->reason_len - at);
}

static void watch_canceled(struct watch *w, const struct etcd_answer *answer)
{
	struct agent *a = w->agent;
	char shown[LOG_SHOW_MAX];
	enum etcd_verdict verdict = ETCD_VERDICT_COMPACTED;

	if (a->creating == w)
		a->creating = NULL;
	reason_show(shown, sizeof(shown), answer);
	if (answer->compact_rev <= 0)
		verdict =
			etcd_reason_verdict(answer->reason, answer->reason_len, agent_has_user(a));
	/* A login that is no longer good looks like a missing permission to servers before 3.4.22
	 * and 3.5.6. */
	if (verdict == ETCD_VERDICT_DENIED && agent_has_user(a) && !w->was_relogged) {
		w->was_relogged = true;
		verdict = ETCD_VERDICT_LOGIN;
	}
	switch (verdict) {
	case ETCD_VERDICT_COMPACTED:
		watch_compacted(w, answer->compact_rev);
		break;
	case ETCD_VERDICT_LOGIN:
		watch_set_state(w, WATCH_OFF);
		agent_relogin(a, true, shown);
		break;
	case ETCD_VERDICT_DENIED:
	case ETCD_VERDICT_REFUSED:
		watch_pause(w, true, shown);
		break;
	default:
		watch_pause(w, false, *shown ? shown : "cancelled by the server without a reason");
		break;
	}
	agent_watch_gone(a);
}

int watch_answer_end(struct watch *w, const struct etcd_answer *answer)
{
	bool is_progress = !answer->event_count && !answer->is_created && !answer->is_canceled &&
			   !answer->is_fragment && !answer->compact_rev;
	int err = 0;

	if (answer->is_canceled) {
		watch_canceled(w, answer);
		return 0;
	}
	if (answer->is_created) {
		watch_created(w, answer);
		return 0;
	}
	if (is_progress && answer->header.revision > 0)
		err = feed_progress(&w->feed, answer->header.revision);
	if (err)
		return err;
	if (answer->event_count) {
		if (!answer->is_fragment)
			feed_close(&w->feed);
		watch_prove(w);
		backoff_start_over(&w->backoff);
	} else if (is_progress) {
		watch_prove(w);
	}
	watch_update(w);
	return 0;
}

int watch_event(struct watch *w, const struct etcd_event *e)
{
	struct agent *a = w->agent;
	int err = feed_event(&w->feed, e);

	if (err != ERR_HISTORY)
		return err;
	/* Half of an event was given to a sink, and the server does not tell it again: the first time
	 * another connection is asked, the second time everything. */
	if (!w->is_history_doubtful || w->suspect_conn == a->conn_count) {
		w->is_history_doubtful = true;
		w->suspect_conn = a->conn_count;
		return err;
	}
	log_warn("watch %s: an event that had begun does not come again: full synchronisation",
		w->name);
	watch_want_list(w, SYNC_ROLLBACK, 0);
	watch_set_state(w, WATCH_OFF);
	a->is_stream_stale = true;
	agent_wake(a);
	return ERR_AGAIN;
}

/* -- the listing ------------------------------------------------------------------------------ */

int watch_list_begin(struct watch *w, int64_t rev, const struct etcd_header *header)
{
	int err;

	w->sync.revision = rev;
	w->sync_header = *header;
	w->is_checked = true; /* a listing is linearizable */
	err = feed_list_begin(&w->feed, &w->sync);
	if (err)
		return err;
	log_info("watch %s: full synchronisation (%s) as of revision %" PRId64, w->name,
		sync_reason_name(w->sync.reason), rev);
	w->synced_rev = 0;
	position_forget(&w->pos);
	agent_wake(w->agent);
	return 0;
}

void watch_listed(struct watch *w)
{
	struct agent *a = w->agent;

	w->is_list_due = false;
	w->was_listed = true;
	w->synced_rev = w->sync.revision;
	w->syncs++;
	w->last_reason = w->sync.reason;
	if (a->is_held) {
		a->is_held = false;
		watch_set_state(w, WATCH_CREATE);
		loop_timer_set(a->loop, &w->timer, a->cfg.session.command_timeout_ms);
	} else {
		watch_set_state(w, WATCH_OFF);
	}
	watch_update(w);
}

void watch_list_failed(struct watch *w, const struct grpc_status *st)
{
	struct agent *a = w->agent;
	char shown[LOG_SHOW_MAX + 32];
	enum etcd_verdict verdict = etcd_status_verdict(st, agent_has_user(a));

	if (w->feed.is_listing)
		feed_list_abort(&w->feed);
	/* What was opened early belongs to this listing. */
	if (a->is_held) {
		a->is_held = false;
		a->is_stream_stale = true;
		a->creating = NULL;
	}
	watch_set_state(w, WATCH_OFF);
	etcd_status_show(shown, sizeof(shown), st);
	switch (verdict) {
	case ETCD_VERDICT_COMPACTED:
		lister_note_overtaken(&a->lister);
		watch_pause(w, false, "compaction overtook the listing");
		break;
	case ETCD_VERDICT_LOGIN:
		agent_relogin(a, true, shown);
		break;
	case ETCD_VERDICT_DENIED:
	case ETCD_VERDICT_REFUSED:
		watch_pause(w, true, shown);
		break;
	case ETCD_VERDICT_SLOWER:
		watch_pause(w, false, shown);
		break;
	default:
		agent_drop(a, ERR_STATUS, "listing: %s", shown);
		break;
	}
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
		log_info("watch %s: synchronised, position %" PRId64, w->name, w->pos.rev);
		keeper_save(k, &w->entry);
		return;
	}
	if (!w->pos.is_known) {
		/* A server whose headers tell no revision. */
		if (w->state != WATCH_LIVE || !done_rev)
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
	feed_advance(&w->feed, w->pos.rev);
	keeper_touch(&a->keeper, &w->entry);
}
