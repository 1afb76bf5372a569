/* SPDX-License-Identifier: Apache-2.0 */
/* A change of an artifact with a fault, and with a kill, at every single call of the port. */
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "fault_dir.h"

#include "fake_clock.h"

#include "fetch_helper.h"

enum { LEN = 40000, OLD = 0, NEW = 1, KEYS = 4 };

/* Faults of which the sink tells that DIR is lost, or that it is tried again. */
static const int codes[] = {ERR_IO, ERR_NOSPACE, ERR_NOENT};

static uint8_t bodies[2][LEN];
static const char *const urls[2] = {"http://server/old", "http://server/new"};

/* What a key is to have: a body under a name. */
struct artifact {
	const char *key; /* NULL: no more */
	int body; /* below 0: it is deleted */
	const char *name;
};

static const struct scenario {
	const char *name;
	struct artifact before[KEYS], change, after[KEYS];
	const char *value; /* of the change, in place of a right one */
	bool is_listing; /* the change and what comes after it, as a listing */
	bool is_planted; /* the file is there already */
	bool is_cut; /* the server breaks off in the middle, once */
	bool is_wrong; /* it sends something else */
	struct artifact later; /* of the same key; after a kill all that the next start sees */
} scenarios[] = {
	{"a new one", {{0}}, {"/f/a", NEW, "a"}, {{"/f/a", NEW, "a"}}, NULL, 0, 0, 0, 0, {0}},
	{"another version", {{"/f/a", OLD, "a"}, {"/f/b", OLD, "b"}}, {"/f/a", NEW, "a"},
		{{"/f/a", NEW, "a"}, {"/f/b", OLD, "b"}}, NULL, 0, 0, 0, 0, {0}},
	{"another name", {{"/f/a", OLD, "a"}}, {"/f/a", OLD, "z"}, {{"/f/a", OLD, "z"}}, NULL, 0, 0,
		0, 0, {0}},
	{"another version and name", {{"/f/a", OLD, "a"}}, {"/f/a", NEW, "z"}, {{"/f/a", NEW, "z"}},
		NULL, 0, 0, 0, 0, {0}},
	{"deleted", {{"/f/a", OLD, "a"}, {"/f/b", OLD, "b"}}, {"/f/a", -1, "a"},
		{{"/f/b", OLD, "b"}}, NULL, 0, 0, 0, 0, {0}},
	{"malformed", {{"/f/a", OLD, "a"}}, {"/f/a", OLD, "a"}, {{"/f/a", OLD, "a"}}, "[]", 0, 0, 0,
		0, {0}},
	{"another digest", {{"/f/a", OLD, "a"}}, {"/f/a", NEW, "a"}, {{"/f/a", OLD, "a"}}, NULL, 0,
		0, 0, 1, {0}},
	{"it was there", {{0}}, {"/f/a", NEW, "a"}, {{"/f/a", NEW, "a"}}, NULL, 0, 1, 0, 0, {0}},
	{"broken off", {{"/f/a", OLD, "a"}}, {"/f/a", NEW, "a"}, {{"/f/a", NEW, "a"}}, NULL, 0, 0,
		1, 0, {0}},
	{"a listing", {{"/f/a", OLD, "a"}, {"/f/b", OLD, "b"}, {"/f/c", OLD, "c"}},
		{"/f/a", NEW, "a"}, {{"/f/a", NEW, "a"}, {"/f/c", OLD, "c"}}, NULL, 1, 0, 0, 0,
		{0}},
	{.name = "a new one, then deleted",
		.before = {{"/f/b", OLD, "b"}},
		.change = {"/f/a", NEW, "a"},
		.later = {"/f/a", -1, "a"},
		.after = {{"/f/b", OLD, "b"}}},
	{.name = "a new one, then another version",
		.change = {"/f/a", NEW, "a"},
		.later = {"/f/a", OLD, "a"},
		.after = {{"/f/a", OLD, "a"}}},
	{.name = "a new one, then another name",
		.change = {"/f/a", NEW, "a"},
		.later = {"/f/a", OLD, "y"},
		.after = {{"/f/a", OLD, "y"}}},
	{.name = "another version and name, then deleted",
		.before = {{"/f/a", OLD, "a"}},
		.change = {"/f/a", NEW, "z"},
		.later = {"/f/a", -1, "z"}},
	{.name = "another version and name, then another name",
		.before = {{"/f/a", OLD, "a"}},
		.change = {"/f/a", NEW, "z"},
		.later = {"/f/a", OLD, "y"},
		.after = {{"/f/a", OLD, "y"}}},
	{.name = "another version and name, and back",
		.before = {{"/f/a", OLD, "a"}},
		.change = {"/f/a", NEW, "z"},
		.later = {"/f/a", OLD, "a"},
		.after = {{"/f/a", OLD, "a"}}},
	{.name = "another name, then another version",
		.before = {{"/f/a", OLD, "a"}},
		.change = {"/f/a", OLD, "z"},
		.later = {"/f/a", NEW, "z"},
		.after = {{"/f/a", NEW, "z"}}},
	{.name = "another name, then deleted",
		.before = {{"/f/a", OLD, "a"}},
		.change = {"/f/a", OLD, "z"},
		.later = {"/f/a", -1, "z"}},
};

static const char *value_of(const struct scenario *s, const struct artifact *a)
{
	if (s->value && a == &s->change)
		return s->value;
	return help_value(urls[a->body], bodies[a->body], LEN, LEN, a->name);
}

/* As an owner does it: the same call again after a while. Ends early when it is killed, or everything is to be listed. */
#define INSIST(call) \
	do { \
		int relists_ = help_seen.relists; \
		for (int i_ = 0; (call) != 0; i_++) { \
			if (fault.is_dead || help_seen.relists != relists_) \
				return false; \
			assert_true(i_ < 200); \
			fake_run(&help_loop, 100); \
		} \
	} while (0)

static bool give(const struct scenario *s, const struct artifact *a, int64_t rev, bool is_listed)
{
	struct sink *sink = &help_fetch.sink;
	const char *value = a->body < 0 ? "" : value_of(s, a);
	struct etcd_event e = {
		.type = a->body < 0 ? ETCD_EVENT_DELETE : ETCD_EVENT_PUT,
		.is_listed = is_listed,
		.key = (const uint8_t *)a->key,
		.key_len = strlen(a->key),
		.value_len = strlen(value),
		.mod_rev = rev,
	};
	size_t len = strlen(value);

	INSIST(sink->ops->event(sink, &e));
	if (len)
		INSIST((int)(sink->ops->value(sink, &e, ETCD_VALUE, (const uint8_t *)value, len) -
			     (ssize_t)len));
	INSIST(sink->ops->event_end(sink, &e));
	return true;
}

/* All there is, by what the keys are after the change. */
static bool list(const struct scenario *s, int64_t rev)
{
	INSIST(help_list_begin(rev));
	for (int i = 0; i < KEYS && s->after[i].key; i++) {
		const struct artifact *a = &s->after[i];
		bool is_change = !strcmp(a->key, s->change.key);

		if (!give(s, is_change ? &s->change : a, is_change ? rev : 5 + i, true))
			return false;
	}
	INSIST(help_list_end(rev));
	return true;
}

/* The change, until it is processed; false: it was killed. */
static bool change(const struct scenario *s, int64_t rev)
{
	bool want_list = s->is_listing;

	for (int i = 0; i < 40 && !fault.is_dead; i++) {
		int relists = help_seen.relists;
		bool is_taken = want_list ? list(s, rev) : give(s, &s->change, rev, false);

		if (is_taken && !want_list)
			help_fetch.sink.ops->commit(&help_fetch.sink, rev);
		for (int k = 0; k < 100 && is_taken && !fault.is_dead &&
				help_fetch.sink.done_rev < rev && help_seen.relists == relists;
			k++)
			fake_run(&help_loop, 100);
		if (!fault.is_dead && is_taken && help_fetch.sink.done_rev == rev &&
			help_fetch.sink.ops->settle(&help_fetch.sink) == 0 &&
			help_seen.relists == relists)
			return true;
		fake_run(&help_loop, 1000);
		want_list = want_list || help_seen.relists != relists;
	}
	assert_true(fault.is_dead);
	return false;
}

static void check_after(const struct scenario *s)
{
	char names[64] = "";

	for (int i = 0; i < KEYS && s->after[i].key; i++) {
		snprintf(names + strlen(names), sizeof(names) - strlen(names), "%s ",
			s->after[i].name);
		assert_true(help_is(s->after[i].name, bodies[s->after[i].body], LEN));
	}
	assert_string_equal(help_names(help_dir), names);
	assert_null(strstr(help_names(help_own), "part"));
}

/* Wherever it was killed: each file is whole, and none is gone that was to stay. */
static void check_between(const struct scenario *s)
{
	const char *name;
	char *names = strdup(help_names(help_dir)), *rest = names;

	while ((name = strsep(&rest, " ")) && *name)
		assert_true(help_is(name, bodies[OLD], LEN) || help_is(name, bodies[NEW], LEN));
	free(names);
	for (int i = 0; i < KEYS && s->before[i].key; i++) {
		const struct artifact *b = &s->before[i];

		if (!strcmp(b->key, s->change.key) && s->change.body >= 0)
			assert_true(help_is(b->name, bodies[b->body], LEN) ||
				    help_is(s->change.name, bodies[NEW], LEN) ||
				    help_is(s->change.name, bodies[OLD], LEN));
		for (int k = 0; k < KEYS && s->after[k].key; k++) {
			if (!strcmp(b->key, s->after[k].key) && strcmp(b->key, s->change.key) != 0)
				assert_true(help_is(b->name, bodies[b->body], LEN));
		}
	}
}

static void put_up(const struct scenario *s)
{
	fake_http_reset();
	fake_put_up(urls[OLD], bodies[OLD], LEN);
	fake_put_up(urls[NEW], s->is_wrong ? bodies[OLD] : bodies[NEW], LEN);
}

static void prepare(const struct scenario *s)
{
	memset(&fault, 0, sizeof(fault));
	fake_clock_reset();
	assert_int_equal(help_set_up(NULL), 0);
	help_cfg.is_relaxed = false;
	put_up(s);
	help_open();
	for (int i = 0; i < KEYS && s->before[i].key; i++)
		assert_true(give(s, &s->before[i], 5 + i, false));
	help_fetch.sink.ops->commit(&help_fetch.sink, 10);
	fake_run(&help_loop, 100);
	assert_int_equal(help_fetch.sink.done_rev, 10);
	must(help_fetch.sink.ops->settle(&help_fetch.sink));
	if (s->is_planted)
		help_plant(help_dir, "a", bodies[NEW], LEN);
	if (s->is_cut) {
		fake_page_of(urls[NEW])->cut_after = LEN / 2;
		fake_page_of(urls[NEW])->cut_err = ERR_RESET;
	}
}

/* The n-th call of the change; false: there are not so many. */
static bool try_at(const struct scenario *s, enum fault_kind kind, int code, int n)
{
	struct scenario later = *s;
	bool has_happened, is_done;

	later.change = s->later;
	prepare(s);
	fault.kind = kind;
	fault.code = code;
	fault.at = n;
	fault.is_armed = true;
	is_done = change(s, 20);
	has_happened = fault.has_happened;
	fault.is_armed = fault.is_dead = false;
	if (!is_done) {
		/* Killed: the next start finds what is on the disk. */
		fault.is_dead = true;
		fetch_close(&help_fetch);
		fault.is_dead = false;
		check_between(s);
		put_up(s);
		help_seen.relists = 0;
		help_open();
	}
	if (s->later.key)
		assert_true(change(&later, 30));
	else if (!is_done)
		assert_true(change(s, 20));
	fake_run(&help_loop, 1000);
	check_after(s);
	/* And so it is the next time, without a word from the server. */
	help_stop();
	fake_http_reset();
	help_open();
	fake_run(&help_loop, 100);
	check_after(s);
	assert_int_equal(fake_page_count, 0);
	assert_int_equal(help_tear_down(NULL), 0);
	return has_happened;
}

static void test_faults(void **state)
{
	int cases = 0;

	(void)state;
	help_fill(bodies[OLD], LEN, 1);
	help_fill(bodies[NEW], LEN, 2);
	for (size_t i = 0; i < sizeof(scenarios) / sizeof(scenarios[0]); i++) {
		for (int kind = 0; kind < FAULT_KINDS; kind++) {
			for (size_t c = 0; c < sizeof(codes) / sizeof(codes[0]); c++) {
				int n = 0;

				if (kind != FAULT_ONCE && codes[c] != ERR_IO)
					continue;
				if (getenv("FETCH_TEST_LOG"))
					fprintf(stderr, "%s, %d, %s\n", scenarios[i].name, kind,
						err_name(codes[c]));
				while (try_at(&scenarios[i], (enum fault_kind)kind, codes[c], n))
					n++;
				assert_true(n > 5);
				cases += n;
			}
		}
	}
	assert_true(cases > 1000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_faults)};

	return cmocka_run_group_tests_name("fetch_fault", tests, NULL, NULL);
}
