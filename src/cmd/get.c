/* SPDX-License-Identifier: Apache-2.0 */
/*
 * etchlet get: one listing, printed. Each endpoint is tried once; when a connection breaks in the
 * middle, the next endpoint goes on at the same revision, in the middle of a value too.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "base/heap.h"
#include "base/log.h"
#include "cmd/client.h"
#include "cmd/cmd.h"
#include "sink/print.h"
#include "sync/feed.h"
#include "sync/lister.h"

enum {
	GET_STUCK_CHECK_MS = 1000,
};

/* Allocated for the command that runs, once. */
static struct get_cmd {
	struct client client;
	struct etcd_session session;
	struct lister lister;
	struct feed feed;
	struct print_out out;
	struct print_sink print;
	struct etcd_range range;
	struct sink_sync sync;
	struct loop_task pump;
	struct loop_timer stuck_timer;
	uint8_t end_mem[CONFIG_ETCD_KEY_BYTES];
	size_t endpoint;
	uint32_t relogins;
	int64_t waited_ms; /* for a stream */
	bool has_begun; /* the revision is known: from then on a listing goes on */
	bool is_listed; /* all keys are in */
	bool is_ending; /* the end is told to the sink, which may have bytes to write */
	int status;
} * cmd;

static void get_wake(void)
{
	loop_task_post(&cmd->client.loop, &cmd->pump);
}

static void get_end(int status)
{
	cmd->status = status;
	etcd_session_close(&cmd->session);
	loop_stop(&cmd->client.loop);
}

static void get_next_endpoint(void)
{
	lister_stop(&cmd->lister);
	if (cmd->endpoint == cmd->client.endpoint_count) {
		get_end(CMD_FAILED);
		return;
	}
	cmd->relogins = 0;
	etcd_session_open(&cmd->session, &cmd->client.endpoints[cmd->endpoint++]);
}

/* -- the listing ------------------------------------------------------------------------------ */

static int on_begin(struct lister *l, int64_t rev, const struct etcd_header *header)
{
	(void)header;
	if (cmd->has_begun)
		return 0;
	(void)l;
	cmd->sync.revision = rev;
	if (feed_list_begin(&cmd->feed, &cmd->sync))
		return ERR_AGAIN;
	cmd->has_begun = true;
	return 0;
}

static int on_event(struct lister *l, const struct etcd_event *e)
{
	(void)l;
	return feed_event(&cmd->feed, e);
}

static ssize_t on_value(struct lister *l, enum etcd_value which, const uint8_t *p, size_t len)
{
	(void)l;
	return feed_value(&cmd->feed, which, p, len);
}

static int on_event_end(struct lister *l, const struct etcd_event *e)
{
	(void)l;
	return feed_event_end(&cmd->feed, e);
}

static void on_done(struct lister *l, const struct grpc_status *st)
{
	char shown[LOG_SHOW_MAX + 32];

	(void)l;
	if (!cmd->session.channel.is_open)
		return;
	etcd_status_show(shown, sizeof(shown), st);
	switch (etcd_status_verdict(st, cmd->session.cfg->user != NULL)) {
	case ETCD_VERDICT_OK:
		cmd->is_listed = true;
		get_wake();
		break;
	case ETCD_VERDICT_LOGIN:
		if (!cmd->relogins++) {
			etcd_session_relogin(&cmd->session);
			break;
		}
		etcd_session_fail(&cmd->session, ERR_AUTH, "%s", shown);
		break;
	case ETCD_VERDICT_DENIED:
	case ETCD_VERDICT_COMPACTED:
	case ETCD_VERDICT_REFUSED:
		/* Every member would say the same; not so a proxy in front of one. */
		if (!st->is_local && st->code != GRPC_UNIMPLEMENTED)
			cmd->endpoint = cmd->client.endpoint_count;
		etcd_session_fail(&cmd->session, ERR_STATUS, "%s", shown);
		break;
	default:
		etcd_session_fail(&cmd->session, ERR_STATUS, "%s", shown);
		break;
	}
}

static void on_page(struct lister *l)
{
	(void)l;
	cmd->relogins = 0;
	get_wake();
}

static const struct lister_ops get_lister_ops = {
	.begin = on_begin,
	.event = on_event,
	.value = on_value,
	.event_end = on_event_end,
	.done = on_done,
	.page = on_page,
};

static void on_pump(struct loop_task *task)
{
	int err;

	(void)task;
	if (cmd->is_listed) {
		/* Nothing more is wanted of the server. */
		etcd_session_close(&cmd->session);
		if (!cmd->is_ending && feed_list_end(&cmd->feed, cmd->sync.revision) == 0)
			cmd->is_ending = true;
		if (cmd->is_ending && feed_done_rev(&cmd->feed) >= cmd->sync.revision)
			get_end(cmd->feed.too_long ? CMD_FAILED : CMD_DONE);
		return;
	}
	if (cmd->session.state != ETCD_SESSION_READY)
		return;
	err = lister_pump(&cmd->lister);
	if (err && err != ERR_AGAIN)
		etcd_session_fail(&cmd->session, err, "%s", err_text(err));
}

/* -- the session ------------------------------------------------------------------------------ */

static void on_ready(struct etcd_session *s)
{
	if (cmd->has_begun) {
		feed_list_go_on(&cmd->feed);
		lister_go_on(&cmd->lister, s);
	} else {
		lister_start(&cmd->lister, s, &cmd->range, cmd->client.conf->rev);
	}
	get_wake();
}

static void on_version(struct etcd_session *s)
{
	(void)s;
}

static void on_down(struct etcd_session *s, int err, const char *why)
{
	(void)err;
	log_error("%s://%s: %s", s->endpoint.is_tls ? "https" : "http", s->authority, why);
	get_next_endpoint();
}

static void on_going_away(struct etcd_session *s, const char *why)
{
	/* The page that is being read may still come to its end. */
	if (!etcd_reader_is_running(&cmd->lister.reader) && !cmd->is_listed)
		etcd_session_fail(s, ERR_GOAWAY, "%s", why);
}

static void on_writable(struct etcd_session *s)
{
	(void)s;
	get_wake();
}

static const struct etcd_session_ops get_session_ops = {
	.ready = on_ready,
	.version = on_version,
	.down = on_down,
	.going_away = on_going_away,
	.writable = on_writable,
};

/* -- everything else -------------------------------------------------------------------------- */

static void on_wake(struct sink *s)
{
	(void)s;
	if (cmd->lister.reader.is_blocked)
		lister_resume(&cmd->lister);
	get_wake();
}

static void on_fail(struct sink *s, int err)
{
	(void)s;
	get_end(cmd_tell(CMD_FAILED, "standard output: %s", err_text(err)));
}

static void on_signals(struct client *c, int signals)
{
	(void)c;
	/* Stopped before its end: what was printed is not the whole. */
	if (signals & PORT_SIGNAL_STOP)
		get_end(CMD_FAILED);
}

static void on_stuck_timer(struct loop_timer *timer)
{
	const struct etcd_reader *r = &cmd->lister.reader;
	bool is_waiting = cmd->session.state == ETCD_SESSION_READY && !cmd->is_listed &&
			  !etcd_reader_is_running(r);

	/* A server that lets no stream be opened. */
	cmd->waited_ms = is_waiting ? cmd->waited_ms + GET_STUCK_CHECK_MS : 0;
	if (cmd->waited_ms > cmd->client.conf->command_timeout_ms)
		etcd_session_fail(&cmd->session, ERR_TIMEOUT, "the server takes no calls");
	if (etcd_reader_is_running(r) && !r->is_blocked &&
		cmd->client.loop.now_ms - r->last_data_ms > cmd->client.conf->command_timeout_ms)
		etcd_session_fail(&cmd->session, ERR_TIMEOUT, "the answer stopped in its middle");
	loop_timer_set(&cmd->client.loop, timer, GET_STUCK_CHECK_MS);
}

static int get_prepare(struct conf *conf)
{
	const struct print_cfg print = {
		.out = &cmd->out,
		.format = conf->write_out == CONF_WRITE_OUT_JSON ? PRINT_JSON : PRINT_SIMPLE,
		.is_get = true,
	};
	int status = client_range(&cmd->range, conf, cmd->end_mem);

	if (!status)
		status = client_init(&cmd->client, conf);
	if (status)
		return status;
	cmd->client.on_signals = on_signals;
	status = client_open_signals(&cmd->client);
	if (status)
		return status;
	(void)print_out_open(&cmd->out, &cmd->client.loop, "-");
	if (print_init(&cmd->print, &print))
		return CMD_FAILED;
	feed_init(&cmd->feed, "get", conf->max_value_len);
	if (feed_add_sink(&cmd->feed, &cmd->print.sink))
		return CMD_FAILED;
	cmd->print.sink.wake = on_wake;
	cmd->print.sink.fail = on_fail;
	cmd->pump.fn = on_pump;
	cmd->stuck_timer.fn = on_stuck_timer;
	lister_init(&cmd->lister, &get_lister_ops, NULL);
	etcd_session_init(
		&cmd->session, &cmd->client.loop, &cmd->client.session, &get_session_ops, NULL);
	return CMD_DONE;
}

static int get_run(struct conf *conf)
{
	int err;

	cmd->status = get_prepare(conf);
	if (!cmd->status) {
		loop_timer_set(&cmd->client.loop, &cmd->stuck_timer, GET_STUCK_CHECK_MS);
		get_next_endpoint();
		err = loop_run(&cmd->client.loop);
		if (err)
			cmd->status = cmd_tell(CMD_FAILED, "the loop failed: %s", err_text(err));
		print_out_close(&cmd->out);
	}
	print_free(&cmd->print);
	client_free(&cmd->client);
	return cmd->status;
}

int cmd_get(struct conf *conf)
{
	int status;

	cmd = heap_calloc(1, sizeof(*cmd));
	if (!cmd)
		return cmd_tell(CMD_FAILED, "%s", err_text(ERR_NOMEM));
	status = get_run(conf);
	heap_free(cmd);
	cmd = NULL;
	return status;
}
