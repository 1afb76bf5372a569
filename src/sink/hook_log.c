/* SPDX-License-Identifier: Apache-2.0 */
#include "sink/hook_log.h"

#include <inttypes.h>
#include <string.h>

static void hook_log_line(struct hook_log *l)
{
	char text[LOG_SHOW_MAX];
	size_t len = l->len;

	l->len = 0;
	if (len && len < sizeof(l->line) && l->line[len - 1] == '\r')
		len--;
	if (!len)
		return;
	if (l->shown == CONFIG_HOOK_LOG_LINES) {
		l->hidden++;
		return;
	}
	l->shown++;
	log_info("hook %s: %s", l->name, log_show(text, sizeof(text), l->line, len));
}

void hook_log_add(struct hook_log *l, const uint8_t *p, size_t len)
{
	while (len) {
		const uint8_t *end = memchr(p, '\n', len);
		size_t n = end ? (size_t)(end - p) : len;
		size_t room = sizeof(l->line) - l->len;

		memcpy(l->line + l->len, p, n < room ? n : room);
		l->len += n < room ? n : room;
		if (end) {
			hook_log_line(l);
			n++;
		}
		p += n;
		len -= n;
	}
}

void hook_log_end(struct hook_log *l)
{
	hook_log_line(l);
	if (l->hidden)
		log_info("hook %s: %" PRIu64 " more line%s not shown", l->name, l->hidden,
			l->hidden == 1 ? "" : "s");
	l->hidden = 0;
	l->shown = 0;
}
