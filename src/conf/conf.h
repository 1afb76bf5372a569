/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the user asked for: the command line over the configuration file over the defaults, parsed,
 * checked, and in units that need no further thought.
 *
 * conf_load() does all of it and changes nothing but the struct conf that it is given, so that a
 * running agent can load a second one and keep the first when the new file is wrong. Strings lie in
 * argv, in the environment, in conf->text or in constants; nothing is allocated. Environment variables are not
 * read, but for "--device-id env:NAME" and those that name proxies.
 *
 * Units: _ms milliseconds, _len bytes. A string that was not given is NULL, a duration 0.
 */
#ifndef ETCHLET_CONF_CONF_H
#define ETCHLET_CONF_CONF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
	CONF_WHY_MAX = 768, /* bytes of an error line, NUL included */
	CONF_OPTION_MAX = 48, /* rows that the table of options may have */
	CONF_OPERAND_MAX = 2,
	CONF_WATCH_OPTION_MAX = 40, /* the same of a section */
	CONF_HELP = 1, /* conf_load(): --help was met, and nothing else was looked at */
};

/* The commands, as a set: which of them an option is for. */
enum conf_command_set {
	CONF_RUN = 1,
	CONF_WATCH = 2,
	CONF_GET = 4,
	CONF_CHECK = 8,
	CONF_STATUS = 16,
	CONF_STATE = 32,
	CONF_VERSION = 64,
	CONF_HELPING = 128,
};

/* How a command is called. */
struct conf_command {
	const char *name;
	const char *operands; /* for a person: "KEY [RANGE_END]" */
	const char *summary; /* one line for a person */
	uint8_t set; /* its bit of enum conf_command_set */
	uint8_t operand_min;
	uint8_t operand_max; /* at most CONF_OPERAND_MAX */
};

/* Any bytes, NUL included; p is NULL when it was not given. */
struct conf_bytes {
	const uint8_t *p;
	size_t len;
};

struct conf_endpoint {
	const char *host; /* a name or an address, IPv6 without brackets */
	uint16_t port;
	bool is_tls;
};

struct conf_proxy {
	const char *
		host; /* a name or an address, IPv6 without brackets; NULL: there is no such proxy */
	uint16_t port;
	bool is_socks; /* SOCKS5, else HTTP */
	const char *user, *password; /* decoded; both or neither */
};

enum conf_durability {
	CONF_DURABILITY_NORMAL,
	CONF_DURABILITY_RELAXED,
};

enum conf_write_out {
	CONF_WRITE_OUT_SIMPLE,
	CONF_WRITE_OUT_JSON,
};

enum conf_on_reject {
	CONF_ON_REJECT_HOLD,
	CONF_ON_REJECT_SKIP,
};

/* A section [watch NAME] of the file. %i, %h and %% are replaced. */
struct conf_watch {
	const char *name;
	struct conf_bytes key; /* may be empty when is_prefix: every key there is */
	struct conf_bytes range_end; /* never with is_prefix */
	bool is_prefix;
	bool is_prev_kv;
	/* Sinks: at least one of them is not NULL. */
	const char *mirror; /* a folder */
	char *const *exec; /* a program and its arguments, NULL at the end */
	const char *print; /* "-" or a path */
	const char *post; /* a URL */
	const char *fetch; /* a folder; never with mirror */
	/* and their options */
	uint32_t mirror_mode; /* of files, 0 to 0777 */
	const char *mirror_owner; /* user[:group], names or numbers */
	bool is_mirror_adopt;
	int64_t exec_timeout_ms;
	int64_t settle_ms;
	uint8_t post_on_reject; /* enum conf_on_reject */
	int64_t post_timeout_ms;
	const char *post_token_path; /* NULL: none */
	uint64_t fetch_rate; /* bytes a second, 0: no limit */
	uint64_t fetch_max_len; /* bytes of one artifact */
	int64_t fetch_timeout_ms;
	uint32_t fetch_mode; /* of files, 0 to 0777 */
	const char *fetch_owner; /* as mirror_owner */
	const char *fetch_pubkey; /* path; NULL: artifacts need no signature */
	const char *http_cacert, *http_cert, *http_key; /* paths, of post and fetch; NULL: none */
	/* where it and its options stand, for messages */
	uint16_t line;
	uint16_t lines[CONF_WATCH_OPTION_MAX]; /* private; 0: not given */
};

struct conf {
	/* Options, in the order of the table in options.c. */
	const char *config_path;
	const char *cacert, *cert, *key; /* paths */
	bool is_insecure; /* any server certificate is accepted */
	const char *
		no_proxy; /* hosts that are reached without a proxy, those of the environment too; NULL: none */
	const char *user; /* without its password; NULL: no authentication */
	const char *password; /* with user one of these two is given */
	const char *password_path;
	int64_t dial_timeout_ms;
	int64_t command_timeout_ms;
	int64_t keepalive_time_ms;
	int64_t keepalive_timeout_ms;
	int64_t probe_interval_ms;
	int64_t idle_after_ms; /* greater than probe_interval_ms */
	int64_t backoff_min_ms;
	int64_t backoff_max_ms; /* at least backoff_min_ms */
	uint64_t max_value_len;
	const char *state_path; /* NULL: none */
	int64_t state_interval_ms;
	uint8_t durability; /* enum conf_durability */
	const char *control_path;
	const char *metrics_path; /* NULL: none */
	int64_t metrics_interval_ms;
	uint8_t log_level; /* enum log_level */
	bool is_syslog;
	bool is_once;
	int64_t timeout_ms; /* 0: none; never without is_once */
	char *const
		*forget; /* watches whose positions are to be forgotten, NULL at the end; or NULL */
	bool is_prefix;
	bool is_prev_kv;
	bool is_progress_notify;
	int64_t rev; /* 0: none */
	uint8_t write_out; /* enum conf_write_out */
	bool is_json;
	bool is_repeated; /* status --watch */

	/* What follows from them. */
	struct conf_endpoint endpoints[CONFIG_CONF_ENDPOINT_COUNT];
	size_t endpoint_count; /* 1 or more for the commands that connect */
	struct conf_proxy proxy; /* the one that was configured, for everything */
	struct conf_proxy
		https_proxy; /* of the environment, when none was: for https, and for etcd */
	struct conf_proxy http_proxy; /* the same for http */
	const char *device; /* the device id */
	const char *host; /* the host name */
	struct conf_watch watches[CONFIG_CONF_WATCH_COUNT];
	size_t watch_count;

	/* The words of the command line that are no options. */
	const char *operands[CONF_OPERAND_MAX];
	size_t operand_count;
	bool has_file; /* a configuration file was read */
	char *const *exec; /* what follows "--", NULL at the end; NULL when there is no "--" */
	const struct conf_command *command;

	/* private */
	int argc, command_at;
	char *const *argv;
	const char *endpoints_text;
	const char *device_text;
	const char *proxy_text; /* NULL: nothing was said */
	uint16_t where
		[CONF_OPTION_MAX]; /* the line of the file, or CONF_WHERE_ARGV; 0: the default */
	size_t text_len;
	_Alignas(void *) char text[CONFIG_CONF_TEXT_BYTES];
	char why[CONF_WHY_MAX];
};

/* Where the command's name stands in argv: options may come before it. argc when there is none. */
int conf_command_find(int argc, char *const argv[]);

/*
 * Fills conf from the words of argv but [0] and [command_at], from the file that they or the
 * build's default name, and from the defaults. As long as conf is used, argv must stay as it is and
 * conf where it is: it points into itself.
 *
 * 0; CONF_HELP; or ERR_CONFIG, and conf->why is one line for a person, without "etchlet: " and
 * without a line end, that names the word, and file and line when it stands in the file. It holds
 * no password.
 */
int conf_load(struct conf *conf, const struct conf_command *command, int argc, char *const argv[],
	int command_at);

/* Loads into conf what old was loaded from, as it is now. Results as conf_load(), never CONF_HELP. */
int conf_reload(struct conf *conf, const struct conf *old);

/*
 * What only shows later to be wrong with an option: writes conf->why, with where it was given in
 * front. Always ERR_CONFIG.
 */
int conf_refuse(struct conf *conf, const char *option, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
/* The same of a watch, one of conf->watches; value: the word at fault, NULL: none. */
int conf_refuse_watch(struct conf *conf, const struct conf_watch *w, const char *option,
	const char *value, const char *fmt, ...) __attribute__((format(printf, 5, 6)));
/* conf_refuse() for a line that begins with a path which one of the options named. */
int conf_refuse_file(struct conf *conf, const char *why);

/* NULL when there is no section of that name. */
const struct conf_watch *conf_watch_find(const struct conf *conf, const char *name);
/* Whether two sections ask for the same; where they stand does not count. */
bool conf_watch_is_same(const struct conf_watch *a, const struct conf_watch *b);
/* Whether mirror-mode was given, or is the default. */
bool conf_watch_has_mirror_mode(const struct conf_watch *w);
/* Bytes that conf_watch_copy() needs for what a watch points to. */
size_t conf_watch_len(const struct conf_watch *w);
/* A copy that points into mem, of conf_watch_len() bytes, aligned for pointers. */
void conf_watch_copy(struct conf_watch *dst, const struct conf_watch *src, void *mem);

/* Overwrites the passwords, and everything else, with zeros. */
void conf_wipe(struct conf *conf);

/* Something that is allowed and seldom wise. */
struct conf_warning {
	const char *about; /* the option */
	const char *what;
	const char *advice;
};

/* 1 and *w is filled, or 0 when there are not more than index of them. */
int conf_warning(const struct conf *conf, unsigned index, struct conf_warning *w);

enum {
	CONF_ENDPOINT_TEXT_MAX = 288,
};

/* "https://[::1]:2379". Returns dst. */
char *conf_endpoint_format(char dst[CONF_ENDPOINT_TEXT_MAX], const struct conf_endpoint *endpoint);

/* Called with pieces of the text about the options of a command; for help. */
typedef void conf_help_fn(void *user, const char *text, size_t len);

/* The options of the commands in set, with their defaults, in lines of at most 80 columns. */
void conf_help(unsigned set, conf_help_fn *fn, void *user);

#endif
