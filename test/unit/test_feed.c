/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The feed's promise is tested as a property: a fixed history is sent through connections that break
 * anywhere, in pieces of any size, to sinks that say "not now" at any call, and each sink must get
 * each event and each byte exactly once and in order.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "base/err.h"
#include "base/log.h"
#include "sync/feed.h"

enum {
	REVS = 12,
	EVENTS_MAX = 40,
	VALUE_MAX = 24,
	SINKS = 3,
	SEEDS = 3000,
	TRACE_MAX = 8192,
};

static uint32_t seed;

static uint32_t rnd(uint32_t n)
{
	seed ^= seed << 13;
	seed ^= seed >> 17;
	seed ^= seed << 5;
	return seed % n;
}

/* A sink that writes down what it was given. */
struct scribe {
	struct sink sink;
	char trace[TRACE_MAX];
	size_t len;
	uint32_t busy; /* one call in so many is refused; 0: none */
	int code; /* what every call is answered with; 0: it is taken */
	uint32_t late; /* one call in so many begins a time in which nothing is taken; 0: none */
	bool is_late;
	int64_t committed;
	bool is_in_event;
	int64_t event_rev; /* of the event that was begun last */
};

static struct scribe *scribe_of(struct sink *s)
{
	return (struct scribe *)((char *)s - offsetof(struct scribe, sink));
}

__attribute__((format(printf, 2, 3))) static int scribe_write(struct sink *s, const char *fmt, ...)
{
	struct scribe *w = scribe_of(s);
	va_list ap;
	int n;

	if (w->code)
		return w->code;
	if (w->busy && rnd(w->busy) == 0)
		return ERR_AGAIN;
	if (w->late && rnd(w->late) == 0)
		w->is_late = true;
	if (w->is_late)
		return rnd(2) ? ERR_BUSY : ERR_NOSPACE;
	va_start(ap, fmt);
	n = vsnprintf(w->trace + w->len, sizeof(w->trace) - w->len, fmt, ap);
	va_end(ap);
	assert_true(n >= 0 && (size_t)n < sizeof(w->trace) - w->len);
	w->len += (size_t)n;
	return 0;
}

static int on_sync_begin(struct sink *s, const struct sink_sync *sync)
{
	scribe_of(s)->is_in_event = false;
	return scribe_write(s, "S%d ", (int)sync->revision);
}

static int on_event(struct sink *s, const struct etcd_event *e)
{
	int err;

	assert_false(scribe_of(s)->is_in_event);
	err = scribe_write(
		s, "%c%d:%.*s=", e->type ? 'D' : 'P', (int)e->mod_rev, (int)e->key_len, e->key);
	scribe_of(s)->is_in_event = err == 0;
	scribe_of(s)->event_rev = e->mod_rev;
	return err;
}

static ssize_t on_value(struct sink *s, const struct etcd_event *e, enum etcd_value which,
	const uint8_t *p, size_t len)
{
	struct scribe *w = scribe_of(s);
	size_t take = w->busy ? rnd((uint32_t)len + 1) : len;

	assert_true(w->is_in_event);
	if (w->code)
		return w->code;
	if (w->late && rnd(w->late) == 0)
		w->is_late = true;
	if (w->is_late)
		return rnd(2) ? 0 : ERR_IO;
	/* After a break the event comes again, perhaps elsewhere; it is the one whose bytes come. */
	assert_int_equal(e->mod_rev, w->event_rev);
	assert_true(which == ETCD_VALUE || e->has_prev);
	if (take)
		memcpy(w->trace + w->len, p, take);
	w->len += take;
	return (ssize_t)take;
}

static int on_event_end(struct sink *s, const struct etcd_event *e)
{
	int err = e->has_prev ? scribe_write(s, "<%d; ", (int)e->prev_len) : scribe_write(s, "; ");

	assert_true(scribe_of(s)->is_in_event);
	scribe_of(s)->is_in_event = err != 0;
	return err;
}

static int on_synced(struct sink *s, int64_t revision)
{
	return scribe_write(s, "E%d ", (int)revision);
}

static int on_progress(struct sink *s, int64_t revision)
{
	return scribe_write(s, "p%d ", (int)revision);
}

static void on_commit(struct sink *s, int64_t revision)
{
	struct scribe *w = scribe_of(s);

	assert_false(w->is_in_event);
	assert_true(revision > w->committed);
	w->committed = revision;
	s->done_rev = revision;
}

static const struct sink_ops scribe_ops = {
	.sync_begin = on_sync_begin,
	.event = on_event,
	.value = on_value,
	.event_end = on_event_end,
	.synced = on_synced,
	.progress = on_progress,
	.commit = on_commit,
};

static struct feed feed;
static struct scribe scribes[SINKS];

static void set_up(size_t sinks, uint32_t busy)
{
	feed_init(&feed, "test", 1000);
	memset(scribes, 0, sizeof(scribes));
	for (size_t i = 0; i < sinks; i++) {
		scribes[i].sink.ops = &scribe_ops;
		scribes[i].busy = busy;
		assert_int_equal(feed_add_sink(&feed, &scribes[i].sink), 0);
	}
	feed_set_closed(&feed, 0);
}

/* -- a history ------------------------------------------------------------------------------- */

struct happening {
	int64_t rev;
	char key[16];
	char value[VALUE_MAX + 1];
};

static struct happening history[EVENTS_MAX];
static size_t history_len;
static char wanted[TRACE_MAX];

static void make_history(void)
{
	size_t at = 0;

	history_len = 0;
	for (int64_t rev = 1; rev <= REVS; rev++) {
		size_t n = 1 + rnd(3);

		for (size_t i = 0; i < n; i++) {
			struct happening *h = &history[history_len++];
			size_t len = rnd(VALUE_MAX);

			h->rev = rev;
			snprintf(h->key, sizeof(h->key), "k%u", (unsigned)i);
			for (size_t k = 0; k < len; k++)
				h->value[k] = (char)('a' + rnd(26));
			h->value[len] = '\0';
			at += (size_t)snprintf(wanted + at, sizeof(wanted) - at, "P%d:%s=%s; ",
				(int)rev, h->key, h->value);
		}
	}
}

/* Sends one event; false: the connection breaks before its end. */
static bool send_event(const struct happening *h, uint32_t break_one_in)
{
	struct etcd_event e = {.key = (const uint8_t *)h->key,
		.key_len = strlen(h->key),
		.value_len = strlen(h->value),
		.mod_rev = h->rev};
	size_t at = 0;
	int err;

	while ((err = feed_event(&feed, &e)) == ERR_AGAIN) {
		if (rnd(break_one_in) == 0)
			return false;
	}
	assert_int_equal(err, 0);
	while (at < e.value_len) {
		size_t piece = 1 + rnd((uint32_t)(e.value_len - at));
		ssize_t n = feed_value(&feed, ETCD_VALUE, (const uint8_t *)h->value + at, piece);

		assert_in_range(n, 0, piece);
		at += (size_t)n;
		if (rnd(break_one_in) == 0)
			return false;
	}
	while ((err = feed_event_end(&feed, &e)) == ERR_AGAIN) {
		if (rnd(break_one_in) == 0)
			return false;
	}
	assert_int_equal(err, 0);
	return true;
}

/* One connection: sends everything after the closed revision, until it breaks. Whether all was sent. */
static bool connect_once(uint32_t break_one_in, bool is_again)
{
	int64_t from = feed.closed_rev + (is_again ? 0 : 1);

	feed_restart(&feed);
	for (size_t i = 0; i < history_len; i++) {
		if (history[i].rev < from)
			continue;
		/* A response may end between any two revisions. */
		if (i && history[i].rev != history[i - 1].rev && rnd(3) == 0)
			feed_close(&feed);
		if (!send_event(&history[i], break_one_in))
			return false;
	}
	feed_close(&feed);
	return true;
}

static void each_event_reaches_each_sink_exactly_once(void **state)
{
	(void)state;
	for (uint32_t s = 1; s <= SEEDS; s++) {
		size_t sinks = 1 + s % SINKS;
		int connections = 0;

		seed = s * 2654435761U;
		make_history();
		set_up(sinks, s % 4 ? 2 + s % 5 : 0);
		while (!connect_once(connections < 200 ? 4 + s % 60 : 100000, s % 2 != 0))
			connections++;
		for (size_t i = 0; i < sinks; i++) {
			if (strcmp(scribes[i].trace, wanted) != 0)
				fail_msg("seed %u, sink %zu:\n got %s\nwant %s", s, i,
					scribes[i].trace, wanted);
			assert_int_equal(scribes[i].committed, REVS);
		}
		assert_int_equal(feed_done_rev(&feed), REVS);
		assert_false(feed_is_waiting(&feed));
		assert_int_equal(feed.events, history_len);
	}
}

static const struct happening one = {1, "a", "x"}, two = {2, "b", "y"};

/* -- sinks that are left behind --------------------------------------------------------------- */

/* None that follows a keeper has an event that it does not have, whole. */
static void expect_followed(void)
{
	size_t len = scribes[2].len;

	while (len && scribes[2].trace[len - 1] != ' ')
		len--;
	if (strncmp(scribes[2].trace, scribes[0].trace, len) != 0)
		fail_msg("the follower is ahead of its keeper:\n%s\n%s", scribes[2].trace,
			scribes[0].trace);
}

/* What the owner does between two calls: those who sleep are left behind, or wake. Whether the stream must begin anew. */
static bool let_time_pass(void)
{
	if (rnd(3) == 0)
		feed_leave_blocked(&feed);
	for (size_t i = 0; i < SINKS; i++) {
		if (rnd(8))
			continue;
		scribes[i].is_late = false;
		feed_note_wake(&feed, &scribes[i].sink);
	}
	if (!feed_can_catch_up(&feed) || rnd(3))
		return false;
	feed_catch_up(&feed);
	return true;
}

/* As send_event(), with feed_catch_up() for a connection that breaks. */
static bool send_late_event(const struct happening *h)
{
	struct etcd_event e = {.key = (const uint8_t *)h->key,
		.key_len = strlen(h->key),
		.value_len = strlen(h->value),
		.mod_rev = h->rev};
	size_t at = 0;

	while (feed_event(&feed, &e)) {
		if (let_time_pass())
			return false;
	}
	while (at < e.value_len) {
		size_t piece = 1 + rnd((uint32_t)(e.value_len - at));

		at += (size_t)feed_value(&feed, ETCD_VALUE, (const uint8_t *)h->value + at, piece);
		if (let_time_pass())
			return false;
	}
	while (feed_event_end(&feed, &e)) {
		if (let_time_pass())
			return false;
	}
	expect_followed();
	return !let_time_pass();
}

static bool connect_late(void)
{
	int64_t from = feed.closed_rev + 1;

	feed_restart(&feed);
	for (size_t i = 0; i < history_len; i++) {
		if (history[i].rev < from)
			continue;
		if (i && history[i].rev != history[i - 1].rev && rnd(3) == 0)
			feed_close(&feed);
		if (!send_late_event(&history[i]))
			return false;
	}
	feed_close(&feed);
	return true;
}

static int64_t lowest_committed(void)
{
	int64_t rev = INT64_MAX;

	for (size_t i = 0; i < SINKS; i++)
		rev = scribes[i].committed < rev ? scribes[i].committed : rev;
	return rev;
}

/* A keeper, one that stands alone and a follower, each of which sleeps now and then. */
static void each_sink_gets_exactly_what_it_has_missed(void **state)
{
	(void)state;
	for (uint32_t s = 1; s <= SEEDS; s++) {
		seed = s * 2654435761U;
		make_history();
		set_up(SINKS, 0);
		for (size_t i = 0; i < SINKS; i++) {
			scribes[i].late = rnd(3) ? 3 + rnd(30) : 0;
			scribes[i].busy = rnd(3) ? 0 : 5;
		}
		scribes[0].sink.is_keeper = scribes[2].sink.is_follower = true;
		for (int n = 0; !connect_late() || feed_is_waiting(&feed); n++) {
			assert_int_equal(feed_done_rev(&feed), lowest_committed());
			assert_true(n < 3000);
			if (n > 200) {
				for (size_t i = 0; i < SINKS; i++)
					scribes[i].late = 0;
			}
			(void)let_time_pass();
		}
		for (size_t i = 0; i < SINKS; i++) {
			if (strcmp(scribes[i].trace, wanted) != 0)
				fail_msg("seed %u, sink %zu:\n got %s\nwant %s", s, i,
					scribes[i].trace, wanted);
			assert_int_equal(scribes[i].committed, REVS);
		}
		assert_int_equal(feed_done_rev(&feed), REVS);
		assert_int_equal(feed.closed_rev, REVS);
		assert_int_equal(feed.events, history_len);
		assert_in_range(feed.batches, 1, history_len);
	}
}

static void send_revs(int64_t from, int64_t to)
{
	for (int64_t rev = from; rev <= to; rev++) {
		assert_true(send_event(&(struct happening){rev, "a", "x"}, 1000000));
		feed_close(&feed);
	}
}

static void a_busy_sink_is_left_behind_and_the_others_go_on(void **state)
{
	(void)state;
	set_up(2, 0);
	send_revs(1, 1);
	assert_true(feed_has_others(&feed));
	scribes[1].code = ERR_BUSY;
	send_revs(2, 4);
	assert_false(feed_has_others(&feed));
	assert_false(feed_is_parked(&feed));
	assert_string_equal(scribes[0].trace, "P1:a=x; P2:a=x; P3:a=x; P4:a=x; ");
	assert_string_equal(scribes[1].trace, "P1:a=x; ");
	/* The input is behind 4, the position is not. */
	assert_int_equal(feed.closed_rev, 4);
	assert_int_equal(feed_done_rev(&feed), 1);
	assert_true(feed_is_waiting(&feed));
	assert_false(feed_can_catch_up(&feed));
	scribes[1].code = 0;
	feed_note_wake(&feed, &scribes[0].sink);
	assert_false(feed_can_catch_up(&feed));
	feed_note_wake(&feed, &scribes[1].sink);
	assert_true(feed_can_catch_up(&feed));
	feed_catch_up(&feed);
	assert_int_equal(feed.closed_rev, 1);
	send_revs(2, 5);
	assert_string_equal(scribes[0].trace, "P1:a=x; P2:a=x; P3:a=x; P4:a=x; P5:a=x; ");
	assert_string_equal(scribes[1].trace, scribes[0].trace);
	assert_int_equal(feed_done_rev(&feed), 5);
	assert_int_equal(feed.events, 5);
	assert_int_equal(feed.batches, 5);
	assert_false(feed_is_waiting(&feed));
}

static void one_that_is_ready_in_a_moment_is_waited_for_until_others_wait(void **state)
{
	struct etcd_event e = {.key = (const uint8_t *)"a", .key_len = 1, .mod_rev = 1};
	uint64_t steps;

	(void)state;
	set_up(2, 0);
	scribes[0].code = ERR_AGAIN;
	steps = feed.steps;
	assert_int_equal(feed_event(&feed, &e), ERR_AGAIN);
	assert_int_equal(feed_event(&feed, &e), ERR_AGAIN);
	/* It stands still; the one behind it in the order has the event already, and does not get it twice. */
	assert_true(feed.steps <= steps + 1);
	feed_leave_blocked(&feed);
	assert_int_equal(feed_event(&feed, &e), 0);
	assert_int_equal(feed_event_end(&feed, &e), 0);
	feed_close(&feed);
	assert_string_equal(scribes[0].trace, "");
	assert_string_equal(scribes[1].trace, "P1:a=; ");
	assert_false(feed_is_parked(&feed));
	scribes[1].code = ERR_NOSPACE;
	e.mod_rev = 2;
	assert_int_equal(feed_event(&feed, &e), 0);
	assert_true(feed_is_parked(&feed));
	assert_int_equal(feed.events, 1);
}

/* A follower waits for its keeper, although it is ready itself. */
static void a_follower_is_left_with_its_keeper(void **state)
{
	(void)state;
	set_up(3, 0);
	scribes[0].sink.is_keeper = scribes[2].sink.is_follower = true;
	send_revs(1, 1);
	scribes[0].code = ERR_NOSPACE;
	send_revs(2, 2);
	assert_string_equal(scribes[1].trace, "P1:a=x; P2:a=x; ");
	assert_string_equal(scribes[2].trace, "P1:a=x; ");
	feed_note_wake(&feed, &scribes[2].sink);
	assert_false(feed_can_catch_up(&feed));
	scribes[0].code = 0;
	feed_note_wake(&feed, &scribes[0].sink);
	assert_true(feed_can_catch_up(&feed));
	feed_catch_up(&feed);
	assert_false(feed_can_catch_up(&feed));
	send_revs(2, 2);
	assert_string_equal(scribes[2].trace, "P1:a=x; P2:a=x; ");
	/* The keeper does not wait for a follower. */
	scribes[2].code = ERR_BUSY;
	send_revs(3, 4);
	assert_string_equal(scribes[0].trace, "P1:a=x; P2:a=x; P3:a=x; P4:a=x; ");
	assert_string_equal(scribes[2].trace, "P1:a=x; P2:a=x; ");
}

/* Left in the middle of a value, it goes on there. */
static void who_was_left_inside_a_value_goes_on_inside_it(void **state)
{
	struct etcd_event e = {
		.key = (const uint8_t *)"a", .key_len = 1, .mod_rev = 1, .value_len = 6};
	const uint8_t *value = (const uint8_t *)"abcdef";

	(void)state;
	set_up(2, 0);
	assert_int_equal(feed_event(&feed, &e), 0);
	assert_int_equal(feed_value(&feed, ETCD_VALUE, value, 2), 2);
	scribes[0].code = ERR_IO;
	assert_int_equal(feed_value(&feed, ETCD_VALUE, value + 2, 4), 4);
	assert_int_equal(feed_event_end(&feed, &e), 0);
	feed_close(&feed);
	assert_false(feed_is_mid_event(&feed));
	scribes[0].code = 0;
	feed_note_wake(&feed, &scribes[0].sink);
	feed_catch_up(&feed);
	assert_true(feed_is_mid_event(&feed));
	assert_int_equal(feed_event(&feed, &e), 0);
	assert_int_equal(feed_value(&feed, ETCD_VALUE, value, 6), 6);
	assert_int_equal(feed_event_end(&feed, &e), 0);
	feed_close(&feed);
	assert_string_equal(scribes[0].trace, "P1:a=abcdef; ");
	assert_string_equal(scribes[1].trace, "P1:a=abcdef; ");
	assert_int_equal(feed.events, 1);
}

/* It misses nothing by it, and need not be caught up. */
static void progress_leaves_nobody_behind(void **state)
{
	(void)state;
	set_up(2, 0);
	scribes[1].code = ERR_BUSY;
	assert_int_equal(feed_progress(&feed, 5), 0);
	assert_true(feed_has_others(&feed));
	assert_int_equal(scribes[0].committed, 5);
	assert_int_equal(feed_done_rev(&feed), 0);
	scribes[1].code = 0;
	assert_int_equal(feed_progress(&feed, 7), 0);
	assert_int_equal(feed_done_rev(&feed), 7);
	assert_string_equal(scribes[0].trace, "p5 p7 ");
	assert_string_equal(scribes[1].trace, "p7 ");
	/* One that is ready in a moment is asked again, the others are not. */
	scribes[1].code = ERR_AGAIN;
	assert_int_equal(feed_progress(&feed, 9), ERR_AGAIN);
	scribes[1].code = 0;
	assert_int_equal(feed_progress(&feed, 9), 0);
	assert_string_equal(scribes[0].trace, "p5 p7 p9 ");
	assert_string_equal(scribes[1].trace, "p7 p9 ");
}

static void a_value_that_is_too_long_is_a_removal_to_a_keeper(void **state)
{
	static const uint8_t bytes[1001] = "long";
	struct etcd_event e = {
		.key = (const uint8_t *)"a", .key_len = 1, .mod_rev = 1, .value_len = 1001};

	(void)state;
	log_set_level(LOG_LEVEL_ERROR);
	set_up(2, 0);
	scribes[0].sink.is_keeper = true;
	/* However often it begins, it is counted once. */
	for (int i = 0; i < 3; i++) {
		feed_restart(&feed);
		assert_int_equal(feed_event(&feed, &e), 0);
		assert_int_equal(feed_value(&feed, ETCD_VALUE, bytes, 500), 500);
	}
	assert_int_equal(feed_value(&feed, ETCD_VALUE, bytes + 500, 501), 501);
	assert_int_equal(feed_event_end(&feed, &e), 0);
	feed_close(&feed);
	assert_string_equal(scribes[0].trace, "D1:a=; ");
	assert_string_equal(scribes[1].trace, "");
	assert_int_equal(feed.too_long, 1);
	assert_int_equal(feed.events, 0);
	assert_int_equal(feed.batches, 0);
	assert_string_equal(feed.last_skipped, "a");
	assert_int_equal(feed_done_rev(&feed), 1);
	/* A keeper that was left behind hears of it too, and it counts no more. */
	e.mod_rev = 2;
	scribes[0].code = ERR_NOSPACE;
	assert_int_equal(feed_event(&feed, &e), 0);
	assert_int_equal(feed_value(&feed, ETCD_VALUE, bytes, 1001), 1001);
	assert_int_equal(feed_event_end(&feed, &e), 0);
	feed_close(&feed);
	scribes[0].code = 0;
	feed_note_wake(&feed, &scribes[0].sink);
	feed_catch_up(&feed);
	assert_int_equal(feed_event(&feed, &e), 0);
	assert_int_equal(feed_value(&feed, ETCD_VALUE, bytes, 1001), 1001);
	assert_int_equal(feed_event_end(&feed, &e), 0);
	feed_close(&feed);
	assert_string_equal(scribes[0].trace, "D1:a=; D2:a=; ");
	assert_int_equal(feed.too_long, 2);
	log_set_level(LOG_LEVEL_INFO);
}

/* An event goes on as it began. */
static void another_limit_holds_from_the_next_event_on(void **state)
{
	struct etcd_event e = {
		.key = (const uint8_t *)"a", .key_len = 1, .mod_rev = 1, .value_len = 6};
	const uint8_t *value = (const uint8_t *)"abcdef";

	(void)state;
	log_set_level(LOG_LEVEL_ERROR);
	set_up(2, 0);
	scribes[0].sink.is_keeper = true;
	assert_int_equal(feed_event(&feed, &e), 0);
	assert_int_equal(feed_value(&feed, ETCD_VALUE, value, 2), 2);
	feed.max_value_len = 5;
	feed_restart(&feed);
	assert_int_equal(feed_event(&feed, &e), 0);
	assert_int_equal(feed_value(&feed, ETCD_VALUE, value, 6), 6);
	assert_int_equal(feed_event_end(&feed, &e), 0);
	e.mod_rev = 2;
	assert_int_equal(feed_event(&feed, &e), 0);
	assert_int_equal(feed_value(&feed, ETCD_VALUE, value, 6), 6);
	assert_int_equal(feed_event_end(&feed, &e), 0);
	feed_close(&feed);
	assert_string_equal(scribes[0].trace, "P1:a=abcdef; D2:a=; ");
	assert_string_equal(scribes[1].trace, "P1:a=abcdef; ");
	assert_int_equal(feed.too_long, 1);
	log_set_level(LOG_LEVEL_INFO);
}

/* In a listing nobody is left behind: all wait, and those who were behind take part. */
static void a_listing_is_for_all(void **state)
{
	struct sink_sync sync = {.reason = SYNC_COMPACTED, .revision = 9};
	struct etcd_event e = {.key = (const uint8_t *)"k", .key_len = 1, .mod_rev = 2};

	(void)state;
	set_up(2, 0);
	send_revs(1, 1);
	scribes[1].code = ERR_BUSY;
	send_revs(2, 2);
	assert_int_equal(feed_list_begin(&feed, &sync), ERR_AGAIN);
	feed_leave_blocked(&feed);
	assert_int_equal(feed_list_begin(&feed, &sync), ERR_AGAIN);
	assert_int_equal(feed.blocked_err, ERR_BUSY);
	scribes[1].code = 0;
	assert_int_equal(feed_list_begin(&feed, &sync), 0);
	scribes[0].code = ERR_NOSPACE;
	assert_int_equal(feed_event(&feed, &e), ERR_AGAIN);
	assert_int_equal(feed.blocked_err, ERR_NOSPACE);
	feed_leave_blocked(&feed);
	assert_int_equal(feed_event(&feed, &e), ERR_AGAIN);
	scribes[0].code = 0;
	assert_int_equal(feed_event(&feed, &e), 0);
	assert_int_equal(feed_event_end(&feed, &e), 0);
	assert_int_equal(feed_list_end(&feed, 9), 0);
	assert_false(feed_can_catch_up(&feed));
	send_revs(10, 10);
	assert_string_equal(scribes[0].trace, "P1:a=x; P2:a=x; S9 P2:k=; E9 P10:a=x; ");
	assert_string_equal(scribes[1].trace, "P1:a=x; S9 P2:k=; E9 P10:a=x; ");
	assert_int_equal(feed_done_rev(&feed), 10);
}

static void a_revision_that_may_go_on_is_not_committed(void **state)
{
	(void)state;
	set_up(1, 0);
	assert_true(send_event(&one, 1000000));
	assert_int_equal(feed_done_rev(&feed), 0);
	assert_true(feed_is_waiting(&feed));
	assert_true(send_event(&two, 1000000));
	assert_int_equal(feed_done_rev(&feed), 1);
	feed_close(&feed);
	assert_int_equal(feed_done_rev(&feed), 2);
}

static void what_comes_again_is_dropped(void **state)
{
	(void)state;
	set_up(1, 0);
	assert_true(send_event(&one, 1000000));
	feed_close(&feed);
	assert_true(send_event(&one, 1000000));
	feed_close(&feed);
	assert_true(send_event(&two, 1000000));
	assert_true(send_event(&one, 1000000));
	feed_close(&feed);
	assert_string_equal(scribes[0].trace, "P1:a=x; P2:b=y; ");
	assert_int_equal(feed_done_rev(&feed), 2);
}

/* An old event that comes again inside a revision takes no place there: on the next connection it may be absent. */
static void a_repeated_event_takes_no_place_in_a_revision(void **state)
{
	const struct happening first = {2, "a", "x"}, second = {2, "b", "y"}, third = {2, "c", "z"};

	(void)state;
	set_up(1, 0);
	assert_true(send_event(&first, 1000000));
	assert_true(send_event(&one, 1000000));
	assert_true(send_event(&second, 1000000));
	feed_restart(&feed);
	assert_true(send_event(&first, 1000000));
	assert_true(send_event(&second, 1000000));
	assert_true(send_event(&third, 1000000));
	feed_close(&feed);
	assert_string_equal(scribes[0].trace, "P2:a=x; P2:b=y; P2:c=z; ");
	assert_int_equal(feed.events, 3);
}

static void progress_counts_only_between_revisions(void **state)
{
	(void)state;
	set_up(1, 0);
	assert_int_equal(feed_progress(&feed, 5), 0);
	assert_int_equal(feed_done_rev(&feed), 5);
	assert_int_equal(feed_progress(&feed, 4), 0);
	assert_int_equal(feed_done_rev(&feed), 5);
	assert_true(send_event(&(struct happening){6, "a", ""}, 1000000));
	assert_int_equal(feed_progress(&feed, 9), 0);
	assert_int_equal(feed_done_rev(&feed), 5);
	feed_close(&feed);
	assert_int_equal(feed_done_rev(&feed), 6);
	assert_string_equal(scribes[0].trace, "p5 P6:a=; ");
}

static void what_is_too_long_or_unknown_is_counted_and_holds_nothing_up(void **state)
{
	static const uint8_t key[CONFIG_ETCD_KEY_BYTES];
	struct etcd_event e = {.key = key, .key_len = 1, .mod_rev = 1, .value_len = 1001};
	const uint8_t byte = 'v';

	(void)state;
	log_set_level(LOG_LEVEL_ERROR);
	set_up(2, 0);
	assert_int_equal(feed_event(&feed, &e), 0);
	for (int i = 0; i < 1001; i++)
		assert_int_equal(feed_value(&feed, ETCD_VALUE, &byte, 1), 1);
	assert_int_equal(feed_event_end(&feed, &e), 0);
	e = (struct etcd_event){.key = key, .key_len = 5000, .is_key_long = true, .mod_rev = 2};
	assert_int_equal(feed_event(&feed, &e), 0);
	assert_int_equal(feed_event_end(&feed, &e), 0);
	e = (struct etcd_event){.key = key, .key_len = 1, .type = 7, .mod_rev = 3};
	assert_int_equal(feed_event(&feed, &e), 0);
	assert_int_equal(feed_event_end(&feed, &e), 0);
	feed_close(&feed);
	assert_string_equal(scribes[0].trace, "");
	assert_int_equal(feed.too_long, 2);
	assert_int_equal(feed.unknown, 1);
	assert_int_equal(feed.events, 0);
	assert_int_equal(feed_done_rev(&feed), 3);
	log_set_level(LOG_LEVEL_INFO);
}

/* All of the event but its previous value, and nothing is counted; the next one has its own again. */
static void a_previous_value_that_is_too_long_is_left_out(void **state)
{
	static const uint8_t bytes[1001] = "new";
	struct etcd_event e = {.key = (const uint8_t *)"a",
		.key_len = 1,
		.mod_rev = 1,
		.lease = 7,
		.value_len = 3,
		.has_prev = true,
		.prev_len = 1001};

	(void)state;
	set_up(2, 0);
	assert_int_equal(feed_event(&feed, &e), 0);
	assert_int_equal(feed_value(&feed, ETCD_VALUE, bytes, 3), 3);
	assert_int_equal(feed_value(&feed, ETCD_VALUE_PREV, bytes, 500), 500);
	feed_restart(&feed);
	assert_int_equal(feed_event(&feed, &e), 0);
	assert_int_equal(feed_value(&feed, ETCD_VALUE, bytes, 3), 3);
	assert_int_equal(feed_value(&feed, ETCD_VALUE_PREV, bytes, 1001), 1001);
	assert_int_equal(feed_event_end(&feed, &e), 0);
	assert_true(e.has_prev);
	e.mod_rev = 2;
	e.prev_len = 4;
	assert_int_equal(feed_event(&feed, &e), 0);
	assert_int_equal(feed_value(&feed, ETCD_VALUE, bytes, 3), 3);
	assert_int_equal(feed_value(&feed, ETCD_VALUE_PREV, (const uint8_t *)"prev", 4), 4);
	assert_int_equal(feed_event_end(&feed, &e), 0);
	feed_close(&feed);
	assert_string_equal(scribes[0].trace, "P1:a=new; P2:a=newprev<4; ");
	assert_string_equal(scribes[1].trace, "P1:a=new; P2:a=newprev<4; ");
	assert_int_equal(feed.too_long, 0);
	assert_int_equal(feed.events, 2);
	assert_int_equal(feed_done_rev(&feed), 2);
}

static void an_event_without_a_revision_is_refused(void **state)
{
	struct etcd_event e = {.key = (const uint8_t *)"a", .key_len = 1};

	(void)state;
	set_up(1, 0);
	assert_int_equal(feed_event(&feed, &e), ERR_REVISION);
	e.mod_rev = -1;
	assert_int_equal(feed_event(&feed, &e), ERR_REVISION);
}

/* A server that shows another history at the same revisions: a sink in the middle of an event cannot go on. */
static void an_event_that_vanished_is_refused(void **state)
{
	struct etcd_event e = {
		.key = (const uint8_t *)"a", .key_len = 1, .mod_rev = 5, .value_len = 4};

	(void)state;
	set_up(1, 0);
	assert_int_equal(feed_event(&feed, &e), 0);
	assert_int_equal(feed_value(&feed, ETCD_VALUE, (const uint8_t *)"ab", 2), 2);
	feed_restart(&feed);
	e.mod_rev = 6;
	assert_int_equal(feed_event(&feed, &e), ERR_HISTORY);
}

static void a_listing_replaces_what_was(void **state)
{
	struct sink_sync sync = {.reason = SYNC_ROLLBACK, .revision = 3};
	struct happening key = {2, "k", "v"};

	(void)state;
	set_up(2, 0);
	assert_true(send_event(&(struct happening){9, "a", ""}, 1000000));
	feed_close(&feed);
	for (int i = 0; i < SINKS; i++)
		scribes[i].committed = 0;
	assert_int_equal(feed_list_begin(&feed, &sync), 0);
	assert_true(feed_is_waiting(&feed));
	assert_true(send_event(&key, 1000000));
	feed_list_abort(&feed);
	assert_int_equal(feed_list_begin(&feed, &sync), 0);
	assert_true(send_event(&key, 1000000));
	assert_int_equal(feed_list_end(&feed, 3), 0);
	assert_int_equal(feed_done_rev(&feed), 3);
	assert_int_equal(feed.closed_rev, 3);
	assert_true(send_event(&(struct happening){4, "k", "w"}, 1000000));
	feed_close(&feed);
	assert_string_equal(scribes[1].trace, "P9:a=; S3 P2:k=v; S3 P2:k=v; E3 P4:k=w; ");
	assert_int_equal(feed.events, 2);
}

static void a_listing_can_go_on_inside_a_value(void **state)
{
	struct sink_sync sync = {.revision = 3};
	struct etcd_event e = {
		.key = (const uint8_t *)"k", .key_len = 1, .mod_rev = 2, .value_len = 4};

	(void)state;
	set_up(2, 0);
	assert_int_equal(feed_list_begin(&feed, &sync), 0);
	assert_true(send_event(&(struct happening){1, "j", "v"}, 1000000));
	assert_int_equal(feed_event(&feed, &e), 0);
	assert_int_equal(feed_value(&feed, ETCD_VALUE, (const uint8_t *)"ab", 2), 2);
	feed_list_go_on(&feed);
	assert_int_equal(feed_event(&feed, &e), 0);
	assert_int_equal(feed_value(&feed, ETCD_VALUE, (const uint8_t *)"abcd", 4), 4);
	assert_int_equal(feed_event_end(&feed, &e), 0);
	assert_int_equal(feed_list_end(&feed, 3), 0);
	assert_string_equal(scribes[0].trace, "S3 P1:j=v; P2:k=abcd; E3 ");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_event_reaches_each_sink_exactly_once),
		cmocka_unit_test(each_sink_gets_exactly_what_it_has_missed),
		cmocka_unit_test(a_busy_sink_is_left_behind_and_the_others_go_on),
		cmocka_unit_test(one_that_is_ready_in_a_moment_is_waited_for_until_others_wait),
		cmocka_unit_test(a_follower_is_left_with_its_keeper),
		cmocka_unit_test(who_was_left_inside_a_value_goes_on_inside_it),
		cmocka_unit_test(progress_leaves_nobody_behind),
		cmocka_unit_test(a_value_that_is_too_long_is_a_removal_to_a_keeper),
		cmocka_unit_test(another_limit_holds_from_the_next_event_on),
		cmocka_unit_test(a_listing_is_for_all),
		cmocka_unit_test(a_revision_that_may_go_on_is_not_committed),
		cmocka_unit_test(what_comes_again_is_dropped),
		cmocka_unit_test(a_repeated_event_takes_no_place_in_a_revision),
		cmocka_unit_test(progress_counts_only_between_revisions),
		cmocka_unit_test(what_is_too_long_or_unknown_is_counted_and_holds_nothing_up),
		cmocka_unit_test(a_previous_value_that_is_too_long_is_left_out),
		cmocka_unit_test(an_event_without_a_revision_is_refused),
		cmocka_unit_test(an_event_that_vanished_is_refused),
		cmocka_unit_test(a_listing_replaces_what_was),
		cmocka_unit_test(a_listing_can_go_on_inside_a_value),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
