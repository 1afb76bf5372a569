/* SPDX-License-Identifier: Apache-2.0 */
/* What is said of a mistake: the file and line or the option, the word, and what is wrong with it. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "base/log.h"
#include "conf/options.h"

enum {
	/* Of a word or a path in a message; both and the reason are below CONF_WHY_MAX. */
	SHOW_MAX = 260,
};

static size_t why_clamp(size_t n, int added)
{
	n += added > 0 ? (size_t)added : 0;
	return n < CONF_WHY_MAX ? n : CONF_WHY_MAX - 1;
}

__attribute__((format(printf, 3, 4))) static size_t why_add(
	struct conf *conf, size_t n, const char *fmt, ...)
{
	va_list ap;
	int added;

	va_start(ap, fmt);
	added = vsnprintf(conf->why + n, CONF_WHY_MAX - n, fmt, ap);
	va_end(ap);
	return why_clamp(n, added);
}

int conf_fail(const struct conf_at *at, const char *fmt, ...)
{
	struct conf *conf = at->conf;
	const struct conf_option *o = at->option;
	char text[SHOW_MAX];
	size_t n = 0;
	va_list ap;

	if (at->line) {
		log_show(text, sizeof(text), conf->config_path, strlen(conf->config_path));
		n = why_add(conf, n, "%s:%u: ", text, (unsigned)at->line);
	}
	if (o)
		n = why_add(conf, n, "%s%s: ", at->line ? "" : "--", o->name);
	if (at->value && !(o && (o->flags & CONF_SECRET))) {
		log_show(text, sizeof(text), at->value, at->len);
		n = why_add(conf, n, "'%s' ", text);
	}
	va_start(ap, fmt);
	n = why_clamp(n, vsnprintf(conf->why + n, CONF_WHY_MAX - n, fmt, ap));
	va_end(ap);
	if (!at->line)
		why_add(conf, n, " (see 'etchlet help %s')", conf->command->name);
	return ERR_CONFIG;
}

struct conf_at conf_at_option(struct conf *conf, enum conf_option_index i)
{
	uint16_t where = conf->where[i];

	return (struct conf_at){.conf = conf,
		.line = where == CONF_WHERE_ARGV ? 0 : where,
		.option = &conf_options[i]};
}

int conf_fail_option(struct conf *conf, enum conf_option_index i, const char *why)
{
	struct conf_at at = conf_at_option(conf, i);

	return conf_fail(&at, "%s", why);
}

int conf_fail_room(const struct conf_at *at)
{
	return conf_fail(at, "does not fit into the %d bytes for text", CONFIG_CONF_TEXT_BYTES);
}

int conf_refuse(struct conf *conf, const char *option, const char *fmt, ...)
{
	const struct conf_option *o =
		conf_option_find(conf_options, CONF_OPTION_COUNT, option, strlen(option));
	char why[CONF_WHY_MAX];
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(why, sizeof(why), fmt, ap);
	va_end(ap);
	return conf_fail_option(conf, (enum conf_option_index)(o - conf_options), why);
}

int conf_refuse_watch(struct conf *conf, const struct conf_watch *w, const char *option,
	const char *value, const char *fmt, ...)
{
	const struct conf_option *o = conf_option_find(
		conf_watch_options, CONF_WATCH_OPTION_COUNT, option, strlen(option));
	uint16_t line = w->lines[o - conf_watch_options];
	const struct conf_at at = {.conf = conf,
		.line = line ? line : w->line,
		.option = o,
		.value = value,
		.len = value ? strlen(value) : 0};
	char why[CONF_WHY_MAX];
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(why, sizeof(why), fmt, ap);
	va_end(ap);
	return conf_fail(&at, "%s", why);
}

int conf_refuse_file(struct conf *conf, const char *why)
{
	static const uint8_t options[] = {CONF_O_CACERT, CONF_O_CERT, CONF_O_KEY};

	for (size_t i = 0; i < sizeof(options); i++) {
		const char *path = *(
			const char *const *)((const char *)conf + conf_options[options[i]].offset);
		size_t len = path ? strlen(path) : 0;

		if (path && !strncmp(why, path, len) && why[len] == ':')
			return conf_fail_option(conf, options[i], why);
	}
	(void)snprintf(conf->why, sizeof(conf->why), "%s", why);
	return ERR_CONFIG;
}
