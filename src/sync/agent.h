/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The agent: follows any number of watches over one connection and one Watch stream, whatever
 * happens to either.
 *
 * It dials the endpoints in turn, checks by a linearizable probe that the server knows the history
 * that the positions belong to, opens the watches at their positions, synchronises in full those that
 * have none or a lost one, and probes on. It ends by agent_stop() alone, or when a sink is gone for good.
 *
 * What one watch does is in watch.c, what it asks a server for in watch_ask.c, and what it is told in
 * watch_stream.c; the connection, the probes and whose turn it is in agent.c, the streams and who holds them up
 * in agent_stream.c, and how watches come and go in agent_watches.c.
 */
#ifndef ETCHLET_SYNC_AGENT_H
#define ETCHLET_SYNC_AGENT_H

#include "base/backoff.h"
#include "etcd/probe.h"
#include "etcd/reader.h"
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
 *	LIVE -> OFF                      a sink that was left behind goes on: created anew
 *	LIVE, OFF -> PARK                all its sinks are behind: nothing is asked for
 *	PARK -> OFF                      one of them goes on
 *	any but PARK -> OFF              the connection or the stream ended
 *	any -> GONE                      it is being taken out
 *
 * A watch whose sinks are slow is parked so that it does not hold up those which share the stream. Nothing is
 * queued for it: it is created anew after the last revision that its sinks have, and the server sends what came
 * in between.
 */
enum watch_state {
	WATCH_OFF, /* waits for its turn */
	WATCH_LIST, /* waits for the lister, or is being listed */
	WATCH_CREATE, /* asked for; "created" is due within command_timeout_ms */
	WATCH_LIVE,
	WATCH_PAUSE,
	WATCH_PARK,
	WATCH_GONE, /* its sinks have until the timer to end */
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
	int64_t cancel_id; /* to be cancelled before it is asked for again; -1: none */
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
	struct loop_timer timer; /* the deadline of CREATE and GONE, the end of PAUSE */
	int64_t event_ms; /* when the last event came */
	bool is_leaving; /* it is taken out at the end of the answer that is coming in, or at the timer */
	int64_t leave_timeout_ms;
	struct loop_timer leave_timer;
	struct trouble trouble;
	struct keeper_entry entry;
	bool is_released; /* GONE, and entry is out of the keeper already */
};

struct agent_cfg {
	struct etcd_endpoint endpoints[CONFIG_CONF_ENDPOINT_COUNT];
	size_t endpoint_count;
	struct etcd_session_cfg session;
	int64_t probe_interval_ms;
	int64_t idle_after_ms;
	int64_t backoff_min_ms, backoff_max_ms;
	uint64_t max_value_len;
	bool is_once; /* caught_up() is wanted */
	struct keeper_cfg keeper;
};

enum {
	AGENT_LEAVE_MS = 300, /* the end of an answer is waited for so long */
	AGENT_URL_MAX = ETCD_AUTHORITY_MAX + 8,
};

struct agent {
	struct loop *loop;
	struct agent_cfg cfg;
	/* The agent has stopped; err: 0, or why (ERR_PIPE: a sink is gone for good). */
	void (*stopped)(struct agent *a, int err);
	/* A watch that was taken out has ended. */
	void (*removed)(struct agent *a, struct watch *w);
	/* --once: every watch has processed what there was at the start. Whether that is all; else it is called again. */
	bool (*caught_up)(struct agent *a);
	void *user;

	struct keeper keeper;
	struct etcd_session session;
	struct watch *watches;
	uint64_t reconnects;
	struct trouble trouble; /* of the connection */
	struct {
		int64_t rev; /* 0: none was answered yet */
		int64_t at_ms;
		int64_t asked_ms; /* when it was asked for what was answered then */
	} probed;
	/* private */
	int64_t probe_asked_ms; /* the newest probe */
	struct etcd_reader stream;
	struct lister lister;
	struct etcd_probe probe;
	struct loop_task pump;
	struct loop_timer connect_timer, call_timer, probe_timer, idle_timer, stop_timer,
		hold_timer, once_timer;
	struct backoff backoff;
	size_t endpoint_next;
	uint32_t conn_count;
	bool had_event; /* on this connection */
	bool had_connection;
	bool is_probe_due;
	bool is_stopping, is_finished;
	int stop_err;
	struct watch *creating; /* one at a time, so that its answer can't be mistaken */
	bool is_orphan_due; /* the one that was being created was taken out: its answer is still due */
	int64_t orphan_id; /* to be cancelled; -1: none */
	int64_t once_rev; /* --once: the revision at the start; 0: not known yet */
	/* What holds up the stream, and the lister. */
	struct agent_hold {
		const struct feed *feed;
		uint64_t steps; /* of it, when it was looked at last */
	} stream_hold, list_hold;
	struct watch *listing;
	struct watch *probing;
	struct watch *current; /* whose response is coming in; NULL: nobody's */
	bool is_held; /* the stream waits until the listing is complete */
	bool is_listed; /* the lister is done, the sinks have not taken its end yet */
	bool is_stream_stale; /* to be closed, and opened anew when a watch needs it */
	bool is_ready_again; /* this connection was ready before */
	uint32_t relogins; /* on this connection, without success between */
	uint32_t random;
	const struct proxy *proxy; /* the last one that was told of */
	char url[AGENT_URL_MAX];
};

/* cfg is copied; what it points to outlives the agent. */
void agent_init(struct agent *a, struct loop *loop, const struct agent_cfg *cfg);

/* Opens the state file. 0 or ERR_LOCKED. */
int agent_open(struct agent *a);

/* Adds a watch with its sinks and loads its position. 0, or ERR_LIMIT: too many sinks. */
int agent_add_watch(struct agent *a, struct watch *w, struct sink *const *sinks, size_t n);

/* Takes a watch out, also while others run: its sinks are stopped (timeout_ms), its position is saved, and
 * removed() is called from the loop. Then its memory is the owner's again. */
void agent_remove_watch(struct agent *a, struct watch *w, int64_t timeout_ms);

/* Forgets the position kept under the name of no watch that is added: as keeper_forget(). */
int agent_forget(struct agent *a, const char *name);

/* Other settings (SIGHUP); the state file stays: the text of its path does too, where it is another one. What the old
 * settings pointed to is not used any more. When endpoints or the user changed, a connection that fits them no
 * more is replaced. */
void agent_set_cfg(struct agent *a, const struct agent_cfg *cfg);

/* Begins to connect. */
void agent_start(struct agent *a);

/* Ends the connection, gives the sinks timeout_ms to end, saves the positions, and calls stopped(). */
void agent_stop(struct agent *a, int64_t timeout_ms);

/* SIGUSR1: retries and probes everything now. */
void agent_retry(struct agent *a);

/* Other certificates: used from the next connection on. */
void agent_set_tls(struct agent *a, struct tls_context *tls);

/* -- between the files of the agent -- */

void agent_init_stream(struct agent *a);
/* The Watch stream ends, for all watches. */
void agent_close_stream(struct agent *a);
/* Offers again what was held up. */
void agent_resume_stream(struct agent *a);
/* The lister is done: tries to end the listing. */
void agent_pump_listed(struct agent *a);
/* Looks after what is held up, if anybody waits for it. */
void agent_arm_hold(struct agent *a);
/* At a stop: finishes when all sinks have ended. */
void agent_check_stopped(struct agent *a);
/* Endpoints in random order. */
void agent_shuffle(struct agent *a);

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
/* What comes on the stream for w from now on is passed over. */
void agent_detach(struct agent *a, struct watch *w);
/* GONE is over for w. */
void agent_watch_ended(struct agent *a, struct watch *w);

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
/* A sink of it has called wake(), has lost what it kept, or could not keep a key. */
void watch_note_wake(struct watch *w, struct sink *s);
void watch_relist(struct watch *w);
/* Its listing is held up by a sink, and others wait for theirs: later. */
void watch_list_held(struct watch *w);
/* Begins to take it out. */
void watch_leave(struct watch *w, int64_t timeout_ms);
/* If it is leaving, it waits for nothing more. */
void watch_leave_now(struct watch *w);
/* Its sinks are to end; whether they have. */
void watch_stop_sinks(struct watch *w, int64_t timeout_ms);
bool watch_has_ended(const struct watch *w);
/* Whether it has processed everything up to rev, as far as can be told. */
bool watch_has_caught_up(const struct watch *w, int64_t rev);
/* --once: asks for the probe that watch_has_caught_up() waits for, if it does. */
void watch_prove_past(struct watch *w);
/* Other settings of the agent. */
void watch_set_times(struct watch *w);

/* -- between the files of the watch -- */

void watch_set_state(struct watch *w, enum watch_state state);
/* Tried again after a while. is_slow: a person must act first. */
void watch_pause(struct watch *w, bool is_slow, const char *why);
void watch_end_trouble(struct watch *w);
/* The watch has proved to live: what was met before it counts no more. */
void watch_prove(struct watch *w);
bool watch_has_lived_long(const struct watch *w);
/* Saves the position when it is due. */
void watch_touch(struct watch *w);
void watch_want_list(struct watch *w, enum sync_reason reason, int64_t compact_rev);
/* Whether a position is held against the server's history before the watch is asked for. */
bool watch_needs_proof(const struct watch *w);

#endif
