/* SPDX-License-Identifier: Apache-2.0 */
#include "etcd/session.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/kconfig.h"
#include "base/log.h"
#include "base/wipe.h"

static const char path_authenticate[] = "/etcdserverpb.Auth/Authenticate";
static const char path_status[] = "/etcdserverpb.Maintenance/Status";

static bool has_text(const char *text, size_t len, const char *want)
{
	size_t n = strlen(want);

	for (size_t i = 0; i + n <= len; i++) {
		if (memcmp(text + i, want, n) == 0)
			return true;
	}
	return false;
}

/* The words are those of etcd's api/v3rpc/rpctypes/error.go; codes alone do not tell enough. */
static enum etcd_verdict words_verdict(const char *text, size_t len, bool has_user)
{
	if (has_text(text, len, "required revision has been compacted"))
		return ETCD_VERDICT_COMPACTED;
	if (has_text(text, len, "invalid auth token") ||
		has_text(text, len, "revision of auth store is old"))
		return has_user ? ETCD_VERDICT_LOGIN : ETCD_VERDICT_DENIED;
	if (has_text(text, len, "user name is empty"))
		return has_user ? ETCD_VERDICT_LOGIN : ETCD_VERDICT_DENIED;
	if (has_text(text, len, "permission denied"))
		return ETCD_VERDICT_DENIED;
	if (has_text(text, len, "watcher range is empty") ||
		has_text(text, len, "duplicate watch ID"))
		return ETCD_VERDICT_REFUSED;
	return ETCD_VERDICT_RETRY;
}

enum etcd_verdict etcd_reason_verdict(const char *reason, size_t len, bool has_user)
{
	return words_verdict(reason, len, has_user);
}

enum etcd_verdict etcd_status_verdict(const struct grpc_status *st, bool has_user)
{
	enum etcd_verdict v;

	if (st->code == GRPC_OK)
		return ETCD_VERDICT_OK;
	v = words_verdict(st->message, st->message_len, has_user);
	if (v != ETCD_VERDICT_RETRY)
		return v;
	switch (st->code) {
	case GRPC_UNAUTHENTICATED:
		return has_user ? ETCD_VERDICT_LOGIN : ETCD_VERDICT_DENIED;
	case GRPC_PERMISSION_DENIED:
		return ETCD_VERDICT_DENIED;
	case GRPC_RESOURCE_EXHAUSTED:
		return ETCD_VERDICT_SLOWER;
	case GRPC_INVALID_ARGUMENT:
	case GRPC_UNIMPLEMENTED:
		return ETCD_VERDICT_REFUSED;
	default:
		return ETCD_VERDICT_RETRY;
	}
}

char *etcd_status_show(char *dst, size_t cap, const struct grpc_status *st)
{
	int n = snprintf(dst, cap, "%s%s", st->is_local ? "" : grpc_code_name(st->code),
		st->is_local || !st->message_len ? "" : ": ");

	if (n >= 0 && (size_t)n < cap)
		log_show(dst + n, cap - (size_t)n, st->message, st->message_len);
	return dst;
}

static const char *state_name(enum etcd_session_state state)
{
	static const char *const names[] = {"closed", "dial", "login", "ready"};

	return names[state];
}

static void session_set_state(struct etcd_session *s, enum etcd_session_state state)
{
	if (s->state != state)
		log_debug("session %s: %s -> %s", s->authority, state_name(s->state),
			state_name(state));
	s->state = state;
}

void etcd_session_fail(struct etcd_session *s, int err, const char *fmt, ...)
{
	va_list ap;

	if (s->fail_err || s->state == ETCD_SESSION_CLOSED)
		return;
	s->fail_err = err;
	va_start(ap, fmt);
	vsnprintf(s->fail_why, sizeof(s->fail_why), fmt, ap);
	va_end(ap);
	loop_task_post(s->loop, &s->fail);
}

static void session_forget(struct etcd_session *s)
{
	session_set_state(s, ETCD_SESSION_CLOSED);
	s->is_login_due = s->is_status_due = false;
	s->fail_err = 0;
	loop_timer_clear(s->loop, &s->login_timer);
	loop_task_cancel(s->loop, &s->fail);
	s->has_token = false;
	wipe(s->token, sizeof(s->token));
}

static void on_fail(struct loop_task *task)
{
	struct etcd_session *s = task->user;
	int err = s->fail_err;

	grpc_channel_close(&s->channel);
	session_forget(s);
	s->ops->down(s, err, s->fail_why);
}

size_t etcd_session_metadata(const struct etcd_session *s, struct grpc_metadata *md, bool is_stream)
{
	size_t n = 0;

	if (s->has_token)
		md[n++] = (struct grpc_metadata){"token", s->token, true};
	if (is_stream)
		md[n++] = (struct grpc_metadata){"hasleader", "true", false};
	return n;
}

/* -- the two small calls ---------------------------------------------------------------------- */

static int login_encode(struct etcd_session *s, uint8_t *msg, size_t cap, ssize_t *len)
{
	char password[ETCD_PASSWORD_MAX];
	char why[CONN_WHY_MAX] = "";
	ssize_t n = s->cfg->password(
		s->cfg->password_arg, password, sizeof(password), why, sizeof(why));

	if (n < 0) {
		etcd_session_fail(s, (int)n, "login as '%s': %s", s->cfg->user, why);
		return (int)n;
	}
	*len = msg_encode_authenticate(
		msg, cap, s->cfg->user, strlen(s->cfg->user), password, (size_t)n);
	wipe(password, sizeof(password));
	if (*len < 0)
		etcd_session_fail(
			s, (int)*len, "login as '%s': name or password too long", s->cfg->user);
	return *len < 0 ? (int)*len : 0;
}

static int session_call(struct etcd_session *s, const char *path, const void *msg, size_t len)
{
	struct grpc_metadata md[GRPC_METADATA_MAX];
	size_t n = s->call_kind == ETCD_CALL_LOGIN ? 0 : etcd_session_metadata(s, md, false);

	s->reply_len = 0;
	if (s->call_kind == ETCD_CALL_LOGIN)
		s->has_token = false;
	return grpc_call_start(
		&s->channel, &s->call, path, md, n, msg, len, true, s->cfg->command_timeout_ms);
}

/* Starts what is due of the two, one at a time; tried again when the channel is writable. */
static void session_pump(struct etcd_session *s)
{
	uint8_t msg[ETCD_PASSWORD_MAX + 512];
	ssize_t len = 0;
	int err;

	if (s->fail_err || !s->channel.is_up || grpc_call_is_running(&s->call))
		return;
	if (s->is_login_due) {
		s->call_kind = ETCD_CALL_LOGIN;
		if (login_encode(s, msg, sizeof(msg), &len))
			return;
		err = session_call(s, path_authenticate, msg, (size_t)len);
		wipe(msg, sizeof(msg));
		s->is_login_due = err == ERR_AGAIN;
	} else if (s->is_status_due && s->state == ETCD_SESSION_READY) {
		s->call_kind = ETCD_CALL_STATUS;
		len = msg_encode_status(msg, sizeof(msg));
		err = session_call(s, path_status, msg, len > 0 ? (size_t)len : 0);
		s->is_status_due = err == ERR_AGAIN;
	} else {
		return;
	}
	if (err && err != ERR_AGAIN)
		etcd_session_fail(s, err, "%s", err_text(err));
}

static void session_set_ready(struct etcd_session *s)
{
	session_set_state(s, ETCD_SESSION_READY);
	loop_timer_clear(s->loop, &s->login_timer);
	if (!s->ready_since_ms)
		s->ready_since_ms = s->loop->now_ms;
	s->ops->ready(s);
	session_pump(s);
}

static void login_done(struct etcd_session *s, const struct grpc_status *st)
{
	char shown[LOG_SHOW_MAX + 32];

	if (st->code == GRPC_OK) {
		ssize_t n = msg_decode_authenticate(
			(const uint8_t *)s->token, s->reply_len, s->token, sizeof(s->token));

		if (n < 0) {
			etcd_session_fail(s, ERR_AUTH,
				"login as '%s': the server's token is not usable", s->cfg->user);
			return;
		}
		s->has_token = true;
	} else if (st->code == GRPC_FAILED_PRECONDITION &&
		   has_text(st->message, st->message_len, "authentication is not enabled")) {
		if (!s->is_auth_off)
			log_warn_limited(
				"%s: authentication is not enabled at the server: going on without a login",
				s->authority);
		s->is_auth_off = true;
	} else {
		etcd_session_fail(s,
			st->code == GRPC_INVALID_ARGUMENT || st->code == GRPC_PERMISSION_DENIED ||
					st->code == GRPC_UNAUTHENTICATED
				? ERR_AUTH
				: ERR_STATUS,
			"login as '%s': %s", s->cfg->user,
			etcd_status_show(shown, sizeof(shown), st));
		return;
	}
	session_set_ready(s);
}

/* Whether a call failed for a passing reason, and not because the server will not do it. */
static bool is_failure(int code)
{
	switch (code) {
	case GRPC_OK:
	case GRPC_UNIMPLEMENTED:
	case GRPC_PERMISSION_DENIED:
	case GRPC_UNAUTHENTICATED:
	case GRPC_INVALID_ARGUMENT:
	case GRPC_FAILED_PRECONDITION:
		return false;
	default:
		return true;
	}
}

static void status_done(struct etcd_session *s, const struct grpc_status *st)
{
	if (st->code == GRPC_OK && msg_decode_status(s->reply, s->reply_len, &s->status) == 0) {
		char shown[LOG_SHOW_MAX];

		log_show(shown, sizeof(shown), s->status.version_text,
			strlen(s->status.version_text));
		log_debug("%s: etcd %s", s->authority, shown);
	}
	s->is_version_settled = true;
	s->is_version_doubtful = is_failure(st->code);
	if (s->status.is_learner)
		etcd_session_fail(s, ERR_STATUS, "the member is a learner, which serves no watch");
	else
		s->ops->version(s);
	session_pump(s); /* a login that was asked for meanwhile */
}

static int on_msg_begin(struct grpc_call *call, uint32_t len)
{
	struct etcd_session *s = call->user;
	size_t cap = s->call_kind == ETCD_CALL_LOGIN ? sizeof(s->token) : sizeof(s->reply);

	return s->reply_len || len > cap ? ERR_LIMIT : 0;
}

static ssize_t on_msg_data(struct grpc_call *call, const uint8_t *p, size_t len)
{
	struct etcd_session *s = call->user;

	memcpy((s->call_kind == ETCD_CALL_LOGIN ? (uint8_t *)s->token : s->reply) + s->reply_len, p,
		len);
	s->reply_len += len;
	return (ssize_t)len;
}

static int on_msg_end(struct grpc_call *call)
{
	(void)call;
	return 0;
}

static void on_call_done(struct grpc_call *call, const struct grpc_status *st)
{
	struct etcd_session *s = call->user;

	if (!s->channel.is_open || s->fail_err)
		return;
	if (s->call_kind == ETCD_CALL_LOGIN)
		login_done(s, st);
	else
		status_done(s, st);
}

static const struct grpc_call_ops session_call_ops = {
	.msg_begin = on_msg_begin,
	.msg_data = on_msg_data,
	.msg_end = on_msg_end,
	.done = on_call_done,
};

/* The call has its own deadline; this one is for a server that does not let it begin. */
static void on_login_timer(struct loop_timer *timer)
{
	etcd_session_fail(timer->user, ERR_TIMEOUT, "the server takes no login");
}

static void session_begin_login(struct etcd_session *s)
{
	session_set_state(s, ETCD_SESSION_LOGIN);
	loop_timer_set(s->loop, &s->login_timer, 2 * s->cfg->command_timeout_ms);
	s->is_login_due = true;
	session_pump(s);
}

/* -- the channel ------------------------------------------------------------------------------ */

static void on_up(struct grpc_channel *ch)
{
	struct etcd_session *s = ch->user;

	s->is_status_due = true;
	if (s->cfg->user) {
		session_begin_login(s);
	} else {
		session_set_ready(s);
	}
}

static void on_down(struct grpc_channel *ch, int err, const char *why)
{
	struct etcd_session *s = ch->user;
	char text[CONN_WHY_MAX];

	/* What was about to end it says more than how it ended (a GOAWAY, then the close). */
	if (s->fail_err) {
		err = s->fail_err;
		memcpy(text, s->fail_why, sizeof(text));
		why = text;
	}
	session_forget(s);
	s->ops->down(s, err, why);
}

static void on_going_away(struct grpc_channel *ch, const char *why)
{
	struct etcd_session *s = ch->user;

	s->ops->going_away(s, why);
}

static void on_writable(struct grpc_channel *ch)
{
	struct etcd_session *s = ch->user;

	session_pump(s);
	if (s->state == ETCD_SESSION_READY)
		s->ops->writable(s);
}

static const struct grpc_channel_ops session_channel_ops = {
	.up = on_up,
	.down = on_down,
	.going_away = on_going_away,
	.writable = on_writable,
};

void etcd_session_init(struct etcd_session *s, struct loop *loop,
	const struct etcd_session_cfg *cfg, const struct etcd_session_ops *ops, void *user)
{
	memset(s, 0, sizeof(*s));
	s->ops = ops;
	s->user = user;
	s->cfg = cfg;
	s->loop = loop;
	s->fail.fn = on_fail;
	s->fail.user = s;
	s->login_timer = (struct loop_timer){.fn = on_login_timer, .user = s};
	s->call.ops = &session_call_ops;
	s->call.user = s;
	grpc_channel_init(&s->channel, loop, &session_channel_ops, s);
}

static const struct proxy *session_find_proxy(
	const struct etcd_session *s, const struct etcd_endpoint *endpoint)
{
	if (!IS_ENABLED(CONFIG_NET_PROXY))
		return NULL;
	return proxy_find(s->cfg->proxies, PROXY_FOR_ETCD, endpoint->host, endpoint->port);
}

void etcd_session_open(struct etcd_session *s, const struct etcd_endpoint *endpoint)
{
	bool is_v6 = strchr(endpoint->host, ':') != NULL;

	/* A reload may give up the old text while a connection still tells of it. */
	snprintf(s->host, sizeof(s->host), "%s", endpoint->host);
	s->endpoint = *endpoint;
	s->endpoint.host = s->host;
	snprintf(s->authority, sizeof(s->authority), is_v6 ? "[%s]:%u" : "%s:%u", endpoint->host,
		(unsigned)endpoint->port);
	s->channel_cfg = (struct grpc_channel_cfg){
		.target =
			{
				.host = s->host,
				.port = endpoint->port,
				.proxy = session_find_proxy(s, endpoint),
				.tls = endpoint->is_tls ? s->cfg->tls : NULL,
				.timeout_ms = s->cfg->dial_timeout_ms,
				.user_timeout_ms =
					s->cfg->keepalive_time_ms + s->cfg->keepalive_timeout_ms,
			},
		.authority = s->authority,
		.settings_timeout_ms = s->cfg->command_timeout_ms,
		.keepalive_time_ms = s->cfg->keepalive_time_ms,
		.keepalive_timeout_ms = s->cfg->keepalive_timeout_ms,
	};
	s->is_version_settled = s->is_version_doubtful = s->is_auth_off = false;
	s->status = (struct etcd_status){0};
	s->ready_since_ms = 0;
	s->fail_err = 0;
	s->has_token = false;
	session_set_state(s, ETCD_SESSION_DIAL);
	grpc_channel_open(&s->channel, &s->channel_cfg);
}

void etcd_session_close(struct etcd_session *s)
{
	if (s->state == ETCD_SESSION_CLOSED)
		return;
	session_set_state(s, ETCD_SESSION_CLOSED);
	s->fail_err = ERR_CLOSED; /* what ends now is nobody's news */
	grpc_channel_close(&s->channel);
	session_forget(s);
}

void etcd_session_relogin(struct etcd_session *s)
{
	if (s->state != ETCD_SESSION_READY || !s->cfg->user)
		return;
	session_begin_login(s);
}
