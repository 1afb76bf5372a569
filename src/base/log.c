/* SPDX-License-Identifier: Apache-2.0 */
#include "base/log.h"

#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "base/utf8.h"
#include "port/port.h"

static enum log_level log_level = LOG_LEVEL_INFO;
static log_writer *log_write_line;

static const char *const log_names[] = {
	[LOG_LEVEL_ERROR] = "error",
	[LOG_LEVEL_WARN] = "warn",
	[LOG_LEVEL_INFO] = "info",
	[LOG_LEVEL_DEBUG] = "debug",
};

void log_set_level(enum log_level level)
{
	log_level = level;
}

enum log_level log_get_level(void)
{
	return log_level;
}

void log_set_writer(log_writer *writer)
{
	log_write_line = writer;
}

int log_is_on(enum log_level level)
{
	return level <= log_level;
}

void log_printf(enum log_level level, const char *fmt, ...)
{
	char line[LOG_LINE_MAX];
	size_t head = 0, len;
	va_list ap;
	int n;

	if (!log_is_on(level))
		return;
	if (!log_write_line) {
		n = snprintf(line, sizeof(line), "etchlet: %s: ", log_names[level]);
		head = n > 0 ? (size_t)n : 0;
	}
	va_start(ap, fmt);
	n = vsnprintf(line + head, sizeof(line) - head - 1, fmt, ap);
	va_end(ap);
	if (n < 0)
		return;
	len = head + (size_t)n;
	if (len > sizeof(line) - 2)
		len = sizeof(line) - 2;
	if (log_write_line) {
		log_write_line(level, line, len);
		return;
	}
	line[len++] = '\n';
	port_stderr_write(line, len);
}

char *log_show(char *dst, size_t cap, const void *src, size_t len)
{
	static const char hex[] = "0123456789ABCDEF";
	static const char cut[] = "...";
	const uint8_t *p = src;
	size_t in = 0, out = 0;

	if (cap <= sizeof(cut)) {
		if (cap)
			dst[0] = '\0';
		return dst;
	}
	cap = (cap < LOG_SHOW_MAX ? cap : LOG_SHOW_MAX) - sizeof(cut);
	while (in < len) {
		size_t n = utf8_sequence_len(p + in, len - in);
		bool is_plain = n && p[in] >= 0x20 && p[in] != 0x7f;

		if (out + (is_plain ? n : 4) > cap)
			break;
		if (is_plain) {
			memcpy(dst + out, p + in, n);
			out += n;
			in += n;
		} else {
			const char escape[] = {'\\', 'x', hex[p[in] >> 4], hex[p[in] & 15]};

			memcpy(dst + out, escape, sizeof(escape));
			out += sizeof(escape);
			in++;
		}
	}
	memcpy(dst + out, in < len ? cut : "", in < len ? sizeof(cut) : 1);
	return dst;
}
