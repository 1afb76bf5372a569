/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Local stream sockets.
 *
 * A socket that nobody answers on is left by a process that was killed, or belongs to one that has bound it and does not
 * listen yet. So whoever makes or replaces one holds a lock on its folder meanwhile. The lock needs no file that stays
 * behind, but any process that can read the folder can take it too: without it a free path is still used,
 * and only nothing is replaced.
 */
#define _GNU_SOURCE
#include "port/port.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/err.h"

enum { LOCAL_BACKLOG = 16 };

static int local_address(struct sockaddr_un *addr, const char *path)
{
	size_t len = strlen(path);

	_Static_assert(sizeof(addr->sun_path) >= PORT_LOCAL_PATH_MAX, "paths are shorter here");
	memset(addr, 0, sizeof(*addr));
	addr->sun_family = AF_UNIX;
	if (!len || len >= PORT_LOCAL_PATH_MAX)
		return ERR_LIMIT;
	memcpy(addr->sun_path, path, len);
	return 0;
}

static int local_socket(void)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	return fd < 0 ? err_from_errno(errno) : fd;
}

static int local_connect(const struct sockaddr_un *addr)
{
	int fd = local_socket();
	int ret;

	if (fd < 0)
		return fd;
	do {
		ret = connect(fd, (const struct sockaddr *)addr, sizeof(*addr));
	} while (ret < 0 && errno == EINTR);
	if (ret == 0)
		return fd;
	/* EAGAIN: somebody listens, and has many to answer. EPROTOTYPE: no stream socket, but in use. */
	ret = errno == EPROTOTYPE ? ERR_AGAIN : err_from_errno(errno);
	(void)close(fd);
	return ret;
}

int port_local_connect(const char *path)
{
	struct sockaddr_un addr;
	int err = local_address(&addr, path);

	return err ? err : local_connect(&addr);
}

/* The folder of path, made when only it is missing. 0 or an error. */
static int local_folder(char dst[PORT_LOCAL_PATH_MAX], const char *path)
{
	memcpy(dst, path, strlen(path) + 1);
	if (!port_path_cut(dst))
		memcpy(dst, ".", 2);
	if (mkdir(dst, 0755) && errno != EEXIST && access(dst, F_OK))
		return err_from_errno(errno);
	return 0;
}

/* A descriptor that holds the lock, or -1: it is not to be had. */
static int local_lock(const char *folder)
{
	int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd >= 0 && flock(fd, LOCK_EX | LOCK_NB)) {
		(void)close(fd);
		fd = -1;
	}
	return fd;
}

static int local_bind(int fd, const struct sockaddr_un *addr)
{
	/* The path gets its mode from the umask in the call that makes it: there is no moment at which others
	 * could connect. One thread: nobody else makes files meanwhile. */
	mode_t mask = umask(0177);
	int err = bind(fd, (const struct sockaddr *)addr, sizeof(*addr)) ? errno : 0;

	(void)umask(mask);
	return err;
}

/* Removes what lies at the path if it is a socket that nobody answers on. */
static int local_clear(const struct sockaddr_un *addr, bool is_locked)
{
	struct stat st;
	int fd;

	if (lstat(addr->sun_path, &st))
		return errno == ENOENT ? ERR_BUSY : err_from_errno(errno);
	if (!S_ISSOCK(st.st_mode))
		return ERR_CONFIG;
	fd = local_connect(addr);
	if (fd >= 0) {
		(void)close(fd);
		return ERR_LOCKED;
	}
	if (fd != ERR_REFUSED)
		return fd == ERR_AGAIN ? ERR_LOCKED : fd;
	if (!is_locked)
		return ERR_BUSY;
	return unlink(addr->sun_path) && errno != ENOENT ? err_from_errno(errno) : 0;
}

static int local_listen(
	struct port_local *l, int fd, const struct sockaddr_un *addr, bool is_locked)
{
	struct stat st;
	int errnum = local_bind(fd, addr);

	if (errnum == EADDRINUSE) {
		int err = local_clear(addr, is_locked);

		if (err)
			return err;
		errnum = local_bind(fd, addr);
	}
	if (errnum)
		return errnum == EADDRINUSE ? ERR_BUSY : err_from_errno(errnum);
	if (listen(fd, LOCAL_BACKLOG) || lstat(addr->sun_path, &st)) {
		int err = err_from_errno(errno);

		(void)unlink(addr->sun_path);
		return err;
	}
	l->device = st.st_dev;
	l->inode = st.st_ino;
	return 0;
}

int port_local_check(const char *path)
{
	struct sockaddr_un addr;
	struct stat st;
	int err = local_address(&addr, path);

	if (err)
		return err;
	return lstat(path, &st) == 0 && !S_ISSOCK(st.st_mode) ? ERR_CONFIG : 0;
}

int port_local_listen(struct port_local *l, const char *path)
{
	struct sockaddr_un addr;
	char folder[PORT_LOCAL_PATH_MAX];
	int lock, fd, err;

	l->fd = -1;
	err = local_address(&addr, path);
	if (!err)
		err = local_folder(folder, path);
	if (err)
		return err;
	fd = local_socket();
	if (fd < 0)
		return fd;
	lock = local_lock(folder);
	err = local_listen(l, fd, &addr, lock >= 0);
	if (lock >= 0)
		(void)close(lock);
	if (err)
		(void)close(fd);
	else
		l->fd = fd;
	return err;
}

void port_local_close(struct port_local *l, const char *path)
{
	struct stat st;

	if (l->fd < 0)
		return;
	if (lstat(path, &st) == 0 && st.st_dev == l->device && st.st_ino == l->inode)
		(void)unlink(path);
	(void)close(l->fd);
	l->fd = -1;
}

int port_local_accept(struct port_local *l)
{
	int fd;

	do {
		fd = accept4(l->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	} while (fd < 0 && (errno == EINTR || errno == ECONNABORTED));
	return fd < 0 ? err_from_errno(errno) : fd;
}
