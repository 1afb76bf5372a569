/* SPDX-License-Identifier: Apache-2.0 */
#include "sink/post.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/crc32.h"
#include "base/err.h"
#include "base/wipe.h"
#include "sink/post_text.h"

enum {
	POST_READ_LEN = 4096, /* of the spool, at once */
	POST_STEP_LEN = 65536, /* and so much in one turn */
	POST_KEY_TAIL = 96, /* bytes of the key behind device and watch, with the closing quote */
};

static struct post_sink *post_of(struct batch *b)
{
	return (struct post_sink *)b;
}

/* -- the key ---------------------------------------------------------------------------------- */

static void post_drop(struct batch *b)
{
	struct post_sink *s = post_of(b);

	s->crc = 0;
	s->crc_at = 0;
}

/*
 * A revision alone is no key: after a cluster was restored from a backup, the same revision comes again with other
 * events, and a service that had seen it would pass them over.
 */
static int post_prepare(struct batch *b, bool is_first)
{
	struct post_sink *s = post_of(b);
	uint8_t step[POST_READ_LEN];

	(void)is_first;
	for (size_t done = 0; s->crc_at < b->spool.len; done += sizeof(step)) {
		ssize_t n;

		if (done >= POST_STEP_LEN)
			return ERR_AGAIN;
		n = port_spool_read(&b->spool, s->crc_at, step, sizeof(step));
		if (n <= 0)
			return n < 0 ? (int)n : ERR_IO;
		s->crc = crc32_update(s->crc, step, (size_t)n);
		s->crc_at += (uint64_t)n;
	}
	(void)snprintf(s->key + s->key_len, POST_KEY_TAIL, "%" PRId64 "/%s/%08" PRIx32 "\"",
		b->revision, b->reason, s->crc);
	return 0;
}

/* -- the answer ------------------------------------------------------------------------------- */

static bool post_is_retried(int status)
{
	return status == 408 || status == 425 || status == 429 || status >= 500;
}

static void post_skip(struct post_sink *s, int status)
{
	struct batch *b = &s->batch;

	post_text_answer(b->sink.why, sizeof(b->sink.why), s->shown, "rejected with ", status,
		s->trouble, s->text, s->text_len);
	b->sink.errors++;
	b->sink.why_ms = s->cfg.loop->now_ms;
	(void)log_printf_limited(&s->skip_limit, LOG_LEVEL_WARN,
		"post %s: %s; the batch of revision %" PRId64 " is skipped", s->cfg.watch_name,
		b->sink.why, b->revision);
	batch_skip(b);
}

/* The request is over. result: the status of its answer, or an error, and trouble says what. */
static void post_finish(struct post_sink *s, int result)
{
	loop_timer_clear(s->cfg.loop, &s->timer);
	wipe(s->token, CONFIG_POST_TOKEN_BYTES);
	if (result >= 200 && result < 300)
		batch_ended(&s->batch, 0);
	else if (result > 0 && s->cfg.is_skipped && !post_is_retried(result))
		post_skip(s, result);
	else
		batch_ended(&s->batch, result);
}

static void post_describe(struct batch *b, int result)
{
	struct post_sink *s = post_of(b);
	int64_t wait_ms = s->request.answer.retry_after_ms;

	if (result < 0) {
		post_text_fit(b->sink.why, sizeof(b->sink.why),
			*s->trouble ? s->trouble : err_text(result));
		return;
	}
	b->is_held = !post_is_retried(result);
	post_text_answer(b->sink.why, sizeof(b->sink.why), s->shown,
		b->is_held ? "rejected with " : "", result, s->trouble, s->text, s->text_len);
	if (wait_ms > (int64_t)CONFIG_POST_RETRY_AFTER_S * 1000)
		wait_ms = (int64_t)CONFIG_POST_RETRY_AFTER_S * 1000;
	if (wait_ms > 0)
		b->not_before_ms = s->cfg.loop->now_ms + wait_ms;
}

/* The first line that is not empty. */
static void post_keep_text(struct post_sink *s, const uint8_t *p, size_t len)
{
	for (; len && !s->is_text_whole; p++, len--) {
		bool is_end = *p == '\n' || *p == '\r';

		if (is_end && !s->text_len)
			continue;
		if (is_end || s->text_len == sizeof(s->text))
			s->is_text_whole = true;
		else
			s->text[s->text_len++] = *p;
	}
}

static int post_on_begin(struct http_request *r)
{
	struct post_sink *s = r->user;

	/* At a stop it is set already, to less. */
	if (!s->timer.is_set)
		loop_timer_set(s->cfg.loop, &s->timer, s->cfg.timeout_ms);
	return 0;
}

static int post_on_body(struct http_request *r, const uint8_t *p, size_t len)
{
	struct post_sink *s = r->user;

	s->answer_len += len;
	post_keep_text(s, p, len);
	return s->answer_len > CONFIG_POST_ANSWER_BYTES ? ERR_LIMIT : 0;
}

/* The status counts as soon as it is there, whatever becomes of the body. */
static void post_on_done(struct http_request *r, int err, const char *why)
{
	struct post_sink *s = r->user;
	int status = r->answer.status;

	/* Where a redirect points stands in why. */
	if (!status || (status >= 300 && status < 400))
		(void)snprintf(s->trouble, sizeof(s->trouble), "%s", why);
	post_finish(s, status ? status : err ? err : ERR_HTTP);
}

static void post_on_timer(struct loop_timer *timer)
{
	struct post_sink *s = timer->user;
	int status = s->request.answer.status;

	http_stop(&s->request);
	if (!status)
		(void)snprintf(
			s->trouble, sizeof(s->trouble), "%s: not answered in time", s->shown);
	post_finish(s, status ? status : ERR_TIMEOUT);
}

/* -- the request ------------------------------------------------------------------------------ */

static ssize_t post_on_read(struct http_request *r, uint64_t offset, void *dst, size_t len)
{
	struct post_sink *s = r->user;
	ssize_t n = port_spool_read(&s->batch.spool, offset, dst, len);

	return n ? n : ERR_IO;
}

static int post_start(struct batch *b)
{
	struct post_sink *s = post_of(b);
	ssize_t len;
	int err;

	s->answer_len = s->text_len = 0;
	s->is_text_whole = false;
	s->trouble[0] = '\0';
	s->request.answer = (struct http_answer){.retry_after_ms = -1};
	if (s->cfg.token_path) {
		len = post_text_token(s->cfg.token_path, s->token, s->trouble, sizeof(s->trouble));
		if (len < 0)
			return (int)len;
		s->request.bearer = s->token;
	}
	(void)snprintf(s->revision, sizeof(s->revision), "Etchlet-Revision: %" PRId64, b->revision);
	(void)snprintf(s->reason, sizeof(s->reason), "Etchlet-Reason: %s", b->reason);
	s->request.body_len = b->spool.len;
	s->request.sent = 0;
	err = http_start(s->http, &s->request, s->trouble, sizeof(s->trouble));
	if (err)
		wipe(s->token, CONFIG_POST_TOKEN_BYTES);
	return err;
}

static void post_stop(struct batch *b, int64_t timeout_ms)
{
	struct post_sink *s = post_of(b);

	if (timeout_ms > POST_STOP_MS)
		timeout_ms = POST_STOP_MS;
	if (!s->timer.is_set || s->timer.due_ms > s->cfg.loop->now_ms + timeout_ms)
		loop_timer_set(s->cfg.loop, &s->timer, timeout_ms);
}

static void post_now(const struct batch *b, char *dst, size_t cap)
{
	const char *text = "";

	if (batch_is_running(b))
		text = b->sink.is_failing ? "posts again" : "posts";
	else if (b->is_held)
		text = "post rejected, held";
	else if (b->not_before_ms > b->cfg.loop->now_ms)
		text = "post failed, waits as it was told to";
	else if (b->sink.is_failing)
		text = "post failed, tried again";
	(void)snprintf(dst, cap, "%s", text);
}

static const struct batch_ops post_ops = {
	.prepare = post_prepare,
	.start = post_start,
	.stop = post_stop,
	.describe = post_describe,
	.drop = post_drop,
	.now = post_now,
};

/* -- start and end ---------------------------------------------------------------------------- */

int post_check_url(const char *url, char *why, size_t why_cap)
{
	char mem[HTTP_URL_MAX];
	struct post_target target;
	int err = post_text_target(&target, url, mem, sizeof(mem), why, why_cap);

	if (!err && !strstr(target.url, "://")) {
		(void)snprintf(why, why_cap, "begins with none of http://, https:// and unix:");
		return ERR_CONFIG;
	}
	return err ? err : http_check_url(target.url, why, why_cap);
}

bool post_is_tls(const char *url)
{
	return post_text_is_tls(url);
}

bool post_local_path(const char *url, char *dst, size_t cap)
{
	char mem[HTTP_URL_MAX], why[HTTP_WHY_MAX];
	struct post_target target;

	if (post_text_target(&target, url, mem, sizeof(mem), why, sizeof(why)) ||
		!target.unix_path || strlen(target.unix_path) >= cap)
		return false;
	memcpy(dst, target.unix_path, strlen(target.unix_path) + 1);
	return true;
}

int post_check_token(const char *path, char *why, size_t why_cap)
{
	char token[CONFIG_POST_TOKEN_BYTES];
	ssize_t n = post_text_token(path, token, why, why_cap);

	wipe(token, sizeof(token));
	return n < 0 ? (int)n : 0;
}

/* A piece of batch.mem. */
static char *post_take(char **at, size_t len)
{
	char *piece = *at;

	*at += len;
	return piece;
}

static char *post_make_header(char **at, const char *name, const char *value)
{
	size_t len = strlen(name);
	char *header = post_take(at, len + post_text_encoded_max(value));

	(void)snprintf(header, len + 1, "%s", name);
	(void)post_text_encode(header + len, value, false);
	return header;
}

static void post_make_headers(struct post_sink *s, char **at)
{
	const struct post_cfg *cfg = &s->cfg;
	const char *device = cfg->device ? cfg->device : "";
	char *key = post_take(at, sizeof(POST_TEXT_KEY) + post_text_encoded_max(device) +
					  post_text_encoded_max(cfg->watch_name) + POST_KEY_TAIL);
	size_t n = 0;

	s->key = key;
	memcpy(key, POST_TEXT_KEY, sizeof(POST_TEXT_KEY) - 1);
	key += sizeof(POST_TEXT_KEY) - 1;
	key += post_text_encode(key, device, true);
	*key++ = '/';
	key += post_text_encode(key, cfg->watch_name, true);
	*key++ = '/';
	s->key_len = (size_t)(key - s->key);
	s->headers[n++] = "Content-Type: application/x-ndjson";
	s->headers[n++] = post_make_header(at, "Etchlet-Watch: ", cfg->watch_name);
	s->headers[n++] = s->revision;
	s->headers[n++] = s->reason;
	s->headers[n++] = s->key;
	if (cfg->device)
		s->headers[n++] = post_make_header(at, "Etchlet-Device: ", cfg->device);
	s->headers[n] = NULL;
}

static int post_init_batch(struct post_sink *s)
{
	const struct post_cfg *cfg = &s->cfg;
	struct batch_cfg batch = {
		.loop = cfg->loop,
		.ops = &post_ops,
		.kind = "post",
		.sink_name = "post",
		.watch_name = cfg->watch_name,
		.subject = s->shown,
		.settle_ms = cfg->settle_ms,
		.backoff_min_ms = cfg->backoff_min_ms,
		.backoff_max_ms = cfg->backoff_max_ms,
		.want_prev = cfg->want_prev,
		.spool_folder = cfg->spool_folder,
		.mem_len = CONFIG_POST_TOKEN_BYTES + HTTP_URL_MAX + sizeof(POST_TEXT_KEY) +
			   POST_KEY_TAIL + 2 * post_text_encoded_max(cfg->watch_name) +
			   (cfg->device ? 2 * post_text_encoded_max(cfg->device) : 1) +
			   sizeof("Etchlet-Watch: Etchlet-Device: "),
	};

	return batch_init(&s->batch, &batch);
}

int post_init(struct post_sink *s, const struct post_cfg *cfg, char *why, size_t why_cap)
{
	struct http_cfg http = cfg->http;
	struct post_target target;
	char *at;
	int err;

	*s = (struct post_sink){.cfg = *cfg};
	http.loop = cfg->loop;
	s->timer = (struct loop_timer){.fn = post_on_timer, .user = s};
	post_text_shown(s->shown, sizeof(s->shown), cfg->url);
	err = post_init_batch(s);
	if (err) {
		(void)snprintf(why, why_cap, "%s", err_text(err));
		return err;
	}
	at = s->batch.mem;
	s->token = post_take(&at, CONFIG_POST_TOKEN_BYTES);
	err = post_text_target(
		&target, cfg->url, post_take(&at, HTTP_URL_MAX), HTTP_URL_MAX, why, why_cap);
	if (err)
		return err;
	post_make_headers(s, &at);
	s->request = (struct http_request){
		.url = target.url,
		.unix_path = target.unix_path,
		.is_post = true,
		.headers = s->headers,
		.read = post_on_read,
		.connect_timeout_ms = cfg->connect_timeout_ms,
		.timeout_ms = cfg->timeout_ms,
		.begin = post_on_begin,
		.body = post_on_body,
		.done = post_on_done,
		.user = s,
	};
	return http_open(&s->http, &http, why, why_cap);
}

int post_reload(struct post_sink *s, char *why, size_t why_cap)
{
	return http_reload(s->http, why, why_cap);
}

void post_set_delays(struct post_sink *s, int64_t backoff_min_ms, int64_t backoff_max_ms,
	int64_t connect_timeout_ms)
{
	batch_set_backoff(&s->batch, backoff_min_ms, backoff_max_ms);
	s->cfg.connect_timeout_ms = connect_timeout_ms;
	s->request.connect_timeout_ms = connect_timeout_ms;
}

void post_free(struct post_sink *s)
{
	if (!s->batch.out)
		return;
	loop_timer_clear(s->cfg.loop, &s->timer);
	http_stop(&s->request);
	http_close(s->http);
	s->http = NULL;
	if (s->token)
		wipe(s->token, CONFIG_POST_TOKEN_BYTES);
	batch_free(&s->batch);
}
