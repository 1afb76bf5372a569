/* SPDX-License-Identifier: Apache-2.0 */
#include "sink/hook.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "base/log.h"

enum {
	HOOK_READ_LEN = 4096, /* of what it prints, at once */
	HOOK_READ_STEPS = 4, /* and that often in one turn */
	HOOK_DRAIN_STEPS = 16, /* after its end: what a pipe of Linux holds */
	HOOK_READ_MS = 50, /* it is looked for that often where the loop has no room for it */
};

_Static_assert((int)HOOK_PATH_MEM_LEN <= (int)PRINT_HOLD_LEN,
	"paths are worked out where values are held");

static struct hook_sink *hook_of(struct batch *b)
{
	return (struct hook_sink *)b;
}

/* -- what the program prints ------------------------------------------------------------------ */

static void hook_output_close(struct hook_sink *s)
{
	loop_timer_clear(s->cfg.loop, &s->output_timer);
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

static void hook_on_output_timer(struct loop_timer *timer)
{
	struct hook_sink *s = timer->user;

	loop_timer_set(s->cfg.loop, timer, HOOK_READ_MS);
	hook_output_read(s, HOOK_DRAIN_STEPS);
}

static void hook_output_open(struct hook_sink *s, int fd)
{
	s->output.fd = fd;
	if (loop_fd_add(s->cfg.loop, &s->output))
		loop_timer_set(s->cfg.loop, &s->output_timer, HOOK_READ_MS);
}

/* What it left running may hold the pipe for ever: nobody waits for its end. */
static void hook_output_end(struct hook_sink *s)
{
	hook_output_read(s, HOOK_DRAIN_STEPS);
	hook_output_close(s);
	hook_log_end(&s->log);
}

/* -- paths ------------------------------------------------------------------------------------ */

static size_t hook_key_path(void *user, const uint8_t *key, size_t key_len, char *dst, size_t cap)
{
	struct hook_sink *s = user;

	return s->cfg.files->key_path(s->cfg.files_user, key, key_len, dst, cap);
}

static void hook_begin(struct batch *b)
{
	struct hook_sink *s = hook_of(b);

	if (s->cfg.files)
		s->shape = s->cfg.files->shape(s->cfg.files_user);
}

static void hook_drop(struct batch *b)
{
	struct hook_sink *s = hook_of(b);

	port_spool_clear(&s->next_spool);
	s->is_in_next = false;
}

static bool hook_must_wait(struct batch *b)
{
	struct hook_sink *s = hook_of(b);

	return s->cfg.files && s->cfg.files->done_rev &&
	       s->cfg.files->done_rev(s->cfg.files_user) < b->commit_rev;
}

void hook_files_moved(struct hook_sink *s)
{
	batch_ready(&s->batch);
}

/* Whether the batch has the paths that the program is to be given. */
static bool hook_has_paths(const struct hook_sink *s)
{
	const struct hook_files *files = s->cfg.files;

	return !files || (files->shape(s->cfg.files_user) == s->shape &&
				 (s->is_in_next || !files->is_line_dropped));
}

static void hook_begin_paths(struct hook_sink *s)
{
	/* It may change again meanwhile: what is worked out now is right for this one at least. */
	s->next_shape = s->cfg.files->shape(s->cfg.files_user);
	port_spool_clear(&s->next_spool);
	s->is_in_next = false;
	s->paths = (struct hook_path){.from = &s->batch.spool,
		.to = &s->next_spool,
		.path_now = s->cfg.files->path_now,
		.user = s->cfg.files_user,
		.is_line_dropped = s->cfg.files->is_line_dropped,
		.mem = s->batch.out->hold};
}

/* What was dropped may have a file at the next try, so the batch is kept as it came. */
static void hook_end_paths(struct hook_sink *s)
{
	struct port_spool done = s->batch.spool;

	s->shape = s->next_shape;
	if (s->cfg.files->is_line_dropped) {
		s->is_in_next = true;
		return;
	}
	s->batch.spool = s->next_spool;
	s->next_spool = done;
	port_spool_clear(&s->next_spool);
}

static int hook_prepare(struct batch *b, bool is_first)
{
	struct hook_sink *s = hook_of(b);
	int err;

	if (is_first) {
		if (hook_has_paths(s))
			return 0;
		hook_begin_paths(s);
		return ERR_AGAIN;
	}
	err = hook_path_step(&s->paths);
	if (!err)
		hook_end_paths(s);
	else if (err != ERR_AGAIN)
		port_spool_clear(&s->next_spool);
	return !err && s->is_in_next && !s->next_spool.len ? BATCH_EMPTY : err;
}

/* -- the program ------------------------------------------------------------------------------ */

/* 0 or an error; nothing is left open then. */
static int hook_start(struct batch *b)
{
	struct hook_sink *s = hook_of(b);
	char *env[7] = {NULL};
	struct port_pipe pipe = {.read_fd = -1, .write_fd = -1};
	int in = port_spool_reader(s->is_in_next ? &s->next_spool : &b->spool);
	int err = in < 0 ? in : port_pipe_open(&pipe);

	(void)snprintf(
		s->env_revision, sizeof(s->env_revision), "ETCHLET_REVISION=%" PRId64, b->revision);
	(void)snprintf(s->env_reason, sizeof(s->env_reason), "ETCHLET_REASON=%s", b->reason);
	/* Nobody writes to them: environments are not const for reasons of history. */
	env[0] = (char *)(uintptr_t)s->env_watch;
	env[1] = s->env_revision;
	env[2] = s->env_reason;
	env[3] = (char *)(uintptr_t)s->env_mirror;
	env[4] = (char *)(uintptr_t)s->env_fetch;
	env[5] = (char *)(uintptr_t)s->env_device;
	if (!err)
		err = program_start(
			&s->program, s->cfg.argv, env, in, pipe.write_fd, pipe.write_fd);
	port_fd_close(in);
	port_fd_close(pipe.write_fd);
	if (err)
		port_fd_close(pipe.read_fd);
	else
		hook_output_open(s, pipe.read_fd);
	return err;
}

static void hook_on_ended(struct program *program, int result)
{
	struct hook_sink *s = program->user;

	hook_output_end(s);
	batch_ended(&s->batch, result);
}

void hook_child_ended(struct hook_sink *s)
{
	program_child_ended(&s->program);
}

static void hook_stop(struct batch *b, int64_t timeout_ms)
{
	program_stop(&hook_of(b)->program, timeout_ms);
}

static void hook_describe(struct batch *b, int result)
{
	struct hook_sink *s = hook_of(b);
	const char *program = s->cfg.argv[0];
	char *why = b->sink.why;
	size_t cap = sizeof(b->sink.why);

	if (result == ERR_TIMEOUT && b->is_stopping)
		(void)snprintf(why, cap, "%s did not end in time", program);
	else if (result == ERR_TIMEOUT)
		(void)snprintf(why, cap, "%s ran longer than %" PRId64 " ms and was ended", program,
			s->cfg.timeout_ms);
	else if (result < 0)
		(void)snprintf(why, cap, "%s not started: %s", program, err_text(result));
	else
		(void)snprintf(why, cap, "%s ended with status %d", program, result);
}

static void hook_now(const struct batch *b, char *dst, size_t cap)
{
	if (batch_is_running(b))
		(void)snprintf(dst, cap, "hook runs%s", b->sink.is_failing ? " again" : "");
	else if (b->state == BATCH_AWAIT)
		(void)snprintf(dst, cap, "hook waits for downloads");
	else if (b->sink.is_failing)
		(void)snprintf(dst, cap, "hook failed, tried again");
}

static const struct batch_ops hook_ops = {
	.begin = hook_begin,
	.must_wait = hook_must_wait,
	.prepare = hook_prepare,
	.start = hook_start,
	.stop = hook_stop,
	.describe = hook_describe,
	.drop = hook_drop,
	.now = hook_now,
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

/* path, or what it is from the root on, in absolute. */
static const char *hook_absolute(const char *path, char absolute[HOOK_PATH_MAX])
{
	return path && port_path_absolute(path, absolute, HOOK_PATH_MAX) > 0 ? absolute : path;
}

static size_t text_len(const char *text)
{
	return text ? strlen(text) : 0;
}

static int hook_init_batch(struct hook_sink *s)
{
	const struct hook_cfg *cfg = &s->cfg;
	char absolute[HOOK_PATH_MAX];
	/* Only one of them is there: a watch has a mirror or fetches. */
	const char *mirror = hook_absolute(cfg->mirror_path, absolute);
	const char *fetch = hook_absolute(cfg->fetch_path, absolute);
	struct batch_cfg batch = {
		.loop = cfg->loop,
		.ops = &hook_ops,
		.kind = "hook",
		.sink_name = "exec",
		.watch_name = cfg->watch_name,
		.subject = cfg->argv[0],
		.settle_ms = cfg->settle_ms,
		.backoff_min_ms = cfg->backoff_min_ms,
		.backoff_max_ms = cfg->backoff_max_ms,
		.want_prev = cfg->want_prev,
		.path = cfg->files ? hook_key_path : NULL,
		.path_user = s,
		.spool_folder = cfg->spool_folder,
		.mem_len = sizeof("ETCHLET_WATCH=ETCHLET_MIRROR=ETCHLET_FETCH=ETCHLET_DEVICE=") +
			   4 + text_len(cfg->watch_name) + text_len(mirror) + text_len(fetch) +
			   text_len(cfg->device),
	};
	int err = batch_init(&s->batch, &batch);
	char *at = s->batch.mem;

	if (!at)
		return err;
	s->env_watch = hook_add_env(&at, "ETCHLET_WATCH", cfg->watch_name);
	s->env_mirror = hook_add_env(&at, "ETCHLET_MIRROR", mirror);
	s->env_fetch = hook_add_env(&at, "ETCHLET_FETCH", fetch);
	s->env_device = hook_add_env(&at, "ETCHLET_DEVICE", cfg->device);
	return err;
}

int hook_init(struct hook_sink *s, const struct hook_cfg *cfg)
{
	int err;

	*s = (struct hook_sink){.cfg = *cfg};
	s->log.name = cfg->watch_name;
	s->output =
		(struct loop_fd){.fd = -1, .want = PORT_POLL_IN, .fn = hook_on_output, .user = s};
	s->output_timer = (struct loop_timer){.fn = hook_on_output_timer, .user = s};
	s->program = (struct program){.loop = cfg->loop,
		.timeout_ms = cfg->timeout_ms,
		.ended = hook_on_ended,
		.user = s};
	port_spool_init(&s->next_spool,
		cfg->spool_folder ? cfg->spool_folder : CONFIG_BATCH_SPOOL_FOLDER,
		CONFIG_BATCH_SPOOL_BYTES);
	err = hook_init_batch(s);
	/* It needs what the files' keeper has made of an event. */
	s->batch.sink.is_follower = cfg->files != NULL;
	return err;
}

void hook_set_backoff(struct hook_sink *s, int64_t backoff_min_ms, int64_t backoff_max_ms)
{
	batch_set_backoff(&s->batch, backoff_min_ms, backoff_max_ms);
}

void hook_free(struct hook_sink *s)
{
	if (hook_is_running(s)) {
		program_free(&s->program);
		hook_output_end(s);
	}
	batch_free(&s->batch);
}

int hook_check(char *const argv[])
{
	return port_child_check(argv[0]);
}
