/* SPDX-License-Identifier: Apache-2.0 */
#include "base/backoff.h"

/* Uniform in [0, limit_ms], with a bias of at most limit_ms / 2^32. */
static int64_t scale(int64_t limit_ms, uint32_t random)
{
	uint64_t span = (uint64_t)limit_ms + 1;

	/* A limit of 2^31 ms is 24 days. */
	if (span > UINT32_MAX)
		span = UINT32_MAX;
	return (int64_t)((span * random) >> 32);
}

void backoff_set(struct backoff *b, int64_t min_ms, int64_t max_ms, uint32_t round_len)
{
	b->min_ms = min_ms;
	b->max_ms = max_ms > min_ms ? max_ms : min_ms;
	b->round_len = round_len ? round_len : 1;
}

void backoff_init(struct backoff *b, int64_t min_ms, int64_t max_ms, uint32_t round_len)
{
	backoff_set(b, min_ms, max_ms, round_len);
	b->tries = 0;
}

int64_t backoff_next_ms(struct backoff *b, uint32_t random)
{
	int64_t limit_ms = b->min_ms;
	uint32_t doublings = 0;

	if (b->tries >= b->round_len)
		doublings = b->tries - b->round_len + 1;
	while (doublings-- && limit_ms < b->max_ms)
		limit_ms = limit_ms > b->max_ms / 2 ? b->max_ms : limit_ms * 2;
	if (b->tries < UINT32_MAX)
		b->tries++;
	return scale(limit_ms, random);
}

int64_t backoff_slow_ms(const struct backoff *b, uint32_t random)
{
	return b->max_ms - scale(b->max_ms / 2, random);
}

void backoff_start_over(struct backoff *b)
{
	b->tries = 0;
}
