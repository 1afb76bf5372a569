/* SPDX-License-Identifier: Apache-2.0 */
/* Magic, numbers in little endian at fixed places, strings with their lengths in front, CRC-32 of all that. */
#include "sink/fetch_record.h"

#include <string.h>

#include "base/crc32.h"

static const uint8_t magic[8] = {'e', 't', 'f', 'e', 't', 'c', 'h', 1};

enum { CRC_LEN = 4 };

_Static_assert(sizeof(magic) + FETCH_HASH_LEN + 2 * TLS_SHA256_LEN + 6 * 8 + 1 + 7 * 2 +
			       FETCH_KEY_SHOWN + HTTP_URL_MAX + 2 * FETCH_NAME_MAX + FETCH_SIG_MAX +
			       FETCH_WHY_MAX + HTTP_VALIDATOR_MAX + FETCH_BOOT_MAX + CRC_LEN <=
		       FETCH_RECORD_MAX,
	"the largest record has room");

/* One way through the fields for both directions, so that they cannot differ. */
struct cursor {
	uint8_t *dst; /* NULL while decoding */
	const uint8_t *src;
	size_t at, len;
	bool is_bad;
};

static void pass_bytes(struct cursor *c, void *p, size_t len)
{
	if (c->is_bad || len > c->len - c->at) {
		c->is_bad = true;
		return;
	}
	if (c->dst)
		memcpy(c->dst + c->at, p, len);
	else
		memcpy(p, c->src + c->at, len);
	c->at += len;
}

static void pass_number(struct cursor *c, uint64_t *n, unsigned bytes)
{
	uint8_t b[8] = {0};

	for (unsigned i = 0; i < bytes; i++)
		b[i] = (uint8_t)(*n >> 8 * i);
	pass_bytes(c, b, bytes);
	*n = 0;
	for (unsigned i = 0; i < bytes; i++)
		*n |= (uint64_t)b[i] << 8 * i;
}

static void pass_signed(struct cursor *c, int64_t *n)
{
	uint64_t u = (uint64_t)*n;

	pass_number(c, &u, 8);
	*n = (int64_t)u;
}

/* At most max bytes, which *len tells. */
static void pass_block(struct cursor *c, void *p, size_t *len, size_t max)
{
	uint64_t n = *len;

	pass_number(c, &n, 2);
	if (n > max)
		c->is_bad = true;
	*len = c->is_bad ? 0 : (size_t)n;
	pass_bytes(c, p, *len);
}

static void pass_string(struct cursor *c, char *s, size_t cap)
{
	size_t len = c->dst ? strlen(s) : 0;

	pass_block(c, s, &len, cap - 1);
	if (c->dst)
		return;
	s[len] = '\0';
	if (strlen(s) != len)
		c->is_bad = true;
}

static void pass_record(struct cursor *c, struct fetch_record *r)
{
	uint64_t refused = (uint64_t)r->refused, mtime_ns = r->mtime_ns, claimed = r->is_claimed;

	pass_bytes(c, r->hash, sizeof(r->hash));
	pass_signed(c, &r->rev);
	pass_number(c, &refused, 1);
	pass_number(c, &claimed, 1);
	pass_signed(c, &r->want.size);
	pass_bytes(c, r->want.sha256, sizeof(r->want.sha256));
	pass_bytes(c, r->placed_sha256, sizeof(r->placed_sha256));
	pass_number(c, &r->placed_len, 8);
	pass_signed(c, &r->mtime_s);
	pass_number(c, &mtime_ns, 4);
	pass_block(c, r->key, &r->key_len, sizeof(r->key));
	pass_string(c, r->want.url, sizeof(r->want.url));
	pass_string(c, r->want.name, sizeof(r->want.name));
	pass_string(c, r->want.sig, sizeof(r->want.sig));
	pass_string(c, r->why, sizeof(r->why));
	pass_string(c, r->placed_name, sizeof(r->placed_name));
	pass_string(c, r->validator, sizeof(r->validator));
	pass_string(c, r->boot, sizeof(r->boot));
	r->mtime_ns = (uint32_t)mtime_ns;
	r->is_claimed = claimed != 0;
	if (refused >= FETCH_REFUSAL_COUNT || claimed > 1)
		c->is_bad = true;
	else
		r->refused = (enum fetch_refusal)refused;
}

size_t fetch_record_encode(uint8_t dst[FETCH_RECORD_MAX], const struct fetch_record *r)
{
	struct cursor c = {.dst = dst, .at = sizeof(magic), .len = FETCH_RECORD_MAX};
	struct fetch_record copy = *r;
	uint64_t crc;

	memcpy(dst, magic, sizeof(magic));
	pass_record(&c, &copy);
	crc = crc32_update(0, dst, c.at);
	pass_number(&c, &crc, CRC_LEN);
	return c.at;
}

/* Whether names lead to nothing else than a file in the folder, whoever has written the record. */
static bool is_safe(const struct fetch_record *r)
{
	size_t name_len = strlen(r->want.name), placed_len = strlen(r->placed_name);

	return (!name_len || fetch_name_is_good(r->want.name, name_len)) &&
	       (!placed_len || fetch_name_is_good(r->placed_name, placed_len)) &&
	       r->want.size >= -1 && (!r->is_claimed || name_len) &&
	       (r->want.url[0] ? name_len > 0 : r->refused != 0);
}

bool fetch_record_decode(
	struct fetch_record *r, const uint8_t *src, size_t len, const uint8_t hash[FETCH_HASH_LEN])
{
	struct cursor c = {.src = src, .at = sizeof(magic), .len = len};
	uint64_t crc = 0;
	size_t body_len;

	*r = (struct fetch_record){0};
	if (len < sizeof(magic) || memcmp(src, magic, sizeof(magic)) != 0)
		return false;
	pass_record(&c, r);
	body_len = c.at;
	pass_number(&c, &crc, CRC_LEN);
	return !c.is_bad && c.at == len && crc == crc32_update(0, src, body_len) &&
	       memcmp(r->hash, hash, FETCH_HASH_LEN) == 0 && is_safe(r);
}
