/* SPDX-License-Identifier: Apache-2.0 */
/*
 * SipHash-2-4 (Aumasson, Bernstein: "SipHash: a fast short-input PRF", 2012): 64 bits of anything, under
 * a key. Who does not know the key cannot make two inputs collide.
 */
#ifndef ETCHLET_BASE_SIPHASH_H
#define ETCHLET_BASE_SIPHASH_H

#include <stddef.h>
#include <stdint.h>

uint64_t siphash(const uint64_t key[2], const void *src, size_t len);

#endif
