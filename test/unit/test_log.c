/* SPDX-License-Identifier: Apache-2.0 */
/* MAP_ANONYMOUS */
#define _DEFAULT_SOURCE

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "base/log.h"
#include "base/utf8.h"
#include "guard.h"
#include "port/port.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

/* Standard error, as the platform would write it. */
static char written[4 * LOG_LINE_MAX];
static size_t written_len;
static unsigned writes;

void port_stderr_write(const char *line, size_t len)
{
	assert_true(len < sizeof(written));
	memcpy(written, line, len);
	written[len] = '\0';
	written_len = len;
	writes++;
}

static enum log_level told_level;

static void writer(enum log_level level, const char *line, size_t len)
{
	port_stderr_write(line, len);
	told_level = level;
}

static int set_up(void **state)
{
	(void)state;
	log_set_writer(NULL);
	log_set_level(LOG_LEVEL_INFO);
	written[0] = '\0';
	written_len = writes = 0;
	return 0;
}

/* A clock that the test moves. */
static int64_t now_ms;

int64_t port_now_ms(void)
{
	return now_ms;
}

/* -- foreign text ----------------------------------------------------------------------------- */

static void foreign_text_is_shown_safely(void **state)
{
	static const struct {
		const char *src;
		size_t len;
		const char *want;
	} rows[] = {
		{"", 0, ""},
		{"plain ~text", 11, "plain ~text"},
		{"a\nb\rc\td", 7, "a\\x0Ab\\x0Dc\\x09d"},
		{"\x1b[31m", 5, "\\x1B[31m"},
		{"\0x\x1f\x20\x7f", 5, "\\x00x\\x1F \\x7F"},
		{"\\x41\"", 5, "\\x41\""},
		{"gr\xc3\xbc\xc3\x9f", 6, "gr\xc3\xbc\xc3\x9f"},
		{"\xe2\x82\xac\xf0\x9f\x98\x80", 7, "\xe2\x82\xac\xf0\x9f\x98\x80"},
		/* not UTF-8: alone, cut off, too long, a surrogate, beyond Unicode */
		{"\x80", 1, "\\x80"},
		{"\xff\xfe", 2, "\\xFF\\xFE"},
		{"\xc3", 1, "\\xC3"},
		{"\xc3(", 2, "\\xC3("},
		{"\xe2\x82", 2, "\\xE2\\x82"},
		{"\xc0\xaf", 2, "\\xC0\\xAF"},
		{"\xed\xa0\x80", 3, "\\xED\\xA0\\x80"},
		{"\xf4\x90\x80\x80", 4, "\\xF4\\x90\\x80\\x80"},
		/* the control characters of Latin 1 are UTF-8 all the same */
		{"\xc2\x9b", 2, "\xc2\x9b"},
	};
	char dst[LOG_SHOW_MAX];

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++) {
		const uint8_t *src = guard_copy(rows[i].src, rows[i].len);

		assert_ptr_equal(log_show(dst, sizeof(dst), src, rows[i].len), dst);
		assert_string_equal(dst, rows[i].want);
	}
}

/* A text of which the last thing that fits, or does not, is an escape or a character. */
static void it_is_cut_never_inside_an_escape_or_a_character(void **state)
{
	static const struct {
		const char *unit;
		size_t len, shown_len;
	} units[] = {{"a", 1, 1}, {"\x01", 1, 4}, {"\xc3\xbc", 2, 2}, {"\xf0\x9f\x98\x80", 4, 4}};
	char src[2 * LOG_SHOW_BYTES + 16], dst[LOG_SHOW_MAX], mem[LOG_SHOW_MAX + 8];

	(void)state;
	for (size_t u = 0; u < COUNT(units); u++) {
		for (size_t head = LOG_SHOW_BYTES - 8; head <= LOG_SHOW_BYTES; head++) {
			size_t fit = (LOG_SHOW_BYTES - head) / units[u].shown_len;
			size_t shown_len = head + fit * units[u].shown_len;

			memset(src, 'h', head);
			for (size_t i = 0; i <= fit; i++)
				memcpy(src + head + i * units[u].len, units[u].unit, units[u].len);
			log_show(dst, sizeof(dst), src, head + fit * units[u].len);
			assert_int_equal(strlen(dst), shown_len);
			assert_null(strstr(dst, "..."));
			log_show(dst, sizeof(dst), src, head + (fit + 1) * units[u].len);
			assert_int_equal(strlen(dst), shown_len + 3);
			assert_string_equal(dst + shown_len, "...");
		}
	}
	/* A larger room shows no more; a smaller one cuts earlier, and nothing is written beyond it. */
	memset(src, 'h', sizeof(src));
	log_show(mem, sizeof(mem), src, sizeof(src));
	assert_int_equal(strlen(mem), LOG_SHOW_BYTES + 3);
	for (size_t cap = 0; cap <= 12; cap++) {
		memset(mem, '#', sizeof(mem));
		log_show(mem, cap, "abc\nefghijkl", 12);
		assert_int_equal(mem[cap], '#');
		if (cap)
			assert_true(memchr(mem, '\0', cap) != NULL);
		if (cap == 8)
			assert_string_equal(mem, "abc...");
		if (cap == 11)
			assert_string_equal(mem, "abc\\x0A...");
	}
}

static void what_is_shown_is_printable_whatever_comes(void **state)
{
	uint8_t src[64];
	char dst[LOG_SHOW_MAX];
	uint32_t x = 1;

	(void)state;
	for (int round = 0; round < 20000; round++) {
		size_t len;

		for (size_t i = 0; i < sizeof(src); i++) {
			x = x * 1664525 + 1013904223;
			src[i] = (uint8_t)(x >> 24);
		}
		log_show(dst, sizeof(dst), src, (x >> 8) % sizeof(src));
		len = strlen(dst);
		for (size_t i = 0; i < len;) {
			size_t n = utf8_sequence_len((const uint8_t *)dst + i, len - i);

			assert_true(n > 0 && (uint8_t)dst[i] >= 0x20 && dst[i] != 0x7f);
			i += n;
		}
	}
}

/* -- lines ------------------------------------------------------------------------------------ */

static void a_line_says_its_level_on_standard_error(void **state)
{
	(void)state;
	log_error("%s is %d", "answer", 42);
	assert_string_equal(written, "etchlet: error: answer is 42\n");
	log_warn("w");
	assert_string_equal(written, "etchlet: warn: w\n");
	log_info("i");
	assert_string_equal(written, "etchlet: info: i\n");
	log_set_level(LOG_LEVEL_DEBUG);
	log_debug("d");
	assert_string_equal(written, "etchlet: debug: d\n");
	assert_int_equal(writes, 4);
}

static void lines_above_the_level_are_not_written(void **state)
{
	(void)state;
	for (int level = LOG_LEVEL_ERROR; level <= LOG_LEVEL_DEBUG; level++) {
		log_set_level((enum log_level)level);
		assert_int_equal(log_get_level(), level);
		writes = 0;
		log_error("x");
		log_warn("x");
		log_info("x");
		log_debug("x");
		assert_int_equal(writes, level + 1);
		for (int l = LOG_LEVEL_ERROR; l <= LOG_LEVEL_DEBUG; l++)
			assert_int_equal(!!log_is_on((enum log_level)l), l <= level);
	}
}

static void a_writer_gets_the_bare_line(void **state)
{
	(void)state;
	log_set_writer(writer);
	log_warn("a %s", "b");
	assert_string_equal(written, "a b");
	assert_int_equal(told_level, LOG_LEVEL_WARN);
	log_set_writer(NULL);
	log_warn("c");
	assert_string_equal(written, "etchlet: warn: c\n");
}

static void a_line_is_cut_at_its_most(void **state)
{
	static char text[3 * LOG_LINE_MAX];

	(void)state;
	memset(text, 'x', sizeof(text) - 1);
	for (int i = 0; i < 2; i++) {
		log_set_writer(i ? writer : NULL);
		for (size_t len = LOG_LINE_MAX - 40; len < LOG_LINE_MAX + 40; len++) {
			/* One byte of it is for a NUL; a writer gets no line end. */
			size_t most = i ? LOG_LINE_MAX - 2 : LOG_LINE_MAX - 1;
			size_t whole = len + (i ? 0 : strlen("etchlet: info: \n"));

			log_info("%.*s", (int)len, text);
			assert_int_equal(written_len, whole < most ? whole : most);
			assert_int_equal(written[written_len - 1], i ? 'x' : '\n');
			assert_int_equal(strlen(written), written_len);
		}
		log_info("%s", text);
		assert_true(written_len <= LOG_LINE_MAX);
	}
}

/* -- lines that come again and again ---------------------------------------------------------- */

static void of_one_cause_one_line_is_written_in_a_while(void **state)
{
	struct log_limit limit = {0};

	(void)state;
	now_ms = 5;
	assert_true(log_printf_limited(&limit, LOG_LEVEL_WARN, "again %d", 1));
	assert_string_equal(written, "etchlet: warn: again 1\n");
	for (int i = 0; i < 999; i++)
		assert_false(log_printf_limited(&limit, LOG_LEVEL_WARN, "again %d", 2));
	now_ms += LOG_LIMIT_MS - 1;
	assert_false(log_printf_limited(&limit, LOG_LEVEL_WARN, "again %d", 3));
	assert_int_equal(writes, 1);
	now_ms++;
	assert_true(log_printf_limited(&limit, LOG_LEVEL_WARN, "again %d", 4));
	assert_string_equal(written, "etchlet: warn: again 4 (1000 more like it were not shown)\n");
	/* It counts from there. */
	assert_false(log_printf_limited(&limit, LOG_LEVEL_WARN, "again %d", 5));
	now_ms += LOG_LIMIT_MS;
	assert_true(log_printf_limited(&limit, LOG_LEVEL_WARN, "again %d", 6));
	assert_string_equal(written, "etchlet: warn: again 6 (1 more like it was not shown)\n");
	now_ms += LOG_LIMIT_MS;
	assert_true(log_printf_limited(&limit, LOG_LEVEL_WARN, "again %d", 7));
	assert_string_equal(written, "etchlet: warn: again 7\n");
}

static void causes_are_limited_apart(void **state)
{
	(void)state;
	now_ms = 0;
	for (int i = 0; i < 2; i++) {
		log_warn_limited("one");
		log_warn_limited("two");
	}
	assert_int_equal(writes, 2);
}

static void what_the_level_hides_is_not_counted(void **state)
{
	struct log_limit limit = {0};

	(void)state;
	log_set_level(LOG_LEVEL_ERROR);
	assert_false(log_printf_limited(&limit, LOG_LEVEL_WARN, "again"));
	assert_false(limit.is_begun);
	assert_int_equal(writes, 0);
}

static void a_cut_line_keeps_the_number_of_those_not_shown(void **state)
{
	static char longest[2 * LOG_LINE_MAX];
	struct log_limit limit = {.is_begun = true, .told_ms = -LOG_LIMIT_MS, .hidden = 7};

	(void)state;
	now_ms = 0;
	memset(longest, 'x', sizeof(longest) - 1);
	assert_true(log_printf_limited(&limit, LOG_LEVEL_WARN, "%s", longest));
	assert_true(written_len < LOG_LINE_MAX);
	assert_non_null(strstr(written, "xxx (7 more like it were not shown)\n"));
}

static unsigned befores, writes_then;

static void before(void)
{
	befores++;
	writes_then = writes;
}

static void what_is_no_line_is_taken_away_first(void **state)
{
	(void)state;
	befores = 0;
	log_set_before(before);
	log_info("a");
	assert_true(befores == 1 && writes_then == 0 && writes == 1);
	/* Of what is not written there nobody is told. */
	log_debug("b");
	log_set_writer(writer);
	log_info("c");
	assert_int_equal(befores, 1);
	log_before();
	assert_int_equal(befores, 2);
	log_set_before(NULL);
	log_set_writer(NULL);
	log_info("d");
	log_before();
	assert_int_equal(befores, 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(foreign_text_is_shown_safely),
		cmocka_unit_test(it_is_cut_never_inside_an_escape_or_a_character),
		cmocka_unit_test(what_is_shown_is_printable_whatever_comes),
		cmocka_unit_test_setup(a_line_says_its_level_on_standard_error, set_up),
		cmocka_unit_test_setup(lines_above_the_level_are_not_written, set_up),
		cmocka_unit_test_setup(a_writer_gets_the_bare_line, set_up),
		cmocka_unit_test_setup(a_line_is_cut_at_its_most, set_up),
		cmocka_unit_test_setup(of_one_cause_one_line_is_written_in_a_while, set_up),
		cmocka_unit_test_setup(causes_are_limited_apart, set_up),
		cmocka_unit_test_setup(what_the_level_hides_is_not_counted, set_up),
		cmocka_unit_test_setup(what_is_no_line_is_taken_away_first, set_up),
		cmocka_unit_test_setup(a_cut_line_keeps_the_number_of_those_not_shown, set_up),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
