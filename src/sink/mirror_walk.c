/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The whole tree, in slices of a few milliseconds, without recursion: the survey after a start, and the prune
 * after a listing.
 *
 * The folders on the way from DIR are kept open, the deepest WALK_FOLDERS of them. When the walk comes back to one
 * that was closed, this is opened again by its path, and what stands before the name
 * that it came from is passed over.
 *
 * There is one walk at a time, for all mirrors.
 */
#include "sink/mirror_private.h"

#include <string.h>

#include "base/err.h"

enum {
	WALK_FOLDERS = CONFIG_MIRROR_WALK_FOLDERS,
	WALK_STEPS = 4, /* between two looks at the clock: a removal may take its time */
	WALK_STEPS_MAX = 16384, /* of one slice, should the clock stand still */
};

struct level {
	int fd;
	bool is_kept; /* there is something in it besides its own key's file */
	struct port_dir_list list;
};

static struct walk {
	struct mirror_sink *m; /* whose it is; NULL: nobody's */
	struct mirror_sink *waiting;
	uint32_t part, parts;
	uint64_t digest; /* sum over the files so far */
	bool is_exact; /* every file was counted once */
	uint32_t low, top; /* levels that are open; level 0 is DIR */
	size_t len;
	char path[MIRROR_PATH_LEN + MIRROR_NAME_MAX + 2];
	struct level levels[WALK_FOLDERS];
} walk;

static struct level *level_at(uint32_t n)
{
	return &walk.levels[n % WALK_FOLDERS];
}

static void level_close(uint32_t n)
{
	if (n)
		port_dir_close(level_at(n)->fd);
}

static void walk_close(void)
{
	for (; walk.top > walk.low; walk.top--)
		level_close(walk.top);
	level_close(walk.top);
	walk.top = walk.low = 0;
	walk.len = 0;
	walk.path[0] = '\0';
}

static void walk_release(void)
{
	struct mirror_sink *next = walk.waiting;

	walk_close();
	walk.m = NULL;
	if (!next)
		return;
	walk.waiting = next->next_waiting;
	next->next_waiting = NULL;
	loop_timer_set(next->cfg.loop, &next->job_timer, 0);
}

void mirror_walk_cancel(struct mirror_sink *m)
{
	if (walk.m == m)
		walk_release();
	for (struct mirror_sink **w = &walk.waiting; *w; w = &(*w)->next_waiting) {
		if (*w == m) {
			*w = m->next_waiting;
			break;
		}
	}
	m->next_waiting = NULL;
	m->job = MIRROR_JOB_NONE;
	m->is_job_done = false;
	loop_timer_clear(m->cfg.loop, &m->job_timer);
}

/* From DIR, for the next part. */
static int walk_begin(struct mirror_sink *m)
{
	struct level *l = level_at(0);
	struct port_stat st;
	int err = 0;

	walk_close();
	l->fd = m->root;
	l->is_kept = true;
	if (m->job == MIRROR_JOB_PRUNE && walk.part == 0) {
		err = port_fd_query(l->fd, &st);
		if (!err)
			err = mirror_tree_put_right(m, l->fd, &st, mirror_root_mode(m, &st));
	}
	if (!err && m->job == MIRROR_JOB_PRUNE)
		err = mirror_list_load(m, walk.part, walk.parts);
	return err ? err : port_dir_list_begin(&l->list, l->fd);
}

static int walk_begin_parts(struct mirror_sink *m, uint32_t parts)
{
	int err;

	for (;; parts += parts / 4 + 1) {
		walk.part = 0;
		walk.parts = parts;
		walk.digest = 0;
		walk.is_exact = true;
		err = walk_begin(m);
		if (err != ERR_LIMIT)
			return err;
	}
}

/* -- down and up ------------------------------------------------------------------------------ */

/* Where the last name of the path begins. */
static size_t name_at(void)
{
	size_t at = walk.len;

	while (at && walk.path[at - 1] != '/')
		at--;
	return at;
}

/* Into the folder whose path this is. */
static int walk_down(struct mirror_sink *m)
{
	int fd = port_dir_enter(level_at(walk.top)->fd, walk.path + name_at()), err;
	struct port_stat st, of_root;
	struct level *l;

	if (fd < 0)
		return fd;
	err = port_fd_query(fd, &st);
	if (!err)
		err = port_fd_query(m->root, &of_root);
	/* What somebody has mounted in it is not ours to remove, nor to look at. */
	if (!err && (st.device != of_root.device || port_dir_is_mount(fd)))
		err = ERR_LOCKED;
	if (!err && m->job == MIRROR_JOB_PRUNE && walk.part == 0)
		err = mirror_tree_put_right(m, fd, &st, mirror_folder_mode(m));
	if (err) {
		port_dir_close(fd);
		return err;
	}
	if (walk.top - walk.low == WALK_FOLDERS - 1)
		level_close(walk.low++);
	l = level_at(++walk.top);
	l->fd = fd;
	l->is_kept = false;
	return port_dir_list_begin(&l->list, fd);
}

/* Opens the folder of level walk.top again; the path is that of the one it came from. */
static int walk_reopen(struct mirror_sink *m)
{
	struct level *l = level_at(walk.top);
	char *end = walk.path + name_at(), *name = walk.path;
	const char *found;
	enum port_node node;
	int fd = m->root, err;

	walk.low = walk.top;
	l->fd = -1;
	l->is_kept = false; /* not known: it is looked at when it is left */
	while (name < end) {
		char *slash = strchr(name, '/');
		int sub;

		*slash = '\0';
		sub = port_dir_enter(fd, name);
		*slash = '/';
		if (fd != m->root)
			port_dir_close(fd);
		if (sub < 0)
			return sub;
		fd = sub;
		name = slash + 1;
	}
	l->fd = fd;
	err = port_dir_list_begin(&l->list, fd);
	while (!err) {
		err = port_dir_list_next(&l->list, &found, &node);
		if (err > 0 && strcmp(found, end) == 0)
			return 0;
		err = err > 0 ? 0 : err ? err : 1;
	}
	if (err < 0)
		return err;
	/* It was removed: what is here is looked at again from the beginning. */
	walk.is_exact = false;
	return port_dir_list_begin(&l->list, fd);
}

/* Out of the folder: 0, or 1 when it was the last. */
static int walk_up(struct mirror_sink *m)
{
	struct level *l = level_at(walk.top);
	bool is_kept = l->is_kept;
	struct level *above;
	int dir = l->fd, err = 0;

	if (walk.top == 0)
		return 1;
	walk.top--;
	if (walk.top < walk.low)
		err = walk_reopen(m);
	above = level_at(walk.top);
	if (!err && !is_kept && m->job == MIRROR_JOB_PRUNE) {
		m->is_digest_known = false;
		err = mirror_tree_tidy(m, above->fd, walk.path + name_at(), dir);
		is_kept = err != MIRROR_TIDY_GONE;
		err = err < 0 ? err : 0;
	}
	port_dir_close(dir);
	if (err)
		return err;
	above->is_kept = above->is_kept || is_kept;
	walk.len = name_at();
	if (walk.len)
		walk.len--;
	walk.path[walk.len] = '\0';
	return 0;
}

/* -- what is found ---------------------------------------------------------------------------- */

static int walk_remove(struct mirror_sink *m, int dir, const char *name)
{
	int err = mirror_id_mark(m);

	m->is_digest_known = false;
	return err ? err : port_dir_unlink(dir, name);
}

/* Something that is no folder. */
static int walk_file(struct mirror_sink *m, enum port_node node)
{
	struct level *l = level_at(walk.top);
	const char *name = walk.path + name_at();
	bool is_self = walk.top && strcmp(name, MIRROR_SELF_NAME) == 0;
	size_t key_len = is_self ? walk.len - MIRROR_SELF_LEN : walk.len;
	struct port_stat st;
	int has = 1, err;

	if (m->job == MIRROR_JOB_PRUNE) {
		has = mirror_list_has(m, walk.path, key_len, walk.part, walk.parts);
		if (has == 0 || (has == 1 && node != PORT_NODE_FILE))
			return walk_remove(m, l->fd, name);
	}
	if (!is_self)
		l->is_kept = true;
	if (has < 0)
		return 0;
	err = port_dir_query(l->fd, name, &st);
	if (!err && st.node != PORT_NODE_NONE)
		walk.digest += mirror_id_part(m, walk.path, key_len, &st);
	return err;
}

/* The path is longer than a key's can be: it is somebody else's. */
static int walk_too_long(struct mirror_sink *m, const char *name, enum port_node node)
{
	int dir = level_at(walk.top)->fd, err;

	if (m->job != MIRROR_JOB_PRUNE)
		return 0;
	if (node != PORT_NODE_FOLDER)
		return walk_remove(m, dir, name);
	err = mirror_id_mark(m);
	return err ? err : mirror_trash_put(m, dir, name);
}

/* The next thing in the tree: 0, 1 at the end, or an error. */
static int walk_step(struct mirror_sink *m)
{
	struct level *l = level_at(walk.top);
	size_t before = walk.len, n;
	const char *name;
	enum port_node node;
	int err = port_dir_list_next(&l->list, &name, &node);

	if (err < 0)
		return err;
	if (err == 0)
		return walk_up(m);
	if (walk.top == 0 && strcmp(name, MIRROR_OWN_NAME) == 0)
		return 0;
	n = strlen(name);
	if (n > MIRROR_NAME_MAX || walk.len + 1 + n >= MIRROR_PATH_LEN)
		return walk_too_long(m, name, node);
	if (walk.len)
		walk.path[walk.len++] = '/';
	memcpy(walk.path + walk.len, name, n + 1);
	walk.len += n;
	if (node == PORT_NODE_FOLDER) {
		err = walk_down(m);
		if (!err)
			return 0;
		/* It is left where it is; or somebody else removed it; or it is no matter of a survey. */
		if (err == ERR_LOCKED)
			l->is_kept = true;
		if (err == ERR_LOCKED || err == ERR_NOENT || m->job == MIRROR_JOB_SURVEY)
			err = 0;
	} else {
		err = walk_file(m, node);
	}
	walk.len = before;
	walk.path[before] = '\0';
	return err;
}

/* -- jobs ------------------------------------------------------------------------------------- */

/* 0 when the job is done, 1 when there is more to do, or an error. */
static int walk_slice(struct mirror_sink *m)
{
	int64_t until_ms = port_now_ms() + MIRROR_SLICE_MS;

	for (uint32_t steps = 1; steps <= WALK_STEPS_MAX; steps++) {
		int err = walk_step(m);

		if (err < 0)
			return err;
		if (err > 0) {
			if (++walk.part == walk.parts)
				return 0;
			err = walk_begin(m);
			if (err == ERR_LIMIT)
				err = walk_begin_parts(m, walk.parts + walk.parts / 4 + 1);
			if (err)
				return err;
		}
		if (steps % WALK_STEPS == 0 && port_now_ms() >= until_ms)
			return 1;
	}
	return 1;
}

static void survey_end(struct mirror_sink *m)
{
	if (m->record.is_clean && m->record.digest != walk.digest)
		m->sink.identity = 0;
}

/* Whether the walk is the mirror's now. If not, its timer is set when it is. */
static bool walk_take(struct mirror_sink *m)
{
	struct mirror_sink **w = &walk.waiting;

	if (!walk.m || walk.m == m)
		return true;
	while (*w && *w != m)
		w = &(*w)->next_waiting;
	*w = m;
	return false;
}

/* Does a slice of the job. 0: it is done or goes on by itself; or an error, which ends it. */
static int walk_go_on(struct mirror_sink *m)
{
	int err = 0;

	if (!walk_take(m))
		return 0;
	if (!walk.m) {
		walk.m = m;
		err = walk_begin_parts(m, m->job == MIRROR_JOB_PRUNE ? mirror_list_parts(m) : 1);
	}
	if (!err)
		err = walk_slice(m);
	if (err > 0) {
		loop_timer_set(m->cfg.loop, &m->job_timer, 0);
		return 0;
	}
	if (!err) {
		if (m->job == MIRROR_JOB_SURVEY)
			survey_end(m);
		m->digest = walk.digest;
		m->is_digest_known = walk.is_exact && m->sink.identity;
		mirror_id_rest(m);
		m->is_job_done = true;
	} else if (m->job == MIRROR_JOB_SURVEY && m->record.is_clean) {
		m->sink.identity = 0; /* what cannot be looked at is in doubt */
	}
	m->job = MIRROR_JOB_NONE;
	if (walk.m == m)
		walk_release();
	return err;
}

int mirror_walk_start(struct mirror_sink *m, enum mirror_job job)
{
	m->job = job;
	m->is_job_done = false;
	return walk_go_on(m);
}

void mirror_walk_on_timer(struct loop_timer *timer)
{
	struct mirror_sink *m = timer->user;
	enum mirror_job job = m->job;
	int err = job == MIRROR_JOB_NONE ? 0 : walk_go_on(m);

	if (m->job != MIRROR_JOB_NONE)
		return;
	if (job == MIRROR_JOB_SURVEY)
		mirror_survey_ended(m);
	else if (err && m->state != MIRROR_LOST)
		(void)mirror_step_trouble(m, err, "removing what was not listed", NULL);
	else if (!err)
		mirror_post_wake(m);
}
