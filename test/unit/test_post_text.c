/* SPDX-License-Identifier: Apache-2.0 */
/* What is put into headers, read from the user, and told. */
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/err.h"
#include "sink/post_text.h"

static char path[] = "/tmp/etchlet-token-XXXXXX";

static void check_target(const char *url, const char *want_path, const char *want_url)
{
	struct post_target target;
	char mem[2048], why[256];

	assert_int_equal(post_text_target(&target, url, mem, sizeof(mem), why, sizeof(why)), 0);
	assert_string_equal(target.url, want_url);
	if (want_path)
		assert_string_equal(target.unix_path, want_path);
	else
		assert_null(target.unix_path);
}

static void test_targets(void **state)
{
	struct post_target target;
	char mem[256], why[256], longest[300];

	(void)state;
	check_target("http://h:1/x", NULL, "http://h:1/x");
	check_target("unix:/run/x.sock", "/run/x.sock", "http://localhost/");
	check_target(
		"unix:/run/x.sock:/events?a=b:/c", "/run/x.sock", "http://localhost/events?a=b:/c");
	check_target("unix:/run/x:y.sock", "/run/x:y.sock", "http://localhost/");
	check_target("unix:x.sock:/", "x.sock", "http://localhost/");
	assert_int_equal(
		post_text_target(&target, "unix:", mem, sizeof(mem), why, sizeof(why)), ERR_CONFIG);
	assert_int_equal(post_text_target(&target, "unix::/x", mem, sizeof(mem), why, sizeof(why)),
		ERR_CONFIG);
	memset(longest, 'x', sizeof(longest));
	memcpy(longest, "unix:", 5);
	longest[5 + 107] = '\0';
	assert_int_equal(post_text_target(&target, longest, mem, sizeof(mem), why, sizeof(why)), 0);
	longest[5 + 107] = 'x';
	longest[5 + 108] = '\0';
	assert_int_equal(
		post_text_target(&target, longest, mem, sizeof(mem), why, sizeof(why)), ERR_LIMIT);
	/* The room is known to the byte. */
	memset(longest, 'x', sizeof(longest));
	memcpy(longest, "unix:p:/", 8);
	for (size_t len = 225; len < 245; len++) {
		size_t need = 2 + sizeof("http://localhost") + (len - 7);
		int want = need <= sizeof(mem) ? 0 : ERR_LIMIT;

		longest[len] = '\0';
		assert_int_equal(
			post_text_target(&target, longest, mem, sizeof(mem), why, sizeof(why)),
			want);
		longest[len] = 'x';
	}
}

static void test_tls(void **state)
{
	(void)state;
	assert_true(post_text_is_tls("https://h"));
	assert_true(post_text_is_tls("HTTPS://h"));
	assert_false(post_text_is_tls("http://h"));
	assert_false(post_text_is_tls("https"));
	assert_false(post_text_is_tls(""));
	assert_false(post_text_is_tls("unix:/https://"));
}

static void check_shown(const char *url, const char *want)
{
	char text[88];

	post_text_shown(text, sizeof(text), url);
	assert_string_equal(text, want);
}

static void test_shown(void **state)
{
	char text[20], url[400];

	(void)state;
	check_shown("http://h/x", "http://h/x");
	check_shown("https://user:secret@h:1/x@y", "https://h:1/x@y");
	check_shown("https://user:p@ss@h", "https://h");
	check_shown("https://h/x?a=@b", "https://h/x?...");
	check_shown("https://user@h?x", "https://h?...");
	check_shown("http://u:secret@h/x?token=secret#frag", "http://h/x?...");
	check_shown("http:/u:secret@h/x#frag", "http:/h/x");
	check_shown("http:///u:secret@h/", "http:///h/");
	check_shown("unix:/run/s:/x?token=secret", "unix:/run/s:/x?...");
	check_shown("unix:/run/a@b", "unix:/run/a@b");
	check_shown("http://h/\x01", "http://h/\\x01");
	post_text_shown(text, sizeof(text), "http://u:p@0123456789012345");
	assert_string_equal(text, "http://012345678...");
	memset(url, 'x', sizeof(url));
	memcpy(url, "https://u:p@", 12);
	url[399] = '\0';
	post_text_shown(text, sizeof(text), url);
	assert_string_equal(text, "https://xxxxxxxx...");
}

static void test_encode(void **state)
{
	char dst[64];

	(void)state;
	assert_int_equal(post_text_encode(dst, "az~!-/", false), 6);
	assert_string_equal(dst, "az~!-/");
	(void)post_text_encode(dst, "a/\"\\% \r\n\x7f\xff", true);
	assert_string_equal(dst, "a%2F%22%5C%25%20%0D%0A%7F%FF");
	(void)post_text_encode(dst, "a/\xc3\xa4", false);
	assert_string_equal(dst, "a/%C3%A4");
	assert_int_equal(post_text_encode(dst, "", true), 0);
	assert_string_equal(dst, "");
	assert_int_equal(post_text_encoded_max("\xff\xff"), 7);
}

static ssize_t token_of(const void *text, size_t len, char *dst, char why[256])
{
	FILE *f = fopen(path, "w");

	assert_non_null(f);
	assert_int_equal(fwrite(text, 1, len, f), len);
	fclose(f);
	return post_text_token(path, dst, why, 256);
}

static void test_token(void **state)
{
	char dst[CONFIG_POST_TOKEN_BYTES], why[256], longest[CONFIG_POST_TOKEN_BYTES + 1];
	int fd = mkstemp(path);

	(void)state;
	assert_true(fd >= 0);
	close(fd);
	assert_int_equal(token_of("abc.d~+/=\n", 10, dst, why), 9);
	assert_string_equal(dst, "abc.d~+/=");
	assert_int_equal(token_of("abc \t\r\n\0", 8, dst, why), 3);
	assert_int_equal(token_of("abc\r\nX: y\n", 10, dst, why), ERR_AUTH);
	assert_non_null(strstr(why, "byte 4 is not visible ASCII"));
	assert_int_equal(dst[0], 0);
	assert_int_equal(token_of("a b", 3, dst, why), ERR_AUTH);
	assert_int_equal(token_of("a\0b", 3, dst, why), ERR_AUTH);
	assert_int_equal(token_of("\xc3\xa4", 2, dst, why), ERR_AUTH);
	assert_non_null(strstr(why, "byte 1 "));
	assert_int_equal(token_of(" \n", 2, dst, why), ERR_AUTH);
	assert_non_null(strstr(why, "has no token in it"));
	assert_int_equal(token_of("", 0, dst, why), ERR_AUTH);
	memset(longest, 'x', sizeof(longest));
	assert_int_equal(token_of(longest, CONFIG_POST_TOKEN_BYTES - 1, dst, why),
		CONFIG_POST_TOKEN_BYTES - 1);
	assert_int_equal(token_of(longest, CONFIG_POST_TOKEN_BYTES, dst, why), ERR_LIMIT);
	assert_non_null(strstr(why, "too long"));
	unlink(path);
	assert_int_equal(post_text_token(path, dst, why, sizeof(why)), ERR_NOENT);
	assert_non_null(strstr(why, path));
}

static void test_answers(void **state)
{
	static const uint8_t line[] = "no \x01 field";
	char dst[192], text[600];

	(void)state;
	post_text_answer(dst, sizeof(dst), "http://h", "rejected with ", 422, "", line, 10);
	assert_string_equal(
		dst, "http://h: rejected with 422 Unprocessable Entity: no \\x01 field");
	post_text_answer(dst, sizeof(dst), "http://h", "", 599, "", line, 0);
	assert_string_equal(dst, "http://h: 599");
	/* No character is cut in two, wherever the end is. */
	for (size_t cap = 20; cap < 60; cap++) {
		size_t len;

		post_text_answer(dst, cap, "h", "", 400, "",
			(const uint8_t *)"\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4", 12);
		len = strlen(dst);
		assert_true(len < cap);
		for (size_t i = 20; i < len; i++)
			assert_false(
				dst[i] == (char)0xc3 && (i + 1 == len || dst[i + 1] != (char)0xa4));
	}
	post_text_answer(dst, sizeof(dst), "http://h", "x", 302, "to http://e", line, 10);
	assert_string_equal(dst, "to http://e");
	memset(text, 'm', sizeof(text));
	memcpy(text, "begin", 5);
	memcpy(text + 590, "the end", 8);
	post_text_fit(dst, sizeof(dst), text);
	assert_int_equal(strlen(dst), sizeof(dst) - 1);
	assert_memory_equal(dst, "begin", 5);
	assert_string_equal(dst + strlen(dst) - 7, "the end");
	assert_non_null(strstr(dst, "m...m"));
	post_text_fit(dst, sizeof(dst), "short");
	assert_string_equal(dst, "short");
	for (size_t cap = 16; cap < 40; cap++) {
		post_text_fit(dst, cap,
			"\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4"
			"\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4"
			"\xc3\xa4\xc3\xa4\xc3\xa4");
		assert_true(strlen(dst) < cap);
		for (size_t i = 0; dst[i]; i++)
			assert_true(dst[i] == '.' ||
				    (dst[i] == (char)0xc3 && dst[i + 1] == (char)0xa4) ||
				    (i && dst[i] == (char)0xa4 && dst[i - 1] == (char)0xc3));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_targets),
		cmocka_unit_test(test_tls),
		cmocka_unit_test(test_shown),
		cmocka_unit_test(test_encode),
		cmocka_unit_test(test_token),
		cmocka_unit_test(test_answers),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
