/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Memory from the system, counted: what is taken now, and the most that ever was. Our own code takes its memory here at the
 * start; libcurl takes it here too, and so does the TLS library, unless it is the system's own build of it.
 *
 * Figures are bytes that were asked for, without what the allocator needs.
 */
#ifndef ETCHLET_BASE_HEAP_H
#define ETCHLET_BASE_HEAP_H

#include <stddef.h>

/* n * size bytes of zeros, or NULL. */
void *heap_calloc(size_t n, size_t size);
/* p: of a function here, or NULL. */
void heap_free(void *p);
/* size bytes, or NULL. */
void *heap_malloc(size_t size);
/* The same bytes, as many as fit, in a block of size bytes; what is new has any value. p NULL: a new block. NULL: p stays as it is. */
void *heap_realloc(void *p, size_t size);
/* A copy, or NULL. */
char *heap_strdup(const char *s);

size_t heap_bytes(void);
size_t heap_peak_bytes(void);

#endif
