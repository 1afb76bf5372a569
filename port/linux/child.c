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
#include <limits.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
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
		if (strchr(*env, '=') ? putenv(*env) : unsetenv(*env))
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

bool port_child_has_ended(const struct port_child *c)
{
	siginfo_t info;
	int ret;

	if (c->pid <= 0)
		return true;
	info.si_pid = 0;
	do {
		ret = waitid(P_PID, (id_t)c->pid, &info, WEXITED | WNOHANG | WNOWAIT);
	} while (ret < 0 && errno == EINTR);
	return ret < 0 || info.si_pid;
}

void port_child_kill(struct port_child *c, bool force)
{
	int number = force ? SIGKILL : SIGTERM;

	if (c->pid <= 0)
		return;
	(void)kill(-c->pid, number);
	/* It may have left its group. */
	if (getpgid(c->pid) != c->pid)
		(void)kill(c->pid, number);
}

void port_child_abandon(struct port_child *c)
{
	if (c->pid <= 0)
		return;
	port_child_kill(c, true);
	linux_reap_later(c->pid);
	c->pid = 0;
}

/* -- can it be run ---------------------------------------------------------------------------- */

static int program_check(const char *path)
{
	struct stat st;

	if (stat(path, &st))
		return errno == EACCES ? ERR_ACCESS : ERR_NOENT;
	return S_ISREG(st.st_mode) && access(path, X_OK) == 0 ? 0 : ERR_ACCESS;
}

int port_child_check(const char *argv0)
{
	const char *dirs = getenv("PATH");
	size_t name_len = strlen(argv0);
	char path[PATH_MAX];
	int err = ERR_NOENT;

	if (!name_len)
		return ERR_NOENT;
	if (strchr(argv0, '/'))
		return program_check(argv0);
	if (!dirs)
		dirs = "/usr/local/bin:/bin:/usr/bin";
	for (;;) {
		size_t len = strcspn(dirs, ":");

		/* An empty one is where we are. */
		if (len + 1 + name_len < sizeof(path)) {
			memcpy(path, dirs, len);
			if (len)
				path[len] = '/';
			memcpy(path + len + (len > 0), argv0, name_len + 1);
			switch (program_check(path)) {
			case 0:
				return 0;
			case ERR_ACCESS:
				err = ERR_ACCESS;
				break;
			default:
				break;
			}
		}
		if (!dirs[len])
			return err;
		dirs += len + 1;
	}
}

/* -- what it prints --------------------------------------------------------------------------- */

int port_pipe_open(struct port_pipe *p)
{
	int ends[2];

	p->read_fd = p->write_fd = -1;
	if (pipe2(ends, O_CLOEXEC))
		return ERR_NOMEM;
	/* Of our end only: the program's would fail where it prints much. */
	if (fcntl(ends[0], F_SETFL, O_NONBLOCK)) {
		(void)close(ends[0]);
		(void)close(ends[1]);
		return ERR_NOMEM;
	}
	p->read_fd = ends[0];
	p->write_fd = ends[1];
	return 0;
}

ssize_t port_pipe_read(int fd, void *dst, size_t len)
{
	ssize_t n;

	do {
		n = read(fd, dst, len);
	} while (n < 0 && errno == EINTR);
	if (n < 0)
		return err_from_errno(errno);
	return n ? n : ERR_CLOSED;
}
