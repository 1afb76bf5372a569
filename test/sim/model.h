/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A model of an etcd cluster: members over one history, as the client sees them. It answers Range,
 * Watch, Status and Authenticate by real bytes (server.h), and does on demand what etcd does to a
 * client: lags, loses its leader, compacts, is restored, forgets logins, is overloaded, has the bugs of
 * old versions.
 */
#ifndef TEST_SIM_MODEL_H
#define TEST_SIM_MODEL_H

#include "port/sim/sim.h"
#include "test/sim/history.h"

enum {
	MODEL_HISTORIES = 8,
	MODEL_WATCHES = 8, /* of a stream */
};

struct model_member {
	int64_t rev; /* applied */
	bool is_lagging; /* applies nothing now */
	bool is_partitioned; /* answers nothing that needs a majority */
	const char *version;
	bool has_dups; /* sends events again now and then */
	bool loses_delete; /* a watch that starts at the compacted revision misses a delete there */
	int64_t stale_rev; /* not 0: "linearizable" answers are as of then (etcd issue 20418) */
	uint64_t stray_id; /* not 0: its headers name another cluster */
};

struct model {
	struct history histories[MODEL_HISTORIES];
	int current;
	int member_count;
	struct model_member members[SIM_HOSTS];

	/* how it serves */
	int batch_revs; /* revisions of one response when catching up */
	uint32_t fragment_len; /* bytes */
	int64_t delay_us; /* of an answer, at most */
	int64_t watch_delay_us; /* until an event is sent, at most */
	int64_t progress_us; /* interval of notifications; 0: none */
	bool is_header_ahead; /* a created header may name a revision whose events are still to come */
	size_t backlog_max; /* bytes that wait before a watch falls behind */
	uint32_t fail_chance; /* of a unary call: UNAVAILABLE and the like */
	uint32_t slow_chance; /* of a unary call: takes seconds */
	uint32_t drop_chance; /* of a unary call: never answered */
	uint32_t cancel_chance; /* of a watch: cancelled without a reason when it is created */
	bool has_same_ids; /* all watches of a stream get the same id */
	bool is_denied;
	bool has_auth;
	int64_t token_us; /* how long a login is good */

	/* what was seen */
	uint64_t range_calls, probe_calls, list_calls, watch_calls, login_calls;
	int64_t last_probe_us,
		probe_gap_us; /* the longest time between two probes of one connection */
	uint32_t probe_conn;
	int64_t last_start_rev; /* of the last watch that was asked for */
	bool was_restored, was_replaced; /* a restore; one with another cluster id */
};
extern struct model model;

void model_reset(int members, int64_t rev);
void model_free(void);
struct history *model_history(void);
/* Whether a member is of a version that loses a delete at the compacted revision. */
bool model_is_old(void);
/* Its version. */
void model_set_version(int member, const char *version, bool loses_delete, bool has_dups);

/* After changes to the current history: the members apply them. */
void model_commit(void);
void model_put(uint16_t key, uint32_t value_len);
void model_compact(int64_t rev);
void model_lag(int member, bool on);
void model_partition(int member, bool on);
void model_elect(void);
/* The cluster is as it was at rev; is_other: under another id. All connections end. */
void model_restore(int64_t rev, bool is_other);
/* Which history a term is of; -1: none. */
int model_history_of(uint64_t cluster_id, uint64_t term);

#endif
