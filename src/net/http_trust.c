/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Certificates and keys from files. All who ask for the same files in the same turn of the loop, which is at the
 * start or at a reload, share what was read: a bundle of authorities is large.
 */
#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "base/heap.h"
#include "net/http_private.h"

struct http_trust {
	struct http_trust *next;
	unsigned users;
	const struct loop *loop;
	int64_t read_ms;
	struct tls_context *tls;
	size_t names_len;
	char names[]; /* of the three files, one after the other */
};

static struct http_trust *trusts;

/* Writes the names with a NUL behind each, where dst is not NULL. Returns their length. */
static size_t names_put(char *dst, const struct tls_files *files)
{
	const char *const names[] = {files->cacert, files->cert, files->key};
	size_t len = 0;

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		const char *name = names[i] ? names[i] : "";
		size_t name_len = strlen(name) + 1;

		if (dst)
			memcpy(dst + len, name, name_len);
		len += name_len;
	}
	return len;
}

static struct http_trust *trust_find(const struct loop *loop, const struct http_trust *like)
{
	for (struct http_trust *t = trusts; t; t = t->next) {
		if (t->loop == loop && t->read_ms == loop->now_ms &&
			t->names_len == like->names_len &&
			!memcmp(t->names, like->names, like->names_len))
			return t;
	}
	return NULL;
}

int http_trust_enter(struct http_trust **out, const struct loop *loop,
	const struct tls_files *files, char *why, size_t why_cap)
{
	size_t len = names_put(NULL, files);
	struct http_trust *t = heap_calloc(1, sizeof(*t) + len), *same;
	int err;

	*out = NULL;
	if (!t) {
		(void)snprintf(why, why_cap, "%s", err_text(ERR_NOMEM));
		return ERR_NOMEM;
	}
	t->names_len = names_put(t->names, files);
	same = trust_find(loop, t);
	err = same ? 0 : tls_context_load(&t->tls, files, why, why_cap);
	if (err || same) {
		heap_free(t);
		t = same;
	} else {
		t->loop = loop;
		t->read_ms = loop->now_ms;
		t->next = trusts;
		trusts = t;
	}
	if (err)
		return err;
	t->users++;
	*out = t;
	return 0;
}

struct tls_context *http_trust_tls(const struct http_trust *t)
{
	return t ? t->tls : NULL;
}

void http_trust_leave(struct http_trust *t)
{
	struct http_trust **at = &trusts;

	if (!t || --t->users)
		return;
	while (*at != t)
		at = &(*at)->next;
	*at = t->next;
	tls_context_free(t->tls);
	heap_free(t);
}
