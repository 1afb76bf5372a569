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
 *	READY    at the end of the turn, when all its lines are in the spool, the program starts ->
 *	         RUN, or can't -> WAIT; the tree of the mirror has another shape -> PATHS;
 *	         sync_begin() -> LIST
 *	PATHS    the paths in the batch are set right, a part in each turn; done, the program starts
 *	         -> RUN, or can't -> WAIT; sync_begin() -> LIST
 *	RUN      it ended (program.h ends it in time): with 0 -> IDLE, else -> WAIT
 *	WAIT     for the next try -> READY; sync_begin() -> LIST
 *	STOPPED  after stop(): nothing runs and nothing will
 *
 * While stopping, all that leads to IDLE or WAIT leads to STOPPED, and stop() itself does where
 * nothing runs.
 */
#include "sink/hook.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "base/heap.h"
#include "base/log.h"

enum {
	HOOK_ANSWER_MS =
		1000, /* how long the rest of an answer is waited for, between two revisions */
	HOOK_READ_LEN = 4096, /* of what it prints, at once */
	HOOK_READ_STEPS = 4, /* and that often in one turn */
	HOOK_DRAIN_STEPS = 16, /* after its end: what a pipe of Linux holds */
	HOOK_READ_MS = 50, /* it is looked for that often where the loop has no room for it */
};

_Static_assert((int)HOOK_PATH_MEM_LEN <= (int)PRINT_HOLD_LEN,
	"paths are worked out where values are held");

static struct hook_sink *hook_of(struct sink *s)
{
	return (struct hook_sink *)s;
}

static void hook_set_state(struct hook_sink *s, enum hook_state state)
{
	static const char *const names[] = {"idle", "gather", "settle", "list", "listed", "ready",
		"paths", "run", "wait", "stopped"};

	log_debug("hook %s: %s -> %s", s->cfg.watch_name, names[s->state], names[state]);
	s->state = state;
}

bool hook_is_running(const struct hook_sink *s)
{
	return s->state == HOOK_RUN;
}

static void hook_wake(struct hook_sink *s)
{
	s->is_awaited = false;
	s->sink.wake(&s->sink);
}

/* -- what the program prints ------------------------------------------------------------------ */

static void hook_output_close(struct hook_sink *s)
{
	loop_fd_remove(s->cfg.loop, &s->output);
	port_fd_close(s->output.fd);
	s->output.fd = -1;
}

static void hook_output_read(struct hook_sink *s, unsigned steps)
{
	uint8_t text[HOOK_READ_LEN];

	while (steps-- && s->output.fd >= 0) {
		ssize_t n = port_pipe_read(s->output.fd, text, sizeof(text));

		if (n == ERR_AGAIN)
			return;
		if (n > 0)
			hook_log_add(&s->log, text, (size_t)n);
		else
			hook_output_close(s);
	}
}

static void hook_on_output(struct loop_fd *fd, int events)
{
	(void)events;
	hook_output_read(fd->user, HOOK_READ_STEPS);
}

/* What it left running may hold the pipe for ever: nobody waits for its end. */
static void hook_output_end(struct hook_sink *s)
{
	hook_output_read(s, HOOK_DRAIN_STEPS);
	hook_output_close(s);
	hook_log_end(&s->log);
}

/* -- the batch -------------------------------------------------------------------------------- */

/* The batch is done with, whatever its state. */
static void hook_drop(struct hook_sink *s)
{
	loop_timer_clear(s->cfg.loop, &s->timer);
	loop_task_cancel(s->cfg.loop, &s->task);
	print_drop(&s->print);
	port_spool_clear(&s->spool);
	port_spool_clear(&s->next_spool);
	s->settle_due_ms = 0;
	s->commit_rev = 0;
}

static void hook_begin(struct hook_sink *s, const char *reason, int64_t revision)
{
	(void)snprintf(s->env_reason, sizeof(s->env_reason), "ETCHLET_REASON=%s", reason);
	s->batch_rev = revision;
	if (s->cfg.mirror)
		s->shape = s->cfg.mirror_ops->shape(s->cfg.mirror);
}

static size_t hook_key_path(void *user, const uint8_t *key, size_t key_len, char *dst, size_t cap)
{
	struct hook_sink *s = user;

	return s->cfg.mirror_ops->key_path(s->cfg.mirror, key, key_len, dst, cap);
}

static size_t hook_path_now(void *user, const char *path, size_t len, char *dst, size_t cap)
{
	struct hook_sink *s = user;

	return s->cfg.mirror_ops->path_now(s->cfg.mirror, path, len, dst, cap);
}

static void hook_set_stopped(struct hook_sink *s)
{
	hook_drop(s);
	hook_set_state(s, HOOK_STOPPED);
	s->sink.is_stopped = true;
}

/* -- failures --------------------------------------------------------------------------------- */

/* reason: an exit status, or a code below 0; why has been told in sink.why. */
static void hook_tell_failure(struct hook_sink *s, int reason)
{
	s->sink.errors++;
	s->sink.why_ms = s->cfg.loop->now_ms;
	s->sink.is_failing = true;
	if (attempt_failed(&s->attempt, s->cfg.loop->now_ms, reason))
		log_warn("hook %s: %s at revision %" PRId64 "; it is tried again",
			s->cfg.watch_name, s->sink.why, s->batch_rev);
	s->sink.fail(&s->sink, reason < 0 ? reason : ERR_IO);
}

static void hook_failed(struct hook_sink *s, int reason)
{
	const char *program = s->cfg.argv[0];
	char *why = s->sink.why;
	size_t cap = sizeof(s->sink.why);
	bool was_awaited = s->is_awaited;

	if (reason == ERR_TIMEOUT && s->is_stopping)
		(void)snprintf(why, cap, "%s did not end in time", program);
	else if (reason == ERR_TIMEOUT)
		(void)snprintf(why, cap, "%s ran longer than %" PRId64 " ms and was ended", program,
			s->cfg.timeout_ms);
	else if (reason < 0)
		(void)snprintf(why, cap, "%s not started: %s", program, err_text(reason));
	else
		(void)snprintf(why, cap, "%s ended with status %d", program, reason);
	if (s->is_stopping) {
		log_info("hook %s: %s at the stop; the batch of revision %" PRId64
			 " comes again after the next start",
			s->cfg.watch_name, why, s->batch_rev);
		hook_set_stopped(s);
		hook_wake(s);
		return;
	}
	loop_timer_set(s->cfg.loop, &s->timer, attempt_delay_ms(&s->attempt, s->cfg.loop->now_ms));
	hook_set_state(s, HOOK_WAIT);
	hook_tell_failure(s, reason);
	/* A listing can begin now. */
	if (was_awaited)
		hook_wake(s);
}

static void hook_succeeded(struct hook_sink *s)
{
	s->sink.is_failing = false;
	if (attempt_succeeded(&s->attempt))
		log_info("hook %s: %s works again at revision %" PRId64, s->cfg.watch_name,
			s->cfg.argv[0], s->batch_rev);
	if (s->commit_rev)
		s->sink.done_rev = s->commit_rev;
	if (s->is_stopping) {
		hook_set_stopped(s);
	} else {
		hook_drop(s);
		hook_set_state(s, HOOK_IDLE);
	}
	hook_wake(s);
}

/* -- the program ------------------------------------------------------------------------------ */

/* 0 or an error; nothing is left open then. */
static int hook_start(struct hook_sink *s)
{
	char *env[6] = {NULL};
	struct port_pipe pipe = {.read_fd = -1, .write_fd = -1};
	int in = port_spool_reader(&s->spool);
	int err = in < 0 ? in : port_pipe_open(&pipe);

	(void)snprintf(s->env_revision, sizeof(s->env_revision), "ETCHLET_REVISION=%" PRId64,
		s->batch_rev);
	/* Nobody writes to them: environments are not const for reasons of history. */
	env[0] = (char *)(uintptr_t)s->env_watch;
	env[1] = s->env_revision;
	env[2] = s->env_reason;
	env[3] = (char *)(uintptr_t)s->env_mirror;
	env[4] = (char *)(uintptr_t)s->env_device;
	if (!err)
		err = program_start(
			&s->program, s->cfg.argv, env, in, pipe.write_fd, pipe.write_fd);
	port_fd_close(in);
	port_fd_close(pipe.write_fd);
	if (err) {
		port_fd_close(pipe.read_fd);
		return err;
	}
	s->output.fd = pipe.read_fd;
	if (loop_fd_add(s->cfg.loop, &s->output))
		loop_timer_set(s->cfg.loop, &s->timer, HOOK_READ_MS);
	return 0;
}

static void hook_run(struct hook_sink *s)
{
	int err = hook_start(s);

	if (err)
		hook_failed(s, err);
	else
		hook_set_state(s, HOOK_RUN);
}

/* The batch is complete, and it is time. */
static void hook_set_ready(struct hook_sink *s)
{
	loop_timer_clear(s->cfg.loop, &s->timer);
	hook_set_state(s, HOOK_READY);
	loop_task_post(s->cfg.loop, &s->task);
}

static void hook_prepare(struct hook_sink *s)
{
	if (!print_out_flush(s->out)) {
		s->print.client.want_room = true; /* then it wakes us */
		return;
	}
	if (!s->cfg.mirror || s->cfg.mirror_ops->shape(s->cfg.mirror) == s->shape) {
		hook_run(s);
		return;
	}
	/* It may change again meanwhile: what is worked out now is right for this one at least. */
	s->next_shape = s->cfg.mirror_ops->shape(s->cfg.mirror);
	port_spool_clear(&s->next_spool);
	s->paths = (struct hook_path){.from = &s->spool,
		.to = &s->next_spool,
		.path_now = hook_path_now,
		.user = s,
		.mem = s->out->hold};
	hook_set_state(s, HOOK_PATHS);
	loop_timer_set(s->cfg.loop, &s->timer, 0);
}

static void hook_step_paths(struct hook_sink *s)
{
	struct port_spool done;
	int err = hook_path_step(&s->paths);

	if (err == ERR_AGAIN) {
		loop_timer_set(s->cfg.loop, &s->timer, 0);
		return;
	}
	if (err) {
		port_spool_clear(&s->next_spool);
		hook_failed(s, err);
		return;
	}
	s->shape = s->next_shape;
	done = s->spool;
	s->spool = s->next_spool;
	s->next_spool = done;
	port_spool_clear(&s->next_spool);
	hook_run(s);
}

static void hook_on_ended(struct program *program, int result)
{
	struct hook_sink *s = program->user;

	loop_timer_clear(s->cfg.loop, &s->timer);
	hook_output_end(s);
	if (result)
		hook_failed(s, result);
	else
		hook_succeeded(s);
}

void hook_child_ended(struct hook_sink *s)
{
	program_child_ended(&s->program);
}

/* The deadline of the state. */
static void hook_on_timer(struct loop_timer *timer)
{
	struct hook_sink *s = timer->user;

	switch (s->state) {
	case HOOK_SETTLE:
	case HOOK_WAIT:
		hook_set_ready(s);
		break;
	case HOOK_PATHS:
		hook_step_paths(s);
		break;
	case HOOK_RUN:
		hook_output_read(s, HOOK_DRAIN_STEPS);
		loop_timer_set(s->cfg.loop, timer, HOOK_READ_MS);
		break;
	default:
		break;
	}
}

static void hook_on_task(struct loop_task *task)
{
	struct hook_sink *s = task->user;

	if (s->state == HOOK_READY)
		hook_prepare(s);
	else if (s->state == HOOK_STOPPED)
		hook_wake(s);
}

/* -- the lines -------------------------------------------------------------------------------- */

/* There is room in the spool again. */
static void hook_on_print_wake(struct sink *print)
{
	struct hook_sink *s = print->user;

	if (s->state == HOOK_READY)
		hook_prepare(s);
	else if (s->state < HOOK_READY)
		hook_wake(s);
}

static void hook_on_print_fail(struct sink *print, int err)
{
	struct hook_sink *s = print->user;

	(void)snprintf(s->sink.why, sizeof(s->sink.why), "a batch can't be kept in %s: %s",
		s->spool.folder, err_text(err));
	hook_tell_failure(s, err);
}

/* -- the sink --------------------------------------------------------------------------------- */

static bool hook_is_ready(struct sink *sink)
{
	struct hook_sink *s = hook_of(sink);

	if (!hook_is_running(s) && s->state != HOOK_STOPPED)
		return true;
	s->is_awaited = true;
	return false;
}

static int hook_sync_begin(struct sink *sink, const struct sink_sync *sync)
{
	struct hook_sink *s = hook_of(sink);
	int err;

	if (!hook_is_ready(sink))
		return ERR_BUSY;
	hook_drop(s);
	err = s->print.sink.ops->sync_begin(&s->print.sink, sync);
	if (err) {
		hook_set_state(s, HOOK_IDLE);
		return err;
	}
	hook_begin(s, sync_reason_name(sync->reason), sync->revision);
	hook_set_state(s, HOOK_LIST);
	return 0;
}

static int hook_event(struct sink *sink, const struct etcd_event *e)
{
	struct hook_sink *s = hook_of(sink);
	int err;

	if (s->state > HOOK_LIST)
		return ERR_BUSY;
	if (s->state == HOOK_IDLE)
		hook_begin(s, "event", 0);
	err = s->print.sink.ops->event(&s->print.sink, e);
	if (err || s->state == HOOK_LIST)
		return err;
	if (e->mod_rev > s->batch_rev)
		s->batch_rev = e->mod_rev;
	if (s->state != HOOK_GATHER)
		hook_set_state(s, HOOK_GATHER);
	return 0;
}

static ssize_t hook_value(struct sink *sink, const struct etcd_event *e, enum etcd_value which,
	const uint8_t *p, size_t len)
{
	struct hook_sink *s = hook_of(sink);

	if (s->state == HOOK_STOPPED)
		return ERR_BUSY;
	return s->print.sink.ops->value(&s->print.sink, e, which, p, len);
}

static int hook_event_end(struct sink *sink, const struct etcd_event *e)
{
	struct hook_sink *s = hook_of(sink);

	if (s->state == HOOK_STOPPED)
		return ERR_BUSY;
	return s->print.sink.ops->event_end(&s->print.sink, e);
}

static int hook_synced(struct sink *sink, int64_t revision)
{
	struct hook_sink *s = hook_of(sink);
	int err;

	if (s->state == HOOK_STOPPED)
		return ERR_BUSY;
	if (s->state != HOOK_LIST)
		return ERR_BUG;
	err = s->print.sink.ops->synced(&s->print.sink, revision);
	if (!err)
		hook_set_state(s, HOOK_LISTED);
	return err;
}

/* A line that nobody asked for. */
static int hook_progress(struct sink *sink, int64_t revision)
{
	(void)sink;
	(void)revision;
	return 0;
}

/* One more answer is whole, or a revision in it: is the batch? */
static void hook_close_answer(struct hook_sink *s)
{
	int64_t now_ms = s->cfg.loop->now_ms, settle_ms = s->cfg.settle_ms;
	bool is_over = settle_ms <= 0 && !s->sink.is_mid_answer;

	if (s->spool.len + buf_len(&s->out->buf) > CONFIG_HOOK_BATCH_BYTES) {
		hook_set_ready(s);
		return;
	}
	if (!s->settle_due_ms)
		s->settle_due_ms = now_ms + (settle_ms > 0 ? settle_ms : HOOK_ANSWER_MS);
	/* What else comes in this turn joins the batch in any case. */
	loop_timer_set_at(s->cfg.loop, &s->timer, is_over ? now_ms : s->settle_due_ms);
	hook_set_state(s, HOOK_SETTLE);
}

static void hook_commit(struct sink *sink, int64_t revision)
{
	struct hook_sink *s = hook_of(sink);

	switch (s->state) {
	case HOOK_IDLE:
		sink->done_rev = revision;
		break;
	case HOOK_LIST: /* of before the listing */
	case HOOK_STOPPED:
		break;
	case HOOK_GATHER:
	case HOOK_SETTLE:
		s->commit_rev = revision;
		hook_close_answer(s);
		break;
	case HOOK_LISTED:
		s->commit_rev = revision;
		hook_set_ready(s);
		break;
	default:
		s->commit_rev = revision;
		break;
	}
}

static void hook_stop(struct sink *sink, int64_t timeout_ms)
{
	struct hook_sink *s = hook_of(sink);

	if (s->is_stopping)
		return;
	s->is_stopping = true;
	if (hook_is_running(s)) {
		program_stop(&s->program, timeout_ms);
		return;
	}
	hook_set_stopped(s);
	/* The owner is told from the loop. */
	loop_task_post(s->cfg.loop, &s->task);
}

static void hook_now(const struct sink *sink, char *dst, size_t cap)
{
	const struct hook_sink *s = (const struct hook_sink *)sink;

	if (hook_is_running(s))
		(void)snprintf(dst, cap, "hook runs%s", sink->is_failing ? " again" : "");
	else if (sink->is_failing)
		(void)snprintf(dst, cap, "hook failed, tried again");
}

static void hook_retry(struct sink *sink)
{
	struct hook_sink *s = hook_of(sink);

	print_out_retry(s->out);
	if (s->state == HOOK_WAIT)
		hook_set_ready(s);
}

static const struct sink_ops hook_ops = {
	.sync_begin = hook_sync_begin,
	.event = hook_event,
	.value = hook_value,
	.event_end = hook_event_end,
	.synced = hook_synced,
	.progress = hook_progress,
	.commit = hook_commit,
	.is_ready = hook_is_ready,
	.stop = hook_stop,
	.now = hook_now,
	.retry = hook_retry,
};

/* -- start and end ---------------------------------------------------------------------------- */

/* Puts NAME=value at *at, or NAME alone, which takes it out of what the program inherits. */
static const char *hook_add_env(char **at, const char *name, const char *value)
{
	size_t name_len = strlen(name), value_len = value ? strlen(value) + 1 : 0;
	const char *begin = *at;

	memcpy(*at, name, name_len);
	*at += name_len;
	if (value) {
		**at = '=';
		memcpy(*at + 1, value, value_len - 1);
	}
	*at += value_len;
	*(*at)++ = '\0';
	return begin;
}

static int hook_allocate(struct hook_sink *s)
{
	char absolute[HOOK_PATH_MAX];
	const char *mirror = s->cfg.mirror_path, *device = s->cfg.device;
	size_t len = sizeof("ETCHLET_WATCH=ETCHLET_MIRROR=ETCHLET_DEVICE=") + 3;
	char *at;

	if (mirror && port_path_absolute(mirror, absolute, sizeof(absolute)) > 0)
		mirror = absolute;
	len += strlen(s->cfg.watch_name) + (mirror ? strlen(mirror) : 0) +
	       (device ? strlen(device) : 0);
	s->out = heap_calloc(1, sizeof(*s->out) + len);
	if (!s->out)
		return ERR_NOMEM;
	at = (char *)(s->out + 1);
	s->env_watch = hook_add_env(&at, "ETCHLET_WATCH", s->cfg.watch_name);
	s->env_mirror = hook_add_env(&at, "ETCHLET_MIRROR", mirror);
	s->env_device = hook_add_env(&at, "ETCHLET_DEVICE", device);
	return 0;
}

int hook_init(struct hook_sink *s, const struct hook_cfg *cfg)
{
	struct print_cfg print = {.format = PRINT_JSON,
		.watch_name = cfg->watch_name,
		.want_prev = cfg->want_prev,
		.path = cfg->mirror ? hook_key_path : NULL,
		.path_user = s};
	const char *folder = cfg->spool_folder ? cfg->spool_folder : CONFIG_HOOK_SPOOL_FOLDER;
	int err;

	*s = (struct hook_sink){.cfg = *cfg};
	s->sink.ops = &hook_ops;
	s->sink.name = "exec";
	s->sink.is_follower = cfg->mirror != NULL;
	s->attempt.backoff_min_ms = cfg->backoff_min_ms;
	s->attempt.backoff_max_ms = cfg->backoff_max_ms;
	s->log.name = cfg->watch_name;
	s->output =
		(struct loop_fd){.fd = -1, .want = PORT_POLL_IN, .fn = hook_on_output, .user = s};
	s->task = (struct loop_task){.fn = hook_on_task, .user = s};
	s->timer = (struct loop_timer){.fn = hook_on_timer, .user = s};
	s->program = (struct program){.loop = cfg->loop,
		.timeout_ms = cfg->timeout_ms,
		.ended = hook_on_ended,
		.user = s};
	port_spool_init(&s->spool, folder, CONFIG_HOOK_SPOOL_BYTES);
	port_spool_init(&s->next_spool, folder, CONFIG_HOOK_SPOOL_BYTES);
	err = hook_allocate(s);
	if (err)
		return err;
	print_out_open_spool(s->out, cfg->loop, &s->spool);
	print.out = s->out;
	err = print_init(&s->print, &print);
	s->print.sink.wake = hook_on_print_wake;
	s->print.sink.fail = hook_on_print_fail;
	s->print.sink.user = s;
	return err;
}

void hook_set_backoff(struct hook_sink *s, int64_t backoff_min_ms, int64_t backoff_max_ms)
{
	attempt_set_backoff(&s->attempt, backoff_min_ms, backoff_max_ms);
	if (s->state == HOOK_WAIT)
		attempt_shorten(&s->attempt, s->cfg.loop, &s->timer);
}

void hook_free(struct hook_sink *s)
{
	if (!s->out)
		return;
	if (hook_is_running(s)) {
		program_free(&s->program);
		hook_output_end(s);
	}
	if (s->print.client.out) {
		hook_drop(s);
		print_out_close(s->out);
	}
	print_free(&s->print);
	heap_free(s->out);
	s->out = NULL;
	s->state = HOOK_STOPPED;
}

int hook_check(char *const argv[])
{
	return port_child_check(argv[0]);
}
