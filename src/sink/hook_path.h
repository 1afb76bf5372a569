/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Puts the present paths in place of those that a batch was gathered with: a file of the mirror may
 * have become a folder since. Where it is asked for, lines whose file is nowhere are left out. A quote within a string of JSON is always escaped, so "path":" can
 * only be the member. Private to the hook.
 */
#ifndef ETCHLET_SINK_HOOK_PATH_H
#define ETCHLET_SINK_HOOK_PATH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "port/port.h"

enum {
	HOOK_PATH_MAX = 4096, /* bytes of a path, with a NUL (Linux: PATH_MAX) */
	HOOK_PATH_WINDOW = 2 * HOOK_PATH_MAX, /* holds a whole path, wherever it begins */
	HOOK_PATH_MEM_LEN = HOOK_PATH_WINDOW + HOOK_PATH_MAX,
	HOOK_PATH_STEP_LEN = 65536, /* bytes of the batch that one step looks at, about */
};

struct hook_path {
	const struct port_spool *from;
	struct port_spool *to;
	/* Where the file lies now, terminated; 0: not known, the path stays, or the line is left out. */
	size_t (*path_now)(void *user, const char *path, size_t len, char *dst, size_t cap);
	void *user;
	bool is_line_dropped;
	uint8_t *mem; /* HOOK_PATH_MEM_LEN bytes to work in */
	uint64_t at; /* private, begins as 0: bytes of from that were read */
	size_t len; /* private, as well: of them are in the window */
	uint64_t line_at; /* private, as well: where the line begins in to */
	bool is_in_path; /* private, as well: the window begins with a path */
	bool is_dropping; /* private, as well: up to the line's end all is left out */
};

/* ERR_AGAIN: there is more to do; 0: all of from is in to; another error: to is not complete. */
int hook_path_step(struct hook_path *p);

#endif
