/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Bytes that end where memory ends: a parser that reads one too many is stopped by the processor,
 * with or without a sanitizer.
 */
#ifndef ETCHLET_TEST_GUARD_H
#define ETCHLET_TEST_GUARD_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { GUARD_BYTES = 1 << 20 };

/* A copy of src whose last byte is the last of its page. Valid until the next call. */
static inline const uint8_t *guard_copy(const void *src, size_t len)
{
	static uint8_t *end;
	size_t page = (size_t)sysconf(_SC_PAGESIZE);

	if (!end) {
		uint8_t *mem = mmap(NULL, GUARD_BYTES + page, PROT_READ | PROT_WRITE,
			MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

		if (mem == MAP_FAILED || mprotect(mem + GUARD_BYTES, page, PROT_NONE))
			return NULL;
		end = mem + GUARD_BYTES;
	}
	if (len > GUARD_BYTES)
		return NULL;
	if (len)
		memcpy(end - len, src, len);
	return end - len;
}

#endif
