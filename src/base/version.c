/* SPDX-License-Identifier: Apache-2.0 */
#include "base/version.h"

#include "generated/version.h"

const char *version_string(void)
{
	return sizeof(ETCHLET_COMMIT) > 1 ? ETCHLET_VERSION " (" ETCHLET_COMMIT ")"
					  : ETCHLET_VERSION;
}

int64_t version_build_time_s(void)
{
	return (int64_t)ETCHLET_BUILD_TIME;
}
