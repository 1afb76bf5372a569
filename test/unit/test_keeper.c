/* SPDX-License-Identifier: Apache-2.0 */
/* The keeper over the real journal, on flash in memory and with a clock that stands still. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "base/log.h"
#include "sync/keeper.h"

#include "fake_clock.h"
#include "fake_flash.h"

enum {
	ENTRIES = 3,
	INTERVAL_MS = 60000,
	QUIET_MS = 600000,
	CLUSTER = 77,
	TERM = 5,
	SECOND_MS = 1000,
};

static struct loop loop;
static struct keeper keeper;
static struct keeper_cfg cfg;
static struct keeper_entry entry[ENTRIES];
static struct position pos[ENTRIES];
static char told[4096];
static size_t told_len;
static int settle_err;
static unsigned settled;

static void writer(enum log_level level, const char *line, size_t len)
{
	int n = snprintf(
		told + told_len, sizeof(told) - told_len, "%d %.*s\n", (int)level, (int)len, line);

	assert_true(n > 0 && (size_t)n < sizeof(told) - told_len);
	told_len += (size_t)n;
}

static void drop_told(void)
{
	told[0] = '\0';
	told_len = 0;
}

static void expect_told(const char *want)
{
	assert_string_equal(told, want);
	drop_told();
}

static int settle(struct keeper_entry *e)
{
	(void)e;
	settled++;
	return settle_err;
}

/* A new process: nothing is left but the flash. */
static void boot(int entries)
{
	static const char *const names[] = {"a", "b", "c"};

	loop_init(&loop);
	keeper_init(&keeper, &loop, &cfg);
	memset(entry, 0, sizeof(entry));
	for (int i = 0; i < ENTRIES; i++) {
		position_init(&pos[i], 2000, 1000);
		entry[i] = (struct keeper_entry){
			.id = journal_watch_id(names[i], "k", 1, NULL, 0),
			.name = names[i],
			.pos = &pos[i],
		};
	}
	assert_int_equal(keeper_open(&keeper), 0);
	for (int i = 0; i < entries; i++)
		(void)keeper_add(&keeper, &entry[i]);
}

static int set_up(void **state)
{
	(void)state;
	fake_clock_reset();
	fake_init(0, 0, false);
	log_set_writer(writer);
	log_set_level(LOG_LEVEL_INFO);
	expect_told("");
	cfg = (struct keeper_cfg){
		.path = "/s", .interval_ms = INTERVAL_MS, .quiet_interval_ms = QUIET_MS};
	settle_err = 0;
	settled = 0;
	boot(1);
	return 0;
}

static void restart_at(int i, int64_t rev)
{
	const struct etcd_header header = {
		.cluster_id = CLUSTER, .raft_term = TERM, .revision = rev, .is_present = true};

	position_restart(&pos[i], rev, &header);
}

static void move(int i, int64_t rev)
{
	assert_true(position_propose(&pos[i], POSITION_EVENTS, rev));
	keeper_touch(&keeper, &entry[i]);
}

static void move_quietly(int i, int64_t rev)
{
	assert_true(position_propose(&pos[i], POSITION_PROGRESS, rev));
	keeper_touch(&keeper, &entry[i]);
}

static void run(int64_t ms)
{
	fake_run(&loop, ms);
}

/* What a power cut now would leave; -1: no position. The device itself goes on. */
static int64_t on_storage(int i)
{
	static struct fake_flash before;
	struct journal j;
	struct journal_record rec = {.position_rev = -1};

	before = fake;
	memcpy(fake.now, fake.disk, sizeof(fake.now));
	fake.op_count = 0;
	fake.open_code = 0;
	fake.is_readonly = false;
	memset(&j, 0, sizeof(j));
	if (!fake.is_missing) {
		assert_int_equal(journal_open(&j, "/s", PORT_FLASH_READ, false, 0), 0);
		(void)journal_find(&j, entry[i].id, &rec);
		journal_close(&j);
	}
	fake = before;
	return rec.position_rev;
}

/* -- when ------------------------------------------------------------------------------------- */

static void the_first_move_is_saved_at_once_the_next_when_its_time_has_come(void **state)
{
	(void)state;
	assert_int_equal(entry[0].saved_rev, -1);
	restart_at(0, 10);
	keeper_touch(&keeper, &entry[0]);
	assert_int_equal(on_storage(0), 10);
	assert_int_equal(entry[0].saved_rev, 10);
	assert_int_equal(pos[0].dirt, POSITION_CLEAN);
	run(1000);
	move(0, 11);
	run(INTERVAL_MS - 1000 - 1);
	move(0, 12);
	assert_int_equal(on_storage(0), 10);
	run(1);
	assert_int_equal(on_storage(0), 12);
	/* Long after the last save: at once again. */
	run(INTERVAL_MS);
	move(0, 13);
	assert_int_equal(on_storage(0), 13);
	assert_int_equal(entry[0].saved_rev, 13);
}

static void a_stream_of_events_is_saved_once_in_the_interval(void **state)
{
	uint64_t syncs, programs;

	(void)state;
	restart_at(0, 1);
	keeper_touch(&keeper, &entry[0]);
	run(INTERVAL_MS);
	syncs = fake.syncs;
	programs = fake.programs;
	for (int64_t i = 0; i < 3600; i++) {
		move(0, 2 + i);
		run(SECOND_MS);
		/* What is lost by a power cut at any time is no more than an interval. */
		if (i % 50 == 0)
			assert_true(on_storage(0) >= i - INTERVAL_MS / SECOND_MS);
	}
	assert_in_range(fake.syncs - syncs, 58, 61);
	assert_in_range(fake.programs - programs, 58, 61);
}

static void a_quiet_move_is_saved_once_in_the_longer_interval(void **state)
{
	uint64_t syncs;

	(void)state;
	restart_at(0, 1);
	keeper_touch(&keeper, &entry[0]);
	syncs = fake.syncs;
	for (int64_t i = 1; i <= QUIET_MS / SECOND_MS - 1; i++) {
		run(SECOND_MS);
		move_quietly(0, 1 + i);
	}
	assert_int_equal(fake.syncs, syncs);
	run(SECOND_MS);
	assert_int_equal(fake.syncs, syncs + 1);
	assert_int_equal(on_storage(0), QUIET_MS / SECOND_MS);
	/* An event does not wait for the longer one. */
	run(INTERVAL_MS / 2);
	move_quietly(0, 5000);
	move(0, 5001);
	run(INTERVAL_MS / 2 - 1);
	assert_int_equal(fake.syncs, syncs + 1);
	run(1);
	assert_int_equal(on_storage(0), 5001);
	run(10 * QUIET_MS);
	assert_int_equal(fake.syncs, syncs + 2);
}

static void what_is_due_together_waits_for_the_storage_once(void **state)
{
	uint64_t syncs;

	(void)state;
	boot(3);
	for (int i = 0; i < 3; i++) {
		restart_at(i, 10 + i);
		keeper_touch(&keeper, &entry[i]);
	}
	run(1000);
	syncs = fake.syncs;
	for (int i = 0; i < 3; i++)
		move(i, 20 + i);
	run(INTERVAL_MS);
	for (int i = 0; i < 3; i++)
		assert_int_equal(on_storage(i), 20 + i);
	assert_int_equal(fake.syncs, syncs + 1);
}

static void a_save_that_is_asked_for_does_not_wait(void **state)
{
	(void)state;
	restart_at(0, 10);
	keeper_touch(&keeper, &entry[0]);
	run(1);
	restart_at(0, 5);
	keeper_save(&keeper, &entry[0]);
	assert_int_equal(on_storage(0), 5);
	assert_int_equal(entry[0].saved_rev, 5);
}

static void a_clean_stop_saves_whatever_has_moved(void **state)
{
	uint64_t syncs;

	(void)state;
	boot(2);
	for (int i = 0; i < 2; i++) {
		restart_at(i, 10);
		keeper_touch(&keeper, &entry[i]);
	}
	run(1);
	move(0, 11);
	move_quietly(1, 12);
	keeper_close(&keeper);
	assert_int_equal(on_storage(0), 11);
	assert_int_equal(on_storage(1), 12);
	assert_false(fake.is_open);
	assert_null(loop.timers);
	/* Nothing has moved since: nothing is written. */
	boot(2);
	assert_int_equal(pos[0].rev, 11);
	syncs = fake.syncs;
	keeper_close(&keeper);
	assert_int_equal(fake.syncs, syncs);
}

/* -- what ------------------------------------------------------------------------------------- */

static void a_position_is_loaded_with_its_cluster_and_term(void **state)
{
	(void)state;
	restart_at(0, 42);
	keeper_touch(&keeper, &entry[0]);
	keeper_close(&keeper);
	boot(0);
	assert_int_equal(keeper_add(&keeper, &entry[0]), JOURNAL_FOUND);
	assert_int_equal(keeper_add(&keeper, &entry[1]), JOURNAL_NONE);
	assert_true(pos[0].is_known);
	assert_int_equal(pos[0].rev, 42);
	assert_int_equal(pos[0].cluster_id, CLUSTER);
	assert_int_equal(pos[0].raft_term, TERM);
	assert_int_equal(pos[0].dirt, POSITION_CLEAN);
	assert_int_equal(entry[0].saved_rev, 42);
	assert_false(pos[1].is_known);
	assert_int_equal(entry[1].saved_rev, -1);
	/* Another key under the same name is another watch. */
	entry[2].id = journal_watch_id("a", "other", 5, NULL, 0);
	assert_int_equal(keeper_add(&keeper, &entry[2]), JOURNAL_NONE);
	expect_told("");
}

static void what_is_not_known_is_not_saved(void **state)
{
	(void)state;
	position_give(&pos[0], 5);
	position_forget(&pos[0]);
	keeper_touch(&keeper, &entry[0]);
	keeper_save(&keeper, &entry[0]);
	keeper_close(&keeper);
	assert_int_equal(on_storage(0), -1);
	assert_int_equal(entry[0].saved_rev, -1);
}

static void without_a_file_nothing_is_kept_and_nothing_told(void **state)
{
	(void)state;
	cfg.path = NULL;
	fake_init(0, 0, false);
	boot(1);
	restart_at(0, 10);
	keeper_touch(&keeper, &entry[0]);
	keeper_save(&keeper, &entry[0]);
	assert_null(loop.timers);
	keeper_close(&keeper);
	assert_true(fake.is_missing);
	expect_told("");
}

static void damage_is_told_and_known(void **state)
{
	static uint8_t noise[8192];

	(void)state;
	for (size_t i = 0; i < sizeof(noise); i++)
		noise[i] = (uint8_t)(i * 7);
	fake_put(noise, sizeof(noise));
	boot(0);
	expect_told(
		"1 state file /s: damaged, no record in it is intact; it is put aside as /s.damaged\n");
	assert_true(keeper.is_recovered);
	assert_int_equal(keeper_add(&keeper, &entry[0]), JOURNAL_LOST);
	assert_false(pos[0].is_known);
	restart_at(0, 9);
	keeper_save(&keeper, &entry[0]);
	assert_int_equal(on_storage(0), 9);

	/* One bit: the records beside it count. */
	fake.now[JOURNAL_RECORD_LEN + 5] ^= 1;
	memcpy(fake.disk, fake.now, sizeof(fake.disk));
	boot(0);
	assert_true(keeper.is_recovered);
	expect_told("1 state file /s: was damaged; its newest intact records count\n");
}

/* -- trouble ---------------------------------------------------------------------------------- */

static void a_file_that_another_agent_uses_is_an_error(void **state)
{
	(void)state;
	fake.open_code = ERR_LOCKED;
	loop_init(&loop);
	keeper_init(&keeper, &loop, &cfg);
	assert_int_equal(keeper_open(&keeper), ERR_LOCKED);
	expect_told("");
}

static void a_file_that_cannot_be_opened_is_told_once_and_tried_again(void **state)
{
	(void)state;
	fake.open_code = ERR_ACCESS;
	boot(1);
	expect_told("1 state file /s: cannot open: permission denied; the positions stay in "
		    "memory; it is tried again every 10 s\n");
	restart_at(0, 10);
	keeper_touch(&keeper, &entry[0]);
	run(55 * SECOND_MS);
	assert_int_equal(entry[0].saved_rev, -1);
	assert_int_equal(on_storage(0), -1);
	fake.open_code = 0;
	run(5 * SECOND_MS - 1);
	assert_int_equal(on_storage(0), -1);
	expect_told("");
	run(1);
	assert_int_equal(on_storage(0), 10);
	expect_told("2 state file: written again (after 60.0 s, 6 failures)\n");
}

static void writing_that_fails_is_told_once_and_tried_again(void **state)
{
	static const struct {
		int code;
		const char *text;
	} rows[] = {{ERR_NOSPACE, "no space left"}, {ERR_IO, "input/output error"}};
	char want[256];

	for (size_t i = 0; i < 2; i++) {
		uint64_t writes;

		set_up(state);
		restart_at(0, 10);
		keeper_touch(&keeper, &entry[0]);
		run(INTERVAL_MS);
		fake.fail_code = rows[i].code;
		fake.fail_count = 1000;
		fake.fail_after = 0;
		move(0, 11);
		snprintf(want, sizeof(want),
			"1 state file /s: cannot write: %s; the positions stay in memory; it is "
			"tried again every 10 s\n",
			rows[i].text);
		expect_told(want);
		assert_int_equal(entry[0].saved_rev, 10);
		writes = fake.writes;
		/* However often it moves, the flash is tried once in ten seconds. */
		for (int64_t s = 1; s <= 99; s++) {
			run(SECOND_MS);
			move(0, 11 + s);
		}
		assert_in_range(fake.writes - writes, 9, 9 * 3);
		expect_told("");
		fake.fail_after = -1;
		run(SECOND_MS);
		assert_int_equal(on_storage(0), 110);
		assert_int_equal(entry[0].saved_rev, 110);
		expect_told("2 state file: written again (after 100.0 s, 10 failures)\n");
	}
}

/* A storage that fails to sync may have dropped what was written: it was not saved. */
static void what_was_not_synced_is_not_saved(void **state)
{
	(void)state;
	boot(2);
	for (int i = 0; i < 2; i++) {
		restart_at(i, 10);
		keeper_touch(&keeper, &entry[i]);
	}
	run(INTERVAL_MS);
	fake.fail_code = ERR_IO;
	fake.fail_count = 1;
	fake.fail_after = 1;
	move(0, 11);
	expect_told("1 state file /s: cannot write: input/output error; the positions stay in "
		    "memory; it is tried again every 10 s\n");
	assert_int_equal(entry[0].saved_rev, 10);
	assert_int_not_equal(pos[0].dirt, POSITION_CLEAN);
	run(KEEPER_RETRY_MS - 1);
	assert_int_equal(on_storage(0), 10);
	run(1);
	assert_int_equal(on_storage(0), 11);
	assert_int_equal(entry[0].saved_rev, 11);
	expect_told("2 state file: written again (after 10.0 s, 1 failure)\n");
	assert_int_equal(entry[1].saved_rev, 10);
}

static void a_file_system_that_went_read_only_is_opened_again(void **state)
{
	(void)state;
	restart_at(0, 10);
	keeper_touch(&keeper, &entry[0]);
	run(INTERVAL_MS);
	keeper.journal.flash.is_readonly = true;
	move(0, 11);
	expect_told("1 state file /s: cannot write: read-only; the positions stay in memory; "
		    "it is tried again every 10 s\n");
	assert_false(fake.is_open);
	run(KEEPER_RETRY_MS);
	assert_int_equal(on_storage(0), 11);
	assert_true(fake.is_open);
	expect_told("2 state file: written again (after 10.0 s, 1 failure)\n");
}

static void what_a_position_covers_is_on_storage_before_it(void **state)
{
	uint64_t polls;

	(void)state;
	boot(3);
	for (int i = 0; i < 3; i++)
		restart_at(i, 10);
	entry[1].settle = settle;
	settle_err = ERR_NOSPACE;
	for (int i = 0; i < 3; i++)
		keeper_touch(&keeper, &entry[i]);
	polls = fake_clock.polls;
	run(INTERVAL_MS);
	/* It holds up no other, and keeps nobody awake. */
	assert_int_equal(on_storage(0), 10);
	assert_int_equal(on_storage(1), -1);
	assert_int_equal(on_storage(2), 10);
	assert_int_equal(entry[1].saved_rev, -1);
	assert_true(fake_clock.polls - polls < 20);
	settle_err = 0;
	settled = 0;
	move(1, 11);
	assert_int_equal(on_storage(1), 11);
	assert_int_equal(settled, 1);
	/* At a clean stop as well. */
	move(1, 12);
	move(2, 12);
	settle_err = ERR_IO;
	keeper_close(&keeper);
	assert_int_equal(on_storage(1), 11);
	assert_int_equal(on_storage(2), 12);
}

/* -- a file that turns up late ---------------------------------------------------------------- */

static unsigned found_count;
static int64_t found_rev, found_storage;
static bool is_found_forgotten;

static void found_late(struct keeper_entry *e, const struct journal_record *record)
{
	found_count++;
	found_rev = record ? record->position_rev : -1;
	/* Nothing was written yet. */
	found_storage = on_storage((int)(e - entry));
	if (is_found_forgotten)
		position_forget(e->pos);
}

/* Position 50 is on storage, which cannot be opened at the start; here it is 60. */
static void boot_without_storage(bool is_forgotten)
{
	restart_at(0, 50);
	keeper_touch(&keeper, &entry[0]);
	keeper_close(&keeper);
	fake.open_code = ERR_IO;
	boot(2);
	entry[0].found_late = entry[1].found_late = found_late;
	found_count = 0;
	is_found_forgotten = is_forgotten;
	assert_int_equal(entry[0].saved_rev, -1);
	restart_at(0, 60);
	keeper_touch(&keeper, &entry[0]);
	run(3 * KEEPER_RETRY_MS);
	assert_int_equal(found_count, 0);
	assert_int_equal(on_storage(0), 50);
	fake.open_code = 0;
	run(KEEPER_RETRY_MS);
}

static void what_turns_up_late_is_told_before_it_is_overwritten(void **state)
{
	(void)state;
	boot_without_storage(false);
	/* Of the second entry it knows nothing: that is no news. */
	assert_int_equal(found_count, 1);
	assert_int_equal(found_rev, 50);
	assert_int_equal(found_storage, 50);
	assert_int_equal(on_storage(0), 60);
	assert_int_equal(entry[0].saved_rev, 60);
	/* It is told once, also when the file has to be opened again. */
	keeper.journal.flash.is_readonly = true;
	run(INTERVAL_MS);
	move(0, 61);
	run(KEEPER_RETRY_MS);
	assert_int_equal(on_storage(0), 61);
	assert_int_equal(found_count, 1);
	drop_told();
}

static void what_turns_up_late_stays_when_the_position_is_forgotten(void **state)
{
	(void)state;
	boot_without_storage(true);
	assert_int_equal(found_count, 1);
	run(INTERVAL_MS);
	assert_int_equal(on_storage(0), 50);
	assert_int_equal(entry[0].saved_rev, -1);
	/* Until there is one again. */
	restart_at(0, 70);
	keeper_save(&keeper, &entry[0]);
	assert_int_equal(on_storage(0), 70);
	drop_told();
}

/* Also when the first try that gets through is that of the stop. */
static void what_turns_up_at_the_stop_is_told_too(void **state)
{
	(void)state;
	restart_at(0, 50);
	keeper_touch(&keeper, &entry[0]);
	keeper_close(&keeper);
	fake.open_code = ERR_IO;
	boot(1);
	entry[0].found_late = found_late;
	found_count = 0;
	is_found_forgotten = true;
	restart_at(0, 60);
	keeper_touch(&keeper, &entry[0]);
	fake.open_code = 0;
	keeper_close(&keeper);
	assert_int_equal(found_count, 1);
	assert_int_equal(on_storage(0), 50);
	drop_told();
}

static void what_was_read_at_the_start_does_not_turn_up_late(void **state)
{
	(void)state;
	restart_at(0, 50);
	keeper_touch(&keeper, &entry[0]);
	keeper_close(&keeper);
	boot(1);
	entry[0].found_late = found_late;
	found_count = 0;
	assert_int_equal(entry[0].saved_rev, 50);
	keeper.journal.flash.is_readonly = true;
	run(INTERVAL_MS);
	move(0, 51);
	run(KEEPER_RETRY_MS);
	assert_int_equal(on_storage(0), 51);
	assert_int_equal(found_count, 0);
	drop_told();
}

/* -- watches come and go ---------------------------------------------------------------------- */

static void what_is_taken_out_is_saved_at_once(void **state)
{
	uint64_t syncs;

	(void)state;
	boot(2);
	for (int i = 0; i < 2; i++) {
		restart_at(i, 10);
		keeper_touch(&keeper, &entry[i]);
	}
	run(1000);
	move(0, 11);
	move(1, 12);
	assert_int_equal(on_storage(0), 10);
	keeper_remove(&keeper, &entry[0]);
	assert_int_equal(on_storage(0), 11);
	assert_int_equal(on_storage(1), 10);
	/* What happens to it now is nobody's business; the other goes on. */
	assert_true(position_propose(&pos[0], POSITION_EVENTS, 20));
	run(INTERVAL_MS);
	assert_int_equal(on_storage(0), 11);
	assert_int_equal(on_storage(1), 12);
	/* Another of this name goes on from there. */
	position_init(&pos[2], 2000, 1000);
	entry[2].id = entry[0].id;
	entry[2].name = entry[0].name;
	assert_int_equal(keeper_add(&keeper, &entry[2]), JOURNAL_FOUND);
	assert_int_equal(pos[2].rev, 11);
	/* Nothing has moved: nothing is written. */
	syncs = fake.syncs;
	keeper_remove(&keeper, &entry[1]);
	keeper_remove(&keeper, &entry[2]);
	assert_int_equal(fake.syncs, syncs);
	assert_null(keeper.entries);
	keeper_close(&keeper);
	assert_null(loop.timers);
	expect_told("");
}

static void one_that_cannot_be_settled_is_taken_out_unsaved(void **state)
{
	(void)state;
	restart_at(0, 10);
	entry[0].settle = settle;
	keeper_touch(&keeper, &entry[0]);
	assert_int_equal(on_storage(0), 10);
	move(0, 11);
	settle_err = ERR_NOSPACE;
	keeper_remove(&keeper, &entry[0]);
	assert_int_equal(on_storage(0), 10);
	assert_null(keeper.entries);
	run(INTERVAL_MS);
	assert_int_equal(on_storage(0), 10);
}

static void what_is_forgotten_is_gone_for_good(void **state)
{
	(void)state;
	boot(2);
	for (int i = 0; i < 2; i++) {
		restart_at(i, 10 + i);
		keeper_touch(&keeper, &entry[i]);
	}
	keeper_remove(&keeper, &entry[0]);
	assert_int_equal(keeper_forget(&keeper, "a"), 0);
	expect_told("2 state file /s: the position of watch a is forgotten\n");
	assert_int_equal(on_storage(0), -1);
	assert_int_equal(on_storage(1), 11);
	/* Again, and of one that never was. */
	assert_int_equal(keeper_forget(&keeper, "a"), 0);
	assert_int_equal(keeper_forget(&keeper, "never"), 0);
	expect_told("");
	keeper_close(&keeper);
	boot(0);
	assert_int_equal(keeper_add(&keeper, &entry[0]), JOURNAL_NONE);
	assert_int_equal(keeper_add(&keeper, &entry[1]), JOURNAL_FOUND);
}

static void forgetting_may_fail_and_is_asked_for_again(void **state)
{
	(void)state;
	restart_at(0, 10);
	keeper_touch(&keeper, &entry[0]);
	keeper_remove(&keeper, &entry[0]);
	keeper.journal.flash.is_readonly = true;
	assert_int_equal(keeper_forget(&keeper, "a"), ERR_READONLY);
	keeper.journal.flash.is_readonly = false;
	fake.fail_code = ERR_IO;
	fake.fail_count = 1;
	fake.fail_after = 0;
	assert_int_equal(keeper_forget(&keeper, "a"), ERR_IO);
	assert_int_equal(on_storage(0), 10);
	expect_told("");
	assert_int_equal(keeper_forget(&keeper, "a"), 0);
	assert_int_equal(on_storage(0), -1);
	expect_told("2 state file /s: the position of watch a is forgotten\n");
	/* A file that is not open is tried again when that is due. */
	fake.open_code = ERR_ACCESS;
	boot(0);
	expect_told("1 state file /s: cannot open: permission denied; the positions stay in "
		    "memory; it is tried again every 10 s\n");
	assert_int_equal(keeper_forget(&keeper, "a"), ERR_AGAIN);
	expect_told("");
	fake.open_code = 0;
	assert_int_equal(keeper_forget(&keeper, "a"), ERR_AGAIN);
	run(KEEPER_RETRY_MS);
	assert_int_equal(keeper_forget(&keeper, "a"), 0);
}

/* Without a file there is nothing to forget. */
static void without_a_file_nothing_is_forgotten(void **state)
{
	(void)state;
	keeper_close(&keeper);
	keeper.cfg.path = NULL;
	assert_int_equal(keeper_forget(&keeper, "a"), 0);
}

/* Also when nothing is to be written yet. */
static void a_read_only_file_is_told_at_the_start(void **state)
{
	(void)state;
	restart_at(0, 10);
	keeper_touch(&keeper, &entry[0]);
	keeper_close(&keeper);
	fake.is_readonly = true;
	boot(1);
	expect_told("1 state file /s: cannot write: read-only; the positions stay in memory; "
		    "it is tried again every 10 s\n");
	assert_int_equal(pos[0].rev, 10);
	move(0, 11);
	run(3 * KEEPER_RETRY_MS);
	assert_int_equal(on_storage(0), 10);
	expect_told("");
	fake.is_readonly = false;
	run(KEEPER_RETRY_MS);
	assert_int_equal(on_storage(0), 11);
	assert_int_equal(entry[0].saved_rev, 11);
	expect_told("2 state file: written again (after 40.0 s, 4 failures)\n");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(
			the_first_move_is_saved_at_once_the_next_when_its_time_has_come, set_up),
		cmocka_unit_test_setup(a_stream_of_events_is_saved_once_in_the_interval, set_up),
		cmocka_unit_test_setup(a_quiet_move_is_saved_once_in_the_longer_interval, set_up),
		cmocka_unit_test_setup(what_is_due_together_waits_for_the_storage_once, set_up),
		cmocka_unit_test_setup(a_save_that_is_asked_for_does_not_wait, set_up),
		cmocka_unit_test_setup(a_clean_stop_saves_whatever_has_moved, set_up),
		cmocka_unit_test_setup(a_position_is_loaded_with_its_cluster_and_term, set_up),
		cmocka_unit_test_setup(what_is_not_known_is_not_saved, set_up),
		cmocka_unit_test_setup(without_a_file_nothing_is_kept_and_nothing_told, set_up),
		cmocka_unit_test_setup(damage_is_told_and_known, set_up),
		cmocka_unit_test_setup(a_file_that_another_agent_uses_is_an_error, set_up),
		cmocka_unit_test_setup(
			a_file_that_cannot_be_opened_is_told_once_and_tried_again, set_up),
		cmocka_unit_test_setup(writing_that_fails_is_told_once_and_tried_again, set_up),
		cmocka_unit_test_setup(what_was_not_synced_is_not_saved, set_up),
		cmocka_unit_test_setup(a_file_system_that_went_read_only_is_opened_again, set_up),
		cmocka_unit_test_setup(what_a_position_covers_is_on_storage_before_it, set_up),
		cmocka_unit_test_setup(what_turns_up_late_is_told_before_it_is_overwritten, set_up),
		cmocka_unit_test_setup(
			what_turns_up_late_stays_when_the_position_is_forgotten, set_up),
		cmocka_unit_test_setup(what_turns_up_at_the_stop_is_told_too, set_up),
		cmocka_unit_test_setup(what_was_read_at_the_start_does_not_turn_up_late, set_up),
		cmocka_unit_test_setup(what_is_taken_out_is_saved_at_once, set_up),
		cmocka_unit_test_setup(one_that_cannot_be_settled_is_taken_out_unsaved, set_up),
		cmocka_unit_test_setup(what_is_forgotten_is_gone_for_good, set_up),
		cmocka_unit_test_setup(forgetting_may_fail_and_is_asked_for_again, set_up),
		cmocka_unit_test_setup(without_a_file_nothing_is_forgotten, set_up),
		cmocka_unit_test_setup(a_read_only_file_is_told_at_the_start, set_up),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
