/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the files of "etchlet check" share: check.c has the findings and asks the endpoints,
 * check_local.c looks at what lies on this device. Nothing else includes it.
 */
#ifndef ETCHLET_CMD_CHECK_H
#define ETCHLET_CMD_CHECK_H

#include "cmd/client.h"

enum {
	CHECK_TEXT_MAX = 640,
};

enum check_level {
	FINDING_ERROR,
	FINDING_WARNING,
	FINDING_INFO,
	FINDING_CONFIG, /* an error of which a start would say that the configuration is wrong */
	FINDING_DEAD, /* an endpoint is: an error, but a warning where another one is good */
};

/* Notes one finding; advice: a constant, or NULL when none is needed. */
void check_find(enum check_level level, const char *about, const char *advice, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));

/* Everything that needs no network: files, folders and programs. */
void check_local(struct client *c);

/* The same of a watch with post or fetch, but that a connection is made to a service. */
void check_http(struct client *c, const struct conf_watch *w, const char *about);

/* What there is to say of certificates. */
void check_certificates(const struct tls_context *tls, const char *about);

#endif
