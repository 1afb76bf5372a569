/* SPDX-License-Identifier: Apache-2.0 */
/* A session with its login and its calls (reader, probe), against a server that is scripted. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "base/err.h"
#include "base/log.h"
#include "etcd/probe.h"
#include "etcd/reader.h"
#include "etcd/session.h"

#include "fake_conn.h"
#include "fake_etcd.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

enum {
	COMMAND_MS = 5000,
	KEEPALIVE_MS = 60000,
	LOG_MAX = 8192,
};

static const char authenticate[] = "/etcdserverpb.Auth/Authenticate";
static const char status_path[] = "/etcdserverpb.Maintenance/Status";
static const char range_path[] = "/etcdserverpb.KV/Range";
static const char watch_path[] = "/etcdserverpb.Watch/Watch";

static struct loop loop;
static struct etcd_session session;
static struct etcd_session_cfg cfg;
static const struct etcd_endpoint endpoint = {.host = "10.0.0.1", .port = 2379};
static struct etcd_reader reader;
static struct etcd_probe probe;
static struct fake_pb msg;
static char said[LOG_MAX];
static size_t said_len;
static char logged[LOG_MAX];
static size_t logged_len;
static ssize_t password_len;
static unsigned passwords, writables;
static size_t take; /* bytes of values that the reader still takes */
static unsigned end_again;

static __attribute__((format(printf, 1, 2))) void say(const char *fmt, ...)
{
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(said + said_len, sizeof(said) - said_len, fmt, ap);
	va_end(ap);
	assert_true(n >= 0 && (size_t)n < sizeof(said) - said_len);
	said_len += (size_t)n;
}

static void expect(const char *want)
{
	assert_string_equal(said, want);
	said[0] = '\0';
	said_len = 0;
}

static void writer(enum log_level level, const char *line, size_t len)
{
	int n = snprintf(logged + logged_len, sizeof(logged) - logged_len, "%d %.*s\n", (int)level,
		(int)len, line);

	assert_true(n > 0 && (size_t)n < sizeof(logged) - logged_len);
	logged_len += (size_t)n;
}

static void on_ready(struct etcd_session *s)
{
	assert_int_equal(s->state, ETCD_SESSION_READY);
	say("ready\n");
}

static void on_version(struct etcd_session *s)
{
	assert_true(s->is_version_settled);
	say("version %s\n", s->status.version_text);
}

static void on_down(struct etcd_session *s, int err, const char *why)
{
	assert_int_equal(s->state, ETCD_SESSION_CLOSED);
	assert_int_equal(s->token[0], '\0');
	say("down %s: %s\n", err_name(err), why);
}

static void on_going_away(struct etcd_session *s, const char *why)
{
	(void)s;
	say("going away: %s\n", why);
}

static void on_writable(struct etcd_session *s)
{
	(void)s;
	writables++;
}

static const struct etcd_session_ops session_ops = {
	.ready = on_ready,
	.version = on_version,
	.down = on_down,
	.going_away = on_going_away,
	.writable = on_writable,
};

static ssize_t give_password(void *arg, char *dst, size_t cap, char *why, size_t why_cap)
{
	assert_ptr_equal(arg, &password_len);
	assert_int_equal(cap, ETCD_PASSWORD_MAX);
	passwords++;
	if (password_len < 0) {
		snprintf(why, why_cap, "/etc/pw: no such file");
		return password_len;
	}
	memset(dst, 'p', (size_t)password_len);
	dst[password_len] = '\0';
	return password_len;
}

static void dial(void)
{
	etcd_session_open(&session, &endpoint);
	fake_run_now(&loop);
	fake_settings(0, 0);
	fake_run_now(&loop);
}

static void begin(const char *user)
{
	fake_net_reset();
	memset(&cfg, 0, sizeof(cfg));
	cfg = (struct etcd_session_cfg){
		.dial_timeout_ms = 5000,
		.command_timeout_ms = COMMAND_MS,
		.keepalive_time_ms = KEEPALIVE_MS,
		.keepalive_timeout_ms = 6000,
		.user = user,
		.password = give_password,
		.password_arg = &password_len,
	};
	password_len = 6;
	passwords = writables = 0;
	said_len = logged_len = 0;
	said[0] = logged[0] = '\0';
	log_set_writer(writer);
	log_set_level(LOG_LEVEL_INFO);
	loop_init(&loop);
	etcd_session_init(&session, &loop, &cfg, &session_ops, NULL);
	dial();
}

/* The request on the newest stream is this one; its message is in *p. */
static size_t expect_request(const char *path, const uint8_t **p)
{
	ssize_t len;

	assert_true(fake_has_path(fake_last_call(), path));
	len = fake_message_of(fake_last_call(), 0, p);
	assert_true(len >= 0);
	return (size_t)len;
}

static uint32_t last_id(void)
{
	return fake_last_call()->id;
}

static void answer_token(const char *token, size_t len)
{
	msg.len = 0;
	fake_pb_header(&msg, 7);
	if (len)
		fake_pb_bytes(&msg, 2, token, len);
	fake_answer(last_id(), msg.p, msg.len);
	fake_run_now(&loop);
}

static void answer_status(const char *version, bool is_learner)
{
	const uint8_t *p;

	expect_request(status_path, &p);
	msg.len = 0;
	fake_pb_header(&msg, 7);
	fake_pb_bytes(&msg, 2, version, strlen(version));
	fake_pb_number(&msg, 6, FAKE_TERM);
	fake_pb_number(&msg, 10, is_learner);
	fake_answer(last_id(), msg.p, msg.len);
	fake_run_now(&loop);
}

static void refuse(int code, const char *message)
{
	fake_refusal(last_id(), code, message);
	fake_run_now(&loop);
}

static bool has_token(const struct fake_call *c, const char *token)
{
	char line[64];

	snprintf(line, sizeof(line), "token: %s", token);
	return fake_has_header(c, line);
}

/* Logged in, with a version. */
static void begin_ready(void)
{
	begin("u");
	answer_token("tok", 3);
	answer_status("3.5.16", false);
	expect("ready\nversion 3.5.16\n");
}

/* -- the beginning ---------------------------------------------------------------------------- */

static void without_a_user_it_is_ready_at_once(void **state)
{
	(void)state;
	begin(NULL);
	expect("ready\n");
	assert_false(session.is_version_settled);
	assert_null(strstr(fake_last_call()->headers, "token: "));
	answer_status("3.5.16", false);
	expect("version 3.5.16\n");
	assert_int_equal(session.status.version.minor, 5);
	assert_int_equal(session.status.header.cluster_id, FAKE_CLUSTER);
	assert_int_equal(passwords, 0);
	/* There is nothing to log in with. */
	etcd_session_relogin(&session);
	fake_run_now(&loop);
	assert_int_equal(fake_net.peer->calls_count, 1);
	assert_int_equal(session.state, ETCD_SESSION_READY);
}

static void the_login_comes_first_and_its_token_goes_with_every_call(void **state)
{
	static const uint8_t never[] = "\x10\x05token\x03tok";
	struct grpc_metadata md[GRPC_METADATA_MAX];
	struct fake_pb_field f;
	const uint8_t *p;
	size_t len;
	bool is_never = false;

	(void)state;
	begin("u");
	expect("");
	assert_int_equal(fake_net.peer->calls_count, 1);
	len = expect_request(authenticate, &p);
	f = fake_pb_find(p, len, 1);
	assert_true(f.len == 1 && f.p[0] == 'u');
	f = fake_pb_find(p, len, 2);
	assert_int_equal(f.len, 6);
	assert_memory_equal(f.p, "pppppp", 6);
	answer_token("tok", 3);
	expect("ready\n");
	expect_request(status_path, &p);
	assert_true(has_token(fake_last_call(), "tok"));
	for (size_t i = 0; i + sizeof(never) - 1 <= fake_last_call()->block_len; i++)
		is_never |= memcmp(fake_last_call()->block + i, never, sizeof(never) - 1) == 0;
	assert_true(is_never);
	assert_int_equal(etcd_session_metadata(&session, md, false), 1);
	assert_true(md[0].is_secret);
	assert_int_equal(etcd_session_metadata(&session, md, true), 2);
	assert_string_equal(md[1].name, "hasleader");
	assert_string_equal(md[1].value, "true");
	answer_status("3.6.0", false);
	expect("version 3.6.0\n");
}

static void a_login_that_is_refused_says_why(void **state)
{
	static const struct {
		int code;
		const char *message;
		const char *want;
	} rows[] = {
		{3, "etcdserver: authentication failed, invalid user ID or password",
			"down AUTH: login as 'u': INVALID_ARGUMENT: etcdserver: authentication "
			"failed, invalid user ID or password\n"},
		{7, "etcdserver: permission denied",
			"down AUTH: login as 'u': PERMISSION_DENIED: etcdserver: permission denied\n"},
		{16, "etcdserver: invalid auth token",
			"down AUTH: login as 'u': UNAUTHENTICATED: etcdserver: invalid auth token\n"},
		{14, "etcdserver: no leader",
			"down STATUS: login as 'u': UNAVAILABLE: etcdserver: no leader\n"},
		{9, "etcdserver: rpc not supported for learner",
			"down STATUS: login as 'u': FAILED_PRECONDITION: etcdserver: rpc not "
			"supported for learner\n"},
		{2, "%1B[1m", "down STATUS: login as 'u': UNKNOWN: \\x1B[1m\n"},
	};

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++) {
		begin("u");
		refuse(rows[i].code, rows[i].message);
		expect(rows[i].want);
		assert_true(fake_net.peer->is_closed);
		fake_run(&loop, KEEPALIVE_MS);
		expect("");
	}
}

static void a_login_has_a_deadline(void **state)
{
	(void)state;
	begin("u");
	fake_run(&loop, COMMAND_MS - 1);
	expect("");
	fake_run(&loop, 1);
	expect("down STATUS: login as 'u': no answer in time\n");
}

/* The call's own deadline runs from its beginning, and here it may not begin. */
static void a_login_that_may_not_begin_has_a_deadline(void **state)
{
	(void)state;
	begin("u");
	etcd_session_close(&session);
	said_len = 0;
	etcd_session_open(&session, &endpoint);
	fake_run_now(&loop);
	fake_settings(FAKE_MAX_STREAMS, 0);
	fake_run(&loop, 2 * COMMAND_MS - 1);
	expect("");
	assert_int_equal(fake_net.peer->calls_count, 0);
	fake_run(&loop, 1);
	expect("down TIMEOUT: the server takes no login\n");
	/* Not so a login that was in time. */
	dial();
	fake_run(&loop, COMMAND_MS - 1);
	answer_token("tok", 3);
	expect("ready\n");
	answer_status("3.5.16", false);
	expect("version 3.5.16\n");
	fake_run(&loop, 4 * COMMAND_MS);
	expect("");
	/* And so one on a connection that was ready before. */
	fake_settings(FAKE_MAX_STREAMS, 0);
	fake_run_now(&loop);
	etcd_session_relogin(&session);
	fake_run(&loop, 2 * COMMAND_MS);
	expect("down TIMEOUT: the server takes no login\n");
}

static void where_authentication_is_off_it_goes_on_without(void **state)
{
	struct grpc_metadata md[GRPC_METADATA_MAX];

	(void)state;
	begin("u");
	refuse(9, "etcdserver: authentication is not enabled");
	expect("ready\n");
	assert_string_equal(logged, "1 10.0.0.1:2379: authentication is not enabled at the server: "
				    "going on without a login\n");
	assert_int_equal(etcd_session_metadata(&session, md, false), 0);
	answer_status("3.5.16", false);
	expect("version 3.5.16\n");
	/* It is said once. */
	etcd_session_relogin(&session);
	fake_run_now(&loop);
	refuse(9, "etcdserver: authentication is not enabled");
	expect("ready\n");
	assert_null(strchr(strchr(logged, '\n') + 1, '\n'));
}

static void a_token_that_is_not_usable_is_a_failed_login(void **state)
{
	static const char failed[] = "down AUTH: login as 'u': the server's token is not usable\n";
	static char big[ETCD_TOKEN_MAX + 1];
	static const char *const bad[] = {"", " x", "x ", "a\nb", "a\x7f", "\xc3\xbc"};

	(void)state;
	for (size_t i = 0; i < COUNT(bad); i++) {
		begin("u");
		answer_token(bad[i], strlen(bad[i]));
		expect(failed);
	}
	begin("u");
	msg.len = 0;
	fake_pb_varint(&msg, 2 << 3 | 2);
	fake_pb_varint(&msg, 100);
	fake_answer(last_id(), msg.p, msg.len);
	fake_run_now(&loop);
	expect(failed);
	memset(big, 't', sizeof(big));
	begin("u");
	answer_token(big, sizeof(big));
	expect(failed);
	begin("u");
	answer_token(big, sizeof(big) - 1);
	expect("ready\n");
	assert_int_equal(strlen(session.token), ETCD_TOKEN_MAX);
	/* More than any token with its header: the server is at fault. */
	begin("u");
	fake_headers(last_id(), fake_grpc_headers, false);
	fake_data(last_id(), "\0\0\0\x40\0", 5, false);
	fake_run_now(&loop);
	expect("down LIMIT: answer from the server: the peer exceeded a limit\n");
}

static void a_password_that_cannot_be_read_ends_the_session(void **state)
{
	(void)state;
	begin("u");
	etcd_session_close(&session);
	password_len = ERR_NOENT;
	dial();
	expect("down NOENT: login as 'u': /etc/pw: no such file\n");
	assert_int_equal(fake_net.peer->calls_count, 0);
	assert_int_equal(passwords, 2);
	password_len = ETCD_PASSWORD_MAX - 1;
	dial();
	assert_int_equal(passwords, 3);
	answer_token("tok", 3);
	expect("ready\n");
}

static void a_server_that_tells_no_version_is_good_enough(void **state)
{
	const uint8_t *p;

	(void)state;
	begin(NULL);
	expect_request(status_path, &p);
	refuse(12, "unknown method Status");
	expect("ready\nversion \n");
	assert_false(session.status.version.is_known);
	assert_int_equal(session.state, ETCD_SESSION_READY);

	begin(NULL);
	fake_answer(last_id(), "\xff\xff", 2);
	fake_run_now(&loop);
	expect("ready\nversion \n");

	begin(NULL);
	fake_run(&loop, COMMAND_MS);
	expect("ready\nversion \n");

	begin(NULL);
	answer_status("main-build", false);
	expect("ready\nversion main-build\n");
	assert_false(session.status.version.is_known);
}

static void a_learner_is_left(void **state)
{
	(void)state;
	begin(NULL);
	answer_status("3.5.16", true);
	expect("ready\ndown STATUS: the member is a learner, which serves no watch\n");
}

static void the_authority_names_host_and_port(void **state)
{
	static const struct etcd_endpoint v6 = {.host = "2001:db8::1", .port = 1};

	(void)state;
	begin(NULL);
	assert_true(fake_has_header(fake_last_call(), ":authority: 10.0.0.1:2379"));
	etcd_session_close(&session);
	etcd_session_open(&session, &v6);
	fake_run_now(&loop);
	fake_settings(0, 0);
	fake_run_now(&loop);
	assert_true(fake_has_header(fake_last_call(), ":authority: [2001:db8::1]:1"));
}

/* -- later ------------------------------------------------------------------------------------ */

static void a_relogin_gets_a_new_token_on_the_same_connection(void **state)
{
	const uint8_t *p;

	(void)state;
	begin_ready();
	etcd_session_relogin(&session);
	assert_int_equal(session.state, ETCD_SESSION_LOGIN);
	etcd_session_relogin(&session);
	fake_run_now(&loop);
	assert_int_equal(fake_net.peer->calls_count, 3);
	expect_request(authenticate, &p);
	assert_null(strstr(fake_last_call()->headers, "token: "));
	answer_token("new", 3);
	expect("ready\n");
	assert_string_equal(session.token, "new");
	assert_int_equal(fake_net.dials, 1);
	/* The version is known: it is not asked for again. */
	assert_int_equal(fake_net.peer->calls_count, 3);
	etcd_session_relogin(&session);
	fake_run_now(&loop);
	refuse(3, "etcdserver: authentication failed, invalid user ID or password");
	expect("down AUTH: login as 'u': INVALID_ARGUMENT: etcdserver: authentication failed, "
	       "invalid user ID or password\n");
}

static void a_relogin_waits_for_the_question_that_is_under_way(void **state)
{
	const uint8_t *p;

	(void)state;
	begin("u");
	answer_token("tok", 3);
	expect_request(status_path, &p);
	etcd_session_relogin(&session);
	fake_run_now(&loop);
	expect("ready\n");
	answer_status("3.5.16", false);
	expect("version 3.5.16\n");
	expect_request(authenticate, &p);
	answer_token("new", 3);
	expect("ready\n");
}

static void calls_wait_where_one_stream_is_all(void **state)
{
	const uint8_t *p;

	(void)state;
	begin("u");
	etcd_session_close(&session);
	said_len = 0;
	etcd_session_open(&session, &endpoint);
	fake_run_now(&loop);
	fake_settings(FAKE_MAX_STREAMS, 1);
	fake_run_now(&loop);
	answer_token("tok", 3);
	answer_status("3.5.16", false);
	expect("ready\nversion 3.5.16\n");
	etcd_probe_init(&probe, NULL, NULL);
	assert_int_equal(
		grpc_call_start(&session.channel, &probe.call, "/x", NULL, 0, "", 0, true, 1000),
		0);
	etcd_session_relogin(&session);
	fake_run_now(&loop);
	assert_int_equal(fake_net.peer->calls_count, 3);
	grpc_call_cancel(&probe.call);
	fake_run_now(&loop);
	expect_request(authenticate, &p);
	assert_int_equal(fake_net.peer->calls_count, 4);
}

static void a_session_fails_at_the_end_of_the_turn_and_once(void **state)
{
	(void)state;
	begin_ready();
	etcd_session_fail(&session, ERR_REVISION, "revision %d", 5);
	etcd_session_fail(&session, ERR_PROTO, "another");
	expect("");
	fake_run_now(&loop);
	expect("down REVISION: revision 5\n");
	assert_true(fake_net.peer->is_closed);
	etcd_session_fail(&session, ERR_PROTO, "another");
	fake_run(&loop, KEEPALIVE_MS);
	expect("");
	/* It can be opened again. */
	dial();
	answer_token("tok", 3);
	expect("ready\n");
}

static void closing_tells_nobody_and_wipes_the_token(void **state)
{
	static const char zero[sizeof(session.token)];

	(void)state;
	begin_ready();
	etcd_session_close(&session);
	assert_memory_equal(session.token, zero, sizeof(zero));
	assert_int_equal(session.state, ETCD_SESSION_CLOSED);
	fake_run(&loop, KEEPALIVE_MS);
	expect("");
	begin("u");
	etcd_session_close(&session);
	etcd_session_close(&session);
	fake_run(&loop, KEEPALIVE_MS);
	expect("");
	assert_null(loop.timers);
}

static void the_end_of_the_connection_is_passed_on(void **state)
{
	(void)state;
	begin_ready();
	fake_goaway(INT32_MAX, H2_NO_ERROR, "");
	fake_run_now(&loop);
	expect("going away: GOAWAY NO_ERROR\n");
	fake_hang_up(ERR_CLOSED);
	fake_run_now(&loop);
	expect("down CLOSED: connection closed by the peer\n");
	begin("u");
	fake_hang_up(ERR_RESET);
	fake_run_now(&loop);
	expect("down RESET: connection reset by the peer\n");
}

/* -- verdicts --------------------------------------------------------------------------------- */

/* The texts are those of etcd's api/v3rpc/rpctypes/error.go. */
static void a_status_is_judged_by_its_words_and_its_code(void **state)
{
	static const struct {
		int code;
		const char *message;
		enum etcd_verdict want, without_user;
	} rows[] = {
		{0, "", ETCD_VERDICT_OK, ETCD_VERDICT_OK},
		{14, "etcdserver: no leader", ETCD_VERDICT_RETRY, ETCD_VERDICT_RETRY},
		{14, "etcdserver: leader changed", ETCD_VERDICT_RETRY, ETCD_VERDICT_RETRY},
		{14, "etcdserver: server stopped", ETCD_VERDICT_RETRY, ETCD_VERDICT_RETRY},
		{14, "etcdserver: request timed out", ETCD_VERDICT_RETRY, ETCD_VERDICT_RETRY},
		{14, "etcdserver: request timed out, possibly due to connection lost",
			ETCD_VERDICT_RETRY, ETCD_VERDICT_RETRY},
		{14, "etcdserver: unhealthy cluster", ETCD_VERDICT_RETRY, ETCD_VERDICT_RETRY},
		{16, "etcdserver: invalid auth token", ETCD_VERDICT_LOGIN, ETCD_VERDICT_DENIED},
		{16, "", ETCD_VERDICT_LOGIN, ETCD_VERDICT_DENIED},
		{3, "etcdserver: revision of auth store is old", ETCD_VERDICT_LOGIN,
			ETCD_VERDICT_DENIED},
		{3, "etcdserver: user name is empty", ETCD_VERDICT_LOGIN, ETCD_VERDICT_DENIED},
		{3, "etcdserver: key is not provided", ETCD_VERDICT_REFUSED, ETCD_VERDICT_REFUSED},
		{3, "etcdserver: request is too large", ETCD_VERDICT_REFUSED, ETCD_VERDICT_REFUSED},
		{7, "etcdserver: permission denied", ETCD_VERDICT_DENIED, ETCD_VERDICT_DENIED},
		{7, "", ETCD_VERDICT_DENIED, ETCD_VERDICT_DENIED},
		{9, "etcdserver: rpc not supported for learner", ETCD_VERDICT_RETRY,
			ETCD_VERDICT_RETRY},
		{9, "etcdserver: not leader", ETCD_VERDICT_RETRY, ETCD_VERDICT_RETRY},
		{11, "etcdserver: mvcc: required revision has been compacted",
			ETCD_VERDICT_COMPACTED, ETCD_VERDICT_COMPACTED},
		{11, "etcdserver: mvcc: required revision is a future revision", ETCD_VERDICT_RETRY,
			ETCD_VERDICT_RETRY},
		{8, "etcdserver: too many requests", ETCD_VERDICT_SLOWER, ETCD_VERDICT_SLOWER},
		{8, "etcdserver: mvcc: database space exceeded", ETCD_VERDICT_SLOWER,
			ETCD_VERDICT_SLOWER},
		{1, "etcdserver: request canceled", ETCD_VERDICT_RETRY, ETCD_VERDICT_RETRY},
		{15, "etcdserver: corrupt cluster", ETCD_VERDICT_RETRY, ETCD_VERDICT_RETRY},
		{2, "lessor: not primary", ETCD_VERDICT_RETRY, ETCD_VERDICT_RETRY},
		{12, "unknown service", ETCD_VERDICT_REFUSED, ETCD_VERDICT_REFUSED},
		{13, "", ETCD_VERDICT_RETRY, ETCD_VERDICT_RETRY},
		{4, "no answer in time", ETCD_VERDICT_RETRY, ETCD_VERDICT_RETRY},
		/* a proxy's code, etcd's words */
		{2, "rpc error: code = PermissionDenied desc = etcdserver: permission denied",
			ETCD_VERDICT_DENIED, ETCD_VERDICT_DENIED},
	};

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++) {
		const struct grpc_status st = {.code = rows[i].code,
			.message = rows[i].message,
			.message_len = strlen(rows[i].message)};

		assert_int_equal(etcd_status_verdict(&st, true), rows[i].want);
		assert_int_equal(etcd_status_verdict(&st, false), rows[i].without_user);
	}
}

static void a_cancel_reason_is_judged_by_its_words(void **state)
{
	static const struct {
		const char *reason;
		enum etcd_verdict want, without_user;
	} rows[] = {
		{"", ETCD_VERDICT_RETRY, ETCD_VERDICT_RETRY},
		{"rpc error: code = PermissionDenied desc = etcdserver: permission denied",
			ETCD_VERDICT_DENIED, ETCD_VERDICT_DENIED},
		{"etcdserver: permission denied", ETCD_VERDICT_DENIED, ETCD_VERDICT_DENIED},
		{"rpc error: code = Unauthenticated desc = etcdserver: invalid auth token",
			ETCD_VERDICT_LOGIN, ETCD_VERDICT_DENIED},
		{"rpc error: code = InvalidArgument desc = etcdserver: revision of auth store is old",
			ETCD_VERDICT_LOGIN, ETCD_VERDICT_DENIED},
		{"rpc error: code = InvalidArgument desc = etcdserver: user name is empty",
			ETCD_VERDICT_LOGIN, ETCD_VERDICT_DENIED},
		{"mvcc: required revision has been compacted", ETCD_VERDICT_COMPACTED,
			ETCD_VERDICT_COMPACTED},
		{"mvcc: watcher range is empty", ETCD_VERDICT_REFUSED, ETCD_VERDICT_REFUSED},
		{"mvcc: duplicate watch ID provided on the WatchStream", ETCD_VERDICT_REFUSED,
			ETCD_VERDICT_REFUSED},
		{"permission denie", ETCD_VERDICT_RETRY, ETCD_VERDICT_RETRY},
	};

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++) {
		size_t len = strlen(rows[i].reason);

		assert_int_equal(etcd_reason_verdict(rows[i].reason, len, true), rows[i].want);
		assert_int_equal(
			etcd_reason_verdict(rows[i].reason, len, false), rows[i].without_user);
	}
}

static void a_status_is_shown_safely(void **state)
{
	const struct grpc_status far = {.code = 7, .message = "no\x1b", .message_len = 3};
	const struct grpc_status near = {
		.code = 14, .is_local = true, .message = "lost", .message_len = 4};
	const struct grpc_status bare = {.code = 5, .message = "", .message_len = 0};
	char dst[LOG_SHOW_MAX + 32];

	(void)state;
	assert_string_equal(etcd_status_show(dst, sizeof(dst), &far), "PERMISSION_DENIED: no\\x1B");
	assert_string_equal(etcd_status_show(dst, sizeof(dst), &near), "lost");
	assert_string_equal(etcd_status_show(dst, sizeof(dst), &bare), "NOT_FOUND");
}

/* -- reader ----------------------------------------------------------------------------------- */

static int split_begin(void *user, const struct etcd_answer *a)
{
	assert_ptr_equal(user, &reader);
	say("begin %d\n", (int)a->header.revision);
	return 0;
}

static int split_event(void *user, const struct etcd_event *e)
{
	(void)user;
	say("%.*s=", (int)e->key_len, e->key);
	return 0;
}

static ssize_t split_value(void *user, enum etcd_value which, const uint8_t *p, size_t len)
{
	size_t n = len < take ? len : take;

	(void)user;
	(void)which;
	say("%.*s", (int)n, (const char *)p);
	take -= n;
	return (ssize_t)n;
}

static int split_event_end(void *user, const struct etcd_event *e)
{
	(void)user;
	(void)e;
	say("\n");
	return 0;
}

static int split_end(void *user, const struct etcd_answer *a)
{
	(void)user;
	if (end_again) {
		end_again--;
		return ERR_AGAIN;
	}
	say("end %d\n", (int)a->event_count);
	return 0;
}

static void reader_done(struct etcd_reader *r, const struct grpc_status *st)
{
	assert_false(etcd_reader_is_running(r));
	assert_false(r->is_in_message || r->is_blocked);
	say("done %s\n", grpc_code_name(st->code));
}

static const struct etcd_reader_ops reader_ops = {
	.split = {split_begin, split_event, split_value, split_event_end, split_end},
	.done = reader_done,
};

static void begin_reader(void)
{
	begin_ready();
	take = SIZE_MAX;
	end_again = 0;
	etcd_reader_init(&reader, &reader_ops, NULL);
}

static void a_listing_streams_through_the_reader(void **state)
{
	struct etcd_range_request req = {.rev = 5, .limit = 10};
	const uint8_t *p;
	size_t len;

	(void)state;
	begin_reader();
	etcd_range_key(&req.range, "k", 1);
	assert_int_equal(etcd_reader_range(&reader, &session, &req), 0);
	assert_true(etcd_reader_is_running(&reader));
	fake_run_now(&loop);
	len = expect_request(range_path, &p);
	assert_int_equal(fake_pb_find(p, len, 4).v, 5);
	assert_int_equal(fake_pb_find(p, len, 3).v, 10);
	assert_true(fake_last_call()->is_ended);
	assert_true(has_token(fake_last_call(), "tok"));
	assert_false(fake_has_header(fake_last_call(), "hasleader: true"));
	msg.len = 0;
	fake_pb_header(&msg, 9);
	fake_pb_kv(&msg, 2, "a", 1, "1", 1, 3);
	fake_pb_kv(&msg, 2, "b", 1, "hello", 5, 4);
	take = 3;
	fake_answer(last_id(), msg.p, msg.len);
	fake_run(&loop, 100);
	expect("begin 9\na=1\nb=he");
	assert_true(reader.is_blocked && reader.is_in_message);
	assert_int_equal(reader.last_data_ms, loop.now_ms - 100);
	take = SIZE_MAX;
	end_again = 1;
	etcd_reader_resume(&reader);
	expect("llo\n");
	assert_true(reader.is_blocked && reader.is_in_message);
	etcd_reader_resume(&reader);
	expect("end 2\ndone OK\n");
	etcd_reader_resume(&reader);
	expect("");
}

static void the_watch_stream_takes_watches_and_gives_events(void **state)
{
	struct etcd_watch_request req = {.start_rev = 5};
	static struct fake_pb event;
	struct fake_pb_field f;
	const uint8_t *p;
	ssize_t len;

	(void)state;
	begin_reader();
	etcd_range_key(&req.range, "k", 1);
	assert_int_equal(etcd_reader_watch(&reader, &session, &req), 0);
	fake_run_now(&loop);
	len = (ssize_t)expect_request(watch_path, &p);
	f = fake_pb_find(p, (size_t)len, 1);
	assert_int_equal(fake_pb_find(f.p, f.len, 3).v, 5);
	assert_true(fake_has_header(fake_last_call(), "hasleader: true"));
	assert_true(has_token(fake_last_call(), "tok"));
	assert_false(fake_last_call()->is_ended);
	req.start_rev = 6;
	assert_int_equal(etcd_reader_create(&reader, &req), 0);
	fake_run_now(&loop);
	len = fake_message_of(fake_last_call(), 1, &p);
	f = fake_pb_find(p, (size_t)len, 1);
	assert_int_equal(fake_pb_find(f.p, f.len, 3).v, 6);
	assert_int_equal(etcd_reader_cancel(&reader, 3), 0);
	fake_run_now(&loop);
	len = fake_message_of(fake_last_call(), 2, &p);
	f = fake_pb_find(p, (size_t)len, 2);
	assert_int_equal(fake_pb_find(f.p, f.len, 1).v, 3);

	fake_headers(last_id(), fake_grpc_headers, false);
	for (int i = 0; i < 2; i++) {
		msg.len = event.len = 0;
		fake_pb_header(&msg, 9 + i);
		fake_pb_kv(&event, 2, "k", 1, "v", 1, 9 + i);
		fake_pb_bytes(&msg, 11, event.p, event.len);
		fake_message(last_id(), msg.p, msg.len);
	}
	fake_run_now(&loop);
	expect("begin 9\nk=v\nend 1\nbegin 10\nk=v\nend 1\n");
	assert_false(reader.is_in_message);
	etcd_reader_close(&reader);
	etcd_reader_close(&reader);
	fake_run_now(&loop);
	expect("");
	assert_int_equal(fake_last_call()->reset_code, H2_CANCEL);
	assert_int_equal(etcd_reader_cancel(&reader, 3), ERR_CLOSED);
	/* It may be used again, and begins clean. */
	assert_int_equal(etcd_reader_watch(&reader, &session, &req), 0);
	fake_run_now(&loop);
	refuse(14, "etcdserver: no leader");
	expect("done UNAVAILABLE\n");
}

static void a_malformed_answer_ends_the_session(void **state)
{
	struct etcd_range_request req = {0};

	(void)state;
	begin_reader();
	etcd_range_key(&req.range, "k", 1);
	assert_int_equal(etcd_reader_range(&reader, &session, &req), 0);
	fake_run_now(&loop);
	fake_answer(last_id(), "\x0b", 1);
	fake_run_now(&loop);
	expect("done UNAVAILABLE\n"
	       "down PROTO: answer from the server: malformed protobuf message\n");
}

/* -- probe ------------------------------------------------------------------------------------ */

static void probe_done(
	struct etcd_probe *p, const struct grpc_status *st, const struct etcd_header *header)
{
	assert_false(etcd_probe_is_running(p));
	say("probe %s %d\n", grpc_code_name(st->code),
		st->code ? 0 : (int)header->revision + (int)header->raft_term * 1000);
}

static void start_probe(void)
{
	struct etcd_range range;
	static uint8_t end[8];

	etcd_range_prefix(&range, "/a/", 3, end);
	etcd_probe_init(&probe, probe_done, NULL);
	assert_int_equal(etcd_probe_start(&probe, &session, &range), 0);
	assert_true(etcd_probe_is_running(&probe));
	fake_run_now(&loop);
}

static void a_probe_asks_for_one_key_and_tells_the_header(void **state)
{
	struct fake_pb_field f;
	const uint8_t *p;
	size_t len;

	(void)state;
	begin_ready();
	start_probe();
	len = expect_request(range_path, &p);
	f = fake_pb_find(p, len, 1);
	assert_int_equal(f.len, 3);
	assert_memory_equal(f.p, "/a/", 3);
	assert_false(fake_pb_find(p, len, 2).is_there);
	assert_false(fake_pb_find(p, len, 7).is_there); /* linearizable */
	assert_int_equal(fake_pb_find(p, len, 9).v, 1);
	msg.len = 0;
	fake_pb_header(&msg, 55);
	fake_pb_number(&msg, 4, 1);
	fake_answer(last_id(), msg.p, msg.len);
	fake_run_now(&loop);
	expect("probe OK 3055\n");
}

static void an_answer_to_a_probe_without_a_revision_is_none(void **state)
{
	(void)state;
	for (int i = 0; i < 4; i++) {
		begin_ready();
		start_probe();
		msg.len = 0;
		if (i == 1)
			fake_pb_header(&msg, 0);
		if (i == 2)
			fake_pb_header(&msg, -5);
		if (i == 3)
			fake_pb_varint(&msg, 0x0b);
		fake_answer(last_id(), msg.p, msg.len);
		fake_run_now(&loop);
		expect("probe INTERNAL 0\n");
	}
	/* No message at all. */
	begin_ready();
	start_probe();
	refuse(0, "");
	expect("probe INTERNAL 0\n");
}

static void a_probe_ends_by_its_status_deadline_or_cancel(void **state)
{
	(void)state;
	begin_ready();
	start_probe();
	refuse(7, "etcdserver: permission denied");
	expect("probe PERMISSION_DENIED 0\n");
	start_probe();
	fake_run(&loop, COMMAND_MS - 1);
	expect("");
	fake_run(&loop, 1);
	expect("probe DEADLINE_EXCEEDED 0\n");
	start_probe();
	etcd_probe_cancel(&probe);
	etcd_probe_cancel(&probe);
	assert_false(etcd_probe_is_running(&probe));
	fake_run(&loop, COMMAND_MS);
	expect("");
	/* More than an answer to a probe can be. */
	start_probe();
	fake_headers(last_id(), fake_grpc_headers, false);
	fake_data(last_id(), "\0\0\0\1\1", 5, false);
	fake_run_now(&loop);
	expect("probe UNAVAILABLE 0\ndown LIMIT: answer from the server: the peer exceeded a "
	       "limit\n");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(without_a_user_it_is_ready_at_once),
		cmocka_unit_test(the_login_comes_first_and_its_token_goes_with_every_call),
		cmocka_unit_test(a_login_that_is_refused_says_why),
		cmocka_unit_test(a_login_has_a_deadline),
		cmocka_unit_test(a_login_that_may_not_begin_has_a_deadline),
		cmocka_unit_test(where_authentication_is_off_it_goes_on_without),
		cmocka_unit_test(a_token_that_is_not_usable_is_a_failed_login),
		cmocka_unit_test(a_password_that_cannot_be_read_ends_the_session),
		cmocka_unit_test(a_server_that_tells_no_version_is_good_enough),
		cmocka_unit_test(a_learner_is_left),
		cmocka_unit_test(the_authority_names_host_and_port),
		cmocka_unit_test(a_relogin_gets_a_new_token_on_the_same_connection),
		cmocka_unit_test(a_relogin_waits_for_the_question_that_is_under_way),
		cmocka_unit_test(calls_wait_where_one_stream_is_all),
		cmocka_unit_test(a_session_fails_at_the_end_of_the_turn_and_once),
		cmocka_unit_test(closing_tells_nobody_and_wipes_the_token),
		cmocka_unit_test(the_end_of_the_connection_is_passed_on),
		cmocka_unit_test(a_status_is_judged_by_its_words_and_its_code),
		cmocka_unit_test(a_cancel_reason_is_judged_by_its_words),
		cmocka_unit_test(a_status_is_shown_safely),
		cmocka_unit_test(a_listing_streams_through_the_reader),
		cmocka_unit_test(the_watch_stream_takes_watches_and_gives_events),
		cmocka_unit_test(a_malformed_answer_ends_the_session),
		cmocka_unit_test(a_probe_asks_for_one_key_and_tells_the_header),
		cmocka_unit_test(an_answer_to_a_probe_without_a_revision_is_none),
		cmocka_unit_test(a_probe_ends_by_its_status_deadline_or_cancel),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
