/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The probe: a linearizable Range of one key that returns no key, only the header, and so the
 * cluster's current revision. etcd answers it only after a majority was asked, so it also proves
 * that the member is connected to its cluster.
 */
#ifndef ETCHLET_ETCD_PROBE_H
#define ETCHLET_ETCD_PROBE_H

#include "etcd/session.h"

enum {
	ETCD_PROBE_REPLY_MAX = 256, /* bytes of an answer: a header and a count need less than 80 */
};

struct etcd_probe;

/* header is of use only when st->code is GRPC_OK, and then always present. */
typedef void etcd_probe_fn(
	struct etcd_probe *p, const struct grpc_status *st, const struct etcd_header *header);

struct etcd_probe {
	etcd_probe_fn *done;
	void *user;
	/* private */
	struct grpc_call call;
	size_t reply_len;
	uint8_t reply[ETCD_PROBE_REPLY_MAX];
};

void etcd_probe_init(struct etcd_probe *p, etcd_probe_fn *done, void *user);

/* Asks for the key at which range begins; done() comes within the session's command_timeout_ms. 0, ERR_AGAIN, ERR_GOAWAY. */
int etcd_probe_start(struct etcd_probe *p, struct etcd_session *s, const struct etcd_range *range);

/* The same for all of range: whether it may be read. The server counts its keys, so not for every day. */
int etcd_probe_start_whole(
	struct etcd_probe *p, struct etcd_session *s, const struct etcd_range *range);

bool etcd_probe_is_running(const struct etcd_probe *p);

/* Ends it without done(). */
void etcd_probe_cancel(struct etcd_probe *p);

#endif
