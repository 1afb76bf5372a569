/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A server on 127.0.0.1 or a local socket that answers requests, whatever they are, with the scripted answers in turn. It
 * lives in the loop of the test. What it was asked stands in server.got.
 */
#ifndef ETCHLET_TEST_HTTP_SERVER_H
#define ETCHLET_TEST_HTTP_SERVER_H

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/loop.h"

enum { SERVER_CONNS = 8, SERVER_GOT = 1 << 20 };

struct answer {
	const char *text;
	uint64_t more; /* bytes of 'x' after it */
	unsigned step; /* bytes at once, at most; 0: as many as go */
	int step_ms; /* between them; 0: a turn of the loop */
	bool is_closing; /* after it */
	bool is_mute; /* nothing is answered */
	bool is_deaf; /* the request's body is not read */
	bool is_reset; /* in place of an answer */
};

struct server_conn {
	struct server *server;
	struct loop_fd fd;
	struct loop_timer timer;
	const struct answer *answer; /* being sent */
	char head[16384]; /* of the request */
	size_t head_len;
	uint64_t body_left, sent;
	bool is_in_body;
};

struct server {
	struct loop *loop;
	struct loop_fd fd;
	uint16_t port;
	const struct answer *answers;
	size_t count, at, accepted;
	int open;
	char got[SERVER_GOT];
	size_t got_len;
	struct server_conn conns[SERVER_CONNS];
};

static inline void server_drop(struct server_conn *c)
{
	struct linger at_once = {.l_onoff = 1};

	if (c->fd.fd < 0)
		return;
	if (c->answer && c->answer->is_reset)
		(void)setsockopt(c->fd.fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once));
	loop_fd_remove(c->server->loop, &c->fd);
	loop_timer_clear(c->server->loop, &c->timer);
	close(c->fd.fd);
	c->fd.fd = -1;
	c->server->open--;
}

static inline void server_send(struct server_conn *c)
{
	const struct answer *a = c->answer;
	uint64_t len = strlen(a->text);
	static char filler[65536];

	memset(filler, 'x', sizeof(filler));
	while (c->sent < len + a->more) {
		size_t n = c->sent < len ? (size_t)(len - c->sent) : sizeof(filler);
		ssize_t done;

		if (c->sent >= len && n > len + a->more - c->sent)
			n = (size_t)(len + a->more - c->sent);
		if (a->step && n > a->step)
			n = a->step;
		done = send(c->fd.fd, c->sent < len ? a->text + c->sent : filler, n, MSG_NOSIGNAL);
		if (done < 0 && errno == EAGAIN) {
			c->fd.want = PORT_POLL_OUT;
			return;
		}
		if (done < 0) {
			server_drop(c);
			return;
		}
		c->sent += (uint64_t)done;
		if (a->step && c->sent < len + a->more) {
			c->fd.want = 0;
			loop_timer_set(c->server->loop, &c->timer, a->step_ms);
			return;
		}
	}
	c->fd.want = PORT_POLL_IN;
	if (a->is_closing)
		server_drop(c);
	c->answer = NULL;
}

static inline void server_on_timer(struct loop_timer *t)
{
	server_send(t->user);
}

/* The request is whole. */
static inline void server_answer(struct server_conn *c)
{
	struct server *s = c->server;

	c->head_len = 0;
	c->is_in_body = false;
	c->sent = 0;
	c->answer = s->at < s->count ? &s->answers[s->at] : NULL;
	s->at++;
	if (!c->answer || c->answer->is_reset)
		server_drop(c);
	else if (!c->answer->is_mute)
		server_send(c);
}

static inline void server_take(struct server_conn *c, const char *p, size_t len)
{
	struct server *s = c->server;

	for (size_t i = 0; i < len && c->fd.fd >= 0; i++) {
		if (s->got_len + 1 < sizeof(s->got)) {
			s->got[s->got_len++] = p[i];
			s->got[s->got_len] = '\0';
		}
		if (c->is_in_body) {
			if (--c->body_left == 0)
				server_answer(c);
			continue;
		}
		if (c->head_len + 1 < sizeof(c->head)) {
			c->head[c->head_len++] = p[i];
			c->head[c->head_len] = '\0';
		}
		if (c->head_len >= 4 && strcmp(c->head + c->head_len - 4, "\r\n\r\n") == 0) {
			const char *at = strcasestr(c->head, "\r\ncontent-length:");

			c->body_left = at ? strtoull(at + 17, NULL, 10) : 0;
			c->is_in_body = true;
			if (!c->body_left)
				server_answer(c);
			else if (s->at < s->count && s->answers[s->at].is_deaf)
				c->fd.want = 0;
		}
	}
}

static inline void server_on_conn(struct loop_fd *fd, int events)
{
	struct server_conn *c = fd->user;
	char bytes[16384];
	ssize_t n;

	if (events & PORT_POLL_OUT) {
		server_send(c);
		return;
	}
	if (c->is_in_body && fd->want == 0 && !(events & PORT_POLL_ERR))
		return;
	n = recv(fd->fd, bytes, sizeof(bytes), 0);
	if (n > 0)
		server_take(c, bytes, (size_t)n);
	else if (n == 0 || errno != EAGAIN)
		server_drop(c);
}

static inline void server_on_accept(struct loop_fd *fd, int events)
{
	struct server *s = fd->user;
	int peer = accept4(fd->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

	(void)events;
	if (peer < 0)
		return;
	s->accepted++;
	for (size_t i = 0; i < SERVER_CONNS; i++) {
		struct server_conn *c = &s->conns[i];

		if (c->fd.fd >= 0)
			continue;
		memset(c, 0, sizeof(*c));
		c->server = s;
		c->fd.fd = peer;
		c->fd.want = PORT_POLL_IN;
		c->fd.fn = server_on_conn;
		c->fd.user = c;
		c->timer.fn = server_on_timer;
		c->timer.user = c;
		loop_fd_add(s->loop, &c->fd);
		s->open++;
		return;
	}
	close(peer);
}

static inline struct server *server_listen(struct loop *loop, int domain, const char *path)
{
	struct server *s = calloc(1, sizeof(*s));
	struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	struct sockaddr_un un = {.sun_family = AF_UNIX};
	socklen_t len = sizeof(in);

	if (!s)
		abort();
	s->loop = loop;
	for (size_t i = 0; i < SERVER_CONNS; i++)
		s->conns[i].fd.fd = -1;
	s->fd.fd = socket(domain, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	s->fd.want = PORT_POLL_IN;
	s->fd.fn = server_on_accept;
	s->fd.user = s;
	if (path)
		snprintf(un.sun_path, sizeof(un.sun_path), "%s", path);
	if (bind(s->fd.fd, path ? (void *)&un : (void *)&in, path ? sizeof(un) : sizeof(in)) ||
		listen(s->fd.fd, 8))
		abort();
	if (!path && getsockname(s->fd.fd, (void *)&in, &len) == 0)
		s->port = ntohs(in.sin_port);
	loop_fd_add(loop, &s->fd);
	return s;
}

static inline struct server *server_open(
	struct loop *loop, const struct answer *answers, size_t count)
{
	struct server *s = server_listen(loop, AF_INET, NULL);

	s->answers = answers;
	s->count = count;
	return s;
}

static inline void server_close(struct server *s)
{
	for (size_t i = 0; i < SERVER_CONNS; i++)
		server_drop(&s->conns[i]);
	loop_fd_remove(s->loop, &s->fd);
	close(s->fd.fd);
	free(s);
}

#endif
