/* SPDX-License-Identifier: Apache-2.0 */
#include "net/hpack.h"

#include <string.h>

#include "base/err.h"

/* RFC 7541 appendix A, index 1 first: X(name, value) */
#define STATIC_TABLE(X) \
	X(":authority", "") \
	X(":method", "GET") \
	X(":method", "POST") \
	X(":path", "/") \
	X(":path", "/index.html") \
	X(":scheme", "http") \
	X(":scheme", "https") \
	X(":status", "200") \
	X(":status", "204") \
	X(":status", "206") \
	X(":status", "304") \
	X(":status", "400") \
	X(":status", "404") \
	X(":status", "500") \
	X("accept-charset", "") \
	X("accept-encoding", "gzip, deflate") \
	X("accept-language", "") \
	X("accept-ranges", "") \
	X("accept", "") \
	X("access-control-allow-origin", "") \
	X("age", "") \
	X("allow", "") \
	X("authorization", "") \
	X("cache-control", "") \
	X("content-disposition", "") \
	X("content-encoding", "") \
	X("content-language", "") \
	X("content-length", "") \
	X("content-location", "") \
	X("content-range", "") \
	X("content-type", "") \
	X("cookie", "") \
	X("date", "") \
	X("etag", "") \
	X("expect", "") \
	X("expires", "") \
	X("from", "") \
	X("host", "") \
	X("if-match", "") \
	X("if-modified-since", "") \
	X("if-none-match", "") \
	X("if-range", "") \
	X("if-unmodified-since", "") \
	X("last-modified", "") \
	X("link", "") \
	X("location", "") \
	X("max-forwards", "") \
	X("proxy-authenticate", "") \
	X("proxy-authorization", "") \
	X("range", "") \
	X("referer", "") \
	X("refresh", "") \
	X("retry-after", "") \
	X("server", "") \
	X("set-cookie", "") \
	X("strict-transport-security", "") \
	X("transfer-encoding", "") \
	X("user-agent", "") \
	X("vary", "") \
	X("via", "") \
	X("www-authenticate", "")

enum { STATIC_COUNT = 61 };

/* The texts one behind the other, and their lengths: a walk over 61 pairs of bytes finds any. */
#define TABLE_TEXT(name, value) name value
#define TABLE_LEN(name, value) {sizeof(name) - 1, sizeof(value) - 1},
static const char static_text[] = STATIC_TABLE(TABLE_TEXT);
static const uint8_t static_len[][2] = {STATIC_TABLE(TABLE_LEN)};

_Static_assert(sizeof(static_len) == 2 * STATIC_COUNT, "RFC 7541 appendix A");
_Static_assert(CONFIG_HPACK_TABLE_BYTES <= CONFIG_H2_HEADER_LIST_BYTES,
	"a field that fits into the table must fit behind it while it is decoded");
_Static_assert(CONFIG_HPACK_TABLE_BYTES + CONFIG_H2_HEADER_LIST_BYTES <= UINT16_MAX,
	"places in mem are kept in 16 bits");

/*
 * An entry in mem: length of the name, length of the value, name, value, length of all that; the
 * lengths in 2 bytes each. The first two serve the eviction of the oldest, the last the walk back
 * from the newest. What is added is less than the 32 bytes that the RFC counts.
 */
enum {
	ENTRY_HEAD = 4,
	ENTRY_TAIL = 2,
	TEXT_MAX = CONFIG_H2_HEADER_LIST_BYTES - HPACK_FIELD_OVERHEAD,
};

/*
 * FIELD -> [INT ->] (indexed field, or table size) FIELD
 * FIELD -> [INT ->] [NAME_LEN -> [INT ->] NAME ->] VALUE_LEN -> [INT ->] VALUE -> FIELD
 */
enum state {
	STATE_FIELD, /* the first byte of a representation */
	STATE_NAME_LEN, /* the first byte of a string */
	STATE_VALUE_LEN,
	STATE_INT, /* the second or a later byte of an integer */
	STATE_NAME,
	STATE_VALUE,
};

enum what { WHAT_INDEX, WHAT_TABLE_SIZE, WHAT_NAME_INDEX, WHAT_NAME_LEN, WHAT_VALUE_LEN };

struct field {
	const char *name, *value;
	size_t name_len, value_len;
};

static unsigned get16(const uint8_t *p)
{
	return (unsigned)p[0] << 8 | p[1];
}

static void put16(uint8_t *p, size_t v)
{
	p[0] = (uint8_t)(v >> 8);
	p[1] = (uint8_t)v;
}

void hpack_decoder_init(struct hpack_decoder *d)
{
	memset(d, 0, offsetof(struct hpack_decoder, mem));
	d->size_max = CONFIG_HPACK_TABLE_BYTES;
	if (d->size_max > HPACK_TABLE_DEFAULT)
		d->size_max = HPACK_TABLE_DEFAULT;
	d->is_update_due = CONFIG_HPACK_TABLE_BYTES < HPACK_TABLE_DEFAULT;
}

void hpack_block_begin(struct hpack_decoder *d)
{
	d->state = STATE_FIELD;
	d->is_update_allowed = true;
	d->is_list_over = false;
	d->list_left = CONFIG_H2_HEADER_LIST_BYTES;
}

int hpack_block_end(const struct hpack_decoder *d)
{
	return d->state == STATE_FIELD ? 0 : ERR_HTTP2;
}

/* The static field of an index from 1 to STATIC_COUNT. */
static struct field field_static(uint32_t index)
{
	struct field f = {.name = static_text};
	uint32_t i;

	for (i = 0; i + 1 < index; i++)
		f.name += static_len[i][0] + static_len[i][1];
	f.name_len = static_len[i][0];
	f.value_len = static_len[i][1];
	f.value = f.name + f.name_len;
	return f;
}

/* RFC 7541 2.3.3: the dynamic table follows the static one, newest entry first. */
static int field_at(const struct hpack_decoder *d, uint32_t index, struct field *f)
{
	const uint8_t *p = d->mem + d->tail;

	if (index == 0 || index > STATIC_COUNT + (uint32_t)d->count)
		return ERR_HTTP2;
	if (index <= STATIC_COUNT) {
		*f = field_static(index);
		return 0;
	}
	for (; index > STATIC_COUNT; index--)
		p -= get16(p - ENTRY_TAIL);
	f->name = (const char *)p + ENTRY_HEAD;
	f->name_len = get16(p);
	f->value = f->name + f->name_len;
	f->value_len = get16(p + 2);
	return 0;
}

static void table_shrink(struct hpack_decoder *d, uint32_t size)
{
	while (d->size > size) {
		const uint8_t *p = d->mem + d->head;
		unsigned text_len = get16(p) + get16(p + 2);

		d->size -= text_len + HPACK_FIELD_OVERHEAD;
		d->head = (uint16_t)(d->head + ENTRY_HEAD + text_len + ENTRY_TAIL);
		d->count--;
	}
}

/* The literal at the tail becomes the newest entry. */
static void table_add(struct hpack_decoder *d)
{
	uint8_t *p = d->mem + d->tail;
	uint32_t len = ENTRY_HEAD + d->text_len + ENTRY_TAIL;

	/* RFC 7541 4.4: one that is larger than the table empties it. */
	if (d->text_len > TEXT_MAX || d->text_len + HPACK_FIELD_OVERHEAD > d->size_max) {
		table_shrink(d, 0);
		return;
	}
	table_shrink(d, d->size_max - d->text_len - HPACK_FIELD_OVERHEAD);
	put16(p, d->name_len);
	put16(p + 2, d->text_len - d->name_len);
	put16(p + len - ENTRY_TAIL, len);
	d->tail = (uint16_t)(d->tail + len);
	d->size += d->text_len + HPACK_FIELD_OVERHEAD;
	d->count++;
}

static void tell(struct hpack_decoder *d, const struct field *f, hpack_field_fn *fn, void *user)
{
	size_t size = f->name_len + f->value_len + HPACK_FIELD_OVERHEAD;

	if (size > d->list_left)
		d->is_list_over = true;
	if (d->is_list_over)
		return;
	d->list_left -= (uint32_t)size;
	if (fn)
		fn(user, f->name, f->name_len, f->value, f->value_len);
}

/* How much of the literal's text is kept; what is longer is only counted. */
static size_t text_kept(const struct hpack_decoder *d)
{
	return d->text_len < TEXT_MAX ? d->text_len : TEXT_MAX;
}

static uint8_t *text_end(struct hpack_decoder *d)
{
	return d->mem + d->tail + ENTRY_HEAD + text_kept(d);
}

static int literal_begin(struct hpack_decoder *d, uint32_t name_index)
{
	struct field f;

	if (d->tail > CONFIG_HPACK_TABLE_BYTES) {
		memmove(d->mem, d->mem + d->head, (size_t)(d->tail - d->head));
		d->tail = (uint16_t)(d->tail - d->head);
		d->head = 0;
	}
	d->text_len = 0;
	d->state = STATE_NAME_LEN;
	if (name_index == 0)
		return 0;
	if (field_at(d, name_index, &f))
		return ERR_HTTP2;
	/* A copy: the entry may be evicted when this one is added (RFC 7541 4.4). */
	memcpy(text_end(d), f.name, f.name_len);
	d->text_len = d->name_len = (uint32_t)f.name_len;
	d->state = STATE_VALUE_LEN;
	return 0;
}

static void literal_end(struct hpack_decoder *d, hpack_field_fn *fn, void *user)
{
	struct field f = {.name = (const char *)d->mem + d->tail + ENTRY_HEAD};

	f.name_len = d->name_len;
	f.value = f.name + (d->name_len < TEXT_MAX ? d->name_len : 0);
	f.value_len = d->text_len - d->name_len;
	tell(d, &f, fn, user); /* what was too long to be kept is over the list's limit too */
	if (d->is_indexed)
		table_add(d);
	d->state = STATE_FIELD;
}

/* A string's last byte is in, or it has none. */
static int string_end(struct hpack_decoder *d, hpack_field_fn *fn, void *user)
{
	if (d->is_huffman && huffman_end(&d->huffman))
		return ERR_HTTP2;
	if (d->state == STATE_VALUE) {
		literal_end(d, fn, user);
	} else {
		d->name_len = d->text_len;
		d->state = STATE_VALUE_LEN;
	}
	return 0;
}

static int string_add(struct hpack_decoder *d, const uint8_t *p, size_t len)
{
	size_t room = TEXT_MAX - text_kept(d);
	ssize_t n = (ssize_t)len;

	if (d->is_huffman)
		n = huffman_decode(&d->huffman, p, len, text_end(d), room);
	else if (room)
		memcpy(text_end(d), p, len < room ? len : room);
	if (n < 0)
		return ERR_HTTP2;
	d->text_len += (uint32_t)n;
	d->str_left -= (uint32_t)len;
	return 0;
}

/* RFC 7541 6.3, 4.2 */
static int table_resize(struct hpack_decoder *d)
{
	if (!d->is_update_allowed || d->num > CONFIG_HPACK_TABLE_BYTES)
		return ERR_HTTP2;
	d->is_update_due = false;
	d->size_max = d->num;
	table_shrink(d, d->size_max);
	return 0;
}

static int indexed(struct hpack_decoder *d, hpack_field_fn *fn, void *user)
{
	struct field f;

	/* Nothing is looked up in a list that is over its limit: a byte must not cost a walk. */
	if (d->is_list_over)
		return d->num && d->num <= STATIC_COUNT + (uint32_t)d->count ? 0 : ERR_HTTP2;
	if (field_at(d, d->num, &f))
		return ERR_HTTP2;
	tell(d, &f, fn, user);
	return 0;
}

static int integer_end(struct hpack_decoder *d, hpack_field_fn *fn, void *user)
{
	d->state = STATE_FIELD;
	switch ((enum what)d->what) {
	case WHAT_TABLE_SIZE:
		return table_resize(d);
	case WHAT_INDEX:
		return indexed(d, fn, user);
	case WHAT_NAME_INDEX:
		return literal_begin(d, d->num);
	case WHAT_NAME_LEN:
	case WHAT_VALUE_LEN:
		break;
	}
	d->state = d->what == WHAT_NAME_LEN ? STATE_NAME : STATE_VALUE;
	d->str_left = d->num;
	huffman_init(&d->huffman);
	return d->str_left ? 0 : string_end(d, fn, user);
}

/* RFC 7541 5.1: an integer with prefix_len bits in its first byte. */
static int integer_begin(struct hpack_decoder *d, enum what what, unsigned byte,
	unsigned prefix_len, hpack_field_fn *fn, void *user)
{
	unsigned mask = (1u << prefix_len) - 1;

	d->what = (uint8_t)what;
	d->num = byte & mask;
	if (d->num < mask)
		return integer_end(d, fn, user);
	d->shift = 0;
	d->state = STATE_INT;
	return 0;
}

static int integer_add(struct hpack_decoder *d, unsigned byte, hpack_field_fn *fn, void *user)
{
	/* No number in here needs more than 28 bits; zeros without end are not taken either. */
	if (d->shift > 21)
		return ERR_HTTP2;
	d->num += (uint32_t)(byte & 0x7f) << d->shift;
	d->shift = (uint8_t)(d->shift + 7);
	return byte & 0x80 ? 0 : integer_end(d, fn, user);
}

/* RFC 7541 6: the first bits tell the representation. */
static int field_begin(struct hpack_decoder *d, unsigned byte, hpack_field_fn *fn, void *user)
{
	if ((byte & 0xe0) == 0x20)
		return integer_begin(d, WHAT_TABLE_SIZE, byte, 5, fn, user);
	/* RFC 9113 4.3.1: a peer that was told of a smaller table has to begin with its size. */
	if (d->is_update_due)
		return ERR_HTTP2;
	d->is_update_allowed = false;
	if (byte & 0x80)
		return integer_begin(d, WHAT_INDEX, byte, 7, fn, user);
	d->is_indexed = byte & 0x40;
	return integer_begin(d, WHAT_NAME_INDEX, byte, d->is_indexed ? 6 : 4, fn, user);
}

int hpack_block_decode(
	struct hpack_decoder *d, const uint8_t *p, size_t len, hpack_field_fn *fn, void *user)
{
	while (len) {
		size_t n = 1;
		int rc = 0;

		switch ((enum state)d->state) {
		case STATE_FIELD:
			rc = field_begin(d, *p, fn, user);
			break;
		case STATE_NAME_LEN:
			d->is_huffman = *p & 0x80;
			rc = integer_begin(d, WHAT_NAME_LEN, *p, 7, fn, user);
			break;
		case STATE_VALUE_LEN:
			d->is_huffman = *p & 0x80;
			rc = integer_begin(d, WHAT_VALUE_LEN, *p, 7, fn, user);
			break;
		case STATE_INT:
			rc = integer_add(d, *p, fn, user);
			break;
		case STATE_NAME:
		case STATE_VALUE:
			n = len < d->str_left ? len : d->str_left;
			rc = string_add(d, p, n);
			if (!rc && d->str_left == 0)
				rc = string_end(d, fn, user);
			break;
		}
		if (rc)
			return rc;
		p += n;
		len -= n;
	}
	return 0;
}

static uint8_t *encode_integer(uint8_t *p, unsigned pattern, unsigned prefix_len, size_t num)
{
	unsigned mask = (1u << prefix_len) - 1;

	if (num < mask) {
		*p++ = (uint8_t)(pattern | num);
		return p;
	}
	*p++ = (uint8_t)(pattern | mask);
	for (num -= mask; num > 0x7f; num >>= 7)
		*p++ = (uint8_t)(num | 0x80);
	*p++ = (uint8_t)num;
	return p;
}

static uint8_t *encode_string(uint8_t *p, const char *text, size_t len)
{
	p = encode_integer(p, 0, 7, len);
	if (len)
		memcpy(p, text, len);
	return p + len;
}

/* The static index of the field (*is_whole), or of its name alone; 0 for none. */
static uint32_t static_find(
	const char *name, size_t name_len, const char *value, size_t value_len, bool *is_whole)
{
	const char *text = static_text;
	uint32_t found = 0;

	*is_whole = false;
	for (uint32_t i = 0; i < STATIC_COUNT; i++) {
		size_t n = static_len[i][0], v = static_len[i][1];

		if (n == name_len && memcmp(text, name, n) == 0) {
			if (!found)
				found = i + 1;
			if (v && v == value_len && memcmp(text + n, value, v) == 0) {
				*is_whole = true;
				return i + 1;
			}
		}
		text += n + v;
	}
	return found;
}

int hpack_encode(struct buf *out, const char *name, size_t name_len, const char *value,
	size_t value_len, bool is_secret)
{
	uint8_t mem[6], *p;
	bool is_whole;
	uint32_t index = static_find(name, name_len, value, value_len, &is_whole);
	size_t need;

	if (is_secret)
		is_whole = false; /* its place in the table would tell it */
	need = (size_t)(encode_integer(mem, 0, 7, value_len) - mem) + value_len;
	need += (size_t)(encode_integer(mem, 0, 4, index) - mem);
	if (!index)
		need += (size_t)(encode_integer(mem, 0, 7, name_len) - mem) + name_len;
	if (is_whole)
		need = 1;
	if (need > out->cap - out->tail)
		return ERR_AGAIN;
	p = out->mem + out->tail;
	if (is_whole) {
		(void)encode_integer(p, 0x80, 7, index);
	} else {
		p = encode_integer(p, is_secret ? 0x10 : 0, 4, index);
		if (!index)
			p = encode_string(p, name, name_len);
		(void)encode_string(p, value, value_len);
	}
	out->tail += need;
	return 0;
}
