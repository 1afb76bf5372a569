/* SPDX-License-Identifier: Apache-2.0 */
#include "cmd/progress.h"

#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "cmd/report_fetch.h"
#include "port/port.h"

/* ECMA-48: to the line's begin, then erase to its end. */
#define PROGRESS_ERASE "\r\033[K"
/* A line that is too long for the terminal is cut by it, not folded: DEC's private mode 7. */
#define PROGRESS_NO_FOLD "\033[?7l"
#define PROGRESS_FOLD "\033[?7h"

enum {
	PROGRESS_NAME_BYTES = 32, /* of an artifact's name */
};

/* The one whose line may stand on the terminal, for the log. */
static struct progress *progress_shown;

static void progress_erase(void)
{
	struct progress *p = progress_shown;

	if (!p || !p->is_drawn)
		return;
	p->is_drawn = false;
	port_stderr_write(PROGRESS_ERASE, sizeof(PROGRESS_ERASE) - 1);
}

/* The first download that is under way, and how many there are. */
static size_t progress_find(const struct progress *p, struct fetch_progress *first)
{
	struct fetch_progress next;
	size_t n = 0;

	for (size_t w = 0; w < p->report->watch_count; w++) {
		const struct fetch_sink *f = p->report->watches[w].fetch;

		/* Those that are loading come first. */
		for (size_t i = 0; f && fetch_progress(f, i, &next); i++) {
			if (!report_fetch_is_loading(&next))
				break;
			if (!n++)
				*first = next;
		}
	}
	return n;
}

static void progress_draw(struct progress *p)
{
	char text[REPORT_FETCH_LINE_MAX], line[REPORT_FETCH_LINE_MAX + 64], more[48] = "";
	struct fetch_progress first;
	size_t n = progress_find(p, &first);
	int len;

	if (!n || !port_stderr_is_terminal()) {
		progress_erase();
		return;
	}
	if (n > 1)
		(void)snprintf(more, sizeof(more), "  and %zu more", n - 1);
	len = snprintf(line, sizeof(line), PROGRESS_NO_FOLD "\r%s%s\033[K" PROGRESS_FOLD,
		report_fetch_line(text, &first, PROGRESS_NAME_BYTES), more);
	if (len < 0 || (size_t)len >= sizeof(line))
		return;
	port_stderr_write(line, (size_t)len);
	p->is_drawn = true;
}

static void progress_on_timer(struct loop_timer *timer)
{
	struct progress *p = timer->user;

	progress_draw(p);
	loop_timer_set(p->loop, timer, PROGRESS_INTERVAL_MS);
}

void progress_open(struct progress *p, struct loop *loop, const struct report *report)
{
	*p = (struct progress){.loop = loop, .report = report};
	if (!port_stderr_is_terminal())
		return;
	p->timer = (struct loop_timer){.fn = progress_on_timer, .user = p};
	progress_shown = p;
	log_set_before(progress_erase);
	loop_timer_set(loop, &p->timer, PROGRESS_INTERVAL_MS);
}

void progress_close(struct progress *p)
{
	if (progress_shown != p)
		return;
	progress_erase();
	log_set_before(NULL);
	loop_timer_clear(p->loop, &p->timer);
	progress_shown = NULL;
}
