/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The small messages of etcd's API: requests are encoded into, and small answers decoded from, memory
 * of the caller. Answers that hold keys are not here: they stream, see split.h.
 *
 * Encoders return the length of the message, or ERR_LIMIT when it is longer than cap. They copy from
 * the caller's memory straight to dst and nowhere else, so a password lies only where the caller put
 * it and in dst; wiping both is the caller's.
 */
#ifndef ETCHLET_ETCD_MSG_H
#define ETCHLET_ETCD_MSG_H

#include "etcd/event.h"
#include "etcd/range.h"

#include <sys/types.h>

enum {
	ETCD_TOKEN_MAX = 8192, /* bytes of an auth token; a longer one is a failed login */
	ETCD_VERSION_TEXT_MAX = 32, /* bytes kept of a server's version, NUL included */
};

/* etcdserverpb.RangeRequest. Keys come in ascending order. */
struct etcd_range_request {
	struct etcd_range range;
	int64_t rev; /* the keys as of this revision; 0: as they are now */
	int64_t limit; /* keys at most; 0: no limit */
	bool is_keys_only;
	bool is_count_only;
	bool is_serializable; /* may be answered from a member's own, older data; false: linearizable */
};

/* etcdserverpb.WatchCreateRequest. The server chooses the watch's id. */
struct etcd_watch_request {
	struct etcd_range range;
	int64_t start_rev; /* 0: now */
	bool want_progress; /* periodic notifications while nothing happens */
	bool want_prev; /* events with the pair they replace */
	bool want_fragment; /* large responses in parts */
};

ssize_t msg_encode_range(uint8_t *dst, size_t cap, const struct etcd_range_request *req);
ssize_t msg_encode_watch_create(uint8_t *dst, size_t cap, const struct etcd_watch_request *req);
ssize_t msg_encode_watch_cancel(uint8_t *dst, size_t cap, int64_t watch_id);
ssize_t msg_encode_watch_progress(uint8_t *dst, size_t cap);
ssize_t msg_encode_authenticate(uint8_t *dst, size_t cap, const char *name, size_t name_len,
	const char *password, size_t password_len);
/* Of no length; it may be sent as it is. */
ssize_t msg_encode_status(uint8_t *dst, size_t cap);

/*
 * AuthenticateResponse: the token goes to dst, terminated; dst may be where the message lies. Its
 * length; ERR_AUTH when it is empty, longer than ETCD_TOKEN_MAX or than dst, or cannot be the value of
 * a header field (printable ASCII, no space at either end); ERR_PROTO.
 */
ssize_t msg_decode_authenticate(const uint8_t *p, size_t len, char *dst, size_t cap);

/*
 * The header alone of a whole RangeResponse; keys in it are skipped. 0, ERR_PROTO or ERR_REVISION. A
 * response without a header is none of these: is_present is false then.
 */
int msg_decode_range_header(const uint8_t *p, size_t len, struct etcd_header *header);

struct etcd_version {
	uint16_t major, minor, patch;
	bool is_known; /* false: the text was no version, the numbers are 0 */
};

/* StatusResponse. Its header's revision is what the member has seen, not what the cluster has. */
struct etcd_status {
	struct etcd_header header;
	char version_text[ETCD_VERSION_TEXT_MAX]; /* foreign bytes, cut, terminated */
	struct etcd_version version;
	uint64_t leader; /* 0: the member knows of none */
	uint64_t raft_term;
	bool is_learner;
};

/* 0, ERR_PROTO or ERR_REVISION. */
int msg_decode_status(const uint8_t *p, size_t len, struct etcd_status *st);

/* "3.5.16", "3.6.0-rc.1": numbers, and what follows a '-' or '+' is ignored. */
void etcd_version_parse(struct etcd_version *v, const char *text, size_t len);

/*
 * Whether a watch that starts right behind the compacted revision can lose a delete of exactly that
 * revision (etcd issue 19179: before 3.4.36 and 3.5.18). False when the version is not known.
 */
bool etcd_version_loses_delete(const struct etcd_version *v);

#endif
