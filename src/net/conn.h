/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One connection as a stream of bytes: name resolution, TCP, a tunnel through a proxy and TLS when asked
 * for, under one deadline. It knows nothing of what the bytes mean. Nothing blocks, and nothing is
 * allocated here.
 *
 * Addresses of a name are tried in turn, each once; the time that is left is shared among those not
 * tried yet, and one that answers by TCP has half of it for its handshake. What is told in the end
 * is the failure of the address that got furthest.
 *
 *	CLOSED -> RESOLVE -> CONNECT -> TUNNEL -> HANDSHAKE -> OPEN -> CLOSED
 *	               ^        | `--(directly)--^  |            ^
 *	               |        |     (plain)-------+------------'
 *	               `--------+---- next address, also from TUNNEL and HANDSHAKE
 *
 * Where a proxy is given, RESOLVE and CONNECT are about the proxy, which resolves the target's name, and TLS
 * is spoken with the target through it. A literal address passes RESOLVE without asking anybody. Any state goes to CLOSED by
 * conn_close(), or by a failure, which is told by failed(). Callbacks come from the loop, never from
 * within a call of the owner's, who may call conn_close() and conn_open() in any of them.
 */
#ifndef ETCHLET_NET_CONN_H
#define ETCHLET_NET_CONN_H

#include "base/loop.h"
#include "port/port.h"

enum {
	CONN_WHY_MAX = 512, /* bytes of a reason, NUL included */
};

struct conn;
struct proxy;
struct tls;
struct tls_context;
struct tunnel;

struct conn_ops {
	/* The connection is open: send and receive. */
	void (*open)(struct conn *c);
	/* Bytes may be there: call conn_recv(). What is left is told again. */
	void (*readable)(struct conn *c);
	/* Asked for by conn_want_write(). */
	void (*writable)(struct conn *c);
	/* It could not be opened, or a failure of the transport was met while it was open and
	 * nobody was in a call that could return it. The connection is closed already. why: one
	 * line for a person ("certificate of 'CN=x' expired on ..."), no line end; it tells the
	 * address only where the target's host is a name, for the owner tells the host, and the
	 * proxy without its login. */
	void (*failed)(struct conn *c, int err, const char *why);
};

struct conn_target {
	const char *
		host; /* name or literal address (IPv6 without brackets); outlives the connection */
	uint16_t port;
	const struct proxy *proxy; /* NULL: directly; outlives the connection */
	struct tls_context *tls; /* NULL: plain */
	int64_t timeout_ms; /* for all of it: DNS, TCP, proxy and TLS */
	int64_t user_timeout_ms; /* TCP_USER_TIMEOUT once connected; 0: the system's */
};

enum conn_state {
	CONN_CLOSED,
	CONN_RESOLVE,
	CONN_CONNECT,
	CONN_TUNNEL,
	CONN_HANDSHAKE,
	CONN_OPEN,
};

struct conn {
	enum conn_state state;
	const struct conn_ops *ops;
	void *user;
	struct loop *loop;
	const struct conn_target *target; /* outlives the connection */
	struct port_addr
		peer; /* the address in use, from CONNECT on: the proxy's, where there is one */
	bool is_proxy_failure; /* the last failure was the proxy's, or met on the way to it */
	/* private */
	struct loop_fd fd;
	struct loop_timer deadline;
	struct loop_task step; /* what has to come from the loop: the start, pending bytes */
	struct port_resolve resolve;
	struct port_addr addrs[PORT_ADDR_MAX];
	uint8_t addr_count, addr_next;
	uint8_t best; /* how far the failure in why had got */
	bool is_literal; /* the target, or the proxy, is an address and not a name */
	bool is_read_wanted, is_write_wanted;
	bool is_recv_on_out, is_send_on_in; /* TLS waits for the other direction */
	bool is_recv_over; /* an error was met in receiving, not only in sending */
	uint32_t epoch; /* counts starts and ends: a callback may have closed and opened */
	int64_t start_ms, give_up_ms;
	int last_err;
	char why[CONN_WHY_MAX];
	struct tunnel *tunnel; /* in TUNNEL */
	struct tls *tls; /* in the memory that the tls_context holds: one connection at a time */
};

void conn_init(struct conn *c, struct loop *loop, const struct conn_ops *ops, void *user);

/* Starts. Every outcome comes by open() or failed(), never within this call. */
void conn_open(struct conn *c, const struct conn_target *target);

/* Bytes received (1 or more), ERR_AGAIN, ERR_CLOSED when the peer has ended it, or another error;
 * conn_why() says more. After an error nothing is told any more: close it. */
ssize_t conn_recv(struct conn *c, void *dst, size_t len);

/* Bytes taken (1 or more), ERR_AGAIN, or an error, as above. After ERR_AGAIN of a TLS connection the
 * next call must begin with the same bytes, at the same or another address, and may add more. After
 * an error conn_recv() still gives what the peer had sent before, such as a GOAWAY. */
ssize_t conn_send(struct conn *c, const void *src, size_t len);

/* writable() is called when bytes can be sent, until it is switched off. */
void conn_want_write(struct conn *c, bool want);

/* Reading may be paused: nothing is received, and only failures are told. On at each conn_open(). */
void conn_want_read(struct conn *c, bool want);

/* Whether decrypted bytes wait that no poll would tell of: call conn_recv() again. */
bool conn_has_pending(const struct conn *c);

/* Ends it (TLS: close_notify is tried once, without waiting). Harmless in CLOSED. */
void conn_close(struct conn *c);

/* The reason of the last failure for a person, "" when there was none. */
const char *conn_why(const struct conn *c);

#endif
