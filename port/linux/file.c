/* SPDX-License-Identifier: Apache-2.0 */
/* Small files, read whole. */
#define _GNU_SOURCE
#include "port/port.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/err.h"

ssize_t port_file_read(const char *path, void *dst, size_t cap)
{
	/* O_NONBLOCK: a FIFO by mistake must not hold the program. */
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	uint8_t *p = dst;
	size_t len = 0;
	ssize_t ret;

	if (fd < 0)
		return err_from_errno(errno);
	for (;;) {
		uint8_t one_more;
		ssize_t n = len < cap ? read(fd, p + len, cap - len) : read(fd, &one_more, 1);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0) {
			/* EAGAIN, a pipe without data: nothing that a later call would find changed. */
			ret = errno == EAGAIN ? ERR_IO : err_from_errno(errno);
			break;
		}
		if (n == 0) {
			ret = (ssize_t)len;
			break;
		}
		if (len == cap) {
			ret = ERR_LIMIT;
			break;
		}
		len += (size_t)n;
	}
	/* Nothing was written: a failing close loses nothing. */
	(void)close(fd);
	return ret;
}

bool port_folder_exists(const char *path)
{
	struct stat st;

	return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

bool port_file_exists(const char *path)
{
	struct stat st;

	return stat(path, &st) == 0 && !S_ISDIR(st.st_mode);
}

ssize_t port_path_absolute(const char *path, char *dst, size_t cap)
{
	size_t at = 0, len = strlen(path);

	if (!cap)
		return ERR_LIMIT;
	if (path[0] != '/') {
		if (!getcwd(dst, cap))
			return errno == ERANGE ? ERR_LIMIT : err_from_errno(errno);
		/* Linux: "(unreachable)/..." for a folder outside of our root. */
		if (dst[0] != '/')
			return ERR_NOENT;
		at = strlen(dst);
		if (at > 1 && at < cap)
			dst[at++] = '/';
	}
	if (len >= cap - at)
		return ERR_LIMIT;
	memcpy(dst + at, path, len + 1);
	return (ssize_t)(at + len);
}

static int check_access(const char *path, int mode)
{
	return access(path, mode) ? err_from_errno(errno) : 0;
}

size_t port_path_cut(char *path)
{
	size_t len = strlen(path);

	while (len && path[len - 1] != '/')
		len--;
	while (len > 1 && path[len - 1] == '/')
		len--;
	path[len] = '\0';
	return len;
}

int port_file_check_write(const char *path)
{
	char folder[PATH_MAX];
	size_t len = strlen(path);

	if (access(path, F_OK) == 0)
		return check_access(path, W_OK);
	if (len >= sizeof(folder))
		return ERR_LIMIT;
	memcpy(folder, path, len + 1);
	/* The nearest folder that is there. */
	do {
		len = port_path_cut(folder);
	} while (len > 1 && access(folder, F_OK) != 0);
	return check_access(len ? folder : ".", W_OK | X_OK);
}
