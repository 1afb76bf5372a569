/* SPDX-License-Identifier: Apache-2.0 */
#include "base/heap.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

static size_t heap_now, heap_most;

/* Stands before each block, and keeps it aligned for anything. */
union heap_head {
	size_t len;
	max_align_t align;
};

static void heap_count(size_t before, size_t after)
{
	heap_now += after - before;
	if (heap_now > heap_most)
		heap_most = heap_now;
}

void *heap_calloc(size_t n, size_t size)
{
	union heap_head *head;

	if (size && n > (SIZE_MAX - sizeof(*head)) / size)
		return NULL;
	head = calloc(1, sizeof(*head) + n * size);
	if (!head)
		return NULL;
	head->len = n * size;
	heap_count(0, head->len);
	return head + 1;
}

void *heap_realloc(void *p, size_t size)
{
	union heap_head *old = p ? (union heap_head *)p - 1 : NULL, *head;
	size_t before = old ? old->len : 0;

	if (size > SIZE_MAX - sizeof(*head))
		return NULL;
	head = realloc(old, sizeof(*head) + size);
	if (!head)
		return NULL;
	head->len = size;
	heap_count(before, size);
	return head + 1;
}

void *heap_malloc(size_t size)
{
	return heap_realloc(NULL, size);
}

char *heap_strdup(const char *s)
{
	size_t size = strlen(s) + 1;
	char *copy = heap_malloc(size);

	if (copy)
		memcpy(copy, s, size);
	return copy;
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
