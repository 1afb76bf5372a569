/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A mirror on a real folder, driven as its owner does it, and a model: which tree the keys are.
 * Included by one file of a test program.
 */
#ifndef ETCHLET_TEST_MIRROR_HELPER_H
#define ETCHLET_TEST_MIRROR_HELPER_H

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/err.h"
#include "base/log.h"
#include "sink/mirror.h"
#include "sink/mirror_name.h"

enum {
	HELP_TURNS_MAX = 200000,
	HELP_TEXT_MAX = 1 << 16,
	HELP_PATH_MAX = 4400,
};

static struct loop help_loop;
static struct mirror_sink help_mirror;
/* Thousands of small files that are synced one by one: where there is memory for them, not on a disk. */
#ifdef HELP_IN_MEMORY
#define HELP_TMP (access("/dev/shm", W_OK) ? "/tmp" : "/dev/shm")
#else
#define HELP_TMP "/tmp"
#endif
static char help_base[] = "/dev/shm/etchlet-mirror-XXXXXX";
static char help_dir[64];
static struct {
	int wakes, fails, relists, skips, last_fail;
	int warnings;
} help_seen;

static void help_log(enum log_level level, const char *line, size_t len)
{
	help_seen.warnings += level <= LOG_LEVEL_WARN;
	if (getenv("MIRROR_TEST_LOG"))
		fprintf(stderr, "%.*s\n", (int)len, line);
}

static void help_wake(struct sink *s)
{
	(void)s;
	help_seen.wakes++;
}

static void help_fail(struct sink *s, int err)
{
	(void)s;
	help_seen.fails++;
	help_seen.last_fail = err;
}

static void help_relist(struct sink *s)
{
	(void)s;
	help_seen.relists++;
}

static void help_skip(struct sink *s, const struct etcd_event *e)
{
	(void)s;
	(void)e;
	help_seen.skips++;
}

/* -- the real folder -------------------------------------------------------------------------- */

/* rm -rf, links not followed. */
static inline void help_wipe(const char *path)
{
	struct stat st;
	DIR *d;
	const struct dirent *e;

	if (lstat(path, &st))
		return;
	if (!S_ISDIR(st.st_mode)) {
		assert_int_equal(unlink(path), 0);
		return;
	}
	d = opendir(path);
	assert_non_null(d);
	while ((e = readdir(d))) {
		char sub[HELP_PATH_MAX];

		if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
			continue;
		assert_true(
			snprintf(sub, sizeof(sub), "%s/%s", path, e->d_name) < (int)sizeof(sub));
		help_wipe(sub);
	}
	closedir(d);
	assert_int_equal(rmdir(path), 0);
}

static inline int help_compare(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Appends a line for each thing below path, sorted: "a/b = value", "a/b/ " for an empty folder, "a -> link". */
static inline void help_describe(const char *path, const char *rel, char *dst)
{
	/* Off the stack: trees are deep. */
	struct {
		char *names[4096];
		char sub[HELP_PATH_MAX], sub_rel[HELP_PATH_MAX], value[8192];
	} *mem = calloc(1, sizeof(*mem));
	size_t n = 0;
	DIR *d = opendir(path);
	const struct dirent *e;

	assert_non_null(d);
	while ((e = readdir(d))) {
		if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0 ||
			(!*rel && strcmp(e->d_name, ".etchlet") == 0))
			continue;
		assert_true(n < 4096);
		mem->names[n++] = strdup(e->d_name);
	}
	closedir(d);
	qsort(mem->names, n, sizeof(mem->names[0]), help_compare);
	if (n == 0 && *rel)
		snprintf(dst + strlen(dst), HELP_TEXT_MAX - strlen(dst), "%s/\n", rel);
	for (size_t i = 0; i < n; i++) {
		struct stat st;

		snprintf(mem->sub, sizeof(mem->sub), "%s/%s", path, mem->names[i]);
		snprintf(mem->sub_rel, sizeof(mem->sub_rel), "%s%s%s", rel, *rel ? "/" : "",
			mem->names[i]);
		free(mem->names[i]);
		assert_int_equal(lstat(mem->sub, &st), 0);
		if (S_ISDIR(st.st_mode)) {
			help_describe(mem->sub, mem->sub_rel, dst);
		} else if (S_ISREG(st.st_mode)) {
			int fd = open(mem->sub, O_RDONLY);
			ssize_t len = read(fd, mem->value, sizeof(mem->value) - 1);

			close(fd);
			assert_true(len >= 0);
			mem->value[len] = '\0';
			snprintf(dst + strlen(dst), HELP_TEXT_MAX - strlen(dst), "%s = %s\n",
				mem->sub_rel, mem->value);
		} else {
			snprintf(dst + strlen(dst), HELP_TEXT_MAX - strlen(dst), "%s is odd\n",
				mem->sub_rel);
		}
	}
	free(mem);
}

static char help_tree_text[HELP_TEXT_MAX];

static inline const char *help_tree(void)
{
	help_tree_text[0] = '\0';
	help_describe(help_dir, "", help_tree_text);
	return help_tree_text;
}

#define assert_tree(expected) assert_string_equal(help_tree(), expected)

static inline const char *help_at(const char *rel)
{
	static char at[HELP_PATH_MAX];

	snprintf(at, sizeof(at), "%s/%s", help_dir, rel);
	return at;
}

static inline void help_plant(const char *rel, const char *text)
{
	int fd = open(help_at(rel), O_WRONLY | O_CREAT | O_TRUNC, 0644);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
	close(fd);
}

/* -- the sink --------------------------------------------------------------------------------- */

static struct mirror_cfg help_cfg;

static inline int help_set_up(void **state)
{
	(void)state;
	snprintf(help_base, sizeof(help_base), "%s/etchlet-mirror-XXXXXX", HELP_TMP);
	if (!mkdtemp(help_base))
		return -1;
	snprintf(help_dir, sizeof(help_dir), "%s/m", help_base);
	loop_init(&help_loop);
	memset(&help_seen, 0, sizeof(help_seen));
	log_set_writer(help_log);
	help_cfg = (struct mirror_cfg){
		.loop = &help_loop,
		.watch_name = "w",
		.path = help_dir,
		.key = (const uint8_t *)"/c/",
		.key_len = 3,
		.mode = 0644,
		.is_relaxed = true,
		.backoff_min_ms = 1,
		.backoff_max_ms = 4,
	};
	return 0;
}

static inline int help_tear_down(void **state)
{
	(void)state;
	mirror_close(&help_mirror);
	help_wipe(help_base);
	return 0;
}

static inline int help_open_code(void)
{
	char why[256] = "";
	int err = mirror_open(&help_mirror, &help_cfg, why, sizeof(why));

	if (err)
		assert_true(why[0]);
	help_mirror.sink.wake = help_wake;
	help_mirror.sink.fail = help_fail;
	help_mirror.sink.relist = help_relist;
	help_mirror.sink.skip = help_skip;
	return err;
}

static inline void help_open(void)
{
	assert_int_equal(help_open_code(), 0);
}

static inline void help_stop(void)
{
	struct sink *s = &help_mirror.sink;

	s->ops->stop(s, 1000);
	assert_true(s->is_stopped);
	mirror_close(&help_mirror);
}

/* As an owner does it: the same call again when it is woken. is_patient: also after trouble. */
static bool help_is_patient = true;

/* Turns until wake() or relist() is called, or fail() when there is no patience. */
static inline void help_wait(void)
{
	int wakes = help_seen.wakes, relists = help_seen.relists, fails = help_seen.fails;

	for (int i = 0; help_seen.wakes == wakes && help_seen.relists == relists &&
			(help_is_patient || help_seen.fails == fails);
		i++) {
		assert_true(i < HELP_TURNS_MAX);
		assert_int_equal(loop_turn(&help_loop), 0);
	}
}

#define HELP_CALL(call) \
	do { \
		ssize_t err_ = (call); \
		if (err_ >= 0) \
			break; \
		if (err_ != ERR_AGAIN && err_ != ERR_BUSY && !help_is_patient) \
			return (int)err_; \
		int relists_ = help_seen.relists, fails_ = help_seen.fails; \
		help_wait(); \
		if (help_seen.relists != relists_) \
			return ERR_HISTORY; \
		if (!help_is_patient && help_seen.fails != fails_) \
			return help_seen.last_fail; \
	} while (1)

/* 0; ERR_HISTORY: it wants everything listed; or trouble, unless it is patient. */
static inline int help_event(const void *key, size_t key_len, const void *value, size_t len,
	bool is_delete, bool is_listed)
{
	struct sink *s = &help_mirror.sink;
	struct etcd_event e = {
		.type = is_delete ? ETCD_EVENT_DELETE : ETCD_EVENT_PUT,
		.is_listed = is_listed,
		.key = key,
		.key_len = key_len,
		.value_len = len,
		.mod_rev = 5,
	};
	const uint8_t *p = value;
	size_t taken = 0;

	HELP_CALL(s->ops->event(s, &e));
	while (taken < len) {
		ssize_t n = 0;
		size_t step = len - taken > 3000 ? 3000 : len - taken;

		HELP_CALL(n = s->ops->value(s, &e, ETCD_VALUE, p + taken, step));
		taken += (size_t)n;
	}
	HELP_CALL(s->ops->event_end(s, &e));
	return 0;
}

static inline int help_put(const char *key, const char *value)
{
	return help_event(key, strlen(key), value, strlen(value), false, false);
}

static inline int help_delete(const char *key)
{
	return help_event(key, strlen(key), "", 0, true, false);
}

static inline int help_list_begin(void)
{
	struct sink *s = &help_mirror.sink;
	struct sink_sync sync = {.reason = SYNC_FIRST, .revision = 9};

	HELP_CALL(s->ops->sync_begin(s, &sync));
	return 0;
}

static inline int help_list(const char *key, const char *value)
{
	return help_event(key, strlen(key), value, strlen(value), false, true);
}

static inline int help_list_end(void)
{
	struct sink *s = &help_mirror.sink;

	HELP_CALL(s->ops->synced(s, 9));
	s->ops->commit(s, 9);
	return 0;
}

#define must(call) assert_int_equal(call, 0)

/* -- the model -------------------------------------------------------------------------------- */

enum { MODEL_KEYS = 64, MODEL_VALUE_MAX = 32 };

/* What is there, and the tree that it is, by nothing but the rules. */
struct model {
	struct {
		const char *key; /* NULL: free */
		char value[MODEL_VALUE_MAX];
	} keys[MODEL_KEYS];
};

static inline void model_put(struct model *m, const char *key, const char *value)
{
	int at = -1;

	for (int i = 0; i < MODEL_KEYS; i++) {
		if (m->keys[i].key && strcmp(m->keys[i].key, key) == 0)
			at = i;
	}
	for (int i = 0; i < MODEL_KEYS && at < 0; i++) {
		if (!m->keys[i].key)
			at = i;
	}
	assert_true(at >= 0);
	m->keys[at].key = value ? key : NULL;
	if (value)
		snprintf(m->keys[at].value, MODEL_VALUE_MAX, "%s", value);
}

static inline int model_compare_lines(const void *a, const void *b)
{
	/* As a walk has it: '/' before every other byte. */
	const unsigned char *p = *(const unsigned char *const *)a;
	const unsigned char *q = *(const unsigned char *const *)b;

	while (*p && *p == *q) {
		p++;
		q++;
	}
	if (!*p || !*q)
		return (*p != 0) - (*q != 0);
	if (*p == '/' || *q == '/')
		return *p == '/' ? -1 : 1;
	return *p - *q;
}

static inline const char *model_tree(const struct model *m)
{
	static char text[HELP_TEXT_MAX];
	static char paths[MODEL_KEYS][512];
	static char lines[MODEL_KEYS][600];
	char *sorted[MODEL_KEYS];
	size_t n = 0;

	for (int i = 0; i < MODEL_KEYS; i++) {
		paths[i][0] = '\0';
		if (m->keys[i].key)
			(void)mirror_name_make((const uint8_t *)m->keys[i].key,
				strlen(m->keys[i].key), 3, paths[i], sizeof(paths[i]));
	}
	for (int i = 0; i < MODEL_KEYS; i++) {
		size_t len = strlen(paths[i]);
		bool is_folder = false;

		if (!len)
			continue;
		for (int k = 0; k < MODEL_KEYS; k++)
			is_folder |= strncmp(paths[k], paths[i], len) == 0 && paths[k][len] == '/';
		snprintf(lines[n], sizeof(lines[n]), "%.500s%s = %s\n", paths[i],
			is_folder ? "/%%" : "", m->keys[i].value);
		sorted[n] = lines[n];
		n++;
	}
	qsort(sorted, n, sizeof(sorted[0]), model_compare_lines);
	text[0] = '\0';
	for (size_t i = 0; i < n; i++)
		snprintf(text + strlen(text), sizeof(text) - strlen(text), "%s", sorted[i]);
	return text;
}

/* xorshift64* */
static uint64_t help_random_state = 1;

static inline uint32_t help_random(uint32_t below)
{
	help_random_state ^= help_random_state >> 12;
	help_random_state ^= help_random_state << 25;
	help_random_state ^= help_random_state >> 27;
	return (uint32_t)((help_random_state * 0x2545f4914f6cdd1dull) >> 33) % below;
}

#endif
