/* SPDX-License-Identifier: Apache-2.0 */
/* What is not left to chance: one scenario a rule. */
#ifndef TEST_SIM_SCENARIOS_H
#define TEST_SIM_SCENARIOS_H

#include <stddef.h>

struct scenario {
	const char *name;
	void (*run)(void);
};

extern const struct scenario scenarios[];
extern const size_t scenario_count;

#endif
