/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Connections. Bytes of one direction of one connection arrive in order, in segments, each after a
 * latency of its own; between connections there is no order. The server's side takes everything at
 * once and sends without limit; the device's socket has a send buffer.
 */
#include <stdlib.h>
#include <string.h>

#include "port/sim/internal.h"

enum {
	CONN_MAX = 64, /* at a time, those that nobody closed yet included */
	TCP_USER_TIMEOUT_MS = 20000, /* for the connection itself */
};

struct segment {
	struct segment *next;
	size_t len;
	uint8_t bytes[];
};

/* One direction. */
struct pipe {
	struct segment *first, **end;
	size_t in_flight;
	int64_t last_us; /* when the last segment arrives */
	bool is_silent;
};

struct conn {
	uint32_t id; /* 0: free */
	int host;
	bool is_connected, is_told; /* the server knows of it */
	bool is_device_gone; /* closed by the device */
	int err; /* what the device's next call ends with; 0: fine */
	bool is_end_due; /* FIN behind the bytes in flight */
	int64_t cut_after; /* bytes to the device; below 0: never */
	enum sim_cut cut_how;
	int64_t user_timeout_ms;
	struct pipe up, down;
	uint8_t *got; /* arrived, not read by the device */
	size_t got_len, got_cap;
};

static struct conn conns[CONN_MAX];
static uint32_t conn_ids;

static struct {
	bool is_on, is_ready, is_failed;
	uint64_t id;
	int host;
} resolving;

struct sim_net sim_net;

static void pipe_clear(struct pipe *p)
{
	while (p->first) {
		struct segment *s = p->first;

		p->first = s->next;
		free(s);
	}
	*p = (struct pipe){.end = &p->first};
}

/* What is in flight is lost. */
static void pipe_drop(struct pipe *p)
{
	bool is_silent = p->is_silent;

	pipe_clear(p);
	p->is_silent = is_silent;
}

static void conn_free(struct conn *c)
{
	pipe_clear(&c->up);
	pipe_clear(&c->down);
	free(c->got);
	*c = (struct conn){0};
}

void sim_net_reset(void)
{
	for (size_t i = 0; i < CONN_MAX; i++)
		conn_free(&conns[i]);
	conn_ids = 0;
	memset(&resolving, 0, sizeof(resolving));
	sim_net = (struct sim_net){
		.latency_us = 500, .segment_max = 65536, .send_buffer = 65536, .cut_after_max = 1};
}

static struct conn *conn_by_id(uint32_t id)
{
	for (size_t i = 0; id && i < CONN_MAX; i++) {
		if (conns[i].id == id)
			return &conns[i];
	}
	return NULL;
}

static struct conn *conn_by_fd(int fd)
{
	return fd < SIM_FD_CONN ? NULL : conn_by_id((uint32_t)(fd - SIM_FD_CONN));
}

static void tell_closed(struct conn *c)
{
	bool was_told = c->is_told;

	c->is_told = false;
	if (was_told)
		sim_net.server->closed(c->id);
}

static void on_arrival_up(void *user, uint64_t id);
static void on_arrival_down(void *user, uint64_t id);

static int64_t transit_us(size_t len)
{
	int64_t us = sim_net.latency_us + sim_between(0, sim_net.jitter_us);

	if (sim_net.bytes_per_s)
		us += (int64_t)len * 1000000 / sim_net.bytes_per_s;
	return us;
}

static void pipe_send(struct pipe *p, const uint8_t *src, size_t len, sim_fn *arrival, uint32_t id)
{
	while (len) {
		size_t max = len < sim_net.segment_max ? len : sim_net.segment_max;
		size_t n = sim_chance(500) ? max : 1 + sim_random((uint32_t)max);
		struct segment *s = malloc(sizeof(*s) + n);
		int64_t at_us = sim_now_us() + transit_us(n);

		if (!s)
			abort();
		s->next = NULL;
		s->len = n;
		memcpy(s->bytes, src, n);
		*p->end = s;
		p->end = &s->next;
		p->in_flight += n;
		if (at_us < p->last_us)
			at_us = p->last_us;
		p->last_us = at_us;
		sim_at(at_us - sim_now_us(), arrival, NULL, id);
		src += n;
		len -= n;
	}
}

static struct segment *pipe_take(struct pipe *p)
{
	struct segment *s = p->first;

	if (!s)
		return NULL;
	p->first = s->next;
	if (!p->first)
		p->end = &p->first;
	p->in_flight -= s->len;
	return s;
}

static void on_arrival_up(void *user, uint64_t id)
{
	struct conn *c = conn_by_id((uint32_t)id);
	struct segment *s;

	(void)user;
	if (!c || c->up.is_silent)
		return;
	s = pipe_take(&c->up);
	if (!s)
		return;
	if (c->is_told)
		sim_net.server->received((uint32_t)id, s->bytes, s->len);
	free(s);
}

static void conn_put(struct conn *c, const uint8_t *p, size_t len)
{
	if (!len)
		return;
	if (c->got_len + len > c->got_cap) {
		c->got_cap = (c->got_len + len) * 2;
		c->got = realloc(c->got, c->got_cap);
		if (!c->got)
			abort();
	}
	memcpy(c->got + c->got_len, p, len);
	c->got_len += len;
}

static void on_arrival_down(void *user, uint64_t id)
{
	struct conn *c = conn_by_id((uint32_t)id);
	struct segment *s;

	(void)user;
	if (!c || c->down.is_silent || c->is_device_gone || c->err)
		return;
	s = pipe_take(&c->down);
	if (!s)
		return;
	if (c->cut_after >= 0 && (int64_t)s->len >= c->cut_after) {
		size_t n = c->cut_how == SIM_CUT_UP ? s->len : (size_t)c->cut_after;

		conn_put(c, s->bytes, n);
		c->cut_after = -1;
		if (c->cut_how != SIM_CUT_UP)
			pipe_drop(&c->down);
		sim_conn_cut((uint32_t)id, c->cut_how);
	} else {
		conn_put(c, s->bytes, s->len);
		if (c->cut_after >= 0)
			c->cut_after -= (int64_t)s->len;
	}
	free(s);
}

void sim_conn_send(uint32_t id, const void *p, size_t len)
{
	struct conn *c = conn_by_id(id);

	if (c && !c->is_end_due && !c->err && !c->is_device_gone)
		pipe_send(&c->down, p, len, on_arrival_down, id);
}

static void on_end(void *user, uint64_t id)
{
	struct conn *c = conn_by_id((uint32_t)id);

	(void)user;
	if (c && !c->down.is_silent && !c->err)
		c->err = ERR_CLOSED;
}

void sim_conn_cut(uint32_t id, enum sim_cut how)
{
	struct conn *c = conn_by_id(id);
	int64_t wait_us;

	if (!c)
		return;
	switch (how) {
	case SIM_CUT_RESET:
		c->err = ERR_RESET;
		/* A reset throws away what was not read yet, or not. */
		if (sim_chance(500))
			c->got_len = 0;
		tell_closed(c);
		break;
	case SIM_CUT_END:
		c->is_end_due = true;
		wait_us = c->down.last_us - sim_now_us();
		sim_at(wait_us > 0 ? wait_us : 0, on_end, NULL, id);
		tell_closed(c);
		break;
	default:
		c->up.is_silent |= how != SIM_CUT_DOWN;
		c->down.is_silent |= how != SIM_CUT_UP;
		break;
	}
}

void sim_host_cut(int host, enum sim_cut how)
{
	for (size_t i = 0; i < CONN_MAX; i++) {
		if (conns[i].id && (host < 0 || conns[i].host == host))
			sim_conn_cut(conns[i].id, how);
	}
}

int sim_net_ready(int fd)
{
	const struct conn *c = conn_by_fd(fd);
	int ready = 0;

	if (fd == SIM_FD_RESOLVE)
		return resolving.is_on && resolving.is_ready ? PORT_POLL_IN : 0;
	if (!c)
		return 0;
	if (c->err)
		return PORT_POLL_IN | PORT_POLL_OUT | (c->err == ERR_CLOSED ? 0 : PORT_POLL_ERR);
	if (!c->is_connected)
		return 0;
	if (c->got_len)
		ready |= PORT_POLL_IN;
	if (c->up.in_flight < sim_net.send_buffer)
		ready |= PORT_POLL_OUT;
	return ready;
}

/* -- the device's side ------------------------------------------------------------------------ */

int port_addr_parse(struct port_addr *addr, const char *text, uint16_t port)
{
	int n = 0;

	*addr = (struct port_addr){.ip = {10, 0, 0}, .port = port};
	if (strncmp(text, "10.0.0.", 7) != 0 || text[7] < '1' || text[7] > '9' || text[8])
		return ERR_RANGE;
	n = text[7] - '0';
	addr->ip[3] = (uint8_t)n;
	return 0;
}

char *port_addr_format(char dst[PORT_ADDR_TEXT_MAX], const struct port_addr *addr)
{
	snprintf(dst, PORT_ADDR_TEXT_MAX, "%d.%d.%d.%d:%u", addr->ip[0], addr->ip[1], addr->ip[2],
		addr->ip[3], (unsigned)addr->port);
	return dst;
}

static void on_resolved(void *user, uint64_t id)
{
	(void)user;
	if (resolving.is_on && resolving.id == id)
		resolving.is_ready = true;
}

int port_resolve_start(struct port_resolve *r, const char *host, uint16_t port)
{
	(void)port;
	sim_count.lookups++;
	resolving.is_on = true;
	resolving.is_ready = false;
	resolving.is_failed = sim_net.dns == SIM_DNS_FAILS || host[0] != 'm' || host[2];
	resolving.host = host[1] - '0';
	resolving.id++;
	if (sim_net.dns != SIM_DNS_SILENT)
		sim_at(sim_net.dns == SIM_DNS_SLOW ? sim_between(0, 8 * SIM_S) : transit_us(100),
			on_resolved, NULL, resolving.id);
	r->fd = SIM_FD_RESOLVE;
	r->pid = 0;
	return 0;
}

int port_resolve_take(
	struct port_resolve *r, struct port_addr *addrs, size_t max, char *why, size_t why_cap)
{
	(void)r;
	if (!resolving.is_ready || !max)
		return ERR_AGAIN;
	if (resolving.is_failed) {
		snprintf(why, why_cap, "no such name");
		return ERR_DNS;
	}
	addrs[0] = (struct port_addr){
		.ip = {10, 0, 0, (uint8_t)(resolving.host + 1)}, .port = SIM_PORT};
	return 1;
}

void port_resolve_cancel(struct port_resolve *r)
{
	if (r->fd >= 0)
		resolving.is_on = false;
	r->fd = -1;
}

static void on_connected(void *user, uint64_t id)
{
	struct conn *c = conn_by_id((uint32_t)id);

	(void)user;
	if (!c || c->is_device_gone)
		return;
	switch (sim_net.reach[c->host]) {
	case SIM_UP:
		c->is_connected = true;
		c->is_told = true;
		sim_net.server->opened(c->id, c->host);
		break;
	case SIM_REFUSED:
		c->err = ERR_REFUSED;
		break;
	case SIM_UNREACHABLE:
		c->err = ERR_UNREACHABLE;
		break;
	case SIM_SILENT:
		break;
	}
}

static void on_user_timeout(void *user, uint64_t id)
{
	struct conn *c = conn_by_id((uint32_t)id);

	(void)user;
	if (c && c->up.is_silent && !c->err)
		c->err = ERR_TIMEOUT;
}

int port_tcp_connect(const struct port_addr *addr, int64_t user_timeout_ms)
{
	struct conn *c = conns;

	sim_count.dials++;
	while (c < conns + CONN_MAX && c->id)
		c++;
	if (c == conns + CONN_MAX || addr->ip[3] < 1 || addr->ip[3] > SIM_HOSTS)
		return ERR_NET;
	*c = (struct conn){.id = ++conn_ids, .host = addr->ip[3] - 1, .cut_after = -1};
	c->up.end = &c->up.first;
	c->down.end = &c->down.first;
	c->user_timeout_ms = user_timeout_ms;
	if (sim_chance(sim_net.cut_chance)) {
		c->cut_after = sim_between(0, sim_net.cut_after_max);
		c->cut_how = (enum sim_cut)sim_random(SIM_CUT_COUNT);
	}
	/* Sometimes it is refused at once. */
	if (sim_net.reach[c->host] == SIM_UNREACHABLE && sim_chance(500)) {
		conn_free(c);
		return ERR_UNREACHABLE;
	}
	sim_at(transit_us(60) * 2, on_connected, NULL, c->id);
	return SIM_FD_CONN + (int)c->id;
}

int port_tcp_result(int fd)
{
	const struct conn *c = conn_by_fd(fd);

	if (!c)
		return ERR_BUG;
	if (c->err)
		return c->err;
	return c->is_connected ? 0 : ERR_AGAIN;
}

ssize_t port_tcp_recv(int fd, void *dst, size_t len)
{
	struct conn *c = conn_by_fd(fd);
	size_t n;

	if (!c)
		return ERR_BUG;
	if (!c->got_len)
		return c->err ? c->err : ERR_AGAIN;
	n = c->got_len < len ? c->got_len : len;
	if (sim_chance(100))
		n = 1 + sim_random((uint32_t)n);
	memcpy(dst, c->got, n);
	memmove(c->got, c->got + n, c->got_len - n);
	c->got_len -= n;
	return (ssize_t)n;
}

ssize_t port_tcp_send(int fd, const void *src, size_t len)
{
	struct conn *c = conn_by_fd(fd);
	size_t room;

	if (!c)
		return ERR_BUG;
	if (c->err)
		return c->err == ERR_CLOSED ? ERR_RESET : c->err;
	room = c->up.in_flight < sim_net.send_buffer ? sim_net.send_buffer - c->up.in_flight : 0;
	if (!room)
		return ERR_AGAIN;
	if (len > room)
		len = room;
	pipe_send(&c->up, src, len, on_arrival_up, c->id);
	if (c->up.is_silent && c->user_timeout_ms > 0)
		sim_at(c->user_timeout_ms * 1000, on_user_timeout, NULL, c->id);
	return (ssize_t)len;
}

static void on_device_close(void *user, uint64_t id)
{
	struct conn *c = conn_by_id((uint32_t)id);

	(void)user;
	if (!c)
		return;
	/* Where nothing arrives the server is not told: it holds the connection for a while. */
	if (!c->up.is_silent)
		while (c->up.first)
			on_arrival_up(NULL, id);
	tell_closed(c);
	conn_free(c);
}

void port_tcp_close(int fd)
{
	struct conn *c = conn_by_fd(fd);

	if (!c || c->is_device_gone)
		return;
	c->is_device_gone = true;
	sim_at(c->up.is_silent ? 30 * SIM_S : transit_us(0), on_device_close, NULL, c->id);
}
