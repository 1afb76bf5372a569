/* SPDX-License-Identifier: Apache-2.0 */
#include "port/port.h"

#include <errno.h>
#include <poll.h>
#include <unistd.h>

void port_stderr_write(const char *line, size_t len)
{
	struct pollfd p = {.fd = STDERR_FILENO, .events = POLLOUT};
	ssize_t n;

	/* A log whose reader has stopped loses lines; it never stops the agent. A line is shorter
	 * than PIPE_BUF, so what poll says is enough. */
	if (poll(&p, 1, 0) != 1 || !(p.revents & POLLOUT))
		return;
	do
		n = write(STDERR_FILENO, line, len);
	while (n < 0 && errno == EINTR);
}

bool port_stdout_is_terminal(void)
{
	return isatty(STDOUT_FILENO) == 1;
}

bool port_stderr_is_terminal(void)
{
	pid_t front;

	if (isatty(STDERR_FILENO) != 1)
		return false;
	/* Of a terminal that is not this session's there is no telling. */
	front = tcgetpgrp(STDERR_FILENO);
	return front < 0 || front == getpgrp();
}
