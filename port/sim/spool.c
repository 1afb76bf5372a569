/* SPDX-License-Identifier: Apache-2.0 */
/* The simulated device runs no programs, so nothing is kept or printed for them. */
#include "base/err.h"
#include "port/sim/internal.h"

void port_fd_close(int fd)
{
	(void)fd;
}

void port_spool_init(struct port_spool *s, const char *folder, uint64_t mem_max)
{
	*s = (struct port_spool){.folder = folder, .mem_max = mem_max, .fd = -1};
}

ssize_t port_spool_append(struct port_spool *s, const void *src, size_t len)
{
	(void)s;
	(void)src;
	(void)len;
	return ERR_UNSUPPORTED;
}

ssize_t port_spool_read(const struct port_spool *s, uint64_t offset, void *dst, size_t len)
{
	(void)s;
	(void)offset;
	(void)dst;
	(void)len;
	return 0;
}

int port_spool_reader(struct port_spool *s)
{
	(void)s;
	return ERR_UNSUPPORTED;
}

int port_spool_cut(struct port_spool *s, uint64_t len)
{
	(void)s;
	(void)len;
	return ERR_UNSUPPORTED;
}

void port_spool_clear(struct port_spool *s)
{
	s->len = 0;
}

int port_pipe_open(struct port_pipe *p)
{
	*p = (struct port_pipe){.read_fd = -1, .write_fd = -1};
	return ERR_UNSUPPORTED;
}

ssize_t port_pipe_read(int fd, void *dst, size_t len)
{
	(void)fd;
	(void)dst;
	(void)len;
	return ERR_CLOSED;
}

bool port_child_has_ended(const struct port_child *c)
{
	(void)c;
	return true;
}

void port_child_abandon(struct port_child *c)
{
	c->pid = 0;
}

int port_child_check(const char *argv0)
{
	(void)argv0;
	return ERR_NOENT;
}

ssize_t port_path_absolute(const char *path, char *dst, size_t cap)
{
	(void)path;
	(void)dst;
	(void)cap;
	return ERR_NOENT;
}
