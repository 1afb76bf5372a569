/* SPDX-License-Identifier: Apache-2.0 */
#include "conf/value.h"

#include <stdbool.h>
#include <string.h>

static const char why_range[] = "is out of range";

static const struct {
	char name[4];
	uint64_t ns;
} units[] = {
	{"ns", 1},
	{"us", 1000},
	{"ms", 1000000},
	{"s", 1000000000},
	{"m", 60 * UINT64_C(1000000000)},
	{"h", 3600 * UINT64_C(1000000000)},
};

/* 100 years of 8760 hours. 60 times as much still fits: nothing below overflows. */
static const uint64_t duration_max_ns = 100 * UINT64_C(8760) * 3600 * 1000000000;

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

/* Digits in the given base; how many there were. *out stays at or below max, or *is_over is set. */
static size_t digits_parse(
	uint64_t *out, bool *is_over, const char *p, size_t len, unsigned base, uint64_t max)
{
	size_t n;

	*out = 0;
	*is_over = false;
	for (n = 0; n < len && is_digit(p[n]) && p[n] < (char)('0' + base); n++) {
		uint64_t digit = (uint64_t)(p[n] - '0');

		if (*out > (max - digit) / base || digit > max)
			*is_over = true;
		else
			*out = *out * base + digit;
	}
	return n;
}

/* The unit at p and how long its name is; 0: none. */
static uint64_t unit_parse(const char *p, size_t len, size_t *name_len)
{
	for (*name_len = 0; *name_len < len; ++*name_len) {
		if (is_digit(p[*name_len]) || p[*name_len] == '.')
			break;
	}
	for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++) {
		if (strlen(units[i].name) == *name_len && !memcmp(units[i].name, p, *name_len))
			return units[i].ns;
	}
	return 0;
}

const char *conf_duration_parse(int64_t *out_ms, const char *p, size_t len)
{
	static const char why[] = "is not a time such as 500ms, 5s, 10m or 1h30m";
	uint64_t sum_ns = 0;
	size_t at = 0;

	if (!len)
		return why;
	while (at < len) {
		uint64_t whole, unit, part_ns = 0, scale;
		size_t digits, name_len, fraction;
		bool is_over;

		digits = digits_parse(&whole, &is_over, p + at, len - at, 10, duration_max_ns);
		at += digits;
		fraction = at;
		if (at < len && p[at] == '.') {
			for (at++; at < len && is_digit(p[at]); at++)
				digits++;
		}
		if (!digits)
			return why;
		if (at == len)
			return "needs a unit, such as 500ms, 5s, 10m or 1h30m";
		unit = unit_parse(p + at, len - at, &name_len);
		if (!unit)
			return why;
		if (is_over || whole > duration_max_ns / unit)
			return why_range;
		/* Digits of the fraction below a nanosecond add nothing. */
		scale = unit;
		for (size_t i = fraction + 1; i < at && scale; i++) {
			/* Exact enough: what is dropped is less than ten nanoseconds. */
			part_ns += scale * (uint64_t)(p[i] - '0') / 10;
			scale /= 10;
		}
		at += name_len;
		sum_ns += whole * unit + part_ns;
		if (sum_ns > duration_max_ns)
			return why_range;
	}
	*out_ms = (int64_t)((sum_ns + 999999) / 1000000);
	return NULL;
}

const char *conf_size_parse(uint64_t *out_len, const char *p, size_t len)
{
	static const char suffixes[] = "KMG";
	const uint64_t max = UINT64_C(1) << 40;
	const char *suffix;
	uint64_t n;
	unsigned shift;
	bool is_over;
	size_t digits = digits_parse(&n, &is_over, p, len, 10, max);

	if (digits && digits == len)
		return "needs a unit: 64K, 2M or 1G";
	suffix = digits && digits + 1 == len ? strchr(suffixes, p[digits]) : NULL;
	if (!suffix || !*suffix)
		return "is not a size such as 64K, 2M or 1G";
	shift = 10 * (unsigned)(suffix - suffixes + 1);
	if (is_over || !n || n > max >> shift)
		return why_range;
	*out_len = n << shift;
	return NULL;
}

const char *conf_number_parse(uint64_t *out, const char *p, size_t len, uint64_t max)
{
	bool is_over;

	if (!len || digits_parse(out, &is_over, p, len, 10, max) != len)
		return "is not a number";
	return is_over ? why_range : NULL;
}

const char *conf_mode_parse(uint32_t *out, const char *p, size_t len)
{
	uint64_t mode;
	bool is_over;

	if (!len || digits_parse(&mode, &is_over, p, len, 8, 0777) != len)
		return "is not an octal mode such as 0640";
	if (is_over)
		return why_range;
	*out = (uint32_t)mode;
	return NULL;
}
