/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The commands. Each gets what the user asked for and returns the exit status: 0 done, 1 failed for
 * good, 2 wrong usage or configuration, with one line on standard error unless it is 0.
 */
#ifndef ETCHLET_CMD_CMD_H
#define ETCHLET_CMD_CMD_H

#include <stdbool.h>
#include <stddef.h>

#include "conf/conf.h"

enum {
	CMD_DONE = 0,
	CMD_FAILED = 1,
	CMD_USAGE = 2,

	CMD_SHOW_MAX = 300, /* of a word of the user's in a message: log_show() cuts there */
};

struct cmd {
	struct conf_command usage;
	int (*run)(struct conf *conf);
};

/* In the order in which help lists them; stands in main.c. */
extern const struct cmd cmd_list[];
extern const size_t cmd_count;

/* NULL when there is none of that name. */
const struct cmd *cmd_find(const char *name);

/* "etchlet: LINE" on standard error. Returns status. */
int cmd_tell(int status, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* After the last output through stdio: status, or CMD_FAILED and a line when not all could be
 * written. */
int cmd_output_end(int status);

/* What help prints without a word, on standard error when is_error. */
void cmd_help_overview(bool is_error);
/* What help COMMAND prints. */
void cmd_help_command(const struct conf_command *command);

/* Level and place of the log, as the user wants them. */
void cmd_log_setup(const struct conf *conf);
/* A line for what is allowed and seldom wise. */
void cmd_log_warnings(const struct conf *conf);

int cmd_run(struct conf *conf);
int cmd_watch(struct conf *conf);
int cmd_get(struct conf *conf);
int cmd_check(struct conf *conf);
int cmd_status(struct conf *conf);
int cmd_state(struct conf *conf);
int cmd_version(struct conf *conf);
int cmd_help(struct conf *conf);

#endif
