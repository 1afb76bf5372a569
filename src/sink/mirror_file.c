/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A value is compared with the file that is there as long as they are equal, and only what differs
 * is written. So an event that is repeated, and a listing of what is there already, write nothing.
 *
 * Flash with bad blocks: a file that cannot be read on differs from there on. When what was equal
 * cannot be read a second time, so that a part of the value is nowhere any more, everything is listed anew, and this
 * file is replaced without a look at it.
 */
#include "sink/mirror_private.h"

#include <string.h>

#include "base/err.h"
#include "base/siphash.h"

enum {
	COPY_SLICE_LEN = 128 * 1024, /* copied before the loop gets its turn */
};

uint8_t mirror_chunk[MIRROR_CHUNK_LEN];

void mirror_drop_event(struct mirror_sink *m)
{
	port_dir_close(m->old_fd);
	if (m->new_fd >= 0) {
		port_dir_close(m->new_fd);
		/* If it stays, the next one clears it away. */
		(void)port_dir_unlink(m->own, MIRROR_NEW);
	}
	m->old_fd = m->new_fd = -1;
	m->len = m->copied = 0;
}

/* JFFS2 may leave a temporary file and its target as one inode after a power cut: what was left is
 * removed, and never written to. */
int mirror_file_begin(struct mirror_sink *m, uint64_t value_len)
{
	int err = mirror_tree_clear(m, m->own, MIRROR_NEW), fd;

	if (err)
		return err;
	fd = port_dir_create(m->own, MIRROR_NEW);
	if (fd < 0)
		return fd;
	/* A disk that is full says so before the value is fetched. */
	err = value_len > MIRROR_CHUNK_LEN ? port_fd_reserve(fd, value_len) : 0;
	if (err) {
		port_dir_close(fd);
		(void)port_dir_unlink(m->own, MIRROR_NEW);
		return err;
	}
	m->new_fd = fd;
	return 0;
}

int mirror_file_write(int fd, uint64_t offset, const void *src, size_t len)
{
	const uint8_t *p = src;

	while (len) {
		ssize_t n = port_fd_write_at(fd, offset, p, len);

		if (n <= 0)
			return n ? (int)n : ERR_IO;
		p += n;
		offset += (uint64_t)n;
		len -= (size_t)n;
	}
	return 0;
}

/* Of a key; never 0. */
static uint64_t key_hash(const struct etcd_event *e)
{
	static const uint64_t key[2] = {0x756e, 0x72656164};

	return siphash(key, e->key, e->key_len) | 1;
}

bool mirror_file_is_unread(const struct mirror_sink *m, const struct etcd_event *e)
{
	return m->unread && m->unread == key_hash(e);
}

int mirror_file_copy(struct mirror_sink *m, const struct etcd_event *e)
{
	uint64_t until = m->copied + COPY_SLICE_LEN;
	int err = m->new_fd < 0 ? mirror_file_begin(m, e->value_len) : 0;

	while (!err && m->copied < m->len) {
		uint64_t left = m->len - m->copied;
		ssize_t n;

		if (m->copied >= until) {
			loop_timer_set(m->cfg.loop, &m->job_timer, 0);
			return ERR_AGAIN;
		}
		n = port_fd_read_at(m->old_fd, m->copied, mirror_chunk,
			left < MIRROR_CHUNK_LEN ? (size_t)left : MIRROR_CHUNK_LEN);
		if (n <= 0) {
			m->unread = key_hash(e);
			return mirror_lose(
				m, n ? (int)n : ERR_IO, "a file in it cannot be read any more");
		}
		err = mirror_file_write(m->new_fd, m->copied, mirror_chunk, (size_t)n);
		if (!err)
			m->copied += (uint64_t)n;
	}
	if (err)
		return err;
	port_dir_close(m->old_fd);
	m->old_fd = -1;
	m->state = MIRROR_WRITE;
	return 0;
}

ssize_t mirror_file_compare(struct mirror_sink *m, const uint8_t *p, size_t len)
{
	ssize_t n = port_fd_read_at(
		m->old_fd, m->len, mirror_chunk, len < MIRROR_CHUNK_LEN ? len : MIRROR_CHUNK_LEN);
	size_t same = 0;

	if (n < 0)
		return 0;
	if (memcmp(p, mirror_chunk, (size_t)n) == 0)
		return n;
	while (p[same] == mirror_chunk[same])
		same++;
	return (ssize_t)same;
}

int mirror_file_place(
	struct mirror_sink *m, const struct etcd_event *e, const char *path, size_t len)
{
	struct port_stat st;
	int err = 0;

	if (m->cfg.has_owner)
		err = port_fd_set_owner(m->new_fd, m->cfg.uid, m->cfg.gid);
	if (!err)
		err = port_fd_set_mode(m->new_fd, m->cfg.mode);
	if (!err && !m->cfg.is_relaxed)
		err = port_fd_sync(m->new_fd);
	if (!err)
		err = port_fd_query(m->new_fd, &st);
	if (!err)
		err = mirror_tree_put(m, path, len, &st);
	if (err)
		return err;
	port_dir_close(m->new_fd);
	m->new_fd = -1;
	if (mirror_file_is_unread(m, e))
		m->unread = 0;
	return 0;
}
