/* SPDX-License-Identifier: Apache-2.0 */
/* etchlet run: every watch of the configuration file, kept in step until somebody stops it. */
#include "cmd/run.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "base/heap.h"
#include "base/kconfig.h"
#include "base/log.h"
#include "cmd/cmd.h"

/* Allocated for the command that runs, once. */
static struct run_cmd *cmd;

static char *text_copy(const char *text)
{
	size_t len = strlen(text) + 1;
	char *copy = heap_calloc(1, len);

	return copy ? memcpy(copy, text, len) : NULL;
}

bool run_has_hook(const struct run_cmd *run)
{
	for (const struct run_watch *w = run->watches; w; w = w->next) {
		if (!IS_ENABLED(CONFIG_SINK_HOOK) || !w->hook)
			continue;
		if ((w->state == RUN_WATCH_OPEN || w->state == RUN_WATCH_LEAVING) &&
			hook_is_running(w->hook))
			return true;
	}
	return false;
}

static void run_stop(struct run_cmd *run)
{
	run->is_stopping = true;
	loop_timer_clear(&run->client.loop, &run->timeout);
	loop_timer_clear(&run->client.loop, &run->forget);
	for (struct run_watch *w = run->watches; w; w = w->next)
		loop_timer_clear(&run->client.loop, &w->timer);
	if (IS_ENABLED(CONFIG_NOTIFY))
		notify_stopping(&run->notify);
	agent_stop(&run->agent, run_has_hook(run) ? RUN_STOP_HOOK_MS : RUN_STOP_MS);
}

/* -- --once ----------------------------------------------------------------------------------- */

/* The agent knows nothing of watches that are not open yet. */
static bool run_on_caught_up(struct agent *a)
{
	struct run_cmd *run = a->user;

	for (const struct run_watch *w = run->watches; w; w = w->next) {
		if (w->state != RUN_WATCH_OPEN)
			return false;
	}
	run_stop(run);
	return true;
}

/* One line that says of each watch that is not done why. */
static void run_on_timeout(struct loop_timer *timer)
{
	struct run_cmd *run = timer->user;
	char line[CONF_WHY_MAX] = "";
	size_t len = 0;

	for (const struct run_watch *w = run->watches; w && len < sizeof(line); w = w->next) {
		char text[RUN_WHY_MAX];
		const char *why = run_watch_why(w, text, sizeof(text));
		int n;

		if (run_watch_is_done(w))
			continue;
		n = snprintf(line + len, sizeof(line) - len, "%swatch %s: %s", len ? "; " : "",
			w->conf.name, why ? why : "not caught up yet");
		len += n > 0 ? (size_t)n : 0;
	}
	run->status = cmd_tell(CMD_FAILED, "not done within --timeout: %s",
		*line ? line : "the last hook or output is under way");
	run_stop(run);
}

/* -- what comes from outside ------------------------------------------------------------------ */

static void run_retry(struct run_cmd *run)
{
	run_watch_open_all(run);
	run_list_watches(run);
	agent_retry(&run->agent);
	run_forget(run, NULL);
	if (IS_ENABLED(CONFIG_CMD_STATUS))
		control_retry(&run->control);
	if (IS_ENABLED(CONFIG_METRICS))
		metrics_write_now(&run->metrics);
}

static void run_on_signals(struct client *c, int signals)
{
	struct run_cmd *run = c->user;

	if (signals & PORT_SIGNAL_CHILD) {
		for (struct run_watch *w = run->watches; w; w = w->next) {
			if (IS_ENABLED(CONFIG_SINK_HOOK) && w->hook &&
				(w->state == RUN_WATCH_OPEN || w->state == RUN_WATCH_LEAVING))
				hook_child_ended(w->hook);
		}
	}
	if (run->is_stopping)
		return;
	if (signals & PORT_SIGNAL_STOP) {
		run_stop(run);
		return;
	}
	if (signals & PORT_SIGNAL_RELOAD)
		run_reload(run);
	if (signals & PORT_SIGNAL_RETRY)
		run_retry(run);
}

static void run_on_stopped(struct agent *a, int err)
{
	struct run_cmd *run = a->user;

	run->is_stopping = true;
	if (err == ERR_PIPE)
		run->status = cmd_tell(CMD_FAILED, "standard output: %s", err_text(err));
	else if (err)
		run->status = cmd_tell(CMD_FAILED, "%s", err_text(err));
	loop_stop(a->loop);
}

/* -- what others look at ---------------------------------------------------------------------- */

void run_list_watches(struct run_cmd *run)
{
	size_t n = 0;

	for (const struct run_watch *w = run->watches; w; w = w->next) {
		if (w->state == RUN_WATCH_LEAVING || n == CONFIG_CONF_WATCH_COUNT)
			continue;
		run->rows[n++] = (struct report_watch){
			.watch = &w->watch,
			.key = w->conf.key.p,
			.key_len = w->conf.key.len,
			.is_prefix = w->conf.is_prefix,
			.fetch = w->fetch,
		};
	}
	run->report.watches = run->rows;
	run->report.watch_count = n;
}

void run_open_metrics(struct run_cmd *run)
{
	const char *path = run->conf->metrics_path;
	int64_t interval_ms = run->conf->metrics_interval_ms;

	if (!IS_ENABLED(CONFIG_METRICS))
		return;
	if (path && run->metrics_path && !strcmp(path, run->metrics_path)) {
		if (interval_ms != run->metrics.interval_ms)
			metrics_set_interval(&run->metrics, interval_ms);
		return;
	}
	metrics_close(&run->metrics);
	heap_free(run->metrics_path);
	run->metrics_path = path ? text_copy(path) : NULL;
	if (run->metrics_path)
		metrics_open(&run->metrics, &run->client.loop, run->metrics_path, interval_ms,
			&run->report);
}

/* Downloads are shown on the terminal, unless events are printed to it. */
static void run_open_progress(struct run_cmd *run)
{
	bool is_printing = false;

	for (const struct run_watch *w = run->watches; w; w = w->next)
		is_printing = is_printing || (w->conf.print && !strcmp(w->conf.print, "-"));
	if (!is_printing || !port_stdout_is_terminal())
		progress_open(&run->progress, &run->client.loop, &run->report);
}

static bool run_has_watch(const struct run_cmd *run, const char *name)
{
	for (const struct run_watch *w = run->watches; w; w = w->next) {
		if (!strcmp(w->conf.name, name))
			return true;
	}
	return false;
}

void run_forget(struct run_cmd *run, const char *name)
{
	struct loop *loop = &run->client.loop;
	int failed = 0;

	for (char *const *p = run->conf->forget; p && *p; p++) {
		int err;

		/* One that still leaves saves its position at its end: then it is forgotten. */
		if ((name && strcmp(*p, name) != 0) || run_has_watch(run, *p))
			continue;
		err = agent_forget(&run->agent, *p);
		if (err)
			failed = err;
	}
	if (failed) {
		trouble_meet(&run->forget_trouble, loop->now_ms, "forget",
			failed == ERR_AGAIN ? "the state file is not open" : err_text(failed),
			"it is tried again every 10 s");
		loop_timer_set(loop, &run->forget, RUN_FORGET_RETRY_MS);
	} else if (!name) {
		loop_timer_clear(loop, &run->forget);
		trouble_end(
			&run->forget_trouble, loop->now_ms, "forget: nothing is left to forget");
	}
}

static void run_on_forget(struct loop_timer *timer)
{
	run_forget(timer->user, NULL);
}

/* -- life ------------------------------------------------------------------------------------- */

/* Every section, before anything is opened: 0 or the exit status. */
static int run_make_watches(struct run_cmd *run)
{
	struct conf *conf = run->conf;
	struct run_watch **end = &run->watches;

	for (size_t i = 0; i < conf->watch_count; i++) {
		if (run_watch_make(run, conf, &conf->watches[i], end))
			return cmd_tell(CMD_USAGE, "%s", conf->why);
		if (run_watch_check(*end, conf))
			return cmd_tell(CMD_USAGE, "%s", conf->why);
		end = &(*end)->next;
	}
	if (!conf->watch_count)
		return cmd_tell(CMD_USAGE, "%s: has no section [watch NAME]", conf->config_path);
	return CMD_DONE;
}

static int run_open_watches(struct run_cmd *run)
{
	const struct conf *conf = run->conf;

	for (struct run_watch *w = run->watches; w; w = w->next) {
		int status = run_watch_open(w, true);

		if (status)
			return status;
	}
	log_info("%zu %s, %zu %s, state file %s", conf->watch_count,
		conf->watch_count == 1 ? "watch" : "watches", conf->endpoint_count,
		conf->endpoint_count == 1 ? "endpoint" : "endpoints", run->state_path);
	for (struct run_watch *w = run->watches; w; w = w->next)
		run_watch_begin(w);
	run_list_watches(run);
	return CMD_DONE;
}

static void run_make_agent(struct run_cmd *run)
{
	struct agent_cfg cfg;

	client_agent_cfg(&run->client, &cfg);
	cfg.keeper.path = run->state_path;
	agent_init(&run->agent, &run->client.loop, &cfg);
	run->agent.user = run;
	run->agent.stopped = run_on_stopped;
	run->agent.removed = run_watch_left;
	run->agent.caught_up = run_on_caught_up;
	run->report = (struct report){
		.agent = &run->agent,
		.start_ms = run->client.loop.now_ms,
	};
}

static int run_prepare(struct run_cmd *run)
{
	struct conf *conf = run->conf;
	int status = client_init(&run->client, conf);

	if (status)
		return status;
	/* They stay, whatever becomes of the configuration that names them. */
	run->durability = conf->durability;
	run->state_path = text_copy(conf->state_path);
	run->control_path = text_copy(conf->control_path);
	if (!run->state_path || !run->control_path)
		return cmd_tell(CMD_FAILED, "%s", err_text(ERR_NOMEM));
	run->client.user = run;
	run->client.on_signals = run_on_signals;
	status = client_open_signals(&run->client);
	if (!status)
		status = run_make_watches(run);
	if (status)
		return status;
	run_make_agent(run);
	if (agent_open(&run->agent) == ERR_LOCKED)
		return cmd_tell(
			CMD_FAILED, "state file %s is in use by another agent", run->state_path);
	run->forget = (struct loop_timer){.fn = run_on_forget, .user = run};
	trouble_init(&run->forget_trouble, RUN_FORGET_RETRY_MS);
	run_forget(run, NULL);
	return run_open_watches(run);
}

static void run_start(struct run_cmd *run)
{
	struct conf *conf = run->conf;

	if (IS_ENABLED(CONFIG_NOTIFY))
		notify_open(&run->notify, &run->client.loop, &run->report);
	if (IS_ENABLED(CONFIG_CMD_STATUS))
		(void)control_open(
			&run->control, &run->client.loop, run->control_path, &run->report);
	run_open_metrics(run);
	if (IS_ENABLED(CONFIG_SINK_FETCH))
		run_open_progress(run);
	run->timeout = (struct loop_timer){.fn = run_on_timeout, .user = run};
	if (conf->timeout_ms && conf->is_once)
		loop_timer_set(&run->client.loop, &run->timeout, conf->timeout_ms);
	agent_start(&run->agent);
	if (IS_ENABLED(CONFIG_NOTIFY))
		notify_ready(&run->notify);
}

static void run_free(struct run_cmd *run)
{
	if (IS_ENABLED(CONFIG_SINK_FETCH))
		progress_close(&run->progress);
	if (IS_ENABLED(CONFIG_METRICS))
		metrics_close(&run->metrics);
	if (IS_ENABLED(CONFIG_CMD_STATUS))
		control_close(&run->control);
	/* A line that has begun stays torn. */
	for (struct run_out *o = run->outs; o; o = o->next) {
		if (o->is_open)
			print_out_close(&o->out);
	}
	while (run->watches)
		run_watch_free(run->watches);
	client_free(&run->client);
	if (IS_ENABLED(CONFIG_NOTIFY))
		notify_close(&run->notify);
	heap_free(run->metrics_path);
	heap_free(run->state_path);
	heap_free(run->control_path);
}

int cmd_run(struct conf *conf)
{
	int status;

	cmd = heap_calloc(1, sizeof(*cmd));
	if (!cmd)
		return cmd_tell(CMD_FAILED, "%s", err_text(ERR_NOMEM));
	cmd->conf = conf;
	cmd->status = run_prepare(cmd);
	if (!cmd->status) {
		int err;

		run_start(cmd);
		err = loop_run(&cmd->client.loop);
		if (err)
			cmd->status = cmd_tell(CMD_FAILED, "the loop failed: %s", err_text(err));
	}
	run_free(cmd);
	status = cmd->status;
	/* One of them is main's. */
	if (cmd->conf != conf)
		cmd->spare = cmd->conf;
	if (cmd->spare) {
		conf_wipe(cmd->spare);
		heap_free(cmd->spare);
	}
	heap_free(cmd);
	cmd = NULL;
	return status;
}
