/* SPDX-License-Identifier: Apache-2.0 */
/* The entries: one a key. They are few, so all is found by looking at each. */
#include "sink/fetch_private.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "base/kconfig.h"
#include "base/log.h"
#include "base/siphash.h"

enum {
	STARTS_MAX = 8, /* in one turn of the loop: each may place a file */
	LINES_MAX = 16, /* that are logged one by one in LINES_MS */
	LINES_MS = 60000,
};

void fetch_key_hash(const uint8_t *key, size_t len, uint8_t hash[FETCH_HASH_LEN])
{
	uint8_t digest[TLS_SHA256_LEN] = {0};
	struct tls_sha256 sha;

	tls_sha256_begin(&sha);
	tls_sha256_update(&sha, key, len);
	(void)tls_sha256_end(&sha, digest);
	memcpy(hash, digest, FETCH_HASH_LEN);
}

uint64_t fetch_name_hash(const struct fetch_sink *f, const char *name)
{
	uint64_t hash = siphash(f->name_key, name, strlen(name));

	return !*name ? 0 : hash ? hash : 1;
}

/* The entries, one after the other; NULL after the last. */
static struct fetch_entry *next_entry(const struct fetch_sink *f, const struct fetch_entry *e)
{
	size_t i = e ? (size_t)(e - f->entries) + 1 : 0;

	while (i < CONFIG_FETCH_KEY_COUNT && f->entries[i].step == FETCH_FREE)
		i++;
	return i < CONFIG_FETCH_KEY_COUNT ? &f->entries[i] : NULL;
}

struct fetch_entry *fetch_find(const struct fetch_sink *f, const uint8_t hash[FETCH_HASH_LEN])
{
	struct fetch_entry *e = NULL;

	while ((e = next_entry(f, e)) && memcmp(e->hash, hash, FETCH_HASH_LEN) != 0)
		;
	return e;
}

struct fetch_entry *fetch_find_free(const struct fetch_sink *f)
{
	for (size_t i = 0; i < CONFIG_FETCH_KEY_COUNT; i++) {
		if (f->entries[i].step == FETCH_FREE)
			return &f->entries[i];
	}
	return NULL;
}

struct fetch_job *fetch_job_of(const struct fetch_sink *f, const struct fetch_entry *e)
{
	for (size_t i = 0; i < CONFIG_FETCH_PARALLEL; i++) {
		if (f->jobs[i].entry == e)
			return &f->jobs[i];
	}
	return NULL;
}

bool fetch_is_pending(const struct fetch_entry *e)
{
	return e->step >= FETCH_WANTED && e->step <= FETCH_PLACING;
}

void fetch_set_step(struct fetch_sink *f, struct fetch_entry *e, enum fetch_step step)
{
	static const char *const names[] = {
		"free", "wanted", "hashing", "loading", "placing", "placed", "refused"};

	if (e->step == step)
		return;
	log_debug("fetch %s: %02x%02x%02x%02x: %s -> %s", f->cfg.watch_name, e->hash[0], e->hash[1],
		e->hash[2], e->hash[3], names[e->step], names[step]);
	e->step = (uint8_t)step;
	f->shape++;
}

/* -- names ------------------------------------------------------------------------------------ */

bool fetch_is_name_taken(const struct fetch_sink *f, const struct fetch_entry *e)
{
	for (const struct fetch_entry *o = NULL; (o = next_entry(f, o));) {
		if (o == e)
			continue;
		if (o->placed_name == e->name || (o->name == e->name && o->step != FETCH_REFUSED))
			return true;
	}
	return false;
}

void fetch_want_again(struct fetch_sink *f, struct fetch_entry *e)
{
	/* What is processed is not in the hook's batches any more. */
	if (f->cfg.moved && (e->is_left || e->rev <= f->sink.done_rev))
		e->is_late = true;
	fetch_set_step(f, e, FETCH_WANTED);
}

bool fetch_late_is_due(const struct fetch_sink *f)
{
	if (!f->has_late)
		return false;
	/* One whose server has trouble may take for ever. */
	for (const struct fetch_entry *e = NULL; (e = next_entry(f, e));) {
		if (e->is_late && fetch_is_pending(e) && !e->reason)
			return false;
	}
	return true;
}

void fetch_names_freed(struct fetch_sink *f)
{
	struct fetch_entry *first;

	do {
		first = NULL;
		for (struct fetch_entry *e = NULL; (e = next_entry(f, e));) {
			if (e->step == FETCH_REFUSED && e->refused == FETCH_NAME_TAKEN &&
				(!first || e->rev < first->rev) && !fetch_is_name_taken(f, e))
				first = e;
		}
		if (first) {
			first->refused = FETCH_NOT_REFUSED;
			fetch_want_again(f, first);
		}
	} while (first);
}

/* -- what may be taken ------------------------------------------------------------------------ */

bool fetch_is_signed(const struct fetch_sink *f, struct fetch_record *r)
{
	int err;

	if (!IS_ENABLED(CONFIG_FETCH_SIGNATURE) || !f->pubkey)
		return true;
	err = r->want.sig[0] ? tls_pubkey_verify(f->pubkey, r->want.sha256, r->want.sig) : 0;
	if (r->want.sig[0] && !err)
		return true;
	(void)snprintf(r->why, sizeof(r->why), "%s",
		!r->want.sig[0]    ? "it is not signed"
		: err == ERR_RANGE ? "sig is no signature in base64"
		: err == ERR_NOMEM ? "its signature could not be checked: out of memory"
				   : "its signature is not of the key in fetch-pubkey");
	return false;
}

static enum fetch_refusal find_refusal(
	struct fetch_sink *f, struct fetch_entry *e, struct fetch_record *r)
{
	char why[HTTP_WHY_MAX] = "";

	if (http_check_url(r->want.url, why, sizeof(why))) {
		(void)snprintf(r->why, sizeof(r->why), "%.*s", (int)sizeof(r->why) - 1, why);
		return FETCH_BAD_URL;
	}
	if (r->want.size >= 0 && (uint64_t)r->want.size > f->cfg.max_len) {
		(void)snprintf(r->why, sizeof(r->why),
			"its %" PRId64 " bytes are more than fetch-max-size allows", r->want.size);
		return FETCH_TOO_LARGE;
	}
	if (!fetch_is_signed(f, r))
		return FETCH_UNSIGNED;
	if (fetch_is_name_taken(f, e)) {
		(void)snprintf(
			r->why, sizeof(r->why), "another key has a file of this name already");
		return FETCH_NAME_TAKEN;
	}
	return FETCH_NOT_REFUSED;
}

void fetch_judge(struct fetch_sink *f, struct fetch_entry *e, struct fetch_record *r)
{
	e->name = fetch_name_hash(f, r->want.name);
	e->placed_name = fetch_name_hash(f, r->placed_name);
	e->rev = r->rev;
	e->due_ms = 0;
	e->failures = 0;
	e->reason = e->told = 0;
	if (r->refused != FETCH_MALFORMED && r->refused != FETCH_BAD_DIGEST) {
		r->why[0] = '\0';
		r->refused = find_refusal(f, e, r);
	}
	e->refused = (uint8_t)r->refused;
	fetch_set_step(f, e, r->refused ? FETCH_REFUSED : FETCH_WANTED);
}

bool fetch_may_log(struct fetch_sink *f)
{
	int64_t now_ms = f->cfg.loop->now_ms;

	if (!f->lines_ms || now_ms - f->lines_ms >= LINES_MS) {
		f->lines_ms = now_ms;
		f->lines = 0;
	}
	if (f->lines > LINES_MAX)
		return false;
	if (f->lines++ < LINES_MAX)
		return true;
	log_warn("watch %s: fetch %s: more artifacts are in trouble; they are counted, and status "
		 "tells of each",
		f->cfg.watch_name, f->cfg.path);
	return false;
}

static bool may_log_refusal(struct fetch_sink *f, struct fetch_entry *e)
{
	int64_t now_ms = f->cfg.loop->now_ms;

	if (e->refusal_ms && e->refusal_told == e->refused && now_ms - e->refusal_ms < LOG_LIMIT_MS)
		return false;
	if (!fetch_may_log(f))
		return false;
	e->refusal_ms = now_ms;
	e->refusal_told = e->refused;
	return true;
}

void fetch_tell_refusal(struct fetch_sink *f, struct fetch_entry *e, const struct fetch_record *r)
{
	char key[LOG_SHOW_MAX];

	f->refused++;
	f->sink.errors++;
	f->sink.why_ms = f->cfg.loop->now_ms;
	(void)snprintf(f->sink.why, sizeof(f->sink.why), "%.48s is refused: %s",
		r->want.name[0] ? r->want.name : "a value", r->why);
	if (!may_log_refusal(f, e))
		return;
	log_warn("watch %s: fetch %s: key '%s' at revision %" PRId64
		 " is refused: %s; what is in place stays",
		f->cfg.watch_name, f->cfg.path, log_show(key, sizeof(key), r->key, r->key_len),
		r->rev, r->why);
}

void fetch_look_again(struct fetch_sink *f)
{
	for (struct fetch_entry *e = NULL; (e = next_entry(f, e));) {
		if (e->step == FETCH_WANTED) {
			e->due_ms = 0;
		} else if (e->step == FETCH_REFUSED && e->refused == FETCH_FOREIGN &&
			   !fetch_is_name_taken(f, e)) {
			fetch_want_again(f, e);
		}
	}
	fetch_post(f);
}

const char *fetch_reason_text(char *dst, size_t cap, int32_t reason)
{
	if (reason > 0)
		(void)snprintf(dst, cap, "the server answers with status %" PRId32, reason);
	else if (reason == ERR_HTTP)
		(void)snprintf(dst, cap, "no answer in HTTP, or a redirect that is not followed");
	else if (reason == ERR_LIMIT)
		(void)snprintf(dst, cap,
			"the server has another size than is wanted, or its answer is too long");
	else
		(void)snprintf(dst, cap, "%s", reason ? err_text(reason) : "");
	return dst;
}

/* -- what is next ----------------------------------------------------------------------------- */

static struct fetch_entry *find_due(const struct fetch_sink *f)
{
	int64_t now_ms = f->cfg.loop->now_ms;
	struct fetch_entry *first = NULL;

	for (struct fetch_entry *e = NULL; (e = next_entry(f, e));) {
		if (e->step == FETCH_WANTED && e->due_ms <= now_ms &&
			(!first || e->rev < first->rev))
			first = e;
	}
	return first;
}

void fetch_pump(struct fetch_sink *f)
{
	int64_t due_ms = INT64_MAX;

	loop_timer_clear(f->cfg.loop, &f->due_timer);
	for (int i = 0; i < STARTS_MAX; i++) {
		struct fetch_job *job = fetch_job_of(f, NULL);
		struct fetch_entry *e = f->root >= 0 && job ? find_due(f) : NULL;

		if (!e)
			break;
		fetch_job_start(job, e);
	}
	/* The end of a job comes back here. */
	if (f->root < 0 || !fetch_job_of(f, NULL))
		return;
	for (const struct fetch_entry *e = NULL; (e = next_entry(f, e));) {
		if (e->step == FETCH_WANTED && e->due_ms < due_ms)
			due_ms = e->due_ms;
	}
	if (due_ms != INT64_MAX)
		loop_timer_set_at(f->cfg.loop, &f->due_timer, due_ms);
}

bool fetch_update_done(struct fetch_sink *f)
{
	int64_t low = INT64_MAX, done = 0;

	if (!f->commit_rev)
		return false;
	for (const struct fetch_entry *e = NULL; (e = next_entry(f, e));) {
		if (fetch_is_pending(e) && e->rev < low)
			low = e->rev;
	}
	/* With something new pending all the time the mark is reached all the same. */
	if (low > f->commit_rev) {
		done = f->commit_rev;
		f->mark_rev = 0;
	} else if (f->mark_rev && low > f->mark_rev) {
		done = f->mark_rev;
		f->mark_rev = f->commit_rev;
	} else if (!f->mark_rev) {
		f->mark_rev = f->commit_rev;
	}
	if (done <= f->sink.done_rev)
		return false;
	f->sink.done_rev = done;
	return true;
}
