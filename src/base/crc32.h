/* SPDX-License-Identifier: Apache-2.0 */
/*
 * CRC-32 as in Ethernet, gzip and PNG (ISO 3309, polynomial 0x04C11DB7 reflected). It finds every
 * error of up to three bits in what is short enough to be a record of ours. It is no protection
 * against somebody who forges.
 */
#ifndef ETCHLET_BASE_CRC32_H
#define ETCHLET_BASE_CRC32_H

#include <stddef.h>
#include <stdint.h>

/* Goes on from crc (0 at the beginning), so that parts give the same as the whole. */
uint32_t crc32_update(uint32_t crc, const void *src, size_t len);

#endif
