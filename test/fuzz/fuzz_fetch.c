/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What comes from elsewhere before anything is asked for: the value of a key, which anyone who may write to etcd has made; the record of a
 * key, from a disk; and, for a URL that was taken, which proxy leads there. The first byte says which.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "net/proxy.h"
#include "sink/fetch_record.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(int is_true)
{
	if (!is_true)
		abort();
}

static void check_want(const struct fetch_want *w)
{
	check(strlen(w->url) < sizeof(w->url) && strlen(w->sig) < sizeof(w->sig));
	check(fetch_name_is_good(w->name, strlen(w->name)) && !strchr(w->name, '/'));
	check(w->name[0] != '.' && w->size >= -1);
	for (const char *p = w->url; *p; p++)
		check(*p > 0x20 && *p < 0x7f);
}

/* The key is what stands before the first line end. */
static void try_value(const uint8_t *data, size_t size)
{
	const uint8_t *end = memchr(data, '\n', size);
	size_t key_len = end ? (size_t)(end - data) : 0;
	size_t len = end ? size - key_len - 1 : size;
	/* A copy of its own, so that a sanitizer sees a read past the end. */
	char *text = malloc(len ? len : 1);
	static struct fetch_want w;
	char why[FETCH_WHY_MAX];
	int err;

	check(text != NULL);
	memcpy(text, data + size - len, len);
	memset(&w, 0xa5, sizeof(w));
	err = fetch_value_parse(&w, text, len, data, key_len, why, sizeof(why));
	free(text);
	if (err) {
		check(!w.url[0] && strlen(why) > 0 && strlen(why) < sizeof(why));
		return;
	}
	check(w.url[0] != '\0');
	check_want(&w);
	check(fetch_want_is_same(&w, &w));
}

static void try_record(const uint8_t *data, size_t size)
{
	static const uint8_t hash[FETCH_HASH_LEN] = "0123456789abcdef";
	static struct fetch_record r, again;
	uint8_t bytes[FETCH_RECORD_MAX], *copy = malloc(size ? size : 1);
	size_t len;

	check(copy != NULL);
	memcpy(copy, data, size);
	if (fetch_record_decode(&r, copy, size, hash)) {
		len = fetch_record_encode(bytes, &r);
		check(len == size && !memcmp(bytes, data, size));
		check(fetch_record_decode(&again, bytes, len, hash));
	}
	free(copy);
}

/* The list is what stands before the first line end, the host what follows. */
static void try_proxy(const uint8_t *data, size_t size)
{
	const struct proxy proxy = {.kind = PROXY_HTTP, .host = "p", .port = 1};
	char *text = malloc(size + 1), *host;
	struct proxy_set set = {.configured = &proxy};

	check(text != NULL);
	memcpy(text, data, size);
	text[size] = '\0';
	host = strchr(text, '\n');
	if (host) {
		*host++ = '\0';
		set.no_proxy = text;
		check(proxy_is_exempt(text, host, 443) ==
			!proxy_find(&set, PROXY_FOR_HTTPS, host, 443));
	}
	free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (!size)
		return 0;
	switch (data[0] % 3) {
	case 0:
		try_value(data + 1, size - 1);
		break;
	case 1:
		try_record(data + 1, size - 1);
		break;
	default:
		try_proxy(data + 1, size - 1);
	}
	return 0;
}
