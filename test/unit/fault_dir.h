/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A fault, or a kill, at every single call of the port's that is about folders and files.
 *
 * The platform's calls are taken in under other names, and those that are made count, fail
 * once, or fail for ever from the n-th on, which is what a kill at that point leaves on the disk. Included by one file of a
 * test program, before everything that calls the port.
 */
#ifndef ETCHLET_TEST_FAULT_DIR_H
#define ETCHLET_TEST_FAULT_DIR_H

#include "port/port.h"

/* X(name, parameters, arguments): all that return an int */
#define CALLS(X) \
	X(port_dir_open, (const char *path, uint32_t mode), (path, mode)) \
	X(port_dir_is_at, (int dir, const char *path), (dir, path)) \
	X(port_dir_is_inside, (int dir, int outer), (dir, outer)) \
	X(port_dir_lock, (int dir), (dir)) \
	X(port_dir_enter, (int dir, const char *name), (dir, name)) \
	X(port_dir_make, (int dir, const char *name, uint32_t mode), (dir, name, mode)) \
	X(port_dir_create, (int dir, const char *name), (dir, name)) \
	X(port_dir_create_unnamed, (int dir), (dir)) \
	X(port_dir_open_file, (int dir, const char *name, struct port_stat *st), (dir, name, st)) \
	X(port_dir_open_update, (int dir, const char *name, struct port_stat *st), \
		(dir, name, st)) \
	X(port_dir_query, (int dir, const char *name, struct port_stat *st), (dir, name, st)) \
	X(port_fd_query, (int fd, struct port_stat *st), (fd, st)) \
	X(port_dir_rename, (int from_dir, const char *from, int to_dir, const char *to), \
		(from_dir, from, to_dir, to)) \
	X(port_dir_exchange, (int a_dir, const char *a, int b_dir, const char *b), \
		(a_dir, a, b_dir, b)) \
	X(port_dir_link, (int from_dir, const char *from, int to_dir, const char *to), \
		(from_dir, from, to_dir, to)) \
	X(port_dir_unlink, (int dir, const char *name), (dir, name)) \
	X(port_dir_remove, (int dir, const char *name), (dir, name)) \
	X(port_dir_sync, (int dir), (dir)) \
	X(port_dir_sync_all, (int dir), (dir)) \
	X(port_dir_list_begin, (struct port_dir_list * list, int dir), (list, dir)) \
	X(port_dir_list_next, \
		(struct port_dir_list * list, const char **name, enum port_node *node), \
		(list, name, node)) \
	X(port_fd_reserve, (int fd, uint64_t len), (fd, len)) \
	X(port_fd_space, (int fd, uint64_t *len), (fd, len)) \
	X(port_fd_cut, (int fd, uint64_t len), (fd, len)) \
	X(port_fd_sync, (int fd), (fd)) \
	X(port_fd_set_mode, (int fd, uint32_t mode), (fd, mode)) \
	X(port_fd_set_owner, (int fd, uint32_t uid, uint32_t gid), (fd, uid, gid))

#define X(name, params, args) int real_##name params;
CALLS(X)
#undef X
ssize_t real_port_fd_read_at(int fd, uint64_t offset, void *dst, size_t len);
ssize_t real_port_fd_write_at(int fd, uint64_t offset, const void *src, size_t len);

#define port_dir_open real_port_dir_open
#define port_dir_is_at real_port_dir_is_at
#define port_dir_is_inside real_port_dir_is_inside
#define port_dir_lock real_port_dir_lock
#define port_dir_enter real_port_dir_enter
#define port_dir_make real_port_dir_make
#define port_dir_create real_port_dir_create
#define port_dir_create_unnamed real_port_dir_create_unnamed
#define port_dir_open_file real_port_dir_open_file
#define port_dir_open_update real_port_dir_open_update
#define port_dir_query real_port_dir_query
#define port_fd_query real_port_fd_query
#define port_dir_rename real_port_dir_rename
#define port_dir_exchange real_port_dir_exchange
#define port_dir_link real_port_dir_link
#define port_dir_unlink real_port_dir_unlink
#define port_dir_remove real_port_dir_remove
#define port_dir_sync real_port_dir_sync
#define port_dir_sync_all real_port_dir_sync_all
#define port_dir_list_begin real_port_dir_list_begin
#define port_dir_list_next real_port_dir_list_next
#define port_fd_reserve real_port_fd_reserve
#define port_fd_cut real_port_fd_cut
#define port_fd_space real_port_fd_space
#define port_fd_sync real_port_fd_sync
#define port_fd_set_mode real_port_fd_set_mode
#define port_fd_set_owner real_port_fd_set_owner
#define port_fd_read_at real_port_fd_read_at
#define port_fd_write_at real_port_fd_write_at
#include "port/linux/dir.c"
#undef port_dir_open
#undef port_dir_is_at
#undef port_dir_is_inside
#undef port_dir_lock
#undef port_dir_enter
#undef port_dir_make
#undef port_dir_create
#undef port_dir_create_unnamed
#undef port_dir_open_file
#undef port_dir_open_update
#undef port_dir_query
#undef port_fd_query
#undef port_dir_rename
#undef port_dir_exchange
#undef port_dir_link
#undef port_dir_unlink
#undef port_dir_remove
#undef port_dir_sync
#undef port_dir_sync_all
#undef port_dir_list_begin
#undef port_dir_list_next
#undef port_fd_reserve
#undef port_fd_cut
#undef port_fd_space
#undef port_fd_sync
#undef port_fd_set_mode
#undef port_fd_set_owner
#undef port_fd_read_at
#undef port_fd_write_at

#include <string.h>
#include <sys/stat.h>

enum fault_kind {
	FAULT_ONCE, /* the call fails, and what follows works */
	FAULT_KILL_BEFORE, /* nothing works any more */
	FAULT_KILL_AFTER, /* the same, but this one call was done */
	FAULT_KINDS,
};

static struct {
	bool is_armed;
	enum fault_kind kind;
	int code;
	int at; /* calls until it happens */
	bool has_happened;
	bool is_dead;
	bool has_no_exchange, has_no_link;
	ino_t bad_file; /* whose bytes from bad_from on cannot be read, when bad_after reads were right; 0: none */
	uint64_t bad_from;
	int bad_after;
	bool is_cut; /* it ends there, instead */
} fault;

/* Whether this call fails. is_done: it is carried out all the same. */
static bool fault_now(bool *is_done)
{
	*is_done = false;
	if (fault.is_dead)
		return true;
	if (!fault.is_armed || fault.has_happened || fault.at-- > 0)
		return false;
	fault.has_happened = true;
	*is_done = fault.kind == FAULT_KILL_AFTER;
	fault.is_dead = fault.kind != FAULT_ONCE;
	return true;
}

static bool is_missing(const char *call)
{
	return (fault.has_no_exchange && strcmp(call, "port_dir_exchange") == 0) ||
	       (fault.has_no_link && strcmp(call, "port_dir_link") == 0);
}

static bool is_slow(const char *call)
{
	return strstr(call, "_sync") != NULL;
}

#define X(name, params, args) \
	int name params \
	{ \
		bool is_done; \
		bool is_fault = fault_now(&is_done); \
		int ret = fault.code; \
		if (is_missing(#name)) \
			ret = ERR_UNSUPPORTED; \
		else if (is_slow(#name)) \
			ret = is_fault ? fault.code : 0; \
		else if (!is_fault || is_done) \
			ret = real_##name args; \
		return ret; \
	}
CALLS(X)
#undef X

ssize_t port_fd_read_at(int fd, uint64_t offset, void *dst, size_t len)
{
	bool is_done;

	if (fault.bad_file) {
		struct stat st;

		assert_int_equal(fstat(fd, &st), 0);
		if (st.st_ino == fault.bad_file && fault.bad_after-- <= 0 &&
			offset + len > fault.bad_from)
			return fault.is_cut ? 0 : ERR_IO;
	}
	return fault_now(&is_done) ? fault.code : real_port_fd_read_at(fd, offset, dst, len);
}

ssize_t port_fd_write_at(int fd, uint64_t offset, const void *src, size_t len)
{
	bool is_done;
	ssize_t n = fault.code;

	/* A kill leaves a part of what was to be written. */
	if (!fault_now(&is_done))
		n = real_port_fd_write_at(fd, offset, src, len);
	else if (is_done)
		n = real_port_fd_write_at(fd, offset, src, len / 2);
	return n;
}

#endif
