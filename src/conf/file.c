/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The configuration file. It is read as a whole into conf->text and taken apart there: what a value
 * stands for is never longer than how it is written, so it is put in the same place, and a NUL
 * after it.
 */
#include <string.h>

#include "base/err.h"
#include "conf/options.h"
#include "port/port.h"

struct file {
	struct conf *conf;
	struct conf_at at; /* the word that is looked at */
	char *p; /* where it is read */
	char *end; /* of the line: may be overwritten with a NUL */
	struct conf_watch *watch; /* the section; NULL: before the first one */
	uint64_t seen; /* options of conf_options[] that were met */
	uint64_t watch_seen; /* options of conf_watch_options[] that were met in this section */
};

static bool is_blank(char c)
{
	return c == ' ' || (c >= '\t' && c <= '\r');
}

static void skip_blanks(struct file *f)
{
	while (f->p < f->end && is_blank(*f->p))
		f->p++;
}

/* After blanks (or at the start of the line): whether nothing but a comment follows. */
static bool is_line_over(struct file *f, const char *start)
{
	skip_blanks(f);
	return f->p == f->end || (*f->p == '#' && (f->p == start || is_blank(f->p[-1])));
}

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c = (char)(c | 0x20);
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* What follows an opening quote goes to *dst, which moves on; f->p moves behind the closing one. */
static int quoted_take(struct file *f, char **dst)
{
	while (f->p < f->end) {
		char c = *f->p++;

		if (c == '"')
			return 0;
		if (c == '\\') {
			size_t left = (size_t)(f->end - f->p);

			c = left ? *f->p++ : '\0';
			if (c == 'x') {
				int high = left > 1 ? hex_digit(f->p[0]) : -1;
				int low = left > 2 ? hex_digit(f->p[1]) : -1;

				if (high < 0 || low < 0)
					return conf_fail(
						&f->at, "has a \\x without two hex digits");
				f->p += 2;
				c = (char)(high * 16 + low);
			} else if (c != '"' && c != '\\') {
				return conf_fail(
					&f->at, "has a \\ before what is not \", \\ or xNN");
			}
		}
		*(*dst)++ = c;
	}
	return conf_fail(&f->at, "lacks a closing quote");
}

/* The rest of the line as one value, into f->at. */
static int value_take(struct file *f)
{
	char *start, *dst;

	f->at.value = NULL;
	if (is_line_over(f, NULL))
		return conf_fail(&f->at, "needs a value");
	start = dst = f->p;
	if (*f->p == '"') {
		f->p++;
		if (quoted_take(f, &dst) < 0)
			return ERR_CONFIG;
		if (!is_line_over(f, NULL))
			return conf_fail(&f->at, "has something after its closing quote");
	} else {
		while (f->p < f->end && !(*f->p == '#' && is_blank(f->p[-1])))
			f->p++;
		for (dst = f->p; is_blank(dst[-1]);)
			dst--;
	}
	*dst = '\0';
	f->at.value = start;
	f->at.len = (size_t)(dst - start);
	return 0;
}

/* The rest of the line as a program and its arguments. */
static int words_take(struct file *f, char *const **out)
{
	char *start, *dst, **words;
	const char *behind_blank = NULL;
	size_t count = 0;

	f->at.value = NULL;
	skip_blanks(f);
	start = dst = f->p;
	while (!is_line_over(f, behind_blank)) {
		char *word = dst;

		while (f->p < f->end && !is_blank(*f->p)) {
			if (*f->p != '"') {
				*dst++ = *f->p++;
				continue;
			}
			f->p++;
			if (quoted_take(f, &dst) < 0)
				return ERR_CONFIG;
		}
		if (memchr(word, '\0', (size_t)(dst - word)))
			return conf_fail(&f->at, "holds a NUL byte");
		/* The blank behind the word is passed before it is overwritten. */
		f->p += f->p < f->end;
		behind_blank = f->p;
		*dst++ = '\0';
		count++;
	}
	if (!count || !*start)
		return conf_fail(&f->at, "needs a program");
	words = conf_take(f->conf, (count + 1) * sizeof(*words), sizeof(*words));
	if (!words)
		return conf_fail_room(&f->at);
	for (size_t i = 0; i < count; i++) {
		words[i] = start;
		start += strlen(start) + 1;
		if (conf_expand_word(&f->at, &words[i]) < 0)
			return ERR_CONFIG;
	}
	words[count] = NULL;
	*out = words;
	return 0;
}

/* NAME = VALUE */
static int line_option(struct file *f)
{
	const struct conf_option *table = f->watch ? conf_watch_options : conf_options;
	size_t count = f->watch ? CONF_WATCH_OPTION_COUNT : CONF_OPTION_COUNT;
	const struct conf_option *o;
	const char *name = f->p;
	size_t i, len;

	while (f->p < f->end && !is_blank(*f->p) && *f->p != '=')
		f->p++;
	len = (size_t)(f->p - name);
	f->at.option = NULL;
	f->at.value = name;
	f->at.len = len;
	skip_blanks(f);
	if (f->p == f->end || *f->p++ != '=')
		return conf_fail(&f->at, "is not followed by =");
	o = conf_option_find(table, count, name, len);
	if (!o && conf_option_find(conf_watch_options, CONF_WATCH_OPTION_COUNT, name, len))
		return conf_fail(&f->at, "belongs in a section [watch NAME]");
	if (!o && conf_option_find(conf_options, CONF_OPTION_COUNT, name, len))
		return conf_fail(&f->at, "belongs before the first section");
	if (!o || (o->flags & CONF_NOT_IN_FILE))
		return conf_fail(&f->at, "is not known here");
	i = (size_t)(o - table);
	if (f->watch ? f->watch_seen >> i & 1 : f->seen >> i & 1)
		return conf_fail(&f->at, "is given twice");
	f->at.option = o;
	if (f->watch) {
		f->watch_seen |= UINT64_C(1) << i;
		f->watch->lines[i] = f->at.line;
		if (o->kind == CONF_KIND_WORDS)
			return words_take(f, &f->watch->exec);
		return value_take(f) < 0 ? ERR_CONFIG : conf_option_set(&f->at, f->watch);
	}
	f->seen |= UINT64_C(1) << i;
	if (value_take(f) < 0)
		return ERR_CONFIG;
	if (f->conf->where[i] == CONF_WHERE_ARGV)
		return conf_option_set(&f->at, NULL);
	f->conf->where[i] = f->at.line;
	return conf_option_set(&f->at, f->conf);
}

static bool has_been_seen(const struct file *f, enum conf_watch_option_index i)
{
	return f->watch_seen >> i & 1;
}

/* The section's name, on the line of one of its options. */
static struct conf_at section_at_option(const struct file *f, enum conf_watch_option_index option)
{
	struct conf_at at = f->at;

	at.line = f->watch->lines[option];
	return at;
}

/* An option of a sink without the sink does nothing, and is a mistake then. */
static int section_fail_alone(const struct file *f, enum conf_watch_option_index option,
	enum conf_watch_option_index sink)
{
	const struct conf_at at = section_at_option(f, option);

	if (!has_been_seen(f, option) || has_been_seen(f, sink))
		return 0;
	return conf_fail(&at, "has %s without %s", conf_watch_options[option].name,
		conf_watch_options[sink].name);
}

static int section_check_key(const struct file *f)
{
	const struct conf_watch *w = f->watch;
	const struct conf_bytes *key = &w->key, *end = &w->range_end;
	size_t common = key->len < end->len ? key->len : end->len;
	bool is_open = end->len == 1 && !end->p[0]; /* "\0": every key from key on */
	int order;

	if (!key->p)
		return conf_fail(&f->at, "has no key");
	if (!key->len && !w->is_prefix && !end->p)
		return conf_fail(&f->at, "has an empty key and no prefix");
	if (!end->p)
		return 0;
	if (w->is_prefix)
		return conf_fail(&f->at, "has prefix and range-end");
	if (w->mirror)
		return conf_fail(&f->at, "has mirror, which needs prefix or a single key");
	order = common ? memcmp(key->p, end->p, common) : 0;
	if (!is_open && (order > 0 || (!order && key->len >= end->len)))
		return conf_fail(&f->at, "has a range-end that is not above its key");
	return 0;
}

static int section_check_http(const struct file *f)
{
	const struct conf_watch *w = f->watch;

	const struct conf_at at = section_at_option(f, w->http_cacert ? CONF_W_HTTP_CACERT
						       : w->http_cert ? CONF_W_HTTP_CERT
								      : CONF_W_HTTP_KEY);

	if ((w->http_cacert || w->http_cert || w->http_key) && !w->post && !w->fetch)
		return conf_fail(
			&at, "has http-cacert, http-cert or http-key without post or fetch");
	if (w->http_cert && !w->http_key)
		return section_fail_alone(f, CONF_W_HTTP_CERT, CONF_W_HTTP_KEY);
	if (w->http_key && !w->http_cert)
		return section_fail_alone(f, CONF_W_HTTP_KEY, CONF_W_HTTP_CERT);
	return 0;
}

/* At the end of a section. */
static int section_check(struct file *f)
{
	static const struct {
		uint8_t option, sink;
	} of_sinks[] = {
		{CONF_W_MIRROR_MODE, CONF_W_MIRROR},
		{CONF_W_MIRROR_OWNER, CONF_W_MIRROR},
		{CONF_W_MIRROR_ADOPT, CONF_W_MIRROR},
		{CONF_W_EXEC_TIMEOUT, CONF_W_EXEC},
		{CONF_W_POST_ON_REJECT, CONF_W_POST},
		{CONF_W_POST_TIMEOUT, CONF_W_POST},
		{CONF_W_POST_TOKEN_FILE, CONF_W_POST},
		{CONF_W_FETCH_RATE, CONF_W_FETCH},
		{CONF_W_FETCH_MAX_SIZE, CONF_W_FETCH},
		{CONF_W_FETCH_TIMEOUT, CONF_W_FETCH},
		{CONF_W_FETCH_MODE, CONF_W_FETCH},
		{CONF_W_FETCH_OWNER, CONF_W_FETCH},
		{CONF_W_FETCH_PUBKEY, CONF_W_FETCH},
	};
	const struct conf_watch *w = f->watch;

	if (!w)
		return 0;
	f->at = (struct conf_at){
		.conf = f->conf, .line = w->line, .value = w->name, .len = strlen(w->name)};
	if (section_check_key(f) < 0)
		return ERR_CONFIG;
	if (!w->mirror && !w->exec && !w->print && !w->post && !w->fetch)
		return conf_fail(&f->at, "has no mirror, exec, print, post or fetch");
	if (w->mirror && w->fetch)
		return conf_fail(&f->at, "has mirror and fetch; make two watches of it");
	for (size_t i = 0; i < sizeof(of_sinks) / sizeof(of_sinks[0]); i++) {
		if (section_fail_alone(f, of_sinks[i].option, of_sinks[i].sink) < 0)
			return ERR_CONFIG;
	}
	return section_check_http(f);
}

static int section_start(struct file *f, char *name, size_t len)
{
	struct conf *conf = f->conf;

	for (size_t i = 0; i < conf->watch_count; i++) {
		const char *other = conf->watches[i].name;

		if (strlen(other) == len && !memcmp(other, name, len))
			return conf_fail(&f->at, "is given twice");
	}
	if (conf->watch_count == CONFIG_CONF_WATCH_COUNT)
		return conf_fail(&f->at, "is one more than the %d watches of this build",
			CONFIG_CONF_WATCH_COUNT);
	f->watch = &conf->watches[conf->watch_count++];
	f->watch->line = f->at.line;
	f->watch->name = name;
	name[len] = '\0';
	f->watch_seen = 0;
	for (size_t i = 0; i < CONF_WATCH_OPTION_COUNT; i++) {
		f->at.option = &conf_watch_options[i];
		f->at.value = f->at.option->preset;
		if (!f->at.value)
			continue;
		f->at.len = strlen(f->at.value);
		if (conf_option_set(&f->at, f->watch) < 0)
			return ERR_BUG;
	}
	return 0;
}

/* [watch NAME] */
static int line_section(struct file *f)
{
	static const char watch[] = "watch";
	char *start = f->p++, *name;
	uint16_t line = f->at.line;
	size_t len;

	if (section_check(f) < 0)
		return ERR_CONFIG;
	f->at = (struct conf_at){
		.conf = f->conf, .line = line, .value = start, .len = (size_t)(f->end - start)};
	skip_blanks(f);
	if ((size_t)(f->end - f->p) <= sizeof(watch) ||
		memcmp(f->p, watch, sizeof(watch) - 1) != 0 || !is_blank(f->p[sizeof(watch) - 1]))
		return conf_fail(&f->at, "is not [watch NAME]");
	f->p += sizeof(watch);
	skip_blanks(f);
	name = f->p;
	while (f->p < f->end && *f->p != ']' && !is_blank(*f->p))
		f->p++;
	len = (size_t)(f->p - name);
	skip_blanks(f);
	if (f->p == f->end || *f->p++ != ']' || !is_line_over(f, NULL))
		return conf_fail(&f->at, "is not [watch NAME]");
	f->at.value = name;
	f->at.len = len;
	if (!conf_is_name(name, len))
		return conf_fail(&f->at, "is not a name of 1 to %d letters, digits, - _ .",
			CONF_NAME_MAX_LEN);
	return section_start(f, name, len);
}

/* The next component of a path, without "." and empty ones; its length is 0 at the end. */
static const char *component_next(const char *path, size_t *len)
{
	for (;; path += *len) {
		path += strspn(path, "/");
		*len = strcspn(path, "/");
		if (*len != 1 || *path != '.')
			return path;
	}
}

static bool is_one_in_another(const char *a, const char *b)
{
	size_t a_len, b_len;

	/* Whether a relative path leads into an absolute one can't be seen here. */
	if ((*a == '/') != (*b == '/'))
		return false;
	for (;;) {
		a = component_next(a, &a_len);
		b = component_next(b, &b_len);
		if (!a_len || !b_len)
			return true;
		if (a_len != b_len || memcmp(a, b, a_len) != 0)
			return false;
		a += a_len;
		b += b_len;
	}
}

/* What a watch keeps files in: its mirror's folder or that of its artifacts; NULL: none. */
static const char *folder_of(const struct conf_watch *w)
{
	return w->mirror ? w->mirror : w->fetch;
}

/* Each would take the other's files for its own. */
static int check_folders(struct conf *conf)
{
	for (size_t i = 0; i < conf->watch_count; i++) {
		const struct conf_watch *w = &conf->watches[i];
		const struct conf_at at = {
			.conf = conf, .line = w->line, .value = w->name, .len = strlen(w->name)};

		for (size_t j = 0; j < i; j++) {
			const struct conf_watch *other = &conf->watches[j];

			if (folder_of(w) && folder_of(other) &&
				is_one_in_another(folder_of(w), folder_of(other)))
				return conf_fail(&at, "has its %s in that of '%s', or around it",
					w->mirror && other->mirror ? "mirror" : "folder",
					other->name);
		}
	}
	return 0;
}

static int lines_take(struct file *f, char *text, size_t len)
{
	char *next = text, *end = text + len;

	for (uint16_t line = 1; next < end; line++) {
		char *start = next;

		f->at = (struct conf_at){.conf = f->conf, .line = line};
		f->p = start;
		f->end = memchr(start, '\n', (size_t)(end - start));
		if (!f->end)
			f->end = end;
		next = f->end + 1;
		if (memchr(start, '\0', (size_t)(f->end - start)))
			return conf_fail(&f->at, "holds a NUL byte");
		if (is_line_over(f, start))
			continue;
		if ((*f->p == '[' ? line_section(f) : line_option(f)) < 0)
			return ERR_CONFIG;
	}
	if (section_check(f) < 0)
		return ERR_CONFIG;
	return check_folders(f->conf);
}

int conf_file_load(struct conf *conf, bool is_required)
{
	static const char mark[] = "\xEF\xBB\xBF"; /* a byte order mark, which some editors put */
	struct file f = {.conf = conf};
	struct conf_at at = {.conf = conf,
		.option = &conf_options[CONF_O_CONFIG],
		.value = conf->config_path,
		.len = strlen(conf->config_path)};
	char *text = conf->text + conf->text_len;
	size_t room = sizeof(conf->text) - conf->text_len;
	ssize_t n = port_file_read(conf->config_path, text, room - 1);
	size_t skip = 0;

	if (n == ERR_NOENT && !is_required)
		return 0;
	if (n == ERR_LIMIT)
		return conf_fail(&at, "is longer than the %zu bytes there is room for", room - 1);
	if (n < 0)
		return conf_fail(&at, "cannot be read: %s", err_text((int)n));
	conf->has_file = true;
	text[n] = '\0';
	conf->text_len += (size_t)n + 1;
	if (!strncmp(text, mark, sizeof(mark) - 1))
		skip = sizeof(mark) - 1;
	return lines_take(&f, text + skip, (size_t)n - skip);
}
