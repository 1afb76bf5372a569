/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Folders by descriptor: every name is a single component and O_NOFOLLOW stands with every open, so
 * that no link which somebody plants leads anywhere.
 */
#define _GNU_SOURCE
#include "port/port.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/err.h"

#ifndef RENAME_EXCHANGE
#define RENAME_EXCHANGE (1 << 1)
#endif

/* The kernel's, which no header of a C library has. The name begins after d_type. */
enum {
	DIRENT_LEN_AT = 16,
	DIRENT_TYPE_AT = 18,
	DIRENT_NAME_AT = 19,
};

enum {
	MEMFD_CLOSE_ON_EXEC = 1,
	DIR_DEPTH_MAX = PATH_MAX / 2, /* no path leads deeper */
};

/* struct statx of the kernel (Linux 4.11; the attribute: 5.8), which not every C library has. */
enum {
	STATX_ATTRIBUTES_AT = 8,
	STATX_LEN = 256,
	STATX_MOUNT_ROOT = 0x2000,
	STATX_EMPTY_PATH = 0x1000,
};

/* C libraries of before these calls do not know their numbers; then it is as on a kernel of before. */
static int dir_memory_file(void)
{
#ifdef SYS_memfd_create
	return (int)syscall(SYS_memfd_create, "etchlet", MEMFD_CLOSE_ON_EXEC);
#else
	errno = ENOSYS;
	return -1;
#endif
}

static int dir_swap(int a_dir, const char *a, int b_dir, const char *b)
{
#ifdef SYS_renameat2
	return (int)syscall(SYS_renameat2, a_dir, a, b_dir, b, RENAME_EXCHANGE);
#else
	(void)a_dir;
	(void)a;
	(void)b_dir;
	(void)b;
	errno = ENOSYS;
	return -1;
#endif
}

/* The attributes of an open file; 0 where there is no such call. */
static uint64_t dir_attributes(int fd)
{
	uint64_t attributes = 0;
#ifdef SYS_statx
	_Alignas(8) uint8_t got[STATX_LEN];

	if (syscall(SYS_statx, fd, "", STATX_EMPTY_PATH, 0, got) == 0)
		memcpy(&attributes, got + STATX_ATTRIBUTES_AT, sizeof(attributes));
#else
	(void)fd;
#endif
	return attributes;
}

static int dir_err(int errnum)
{
	switch (errnum) {
	case ELOOP: /* O_NOFOLLOW met a link */
	case ENOTDIR:
	case ENXIO: /* a FIFO or a device that nobody serves: no regular file */
		return ERR_NOENT;
	case ENOSYS:
	case EOPNOTSUPP:
	case EXDEV:
	case EMLINK:
		return ERR_UNSUPPORTED;
	default:
		return err_from_errno(errnum);
	}
}

static int dir_open_at(int dir, const char *name, int flags)
{
	int fd;

	do
		fd = openat(dir, name, flags | O_CLOEXEC | O_NOCTTY | O_NONBLOCK, 0600);
	while (fd < 0 && errno == EINTR);
	return fd < 0 ? dir_err(errno) : fd;
}

/* Each folder of the path that is missing. What can't be made shows when the last one is opened. */
static int dir_make_all(const char *path, mode_t mode)
{
	char part[PATH_MAX];
	size_t len = strlen(path);

	if (len >= sizeof(part))
		return ERR_LIMIT;
	for (size_t i = 1; i <= len; i++) {
		if (path[i] && path[i] != '/')
			continue;
		memcpy(part, path, i);
		part[i] = '\0';
		if (mkdir(part, mode) && errno != EEXIST && i == len)
			return dir_err(errno);
	}
	return 0;
}

int port_dir_open(const char *path, uint32_t mode)
{
	int fd = dir_open_at(AT_FDCWD, path, O_RDONLY | O_DIRECTORY), err;

	if (fd != ERR_NOENT || !mode)
		return fd;
	err = dir_make_all(path, (mode_t)mode);
	return err ? err : dir_open_at(AT_FDCWD, path, O_RDONLY | O_DIRECTORY);
}

static bool dir_is_same(const struct stat *a, const struct stat *b)
{
	return a->st_ino == b->st_ino && a->st_dev == b->st_dev;
}

int port_dir_is_at(int dir, const char *path)
{
	struct stat ours, there;

	if (fstat(dir, &ours))
		return dir_err(errno);
	if (stat(path, &there))
		return errno == ENOENT || errno == ENOTDIR ? 0 : dir_err(errno);
	return dir_is_same(&ours, &there);
}

/* Upwards by "..": where the folder really lies, whatever links led to it. */
int port_dir_is_inside(int dir, int outer)
{
	struct stat sought, here, above;
	int at = dir, result = ERR_LIMIT;

	if (fstat(outer, &sought) || fstat(dir, &here))
		return dir_err(errno);
	for (int i = 0; i < DIR_DEPTH_MAX && result == ERR_LIMIT; i++) {
		int up;

		if (dir_is_same(&here, &sought)) {
			result = 1;
		} else if (fstatat(at, "..", &above, 0)) {
			result = dir_err(errno);
		} else if (dir_is_same(&here, &above)) {
			result = 0; /* the root */
		} else {
			up = dir_open_at(at, "..", O_PATH | O_DIRECTORY);
			if (at != dir)
				port_dir_close(at);
			at = up;
			if (up < 0)
				result = up;
			here = above;
		}
	}
	if (at != dir)
		port_dir_close(at);
	return result;
}

int port_dir_lock(int dir)
{
	while (flock(dir, LOCK_EX | LOCK_NB)) {
		if (errno == EWOULDBLOCK)
			return ERR_LOCKED;
		if (errno != EINTR)
			return dir_err(errno);
	}
	return 0;
}

/* To look at something is no reason to write to the disk when that was. */
static int dir_open_quietly(int dir, const char *name, int flags)
{
	int fd = dir_open_at(dir, name, flags | O_NOFOLLOW | O_NOATIME);

	/* Only the owner may ask for that. */
	return fd == ERR_ACCESS ? dir_open_at(dir, name, flags | O_NOFOLLOW) : fd;
}

int port_dir_enter(int dir, const char *name)
{
	return dir_open_quietly(dir, name, O_RDONLY | O_DIRECTORY);
}

int port_dir_make(int dir, const char *name, uint32_t mode)
{
	if (!mkdirat(dir, name, (mode_t)mode))
		return 0;
	return errno == EEXIST ? 1 : dir_err(errno);
}

int port_dir_create(int dir, const char *name)
{
	int fd = dir_open_at(dir, name, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW);

	return fd < 0 && errno == EEXIST ? ERR_LOCKED : fd;
}

int port_dir_create_unnamed(int dir)
{
	int fd;

	if (dir < 0) {
		fd = dir_memory_file();
		return fd < 0 ? dir_err(errno) : fd;
	}
	fd = dir_open_at(dir, ".", O_RDWR | O_TMPFILE | O_EXCL);
	if (fd >= 0)
		return fd;
	/* Not every file system has it, and before Linux 3.11 none: then the name is taken away. */
	if (port_dir_unlink(dir, "unnamed"))
		return fd;
	fd = port_dir_create(dir, "unnamed");
	if (fd >= 0 && unlinkat(dir, "unnamed", 0)) {
		int err = dir_err(errno);

		(void)close(fd);
		return err;
	}
	return fd;
}

static void dir_stat_take(struct port_stat *st, const struct stat *from)
{
	*st = (struct port_stat){
		.node = S_ISREG(from->st_mode)   ? PORT_NODE_FILE
			: S_ISDIR(from->st_mode) ? PORT_NODE_FOLDER
						 : PORT_NODE_OTHER,
		.mode = from->st_mode & 07777,
		.uid = from->st_uid,
		.gid = from->st_gid,
		.links = from->st_nlink > UINT32_MAX ? UINT32_MAX : (uint32_t)from->st_nlink,
		.len = from->st_size > 0 ? (uint64_t)from->st_size : 0,
		.mtime_s = from->st_mtim.tv_sec,
		.mtime_ns = (uint32_t)from->st_mtim.tv_nsec,
		.device = from->st_dev,
	};
}

/* Takes what was opened if it is a regular file. */
static int dir_take_file(int fd, struct port_stat *st)
{
	int err;

	if (fd < 0)
		return fd;
	err = port_fd_query(fd, st);
	if (!err && st->node != PORT_NODE_FILE)
		err = ERR_NOENT;
	if (err) {
		(void)close(fd);
		return err;
	}
	return fd;
}

int port_dir_open_file(int dir, const char *name, struct port_stat *st)
{
	return dir_take_file(dir_open_quietly(dir, name, O_RDONLY), st);
}

int port_dir_open_update(int dir, const char *name, struct port_stat *st)
{
	return dir_take_file(dir_open_at(dir, name, O_RDWR | O_NOFOLLOW), st);
}

int port_dir_query(int dir, const char *name, struct port_stat *st)
{
	struct stat got;

	*st = (struct port_stat){.node = PORT_NODE_NONE};
	if (fstatat(dir, name, &got, AT_SYMLINK_NOFOLLOW))
		return errno == ENOENT ? 0 : dir_err(errno);
	dir_stat_take(st, &got);
	return 0;
}

int port_fd_query(int fd, struct port_stat *st)
{
	struct stat got;

	*st = (struct port_stat){.node = PORT_NODE_NONE};
	if (fstat(fd, &got))
		return dir_err(errno);
	dir_stat_take(st, &got);
	return 0;
}

int port_dir_is_mount(int dir)
{
	return (dir_attributes(dir) & STATX_MOUNT_ROOT) != 0;
}

int port_dir_rename(int from_dir, const char *from, int to_dir, const char *to)
{
	return renameat(from_dir, from, to_dir, to) ? dir_err(errno) : 0;
}

int port_dir_exchange(int a_dir, const char *a, int b_dir, const char *b)
{
	if (!dir_swap(a_dir, a, b_dir, b))
		return 0;
	/* EINVAL: the file system does not know the flag. */
	return errno == EINVAL ? ERR_UNSUPPORTED : dir_err(errno);
}

int port_dir_link(int from_dir, const char *from, int to_dir, const char *to)
{
	if (!linkat(from_dir, from, to_dir, to, 0))
		return 0;
	/* EPERM: the file system has no links, or the file is protected from them. */
	return errno == EPERM ? ERR_UNSUPPORTED : dir_err(errno);
}

int port_dir_unlink(int dir, const char *name)
{
	return unlinkat(dir, name, 0) && errno != ENOENT ? dir_err(errno) : 0;
}

int port_dir_remove(int dir, const char *name)
{
	if (!unlinkat(dir, name, AT_REMOVEDIR) || errno == ENOENT)
		return 0;
	return errno == ENOTEMPTY || errno == EEXIST ? 1 : dir_err(errno);
}

static int dir_sync_result(int result)
{
	/* What cannot be synchronised has no storage behind it. */
	return result && errno != EINVAL && errno != EROFS ? dir_err(errno) : 0;
}

int port_dir_sync(int dir)
{
	return dir_sync_result(fsync(dir));
}

int port_dir_sync_all(int dir)
{
	return dir_sync_result(syncfs(dir));
}

int port_dir_list_begin(struct port_dir_list *list, int dir)
{
	list->dir = dir;
	list->at = list->len = 0;
	return lseek(dir, 0, SEEK_SET) < 0 ? dir_err(errno) : 0;
}

static enum port_node dir_node_of(const struct port_dir_list *list, const char *name, uint8_t type)
{
	struct port_stat st;

	switch (type) {
	case 4: /* DT_DIR and DT_REG: the same numbers on every architecture */
		return PORT_NODE_FOLDER;
	case 8:
		return PORT_NODE_FILE;
	case 0: /* DT_UNKNOWN: the file system does not tell it here */
		return port_dir_query(list->dir, name, &st) ? PORT_NODE_OTHER : st.node;
	default:
		return PORT_NODE_OTHER;
	}
}

int port_dir_list_next(struct port_dir_list *list, const char **name, enum port_node *node)
{
	for (;;) {
		const uint8_t *entry;
		uint16_t len;

		if (list->at >= list->len) {
			long n = syscall(
				SYS_getdents64, list->dir, list->bytes, sizeof(list->bytes));

			if (n <= 0)
				return n < 0 ? dir_err(errno) : 0;
			list->at = 0;
			list->len = (uint32_t)n;
		}
		entry = list->bytes + list->at;
		memcpy(&len, entry + DIRENT_LEN_AT, sizeof(len));
		list->at += len;
		*name = (const char *)entry + DIRENT_NAME_AT;
		if (strcmp(*name, ".") == 0 || strcmp(*name, "..") == 0)
			continue;
		*node = dir_node_of(list, *name, entry[DIRENT_TYPE_AT]);
		if (*node != PORT_NODE_NONE)
			return 1;
	}
}

ssize_t port_fd_read_at(int fd, uint64_t offset, void *dst, size_t len)
{
	ssize_t n;

	do
		n = pread(fd, dst, len, (off_t)offset);
	while (n < 0 && errno == EINTR);
	return n < 0 ? dir_err(errno) : n;
}

ssize_t port_fd_write_at(int fd, uint64_t offset, const void *src, size_t len)
{
	ssize_t n;

	do
		n = pwrite(fd, src, len, (off_t)offset);
	while (n < 0 && errno == EINTR);
	return n < 0 ? dir_err(errno) : n;
}

int port_fd_reserve(int fd, uint64_t len)
{
	int result;

	do
		result = fallocate(fd, FALLOC_FL_KEEP_SIZE, 0, (off_t)len);
	while (result && errno == EINTR);
	if (!result || (errno != ENOSPC && errno != EDQUOT && errno != EFBIG))
		return 0;
	return ERR_NOSPACE;
}

int port_fd_space(int fd, uint64_t *len)
{
	struct statvfs st;

	if (fstatvfs(fd, &st))
		return dir_err(errno);
	*len = (uint64_t)st.f_bavail * (st.f_frsize ? st.f_frsize : st.f_bsize);
	return 0;
}

int port_fd_cut(int fd, uint64_t len)
{
	int result;

	do
		result = ftruncate(fd, (off_t)len);
	while (result && errno == EINTR);
	return result ? dir_err(errno) : 0;
}

int port_fd_sync(int fd)
{
	int result;

	do
		result = fdatasync(fd);
	while (result && errno == EINTR);
	return dir_sync_result(result);
}

int port_fd_set_mode(int fd, uint32_t mode)
{
	return fchmod(fd, (mode_t)mode) ? dir_err(errno) : 0;
}

int port_fd_set_owner(int fd, uint32_t uid, uint32_t gid)
{
	return fchown(fd, (uid_t)uid, (gid_t)gid) ? dir_err(errno) : 0;
}

void port_dir_close(int fd)
{
	/* What counts was synchronised before: close can tell nothing that anybody waits for. */
	if (fd >= 0)
		(void)close(fd);
}

void port_boot_id(char *dst, size_t cap)
{
	ssize_t n = cap ? port_file_read("/proc/sys/kernel/random/boot_id", dst, cap - 1) : 0;

	if (!cap)
		return;
	while (n > 0 && (uint8_t)dst[n - 1] <= ' ')
		n--;
	dst[n > 0 ? n : 0] = '\0';
}
