/* SPDX-License-Identifier: Apache-2.0 */
/* The agent's watches, while it runs: they come and go, their sinks wake, and its settings change. */
#include "sync/agent.h"

#include <string.h>

#include "base/err.h"

static void on_sink_wake(struct sink *s)
{
	struct watch *w = s->user;
	struct agent *a = w->agent;

	watch_note_wake(w, s);
	if (a->is_stopping) {
		agent_check_stopped(a);
		return;
	}
	if (w->state == WATCH_GONE) {
		if (watch_has_ended(w))
			loop_timer_set(a->loop, &w->timer, 0);
		return;
	}
	if (a->stream.is_blocked && !a->is_held)
		agent_resume_stream(a);
	if (a->lister.reader.is_blocked)
		lister_resume(&a->lister);
	agent_wake(a);
}

static void on_sink_fail(struct sink *s, int err)
{
	struct watch *w = s->user;

	if (err == ERR_PIPE && w->state != WATCH_GONE) {
		w->agent->stop_err = err;
		agent_stop(w->agent, 0);
	}
}

static void on_sink_relist(struct sink *s)
{
	struct watch *w = s->user;

	if (!w->agent->is_stopping && w->state != WATCH_GONE)
		watch_relist(w);
}

static void on_sink_skip(struct sink *s, const struct etcd_event *e)
{
	struct watch *w = s->user;

	feed_note_unmappable(&w->feed, e);
}

/* What w has processed is saved, and its name may be another's. */
static void agent_release_name(struct agent *a, struct watch *w)
{
	if (w->is_released)
		return;
	watch_update(w);
	keeper_remove(&a->keeper, &w->entry);
	w->is_released = true;
}

int agent_add_watch(struct agent *a, struct watch *w, struct sink *const *sinks, size_t n)
{
	struct watch **last = &a->watches;

	watch_init(w, a);
	for (size_t i = 0; i < n; i++) {
		int err = feed_add_sink(&w->feed, sinks[i]);

		if (err)
			return err;
		sinks[i]->wake = on_sink_wake;
		sinks[i]->fail = on_sink_fail;
		sinks[i]->relist = on_sink_relist;
		sinks[i]->skip = on_sink_skip;
		sinks[i]->user = w;
	}
	while (*last)
		last = &(*last)->next;
	/* One of this name may not have ended yet. */
	for (struct watch *o = a->watches; o; o = o->next) {
		if (strcmp(o->name, w->name) != 0)
			continue;
		watch_leave_now(o);
		if (o->state == WATCH_GONE)
			agent_release_name(a, o);
	}
	*last = w;
	w->next = NULL;
	w->is_released = false;
	w->entry.name = w->name;
	w->entry.pos = &w->pos;
	watch_load(w);
	if (a->session.state == ETCD_SESSION_READY) {
		watch_connected(w);
		a->is_probe_due = true;
		agent_wake(a);
	}
	return 0;
}

void agent_remove_watch(struct agent *a, struct watch *w, int64_t timeout_ms)
{
	/* At a stop all watches end. */
	if (a->is_stopping || w->state == WATCH_GONE || w->is_leaving)
		return;
	if (a->current != w || a->stream.is_blocked) {
		watch_leave(w, timeout_ms);
		return;
	}
	/* An answer is coming in: at its end nothing of it is half done, and nothing comes twice. */
	w->is_leaving = true;
	w->leave_timeout_ms = timeout_ms;
	loop_timer_set(a->loop, &w->leave_timer, AGENT_LEAVE_MS);
}

void agent_watch_ended(struct agent *a, struct watch *w)
{
	struct watch **at = &a->watches;

	agent_release_name(a, w);
	/* The channel was busy all the time. */
	if (w->cancel_id >= 0 && a->orphan_id < 0)
		a->orphan_id = w->cancel_id;
	else if (w->cancel_id >= 0)
		a->is_stream_stale = true;
	agent_wake(a);
	while (*at != w)
		at = &(*at)->next;
	*at = w->next;
	w->next = NULL;
	if (a->removed)
		a->removed(a, w);
}

int agent_forget(struct agent *a, const char *name)
{
	return keeper_forget(&a->keeper, name);
}

/* -- other settings --------------------------------------------------------------------------- */

void agent_set_tls(struct agent *a, struct tls_context *tls)
{
	a->cfg.session.tls = tls;
}

void agent_shuffle(struct agent *a)
{
	for (size_t i = a->cfg.endpoint_count; i > 1; i--) {
		size_t j = agent_random(a) % i;
		struct etcd_endpoint e = a->cfg.endpoints[i - 1];

		a->cfg.endpoints[i - 1] = a->cfg.endpoints[j];
		a->cfg.endpoints[j] = e;
	}
}

static bool is_same_text(const char *a, const char *b)
{
	return a && b ? strcmp(a, b) == 0 : a == b;
}

/* Whether a connection to the present endpoint is still one of those asked for. */
static bool agent_knows_endpoint(const struct agent *a, const struct agent_cfg *cfg)
{
	const struct etcd_endpoint *e = &a->session.endpoint;

	for (size_t i = 0; i < cfg->endpoint_count; i++) {
		const struct etcd_endpoint *other = &cfg->endpoints[i];

		if (!is_same_text(e->host, other->host) || e->port != other->port ||
			e->is_tls != other->is_tls)
			continue;
		return true;
	}
	return false;
}

void agent_set_cfg(struct agent *a, const struct agent_cfg *cfg)
{
	bool is_connected = a->session.state != ETCD_SESSION_CLOSED;
	bool is_other = !agent_knows_endpoint(a, cfg) ||
			!is_same_text(a->cfg.session.user, cfg->session.user);
	struct keeper_cfg kept = a->cfg.keeper;

	kept.interval_ms = cfg->keeper.interval_ms;
	kept.quiet_interval_ms = cfg->keeper.quiet_interval_ms;
	if (is_same_text(kept.path, cfg->keeper.path))
		kept.path = cfg->keeper.path; /* the old text may be gone soon */
	a->cfg = *cfg;
	a->cfg.keeper = a->keeper.cfg = kept;
	agent_shuffle(a);
	backoff_set(&a->backoff, cfg->backoff_min_ms, cfg->backoff_max_ms,
		(uint32_t)cfg->endpoint_count);
	a->trouble.min_gap_ms = cfg->backoff_max_ms;
	for (struct watch *w = a->watches; w; w = w->next)
		watch_set_times(w);
	if (a->probe_timer.is_set &&
		a->probe_timer.due_ms > a->loop->now_ms + cfg->probe_interval_ms)
		loop_timer_set(a->loop, &a->probe_timer, cfg->probe_interval_ms);
	/* What was wrong with the old ones may be right now. */
	if (is_other)
		backoff_start_over(&a->backoff);
	if (is_other && is_connected)
		agent_drop(a, ERR_CLOSED, "the configuration has changed");
	else if (a->connect_timer.is_set)
		loop_timer_set(a->loop, &a->connect_timer, 0);
	agent_wake(a);
}
