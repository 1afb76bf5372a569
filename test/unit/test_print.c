/* SPDX-License-Identifier: Apache-2.0 */
/* The lines, in any shape. */
#include "print_helper.h"

static void test_json_lines(void **state)
{
	struct sample listed = sample_of("/l", "v");
	struct sample leased = sample_of("/a", "");

	(void)state;
	begin((struct print_cfg){.format = PRINT_JSON, .want_progress = true});
	feed(&sinks[0], sample_of("/a", "1"));
	feed(&sinks[0], sample_of("/a", NULL));
	check("{\"type\":\"put\",\"key\":\"/a\",\"value\":\"1\",\"create_revision\":3,"
	      "\"mod_revision\":12,\"version\":4,\"lease\":\"0\"}\n"
	      "{\"type\":\"delete\",\"key\":\"/a\",\"mod_revision\":13}\n");
	w.len = 0;
	leased.e.lease = 7587862094713512714;
	leased.e.mod_rev = INT64_C(4611686018427387903);
	feed(&sinks[0], leased);
	feed(&sinks[0], with_prev(sample_of("/a", "2"), "1\n"));
	feed(&sinks[0], with_prev(sample_of("/a", ""), ""));
	feed(&sinks[0], with_prev(sample_of("/a", NULL), "\xff"));
	check("{\"type\":\"put\",\"key\":\"/a\",\"value\":\"\",\"create_revision\":3,"
	      "\"mod_revision\":4611686018427387903,\"version\":4,"
	      "\"lease\":\"7587862094713512714\"}\n"
	      "{\"type\":\"put\",\"key\":\"/a\",\"value\":\"2\",\"create_revision\":3,"
	      "\"mod_revision\":12,\"version\":4,\"lease\":\"0\",\"prev_value\":\"1\\n\"}\n"
	      "{\"type\":\"put\",\"key\":\"/a\",\"value\":\"\",\"create_revision\":3,"
	      "\"mod_revision\":12,\"version\":4,\"lease\":\"0\",\"prev_value\":\"\"}\n"
	      "{\"type\":\"delete\",\"key\":\"/a\",\"mod_revision\":13,"
	      "\"prev_value_base64\":\"/w==\"}\n");
	w.len = 0;
	listed.e.is_listed = true;
	assert_int_equal(call_sync_begin(&sinks[0], SYNC_COMPACTED, 40), 0);
	feed(&sinks[0], listed);
	assert_int_equal(sinks[0].sink.ops->synced(&sinks[0].sink, 40), 0);
	assert_int_equal(sinks[0].sink.ops->progress(&sinks[0].sink, 55), 0);
	assert_int_equal(call_sync_begin(&sinks[0], SYNC_FIRST, 56), 0);
	check("{\"type\":\"sync\",\"reason\":\"compacted\",\"revision\":40,"
	      "\"compact_revision\":33}\n"
	      "{\"type\":\"put\",\"key\":\"/l\",\"value\":\"v\",\"create_revision\":3,"
	      "\"mod_revision\":12,\"version\":4,\"lease\":\"0\",\"sync\":true}\n"
	      "{\"type\":\"synced\",\"revision\":40}\n"
	      "{\"type\":\"progress\",\"revision\":55}\n"
	      "{\"type\":\"sync\",\"reason\":\"first\",\"revision\":56}\n");
	assert_int_equal(log_lines, 0);
	end();
}

static void test_json_of_run_and_get(void **state)
{
	struct sample listed = sample_of("/l", "v");

	(void)state;
	listed.e.is_listed = true;
	begin((struct print_cfg){.format = PRINT_JSON, .watch_name = "net\"1"});
	assert_int_equal(call_sync_begin(&sinks[0], SYNC_STATE, 5), 0);
	feed(&sinks[0], sample_of("/a", NULL));
	assert_int_equal(sinks[0].sink.ops->progress(&sinks[0].sink, 55), 0);
	check("{\"watch\":\"net\\\"1\",\"type\":\"sync\",\"reason\":\"state\",\"revision\":5}\n"
	      "{\"watch\":\"net\\\"1\",\"type\":\"delete\",\"key\":\"/a\","
	      "\"mod_revision\":13}\n");
	end();

	begin((struct print_cfg){.format = PRINT_JSON, .is_get = true});
	assert_int_equal(call_sync_begin(&sinks[0], SYNC_FIRST, 5), 0);
	feed(&sinks[0], listed);
	assert_int_equal(sinks[0].sink.ops->synced(&sinks[0].sink, 5), 0);
	check("{\"type\":\"put\",\"key\":\"/l\",\"value\":\"v\",\"create_revision\":3,"
	      "\"mod_revision\":12,\"version\":4,\"lease\":\"0\"}\n");
	end();
}

static void test_watch_name(void **state)
{
	struct print_cfg cfg = {.format = PRINT_JSON};
	char name[PRINT_PREFIX_MAX + 1];

	(void)state;
	begin_path("-");
	cfg.out = &out;
	memset(name, 'n', sizeof(name) - 1);
	name[sizeof(name) - 1] = '\0';
	cfg.watch_name = name;
	assert_int_equal(print_init(&sinks[0], &cfg), ERR_LIMIT);
	cfg.watch_name = "\xff";
	assert_int_equal(print_init(&sinks[0], &cfg), ERR_RANGE);
	end();
}

static void test_json_forms(void **state)
{
	(void)state;
	begin((struct print_cfg){.format = PRINT_JSON});
	feed(&sinks[0], sample_of("/\xff", "\xc3\xbc \"\\\t\x02\x7f/<>"));
	feed(&sinks[0], sample_of("/\xe2\x82\xac\n", "a\xc3"));
	check("{\"type\":\"put\",\"key_base64\":\"L/8=\","
	      "\"value\":\"\xc3\xbc \\\"\\\\\\t\\u0002\x7f/<>\",\"create_revision\":3,"
	      "\"mod_revision\":12,\"version\":4,\"lease\":\"0\"}\n"
	      "{\"type\":\"put\",\"key\":\"/\xe2\x82\xac\\n\",\"value_base64\":\"YcM=\","
	      "\"create_revision\":3,\"mod_revision\":12,\"version\":4,\"lease\":\"0\"}\n");
	end();
}

static size_t path_len;

static size_t give_path(void *user, const uint8_t *key, size_t key_len, char *dst, size_t cap)
{
	assert_ptr_equal(user, &path_len);
	assert_true(key_len > 0 && key[0] == '/');
	assert_true(cap > 4096);
	memset(dst, 'p', path_len);
	return path_len;
}

/* In place of the value, whose bytes are not printed whatever they are. */
static void test_json_paths(void **state)
{
	static const size_t lens[] = {1, 500, 4095};
	struct print_cfg cfg = {
		.format = PRINT_JSON, .path = give_path, .path_user = &path_len, .want_prev = true};
	static char want[OUT_CAP];
	char path[4096], *value = make_text(1, 20000);
	struct sample listed = sample_of("/l", "v"), large = sample_of("/b", value);

	(void)state;
	listed.e.is_listed = true;
	for (size_t i = 0; i < sizeof(lens) / sizeof(lens[0]); i++) {
		for (size_t step = 0; step < 2; step++) {
			const char *tail = ",\"create_revision\":3,\"mod_revision\":12,"
					   "\"version\":4,\"lease\":\"0\"";
			size_t n = 0;

			begin(cfg);
			piece_len = step ? 7 : SIZE_MAX;
			budget_step = step ? 100 : 0;
			w.budget = budget_step ? budget_step : OUT_CAP;
			path_len = lens[i];
			memset(path, 'p', path_len);
			path[path_len] = '\0';
			feed(&sinks[0], sample_of("/a", "1"));
			feed(&sinks[0], with_prev(large, "old"));
			feed(&sinks[0], with_prev(sample_of("/c", ""), "\xff"));
			feed(&sinks[0], sample_of("/d", NULL));
			feed(&sinks[0], listed);
			/* A key that has no file. */
			path_len = 0;
			feed(&sinks[0], with_prev(sample_of("/e", "1"), ""));
			for (int t = 0; t < 2000 && buf_len(&out.buf); t++) {
				w.budget += OUT_CAP;
				turn();
			}
			n += put_text(want, n, "{\"type\":\"put\",\"key\":\"/a\",");
			n += put_text(want, n, "\"path\":\"%s\"%s}\n", path, tail);
			n += put_text(want, n, "{\"type\":\"put\",\"key\":\"/b\",");
			n += put_text(want, n, "\"path\":\"%s\"%s,", path, tail);
			n += put_text(want, n, "\"prev_value\":\"old\"}\n");
			n += put_text(want, n, "{\"type\":\"put\",\"key\":\"/c\",");
			n += put_text(want, n, "\"path\":\"%s\"%s,", path, tail);
			n += put_text(want, n, "\"prev_value_base64\":\"/w==\"}\n");
			n += put_text(want, n, "{\"type\":\"delete\",\"key\":\"/d\",");
			n += put_text(want, n, "\"mod_revision\":13}\n");
			n += put_text(want, n, "{\"type\":\"put\",\"key\":\"/l\",");
			n += put_text(want, n, "\"path\":\"%s\"%s,\"sync\":true}\n", path, tail);
			n += put_text(want, n, "{\"type\":\"put\",\"key\":\"/e\"%s,", tail);
			n += put_text(want, n, "\"prev_value\":\"\"}\n");
			check_bytes(want, n);
			end();
		}
	}
	piece_len = SIZE_MAX;
	budget_step = 0;
	free(value);
}

static void test_simple(void **state)
{
	struct sample created = with_prev(sample_of("/c", "v"), "");

	(void)state;
	begin((struct print_cfg){.format = PRINT_SIMPLE, .want_progress = true});
	feed(&sinks[0], sample_of("/a", "1\xff\n2"));
	feed(&sinks[0], sample_of("/a", ""));
	feed(&sinks[0], sample_of("/a", NULL));
	assert_int_equal(sinks[0].sink.ops->progress(&sinks[0].sink, 55), 0);
	check("PUT\n/a\n1\xff\n2\nPUT\n/a\n\nDELETE\n/a\n\nprogress notify: 55\n");
	w.len = 0;
	assert_int_equal(log_lines, 0);
	assert_int_equal(call_sync_begin(&sinks[0], SYNC_ROLLBACK, 40), 0);
	feed(&sinks[0], sample_of("/l", "x"));
	assert_int_equal(sinks[0].sink.ops->synced(&sinks[0].sink, 40), 0);
	check("PUT\n/l\nx\n");
	assert_int_equal(log_lines, 2);
	assert_non_null(strstr(log_text, "rollback"));
	end();

	/* As etcdctl does it: the previous pair stands before the new one. */
	begin((struct print_cfg){.format = PRINT_SIMPLE, .want_prev = true});
	created.e.has_prev = false;
	created.e.create_rev = created.e.mod_rev;
	feed(&sinks[0], created);
	feed(&sinks[0], with_prev(sample_of("/a", "2"), "1"));
	feed(&sinks[0], with_prev(sample_of("/a", ""), "1"));
	feed(&sinks[0], with_prev(sample_of("/a", "2"), ""));
	feed(&sinks[0], sample_of("/a", "2"));
	feed(&sinks[0], with_prev(sample_of("/a", NULL), "2"));
	check("PUT\n/c\nv\n"
	      "PUT\n/a\n1\n/a\n2\n"
	      "PUT\n/a\n1\n/a\n\n"
	      "PUT\n/a\n\n/a\n2\n"
	      "PUT\n/a\n2\n"
	      "DELETE\n/a\n2\n/a\n\n");
	end();

	begin((struct print_cfg){.format = PRINT_SIMPLE, .is_get = true});
	assert_int_equal(call_sync_begin(&sinks[0], SYNC_FIRST, 5), 0);
	feed(&sinks[0], sample_of("/a", "1"));
	feed(&sinks[0], sample_of("/b", ""));
	assert_int_equal(sinks[0].sink.ops->synced(&sinks[0].sink, 5), 0);
	check("/a\n1\n/b\n\n");
	assert_int_equal(log_lines, 0);
	end();
}

/* "name":"text" or "name_base64":"...", in the forms that print promises. */
static size_t append_member(char *dst, const char *name, const char *text, size_t len)
{
	bool is_base64 =
		len > 16384 || json_text_scan((const uint8_t *)text, len) == JSON_TEXT_BINARY;
	size_t n = put_text(dst, 0, "\"%s%s\":\"", name, is_base64 ? "_base64" : "");
	size_t used;

	if (is_base64) {
		n += append_base64(dst + n, (const uint8_t *)text, len);
	} else {
		assert_int_equal(
			json_escape(dst + n, OUT_CAP / 2, &used, (const uint8_t *)text, len), len);
		n += used;
	}
	dst[n++] = '"';
	return n;
}

static const size_t lengths[] = {0, 1, 7, 500, 4095, 8191, 8192, 16383, 16384, 16385, 50000};
static const size_t pieces[] = {SIZE_MAX, 16384, 1000, 7};
static const size_t steps[] = {0, 5000, 333};

/* Any length, cut into any pieces, onto an output that takes any number of bytes: the same line. */
static void check_shape(int kind, size_t len, size_t prev_len, size_t key_len)
{
	static char want[OUT_CAP];
	char *value = make_text(kind, len), *prev = make_text((kind + 1) % 4, prev_len);
	char *key = make_text(kind, key_len);
	struct sample x = sample_of("", "");
	size_t n = 0;

	x.e.key = (const uint8_t *)key;
	x.e.key_len = key_len;
	x.e.value_len = len;
	x.e.lease = 5;
	x.value = (const uint8_t *)value;
	if (prev_len) {
		x.prev = (const uint8_t *)prev;
		x.e.prev_len = prev_len;
		x.e.has_prev = true;
	}
	n += put_text(want, n, "{\"type\":\"put\",");
	n += append_member(want + n, "key", key, key_len);
	want[n++] = ',';
	n += append_member(want + n, "value", value, len);
	n += put_text(want, n,
		",\"create_revision\":3,\"mod_revision\":12,\"version\":4,\"lease\":\"5\"");
	if (prev_len) {
		want[n++] = ',';
		n += append_member(want + n, "prev_value", prev, prev_len);
	}
	n += put_text(want, n, "}\n");
	feed(&sinks[0], x);
	for (int i = 0; i < 2000 && buf_len(&out.buf); i++) {
		w.budget += budget_step ? budget_step : OUT_CAP;
		turn();
	}
	check_bytes(want, n);
	free(value);
	free(prev);
	free(key);
}

static void test_json_shapes(void **state)
{
	(void)state;
	for (size_t p = 0; p < sizeof(pieces) / sizeof(pieces[0]); p++) {
		for (size_t st = 0; st < sizeof(steps) / sizeof(steps[0]); st++) {
			for (size_t l = 0; l < sizeof(lengths) / sizeof(lengths[0]); l++) {
				for (int kind = 0; kind < 4; kind++) {
					size_t other = (l * 7 + p + st) %
						       (sizeof(lengths) / sizeof(lengths[0]));

					begin((struct print_cfg){.format = PRINT_JSON});
					piece_len = pieces[p];
					budget_step = steps[st];
					w.budget = budget_step ? budget_step : OUT_CAP;
					w.most = budget_step ? 100 + budget_step / 3 : OUT_CAP;
					check_shape(kind, lengths[l], lengths[other],
						lengths[l] < 4096 ? lengths[l] : 4096);
					end();
				}
			}
		}
	}
	piece_len = SIZE_MAX;
	budget_step = 0;
}

static void test_simple_shapes(void **state)
{
	(void)state;
	for (size_t p = 0; p < sizeof(pieces) / sizeof(pieces[0]); p++) {
		for (size_t l = 0; l < sizeof(lengths) / sizeof(lengths[0]); l++) {
			size_t len = lengths[l], prev_len = lengths[(l + 3) % 11];
			char *value = make_text(3, len), *prev = make_text(1, prev_len);
			char *key = make_text(2, 4096);
			struct sample x = sample_of("", "");
			static char want[OUT_CAP];
			size_t n;

			begin((struct print_cfg){.format = PRINT_SIMPLE, .want_prev = true});
			piece_len = pieces[p];
			budget_step = 700;
			w.budget = 700;
			x.e.key = (const uint8_t *)key;
			x.e.key_len = 4096;
			x.e.value_len = len;
			x.value = (const uint8_t *)value;
			x.prev = (const uint8_t *)prev;
			x.e.prev_len = prev_len;
			x.e.has_prev = true;
			n = put_text(want, 0, "PUT\n%s\n", key);
			if (len <= 16384) {
				memcpy(want + n, prev, prev_len);
				n += prev_len;
				n += put_text(want, n, "\n%s\n", key);
			}
			memcpy(want + n, value, len);
			n += len;
			want[n++] = '\n';
			feed(&sinks[0], x);
			for (int i = 0; i < 1000 && buf_len(&out.buf); i++) {
				w.budget += budget_step;
				turn();
			}
			check_bytes(want, n);
			assert_int_equal(log_lines, len > 16384 && prev_len ? 1 : 0);
			end();
			free(value);
			free(prev);
			free(key);
		}
	}
	piece_len = SIZE_MAX;
	budget_step = 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_json_lines),
		cmocka_unit_test(test_json_of_run_and_get),
		cmocka_unit_test(test_watch_name),
		cmocka_unit_test(test_json_paths),
		cmocka_unit_test(test_json_forms),
		cmocka_unit_test(test_simple),
		cmocka_unit_test(test_json_shapes),
		cmocka_unit_test(test_simple_shapes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
