/* SPDX-License-Identifier: Apache-2.0 */
/* What is found wrong in a life: the first finding is kept, the life ends soon after. */
#ifndef TEST_SIM_VERDICT_H
#define TEST_SIM_VERDICT_H

#include <stdbool.h>
#include <stddef.h>

enum { VERDICT_TEXT_MAX = 2048 };

extern bool verdict_failed;
extern char verdict_text[VERDICT_TEXT_MAX];

void verdict_reset(void);
void verdict_fail(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
/* A line for who reads along (--verbose). */
void verdict_note(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

#endif
