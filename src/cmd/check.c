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
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/json.h"
#include "base/kconfig.h"
#include "base/log.h"
#include "base/wipe.h"
#include "cmd/client.h"
#include "cmd/cmd.h"
#include "etcd/probe.h"
#include "store/journal.h"

enum {
	CHECK_TEXT_MAX = 640,
	CHECK_JSON_MAX = CHECK_TEXT_MAX * 4,
	CHECK_FINDING_MAX = 3 * CONFIG_CONF_ENDPOINT_COUNT + 16,
};

enum level {
	FINDING_ERROR,
	FINDING_WARNING,
	FINDING_INFO,
	FINDING_DEAD, /* an endpoint is: an error, but a warning where another one is good */
};

struct finding {
	enum level level;
	const char *advice; /* a constant; NULL: none is needed */
	char about[CONF_ENDPOINT_TEXT_MAX];
	char what[CHECK_TEXT_MAX];
};

/* Allocated for the command that runs, once. */
static struct check_cmd {
	struct client client;
	struct etcd_session session;
	struct etcd_probe probe;
	struct journal journal;
	struct loop_task next;
	size_t endpoint;
	int64_t dial_ms, probe_ms; /* when they began */
	int64_t ready_ms; /* how long the dial took */
	size_t good;
	uint64_t cluster_id; /* the first endpoint's */
	bool is_json;
	bool is_probe_due;
	size_t probes; /* sent: the first for the endpoint, then one for each watch */
	bool are_watches_checked;
	struct loop_timer deadline;
	char about[CONF_ENDPOINT_TEXT_MAX]; /* the endpoint at hand */
	struct finding findings[CHECK_FINDING_MAX];
	size_t count;
	int status;
} * cmd;

/*
 * Notes one finding; advice may be NULL. They are printed at the end, for what is wrong with one
 * endpoint is a warning when another is good.
 */
__attribute__((format(printf, 4, 5))) static void find(
	enum level level, const char *about, const char *advice, const char *fmt, ...)
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

/* -- what needs no network -------------------------------------------------------------------- */

static void check_config(const struct conf *conf)
{
	struct conf_warning w;

	for (unsigned i = 0; conf_warning(conf, i, &w); i++)
		find(FINDING_WARNING, w.about, w.advice, "%s", w.what);
	if (conf->password_path) {
		char password[ETCD_PASSWORD_MAX];
		ssize_t n = port_file_read(conf->password_path, password, sizeof(password));

		if (n < 0)
			find(FINDING_ERROR, "password-file",
				"make the file readable for the user that etchlet runs as",
				"%s: %s", conf->password_path, err_text((int)n));
		else if (n == 0)
			find(FINDING_ERROR, "password-file", "write the password into it",
				"%s is empty", conf->password_path);
		wipe(password, sizeof(password));
	}
}

static void check_certificates(void)
{
	char what[CHECK_TEXT_MAX];
	bool is_error;

	for (unsigned i = 0; tls_context_finding(
		     cmd->client.session.tls, i, port_wall_s(), &is_error, what, sizeof(what));
		i++)
		find(is_error ? FINDING_ERROR : FINDING_WARNING, "certificates",
			is_error ? "install a valid one" : "renew it in time", "%s", what);
}

/* A start makes the file, and the folder that it is to be in, but not that one's. */
static bool has_state_folder(const char *path)
{
	char folder[CHECK_TEXT_MAX];
	size_t len = strlen(path);

	if (len >= sizeof(folder))
		return false;
	memcpy(folder, path, len + 1);
	for (int levels = 0; levels < 2; levels++) {
		while (len && folder[len - 1] != '/')
			len--;
		while (len > 1 && folder[len - 1] == '/')
			len--;
		folder[len] = '\0';
		if (!len || port_folder_exists(folder))
			return true;
	}
	return false;
}

static void check_state(const struct conf *conf)
{
	struct journal_stat stat;
	int err;

	if (!conf->state_path)
		return;
	if (has_state_folder(conf->state_path) && !port_file_can_write(conf->state_path))
		find(FINDING_WARNING, "state",
			"make the file and its folder writable for the user that etchlet runs as",
			"%s cannot be written", conf->state_path);
	err = journal_open(
		&cmd->journal, conf->state_path, PORT_FLASH_READ, false, cmd->client.loop.now_ms);
	if (err == ERR_NOENT && has_state_folder(conf->state_path)) {
		find(FINDING_INFO, "state", NULL, "%s does not exist yet; the first start makes it",
			conf->state_path);
		return;
	}
	if (err) {
		find(FINDING_WARNING, "state", "without it positions are lost at a restart",
			"%s: %s", conf->state_path,
			cmd->journal.flash.why ? cmd->journal.flash.why : err_text(err));
		return;
	}
	journal_stat(&cmd->journal, &stat, cmd->client.loop.now_ms);
	if (cmd->journal.is_damaged)
		find(FINDING_WARNING, "state", "the next start synchronises in full",
			"%s holds no intact record; the next start puts it aside as %s.damaged",
			conf->state_path, conf->state_path);
	else
		find(FINDING_INFO, "state", NULL,
			"%s: %" PRIu32 " intact records, %" PRIu32 " damaged", conf->state_path,
			stat.intact, stat.damaged);
	journal_close(&cmd->journal);
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

static void check_next_endpoint(void)
{
	const struct conf *conf = cmd->client.conf;

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
	find(FINDING_INFO, cmd->about, NULL,
		"etcd %s, revision %" PRId64 ", raft term %" PRIu64 ", connected in %" PRId64
		" ms, round trip %" PRId64 " ms",
		*version ? version : "(version not told)", header->revision, header->raft_term,
		cmd->ready_ms, cmd->client.loop.now_ms - cmd->probe_ms);
	if (etcd_version_loses_delete(&st->version))
		find(FINDING_INFO, cmd->about, NULL,
			"before 3.4.36 and 3.5.18 etcd can lose a delete at the compacted revision: it is "
			"asked for one revision more");
	if (cmd->cluster_id && header->cluster_id && header->cluster_id != cmd->cluster_id)
		find(FINDING_ERROR, cmd->about, "name members of one cluster only",
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
			find(FINDING_ERROR, cmd->about, "give --user and --password-file", "%s",
				shown);
			return false;
		}
		cmd->good++;
		find(FINDING_INFO, cmd->about, NULL,
			"connected in %" PRId64 " ms and logged in; %s for the first key of all",
			cmd->ready_ms, shown);
		break;
	default:
		find(FINDING_DEAD, cmd->about, advice_for(ERR_STATUS), "%s", shown);
		return false;
	}
	if (cmd->session.is_auth_off)
		find(FINDING_WARNING, cmd->about,
			"remove --user, or enable authentication at the server",
			"authentication is not enabled at the server: going on without a login");
	return !cmd->are_watches_checked;
}

static void check_watch(const struct conf_watch *w, const struct grpc_status *st)
{
	char about[CONF_ENDPOINT_TEXT_MAX], shown[LOG_SHOW_MAX + 32];

	(void)snprintf(about, sizeof(about), "watch %s", w->name);
	if (st->code == GRPC_OK) {
		find(FINDING_INFO, about, NULL, "its keys can be read");
		return;
	}
	find(FINDING_ERROR, about, "grant the user the right to read the watch's whole range", "%s",
		etcd_status_show(shown, sizeof(shown), st));
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

static void check_probe(struct etcd_session *s)
{
	static const uint8_t first[] = {0};
	const struct conf *conf = cmd->client.conf;
	struct etcd_range range;
	int err;

	if (!cmd->is_probe_due || s->state != ETCD_SESSION_READY || !s->is_version_settled)
		return;
	etcd_range_key(&range, first, sizeof(first));
	/* An empty key with a prefix is every key: it begins where the first probe asks. */
	if (cmd->probes && conf->watches[cmd->probes - 1].key.len)
		etcd_range_key(&range, conf->watches[cmd->probes - 1].key.p,
			conf->watches[cmd->probes - 1].key.len);
	err = etcd_probe_start(&cmd->probe, s, &range);
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
	(void)s;
	find(FINDING_DEAD, cmd->about, advice_for(err), "%s", why);
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
	check_config(conf);
	if (cmd->client.session.tls)
		check_certificates();
	check_state(conf);
	check_next_endpoint();
	err = loop_run(&cmd->client.loop);
	etcd_session_close(&cmd->session);
	is_ok = print_findings() && !err && !cmd->status;
	client_free(&cmd->client);
	return cmd_output_end(is_ok ? CMD_DONE : CMD_FAILED);
}

int cmd_check(struct conf *conf)
{
	int status;

	cmd = calloc(1, sizeof(*cmd));
	if (!cmd)
		return cmd_tell(CMD_FAILED, "%s", err_text(ERR_NOMEM));
	status = check_run(conf);
	free(cmd);
	cmd = NULL;
	return status;
}
