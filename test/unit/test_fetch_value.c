/* SPDX-License-Identifier: Apache-2.0 */
/* What a value asks for: what is taken, and all that is not; and the record that is kept of it. */
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "guard.h"
#include "sink/fetch_record.h"

#define HEX "0123456789abcdefABCDEF0123456789abcdef0123456789abcdef0123456789"
#define BASE "\"url\":\"http://h/a\",\"sha256\":\"" HEX "\""

static struct fetch_want want;
static char why[FETCH_WHY_MAX];

static int parse_key(const char *text, size_t len, const char *key)
{
	memset(&want, 0xa5, sizeof(want));
	memset(why, 0, sizeof(why));
	return fetch_value_parse(
		&want, text, len, (const uint8_t *)key, strlen(key), why, sizeof(why));
}

static int parse(const char *text)
{
	return parse_key(text, strlen(text), "/f/name");
}

static void refused(const char *text, const char *reason)
{
	if (parse(text) != ERR_CONFIG || !strstr(why, reason))
		fail_msg("%s: '%s', not '%s'", text, why, reason);
	assert_true(!want.url[0] && !want.name[0] && want.size == -1);
}

static void test_taken(void **state)
{
	(void)state;
	assert_int_equal(parse("{" BASE "}"), 0);
	assert_string_equal(want.url, "http://h/a");
	assert_string_equal(want.name, "name");
	assert_string_equal(want.sig, "");
	assert_int_equal(want.size, -1);
	assert_int_equal(want.sha256[0], 0x01);
	assert_int_equal(want.sha256[8], 0xab);
	assert_int_equal(want.sha256[31], 0x89);
	assert_int_equal(
		parse(" \t\r\n{ \"size\" : 0 ,\n" BASE " , \"name\":\"a.b_c-d+e,f=g@h:i~\", "
		      "\"sig\":\"AA==\" } \n"),
		0);
	assert_int_equal(want.size, 0);
	assert_string_equal(want.name, "a.b_c-d+e,f=g@h:i~");
	assert_string_equal(want.sig, "AA==");
	assert_int_equal(parse("{" BASE ",\"size\":9223372036854775807}"), 0);
	assert_true(want.size == INT64_MAX);
	assert_int_equal(parse("{" BASE ",\"size\":null,\"name\":null,\"sig\":null}"), 0);
	assert_int_equal(want.size, -1);
	assert_string_equal(want.name, "name");
	/* Escapes are their characters, in names of members too. */
	assert_int_equal(
		parse("{\"\\u0075rl\":\"http:\\/\\/h\\/\\u0061\",\"sha256\":\"" HEX "\"}"), 0);
	assert_string_equal(want.url, "http://h/a");
	/* What is in other members is nobody's business. */
	assert_int_equal(parse("{\"x\":{\"url\":[1,2,{\"a\":\"\\u00e4\"}]}," BASE
			       ",\"y\":-1.5e+3,\"\\ud83d\\ude00\":true,\"z\":[]}"),
		0);
	assert_int_equal(parse("{\"urls\":1," BASE ",\"n\":1,\"\":false}"), 0);
}

static void test_refused(void **state)
{
	static const char *const no_json[] = {"", " ", "{", "}", "nonsense", "{" BASE,
		"{" BASE ",}", "{," BASE "}", "{" BASE ",,\"a\":1}", "{" BASE " \"a\":1}",
		"{" BASE ",\"a\"}", "{" BASE ",\"a\" 1}", "{" BASE ",\"a\"::1}", "{" BASE ",1:2}",
		"{" BASE ",\"a\":}", "{" BASE ",\"a\":tru}", "{" BASE ",\"a\":1x}",
		"{" BASE ",\"a\":01}", "{" BASE ",\"a\":1.}", "{" BASE ",\"a\":-}",
		"{" BASE ",\"a\":1e}", "{" BASE ",\"a\":.5}", "{" BASE ",\"a\":1 2}",
		"{" BASE ",\"a\":[1}", "{" BASE ",\"a\":\"\\x\"}", "{" BASE ",\"a\":\"\\u12g4\"}",
		"{" BASE ",\"a\":\"", "{" BASE ",'a':1}", "{" BASE "]"};

	(void)state;
	for (size_t i = 0; i < sizeof(no_json) / sizeof(no_json[0]); i++)
		refused(no_json[i], "it is not JSON");
	refused("[]", "not a JSON object");
	refused("\"a\"", "not a JSON object");
	refused("{" BASE "}{}", "beside");
	refused("{" BASE "} {\"a\":1}", "beside");
	refused("{}", "url is missing");
	refused("{\"url\":null,\"sha256\":\"" HEX "\"}", "url is missing");
	refused("{\"url\":\"http://h/a\"}", "sha256 is missing");
	refused("{" BASE ",\"url\":\"http://h/b\"}", "url stands twice");
	refused("{" BASE ",\"\\u0075rl\":null}", "url stands twice");
	refused("{\"url\":1,\"sha256\":\"" HEX "\"}", "url is not a string");
	refused("{\"url\":{\"a\":1},\"sha256\":\"" HEX "\"}", "url is not a string");
	refused("{\"url\":\"\",\"sha256\":\"" HEX "\"}", "url is empty");
	refused("{\"url\":\"http://h/a b\",\"sha256\":\"" HEX "\"}", "printable ASCII");
	refused("{\"url\":\"http://h/\\n\",\"sha256\":\"" HEX "\"}", "printable ASCII");
	refused("{\"url\":\"http://h/\\u0000\",\"sha256\":\"" HEX "\"}", "printable ASCII");
	refused("{\"url\":\"http://h/\xc3\xa4\",\"sha256\":\"" HEX "\"}", "printable ASCII");
	refused("{\"url\":\"http://h/\\u00e4\",\"sha256\":\"" HEX "\"}", "printable ASCII");
	refused("{\"url\":\"http://h/a\",\"sha256\":\"" HEX "0\"}", "64 hex digits");
	refused("{\"url\":\"http://h/a\",\"sha256\":\"0123\"}", "64 hex digits");
	refused("{\"url\":\"http://h/a\",\"sha256\":\"g123456789abcdefABCDEF0123456789abcdef0123456789"
		"abcdef0123456789\"}",
		"64 hex digits");
	refused("{\"url\":\"http://h/a\",\"sha256\":1}", "not a string");
	refused("{" BASE ",\"size\":-1}", "whole number");
	refused("{" BASE ",\"size\":1.5}", "whole number");
	refused("{" BASE ",\"size\":1e3}", "whole number");
	refused("{" BASE ",\"size\":true}", "whole number");
	refused("{" BASE ",\"size\":9223372036854775808}", "whole number");
	refused("{" BASE ",\"size\":\"1\"}", "not a number");
	refused("{" BASE ",\"size\":[1]}", "not a number");
	refused("{" BASE ",\"sig\":\"\"}", "signature");
	refused("{" BASE ",\"name\":5}", "name is not a string");
	refused("{\"a\":[1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,"
		"31,32,33,34,35,36,37,38,39,40,41,42,43,44,45,46,47,48,49,50,51,52,53,54,55,56,57,58,59,60,"
		"61,62,63,64]," BASE "}",
		"too many");
	/* A NUL is no end. */
	assert_int_equal(
		parse_key("{" BASE "}\0x", sizeof("{" BASE "}\0x") - 1, "/f/a"), ERR_CONFIG);
	assert_int_equal(parse_key("{" BASE "}\0", sizeof("{" BASE "}"), "/f/a"), ERR_CONFIG);
}

static void test_names(void **state)
{
	static const char *const bad[] = {".", "..", ".a", ".etchlet", "a/b", "/", "a\\\\b", "a*",
		"a%", "a b", "\\u00e4", "a\\u0000", "a\\n", "$(x)", "a;b", "\\\"", ""};
	char text[1024], key[512];

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		snprintf(text, sizeof(text), "{" BASE ",\"name\":\"%s\"}", bad[i]);
		refused(text, "name");
	}
	for (size_t len = 195; len < 210; len++) {
		memset(key, 'k', sizeof(key));
		snprintf(text, sizeof(text), "{" BASE ",\"name\":\"%.*s\"}", (int)len, key);
		assert_int_equal(parse(text), len <= 200 ? 0 : ERR_CONFIG);
		key[0] = '/';
		key[len + 1] = '\0';
		assert_int_equal(parse_key("{" BASE "}", sizeof("{" BASE "}") - 1, key),
			len <= 200 ? 0 : ERR_CONFIG);
	}
	assert_int_equal(parse_key("{" BASE "}", sizeof("{" BASE "}") - 1, "plain"), 0);
	assert_string_equal(want.name, "plain");
	assert_int_equal(parse_key("{" BASE "}", sizeof("{" BASE "}") - 1, "/f/"), ERR_CONFIG);
	assert_int_equal(parse_key("{" BASE "}", sizeof("{" BASE "}") - 1, "/f/.."), ERR_CONFIG);
	assert_int_equal(parse_key("{" BASE "}", sizeof("{" BASE "}") - 1, "/f/\xff"), ERR_CONFIG);
	assert_int_equal(parse_key("{" BASE "}", sizeof("{" BASE "}") - 1, ""), ERR_CONFIG);
}

static void test_long_strings(void **state)
{
	char *text = malloc(8192), *fill = malloc(4096);

	(void)state;
	memset(fill, 'a', 4096);
	for (int len = HTTP_URL_MAX - 10; len < HTTP_URL_MAX + 10; len++) {
		snprintf(text, 8192, "{\"url\":\"%.*s\",\"sha256\":\"" HEX "\"}", len, fill);
		assert_int_equal(parse(text), len < HTTP_URL_MAX ? 0 : ERR_CONFIG);
	}
	for (int len = FETCH_SIG_MAX - 4; len < FETCH_SIG_MAX + 4; len++) {
		snprintf(text, 8192, "{" BASE ",\"sig\":\"%.*s\"}", len, fill);
		assert_int_equal(parse(text), len < FETCH_SIG_MAX ? 0 : ERR_CONFIG);
	}
	free(text);
	free(fill);
}

/* Cut anywhere, and with any byte another one: taken or refused, and nothing is read that is not there. */
static void test_cut_and_changed(void **state)
{
	static const char whole[] =
		"{" BASE
		",\"size\":12,\"name\":\"x\\u0061\",\"sig\":\"AA==\",\"o\":{\"p\":[null,\"\\n\"]}}";
	uint8_t changed[sizeof(whole)];

	(void)state;
	for (size_t len = 0; len < sizeof(whole) - 1; len++) {
		const uint8_t *p = guard_copy(whole, len);

		assert_int_equal(parse_key((const char *)p, len, "/f/a"), ERR_CONFIG);
	}
	for (size_t i = 0; i < sizeof(whole) - 1; i++) {
		for (int c = 0; c < 256; c++) {
			const uint8_t *p;
			int err;

			memcpy(changed, whole, sizeof(whole));
			changed[i] = (uint8_t)c;
			p = guard_copy(changed, sizeof(whole) - 1);
			err = parse_key((const char *)p, sizeof(whole) - 1, "/f/a");
			assert_true(err == 0 || err == ERR_CONFIG);
			assert_true(!err == !why[0]);
		}
	}
}

/* -- records ---------------------------------------------------------------------------------- */

static void fill_record(struct fetch_record *r)
{
	*r = (struct fetch_record){
		.rev = 77,
		.key = "/f/a",
		.key_len = 4,
		.want = {.url = "http://h/a", .name = "name", .sig = "AA==", .size = 12},
		.is_claimed = true,
		.placed_name = "old",
		.placed_len = UINT64_C(1) << 40,
		.mtime_s = -5,
		.mtime_ns = 999999999,
		.validator = "\"v\"",
		.boot = "boot",
	};
	memset(r->hash, 7, sizeof(r->hash));
	memset(r->want.sha256, 8, sizeof(r->want.sha256));
	memset(r->placed_sha256, 9, sizeof(r->placed_sha256));
}

static void test_record(void **state)
{
	uint8_t bytes[FETCH_RECORD_MAX + 1], again[FETCH_RECORD_MAX], other[FETCH_HASH_LEN] = {1};
	struct fetch_record r, got;
	size_t len;

	(void)state;
	fill_record(&r);
	len = fetch_record_encode(bytes, &r);
	assert_true(fetch_record_decode(&got, bytes, len, r.hash));
	assert_true(got.is_claimed);
	assert_true(got.rev == 77 && got.mtime_s == -5 && got.mtime_ns == 999999999);
	assert_true(got.placed_len == UINT64_C(1) << 40);
	assert_true(fetch_want_is_same(&got.want, &r.want));
	assert_string_equal(got.placed_name, "old");
	assert_string_equal(got.validator, "\"v\"");
	assert_int_equal(fetch_record_encode(again, &got), len);
	assert_memory_equal(again, bytes, len);
	/* Another's, cut, longer, or with any bit another one. */
	assert_false(fetch_record_decode(&got, bytes, len, other));
	for (size_t i = 0; i < len; i++)
		assert_false(fetch_record_decode(&got, bytes, i, r.hash));
	bytes[len] = 0;
	assert_false(fetch_record_decode(&got, bytes, len + 1, r.hash));
	for (size_t i = 0; i < 8 * len; i++) {
		bytes[i / 8] ^= (uint8_t)(1 << i % 8);
		assert_false(fetch_record_decode(&got, bytes, len, r.hash));
		bytes[i / 8] ^= (uint8_t)(1 << i % 8);
	}
	for (size_t i = 0; i < len; i++) {
		uint8_t was = bytes[i];

		bytes[i] = (uint8_t)~was;
		assert_false(fetch_record_decode(&got, bytes, len, r.hash));
		bytes[i] = was;
	}
	assert_true(fetch_record_decode(&got, bytes, len, r.hash));
}

static void test_largest_record(void **state)
{
	uint8_t bytes[FETCH_RECORD_MAX];
	static struct fetch_record r, got;
	size_t len;

	(void)state;
	fill_record(&r);
	memset(r.key, 'k', sizeof(r.key));
	r.key_len = sizeof(r.key);
	memset(r.want.url, 'u', sizeof(r.want.url) - 1);
	memset(r.want.name, 'n', sizeof(r.want.name) - 1);
	memset(r.want.sig, 's', sizeof(r.want.sig) - 1);
	memset(r.placed_name, 'p', sizeof(r.placed_name) - 1);
	memset(r.validator, 'v', sizeof(r.validator) - 1);
	memset(r.boot, 'b', sizeof(r.boot) - 1);
	memset(r.why, 'w', sizeof(r.why) - 1);
	len = fetch_record_encode(bytes, &r);
	assert_true(len > 2900 && len < FETCH_RECORD_MAX);
	assert_true(fetch_record_decode(&got, bytes, len, r.hash));
	assert_memory_equal(&got.want, &r.want, sizeof(r.want));
	assert_string_equal(got.why, r.why);
}

/* A record with a right CRC that leads out of the folder was written by somebody else. */
static void test_record_of_an_enemy(void **state)
{
	uint8_t bytes[FETCH_RECORD_MAX];
	struct fetch_record r, got;

	(void)state;
	fill_record(&r);
	snprintf(r.placed_name, sizeof(r.placed_name), "../x");
	assert_false(fetch_record_decode(&got, bytes, fetch_record_encode(bytes, &r), r.hash));
	fill_record(&r);
	snprintf(r.want.name, sizeof(r.want.name), ".etchlet");
	assert_false(fetch_record_decode(&got, bytes, fetch_record_encode(bytes, &r), r.hash));
	fill_record(&r);
	r.want.name[0] = '\0';
	assert_false(fetch_record_decode(&got, bytes, fetch_record_encode(bytes, &r), r.hash));
	fill_record(&r);
	r.want.url[0] = '\0';
	assert_false(fetch_record_decode(&got, bytes, fetch_record_encode(bytes, &r), r.hash));
	r.refused = FETCH_MALFORMED;
	assert_true(fetch_record_decode(&got, bytes, fetch_record_encode(bytes, &r), r.hash));
	fill_record(&r);
	r.want.size = -2;
	assert_false(fetch_record_decode(&got, bytes, fetch_record_encode(bytes, &r), r.hash));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_taken),
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_names),
		cmocka_unit_test(test_long_strings),
		cmocka_unit_test(test_cut_and_changed),
		cmocka_unit_test(test_record),
		cmocka_unit_test(test_largest_record),
		cmocka_unit_test(test_record_of_an_enemy),
	};

	return cmocka_run_group_tests_name("fetch_value", tests, NULL, NULL);
}
