/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of this folder share. */
#ifndef ETCHLET_SIM_INTERNAL_H
#define ETCHLET_SIM_INTERNAL_H

#include "base/err.h"
#include "port/sim/sim.h"

enum {
	SIM_FD_SIGNAL = 3,
	SIM_FD_OUTPUT = 4,
	SIM_FD_RESOLVE = 5,
	SIM_FD_CONN = 100, /* and more: connections */
};

/* The events that fd is ready for. */
int sim_net_ready(int fd);
int sim_output_ready(void);

void sim_net_reset(void);
void sim_flash_reset(void);
void sim_output_reset(void);

#endif
