/* SPDX-License-Identifier: Apache-2.0 */
#include "cmd/cmd.h"

#include <stdio.h>
#include <time.h>

#include <pb.h>

#include "base/kconfig.h"
#include "base/version.h"
#include "net/http.h"
#include "net/tls.h"

static const struct {
	const char *name;
	bool is_in;
} parts[] = {
	{"TLS 1.2", IS_ENABLED(CONFIG_NET_TLS)},
	{"TLS 1.3", IS_ENABLED(CONFIG_TLS_1_3)},
	{"ChaCha20", IS_ENABLED(CONFIG_TLS_CHACHA20)},
	{"X25519", IS_ENABLED(CONFIG_TLS_X25519)},
	{"RSA", IS_ENABLED(CONFIG_TLS_RSA)},
	{"watch --", IS_ENABLED(CONFIG_SINK_EACH)},
	{"post", IS_ENABLED(CONFIG_SINK_POST)},
	{"fetch", IS_ENABLED(CONFIG_SINK_FETCH)},
	{"signature", IS_ENABLED(CONFIG_FETCH_SIGNATURE)},
	{"proxy", IS_ENABLED(CONFIG_NET_PROXY)},
	{"status", IS_ENABLED(CONFIG_CMD_STATUS)},
	{"metrics", IS_ENABLED(CONFIG_METRICS)},
	{"notify", IS_ENABLED(CONFIG_NOTIFY)},
};

int cmd_version(struct conf *conf)
{
	time_t built = (time_t)version_build_time_s();
	struct tm tm;

	(void)conf;
	(void)printf("etchlet %s\n", version_string());
	if (gmtime_r(&built, &tm))
		(void)printf(
			"source of %04d-%02d-%02d\n", tm.tm_year + 1900, tm.tm_mon + 1, tm.tm_mday);
	(void)printf("with:");
	for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++)
		(void)printf(" %c%s", parts[i].is_in ? '+' : '-', parts[i].name);
	(void)printf("\nlibraries: %s%s%s%s" NANOPB_VERSION "\n",
		IS_ENABLED(CONFIG_NET_TLS) ? tls_library_version() : "",
		IS_ENABLED(CONFIG_NET_TLS) ? ", " : "",
		IS_ENABLED(CONFIG_NET_HTTP) ? http_library_version() : "",
		IS_ENABLED(CONFIG_NET_HTTP) ? ", " : "");
	return cmd_output_end(CMD_DONE);
}
