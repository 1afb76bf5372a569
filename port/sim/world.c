/* SPDX-License-Identifier: Apache-2.0 */
/* Clock, happenings, signals and what else surrounds the device. */
#include <stdlib.h>
#include <string.h>

#include "port/sim/internal.h"

enum {
	POLL_COST_US = 20, /* so that a loop which never sleeps makes time pass too, and is seen */
	START_S = 1000,
};

struct happening {
	int64_t at_us;
	uint64_t seq;
	sim_fn *fn;
	void *user;
	uint64_t id;
};

static struct {
	uint64_t random;
	int64_t now_us;
	uint64_t seq;
	struct happening *heap;
	size_t n, cap;
	int64_t break_us;
	jmp_buf *cut;
	int signals;
} world;

struct sim_count sim_count;
FILE *sim_log;

void sim_reset(uint64_t seed)
{
	world.random = seed * 0x9e3779b97f4a7c15u + 0x1234567;
	world.now_us = START_S * SIM_S;
	world.seq = 0;
	world.n = 0;
	world.break_us = INT64_MAX;
	world.cut = NULL;
	world.signals = 0;
	sim_count = (struct sim_count){0};
	sim_net_reset();
	sim_flash_reset();
	sim_output_reset();
}

void sim_free(void)
{
	sim_net_reset();
	free(world.heap);
	world.heap = NULL;
	world.n = world.cap = 0;
}

int64_t sim_now_us(void)
{
	return world.now_us;
}

/* splitmix64 */
static uint64_t random64(void)
{
	uint64_t z = world.random += 0x9e3779b97f4a7c15u;

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
	return z ^ (z >> 31);
}

uint32_t sim_random(uint32_t below)
{
	return below ? (uint32_t)((random64() >> 32) * below >> 32) : 0;
}

bool sim_chance(uint32_t per_mille)
{
	return sim_random(1000) < per_mille;
}

int64_t sim_between(int64_t low, int64_t high)
{
	return high <= low ? low : low + (int64_t)(random64() % (uint64_t)(high - low + 1));
}

/* -- happenings ------------------------------------------------------------------------------- */

static bool is_before(const struct happening *a, const struct happening *b)
{
	return a->at_us != b->at_us ? a->at_us < b->at_us : a->seq < b->seq;
}

void sim_at(int64_t delay_us, sim_fn *fn, void *user, uint64_t id)
{
	struct happening h = {.at_us = world.now_us + (delay_us > 0 ? delay_us : 0),
		.fn = fn,
		.user = user,
		.id = id};
	size_t i = world.n++;

	h.seq = world.seq++;
	if (world.n > world.cap) {
		world.cap = world.cap ? world.cap * 2 : 256;
		world.heap = realloc(world.heap, world.cap * sizeof(h));
		if (!world.heap)
			abort();
	}
	for (; i && is_before(&h, &world.heap[(i - 1) / 2]); i = (i - 1) / 2)
		world.heap[i] = world.heap[(i - 1) / 2];
	world.heap[i] = h;
}

/* Does the next happening when it is due by until_us. */
static bool step(int64_t until_us)
{
	struct happening h, last;
	size_t i = 0, child;

	if (!world.n || world.heap[0].at_us > until_us)
		return false;
	h = world.heap[0];
	last = world.heap[--world.n];
	while ((child = 2 * i + 1) < world.n) {
		if (child + 1 < world.n && is_before(&world.heap[child + 1], &world.heap[child]))
			child++;
		if (!is_before(&world.heap[child], &last))
			break;
		world.heap[i] = world.heap[child];
		i = child;
	}
	if (world.n)
		world.heap[i] = last;
	if (h.at_us > world.now_us)
		world.now_us = h.at_us;
	h.fn(h.user, h.id);
	return true;
}

void sim_run(int64_t until_us)
{
	while (step(until_us))
		;
	if (world.now_us < until_us)
		world.now_us = until_us;
}

void sim_break_at(int64_t at_us)
{
	world.break_us = at_us;
}

/* -- waiting ---------------------------------------------------------------------------------- */

static int fd_ready(int fd)
{
	if (fd == SIM_FD_SIGNAL)
		return world.signals ? PORT_POLL_IN : 0;
	if (fd == SIM_FD_OUTPUT)
		return sim_output_ready();
	return sim_net_ready(fd);
}

static int look(struct port_poll *fds, size_t n)
{
	int ready = 0;

	for (size_t i = 0; i < n; i++) {
		fds[i].got = fd_ready(fds[i].fd) & (fds[i].want | PORT_POLL_ERR);
		ready += fds[i].got != 0;
	}
	return ready;
}

int port_poll(struct port_poll *fds, size_t n, int64_t timeout_ms)
{
	int64_t end_us = timeout_ms < 0 ? INT64_MAX : world.now_us + timeout_ms * 1000;
	int ready;

	if (end_us > world.break_us)
		end_us = world.break_us > world.now_us ? world.break_us : world.now_us;
	sim_count.polls++;
	world.now_us += POLL_COST_US;
	while (step(world.now_us))
		;
	while (!(ready = look(fds, n)) && world.now_us < end_us) {
		if (step(end_us)) {
			/* What comes at the same time is seen at the same time. */
			while (step(world.now_us))
				;
			continue;
		}
		/* For ever: the test has nothing more to happen, and a device that would sleep for
		 * good wakes by nobody. */
		if (end_us == INT64_MAX)
			sim_cut_power();
		world.now_us = end_us;
	}
	sim_count.happenings += (uint64_t)ready;
	return ready;
}

int64_t port_now_ms(void)
{
	return world.now_us / 1000;
}

int64_t port_wall_s(void)
{
	return 1700000000 + world.now_us / SIM_S;
}

int port_random(void *dst, size_t len)
{
	uint8_t *p = dst;

	while (len--)
		*p++ = (uint8_t)(random64() >> 56);
	return 0;
}

/* -- power and signals ------------------------------------------------------------------------ */

void sim_cut_target(jmp_buf *where)
{
	world.cut = where;
}

_Noreturn void sim_cut_power(void)
{
	jmp_buf *to = world.cut;

	if (!to)
		abort();
	world.cut = NULL;
	world.signals = 0;
	longjmp(*to, 1);
}

void sim_signal(enum port_signal signal)
{
	world.signals |= (int)signal;
}

int port_signals_open(void)
{
	world.signals = 0;
	return SIM_FD_SIGNAL;
}

int port_signals_take(void)
{
	int signals = world.signals;

	world.signals = 0;
	return signals;
}

/* -- surroundings ----------------------------------------------------------------------------- */

int port_std_open(void)
{
	return 0;
}

int port_host_name(char *dst, size_t cap)
{
	return snprintf(dst, cap, "device") < (int)cap ? 0 : ERR_LIMIT;
}

void port_syslog_write(int level, const char *line, size_t len)
{
	(void)level;
	port_stderr_write(line, len);
}

void port_stderr_write(const char *line, size_t len)
{
	while (len && line[len - 1] == '\n')
		len--;
	if (sim_log)
		fprintf(sim_log, "%10.3f %.*s\n", (double)(world.now_us - START_S * SIM_S) / 1e6,
			(int)len, line);
}

ssize_t port_file_read(const char *path, void *dst, size_t cap)
{
	(void)path;
	(void)dst;
	(void)cap;
	return ERR_NOENT;
}

int port_child_start(struct port_child *c, char *const argv[], char *const env[], int stdin_fd,
	int stdout_fd, int stderr_fd)
{
	(void)argv;
	(void)env;
	(void)stdin_fd;
	(void)stdout_fd;
	(void)stderr_fd;
	c->pid = 0;
	return ERR_UNSUPPORTED;
}

int port_child_result(struct port_child *c)
{
	(void)c;
	return ERR_UNSUPPORTED;
}

void port_child_kill(struct port_child *c, bool force)
{
	(void)c;
	(void)force;
}
