/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Opening reads all slots twice: once for the highest sequence number and the damage, then in the
 * order of the log, oldest first, as if each record were written now. All that writing needs is
 * kept in the struct from then on.
 *
 * A slot is looked at before it is programmed and again after: whatever a power cut, a failed write
 * or a worn cell left, only an erased slot is used, and only what reads back right counts.
 */
#include "store/journal.h"

#include <string.h>

#include "base/crc32.h"
#include "base/err.h"

enum {
	LEN = JOURNAL_RECORD_LEN,
	CRC_AT = 28,
	TYPE_AT = 27,
	NAME_AT = 8,
	NAME_PART_LEN = TYPE_AT - NAME_AT,
	PROBE_LEN = 1 << 20, /* bytes that are searched for a header, whatever the file's size */
	WALK_LEN = 16 * LEN, /* bytes read at once */
	HEADER_AGE_S = 4 * 3600,
	LIFE_AGE_S = 3600, /* less operation than that tells nothing about a life */
};

enum type {
	TYPE_POSITION,
	TYPE_NAME,
	TYPE_FORGOTTEN,
	TYPE_HEADER,
};

/* "ETJ1": also stands before each record in its CRC, so that nothing else's records check. */
static const uint32_t magic = 0x314a5445;

_Static_assert(CONFIG_JOURNAL_SECTOR_SIZE % LEN == 0, "sectors hold whole records");

static void put16(uint8_t *p, uint32_t v)
{
	p[0] = (uint8_t)v;
	p[1] = (uint8_t)(v >> 8);
}

static void put32(uint8_t *p, uint32_t v)
{
	put16(p, v);
	put16(p + 2, v >> 16);
}

static void put64(uint8_t *p, uint64_t v)
{
	put32(p, (uint32_t)v);
	put32(p + 4, (uint32_t)(v >> 32));
}

static uint32_t get16(const uint8_t *p)
{
	return p[0] | (uint32_t)p[1] << 8;
}

static uint32_t get32(const uint8_t *p)
{
	return get16(p) | get16(p + 2) << 16;
}

static uint64_t get64(const uint8_t *p)
{
	return get32(p) | (uint64_t)get32(p + 4) << 32;
}

static uint32_t record_crc(const uint8_t *rec)
{
	uint8_t seed[4];

	put32(seed, magic);
	return crc32_update(crc32_update(0, seed, sizeof(seed)), rec, CRC_AT);
}

static enum type record_type(const uint8_t *rec)
{
	return (enum type)(rec[TYPE_AT] >> 6);
}

static bool is_erased(const uint8_t *p, size_t len)
{
	while (len && *p == 0xff)
		p++, len--;
	return !len;
}

uint32_t journal_watch_id(const char *name, const void *key, size_t key_len, const void *range_end,
	size_t range_end_len)
{
	uint8_t len[8];
	uint32_t crc = crc32_update(0, name, strlen(name) + 1);

	/* The length keeps "a" to "bc" and "ab" to "c" apart. */
	put64(len, key_len);
	crc = crc32_update(crc, len, sizeof(len));
	crc = crc32_update(crc, key, key_len);
	return crc32_update(crc, range_end, range_end_len);
}

/* -- reading */

/* Reads slots by and by, several at once. */
struct walk {
	uint32_t at, len;
	uint8_t bytes[WALK_LEN];
};

/* The bytes of the slot at offset, which lies below limit. What cannot be read is damaged. */
static const uint8_t *walk_to(struct journal *j, struct walk *w, uint32_t offset, uint32_t limit)
{
	if (offset - w->at >= w->len) {
		w->at = offset;
		w->len = limit - offset < WALK_LEN ? limit - offset : WALK_LEN;
		if (port_flash_read(&j->flash, w->at, w->bytes, w->len)) {
			w->len = LEN;
			if (port_flash_read(&j->flash, w->at, w->bytes, w->len))
				memset(w->bytes, 0, w->len);
		}
	}
	return w->bytes + (offset - w->at);
}

static bool is_range_erased(struct journal *j, uint32_t offset, uint32_t end)
{
	struct walk w = {0};

	for (; offset < end; offset += LEN) {
		const uint8_t *p = walk_to(j, &w, offset, end);

		if (!is_erased(p, end - offset < LEN ? end - offset : LEN))
			return false;
	}
	return true;
}

static bool is_geometry_possible(uint32_t sector_size, uint32_t sector_count)
{
	return sector_size >= 4 * LEN && sector_size % LEN == 0 && sector_count >= 2 &&
	       (uint64_t)sector_size * sector_count <= 1u << 31;
}

static void set_geometry(struct journal *j)
{
	j->sector_slots = j->flash.sector_size / LEN;
	j->slots = j->sector_slots * j->flash.sector_count;
}

/* A plain file is laid out as its newest header says, else as this build would. */
static int probe_geometry(struct journal *j)
{
	struct walk w = {0};
	uint32_t size = j->flash.size, limit = (size < PROBE_LEN ? size : PROBE_LEN) / LEN * LEN;
	uint32_t sector_size = j->flash.sector_size, sector_count = j->flash.sector_count;
	uint32_t newest = 0;

	if (j->flash.is_device || j->flash.is_new)
		return is_geometry_possible(sector_size, sector_count) ? 0 : ERR_UNSUPPORTED;
	for (uint32_t at = 0; at < limit; at += LEN) {
		const uint8_t *rec = walk_to(j, &w, at, limit);

		if (record_type(rec) != TYPE_HEADER || get32(rec + 4) != magic ||
			get32(rec + CRC_AT) != record_crc(rec) ||
			!is_geometry_possible(get32(rec + 8), get32(rec + 12)) ||
			get32(rec) % (get32(rec + 8) / LEN * get32(rec + 12)) != at / LEN ||
			get32(rec) < newest)
			continue;
		newest = get32(rec);
		sector_size = get32(rec + 8);
		sector_count = get32(rec + 12);
	}
	j->flash.sector_size = sector_size;
	j->flash.sector_count = sector_count;
	/* What a short file lost must not look like what was never written. */
	if (!is_range_erased(j, 0, size < PROBE_LEN ? size : PROBE_LEN))
		j->flash.fill = 0;
	return 0;
}

/* The record in a slot, or NULL when none is intact; *is_damage says whether it is erased then. */
static const uint8_t *load(struct journal *j, struct walk *w, uint32_t slot, bool *is_damage)
{
	const uint8_t *rec = walk_to(j, w, slot * LEN, j->slots * LEN);
	uint32_t seq = get32(rec);

	*is_damage = false;
	if (is_erased(rec, LEN))
		return NULL;
	if (get32(rec + CRC_AT) == record_crc(rec) && seq % j->slots == slot && seq != UINT32_MAX &&
		(record_type(rec) != TYPE_HEADER || get32(rec + 4) == magic))
		return rec;
	*is_damage = true;
	return NULL;
}

/* Counts slots and finds the end of the log. */
static void survey(struct journal *j)
{
	struct walk w = {0};

	j->intact = j->damaged = 0;
	for (uint32_t slot = 0; slot < j->slots; slot++) {
		bool is_damage;
		const uint8_t *rec = load(j, &w, slot, &is_damage);

		j->intact += rec != NULL;
		j->damaged += is_damage;
		if (rec && get32(rec) >= j->next)
			j->next = get32(rec) + 1;
	}
}

static struct journal_watch *find(struct journal *j, uint32_t id)
{
	for (size_t i = 0; i < CONFIG_JOURNAL_WATCH_COUNT; i++)
		if (j->watches[i].is_known && j->watches[i].id == id)
			return &j->watches[i];
	return NULL;
}

/*
 * The entry that a new watch takes: that of its own name, a free one, or the longest unwritten of
 * those that nobody asked for. NULL: all are in use.
 */
static struct journal_watch *choose(struct journal *j, const char *name)
{
	struct journal_watch *best = NULL;

	for (struct journal_watch *w = j->watches; w < j->watches + CONFIG_JOURNAL_WATCH_COUNT;
		w++) {
		/* A name as long as that may have been cut, and be another's. */
		if (w->has_record && *name && strcmp(w->name, name) == 0 &&
			strlen(name) < CONFIG_JOURNAL_NAME_LEN)
			return w;
		if (w->has_record && w->is_used)
			continue;
		if (!best || w->has_record < best->has_record ||
			(w->has_record == best->has_record && w->seq < best->seq))
			best = w;
	}
	return best;
}

static struct journal_watch *claim(struct journal_watch *w, uint32_t id)
{
	memset(w, 0, sizeof(*w));
	w->id = id;
	w->is_known = true;
	return w;
}

/* The entry of a record that is read back. When more watches are there than this build keeps, those
 * written last stay. */
static struct journal_watch *enter(struct journal *j, uint32_t id)
{
	struct journal_watch *w = find(j, id);

	if (w)
		return w;
	w = choose(j, "");
	j->is_lossy |= w->has_record;
	return claim(w, id);
}

/* The name is part of the id, so an older part is as good as a newer one. */
static void apply_name(struct journal_watch *w, const uint8_t *rec)
{
	size_t at = (size_t)(rec[TYPE_AT] & 0x3f) * NAME_PART_LEN;
	size_t room = at < CONFIG_JOURNAL_NAME_LEN ? CONFIG_JOURNAL_NAME_LEN - at : 0;

	if (room)
		memcpy(w->name + at, rec + NAME_AT, room < NAME_PART_LEN ? room : NAME_PART_LEN);
}

static void apply(struct journal *j, const uint8_t *rec)
{
	enum type type = record_type(rec);
	struct journal_watch *w;

	if (type == TYPE_HEADER && get32(rec) >= j->header_seq) {
		j->header_seq = get32(rec);
		j->age_s = j->header_age_s = get32(rec + 16);
		j->erases = get32(rec + 20);
		j->damaged_known = get16(rec + 24);
	}
	if (type == TYPE_HEADER) {
		j->is_lossy |= rec[26] & 1;
		return;
	}
	w = enter(j, get32(rec + 4));
	if (type == TYPE_NAME) {
		apply_name(w, rec);
		return;
	}
	/* Older than what is known: left by a sector that was passed over. */
	if (get32(rec) < w->seq)
		return;
	w->seq = get32(rec);
	w->has_record = type == TYPE_POSITION;
	if (w->has_record) {
		w->record.cluster_id = get64(rec + 8);
		w->record.raft_term = get32(rec + 16);
		w->record.position_rev = (int64_t)(get64(rec + 20) & INT64_MAX >> 1);
	}
}

static void replay(struct journal *j)
{
	struct walk w = {0};
	/* The oldest sector is the one after the newest. */
	uint32_t first = j->end % j->slots;

	for (uint32_t i = 0; i < j->slots; i++) {
		bool is_damage;
		const uint8_t *rec = load(
			j, &w, first + i < j->slots ? first + i : first + i - j->slots, &is_damage);

		if (rec)
			apply(j, rec);
	}
}

static uint32_t damaged_for_header(const struct journal *j)
{
	return j->damaged < UINT16_MAX ? j->damaged : UINT16_MAX;
}

static int mount(struct journal *j)
{
	int err = probe_geometry(j);

	if (err)
		return err;
	set_geometry(j);
	survey(j);
	j->end = (j->next + j->sector_slots - 1) / j->sector_slots * j->sector_slots;
	replay(j);
	j->is_damaged |= !j->intact && j->damaged;
	j->is_lossy |= j->damaged != 0;
	j->is_header_due = damaged_for_header(j) != j->damaged_known;
	j->is_recovered |= j->is_header_due;
	/* What is not ours is left as it is. */
	return !j->intact && j->damaged ? 0 : port_flash_fit(&j->flash);
}

/* -- writing */

static void pack_header(const struct journal *j, uint8_t *rec, uint32_t age_s, bool is_lost)
{
	put32(rec + 4, magic);
	put32(rec + 8, j->flash.sector_size);
	put32(rec + 12, j->flash.sector_count);
	put32(rec + 16, age_s);
	put32(rec + 20, j->erases);
	put16(rec + 24, damaged_for_header(j));
	rec[26] = is_lost;
	rec[TYPE_AT] = TYPE_HEADER << 6;
}

/* Number and checksum of a record that is complete otherwise. */
static void seal(uint8_t *rec, uint32_t seq)
{
	put32(rec, seq);
	put32(rec + CRC_AT, record_crc(rec));
}

/* Writes a record to the next erased slot of the sector. ERR_AGAIN when there is none left. */
static int emit(struct journal *j, uint8_t *rec)
{
	uint8_t there[LEN];
	uint32_t offset;
	int err;

	for (;; j->next++) {
		if (j->next == j->end)
			return ERR_AGAIN;
		offset = j->next % j->slots * LEN;
		err = port_flash_read(&j->flash, offset, there, LEN);
		if (!err && is_erased(there, LEN))
			break;
	}
	seal(rec, j->next);
	j->is_unsynced = true;
	err = port_flash_program(&j->flash, offset, rec, LEN);
	if (!err)
		err = port_flash_read(&j->flash, offset, there, LEN);
	if (!err && memcmp(there, rec, LEN) != 0)
		err = ERR_IO;
	/* No space or read-only says nothing about this slot; it is tried again while it is erased. */
	if (!err || err == ERR_IO)
		j->next++;
	if (!err)
		j->session_records++;
	return err;
}

static int emit_header(struct journal *j, int64_t now_ms)
{
	struct journal_stat stat;
	uint8_t rec[LEN] = {0};
	int err;

	journal_stat(j, &stat, now_ms);
	pack_header(j, rec, (uint32_t)stat.age_s, false);
	err = emit(j, rec);
	if (!err) {
		j->header_age_s = (uint32_t)stat.age_s;
		j->is_header_due = false;
	}
	return err;
}

static uint32_t name_parts(const struct journal_watch *w)
{
	return (uint32_t)((strlen(w->name) + NAME_PART_LEN - 1) / NAME_PART_LEN);
}

/* Whether the sector that is written now lacks the watch. */
static bool is_behind(const struct journal *j, const struct journal_watch *w)
{
	return !w->has_record || w->seq < j->end - j->sector_slots;
}

static int put_watch(
	struct journal *j, struct journal_watch *w, const struct journal_record *record)
{
	uint8_t rec[LEN];
	uint32_t parts = is_behind(j, w) ? name_parts(w) : 0;
	uint64_t term = record->raft_term < UINT32_MAX ? record->raft_term : UINT32_MAX;
	int err;

	for (uint32_t i = 0; i < parts; i++) {
		const char *part = w->name + i * NAME_PART_LEN;
		size_t len = strlen(part);

		memset(rec, 0, LEN);
		put32(rec + 4, w->id);
		memcpy(rec + NAME_AT, part, len < NAME_PART_LEN ? len : NAME_PART_LEN);
		rec[TYPE_AT] = (uint8_t)(TYPE_NAME << 6 | i);
		err = emit(j, rec);
		if (err)
			return err;
	}
	put32(rec + 4, w->id);
	put64(rec + 8, record->cluster_id);
	put32(rec + 16, (uint32_t)term);
	put64(rec + 20, (uint64_t)record->position_rev);
	err = emit(j, rec);
	if (err)
		return err;
	w->record = *record;
	w->record.raft_term = term;
	w->seq = j->next - 1;
	w->has_record = true;
	return 0;
}

static int put_forgotten(struct journal *j, struct journal_watch *w)
{
	uint8_t rec[LEN] = {0};
	int err;

	put32(rec + 4, w->id);
	rec[TYPE_AT] = TYPE_FORGOTTEN << 6;
	err = emit(j, rec);
	if (!err)
		memset(w, 0, sizeof(*w));
	return err;
}

/* Whether the sector that would be written next holds the newest copy of something. */
static bool holds_newest(const struct journal *j)
{
	for (const struct journal_watch *w = j->watches;
		w < j->watches + CONFIG_JOURNAL_WATCH_COUNT; w++)
		if (w->has_record && w->seq % j->slots - j->next % j->slots < j->sector_slots)
			return true;
	return false;
}

/* Erases the sector whose turn it is. */
static int open_sector(struct journal *j)
{
	uint32_t next = j->next, at;
	int err = 0;

	if (next > UINT32_MAX - 2 * j->slots)
		return ERR_NOSPACE;
	/*
	 * The newest copy of something is there: so none of the sectors since came to the end of its
	 * beginning, nothing was appended to them, and what they hold is in older ones too. The last of
	 * them is begun again, one round later in the log.
	 */
	if (next && holds_newest(j))
		next += j->slots - j->sector_slots;
	at = next % j->slots * LEN;
	if (!is_range_erased(j, at, at + j->flash.sector_size)) {
		/* What the sectors before hold must be there before this one goes. */
		if (j->is_unsynced)
			err = port_flash_sync(&j->flash);
		if (err)
			return err;
		err = port_flash_erase(&j->flash, at / j->flash.sector_size);
		/* A sector that cannot be erased must not hold up the others. (Should it ever be read
		 * again, a watch that was removed since may reappear.) */
		if (err == ERR_IO)
			j->next = j->end = next + j->sector_slots;
		if (err)
			return err;
		j->erases++;
		j->session_erases++;
		err = port_flash_sync(&j->flash);
		if (err)
			return err;
		if (j->damaged)
			survey(j);
	}
	j->next = next;
	j->end = next + j->sector_slots;
	j->is_header_due = true;
	return 0;
}

static int sync_all(struct journal *j)
{
	int err = port_flash_sync(&j->flash);

	if (!err)
		j->is_unsynced = j->is_beginning = false;
	return err;
}

/* Brings the log to where a record of w may follow. ERR_AGAIN when the sector is full. */
static int prepare(struct journal *j, const struct journal_watch *w, int64_t now_ms)
{
	struct journal_stat stat;
	int err = j->next == j->end ? open_sector(j) : 0;

	journal_stat(j, &stat, now_ms);
	if (!err && (j->is_header_due || stat.age_s - j->header_age_s >= HEADER_AGE_S))
		err = emit_header(j, now_ms);
	for (struct journal_watch *other = j->watches;
		!err && other < j->watches + CONFIG_JOURNAL_WATCH_COUNT; other++) {
		if (other == w || !other->has_record || !is_behind(j, other))
			continue;
		j->is_beginning = true;
		err = put_watch(j, other, &other->record);
	}
	/* Also when relaxed: what is appended now must not get to the storage before it. */
	return !err && j->is_beginning ? sync_all(j) : err;
}

/* Writes record for w, or that it is forgotten (NULL). */
static int commit(struct journal *j, struct journal_watch *w, const struct journal_record *record,
	int64_t now_ms)
{
	/* Every sector may turn out to be full of damage once. */
	for (uint32_t i = 0; i <= j->flash.sector_count; i++) {
		int err = prepare(j, w, now_ms);

		/* In place of its copy. */
		j->is_beginning |= w->has_record && is_behind(j, w);
		if (!err)
			err = record ? put_watch(j, w, record) : put_forgotten(j, w);
		if (err != ERR_AGAIN)
			return err;
	}
	return ERR_IO;
}

/* -- the calls */

/* Nothing intact, and not erased: kept for a person to look at, and begun anew. */
static int start_over(struct journal *j, const char *path)
{
	uint8_t rec[LEN] = {0};
	uint32_t sector;
	int err;

	if (j->flash.is_device) {
		/* What is damaged stays so until its turn comes, and says that there was something. */
		for (sector = j->flash.sector_count - 1; sector; sector--)
			if (is_range_erased(j, sector * j->flash.sector_size,
				    (sector + 1) * j->flash.sector_size))
				break;
		j->next = j->end = sector * j->sector_slots;
		return 0;
	}
	j->flash.sector_size = CONFIG_JOURNAL_SECTOR_SIZE;
	j->flash.sector_count = CONFIG_JOURNAL_SECTOR_COUNT;
	j->damaged = 0;
	pack_header(j, rec, 0, true);
	seal(rec, 0);
	err = port_flash_renew(&j->flash, path, rec, LEN);
	return err ? err : mount(j);
}

int journal_open(struct journal *j, const char *path, enum port_flash_mode mode, bool is_relaxed,
	int64_t now_ms)
{
	int err;

	journal_close(j);
	memset(j, 0, sizeof(*j));
	err = port_flash_open(
		&j->flash, path, mode, CONFIG_JOURNAL_SECTOR_SIZE, CONFIG_JOURNAL_SECTOR_COUNT);
	if (err)
		return err;
	j->is_open = true;
	j->is_relaxed = is_relaxed;
	j->opened_ms = now_ms;
	err = mount(j);
	if (!err && j->is_damaged && !j->flash.is_readonly)
		err = start_over(j, path);
	if (err)
		journal_close(j);
	return err;
}

enum journal_found journal_find(struct journal *j, uint32_t id, struct journal_record *record)
{
	struct journal_watch *w = find(j, id);

	if (w)
		w->is_used = true;
	if (!w || !w->has_record)
		return j->is_lossy || j->is_damaged ? JOURNAL_LOST : JOURNAL_NONE;
	*record = w->record;
	return JOURNAL_FOUND;
}

/* Whether names and positions of all watches, one more of that name, and a header fit in a sector
 * with something left. */
static bool is_room(const struct journal *j, const struct journal_watch *one)
{
	uint32_t need = 4 + name_parts(one);

	for (const struct journal_watch *w = j->watches;
		w < j->watches + CONFIG_JOURNAL_WATCH_COUNT; w++)
		if (w->has_record && w != one)
			need += 1 + name_parts(w);
	return need <= j->sector_slots;
}

int journal_append(struct journal *j, uint32_t id, const char *name,
	const struct journal_record *record, int64_t now_ms)
{
	struct journal_watch *w = find(j, id);
	size_t name_len = strlen(name);
	int err;

	if (!j->is_open)
		return ERR_BUG;
	if (record->position_rev < 0 || record->position_rev > INT64_MAX >> 1)
		return ERR_RANGE;
	if (j->flash.is_readonly)
		return ERR_READONLY;
	if (!w || !w->has_record) {
		if (w)
			w->is_known = false;
		w = choose(j, name);
		if (!w)
			return ERR_NOSPACE;
		err = w->has_record ? commit(j, w, NULL, now_ms) : 0;
		if (err)
			return err;
		claim(w, id);
	}
	w->is_used = true;
	if (name_len > CONFIG_JOURNAL_NAME_LEN)
		name_len = CONFIG_JOURNAL_NAME_LEN;
	memset(w->name, 0, sizeof(w->name));
	memcpy(w->name, name, name_len);
	if (!w->has_record && !is_room(j, w))
		return ERR_NOSPACE;
	return commit(j, w, record, now_ms);
}

int journal_forget(struct journal *j, uint32_t id, int64_t now_ms)
{
	struct journal_watch *w = find(j, id);

	if (!j->is_open)
		return ERR_BUG;
	if (!w || !w->has_record)
		return 0;
	return j->flash.is_readonly ? ERR_READONLY : commit(j, w, NULL, now_ms);
}

int journal_sync(struct journal *j)
{
	return j->is_unsynced && !j->is_relaxed ? sync_all(j) : 0;
}

void journal_stat(const struct journal *j, struct journal_stat *stat, int64_t now_ms)
{
	/* Sequence numbers end at 2^32, so the product below stays within 64 bits. */
	uint64_t rated = (uint64_t)j->slots * CONFIG_JOURNAL_ENDURANCE_ERASES;

	if (rated > UINT32_MAX)
		rated = UINT32_MAX;
	memset(stat, 0, sizeof(*stat));
	stat->records = j->next;
	stat->erases = j->erases;
	stat->session_records = j->session_records;
	stat->session_erases = j->session_erases;
	stat->intact = j->intact;
	stat->damaged = j->damaged;
	stat->age_s = j->age_s + (now_ms - j->opened_ms) / 1000;
	stat->life_s = -1;
	if (j->next >= j->sector_slots && j->sector_slots && stat->age_s >= LIFE_AGE_S)
		stat->life_s =
			rated > j->next
				? (int64_t)((rated - j->next) * (uint64_t)stat->age_s / j->next)
				: 0;
}

void journal_close(struct journal *j)
{
	if (j->is_open)
		port_flash_close(&j->flash);
	j->is_open = false;
}
