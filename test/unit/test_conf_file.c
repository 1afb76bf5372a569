/* SPDX-License-Identifier: Apache-2.0 */
/* The configuration file. */
#include "conf_helper.h"

static struct conf conf;

static void test_sample(void **state)
{
	const struct conf_watch *w;

	(void)state;
	assert_int_equal(
		helper_check(&conf, "# /etc/etchlet.conf\n"
				    "endpoints     = http://10.0.0.1:2379,http://10.0.0.2:2379\n"
				    "user          = dev-%i\n"
				    "password-file = /etc/etchlet/password\n"
				    "device-id     = 0815\n"
				    "idle-after=2h\n"
				    "\n"
				    "[watch network]\n"
				    "key    = /config/%i/network/       # %i the device id\n"
				    "prefix = yes\n"
				    "mirror = /etc/etchlet.d/network\n"
				    "exec   = /usr/sbin/reload-network --quick\n"
				    "\n"
				    "[watch flags]\n"
				    "key    = /config/all/flags/\n"
				    "prefix = yes\n"
				    "print  = -                         # JSON lines\n"),
		0);
	assert_int_equal(conf.endpoint_count, 2);
	assert_string_equal(conf.endpoints[1].host, "10.0.0.2");
	assert_string_equal(conf.user, "dev-0815");
	assert_string_equal(conf.password_path, "/etc/etchlet/password");
	assert_int_equal(conf.idle_after_ms, 7200000);
	assert_int_equal(conf.watch_count, 2);
	w = &conf.watches[0];
	assert_string_equal(w->name, "network");
	assert_int_equal(w->line, 8);
	assert_string_equal((const char *)w->key.p, "/config/0815/network/");
	assert_int_equal(w->key.len, 21);
	assert_true(w->is_prefix);
	assert_false(w->is_prev_kv || w->is_mirror_adopt);
	assert_null(w->range_end.p);
	assert_string_equal(w->mirror, "/etc/etchlet.d/network");
	assert_int_equal(w->mirror_mode, 0644);
	assert_null(w->mirror_owner);
	assert_string_equal(w->exec[0], "/usr/sbin/reload-network");
	assert_string_equal(w->exec[1], "--quick");
	assert_null(w->exec[2]);
	assert_null(w->print);
	assert_int_equal(w->exec_timeout_ms, 30000);
	assert_int_equal(w->settle_ms, 0);
	w = &conf.watches[1];
	assert_string_equal(w->name, "flags");
	assert_string_equal(w->print, "-");
	assert_null(w->exec);
	assert_null(w->mirror);
}

static void test_sinks(void **state)
{
	const struct conf_watch *w = &conf.watches[0];

	(void)state;
	assert_int_equal(
		helper_check(&conf,
			"[ watch  a.b-c_D1 ] # x\n"
			"key = k\nprev-kv = true\nmirror = rel/ative/..x\n"
			"mirror-mode = 0600\nmirror-owner = root:1000\nmirror-adopt = yes\n"
			"exec = \"/a b/c\" --x=\"y z\"'\"\"' a#b \"#\" \\n \"\" # comment \"\n"
			"exec-timeout = 1m\nsettle = 500ms\nprint = /run/fifo\n"),
		0);
	assert_string_equal(w->name, "a.b-c_D1");
	assert_true(w->is_prev_kv && w->is_mirror_adopt);
	assert_int_equal(w->mirror_mode, 0600);
	assert_string_equal(w->mirror_owner, "root:1000");
	assert_string_equal(w->exec[0], "/a b/c");
	assert_string_equal(w->exec[1], "--x=y z''");
	assert_string_equal(w->exec[2], "a#b");
	assert_string_equal(w->exec[3], "#");
	assert_string_equal(w->exec[4], "\\n");
	assert_string_equal(w->exec[5], "");
	assert_null(w->exec[6]);
	assert_int_equal(w->exec_timeout_ms, 60000);
	assert_int_equal(w->settle_ms, 500);
	assert_string_equal(w->print, "/run/fifo");
}

/* One blank is enough, also behind a word that is where it was written. */
static void test_comment_behind_program(void **state)
{
	const struct conf_watch *w = &conf.watches[0];

	(void)state;
	assert_int_equal(helper_check(&conf, "[watch a]\nkey = k\nexec = /bin/a b # c d\n"), 0);
	assert_string_equal(w->exec[0], "/bin/a");
	assert_string_equal(w->exec[1], "b");
	assert_null(w->exec[2]);
	assert_int_equal(helper_check(&conf, "[watch a]\nkey = k\nexec = /bin/a#b #c\n"), 0);
	assert_string_equal(w->exec[0], "/bin/a#b");
	assert_null(w->exec[1]);
}

static void assert_key(const char *written, const void *key, size_t len)
{
	char text[512];

	snprintf(text, sizeof(text), "device-id = D\n[watch a]\nkey = %s\nprefix = yes\nprint = -",
		written);
	assert_int_equal(helper_check(&conf, text), 0);
	assert_int_equal(conf.watches[0].key.len, len);
	assert_memory_equal(conf.watches[0].key.p, key, len);
	/* As if it were a string, for the sake of what prints it. */
	assert_int_equal(conf.watches[0].key.p[len], 0);
}

static void test_values(void **state)
{
	(void)state;
	assert_key("a b \t", "a b", 3);
	assert_key("a#b #c", "a#b", 3);
	assert_key("a\\n\"b\"", "a\\n\"b\"", 6);
	assert_key("\"a\"", "a", 1);
	assert_key("\" a # b \"", " a # b ", 7);
	assert_key("\"a\"\t# b \"", "a", 1);
	assert_key("\"\\\"\\\\\\x41\\xfF\\x00z\"", "\"\\A\xff\0z", 6);
	assert_key("\"\"", "", 0);
	assert_key("%i%%%i", "D%D", 3);
	assert_key("\"%i\\x25i\"", "DD", 2);
	assert_key("\xff\xfe", "\xff\xfe", 2);
	assert_key("\xc3\xa4", "\xc3\xa4", 2);
}

static void test_range_end(void **state)
{
	(void)state;
	assert_int_equal(helper_check(&conf, "[watch a]\nkey = b\nrange-end = ba\nprint = -\n"), 0);
	assert_int_equal(conf.watches[0].range_end.len, 2);
	assert_int_equal(
		helper_check(&conf, "[watch a]\nkey = b\nrange-end = \"\\x00\"\nprint = -\n"), 0);
	assert_int_equal(
		helper_check(&conf, "[watch a]\nkey = \"\"\nrange-end = b\nprint = -\n"), 0);
}

static void test_forms_of_lines(void **state)
{
	(void)state;
	/* DOS line ends, a byte order mark, no line end at the end, blanks in front */
	assert_int_equal(
		helper_check(&conf, "\xEF\xBB\xBF"
				    "endpoints=http://x:1\r\n\r\n \t# c\r\n"
				    "\t[watch a]\r\n key\t=\tk\r\nprint=\"-\"\r\nprefix=no"),
		0);
	assert_string_equal(conf.endpoints[0].host, "x");
	assert_string_equal((const char *)conf.watches[0].key.p, "k");
	assert_string_equal(conf.watches[0].print, "-");
	assert_false(conf.watches[0].is_prefix);
	assert_int_equal(helper_check(&conf, ""), 0);
	assert_int_equal(helper_check(&conf, "\n\n\n"), 0);
	assert_int_equal(helper_check(&conf, "#"), 0);
	assert_int_equal(helper_check(&conf, "syslog = yes"), 0);
	assert_true(conf.is_syslog);
}

static void test_command_line_wins(void **state)
{
	static const char text[] = "dial-timeout = 7s\ncommand-timeout = 8s\nuser = a:b\n"
				   "prefix = yes\nrev = 5\nonce = yes\ntimeout = 5s\n"
				   "device-id = f\nendpoints = a,b\n";
	char words[256];

	(void)state;
	helper_write(text, sizeof(text) - 1);
	snprintf(words, sizeof(words),
		"get k e --dial-timeout 9s -c %s --user x --password-file y --device-id c "
		"--endpoints c",
		helper_path);
	assert_int_equal(helper_load(&conf, &command_get, words), 0);
	assert_int_equal(conf.dial_timeout_ms, 9000);
	assert_int_equal(conf.command_timeout_ms, 8000);
	assert_string_equal(conf.user, "x");
	assert_string_equal(conf.password_path, "y");
	assert_null(conf.password);
	assert_string_equal(conf.device, "c");
	assert_int_equal(conf.endpoint_count, 1);
	assert_int_equal(conf.rev, 5);
	/* A range that is written out wins over a prefix from the file. */
	assert_false(conf.is_prefix);
	snprintf(words, sizeof(words), "get k -c %s --password p", helper_path);
	assert_int_equal(helper_load(&conf, &command_get, words), 0);
	assert_true(conf.is_prefix);
	assert_string_equal(conf.user, "a");
	assert_string_equal(conf.password, "p");
}

static void test_what_is_overridden_is_checked(void **state)
{
	char words[256];

	(void)state;
	helper_write("dial-timeout = 7\n", 17);
	snprintf(words, sizeof(words), "get k --dial-timeout 9s -c %s", helper_path);
	assert_int_equal(helper_load(&conf, &command_get, words), ERR_CONFIG);
	helper_write("dial-timeout = 7s\ndial-timeout = 7s\n", 36);
	assert_int_equal(helper_load(&conf, &command_get, words), ERR_CONFIG);
	assert_non_null(strstr(conf.why, ":2: 'dial-timeout' is given twice"));
}

#define WATCH "[watch a]\nkey = k\n"

static void test_refused(void **state)
{
	/* In why: what follows the file's name. */
	static const struct {
		const char *text, *why;
	} bad[] = {
		{"frobnicate = 5\n", ":1: 'frobnicate' is not known here"},
		{"\n\nfrobnicate = 5\n", ":3: 'frobnicate' is not known here"},
		{"syslog\n", ":1: 'syslog' is not followed by ="},
		{"syslog yes\n", ":1: 'syslog' is not followed by ="},
		{"= yes\n", ":1: '' is not known here"},
		{"--syslog = yes\n", ":1: '--syslog' is not known here"},
		{"config = x\n", ":1: 'config' is not known here"},
		{"mirror = /x\n", ":1: 'mirror' belongs in a section [watch NAME]"},
		{WATCH "user = x\n", ":3: 'user' belongs before the first section"},
		{"syslog = yes\nsyslog = no\n", ":2: 'syslog' is given twice"},
		{"syslog =\n", ":1: syslog: needs a value"},
		{"syslog = # yes\n", ":1: syslog: needs a value"},
		{"syslog = maybe\n", ":1: syslog: 'maybe' is not one of yes, no, true and false"},
		{"dial-timeout = 5\n",
			":1: dial-timeout: '5' needs a unit, such as 500ms, 5s, 10m or 1h30m"},
		{"max-value = 1T\n", ":1: max-value: '1T' is not a size such as 64K, 2M or 1G"},
		{"cacert = \"a\n", ":1: cacert: lacks a closing quote"},
		{"cacert = \"a\\\"\n", ":1: cacert: lacks a closing quote"},
		{"cacert = \"a\\", ":1: cacert: has a \\ before what is not \", \\ or xNN"},
		{"cacert = \"\\n\"\n", ":1: cacert: has a \\ before what is not \", \\ or xNN"},
		{"cacert = \"\\x4\"\n", ":1: cacert: has a \\x without two hex digits"},
		{"cacert = \"\\x", ":1: cacert: has a \\x without two hex digits"},
		{"cacert = \"\\x4", ":1: cacert: has a \\x without two hex digits"},
		{"cacert = \"a\" b\n", ":1: cacert: has something after its closing quote"},
		{"cacert = \"a\"#b\n", ":1: cacert: has something after its closing quote"},
		{"cacert = \"a\\x00\"\n", ":1: cacert: 'a\\x00' holds a NUL byte"},
		{"cacert = \"\"\n", ":1: cacert: '' is empty"},
		{"password = \"secret\n", ":1: password: lacks a closing quote"},
		{"user = \"secret\\x00\"\n", ":1: user: holds a NUL byte"},
		{"password = x\n", ":1: password: needs user"},
		{"user = a\n",
			":1: user: needs a password: NAME:PASSWORD, password or password-file"},
		{"user = a:b\npassword-file = c\n",
			":1: user: has a password, and another one is given"},
		{"\nuser = %d:p\n", ":2: user: has a % that is not %i, %h or %%"},
		{"\nidle-after = 1s\n", ":2: idle-after: must be more than probe-interval"},
		{"\nprobe-interval = 1h\n", ":2: probe-interval: must be less than idle-after"},
		{"\n\ncert = a\n", ":3: cert: needs key"},
		{"\nendpoints = a,ftp://b\n",
			":2: endpoints: 'ftp://b' begins with neither http:// nor https://"},
		{"device-id = file:/nowhere\n",
			":1: device-id: 'file:/nowhere' cannot be read: no such file"},
		{"[watch]\n", ":1: '[watch]' is not [watch NAME]"},
		{"[watch ]\n", ":1: '' is not a name of 1 to 57 letters, digits, - _ ."},
		{"[watch a\n", ":1: '[watch a' is not [watch NAME]"},
		{"[watch a] b\n", ":1: '[watch a] b' is not [watch NAME]"},
		{"[watch a b]\n", ":1: '[watch a b]' is not [watch NAME]"},
		{"[watcha]\n", ":1: '[watcha]' is not [watch NAME]"},
		{"[global]\n", ":1: '[global]' is not [watch NAME]"},
		{"[", ":1: '[' is not [watch NAME]"},
		{"[watch a/b]\n", ":1: 'a/b' is not a name of 1 to 57 letters, digits, - _ ."},
		{"[watch a]\nprint = -\n", ":1: 'a' has no key"},
		{"[watch a]\nprint = -\n[watch b]\n", ":1: 'a' has no key"},
		{WATCH, ":1: 'a' has no mirror, exec, print, post or fetch"},
		{WATCH "prefix = yes\n[watch b]\n",
			":1: 'a' has no mirror, exec, print, post or fetch"},
		{WATCH "print = -\n" WATCH "print = -\n", ":4: 'a' is given twice"},
		{WATCH "key = l\n", ":3: 'key' is given twice"},
		{WATCH "print = -\nprint = x\n", ":4: 'print' is given twice"},
		{"[watch a]\nkey = \"\"\nprint = -\n", ":1: 'a' has an empty key and no prefix"},
		{"[watch a]\nkey = %x\n", ":2: key: '%x' has a % that is not %i, %h or %%"},
		{"[watch a]\nkey = x%\n", ":2: key: 'x%' has a % that is not %i, %h or %%"},
		{WATCH "print = -\nprefix = yes\nrange-end = z\n",
			":1: 'a' has prefix and range-end"},
		{WATCH "print = -\nrange-end = k\n",
			":1: 'a' has a range-end that is not above its key"},
		{WATCH "print = -\nrange-end = a\n",
			":1: 'a' has a range-end that is not above its key"},
		{WATCH "range-end = z\nmirror = /m\n",
			":1: 'a' has mirror, which needs prefix or a single key"},
		{WATCH "print = -\nmirror-mode = 0600\n", ":4: 'a' has mirror-mode without mirror"},
		{WATCH "print = -\nhttp-key = x\n",
			":4: 'a' has http-cacert, http-cert or http-key without post or fetch"},
		{WATCH "print = -\nhttp-cert = x\nhttp-cacert = x\n",
			":5: 'a' has http-cacert, http-cert or http-key without post or fetch"},
		{WATCH "print = -\nmirror-owner = x\n", ":4: 'a' has mirror-owner without mirror"},
		{WATCH "print = -\nexec-timeout = 1s\n", ":4: 'a' has exec-timeout without exec"},
		{WATCH "mirror-mode = 0999\n",
			":3: mirror-mode: '0999' is not an octal mode such as 0640"},
		{WATCH "mirror-owner = :x\n", ":3: mirror-owner: ':x' is not USER or USER:GROUP"},
		{WATCH "mirror-owner = a:b:c\n",
			":3: mirror-owner: 'a:b:c' is not USER or USER:GROUP"},
		{WATCH "mirror = /a/../b\n", ":3: mirror: '/a/../b' may not have '..' in it"},
		{WATCH "mirror = ..\n", ":3: mirror: '..' may not have '..' in it"},
		{WATCH "exec = # x\n", ":3: exec: needs a program"},
		{WATCH "exec = \"\" x\n", ":3: exec: needs a program"},
		{WATCH "exec = a \"b c\n", ":3: exec: lacks a closing quote"},
		{WATCH "exec = a \"\\x00\"\n", ":3: exec: holds a NUL byte"},
		{WATCH "exec = a \"\\q\"\n", ":3: exec: has a \\ before what is not \", \\ or xNN"},
		{WATCH "mirror = /m\n[watch b]\nkey = k\nmirror = /m\n",
			":4: 'b' has its mirror in that of 'a', or around it"},
		{WATCH "mirror = /m\n[watch b]\nkey = k\nmirror = //m/./x/\n",
			":4: 'b' has its mirror in that of 'a', or around it"},
		{WATCH "mirror = m/x\n[watch b]\nkey = k\nmirror = ./m\n",
			":4: 'b' has its mirror in that of 'a', or around it"},
		{WATCH "mirror = /\n[watch b]\nkey = k\nmirror = /x\n",
			":4: 'b' has its mirror in that of 'a', or around it"},
		{"sys\x01"
		 "log = \x7f\n",
			":1: 'sys\\x01log' is not known here"},
	};
	char why[CONF_WHY_MAX];

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		assert_int_equal(helper_check(&conf, bad[i].text), ERR_CONFIG);
		snprintf(why, sizeof(why), "%s%s", helper_path, bad[i].why);
		assert_string_equal(conf.why, why);
	}
}

static void test_mirrors_side_by_side(void **state)
{
	(void)state;
	assert_int_equal(helper_check(&conf, WATCH
				 "mirror = /m/ab\n[watch b]\nkey = k\nmirror = /m/a\n"
				 "[watch c]\nkey = k\nmirror = m\n[watch d]\nkey = k\nprint = -\n"),
		0);
}

static void test_nul_bytes(void **state)
{
	static const char text[] = "syslog = yes\n# a\0b\n";
	char why[128];

	(void)state;
	assert_int_equal(helper_check_bytes(&conf, text, sizeof(text) - 1), ERR_CONFIG);
	snprintf(why, sizeof(why), "%s:2: holds a NUL byte", helper_path);
	assert_string_equal(conf.why, why);
}

static void test_limits(void **state)
{
	static char text[CONFIG_CONF_TEXT_BYTES + 64];
	char name[128];
	size_t n = 0;

	(void)state;
	/* A line as long as can be, and a file that is too long. */
	memset(text, '#', sizeof(text));
	assert_int_equal(helper_check_bytes(&conf, text, CONFIG_CONF_TEXT_BYTES - 1), ERR_CONFIG);
	assert_non_null(strstr(conf.why, "does not fit into the"));
	assert_int_equal(helper_check_bytes(&conf, text, CONFIG_CONF_TEXT_BYTES - 512), 0);
	assert_int_equal(helper_check_bytes(&conf, text, CONFIG_CONF_TEXT_BYTES), ERR_CONFIG);
	snprintf(name, sizeof(name),
		"--config: '%s' is longer than the %d bytes there is room for"
		" (see 'etchlet help check')",
		helper_path, CONFIG_CONF_TEXT_BYTES - 1);
	assert_string_equal(conf.why, name);
	/* A key that is too long: named, and cut where it is shown. */
	n = (size_t)snprintf(text, sizeof(text), "[watch a]\nkey = ");
	memset(text + n, 'k', CONFIG_ETCD_KEY_BYTES + 1);
	n += CONFIG_ETCD_KEY_BYTES;
	memcpy(text + n + 1, "\nprint = -\n", 11);
	assert_int_equal(helper_check_bytes(&conf, text, n + 12), ERR_CONFIG);
	assert_non_null(strstr(conf.why, "kkk...' is longer than"));
	assert_true(strlen(conf.why) < 400);
	/* Too many watches. */
	n = 0;
	for (int i = 0; i <= CONFIG_CONF_WATCH_COUNT; i++)
		n += (size_t)snprintf(
			text + n, sizeof(text) - n, "[watch w%d]\nkey = k\nprint = -\n", i);
	assert_int_equal(helper_check_bytes(&conf, text, n), ERR_CONFIG);
	assert_non_null(strstr(conf.why, "of this build"));
	/* A name at its limit and above. */
	for (int len = CONFIG_JOURNAL_NAME_LEN; len <= CONFIG_JOURNAL_NAME_LEN + 1; len++) {
		memset(name, 'n', sizeof(name));
		n = (size_t)snprintf(
			text, sizeof(text), "[watch %.*s]\nkey = k\nprint = -\n", len, name);
		assert_int_equal(helper_check_bytes(&conf, text, n),
			len > CONFIG_JOURNAL_NAME_LEN ? ERR_CONFIG : 0);
	}
}

/* Whatever is cut off, the rest is taken or refused with one line that can be shown. */
static void test_cut_and_changed(void **state)
{
	static const char text[] = "\xEF\xBB\xBF#\nuser = \"a\\x41\":b # c\ncert = x\nkey = y\n"
				   "[watch n]\nkey = \"%i\\\\\"\nexec = a \"b\\\" c\" d\n"
				   "mirror = /m\nrange-end = z\n";
	static const char changes[] = "\0\"\\\n=#[] %\xff";
	char changed[sizeof(text)];

	(void)state;
	for (size_t i = 0; i < sizeof(text); i++) {
		(void)helper_check_bytes(&conf, text, i);
		assert_null(strpbrk(conf.why, "\n\r\t"));
		for (size_t j = 0; j < sizeof(changes); j++) {
			int r;

			memcpy(changed, text, sizeof(text));
			changed[i] = changes[j];
			r = helper_check_bytes(&conf, changed, sizeof(text) - 1);
			assert_true(r == 0 || (r == ERR_CONFIG && conf.why[0]));
			assert_null(strpbrk(conf.why, "\n\r\t"));
		}
	}
}

static void test_missing_file(void **state)
{
	static const struct conf_command command_run = {"run", "", "", CONF_RUN, 0, 0};

	(void)state;
	/* The default file is not there on the machine that runs the tests. */
	if (access(CONFIG_DEFAULT_CONFIG_PATH, F_OK) == 0)
		skip();
	assert_int_equal(helper_load(&conf, &command_check, "check"), 0);
	assert_int_equal(helper_load(&conf, &command_run, "run"), ERR_CONFIG);
	assert_non_null(
		strstr(conf.why, CONFIG_DEFAULT_CONFIG_PATH "' cannot be read: no such file"));
	assert_int_equal(
		helper_load(&conf, &command_run, "run -c /dev/null --timeout 5s"), ERR_CONFIG);
	assert_string_equal(conf.why, "--timeout: needs once (see 'etchlet help run')");
	assert_int_equal(
		helper_load(&conf, &command_run, "run -c /dev/null --timeout 5s --once"), 0);
	assert_string_equal(conf.state_path, CONFIG_DEFAULT_STATE_PATH);
}

static void test_folder_as_file(void **state)
{
	(void)state;
	assert_int_equal(helper_load(&conf, &command_check, "check -c /tmp"), ERR_CONFIG);
	assert_non_null(strstr(conf.why, "--config: '/tmp' cannot be read: "));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_sample),
		cmocka_unit_test(test_sinks),
		cmocka_unit_test(test_comment_behind_program),
		cmocka_unit_test(test_values),
		cmocka_unit_test(test_range_end),
		cmocka_unit_test(test_forms_of_lines),
		cmocka_unit_test(test_command_line_wins),
		cmocka_unit_test(test_what_is_overridden_is_checked),
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_mirrors_side_by_side),
		cmocka_unit_test(test_nul_bytes),
		cmocka_unit_test(test_limits),
		cmocka_unit_test(test_cut_and_changed),
		cmocka_unit_test(test_missing_file),
		cmocka_unit_test(test_folder_as_file),
	};

	return cmocka_run_group_tests(tests, helper_setup, helper_teardown);
}
