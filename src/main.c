/* SPDX-License-Identifier: Apache-2.0 */
/* Finds the command, has its words and the configuration read, and runs it. */
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "cmd/cmd.h"
#include "port/port.h"

/* clang-format off */
const struct cmd cmd_list[] = {
	{{"run", "", "keep every [watch] of the configuration file in step",
		CONF_RUN, 0, 0}, cmd_run},
	{{"watch", "KEY [RANGE_END] [-- CMD ARG...]", "print the events of KEY, resumable",
		CONF_WATCH, 1, 2}, cmd_watch},
	{{"get", "KEY [RANGE_END]", "print the keys as they are",
		CONF_GET, 1, 2}, cmd_get},
	{{"check", "", "test the configuration and every endpoint, change nothing",
		CONF_CHECK, 0, 0}, cmd_check},
#ifdef CONFIG_CMD_STATUS
	{{"status", "", "ask the running agent how it is",
		CONF_STATUS, 0, 0}, cmd_status},
#endif
#ifdef CONFIG_CMD_STATE
	{{"state", "FILE", "print what a state file holds, and its wear",
		CONF_STATE, 1, 1}, cmd_state},
#endif
	{{"version", "", "print version, build options, library versions",
		CONF_VERSION, 0, 0}, cmd_version},
	{{"help", "[COMMAND]", "print this, or the options of COMMAND",
		CONF_HELPING, 0, 1}, cmd_help},
};
/* clang-format on */

const size_t cmd_count = sizeof(cmd_list) / sizeof(cmd_list[0]);

static bool is_help(const char *word)
{
	return !strcmp(word, "--help") || !strcmp(word, "-h");
}

/* There is no command: help, version as many programs have it, or a mistake. */
static int no_command(int argc, char *argv[])
{
	if (argc == 1) {
		cmd_help_overview(true);
		return CMD_USAGE;
	}
	if (argc == 2 && !strcmp(argv[1], "--version"))
		return cmd_version(NULL);
	for (int i = 1; i < argc; i++) {
		if (is_help(argv[i])) {
			cmd_help_overview(false);
			return cmd_output_end(CMD_DONE);
		}
	}
	return cmd_tell(CMD_USAGE, "there is no command (see 'etchlet help')");
}

static int run(const struct cmd *cmd, struct conf *conf)
{
	cmd_log_setup(conf);
	/* check tells them in its own way, and the others have none. */
	if (cmd->run != cmd_check)
		cmd_log_warnings(conf);
	return cmd->run(conf);
}

int main(int argc, char *argv[])
{
	static struct conf conf;
	int at, r, status;
	const struct cmd *cmd;
	char shown[CMD_SHOW_MAX];

	if (port_std_open() < 0)
		return CMD_FAILED;
	at = conf_command_find(argc, argv);
	if (at >= argc)
		return no_command(argc, argv);
	cmd = cmd_find(argv[at]);
	if (!cmd)
		return cmd_tell(CMD_USAGE, "unknown command '%s' (see 'etchlet help')",
			log_show(shown, sizeof(shown), argv[at], strlen(argv[at])));
	r = conf_load(&conf, &cmd->usage, argc, argv, at);
	if (r == CONF_HELP) {
		cmd_help_command(&cmd->usage);
		return cmd_output_end(CMD_DONE);
	}
	status = r < 0 ? cmd_tell(CMD_USAGE, "%s", conf.why) : run(cmd, &conf);
	conf_wipe(&conf);
	return status;
}
