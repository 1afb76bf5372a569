/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of this port share; nothing outside includes it. */
#ifndef ETCHLET_PORT_LINUX_INTERNAL_H
#define ETCHLET_PORT_LINUX_INTERNAL_H

/* In a child: closes every descriptor from `from` on. */
void linux_close_from(int from);

/* In a child: every signal back to its default and let through. */
void linux_signals_reset(void);

/*
 * Collects a child that was given up (it has ended, or was just sent SIGKILL): at once when it is
 * gone already, else at one of the next calls.
 */
void linux_reap_later(int pid);

/* Collects whichever of those has ended by now. Never waits. */
void linux_reap(void);

#endif
