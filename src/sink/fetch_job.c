/* SPDX-License-Identifier: Apache-2.0 */
/* One artifact under way: what is there of it already, what is missing, and whether it is right. */
#include "sink/fetch_private.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "base/log.h"

enum {
	SLOW_FACTOR = 8, /* nobody mends a server within the time of a broken connection */
};

/* Of more, some would wait for a connection until their time for it is over. */
_Static_assert(CONFIG_FETCH_PARALLEL <= HTTP_SOCKET_COUNT / 2, "each has a connection");

uint8_t fetch_chunk[FETCH_CHUNK_LEN];

static void close_file(struct fetch_job *job)
{
	port_dir_close(job->fd);
	job->fd = -1;
}

void fetch_job_stop(struct fetch_job *job)
{
	if (!job->entry)
		return;
	http_stop(&job->request);
	close_file(job);
	job->entry = NULL;
	fetch_load_share(job->f);
	fetch_post(job->f);
}

void fetch_jobs_stop(struct fetch_sink *f)
{
	for (size_t i = 0; f->jobs && i < CONFIG_FETCH_PARALLEL; i++) {
		struct fetch_entry *e = f->jobs[i].entry;

		fetch_job_stop(&f->jobs[i]);
		if (e)
			fetch_set_step(f, e, FETCH_WANTED);
	}
}

/* -- how it ends ------------------------------------------------------------------------------ */

void fetch_job_failed(
	struct fetch_job *job, int32_t reason, bool is_slow, int64_t wait_ms, const char *why)
{
	struct fetch_sink *f = job->f;
	struct fetch_entry *e = job->entry;
	int64_t now_ms = f->cfg.loop->now_ms, delay_ms;
	struct attempt attempt = {
		.backoff_min_ms = f->cfg.backoff_min_ms * (is_slow ? SLOW_FACTOR : 1),
		.backoff_max_ms =
			is_slow ? (int64_t)CONFIG_FETCH_RETRY_MAX_S * 1000 : f->cfg.backoff_max_ms,
		.failures = e->failures,
	};

	delay_ms = attempt_delay_ms(&attempt, now_ms);
	e->failures = attempt.failures;
	e->reason = reason;
	e->due_ms = now_ms + (wait_ms > delay_ms ? wait_ms : delay_ms);
	f->sink.errors++;
	f->sink.why_ms = now_ms;
	(void)snprintf(f->sink.why, sizeof(f->sink.why), "%.48s: %.*s", job->rec.want.name,
		(int)sizeof(f->sink.why) - 64, why);
	if (e->told != reason && (!e->told || now_ms - e->told_ms >= f->cfg.backoff_max_ms) &&
		fetch_may_log(f)) {
		log_warn("watch %s: fetch %s: %s: %s; it is tried again", f->cfg.watch_name,
			f->cfg.path, job->rec.want.name, why);
		e->told = reason;
		e->told_ms = now_ms;
	}
	f->want_fail = reason < 0 ? reason : ERR_STATUS;
	fetch_set_step(f, e, FETCH_WANTED);
	fetch_job_stop(job);
}

static void job_failed_here(struct fetch_job *job, int err, const char *what)
{
	char why[SINK_WHY_MAX];

	(void)snprintf(why, sizeof(why), "%s: %s", what, err_text(err));
	fetch_job_failed(job, err, false, 0, why);
}

void fetch_job_refused(struct fetch_job *job, enum fetch_refusal refused, const char *why)
{
	struct fetch_sink *f = job->f;
	struct fetch_entry *e = job->entry;
	int err;

	job->rec.refused = refused;
	job->rec.validator[0] = '\0';
	(void)snprintf(job->rec.why, sizeof(job->rec.why), "%s", why);
	err = fetch_part_remove(f, job->rec.hash);
	if (!err)
		err = fetch_record_write(f, &job->rec);
	if (err) {
		job_failed_here(job, err, "it cannot be recorded");
		return;
	}
	e->refused = (uint8_t)refused;
	e->is_late = false;
	e->reason = e->told = 0;
	fetch_set_step(f, e, FETCH_REFUSED);
	fetch_tell_refusal(f, e, &job->rec);
	fetch_job_stop(job);
	fetch_names_freed(f);
}

/* It is in its place, and recorded. */
static void job_done(struct fetch_job *job, const char *how)
{
	struct fetch_sink *f = job->f;
	struct fetch_entry *e = job->entry;

	e->placed_name = e->name;
	if (e->is_late && !f->has_late) {
		f->has_late = true;
		/* Also after a kill: no position is good until all was listed. */
		(void)fetch_identity_renew(f);
	}
	e->is_late = false;
	e->refused = FETCH_NOT_REFUSED;
	e->failures = 0;
	e->reason = e->told = 0;
	fetch_set_step(f, e, FETCH_PLACED);
	f->placed++;
	log_info("watch %s: fetch %s: %s is in place (%s, %" PRIu64 " bytes, revision %" PRId64 ")",
		f->cfg.watch_name, f->cfg.path, job->rec.want.name, how, job->rec.placed_len,
		e->rev);
	fetch_job_stop(job);
	fetch_names_freed(f);
}

/* err: of fetch_place.c */
static void job_placed(struct fetch_job *job, int err, const char *how)
{
	if (err == ERR_LOCKED)
		fetch_job_refused(job, FETCH_FOREIGN, "something else in the folder has this name");
	else if (err)
		job_failed_here(job, err, "it cannot be put in its place");
	else
		job_done(job, how);
}

/* -- the part --------------------------------------------------------------------------------- */

int fetch_job_begin_anew(struct fetch_job *job)
{
	char name[FETCH_FILE_NAME_MAX];
	int err, fd;

	close_file(job);
	/* Never cut and written anew: see the design of flash file systems, where a power cut may leave two names
	 * of one file. */
	err = fetch_part_remove(job->f, job->rec.hash);
	if (err)
		return err;
	fd = port_dir_create(job->f->own, fetch_part_name(name, job->rec.hash));
	if (fd < 0)
		return fd;
	job->fd = fd;
	job->at = job->synced = 0;
	job->is_resumed = false;
	tls_sha256_begin(&job->sha);
	return 0;
}

/* How much of a part can be believed to be there. */
static uint64_t part_len(const struct fetch_job *job, const struct port_stat *st)
{
	const struct fetch_want *w = &job->rec.want;
	char boot[FETCH_BOOT_MAX];
	uint64_t len = st->len;

	if (st->links != 1 || (w->size >= 0 && len > (uint64_t)w->size))
		return 0;
	port_boot_id(boot, sizeof(boot));
	/* What was not on storage when the power failed may be holes. */
	if (strcmp(boot, job->rec.boot) != 0)
		len -= len < CONFIG_FETCH_SYNC_BYTES ? len : CONFIG_FETCH_SYNC_BYTES;
	return len;
}

static void job_hash(struct fetch_job *job, enum fetch_source source, uint64_t len)
{
	job->source = source;
	job->hash_to = len;
	job->at = 0;
	tls_sha256_begin(&job->sha);
	fetch_set_step(job->f, job->entry, FETCH_HASHING);
	loop_timer_set(job->f->cfg.loop, &job->f->step_timer, 0);
}

/* It has to be loaded, but for what is there. */
static void job_begin_part(struct fetch_job *job)
{
	char name[FETCH_FILE_NAME_MAX];
	struct port_stat st = {0};
	uint64_t len;
	int err = 0;

	close_file(job);
	job->fd = port_dir_open_update(job->f->own, fetch_part_name(name, job->rec.hash), &st);
	len = job->fd >= 0 ? part_len(job, &st) : 0;
	if (!len)
		err = fetch_job_begin_anew(job);
	else if (len < st.len)
		err = port_fd_cut(job->fd, len);
	if (err) {
		job_failed_here(job, err, "it cannot be written");
		return;
	}
	if (!len) {
		fetch_load_start(job);
		return;
	}
	job->is_resumed = true;
	job_hash(job, FETCH_PART, len);
}

int fetch_job_write(struct fetch_job *job, const uint8_t *p, size_t len)
{
	while (len) {
		ssize_t n = port_fd_write_at(job->fd, job->at, p, len);
		int err = 0;

		if (n <= 0)
			return n ? (int)n : ERR_IO;
		tls_sha256_update(&job->sha, p, (size_t)n);
		p += n;
		len -= (size_t)n;
		job->at += (uint64_t)n;
		if (!job->f->cfg.is_relaxed && job->at - job->synced >= CONFIG_FETCH_SYNC_BYTES) {
			err = port_fd_sync(job->fd);
			job->synced = job->at;
		}
		if (err)
			return err;
	}
	return 0;
}

/* -- whether it is right ---------------------------------------------------------------------- */

static bool has_digest(struct fetch_job *job)
{
	uint8_t digest[TLS_SHA256_LEN];

	return !tls_sha256_end(&job->sha, digest) &&
	       memcmp(digest, job->rec.want.sha256, sizeof(digest)) == 0;
}

void fetch_job_verify(struct fetch_job *job)
{
	int err;

	if (has_digest(job)) {
		fetch_set_step(job->f, job->entry, FETCH_PLACING);
		job_placed(job, fetch_place_put(job), "loaded");
		return;
	}
	if (!job->is_resumed || job->is_anew) {
		fetch_job_refused(job, FETCH_BAD_DIGEST, "it has another SHA-256 than is wanted");
		return;
	}
	/* Its beginning may be of another version, or what a power cut has left. */
	log_debug("fetch %s: %s: its parts do not fit together, it is loaded anew",
		job->f->cfg.watch_name, job->rec.want.name);
	job->is_anew = true;
	err = fetch_job_begin_anew(job);
	if (err)
		job_failed_here(job, err, "it cannot be written");
	else
		fetch_load_start(job);
}

static void job_not_it(struct fetch_job *job)
{
	if (fetch_place_is_ours(&job->rec))
		job_begin_part(job);
	else
		fetch_job_refused(job, FETCH_FOREIGN, "something else in the folder has this name");
}

static void job_hashed(struct fetch_job *job)
{
	if (job->source == FETCH_PLACE) {
		if (has_digest(job))
			job_placed(job, fetch_place_adopt(job), "it was there");
		else
			job_not_it(job);
	} else if (job->rec.want.size >= 0 && job->at == (uint64_t)job->rec.want.size) {
		fetch_job_verify(job);
	} else {
		job->synced = job->at;
		fetch_load_start(job);
	}
}

/* It can't be read on: what is there is of no use. */
static void job_unreadable(struct fetch_job *job)
{
	int err;

	if (job->source == FETCH_PLACE) {
		job_not_it(job);
		return;
	}
	err = fetch_job_begin_anew(job);
	if (err)
		job_failed_here(job, err, "it cannot be written");
	else
		fetch_load_start(job);
}

static void job_step(struct fetch_job *job)
{
	uint64_t until = job->at + FETCH_SLICE_LEN;

	while (job->at < job->hash_to && job->at < until) {
		uint64_t left = job->hash_to - job->at;
		ssize_t n = port_fd_read_at(job->fd, job->at, fetch_chunk,
			left < FETCH_CHUNK_LEN ? (size_t)left : FETCH_CHUNK_LEN);

		if (n <= 0) {
			job_unreadable(job);
			return;
		}
		tls_sha256_update(&job->sha, fetch_chunk, (size_t)n);
		job->at += (uint64_t)n;
	}
	if (job->at >= job->hash_to)
		job_hashed(job);
	else
		loop_timer_set(job->f->cfg.loop, &job->f->step_timer, 0);
}

void fetch_job_on_step(struct loop_timer *timer)
{
	struct fetch_sink *f = timer->user;

	for (size_t i = 0; i < CONFIG_FETCH_PARALLEL && f->root >= 0; i++) {
		struct fetch_job *job = &f->jobs[i];

		if (job->entry && job->entry->step == FETCH_HASHING)
			job_step(job);
	}
}

/* -- how it begins ---------------------------------------------------------------------------- */

static void job_look(struct fetch_job *job)
{
	struct fetch_sink *f = job->f;
	struct port_stat st;
	int found = fetch_place_look(f, &job->rec), err;

	switch (found) {
	case FETCH_FOUND_IT:
		/* The record may hold what was wanted in between. */
		err = fetch_part_remove(f, job->rec.hash);
		job->rec.refused = FETCH_NOT_REFUSED;
		job->rec.why[0] = '\0';
		job_placed(job, err ? err : fetch_record_write(f, &job->rec), "as before");
		break;
	case FETCH_FOUND_ELSEWHERE:
		job_placed(job, fetch_place_rename(job), "under another name");
		break;
	case FETCH_FOUND_FILE:
		job->fd = port_dir_open_file(f->root, job->rec.want.name, &st);
		if (job->fd < 0)
			job_failed_here(job, job->fd, "what is there cannot be read");
		else
			job_hash(job, FETCH_PLACE, st.len);
		break;
	case FETCH_FOUND_FOREIGN:
		job_not_it(job);
		break;
	case FETCH_FOUND_NOTHING:
		job_begin_part(job);
		break;
	default:
		job_failed_here(job, found, "its place cannot be looked at");
		break;
	}
}

void fetch_job_start(struct fetch_job *job, struct fetch_entry *e)
{
	struct fetch_sink *f = job->f;
	int there = port_dir_is_at(f->root, f->cfg.path);
	int err = there > 0 ? 0 : there ? there : ERR_NOENT;

	if (!err)
		err = fetch_record_read(f, e->hash, &job->rec);
	if (err == ERR_NOENT || err == ERR_HISTORY) {
		(void)fetch_lose(f, ERR_NOENT,
			err == ERR_HISTORY ? "a record in it is damaged"
					   : "something in it was removed");
		return;
	}
	job->entry = e;
	job->fd = -1;
	job->total = -1;
	job->at = job->synced = 0;
	job->is_resumed = job->is_anew = job->want_anew = job->is_whole = false;
	job->fault = NULL;
	job->rate_bytes_s = 0;
	job->rec.rev = e->rev;
	/* One that is late is found to be it after a restart by what it was refused for. */
	if (!e->is_late) {
		job->rec.refused = FETCH_NOT_REFUSED;
		job->rec.why[0] = '\0';
	}
	if (err)
		job_failed_here(job, err, "its record cannot be read");
	else
		job_look(job);
}
