/* SPDX-License-Identifier: Apache-2.0 */
/* The fetch sink on a real folder, with a server and a clock that are not. */
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "port/port.h"

int same_random(void *dst, size_t len);
#define port_random same_random
#include "fake_clock.h"
#undef port_random

#include "fetch_helper.h"
#include "tls_digest_keys.h"

/* Each time another one. */
int port_random(void *dst, size_t len)
{
	static uint64_t seed = 1;

	help_fill(dst, len, ++seed);
	return 0;
}

enum { BIG = 9 << 20, SMALL = 100000 };

static uint8_t big[BIG], one[SMALL], two[SMALL];

#define U "http://server/a"
#define V "http://server/b"

static int set_up(void **state)
{
	fake_clock_reset();
	help_fill(big, BIG, 3);
	help_fill(one, SMALL, 5);
	help_fill(two, SMALL, 7);
	return help_set_up(state);
}

static void run(int64_t ms)
{
	fake_run(&help_loop, ms);
}

static int64_t done_rev(void)
{
	return help_fetch.sink.done_rev;
}

static struct fetch_count count(void)
{
	struct fetch_count c;

	fetch_count(&help_fetch, &c);
	return c;
}

static const char *value_of(const uint8_t *body, const char *url)
{
	return help_value(url, body, SMALL, SMALL, NULL);
}

/* -- the usual -------------------------------------------------------------------------------- */

static void test_put_and_delete(void **state)
{
	struct stat st;

	(void)state;
	fake_put_up(U, one, SMALL);
	help_open();
	assert_true(help_fetch.sink.identity != 0);
	must(help_put("/f/one", value_of(one, U), 5));
	assert_int_equal(done_rev(), 0);
	run(100);
	assert_true(help_is("one", one, SMALL));
	assert_int_equal(stat(help_at(help_dir, "one"), &st), 0);
	assert_int_equal(st.st_mode & 07777, 0640);
	assert_int_equal(done_rev(), 5);
	assert_true(help_seen.moves > 0 && help_seen.wakes > 0);
	must(help_fetch.sink.ops->settle(&help_fetch.sink));
	must(help_delete("/f/one", 6));
	run(0);
	assert_string_equal(help_names(help_dir), "");
	assert_string_equal(help_names(help_own), "identity ");
	assert_int_equal(done_rev(), 6);
	assert_int_equal(help_seen.warnings, 0);
	assert_int_equal(fake_page_of(U)->asked, 1);
}

static void test_nothing_is_asked_again(void **state)
{
	uint64_t identity;

	(void)state;
	fake_put_up(U, one, SMALL);
	help_open();
	identity = help_fetch.sink.identity;
	must(help_put("/f/one", value_of(one, U), 5));
	run(100);
	help_stop();
	help_open();
	assert_true(help_fetch.sink.identity == identity);
	must(help_put("/f/one", value_of(one, U), 5));
	must(help_put("/f/one", value_of(one, U), 9));
	run(100);
	assert_int_equal(done_rev(), 9);
	/* The same bytes from elsewhere, and under another name. */
	must(help_put("/f/one", help_value(V, one, SMALL, -1, "other"), 10));
	run(100);
	assert_string_equal(help_names(help_dir), "other ");
	assert_int_equal(done_rev(), 10);
	assert_int_equal(fake_page_of(U)->asked, 1);
	assert_null(fake_page_of(V));
	/* Gone while nobody looked. */
	help_stop();
	unlink(help_at(help_dir, "other"));
	fake_put_up(V, one, SMALL);
	help_open();
	run(100);
	assert_true(help_is("other", one, SMALL));
	assert_int_equal(fake_page_of(V)->asked, 1);
}

static void test_new_value_replaces(void **state)
{
	(void)state;
	fake_put_up(U, one, SMALL);
	fake_put_up(V, two, SMALL)->status = 503;
	help_open();
	must(help_put("/f/x", value_of(one, U), 5));
	run(100);
	must(help_put("/f/x", value_of(two, V), 6));
	run(20000);
	/* The last good one stays until then. */
	assert_true(help_is("x", one, SMALL));
	assert_int_equal(done_rev(), 5);
	assert_true(help_fetch.sink.is_failing);
	assert_true(fake_page_of(V)->asked > 4);
	fake_page_of(V)->status = 0;
	run(5000);
	assert_true(help_is("x", two, SMALL));
	assert_false(help_fetch.sink.is_failing);
	assert_int_equal(done_rev(), 6);
	assert_int_equal(help_seen.warnings, 1);
}

static void test_newest_cancels(void **state)
{
	(void)state;
	fake_put_up(U, one, SMALL)->piece_ms = 1000;
	fake_put_up(V, two, SMALL);
	help_open();
	must(help_put("/f/x", value_of(one, U), 5));
	run(2500);
	assert_int_equal(fake_under_way, 1);
	must(help_put("/f/x", value_of(two, V), 6));
	run(100);
	assert_true(help_is("x", two, SMALL));
	assert_int_equal(done_rev(), 6);
	assert_int_equal(fake_under_way, 0);
	/* What is known to be old changes nothing. */
	must(help_give("/f/x", value_of(one, U), 5, false, false, 7));
	must(help_give("/f/x", "", 4, true, false, 7));
	run(100);
	assert_true(help_is("x", two, SMALL));
}

static void test_parallel_and_order(void **state)
{
	char urls[6][40], keys[6][16];

	(void)state;
	help_cfg.rate_bytes_s = 3000;
	help_open();
	for (int i = 0; i < 6; i++) {
		snprintf(urls[i], sizeof(urls[i]), "http://server/%d", i);
		snprintf(keys[i], sizeof(keys[i]), "/f/%d", i);
		fake_put_up(urls[i], one, SMALL)->piece_ms = 1000;
		must(help_put(keys[i], value_of(one, urls[i]), 10 - i));
	}
	run(10);
	assert_int_equal(fake_under_way, CONFIG_FETCH_PARALLEL);
	for (int i = 0; i < 6; i++)
		assert_int_equal(fake_page_of(urls[i])->asked, i >= 6 - CONFIG_FETCH_PARALLEL);
	for (int i = 0; i < FAKE_CALLS_MAX; i++) {
		if (fake_calls[i].r)
			assert_int_equal(
				fake_calls[i].r->rate_bytes_s, 3000 / CONFIG_FETCH_PARALLEL);
	}
	run(60000);
	assert_int_equal(count().placed, 6);
	assert_int_equal(fake_most, CONFIG_FETCH_PARALLEL);
}

/* With something pending all the time the position moves on all the same. */
static void test_done_follows_a_mark(void **state)
{
	(void)state;
	fake_put_up(U, one, SMALL)->piece_ms = 1000;
	fake_put_up(V, two, SMALL)->piece_ms = 1000;
	help_open();
	must(help_put("/f/a", value_of(one, U), 5));
	run(2000);
	must(help_put("/f/b", value_of(two, V), 6));
	must(help_put("/f/bad", "[]", 7));
	run(6000);
	assert_true(help_is("a", one, SMALL));
	assert_int_equal(done_rev(), 5);
	must(help_put("/f/a", value_of(two, V), 8));
	run(4000);
	assert_true(help_is("b", two, SMALL));
	assert_int_equal(done_rev(), 7);
	run(9000);
	assert_int_equal(done_rev(), 8);
}

/* -- interrupted ------------------------------------------------------------------------------ */

static void test_resume(void **state)
{
	struct fake_page *p = fake_put_up(U, big, BIG);

	(void)state;
	p->etag = "\"v1\"";
	p->cut_after = 2000000;
	p->cut_err = ERR_RESET;
	help_open();
	must(help_put("/f/big", help_value(U, big, BIG, BIG, NULL), 5));
	run(50);
	assert_int_equal(p->asked, 1);
	run(100000);
	assert_true(help_is("big", big, BIG));
	assert_int_equal(p->asked, 5);
	assert_string_equal(p->range, "8000000-");
	assert_string_equal(p->if_range, "\"v1\"");
	assert_true(help_fetch.bytes == BIG);
}

static void test_resume_after_restart(void **state)
{
	struct fake_page *p = fake_put_up(U, big, BIG);
	char name[64];
	struct stat st;

	(void)state;
	p->etag = "\"v1\"";
	p->cut_after = 6000000;
	p->cut_err = ERR_RESET;
	help_open();
	must(help_put("/f/big", help_value(U, big, BIG, BIG, NULL), 5));
	run(380);
	help_stop();
	help_open();
	run(1000);
	assert_true(strtol(p->range, NULL, 10) >= 6000000);
	assert_true(help_is("big", big, BIG));
	/* The same, and the system has started anew in between: the end is not believed. */
	must(help_put("/f/big", help_value(U, big, BIG, BIG, "again"), 6));
	must(help_put("/f/two", help_value(U, big, BIG, BIG, NULL), 7));
	run(380);
	help_stop();
	for (int i = 0; i < 2; i++) {
		struct fetch_record r;
		uint8_t bytes[FETCH_RECORD_MAX], hash[FETCH_HASH_LEN];
		bool is_part;
		long len;

		fetch_key_hash((const uint8_t *)(i ? "/f/two" : "/f/big"), 6, hash);
		snprintf(name, sizeof(name), "%.32s", fetch_part_name((char[64]){0}, hash));
		assert_true(fetch_file_parse(name, hash, &is_part));
		len = help_read(help_own, name, bytes, sizeof(bytes));
		assert_true(len > 0 && fetch_record_decode(&r, bytes, (size_t)len, hash));
		snprintf(r.boot, sizeof(r.boot), "another");
		help_plant(help_own, name, bytes, fetch_record_encode(bytes, &r));
	}
	snprintf(name + strlen(name), sizeof(name) - strlen(name), ".part");
	assert_int_equal(stat(help_at(help_own, name), &st), 0);
	p->cut_after = 0;
	help_open();
	run(2000);
	snprintf(name, sizeof(name), "%d-", (int)st.st_size - CONFIG_FETCH_SYNC_BYTES);
	assert_string_equal(p->range, name);
	assert_true(help_is("two", big, BIG));
	assert_true(help_is("again", big, BIG));
}

static void test_version_has_changed(void **state)
{
	struct fake_page *p = fake_put_up(U, one, SMALL);

	(void)state;
	p->etag = "\"v1\"";
	p->cut_after = 50000;
	p->cut_err = ERR_RESET;
	help_open();
	/* It was another one when it began. */
	must(help_put("/f/x", value_of(two, U), 5));
	run(10);
	p->etag = "\"v2\"";
	p->body = two;
	p->cut_after = 0;
	run(1000);
	assert_string_equal(p->if_range, "\"v1\"");
	assert_true(help_is("x", two, SMALL));
}

/* No validator: the parts do not fit together, which is no reason to refuse it. */
static void test_parts_do_not_fit(void **state)
{
	struct fake_page *p = fake_put_up(U, one, SMALL);

	(void)state;
	p->cut_after = 50000;
	p->cut_err = ERR_RESET;
	help_open();
	must(help_put("/f/x", value_of(two, U), 5));
	run(10);
	p->body = two;
	p->cut_after = 0;
	run(1000);
	assert_true(help_is("x", two, SMALL));
	assert_int_equal(p->asked, 3);
	assert_string_equal(p->range, "");
	assert_int_equal(help_fetch.refused, 0);
}

static void test_server_without_range(void **state)
{
	struct fake_page *p = fake_put_up(U, one, SMALL);

	(void)state;
	p->has_no_range = true;
	p->cut_after = 50000;
	p->cut_err = ERR_RESET;
	help_open();
	must(help_put("/f/x", value_of(one, U), 5));
	run(10);
	p->cut_after = 0;
	run(1000);
	assert_true(help_is("x", one, SMALL));
	/* One that sends another part than was asked for. */
	p->has_no_range = false;
	p->is_wrong_range = true;
	p->cut_after = 50000;
	must(help_put("/f/y", value_of(one, U), 6));
	run(10);
	p->cut_after = 0;
	run(1000);
	assert_true(help_is("y", one, SMALL));
	assert_string_equal(p->range, "");
}

/* Its size was not told, and all of it was there when it broke off. */
static void test_all_was_there(void **state)
{
	struct fake_page *p = fake_put_up(U, one, SMALL);

	(void)state;
	p->cut_after = SMALL;
	p->cut_err = ERR_RESET;
	p->has_no_length = true;
	help_open();
	must(help_put("/f/x", help_value(U, one, SMALL, -1, NULL), 5));
	run(10);
	assert_int_equal(count().placed, 0);
	run(1000);
	assert_true(help_is("x", one, SMALL));
	assert_int_equal(p->asked, 2);
}

static void test_part_goes_on_elsewhere(void **state)
{
	struct fake_page *p = fake_put_up(U, one, SMALL), *q = fake_put_up(V, one, SMALL);

	(void)state;
	p->piece_ms = 100;
	p->etag = q->etag = "\"v1\"";
	help_open();
	must(help_put("/f/x", value_of(one, U), 5));
	run(350);
	must(help_put("/f/x", value_of(one, V), 6));
	run(350);
	assert_true(help_is("x", one, SMALL));
	assert_true(strtol(q->range, NULL, 10) >= FAKE_PIECE_LEN);
	assert_string_equal(q->if_range, "");
}

/* -- what is not taken ------------------------------------------------------------------------ */

static void test_bad_digest(void **state)
{
	struct fake_page *p = fake_put_up(U, one, SMALL);

	(void)state;
	help_open();
	must(help_put("/f/x", value_of(one, U), 5));
	run(100);
	p->body = two;
	must(help_put("/f/x", help_value(U, big, SMALL, SMALL, NULL), 6));
	run(100);
	assert_int_equal(count().refused, 1);
	assert_true(help_is("x", one, SMALL));
	assert_int_equal(done_rev(), 6);
	assert_int_equal(help_fetch.sink.errors, 1);
	assert_int_equal(p->asked, 2);
	/* Not again: not later, not by a signal, not after a restart, not with the same value. */
	run(10000000);
	help_fetch.sink.ops->retry(&help_fetch.sink);
	run(1000);
	help_stop();
	assert_int_equal(strstr(help_names(help_own), "part") != NULL, 0);
	help_open();
	run(1000);
	must(help_put("/f/x", help_value(U, big, SMALL, SMALL, NULL), 7));
	run(1000);
	assert_int_equal(p->asked, 2);
	assert_int_equal(count().refused, 1);
	assert_int_equal(done_rev(), 7);
	must(help_put("/f/x", value_of(two, U), 8));
	run(1000);
	assert_true(help_is("x", two, SMALL));
}

static void test_other_size_is_told(void **state)
{
	struct fake_page *p = fake_put_up(U, two, 1000);
	struct fetch_progress progress;

	(void)state;
	help_open();
	must(help_put("/f/x", value_of(one, U), 5));
	run(3600 * 1000);
	assert_string_equal(help_names(help_dir), "");
	assert_int_equal(count().pending, 1);
	assert_int_equal(done_rev(), 0);
	assert_true(p->asked > 3 && p->asked < 40);
	assert_int_equal(help_seen.warnings, 1);
	assert_non_null(strstr(help_seen.last_warning, "another size"));
	assert_true(fetch_progress(&help_fetch, 0, &progress));
	assert_non_null(strstr(progress.why, "another size"));
	p->body = one;
	p->len = SMALL;
	help_fetch.sink.ops->retry(&help_fetch.sink);
	run(100);
	assert_true(help_is("x", one, SMALL));
}

static void test_endless_body(void **state)
{
	struct fake_page *p = fake_put_up(U, one, SMALL);

	(void)state;
	p->is_endless = p->has_no_length = true;
	p->piece_ms = 10;
	help_open();
	must(help_put("/f/x", value_of(one, U), 5));
	run(3600 * 1000);
	assert_int_equal(fake_under_way, 0);
	assert_null(strstr(help_names(help_own), "part"));
	assert_true(p->asked > 3 && p->asked < 40);
	/* Without a size the limit is fetch-max-size. */
	help_stop();
	help_cfg.max_len = SMALL + 10;
	help_open();
	must(help_put("/f/x", help_value(U, one, SMALL, -1, NULL), 6));
	run(1000);
	assert_int_equal(count().refused, 1);
	assert_null(strstr(help_names(help_own), "part"));
	assert_non_null(strstr(help_fetch.sink.why, "fetch-max-size"));
}

static void test_too_large(void **state)
{
	struct fake_page *p = fake_put_up(U, one, SMALL);

	(void)state;
	help_cfg.max_len = SMALL - 1;
	help_open();
	must(help_put("/f/x", value_of(one, U), 5));
	run(100);
	assert_int_equal(p->asked, 0);
	assert_int_equal(count().refused, 1);
	assert_int_equal(done_rev(), 5);
	/* Without a size it is only seen from the answer. */
	must(help_put("/f/y", help_value(U, one, SMALL, -1, NULL), 6));
	run(100);
	assert_int_equal(p->asked, 1);
	assert_int_equal(count().refused, 2);
	assert_int_equal(done_rev(), 6);
	assert_string_equal(help_names(help_dir), "");
	help_stop();
	help_cfg.max_len = SMALL;
	help_open();
	run(100);
	assert_string_equal(help_names(help_dir), "x y ");
}

static void test_malformed_value(void **state)
{
	(void)state;
	fake_put_up(U, one, SMALL);
	help_open();
	must(help_put("/f/x", value_of(one, U), 5));
	run(100);
	must(help_put("/f/x", "{\"url\":\"http://server/a\"}", 6));
	run(100);
	assert_true(help_is("x", one, SMALL));
	assert_int_equal(count().refused, 1);
	assert_int_equal(done_rev(), 6);
	assert_non_null(strstr(help_seen.last_warning, "sha256 is missing"));
	assert_non_null(strstr(help_seen.last_warning, "/f/x"));
	must(help_put("/f/y", "", 7));
	must(help_put("/f/u",
		"{\"url\":\"ftp://x/y\",\"sha256\":"
		"\"0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef\"}",
		8));
	run(100);
	assert_int_equal(done_rev(), 8);
	help_stop();
	help_open();
	run(100);
	assert_int_equal(count().refused, 3);
	must(help_put("/f/x", value_of(one, U), 9));
	run(100);
	assert_int_equal(count().placed, 1);
	assert_int_equal(fake_page_of(U)->asked, 1);
	must(help_delete("/f/y", 10));
	must(help_delete("/f/u", 11));
	must(help_delete("/f/x", 12));
	run(0);
	assert_string_equal(help_names(help_dir), "");
	assert_string_equal(help_names(help_own), "identity ");
}

/* Each one is told of, and a flow of them is not. */
static void test_refusals_are_told(void **state)
{
	char key[16];

	(void)state;
	fake_clock_reset();
	help_open();
	run(1000);
	must(help_put("/f/a", "[]", 5));
	must(help_put("/f/b", "{}", 6));
	must(help_put("/f/c", help_value("ftp://x/y", one, SMALL, -1, NULL), 7));
	assert_int_equal(help_seen.warnings, 3);
	assert_non_null(strstr(help_seen.last_warning, "/f/c"));
	/* The same again, of one key. */
	for (int i = 0; i < 10; i++)
		must(help_put("/f/a", "[]", 8 + i));
	assert_int_equal(help_seen.warnings, 3);
	run(LOG_LIMIT_MS);
	must(help_put("/f/a", "[]", 20));
	assert_int_equal(help_seen.warnings, 4);
	for (int i = 0; i < 30; i++) {
		snprintf(key, sizeof(key), "/f/k%d", i);
		must(help_put(key, "[]", 30 + i));
	}
	assert_int_equal(help_seen.warnings, 17);
	assert_non_null(strstr(help_seen.last_warning, "more artifacts are in trouble"));
	run(60000);
	must(help_put("/f/k30", "[]", 100));
	assert_int_equal(help_seen.warnings, 18);
	assert_non_null(strstr(help_seen.last_warning, "/f/k30"));
}

static void test_long_value(void **state)
{
	char *value = calloc(1, CONFIG_FETCH_VALUE_BYTES + 100);

	(void)state;
	fake_put_up(U, one, SMALL);
	help_open();
	snprintf(value, 4096, "%s", value_of(one, U));
	memset(value + strlen(value), ' ', CONFIG_FETCH_VALUE_BYTES - strlen(value));
	must(help_put("/f/x", value, 5));
	run(100);
	assert_true(help_is("x", one, SMALL));
	strcat(value, " ");
	must(help_put("/f/y", value, 6));
	run(100);
	assert_int_equal(count().refused, 1);
	assert_non_null(strstr(help_seen.last_warning, "longer than"));
	free(value);
}

#ifdef CONFIG_FETCH_SIGNATURE
static void test_signature(void **state)
{
	static const uint8_t body[] = SIGNED_TEXT;
	char key[128], signed_value[4096], wrong[4096];
	char why[512];

	(void)state;
	snprintf(key, sizeof(key), "%s/key", help_base);
	help_cfg.pubkey = key;
	assert_int_equal(help_open_code(), ERR_CONFIG);
	help_plant(help_base, "key", "rubbish", 7);
	assert_int_equal(help_open_code(), ERR_CONFIG);
	help_plant(help_base, "key", SIGNED_KEY, strlen(SIGNED_KEY));
	fake_put_up(U, body, sizeof(body) - 1);
	snprintf(signed_value, sizeof(signed_value),
		"{\"url\":\"" U "\",\"sha256\":\"" SIGNED_SHA256 "\",\"sig\":\"" SIGNED_SIG "\"}");
	snprintf(wrong, sizeof(wrong), "%s", signed_value);
	*strstr(wrong, "MEQCI") = 'A';
	help_open();
	must(help_put("/f/none", help_value(U, body, sizeof(body) - 1, -1, NULL), 5));
	must(help_put("/f/wrong", wrong, 6));
	run(100);
	assert_int_equal(count().refused, 2);
	assert_int_equal(fake_page_of(U)->asked, 0);
	must(help_put("/f/good", signed_value, 7));
	run(100);
	assert_true(help_is("good", body, sizeof(body) - 1));
	assert_string_equal(help_names(help_dir), "good ");
	/* A file that lies there already is not taken over without one. */
	help_plant(help_dir, "planted", body, sizeof(body) - 1);
	must(help_put("/f/planted", help_value(U, body, sizeof(body) - 1, -1, NULL), 8));
	run(100);
	assert_int_equal(count().placed, 1);
	/* A key that is wrong leaves the one at hand. */
	help_plant(help_base, "key", "rubbish", 7);
	assert_int_equal(fetch_reload(&help_fetch, why, sizeof(why)), ERR_CONFIG);
	must(help_put("/f/wrong", signed_value, 9));
	run(100);
	assert_string_equal(help_names(help_dir), "good planted wrong ");
	/* Without the demand all that waits for it is taken at the next start. */
	help_stop();
	help_cfg.pubkey = NULL;
	help_open();
	run(100);
	assert_string_equal(help_names(help_dir), "good none planted wrong ");
	assert_int_equal(count().placed, 4);
}
#endif

/* -- the server's trouble --------------------------------------------------------------------- */

static void test_not_found(void **state)
{
	struct fake_page *p = fake_put_up(U, one, SMALL);

	(void)state;
	p->status = 404;
	help_open();
	must(help_put("/f/x", value_of(one, U), 5));
	run(24 * 3600 * 1000);
	/* Once in 15 minutes at most, in the end. */
	assert_true(p->asked > 96 && p->asked < 400);
	assert_int_equal(help_seen.warnings, 1);
	assert_non_null(strstr(help_seen.last_warning, "status 404"));
	p->status = 0;
	help_fetch.sink.ops->retry(&help_fetch.sink);
	run(100);
	assert_true(help_is("x", one, SMALL));
}

/* What a server does not have takes nobody's space. */
static void test_not_found_reserves_nothing(void **state)
{
	uint8_t hash[FETCH_HASH_LEN];
	char part[FETCH_FILE_NAME_MAX];
	struct stat st;

	(void)state;
	help_open();
	must(help_put("/f/x", help_value(U, big, BIG, BIG, NULL), 5));
	run(100);
	assert_int_equal(fake_page_of(U)->asked, 1);
	fetch_key_hash((const uint8_t *)"/f/x", 4, hash);
	assert_int_equal(stat(help_at(help_own, fetch_part_name(part, hash)), &st), 0);
	assert_int_equal(st.st_blocks, 0);
}

static void test_retry_after(void **state)
{
	struct fake_page *p = fake_put_up(U, one, SMALL);

	(void)state;
	p->status = 429;
	p->retry_after_ms = 100000;
	help_open();
	must(help_put("/f/x", value_of(one, U), 5));
	run(99000);
	assert_int_equal(p->asked, 1);
	run(2000);
	assert_int_equal(p->asked, 2);
	/* It may not be put off for ever. */
	p->retry_after_ms = INT64_C(1) << 50;
	run(200000);
	assert_int_equal(p->asked, 3);
	run(3600 * 1000);
	assert_int_equal(p->asked, 4);
}

static void test_unreachable(void **state)
{
	struct fake_page *p = fake_put_up(U, one, SMALL);

	(void)state;
	p->err = ERR_REFUSED;
	help_open();
	must(help_put("/f/x", value_of(one, U), 5));
	run(600000);
	assert_true(p->asked > 150);
	assert_int_equal(help_seen.last_fail, ERR_REFUSED);
	fetch_set_delays(&help_fetch, 100, 1000, 5000);
	p->err = 0;
	run(4000);
	assert_true(help_is("x", one, SMALL));
}

/* It is right but for its size, which nobody tells in advance. */
static void test_shorter_than_wanted(void **state)
{
	struct fake_page *p = fake_put_up(U, one, SMALL);

	(void)state;
	p->has_no_length = true;
	help_open();
	must(help_put("/f/x", help_value(U, one, SMALL, SMALL + 1, NULL), 5));
	run(3600 * 1000);
	assert_string_equal(help_names(help_dir), "");
	assert_int_equal(count().pending, 1);
	assert_true(p->asked < 40);
}

static void test_short_body(void **state)
{
	struct fake_page *p = fake_put_up(U, one, SMALL);

	(void)state;
	p->cut_after = 70000;
	help_open();
	must(help_put("/f/x", value_of(one, U), 5));
	run(10);
	assert_int_equal(count().refused, 0);
	run(1000);
	assert_true(help_is("x", one, SMALL));
	assert_string_equal(p->range, "70000-");
}

/* -- other files ------------------------------------------------------------------------------ */

static void test_adopt_and_foreign(void **state)
{
	struct fake_page *p = fake_put_up(U, one, SMALL);

	(void)state;
	assert_int_equal(mkdir(help_dir, 0755), 0);
	help_plant(help_dir, "x", one, SMALL);
	help_plant(help_dir, "y", two, SMALL);
	help_plant(help_dir, "z", two, 5);
	assert_int_equal(symlink("/etc/passwd", help_at(help_dir, "link")), 0);
	assert_int_equal(mkdir(help_at(help_dir, "folder"), 0755), 0);
	help_open();
	must(help_put("/f/x", value_of(one, U), 5));
	must(help_put("/f/y", value_of(one, U), 6));
	must(help_put("/f/z", value_of(one, U), 7));
	must(help_put("/f/link", value_of(one, U), 8));
	must(help_put("/f/folder", value_of(one, U), 9));
	run(100);
	assert_int_equal(p->asked, 0);
	assert_int_equal(count().placed, 1);
	assert_int_equal(count().refused, 4);
	assert_int_equal(done_rev(), 9);
	assert_true(help_is("y", two, SMALL));
	assert_string_equal(help_names(help_dir), "folder link x y z ");
	/* What was in the way is gone. */
	unlink(help_at(help_dir, "y"));
	unlink(help_at(help_dir, "link"));
	help_fetch.sink.ops->retry(&help_fetch.sink);
	run(100);
	assert_true(help_is("y", one, SMALL));
	assert_true(help_is("link", one, SMALL));
	must(help_delete("/f/z", 10));
	must(help_delete("/f/folder", 11));
	must(help_delete("/f/x", 12));
	run(100);
	assert_string_equal(help_names(help_dir), "folder link y z ");
	/* One of ours that somebody has changed is put right at the next start, whatever it is now. */
	help_stop();
	unlink(help_at(help_dir, "y"));
	assert_int_equal(symlink("/etc/passwd", help_at(help_dir, "y")), 0);
	help_plant(help_dir, "link", two, SMALL);
	help_open();
	run(100);
	assert_true(help_is("y", one, SMALL));
	assert_true(help_is("link", one, SMALL));
}

/* Modes are for what was put there, and not for what somebody has planted since. */
static void test_planted_link_keeps_its_mode(void **state)
{
	char secret[HELP_PATH_MAX];
	struct stat st;

	(void)state;
	fake_put_up(U, one, SMALL);
	help_open();
	must(help_put("/f/a", value_of(one, U), 5));
	must(help_put("/f/b", value_of(one, U), 6));
	run(100);
	help_stop();
	help_plant(help_base, "secret", "s", 1);
	assert_int_equal(chmod(help_at(help_base, "secret"), 0600), 0);
	unlink(help_at(help_dir, "a"));
	(void)snprintf(secret, sizeof(secret), "%s", help_at(help_base, "secret"));
	assert_int_equal(link(secret, help_at(help_dir, "a")), 0);
	assert_int_equal(chmod(help_at(help_dir, "b"), 0600), 0);
	help_cfg.mode = 0644;
	help_open();
	assert_int_equal(stat(help_at(help_base, "secret"), &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
	assert_int_equal(stat(help_at(help_dir, "b"), &st), 0);
	assert_int_equal(st.st_mode & 07777, 0644);
	run(100);
	assert_true(help_is("a", one, SMALL));
	assert_int_equal(stat(help_at(help_base, "secret"), &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
}

/* What was refused when its event was processed, and is taken later, is told of by a listing. */
static void test_late_artifacts_are_listed(void **state)
{
	(void)state;
	fake_put_up(U, one, SMALL);
	fake_put_up(V, two, SMALL)->status = 503;
	help_cfg.max_len = SMALL - 1;
	help_open();
	must(help_put("/f/a", value_of(one, U), 5));
	must(help_put("/f/b", value_of(two, V), 6));
	run(100);
	assert_int_equal(count().refused, 2);
	assert_int_equal(done_rev(), 6);
	help_stop();
	help_cfg.max_len = SMALL;
	help_open();
	run(100);
	assert_true(help_is("a", one, SMALL));
	assert_int_equal(help_seen.relists, 1);
	/* Also when it was begun and interrupted. */
	help_stop();
	fake_page_of(V)->status = 0;
	fake_page_of(V)->piece_ms = 1000;
	help_open();
	run(2500);
	help_stop();
	help_open();
	run(10000);
	assert_true(help_is("b", two, SMALL));
	assert_int_equal(help_seen.relists, 2);
	/* What its event is still to come for needs none. */
	help_plant(help_dir, "c", two, SMALL);
	must(help_put("/f/c", value_of(one, U), 7));
	run(100);
	unlink(help_at(help_dir, "c"));
	must(help_put("/f/c", value_of(one, U), 8));
	run(100);
	assert_true(help_is("c", one, SMALL));
	assert_int_equal(help_seen.relists, 2);
}

static void test_names(void **state)
{
	(void)state;
	fake_put_up(U, one, SMALL);
	fake_put_up(V, two, SMALL);
	help_open();
	must(help_put("/f/a", help_value(U, one, SMALL, -1, "same"), 5));
	must(help_put("/f/b", help_value(V, two, SMALL, -1, "same"), 6));
	run(100);
	assert_true(help_is("same", one, SMALL));
	assert_int_equal(count().refused, 1);
	assert_int_equal(done_rev(), 6);
	/* Also after a restart. */
	help_stop();
	help_open();
	run(100);
	assert_true(help_is("same", one, SMALL));
	/* The name is free again: by a rename, by a delete. */
	must(help_put("/f/a", help_value(U, one, SMALL, -1, "mine"), 7));
	run(100);
	assert_true(help_is("mine", one, SMALL));
	assert_true(help_is("same", two, SMALL));
	must(help_put("/f/c", help_value(U, one, SMALL, -1, "same"), 8));
	run(100);
	must(help_delete("/f/b", 9));
	run(100);
	assert_true(help_is("same", one, SMALL));
	assert_string_equal(help_names(help_dir), "mine same ");
	assert_int_equal(count().refused, 0);
}

static void test_too_many_keys(void **state)
{
	uint64_t identity;
	char key[16];

	(void)state;
	fake_put_up(U, one, SMALL);
	help_open();
	for (int i = 0; i < CONFIG_FETCH_KEY_COUNT + 2; i++) {
		snprintf(key, sizeof(key), "/f/k%d", i);
		must(help_give(key, "{}", 5 + i, false, false, 100));
	}
	assert_int_equal(help_seen.skips, 2);
	assert_int_equal(help_seen.relists, 0);
	must(help_delete("/f/k0", 1000));
	run(1);
	/* There is room for one that was passed over. */
	assert_int_equal(help_seen.relists, 1);
	/* Also when nobody could list it before the end. */
	identity = help_fetch.sink.identity;
	help_stop();
	help_open();
	assert_true(help_fetch.sink.identity != identity);
	must(help_put("/f/new", value_of(one, U), 1001));
	run(100);
	assert_true(help_is("new", one, SMALL));
	assert_int_equal(done_rev(), 1001);
}

#ifdef CONFIG_FETCH_SIGNATURE

#define KEY_A \
	"-----BEGIN PUBLIC KEY-----\n" \
	"MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE3YK9Xq586gwHaK8UXES3OXg9WyAz\n" \
	"MFQ9mkOVQlnjhFmOG8SC9/0REPkxeZJsOsGKuwcIBGJAFXoB9OMUvsho1Q==\n" \
	"-----END PUBLIC KEY-----\n"
#define KEY_B \
	"-----BEGIN PUBLIC KEY-----\n" \
	"MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEemZpNYfLOt2o7Tsswb83TlHe0fw2\n" \
	"PrFRJUYloc2VRzZ748KQ3OajPHfiypAIGoNfDxJ9PMhrzFImDdp1S1G3gg==\n" \
	"-----END PUBLIC KEY-----\n"
/* Of what is in `one`, by the private half of KEY_A. */
#define SIGNED_BY_A \
	"MEYCIQCN8SsjFTt28IFrlbzCm84Gh+nIXOg0OTBd+q5teQELwwIhAL+ncAf6eQ6TwjtyrgJ3JdOZ0c561jrmX90K" \
	"beDRyrgc"

static void test_another_key(void **state)
{
	char value[2048], path[HELP_PATH_MAX], why[HTTP_WHY_MAX];

	(void)state;
	fake_put_up(U, one, SMALL)->piece_ms = 1000;
	help_plant(help_base, "key", KEY_A, strlen(KEY_A));
	(void)snprintf(path, sizeof(path), "%s", help_at(help_base, "key"));
	help_cfg.pubkey = path;
	help_open();
	(void)snprintf(value, sizeof(value), "%s", value_of(one, U));
	(void)snprintf(value + strlen(value) - 1, 256, ",\"sig\":\"%s\"}", SIGNED_BY_A);
	must(help_put("/f/x", value, 5));
	run(2500);
	assert_int_equal(fake_under_way, 1);
	/* All or nothing: the old key stays with the old certificates. */
	help_plant(help_base, "key", KEY_B, strlen(KEY_B));
	fake_reload_err = ERR_CONFIG;
	assert_int_equal(fetch_reload(&help_fetch, why, sizeof(why)), ERR_CONFIG);
	must(help_put("/f/y", value, 6));
	assert_int_equal(count().pending, 2);
	fake_reload_err = 0;
	must(fetch_reload(&help_fetch, why, sizeof(why)));
	/* What the old key has signed is not taken any more. */
	run(20000);
	assert_string_equal(help_names(help_dir), "");
	assert_int_equal(count().refused, 2);
	assert_int_equal(done_rev(), 6);
	help_plant(help_base, "key", KEY_A, strlen(KEY_A));
	must(fetch_reload(&help_fetch, why, sizeof(why)));
	run(20000);
	assert_string_equal(help_names(help_dir), "x y ");
}

#endif

/* -- listings --------------------------------------------------------------------------------- */

static void test_listing(void **state)
{
	(void)state;
	fake_put_up(U, one, SMALL);
	fake_put_up(V, two, SMALL);
	help_open();
	must(help_put("/f/a", value_of(one, U), 5));
	must(help_put("/f/b", value_of(one, U), 6));
	must(help_put("/f/c", value_of(one, U), 7));
	run(100);
	/* One that breaks off changes nothing. */
	must(help_list_begin(20));
	must(help_give("/f/a", value_of(one, U), 5, false, true, 50));
	must(help_list_begin(21));
	run(100);
	assert_string_equal(help_names(help_dir), "a b c ");
	must(help_give("/f/a", value_of(one, U), 5, false, true, 50));
	must(help_give("/f/c", value_of(two, V), 20, false, true, 50));
	must(help_list_end(21));
	assert_string_equal(help_names(help_dir), "a c ");
	assert_int_equal(done_rev(), 0);
	run(100);
	assert_int_equal(done_rev(), 21);
	assert_true(help_is("c", two, SMALL));
	/* The server went back. */
	must(help_list_begin(10));
	must(help_give("/f/c", value_of(one, U), 7, false, true, 50));
	must(help_list_end(10));
	run(100);
	assert_true(help_is("c", one, SMALL));
	assert_string_equal(help_names(help_dir), "c ");
	assert_int_equal(done_rev(), 10);
}

/* A server that went back, and a value that says the same: what comes later is not taken for old after a restart. */
static void test_revisions_go_back(void **state)
{
	(void)state;
	fake_put_up(U, one, SMALL);
	fake_put_up(V, two, SMALL);
	help_open();
	must(help_put("/f/a", value_of(one, U), 100));
	must(help_put("/f/b", value_of(one, U), 101));
	run(100);
	must(help_list_begin(50));
	must(help_give("/f/a", value_of(one, U), 30, false, true, 50));
	must(help_give("/f/b", value_of(one, U), 31, false, true, 50));
	must(help_list_end(50));
	run(100);
	help_stop();
	help_open();
	must(help_put("/f/a", value_of(two, V), 61));
	must(help_delete("/f/b", 62));
	run(100);
	assert_true(help_is("a", two, SMALL));
	assert_string_equal(help_names(help_dir), "a ");
	assert_int_equal(done_rev(), 62);
}

/* A value that could not be recorded, and is not there any more when everything is listed. */
static void test_unrecorded_value_is_withdrawn(void **state)
{
	(void)state;
	fake_put_up(U, one, SMALL);
	help_open();
	must(help_put("/f/a", value_of(one, U), 5));
	run(100);
	assert_int_equal(mkdir(help_at(help_own, "new"), 0700), 0);
	help_plant(help_own, "new/x", "", 0);
	assert_true(help_put("/f/a", value_of(two, V), 6) < 0);
	assert_int_equal(unlink(help_at(help_own, "new/x")), 0);
	assert_int_equal(rmdir(help_at(help_own, "new")), 0);
	must(help_list_begin(8));
	must(help_give("/f/a", value_of(one, U), 7, false, true, 50));
	must(help_list_end(8));
	run(100);
	assert_int_equal(count().placed, 1);
	assert_int_equal(done_rev(), 8);
}

static void test_folder_is_lost(void **state)
{
	uint64_t identity;

	(void)state;
	fake_put_up(U, one, SMALL);
	help_open();
	must(help_put("/f/a", value_of(one, U), 5));
	run(100);
	must(help_fetch.sink.ops->settle(&help_fetch.sink));
	identity = help_fetch.sink.identity;
	help_wipe(help_dir);
	assert_int_equal(help_put("/f/b", value_of(one, U), 6), ERR_NOENT);
	run(10000);
	assert_int_equal(help_seen.relists, 1);
	assert_true(help_fetch.sink.identity != identity);
	must(help_list_begin(6));
	must(help_give("/f/a", value_of(one, U), 5, false, true, 50));
	must(help_list_end(6));
	run(100);
	assert_true(help_is("a", one, SMALL));
	assert_int_equal(done_rev(), 6);
	assert_false(help_fetch.sink.is_failing);
	/* What was put into its place is another's until it was listed. */
	must(help_fetch.sink.ops->settle(&help_fetch.sink));
	identity = help_fetch.sink.identity;
	help_stop();
	unlink(help_at(help_own, "identity"));
	help_open();
	assert_true(help_fetch.sink.identity != identity);
	/* It is in use. */
	{
		static struct fetch_sink other;
		char why[512];

		assert_int_equal(fetch_open(&other, &help_cfg, why, sizeof(why)), ERR_LOCKED);
	}
}

static void test_damaged_record(void **state)
{
	uint64_t identity;
	char names[256];

	(void)state;
	fake_put_up(U, one, SMALL);
	help_open();
	must(help_put("/f/a", value_of(one, U), 5));
	run(100);
	identity = help_fetch.sink.identity;
	help_stop();
	snprintf(names, sizeof(names), "%s", help_names(help_own));
	names[32] = '\0';
	assert_int_equal(truncate(help_at(help_own, names), 100), 0);
	help_open();
	assert_true(help_fetch.sink.identity != identity);
	/* It is listed, and taken over without a download. */
	must(help_list_begin(6));
	must(help_give("/f/a", value_of(one, U), 5, false, true, 50));
	must(help_list_end(6));
	run(100);
	assert_int_equal(fake_page_of(U)->asked, 1);
	assert_int_equal(done_rev(), 6);
	/* While it runs: the folder is in doubt. */
	snprintf(names, sizeof(names), "%s", help_names(help_own));
	names[32] = '\0';
	unlink(help_at(help_dir, "a"));
	assert_int_equal(truncate(help_at(help_own, names), 100), 0);
	must(help_put("/f/a", value_of(one, U), 8));
	run(10000);
	assert_true(help_is("a", one, SMALL));
}

static void test_check(void **state)
{
	char why[512] = "";

	(void)state;
	must(fetch_check(&help_cfg, why, sizeof(why)));
	assert_string_equal(why, "");
	assert_int_not_equal(access(help_dir, F_OK), 0);
	help_open();
	must(fetch_check(&help_cfg, why, sizeof(why)));
	fetch_close(&help_fetch);
	help_wipe(help_dir);
	help_plant(help_base, "d", "x", 1);
	assert_int_equal(fetch_check(&help_cfg, why, sizeof(why)), ERR_NOENT);
	assert_non_null(strstr(why, "something else than a folder"));
	assert_int_equal(help_open_code(), ERR_NOENT);
	help_wipe(help_dir);
	help_cfg.path = "/proc/none/here";
	assert_true(help_open_code() < 0);
}

/* -- for others ------------------------------------------------------------------------------- */

static void test_hook(void **state)
{
	char token[64], path[256];
	size_t len;

	(void)state;
	fake_put_up(U, one, SMALL)->piece_ms = 100;
	help_open();
	len = fetch_key_path(&help_fetch, (const uint8_t *)"/f/a", 4, token, sizeof(token));
	assert_true(len > 0 && token[0] == '.' && strlen(token) == len);
	assert_int_equal(fetch_path_now(&help_fetch, token, len, path, sizeof(path)), 0);
	must(help_put("/f/a", help_value(U, one, SMALL, -1, "firmware"), 5));
	run(150);
	assert_int_equal(fetch_path_now(&help_fetch, token, len, path, sizeof(path)), 0);
	assert_int_equal(fetch_done_rev(&help_fetch), 0);
	run(1000);
	assert_int_equal(fetch_path_now(&help_fetch, token, len, path, sizeof(path)), 8);
	assert_string_equal(path, "firmware");
	assert_int_equal(fetch_done_rev(&help_fetch), 5);
	assert_int_equal(fetch_path_now(&help_fetch, token, len, path, 8), 0);
	assert_int_equal(fetch_path_now(&help_fetch, "firmware", 8, path, sizeof(path)), 0);
	assert_int_equal(fetch_key_path(&help_fetch, (const uint8_t *)"/f/a", 4, token, 33), 0);
}

/* Everything, as it is wanted after a relist. */
static void list_two(int64_t rev)
{
	must(help_list_begin(rev));
	must(help_give("/f/a", value_of(one, U), 5, false, true, 100));
	must(help_give("/f/b", value_of(two, V), 6, false, true, 100));
	must(help_list_end(rev));
	run(1000);
	assert_int_equal(done_rev(), rev);
}

/* What was refused, and so processed, and is taken without an event: the hook is to be given it, once. */
static void test_late_after_retry(void **state)
{
	uint64_t identity;

	(void)state;
	fake_put_up(U, one, SMALL);
	fake_put_up(V, two, SMALL)->piece_ms = 100;
	assert_int_equal(mkdir(help_dir, 0755), 0);
	help_plant(help_dir, "a", big, 5);
	help_plant(help_dir, "b", big, 5);
	help_open();
	must(help_put("/f/a", value_of(one, U), 5));
	must(help_put("/f/b", value_of(two, V), 6));
	run(100);
	must(help_fetch.sink.ops->settle(&help_fetch.sink));
	assert_int_equal(count().refused, 2);
	identity = help_fetch.sink.identity;
	unlink(help_at(help_dir, "a"));
	unlink(help_at(help_dir, "b"));
	help_fetch.sink.ops->retry(&help_fetch.sink);
	run(150);
	assert_int_equal(count().placed, 1);
	assert_int_equal(help_seen.relists, 0);
	run(2000);
	assert_int_equal(count().placed, 2);
	assert_int_equal(help_seen.relists, 1);
	assert_true(help_fetch.sink.identity != identity);
	list_two(8);
	help_fetch.sink.ops->retry(&help_fetch.sink);
	run(1000);
	help_stop();
	help_open();
	run(1000);
	assert_int_equal(help_seen.relists, 1);
}

/* Another one whose server has trouble holds nothing up, and where there is no hook nobody needs a listing. */
static void test_late_and_trouble(void **state)
{
	(void)state;
	for (int i = 0; i < 2; i++) {
		help_seen.relists = 0;
		help_cfg.max_len = SMALL - 1;
		help_cfg.moved = i ? NULL : help_moved;
		fake_put_up(U, one, SMALL);
		fake_put_up(V, two, SMALL)->status = 404;
		help_open();
		must(help_put("/f/a", value_of(one, U), 5));
		must(help_put("/f/b", value_of(two, V), 6));
		run(100);
		help_stop();
		help_cfg.max_len = SMALL;
		help_open();
		run(1000);
		assert_true(help_is("a", one, SMALL));
		assert_int_equal(help_seen.relists, !i);
		/* Killed before that one came: it is still known that it is late. */
		fetch_close(&help_fetch);
		help_open();
		fake_page_of(V)->status = 0;
		run(1000);
		assert_true(help_is("b", two, SMALL));
		assert_int_equal(help_seen.relists, 2 * !i);
		list_two(8);
		assert_int_equal(help_seen.relists, 2 * !i);
		help_stop();
		help_wipe(help_dir);
		fake_http_reset();
	}
}

/* What an event refuses and another one of the same batch makes good is in that batch. */
static void test_not_late_within_a_batch(void **state)
{
	(void)state;
	fake_put_up(U, one, SMALL)->piece_ms = 100;
	fake_put_up(V, two, SMALL)->piece_ms = 100;
	help_open();
	must(help_put("/f/b", help_value(V, two, SMALL, SMALL, "a"), 4));
	run(2000);
	must(help_give("/f/a", value_of(one, U), 5, false, false, 100));
	must(help_put("/f/b", value_of(two, V), 6));
	run(5000);
	assert_int_equal(count().placed, 2);
	assert_int_equal(done_rev(), 6);
	assert_int_equal(help_seen.relists, 0);
	/* And later it is not. */
	must(help_put("/f/c", help_value(U, one, SMALL, SMALL, "b"), 7));
	run(2000);
	assert_int_equal(done_rev(), 7);
	must(help_delete("/f/b", 8));
	run(2000);
	assert_int_equal(count().placed, 2);
	assert_int_equal(help_seen.relists, 1);
}

static void test_progress(void **state)
{
	struct fetch_progress p;
	char now[SINK_WHY_MAX] = "";

	(void)state;
	fake_put_up(U, one, SMALL)->piece_ms = 1000;
	help_open();
	must(help_put("/f/b", "no", 4));
	must(help_put("/f/a", value_of(one, U), 5));
	must(help_put("/f/c", value_of(one, "http://server/none"), 7));
	run(3500);
	assert_true(fetch_progress(&help_fetch, 0, &p));
	assert_string_equal(p.state, "loading");
	assert_string_equal(p.key, "/f/a");
	assert_string_equal(p.name, "a");
	assert_int_equal(p.bytes, 3 * FAKE_PIECE_LEN);
	assert_int_equal(p.size, SMALL);
	assert_in_range(p.rate_bytes_s, FAKE_PIECE_LEN / 2, FAKE_PIECE_LEN * 2);
	assert_in_range(p.eta_s, 2, 8);
	assert_true(fetch_progress(&help_fetch, 1, &p));
	assert_string_equal(p.state, "refused");
	assert_string_equal(p.why, "it is not JSON");
	assert_int_equal(p.eta_s, -1);
	assert_true(fetch_progress(&help_fetch, 2, &p));
	assert_string_equal(p.state, "waiting");
	assert_non_null(strstr(p.why, "404"));
	assert_false(fetch_progress(&help_fetch, 3, &p));
	help_fetch.sink.ops->now(&help_fetch.sink, now, sizeof(now));
	assert_string_equal(now, "fetch: 1 under way, 1 waiting");
	assert_int_equal(count().keys, 3);
}

static void test_stop_while_loading(void **state)
{
	(void)state;
	fake_put_up(U, one, SMALL)->piece_ms = 1000;
	help_open();
	must(help_put("/f/a", value_of(one, U), 5));
	run(3500);
	help_fetch.sink.ops->stop(&help_fetch.sink, 1000);
	assert_true(help_fetch.sink.is_stopped);
	assert_int_equal(fake_under_way, 0);
	run(100);
	assert_true(help_seen.wakes > 0);
	assert_int_equal(done_rev(), 0);
	assert_int_equal(help_put("/f/b", value_of(one, U), 6), ERR_AGAIN);
	fetch_close(&help_fetch);
	fetch_close(&help_fetch);
	assert_non_null(strstr(help_names(help_own), "part"));
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, set_up, help_tear_down)
	const struct CMUnitTest tests[] = {
		T(test_put_and_delete),
		T(test_nothing_is_asked_again),
		T(test_new_value_replaces),
		T(test_newest_cancels),
		T(test_parallel_and_order),
		T(test_done_follows_a_mark),
		T(test_resume),
		T(test_resume_after_restart),
		T(test_version_has_changed),
		T(test_parts_do_not_fit),
		T(test_server_without_range),
		T(test_all_was_there),
		T(test_part_goes_on_elsewhere),
		T(test_bad_digest),
		T(test_other_size_is_told),
		T(test_endless_body),
		T(test_too_large),
		T(test_malformed_value),
		T(test_refusals_are_told),
		T(test_long_value),
#ifdef CONFIG_FETCH_SIGNATURE
		T(test_signature),
#endif
		T(test_not_found),
		T(test_not_found_reserves_nothing),
		T(test_retry_after),
		T(test_unreachable),
		T(test_short_body),
		T(test_shorter_than_wanted),
		T(test_adopt_and_foreign),
		T(test_planted_link_keeps_its_mode),
		T(test_late_artifacts_are_listed),
		T(test_names),
		T(test_too_many_keys),
#ifdef CONFIG_FETCH_SIGNATURE
		T(test_another_key),
#endif
		T(test_listing),
		T(test_revisions_go_back),
		T(test_unrecorded_value_is_withdrawn),
		T(test_folder_is_lost),
		T(test_damaged_record),
		T(test_check),
		T(test_hook),
		T(test_late_after_retry),
		T(test_late_and_trouble),
		T(test_not_late_within_a_batch),
		T(test_progress),
		T(test_stop_while_loading),
	};

	return cmocka_run_group_tests_name("fetch", tests, NULL, NULL);
}
