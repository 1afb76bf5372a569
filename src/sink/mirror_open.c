/* SPDX-License-Identifier: Apache-2.0 */
/* Opening and closing a mirror's folder, and what happens when it is lost in between. */
#include "sink/mirror_private.h"

#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "base/log.h"

#define FOREIGN "it holds files that are not a mirror's; mirror-adopt = yes takes them over"

enum { OWN_MODE = 0700 };

/* All that mirror_open() opened. */
static struct mirror_sink *all;

/* Whether there is anything in the folder but what is the agent's: 1, 0 or an error. */
static int has_foreign(int root)
{
	struct port_dir_list list;
	const char *name;
	enum port_node node;
	int err = port_dir_list_begin(&list, root);

	if (!err)
		err = port_dir_list_next(&list, &name, &node);
	return err;
}

/* A folder that is made now gets the mode of those in it. */
static int open_root(struct mirror_sink *m)
{
	int fd = port_dir_open(m->cfg.path, 0), err;

	if (fd != ERR_NOENT)
		return fd;
	fd = port_dir_open(m->cfg.path, mirror_folder_mode(m));
	if (fd < 0)
		return fd;
	err = port_fd_set_mode(fd, mirror_folder_mode(m));
	if (err)
		port_dir_close(fd);
	return err ? err : fd;
}

/* One that was there gets what was asked for; on a disk that can only be read it stays as it is. */
static int put_root_right(struct mirror_sink *m)
{
	struct port_stat st;
	int err = port_fd_query(m->root, &st);

	if (!err)
		err = mirror_tree_put_right(m, m->root, &st, mirror_root_mode(m, &st));
	return err == ERR_READONLY ? 0 : err;
}

/* is_ours: DIR is the folder that it was, whatever somebody did in it. */
static int open_own(struct mirror_sink *m, bool is_ours)
{
	int fd = port_dir_enter(m->root, MIRROR_OWN_NAME), err;

	if (fd != ERR_NOENT)
		return fd;
	err = is_ours || m->cfg.is_adopt ? 0 : has_foreign(m->root);
	if (err)
		return err < 0 ? err : ERR_CONFIG;
	err = port_dir_unlink(m->root, MIRROR_OWN_NAME);
	if (!err)
		err = port_dir_make(m->root, MIRROR_OWN_NAME, OWN_MODE);
	return err < 0 ? err : port_dir_enter(m->root, MIRROR_OWN_NAME);
}

static void close_folders(struct mirror_sink *m)
{
	port_dir_close(m->own);
	port_dir_close(m->root);
	m->own = m->root = -1;
}

/* Closes them, but keeps DIR to know it again, when nothing else is in its place. */
static void lose_folders(struct mirror_sink *m)
{
	if (m->root >= 0 && port_dir_is_at(m->root, m->cfg.path) > 0) {
		m->lost_root = m->root;
		m->root = -1;
	}
	close_folders(m);
}

/* Two mirrors in one another would remove each other's files. 0, or ERR_CONFIG and which it is. */
static int find_clash(const struct mirror_sink *m, const struct mirror_sink **clash)
{
	for (const struct mirror_sink *o = all; o; o = o->next_open) {
		int is_inside;

		if (o == m || o->root < 0)
			continue;
		is_inside = port_dir_is_inside(m->root, o->root);
		if (!is_inside)
			is_inside = port_dir_is_inside(o->root, m->root);
		if (is_inside < 0)
			return is_inside;
		if (is_inside) {
			*clash = o;
			return ERR_CONFIG;
		}
	}
	return 0;
}

/* *clash: the other mirror, if it is at fault, else NULL. */
static int open_folders(struct mirror_sink *m, const struct mirror_sink **clash)
{
	bool is_ours = m->lost_root >= 0 && port_dir_is_at(m->lost_root, m->cfg.path) > 0;
	struct port_stat st;
	int err;

	if (!is_ours)
		port_dir_close(m->lost_root);
	m->root = is_ours ? m->lost_root : open_root(m);
	m->lost_root = -1;
	*clash = NULL;
	err = m->root < 0 ? m->root : find_clash(m, clash);
	if (!err)
		err = port_dir_lock(m->root);
	if (!err) {
		m->own = open_own(m, is_ours);
		err = m->own < 0 ? m->own : mirror_id_read(m);
	}
	if (!err)
		err = put_root_right(m);
	if (err && is_ours)
		lose_folders(m);
	else if (err)
		close_folders(m);
	if (err)
		return err;
	/* What is left over and cannot be removed now is so before its name is needed. */
	(void)mirror_tree_clear(m, m->own, MIRROR_NEW);
	(void)mirror_tree_clear(m, m->own, MIRROR_SWAP);
	(void)mirror_tree_clear(m, m->own, MIRROR_ID_NEW);
	if (port_dir_query(m->own, MIRROR_TRASH, &st) == 0 && st.node != PORT_NODE_NONE)
		mirror_trash_start(m);
	return 0;
}

static void say_why(const struct mirror_cfg *cfg, int err, char *why, size_t why_cap)
{
	if (err == ERR_CONFIG)
		snprintf(why, why_cap, "mirror %s: " FOREIGN, cfg->path);
	else if (err == ERR_LOCKED)
		snprintf(why, why_cap, "mirror %s is in use by another agent", cfg->path);
	else
		snprintf(why, why_cap, "mirror %s: %s", cfg->path, err_text(err));
}

/* Takes the last name off a path, which stays as *name. Returns the folder that it lies in. */
static const char *split_last(char *path, const char **name)
{
	size_t len = strlen(path);
	char *slash;

	while (len > 1 && path[len - 1] == '/')
		path[--len] = '\0';
	slash = strrchr(path, '/');
	*name = slash ? slash + 1 : path;
	if (!slash)
		return ".";
	*slash = '\0';
	return *path ? path : "/";
}

/* Why there is no folder at path and none can be made, with those above it: 0 when nothing speaks against it. */
static int check_missing(const char *path, char *why, size_t why_cap)
{
	char copy[MIRROR_PATH_MAX] = "";
	struct port_stat st = {0};
	const char *folder, *name;
	size_t len = strlen(path) + 1;
	int dir, err;

	if (len > sizeof(copy)) {
		snprintf(why, why_cap, "mirror: the path is too long");
		return ERR_NOENT;
	}
	memcpy(copy, path, len);
	do {
		folder = split_last(copy, &name);
		dir = port_dir_open(folder, 0);
	} while (dir == ERR_NOENT && folder == copy);
	if (dir >= 0 && port_dir_query(dir, name, &st))
		st.node = PORT_NODE_NONE;
	port_dir_close(dir);
	if (st.node == PORT_NODE_FILE || st.node == PORT_NODE_OTHER) {
		snprintf(why, why_cap, "mirror %s: there is something else than a folder", path);
		return ERR_NOENT;
	}
	err = port_file_check_write(path);
	if (err)
		snprintf(why, why_cap, "mirror %s: it cannot be made: %s", path, err_text(err));
	return err;
}

static int renew_identity(struct mirror_sink *m)
{
	int err = mirror_id_renew(m);

	if (!err && m->record.identity)
		err = mirror_id_doubt(m);
	/* On a disk that can only be read a new identity lasts as long as the agent: all is listed again. */
	return err == ERR_READONLY ? 0 : err;
}

static void tell_difference(const struct mirror_sink *m)
{
	log_warn("watch %s: mirror %s is not what it was when it was left: everything is listed",
		m->cfg.watch_name, m->cfg.path);
}

static int take_identity(struct mirror_sink *m)
{
	if (mirror_id_is_good(m)) {
		m->sink.identity = m->record.identity;
		(void)mirror_walk_start(m, MIRROR_JOB_SURVEY);
		if (m->sink.identity)
			return 0;
		tell_difference(m);
	}
	return renew_identity(m);
}

int mirror_open(struct mirror_sink *m, const struct mirror_cfg *cfg, char *why, size_t why_cap)
{
	const struct mirror_sink *clash;
	int err;

	mirror_init(m, cfg);
	err = open_folders(m, &clash);
	if (!err)
		err = take_identity(m);
	if (err) {
		if (clash)
			snprintf(why, why_cap,
				"mirror %s lies in mirror %s of watch %s, or around it", cfg->path,
				clash->cfg.path, clash->cfg.watch_name);
		else if (err != ERR_NOENT || !check_missing(cfg->path, why, why_cap))
			say_why(cfg, err, why, why_cap);
		mirror_close(m);
		return err;
	}
	m->is_open = true;
	m->next_open = all;
	all = m;
	return 0;
}

void mirror_survey_ended(struct mirror_sink *m)
{
	if (!m->sink.identity) {
		int err;

		tell_difference(m);
		err = renew_identity(m);
		if (err) {
			(void)mirror_lose(m, err, "taking a new identity");
			return;
		}
		m->state = MIRROR_LOST;
		m->want_relist = true;
	}
	mirror_post_wake(m);
}

int mirror_open_again(struct mirror_sink *m)
{
	const struct mirror_sink *clash;
	int err = open_folders(m, &clash);

	if (clash)
		return mirror_trouble(m, err, "it lies in, or around, mirror", clash->cfg.path);
	if (err)
		return mirror_trouble(
			m, err, err == ERR_CONFIG ? FOREIGN : "opening it again", NULL);
	err = mirror_id_renew(m);
	/* It may be an older copy of itself that was put in its place. */
	if (!err)
		err = mirror_id_doubt(m);
	if (err)
		lose_folders(m);
	m->shape++;
	return err ? mirror_trouble(m, err, "taking a new identity", NULL) : 0;
}

static void give_up(struct mirror_sink *m)
{
	mirror_drop_event(m);
	mirror_walk_cancel(m);
	mirror_list_end(m);
	m->is_listing = false;
	loop_timer_clear(m->cfg.loop, &m->retry_timer);
	loop_timer_clear(m->cfg.loop, &m->trash_timer);
	loop_timer_clear(m->cfg.loop, &m->rest_timer);
}

int mirror_lose(struct mirror_sink *m, int err, const char *what)
{
	give_up(m);
	lose_folders(m);
	m->is_digest_known = false;
	m->state = MIRROR_LOST;
	return mirror_trouble(m, err, what, NULL);
}

void mirror_leave(struct mirror_sink *m)
{
	bool is_known = m->root >= 0 && m->is_digest_known && m->job == MIRROR_JOB_NONE;

	give_up(m);
	/* If it fails, the next start finds what was not left cleanly. */
	if (is_known && !(m->record.identity == m->sink.identity && m->record.is_clean &&
				m->record.digest == m->digest && strcmp(m->record.boot, "-") == 0))
		(void)mirror_id_write(m, MIRROR_RECORD_LAST);
}

void mirror_close(struct mirror_sink *m)
{
	if (!m->cfg.loop)
		return;
	if (m->is_open && m->state != MIRROR_STOPPED)
		mirror_leave(m);
	give_up(m);
	loop_task_cancel(m->cfg.loop, &m->task);
	close_folders(m);
	port_dir_close(m->lost_root);
	m->lost_root = -1;
	for (struct mirror_sink **o = &all; *o; o = &(*o)->next_open) {
		if (*o == m) {
			*o = m->next_open;
			break;
		}
	}
	m->is_open = false;
	m->state = MIRROR_STOPPED;
}

/* -- for check -------------------------------------------------------------------------------- */

int mirror_check(const struct mirror_cfg *cfg, char *why, size_t why_cap)
{
	int root = port_dir_open(cfg->path, 0), own, err;

	if (why_cap)
		why[0] = '\0';
	if (root == ERR_NOENT)
		return check_missing(cfg->path, why, why_cap);
	if (root < 0) {
		say_why(cfg, root, why, why_cap);
		return root;
	}
	own = port_dir_enter(root, MIRROR_OWN_NAME);
	err = own < 0 ? own : 0;
	if (own == ERR_NOENT) {
		err = has_foreign(root);
		if (err > 0)
			err = cfg->is_adopt ? 0 : ERR_CONFIG;
	}
	port_dir_close(own);
	port_dir_close(root);
	if (!err)
		err = port_file_check_write(cfg->path);
	if (err)
		say_why(cfg, err, why, why_cap);
	return err;
}
