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

struct client {
	struct conf *conf;
	struct loop loop;
	struct etcd_session_cfg session;
	struct etcd_endpoint endpoints[CONFIG_CONF_ENDPOINT_COUNT];
	size_t endpoint_count;
	/* Called with a set of enum port_signal; set by the command before client_open_signals(). */
	void (*on_signals)(struct client *c, int signals);
	void *user;
	/* private */
	struct loop_fd signal_fd;
};

/* 0, or the exit status after a line that says what is wrong. */
int client_init(struct client *c, struct conf *conf);

int client_open_signals(struct client *c);

/* Reads the certificates again (SIGHUP). The old ones stay when the new are not good; that is told. */
void client_reload(struct client *c);

void client_free(struct client *c);

/* The range of KEY [RANGE_END] and --prefix; end_mem: CONFIG_ETCD_KEY_BYTES. 0 or the exit status. */
int client_range(struct etcd_range *range, const struct conf *conf, uint8_t *end_mem);

#endif
