/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The whole agent in a simulated world.
 *
 *	simulation                         the scenarios, and lives of seeds 1 to 200
 *	simulation --seed N [--count N]    lives of these seeds alone
 *	simulation --scenario NAME         one scenario
 *	    --verbose                    the log of the device, and what it prints
 *	    --troubles MASK              not all kinds of trouble, see life.h
 *	    --brief                      ends with the first failure
 *
 * The last line is "N passed, M failed". A failure says how to see it again.
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "port/sim/sim.h"
#include "test/sim/check.h"
#include "test/sim/life.h"
#include "test/sim/model.h"
#include "test/sim/scenarios.h"
#include "test/sim/server.h"
#include "test/sim/verdict.h"

enum { LIVES = 200 };

bool verdict_failed;
char verdict_text[VERDICT_TEXT_MAX];

void verdict_reset(void)
{
	verdict_failed = false;
	verdict_text[0] = '\0';
}

void verdict_note(const char *fmt, ...)
{
	char text[VERDICT_TEXT_MAX];
	va_list ap;

	if (!sim_log)
		return;
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	port_stderr_write(text, strlen(text));
}

void verdict_fail(const char *fmt, ...)
{
	va_list ap;

	if (verdict_failed)
		return;
	verdict_failed = true;
	va_start(ap, fmt);
	vsnprintf(verdict_text, sizeof(verdict_text), fmt, ap);
	va_end(ap);
	verdict_note("-- %s", verdict_text);
}

static unsigned passed, failed;
static bool is_brief; /* the first failure is enough */

static void tell(const char *name, const char *replay, uint64_t seed)
{
	if (!verdict_failed) {
		passed++;
		return;
	}
	failed++;
	printf("FAILED %s: %s\n       again: %s %llu --verbose\n", name, verdict_text, replay,
		(unsigned long long)seed);
	fflush(stdout);
}

static void run_scenario(const struct scenario *s, const char *self)
{
	char replay[256];

	snprintf(replay, sizeof(replay), "%s --scenario %s --seed", self, s->name);
	verdict_reset();
	sim_reset(1);
	check_reset();
	s->run();
	if (!verdict_failed)
		printf("ok     %s\n", s->name);
	tell(s->name, replay, 1);
}

static void run_lives(uint64_t seed, uint64_t count, unsigned troubles, const char *self)
{
	struct life_sum sum = {0};
	char replay[256];

	snprintf(replay, sizeof(replay), "%s --troubles %u --seed", self, troubles);
	for (uint64_t i = seed; i < seed + count; i++) {
		char name[40];

		snprintf(name, sizeof(name), "life %llu", (unsigned long long)i);
		verdict_reset();
		life_run(i, troubles, &sum);
		tell(name, replay, i);
		if (failed && is_brief)
			return;
	}
	printf("lives: %llu, %.1f days, %llu starts, %llu connections, %llu events, %llu full synchronisations\n",
		(unsigned long long)count, (double)sum.simulated_us / 86400e6,
		(unsigned long long)sum.starts, (unsigned long long)sum.dials,
		(unsigned long long)sum.events, (unsigned long long)sum.syncs);
}

static uint64_t number(const char *text)
{
	char *end;
	uint64_t v = strtoull(text ? text : "", &end, 0);

	if (!text || end == text || *end) {
		fprintf(stderr, "simulation: a number is missing\n");
		exit(2);
	}
	return v;
}

int main(int argc, char **argv)
{
	uint64_t seed = 1, count = 0;
	unsigned troubles = LIFE_ALL;
	bool has_seed = false;
	const char *scenario = NULL;

	for (int i = 1; i < argc; i++) {
		if (strcmp(argv[i], "--verbose") == 0) {
			sim_log = stdout;
		} else if (strcmp(argv[i], "--brief") == 0) {
			is_brief = true;
		} else if (strcmp(argv[i], "--seed") == 0) {
			seed = number(argv[++i]);
			has_seed = true;
		} else if (strcmp(argv[i], "--count") == 0) {
			count = number(argv[++i]);
		} else if (strcmp(argv[i], "--troubles") == 0) {
			troubles = (unsigned)number(argv[++i]);
		} else if (strcmp(argv[i], "--scenario") == 0 && i + 1 < argc) {
			scenario = argv[++i];
		} else {
			fprintf(stderr,
				"usage: simulation [--seed N] [--count N] [--scenario NAME] [--troubles MASK] [--brief] [--verbose]\n");
			return 2;
		}
	}
	for (size_t i = 0; i < scenario_count; i++) {
		if (failed && is_brief)
			break;
		if (scenario ? strcmp(scenario, scenarios[i].name) == 0 : !has_seed)
			run_scenario(&scenarios[i], argv[0]);
	}
	if (!scenario && !(failed && is_brief))
		run_lives(seed, count ? count : has_seed ? 1 : LIVES, troubles, argv[0]);
	check_reset();
	model_free();
	server_reset(NULL);
	sim_free();
	printf("%u passed, %u failed\n", passed, failed);
	return failed || !passed;
}
