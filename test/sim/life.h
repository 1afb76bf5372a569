/* SPDX-License-Identifier: Apache-2.0 */
/* One seed, one life: random options, changes and faults, and at the end a calm in which all must come right. */
#ifndef TEST_SIM_LIFE_H
#define TEST_SIM_LIFE_H

#include <stdint.h>

/* What kinds of trouble there are in a life. */
enum life_trouble {
	LIFE_NETWORK = 1,
	LIFE_SERVER = 2,
	LIFE_CLUSTER = 4,
	LIFE_POWER = 8,
	LIFE_OUTPUT = 16,
	LIFE_FLASH = 32,
	LIFE_COMPACTION = 64,
	LIFE_RESTORE = 128,
	LIFE_ALL = 255,
};

struct life_sum {
	uint64_t events, syncs, starts, dials;
	int64_t simulated_us;
};

void life_run(uint64_t seed, unsigned troubles, struct life_sum *sum);

#endif
