/* SPDX-License-Identifier: Apache-2.0 */
/*
 * DIR/.etchlet/identity: a few lines of text at fixed places, which end with their CRC.
 *
 * The record is clean when the tree is what its digest says, and is written anew, as not clean,
 * before the tree changes. A clean stop and a few seconds of rest make it clean again; with changes that never
 * rest for so long nothing is written. The order in which record and tree reach storage does not matter: a digest
 * that does not match leads to a full listing, which is never wrong.
 *
 * After a kill or a power cut in between, the tree is taken as it is: what somebody changed in it since then, and
 * what was changed before while the agent ran, is not noticed until the next full synchronisation. With
 * durability normal a power cut itself loses nothing that a position covers. With relaxed it may, also the bytes of
 * a file whose length and time are right: so each record but that of a clean stop names the boot it was written
 * in, and another one makes it void.
 */
#include "sink/mirror_private.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/crc32.h"
#include "base/err.h"
#include "base/siphash.h"

#define HEAD "etchlet mirror 1\nidentity "

enum {
	NUMBER_LEN = 16,
	IDENTITY_AT = sizeof(HEAD) - 1,
	SETUP_AT = IDENTITY_AT + NUMBER_LEN + 7, /* "\nsetup " */
	DIGEST_AT = SETUP_AT + NUMBER_LEN + 8, /* "\ndigest " */
	CLEAN_AT = DIGEST_AT + NUMBER_LEN + 7, /* "\nclean " */
	BOOT_AT = CLEAN_AT + 1 + 6, /* "\nboot " */
	TEXT_MAX = BOOT_AT + MIRROR_BOOT_MAX + 16, /* "\ncrc 01234567\n" */
};

static int print_record(char dst[TEXT_MAX], const struct mirror_record *r)
{
	int n = snprintf(dst, TEXT_MAX,
		HEAD "%016" PRIx64 "\nsetup %016" PRIx64 "\ndigest %016" PRIx64
		     "\nclean %d\nboot %s\n",
		r->identity, r->setup, r->digest, r->is_clean, r->boot);

	return n + snprintf(dst + n, TEXT_MAX - (size_t)n, "crc %08" PRIx32 "\n",
			   crc32_update(0, (const uint8_t *)dst, (size_t)n));
}

static uint64_t hex_at(const char *text, int at)
{
	uint64_t v = 0;

	for (int i = 0; i < NUMBER_LEN; i++) {
		char c = text[at + i];

		v = v << 4 | (uint64_t)(c >= '0' && c <= '9'   ? c - '0'
					: c >= 'a' && c <= 'f' ? c - 'a' + 10
							       : 0);
	}
	return v;
}

/* Takes the text apart, puts it together again, and so it is right or it is not. */
static void parse_record(struct mirror_record *r, const char *text, size_t len)
{
	char again[TEXT_MAX];
	const char *end;

	*r = (struct mirror_record){0};
	if (len < BOOT_AT)
		return;
	end = memchr(text + BOOT_AT, '\n', len - BOOT_AT);
	if (!end || end - text - BOOT_AT >= MIRROR_BOOT_MAX)
		return;
	r->identity = hex_at(text, IDENTITY_AT);
	r->setup = hex_at(text, SETUP_AT);
	r->digest = hex_at(text, DIGEST_AT);
	r->is_clean = text[CLEAN_AT] == '1';
	memcpy(r->boot, text + BOOT_AT, (size_t)(end - text) - BOOT_AT);
	if (print_record(again, r) != (int)len || memcmp(text, again, len) != 0)
		*r = (struct mirror_record){0};
}

static uint64_t setup_of(const struct mirror_sink *m)
{
	static const uint64_t key[2] = {0x6574, 0x63686c6574};
	char text[64];
	int n = snprintf(text, sizeof(text), "%" PRIo32 " %d %" PRIu32 " %" PRIu32, m->cfg.mode,
		m->cfg.has_owner, m->cfg.uid, m->cfg.gid);
	uint64_t of_key = siphash(key, m->cfg.key, m->cut);

	return siphash(key, text, (size_t)n) ^ (of_key << 1 | of_key >> 63);
}

static void boot_of(
	const struct mirror_sink *m, enum mirror_record_kind kind, char dst[MIRROR_BOOT_MAX])
{
	dst[0] = '\0';
	if (m->cfg.is_relaxed && kind != MIRROR_RECORD_LAST)
		port_boot_id(dst, MIRROR_BOOT_MAX);
	for (char *p = dst; *p; p++) {
		if (*p < ' ')
			*p = '?';
	}
	if (!dst[0])
		snprintf(dst, MIRROR_BOOT_MAX, "-");
}

int mirror_id_read(struct mirror_sink *m)
{
	char text[TEXT_MAX];
	struct port_stat st;
	ssize_t n;
	int fd = port_dir_open_file(m->own, MIRROR_ID, &st);

	m->record = (struct mirror_record){0};
	if (fd < 0)
		return fd == ERR_NOENT ? 0 : fd;
	n = port_fd_read_at(fd, 0, text, sizeof(text));
	port_dir_close(fd);
	if (n < 0)
		return (int)n;
	parse_record(&m->record, text, (size_t)n);
	return 0;
}

bool mirror_id_is_good(const struct mirror_sink *m)
{
	const struct mirror_record *r = &m->record;
	char boot[MIRROR_BOOT_MAX];

	if (!r->identity || r->setup != setup_of(m))
		return false;
	if (strcmp(r->boot, "-") == 0)
		return true;
	port_boot_id(boot, sizeof(boot));
	return strcmp(r->boot, boot) == 0;
}

int mirror_id_renew(struct mirror_sink *m)
{
	uint64_t identity = 0;
	int err = 0;

	while (!identity && !err)
		err = port_random(&identity, sizeof(identity));
	if (!err)
		m->sink.identity = identity;
	return err;
}

static int write_text(struct mirror_sink *m, const char *text, size_t len)
{
	int err = mirror_tree_clear(m, m->own, MIRROR_ID_NEW), fd;

	if (err)
		return err;
	fd = port_dir_create(m->own, MIRROR_ID_NEW);
	if (fd < 0)
		return fd;
	err = mirror_file_write(fd, 0, text, len);
	if (!err && !m->cfg.is_relaxed)
		err = port_fd_sync(fd);
	port_dir_close(fd);
	return err;
}

int mirror_id_write(struct mirror_sink *m, enum mirror_record_kind kind)
{
	bool is_clean = kind != MIRROR_RECORD_CHANGING;
	struct mirror_record r = {
		.identity = m->sink.identity,
		.setup = setup_of(m),
		.digest = is_clean ? m->digest : 0,
		.is_clean = is_clean,
	};
	char text[TEXT_MAX];
	struct port_stat st;
	int len, err;

	boot_of(m, kind, r.boot);
	len = print_record(text, &r);
	err = write_text(m, text, (size_t)len);
	if (err)
		return err;
	err = port_dir_rename(m->own, MIRROR_ID_NEW, m->own, MIRROR_ID);
	if (err && !port_dir_query(m->own, MIRROR_ID, &st) && st.node == PORT_NODE_FOLDER) {
		err = mirror_tree_clear(m, m->own, MIRROR_ID);
		if (!err)
			err = port_dir_rename(m->own, MIRROR_ID_NEW, m->own, MIRROR_ID);
	}
	if (!err)
		m->record = r;
	return err;
}

int mirror_id_mark(struct mirror_sink *m)
{
	int err = 0;

	if (m->record.identity != m->sink.identity || m->record.is_clean)
		err = mirror_id_write(m, MIRROR_RECORD_CHANGING);
	if (!err)
		m->is_unsynced = true;
	return err;
}

void mirror_id_rest(struct mirror_sink *m)
{
	int64_t due_ms = m->cfg.loop->now_ms + MIRROR_REST_MS;

	if (m->root >= 0 && m->is_digest_known && !m->record.is_clean)
		loop_timer_set_at(m->cfg.loop, &m->rest_timer,
			due_ms > m->next_rest_ms ? due_ms : m->next_rest_ms);
}

void mirror_id_on_rest(struct loop_timer *timer)
{
	struct mirror_sink *m = timer->user;

	/* Whatever is under way comes to mirror_id_rest() at its end. */
	if (m->root < 0 || !m->is_digest_known || m->record.is_clean || m->is_listing ||
		m->state != MIRROR_IDLE || m->job != MIRROR_JOB_NONE)
		return;
	m->next_rest_ms = m->cfg.loop->now_ms + MIRROR_REST_GAP_MS;
	/* If it fails, it is written after the next change, and nothing depends on it until then. */
	(void)mirror_id_write(m, MIRROR_RECORD_AT_REST);
}

int mirror_id_doubt(struct mirror_sink *m)
{
	int err = port_dir_unlink(m->own, MIRROR_ID);

	if (err)
		return err;
	m->record = (struct mirror_record){0};
	return m->cfg.is_relaxed ? 0 : port_dir_sync(m->own);
}

int mirror_id_trust(struct mirror_sink *m)
{
	/* It vouches for what was moved, which so must not reach storage after it. */
	int err = m->cfg.is_relaxed ? 0 : port_dir_sync_all(m->root);

	return err ? err : mirror_id_write(m, MIRROR_RECORD_CHANGING);
}

uint64_t mirror_id_part(
	const struct mirror_sink *m, const char *path, size_t len, const struct port_stat *st)
{
	const uint64_t of_path[2] = {m->sink.identity, 1};
	uint64_t key[2] = {m->sink.identity ^ st->len, siphash(of_path, path, len)};
	uint8_t bytes[13];

	for (unsigned i = 0; i < 8; i++)
		bytes[i] = (uint8_t)((uint64_t)st->mtime_s >> 8 * i);
	for (unsigned i = 0; i < 4; i++)
		bytes[8 + i] = (uint8_t)(st->mtime_ns >> 8 * i);
	bytes[12] = (uint8_t)st->node;
	return siphash(key, bytes, sizeof(bytes));
}
