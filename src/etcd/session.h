/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One connection to one etcd member: dialled, logged in when there is a user, and with the server's
 * version known. Everything that is asked of etcd goes through a session.
 *
 *	CLOSED -> DIAL -> LOGIN -> READY -> CLOSED
 *	            `--(no user)---^  `-> LOGIN -> READY   (etcd_session_relogin())
 *
 * DIAL ends by the channel's own deadlines, LOGIN by twice command_timeout_ms at the latest. From any state a failure
 * goes to CLOSED and is told by down().
 */
#ifndef ETCHLET_ETCD_SESSION_H
#define ETCHLET_ETCD_SESSION_H

#include "etcd/msg.h"
#include "net/grpc.h"
#include "net/proxy.h"
#include "net/tls.h"

enum {
	ETCD_PASSWORD_MAX = 1024, /* bytes of a password, NUL included */
	ETCD_AUTHORITY_MAX = 272, /* "[::1]:2379", NUL included */
	ETCD_LOGIN_REPLY_MAX = ETCD_TOKEN_MAX + 256, /* bytes of the answer that holds the token */
	ETCD_STATUS_REPLY_MAX = 2048, /* it lists alarms, some 60 bytes each */
};

struct etcd_endpoint {
	const char *host; /* name or address, IPv6 without brackets */
	uint16_t port;
	bool is_tls;
};

struct etcd_session;

struct etcd_session_ops {
	/* Calls can be made; again after each relogin. */
	void (*ready)(struct etcd_session *s);
	/* s->status is in, or will not come: is_version_settled. */
	void (*version)(struct etcd_session *s);
	/* It is over; every call has ended before. why: one line for a person. */
	void (*down)(struct etcd_session *s, int err, const char *why);
	/* The server takes no new calls; those that run may go on for a while. */
	void (*going_away)(struct etcd_session *s, const char *why);
	/* Worth trying again what had said ERR_AGAIN. */
	void (*writable)(struct etcd_session *s);
};

struct etcd_session_cfg {
	int64_t dial_timeout_ms;
	int64_t command_timeout_ms;
	int64_t keepalive_time_ms;
	int64_t keepalive_timeout_ms;
	const char *user; /* NULL: no login */
	/* Writes the password, terminated, to dst[ETCD_PASSWORD_MAX]. Its length, or an error with
	 * why filled in. Asked at each login, so a file may change. */
	ssize_t (*password)(void *arg, char *dst, size_t cap, char *why, size_t why_cap);
	void *password_arg;
	/* Which proxy leads to an endpoint; may change between two connections. NULL: none. */
	const struct proxy_set *proxies;
	/* The context for https; may be replaced between two connections. */
	struct tls_context *tls;
};

enum etcd_session_state {
	ETCD_SESSION_CLOSED,
	ETCD_SESSION_DIAL,
	ETCD_SESSION_LOGIN,
	ETCD_SESSION_READY,
};

struct etcd_session {
	const struct etcd_session_ops *ops;
	void *user;
	const struct etcd_session_cfg *cfg;
	enum etcd_session_state state;
	struct etcd_endpoint endpoint; /* a copy, its host too */
	struct grpc_channel channel;
	bool is_version_settled;
	bool is_version_doubtful; /* the server failed to tell it; one that refuses to is not an old one,
	                            * for those tell everybody */
	struct etcd_status status; /* all zero when it was not told */
	int64_t ready_since_ms; /* since it was READY for the first time on this connection; 0: never */
	/* private */
	struct loop *loop;
	struct grpc_channel_cfg channel_cfg;
	struct grpc_call call; /* Authenticate, Status: one at a time */
	enum { ETCD_CALL_NONE, ETCD_CALL_LOGIN, ETCD_CALL_STATUS } call_kind;
	bool is_login_due, is_status_due;
	bool is_auth_off; /* the server said so: said once per connection */
	struct loop_timer login_timer; /* the deadline of LOGIN */
	struct loop_task fail;
	int fail_err;
	char fail_why[CONN_WHY_MAX];
	char host[ETCD_AUTHORITY_MAX];
	char authority[ETCD_AUTHORITY_MAX];
	bool has_token;
	size_t reply_len;
	/* Terminated while has_token. The answer to a login is gathered here too: nothing else is
	 * asked meanwhile. */
	char token[ETCD_LOGIN_REPLY_MAX];
	uint8_t reply[ETCD_STATUS_REPLY_MAX];
};

void etcd_session_init(struct etcd_session *s, struct loop *loop,
	const struct etcd_session_cfg *cfg, const struct etcd_session_ops *ops, void *user);

/* Dials. Ends by ready() or down(), never within this call. *endpoint is copied. */
void etcd_session_open(struct etcd_session *s, const struct etcd_endpoint *endpoint);

/* The proxy that leads to the endpoint of the last open; NULL: none does. */
static inline const struct proxy *etcd_session_proxy(const struct etcd_session *s)
{
	return s->channel_cfg.target.proxy;
}

/* Ends it without down(). */
void etcd_session_close(struct etcd_session *s);

/* Ends it with down() at the end of the turn. */
__attribute__((format(printf, 3, 4))) void etcd_session_fail(
	struct etcd_session *s, int err, const char *fmt, ...);

/* Logs in once more on the same connection, for a token that expired; ends by ready() or down(). */
void etcd_session_relogin(struct etcd_session *s);

/* The metadata that each call needs. is_stream: "hasleader", so that a member without a leader ends
 * the stream (etcd: RequireLeader). Returns how many of md[GRPC_METADATA_MAX] were filled. */
size_t etcd_session_metadata(
	const struct etcd_session *s, struct grpc_metadata *md, bool is_stream);

/* What an answer's status asks for. */
enum etcd_verdict {
	ETCD_VERDICT_OK,
	ETCD_VERDICT_RETRY, /* this connection or server is in trouble: another one */
	ETCD_VERDICT_SLOWER, /* the server is overloaded: later */
	ETCD_VERDICT_LOGIN, /* log in again: the token is no longer good */
	ETCD_VERDICT_DENIED, /* a person must give the permission */
	ETCD_VERDICT_COMPACTED, /* the revision was compacted */
	ETCD_VERDICT_REFUSED, /* the request is wrong, or not known to that server */
};

/* Reads the status of a call. has_user: whether a login could help. */
enum etcd_verdict etcd_status_verdict(const struct grpc_status *st, bool has_user);

/* The same for the cancel_reason of a watch, whose words are all that there is. */
enum etcd_verdict etcd_reason_verdict(const char *reason, size_t len, bool has_user);

/* "PERMISSION_DENIED: etcdserver: permission denied", shown safely. Returns dst. */
char *etcd_status_show(char *dst, size_t cap, const struct grpc_status *st);

#endif
