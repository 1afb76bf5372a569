/* SPDX-License-Identifier: Apache-2.0 */
/* etchlet watch: one watch, printed, and given to a command when there is one. */
#include <string.h>

#include "base/err.h"
#include "base/heap.h"
#include "base/kconfig.h"
#include "base/log.h"
#include "base/wipe.h"
#include "cmd/client.h"
#include "cmd/cmd.h"
#include "sink/each.h"
#include "sink/print.h"
#include "sync/agent.h"

enum {
	WATCH_STOP_MS = 800, /* a stop takes at most a second */
	WATCH_STOP_HOOK_MS = 6800, /* or seven, when a command runs */
	WATCH_EACH_TIMEOUT_MS = 30000,
};

/* Allocated for the command that runs, once. */
static struct watch_cmd {
	struct client client;
	struct agent agent;
	struct watch watch;
	struct print_out out;
	struct print_sink print;
	struct each_sink each;
	uint8_t end_mem[CONFIG_ETCD_KEY_BYTES];
	int status;
} * cmd;

static void watch_reload(struct client *c)
{
	if (client_reload(c, c->conf))
		log_error("reload: %s; the certificates stay as they were", c->conf->why);
	else if (c->session.tls)
		log_info("reload: certificates read again, for the connections to come");
	else if (c->conf->password_path)
		log_info(
			"reload: nothing is read from files but the password, and that at each login");
	else
		log_info("reload: there is nothing to read again");
	agent_set_tls(&cmd->agent, c->session.tls);
}

static void on_signals(struct client *c, int signals)
{
	bool is_hook = IS_ENABLED(CONFIG_SINK_EACH) && c->conf->exec;

	if (is_hook && (signals & PORT_SIGNAL_CHILD))
		each_child_ended(&cmd->each);
	if (signals & PORT_SIGNAL_STOP)
		agent_stop(&cmd->agent, is_hook && each_is_running(&cmd->each) ? WATCH_STOP_HOOK_MS
									       : WATCH_STOP_MS);
	if (signals & PORT_SIGNAL_RELOAD)
		watch_reload(c);
	if (signals & PORT_SIGNAL_RETRY)
		agent_retry(&cmd->agent);
}

static void on_stopped(struct agent *a, int err)
{
	if (err == ERR_PIPE)
		cmd->status = cmd_tell(CMD_FAILED, "standard output: %s", err_text(err));
	else if (err)
		cmd->status = cmd_tell(CMD_FAILED, "%s", err_text(err));
	loop_stop(a->loop);
}

static void watch_make_agent(void)
{
	struct agent_cfg cfg;

	client_agent_cfg(&cmd->client, &cfg);
	agent_init(&cmd->agent, &cmd->client.loop, &cfg);
	cmd->agent.stopped = on_stopped;
}

static int watch_make_sinks(struct conf *conf, struct sink **sinks, size_t *n)
{
	const struct print_cfg print = {
		.out = &cmd->out,
		.format = conf->write_out == CONF_WRITE_OUT_JSON ? PRINT_JSON : PRINT_SIMPLE,
		.want_progress = conf->is_progress_notify,
		.want_prev = conf->is_prev_kv,
	};
	const struct each_cfg each = {
		.loop = &cmd->client.loop,
		.argv = conf->exec,
		.timeout_ms = WATCH_EACH_TIMEOUT_MS,
		.backoff_min_ms = conf->backoff_min_ms,
		.backoff_max_ms = conf->backoff_max_ms,
	};
	int err;

	(void)print_out_open(&cmd->out, &cmd->client.loop, "-");
	err = print_init(&cmd->print, &print);
	if (err)
		return cmd_tell(CMD_FAILED, "%s", err_text(err));
	sinks[(*n)++] = &cmd->print.sink;
	if (!conf->exec)
		return CMD_DONE;
	if (!IS_ENABLED(CONFIG_SINK_EACH))
		return cmd_tell(CMD_USAGE, "-- CMD is not part of this build (SINK_EACH)");
	err = each_init(&cmd->each, &each);
	if (err)
		return cmd_tell(CMD_FAILED, "%s", err_text(err));
	sinks[(*n)++] = &cmd->each.sink;
	return CMD_DONE;
}

static int watch_prepare(struct conf *conf)
{
	struct sink *sinks[2];
	size_t n = 0;
	int status;

	cmd->watch = (struct watch){
		.name = "watch",
		.want_prev = conf->is_prev_kv,
		.given_rev = conf->rev,
	};
	status = client_range(&cmd->watch.range, conf, cmd->end_mem);
	if (!status)
		status = client_init(&cmd->client, conf);
	if (status)
		return status;
	cmd->client.on_signals = on_signals;
	status = client_open_signals(&cmd->client);
	if (!status)
		status = watch_make_sinks(conf, sinks, &n);
	if (status)
		return status;
	watch_make_agent();
	if (agent_open(&cmd->agent) == ERR_LOCKED)
		return cmd_tell(
			CMD_FAILED, "state file %s is in use by another agent", conf->state_path);
	if (agent_add_watch(&cmd->agent, &cmd->watch, sinks, n))
		return cmd_tell(CMD_FAILED, "too many sinks");
	return CMD_DONE;
}

static int watch_run(struct conf *conf)
{
	int err;

	cmd->status = watch_prepare(conf);
	if (!cmd->status) {
		agent_start(&cmd->agent);
		err = loop_run(&cmd->client.loop);
		if (err)
			cmd->status = cmd_tell(CMD_FAILED, "the loop failed: %s", err_text(err));
		print_out_close(&cmd->out);
	}
	print_free(&cmd->print);
	if (IS_ENABLED(CONFIG_SINK_EACH) && conf->exec)
		each_free(&cmd->each);
	client_free(&cmd->client);
	return cmd->status;
}

int cmd_watch(struct conf *conf)
{
	int status;

	cmd = heap_calloc(1, sizeof(*cmd));
	if (!cmd)
		return cmd_tell(CMD_FAILED, "%s", err_text(ERR_NOMEM));
	status = watch_run(conf);
	heap_free(cmd);
	cmd = NULL;
	return status;
}
