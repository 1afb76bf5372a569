/* SPDX-License-Identifier: Apache-2.0 */
/* The control socket, with real sockets and clients of every misbehaviour. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <fcntl.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/err.h"
#include "cmd/control.h"
#include "report_helper.h"

enum { TURNS_MAX = 400 };

static char dir[] = "/tmp/etchlet-test-XXXXXX";
static char path[80], folder[64];
static struct control control;
static char told[LOG_LINE_MAX];
static unsigned told_count;

static void teller(enum log_level level, const char *line, size_t len)
{
	(void)level;
	(void)snprintf(told, sizeof(told), "%.*s", (int)len, line);
	told_count++;
}

static int set_up(void **state)
{
	(void)state;
	(void)snprintf(dir, sizeof(dir), "/tmp/etchlet-test-XXXXXX");
	if (!mkdtemp(dir))
		return -1;
	(void)snprintf(folder, sizeof(folder), "%s/run", dir);
	(void)snprintf(path, sizeof(path), "%s/etchlet.sock", folder);
	rig_set_up(2);
	told_count = 0;
	log_set_writer(teller);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	control_close(&control);
	log_set_writer(NULL);
	(void)unlink(path);
	(void)rmdir(folder);
	return rmdir(dir);
}

static void open_it(void)
{
	assert_int_equal(control_open(&control, &rig.loop, path, &rig.report), 0);
	assert_int_equal(told_count, 0);
}

/* Some turns of the loop, without sleep. */
static void turn(void)
{
	rig.loop.is_stopped = true;
	for (int i = 0; i < 8; i++)
		assert_int_equal(loop_turn(&rig.loop), 0);
}

static void pass(int64_t ms)
{
	rig_now_ms += ms;
	turn();
}

static int connect_it(const char *request)
{
	int fd = port_local_connect(path);

	assert_true(fd >= 0);
	if (*request)
		assert_int_equal(send(fd, request, strlen(request), MSG_NOSIGNAL), strlen(request));
	return fd;
}

/* Everything up to the end of the stream, terminated; the agent turns meanwhile. */
static const char *answer(int fd)
{
	static char text[1 << 18];
	size_t len = 0;

	for (int i = 0; i < TURNS_MAX; i++) {
		ssize_t n = port_tcp_recv(fd, text + len, sizeof(text) - 1 - len);

		if (n > 0)
			len += (size_t)n;
		else if (n != ERR_AGAIN)
			break;
		else
			turn();
		assert_true(i < TURNS_MAX - 1);
	}
	text[len] = '\0';
	(void)close(fd);
	return text;
}

static bool is_report(const char *text)
{
	return json_is_line(text, strlen(text));
}

static void it_answers_and_hangs_up(void **state)
{
	struct stat st;

	(void)state;
	(void)umask(0);
	open_it();
	(void)umask(022);
	assert_int_equal(lstat(path, &st), 0);
	assert_true(S_ISSOCK(st.st_mode));
	assert_int_equal(st.st_mode & 07777, 0600);
	assert_true(is_report(answer(connect_it("json\n"))));
	assert_non_null(strstr(answer(connect_it("table\n")), "connection  not connected"));
	/* In the next breath it is another state. */
	rig_go_live(5);
	assert_non_null(strstr(answer(connect_it("json\n")), "\"connected\":true"));
	control_close(&control);
	assert_int_equal(access(path, F_OK), -1);
	control_close(&control);
}

static void rubbish_is_refused(void **state)
{
	static const char *const requests[] = {"\n", "JSON\n", "json \n", "json\r\n", "jso\n",
		"jsonx\n", "0123456789abcdef0123456789abcdef", "GET / HTTP/1.1\r\n\r\n"};

	(void)state;
	open_it();
	for (size_t i = 0; i < sizeof(requests) / sizeof(requests[0]); i++)
		assert_string_equal(
			answer(connect_it(requests[i])), "unknown request: it is json or table\n");
	assert_true(is_report(answer(connect_it("json\ntable\n"))));
}

static void a_request_may_come_in_pieces_or_end_without_a_line(void **state)
{
	int fd;

	(void)state;
	open_it();
	fd = connect_it("js");
	turn();
	assert_int_equal(send(fd, "on", 2, MSG_NOSIGNAL), 2);
	turn();
	assert_int_equal(send(fd, "\n", 1, MSG_NOSIGNAL), 1);
	assert_true(is_report(answer(fd)));
	fd = connect_it("json");
	assert_int_equal(shutdown(fd, SHUT_WR), 0);
	assert_true(is_report(answer(fd)));
	fd = connect_it("");
	assert_int_equal(shutdown(fd, SHUT_WR), 0);
	assert_string_equal(answer(fd), "");
}

static size_t places_taken(void)
{
	size_t n = 0;

	for (size_t i = 0; i < CONFIG_CONTROL_CLIENT_COUNT; i++)
		n += control.clients[i].fd.fd >= 0;
	return n;
}

static void who_says_nothing_is_sent_away(void **state)
{
	int fd;

	(void)state;
	open_it();
	fd = connect_it("jso");
	turn();
	assert_int_equal(places_taken(), 1);
	pass(CONTROL_CLIENT_MS - 1);
	assert_int_equal(places_taken(), 1);
	pass(1);
	assert_int_equal(places_taken(), 0);
	assert_string_equal(answer(fd), "");
}

static void a_flood_of_silent_clients_keeps_nobody_out(void **state)
{
	int fds[12];

	(void)state;
	open_it();
	for (size_t i = 0; i < sizeof(fds) / sizeof(fds[0]); i++) {
		fds[i] = connect_it("");
		turn();
		assert_true(is_report(answer(connect_it("json\n"))));
	}
	assert_int_equal(places_taken(), CONFIG_CONTROL_CLIENT_COUNT - 1);
	for (size_t i = 0; i < sizeof(fds) / sizeof(fds[0]); i++)
		(void)close(fds[i]);
	turn();
	assert_int_equal(places_taken(), 0);
	assert_null(rig.loop.timers);
}

static void clients_that_go_away_leave_nothing(void **state)
{
	(void)state;
	open_it();
	for (int i = 0; i < 200; i++) {
		int fd = connect_it(i % 2 ? "json\n" : "js");

		if (i % 3)
			turn();
		(void)close(fd);
		if (i % 8 == 7)
			turn();
	}
	turn();
	assert_int_equal(places_taken(), 0);
	assert_true(is_report(answer(connect_it("json\n"))));
}

/* Sends as little as the kernel can, so that the report does not fit. */
static void make_slow(const struct control_client *k)
{
	int small = 1;

	assert_int_equal(setsockopt(k->fd.fd, SOL_SOCKET, SO_SNDBUF, &small, sizeof(small)), 0);
}

static void have_a_long_report(void)
{
	static char longest[200];

	rig_set_up(REPORT_TEST_WATCHES);
	memset(longest, '"', sizeof(longest) - 1);
	for (size_t i = 0; i < REPORT_TEST_WATCHES; i++)
		rig.watches[i].name = longest;
}

static void a_slow_reader_gets_one_state_and_others_wait_for_it(void **state)
{
	int slow, other;

	(void)state;
	have_a_long_report();
	open_it();
	slow = connect_it("");
	turn();
	for (size_t i = 0; i < CONFIG_CONTROL_CLIENT_COUNT; i++) {
		if (control.clients[i].fd.fd >= 0)
			make_slow(&control.clients[i]);
	}
	assert_int_equal(send(slow, "json\n", 5, MSG_NOSIGNAL), 5);
	turn();
	assert_non_null(control.holder);
	other = connect_it("json\n");
	turn();
	rig_go_live(7);
	assert_int_equal(places_taken(), 2);
	/* What it has begun to read is of the moment at which it asked. */
	assert_null(strstr(answer(slow), "\"position\":7"));
	assert_non_null(strstr(answer(other), "\"position\":7"));
	assert_null(control.holder);
	assert_int_equal(places_taken(), 0);
}

static void a_reader_that_stops_is_sent_away(void **state)
{
	int slow, other, gone;

	(void)state;
	have_a_long_report();
	open_it();
	slow = connect_it("");
	turn();
	make_slow(&control.clients[0]);
	assert_int_equal(send(slow, "json\n", 5, MSG_NOSIGNAL), 5);
	turn();
	assert_non_null(control.holder);
	pass(1000);
	other = connect_it("json\n");
	gone = connect_it("json\n");
	turn();
	(void)close(gone);
	turn();
	assert_int_equal(places_taken(), 2);
	pass(CONTROL_CLIENT_MS - 1000);
	assert_true(is_report(answer(other)));
	assert_int_equal(places_taken(), 0);
	(void)close(slow);
}

/* -- whose socket it is ----------------------------------------------------------------------- */

static void a_stale_socket_is_taken_over(void **state)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	(void)state;
	assert_int_equal(mkdir(folder, 0700), 0);
	memcpy(addr.sun_path, path, strlen(path));
	assert_int_equal(bind(fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
	assert_int_equal(listen(fd, 1), 0);
	(void)close(fd);
	open_it();
	assert_true(is_report(answer(connect_it("json\n"))));
}

static void one_that_answers_stays(void **state)
{
	static struct control second;

	(void)state;
	open_it();
	assert_int_equal(control_open(&second, &rig.loop, path, &rig.report), ERR_LOCKED);
	assert_int_equal(told_count, 1);
	assert_non_null(strstr(told, "another process answers there"));
	/* It is told once, and tried again. */
	pass(CONTROL_RETRY_MS + CONTROL_RETRY_MS / 2);
	assert_int_equal(told_count, 1);
	assert_true(is_report(answer(connect_it("json\n"))));
	control_close(&control);
	pass(CONTROL_RETRY_MS + CONTROL_RETRY_MS / 2);
	assert_int_equal(told_count, 2);
	assert_non_null(strstr(told, ": made"));
	assert_true(is_report(answer(connect_it("json\n"))));
	control_close(&second);
	assert_int_equal(access(path, F_OK), -1);
}

static void another_one_at_its_place_is_left_alone(void **state)
{
	static struct control second;

	(void)state;
	open_it();
	assert_int_equal(unlink(path), 0);
	assert_int_equal(control_open(&second, &rig.loop, path, &rig.report), 0);
	control_close(&control);
	assert_true(is_report(answer(connect_it("json\n"))));
	control_close(&second);
}

static void what_is_no_socket_is_not_touched(void **state)
{
	FILE *f;

	(void)state;
	assert_int_equal(mkdir(folder, 0700), 0);
	f = fopen(path, "w");
	assert_non_null(f);
	(void)fclose(f);
	assert_int_equal(control_open(&control, &rig.loop, path, &rig.report), 0);
	assert_non_null(strstr(told, "something else than a socket"));
	assert_int_equal(access(path, F_OK), 0);
	/* A link neither, wherever it leads. */
	assert_int_equal(unlink(path), 0);
	assert_int_equal(symlink("/tmp/etchlet-nowhere", path), 0);
	pass(CONTROL_RETRY_MS + CONTROL_RETRY_MS / 2);
	assert_true(control.socket.fd < 0);
	assert_int_equal(unlink(path), 0);
	pass(CONTROL_RETRY_MS + CONTROL_RETRY_MS / 2);
	assert_true(is_report(answer(connect_it("json\n"))));
}

static void a_path_that_cannot_be_is_told_and_survived(void **state)
{
	static char longest[300];

	(void)state;
	memset(longest, 'x', sizeof(longest) - 1);
	assert_int_equal(control_open(&control, &rig.loop, longest, &rig.report), 0);
	assert_non_null(strstr(told, "too long"));
	control_close(&control);
	(void)snprintf(path, sizeof(path), "%s/a/b/c.sock", dir);
	assert_int_equal(control_open(&control, &rig.loop, path, &rig.report), 0);
	assert_int_equal(told_count, 2);
	assert_non_null(strstr(told, "no such file"));
}

static void it_is_tried_again_at_once_when_asked(void **state)
{
	struct control none = {0};

	(void)state;
	control_retry(&none);
	(void)snprintf(path, sizeof(path), "%s/taken", dir);
	assert_int_equal(mkdir(path, 0700), 0);
	assert_int_equal(control_open(&control, &rig.loop, path, &rig.report), 0);
	control_retry(&control);
	assert_true(control.socket.fd < 0);
	assert_int_equal(rmdir(path), 0);
	control_retry(&control);
	assert_true(is_report(answer(connect_it("json\n"))));
	control_retry(&control);
	assert_true(is_report(answer(connect_it("json\n"))));
}

static void what_can_be_no_socket_is_known_before(void **state)
{
	char longest[PORT_LOCAL_PATH_MAX + 1];

	(void)state;
	assert_int_equal(port_local_check(path), 0);
	assert_int_equal(control_open(&control, &rig.loop, path, &rig.report), 0);
	assert_int_equal(port_local_check(path), 0);
	assert_int_equal(port_local_check(dir), ERR_CONFIG);
	memset(longest, 'x', sizeof(longest) - 1);
	longest[sizeof(longest) - 1] = '\0';
	assert_int_equal(port_local_check(longest), ERR_LIMIT);
	longest[sizeof(longest) - 2] = '\0';
	assert_int_equal(port_local_check(longest), 0);
}

/* While another process makes one, or somebody means harm, nothing is replaced; a free path is used all the same. */
static void without_the_lock_nothing_is_replaced(void **state)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);
	int lock;

	(void)state;
	assert_int_equal(mkdir(folder, 0700), 0);
	lock = open(folder, O_RDONLY | O_DIRECTORY);
	assert_int_equal(flock(lock, LOCK_EX), 0);
	memcpy(addr.sun_path, path, strlen(path));
	/* Bound, and about to listen. */
	assert_int_equal(bind(fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
	assert_int_equal(control_open(&control, &rig.loop, path, &rig.report), 0);
	assert_true(control.socket.fd < 0);
	assert_int_equal(access(path, F_OK), 0);
	assert_int_equal(unlink(path), 0);
	pass(CONTROL_RETRY_MS + CONTROL_RETRY_MS / 2);
	assert_true(control.socket.fd >= 0);
	(void)close(fd);
	(void)close(lock);
}

static void too_few_descriptors_do_not_make_it_spin(void **state)
{
	struct rlimit old, few;
	uint64_t wakeups;
	int fd;

	(void)state;
	open_it();
	fd = connect_it("json\n");
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &old), 0);
	few = old;
	few.rlim_cur = (rlim_t)fd + 1;
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &few), 0);
	turn();
	wakeups = rig.loop.wakeups;
	assert_int_equal(control.listener.want, 0);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &old), 0);
	pass(CONTROL_PAUSE_MS);
	assert_true(rig.loop.wakeups > wakeups);
	assert_true(is_report(answer(fd)));
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		TEST(it_answers_and_hangs_up),
		TEST(rubbish_is_refused),
		TEST(a_request_may_come_in_pieces_or_end_without_a_line),
		TEST(who_says_nothing_is_sent_away),
		TEST(a_flood_of_silent_clients_keeps_nobody_out),
		TEST(clients_that_go_away_leave_nothing),
		TEST(a_slow_reader_gets_one_state_and_others_wait_for_it),
		TEST(a_reader_that_stops_is_sent_away),
		TEST(a_stale_socket_is_taken_over),
		TEST(one_that_answers_stays),
		TEST(another_one_at_its_place_is_left_alone),
		TEST(what_is_no_socket_is_not_touched),
		TEST(a_path_that_cannot_be_is_told_and_survived),
		TEST(what_can_be_no_socket_is_known_before),
		TEST(it_is_tried_again_at_once_when_asked),
		TEST(without_the_lock_nothing_is_replaced),
		TEST(too_few_descriptors_do_not_make_it_spin),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
