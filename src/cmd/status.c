/* SPDX-License-Identifier: Apache-2.0 */
/*
 * etchlet status: asks the running agent on its control socket, and prints what it says. With --watch once a
 * second, until SIGINT or SIGTERM; an agent that is away meanwhile is waited for.
 */
#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "base/heap.h"
#include "base/log.h"
#include "cmd/cmd.h"
#include "cmd/report.h"
#include "port/port.h"

enum {
	STATUS_TIMEOUT_MS = 5000, /* of one question, start to end */
	STATUS_AGAIN_MS = 50, /* while many others wait to be answered */
	STATUS_INTERVAL_MS = 1000,
	STATUS_ANSWER_MAX = REPORT_HEAD_BYTES + CONFIG_CONF_WATCH_COUNT * REPORT_WATCH_BYTES,
	STATUS_STOPPED = 1, /* a signal came */
};

struct status {
	const char *path;
	const char *request;
	int signal_fd; /* -1: signals end the program by themselves */
	size_t len;
	char answer[STATUS_ANSWER_MAX];
};

/*
 * Waits for fd (below 0: for nothing) until due_ms, or for a signal that ends the program. 0, STATUS_STOPPED,
 * ERR_TIMEOUT or ERR_IO.
 */
static int status_wait(struct status *s, int fd, int64_t due_ms)
{
	for (;;) {
		struct port_poll p[] = {{.fd = s->signal_fd, .want = PORT_POLL_IN},
			{.fd = fd, .want = PORT_POLL_IN}};
		int64_t left_ms = due_ms - port_now_ms();
		int n = port_poll(p, 2, left_ms > 0 ? left_ms : 0);

		if (n < 0)
			return n;
		if (p[0].got && (port_signals_take() & PORT_SIGNAL_STOP))
			return STATUS_STOPPED;
		if (p[1].got)
			return 0;
		if (left_ms <= 0)
			return ERR_TIMEOUT;
	}
}

/* A descriptor, STATUS_STOPPED as an error, or another error. */
static int status_connect(struct status *s, int64_t due_ms, int *out)
{
	for (;;) {
		int fd = port_local_connect(s->path);
		int err;

		if (fd >= 0) {
			*out = fd;
			return 0;
		}
		if (fd != ERR_AGAIN || port_now_ms() >= due_ms)
			return fd == ERR_AGAIN ? ERR_TIMEOUT : fd;
		err = status_wait(s, -1, port_now_ms() + STATUS_AGAIN_MS);
		if (err != ERR_TIMEOUT)
			return err;
	}
}

/* Reads to the end. 0, STATUS_STOPPED or an error. */
static int status_read(struct status *s, int fd, int64_t due_ms)
{
	s->len = 0;
	for (;;) {
		ssize_t n = ERR_LIMIT;

		if (s->len < sizeof(s->answer))
			n = port_tcp_recv(fd, s->answer + s->len, sizeof(s->answer) - s->len);
		if (n > 0) {
			s->len += (size_t)n;
		} else if (n == ERR_AGAIN) {
			int err = status_wait(s, fd, due_ms);

			if (err)
				return err;
		} else if (n == ERR_CLOSED && s->len) {
			/* A report ends with its line; what does not was cut off. */
			return s->answer[s->len - 1] == '\n' ? 0 : ERR_CLOSED;
		} else {
			return (int)n;
		}
	}
}

/* One question and its answer. 0, STATUS_STOPPED or an error. */
static int status_ask(struct status *s)
{
	int64_t due_ms = port_now_ms() + STATUS_TIMEOUT_MS;
	size_t len = strlen(s->request);
	int fd = -1;
	int err = status_connect(s, due_ms, &fd);

	if (err)
		return err;
	/* A few bytes on a new connection: the kernel takes them whole. */
	if (port_tcp_send(fd, s->request, len) != (ssize_t)len)
		err = ERR_CLOSED;
	if (!err)
		err = status_read(s, fd, due_ms);
	port_tcp_close(fd);
	return err;
}

/* What is told when nobody answers; terminated. */
static const char *status_why(const struct status *s, int err, char why[CONF_WHY_MAX])
{
	char shown[CMD_SHOW_MAX];

	log_show(shown, sizeof(shown), s->path, strlen(s->path));
	switch (err) {
	case ERR_NOENT:
	case ERR_REFUSED:
		snprintf(why, CONF_WHY_MAX, "the agent is not running (%s: %s)", shown,
			err == ERR_NOENT ? "no such socket" : "nobody answers");
		break;
	case ERR_TIMEOUT:
		snprintf(why, CONF_WHY_MAX, "the agent does not answer on %s", shown);
		break;
	case ERR_LIMIT:
		snprintf(why, CONF_WHY_MAX, "%s: %s", shown,
			s->len ? "the answer is too long" : "too long for the path of a socket");
		break;
	default:
		snprintf(why, CONF_WHY_MAX, "%s: %s", shown, err_text(err));
	}
	return why;
}

static int status_once(struct status *s)
{
	char why[CONF_WHY_MAX];
	int err = status_ask(s);

	if (err)
		return cmd_tell(CMD_FAILED, "%s", status_why(s, err, why));
	(void)fwrite(s->answer, 1, s->len, stdout);
	return cmd_output_end(CMD_DONE);
}

/* Refreshes until a signal, or until nobody reads. */
static int status_repeat(struct status *s, bool is_screen)
{
	/* ECMA-48: cursor to the upper left corner, then erase the page. */
	static const char clear[] = "\033[H\033[2J";
	char why[CONF_WHY_MAX];
	bool is_away = false;

	for (;;) {
		int64_t due_ms = port_now_ms() + STATUS_INTERVAL_MS;
		int err = status_ask(s);

		if (err == STATUS_STOPPED)
			return CMD_DONE;
		if (is_screen)
			(void)fputs(clear, stdout);
		if (!err)
			(void)fwrite(s->answer, 1, s->len, stdout);
		else if (is_screen)
			(void)printf("etchlet: %s; waiting for it\n", status_why(s, err, why));
		else if (!is_away)
			(void)cmd_tell(0, "%s; waiting for it", status_why(s, err, why));
		if (!err && is_away && !is_screen)
			(void)cmd_tell(0, "the agent answers again");
		is_away = err != 0;
		if (cmd_output_end(CMD_DONE) != CMD_DONE)
			return CMD_FAILED;
		err = status_wait(s, -1, due_ms);
		if (err != ERR_TIMEOUT)
			return err == STATUS_STOPPED ? CMD_DONE : CMD_FAILED;
	}
}

int cmd_status(struct conf *conf)
{
	struct status *s = heap_calloc(1, sizeof(*s));
	int status;

	if (!s)
		return cmd_tell(CMD_FAILED, "%s", err_text(ERR_NOMEM));
	s->path = conf->control_path;
	s->request = conf->is_json ? "json\n" : "table\n";
	s->signal_fd = -1;
	if (conf->is_repeated)
		s->signal_fd = port_signals_open();
	if (conf->is_repeated && s->signal_fd < 0)
		status = cmd_tell(CMD_FAILED, "cannot catch signals: %s", err_text(s->signal_fd));
	else if (conf->is_repeated)
		status = status_repeat(s, !conf->is_json && port_stdout_is_terminal());
	else
		status = status_once(s);
	heap_free(s);
	return status;
}
