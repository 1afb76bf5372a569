/* SPDX-License-Identifier: Apache-2.0 */
/* What a server says to one watch: on the stream, in a listing, and whether it is of the position's history. */
#include "sync/agent.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "base/log.h"

/* -- whether the server is of the position's history ------------------------------------------ */

/* What answers are held against: the position, or what it will be when the sinks have processed the
 * listing that was handed over, in mem. */
static const struct position *watch_expected(const struct watch *w, struct position *mem)
{
	if (!w->synced_rev)
		return &w->pos;
	*mem = w->pos;
	position_restart(mem, w->synced_rev, &w->sync_header);
	mem->asked_rev = w->asked_synced_rev;
	return mem;
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
	struct position mem;
	enum position_fit fit = position_judge(watch_expected(w, &mem), header);

	if (w->is_list_due || w->state == WATCH_GONE)
		return true;
	if (fit != POSITION_FITS) {
		watch_suspect(w, fit, header);
		return w->is_list_due;
	}
	w->suspect = POSITION_FITS;
	w->is_checked = true;
	if (watch_has_lived_long(w))
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
	if (w->state == WATCH_OFF && watch_needs_proof(w) && !w->is_checked)
		watch_pause(w, true, why);
}

/* -- the stream ------------------------------------------------------------------------------- */

int watch_answer_begin(struct watch *w, const struct etcd_answer *answer)
{
	struct position mem;
	enum position_fit fit = position_judge_cluster(watch_expected(w, &mem), &answer->header);

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
	if (!w->pos.is_known && !w->synced_rev && !w->is_list_due && answer->header.revision > 0) {
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

/*
 * Half of an event was given to a sink, and the server does not tell it again: the first time another
 * connection is asked, the second time everything.
 */
static int watch_miss_event(struct watch *w)
{
	struct agent *a = w->agent;

	if (!w->is_history_doubtful || w->suspect_conn == a->conn_count) {
		w->is_history_doubtful = true;
		w->suspect_conn = a->conn_count;
		return ERR_HISTORY;
	}
	log_warn("watch %s: an event that had begun does not come again: full synchronisation",
		w->name);
	watch_want_list(w, SYNC_ROLLBACK, 0);
	watch_set_state(w, WATCH_OFF);
	a->is_stream_stale = true;
	agent_wake(a);
	return ERR_AGAIN;
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
		return err == ERR_HISTORY ? watch_miss_event(w) : err;
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
	int err;

	/* The feed knows better than the position what was handed over: it is delivered all the same. */
	if (w->pos.is_known && e->mod_rev <= w->pos.rev && e->mod_rev > w->feed.closed_rev)
		log_warn_limited("watch %s: revision %" PRId64
				 " comes after the idle rule has moved the position to %" PRId64
				 ": the server is slower than probe-interval",
			w->name, e->mod_rev, w->pos.rev);
	err = feed_event(&w->feed, e);
	w->event_ms = w->agent->loop->now_ms;
	return err == ERR_HISTORY ? watch_miss_event(w) : err;
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
	log_debug("watch %s: is listed (%s) as of revision %" PRId64, w->name,
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
