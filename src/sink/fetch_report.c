/* SPDX-License-Identifier: Apache-2.0 */
/* What others ask: the hook where a file is, the status how far a download has got. */
#include "sink/fetch_private.h"

#include <stdio.h>
#include <string.h>

#include "base/err.h"

/* -- for a hook ------------------------------------------------------------------------------- */

/* A token is a dot and the key's hash in hex; no file's name begins with a dot. */
enum { TOKEN_LEN = 1 + 2 * FETCH_HASH_LEN };

size_t fetch_key_path(void *user, const uint8_t *key, size_t key_len, char *dst, size_t cap)
{
	char name[FETCH_FILE_NAME_MAX];
	uint8_t hash[FETCH_HASH_LEN];

	(void)user;
	if (cap <= TOKEN_LEN)
		return 0;
	fetch_key_hash(key, key_len, hash);
	(void)fetch_part_name(name, hash);
	dst[0] = '.';
	memcpy(dst + 1, name, TOKEN_LEN - 1);
	dst[TOKEN_LEN] = '\0';
	return TOKEN_LEN;
}

size_t fetch_path_now(void *user, const char *path, size_t len, char *dst, size_t cap)
{
	const struct fetch_sink *f = user;
	const struct fetch_entry *e;
	char token[TOKEN_LEN + 1];
	uint8_t hash[FETCH_HASH_LEN];
	bool is_part;
	size_t name_len;

	if (len != TOKEN_LEN || path[0] != '.' || !f->entries)
		return 0;
	memcpy(token, path, len);
	token[len] = '\0';
	e = fetch_file_parse(token + 1, hash, &is_part) ? fetch_find(f, hash) : NULL;
	if (!e || e->step != FETCH_PLACED || fetch_record_read(f, e->hash, &fetch_scratch))
		return 0;
	name_len = strlen(fetch_scratch.placed_name);
	if (!name_len || name_len >= cap)
		return 0;
	memcpy(dst, fetch_scratch.placed_name, name_len + 1);
	return name_len;
}

uint32_t fetch_shape(void *user)
{
	const struct fetch_sink *f = user;

	return f->shape;
}

int64_t fetch_done_rev(void *user)
{
	const struct fetch_sink *f = user;

	return f->sink.done_rev;
}

/* -- for status ------------------------------------------------------------------------------- */

/* Number i of those that are told of; NULL: there are not so many. */
static const struct fetch_entry *find_told(const struct fetch_sink *f, size_t i)
{
	/* Whoever has little room shows the first ones. */
	for (int turn = 0; f->entries && turn < 2; turn++) {
		for (size_t k = 0; k < CONFIG_FETCH_KEY_COUNT; k++) {
			const struct fetch_entry *e = &f->entries[k];
			bool is_told = e->step == FETCH_REFUSED || fetch_is_pending(e);

			if (is_told && (e->step == FETCH_LOADING) == (turn == 0) && !i--)
				return e;
		}
	}
	return NULL;
}

static void fill_active(struct fetch_progress *p, const struct fetch_job *job)
{
	p->bytes = job->at;
	if (job->entry->step == FETCH_HASHING && job->source == FETCH_PLACE)
		p->size = job->hash_to;
	else if (job->rec.want.size > 0 || job->total > 0)
		p->size = (uint64_t)(job->rec.want.size > 0 ? job->rec.want.size : job->total);
	if (job->entry->step != FETCH_LOADING)
		return;
	p->rate_bytes_s = fetch_load_rate(job, job->f->cfg.loop->now_ms);
	if (p->rate_bytes_s && p->size >= p->bytes)
		p->eta_s = (int64_t)((p->size - p->bytes) / p->rate_bytes_s);
}

static void fill_record(struct fetch_progress *p, const struct fetch_record *r)
{
	(void)log_show(p->key, sizeof(p->key), r->key, r->key_len);
	memcpy(p->name, r->want.name, sizeof(p->name));
	if (r->want.size > 0)
		p->size = (uint64_t)r->want.size;
}

static void fill_waiting(
	const struct fetch_sink *f, struct fetch_progress *p, const struct fetch_entry *e)
{
	char part[FETCH_FILE_NAME_MAX];
	struct port_stat st;

	if (f->root < 0 || fetch_record_read(f, e->hash, &fetch_scratch))
		return;
	fill_record(p, &fetch_scratch);
	if (e->step == FETCH_REFUSED)
		memcpy(p->why, fetch_scratch.why, sizeof(fetch_scratch.why));
	else if (!port_dir_query(f->own, fetch_part_name(part, e->hash), &st) &&
		 st.node == PORT_NODE_FILE)
		p->bytes = st.len;
}

bool fetch_progress(const struct fetch_sink *f, size_t i, struct fetch_progress *p)
{
	static const char *const states[] = {
		"", "waiting", "hashing", "loading", "placing", "", "refused"};
	const struct fetch_entry *e = find_told(f, i);
	const struct fetch_job *job;

	*p = (struct fetch_progress){.eta_s = -1};
	if (!e)
		return false;
	p->state = states[e->step];
	job = fetch_job_of(f, e);
	if (e->step != FETCH_REFUSED)
		(void)fetch_reason_text(p->why, sizeof(p->why), e->reason);
	if (job) {
		fill_record(p, &job->rec);
		fill_active(p, job);
	} else {
		fill_waiting(f, p, e);
	}
	return true;
}

void fetch_count(const struct fetch_sink *f, struct fetch_count *c)
{
	*c = (struct fetch_count){0};
	for (size_t i = 0; f->entries && i < CONFIG_FETCH_KEY_COUNT; i++) {
		const struct fetch_entry *e = &f->entries[i];

		c->keys += e->step != FETCH_FREE;
		c->placed += e->step == FETCH_PLACED;
		c->pending += fetch_is_pending(e);
		c->refused += e->step == FETCH_REFUSED;
	}
}
