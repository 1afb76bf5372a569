/* SPDX-License-Identifier: Apache-2.0 */
/* The smallest headers of base: error codes, the byte buffer, wiping, options, the version. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/kconfig.h"
#include "base/version.h"
#include "base/wipe.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

/* -- error codes ------------------------------------------------------------------------------ */

static void every_code_has_a_name_a_text_and_a_class(void **state)
{
	static const struct {
		int code;
		const char *name;
		const char *text;
		enum err_class cls;
	} rows[] = {
#define ERR_X(code, text, cls) {ERR_##code, #code, text, ERR_CLASS_##cls},
		ERR_LIST(ERR_X)
#undef ERR_X
	};

	(void)state;
	assert_int_equal(COUNT(rows), ERR_INDEX_COUNT - 1);
	for (size_t i = 0; i < COUNT(rows); i++) {
		size_t len = strlen(rows[i].text);

		assert_int_equal(rows[i].code, -(int)(i + 1));
		assert_string_equal(err_name(rows[i].code), rows[i].name);
		assert_string_equal(err_text(rows[i].code), rows[i].text);
		assert_int_equal(err_class_of(rows[i].code), rows[i].cls);
		assert_true(len > 0 && rows[i].text[len - 1] != '.');
	}
}

static void what_is_no_error_and_what_is_no_code(void **state)
{
	static const int bad[] = {-(int)ERR_INDEX_COUNT, -1000, INT32_MIN};

	(void)state;
	for (int code = 0; code < 2000000000; code += 400000000) {
		assert_string_equal(err_name(code), "OK");
		assert_int_equal(err_class_of(code), ERR_CLASS_NONE);
	}
	for (size_t i = 0; i < COUNT(bad); i++) {
		assert_string_equal(err_name(bad[i]), "UNKNOWN");
		assert_string_equal(err_text(bad[i]), "unknown error");
		assert_int_equal(err_class_of(bad[i]), ERR_CLASS_BUG);
	}
	assert_string_equal(err_name(ERR_BUG), "BUG");
}

static void a_value_of_errno_has_its_code(void **state)
{
	static const struct {
		int errnum;
		int code;
	} rows[] = {
		{0, 0},
		{EAGAIN, ERR_AGAIN},
		{EWOULDBLOCK, ERR_AGAIN},
		{EINTR, ERR_AGAIN},
		{EINPROGRESS, ERR_AGAIN},
		{ECONNRESET, ERR_RESET},
		{ECONNABORTED, ERR_RESET},
		{EPIPE, ERR_PIPE},
		{ECONNREFUSED, ERR_REFUSED},
		{ENETUNREACH, ERR_UNREACHABLE},
		{EHOSTUNREACH, ERR_UNREACHABLE},
		{EADDRNOTAVAIL, ERR_UNREACHABLE},
		{ETIMEDOUT, ERR_TIMEOUT},
		{ENOMEM, ERR_NOMEM},
		{EMFILE, ERR_NOMEM},
		{ENOSPC, ERR_NOSPACE},
		{EDQUOT, ERR_NOSPACE},
		{EFBIG, ERR_NOSPACE},
		{EROFS, ERR_READONLY},
		{ENOENT, ERR_NOENT},
		{ENOTDIR, ERR_NOENT},
		{EACCES, ERR_ACCESS},
		{EPERM, ERR_ACCESS},
		{EBUSY, ERR_LOCKED},
		{EAFNOSUPPORT, ERR_UNSUPPORTED},
		{EIO, ERR_IO},
		{EINVAL, ERR_IO},
		{-1, ERR_IO},
	};

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++)
		assert_int_equal(err_from_errno(rows[i].errnum), rows[i].code);
}

/* -- the buffer ------------------------------------------------------------------------------- */

static void a_buffer_takes_all_or_nothing(void **state)
{
	uint8_t mem[8 + 1];
	struct buf b;

	(void)state;
	mem[8] = '#';
	buf_init(&b, mem, 8);
	assert_int_equal(buf_room(&b), 8);
	assert_int_equal(buf_put(&b, "123456", 6), 0);
	assert_int_equal(buf_put(&b, "abc", 3), ERR_AGAIN);
	assert_int_equal(buf_len(&b), 6);
	assert_memory_equal(buf_head(&b), "123456", 6);
	assert_int_equal(buf_put(&b, "ab", 2), 0);
	assert_int_equal(buf_room(&b), 0);
	assert_int_equal(buf_put(&b, NULL, 0), 0);
	assert_int_equal(buf_put(&b, "x", 1), ERR_AGAIN);
	assert_memory_equal(buf_head(&b), "123456ab", 8);
	assert_int_equal(mem[8], '#');
}

static void room_at_the_head_is_used_again(void **state)
{
	uint8_t mem[8];
	struct buf b;

	(void)state;
	buf_init(&b, mem, sizeof(mem));
	assert_int_equal(buf_put(&b, "12345678", 8), 0);
	buf_drop(&b, 5);
	assert_int_equal(buf_put(&b, "abcd", 4), 0);
	assert_memory_equal(buf_head(&b), "678abcd", 7);
	buf_drop(&b, 2);
	memcpy(buf_tail(&b), "xyz", 3);
	buf_added(&b, 3);
	assert_int_equal(buf_len(&b), 8);
	assert_memory_equal(buf_head(&b), "8abcdxyz", 8);
	buf_drop(&b, 8);
	assert_int_equal(b.tail, 0);
	assert_int_equal(buf_put(&b, "1", 1), 0);
	buf_clear(&b);
	assert_int_equal(buf_len(&b), 0);
}

static void a_buffer_is_a_queue_of_bytes(void **state)
{
	uint8_t mem[7], in = 0, out = 0;
	struct buf b;
	uint32_t x = 1;

	(void)state;
	buf_init(&b, mem, sizeof(mem));
	for (int i = 0; i < 20000; i++) {
		size_t n;

		x = x * 1664525 + 1013904223;
		n = (x >> 16) % 4;
		if (x >> 31) {
			uint8_t put[4] = {in, (uint8_t)(in + 1), (uint8_t)(in + 2)};

			assert_int_equal(buf_put(&b, put, n),
				n <= sizeof(mem) - (uint8_t)(in - out) ? 0 : ERR_AGAIN);
			in = (uint8_t)(in + (n <= sizeof(mem) - (uint8_t)(in - out) ? n : 0));
		} else {
			n = n < buf_len(&b) ? n : buf_len(&b);
			for (size_t k = 0; k < n; k++)
				assert_int_equal(buf_head(&b)[k], (uint8_t)(out + k));
			buf_drop(&b, n);
			out = (uint8_t)(out + n);
		}
		assert_int_equal(buf_len(&b), (uint8_t)(in - out));
		assert_int_equal(buf_room(&b), sizeof(mem) - (uint8_t)(in - out));
	}
}

/* -- the others ------------------------------------------------------------------------------- */

static void a_secret_is_overwritten(void **state)
{
	static const char zero[8];
	char secret[] = "#secret#";

	(void)state;
	wipe(secret + 1, 6);
	assert_memory_equal(secret, "#\0\0\0\0\0\0#", 8);
	wipe(secret, 0);
	assert_int_equal(secret[0], '#');
	wipe(secret, 8);
	assert_memory_equal(secret, zero, 8);
}

#define OPTION_ON 1
#define OPTION_NUMBER 24

static void an_option_is_enabled_when_it_is_set(void **state)
{
	(void)state;
	assert_int_equal(IS_ENABLED(OPTION_ON), 1);
	assert_int_equal(IS_ENABLED(OPTION_ABSENT), 0);
	assert_int_equal(IS_ENABLED(OPTION_NUMBER), 0);
}

static void the_version_begins_with_a_number(void **state)
{
	const char *v = version_string();
	const char *bracket = strchr(v, '(');

	(void)state;
	assert_true(v[0] >= '0' && v[0] <= '9' && strchr(v, '.'));
	assert_true(!bracket || (bracket[-1] == ' ' && v[strlen(v) - 1] == ')'));
	/* 2020: no build is older than the program */
	assert_true(version_build_time_s() > 1577836800);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_code_has_a_name_a_text_and_a_class),
		cmocka_unit_test(what_is_no_error_and_what_is_no_code),
		cmocka_unit_test(a_value_of_errno_has_its_code),
		cmocka_unit_test(a_buffer_takes_all_or_nothing),
		cmocka_unit_test(room_at_the_head_is_used_again),
		cmocka_unit_test(a_buffer_is_a_queue_of_bytes),
		cmocka_unit_test(a_secret_is_overwritten),
		cmocka_unit_test(an_option_is_enabled_when_it_is_set),
		cmocka_unit_test(the_version_begins_with_a_number),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
