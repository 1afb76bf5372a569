/* SPDX-License-Identifier: Apache-2.0 */
/* One state file or raw device, on storage that keeps, drops or tears at a power cut what was not synced. */
#include <stdlib.h>
#include <string.h>

#include "port/sim/internal.h"

enum { OPS_MAX = 64, OP_BYTES_MAX = 512 };

struct op {
	bool is_erase;
	uint32_t offset, len;
	uint8_t bytes[OP_BYTES_MAX];
};

static uint8_t now[SIM_FLASH_MAX], disk[SIM_FLASH_MAX];
static struct op ops[OPS_MAX];
static uint32_t op_count;
static bool is_open;

struct sim_flash sim_flash;

void sim_flash_reset(void)
{
	sim_flash = (struct sim_flash){.is_missing = true, .cut_after = -1};
	sim_flash_erase_all();
	is_open = false;
}

void sim_flash_erase_all(void)
{
	memset(now, 0xff, sizeof(now));
	memset(disk, 0xff, sizeof(disk));
	op_count = 0;
	sim_flash.is_missing = !sim_flash.sector_size;
}

void sim_flash_damage(uint32_t bits)
{
	uint32_t size =
		sim_flash.sector_size ? sim_flash.sector_size * sim_flash.sector_count : 8 * 4096;

	sim_flash.was_damaged = true;
	while (bits--) {
		uint32_t at = sim_random(size);

		disk[at] ^= (uint8_t)(1u << sim_random(8));
		now[at] = disk[at];
	}
}

enum tail { TAIL_OLD, TAIL_ZERO, TAIL_NOISE, TAIL_COUNT };

static void apply(uint8_t *bytes, const struct op *op, uint32_t len, enum tail tail)
{
	uint8_t *p = bytes + op->offset;

	if (op->is_erase)
		memset(p, 0xff, len);
	else
		memcpy(p, op->bytes, len);
	for (uint32_t i = len; i < op->len && tail != TAIL_OLD; i++)
		p[i] = tail == TAIL_ZERO ? 0 : (uint8_t)sim_random(256);
}

static void settle(void)
{
	for (uint32_t i = 0; i < op_count; i++)
		apply(disk, &ops[i], ops[i].len, TAIL_OLD);
	op_count = 0;
}

void sim_flash_lose(bool is_power)
{
	for (uint32_t i = 0; is_power && i < op_count; i++) {
		uint32_t kind = sim_random(3);

		if (kind == 1)
			apply(disk, &ops[i], ops[i].len, TAIL_OLD);
		if (kind == 2)
			apply(disk, &ops[i], sim_random(ops[i].len + 1),
				(enum tail)sim_random(TAIL_COUNT));
	}
	if (!is_power)
		settle();
	op_count = 0;
	memcpy(now, disk, sizeof(now));
	is_open = false;
}

static bool is_cut_due(void)
{
	return sim_flash.cut_after >= 0 && sim_flash.cut_after-- == 0;
}

static int write_op(const struct op *op)
{
	struct op done = *op;
	bool is_cut = is_cut_due();

	if (sim_flash.write_code) {
		/* A part of it may have got there. */
		done.len = sim_chance(300) ? sim_random(op->len) : 0;
	} else if (is_cut) {
		done.len = sim_random(op->len + 1);
	}
	sim_flash.writes++;
	apply(now, &done, done.len, TAIL_OLD);
	if (done.len) {
		if (op_count == OPS_MAX)
			settle();
		ops[op_count++] = done;
	}
	if (is_cut)
		sim_cut_power();
	return sim_flash.write_code;
}

int port_flash_open(struct port_flash *f, const char *path, enum port_flash_mode mode,
	uint32_t sector_size, uint32_t sector_count)
{
	(void)path;
	memset(f, 0, sizeof(*f));
	if (sim_flash.open_code)
		return sim_flash.open_code;
	if (is_open)
		return ERR_LOCKED;
	if (sim_flash.is_missing && mode == PORT_FLASH_READ)
		return ERR_NOENT;
	f->is_device = sim_flash.sector_size != 0;
	f->sector_size = f->is_device ? sim_flash.sector_size : sector_size;
	f->sector_count = f->is_device ? sim_flash.sector_count : sector_count;
	f->is_readonly = mode == PORT_FLASH_READ;
	f->fill = 0xff;
	f->size = f->sector_size * f->sector_count;
	if (f->size > SIM_FLASH_MAX)
		return ERR_NOSPACE;
	if (sim_flash.is_missing) {
		f->is_new = true;
		sim_flash.is_missing = false;
		memset(now, 0xff, sizeof(now));
		memset(disk, 0xff, sizeof(disk));
		op_count = 0;
	}
	f->is_open = is_open = true;
	return 0;
}

int port_flash_fit(struct port_flash *f)
{
	return (uint64_t)f->sector_size * f->sector_count > SIM_FLASH_MAX ? ERR_NOSPACE : 0;
}

int port_flash_renew(struct port_flash *f, const char *path, const void *src, uint32_t len)
{
	bool is_cut = is_cut_due();

	(void)path;
	if (f->is_device)
		return ERR_UNSUPPORTED;
	if (sim_flash.write_code)
		return sim_flash.write_code;
	/* The old one or the new one. */
	if (is_cut && sim_chance(500))
		sim_cut_power();
	memset(now, 0xff, sizeof(now));
	memcpy(now, src, len);
	memcpy(disk, now, sizeof(disk));
	op_count = 0;
	f->is_new = true;
	f->size = f->sector_size * f->sector_count;
	if (is_cut)
		sim_cut_power();
	return 0;
}

int port_flash_read(struct port_flash *f, uint32_t offset, void *dst, uint32_t len)
{
	(void)f;
	if (offset > SIM_FLASH_MAX || len > SIM_FLASH_MAX - offset)
		return ERR_BUG;
	memcpy(dst, now + offset, len);
	return 0;
}

int port_flash_program(struct port_flash *f, uint32_t offset, const void *src, uint32_t len)
{
	struct op op = {.offset = offset, .len = len};

	if (f->is_readonly)
		return ERR_READONLY;
	if (!len || len > OP_BYTES_MAX ||
		offset / f->sector_size != (offset + len - 1) / f->sector_size)
		abort();
	for (uint32_t i = 0; i < len; i++) {
		if (now[offset + i] != 0xff)
			abort(); /* it was not erased */
	}
	memcpy(op.bytes, src, len);
	return write_op(&op);
}

int port_flash_erase(struct port_flash *f, uint32_t sector)
{
	struct op op = {.is_erase = true, .offset = sector * f->sector_size, .len = f->sector_size};

	if (f->is_readonly)
		return ERR_READONLY;
	return write_op(&op);
}

int port_flash_sync(struct port_flash *f)
{
	(void)f;
	if (is_cut_due())
		sim_cut_power();
	if (sim_flash.write_code)
		return sim_flash.write_code;
	sim_flash.syncs++;
	settle();
	return 0;
}

void port_flash_close(struct port_flash *f)
{
	if (f->is_open)
		is_open = false;
	f->is_open = false;
}
