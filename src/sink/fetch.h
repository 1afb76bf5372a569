/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The sink that downloads what values refer to: "fetch = DIR" of a watch. fetch_value.h says what a value looks like.
 *
 * It takes events at once: what is wanted of a key is recorded in DIR/.etchlet, and its newest value counts. Up to
 * CONFIG_FETCH_PARALLEL downloads are under way, the lowest revision first. Each goes into DIR/.etchlet, is gone on with after
 * whatever interrupts it, and only what has the right SHA-256 (and signature, where a key is given) is renamed into its
 * place. Until then the last good file stays. What has another digest is not asked for again until the value changes.
 *
 * Processed is a revision when nothing of it or below is pending: each artifact is in place, refused, superseded or
 * deleted. So what a server does not have holds the position, and with it the hook of the watch, and nothing else.
 *
 * Files in DIR that it has not put there stay as they are; one with the name of an artifact is taken
 * over when it has the digest, and else it refuses the artifact. Nothing outside DIR is touched, whatever links lie in it.
 *
 * Nothing is allocated but by fetch_open(): tables by Kconfig, FETCH_KEY_COUNT and FETCH_PARALLEL.
 */
#ifndef ETCHLET_SINK_FETCH_H
#define ETCHLET_SINK_FETCH_H

#include "base/loop.h"
#include "net/http.h"
#include "net/tls_digest.h"
#include "sink/attempt.h"
#include "sink/fetch_record.h"
#include "sink/sink.h"

struct fetch_cfg {
	struct loop *loop;
	const char *watch_name; /* for log lines */
	const char *path; /* DIR; lives as long as the sink */
	uint32_t mode; /* of files */
	bool has_owner;
	uint32_t uid, gid;
	uint64_t rate_bytes_s; /* of all downloads together; 0: no limit */
	uint64_t max_len; /* bytes of one artifact */
	int64_t timeout_ms; /* CONFIG_FETCH_SLOW_BYTES must come in that time */
	int64_t connect_timeout_ms;
	const char *pubkey; /* path; NULL: artifacts need no signature; lives as long as the sink */
	struct http_cfg http; /* what it points to lives as long as the sink */
	bool is_relaxed; /* durability */
	int64_t backoff_min_ms, backoff_max_ms;
	/* done_rev has moved; called from the loop, as wake() is. NULL: the watch has no hook. With one, what was refused and is in
	 * place later, without an event of its own, leads to relist(), so that the hook is given it. */
	void (*moved)(void *user);
	void *moved_user;
};

/*
 * What is being done with the event at hand:
 *
 *	IDLE     event() -> SKIP, REMOVE or GATHER
 *	SKIP     it has no place, or is older than what is known; event_end() -> IDLE
 *	REMOVE   event_end() -> IDLE
 *	GATHER   its value is gathered; event_end() -> IDLE
 *	LOST     DIR is not there any more; sync_begin() after it was opened anew -> IDLE
 *	STOPPED  after stop()
 *
 * sync_begin() leads from all of these but STOPPED to IDLE.
 */
enum fetch_state {
	FETCH_IDLE,
	FETCH_SKIP,
	FETCH_REMOVE,
	FETCH_GATHER,
	FETCH_LOST,
	FETCH_STOPPED,
};

/*
 * An artifact:
 *
 *	FREE     no key has this entry
 *	WANTED   for a slot, or for its time -> HASHING, LOADING, PLACING, PLACED, REFUSED
 *	HASHING  bytes that are there are read: the part of a former try -> LOADING, PLACING; or a file
 *	         that may be the artifact -> PLACED, REFUSED, LOADING
 *	LOADING  a download -> PLACING, REFUSED, LOADING (from its beginning)
 *	PLACING  what was verified is put in its place -> PLACED
 *	PLACED
 *	REFUSED  what is wanted is not taken
 *
 * From HASHING, LOADING and PLACING a failure leads to WANTED, with a time. Another value leads to WANTED or REFUSED, a delete to
 * FREE, from wherever it is.
 */
enum fetch_step {
	FETCH_FREE,
	FETCH_WANTED,
	FETCH_HASHING,
	FETCH_LOADING,
	FETCH_PLACING,
	FETCH_PLACED,
	FETCH_REFUSED,
};

struct fetch_entry {
	uint8_t hash[FETCH_HASH_LEN]; /* of the key */
	uint64_t name,
		placed_name; /* hashes of the name it is to have, and of the one it has; 0: none */
	int64_t rev; /* of its newest value */
	int64_t due_ms; /* WANTED: not before it */
	int64_t told_ms; /* when trouble was logged last */
	uint32_t failures; /* one after the other */
	int32_t reason; /* of the last one: an HTTP status, or a code below 0; 0: none */
	int32_t told; /* the one that was logged last */
	int64_t refusal_ms; /* when a refusal was logged last; 0: never */
	uint8_t step; /* enum fetch_step */
	uint8_t refused; /* enum fetch_refusal */
	uint8_t refusal_told; /* the one that was logged last */
	bool is_listed;
	bool is_left; /* it was refused before the start or is since then, and no event of it has come */
	bool is_late; /* it was refused, and so processed, and is wanted or being placed without an event */
};

struct fetch_job;

struct fetch_sink {
	struct sink sink;
	struct fetch_cfg cfg; /* private, as is all that follows */
	enum fetch_state state;
	int root, own; /* DIR and DIR/.etchlet; -1: not open */
	struct http *http;
	struct tls_pubkey *pubkey;
	struct fetch_entry *entries; /* CONFIG_FETCH_KEY_COUNT */
	struct fetch_job *jobs; /* CONFIG_FETCH_PARALLEL */
	char *value; /* CONFIG_FETCH_VALUE_BYTES of the event at hand */
	size_t value_len;
	uint64_t name_key[2];
	uint64_t kept_identity; /* as it lies on storage */
	bool is_open;
	bool is_listing;
	bool is_skip_told;
	bool is_left_out; /* keys were passed over, for there were too many */
	bool has_late; /* one that was late is in place, and the hook does not know */
	bool is_unsynced; /* names have changed since settle() */
	bool want_wake, want_relist, want_moved; /* to be called by task */
	int want_fail;
	int64_t commit_rev; /* told by commit(); 0: nothing since the listing began */
	int64_t mark_rev; /* one that was, and what is pending below it is waited for; 0: none */
	uint32_t shape;
	uint64_t placed, refused; /* counters since the start */
	uint64_t bytes; /* downloaded since the start */
	int64_t lines_ms; /* since when lines about artifacts are counted; 0: not yet */
	unsigned lines; /* logged since then */
	struct attempt attempt; /* of trouble with the folder */
	struct loop_task task;
	struct loop_timer retry_timer; /* of trouble with the folder */
	struct loop_timer due_timer; /* of the artifact that is tried next */
	struct loop_timer step_timer; /* the next slice of what is hashed */
};

/*
 * Opens DIR (made when missing, with those above it), takes its lock, reads the key and the certificates. Fills in sink.ops, sink.name
 * and sink.identity; the owner sets wake, fail, relist and skip.
 * 0; ERR_CONFIG: a file that was named cannot be used; ERR_LOCKED: another agent's folder; ERR_ENTROPY, ERR_NOENT, ERR_ACCESS,
 * ERR_READONLY, ERR_NOSPACE, ERR_NOMEM, ERR_IO: not now, may be tried again. why: one line for a person.
 */
int fetch_open(struct fetch_sink *f, const struct fetch_cfg *cfg, char *why, size_t why_cap);
/* Harmless after a failed fetch_open(), and on zeros. What is under way is gone on with after the next start. */
void fetch_close(struct fetch_sink *f);

/* The key and the certificates are read again. 0, or an error as above with why: then those that were read before stay. */
int fetch_reload(struct fetch_sink *f, char *why, size_t why_cap);
/* The delays of the tries to come; one that is waited for now is not longer than backoff_max_ms. */
void fetch_set_delays(struct fetch_sink *f, int64_t backoff_min_ms, int64_t backoff_max_ms,
	int64_t connect_timeout_ms);

/* For a hook; user is the sink. */

/* Stands for the key's file until the batch is given to the program: no name of a file. Terminated; its length. */
size_t fetch_key_path(void *user, const uint8_t *key, size_t key_len, char *dst, size_t cap);
/* The name in DIR in place of what fetch_key_path() gave. 0: what the newest value wants is not in place. */
size_t fetch_path_now(void *user, const char *path, size_t len, char *dst, size_t cap);
/* Changes whenever fetch_path_now() may answer otherwise than before. */
uint32_t fetch_shape(void *user);
int64_t fetch_done_rev(void *user);

/* For status. */
struct fetch_progress {
	char key[LOG_SHOW_MAX]; /* fit to be shown */
	char name[FETCH_NAME_MAX]; /* "": not known */
	const char *state; /* "waiting", "hashing", "loading", "placing", "refused" */
	uint64_t bytes; /* that are there */
	uint64_t size; /* 0: not known */
	uint64_t rate_bytes_s; /* over the last seconds */
	int64_t eta_s; /* -1: not known */
	char why[SINK_WHY_MAX]; /* what went wrong last; "": nothing */
};

/* Number i of the artifacts that are under way, in trouble or refused, those that are "loading" first; false: there are not so
 * many. Reads small files. */
bool fetch_progress(const struct fetch_sink *f, size_t i, struct fetch_progress *p);

/* How the artifacts are, counted now. */
struct fetch_count {
	unsigned keys, placed, pending, refused;
};

void fetch_count(const struct fetch_sink *f, struct fetch_count *c);

/* For check: whether a start would take the folder and the key, and what it would say. Changes nothing. 0 or an error as above. */
int fetch_check(const struct fetch_cfg *cfg, char *why, size_t why_cap);

#endif
