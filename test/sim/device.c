/* SPDX-License-Identifier: Apache-2.0 */
#include "test/sim/device.h"

#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "port/sim/sim.h"
#include "test/sim/verdict.h"

enum { STOP_MS = 800 };

struct device device;

void device_defaults(struct device_cfg *cfg)
{
	*cfg = (struct device_cfg){
		.endpoint_count = 1,
		.has_state = true,
		.watch_count = 1,
		.dial_timeout_ms = 5000,
		.command_timeout_ms = 5000,
		.keepalive_time_ms = 60000,
		.keepalive_timeout_ms = 6000,
		.probe_interval_ms = 60000,
		.idle_after_ms = 600000,
		.backoff_min_ms = 200,
		.backoff_max_ms = 30000,
		.state_interval_ms = 60000,
		.max_value_len = 16 << 20,
	};
}

static ssize_t on_password(void *arg, char *dst, size_t cap, char *why, size_t why_cap)
{
	static const char word[] = "secret";

	(void)arg;
	(void)why;
	(void)why_cap;
	if (cap < sizeof(word))
		return ERR_LIMIT;
	memcpy(dst, word, sizeof(word));
	return sizeof(word) - 1;
}

static void on_signal(struct loop_fd *fd, int events)
{
	int signals = port_signals_take();

	(void)fd;
	(void)events;
	if (signals & PORT_SIGNAL_STOP)
		agent_stop(&device.agent, STOP_MS);
	if (signals & PORT_SIGNAL_RETRY)
		agent_retry(&device.agent);
}

static void on_stopped(struct agent *a, int err)
{
	device.stop_err = err;
	loop_stop(a->loop);
}

static void fill_agent(struct agent_cfg *a)
{
	static const char *const names[] = {"m0", "m1", "m2", "m3"};
	static const char *const addresses[] = {"10.0.0.1", "10.0.0.2", "10.0.0.3", "10.0.0.4"};
	const struct device_cfg *cfg = &device.cfg;
	*a = (struct agent_cfg){
		.endpoint_count = (size_t)cfg->endpoint_count,
		.session =
			{
				.dial_timeout_ms = cfg->dial_timeout_ms,
				.command_timeout_ms = cfg->command_timeout_ms,
				.keepalive_time_ms = cfg->keepalive_time_ms,
				.keepalive_timeout_ms = cfg->keepalive_timeout_ms,
				.user = cfg->has_user ? "dev" : NULL,
				.password = on_password,
			},
		.probe_interval_ms = cfg->probe_interval_ms,
		.idle_after_ms = cfg->idle_after_ms,
		.backoff_min_ms = cfg->backoff_min_ms,
		.backoff_max_ms = cfg->backoff_max_ms,
		.max_value_len = cfg->max_value_len,
		.is_once = cfg->is_once,
		.keeper =
			{
				.path = cfg->has_state ? "state" : NULL,
				.interval_ms = cfg->state_interval_ms,
				.quiet_interval_ms = cfg->idle_after_ms,
				.is_relaxed = cfg->is_relaxed,
			},
	};

	/* Texts of its own, which are spoilt when they count no more. */
	device.texts = !device.texts;
	for (int i = 0; i < cfg->endpoint_count; i++) {
		int host = i + cfg->endpoint_first;
		char *text = device.hosts[device.texts][i];

		snprintf(text, sizeof(device.hosts[0][0]), "%s",
			cfg->is_named ? names[host] : addresses[host]);
		a->endpoints[i] = (struct etcd_endpoint){text, SIM_PORT, false};
	}
}

static void on_removed(struct agent *a, struct watch *w)
{
	int i = (int)(w - device.watches);

	(void)a;
	print_free(&device.print[i]);
	device.is_out[i] = true;
	device.is_leaving[i] = false;
	memset(w, 0x5a, sizeof(*w));
}

static bool on_caught_up(struct agent *a)
{
	(void)a;
	device.caught_up_us = sim_now_us();
	return true;
}

static void make_agent(void)
{
	struct agent_cfg a;

	fill_agent(&a);
	agent_init(&device.agent, &device.loop, &a);
	device.agent.stopped = on_stopped;
	device.agent.removed = on_removed;
	device.agent.caught_up = on_caught_up;
}

void device_set_cfg(const struct device_cfg *cfg)
{
	struct agent_cfg a;

	device.cfg = *cfg;
	fill_agent(&a);
	agent_set_cfg(&device.agent, &a);
	memset(device.hosts[!device.texts], 'x', sizeof(device.hosts[0]));
	memset(&a, 'x', sizeof(a));
}

static void make_watch(int i)
{
	static const char *const names[] = {"a", "b"};
	static const char *const keys[] = {"/a/", "/b/"};
	const struct device_cfg *cfg = &device.cfg;
	const struct print_cfg print = {
		.out = &device.out,
		.format = PRINT_JSON,
		.watch_name = cfg->watch_count > 1 ? names[i] : NULL,
		.want_progress = cfg->want_progress,
		.want_prev = cfg->want_prev,
	};
	struct watch *w = &device.watches[i];
	struct worker *keeper = &device.keepers[i], *follower = &device.followers[i];
	uint16_t from = (uint16_t)(i * HISTORY_ZONE);
	struct sink *sinks[3];
	size_t n = 0;

	memset(w, 0, sizeof(*w));
	w->name = names[i];
	w->want_prev = cfg->want_prev;
	w->want_first_list = cfg->want_first_list;
	w->given_rev = cfg->given_rev;
	etcd_range_prefix(&w->range, keys[i], strlen(keys[i]), device.end_mem[i]);
	if (print_init(&device.print[i], &print))
		verdict_fail("a print sink cannot be made");
	worker_init(keeper, &device.loop, w, NULL, true, from, cfg->worker_trouble);
	worker_init(follower, &device.loop, w, cfg->has_keeper ? keeper : NULL, false, from,
		cfg->worker_trouble);
	if (cfg->has_keeper)
		sinks[n++] = &keeper->sink;
	sinks[n++] = &device.print[i].sink;
	if (cfg->has_follower)
		sinks[n++] = &follower->sink;
	if (agent_add_watch(&device.agent, w, sinks, n))
		verdict_fail("a watch cannot be added");
	worker_started(keeper);
	worker_started(follower);
}

bool device_can_remove(int i)
{
	return !device.is_out[i] && !device.is_leaving[i] &&
	       device.out.holder != &device.print[i].client;
}

void device_remove(int i)
{
	verdict_note("-- watch %d is taken out", i);
	device.is_leaving[i] = true;
	agent_remove_watch(&device.agent, &device.watches[i], STOP_MS);
}

void device_add(int i)
{
	verdict_note("-- watch %d is added again", i);
	device.is_out[i] = false;
	make_watch(i);
}

bool device_is_caught_up(void)
{
	const struct device_cfg *cfg = &device.cfg;

	for (int i = 0; i < cfg->watch_count; i++) {
		if (device.is_out[i] || device.is_leaving[i])
			continue;
		if ((cfg->has_keeper && !worker_is_caught_up(&device.keepers[i])) ||
			(cfg->has_follower && !worker_is_caught_up(&device.followers[i])))
			return false;
	}
	return true;
}

static void workers_turned(void)
{
	const struct device_cfg *cfg = &device.cfg;

	for (int i = 0; i < cfg->watch_count; i++) {
		if (device.is_out[i])
			continue;
		if (cfg->has_keeper)
			worker_turned(&device.keepers[i]);
		if (cfg->has_follower)
			worker_turned(&device.followers[i]);
	}
}

static void start(void)
{
	loop_init(&device.loop);
	device.signal_fd =
		(struct loop_fd){.fd = port_signals_open(), .want = PORT_POLL_IN, .fn = on_signal};
	loop_fd_add(&device.loop, &device.signal_fd);
	(void)print_out_open(&device.out, &device.loop, "-");
	make_agent();
	if (agent_open(&device.agent)) {
		verdict_fail("the state file is in use");
		return;
	}
	for (int i = 0; i < device.cfg.watch_count; i++)
		make_watch(i);
	agent_start(&device.agent);
}

void device_start(const struct device_cfg *cfg)
{
	void (*turned)(void) = device.turned;
	jmp_buf cut;

	/* What a process has in its memory at first is not what the last one left. */
	memset(&device, 0, sizeof(device));
	device.turned = turned;
	device.cfg = *cfg;
	device.state = DEVICE_ON;
	log_set_level(sim_log ? LOG_LEVEL_DEBUG : LOG_LEVEL_ERROR);
	verdict_note("-- the device starts");
	if (setjmp(cut)) {
		device.state = DEVICE_CUT;
		return;
	}
	sim_cut_target(&cut);
	start();
	sim_cut_target(NULL);
}

static void turns(int64_t until_us)
{
	while (sim_now_us() < until_us && !device.loop.is_stopped && !verdict_failed) {
		if (loop_turn(&device.loop))
			verdict_fail("the loop failed");
		workers_turned();
		if (device.turned)
			device.turned();
	}
	if (device.loop.is_stopped) {
		print_out_close(&device.out);
		for (int i = 0; i < device.cfg.watch_count; i++)
			if (!device.is_out[i])
				print_free(&device.print[i]);
		device.state = DEVICE_STOPPED;
	}
}

enum device_state device_run(int64_t until_us)
{
	jmp_buf cut;

	if (device.state != DEVICE_ON) {
		sim_run(until_us);
		return device.state;
	}
	if (setjmp(cut)) {
		device.state = DEVICE_CUT;
		return device.state;
	}
	sim_cut_target(&cut);
	sim_break_at(until_us);
	turns(until_us);
	sim_cut_target(NULL);
	sim_break_at(INT64_MAX);
	return device.state;
}

void device_cut(bool is_power)
{
	verdict_note(is_power ? "-- power is cut" : "-- the process is killed");
	sim_cut_target(NULL);
	sim_break_at(INT64_MAX);
	/* A process that dies closes its connections; a device without power says nothing. */
	sim_host_cut(-1, is_power ? SIM_CUT_SILENCE : SIM_CUT_RESET);
	sim_flash_lose(is_power);
	sim_flash.cut_after = sim_output.cut_after = -1;
	device.state = DEVICE_OFF;
}

void device_stop(void)
{
	int64_t asked_us = sim_now_us();

	if (device.state != DEVICE_ON)
		return;
	verdict_note("-- SIGTERM");
	sim_signal(PORT_SIGNAL_STOP);
	device_run(asked_us + 2 * SIM_S);
	if (device.state == DEVICE_ON && !verdict_failed)
		verdict_fail("no end within two seconds of SIGTERM");
	else if (device.state == DEVICE_STOPPED && sim_now_us() - asked_us > SIM_S)
		verdict_fail("%lld ms from SIGTERM to the end, more than a second",
			(long long)(sim_now_us() - asked_us) / 1000);
}
