/* SPDX-License-Identifier: Apache-2.0 */
/* Connections through a proxy, over real sockets on the loopback interface; the test plays the proxy. */
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/err.h"
#include "base/heap.h"
#include "net/conn.h"
#include "net/proxy.h"

enum {
	GUARD_MS = 10000,
	ANSWER_MAX = 40000,
};

struct client {
	struct loop loop;
	struct conn conn;
	struct conn_target target;
	struct proxy proxy;
	struct loop_timer guard;
	int opened, failed, readable;
	int err;
	bool is_proxy_failure;
	char why[CONN_WHY_MAX];
	int listener, peer; /* the proxy's */
	size_t heap; /* before */
	int fds;
};

static struct client cl;

static void on_guard(struct loop_timer *timer)
{
	(void)timer;
	fail_msg("nothing happens");
}

static void on_open(struct conn *c)
{
	assert_int_equal(c->state, CONN_OPEN);
	cl.opened++;
}

static void on_readable(struct conn *c)
{
	(void)c;
	cl.readable++;
}

static void on_writable(struct conn *c)
{
	(void)c;
}

static void on_failed(struct conn *c, int err, const char *why)
{
	assert_int_equal(c->state, CONN_CLOSED);
	cl.failed++;
	cl.err = err;
	cl.is_proxy_failure = c->is_proxy_failure;
	snprintf(cl.why, sizeof(cl.why), "%s", why);
}

static const struct conn_ops ops = {on_open, on_readable, on_writable, on_failed};

static int count_fds(void)
{
	int count = 0;

	for (int fd = 0; fd < 256; fd++) {
		struct pollfd p = {.fd = fd};

		count += poll(&p, 1, 0) == 0 || !(p.revents & POLLNVAL);
	}
	return count;
}

static void turn(void)
{
	assert_int_equal(loop_turn(&cl.loop), 0);
}

static void begin(enum proxy_kind kind, const char *ip)
{
	struct sockaddr_in sin = {.sin_family = AF_INET};
	socklen_t len = sizeof(sin);

	memset(&cl, 0, sizeof(cl));
	cl.heap = heap_bytes();
	cl.fds = count_fds();
	inet_pton(AF_INET, "127.0.0.1", &sin.sin_addr);
	cl.listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(cl.listener, (struct sockaddr *)&sin, len), 0);
	assert_int_equal(listen(cl.listener, 4), 0);
	assert_int_equal(getsockname(cl.listener, (struct sockaddr *)&sin, &len), 0);
	cl.peer = -1;
	loop_init(&cl.loop);
	conn_init(&cl.conn, &cl.loop, &ops, &cl);
	cl.proxy = (struct proxy){kind, ip, ntohs(sin.sin_port), NULL, NULL};
	cl.target = (struct conn_target){
		.host = "etcd.example", .port = 2379, .proxy = &cl.proxy, .timeout_ms = 5000};
	cl.guard.fn = on_guard;
	loop_timer_set(&cl.loop, &cl.guard, GUARD_MS);
}

/* The proxy has the connection. */
static void dial(void)
{
	conn_open(&cl.conn, &cl.target);
	while (cl.conn.state != CONN_TUNNEL)
		turn();
	cl.peer = accept4(cl.listener, NULL, NULL, SOCK_CLOEXEC);
	assert_true(cl.peer >= 0);
}

/* Nothing is left behind, in the loop, in memory, or open. */
static void end(void)
{
	conn_close(&cl.conn);
	assert_null(cl.loop.fds);
	assert_null(cl.loop.tasks);
	loop_timer_clear(&cl.loop, &cl.guard);
	assert_null(cl.loop.timers);
	assert_int_equal(cl.conn.fd.fd, -1);
	if (cl.peer >= 0)
		assert_int_equal(close(cl.peer), 0);
	assert_int_equal(close(cl.listener), 0);
	assert_int_equal(count_fds(), cl.fds);
	assert_int_equal(heap_bytes(), cl.heap);
}

static bool is_there(int fd)
{
	struct pollfd p = {.fd = fd, .events = POLLIN};

	return poll(&p, 1, 0) == 1;
}

/* What the client sends, at least len bytes of it, terminated. */
static size_t take(char *dst, size_t cap, size_t len)
{
	size_t n = 0;

	while (n < len) {
		ssize_t got;

		while (!is_there(cl.peer))
			turn();
		got = read(cl.peer, dst + n, cap - 1 - n);
		assert_true(got > 0);
		n += (size_t)got;
	}
	dst[n] = '\0';
	return n;
}

static void expect_request(const char *expected)
{
	char got[2048];

	take(got, sizeof(got), strlen(expected));
	assert_string_equal(got, expected);
}

static void expect_bytes(const void *expected, size_t len)
{
	char got[2048];

	assert_int_equal(take(got, sizeof(got), len), len);
	assert_memory_equal(got, expected, len);
}

static void say_bytes(const void *p, size_t len)
{
	assert_int_equal(write(cl.peer, p, len), (ssize_t)len);
}

static void say(const char *text)
{
	say_bytes(text, strlen(text));
}

static void expect_open(void)
{
	while (!cl.opened) {
		turn();
		if (cl.failed)
			fail_msg("%s", cl.why);
	}
	assert_int_equal(cl.conn.state, CONN_OPEN);
	assert_int_equal(cl.failed, 0);
}

/* expected: without "proxy URL: ". */
static void expect_failure(int err, const char *expected)
{
	char text[PROXY_TEXT_MAX], why[CONN_WHY_MAX];

	while (!cl.failed)
		turn();
	snprintf(why, sizeof(why), "proxy %s: %s", proxy_format(text, &cl.proxy), expected);
	assert_string_equal(cl.why, why);
	assert_int_equal(cl.err, err);
	assert_true(cl.is_proxy_failure);
	assert_int_equal(cl.opened, 0);
}

static void expect_both_ways(void)
{
	char got[64];

	assert_int_equal(conn_send(&cl.conn, "ping", 4), 4);
	expect_bytes("ping", 4);
	say("pong");
	cl.readable = 0;
	while (!cl.readable)
		turn();
	assert_int_equal(conn_recv(&cl.conn, got, sizeof(got)), 4);
	assert_memory_equal(got, "pong", 4);
}

#define REQUEST(host) \
	"CONNECT " host " HTTP/1.1\r\nHost: " host "\r\nProxy-Connection: Keep-Alive\r\n\r\n"
#define REQUEST_LOGIN(host, login) \
	"CONNECT " host " HTTP/1.1\r\nHost: " host "\r\nProxy-Authorization: Basic " login \
	"\r\nProxy-Connection: Keep-Alive\r\n\r\n"

static void test_connect(void **state)
{
	(void)state;
	begin(PROXY_HTTP, "127.0.0.1");
	dial();
	expect_request(REQUEST("etcd.example:2379"));
	/* A length means nothing here (RFC 9110 9.3.6). */
	say("HTTP/1.1 200 Connection established\r\nContent-Length: 5\r\nX: y\r\n\r\n");
	expect_open();
	expect_both_ways();
	/* What breaks later names the way. */
	assert_int_equal(shutdown(cl.peer, SHUT_WR), 0);
	cl.readable = 0;
	while (!cl.readable)
		turn();
	assert_int_equal(conn_recv(&cl.conn, cl.why, sizeof(cl.why)), ERR_CLOSED);
	assert_non_null(strstr(conn_why(&cl.conn), "through proxy http://127.0.0.1:"));
	assert_non_null(strstr(conn_why(&cl.conn), ": connection closed by the peer"));
	assert_false(cl.conn.is_proxy_failure);
	end();
}

static void test_connect_literals(void **state)
{
	(void)state;
	begin(PROXY_HTTP, "127.0.0.1");
	cl.target.host = "10.1.2.3";
	dial();
	expect_request(REQUEST("10.1.2.3:2379"));
	say("HTTP/1.0 200\r\n\r\n");
	expect_open();
	end();
	begin(PROXY_HTTP, "127.0.0.1");
	cl.target.host = "fd00::1";
	cl.target.port = 443;
	dial();
	expect_request(REQUEST("[fd00::1]:443"));
	say("HTTP/1.1 299 ok\n\n");
	expect_open();
	end();
}

static void test_connect_login(void **state)
{
	(void)state;
	begin(PROXY_HTTP, "127.0.0.1");
	cl.proxy.user = "us er";
	cl.proxy.password = "p:@%/\xc3\xa4";
	dial();
	expect_request(REQUEST_LOGIN("etcd.example:2379", "dXMgZXI6cDpAJS/DpA=="));
	say("HTTP/1.1 200 OK\r\n\r\n");
	expect_open();
	assert_null(strstr(conn_why(&cl.conn), "us er"));
	end();
	begin(PROXY_HTTP, "127.0.0.1");
	cl.proxy.user = "u";
	cl.proxy.password = "";
	dial();
	expect_request(REQUEST_LOGIN("etcd.example:2379", "dTo="));
	say("HTTP/1.1 200 OK\r\n\r\n");
	expect_open();
	end();
}

/* The answer in two pieces, cut everywhere, with bytes of the target's behind it: they are all there, and in order. */
static void test_early_bytes(void **state)
{
	static const char answer[] = "HTTP/1.1 200 OK\r\nA: b\r\n\r\nearly bytes";
	size_t len = sizeof(answer) - 1;
	char got[64];

	(void)state;
	for (size_t cut = 1; cut <= len; cut++) {
		ssize_t n = 0;

		begin(PROXY_HTTP, "127.0.0.1");
		dial();
		expect_request(REQUEST("etcd.example:2379"));
		say_bytes(answer, cut);
		for (int i = 0; i < 3 && cut < len && is_there(cl.conn.fd.fd); i++)
			turn();
		if (cut < len)
			say_bytes(answer + cut, len - cut);
		expect_open();
		while (n < 11) {
			ssize_t r = conn_recv(&cl.conn, got + n, sizeof(got) - (size_t)n);

			if (r == ERR_AGAIN)
				turn();
			else
				n += r;
			assert_true(r > 0 || r == ERR_AGAIN);
		}
		got[n] = '\0';
		assert_string_equal(got, "early bytes");
		expect_both_ways();
		end();
	}
}

static void test_refusals(void **state)
{
	static const struct {
		const char *answer;
		int err;
		const char *why;
	} cases[] = {
		{"HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic "
		 "realm=\"x\"\r\nContent-Length: 100000000\r\n\r\npage",
			ERR_AUTH, "407 Proxy Authentication Required: it wants user and password"},
		{"HTTP/1.1 407\r\nProxy-Authenticate: Negotiate\r\n\r\n", ERR_AUTH,
			"407: it wants user and password"},
		{"HTTP/1.1 403 Forbidden\r\nTransfer-Encoding: chunked\r\n\r\nfff\r\npage",
			ERR_REFUSED,
			"connection to etcd.example:2379 refused by it (403 Forbidden)"},
		{"HTTP/1.0 401 Unauthorized\r\n\r\n", ERR_REFUSED,
			"connection to etcd.example:2379 refused by it (401 Unauthorized)"},
		{"HTTP/1.1 404 \r\n\r\n", ERR_REFUSED,
			"connection to etcd.example:2379 refused by it (404)"},
		{"HTTP/1.1 302 Found\r\nLocation: http://x/\r\n\r\n", ERR_REFUSED,
			"connection to etcd.example:2379 refused by it (302 Found)"},
		{"HTTP/1.1 100 Continue\r\n\r\n", ERR_REFUSED,
			"connection to etcd.example:2379 refused by it (100 Continue)"},
		{"HTTP/1.1 502 Bad Gateway\r\n\r\n", ERR_UNREACHABLE,
			"it has no connection to etcd.example:2379 (502 Bad Gateway)"},
		{"HTTP/1.1 503 a\x1b[2Jb\xff\r\n\r\n", ERR_UNREACHABLE,
			"it has no connection to etcd.example:2379 (503 a\\x1B[2Jb\\xFF)"},
		{"HTTP/2 200 OK\r\n\r\n", ERR_HTTP, "it does not speak HTTP/1"},
		{"HTTP/1.1 20x OK\r\n\r\n", ERR_HTTP, "it does not speak HTTP/1"},
		{"HTTP/1.1\r\n\r\n", ERR_HTTP, "it does not speak HTTP/1"},
		{"\r\n\r\n", ERR_HTTP, "it does not speak HTTP/1"},
		{"SSH-2.0-OpenSSH_9\r\n", ERR_HTTP, "it does not speak HTTP/1"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		begin(PROXY_HTTP, "127.0.0.1");
		dial();
		expect_request(REQUEST("etcd.example:2379"));
		/* It is not closed, and nobody waits for that. */
		say(cases[i].answer);
		expect_failure(cases[i].err, cases[i].why);
		end();
	}
}

static void test_wrong_login(void **state)
{
	static const char *const answers[] = {"HTTP/1.1 407 No\r\nProxy-Authenticate: Basic "
					      "realm=\"x\"\r\nContent-Length: 0\r\n\r\n",
		"HTTP/1.1 401 No\r\n\r\n"};

	(void)state;
	for (size_t i = 0; i < 2; i++) {
		char text[64];

		begin(PROXY_HTTP, "127.0.0.1");
		cl.proxy.user = "u";
		cl.proxy.password = "hidden";
		dial();
		expect_request(REQUEST_LOGIN("etcd.example:2379", "dTpoaWRkZW4="));
		say(answers[i]);
		snprintf(text, sizeof(text), "%s No: user or password is wrong", i ? "401" : "407");
		expect_failure(ERR_AUTH, text);
		/* Once is enough. */
		assert_int_equal(read(cl.peer, text, sizeof(text)), 0);
		end();
	}
}

static void test_long_reason(void **state)
{
	char answer[1200];

	(void)state;
	begin(PROXY_HTTP, "127.0.0.1");
	dial();
	expect_request(REQUEST("etcd.example:2379"));
	memset(answer, 'x', sizeof(answer));
	memcpy(answer, "HTTP/1.1 403 ", 13);
	memcpy(answer + sizeof(answer) - 5, "\r\n\r\n", 5);
	say(answer);
	while (!cl.failed)
		turn();
	assert_true(strlen(cl.why) < 256 + 150);
	assert_non_null(strstr(cl.why, "xxx...)"));
	end();
}

static void test_ended(void **state)
{
	static const char *const answers[] = {"", "HTTP/1.1 200 OK\r\nA", "HTTP/1.1 200 OK\r\n"};
	struct linger now = {.l_onoff = 1};

	(void)state;
	for (size_t i = 0; i < 3; i++) {
		begin(PROXY_HTTP, "127.0.0.1");
		dial();
		expect_request(REQUEST("etcd.example:2379"));
		say(answers[i]);
		close(cl.peer);
		cl.peer = -1;
		expect_failure(ERR_CLOSED, "connection closed by the peer");
		end();
	}
	begin(PROXY_HTTP, "127.0.0.1");
	dial();
	expect_request(REQUEST("etcd.example:2379"));
	assert_int_equal(setsockopt(cl.peer, SOL_SOCKET, SO_LINGER, &now, sizeof(now)), 0);
	close(cl.peer);
	cl.peer = -1;
	while (!cl.failed)
		turn();
	assert_true(cl.err == ERR_RESET || cl.err == ERR_CLOSED);
	end();
}

/* Lines without end, and one line without end: nothing is held up, and little is kept. */
static void test_endless(void **state)
{
	static char answer[ANSWER_MAX];
	static const char line[] = "A: 23456789012345678901234567890\r\n";

	(void)state;
	for (int kind = 0; kind < 2; kind++) {
		struct pollfd p;
		size_t n = 0;

		begin(PROXY_HTTP, "127.0.0.1");
		dial();
		expect_request(REQUEST("etcd.example:2379"));
		memset(answer, 'a', sizeof(answer));
		for (size_t i = 0; !kind && i + sizeof(line) < sizeof(answer);
			i += sizeof(line) - 1)
			memcpy(answer + i, line, sizeof(line) - 1);
		memcpy(answer, "HTTP/1.1 200 ", 13);
		while (!cl.failed) {
			p = (struct pollfd){.fd = cl.peer, .events = POLLOUT};
			if (poll(&p, 1, 0) == 1 && n < sizeof(answer)) {
				size_t len = n + 1000 < sizeof(answer) ? 1000 : sizeof(answer) - n;
				ssize_t sent = send(cl.peer, answer + n, len, MSG_NOSIGNAL);

				n += sent > 0 ? (size_t)sent : 0;
			}
			turn();
			assert_true(heap_bytes() < cl.heap + 100000);
		}
		expect_failure(ERR_HTTP, "its answer has no end");
		end();
	}
}

static void test_silence(void **state)
{
	static const enum proxy_kind kinds[] = {PROXY_HTTP, PROXY_SOCKS5H};

	(void)state;
	for (int i = 0; i < 2; i++) {
		begin(kinds[i], "127.0.0.1");
		cl.target.timeout_ms = 100;
		dial();
		expect_failure(ERR_TIMEOUT, "no connection to etcd.example:2379 within 100 ms");
		end();
	}
}

/* A name, and nobody there. */
static void test_before_it(void **state)
{
	char expected[PROXY_TEXT_MAX], text[PROXY_TEXT_MAX];

	(void)state;
	begin(PROXY_HTTP, "127.0.0.1");
	close(cl.listener);
	cl.listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	conn_open(&cl.conn, &cl.target);
	expect_failure(ERR_REFUSED, "connection refused");
	end();
	begin(PROXY_SOCKS5H, "no-such-name.invalid");
	conn_open(&cl.conn, &cl.target);
	while (!cl.failed)
		turn();
	assert_int_equal(cl.err, ERR_DNS);
	snprintf(expected, sizeof(expected),
		"proxy %s: resolve no-such-name.invalid: ", proxy_format(text, &cl.proxy));
	assert_memory_equal(cl.why, expected, strlen(expected));
	end();
	begin(PROXY_HTTP, "localhost");
	dial();
	expect_request(REQUEST("etcd.example:2379"));
	say("HTTP/1.1 200 OK\r\n\r\n");
	expect_open();
	end();
}

#define HELLO "\x05\x01\x00"
#define HELLO_LOGIN "\x05\x02\x00\x02"
#define ASK_NAME \
	"\x05\x01\x00\x03\x0c" \
	"etcd.example\x09\x4b"
#define SOCKS_OK "\x05\x00\x00\x01\x00\x00\x00\x00\x00\x00"

static void test_socks(void **state)
{
	static const struct {
		const char *host, *ask;
		size_t len;
	} cases[] = {
		{"etcd.example", ASK_NAME, sizeof(ASK_NAME) - 1},
		{"10.1.2.3", "\x05\x01\x00\x01\x0a\x01\x02\x03\x09\x4b", 10},
		{"fd00::1",
			"\x05\x01\x00\x04\xfd\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"
			"\x00\x01\x09\x4b",
			22},
	};

	(void)state;
	for (size_t i = 0; i < 3; i++) {
		begin(PROXY_SOCKS5H, "127.0.0.1");
		cl.target.host = cases[i].host;
		dial();
		expect_bytes(HELLO, 3);
		say_bytes("\x05\x00", 2);
		expect_bytes(cases[i].ask, cases[i].len);
		say_bytes(SOCKS_OK, 10);
		expect_open();
		expect_both_ways();
		end();
	}
}

/* With a login, in pieces, with a bound address of any kind, and with bytes of the target's behind it. */
static void test_socks_pieces(void **state)
{
	static const struct {
		const char *bytes;
		size_t len;
	} answers[] = {
		{SOCKS_OK, 10},
		{"\x05\x00\x00\x03\x04"
		 "name\x00\x01",
			11},
		{"\x05\x00\x00\x04\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"
		 "\x00\x01",
			22},
	};
	char got[64];

	(void)state;
	for (size_t i = 0; i < 3; i++) {
		begin(PROXY_SOCKS5H, "127.0.0.1");
		cl.proxy.user = "us";
		cl.proxy.password = "p:w";
		dial();
		expect_bytes(HELLO_LOGIN, 4);
		say("\x05");
		turn();
		say("\x02");
		expect_bytes("\x01\x02us\x03p:w", 8);
		say("\x01");
		turn();
		say_bytes("\x00", 1);
		expect_bytes(ASK_NAME, sizeof(ASK_NAME) - 1);
		for (size_t j = 0; j < answers[i].len; j++) {
			say_bytes(answers[i].bytes + j, 1);
			if (j + 1 < answers[i].len)
				turn();
			else
				say("early");
		}
		expect_open();
		while (!cl.readable)
			turn();
		assert_int_equal(conn_recv(&cl.conn, got, sizeof(got)), 5);
		assert_memory_equal(got, "early", 5);
		end();
	}
}

static void test_socks_refusals(void **state)
{
	static const struct {
		const char *hello, *reply;
		size_t hello_len;
		int err;
		const char *why;
	} cases[] = {
		{"\x05\xff", NULL, 2, ERR_AUTH, "it wants user and password"},
		{"\x05\x01", NULL, 2, ERR_HTTP, "it does not speak SOCKS5"},
		{"\x04\x00", NULL, 2, ERR_HTTP, "it does not speak SOCKS5"},
		{"HTTP/1.1 400 Bad Request\r\n\r\n", NULL, 28, ERR_HTTP,
			"it does not speak SOCKS5"},
		{"\x05\x00", "\x04\x00\x00\x01\x00\x00\x00\x00\x00\x00", 2, ERR_HTTP,
			"it does not speak SOCKS5"},
		{"\x05\x00", "\x05\x01\x00\x01\x00\x00\x00\x00\x00\x00", 2, ERR_UNREACHABLE,
			"it has no connection to etcd.example:2379 (general failure)"},
		{"\x05\x00", "\x05\x02\x00\x01\x00\x00\x00\x00\x00\x00", 2, ERR_REFUSED,
			"it has no connection to etcd.example:2379 (not allowed)"},
		{"\x05\x00", "\x05\x03\x00\x01\x00\x00\x00\x00\x00\x00", 2, ERR_UNREACHABLE,
			"it has no connection to etcd.example:2379 (network unreachable)"},
		{"\x05\x00", "\x05\x04\x00\x01\x00\x00\x00\x00\x00\x00", 2, ERR_UNREACHABLE,
			"it has no connection to etcd.example:2379 (host unreachable, or its name not "
			"known)"},
		{"\x05\x00", "\x05\x05\x00\x01\x00\x00\x00\x00\x00\x00", 2, ERR_REFUSED,
			"it has no connection to etcd.example:2379 (connection refused)"},
		{"\x05\x00", "\x05\x06\x00\x01\x00\x00\x00\x00\x00\x00", 2, ERR_UNREACHABLE,
			"it has no connection to etcd.example:2379 (TTL expired)"},
		{"\x05\x00", "\x05\x07\x00\x01\x00\x00\x00\x00\x00\x00", 2, ERR_UNREACHABLE,
			"it has no connection to etcd.example:2379 (it makes no connections)"},
		{"\x05\x00", "\x05\x08\x00\x01\x00\x00\x00\x00\x00\x00", 2, ERR_UNREACHABLE,
			"it has no connection to etcd.example:2379 (it does not know this kind of "
			"address)"},
		{"\x05\x00", "\x05\xee\x00\x01\x00\x00\x00\x00\x00\x00", 2, ERR_UNREACHABLE,
			"it has no connection to etcd.example:2379 (general failure)"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		begin(PROXY_SOCKS5H, "127.0.0.1");
		dial();
		expect_bytes(HELLO, 3);
		say_bytes(cases[i].hello, cases[i].hello_len);
		if (cases[i].reply) {
			expect_bytes(ASK_NAME, sizeof(ASK_NAME) - 1);
			say_bytes(cases[i].reply, 10);
		}
		expect_failure(cases[i].err, cases[i].why);
		end();
	}
	/* A login that is refused. */
	begin(PROXY_SOCKS5H, "127.0.0.1");
	cl.proxy.user = "u";
	cl.proxy.password = "hidden";
	dial();
	expect_bytes(HELLO_LOGIN, 4);
	say_bytes("\x05\x02", 2);
	expect_bytes("\x01\x01u\x06hidden", 10);
	say_bytes("\x01\x01", 2);
	expect_failure(ERR_AUTH, "user or password is wrong");
	end();
	/* An end in the middle. */
	begin(PROXY_SOCKS5H, "127.0.0.1");
	dial();
	expect_bytes(HELLO, 3);
	say("\x05");
	close(cl.peer);
	cl.peer = -1;
	expect_failure(ERR_CLOSED, "connection closed by the peer");
	end();
}

/* Given up at each moment of the way: nothing is left. */
static void test_close(void **state)
{
	(void)state;
	for (int turns = 0; turns < 6; turns++) {
		begin(PROXY_HTTP, "127.0.0.1");
		dial();
		for (int i = 0; i < turns && !is_there(cl.peer); i++)
			turn();
		if (turns > 3)
			say("HTTP/1.1 200");
		if (turns > 4)
			turn();
		end();
	}
}

static void test_again_and_again(void **state)
{
	(void)state;
	begin(PROXY_HTTP, "127.0.0.1");
	for (int i = 0; i < 100; i++) {
		dial();
		expect_request(REQUEST("etcd.example:2379"));
		say(i % 3 ? "HTTP/1.1 200 OK\r\n\r\n" : "HTTP/1.1 503 No\r\n\r\n");
		while (!cl.opened && !cl.failed)
			turn();
		assert_int_equal(cl.opened, i % 3 != 0);
		conn_close(&cl.conn);
		cl.opened = cl.failed = 0;
		assert_int_equal(close(cl.peer), 0);
		cl.peer = -1;
		assert_int_equal(heap_bytes(), cl.heap);
		assert_int_equal(count_fds(), cl.fds + 1);
	}
	end();
}

/* The socket is as one that leads there directly. */
static void test_socket(void **state)
{
	unsigned user_timeout = 0;
	int on = 0;
	socklen_t len = sizeof(on);

	(void)state;
	begin(PROXY_SOCKS5H, "127.0.0.1");
	cl.target.user_timeout_ms = 4321;
	dial();
	expect_bytes(HELLO, 3);
	say_bytes("\x05\x00", 2);
	expect_bytes(ASK_NAME, sizeof(ASK_NAME) - 1);
	say_bytes(SOCKS_OK, 10);
	expect_open();
	assert_int_equal(
		getsockopt(cl.conn.fd.fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &user_timeout, &len), 0);
	assert_int_equal(user_timeout, 4321);
	assert_int_equal(getsockopt(cl.conn.fd.fd, IPPROTO_TCP, TCP_NODELAY, &on, &len), 0);
	assert_true(on);
	assert_int_equal(getsockopt(cl.conn.fd.fd, SOL_SOCKET, SO_KEEPALIVE, &on, &len), 0);
	assert_false(on);
	end();
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_connect),
		cmocka_unit_test(test_connect_literals),
		cmocka_unit_test(test_connect_login),
		cmocka_unit_test(test_early_bytes),
		cmocka_unit_test(test_refusals),
		cmocka_unit_test(test_wrong_login),
		cmocka_unit_test(test_long_reason),
		cmocka_unit_test(test_ended),
		cmocka_unit_test(test_endless),
		cmocka_unit_test(test_silence),
		cmocka_unit_test(test_before_it),
		cmocka_unit_test(test_socks),
		cmocka_unit_test(test_socks_pieces),
		cmocka_unit_test(test_socks_refusals),
		cmocka_unit_test(test_close),
		cmocka_unit_test(test_again_and_again),
		cmocka_unit_test(test_socket),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
