/* SPDX-License-Identifier: Apache-2.0 */
/* What the sinks that ask web servers are made with. */
#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "base/kconfig.h"
#include "cmd/client.h"
#include "sink/post.h"

const char *client_http_cacert(const struct conf *conf, const struct conf_watch *w)
{
	if (w->http_cacert)
		return w->http_cacert;
	/* Bundles are large: none is read for nothing. */
	if (!w->fetch && !(IS_ENABLED(CONFIG_SINK_POST) && w->post && post_is_tls(w->post)))
		return NULL;
	if (conf->cacert)
		return conf->cacert;
#ifdef CONFIG_HTTP_CACERT_PATH
	if (port_file_exists(CONFIG_HTTP_CACERT_PATH))
		return CONFIG_HTTP_CACERT_PATH;
#endif
	return NULL;
}

void client_http_cfg(
	struct client *c, const struct conf_watch *w, const char *cacert, struct http_cfg *cfg)
{
	*cfg = (struct http_cfg){
		.loop = &c->loop,
		.proxies = &c->proxies,
		.cacert = cacert,
		.cert = w->http_cert,
		.key = w->http_key,
	};
}

/* why begins with the path at fault, where it is a file's fault. */
static int client_refuse_http_file(struct conf *conf, const struct conf_watch *w, const char *why)
{
	const struct {
		const char *option, *path;
	} files[] = {
		{"http-cacert", w->http_cacert},
		{"http-cert", w->http_cert},
		{"http-key", w->http_key},
	};

	for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
		size_t len = files[i].path ? strlen(files[i].path) : 0;

		if (len && !strncmp(why, files[i].path, len) && why[len] == ':')
			return conf_refuse_watch(conf, w, files[i].option, NULL, "%s", why);
	}
	if (!w->http_cacert && conf->cacert)
		return conf_refuse_file(conf, why);
	return conf_refuse_watch(conf, w, w->post ? "post" : "fetch", NULL, "%s", why);
}

static int client_check_post(struct conf *conf, const struct conf_watch *w, const char *cacert)
{
	char why[HTTP_WHY_MAX];

	if (!IS_ENABLED(CONFIG_SINK_POST) || !w->post)
		return 0;
	/* Not the word itself: it may hold a password. */
	if (post_check_url(w->post, why, sizeof(why)))
		return conf_refuse_watch(conf, w, "post", NULL, "%s", why);
	if (post_is_tls(w->post) && !cacert)
		return conf_refuse_watch(conf, w, "post", NULL,
			"https needs the certificates that are trusted: give http-cacert, or cacert");
	return 0;
}

int client_check_http(struct client *c, struct conf *conf, const struct conf_watch *w)
{
	const char *cacert = client_http_cacert(conf, w);
	struct http_cfg cfg;
	struct http *http;
	char why[HTTP_WHY_MAX];
	int err;

	if (!w->post && !w->fetch)
		return 0;
	if (client_check_post(conf, w, cacert))
		return ERR_CONFIG;
	client_http_cfg(c, w, cacert, &cfg);
	err = http_open(&http, &cfg, why, sizeof(why));
	http_close(http);
	/* What may be over soon is for who opens it. */
	if (err && err != ERR_ENTROPY && err != ERR_NOMEM)
		return client_refuse_http_file(conf, w, why);
	return 0;
}

int client_fetch_cfg(struct client *c, struct conf *conf, const struct conf_watch *w,
	const char *cacert, struct fetch_cfg *cfg)
{
	*cfg = (struct fetch_cfg){
		.loop = &c->loop,
		.watch_name = w->name,
		.path = w->fetch,
		.mode = w->fetch_mode,
		.rate_bytes_s = w->fetch_rate,
		.max_len = w->fetch_max_len,
		.timeout_ms = w->fetch_timeout_ms,
		.connect_timeout_ms = conf->dial_timeout_ms,
		.pubkey = w->fetch_pubkey,
		.is_relaxed = conf->durability == CONF_DURABILITY_RELAXED,
		.backoff_min_ms = conf->backoff_min_ms,
		.backoff_max_ms = conf->backoff_max_ms,
		.uid = UINT32_MAX,
		.gid = UINT32_MAX,
	};
	client_http_cfg(c, w, cacert, &cfg->http);
	if (!w->fetch_owner)
		return 0;
	cfg->has_owner = true;
	return port_owner_find(w->fetch_owner, &cfg->uid, &cfg->gid)
		       ? conf_refuse_watch(conf, w, "fetch-owner", w->fetch_owner,
				 "names a user or group that this system does not have")
		       : 0;
}
