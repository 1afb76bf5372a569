/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the commands that talk to etcd share: the loop and its signals, the endpoints, the login and
 * the certificates, as the user's options say.
 */
#ifndef ETCHLET_CMD_CLIENT_H
#define ETCHLET_CMD_CLIENT_H

#include "base/loop.h"
#include "conf/conf.h"
#include "etcd/range.h"
#include "etcd/session.h"
#include "net/http.h"
#include "sink/fetch.h"
#include "sink/mirror.h"
#include "sync/agent.h"

struct client {
	struct conf *conf;
	struct loop loop;
	struct etcd_session_cfg session;
	struct etcd_endpoint endpoints[CONFIG_CONF_ENDPOINT_COUNT];
	size_t endpoint_count;
	struct proxy_set proxies; /* as conf says */
	/* Called with a set of enum port_signal; set by the command before client_open_signals(). */
	void (*on_signals)(struct client *c, int signals);
	void *user;
	/* private */
	struct loop_fd signal_fd;
	struct client_host *hosts;
	struct client_proxy *known_proxies;
};

/* 0, or the exit status after a line that says what is wrong. */
int client_init(struct client *c, struct conf *conf);

int client_open_signals(struct client *c);

/*
 * SIGHUP: takes over the endpoints, the proxies, the login and the certificates of conf, which may be the one at
 * hand or another that outlives it, and reads the certificates again. All or nothing: 0; or
 * ERR_CONFIG, and conf->why says what is wrong.
 */
int client_reload(struct client *c, struct conf *conf);

/* What an agent needs to know of conf, but for the TLS context, which is told when it is loaded. */
void client_agent_cfg(const struct client *c, struct agent_cfg *cfg);

/* Whether this build has the sinks that a section asks for: 0, or ERR_CONFIG with conf->why. */
int client_check_build(struct conf *conf, const struct conf_watch *w);

/* Of a section with a mirror, which cfg points into: 0, or ERR_CONFIG with conf->why: its owner is not known. */
int client_mirror_cfg(
	struct client *c, struct conf *conf, const struct conf_watch *w, struct mirror_cfg *cfg);

/* The certificates that a section with post or fetch trusts; NULL: it has none. */
const char *client_http_cacert(const struct conf *conf, const struct conf_watch *w);
/* What its requests are made with: points into c and w, and to cacert. */
void client_http_cfg(
	struct client *c, const struct conf_watch *w, const char *cacert, struct http_cfg *cfg);
/* Whether its URL and its certificates could be used: 0, or ERR_CONFIG with conf->why. */
int client_check_http(struct client *c, struct conf *conf, const struct conf_watch *w);

/* Of a section with fetch, which cfg points into, and to cacert: 0, or ERR_CONFIG with conf->why: its owner is not known. */
int client_fetch_cfg(struct client *c, struct conf *conf, const struct conf_watch *w,
	const char *cacert, struct fetch_cfg *cfg);

void client_free(struct client *c);

/* The range of KEY [RANGE_END] and --prefix; end_mem: CONFIG_ETCD_KEY_BYTES. 0 or the exit status. */
int client_range(struct etcd_range *range, const struct conf *conf, uint8_t *end_mem);

#endif
