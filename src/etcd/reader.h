/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A call whose answer streams: the pages of a listing (KV.Range), or the one Watch stream that all
 * watches share (Watch.Watch). What comes goes through the splitter to the owner's callbacks, which
 * may hold it up by ERR_AGAIN; etcd_reader_resume() goes on.
 */
#ifndef ETCHLET_ETCD_READER_H
#define ETCHLET_ETCD_READER_H

#include "etcd/session.h"
#include "etcd/split.h"

struct etcd_reader;

struct etcd_reader_ops {
	struct etcd_split_ops split; /* called with the reader as user */
	/* The call is over; the reader may be used again, though not within this call. */
	void (*done)(struct etcd_reader *r, const struct grpc_status *st);
};

struct etcd_reader {
	const struct etcd_reader_ops *ops;
	void *user;
	bool is_in_message; /* part of an answer has come, the rest is due */
	bool is_blocked; /* the owner holds it up */
	int64_t last_data_ms;
	/* private */
	enum etcd_split_kind kind;
	struct grpc_call call;
	struct etcd_split split;
	uint8_t ring[CONFIG_H2_WINDOW_BYTES];
};

void etcd_reader_init(struct etcd_reader *r, const struct etcd_reader_ops *ops, void *user);

bool etcd_reader_is_running(const struct etcd_reader *r);

/* KV.Range. 0, ERR_AGAIN (session's writable() tells when), ERR_GOAWAY. */
int etcd_reader_range(
	struct etcd_reader *r, struct etcd_session *s, const struct etcd_range_request *req);

/* Opens Watch.Watch with its first watch. As above. */
int etcd_reader_watch(
	struct etcd_reader *r, struct etcd_session *s, const struct etcd_watch_request *req);

/* One more watch on the open stream, or one fewer. 0, ERR_AGAIN, ERR_CLOSED. */
int etcd_reader_create(struct etcd_reader *r, const struct etcd_watch_request *req);
int etcd_reader_cancel(struct etcd_reader *r, int64_t watch_id);

/* Offers again, at once, what was held up. */
void etcd_reader_resume(struct etcd_reader *r);

/* Ends the call without done(). Harmless when it does not run. */
void etcd_reader_close(struct etcd_reader *r);

#endif
