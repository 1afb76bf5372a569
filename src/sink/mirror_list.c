/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The paths that were listed, as 64-bit hashes under a random key: however many there are, they take
 * a small buffer, and a spool of 8 bytes each that the system keeps in its memory as long as it is
 * short, and then in a file without a name in DIR/.etchlet.
 *
 * They are looked up in one table that all mirrors share. When they do not fit, the range of the
 * hashes is cut in parts, and the tree is walked once for each.
 */
#include "sink/mirror_private.h"

#include <string.h>

#include "base/err.h"
#include "base/siphash.h"

enum {
	TABLE_LEN = CONFIG_MIRROR_LIST_ENTRIES,
	TABLE_FILL = TABLE_LEN / 4 * 3, /* more makes looking up slow */
	HASH_LEN = 8,
};

/* 0: free. Only the one walk that there is uses it. */
static uint64_t table[TABLE_LEN];

static uint64_t hash_of(const struct mirror_sink *m, const char *path, size_t len)
{
	uint64_t hash = siphash(m->listed.key, path, len);

	return hash ? hash : 1;
}

static uint32_t part_of(uint64_t hash, uint32_t n)
{
	return (uint32_t)((hash & UINT32_MAX) * n >> 32);
}

/* The slot that holds the hash, or the free one where it belongs. */
static uint64_t *slot_of(uint64_t hash)
{
	size_t at = (size_t)((hash >> 32) * TABLE_LEN >> 32);

	while (table[at] && table[at] != hash)
		at = at + 1 == TABLE_LEN ? 0 : at + 1;
	return &table[at];
}

void mirror_list_end(struct mirror_sink *m)
{
	port_dir_close(m->listed.fd);
	m->listed.fd = -1;
	m->listed.is_on_disk = false;
	m->listed.buffered = 0;
	m->listed.spooled = 0;
}

int mirror_list_begin(struct mirror_sink *m)
{
	mirror_list_end(m);
	return port_random(m->listed.key, sizeof(m->listed.key));
}

static int read_all(int fd, uint64_t offset, void *dst, size_t len)
{
	uint8_t *p = dst;

	while (len) {
		ssize_t n = port_fd_read_at(fd, offset, p, len);

		if (n <= 0)
			return n ? (int)n : ERR_IO;
		p += n;
		offset += (uint64_t)n;
		len -= (size_t)n;
	}
	return 0;
}

/* From memory to a file. */
static int move_to_disk(struct mirror_sink *m)
{
	uint64_t total = m->listed.spooled * HASH_LEN;
	int fd = port_dir_create_unnamed(m->own), err = 0;

	if (fd < 0)
		return fd;
	for (uint64_t at = 0; at < total && !err;) {
		size_t n = total - at < MIRROR_CHUNK_LEN ? (size_t)(total - at) : MIRROR_CHUNK_LEN;

		err = read_all(m->listed.fd, at, mirror_chunk, n);
		if (!err)
			err = mirror_file_write(fd, at, mirror_chunk, n);
		at += n;
	}
	if (err) {
		port_dir_close(fd);
		return err;
	}
	port_dir_close(m->listed.fd);
	m->listed.fd = fd;
	m->listed.is_on_disk = true;
	return 0;
}

static int flush(struct mirror_sink *m)
{
	struct mirror_listed *l = &m->listed;
	int err = 0;

	if (l->fd < 0) {
		l->fd = port_dir_create_unnamed(-1);
		l->is_on_disk = l->fd < 0;
		if (l->fd < 0)
			l->fd = port_dir_create_unnamed(m->own);
		if (l->fd < 0)
			return l->fd;
	}
	if (!l->is_on_disk && l->spooled + l->buffered > CONFIG_MIRROR_LIST_MEMORY_BYTES / HASH_LEN)
		err = move_to_disk(m);
	if (!err)
		err = mirror_file_write(
			l->fd, l->spooled * HASH_LEN, l->buffer, l->buffered * HASH_LEN);
	if (err)
		return err;
	l->spooled += l->buffered;
	l->buffered = 0;
	return 0;
}

int mirror_list_add(struct mirror_sink *m, const char *path, size_t len)
{
	if (m->listed.buffered == MIRROR_LIST_BUFFER) {
		int err = flush(m);

		if (err)
			return err;
	}
	m->listed.buffer[m->listed.buffered++] = hash_of(m, path, len);
	return 0;
}

uint32_t mirror_list_parts(const struct mirror_sink *m)
{
	uint64_t n = (m->listed.spooled + m->listed.buffered + TABLE_FILL - 1) / TABLE_FILL;

	return n == 0 ? 1 : n < UINT32_MAX ? (uint32_t)n : UINT32_MAX;
}

static int table_add(uint64_t hash, uint32_t i, uint32_t n, uint32_t *count)
{
	uint64_t *slot;

	if (part_of(hash, n) != i)
		return 0;
	slot = slot_of(hash);
	if (!*slot && ++*count == TABLE_LEN)
		return ERR_LIMIT;
	*slot = hash;
	return 0;
}

int mirror_list_load(struct mirror_sink *m, uint32_t i, uint32_t n)
{
	uint64_t total = m->listed.spooled * HASH_LEN;
	uint32_t count = 0;
	int err = 0;

	memset(table, 0, sizeof(table));
	for (uint64_t at = 0; at < total && !err;) {
		size_t len =
			total - at < MIRROR_CHUNK_LEN ? (size_t)(total - at) : MIRROR_CHUNK_LEN;

		err = read_all(m->listed.fd, at, mirror_chunk, len);
		for (size_t k = 0; k < len && !err; k += HASH_LEN) {
			uint64_t hash;

			memcpy(&hash, mirror_chunk + k, HASH_LEN);
			err = table_add(hash, i, n, &count);
		}
		at += len;
	}
	for (uint32_t k = 0; k < m->listed.buffered && !err; k++)
		err = table_add(m->listed.buffer[k], i, n, &count);
	return err;
}

int mirror_list_has(
	const struct mirror_sink *m, const char *path, size_t len, uint32_t i, uint32_t n)
{
	uint64_t hash = hash_of(m, path, len);

	if (part_of(hash, n) != i)
		return -1;
	return *slot_of(hash) != 0;
}
