/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A sink takes what happened to a watch's keys, in order, and says when it is processed: printed,
 * mirrored, given to a program. It knows nothing of where that came from, nor of connections and
 * positions.
 *
 * The calls come in this grammar:
 *
 *	stream  = { change | listing | progress | commit }
 *	change  = event { value } { value(PREV) } event_end
 *	listing = sync_begin { change } synced        (cut short at any point by another sync_begin)
 *
 * Each of them may answer ERR_AGAIN: the sink is busy, and has not taken this call. It calls wake()
 * when it is worth trying again, and then gets the same call with the same arguments. value() takes
 * less than it is offered in that case. ERR_BUSY is the same, and says that it will last: nobody should wait for
 * this sink. Any other error is the sink's trouble: it is told to the person once, by the sink, and the same call is
 * tried again later.
 *
 * A sink that others wait for in vain is left behind: it gets nothing until it calls wake(), and then what
 * it has missed, from the call on that it did not take. So it must not call wake() before it can take
 * a good deal. When it has been left behind in the middle of an event, it goes on in there.
 *
 * A connection that breaks within an event is not the sink's business: the event is continued where
 * it was, for its value at that revision never changes. When it can't be continued (its revision
 * was compacted away), sync_begin() follows an event that never ended.
 *
 * commit(rev): all events up to and including revision rev have been handed over, and none beyond.
 * done_rev follows it when they are processed, at once or later (then wake() tells).
 */
#ifndef ETCHLET_SINK_SINK_H
#define ETCHLET_SINK_SINK_H

#include "etcd/event.h"

#include <sys/types.h>

enum sync_reason {
	SYNC_FIRST, /* no position is known */
	SYNC_COMPACTED, /* the position was compacted away */
	SYNC_CLUSTER, /* it is another cluster */
	SYNC_ROLLBACK, /* the server is behind the position */
	SYNC_STATE, /* the state file is damaged beyond its last record */
};

/* "first", "compacted", ... as the interface names them. */
const char *sync_reason_name(enum sync_reason reason);

struct sink_sync {
	enum sync_reason reason;
	int64_t revision; /* the listing is as of it */
	int64_t compact_revision; /* with SYNC_COMPACTED */
};

enum {
	SINK_WHY_MAX = 192, /* bytes of the reason of a sink's last trouble, NUL included */
};

struct sink;

struct sink_ops {
	int (*sync_begin)(struct sink *s, const struct sink_sync *sync);
	int (*event)(struct sink *s, const struct etcd_event *e);
	/* Bytes taken; 0 or ERR_AGAIN: none now. e is the event of event(), with all that stood before
	 * these bytes on the wire: with ETCD_VALUE_PREV, has_prev, prev_len and the lease too. */
	ssize_t (*value)(struct sink *s, const struct etcd_event *e, enum etcd_value which,
		const uint8_t *p, size_t len);
	int (*event_end)(struct sink *s, const struct etcd_event *e);
	int (*synced)(struct sink *s, int64_t revision);
	/* Nothing happened up to revision: a progress notification of the server. */
	int (*progress)(struct sink *s, int64_t revision);
	/* Never ERR_AGAIN. */
	void (*commit)(struct sink *s, int64_t revision);
	/* Whether sync_begin() would be taken now; wake() when that changes. NULL: always. */
	bool (*is_ready)(struct sink *s);
	/* A position is to be saved: what was processed must be on storage, as the durability asks. 0
	 * or an error: not saved now. NULL: it is. */
	int (*settle)(struct sink *s);
	/* SIGTERM: make ready to end within timeout_ms; wake() when done. NULL: nothing to do. */
	void (*stop)(struct sink *s, int64_t timeout_ms);
	/* What it does or waits for just now, for a person: "no reader at PATH"; terminated, "": nothing
	 * worth to tell. NULL: there never is. */
	void (*now)(const struct sink *s, char *dst, size_t cap);
	/* SIGUSR1 or a new connection: what waits for a retry is tried now. NULL: nothing to do. */
	void (*retry)(struct sink *s);
};

struct sink {
	const struct sink_ops *ops;
	const char *name; /* "print", "exec", for log lines */
	int64_t done_rev; /* processed up to here; only what commit() was told, 0 at the start */
	/* Stands for what the sink keeps; positions of another one mean nothing to it. 0: it keeps
	 * nothing. Set before the sink is added, and before relist() is called. */
	uint64_t identity;
	/* It keeps something for each key: an event that is too long to be delivered comes as a DELETE. */
	bool is_keeper;
	/* It needs what a keeper of the same watch has made of an event, and never gets one before it. */
	bool is_follower;
	/* Of commit(): the answer that it was called within has more to come. */
	bool is_mid_answer;
	/* For status: failures since the start, and what the last one was; "" when there was none. */
	uint64_t errors;
	char why[SINK_WHY_MAX];
	int64_t why_ms; /* when that was; monotonic */
	bool is_failing; /* it is so now, and tried again */
	bool is_stopped; /* after stop(): it has ended */
	/* The owner's: called from the loop, never from within a call of sink_ops. */
	void (*wake)(struct sink *s);
	/* The owner's, called as wake() is. ERR_PIPE: the sink can't go on for good, its reader is
	 * gone. Any other code: trouble that the sink has logged and tries again by itself. */
	void (*fail)(struct sink *s, int err);
	/* The owner's, called as wake() is: what the sink kept is lost, and it has another identity. */
	void (*relist)(struct sink *s);
	/* The owner's, may be called from within event(): the sink has no place for this key and passes
	 * the event over, which holds nothing up. */
	void (*skip)(struct sink *s, const struct etcd_event *e);
	void *user;
};

/* What hinders it now, for a person: dst, or NULL: nothing that it knows of. */
const char *sink_condition(const struct sink *s, char *dst, size_t cap);

#endif
