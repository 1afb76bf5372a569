/* SPDX-License-Identifier: Apache-2.0 */
/* Requests are what Google's protobuf would have written, and its answers are understood. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/err.h"
#include "etcd/msg.h"

#include <stdlib.h>
#include <string.h>

#define WANT_MSG_VECTORS
#include "test/unit/vectors/etcd.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

static const struct msg_vector *vector(const char *name)
{
	size_t i;

	for (i = 0; i < COUNT(msg_vectors); i++)
		if (!strcmp(msg_vectors[i].name, name))
			return &msg_vectors[i];
	fail_msg("no vector %s", name);
	return NULL;
}

static ssize_t encode(const char *name, uint8_t *dst, size_t cap)
{
	struct etcd_range_request range = {0};
	struct etcd_watch_request watch = {0};

	if (!strcmp(name, "range_key")) {
		etcd_range_key(&range.range, "/key", 4);
		return msg_encode_range(dst, cap, &range);
	}
	if (!strcmp(name, "range_page")) {
		etcd_range_from(&range.range, "/key\0", 5, "/kez", 4);
		range.limit = 100;
		range.rev = INT64_C(1) << 40;
		return msg_encode_range(dst, cap, &range);
	}
	if (!strcmp(name, "range_flags")) {
		etcd_range_from(&range.range, "", 0, "\0", 1);
		range.is_serializable = range.is_keys_only = range.is_count_only = true;
		return msg_encode_range(dst, cap, &range);
	}
	if (!strcmp(name, "watch_create")) {
		etcd_range_from(&watch.range, "/key", 4, "/kez", 4);
		watch.start_rev = 43;
		watch.want_progress = watch.want_prev = watch.want_fragment = true;
		return msg_encode_watch_create(dst, cap, &watch);
	}
	if (!strcmp(name, "watch_create_key")) {
		etcd_range_key(&watch.range, "k", 1);
		return msg_encode_watch_create(dst, cap, &watch);
	}
	if (!strcmp(name, "watch_cancel"))
		return msg_encode_watch_cancel(dst, cap, 7);
	if (!strcmp(name, "watch_cancel_first"))
		return msg_encode_watch_cancel(dst, cap, 0);
	if (!strcmp(name, "watch_progress"))
		return msg_encode_watch_progress(dst, cap);
	if (!strcmp(name, "authenticate"))
		return msg_encode_authenticate(dst, cap, "dev-1", 5, "s3cret", 6);
	if (!strcmp(name, "authenticate_empty"))
		return msg_encode_authenticate(dst, cap, "dev-1", 5, "", 0);
	return ERR_BUG;
}

static void requests_are_as_protobuf_writes_them(void **state)
{
	size_t i, cap, found = 0;

	(void)state;
	for (i = 0; i < COUNT(msg_vectors); i++) {
		const struct msg_vector *v = &msg_vectors[i];
		uint8_t probe[1];

		if (encode(v->name, probe, 0) == ERR_BUG)
			continue; /* an answer */
		found++;
		for (cap = 0; cap < v->len + 3; cap++) {
			uint8_t *dst = malloc(cap + 1);
			ssize_t n;

			assert_non_null(dst);
			dst[cap] = 0xa5;
			n = encode(v->name, dst, cap);
			assert_int_equal(n, cap < v->len ? ERR_LIMIT : (ssize_t)v->len);
			assert_int_equal(dst[cap], 0xa5);
			if (n >= 0)
				assert_memory_equal(dst, v->bytes, v->len);
			free(dst);
		}
	}
	assert_int_equal(found, 10);
	assert_int_equal(msg_encode_status(NULL, 0), 0);
}

static ssize_t token(
	const char *prefix, size_t prefix_len, size_t len, char fill, char *dst, size_t cap)
{
	static uint8_t msg[ETCD_TOKEN_MAX + 64];
	static char same[sizeof(msg)];
	size_t n = 0;
	ssize_t r;

	memcpy(msg, prefix, prefix_len);
	n = prefix_len;
	msg[n++] = 0x12;
	msg[n++] = (uint8_t)(len | 0x80);
	msg[n++] = (uint8_t)(len >> 7 | 0x80);
	msg[n++] = (uint8_t)(len >> 14);
	memset(msg + n, fill, len);
	if (len > 16)
		msg[n + len - 1] = '.';
	r = msg_decode_authenticate(msg, n + len, dst, cap);
	if (r >= 0) {
		/* Where the message lies, too. */
		memcpy(same, msg, n + len);
		assert_int_equal(
			msg_decode_authenticate((uint8_t *)same, n + len, same, sizeof(same)), r);
		assert_string_equal(same, dst);
		assert_int_equal(dst[r - 1], len > 16 ? '.' : fill);
	}
	return r;
}

static void tokens_are_checked(void **state)
{
	static char dst[ETCD_TOKEN_MAX + 64];
	const struct msg_vector *v = vector("authenticated");
	size_t cut;
	int c;

	(void)state;
	assert_int_equal(
		msg_decode_authenticate((const uint8_t *)v->bytes, v->len, dst, sizeof(dst)), 10);
	assert_string_equal(dst, "cXJvb3Q.12");
	for (cut = 0; cut < v->len; cut++)
		assert_true(msg_decode_authenticate(
				    (const uint8_t *)v->bytes, cut, dst, sizeof(dst)) < 0);
	assert_int_equal(
		msg_decode_authenticate((const uint8_t *)"", 0, dst, sizeof(dst)), ERR_AUTH);
	assert_int_equal(
		msg_decode_authenticate((const uint8_t *)"\x12\x05tok", 5, dst, sizeof(dst)),
		ERR_PROTO);
	assert_int_equal(msg_decode_authenticate(
				 (const uint8_t *)"\x12\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01t",
				 12, dst, sizeof(dst)),
		ERR_PROTO);

	assert_int_equal(token("", 0, ETCD_TOKEN_MAX, 't', dst, sizeof(dst)), ETCD_TOKEN_MAX);
	assert_int_equal(strlen(dst), ETCD_TOKEN_MAX);
	assert_int_equal(token("", 0, ETCD_TOKEN_MAX + 1, 't', dst, sizeof(dst)), ERR_AUTH);
	assert_int_equal(token("", 0, 0, 't', dst, sizeof(dst)), ERR_AUTH);
	/* One that does not fit is not cut. */
	assert_int_equal(token("", 0, 15, 't', dst, 16), 15);
	assert_int_equal(token("", 0, 16, 't', dst, 16), ERR_AUTH);
	assert_int_equal(token("", 0, 1, 't', dst, 0), ERR_AUTH);
	/* Given twice, the last one counts. */
	assert_int_equal(token("\x12\x03old", 5, 2, 'n', dst, sizeof(dst)), 2);
	assert_string_equal(dst, "nn");
	/* Nothing that could end or begin a header line. */
	for (c = 0; c < 256; c++)
		assert_int_equal(token("", 0, 3, (char)c, dst, sizeof(dst)),
			c > 0x20 && c < 0x7f ? 3 : ERR_AUTH);
	assert_int_equal(
		msg_decode_authenticate((const uint8_t *)"\x12\x03 ab", 5, dst, 64), ERR_AUTH);
	assert_int_equal(msg_decode_authenticate((const uint8_t *)"\x12\x03"
								  "ab ",
				 5, dst, 64),
		ERR_AUTH);
	assert_int_equal(msg_decode_authenticate((const uint8_t *)"\x12\x03"
								  "a b",
				 5, dst, 64),
		3);
}

static void header_is_ours(const struct etcd_header *h)
{
	assert_true(h->is_present);
	assert_true(h->cluster_id == UINT64_C(14841639068965178418));
	assert_true(h->member_id == UINT64_C(10276657743932975437));
	assert_true(h->revision == 100000);
	assert_true(h->raft_term == 2);
}

static void status_is_read(void **state)
{
	const struct msg_vector *v = vector("status");
	struct etcd_status st;
	size_t cut;

	(void)state;
	assert_int_equal(msg_decode_status((const uint8_t *)v->bytes, v->len, &st), 0);
	header_is_ours(&st.header);
	assert_string_equal(st.version_text, "3.5.16");
	assert_true(st.version.is_known);
	assert_int_equal(st.version.patch, 16);
	assert_true(st.leader == UINT64_C(10276657743932975437));
	assert_true(st.raft_term == 2);
	assert_true(st.is_learner);
	for (cut = 0; cut < v->len; cut++) {
		int r = msg_decode_status((const uint8_t *)v->bytes, cut, &st);

		/* Between two fields a message may end. */
		assert_true(r == 0 || r == ERR_PROTO);
	}

	v = vector("status_bare");
	assert_int_equal(msg_decode_status((const uint8_t *)v->bytes, v->len, &st), 0);
	assert_false(st.header.is_present);
	assert_false(st.version.is_known);
	assert_false(st.is_learner);
	assert_true(st.leader == 0);

	/* A version that is longer than it should be is cut, and known all the same. */
	assert_int_equal(
		msg_decode_status((const uint8_t *)"\x12\x2d"
						   "3.4.12-a-very-long-name-of-a-vendors-own-build",
			47, &st),
		0);
	assert_string_equal(st.version_text, "3.4.12-a-very-long-name-of-a-ve");
	assert_int_equal(st.version.patch, 12);

	assert_int_equal(
		msg_decode_status(
			(const uint8_t *)"\x0a\x0b\x18\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", 13,
			&st),
		ERR_REVISION);
	assert_int_equal(msg_decode_status((const uint8_t *)"\x12\x7f"
							    "3",
				 3, &st),
		ERR_PROTO);
}

static void range_headers_are_read(void **state)
{
	const struct msg_vector *v = vector("range_response");
	struct etcd_header h;

	(void)state;
	assert_int_equal(msg_decode_range_header((const uint8_t *)v->bytes, v->len, &h), 0);
	header_is_ours(&h);
	assert_int_equal(
		msg_decode_range_header((const uint8_t *)v->bytes, v->len - 1, &h), ERR_PROTO);
	assert_int_equal(msg_decode_range_header((const uint8_t *)"", 0, &h), 0);
	assert_false(h.is_present);
	assert_int_equal(
		msg_decode_range_header(
			(const uint8_t *)"\x0a\x0a\x18\x80\x80\x80\x80\x80\x80\x80\x80\x40", 12,
			&h),
		ERR_REVISION);
}

static void versions_are_compared(void **state)
{
	static const struct {
		const char *text;
		int is_known, major, minor, patch, loses_delete;
	} rows[] = {
		{"3.5.16", 1, 3, 5, 16, 1},
		{"3.5.17", 1, 3, 5, 17, 1},
		{"3.5.18", 1, 3, 5, 18, 0},
		{"3.5.0", 1, 3, 5, 0, 1},
		{"3.5.21", 1, 3, 5, 21, 0},
		{"3.4.35", 1, 3, 4, 35, 1},
		{"3.4.36", 1, 3, 4, 36, 0},
		{"3.4.100", 1, 3, 4, 100, 0},
		{"3.3.27", 1, 3, 3, 27, 1},
		{"3.3.99", 1, 3, 3, 99, 1},
		{"2.3.8", 1, 2, 3, 8, 1},
		{"3.6.0-rc.1", 1, 3, 6, 0, 0},
		{"3.6.0", 1, 3, 6, 0, 0},
		{"3.5.4+git", 1, 3, 5, 4, 1},
		{"3.10.1", 1, 3, 10, 1, 0},
		{"4.0.0", 1, 4, 0, 0, 0},
		{"3.5.65535", 1, 3, 5, 65535, 0},
		{"3.5.65536", 0, 0, 0, 0, 0},
		{"3.5.99999999999999999999", 0, 0, 0, 0, 0},
		{"", 0, 0, 0, 0, 0},
		{"3", 0, 0, 0, 0, 0},
		{"3.5", 0, 0, 0, 0, 0},
		{"3.5.", 0, 0, 0, 0, 0},
		{"3..5", 0, 0, 0, 0, 0},
		{".5.1", 0, 0, 0, 0, 0},
		{"v3.5.1", 0, 0, 0, 0, 0},
		{"3.5.1x", 0, 0, 0, 0, 0},
		{"3.5.-1", 0, 0, 0, 0, 0},
		{" 3.5.1", 0, 0, 0, 0, 0},
		{"3.4.1.2", 0, 0, 0, 0, 0},
		{"not_decided", 0, 0, 0, 0, 0},
	};
	size_t i;

	(void)state;
	for (i = 0; i < COUNT(rows); i++) {
		/* It has no end but its length. */
		size_t len = strlen(rows[i].text);
		char *text = malloc(len + 1);
		struct etcd_version v;

		assert_non_null(text);
		memcpy(text, rows[i].text, len);
		text[len] = '9';
		etcd_version_parse(&v, text, len);
		assert_int_equal(v.is_known, rows[i].is_known);
		assert_int_equal(v.major, rows[i].major);
		assert_int_equal(v.minor, rows[i].minor);
		assert_int_equal(v.patch, rows[i].patch);
		assert_int_equal(etcd_version_loses_delete(&v), rows[i].loses_delete);
		free(text);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(requests_are_as_protobuf_writes_them),
		cmocka_unit_test(tokens_are_checked),
		cmocka_unit_test(status_is_read),
		cmocka_unit_test(range_headers_are_read),
		cmocka_unit_test(versions_are_compared),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
