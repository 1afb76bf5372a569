/* SPDX-License-Identifier: Apache-2.0 */
/* The mirror on a real folder. */
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <inttypes.h>
#include <sched.h>
#include <sys/file.h>
#include <sys/mount.h>
#include <time.h>

#include "base/crc32.h"
#include "mirror_helper.h"

static void test_put_and_delete(void **state)
{
	(void)state;
	help_open();
	must(help_put("/c/a", "1"));
	must(help_put("/c/b/c", "2"));
	assert_tree("a = 1\nb/c = 2\n");
	must(help_put("/c/a", "other"));
	must(help_put("/c/empty", ""));
	assert_tree("a = other\nb/c = 2\nempty = \n");
	must(help_delete("/c/b/c"));
	must(help_delete("/c/empty"));
	must(help_delete("/c/nothing/there"));
	assert_tree("a = other\n");
}

static void test_key_and_folder(void **state)
{
	uint32_t shape;

	(void)state;
	help_open();
	must(help_put("/c/a", "1"));
	shape = mirror_shape(&help_mirror);
	must(help_put("/c/a/b", "2"));
	assert_int_not_equal(mirror_shape(&help_mirror), shape);
	assert_tree("a/%% = 1\na/b = 2\n");
	must(help_put("/c/a", "3"));
	assert_tree("a/%% = 3\na/b = 2\n");
	must(help_put("/c/a/b/c/d", "4"));
	assert_tree("a/%% = 3\na/b/%% = 2\na/b/c/d = 4\n");
	must(help_delete("/c/a/b/c/d"));
	assert_tree("a/%% = 3\na/b = 2\n");
	must(help_delete("/c/a/b"));
	assert_tree("a = 3\n");
	must(help_put("/c/a/b/c", "2"));
	must(help_delete("/c/a"));
	assert_tree("a/b/c = 2\n");
	must(help_put("/c/a/b", "5"));
	must(help_delete("/c/a/b/c"));
	assert_tree("a/b = 5\n");
}

static const char *const nasty[] = {"/c/", "/c//", "/c/a", "/c/a/", "/c/a//", "/c/a//b", "/c/..",
	"/c/../..", "/c/.", "/c/./a", "/c/.etchlet", "/c/.etchlet/identity", "/c/%", "/c/%/%%",
	"/c/%%", "/c/a/%%", "/c/\xff\xfe", "/c/a b", "/c/a/b/c/d/e/f/g/h/i/j/k/l/m/n/o/p/q/r/s/t/u",
	"/c/a/b/c/d/e/f/g/h/i/j/k", "/c/a/b", "/c/b", "/c/b/c", "/c/b/d", "/c/%2E", "/c/a/..",
	"/c/a/.etchlet", "/c/\n", "/c/*"};

enum { NASTY_COUNT = sizeof(nasty) / sizeof(nasty[0]) };

static void random_step(struct model *model)
{
	const char *key = nasty[help_random(NASTY_COUNT)];
	char value[MODEL_VALUE_MAX];

	if (help_random(5) < 3) {
		snprintf(value, sizeof(value), "%u", help_random(1000));
		must(help_put(key, value));
		model_put(model, key, value);
	} else {
		must(help_delete(key));
		model_put(model, key, NULL);
	}
}

static void list_model(const struct model *model)
{
	must(help_list_begin());
	for (int i = 0; i < MODEL_KEYS; i++) {
		if (model->keys[i].key)
			must(help_list(model->keys[i].key, model->keys[i].value));
	}
	must(help_list_end());
}

static void test_random_histories(void **state)
{
	(void)state;
	for (uint64_t seed = 1; seed <= 12; seed++) {
		struct model model = {0};

		help_random_state = seed;
		help_open();
		for (int step = 0; step < 250; step++) {
			random_step(&model);
			if (step % 5 == 0)
				assert_string_equal(help_tree(), model_tree(&model));
			if (help_random(60) == 0)
				list_model(&model);
			if (help_random(60) == 0) {
				uint64_t identity = help_mirror.sink.identity;

				help_stop();
				help_open();
				assert_int_equal(help_mirror.sink.identity, identity);
			}
		}
		assert_string_equal(help_tree(), model_tree(&model));
		help_stop();
		help_wipe(help_dir);
	}
}

/* -- listings --------------------------------------------------------------------------------- */

static struct stat stat_of(const char *rel)
{
	struct stat st;

	assert_int_equal(lstat(help_at(rel), &st), 0);
	return st;
}

static bool is_untouched(const char *rel, const struct stat *was)
{
	struct stat st = stat_of(rel);

	return st.st_ino == was->st_ino && st.st_mtim.tv_sec == was->st_mtim.tv_sec &&
	       st.st_mtim.tv_nsec == was->st_mtim.tv_nsec &&
	       st.st_ctim.tv_sec == was->st_ctim.tv_sec &&
	       st.st_ctim.tv_nsec == was->st_ctim.tv_nsec;
}

static void test_listing(void **state)
{
	struct stat a, d;

	(void)state;
	help_open();
	must(help_put("/c/a", "1"));
	must(help_put("/c/b", "2"));
	must(help_put("/c/d", "4"));
	must(help_put("/c/d/e", "5"));
	must(help_put("/c/x/y/z", "6"));
	a = stat_of("a");
	d = stat_of("d/%%");
	must(help_list_begin());
	must(help_list("/c/a", "1"));
	must(help_list("/c/b", "3"));
	must(help_list("/c/d", "4"));
	must(help_list("/c/n", "7"));
	/* Nothing goes before the listing is complete. */
	assert_tree("a = 1\nb = 3\nd/%% = 4\nd/e = 5\nn = 7\nx/y/z = 6\n");
	must(help_list_end());
	assert_int_equal(help_mirror.sink.done_rev, 9);
	assert_tree("a = 1\nb = 3\nd = 4\nn = 7\n");
	assert_true(is_untouched("a", &a));
	assert_int_equal(stat_of("d").st_ino, d.st_ino);
	assert_int_equal(stat_of("d").st_mtim.tv_nsec, d.st_mtim.tv_nsec);
	assert_int_equal(stat_of("d").st_nlink, 1);
	/* An empty one. */
	must(help_list_begin());
	must(help_list_end());
	assert_tree("");
}

static void test_listing_broken_off(void **state)
{
	struct sink *s = &help_mirror.sink;
	struct etcd_event e = {.is_listed = true,
		.key = (const uint8_t *)"/c/b",
		.key_len = 4,
		.value_len = 10,
		.mod_rev = 3};
	struct stat st;

	(void)state;
	help_open();
	must(help_put("/c/a", "1"));
	must(help_put("/c/b", "2"));
	must(help_list_begin());
	must(help_list("/c/a", "1"));
	must(help_list("/c/z", "1"));
	must(s->ops->event(s, &e));
	assert_int_equal(s->ops->value(s, &e, ETCD_VALUE, (const uint8_t *)"12345", 5), 5);
	assert_int_equal(stat(help_at(".etchlet/new"), &st), 0);
	/* What was listed before counts for nothing, and the torn event is forgotten. */
	must(help_list_begin());
	assert_int_equal(stat(help_at(".etchlet/new"), &st), -1);
	must(help_list("/c/b", "2"));
	must(help_list_end());
	assert_tree("b = 2\n");
}

static char big[400000];

static int put_big(size_t len, size_t flip, bool is_listed)
{
	int err;

	memset(big, 'x', sizeof(big));
	if (flip < len)
		big[flip] = 'y';
	err = help_event("/c/big", 6, big, len, false, is_listed);
	return err;
}

static void expect_big(size_t len, size_t flip)
{
	static char back[sizeof(big) + 1];
	int fd = open(help_at("big"), O_RDONLY);

	assert_true(fd >= 0);
	assert_int_equal(read(fd, back, sizeof(back)), len);
	close(fd);
	memset(big, 'x', sizeof(big));
	if (flip < len)
		big[flip] = 'y';
	assert_memory_equal(back, big, len);
}

static void test_compare_while_streaming(void **state)
{
	static const size_t at[] = {
		0, 1, 2999, 3000, 4095, 4096, 4097, 131071, 131072, 399999, SIZE_MAX};
	struct stat st;

	(void)state;
	help_open();
	for (size_t i = 0; i < sizeof(at) / sizeof(at[0]); i++) {
		must(put_big(sizeof(big), at[i], i % 2));
		expect_big(sizeof(big), at[i]);
	}
	st = stat_of("big");
	must(put_big(sizeof(big), SIZE_MAX, true));
	must(put_big(sizeof(big), SIZE_MAX, false));
	assert_true(is_untouched("big", &st));
	must(put_big(sizeof(big) - 1, SIZE_MAX, false));
	expect_big(sizeof(big) - 1, SIZE_MAX);
	must(put_big(sizeof(big), SIZE_MAX, false));
	expect_big(sizeof(big), SIZE_MAX);
}

static void test_mode(void **state)
{
	struct stat st;
	mode_t mask = umask(077);

	(void)state;
	help_cfg.mode = 0640;
	help_open();
	must(help_put("/c/a/b", "1"));
	assert_int_equal(stat_of("").st_mode & 07777, 0750);
	assert_int_equal(stat_of("a").st_mode & 07777, 0750);
	assert_int_equal(stat_of("a/b").st_mode & 07777, 0640);
	must(help_put("/c/a", "2"));
	must(help_delete("/c/a/b"));
	must(help_put("/c/a/b", "1"));
	assert_int_equal(stat_of("a").st_mode & 07777, 0750);
	assert_int_equal(stat_of("a/%%").st_mode & 07777, 0640);
	st = stat_of("a/b");
	assert_int_equal(chmod(help_at("a/b"), 0777), 0);
	assert_int_equal(chmod(help_at("a"), 0700), 0);
	must(help_list_begin());
	must(help_list("/c/a/b", "1"));
	must(help_list_end());
	assert_int_equal(stat_of("a").st_mode & 07777, 0750);
	assert_int_equal(stat_of("a/b").st_mode & 07777, 0640);
	assert_int_equal(stat_of("a/b").st_ino, st.st_ino);
	umask(mask);
	help_stop();
	/* Another mode is another tree. */
	uint64_t identity = help_mirror.sink.identity;
	help_cfg.mode = 0644;
	help_open();
	assert_true(help_mirror.sink.identity != identity);
	/* DIR was there, and nobody has asked for it. */
	assert_int_equal(stat_of("").st_mode & 07777, 0750);
	must(help_list_begin());
	must(help_list("/c/a/b", "1"));
	must(help_list_end());
	assert_int_equal(stat_of("").st_mode & 07777, 0750);
	assert_int_equal(stat_of("a").st_mode & 07777, 0755);
	assert_int_equal(stat_of("a/b").st_mode & 07777, 0644);
	help_stop();
	help_cfg.has_mode = true;
	help_cfg.mode = 0600;
	help_open();
	assert_int_equal(stat_of("").st_mode & 07777, 0700);
	must(help_list_begin());
	assert_int_equal(chmod(help_dir, 0777), 0);
	must(help_list("/c/a/b", "1"));
	must(help_list_end());
	assert_int_equal(stat_of("").st_mode & 07777, 0700);
	assert_int_equal(stat_of("a").st_mode & 07777, 0700);
	assert_int_equal(stat_of("a/b").st_mode & 07777, 0600);
}

static void test_owner(void **state)
{
	(void)state;
	if (geteuid() != 0)
		skip();
	help_cfg.has_owner = true;
	help_cfg.uid = 1234;
	help_cfg.gid = UINT32_MAX;
	help_open();
	must(help_put("/c/a/b", "1"));
	assert_int_equal(stat_of("").st_uid, 1234);
	assert_int_equal(stat_of("").st_gid, getegid());
	assert_int_equal(stat_of("a").st_uid, 1234);
	assert_int_equal(stat_of("a/b").st_uid, 1234);
	assert_int_equal(chown(help_at("a/b"), 1, 1), 0);
	assert_int_equal(chown(help_at("a"), 1, 1), 0);
	must(help_list_begin());
	must(help_list("/c/a/b", "1"));
	must(help_list_end());
	assert_int_equal(stat_of("a").st_uid, 1234);
	assert_int_equal(stat_of("a/b").st_uid, 1234);
	/* Another owner: DIR at once, the rest with the listing that follows. */
	help_stop();
	help_cfg.uid = 1235;
	help_open();
	assert_int_equal(stat_of("").st_uid, 1235);
	must(help_list_begin());
	must(help_list("/c/a/b", "1"));
	must(help_list_end());
	assert_int_equal(stat_of("a").st_uid, 1235);
	assert_int_equal(stat_of("a/b").st_uid, 1235);
}

enum { MANY = 10000 };

static void list_many(int from, int step, const char *value)
{
	char key[32];

	must(help_list_begin());
	for (int i = from; i < MANY; i += step) {
		snprintf(key, sizeof(key), "/c/%03d/%05d", i % 97, i);
		must(help_list(key, value));
	}
	assert_int_equal(help_mirror.listed.is_on_disk,
		help_mirror.listed.spooled * 8 > CONFIG_MIRROR_LIST_MEMORY_BYTES);
	must(help_list_end());
}

static int count_many(void)
{
	int n = 0;

	for (int i = 0; i < MANY; i++) {
		char rel[32];
		struct stat st;

		snprintf(rel, sizeof(rel), "%03d/%05d", i % 97, i);
		n += lstat(help_at(rel), &st) == 0;
	}
	return n;
}

/* More than the table holds at once, and more than the spool holds in memory. */
static void test_many(void **state)
{
	uint64_t identity;

	(void)state;
	assert_true(MANY > 2 * CONFIG_MIRROR_LIST_ENTRIES);
	assert_true(MANY * 8 > CONFIG_MIRROR_LIST_MEMORY_BYTES);
	help_open();
	list_many(0, 1, "v");
	assert_int_equal(count_many(), MANY);
	list_many(0, 3, "v");
	assert_int_equal(count_many(), (MANY + 2) / 3);
	list_many(1, 1, "w");
	assert_int_equal(count_many(), MANY - 1);
	identity = help_mirror.sink.identity;
	help_stop();
	help_open();
	while (help_mirror.job != MIRROR_JOB_NONE)
		help_wait();
	assert_int_equal(help_mirror.sink.identity, identity);
	assert_int_equal(help_seen.relists, 0);
	help_stop();
	assert_int_equal(unlink(help_at("005/00005")), 0);
	help_open();
	while (help_mirror.job != MIRROR_JOB_NONE && !help_seen.relists)
		help_wait();
	assert_true(help_mirror.sink.identity != identity);
}

/* There is one walk at a time: the others wait for it. */
static void test_two_mirrors(void **state)
{
	static struct mirror_sink other;
	struct mirror_cfg cfg = help_cfg;
	char dir[128], why[256];
	uint64_t identity;

	(void)state;
	snprintf(dir, sizeof(dir), "%s/other", help_base);
	cfg.path = dir;
	assert_int_equal(mirror_open(&other, &cfg, why, sizeof(why)), 0);
	other.sink.wake = help_wake;
	must(other.sink.ops->settle(&other.sink));
	identity = other.sink.identity;
	mirror_close(&other);
	help_open();
	list_many(0, 1, "v");
	help_stop();
	/* The first one is at it. The second waits for that, and goes away, and comes back. */
	help_open();
	assert_int_equal(help_mirror.job, MIRROR_JOB_SURVEY);
	for (int i = 0; i < 2; i++) {
		mirror_close(&other);
		assert_int_equal(mirror_open(&other, &cfg, why, sizeof(why)), 0);
		other.sink.wake = help_wake;
		assert_int_equal(other.job, MIRROR_JOB_SURVEY);
		assert_int_equal(other.sink.identity, identity);
	}
	help_wait();
	while (other.job != MIRROR_JOB_NONE)
		help_wait();
	assert_int_equal(help_mirror.job, MIRROR_JOB_NONE);
	assert_int_equal(other.sink.identity, identity);
	/* One that goes away in the middle does not keep the other from it. */
	help_stop();
	help_open();
	assert_int_equal(help_mirror.job, MIRROR_JOB_SURVEY);
	mirror_close(&other);
	assert_int_equal(mirror_open(&other, &cfg, why, sizeof(why)), 0);
	other.sink.wake = help_wake;
	mirror_close(&help_mirror);
	while (other.job != MIRROR_JOB_NONE)
		help_wait();
	mirror_close(&other);
}

/* -- what others plant ------------------------------------------------------------------------ */

static void test_planted_links(void **state)
{
	static const char *const froms[] = {"a", "a/b", "a/b/c", "a/b/%%"};
	static const char *const tos[] = {"out", "nowhere", "file"};
	char outside[128], to[128], file[160];
	struct stat st;

	(void)state;
	snprintf(outside, sizeof(outside), "%s/out", help_base);
	snprintf(file, sizeof(file), "%s/file", help_base);
	for (size_t i = 0; i < 4; i++) {
		for (size_t k = 0; k < 3; k++) {
			for (int is_listed = 0; is_listed < 2; is_listed++) {
				assert_int_equal(mkdir(outside, 0755), 0);
				close(open(file, O_WRONLY | O_CREAT, 0600));
				help_open();
				must(help_put("/c/a/b/c", "1"));
				must(help_put("/c/a/b", "0"));
				help_wipe(help_at(froms[i]));
				snprintf(to, sizeof(to), "%s/%s", help_base, tos[k]);
				assert_int_equal(symlink(to, help_at(froms[i])), 0);
				if (is_listed) {
					must(help_list_begin());
					must(help_list("/c/a/b/c", "2"));
					must(help_list("/c/a/b", "3"));
					must(help_list_end());
				} else {
					must(help_put("/c/a/b/c", "2"));
					must(help_put("/c/a/b", "3"));
				}
				assert_tree("a/b/%% = 3\na/b/c = 2\n");
				must(help_delete("/c/a/b/c"));
				must(help_delete("/c/a/b"));
				assert_tree("");
				assert_int_equal(rmdir(outside), 0);
				assert_int_equal(stat(file, &st), 0);
				assert_int_equal(st.st_size, 0);
				assert_int_equal(st.st_mode & 0777, 0600);
				assert_int_equal(stat(to, &st), k == 2 ? 0 : -1);
				help_stop();
				help_wipe(help_dir);
			}
		}
	}
}

static void test_planted_things(void **state)
{
	char outside[128];
	struct stat st;

	(void)state;
	snprintf(outside, sizeof(outside), "%s/secret", help_base);
	close(open(outside, O_WRONLY | O_CREAT, 0600));
	help_open();
	/* A FIFO where a file or a folder is due must not hold the agent. */
	assert_int_equal(mkfifo(help_at("a"), 0600), 0);
	must(help_put("/c/a", "1"));
	assert_int_equal(mkfifo(help_at("f"), 0600), 0);
	must(help_put("/c/f/g", "2"));
	/* Folders where files are due. */
	assert_int_equal(mkdir(help_at("d"), 0700), 0);
	must(help_put("/c/d", "3"));
	assert_int_equal(mkdir(help_at("e"), 0700), 0);
	assert_int_equal(mkdir(help_at("e/%%"), 0700), 0);
	help_plant("e/%%/x", "?");
	must(help_put("/c/e", "4"));
	assert_tree("a = 1\nd = 3\ne = 4\nf/g = 2\n");
	/* A second name of a file outside: its mode stays, and so do its bytes. */
	assert_int_equal(link(outside, help_at("h")), 0);
	must(help_event("/c/h", 4, "", 0, false, true));
	assert_int_equal(stat(outside, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
	assert_int_equal(st.st_nlink, 1);
	/* What nobody listed goes, whatever it is. */
	assert_int_equal(mkdir(help_at("q"), 0700), 0);
	assert_int_equal(symlink("/etc", help_at("q/etc")), 0);
	assert_int_equal(mkfifo(help_at("q/fifo"), 0600), 0);
	assert_int_equal(mkdir(help_at("q/%%"), 0700), 0);
	help_plant("%%", "?");
	must(help_list_begin());
	must(help_list("/c/a", "1"));
	must(help_list("/c/z", "1"));
	/* Just now in the place of one that was. */
	assert_int_equal(unlink(help_at("z")), 0);
	assert_int_equal(symlink("/etc/passwd", help_at("z")), 0);
	must(help_list_end());
	assert_tree("a = 1\n");
	assert_int_equal(stat("/etc/passwd", &st), 0);
}

/* In the place of a folder, whose keys are deleted then. */
static void test_planted_and_deleted(void **state)
{
	char outside[128], inside[160];
	struct stat st;

	(void)state;
	snprintf(outside, sizeof(outside), "%s/out", help_base);
	snprintf(inside, sizeof(inside), "%s/out/d", help_base);
	for (int i = 0; i < 8; i++) {
		const char *planted = i & 1 ? "b" : "b/c";

		assert_int_equal(mkdir(outside, 0755), 0);
		close(open(inside, O_WRONLY | O_CREAT, 0600));
		help_open();
		must(help_put("/c/a", "1"));
		must(help_put("/c/b/c/d", "2"));
		help_wipe(help_at(planted));
		if (i & 2)
			assert_int_equal(symlink(outside, help_at(planted)), 0);
		else
			assert_int_equal(mkfifo(help_at(planted), 0600), 0);
		if (i & 4)
			must(help_delete("/c/b/c/d"));
		else
			must(help_delete("/c/b/c/d/e/f"));
		/* Nor is there anything that an empty folder is left for. */
		assert_tree("a = 1\n");
		must(help_delete("/c/a/no/folder"));
		assert_tree("a = 1\n");
		assert_int_equal(stat(inside, &st), 0);
		assert_int_equal(unlink(inside), 0);
		assert_int_equal(rmdir(outside), 0);
		help_stop();
		help_wipe(help_dir);
	}
}

static void test_planted_in_own(void **state)
{
	char outside[128];
	struct stat st;

	(void)state;
	snprintf(outside, sizeof(outside), "%s/out", help_base);
	assert_int_equal(mkdir(outside, 0755), 0);
	help_open();
	must(help_put("/c/a", "1"));
	assert_int_equal(mkdir(help_at(".etchlet/new"), 0700), 0);
	help_plant(".etchlet/new/x", "?");
	assert_int_equal(symlink(outside, help_at(".etchlet/swap")), 0);
	assert_int_equal(mkdir(help_at(".etchlet/identity.new"), 0700), 0);
	must(help_put("/c/a/b", "2"));
	assert_tree("a/%% = 1\na/b = 2\n");
	help_stop();
	assert_int_equal(unlink(help_at(".etchlet/identity")), 0);
	assert_int_equal(mkdir(help_at(".etchlet/identity"), 0700), 0);
	help_open();
	must(help_put("/c/a", "3"));
	assert_tree("a/%% = 3\na/b = 2\n");
	help_stop();
	/* The folder itself as a link. */
	help_wipe(help_at(".etchlet"));
	assert_int_equal(symlink(outside, help_at(".etchlet")), 0);
	assert_int_equal(help_open_code(), ERR_CONFIG);
	help_cfg.is_adopt = true;
	help_open();
	must(help_put("/c/a", "4"));
	assert_int_equal(lstat(help_at(".etchlet"), &st), 0);
	assert_true(S_ISDIR(st.st_mode));
	assert_int_equal(rmdir(outside), 0);
	/* Gone while it runs. */
	help_wipe(help_at(".etchlet"));
	assert_int_equal(help_put("/c/new", "1"), ERR_HISTORY);
	must(help_list_begin());
	must(help_list("/c/a", "1"));
	must(help_list_end());
	assert_tree("a = 1\n");
}

/* Deeper than folders are kept open, and deeper than any path. */
static void test_deep(void **state)
{
	enum { DEPTH = 200, NAME_LEN = 200 };
	char key[3 + 2 * DEPTH + 2] = "/c/", name[NAME_LEN + 1];
	struct model model = {0};
	int dir, dirs[2], before, after;

	(void)state;
	help_open();
	before = dup(0);
	close(before);
	for (int i = 0; i < DEPTH; i++)
		memcpy(key + 3 + 2 * i, "d/", 3);
	key[3 + 2 * DEPTH] = 'x';
	must(help_put(key, "1"));
	must(help_put("/c/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/e", "2"));
	must(help_put("/c/d", "3"));
	must(help_list_begin());
	must(help_list(key, "1"));
	must(help_list("/c/d", "3"));
	must(help_list_end());
	must(help_delete(key));
	assert_tree("d = 3\n");
	must(help_list_begin());
	must(help_list(key, "1"));
	must(help_list_end());
	model_put(&model, key, "1");
	assert_string_equal(help_tree(), model_tree(&model));
	/* A planted tree that no path reaches the end of. */
	memset(name, 'p', NAME_LEN);
	name[NAME_LEN] = '\0';
	dir = open(help_dir, O_RDONLY | O_DIRECTORY);
	dirs[0] = dir;
	for (int i = 0; i < 100; i++) {
		assert_int_equal(mkdirat(dir, name, 0755), 0);
		assert_int_equal(symlinkat("/", dir, "link"), 0);
		dirs[1] = openat(dir, name, O_RDONLY | O_DIRECTORY);
		assert_true(dirs[1] >= 0);
		close(dir);
		dir = dirs[1];
	}
	close(dir);
	must(help_list_begin());
	must(help_list("/c/a", "1"));
	must(help_list_end());
	assert_tree("a = 1\n");
	for (int i = 0; help_mirror.trash_timer.is_set; i++) {
		assert_true(i < 1000);
		assert_int_equal(loop_turn(&help_loop), 0);
	}
	assert_int_equal(access(help_at(".etchlet/trash"), F_OK), -1);
	after = dup(0);
	close(after);
	assert_int_equal(after, before);
}

/* Many folders beside each other at every depth. */
static void test_wide_and_deep(void **state)
{
	char text[64];

	(void)state;
	help_open();
	must(help_list_begin());
	for (int i = 0; i < 4096; i++) {
		size_t n = (size_t)snprintf(text, sizeof(text), "/c");

		for (int k = 0; k < 12; k++)
			n += (size_t)snprintf(text + n, sizeof(text) - n, "/%d", i >> k & 1);
		must(help_list(text, "v"));
	}
	must(help_list_end());
	assert_true(help_mirror.is_digest_known);
	must(help_list_begin());
	for (int i = 0; i < 4096; i += 511) {
		size_t n = (size_t)snprintf(text, sizeof(text), "/c");

		for (int k = 0; k < 12; k++)
			n += (size_t)snprintf(text + n, sizeof(text) - n, "/%d", i >> k & 1);
		must(help_list(text, "v"));
	}
	must(help_list_end());
	const char *tree = help_tree();
	int lines = 0;

	for (const char *p = tree; *p; p++) {
		lines += *p == '\n';
		/* None is empty. */
		assert_false(*p == '\n' && p[-1] == '/');
	}
	assert_int_equal(lines, 9);
}

/* -- the folder itself ------------------------------------------------------------------------ */

static void test_foreign(void **state)
{
	char why[256] = "";

	(void)state;
	/* Empty is nobody's. */
	assert_int_equal(mirror_check(&help_cfg, why, sizeof(why)), 0);
	assert_int_equal(mkdir(help_dir, 0755), 0);
	assert_int_equal(mirror_check(&help_cfg, why, sizeof(why)), 0);
	help_plant("mine", "?");
	assert_int_equal(mirror_check(&help_cfg, why, sizeof(why)), ERR_CONFIG);
	assert_non_null(strstr(why, "mirror-adopt"));
	assert_int_equal(help_open_code(), ERR_CONFIG);
	mirror_close(&help_mirror);
	assert_tree("mine = ?\n");
	assert_int_equal(access(help_at(".etchlet"), F_OK), -1);
	help_cfg.is_adopt = true;
	assert_int_equal(mirror_check(&help_cfg, why, sizeof(why)), 0);
	help_open();
	must(help_list_begin());
	must(help_list("/c/a", "1"));
	assert_tree("a = 1\nmine = ?\n");
	must(help_list_end());
	assert_tree("a = 1\n");
	help_stop();
	help_cfg.is_adopt = false;
	help_open();
	help_cfg.path = "/dev/null/no/such/folder";
	assert_int_equal(mirror_check(&help_cfg, why, sizeof(why)), ERR_NOENT);
}

static void test_lock(void **state)
{
	int fd;

	(void)state;
	help_open();
	help_stop();
	fd = open(help_dir, O_RDONLY | O_DIRECTORY);
	assert_true(fd >= 0);
	assert_int_equal(flock(fd, LOCK_EX | LOCK_NB), 0);
	assert_int_equal(help_open_code(), ERR_LOCKED);
	close(fd);
	help_open();
}

/* Two mirrors in one another, which no comparison of their paths shows. */
static void test_in_one_another(void **state)
{
	static const char *const names[] = {"m", "link", "link/in/er", "link/a", "m/..", "."};
	struct mirror_sink other = {0};
	struct mirror_cfg cfg = help_cfg;
	char path[128], why[256], *was = getcwd(NULL, 0);

	(void)state;
	help_open();
	must(help_put("/c/a/b", "1"));
	snprintf(path, sizeof(path), "%s/link", help_base);
	assert_int_equal(symlink(help_dir, path), 0);
	assert_int_equal(chdir(help_base), 0);
	cfg.path = path;
	cfg.watch_name = "other";
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		for (int is_relative = 0; is_relative < 2; is_relative++) {
			snprintf(path, sizeof(path), "%s%s%s", is_relative ? "" : help_base,
				is_relative ? "" : "/", names[i]);
			assert_int_equal(mirror_open(&other, &cfg, why, sizeof(why)), ERR_CONFIG);
			assert_non_null(strstr(why, path));
			assert_non_null(strstr(why, help_dir));
			assert_non_null(strstr(why, "watch w"));
			mirror_close(&other);
		}
	}
	assert_int_equal(access(help_at("in/er/.etchlet"), F_OK), -1);
	assert_int_equal(access(help_at("a/.etchlet"), F_OK), -1);
	assert_int_equal(access(help_at("../.etchlet"), F_OK), -1);
	/* Beside each other they may be. */
	snprintf(path, sizeof(path), "beside");
	assert_int_equal(mirror_open(&other, &cfg, why, sizeof(why)), 0);
	/* One that comes to lie in the other while both run waits. */
	assert_int_equal(rename(path, help_at("beside")), 0);
	assert_int_equal(symlink(help_at("beside"), path), 0);
	help_wipe(help_at("beside/.etchlet"));
	assert_int_equal(other.sink.ops->sync_begin(&other.sink, &(struct sink_sync){0}), 0);
	assert_int_equal(other.sink.ops->synced(&other.sink, 1), 0);
	assert_int_equal(other.sink.ops->settle(&other.sink), ERR_NOENT);
	for (int i = 0; !strstr(other.sink.why, "mirror"); i++) {
		assert_true(i < 1000);
		assert_int_equal(loop_turn(&help_loop), 0);
	}
	assert_non_null(strstr(other.sink.why, help_dir));
	mirror_close(&other);
	assert_int_equal(chdir(was), 0);
	free(was);
}

static void test_lost_while_running(void **state)
{
	uint64_t identity;
	char aside[128];

	(void)state;
	help_open();
	must(help_put("/c/a", "1"));
	identity = help_mirror.sink.identity;
	help_wipe(help_dir);
	assert_int_equal(help_put("/c/b", "2"), ERR_HISTORY);
	assert_int_equal(help_seen.relists, 1);
	assert_int_equal(help_seen.last_fail, ERR_NOENT);
	assert_true(help_mirror.sink.identity != identity);
	assert_true(help_mirror.sink.errors > 0);
	must(help_list_begin());
	must(help_list("/c/a", "1"));
	must(help_list_end());
	assert_tree("a = 1\n");
	/* Replaced by another one, and by one of its own from earlier. */
	must(help_put("/c/a", "1"));
	snprintf(aside, sizeof(aside), "%s/aside", help_base);
	assert_int_equal(rename(help_dir, aside), 0);
	assert_int_equal(mkdir(help_dir, 0755), 0);
	assert_int_equal(help_put("/c/b", "2"), ERR_HISTORY);
	must(help_list_begin());
	must(help_list("/c/b", "2"));
	must(help_list_end());
	assert_tree("b = 2\n");
	identity = help_mirror.sink.identity;
	help_wipe(help_dir);
	assert_int_equal(rename(aside, help_dir), 0);
	must(help_mirror.sink.ops->settle(&help_mirror.sink));
	assert_int_equal(help_list_begin(), ERR_HISTORY);
	assert_true(help_mirror.sink.identity != identity);
	assert_int_equal(access(help_at(".etchlet/identity"), F_OK), -1);
	must(help_list_begin());
	must(help_list_end());
	assert_tree("");
}

/* DIR is the same, so what is in it is a mirror's: no matter of mirror-adopt. */
static void test_own_lost_while_running(void **state)
{
	struct sink *s = &help_mirror.sink;
	uint64_t identity;
	struct stat st;

	(void)state;
	help_open();
	must(help_put("/c/a", "1"));
	for (int i = 0; i < 3; i++) {
		identity = s->identity;
		help_wipe(help_at(".etchlet"));
		if (i == 1) {
			/* At rest: it is found when the record is to be written. */
			help_seen.relists = 0;
			assert_int_equal(s->ops->settle(s), ERR_NOENT);
			help_wait();
			assert_int_equal(help_seen.relists, 1);
		} else {
			assert_int_equal(help_put("/c/b", "2"), ERR_HISTORY);
		}
		assert_true(s->identity != identity);
		assert_int_equal(stat(help_at(".etchlet"), &st), 0);
		assert_int_equal(st.st_mode & 07777, 0700);
		must(help_list_begin());
		must(help_list("/c/a", "1"));
		must(help_list_end());
		assert_tree("a = 1\n");
		assert_int_equal(s->ops->settle(s), 0);
		if (i == 0)
			assert_int_equal(s->ops->settle(s), 0);
		if (i == 0)
			help_mirror.record.is_clean = false;
	}
}

/* Another folder with somebody's files: it waits, and its reason says what for. */
static void test_replaced_by_foreign(void **state)
{
	struct sink *s = &help_mirror.sink;

	(void)state;
	help_open();
	must(help_put("/c/a", "1"));
	help_wipe(help_dir);
	assert_int_equal(mkdir(help_dir, 0755), 0);
	help_plant("mine", "?");
	help_is_patient = false;
	assert_int_equal(help_put("/c/b", "2"), ERR_NOENT);
	while (help_seen.fails < 5)
		assert_int_equal(loop_turn(&help_loop), 0);
	assert_int_equal(help_seen.relists, 0);
	assert_int_equal(help_seen.last_fail, ERR_CONFIG);
	assert_non_null(strstr(s->why, "mirror-adopt = yes takes them over"));
	assert_tree("mine = ?\n");
	assert_int_equal(unlink(help_at("mine")), 0);
	while (!help_seen.relists)
		assert_int_equal(loop_turn(&help_loop), 0);
	help_is_patient = true;
	must(help_list_begin());
	must(help_list("/c/a", "1"));
	must(help_list_end());
	assert_tree("a = 1\n");
}

/* Something stands in the place of a folder above it: it waits, and says so once. */
static void test_cannot_be_opened_again(void **state)
{
	char aside[128];
	int fd;

	(void)state;
	help_open();
	must(help_put("/c/a", "1"));
	help_wipe(help_dir);
	snprintf(aside, sizeof(aside), "%s-aside", help_base);
	assert_int_equal(rename(help_base, aside), 0);
	fd = open(help_base, O_WRONLY | O_CREAT | O_EXCL, 0600);
	assert_true(fd >= 0);
	close(fd);
	help_is_patient = false;
	assert_int_equal(help_put("/c/b", "2"), ERR_NOENT);
	assert_false(help_mirror.sink.ops->is_ready(&help_mirror.sink));
	/* What is covered by a position that is saved now is not there. */
	assert_int_equal(help_mirror.sink.ops->settle(&help_mirror.sink), ERR_AGAIN);
	while (help_seen.fails < 20)
		assert_int_equal(loop_turn(&help_loop), 0);
	assert_int_equal(help_seen.relists, 0);
	assert_int_equal(help_seen.warnings, 1);
	assert_int_equal(unlink(help_base), 0);
	assert_int_equal(rename(aside, help_base), 0);
	while (!help_seen.relists)
		assert_int_equal(loop_turn(&help_loop), 0);
	help_is_patient = true;
	must(help_list_begin());
	must(help_list_end());
}

/* -- starts ----------------------------------------------------------------------------------- */

enum damage {
	DAMAGE_NONE,
	DAMAGE_REMOVED,
	DAMAGE_CHANGED,
	DAMAGE_ADDED,
	DAMAGE_LINK,
	DAMAGE_TOUCHED,
	DAMAGE_IDENTITY_GONE,
	DAMAGE_IDENTITY_TORN,
	DAMAGE_IDENTITY_ZEROS,
	DAMAGE_IDENTITY_LONGER,
	DAMAGE_GONE,
	DAMAGE_COUNT,
};

static void damage(enum damage d)
{
	static const struct timespec times[2] = {{1, 1}, {1, 1}};

	switch (d) {
	case DAMAGE_REMOVED:
		assert_int_equal(unlink(help_at("x/y")), 0);
		break;
	case DAMAGE_CHANGED:
		help_plant("a", "9");
		break;
	case DAMAGE_ADDED:
		help_plant("x/added", "9");
		break;
	case DAMAGE_LINK:
		assert_int_equal(symlink("a", help_at("link")), 0);
		break;
	case DAMAGE_TOUCHED:
		assert_int_equal(utimensat(AT_FDCWD, help_at("a"), times, 0), 0);
		break;
	case DAMAGE_IDENTITY_GONE:
		assert_int_equal(unlink(help_at(".etchlet/identity")), 0);
		break;
	case DAMAGE_IDENTITY_TORN:
		assert_int_equal(truncate(help_at(".etchlet/identity"), 60), 0);
		break;
	case DAMAGE_IDENTITY_ZEROS:
		assert_int_equal(truncate(help_at(".etchlet/identity"), 0), 0);
		assert_int_equal(truncate(help_at(".etchlet/identity"), 130), 0);
		break;
	case DAMAGE_IDENTITY_LONGER:
		assert_int_equal(truncate(help_at(".etchlet/identity"), 1000), 0);
		break;
	case DAMAGE_GONE:
		help_wipe(help_dir);
		break;
	default:
		break;
	}
}

static void test_damaged_while_down(void **state)
{
	(void)state;
	for (enum damage d = DAMAGE_NONE; d < DAMAGE_COUNT; d++) {
		uint64_t identity;

		help_open();
		must(help_list_begin());
		must(help_list("/c/a", "1"));
		must(help_list("/c/a/b", "2"));
		must(help_list("/c/x/y", "3"));
		must(help_list_end());
		must(help_delete("/c/a/b"));
		must(help_put("/c/x/z", "4"));
		must(help_put("/c/x/y", "5"));
		identity = help_mirror.sink.identity;
		assert_true(identity != 0);
		help_stop();
		damage(d);
		help_open();
		assert_int_equal(help_mirror.sink.identity == identity, d == DAMAGE_NONE);
		must(help_list_begin());
		must(help_list("/c/a", "1"));
		must(help_list_end());
		assert_tree("a = 1\n");
		help_stop();
	}
}

/* As kill -9 leaves it: the folders are closed, and nothing is written. */
static void kill_it(void)
{
	struct mirror_sink *m = &help_mirror;

	port_dir_close(m->own);
	port_dir_close(m->root);
	m->own = m->root = -1;
	mirror_close(m);
}

static void test_killed(void **state)
{
	uint64_t identity;

	(void)state;
	help_open();
	must(help_put("/c/a", "1"));
	must(help_put("/c/b", "1"));
	identity = help_mirror.sink.identity;
	kill_it();
	help_open();
	assert_int_equal(help_mirror.sink.identity, identity);
	must(help_put("/c/b", "1"));
	/* Saved twice without a change: what somebody does from then on is noticed even after a kill. */
	must(help_mirror.sink.ops->settle(&help_mirror.sink));
	must(help_mirror.sink.ops->settle(&help_mirror.sink));
	kill_it();
	help_plant("a", "9");
	help_open();
	assert_true(help_mirror.sink.identity != identity);
}

/* Whether the record on storage is clean. */
static bool is_left_clean(void)
{
	char text[256] = "";
	int fd = open(help_at(".etchlet/identity"), O_RDONLY);

	if (fd < 0)
		return false;
	assert_true(read(fd, text, sizeof(text) - 1) > 0);
	close(fd);
	return strstr(text, "\nclean 1\n") != NULL;
}

/* As if the time had passed. */
static void rest(void)
{
	struct loop_timer *t = &help_mirror.rest_timer;

	assert_true(t->is_set);
	assert_true(t->due_ms - help_loop.now_ms <= MIRROR_REST_GAP_MS);
	loop_timer_set(&help_loop, t, 0);
	while (t->is_set)
		assert_int_equal(loop_turn(&help_loop), 0);
}

/* No position is saved for hours: a few seconds without a change are enough. */
static void test_killed_at_rest(void **state)
{
	struct sink *s = &help_mirror.sink;
	struct etcd_event e = {.key = (const uint8_t *)"/c/b", .key_len = 4, .mod_rev = 3};
	uint64_t identity;
	struct stat before, after;

	(void)state;
	help_open();
	must(help_list_begin());
	must(help_list("/c/a", "1"));
	must(help_list("/c/b", "1"));
	must(help_list_end());
	assert_false(is_left_clean());
	rest();
	assert_true(is_left_clean());
	/* What changes nothing writes nothing. */
	assert_int_equal(stat(help_at(".etchlet/identity"), &before), 0);
	must(help_put("/c/a", "1"));
	assert_false(help_mirror.rest_timer.is_set);
	assert_int_equal(stat(help_at(".etchlet/identity"), &after), 0);
	assert_int_equal(before.st_ino, after.st_ino);
	must(help_put("/c/a", "2"));
	assert_false(is_left_clean());
	/* Flash wears: not twice in a minute. */
	assert_true(help_mirror.rest_timer.due_ms - help_loop.now_ms > MIRROR_REST_MS);
	/* In the middle of an event, and of a listing: not at rest. */
	must(s->ops->event(s, &e));
	rest();
	assert_false(is_left_clean());
	must(s->ops->event_end(s, &e));
	assert_true(help_mirror.rest_timer.is_set);
	must(help_list_begin());
	rest();
	assert_false(is_left_clean());
	must(help_list("/c/a", "2"));
	assert_false(help_mirror.rest_timer.is_set);
	must(help_list("/c/b", ""));
	must(help_list_end());
	rest();
	assert_true(is_left_clean());
	identity = s->identity;
	/* A kill alone does no harm, neither at rest nor before. */
	kill_it();
	help_open();
	assert_int_equal(s->identity, identity);
	must(help_put("/c/a", "3"));
	kill_it();
	help_open();
	assert_int_equal(s->identity, identity);
	/* After it the tree is as it is, and what comes from now on is noticed. */
	rest();
	kill_it();
	assert_int_equal(unlink(help_at("a")), 0);
	help_open();
	assert_true(s->identity != identity);
}

/* With durability relaxed a power cut may have lost what a position covers. */
static void test_other_boot(void **state)
{
	for (int is_relaxed = 0; is_relaxed < 2; is_relaxed++) {
		uint64_t identity;

		(void)state;
		help_cfg.is_relaxed = is_relaxed;
		help_open();
		must(help_put("/c/a", "1"));
		if (is_relaxed) {
			memset(help_mirror.record.boot, 0, MIRROR_BOOT_MAX);
			assert_int_equal(unlink(help_at(".etchlet/identity")), 0);
			help_mirror.record.identity = 0;
			must(help_put("/c/a", "2"));
		}
		identity = help_mirror.sink.identity;
		kill_it();
		help_open();
		assert_int_equal(help_mirror.sink.identity, identity);
		assert_true((strcmp(help_mirror.record.boot, "-") != 0) == is_relaxed);
		help_stop();
		help_wipe(help_dir);
	}
}

/* -- the rest --------------------------------------------------------------------------------- */

/* Writes the record as one of another boot. */
static void reboot(void)
{
	char text[256] = "", *boot;
	int fd = open(help_at(".etchlet/identity"), O_RDWR);

	assert_true(read(fd, text, sizeof(text) - 1) > 0);
	boot = strstr(text, "\nboot ") + 6;
	if (*boot != '-') {
		char *crc = strstr(text, "\ncrc ") + 1;

		*boot = *boot == '0' ? '1' : '0';
		snprintf(crc, 15, "crc %08" PRIx32 "\n",
			crc32_update(0, (const uint8_t *)text, (size_t)(crc - text)));
		assert_int_equal(pwrite(fd, text, strlen(text), 0), strlen(text));
	}
	close(fd);
}

/* With durability relaxed what was at rest may be lost too, and with length and time intact. What was
 * left by a stop was on storage when the system was shut down. */
static void test_rest_of_other_boot(void **state)
{
	for (int n = 0; n < 4; n++) {
		bool is_relaxed = n & 1, is_stopped = n & 2;
		uint64_t identity;

		(void)state;
		help_cfg.is_relaxed = is_relaxed;
		help_open();
		must(help_list_begin());
		must(help_list("/c/a", "1"));
		must(help_list_end());
		rest();
		identity = help_mirror.sink.identity;
		if (is_stopped)
			help_stop();
		else
			kill_it();
		reboot();
		help_open();
		assert_int_equal(help_mirror.sink.identity == identity, !is_relaxed || is_stopped);
		help_stop();
		help_wipe(help_dir);
	}
}

static void test_unmappable(void **state)
{
	char key[400];

	(void)state;
	help_open();
	memset(key, 'n', sizeof(key));
	memcpy(key, "/c/", 3);
	must(help_event(key, 3 + 256, "value", 5, false, false));
	assert_int_equal(help_seen.skips, 1);
	assert_int_equal(help_seen.warnings, 1);
	key[3 + 10] = '/';
	must(help_event(key, 3 + 300, "value", 5, false, false));
	must(help_event(key, 3 + 300, "", 0, true, false));
	assert_int_equal(help_seen.skips, 3);
	assert_int_equal(help_seen.warnings, 1);
	assert_tree("");
	must(help_list_begin());
	must(help_event(key, 3 + 300, "value", 5, false, true));
	must(help_list("/c/a", "1"));
	must(help_list_end());
	assert_tree("a = 1\n");
}

static void test_longest_path(void **state)
{
	static char dir[3900], key[600];
	size_t len;

	(void)state;
	/* DIR and '/' and the path and NUL are what the system takes. */
	len = (size_t)snprintf(dir, sizeof(dir), "%s", help_base);
	while (len < sizeof(dir) - 1) {
		size_t n = sizeof(dir) - 1 - len > 200 ? 200 : sizeof(dir) - 1 - len;

		memset(dir + len, 'd', n);
		dir[len] = '/';
		len += n;
		dir[len] = '\0';
		if (len < sizeof(dir) - 1)
			assert_int_equal(mkdir(dir, 0755), 0);
	}
	help_cfg.path = dir;
	help_open();
	memset(key, 'k', sizeof(key));
	memcpy(key, "/c/", 3);
	key[3 + 100] = '/';
	len = 4096 - strlen(dir) - 2;
	must(help_event(key, 3 + len, "1", 1, false, false));
	assert_int_equal(help_seen.skips, 0);
	must(help_event(key, 3 + len + 1, "1", 1, false, false));
	assert_int_equal(help_seen.skips, 1);
	help_stop();
}

static void test_paths_for_a_hook(void **state)
{
	struct mirror_sink *m = &help_mirror;
	char dst[MIRROR_PATH_MAX];

	(void)state;
	help_open();
	assert_int_equal(mirror_key_path(m, (const uint8_t *)"/c/a", 4, dst, sizeof(dst)), 1);
	must(help_put("/c/a", "1"));
	assert_int_equal(mirror_key_path(m, (const uint8_t *)"/c/a", 4, dst, sizeof(dst)), 1);
	assert_string_equal(dst, "a");
	must(help_put("/c/a/b", "2"));
	assert_int_equal(mirror_path_now(m, "a", 1, dst, sizeof(dst)), 4);
	assert_string_equal(dst, "a/%%");
	assert_int_equal(mirror_key_path(m, (const uint8_t *)"/c/a", 4, dst, sizeof(dst)), 4);
	assert_int_equal(mirror_key_path(m, (const uint8_t *)"/c/a", 4, dst, 4), 0);
	assert_int_equal(mirror_path_now(m, "a/b", 3, dst, sizeof(dst)), 3);
	must(help_delete("/c/a/b"));
	assert_int_equal(mirror_path_now(m, "a/%%", 4, dst, sizeof(dst)), 1);
	assert_string_equal(dst, "a");
}

static void test_full_disk(void **state)
{
	struct sink *s = &help_mirror.sink;
	static char fill[32768];
	struct etcd_event e = {
		.key = (const uint8_t *)"/c/b", .key_len = 4, .value_len = 200000, .mod_rev = 3};
	int filler, n = 0;

	(void)state;
	assert_int_equal(mkdir(help_dir, 0755), 0);
	if (geteuid() != 0 || mount("none", help_dir, "tmpfs", 0, "size=128k"))
		skip();
	help_open();
	must(help_put("/c/a", "1"));
	/* It is known before any of the value was fetched. */
	assert_int_equal(s->ops->event(s, &e), ERR_NOSPACE);
	assert_true(s->errors == 1 && s->why[0]);
	assert_tree("a = 1\n");
	filler = open(help_at("filler"), O_WRONLY | O_CREAT, 0600);
	while (write(filler, fill, 4096) > 0)
		n++;
	assert_true(n > 0);
	close(filler);
	help_is_patient = false;
	assert_int_equal(help_put("/c/a", "2"), ERR_NOSPACE);
	assert_int_equal(help_put("/c/a", "2"), ERR_BUG);
	help_is_patient = true;
	assert_int_equal(help_seen.warnings, 1);
	/* A removal works, and makes room. */
	assert_int_equal(unlink(help_at("filler")), 0);
	must(help_list_begin());
	must(help_list("/c/a", "2"));
	must(help_list_end());
	assert_tree("a = 2\n");
	help_stop();
	assert_int_equal(umount(help_dir), 0);
}

/* Folders of this and of another file system, mounted in the tree: neither removed nor looked at. */
static void test_mounts(void **state)
{
	char shared[128], inside[160];
	struct stat st;
	bool is_told;
	int fd;

	(void)state;
	/* The mounts end with the test's process, whatever comes. */
	if (geteuid() != 0 || unshare(CLONE_NEWNS) ||
		mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL))
		skip();
	snprintf(shared, sizeof(shared), "%s/shared", help_base);
	snprintf(inside, sizeof(inside), "%s/shared/precious", help_base);
	assert_int_equal(mkdir(shared, 0750), 0);
	close(open(inside, O_WRONLY | O_CREAT, 0600));
	help_open();
	must(help_put("/c/a", "1"));
	must(help_put("/c/x/y", "2"));
	assert_int_equal(mkdir(help_at("x/bound"), 0755), 0);
	assert_int_equal(mkdir(help_at("other"), 0755), 0);
	if (mount(shared, help_at("x/bound"), NULL, MS_BIND, NULL))
		skip();
	assert_int_equal(mount("none", help_at("other"), "tmpfs", 0, "mode=700,size=64k"), 0);
	help_plant("other/precious", "");
	fd = open(help_at("x/bound"), O_RDONLY);
	is_told = port_dir_is_mount(fd);
	close(fd);
	/* Linux before 5.8 does not. */
	if (is_told) {
		must(help_list_begin());
		must(help_list("/c/a", "3"));
		must(help_list_end());
		assert_tree("a = 3\nother/precious = \nx/bound/precious = \n");
		assert_int_equal(stat(shared, &st), 0);
		assert_int_equal(st.st_mode & 07777, 0750);
		assert_int_equal(stat(inside, &st), 0);
		assert_int_equal(stat(help_at("other"), &st), 0);
		assert_int_equal(st.st_mode & 07777, 0700);
	}
	/* When they are gone again, so are the folders. */
	assert_int_equal(umount(help_at("x/bound")), 0);
	assert_int_equal(umount(help_at("other")), 0);
	must(help_list_begin());
	must(help_list("/c/a", "3"));
	must(help_list_end());
	assert_tree("a = 3\n");
	assert_int_equal(stat(inside, &st), 0);
}

static void test_nothing_is_held_open(void **state)
{
	int before = dup(0), after;

	(void)state;
	close(before);
	for (int i = 0; i < 20; i++) {
		struct sink *s = &help_mirror.sink;
		struct etcd_event e = {
			.key = (const uint8_t *)"/c/b", .key_len = 4, .value_len = 9, .mod_rev = 3};

		help_open();
		must(help_put("/c/a/b", "1"));
		must(help_list_begin());
		for (int k = 0; k < 100; k++)
			must(help_list("/c/a/b", "1"));
		must(s->ops->event(s, &e));
		must(help_list_begin());
		must(s->ops->event(s, &e));
		help_stop();
	}
	after = dup(0);
	close(after);
	assert_int_equal(after, before);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, help_set_up, help_tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_put_and_delete),
		TEST(test_key_and_folder),
		TEST(test_random_histories),
		TEST(test_listing),
		TEST(test_listing_broken_off),
		TEST(test_compare_while_streaming),
		TEST(test_mode),
		TEST(test_owner),
		TEST(test_many),
		TEST(test_two_mirrors),
		TEST(test_planted_links),
		TEST(test_planted_things),
		TEST(test_planted_and_deleted),
		TEST(test_planted_in_own),
		TEST(test_deep),
		TEST(test_wide_and_deep),
		TEST(test_foreign),
		TEST(test_lock),
		TEST(test_in_one_another),
		TEST(test_lost_while_running),
		TEST(test_own_lost_while_running),
		TEST(test_replaced_by_foreign),
		TEST(test_cannot_be_opened_again),
		TEST(test_damaged_while_down),
		TEST(test_killed),
		TEST(test_killed_at_rest),
		TEST(test_rest_of_other_boot),
		TEST(test_other_boot),
		TEST(test_unmappable),
		TEST(test_longest_path),
		TEST(test_paths_for_a_hook),
		TEST(test_full_disk),
		TEST(test_nothing_is_held_open),
		TEST(test_mounts),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
