/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A file's place in DIR. The order is: bytes on storage, a name that is new is claimed in the record, renamed over what was
 * there, what was there under an older name removed, recorded. Wherever that ends, the place holds the old file or the
 * new one, and what the record says is held against it at the next start: it is the new one by its digest, or it is
 * fetched again. Without the claim a file that has its name and no record of it would be a stranger's for good.
 */
#include "sink/fetch_private.h"

#include <string.h>

#include "base/err.h"

static bool is_stat_of(const struct port_stat *st, const struct fetch_record *r)
{
	return st->node == PORT_NODE_FILE && st->len == r->placed_len &&
	       st->mtime_s == r->mtime_s && st->mtime_ns == r->mtime_ns;
}

static bool is_of_this_boot(const struct fetch_record *r)
{
	char boot[FETCH_BOOT_MAX];

	port_boot_id(boot, sizeof(boot));
	return strcmp(boot, r->boot) == 0;
}

int fetch_place_is_kept(const struct fetch_sink *f, const struct fetch_record *r)
{
	struct port_stat st;
	int err;

	if (!r->placed_name[0])
		return 0;
	err = port_dir_query(f->root, r->placed_name, &st);
	/* With durability relaxed a power cut may have taken bytes from a file of the right length and time. */
	return err ? err : is_stat_of(&st, r) && (!f->cfg.is_relaxed || is_of_this_boot(r));
}

static bool is_placed_here(const struct fetch_record *r)
{
	return strcmp(r->placed_name, r->want.name) == 0;
}

bool fetch_place_is_ours(const struct fetch_record *r)
{
	return r->is_claimed || is_placed_here(r);
}

static bool is_placed_wanted(const struct fetch_record *r)
{
	return memcmp(r->placed_sha256, r->want.sha256, sizeof(r->want.sha256)) == 0;
}

int fetch_place_look(const struct fetch_sink *f, const struct fetch_record *r)
{
	struct port_stat st;
	int kept = fetch_place_is_kept(f, r), err = port_dir_query(f->root, r->want.name, &st);

	if (kept < 0 || err)
		return kept < 0 ? kept : err;
	if (is_placed_here(r) && kept)
		return is_placed_wanted(r) ? FETCH_FOUND_IT : FETCH_FOUND_NOTHING;
	switch (st.node) {
	case PORT_NODE_NONE:
		return kept && is_placed_wanted(r) ? FETCH_FOUND_ELSEWHERE : FETCH_FOUND_NOTHING;
	case PORT_NODE_FILE:
		if (r->want.size < 0 || (uint64_t)r->want.size == st.len)
			return FETCH_FOUND_FILE;
		return fetch_place_is_ours(r) ? FETCH_FOUND_NOTHING : FETCH_FOUND_FOREIGN;
	case PORT_NODE_OTHER:
		return fetch_place_is_ours(r) ? FETCH_FOUND_NOTHING : FETCH_FOUND_FOREIGN;
	default:
		return FETCH_FOUND_FOREIGN;
	}
}

/* Whether what is at the name may be replaced: 0, ERR_LOCKED or an error. */
static int check_free(const struct fetch_sink *f, const struct fetch_record *r)
{
	struct port_stat st;
	int err = port_dir_query(f->root, r->want.name, &st);

	if (err || st.node == PORT_NODE_NONE)
		return err;
	return fetch_place_is_ours(r) && st.node != PORT_NODE_FOLDER ? 0 : ERR_LOCKED;
}

/* Of a name that is ours; "": there is none. */
static int remove_named(struct fetch_sink *f, const char *name)
{
	struct port_stat st;
	int err = *name ? port_dir_query(f->root, name, &st) : 0;

	if (err || !*name || st.node == PORT_NODE_FOLDER)
		return err;
	f->is_unsynced = true;
	return port_dir_unlink(f->root, name);
}

/* Before a file gets a name that no record knows. */
static int claim(struct fetch_sink *f, struct fetch_record *r)
{
	int err;

	if (fetch_place_is_ours(r))
		return 0;
	r->is_claimed = true;
	err = fetch_record_write(f, r);
	if (!err && !f->cfg.is_relaxed)
		err = port_dir_sync(f->own);
	r->is_claimed = !err;
	return err;
}

int fetch_place_settle(struct fetch_sink *f, struct fetch_record *r)
{
	struct port_stat st;
	int err;

	if (!r->is_claimed)
		return 0;
	err = port_dir_query(f->root, r->want.name, &st);
	if (!err && st.node == PORT_NODE_FILE) {
		err = is_placed_here(r) ? 0 : remove_named(f, r->placed_name);
		if (err)
			return err;
		memcpy(r->placed_name, r->want.name, sizeof(r->placed_name));
		r->placed_len = FETCH_LEN_UNKNOWN;
	}
	if (!err)
		r->is_claimed = false;
	return err;
}

/* What was found wrong is set; a file system without owners and modes is asked for nothing. */
static int put_right(const struct fetch_sink *f, int fd)
{
	const struct fetch_cfg *c = &f->cfg;
	struct port_stat st;
	int err = port_fd_query(fd, &st);

	if (!err && c->has_owner &&
		((c->uid != UINT32_MAX && c->uid != st.uid) ||
			(c->gid != UINT32_MAX && c->gid != st.gid)))
		err = port_fd_set_owner(fd, c->uid, c->gid);
	/* An owner that changes takes the set-id bits, and nothing else. */
	if (!err && st.mode != c->mode)
		err = port_fd_set_mode(fd, c->mode);
	return err;
}

int fetch_place_put_right(const struct fetch_sink *f, const struct fetch_record *r)
{
	struct port_stat st;
	int fd = port_dir_open_file(f->root, r->placed_name, &st), err;

	if (fd < 0)
		return fd;
	/* Another one may be a second name of a file that is none of ours. */
	err = is_stat_of(&st, r) ? put_right(f, fd) : 0;
	port_dir_close(fd);
	return err;
}

/* It lies in its place, as fd: what it was is removed, and it is recorded. */
static int finish(struct fetch_job *job, int fd)
{
	struct fetch_sink *f = job->f;
	struct fetch_record *r = &job->rec;
	struct port_stat st;
	int err = port_fd_query(fd, &st);

	f->is_unsynced = true;
	if (!err && !is_placed_here(r))
		err = remove_named(f, r->placed_name);
	if (err)
		return err;
	memcpy(r->placed_name, r->want.name, sizeof(r->placed_name));
	memcpy(r->placed_sha256, r->want.sha256, sizeof(r->placed_sha256));
	r->placed_len = st.len;
	r->mtime_s = st.mtime_s;
	r->mtime_ns = st.mtime_ns;
	r->is_claimed = false;
	r->refused = FETCH_NOT_REFUSED;
	r->why[0] = r->validator[0] = '\0';
	port_boot_id(r->boot, sizeof(r->boot));
	return fetch_record_write(f, r);
}

int fetch_place_put(struct fetch_job *job)
{
	struct fetch_sink *f = job->f;
	char part[FETCH_FILE_NAME_MAX];
	int err = check_free(f, &job->rec);

	if (!err)
		err = put_right(f, job->fd);
	if (!err && !f->cfg.is_relaxed)
		err = port_fd_sync(job->fd);
	if (!err)
		err = claim(f, &job->rec);
	if (!err)
		err = port_dir_rename(
			f->own, fetch_part_name(part, job->rec.hash), f->root, job->rec.want.name);
	if (!err)
		err = finish(job, job->fd);
	/* Two names of one file, which a power cut may leave on JFFS2, stay both. */
	return err ? err : fetch_part_remove(f, job->rec.hash);
}

int fetch_place_rename(struct fetch_job *job)
{
	struct fetch_sink *f = job->f;
	struct fetch_record *r = &job->rec;
	struct port_stat st;
	int err = check_free(f, r), fd;

	if (!err)
		err = claim(f, r);
	if (!err)
		err = port_dir_rename(f->root, r->placed_name, f->root, r->want.name);
	if (err)
		return err;
	fd = port_dir_open_file(f->root, r->want.name, &st);
	if (fd < 0)
		return fd;
	err = finish(job, fd);
	port_dir_close(fd);
	return err;
}

int fetch_place_adopt(struct fetch_job *job)
{
	struct fetch_sink *f = job->f;
	int err = put_right(f, job->fd);

	/* Nobody knows how long its bytes have been there. */
	if (!err && !f->cfg.is_relaxed)
		err = port_fd_sync(job->fd);
	if (!err)
		err = finish(job, job->fd);
	return err ? err : fetch_part_remove(f, job->rec.hash);
}

int fetch_place_find(
	const struct fetch_sink *f, const struct fetch_entry *e, char name[FETCH_NAME_MAX])
{
	struct port_dir_list list;
	const char *found;
	enum port_node node;
	int err;

	name[0] = '\0';
	if (!e->placed_name)
		return 0;
	err = port_dir_list_begin(&list, f->root);
	while (!err && (err = port_dir_list_next(&list, &found, &node)) > 0) {
		size_t len = strlen(found);

		err = 0;
		if (fetch_name_is_good(found, len) && fetch_name_hash(f, found) == e->placed_name)
			memcpy(name, found, len + 1);
	}
	return err;
}

int fetch_place_remove(struct fetch_sink *f, const struct fetch_record *r)
{
	int err = remove_named(f, r->placed_name);

	return err || !r->is_claimed ? err : remove_named(f, r->want.name);
}
