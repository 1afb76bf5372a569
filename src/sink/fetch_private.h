/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the files of the sink share; nothing outside includes it.
 *
 *	fetch.c         the sink: events, what is wanted of each key, trouble
 *	fetch_open.c    opening, closing, the folder's loss
 *	fetch_file.c    the files of DIR/.etchlet
 *	fetch_table.c   the entries: which artifact is next, whose a name is, what is processed
 *	fetch_job.c     one artifact under way
 *	fetch_load.c    the request of one, and what comes of it
 *	fetch_place.c   its place in DIR
 *	fetch_report.c  for status and hooks
 *	fetch_value.c   the JSON of a value
 *	fetch_record.c  the bytes of a record
 *
 * In DIR/.etchlet:
 *
 *	identity        stands for what the folder holds, as a mirror's
 *	HASH            the record of a key, 32 hex digits
 *	HASH.part       what is there of its artifact
 *	new             a record or the identity, while it is written
 *	left-out        is there while keys were passed over, for there were too many
 */
#ifndef ETCHLET_SINK_FETCH_PRIVATE_H
#define ETCHLET_SINK_FETCH_PRIVATE_H

#include "sink/fetch.h"

#define FETCH_OWN_NAME ".etchlet"

enum {
	FETCH_CHUNK_LEN = 4096, /* read from a file at once */
	FETCH_SLICE_LEN = 256 * 1024, /* hashed before the loop gets its turn */
	FETCH_FILE_NAME_MAX = 2 * FETCH_HASH_LEN + 8,
	FETCH_RANGE_MAX = 40, /* bytes of a Range header */
	FETCH_RATE_MS = 1000, /* over which a rate is measured */
};

/* What HASHING reads. */
enum fetch_source {
	FETCH_PART,
	FETCH_PLACE,
};

struct fetch_job {
	struct http_request request;
	struct fetch_sink *f;
	struct fetch_entry *entry; /* NULL: nothing is under way */
	struct fetch_record rec; /* the entry's, as it lies on storage */
	enum fetch_source source;
	int fd; /* what is hashed, or the part; -1: not open */
	uint64_t at; /* bytes of it that were hashed */
	uint64_t hash_to; /* HASHING: up to here */
	uint64_t synced; /* bytes that are on storage */
	struct tls_sha256 sha;
	int64_t total; /* bytes that it will have, as the server says; -1: not told */
	bool is_resumed; /* its beginning is of a former try */
	bool is_anew; /* it was begun anew in this try: not a second time */
	bool want_anew; /* the request has ended because of it */
	bool is_whole; /* the request has ended because all is there */
	const char *fault; /* why the request was ended by us; NULL: it was not */
	char range[FETCH_RANGE_MAX], if_range[HTTP_VALIDATOR_MAX + 16];
	const char *headers[3];
	/* The rate */
	int64_t rate_ms; /* when the measuring began */
	uint64_t rate_from, rate_bytes_s;
	uint64_t begun_at; /* bytes that were there when it was asked for */
};

/* One chunk of a file, and one record, for whoever is just called. */
extern uint8_t fetch_chunk[FETCH_CHUNK_LEN];
extern struct fetch_record fetch_scratch;

/* -- fetch.c ---------------------------------------------------------------------------------- */

void fetch_init(struct fetch_sink *f, const struct fetch_cfg *cfg);
/* Tells of an error with the folder, and has wake() called later. Returns err. */
int fetch_trouble(struct fetch_sink *f, int err, const char *what);
/* The same of a step in it: what was there and is not leads to a loss. */
int fetch_step_trouble(struct fetch_sink *f, int err, const char *what);
void fetch_trouble_end(struct fetch_sink *f);
/* The task runs at the end of the turn: jobs are started, and what was processed is told. */
void fetch_post(struct fetch_sink *f);

/* -- fetch_open.c ----------------------------------------------------------------------------- */

/* DIR is not what it was: everything is given up, and it is opened anew by the retry timer. */
int fetch_lose(struct fetch_sink *f, int err, const char *what);
/* Opens a DIR that was lost, with a new identity. 0 or an error, which was told. */
int fetch_open_again(struct fetch_sink *f);

/* -- fetch_file.c ----------------------------------------------------------------------------- */

/* Reads the identity; 0 when there is none that is right. 0 or an error. */
int fetch_identity_read(struct fetch_sink *f);
int fetch_identity_write(struct fetch_sink *f);
/* Makes up another one; it is written at settle(), and what lies on storage is void from now on. */
int fetch_identity_renew(struct fetch_sink *f);

/* 0; ERR_HISTORY: it is damaged; or an error. */
int fetch_record_read(
	const struct fetch_sink *f, const uint8_t hash[FETCH_HASH_LEN], struct fetch_record *r);
/* Whole or not at all. 0 or an error. */
int fetch_record_write(struct fetch_sink *f, struct fetch_record *r);
/* Keys were passed over: when there is room, all is to be listed. Noted on storage, as far as that can be written. */
void fetch_left_out_set(struct fetch_sink *f);
void fetch_left_out_clear(struct fetch_sink *f);
bool fetch_left_out_read(const struct fetch_sink *f);
int fetch_record_remove(struct fetch_sink *f, const uint8_t hash[FETCH_HASH_LEN]);
/* Whether a file's name is a record's, or a part's: its hash, and *is_part. */
bool fetch_file_parse(const char *name, uint8_t hash[FETCH_HASH_LEN], bool *is_part);
const char *fetch_part_name(char dst[FETCH_FILE_NAME_MAX], const uint8_t hash[FETCH_HASH_LEN]);
int fetch_part_remove(struct fetch_sink *f, const uint8_t hash[FETCH_HASH_LEN]);
/* Makes name free, whatever it is but a folder that is not empty. */
int fetch_file_clear(int dir, const char *name);

/* -- fetch_table.c ---------------------------------------------------------------------------- */

void fetch_key_hash(const uint8_t *key, size_t len, uint8_t hash[FETCH_HASH_LEN]);
/* Of a name; never 0 but of "". */
uint64_t fetch_name_hash(const struct fetch_sink *f, const char *name);
struct fetch_entry *fetch_find(const struct fetch_sink *f, const uint8_t hash[FETCH_HASH_LEN]);
/* One that is free, or NULL. */
struct fetch_entry *fetch_find_free(const struct fetch_sink *f);
/* The job of an entry, or NULL. */
struct fetch_job *fetch_job_of(const struct fetch_sink *f, const struct fetch_entry *e);
bool fetch_is_pending(const struct fetch_entry *e);
void fetch_set_step(struct fetch_sink *f, struct fetch_entry *e, enum fetch_step step);
/* Whether another entry has this name, or is to have it. */
bool fetch_is_name_taken(const struct fetch_sink *f, const struct fetch_entry *e);
/* e was refused and is wanted now, without an event that says so. */
void fetch_want_again(struct fetch_sink *f, struct fetch_entry *e);
/* Names have become free: those that were refused for it are wanted. */
void fetch_names_freed(struct fetch_sink *f);
/* Whether what r wants is signed as it must be; else r->why says why not. */
bool fetch_is_signed(const struct fetch_sink *f, struct fetch_record *r);
/* Decides about what is wanted by r, which is e's: WANTED, or REFUSED with refused and why in r. */
void fetch_judge(struct fetch_sink *f, struct fetch_entry *e, struct fetch_record *r);
/* Whether there is room in the log for one more line about an artifact: a flow of values that are wrong fills it with no more
 * than some a minute. */
bool fetch_may_log(struct fetch_sink *f);
/* Counts and tells that e, whose record is r, is refused. */
void fetch_tell_refusal(struct fetch_sink *f, struct fetch_entry *e, const struct fetch_record *r);
/* Whether the hook has to be given all there is: what was late is in place, and no other one comes soon. */
bool fetch_late_is_due(const struct fetch_sink *f);
/* Those that were refused for a reason that may be over are wanted again. */
void fetch_look_again(struct fetch_sink *f);
/* Starts what can be started, and sets the timer for what can be later. */
void fetch_pump(struct fetch_sink *f);
/* done_rev follows what is pending. Whether it has moved. */
bool fetch_update_done(struct fetch_sink *f);
/* Why a failure was one, by its reason. Returns dst. */
const char *fetch_reason_text(char *dst, size_t cap, int32_t reason);

/* -- fetch_job.c ------------------------------------------------------------------------------ */

/* Begins with an entry that is WANTED. */
void fetch_job_start(struct fetch_job *job, struct fetch_entry *e);
/* Ends it, whatever it does; the part stays. Harmless when it does nothing. */
void fetch_job_stop(struct fetch_job *job);
void fetch_jobs_stop(struct fetch_sink *f);
/* It failed, and is tried again: reason as of struct fetch_entry. slow: a person has to do something. wait_ms: not before. */
void fetch_job_failed(
	struct fetch_job *job, int32_t reason, bool is_slow, int64_t wait_ms, const char *why);
/* What is wanted is not taken. */
void fetch_job_refused(struct fetch_job *job, enum fetch_refusal refused, const char *why);
/* An empty part in place of what there is. 0 or an error. */
int fetch_job_begin_anew(struct fetch_job *job);
/* All is there. */
void fetch_job_verify(struct fetch_job *job);
void fetch_job_on_step(struct loop_timer *timer);
/* The bytes of a file or of a part of it. */
int fetch_job_write(struct fetch_job *job, const uint8_t *p, size_t len);

/* -- fetch_load.c ----------------------------------------------------------------------------- */

/* Asks for what is missing of the part. */
void fetch_load_start(struct fetch_job *job);
/* The limit of the rate is shared by those that are LOADING. */
void fetch_load_share(struct fetch_sink *f);
uint64_t fetch_load_rate(const struct fetch_job *job, int64_t now_ms);

/* -- fetch_place.c ---------------------------------------------------------------------------- */

enum fetch_found {
	FETCH_FOUND_NOTHING, /* nothing, or something of ours that may be replaced */
	FETCH_FOUND_IT, /* what is wanted, in its place */
	FETCH_FOUND_ELSEWHERE, /* what is wanted, under the name that it had */
	FETCH_FOUND_FILE, /* a file that may be it */
	FETCH_FOUND_FOREIGN, /* what is not ours and is not it */
};

/* What lies where r's artifact is to be: an enum fetch_found, or an error. */
int fetch_place_look(const struct fetch_sink *f, const struct fetch_record *r);
/* Whether what lies where r's artifact is to be is ours, so that it may be replaced. */
bool fetch_place_is_ours(const struct fetch_record *r);
/* Before another value: a name that was claimed is the one in place, if there is something, and what was in place goes. */
int fetch_place_settle(struct fetch_sink *f, struct fetch_record *r);
/* Whether what r says is in place is there as it was left: 1, 0, or an error. */
int fetch_place_is_kept(const struct fetch_sink *f, const struct fetch_record *r);
/* What is in place gets its mode and owner, if it is as it was left. */
int fetch_place_put_right(const struct fetch_sink *f, const struct fetch_record *r);
/* The part, which was verified, into its place. 0; ERR_LOCKED: something foreign has the name; or an error. */
int fetch_place_put(struct fetch_job *job);
/* What is wanted has another name. The same results. */
int fetch_place_rename(struct fetch_job *job);
/* A file that was there and is what is wanted. The same results. */
int fetch_place_adopt(struct fetch_job *job);
/* The name of the file in DIR that e has in place, for when e's record cannot be read; "": there is none. */
int fetch_place_find(
	const struct fetch_sink *f, const struct fetch_entry *e, char name[FETCH_NAME_MAX]);
/* Removes what is, or may be, in place of a key that is gone. */
int fetch_place_remove(struct fetch_sink *f, const struct fetch_record *r);

#endif
