/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The journal: the newest position of each watch, on flash, through power cuts at any moment.
 *
 * It is a log of checksummed 32-byte records over equal sectors, appended in turn; a sector is
 * erased only when its turn comes, so wear is even. It knows nothing of what a position means, and
 * it is not a general store: a watch has one record, the newest.
 *
 * The caller owns struct journal (about 100 bytes for each of CONFIG_JOURNAL_WATCH_COUNT watches)
 * and zeroes it before the first journal_open(); on zeros every call is legal. Times are monotonic
 * milliseconds. One thread.
 *
 *
 * On storage
 *
 * Integers are little-endian. A slot is 32 bytes. All slots count through the sectors, and the log
 * counts through all slots again and again: the record with sequence number n lies in slot
 * n mod (slots of all sectors). A record is intact when the CRC-32 over "ETJ1" and its first 28
 * bytes equals its last 4, and it lies where its sequence number says. A slot of which all bits are
 * one is erased; any other is damaged. The intact record with the highest number counts.
 *
 *   bytes   position          name              forgotten         header
 *    0..3   sequence number   sequence number   sequence number   sequence number
 *    4..7   watch             watch             watch             "ETJ1", format and its version
 *    8..11  cluster id        name, 19 bytes,   zero              sector size in bytes
 *   12..15  cluster id        padded with       zero              number of sectors
 *   16..19  raft term         zeros             zero              age: seconds of operation so far
 *   20..23  position          name              zero              erases so far, of all sectors
 *   24..25  position          name              zero              damaged slots known of
 *   26      position          name              zero              bit 0: what was here before is lost
 *   27      position (6 bits) part (0, 1, 2)    zero              zero
 *           + type 0 << 6     + type 1 << 6     + type 2 << 6     + type 3 << 6
 *   28..31  CRC-32            CRC-32            CRC-32            CRC-32
 *
 * A watch is the CRC-32 of its name, key and range (journal_watch_id). A position has 62 bits. A
 * raft term above 2^32 - 1 is kept as 2^32 - 1.
 *
 * A sector, when its turn comes, is erased and begins with a header, then the names and newest
 * positions of all watches: so each sector alone knows everything as of its beginning, and the one
 * that is erased next is never needed. Nothing else is appended before that beginning is complete
 * and on storage. A power cut inside it, or a sector that ran out of good slots, leads on in the same
 * or the next sector; the sector that holds the only copy of a position is never erased. A header is
 * also repeated when the age in it is four hours old, and after damage was found at an opening.
 */
#ifndef ETCHLET_STORE_JOURNAL_H
#define ETCHLET_STORE_JOURNAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "port/port.h"

enum {
	JOURNAL_RECORD_LEN = 32, /* bytes of a slot; what is written is always a multiple of it */
};

struct journal_record {
	int64_t position_rev; /* 0 to 2^62 - 1 */
	uint64_t cluster_id;
	uint64_t raft_term; /* at most 2^32 - 1 is kept */
};

/* An entry of the table, to be read by who prints it. */
struct journal_watch {
	uint32_t id;
	uint32_t seq; /* of the newest record */
	bool is_known; /* else the entry is free */
	bool has_record;
	bool is_used; /* somebody asked for it since the opening */
	struct journal_record record;
	char name[CONFIG_JOURNAL_NAME_LEN + 1]; /* cut when longer; empty when it was damaged */
};

struct journal {
	struct port_flash flash; /* after a failed open, flash.why may say more */
	bool is_open;
	bool is_damaged; /* there was no intact record, yet not all was erased */
	bool is_recovered; /* damage was found that no earlier opening knew of */
	struct journal_watch watches[CONFIG_JOURNAL_WATCH_COUNT];

	/* private */
	bool is_relaxed;
	bool is_lossy; /* a watch without a record may have had one */
	bool is_header_due;
	bool is_unsynced;
	bool is_beginning; /* copies of older sectors were written and not synced yet */
	uint32_t sector_slots, slots; /* in one sector, in all */
	uint32_t next, end; /* sequence numbers: of the next record; where its sector ends */
	uint32_t intact, damaged, damaged_known; /* slots */
	uint32_t header_seq; /* the newest header that was found, and what it says */
	uint32_t erases, age_s;
	uint32_t header_age_s;
	int64_t opened_ms;
	uint32_t session_records, session_erases;
};

enum journal_found {
	JOURNAL_NONE, /* no position is known: there never was one, as far as can be told */
	JOURNAL_FOUND,
	JOURNAL_LOST, /* no position is known, but there may have been one: there is damage */
};

struct journal_stat {
	uint32_t records; /* written since the file was made, passed-over slots included */
	uint32_t erases; /* of all sectors together, since then */
	uint32_t session_records, session_erases; /* since the opening */
	uint32_t intact, damaged; /* slots at the opening */
	int64_t age_s; /* seconds of operation; sessions that wrote nothing in four hours may be missing */
	int64_t life_s; /* until the rated erases are used up, at the rate seen; -1 too little to tell */
};

/* The number that stands for a watch in its records. An absent range_end has length 0. */
uint32_t journal_watch_id(const char *name, const void *key, size_t key_len, const void *range_end,
	size_t range_end_len);

/*
 * Opens and reads the journal at path; with PORT_FLASH_UPDATE it is made when missing, and what
 * holds no intact record and is not erased is put aside as PATH.damaged (is_damaged). Writes
 * nothing else. is_relaxed: journal_sync() leaves it to the kernel when.
 * 0, or an error of port_flash_open() or port_flash_renew(): then it is closed, and may be opened
 * again later; is_damaged says what was seen all the same, and journal_find() heeds it.
 */
int journal_open(struct journal *j, const char *path, enum port_flash_mode mode, bool is_relaxed,
	int64_t now_ms);

/* record is filled when JOURNAL_FOUND. Does not read the flash. */
enum journal_found journal_find(struct journal *j, uint32_t id, struct journal_record *record);

/*
 * Writes a position, of which JOURNAL_FOUND from the next opening on is certain when journal_sync()
 * has returned 0. A watch of the same name with another id is forgotten; when the table is full,
 * so is a watch that nobody asked for since the opening.
 * 0; ERR_RANGE (position), ERR_NOSPACE (full table, too many watches for a sector, full disk),
 * ERR_READONLY (open it again to try again), ERR_IO, ERR_BUG (not open). After an error the journal
 * is good for the next try.
 */
int journal_append(struct journal *j, uint32_t id, const char *name,
	const struct journal_record *record, int64_t now_ms);

/* Forgets a watch, as one that was removed. Unknown: nothing to do. Errors as journal_append(). */
int journal_forget(struct journal *j, uint32_t id, int64_t now_ms);

/* Waits for the storage, unless is_relaxed or nothing was written. 0 or an error. */
int journal_sync(struct journal *j);

void journal_stat(const struct journal *j, struct journal_stat *stat, int64_t now_ms);

/* Does not sync. Harmless when not open. */
void journal_close(struct journal *j);

#endif
