/* SPDX-License-Identifier: Apache-2.0 */
/*
 * jsmn cuts the text into tokens. It is lenient about what stands between them, so that is looked at here, for the
 * object itself; what lies deeper belongs to members that nobody asks for.
 */
#include "sink/fetch_value.h"

#include <stdio.h>
#include <string.h>

#define JSMN_STATIC
#define JSMN_STRICT
#include <jsmn.h>

#include "base/err.h"

enum {
	TOKEN_COUNT = 64,
	MEMBER_NAME_MAX = 8, /* bytes of a name that is looked for, NUL included, and more */
};

enum member {
	MEMBER_URL,
	MEMBER_SHA256,
	MEMBER_SIZE,
	MEMBER_NAME,
	MEMBER_SIG,
	MEMBER_COUNT,
};

static const char *const member_names[MEMBER_COUNT] = {"url", "sha256", "size", "name", "sig"};

struct parse {
	struct fetch_want *want;
	const char *text;
	size_t len;
	jsmntok_t tokens[TOKEN_COUNT];
	unsigned count;
	bool has[MEMBER_COUNT], is_null[MEMBER_COUNT];
	char *why;
	size_t why_cap;
};

/* The same for a person. */
static const char *const member_labels[MEMBER_COUNT] = {
	"url", "sha256", "size", "name", "the signature in sig"};

static int refuse(const struct parse *p, const char *what, const char *how)
{
	(void)snprintf(p->why, p->why_cap, "%s%s%s", what, *what ? " " : "", how);
	return ERR_CONFIG;
}

static int hex_digit(char c)
{
	return c >= '0' && c <= '9'   ? c - '0'
	       : c >= 'a' && c <= 'f' ? c - 'a' + 10
	       : c >= 'A' && c <= 'F' ? c - 'A' + 10
				      : -1;
}

/* The escape behind a backslash: its character, and *len bytes of it; -1: none that stands for printable ASCII. */
static int unescape(const char *p, size_t left, size_t *len)
{
	int code = 0;

	*len = 1;
	if (!left)
		return -1;
	if (*p == '"' || *p == '\\' || *p == '/')
		return *p;
	if (*p != 'u' || left < 5)
		return -1;
	for (int i = 1; i <= 4; i++) {
		int digit = hex_digit(p[i]);

		if (digit < 0)
			return -1;
		code = code << 4 | digit;
	}
	*len = 5;
	return code > 0x20 && code < 0x7f ? code : -1;
}

/* A string of printable ASCII without a blank, terminated: its length; ERR_LIMIT; or ERR_RANGE: there is something else in it. */
static ssize_t take_string(const struct parse *p, const jsmntok_t *t, char *dst, size_t cap)
{
	size_t n = 0;

	for (size_t i = (size_t)t->start; i < (size_t)t->end; i++) {
		int c = (uint8_t)p->text[i];
		size_t escape_len;

		if (c == '\\') {
			c = unescape(p->text + i + 1, (size_t)t->end - i - 1, &escape_len);
			if (c < 0)
				return ERR_RANGE;
			i += escape_len;
		}
		if (c <= 0x20 || c >= 0x7f)
			return ERR_RANGE;
		if (n + 1 >= cap)
			return ERR_LIMIT;
		dst[n++] = (char)c;
	}
	dst[n] = '\0';
	return (ssize_t)n;
}

static bool is_blank(char c)
{
	return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

/* Whether there are only blanks from *at to end, and once the byte what among them ('\0': none). */
static bool is_between(const struct parse *p, size_t at, size_t end, char what)
{
	bool has = !what;

	if (at > end)
		return false;
	for (; at < end; at++) {
		if (is_blank(p->text[at]))
			continue;
		if (has || p->text[at] != what)
			return false;
		has = true;
	}
	return has;
}

/* Where a token begins and ends, quotes included. */
static size_t begin_of(const jsmntok_t *t)
{
	return (size_t)t->start - (t->type == JSMN_STRING);
}

static size_t end_of(const jsmntok_t *t)
{
	return (size_t)t->end + (t->type == JSMN_STRING);
}

/* RFC 8259 6. */
static bool is_number(const char *s, size_t len)
{
	size_t i = len && *s == '-', digits;

	if (i >= len || (s[i] == '0' && i + 1 < len && s[i + 1] >= '0' && s[i + 1] <= '9'))
		return false;
	for (int part = 0; part < 3; part++) {
		for (digits = 0; i < len && s[i] >= '0' && s[i] <= '9'; i++)
			digits++;
		if (!digits)
			return false;
		if (i < len && s[i] == '.' && part == 0) {
			i++;
			continue;
		}
		if (i < len && (s[i] == 'e' || s[i] == 'E') && part < 2) {
			i++;
			if (i < len && (s[i] == '+' || s[i] == '-'))
				i++;
			part = 1;
			continue;
		}
		break;
	}
	return i == len;
}

static bool is_text(const struct parse *p, const jsmntok_t *t, const char *text)
{
	size_t len = (size_t)(t->end - t->start);

	return len == strlen(text) && memcmp(p->text + t->start, text, len) == 0;
}

static bool is_primitive_good(const struct parse *p, const jsmntok_t *t)
{
	return is_text(p, t, "null") || is_text(p, t, "true") || is_text(p, t, "false") ||
	       is_number(p->text + t->start, (size_t)(t->end - t->start));
}

static int take_size(struct parse *p, const jsmntok_t *t)
{
	int64_t n = 0;

	if (t->type != JSMN_PRIMITIVE)
		return refuse(p, "size", "is not a number");
	for (int i = t->start; i < t->end; i++) {
		char c = p->text[i];

		if (c < '0' || c > '9' || n > (INT64_MAX - (c - '0')) / 10)
			return refuse(p, "size", "is not a whole number of bytes");
		n = n * 10 + (c - '0');
	}
	p->want->size = n;
	return 0;
}

static int take_digest(struct parse *p, const jsmntok_t *t)
{
	char hex[2 * TLS_SHA256_LEN + 1];
	ssize_t n = take_string(p, t, hex, sizeof(hex));

	for (int i = 0; n == (ssize_t)sizeof(hex) - 1 && i < TLS_SHA256_LEN; i++) {
		int high = hex_digit(hex[2 * i]), low = hex_digit(hex[2 * i + 1]);

		if (high < 0 || low < 0)
			n = ERR_RANGE;
		else
			p->want->sha256[i] = (uint8_t)(high << 4 | low);
	}
	return n == (ssize_t)sizeof(hex) - 1 ? 0 : refuse(p, "sha256", "is not 64 hex digits");
}

/* One of the members that count, with a value that is not null. */
static int take_member(struct parse *p, enum member which, const jsmntok_t *t)
{
	struct fetch_want *w = p->want;
	char *dst = which == MEMBER_URL ? w->url : which == MEMBER_NAME ? w->name : w->sig;
	size_t cap = which == MEMBER_URL    ? sizeof(w->url)
		     : which == MEMBER_NAME ? sizeof(w->name)
					    : sizeof(w->sig);
	ssize_t n;

	if (which == MEMBER_SIZE)
		return take_size(p, t);
	if (t->type != JSMN_STRING)
		return refuse(p, member_labels[which], "is not a string");
	if (which == MEMBER_SHA256)
		return take_digest(p, t);
	n = take_string(p, t, dst, cap);
	if (n == ERR_LIMIT)
		return refuse(p, member_labels[which], "is too long");
	if (n < 0)
		return refuse(p, member_labels[which], "holds what is not printable ASCII");
	return n ? 0 : refuse(p, member_labels[which], "is empty");
}

/* The member at tokens[at] and [at + 1]. */
static int take_pair(struct parse *p, unsigned at)
{
	const jsmntok_t *key = &p->tokens[at], *value = &p->tokens[at + 1];
	char name[MEMBER_NAME_MAX];
	ssize_t len = take_string(p, key, name, sizeof(name));
	unsigned which = 0;

	if (value->type == JSMN_PRIMITIVE && !is_primitive_good(p, value))
		return refuse(p, "", "it is not JSON");
	while (which < MEMBER_COUNT && (len < 0 || strcmp(name, member_names[which]) != 0))
		which++;
	if (which == MEMBER_COUNT)
		return 0;
	if (p->has[which])
		return refuse(p, member_labels[which], "stands twice");
	p->has[which] = true;
	p->is_null[which] = value->type == JSMN_PRIMITIVE && is_text(p, value, "null");
	return p->is_null[which] ? 0 : take_member(p, (enum member)which, value);
}

/* What belongs to token at: the first one that does not. */
static unsigned skip(const struct parse *p, unsigned at)
{
	unsigned next = at + 1;

	while (next < p->count && p->tokens[next].start < p->tokens[at].end)
		next++;
	return next;
}

static int take_object(struct parse *p)
{
	const jsmntok_t *object = &p->tokens[0];
	size_t at = (size_t)object->start + 1;
	unsigned i = 1;

	if (object->type != JSMN_OBJECT)
		return refuse(p, "", "it is not a JSON object");
	if (!is_between(p, 0, (size_t)object->start, '\0') ||
		!is_between(p, (size_t)object->end, p->len, '\0'))
		return refuse(p, "", "there is something beside the JSON object");
	while (i < p->count) {
		const jsmntok_t *key = &p->tokens[i], *value = key + 1;
		int err;

		if (i + 1 >= p->count || key->type != JSMN_STRING || key->size != 1 ||
			!is_between(p, at, begin_of(key), i > 1 ? ',' : '\0') ||
			!is_between(p, end_of(key), begin_of(value), ':'))
			return refuse(p, "", "it is not JSON");
		err = take_pair(p, i);
		if (err)
			return err;
		at = end_of(value);
		i = skip(p, i + 1);
	}
	return is_between(p, at, (size_t)object->end - 1, '\0') ? 0
								: refuse(p, "", "it is not JSON");
}

bool fetch_name_is_good(const char *name, size_t len)
{
	static const char marks[] = "._-+,=@:~";

	for (size_t i = 0; i < len; i++) {
		char c = name[i];

		if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
			    (c && strchr(marks, c))))
			return false;
	}
	return len && len < FETCH_NAME_MAX && name[0] != '.';
}

static int take_name(struct parse *p, const uint8_t *key, size_t key_len)
{
	const char *name = p->want->name;
	size_t from = key_len;

	if (p->has[MEMBER_NAME] && !p->is_null[MEMBER_NAME])
		return fetch_name_is_good(name, strlen(name))
			       ? 0
			       : refuse(p, "name", "is not one that a file here may have");
	while (from && key[from - 1] != '/')
		from--;
	if (!fetch_name_is_good((const char *)key + from, key_len - from))
		return refuse(p, "",
			"the last part of the key is no name for a file, and there is no \"name\"");
	memcpy(p->want->name, key + from, key_len - from);
	return 0;
}

int fetch_value_parse(struct fetch_want *w, const char *text, size_t len, const uint8_t *key,
	size_t key_len, char *why, size_t why_cap)
{
	struct parse p = {.want = w, .text = text, .len = len, .why = why, .why_cap = why_cap};
	jsmn_parser parser;
	int n, err;

	*w = (struct fetch_want){.size = -1};
	jsmn_init(&parser);
	/* To jsmn a NUL is the end. */
	n = memchr(text, '\0', len) ? JSMN_ERROR_INVAL
				    : jsmn_parse(&parser, text, len, p.tokens, TOKEN_COUNT);
	if (n == JSMN_ERROR_NOMEM)
		err = refuse(&p, "", "it has too many members");
	else if (n < 1)
		err = refuse(&p, "", "it is not JSON");
	else
		err = 0;
	p.count = err ? 0 : (unsigned)n;
	if (!err)
		err = take_object(&p);
	if (!err && (!p.has[MEMBER_URL] || p.is_null[MEMBER_URL]))
		err = refuse(&p, "url", "is missing");
	if (!err && (!p.has[MEMBER_SHA256] || p.is_null[MEMBER_SHA256]))
		err = refuse(&p, "sha256", "is missing");
	if (!err)
		err = take_name(&p, key, key_len);
	if (err)
		*w = (struct fetch_want){.size = -1};
	return err;
}

bool fetch_want_is_same(const struct fetch_want *a, const struct fetch_want *b)
{
	return strcmp(a->url, b->url) == 0 && strcmp(a->name, b->name) == 0 &&
	       strcmp(a->sig, b->sig) == 0 && a->size == b->size &&
	       memcmp(a->sha256, b->sha256, sizeof(a->sha256)) == 0;
}
