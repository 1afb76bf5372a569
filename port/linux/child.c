/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Programs: fork and exec by hand, for what posix_spawn() cannot do everywhere: close every other
 * descriptor, and tell why exec failed. The answer to that comes through a pipe that exec closes.
 */
#define _GNU_SOURCE
#include "port/port.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/err.h"
#include "port/linux/internal.h"

/* -- children that nobody waits for any more -------------------------------------------------- */

enum { REAP_MAX = 8 };

static int reap_pids[REAP_MAX];

static bool reap_is_gone(int pid, int flags)
{
	int ret;

	do {
		ret = waitpid(pid, NULL, flags);
	} while (ret < 0 && errno == EINTR);
	return ret != 0; /* collected, or no child of ours */
}

void linux_reap(void)
{
	for (int i = 0; i < REAP_MAX; i++) {
		if (reap_pids[i] && reap_is_gone(reap_pids[i], WNOHANG))
			reap_pids[i] = 0;
	}
}

void linux_reap_later(int pid)
{
	linux_reap();
	if (reap_is_gone(pid, WNOHANG))
		return;
	for (int i = 0; i < REAP_MAX; i++) {
		if (!reap_pids[i]) {
			reap_pids[i] = pid;
			return;
		}
	}
	/* It was killed, so this ends as soon as the kernel gets to it. */
	(void)reap_is_gone(pid, 0);
}

/* -- descriptors ------------------------------------------------------------------------------ */

/* Without close_range(): from the list in /proc, or all that there could be. */
static void close_one_by_one(int from)
{
	DIR *dir = opendir("/proc/self/fd");
	long max = sysconf(_SC_OPEN_MAX);

	if (!dir) {
		for (int fd = from; fd < (max > 0 && max < 65536 ? (int)max : 65536); fd++)
			(void)close(fd);
		return;
	}
	for (struct dirent *e = readdir(dir); e; e = readdir(dir)) {
		int fd = 0;
		const char *p = e->d_name;

		while (*p >= '0' && *p <= '9' && fd < 100000000)
			fd = fd * 10 + (*p++ - '0');
		if (p != e->d_name && !*p && fd >= from && fd != dirfd(dir))
			(void)close(fd);
	}
	(void)closedir(dir);
}

void linux_close_from(int from)
{
#ifdef SYS_close_range
	if (syscall(SYS_close_range, (unsigned)from, ~0U, 0U) == 0)
		return;
#endif
	close_one_by_one(from);
}

/* -- programs --------------------------------------------------------------------------------- */

enum {
	FD_STDIO = 3, /* 0, 1 and 2 */
	FD_REPORT = 3, /* where the child keeps its end of the pipe */
	FD_FREE = 4,
};

/* Puts the three where the program looks for them. They are first copied above 3, for one may lie
 * where another belongs. Returns 0, or errno. */
static int child_set_stdio(const int wish[FD_STDIO])
{
	int high[FD_STDIO];

	for (int i = 0; i < FD_STDIO; i++) {
		int fd = wish[i];

		if (fd < 0 && i == STDIN_FILENO)
			fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
		else if (fd < 0)
			fd = i;
		high[i] = fd < 0 ? -1 : fcntl(fd, F_DUPFD_CLOEXEC, FD_FREE);
		/* Standard output may be closed in us too: then /dev/null, never a stray file. */
		if (high[i] < 0)
			high[i] = open("/dev/null", O_RDWR | O_CLOEXEC);
		if (high[i] < 0)
			return errno;
	}
	for (int i = 0; i < FD_STDIO; i++) {
		if (dup2(high[i], i) < 0)
			return errno;
	}
	return 0;
}

static int child_add_env(char *const env[])
{
	for (; env && *env; env++) {
		/* The string lives as long as the process: exec copies it. */
		if (putenv(*env))
			return errno;
	}
	return 0;
}

static void child_run(char *const argv[], char *const env[], int wish[FD_STDIO], int report)
	__attribute__((noreturn));

static void child_run(char *const argv[], char *const env[], int wish[FD_STDIO], int report)
{
	int errnum, high;

	(void)setpgid(0, 0);
	linux_signals_reset();
	high = fcntl(report, F_DUPFD_CLOEXEC, FD_FREE);
	errnum = high < 0 ? errno : child_set_stdio(wish);
	if (!errnum && dup3(high, FD_REPORT, O_CLOEXEC) < 0)
		errnum = errno;
	if (!errnum) {
		linux_close_from(FD_FREE);
		high = FD_REPORT;
		errnum = child_add_env(env);
	}
	if (!errnum) {
		execvp(argv[0], argv);
		errnum = errno;
	}
	_exit(write(high < 0 ? report : high, &errnum, sizeof(errnum)) > 0 ? 127 : 126);
}

static int child_err_from_errno(int errnum)
{
	switch (errnum) {
	case E2BIG:
		return ERR_LIMIT;
	case ENOEXEC:
	case EISDIR:
	case ELOOP:
		return ERR_ACCESS;
	case EAGAIN:
		return ERR_NOMEM;
	default:
		return err_from_errno(errnum);
	}
}

int port_child_start(struct port_child *c, char *const argv[], char *const env[], int stdin_fd,
	int stdout_fd, int stderr_fd)
{
	int wish[FD_STDIO] = {stdin_fd, stdout_fd, stderr_fd};
	int ends[2];
	int errnum = 0;
	ssize_t n;
	int pid;

	c->pid = 0;
	if (pipe2(ends, O_CLOEXEC))
		return child_err_from_errno(errno);
	pid = fork();
	if (pid == 0)
		child_run(argv, env, wish, ends[1]);
	(void)close(ends[1]);
	if (pid < 0) {
		(void)close(ends[0]);
		return ERR_NOMEM;
	}
	/* Both do it, so that it is done whoever comes first; refused once the child has run exec. */
	(void)setpgid(pid, pid);
	do {
		n = read(ends[0], &errnum, sizeof(errnum));
	} while (n < 0 && errno == EINTR);
	(void)close(ends[0]);
	if (n == 0) {
		c->pid = pid;
		return 0;
	}
	linux_reap_later(pid);
	return n == (ssize_t)sizeof(errnum) ? child_err_from_errno(errnum) : ERR_IO;
}

int port_child_result(struct port_child *c)
{
	int status = 0;
	int ret;

	if (c->pid <= 0)
		return ERR_BUG;
	do {
		ret = waitpid(c->pid, &status, WNOHANG);
	} while (ret < 0 && errno == EINTR);
	if (ret == 0)
		return ERR_AGAIN;
	if (ret < 0)
		return ERR_BUG; /* somebody else has collected it */
	c->pid = 0;
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

void port_child_kill(struct port_child *c, bool force)
{
	if (c->pid > 0)
		(void)kill(-c->pid, force ? SIGKILL : SIGTERM);
}
