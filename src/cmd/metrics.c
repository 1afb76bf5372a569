/* SPDX-License-Identifier: Apache-2.0 */
#include "cmd/metrics.h"

#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/log.h"

enum {
	METRICS_PIECE = 1024, /* bytes that are written at once */
	METRICS_MODE = 0644, /* the collector is another user */
	METRICS_SLACK_PART =
		8, /* of the interval: it may be that much late, to join another wake-up */
};

struct metrics_file {
	struct port_replace out;
	struct buf buf;
	uint8_t piece[METRICS_PIECE];
};

static int metrics_flush(struct metrics_file *f)
{
	int err = port_replace_write(&f->out, buf_head(&f->buf), buf_len(&f->buf));

	buf_clear(&f->buf);
	return err;
}

static int metrics_put(void *user, const char *text, size_t len)
{
	struct metrics_file *f = user;
	int err;

	if (buf_put(&f->buf, text, len) == 0)
		return 0;
	err = metrics_flush(f);
	return err ? err : buf_put(&f->buf, text, len);
}

static int metrics_write(struct metrics *m)
{
	struct metrics_file f;
	int err = port_replace_begin(&f.out, m->path, METRICS_MODE);

	if (err)
		return err;
	buf_init(&f.buf, f.piece, sizeof(f.piece));
	err = report_metrics(m->report, metrics_put, &f);
	if (!err)
		err = metrics_flush(&f);
	if (err) {
		port_replace_abort(&f.out);
		return err;
	}
	return port_replace_commit(&f.out);
}

static void metrics_run(struct metrics *m)
{
	char what[LOG_SHOW_MAX + 32], shown[LOG_SHOW_MAX];
	int err = metrics_write(m);

	log_show(shown, sizeof(shown), m->path, strlen(m->path));
	if (err) {
		snprintf(what, sizeof(what), "metrics file %s", shown);
		trouble_meet(&m->trouble, m->loop->now_ms, what, err_text(err),
			"it is not up to date, tried again at the next time");
	} else {
		snprintf(what, sizeof(what), "metrics file %s: written again", shown);
		trouble_end(&m->trouble, m->loop->now_ms, what);
		m->was_written = true;
	}
	loop_timer_set(m->loop, &m->timer, m->interval_ms);
}

void metrics_write_now(struct metrics *m)
{
	if (m->loop)
		metrics_run(m);
}

static void metrics_take_interval(struct metrics *m, int64_t interval_ms)
{
	int64_t slack_ms = interval_ms / METRICS_SLACK_PART;

	m->interval_ms = interval_ms;
	m->timer.slack_ms = slack_ms < UINT32_MAX ? (uint32_t)slack_ms : UINT32_MAX;
}

void metrics_set_interval(struct metrics *m, int64_t interval_ms)
{
	metrics_take_interval(m, interval_ms);
	metrics_write_now(m);
}

static void on_timer(struct loop_timer *timer)
{
	metrics_run(timer->user);
}

void metrics_open(struct metrics *m, struct loop *loop, const char *path, int64_t interval_ms,
	struct report *report)
{
	*m = (struct metrics){
		.loop = loop,
		.path = path,
		.report = report,
		.timer = {.fn = on_timer, .user = m},
	};
	metrics_take_interval(m, interval_ms);
	trouble_init(&m->trouble, LOG_LIMIT_MS);
	metrics_run(m);
}

void metrics_close(struct metrics *m)
{
	char shown[LOG_SHOW_MAX];
	int err;

	if (!m->loop)
		return;
	loop_timer_clear(m->loop, &m->timer);
	err = m->was_written ? port_file_remove(m->path) : 0;
	if (err)
		log_warn("metrics file %s: cannot be removed: %s; its figures are old from now on",
			log_show(shown, sizeof(shown), m->path, strlen(m->path)), err_text(err));
	m->loop = NULL;
}
