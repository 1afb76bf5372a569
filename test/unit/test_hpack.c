/* SPDX-License-Identifier: Apache-2.0 */
/* MAP_ANONYMOUS */
#define _DEFAULT_SOURCE

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

#include "base/err.h"
#include "guard.h"
#include "net/hpack.h"

struct hpack_vector {
	bool is_first; /* of a connection */
	size_t table_size; /* after it, as RFC 7541 4.1 counts */
	size_t want_len, block_len;
	const char *hex;
	const char *want; /* "name=value\n" for each field */
};

#include "vectors/hpack.h"

/* RFC 7541 appendix C. The examples of C.5 and C.6 are for a table of 256 bytes, which the first
 * block of each is made to ask for here (3fe101). */
static const struct hpack_vector rfc_vectors[] = {
	{true, 55, 0, 0, "400a637573746f6d2d6b65790d637573746f6d2d686561646572",
		"custom-key=custom-header\n"},
	{true, 0, 0, 0, "040c2f73616d706c652f70617468", ":path=/sample/path\n"},
	{true, 0, 0, 0, "100870617373776f726406736563726574", "password=secret\n"},
	{true, 0, 0, 0, "82", ":method=GET\n"},
	/* C.3 */
	{true, 57, 0, 0, "828684410f7777772e6578616d706c652e636f6d",
		":method=GET\n:scheme=http\n:path=/\n:authority=www.example.com\n"},
	{false, 110, 0, 0, "828684be58086e6f2d6361636865",
		":method=GET\n:scheme=http\n:path=/\n:authority=www.example.com\n"
		"cache-control=no-cache\n"},
	{false, 164, 0, 0, "828785bf400a637573746f6d2d6b65790c637573746f6d2d76616c7565",
		":method=GET\n:scheme=https\n:path=/index.html\n:authority=www.example.com\n"
		"custom-key=custom-value\n"},
	/* C.4 */
	{true, 57, 0, 0, "828684418cf1e3c2e5f23a6ba0ab90f4ff",
		":method=GET\n:scheme=http\n:path=/\n:authority=www.example.com\n"},
	{false, 110, 0, 0, "828684be5886a8eb10649cbf",
		":method=GET\n:scheme=http\n:path=/\n:authority=www.example.com\n"
		"cache-control=no-cache\n"},
	{false, 164, 0, 0, "828785bf408825a849e95ba97d7f8925a849e95bb8e8b4bf",
		":method=GET\n:scheme=https\n:path=/index.html\n:authority=www.example.com\n"
		"custom-key=custom-value\n"},
	/* C.5 */
	{true, 222, 0, 0,
		"3fe101"
		"4803333032580770726976617465611d4d6f6e2c203231204f637420323031332032303a31333a3231"
		"20474d546e1768747470733a2f2f7777772e6578616d706c652e636f6d",
		":status=302\ncache-control=private\ndate=Mon, 21 Oct 2013 20:13:21 GMT\n"
		"location=https://www.example.com\n"},
	{false, 222, 0, 0, "4803333037c1c0bf",
		":status=307\ncache-control=private\ndate=Mon, 21 Oct 2013 20:13:21 GMT\n"
		"location=https://www.example.com\n"},
	{false, 215, 0, 0,
		"88c1611d4d6f6e2c203231204f637420323031332032303a31333a323220474d54c05a04677a697077"
		"38666f6f3d4153444a4b48514b425a584f5157454f50495541585157454f49553b206d61782d616765"
		"3d333630303b2076657273696f6e3d31",
		":status=200\ncache-control=private\ndate=Mon, 21 Oct 2013 20:13:22 GMT\n"
		"location=https://www.example.com\ncontent-encoding=gzip\n"
		"set-cookie=foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU; max-age=3600; version=1\n"},
	/* C.6 */
	{true, 222, 0, 0,
		"3fe101"
		"488264025885aec3771a4b6196d07abe941054d444a8200595040b8166e082a62d1bff6e919d29ad17"
		"1863c78f0b97c8e9ae82ae43d3",
		":status=302\ncache-control=private\ndate=Mon, 21 Oct 2013 20:13:21 GMT\n"
		"location=https://www.example.com\n"},
	{false, 222, 0, 0, "4883640effc1c0bf",
		":status=307\ncache-control=private\ndate=Mon, 21 Oct 2013 20:13:21 GMT\n"
		"location=https://www.example.com\n"},
	{false, 215, 0, 0,
		"88c16196d07abe941054d444a8200595040b8166e084a62d1bffc05a839bd9ab77ad94e7821dd7f2e6"
		"c7b335dfdfcd5b3960d5af27087f3672c1ab270fb5291f9587316065c003ed4ee5b1063d5007",
		":status=200\ncache-control=private\ndate=Mon, 21 Oct 2013 20:13:22 GMT\n"
		"location=https://www.example.com\ncontent-encoding=gzip\n"
		"set-cookie=foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU; max-age=3600; version=1\n"},
};

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

/* The blocks of most tests are made for these sizes. */
static void skip_unless_default_sizes(void)
{
	if (CONFIG_HPACK_TABLE_BYTES != 4096 || CONFIG_H2_HEADER_LIST_BYTES != 4096)
		skip();
}

struct text {
	char mem[8192];
	size_t len;
	size_t fields;
};

static void text_put(struct text *t, const char *p, size_t len)
{
	assert_true(len <= sizeof(t->mem) - t->len);
	memcpy(t->mem + t->len, p, len);
	t->len += len;
}

static void on_field(
	void *user, const char *name, size_t name_len, const char *value, size_t value_len)
{
	struct text *t = user;

	text_put(t, name, name_len);
	text_put(t, "=", 1);
	text_put(t, value, value_len);
	text_put(t, "\n", 1);
	t->fields++;
}

static unsigned hex_digit(char c)
{
	return c <= '9' ? (unsigned)(c - '0') : (unsigned)(c - 'a' + 10);
}

static size_t unhex(uint8_t *dst, size_t cap, const char *hex)
{
	size_t n = 0;

	for (; *hex; hex += 2) {
		assert_true(n < cap);
		dst[n++] = (uint8_t)(hex_digit(hex[0]) << 4 | hex_digit(hex[1]));
	}
	return n;
}

/* A whole block in pieces of step bytes, each against the end of memory. */
static int decode(
	struct hpack_decoder *d, const uint8_t *p, size_t len, size_t step, struct text *t)
{
	t->len = t->fields = 0;
	hpack_block_begin(d);
	for (size_t at = 0; at < len; at += step) {
		size_t n = len - at < step ? len - at : step;
		int rc = hpack_block_decode(d, guard_copy(p + at, n), n, on_field, t);

		if (rc)
			return rc;
	}
	return hpack_block_end(d);
}

static int decode_hex(struct hpack_decoder *d, const char *hex, struct text *t)
{
	uint8_t mem[4096];
	size_t n = unhex(mem, sizeof(mem), hex);

	return decode(d, mem, n, n ? n : 1, t);
}

static void vectors_run(const struct hpack_vector *v, size_t count, size_t step)
{
	static struct hpack_decoder d;
	static struct text t;
	uint8_t mem[4096];

	for (size_t i = 0; i < count; i++) {
		size_t n = unhex(mem, sizeof(mem), v[i].hex);
		size_t want_len = v[i].want_len ? v[i].want_len : strlen(v[i].want);

		if (v[i].is_first)
			hpack_decoder_init(&d);
		assert_int_equal(decode(&d, mem, n, step, &t), 0);
		assert_int_equal(t.len, want_len);
		assert_memory_equal(t.mem, v[i].want, want_len);
		assert_int_equal(d.size, v[i].table_size);
		assert_false(d.is_list_over);
	}
}

static void test_rfc_7541_appendix_c(void **state)
{
	(void)state;
	skip_unless_default_sizes();
	for (size_t step = 1; step < 120; step++)
		vectors_run(rfc_vectors, COUNT(rfc_vectors), step);
}

static void test_encoder_of_another_hand(void **state)
{
	(void)state;
	skip_unless_default_sizes();
	for (size_t step = 1; step < 40; step++)
		vectors_run(hpack_vectors, COUNT(hpack_vectors), step);
	vectors_run(hpack_vectors, COUNT(hpack_vectors), 4096);
}

static void test_integers(void **state)
{
	static struct hpack_decoder d;
	static struct text t;

	(void)state;
	skip_unless_default_sizes();
	/* RFC 7541 C.1.2 and C.1.1, as sizes of the table. */
	hpack_decoder_init(&d);
	assert_int_equal(decode_hex(&d, "3f9a0a", &t), 0);
	assert_int_equal(d.size_max, 1337);
	assert_int_equal(decode_hex(&d, "2a", &t), 0);
	assert_int_equal(d.size_max, 10);
	/* Zeros may follow, within reason. */
	assert_int_equal(decode_hex(&d, "3f9a8a8000", &t), 0);
	assert_int_equal(d.size_max, 1337);
}

static void test_malformed_blocks(void **state)
{
	static const struct {
		const char *name, *hex;
	} rows[] = {
		{"index 0", "80"},
		{"index past the static table", "be"},
		{"index far past", "ffffffff0f"},
		{"name index past the table", "7e0161"},
		{"table size above our setting", "3fe21f"},
		{"table size after a field", "8220"},
		{"integer too long", "3f808080808000"},
		{"integer too large", "ffffffffff0f"},
		{"cut within an integer", "3f"},
		{"cut within a name", "400361"},
		{"cut before a value", "400161"},
		{"cut within a value", "4001610362"},
		{"Huffman padding of zeros", "0001618118"},
		{"Huffman padding longer than 7 bits", "000161821fff"},
		{"Huffman padding of 8 bits alone", "00016181ff"},
		{"Huffman EOS", "00016184ffffffff"},
		{"Huffman EOS in a name", "0084fffffffc0161"},
	};
	static struct hpack_decoder d;
	static struct text t;

	(void)state;
	skip_unless_default_sizes();
	for (size_t i = 0; i < COUNT(rows); i++) {
		hpack_decoder_init(&d);
		if (decode_hex(&d, rows[i].hex, &t) != ERR_HTTP2)
			fail_msg("%s was taken", rows[i].name);
	}
	/* The same, almost: a whole 'a' and right padding. */
	hpack_decoder_init(&d);
	assert_int_equal(decode_hex(&d, "000161811f", &t), 0);
	assert_memory_equal(t.mem, "a=a\n", 4);
}

static void test_huffman_all_symbols(void **state)
{
	/* The code of each symbol, made from the lengths of RFC 7541 appendix B by counting. */
	static const uint8_t len_of[257] = {13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30,
		28, 28, 28, 28, 28, 28, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 28, 6, 10, 10,
		12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6, 5, 5, 5, 6, 6, 6, 6, 6, 6, 6, 7, 8, 15,
		6, 12, 10, 13, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7,
		8, 7, 8, 13, 19, 13, 14, 6, 15, 5, 6, 5, 6, 5, 6, 6, 6, 5, 7, 7, 6, 6, 6, 5, 6, 7,
		6, 5, 5, 6, 7, 7, 7, 7, 7, 15, 11, 14, 13, 28, 20, 22, 20, 20, 22, 22, 22, 23, 22,
		23, 23, 23, 23, 23, 24, 23, 24, 24, 22, 23, 24, 23, 23, 23, 23, 21, 22, 23, 22, 23,
		23, 24, 22, 21, 20, 22, 22, 23, 23, 21, 23, 22, 22, 24, 21, 22, 23, 23, 21, 21, 22,
		21, 23, 22, 23, 23, 20, 22, 22, 22, 23, 22, 22, 23, 26, 26, 20, 19, 22, 23, 22, 25,
		26, 26, 26, 27, 27, 26, 24, 25, 19, 21, 26, 27, 27, 26, 27, 24, 21, 21, 26, 26, 28,
		27, 27, 27, 20, 24, 20, 21, 22, 21, 21, 23, 22, 22, 25, 25, 24, 24, 26, 23, 26, 27,
		26, 26, 27, 27, 27, 27, 27, 28, 27, 27, 27, 27, 27, 26, 30};
	uint8_t in[1200] = {0}, out[300];
	size_t bits = 0;
	struct huffman h;

	(void)state;
	for (unsigned symbol = 0; symbol < 256; symbol++) {
		uint32_t code = 0;

		for (unsigned len = 1; len <= len_of[symbol]; len++) {
			code <<= 1;
			for (unsigned s = 0; s < 257; s++)
				if (len_of[s] == len && (len < len_of[symbol] || s < symbol))
					code++;
		}
		for (unsigned i = len_of[symbol]; i-- > 0; bits++)
			in[bits / 8] |= (uint8_t)((code >> i & 1) << (7 - bits % 8));
	}
	for (; bits % 8; bits++)
		in[bits / 8] |= (uint8_t)(1 << (7 - bits % 8));
	for (size_t step = 1; step <= bits / 8; step++) {
		size_t done = 0;

		huffman_init(&h);
		for (size_t at = 0; at < bits / 8; at += step) {
			size_t n = bits / 8 - at < step ? bits / 8 - at : step;

			done += (size_t)huffman_decode(
				&h, guard_copy(in + at, n), n, out + done, sizeof(out) - done);
		}
		assert_int_equal(huffman_end(&h), 0);
		assert_int_equal(done, 256);
		for (unsigned i = 0; i < 256; i++)
			assert_int_equal(out[i], i);
	}
}

/* RFC 9113 4.3.1: a table that our SETTINGS made smaller than the RFC's has to be agreed to first. */
static void test_smaller_table_has_to_be_told(void **state)
{
	static struct hpack_decoder d;
	static struct text t;

	(void)state;
	skip_unless_default_sizes();
	hpack_decoder_init(&d);
	d.is_update_due = true;
	assert_int_equal(decode_hex(&d, "82", &t), ERR_HTTP2);
	assert_int_equal(decode_hex(&d, "3f6182", &t), 0);
	assert_int_equal(decode_hex(&d, "82", &t), 0);
	assert_int_equal(d.size_max, 128);
}

static void test_eviction_takes_the_name_along(void **state)
{
	static struct hpack_decoder d;
	static struct text t;

	(void)state;
	skip_unless_default_sizes();
	hpack_decoder_init(&d);
	/* A table for one entry: "aa=bb" (36); then its own name with another value. */
	assert_int_equal(decode_hex(&d, "3f054002616102626262", &t), ERR_HTTP2); /* cut */
	hpack_decoder_init(&d);
	assert_int_equal(decode_hex(&d, "3f05400261610262627e026363be", &t), 0);
	assert_int_equal(t.len, strlen("aa=bb\naa=cc\naa=cc\n"));
	assert_memory_equal(t.mem, "aa=bb\naa=cc\naa=cc\n", t.len);
	assert_int_equal(d.count, 1);
	/* RFC 7541 4.4: what is larger than the table empties it, and is told of. */
	assert_int_equal(decode_hex(&d, "400361616103626262", &t), 0);
	assert_int_equal(t.fields, 1);
	assert_int_equal(d.count, 0);
	assert_int_equal(decode_hex(&d, "be", &t), ERR_HTTP2);
}

/* Attack: header list too large, by one long string and by many references to one entry. */
static void test_header_list_too_large(void **state)
{
	static struct hpack_decoder d;
	static struct text t;
	uint8_t mem[3 * CONFIG_H2_HEADER_LIST_BYTES];
	struct buf b;

	(void)state;
	skip_unless_default_sizes();
	memset(mem, 'v', sizeof(mem));
	hpack_decoder_init(&d);
	assert_int_equal(decode_hex(&d, "400161016240016301644001650166", &t), 0);
	assert_int_equal(d.count, 3);
	/* A plain literal of twice the limit that is to be indexed: 40 01 'n' 7f len */
	memcpy(mem, "\x40\x01n\x7f", 4);
	size_t len = 2 * CONFIG_H2_HEADER_LIST_BYTES;
	mem[4] = (uint8_t)((len - 127) | 0x80);
	mem[5] = (uint8_t)(((len - 127) >> 7) | 0x80);
	mem[6] = (uint8_t)((len - 127) >> 14);
	for (size_t step = 1; step < 20; step += 6) {
		assert_int_equal(decode(&d, mem, 7 + len, step, &t), 0);
		assert_true(d.is_list_over);
		assert_int_equal(t.fields, 0);
		assert_int_equal(d.count, 0);
	}
	/* The table works on. */
	assert_int_equal(decode_hex(&d, "4001610162be", &t), 0);
	assert_memory_equal(t.mem, "a=b\na=b\n", 8);
	assert_false(d.is_list_over);
	/* One entry of 1000 bytes, many references, and an entry that is added after the limit. */
	buf_init(&b, mem, sizeof(mem));
	memset(mem, 'v', sizeof(mem));
	memcpy(mem, "\x40\x01n\x7f\xe9\x06", 6); /* 1000 */
	memset(mem + 1006, 0xbe, 10);
	memcpy(mem + 1016, "\x40\x01z\x01y\xbe\xbf", 7);
	assert_int_equal(decode(&d, mem, 1023, 1023, &t), 0);
	assert_true(d.is_list_over);
	assert_int_equal(t.fields, CONFIG_H2_HEADER_LIST_BYTES / 1033);
	assert_int_equal(decode_hex(&d, "be", &t), 0);
	assert_memory_equal(t.mem, "z=y\n", 4);
	/* References are still checked in a list that is over. */
	memset(mem + 1016, 0xff, 1);
	assert_int_equal(decode(&d, mem, 1017, 1017, &t), ERR_HTTP2);
}

/* A full table that turns over many times keeps its contents apart. */
static void test_table_turns_over(void **state)
{
	static struct hpack_decoder d;
	static struct text t;
	uint8_t mem[256];
	char want[80];

	(void)state;
	skip_unless_default_sizes();
	hpack_decoder_init(&d);
	for (unsigned i = 0; i < 3000; i++) {
		char value[64];
		int n = snprintf(value, sizeof(value), "%u-%.*s", i, (int)(i % 40),
			"abcdefghijklmnopqrstuvwxyzabcdefghijklmn");

		memcpy(mem, "\x40\x01n", 3);
		mem[3] = (uint8_t)n;
		memcpy(mem + 4, value, (size_t)n);
		mem[4 + n] = 0xbe;
		assert_int_equal(decode(&d, mem, (size_t)n + 5, 7, &t), 0);
		snprintf(want, sizeof(want), "n=%s\n", value);
		assert_int_equal(t.len, 2 * strlen(want));
		assert_memory_equal(t.mem + strlen(want), want, strlen(want));
		assert_true(d.size <= CONFIG_HPACK_TABLE_BYTES);
	}
	/* The oldest one is still whole. */
	mem[0] = 0xff;
	mem[1] = (uint8_t)(61 + d.count - 127);
	if (61 + d.count >= 127) {
		assert_int_equal(decode(&d, mem, 2, 2, &t), 0);
		snprintf(want, sizeof(want), "n=%d-", 3000 - (int)d.count);
		assert_memory_equal(t.mem, want, strlen(want));
	}
}

static void encode_check(const char *name, const char *value, bool is_secret, const char *hex)
{
	uint8_t mem[512], want[512];
	size_t want_len = unhex(want, sizeof(want), hex);
	struct buf b;

	for (size_t cap = 0; cap <= want_len; cap++) {
		buf_init(&b, mem, cap);
		int rc = hpack_encode(&b, name, strlen(name), value, strlen(value), is_secret);
		assert_int_equal(rc, cap < want_len ? ERR_AGAIN : 0);
		assert_int_equal(buf_len(&b), cap < want_len ? 0 : want_len);
	}
	assert_memory_equal(mem, want, want_len);
}

static void test_encode(void **state)
{
	static struct hpack_decoder d;
	static struct text t;
	static char value[1000];
	uint8_t mem[2048];
	struct buf b;

	(void)state;
	skip_unless_default_sizes();
	encode_check(":method", "POST", false, "83");
	encode_check(":scheme", "https", false, "87");
	encode_check(":path", "/a", false, "04022f61");
	encode_check("content-type", "", false, "0f1000");
	encode_check("te", "trailers", false, "0002746508747261696c657273");
	encode_check("authorization", "x", true, "1f080178");
	encode_check("token", "x", true, "1005746f6b656e0178");
	encode_check(":path", "/", true, "14012f");
	/* Our own decoder, and every length of a value around the steps of the integer. */
	hpack_decoder_init(&d);
	memset(value, 'v', sizeof(value));
	for (size_t n = 0; n < sizeof(value); n++) {
		buf_init(&b, mem, sizeof(mem));
		assert_int_equal(hpack_encode(&b, "some-name", 9, value, n, n & 1), 0);
		assert_int_equal(decode(&d, mem, buf_len(&b), buf_len(&b), &t), 0);
		assert_int_equal(t.len, 11 + n);
		assert_true(buf_len(&b) <= hpack_encode_max(9, n));
	}
	assert_int_equal(d.count, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_rfc_7541_appendix_c),
		cmocka_unit_test(test_encoder_of_another_hand),
		cmocka_unit_test(test_integers),
		cmocka_unit_test(test_malformed_blocks),
		cmocka_unit_test(test_huffman_all_symbols),
		cmocka_unit_test(test_smaller_table_has_to_be_told),
		cmocka_unit_test(test_eviction_takes_the_name_along),
		cmocka_unit_test(test_header_list_too_large),
		cmocka_unit_test(test_table_turns_over),
		cmocka_unit_test(test_encode),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
