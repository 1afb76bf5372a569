/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sink/mirror_name.h"

static char got[MIRROR_PATH_MAX];

static size_t make(const char *watch, const void *key, size_t len)
{
	size_t cut = mirror_name_cut((const uint8_t *)watch, strlen(watch));

	return mirror_name_make(key, len, cut, got, sizeof(got));
}

static void expect(const char *watch, const char *key, const char *path)
{
	assert_int_equal(make(watch, key, strlen(key)), strlen(path));
	assert_string_equal(got, path);
}

static void test_table(void **state)
{
	(void)state;
	/* As rsync does it with the last '/'. */
	expect("/config/x/", "/config/x/a", "a");
	expect("/config/x", "/config/x/a", "x/a");
	expect("/config/x", "/config/xyz", "xyz");
	expect("x", "x", "x");
	expect("x", "xy/z", "xy/z");
	expect("", "/a", "%/a");
	expect("/", "/a", "a");
	/* Empty components. */
	expect("/c/", "/c/", "%");
	expect("/c/", "/c//", "%/%");
	expect("/c/", "/c/a/", "a/%");
	expect("/c/", "/c//a", "%/a");
	expect("/c/", "/c/a//b", "a/%/b");
	/* Dots. */
	expect("/c/", "/c/.", "%2E");
	expect("/c/", "/c/..", "%2E%2E");
	expect("/c/", "/c/../../x", "%2E%2E/%2E%2E/x");
	expect("/c/", "/c/a/./b", "a/%2E/b");
	expect("/c/", "/c/...", "...");
	expect("/c/", "/c/..a", "..a");
	expect("/c/", "/c/.a", ".a");
	/* The agent's own folder. */
	expect("/c/", "/c/.etchlet", "%2Eetchlet");
	expect("/c/", "/c/.etchlet/identity", "%2Eetchlet/identity");
	expect("/c/", "/c/a/.etchlet", "a/.etchlet");
	expect("/c/", "/c/.etchlets", ".etchlets");
	expect("/c/", "/c/.etchle", ".etchle");
	/* Bytes. */
	expect("/c/", "/c/%", "%25");
	expect("/c/", "/c/%%", "%25%25");
	expect("/c/", "/c/%2E", "%252E");
	expect("/c/", "/c/a b", "a b");
	expect("/c/", "/c/ ", " ");
	expect("/c/", "/c/azAZ09._-+,=@:~", "azAZ09._-+,=@:~");
	expect("/c/", "/c/\xff\x01\n\x7f", "%FF%01%0A%7F");
	expect("/c/", "/c/\xc3\xa4", "%C3%A4");
	expect("/c/", "/c/*?\"'\\$`!#&()[]{}<>|;^",
		"%2A%3F%22%27%5C%24%60%21%23%26%28%29%5B%5D%7B%7D%3C%3E%7C%3B%5E");
	assert_int_equal(make("/c/", "/c/a\0b", 6), 5);
	assert_string_equal(got, "a%00b");
}

static void test_limits(void **state)
{
	char key[MIRROR_PATH_MAX + 8];
	size_t len;

	(void)state;
	memset(key, 'a', sizeof(key));
	memcpy(key, "/c/", 3);
	assert_int_equal(make("/c/", key, 3 + 255), 255);
	assert_int_equal(make("/c/", key, 3 + 256), 0);
	/* 85 escaped bytes are 255. */
	memset(key + 3, '*', 86);
	assert_int_equal(make("/c/", key, 3 + 85), 255);
	assert_int_equal(make("/c/", key, 3 + 86), 0);
	/* Neither does a long component make a shorter one. */
	memset(key + 3, 'a', 300);
	key[3 + 300] = '/';
	assert_int_equal(make("/c/", key, 3 + 302), 0);
	/* A key that does not begin with what is cut off. */
	assert_int_equal(make("/c/", "/c", 2), 0);
	/* The whole path. */
	for (size_t i = 3; i < sizeof(key); i++)
		key[i] = i % 2 ? 'a' : '/';
	for (len = 1; len < MIRROR_PATH_MAX; len += 2)
		assert_int_equal(make("/c/", key, 3 + len), len);
	assert_int_equal(make("/c/", key, 3 + len), 0);
	for (size_t cap = 0; cap <= 5; cap++)
		assert_int_equal(mirror_name_make((const uint8_t *)key, 3 + 5, 3, got, cap), 0);
	assert_int_equal(mirror_name_make((const uint8_t *)key, 3 + 5, 3, got, 6), 5);
}

/* The way back, which only an injective mapping has. */
static size_t unmake(const char *path, uint8_t *key)
{
	size_t n = 0;

	for (const char *p = path; *p; p++) {
		unsigned byte = 0;

		if (*p != '%') {
			key[n++] = (uint8_t)*p;
		} else if (p[1] && p[1] != '/') {
			assert_int_equal(sscanf(p + 1, "%2X", &byte), 1);
			key[n++] = (uint8_t)byte;
			p += 2;
		}
	}
	return n;
}

static void check_components(const char *path)
{
	const char *p = path;

	for (;;) {
		size_t n = strcspn(p, "/");

		assert_true(n > 0 && n <= MIRROR_NAME_MAX);
		assert_false(n == 1 && p[0] == '.');
		assert_false(n == 2 && memcmp(p, "..", 2) == 0);
		assert_false(n == 2 && memcmp(p, "%%", 2) == 0);
		assert_false(p == path && n == 8 && memcmp(p, ".etchlet", 8) == 0);
		if (!p[n])
			break;
		p += n + 1;
	}
	assert_int_not_equal(path[0], '/');
}

static void test_properties(void **state)
{
	static const char bytes[] = "//////....%%%2Ea\xff\0 ~";
	static const char *const words[] = {".", "..", ".etchlet", "%", "%%", "%2E", "", "a"};

	(void)state;
	srand(7);
	for (int i = 0; i < 200000; i++) {
		uint8_t key[64] = "/c/", back[64];
		size_t len = 3;

		if (i % 2) {
			size_t n = (size_t)rand() % 20;

			while (n--)
				key[len++] = (uint8_t)bytes[(size_t)rand() % (sizeof(bytes) - 1)];
		} else {
			int n = rand() % 4;

			for (int k = 0; k <= n; k++) {
				const char *w = words[(size_t)rand() % 8];

				memcpy(key + len, w, strlen(w));
				len += strlen(w);
				if (k < n)
					key[len++] = '/';
			}
		}
		assert_true(make("/c/", key, len) > 0);
		check_components(got);
		assert_int_equal(unmake(got, back), len - 3);
		assert_memory_equal(back, key + 3, len - 3);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_table),
		cmocka_unit_test(test_limits),
		cmocka_unit_test(test_properties),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
