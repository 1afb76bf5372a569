/* SPDX-License-Identifier: Apache-2.0 */
/*
 * States and what leads on:
 *
 *	IDLE     event() -> GATHER, sync_begin() -> LIST
 *	GATHER   an answer is under way; commit() -> READY, or SETTLE while the answer has more to
 *	         come or its time to settle is not over, and it is not large; sync_begin() -> LIST
 *	SETTLE   event() -> GATHER; the answer ends, or the time to settle is over -> READY;
 *	         sync_begin() -> LIST
 *	LIST     a listing is under way; synced() -> LISTED; sync_begin() -> LIST
 *	LISTED   commit() -> READY; sync_begin() -> LIST
 *	READY    at the end of the turn, when all its lines are in the spool -> AWAIT when it has to
 *	         wait, WAIT when it was told to come later, else -> PREPARE; sync_begin() -> LIST
 *	AWAIT    what it waits for has come, as another sink tells -> PREPARE; sync_begin() -> LIST
 *	PREPARE  the owner makes it ready, a part in each turn; done, the try begins -> RUN, or it
 *	         can't -> WAIT; nothing is left of it -> IDLE; sync_begin() -> LIST
 *	RUN      the try ends (its owner ends it in time): well -> IDLE, else -> WAIT
 *	WAIT     for the next try -> READY; sync_begin() -> LIST
 *	STOPPED  after stop(): nothing runs and nothing will
 *
 * While stopping, all that leads to IDLE or WAIT leads to STOPPED, and stop() itself does where
 * nothing runs.
 */
#include "sink/batch.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "base/heap.h"
#include "base/log.h"

enum {
	BATCH_ANSWER_MS =
		1000, /* how long the rest of an answer is waited for, between two revisions */
};

static struct batch *batch_of(struct sink *s)
{
	return (struct batch *)s;
}

static void batch_set_state(struct batch *b, enum batch_state state)
{
	static const char *const names[] = {"idle", "gather", "settle", "list", "listed", "ready",
		"await", "prepare", "run", "wait", "stopped"};

	log_debug("%s %s: %s -> %s", b->cfg.kind, b->cfg.watch_name, names[b->state], names[state]);
	b->state = state;
}

static void batch_wake(struct batch *b)
{
	b->is_awaited = false;
	b->sink.wake(&b->sink);
}

/* The batch is done with, whatever its state. */
static void batch_drop(struct batch *b)
{
	loop_timer_clear(b->cfg.loop, &b->timer);
	loop_task_cancel(b->cfg.loop, &b->task);
	print_drop(&b->print);
	port_spool_clear(&b->spool);
	if (b->cfg.ops->drop)
		b->cfg.ops->drop(b);
	b->settle_due_ms = 0;
	b->commit_rev = 0;
	b->is_held = false;
}

static void batch_begin(struct batch *b, const char *reason, int64_t revision, bool is_listing)
{
	b->reason = reason;
	b->revision = revision;
	b->is_listing = is_listing;
	if (b->cfg.ops->begin)
		b->cfg.ops->begin(b);
}

static void batch_set_stopped(struct batch *b)
{
	batch_drop(b);
	batch_set_state(b, BATCH_STOPPED);
	b->sink.is_stopped = true;
}

/* -- tries ------------------------------------------------------------------------------------ */

/* result: of a try, or a code below 0; why has been told in sink.why. */
static void batch_tell_failure(struct batch *b, int result)
{
	b->sink.errors++;
	b->sink.why_ms = b->cfg.loop->now_ms;
	b->sink.is_failing = true;
	if (attempt_failed(&b->attempt, b->cfg.loop->now_ms, result))
		log_warn("%s %s: %s at revision %" PRId64 "; it is %stried again", b->cfg.kind,
			b->cfg.watch_name, b->sink.why, b->revision,
			b->is_held ? "held, and now and then " : "");
	b->sink.fail(&b->sink, result < 0 ? result : ERR_IO);
}

static void batch_set_delay(struct batch *b)
{
	int64_t now_ms = b->cfg.loop->now_ms;
	int64_t delay_ms = b->is_held ? attempt_slow_delay_ms(&b->attempt, now_ms)
				      : attempt_delay_ms(&b->attempt, now_ms);

	/* The jitter comes on top of a time that many were told alike. */
	if (b->not_before_ms > now_ms)
		delay_ms += b->not_before_ms - now_ms;
	loop_timer_set(b->cfg.loop, &b->timer, delay_ms);
}

static void batch_failed(struct batch *b, int result)
{
	bool was_awaited = b->is_awaited;

	b->not_before_ms = 0;
	b->is_held = false;
	b->cfg.ops->describe(b, result);
	if (b->is_stopping) {
		log_info("%s %s: %s at the stop; the batch of revision %" PRId64
			 " comes again after the next start",
			b->cfg.kind, b->cfg.watch_name, b->sink.why, b->revision);
		batch_set_stopped(b);
		batch_wake(b);
		return;
	}
	batch_set_delay(b);
	batch_set_state(b, BATCH_WAIT);
	batch_tell_failure(b, result);
	/* A listing can begin now. */
	if (was_awaited)
		batch_wake(b);
}

/* has_worked: a try has; else nothing was left to try. */
static void batch_processed(struct batch *b, bool has_worked)
{
	b->sink.is_failing = false;
	b->not_before_ms = 0;
	if (attempt_succeeded(&b->attempt) && has_worked)
		log_info("%s %s: %s works again at revision %" PRId64, b->cfg.kind,
			b->cfg.watch_name, b->cfg.subject, b->revision);
	if (b->commit_rev)
		b->sink.done_rev = b->commit_rev;
	if (b->is_stopping) {
		batch_set_stopped(b);
	} else {
		batch_drop(b);
		batch_set_state(b, BATCH_IDLE);
	}
	batch_wake(b);
}

void batch_ended(struct batch *b, int result)
{
	if (result)
		batch_failed(b, result);
	else
		batch_processed(b, true);
}

void batch_skip(struct batch *b)
{
	batch_processed(b, false);
}

static void batch_start(struct batch *b)
{
	int err = b->cfg.ops->start(b);

	if (err)
		batch_failed(b, err);
	else
		batch_set_state(b, BATCH_RUN);
}

/* -- before a try ----------------------------------------------------------------------------- */

/* The batch is complete, and it is time. */
static void batch_set_ready(struct batch *b)
{
	loop_timer_clear(b->cfg.loop, &b->timer);
	batch_set_state(b, BATCH_READY);
	loop_task_post(b->cfg.loop, &b->task);
}

static void batch_prepare(struct batch *b)
{
	bool is_first = b->state != BATCH_PREPARE;
	int ret = b->cfg.ops->prepare ? b->cfg.ops->prepare(b, is_first) : 0;

	if (ret == ERR_AGAIN) {
		if (is_first)
			batch_set_state(b, BATCH_PREPARE);
		loop_timer_set(b->cfg.loop, &b->timer, 0);
	} else if (ret == BATCH_EMPTY) {
		batch_processed(b, false);
	} else if (ret) {
		batch_failed(b, ret);
	} else {
		batch_start(b);
	}
}

static void batch_look(struct batch *b)
{
	if (!print_out_flush(b->out)) {
		b->print.client.want_room = true; /* then it wakes us */
	} else if (b->not_before_ms > b->cfg.loop->now_ms) {
		/* A listing has taken the place of the batch that was told to wait. */
		batch_set_delay(b);
		batch_set_state(b, BATCH_WAIT);
	} else if (b->cfg.ops->must_wait && b->cfg.ops->must_wait(b)) {
		if (b->state != BATCH_AWAIT)
			batch_set_state(b, BATCH_AWAIT);
	} else {
		batch_prepare(b);
	}
}

void batch_ready(struct batch *b)
{
	if (b->state == BATCH_AWAIT)
		loop_task_post(b->cfg.loop, &b->task);
}

/* The deadline of the state. */
static void batch_on_timer(struct loop_timer *timer)
{
	struct batch *b = timer->user;

	switch (b->state) {
	case BATCH_SETTLE:
	case BATCH_WAIT:
		batch_set_ready(b);
		break;
	case BATCH_PREPARE:
		batch_prepare(b);
		break;
	default:
		break;
	}
}

static void batch_on_task(struct loop_task *task)
{
	struct batch *b = task->user;

	if (b->state == BATCH_READY || b->state == BATCH_AWAIT)
		batch_look(b);
	else if (b->state == BATCH_STOPPED)
		batch_wake(b);
}

/* -- the lines -------------------------------------------------------------------------------- */

/* There is room in the spool again. */
static void batch_on_print_wake(struct sink *print)
{
	struct batch *b = print->user;

	if (b->state == BATCH_READY)
		batch_look(b);
	else if (b->state < BATCH_READY)
		batch_wake(b);
}

static void batch_on_print_fail(struct sink *print, int err)
{
	struct batch *b = print->user;

	(void)snprintf(b->sink.why, sizeof(b->sink.why), "a batch can't be kept in %s: %s",
		b->spool.folder, err_text(err));
	batch_tell_failure(b, err);
}

/* -- the sink --------------------------------------------------------------------------------- */

static bool batch_is_ready(struct sink *sink)
{
	struct batch *b = batch_of(sink);

	if (!batch_is_running(b) && b->state != BATCH_STOPPED)
		return true;
	b->is_awaited = true;
	return false;
}

static int batch_sync_begin(struct sink *sink, const struct sink_sync *sync)
{
	struct batch *b = batch_of(sink);
	int err;

	if (!batch_is_ready(sink))
		return ERR_BUSY;
	batch_drop(b);
	err = b->print.sink.ops->sync_begin(&b->print.sink, sync);
	if (err) {
		batch_set_state(b, BATCH_IDLE);
		return err;
	}
	batch_begin(b, sync_reason_name(sync->reason), sync->revision, true);
	batch_set_state(b, BATCH_LIST);
	return 0;
}

static int batch_event(struct sink *sink, const struct etcd_event *e)
{
	struct batch *b = batch_of(sink);
	int err;

	if (b->state > BATCH_LIST)
		return ERR_BUSY;
	if (b->state == BATCH_IDLE)
		batch_begin(b, "event", 0, false);
	err = b->print.sink.ops->event(&b->print.sink, e);
	if (err || b->state == BATCH_LIST)
		return err;
	if (e->mod_rev > b->revision)
		b->revision = e->mod_rev;
	if (b->state != BATCH_GATHER)
		batch_set_state(b, BATCH_GATHER);
	return 0;
}

static ssize_t batch_value(struct sink *sink, const struct etcd_event *e, enum etcd_value which,
	const uint8_t *p, size_t len)
{
	struct batch *b = batch_of(sink);

	if (b->state == BATCH_STOPPED)
		return ERR_BUSY;
	return b->print.sink.ops->value(&b->print.sink, e, which, p, len);
}

static int batch_event_end(struct sink *sink, const struct etcd_event *e)
{
	struct batch *b = batch_of(sink);

	if (b->state == BATCH_STOPPED)
		return ERR_BUSY;
	return b->print.sink.ops->event_end(&b->print.sink, e);
}

static int batch_synced(struct sink *sink, int64_t revision)
{
	struct batch *b = batch_of(sink);
	int err;

	if (b->state == BATCH_STOPPED)
		return ERR_BUSY;
	if (b->state != BATCH_LIST)
		return ERR_BUG;
	err = b->print.sink.ops->synced(&b->print.sink, revision);
	if (!err)
		batch_set_state(b, BATCH_LISTED);
	return err;
}

/* A line that nobody asked for. */
static int batch_progress(struct sink *sink, int64_t revision)
{
	(void)sink;
	(void)revision;
	return 0;
}

/* One more answer is whole, or a revision in it: is the batch? */
static void batch_close_answer(struct batch *b)
{
	int64_t now_ms = b->cfg.loop->now_ms, settle_ms = b->cfg.settle_ms;
	bool is_over = settle_ms <= 0 && !b->sink.is_mid_answer;

	if (b->spool.len + buf_len(&b->out->buf) > CONFIG_BATCH_FULL_BYTES) {
		batch_set_ready(b);
		return;
	}
	if (!b->settle_due_ms)
		b->settle_due_ms = now_ms + (settle_ms > 0 ? settle_ms : BATCH_ANSWER_MS);
	/* What else comes in this turn joins the batch in any case. */
	loop_timer_set_at(b->cfg.loop, &b->timer, is_over ? now_ms : b->settle_due_ms);
	batch_set_state(b, BATCH_SETTLE);
}

static void batch_commit(struct sink *sink, int64_t revision)
{
	struct batch *b = batch_of(sink);

	switch (b->state) {
	case BATCH_IDLE:
		sink->done_rev = revision;
		break;
	case BATCH_LIST: /* of before the listing */
	case BATCH_STOPPED:
		break;
	case BATCH_GATHER:
	case BATCH_SETTLE:
		b->commit_rev = revision;
		batch_close_answer(b);
		break;
	case BATCH_LISTED:
		b->commit_rev = revision;
		batch_set_ready(b);
		break;
	default:
		b->commit_rev = revision;
		break;
	}
}

static void batch_stop(struct sink *sink, int64_t timeout_ms)
{
	struct batch *b = batch_of(sink);

	if (b->is_stopping)
		return;
	b->is_stopping = true;
	if (batch_is_running(b)) {
		b->cfg.ops->stop(b, timeout_ms);
		return;
	}
	batch_set_stopped(b);
	/* The owner is told from the loop. */
	loop_task_post(b->cfg.loop, &b->task);
}

static void batch_now(const struct sink *sink, char *dst, size_t cap)
{
	const struct batch *b = (const struct batch *)sink;

	b->cfg.ops->now(b, dst, cap);
}

static void batch_retry(struct sink *sink)
{
	struct batch *b = batch_of(sink);

	print_out_retry(b->out);
	if (b->state == BATCH_WAIT && b->cfg.loop->now_ms >= b->not_before_ms)
		batch_set_ready(b);
}

static const struct sink_ops batch_sink_ops = {
	.sync_begin = batch_sync_begin,
	.event = batch_event,
	.value = batch_value,
	.event_end = batch_event_end,
	.synced = batch_synced,
	.progress = batch_progress,
	.commit = batch_commit,
	.is_ready = batch_is_ready,
	.stop = batch_stop,
	.now = batch_now,
	.retry = batch_retry,
};

/* -- start and end ---------------------------------------------------------------------------- */

int batch_init(struct batch *b, const struct batch_cfg *cfg)
{
	struct print_cfg print = {.format = PRINT_JSON,
		.watch_name = cfg->watch_name,
		.want_prev = cfg->want_prev,
		.path = cfg->path,
		.path_user = cfg->path_user};
	int err;

	*b = (struct batch){.cfg = *cfg, .reason = ""};
	b->sink.ops = &batch_sink_ops;
	b->sink.name = cfg->sink_name;
	attempt_set_backoff(&b->attempt, cfg->backoff_min_ms, cfg->backoff_max_ms);
	b->task = (struct loop_task){.fn = batch_on_task, .user = b};
	b->timer = (struct loop_timer){.fn = batch_on_timer, .user = b};
	port_spool_init(&b->spool,
		cfg->spool_folder ? cfg->spool_folder : CONFIG_BATCH_SPOOL_FOLDER,
		CONFIG_BATCH_SPOOL_BYTES);
	b->out = heap_calloc(1, sizeof(*b->out) + cfg->mem_len);
	if (!b->out)
		return ERR_NOMEM;
	b->mem = (char *)(b->out + 1);
	print_out_open_spool(b->out, cfg->loop, &b->spool);
	print.out = b->out;
	err = print_init(&b->print, &print);
	b->print.sink.wake = batch_on_print_wake;
	b->print.sink.fail = batch_on_print_fail;
	b->print.sink.user = b;
	return err;
}

void batch_set_backoff(struct batch *b, int64_t backoff_min_ms, int64_t backoff_max_ms)
{
	attempt_set_backoff(&b->attempt, backoff_min_ms, backoff_max_ms);
	if (b->state == BATCH_WAIT && b->cfg.loop->now_ms >= b->not_before_ms)
		attempt_shorten(&b->attempt, b->cfg.loop, &b->timer);
}

void batch_free(struct batch *b)
{
	if (!b->out)
		return;
	if (b->print.client.out) {
		batch_drop(b);
		print_out_close(b->out);
	}
	print_free(&b->print);
	heap_free(b->out);
	b->out = NULL;
	b->state = BATCH_STOPPED;
}
