/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Memory from the system, counted: what is taken now, and the most that ever was. Our own code takes its memory here at the
 * start; the TLS library takes it here too, unless it is the system's own build of it.
 *
 * Figures are bytes that were asked for, without what the allocator needs.
 */
#ifndef ETCHLET_BASE_HEAP_H
#define ETCHLET_BASE_HEAP_H

#include <stddef.h>

/* n * size bytes of zeros, or NULL. */
void *heap_calloc(size_t n, size_t size);
/* p: of heap_calloc(), or NULL. */
void heap_free(void *p);

size_t heap_bytes(void);
size_t heap_peak_bytes(void);

#endif
