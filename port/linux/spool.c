/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A spool: a memfd, then a file without a name. It is written and read by offsets, never by the
 * descriptor's own place, for a copy of the descriptor shares that.
 */
#define _GNU_SOURCE
#include "port/port.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/err.h"

enum {
	SPOOL_COPY_LEN = 4096, /* what moves from memory to the file at once */
	SPOOL_TRIES = 16, /* names that are tried */
};

void port_fd_close(int fd)
{
	/* Nothing that counts was written to it: a failing close loses nothing. */
	if (fd >= 0)
		(void)close(fd);
}

void port_spool_init(struct port_spool *s, const char *folder, uint64_t mem_max)
{
	*s = (struct port_spool){.folder = folder, .mem_max = mem_max, .fd = -1};
}

/* Where the file system has no O_TMPFILE: made under a name that nobody can foresee, which is taken
 * away at once. Returns the descriptor, or an error. */
static int spool_make_named(const char *folder)
{
	char path[PATH_MAX];

	for (int i = 0; i < SPOOL_TRIES; i++) {
		uint32_t random[2];
		int fd, len, err;

		if (port_random(random, sizeof(random))) {
			random[0] = (uint32_t)getpid();
			random[1] = (uint32_t)port_now_ms() + (uint32_t)i;
		}
		len = snprintf(path, sizeof(path), "%s/.etchlet-%08lx%08lx", folder,
			(unsigned long)random[0], (unsigned long)random[1]);
		if (len < 0 || (size_t)len >= sizeof(path))
			return ERR_NOENT;
		fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
		if (fd < 0 && errno == EEXIST)
			continue;
		if (fd < 0)
			return err_from_errno(errno);
		if (!unlink(path))
			return fd;
		err = err_from_errno(errno);
		(void)close(fd);
		return err;
	}
	return ERR_IO;
}

/* A descriptor, or an error. */
static int spool_make_file(const char *folder)
{
	int fd;

	if (!folder)
		return ERR_NOSPACE;
	fd = open(folder, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	if (fd >= 0)
		return fd;
	/* EISDIR: a kernel that does not know it; the others: a file system. */
	if (errno != EISDIR && errno != EOPNOTSUPP && errno != EINVAL && errno != ENOSYS)
		return err_from_errno(errno);
	return spool_make_named(folder);
}

static int spool_open(struct port_spool *s)
{
	int fd = memfd_create("etchlet-spool", MFD_CLOEXEC);

	s->is_file = false;
	/* Unknown to the kernel, or forbidden by who runs us. */
	if (fd < 0 && (errno == ENOSYS || errno == EPERM || errno == EACCES)) {
		fd = spool_make_file(s->folder);
		if (fd < 0)
			return fd;
		s->is_file = true;
	}
	if (fd < 0)
		return err_from_errno(errno);
	s->fd = fd;
	s->is_open = true;
	s->len = 0;
	return 0;
}

/* Bytes written, fewer when the rest could not be; an error when none were. */
static ssize_t spool_write(int fd, const uint8_t *p, size_t len, uint64_t offset)
{
	size_t done = 0;

	while (done < len) {
		ssize_t n = pwrite(fd, p + done, len - done, (off_t)(offset + done));

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0 && !done)
			return n < 0 ? err_from_errno(errno) : ERR_IO;
		if (n <= 0)
			break;
		done += (size_t)n;
	}
	return (ssize_t)done;
}

/* From memory to a file. After an error all is as it was. */
static int spool_move(struct port_spool *s)
{
	int fd = spool_make_file(s->folder);
	uint8_t step[SPOOL_COPY_LEN];
	uint64_t at = 0;

	if (fd < 0)
		return fd;
	while (at < s->len) {
		ssize_t n = port_spool_read(s, at, step, sizeof(step));
		ssize_t put = n > 0 ? spool_write(fd, step, (size_t)n, at) : ERR_IO;

		if (n <= 0 || put != n) {
			(void)close(fd);
			return n > 0 && put < 0 ? (int)put : n > 0 ? ERR_NOSPACE : ERR_IO;
		}
		at += (uint64_t)n;
	}
	(void)close(s->fd);
	s->fd = fd;
	s->is_file = true;
	return 0;
}

ssize_t port_spool_append(struct port_spool *s, const void *src, size_t len)
{
	ssize_t n;
	int err;

	if (!s->is_open) {
		err = spool_open(s);
		if (err)
			return err;
	}
	if (!s->is_file && s->len + len > s->mem_max) {
		err = spool_move(s);
		if (err)
			return err;
	}
	n = spool_write(s->fd, src, len, s->len);
	if (n > 0)
		s->len += (uint64_t)n;
	return n;
}

ssize_t port_spool_read(const struct port_spool *s, uint64_t offset, void *dst, size_t len)
{
	ssize_t n;

	if (!s->is_open || offset >= s->len)
		return 0;
	if (len > s->len - offset)
		len = (size_t)(s->len - offset);
	do {
		n = pread(s->fd, dst, len, (off_t)offset);
	} while (n < 0 && errno == EINTR);
	/* What was appended is there, or it is not our file any more. */
	return n > 0 ? n : ERR_IO;
}

int port_spool_reader(struct port_spool *s)
{
	char path[sizeof("/proc/self/fd/") + 12];
	int fd, err;

	if (!s->is_open) {
		err = spool_open(s);
		if (err)
			return err;
	}
	(void)snprintf(path, sizeof(path), "/proc/self/fd/%d", s->fd);
	/* Its own place in it, and no right to write. */
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd >= 0)
		return fd;
	if (errno == EMFILE || errno == ENFILE)
		return ERR_NOMEM;
	/* Without /proc: all copies share one place, so it is set for this reader. */
	fd = fcntl(s->fd, F_DUPFD_CLOEXEC, 0);
	if (fd < 0)
		return err_from_errno(errno);
	if (lseek(fd, 0, SEEK_SET) < 0) {
		(void)close(fd);
		return ERR_IO;
	}
	return fd;
}

int port_spool_cut(struct port_spool *s, uint64_t len)
{
	if (len >= s->len)
		return 0;
	if (ftruncate(s->fd, (off_t)len))
		return ERR_IO;
	s->len = len;
	return 0;
}

void port_spool_clear(struct port_spool *s)
{
	if (s->is_open) {
		/* A program may have left something behind that holds it for ever. */
		(void)!ftruncate(s->fd, 0);
		(void)close(s->fd);
	}
	s->fd = -1;
	s->len = 0;
	s->is_open = s->is_file = false;
}
