/* SPDX-License-Identifier: Apache-2.0 */
#include "base/base64.h"

static const char base64_alphabet[] =
	"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

static void base64_group(char *dst, uint8_t a, uint8_t b, uint8_t c)
{
	dst[0] = base64_alphabet[a >> 2];
	dst[1] = base64_alphabet[(a & 3) << 4 | b >> 4];
	dst[2] = base64_alphabet[(b & 15) << 2 | c >> 6];
	dst[3] = base64_alphabet[c & 63];
}

size_t base64_put(
	struct base64 *b, char *dst, size_t cap, size_t *used, const uint8_t *src, size_t len)
{
	size_t in = 0, out = 0;

	*used = 0;
	if (cap < 4)
		return 0;
	if (b->rest_len) {
		while (b->rest_len < 2 && in < len)
			b->rest[b->rest_len++] = src[in++];
		if (in == len)
			return in;
		base64_group(dst, b->rest[0], b->rest[1], src[in++]);
		b->rest_len = 0;
		out = 4;
	}
	while (len - in >= 3 && cap - out >= 4) {
		base64_group(dst + out, src[in], src[in + 1], src[in + 2]);
		in += 3;
		out += 4;
	}
	if (len - in < 3)
		while (in < len)
			b->rest[b->rest_len++] = src[in++];
	*used = out;
	return in;
}

size_t base64_end(struct base64 *b, char dst[BASE64_END_MAX])
{
	uint8_t n = b->rest_len;

	if (!n)
		return 0;
	base64_group(dst, b->rest[0], n == 2 ? b->rest[1] : 0, 0);
	dst[3] = '=';
	if (n == 1)
		dst[2] = '=';
	b->rest_len = 0;
	return 4;
}
