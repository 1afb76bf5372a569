/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Overwrites secrets before their memory is given back. The compiler may not leave it out: the
 * pointer to memset is volatile, so the call cannot be seen through.
 */
#ifndef ETCHLET_BASE_WIPE_H
#define ETCHLET_BASE_WIPE_H

#include <stddef.h>
#include <string.h>

static inline void wipe(void *p, size_t len)
{
	void *(*volatile set)(void *, int, size_t) = memset;

	set(p, 0, len);
}

#endif
