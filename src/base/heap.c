/* SPDX-License-Identifier: Apache-2.0 */
#include "base/heap.h"

#include <stdint.h>
#include <stdlib.h>

static size_t heap_now, heap_most;

/* Stands before each block, and keeps it aligned for anything. */
union heap_head {
	size_t len;
	max_align_t align;
};

void *heap_calloc(size_t n, size_t size)
{
	union heap_head *head;

	if (size && n > (SIZE_MAX - sizeof(*head)) / size)
		return NULL;
	head = calloc(1, sizeof(*head) + n * size);
	if (!head)
		return NULL;
	head->len = n * size;
	heap_now += head->len;
	if (heap_now > heap_most)
		heap_most = heap_now;
	return head + 1;
}

void heap_free(void *p)
{
	union heap_head *head = p;

	if (!head)
		return;
	head--;
	heap_now -= head->len;
	free(head);
}

size_t heap_bytes(void)
{
	return heap_now;
}

size_t heap_peak_bytes(void)
{
	return heap_most;
}
