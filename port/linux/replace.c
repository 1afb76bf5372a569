/* SPDX-License-Identifier: Apache-2.0 */
/* Files that are replaced as a whole, and nothing of which is precious. */
#define _GNU_SOURCE
#include "port/port.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/err.h"

static int replace_new_path(char dst[PATH_MAX], const char *path)
{
	int n = snprintf(dst, PATH_MAX, "%s.new", path);

	return n < 0 || n >= PATH_MAX ? ERR_LIMIT : 0;
}

int port_replace_begin(struct port_replace *r, const char *path, uint32_t mode)
{
	char new_path[PATH_MAX];
	int err = replace_new_path(new_path, path);

	*r = (struct port_replace){.path = path, .fd = -1};
	if (err)
		return err;
	/* What an earlier run left is removed, not reused: on JFFS2 it may share its inode with the file. And no link
	 * that somebody put there is followed. */
	if (unlink(new_path) && errno != ENOENT)
		return err_from_errno(errno);
	r->fd = open(new_path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (r->fd < 0)
		return err_from_errno(errno);
	if (fchmod(r->fd, (mode_t)mode)) {
		err = err_from_errno(errno);
		port_replace_abort(r);
	}
	return err;
}

int port_replace_write(struct port_replace *r, const void *src, size_t len)
{
	const uint8_t *p = src;

	if (r->fd < 0)
		return ERR_BUG;
	while (len) {
		ssize_t n = write(r->fd, p, len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? err_from_errno(errno) : ERR_IO;
		p += n;
		len -= (size_t)n;
	}
	return 0;
}

int port_replace_commit(struct port_replace *r)
{
	char new_path[PATH_MAX];
	int err = replace_new_path(new_path, r->path);

	if (err || r->fd < 0)
		return err ? err : ERR_BUG;
	if (close(r->fd) && errno != EINTR)
		err = err_from_errno(errno);
	r->fd = -1;
	if (!err && rename(new_path, r->path))
		err = err_from_errno(errno);
	if (err)
		(void)unlink(new_path);
	return err;
}

void port_replace_abort(struct port_replace *r)
{
	char new_path[PATH_MAX];

	if (r->fd < 0)
		return;
	(void)close(r->fd);
	r->fd = -1;
	if (!replace_new_path(new_path, r->path))
		(void)unlink(new_path);
}

int port_file_remove(const char *path)
{
	return unlink(path) && errno != ENOENT ? err_from_errno(errno) : 0;
}
