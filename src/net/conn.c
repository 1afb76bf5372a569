/* SPDX-License-Identifier: Apache-2.0 */
#include "net/conn.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "base/kconfig.h"
#include "base/log.h"
#include "net/proxy.h"
#include "net/tls.h"
#include "net/tunnel.h"

enum {
	CONN_PEER_TEXT_MAX = PORT_ADDR_TEXT_MAX + 16,
	CONN_WAY_TEXT_MAX = PROXY_TEXT_MAX + 32,
};

/* How far an attempt got: the failure of the one that got furthest is the one worth telling. */
enum {
	BEST_NONE,
	BEST_UNREACHABLE,
	BEST_CONNECT,
	BEST_TUNNEL,
	BEST_HANDSHAKE,
};

static const char *const state_names[] = {
	[CONN_CLOSED] = "closed",
	[CONN_RESOLVE] = "resolve",
	[CONN_CONNECT] = "connect",
	[CONN_TUNNEL] = "tunnel",
	[CONN_HANDSHAKE] = "handshake",
	[CONN_OPEN] = "open",
};

static void conn_on_fd(struct loop_fd *fd, int events);
static void conn_on_deadline(struct loop_timer *timer);
static void conn_on_step(struct loop_task *task);
static void conn_try_next(struct conn *c);

/* The proxy that leads to the target; NULL: none does. */
static const struct proxy *conn_proxy(const struct conn *c)
{
	return IS_ENABLED(CONFIG_NET_PROXY) ? c->target->proxy : NULL;
}

static void conn_set_state(struct conn *c, enum conn_state state)
{
	log_debug("connection to %s: %s -> %s", c->target ? c->target->host : "nobody",
		state_names[c->state], state_names[state]);
	c->state = state;
}

void conn_init(struct conn *c, struct loop *loop, const struct conn_ops *ops, void *user)
{
	memset(c, 0, sizeof(*c));
	c->ops = ops;
	c->user = user;
	c->loop = loop;
	c->fd.fd = -1;
	c->fd.fn = conn_on_fd;
	c->fd.user = c;
	c->deadline.fn = conn_on_deadline;
	c->deadline.user = c;
	c->step.fn = conn_on_step;
	c->step.user = c;
	c->resolve.fd = -1;
}

static void conn_drop_tunnel(struct conn *c)
{
	if (IS_ENABLED(CONFIG_NET_PROXY))
		tunnel_close(c->tunnel);
	c->tunnel = NULL;
}

/* Gives back what belongs to the address in use: socket, tunnel and TLS. */
static void conn_drop_socket(struct conn *c)
{
	conn_drop_tunnel(c);
	loop_fd_remove(c->loop, &c->fd);
	tls_end(c->tls);
	c->tls = NULL;
	/* While a name is resolved the descriptor is the resolver's. */
	if (c->fd.fd >= 0 && c->fd.fd != c->resolve.fd)
		port_tcp_close(c->fd.fd);
	c->fd.fd = -1;
	c->fd.want = 0;
	c->is_recv_on_out = c->is_send_on_in = false;
}

static void conn_drop_resolve(struct conn *c)
{
	if (c->fd.fd >= 0 && c->fd.fd == c->resolve.fd) {
		loop_fd_remove(c->loop, &c->fd);
		c->fd.fd = -1;
	}
	port_resolve_cancel(&c->resolve);
}

void conn_close(struct conn *c)
{
	if (c->state == CONN_CLOSED)
		return;
	loop_timer_clear(c->loop, &c->deadline);
	loop_task_cancel(c->loop, &c->step);
	conn_drop_resolve(c);
	conn_drop_socket(c);
	c->epoch++;
	conn_set_state(c, CONN_CLOSED);
}

/* The end by failure. c->why says it; the copy lives on when failed() opens again. */
static void conn_fail(struct conn *c, int err)
{
	char why[CONN_WHY_MAX];

	conn_close(c);
	c->last_err = err;
	memcpy(why, c->why, sizeof(why));
	c->ops->failed(c, err, why);
}

void conn_open(struct conn *c, const struct conn_target *target)
{
	conn_close(c);
	c->target = target;
	c->why[0] = '\0';
	c->last_err = 0;
	c->addr_count = c->addr_next = 0;
	c->best = BEST_NONE;
	c->is_proxy_failure = false;
	c->is_read_wanted = true;
	c->is_write_wanted = false;
	c->is_recv_over = false;
	c->epoch++;
	conn_set_state(c, CONN_RESOLVE);
	loop_task_post(c->loop, &c->step);
}

/* -- on the way ------------------------------------------------------------------------------- */

/* Sets the reason, with the proxy in front of what is not about the target yet. */
static void conn_set_why(struct conn *c, int best, int err, const char *why)
{
	char proxy[PROXY_TEXT_MAX];

	c->last_err = err;
	c->is_proxy_failure = conn_proxy(c) && best < BEST_HANDSHAKE;
	if (c->is_proxy_failure)
		(void)snprintf(c->why, sizeof(c->why), "proxy %s: %s",
			proxy_format(proxy, conn_proxy(c)), why);
	else
		(void)snprintf(c->why, sizeof(c->why), "%s", why);
}

/* Keeps the reason when this attempt got at least as far as those before. */
static void conn_keep_why(struct conn *c, int best, int err, const char *why)
{
	if (best < c->best)
		return;
	c->best = (uint8_t)best;
	conn_set_why(c, best, err, why);
}

/* The address in use between two words; nothing where it is no news. */
static const char *conn_peer_text(
	const struct conn *c, char *dst, const char *before, const char *after)
{
	char addr[PORT_ADDR_TEXT_MAX];

	dst[0] = '\0';
	if (!c->is_literal)
		(void)snprintf(dst, CONN_PEER_TEXT_MAX, "%s%s%s", before,
			port_addr_format(addr, &c->peer), after);
	return dst;
}

/* The same for who speaks with the target: which proxy the bytes pass, too. */
static const char *conn_way_text(
	const struct conn *c, char *dst, const char *with, const char *after)
{
	char proxy[PROXY_TEXT_MAX];

	if (!conn_proxy(c))
		return conn_peer_text(c, dst, with, after);
	(void)snprintf(dst, CONN_WAY_TEXT_MAX, "%sthrough proxy %s%s", with[0] ? " " : "",
		proxy_format(proxy, conn_proxy(c)), after);
	return dst;
}

static void conn_connect_failed(struct conn *c, int err)
{
	char why[CONN_WHY_MAX], peer[CONN_PEER_TEXT_MAX];

	(void)snprintf(why, sizeof(why), "%s%s", conn_peer_text(c, peer, "connect to ", ": "),
		err_text(err));
	conn_keep_why(c, err == ERR_UNREACHABLE ? BEST_UNREACHABLE : BEST_CONNECT, err, why);
}

static void conn_attempt_failed(struct conn *c, int err, const char *detail)
{
	char why[CONN_WHY_MAX], way[CONN_WAY_TEXT_MAX];

	if (c->state == CONN_HANDSHAKE) {
		(void)snprintf(why, sizeof(why), "TLS%s: %s", conn_way_text(c, way, " with ", ""),
			detail ? detail : err_text(err));
		conn_keep_why(c, BEST_HANDSHAKE, err, why);
	} else if (c->state == CONN_TUNNEL) {
		conn_keep_why(c, BEST_TUNNEL, err, detail ? detail : err_text(err));
	} else {
		conn_connect_failed(c, err);
	}
	conn_drop_socket(c);
	conn_try_next(c);
}

static void conn_is_open(struct conn *c)
{
	loop_timer_clear(c->loop, &c->deadline);
	c->why[0] = '\0';
	c->last_err = 0;
	c->fd.want = c->is_read_wanted ? PORT_POLL_IN : 0;
	conn_set_state(c, CONN_OPEN);
	/* The last record of the handshake may have come with data behind it. */
	if (conn_has_pending(c))
		loop_task_post(c->loop, &c->step);
	c->ops->open(c);
}

static void conn_on_handshake(struct conn *c)
{
	char why[CONN_WHY_MAX] = "";
	int err = tls_handshake(c->tls, why, sizeof(why));

	if (err == ERR_AGAIN) {
		c->fd.want = tls_want(c->tls);
		return;
	}
	if (err < 0) {
		conn_attempt_failed(c, err, why[0] ? why : NULL);
		return;
	}
	if (log_is_on(LOG_LEVEL_DEBUG)) {
		char text[128];

		log_debug("connection to %s: %s", c->target->host,
			tls_describe(c->tls, text, sizeof(text)));
	}
	conn_is_open(c);
}

/* It lives: what is slow from here on deserves more than an equal share. */
static void conn_set_deadline(struct conn *c)
{
	int64_t left_ms = c->give_up_ms - c->loop->now_ms;

	loop_timer_set(c->loop, &c->deadline, c->addr_next < c->addr_count ? left_ms / 2 : left_ms);
}

/* The bytes reach the target. */
static void conn_on_reached(struct conn *c)
{
	char why[CONN_WHY_MAX] = "";
	int err;

	if (!c->target->tls) {
		conn_is_open(c);
		return;
	}
	conn_set_state(c, CONN_HANDSHAKE);
	conn_set_deadline(c);
	err = tls_start(&c->tls, c->target->tls, c->fd.fd, c->target->host, c->target->port, why,
		sizeof(why));
	if (err < 0)
		conn_attempt_failed(c, err, why[0] ? why : NULL);
	else
		conn_on_handshake(c);
}

static void conn_on_tunnel(void *user, int err, const char *why)
{
	struct conn *c = user;

	if (!err) {
		conn_drop_tunnel(c);
		err = loop_fd_add(c->loop, &c->fd);
		why = NULL;
	}
	if (err < 0)
		conn_attempt_failed(c, err, why);
	else
		conn_on_reached(c);
}

static void conn_on_connected(struct conn *c)
{
	struct tunnel_cfg cfg;
	int err = port_tcp_result(c->fd.fd);

	if (err == ERR_AGAIN)
		return;
	if (err < 0) {
		conn_attempt_failed(c, err, NULL);
		return;
	}
	if (!conn_proxy(c)) {
		conn_on_reached(c);
		return;
	}
	conn_set_state(c, CONN_TUNNEL);
	conn_set_deadline(c);
	loop_fd_remove(c->loop, &c->fd);
	cfg = (struct tunnel_cfg){
		.loop = c->loop,
		.proxy = conn_proxy(c),
		.peer = &c->peer,
		.fd = c->fd.fd,
		.host = c->target->host,
		.port = c->target->port,
		.done = conn_on_tunnel,
		.user = c,
	};
	err = IS_ENABLED(CONFIG_NET_PROXY) ? tunnel_open(&c->tunnel, &cfg) : ERR_UNSUPPORTED;
	if (err < 0)
		conn_attempt_failed(c, err, NULL);
}

static int conn_start_attempt(struct conn *c)
{
	int64_t left_ms = c->give_up_ms - c->loop->now_ms;
	int fd;

	c->peer = c->addrs[c->addr_next++];
	if (c->state != CONN_CONNECT)
		conn_set_state(c, CONN_CONNECT);
	loop_timer_set(c->loop, &c->deadline, left_ms / (c->addr_count - c->addr_next + 1));
	fd = port_tcp_connect(&c->peer, c->target->user_timeout_ms);
	if (fd < 0)
		return fd;
	c->fd.fd = fd;
	c->fd.want = PORT_POLL_OUT;
	return loop_fd_add(c->loop, &c->fd);
}

/* The next address, or the end. Each address is tried once, so this comes to an end. */
static void conn_try_next(struct conn *c)
{
	while (c->addr_next < c->addr_count && c->loop->now_ms < c->give_up_ms) {
		int err = conn_start_attempt(c);

		if (err >= 0)
			return;
		conn_drop_socket(c);
		conn_connect_failed(c, err);
	}
	if (!c->last_err) {
		char why[64];

		(void)snprintf(why, sizeof(why), "no time left to connect after %" PRId64 " ms",
			c->target->timeout_ms);
		conn_set_why(c, BEST_NONE, ERR_TIMEOUT, why);
	}
	conn_fail(c, c->last_err);
}

/* Whom the device connects to itself. */
static const char *conn_host(const struct conn *c)
{
	return conn_proxy(c) ? conn_proxy(c)->host : c->target->host;
}

static uint16_t conn_port(const struct conn *c)
{
	return conn_proxy(c) ? conn_proxy(c)->port : c->target->port;
}

static void conn_fail_resolve(struct conn *c, int err, const char *detail)
{
	char host[LOG_SHOW_MAX], why[CONN_WHY_MAX];

	log_show(host, sizeof(host), conn_host(c), strlen(conn_host(c)));
	(void)snprintf(why, sizeof(why), "resolve %.*s: %s", (int)PORT_HOST_MAX, host, detail);
	conn_set_why(c, BEST_NONE, err, why);
	conn_fail(c, err);
}

static void conn_on_resolved(struct conn *c)
{
	char detail[128] = "";
	int n = port_resolve_take(&c->resolve, c->addrs, PORT_ADDR_MAX, detail, sizeof(detail));

	if (n == ERR_AGAIN)
		return;
	conn_drop_resolve(c);
	if (n <= 0) {
		conn_fail_resolve(c, n < 0 ? n : ERR_DNS, detail[0] ? detail : err_text(ERR_DNS));
		return;
	}
	c->addr_count = (uint8_t)n;
	conn_try_next(c);
}

/* Runs in the loop, so that no outcome is told within conn_open(). */
static void conn_begin(struct conn *c)
{
	int err;

	c->start_ms = c->loop->now_ms;
	c->give_up_ms = c->start_ms + c->target->timeout_ms;
	c->is_literal = port_addr_parse(&c->addrs[0], conn_host(c), conn_port(c)) == 0;
	if (c->is_literal) {
		c->addr_count = 1;
		conn_try_next(c);
		return;
	}
	loop_timer_set(c->loop, &c->deadline, c->target->timeout_ms);
	err = port_resolve_start(&c->resolve, conn_host(c), conn_port(c));
	if (err == 0) {
		c->fd.fd = c->resolve.fd;
		c->fd.want = PORT_POLL_IN;
		err = loop_fd_add(c->loop, &c->fd);
	}
	if (err < 0)
		conn_fail_resolve(c, err, err_text(err));
}

static void conn_on_deadline(struct loop_timer *timer)
{
	struct conn *c = timer->user;
	char why[CONN_WHY_MAX], text[CONN_WAY_TEXT_MAX];
	int64_t waited_ms = c->loop->now_ms - c->start_ms;
	int best = BEST_CONNECT;

	if (waited_ms > c->target->timeout_ms)
		waited_ms = c->target->timeout_ms;
	if (c->state == CONN_RESOLVE) {
		(void)snprintf(why, sizeof(why), "no answer within %" PRId64 " ms", waited_ms);
		conn_fail_resolve(c, ERR_TIMEOUT, why);
		return;
	}
	if (c->state == CONN_HANDSHAKE) {
		best = BEST_HANDSHAKE;
		(void)snprintf(why, sizeof(why), "TLS%s: handshake not done within %" PRId64 " ms",
			conn_way_text(c, text, " with ", ""), waited_ms);
	} else if (c->state == CONN_TUNNEL) {
		best = BEST_TUNNEL;
		(void)snprintf(why, sizeof(why), "no connection to %.*s:%u within %" PRId64 " ms",
			(int)PORT_HOST_MAX, c->target->host, (unsigned)c->target->port, waited_ms);
	} else {
		(void)snprintf(why, sizeof(why), "no answer%s within %" PRId64 " ms",
			conn_peer_text(c, text, " from ", ""), waited_ms);
	}
	conn_keep_why(c, best, ERR_TIMEOUT, why);
	conn_drop_socket(c);
	conn_try_next(c);
}

/* -- open ------------------------------------------------------------------------------------- */

/* Poll tells of an error while nobody reads: the loop would spin on it. */
static void conn_on_error(struct conn *c)
{
	char way[CONN_WAY_TEXT_MAX];
	int err = port_tcp_result(c->fd.fd);

	if (err >= 0 || err == ERR_AGAIN || err == ERR_NET)
		err = ERR_CLOSED;
	(void)snprintf(
		c->why, sizeof(c->why), "%s%s", conn_way_text(c, way, "", ": "), err_text(err));
	conn_fail(c, err);
}

static void conn_tell_readable(struct conn *c)
{
	uint32_t epoch = c->epoch;

	c->ops->readable(c);
	/* Bytes that were decrypted already are announced by nobody else. */
	if (epoch == c->epoch && c->is_read_wanted && conn_has_pending(c))
		loop_task_post(c->loop, &c->step);
}

static void conn_update_want(struct conn *c)
{
	bool is_out = c->is_write_wanted && !c->is_send_on_in;
	bool is_in = c->is_read_wanted && !c->is_recv_on_out;

	if (c->state != CONN_OPEN)
		return;
	if (c->is_write_wanted && c->is_send_on_in)
		is_in = true;
	if (c->is_read_wanted && c->is_recv_on_out)
		is_out = true;
	c->fd.want = (is_in ? PORT_POLL_IN : 0) | (is_out ? PORT_POLL_OUT : 0);
}

static void conn_on_open_events(struct conn *c, int events)
{
	uint32_t epoch = c->epoch;
	int for_read = c->is_recv_on_out ? PORT_POLL_OUT : PORT_POLL_IN;
	int for_write = c->is_send_on_in ? PORT_POLL_IN : PORT_POLL_OUT;

	if (events & PORT_POLL_ERR) {
		/* Who reads or writes gets the error from there, after the bytes that came before. */
		events |= PORT_POLL_IN | PORT_POLL_OUT;
		if (!c->is_read_wanted) {
			conn_on_error(c);
			return;
		}
	}
	if ((events & for_read) && c->is_read_wanted) {
		c->is_recv_on_out = false;
		conn_update_want(c);
		conn_tell_readable(c);
		if (epoch != c->epoch)
			return;
	}
	if ((events & for_write) && c->is_write_wanted) {
		c->is_send_on_in = false;
		conn_update_want(c);
		c->ops->writable(c);
	}
}

static void conn_on_fd(struct loop_fd *fd, int events)
{
	struct conn *c = fd->user;

	switch (c->state) {
	case CONN_RESOLVE:
		conn_on_resolved(c);
		break;
	case CONN_CONNECT:
		conn_on_connected(c);
		break;
	case CONN_HANDSHAKE:
		conn_on_handshake(c);
		break;
	case CONN_OPEN:
		conn_on_open_events(c, events);
		break;
	case CONN_TUNNEL: /* the descriptor is the tunnel's to poll */
	case CONN_CLOSED:
		break;
	}
}

static void conn_on_step(struct loop_task *task)
{
	struct conn *c = task->user;

	if (c->state == CONN_RESOLVE)
		conn_begin(c);
	else if (c->state == CONN_OPEN && c->is_read_wanted && conn_has_pending(c))
		conn_tell_readable(c);
}

/* A call met the end of the connection: its caller knows, and poll is not to tell for ever. */
static ssize_t conn_met_error(struct conn *c, ssize_t err, const char *detail)
{
	char way[CONN_WAY_TEXT_MAX];

	loop_fd_remove(c->loop, &c->fd);
	c->last_err = (int)err;
	(void)snprintf(c->why, sizeof(c->why), "%s%s", conn_way_text(c, way, "", ": "),
		detail[0] ? detail : err_text((int)err));
	return err;
}

ssize_t conn_recv(struct conn *c, void *dst, size_t len)
{
	char why[CONN_WHY_MAX] = "";
	ssize_t n;

	if (c->state != CONN_OPEN)
		return ERR_BUG;
	if (c->is_recv_over)
		return c->last_err;
	n = c->tls ? tls_recv(c->tls, dst, len, why, sizeof(why))
		   : port_tcp_recv(c->fd.fd, dst, len);
	if (n == ERR_AGAIN) {
		c->is_recv_on_out = c->tls && tls_want(c->tls) == PORT_POLL_OUT;
		conn_update_want(c);
		return n;
	}
	if (n < 0)
		c->is_recv_over = true;
	return n < 0 ? conn_met_error(c, n, why) : n;
}

ssize_t conn_send(struct conn *c, const void *src, size_t len)
{
	char why[CONN_WHY_MAX] = "";
	ssize_t n;

	if (c->state != CONN_OPEN || !len)
		return ERR_BUG;
	if (c->last_err)
		return c->last_err;
	n = c->tls ? tls_send(c->tls, src, len, why, sizeof(why))
		   : port_tcp_send(c->fd.fd, src, len);
	if (n == ERR_AGAIN) {
		c->is_send_on_in = c->tls && tls_want(c->tls) == PORT_POLL_IN;
		conn_update_want(c);
		return n;
	}
	return n < 0 ? conn_met_error(c, n, why) : n;
}

void conn_want_write(struct conn *c, bool want)
{
	c->is_write_wanted = want;
	conn_update_want(c);
}

void conn_want_read(struct conn *c, bool want)
{
	c->is_read_wanted = want;
	conn_update_want(c);
	if (want && conn_has_pending(c))
		loop_task_post(c->loop, &c->step);
}

bool conn_has_pending(const struct conn *c)
{
	return c->state == CONN_OPEN && !c->last_err && c->tls && tls_has_pending(c->tls);
}

const char *conn_why(const struct conn *c)
{
	return c->why;
}
