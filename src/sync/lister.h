/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Lists a range of keys page by page, all pages as of one revision: that of the first answer, or
 * one that was asked for.
 *
 * Pages are small at first, so that neither server nor network is held for long, and follow the
 * size of the values. When compaction overtakes a listing, the pages of the next one are larger;
 * at the last the whole range is asked for at once, which no compaction can break (the server reads
 * it in one go), so that even a slow listing comes to its end.
 */
#ifndef ETCHLET_SYNC_LISTER_H
#define ETCHLET_SYNC_LISTER_H

#include "etcd/reader.h"

struct lister;

struct lister_ops {
	/* The revision is known. 0 or ERR_AGAIN: asked again after lister_resume(). Called once. */
	int (*begin)(struct lister *l, int64_t rev, const struct etcd_header *header);
	int (*event)(struct lister *l, const struct etcd_event *e);
	ssize_t (*value)(struct lister *l, enum etcd_value which, const uint8_t *p, size_t len);
	int (*event_end)(struct lister *l, const struct etcd_event *e);
	/* All keys were told (st->code GRPC_OK), or it broke off. */
	void (*done)(struct lister *l, const struct grpc_status *st);
	/* The next page is to be asked for: call lister_pump(), not within this call. */
	void (*page)(struct lister *l);
};

struct lister {
	const struct lister_ops *ops;
	void *user;
	struct etcd_reader reader;
	int64_t rev; /* of the listing; 0: not known yet */
	bool is_running;
	/* private */
	struct etcd_session *session;
	struct etcd_range range;
	struct etcd_header header; /* of the first page */
	uint32_t page_len; /* keys; 0: no limit */
	uint32_t overtaken; /* how often compaction was faster */
	uint64_t page_bytes;
	bool is_page_due;
	bool has_begun;
	bool has_more; /* as the page that ended last says */
	bool has_page; /* the page at hand came to its end */
	bool has_key; /* next is set */
	bool is_next_cut; /* next is the beginning of a key that was too long */
	size_t next_len;
	uint8_t next[CONFIG_ETCD_KEY_BYTES + 1]; /* the last key, and room for a zero byte */
};

void lister_init(struct lister *l, const struct lister_ops *ops, void *user);

/* Begins a listing of range as of rev (0: now). range's memory outlives it. Call lister_pump() then. */
void lister_start(
	struct lister *l, struct etcd_session *s, const struct etcd_range *range, int64_t rev);

/* Goes on over another session, at the same revision, behind the last key that was complete. */
void lister_go_on(struct lister *l, struct etcd_session *s);

/* Asks for a page when one is due. 0, ERR_AGAIN (session's writable() tells when) or another error. */
int lister_pump(struct lister *l);

void lister_resume(struct lister *l);

/* Ends it without done(). */
void lister_stop(struct lister *l);

/* Compaction overtook it: larger pages from now on. forget: a listing has succeeded, small ones again. */
void lister_note_overtaken(struct lister *l);
void lister_forget_overtaken(struct lister *l);

#endif
