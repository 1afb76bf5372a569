/* SPDX-License-Identifier: Apache-2.0 */
#include "test/sim/scenarios.h"

#include <string.h>

#include "base/err.h"
#include "test/sim/check.h"
#include "test/sim/model.h"
#include "test/sim/server.h"
#include "test/sim/verdict.h"

#define EXPECT(what) ((what) ? (void)0 : verdict_fail("line %d: not so: %s", __LINE__, #what))

static struct device_cfg cfg;

static int64_t seconds(double s)
{
	return (int64_t)(s * 1e6);
}

static void pass(double s)
{
	device_run(sim_now_us() + seconds(s));
}

static void prepare(int members)
{
	model_reset(members, 10);
	device_defaults(&cfg);
	cfg.endpoint_count = members;
	device.turned = check_turned;
}

static void start(void)
{
	device_start(&cfg);
	check_started();
}

static void stop(void)
{
	device_stop();
	check_ended(device.state == DEVICE_STOPPED, true);
}

static void cut_power(void)
{
	check_ended(false, false);
	device_cut(true);
}

static void put_many(int n, uint16_t first_key, uint16_t keys)
{
	for (int i = 0; i < n; i++)
		model_put((uint16_t)(first_key + i % keys), 30);
}

/* Runs until all is printed. */
static void catch_up(double s)
{
	int64_t end_us = sim_now_us() + seconds(s);

	while (!check_is_caught_up() && sim_now_us() < end_us && !verdict_failed)
		pass(0.1);
	EXPECT(check_is_caught_up());
}

static struct position *pos(void)
{
	return &device.watches[0].pos;
}

/* -- where a watch stands --------------------------------------------------------------------- */

static void plain(void)
{
	prepare(1);
	start();
	pass(2);
	put_many(50, 0, 50);
	pass(2);
	EXPECT(check_is_caught_up());
	EXPECT(check_event_count() == HISTORY_ZONE);
	EXPECT(check_sync_count() == 0);
	stop();
}

static void clean_stop_saves(void)
{
	prepare(1);
	start();
	pass(1);
	put_many(5, 0, 5);
	pass(1);
	stop();
	EXPECT(device.watches[0].entry.saved_rev == 15);
	put_many(5, 0, 5);
	start();
	EXPECT(pos()->rev == 15);
	catch_up(5);
	EXPECT(check_event_count() == 10);
	stop();
}

/* Of more than 1,000 revisions the answers' headers name the last, from the first answer on. */
static void backlog_cut_after_first_batch(void)
{
	prepare(1);
	model.batch_revs = 1000;
	start();
	pass(1);
	stop();
	put_many(2500, 0, 20);
	sim_net.bytes_per_s = 500000;
	sim_net.segment_max = 4096;
	for (uint64_t at = 200; at < 2500; at += 500) {
		start();
		while (check_event_count() < at && !verdict_failed)
			pass(0.01);
		sim_host_cut(-1, SIM_CUT_RESET);
		pass(0.5);
		cut_power();
		sim_run(sim_now_us() + seconds(1));
	}
	start();
	catch_up(20);
	EXPECT(check_sync_count() == 0);
	stop();
}

static void fragments_cut_inside_a_revision(void)
{
	prepare(1);
	model.fragment_len = 60;
	start();
	pass(1);
	sim_net.bytes_per_s = 4000;
	sim_net.segment_max = 50;
	for (int round = 0; round < 20; round++) {
		for (uint16_t key = 0; key < HISTORY_ZONE; key++)
			history_put(model_history(), key, 20, key, 0);
		model_commit();
		pass(0.05 + 0.02 * round);
		sim_host_cut(-1, (enum sim_cut)(round % 2));
		catch_up(30);
	}
	EXPECT(check_event_count() == 20 * HISTORY_ZONE);
	stop();
}

static void cut_inside_a_value(void)
{
	prepare(1);
	start();
	pass(1);
	sim_net.bytes_per_s = 20000;
	sim_net.segment_max = 200;
	for (int i = 0; i < 10; i++) {
		model_put(0, 50000);
		pass(0.2 + 0.2 * i);
		sim_host_cut(-1, SIM_CUT_RESET);
		catch_up(60);
	}
	EXPECT(check_event_count() == 10);
	stop();
}

static void duplicates_of_old_servers(void)
{
	prepare(1);
	model_set_version(0, "3.4.20", true, true);
	start();
	pass(1);
	for (int i = 0; i < 300; i++) {
		put_many(1, 0, 1);
		pass(0.05);
	}
	EXPECT(check_event_count() == 300);
	stop();
}

/* Such a server does not send a delete at exactly the revision it was compacted to. */
static void old_server_loses_a_delete(void)
{
	prepare(1);
	model_set_version(0, "3.5.17", true, false);
	start();
	pass(1);
	put_many(5, 0, 5);
	pass(1);
	stop();
	history_delete(model_history(), 2);
	model_commit();
	model_compact(model_history()->rev);
	start();
	EXPECT(pos()->rev == 15);
	catch_up(5);
	EXPECT(check_sync_count() == 1 && strcmp(check_last_reason(), "compacted") == 0);
	stop();
}

static void old_server_start_at_the_position_itself(void)
{
	prepare(1);
	model_set_version(0, "3.5.17", true, false);
	start();
	pass(1);
	put_many(5, 0, 5);
	pass(1);
	stop();
	put_many(3, 0, 3);
	start();
	catch_up(5);
	EXPECT(model.last_start_rev == 15);
	EXPECT(check_event_count() == 8);
	stop();
}

/* -- flash ------------------------------------------------------------------------------------ */

static void two_crashes_while_saving(void)
{
	prepare(1);
	cfg.state_interval_ms = 1;
	sim_flash.sector_size = 512;
	sim_flash.sector_count = 4;
	sim_flash_erase_all();
	for (int round = 0; round < 60 && !verdict_failed; round++) {
		sim_flash.cut_after = round % 13;
		start();
		for (int i = 0; i < 4 && device.state == DEVICE_ON; i++) {
			put_many(3, 0, 3);
			pass(0.5);
		}
		cut_power();
	}
	start();
	catch_up(5);
	stop();
}

static void damaged_state(void)
{
	prepare(1);
	start();
	pass(1);
	put_many(5, 0, 5);
	pass(1);
	stop();
	sim_flash_damage(200000);
	put_many(5, 0, 5);
	start();
	catch_up(5);
	EXPECT(strcmp(check_last_reason(), "state") == 0);
	stop();
}

/* A write a minute at most, however much happens. */
static void saves_seldom(void)
{
	uint64_t syncs;

	prepare(1);
	start();
	pass(1);
	syncs = sim_flash.syncs;
	for (int i = 0; i < 600; i++) {
		put_many(2, 0, 20);
		pass(1);
	}
	EXPECT(sim_flash.syncs - syncs >= 9 && sim_flash.syncs - syncs <= 14);
	stop();
}

/* -- silence ---------------------------------------------------------------------------------- */

static void idle_then_compaction(void)
{
	prepare(2);
	start();
	pass(5);
	put_many(30, HISTORY_ZONE, 10);
	pass(9 * 60);
	EXPECT(pos()->rev == 10);
	for (int i = 0; i < 30; i++) {
		put_many(30, HISTORY_ZONE, 10);
		pass(60);
	}
	EXPECT(pos()->rev >= 10 + 27 * 30);
	model_compact(pos()->rev);
	sim_host_cut(-1, SIM_CUT_RESET);
	pass(60);
	put_many(3, 0, 3);
	catch_up(5);
	EXPECT(check_sync_count() == 0);
	stop();
}

static void progress_moves_at_once(void)
{
	prepare(1);
	cfg.want_progress = true;
	model.progress_us = seconds(30);
	start();
	pass(5);
	put_many(30, HISTORY_ZONE, 10);
	pass(70);
	EXPECT(pos()->rev == 40);
	stop();
}

/* The stream of two watches is held up by one; what waits behind it may be the other's. */
static void blocked_output_is_not_silence(void)
{
	prepare(1);
	cfg.watch_count = 2;
	cfg.probe_interval_ms = 2000;
	cfg.idle_after_ms = 5000;
	start();
	pass(2);
	sim_output.blocked_until_us = sim_now_us() + seconds(100);
	put_many(2000, 0, 10);
	pass(1);
	put_many(5, HISTORY_ZONE, 5);
	pass(120);
	catch_up(60);
	EXPECT(check_event_count() == 2005);
	stop();
}

/* The same within a value: when it is complete, more is on the way. */
static void blocked_value_is_not_silence(void)
{
	prepare(1);
	cfg.probe_interval_ms = 2000;
	cfg.idle_after_ms = 5000;
	sim_net.latency_us = 200000;
	start();
	pass(2);
	sim_output.blocked_until_us = sim_now_us() + seconds(60);
	model_put(0, 40000);
	put_many(50, 0, 10);
	pass(100);
	catch_up(60);
	EXPECT(check_event_count() == 51);
	stop();
}

static void idle_day(void)
{
	uint64_t wakeups;

	prepare(1);
	model.progress_us = seconds(600);
	server_cfg.is_lazy = true;
	start();
	pass(60);
	wakeups = device.loop.wakeups;
	model.probe_gap_us = 0;
	for (int hour = 0; hour < 24; hour++)
		pass(3600);
	wakeups = device.loop.wakeups - wakeups;
	verdict_note("-- %llu wake-ups a day", (unsigned long long)wakeups);
	/* The probe and its answer, and every ten minutes a notification. */
	EXPECT(wakeups <= 2 * 1440 + 2 * 144 + 100);
	EXPECT(model.probe_gap_us <= seconds(60.2));
	EXPECT(sim_count.dials == 1);
	stop();
}

static void silent_network(void)
{
	prepare(1);
	start();
	pass(10);
	sim_host_cut(-1, SIM_CUT_SILENCE);
	put_many(5, 0, 5);
	/* The next probe, its timeout, and a first try at once. */
	catch_up(60 + 5 + 2);
	stop();
}

static void refused_for_an_hour(void)
{
	uint64_t dials;

	prepare(2);
	for (int i = 0; i < SIM_HOSTS; i++)
		sim_net.reach[i] = SIM_REFUSED;
	start();
	pass(3600);
	dials = sim_count.dials;
	/* Full jitter up to 30 s: 15 s in the mean. */
	EXPECT(dials > 150 && dials < 400);
	EXPECT(device.loop.wakeups < 20 * dials);
	sim_net.reach[0] = sim_net.reach[1] = SIM_UP;
	pass(40);
	put_many(3, 0, 3);
	catch_up(5);
	stop();
}

/* -- another history -------------------------------------------------------------------------- */

static void run_a_while(int members)
{
	prepare(members);
	start();
	pass(2);
	put_many(100, 0, 20);
	pass(2);
}

static void rollback(void)
{
	run_a_while(2);
	model_restore(60, false);
	pass(20);
	EXPECT(check_sync_count() == 1 && strcmp(check_last_reason(), "rollback") == 0);
	put_many(5, 0, 5);
	catch_up(5);
	stop();
	start();
	EXPECT(pos()->rev == 65);
	stop();
}

/* Written past the position before the device is back: the raft term alone tells. */
static void rollback_overtaken(void)
{
	run_a_while(2);
	stop();
	model_restore(60, false);
	put_many(200, 0, 20);
	start();
	catch_up(20);
	EXPECT(check_sync_count() == 1 && strcmp(check_last_reason(), "rollback") == 0);
	stop();
}

/* The output takes nothing, so the listing is not processed when the cluster is restored. */
static void rollback_behind_an_unprinted_listing(void)
{
	prepare(2);
	cfg.want_first_list = true;
	put_many(100, 0, 20);
	sim_output.blocked_until_us = sim_now_us() + seconds(30);
	start();
	pass(5);
	model_restore(60, false);
	put_many(100, 0, 20);
	pass(60);
	catch_up(20);
	/* Where the buffer is small the listing was not even handed over, and begins again. */
	EXPECT(strcmp(check_last_reason(), "rollback") == 0 ||
		strcmp(check_last_reason(), "first") == 0);
	stop();
}

/* The listing is of a lower revision than what was printed before it. */
static void rollback_while_the_output_is_blocked(void)
{
	run_a_while(2);
	pass(60); /* saved, with the raft term that the probe told */
	sim_output.blocked_until_us = sim_now_us() + seconds(60);
	put_many(3, 0, 3);
	pass(1);
	model_restore(60, false);
	pass(30);
	EXPECT(check_sync_count() == 0);
	cut_power();
	sim_output.blocked_until_us = 0;
	start();
	catch_up(20);
	EXPECT(strcmp(check_last_reason(), "rollback") == 0);
	stop();
}

static void other_cluster(void)
{
	run_a_while(2);
	model_restore(60, true);
	put_many(100, 0, 20);
	pass(20);
	catch_up(20);
	EXPECT(check_sync_count() == 1 && strcmp(check_last_reason(), "cluster") == 0);
	stop();
}

static void one_stray_header(void)
{
	run_a_while(2);
	model.members[0].stray_id = model.members[1].stray_id = 4711;
	put_many(1, 0, 1);
	pass(0.003);
	model.members[0].stray_id = model.members[1].stray_id = 0;
	put_many(5, 0, 5);
	catch_up(20);
	EXPECT(check_sync_count() == 0);
	stop();
}

static void lagging_member_is_no_rollback(void)
{
	prepare(2);
	model_lag(1, true);
	start();
	pass(2);
	for (int i = 0; i < 20; i++) {
		put_many(20, 0, 20);
		pass(1);
		sim_host_cut(-1, SIM_CUT_END);
		sim_net.reach[0] = i % 2 ? SIM_REFUSED : SIM_UP;
		pass(1);
		sim_net.reach[0] = SIM_UP;
	}
	model_lag(1, false);
	catch_up(40);
	EXPECT(check_sync_count() == 0);
	stop();
}

/* A "linearizable" read of a paused member may be old (etcd issue 20418). */
static void one_stale_answer(void)
{
	run_a_while(2);
	model.members[0].stale_rev = 50;
	sim_host_cut(-1, SIM_CUT_RESET);
	pass(10);
	sim_host_cut(-1, SIM_CUT_RESET);
	pass(10);
	model.members[0].stale_rev = 0;
	put_many(5, 0, 5);
	catch_up(30);
	EXPECT(check_sync_count() == 0);
	stop();
}

/* -- compaction ------------------------------------------------------------------------------- */

static void compaction_while_away(void)
{
	run_a_while(1);
	stop();
	put_many(100, 0, 10);
	model_compact(200);
	start();
	catch_up(10);
	EXPECT(check_sync_count() == 1 && strcmp(check_last_reason(), "compacted") == 0);
	stop();
}

/* What follows the position is there: nothing is lost, nothing is listed. */
static void compaction_right_behind_the_position(void)
{
	run_a_while(1);
	stop();
	put_many(100, 0, 10);
	model_compact(111);
	start();
	catch_up(10);
	EXPECT(check_sync_count() == 0);
	stop();
}

static void compaction_during_a_slow_listing(void)
{
	prepare(1);
	cfg.want_first_list = true;
	for (uint16_t key = 0; key < HISTORY_ZONE; key++)
		model_put(key, 20000);
	sim_net.bytes_per_s = 20000;
	sim_net.segment_max = 1000;
	start();
	for (int i = 0; i < 100; i++) {
		put_many(3, 0, 1);
		model_compact(model_history()->rev);
		pass(1);
	}
	catch_up(120);
	EXPECT(check_sync_count() >= 1 && check_sync_count() <= 6);
	stop();
}

static bool is_listing(int i)
{
	return device.watches[i].state == WATCH_LIST && device.watches[i].feed.is_listing;
}

/* The first listing of one watch does not hold up the other: its stream stays open. */
static void listing_beside_a_watch(void)
{
	prepare(1);
	cfg.watch_count = 2;
	cfg.want_first_list = true;
	put_many(3, 0, 3);
	for (uint16_t key = 0; key < HISTORY_ZONE / 2; key++)
		model_put((uint16_t)(HISTORY_ZONE + key), 20000);
	sim_net.bytes_per_s = 500;
	sim_net.segment_max = 1000;
	start();
	for (int i = 0; i < 300 && !is_listing(1); i++)
		pass(0.1);
	EXPECT(is_listing(1) && device.watches[0].state == WATCH_LIVE);
	for (int i = 0; i < 100; i++) {
		EXPECT(!device.agent.is_held);
		pass(0.1);
	}
	EXPECT(is_listing(1));
	sim_net.bytes_per_s = 0;
	catch_up(120);
	stop();
}

/*
 * A listing is due while the other watch has begun an event, whose rest must not wait behind the listing, for
 * the listing waits for it: they print to one output.
 */
static void list_beside_an_event(uint32_t max_streams)
{
	const struct watch *w = device.watches;

	prepare(1);
	cfg.watch_count = 2;
	cfg.want_first_list = true;
	put_many(20, 0, 20);
	put_many(20, HISTORY_ZONE, 20);
	start();
	catch_up(10);
	put_many(30, HISTORY_ZONE, 20);
	catch_up(10);
	sim_net.bytes_per_s = 500;
	sim_net.segment_max = 1000;
	model_put(HISTORY_ZONE, 50000);
	model_compact(model_history()->rev - 1);
	sim_host_cut(-1, SIM_CUT_RESET);
	for (int i = 0; i < 200 && !(w[0].is_list_due && feed_is_mid_event(&w[1].feed)); i++)
		pass(0.1);
	EXPECT(w[0].is_list_due && w[0].was_listed && feed_is_mid_event(&w[1].feed));
	model.watch_delay_us = seconds(30);
	server_cfg.max_streams = max_streams;
	sim_host_cut(-1, SIM_CUT_RESET);
	catch_up(100);
	EXPECT(check_sync_count() == 3);
	stop();
}

static void listing_beside_an_event_that_has_begun(void)
{
	list_beside_an_event(0);
}

static void listing_beside_an_event_on_one_stream(void)
{
	list_beside_an_event(1);
}

/* Page after page, while keys behind the page and before it change. */
static void pages_of_one_revision(void)
{
	prepare(1);
	cfg.want_first_list = true;
	for (uint16_t key = 0; key < HISTORY_ZONE; key++)
		model_put(key, 3000);
	sim_net.bytes_per_s = 20000;
	sim_net.segment_max = 500;
	start();
	for (int i = 0; i < 100; i++) {
		history_delete(model_history(), (uint16_t)sim_random(HISTORY_ZONE));
		model_put((uint16_t)sim_random(HISTORY_ZONE), 10);
		pass(0.05);
	}
	catch_up(60);
	EXPECT(check_sync_count() == 1);
	stop();
}

/* -- server and network ----------------------------------------------------------------------- */

static void one_stream_only(void)
{
	prepare(1);
	cfg.watch_count = 2;
	cfg.want_first_list = true;
	server_cfg.max_streams = 1;
	put_many(50, 0, 48);
	start();
	catch_up(20);
	put_many(50, 0, 48);
	pass(300);
	catch_up(5);
	EXPECT(check_sync_count() == 2);
	EXPECT(sim_count.dials <= 3);
	stop();
}

static void watch_id_given_twice(void)
{
	prepare(1);
	cfg.watch_count = 2;
	model.has_same_ids = true;
	start();
	pass(5);
	EXPECT(sim_count.dials >= 2);
	EXPECT(device.watches[0].state != WATCH_LIVE || device.watches[1].state != WATCH_LIVE);
	model.has_same_ids = false;
	sim_host_cut(-1, SIM_CUT_RESET);
	pass(10);
	put_many(10, 0, 10);
	put_many(10, HISTORY_ZONE, 10);
	catch_up(60);
	EXPECT(check_event_count() == 20);
	EXPECT(check_sync_count() == 0);
	stop();
}

static void graceful_end(void)
{
	prepare(2);
	start();
	pass(2);
	for (int i = 0; i < 10; i++) {
		server_cfg.goaway_chance = 1000;
		put_many(2, 0, 2);
		pass(0.1);
		server_cfg.goaway_chance = 0;
		put_many(2, 0, 2);
		catch_up(10);
	}
	EXPECT(check_event_count() == 40);
	stop();
}

static void token_expires(void)
{
	prepare(2);
	cfg.has_user = true;
	model.has_auth = true;
	model.token_us = seconds(90);
	start();
	for (int i = 0; i < 20; i++) {
		put_many(2, 0, 2);
		pass(30);
		if (i % 5 == 4)
			sim_host_cut(-1, SIM_CUT_RESET);
	}
	catch_up(10);
	EXPECT(model.login_calls >= 6 && model.login_calls <= 20);
	stop();
}

static void denied_and_granted_again(void)
{
	uint64_t calls;

	prepare(1);
	start();
	pass(5);
	model.is_denied = true;
	sim_host_cut(-1, SIM_CUT_RESET);
	put_many(5, 0, 5);
	calls = model.range_calls + model.watch_calls;
	pass(600);
	calls = model.range_calls + model.watch_calls - calls;
	EXPECT(calls < 100);
	EXPECT(device.state == DEVICE_ON);
	model.is_denied = false;
	catch_up(100);
	EXPECT(check_sync_count() == 0);
	stop();
}

static void member_without_leader(void)
{
	prepare(3);
	start();
	pass(5);
	for (int i = 0; i < 3; i++) {
		model_partition(i, true);
		put_many(5, 0, 5);
		/* Another member is asked when the stream ends, or the probe is not answered. */
		catch_up(80);
		model_partition(i, false);
	}
	EXPECT(check_sync_count() == 0);
	stop();
}

static void no_name_service(void)
{
	prepare(2);
	cfg.is_named = true;
	sim_net.dns = SIM_DNS_SILENT;
	start();
	pass(100);
	EXPECT(sim_count.lookups >= 5 && sim_count.lookups < 40);
	sim_net.dns = SIM_DNS_FAILS;
	pass(100);
	sim_net.dns = SIM_DNS_FINE;
	pass(40);
	put_many(3, 0, 3);
	catch_up(5);
	stop();
}

static void reader_is_gone(void)
{
	prepare(1);
	start();
	pass(2);
	put_many(3, 0, 3);
	pass(1);
	sim_output.code = ERR_PIPE;
	put_many(3, 0, 3);
	pass(1);
	EXPECT(device.state == DEVICE_STOPPED && device.stop_err == ERR_PIPE);
	check_ended(true, true);
	sim_output.code = 0;
	start();
	EXPECT(pos()->rev == 13);
	catch_up(5);
	stop();
}

static void stop_while_blocked(void)
{
	prepare(1);
	start();
	pass(2);
	sim_output.blocked_until_us = sim_now_us() + seconds(1000);
	put_many(2000, 0, 20);
	pass(10);
	stop();
	EXPECT(device.watches[0].entry.saved_rev == 10);
	sim_output.blocked_until_us = 0;
	start();
	catch_up(10);
	stop();
}

/* -- several sinks, several watches ----------------------------------------------------------- */

static struct worker *keeper(int i)
{
	return &device.keepers[i];
}

static struct worker *follower(int i)
{
	return &device.followers[i];
}

static enum watch_state state_of(int i)
{
	return device.watches[i].state;
}

static void start_two(uint32_t max_streams)
{
	prepare(1);
	server_cfg.max_streams = max_streams;
	cfg.watch_count = 2;
	cfg.has_keeper = true;
	start();
	/* Of the first one print does not go on without the keeper. */
	device.print[0].sink.is_follower = true;
	pass(2);
}

static void a_parked_watch_holds_up_no_other(int err)
{
	uint64_t wakeups;

	start_two(0);
	worker_hold(keeper(0), err);
	put_many(5, 0, 5);
	put_many(5, HISTORY_ZONE, 5);
	pass(1);
	EXPECT(check_event_count() == 5);
	EXPECT(state_of(0) == WATCH_PARK && state_of(1) == WATCH_LIVE);
	for (int i = 1; i <= 300; i++) {
		put_many(1, 0, 5);
		put_many(1, HISTORY_ZONE, 5);
		pass(0.5);
		EXPECT(check_event_count() == 5 + (uint64_t)i);
	}
	EXPECT(pos()->rev == 10 && model.watch_calls == 2);
	wakeups = device.loop.wakeups;
	pass(600);
	EXPECT(device.loop.wakeups - wakeups < 60);
	worker_hold(keeper(0), 0);
	catch_up(2);
	EXPECT(check_event_count() == 610 && model.watch_calls == 3);
	EXPECT(check_sync_count() == 0 && sim_count.dials == 1);
	stop();
	EXPECT(device.watches[0].entry.saved_rev >= 10 + 609);
}

static void parked_at_once(void)
{
	a_parked_watch_holds_up_no_other(ERR_BUSY);
}

static void parked_when_others_wait(void)
{
	a_parked_watch_holds_up_no_other(ERR_AGAIN);
}

/* Its key is denied while it is parked, on another connection, and allowed again. */
static void parked_and_denied(void)
{
	prepare(1);
	cfg.has_keeper = true;
	start();
	device.print[0].sink.is_follower = true;
	pass(2);
	worker_hold(keeper(0), ERR_NOSPACE);
	put_many(5, 0, 5);
	pass(1);
	EXPECT(state_of(0) == WATCH_PARK);
	model.is_denied = true;
	sim_host_cut(-1, SIM_CUT_RESET);
	pass(20);
	worker_hold(keeper(0), 0);
	pass(20);
	model.is_denied = false;
	catch_up(100);
	stop();
}

static void a_busy_follower_does_not_keep_its_keeper_old(void)
{
	uint64_t calls;

	prepare(1);
	cfg.has_keeper = cfg.has_follower = true;
	model.progress_us = seconds(5);
	start();
	pass(1);
	put_many(1, 0, 5);
	pass(1);
	worker_hold(follower(0), ERR_BUSY);
	put_many(50, 0, 5);
	pass(1);
	EXPECT(check_event_count() == 51 && keeper(0)->at.rev == 61);
	EXPECT(follower(0)->at.rev == 11 && pos()->rev == 11);
	put_many(50, 0, 5);
	pass(1);
	EXPECT(keeper(0)->at.rev == 111 && model.watch_calls == 1);
	worker_hold(follower(0), 0);
	catch_up(2);
	EXPECT(check_event_count() == 101 && model.watch_calls == 2);
	pass(1);
	EXPECT(pos()->rev == 111);
	EXPECT(device.watches[0].feed.events == 101);
	/* What misses nothing needs no other stream. */
	calls = model.watch_calls;
	worker_hold(follower(0), ERR_BUSY);
	pass(60);
	worker_hold(follower(0), 0);
	put_many(1, 0, 1);
	catch_up(2);
	EXPECT(model.watch_calls == calls);
	stop();
}

/* A sink that wakes often does not make the others begin a long value again and again. */
static void a_long_value_comes_to_its_end(void)
{
	prepare(1);
	cfg.has_follower = true;
	start();
	pass(2);
	worker_hold(follower(0), ERR_BUSY);
	put_many(1, 0, 1);
	pass(1);
	sim_net.latency_us = seconds(0.5);
	model_put(0, 24 * CONFIG_H2_WINDOW_BYTES);
	for (int i = 0; i < 40 && !verdict_failed; i++) {
		pass(1);
		worker_hold(follower(0), ERR_BUSY);
		follower(0)->sink.wake(&follower(0)->sink);
	}
	EXPECT(check_event_count() == 2);
	worker_hold(follower(0), 0);
	catch_up(60);
	stop();
}

/* While nobody else waits for what a sink holds up, nothing looks after it. */
static void a_blocked_output_wakes_nobody(void)
{
	uint64_t wakeups;

	prepare(1);
	start();
	pass(2);
	sim_output.blocked_until_us = sim_now_us() + seconds(620);
	put_many(2000, 0, 20);
	pass(10);
	wakeups = device.loop.wakeups;
	pass(600);
	EXPECT(device.loop.wakeups - wakeups < 60);
	catch_up(60);
	stop();
}

static void a_listing_gives_way(void)
{
	prepare(1);
	cfg.watch_count = 2;
	cfg.has_keeper = cfg.want_first_list = true;
	put_many(30, 0, 48);
	start();
	worker_hold(keeper(0), ERR_NOSPACE);
	pass(3);
	EXPECT(state_of(1) == WATCH_LIVE && keeper(1)->at.rev == 40);
	EXPECT(!pos()->is_known);
	worker_hold(keeper(0), 0);
	catch_up(40);
	stop();
}

/* The stream that goes on behind a listing is not held for longer than the listing moves. */
static void a_stuck_listing_does_not_hold_the_stream(void)
{
	check_allow("first");
	start_two(0);
	put_many(30, 0, 48);
	pass(1);
	device.watches[0].was_listed = true; /* compaction was faster */
	sim_net.segment_max = 40;
	sim_net.jitter_us = 3000;
	keeper(0)->sink.relist(&keeper(0)->sink);
	for (int i = 0; i < 1000 && !keeper(0)->is_listing; i++)
		pass(0.0005);
	worker_hold(keeper(0), ERR_BUSY);
	pass(0.1);
	EXPECT(device.agent.is_held);
	put_many(5, HISTORY_ZONE, 5);
	pass(2);
	EXPECT(check_event_count() == 35);
	worker_hold(keeper(0), 0);
	catch_up(20);
	stop();
}

/* Where the server allows one stream, a listing that nobody could take now does not keep it from the others. */
static void one_stream_and_a_sink_that_is_not_ready(void)
{
	check_allow("first");
	start_two(1);
	keeper(0)->is_unready = true;
	keeper(0)->sink.relist(&keeper(0)->sink);
	pass(1);
	EXPECT(state_of(0) == WATCH_LIST);
	sim_host_cut(-1, SIM_CUT_RESET);
	put_many(5, HISTORY_ZONE, 5);
	pass(5);
	EXPECT(state_of(0) == WATCH_LIST && check_event_count() == 5);
	keeper(0)->is_unready = false;
	worker_hold(keeper(0), 0);
	catch_up(20);
	stop();
}

static void one_stream_and_a_stuck_listing(void)
{
	check_allow("first");
	start_two(1);
	worker_hold(keeper(0), ERR_NOSPACE);
	keeper(0)->sink.relist(&keeper(0)->sink);
	pass(1);
	put_many(5, HISTORY_ZONE, 5);
	pass(5);
	EXPECT(check_event_count() == 5);
	worker_hold(keeper(0), 0);
	catch_up(60);
	stop();
}

/* What a mirror held is lost: no position is known before it is listed, whatever the sinks say meanwhile. */
static void a_lost_mirror_has_no_position(void)
{
	check_allow("first");
	start_two(0);
	put_many(30, 0, 5);
	pass(1);
	EXPECT(pos()->rev == 40);
	keeper(0)->sink.identity = 4711;
	keeper(0)->sink.relist(&keeper(0)->sink);
	keeper(0)->sink.wake(&keeper(0)->sink);
	EXPECT(!pos()->is_known);
	pass(1);
	catch_up(5);
	EXPECT(check_sync_count() == 1);
	stop();
}

/* -- watches come and go ---------------------------------------------------------------------- */

static void taken_out_and_added_again(void)
{
	start_two(0);
	put_many(48, 0, 48);
	pass(1);
	for (int i = 0; i < 40 && !verdict_failed; i++) {
		for (int turn = 0; turn < 1000 && !device_can_remove(0); turn++)
			pass(0.0001);
		device_remove(0);
		pass(0.01 * (i % 5));
		put_many(10, 0, 5);
		put_many(10, HISTORY_ZONE, 5);
		pass(0.2);
		EXPECT(device.is_out[0] && state_of(1) == WATCH_LIVE);
		device_add(0);
		check_added(0);
		EXPECT(pos()->is_known);
		/* In every state on the way. */
		pass(0.0005 * i);
	}
	catch_up(5);
	/* What was printed in part when it left comes once more. */
	EXPECT(check_event_count() >= 48 + 40 * 20 && check_event_count() < 48 + 40 * 20 + 80);
	EXPECT(check_sync_count() == 0 && sim_count.dials == 1);
	stop();
}

/* The answer to it is still due: it is not taken for the next one's, and what it opened is closed again. */
static void taken_out_while_it_is_asked_for(void)
{
	start_two(0);
	put_many(48, 0, 48);
	pass(1);
	sim_net.latency_us = 50000;
	for (int i = 0; i < 20 && !verdict_failed; i++) {
		device_remove(0);
		pass(0.2);
		EXPECT(device.is_out[0]);
		device_add(0);
		check_added(0);
		for (int turn = 0; turn < 1000 && state_of(0) != WATCH_CREATE; turn++)
			pass(0.001);
		EXPECT(state_of(0) == WATCH_CREATE);
		/* Now and then the next one waits for it already. */
		device_remove(0);
		pass(i % 2 ? 0.01 : 0.3);
		device_add(0);
		check_added(0);
		pass(i % 3 ? 0.3 : 0.05);
	}
	put_many(5, 0, 5);
	catch_up(2);
	EXPECT(check_sync_count() == 0 && sim_count.dials == 1);
	stop();
}

/* The new one of the same name begins where the old one is, which may not have ended yet. */
static void added_again_at_once(void)
{
	static struct watch again;
	static struct worker worker;
	struct sink *sinks[] = {&worker.sink};

	prepare(1);
	start();
	pass(2);
	put_many(1, 0, 5);
	pass(1);
	put_many(20, 0, 5);
	pass(1);
	EXPECT(pos()->rev == 31 && device.watches[0].entry.saved_rev < 31);
	device_remove(0);
	again = (struct watch){.name = "a", .range = device.watches[0].range};
	worker_init(&worker, &device.loop, &again, NULL, false, 0, 0);
	EXPECT(agent_add_watch(&device.agent, &again, sinks, 1) == 0);
	worker_started(&worker);
	EXPECT(again.pos.rev == 31);
	put_many(20, 0, 5);
	pass(2);
	EXPECT(device.is_out[0] && again.pos.rev == 51 && worker_is_caught_up(&worker));
	stop();
	EXPECT(again.entry.saved_rev == 51);
}

static void forgotten(void)
{
	start_two(0);
	put_many(48, 0, 48);
	pass(70);
	device_remove(0);
	pass(1);
	EXPECT(device.is_out[0]);
	EXPECT(agent_forget(&device.agent, "a") == 0);
	check_forgotten(0);
	put_many(5, 0, 5);
	device_add(0);
	check_added(0);
	EXPECT(!pos()->is_known);
	pass(1);
	EXPECT(pos()->is_known && pos()->rev == 63);
	EXPECT(device.watches[1].pos.rev >= 58);
	stop();
}

/* SIGTERM while one is on its way out. */
static void stopped_while_one_is_taken_out(void)
{
	start_two(0);
	put_many(48, 0, 48);
	pass(1);
	device_remove(0);
	device_remove(1);
	stop();
	EXPECT(device.state == DEVICE_STOPPED);
	start();
	EXPECT(device.watches[0].pos.rev >= 34 && device.watches[1].pos.rev == 58);
	pass(1);
	stop();
}

/* -- other settings --------------------------------------------------------------------------- */

static bool is_connected_to(const char *host)
{
	return device.agent.session.state == ETCD_SESSION_READY &&
	       strcmp(device.agent.session.endpoint.host, host) == 0 && state_of(0) == WATCH_LIVE;
}

static void other_settings(void)
{
	prepare(2);
	cfg.endpoint_count = 1;
	start();
	pass(2);
	EXPECT(is_connected_to("10.0.0.1"));
	/* The same endpoint: the connection stays, and so do the new times. */
	cfg.probe_interval_ms = 2000;
	device_set_cfg(&cfg);
	pass(20);
	EXPECT(is_connected_to("10.0.0.1") && sim_count.dials == 1 && model.probe_calls >= 9);
	put_many(5, 0, 5);
	catch_up(1);
	cfg.endpoint_first = 1;
	device_set_cfg(&cfg);
	put_many(5, 0, 5);
	pass(1);
	EXPECT(is_connected_to("10.0.0.2") && sim_count.dials == 2);
	catch_up(1);
	/* Another user. */
	cfg.has_user = true;
	device_set_cfg(&cfg);
	pass(1);
	EXPECT(is_connected_to("10.0.0.2") && sim_count.dials == 3 && model.login_calls == 1);
	EXPECT(check_event_count() == 10 && check_sync_count() == 0);
	stop();
}

/* What was wrong for an hour is right at once. */
static void other_settings_while_there_is_no_connection(void)
{
	static const enum sim_reach reaches[] = {SIM_REFUSED, SIM_SILENT};

	for (int i = 0; i < 4 && !verdict_failed; i++) {
		prepare(2);
		cfg.endpoint_count = 1;
		cfg.is_named = i > 1;
		sim_net.reach[0] = reaches[i % 2];
		start();
		pass(600 + i);
		cfg.endpoint_first = 1;
		device_set_cfg(&cfg);
		pass(1);
		EXPECT(is_connected_to(cfg.is_named ? "m1" : "10.0.0.2"));
		stop();
		sim_net.reach[0] = SIM_UP;
		sim_flash_erase_all();
		check_reset();
	}
}

/* -- once ------------------------------------------------------------------------------------- */

static void once(const char *version, bool is_old)
{
	int64_t began_us;

	prepare(1);
	model_set_version(0, version, is_old, is_old);
	cfg.want_first_list = true;
	put_many(30, 0, 20);
	/* Listed. */
	cfg.is_once = true;
	cfg.has_follower = true;
	start();
	worker_hold(follower(0), ERR_BUSY);
	pass(5);
	EXPECT(!device.caught_up_us);
	worker_hold(follower(0), 0);
	pass(5);
	EXPECT(device.caught_up_us && check_sync_count() == 1 && check_is_caught_up());
	stop();
	/* Resumed. */
	put_many(3000, 0, 20);
	sim_net.bytes_per_s = 50000;
	start();
	for (int i = 0; i < 6000 && !device.caught_up_us && !verdict_failed; i++)
		pass(0.01);
	EXPECT(device.caught_up_us && check_event_count() == 3000 && check_is_caught_up());
	stop();
	sim_net.bytes_per_s = 0;
	/* Nothing has happened to its keys. */
	put_many(300, HISTORY_ZONE, 20);
	began_us = sim_now_us();
	start();
	pass(5);
	EXPECT(device.caught_up_us && device.caught_up_us - began_us < seconds(3));
	stop();
}

static void once_on_a_new_server(void)
{
	once("3.5.21", false);
}

static void once_on_an_old_server(void)
{
	once("3.4.20", true);
}

static void once_waits_for_a_server(void)
{
	prepare(1);
	cfg.is_once = true;
	sim_net.reach[0] = SIM_REFUSED;
	start();
	pass(300);
	EXPECT(!device.caught_up_us);
	sim_net.reach[0] = SIM_UP;
	pass(60);
	EXPECT(device.caught_up_us);
	stop();
}

const struct scenario scenarios[] = {
	{"plain", plain},
	{"clean-stop-saves", clean_stop_saves},
	{"backlog-cut-after-first-batch", backlog_cut_after_first_batch},
	{"fragments-cut-inside-a-revision", fragments_cut_inside_a_revision},
	{"cut-inside-a-value", cut_inside_a_value},
	{"duplicates-of-old-servers", duplicates_of_old_servers},
	{"old-server-loses-a-delete", old_server_loses_a_delete},
	{"old-server-start-at-the-position-itself", old_server_start_at_the_position_itself},
	{"two-crashes-while-saving", two_crashes_while_saving},
	{"damaged-state", damaged_state},
	{"saves-seldom", saves_seldom},
	{"idle-then-compaction", idle_then_compaction},
	{"progress-moves-at-once", progress_moves_at_once},
	{"blocked-output-is-not-silence", blocked_output_is_not_silence},
	{"blocked-value-is-not-silence", blocked_value_is_not_silence},
	{"idle-day", idle_day},
	{"silent-network", silent_network},
	{"refused-for-an-hour", refused_for_an_hour},
	{"rollback", rollback},
	{"rollback-overtaken", rollback_overtaken},
	{"rollback-behind-an-unprinted-listing", rollback_behind_an_unprinted_listing},
	{"rollback-while-the-output-is-blocked", rollback_while_the_output_is_blocked},
	{"other-cluster", other_cluster},
	{"one-stray-header", one_stray_header},
	{"lagging-member-is-no-rollback", lagging_member_is_no_rollback},
	{"one-stale-answer", one_stale_answer},
	{"compaction-while-away", compaction_while_away},
	{"compaction-right-behind-the-position", compaction_right_behind_the_position},
	{"compaction-during-a-slow-listing", compaction_during_a_slow_listing},
	{"listing-beside-a-watch", listing_beside_a_watch},
	{"listing-beside-an-event-that-has-begun", listing_beside_an_event_that_has_begun},
	{"listing-beside-an-event-on-one-stream", listing_beside_an_event_on_one_stream},
	{"pages-of-one-revision", pages_of_one_revision},
	{"one-stream-only", one_stream_only},
	{"watch-id-given-twice", watch_id_given_twice},
	{"graceful-end", graceful_end},
	{"token-expires", token_expires},
	{"denied-and-granted-again", denied_and_granted_again},
	{"member-without-leader", member_without_leader},
	{"no-name-service", no_name_service},
	{"reader-is-gone", reader_is_gone},
	{"stop-while-blocked", stop_while_blocked},
	{"parked-at-once", parked_at_once},
	{"parked-when-others-wait", parked_when_others_wait},
	{"parked-and-denied", parked_and_denied},
	{"a-busy-follower-does-not-keep-its-keeper-old",
		a_busy_follower_does_not_keep_its_keeper_old},
	{"a-long-value-comes-to-its-end", a_long_value_comes_to_its_end},
	{"a-blocked-output-wakes-nobody", a_blocked_output_wakes_nobody},
	{"a-listing-gives-way", a_listing_gives_way},
	{"a-stuck-listing-does-not-hold-the-stream", a_stuck_listing_does_not_hold_the_stream},
	{"one-stream-and-a-sink-that-is-not-ready", one_stream_and_a_sink_that_is_not_ready},
	{"one-stream-and-a-stuck-listing", one_stream_and_a_stuck_listing},
	{"a-lost-mirror-has-no-position", a_lost_mirror_has_no_position},
	{"taken-out-and-added-again", taken_out_and_added_again},
	{"taken-out-while-it-is-asked-for", taken_out_while_it_is_asked_for},
	{"added-again-at-once", added_again_at_once},
	{"forgotten", forgotten},
	{"stopped-while-one-is-taken-out", stopped_while_one_is_taken_out},
	{"other-settings", other_settings},
	{"other-settings-while-there-is-no-connection",
		other_settings_while_there_is_no_connection},
	{"once-on-a-new-server", once_on_a_new_server},
	{"once-on-an-old-server", once_on_an_old_server},
	{"once-waits-for-a-server", once_waits_for_a_server},
};
const size_t scenario_count = sizeof(scenarios) / sizeof(scenarios[0]);
