/* SPDX-License-Identifier: Apache-2.0 */
/*
 * States and what leads on:
 *
 *	IDLE     event() -> FILL
 *	FILL     the environment is being put together; event_end() -> READY, sync_begin() -> IDLE
 *	READY    at the end of the turn the command starts -> RUN, or can't -> WAIT
 *	RUN      it ended (program.h ends it in time): with 0 -> IDLE, else -> WAIT
 *	WAIT     for the next try -> READY
 *	STOPPED  after stop(): nothing runs and nothing will
 *
 * While stopping, all that leads to IDLE, WAIT or READY leads to STOPPED.
 */
#include "sink/each.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "base/heap.h"
#include "base/log.h"

#define EACH_KEY_NAME "ETCD_WATCH_KEY="
#define EACH_VALUE_NAME "ETCD_WATCH_VALUE="

enum {
	EACH_KEY_NAME_LEN = sizeof(EACH_KEY_NAME) - 1,
	EACH_VALUE_NAME_LEN = sizeof(EACH_VALUE_NAME) - 1,
	/* Each byte may become \xNN; two quotes and a NUL. */
	EACH_KEY_MEM_LEN = EACH_KEY_NAME_LEN + 4 * CONFIG_ETCD_KEY_BYTES + 3,
};

static struct each_sink *each_of(struct sink *s)
{
	return (struct each_sink *)s;
}

static void each_set_state(struct each_sink *s, enum each_state state)
{
	static const char *const names[] = {"idle", "fill", "ready", "run", "wait", "stopped"};

	log_debug("each: %s -> %s", names[s->state], names[state]);
	s->state = state;
}

bool each_is_running(const struct each_sink *s)
{
	return s->state == EACH_RUN;
}

static void each_wake(struct each_sink *s)
{
	s->sink.wake(&s->sink);
}

static void each_set_stopped(struct each_sink *s)
{
	loop_timer_clear(s->cfg.loop, &s->timer);
	each_set_state(s, EACH_STOPPED);
	s->sink.is_stopped = true;
}

/* -- failures --------------------------------------------------------------------------------- */

/* reason: an exit status, or a code below 0. then: what follows. */
static void each_log_failure(const struct each_sink *s, int reason, const char *then)
{
	if (reason == ERR_TIMEOUT && s->is_stopping)
		log_warn("command %s did not end in time at revision %" PRId64, s->cfg.argv[0],
			s->mod_rev);
	else if (reason == ERR_TIMEOUT)
		log_warn("command %s ran longer than %" PRId64 " ms at revision %" PRId64
			 " and was ended%s",
			s->cfg.argv[0], s->cfg.timeout_ms, s->mod_rev, then);
	else if (reason < 0)
		log_warn("command %s not started at revision %" PRId64 ": %s%s", s->cfg.argv[0],
			s->mod_rev, err_text(reason), then);
	else
		log_warn("command %s ended with status %d at revision %" PRId64 "%s",
			s->cfg.argv[0], reason, s->mod_rev, then);
}

static void each_failed(struct each_sink *s, int reason)
{
	int64_t now_ms = s->cfg.loop->now_ms, delay_ms;
	bool is_news = attempt_failed(&s->attempt, now_ms, reason);
	char then[64];

	if (s->is_stopping) {
		if (is_news)
			each_log_failure(s, reason, "");
		each_set_stopped(s);
		each_wake(s);
		return;
	}
	delay_ms = attempt_delay_ms(&s->attempt, now_ms);
	(void)snprintf(then, sizeof(then), "; it is tried again in %" PRId64 ".%03" PRId64 " s",
		delay_ms / 1000, delay_ms % 1000);
	if (is_news)
		each_log_failure(s, reason, then);
	loop_timer_set(s->cfg.loop, &s->timer, delay_ms);
	each_set_state(s, EACH_WAIT);
}

static void each_succeeded(struct each_sink *s)
{
	if (attempt_succeeded(&s->attempt))
		log_info("command %s works again at revision %" PRId64, s->cfg.argv[0], s->mod_rev);
	s->is_pending = false;
	each_set_state(s, EACH_IDLE);
	if (s->commit_rev)
		s->sink.done_rev = s->commit_rev;
	s->commit_rev = 0;
	if (s->is_stopping)
		each_set_stopped(s);
	each_wake(s);
}

/* -- the command ------------------------------------------------------------------------------ */

static void each_start(struct each_sink *s)
{
	static char put[] = "ETCD_WATCH_EVENT_TYPE=\"PUT\"";
	static char del[] = "ETCD_WATCH_EVENT_TYPE=\"DELETE\"";
	char *env[] = {s->revision, s->is_delete ? del : put, s->key_mem,
		s->is_value_long ? NULL : s->value_mem, NULL};
	int err = program_start(&s->program, s->cfg.argv, env, -1, -1, -1);

	if (err) {
		each_failed(s, err);
		return;
	}
	each_set_state(s, EACH_RUN);
}

static void each_on_ended(struct program *program, int result)
{
	struct each_sink *s = program->user;

	if (result)
		each_failed(s, result);
	else
		each_succeeded(s);
}

void each_child_ended(struct each_sink *s)
{
	program_child_ended(&s->program);
}

static void each_on_timer(struct loop_timer *timer)
{
	struct each_sink *s = timer->user;

	each_set_state(s, EACH_READY);
	each_start(s);
}

static void each_on_task(struct loop_task *task)
{
	struct each_sink *s = task->user;

	if (s->state == EACH_READY)
		each_start(s);
	else if (s->state == EACH_STOPPED)
		each_wake(s);
}

/* -- the sink --------------------------------------------------------------------------------- */

static int each_sync_begin(struct sink *sink, const struct sink_sync *sync)
{
	struct each_sink *s = each_of(sink);

	(void)sync;
	/* What was committed before belongs to another history, perhaps: it is done with. */
	s->commit_rev = 0;
	if (s->state != EACH_FILL)
		return 0;
	/* Its event never ended. */
	s->is_pending = false;
	each_set_state(s, EACH_IDLE);
	return 0;
}

static int each_event(struct sink *sink, const struct etcd_event *e)
{
	struct each_sink *s = each_of(sink);
	struct quote q;
	ssize_t len;

	if (e->key_len > CONFIG_ETCD_KEY_BYTES)
		return ERR_BUG;
	if (s->state != EACH_IDLE)
		return ERR_AGAIN;
	memcpy(s->key_mem, EACH_KEY_NAME, EACH_KEY_NAME_LEN);
	quote_begin(&q, s->key_mem + EACH_KEY_NAME_LEN, EACH_KEY_MEM_LEN - EACH_KEY_NAME_LEN - 1);
	quote_put(&q, e->key, e->key_len);
	len = quote_end(&q);
	if (len < 0)
		return ERR_BUG;
	q.dst[len] = '\0';
	(void)snprintf(
		s->revision, sizeof(s->revision), "ETCD_WATCH_REVISION=%" PRId64, e->mod_rev);
	memcpy(s->value_mem, EACH_VALUE_NAME, EACH_VALUE_NAME_LEN);
	quote_begin(&s->quote, s->value_mem + EACH_VALUE_NAME_LEN,
		CONFIG_EACH_ENV_BYTES - EACH_VALUE_NAME_LEN - 1);
	s->is_delete = e->type == ETCD_EVENT_DELETE;
	s->mod_rev = e->mod_rev;
	s->is_pending = true;
	each_set_state(s, EACH_FILL);
	return 0;
}

static ssize_t each_value(struct sink *sink, const struct etcd_event *e, enum etcd_value which,
	const uint8_t *p, size_t len)
{
	struct each_sink *s = each_of(sink);

	(void)e;
	if (s->state == EACH_STOPPED)
		return ERR_AGAIN;
	if (s->state != EACH_FILL)
		return ERR_BUG;
	if (which == ETCD_VALUE)
		quote_put(&s->quote, p, len);
	return (ssize_t)len;
}

static int each_event_end(struct sink *sink, const struct etcd_event *e)
{
	struct each_sink *s = each_of(sink);
	ssize_t len;

	(void)e;
	if (s->state == EACH_STOPPED)
		return ERR_AGAIN;
	if (s->state != EACH_FILL)
		return ERR_BUG;
	len = quote_end(&s->quote);
	s->is_value_long = len < 0;
	if (s->is_value_long)
		log_warn_limited("command %s runs without ETCD_WATCH_VALUE at revision %" PRId64
				 ": quoted, the value is longer than %d bytes",
			s->cfg.argv[0], s->mod_rev, CONFIG_EACH_ENV_BYTES);
	else
		s->quote.dst[len] = '\0';
	each_set_state(s, EACH_READY);
	loop_task_post(s->cfg.loop, &s->task);
	return 0;
}

/* Lines about the stream run nothing. */
static int each_revision(struct sink *sink, int64_t revision)
{
	(void)sink;
	(void)revision;
	return 0;
}

static void each_commit(struct sink *sink, int64_t revision)
{
	struct each_sink *s = each_of(sink);

	if (s->is_pending)
		s->commit_rev = revision;
	else
		sink->done_rev = revision;
}

static void each_stop(struct sink *sink, int64_t timeout_ms)
{
	struct each_sink *s = each_of(sink);

	if (s->is_stopping)
		return;
	s->is_stopping = true;
	if (each_is_running(s)) {
		program_stop(&s->program, timeout_ms);
		return;
	}
	each_set_stopped(s);
	loop_task_post(s->cfg.loop, &s->task);
}

static void each_retry(struct sink *sink)
{
	struct each_sink *s = each_of(sink);

	if (s->state != EACH_WAIT)
		return;
	loop_timer_clear(s->cfg.loop, &s->timer);
	each_set_state(s, EACH_READY);
	loop_task_post(s->cfg.loop, &s->task);
}

static const struct sink_ops each_ops = {
	.sync_begin = each_sync_begin,
	.event = each_event,
	.value = each_value,
	.event_end = each_event_end,
	.synced = each_revision,
	.progress = each_revision,
	.commit = each_commit,
	.stop = each_stop,
	.retry = each_retry,
};

int each_init(struct each_sink *s, const struct each_cfg *cfg)
{
	*s = (struct each_sink){.cfg = *cfg};
	s->attempt.backoff_min_ms = cfg->backoff_min_ms;
	s->attempt.backoff_max_ms = cfg->backoff_max_ms;
	s->sink.ops = &each_ops;
	s->sink.name = "command";
	s->task = (struct loop_task){.fn = each_on_task, .user = s};
	s->timer = (struct loop_timer){.fn = each_on_timer, .user = s};
	s->program = (struct program){.loop = cfg->loop,
		.timeout_ms = cfg->timeout_ms,
		.ended = each_on_ended,
		.user = s};
	s->key_mem = heap_calloc(1, EACH_KEY_MEM_LEN + CONFIG_EACH_ENV_BYTES);
	if (!s->key_mem)
		return ERR_NOMEM;
	s->value_mem = s->key_mem + EACH_KEY_MEM_LEN;
	return 0;
}

void each_free(struct each_sink *s)
{
	if (!s->cfg.loop)
		return;
	program_free(&s->program);
	loop_timer_clear(s->cfg.loop, &s->timer);
	loop_task_cancel(s->cfg.loop, &s->task);
	heap_free(s->key_mem);
	s->key_mem = s->value_mem = NULL;
	s->state = EACH_STOPPED;
}
