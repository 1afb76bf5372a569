/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the tests of print have in common: an output, a clock and a poll of their own in place of
 * the port, and an owner that drives the sinks as the real one does.
 */
#ifndef ETCHLET_TEST_PRINT_HELPER_H
#define ETCHLET_TEST_PRINT_HELPER_H

#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/log.h"
#include "sink/print.h"

/* -- a world without files: the clock, poll and the output are the test's ---------------------- */

enum { OUT_CAP = 1 << 20, FD = 77 };

static struct {
	int64_t now_ms;
	char got[OUT_CAP]; /* what the output was given */
	size_t len;
	size_t budget; /* bytes that it takes before it says ERR_AGAIN */
	size_t most; /* bytes that it takes at once */
	int err; /* what it answers instead */
	int open_err;
	bool is_file;
	size_t writes, opens, closes;
	int polled_fd; /* that poll was asked about; -1: none */
} w;

int64_t port_now_ms(void)
{
	return w.now_ms;
}

int64_t port_wall_s(void)
{
	return 0;
}

int port_random(void *dst, size_t len)
{
	memset(dst, 1, len);
	return 0;
}

/* Sleeps by moving the clock; the output is ready while it has budget. */
int port_poll(struct port_poll *fds, size_t n, int64_t timeout_ms)
{
	int ready = 0;

	w.polled_fd = -1;
	for (size_t i = 0; i < n; i++) {
		assert_int_equal(fds[i].fd, FD);
		assert_int_equal(fds[i].want, PORT_POLL_OUT);
		w.polled_fd = FD;
		fds[i].got = w.budget || w.err ? PORT_POLL_OUT : 0;
		ready += fds[i].got != 0;
	}
	if (!ready && timeout_ms > 0)
		w.now_ms += timeout_ms;
	return ready;
}

int port_signals_open(void)
{
	return ERR_UNSUPPORTED;
}

int port_signals_take(void)
{
	return 0;
}

int port_output_open(struct port_output *o, const char *path)
{
	(void)path;
	w.opens++;
	*o = (struct port_output){.fd = -1};
	if (w.open_err)
		return w.open_err;
	o->fd = FD;
	o->is_file = w.is_file;
	return 0;
}

ssize_t port_output_write(struct port_output *o, const void *src, size_t len)
{
	assert_int_equal(o->fd, FD);
	assert_true(len > 0);
	w.writes++;
	if (w.err)
		return w.err;
	if (!w.budget)
		return ERR_AGAIN;
	if (len > w.budget)
		len = w.budget;
	if (len > w.most)
		len = w.most;
	assert_true(w.len + len <= OUT_CAP);
	memcpy(w.got + w.len, src, len);
	w.len += len;
	w.budget -= len;
	return (ssize_t)len;
}

int port_output_sync(struct port_output *o)
{
	(void)o;
	return 0;
}

void port_output_close(struct port_output *o)
{
	w.closes++;
	o->fd = -1;
}

/* -- the sinks under test ---------------------------------------------------------------------- */

static struct loop loop;
static struct print_out out;
static struct print_sink sinks[2];
static unsigned wakes, fails, log_lines;
static int fail_err;
static char log_text[4096];
static bool in_call; /* a sink_ops call runs: nothing may be told */

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
	log_lines++;
	snprintf(log_text + strlen(log_text), sizeof(log_text) - strlen(log_text), "%.*s\n",
		(int)len, line);
}

static inline void begin_path(const char *path)
{
	memset(&w, 0, sizeof(w));
	w.budget = w.most = OUT_CAP;
	w.polled_fd = -1;
	wakes = fails = log_lines = 0;
	fail_err = 0;
	log_text[0] = '\0';
	log_set_writer(on_log);
	loop_init(&loop);
	(void)print_out_open(&out, &loop, path);
}

static inline void add_sink(size_t i, struct print_cfg cfg)
{
	cfg.out = &out;
	assert_int_equal(print_init(&sinks[i], &cfg), 0);
	sinks[i].sink.wake = on_wake;
	sinks[i].sink.fail = on_fail;
}

static inline void begin(struct print_cfg cfg)
{
	begin_path("-");
	add_sink(0, cfg);
}

static inline void end(void)
{
	print_out_close(&out);
	print_free(&sinks[0]);
	log_set_writer(NULL);
}

static inline void turn(void)
{
	assert_int_equal(loop_turn(&loop), 0);
}

/* What was written since the start is exactly that. */
static inline void check_bytes(const char *want, size_t len)
{
	size_t n = 0;

	while (n < len && n < w.len && want[n] == w.got[n])
		n++;
	if (n < len || w.len > len)
		fail_msg("differs at %zu: wanted %.60s, got %.60s (%zu bytes, wanted %zu)", n,
			want + n, w.got + n, w.len, len);
}

static inline void check(const char *want)
{
	turn();
	check_bytes(want, strlen(want));
}

/* -- events ------------------------------------------------------------------------------------ */

struct sample {
	struct etcd_event e;
	const uint8_t *value, *prev;
};

static inline struct sample sample_of(const char *key, const char *value)
{
	struct sample s = {.e = {.type = value ? ETCD_EVENT_PUT : ETCD_EVENT_DELETE,
				   .key = (const uint8_t *)key,
				   .key_len = strlen(key),
				   .create_rev = 3,
				   .mod_rev = 12,
				   .version = 4},
		.value = (const uint8_t *)value};

	if (value) {
		s.e.value_len = strlen(value);
	} else {
		s.e.create_rev = s.e.version = 0;
		s.e.mod_rev = 13;
	}
	return s;
}

static inline struct sample with_prev(struct sample s, const char *prev)
{
	s.prev = (const uint8_t *)prev;
	s.e.has_prev = true;
	s.e.prev_len = strlen(prev);
	return s;
}

/* How the calls of an event are cut up, and what the output does meanwhile. */
static size_t piece_len = SIZE_MAX, budget_step;

static inline void give_budget(void)
{
	/* A sink that is busy has said so to poll, and wakes its owner. */
	unsigned before = wakes;

	w.budget += budget_step ? budget_step : OUT_CAP;
	for (int i = 0; i < 50 && wakes == before; i++) {
		turn();
		if (!w.budget)
			w.budget += budget_step;
	}
	assert_true(wakes > before);
}

static inline int call_event(struct print_sink *s, const struct etcd_event *e)
{
	int ret;

	in_call = true;
	ret = s->sink.ops->event(&s->sink, e);
	in_call = false;
	return ret;
}

static inline int call_end(struct print_sink *s, const struct etcd_event *e)
{
	int ret;

	in_call = true;
	ret = s->sink.ops->event_end(&s->sink, e);
	in_call = false;
	return ret;
}

static inline int call_sync_begin(struct print_sink *s, enum sync_reason reason, int64_t revision)
{
	struct sink_sync sync = {.reason = reason, .revision = revision, .compact_revision = 33};
	int ret;

	in_call = true;
	ret = s->sink.ops->sync_begin(&s->sink, &sync);
	in_call = false;
	return ret;
}

static inline ssize_t call_value(struct print_sink *s, const struct etcd_event *e,
	enum etcd_value which, const uint8_t *p, size_t len)
{
	ssize_t ret;

	in_call = true;
	ret = s->sink.ops->value(&s->sink, e, which, p, len);
	in_call = false;
	return ret;
}

static inline void commit(struct print_sink *s, int64_t revision)
{
	in_call = true;
	s->sink.ops->commit(&s->sink, revision);
	in_call = false;
}

/* What is known of an event before its own value: nothing of what stands behind that. */
static inline struct etcd_event early_event(const struct etcd_event *e)
{
	struct etcd_event early = *e;

	early.lease = 999;
	early.has_prev = false;
	early.prev_len = 0;
	return early;
}

static inline void feed_value(struct print_sink *s, const struct etcd_event *whole,
	enum etcd_value which, const uint8_t *p, size_t len)
{
	struct etcd_event e = which == ETCD_VALUE ? early_event(whole) : *whole;

	while (len) {
		size_t n = len < piece_len ? len : piece_len;
		/* Of its own size, so that a read beyond it is found. */
		uint8_t *copy = malloc(n);
		ssize_t took;

		assert_non_null(copy);
		memcpy(copy, p, n);
		took = call_value(s, &e, which, copy, n);
		free(copy);
		if (took == 0 || took == ERR_AGAIN) {
			give_budget();
			continue;
		}
		assert_true(took > 0 && (size_t)took <= n);
		p += took;
		len -= (size_t)took;
	}
}

static inline void feed_begin(struct print_sink *s, const struct sample *x)
{
	struct etcd_event e = early_event(&x->e);
	uint8_t *key = malloc(e.key_len ? e.key_len : 1);
	int ret;

	assert_non_null(key);
	memcpy(key, e.key, e.key_len);
	e.key = key;
	while ((ret = call_event(s, &e)) == ERR_AGAIN)
		give_budget();
	free(key);
	assert_int_equal(ret, 0);
}

static inline void feed(struct print_sink *s, struct sample x)
{
	int ret;

	feed_begin(s, &x);
	feed_value(s, &x.e, ETCD_VALUE, x.value, x.value ? (size_t)x.e.value_len : 0);
	feed_value(s, &x.e, ETCD_VALUE_PREV, x.prev, (size_t)x.e.prev_len);
	while ((ret = call_end(s, &x.e)) == ERR_AGAIN)
		give_budget();
	assert_int_equal(ret, 0);
}

/* Text of len bytes in which each kind of byte comes: 0 plain, 1 escapes, 2 UTF-8, 3 binary. */
static inline char *make_text(int kind, size_t len)
{
	static const char *const units[] = {"abc", "a\"\n\x01", "\xe2\x82\xac\\", "\xff\0b"};
	static const size_t unit_len[] = {3, 4, 4, 3};
	char *text = malloc(len + 1);
	size_t i = 0;

	assert_non_null(text);
	while (i + unit_len[kind] <= len) {
		memcpy(text + i, units[kind], unit_len[kind]);
		i += unit_len[kind];
	}
	memset(text + i, 'z', len - i);
	text[len] = '\0';
	return text;
}

/* Formatted at dst + at, which has room; returns the length. */
static inline size_t __attribute__((format(printf, 3, 4)))
put_text(char *dst, size_t at, const char *fmt, ...)
{
	va_list args;
	int n;

	va_start(args, fmt);
	n = vsnprintf(dst + at, 65536, fmt, args);
	va_end(args);
	assert_in_range(n, 0, 65535);
	return (size_t)n;
}

static inline size_t append_base64(char *dst, const uint8_t *p, size_t len)
{
	struct base64 b = {0};
	size_t used;

	assert_int_equal(base64_put(&b, dst, base64_len(len) + 4, &used, p, len), len);
	return used + base64_end(&b, dst + used);
}

#endif
