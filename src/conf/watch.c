/* SPDX-License-Identifier: Apache-2.0 */
/* Sections, seen from outside: finding, comparing and copying one. */
#include <stddef.h>
#include <string.h>

#include "base/err.h"
#include "conf/options.h"

const struct conf_watch *conf_watch_find(const struct conf *conf, const char *name)
{
	for (size_t i = 0; i < conf->watch_count; i++) {
		if (!strcmp(conf->watches[i].name, name))
			return &conf->watches[i];
	}
	return NULL;
}

static bool is_same_text(const char *a, const char *b)
{
	return a && b ? !strcmp(a, b) : a == b;
}

static bool is_same_bytes(const struct conf_bytes *a, const struct conf_bytes *b)
{
	if (!a->p || !b->p)
		return a->p == b->p;
	return a->len == b->len && !memcmp(a->p, b->p, a->len);
}

static bool is_same_list(char *const *a, char *const *b)
{
	if (!a || !b)
		return a == b;
	for (; *a && *b; a++, b++) {
		if (strcmp(*a, *b) != 0)
			return false;
	}
	return !*a && !*b;
}

bool conf_watch_has_mirror_mode(const struct conf_watch *w)
{
	return w->lines[CONF_W_MIRROR_MODE] != 0;
}

static bool is_same_http(const struct conf_watch *a, const struct conf_watch *b)
{
	return is_same_text(a->post, b->post) && a->post_on_reject == b->post_on_reject &&
	       a->post_timeout_ms == b->post_timeout_ms &&
	       is_same_text(a->post_token_path, b->post_token_path) &&
	       is_same_text(a->fetch, b->fetch) && a->fetch_rate == b->fetch_rate &&
	       a->fetch_max_len == b->fetch_max_len && a->fetch_timeout_ms == b->fetch_timeout_ms &&
	       a->fetch_mode == b->fetch_mode && is_same_text(a->fetch_owner, b->fetch_owner) &&
	       is_same_text(a->fetch_pubkey, b->fetch_pubkey) &&
	       is_same_text(a->http_cacert, b->http_cacert) &&
	       is_same_text(a->http_cert, b->http_cert) && is_same_text(a->http_key, b->http_key);
}

bool conf_watch_is_same(const struct conf_watch *a, const struct conf_watch *b)
{
	return is_same_text(a->name, b->name) && is_same_bytes(&a->key, &b->key) &&
	       is_same_bytes(&a->range_end, &b->range_end) && a->is_prefix == b->is_prefix &&
	       a->is_prev_kv == b->is_prev_kv && is_same_text(a->mirror, b->mirror) &&
	       is_same_list(a->exec, b->exec) && is_same_text(a->print, b->print) &&
	       a->mirror_mode == b->mirror_mode &&
	       conf_watch_has_mirror_mode(a) == conf_watch_has_mirror_mode(b) &&
	       is_same_text(a->mirror_owner, b->mirror_owner) &&
	       a->is_mirror_adopt == b->is_mirror_adopt &&
	       a->exec_timeout_ms == b->exec_timeout_ms && a->settle_ms == b->settle_ms &&
	       is_same_http(a, b);
}

static size_t text_len(const char *text)
{
	return text ? strlen(text) + 1 : 0;
}

static size_t list_count(char *const *list)
{
	size_t n = 0;

	while (list && list[n])
		n++;
	return n;
}

/* The members that are strings. */
static const uint16_t texts[] = {
	offsetof(struct conf_watch, name),
	offsetof(struct conf_watch, mirror),
	offsetof(struct conf_watch, print),
	offsetof(struct conf_watch, mirror_owner),
	offsetof(struct conf_watch, post),
	offsetof(struct conf_watch, post_token_path),
	offsetof(struct conf_watch, fetch),
	offsetof(struct conf_watch, fetch_owner),
	offsetof(struct conf_watch, fetch_pubkey),
	offsetof(struct conf_watch, http_cacert),
	offsetof(struct conf_watch, http_cert),
	offsetof(struct conf_watch, http_key),
};

static const char **text_of(struct conf_watch *w, size_t i)
{
	return (const char **)(void *)((char *)w + texts[i]);
}

size_t conf_watch_len(const struct conf_watch *w)
{
	struct conf_watch copy = *w;
	size_t len = w->key.len + 1 + w->range_end.len + 1;

	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
		len += text_len(*text_of(&copy, i));
	if (w->exec)
		len += (list_count(w->exec) + 1) * sizeof(*w->exec);
	for (char *const *p = w->exec; p && *p; p++)
		len += text_len(*p);
	return len;
}

static const char *text_copy(char **mem, const char *text)
{
	char *dst = *mem;

	if (!text)
		return NULL;
	memcpy(dst, text, text_len(text));
	*mem += text_len(text);
	return dst;
}

static struct conf_bytes bytes_copy(char **mem, const struct conf_bytes *b)
{
	struct conf_bytes copy = {(const uint8_t *)*mem, b->len};

	if (!b->p)
		return (struct conf_bytes){NULL, 0};
	memcpy(*mem, b->p, b->len);
	(*mem)[b->len] = '\0';
	*mem += b->len + 1;
	return copy;
}

void conf_watch_copy(struct conf_watch *dst, const struct conf_watch *src, void *mem)
{
	size_t count = list_count(src->exec);
	char *p = mem;

	*dst = *src;
	if (src->exec) {
		char **exec = mem;

		p += (count + 1) * sizeof(*exec);
		for (size_t i = 0; i < count; i++)
			exec[i] = (char *)text_copy(&p, src->exec[i]);
		exec[count] = NULL;
		dst->exec = exec;
	}
	dst->key = bytes_copy(&p, &src->key);
	dst->range_end = bytes_copy(&p, &src->range_end);
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
		*text_of(dst, i) = text_copy(&p, *text_of(dst, i));
}
