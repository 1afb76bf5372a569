/* SPDX-License-Identifier: Apache-2.0 */
/* The notices of sd_notify(3): datagrams to the socket that the environment names. */
#define _GNU_SOURCE
#include "port/port.h"

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "base/err.h"

/* Decimal digits and nothing else; 0 when it is anything else. */
static uint64_t number_of(const char *text)
{
	uint64_t n = 0;

	if (!text || !*text)
		return 0;
	for (; *text; text++) {
		if (*text < '0' || *text > '9' || n > (UINT64_MAX - 9) / 10)
			return 0;
		n = n * 10 + (uint64_t)(*text - '0');
	}
	return n;
}

static void notify_take_path(struct port_notify *n, const char *path)
{
	size_t len = path ? strlen(path) : 0;

	/* A path, or with '@' a name in the abstract space (unix(7)); the machine's own vsock is none of them. */
	if (len < 2 || len >= sizeof(n->path) || (path[0] != '/' && path[0] != '@'))
		return;
	memcpy(n->path, path, len + 1);
	if (n->path[0] == '@')
		n->path[0] = '\0';
	n->path_len = len;
	n->fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
}

void port_notify_open(struct port_notify *n)
{
	const char *pid = getenv("WATCHDOG_PID");

	*n = (struct port_notify){.fd = -1};
	notify_take_path(n, getenv("NOTIFY_SOCKET"));
	if (n->fd >= 0 && (!pid || number_of(pid) == (uint64_t)getpid()))
		n->watchdog_us = number_of(getenv("WATCHDOG_USEC"));
	(void)unsetenv("NOTIFY_SOCKET");
	(void)unsetenv("WATCHDOG_USEC");
	(void)unsetenv("WATCHDOG_PID");
}

int port_notify_send(struct port_notify *n, const char *text, size_t len)
{
	struct sockaddr_un addr;
	ssize_t sent;

	if (n->fd < 0)
		return 0;
	memset(&addr, 0, sizeof(addr));
	addr.sun_family = AF_UNIX;
	memcpy(addr.sun_path, n->path, n->path_len);
	/* An abstract name ends where the length says, a path may have its NUL. */
	do {
		sent = sendto(n->fd, text, len, MSG_NOSIGNAL | MSG_DONTWAIT,
			(const struct sockaddr *)&addr,
			(socklen_t)(offsetof(struct sockaddr_un, sun_path) + n->path_len));
	} while (sent < 0 && errno == EINTR);
	return sent < 0 ? err_from_errno(errno) : 0;
}

uint64_t port_notify_time_us(void)
{
	struct timespec ts;

	if (clock_gettime(CLOCK_MONOTONIC, &ts))
		return 0;
	return (uint64_t)ts.tv_sec * 1000000 + (uint64_t)ts.tv_nsec / 1000;
}

void port_notify_close(struct port_notify *n)
{
	if (n->fd >= 0)
		(void)close(n->fd);
	*n = (struct port_notify){.fd = -1};
}
