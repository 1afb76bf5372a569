/* SPDX-License-Identifier: Apache-2.0 */
/* Who this device is, and the words in which %i and %h stand for it. */
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "conf/options.h"
#include "port/port.h"

enum {
	DEVICE_MAX = 255, /* bytes of a device id */
};

static bool is_cut_off(char c)
{
	return !c || c == ' ' || (c >= '\t' && c <= '\r');
}

/* Device trees end their strings with NUL, shells theirs with a line end. */
static int device_from_file(const struct conf_at *at, const char **out, const char *path)
{
	char text[DEVICE_MAX + 1];
	ssize_t n = port_file_read(path, text, sizeof(text));

	if (n < 0 && n != ERR_LIMIT)
		return conf_fail(at, "cannot be read: %s", err_text((int)n));
	while (n > 0 && is_cut_off(text[n - 1]))
		n--;
	if (n < 0 || n > DEVICE_MAX)
		return conf_fail(at, "is longer than %d bytes", DEVICE_MAX);
	return conf_copy(at, out, text, (size_t)n);
}

static int device_check(const struct conf_at *at, const char *device, size_t len)
{
	if (!len)
		return conf_fail(at, "is empty");
	if (len > DEVICE_MAX)
		return conf_fail(at, "is longer than %d bytes", DEVICE_MAX);
	for (size_t i = 0; i < len; i++) {
		if ((unsigned char)device[i] < 0x20 || device[i] == 0x7f)
			return conf_fail(at, "holds a control character");
	}
	return 0;
}

int conf_device_read(struct conf *conf)
{
	static const char file[] = "file:", env[] = "env:";
	struct conf_at at = conf_at_option(conf, CONF_O_DEVICE_ID);
	char host[PORT_HOST_MAX];

	if (conf->device)
		return 0;
	at.value = conf->device_text;
	if (port_host_name(host, sizeof(host)) < 0)
		host[0] = '\0';
	if (conf_copy(&at, &conf->host, host, strlen(host)) < 0)
		return ERR_CONFIG;
	if (!conf->device_text) {
		conf->device = conf->host;
		return 0;
	}
	at.len = strlen(at.value);
	if (!strncmp(at.value, file, sizeof(file) - 1)) {
		size_t start = conf->text_len;

		if (device_from_file(&at, &conf->device, at.value + sizeof(file) - 1) < 0)
			return ERR_CONFIG;
		/* With its NUL, and so with any NUL inside, which is a control character. */
		return device_check(&at, conf->device, conf->text_len - start - 1);
	}
	conf->device = at.value;
	if (!strncmp(at.value, env, sizeof(env) - 1)) {
		conf->device = getenv(at.value + sizeof(env) - 1);
		if (!conf->device)
			return conf_fail(&at, "is not set");
	}
	return device_check(&at, conf->device, strlen(conf->device));
}

static int expand(const struct conf_at *at, struct conf_bytes *out, const char *src, size_t len,
	bool is_strict)
{
	struct conf *conf = at->conf;
	const char *end;
	size_t start;

	if (memchr(src, '%', len) && conf_device_read(conf) < 0)
		return ERR_CONFIG;
	start = conf->text_len;
	for (size_t i = 0; i < len; i++) {
		const char *piece = src + i;
		size_t piece_len = 1;
		char *dst;

		if (src[i] == '%') {
			char letter = i + 1 < len ? src[i + 1] : '\0';

			if (letter == 'i' || letter == 'h' || letter == '%')
				i++;
			else if (is_strict)
				return conf_fail(at, "has a %% that is not %%i, %%h or %%%%");
			piece = letter == 'i' ? conf->device : letter == 'h' ? conf->host : src + i;
			piece_len = letter == 'i' || letter == 'h' ? strlen(piece) : 1;
			if (!piece_len)
				return conf_fail(
					at, "has %%%c, and the host name is empty", letter);
		}
		dst = conf_take(conf, piece_len, 1);
		if (!dst)
			return conf_fail_room(at);
		memcpy(dst, piece, piece_len);
	}
	out->p = (const uint8_t *)conf->text + start;
	out->len = conf->text_len - start;
	if (out->len > CONFIG_ETCD_KEY_BYTES)
		return conf_fail(at, "is longer than %d bytes", CONFIG_ETCD_KEY_BYTES);
	return conf_copy(at, &end, "", 0);
}

int conf_expand(const struct conf_at *at, struct conf_bytes *out, const char *src, size_t len)
{
	return expand(at, out, src, len, true);
}

int conf_expand_word(const struct conf_at *at, char **word)
{
	struct conf_bytes out = {0};

	if (!strchr(*word, '%'))
		return 0;
	if (expand(at, &out, *word, strlen(*word), false) < 0)
		return ERR_CONFIG;
	*word = at->conf->text + ((const char *)out.p - at->conf->text);
	return 0;
}
