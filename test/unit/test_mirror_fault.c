/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A commit of a mirror with a fault, and with a kill, at every single call of the port.
 */
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "fault_dir.h"

#define HELP_IN_MEMORY
#include "mirror_helper.h"

/* -- scenarios -------------------------------------------------------------------------------- */

enum { BIG = 5000 };

struct change {
	const char *key;
	char fill; /* the value is BIG times this; 0: it is deleted */
};

static const struct scenario {
	const char *name;
	struct change before[8], changes[4];
	bool is_listing; /* the changes come as a listing */
} scenarios[] = {
	{"a new file", {{"/c/a", '1'}}, {{"/c/b", '2'}}, false},
	{"replaced", {{"/c/a", '1'}}, {{"/c/a", '2'}}, false},
	{"removed", {{"/c/a", '1'}, {"/c/b", '2'}}, {{"/c/b", 0}}, false},
	{"with folders", {{"/c/a", '1'}}, {{"/c/x/y/z", '2'}}, false},
	{"removed with folders", {{"/c/a", '1'}, {"/c/x/y/z", '2'}}, {{"/c/x/y/z", 0}}, false},
	{"file to folder", {{"/c/a", '1'}, {"/c/b", '3'}}, {{"/c/a/b/c", '2'}}, false},
	{"folder to file", {{"/c/a", '1'}, {"/c/a/b/c", '2'}}, {{"/c/a/b/c", 0}}, false},
	{"there and back", {{"/c/a", '1'}},
		{{"/c/a/b", '2'}, {"/c/a", '3'}, {"/c/a/b", 0}, {"/c/z/z", '4'}}, false},
	{"a key that is a folder goes", {{"/c/a", '1'}, {"/c/a/b", '2'}}, {{"/c/a", 0}}, false},
	{"a listing",
		{{"/c/a", '1'}, {"/c/b", '2'}, {"/c/x/y", '3'}, {"/c/d", '4'}, {"/c/d/e", '5'},
			{"/c/f", '6'}},
		{{"/c/b", 0}, {"/c/x/y", 0}, {"/c/d/e", 0}, {"/c/f/g", '7'}}, true},
};

static char values[256][BIG];

static int give(const struct change *c)
{
	return help_event(c->key, strlen(c->key), values[(uint8_t)c->fill], c->fill ? BIG : 0,
		!c->fill, false);
}

static void take(struct model *model, const struct change *c)
{
	char text[2] = {c->fill, '\0'};

	model_put(model, c->key, c->fill ? text : NULL);
}

static int list_all(const struct model *model)
{
	int err = help_list_begin();

	for (int i = 0; i < MODEL_KEYS && !err; i++) {
		const char *key = model->keys[i].key;

		if (key)
			err = help_event(key, strlen(key), values[(uint8_t)model->keys[i].value[0]],
				BIG, false, true);
	}
	return err ? err : help_list_end();
}

/* The changes, or all there is after them. */
static int give_all(const struct scenario *s, const struct model *after, bool is_listing)
{
	int err = 0;

	if (is_listing)
		return list_all(after);
	for (int i = 0; i < 4 && s->changes[i].key && !err; i++)
		err = give(&s->changes[i]);
	if (!err)
		help_mirror.sink.ops->commit(&help_mirror.sink, 9);
	return err;
}

/* Every file is one of the values, whole; its first letter is left of it. */
static const char *tree_of_letters(void)
{
	static char text[HELP_TEXT_MAX];
	const char *p = help_tree();
	char *q = text;

	while (*p) {
		size_t n = 1;

		if (strncmp(p, " = ", 3) == 0 && p[3] != '\n') {
			memcpy(q, p, 4);
			q += 4;
			p += 3;
			while (p[n] == *p)
				n++;
			assert_int_equal(p[n], '\n');
			p += n;
			continue;
		}
		*q++ = *p++;
	}
	*q = '\0';
	return text;
}

/* And none is shorter or longer. */
static void check_whole(const char *path)
{
	DIR *d = opendir(path);
	const struct dirent *e;

	assert_non_null(d);
	while ((e = readdir(d))) {
		char sub[HELP_PATH_MAX];
		struct stat st;

		if (e->d_name[0] == '.')
			continue;
		snprintf(sub, sizeof(sub), "%s/%s", path, e->d_name);
		assert_int_equal(lstat(sub, &st), 0);
		if (S_ISDIR(st.st_mode))
			check_whole(sub);
		else
			assert_int_equal(st.st_size, BIG);
	}
	closedir(d);
}

/* A key that was not touched is where it was, or in its folder. */
static void check_nothing_lost(const struct scenario *s)
{
	for (int i = 0; i < 8 && s->before[i].key; i++) {
		const char *key = s->before[i].key;
		char in_folder[64];
		bool is_touched = false;
		struct stat st;

		for (int k = 0; k < 4 && s->changes[k].key; k++)
			is_touched |= strcmp(s->changes[k].key, key) == 0;
		snprintf(in_folder, sizeof(in_folder), "%s/%%%%", key + 3);
		if (is_touched || (lstat(help_at(key + 3), &st) == 0 && S_ISREG(st.st_mode)) ||
			lstat(help_at(in_folder), &st) == 0)
			continue;
		fail_msg("%s: %s is lost, and the identity is still there", s->name, key);
	}
}

static void expect_model(const struct model *model)
{
	assert_string_equal(tree_of_letters(), model_tree(model));
	check_whole(help_dir);
}

static void set_up_scenario(const struct scenario *s, struct model *after)
{
	*after = (struct model){0};
	help_open();
	for (int i = 0; i < 8 && s->before[i].key; i++) {
		assert_int_equal(give(&s->before[i]), 0);
		take(after, &s->before[i]);
	}
	help_mirror.sink.ops->commit(&help_mirror.sink, 5);
	assert_int_equal(help_mirror.sink.ops->settle(&help_mirror.sink), 0);
	expect_model(after);
	for (int i = 0; i < 4 && s->changes[i].key; i++)
		take(after, &s->changes[i]);
}

/* What an owner does when all is well again: repeats, or lists. */
static void make_good(const struct scenario *s, const struct model *after, bool is_listing)
{
	int err = give_all(s, after, is_listing);

	if (err == ERR_HISTORY)
		err = list_all(after);
	assert_int_equal(err, 0);
	expect_model(after);
}

/* One run with the fault at call n: whether it came to it. */
static bool run(const struct scenario *s, enum fault_kind kind, int code, int n)
{
	struct model after;
	uint64_t identity;
	int err;

	set_up_scenario(s, &after);
	identity = help_mirror.sink.identity;
	fault.is_armed = true;
	fault.has_happened = false;
	fault.kind = kind;
	fault.code = code;
	fault.at = n;
	help_is_patient = kind == FAULT_ONCE;
	err = give_all(s, &after, s->is_listing);
	if (kind == FAULT_ONCE && err == ERR_HISTORY)
		err = list_all(&after);
	if (kind == FAULT_ONCE)
		assert_int_equal(err, 0);
	help_is_patient = true;
	fault.is_armed = false;
	if (fault.is_dead) {
		mirror_close(&help_mirror);
		fault.is_dead = false;
		check_whole(help_dir);
		help_open();
		if (help_mirror.sink.identity == identity)
			check_nothing_lost(s);
		make_good(s, &after, s->is_listing || help_mirror.sink.identity != identity);
	} else {
		expect_model(&after);
	}
	/* What it is left as is what it believes. */
	identity = help_mirror.sink.identity;
	help_stop();
	help_open();
	while (help_mirror.job != MIRROR_JOB_NONE)
		help_wait();
	assert_int_equal(help_mirror.sink.identity, identity);
	assert_true(help_mirror.is_digest_known);
	help_stop();
	help_wipe(help_dir);
	return fault.has_happened;
}

static void run_all(enum fault_kind kind, int code)
{
	for (size_t i = 0; i < sizeof(scenarios) / sizeof(scenarios[0]); i++) {
		int n = 0;

		while (run(&scenarios[i], kind, code, n)) {
			n++;
			assert_true(n < 2000);
		}
		/* It did count. */
		assert_true(n >= 4);
	}
}

static void run_kinds(void)
{
	run_all(FAULT_ONCE, ERR_IO);
	run_all(FAULT_KILL_BEFORE, ERR_IO);
	run_all(FAULT_KILL_AFTER, ERR_IO);
}

/* -- random histories, killed at random --------------------------------------------------------- */

static const char *const keys[] = {"/c/", "/c/a", "/c/a/b", "/c/a/b/c", "/c/a/b/d", "/c/a/",
	"/c/..", "/c/../x", "/c/.etchlet/new", "/c/b", "/c/b/%%", "/c/b/c/d/e/f/g/h/i/j/k/l/m",
	"/c/z"};

enum { BATCH = 4, KEYS = sizeof(keys) / sizeof(keys[0]) };

static int give_batch(const struct change *batch)
{
	int err = 0;

	for (int i = 0; i < BATCH && !err; i++)
		err = give(&batch[i]);
	if (!err)
		help_mirror.sink.ops->commit(&help_mirror.sink, 9);
	return err;
}

/* Kills and repeats until the batch is through. */
static void survive_batch(const struct change *batch, const struct model *after)
{
	for (;;) {
		uint64_t identity = help_mirror.sink.identity;
		int err;

		fault.is_armed = true;
		fault.has_happened = false;
		fault.kind = help_random(2) ? FAULT_KILL_BEFORE : FAULT_KILL_AFTER;
		fault.code = ERR_IO;
		fault.at = (int)help_random(150);
		help_is_patient = false;
		err = give_batch(batch);
		help_is_patient = true;
		fault.is_armed = false;
		if (!err)
			break;
		assert_true(fault.is_dead);
		mirror_close(&help_mirror);
		fault.is_dead = false;
		check_whole(help_dir);
		help_open();
		if (help_mirror.sink.identity == identity)
			continue;
		assert_int_equal(list_all(after), 0);
		break;
	}
	expect_model(after);
}

static void survive(void)
{
	for (uint64_t seed = 1; seed <= 4; seed++) {
		struct model model = {0};

		help_random_state = seed;
		help_open();
		for (int n = 0; n < 60; n++) {
			struct change batch[BATCH];

			for (int i = 0; i < BATCH; i++) {
				batch[i].key = keys[help_random(KEYS)];
				batch[i].fill =
					help_random(5) < 3 ? (char)('a' + help_random(26)) : 0;
				take(&model, &batch[i]);
			}
			survive_batch(batch, &model);
		}
		help_stop();
		help_wipe(help_dir);
	}
}

static void test_random_kills(void **state)
{
	(void)state;
	survive();
	fault.has_no_exchange = true;
	survive();
}

/* -- bad flash ---------------------------------------------------------------------------------- */

static ino_t inode_of(const char *rel)
{
	struct stat st;

	assert_int_equal(lstat(help_at(rel), &st), 0);
	return st.st_ino;
}

/* The same value again, another one, and a listing, over files whose bytes cannot be read from some place on,
 * at once or when they were compared already. */
static void test_bad_file(void **state)
{
	static const uint64_t from[] = {0, 2999, 3000, BIG - 1};
	static const char fills[] = {'1', '2', 'm'};
	struct model model = {0};

	(void)state;
	memset(values['m'], '1', BIG);
	values['m'][BIG - 1] = '2'; /* equal but for its end */
	for (size_t i = 0; i < 4 * 3 * 4 * 2 * 2; i++) {
		const struct change change = {"/c/d/a", fills[i / 4 % 3]};
		const struct change one = {"/c/d/a", '1'}, other = {"/c/b", '3'};
		bool is_listed = i / (4 * 3 * 4) % 2;
		uint64_t identity;
		int err, relists;

		help_open();
		assert_int_equal(give(&one), 0);
		assert_int_equal(give(&other), 0);
		take(&model, &one);
		take(&model, &other);
		take(&model, &change);
		identity = help_mirror.sink.identity;
		relists = help_seen.relists;
		fault.bad_from = from[i % 4];
		fault.bad_after = (int)(i / (4 * 3) % 4);
		fault.is_cut = i / (4 * 3 * 4 * 2);
		fault.bad_file = inode_of("d/a");
		err = is_listed ? list_all(&model) : give(&change);
		for (int n = 0; err == ERR_HISTORY; n++) {
			assert_true(n < 2);
			err = list_all(&model);
		}
		assert_int_equal(err, 0);
		assert_true(help_seen.relists - relists <= 1);
		assert_int_equal(
			help_mirror.sink.identity == identity, help_seen.relists == relists);
		assert_true(help_mirror.unread == 0);
		fault.bad_file = 0;
		check_whole(help_dir);
		if (change.fill == 'm') {
			char text[BIG];
			int fd = open(help_at("d/a"), O_RDONLY);

			assert_int_equal(read(fd, text, BIG), BIG);
			assert_memory_equal(text, values['m'], BIG);
			close(fd);
		} else {
			expect_model(&model);
		}
		help_stop();
		help_wipe(help_dir);
	}
	/* Some of them had to. */
	assert_true(help_seen.relists > 0);
	memset(values['m'], 'm', BIG);
}

/* Several at once: each listing mends one at least. */
static void test_bad_files(void **state)
{
	const struct change all[] = {{"/c/a", '1'}, {"/c/b", '1'}, {"/c/c", '1'}};
	struct model model = {0};
	ino_t bad[3];

	(void)state;
	help_open();
	for (int i = 0; i < 3; i++) {
		assert_int_equal(give(&all[i]), 0);
		take(&model, &all[i]);
	}
	bad[0] = inode_of("a");
	bad[1] = inode_of("b");
	bad[2] = inode_of("c");
	fault.bad_from = 0;
	for (int i = 2; i >= 0; i--) {
		int err;

		fault.bad_after = 2;
		fault.bad_file = bad[i];
		err = list_all(&model);
		if (err == ERR_HISTORY && i > 0) {
			/* Before it is mended an earlier one turns out to be bad too. */
			fault.bad_after = 2;
			fault.bad_file = bad[i - 1];
			err = list_all(&model);
		}
		while (err == ERR_HISTORY)
			err = list_all(&model);
		assert_int_equal(err, 0);
		expect_model(&model);
	}
	fault.bad_file = 0;
	expect_model(&model);
}

static int set_up(void **state)
{
	int err = help_set_up(state);

	memset(&fault, 0, sizeof(fault));
	for (size_t i = 0; i < 256; i++)
		memset(values[i], (int)i, BIG);
	help_cfg.is_relaxed = false;
	return err;
}

static void test_exchange(void **state)
{
	(void)state;
	run_kinds();
	run_all(FAULT_ONCE, ERR_NOSPACE);
}

static void test_no_exchange(void **state)
{
	(void)state;
	fault.has_no_exchange = true;
	run_kinds();
}

static void test_no_links(void **state)
{
	(void)state;
	fault.has_no_link = fault.has_no_exchange = true;
	run_kinds();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_bad_file, set_up, help_tear_down),
		cmocka_unit_test_setup_teardown(test_bad_files, set_up, help_tear_down),
		cmocka_unit_test_setup_teardown(test_exchange, set_up, help_tear_down),
		cmocka_unit_test_setup_teardown(test_no_exchange, set_up, help_tear_down),
		cmocka_unit_test_setup_teardown(test_no_links, set_up, help_tear_down),
		cmocka_unit_test_setup_teardown(test_random_kills, set_up, help_tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
