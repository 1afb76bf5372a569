/* SPDX-License-Identifier: Apache-2.0 */
/* What the tests of the configuration share: commands, a temporary file, loading it. */
#ifndef ETCHLET_TEST_CONF_HELPER_H
#define ETCHLET_TEST_CONF_HELPER_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/err.h"
#include "conf/conf.h"

enum {
	HELPER_WORDS_MAX = 32,
};

static const struct conf_command command_watch = {
	"watch", "KEY [RANGE_END] [-- CMD ARG...]", "", CONF_WATCH, 1, 2};
static const struct conf_command command_get = {"get", "KEY [RANGE_END]", "", CONF_GET, 1, 2};
static const struct conf_command command_check = {"check", "", "", CONF_CHECK, 0, 0};

/* A file that is there as long as the test runs. */
static char helper_path[] = "/tmp/etchlet-conf-XXXXXX";

static inline int helper_setup(void **state)
{
	int fd = mkstemp(helper_path);

	(void)state;
	return fd < 0 || close(fd) < 0;
}

static inline int helper_teardown(void **state)
{
	(void)state;
	return unlink(helper_path);
}

static inline void helper_write(const void *text, size_t len)
{
	FILE *f = fopen(helper_path, "w");

	assert_non_null(f);
	assert_int_equal(fwrite(text, 1, len, f), len);
	assert_int_equal(fclose(f), 0);
}

/* words: separated by single blanks, so that none can be empty; kept until the next call. */
static inline int helper_load(
	struct conf *conf, const struct conf_command *command, const char *words)
{
	static char text[2048];
	static char *argv[HELPER_WORDS_MAX + 1];
	int argc = 0, at;

	snprintf(text, sizeof(text), "etchlet %s", words);
	for (char *p = text; p && argc < HELPER_WORDS_MAX; argc++) {
		argv[argc] = p;
		p = strchr(p, ' ');
		if (p)
			*p++ = '\0';
	}
	argv[argc] = NULL;
	at = conf_command_find(argc, argv);
	assert_true(at < argc);
	assert_string_equal(argv[at], command->name);
	return conf_load(conf, command, argc, argv, at);
}

/* check with this text as its file. */
static inline int helper_check_bytes(struct conf *conf, const void *text, size_t len)
{
	char words[64];

	helper_write(text, len);
	snprintf(words, sizeof(words), "check -c %s", helper_path);
	return helper_load(conf, &command_check, words);
}

static inline int helper_check(struct conf *conf, const char *text)
{
	return helper_check_bytes(conf, text, strlen(text));
}

#endif
