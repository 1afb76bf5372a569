/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The configuration: up to the first NUL the words of a command line, one per line; behind it the
 * file. It is taken, or refused with one line that a terminal can show.
 */
#define _GNU_SOURCE
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/err.h"
#include "conf/conf.h"

enum {
	WORDS_MAX = 24,
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static void require(int is_true)
{
	if (!is_true)
		abort();
}

static void check_line(const char *why)
{
	size_t n = strlen(why);

	require(n > 0 && n < CONF_WHY_MAX - 1);
	for (size_t i = 0; i < n; i++)
		require((uint8_t)why[i] >= 0x20 && why[i] != 0x7f);
}

static void check_taken(const struct conf *conf)
{
	require(conf->endpoint_count >= 1 && conf->endpoint_count <= CONFIG_CONF_ENDPOINT_COUNT);
	for (size_t i = 0; i < conf->endpoint_count; i++) {
		char text[CONF_ENDPOINT_TEXT_MAX];

		require(conf->endpoints[i].host[0] && conf->endpoints[i].port);
		require(strlen(conf_endpoint_format(text, &conf->endpoints[i])) < sizeof(text) - 1);
	}
	require(conf->idle_after_ms > conf->probe_interval_ms);
	require(conf->backoff_max_ms >= conf->backoff_min_ms && conf->backoff_min_ms > 0);
	require(!conf->user == !(conf->password || conf->password_path));
	require(!(conf->password && conf->password_path) && !conf->cert == !conf->key);
	for (size_t i = 0; i < conf->watch_count; i++) {
		const struct conf_watch *w = &conf->watches[i];

		require(w->name[0] && w->key.p && (w->mirror || w->exec || w->print));
		require(w->key.len <= CONFIG_ETCD_KEY_BYTES && !w->key.p[w->key.len]);
		for (char *const *word = w->exec; word && *word; word++)
			require(strlen(*word) < CONFIG_CONF_TEXT_BYTES);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	static const struct conf_command command = {"check", "", "", CONF_CHECK, 0, 0};
	static struct conf conf;
	static int fd = -1;
	const uint8_t *nul = memchr(data, 0, len);
	size_t words_len = nul ? (size_t)(nul - data) : len;
	char *words = malloc(words_len + 1), path[64];
	char *argv[WORDS_MAX + 5] = {"etchlet", "check", "-c", path};
	int argc = 4, r;

	if (fd < 0)
		fd = memfd_create("etchlet.conf", 0);
	require(fd >= 0 && words);
	require(ftruncate(fd, 0) == 0);
	if (nul)
		require(pwrite(fd, nul + 1, len - words_len - 1, 0) ==
			(ssize_t)(len - words_len - 1));
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	memcpy(words, data, words_len);
	words[words_len] = '\0';
	for (char *p = words; p && argc < WORDS_MAX + 4; argc++) {
		argv[argc] = p;
		p = strchr(p, '\n');
		if (p)
			*p++ = '\0';
	}
	if (words_len == 0)
		argc = 4;
	argv[argc] = NULL;
	(void)conf_command_find(argc, argv);
	r = conf_load(&conf, &command, argc, argv, 1);
	require(r == 0 || r == ERR_CONFIG || r == CONF_HELP);
	if (r == ERR_CONFIG)
		check_line(conf.why);
	if (r == 0)
		check_taken(&conf);
	free(words);
	return 0;
}
