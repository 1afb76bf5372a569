/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Flash as a plain file.
 *
 * A new file is made under the name PATH.new, written in full and synced, and then renamed, so that
 * there is never a half-made one. The lock (flock) belongs to the inode, so it is taken before the
 * rename and lasts through it. Two agents that start at once both want PATH.new: whoever has it
 * locked makes the file, the other one is told that it is in use. A PATH.new that nobody has locked
 * was left by a power cut; it is unlinked, not truncated, as it and PATH may share an inode on a
 * file system that lost power in a rename (JFFS2).
 */
#define _GNU_SOURCE
#include "port/port.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "base/err.h"

enum {
	FILL_LEN = 256, /* bytes written at once */
	LOCK_LINE_MAX = 128, /* of /proc/locks */
	TRIES = 8, /* rounds of losing to another process before it counts as "in use" */
};

static int write_at(int fd, uint64_t offset, const void *src, size_t len)
{
	const uint8_t *p = src;

	while (len) {
		ssize_t n = pwrite(fd, p, len, (off_t)offset);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? err_from_errno(errno) : ERR_IO;
		p += n;
		len -= (size_t)n;
		offset += (size_t)n;
	}
	return 0;
}

static int fill(int fd, uint64_t offset, uint64_t end, uint8_t byte)
{
	uint8_t bytes[FILL_LEN];
	int err = 0;

	memset(bytes, byte, sizeof(bytes));
	for (; !err && offset < end; offset += FILL_LEN)
		err = write_at(fd, offset, bytes,
			end - offset < FILL_LEN ? (size_t)(end - offset) : FILL_LEN);
	return err;
}

static int sync_fd(int fd)
{
	int ret;

	do
		ret = fsync(fd);
	while (ret && errno == EINTR);
	return ret ? err_from_errno(errno) : 0;
}

/* dst becomes the folder that path lies in. */
static void parent_of(char dst[PATH_MAX], const char *path)
{
	(void)snprintf(dst, PATH_MAX, "%s", path);
	if (!port_path_cut(dst))
		memcpy(dst, ".", 2);
}

/* What a rename did in the folder of path is on storage after it. */
static int sync_parent(const char *path)
{
	char parent[PATH_MAX];
	int fd, err;

	parent_of(parent, path);
	fd = open(parent, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	/* A folder that may be written but not read. */
	if (fd < 0)
		return errno == EACCES ? 0 : err_from_errno(errno);
	/* EINVAL: a file system without anything to sync in a folder. */
	err = fsync(fd) && errno != EINVAL ? err_from_errno(errno) : 0;
	(void)close(fd);
	return err;
}

static int make_parent(const char *path)
{
	char parent[PATH_MAX];
	struct stat st;

	parent_of(parent, path);
	if (mkdir(parent, 0755) == 0)
		return sync_parent(parent);
	if (errno != EEXIST)
		return err_from_errno(errno);
	/* Another agent made it just now; or it is a link that leads nowhere. */
	return stat(parent, &st) ? err_from_errno(errno) : 0;
}

static int append_suffix(char dst[PATH_MAX], const char *path, const char *suffix)
{
	int len = snprintf(dst, PATH_MAX, "%s%s", path, suffix);

	return len < 0 || len >= PATH_MAX ? ERR_CONFIG : 0;
}

/* 0 when fd is locked now and is still what path names; ERR_AGAIN when it is not. */
static int lock(int fd, const char *path)
{
	struct stat a, b;

	if (flock(fd, LOCK_EX | LOCK_NB))
		return errno == EWOULDBLOCK ? ERR_LOCKED : err_from_errno(errno);
	if (fstat(fd, &a))
		return err_from_errno(errno);
	if (lstat(path, &b))
		return errno == ENOENT ? ERR_AGAIN : err_from_errno(errno);
	return a.st_dev == b.st_dev && a.st_ino == b.st_ino ? 0 : ERR_AGAIN;
}

/* Makes path, which does not exist, and locks it. A descriptor, or ERR_AGAIN to try again. */
static int make_locked(const char *path)
{
	int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0644);
	int err;

	if (fd >= 0) {
		err = lock(fd, path);
		if (!err)
			return fd;
		(void)close(fd);
		return err;
	}
	if (errno == ENOENT) {
		err = make_parent(path);
		return err ? err : ERR_AGAIN;
	}
	if (errno != EEXIST)
		return err_from_errno(errno);
	fd = open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	/* Gone meanwhile: what has the name by now may be somebody's who holds its lock. */
	if (fd < 0 && errno == ENOENT)
		return ERR_AGAIN;
	err = fd < 0 ? 0 : lock(fd, path);
	if (!err && unlink(path) && errno != ENOENT)
		err = err_from_errno(errno);
	if (fd >= 0)
		(void)close(fd);
	return err ? err : ERR_AGAIN;
}

/* Leaves what is at path under PATH.damaged as well, or, without hard links, only there. */
static int put_aside(const char *path)
{
	char aside[PATH_MAX];
	int err = append_suffix(aside, path, ".damaged");

	if (err)
		return err;
	if (unlink(aside) && errno != ENOENT)
		return err_from_errno(errno);
	if (link(path, aside) && rename(path, aside))
		return err_from_errno(errno);
	return 0;
}

/*
 * Makes path anew, locked: len bytes of src, then erased up to size. is_renewed: what is there is
 * put aside; else there must be nothing or an empty file. A descriptor, or ERR_AGAIN.
 */
static int make(const char *path, uint64_t size, const void *src, size_t len, bool is_renewed)
{
	char temp[PATH_MAX];
	struct stat st;
	bool is_ours = true;
	int fd, err = append_suffix(temp, path, ".new");

	if (err)
		return err;
	fd = make_locked(temp);
	if (fd < 0)
		return fd;
	/* Nobody but the owner of this lock makes the file, so it stays as it is seen here. */
	if (!is_renewed && lstat(path, &st) == 0 && (!S_ISREG(st.st_mode) || st.st_size))
		err = ERR_AGAIN;
	if (!err)
		err = fill(fd, 0, size, 0xff);
	if (!err)
		err = write_at(fd, 0, src, len);
	if (!err)
		err = sync_fd(fd);
	if (!err && is_renewed)
		err = put_aside(path);
	if (!err && rename(temp, path)) {
		/* Taken away, by one who took it for a left-over that cannot be opened. */
		is_ours = errno != ENOENT;
		err = is_ours ? err_from_errno(errno) : ERR_AGAIN;
	}
	if (err) {
		if (is_ours)
			(void)unlink(temp);
		(void)close(fd);
		return err;
	}
	err = sync_parent(path);
	if (err)
		(void)close(fd);
	return err ? err : fd;
}

static int check_kind(struct port_flash *f, const struct stat *st)
{
	if (S_ISREG(st->st_mode)) {
		if ((uint64_t)st->st_size <= UINT32_MAX)
			return 0;
		f->why = "too large for a state file";
		return ERR_CONFIG;
	}
	if (S_ISCHR(st->st_mode)) {
		f->why = "raw flash devices are not supported by this build";
		return ERR_UNSUPPORTED;
	}
	f->why = S_ISDIR(st->st_mode)   ? "is a folder"
		 : S_ISLNK(st->st_mode) ? "is a symbolic link"
					: "is not a plain file";
	return ERR_CONFIG;
}

static int open_existing(struct port_flash *f, const char *path, enum port_flash_mode mode)
{
	int flags = O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC;
	struct stat st;
	int fd = -1, err;

	f->is_readonly = mode == PORT_FLASH_READ;
	if (f->is_readonly)
		flags &= ~O_NOFOLLOW;
	else
		fd = open(path, O_RDWR | flags);
	if (!f->is_readonly && fd < 0 && (errno == EROFS || errno == EACCES))
		f->is_readonly = true;
	if (f->is_readonly)
		fd = open(path, O_RDONLY | flags);
	if (fd < 0)
		return errno == ENOENT && mode == PORT_FLASH_UPDATE ? ERR_AGAIN
								    : err_from_errno(errno);
	err = mode == PORT_FLASH_READ ? 0 : lock(fd, path);
	if (!err)
		err = fstat(fd, &st) ? err_from_errno(errno) : check_kind(f, &st);
	if (err) {
		(void)close(fd);
		return err;
	}
	f->size = (uint32_t)st.st_size;
	return fd;
}

static uint32_t sectors_size(const struct port_flash *f)
{
	return f->sector_size * f->sector_count;
}

/* One try. A descriptor, or an error. */
static int open_once(struct port_flash *f, const char *path, enum port_flash_mode mode)
{
	struct stat st;
	int fd, err;

	f->is_new = f->is_readonly = false;
	f->why = NULL;
	if (mode == PORT_FLASH_READ ? stat(path, &st) : lstat(path, &st)) {
		if (errno != ENOENT)
			return err_from_errno(errno);
		if (mode == PORT_FLASH_READ)
			return ERR_NOENT;
		st.st_size = 0;
	} else {
		err = check_kind(f, &st);
		if (err)
			return err;
	}
	if (st.st_size || mode == PORT_FLASH_READ)
		return open_existing(f, path, mode);
	fd = make(path, sectors_size(f), NULL, 0, false);
	f->is_new = fd >= 0;
	f->size = sectors_size(f);
	return fd;
}

int port_flash_open(struct port_flash *f, const char *path, enum port_flash_mode mode,
	uint32_t sector_size, uint32_t sector_count)
{
	int fd = ERR_AGAIN;

	memset(f, 0, sizeof(*f));
	f->sector_size = sector_size;
	f->sector_count = sector_count;
	f->fill = 0xff;
	for (int i = 0; fd == ERR_AGAIN && i < TRIES; i++)
		fd = open_once(f, path, mode);
	if (fd < 0)
		return fd == ERR_AGAIN ? ERR_LOCKED : fd;
	f->fd = fd;
	f->is_open = true;
	return 0;
}

int port_flash_fit(struct port_flash *f)
{
	int err;

	if (f->is_device || f->is_readonly || f->size >= sectors_size(f))
		return 0;
	err = fill(f->fd, f->size, sectors_size(f), f->fill);
	if (!err)
		err = sync_fd(f->fd);
	if (!err)
		f->size = sectors_size(f);
	return err;
}

int port_flash_renew(struct port_flash *f, const char *path, const void *src, uint32_t len)
{
	int fd;

	if (f->is_device)
		return ERR_UNSUPPORTED;
	if (f->is_readonly)
		return ERR_READONLY;
	fd = ERR_AGAIN;
	for (int i = 0; fd == ERR_AGAIN && i < TRIES; i++)
		fd = make(path, sectors_size(f), src, len, true);
	if (fd < 0)
		return fd == ERR_AGAIN ? ERR_LOCKED : fd;
	/* The old file stays locked until the new one is there under its name. */
	(void)close(f->fd);
	f->fd = fd;
	f->is_new = true;
	f->size = sectors_size(f);
	return 0;
}

int port_flash_read(struct port_flash *f, uint32_t offset, void *dst, uint32_t len)
{
	uint8_t *p = dst;

	while (len) {
		ssize_t n = pread(f->fd, p, len, (off_t)offset);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return ERR_IO;
		if (n == 0) {
			memset(p, f->fill, len);
			break;
		}
		p += n;
		len -= (uint32_t)n;
		offset += (uint32_t)n;
	}
	return 0;
}

int port_flash_program(struct port_flash *f, uint32_t offset, const void *src, uint32_t len)
{
	return f->is_readonly ? ERR_READONLY : write_at(f->fd, offset, src, len);
}

int port_flash_erase(struct port_flash *f, uint32_t sector)
{
	uint64_t at = (uint64_t)sector * f->sector_size;

	return f->is_readonly ? ERR_READONLY : fill(f->fd, at, at + f->sector_size, 0xff);
}

int port_flash_sync(struct port_flash *f)
{
	int ret;

	/* The size never changes: the data alone matters. */
	do
		ret = fdatasync(f->fd);
	while (ret && errno == EINTR);
	return ret ? err_from_errno(errno) : 0;
}

/* "1: FLOCK  ADVISORY  WRITE 712 08:01:1234 0 EOF": the number before the file, which is file. */
static int64_t holder_of(const char *line, const char *file)
{
	const char *p = strstr(line, file);
	int64_t pid = 0;

	if (!p || !strstr(line, "FLOCK"))
		return 0;
	while (p > line && p[-1] >= '0' && p[-1] <= '9')
		p--;
	for (; *p >= '0' && *p <= '9' && pid < INT32_MAX; p++)
		pid = pid * 10 + (*p - '0');
	return pid;
}

int64_t port_fd_lock_holder(int fd)
{
	char line[LOCK_LINE_MAX], file[LOCK_LINE_MAX];
	struct stat st;
	FILE *locks;
	int64_t pid = 0;

	if (fstat(fd, &st))
		return 0;
	(void)snprintf(file, sizeof(file), " %02x:%02x:%" PRIu64 " ", major(st.st_dev),
		minor(st.st_dev), (uint64_t)st.st_ino);
	locks = fopen("/proc/locks", "re");
	while (locks && !pid && fgets(line, sizeof(line), locks))
		pid = holder_of(line, file);
	if (locks)
		(void)fclose(locks);
	return pid;
}

int64_t port_flash_holder(const struct port_flash *f)
{
	return f->is_open ? port_fd_lock_holder(f->fd) : 0;
}

void port_flash_close(struct port_flash *f)
{
	if (f->is_open)
		(void)close(f->fd);
	f->is_open = false;
}
