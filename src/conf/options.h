/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The one table of options, which serves the command line, the file and the help; and what the
 * files of this folder share. Nothing outside includes it.
 */
#ifndef ETCHLET_CONF_OPTIONS_H
#define ETCHLET_CONF_OPTIONS_H

#include "conf/conf.h"

enum conf_kind {
	CONF_KIND_STRING, /* const char *, without NUL bytes */
	CONF_KIND_BYTES, /* struct conf_bytes, %i %h %% replaced */
	CONF_KIND_SWITCH, /* bool */
	CONF_KIND_DURATION, /* int64_t, 1 ms or more */
	CONF_KIND_DURATION_0, /* int64_t, may be 0 */
	CONF_KIND_SIZE, /* uint64_t */
	CONF_KIND_REVISION, /* int64_t */
	CONF_KIND_CHOICE, /* uint8_t: which of the words in arg */
	CONF_KIND_ENDPOINTS, /* const char *: checked, taken apart later */
	CONF_KIND_MODE, /* uint32_t, octal */
	CONF_KIND_OWNER, /* const char *, user[:group] */
	CONF_KIND_FOLDER, /* const char *, a path without ".." */
	CONF_KIND_WORDS, /* char *const *; only in the file */
	CONF_KIND_NAMES, /* char *const *: names of watches, separated by commas */
};

enum conf_flag {
	CONF_SECRET = 1, /* never shown */
	CONF_MAY_BE_EMPTY = 2,
	CONF_NOT_IN_FILE = 4,
	CONF_EXPANDED = 8, /* %i, %h and %% are replaced */
};

struct conf_option {
	const char *name;
	const char *arg; /* what help calls its value; of a CHOICE the words, with '|' between */
	const char *preset; /* the default, as it would be typed; NULL: none */
	const char *help;
	uint16_t offset; /* of the value in struct conf or struct conf_watch */
	uint8_t kind; /* enum conf_kind */
	uint8_t flags; /* enum conf_flag */
	uint8_t commands; /* enum conf_command_set: which take it */
	uint8_t unlisted; /* which of those have no use for it, and do not name it in their help */
	char letter; /* 0: none */
	uint8_t group; /* heading of this option and those below, 0: as above */
};

/* What conf.c refers to by name. The table holds more; CONF_OPTION_COUNT of it. */
enum conf_option_index {
	CONF_O_CONFIG,
	CONF_O_ENDPOINTS,
	CONF_O_CACERT,
	CONF_O_CERT,
	CONF_O_KEY,
	CONF_O_INSECURE,
	CONF_O_USER,
	CONF_O_PASSWORD,
	CONF_O_PASSWORD_FILE,
	CONF_O_DEVICE_ID,
	CONF_O_PROXY,
	CONF_O_NO_PROXY,
	CONF_O_DIAL_TIMEOUT,
	CONF_O_COMMAND_TIMEOUT,
	CONF_O_KEEPALIVE_TIME,
	CONF_O_KEEPALIVE_TIMEOUT,
	CONF_O_PROBE_INTERVAL,
	CONF_O_IDLE_AFTER,
	CONF_O_BACKOFF_MIN,
	CONF_O_BACKOFF_MAX,
	CONF_O_PREFIX,
	CONF_O_REV,
	CONF_O_PREV_KV,
	CONF_O_PROGRESS_NOTIFY,
	CONF_O_WRITE_OUT,
	CONF_O_JSON,
	CONF_O_WATCH,
	CONF_O_MAX_VALUE,
	CONF_O_ONCE,
	CONF_O_TIMEOUT,
	CONF_O_FORGET,
	CONF_O_STATE,
	CONF_O_STATE_INTERVAL,
	CONF_O_DURABILITY,
	CONF_O_CONTROL,
	CONF_O_METRICS,
	CONF_O_METRICS_INTERVAL,
	CONF_O_LOG_LEVEL,
	CONF_O_SYSLOG,
	CONF_OPTION_COUNT,
};

enum conf_watch_option_index {
	CONF_W_KEY,
	CONF_W_PREFIX,
	CONF_W_RANGE_END,
	CONF_W_PREV_KV,
	CONF_W_MIRROR,
	CONF_W_MIRROR_MODE,
	CONF_W_MIRROR_OWNER,
	CONF_W_MIRROR_ADOPT,
	CONF_W_EXEC,
	CONF_W_EXEC_TIMEOUT,
	CONF_W_PRINT,
	CONF_W_SETTLE,
	CONF_W_POST,
	CONF_W_POST_ON_REJECT,
	CONF_W_POST_TIMEOUT,
	CONF_W_POST_TOKEN_FILE,
	CONF_W_FETCH,
	CONF_W_FETCH_RATE,
	CONF_W_FETCH_MAX_SIZE,
	CONF_W_FETCH_TIMEOUT,
	CONF_W_FETCH_MODE,
	CONF_W_FETCH_OWNER,
	CONF_W_FETCH_PUBKEY,
	CONF_W_HTTP_CACERT,
	CONF_W_HTTP_CERT,
	CONF_W_HTTP_KEY,
	CONF_WATCH_OPTION_COUNT,
};

extern const struct conf_option conf_options[CONF_OPTION_COUNT];
extern const struct conf_option conf_watch_options[CONF_WATCH_OPTION_COUNT];

/* NULL when there is none of that name. */
const struct conf_option *conf_option_find(
	const struct conf_option *table, size_t count, const char *name, size_t len);

enum {
	CONF_WHERE_ARGV = UINT16_MAX, /* in conf->where[] */
	/* Of two names that differ only behind it, the state file would know one. */
	CONF_NAME_MAX_LEN = CONFIG_JOURNAL_NAME_LEN,
};

/* A word that is being looked at, and where it stands: for messages. */
struct conf_at {
	struct conf *conf;
	uint16_t line; /* of the file; 0: the command line */
	const struct conf_option *option; /* NULL: none yet */
	const char *value; /* what was given for it, NUL at its end; NULL: nothing */
	size_t len;
};

/* An option as it was given, on the command line, in the file or by default; without its word. */
struct conf_at conf_at_option(struct conf *conf, enum conf_option_index i);

/* Writes conf->why, with where it is in front. Always ERR_CONFIG. */
int conf_fail(const struct conf_at *at, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* conf_fail() about an option as it was given. */
int conf_fail_option(struct conf *conf, enum conf_option_index i, const char *why);

/* There is no more room in conf->text. Always ERR_CONFIG. */
int conf_fail_room(const struct conf_at *at);

/* Checks at->value and writes it into base, a struct conf or conf_watch; NULL: only checks it. */
int conf_option_set(const struct conf_at *at, void *base);

/* len bytes of conf->text, NULL when there is no more room. align: a power of two. */
void *conf_take(struct conf *conf, size_t len, size_t align);

/* A copy of src with a NUL at its end. 0 or ERR_CONFIG. */
int conf_copy(const struct conf_at *at, const char **out, const char *src, size_t len);

/* Whether a watch can be called so. */
bool conf_is_name(const char *name, size_t len);

/* Replaces %i, %h and %%. out->p has a NUL at its end, which out->len does not count. */
int conf_expand(const struct conf_at *at, struct conf_bytes *out, const char *src, size_t len);

/* The same for a word of a program's arguments; a % before another letter stays, for programs have a use for it. */
int conf_expand_word(const struct conf_at *at, char **word);

/* Finds out conf->host and conf->device, once. */
int conf_device_read(struct conf *conf);

/* Takes a list of endpoints apart, into conf when is_kept. is_tls: those that don't say. */
int conf_endpoints_parse(const struct conf_at *at, bool is_kept, bool is_tls);

/* Cuts the host out of what begins with HOST or [IPV6], without the brackets; *rest is what follows
 * it. NULL, or what is wrong. */
const char *conf_host_parse(
	const char **host, size_t *host_len, const char **rest, const char *p, const char *end);

/* Works out which proxies there are: from the options, else from the environment. */
int conf_proxy_read(struct conf *conf);

/* Reads conf->config_path. What the command line has said stays. */
int conf_file_load(struct conf *conf, bool is_required);

/* Whether at->value holds a NUL byte, which no path and no name can. */
bool conf_has_nul(const struct conf_at *at);

#endif
