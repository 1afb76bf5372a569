/* SPDX-License-Identifier: Apache-2.0 */
/* Addresses, names and TCP of the Linux port. */
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/err.h"
#include "port/port.h"

static void expect_addr(const char *text, uint16_t port, const char *formatted)
{
	struct port_addr addr;
	char out[PORT_ADDR_TEXT_MAX];

	assert_int_equal(port_addr_parse(&addr, text, port), 0);
	assert_int_equal(addr.port, port);
	assert_string_equal(port_addr_format(out, &addr), formatted);
}

static void test_addresses(void **state)
{
	static const char *const names[] = {"", "localhost", "1.2.3", "1.2.3.4.5", "256.1.1.1",
		"1.2.3.4%lo", "::1%", "::1%nosuchinterface", "[::1]", ":::", "0:0:0:0:0:0:0:0:0",
		"1111:2222:3333:4444:5555:6666:7777:8888:9999:aaaa:bbbb:cccc"};
	struct port_addr addr;
	char out[PORT_ADDR_TEXT_MAX];

	(void)state;
	expect_addr("10.0.0.1", 2379, "10.0.0.1:2379");
	expect_addr("::1", 2379, "[::1]:2379");
	expect_addr("fe80::1%7", 65535, "[fe80::1%7]:65535");
	expect_addr("fe80::1%lo", 1, "[fe80::1%1]:1");
	expect_addr("::ffff:1.2.3.4", 1, "[::ffff:1.2.3.4]:1");
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		assert_int_equal(port_addr_parse(&addr, names[i], 1), ERR_RANGE);
	/* The longest there is. */
	memset(&addr, 0xff, sizeof(addr));
	addr.is_v6 = true;
	port_addr_format(out, &addr);
	assert_string_equal(out, "[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff%4294967295]:65535");
}

static int take(struct port_resolve *r, struct port_addr *addrs, char *why, size_t cap)
{
	struct pollfd p = {.fd = r->fd, .events = POLLIN};
	int64_t end_ms = port_now_ms() + 10000;
	int n;

	while ((n = port_resolve_take(r, addrs, PORT_ADDR_MAX, why, cap)) == ERR_AGAIN &&
		port_now_ms() < end_ms)
		poll(&p, 1, 1000);
	return n;
}

static bool has_child(void)
{
	siginfo_t info;

	return waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) == 0;
}

static void expect_no_child(void)
{
	int64_t end_ms = port_now_ms() + 10000;

	while (has_child() && port_now_ms() < end_ms) {
		struct pollfd p = {.fd = port_signals_open(), .events = POLLIN};

		poll(&p, 1, 10);
		port_signals_take();
	}
	assert_false(has_child());
}

static void test_resolve(void **state)
{
	struct port_resolve r;
	struct port_addr addrs[PORT_ADDR_MAX];
	char why[64] = "", long_name[PORT_HOST_MAX + 1], out[PORT_ADDR_TEXT_MAX];
	bool has_loopback = false;
	int n;

	(void)state;
	/* As every program has it: a child that ends is told of. */
	assert_true(port_signals_open() >= 0);
	assert_int_equal(port_resolve_start(&r, "localhost", 2379), 0);
	n = take(&r, addrs, why, sizeof(why));
	assert_true(n >= 1 && n <= PORT_ADDR_MAX);
	for (int i = 0; i < n; i++) {
		assert_int_equal(addrs[i].port, 2379);
		port_addr_format(out, &addrs[i]);
		has_loopback |= !strcmp(out, "127.0.0.1:2379") || !strcmp(out, "[::1]:2379");
	}
	assert_true(has_loopback);
	port_resolve_cancel(&r);
	port_resolve_cancel(&r);
	assert_int_equal(r.fd, -1);

	assert_int_equal(port_resolve_start(&r, "no-such-name.invalid", 1), 0);
	assert_int_equal(take(&r, addrs, why, sizeof(why)), ERR_DNS);
	assert_true(why[0]);
	port_resolve_cancel(&r);

	memset(long_name, 'a', PORT_HOST_MAX);
	long_name[PORT_HOST_MAX] = '\0';
	assert_int_equal(port_resolve_start(&r, long_name, 1), ERR_LIMIT);
	port_resolve_cancel(&r);
	expect_no_child();
}

/* The child is killed before it said anything: an answer all the same, and no wait. */
static void test_resolve_killed(void **state)
{
	struct port_resolve r;
	struct port_addr addrs[PORT_ADDR_MAX];
	char why[64] = "";
	int n;

	(void)state;
	assert_int_equal(port_resolve_start(&r, "no-such-name.invalid", 1), 0);
	kill(r.pid, SIGKILL);
	n = take(&r, addrs, why, sizeof(why));
	assert_int_equal(n, ERR_DNS);
	assert_true(why[0]);
	port_resolve_cancel(&r);
	for (int i = 0; i < 30; i++) {
		assert_int_equal(port_resolve_start(&r, "no-such-name.invalid", 1), 0);
		port_resolve_cancel(&r);
	}
	expect_no_child();
}

/* A descriptor held by the child would keep its other end from seeing the end. */
static void test_resolve_holds_nothing(void **state)
{
	struct port_resolve r;
	struct pollfd p;
	int ends[2];
	char byte;

	(void)state;
	assert_int_equal(pipe(ends), 0);
	assert_int_equal(port_resolve_start(&r, "no-such-name.invalid", 1), 0);
	close(ends[1]);
	p = (struct pollfd){.fd = ends[0], .events = POLLIN};
	assert_int_equal(poll(&p, 1, 5000), 1);
	assert_int_equal(read(ends[0], &byte, 1), 0);
	close(ends[0]);
	port_resolve_cancel(&r);
	expect_no_child();
}

static int listener_open(uint16_t *port)
{
	struct sockaddr_in sin = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof(sin);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_int_equal(bind(fd, (struct sockaddr *)&sin, len), 0);
	assert_int_equal(listen(fd, 4), 0);
	getsockname(fd, (struct sockaddr *)&sin, &len);
	*port = ntohs(sin.sin_port);
	return fd;
}

static int wait_result(int fd)
{
	struct pollfd p = {.fd = fd, .events = POLLOUT};

	assert_int_equal(poll(&p, 1, 5000), 1);
	return port_tcp_result(fd);
}

static void test_tcp(void **state)
{
	struct linger hard = {.l_onoff = 1};
	struct port_addr addr;
	unsigned timeout = 0;
	int on = 0, fd, peer, listener;
	socklen_t len = sizeof(on);
	char got[8];
	uint16_t port;

	(void)state;
	listener = listener_open(&port);
	port_addr_parse(&addr, "127.0.0.1", port);
	fd = port_tcp_connect(&addr, 12345);
	assert_true(fd >= 0);
	assert_int_equal(wait_result(fd), 0);
	getsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, &len);
	assert_true(on);
	getsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &timeout, &len);
	assert_int_equal(timeout, 12345);
	getsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, &len);
	assert_false(on);
	assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
	assert_true(fcntl(fd, F_GETFL) & O_NONBLOCK);

	peer = accept(listener, NULL, NULL);
	assert_int_equal(port_tcp_recv(fd, got, sizeof(got)), ERR_AGAIN);
	assert_int_equal(write(peer, "abc", 3), 3);
	assert_int_equal(poll(&(struct pollfd){.fd = fd, .events = POLLIN}, 1, 5000), 1);
	assert_int_equal(port_tcp_recv(fd, got, sizeof(got)), 3);
	while (port_tcp_send(fd, got, sizeof(got)) > 0)
		;
	assert_int_equal(port_tcp_send(fd, got, sizeof(got)), ERR_AGAIN);
	setsockopt(peer, SOL_SOCKET, SO_LINGER, &hard, sizeof(hard));
	close(peer);
	assert_int_equal(poll(&(struct pollfd){.fd = fd, .events = POLLIN}, 1, 5000), 1);
	assert_int_equal(port_tcp_recv(fd, got, sizeof(got)), ERR_RESET);
	/* SIGPIPE would end the test here. */
	assert_int_equal(port_tcp_send(fd, got, sizeof(got)), ERR_RESET);
	port_tcp_close(fd);

	fd = port_tcp_connect(&addr, 0);
	assert_int_equal(wait_result(fd), 0);
	close(accept(listener, NULL, NULL));
	assert_int_equal(poll(&(struct pollfd){.fd = fd, .events = POLLIN}, 1, 5000), 1);
	assert_int_equal(port_tcp_recv(fd, got, sizeof(got)), ERR_CLOSED);
	port_tcp_close(fd);

	close(listener);
	fd = port_tcp_connect(&addr, 0);
	assert_true(fd >= 0 ? wait_result(fd) == ERR_REFUSED : fd == ERR_REFUSED);
	port_tcp_close(fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_addresses),
		cmocka_unit_test(test_resolve),
		cmocka_unit_test(test_resolve_killed),
		cmocka_unit_test(test_resolve_holds_nothing),
		cmocka_unit_test(test_tcp),
	};

	signal(SIGPIPE, SIG_DFL);
	alarm(60);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
