/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The journal when power or storage fails: at each byte of each write of a history, in random
 * histories in which each unsynced write is kept, lost or torn, and again and again at the same
 * place.
 *
 * The model: what a watch may be found at is any position that was written since the last sync, or
 * the one of that sync. Never less, never anything else. A failing random history prints its seed.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/err.h"
#include "fake_flash.h"
#include "store/journal.h"

enum {
	WATCHES = 3,
	MAYBE_MAX = 40,
	GONE = -1,
	IMAGE_MAX = 32768,
};

/* What may be found, [0] being what the last sync made sure of. */
struct model {
	int64_t maybe[MAYBE_MAX];
	int count;
};

static struct journal journal, after;
static struct model models[WATCHES];
static int in_flight; /* the watch whose last position is being written; below 0: none */
static unsigned cuts, found_recovered;
static uint64_t seed;

#define assert_here(condition) \
	do { \
		if (!(condition)) \
			fail_msg("seed %llu, cut %u: %s", (unsigned long long)seed, cuts, \
				#condition); \
	} while (0)

static const char *name_of(unsigned w)
{
	static const char *const names[WATCHES] = {
		"network", "a name that is long enough for two", "w"};

	return names[w];
}

static uint32_t id_of(unsigned w)
{
	return journal_watch_id(name_of(w), "/key", 4, NULL, 0);
}

static struct journal_record record_of(int64_t position_rev)
{
	return (struct journal_record){
		.position_rev = position_rev,
		.cluster_id = (uint64_t)position_rev * 0x9e3779b97f4a7c15ull,
		.raft_term = (uint64_t)position_rev / 7,
	};
}

static void model_reset(void)
{
	for (unsigned w = 0; w < WATCHES; w++)
		models[w] = (struct model){.maybe = {GONE}, .count = 1};
	in_flight = -1;
}

static void model_may(unsigned w, int64_t position_rev)
{
	assert_here(models[w].count < MAYBE_MAX);
	models[w].maybe[models[w].count++] = position_rev;
	in_flight = (int)w;
}

/* A sync, the journal's own ones included: whatever was written completely before it. */
static void model_synced(void)
{
	for (unsigned w = 0; w < WATCHES; w++) {
		struct model *m = &models[w];
		int last = m->count - 1 - ((int)w == in_flight);

		m->maybe[0] = m->maybe[last];
		m->maybe[1] = m->maybe[m->count - 1];
		m->count -= last;
	}
}

static void check_model(struct journal *j)
{
	for (unsigned w = 0; w < WATCHES; w++) {
		struct journal_record got = {.position_rev = GONE}, want;
		bool is_found = journal_find(j, id_of(w), &got) == JOURNAL_FOUND, is_fine = false;

		for (int i = 0; i < models[w].count; i++)
			is_fine |= got.position_rev == models[w].maybe[i];
		if (!is_fine)
			print_message("watch %u at %lld, expected %lld or one of %d more\n", w,
				(long long)got.position_rev, (long long)models[w].maybe[0],
				models[w].count - 1);
		assert_here(is_fine);
		if (!is_found)
			continue;
		want = record_of(got.position_rev);
		assert_here(want.cluster_id == got.cluster_id && want.raft_term == got.raft_term);
		for (size_t i = 0; i < CONFIG_JOURNAL_WATCH_COUNT; i++)
			if (j->watches[i].has_record && j->watches[i].id == id_of(w))
				assert_here(strncmp(j->watches[i].name, name_of(w),
						    strlen(j->watches[i].name)) == 0);
	}
}

static int open_journal(struct journal *j, int64_t now_ms)
{
	return journal_open(j, "state", PORT_FLASH_UPDATE, false, now_ms);
}

static int write_one(struct journal *j, unsigned w, int64_t position_rev, int64_t now_ms)
{
	struct journal_record record = record_of(position_rev);

	return journal_append(j, id_of(w), name_of(w), &record, now_ms);
}

/* -- power is cut at each byte */

static uint8_t kept_now[FAKE_SIZE_MAX], kept_disk[FAKE_SIZE_MAX];
static uint8_t cut_image[IMAGE_MAX];
static struct fake_op kept_ops[FAKE_OPS_MAX];
static uint32_t wear_kept[FAKE_SECTORS_MAX];

/* What was there is opened after the cut, gone on with, and opened again. */
static void check_cut(bool is_continued, int expected_recovered)
{
	bool is_damaged;

	assert_here(open_journal(&after, 0) == 0);
	check_model(&after);
	is_damaged = after.is_damaged;
	if (expected_recovered >= 0)
		assert_here(after.is_recovered == expected_recovered);
	found_recovered += after.is_recovered;
	if (!is_continued)
		return;
	/* Nothing was written: the same again, but for what was put aside. */
	assert_here(open_journal(&after, 0) == 0);
	check_model(&after);
	if (!is_damaged && expected_recovered >= 0)
		assert_here(after.is_recovered == expected_recovered);
	for (int i = 0; i < 45; i++) {
		unsigned w = (unsigned)i % WATCHES;

		assert_here(write_one(&after, w, 900000 + i, 0) == 0);
		assert_here(journal_sync(&after) == 0);
		if (i % 9 == 0) {
			assert_here(open_journal(&after, 0) == 0);
			assert_here(!after.is_recovered && !after.is_damaged);
		}
	}
	assert_here(open_journal(&after, 0) == 0);
	for (unsigned w = 0; w < WATCHES; w++) {
		struct journal_record got;

		assert_here(journal_find(&after, id_of(w), &got) == JOURNAL_FOUND);
		assert_here(got.position_rev == 900042 + w);
	}
}

static void cut_everywhere(const struct fake_op *op)
{
	struct {
		uint32_t size, op_count, aside_size;
	} kept = {fake.size, fake.op_count, fake.aside_size};

	memcpy(kept_now, fake.now, sizeof(kept_now));
	memcpy(kept_disk, fake.disk, sizeof(kept_disk));
	memcpy(kept_ops, fake.ops, sizeof(kept_ops));
	memcpy(wear_kept, fake.wear, sizeof(wear_kept));
	fake.before_write = NULL;
	fake.after_sync = NULL;
	for (uint32_t len = 0; len <= op->len; len += op->is_erase ? 16 : 1) {
		for (int tail = 0; tail < FAKE_TAIL_COUNT; tail++, cuts++) {
			int expected = -1;

			memcpy(cut_image, kept_now, kept.size);
			fake_apply(cut_image, op, len, (enum fake_tail)tail);
			if (!op->is_erase)
				expected = memcmp(cut_image + op->offset, kept_now + op->offset,
						   op->len) != 0 &&
					   memcmp(cut_image + op->offset, op->bytes, op->len) != 0;
			fake_put(cut_image, kept.size);
			check_cut(fake_random(16) == 0, expected);
		}
	}
	memcpy(fake.now, kept_now, sizeof(kept_now));
	memcpy(fake.disk, kept_disk, sizeof(kept_disk));
	memcpy(fake.ops, kept_ops, sizeof(kept_ops));
	memcpy(fake.wear, wear_kept, sizeof(wear_kept));
	fake.size = kept.size;
	fake.op_count = kept.op_count;
	fake.aside_size = kept.aside_size;
	fake.before_write = cut_everywhere;
	fake.after_sync = model_synced;
}

static void cut_history(uint32_t sector_size, uint32_t sector_count, bool is_device, int appends)
{
	uint32_t least = UINT32_MAX, most = 0;

	fake_seed(seed);
	model_reset();
	fake_init(sector_size, sector_count, is_device);
	assert_here(open_journal(&journal, 0) == 0);
	fake.before_write = cut_everywhere;
	fake.after_sync = model_synced;
	for (int i = 0; i < appends; i++) {
		/* One busy watch, one seldom written, one that is removed now and then. */
		unsigned w = i % 29 == 3 ? 1 : i % 4 == 2 ? 2 : 0;

		if (w == 2 && fake_random(3) == 0) {
			model_may(w, GONE);
			assert_here(journal_forget(&journal, id_of(w), 0) == 0);
		} else {
			model_may(w, i);
			assert_here(write_one(&journal, w, i, 0) == 0);
		}
		in_flight = -1;
		if (fake_random(3))
			assert_here(journal_sync(&journal) == 0);
	}
	assert_here(fake.rule_breaks == 0);
	for (uint32_t i = 0; i < sector_count; i++) {
		least = fake.wear[i] < least ? fake.wear[i] : least;
		most = fake.wear[i] > most ? fake.wear[i] : most;
	}
	assert_here(most > 0 && most - least <= 1);
}

static void test_cut_at_every_byte(void **state)
{
	(void)state;
	cuts = found_recovered = 0;
	for (seed = 1; seed <= 2; seed++) {
		cut_history(512, 2, true, 70);
		cut_history(512, 3, false, 90);
		cut_history(768, 4, true, 150);
	}
	print_message("%u cuts, %u of them left damage\n", cuts, found_recovered);
	assert_true(found_recovered > cuts / 4);
}

/* A device that holds no journal is taken over: no cut makes it look as if it had been empty. */
static void cut_in_takeover(const struct fake_op *op)
{
	static uint8_t now[FAKE_SIZE_MAX];
	struct journal_record got;

	memcpy(now, fake.now, sizeof(now));
	fake.before_write = NULL;
	for (uint32_t len = 0; len <= op->len; len++) {
		enum journal_found found;

		memcpy(fake.now, now, sizeof(now));
		fake_apply(fake.now, op, len, (enum fake_tail)(len % FAKE_TAIL_COUNT));
		assert_here(open_journal(&after, 0) == 0);
		found = journal_find(&after, id_of(0), &got);
		assert_here(
			found == JOURNAL_LOST || (found == JOURNAL_FOUND && got.position_rev == 5));
		assert_here(journal_find(&after, id_of(1), &got) == JOURNAL_LOST);
	}
	memcpy(fake.now, now, sizeof(now));
	fake.before_write = cut_in_takeover;
}

static void test_cut_in_takeover(void **state)
{
	static uint8_t bytes[2048];

	(void)state;
	/* Noise in some of the four sectors. */
	for (uint32_t sectors = 1; sectors < 16; sectors++) {
		seed = sectors;
		fake_seed(seed);
		memset(bytes, 0xff, sizeof(bytes));
		for (uint32_t i = 0; i < sizeof(bytes); i++)
			if (sectors >> i / 512 & 1)
				bytes[i] = (uint8_t)fake_random(256);
		fake_init(512, 4, true);
		fake_put(bytes, sizeof(bytes));
		fake.before_write = cut_in_takeover;
		assert_here(open_journal(&journal, 0) == 0);
		assert_here(journal.is_damaged);
		assert_here(write_one(&journal, 0, 5, 0) == 0);
		assert_here(journal_sync(&journal) == 0);
	}
}

/* -- random histories */

static void random_history(bool is_failing)
{
	uint32_t sector_slots = 16 + fake_random(20), sector_count = 2 + fake_random(5);
	bool is_relaxed = fake_random(4) == 0;
	/* A sector that could not be erased keeps what is older than a watch's removal, so none is
	 * removed then. */
	bool is_worn = is_failing && fake_random(2);
	uint32_t forgets_below = is_worn ? 0 : 12;
	int64_t now_ms = 0, position_rev = 0;

	model_reset();
	fake_init(sector_slots * JOURNAL_RECORD_LEN, sector_count, true);
	fake.after_sync = model_synced;
	assert_here(journal_open(&journal, "state", PORT_FLASH_UPDATE, is_relaxed, 0) == 0);
	for (int step = 0; step < 400; step++) {
		unsigned w = fake_random(WATCHES);
		uint32_t what = fake_random(100);
		int err = 0;

		now_ms += fake_random(3600 * 1000);
		if (is_failing && fake_random(6) == 0) {
			fake.fail_after = (int)fake_random(6);
			fake.fail_code = is_worn          ? ERR_IO
					 : fake_random(2) ? ERR_NOSPACE
							  : ERR_READONLY;
			fake.fail_len = fake_random(2) ? fake_random(40) : 0;
			fake.fail_count = 1 + (int)fake_random(4);
		}
		if (what < 4) {
			fake_cut_power();
			assert_here(journal_open(&journal, "state", PORT_FLASH_UPDATE, is_relaxed,
					    now_ms) == 0);
			check_model(&journal);
			/* What was found is what is there, for the next time. */
			for (w = 0; w < WATCHES; w++) {
				struct journal_record got = {.position_rev = GONE};

				(void)journal_find(&journal, id_of(w), &got);
				models[w] = (struct model){.maybe = {got.position_rev}, .count = 1};
			}
			continue;
		}
		if (models[w].count > MAYBE_MAX - 3) {
			fake.fail_after = -1;
			assert_here(port_flash_sync(&journal.flash) == 0);
		}
		model_may(w, what < forgets_below ? GONE : ++position_rev);
		if (what < forgets_below)
			err = journal_forget(&journal, id_of(w), now_ms);
		else
			err = write_one(&journal, w, position_rev, now_ms);
		if (err) {
			/* It may be there or not, until it is tried again. */
			int64_t last = models[w].maybe[models[w].count - 1];

			assert_here(is_failing);
			fake.fail_after = -1;
			err = last == GONE ? journal_forget(&journal, id_of(w), now_ms)
					   : write_one(&journal, w, last, now_ms);
			if (err && err != ERR_NOSPACE)
				print_message("%s\n", err_name(err));
		}
		assert_here(!err);
		in_flight = -1;
		if (fake_random(3)) {
			err = journal_sync(&journal);
			assert_here(!err || is_failing);
		}
	}
	fake.fail_after = -1;
	assert_here(fake.rule_breaks == 0);
	assert_here(port_flash_sync(&journal.flash) == 0);
	assert_here(open_journal(&journal, now_ms) == 0);
	check_model(&journal);
}

static void test_random_histories(void **state)
{
	(void)state;
	cuts = 0;
	for (seed = 1; seed <= 1000; seed++) {
		fake_seed(seed);
		random_history(false);
	}
}

static void test_random_failures(void **state)
{
	(void)state;
	cuts = 0;
	for (seed = 100001; seed <= 100400; seed++) {
		fake_seed(seed);
		random_history(true);
	}
}

/* -- the same trouble again and again */

static void fill_journal(uint32_t sector_count, int appends)
{
	fake_init(512, sector_count, true);
	assert_here(open_journal(&journal, 0) == 0);
	for (int i = 0; i < appends; i++)
		assert_here(write_one(&journal, (unsigned)i % WATCHES, i, 0) == 0);
	assert_here(journal_sync(&journal) == 0);
}

static void check_positions(int64_t first_rev)
{
	for (unsigned w = 0; w < WATCHES; w++) {
		struct journal_record got;

		assert_here(journal_find(&journal, id_of(w), &got) == JOURNAL_FOUND);
		assert_here(got.position_rev == first_rev + w);
	}
}

/*
 * Power goes at the n-th write after each start, thousands of times, at whatever place of the log:
 * the position that was there before stays, and when the trouble is over, all goes on.
 */
static void test_cut_again_and_again(void **state)
{
	(void)state;
	for (uint32_t sector_count = 2; sector_count < 6; sector_count++) {
		for (int appends = 30; appends < 60; appends += 3) {
			for (int writes = 0; writes < 9; writes += 1 + writes / 3) {
				seed = (uint64_t)sector_count * 10000 + (uint64_t)appends * 100 +
				       (uint64_t)writes;
				fake_seed(seed);
				fill_journal(sector_count, appends);
				for (int boot = 0; boot < 500; boot++) {
					struct journal_record got;

					assert_here(open_journal(&journal, 0) == 0);
					/* Watch 0 may get further, the others never do. */
					assert_here(journal_find(&journal, id_of(1), &got) ==
							    JOURNAL_FOUND &&
						    got.position_rev == appends - 2);
					fake.fail_after = writes;
					fake.fail_code = ERR_BUG;
					fake.fail_len = fake_random(40);
					fake.fail_count = 1;
					(void)write_one(&journal, 0, appends - 3, 0);
					fake_cut_power();
				}
				fake.fail_after = -1;
				assert_here(open_journal(&journal, 0) == 0);
				check_positions(appends - 3);
				for (int i = 0; i < 60; i++)
					assert_here(write_one(&journal, (unsigned)i % WATCHES,
							    appends + i, 0) == 0);
				assert_here(open_journal(&journal, 0) == 0);
				check_positions(appends + 57);
				assert_here(fake.rule_breaks == 0);
			}
		}
	}
}

/* Each write and sync of a history fails once: told, and the next try succeeds. */
static void test_every_call_fails(void **state)
{
	static const int codes[] = {ERR_NOSPACE, ERR_IO, ERR_READONLY};
	unsigned failed = 0;

	(void)state;
	for (int code = 0; code < 3; code++) {
		for (int at = 0; at < 250; at++) {
			seed = (uint64_t)at * 10 + (uint64_t)code;
			fake_init(512, 3, at % 2);
			assert_here(open_journal(&journal, 0) == 0);
			fake.fail_after = at;
			fake.fail_code = codes[code];
			fake.fail_len = at % 5 == 0 ? 13 : 0;
			fake.fail_count = 1;
			for (int i = 0; i < 60; i++) {
				int err = write_one(&journal, (unsigned)i % WATCHES, i, 0);

				if (!err)
					err = journal_sync(&journal);
				if (err) {
					failed++;
					assert_here(err == codes[code]);
					assert_here(write_one(&journal, (unsigned)i % WATCHES, i,
							    0) == 0);
					assert_here(journal_sync(&journal) == 0);
				}
			}
			fake_cut_power();
			assert_here(open_journal(&journal, 0) == 0);
			check_positions(57);
			assert_here(fake.rule_breaks == 0);
		}
	}
	assert_true(failed > 300);
}

/* A disk that is full or read-only for a long time wears nothing and costs no position. */
static void test_long_trouble(void **state)
{
	static const int codes[] = {ERR_NOSPACE, ERR_IO, ERR_READONLY};

	(void)state;
	for (int code = 0; code < 3; code++) {
		for (int appends = 30; appends < 60; appends += 3) {
			struct journal_stat stat;

			seed = (uint64_t)appends * 10 + (uint64_t)code;
			fill_journal(4, appends);
			journal_stat(&journal, &stat, 0);
			fake.fail_after = 0;
			fake.fail_code = codes[code];
			fake.fail_len = 0;
			fake.fail_count = 1000;
			for (int i = 0; i < 1000; i++)
				assert_here(write_one(&journal, 0, 5000, 0) == codes[code]);
			if (codes[code] != ERR_IO)
				assert_here(journal.next == stat.records);
			assert_here(write_one(&journal, 0, appends - 3, 0) == 0);
			assert_here(open_journal(&journal, 0) == 0);
			check_positions(appends - 3);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_cut_at_every_byte),
		cmocka_unit_test(test_cut_in_takeover),
		cmocka_unit_test(test_random_histories),
		cmocka_unit_test(test_random_failures),
		cmocka_unit_test(test_cut_again_and_again),
		cmocka_unit_test(test_every_call_fails),
		cmocka_unit_test(test_long_trouble),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
