/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The TLS adapter against OpenSSL's servers (tls_server.py), with certificates made for it
 * (tls_pki.sh). Both run for the whole test; run it from the root of the source tree.
 */
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

#include "base/err.h"
#include "base/log.h"
#include "base/kconfig.h"
#include "base/version.h"
#include "net/conn.h"
#include "net/tls.h"

enum { TURNS_MS = 10000 };

/* -- the platform's clocks, of which the wall's can be wrong ---------------------------------- */

static int64_t wall_offset_s;

int64_t port_now_ms(void)
{
	struct timespec ts;

	assert_int_equal(clock_gettime(CLOCK_MONOTONIC, &ts), 0);
	return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

int64_t port_wall_s(void)
{
	return (int64_t)time(NULL) + wall_offset_s;
}

int port_random(void *dst, size_t len)
{
	assert_int_equal(getrandom(dst, len, 0), (ssize_t)len);
	return 0;
}

/* -- certificates and servers ----------------------------------------------------------------- */

#include "tls_servers.h"

static char *const specs[] = {"/usr/bin/python3", "test/unit/tls_server.py", tls_dir,
	"server:server", "tls12:server:1.2", "tls13:server:1.3", "rsa:rsa", "p384:p384",
	"weak:weak:weak", "sha1:sha1:weak:1.2", "other:other", "cn:cn", "expired:expired",
	"future:future", "chain:chain", "usage:usage", "client:server:client",
	"client12:server:client:1.2", "noalpn:server:noalpn", "http11:server:http11",
	"dribble:server:dribble", "mute:server:mute", "plain:server:plain", "v6:server:v6",
	"bye:server:bye", "server2:server", "small:server:1.2:small", "small13:server:small", NULL};

static int set_up(void **state)
{
	(void)state;
	port_signals_open();
	return tls_servers_start(specs);
}

static int tear_down(void **state)
{
	(void)state;
	tls_servers_stop();
	return 0;
}

/* -- one connection, from start to its first line --------------------------------------------- */

struct client {
	struct loop loop;
	struct conn conn;
	struct loop_timer guard;
	struct conn_target target;
	int err; /* of failed() or of receiving */
	bool is_open;
	bool is_ended;
	size_t want_len; /* bytes to wait for; 0: one line */
	char got[1024];
	size_t len;
	uint64_t total;
	char why[CONN_WHY_MAX];
	char about[128];
};

static void on_open(struct conn *c)
{
	struct client *cl = c->user;

	cl->is_open = true;
	tls_describe(c->tls, cl->about, sizeof(cl->about));
}

static void on_readable(struct conn *c)
{
	struct client *cl = c->user;
	ssize_t n = conn_recv(c, cl->got + cl->len, sizeof(cl->got) - 1 - cl->len);

	if (n == ERR_AGAIN)
		return;
	if (n < 0) {
		cl->err = (int)n;
		cl->is_ended = true;
		snprintf(cl->why, sizeof(cl->why), "%s", conn_why(c));
		return;
	}
	cl->len += (size_t)n;
	cl->got[cl->len] = '\0';
	if (strchr(cl->got, '\n'))
		cl->is_ended = true;
}

static void on_writable(struct conn *c)
{
	(void)c;
}

static void on_failed(struct conn *c, int err, const char *why)
{
	struct client *cl = c->user;

	assert_int_equal(c->state, CONN_CLOSED);
	cl->err = err;
	cl->is_ended = true;
	snprintf(cl->why, sizeof(cl->why), "%s", why);
}

static const struct conn_ops ops = {on_open, on_readable, on_writable, on_failed};

/* Wakes the loop, so that a test ends by its deadline and says what it waited for. */
static void on_guard(struct loop_timer *timer)
{
	(void)timer;
}

static void turn_until(struct client *cl, const bool *flag)
{
	int64_t end_ms = port_now_ms() + TURNS_MS;

	cl->guard.fn = on_guard;
	loop_update_now(&cl->loop);
	loop_timer_set(&cl->loop, &cl->guard, TURNS_MS);
	while (!*flag && port_now_ms() < end_ms)
		assert_int_equal(loop_turn(&cl->loop), 0);
	loop_timer_clear(&cl->loop, &cl->guard);
	if (!*flag)
		fail_msg("nothing happens: state %d, '%s' %s", cl->conn.state, cl->got, cl->why);
}

static void client_begin(
	struct client *cl, struct tls_context *ctx, const char *host, uint16_t port)
{
	memset(cl, 0, sizeof(*cl));
	loop_init(&cl->loop);
	conn_init(&cl->conn, &cl->loop, &ops, cl);
	cl->target =
		(struct conn_target){.host = host, .port = port, .tls = ctx, .timeout_ms = 5000};
	conn_open(&cl->conn, &cl->target);
	assert_int_equal(cl->err, 0);
}

/* Connects, waits for the server's line or a failure, and closes. */
static struct client *client_run(struct tls_context *ctx, const char *host, const char *server)
{
	static struct client cl;

	client_begin(&cl, ctx, host, port_of(server));
	turn_until(&cl, &cl.is_ended);
	conn_close(&cl.conn);
	return &cl;
}

static struct tls_context *load(const char *ca, const char *client, bool is_unverified)
{
	struct tls_context *ctx = NULL;
	char cert[32], key[32], why[CONN_WHY_MAX] = "";
	struct tls_files files = {
		.cacert = ca ? path(ca) : NULL,
		.is_unverified = is_unverified,
	};

	if (client) {
		snprintf(cert, sizeof(cert), "%s.pem", client);
		snprintf(key, sizeof(key), "%s.key", client);
		files.cert = path(cert);
		files.key = path(key);
	}
	if (tls_context_load(&ctx, &files, why, sizeof(why)))
		fail_msg("load: %s", why);
	return ctx;
}

static void expect_line(struct client *cl, const char *part)
{
	if (cl->err || !strstr(cl->got, part))
		fail_msg("'%s' is not in '%s' (%s: %s)", part, cl->got, err_name(cl->err), cl->why);
}

static void expect_failure(struct client *cl, int err, const char *part)
{
	if (cl->err != err || !strstr(cl->why, part) || cl->is_open)
		fail_msg("not %s '%s', but %s '%s' (%s)", err_name(err), part, err_name(cl->err),
			cl->why, cl->got);
}

/* -- tests ------------------------------------------------------------------------------------ */

static const char *const best_version = IS_ENABLED(CONFIG_TLS_1_3) ? "TLSv1.3" : "TLSv1.2";

static void test_good_servers(void **state)
{
	struct tls_context *ctx = load("ca.pem", NULL, false);
	struct client *cl;

	(void)state;
	cl = client_run(ctx, "localhost", "server");
	expect_line(cl, best_version);
	expect_line(cl, "sni=localhost client=None");
	assert_non_null(strstr(cl->about, "GCM"));
	/* RFC 6066 3: an address is no server name. */
	expect_line(client_run(ctx, "127.0.0.1", "server"), "sni=None");
	expect_line(client_run(ctx, "::1", "v6"), "sni=None");
	expect_line(client_run(ctx, "127.0.0.1", "tls12"), "TLSv1.2");
	expect_line(client_run(ctx, "127.0.0.1", "rsa"), best_version);
	expect_line(client_run(ctx, "127.0.0.1", "p384"), best_version);
	expect_line(client_run(ctx, "127.0.0.1", "dribble"), best_version);
	tls_context_free(ctx);
	/* One authority among several, and a bundle of several certificates. */
	ctx = load("both.pem", NULL, false);
	expect_line(client_run(ctx, "127.0.0.1", "server"), best_version);
	tls_context_free(ctx);
}

static void test_tls13_only(void **state)
{
	struct tls_context *ctx = load("ca.pem", NULL, false);
	struct client *cl = client_run(ctx, "127.0.0.1", "tls13");

	(void)state;
	if (IS_ENABLED(CONFIG_TLS_1_3))
		expect_line(cl, "TLSv1.3");
	else
		expect_failure(cl, ERR_TLS, "this build has no TLS 1.3");
	tls_context_free(ctx);
}

static void test_refused_certificates(void **state)
{
	struct tls_context *ctx = load("ca.pem", NULL, false);

	(void)state;
	expect_failure(client_run(ctx, "localhost", "other"), ERR_TLS_VERIFY,
		"the name 'localhost' is not in the certificate (it has DNS:a, IP:1.2.3.4)");
	expect_failure(client_run(ctx, "127.0.0.1", "other"), ERR_TLS_VERIFY,
		"the address '127.0.0.1' is not in the certificate (it has DNS:a, IP:1.2.3.4)");
	expect_failure(
		client_run(ctx, "localhost", "cn"), ERR_TLS_VERIFY, "a common name does not count");
	expect_failure(client_run(ctx, "localhost", "expired"), ERR_TLS_VERIFY,
		"certificate 'CN=expired' (issued by 'CN=Test CA') has expired on 2021-01-01 (the clock");
	expect_failure(client_run(ctx, "localhost", "future"), ERR_TLS_VERIFY,
		"is not valid before 2048-01-01");
	expect_failure(client_run(ctx, "localhost", "chain"), ERR_TLS_VERIFY,
		"'CN=Intermediate' (issued by 'CN=Test CA', depth 1) has expired on 2021-01-01");
	expect_failure(client_run(ctx, "localhost", "weak"), ERR_TLS_VERIFY, "too weak");
	expect_failure(client_run(ctx, "localhost", "sha1"), ERR_TLS_VERIFY, "weak");
	expect_failure(client_run(ctx, "localhost", "usage"), ERR_TLS_VERIFY, "meant for a server");
	tls_context_free(ctx);

	ctx = load("ca2.pem", NULL, false);
	expect_failure(client_run(ctx, "localhost", "server"), ERR_TLS_VERIFY,
		"certificate 'CN=server' (issued by 'CN=Test CA') is signed by an unknown CA");
	tls_context_free(ctx);

	ctx = load(NULL, NULL, false);
	expect_failure(client_run(ctx, "localhost", "server"), ERR_TLS_VERIFY, "no trusted");
	tls_context_free(ctx);
}

static char clock_warning[LOG_LINE_MAX];

static void keep_clock_warning(enum log_level level, const char *line, size_t len)
{
	if (level == LOG_LEVEL_WARN && memmem(line, len, "the clock says", 14))
		(void)snprintf(clock_warning, sizeof(clock_warning), "%.*s", (int)len, line);
}

/* A device without a battery starts in 1970: what was right when the program was built is still taken for right, and
 * what had expired by then for expired. */
static void test_clock_of_1970(void **state)
{
	struct tls_context *ctx;
	bool is_error = true;
	char what[256];

	(void)state;
	wall_offset_s = -(int64_t)time(NULL);
	log_set_writer(keep_clock_warning);
	ctx = load("ca.pem", "client", false);
	log_set_writer(NULL);
	assert_non_null(strstr(clock_warning,
		"the clock says 1970-01-01, before this program was built: taking 20"));
	expect_line(client_run(ctx, "localhost", "server"), best_version);
	expect_failure(client_run(ctx, "localhost", "expired"), ERR_TLS_VERIFY,
		"has expired on 2021-01-01 (the clock says 1970-01-01, before this program was built");
	expect_failure(client_run(ctx, "localhost", "future"), ERR_TLS_VERIFY,
		"is not valid before 2048-01-01 (the clock says 1970-01-01");
	assert_int_equal(
		tls_context_finding(ctx, 0, port_wall_s(), &is_error, what, sizeof(what)), 1);
	assert_false(is_error);
	assert_non_null(strstr(what, "the clock says 1970-01-01"));
	assert_int_equal(
		tls_context_finding(ctx, 1, port_wall_s(), &is_error, what, sizeof(what)), 0);
	/* It is set while the agent runs: from then on it counts. */
	wall_offset_s = INT64_C(2461449600) - (int64_t)time(NULL); /* 2048-01-01 */
	expect_line(client_run(ctx, "localhost", "future"), best_version);
	wall_offset_s = version_build_time_s() - 1 - (int64_t)time(NULL);
	expect_line(client_run(ctx, "localhost", "server"), best_version);
	wall_offset_s = 0;
	tls_context_free(ctx);
}

static void test_unverified(void **state)
{
	struct tls_context *ctx = load(NULL, NULL, true);

	(void)state;
	expect_line(client_run(ctx, "localhost", "other"), best_version);
	expect_line(client_run(ctx, "localhost", "expired"), best_version);
	/* What is spoken is asked for all the same. */
	expect_failure(client_run(ctx, "localhost", "noalpn"), ERR_TLS_ALPN, "HTTP/2");
	tls_context_free(ctx);
}

static void test_alpn(void **state)
{
	struct tls_context *ctx = load("ca.pem", NULL, false);

	(void)state;
	expect_failure(client_run(ctx, "localhost", "noalpn"), ERR_TLS_ALPN, "HTTP/2");
	expect_failure(client_run(ctx, "localhost", "http11"), ERR_TLS_ALPN, "HTTP/2");
	tls_context_free(ctx);
}

static void test_client_certificate(void **state)
{
	struct tls_context *ctx = load("ca.pem", "client", false);
	struct client *cl;

	(void)state;
	expect_line(client_run(ctx, "localhost", "client"), "client=client");
	expect_line(client_run(ctx, "localhost", "client12"), "client=client");
	tls_context_free(ctx);

	ctx = load("ca.pem", NULL, false);
	expect_failure(
		client_run(ctx, "localhost", "client12"), ERR_TLS_VERIFY, "client certificate");
	/* With TLS 1.3 the server says so only after our side is done. */
	cl = client_run(ctx, "localhost", "client");
	assert_int_equal(cl->err, ERR_TLS_VERIFY);
	assert_non_null(strstr(cl->why, "client certificate"));
	tls_context_free(ctx);
}

static void test_other_peers(void **state)
{
	struct tls_context *ctx = load("ca.pem", NULL, false);
	struct client *cl;

	(void)state;
	expect_failure(client_run(ctx, "127.0.0.1", "plain"), ERR_TLS, "http");
	cl = client_run(ctx, "127.0.0.1", "bye");
	expect_line(cl, "reused=0");
	tls_context_free(ctx);
}

static void test_handshake_deadline(void **state)
{
	struct tls_context *ctx = load("ca.pem", NULL, false);
	struct client cl;

	(void)state;
	client_begin(&cl, ctx, "127.0.0.1", port_of("mute"));
	cl.target.timeout_ms = 100;
	turn_until(&cl, &cl.is_ended);
	expect_failure(&cl, ERR_TIMEOUT, "handshake not done within 100 ms");
	/* The context is free again. */
	expect_line(client_run(ctx, "127.0.0.1", "server"), best_version);
	tls_context_free(ctx);
}

static void test_cancel_in_handshake(void **state)
{
	struct tls_context *ctx = load("ca.pem", NULL, false);
	struct client cl;

	(void)state;
	client_begin(&cl, ctx, "127.0.0.1", port_of("mute"));
	while (cl.conn.state != CONN_HANDSHAKE)
		assert_int_equal(loop_turn(&cl.loop), 0);
	conn_close(&cl.conn);
	assert_false(cl.is_ended);
	assert_null(cl.loop.fds);
	assert_null(cl.loop.timers);
	expect_line(client_run(ctx, "127.0.0.1", "server"), best_version);
	tls_context_free(ctx);
}

/* A session is used again for the same server only, and not after the files were read again. */
static void test_resumption(void **state)
{
	struct tls_context *ctx = load("ca.pem", NULL, false);
	struct tls_files files = {.cacert = path("ca.pem")};
	struct client *cl;
	char why[CONN_WHY_MAX];

	(void)state;
	for (int round = 0; round < 2; round++) {
		const char *server = round ? "server" : "tls12";

		expect_line(client_run(ctx, "localhost", server), "reused=0");
		cl = client_run(ctx, "localhost", server);
		expect_line(cl, "reused=1");
		assert_non_null(strstr(cl->about, "resumed"));
		cl = client_run(ctx, "localhost", server);
		expect_line(cl, "reused=1");
		/* Another port, another name: another server. */
		expect_line(
			client_run(ctx, "localhost", "server2"), round ? "reused=1" : "reused=0");
		cl = client_run(ctx, "127.0.0.1", server);
		expect_line(cl, "reused=0");
		assert_null(strstr(cl->about, "resumed"));
	}
	assert_int_equal(tls_context_load(&ctx, &files, why, sizeof(why)), 0);
	expect_line(client_run(ctx, "localhost", "tls12"), "reused=0");
	tls_context_free(ctx);
}

static void test_many_reconnects(void **state)
{
	struct tls_context *ctx = load("ca.pem", "client", false);
	static const char *const names[] = {"server", "tls12", "client", "rsa", "p384", "other"};

	(void)state;
	for (int i = 0; i < 200; i++) {
		struct client *cl = client_run(ctx, "localhost", names[i % 6]);

		if (i % 6 == 5)
			expect_failure(cl, ERR_TLS_VERIFY, "not in the certificate");
		else
			expect_line(cl, "TLS");
	}
	tls_context_free(ctx);
}

/* The files are read again while a connection runs: it goes on, and the context may even go. */
static void test_reload_while_open(void **state)
{
	struct tls_context *ctx = load("ca.pem", NULL, false);
	struct tls_files files = {.cacert = path("ca2.pem")};
	struct client cl;
	char why[CONN_WHY_MAX];

	(void)state;
	client_begin(&cl, ctx, "localhost", port_of("server"));
	turn_until(&cl, &cl.is_ended);
	expect_line(&cl, "TLS");
	assert_int_equal(tls_context_load(&ctx, &files, why, sizeof(why)), 0);
	assert_int_equal(conn_send(&cl.conn, "again\n", 6), 6);
	cl.is_ended = false;
	cl.len = 0;
	turn_until(&cl, &cl.is_ended);
	assert_string_equal(cl.got, "again\n");
	conn_close(&cl.conn);
	expect_failure(client_run(ctx, "localhost", "server"), ERR_TLS_VERIFY, "unknown CA");

	/* Nothing is taken over from files with a fault. */
	files.cacert = path("missing.pem");
	assert_int_equal(tls_context_load(&ctx, &files, why, sizeof(why)), ERR_NOENT);
	expect_failure(client_run(ctx, "localhost", "server"), ERR_TLS_VERIFY, "unknown CA");
	client_begin(&cl, ctx, "localhost", port_of("mute"));
	while (cl.conn.state != CONN_HANDSHAKE)
		assert_int_equal(loop_turn(&cl.loop), 0);
	tls_context_free(ctx);
	conn_close(&cl.conn);
}

/* Much in both directions at once, so that records are sent in parts and retried. */
struct flood {
	struct client cl; /* first: c->user */
	uint64_t sent, received, total;
	uint8_t out[20000];
	size_t out_len;
	bool is_done;
};

static uint8_t flood_byte(uint64_t i)
{
	return (uint8_t)(i * 31 + (i >> 8) * 7);
}

static void flood_writable(struct conn *c)
{
	struct flood *f = c->user;

	for (;;) {
		ssize_t n;

		/* Each try offers more than the last one: only the beginning stays as it was. */
		while (f->out_len < sizeof(f->out) && f->sent + f->out_len < f->total) {
			f->out[f->out_len] = flood_byte(f->sent + f->out_len);
			f->out_len++;
			if (f->out_len % 5000 == 0)
				break;
		}
		if (!f->out_len) {
			conn_want_write(c, false);
			return;
		}
		n = conn_send(c, f->out, f->out_len);
		if (n == ERR_AGAIN)
			return;
		assert_true(n > 0);
		f->sent += (uint64_t)n;
		f->out_len -= (size_t)n;
		memmove(f->out, f->out + n, f->out_len);
	}
}

static void flood_open(struct conn *c)
{
	conn_want_write(c, true);
	/* The way back is stopped until the way there is full. */
	conn_want_read(c, false);
}

static void flood_readable(struct conn *c)
{
	struct flood *f = c->user;
	uint8_t in[700]; /* less than a record: the rest waits inside */
	ssize_t n = conn_recv(c, in, sizeof(in));
	uint8_t *p = in;

	if (n == ERR_AGAIN)
		return;
	assert_true(n > 0);
	/* Past the server's own line. */
	if (!f->cl.len) {
		uint8_t *end = memchr(in, '\n', (size_t)n);

		if (!end)
			return;
		f->cl.len = 1;
		n -= end + 1 - in;
		p = end + 1;
	}
	for (ssize_t i = 0; i < n; i++)
		if (p[i] != flood_byte(f->received + (uint64_t)i))
			fail_msg("byte %llu is wrong",
				(unsigned long long)f->received + (unsigned)i);
	f->received += (uint64_t)n;
	f->is_done = f->received == f->total;
}

static void flood(const char *server)
{
	static const struct conn_ops flood_ops = {
		flood_open, flood_readable, flood_writable, on_failed};
	struct tls_context *ctx = load("ca.pem", NULL, false);
	static struct flood f;
	uint64_t stuck = 0;
	int64_t end_ms = port_now_ms() + TURNS_MS;

	memset(&f, 0, sizeof(f));
	client_begin(&f.cl, ctx, "127.0.0.1", port_of(server));
	f.total = 12 << 20;
	f.cl.conn.ops = &flood_ops;
	while (f.cl.conn.state != CONN_OPEN)
		assert_int_equal(loop_turn(&f.cl.loop), 0);
	/* Until nothing more leaves: the echo's way back is closed. */
	do {
		stuck = f.sent;
		for (int i = 0; i < 50; i++) {
			struct port_poll p = {.fd = f.cl.conn.fd.fd, .want = PORT_POLL_OUT};

			if (port_poll(&p, 1, 20) > 0)
				assert_int_equal(loop_turn(&f.cl.loop), 0);
		}
	} while (stuck != f.sent && f.sent < f.total);
	assert_true(f.sent < f.total);
	conn_want_read(&f.cl.conn, true);
	while (!f.is_done && port_now_ms() < end_ms)
		assert_int_equal(loop_turn(&f.cl.loop), 0);
	assert_true(f.is_done);
	conn_close(&f.cl.conn);
	tls_context_free(ctx);
}

static void test_flood(void **state)
{
	(void)state;
	flood("small");
	flood("small13");
}

static void expect_load_failure(
	const char *ca, const char *cert, const char *key, int err, const char *part)
{
	struct tls_context *ctx = NULL;
	char why[CONN_WHY_MAX] = "";
	struct tls_files files = {ca, cert, key, false};
	int ret = tls_context_load(&ctx, &files, why, sizeof(why));

	if (ret != err || !strstr(why, part))
		fail_msg("not %s '%s', but %s '%s'", err_name(err), part, err_name(ret), why);
	assert_null(ctx);
}

static void test_files(void **state)
{
	(void)state;
	expect_load_failure(path("none.pem"), NULL, NULL, ERR_NOENT, "none.pem: no such file");
	expect_load_failure(path("ca.key"), NULL, NULL, ERR_CONFIG, "ca.key: no certificate in it");
	expect_load_failure("/dev/null", NULL, NULL, ERR_CONFIG, "/dev/null: no certificate");
	expect_load_failure(path("ca.pem"), path("client.pem"), NULL, ERR_CONFIG, "no key for it");
	expect_load_failure(path("ca.pem"), NULL, path("client.key"), ERR_CONFIG,
		"no certificate (cert) for it");
	expect_load_failure(path("ca.pem"), path("client.pem"), path("client2.key"), ERR_CONFIG,
		"client2.key: the key does not fit the certificate");
	expect_load_failure(
		path("ca.pem"), path("client.pem"), path("locked.key"), ERR_CONFIG, "passphrase");
	expect_load_failure(path("ca.pem"), path("client.pem"), path("client.pem"), ERR_CONFIG,
		"no private key");
}

static void test_findings(void **state)
{
	struct tls_context *ctx = load("ca.pem", "client", false);
	int64_t in_2049_s = INT64_C(2524608000) - 10 * 86400; /* ten days before it all ends */
	bool is_error = true;
	char what[256];

	(void)state;
	assert_int_equal(
		tls_context_finding(ctx, 0, port_wall_s(), &is_error, what, sizeof(what)), 0);
	assert_int_equal(tls_context_finding(ctx, 0, in_2049_s, &is_error, what, sizeof(what)), 1);
	assert_string_equal(what, "CA certificate 'CN=Test CA' expires in 9 days, on 2049-12-31");
	assert_false(is_error);
	assert_int_equal(tls_context_finding(ctx, 1, in_2049_s, &is_error, what, sizeof(what)), 1);
	assert_non_null(strstr(what, "client certificate 'CN=client' expires"));
	assert_int_equal(tls_context_finding(ctx, 2, in_2049_s, &is_error, what, sizeof(what)), 0);
	tls_context_free(ctx);

	ctx = load("ca.pem", "expired", false);
	assert_int_equal(
		tls_context_finding(ctx, 0, port_wall_s(), &is_error, what, sizeof(what)), 1);
	assert_string_equal(what, "client certificate 'CN=expired' has expired on 2021-01-01");
	assert_true(is_error);
	tls_context_free(ctx);

	ctx = load("ca.pem", "weak", false);
	assert_int_equal(
		tls_context_finding(ctx, 0, port_wall_s(), &is_error, what, sizeof(what)), 1);
	assert_non_null(strstr(what, "weak key"));
	tls_context_free(ctx);
	assert_non_null(strstr(tls_library_version(), "mbedTLS 3.6"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_good_servers),
		cmocka_unit_test(test_tls13_only),
		cmocka_unit_test(test_refused_certificates),
		cmocka_unit_test(test_clock_of_1970),
		cmocka_unit_test(test_unverified),
		cmocka_unit_test(test_alpn),
		cmocka_unit_test(test_client_certificate),
		cmocka_unit_test(test_other_peers),
		cmocka_unit_test(test_handshake_deadline),
		cmocka_unit_test(test_cancel_in_handshake),
		cmocka_unit_test(test_resumption),
		cmocka_unit_test(test_many_reconnects),
		cmocka_unit_test(test_reload_while_open),
		cmocka_unit_test(test_flood),
		cmocka_unit_test(test_files),
		cmocka_unit_test(test_findings),
	};

	/* port_signals_open() keeps SIGTERM from ending a test that hangs; this does not. */
	alarm(120);
	setvbuf(stdout, NULL, _IOLBF, 0);
	return cmocka_run_group_tests(tests, set_up, tear_down);
}
