/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One path at a time: placed, removed, and the folders above it made and removed.
 *
 * A file that becomes a folder (because a key below it appears) and a folder that becomes a file again change places
 * with what they turn into, in one step, so that a reader finds the value at each moment at
 * one place or the other. JFFS2 and some others can't exchange, or have no links: there it takes
 * several steps with the file aside in between, and until they are done the identity is taken away.
 */
#include "sink/mirror_private.h"

#include <string.h>

#include "base/err.h"

enum {
	NAME_CAP = MIRROR_NAME_MAX + 1,
	TRAIL_LEN = 16, /* folders that are kept open on the way down, for the way up */
	ENTER_TRIES = 4, /* somebody may plant what was just cleared away */
};

/* A name in a folder. */
struct spot {
	int dir;
	char name[NAME_CAP];
};

/* Copies the component that begins at `at`. Where the next one begins, or len when it is the last. */
static size_t component_at(const char *path, size_t len, size_t at, char name[NAME_CAP])
{
	const char *slash = memchr(path + at, '/', len - at);
	size_t end = slash ? (size_t)(slash - path) : len;
	size_t n = end - at < NAME_CAP ? end - at : NAME_CAP - 1;

	memcpy(name, path + at, n);
	name[n] = '\0';
	return slash ? end + 1 : len;
}

static void dir_close(const struct mirror_sink *m, int dir)
{
	if (dir != m->root)
		port_dir_close(dir);
}

int mirror_tree_clear(struct mirror_sink *m, int dir, const char *name)
{
	struct port_stat st;
	int err = port_dir_query(dir, name, &st), sub;

	if (err || st.node == PORT_NODE_NONE)
		return err;
	if (st.node != PORT_NODE_FOLDER)
		return port_dir_unlink(dir, name);
	/* Mostly what a conversion left: a folder with one file. */
	sub = port_dir_enter(dir, name);
	if (sub >= 0) {
		(void)port_dir_unlink(sub, MIRROR_SELF_NAME);
		port_dir_close(sub);
		if (port_dir_remove(dir, name) == 0)
			return 0;
	}
	return mirror_trash_put(m, dir, name);
}

int mirror_tree_put_right(struct mirror_sink *m, int fd, const struct port_stat *st, uint32_t mode)
{
	bool is_other =
		m->cfg.has_owner && ((m->cfg.uid != UINT32_MAX && m->cfg.uid != st->uid) ||
					    (m->cfg.gid != UINT32_MAX && m->cfg.gid != st->gid));
	int err = is_other ? port_fd_set_owner(fd, m->cfg.uid, m->cfg.gid) : 0;

	/* A new owner may take bits of the mode away. */
	if (!err && (is_other || st->mode != mode)) {
		err = port_fd_set_mode(fd, mode);
		m->is_unsynced = true;
	}
	return err;
}

/* Makes a folder and opens it. ERR_LOCKED: something has this name. */
static int make_folder(struct mirror_sink *m, int dir, const char *name)
{
	int err = port_dir_make(dir, name, mirror_folder_mode(m)), fd;

	if (err)
		return err > 0 ? ERR_LOCKED : err;
	fd = port_dir_enter(dir, name);
	if (fd < 0)
		return fd;
	if (m->cfg.has_owner)
		err = port_fd_set_owner(fd, m->cfg.uid, m->cfg.gid);
	if (!err)
		err = port_fd_set_mode(fd, mirror_folder_mode(m));
	if (err) {
		port_dir_close(fd);
		(void)port_dir_remove(dir, name);
		return err;
	}
	return fd;
}

/* -- files to folders and back ---------------------------------------------------------------- */

static int expand_in_steps(struct mirror_sink *m, int dir, const char *name)
{
	int err = mirror_id_doubt(m), sub = -1;

	if (err)
		return err;
	err = port_dir_rename(dir, name, m->own, MIRROR_SWAP);
	if (!err)
		err = sub = make_folder(m, dir, name);
	if (sub >= 0) {
		err = port_dir_rename(m->own, MIRROR_SWAP, sub, MIRROR_SELF_NAME);
		port_dir_close(sub);
	}
	if (!err)
		err = mirror_id_trust(m);
	return err ? mirror_lose(m, err, "a file becomes a folder") : 0;
}

/* The file becomes a folder that holds it. */
static int expand(struct mirror_sink *m, int dir, const char *name)
{
	int err = mirror_id_mark(m), sub;

	if (!err)
		err = mirror_tree_clear(m, m->own, MIRROR_SWAP);
	if (err)
		return err;
	sub = make_folder(m, m->own, MIRROR_SWAP);
	if (sub < 0)
		return sub;
	err = port_dir_link(dir, name, sub, MIRROR_SELF_NAME);
	port_dir_close(sub);
	if (!err)
		err = port_dir_exchange(m->own, MIRROR_SWAP, dir, name);
	m->shape++;
	if (!err) {
		/* A second name of what lies in its place now: if it stays, it is cleared away later. */
		(void)port_dir_unlink(m->own, MIRROR_SWAP);
		return 0;
	}
	if (err != ERR_UNSUPPORTED)
		return err;
	err = mirror_tree_clear(m, m->own, MIRROR_SWAP);
	return err ? err : expand_in_steps(m, dir, name);
}

static int collapse_in_steps(struct mirror_sink *m, int parent, const char *name, int dir)
{
	int err = mirror_id_doubt(m);

	if (err)
		return err;
	err = port_dir_rename(dir, MIRROR_SELF_NAME, m->own, MIRROR_SWAP);
	if (!err)
		err = port_dir_remove(parent, name);
	if (!err)
		err = port_dir_rename(m->own, MIRROR_SWAP, parent, name);
	if (!err)
		err = mirror_id_trust(m);
	return err ? mirror_lose(m, err > 0 ? ERR_IO : err, "a folder becomes a file") : 0;
}

/* The folder holds nothing but its own key's file, and becomes this file. */
static int collapse(struct mirror_sink *m, int parent, const char *name, int dir)
{
	int err = mirror_id_mark(m);

	if (!err)
		err = mirror_tree_clear(m, m->own, MIRROR_SWAP);
	if (err)
		return err;
	err = port_dir_link(dir, MIRROR_SELF_NAME, m->own, MIRROR_SWAP);
	if (!err)
		err = port_dir_exchange(m->own, MIRROR_SWAP, parent, name);
	m->shape++;
	if (!err) {
		(void)port_dir_unlink(dir, MIRROR_SELF_NAME);
		(void)port_dir_remove(m->own, MIRROR_SWAP);
		return 0;
	}
	if (err != ERR_UNSUPPORTED)
		return err;
	err = mirror_tree_clear(m, m->own, MIRROR_SWAP);
	return err ? err : collapse_in_steps(m, parent, name, dir);
}

int mirror_tree_tidy(struct mirror_sink *m, int parent, const char *name, int dir)
{
	struct port_dir_list list;
	const char *child;
	enum port_node node;
	bool has_self = false;
	int err = port_dir_list_begin(&list, dir);

	while (!err) {
		err = port_dir_list_next(&list, &child, &node);
		if (err <= 0)
			break;
		if (node != PORT_NODE_FILE || strcmp(child, MIRROR_SELF_NAME) != 0)
			return MIRROR_TIDY_KEPT;
		has_self = true;
		err = 0;
	}
	if (err)
		return err;
	if (has_self) {
		err = collapse(m, parent, name, dir);
		return err ? err : MIRROR_TIDY_FILE;
	}
	err = mirror_id_mark(m);
	if (!err)
		err = port_dir_remove(parent, name);
	return err < 0 ? err : err ? MIRROR_TIDY_KEPT : MIRROR_TIDY_GONE;
}

/* -- placing ---------------------------------------------------------------------------------- */

/* Opens a folder on the way to a file, and makes it when something else is there. */
static int enter_or_make(struct mirror_sink *m, int dir, const char *name)
{
	for (int i = 0; i < ENTER_TRIES; i++) {
		struct port_stat st;
		int fd = port_dir_enter(dir, name), err;

		if (fd != ERR_NOENT)
			return fd;
		err = port_dir_query(dir, name, &st);
		if (!err && st.node == PORT_NODE_FILE) {
			err = expand(m, dir, name);
			if (err)
				return err;
			continue;
		}
		if (!err)
			err = mirror_id_mark(m);
		if (!err && st.node == PORT_NODE_OTHER)
			err = port_dir_unlink(dir, name);
		if (err)
			return err;
		fd = make_folder(m, dir, name);
		if (fd != ERR_LOCKED)
			return fd;
	}
	return ERR_IO;
}

/* Where the path's last name is; s->dir is to be closed. ERR_NOENT when there is no such folder, unless want_made. */
static int find_spot(
	struct mirror_sink *m, const char *path, size_t len, bool want_made, struct spot *s)
{
	size_t at = component_at(path, len, 0, s->name);

	s->dir = m->root;
	while (at < len) {
		int fd = want_made ? enter_or_make(m, s->dir, s->name)
				   : port_dir_enter(s->dir, s->name);

		dir_close(m, s->dir);
		if (fd < 0)
			return fd;
		s->dir = fd;
		at = component_at(path, len, at, s->name);
	}
	return 0;
}

/* Replaces what name is with the temporary file. */
static int place(struct mirror_sink *m, int dir, const char *name, const struct port_stat *old,
	const char *path, size_t len, const struct port_stat *st)
{
	int err = mirror_id_mark(m);

	if (!err && old->node == PORT_NODE_FOLDER)
		err = mirror_tree_clear(m, dir, name);
	if (!err)
		err = port_dir_rename(m->own, MIRROR_NEW, dir, name);
	if (err)
		return err;
	if (old->node == PORT_NODE_FILE)
		m->digest -= mirror_id_part(m, path, len, old);
	m->digest += mirror_id_part(m, path, len, st);
	return 0;
}

/* The name is a folder: the file goes into it. */
static int place_inside(struct mirror_sink *m, const struct spot *s, const char *path, size_t len,
	const struct port_stat *st)
{
	struct port_stat old;
	int sub = port_dir_enter(s->dir, s->name), err;

	if (sub < 0)
		return sub;
	err = port_dir_query(sub, MIRROR_SELF_NAME, &old);
	if (!err)
		err = place(m, sub, MIRROR_SELF_NAME, &old, path, len, st);
	/* It may be a folder that nobody needs. If that fails, the file is there all the same. */
	if (!err)
		(void)mirror_tree_tidy(m, s->dir, s->name, sub);
	port_dir_close(sub);
	return err;
}

int mirror_tree_put(struct mirror_sink *m, const char *path, size_t len, const struct port_stat *st)
{
	struct port_stat old;
	struct spot s;
	int err = find_spot(m, path, len, true, &s);

	if (err)
		return err;
	err = port_dir_query(s.dir, s.name, &old);
	if (!err)
		err = old.node == PORT_NODE_FOLDER ? place_inside(m, &s, path, len, st)
						   : place(m, s.dir, s.name, &old, path, len, st);
	dir_close(m, s.dir);
	return err;
}

int mirror_tree_open(struct mirror_sink *m, const char *path, size_t len, struct port_stat *st)
{
	struct spot s;
	int err = find_spot(m, path, len, false, &s), fd = ERR_NOENT, sub;

	if (err)
		return err;
	err = port_dir_query(s.dir, s.name, st);
	if (err)
		fd = err;
	else if (st->node == PORT_NODE_FILE)
		fd = port_dir_open_file(s.dir, s.name, st);
	else if (st->node == PORT_NODE_FOLDER) {
		sub = port_dir_enter(s.dir, s.name);
		fd = sub < 0 ? sub : port_dir_query(sub, MIRROR_SELF_NAME, st);
		if (sub >= 0 && !fd)
			fd = st->node == PORT_NODE_FILE
				     ? port_dir_open_file(sub, MIRROR_SELF_NAME, st)
				     : ERR_NOENT;
		port_dir_close(sub);
	}
	dir_close(m, s.dir);
	return fd;
}

size_t mirror_tree_locate(struct mirror_sink *m, char *path, size_t len)
{
	struct port_stat st;
	struct spot s;

	if (m->root < 0 || find_spot(m, path, len, false, &s))
		return len;
	if (port_dir_query(s.dir, s.name, &st) == 0 && st.node == PORT_NODE_FOLDER) {
		memcpy(path + len, "/" MIRROR_SELF_NAME, MIRROR_SELF_LEN + 1);
		len += MIRROR_SELF_LEN;
	}
	dir_close(m, s.dir);
	return len;
}

/* -- removing --------------------------------------------------------------------------------- */

/* The folders on the way to a path, the last ones of them open. */
struct trail {
	int fds[TRAIL_LEN]; /* of level n: fds[n % TRAIL_LEN]; level 0 is DIR */
	uint32_t low, top; /* levels that are open */
	size_t at; /* where the name begins that comes after top */
};

static int trail_dir(const struct trail *t, uint32_t level)
{
	return t->fds[level % TRAIL_LEN];
}

static void trail_begin(const struct mirror_sink *m, struct trail *t)
{
	*t = (struct trail){.fds = {m->root}};
}

static void trail_pop(const struct mirror_sink *m, struct trail *t)
{
	dir_close(m, trail_dir(t, t->top));
	if (t->top)
		t->top--;
}

static void trail_end(const struct mirror_sink *m, struct trail *t)
{
	while (t->top > t->low)
		trail_pop(m, t);
	dir_close(m, trail_dir(t, t->top));
}

/* Enters one more folder, unless the name is the last one: 1. */
static int trail_down(
	struct mirror_sink *m, struct trail *t, const char *path, size_t len, char name[NAME_CAP])
{
	size_t next = component_at(path, len, t->at, name);
	int fd;

	if (next >= len)
		return 1;
	fd = port_dir_enter(trail_dir(t, t->top), name);
	if (fd < 0)
		return fd;
	if (t->top - t->low == TRAIL_LEN - 1)
		dir_close(m, trail_dir(t, t->low++));
	t->top++;
	t->fds[t->top % TRAIL_LEN] = fd;
	t->at = next;
	return 0;
}

/* The folder above top is open too. */
static int trail_have_parent(struct mirror_sink *m, struct trail *t, const char *path, size_t len)
{
	uint32_t top = t->top;
	char name[NAME_CAP];
	int err = 0;

	if (t->low < t->top)
		return 0;
	trail_end(m, t);
	trail_begin(m, t);
	while (t->top < top && !err)
		err = trail_down(m, t, path, len, name);
	return err > 0 ? ERR_IO : err;
}

/* Removes folders upwards from top, as long as nothing is left in them. */
static int trail_tidy(struct mirror_sink *m, struct trail *t, const char *path, size_t len)
{
	char name[NAME_CAP];

	while (t->top) {
		size_t at = t->at - 1;
		int err = trail_have_parent(m, t, path, len);

		if (err)
			return err == ERR_NOENT ? 0 : err;
		while (at && path[at - 1] != '/')
			at--;
		(void)component_at(path, len, at, name);
		err = mirror_tree_tidy(m, trail_dir(t, t->top - 1), name, trail_dir(t, t->top));
		if (err != MIRROR_TIDY_GONE)
			return err < 0 ? err : 0;
		trail_pop(m, t);
		t->at = at;
	}
	return 0;
}

static int remove_name(struct mirror_sink *m, int dir, const char *name, const char *path,
	size_t len, const struct port_stat *st)
{
	int err = mirror_id_mark(m);

	if (!err)
		err = mirror_tree_clear(m, dir, name);
	if (!err && st->node == PORT_NODE_FILE)
		m->digest -= mirror_id_part(m, path, len, st);
	return err;
}

/* What has the path's last name, in the folder dir. */
static int remove_at(struct mirror_sink *m, int dir, const char *name, const char *path, size_t len)
{
	struct port_stat st;
	int err = port_dir_query(dir, name, &st), sub;

	if (err || st.node == PORT_NODE_NONE)
		return err;
	if (st.node != PORT_NODE_FOLDER)
		return remove_name(m, dir, name, path, len, &st);
	sub = port_dir_enter(dir, name);
	if (sub < 0)
		return sub;
	err = port_dir_query(sub, MIRROR_SELF_NAME, &st);
	if (!err && st.node != PORT_NODE_NONE)
		err = remove_name(m, sub, MIRROR_SELF_NAME, path, len, &st);
	if (!err)
		err = mirror_tree_tidy(m, dir, name, sub);
	port_dir_close(sub);
	return err < 0 ? err : 0;
}

/* A name on the way is no folder. What was planted there hides what is to be removed, and belongs to no key; a file is
 * that of a key of its own. */
static int remove_planted(struct mirror_sink *m, int dir, const char *name)
{
	struct port_stat st;
	int err = port_dir_query(dir, name, &st);

	if (err || st.node != PORT_NODE_OTHER)
		return err;
	err = mirror_id_mark(m);
	return err ? err : port_dir_unlink(dir, name);
}

int mirror_tree_remove(struct mirror_sink *m, const char *path, size_t len)
{
	char name[NAME_CAP];
	struct trail t;
	int err = 0;

	trail_begin(m, &t);
	while (!err)
		err = trail_down(m, &t, path, len, name);
	if (err > 0)
		err = remove_at(m, trail_dir(&t, t.top), name, path, len);
	else if (err == ERR_NOENT)
		err = remove_planted(m, trail_dir(&t, t.top), name);
	/* Also when it was gone already: a kill may have come before its folders were looked at. */
	if (!err)
		err = trail_tidy(m, &t, path, len);
	trail_end(m, &t);
	return err;
}
