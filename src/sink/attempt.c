/* SPDX-License-Identifier: Apache-2.0 */
#include "sink/attempt.h"

#include "base/backoff.h"
#include "port/port.h"

bool attempt_failed(struct attempt *a, int64_t now_ms, int reason)
{
	if (a->reason == reason)
		return false;
	if (a->reason && now_ms - a->logged_ms < a->backoff_max_ms)
		return false;
	a->reason = reason;
	a->logged_ms = now_ms;
	return true;
}

static uint32_t attempt_random(int64_t now_ms)
{
	uint32_t random;

	/* Spread is all that is asked of it: without entropy the clock has to do. */
	if (port_random(&random, sizeof(random)))
		random = (uint32_t)now_ms * UINT32_C(2654435761);
	return random;
}

int64_t attempt_delay_ms(struct attempt *a, int64_t now_ms)
{
	struct backoff backoff;
	int64_t delay_ms;

	backoff_init(&backoff, a->backoff_min_ms, a->backoff_max_ms, 1);
	backoff.tries = a->failures;
	delay_ms = backoff_next_ms(&backoff, attempt_random(now_ms));
	a->failures = backoff.tries;
	return delay_ms;
}

int64_t attempt_slow_delay_ms(struct attempt *a, int64_t now_ms)
{
	struct backoff backoff;

	backoff_init(&backoff, a->backoff_min_ms, a->backoff_max_ms, 1);
	return backoff_slow_ms(&backoff, attempt_random(now_ms));
}

void attempt_set_backoff(struct attempt *a, int64_t backoff_min_ms, int64_t backoff_max_ms)
{
	a->backoff_min_ms = backoff_min_ms;
	a->backoff_max_ms = backoff_max_ms;
}

void attempt_shorten(const struct attempt *a, struct loop *loop, struct loop_timer *timer)
{
	if (timer->is_set && timer->due_ms - loop->now_ms > a->backoff_max_ms)
		loop_timer_set(loop, timer, a->backoff_max_ms);
}

bool attempt_succeeded(struct attempt *a)
{
	bool was_told = a->reason != 0;

	a->reason = 0;
	a->failures = 0;
	return was_told;
}
