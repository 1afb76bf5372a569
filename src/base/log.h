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

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum log_level {
	LOG_LEVEL_ERROR,
	LOG_LEVEL_WARN,
	LOG_LEVEL_INFO,
	LOG_LEVEL_DEBUG,
};

enum {
	LOG_LINE_MAX = 1024, /* bytes of one line, its end included */
	LOG_LIMIT_MS = 10000, /* between two lines of one cause, where that is limited */
	LOG_SHOW_BYTES = 256, /* what is shown of a foreign text */
	LOG_SHOW_MAX = LOG_SHOW_BYTES + 4, /* with "..." and NUL */
};

/* Where lines go: called once per line, without a line end. The default writes standard error. */
typedef void log_writer(enum log_level level, const char *line, size_t len);

void log_set_level(enum log_level level);
enum log_level log_get_level(void);

/* NULL: standard error again. */
void log_set_writer(log_writer *writer);

/* Called before each line that is written to standard error: takes away what stands there and is no line. NULL: nobody. */
void log_set_before(void (*before)(void));
/* The same for who writes there past the log. */
void log_before(void);

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
 * For lines that an event, or a peer that means harm, can bring about again and again: of one cause one line in
 * LOG_LIMIT_MS. The next one tells how many were not shown. All zero at first.
 */
struct log_limit {
	int64_t told_ms; /* when the last one was */
	uint32_t hidden; /* since then */
	bool is_begun;
};

/* Whether it was written: who tells of trouble and its end tells the end only of what was told. */
bool log_printf_limited(struct log_limit *limit, enum log_level level, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/* With a limit of its own for each place in the code. */
#define log_limited(level, ...) \
	do { \
		static struct log_limit log_limit_here; \
		(void)log_printf_limited(&log_limit_here, level, __VA_ARGS__); \
	} while (0)

#define log_warn_limited(...) log_limited(LOG_LEVEL_WARN, __VA_ARGS__)
#define log_info_limited(...) log_limited(LOG_LEVEL_INFO, __VA_ARGS__)

/*
 * Makes foreign text fit to be shown: bytes below 0x20, 0x7f and what is not valid UTF-8 come out
 * as \xNN; after LOG_SHOW_BYTES of that it is cut, never inside an escape or a character, and "..."
 * ends it. cap: LOG_SHOW_MAX, or less to cut earlier. dst is always terminated. Returns dst.
 */
char *log_show(char *dst, size_t cap, const void *src, size_t len);

#endif
