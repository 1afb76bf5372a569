/* SPDX-License-Identifier: Apache-2.0 */
/* What one watch asks a server for when it is its turn: to be listed, created or cancelled; or nothing, while none of its
 * sinks would take it. */
#include "sync/agent.h"

#include <inttypes.h>

#include "base/err.h"
#include "base/log.h"

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

	if (a->creating || a->is_orphan_due || a->is_held || a->is_stream_stale)
		return 0;
	/* Where the server allows one stream only, listings come first: they need it too. */
	if (grpc_channel_max_calls(&a->session.channel) < 2 && agent_has_list_due(a) &&
		!feed_is_mid_event(&w->feed))
		return 0;
	if (watch_needs_proof(w) && !w->is_checked)
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
		a->is_orphan_due || a->is_stream_stale || !a->session.is_version_settled ||
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

	if (a->listing ? a->listing != w : !feed_is_ready(&w->feed))
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

/* Leaves the stream, which others may go on with. */
static void watch_detach(struct watch *w, enum watch_state state)
{
	if (w->state == WATCH_LIVE)
		w->cancel_id = w->id;
	agent_detach(w->agent, w);
	watch_set_state(w, state);
	feed_restart(&w->feed);
}

static void watch_leave_park(struct watch *w)
{
	watch_set_state(w, WATCH_OFF);
	/* Its key may have been denied meanwhile, which a watch that is parked takes no note of. */
	w->is_denied = false;
	if (!w->is_checked)
		w->agent->is_probe_due = true;
	agent_wake(w->agent);
}

/* Its sinks: whether they are worth a watch. */
static void watch_pump_sinks(struct watch *w)
{
	struct feed *f = &w->feed;

	if (w->state != WATCH_LIVE && w->state != WATCH_OFF && w->state != WATCH_PARK)
		return;
	if (w->state == WATCH_LIVE && w->is_list_due)
		watch_detach(w, WATCH_OFF);
	/* What the others are in the middle of would come once more from its beginning, and never to its end
	 * if it is long and this one wakes often. */
	if (feed_can_catch_up(f) && !(w->state == WATCH_LIVE && feed_is_mid_event(f))) {
		if (w->state == WATCH_LIVE)
			watch_detach(w, WATCH_OFF);
		feed_catch_up(f);
	}
	/* A listing is for all of them. */
	if (w->is_list_due || !feed_is_parked(f)) {
		if (w->state == WATCH_PARK)
			watch_leave_park(w);
		return;
	}
	if (w->state != WATCH_PARK)
		watch_detach(w, WATCH_PARK);
}

static int watch_pump_cancel(struct watch *w)
{
	int err;

	if (w->cancel_id < 0)
		return 0;
	err = etcd_reader_cancel(&w->agent->stream, w->cancel_id);
	if (err == ERR_AGAIN)
		return err;
	w->cancel_id = -1;
	return 0;
}

int watch_pump(struct watch *w)
{
	int err;

	if (w->agent->current != w)
		watch_leave_now(w);
	watch_pump_sinks(w);
	err = watch_pump_cancel(w);
	if (err)
		return err;
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
