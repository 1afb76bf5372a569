/* SPDX-License-Identifier: Apache-2.0 */
#include "test/sim/life.h"

#include <string.h>

#include "test/sim/check.h"
#include "test/sim/model.h"
#include "test/sim/server.h"
#include "test/sim/verdict.h"

#include "base/err.h"

static struct {
	unsigned troubles;
	bool is_calm;
	uint64_t generation; /* of the happenings: those of earlier lives are stale */
	uint32_t value_max;
	int64_t pace_us; /* between changes */
	int burst;
	struct sim_net net; /* as it is when nothing is wrong */
	struct server_cfg server;
	struct model quiet;
	struct sim_count counted;
	int64_t counted_us;
	int64_t reload_us; /* when a watch comes or goes next; INT64_MAX: never */
	uint64_t starts;
} life;

static bool has(enum life_trouble trouble)
{
	return (life.troubles & trouble) != 0;
}

/* -- what others write ------------------------------------------------------------------------ */

static uint32_t random_len(void)
{
	switch (sim_random(20)) {
	case 0:
		return sim_random(life.value_max + 1);
	case 1:
	case 2:
		return sim_random(life.value_max / 16 + 1);
	case 3:
		return 0;
	default:
		return 1 + sim_random(24);
	}
}

/* Mostly of the folders that are watched. */
static uint16_t random_key(void)
{
	uint32_t zone = sim_chance(600) ? 0 : sim_random(HISTORY_ZONES);

	/* A few keys change often. */
	return (uint16_t)(zone * HISTORY_ZONE + sim_random(sim_chance(500) ? 4 : HISTORY_ZONE));
}

static void change(void)
{
	struct history *h = model_history();
	int n = sim_chance(150) ? (int)sim_between(2, 40) : 1;

	for (int i = 0; i < n; i++) {
		if (sim_chance(350))
			history_delete(h, random_key());
		else
			history_put(h, random_key(), random_len(), sim_random(1 << 30),
				sim_chance(50) ? (int64_t)sim_random(1 << 30) << 30 : 0);
	}
	model_commit();
}

static void on_work(void *user, uint64_t generation)
{
	(void)user;
	if (generation != life.generation || life.is_calm)
		return;
	if (!life.burst && sim_chance(30))
		life.burst = (int)sim_between(10, 400);
	/* Now and then nothing happens for long. */
	if (!life.burst && sim_chance(20)) {
		sim_at(sim_between(1, 200) * SIM_S, on_work, NULL, generation);
		return;
	}
	change();
	if (life.burst) {
		life.burst--;
		sim_at(sim_between(0, 5000), on_work, NULL, generation);
	} else {
		sim_at(sim_between(0, 2 * life.pace_us), on_work, NULL, generation);
	}
}

/* -- what goes wrong -------------------------------------------------------------------------- */

static void on_net_mended(void *user, uint64_t generation)
{
	(void)user;
	if (generation == life.generation)
		sim_net = life.net;
}

static void hurt_network(void)
{
	switch (sim_random(7)) {
	case 0:
		for (int i = 0; i < SIM_HOSTS; i++)
			sim_net.reach[i] = (enum sim_reach)sim_random(4);
		break;
	case 1:
		sim_net.dns = (enum sim_dns)sim_random(4);
		break;
	case 2:
		sim_net.latency_us = sim_between(0, 700000);
		sim_net.jitter_us = sim_between(0, 500000);
		break;
	case 3:
		sim_net.bytes_per_s = 300 + sim_random(20000);
		break;
	case 4:
		sim_net.segment_max = 1 + sim_random(40);
		sim_net.send_buffer = 1 + sim_random(300);
		break;
	case 5:
		sim_net.cut_chance = 700;
		sim_net.cut_after_max = 1 + sim_random(sim_chance(500) ? 600 : 60000);
		break;
	default:
		break;
	}
	sim_host_cut((int)sim_random(SIM_HOSTS + 1) - 1, (enum sim_cut)sim_random(SIM_CUT_COUNT));
	sim_at(sim_between(0, 60 * SIM_S), on_net_mended, NULL, life.generation);
}

static void on_server_mended(void *user, uint64_t generation)
{
	(void)user;
	if (generation != life.generation)
		return;
	server_cfg.reset_chance = server_cfg.goaway_chance = server_cfg.silent_chance = 0;
	model.fail_chance = model.slow_chance = model.drop_chance = model.cancel_chance = 0;
	model.is_denied = false;
}

static void hurt_server(void)
{
	switch (sim_random(7)) {
	case 0:
		server_cfg.reset_chance = 1 + sim_random(60);
		break;
	case 1:
		server_cfg.goaway_chance = 1 + sim_random(60);
		break;
	case 2:
		server_cfg.silent_chance = sim_random(900);
		break;
	case 3:
		model.fail_chance = sim_random(900);
		break;
	case 4:
		model.slow_chance = sim_random(500);
		model.drop_chance = sim_random(200);
		break;
	case 5:
		model.cancel_chance = sim_random(700);
		break;
	default:
		model.is_denied = true;
		break;
	}
	sim_at(sim_between(0, 60 * SIM_S), on_server_mended, NULL, life.generation);
}

static void on_member_mended(void *user, uint64_t generation)
{
	(void)user;
	if (generation != life.generation)
		return;
	for (int i = 0; i < model.member_count; i++)
		model_partition(i, false);
}

static void hurt_cluster(void)
{
	int member = (int)sim_random((uint32_t)model.member_count);

	switch (sim_random(3)) {
	case 0:
		model_lag(member, true);
		break;
	case 1:
		model_partition(member, true);
		break;
	default:
		model_elect();
		break;
	}
	sim_at(sim_between(0, 40 * SIM_S), on_member_mended, NULL, life.generation);
}

static void on_flash_mended(void *user, uint64_t generation)
{
	(void)user;
	if (generation == life.generation)
		sim_flash.open_code = sim_flash.write_code = 0;
}

static void hurt_flash(void)
{
	if (sim_chance(300))
		sim_flash.open_code = ERR_IO;
	else
		sim_flash.write_code = sim_chance(500) ? ERR_NOSPACE : ERR_IO;
	sim_at(sim_between(0, 40 * SIM_S), on_flash_mended, NULL, life.generation);
}

static void on_output_mended(void *user, uint64_t generation)
{
	(void)user;
	if (generation == life.generation)
		sim_output.code = 0;
}

static void hurt_output(void)
{
	if (sim_output.is_file)
		sim_output.code = ERR_NOSPACE;
	else if (sim_chance(100))
		sim_output.code = ERR_PIPE;
	else
		sim_output.blocked_until_us = sim_now_us() + sim_between(0, 90 * SIM_S);
	sim_at(sim_between(0, 30 * SIM_S), on_output_mended, NULL, life.generation);
}

static void compact(void)
{
	struct history *h = model_history();
	int64_t back = sim_chance(300) ? 0 : sim_between(0, 60);

	model_compact(h->rev > back ? h->rev - back : h->rev);
}

static void restore(void)
{
	struct history *h = model_history();
	int64_t back = sim_between(0, sim_chance(500) ? 5 : 300), rev = h->rev - back;

	if (!check_knows_history())
		return;
	if (rev <= h->compact_rev)
		rev = h->compact_rev + 1;
	if (rev > h->rev)
		return;
	verdict_note("-- restored as of revision %lld", (long long)rev);
	model_restore(rev, sim_chance(300));
	/* Written to at once, so that it may be past the device's position before it is asked. */
	for (int64_t i = sim_between(0, back + 20); i; i--)
		change();
}

static void on_fault(void *user, uint64_t generation)
{
	static const enum life_trouble troubles[] = {LIFE_NETWORK, LIFE_NETWORK, LIFE_NETWORK,
		LIFE_SERVER, LIFE_SERVER, LIFE_CLUSTER, LIFE_OUTPUT, LIFE_FLASH, LIFE_COMPACTION,
		LIFE_COMPACTION, LIFE_RESTORE};
	enum life_trouble what = troubles[sim_random(sizeof(troubles) / sizeof(troubles[0]))];

	(void)user;
	if (generation != life.generation || life.is_calm)
		return;
	sim_at(sim_between(0, 40 * SIM_S), on_fault, NULL, generation);
	if (!has(what))
		return;
	if (what == LIFE_NETWORK)
		hurt_network();
	else if (what == LIFE_SERVER)
		hurt_server();
	else if (what == LIFE_CLUSTER)
		hurt_cluster();
	else if (what == LIFE_OUTPUT)
		hurt_output();
	else if (what == LIFE_FLASH)
		hurt_flash();
	else if (what == LIFE_COMPACTION)
		compact();
	else if (sim_chance(100))
		restore();
}

/* -- the device's part ------------------------------------------------------------------------ */

static void random_device(struct device_cfg *cfg)
{
	device_defaults(cfg);
	cfg->endpoint_count = model.member_count;
	cfg->is_named = sim_chance(500);
	cfg->has_state = sim_chance(900);
	cfg->has_user = model.has_auth || sim_chance(50);
	cfg->is_relaxed = sim_chance(150);
	cfg->want_prev = sim_chance(250);
	cfg->want_progress = sim_chance(500);
	cfg->want_first_list = sim_chance(500);
	cfg->watch_count = sim_chance(300) ? 2 : 1;
	cfg->has_keeper = sim_chance(250);
	cfg->has_follower = sim_chance(400);
	cfg->worker_trouble = sim_chance(200) ? 300 : 30;
	cfg->dial_timeout_ms = sim_between(500, 5000);
	cfg->command_timeout_ms = sim_between(500, 5000);
	cfg->keepalive_time_ms = sim_between(5000, 60000);
	cfg->keepalive_timeout_ms = sim_between(1000, 6000);
	cfg->probe_interval_ms = sim_between(2000, 20000);
	cfg->idle_after_ms = cfg->probe_interval_ms + sim_between(1, 30000);
	cfg->backoff_min_ms = sim_between(1, 500);
	cfg->backoff_max_ms = cfg->backoff_min_ms + sim_between(0, 10000);
	cfg->state_interval_ms = sim_between(1, 10000);
}

static void random_model(void)
{
	static const char *const versions[] = {
		"3.4.44", "3.5.21", "3.6.4", "3.5.18", "", "4.0.0-rc.1"};
	static const char *const old[] = {"3.4.35", "3.5.17", "3.3.27"};
	bool is_old = sim_chance(250);

	model_reset(1 + (int)sim_random(3), sim_between(1, 50));
	for (int i = 0; i < model.member_count; i++)
		model_set_version(i, is_old ? old[sim_random(3)] : versions[sim_random(6)], is_old,
			is_old && sim_chance(500));
	model.batch_revs = sim_chance(500) ? (int)sim_between(1, 10) : 1000;
	model.fragment_len = sim_chance(500) ? 1 + sim_random(2000) : 2 << 20;
	model.delay_us = sim_between(0, 50000);
	model.watch_delay_us = sim_between(0, 300000);
	model.progress_us = sim_chance(600) ? sim_between(100000, 60 * SIM_S) : 0;
	model.backlog_max = sim_chance(500) ? 1000 : 1 << 20;
	model.has_auth = sim_chance(250);
	model.token_us = sim_between(1, 100) * SIM_S;
	server_cfg.max_streams = sim_chance(300) ? 1 + sim_random(3) : sim_chance(500) ? 100 : 0;
	server_cfg.window = sim_chance(300) ? 100 + sim_random(200) : 65535;
	server_cfg.frame_max = sim_chance(400) ? 1 + sim_random(300) : 16384;
	server_cfg.noise_chance = sim_chance(400) ? 100 : 0;
	server_cfg.is_lazy = sim_chance(500) && server_cfg.window > 1000;
	server_cfg.has_index = sim_chance(500);
}

static void random_world(void)
{
	sim_net.latency_us = sim_between(0, 50000);
	sim_net.jitter_us = sim_between(0, 20000);
	sim_net.segment_max = sim_chance(400) ? 1 + sim_random(500) : 65536;
	sim_net.bytes_per_s = sim_chance(200) ? 20000 + sim_random(1000000) : 0;
	life.net = sim_net;
	life.server = server_cfg;
	sim_output.is_file = sim_chance(300);
	sim_output.take_max = sim_chance(400) ? 1 + sim_random(400) : 0;
	sim_output.again_chance = sim_chance(400) ? 200 : 0;
	if (sim_chance(500)) {
		sim_flash.sector_size = 512u << sim_random(3);
		sim_flash.sector_count = 3 + sim_random(4);
		sim_flash_erase_all();
	}
	life.value_max = sim_chance(200) ? 60000 : 3000;
	life.pace_us = sim_between(1000, sim_chance(300) ? 20 * SIM_S : SIM_S);
}

/* A reload takes a watch out, or adds it again. */
static void reload(void)
{
	int i = (int)sim_random((uint32_t)device.cfg.watch_count);

	if (sim_now_us() < life.reload_us || device.agent.is_stopping)
		return;
	life.reload_us = sim_now_us() + sim_between(0, sim_chance(300) ? SIM_S : 40 * SIM_S);
	if (device.is_out[i]) {
		/* What was printed before it left is not the new one's. */
		if (buf_len(&device.out.buf))
			return;
		device_add(i);
		check_added(i);
	} else if (device_can_remove(i) && !life.is_calm) {
		device_remove(i);
	}
}

static void on_turned(void)
{
	int64_t us = sim_now_us() - life.counted_us;
	uint64_t polls = sim_count.polls - life.counted.polls;
	uint64_t happenings = sim_count.happenings - life.counted.happenings;

	check_turned();
	reload();
	if (us < SIM_S)
		return;
	/* A turn is for a descriptor that is ready or for a deadline: of those there are few. */
	if (polls > happenings + 100 + (uint64_t)(us / SIM_S) * 100)
		verdict_fail("%llu turns of the loop in %lld ms for %llu happenings: a busy loop",
			(unsigned long long)polls, (long long)us / 1000,
			(unsigned long long)happenings);
	if (happenings > 20000 * (uint64_t)(1 + us / SIM_S))
		verdict_fail("%llu happenings in %lld ms: a busy loop",
			(unsigned long long)happenings, (long long)us / 1000);
	life.counted = sim_count;
	life.counted_us = sim_now_us();
}

static void start(const struct device_cfg *cfg)
{
	life.starts++;
	life.counted = sim_count;
	life.counted_us = sim_now_us();
	device_start(cfg);
	if (device.state == DEVICE_ON)
		check_started();
}

/* One run, from power on to power off. */
static void run(const struct device_cfg *cfg)
{
	int64_t until_us = sim_now_us() + sim_between(0, sim_chance(300) ? 5 * SIM_S : 150 * SIM_S);
	bool is_cut = has(LIFE_POWER) && sim_chance(600), could_save;

	if (has(LIFE_POWER) && sim_chance(150))
		sim_flash.cut_after = sim_between(0, 12);
	if (has(LIFE_POWER) && sim_chance(150))
		sim_output.cut_after = sim_between(0, 20000);
	start(cfg);
	device_run(until_us);
	if (device.state == DEVICE_ON && !is_cut)
		device_stop();
	could_save = !sim_flash.write_code && !sim_flash.open_code;
	if (device.state == DEVICE_STOPPED)
		check_ended(true, could_save);
	else
		check_ended(false, false);
	if (device.state == DEVICE_STOPPED && device.stop_err == ERR_PIPE)
		sim_output.code = 0; /* the next run has another reader */
	else if (device.state == DEVICE_STOPPED && device.stop_err)
		verdict_fail("stopped by itself with %s", err_name(device.stop_err));
	/* A clean end, then the power goes or not: what is synced is there. */
	if (device.state == DEVICE_STOPPED)
		sim_flash_lose(sim_chance(500));
	else
		device_cut(sim_chance(700));
	device.state = DEVICE_OFF;
	if (has(LIFE_FLASH) && sim_chance(40))
		sim_flash_damage(1 + sim_random(sim_chance(500) ? 4 : 4000));
	sim_run(sim_now_us() + sim_between(0, sim_chance(700) ? 2 * SIM_S : 200 * SIM_S));
}

static void calm_down(void)
{
	life.is_calm = true;
	sim_net = life.net;
	for (int i = 0; i < SIM_HOSTS; i++)
		sim_net.reach[i] = SIM_UP;
	server_cfg = life.server;
	on_server_mended(NULL, life.generation);
	on_member_mended(NULL, life.generation);
	sim_flash.open_code = sim_flash.write_code = sim_output.code = 0;
	sim_flash.cut_after = sim_output.cut_after = -1;
	sim_output.blocked_until_us = 0;
	verdict_note("-- calm");
}

/* Everything is well: the device must catch up, and stay so. */
static void calm(struct device_cfg *cfg)
{
	int64_t end_us, step_us = SIM_S;

	calm_down();
	cfg->worker_trouble = 0;
	start(cfg);
	device_run(sim_now_us() + sim_between(0, 10 * SIM_S));
	for (int i = 0; i < 20; i++)
		change();
	end_us = sim_now_us() + 60 * SIM_S +
		 1000 * (8 * cfg->backoff_max_ms +
				4 * (cfg->dial_timeout_ms + cfg->command_timeout_ms) +
				2 * cfg->probe_interval_ms + cfg->keepalive_time_ms +
				cfg->keepalive_timeout_ms);
	if (life.net.bytes_per_s || life.net.segment_max < 100 || server_cfg.frame_max < 100 ||
		sim_output.take_max || sim_output.again_chance)
		end_us += 600 * SIM_S;
	while (!verdict_failed && device.state == DEVICE_ON && !check_is_caught_up() &&
		sim_now_us() < end_us)
		device_run(sim_now_us() + step_us);
	if (device.state != DEVICE_ON && !verdict_failed)
		verdict_fail("it ended by itself in the calm");
	else if (!verdict_failed && !check_is_caught_up())
		verdict_fail("not caught up in the calm");
	/* The idle rule has its turn too. */
	device_run(sim_now_us() + (cfg->idle_after_ms + 4 * cfg->probe_interval_ms) * 1000);
	if (!verdict_failed && !check_is_caught_up())
		verdict_fail("caught up, and then lost again in the calm");
	device_stop();
	check_ended(device.state == DEVICE_STOPPED, true);
}

void life_run(uint64_t seed, unsigned troubles, struct life_sum *sum)
{
	struct device_cfg cfg;
	int64_t end_us;
	uint64_t generation = life.generation + 1;

	memset(&life, 0, sizeof(life));
	life.generation = generation;
	life.troubles = troubles;
	sim_reset(seed);
	random_model();
	random_world();
	random_device(&cfg);
	if (cfg.want_prev)
		life.value_max = 3000;
	check_reset();
	device.turned = on_turned;
	for (int i = (int)sim_random(100); i; i--)
		change();
	life.reload_us = sim_chance(300) ? sim_between(0, 100 * SIM_S) : INT64_MAX;
	if (sim_chance(100))
		cfg.given_rev = sim_between(1, model_history()->rev + 5);
	sim_at(0, on_work, NULL, generation);
	sim_at(0, on_fault, NULL, generation);
	end_us = sim_now_us() + sim_between(60, 1200) * SIM_S;
	while (sim_now_us() < end_us && !verdict_failed)
		run(&cfg);
	if (!verdict_failed)
		calm(&cfg);
	sum->events += check_event_count();
	sum->syncs += check_sync_count();
	sum->starts += life.starts;
	sum->dials += sim_count.dials;
	sum->simulated_us += sim_now_us();
}
