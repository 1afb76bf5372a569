/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The fetch sink on a real folder with a web server that is not real, driven as its owner does it. Included by one file of
 * a test program, after what it wants of the clock.
 */
#ifndef ETCHLET_TEST_FETCH_HELPER_H
#define ETCHLET_TEST_FETCH_HELPER_H

#include <dirent.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "fake_http.h"
#include "sink/fetch.h"
#include "sink/fetch_private.h"

enum { HELP_TEXT_MAX = 65536, HELP_PATH_MAX = 512 };

static struct loop help_loop;
static struct fetch_sink help_fetch;
static struct fetch_cfg help_cfg;
static char help_base[64], help_dir[80], help_own[96];
static struct {
	int wakes, fails, relists, skips, moves, last_fail, warnings;
	char last_warning[1024];
} help_seen;

static inline void help_log(enum log_level level, const char *line, size_t len)
{
	if (level <= LOG_LEVEL_WARN) {
		help_seen.warnings++;
		snprintf(help_seen.last_warning, sizeof(help_seen.last_warning), "%.*s", (int)len,
			line);
	}
	if (getenv("FETCH_TEST_LOG"))
		fprintf(stderr, "%.*s\n", (int)len, line);
}

static inline void help_wake(struct sink *s)
{
	(void)s;
	help_seen.wakes++;
}

static inline void help_fail(struct sink *s, int err)
{
	(void)s;
	help_seen.fails++;
	help_seen.last_fail = err;
}

static inline void help_relist(struct sink *s)
{
	(void)s;
	help_seen.relists++;
}

static inline void help_skip(struct sink *s, const struct etcd_event *e)
{
	(void)s;
	(void)e;
	help_seen.skips++;
}

static inline void help_moved(void *user)
{
	(void)user;
	help_seen.moves++;
}

/* -- files ------------------------------------------------------------------------------------ */

static inline void help_wipe(const char *path)
{
	struct stat st;
	const struct dirent *e;
	DIR *d;

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

static inline const char *help_at(const char *folder, const char *name)
{
	static char at[HELP_PATH_MAX];

	snprintf(at, sizeof(at), "%s/%s", folder, name);
	return at;
}

static inline void help_plant(const char *folder, const char *name, const void *bytes, size_t len)
{
	int fd = open(help_at(folder, name), O_WRONLY | O_CREAT | O_TRUNC, 0644);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, bytes, len), len);
	close(fd);
}

/* Bytes of a file; -1: there is none. */
static inline long help_read(const char *folder, const char *name, void *dst, size_t cap)
{
	int fd = open(help_at(folder, name), O_RDONLY | O_NOFOLLOW);
	ssize_t n;

	if (fd < 0)
		return -1;
	n = read(fd, dst, cap);
	close(fd);
	return (long)n;
}

static inline bool help_is(const char *name, const void *bytes, size_t len)
{
	char *got = malloc(len + 1);
	long n = help_read(help_dir, name, got, len + 1);
	bool is_same = n == (long)len && memcmp(got, bytes, len) == 0;

	free(got);
	return is_same;
}

static inline int help_compare(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

/* The names in DIR, sorted, with a blank behind each. */
static inline const char *help_names(const char *folder)
{
	static char text[HELP_TEXT_MAX];
	char *names[512];
	const struct dirent *e;
	size_t n = 0;
	DIR *d = opendir(folder);

	assert_non_null(d);
	while ((e = readdir(d))) {
		if (e->d_name[0] != '.' && n < 512)
			names[n++] = strdup(e->d_name);
	}
	closedir(d);
	qsort(names, n, sizeof(names[0]), help_compare);
	text[0] = '\0';
	for (size_t i = 0; i < n; i++) {
		snprintf(text + strlen(text), sizeof(text) - strlen(text), "%s ", names[i]);
		free(names[i]);
	}
	return text;
}

/* -- the sink --------------------------------------------------------------------------------- */

static inline int help_set_up(void **state)
{
	(void)state;
	snprintf(help_base, sizeof(help_base), "%s/etchlet-fetch-XXXXXX",
		access("/dev/shm", W_OK) ? "/tmp" : "/dev/shm");
	if (!mkdtemp(help_base))
		return -1;
	snprintf(help_dir, sizeof(help_dir), "%s/d", help_base);
	snprintf(help_own, sizeof(help_own), "%s/.etchlet", help_dir);
	memset(&help_seen, 0, sizeof(help_seen));
	memset(&help_fetch, 0, sizeof(help_fetch));
	loop_init(&help_loop);
	fake_http_reset();
	log_set_writer(help_log);
	if (getenv("FETCH_TEST_LOG"))
		log_set_level(LOG_LEVEL_DEBUG);
	help_cfg = (struct fetch_cfg){
		.loop = &help_loop,
		.watch_name = "w",
		.path = help_dir,
		.mode = 0640,
		.max_len = 1 << 30,
		.timeout_ms = 30000,
		.connect_timeout_ms = 5000,
		.http = {.loop = &help_loop},
		.is_relaxed = true,
		.backoff_min_ms = 100,
		.backoff_max_ms = 3000,
		.moved = help_moved,
	};
	return 0;
}

static inline int help_tear_down(void **state)
{
	(void)state;
	fetch_close(&help_fetch);
	help_wipe(help_base);
	return 0;
}

static inline int help_open_code(void)
{
	char why[512] = "";
	int err = fetch_open(&help_fetch, &help_cfg, why, sizeof(why));

	if (err)
		assert_true(why[0]);
	help_fetch.sink.wake = help_wake;
	help_fetch.sink.fail = help_fail;
	help_fetch.sink.relist = help_relist;
	help_fetch.sink.skip = help_skip;
	return err;
}

static inline void help_open(void)
{
	assert_int_equal(help_open_code(), 0);
}

static inline void help_stop(void)
{
	struct sink *s = &help_fetch.sink;

	(void)s->ops->settle(s);
	s->ops->stop(s, 1000);
	assert_true(s->is_stopped);
	fetch_close(&help_fetch);
}

/* An event in pieces of `piece` bytes. 0 or what a call has answered. */
static inline int help_give(const char *key, const char *value, int64_t rev, bool is_delete,
	bool is_listed, size_t piece)
{
	struct sink *s = &help_fetch.sink;
	size_t len = strlen(value);
	struct etcd_event e = {
		.type = is_delete ? ETCD_EVENT_DELETE : ETCD_EVENT_PUT,
		.is_listed = is_listed,
		.key = (const uint8_t *)key,
		.key_len = strlen(key),
		.value_len = len,
		.mod_rev = rev,
	};
	int err = s->ops->event(s, &e);

	for (size_t at = 0; at < len && !err;) {
		size_t n = len - at < piece ? len - at : piece;
		ssize_t took = s->ops->value(s, &e, ETCD_VALUE, (const uint8_t *)value + at, n);

		if (took < 0)
			err = (int)took;
		else
			at += (size_t)took;
	}
	return err ? err : s->ops->event_end(s, &e);
}

static inline int help_put(const char *key, const char *value, int64_t rev)
{
	int err = help_give(key, value, rev, false, false, 100);

	if (!err)
		help_fetch.sink.ops->commit(&help_fetch.sink, rev);
	return err;
}

static inline int help_delete(const char *key, int64_t rev)
{
	int err = help_give(key, "", rev, true, false, 100);

	if (!err)
		help_fetch.sink.ops->commit(&help_fetch.sink, rev);
	return err;
}

static inline int help_list_begin(int64_t rev)
{
	struct sink_sync sync = {.reason = SYNC_FIRST, .revision = rev};
	int err = help_fetch.sink.ops->sync_begin(&help_fetch.sink, &sync);

	help_fetch.sink.done_rev = 0; /* as the owner does */
	return err;
}

static inline int help_list_end(int64_t rev)
{
	int err = help_fetch.sink.ops->synced(&help_fetch.sink, rev);

	if (!err)
		help_fetch.sink.ops->commit(&help_fetch.sink, rev);
	return err;
}

#define must(call) assert_int_equal(call, 0)

/* A value: size below 0 and name NULL are left out. */
static inline const char *help_value(
	const char *url, const void *body, size_t len, int64_t size, const char *name)
{
	static char text[8][4096];
	static unsigned turn;
	char *dst = text[turn++ % 8];
	uint8_t digest[TLS_SHA256_LEN];
	struct tls_sha256 sha;
	int n;

	tls_sha256_begin(&sha);
	tls_sha256_update(&sha, body, len);
	assert_int_equal(tls_sha256_end(&sha, digest), 0);
	n = snprintf(dst, 4096, "{\"url\":\"%s\",\"sha256\":\"", url);
	for (int i = 0; i < TLS_SHA256_LEN; i++)
		n += snprintf(dst + n, 4096 - (size_t)n, "%02x", digest[i]);
	n += snprintf(dst + n, 4096 - (size_t)n, "\"");
	if (size >= 0)
		n += snprintf(dst + n, 4096 - (size_t)n, ",\"size\":%lld", (long long)size);
	if (name)
		n += snprintf(dst + n, 4096 - (size_t)n, ",\"name\":\"%s\"", name);
	snprintf(dst + n, 4096 - (size_t)n, "}");
	return dst;
}

/* xorshift64*: bytes that do not repeat. */
static inline void help_fill(uint8_t *dst, size_t len, uint64_t seed)
{
	for (size_t i = 0; i < len; i++) {
		seed ^= seed >> 12;
		seed ^= seed << 25;
		seed ^= seed >> 27;
		dst[i] = (uint8_t)((seed * 0x2545f4914f6cdd1dull) >> 56);
	}
}

#endif
