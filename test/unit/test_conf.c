/* SPDX-License-Identifier: Apache-2.0 */
/* The command line, and what must fit together. */
#include "conf_helper.h"

#include "base/kconfig.h"
#include "base/log.h"

static struct conf conf;

static void test_presets(void **state)
{
	(void)state;
	assert_int_equal(helper_load(&conf, &command_get, "get k"), 0);
	assert_int_equal(conf.dial_timeout_ms, 5000);
	assert_int_equal(conf.command_timeout_ms, 5000);
	assert_int_equal(conf.keepalive_time_ms, 60000);
	assert_int_equal(conf.keepalive_timeout_ms, 6000);
	assert_int_equal(conf.probe_interval_ms, 60000);
	assert_int_equal(conf.idle_after_ms, 600000);
	assert_int_equal(conf.backoff_min_ms, 200);
	assert_int_equal(conf.backoff_max_ms, 30000);
	assert_int_equal(conf.max_value_len, 16 << 20);
	assert_int_equal(conf.state_interval_ms, 60000);
	assert_int_equal(conf.metrics_interval_ms, 15000);
	assert_int_equal(conf.durability, CONF_DURABILITY_NORMAL);
	assert_int_equal(conf.log_level, LOG_LEVEL_INFO);
	assert_int_equal(conf.write_out, CONF_WRITE_OUT_SIMPLE);
	assert_int_equal(conf.timeout_ms, 0);
	assert_int_equal(conf.rev, 0);
	assert_null(conf.state_path);
	assert_null(conf.metrics_path);
	assert_null(conf.user);
	assert_null(conf.exec);
	assert_string_equal(conf.control_path, CONFIG_DEFAULT_CONTROL_PATH);
	assert_string_equal(conf.device, conf.host);
	assert_int_equal(conf.endpoint_count, 1);
	assert_false(conf.is_prefix || conf.is_syslog || conf.is_json || conf.is_insecure);
	assert_int_equal(helper_load(&conf, &command_check, "check"), 0);
	assert_string_equal(conf.state_path, CONFIG_DEFAULT_STATE_PATH);
}

static void test_words(void **state)
{
	(void)state;
	assert_int_equal(helper_load(&conf, &command_watch,
				 "watch k --prefix --rev=7 -w json --state s --idle-after 1h "
				 "--prev-kv=true --progress-notify=false --durability relaxed "
				 "--log-level=debug --max-value 2M --syslog"),
		0);
	assert_int_equal(conf.operand_count, 1);
	assert_string_equal(conf.operands[0], "k");
	assert_true(conf.is_prefix);
	assert_int_equal(conf.rev, 7);
	assert_int_equal(conf.write_out, CONF_WRITE_OUT_JSON);
	assert_string_equal(conf.state_path, "s");
	assert_int_equal(conf.idle_after_ms, 3600000);
	assert_true(conf.is_prev_kv);
	assert_false(conf.is_progress_notify);
	assert_int_equal(conf.durability, CONF_DURABILITY_RELAXED);
	assert_int_equal(conf.log_level, LOG_LEVEL_DEBUG);
	assert_int_equal(conf.max_value_len, 2 << 20);
	assert_true(conf.is_syslog);
	/* In front of the command, glued, the last of two, and behind "--". */
	assert_int_equal(helper_load(&conf, &command_get,
				 "--rev 3 -wjson get --rev=4 -w=simple -- -k --rev"),
		0);
	assert_int_equal(conf.rev, 4);
	assert_int_equal(conf.write_out, CONF_WRITE_OUT_SIMPLE);
	assert_int_equal(conf.operand_count, 2);
	assert_string_equal(conf.operands[0], "-k");
	assert_string_equal(conf.operands[1], "--rev");
	assert_int_equal(helper_load(&conf, &command_watch, "watch k - -- cmd --prefix"), 0);
	assert_string_equal(conf.operands[1], "-");
	assert_string_equal(conf.exec[0], "cmd");
	assert_string_equal(conf.exec[1], "--prefix");
	assert_null(conf.exec[2]);
	assert_false(conf.is_prefix);
	assert_int_equal(helper_load(&conf, &command_get, "get --prefix k -h"), CONF_HELP);
	assert_int_equal(helper_load(&conf, &command_get, "--help get"), CONF_HELP);
	/* A largest revision. */
	assert_int_equal(helper_load(&conf, &command_get, "get k --rev 4611686018427387903"), 0);
	assert_int_equal(conf.rev, INT64_C(4611686018427387903));
}

#define SEE(command) " (see 'etchlet help " command "')"

static void test_refused(void **state)
{
	static const struct {
		const struct conf_command *command;
		const char *words, *why;
	} bad[] = {
		{&command_get, "get", "get needs KEY [RANGE_END]"},
		{&command_get, "get a b c", "'c' is one word too many"},
		{&command_get, "get a --frob", "'--frob' is not an option"},
		{&command_get, "get a --frob=x", "'--frob' is not an option"},
		{&command_get, "get a -z", "'-z' is not an option"},
		{&command_get, "get a --once", "'--once' is not an option of get"},
		{&command_get, "get a --prev-kv", "'--prev-kv' is not an option of get"},
		{&command_get, "get a --endpoints", "'--endpoints' needs a value"},
		{&command_get, "get a -w", "'-w' needs a value"},
		{&command_get, "get a -w xml", "--write-out: 'xml' is not one of simple|json"},
		{&command_get, "get a -w jso", "--write-out: 'jso' is not one of simple|json"},
		{&command_get, "get a --prefix=yes",
			"--prefix: 'yes' is not one of true and false"},
		{&command_get, "get a --prefix=", "--prefix: '' is not one of true and false"},
		{&command_get, "get a --rev -1", "--rev: '-1' is not a number"},
		{&command_get, "get a --rev 4611686018427387904",
			"--rev: '4611686018427387904' is out of range"},
		{&command_get, "get a --dial-timeout 5",
			"--dial-timeout: '5' needs a unit, such as 500ms, 5s, 10m or 1h30m"},
		{&command_get, "get a --dial-timeout 0s", "--dial-timeout: '0s' is too short"},
		{&command_get, "get a --max-value 10",
			"--max-value: '10' needs a unit: 64K, 2M or 1G"},
		{&command_get, "get a --cacert=", "--cacert: '' is empty"},
		{&command_get, "get a b --prefix", "--prefix: does not go with RANGE_END"},
		{&command_get, "get a --cert c", "--cert: needs key"},
		{&command_get, "get a --key c", "--key: needs cert"},
		{&command_get, "get a --user u",
			"--user: needs a password: NAME:PASSWORD, password or password-file"},
		{&command_get, "get a --user :p", "--user: has no name"},
		{&command_get, "get a --user u:p --password q",
			"--user: has a password, and another one is given"},
		{&command_get, "get a --user u:p --password-file q",
			"--user: has a password, and another one is given"},
		{&command_get, "get a --user u --password p --password-file q",
			"--password-file: does not go with password"},
		{&command_get, "get a --password p", "--password: needs user"},
		{&command_get, "get a --password-file p", "--password-file: needs user"},
		{&command_get, "get a --user u%x:p", "--user: has a % that is not %i, %h or %%"},
		{&command_get, "get a --user u%:p", "--user: has a % that is not %i, %h or %%"},
		{&command_get, "get a --device-id env:ETCHLET_NOT_SET",
			"--device-id: 'env:ETCHLET_NOT_SET' is not set"},
		{&command_get, "get a --device-id file:/nowhere",
			"--device-id: 'file:/nowhere' cannot be read: no such file"},
		{&command_get, "get a --device-id file:/dev/null",
			"--device-id: 'file:/dev/null' is empty"},
		{&command_get, "get a --device-id x\ny",
			"--device-id: 'x\\x0Ay' holds a control character"},
		{&command_get, "get a -c /nowhere",
			"--config: '/nowhere' cannot be read: no such file"},
		{&command_watch, "watch a --", "-- needs a command after it"},
		{&command_watch, "watch -- a", "watch needs KEY [RANGE_END] [-- CMD ARG...]"},
		{&command_watch, "watch a --timeout 5s", "'--timeout' is not an option of watch"},
		{&command_watch, "watch a --json", "'--json' is not an option of watch"},
		{&command_watch, "watch a --idle-after 60s",
			"--idle-after: must be more than probe-interval"},
		{&command_watch, "watch a --probe-interval 600s",
			"--probe-interval: must be less than idle-after"},
		{&command_watch, "watch a --backoff-max 100ms",
			"--backoff-max: must not be less than backoff-min"},
		{&command_watch, "watch a --backoff-min 1h",
			"--backoff-min: must not be more than backoff-max"},
		{&command_check, "check a", "'a' is one word too many"},
		{&command_check, "check --prefix", "'--prefix' is not an option of check"},
	};
	char why[CONF_WHY_MAX];

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		assert_int_equal(helper_load(&conf, bad[i].command, bad[i].words), ERR_CONFIG);
		snprintf(why, sizeof(why), "%s (see 'etchlet help %s')", bad[i].why,
			bad[i].command->name);
		assert_string_equal(conf.why, why);
	}
}

static void test_refused_is_one_line(void **state)
{
	static char words[1500];

	(void)state;
	memcpy(words, "get a --rev ", 12);
	memset(words + 12, '\n', sizeof(words) - 13);
	assert_int_equal(helper_load(&conf, &command_get, words), ERR_CONFIG);
	assert_null(strchr(conf.why, '\n'));
	assert_non_null(strstr(conf.why, "--rev: '\\x0A"));
	assert_non_null(strstr(conf.why, "...' is not a number (see 'etchlet help get')"));
}

static void assert_endpoints(const char *words, const char *expected)
{
	char text[1024] = "", one[CONF_ENDPOINT_TEXT_MAX];
	size_t n = 0;

	assert_int_equal(helper_load(&conf, &command_get, words), 0);
	for (size_t i = 0; i < conf.endpoint_count; i++)
		n += (size_t)snprintf(text + n, sizeof(text) - n, "%s%s", i ? "," : "",
			conf_endpoint_format(one, &conf.endpoints[i]));
	assert_string_equal(text, expected);
}

static void test_endpoints(void **state)
{
	(void)state;
	assert_endpoints("get a --endpoints a", "http://a:2379");
	assert_endpoints("get a --endpoints http://a:1/,HTTP://b.c-d_e,10.0.0.1:65535",
		"http://a:1,http://b.c-d_e:2379,http://10.0.0.1:65535");
	assert_endpoints("get a --endpoints [::1],http://[fe80::1]:5",
		"http://[::1]:2379,http://[fe80::1]:5");
	assert_endpoints("get a --endpoints a,b,c,d,e,f,g,h",
		"http://a:2379,http://b:2379,http://c:2379,http://d:2379,http://e:2379,"
		"http://f:2379,http://g:2379,http://h:2379");
	if (!IS_ENABLED(CONFIG_NET_TLS))
		return;
	assert_endpoints("get a --endpoints https://a,http://b,c",
		"https://a:2379,http://b:2379,http://c:2379");
	assert_endpoints("get a --endpoints a,http://b --cacert x", "https://a:2379,http://b:2379");
	assert_endpoints("get a --endpoints a --cert x --key y", "https://a:2379");
	assert_endpoints("get a --endpoints a --insecure-skip-tls-verify", "https://a:2379");
	assert_endpoints("get a --endpoints a --insecure-skip-tls-verify=false", "http://a:2379");
}

static void test_endpoints_refused(void **state)
{
	static const struct {
		const char *list, *why;
	} bad[] = {
		{"", "'' is empty"},
		{",", "'' lacks a host"},
		{"a,,b", "'' lacks a host"},
		{"a,", "'' lacks a host"},
		{"http://", "'http://' lacks a host"},
		{"http:///", "'http:///' lacks a host"},
		{"ftp://a", "'ftp://a' begins with neither http:// nor https://"},
		{"unix:///x", "'unix:///x' begins with neither http:// nor https://"},
		{"http://http://a", "'http://http://a' begins with neither http:// nor https://"},
		{"a:", "'a:' has a port that is not 1 to 65535"},
		{"a:0", "'a:0' has a port that is not 1 to 65535"},
		{"a:65536", "'a:65536' has a port that is not 1 to 65535"},
		{"a:b", "'a:b' has a port that is not 1 to 65535"},
		{"a:1x", "'a:1x' has a port that is not 1 to 65535"},
		{"unix:x", "'unix:x' has a port that is not 1 to 65535"},
		{"a:1:2", "'a:1:2' needs [ ] around an IPv6 address"},
		{"::1", "'::1' needs [ ] around an IPv6 address"},
		{"[::1", "'[::1' lacks a ]"},
		{"[]", "'[]' lacks a host"},
		{"[::g]", "'[::g]' has a malformed address"},
		{"[a]", "'[a]' has a malformed address"},
		{"[10.0.0.1]", "'[10.0.0.1]' has a malformed address"},
		{"[::1]x", "'[::1]x' is not [http://|https://]HOST[:PORT]"},
		{"10.0.0.256", "'10.0.0.256' has a malformed address"},
		{"10.0.1", "'10.0.1' has a malformed address"},
		{"a/x", "'a/x' is not [http://|https://]HOST[:PORT]"},
		{"a:1/x", "'a:1/x' has a port that is not 1 to 65535"},
		{"u@a", "'u@a' is not [http://|https://]HOST[:PORT]"},
		{"a?x", "'a?x' is not [http://|https://]HOST[:PORT]"},
		{"a,b,c,d,e,f,g,h,i", "'a,b,c,d,e,f,g,h,i' has more than 8 endpoints"},
	};
	char words[128], why[256];

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		snprintf(words, sizeof(words), "get a --endpoints=%s", bad[i].list);
		assert_int_equal(helper_load(&conf, &command_get, words), ERR_CONFIG);
		snprintf(why, sizeof(why), "--endpoints: %s (see 'etchlet help get')", bad[i].why);
		assert_string_equal(conf.why, why);
	}
	if (!IS_ENABLED(CONFIG_NET_TLS)) {
		assert_int_equal(helper_load(&conf, &command_get, "get a --endpoints https://a"),
			ERR_CONFIG);
		assert_string_equal(conf.why,
			"--endpoints: 'https://a' needs TLS, which this build does not have" SEE(
				"get"));
	}
}

static void test_endpoint_host_length(void **state)
{
	char words[512] = "get a --endpoints ";
	size_t n = strlen(words);

	(void)state;
	memset(words + n, 'a', 255);
	assert_int_equal(helper_load(&conf, &command_get, words), 0);
	assert_int_equal(strlen(conf.endpoints[0].host), 255);
	words[n + 255] = 'a';
	assert_int_equal(helper_load(&conf, &command_get, words), ERR_CONFIG);
}

static void test_device(void **state)
{
	static const char serial[] = "SN 12\r\n\0 \t\0";
	char words[128];

	(void)state;
	assert_int_equal(
		helper_load(&conf, &command_get, "get a --device-id d1 --user u-%i-%%:p%:"), 0);
	assert_string_equal(conf.device, "d1");
	assert_string_equal(conf.user, "u-d1-%");
	assert_string_equal(conf.password, "p%:");
	assert_null(conf.password_path);
	assert_int_equal(setenv("ETCHLET_TEST_ID", "from-env", 1), 0);
	assert_int_equal(
		helper_load(&conf, &command_get, "get a --device-id env:ETCHLET_TEST_ID"), 0);
	assert_string_equal(conf.device, "from-env");
	helper_write(serial, sizeof(serial));
	snprintf(words, sizeof(words), "get a --device-id file:%s", helper_path);
	assert_int_equal(helper_load(&conf, &command_get, words), 0);
	assert_string_equal(conf.device, "SN 12");
	helper_write("a\0b", 3);
	assert_int_equal(helper_load(&conf, &command_get, words), ERR_CONFIG);
	assert_non_null(strstr(conf.why, "holds a control character"));
	assert_int_equal(helper_load(&conf, &command_get, "get a --user %h:p"), 0);
	assert_string_equal(conf.user, conf.host);
}

static void test_etcdctl_environment_is_not_read(void **state)
{
	(void)state;
	assert_int_equal(setenv("ETCDCTL_ENDPOINTS", "http://other:1", 1), 0);
	assert_int_equal(setenv("ETCDCTL_USER", "u:p", 1), 0);
	assert_int_equal(helper_load(&conf, &command_get, "get a --endpoints http://b"), 0);
	assert_string_equal(conf.endpoints[0].host, "b");
	assert_null(conf.user);
}

static void test_warnings(void **state)
{
	struct conf_warning w;

	(void)state;
	assert_int_equal(helper_load(&conf, &command_get, "get a --keepalive-time 10s"), 0);
	assert_int_equal(conf_warning(&conf, 0, &w), 0);
	assert_int_equal(helper_load(&conf, &command_get,
				 "get a --keepalive-time 9999ms "
				 "--insecure-skip-tls-verify --endpoints http://a"),
		0);
	assert_int_equal(conf_warning(&conf, 0, &w), 1);
	assert_string_equal(w.about, "insecure-skip-tls-verify");
	assert_int_equal(conf_warning(&conf, 1, &w), 1);
	assert_string_equal(w.about, "keepalive-time");
	assert_int_equal(conf_warning(&conf, 2, &w), 0);
}

static void test_wipe(void **state)
{
	static const struct conf zero;

	(void)state;
	assert_int_equal(helper_load(&conf, &command_get, "get a --user u:secret"), 0);
	conf_wipe(&conf);
	assert_memory_equal(&conf, &zero, sizeof(conf));
}

struct lines {
	char text[16384];
	size_t len;
};

static void lines_add(void *user, const char *text, size_t len)
{
	struct lines *l = user;

	assert_true(l->len + len < sizeof(l->text));
	memcpy(l->text + l->len, text, len);
	l->len += len;
}

static void test_help(void **state)
{
	static struct lines l;
	size_t column = 0;

	(void)state;
	conf_help(0xff, lines_add, &l);
	for (size_t i = 0; i < l.len; i++) {
		column = l.text[i] == '\n' ? 0 : column + 1;
		assert_true(column <= 80);
		assert_false(l.text[i] == ' ' && l.text[i + 1] == '\n');
	}
	assert_non_null(strstr(l.text, "\n  -c, --config FILE           configuration file; "));
	assert_non_null(strstr(l.text, "\n      --dial-timeout TIME     DNS, TCP and TLS"));
	assert_non_null(
		strstr(l.text, "\n  mirror-mode = MODE          of those files, octal [0644]\n"));
	memset(&l, 0, sizeof(l));
	conf_help(CONF_GET, lines_add, &l);
	assert_non_null(strstr(l.text, "--prefix"));
	assert_null(strstr(l.text, "--once"));
	assert_null(strstr(l.text, "--state"));
	memset(&l, 0, sizeof(l));
	conf_help(CONF_VERSION, lines_add, &l);
	assert_int_equal(l.len, 0);
}

static void test_without_proxies(void **state)
{
	(void)state;
	if (IS_ENABLED(CONFIG_NET_PROXY))
		skip();
	assert_int_equal(setenv("https_proxy", "ftp://nonsense", 1), 0);
	assert_int_equal(helper_load(&conf, &command_get, "get a"), 0);
	assert_int_equal(unsetenv("https_proxy"), 0);
	assert_int_equal(helper_load(&conf, &command_get, "get a --proxy=none"), ERR_CONFIG);
	assert_string_equal(conf.why, "--proxy: is not part of this build (NET_PROXY)" SEE("get"));
	assert_int_equal(helper_load(&conf, &command_get, "get a --no-proxy=a"), ERR_CONFIG);
	assert_string_equal(
		conf.why, "--no-proxy: is not part of this build (NET_PROXY)" SEE("get"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_presets),
		cmocka_unit_test(test_words),
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_refused_is_one_line),
		cmocka_unit_test(test_endpoints),
		cmocka_unit_test(test_endpoints_refused),
		cmocka_unit_test(test_endpoint_host_length),
		cmocka_unit_test(test_device),
		cmocka_unit_test(test_etcdctl_environment_is_not_read),
		cmocka_unit_test(test_without_proxies),
		cmocka_unit_test(test_warnings),
		cmocka_unit_test(test_wipe),
		cmocka_unit_test(test_help),
	};

	return cmocka_run_group_tests(tests, helper_setup, helper_teardown);
}
