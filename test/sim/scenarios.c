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
	{"pages-of-one-revision", pages_of_one_revision},
	{"one-stream-only", one_stream_only},
	{"graceful-end", graceful_end},
	{"token-expires", token_expires},
	{"denied-and-granted-again", denied_and_granted_again},
	{"member-without-leader", member_without_leader},
	{"no-name-service", no_name_service},
	{"reader-is-gone", reader_is_gone},
	{"stop-while-blocked", stop_while_blocked},
};
const size_t scenario_count = sizeof(scenarios) / sizeof(scenarios[0]);
