/* SPDX-License-Identifier: Apache-2.0 */
#include "sink/sink.h"

const char *sync_reason_name(enum sync_reason reason)
{
	switch (reason) {
	case SYNC_FIRST:
		return "first";
	case SYNC_COMPACTED:
		return "compacted";
	case SYNC_CLUSTER:
		return "cluster";
	case SYNC_ROLLBACK:
		return "rollback";
	case SYNC_STATE:
		return "state";
	}
	return "unknown";
}
