/* SPDX-License-Identifier: Apache-2.0 */
#include "sink/fetch_private.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "base/log.h"

struct fetch_record fetch_scratch;
/* What the value of the event at hand asks for; good within one call. */
static struct fetch_want want;

static struct fetch_sink *fetch_of(struct sink *s)
{
	return (struct fetch_sink *)s;
}

/* -- trouble ---------------------------------------------------------------------------------- */

void fetch_post(struct fetch_sink *f)
{
	loop_task_post(f->cfg.loop, &f->task);
}

int fetch_trouble(struct fetch_sink *f, int err, const char *what)
{
	int64_t now_ms = f->cfg.loop->now_ms;

	f->sink.errors++;
	f->sink.why_ms = now_ms;
	f->sink.is_failing = true;
	(void)snprintf(f->sink.why, sizeof(f->sink.why), "%s: %s", err_text(err), what);
	if (attempt_failed(&f->attempt, now_ms, err))
		log_warn("watch %s: fetch %s: %s: %s; tried again", f->cfg.watch_name, f->cfg.path,
			what, err_text(err));
	f->want_fail = err;
	fetch_post(f);
	loop_timer_set(f->cfg.loop, &f->retry_timer, attempt_delay_ms(&f->attempt, now_ms));
	return err;
}

int fetch_step_trouble(struct fetch_sink *f, int err, const char *what)
{
	if (f->state == FETCH_LOST || err == ERR_AGAIN)
		return err; /* told already */
	/* What must be there is not: somebody removes things in DIR/.etchlet or above. */
	if (err == ERR_NOENT)
		return fetch_lose(f, err, "something in it was removed");
	return fetch_trouble(f, err, what);
}

void fetch_trouble_end(struct fetch_sink *f)
{
	if (attempt_succeeded(&f->attempt))
		log_info("watch %s: fetch %s works again", f->cfg.watch_name, f->cfg.path);
}

static void on_retry(struct loop_timer *timer)
{
	struct fetch_sink *f = timer->user;

	if (f->state == FETCH_STOPPED)
		return;
	if (f->root < 0) {
		if (fetch_open_again(f))
			return;
		f->want_relist = true;
	}
	f->want_wake = true;
	fetch_post(f);
}

static void on_due(struct loop_timer *timer)
{
	fetch_post(timer->user);
}

static bool has_trouble(const struct fetch_sink *f)
{
	if (f->retry_timer.is_set || f->root < 0)
		return true;
	for (size_t i = 0; i < CONFIG_FETCH_KEY_COUNT; i++) {
		if (fetch_is_pending(&f->entries[i]) && f->entries[i].reason)
			return true;
	}
	return false;
}

static void on_task(struct loop_task *task)
{
	struct fetch_sink *f = task->user;
	int fail;
	bool want_relist, want_wake, has_moved;

	if (f->state != FETCH_STOPPED)
		fetch_pump(f);
	if (f->state != FETCH_STOPPED && fetch_late_is_due(f)) {
		log_info("watch %s: fetch %s: what was refused before is in place: all is listed "
			 "for the hook",
			f->cfg.watch_name, f->cfg.path);
		f->has_late = false;
		f->want_relist = true;
	}
	has_moved = fetch_update_done(f) || f->want_moved;
	f->sink.is_failing = f->state != FETCH_STOPPED && has_trouble(f);
	fail = f->want_fail;
	want_relist = f->want_relist;
	want_wake = f->want_wake || has_moved;
	f->want_fail = 0;
	f->want_relist = f->want_wake = f->want_moved = false;
	if (fail && f->sink.fail)
		f->sink.fail(&f->sink, fail);
	if (want_relist && f->sink.relist)
		f->sink.relist(&f->sink);
	if (want_wake && f->sink.wake)
		f->sink.wake(&f->sink);
	if (has_moved && f->cfg.moved)
		f->cfg.moved(f->cfg.moved_user);
}

/* -- what is wanted --------------------------------------------------------------------------- */

/* The record of e, or what is left to know when it is missing or damaged: whose file is whose. 0 or an error. */
static int read_record(struct fetch_sink *f, const struct fetch_entry *e)
{
	int err = fetch_record_read(f, e->hash, &fetch_scratch);

	if (err != ERR_NOENT && err != ERR_HISTORY)
		return err;
	fetch_scratch = (struct fetch_record){.want.size = -1};
	memcpy(fetch_scratch.hash, e->hash, FETCH_HASH_LEN);
	return fetch_place_find(f, e, fetch_scratch.placed_name);
}

/* All that is kept of a key goes. 0 or an error. */
static int forget(struct fetch_sink *f, struct fetch_entry *e)
{
	struct fetch_job *job = fetch_job_of(f, e);
	int err;

	if (job) {
		fetch_job_stop(job);
		fetch_set_step(f, e, FETCH_WANTED);
	}
	err = read_record(f, e);
	if (!err)
		err = fetch_place_remove(f, &fetch_scratch);
	if (!err)
		err = fetch_part_remove(f, e->hash);
	/* Last: as long as it is there, all that is left can be found. */
	if (!err)
		err = fetch_record_remove(f, e->hash);
	if (err)
		return err;
	log_debug("fetch %s: %s is removed", f->cfg.watch_name, fetch_scratch.placed_name);
	fetch_set_step(f, e, FETCH_FREE);
	*e = (struct fetch_entry){0};
	fetch_names_freed(f);
	/* There is room for one of those that were passed over: only a listing tells which they are. */
	f->want_relist = f->want_relist || (f->is_left_out && !f->is_listing);
	fetch_post(f);
	return 0;
}

/* The value at hand asks for what it did before, or is as malformed as it was. 0 or an error. */
static int keep(struct fetch_sink *f, struct fetch_entry *e, const struct etcd_event *event)
{
	struct fetch_job *job = fetch_job_of(f, e);
	int err;

	/* A server may have gone back: by the old revision what comes next would be taken for old after a restart. That
	 * of a newer one is not worth a write: the same event comes again at most. */
	if (event->mod_rev < fetch_scratch.rev) {
		fetch_scratch.rev = event->mod_rev;
		err = fetch_record_write(f, &fetch_scratch);
		if (err)
			return err;
	}
	/* What came in between could not be recorded, and is not wanted any more. */
	if (e->step == FETCH_REFUSED && e->refused == FETCH_NOT_REFUSED)
		fetch_judge(f, e, &fetch_scratch);
	e->rev = event->mod_rev;
	e->is_listed = true;
	e->is_left = e->is_late = false;
	if (job) {
		job->rec.rev = e->rev;
		job->rec.refused = FETCH_NOT_REFUSED;
		job->rec.why[0] = '\0';
	}
	if ((e->step == FETCH_PLACED && fetch_place_is_kept(f, &fetch_scratch) <= 0) ||
		(e->step == FETCH_REFUSED && e->refused == FETCH_FOREIGN &&
			!fetch_is_name_taken(f, e)))
		fetch_set_step(f, e, FETCH_WANTED);
	fetch_post(f);
	return 0;
}

/* Whether the record at hand, which may be an empty one, tells what the value does. why: what is wrong with the value. */
static bool is_known(const struct etcd_event *event, const char *why)
{
	if (fetch_scratch.refused == FETCH_MALFORMED)
		return *why && fetch_scratch.rev == event->mod_rev;
	return fetch_scratch.want.url[0] && fetch_want_is_same(&fetch_scratch.want, &want);
}

/* Puts into the record what the value asks for now. 0 or an error. */
static int renew(struct fetch_sink *f, const struct etcd_event *event, const char *why)
{
	bool is_part_of_use = fetch_scratch.want.url[0] && want.url[0] &&
			      !memcmp(fetch_scratch.want.sha256, want.sha256, sizeof(want.sha256));
	int err = fetch_place_settle(f, &fetch_scratch);

	if (!err && !is_part_of_use)
		err = fetch_part_remove(f, fetch_scratch.hash);
	if (err)
		return err;
	/* What a server calls its version says nothing about another one's. */
	if (!is_part_of_use || strcmp(fetch_scratch.want.url, want.url) != 0)
		fetch_scratch.validator[0] = '\0';
	fetch_scratch.want = want;
	fetch_scratch.rev = event->mod_rev;
	fetch_scratch.key_len = event->key_len < FETCH_KEY_SHOWN ? event->key_len : FETCH_KEY_SHOWN;
	memcpy(fetch_scratch.key, event->key, fetch_scratch.key_len);
	fetch_scratch.refused = *why ? FETCH_MALFORMED : FETCH_NOT_REFUSED;
	(void)snprintf(fetch_scratch.why, sizeof(fetch_scratch.why), "%s", why);
	return 0;
}

/* Its value is complete. 0 or an error. */
static int take(struct fetch_sink *f, const struct etcd_event *event)
{
	uint8_t hash[FETCH_HASH_LEN];
	char why[FETCH_WHY_MAX] = "";
	struct fetch_entry *e;
	struct fetch_job *job;
	bool is_new;
	int err;

	fetch_key_hash(event->key, event->key_len, hash);
	e = fetch_find(f, hash);
	is_new = !e;
	if (is_new)
		e = fetch_find_free(f);
	if (!e)
		return ERR_BUG;
	want = (struct fetch_want){.size = -1};
	if (f->value_len > CONFIG_FETCH_VALUE_BYTES)
		(void)snprintf(why, sizeof(why), "the value is longer than %d bytes",
			CONFIG_FETCH_VALUE_BYTES);
	else
		(void)fetch_value_parse(&want, f->value, f->value_len, event->key, event->key_len,
			why, sizeof(why));
	if (is_new)
		*e = (struct fetch_entry){0};
	memcpy(e->hash, hash, FETCH_HASH_LEN);
	err = read_record(f, e);
	if (err)
		return err;
	if (!is_new && is_known(event, why))
		return keep(f, e, event);
	job = is_new ? NULL : fetch_job_of(f, e);
	if (job)
		fetch_job_stop(job);
	err = renew(f, event, why);
	if (!err) {
		e->is_left = e->is_late = false;
		fetch_judge(f, e, &fetch_scratch);
		err = fetch_record_write(f, &fetch_scratch);
	}
	if (err) {
		/* The same call comes again; until then nobody begins with it. */
		fetch_set_step(f, e, is_new ? FETCH_FREE : FETCH_REFUSED);
		e->refused = FETCH_NOT_REFUSED;
		return err;
	}
	e->is_listed = true;
	if (e->step == FETCH_REFUSED)
		fetch_tell_refusal(f, e, &fetch_scratch);
	fetch_names_freed(f);
	fetch_post(f);
	return 0;
}

/* -- the sink --------------------------------------------------------------------------------- */

static bool is_away(const struct fetch_sink *f)
{
	return f->state == FETCH_STOPPED || f->state == FETCH_LOST;
}

static int check_place(struct fetch_sink *f)
{
	int there = port_dir_is_at(f->root, f->cfg.path);

	if (there > 0)
		return 0;
	return there ? fetch_trouble(f, there, "looking for it")
		     : fetch_lose(f, ERR_NOENT, "it was removed or replaced");
}

static int fetch_sync_begin(struct sink *sink, const struct sink_sync *sync)
{
	struct fetch_sink *f = fetch_of(sink);
	int err;

	(void)sync;
	if (f->state == FETCH_STOPPED || f->root < 0)
		return ERR_AGAIN;
	err = check_place(f);
	if (err)
		return err;
	/* The hook is given all there is. */
	f->has_late = false;
	for (size_t i = 0; i < CONFIG_FETCH_KEY_COUNT; i++)
		f->entries[i].is_listed = f->entries[i].is_left = f->entries[i].is_late = false;
	f->commit_rev = f->mark_rev = 0;
	f->is_listing = true;
	f->state = FETCH_IDLE;
	/* On storage it stays noted until the listing is whole: one that a kill ends comes again. */
	f->is_left_out = false;
	return 0;
}

static void pass_over(struct fetch_sink *f, const struct etcd_event *e)
{
	char shown[LOG_SHOW_MAX];

	if (!f->is_skip_told)
		log_warn("watch %s: key '%s' at revision %" PRId64
			 " is not fetched: there are %d keys already; the next ones are counted",
			f->cfg.watch_name, log_show(shown, sizeof(shown), e->key, e->key_len),
			e->mod_rev, CONFIG_FETCH_KEY_COUNT);
	f->is_skip_told = true;
	fetch_left_out_set(f);
	if (f->sink.skip)
		f->sink.skip(&f->sink, e);
}

static int fetch_event(struct sink *sink, const struct etcd_event *e)
{
	struct fetch_sink *f = fetch_of(sink);
	uint8_t hash[FETCH_HASH_LEN];
	const struct fetch_entry *entry;
	int err;

	if (is_away(f))
		return ERR_AGAIN;
	if (f->state != FETCH_IDLE || e->key_len > CONFIG_ETCD_KEY_BYTES)
		return ERR_BUG;
	err = check_place(f);
	if (err)
		return err;
	fetch_key_hash(e->key, e->key_len, hash);
	entry = fetch_find(f, hash);
	f->value_len = 0;
	/* A position that is behind brings again what is known already. */
	if (entry && !e->is_listed && e->mod_rev < entry->rev) {
		f->state = FETCH_SKIP;
	} else if (e->type == ETCD_EVENT_DELETE) {
		f->state = entry ? FETCH_REMOVE : FETCH_SKIP;
	} else if (!entry && !fetch_find_free(f)) {
		pass_over(f, e);
		f->state = FETCH_SKIP;
	} else {
		f->state = FETCH_GATHER;
	}
	return 0;
}

static ssize_t fetch_take_value(struct sink *sink, const struct etcd_event *e,
	enum etcd_value which, const uint8_t *p, size_t len)
{
	struct fetch_sink *f = fetch_of(sink);

	(void)e;
	if (is_away(f))
		return ERR_AGAIN;
	if (which != ETCD_VALUE || f->state != FETCH_GATHER)
		return (ssize_t)len;
	if (f->value_len > CONFIG_FETCH_VALUE_BYTES ||
		len > CONFIG_FETCH_VALUE_BYTES - f->value_len) {
		f->value_len = CONFIG_FETCH_VALUE_BYTES + 1;
		return (ssize_t)len;
	}
	memcpy(f->value + f->value_len, p, len);
	f->value_len += len;
	return (ssize_t)len;
}

static int fetch_event_end(struct sink *sink, const struct etcd_event *e)
{
	struct fetch_sink *f = fetch_of(sink);
	uint8_t hash[FETCH_HASH_LEN];
	struct fetch_entry *entry;
	int err = 0;

	if (is_away(f))
		return ERR_AGAIN;
	if (f->state == FETCH_IDLE)
		return ERR_BUG;
	if (f->state == FETCH_GATHER) {
		err = take(f, e);
	} else if (f->state == FETCH_REMOVE) {
		fetch_key_hash(e->key, e->key_len, hash);
		entry = fetch_find(f, hash);
		err = entry ? forget(f, entry) : 0;
	}
	if (err)
		return fetch_step_trouble(
			f, err, f->state == FETCH_REMOVE ? "removing" : "recording");
	f->state = FETCH_IDLE;
	fetch_trouble_end(f);
	return 0;
}

static int fetch_synced(struct sink *sink, int64_t revision)
{
	struct fetch_sink *f = fetch_of(sink);
	int err;

	(void)revision;
	if (is_away(f))
		return ERR_AGAIN;
	if (!f->is_listing || f->state != FETCH_IDLE)
		return ERR_BUG;
	err = check_place(f);
	for (size_t i = 0; i < CONFIG_FETCH_KEY_COUNT && !err; i++) {
		struct fetch_entry *e = &f->entries[i];

		if (e->step == FETCH_FREE || e->is_listed)
			continue;
		err = forget(f, e);
		if (err)
			err = fetch_step_trouble(f, err, "removing what was not listed");
	}
	if (err)
		return err;
	f->is_listing = false;
	if (!f->is_left_out)
		fetch_left_out_clear(f);
	/* Those that are gone held the places of some that were passed over. */
	if (f->is_left_out && fetch_find_free(f)) {
		f->want_relist = true;
		fetch_post(f);
	}
	fetch_trouble_end(f);
	return 0;
}

static int fetch_take_progress(struct sink *sink, int64_t revision)
{
	(void)revision;
	return is_away(fetch_of(sink)) ? ERR_AGAIN : 0;
}

static void fetch_commit(struct sink *sink, int64_t revision)
{
	struct fetch_sink *f = fetch_of(sink);

	f->commit_rev = revision;
	/* The owner looks at done_rev after this call, and a hook is to be told all the same. */
	if (!fetch_update_done(f))
		return;
	f->want_moved = true;
	fetch_post(f);
}

static bool fetch_is_ready(struct sink *sink)
{
	const struct fetch_sink *f = fetch_of(sink);

	return f->state != FETCH_STOPPED && f->root >= 0 && !f->retry_timer.is_set;
}

static int fetch_settle(struct sink *sink)
{
	struct fetch_sink *f = fetch_of(sink);
	int err = 0;

	if (f->root < 0)
		return ERR_AGAIN;
	/* A position that is saved belongs to an identity that is kept. */
	if (f->kept_identity != f->sink.identity)
		err = fetch_identity_write(f);
	if (!err && f->is_unsynced && !f->cfg.is_relaxed) {
		/* Their bytes are there already: of records and files the names are left. */
		err = port_dir_sync(f->root);
		if (!err)
			err = port_dir_sync(f->own);
	}
	if (err)
		return fetch_step_trouble(f, err, "saving");
	f->is_unsynced = false;
	return 0;
}

static void fetch_stop(struct sink *sink, int64_t timeout_ms)
{
	struct fetch_sink *f = fetch_of(sink);

	(void)timeout_ms;
	if (f->state == FETCH_STOPPED)
		return;
	fetch_jobs_stop(f);
	loop_timer_clear(f->cfg.loop, &f->retry_timer);
	loop_timer_clear(f->cfg.loop, &f->due_timer);
	loop_timer_clear(f->cfg.loop, &f->step_timer);
	f->state = FETCH_STOPPED;
	f->sink.is_stopped = true;
	f->want_wake = true;
	fetch_post(f);
}

static void fetch_now(const struct sink *sink, char *dst, size_t cap)
{
	const struct fetch_sink *f = (const struct fetch_sink *)sink;
	unsigned active = 0, waiting = 0;

	for (size_t i = 0; i < CONFIG_FETCH_KEY_COUNT; i++) {
		const struct fetch_entry *e = &f->entries[i];

		if (fetch_is_pending(e))
			*(e->step == FETCH_WANTED ? &waiting : &active) += 1;
	}
	if (active && waiting)
		(void)snprintf(dst, cap, "fetch: %u under way, %u waiting", active, waiting);
	else if (active)
		(void)snprintf(dst, cap, "fetch: %u under way", active);
	else if (waiting)
		(void)snprintf(dst, cap, "fetch: %u waiting", waiting);
}

static void fetch_retry(struct sink *sink)
{
	struct fetch_sink *f = fetch_of(sink);

	if (f->state == FETCH_STOPPED)
		return;
	if (f->retry_timer.is_set)
		loop_timer_set(f->cfg.loop, &f->retry_timer, 0);
	if (f->root >= 0)
		fetch_look_again(f);
}

static const struct sink_ops fetch_ops = {
	.sync_begin = fetch_sync_begin,
	.event = fetch_event,
	.value = fetch_take_value,
	.event_end = fetch_event_end,
	.synced = fetch_synced,
	.progress = fetch_take_progress,
	.commit = fetch_commit,
	.is_ready = fetch_is_ready,
	.settle = fetch_settle,
	.stop = fetch_stop,
	.now = fetch_now,
	.retry = fetch_retry,
};

void fetch_init(struct fetch_sink *f, const struct fetch_cfg *cfg)
{
	*f = (struct fetch_sink){.cfg = *cfg, .root = -1, .own = -1};
	f->sink.ops = &fetch_ops;
	f->sink.name = "fetch";
	f->sink.is_keeper = true;
	f->attempt = (struct attempt){
		.backoff_min_ms = cfg->backoff_min_ms, .backoff_max_ms = cfg->backoff_max_ms};
	f->task = (struct loop_task){.fn = on_task, .user = f};
	f->retry_timer = (struct loop_timer){.fn = on_retry, .user = f};
	f->due_timer = (struct loop_timer){.fn = on_due, .user = f};
	f->step_timer = (struct loop_timer){.fn = fetch_job_on_step, .user = f};
}

void fetch_set_delays(struct fetch_sink *f, int64_t backoff_min_ms, int64_t backoff_max_ms,
	int64_t connect_timeout_ms)
{
	f->cfg.connect_timeout_ms = connect_timeout_ms;
	f->cfg.backoff_min_ms = backoff_min_ms;
	f->cfg.backoff_max_ms = backoff_max_ms;
	attempt_set_backoff(&f->attempt, backoff_min_ms, backoff_max_ms);
	attempt_shorten(&f->attempt, f->cfg.loop, &f->retry_timer);
}
