/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Waiting, and signals: a handler sets the signal's flag and writes a byte into a pipe, so that the
 * loop's poll wakes whenever the signal came (the self-pipe trick: no window between a test of the
 * flag and the wait).
 */
#define _GNU_SOURCE
#include "port/port.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <unistd.h>

#include "base/err.h"
#include "port/linux/internal.h"

int port_poll(struct port_poll *fds, size_t n, int64_t timeout_ms)
{
	static struct pollfd polled[CONFIG_LOOP_FD_COUNT];
	int timeout = timeout_ms < 0 ? -1 : timeout_ms > INT_MAX ? INT_MAX : (int)timeout_ms;
	int ready;

	if (n > CONFIG_LOOP_FD_COUNT)
		return ERR_BUG;
	for (size_t i = 0; i < n; i++) {
		polled[i].fd = fds[i].fd;
		polled[i].events = (short)((fds[i].want & PORT_POLL_IN ? POLLIN : 0) |
					   (fds[i].want & PORT_POLL_OUT ? POLLOUT : 0));
		polled[i].revents = 0;
		fds[i].got = 0;
	}
	ready = poll(polled, (nfds_t)n, timeout);
	if (ready < 0)
		return errno == EINTR || errno == EAGAIN ? 0 : ERR_IO;
	for (size_t i = 0; i < n && ready; i++) {
		int got = polled[i].revents;

		if (got & POLLIN)
			fds[i].got |= PORT_POLL_IN;
		if (got & POLLOUT)
			fds[i].got |= PORT_POLL_OUT;
		if (got & (POLLERR | POLLHUP | POLLNVAL))
			fds[i].got |= PORT_POLL_ERR;
	}
	return ready;
}

static const struct {
	int number;
	enum port_signal signal;
} caught[] = {
	{SIGTERM, PORT_SIGNAL_STOP},
	{SIGINT, PORT_SIGNAL_STOP},
	{SIGHUP, PORT_SIGNAL_RELOAD},
	{SIGUSR1, PORT_SIGNAL_RETRY},
	{SIGCHLD, PORT_SIGNAL_CHILD},
};

enum { CAUGHT_COUNT = sizeof(caught) / sizeof(caught[0]) };

/* One flag each: a handler can set it, and the loop clear it, without a lock. */
static volatile sig_atomic_t is_pending[CAUGHT_COUNT];
static int signal_pipe[2] = {-1, -1};

static void signal_handler(int number)
{
	int saved = errno;

	for (size_t i = 0; i < CAUGHT_COUNT; i++) {
		if (caught[i].number == number)
			is_pending[i] = 1;
	}
	/* A full pipe is no loss: the loop wakes anyway, and the flag is set. */
	if (write(signal_pipe[1], "", 1) < 0)
		errno = 0;
	errno = saved;
}

int port_signals_open(void)
{
	struct sigaction act = {.sa_handler = signal_handler, .sa_flags = SA_RESTART};
	struct sigaction ignore = {.sa_handler = SIG_IGN};

	if (signal_pipe[0] >= 0)
		return signal_pipe[0];
	if (pipe2(signal_pipe, O_CLOEXEC | O_NONBLOCK))
		return err_from_errno(errno);
	sigemptyset(&ignore.sa_mask);
	sigfillset(&act.sa_mask);
	if (sigaction(SIGPIPE, &ignore, NULL))
		return ERR_BUG;
	for (size_t i = 0; i < CAUGHT_COUNT; i++) {
		sigset_t one;

		if (sigaction(caught[i].number, &act, NULL))
			return ERR_BUG;
		/* A mask inherited from who started us would keep it away for ever. */
		sigemptyset(&one);
		sigaddset(&one, caught[i].number);
		if (sigprocmask(SIG_UNBLOCK, &one, NULL))
			return ERR_BUG;
	}
	return signal_pipe[0];
}

int port_signals_take(void)
{
	char drained[64];
	ssize_t n;
	int set = 0;

	/* First the pipe, then the flags: a signal in between is seen now, and wakes once more. */
	do {
		n = signal_pipe[0] < 0 ? 0 : read(signal_pipe[0], drained, sizeof(drained));
	} while (n == (ssize_t)sizeof(drained) || (n < 0 && errno == EINTR));
	for (size_t i = 0; i < CAUGHT_COUNT; i++) {
		if (is_pending[i]) {
			is_pending[i] = 0;
			set |= (int)caught[i].signal;
		}
	}
	if (set & PORT_SIGNAL_CHILD)
		linux_reap();
	return set;
}

void linux_signals_reset(void)
{
	struct sigaction act = {.sa_handler = SIG_DFL};
	sigset_t none;

	sigemptyset(&act.sa_mask);
	/* Those the C library keeps for itself, SIGKILL and SIGSTOP are refused: that is right. */
	for (int number = 1; number <= SIGRTMAX; number++)
		(void)sigaction(number, &act, NULL);
	sigemptyset(&none);
	(void)!sigprocmask(SIG_SETMASK, &none, NULL);
}
