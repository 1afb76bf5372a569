/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The sink that keeps a folder in step with the keys: one file a key, and the tree is a function of
 * the keys alone (mirror_name.h says which).
 *
 * A file appears whole or not at all: its value streams into a temporary file in DIR/.etchlet, which is
 * renamed into place. With durability normal its bytes are on storage before that; the rename
 * and all else is at settle(), so before a position that covers it is saved.
 *
 * A listing is compared with the tree while it streams: a file whose bytes are the same already is not
 * written. What was not listed is removed at synced(), in bounded memory however many keys there are.
 *
 * Nothing outside the folder is touched, whatever links lie in it: every step goes by descriptors, one
 * component at a time, and follows no link below the folder itself.
 *
 * DIR/.etchlet/identity holds a random number. Positions belong to it (struct sink.identity): where it is missing
 * or was changed, because what the folder held is in doubt, no position is known and everything is listed.
 */
#ifndef ETCHLET_SINK_MIRROR_H
#define ETCHLET_SINK_MIRROR_H

#include "base/loop.h"
#include "sink/attempt.h"
#include "sink/sink.h"

struct mirror_cfg {
	struct loop *loop;
	const char *watch_name; /* for log lines */
	const char *path; /* DIR; lives as long as the sink */
	const uint8_t *key; /* the watch's: what stands before its last '/' is cut off */
	size_t key_len;
	uint32_t
		mode; /* of files; of folders with the right to search where there is one to read */
	bool has_mode; /* it was asked for: a DIR that was there already gets it too */
	bool has_owner;
	uint32_t uid, gid;
	bool is_adopt; /* files that are there already may be taken over */
	bool is_relaxed; /* durability */
	int64_t backoff_min_ms, backoff_max_ms; /* between two tries after an error */
};

/*
 * What is being done with the event at hand:
 *
 *	IDLE     event() -> SKIP, REMOVE, COMPARE or WRITE
 *	SKIP     it has no place; event_end() -> IDLE
 *	REMOVE   event_end() -> IDLE
 *	COMPARE  the value is that of the file so far; another byte -> COPY; event_end() -> PLACED
 *	COPY     what was equal is copied into the temporary file -> WRITE
 *	WRITE    the value goes into the temporary file; event_end() -> PLACED
 *	PLACED   the file is in its place; noted, if it was listed -> IDLE
 *	LOST     DIR is not there any more, or in doubt; sync_begin() after it was opened anew -> IDLE
 *	STOPPED  after stop()
 *
 * sync_begin() leads from all of these but STOPPED to IDLE.
 */
enum mirror_state {
	MIRROR_IDLE,
	MIRROR_SKIP,
	MIRROR_REMOVE,
	MIRROR_COMPARE,
	MIRROR_COPY,
	MIRROR_WRITE,
	MIRROR_PLACED,
	MIRROR_LOST,
	MIRROR_STOPPED,
};

/* A walk through the tree, in slices. Events wait for its end. */
enum mirror_job {
	MIRROR_JOB_NONE,
	MIRROR_JOB_SURVEY, /* after the start: is the tree as it was left? */
	MIRROR_JOB_PRUNE, /* synced(): what was not listed goes */
};

enum {
	MIRROR_BOOT_MAX = 40, /* bytes of the system's boot id, NUL included */
	MIRROR_LIST_BUFFER = 32, /* hashes that are gathered before they are spooled */
	MIRROR_REST_MS = 5000, /* without a change, until the record is made clean */
	MIRROR_REST_GAP_MS = 60000, /* and not more often: each is a small file on flash */
};

/* What DIR/.etchlet/identity tells. */
struct mirror_record {
	uint64_t identity; /* 0: there is none */
	uint64_t setup; /* of mode, owner and the part of the key that is cut off */
	uint64_t digest; /* of the tree, if is_clean */
	bool is_clean; /* nothing has changed since it was written */
	char boot
		[MIRROR_BOOT_MAX]; /* with durability relaxed, but for a stop's: the boot it was written in; else "-" */
};

/* The paths that were listed, as hashes. */
struct mirror_listed {
	uint64_t key[2];
	uint64_t buffer[MIRROR_LIST_BUFFER];
	uint32_t buffered;
	uint64_t spooled;
	int fd; /* the spool; -1: none */
	bool is_on_disk;
};

struct mirror_sink {
	struct sink sink;
	struct mirror_cfg cfg; /* private, as is all that follows */
	size_t cut, path_cap;
	enum mirror_state state;
	enum mirror_job job;
	int root, own; /* DIR and DIR/.etchlet; -1: not open */
	int lost_root; /* DIR while it is LOST and still in its place: no other folder becomes it; or -1 */
	int old_fd, new_fd; /* the file that is compared with, the temporary file; -1: none */
	uint64_t len, copied; /* bytes of the value taken, and copied from old_fd to new_fd */
	struct port_stat old_stat;
	uint64_t
		unread; /* hash of a key whose file could not be read again: not compared; 0: none */
	bool is_open; /* mirror_open() was there */
	bool is_listing;
	bool is_job_done; /* the prune has ended, synced() may say so */
	bool is_skip_told;
	bool is_unsynced; /* the tree was changed since settle() */
	bool want_wake, want_relist; /* to be called by task */
	int want_fail;
	uint64_t digest;
	bool is_digest_known;
	uint32_t shape;
	uint64_t trash_number;
	struct mirror_record record; /* as it lies on storage */
	struct mirror_listed listed;
	struct attempt attempt;
	struct loop_task task;
	struct loop_timer retry_timer, job_timer, trash_timer, rest_timer;
	int64_t next_rest_ms; /* no clean record is written at rest before it */
	struct mirror_sink *next_open; /* of all that mirror_open() opened */
	struct mirror_sink *next_waiting; /* for the one walk that there is at a time */
};

/*
 * Opens DIR (made when missing, with those above it) and takes its lock. Fills in sink.ops, sink.name
 * and sink.identity; the owner sets wake, fail, relist and user.
 * 0; ERR_CONFIG: there are files in DIR that are not a mirror's, and is_adopt is off, or DIR lies in the folder of a
 * mirror that is open, or around it, by whatever links; ERR_LOCKED: another agent's
 * mirror; ERR_ENTROPY, ERR_NOENT, ERR_ACCESS, ERR_READONLY, ERR_NOSPACE, ERR_NOMEM, ERR_IO: not now, may be tried again. why: one line for a person.
 */
int mirror_open(struct mirror_sink *m, const struct mirror_cfg *cfg, char *why, size_t why_cap);
/* Harmless after a failed mirror_open(), and on zeros. */
void mirror_close(struct mirror_sink *m);

/* The delays of the tries to come; one that is waited for now is not longer than backoff_max_ms. */
static inline void mirror_set_backoff(
	struct mirror_sink *m, int64_t backoff_min_ms, int64_t backoff_max_ms)
{
	attempt_set_backoff(&m->attempt, backoff_min_ms, backoff_max_ms);
	attempt_shorten(&m->attempt, m->cfg.loop, &m->retry_timer);
}

/*
 * For a hook: where the key's file is just now, relative to DIR, terminated. Its length; 0: the key cannot be a file.
 */
size_t mirror_key_path(
	struct mirror_sink *m, const uint8_t *key, size_t key_len, char *dst, size_t cap);
/* The same for a path that was right earlier: a file may have become a folder since, or the other way round. */
size_t mirror_path_now(struct mirror_sink *m, const char *path, size_t len, char *dst, size_t cap);
/* Changes whenever mirror_path_now() may answer otherwise than with the path itself. */
uint32_t mirror_shape(const struct mirror_sink *m);

/* For check: whether a start would take the folder, and what it would say. Changes nothing. 0 or an error as above. */
int mirror_check(const struct mirror_cfg *cfg, char *why, size_t why_cap);

#endif
