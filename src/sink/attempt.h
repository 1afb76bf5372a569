/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a sink tries until it works: how long until the next try, and whether a failure is worth a line in the log.
 */
#ifndef ETCHLET_SINK_ATTEMPT_H
#define ETCHLET_SINK_ATTEMPT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/loop.h"

struct attempt {
	int64_t backoff_min_ms, backoff_max_ms; /* the owner's; the rest begins as zero */
	uint32_t failures; /* one after the other */
	int64_t logged_ms; /* private */
	int reason; /* of the failure logged last; 0: none */
};

/*
 * It failed: reason is not 0. Returns whether to log it: when it is a new reason, and at most once
 * in backoff_max_ms, so that what fails in two ways in turn does not fill the log.
 */
bool attempt_failed(struct attempt *a, int64_t now_ms, int reason);
/* How long until the next try, to be asked after each failure: by base/backoff.h. */
int64_t attempt_delay_ms(struct attempt *a, int64_t now_ms);
/* The same where only a person can help. */
int64_t attempt_slow_delay_ms(struct attempt *a, int64_t now_ms);
/* Other delays from now on. */
void attempt_set_backoff(struct attempt *a, int64_t backoff_min_ms, int64_t backoff_max_ms);
/* A try that timer is set for comes within backoff_max_ms. */
void attempt_shorten(const struct attempt *a, struct loop *loop, struct loop_timer *timer);
/* It worked. Returns whether to log that a trouble is over. */
bool attempt_succeeded(struct attempt *a);

#endif
