/* SPDX-License-Identifier: Apache-2.0 */
#include "conf/options.h"

#include <stdio.h>
#include <string.h>

#include "base/kconfig.h"

enum {
	NET = CONF_RUN | CONF_WATCH | CONF_GET | CONF_CHECK,
	AGENT = CONF_RUN | CONF_CHECK,

	HELP_COLUMNS = 80,
	HELP_INDENT = 30, /* where the explanations begin */
};

enum group {
	GROUP_SAME,
	GROUP_OPTIONS,
	GROUP_CONNECTION,
	GROUP_TIMING,
	GROUP_KEYS,
	GROUP_AGENT,
	GROUP_STATE,
	GROUP_SUPERVISION,
	GROUP_LOG,
	GROUP_SECTION,
};

static const char *const groups[] = {
	[GROUP_OPTIONS] = "Options",
	[GROUP_CONNECTION] = "Connection",
	[GROUP_TIMING] = "Timing (TIME: 500ms, 5s, 10m, 1h30m)",
	[GROUP_KEYS] = "Keys and output",
	[GROUP_AGENT] = "Agent",
	[GROUP_STATE] = "State",
	[GROUP_SUPERVISION] = "Supervision",
	[GROUP_LOG] = "Log",
	[GROUP_SECTION] = "Of the file, in its sections [watch NAME]",
};

/* clang-format off */
/* A row has three lines: how it is called, what help says, where its value goes. */
#define AT(field) (uint16_t)offsetof(struct conf, field)
#define AT_WATCH(field) (uint16_t)offsetof(struct conf_watch, field)

/* Of a build without these sinks, whose options are refused by their name all the same. */
#ifndef CONFIG_FETCH_DEFAULT_MAX_SIZE
#define CONFIG_FETCH_DEFAULT_MAX_SIZE "1M"
#endif
#ifndef CONFIG_HTTP_CACERT_PATH
#define CONFIG_HTTP_CACERT_PATH "none"
#endif

/* What a build without it refuses by its name needs no place in the help. */
#define UNLISTED(symbol) (IS_ENABLED(CONFIG_##symbol) ? CONF_CHECK : AGENT)

#define FILE_KIND CONF_KIND_STRING
#define TIME_KIND CONF_KIND_DURATION

const struct conf_option conf_options[CONF_OPTION_COUNT] = {
	[CONF_O_CONFIG] = {"config", "FILE", CONFIG_DEFAULT_CONFIG_PATH,
		"configuration file; the long options below may stand in it as name = value",
		AT(config_path), FILE_KIND, CONF_NOT_IN_FILE, NET | CONF_STATUS, 0, 'c',
		GROUP_OPTIONS},
	[CONF_O_ENDPOINTS] = {"endpoints", "LIST", CONFIG_DEFAULT_ENDPOINTS,
		"[http://|https://]HOST[:PORT],... with IPv6 in brackets, port 2379; no scheme: "
		"https with one of the four options below, else http",
		AT(endpoints_text), CONF_KIND_ENDPOINTS, 0, NET, 0, 0, GROUP_CONNECTION},
	[CONF_O_CACERT] = {"cacert", "FILE", NULL,
		"CA bundle, PEM",
		AT(cacert), FILE_KIND, 0, NET, 0, 0, 0},
	[CONF_O_CERT] = {"cert", "FILE", NULL,
		"client certificate, PEM",
		AT(cert), FILE_KIND, 0, NET, 0, 0, 0},
	[CONF_O_KEY] = {"key", "FILE", NULL,
		"its key, PEM",
		AT(key), FILE_KIND, 0, NET, 0, 0, 0},
	[CONF_O_INSECURE] = {"insecure-skip-tls-verify", NULL, NULL,
		"accept any server certificate",
		AT(is_insecure), CONF_KIND_SWITCH, 0, NET, 0, 0, 0},
	[CONF_O_USER] = {"user", "NAME[:PASSWORD]", NULL,
		"etcd user; %i is the device id, %h the host name, %% a percent sign",
		AT(user), CONF_KIND_STRING, CONF_SECRET, NET, 0, 0, 0},
	[CONF_O_PASSWORD] = {"password", "PASSWORD", NULL,
		"its password; others can see a command line",
		AT(password), CONF_KIND_STRING, CONF_SECRET | CONF_MAY_BE_EMPTY, NET, 0, 0, 0},
	[CONF_O_PASSWORD_FILE] = {"password-file", "FILE", NULL,
		"its password, read again at each login",
		AT(password_path), FILE_KIND, 0, NET, 0, 0, 0},
	[CONF_O_DEVICE_ID] = {"device-id", "ID", NULL,
		"ID, file:PATH (blanks and NUL at its end cut off) or env:NAME; else the host name",
		AT(device_text), CONF_KIND_STRING, 0, NET, 0, 0, 0},
	[CONF_O_PROXY] = {"proxy", "URL", NULL,
		"http:// (port 80) or socks5h:// (1080) [USER:PASSWORD@]HOST[:PORT], for everything; none: no proxy; "
		"else https_proxy, http_proxy and all_proxy of the environment",
		AT(proxy_text), CONF_KIND_STRING, CONF_SECRET | CONF_MAY_BE_EMPTY, NET, IS_ENABLED(CONFIG_NET_PROXY) ? 0 : NET, 0, 0},
	[CONF_O_NO_PROXY] = {"no-proxy", "LIST", NULL,
		"hosts, domains, addresses and networks that are reached without one, beside those of no_proxy",
		AT(no_proxy), CONF_KIND_STRING, CONF_MAY_BE_EMPTY, NET, IS_ENABLED(CONFIG_NET_PROXY) ? 0 : NET, 0, 0},
	[CONF_O_DIAL_TIMEOUT] = {"dial-timeout", "TIME", "5s",
		"DNS, TCP and TLS together, for one endpoint",
		AT(dial_timeout_ms), TIME_KIND, 0, NET, 0, 0, GROUP_TIMING},
	[CONF_O_COMMAND_TIMEOUT] = {"command-timeout", "TIME", "5s",
		"one short request, start to end",
		AT(command_timeout_ms), TIME_KIND, 0, NET, 0, 0, 0},
	[CONF_O_KEEPALIVE_TIME] = {"keepalive-time", "TIME", "60s",
		"ping when nothing came for that long",
		AT(keepalive_time_ms), TIME_KIND, 0, NET, CONF_CHECK, 0, 0},
	[CONF_O_KEEPALIVE_TIMEOUT] = {"keepalive-timeout", "TIME", "6s",
		"dead when a ping is not answered in it",
		AT(keepalive_timeout_ms), TIME_KIND, 0, NET, CONF_CHECK, 0, 0},
	[CONF_O_PROBE_INTERVAL] = {"probe-interval", "TIME", "60s",
		"how often the revision is asked for",
		AT(probe_interval_ms), TIME_KIND, 0, NET, CONF_GET | CONF_CHECK, 0, 0},
	[CONF_O_IDLE_AFTER] = {"idle-after", "TIME", "600s",
		"no event for so long: the position moves on by probe; more than probe-interval",
		AT(idle_after_ms), TIME_KIND, 0, NET, CONF_GET | CONF_CHECK, 0, 0},
	[CONF_O_BACKOFF_MIN] = {"backoff-min", "TIME", "200ms",
		"first delay before trying again",
		AT(backoff_min_ms), TIME_KIND, 0, NET, CONF_GET | CONF_CHECK, 0, 0},
	[CONF_O_BACKOFF_MAX] = {"backoff-max", "TIME", "30s",
		"longest delay before trying again",
		AT(backoff_max_ms), TIME_KIND, 0, NET, CONF_GET | CONF_CHECK, 0, 0},
	[CONF_O_PREFIX] = {"prefix", NULL, NULL,
		"all keys that begin with KEY",
		AT(is_prefix), CONF_KIND_SWITCH, 0, CONF_WATCH | CONF_GET, 0, 0, GROUP_KEYS},
	[CONF_O_REV] = {"rev", "N", NULL,
		"from this revision on; get: as of this revision",
		AT(rev), CONF_KIND_REVISION, 0, CONF_WATCH | CONF_GET, 0, 0, 0},
	[CONF_O_PREV_KV] = {"prev-kv", NULL, NULL,
		"with the value before the event",
		AT(is_prev_kv), CONF_KIND_SWITCH, 0, CONF_WATCH, 0, 0, 0},
	[CONF_O_PROGRESS_NOTIFY] = {"progress-notify", NULL, NULL,
		"print the server's progress notifications",
		AT(is_progress_notify), CONF_KIND_SWITCH, 0, CONF_WATCH, 0, 0, 0},
	[CONF_O_WRITE_OUT] = {"write-out", "simple|json", "simple",
		"as etcdctl prints, or JSON lines",
		AT(write_out), CONF_KIND_CHOICE, 0, CONF_WATCH | CONF_GET, 0, 'w', 0},
	[CONF_O_JSON] = {"json", NULL, NULL,
		"for programs",
		AT(is_json), CONF_KIND_SWITCH, 0, CONF_STATUS | CONF_STATE | CONF_CHECK, 0, 0, 0},
	[CONF_O_WATCH] = {"watch", NULL, NULL,
		"refresh every second",
		AT(is_repeated), CONF_KIND_SWITCH, 0, CONF_STATUS, 0, 0, 0},
	[CONF_O_MAX_VALUE] = {"max-value", "SIZE", "16M",
		"a longer value is as good as absent (64K, 2M, 1G)",
		AT(max_value_len), CONF_KIND_SIZE, 0, NET, CONF_CHECK, 0, 0},
	[CONF_O_ONCE] = {"once", NULL, NULL,
		"catch up, run the hooks, exit",
		AT(is_once), CONF_KIND_SWITCH, 0, CONF_RUN, 0, 0, GROUP_AGENT},
	[CONF_O_TIMEOUT] = {"timeout", "TIME", NULL,
		"give up on --once after it",
		AT(timeout_ms), TIME_KIND, 0, CONF_RUN, 0, 0, 0},
	[CONF_O_FORGET] = {"forget", "NAME,...", NULL,
		"drop the saved positions of watches that the file has no more, at a start or reload",
		AT(forget), CONF_KIND_NAMES, 0, AGENT, 0, 0, 0},
	[CONF_O_STATE] = {"state", "FILE", NULL,
		"the file in which positions live",
		AT(state_path), FILE_KIND, 0, NET, CONF_GET, 0, GROUP_STATE},
	[CONF_O_STATE_INTERVAL] = {"state-interval", "TIME", "60s",
		"a position is saved in it, not more often",
		AT(state_interval_ms), TIME_KIND, 0, NET, CONF_GET | CONF_CHECK, 0, 0},
	[CONF_O_DURABILITY] = {"durability", "normal|relaxed", "normal",
		"what a saved position covers is on storage before it, or left to the kernel",
		AT(durability), CONF_KIND_CHOICE, 0, NET, CONF_GET | CONF_CHECK, 0, 0},
	[CONF_O_CONTROL] = {"control", "PATH", CONFIG_DEFAULT_CONTROL_PATH,
		"socket for status",
		AT(control_path), FILE_KIND, 0, NET | CONF_STATUS, CONF_WATCH | CONF_GET, 0,
		GROUP_SUPERVISION},
	[CONF_O_METRICS] = {"metrics", "FILE", NULL,
		"Prometheus text file",
		AT(metrics_path), FILE_KIND, 0, NET, CONF_WATCH | CONF_GET, 0, 0},
	[CONF_O_METRICS_INTERVAL] = {"metrics-interval", "TIME", "15s",
		"how often it is written",
		AT(metrics_interval_ms), TIME_KIND, 0, NET, CONF_WATCH | CONF_GET | CONF_CHECK, 0, 0},
	[CONF_O_LOG_LEVEL] = {"log-level", "error|warn|info|debug", "info",
		"what is logged",
		AT(log_level), CONF_KIND_CHOICE, 0, NET | CONF_STATUS, 0, 0, GROUP_LOG},
	[CONF_O_SYSLOG] = {"syslog", NULL, NULL,
		"to syslog instead of standard error",
		AT(is_syslog), CONF_KIND_SWITCH, 0, NET | CONF_STATUS, CONF_CHECK, 0, 0},
};

const struct conf_option conf_watch_options[CONF_WATCH_OPTION_COUNT] = {
	[CONF_W_KEY] = {"key", "KEY", NULL,
		"with %i, %h and %% as in --user; they stand in range-end, mirror, print and "
		"the words of exec too",
		AT_WATCH(key), CONF_KIND_BYTES, CONF_MAY_BE_EMPTY, AGENT, CONF_CHECK, 0, GROUP_SECTION},
	[CONF_W_PREFIX] = {"prefix", "yes|no", NULL,
		"all keys that begin with key",
		AT_WATCH(is_prefix), CONF_KIND_SWITCH, 0, AGENT, CONF_CHECK, 0, 0},
	[CONF_W_RANGE_END] = {"range-end", "KEY", NULL,
		"all keys from key up to it",
		AT_WATCH(range_end), CONF_KIND_BYTES, 0, AGENT, CONF_CHECK, 0, 0},
	[CONF_W_PREV_KV] = {"prev-kv", "yes|no", NULL,
		"with the value before the event",
		AT_WATCH(is_prev_kv), CONF_KIND_SWITCH, 0, AGENT, CONF_CHECK, 0, 0},
	[CONF_W_MIRROR] = {"mirror", "DIR", NULL,
		"keep the keys as files in DIR",
		AT_WATCH(mirror), CONF_KIND_FOLDER, CONF_EXPANDED, AGENT, CONF_CHECK, 0, 0},
	[CONF_W_MIRROR_MODE] = {"mirror-mode", "MODE", "0644",
		"of those files, octal",
		AT_WATCH(mirror_mode), CONF_KIND_MODE, 0, AGENT, CONF_CHECK, 0, 0},
	[CONF_W_MIRROR_OWNER] = {"mirror-owner", "USER[:GROUP]", NULL,
		"of those files",
		AT_WATCH(mirror_owner), CONF_KIND_OWNER, 0, AGENT, CONF_CHECK, 0, 0},
	[CONF_W_MIRROR_ADOPT] = {"mirror-adopt", "yes|no", NULL,
		"take over a folder that has files",
		AT_WATCH(is_mirror_adopt), CONF_KIND_SWITCH, 0, AGENT, CONF_CHECK, 0, 0},
	[CONF_W_EXEC] = {"exec", "PROGRAM ARG...", NULL,
		"run it with the events as its input",
		AT_WATCH(exec), CONF_KIND_WORDS, 0, AGENT, CONF_CHECK, 0, 0},
	[CONF_W_EXEC_TIMEOUT] = {"exec-timeout", "TIME", "30s",
		"it may run for so long",
		AT_WATCH(exec_timeout_ms), TIME_KIND, 0, AGENT, CONF_CHECK, 0, 0},
	[CONF_W_PRINT] = {"print", "FILE", NULL,
		"JSON lines to a file or FIFO; - standard output",
		AT_WATCH(print), FILE_KIND, CONF_EXPANDED, AGENT, CONF_CHECK, 0, 0},
	[CONF_W_SETTLE] = {"settle", "TIME", "0s",
		"gather what comes in it into one batch",
		AT_WATCH(settle_ms), CONF_KIND_DURATION_0, 0, AGENT, CONF_CHECK, 0, 0},
	[CONF_W_POST] = {"post", "URL", NULL,
		"POST the events there: http://, https:// or unix:PATH[:/REQUEST]",
		AT_WATCH(post), CONF_KIND_STRING, CONF_EXPANDED, AGENT, UNLISTED(SINK_POST), 0, 0},
	[CONF_W_POST_ON_REJECT] = {"post-on-reject", "hold|skip", "hold",
		"what an answer of 4xx means for them",
		AT_WATCH(post_on_reject), CONF_KIND_CHOICE, 0, AGENT, UNLISTED(SINK_POST), 0, 0},
	[CONF_W_POST_TIMEOUT] = {"post-timeout", "TIME", "30s",
		"without progress, and for the answer",
		AT_WATCH(post_timeout_ms), TIME_KIND, 0, AGENT, UNLISTED(SINK_POST), 0, 0},
	[CONF_W_POST_TOKEN_FILE] = {"post-token-file", "FILE", NULL,
		"bearer token, read again for each POST",
		AT_WATCH(post_token_path), FILE_KIND, CONF_EXPANDED, AGENT, UNLISTED(SINK_POST), 0, 0},
	[CONF_W_FETCH] = {"fetch", "DIR", NULL,
		"download into DIR what the values name",
		AT_WATCH(fetch), CONF_KIND_FOLDER, CONF_EXPANDED, AGENT, UNLISTED(SINK_FETCH), 0, 0},
	[CONF_W_FETCH_RATE] = {"fetch-rate", "SIZE", NULL,
		"at most that much a second",
		AT_WATCH(fetch_rate), CONF_KIND_SIZE, 0, AGENT, UNLISTED(SINK_FETCH), 0, 0},
	[CONF_W_FETCH_MAX_SIZE] = {"fetch-max-size", "SIZE", CONFIG_FETCH_DEFAULT_MAX_SIZE,
		"a larger one is refused",
		AT_WATCH(fetch_max_len), CONF_KIND_SIZE, 0, AGENT, UNLISTED(SINK_FETCH), 0, 0},
	[CONF_W_FETCH_TIMEOUT] = {"fetch-timeout", "TIME", "30s",
		"without progress, then it is tried again",
		AT_WATCH(fetch_timeout_ms), TIME_KIND, 0, AGENT, UNLISTED(SINK_FETCH), 0, 0},
	[CONF_W_FETCH_MODE] = {"fetch-mode", "MODE", "0644",
		"of the files, octal",
		AT_WATCH(fetch_mode), CONF_KIND_MODE, 0, AGENT, UNLISTED(SINK_FETCH), 0, 0},
	[CONF_W_FETCH_OWNER] = {"fetch-owner", "USER[:GROUP]", NULL,
		"of the files",
		AT_WATCH(fetch_owner), CONF_KIND_OWNER, 0, AGENT, UNLISTED(SINK_FETCH), 0, 0},
	[CONF_W_FETCH_PUBKEY] = {"fetch-pubkey", "FILE", NULL,
		"refuse what is not signed with this key (PEM, ECDSA P-256)",
		AT_WATCH(fetch_pubkey), FILE_KIND, CONF_EXPANDED, AGENT, UNLISTED(FETCH_SIGNATURE), 0, 0},
	[CONF_W_HTTP_CACERT] = {"http-cacert", "FILE", NULL,
		"CA bundle for post and fetch, PEM; else cacert, else " CONFIG_HTTP_CACERT_PATH,
		AT_WATCH(http_cacert), FILE_KIND, CONF_EXPANDED, AGENT, UNLISTED(NET_HTTP), 0, 0},
	[CONF_W_HTTP_CERT] = {"http-cert", "FILE", NULL,
		"client certificate for them, PEM",
		AT_WATCH(http_cert), FILE_KIND, CONF_EXPANDED, AGENT, UNLISTED(NET_HTTP), 0, 0},
	[CONF_W_HTTP_KEY] = {"http-key", "FILE", NULL,
		"its private key, PEM",
		AT_WATCH(http_key), FILE_KIND, CONF_EXPANDED, AGENT, UNLISTED(NET_HTTP), 0, 0},
};
/* clang-format on */

_Static_assert((int)CONF_OPTION_COUNT <= (int)CONF_OPTION_MAX, "conf->where is too short");
_Static_assert((int)CONF_WATCH_OPTION_COUNT <= (int)CONF_WATCH_OPTION_MAX, "lines is too short");
_Static_assert(CONF_OPTION_COUNT <= 64, "the set of options seen has 64 bits");

const struct conf_option *conf_option_find(
	const struct conf_option *table, size_t count, const char *name, size_t len)
{
	for (size_t i = 0; i < count; i++) {
		if (strlen(table[i].name) == len && !memcmp(table[i].name, name, len))
			return &table[i];
	}
	return NULL;
}

struct help {
	conf_help_fn *fn;
	void *user;
	size_t column;
};

static void help_put(struct help *h, const char *text, size_t len)
{
	h->fn(h->user, text, len);
	h->column += len;
}

static void help_text(struct help *h, const char *text)
{
	help_put(h, text, strlen(text));
}

static void help_line_end(struct help *h)
{
	help_text(h, "\n");
	h->column = 0;
}

static void help_indent(struct help *h)
{
	static const char blanks[HELP_INDENT + 1] = "                              ";

	if (h->column + 2 > HELP_INDENT)
		help_line_end(h);
	help_put(h, blanks, HELP_INDENT - h->column);
}

/* Breaks lines between words. */
static void help_wrap(struct help *h, const char *text)
{
	bool is_first = true;

	while (*text) {
		size_t len = strcspn(text, " ");

		if (!is_first && h->column + 1 + len > HELP_COLUMNS) {
			help_line_end(h);
			is_first = true;
		}
		if (is_first)
			help_indent(h);
		else
			help_text(h, " ");
		help_put(h, text, len);
		text += len + (text[len] == ' ');
		is_first = false;
	}
}

static void help_option(struct help *h, const struct conf_option *o, const char *dashes)
{
	char text[256];
	const char letter[] = {'-', o->letter, ',', ' ', '\0'};

	help_text(h, o->letter ? letter : *dashes ? "    " : "");
	help_text(h, dashes);
	help_text(h, o->name);
	if (o->arg) {
		help_text(h, *dashes ? " " : " = ");
		help_text(h, o->arg);
	}
	/* Longer texts would be cut; a test reads them all. */
	if (o->preset)
		(void)snprintf(text, sizeof(text), "%s [%s]", o->help, o->preset);
	help_wrap(h, o->preset ? text : o->help);
	help_line_end(h);
}

static void help_table(struct help *h, const struct conf_option *table, size_t count, unsigned set,
	const char *dashes)
{
	uint8_t group = GROUP_SAME;

	for (size_t i = 0; i < count; i++) {
		const struct conf_option *o = &table[i];

		if (o->group)
			group = o->group;
		if (!(o->commands & ~o->unlisted & set))
			continue;
		if (group) {
			help_text(h, "\n");
			help_text(h, groups[group]);
			help_text(h, ":\n");
			group = GROUP_SAME;
		}
		h->column = 0;
		help_text(h, "  ");
		help_option(h, o, dashes);
	}
}

void conf_help(unsigned set, conf_help_fn *fn, void *user)
{
	struct help h = {.fn = fn, .user = user};

	help_table(&h, conf_options, CONF_OPTION_COUNT, set, "--");
	help_table(&h, conf_watch_options, CONF_WATCH_OPTION_COUNT, set, "");
}
