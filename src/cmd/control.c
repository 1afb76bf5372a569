/* SPDX-License-Identifier: Apache-2.0 */
#include "cmd/control.h"

#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "base/heap.h"
#include "base/log.h"

enum {
	/* For as many watches as there can ever be, so that a reload needs no more. */
	CONTROL_MEMORY_LEN = REPORT_HEAD_BYTES + CONFIG_CONF_WATCH_COUNT * REPORT_WATCH_BYTES,
};

static void control_drop(struct control_client *k)
{
	struct control *c = k->control;

	if (k->fd.fd < 0)
		return;
	loop_fd_remove(c->loop, &k->fd);
	loop_timer_clear(c->loop, &k->deadline);
	port_tcp_close(k->fd.fd);
	k->fd.fd = -1;
	k->is_waiting = false;
	if (c->holder == k)
		c->holder = NULL;
}

/* -- answers ---------------------------------------------------------------------------------- */

static ssize_t control_render(struct control *c, const struct control_client *k)
{
	static const char unknown[] = "unknown request: it is json or table\n";
	static const char too_long[] = "the report is too long\n";
	ssize_t n;

	if (k->request_len == 4 && !memcmp(k->request, "json", 4))
		n = report_json(c->report, c->memory, c->memory_len);
	else if (k->request_len == 5 && !memcmp(k->request, "table", 5))
		n = report_table(c->report, c->memory, c->memory_len);
	else
		n = snprintf(c->memory, c->memory_len, "%s", unknown);
	return n < 0 ? snprintf(c->memory, c->memory_len, "%s", too_long) : n;
}

/* Hands on what the kernel takes. Whether the client is done with. */
static bool control_send(struct control *c, struct control_client *k)
{
	while (c->report_sent < c->report_len) {
		ssize_t n = port_tcp_send(
			k->fd.fd, c->memory + c->report_sent, c->report_len - c->report_sent);

		if (n == ERR_AGAIN)
			return false;
		if (n < 0)
			return true;
		c->report_sent += (size_t)n;
	}
	return true;
}

/* The report as of now, unless another client's lies in the memory. */
static void control_answer(struct control *c, struct control_client *k)
{
	if (c->holder) {
		k->is_waiting = true;
		k->fd.want = 0;
		return;
	}
	k->is_waiting = false;
	c->holder = k;
	c->report_len = (size_t)control_render(c, k);
	c->report_sent = 0;
	k->fd.want = PORT_POLL_OUT;
	if (control_send(c, k))
		control_drop(k);
}

static void control_answer_next(struct control *c)
{
	for (size_t i = 0; !c->holder && i < CONFIG_CONTROL_CLIENT_COUNT; i++) {
		if (c->clients[i].is_waiting)
			control_answer(c, &c->clients[i]);
	}
}

/* -- requests --------------------------------------------------------------------------------- */

/* Reads what there is of the request: a line, or what comes before the end. */
static void control_read(struct control *c, struct control_client *k)
{
	char *end = NULL;
	ssize_t n;

	do {
		n = port_tcp_recv(
			k->fd.fd, k->request + k->request_len, sizeof(k->request) - k->request_len);
		if (n > 0)
			k->request_len += (size_t)n;
		end = memchr(k->request, '\n', k->request_len);
	} while (n > 0 && !end && k->request_len < sizeof(k->request));
	if (end) {
		k->request_len = (size_t)(end - k->request);
	} else if (n == ERR_AGAIN) {
		return;
	} else if (n < 0 && (n != ERR_CLOSED || !k->request_len)) {
		control_drop(k);
		return;
	}
	control_answer(c, k);
}

static void on_client(struct loop_fd *fd, int events)
{
	struct control_client *k = fd->user;
	struct control *c = k->control;

	if (c->holder == k) {
		if ((events & PORT_POLL_ERR) || control_send(c, k))
			control_drop(k);
	} else if (k->is_waiting) {
		/* It is asked for errors only. */
		control_drop(k);
	} else {
		control_read(c, k);
	}
	control_answer_next(c);
}

static void on_deadline(struct loop_timer *timer)
{
	struct control_client *k = timer->user;
	struct control *c = k->control;

	control_drop(k);
	control_answer_next(c);
}

/* -- connections ------------------------------------------------------------------------------ */

/* A free place, made by the one who has said nothing for the longest time; NULL: all have asked. */
static struct control_client *control_place(struct control *c)
{
	struct control_client *silent = NULL;

	for (size_t i = 0; i < CONFIG_CONTROL_CLIENT_COUNT; i++) {
		struct control_client *k = &c->clients[i];

		if (k->fd.fd < 0)
			return k;
		if (k == c->holder || k->is_waiting)
			continue;
		if (!silent || k->deadline.due_ms < silent->deadline.due_ms)
			silent = k;
	}
	if (silent)
		control_drop(silent);
	return silent;
}

static void control_pause(struct control *c)
{
	c->listener.want = 0;
	c->timer.slack_ms = 0;
	loop_timer_set(c->loop, &c->timer, CONTROL_PAUSE_MS);
}

/* Whether there may be another one. */
static bool control_accept(struct control *c)
{
	struct control_client *k;
	int fd = port_local_accept(&c->socket);

	if (fd < 0) {
		/* Too few descriptors, for one: it stays readable, and the loop must not spin. */
		if (fd != ERR_AGAIN)
			control_pause(c);
		return false;
	}
	k = control_place(c);
	if (!k) {
		port_tcp_close(fd);
		return true;
	}
	k->fd.fd = fd;
	k->fd.want = PORT_POLL_IN;
	k->request_len = 0;
	if (loop_fd_add(c->loop, &k->fd)) {
		control_drop(k);
		control_pause(c);
		return false;
	}
	loop_timer_set(c->loop, &k->deadline, CONTROL_CLIENT_MS);
	/* Mostly it has asked already, and is answered before anybody else comes. */
	control_read(c, k);
	return true;
}

static void on_listener(struct loop_fd *fd, int events)
{
	struct control *c = fd->user;

	if (events & PORT_POLL_ERR) {
		control_pause(c);
		return;
	}
	for (size_t i = 0; i < CONFIG_CONTROL_CLIENT_COUNT && control_accept(c); i++)
		;
}

/* -- the socket ------------------------------------------------------------------------------- */

static const char *control_why(int err)
{
	switch (err) {
	case ERR_LOCKED:
		return "another process answers there";
	case ERR_BUSY:
		return "another process makes one just now, or holds a lock on its folder";
	case ERR_CONFIG:
		return "there is something else than a socket";
	case ERR_LIMIT:
		return "the path is too long for a socket";
	default:
		return err_text(err);
	}
}

static int control_try(struct control *c)
{
	char what[LOG_SHOW_MAX + 32], shown[LOG_SHOW_MAX];
	int err = port_local_listen(&c->socket, c->path);

	if (!err) {
		c->listener.fd = c->socket.fd;
		c->listener.want = PORT_POLL_IN;
		err = loop_fd_add(c->loop, &c->listener);
		if (err)
			port_local_close(&c->socket, c->path);
	}
	log_show(shown, sizeof(shown), c->path, strlen(c->path));
	if (err) {
		snprintf(what, sizeof(what), "control socket %s", shown);
		trouble_meet(&c->trouble, c->loop->now_ms, what, control_why(err),
			"nobody can ask for the status, tried again every 10 s");
		c->timer.slack_ms = CONTROL_RETRY_MS / 2;
		loop_timer_set(c->loop, &c->timer, CONTROL_RETRY_MS);
	} else {
		snprintf(what, sizeof(what), "control socket %s: made", shown);
		trouble_end(&c->trouble, c->loop->now_ms, what);
	}
	return err;
}

static void on_timer(struct loop_timer *timer)
{
	struct control *c = timer->user;

	if (c->socket.fd < 0)
		(void)control_try(c);
	else
		c->listener.want = PORT_POLL_IN;
}

int control_open(
	struct control *c, struct loop *loop, const char *path, const struct report *report)
{
	*c = (struct control){
		.loop = loop,
		.path = path,
		.report = report,
		.socket.fd = -1,
		.listener = {.fd = -1, .fn = on_listener, .user = c},
		.timer = {.fn = on_timer, .user = c},
		.memory_len = CONTROL_MEMORY_LEN,
	};
	for (size_t i = 0; i < CONFIG_CONTROL_CLIENT_COUNT; i++) {
		struct control_client *k = &c->clients[i];

		k->control = c;
		k->fd = (struct loop_fd){.fd = -1, .fn = on_client, .user = k};
		k->deadline = (struct loop_timer){.fn = on_deadline, .user = k};
	}
	trouble_init(&c->trouble, CONTROL_RETRY_MS);
	c->memory = heap_calloc(1, c->memory_len);
	if (!c->memory)
		return ERR_NOMEM;
	return control_try(c) == ERR_LOCKED ? ERR_LOCKED : 0;
}

void control_retry(struct control *c)
{
	if (c->loop && c->memory && c->socket.fd < 0)
		(void)control_try(c);
}

void control_close(struct control *c)
{
	if (!c->loop)
		return;
	for (size_t i = 0; i < CONFIG_CONTROL_CLIENT_COUNT; i++)
		control_drop(&c->clients[i]);
	loop_fd_remove(c->loop, &c->listener);
	loop_timer_clear(c->loop, &c->timer);
	port_local_close(&c->socket, c->path);
	heap_free(c->memory);
	*c = (struct control){0};
}
