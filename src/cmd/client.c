/* SPDX-License-Identifier: Apache-2.0 */
#include "cmd/client.h"

#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "base/heap.h"
#include "base/kconfig.h"
#include "base/log.h"
#include "base/wipe.h"
#include "cmd/cmd.h"

enum {
	CLIENT_ENTROPY_MS = 500, /* how often the system is asked whether it has random numbers */
};

/* A host name that an endpoint or a connection may point to. */
struct client_host {
	struct client_host *next;
	char name[];
};

/* A proxy that a connection may point to. */
struct client_proxy {
	struct client_proxy *next;
	struct proxy proxy;
	size_t len;
	char text[]; /* host, user and password */
};

static ssize_t client_password(void *arg, char *dst, size_t cap, char *why, size_t why_cap)
{
	const struct conf *conf = arg;
	ssize_t n;

	if (conf->password) {
		size_t len = strlen(conf->password);

		if (len >= cap) {
			snprintf(why, why_cap, "the password is longer than %zu bytes", cap - 1);
			return ERR_CONFIG;
		}
		memcpy(dst, conf->password, len + 1);
		return (ssize_t)len;
	}
	n = port_file_read(conf->password_path, dst, cap - 1);
	if (n < 0) {
		snprintf(why, why_cap, "password file %s: %s", conf->password_path,
			err_text((int)n));
		return n;
	}
	while (n > 0 && (dst[n - 1] == '\n' || dst[n - 1] == '\r'))
		n--;
	dst[n] = '\0';
	return n;
}

static bool conf_needs_tls(const struct conf *conf)
{
	for (size_t i = 0; i < conf->endpoint_count; i++) {
		if (conf->endpoints[i].is_tls)
			return true;
	}
	return false;
}

/* Host names outlive the connections that were made to them, so none is given back: a program that reads its
 * configuration again and again meets the same few. */
static const char *client_host(struct client *c, const char *name)
{
	size_t len = strlen(name) + 1;
	struct client_host *h;

	for (h = c->hosts; h; h = h->next) {
		if (!strcmp(h->name, name))
			return h->name;
	}
	h = heap_calloc(1, sizeof(*h) + len);
	if (!h)
		return NULL;
	h->next = c->hosts;
	memcpy(h->name, name, len);
	c->hosts = h;
	return h->name;
}

static bool is_same_text(const char *a, const char *b)
{
	return a && b ? strcmp(a, b) == 0 : a == b;
}

static const char *text_take(char **at, const char *text)
{
	size_t len = text ? strlen(text) + 1 : 0;
	char *dst = *at;

	if (!text)
		return NULL;
	memcpy(dst, text, len);
	*at += len;
	return dst;
}

/* Like host names, proxies outlive the connections through them, and none is given back. 0 or ERR_NOMEM; *out is NULL where
 * there is none. */
static int client_proxy(struct client *c, const struct conf_proxy *wanted, const struct proxy **out)
{
	enum proxy_kind kind = wanted->is_socks ? PROXY_SOCKS5H : PROXY_HTTP;
	struct client_proxy *p;
	size_t len;
	char *at;

	*out = NULL;
	if (!wanted->host)
		return 0;
	for (p = c->known_proxies; p; p = p->next) {
		*out = &p->proxy;
		if (p->proxy.kind == kind && p->proxy.port == wanted->port &&
			is_same_text(p->proxy.host, wanted->host) &&
			is_same_text(p->proxy.user, wanted->user) &&
			is_same_text(p->proxy.password, wanted->password))
			return 0;
	}
	len = strlen(wanted->host) + 1;
	if (wanted->user)
		len += strlen(wanted->user) + 1 + strlen(wanted->password) + 1;
	p = heap_calloc(1, sizeof(*p) + len);
	*out = NULL;
	if (!p)
		return ERR_NOMEM;
	at = p->text;
	p->len = len;
	p->proxy.kind = kind;
	p->proxy.port = wanted->port;
	p->proxy.host = text_take(&at, wanted->host);
	p->proxy.user = text_take(&at, wanted->user);
	p->proxy.password = text_take(&at, wanted->password);
	p->next = c->known_proxies;
	c->known_proxies = p;
	*out = &p->proxy;
	return 0;
}

static int client_proxies(struct client *c, const struct conf *conf, struct proxy_set *set)
{
	*set = (struct proxy_set){.no_proxy = conf->no_proxy};
	if (!IS_ENABLED(CONFIG_NET_PROXY))
		return 0;
	if (client_proxy(c, &conf->proxy, &set->configured) ||
		client_proxy(c, &conf->https_proxy, &set->https) ||
		client_proxy(c, &conf->http_proxy, &set->http))
		return ERR_NOMEM;
	return 0;
}

/* 0, or an error with conf->why. */
static int client_load(struct client *c, struct conf *conf)
{
	const struct tls_files files = {
		.cacert = conf->cacert,
		.cert = conf->cert,
		.key = conf->key,
		.is_unverified = conf->is_insecure,
	};
	struct proxy_set proxies;
	char why[CONN_WHY_MAX];
	int err = 0;

	if (client_proxies(c, conf, &proxies))
		return conf_refuse(conf, "proxy", "%s", err_text(ERR_NOMEM));
	for (size_t i = 0; i < conf->endpoint_count; i++) {
		if (!client_host(c, conf->endpoints[i].host))
			return conf_refuse(conf, "endpoints", "%s", err_text(ERR_NOMEM));
	}
	if (conf_needs_tls(conf))
		err = tls_context_load(&c->session.tls, &files, why, sizeof(why));
	if (err) {
		(void)conf_refuse_file(conf, why);
		return err;
	}
	c->conf = conf;
	c->proxies = proxies;
	for (size_t i = 0; i < conf->endpoint_count; i++)
		c->endpoints[i] = (struct etcd_endpoint){client_host(c, conf->endpoints[i].host),
			conf->endpoints[i].port, conf->endpoints[i].is_tls};
	c->endpoint_count = conf->endpoint_count;
	c->session = (struct etcd_session_cfg){
		.dial_timeout_ms = conf->dial_timeout_ms,
		.command_timeout_ms = conf->command_timeout_ms,
		.keepalive_time_ms = conf->keepalive_time_ms,
		.keepalive_timeout_ms = conf->keepalive_timeout_ms,
		.user = conf->user,
		.password = client_password,
		.password_arg = conf,
		.proxies = &c->proxies,
		.tls = c->session.tls,
	};
	return 0;
}

int client_reload(struct client *c, struct conf *conf)
{
	return client_load(c, conf) ? ERR_CONFIG : 0;
}

int client_init(struct client *c, struct conf *conf)
{
	bool is_told = false;
	int err;

	memset(c, 0, sizeof(*c));
	c->signal_fd.fd = -1;
	loop_init(&c->loop);
	/* Early in the life of a device, keys can't be checked yet: that is nobody's mistake. */
	while ((err = client_load(c, conf)) == ERR_ENTROPY &&
		(conf->command->set & (CONF_RUN | CONF_WATCH))) {
		if (!is_told)
			log_warn("%s; waits for them", conf->why);
		is_told = true;
		(void)port_poll(NULL, 0, CLIENT_ENTROPY_MS);
	}
	return err ? cmd_tell(CMD_USAGE, "%s", conf->why) : CMD_DONE;
}

void client_agent_cfg(const struct client *c, struct agent_cfg *cfg)
{
	const struct conf *conf = c->conf;

	*cfg = (struct agent_cfg){
		.endpoint_count = c->endpoint_count,
		.session = c->session,
		.probe_interval_ms = conf->probe_interval_ms,
		.idle_after_ms = conf->idle_after_ms,
		.backoff_min_ms = conf->backoff_min_ms,
		.backoff_max_ms = conf->backoff_max_ms,
		.max_value_len = conf->max_value_len,
		.is_once = conf->is_once,
		.keeper =
			{
				.path = conf->state_path,
				.interval_ms = conf->state_interval_ms,
				.quiet_interval_ms = conf->idle_after_ms,
				.is_relaxed = conf->durability == CONF_DURABILITY_RELAXED,
			},
	};
	memcpy(cfg->endpoints, c->endpoints, sizeof(cfg->endpoints));
}

static void on_signal(struct loop_fd *fd, int events)
{
	struct client *c = fd->user;

	(void)events;
	c->on_signals(c, port_signals_take());
}

int client_open_signals(struct client *c)
{
	int fd = port_signals_open();

	if (fd < 0)
		return cmd_tell(CMD_FAILED, "cannot catch signals: %s", err_text(fd));
	c->signal_fd = (struct loop_fd){.fd = fd, .want = PORT_POLL_IN, .fn = on_signal, .user = c};
	return loop_fd_add(&c->loop, &c->signal_fd) ? CMD_FAILED : CMD_DONE;
}

int client_check_build(struct conf *conf, const struct conf_watch *w)
{
	if (w->mirror && !IS_ENABLED(CONFIG_SINK_MIRROR))
		return conf_refuse_watch(
			conf, w, "mirror", NULL, "is not part of this build (SINK_MIRROR)");
	if (w->exec && !IS_ENABLED(CONFIG_SINK_HOOK))
		return conf_refuse_watch(
			conf, w, "exec", NULL, "is not part of this build (SINK_HOOK)");
	if (w->post && !IS_ENABLED(CONFIG_SINK_POST))
		return conf_refuse_watch(
			conf, w, "post", NULL, "is not part of this build (SINK_POST)");
	if (w->fetch && !IS_ENABLED(CONFIG_SINK_FETCH))
		return conf_refuse_watch(
			conf, w, "fetch", NULL, "is not part of this build (SINK_FETCH)");
	if ((w->http_cacert || w->http_cert) && !IS_ENABLED(CONFIG_NET_TLS))
		return conf_refuse_watch(conf, w, w->http_cacert ? "http-cacert" : "http-cert",
			NULL, "is not part of this build (NET_TLS)");
	if (w->fetch_pubkey && !IS_ENABLED(CONFIG_FETCH_SIGNATURE))
		return conf_refuse_watch(conf, w, "fetch-pubkey", NULL,
			"is not part of this build (FETCH_SIGNATURE)");
	return 0;
}

int client_mirror_cfg(
	struct client *c, struct conf *conf, const struct conf_watch *w, struct mirror_cfg *cfg)
{
	*cfg = (struct mirror_cfg){
		.loop = &c->loop,
		.watch_name = w->name,
		.path = w->mirror,
		.key = w->key.p,
		.key_len = w->key.len,
		.mode = w->mirror_mode,
		.has_mode = conf_watch_has_mirror_mode(w),
		.is_adopt = w->is_mirror_adopt,
		.is_relaxed = conf->durability == CONF_DURABILITY_RELAXED,
		.backoff_min_ms = conf->backoff_min_ms,
		.backoff_max_ms = conf->backoff_max_ms,
	};
	if (!w->mirror_owner)
		return 0;
	cfg->has_owner = true;
	return port_owner_find(w->mirror_owner, &cfg->uid, &cfg->gid)
		       ? conf_refuse_watch(conf, w, "mirror-owner", w->mirror_owner,
				 "names a user or group that this system does not have")
		       : 0;
}

void client_free(struct client *c)
{
	tls_context_free(c->session.tls);
	c->session.tls = NULL;
	loop_fd_remove(&c->loop, &c->signal_fd);
	while (c->hosts) {
		struct client_host *next = c->hosts->next;

		heap_free(c->hosts);
		c->hosts = next;
	}
	while (c->known_proxies) {
		struct client_proxy *next = c->known_proxies->next;

		wipe(c->known_proxies->text, c->known_proxies->len);
		heap_free(c->known_proxies);
		c->known_proxies = next;
	}
}

int client_range(struct etcd_range *range, const struct conf *conf, uint8_t *end_mem)
{
	const char *key = conf->operands[0];
	size_t len = strlen(key);

	if (len > CONFIG_ETCD_KEY_BYTES ||
		(conf->operand_count > 1 && strlen(conf->operands[1]) > CONFIG_ETCD_KEY_BYTES))
		return cmd_tell(CMD_USAGE, "a key longer than %d bytes", CONFIG_ETCD_KEY_BYTES);
	if (conf->operand_count > 1 && conf->is_prefix)
		return cmd_tell(CMD_USAGE, "RANGE_END and --prefix cannot go together");
	if (conf->is_prefix)
		etcd_range_prefix(range, key, len, end_mem);
	else if (conf->operand_count > 1)
		etcd_range_from(range, key, len, conf->operands[1], strlen(conf->operands[1]));
	else
		etcd_range_key(range, key, len);
	if (!etcd_range_is_valid(range))
		return cmd_tell(CMD_USAGE,
			conf->operand_count > 1 ? "RANGE_END must be greater than KEY"
						: "KEY is empty: every key is meant by --prefix");
	return CMD_DONE;
}
