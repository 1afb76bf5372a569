/* SPDX-License-Identifier: Apache-2.0 */
/* What surrounds the program when it starts. */
#include "port/port.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <syslog.h>
#include <unistd.h>

#include "base/err.h"

/* A descriptor that writes fail on: a pipe whose reader is gone. */
static int broken_pipe_open(void)
{
	int ends[2], fd;

	if (pipe(ends) < 0)
		return -1;
	fd = ends[1];
	/* The lower number is the one that is wanted. */
	if (ends[0] < ends[1]) {
		fd = dup2(ends[1], ends[0]);
		(void)close(ends[1]);
	} else {
		(void)close(ends[0]);
	}
	return fd;
}

int port_std_open(void)
{
	struct sigaction sa;

	memset(&sa, 0, sizeof(sa));
	sa.sa_handler = SIG_IGN;
	if (sigaction(SIGPIPE, &sa, NULL) < 0)
		return ERR_IO;
	/* In this order each gets the lowest number that is free, its own. */
	for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++) {
		if (fcntl(fd, F_GETFD) >= 0 || errno != EBADF)
			continue;
		if ((fd == STDOUT_FILENO ? broken_pipe_open() : open("/dev/null", O_RDWR)) != fd)
			return ERR_IO;
	}
	return 0;
}

int port_host_name(char *dst, size_t cap)
{
	if (!cap || gethostname(dst, cap) < 0)
		return errno == ENAMETOOLONG ? ERR_LIMIT : ERR_IO;
	/* POSIX leaves open whether a name that was cut is terminated. */
	if (!memchr(dst, '\0', cap))
		return ERR_LIMIT;
	return 0;
}

void port_syslog_write(int level, const char *line, size_t len)
{
	static const int priorities[] = {LOG_ERR, LOG_WARNING, LOG_INFO, LOG_DEBUG};
	static bool is_open;

	if (!is_open)
		openlog("etchlet", LOG_PID, LOG_DAEMON);
	is_open = true;
	syslog(priorities[level & 3], "%.*s", (int)len, line);
}
