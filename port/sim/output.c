/* SPDX-License-Identifier: Apache-2.0 */
/* The device's standard output, whose reader is slow, fast, gone, or a disk that is full. */
#include <string.h>

#include "port/sim/internal.h"

struct sim_output sim_output;

static void on_unblocked(void *user, uint64_t id)
{
	(void)user;
	(void)id; /* time alone makes it ready: this only ends the wait */
}

void sim_output_reset(void)
{
	sim_output = (struct sim_output){.cut_after = -1};
}

int sim_output_ready(void)
{
	if (sim_output.code == ERR_PIPE)
		return PORT_POLL_OUT | PORT_POLL_ERR;
	return sim_now_us() >= sim_output.blocked_until_us ? PORT_POLL_OUT : 0;
}

int port_output_open(struct port_output *o, const char *path)
{
	(void)path;
	*o = (struct port_output){.fd = sim_output.is_file ? -1 : SIM_FD_OUTPUT};
	o->is_file = sim_output.is_file;
	/* What a power cut tore is void: a file's last line is cut, a reader of a pipe has seen its end. */
	if (sim_output.is_torn && sim_output.taken)
		sim_output.taken(sim_output.user, NULL, 0, true);
	sim_output.is_torn = false;
	return 0;
}

ssize_t port_output_write(struct port_output *o, const void *src, size_t len)
{
	bool is_cut = false;

	(void)o;
	if (!len)
		return ERR_BUG;
	if (sim_output.code)
		return sim_output.code;
	if (!sim_output.is_file) {
		if (sim_now_us() < sim_output.blocked_until_us) {
			sim_at(sim_output.blocked_until_us - sim_now_us(), on_unblocked, NULL, 0);
			return ERR_AGAIN;
		}
		if (sim_chance(sim_output.again_chance)) {
			sim_output.blocked_until_us = sim_now_us() + sim_between(1, 20000);
			sim_at(sim_output.blocked_until_us - sim_now_us(), on_unblocked, NULL, 0);
			return ERR_AGAIN;
		}
		if (sim_output.take_max && len > sim_output.take_max)
			len = 1 + sim_random(sim_output.take_max);
	}
	if (sim_output.cut_after >= 0) {
		is_cut = (int64_t)len > sim_output.cut_after;
		if (is_cut)
			len = (size_t)sim_output.cut_after;
		sim_output.cut_after = is_cut ? -1 : sim_output.cut_after - (int64_t)len;
	}
	if (len) {
		sim_output.is_torn = ((const uint8_t *)src)[len - 1] != '\n';
		if (sim_output.taken)
			sim_output.taken(sim_output.user, src, len, false);
	}
	if (is_cut)
		sim_cut_power();
	return (ssize_t)len;
}

int port_output_sync(struct port_output *o)
{
	(void)o;
	return 0;
}

void port_output_close(struct port_output *o)
{
	*o = (struct port_output){.fd = -1};
}
