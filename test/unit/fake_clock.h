/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A clock that stands still. It defines the port_* functions for clock and waiting, so it is
 * included by one file of a test program, and the platform's own are then not linked.
 *
 * Time passes only in fake_run(), from deadline to deadline, so that each is met to the millisecond.
 */
#ifndef ETCHLET_TEST_FAKE_CLOCK_H
#define ETCHLET_TEST_FAKE_CLOCK_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "base/err.h"
#include "base/loop.h"
#include "port/port.h"

enum {
	FAKE_TURNS_MAX = 20000, /* of one fake_run(): more is a loop that spins */
};

struct fake_clock {
	int64_t now_ms;
	int64_t until_ms; /* time does not pass beyond it */
	bool is_idle; /* nothing is left to do until then */
	uint64_t polls;
	int (*ready)(int fd); /* what poll would tell of a descriptor */
};

static struct fake_clock fake_clock;

static inline void fake_clock_reset(void)
{
	fake_clock = (struct fake_clock){.now_ms = 1000000};
}

int64_t port_now_ms(void)
{
	return fake_clock.now_ms;
}

int64_t port_wall_s(void)
{
	return 1700000000;
}

int port_random(void *dst, size_t len)
{
	memset(dst, 0x5a, len);
	return 0;
}

int port_signals_open(void)
{
	return ERR_UNSUPPORTED;
}

int port_signals_take(void)
{
	return 0;
}

int port_poll(struct port_poll *fds, size_t n, int64_t timeout_ms)
{
	int64_t left_ms = fake_clock.until_ms - fake_clock.now_ms;
	int count = 0;

	fake_clock.polls++;
	for (size_t i = 0; i < n; i++) {
		fds[i].got = fake_clock.ready(fds[i].fd) & (fds[i].want | PORT_POLL_ERR);
		count += fds[i].got != 0;
	}
	if (count || timeout_ms == 0)
		return count;
	fake_clock.is_idle = timeout_ms < 0 || timeout_ms > left_ms;
	fake_clock.now_ms += fake_clock.is_idle ? left_ms : timeout_ms;
	return 0;
}

/* Turns until ms have passed and everything that is due then is done. */
static inline void fake_run(struct loop *loop, int64_t ms)
{
	int turns = 0;

	fake_clock.until_ms = fake_clock.now_ms + ms;
	fake_clock.is_idle = false;
	while (!fake_clock.is_idle) {
		assert_true(turns++ < FAKE_TURNS_MAX);
		assert_int_equal(loop_turn(loop), 0);
	}
}

/* Everything that can be done now. */
static inline void fake_run_now(struct loop *loop)
{
	fake_run(loop, 0);
}

#endif
