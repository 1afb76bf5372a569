/* SPDX-License-Identifier: Apache-2.0 */
/* One watch of the file: see the table of its states in run.h. */
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "base/heap.h"
#include "base/kconfig.h"
#include "base/log.h"
#include "cmd/cmd.h"
#include "cmd/run.h"

/* -- outputs that watches share --------------------------------------------------------------- */

static struct run_out *run_out_take(struct run_cmd *run, const char *path)
{
	size_t len = strlen(path) + 1;
	struct run_out *o;

	for (o = run->outs; o; o = o->next) {
		if (!strcmp(o->path, path)) {
			o->users++;
			return o;
		}
	}
	o = heap_calloc(1, sizeof(*o) + len);
	if (!o)
		return NULL;
	memcpy(o->path, path, len);
	o->users = 1;
	o->next = run->outs;
	run->outs = o;
	return o;
}

static void run_out_give(struct run_cmd *run, struct run_out *o)
{
	if (--o->users)
		return;
	for (struct run_out **at = &run->outs; *at; at = &(*at)->next) {
		if (*at == o) {
			*at = o->next;
			break;
		}
	}
	heap_free(o);
}

/* -- making ----------------------------------------------------------------------------------- */

/* Where the next part of a block begins; *len grows by it. */
static size_t block_take(size_t *len, size_t part_len)
{
	size_t at = (*len + _Alignof(max_align_t) - 1) & ~(_Alignof(max_align_t) - 1);

	*len = at + part_len;
	return at;
}

static void run_watch_set_range(struct run_watch *w, uint8_t *end_mem)
{
	const struct conf_watch *c = &w->conf;

	if (c->is_prefix)
		etcd_range_prefix(&w->watch.range, c->key.p, c->key.len, end_mem);
	else if (c->range_end.p)
		etcd_range_from(
			&w->watch.range, c->key.p, c->key.len, c->range_end.p, c->range_end.len);
	else
		etcd_range_key(&w->watch.range, c->key.p, c->key.len);
}

static void run_watch_on_timer(struct loop_timer *timer)
{
	(void)run_watch_open(timer->user, false);
}

int run_watch_make(struct run_cmd *run, struct conf *conf, const struct conf_watch *section,
	struct run_watch **out)
{
	const char *cacert = IS_ENABLED(CONFIG_NET_HTTP) && (section->post || section->fetch)
				     ? client_http_cacert(conf, section)
				     : NULL;
	size_t len = sizeof(struct run_watch), device_len = strlen(conf->device) + 1;
	size_t cacert_len = cacert ? strlen(cacert) + 1 : 0;
	size_t texts = block_take(&len, conf_watch_len(section));
	size_t device = block_take(&len, device_len);
	size_t cacert_at = block_take(&len, cacert_len);
	size_t end = block_take(&len, section->key.len + 1);
	size_t mirror = section->mirror && IS_ENABLED(CONFIG_SINK_MIRROR)
				? block_take(&len, sizeof(struct mirror_sink))
				: 0;
	size_t print = section->print ? block_take(&len, sizeof(struct print_sink)) : 0;
	size_t post = section->post && IS_ENABLED(CONFIG_SINK_POST)
			      ? block_take(&len, sizeof(struct post_sink))
			      : 0;
	size_t fetch = section->fetch && IS_ENABLED(CONFIG_SINK_FETCH)
			       ? block_take(&len, sizeof(struct fetch_sink))
			       : 0;
	size_t hook = section->exec && IS_ENABLED(CONFIG_SINK_HOOK)
			      ? block_take(&len, sizeof(struct hook_sink))
			      : 0;
	struct run_watch *w = NULL;
	char *block;

	if (client_check_build(conf, section))
		return ERR_CONFIG;
	block = heap_calloc(1, len);
	if (!block)
		goto nomem;
	w = (struct run_watch *)(void *)block;
	w->run = run;
	conf_watch_copy(&w->conf, section, block + texts);
	memcpy(block + device, conf->device, device_len);
	w->device = block + device;
	if (cacert)
		w->http_cacert = memcpy(block + cacert_at, cacert, cacert_len);
	w->mirror = mirror ? (void *)(block + mirror) : NULL;
	w->print = print ? (void *)(block + print) : NULL;
	w->post = post ? (void *)(block + post) : NULL;
	w->fetch = fetch ? (void *)(block + fetch) : NULL;
	w->hook = hook ? (void *)(block + hook) : NULL;
	w->timer = (struct loop_timer){.fn = run_watch_on_timer, .user = w};
	w->watch.name = w->conf.name;
	w->watch.want_prev = section->is_prev_kv;
	w->watch.want_first_list = true;
	run_watch_set_range(w, (uint8_t *)block + end);
	trouble_init(&w->watch.trouble, RUN_OPEN_RETRY_MS);
	if (section->print) {
		w->out = run_out_take(run, section->print);
		if (!w->out)
			goto nomem;
	}
	*out = w;
	return 0;
nomem:
	heap_free(w);
	return conf_refuse_watch(conf, section, "key", NULL, "%s", err_text(ERR_NOMEM));
}

int run_watch_check(struct run_watch *w, struct conf *conf)
{
	const struct conf_watch *section = conf_watch_find(conf, w->conf.name);
	char why[CONF_WHY_MAX / 2];
	struct mirror_cfg cfg;
	struct fetch_cfg fetch;

	if (IS_ENABLED(CONFIG_NET_HTTP) && client_check_http(&w->run->client, conf, section))
		return ERR_CONFIG;
	if (IS_ENABLED(CONFIG_SINK_FETCH) && w->fetch) {
		if (client_fetch_cfg(&w->run->client, conf, section, NULL, &fetch))
			return ERR_CONFIG;
		if (fetch_check(&fetch, why, sizeof(why)) == ERR_CONFIG)
			return conf_refuse_watch(conf, section, "fetch-pubkey", NULL, "%s", why);
	}
	if (!IS_ENABLED(CONFIG_SINK_MIRROR) || !w->mirror)
		return 0;
	if (client_mirror_cfg(&w->run->client, conf, section, &cfg))
		return ERR_CONFIG;
	if (mirror_check(&cfg, why, sizeof(why)) != ERR_CONFIG)
		return 0;
	return conf_refuse_watch(conf, section, "mirror", NULL, "%s", why);
}

/* -- opening ---------------------------------------------------------------------------------- */

static int run_watch_open_mirror(struct run_watch *w, char *why, size_t why_cap)
{
	struct conf *conf = w->run->conf;
	struct mirror_cfg cfg;

	if (!IS_ENABLED(CONFIG_SINK_MIRROR) || !w->mirror)
		return 0;
	if (client_mirror_cfg(&w->run->client, conf, &w->conf, &cfg)) {
		(void)snprintf(why, why_cap, "%.*s", (int)why_cap - 1, conf->why);
		return ERR_CONFIG;
	}
	return mirror_open(w->mirror, &cfg, why, why_cap);
}

#ifdef CONFIG_SINK_MIRROR
static size_t mirror_files_key_path(
	void *user, const uint8_t *key, size_t key_len, char *dst, size_t cap)
{
	return mirror_key_path(user, key, key_len, dst, cap);
}

static size_t mirror_files_path_now(void *user, const char *path, size_t len, char *dst, size_t cap)
{
	return mirror_path_now(user, path, len, dst, cap);
}

static uint32_t mirror_files_shape(void *user)
{
	return mirror_shape(user);
}

static const struct hook_files mirror_files = {
	.key_path = mirror_files_key_path,
	.path_now = mirror_files_path_now,
	.shape = mirror_files_shape,
};
#endif

#ifdef CONFIG_SINK_FETCH
static const struct hook_files fetch_files = {
	.key_path = fetch_key_path,
	.path_now = fetch_path_now,
	.shape = fetch_shape,
	.done_rev = fetch_done_rev,
	.is_line_dropped = true,
};
#endif

/* What keeps the files that a hook is told of; NULL: nothing does. */
static const struct hook_files *run_watch_files(const struct run_watch *w, void **user)
{
#ifdef CONFIG_SINK_MIRROR
	if (w->mirror) {
		*user = w->mirror;
		return &mirror_files;
	}
#endif
#ifdef CONFIG_SINK_FETCH
	if (w->fetch) {
		*user = w->fetch;
		return &fetch_files;
	}
#endif
	(void)w;
	*user = NULL;
	return NULL;
}

static int run_watch_open_hook(struct run_watch *w, char *why, size_t why_cap)
{
	const struct conf *conf = w->run->conf;
	struct hook_cfg cfg = {
		.loop = &w->run->client.loop,
		.watch_name = w->conf.name,
		.argv = w->conf.exec,
		.timeout_ms = w->conf.exec_timeout_ms,
		.settle_ms = w->conf.settle_ms,
		.backoff_min_ms = conf->backoff_min_ms,
		.backoff_max_ms = conf->backoff_max_ms,
		.want_prev = w->conf.is_prev_kv,
		.mirror_path = w->conf.mirror,
		.fetch_path = w->conf.fetch,
		.device = w->device,
	};
	int err;

	if (!IS_ENABLED(CONFIG_SINK_HOOK) || !w->hook)
		return 0;
	cfg.files = run_watch_files(w, &cfg.files_user);
	err = hook_init(w->hook, &cfg);
	if (err)
		(void)snprintf(why, why_cap, "hook: %s", err_text(err));
	return err;
}

static int run_watch_open_print(struct run_watch *w, char *why, size_t why_cap)
{
	const struct print_cfg cfg = {
		.out = w->print ? &w->out->out : NULL,
		.format = PRINT_JSON,
		.watch_name = w->conf.name,
		.want_prev = w->conf.is_prev_kv,
	};
	int err;

	if (!w->print || !w->out)
		return 0;
	/* What goes wrong with an output it tells, and tries again by itself. */
	if (!w->out->is_open)
		(void)print_out_open(&w->out->out, &w->run->client.loop, w->out->path);
	w->out->is_open = true;
	err = print_init(w->print, &cfg);
	if (err)
		(void)snprintf(why, why_cap, "print: %s", err_text(err));
	return err;
}

static int run_watch_open_post(struct run_watch *w, char *why, size_t why_cap)
{
	const struct conf *conf = w->run->conf;
	struct post_cfg cfg = {
		.loop = &w->run->client.loop,
		.watch_name = w->conf.name,
		.url = w->conf.post,
		.device = w->device,
		.token_path = w->conf.post_token_path,
		.is_skipped = w->conf.post_on_reject == CONF_ON_REJECT_SKIP,
		.connect_timeout_ms = conf->dial_timeout_ms,
		.timeout_ms = w->conf.post_timeout_ms,
		.settle_ms = w->conf.settle_ms,
		.backoff_min_ms = conf->backoff_min_ms,
		.backoff_max_ms = conf->backoff_max_ms,
		.want_prev = w->conf.is_prev_kv,
	};
	char text[HTTP_WHY_MAX / 2];
	int err;

	if (!IS_ENABLED(CONFIG_SINK_POST) || !w->post)
		return 0;
	client_http_cfg(&w->run->client, &w->conf, w->http_cacert, &cfg.http);
	err = post_init(w->post, &cfg, text, sizeof(text));
	if (err)
		(void)snprintf(why, why_cap, "post: %s", text);
	return err;
}

static void run_watch_on_moved(void *user)
{
	struct run_watch *w = user;

	if (IS_ENABLED(CONFIG_SINK_HOOK))
		hook_files_moved(w->hook);
}

static int run_watch_open_fetch(struct run_watch *w, char *why, size_t why_cap)
{
	struct conf *conf = w->run->conf;
	struct fetch_cfg cfg;

	if (!IS_ENABLED(CONFIG_SINK_FETCH) || !w->fetch)
		return 0;
	if (client_fetch_cfg(&w->run->client, conf, &w->conf, w->http_cacert, &cfg)) {
		(void)snprintf(why, why_cap, "%.*s", (int)why_cap - 1, conf->why);
		return ERR_CONFIG;
	}
	cfg.moved = IS_ENABLED(CONFIG_SINK_HOOK) && w->hook ? run_watch_on_moved : NULL;
	cfg.moved_user = w;
	return fetch_open(w->fetch, &cfg, why, why_cap);
}

static void run_watch_close_sinks(struct run_watch *w)
{
	if (w->print && w->out->users == 1) {
		print_out_close(&w->out->out);
		w->out->is_open = false;
	}
	if (w->print)
		print_free(w->print);
	if (IS_ENABLED(CONFIG_SINK_POST) && w->post)
		post_free(w->post);
	if (IS_ENABLED(CONFIG_SINK_HOOK) && w->hook)
		hook_free(w->hook);
	if (IS_ENABLED(CONFIG_SINK_FETCH) && w->fetch)
		fetch_close(w->fetch);
	if (IS_ENABLED(CONFIG_SINK_MIRROR) && w->mirror)
		mirror_close(w->mirror);
}

static int run_watch_open_sinks(struct run_watch *w, char *why, size_t why_cap)
{
	int err = run_watch_open_mirror(w, why, why_cap);

	if (!err)
		err = run_watch_open_print(w, why, why_cap);
	if (!err)
		err = run_watch_open_post(w, why, why_cap);
	if (!err)
		err = run_watch_open_fetch(w, why, why_cap);
	if (!err)
		err = run_watch_open_hook(w, why, why_cap);
	if (err)
		run_watch_close_sinks(w);
	return err;
}

static int run_watch_add(struct run_watch *w)
{
	struct sink *sinks[CONFIG_SINK_COUNT];
	size_t n = 0;

	_Static_assert(CONFIG_SINK_COUNT >= 4, "mirror or fetch, print, post and exec");
	/* A hook comes after what it is told of. */
	if (w->mirror)
		sinks[n++] = (struct sink *)w->mirror;
	if (w->print)
		sinks[n++] = &w->print->sink;
	if (w->post)
		sinks[n++] = (struct sink *)w->post;
	if (w->fetch)
		sinks[n++] = (struct sink *)w->fetch;
	if (w->hook)
		sinks[n++] = (struct sink *)w->hook;
	return agent_add_watch(&w->run->agent, &w->watch, sinks, n);
}

static void run_watch_meet_trouble(struct run_watch *w, const char *why)
{
	struct loop *loop = &w->run->client.loop;
	int64_t delay_ms =
		RUN_OPEN_RETRY_MS / 2 + agent_random(&w->run->agent) % (RUN_OPEN_RETRY_MS / 2);
	char what[CONFIG_JOURNAL_NAME_LEN + 32], then[64];

	(void)snprintf(what, sizeof(what), "watch %s", w->conf.name);
	(void)snprintf(then, sizeof(then), "it waits, and is tried again every %d s",
		RUN_OPEN_RETRY_MS / 1000);
	trouble_meet(&w->watch.trouble, loop->now_ms, what, why, then);
	loop_timer_set(loop, &w->timer, delay_ms);
}

void run_watch_begin(struct run_watch *w)
{
	if (w->state != RUN_WATCH_OPEN)
		return;
	/* Too many sinks are the one error, and these are not. */
	(void)run_watch_add(w);
}

int run_watch_open(struct run_watch *w, bool is_start)
{
	struct loop *loop = &w->run->client.loop;
	char what[CONFIG_JOURNAL_NAME_LEN + 32], why[TROUBLE_WHY_MAX];
	int err;

	loop_timer_clear(loop, &w->timer);
	w->state = RUN_WATCH_CLOSED;
	err = run_watch_open_sinks(w, why, sizeof(why));
	if ((err == ERR_LOCKED || err == ERR_CONFIG) && is_start)
		return cmd_tell(err == ERR_LOCKED ? CMD_FAILED : CMD_USAGE, "watch %s: %s",
			w->conf.name, why);
	if (err) {
		run_watch_meet_trouble(w, why);
		return 0;
	}
	(void)snprintf(what, sizeof(what), "watch %s: opened", w->conf.name);
	trouble_end(&w->watch.trouble, loop->now_ms, what);
	w->state = RUN_WATCH_OPEN;
	if (!is_start)
		run_watch_begin(w);
	return 0;
}

/* Whether a watch that ends holds what w needs: its name in the state file, or perhaps its folder. */
static bool run_watch_must_wait(const struct run_watch *w)
{
	for (const struct run_watch *o = w->run->watches; o; o = o->next) {
		if (o->state == RUN_WATCH_LEAVING &&
			(!strcmp(o->conf.name, w->conf.name) ||
				((o->mirror || o->fetch) && (w->mirror || w->fetch))))
			return true;
	}
	return false;
}

void run_watch_open_all(struct run_cmd *run)
{
	for (struct run_watch *w = run->watches; w; w = w->next) {
		if (w->state != RUN_WATCH_QUEUED && w->state != RUN_WATCH_CLOSED)
			continue;
		if (!run_watch_must_wait(w))
			(void)run_watch_open(w, false);
	}
}

static void run_watch_reload_post(struct run_watch *w)
{
	const struct conf *conf = w->run->conf;
	char why[HTTP_WHY_MAX];

	post_set_delays(w->post, conf->backoff_min_ms, conf->backoff_max_ms, conf->dial_timeout_ms);
	if (post_reload(w->post, why, sizeof(why)))
		log_error("watch %s: post: %s; the certificates at hand stay", w->conf.name, why);
}

static void run_watch_reload_fetch(struct run_watch *w)
{
	const struct conf *conf = w->run->conf;
	char why[HTTP_WHY_MAX];

	fetch_set_delays(
		w->fetch, conf->backoff_min_ms, conf->backoff_max_ms, conf->dial_timeout_ms);
	if (fetch_reload(w->fetch, why, sizeof(why)))
		log_error("watch %s: fetch: %s; the key and the certificates at hand stay",
			w->conf.name, why);
}

void run_watch_reload(struct run_watch *w)
{
	const struct conf *conf = w->run->conf;

	if (w->state != RUN_WATCH_OPEN && w->state != RUN_WATCH_LEAVING)
		return;
	if (IS_ENABLED(CONFIG_SINK_MIRROR) && w->mirror)
		mirror_set_backoff(w->mirror, conf->backoff_min_ms, conf->backoff_max_ms);
	if (IS_ENABLED(CONFIG_SINK_HOOK) && w->hook)
		hook_set_backoff(w->hook, conf->backoff_min_ms, conf->backoff_max_ms);
	if (IS_ENABLED(CONFIG_SINK_POST) && w->post)
		run_watch_reload_post(w);
	if (IS_ENABLED(CONFIG_SINK_FETCH) && w->fetch)
		run_watch_reload_fetch(w);
}

/* -- ending ----------------------------------------------------------------------------------- */

void run_watch_free(struct run_watch *w)
{
	struct run_cmd *run = w->run;

	loop_timer_clear(&run->client.loop, &w->timer);
	if (w->state == RUN_WATCH_OPEN || w->state == RUN_WATCH_LEAVING)
		run_watch_close_sinks(w);
	if (w->out)
		run_out_give(run, w->out);
	for (struct run_watch **at = &run->watches; *at; at = &(*at)->next) {
		if (*at == w) {
			*at = w->next;
			break;
		}
	}
	heap_free(w);
}

void run_watch_leave(struct run_watch *w)
{
	struct run_cmd *run = w->run;
	bool is_hook = IS_ENABLED(CONFIG_SINK_HOOK) && w->hook;

	if (w->state != RUN_WATCH_OPEN) {
		run_watch_free(w);
		return;
	}
	w->state = RUN_WATCH_LEAVING;
	agent_remove_watch(&run->agent, &w->watch,
		is_hook && hook_is_running(w->hook) ? RUN_STOP_HOOK_MS : RUN_STOP_MS);
}

void run_watch_left(struct agent *a, struct watch *watch)
{
	struct run_watch *w =
		(struct run_watch *)(void *)((char *)watch - offsetof(struct run_watch, watch));
	struct run_cmd *run = w->run;
	char name[CONFIG_JOURNAL_NAME_LEN + 1];

	(void)a;
	(void)snprintf(name, sizeof(name), "%s", w->conf.name);
	run_watch_free(w);
	if (run->is_stopping)
		return;
	run_forget(run, name);
	run_watch_open_all(run);
	run_list_watches(run);
}

bool run_watch_is_done(const struct run_watch *w)
{
	int64_t rev = w->run->agent.once_rev;

	return w->state == RUN_WATCH_OPEN && rev && watch_has_caught_up(&w->watch, rev);
}

const char *run_watch_why(const struct run_watch *w, char *dst, size_t cap)
{
	const struct trouble *connection = &w->run->agent.trouble;
	const char *waits;

	if (w->watch.trouble.is_on)
		return w->watch.trouble.why;
	if (w->state != RUN_WATCH_OPEN)
		return "not opened yet";
	waits = report_waits(&w->watch, dst, cap);
	return connection->is_on && !report_failing_sink(&w->watch) ? connection->why : waits;
}
