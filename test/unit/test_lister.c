/* SPDX-License-Identifier: Apache-2.0 */
/* A listing over a real session, against a server that is scripted page by page. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "base/err.h"
#include "base/log.h"
#include "sync/lister.h"

#include "fake_conn.h"
#include "fake_etcd.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

enum {
	LOG_MAX = 16384,
	REV = 40, /* of the first answer */
	PAGE = CONFIG_LISTER_PAGE_KEYS,
	CHUNK = 8192,
	LONG = CONFIG_ETCD_KEY_BYTES + 10,
};

static struct loop loop;
static struct etcd_session session, other;
static struct etcd_session_cfg cfg = {
	.dial_timeout_ms = 5000,
	.command_timeout_ms = 5000,
	.keepalive_time_ms = 60000,
	.keepalive_timeout_ms = 6000,
};
static const struct etcd_endpoint endpoint = {.host = "10.0.0.1", .port = 2379};
static struct lister lister;
static struct etcd_range range;
static uint8_t range_end[8];
static struct fake_pb msg;
static char said[LOG_MAX];
static size_t said_len;
static unsigned begin_again, event_again, end_again; /* how often they still say ERR_AGAIN */
static size_t take; /* bytes of values that are still taken */
static unsigned pages; /* asked for, and not pumped yet */
static bool is_quiet; /* values are not written down */

static __attribute__((format(printf, 1, 2))) void say(const char *fmt, ...)
{
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(said + said_len, sizeof(said) - said_len, fmt, ap);
	va_end(ap);
	assert_true(n >= 0 && (size_t)n < sizeof(said) - said_len);
	said_len += (size_t)n;
}

static void expect(const char *want)
{
	assert_string_equal(said, want);
	said[0] = '\0';
	said_len = 0;
}

/* -- the owners of session and lister --------------------------------------------------------- */

static void on_session(struct etcd_session *s)
{
	(void)s;
}

static void on_down(struct etcd_session *s, int err, const char *why)
{
	(void)s;
	(void)why;
	say("down %s\n", err_name(err));
}

static void on_going_away(struct etcd_session *s, const char *why)
{
	(void)s;
	(void)why;
}

static void on_writable(struct etcd_session *s)
{
	(void)s;
	(void)lister_pump(&lister);
}

static const struct etcd_session_ops session_ops = {
	.ready = on_session,
	.version = on_session,
	.down = on_down,
	.going_away = on_going_away,
	.writable = on_writable,
};

static bool is_again(unsigned *count)
{
	if (!*count)
		return false;
	(*count)--;
	return true;
}

static int on_begin(struct lister *l, int64_t rev, const struct etcd_header *header)
{
	if (is_again(&begin_again))
		return ERR_AGAIN;
	assert_int_equal(l->rev, rev);
	say("begin %d %d\n", (int)rev, (int)header->cluster_id);
	return 0;
}

static int on_event(struct lister *l, const struct etcd_event *e)
{
	(void)l;
	if (is_again(&event_again))
		return ERR_AGAIN;
	if (e->is_key_long)
		say("long %d", (int)e->key_len);
	else
		say("%.*s=", (int)e->key_len, e->key);
	return 0;
}

static ssize_t on_value(struct lister *l, enum etcd_value which, const uint8_t *p, size_t len)
{
	size_t n = len < take ? len : take;

	(void)l;
	(void)which;
	if (!is_quiet)
		say("%.*s", (int)n, (const char *)p);
	take -= take == SIZE_MAX ? 0 : n;
	return (ssize_t)n;
}

static int on_event_end(struct lister *l, const struct etcd_event *e)
{
	(void)l;
	(void)e;
	if (is_again(&end_again))
		return ERR_AGAIN;
	say("\n");
	return 0;
}

static void on_done(struct lister *l, const struct grpc_status *st)
{
	assert_false(l->is_running);
	say("done %s\n", grpc_code_name(st->code));
}

static void on_page(struct lister *l)
{
	assert_true(l->is_running);
	pages++;
}

static const struct lister_ops lister_ops = {
	.begin = on_begin,
	.event = on_event,
	.value = on_value,
	.event_end = on_event_end,
	.done = on_done,
	.page = on_page,
};

/* -- the server ------------------------------------------------------------------------------- */

static void dial(struct etcd_session *s)
{
	etcd_session_init(s, &loop, &cfg, &session_ops, NULL);
	etcd_session_open(s, &endpoint);
	fake_run_now(&loop);
	fake_settings(0, 0);
	fake_run_now(&loop);
	fake_refusal(fake_last_call()->id, GRPC_UNIMPLEMENTED, "Status");
	fake_run_now(&loop);
	assert_int_equal(s->state, ETCD_SESSION_READY);
}

static int set_up(void **state)
{
	(void)state;
	log_set_level(LOG_LEVEL_ERROR);
	fake_net_reset();
	loop_init(&loop);
	begin_again = event_again = end_again = pages = 0;
	take = SIZE_MAX;
	is_quiet = false;
	said_len = 0;
	said[0] = '\0';
	dial(&session);
	lister_init(&lister, &lister_ops, NULL);
	etcd_range_prefix(&range, "k", 1, range_end);
	return 0;
}

static void pump(void)
{
	assert_int_equal(lister_pump(&lister), 0);
	pages = 0;
	fake_run_now(&loop);
}

static void start(int64_t rev)
{
	lister_start(&lister, &session, &range, rev);
	pump();
}

/* The newest request is for these keys, as of rev. */
static void expect_page(const void *key, size_t key_len, int64_t rev, uint64_t limit)
{
	struct fake_pb_field f;
	const uint8_t *p;
	ssize_t len;

	assert_true(fake_has_path(fake_last_call(), "/etcdserverpb.KV/Range"));
	len = fake_message_of(fake_last_call(), 0, &p);
	assert_true(len > 0);
	f = fake_pb_find(p, (size_t)len, 1);
	assert_int_equal(f.len, key_len);
	assert_memory_equal(f.p, key, key_len);
	f = fake_pb_find(p, (size_t)len, 2);
	assert_int_equal(f.len, range.end_len);
	assert_memory_equal(f.p, range.end, range.end_len);
	assert_int_equal(fake_pb_find(p, (size_t)len, 4).v, rev);
	assert_int_equal(fake_pb_find(p, (size_t)len, 3).v, limit);
	/* Linearizable, whole, and in the order of the keys. */
	for (unsigned field = 5; field <= 13; field++)
		assert_false(fake_pb_find(p, (size_t)len, field).is_there);
}

static void page_begin(int64_t rev)
{
	msg.len = 0;
	fake_pb_header(&msg, rev);
}

static void page_key(const char *key, const char *value)
{
	fake_pb_kv(&msg, 2, key, strlen(key), value, strlen(value), 5);
}

static void page_send(bool has_more)
{
	fake_pb_number(&msg, 3, has_more);
	fake_pb_number(&msg, 4, 1000);
	fake_answer(fake_last_call()->id, msg.p, msg.len);
	fake_run_now(&loop);
}

/* A page of a key with a value so long that it comes in many pieces, and of a small one behind it. */
static void page_send_large(const char *key, size_t value_len, bool has_more)
{
	static const uint8_t fill[CHUNK];
	static struct fake_pb kv, tail;
	const uint8_t small[] = {(uint8_t)key[0], (uint8_t)key[1], 'z'};
	uint32_t id = fake_last_call()->id;
	size_t len;
	uint8_t prefix[5] = {0};

	tail.len = 0;
	fake_pb_kv(&tail, 2, small, sizeof(small), "", 0, 5);
	fake_pb_number(&tail, 3, has_more);
	page_begin(REV);
	kv.len = 0;
	fake_pb_bytes(&kv, 1, key, strlen(key));
	fake_pb_number(&kv, 3, 5);
	fake_pb_varint(&kv, 5 << 3 | 2);
	fake_pb_varint(&kv, value_len);
	fake_pb_varint(&msg, 2 << 3 | 2);
	fake_pb_varint(&msg, kv.len + value_len);
	memcpy(msg.p + msg.len, kv.p, kv.len);
	msg.len += kv.len;
	len = msg.len + value_len + tail.len;
	for (int i = 0; i < 4; i++)
		prefix[1 + i] = (uint8_t)(len >> (24 - 8 * i));
	fake_headers(id, fake_grpc_headers, false);
	fake_data(id, prefix, sizeof(prefix), false);
	fake_data(id, msg.p, msg.len, false);
	for (size_t at = 0; at < value_len; at += CHUNK) {
		fake_data(id, fill, value_len - at < CHUNK ? value_len - at : CHUNK, false);
		fake_run_now(&loop);
	}
	fake_data(id, tail.p, tail.len, false);
	fake_trailers(id, 0, "");
	fake_run_now(&loop);
}

/* -- pages ------------------------------------------------------------------------------------ */

static void all_pages_are_as_of_the_first_answer(void **state)
{
	(void)state;
	start(0);
	expect_page("k", 1, 0, PAGE);
	page_begin(REV);
	page_key("ka", "1");
	page_key("kb", "");
	page_send(true);
	expect("begin 40 1234\nka=1\nkb=\n");
	assert_int_equal(pages, 1);
	assert_int_equal(lister.rev, REV);
	pump();
	/* The key behind "kb": one more byte, a zero. The header's revision has moved on: no matter. */
	expect_page("kb\0", 3, REV, PAGE);
	page_begin(REV + 7);
	page_key("kb\1", "2");
	page_send(true);
	pump();
	expect_page("kb\1\0", 4, REV, PAGE);
	page_begin(REV + 9);
	page_send(false);
	expect("kb\1=2\ndone OK\n");
	assert_int_equal(lister.rev, REV);
	assert_int_equal(lister.header.revision, REV);
	assert_int_equal(pages, 0);
	fake_run(&loop, 1000);
	expect("");
}

static void a_listing_may_be_asked_for_as_of_a_revision(void **state)
{
	(void)state;
	start(12);
	expect_page("k", 1, 12, PAGE);
	page_begin(REV);
	page_key("ka", "1");
	page_send(true);
	pump();
	expect_page("ka\0", 3, 12, PAGE);
	page_begin(REV);
	page_send(false);
	expect("begin 12 1234\nka=1\ndone OK\n");
}

static void an_empty_range_is_a_whole_listing(void **state)
{
	(void)state;
	start(0);
	page_begin(REV);
	page_send(false);
	expect("begin 40 1234\ndone OK\n");
	/* The same lister again, from the beginning. */
	start(0);
	expect_page("k", 1, 0, PAGE);
	page_begin(REV + 1);
	page_key("ka", "");
	page_send(false);
	expect("begin 41 1234\nka=\ndone OK\n");
}

static void behind_a_key_that_was_cut_comes_what_does_not_begin_so(void **state)
{
	static uint8_t key[LONG], next[CONFIG_ETCD_KEY_BYTES];

	(void)state;
	memset(key, 'x', sizeof(key));
	key[0] = 'k';
	start(0);
	page_begin(REV);
	fake_pb_kv(&msg, 2, "kb", 2, "1", 1, 5);
	fake_pb_kv(&msg, 2, key, sizeof(key), "", 0, 5);
	key[LONG - 1] = 'y';
	fake_pb_kv(&msg, 2, key, sizeof(key), "", 0, 5);
	page_send(true);
	expect("begin 40 1234\nkb=1\nlong 4106\nlong 4106\n");
	memcpy(next, key, sizeof(next));
	next[sizeof(next) - 1]++;
	pump();
	expect_page(next, sizeof(next), REV, PAGE);
	page_begin(REV);
	page_key("ky", "");
	page_send(false);
	expect("ky=\ndone OK\n");
}

/* There is nothing behind a beginning of 0xff alone: to go on would begin again from the first key. */
static void behind_the_highest_beginning_there_is_nothing(void **state)
{
	static uint8_t key[LONG];

	(void)state;
	memset(key, 0xff, sizeof(key));
	etcd_range_prefix(&range, "", 0, range_end);
	start(0);
	page_begin(REV);
	fake_pb_kv(&msg, 2, key, sizeof(key), "", 0, 5);
	page_send(true);
	expect("begin 40 1234\nlong 4106\ndone OK\n");
	assert_int_equal(pages, 0);
	/* Nor does another connection begin from the first key. */
	start(0);
	page_begin(REV);
	fake_pb_kv(&msg, 2, key, sizeof(key), "", 0, 5);
	fake_pb_kv(&msg, 2, key, sizeof(key), "", 0, 5);
	fake_headers(fake_last_call()->id, fake_grpc_headers, false);
	fake_data(fake_last_call()->id, (uint8_t[]){0, 0, 0, 0x40, 0}, 5, false);
	fake_data(fake_last_call()->id, msg.p, msg.len, false);
	fake_hang_up(ERR_RESET);
	fake_run_now(&loop);
	said_len = 0;
	dial(&other);
	lister_go_on(&lister, &other);
	pump();
	key[CONFIG_ETCD_KEY_BYTES] = 0;
	expect_page(key, CONFIG_ETCD_KEY_BYTES + 1, REV, PAGE);
}

static void keys_that_do_not_ascend_are_a_fault_of_the_server(void **state)
{
	static const char *const rows[][2] = {
		{"kb", "kb"},
		{"kb", "ka"},
		{"kb", "k"},
		{"kb", "kaa"},
		{"k\xff", "k\x7f"},
	};

	for (size_t i = 0; i < COUNT(rows); i++) {
		for (int is_next_page = 0; is_next_page < 2; is_next_page++) {
			set_up(state);
			start(0);
			page_begin(REV);
			page_key(rows[i][0], "");
			if (is_next_page) {
				page_send(true);
				pump();
				page_begin(REV);
			}
			page_key(rows[i][1], "");
			said_len = 0;
			page_send(false);
			assert_non_null(strstr(said, "done UNAVAILABLE\ndown PROTO\n"));
			assert_null(strstr(said, "done OK"));
		}
	}
	set_up(state);
	start(0);
	page_begin(REV);
	page_key("k", "");
	page_key("k\x7f", "");
	page_key("k\xff", "");
	page_key("k\xff"
		 "a",
		"");
	said_len = 0;
	page_send(false);
	assert_non_null(strstr(said, "done OK"));
}

static void more_without_keys_is_a_fault_of_the_server(void **state)
{
	(void)state;
	start(0);
	page_begin(REV);
	page_send(true);
	expect("begin 40 1234\ndone UNAVAILABLE\ndown PROTO\n");
	set_up(state);
	start(0);
	page_begin(REV);
	page_key("ka", "");
	page_send(true);
	pump();
	page_begin(REV);
	page_send(true);
	/* Above all the listing does not count as whole. */
	expect("begin 40 1234\nka=\ndone UNAVAILABLE\ndown PROTO\n");
}

static void an_answer_without_a_revision_is_a_fault_of_the_server(void **state)
{
	(void)state;
	start(0);
	page_begin(0);
	page_send(false);
	expect("done UNAVAILABLE\ndown REVISION\n");
	set_up(state);
	start(5);
	msg.len = 0;
	page_send(false);
	expect("done UNAVAILABLE\ndown REVISION\n");
}

static void a_listing_that_breaks_off_says_so(void **state)
{
	(void)state;
	start(0);
	fake_refusal(fake_last_call()->id, GRPC_OK, "");
	fake_run_now(&loop);
	expect("done INTERNAL\n");
	start(0);
	page_begin(REV);
	page_key("ka", "1");
	page_send(true);
	pump();
	fake_refusal(fake_last_call()->id, GRPC_OUT_OF_RANGE,
		"etcdserver: mvcc: required revision has been compacted");
	fake_run_now(&loop);
	expect("begin 40 1234\nka=1\ndone OUT_OF_RANGE\n");
	assert_int_equal(lister_pump(&lister), 0);
	expect("");
}

/* A page that holds no message: with the keys so far it must not pass for the end. */
static void a_later_page_without_a_message_is_no_end(void **state)
{
	(void)state;
	start(0);
	page_begin(REV);
	page_key("ka", "1");
	page_send(true);
	pump();
	fake_refusal(fake_last_call()->id, GRPC_OK, "");
	fake_run_now(&loop);
	expect("begin 40 1234\nka=1\ndone INTERNAL\n");
}

/* -- the size of pages ------------------------------------------------------------------------ */

static void pages_follow_the_size_of_the_values(void **state)
{
	static const char *const keys[] = {"ka", "kb", "kc", "kd", "ke", "kf", "kg"};
	static const struct {
		size_t value_len;
		uint64_t next;
	} rows[] = {
		{CONFIG_LISTER_PAGE_BYTES + 1, PAGE / 2},
		{CONFIG_LISTER_PAGE_BYTES + 1, PAGE / 4},
		{CONFIG_LISTER_PAGE_BYTES / 2, PAGE / 4},
		{CONFIG_LISTER_PAGE_BYTES / 4 - 100, PAGE / 2},
		{1, PAGE},
		{1, PAGE},
	};
	char key[] = "k.z";

	(void)state;
	is_quiet = true;
	start(0);
	for (size_t i = 0; i < COUNT(rows); i++) {
		page_send_large(keys[i], rows[i].value_len, true);
		assert_int_equal(pages, 1);
		pump();
		key[1] = keys[i][1];
		expect_page(key, 4, REV, rows[i].next);
	}
}

static void a_page_of_one_key_is_the_smallest(void **state)
{
	char key[] = "ka", last[] = "kaz";
	uint64_t want = PAGE;

	(void)state;
	is_quiet = true;
	start(0);
	for (int i = 0; i < 12; i++) {
		page_send_large(key, CONFIG_LISTER_PAGE_BYTES + 1, true);
		pump();
		want = want > 1 ? want / 2 : 1;
		expect_page(last, 4, REV, want);
		key[1]++;
		last[1]++;
	}
	assert_int_equal(want, 1);
}

static void a_listing_that_compaction_overtakes_asks_for_more_at_once(void **state)
{
	static const uint64_t limits[] = {PAGE, PAGE * 8, PAGE * 64, 0, 0};

	(void)state;
	for (size_t i = 0; i < COUNT(limits); i++) {
		start(0);
		expect_page("k", 1, 0, limits[i]);
		page_begin(REV);
		page_key("ka", "1");
		page_send(true);
		pump();
		expect_page("ka\0", 3, REV, limits[i]);
		lister_stop(&lister);
		fake_run_now(&loop);
		lister_note_overtaken(&lister);
	}
	lister_forget_overtaken(&lister);
	start(0);
	expect_page("k", 1, 0, PAGE);
}

/* -- not now ---------------------------------------------------------------------------------- */

static void an_owner_that_is_busy_gets_everything_once(void **state)
{
	(void)state;
	for (unsigned mask = 0; mask < 16; mask++) {
		set_up(state);
		begin_again = mask & 1 ? 2 : 0;
		event_again = mask & 2 ? 1 : 0;
		take = mask & 4 ? 1 : SIZE_MAX;
		end_again = mask & 8 ? 2 : 0;
		start(0);
		page_begin(REV);
		page_key("ka", "one");
		page_key("kb", "two");
		page_send(false);
		assert_int_equal(lister.is_running, mask != 0);
		for (int i = 0; i < 20 && lister.is_running; i++) {
			if (mask & 4)
				take = 1;
			lister_resume(&lister);
			fake_run_now(&loop);
		}
		expect("begin 40 1234\nka=one\nkb=two\ndone OK\n");
	}
}

static void a_page_waits_for_a_stream(void **state)
{
	static struct grpc_call blocker;

	(void)state;
	fake_settings(FAKE_MAX_STREAMS, 1);
	fake_run_now(&loop);
	blocker = (struct grpc_call){0};
	assert_int_equal(
		grpc_call_start(&session.channel, &blocker, "/x", NULL, 0, "", 0, true, 0), 0);
	lister_start(&lister, &session, &range, 0);
	assert_int_equal(lister_pump(&lister), ERR_AGAIN);
	fake_run_now(&loop);
	assert_true(fake_has_path(fake_last_call(), "/x"));
	grpc_call_cancel(&blocker);
	fake_run_now(&loop);
	expect_page("k", 1, 0, PAGE);
	/* It is asked for once. */
	assert_int_equal(lister_pump(&lister), 0);
	fake_run_now(&loop);
	assert_int_equal(fake_net.peer->calls_count, 3);
}

static void a_listing_that_is_stopped_tells_nothing(void **state)
{
	(void)state;
	start(0);
	lister_stop(&lister);
	lister_stop(&lister);
	page_begin(REV);
	page_key("ka", "1");
	page_send(false);
	expect("");
	assert_false(lister.is_running);
	assert_int_equal(lister_pump(&lister), 0);
	fake_run_now(&loop);
	assert_int_equal(fake_net.peer->calls_count, 2);
	assert_int_equal(fake_last_call()->reset_code, H2_CANCEL);
}

/* -- another connection ----------------------------------------------------------------------- */

static void a_listing_goes_on_over_another_connection(void **state)
{
	(void)state;
	start(0);
	page_begin(REV);
	page_key("ka", "1");
	page_key("kb", "2");
	page_send(true);
	pump();
	/* The second page breaks off inside a value. */
	fake_headers(fake_last_call()->id, fake_grpc_headers, false);
	page_begin(REV);
	page_key("kc", "3");
	page_key("kd", "long");
	fake_data(fake_last_call()->id, (uint8_t[]){0, 0, 0, 0, (uint8_t)msg.len}, 5, false);
	fake_data(fake_last_call()->id, msg.p, msg.len - 2, false);
	fake_hang_up(ERR_RESET);
	fake_run_now(&loop);
	expect("begin 40 1234\nka=1\nkb=2\nkc=3\nkd=lodone UNAVAILABLE\ndown RESET\n");
	dial(&other);
	lister_go_on(&lister, &other);
	pump();
	/* Behind the last key that was complete, at the same revision; begin() is not told again. */
	expect_page("kc\0", 3, REV, PAGE);
	page_begin(REV + 5);
	page_key("kd", "long");
	page_send(false);
	expect("kd=long\ndone OK\n");
	assert_int_equal(lister.rev, REV);
}

static void before_the_first_key_it_begins_anew(void **state)
{
	(void)state;
	start(0);
	begin_again = 1;
	page_begin(REV);
	page_key("ka", "1");
	page_send(false);
	fake_hang_up(ERR_CLOSED);
	fake_run_now(&loop);
	expect("done UNAVAILABLE\ndown CLOSED\n");
	dial(&other);
	lister_go_on(&lister, &other);
	pump();
	/* The revision was taken, and never told: it stays. */
	expect_page("k", 1, REV, PAGE);
	page_begin(REV + 5);
	page_key("ka", "1");
	page_send(false);
	expect("begin 40 1234\nka=1\ndone OK\n");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(all_pages_are_as_of_the_first_answer, set_up),
		cmocka_unit_test_setup(a_listing_may_be_asked_for_as_of_a_revision, set_up),
		cmocka_unit_test_setup(an_empty_range_is_a_whole_listing, set_up),
		cmocka_unit_test_setup(
			behind_a_key_that_was_cut_comes_what_does_not_begin_so, set_up),
		cmocka_unit_test_setup(behind_the_highest_beginning_there_is_nothing, set_up),
		cmocka_unit_test_setup(keys_that_do_not_ascend_are_a_fault_of_the_server, set_up),
		cmocka_unit_test_setup(more_without_keys_is_a_fault_of_the_server, set_up),
		cmocka_unit_test_setup(
			an_answer_without_a_revision_is_a_fault_of_the_server, set_up),
		cmocka_unit_test_setup(a_listing_that_breaks_off_says_so, set_up),
		cmocka_unit_test_setup(a_later_page_without_a_message_is_no_end, set_up),
		cmocka_unit_test_setup(pages_follow_the_size_of_the_values, set_up),
		cmocka_unit_test_setup(a_page_of_one_key_is_the_smallest, set_up),
		cmocka_unit_test_setup(
			a_listing_that_compaction_overtakes_asks_for_more_at_once, set_up),
		cmocka_unit_test_setup(an_owner_that_is_busy_gets_everything_once, set_up),
		cmocka_unit_test_setup(a_page_waits_for_a_stream, set_up),
		cmocka_unit_test_setup(a_listing_that_is_stopped_tells_nothing, set_up),
		cmocka_unit_test_setup(a_listing_goes_on_over_another_connection, set_up),
		cmocka_unit_test_setup(before_the_first_key_it_begins_anew, set_up),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
