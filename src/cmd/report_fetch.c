/* SPDX-License-Identifier: Apache-2.0 */
#include "cmd/report_fetch.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"

enum {
	AMOUNT_MAX = 40, /* bytes of an amount, NUL included */
};

struct unit {
	uint64_t from;
	const char *name;
};

/* The largest one that n has at least one of. */
static const struct unit *unit_of(uint64_t n)
{
	static const struct unit units[] = {{UINT64_C(1) << 30, "GiB"}, {UINT64_C(1) << 20, "MiB"},
		{UINT64_C(1) << 10, "KiB"}, {0, "bytes"}};
	size_t i = 0;

	while (n < units[i].from)
		i++;
	return &units[i];
}

/* "12.3", in that unit. */
static const char *amount(char dst[AMOUNT_MAX], uint64_t n, const struct unit *unit)
{
	if (unit->from)
		(void)snprintf(dst, AMOUNT_MAX, "%" PRIu64 ".%" PRIu64, n / unit->from,
			n % unit->from * 10 / unit->from);
	else
		(void)snprintf(dst, AMOUNT_MAX, "%" PRIu64, n);
	return dst;
}

static void add(char dst[REPORT_FETCH_LINE_MAX], const char *before, const char *text)
{
	size_t len = strlen(dst);

	(void)snprintf(dst + len, REPORT_FETCH_LINE_MAX - len, "%s%s", before, text);
}

static unsigned percent_of(const struct fetch_progress *p)
{
	uint64_t bytes = p->bytes < p->size ? p->bytes : p->size;

	/* In a way that no size can overflow. */
	return (unsigned)(p->size > 1000000 ? bytes / (p->size / 100) : bytes * 100 / p->size);
}

static void add_amounts(char dst[REPORT_FETCH_LINE_MAX], const struct fetch_progress *p)
{
	const struct unit *unit = unit_of(p->size ? p->size : p->bytes);
	char number[AMOUNT_MAX], percent[16];

	if (p->size) {
		unsigned n = percent_of(p);

		(void)snprintf(percent, sizeof(percent), "%u %%", n < 100 ? n : 100);
		add(dst, "  ", percent);
	}
	add(dst, "  ", amount(number, p->bytes, unit));
	if (p->size)
		add(dst, " of ", amount(number, p->size, unit));
	add(dst, " ", unit->name);
}

static void add_speed(char dst[REPORT_FETCH_LINE_MAX], const struct fetch_progress *p)
{
	const struct unit *unit = unit_of(p->rate_bytes_s);
	char number[AMOUNT_MAX];

	add(dst, "  ", amount(number, p->rate_bytes_s, unit));
	add(dst, " ", unit->name);
	add(dst, "/s", "");
	if (p->eta_s < 0)
		return;
	if (p->eta_s < 120)
		(void)snprintf(number, sizeof(number), "%" PRId64 " s", p->eta_s);
	else if (p->eta_s < 7200)
		(void)snprintf(number, sizeof(number), "%" PRId64 " min", p->eta_s / 60);
	else
		(void)snprintf(number, sizeof(number), "%" PRId64 " h", p->eta_s / 3600);
	add(dst, "  ", number);
	add(dst, " left", "");
}

bool report_fetch_is_loading(const struct fetch_progress *p)
{
	return !strcmp(p->state, "loading");
}

const char *report_fetch_line(
	char dst[REPORT_FETCH_LINE_MAX], const struct fetch_progress *p, size_t text_size)
{
	const char *what = p->name[0] ? p->name : p->key;
	char shown[LOG_SHOW_MAX];

	dst[0] = '\0';
	add(dst, "", log_show(shown, text_size, what, strlen(what)));
	if (report_fetch_is_loading(p)) {
		add_amounts(dst, p);
		add_speed(dst, p);
		return dst;
	}
	add(dst, "  ", p->state);
	if (p->why[0])
		add(dst, ": ", log_show(shown, text_size, p->why, strlen(p->why)));
	return dst;
}
