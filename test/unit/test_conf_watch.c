/* SPDX-License-Identifier: Apache-2.0 */
/* Sections seen from outside, what a reload compares, and "forget". */
#include "conf_helper.h"

static struct conf conf, other;

static const char section[] =
	"[watch a]\n"
	"key = /k/%i/\nprefix = yes\nprev-kv = yes\n"
	"mirror = /m\nmirror-mode = 0600\nmirror-owner = root:root\nmirror-adopt = yes\n"
	"exec = /bin/x \"a b\" c\nexec-timeout = 7s\nprint = /run/p\nsettle = 20ms\n";

static void load(struct conf *c, const char *head, const char *text)
{
	char file[4096];

	snprintf(file, sizeof(file), "device-id = d1\n%s%s", head, text);
	assert_int_equal(helper_check(c, file), 0);
}

static void test_find(void **state)
{
	(void)state;
	load(&conf, "", "[watch a]\nkey = k\nprint = -\n[watch ab]\nkey = k\nprint = -\n");
	assert_ptr_equal(conf_watch_find(&conf, "ab"), &conf.watches[1]);
	assert_null(conf_watch_find(&conf, "abc"));
}

/* Each option alone makes a difference, where the section stands does not. */
static void test_compare(void **state)
{
	static const char *const changes[][2] = {{"[watch a]", "[watch b]"}, {"/k/", "/l/"},
		{"prefix = yes", "prefix = no"}, {"prev-kv = yes", "prev-kv = no"},
		{"mirror = /m", "mirror = /n"}, {"0600", "0640"}, {"root:root", "root"},
		{"adopt = yes", "adopt = no"}, {"/bin/x", "/bin/y"}, {" c\n", " d\n"},
		{" c\n", "\n"}, {" c\n", " c d\n"}, {"7s", "8s"}, {"/run/p", "/run/q"},
		{"20ms", "21ms"}, {"print = /run/p\n", ""}, {"mirror-owner = root:root\n", ""}};
	char text[2048];

	(void)state;
	load(&conf, "", section);
	load(&other, "\n# a line more\n", section);
	assert_true(conf_watch_is_same(&conf.watches[0], &other.watches[0]));
	for (size_t i = 0; i < sizeof(changes) / sizeof(changes[0]); i++) {
		const char *at = strstr(section, changes[i][0]);

		assert_non_null(at);
		snprintf(text, sizeof(text), "%.*s%s%s", (int)(at - section), section,
			changes[i][1], at + strlen(changes[i][0]));
		load(&other, "", text);
		assert_false(conf_watch_is_same(&conf.watches[0], &other.watches[0]));
		assert_false(conf_watch_is_same(&other.watches[0], &conf.watches[0]));
	}
	/* The default, and the same asked for: the folder that was there gets only this. */
	load(&other, "", "[watch a]\nkey = /k\nmirror = /m\nmirror-mode = 0644\n");
	load(&conf, "", "[watch a]\nkey = /k\nmirror = /m\n");
	assert_int_equal(conf.watches[0].mirror_mode, other.watches[0].mirror_mode);
	assert_false(conf_watch_has_mirror_mode(&conf.watches[0]));
	assert_true(conf_watch_has_mirror_mode(&other.watches[0]));
	assert_false(conf_watch_is_same(&conf.watches[0], &other.watches[0]));
	load(&conf, "", section);
	/* Another device, another key. */
	assert_int_equal(helper_check(&other, section), 0);
	assert_false(conf_watch_is_same(&conf.watches[0], &other.watches[0]));
}

static void test_compare_range_end(void **state)
{
	(void)state;
	load(&conf, "", "[watch a]\nkey = k\nrange-end = l\nprint = -\n");
	load(&other, "", "[watch a]\nkey = k\nrange-end = m\nprint = -\n");
	assert_false(conf_watch_is_same(&conf.watches[0], &other.watches[0]));
	load(&other, "", "[watch a]\nkey = k\nprint = -\n");
	assert_false(conf_watch_is_same(&conf.watches[0], &other.watches[0]));
}

static bool is_within(const void *p, const void *mem, size_t len)
{
	return (const char *)p >= (const char *)mem && (const char *)p < (const char *)mem + len;
}

static void test_copy(void **state)
{
	struct conf_watch copy;
	size_t len;
	void *mem;

	(void)state;
	load(&conf, "", section);
	len = conf_watch_len(&conf.watches[0]);
	mem = malloc(len);
	assert_non_null(mem);
	conf_watch_copy(&copy, &conf.watches[0], mem);
	assert_true(conf_watch_is_same(&copy, &conf.watches[0]));
	conf_wipe(&conf);
	assert_string_equal(copy.name, "a");
	assert_string_equal((const char *)copy.key.p, "/k/d1/");
	assert_string_equal(copy.exec[1], "a b");
	assert_null(copy.exec[3]);
	assert_true(is_within(copy.name, mem, len) && is_within(copy.key.p, mem, len));
	assert_true(is_within(copy.exec, mem, len) && is_within(copy.exec[2], mem, len));
	assert_true(is_within(copy.mirror, mem, len) && is_within(copy.print, mem, len));
	assert_true(is_within(copy.mirror_owner, mem, len));
	free(mem);
}

static void test_copy_of_little(void **state)
{
	struct conf_watch copy;
	void *mem;

	(void)state;
	load(&conf, "", "[watch a]\nkey = \"\"\nprefix = yes\nprint = -\n");
	mem = malloc(conf_watch_len(&conf.watches[0]));
	assert_non_null(mem);
	conf_watch_copy(&copy, &conf.watches[0], mem);
	assert_true(conf_watch_is_same(&copy, &conf.watches[0]));
	assert_non_null(copy.key.p);
	assert_int_equal(copy.key.len, 0);
	assert_null(copy.exec);
	assert_null(copy.mirror);
	assert_null(copy.range_end.p);
	free(mem);
}

static void test_refuse(void **state)
{
	char expected[512];

	(void)state;
	load(&conf, "cacert = /nope\n", section);
	assert_int_equal(
		conf_refuse_watch(&conf, &conf.watches[0], "mirror-owner", "bob", "is no user"),
		ERR_CONFIG);
	snprintf(expected, sizeof(expected), "%s:9: mirror-owner: 'bob' is no user", helper_path);
	assert_string_equal(conf.why, expected);
	/* One that was not given: where its section is. */
	load(&conf, "", "[watch a]\nkey = k\nprint = -\n");
	(void)conf_refuse_watch(&conf, &conf.watches[0], "mirror", NULL, "%s", "is not there");
	snprintf(expected, sizeof(expected), "%s:2: mirror: is not there", helper_path);
	assert_string_equal(conf.why, expected);
	load(&conf, "cacert = /nope\n", section);
	(void)conf_refuse(&conf, "endpoints", "are %d", 3);
	assert_string_equal(conf.why, "--endpoints: are 3 (see 'etchlet help check')");
	assert_int_equal(conf_refuse_file(&conf, "/nope: no such file"), ERR_CONFIG);
	snprintf(expected, sizeof(expected), "%s:2: cacert: /nope: no such file", helper_path);
	assert_string_equal(conf.why, expected);
	assert_int_equal(conf_refuse_file(&conf, "/nope.pem: no such file"), ERR_CONFIG);
	assert_string_equal(conf.why, "/nope.pem: no such file");
}

static void test_reload(void **state)
{
	(void)state;
	load(&conf, "idle-after = 2h\n", section);
	helper_write("idle-after = 3h\n", 16);
	assert_int_equal(conf_reload(&other, &conf), 0);
	assert_int_equal(other.idle_after_ms, 3 * 3600000);
	assert_int_equal(other.watch_count, 0);
	assert_int_equal(conf.idle_after_ms, 2 * 3600000);
	assert_int_equal(conf.watch_count, 1);
	helper_write("idle = 3h\n", 10);
	assert_int_equal(conf_reload(&other, &conf), ERR_CONFIG);
	assert_non_null(strstr(other.why, ":1: 'idle' is not known here"));
	assert_string_equal(conf.watches[0].name, "a");
}

static void test_forget(void **state)
{
	(void)state;
	load(&conf, "forget = x, old.one ,y\n", section);
	assert_string_equal(conf.forget[0], "x");
	assert_string_equal(conf.forget[1], "old.one");
	assert_string_equal(conf.forget[2], "y");
	assert_null(conf.forget[3]);
	load(&conf, "", section);
	assert_null(conf.forget);
}

static void test_forget_refused(void **state)
{
	static const char *const bad[][2] = {
		{"forget = x,a\n[watch a]\nkey = k\nprint = -\n",
			":1: forget: 'a' has a section in the file"},
		{"forget = x,,y\n", ":1: forget: '' is not the name of a watch"},
		{"forget = x y\n", ":1: forget: 'x y' is not the name of a watch"},
		{"forget = x,\n", ":1: forget: '' is not the name of a watch"},
		{"forget =\n", ":1: forget: needs a value"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		assert_int_equal(helper_check(&conf, bad[i][0]), ERR_CONFIG);
		assert_string_equal(conf.why + strlen(helper_path), bad[i][1]);
	}
}

static void test_plain_endpoint_is_warned_of(void **state)
{
	struct conf_warning w;

	(void)state;
	load(&conf, "endpoints = https://a,http://b\ncacert = /ca\n", "");
	assert_int_equal(conf_warning(&conf, 0, &w), 1);
	assert_string_equal(w.about, "endpoints");
	assert_int_equal(conf_warning(&conf, 1, &w), 0);
	load(&conf, "endpoints = a,b\ncacert = /ca\n", "");
	assert_int_equal(conf_warning(&conf, 0, &w), 0);
	load(&conf, "endpoints = http://b\n", "");
	assert_int_equal(conf_warning(&conf, 0, &w), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_find),
		cmocka_unit_test(test_compare),
		cmocka_unit_test(test_compare_range_end),
		cmocka_unit_test(test_copy),
		cmocka_unit_test(test_copy_of_little),
		cmocka_unit_test(test_refuse),
		cmocka_unit_test(test_reload),
		cmocka_unit_test(test_forget),
		cmocka_unit_test(test_forget_refused),
		cmocka_unit_test(test_plain_endpoint_is_warned_of),
	};

	return cmocka_run_group_tests(tests, helper_setup, helper_teardown);
}
