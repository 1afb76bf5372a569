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
	err = now ? hook_path_put(p, dst, now) : hook_path_put(p, p->mem, len);
	return err ? err : (ssize_t)len;
}

/* What stands before the next path, with the name of the member. Returns as above. */
static ssize_t hook_path_put_rest(struct hook_path *p, bool is_end)
{
	size_t len = hook_path_find(p);
	int err;

	p->is_in_path = len != 0;
	/* The window may end within the name. */
	if (!len)
		len = is_end || p->len < HOOK_PATH_NAME_LEN ? p->len
							    : p->len - (HOOK_PATH_NAME_LEN - 1);
	err = hook_path_put(p, p->mem, len);
	return err ? err : (ssize_t)len;
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
		n = p->is_in_path ? hook_path_put_now(p) : hook_path_put_rest(p, is_end);
		if (n < 0)
			return (int)n;
		p->len -= (size_t)n;
		memmove(p->mem, p->mem + n, p->len);
		done += (size_t)n;
	}
	return ERR_AGAIN;
}
