/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Removing whole trees without a stack, whatever their depth: a tree is moved into trash/, and so is
 * each folder that is found in one there, until all of them are empty. What goes is out of its place in one
 * step, and the rest may be done later, or after the next start.
 */
#include "sink/mirror_private.h"

#include <inttypes.h>
#include <stdio.h>

#include "base/err.h"
#include "base/log.h"

enum {
	TRASH_NAME_MAX = 20,
	TRASH_RETRY_MS = 60000,
};

static int trash_open(struct mirror_sink *m)
{
	int fd = port_dir_enter(m->own, MIRROR_TRASH), err;

	if (fd != ERR_NOENT)
		return fd;
	err = port_dir_unlink(m->own, MIRROR_TRASH);
	if (!err)
		err = port_dir_make(m->own, MIRROR_TRASH, 0700);
	return err < 0 ? err : port_dir_enter(m->own, MIRROR_TRASH);
}

static int trash_move(struct mirror_sink *m, int trash, int dir, const char *name)
{
	char number[TRASH_NAME_MAX];

	if (!m->trash_number && port_random(&m->trash_number, sizeof(m->trash_number)))
		m->trash_number = (uint64_t)m->cfg.loop->now_ms << 20;
	snprintf(number, sizeof(number), "%016" PRIx64, m->trash_number++);
	return port_dir_rename(dir, name, trash, number);
}

int mirror_trash_put(struct mirror_sink *m, int dir, const char *name)
{
	int trash = trash_open(m), err;

	if (trash < 0)
		return trash;
	err = trash_move(m, trash, dir, name);
	port_dir_close(trash);
	if (!err)
		mirror_trash_start(m);
	return err;
}

void mirror_trash_start(struct mirror_sink *m)
{
	loop_timer_set(m->cfg.loop, &m->trash_timer, 1);
}

static bool is_time_over(int64_t until_ms)
{
	return port_now_ms() >= until_ms;
}

/* Empties one folder in the trash: 1 when there was no time for all of it. */
static int trash_empty(struct mirror_sink *m, int trash, const char *name, int64_t until_ms)
{
	struct port_dir_list list;
	const char *child;
	enum port_node node = PORT_NODE_NONE;
	int dir = port_dir_enter(trash, name), err;

	if (dir < 0)
		return dir;
	err = port_dir_list_begin(&list, dir);
	while (!err) {
		err = port_dir_list_next(&list, &child, &node);
		if (err <= 0)
			break;
		err = node == PORT_NODE_FOLDER ? trash_move(m, trash, dir, child)
					       : port_dir_unlink(dir, child);
		if (!err && is_time_over(until_ms))
			err = 1;
	}
	port_dir_close(dir);
	return err;
}

/* 0 when all is gone, 1 when there is more, or an error. */
static int trash_slice(struct mirror_sink *m)
{
	int64_t until_ms = port_now_ms() + MIRROR_SLICE_MS;
	struct port_dir_list list;
	const char *name = NULL;
	enum port_node node = PORT_NODE_NONE;
	int trash = port_dir_enter(m->own, MIRROR_TRASH), err;

	if (trash < 0)
		return trash == ERR_NOENT ? 0 : trash;
	for (;;) {
		err = port_dir_list_begin(&list, trash);
		if (!err)
			err = port_dir_list_next(&list, &name, &node);
		if (err <= 0)
			break;
		if (node == PORT_NODE_FOLDER) {
			err = trash_empty(m, trash, name, until_ms);
			if (!err)
				err = port_dir_remove(trash, name);
		} else {
			err = port_dir_unlink(trash, name);
		}
		if (err < 0 || is_time_over(until_ms))
			break;
	}
	port_dir_close(trash);
	return err ? err : port_dir_remove(m->own, MIRROR_TRASH);
}

void mirror_trash_on_timer(struct loop_timer *timer)
{
	struct mirror_sink *m = timer->user;
	int more = m->own >= 0 ? trash_slice(m) : 0;

	if (more < 0)
		log_debug("watch %s: mirror %s: emptying .etchlet/trash: %s; tried again",
			m->cfg.watch_name, m->cfg.path, err_text(more));
	if (more)
		loop_timer_set(m->cfg.loop, timer, more < 0 ? TRASH_RETRY_MS : 1);
}
