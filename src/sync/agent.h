/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The agent: follows any number of watches over one connection and one Watch stream, whatever
 * happens to either.
 *
 * It dials the endpoints in turn, checks by a linearizable probe that the server knows the history
 * that the positions belong to, opens the watches at their positions, synchronises in full those that
 * have none or a lost one, and probes on. It ends by agent_stop() alone, or when a sink is gone for good.
 *
 * What one watch does is in watch.c; the connection, the probes and whose turn it is in agent.c.
 */
#ifndef ETCHLET_SYNC_AGENT_H
#define ETCHLET_SYNC_AGENT_H

#include "etcd/probe.h"
#include "etcd/reader.h"
#include "sync/backoff.h"
#include "sync/feed.h"
#include "sync/keeper.h"
#include "sync/lister.h"
#include "sync/trouble.h"

struct agent;

/*
 *	OFF -> CREATE -> LIVE            a position is known, and the connection is proved
 *	OFF -> LIST -> CREATE            it is not, or is lost: a full synchronisation comes first
 *	CREATE, LIVE -> LIST             compacted, or another history
 *	CREATE, LIVE, LIST -> PAUSE      denied or refused: tried again after a while
 *	PAUSE -> OFF                     the while is over
 *	any -> OFF                       the connection or the stream ended
 */
enum watch_state {
	WATCH_OFF, /* waits for its turn */
	WATCH_LIST, /* waits for the lister, or is being listed */
	WATCH_CREATE, /* asked for; "created" is due within command_timeout_ms */
	WATCH_LIVE,
	WATCH_PAUSE,
};

struct watch {
	/* Set by the owner before agent_add_watch(); all of it outlives the agent. */
	const char *name;
	struct etcd_range range;
	bool want_prev;
	bool want_first_list; /* without a position it is listed; else it starts now */
	int64_t given_rev; /* --rev: starts there when no position is known; 0: none */

	struct position pos;
	struct feed feed;
	enum watch_state state;
	bool is_synced; /* it has once been live or listed to the end */
	/* counters since the start */
	uint64_t syncs;
	enum sync_reason last_reason;
	/* private */
	struct agent *agent;
	struct watch *next;
	int64_t id; /* the server's, while LIVE */
	bool is_checked; /* this connection's server knows the history of pos */
	bool is_denied; /* the probe of its key was */
	bool was_relogged; /* a login was tried against the denial */
	bool is_list_due; /* a full synchronisation is due or under way, for sync.reason */
	bool is_history_doubtful; /* an event that had begun did not come again */
	int64_t live_since_ms;
	bool was_listed; /* nothing came since the last one */
	struct sink_sync sync;
	int64_t synced_rev; /* handed over by a listing, not processed yet; 0: none */
	int64_t asked_synced_rev; /* the same when the newest question was sent */
	struct etcd_header sync_header;
	enum position_fit suspect; /* what a connection said, to be confirmed by the next */
	uint32_t suspect_conn;
	struct backoff backoff;
	struct loop_timer timer; /* the deadline of CREATE, the end of PAUSE */
	struct trouble trouble;
	struct keeper_entry entry;
};

struct agent_cfg {
	struct etcd_endpoint endpoints[CONFIG_CONF_ENDPOINT_COUNT];
	size_t endpoint_count;
	struct etcd_session_cfg session;
	int64_t probe_interval_ms;
	int64_t idle_after_ms;
	int64_t backoff_min_ms, backoff_max_ms;
	uint64_t max_value_len;
	struct keeper_cfg keeper;
};

enum {
	AGENT_URL_MAX = ETCD_AUTHORITY_MAX + 8,
};

struct agent {
	struct loop *loop;
	struct agent_cfg cfg;
	/* The agent has stopped; err: 0, or why (ERR_PIPE: a sink is gone for good). */
	void (*stopped)(struct agent *a, int err);
	void *user;

	struct keeper keeper;
	struct etcd_session session;
	struct watch *watches;
	uint64_t reconnects;
	struct trouble trouble; /* of the connection */
	struct {
		int64_t rev; /* 0: none was answered yet */
		int64_t at_ms;
	} probed;
	/* private */
	struct etcd_reader stream;
	struct lister lister;
	struct etcd_probe probe;
	struct loop_task pump;
	struct loop_timer connect_timer, call_timer, probe_timer, idle_timer, stop_timer;
	struct backoff backoff;
	size_t endpoint_next;
	uint32_t conn_count;
	bool had_event; /* on this connection */
	bool had_connection;
	bool is_probe_due;
	bool is_stopping, is_finished;
	int stop_err;
	struct watch *creating; /* one at a time, so that its answer can't be mistaken */
	struct watch *listing;
	struct watch *probing;
	struct watch *current; /* whose response is coming in; NULL: nobody's */
	bool is_held; /* the stream waits until the listing is complete */
	bool is_listed; /* the lister is done, the sinks have not taken its end yet */
	bool is_stream_stale; /* to be closed, and opened anew when a watch needs it */
	bool is_ready_again; /* this connection was ready before */
	uint32_t relogins; /* on this connection, without success between */
	uint32_t random;
	char url[AGENT_URL_MAX];
};

/* cfg is copied; what it points to outlives the agent. */
void agent_init(struct agent *a, struct loop *loop, const struct agent_cfg *cfg);

/* Opens the state file. 0 or ERR_LOCKED. */
int agent_open(struct agent *a);

/* Adds a watch with its sinks and loads its position. 0, or ERR_LIMIT: too many sinks. */
int agent_add_watch(struct agent *a, struct watch *w, struct sink *const *sinks, size_t n);

/* Begins to connect. */
void agent_start(struct agent *a);

/* Ends the connection, gives the sinks timeout_ms to end, saves the positions, and calls stopped(). */
void agent_stop(struct agent *a, int64_t timeout_ms);

/* SIGUSR1: retries and probes everything now. */
void agent_retry(struct agent *a);

/* Other certificates: used from the next connection on. */
void agent_set_tls(struct agent *a, struct tls_context *tls);

/* -- between agent.c and watch.c -- */

/* Whose turn it is, looked at again at the end of the turn. */
void agent_wake(struct agent *a);
/* The connection is of no use any more. */
#define agent_drop(a, err, ...) etcd_session_fail(&(a)->session, err, __VA_ARGS__)
/* Logs in again; is_stream: and opens the stream anew, for it goes by the token it began with. */
void agent_relogin(struct agent *a, bool is_stream, const char *why);
/* A watch was cancelled: the stream is closed when it was the last on it. */
void agent_watch_gone(struct agent *a);
/* Whether a watch that lives has this id. */
bool agent_has_id(const struct agent *a, int64_t id);
/* The connection has proved useful: its trouble is over. */
void agent_proved(struct agent *a);
/* "https://[::1]:2379", of the connection or the last one. */
const char *agent_url(struct agent *a);
/* Random numbers fit for jitter. */
uint32_t agent_random(struct agent *a);
bool agent_has_user(const struct agent *a);
/* Whether a watch waits to be listed, or is being listed. */
bool agent_has_list_due(const struct agent *a);

void watch_init(struct watch *w, struct agent *a);
/* What the state file says of it. */
void watch_load(struct watch *w);
/* The connection is ready, and over; or only the stream is. */
void watch_connected(struct watch *w);
void watch_disconnected(struct watch *w);
void watch_stream_closed(struct watch *w);
/* Its turn: asks for what it needs and can have now. 0; ERR_AGAIN when the channel is busy; or another error. */
int watch_pump(struct watch *w);
/* Tries at once what it waits for. */
void watch_retry(struct watch *w);
/* A probe is being sent. */
void watch_note_asked(struct watch *w);
/* A probe was answered: false when the answer is not of the position's history, and the connection was dropped. Or
 * it was denied for this watch's key. */
bool watch_probed(struct watch *w, const struct etcd_header *header);
void watch_denied(struct watch *w, const char *why);
/* What came for it on the stream; as in struct etcd_split_ops. */
int watch_event(struct watch *w, const struct etcd_event *e);
int watch_answer_begin(struct watch *w, const struct etcd_answer *answer);
int watch_answer_end(struct watch *w, const struct etcd_answer *answer);
/* What came of its listing: the lister's begin; the end, once the sinks took it all; a failure. */
int watch_list_begin(struct watch *w, int64_t rev, const struct etcd_header *header);
void watch_listed(struct watch *w);
void watch_list_failed(struct watch *w, const struct grpc_status *st);
/* Its sinks may have processed more. */
void watch_update(struct watch *w);
/* The idle rule. */
void watch_idle(struct watch *w);

#endif
