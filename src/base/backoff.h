/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Exponential backoff with full jitter ("Exponential Backoff And Jitter", AWS Architecture Blog,
 * 2015): a pure function of how often it failed, given its random number.
 */
#ifndef ETCHLET_BASE_BACKOFF_H
#define ETCHLET_BASE_BACKOFF_H

#include <stdint.h>

struct backoff {
	int64_t min_ms, max_ms;
	uint32_t round_len; /* tries of the first round, which wait min_ms at most */
	uint32_t tries; /* since it started over */
};

/* round_len: how many endpoints there are to be tried, at least 1. */
void backoff_init(struct backoff *b, int64_t min_ms, int64_t max_ms, uint32_t round_len);

/* Other bounds; what was tried counts on. */
void backoff_set(struct backoff *b, int64_t min_ms, int64_t max_ms, uint32_t round_len);

/* The delay before the next try: uniform in [0, limit], where limit is min_ms in the first round and
 * doubles with each try after it, up to max_ms. random: any 32 bits. */
int64_t backoff_next_ms(struct backoff *b, uint32_t random);

/* The delay before a try that only a person's act can help: uniform in [max_ms / 2, max_ms]. */
int64_t backoff_slow_ms(const struct backoff *b, uint32_t random);

/* The next failure is the first again. */
void backoff_start_over(struct backoff *b);

#endif
