/* SPDX-License-Identifier: Apache-2.0 */
/* Opening and closing the folder, and what happens when it is lost in between. */
#include "sink/fetch_private.h"

#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "base/heap.h"
#include "base/kconfig.h"
#include "base/log.h"

enum {
	OWN_MODE = 0700,
	ROOT_MODE = 0755,
};

static void close_folders(struct fetch_sink *f)
{
	port_dir_close(f->own);
	port_dir_close(f->root);
	f->own = f->root = -1;
}

static int open_own(const struct fetch_sink *f)
{
	int fd = port_dir_enter(f->root, FETCH_OWN_NAME), err;

	if (fd != ERR_NOENT)
		return fd;
	err = port_dir_unlink(f->root, FETCH_OWN_NAME);
	if (!err)
		err = port_dir_make(f->root, FETCH_OWN_NAME, OWN_MODE);
	return err < 0 ? err : port_dir_enter(f->root, FETCH_OWN_NAME);
}

static int open_folders(struct fetch_sink *f)
{
	int err;

	f->root = port_dir_open(f->cfg.path, ROOT_MODE);
	err = f->root < 0 ? f->root : port_dir_lock(f->root);
	if (!err) {
		f->own = open_own(f);
		err = f->own < 0 ? f->own : fetch_identity_read(f);
	}
	if (err)
		close_folders(f);
	return err;
}

/* -- what was left ---------------------------------------------------------------------------- */

/* Each record gets an entry. *is_whole: all of them are right and have room. 0 or an error. */
static int load_entries(struct fetch_sink *f, bool *is_whole)
{
	struct port_dir_list list;
	const char *name;
	enum port_node node;
	int err = port_dir_list_begin(&list, f->own);

	*is_whole = true;
	while (!err && (err = port_dir_list_next(&list, &name, &node)) > 0) {
		uint8_t hash[FETCH_HASH_LEN];
		struct fetch_entry *e;
		bool is_part;

		err = 0;
		if (!fetch_file_parse(name, hash, &is_part) || is_part || fetch_find(f, hash))
			continue;
		err = fetch_record_read(f, hash, &fetch_scratch);
		e = fetch_find_free(f);
		if (err == ERR_HISTORY || err == ERR_NOENT || (!err && !e)) {
			*is_whole = false;
			err = err == ERR_HISTORY ? fetch_record_remove(f, hash) : 0;
			continue;
		}
		if (err)
			break;
		memcpy(e->hash, hash, FETCH_HASH_LEN);
		e->rev = fetch_scratch.rev;
		e->placed_name = fetch_name_hash(f, fetch_scratch.placed_name);
		e->step =
			FETCH_REFUSED; /* until it is judged: it has no claim to a name but the one it has */
		e->is_listed = true;
	}
	return err;
}

/* What belongs to no record is of no use. If it stays, it is found the next time. */
static void clear_parts(struct fetch_sink *f)
{
	struct port_dir_list list;
	const char *name;
	enum port_node node;

	(void)fetch_file_clear(f->own, "new");
	if (port_dir_list_begin(&list, f->own))
		return;
	while (port_dir_list_next(&list, &name, &node) > 0) {
		uint8_t hash[FETCH_HASH_LEN];
		bool is_part;

		if (fetch_file_parse(name, hash, &is_part) && is_part && !fetch_find(f, hash))
			(void)fetch_part_remove(f, hash);
	}
}

/* Whether e's artifact, of the record at hand, is in its place as it was left. */
static bool is_left_well(const struct fetch_sink *f)
{
	return strcmp(fetch_scratch.placed_name, fetch_scratch.want.name) == 0 &&
	       memcmp(fetch_scratch.placed_sha256, fetch_scratch.want.sha256,
		       sizeof(fetch_scratch.want.sha256)) == 0 &&
	       fetch_place_is_kept(f, &fetch_scratch) > 0;
}

/* What was wanted is looked at again: the key, the limits and what is in the folder may have changed. In the order of
 * revisions, for the first one has a name. */
static int judge_entries(struct fetch_sink *f)
{
	for (;;) {
		struct fetch_entry *first = NULL;
		enum fetch_refusal was;
		int err;

		for (size_t i = 0; i < CONFIG_FETCH_KEY_COUNT; i++) {
			struct fetch_entry *e = &f->entries[i];

			if (e->step != FETCH_FREE && e->is_listed &&
				(!first || e->rev < first->rev))
				first = e;
		}
		if (!first)
			return 0;
		first->is_listed = false;
		err = fetch_record_read(f, first->hash, &fetch_scratch);
		if (err)
			return err == ERR_HISTORY ? ERR_IO : err;
		was = fetch_scratch.refused;
		fetch_judge(f, first, &fetch_scratch);
		first->is_left = first->step == FETCH_REFUSED || was;
		if (first->step == FETCH_WANTED && is_left_well(f))
			fetch_set_step(f, first, FETCH_PLACED);
		else if (first->step == FETCH_WANTED && was)
			fetch_want_again(f, first);
		if (first->step == FETCH_REFUSED && fetch_scratch.refused != was) {
			fetch_tell_refusal(f, first, &fetch_scratch);
			err = fetch_record_write(f, &fetch_scratch);
		}
		/* The file that is there may be another's mode and owner by now; a disk that can only be read keeps its. */
		if (!err && fetch_scratch.placed_name[0])
			(void)fetch_place_put_right(f, &fetch_scratch);
		if (err && err != ERR_READONLY && err != ERR_NOSPACE)
			return err;
	}
}

/* is_anew: what is there is not known to be what the positions speak of. */
static int take_over(struct fetch_sink *f, bool is_anew)
{
	bool is_whole = true;
	int err;

	memset(f->entries, 0, CONFIG_FETCH_KEY_COUNT * sizeof(*f->entries));
	f->name_key[0] = f->kept_identity ^ 0x6e616d6573;
	f->name_key[1] = f->kept_identity;
	err = load_entries(f, &is_whole);
	if (!err)
		err = judge_entries(f);
	if (err)
		return err;
	clear_parts(f);
	if (!is_whole)
		log_warn(
			"watch %s: fetch %s is not what it was when it was left: everything is listed",
			f->cfg.watch_name, f->cfg.path);
	f->sink.identity = f->kept_identity;
	f->is_left_out = fetch_left_out_read(f);
	if (f->is_left_out && fetch_find_free(f))
		is_anew = true;
	if (is_anew || !is_whole || !f->kept_identity)
		err = fetch_identity_renew(f);
	return err;
}

/* -- keys and certificates -------------------------------------------------------------------- */

/* What the user has named and cannot be used is the user's to put right. */
static int as_config(int err)
{
	return err == ERR_NOENT || err == ERR_ACCESS ? ERR_CONFIG : err;
}

/* *key: NULL before, and after where none is asked for. */
static int load_pubkey(
	const struct fetch_cfg *cfg, struct tls_pubkey **key, char *why, size_t why_cap)
{
	if (!IS_ENABLED(CONFIG_FETCH_SIGNATURE) || !cfg->pubkey)
		return 0;
	return as_config(tls_pubkey_load(key, cfg->pubkey, why, why_cap));
}

/* By another key what was refused may be taken, and what is under way may not. */
static void look_at_signature(struct fetch_sink *f, struct fetch_entry *e)
{
	bool is_refused = e->step == FETCH_REFUSED && e->refused == FETCH_UNSIGNED;
	struct fetch_job *job;

	if ((!is_refused && !fetch_is_pending(e)) ||
		fetch_record_read(f, e->hash, &fetch_scratch) ||
		(!is_refused && fetch_is_signed(f, &fetch_scratch)))
		return;
	job = fetch_job_of(f, e);
	if (job)
		fetch_job_stop(job);
	fetch_judge(f, e, &fetch_scratch);
	if (e->step == FETCH_WANTED)
		fetch_want_again(f, e);
	if (e->step != FETCH_REFUSED)
		return;
	e->is_late = false;
	/* If it can't be recorded: at the next start it is judged anew in any case. */
	(void)fetch_record_write(f, &fetch_scratch);
	if (!is_refused)
		fetch_tell_refusal(f, e, &fetch_scratch);
}

int fetch_reload(struct fetch_sink *f, char *why, size_t why_cap)
{
	struct tls_pubkey *key = NULL;
	int err = load_pubkey(&f->cfg, &key, why, why_cap);

	if (!err)
		err = as_config(http_reload(f->http, why, why_cap));
	if (err) {
		tls_pubkey_free(key);
		return err;
	}
	tls_pubkey_free(f->pubkey);
	f->pubkey = key;
	if (f->root < 0)
		return 0;
	for (size_t i = 0; i < CONFIG_FETCH_KEY_COUNT; i++)
		look_at_signature(f, &f->entries[i]);
	fetch_names_freed(f);
	fetch_look_again(f);
	return 0;
}

/* -- opening ---------------------------------------------------------------------------------- */

static int allocate(struct fetch_sink *f)
{
	f->entries = heap_calloc(CONFIG_FETCH_KEY_COUNT, sizeof(*f->entries));
	f->jobs = heap_calloc(CONFIG_FETCH_PARALLEL, sizeof(*f->jobs));
	f->value = heap_calloc(1, CONFIG_FETCH_VALUE_BYTES);
	for (size_t i = 0; f->jobs && i < CONFIG_FETCH_PARALLEL; i++) {
		f->jobs[i].f = f;
		f->jobs[i].fd = -1;
	}
	return f->entries && f->jobs && f->value ? 0 : ERR_NOMEM;
}

static void say_why(const struct fetch_cfg *cfg, int err, char *why, size_t why_cap)
{
	if (err == ERR_LOCKED)
		(void)snprintf(why, why_cap, "fetch %s is in use by another agent", cfg->path);
	else if (err == ERR_NOENT && port_file_exists(cfg->path))
		(void)snprintf(
			why, why_cap, "fetch %s: there is something else than a folder", cfg->path);
	else
		(void)snprintf(why, why_cap, "fetch %s: %s", cfg->path, err_text(err));
}

int fetch_open(struct fetch_sink *f, const struct fetch_cfg *cfg, char *why, size_t why_cap)
{
	char said[HTTP_WHY_MAX] = "";
	int err;

	fetch_init(f, cfg);
	f->is_open = true;
	err = allocate(f);
	if (!err)
		err = load_pubkey(cfg, &f->pubkey, said, sizeof(said));
	if (!err)
		err = as_config(http_open(&f->http, &f->cfg.http, said, sizeof(said)));
	if (!err)
		err = open_folders(f);
	if (!err)
		err = take_over(f, false);
	if (!err) {
		fetch_post(f);
		return 0;
	}
	if (*said)
		(void)snprintf(
			why, why_cap, "fetch %s: %.*s", cfg->path, (int)sizeof(said) - 1, said);
	else
		say_why(cfg, err, why, why_cap);
	fetch_close(f);
	return err;
}

int fetch_open_again(struct fetch_sink *f)
{
	int err = open_folders(f);

	if (err)
		return fetch_trouble(f, err, "opening it again");
	err = take_over(f, true);
	if (!err)
		return 0;
	memset(f->entries, 0, CONFIG_FETCH_KEY_COUNT * sizeof(*f->entries));
	close_folders(f);
	return fetch_trouble(f, err, "opening it again");
}

int fetch_lose(struct fetch_sink *f, int err, const char *what)
{
	fetch_jobs_stop(f);
	close_folders(f);
	memset(f->entries, 0, CONFIG_FETCH_KEY_COUNT * sizeof(*f->entries));
	f->commit_rev = f->mark_rev = 0;
	f->is_listing = f->has_late = false;
	f->shape++;
	f->state = FETCH_LOST;
	return fetch_trouble(f, err, what);
}

void fetch_close(struct fetch_sink *f)
{
	if (!f->is_open)
		return;
	fetch_jobs_stop(f);
	loop_timer_clear(f->cfg.loop, &f->retry_timer);
	loop_timer_clear(f->cfg.loop, &f->due_timer);
	loop_timer_clear(f->cfg.loop, &f->step_timer);
	loop_task_cancel(f->cfg.loop, &f->task);
	http_close(f->http);
	tls_pubkey_free(f->pubkey);
	close_folders(f);
	heap_free(f->entries);
	heap_free(f->jobs);
	heap_free(f->value);
	f->http = NULL;
	f->pubkey = NULL;
	f->entries = NULL;
	f->jobs = NULL;
	f->value = NULL;
	f->is_open = false;
	f->state = FETCH_STOPPED;
}

/* -- for check -------------------------------------------------------------------------------- */

int fetch_check(const struct fetch_cfg *cfg, char *why, size_t why_cap)
{
	char said[HTTP_WHY_MAX] = "";
	struct tls_pubkey *key = NULL;
	int err = load_pubkey(cfg, &key, said, sizeof(said));
	int dir = err ? -1 : port_dir_open(cfg->path, 0);

	tls_pubkey_free(key);
	if (!err && dir < 0 && (dir != ERR_NOENT || port_file_exists(cfg->path)))
		err = dir;
	port_dir_close(dir);
	if (!err)
		err = port_file_check_write(cfg->path);
	if (*said)
		(void)snprintf(
			why, why_cap, "fetch %s: %.*s", cfg->path, (int)sizeof(said) - 1, said);
	else if (err)
		say_why(cfg, err, why, why_cap);
	return err;
}
