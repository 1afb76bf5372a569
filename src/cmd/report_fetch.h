/* SPDX-License-Identifier: Apache-2.0 */
/* How a download stands, in one line for a person. */
#ifndef ETCHLET_CMD_REPORT_FETCH_H
#define ETCHLET_CMD_REPORT_FETCH_H

#include "cmd/report.h"
#include "sink/fetch.h"

enum {
	REPORT_FETCH_LINE_MAX = 640, /* bytes of it, NUL included */
};

/* "fw.bin  45 %  12.3 of 27.0 MiB  1.2 MiB/s  12 s left", or "fw.bin  waiting: the server says 404". Texts are cut at text_size bytes. Returns
 * dst. */
const char *report_fetch_line(
	char dst[REPORT_FETCH_LINE_MAX], const struct fetch_progress *p, size_t text_size);

/* Whether bytes of it come just now. */
bool report_fetch_is_loading(const struct fetch_progress *p);

#endif
