/* SPDX-License-Identifier: Apache-2.0 */
/*
 * etchlet check: tests everything that a start would need and says what a person should do. It
 * changes nothing: no file is written, no lock is taken, nothing is put into etcd.
 *
 * Endpoints are tried one after the other, each as a start would: DNS, TCP, TLS, HTTP/2, login,
 * version, and a linearizable read of one key for the revision and the round trip.
 */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "base/heap.h"
#include "base/json.h"
#include "base/kconfig.h"
#include "base/log.h"
#include "cmd/check.h"
#include "cmd/client.h"
#include "cmd/cmd.h"
#include "etcd/probe.h"

enum {
	CHECK_JSON_MAX = CHECK_TEXT_MAX * 4,
	CHECK_FINDING_MAX = 4 * CONFIG_CONF_ENDPOINT_COUNT + 5 * CONFIG_CONF_WATCH_COUNT + 24,
};

struct finding {
	enum check_level level;
	const char *advice; /* a constant; NULL: none is needed */
	char about[CONF_ENDPOINT_TEXT_MAX];
	char what[CHECK_TEXT_MAX];
};

/* Allocated for the command that runs, once. */
static struct check_cmd {
	struct client client;
	struct etcd_session session;
	struct etcd_probe probe;
	struct loop_task next;
	size_t endpoint;
	int64_t dial_ms, probe_ms; /* when they began */
	int64_t ready_ms; /* how long the dial took */
	size_t good;
	uint64_t cluster_id; /* the first endpoint's */
	bool is_json;
	bool is_probe_due;
	bool is_config_wrong;
	size_t probes; /* sent: the first for the endpoint, then one for each watch */
	bool are_watches_checked;
	struct loop_timer deadline;
	char about[CONF_ENDPOINT_TEXT_MAX]; /* the endpoint at hand */
	struct finding findings[CHECK_FINDING_MAX];
	size_t count;
	int status;
} * cmd;

/* They are printed at the end, for what is wrong with one endpoint is a warning when another is good. */
void check_find(enum check_level level, const char *about, const char *advice, const char *fmt, ...)
{
	struct finding *f = &cmd->findings[cmd->count];
	va_list ap;

	if (cmd->count == CHECK_FINDING_MAX)
		return;
	cmd->count++;
	f->level = level;
	f->advice = advice;
	(void)snprintf(f->about, sizeof(f->about), "%s", about);
	va_start(ap, fmt);
	(void)vsnprintf(f->what, sizeof(f->what), fmt, ap);
	va_end(ap);
}

static void print_json(const struct finding *f, bool is_first)
{
	static const char *const names[] = {"error", "warning", "info"};
	char out[CHECK_JSON_MAX];
	struct json j;
	ssize_t n;

	if (!is_first)
		(void)putchar(',');
	json_begin(&j, out, sizeof(out));
	json_object_begin(&j);
	json_member(&j, "level");
	json_string(&j, names[f->level]);
	json_member(&j, "about");
	json_string(&j, f->about);
	json_member(&j, "what");
	json_string(&j, f->what);
	json_member(&j, "advice");
	json_string(&j, f->advice);
	json_object_end(&j);
	n = json_end(&j);
	if (n > 0)
		(void)fwrite(out, 1, (size_t)n, stdout);
}

static void print_text(const struct finding *f)
{
	static const char *const words[] = {"WRONG", "warning", "ok"};

	(void)printf("%-8s %s: %s\n", words[f->level], f->about, f->what);
	if (f->advice)
		(void)printf("         -> %s\n", f->advice);
}

/* Whether a start would work. */
static bool print_findings(void)
{
	bool is_ok = cmd->good > 0 && !cmd->status;

	for (size_t i = 0; i < cmd->count; i++) {
		struct finding *f = &cmd->findings[i];

		if (f->level == FINDING_DEAD)
			f->level = cmd->good ? FINDING_WARNING : FINDING_ERROR;
		if (f->level == FINDING_CONFIG) {
			f->level = FINDING_ERROR;
			cmd->is_config_wrong = true;
		}
		is_ok = is_ok && f->level != FINDING_ERROR;
	}
	if (cmd->is_json)
		(void)printf("{\"ok\":%s,\"findings\":[", is_ok ? "true" : "false");
	for (size_t i = 0; i < cmd->count; i++) {
		if (cmd->is_json)
			print_json(&cmd->findings[i], i == 0);
		else
			print_text(&cmd->findings[i]);
	}
	if (cmd->is_json)
		(void)puts("]}");
	else
		(void)printf("%s\n",
			is_ok ? "etchlet can run with this." : "etchlet cannot run with this.");
	return is_ok;
}

/* -- endpoints -------------------------------------------------------------------------------- */

static const char *advice_for(int err)
{
	switch (err) {
	case ERR_DNS:
		return "check the name, and the device's DNS";
	case ERR_REFUSED:
		return "check host and port, and that etcd listens there for clients";
	case ERR_TIMEOUT:
	case ERR_UNREACHABLE:
		return "check the route and the firewall; for a slow link raise --dial-timeout or --command-timeout";
	case ERR_TLS_VERIFY:
		return "check --cacert, --cert and --key, the server's certificate and this device's clock";
	case ERR_TLS_ALPN:
	case ERR_HTTP2:
		return "this port does not speak HTTP/2: check the port, and http against https";
	case ERR_TLS:
	case ERR_CLOSED:
	case ERR_RESET:
		return "check http against https, and whether the server wants a client certificate";
	case ERR_NOENT:
	case ERR_ACCESS:
		return "make the password file readable for the user that etchlet runs as";
	case ERR_AUTH:
		return "check --user and its password";
	default:
		return "see etcd's log";
	}
}

/* Where it was the proxy's failure, or met on the way to it. */
static const char *advice_for_proxy(int err)
{
	switch (err) {
	case ERR_DNS:
		return "check the proxy's name, and the device's DNS";
	case ERR_AUTH:
		return "check user and password of the proxy";
	case ERR_HTTP:
		return "check the proxy's port, and http:// against socks5h://";
	default:
		return "check the proxy's host and port, and that it lets connections to this endpoint "
		       "through; no-proxy leads past it";
	}
}

static void check_next_endpoint(void)
{
	const struct conf *conf = cmd->client.conf;
	const struct proxy *proxy;
	char text[PROXY_TEXT_MAX];

	if (cmd->endpoint == cmd->client.endpoint_count) {
		loop_stop(&cmd->client.loop);
		return;
	}
	conf_endpoint_format(cmd->about, &conf->endpoints[cmd->endpoint]);
	cmd->probes = 0;
	cmd->is_probe_due = true;
	cmd->dial_ms = cmd->client.loop.now_ms;
	loop_timer_set(&cmd->client.loop, &cmd->deadline,
		conf->dial_timeout_ms +
			conf->command_timeout_ms * (int64_t)(4 + conf->watch_count));
	etcd_session_open(&cmd->session, &cmd->client.endpoints[cmd->endpoint++]);
	proxy = etcd_session_proxy(&cmd->session);
	if (IS_ENABLED(CONFIG_NET_PROXY) && proxy)
		check_find(FINDING_INFO, cmd->about, NULL, "through proxy %s",
			proxy_format(text, proxy));
}

static void on_deadline(struct loop_timer *timer)
{
	(void)timer;
	etcd_session_fail(&cmd->session, ERR_TIMEOUT, "the server takes no calls");
}

static void check_answered(const struct etcd_header *header)
{
	const struct etcd_status *st = &cmd->session.status;
	char version[LOG_SHOW_MAX];

	cmd->good++;
	log_show(version, sizeof(version), st->version_text, strlen(st->version_text));
	check_find(FINDING_INFO, cmd->about, NULL,
		"etcd %s, revision %" PRId64 ", raft term %" PRIu64 ", connected in %" PRId64
		" ms, round trip %" PRId64 " ms",
		*version ? version : "(version not told)", header->revision, header->raft_term,
		cmd->ready_ms, cmd->client.loop.now_ms - cmd->probe_ms);
	if (etcd_version_loses_delete(&st->version))
		check_find(FINDING_INFO, cmd->about, NULL,
			"before 3.4.36 and 3.5.18 etcd can lose a delete at the compacted revision: it is "
			"asked for one revision more");
	if (cmd->cluster_id && header->cluster_id && header->cluster_id != cmd->cluster_id)
		check_find(FINDING_ERROR, cmd->about, "name members of one cluster only",
			"cluster id %" PRIu64 ", another than the first endpoint's %" PRIu64,
			header->cluster_id, cmd->cluster_id);
	if (!cmd->cluster_id)
		cmd->cluster_id = header->cluster_id;
}

/* The first probe was answered: what the endpoint is worth. Whether it can be asked for the watches. */
static bool check_endpoint(const struct grpc_status *st, const struct etcd_header *header)
{
	char shown[LOG_SHOW_MAX + 32];

	etcd_status_show(shown, sizeof(shown), st);
	switch (etcd_status_verdict(st, false)) {
	case ETCD_VERDICT_OK:
		check_answered(header);
		break;
	case ETCD_VERDICT_DENIED:
		/* The connection and the login are good; which keys may be read is the watch's matter. */
		if (!cmd->session.cfg->user) {
			check_find(FINDING_ERROR, cmd->about, "give --user and --password-file",
				"%s", shown);
			return false;
		}
		cmd->good++;
		check_find(FINDING_INFO, cmd->about, NULL,
			"connected in %" PRId64 " ms and logged in; %s for the first key of all",
			cmd->ready_ms, shown);
		break;
	default:
		check_find(FINDING_DEAD, cmd->about, advice_for(ERR_STATUS), "%s", shown);
		return false;
	}
	if (cmd->session.is_auth_off)
		check_find(FINDING_WARNING, cmd->about,
			"remove --user, or enable authentication at the server",
			"authentication is not enabled at the server: going on without a login");
	return !cmd->are_watches_checked;
}

static void check_watch(const struct conf_watch *w, const struct grpc_status *st)
{
	char about[CONF_ENDPOINT_TEXT_MAX], shown[LOG_SHOW_MAX + 32];

	(void)snprintf(about, sizeof(about), "watch %s", w->name);
	if (st->code == GRPC_OK) {
		check_find(FINDING_INFO, about, NULL, "its keys can be read");
		return;
	}
	check_find(FINDING_ERROR, about, "grant the user the right to read the watch's whole range",
		"%s", etcd_status_show(shown, sizeof(shown), st));
}

static void on_probed(
	struct etcd_probe *p, const struct grpc_status *st, const struct etcd_header *header)
{
	const struct conf *conf = cmd->client.conf;
	bool has_next;

	(void)p;
	if (!cmd->session.channel.is_open)
		return;
	if (cmd->probes == 1) {
		has_next = check_endpoint(st, header);
	} else {
		check_watch(&conf->watches[cmd->probes - 2], st);
		has_next = true;
	}
	if (has_next && cmd->probes <= conf->watch_count)
		cmd->is_probe_due = true;
	else if (has_next)
		cmd->are_watches_checked = true;
	loop_task_post(&cmd->client.loop, &cmd->next);
}

/* All that the watch asks for: etcd refuses it where but one key of it may not be read. */
static void watch_range(struct etcd_range *range, const struct conf_watch *w,
	uint8_t end_mem[CONFIG_ETCD_KEY_BYTES])
{
	if (w->is_prefix)
		etcd_range_prefix(range, w->key.p, w->key.len, end_mem);
	else if (w->range_end.p)
		etcd_range_from(range, w->key.p, w->key.len, w->range_end.p, w->range_end.len);
	else
		etcd_range_key(range, w->key.p, w->key.len);
}

static void check_probe(struct etcd_session *s)
{
	static const uint8_t first[] = {0};
	const struct conf *conf = cmd->client.conf;
	uint8_t end_mem[CONFIG_ETCD_KEY_BYTES];
	struct etcd_range range;
	int err;

	if (!cmd->is_probe_due || s->state != ETCD_SESSION_READY || !s->is_version_settled)
		return;
	if (cmd->probes)
		watch_range(&range, &conf->watches[cmd->probes - 1], end_mem);
	else
		etcd_range_key(&range, first, sizeof(first));
	err = etcd_probe_start_whole(&cmd->probe, s, &range);
	if (err == ERR_AGAIN)
		return;
	cmd->is_probe_due = false;
	cmd->probes++;
	cmd->probe_ms = cmd->client.loop.now_ms;
	if (err)
		etcd_session_fail(s, err, "%s", err_text(err));
}

/* After an answer: the next probe of this endpoint, or the next endpoint. */
static void on_next(struct loop_task *task)
{
	(void)task;
	if (cmd->is_probe_due) {
		check_probe(&cmd->session);
		return;
	}
	etcd_session_close(&cmd->session);
	check_next_endpoint();
}

static void on_ready(struct etcd_session *s)
{
	cmd->ready_ms = cmd->client.loop.now_ms - cmd->dial_ms;
	check_probe(s);
}

static void on_down(struct etcd_session *s, int err, const char *why)
{
	check_find(FINDING_DEAD, cmd->about,
		IS_ENABLED(CONFIG_NET_PROXY) && s->channel.conn.is_proxy_failure
			? advice_for_proxy(err)
			: advice_for(err),
		"%s", why);
	check_next_endpoint();
}

static void on_going_away(struct etcd_session *s, const char *why)
{
	etcd_session_fail(s, ERR_GOAWAY, "%s", why);
}

static const struct etcd_session_ops check_session_ops = {
	.ready = on_ready,
	.version = check_probe,
	.down = on_down,
	.going_away = on_going_away,
	.writable = check_probe,
};

static void on_signals(struct client *c, int signals)
{
	if (signals & PORT_SIGNAL_STOP) {
		cmd->status = CMD_FAILED;
		loop_stop(&c->loop);
	}
}

static int check_run(struct conf *conf)
{
	bool is_ok;
	int err;

	cmd->is_json = conf->is_json;
	cmd->status = client_init(&cmd->client, conf);
	if (cmd->status)
		return cmd->status;
	cmd->client.on_signals = on_signals;
	cmd->status = client_open_signals(&cmd->client);
	if (cmd->status)
		return cmd->status;
	cmd->next.fn = on_next;
	cmd->deadline.fn = on_deadline;
	etcd_session_init(
		&cmd->session, &cmd->client.loop, &cmd->client.session, &check_session_ops, NULL);
	etcd_probe_init(&cmd->probe, on_probed, NULL);
	check_local(&cmd->client);
	check_next_endpoint();
	err = loop_run(&cmd->client.loop);
	etcd_session_close(&cmd->session);
	is_ok = print_findings() && !err && !cmd->status;
	client_free(&cmd->client);
	if (cmd->is_config_wrong)
		return cmd_output_end(CMD_USAGE);
	return cmd_output_end(is_ok ? CMD_DONE : CMD_FAILED);
}

int cmd_check(struct conf *conf)
{
	int status;

	cmd = heap_calloc(1, sizeof(*cmd));
	if (!cmd)
		return cmd_tell(CMD_FAILED, "%s", err_text(ERR_NOMEM));
	status = check_run(conf);
	heap_free(cmd);
	cmd = NULL;
	return status;
}
