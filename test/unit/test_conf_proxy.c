/* SPDX-License-Identifier: Apache-2.0 */
/* Proxies, by option and by the environment. */
#include "conf_helper.h"

static struct conf conf;

static const char *const variables[] = {"https_proxy", "HTTPS_PROXY", "http_proxy", "HTTP_PROXY",
	"all_proxy", "ALL_PROXY", "no_proxy", "NO_PROXY"};

static int clear_environment(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(variables) / sizeof(variables[0]); i++)
		assert_int_equal(unsetenv(variables[i]), 0);
	return 0;
}

static void set(const char *name, const char *value)
{
	assert_int_equal(setenv(name, value, 1), 0);
}

/* "socks5h user|password|host|port", "-" for none. */
static void assert_proxy(const struct conf_proxy *p, const char *expected)
{
	char text[512] = "-";

	if (p->host)
		snprintf(text, sizeof(text), "%s %s|%s|%s|%u", p->is_socks ? "socks5h" : "http",
			p->user ? p->user : "-", p->password ? p->password : "-", p->host,
			(unsigned)p->port);
	assert_string_equal(text, expected);
}

static void load(const char *words)
{
	if (helper_load(&conf, &command_get, words))
		fail_msg("%s: %s", words, conf.why);
}

static void test_option(void **state)
{
	static const struct {
		const char *url, *expected;
	} good[] = {
		{"http://10.0.0.1:3128", "http -|-|10.0.0.1|3128"},
		{"http://proxy.local", "http -|-|proxy.local|80"},
		{"HTTP://proxy/", "http -|-|proxy|80"},
		{"proxy:3128", "http -|-|proxy|3128"},
		{"proxy:3128/", "http -|-|proxy|3128"},
		{"proxy", "http -|-|proxy|80"},
		{"u@proxy", "http u||proxy|80"},
		{"u:p@proxy", "http u|p|proxy|80"},
		{"u:@proxy", "http u||proxy|80"},
		{"socks5h://[::1]", "socks5h -|-|::1|1080"},
		{"Socks5H://u:p@[fe80::1]:65535", "socks5h u|p|fe80::1|65535"},
		{"http://[::1]:1", "http -|-|::1|1"},
		{"http://u%40x:p%3a%25%2F@h", "http u@x|p:%/|h|80"},
		{"http://u:p:q@h:1", "http u|p:q|h|1"},
		{"http://u:p@q@h:1", "http u|p@q|h|1"},
		{"http://u:p/q@h:1", "http u|p/q|h|1"},
		{"socks5h://u%3Av:p@h", "socks5h u:v|p|h|1080"},
		{"none", "-"},
		{"", "-"},
	};
	char words[256];

	(void)state;
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		snprintf(words, sizeof(words), "get a --proxy=%s", good[i].url);
		load(words);
		assert_proxy(&conf.proxy, good[i].expected);
		assert_proxy(&conf.https_proxy, "-");
		assert_proxy(&conf.http_proxy, "-");
		assert_null(conf.no_proxy);
	}
}

static void test_refused(void **state)
{
	static const struct {
		const char *url, *why;
	} bad[] = {
		{"https://secret:secret@h",
			"begins with https://: TLS to a proxy is not supported, use http:// or socks5h://, "
			"what is sent to etcd over https is encrypted inside"},
		{"socks5://h", "begins with socks5://: names are resolved by the proxy here, use "
			       "socks5h://"},
		{"socks4://h", "begins with socks4://: use socks5h://"},
		{"socks4a://h", "begins with socks4a://: use socks5h://"},
		{"socks://h", "begins with socks://: use socks5h://"},
		{"ftp://h", "begins with neither http:// nor socks5h://"},
		{"://h", "begins with neither http:// nor socks5h://"},
		{"http://", "lacks a host"},
		{"http://secret@", "lacks a host"},
		{"http://:80", "lacks a host"},
		{"http://[::1", "lacks a ]"},
		{"http://[h]:1", "has a malformed address"},
		{"http://::1:80", "needs [ ] around an IPv6 address"},
		{"http://1.2.3:80", "has a malformed address"},
		{"http://h:", "has a port that is not 1 to 65535"},
		{"http://h:0", "has a port that is not 1 to 65535"},
		{"http://h:65536", "has a port that is not 1 to 65535"},
		{"http://h:secret", "has a port that is not 1 to 65535"},
		{"http://h/secret", "has a path, which a proxy's address has not"},
		{"http://h:1/secret", "has a path, which a proxy's address has not"},
		{"http://h?secret", "is not [http://|socks5h://][USER[:PASSWORD]@]HOST[:PORT]"},
		{"http://:secret@h", "has an empty user"},
		{"http://u%3a:secret@h", "has a user with a ':' in it"},
		{"http://u:secret%@h", "has a % without two hex digits in its user or password; "
				       "a % itself is %25"},
		{"http://u:secret%4@h", "has a % without two hex digits in its user or password; "
					"a % itself is %25"},
		{"http://u:secret%4g@h", "has a % without two hex digits in its user or password; "
					 "a % itself is %25"},
		{"http://u:secret%00@h", "has a control character in its user or password"},
		{"http://u%0asecret:p@h", "has a control character in its user or password"},
	};
	char words[256], why[CONF_WHY_MAX];

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		snprintf(words, sizeof(words), "get a --proxy=%s", bad[i].url);
		assert_int_equal(helper_load(&conf, &command_get, words), ERR_CONFIG);
		snprintf(why, sizeof(why), "--proxy: %s (see 'etchlet help get')", bad[i].why);
		assert_string_equal(conf.why, why);
		set("https_proxy", bad[i].url);
		assert_int_equal(helper_load(&conf, &command_get, "get a"), ERR_CONFIG);
		snprintf(why, sizeof(why),
			"https_proxy of the environment %s (see 'etchlet help get')", bad[i].why);
		assert_string_equal(conf.why, why);
		assert_null(strstr(conf.why, "secret"));
		clear_environment(NULL);
	}
}

static void test_login_length(void **state)
{
	char words[1500], text[1026];

	(void)state;
	memset(text, 'x', sizeof(text));
	snprintf(words, sizeof(words), "get a --proxy=socks5h://u:%.255s@h", text);
	load(words);
	assert_int_equal(strlen(conf.proxy.password), 255);
	snprintf(words, sizeof(words), "get a --proxy=socks5h://u:%.256s@h", text);
	assert_int_equal(helper_load(&conf, &command_get, words), ERR_CONFIG);
	assert_non_null(strstr(conf.why, "has too long a user or password"));
	snprintf(words, sizeof(words), "get a --proxy=http://u:%.1024s@h", text);
	load(words);
	assert_int_equal(strlen(conf.proxy.password), 1024);
	snprintf(words, sizeof(words), "get a --proxy=http://u:%.1025s@h", text);
	assert_int_equal(helper_load(&conf, &command_get, words), ERR_CONFIG);
}

static void test_environment(void **state)
{
	(void)state;
	load("get a");
	assert_proxy(&conf.https_proxy, "-");
	assert_proxy(&conf.http_proxy, "-");
	set("HTTPS_PROXY", "http://upper:1");
	load("get a");
	assert_proxy(&conf.https_proxy, "http -|-|upper|1");
	assert_proxy(&conf.http_proxy, "-");
	set("https_proxy", "socks5h://lower:2");
	load("get a");
	assert_proxy(&conf.https_proxy, "socks5h -|-|lower|2");
	/* A request's header may have become this one (httpoxy). */
	set("HTTP_PROXY", "http://evil:1");
	load("get a");
	assert_proxy(&conf.http_proxy, "-");
	set("ALL_PROXY", "all:3");
	load("get a");
	assert_proxy(&conf.https_proxy, "socks5h -|-|lower|2");
	assert_proxy(&conf.http_proxy, "http -|-|all|3");
	set("http_proxy", "plain:4");
	set("all_proxy", "all:5");
	load("get a");
	assert_proxy(&conf.http_proxy, "http -|-|plain|4");
	/* Empty is not set. */
	set("https_proxy", "");
	set("HTTPS_PROXY", "");
	set("http_proxy", "");
	load("get a");
	assert_proxy(&conf.https_proxy, "http -|-|all|5");
	assert_proxy(&conf.http_proxy, "http -|-|all|5");
	set("all_proxy", "");
	load("get a");
	assert_proxy(&conf.https_proxy, "http -|-|all|3");
	/* The option is for everything, and none keeps the environment out. */
	load("get a --proxy http://one:1");
	assert_proxy(&conf.proxy, "http -|-|one|1");
	assert_proxy(&conf.https_proxy, "-");
	assert_proxy(&conf.http_proxy, "-");
	set("https_proxy", "ftp://wrong");
	load("get a --proxy none");
	assert_proxy(&conf.proxy, "-");
	assert_proxy(&conf.https_proxy, "-");
	assert_int_equal(helper_load(&conf, &command_get, "get a"), ERR_CONFIG);
}

static void test_no_proxy(void **state)
{
	(void)state;
	load("get a --no-proxy=a,b");
	assert_string_equal(conf.no_proxy, "a,b");
	set("NO_PROXY", "upper");
	load("get a");
	assert_string_equal(conf.no_proxy, "upper");
	set("no_proxy", "lower,c");
	load("get a");
	assert_string_equal(conf.no_proxy, "lower,c");
	load("get a --no-proxy=a,b");
	assert_string_equal(conf.no_proxy, "a,b,lower,c");
	load("get a --no-proxy=");
	assert_string_equal(conf.no_proxy, "lower,c");
	load("get a --proxy http://h --no-proxy=a");
	assert_string_equal(conf.no_proxy, "a,lower,c");
}

static void test_file(void **state)
{
	(void)state;
	assert_int_equal(
		helper_check(&conf, "proxy = \"http://u:p%23@h:1\" # x\nno-proxy = a b\n"), 0);
	assert_proxy(&conf.proxy, "http u|p#|h|1");
	assert_string_equal(conf.no_proxy, "a b");
	assert_int_equal(helper_check(&conf, "\nproxy = https://u:secret@h\n"), ERR_CONFIG);
	assert_non_null(strstr(conf.why, ":2: proxy: begins with https://"));
	assert_null(strstr(conf.why, "secret"));
	assert_int_equal(helper_check(&conf, "proxy = none\n"), 0);
	assert_proxy(&conf.proxy, "-");
}

/* What does not fit is told without it. */
static void test_room(void **state)
{
	static char list[CONFIG_CONF_TEXT_BYTES + 64];

	(void)state;
	memset(list, 'x', sizeof(list) - 1);
	set("no_proxy", list);
	load("get a");
	assert_int_equal(helper_load(&conf, &command_get, "get a --no-proxy=a"), ERR_CONFIG);
	clear_environment(NULL);
	memcpy(list, "u:secret", 8);
	memcpy(list + sizeof(list) - 3, "@h", 2);
	set("https_proxy", list);
	assert_int_equal(helper_load(&conf, &command_get, "get a"), ERR_CONFIG);
	assert_non_null(strstr(conf.why, "does not fit"));
	assert_null(strstr(conf.why, "secret"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_option, clear_environment),
		cmocka_unit_test_setup(test_refused, clear_environment),
		cmocka_unit_test_setup(test_login_length, clear_environment),
		cmocka_unit_test_setup(test_environment, clear_environment),
		cmocka_unit_test_setup(test_no_proxy, clear_environment),
		cmocka_unit_test_setup(test_file, clear_environment),
		cmocka_unit_test_setup(test_room, clear_environment),
	};

	return cmocka_run_group_tests(tests, helper_setup, helper_teardown);
}
