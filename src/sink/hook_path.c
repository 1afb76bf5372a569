/* SPDX-License-Identifier: Apache-2.0 */
#include "sink/hook_path.h"

#include <string.h>

#include "base/err.h"

#define HOOK_PATH_NAME "\"path\":\""

enum { HOOK_PATH_NAME_LEN = sizeof(HOOK_PATH_NAME) - 1 };

/* All of it, or an error. */
static int hook_path_put(struct hook_path *p, const void *src, size_t len)
{
	const uint8_t *at = src;

	while (len) {
		ssize_t n = port_spool_append(p->to, at, len);

		if (n < 0)
			return (int)n;
		at += n;
		len -= (size_t)n;
	}
	return 0;
}

/* Where the name of the member ends in the window; 0: it is not there. */
static size_t hook_path_find(const struct hook_path *p)
{
	const uint8_t *from = p->mem, *end = p->mem + p->len;

	while ((size_t)(end - from) >= HOOK_PATH_NAME_LEN) {
		from = memchr(from, '"', (size_t)(end - from) - (HOOK_PATH_NAME_LEN - 1));
		if (!from)
			return 0;
		if (!memcmp(from, HOOK_PATH_NAME, HOOK_PATH_NAME_LEN))
			return (size_t)(from - p->mem) + HOOK_PATH_NAME_LEN;
		from++;
	}
	return 0;
}

/* The path at the window's beginning. Returns how many bytes of the window are done with. */
static ssize_t hook_path_put_now(struct hook_path *p)
{
	const uint8_t *quote = memchr(p->mem, '"', p->len);
	size_t len = quote ? (size_t)(quote - p->mem) : p->len, now;
	char *dst = (char *)p->mem + HOOK_PATH_WINDOW;
	int err;

	p->is_in_path = false;
	now = quote ? p->path_now(p->user, (const char *)p->mem, len, dst, HOOK_PATH_MAX) : 0;
	if (!now && p->is_line_dropped) {
		p->is_dropping = true;
		err = port_spool_cut(p->to, p->line_at);
	} else {
		err = now ? hook_path_put(p, dst, now) : hook_path_put(p, p->mem, len);
	}
	return err ? err : (ssize_t)len;
}

/* Up to the end of a line that is left out. Returns as above. */
static ssize_t hook_path_drop(struct hook_path *p)
{
	const uint8_t *end = memchr(p->mem, '\n', p->len);

	p->is_dropping = !end;
	return end ? end - p->mem + 1 : (ssize_t)p->len;
}

/* What stands before the next path, with the name of the member. Returns as above. */
static ssize_t hook_path_put_rest(struct hook_path *p, bool is_end)
{
	size_t len = hook_path_find(p), line = 0;
	const uint8_t *end;
	int err;

	p->is_in_path = len != 0;
	/* The window may end within the name. */
	if (!len)
		len = is_end || p->len < HOOK_PATH_NAME_LEN ? p->len
							    : p->len - (HOOK_PATH_NAME_LEN - 1);
	while ((end = memchr(p->mem + line, '\n', len - line)) != NULL)
		line = (size_t)(end - p->mem) + 1;
	if (line)
		p->line_at = p->to->len + line;
	err = hook_path_put(p, p->mem, len);
	return err ? err : (ssize_t)len;
}

static ssize_t hook_path_put_next(struct hook_path *p, bool is_end)
{
	if (p->is_dropping)
		return hook_path_drop(p);
	return p->is_in_path ? hook_path_put_now(p) : hook_path_put_rest(p, is_end);
}

int hook_path_step(struct hook_path *p)
{
	for (size_t done = 0; done < HOOK_PATH_STEP_LEN;) {
		bool is_end = false;
		ssize_t n;

		while (p->len < HOOK_PATH_WINDOW && !is_end) {
			n = port_spool_read(
				p->from, p->at, p->mem + p->len, HOOK_PATH_WINDOW - p->len);
			if (n < 0)
				return (int)n;
			is_end = n == 0;
			p->at += (uint64_t)n;
			p->len += (size_t)n;
		}
		if (!p->len)
			return 0;
		n = hook_path_put_next(p, is_end);
		if (n < 0)
			return (int)n;
		p->len -= (size_t)n;
		memmove(p->mem, p->mem + n, p->len);
		done += (size_t)n;
	}
	return ERR_AGAIN;
}
