/* SPDX-License-Identifier: Apache-2.0 */
#include "test/sim/worker.h"

#include <inttypes.h>
#include <string.h>

#include "base/err.h"
#include "port/sim/sim.h"
#include "sync/agent.h"
#include "test/sim/model.h"
#include "test/sim/verdict.h"

static struct worker *worker_of(struct sink *s)
{
	return (struct worker *)s;
}

static const struct hist_event *next_of(const struct worker *w, const struct worker_cursor *c)
{
	return history_next(&model.histories[w->history], c->rev, c->index, w->from, w->to);
}

/* Out of order for a while. */
static int go_down(struct worker *w)
{
	static const int codes[] = {ERR_NOSPACE, ERR_IO, ERR_READONLY, ERR_BUSY, ERR_AGAIN};

	w->is_down = true;
	loop_timer_set(w->loop, &w->timer, sim_between(0, sim_chance(300) ? 20000 : 300));
	return codes[sim_random(sizeof(codes) / sizeof(codes[0]))];
}

/* 0, or why the call is not taken. */
static int refuse(struct worker *w)
{
	if (w->held_err)
		return w->held_err;
	if (w->is_down)
		return ERR_NOSPACE;
	if (w->is_working)
		return ERR_BUSY;
	return sim_chance(w->trouble / 4) ? go_down(w) : 0;
}

static void finish(struct worker *w)
{
	w->is_working = w->has_batch = false;
	w->sink.done_rev = w->work_rev;
	w->processed = (struct worker_cursor){.rev = w->work_rev, .index = UINT16_MAX};
}

static void on_timer(struct loop_timer *timer)
{
	struct worker *w = timer->user;

	w->is_down = false;
	if (w->is_working)
		finish(w);
	w->sink.wake(&w->sink);
}

/* -- what it is given ------------------------------------------------------------------------- */

static int on_sync_begin(struct sink *s, const struct sink_sync *sync)
{
	struct worker *w = worker_of(s);
	int err = refuse(w);

	if (err)
		return err;
	w->is_listing = true;
	w->is_in_event = w->has_batch = false;
	w->list_rev = sync->revision;
	w->listed = 0;
	return 0;
}

static bool is_before(const struct worker_cursor *c, const struct hist_event *e)
{
	return c->rev != e->rev ? c->rev < e->rev : c->index < e->index;
}

static void judge_event(struct worker *w, const struct etcd_event *e)
{
	const struct hist_event *want;

	if (w->history < 0) {
		w->history = model_history_of(w->watch->pos.cluster_id, w->watch->pos.raft_term);
		if (w->history < 0)
			w->history = model.current;
		w->at = w->processed =
			(struct worker_cursor){.rev = w->watch->pos.rev, .index = UINT16_MAX};
	}
	want = next_of(w, &w->at);
	if (want)
		w->event = (struct worker_cursor){.rev = want->rev, .index = want->index};
	if (!want || want->rev != e->mod_rev || want->key != history_key_from(e->key, e->key_len) ||
		want->is_delete != (e->type == ETCD_EVENT_DELETE) ||
		want->value_len != e->value_len)
		verdict_fail("%s gets revision %" PRId64 " behind %" PRId64
			     " (event %d), due is %" PRId64,
			w->sink.name, e->mod_rev, w->at.rev, w->at.index, want ? want->rev : -1);
	else if (w->keeper && w->keeper->history == w->history &&
		 is_before(w->keeper->is_in_event ? &w->keeper->event : &w->keeper->at, want))
		verdict_fail("%s gets revision %" PRId64 " before its keeper, which is at %" PRId64,
			w->sink.name, want->rev, w->keeper->at.rev);
}

static int on_event(struct sink *s, const struct etcd_event *e)
{
	struct worker *w = worker_of(s);
	int err = refuse(w);

	if (err)
		return err;
	if (w->is_in_event)
		verdict_fail("%s gets an event within an event", s->name);
	if (w->is_listing != e->is_listed)
		verdict_fail("%s gets revision %" PRId64 " %s a listing", s->name, e->mod_rev,
			w->is_listing ? "within" : "without");
	if (w->is_listing) {
		if (w->listed == HISTORY_ZONE) {
			verdict_fail("%s gets more keys than there are", s->name);
			return 0;
		}
		w->list[w->listed].key = history_key_from(e->key, e->key_len);
		w->list[w->listed].rev = e->mod_rev;
	} else {
		judge_event(w, e);
	}
	w->is_in_event = true;
	w->value_got = 0;
	return 0;
}

static ssize_t on_value(struct sink *s, const struct etcd_event *e, enum etcd_value which,
	const uint8_t *p, size_t len)
{
	struct worker *w = worker_of(s);
	int err = refuse(w);
	size_t n = len;

	(void)e;
	(void)p;
	if (err)
		return err;
	if (sim_chance(w->trouble))
		n = 1 + sim_random((uint32_t)len);
	if (n < len && n) {
		w->is_down = true;
		loop_timer_set(w->loop, &w->timer, sim_between(0, 400));
	}
	if (which == ETCD_VALUE)
		w->value_got += n;
	return (ssize_t)n;
}

static int on_event_end(struct sink *s, const struct etcd_event *e)
{
	struct worker *w = worker_of(s);
	int err = refuse(w);

	if (err)
		return err;
	if (!w->is_in_event || w->value_got != e->value_len)
		verdict_fail("%s has %llu of %llu bytes of a value at revision %" PRId64, s->name,
			(unsigned long long)w->value_got, (unsigned long long)e->value_len,
			e->mod_rev);
	w->is_in_event = false;
	w->has_batch = true;
	if (w->is_listing)
		w->listed++;
	else
		w->at = w->event;
	return 0;
}

static int on_synced(struct sink *s, int64_t revision)
{
	struct worker *w = worker_of(s);
	int err = refuse(w), history;
	const struct etcd_header *header = &w->watch->sync_header;
	size_t n = 0;

	if (err)
		return err;
	history = model_history_of(header->cluster_id, header->raft_term);
	if (history < 0 || !w->is_listing || revision != w->list_rev) {
		verdict_fail("%s: a listing ends that is none", s->name);
		return 0;
	}
	for (uint16_t key = w->from; key < w->to; key++) {
		const struct hist_event *e = history_at(&model.histories[history], key, revision);

		if (!e)
			continue;
		if (n >= w->listed || w->list[n].key != key || w->list[n].rev != e->rev) {
			verdict_fail("%s: the listing as of %" PRId64 " lacks key %d", s->name,
				revision, key);
			return 0;
		}
		n++;
	}
	if (n != w->listed)
		verdict_fail("%s: a listing with keys that are not there", s->name);
	w->is_listing = false;
	w->has_batch = true;
	w->history = history;
	w->at = (struct worker_cursor){.rev = revision, .index = UINT16_MAX};
	w->processed = (struct worker_cursor){.rev = -1};
	return 0;
}

static int on_progress(struct sink *s, int64_t revision)
{
	(void)revision;
	return refuse(worker_of(s));
}

static void on_commit(struct sink *s, int64_t revision)
{
	struct worker *w = worker_of(s);

	if (w->is_in_event || w->is_listing || w->is_working)
		verdict_fail("%s is told of the end of revision %" PRId64 " too early", s->name,
			revision);
	w->work_rev = revision;
	if (w->at.rev < revision)
		w->at = (struct worker_cursor){.rev = revision, .index = UINT16_MAX};
	if (w->has_batch && !w->sink.is_keeper && w->trouble) {
		w->is_working = true;
		loop_timer_set(
			w->loop, &w->timer, sim_between(0, sim_chance(w->trouble) ? 60000 : 500));
		return;
	}
	finish(w);
}

static bool on_is_ready(struct sink *s)
{
	const struct worker *w = worker_of(s);

	return !w->is_working && !w->is_down && !w->is_unready;
}

static int on_settle(struct sink *s)
{
	struct worker *w = worker_of(s);

	w->is_unsettled = sim_chance(w->trouble / 4);
	return w->is_unsettled ? ERR_IO : 0;
}

static void on_stop(struct sink *s, int64_t timeout_ms)
{
	struct worker *w = worker_of(s);

	(void)timeout_ms;
	loop_timer_clear(w->loop, &w->timer);
	s->is_stopped = true;
}

static void on_retry(struct sink *s)
{
	struct worker *w = worker_of(s);

	if (w->is_down)
		loop_timer_set(w->loop, &w->timer, 0);
}

static const struct sink_ops worker_ops = {
	.sync_begin = on_sync_begin,
	.event = on_event,
	.value = on_value,
	.event_end = on_event_end,
	.synced = on_synced,
	.progress = on_progress,
	.commit = on_commit,
	.is_ready = on_is_ready,
	.settle = on_settle,
	.stop = on_stop,
	.retry = on_retry,
};

void worker_init(struct worker *w, struct loop *loop, const struct watch *watch,
	const struct worker *keeper, bool is_keeper, uint16_t from, uint32_t trouble)
{
	*w = (struct worker){
		.sink = {.ops = &worker_ops,
			.name = is_keeper ? "keeper" : "follower",
			.is_keeper = is_keeper,
			.is_follower = !is_keeper},
		.loop = loop,
		.watch = watch,
		.keeper = keeper,
		.from = from,
		.to = (uint16_t)(from + HISTORY_ZONE),
		.trouble = trouble,
		.history = -1,
		.timer = {.fn = on_timer, .user = w},
	};
}

void worker_started(struct worker *w)
{
	const struct position *p = &w->watch->pos;

	if (!p->is_known || p->is_given)
		return;
	w->history = model_history_of(p->cluster_id, p->raft_term);
	w->at = w->processed = (struct worker_cursor){.rev = p->rev, .index = UINT16_MAX};
}

void worker_turned(struct worker *w)
{
	const struct position *p = &w->watch->pos;
	const struct hist_event *e;

	if (w->history < 0 || !p->is_known || w->is_listing)
		return;
	e = w->processed.rev < 0 ? NULL : next_of(w, &w->processed);
	if (w->processed.rev < 0 || (e && e->rev <= p->rev))
		verdict_fail("position %" PRId64 ", and %s has processed %" PRId64, p->rev,
			w->sink.name, w->processed.rev);
}

void worker_hold(struct worker *w, int err)
{
	w->held_err = err;
	if (!err)
		w->sink.wake(&w->sink);
}

void worker_calm(struct worker *w)
{
	w->trouble = 0;
}

bool worker_is_caught_up(const struct worker *w)
{
	return w->history < 0 || (!w->is_working && !w->is_listing && !next_of(w, &w->at));
}
