/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The device: the whole agent with one or two watches that print to its standard output, and may have
 * slow sinks beside that, put together as a command does, in the simulated world.
 */
#ifndef TEST_SIM_DEVICE_H
#define TEST_SIM_DEVICE_H

#include "sink/print.h"
#include "sync/agent.h"
#include "test/sim/worker.h"

enum { DEVICE_WATCHES = 2 };

struct device_cfg {
	int endpoint_count;
	int endpoint_first; /* not 0: the hosts before it are not among them */
	bool is_named; /* endpoints are names, else addresses */
	bool has_state;
	bool is_once;
	bool has_user;
	bool is_relaxed;
	bool want_prev, want_progress, want_first_list;
	int watch_count; /* the watches are named when there are two */
	bool has_keeper, has_follower; /* workers beside print */
	uint32_t worker_trouble; /* see worker.h */
	int64_t given_rev;
	int64_t dial_timeout_ms, command_timeout_ms, keepalive_time_ms, keepalive_timeout_ms;
	int64_t probe_interval_ms, idle_after_ms, backoff_min_ms, backoff_max_ms, state_interval_ms;
	uint64_t max_value_len;
};

enum device_state {
	DEVICE_OFF,
	DEVICE_ON,
	DEVICE_STOPPED, /* by itself: a clean stop, or its output is gone */
	DEVICE_CUT,
};

struct device {
	struct device_cfg cfg;
	enum device_state state;
	int stop_err;
	int64_t stop_asked_us; /* 0: not */
	struct loop loop;
	struct agent agent;
	struct watch watches[DEVICE_WATCHES];
	struct print_out out;
	struct print_sink print[DEVICE_WATCHES];
	struct worker keepers[DEVICE_WATCHES], followers[DEVICE_WATCHES];
	bool is_leaving[DEVICE_WATCHES], is_out[DEVICE_WATCHES]; /* taken out at run time */
	int64_t caught_up_us; /* --once: when it was done; 0: not yet */
	int texts; /* which of hosts counts */
	char hosts[2][CONFIG_CONF_ENDPOINT_COUNT][16];
	struct loop_fd signal_fd;
	uint8_t end_mem[DEVICE_WATCHES][CONFIG_ETCD_KEY_BYTES];
	/* Called at the end of each of the loop's turns. */
	void (*turned)(void);
};
extern struct device device;

/* The options' defaults. */
void device_defaults(struct device_cfg *cfg);
/* Powers it on: nothing is left in its memory of an earlier life. */
void device_start(const struct device_cfg *cfg);
/* Lets it run until that time, its end or a verdict. */
enum device_state device_run(int64_t until_us);
/* SIGHUP: other settings. */
void device_set_cfg(const struct device_cfg *cfg);
/* Takes a watch out, as far as its line is not half printed; is_out when it has ended. Adds it again. */
bool device_can_remove(int i);
void device_remove(int i);
void device_add(int i);
/* Whether its workers have all that happened. */
bool device_is_caught_up(void);
/* Takes the power away, or ends the process alone. */
void device_cut(bool is_power);
/* SIGTERM, and runs it to its end. */
void device_stop(void);

#endif
