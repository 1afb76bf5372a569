/* SPDX-License-Identifier: Apache-2.0 */
/* What the forms of the report share; nothing else includes it. */
#ifndef ETCHLET_CMD_REPORT_FACTS_H
#define ETCHLET_CMD_REPORT_FACTS_H

#include "cmd/report.h"

/* Its position is known, it has once been live or listed to the end, and no listing is due. */
bool report_is_synced(const struct watch *w);

/* Of all its sinks. */
uint64_t report_sink_errors(const struct watch *w);

/* The last thing that went wrong with it or one of its sinks, also when it is over; NULL: nothing ever did. */
const char *report_last_error(const struct watch *w);

/* 0: not known. */
uint64_t report_cluster_id(const struct report *r);

/* 0 and more. */
int64_t report_age_ms(const struct report *r, int64_t since_ms);

/* All zero where no positions are kept. */
void report_state(const struct report *r, struct journal_stat *stat);

#endif
