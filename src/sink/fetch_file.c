/* SPDX-License-Identifier: Apache-2.0 */
/* The files of DIR/.etchlet. Each is written under another name and renamed, so that it is there whole or not at all. */
#include "sink/fetch_private.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/crc32.h"
#include "base/err.h"

#define IDENTITY "identity"
#define NEW "new"
#define LEFT_OUT "left-out"
#define PART_SUFFIX ".part"
#define IDENTITY_HEAD "etchlet fetch 1\nidentity "

enum {
	NUMBER_LEN = 16,
	IDENTITY_AT = sizeof(IDENTITY_HEAD) - 1,
	IDENTITY_MAX = IDENTITY_AT + NUMBER_LEN + 32,
	HASH_TEXT_LEN = 2 * FETCH_HASH_LEN,
};

static int write_all(int fd, const uint8_t *p, size_t len)
{
	for (size_t at = 0; at < len;) {
		ssize_t n = port_fd_write_at(fd, at, p + at, len - at);

		if (n <= 0)
			return n ? (int)n : ERR_IO;
		at += (size_t)n;
	}
	return 0;
}

int fetch_file_clear(int dir, const char *name)
{
	struct port_stat st;
	int err = port_dir_query(dir, name, &st);

	if (err || st.node == PORT_NODE_NONE)
		return err;
	if (st.node != PORT_NODE_FOLDER)
		return port_dir_unlink(dir, name);
	err = port_dir_remove(dir, name);
	return err > 0 ? ERR_LOCKED : err;
}

static int replace(struct fetch_sink *f, const char *name, const void *src, size_t len)
{
	int err = fetch_file_clear(f->own, NEW), fd;

	if (err)
		return err;
	fd = port_dir_create(f->own, NEW);
	if (fd < 0)
		return fd;
	err = write_all(fd, src, len);
	if (!err && !f->cfg.is_relaxed)
		err = port_fd_sync(fd);
	port_dir_close(fd);
	if (!err)
		err = port_dir_rename(f->own, NEW, f->own, name);
	f->is_unsynced = true;
	return err;
}

/* A small file: its length, or an error. */
static ssize_t read_all(int dir, const char *name, void *dst, size_t cap)
{
	struct port_stat st;
	size_t at = 0;
	ssize_t n = 1;
	int fd = port_dir_open_file(dir, name, &st);

	if (fd < 0)
		return fd;
	while (n > 0 && at < cap) {
		n = port_fd_read_at(fd, at, (uint8_t *)dst + at, cap - at);
		at += n > 0 ? (size_t)n : 0;
	}
	port_dir_close(fd);
	return n < 0 ? n : (ssize_t)at;
}

/* -- the identity ----------------------------------------------------------------------------- */

static size_t print_identity(char dst[IDENTITY_MAX], uint64_t identity)
{
	int n = snprintf(dst, IDENTITY_MAX, IDENTITY_HEAD "%016" PRIx64 "\n", identity);

	n += snprintf(dst + n, IDENTITY_MAX - (size_t)n, "crc %08" PRIx32 "\n",
		crc32_update(0, dst, (size_t)n));
	return (size_t)n;
}

static int digit_of(char c)
{
	return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

int fetch_identity_read(struct fetch_sink *f)
{
	char text[IDENTITY_MAX], again[IDENTITY_MAX];
	ssize_t len = read_all(f->own, IDENTITY, text, sizeof(text));
	uint64_t identity = 0;

	f->kept_identity = 0;
	if (len < 0)
		return len == ERR_NOENT ? 0 : (int)len;
	for (int i = 0; i < NUMBER_LEN && len >= IDENTITY_AT + NUMBER_LEN; i++)
		identity = identity << 4 | (uint64_t)(digit_of(text[IDENTITY_AT + i]) & 15);
	/* Put together again it is the same, or it is not right. */
	if (print_identity(again, identity) == (size_t)len && memcmp(text, again, (size_t)len) == 0)
		f->kept_identity = identity;
	return 0;
}

int fetch_identity_write(struct fetch_sink *f)
{
	char text[IDENTITY_MAX];
	int err = replace(f, IDENTITY, text, print_identity(text, f->sink.identity));

	if (!err)
		f->kept_identity = f->sink.identity;
	return err;
}

int fetch_identity_renew(struct fetch_sink *f)
{
	uint64_t identity = 0;
	int err = 0;

	while (!identity && !err)
		err = port_random(&identity, sizeof(identity));
	if (!err)
		err = fetch_file_clear(f->own, IDENTITY);
	if (!err && !f->cfg.is_relaxed)
		err = port_dir_sync(f->own);
	if (err)
		return err;
	f->sink.identity = identity;
	f->kept_identity = 0;
	return 0;
}

/* -- records ---------------------------------------------------------------------------------- */

static void print_hash(char dst[HASH_TEXT_LEN + 1], const uint8_t hash[FETCH_HASH_LEN])
{
	static const char digits[] = "0123456789abcdef";

	for (int i = 0; i < FETCH_HASH_LEN; i++) {
		dst[2 * i] = digits[hash[i] >> 4];
		dst[2 * i + 1] = digits[hash[i] & 15];
	}
	dst[HASH_TEXT_LEN] = '\0';
}

void fetch_left_out_set(struct fetch_sink *f)
{
	int fd;

	if (f->is_left_out)
		return;
	f->is_left_out = true;
	fd = port_dir_create(f->own, LEFT_OUT);
	if (fd >= 0)
		port_dir_close(fd);
}

void fetch_left_out_clear(struct fetch_sink *f)
{
	f->is_left_out = false;
	(void)port_dir_unlink(f->own, LEFT_OUT);
}

bool fetch_left_out_read(const struct fetch_sink *f)
{
	struct port_stat st;

	return !port_dir_query(f->own, LEFT_OUT, &st) && st.node != PORT_NODE_NONE;
}

bool fetch_file_parse(const char *name, uint8_t hash[FETCH_HASH_LEN], bool *is_part)
{
	size_t len = strlen(name);

	*is_part = len > HASH_TEXT_LEN && strcmp(name + HASH_TEXT_LEN, PART_SUFFIX) == 0;
	if (len != HASH_TEXT_LEN && !*is_part)
		return false;
	for (int i = 0; i < FETCH_HASH_LEN; i++) {
		int high = digit_of(name[2 * i]), low = digit_of(name[2 * i + 1]);

		if (high < 0 || low < 0)
			return false;
		hash[i] = (uint8_t)(high << 4 | low);
	}
	return true;
}

const char *fetch_part_name(char dst[FETCH_FILE_NAME_MAX], const uint8_t hash[FETCH_HASH_LEN])
{
	_Static_assert(HASH_TEXT_LEN + sizeof(PART_SUFFIX) <= FETCH_FILE_NAME_MAX, "a name fits");

	print_hash(dst, hash);
	memcpy(dst + HASH_TEXT_LEN, PART_SUFFIX, sizeof(PART_SUFFIX));
	return dst;
}

int fetch_record_read(
	const struct fetch_sink *f, const uint8_t hash[FETCH_HASH_LEN], struct fetch_record *r)
{
	uint8_t bytes[FETCH_RECORD_MAX + 1];
	char name[HASH_TEXT_LEN + 1];
	ssize_t len;

	print_hash(name, hash);
	*r = (struct fetch_record){0};
	len = read_all(f->own, name, bytes, sizeof(bytes));
	if (len < 0)
		return (int)len;
	return fetch_record_decode(r, bytes, (size_t)len, hash) ? 0 : ERR_HISTORY;
}

int fetch_record_write(struct fetch_sink *f, struct fetch_record *r)
{
	uint8_t bytes[FETCH_RECORD_MAX];
	char name[HASH_TEXT_LEN + 1];

	print_hash(name, r->hash);
	return replace(f, name, bytes, fetch_record_encode(bytes, r));
}

int fetch_record_remove(struct fetch_sink *f, const uint8_t hash[FETCH_HASH_LEN])
{
	char name[HASH_TEXT_LEN + 1];

	print_hash(name, hash);
	f->is_unsynced = true;
	return port_dir_unlink(f->own, name);
}

int fetch_part_remove(struct fetch_sink *f, const uint8_t hash[FETCH_HASH_LEN])
{
	char name[FETCH_FILE_NAME_MAX];

	return fetch_file_clear(f->own, fetch_part_name(name, hash));
}
