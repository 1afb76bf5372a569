/* SPDX-License-Identifier: Apache-2.0 */
/* Connections without TLS, over real sockets on the loopback interface. */
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/err.h"
#include "net/conn.h"

enum { GUARD_MS = 10000 };

struct client {
	struct loop loop;
	struct conn conn;
	struct conn_target target;
	struct loop_timer guard;
	int opened, failed, readable, writable;
	int err;
	char why[CONN_WHY_MAX];
	int reopen; /* how often failed() opens again */
	bool is_closing; /* open() closes */
};

static void on_guard(struct loop_timer *timer)
{
	(void)timer;
	fail_msg("nothing happens");
}

static void on_open(struct conn *c)
{
	struct client *cl = c->user;

	assert_int_equal(c->state, CONN_OPEN);
	cl->opened++;
	if (cl->is_closing)
		conn_close(c);
}

static void on_readable(struct conn *c)
{
	struct client *cl = c->user;

	cl->readable++;
	if (cl->is_closing)
		conn_close(c);
}

static void on_writable(struct conn *c)
{
	struct client *cl = c->user;

	cl->writable++;
}

static void on_failed(struct conn *c, int err, const char *why)
{
	struct client *cl = c->user;

	assert_int_equal(c->state, CONN_CLOSED);
	assert_null(cl->loop.fds);
	cl->failed++;
	cl->err = err;
	if (cl->reopen-- > 0)
		conn_open(c, &cl->target);
	/* Opening has not touched it. */
	snprintf(cl->why, sizeof(cl->why), "%s", why);
}

static const struct conn_ops ops = {on_open, on_readable, on_writable, on_failed};

static void client_set_up(struct client *cl, const char *host, uint16_t port, int64_t timeout_ms)
{
	memset(cl, 0, sizeof(*cl));
	loop_init(&cl->loop);
	conn_init(&cl->conn, &cl->loop, &ops, cl);
	cl->target = (struct conn_target){.host = host, .port = port, .timeout_ms = timeout_ms};
	cl->guard.fn = on_guard;
	loop_timer_set(&cl->loop, &cl->guard, GUARD_MS);
}

static void turn(struct client *cl)
{
	assert_int_equal(loop_turn(&cl->loop), 0);
}

static void turn_until(struct client *cl, const int *count, int at_least)
{
	while (*count < at_least)
		turn(cl);
}

/* Nothing is left behind in the loop but the test's own guard. */
static void expect_clean(struct client *cl)
{
	conn_close(&cl->conn);
	assert_int_equal(cl->conn.state, CONN_CLOSED);
	assert_null(cl->loop.fds);
	assert_null(cl->loop.tasks);
	loop_timer_clear(&cl->loop, &cl->guard);
	assert_null(cl->loop.timers);
	assert_int_equal(cl->conn.fd.fd, -1);
	assert_int_equal(cl->conn.resolve.fd, -1);
}

static int listen_on(const char *ip, int backlog, uint16_t *port)
{
	struct sockaddr_in sin = {.sin_family = AF_INET};
	struct sockaddr_in6 sin6 = {.sin6_family = AF_INET6};
	bool is_v6 = strchr(ip, ':') != NULL;
	int fd = socket(is_v6 ? AF_INET6 : AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	socklen_t len = is_v6 ? sizeof(sin6) : sizeof(sin);
	struct sockaddr *sa = is_v6 ? (struct sockaddr *)&sin6 : (struct sockaddr *)&sin;

	inet_pton(AF_INET, ip, &sin.sin_addr);
	inet_pton(AF_INET6, ip, &sin6.sin6_addr);
	assert_int_equal(bind(fd, sa, len), 0);
	assert_int_equal(listen(fd, backlog), 0);
	assert_int_equal(getsockname(fd, sa, &len), 0);
	*port = ntohs(is_v6 ? sin6.sin6_port : sin.sin_port);
	return fd;
}

/* A port on which nobody listens. */
static uint16_t closed_port(void)
{
	uint16_t port;

	close(listen_on("127.0.0.1", 1, &port));
	return port;
}

/* A listening socket whose queue is full: the next SYN gets no answer. */
struct blackhole {
	int listener;
	int fill[8];
	uint16_t port;
};

static void blackhole_open(struct blackhole *b)
{
	struct port_addr addr;

	b->listener = listen_on("127.0.0.1", 0, &b->port);
	port_addr_parse(&addr, "127.0.0.1", b->port);
	for (size_t i = 0; i < 8; i++) {
		struct pollfd p;

		b->fill[i] = port_tcp_connect(&addr, 0);
		p = (struct pollfd){.fd = b->fill[i], .events = POLLOUT};
		poll(&p, 1, 20);
	}
}

static void blackhole_close(struct blackhole *b)
{
	for (size_t i = 0; i < 8; i++)
		port_tcp_close(b->fill[i]);
	close(b->listener);
}

static void test_bytes_both_ways(void **state)
{
	static const char *const hosts[] = {"127.0.0.1", "::1"};
	char got[16];

	(void)state;
	for (int i = 0; i < 2; i++) {
		struct client cl;
		uint16_t port;
		int listener = listen_on(hosts[i], 4, &port);
		int peer;

		client_set_up(&cl, hosts[i], port, 5000);
		conn_open(&cl.conn, &cl.target);
		assert_int_equal(cl.conn.state, CONN_RESOLVE);
		turn_until(&cl, &cl.opened, 1);
		assert_int_equal(cl.conn.peer.port, port);
		peer = accept(listener, NULL, NULL);
		assert_int_equal(conn_recv(&cl.conn, got, sizeof(got)), ERR_AGAIN);
		assert_int_equal(conn_send(&cl.conn, "ping", 4), 4);
		assert_int_equal(read(peer, got, sizeof(got)), 4);
		assert_int_equal(write(peer, "pong!", 5), 5);
		turn_until(&cl, &cl.readable, 1);
		assert_int_equal(conn_recv(&cl.conn, got, 4), 4);
		/* What is left is told again. */
		turn_until(&cl, &cl.readable, 2);
		assert_int_equal(conn_recv(&cl.conn, got, sizeof(got)), 1);
		assert_int_equal(cl.writable, 0);
		conn_want_write(&cl.conn, true);
		turn_until(&cl, &cl.writable, 2);
		conn_want_write(&cl.conn, false);
		close(peer);
		turn_until(&cl, &cl.readable, 3);
		assert_int_equal(conn_recv(&cl.conn, got, sizeof(got)), ERR_CLOSED);
		assert_int_equal(conn_recv(&cl.conn, got, sizeof(got)), ERR_CLOSED);
		assert_non_null(strstr(conn_why(&cl.conn), "connection closed by the peer"));
		assert_int_equal(cl.failed, 0);
		expect_clean(&cl);
		close(listener);
	}
}

static void test_reading_paused(void **state)
{
	struct linger hard = {.l_onoff = 1};
	struct client cl;
	uint16_t port;
	int listener = listen_on("127.0.0.1", 4, &port);
	int peer;

	(void)state;
	client_set_up(&cl, "127.0.0.1", port, 5000);
	conn_open(&cl.conn, &cl.target);
	turn_until(&cl, &cl.opened, 1);
	peer = accept(listener, NULL, NULL);
	conn_want_read(&cl.conn, false);
	assert_int_equal(write(peer, "x", 1), 1);
	conn_want_write(&cl.conn, true);
	turn_until(&cl, &cl.writable, 3);
	conn_want_write(&cl.conn, false);
	assert_int_equal(cl.readable, 0);
	/* A reset is told all the same, and once. */
	setsockopt(peer, SOL_SOCKET, SO_LINGER, &hard, sizeof(hard));
	close(peer);
	turn_until(&cl, &cl.failed, 1);
	assert_int_equal(cl.err, ERR_RESET);
	assert_int_equal(cl.readable, 0);
	expect_clean(&cl);
	close(listener);
}

/* A send that fails leaves what the peer had said before. */
static void test_last_words(void **state)
{
	struct linger hard = {.l_onoff = 1};
	struct client cl;
	uint16_t port;
	int listener = listen_on("127.0.0.1", 4, &port);
	char got[16];
	ssize_t n;
	int peer;

	(void)state;
	client_set_up(&cl, "127.0.0.1", port, 5000);
	conn_open(&cl.conn, &cl.target);
	turn_until(&cl, &cl.opened, 1);
	peer = accept(listener, NULL, NULL);
	assert_int_equal(write(peer, "bye", 3), 3);
	turn_until(&cl, &cl.readable, 1);
	setsockopt(peer, SOL_SOCKET, SO_LINGER, &hard, sizeof(hard));
	close(peer);
	do {
		n = conn_send(&cl.conn, "more", 4);
	} while (n > 0);
	assert_int_equal(n, ERR_RESET);
	assert_int_equal(conn_send(&cl.conn, "more", 4), ERR_RESET);
	assert_int_equal(conn_recv(&cl.conn, got, sizeof(got)), 3);
	expect_clean(&cl);
	close(listener);
}

static void test_refused(void **state)
{
	struct client cl;

	(void)state;
	client_set_up(&cl, "127.0.0.1", closed_port(), 5000);
	conn_open(&cl.conn, &cl.target);
	assert_int_equal(cl.failed, 0);
	turn_until(&cl, &cl.failed, 1);
	assert_int_equal(cl.err, ERR_REFUSED);
	/* The owner names the target: its address is told only where the target is a name. */
	assert_string_equal(cl.why, "connection refused");
	assert_string_equal(conn_why(&cl.conn), "connection refused");
	expect_clean(&cl);
}

static void test_address_of_a_name_is_told(void **state)
{
	struct client cl;
	char expected[128];
	uint16_t port = closed_port();

	(void)state;
	client_set_up(&cl, "localhost", port, 5000);
	conn_open(&cl.conn, &cl.target);
	turn_until(&cl, &cl.failed, 1);
	snprintf(expected, sizeof(expected), "connect to 127.0.0.1:%u: connection refused", port);
	if (strchr(cl.why, '['))
		snprintf(expected, sizeof(expected), "connect to [::1]:%u: connection refused",
			port);
	assert_string_equal(cl.why, expected);
	expect_clean(&cl);
}

static void test_reopen_in_callback(void **state)
{
	struct client cl;

	(void)state;
	client_set_up(&cl, "127.0.0.1", closed_port(), 5000);
	cl.reopen = 3;
	conn_open(&cl.conn, &cl.target);
	turn_until(&cl, &cl.failed, 4);
	assert_non_null(strstr(cl.why, "connection refused"));
	expect_clean(&cl);
}

static void test_close_in_callback(void **state)
{
	struct client cl;
	uint16_t port;
	int listener = listen_on("127.0.0.1", 4, &port);

	(void)state;
	client_set_up(&cl, "127.0.0.1", port, 5000);
	cl.is_closing = true;
	for (int i = 1; i <= 3; i++) {
		conn_open(&cl.conn, &cl.target);
		turn_until(&cl, &cl.opened, i);
		assert_int_equal(cl.conn.state, CONN_CLOSED);
	}
	expect_clean(&cl);
	close(listener);
}

static void test_unreachable(void **state)
{
	struct client cl;

	(void)state;
	/* A kernel without a route says so at once; failed() comes from the loop even so. */
	client_set_up(&cl, "255.255.255.255", 1, 300);
	conn_open(&cl.conn, &cl.target);
	assert_int_equal(cl.failed, 0);
	turn_until(&cl, &cl.failed, 1);
	assert_true(cl.err < 0 && cl.err != ERR_AGAIN);
	assert_string_equal(cl.why, err_text(cl.err));
	expect_clean(&cl);
}

static void test_deadline_of_connect(void **state)
{
	struct blackhole b;
	struct client cl;

	(void)state;
	blackhole_open(&b);
	client_set_up(&cl, "127.0.0.1", b.port, 150);
	conn_open(&cl.conn, &cl.target);
	turn_until(&cl, &cl.failed, 1);
	assert_int_equal(cl.err, ERR_TIMEOUT);
	assert_string_equal(cl.why, "no answer within 150 ms");
	expect_clean(&cl);
	blackhole_close(&b);
}

static void test_names(void **state)
{
	struct client cl;
	uint16_t port;
	int listener = listen_on("127.0.0.1", 4, &port);

	(void)state;
	client_set_up(&cl, "localhost", port, 5000);
	conn_open(&cl.conn, &cl.target);
	/* Where it has an IPv6 address too, that one is refused, and the next is tried. */
	turn_until(&cl, &cl.opened, 1);
	assert_false(cl.conn.peer.is_v6);
	assert_int_equal(cl.conn.peer.port, port);
	assert_string_equal(conn_why(&cl.conn), "");
	conn_close(&cl.conn);

	cl.target.host = "no-such-name.invalid";
	cl.target.timeout_ms = 3000;
	conn_open(&cl.conn, &cl.target);
	turn_until(&cl, &cl.failed, 1);
	assert_true(cl.err == ERR_DNS || cl.err == ERR_TIMEOUT);
	assert_int_equal(strncmp(cl.why, "resolve no-such-name.invalid: ", 30), 0);
	assert_true(strlen(cl.why) > 30);
	expect_clean(&cl);
	close(listener);
}

/* The addresses are given by hand: a stopped one, a silent one, a good one. */
static void test_addresses_in_turn(void **state)
{
	struct blackhole b;
	struct client cl;
	uint16_t port;
	int listener = listen_on("127.0.0.1", 4, &port);

	(void)state;
	blackhole_open(&b);
	for (int with_good = 0; with_good < 2; with_good++) {
		struct port_addr addr;

		client_set_up(&cl, "127.0.0.1", closed_port(), 400);
		conn_open(&cl.conn, &cl.target);
		while (cl.conn.state != CONN_CONNECT && !cl.failed)
			turn(&cl);
		assert_int_equal(cl.failed, 0);
		port_addr_parse(&addr, "127.0.0.1", b.port);
		cl.conn.addrs[1] = addr;
		addr.port = port;
		cl.conn.addrs[2] = addr;
		cl.conn.addr_count = with_good ? 3 : 2;
		if (with_good) {
			turn_until(&cl, &cl.opened, 1);
			assert_int_equal(cl.conn.peer.port, port);
			assert_true(cl.loop.now_ms - cl.conn.start_ms < 400);
		} else {
			turn_until(&cl, &cl.failed, 1);
			assert_int_equal(cl.err, ERR_TIMEOUT);
			assert_non_null(strstr(cl.why, "within 400 ms"));
		}
		expect_clean(&cl);
	}
	blackhole_close(&b);
	close(listener);
}

/* Whether there is a child, alive or not; it is not collected by asking. */
static bool has_child(void)
{
	siginfo_t info;

	return waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) == 0;
}

static void test_cancel_in_every_state(void **state)
{
	struct blackhole b;
	struct client cl;
	int64_t end_ms;

	(void)state;
	blackhole_open(&b);
	client_set_up(&cl, "127.0.0.1", b.port, 5000);
	conn_open(&cl.conn, &cl.target);
	conn_close(&cl.conn);
	assert_null(cl.loop.tasks);
	conn_open(&cl.conn, &cl.target);
	while (cl.conn.state != CONN_CONNECT)
		turn(&cl);
	conn_close(&cl.conn);
	assert_null(cl.loop.fds);
	/* While the name is asked for; the child is collected. */
	cl.target.host = "no-such-name.invalid";
	for (int i = 0; i < 20; i++) {
		conn_open(&cl.conn, &cl.target);
		while (cl.conn.resolve.fd < 0)
			turn(&cl);
		conn_close(&cl.conn);
	}
	assert_int_equal(cl.opened + cl.failed, 0);
	end_ms = port_now_ms() + GUARD_MS;
	while (has_child() && port_now_ms() < end_ms) {
		port_signals_take();
		poll(NULL, 0, 5);
	}
	assert_false(has_child());
	expect_clean(&cl);
	blackhole_close(&b);
}

static void test_deadline_of_names(void **state)
{
	struct client cl;

	(void)state;
	client_set_up(&cl, "no-such-name.invalid", 1, 0);
	conn_open(&cl.conn, &cl.target);
	turn_until(&cl, &cl.failed, 1);
	assert_true(cl.err == ERR_TIMEOUT || cl.err == ERR_DNS);
	assert_int_equal(strncmp(cl.why, "resolve no-such-name.invalid: ", 30), 0);
	expect_clean(&cl);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_bytes_both_ways),
		cmocka_unit_test(test_reading_paused),
		cmocka_unit_test(test_last_words),
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_address_of_a_name_is_told),
		cmocka_unit_test(test_reopen_in_callback),
		cmocka_unit_test(test_close_in_callback),
		cmocka_unit_test(test_unreachable),
		cmocka_unit_test(test_deadline_of_connect),
		cmocka_unit_test(test_names),
		cmocka_unit_test(test_addresses_in_turn),
		cmocka_unit_test(test_cancel_in_every_state),
		cmocka_unit_test(test_deadline_of_names),
	};

	port_signals_open();
	alarm(60);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
