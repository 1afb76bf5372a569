/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Output that never blocks.
 *
 * O_NONBLOCK belongs to the open file, which standard output shares with the shell and everybody
 * else who holds the terminal or pipe: set here, it would break them. So the same pipe or terminal
 * is opened once more, through /proc, for an open file of our own. Where that is refused (no /proc,
 * a pipe of another user) bytes go out in pieces that a writable pipe takes whole.
 */
#define _GNU_SOURCE
#include "port/port.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/err.h"

enum { CUT_STEP_LEN = 4096 }; /* how much is read at once in search of the last line's end */

static int output_open_stdout(struct port_output *o)
{
	struct stat st;

	if (fstat(STDOUT_FILENO, &st))
		return err_from_errno(errno);
	o->fd = STDOUT_FILENO;
	if (S_ISREG(st.st_mode)) {
		o->is_file = true;
	} else if (S_ISSOCK(st.st_mode)) {
		o->is_socket = true;
	} else {
		int fd = open("/proc/self/fd/1", O_WRONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);

		if (fd >= 0) {
			o->fd = fd;
			o->is_owned = true;
		}
	}
	return 0;
}

/* Where the last whole line of the file ends: 0 and more, or an error. */
static off_t output_find_cut(int fd, off_t size)
{
	char step[CUT_STEP_LEN];

	while (size > 0) {
		size_t len = size < CUT_STEP_LEN ? (size_t)size : CUT_STEP_LEN;
		off_t from = size - (off_t)len;
		ssize_t n = pread(fd, step, len, from);

		if (n < 0 && errno == EINTR)
			continue;
		if (n != (ssize_t)len)
			return n < 0 ? err_from_errno(errno) : ERR_IO;
		while (len && step[len - 1] != '\n')
			len--;
		if (len)
			return from + (off_t)len;
		size = from;
	}
	return 0;
}

/* A power cut may have left a line without its end: what is appended would be glued to it. */
static int output_cut_torn_line(int fd, const char *path, const struct stat *st)
{
	struct stat same;
	int reader, err = 0;
	off_t cut;

	if (st->st_size == 0)
		return 0;
	reader = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	if (reader < 0)
		return err_from_errno(errno);
	if (fstat(reader, &same))
		err = err_from_errno(errno);
	else if (same.st_ino != st->st_ino || same.st_dev != st->st_dev)
		err = ERR_IO; /* replaced between the two opens: the next try sees one file */
	cut = err ? err : output_find_cut(reader, st->st_size);
	(void)close(reader);
	if (cut < 0)
		return (int)cut;
	if (cut < st->st_size && ftruncate(fd, cut))
		return err_from_errno(errno);
	return 0;
}

static int output_open_path(struct port_output *o, const char *path)
{
	struct stat st;
	int err = 0;
	int fd =
		open(path, O_WRONLY | O_APPEND | O_CREAT | O_NONBLOCK | O_NOCTTY | O_CLOEXEC, 0644);

	if (fd < 0)
		return errno == ENXIO ? ERR_AGAIN : err_from_errno(errno);
	if (fstat(fd, &st))
		err = err_from_errno(errno);
	else if (S_ISREG(st.st_mode))
		err = output_cut_torn_line(fd, path, &st);
	if (err) {
		(void)close(fd);
		return err;
	}
	o->fd = fd;
	o->is_owned = true;
	o->is_file = S_ISREG(st.st_mode);
	return 0;
}

int port_output_open(struct port_output *o, const char *path)
{
	*o = (struct port_output){.fd = -1};
	return strcmp(path, "-") == 0 ? output_open_stdout(o) : output_open_path(o, path);
}

ssize_t port_output_write(struct port_output *o, const void *src, size_t len)
{
	ssize_t n;

	if (o->fd < 0)
		return ERR_BUG;
	do {
		if (o->is_socket) {
			n = send(o->fd, src, len, MSG_DONTWAIT | MSG_NOSIGNAL);
		} else if (o->is_owned || o->is_file) {
			n = write(o->fd, src, len);
		} else {
			/* An open file that others share and that may block: POSIX promises that a
			 * pipe which polls writable takes PIPE_BUF bytes. */
			struct pollfd p = {.fd = o->fd, .events = POLLOUT};
			int ready = poll(&p, 1, 0);

			if (ready == 0)
				return ERR_AGAIN;
			n = ready < 0 ? -1 : write(o->fd, src, len < PIPE_BUF ? len : PIPE_BUF);
		}
	} while (n < 0 && errno == EINTR);
	if (n < 0 && errno == ECONNRESET)
		return ERR_PIPE;
	return n < 0 ? err_from_errno(errno) : n;
}

int port_output_sync(struct port_output *o)
{
	if (o->fd < 0 || !o->is_file)
		return 0;
	while (fdatasync(o->fd)) {
		if (errno == EINVAL || errno == EROFS)
			return 0; /* what cannot be synchronised has no storage behind it */
		if (errno != EINTR)
			return err_from_errno(errno);
	}
	return 0;
}

void port_output_close(struct port_output *o)
{
	/* What counts was synchronised before: close can tell nothing that anybody waits for. */
	if (o->is_owned && o->fd >= 0)
		(void)close(o->fd);
	*o = (struct port_output){.fd = -1};
}
