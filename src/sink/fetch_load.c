/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The request for what is missing of an artifact. Its beginning is gone on with by Range and If-Range (RFC 9110 13.1.5, 14.2):
 * an answer that does not begin where the part ends, 200 and 416 among them, leads to a beginning from nothing. What the
 * server says of the length is held against what is wanted before the first byte is taken, so that the page of
 * a captive portal is no reason to refuse the artifact. What is beyond fetch-max-size is refused, whoever says so.
 */
#include "sink/fetch_private.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/err.h"

#define OTHER_SIZE "the server has another size than is wanted"
#define TOO_LARGE "it is larger than fetch-max-size allows"

enum {
	RETRY_AFTER_MAX_MS = 3600 * 1000, /* a server may not put it off for longer */
	PROGRESS_LEN = 65536, /* a try that has brought so much was none in vain */
};

/* -- the rate --------------------------------------------------------------------------------- */

static bool is_loading(const struct fetch_job *job)
{
	return job->entry && job->entry->step == FETCH_LOADING;
}

void fetch_load_share(struct fetch_sink *f)
{
	uint64_t share;
	unsigned n = 0;

	for (size_t i = 0; i < CONFIG_FETCH_PARALLEL; i++)
		n += is_loading(&f->jobs[i]);
	if (!f->cfg.rate_bytes_s || !n)
		return;
	share = f->cfg.rate_bytes_s / n ? f->cfg.rate_bytes_s / n : 1;
	for (size_t i = 0; i < CONFIG_FETCH_PARALLEL; i++) {
		struct http_request *r = &f->jobs[i].request;

		if (!is_loading(&f->jobs[i]) || r->rate_bytes_s == share)
			continue;
		r->rate_bytes_s = share;
		if (http_is_under_way(r))
			http_set_rate(r, share);
	}
}

/* Half of the rate so far, and half of that of the last second. */
static void measure(struct fetch_job *job)
{
	int64_t now_ms = job->f->cfg.loop->now_ms, passed_ms = now_ms - job->rate_ms;
	uint64_t rate;

	if (passed_ms < FETCH_RATE_MS)
		return;
	rate = (job->at - job->rate_from) * 1000 / (uint64_t)passed_ms;
	job->rate_bytes_s = job->rate_bytes_s ? (job->rate_bytes_s + rate) / 2 : rate;
	job->rate_ms = now_ms;
	job->rate_from = job->at;
}

uint64_t fetch_load_rate(const struct fetch_job *job, int64_t now_ms)
{
	int64_t passed_ms = now_ms - job->rate_ms;

	/* Before the first measuring, and when nothing comes any more. */
	if (passed_ms > 0 && (!job->rate_bytes_s || passed_ms > 4 * FETCH_RATE_MS))
		return (job->at - job->rate_from) * 1000 / (uint64_t)passed_ms;
	return job->rate_bytes_s;
}

/* -- the answer ------------------------------------------------------------------------------- */

static int end_with(struct fetch_job *job, int err, const char *fault)
{
	job->fault = fault;
	return err;
}

/* What it is to have in all, by the server. */
static int check_total(struct fetch_job *job)
{
	const struct fetch_want *w = &job->rec.want;
	int64_t total = job->total;

	if (total < 0)
		return 0;
	if (w->size >= 0 && total != w->size)
		return end_with(job, ERR_LIMIT, OTHER_SIZE);
	if ((uint64_t)total > job->f->cfg.max_len)
		return end_with(job, ERR_RANGE, TOO_LARGE);
	return 0;
}

/* A full disk says so before the artifact is fetched. */
static int check_space(const struct fetch_job *job, int64_t total)
{
	uint64_t space;

	/* What is reserved for a part already counts as taken. */
	if (total < 0 || job->at || port_fd_space(job->fd, &space))
		return 0;
	return space < (uint64_t)total ? ERR_NOSPACE : 0;
}

/* Of what begins to come; what a server does not have takes nobody's space. */
static int reserve_space(const struct fetch_job *job)
{
	int64_t total = job->total >= 0 ? job->total : job->rec.want.size;
	int err = check_space(job, total);

	if (err || total < 0 || (uint64_t)total <= job->at)
		return err;
	return port_fd_reserve(job->fd, (uint64_t)total);
}

/* What a later try needs to go on with the part. */
static int keep_validator(struct fetch_job *job)
{
	struct fetch_record *r = &job->rec;
	const char *validator = job->request.answer.validator;
	char boot[FETCH_BOOT_MAX];

	port_boot_id(boot, sizeof(boot));
	if (strcmp(r->validator, validator) == 0 && strcmp(r->boot, boot) == 0)
		return 0;
	(void)snprintf(r->validator, sizeof(r->validator), "%s", validator);
	memcpy(r->boot, boot, sizeof(r->boot));
	return fetch_record_write(job->f, r);
}

/* 0 when the body goes on where the part ends. */
static int match_part(struct fetch_job *job, const struct http_answer *a)
{
	if (a->status == 200) {
		job->total = a->len;
		return job->at ? fetch_job_begin_anew(job) : 0;
	}
	if (a->status == 206 && job->at && a->range_first == (int64_t)job->at) {
		job->total = a->range_total >= 0 ? a->range_total
			     : a->len >= 0       ? (int64_t)job->at + a->len
						 : -1;
		return 0;
	}
	if (a->status == 416 && job->at && a->range_total == (int64_t)job->at) {
		/* Its size is asked about only where the value does not tell it, or tells another one. */
		if (job->rec.want.size >= 0)
			return end_with(job, ERR_LIMIT, OTHER_SIZE);
		job->is_whole = true;
	}
	if (!job->is_whole && (a->status == 206 || (a->status == 416 && job->at)))
		job->want_anew = true;
	return ERR_STATUS;
}

static int on_begin(struct http_request *r)
{
	struct fetch_job *job = r->user;
	int err = match_part(job, &r->answer);

	if (!err)
		err = check_total(job);
	if (!err)
		err = reserve_space(job);
	if (!err)
		err = keep_validator(job);
	if (!err) {
		job->entry->reason = 0;
		fetch_post(job->f);
	}
	return err;
}

static int on_body(struct http_request *r, const uint8_t *p, size_t len)
{
	struct fetch_job *job = r->user;
	int64_t size = job->rec.want.size;
	uint64_t after = job->at + len;
	int err;

	if (size >= 0 && after > (uint64_t)size)
		return end_with(job, ERR_LIMIT, "the server sends more than is wanted");
	if (after > job->f->cfg.max_len)
		return end_with(job, ERR_RANGE, TOO_LARGE);
	err = fetch_job_write(job, p, len);
	if (err)
		return err;
	job->f->bytes += len;
	measure(job);
	return 0;
}

/* -- its end ---------------------------------------------------------------------------------- */

static void load_anew(struct fetch_job *job)
{
	int err;

	if (job->is_anew) {
		fetch_job_failed(job, ERR_HTTP, true, 0,
			"the server sends another part of it than was asked for");
		return;
	}
	job->is_anew = true;
	err = fetch_job_begin_anew(job);
	if (err)
		fetch_job_failed(job, err, false, 0, err_text(err));
	else
		fetch_load_start(job);
}

static void load_refused_by_server(struct fetch_job *job)
{
	int status = job->request.answer.status;
	int64_t wait_ms = job->request.answer.retry_after_ms;
	bool is_slow = status < 500 && status != 408 && status != 429;
	char why[SINK_WHY_MAX];

	(void)fetch_reason_text(why, sizeof(why), status);
	fetch_job_failed(job, status, is_slow,
		wait_ms > RETRY_AFTER_MAX_MS ? RETRY_AFTER_MAX_MS : wait_ms, why);
}

static void load_too_long(struct fetch_job *job)
{
	int err = fetch_part_remove(job->f, job->rec.hash);

	fetch_job_failed(job, err ? err : ERR_LIMIT, !err, 0, err ? err_text(err) : job->fault);
}

/* What breaks off and is gone on with gets there. */
static void note_progress(struct fetch_job *job)
{
	if (job->at > job->begun_at && job->at - job->begun_at >= PROGRESS_LEN)
		job->entry->failures = 0;
}

static bool is_for_a_person(int err)
{
	return err_class_of(err) == ERR_CLASS_CONFIG || err == ERR_HTTP;
}

static void on_done(struct http_request *r, int err, const char *why)
{
	struct fetch_job *job = r->user;
	int64_t size = job->rec.want.size >= 0 ? job->rec.want.size : job->total;
	char text[SINK_WHY_MAX];

	if (job->want_anew) {
		load_anew(job);
	} else if (job->is_whole) {
		fetch_job_verify(job);
	} else if (job->fault && err == ERR_RANGE) {
		fetch_job_refused(job, FETCH_TOO_LARGE, job->fault);
	} else if (job->fault) {
		load_too_long(job);
	} else if (err == ERR_STATUS) {
		load_refused_by_server(job);
	} else if (err) {
		note_progress(job);
		fetch_job_failed(job, err, is_for_a_person(err), 0, *why ? why : err_text(err));
	} else if (size >= 0 && job->at < (uint64_t)size) {
		(void)snprintf(text, sizeof(text),
			"it ended after %" PRIu64 " of %" PRId64 " bytes", job->at, size);
		/* Perhaps that is all there is, which the next try tells. */
		fetch_job_failed(job, ERR_CLOSED, true, 0, text);
	} else {
		fetch_job_verify(job);
	}
}

void fetch_load_start(struct fetch_job *job)
{
	struct fetch_sink *f = job->f;
	char why[HTTP_WHY_MAX] = "";
	int err;

	job->headers[0] = job->headers[1] = job->headers[2] = NULL;
	if (job->at) {
		(void)snprintf(
			job->range, sizeof(job->range), "Range: bytes=%" PRIu64 "-", job->at);
		job->headers[0] = job->range;
	}
	if (job->at && job->rec.validator[0]) {
		(void)snprintf(
			job->if_range, sizeof(job->if_range), "If-Range: %s", job->rec.validator);
		job->headers[1] = job->if_range;
	}
	job->want_anew = job->is_whole = false;
	job->fault = NULL;
	job->total = -1;
	job->rate_ms = f->cfg.loop->now_ms;
	job->rate_from = job->begun_at = job->at;
	job->rate_bytes_s = 0;
	job->request = (struct http_request){
		.url = job->rec.want.url,
		.headers = job->headers,
		.connect_timeout_ms = f->cfg.connect_timeout_ms,
		.timeout_ms = f->cfg.timeout_ms,
		.slow_bytes = CONFIG_FETCH_SLOW_BYTES,
		.redirects = CONFIG_FETCH_REDIRECT_COUNT,
		.begin = on_begin,
		.body = on_body,
		.done = on_done,
		.user = job,
	};
	fetch_set_step(f, job->entry, FETCH_LOADING);
	fetch_load_share(f);
	err = check_space(job, job->rec.want.size);
	if (err) {
		fetch_job_failed(job, err, false, 0, err_text(err));
		return;
	}
	err = http_start(f->http, &job->request, why, sizeof(why));
	if (err)
		fetch_job_failed(job, err, is_for_a_person(err), 0, *why ? why : err_text(err));
}
