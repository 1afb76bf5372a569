/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the tests of hooks have in common: an owner, real programs, and the machine's time, which can
 * be moved ahead. A file that includes this is a test program with _GNU_SOURCE.
 */
#ifndef ETCHLET_TEST_HOOK_HELPER_H
#define ETCHLET_TEST_HOOK_HELPER_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/err.h"
#include "base/log.h"
#include "sink/hook.h"

/* -- a clock that can be moved ----------------------------------------------------------------- */

static int64_t skew_ms;

static inline int64_t real_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

int64_t port_now_ms(void)
{
	return real_ms() + skew_ms;
}

int64_t port_wall_s(void)
{
	return 0;
}

int port_random(void *dst, size_t len)
{
	memset(dst, 0xFF, len);
	return 0;
}

/* -- the world --------------------------------------------------------------------------------- */

enum { LOG_CAP = 1 << 16, TEXT_CAP = 1 << 16, WAIT_MS = 20000 };

static char dir[] = "/tmp/etchlet-hook-XXXXXX";
static struct loop loop;
static struct loop_fd signals;
static struct loop_timer tick;
static struct hook_sink hook;
static unsigned wakes, fails;
static int fail_err;
static bool in_call;
static char log_text[LOG_CAP];
static size_t log_len;

static inline void on_wake(struct sink *s)
{
	(void)s;
	assert_false(in_call);
	wakes++;
}

static inline void on_fail(struct sink *s, int err)
{
	(void)s;
	assert_false(in_call);
	fails++;
	fail_err = err;
}

static inline void on_log(enum log_level level, const char *line, size_t len)
{
	(void)level;
	assert_true(log_len + len + 2 < LOG_CAP);
	memcpy(log_text + log_len, line, len);
	log_len += len;
	log_text[log_len++] = '\n';
	log_text[log_len] = '\0';
}

static inline void on_signals(struct loop_fd *fd, int events)
{
	(void)fd;
	(void)events;
	if (port_signals_take() & PORT_SIGNAL_CHILD)
		hook_child_ended(&hook);
}

static inline void on_tick(struct loop_timer *t)
{
	loop_timer_set(&loop, t, 50);
}

static inline size_t count_log(const char *needle)
{
	size_t n = 0;

	for (const char *p = log_text; (p = strstr(p, needle)); p++)
		n++;
	return n;
}

static inline void check_log(const char *needle, size_t count)
{
	if (count_log(needle) != count)
		fail_msg("\"%s\" %zu times in the log, not %zu:\n%s", needle, count_log(needle),
			count, log_text);
}

static inline const char *in_dir(const char *name)
{
	static char paths[4][256];
	static unsigned next;
	char *path = paths[next++ % 4];

	snprintf(path, sizeof(paths[0]), "%s/%s", dir, name);
	return path;
}

static inline bool has_file(const char *name)
{
	return access(in_dir(name), F_OK) == 0;
}

/* Static; terminated. */
static inline char *read_text(const char *name)
{
	static char text[2][TEXT_CAP];
	static unsigned next;
	char *dst = text[next++ % 2];
	FILE *f = fopen(in_dir(name), "r");

	if (!f)
		fail_msg("%s is missing; the log:\n%s", name, log_text);
	dst[fread(dst, 1, TEXT_CAP - 1, f)] = '\0';
	fclose(f);
	return dst;
}

static inline int read_number(const char *name)
{
	return (int)strtol(read_text(name), NULL, 10);
}

static inline void check_text(const char *name, const char *want)
{
	assert_string_equal(read_text(name), want);
}

static inline size_t count_descriptors(void)
{
	DIR *d = opendir("/proc/self/fd");
	size_t n = 0;

	assert_non_null(d);
	while (readdir(d))
		n++;
	closedir(d);
	return n;
}

/* -- where the files are ----------------------------------------------------------------------- */

static uint32_t shape;
static bool is_moved; /* each path now ends in /%% */
static unsigned path_calls;
static int64_t files_done_rev;

static inline size_t double_key_path(
	void *user, const uint8_t *key, size_t key_len, char *dst, size_t cap)
{
	assert_ptr_equal(user, &hook);
	assert_true(key_len && cap > 4096);
	if (memchr(key, '!', key_len))
		return 0;
	memcpy(dst, key + 1, key_len - 1);
	dst[key_len - 1] = '\0';
	return key_len - 1;
}

static inline size_t double_path_now(
	void *user, const char *path, size_t len, char *dst, size_t cap)
{
	assert_ptr_equal(user, &hook);
	path_calls++;
	assert_true(len + 4 <= cap);
	assert_null(memchr(path, '"', len));
	/* Keeps what lies elsewhere for good. */
	if (len && path[len - 1] == 'x')
		return 0;
	memcpy(dst, path, len);
	memcpy(dst + len, is_moved ? "/%%" : "", is_moved ? 4 : 1);
	return len + (is_moved ? 3 : 0);
}

static inline uint32_t double_shape(void *user)
{
	assert_ptr_equal(user, &hook);
	return shape;
}

static inline int64_t double_done_rev(void *user)
{
	assert_ptr_equal(user, &hook);
	return files_done_rev;
}

static const struct hook_files mirror_double = {
	.key_path = double_key_path, .path_now = double_path_now, .shape = double_shape};
static const struct hook_files fetch_double = {.key_path = double_key_path,
	.path_now = double_path_now,
	.shape = double_shape,
	.done_rev = double_done_rev,
	.is_line_dropped = true};

/* -- the hook under test ----------------------------------------------------------------------- */

static char *argv_sh[] = {(char *)"/bin/sh", (char *)"-c", NULL, NULL};

static inline struct hook_cfg cfg_of(const char *script)
{
	argv_sh[2] = (char *)(uintptr_t)script;
	return (struct hook_cfg){.loop = &loop,
		.watch_name = "net",
		.argv = argv_sh,
		.timeout_ms = 15000,
		.backoff_min_ms = 1,
		.backoff_max_ms = 5,
		.spool_folder = dir};
}

static inline void begin_cfg(const struct hook_cfg *cfg)
{
	assert_int_equal(hook_init(&hook, cfg), 0);
	hook.batch.sink.wake = on_wake;
	hook.batch.sink.fail = on_fail;
}

static inline void begin(const char *script)
{
	struct hook_cfg cfg = cfg_of(script);

	begin_cfg(&cfg);
}

static size_t descriptors;

static inline int setup(void **state)
{
	(void)state;
	wakes = fails = 0;
	fail_err = 0;
	log_len = 0;
	log_text[0] = '\0';
	shape = 0;
	is_moved = false;
	path_calls = 0;
	files_done_rev = 0;
	memset(&hook, 0, sizeof(hook));
	log_set_writer(on_log);
	loop_init(&loop);
	signals =
		(struct loop_fd){.fd = port_signals_open(), .want = PORT_POLL_IN, .fn = on_signals};
	assert_int_equal(loop_fd_add(&loop, &signals), 0);
	tick = (struct loop_timer){.fn = on_tick};
	loop_timer_set(&loop, &tick, 50);
	strcpy(dir, "/tmp/etchlet-hook-XXXXXX");
	assert_non_null(mkdtemp(dir));
	setenv("T", dir, 1);
	descriptors = count_descriptors();
	return 0;
}

static inline int teardown(void **state)
{
	char command[64];

	(void)state;
	hook_free(&hook);
	loop_timer_clear(&loop, &tick);
	loop_fd_remove(&loop, &signals);
	assert_null(loop.timers);
	assert_null(loop.fds);
	for (struct loop_task *t = loop.tasks; t; t = t->next)
		fail_msg("a task was left behind");
	assert_int_equal(count_descriptors(), descriptors);
	snprintf(command, sizeof(command), "rm -rf %s", dir);
	assert_int_equal(system(command), 0);
	log_set_writer(NULL);
	return 0;
}

static inline void turn(void)
{
	assert_int_equal(loop_turn(&loop), 0);
}

#define UNTIL(condition) \
	do { \
		int64_t end_ms_ = real_ms() + WAIT_MS; \
		while (!(condition)) { \
			turn(); \
			if (real_ms() > end_ms_) \
				fail_msg("never: %s; the log:\n%s", #condition, log_text); \
		} \
	} while (0)

static inline int event(
	const char *key, const char *value, int64_t rev, bool is_listed, const char *prev)
{
	struct etcd_event e = {.type = value ? ETCD_EVENT_PUT : ETCD_EVENT_DELETE,
		.is_listed = is_listed,
		.key = (const uint8_t *)key,
		.key_len = strlen(key),
		.value_len = value ? strlen(value) : 0,
		.create_rev = value ? 3 : 0,
		.version = value ? 4 : 0,
		.mod_rev = rev,
		.has_prev = prev != NULL,
		.prev_len = prev ? strlen(prev) : 0};
	const struct sink_ops *ops = hook.batch.sink.ops;
	int ret;

	in_call = true;
	ret = ops->event(&hook.batch.sink, &e);
	for (size_t at = 0; !ret && value && at < e.value_len;) {
		ssize_t n = ops->value(&hook.batch.sink, &e, ETCD_VALUE,
			(const uint8_t *)value + at, (size_t)e.value_len - at);

		assert_true(n > 0);
		at += (size_t)n;
	}
	if (!ret && e.prev_len)
		assert_int_equal(ops->value(&hook.batch.sink, &e, ETCD_VALUE_PREV,
					 (const uint8_t *)prev, (size_t)e.prev_len),
			e.prev_len);
	if (!ret)
		assert_int_equal(ops->event_end(&hook.batch.sink, &e), 0);
	in_call = false;
	return ret;
}

static inline void commit(int64_t rev)
{
	in_call = true;
	hook.batch.sink.ops->commit(&hook.batch.sink, rev);
	in_call = false;
}

static inline void put(const char *key, const char *value, int64_t rev)
{
	assert_int_equal(event(key, value, rev, false, NULL), 0);
	commit(rev);
}

static inline int sync_begin(enum sync_reason reason, int64_t rev)
{
	struct sink_sync sync = {.reason = reason, .revision = rev, .compact_revision = 9};
	int ret;

	in_call = true;
	ret = hook.batch.sink.ops->sync_begin(&hook.batch.sink, &sync);
	in_call = false;
	return ret;
}

static inline void synced(int64_t rev)
{
	in_call = true;
	assert_int_equal(hook.batch.sink.ops->synced(&hook.batch.sink, rev), 0);
	in_call = false;
	commit(rev);
}

static inline bool is_ready(void)
{
	return hook.batch.sink.ops->is_ready(&hook.batch.sink);
}

static inline void stop(int64_t timeout_ms)
{
	in_call = true;
	hook.batch.sink.ops->stop(&hook.batch.sink, timeout_ms);
	in_call = false;
}

#define PUT_LINE(key, value, rev) \
	"{\"watch\":\"net\",\"type\":\"put\",\"key\":\"" key "\",\"value\":\"" value \
	"\",\"create_revision\":3,\"mod_revision\":" rev ",\"version\":4,\"lease\":\"0\"}\n"
#define PATH_LINE(key, path, rev) \
	"{\"watch\":\"net\",\"type\":\"put\",\"key\":\"" key "\"" path \
	",\"create_revision\":3,\"mod_revision\":" rev ",\"version\":4,\"lease\":\"0\""

static inline char *text_of(size_t len)
{
	char *text = malloc(len + 1);

	assert_non_null(text);
	memset(text, 'v', len);
	text[len] = '\0';
	return text;
}

#endif
