/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Words that stand for numbers: durations as in Go, sizes in powers of 1024, revisions, modes. Each
 * function takes len bytes at p and returns NULL with *out filled, or what is wrong in a few words.
 */
#ifndef ETCHLET_CONF_VALUE_H
#define ETCHLET_CONF_VALUE_H

#include <stddef.h>
#include <stdint.h>

/* "500ms", "1.5s", "1h30m": in milliseconds, rounded up; at most a hundred years. */
const char *conf_duration_parse(int64_t *out_ms, const char *p, size_t len);

/* "64K", "2M", "1G": at most 1024G. */
const char *conf_size_parse(uint64_t *out_len, const char *p, size_t len);

/* A decimal number from 0 to max. */
const char *conf_number_parse(uint64_t *out, const char *p, size_t len, uint64_t max);

/* "0640": octal, at most 0777. */
const char *conf_mode_parse(uint32_t *out, const char *p, size_t len);

#endif
