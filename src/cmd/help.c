/* SPDX-License-Identifier: Apache-2.0 */
#include "cmd/cmd.h"

#include <stdio.h>
#include <string.h>

#include "base/log.h"

enum {
	COMMAND_COLUMNS = 8,
};

static void write_stdout(void *user, const char *text, size_t len)
{
	(void)user;
	/* cmd_output_end() looks whether it could be written. */
	(void)fwrite(text, 1, len, stdout);
}

static const char *options_of(const struct conf_command *c)
{
	return c->set & (CONF_HELPING | CONF_VERSION) ? "" : " [options]";
}

static const char *blank_before(const char *text)
{
	return *text ? " " : "";
}

void cmd_help_overview(bool is_error)
{
	FILE *f = is_error ? stderr : stdout;

	(void)fputs("Follows keys of etcd, and resumes where it was.\n\nUsage:\n", f);
	for (size_t i = 0; i < cmd_count; i++) {
		const struct conf_command *c = &cmd_list[i].usage;

		(void)fprintf(f, "  etchlet %-*s%s%s%s\n", COMMAND_COLUMNS - 1, c->name,
			options_of(c), blank_before(c->operands), c->operands);
		(void)fprintf(f, "  %*s%s\n", COMMAND_COLUMNS + 8, "", c->summary);
	}
	(void)fputs("\nThe options of a command: etchlet help COMMAND\n", f);
}

void cmd_help_command(const struct conf_command *c)
{
	(void)printf("Usage: etchlet %s%s%s%s\n\nTo %s.\n", c->name, options_of(c),
		blank_before(c->operands), c->operands, c->summary);
	conf_help(c->set, write_stdout, NULL);
}

int cmd_help(struct conf *conf)
{
	char shown[CMD_SHOW_MAX];
	const struct cmd *cmd;

	if (!conf->operand_count) {
		cmd_help_overview(false);
		return cmd_output_end(CMD_DONE);
	}
	cmd = cmd_find(conf->operands[0]);
	if (!cmd)
		return cmd_tell(CMD_USAGE, "unknown command '%s' (see 'etchlet help')",
			log_show(shown, sizeof(shown), conf->operands[0],
				strlen(conf->operands[0])));
	cmd_help_command(&cmd->usage);
	return cmd_output_end(CMD_DONE);
}
