/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A world in memory behind port/port.h: clock, network, flash and output of one device, driven by one
 * seed. Nothing of the real machine is touched, and the same seed gives the same life, byte for byte.
 *
 * Time stands still while code runs and jumps to the next happening in port_poll() and sim_run().
 * The other side of the network, and whatever else a test wants to happen, are callbacks at a time
 * (sim_at). A power cut is a long jump out of whatever call of the port the device was in.
 *
 * There is one world. Units: _us microseconds, _ms milliseconds; chances are in 1 of 1,000.
 * Memory comes from the heap here, for this is no code of the device's.
 */
#ifndef ETCHLET_SIM_H
#define ETCHLET_SIM_H

#include <setjmp.h>
#include <stdio.h>

#include "port/port.h"

enum {
	SIM_HOSTS = 4, /* "m0" to "m3", 10.0.0.1 to 10.0.0.4 */
	SIM_SECTOR_SIZE_MAX = 4096,
	SIM_SECTORS_MAX = 16,
	SIM_FLASH_MAX = SIM_SECTOR_SIZE_MAX * SIM_SECTORS_MAX,
	SIM_PORT = 2379,
};

#define SIM_S INT64_C(1000000)

/* -- the world -- */

/* Everything anew, as of this seed. */
void sim_reset(uint64_t seed);
void sim_free(void);

int64_t sim_now_us(void);
uint32_t sim_random(uint32_t below); /* 0 when below is 0 */
bool sim_chance(uint32_t per_mille);
/* Between low and high, both included. */
int64_t sim_between(int64_t low, int64_t high);

typedef void sim_fn(void *user, uint64_t id);
/* Calls fn once, after delay_us. There is no way to call it off: id tells a stale call. */
void sim_at(int64_t delay_us, sim_fn *fn, void *user, uint64_t id);
/* Lets time pass without the device. */
void sim_run(int64_t until_us);

/* port_poll() returns then at the latest, as if a signal had come. */
void sim_break_at(int64_t at_us);

/* How often port_poll() returned, and how many happenings it had to tell of. */
struct sim_count {
	uint64_t polls, happenings, dials, lookups;
};
extern struct sim_count sim_count;

/* The device's log lines go here too, when it is not NULL. */
extern FILE *sim_log;

/* -- power and signals -- */

/* Where a power cut jumps to; NULL: there is no device to cut. */
void sim_cut_target(jmp_buf *where);
_Noreturn void sim_cut_power(void);
void sim_signal(enum port_signal signal);

/* -- network -- */

enum sim_reach {
	SIM_UP,
	SIM_REFUSED,
	SIM_UNREACHABLE,
	SIM_SILENT, /* nothing that is sent arrives, and nothing comes */
};

enum sim_dns {
	SIM_DNS_FINE,
	SIM_DNS_FAILS,
	SIM_DNS_SLOW,
	SIM_DNS_SILENT,
};

enum sim_cut {
	SIM_CUT_RESET,
	SIM_CUT_END, /* FIN, both ways */
	SIM_CUT_SILENCE, /* both ways */
	SIM_CUT_DOWN, /* silence towards the device only */
	SIM_CUT_UP, /* silence from the device only */
	SIM_CUT_COUNT,
};

/* What the server's side of connections does. conn: a number that is never used twice. */
struct sim_server_ops {
	void (*opened)(uint32_t conn, int host);
	void (*received)(uint32_t conn, const uint8_t *p, size_t len);
	void (*closed)(
		uint32_t conn); /* by the device or a cut; not by sim_conn_cut() of its own */
};

struct sim_net {
	const struct sim_server_ops *server;
	enum sim_reach reach[SIM_HOSTS];
	enum sim_dns dns;
	int64_t latency_us, jitter_us;
	uint32_t bytes_per_s; /* 0: no limit */
	uint32_t segment_max; /* bytes that arrive at once, 1 and more */
	uint32_t send_buffer; /* bytes that the device's socket takes */
	uint32_t cut_chance; /* of a new connection: it is cut after a number of bytes */
	uint32_t cut_after_max; /* bytes */
};
extern struct sim_net sim_net;

/* The server sends. Nothing happens when the connection is gone. */
void sim_conn_send(uint32_t conn, const void *p, size_t len);
void sim_conn_cut(uint32_t conn, enum sim_cut how);
/* Cuts all connections to a host (below 0: to any). */
void sim_host_cut(int host, enum sim_cut how);

/* -- flash -- */

struct sim_flash {
	uint32_t sector_size,
		sector_count; /* of a device; 0: a plain file, as the caller lays it out */
	bool is_missing;
	int open_code; /* what every opening ends with; 0: it is opened */
	int write_code; /* the same for programming, erasing and syncing */
	int64_t cut_after; /* power is cut within that many writes and syncs from now; below 0: never */
	bool was_damaged; /* since the last sim_reset(), other than by power cuts */
	uint64_t writes, syncs;
};
extern struct sim_flash sim_flash;

/* Power was lost: what was not synced is kept, dropped or torn. false: the program just ended, all is kept. */
void sim_flash_lose(bool is_power);
/* Turns some bits over. */
void sim_flash_damage(uint32_t bits);
void sim_flash_erase_all(void);

/* -- output -- */

struct sim_output {
	bool is_file; /* no back-pressure, but a full disk */
	int code; /* what every write ends with, ERR_PIPE or ERR_NOSPACE; 0: bytes are taken */
	int64_t blocked_until_us;
	uint32_t take_max; /* bytes at once; 0: any number */
	uint32_t again_chance;
	int64_t cut_after; /* bytes until power is cut in the middle of a write; below 0: never */
	bool is_torn; /* what was taken last does not end a line */
	/* Bytes that were taken; is_cut: the last line's beginning is void. */
	void (*taken)(void *user, const uint8_t *p, size_t len, bool is_cut);
	void *user;
};
extern struct sim_output sim_output;

#endif
