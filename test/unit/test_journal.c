/* SPDX-License-Identifier: Apache-2.0 */
/* What the journal promises while power stays on: format, table, geometry, damage, wear. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/crc32.h"
#include "base/err.h"
#include "fake_flash.h"
#include "store/journal.h"

static struct journal journal;

static int reopen(int64_t now_ms)
{
	return journal_open(&journal, "state", PORT_FLASH_UPDATE, false, now_ms);
}

static int save(uint32_t id, const char *name, int64_t position_rev, int64_t now_ms)
{
	struct journal_record record = {
		.position_rev = position_rev, .cluster_id = 0x1122334455667788, .raft_term = 7};
	int err = journal_append(&journal, id, name, &record, now_ms);

	return err ? err : journal_sync(&journal);
}

/* The position of a watch; -1 none, -2 lost. */
static int64_t position_of(uint32_t id)
{
	struct journal_record record;

	switch (journal_find(&journal, id, &record)) {
	case JOURNAL_FOUND:
		return record.position_rev;
	case JOURNAL_NONE:
		return -1;
	case JOURNAL_LOST:
		return -2;
	}
	return -3;
}

static const char *name_of(uint32_t id)
{
	for (size_t i = 0; i < CONFIG_JOURNAL_WATCH_COUNT; i++)
		if (journal.watches[i].has_record && journal.watches[i].id == id)
			return journal.watches[i].name;
	return NULL;
}

static void test_watch_id(void **state)
{
	(void)state;
	uint32_t id = journal_watch_id("a", "key", 3, "kez", 3);

	assert_int_equal(id, journal_watch_id("a", "key", 3, "kez", 3));
	assert_int_not_equal(id, journal_watch_id("b", "key", 3, "kez", 3));
	assert_int_not_equal(id, journal_watch_id("a", "kex", 3, "kez", 3));
	assert_int_not_equal(id, journal_watch_id("a", "key", 3, "key", 3));
	assert_int_not_equal(id, journal_watch_id("a", "key", 3, NULL, 0));
	/* What is name, key and end of the range cannot be shifted. */
	assert_int_not_equal(id, journal_watch_id("ak", "ey", 2, "kez", 3));
	assert_int_not_equal(id, journal_watch_id("a", "keyk", 4, "ez", 2));
	assert_int_not_equal(
		journal_watch_id("a", "k", 1, "\0", 1), journal_watch_id("a", "k\0", 2, NULL, 0));
}

static void test_fresh_and_kept(void **state)
{
	(void)state;
	for (int is_device = 0; is_device < 2; is_device++) {
		struct journal_record record;

		fake_init(512, 4, is_device);
		assert_int_equal(reopen(0), 0);
		assert_false(journal.is_damaged || journal.is_recovered);
		assert_int_equal(position_of(1), -1);
		assert_int_equal(fake.programs, 0);
		assert_int_equal(save(1, "network", 12, 0), 0);
		assert_int_equal(save(2, "flags", ((int64_t)1 << 62) - 1, 0), 0);
		assert_int_equal(save(1, "network", 13, 0), 0);
		assert_int_equal(position_of(1), 13);
		assert_int_equal(reopen(0), 0);
		assert_false(journal.is_damaged || journal.is_recovered);
		assert_int_equal(position_of(1), 13);
		assert_int_equal(position_of(2), ((int64_t)1 << 62) - 1);
		assert_int_equal(position_of(3), -1);
		assert_string_equal(name_of(1), "network");
		assert_string_equal(name_of(2), "flags");
		assert_int_equal(journal_find(&journal, 1, &record), JOURNAL_FOUND);
		assert_true(record.cluster_id == 0x1122334455667788);
		assert_true(record.raft_term == 7);
		assert_int_equal(fake.rule_breaks, 0);
	}
}

static void test_refused(void **state)
{
	struct journal_record record = {.position_rev = -1};

	(void)state;
	memset(&journal, 0, sizeof(journal));
	assert_int_equal(position_of(1), -1);
	assert_int_equal(journal_append(&journal, 1, "a", &record, 0), ERR_BUG);
	assert_int_equal(journal_sync(&journal), 0);
	journal_close(&journal);

	fake_init(512, 4, false);
	assert_int_equal(reopen(0), 0);
	assert_int_equal(journal_append(&journal, 1, "a", &record, 0), ERR_RANGE);
	record.position_rev = (int64_t)1 << 62;
	assert_int_equal(journal_append(&journal, 1, "a", &record, 0), ERR_RANGE);
	assert_int_equal(fake.programs, 0);

	/* A term that is too large is kept as the largest: never an older one than it was. */
	record.position_rev = 0;
	record.raft_term = UINT64_MAX;
	assert_int_equal(journal_append(&journal, 1, "a", &record, 0), 0);
	assert_int_equal(reopen(0), 0);
	assert_int_equal(journal_find(&journal, 1, &record), JOURNAL_FOUND);
	assert_true(record.raft_term == UINT32_MAX && record.position_rev == 0);
}

/* The bytes of the table in journal.h, one by one. */
static void test_format(void **state)
{
	static const uint8_t header[28] = {0, 0, 0, 0, 'E', 'T', 'J', '1', 0, 2, 0, 0, 4, 0, 0, 0,
		5, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xc0};
	static const uint8_t name0[28] = {1, 0, 0, 0, 4, 3, 2, 1, 'a', 'b', 'c', 'd', 'e', 'f', 'g',
		'h', 'i', 'j', 'k', 'l', 'm', 'n', 'o', 'p', 'q', 'r', 's', 0x40};
	static const uint8_t name1[28] = {2, 0, 0, 0, 4, 3, 2, 1, 't', [27] = 0x41};
	static const uint8_t position[28] = {3, 0, 0, 0, 4, 3, 2, 1, 0x88, 0x77, 0x66, 0x55, 0x44,
		0x33, 0x22, 0x11, 7, 0, 0, 0, 0xef, 0xcd, 0xab, 0x90, 0x78, 0x56, 0x34, 0x12};
	static const uint8_t forgotten[28] = {4, 0, 0, 0, 4, 3, 2, 1, [27] = 0x80};
	const uint8_t *expected[] = {header, name0, name1, position, forgotten};

	(void)state;
	fake_init(512, 4, false);
	assert_int_equal(reopen(1000), 0);
	assert_int_equal(save(0x01020304, "abcdefghijklmnopqrst", 0x1234567890abcdef, 6999), 0);
	assert_int_equal(journal_forget(&journal, 0x01020304, 6999), 0);
	for (size_t i = 0; i < 5; i++) {
		const uint8_t *rec = fake.now + i * JOURNAL_RECORD_LEN;
		uint32_t crc = crc32_update(crc32_update(0, "ETJ1", 4), rec, 28);

		assert_memory_equal(rec, expected[i], 28);
		for (int k = 0; k < 4; k++)
			assert_int_equal(rec[28 + k], (uint8_t)(crc >> 8 * k));
	}
	/* Neither an erased slot nor zeros may check by chance. */
	for (int byte = 0; byte < 256; byte += 255) {
		uint8_t rec[28];
		uint32_t crc;

		memset(rec, byte, sizeof(rec));
		crc = crc32_update(crc32_update(0, "ETJ1", 4), rec, 28);
		assert_int_not_equal(crc, byte ? UINT32_MAX : 0);
	}
}

static void test_names(void **state)
{
	char name[200], cut[CONFIG_JOURNAL_NAME_LEN + 1];

	(void)state;
	for (size_t len = 0; len < sizeof(name); len += 1 + len / 64) {
		memset(name, 'x', len);
		name[len] = 0;
		fake_init(1024, 3, false);
		assert_int_equal(reopen(0), 0);
		for (int i = 0; i < 100; i++)
			assert_int_equal(save(1, name, i, 0), 0);
		assert_int_equal(reopen(0), 0);
		assert_int_equal(position_of(1), 99);
		memset(cut, 0, sizeof(cut));
		memcpy(cut, name, len < CONFIG_JOURNAL_NAME_LEN ? len : CONFIG_JOURNAL_NAME_LEN);
		assert_string_equal(name_of(1), cut);
	}
	/* Names that are equal as far as they are kept are two names. */
	memset(name, 'x', 100);
	name[100] = 0;
	assert_int_equal(save(1, name, 5, 0), 0);
	name[99] = 'y';
	assert_int_equal(save(2, name, 6, 0), 0);
	assert_int_equal(position_of(1), 5);
	assert_int_equal(position_of(2), 6);
}

/* A watch whose key was changed has another id and the same name: one watch, one position. */
static void test_one_record_for_a_name(void **state)
{
	(void)state;
	fake_init(512, 4, false);
	assert_int_equal(reopen(0), 0);
	assert_int_equal(save(1, "watch", 10, 0), 0);
	assert_int_equal(save(3, "other", 11, 0), 0);
	assert_int_equal(save(2, "watch", 20, 0), 0);
	for (int i = 0; i < 2; i++) {
		assert_int_equal(position_of(1), -1);
		assert_int_equal(position_of(2), 20);
		assert_int_equal(position_of(3), 11);
		assert_int_equal(reopen(0), 0);
	}
	/* Back again, through all sectors. */
	for (int i = 0; i < 300; i++) {
		assert_int_equal(save(i % 2 ? 2 : 1, "watch", i, 0), 0);
		assert_int_equal(reopen(0), 0);
		assert_int_equal(position_of(i % 2 ? 2 : 1), i);
		assert_int_equal(position_of(i % 2 ? 1 : 2), -1);
		assert_int_equal(position_of(3), 11);
	}
}

static void test_forget(void **state)
{
	(void)state;
	fake_init(512, 3, false);
	assert_int_equal(reopen(0), 0);
	for (int round = 0; round < 100; round++) {
		assert_int_equal(save(1, "a", round, 0), 0);
		assert_int_equal(save(2, "b", round, 0), 0);
		assert_int_equal(journal_forget(&journal, 1, 0), 0);
		assert_int_equal(journal_forget(&journal, 1, 0), 0);
		assert_int_equal(journal_forget(&journal, 99, 0), 0);
		assert_int_equal(position_of(1), -1);
		assert_int_equal(reopen(0), 0);
		assert_int_equal(position_of(1), -1);
		assert_int_equal(position_of(2), round);
	}
}

static void test_full_table(void **state)
{
	char name[16];
	uint32_t id;

	(void)state;
	fake_init(4096, 8, false);
	assert_int_equal(reopen(0), 0);
	for (id = 1; id <= CONFIG_JOURNAL_WATCH_COUNT; id++) {
		(void)snprintf(name, sizeof(name), "w%u", (unsigned)id);
		assert_int_equal(save(id, name, id, 0), 0);
	}
	/* All are in use: none is given up. */
	assert_int_equal(save(id, "more", 1, 0), ERR_NOSPACE);
	/* After a restart, watch 2 is not asked for. */
	assert_int_equal(reopen(0), 0);
	for (id = 1; id <= CONFIG_JOURNAL_WATCH_COUNT; id++)
		if (id != 2)
			assert_int_equal(position_of(id), id);
	assert_int_equal(save(1, "w1", 1, 0), 0);
	assert_int_equal(save(id, "more", 100, 0), 0);
	assert_int_equal(save(id + 1, "still more", 1, 0), ERR_NOSPACE);
	for (int i = 0; i < 2; i++) {
		assert_int_equal(position_of(id), 100);
		assert_int_equal(position_of(2), -1);
		for (uint32_t other = 3; other <= CONFIG_JOURNAL_WATCH_COUNT; other++)
			assert_int_equal(position_of(other), other);
		assert_int_equal(reopen(0), 0);
	}
	/* Many writes of one do not push out the others. */
	for (int i = 0; i < 5000; i++)
		assert_int_equal(save(id, "more", i, 0), 0);
	assert_int_equal(reopen(0), 0);
	assert_int_equal(position_of(id), 4999);
	for (uint32_t other = 3; other <= CONFIG_JOURNAL_WATCH_COUNT; other++)
		assert_int_equal(position_of(other), other);
	assert_int_equal(fake.rule_breaks, 0);
}

/* Small sectors take only as many watches as fit into each. */
static void test_too_many_for_a_sector(void **state)
{
	char name[16];
	uint32_t id;
	int err = 0;

	(void)state;
	fake_init(256, 4, true);
	assert_int_equal(reopen(0), 0);
	for (id = 1; !err; id++) {
		(void)snprintf(name, sizeof(name), "w%u", (unsigned)id);
		err = save(id, name, id, 0);
	}
	assert_int_equal(err, ERR_NOSPACE);
	assert_int_equal(id, 4);
	for (int i = 0; i < 100; i++)
		assert_int_equal(save(1 + (uint32_t)i % 2, i % 2 ? "w2" : "w1", i, 0), 0);
	assert_int_equal(reopen(0), 0);
	assert_int_equal(position_of(1), 98);
	assert_int_equal(position_of(2), 99);
}

/* A file goes on with the sectors it was made with; a device has its own. */
static void test_other_geometry(void **state)
{
	(void)state;
	fake_init(512, 3, false);
	assert_int_equal(reopen(0), 0);
	for (int i = 0; i < 100; i++)
		assert_int_equal(save(1, "a", i, 0), 0);
	fake.sector_size = fake.sector_count = 0;
	assert_int_equal(reopen(0), 0);
	assert_int_equal(journal.flash.sector_size, 512);
	assert_int_equal(journal.flash.sector_count, 3);
	assert_false(journal.is_recovered || journal.is_damaged);
	assert_int_equal(position_of(1), 99);
	for (int i = 100; i < 200; i++)
		assert_int_equal(save(1, "a", i, 0), 0);
	assert_int_equal(fake.size, 512 * 3);
	assert_int_equal(reopen(0), 0);
	assert_int_equal(position_of(1), 199);
	assert_false(journal.is_recovered);
	assert_int_equal(fake.rule_breaks, 0);

	/* The same bytes on a device of other sectors are not its journal. */
	fake.is_device = true;
	fake.sector_size = 1024;
	fake.sector_count = 2;
	fake.size = 2048;
	assert_int_equal(reopen(0), 0);
	assert_true(position_of(1) == 199 || position_of(1) == -2);
	fake.sector_size = 1000;
	assert_int_equal(reopen(0), ERR_UNSUPPORTED);
}

static void test_read_only(void **state)
{
	static uint8_t before[4096];

	(void)state;
	fake_init(512, 4, false);
	assert_int_equal(journal_open(&journal, "state", PORT_FLASH_READ, false, 0), ERR_NOENT);
	assert_int_equal(position_of(1), -1);
	assert_int_equal(reopen(0), 0);
	assert_int_equal(save(1, "a", 5, 0), 0);
	fake.now[70] ^= 1;
	memcpy(before, fake.now, sizeof(before));
	assert_int_equal(journal_open(&journal, "state", PORT_FLASH_READ, false, 0), 0);
	assert_int_equal(position_of(1), -2);
	assert_true(journal.is_recovered);
	assert_int_equal(save(1, "a", 6, 0), ERR_READONLY);
	assert_int_equal(journal_forget(&journal, 1, 0), 0);
	/* Nothing intact: told, and left as it is. */
	memset(fake.now, 'x', fake.size);
	assert_int_equal(journal_open(&journal, "state", PORT_FLASH_READ, false, 0), 0);
	assert_true(journal.is_damaged);
	assert_int_equal(fake.aside_size, 0);
	fake_put(before, 2048);
	/* A file system that went read-only still says where it was. */
	fake.now[70] ^= 1;
	fake.is_readonly = true;
	assert_int_equal(reopen(0), 0);
	assert_int_equal(position_of(1), 5);
	assert_int_equal(save(1, "a", 6, 0), ERR_READONLY);
	fake.is_readonly = false;
	assert_int_equal(reopen(0), 0);
	assert_int_equal(save(1, "a", 6, 0), 0);
}

static void test_open_fails(void **state)
{
	(void)state;
	fake_init(512, 4, false);
	fake.open_code = ERR_LOCKED;
	assert_int_equal(reopen(0), ERR_LOCKED);
	assert_int_equal(save(1, "a", 5, 0), ERR_BUG);
	fake.open_code = 0;
	/* Ruined, and it cannot be put aside: closed, yet not forgotten that there was something. */
	fake_put((const uint8_t *)"hello\n", 6);
	fake.renew_code = ERR_ACCESS;
	assert_int_equal(reopen(0), ERR_ACCESS);
	assert_true(journal.is_damaged);
	assert_int_equal(position_of(1), -2);
	assert_false(fake.is_open);
	fake.renew_code = 0;
	assert_int_equal(reopen(0), 0);
	assert_true(journal.is_damaged);
	assert_memory_equal(fake.aside, "hello\n", 6);
}

/* Neither text nor zeros nor noise is a journal; it is put aside, and it stays known that a position
 * may have been lost, over restarts, until the log has gone round once. */
static void test_foreign(void **state)
{
	static uint8_t bytes[2048];

	(void)state;
	for (int kind = 0; kind < 8; kind++) {
		uint32_t size = kind < 4 ? 2048 : 100;
		bool is_device = kind == 3;

		fake_seed((uint64_t)kind);
		for (uint32_t i = 0; i < sizeof(bytes); i++)
			bytes[i] = kind % 4 == 1 ? (uint8_t) "some text\n"[i % 10]
				   : kind % 4    ? (uint8_t)fake_random(256)
						 : 0;
		fake_init(512, 4, is_device);
		fake_put(bytes, size);
		assert_int_equal(reopen(0), 0);
		assert_true(journal.is_damaged);
		assert_int_equal(position_of(1), -2);
		if (!is_device) {
			assert_int_equal(fake.aside_size, size);
			assert_memory_equal(fake.aside, bytes, size);
		}
		assert_int_equal(reopen(0), 0);
		assert_int_equal(journal.is_damaged, is_device);
		assert_int_equal(position_of(1), -2);
		assert_int_equal(save(1, "a", 5, 0), 0);
		assert_int_equal(reopen(0), 0);
		assert_false(journal.is_damaged || journal.is_recovered);
		assert_int_equal(position_of(1), 5);
		assert_int_equal(position_of(2), -2);
		for (int i = 0; i < 1100; i++)
			assert_int_equal(save(1, "a", i, 0), 0);
		assert_int_equal(reopen(0), 0);
		assert_int_equal(position_of(2), -1);
		assert_int_equal(fake.rule_breaks, 0);
	}
	/* Empty, and short but erased: nothing was there. */
	for (uint32_t size = 0; size < 600; size += 33) {
		memset(bytes, 0xff, sizeof(bytes));
		fake_init(512, 4, false);
		fake_put(bytes, size);
		assert_int_equal(reopen(0), 0);
		assert_false(journal.is_damaged || journal.is_recovered);
		assert_int_equal(position_of(1), -1);
		assert_int_equal(save(1, "a", 5, 0), 0);
		assert_int_equal(reopen(0), 0);
		assert_int_equal(position_of(1), 5);
		assert_false(journal.is_recovered);
	}
}

static uint32_t image_size;
static uint8_t image[4096], image2[4096];

/* Three watches, positions 1000, 2000, 3000 and up, one of them older, all sectors in use. */
static void make_image(uint8_t *dst, int64_t first_rev, int appends)
{
	fake_init(512, 4, false);
	assert_int_equal(reopen(0), 0);
	assert_int_equal(save(3, "three", first_rev + 3000, 0), 0);
	for (int i = 0; i < appends; i++)
		assert_int_equal(save(1 + (uint32_t)i % 2, i % 2 ? "two" : "one",
					 first_rev + 1000 * (1 + i % 2) + i, 0),
			0);
	image_size = fake.size;
	memcpy(dst, fake.now, image_size);
}

static void assert_plausible(int appends)
{
	int64_t one = position_of(1), two = position_of(2), three = position_of(3);

	assert_true(one == -2 || (one >= 1000 && one < 1000 + appends && one % 2 == 0));
	assert_true(two == -2 || (two >= 2000 && two < 2000 + appends && two % 2 == 1));
	assert_true(three == -2 || three == 3000);
}

static void test_every_bit_flipped(void **state)
{
	(void)state;
	for (int appends = 1; appends < 80; appends += 71) {
		make_image(image, 0, appends);
		for (uint32_t bit = 0; bit < image_size * 8; bit++) {
			fake_put(image, image_size);
			fake.now[bit / 8] ^= (uint8_t)(1u << bit % 8);
			assert_int_equal(journal_open(&journal, "s", PORT_FLASH_READ, false, 0), 0);
			assert_true(journal.is_recovered);
			assert_false(journal.is_damaged);
			assert_plausible(appends);
			/* With older copies there, at most the newest write is lost. */
			if (appends > 70) {
				assert_true(position_of(1) >= 1000 + appends - 4);
				assert_true(position_of(2) >= 2000 + appends - 4);
				assert_int_equal(position_of(3), 3000);
			}
		}
	}
}

static void test_every_length(void **state)
{
	(void)state;
	for (int appends = 1; appends < 80; appends += 71) {
		make_image(image, 0, appends);
		for (uint32_t size = 0; size <= image_size; size++) {
			fake_put(image, size);
			assert_int_equal(reopen(0), 0);
			if (size == 0) {
				assert_int_equal(position_of(1), -1);
				continue;
			}
			if (size == image_size) {
				assert_false(journal.is_recovered || journal.is_damaged);
				assert_int_equal(position_of(3), 3000);
				continue;
			}
			assert_plausible(appends);
			assert_true(journal.is_recovered || journal.is_damaged);
			assert_int_equal(journal.is_damaged, size < 32);
			/* Before anything is saved, a restart finds the same. */
			assert_int_equal(reopen(0), 0);
			assert_plausible(appends);
			assert_int_equal(save(2, "two", 2001, 0), 0);
			assert_int_equal(reopen(0), 0);
			assert_false(journal.is_recovered);
			assert_int_equal(position_of(2), 2001);
			assert_true(position_of(3) == -2 || position_of(3) == 3000);
		}
	}
	assert_int_equal(fake.rule_breaks, 0);
}

static void test_sectors_of_two_journals(void **state)
{
	uint8_t mixed[4096];

	(void)state;
	make_image(image, 0, 75);
	make_image(image2, 100000, 131);
	/* For each of four places, one of eight sectors, also where it does not belong. */
	for (uint32_t pick = 0; pick < 8 * 8 * 8 * 8; pick++) {
		for (uint32_t place = 0; place < 4; place++) {
			uint32_t from = pick >> 3 * place & 7;

			memcpy(mixed + place * 512, (from < 4 ? image : image2) + from % 4 * 512,
				512);
		}
		fake_put(mixed, 2048);
		assert_int_equal(reopen(0), 0);
		for (uint32_t id = 1; id <= 3; id++) {
			int64_t rev = position_of(id) % 100000;

			assert_true(rev == -2 || rev == -1 ||
				    (rev >= id * 1000 && rev < id * 1000 + 131));
		}
		/* Whatever it was, it can be gone on with. */
		for (int i = 0; i < 40; i += 1 + i / 2)
			assert_int_equal(save(1, "one", 7, 0), 0);
		assert_int_equal(reopen(0), 0);
		assert_int_equal(position_of(1), 7);
		assert_int_equal(fake.rule_breaks, 0);
	}
}

static uint32_t bad_sector;

static bool is_in_bad_sector(uint32_t offset, uint32_t len)
{
	return offset < (bad_sector + 1) * 512 && offset + len > bad_sector * 512;
}

/* A sector that cannot be read costs what only it holds, not the journal. */
static void test_unreadable_sector(void **state)
{
	(void)state;
	make_image(image, 0, 79);
	for (bad_sector = 0; bad_sector < 4; bad_sector++) {
		fake_put(image, image_size);
		fake.is_unreadable = is_in_bad_sector;
		assert_int_equal(reopen(0), 0);
		assert_true(journal.is_recovered);
		assert_true(position_of(1) >= 1050 && position_of(2) >= 2050);
		assert_int_equal(position_of(3), 3000);
		for (int i = 0; i < 200; i++) {
			int err = save(1, "one", 1000 + i, 0);

			assert_true(!err || err == ERR_IO);
			if (!err)
				assert_int_equal(position_of(1), 1000 + i);
		}
		fake.is_unreadable = NULL;
		assert_int_equal(reopen(0), 0);
		assert_true(position_of(1) >= 1190 && position_of(1) < 1200);
		assert_int_equal(position_of(3), 3000);
	}
}

/* Worn flash: what does not read back right is told and written again elsewhere, and a sector that
 * cannot be erased is passed over. */
static void test_worn_sector(void **state)
{
	(void)state;
	for (uint32_t sector = 0; sector < 4; sector++) {
		make_image(image, 0, 79);
		fake.is_worn = true;
		fake.worn_sector = sector;
		for (int i = 0, told = 0; i < 300; i++) {
			int err = save(1, "one", 1000 + i, 0);

			if (err) {
				assert_int_equal(err, ERR_IO);
				assert_int_equal(save(1, "one", 1000 + i, 0), 0);
				told++;
			}
			/* Once a round. */
			assert_true(told <= 1 + i / 24);
		}
		assert_int_equal(reopen(0), 0);
		assert_int_equal(position_of(1), 1299);
		assert_int_equal(position_of(3), 3000);
		fake.weak_writes = 3;
		assert_int_equal(save(1, "one", 1300, 0), ERR_IO);
		assert_int_equal(save(1, "one", 1300, 0), ERR_IO);
		assert_int_equal(position_of(1), 1299);
		assert_int_equal(reopen(0), 0);
		assert_true(journal.is_recovered);
		assert_int_equal(position_of(1), 1299);
		assert_int_equal(save(1, "one", 1300, 0), ERR_IO);
		/* Its turn may just have come. */
		if (save(1, "one", 1300, 0))
			assert_int_equal(save(1, "one", 1300, 0), 0);
		assert_int_equal(reopen(0), 0);
		assert_int_equal(position_of(1), 1300);
		assert_int_equal(fake.rule_breaks, 0);
	}
}

/* A record that lies in another slot than its own is no record. */
static void test_record_in_wrong_place(void **state)
{
	uint8_t rec[JOURNAL_RECORD_LEN];

	(void)state;
	fake_init(512, 4, false);
	assert_int_equal(reopen(0), 0);
	assert_int_equal(save(1, "a", 5, 0), 0);
	assert_int_equal(save(1, "a", 6, 0), 0);
	memcpy(rec, fake.now + 3 * JOURNAL_RECORD_LEN, sizeof(rec));
	memcpy(fake.now + 3 * JOURNAL_RECORD_LEN, fake.now + 2 * JOURNAL_RECORD_LEN, sizeof(rec));
	memcpy(fake.now + 4 * JOURNAL_RECORD_LEN, rec, sizeof(rec));
	assert_int_equal(reopen(0), 0);
	assert_int_equal(position_of(1), 5);
	assert_true(journal.is_recovered);
	assert_int_equal(journal.damaged, 2);
}

/* What `etchlet state` shows. */
static void test_stat(void **state)
{
	struct journal_stat stat;
	const int64_t minute = 60000;
	int64_t now_ms = 5;

	(void)state;
	fake_init(4096, 8, false);
	assert_int_equal(reopen(now_ms), 0);
	journal_stat(&journal, &stat, now_ms);
	assert_int_equal(stat.records, 0);
	assert_int_equal(stat.life_s, -1);
	assert_int_equal(save(1, "a", 1, now_ms), 0);
	journal_stat(&journal, &stat, now_ms);
	assert_int_equal(stat.records, 3);
	assert_int_equal(stat.session_records, 3);
	assert_int_equal(stat.life_s, -1);
	/* A write a minute for a day, with a restart after each half hour, then 20 days. */
	for (int i = 0; i < 21 * 24 * 60; i++, now_ms += minute) {
		assert_int_equal(save(1, "a", i, now_ms), 0);
		if (i < 24 * 60 && i % 30 == 29)
			assert_int_equal(reopen(now_ms), 0);
	}
	journal_stat(&journal, &stat, now_ms);
	assert_int_equal(stat.records, fake.programs);
	assert_true(stat.session_records < stat.records - 1440);
	assert_int_equal(stat.erases, fake.wear[0] + fake.wear[1] + fake.wear[2] + fake.wear[3] +
					      fake.wear[4] + fake.wear[5] + fake.wear[6] +
					      fake.wear[7]);
	/* Of the first day only the last half hour before each header is known. */
	assert_in_range((uint64_t)stat.age_s, 20 * 24 * 3600, 21 * 24 * 3600);
	/* 8 sectors * 10,000 erases * 128 records at a little more than one a minute: 19 years. */
	assert_in_range((uint64_t)stat.life_s / (365 * 24 * 3600), 17, 20);
	/* A device that writes seldom: the age is saved along, every four hours. */
	for (int i = 0; i < 100; i++) {
		now_ms += 5 * 3600 * 1000;
		assert_int_equal(save(1, "a", i, now_ms), 0);
		assert_int_equal(reopen(now_ms), 0);
	}
	journal_stat(&journal, &stat, now_ms);
	assert_in_range(
		(uint64_t)stat.age_s, 500 * 3600 + 20 * 24 * 3600, 500 * 3600 + 21 * 24 * 3600);
}

/* Ten years at a write a minute, the busiest that the default settings allow. */
static void test_ten_years(void **state)
{
	const int writes = 10 * 365 * 24 * 60 + 2 * 24 * 60;
	uint32_t least = UINT32_MAX, most = 0;
	struct journal_stat stat;

	(void)state;
	fake_init(4096, 8, true);
	assert_int_equal(reopen(0), 0);
	for (int i = 0; i < writes; i++)
		if (save(1, "network", i, (int64_t)i * 60000))
			fail_msg("write %d", i);
	for (int i = 0; i < 8; i++) {
		least = fake.wear[i] < least ? fake.wear[i] : least;
		most = fake.wear[i] > most ? fake.wear[i] : most;
	}
	journal_stat(&journal, &stat, (int64_t)writes * 60000);
	print_message(
		"ten years: %u to %u erases a sector, %.3f records a write, life left %.1f years\n",
		least, most, (double)stat.records / writes, (double)stat.life_s / (365.25 * 86400));
	assert_true(most - least <= 1);
	assert_in_range(most, 5100, 5300);
	assert_int_equal(stat.erases, fake.wear[0] + fake.wear[1] + fake.wear[2] + fake.wear[3] +
					      fake.wear[4] + fake.wear[5] + fake.wear[6] +
					      fake.wear[7]);
	assert_int_equal(fake.rule_breaks, 0);
	assert_int_equal(reopen(0), 0);
	assert_int_equal(position_of(1), writes - 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_watch_id),
		cmocka_unit_test(test_fresh_and_kept),
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_format),
		cmocka_unit_test(test_names),
		cmocka_unit_test(test_one_record_for_a_name),
		cmocka_unit_test(test_forget),
		cmocka_unit_test(test_full_table),
		cmocka_unit_test(test_too_many_for_a_sector),
		cmocka_unit_test(test_other_geometry),
		cmocka_unit_test(test_read_only),
		cmocka_unit_test(test_open_fails),
		cmocka_unit_test(test_foreign),
		cmocka_unit_test(test_every_bit_flipped),
		cmocka_unit_test(test_every_length),
		cmocka_unit_test(test_sectors_of_two_journals),
		cmocka_unit_test(test_unreadable_sector),
		cmocka_unit_test(test_worn_sector),
		cmocka_unit_test(test_record_in_wrong_place),
		cmocka_unit_test(test_stat),
		cmocka_unit_test(test_ten_years),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
