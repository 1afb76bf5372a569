/* SPDX-License-Identifier: Apache-2.0 */
#include "sink/mirror_private.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "base/log.h"

/* The path of the event at hand, or of the key that was asked for; good within one call. */
static char path[MIRROR_PATH_LEN + 1];

static struct mirror_sink *mirror_of(struct sink *s)
{
	return (struct mirror_sink *)s;
}

uint32_t mirror_folder_mode(const struct mirror_sink *m)
{
	/* Who may read may search. */
	return m->cfg.mode | (m->cfg.mode & 0444) >> 2;
}

uint32_t mirror_root_mode(const struct mirror_sink *m, const struct port_stat *st)
{
	return m->cfg.has_mode ? mirror_folder_mode(m) : st->mode;
}

/* -- trouble ---------------------------------------------------------------------------------- */

void mirror_post_wake(struct mirror_sink *m)
{
	m->want_wake = true;
	loop_task_post(m->cfg.loop, &m->task);
}

int mirror_trouble(struct mirror_sink *m, int err, const char *what, const char *at)
{
	int64_t now_ms = m->cfg.loop->now_ms;

	m->sink.errors++;
	m->sink.why_ms = now_ms;
	m->sink.is_failing = true;
	snprintf(m->sink.why, sizeof(m->sink.why), "%s: %s%s%.80s", err_text(err), what,
		at ? " " : "", at ? at : "");
	if (attempt_failed(&m->attempt, now_ms, err))
		log_warn("watch %s: mirror %s: %s%s%s: %s; tried again", m->cfg.watch_name,
			m->cfg.path, what, at ? " " : "", at ? at : "", err_text(err));
	m->want_fail = err;
	loop_task_post(m->cfg.loop, &m->task);
	loop_timer_set(m->cfg.loop, &m->retry_timer, attempt_delay_ms(&m->attempt, now_ms));
	return err;
}

void mirror_trouble_end(struct mirror_sink *m)
{
	m->sink.is_failing = false;
	if (attempt_succeeded(&m->attempt))
		log_info("watch %s: mirror %s works again", m->cfg.watch_name, m->cfg.path);
}

static void on_retry(struct loop_timer *timer)
{
	struct mirror_sink *m = timer->user;

	if (m->state == MIRROR_STOPPED)
		return;
	if (m->root < 0) {
		if (mirror_open_again(m))
			return;
		m->want_relist = true;
	}
	mirror_post_wake(m);
}

static void on_task(struct loop_task *task)
{
	struct mirror_sink *m = task->user;
	int fail = m->want_fail;
	bool want_relist = m->want_relist, want_wake = m->want_wake;

	m->want_fail = 0;
	m->want_relist = m->want_wake = false;
	if (fail && m->sink.fail)
		m->sink.fail(&m->sink, fail);
	if (want_relist && m->sink.relist)
		m->sink.relist(&m->sink);
	if (want_wake && m->sink.wake)
		m->sink.wake(&m->sink);
}

static void on_job(struct loop_timer *timer)
{
	struct mirror_sink *m = timer->user;

	if (m->job != MIRROR_JOB_NONE)
		mirror_walk_on_timer(timer);
	else
		mirror_post_wake(m);
}

static size_t make_path(const struct mirror_sink *m, const uint8_t *key, size_t key_len)
{
	if (key_len < m->cut || memcmp(key, m->cfg.key, m->cut) != 0)
		return 0;
	return mirror_name_make(key, key_len, m->cut, path, m->path_cap);
}

/* -- the sink --------------------------------------------------------------------------------- */

static bool is_away(const struct mirror_sink *m)
{
	return m->state == MIRROR_STOPPED || m->state == MIRROR_LOST;
}

int mirror_step_trouble(struct mirror_sink *m, int err, const char *what, const char *at)
{
	if (m->state == MIRROR_LOST || err == ERR_AGAIN)
		return err; /* told already */
	/* What must be there is not: somebody removes things in DIR/.etchlet or above. */
	if (err == ERR_NOENT)
		return mirror_lose(m, err, "something in it was removed");
	return mirror_trouble(m, err, what, at);
}

/* An error of a step with the event at hand. */
static int event_trouble(struct mirror_sink *m, int err, const char *what)
{
	return mirror_step_trouble(m, err, what, path);
}

static int check_place(struct mirror_sink *m)
{
	int there = port_dir_is_at(m->root, m->cfg.path);

	if (there > 0)
		return 0;
	return there ? mirror_trouble(m, there, "looking for it", NULL)
		     : mirror_lose(m, ERR_NOENT, "it was removed or replaced");
}

static int mirror_sync_begin(struct sink *sink, const struct sink_sync *sync)
{
	struct mirror_sink *m = mirror_of(sink);
	int err;

	(void)sync;
	if (m->state == MIRROR_STOPPED || m->root < 0)
		return ERR_AGAIN;
	err = check_place(m);
	if (err)
		return err;
	mirror_walk_cancel(m);
	mirror_drop_event(m);
	err = mirror_list_begin(m);
	if (err)
		return mirror_trouble(m, err, "beginning a listing", NULL);
	m->is_listing = true;
	m->state = MIRROR_IDLE;
	return 0;
}

static void pass_over(struct mirror_sink *m, const struct etcd_event *e)
{
	char shown[LOG_SHOW_MAX];

	m->state = MIRROR_SKIP;
	if (!m->is_skip_told)
		log_warn(
			"watch %s: key '%s' at revision %" PRId64
			" can't be a file, its path is too long: not mirrored; the next ones are counted",
			m->cfg.watch_name, log_show(shown, sizeof(shown), e->key, e->key_len),
			e->mod_rev);
	m->is_skip_told = true;
	if (m->sink.skip)
		m->sink.skip(&m->sink, e);
}

static int mirror_event(struct sink *sink, const struct etcd_event *e)
{
	struct mirror_sink *m = mirror_of(sink);
	size_t len;
	int err, fd;

	if (is_away(m) || m->job != MIRROR_JOB_NONE)
		return ERR_AGAIN;
	if (m->state != MIRROR_IDLE || e->key_len > CONFIG_ETCD_KEY_BYTES)
		return ERR_BUG;
	err = check_place(m);
	if (err)
		return err;
	len = make_path(m, e->key, e->key_len);
	m->len = m->copied = 0;
	if (!len) {
		pass_over(m, e);
		return 0;
	}
	if (e->type == ETCD_EVENT_DELETE) {
		m->state = MIRROR_REMOVE;
		return 0;
	}
	fd = mirror_tree_open(m, path, len, &m->old_stat);
	if (fd == ERR_NOMEM)
		return mirror_trouble(m, fd, "opening", path);
	/* One with other names too is not changed in place, not even its mode. */
	if (fd >= 0 && m->old_stat.len == e->value_len && m->old_stat.links == 1 &&
		!mirror_file_is_unread(m, e)) {
		m->old_fd = fd;
		m->state = MIRROR_COMPARE;
		return 0;
	}
	port_dir_close(fd);
	err = mirror_file_begin(m, e->value_len);
	if (err)
		return event_trouble(m, err, "making room for");
	m->state = MIRROR_WRITE;
	return 0;
}

/* A step with some bytes: bytes taken, 0 when the state has changed, or an error. */
static ssize_t take_value(
	struct mirror_sink *m, const struct etcd_event *e, const uint8_t *p, size_t len)
{
	ssize_t n;

	switch (m->state) {
	case MIRROR_SKIP:
	case MIRROR_REMOVE:
		return (ssize_t)len;
	case MIRROR_COMPARE:
		n = mirror_file_compare(m, p, len);
		if (n == 0)
			m->state = MIRROR_COPY;
		return n;
	case MIRROR_COPY:
		return mirror_file_copy(m, e);
	case MIRROR_WRITE:
		n = port_fd_write_at(m->new_fd, m->len, p, len);
		return n ? n : ERR_IO;
	default:
		return ERR_BUG;
	}
}

static ssize_t mirror_value(struct sink *sink, const struct etcd_event *e, enum etcd_value which,
	const uint8_t *p, size_t len)
{
	struct mirror_sink *m = mirror_of(sink);
	size_t done = 0;

	if (is_away(m))
		return ERR_AGAIN;
	if (which != ETCD_VALUE)
		return (ssize_t)len;
	while (done < len) {
		ssize_t n = take_value(m, e, p + done, len - done);

		if (n < 0) {
			if (!make_path(m, e->key, e->key_len))
				return ERR_BUG;
			/* Told now, although some was taken: it is what brings the next try. */
			n = event_trouble(m, (int)n, "writing");
			return done ? (ssize_t)done : n;
		}
		m->len += (uint64_t)n;
		done += (size_t)n;
	}
	return (ssize_t)done;
}

/* What is left to do for the event: 0 when the state is PLACED or IDLE, or an error. */
static int finish_event(struct mirror_sink *m, const struct etcd_event *e, size_t path_len)
{
	int err = 0;

	if (m->state == MIRROR_COMPARE && m->len == m->old_stat.len) {
		/* It is what it is to be, but perhaps for its mode and owner. */
		err = mirror_tree_put_right(m, m->old_fd, &m->old_stat, m->cfg.mode);
		if (err)
			return err;
		m->state = MIRROR_PLACED;
	} else if (m->state == MIRROR_COMPARE) {
		m->state = MIRROR_COPY;
	}
	if (m->state == MIRROR_COPY)
		err = mirror_file_copy(m, e);
	if (!err && m->state == MIRROR_WRITE) {
		err = mirror_file_place(m, e, path, path_len);
		if (!err)
			m->state = MIRROR_PLACED;
	}
	if (!err && m->state == MIRROR_REMOVE) {
		err = mirror_tree_remove(m, path, path_len);
		if (!err)
			m->state = MIRROR_IDLE;
	}
	return err;
}

static int mirror_event_end(struct sink *sink, const struct etcd_event *e)
{
	struct mirror_sink *m = mirror_of(sink);
	size_t len;
	int err;

	if (is_away(m))
		return ERR_AGAIN;
	if (m->state == MIRROR_SKIP) {
		m->state = MIRROR_IDLE;
		return 0;
	}
	len = make_path(m, e->key, e->key_len);
	if (!len || m->state == MIRROR_IDLE)
		return ERR_BUG;
	err = finish_event(m, e, len);
	if (!err && m->state == MIRROR_PLACED && m->is_listing)
		err = mirror_list_add(m, path, len);
	if (err)
		return event_trouble(m, err, e->type == ETCD_EVENT_DELETE ? "removing" : "placing");
	mirror_drop_event(m);
	m->state = MIRROR_IDLE;
	if (!m->is_listing)
		mirror_id_rest(m);
	mirror_trouble_end(m);
	return 0;
}

static int mirror_synced(struct sink *sink, int64_t revision)
{
	struct mirror_sink *m = mirror_of(sink);
	int err;

	(void)revision;
	if (is_away(m))
		return ERR_AGAIN;
	if (m->job != MIRROR_JOB_NONE)
		return ERR_BUSY; /* at work: whoever waits for the lister goes on waiting */
	if (!m->is_listing || m->state != MIRROR_IDLE)
		return ERR_BUG;
	if (!m->is_job_done) {
		err = check_place(m);
		if (!err)
			err = mirror_walk_start(m, MIRROR_JOB_PRUNE);
		if (err && (m->state == MIRROR_LOST || m->retry_timer.is_set))
			return err;
		if (err)
			return mirror_step_trouble(m, err, "removing what was not listed", NULL);
		if (!m->is_job_done)
			return ERR_BUSY;
	}
	mirror_list_end(m);
	m->is_listing = m->is_job_done = false;
	mirror_id_rest(m);
	mirror_trouble_end(m);
	return 0;
}

static int mirror_progress(struct sink *sink, int64_t revision)
{
	(void)revision;
	return is_away(mirror_of(sink)) ? ERR_AGAIN : 0;
}

static void mirror_commit(struct sink *sink, int64_t revision)
{
	sink->done_rev = revision;
}

static bool mirror_is_ready(struct sink *sink)
{
	const struct mirror_sink *m = mirror_of(sink);

	return m->state != MIRROR_STOPPED && m->root >= 0 && !m->retry_timer.is_set;
}

static int mirror_settle(struct sink *sink)
{
	struct mirror_sink *m = mirror_of(sink);
	int err = 0;

	if (m->root < 0)
		return ERR_AGAIN;
	/* A position that is saved belongs to an identity that is kept. */
	if (m->record.identity != m->sink.identity)
		err = mirror_id_write(m, MIRROR_RECORD_CHANGING);
	else if (!m->is_unsynced && m->is_digest_known && !m->record.is_clean &&
		 m->state == MIRROR_IDLE && !m->is_listing)
		err = mirror_id_write(
			m, MIRROR_RECORD_AT_REST); /* it has been at rest since the last time */
	else if (!m->is_unsynced)
		return 0;
	if (!err && !m->cfg.is_relaxed)
		err = port_dir_sync_all(m->root);
	if (err)
		return mirror_step_trouble(m, err, "saving", NULL);
	m->is_unsynced = false;
	return 0;
}

static void mirror_stop(struct sink *sink, int64_t timeout_ms)
{
	struct mirror_sink *m = mirror_of(sink);

	(void)timeout_ms;
	if (m->state == MIRROR_STOPPED)
		return;
	mirror_leave(m);
	m->state = MIRROR_STOPPED;
	m->sink.is_stopped = true;
	mirror_post_wake(m);
}

static void mirror_retry(struct sink *sink)
{
	struct mirror_sink *m = mirror_of(sink);

	if (m->retry_timer.is_set)
		loop_timer_set(m->cfg.loop, &m->retry_timer, 0);
}

static const struct sink_ops mirror_ops = {
	.sync_begin = mirror_sync_begin,
	.event = mirror_event,
	.value = mirror_value,
	.event_end = mirror_event_end,
	.synced = mirror_synced,
	.progress = mirror_progress,
	.commit = mirror_commit,
	.is_ready = mirror_is_ready,
	.settle = mirror_settle,
	.stop = mirror_stop,
	.retry = mirror_retry,
};

void mirror_init(struct mirror_sink *m, const struct mirror_cfg *cfg)
{
	size_t dir_len = strlen(cfg->path);

	while (dir_len > 1 && cfg->path[dir_len - 1] == '/')
		dir_len--;
	*m = (struct mirror_sink){.cfg = *cfg};
	m->sink.ops = &mirror_ops;
	m->sink.name = "mirror";
	m->sink.is_keeper = true;
	m->cut = mirror_name_cut(cfg->key, cfg->key_len);
	m->path_cap = dir_len + 1 < MIRROR_PATH_MAX ? MIRROR_PATH_MAX - dir_len - 1 : 0;
	m->root = m->own = m->lost_root = m->old_fd = m->new_fd = m->listed.fd = -1;
	m->attempt = (struct attempt){
		.backoff_min_ms = cfg->backoff_min_ms, .backoff_max_ms = cfg->backoff_max_ms};
	m->task = (struct loop_task){.fn = on_task, .user = m};
	m->retry_timer = (struct loop_timer){.fn = on_retry, .user = m};
	m->job_timer = (struct loop_timer){.fn = on_job, .user = m};
	m->trash_timer = (struct loop_timer){.fn = mirror_trash_on_timer, .user = m};
	m->rest_timer = (struct loop_timer){.fn = mirror_id_on_rest, .user = m, .slack_ms = 1000};
}

/* -- for a hook ------------------------------------------------------------------------------- */

static size_t give_path(struct mirror_sink *m, size_t len, char *dst, size_t cap)
{
	if (!len)
		return 0;
	len = mirror_tree_locate(m, path, len);
	if (len >= cap)
		return 0;
	memcpy(dst, path, len + 1);
	return len;
}

size_t mirror_key_path(
	struct mirror_sink *m, const uint8_t *key, size_t key_len, char *dst, size_t cap)
{
	return give_path(m, make_path(m, key, key_len), dst, cap);
}

size_t mirror_path_now(struct mirror_sink *m, const char *was, size_t len, char *dst, size_t cap)
{
	if (len > MIRROR_SELF_LEN &&
		memcmp(was + len - MIRROR_SELF_LEN, "/" MIRROR_SELF_NAME, MIRROR_SELF_LEN) == 0)
		len -= MIRROR_SELF_LEN;
	if (len >= MIRROR_PATH_MAX)
		return 0;
	memcpy(path, was, len);
	path[len] = '\0';
	return give_path(m, len, dst, cap);
}

uint32_t mirror_shape(const struct mirror_sink *m)
{
	return m->shape;
}
