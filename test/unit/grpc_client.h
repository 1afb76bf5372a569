/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A channel and its calls against a server that is scripted frame by frame. What the owner was told
 * is written down as text and compared whole, so that a callback too many shows as well.
 */
#ifndef ETCHLET_TEST_GRPC_CLIENT_H
#define ETCHLET_TEST_GRPC_CLIENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "base/log.h"
#include "net/grpc.h"

#include "fake_conn.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))
#define OK_HEADERS ":status: 200\ncontent-type: application/grpc\n"

enum {
	CALLS = 3,
	LOG_MAX = 1 << 15,
	DIAL_MS = 5000,
	SETTINGS_MS = 3000,
	KEEPALIVE_MS = 60000,
	KEEPALIVE_TIMEOUT_MS = 6000,
	SLACK_MS = KEEPALIVE_MS / 20, /* what a PING may be late, to join another wake-up */
	ANY_MS = 100000,
};

struct client {
	struct loop loop;
	struct grpc_channel ch;
	struct grpc_channel_cfg cfg;
	struct grpc_call call[CALLS];
	uint8_t ring[CALLS][CONFIG_H2_WINDOW_BYTES];
	size_t take[CALLS]; /* bytes that msg_data() still takes */
	unsigned end_again[CALLS]; /* how often msg_end() still says so */
	int begin_err, data_err, end_err;
	void (*in_up)(void), (*in_down)(void), (*in_going_away)(void), (*in_writable)(void);
	void (*in_begin)(void), (*in_data)(void), (*in_end)(void), (*in_done)(void);
	unsigned writables; /* told, and not asked for by the test yet */
	char log[LOG_MAX];
	size_t len;
	int data_of; /* the log ends with data of this call */
};

static struct client c;

static inline __attribute__((format(printf, 1, 2))) void say(const char *fmt, ...)
{
	size_t room = sizeof(c.log) - c.len;
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(c.log + c.len, room, fmt, ap);
	va_end(ap);
	assert_true(n >= 0 && (size_t)n < room);
	c.len += (size_t)n;
}

/* A line that is not data. */
#define line(...) \
	do { \
		if (c.data_of >= 0) \
			say("\n"); \
		c.data_of = -1; \
		say(__VA_ARGS__); \
	} while (0)

static inline void hook(void (**fn)(void))
{
	void (*once)(void) = *fn;

	*fn = NULL;
	if (once)
		once();
}

static inline void on_up(struct grpc_channel *ch)
{
	(void)ch;
	line("up\n");
	hook(&c.in_up);
}

static inline void on_down(struct grpc_channel *ch, int err, const char *why)
{
	assert_null(ch->calls);
	assert_false(ch->is_open);
	line("down %s: %s\n", err_name(err), why);
	hook(&c.in_down);
}

static inline void on_going_away(struct grpc_channel *ch, const char *why)
{
	(void)ch;
	line("going away: %s\n", why);
	hook(&c.in_going_away);
}

static inline void on_writable(struct grpc_channel *ch)
{
	(void)ch;
	c.writables++;
	hook(&c.in_writable);
}

static const struct grpc_channel_ops channel_ops = {
	.up = on_up, .down = on_down, .going_away = on_going_away, .writable = on_writable};

static inline int index_of(const struct grpc_call *call)
{
	return (int)(call - c.call);
}

static inline int on_msg_begin(struct grpc_call *call, uint32_t len)
{
	line("%d begin %u\n", index_of(call), (unsigned)len);
	hook(&c.in_begin);
	return c.begin_err;
}

static inline ssize_t on_msg_data(struct grpc_call *call, const uint8_t *p, size_t len)
{
	int i = index_of(call);
	size_t n = len < c.take[i] ? len : c.take[i];

	assert_true(len > 0);
	if (c.data_err)
		return c.data_err;
	if (n) {
		if (c.data_of != i) {
			line("%d data ", i);
			c.data_of = i;
		}
		say("%.*s", (int)n, (const char *)p);
	}
	c.take[i] -= n;
	hook(&c.in_data);
	return (ssize_t)n;
}

static inline int on_msg_end(struct grpc_call *call)
{
	int i = index_of(call);

	if (c.end_again[i]) {
		c.end_again[i]--;
		return ERR_AGAIN;
	}
	line("%d end\n", i);
	hook(&c.in_end);
	return c.end_err;
}

static inline void on_done(struct grpc_call *call, const struct grpc_status *st)
{
	char shown[LOG_SHOW_MAX];

	assert_false(grpc_call_is_running(call));
	assert_in_range(st->code, GRPC_OK, GRPC_UNAUTHENTICATED);
	line("%d done %s%s%s%s\n", index_of(call), grpc_code_name(st->code),
		st->is_local ? " local" : "", st->message_len ? ": " : "",
		log_show(shown, sizeof(shown), st->message, st->message_len));
	hook(&c.in_done);
}

static const struct grpc_call_ops call_ops = {
	.msg_begin = on_msg_begin, .msg_data = on_msg_data, .msg_end = on_msg_end, .done = on_done};

static inline void expect(const char *want)
{
	if (c.data_of >= 0)
		say("\n");
	c.data_of = -1;
	assert_string_equal(c.log, want);
	c.log[0] = '\0';
	c.len = 0;
}

/* Nothing is set yet, nobody is connected. */
static inline void set_up(void)
{
	fake_net_reset();
	memset(&c, 0, sizeof(c));
	c.data_of = -1;
	c.cfg = (struct grpc_channel_cfg){
		.target = {.host = "10.0.0.1", .port = 2379, .timeout_ms = DIAL_MS},
		.authority = "10.0.0.1:2379",
		.settings_timeout_ms = SETTINGS_MS,
		.keepalive_time_ms = KEEPALIVE_MS,
		.keepalive_timeout_ms = KEEPALIVE_TIMEOUT_MS,
	};
	loop_init(&c.loop);
	grpc_channel_init(&c.ch, &c.loop, &channel_ops, NULL);
	for (int i = 0; i < CALLS; i++) {
		c.call[i].ops = &call_ops;
		buf_init(&c.call[i].stream.ring, c.ring[i], sizeof(c.ring[i]));
		c.take[i] = SIZE_MAX;
	}
}

static inline void dial(void)
{
	grpc_channel_open(&c.ch, &c.cfg);
	fake_run_now(&c.loop);
}

/* Connected, and told this setting. */
static inline void connect_with(unsigned setting, uint32_t v)
{
	set_up();
	dial();
	fake_settings(setting, v);
	fake_run_now(&c.loop);
	expect("up\n");
}

static inline void connect_now(void)
{
	connect_with(0, 0);
}

static inline int start(int i, bool is_unary, int64_t timeout_ms)
{
	int err = grpc_call_start(
		&c.ch, &c.call[i], "/p.S/Call", NULL, 0, "hello", 5, is_unary, timeout_ms);

	fake_run_now(&c.loop);
	return err;
}

/* A call that runs; its stream's id. */
static inline uint32_t started(int i)
{
	assert_int_equal(start(i, true, 0), 0);
	return fake_last_call()->id;
}

static inline uint32_t streaming(int i)
{
	assert_int_equal(start(i, false, 0), 0);
	return fake_last_call()->id;
}

#endif
