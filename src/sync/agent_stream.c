/* SPDX-License-Identifier: Apache-2.0 */
/* The agent's streams: what comes on them, for whom, and who holds them up. */
#include "sync/agent.h"

#include "base/err.h"
#include "base/log.h"

enum {
	AGENT_HOLD_MS = 200, /* a sink that takes nothing for so long is not waited for by others */
};

void agent_close_stream(struct agent *a)
{
	etcd_reader_close(&a->stream);
	a->is_stream_stale = a->is_held = a->is_orphan_due = false;
	a->orphan_id = -1;
	a->creating = NULL;
	a->current = NULL;
	for (struct watch *w = a->watches; w; w = w->next)
		watch_stream_closed(w);
}

void agent_watch_gone(struct agent *a)
{
	for (struct watch *w = a->watches; w; w = w->next) {
		if (w->state == WATCH_LIVE || w->state == WATCH_CREATE)
			return;
	}
	a->is_stream_stale = true;
	agent_wake(a);
}

/* What waits behind that which was held up, here and at the server, comes only now, to whichever watch
 * it belongs: the quiet time of all begins anew. */
void agent_resume_stream(struct agent *a)
{
	for (struct watch *w = a->watches; w; w = w->next)
		position_note_event(&w->pos, a->loop->now_ms);
	etcd_reader_resume(&a->stream);
}

/* An answer to a watch request of which the watch was taken out. */
static void agent_take_orphan(struct agent *a, const struct etcd_answer *answer)
{
	a->is_orphan_due = false;
	if (!answer->is_canceled)
		a->orphan_id = answer->watch_id;
	agent_wake(a);
}

/* The stream was held for a listing that goes on without it, or not at all: what was opened early belongs to it. */
static void agent_release_stream(struct agent *a)
{
	if (!a->is_held)
		return;
	a->is_held = false;
	a->is_stream_stale = true;
	agent_wake(a);
}

void agent_detach(struct agent *a, struct watch *w)
{
	if (a->listing == w) {
		lister_stop(&a->lister);
		a->listing = NULL;
		a->is_listed = false;
		agent_release_stream(a);
	}
	if (w->feed.is_listing)
		feed_list_abort(&w->feed);
	if (a->creating == w) {
		a->creating = NULL;
		a->is_orphan_due = true;
	}
	if (a->current == w)
		a->current = NULL;
	if (a->probing == w)
		a->probing = NULL;
	agent_wake(a);
}

/* -- who is held up, and by whom -------------------------------------------------------------- */

/* Whether the feed has not moved since it was looked at last. */
static bool agent_hold_is_stuck(struct agent_hold *h, const struct feed *f)
{
	bool is_stuck = f && h->feed == f && h->steps == f->steps;

	h->feed = f;
	h->steps = f ? f->steps : 0;
	return is_stuck;
}

/* What holds up the stream, if anybody waits for it. */
static struct feed *agent_stream_holder(struct agent *a)
{
	struct feed *f = a->current ? &a->current->feed : NULL;

	if (!f || !a->stream.is_blocked || a->is_held)
		return NULL;
	return a->watches->next || feed_has_others(f) || feed_can_catch_up(f) ? f : NULL;
}

/* Whether another watch waits for the lister, or for the stream that goes on behind the listing. */
static bool agent_is_list_waited_for(const struct agent *a)
{
	bool is_alone = grpc_channel_max_calls(&a->session.channel) < 2;

	for (const struct watch *w = a->watches; w; w = w->next) {
		if (w == a->listing)
			continue;
		if (w->state == WATCH_LIST || (w->state == WATCH_OFF && is_alone) || a->is_held)
			return true;
	}
	return false;
}

/* What holds up the listing, if anybody waits for it. */
static struct feed *agent_list_holder(struct agent *a)
{
	bool is_blocked = a->lister.reader.is_blocked || a->is_listed;

	return a->listing && is_blocked && agent_is_list_waited_for(a) ? &a->listing->feed : NULL;
}

/* The stream: whoever waits for a sink of one watch goes on without it. */
static void agent_check_stream_hold(struct agent *a)
{
	struct feed *f = agent_stream_holder(a);

	if (!agent_hold_is_stuck(&a->stream_hold, f))
		return;
	feed_leave_blocked(f);
	a->stream_hold.feed = NULL;
	agent_resume_stream(a);
	agent_wake(a);
}

/* The lister: one watch at a time is listed. A sink that is at work is waited for, but not by those who wait for the
 * stream. */
static void agent_check_list_hold(struct agent *a)
{
	if (!agent_hold_is_stuck(&a->list_hold, agent_list_holder(a)))
		return;
	if (a->is_held) {
		a->listing->was_listed = false; /* not opened early again */
		agent_release_stream(a);
	} else if (a->listing->feed.blocked_err != ERR_BUSY) {
		watch_list_held(a->listing);
	}
}

void agent_arm_hold(struct agent *a)
{
	struct feed *stream = agent_stream_holder(a), *list = agent_list_holder(a);

	if (a->hold_timer.is_set || (!stream && !list))
		return;
	(void)agent_hold_is_stuck(&a->stream_hold, stream);
	(void)agent_hold_is_stuck(&a->list_hold, list);
	loop_timer_set(a->loop, &a->hold_timer, AGENT_HOLD_MS);
}

static void on_hold_timer(struct loop_timer *timer)
{
	struct agent *a = timer->user;

	agent_check_stream_hold(a);
	agent_check_list_hold(a);
	agent_arm_hold(a);
}

/* err: what a feed has answered. Returns it. */
static ssize_t agent_note_held(struct agent *a, ssize_t err)
{
	if (err == ERR_AGAIN && !a->hold_timer.is_set)
		agent_wake(a); /* which looks whether anybody waits */
	return err;
}

/* -- what comes on the stream ----------------------------------------------------------------- */

static struct agent *agent_of_stream(void *reader)
{
	return ((struct etcd_reader *)reader)->user;
}

static struct watch *agent_find_watch(struct agent *a, const struct etcd_answer *answer)
{
	/* A watch that was refused has no id of its own, and may be told that of another. */
	if (answer->is_created)
		return a->creating;
	for (struct watch *w = a->watches; w; w = w->next) {
		if (w->state == WATCH_LIVE && w->id == answer->watch_id)
			return w;
	}
	/* Some servers leave "created" out when they refuse. */
	if (answer->is_canceled && answer->watch_id < 0)
		return a->creating;
	return NULL;
}

static int on_stream_begin(void *user, const struct etcd_answer *answer)
{
	struct agent *a = agent_of_stream(user);

	if (a->is_held || a->is_stream_stale || a->is_stopping)
		return ERR_AGAIN;
	if (a->is_orphan_due &&
		(answer->is_created || (answer->is_canceled && answer->watch_id < 0))) {
		agent_take_orphan(a, answer);
		a->current = NULL;
		return 0;
	}
	a->current = agent_find_watch(a, answer);
	return a->current ? watch_answer_begin(a->current, answer) : 0;
}

static int on_stream_event(void *user, const struct etcd_event *e)
{
	struct agent *a = agent_of_stream(user);

	if (!a->current)
		return 0;
	position_note_event(&a->current->pos, a->loop->now_ms);
	return (int)agent_note_held(a, watch_event(a->current, e));
}

static ssize_t on_stream_value(void *user, enum etcd_value which, const uint8_t *p, size_t len)
{
	struct agent *a = agent_of_stream(user);

	ssize_t n = a->current ? feed_value(&a->current->feed, which, p, len) : (ssize_t)len;

	if (n < (ssize_t)len)
		agent_note_held(a, ERR_AGAIN);
	return n;
}

static int on_stream_event_end(void *user, const struct etcd_event *e)
{
	struct agent *a = agent_of_stream(user);
	struct feed *f = a->current ? &a->current->feed : NULL;
	uint64_t before = f ? f->events : 0;
	int err = f ? feed_event_end(f, e) : 0;

	/* What comes again proves nothing. */
	if (f && f->events != before)
		a->had_event = true;
	return (int)agent_note_held(a, err);
}

static int on_stream_end(void *user, const struct etcd_answer *answer)
{
	struct agent *a = agent_of_stream(user);
	int err = a->current ? watch_answer_end(a->current, answer) : 0;

	if (!err) {
		a->current = NULL;
		agent_wake(a);
	}
	return (int)agent_note_held(a, err);
}

static void on_stream_done(struct etcd_reader *r, const struct grpc_status *st)
{
	struct agent *a = r->user;
	char shown[LOG_SHOW_MAX + 32];

	if (!a->session.channel.is_open)
		return;
	etcd_status_show(shown, sizeof(shown), st);
	if (etcd_status_verdict(st, agent_has_user(a)) == ETCD_VERDICT_LOGIN)
		agent_relogin(a, true, shown);
	else
		agent_drop(a, ERR_STATUS, "the Watch stream ended: %s", shown);
}

static const struct etcd_reader_ops agent_stream_ops = {
	.split =
		{
			.begin = on_stream_begin,
			.event = on_stream_event,
			.value = on_stream_value,
			.event_end = on_stream_event_end,
			.end = on_stream_end,
		},
	.done = on_stream_done,
};

/* -- the listing ------------------------------------------------------------------------------ */

static int on_list_begin(struct lister *l, int64_t rev, const struct etcd_header *header)
{
	struct agent *a = l->user;

	return (int)agent_note_held(a, watch_list_begin(a->listing, rev, header));
}

static int on_list_event(struct lister *l, const struct etcd_event *e)
{
	struct agent *a = l->user;

	return (int)agent_note_held(a, feed_event(&a->listing->feed, e));
}

static ssize_t on_list_value(struct lister *l, enum etcd_value which, const uint8_t *p, size_t len)
{
	struct agent *a = l->user;
	ssize_t n = feed_value(&a->listing->feed, which, p, len);

	if (n < (ssize_t)len)
		agent_note_held(a, ERR_AGAIN);
	return n;
}

static int on_list_event_end(struct lister *l, const struct etcd_event *e)
{
	struct agent *a = l->user;

	return (int)agent_note_held(a, feed_event_end(&a->listing->feed, e));
}

static void on_list_done(struct lister *l, const struct grpc_status *st)
{
	struct agent *a = l->user;
	struct watch *w = a->listing;

	if (!a->session.channel.is_open)
		return;
	if (st->code == GRPC_OK) {
		a->is_listed = true;
	} else {
		a->listing = NULL;
		watch_list_failed(w, st);
	}
	agent_wake(a);
}

static void on_list_page(struct lister *l)
{
	agent_wake(l->user);
}

static const struct lister_ops agent_lister_ops = {
	.begin = on_list_begin,
	.event = on_list_event,
	.value = on_list_value,
	.event_end = on_list_event_end,
	.done = on_list_done,
	.page = on_list_page,
};

/* The lister is done: the listing ends when the sinks have taken its end too. */
void agent_pump_listed(struct agent *a)
{
	struct watch *w = a->listing;

	if (feed_list_end(&w->feed, w->sync.revision))
		return;
	a->listing = NULL;
	a->is_listed = false;
	watch_listed(w);
	agent_resume_stream(a);
}

void agent_init_stream(struct agent *a)
{
	etcd_reader_init(&a->stream, &agent_stream_ops, a);
	lister_init(&a->lister, &agent_lister_ops, a);
	a->hold_timer = (struct loop_timer){.fn = on_hold_timer, .user = a};
	a->orphan_id = -1;
}
