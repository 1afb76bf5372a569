/* SPDX-License-Identifier: Apache-2.0 */
/* What this build is. */
#ifndef ETCHLET_BASE_VERSION_H
#define ETCHLET_BASE_VERSION_H

#include <stdint.h>

/* "0.1.0 (1a2b3c4)": the version, and the commit where it is known. */
const char *version_string(void);

/* When this program was built, or the source's date for a build that can be repeated: seconds since
 * 1970. The wall clock of a device cannot rightly be before it. */
int64_t version_build_time_s(void);

#endif
