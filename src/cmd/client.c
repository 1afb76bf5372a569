/* SPDX-License-Identifier: Apache-2.0 */
#include "cmd/client.h"

#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "base/kconfig.h"
#include "base/log.h"
#include "base/wipe.h"
#include "cmd/cmd.h"

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

static int client_load_tls(struct client *c, struct tls_context **tls, char *why, size_t why_cap)
{
	const struct tls_files files = {
		.cacert = c->conf->cacert,
		.cert = c->conf->cert,
		.key = c->conf->key,
		.is_unverified = c->conf->is_insecure,
	};

	return tls_context_load(tls, &files, why, why_cap);
}

static bool client_needs_tls(const struct client *c)
{
	for (size_t i = 0; i < c->endpoint_count; i++) {
		if (c->endpoints[i].is_tls)
			return true;
	}
	return false;
}

int client_init(struct client *c, struct conf *conf)
{
	char why[CONN_WHY_MAX];

	memset(c, 0, sizeof(*c));
	c->conf = conf;
	c->signal_fd.fd = -1;
	loop_init(&c->loop);
	for (size_t i = 0; i < conf->endpoint_count; i++)
		c->endpoints[i] = (struct etcd_endpoint){conf->endpoints[i].host,
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
	};
	if (client_needs_tls(c) && client_load_tls(c, &c->session.tls, why, sizeof(why)))
		return cmd_tell(CMD_USAGE, "%s", why);
	return CMD_DONE;
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

void client_reload(struct client *c)
{
	char why[CONN_WHY_MAX];

	if (!c->session.tls) {
		log_info(
			"reload: nothing is read from files but the password, and that at each login");
		return;
	}
	if (client_load_tls(c, &c->session.tls, why, sizeof(why)))
		log_error("reload: %s; the certificates stay as they were", why);
	else
		log_info("reload: certificates read again, for the connections to come");
}

void client_free(struct client *c)
{
	tls_context_free(c->session.tls);
	c->session.tls = NULL;
	loop_fd_remove(&c->loop, &c->signal_fd);
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
