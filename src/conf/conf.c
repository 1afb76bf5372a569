/* SPDX-License-Identifier: Apache-2.0 */
#include "conf/conf.h"

#include <string.h>

#include "base/err.h"
#include "base/kconfig.h"
#include "base/wipe.h"
#include "conf/options.h"
#include "conf/value.h"
#include "port/port.h"

enum {
	KEEPALIVE_WISE_MS =
		10000, /* etcd's default refuses to be pinged more often than each 5 s */

	CONNECTING = CONF_RUN | CONF_WATCH | CONF_GET | CONF_CHECK,
};

void *conf_take(struct conf *conf, size_t len, size_t align)
{
	size_t start = (conf->text_len + align - 1) & ~(align - 1);

	if (start > sizeof(conf->text) || len > sizeof(conf->text) - start)
		return NULL;
	conf->text_len = start + len;
	return conf->text + start;
}

int conf_copy(const struct conf_at *at, const char **out, const char *src, size_t len)
{
	char *dst = conf_take(at->conf, len + 1, 1);

	if (!dst)
		return conf_fail_room(at);
	memcpy(dst, src, len);
	dst[len] = '\0';
	*out = dst;
	return 0;
}

bool conf_is_name(const char *name, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		char c = name[i];

		if (!((c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
			    c == '-' || c == '_' || c == '.'))
			return false;
	}
	return len && len <= CONF_NAME_MAX_LEN;
}

bool conf_has_nul(const struct conf_at *at)
{
	return at->len && memchr(at->value, '\0', at->len) != NULL;
}

static bool is_word(const struct conf_at *at, const char *word)
{
	return strlen(word) == at->len && !memcmp(word, at->value, at->len);
}

static int set_switch(const struct conf_at *at, bool *dst)
{
	bool is_file = at->line != 0;
	bool is_on = is_word(at, "true") || (is_file && is_word(at, "yes"));

	if (!is_on && !is_word(at, "false") && !(is_file && is_word(at, "no")))
		return conf_fail(at, "is not one of %strue and false", is_file ? "yes, no, " : "");
	*dst = is_on;
	return 0;
}

static int set_choice(const struct conf_at *at, uint8_t *dst)
{
	const char *words = at->option->arg;

	for (uint8_t i = 0;; i++) {
		size_t len = strcspn(words, "|");

		if (len == at->len && !memcmp(words, at->value, len)) {
			*dst = i;
			return 0;
		}
		if (!words[len])
			return conf_fail(at, "is not one of %s", at->option->arg);
		words += len + 1;
	}
}

/* A mirror is told from the others by its path alone: ".." could make two of one folder. */
static bool has_dot_dot(const char *path)
{
	while (*path) {
		size_t len = strcspn(path, "/");

		if (len == 2 && !memcmp(path, "..", 2))
			return true;
		path += len + (path[len] == '/');
	}
	return false;
}

static int set_text(const struct conf_at *given, const char **dst)
{
	struct conf_at expanded = *given;
	const struct conf_at *at = &expanded;
	struct conf_bytes text;
	const char *colon;

	if (!at->len && !(at->option->flags & CONF_MAY_BE_EMPTY))
		return conf_fail(at, "is empty");
	if (conf_has_nul(at))
		return conf_fail(at, "holds a NUL byte");
	if (at->option->flags & CONF_EXPANDED) {
		if (conf_expand(at, &text, at->value, at->len) < 0)
			return ERR_CONFIG;
		expanded.value = (const char *)text.p;
		expanded.len = text.len;
	}
	switch (at->option->kind) {
	case CONF_KIND_ENDPOINTS:
		if (conf_endpoints_parse(at, false, false) < 0)
			return ERR_CONFIG;
		break;
	case CONF_KIND_FOLDER:
		if (has_dot_dot(at->value))
			return conf_fail(at, "may not have '..' in it");
		break;
	case CONF_KIND_OWNER:
		colon = strchr(at->value, ':');
		if (colon == at->value || (colon && (!colon[1] || strchr(colon + 1, ':'))))
			return conf_fail(at, "is not USER or USER:GROUP");
		break;
	default:
		break;
	}
	*dst = at->value;
	return 0;
}

/* NAME,NAME... with blanks around the commas. */
static int set_names(const struct conf_at *at, char *const **dst)
{
	const char *p = at->value, *end = p + at->len;
	struct conf_at item = *at;
	char **names;
	size_t count = 1;

	for (const char *q = p; q < end; q++)
		count += *q == ',';
	names = conf_take(at->conf, (count + 1) * sizeof(*names), sizeof(*names));
	if (!names)
		return conf_fail_room(at);
	for (size_t i = 0; i < count; i++) {
		const char *comma = memchr(p, ',', (size_t)(end - p));
		const char *copy = NULL;

		item.value = p;
		item.len = (size_t)((comma ? comma : end) - p);
		p = comma ? comma + 1 : end;
		for (; item.len && strchr(" \t", *item.value); item.len--)
			item.value++;
		while (item.len && strchr(" \t", item.value[item.len - 1]))
			item.len--;
		if (!conf_is_name(item.value, item.len))
			return conf_fail(&item, "is not the name of a watch");
		if (conf_copy(&item, &copy, item.value, item.len) < 0)
			return ERR_CONFIG;
		names[i] = (char *)copy;
	}
	names[count] = NULL;
	*dst = names;
	return 0;
}

int conf_option_set(const struct conf_at *at, void *base)
{
	union {
		struct conf_bytes bytes;
		int64_t number;
		char *const *names;
	} ignored;
	const struct conf_option *o = at->option;
	void *dst = base ? (void *)((char *)base + o->offset) : &ignored;
	const char *why = NULL;

	switch (o->kind) {
	case CONF_KIND_SWITCH:
		return set_switch(at, dst);
	case CONF_KIND_CHOICE:
		return set_choice(at, dst);
	case CONF_KIND_BYTES:
		if (!at->len && !(o->flags & CONF_MAY_BE_EMPTY))
			return conf_fail(at, "is empty");
		return conf_expand(at, dst, at->value, at->len);
	case CONF_KIND_DURATION:
	case CONF_KIND_DURATION_0:
		why = conf_duration_parse(dst, at->value, at->len);
		if (!why && o->kind == CONF_KIND_DURATION && !*(int64_t *)dst)
			why = "is too short";
		break;
	case CONF_KIND_SIZE:
		why = conf_size_parse(dst, at->value, at->len);
		break;
	case CONF_KIND_REVISION:
		/* Beyond it no server of etcd counts. */
		why = conf_number_parse(dst, at->value, at->len, (UINT64_C(1) << 62) - 1);
		break;
	case CONF_KIND_NAMES:
		return set_names(at, dst);
	case CONF_KIND_MODE:
		why = conf_mode_parse(dst, at->value, at->len);
		break;
	default:
		return set_text(at, dst);
	}
	return why ? conf_fail(at, "%s", why) : 0;
}

/* -- the command line ------------------------------------------------------------------------- */

struct word {
	const struct conf_option *option; /* NULL: unknown */
	const char *value; /* within the same word; NULL: none */
	size_t name_len; /* dashes included */
};

/* Takes "--name=value", "-xvalue" and "-x=value" apart. */
static struct word word_parse(const char *text)
{
	struct word w = {.name_len = strcspn(text, "=")};

	if (text[1] == '-') {
		w.option =
			conf_option_find(conf_options, CONF_OPTION_COUNT, text + 2, w.name_len - 2);
		w.value = text[w.name_len] ? text + w.name_len + 1 : NULL;
		return w;
	}
	for (size_t i = 0; i < CONF_OPTION_COUNT; i++) {
		if (conf_options[i].letter == text[1])
			w.option = &conf_options[i];
	}
	if (w.option && text[2])
		w.value = text + 2 + (text[2] == '=');
	return w;
}

static bool is_option(const char *text)
{
	return text[0] == '-' && text[1];
}

int conf_command_find(int argc, char *const argv[])
{
	for (int i = 1; i < argc; i++) {
		struct word w;

		if (!strcmp(argv[i], "--"))
			return argc;
		if (!is_option(argv[i]))
			return i;
		w = word_parse(argv[i]);
		if (w.option && !w.value && w.option->kind != CONF_KIND_SWITCH)
			i++;
	}
	return argc;
}

/* argv[*at_word] and the word after it, if that is its value. */
static int argv_option(struct conf *conf, int argc, char *const argv[], int *at_word)
{
	const char *text = argv[*at_word];
	struct conf_at at = {.conf = conf, .value = text};
	struct word w;
	size_t i;

	if (!strcmp(text, "-h") || !strcmp(text, "--help"))
		return CONF_HELP;
	w = word_parse(text);
	at.len = w.name_len;
	if (!w.option)
		return conf_fail(&at, "is not an option");
	if (!(w.option->commands & conf->command->set))
		return conf_fail(&at, "is not an option of %s", conf->command->name);
	if (!w.value && w.option->kind == CONF_KIND_SWITCH)
		w.value = "true";
	if (!w.value && *at_word + 1 < argc)
		w.value = argv[++*at_word];
	if (!w.value)
		return conf_fail(&at, "needs a value");
	at.option = w.option;
	at.value = w.value;
	at.len = strlen(w.value);
	i = (size_t)(w.option - conf_options);
	conf->where[i] = CONF_WHERE_ARGV;
	return conf_option_set(&at, conf);
}

static int argv_operand(struct conf *conf, const char *text)
{
	struct conf_at at = {.conf = conf, .value = text, .len = strlen(text)};

	if (conf->operand_count >= conf->command->operand_max)
		return conf_fail(&at, "is one word too many");
	conf->operands[conf->operand_count++] = text;
	return 0;
}

static int argv_load(struct conf *conf, int argc, char *const argv[], int command_at)
{
	struct conf_at at = {.conf = conf};
	bool is_option_ended = false;

	for (int i = 1; i < argc; i++) {
		int r = 0;

		if (i == command_at)
			continue;
		if (is_option_ended || !is_option(argv[i])) {
			r = argv_operand(conf, argv[i]);
		} else if (strcmp(argv[i], "--") != 0) {
			r = argv_option(conf, argc, argv, &i);
		} else if (conf->command->set & CONF_WATCH) {
			conf->exec = &argv[i + 1];
			break;
		} else {
			is_option_ended = true;
		}
		if (r)
			return r;
	}
	if (conf->operand_count < conf->command->operand_min)
		return conf_fail(&at, "%s needs %s", conf->command->name, conf->command->operands);
	if (conf->exec && !conf->exec[0])
		return conf_fail(&at, "-- needs a command after it");
	return 0;
}

/* -- what must fit together ------------------------------------------------------------------- */

/* Of two that do not fit, the one is blamed that was given. */
static int fail_pair(struct conf *conf, enum conf_option_index a, const char *why_a,
	enum conf_option_index b, const char *why_b)
{
	return conf->where[a] ? conf_fail_option(conf, a, why_a) : conf_fail_option(conf, b, why_b);
}

static int conf_fail_control(struct conf *conf)
{
	struct conf_at at = conf_at_option(conf, CONF_O_CONTROL);

	return conf_fail(&at, "is %zu bytes long: the path of a socket has %d at most",
		strlen(conf->control_path), PORT_LOCAL_PATH_MAX - 1);
}

static int check_pairs(struct conf *conf)
{
	if (conf->idle_after_ms <= conf->probe_interval_ms)
		return fail_pair(conf, CONF_O_IDLE_AFTER, "must be more than probe-interval",
			CONF_O_PROBE_INTERVAL, "must be less than idle-after");
	if (conf->backoff_max_ms < conf->backoff_min_ms)
		return fail_pair(conf, CONF_O_BACKOFF_MAX, "must not be less than backoff-min",
			CONF_O_BACKOFF_MIN, "must not be more than backoff-max");
	if (conf->cert && !conf->key)
		return conf_fail_option(conf, CONF_O_CERT, "needs key");
	if (conf->key && !conf->cert)
		return conf_fail_option(conf, CONF_O_KEY, "needs cert");
	/* The file is there for "run --once" too. */
	if (conf->where[CONF_O_TIMEOUT] && !conf->is_once && (conf->command->set & CONF_RUN))
		return conf_fail_option(conf, CONF_O_TIMEOUT, "needs once");
	/* Whether it is the path of a socket at all, and nothing that time will mend. */
	if (IS_ENABLED(CONFIG_CMD_STATUS) && (conf->command->set & (CONF_RUN | CONF_CHECK)) &&
		strlen(conf->control_path) >= PORT_LOCAL_PATH_MAX)
		return conf_fail_control(conf);
	if (conf->is_prefix && conf->operand_count > 1) {
		if (conf->where[CONF_O_PREFIX] == CONF_WHERE_ARGV)
			return conf_fail_option(conf, CONF_O_PREFIX, "does not go with RANGE_END");
		conf->is_prefix = false;
	}
	return 0;
}

/* How strong a setting is. */
static int rank(const struct conf *conf, enum conf_option_index i)
{
	uint16_t where = conf->where[i];

	return where == CONF_WHERE_ARGV ? 2 : where ? 1 : 0;
}

/* One password: in user, by password or by password-file, the command line's over the file's. */
static int check_user(struct conf *conf)
{
	struct conf_at at = conf_at_option(conf, CONF_O_USER);
	int by_option = rank(conf, CONF_O_PASSWORD), by_file = rank(conf, CONF_O_PASSWORD_FILE);
	int by_user, best = by_option > by_file ? by_option : by_file;
	struct conf_bytes name;
	const char *colon;
	size_t len;

	if (!conf->user) {
		if (!best)
			return 0;
		return conf_fail_option(conf,
			by_option == best ? CONF_O_PASSWORD : CONF_O_PASSWORD_FILE, "needs user");
	}
	len = strcspn(conf->user, ":");
	colon = conf->user[len] ? conf->user + len : NULL;
	by_user = colon ? rank(conf, CONF_O_USER) : 0;
	best = by_user > best ? by_user : best;
	if (!best)
		return conf_fail(&at, "needs a password: NAME:PASSWORD, password or password-file");
	if (by_option == best && by_file == best)
		return conf_fail_option(conf, CONF_O_PASSWORD_FILE, "does not go with password");
	if (by_user == best && (by_option == best || by_file == best))
		return conf_fail(&at, "has a password, and another one is given");
	if (by_user == best)
		conf->password = colon + 1;
	if (by_file == best)
		conf->password = NULL;
	else
		conf->password_path = NULL;
	if (!len)
		return conf_fail(&at, "has no name");
	if (conf_expand(&at, &name, conf->user, len) < 0)
		return ERR_CONFIG;
	conf->user = (const char *)name.p;
	return 0;
}

static int check_endpoints(struct conf *conf)
{
	struct conf_at at = conf_at_option(conf, CONF_O_ENDPOINTS);
	bool is_tls = conf->cacert || conf->cert || conf->key || conf->is_insecure;

	at.value = conf->endpoints_text;
	at.len = strlen(at.value);
	return conf_endpoints_parse(&at, true, is_tls);
}

/* Without proxies the environment is not asked either. */
static int proxy_read(struct conf *conf)
{
	static const char missing[] = "is not part of this build (NET_PROXY)";

	if (IS_ENABLED(CONFIG_NET_PROXY))
		return conf_proxy_read(conf);
	if (conf->proxy_text)
		return conf_fail_option(conf, CONF_O_PROXY, missing);
	return conf->no_proxy ? conf_fail_option(conf, CONF_O_NO_PROXY, missing) : 0;
}

/* It would be kept, forgotten and kept again. */
static int check_forget(struct conf *conf)
{
	struct conf_at at = conf_at_option(conf, CONF_O_FORGET);

	for (char *const *name = conf->forget; name && *name; name++) {
		at.value = *name;
		at.len = strlen(at.value);
		if (conf_watch_find(conf, *name))
			return conf_fail(&at, "has a section in the file");
	}
	return 0;
}

static void presets_set(struct conf *conf)
{
	struct conf_at at = {.conf = conf};

	for (size_t i = 0; i < CONF_OPTION_COUNT; i++) {
		at.option = &conf_options[i];
		at.value = at.option->preset;
		if (!at.value)
			continue;
		at.len = strlen(at.value);
		/* Fails for no preset but the build's endpoints, which are looked at again. */
		(void)conf_option_set(&at, conf);
	}
}

int conf_load(struct conf *conf, const struct conf_command *command, int argc, char *const argv[],
	int command_at)
{
	int r;

	memset(conf, 0, offsetof(struct conf, text));
	conf->command = command;
	conf->argc = argc;
	conf->argv = argv;
	conf->command_at = command_at;
	presets_set(conf);
	conf->endpoints_text = CONFIG_DEFAULT_ENDPOINTS;
	conf->why[0] = '\0';
	r = argv_load(conf, argc, argv, command_at);
	if (r)
		return r;
	if (!(command->set & (CONNECTING | CONF_STATUS)))
		return 0;
	/* Whoever names the socket gets an answer, whatever has become of the file. */
	if ((command->set & CONF_STATUS) && conf->where[CONF_O_CONTROL] &&
		!conf->where[CONF_O_CONFIG])
		return 0;
	r = conf_file_load(conf, (command->set & CONF_RUN) || conf->where[CONF_O_CONFIG]);
	if (r || !(command->set & CONNECTING))
		return r;
	if (!conf->state_path && (command->set & (CONF_RUN | CONF_CHECK)))
		conf->state_path = CONFIG_DEFAULT_STATE_PATH;
	r = check_pairs(conf);
	if (!r)
		r = check_endpoints(conf);
	if (!r)
		r = proxy_read(conf);
	if (!r)
		r = conf_device_read(conf);
	if (!r)
		r = check_user(conf);
	return r ? r : check_forget(conf);
}

int conf_reload(struct conf *conf, const struct conf *old)
{
	return conf_load(conf, old->command, old->argc, old->argv, old->command_at);
}

void conf_wipe(struct conf *conf)
{
	wipe(conf, sizeof(*conf));
}

static bool has_plain_endpoint(const struct conf *conf)
{
	for (size_t i = 0; i < conf->endpoint_count; i++) {
		if (!conf->endpoints[i].is_tls)
			return true;
	}
	return false;
}

int conf_warning(const struct conf *conf, unsigned index, struct conf_warning *w)
{
	if (conf->is_insecure && !index--) {
		*w = (struct conf_warning){"insecure-skip-tls-verify",
			"server certificates are not verified", "use cacert instead"};
		return 1;
	}
	if (conf->keepalive_time_ms < KEEPALIVE_WISE_MS && !index--) {
		*w = (struct conf_warning){"keepalive-time",
			"below 10s: etcd may refuse to be pinged so often", "use 10s or more"};
		return 1;
	}
	if (has_plain_endpoint(conf) && (conf->cacert || conf->cert) && !index--) {
		*w = (struct conf_warning){"endpoints",
			"http:// although certificates are given: nothing is encrypted or verified there",
			"write https://"};
		return 1;
	}
	return 0;
}
