/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the files of the mirror share; nothing outside includes it.
 *
 *	mirror.c       the sink: events, trouble
 *	mirror_file.c  the value that comes: compared, copied, written
 *	mirror_open.c  opening, closing, the folder's loss
 *	mirror_id.c    DIR/.etchlet/identity
 *	mirror_tree.c  one path: placed, removed, files that become folders and back
 *	mirror_trash.c removing whole trees
 *	mirror_walk.c  the whole tree, in slices: survey and prune
 *	mirror_list.c  the paths that were listed
 *
 * In DIR/.etchlet:
 *
 *	identity       see struct mirror_record
 *	identity.new   the next one, while it is written
 *	new            the value that streams
 *	swap           a file or folder on its way to or from its place
 *	trash/         trees on their way out
 */
#ifndef ETCHLET_SINK_MIRROR_PRIVATE_H
#define ETCHLET_SINK_MIRROR_PRIVATE_H

#include "sink/mirror.h"
#include "sink/mirror_name.h"

#define MIRROR_NEW "new"
#define MIRROR_SWAP "swap"
#define MIRROR_TRASH "trash"
#define MIRROR_ID "identity"
#define MIRROR_ID_NEW "identity.new"

enum {
	MIRROR_CHUNK_LEN = 4096, /* read from a file at once */
	MIRROR_SLICE_MS = 5, /* how long a walk may hold the loop */
	MIRROR_PATH_LEN = MIRROR_PATH_MAX + MIRROR_SELF_LEN,
};

/* -- mirror.c --------------------------------------------------------------------------------- */

void mirror_init(struct mirror_sink *m, const struct mirror_cfg *cfg);

/* Tells of an error, and has wake() called later. Returns err. what: "writing"; path may be NULL. */
int mirror_trouble(struct mirror_sink *m, int err, const char *what, const char *path);
/* The same of a step in the folder: what was there and is not leads to a loss. */
int mirror_step_trouble(struct mirror_sink *m, int err, const char *what, const char *path);
/* It worked. */
void mirror_trouble_end(struct mirror_sink *m);
/* wake() at the end of the turn. */
void mirror_post_wake(struct mirror_sink *m);
uint32_t mirror_folder_mode(const struct mirror_sink *m);
/* Of DIR, which has st's: that stays unless another one was asked for. */
uint32_t mirror_root_mode(const struct mirror_sink *m, const struct port_stat *st);

/* -- mirror_file.c ---------------------------------------------------------------------------- */

/* One chunk of a file, for whoever is just called. */
extern uint8_t mirror_chunk[MIRROR_CHUNK_LEN];

/* All of src, at offset. 0 or an error. */
int mirror_file_write(int fd, uint64_t offset, const void *src, size_t len);
/* Makes the temporary file, and room for it. 0 or an error. */
int mirror_file_begin(struct mirror_sink *m, uint64_t value_len);
/* How much of p[len] the old file has in the same place, and can be read. */
ssize_t mirror_file_compare(struct mirror_sink *m, const uint8_t *p, size_t len);
/* What was equal goes into the temporary file too. 0, ERR_AGAIN or an error. */
int mirror_file_copy(struct mirror_sink *m, const struct etcd_event *e);
/* Whether the key's file could not be read again. */
bool mirror_file_is_unread(const struct mirror_sink *m, const struct etcd_event *e);
/* The temporary file is whole: into its place. */
int mirror_file_place(
	struct mirror_sink *m, const struct etcd_event *e, const char *path, size_t len);
/* Gives up the event at hand. */
void mirror_drop_event(struct mirror_sink *m);

/* -- mirror_open.c ---------------------------------------------------------------------------- */

/* DIR is not what it was: everything is given up, and it is opened anew by the retry timer. */
int mirror_lose(struct mirror_sink *m, int err, const char *what);
/* Opens a DIR that was lost, with a new identity. 0 or an error, which was told. */
int mirror_open_again(struct mirror_sink *m);
/* identity 0: the tree is not what it was left as. */
void mirror_survey_ended(struct mirror_sink *m);
/* The tree is left as the record will say. */
void mirror_leave(struct mirror_sink *m);

/* -- mirror_id.c ------------------------------------------------------------------------------ */

/* Reads the record; identity 0 when there is none that is right. 0 or an error. */
int mirror_id_read(struct mirror_sink *m);

enum mirror_record_kind {
	MIRROR_RECORD_CHANGING, /* the tree changes: not clean */
	MIRROR_RECORD_AT_REST, /* clean, and the agent goes on */
	MIRROR_RECORD_LAST, /* clean, and the agent ends */
};

int mirror_id_write(struct mirror_sink *m, enum mirror_record_kind kind);
/* Whether the record speaks of what the folder is to hold and may be believed. */
bool mirror_id_is_good(const struct mirror_sink *m);
/* Makes up a new identity. 0 or ERR_ENTROPY. */
int mirror_id_renew(struct mirror_sink *m);
/* To be called before the tree changes. */
int mirror_id_mark(struct mirror_sink *m);
/* To be called after a change, and when the digest has become known: the record is made clean after some rest. */
void mirror_id_rest(struct mirror_sink *m);
void mirror_id_on_rest(struct loop_timer *timer);
/* Between them a power cut or a crash loses a file: the next start takes a new identity. */
int mirror_id_doubt(struct mirror_sink *m);
int mirror_id_trust(struct mirror_sink *m);
/* One file's part in the digest. path: the key's. */
uint64_t mirror_id_part(
	const struct mirror_sink *m, const char *path, size_t len, const struct port_stat *st);

/* -- mirror_tree.c ---------------------------------------------------------------------------- */

/* Opens the file at path for comparing; ERR_NOENT when there is none. */
int mirror_tree_open(struct mirror_sink *m, const char *path, size_t len, struct port_stat *st);
/* Puts DIR/.etchlet/new into its place. */
int mirror_tree_put(
	struct mirror_sink *m, const char *path, size_t len, const struct port_stat *st);
/* Removes what is at path, and the folders that are empty then. */
int mirror_tree_remove(struct mirror_sink *m, const char *path, size_t len);
/* Where the key's file is: path, or path/%%. path has room for it. Returns its length. */
size_t mirror_tree_locate(struct mirror_sink *m, char *path, size_t len);

enum mirror_tidied {
	MIRROR_TIDY_KEPT, /* there is something in it */
	MIRROR_TIDY_GONE, /* it was empty */
	MIRROR_TIDY_FILE, /* it is a plain file now */
};

/* The folder name in parent, which is open as dir. Returns an enum mirror_tidied, or an error. */
int mirror_tree_tidy(struct mirror_sink *m, int parent, const char *name, int dir);
/* What is open gets the mode, and the owner that it is to have; st is what it has. */
int mirror_tree_put_right(struct mirror_sink *m, int fd, const struct port_stat *st, uint32_t mode);
/* Makes name free, whatever it is. */
int mirror_tree_clear(struct mirror_sink *m, int dir, const char *name);

/* -- mirror_trash.c --------------------------------------------------------------------------- */

/* Moves name, a folder or not, out of the way; it is removed in slices. */
int mirror_trash_put(struct mirror_sink *m, int dir, const char *name);
void mirror_trash_start(struct mirror_sink *m);
void mirror_trash_on_timer(struct loop_timer *timer);

/* -- mirror_walk.c ---------------------------------------------------------------------------- */

/* Begins a job, and does as much as there is time for. 0: is_job_done, or else the job goes on and its timer
 * tells; or an error. A survey that finds another tree than the record tells of sets identity to 0. */
int mirror_walk_start(struct mirror_sink *m, enum mirror_job job);
void mirror_walk_cancel(struct mirror_sink *m);
void mirror_walk_on_timer(struct loop_timer *timer);

/* -- mirror_list.c ---------------------------------------------------------------------------- */

int mirror_list_begin(struct mirror_sink *m);
/* The key at path is there. */
int mirror_list_add(struct mirror_sink *m, const char *path, size_t len);
void mirror_list_end(struct mirror_sink *m);
/* How many parts the listed paths have to be looked at in; part i of n is taken into the table. 0, ERR_LIMIT (take
 * more parts), or an error. */
uint32_t mirror_list_parts(const struct mirror_sink *m);
int mirror_list_load(struct mirror_sink *m, uint32_t i, uint32_t n);
/* 1 when path was listed, 0 when it was not, -1 when it is of another part. */
int mirror_list_has(
	const struct mirror_sink *m, const char *path, size_t len, uint32_t i, uint32_t n);

#endif
