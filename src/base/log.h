/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One log line per happening: what happened, to what, and what follows.
 *
 * A line goes to standard error (with its level in front, for an init system adds the time) or to
 * syslog. It is cut at LOG_LINE_MAX bytes, never holds a value or a secret, and text that came from
 * the network goes through log_show() first.
 */
#ifndef ETCHLET_BASE_LOG_H
#define ETCHLET_BASE_LOG_H

#include <stddef.h>

enum log_level {
	LOG_LEVEL_ERROR,
	LOG_LEVEL_WARN,
	LOG_LEVEL_INFO,
	LOG_LEVEL_DEBUG,
};

enum {
	LOG_LINE_MAX = 1024, /* bytes of one line, its end included */
	LOG_SHOW_BYTES = 256, /* what is shown of a foreign text */
	LOG_SHOW_MAX = LOG_SHOW_BYTES + 4, /* with "..." and NUL */
};

/* Where lines go: called once per line, without a line end. The default writes standard error. */
typedef void log_writer(enum log_level level, const char *line, size_t len);

void log_set_level(enum log_level level);
enum log_level log_get_level(void);

/* NULL: standard error again. */
void log_set_writer(log_writer *writer);

/* Whether a line of this level would be written at all. */
int log_is_on(enum log_level level);

void log_printf(enum log_level level, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

#define log_error(...) log_printf(LOG_LEVEL_ERROR, __VA_ARGS__)
#define log_warn(...) log_printf(LOG_LEVEL_WARN, __VA_ARGS__)
#define log_info(...) log_printf(LOG_LEVEL_INFO, __VA_ARGS__)
#define log_debug(...) \
	do { \
		if (log_is_on(LOG_LEVEL_DEBUG)) \
			log_printf(LOG_LEVEL_DEBUG, __VA_ARGS__); \
	} while (0)

/*
 * Makes foreign text fit to be shown: bytes below 0x20, 0x7f and what is not valid UTF-8 come out
 * as \xNN; after LOG_SHOW_BYTES of that it is cut, never inside an escape or a character, and "..."
 * ends it. cap: LOG_SHOW_MAX, or less to cut earlier. dst is always terminated. Returns dst.
 */
char *log_show(char *dst, size_t cap, const void *src, size_t len);

#endif
