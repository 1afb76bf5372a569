/* SPDX-License-Identifier: Apache-2.0 */
/*
 * SIGHUP: the configuration is read anew beside the one at hand, and takes its place only when all of it
 * is good. Watches whose sections say what they said before are left alone; their sinks take over the
 * new delays (backoff-*), and read their certificates again.
 */
#include <string.h>

#include "base/err.h"
#include "base/heap.h"
#include "base/kconfig.h"
#include "base/log.h"
#include "cmd/cmd.h"
#include "cmd/run.h"

/* Takes out of the list what stands at *at. */
static struct run_watch *list_take(struct run_watch **at)
{
	struct run_watch *w = *at;

	*at = w->next;
	w->next = NULL;
	return w;
}

/* The watch of a section in a list, or its end. */
static struct run_watch **list_find(struct run_watch **at, const char *name)
{
	while (*at && ((*at)->state == RUN_WATCH_LEAVING || strcmp((*at)->conf.name, name) != 0))
		at = &(*at)->next;
	return at;
}

static bool reload_is_same(
	const struct run_watch *w, const struct conf *fresh, const struct conf_watch *section)
{
	const char *cacert = NULL;

	if (!conf_watch_is_same(&w->conf, section))
		return false;
	if ((section->exec || section->post) && strcmp(w->device, fresh->device) != 0)
		return false;
	if (!IS_ENABLED(CONFIG_NET_HTTP) || (!section->post && !section->fetch))
		return true;
	cacert = client_http_cacert(fresh, section);
	return cacert && w->http_cacert ? !strcmp(cacert, w->http_cacert)
					: cacert == w->http_cacert;
}

/* Blocks for the watches that are new or changed, in *made. 0 or ERR_CONFIG. */
static int reload_make(struct run_cmd *run, struct conf *fresh, struct run_watch **made)
{
	struct run_watch **end = made;

	if (!fresh->watch_count)
		return conf_refuse(
			fresh, "config", "'%s' has no section [watch NAME]", fresh->config_path);
	for (size_t i = 0; i < fresh->watch_count; i++) {
		const struct conf_watch *section = &fresh->watches[i];
		const struct run_watch *old = *list_find(&run->watches, section->name);

		if (old && reload_is_same(old, fresh, section))
			continue;
		if (run_watch_make(run, fresh, section, end) || run_watch_check(*end, fresh))
			return ERR_CONFIG;
		end = &(*end)->next;
	}
	return 0;
}

static int reload_prepare(struct run_cmd *run, struct conf *fresh, struct run_watch **made)
{
	int err = conf_reload(fresh, run->conf);

	if (!err)
		err = reload_make(run, fresh, made);
	/* Last, for it changes something. */
	if (!err)
		err = client_reload(&run->client, fresh);
	return err;
}

static void reload_warn(const char *option, const char *stays)
{
	log_warn("reload: %s cannot change while the agent runs; %s stays until the next start",
		option, stays);
}

/* What was opened at the start stays. */
static void reload_keep_fixed(struct run_cmd *run, struct conf *fresh)
{
	if (strcmp(fresh->state_path, run->state_path) != 0)
		reload_warn("state", run->state_path);
	if (strcmp(fresh->control_path, run->control_path) != 0)
		reload_warn("control", run->control_path);
	if (fresh->durability != run->durability)
		reload_warn("durability",
			run->durability == CONF_DURABILITY_RELAXED ? "relaxed" : "normal");
	fresh->durability = run->durability;
	fresh->is_once = run->conf->is_once;
}

/* Ends what has no place any more, and puts the rest into the order of the file, those that leave at its end. */
static void reload_watches(struct run_cmd *run, struct run_watch *made)
{
	const struct conf *conf = run->conf;
	unsigned changed = 0, begun = 0, gone = 0;
	struct run_watch *next, *list = NULL, **end = &list;

	for (struct run_watch *w = run->watches; w; w = next) {
		const struct conf_watch *section = conf_watch_find(conf, w->conf.name);

		next = w->next;
		if (w->state == RUN_WATCH_LEAVING || (section && reload_is_same(w, conf, section)))
			continue;
		*(section ? &changed : &gone) += 1;
		run_watch_leave(w);
	}
	for (size_t i = 0; i < conf->watch_count; i++) {
		struct run_watch **at = list_find(&run->watches, conf->watches[i].name);

		if (!*at) {
			at = list_find(&made, conf->watches[i].name);
			begun++;
		}
		if (!*at)
			continue;
		*end = list_take(at);
		end = &(*end)->next;
	}
	*end = run->watches;
	run->watches = list;
	log_info("reload: %zu %s: %u new, %u changed, %u gone", conf->watch_count,
		conf->watch_count == 1 ? "watch" : "watches", begun - changed, changed, gone);
}

static void reload_settings(struct run_cmd *run)
{
	struct conf *conf = run->conf;
	struct agent_cfg cfg;

	cmd_log_setup(conf);
	cmd_log_warnings(conf);
	client_agent_cfg(&run->client, &cfg);
	cfg.keeper.path = run->state_path;
	agent_set_cfg(&run->agent, &cfg);
	for (struct run_watch *w = run->watches; w; w = w->next)
		run_watch_reload(w);
	run_open_metrics(run);
}

void run_reload(struct run_cmd *run)
{
	struct run_watch *made = NULL;
	struct conf *fresh = run->spare;

	if (!fresh)
		fresh = run->spare = heap_calloc(1, sizeof(*fresh));
	if (!fresh) {
		log_error("reload: %s; nothing changes", err_text(ERR_NOMEM));
		return;
	}
	if (IS_ENABLED(CONFIG_NOTIFY))
		notify_reloading(&run->notify);
	if (reload_prepare(run, fresh, &made)) {
		log_error("reload: %s; nothing changes", fresh->why);
		while (made)
			run_watch_free(list_take(&made));
		conf_wipe(fresh);
	} else {
		reload_keep_fixed(run, fresh);
		run->spare = run->conf;
		run->conf = fresh;
		reload_settings(run);
		reload_watches(run, made);
		run_forget(run, NULL);
		run_watch_open_all(run);
		run_list_watches(run);
		/* Nothing points into it any more. */
		conf_wipe(run->spare);
	}
	if (IS_ENABLED(CONFIG_NOTIFY))
		notify_ready(&run->notify);
}
