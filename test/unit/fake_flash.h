/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Flash in memory, for tests of what stands on it: it defines the port_flash_* functions, so it is
 * included by one file of a test program, and the platform's own are then not linked.
 *
 * It holds to the rules of NOR flash (only erased bytes are programmed, within one sector), counts
 * wear, fails when told to, and loses power: what was not synced is then kept, lost or torn, each
 * write by itself. Before each write a hook may look at what a power cut inside it would leave.
 */
#ifndef ETCHLET_TEST_FAKE_FLASH_H
#define ETCHLET_TEST_FAKE_FLASH_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "base/err.h"
#include "port/port.h"

enum {
	FAKE_SIZE_MAX = 64 * 1024,
	FAKE_SECTORS_MAX = 64,
	FAKE_OPS_MAX = 64,
	FAKE_WRITE_MAX = 64,
};

struct fake_op {
	bool is_erase;
	uint32_t offset, len;
	uint8_t bytes[FAKE_WRITE_MAX]; /* what is programmed */
};

struct fake_flash {
	/* settings */
	uint32_t sector_size, sector_count; /* 0: as the opener wishes */
	bool is_device, is_readonly;
	void (*before_write)(const struct fake_op *op); /* power may be cut in op */
	void (*after_sync)(void);
	int fail_after; /* writes and syncs until one fails; below 0: never */
	int fail_code;
	uint32_t fail_len; /* bytes that the failing write leaves */
	int fail_count; /* how many fail then */
	int open_code, renew_code; /* an error for these calls */
	bool (*is_unreadable)(uint32_t offset, uint32_t len);
	bool is_worn; /* this sector cannot be erased any more */
	uint32_t worn_sector;
	uint32_t weak_writes; /* so many programs lose a bit and do not tell */

	/* what is there */
	bool is_missing;
	uint32_t size; /* of the file; a device has all its sectors */
	uint8_t now[FAKE_SIZE_MAX]; /* as reads see it */
	uint8_t disk[FAKE_SIZE_MAX]; /* as of the last sync */
	uint8_t aside[FAKE_SIZE_MAX]; /* PATH.damaged */
	uint32_t aside_size;
	struct fake_op ops[FAKE_OPS_MAX]; /* since the last sync */
	uint32_t op_count;

	/* counted */
	uint32_t wear[FAKE_SECTORS_MAX];
	uint64_t programs, syncs, writes;
	uint32_t rule_breaks; /* of flash: programming what is not erased, across sectors */
	bool is_open;
};

static struct fake_flash fake;

static uint64_t fake_random_state;

/* xorshift64*: the same seed gives the same history everywhere. */
static inline uint32_t fake_random(uint32_t below)
{
	fake_random_state ^= fake_random_state >> 12;
	fake_random_state ^= fake_random_state << 25;
	fake_random_state ^= fake_random_state >> 27;
	return (uint32_t)((fake_random_state * 0x2545f4914f6cdd1dull) >> 33) % below;
}

static inline void fake_seed(uint64_t seed)
{
	fake_random_state = seed * 0x9e3779b97f4a7c15ull + 1;
}

/* Nothing there: a missing file, or an erased device. */
static inline void fake_init(uint32_t sector_size, uint32_t sector_count, bool is_device)
{
	memset(&fake, 0, sizeof(fake));
	memset(fake.now, 0xff, sizeof(fake.now));
	memset(fake.disk, 0xff, sizeof(fake.disk));
	fake.sector_size = sector_size;
	fake.sector_count = sector_count;
	fake.is_device = is_device;
	fake.is_missing = !is_device;
	fake.size = is_device ? sector_size * sector_count : 0;
	fake.fail_after = -1;
}

/* The content of a file or device, as somebody else left it. */
static inline void fake_put(const uint8_t *bytes, uint32_t size)
{
	memset(fake.now, 0xff, sizeof(fake.now));
	memcpy(fake.now, bytes, size);
	memcpy(fake.disk, fake.now, sizeof(fake.disk));
	fake.op_count = 0;
	fake.is_missing = false;
	fake.size = size;
	fake.is_open = false;
}

enum fake_tail {
	FAKE_TAIL_OLD, /* what the cut left out is as it was */
	FAKE_TAIL_ZERO,
	FAKE_TAIL_NOISE,
	FAKE_TAIL_COUNT,
};

/* Does op to bytes, cut after len bytes. */
static inline void fake_apply(
	uint8_t *bytes, const struct fake_op *op, uint32_t len, enum fake_tail tail)
{
	uint8_t *p = bytes + op->offset;

	if (op->is_erase)
		memset(p, 0xff, len);
	else
		memcpy(p, op->bytes, len);
	for (uint32_t i = len; i < op->len && tail != FAKE_TAIL_OLD; i++)
		p[i] = tail == FAKE_TAIL_ZERO ? 0 : (uint8_t)fake_random(256);
}

/* All that was written is on the disk. */
static inline void fake_settle(void)
{
	for (uint32_t i = 0; i < fake.op_count; i++)
		fake_apply(fake.disk, &fake.ops[i], fake.ops[i].len, FAKE_TAIL_OLD);
	fake.op_count = 0;
}

/* Power is lost: of what was not synced, each write is kept, lost or torn. */
static inline void fake_cut_power(void)
{
	for (uint32_t i = 0; i < fake.op_count; i++) {
		const struct fake_op *op = &fake.ops[i];
		uint32_t kind = fake_random(3);

		if (kind == 1)
			fake_apply(fake.disk, op, op->len, FAKE_TAIL_OLD);
		if (kind == 2)
			fake_apply(fake.disk, op, fake_random(op->len + 1),
				(enum fake_tail)fake_random(FAKE_TAIL_COUNT));
	}
	memcpy(fake.now, fake.disk, sizeof(fake.now));
	fake.op_count = 0;
	fake.is_open = false;
}

static bool fake_fails(void)
{
	if (fake.fail_after < 0)
		return false;
	if (fake.fail_after > 0) {
		fake.fail_after--;
		return false;
	}
	if (--fake.fail_count <= 0)
		fake.fail_after = -1;
	return true;
}

static int fake_write(const struct fake_op *op)
{
	uint32_t len = op->len;
	bool is_failing = fake_fails();

	fake.writes++;
	if (fake.before_write)
		fake.before_write(op);
	if (is_failing)
		len = fake.fail_len < op->len ? fake.fail_len : op->len;
	fake_apply(fake.now, op, len, FAKE_TAIL_OLD);
	if (len) {
		/* A full list is as if the storage had caught up by itself. */
		if (fake.op_count == FAKE_OPS_MAX)
			fake_settle();
		fake.ops[fake.op_count] = *op;
		fake.ops[fake.op_count++].len = len;
	}
	return is_failing ? fake.fail_code : 0;
}

int port_flash_open(struct port_flash *f, const char *path, enum port_flash_mode mode,
	uint32_t sector_size, uint32_t sector_count)
{
	(void)path;
	memset(f, 0, sizeof(*f));
	if (fake.open_code)
		return fake.open_code;
	if (fake.is_missing && mode == PORT_FLASH_READ)
		return ERR_NOENT;
	f->sector_size = fake.sector_size ? fake.sector_size : sector_size;
	f->sector_count = fake.sector_count ? fake.sector_count : sector_count;
	f->is_device = fake.is_device;
	f->is_readonly = mode == PORT_FLASH_READ || fake.is_readonly;
	f->fill = 0xff;
	if (fake.is_missing || (!fake.size && !f->is_readonly)) {
		f->is_new = true;
		fake.is_missing = false;
		fake.size = f->sector_size * f->sector_count;
		memset(fake.now, 0xff, sizeof(fake.now));
		memset(fake.disk, 0xff, sizeof(fake.disk));
	}
	f->size = fake.size;
	f->is_open = fake.is_open = true;
	return 0;
}

int port_flash_fit(struct port_flash *f)
{
	uint32_t size = f->sector_size * f->sector_count;

	if (!f->is_device && !f->is_readonly && fake.size < size) {
		memset(fake.now + fake.size, f->fill, size - fake.size);
		memset(fake.disk + fake.size, f->fill, size - fake.size);
		fake.size = f->size = size;
	}
	return 0;
}

int port_flash_renew(struct port_flash *f, const char *path, const void *src, uint32_t len)
{
	(void)path;
	if (f->is_device)
		return ERR_UNSUPPORTED;
	if (fake.renew_code)
		return fake.renew_code;
	memcpy(fake.aside, fake.now, sizeof(fake.aside));
	fake.aside_size = fake.size;
	fake.size = f->size = f->sector_size * f->sector_count;
	memset(fake.now, 0xff, sizeof(fake.now));
	memcpy(fake.now, src, len);
	memcpy(fake.disk, fake.now, sizeof(fake.disk));
	fake.op_count = 0;
	f->is_new = true;
	return 0;
}

int port_flash_read(struct port_flash *f, uint32_t offset, void *dst, uint32_t len)
{
	uint8_t *p = dst;

	if (fake.is_unreadable && fake.is_unreadable(offset, len))
		return ERR_IO;
	for (uint32_t i = 0; i < len; i++)
		p[i] = offset + i < fake.size ? fake.now[offset + i] : f->fill;
	return 0;
}

int port_flash_program(struct port_flash *f, uint32_t offset, const void *src, uint32_t len)
{
	struct fake_op op = {.offset = offset, .len = len};

	if (f->is_readonly)
		return ERR_READONLY;
	if (len > FAKE_WRITE_MAX ||
		offset / f->sector_size != (offset + len - 1) / f->sector_size) {
		fake.rule_breaks++;
		return ERR_BUG;
	}
	for (uint32_t i = 0; i < len; i++)
		fake.rule_breaks += fake.now[offset + i] != 0xff;
	memcpy(op.bytes, src, len);
	if (fake.weak_writes) {
		fake.weak_writes--;
		op.bytes[len / 2] ^= 8;
	}
	fake.programs++;
	return fake_write(&op);
}

int port_flash_erase(struct port_flash *f, uint32_t sector)
{
	struct fake_op op = {
		.is_erase = true, .offset = sector * f->sector_size, .len = f->sector_size};

	if (f->is_readonly)
		return ERR_READONLY;
	if (fake.is_worn && sector == fake.worn_sector)
		return ERR_IO;
	fake.wear[sector % FAKE_SECTORS_MAX]++;
	return fake_write(&op);
}

int port_flash_sync(struct port_flash *f)
{
	(void)f;
	if (fake_fails())
		return fake.fail_code;
	fake.syncs++;
	fake_settle();
	if (fake.after_sync)
		fake.after_sync();
	return 0;
}

void port_flash_close(struct port_flash *f)
{
	f->is_open = fake.is_open = false;
}

#endif
