/* SPDX-License-Identifier: Apache-2.0 */
#include "base/log.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "base/utf8.h"
#include "port/port.h"

static enum log_level log_level = LOG_LEVEL_INFO;
static log_writer *log_write_line;
static void (*log_call_before)(void);

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

void log_set_before(void (*before)(void))
{
	log_call_before = before;
}

void log_before(void)
{
	if (log_call_before)
		log_call_before();
}

int log_is_on(enum log_level level)
{
	return level <= log_level;
}

/* Writes one line; tail stands at its end, however long the rest is. */
static void log_vprintf(enum log_level level, const char *tail, const char *fmt, va_list ap)
	__attribute__((format(printf, 3, 0)));

static void log_vprintf(enum log_level level, const char *tail, const char *fmt, va_list ap)
{
	char line[LOG_LINE_MAX];
	size_t tail_len = strlen(tail);
	size_t head = 0, len;
	int n;

	if (!log_write_line) {
		n = snprintf(line, sizeof(line), "etchlet: %s: ", log_names[level]);
		head = n > 0 ? (size_t)n : 0;
	}
	n = vsnprintf(line + head, sizeof(line) - head - 1, fmt, ap);
	if (n < 0)
		return;
	len = head + (size_t)n;
	if (len > sizeof(line) - 2 - tail_len)
		len = sizeof(line) - 2 - tail_len;
	memcpy(line + len, tail, tail_len + 1);
	len += tail_len;
	if (log_write_line) {
		log_write_line(level, line, len);
		return;
	}
	line[len++] = '\n';
	log_before();
	port_stderr_write(line, len);
}

void log_printf(enum log_level level, const char *fmt, ...)
{
	va_list ap;

	if (!log_is_on(level))
		return;
	va_start(ap, fmt);
	log_vprintf(level, "", fmt, ap);
	va_end(ap);
}

bool log_printf_limited(struct log_limit *limit, enum log_level level, const char *fmt, ...)
{
	char tail[64] = "";
	int64_t now_ms;
	va_list ap;

	if (!log_is_on(level))
		return false;
	now_ms = port_now_ms();
	if (limit->is_begun && now_ms - limit->told_ms < LOG_LIMIT_MS) {
		if (limit->hidden < UINT32_MAX)
			limit->hidden++;
		return false;
	}
	if (limit->hidden)
		snprintf(tail, sizeof(tail), " (%" PRIu32 " more like it %s not shown)",
			limit->hidden, limit->hidden == 1 ? "was" : "were");
	*limit = (struct log_limit){.told_ms = now_ms, .is_begun = true};
	va_start(ap, fmt);
	log_vprintf(level, tail, fmt, ap);
	va_end(ap);
	return true;
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
