/* SPDX-License-Identifier: Apache-2.0 */
#include "cmd/cmd.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "base/log.h"
#include "port/port.h"

const struct cmd *cmd_find(const char *name)
{
	for (size_t i = 0; i < cmd_count; i++) {
		if (!strcmp(cmd_list[i].usage.name, name))
			return &cmd_list[i];
	}
	return NULL;
}

int cmd_tell(int status, const char *fmt, ...)
{
	static const char head[] = "etchlet: ";
	char line[sizeof(head) + CONF_WHY_MAX];
	size_t at = sizeof(head) - 1;
	va_list ap;
	int n;

	memcpy(line, head, at);
	va_start(ap, fmt);
	n = vsnprintf(line + at, sizeof(line) - at - 1, fmt, ap);
	va_end(ap);
	if (n > 0)
		at += (size_t)n;
	if (at > sizeof(line) - 2)
		at = sizeof(line) - 2;
	line[at++] = '\n';
	log_before();
	port_stderr_write(line, at);
	return status;
}

static void log_to_syslog(enum log_level level, const char *line, size_t len)
{
	port_syslog_write((int)level, line, len);
}

void cmd_log_setup(const struct conf *conf)
{
	log_set_level((enum log_level)conf->log_level);
	log_set_writer(conf->is_syslog ? log_to_syslog : NULL);
}

void cmd_log_warnings(const struct conf *conf)
{
	struct conf_warning w;

	for (unsigned i = 0; conf_warning(conf, i, &w); i++)
		log_warn("%s: %s; %s", w.about, w.what, w.advice);
}

int cmd_output_end(int status)
{
	bool has_failed = ferror(stdout) != 0;

	errno = 0;
	if (fflush(stdout) == 0 && !has_failed)
		return status;
	return cmd_tell(CMD_FAILED, "standard output: %s",
		errno ? err_text(err_from_errno(errno)) : "cannot be written");
}
