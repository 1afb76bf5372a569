/* SPDX-License-Identifier: Apache-2.0 */
/* Notices to the init system, received on a real socket. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/err.h"
#include "cmd/notify.h"
#include "report_helper.h"

static char dir[] = "/tmp/etchlet-test-XXXXXX";
static char path[64];
static int server = -1;
static struct notify notify;
static char got[512];

static void serve(const char *name, size_t len)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};

	memcpy(addr.sun_path, name, len);
	server = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0);
	assert_true(server >= 0);
	assert_int_equal(bind(server, (struct sockaddr *)&addr,
				 (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len)),
		0);
}

static int set_up(void **state)
{
	(void)state;
	(void)snprintf(dir, sizeof(dir), "/tmp/etchlet-test-XXXXXX");
	if (!mkdtemp(dir))
		return -1;
	(void)snprintf(path, sizeof(path), "%s/notify", dir);
	(void)unsetenv("WATCHDOG_USEC");
	(void)unsetenv("WATCHDOG_PID");
	rig_set_up(2);
	return setenv("NOTIFY_SOCKET", path, 1);
}

static int tear_down(void **state)
{
	(void)state;
	notify_close(&notify);
	if (server >= 0)
		(void)close(server);
	server = -1;
	(void)unlink(path);
	return rmdir(dir);
}

/* The next notice, "" when there is none. */
static const char *next(void)
{
	ssize_t n = recv(server, got, sizeof(got) - 1, 0);

	got[n > 0 ? n : 0] = '\0';
	return got;
}

static void pass(int64_t ms)
{
	rig_now_ms += ms;
	rig.loop.is_stopped = true; /* does not sleep */
	assert_int_equal(loop_turn(&rig.loop), 0);
}

static void a_start_is_told_and_hooks_inherit_nothing(void **state)
{
	(void)state;
	serve(path, strlen(path));
	(void)setenv("WATCHDOG_USEC", "0", 1);
	(void)setenv("WATCHDOG_PID", "1", 1);
	notify_open(&notify, &rig.loop, &rig.report);
	assert_null(getenv("NOTIFY_SOCKET"));
	assert_null(getenv("WATCHDOG_USEC"));
	assert_null(getenv("WATCHDOG_PID"));
	assert_string_equal(next(), "");
	notify_ready(&notify);
	assert_string_equal(next(), "READY=1");
	assert_string_equal(next(), "STATUS=not connected, 0 of 2 watches in step");
	notify_reloading(&notify);
	assert_true(strncmp(next(), "RELOADING=1\nMONOTONIC_USEC=", 27) == 0);
	assert_true(strlen(got) > 27 && strspn(got + 27, "0123456789") == strlen(got + 27));
	notify_ready(&notify);
	assert_string_equal(next(), "READY=1");
	/* Nothing has changed. */
	assert_string_equal(next(), "");
	notify_stopping(&notify);
	assert_string_equal(next(), "STOPPING=1");
}

static void the_status_follows_at_most_once_a_second(void **state)
{
	(void)state;
	serve(path, strlen(path));
	notify_open(&notify, &rig.loop, &rig.report);
	notify_ready(&notify);
	(void)next();
	(void)next();
	rig_go_live(5);
	pass(999);
	assert_string_equal(next(), "");
	pass(1);
	assert_string_equal(
		next(), "STATUS=connected to http://10.0.0.1:2379, 2 of 2 watches in step");
	rig.watches[0].trouble.is_on = true;
	pass(500);
	assert_string_equal(next(), "");
	pass(500);
	assert_string_equal(
		next(), "STATUS=connected to http://10.0.0.1:2379, 1 of 2 watches in step");
	pass(60000);
	assert_string_equal(next(), "");
}

static void an_abstract_name_will_do(void **state)
{
	char name[64];
	int len = snprintf(name, sizeof(name), "@etchlet-test-%d", (int)getpid());

	(void)state;
	(void)setenv("NOTIFY_SOCKET", name, 1);
	name[0] = '\0';
	serve(name, (size_t)len);
	notify_open(&notify, &rig.loop, &rig.report);
	notify_ready(&notify);
	assert_string_equal(next(), "READY=1");
}

static void the_watchdog_is_fed_by_the_loop_alone(void **state)
{
	char pid[16];

	(void)state;
	(void)snprintf(pid, sizeof(pid), "%d", (int)getpid());
	(void)setenv("WATCHDOG_USEC", "4000000", 1);
	(void)setenv("WATCHDOG_PID", pid, 1);
	serve(path, strlen(path));
	notify_open(&notify, &rig.loop, &rig.report);
	assert_string_equal(next(), "WATCHDOG=1");
	/* However long it takes: who does not turn does not feed. */
	rig_now_ms += 10000;
	assert_string_equal(next(), "");
	pass(0);
	assert_string_equal(next(), "WATCHDOG=1");
	/* It is due before half of the time is over. */
	for (int i = 0; i < 10; i++) {
		pass(2000);
		assert_string_equal(next(), "WATCHDOG=1");
		assert_string_equal(next(), "");
	}
}

static void another_process_watchdog_is_not_ours(void **state)
{
	static const char *const rubbish[] = {"", "-1", "4s", "99999999999999999999999"};

	(void)state;
	serve(path, strlen(path));
	for (size_t i = 0; i <= sizeof(rubbish) / sizeof(rubbish[0]); i++) {
		bool is_other = i == sizeof(rubbish) / sizeof(rubbish[0]);

		(void)setenv("NOTIFY_SOCKET", path, 1);
		(void)setenv("WATCHDOG_USEC", is_other ? "1000000" : rubbish[i], 1);
		if (is_other)
			(void)setenv("WATCHDOG_PID", "1", 1);
		notify_open(&notify, &rig.loop, &rig.report);
		assert_int_equal(notify.watchdog_ms, 0);
		assert_string_equal(next(), "");
		notify_close(&notify);
	}
}

static void without_a_socket_nothing_happens(void **state)
{
	static const char *const names[] = {"", "/", "relative", "vsock:2:1234", NULL};
	static char longest[300];

	(void)state;
	memset(longest, 'x', sizeof(longest) - 1);
	longest[0] = '/';
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]) + 1; i++) {
		const char *name = i < sizeof(names) / sizeof(names[0]) ? names[i] : longest;

		if (name)
			(void)setenv("NOTIFY_SOCKET", name, 1);
		(void)setenv("WATCHDOG_USEC", "1000", 1);
		notify_open(&notify, &rig.loop, &rig.report);
		notify_ready(&notify);
		notify_reloading(&notify);
		notify_stopping(&notify);
		assert_null(rig.loop.timers);
		assert_null(getenv("NOTIFY_SOCKET"));
		assert_null(getenv("WATCHDOG_USEC"));
		notify_close(&notify);
		notify_close(&notify);
	}
}

static void what_could_not_be_sent_comes_later(void **state)
{
	unsigned count = 0, ready = 0;

	(void)state;
	serve(path, strlen(path));
	notify_open(&notify, &rig.loop, &rig.report);
	/* Nobody reads: the queue fills up, and no call waits. */
	for (int i = 0; i < 100000 && !notify.due; i++)
		notify_reloading(&notify);
	assert_true(notify.due != 0);
	notify_ready(&notify);
	while (*next())
		count++;
	assert_true(count > 0);
	pass(NOTIFY_RETRY_MS);
	while (*next())
		ready += !strcmp(got, "READY=1");
	assert_int_equal(ready, 1);
	assert_int_equal(notify.due, 0);
}

static void an_init_system_that_comes_back_is_told(void **state)
{
	(void)state;
	notify_open(&notify, &rig.loop, &rig.report);
	notify_ready(&notify);
	serve(path, strlen(path));
	pass(NOTIFY_AWAY_MS);
	assert_string_equal(next(), "READY=1");
	assert_true(strncmp(next(), "STATUS=", 7) == 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(
			a_start_is_told_and_hooks_inherit_nothing, set_up, tear_down),
		cmocka_unit_test_setup_teardown(
			the_status_follows_at_most_once_a_second, set_up, tear_down),
		cmocka_unit_test_setup_teardown(an_abstract_name_will_do, set_up, tear_down),
		cmocka_unit_test_setup_teardown(
			the_watchdog_is_fed_by_the_loop_alone, set_up, tear_down),
		cmocka_unit_test_setup_teardown(
			another_process_watchdog_is_not_ours, set_up, tear_down),
		cmocka_unit_test_setup_teardown(
			without_a_socket_nothing_happens, set_up, tear_down),
		cmocka_unit_test_setup_teardown(
			what_could_not_be_sent_comes_later, set_up, tear_down),
		cmocka_unit_test_setup_teardown(
			an_init_system_that_comes_back_is_told, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
