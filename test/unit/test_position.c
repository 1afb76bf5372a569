/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Two kinds of tests: tables that name each rule, and a search of all short sequences of steps
 * against what must always hold.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <cmocka.h>

#include "sync/position.h"

enum {
	IDLE_MS = 600,
	SETTLE_MS = 60,
};

static struct position p;

static struct etcd_header header(uint64_t cluster, int64_t rev, uint64_t term)
{
	return (struct etcd_header){
		.cluster_id = cluster, .revision = rev, .raft_term = term, .is_present = true};
}

static void start(int64_t rev)
{
	position_init(&p, IDLE_MS, SETTLE_MS);
	position_load(&p, rev, 7, 3);
	position_connected(&p, 0);
}

static void probe(int64_t at_ms, int64_t rev)
{
	struct etcd_header h = header(7, rev, 3);

	position_note_asked(&p);
	assert_int_equal(position_judge(&p, &h), POSITION_FITS);
	position_note_probe(&p, at_ms, &h);
}

/* -- proposals -------------------------------------------------------------------------------- */

static void a_proposal_moves_it_on_and_never_back(void **state)
{
	static const struct {
		int64_t from, rev, to;
	} rows[] = {
		{10, 11, 11},
		{10, 10, 10},
		{10, 9, 10},
		{10, 0, 10},
		{10, -1, 10},
		{10, INT64_MIN, 10},
		{0, 1, 1},
		{10, (INT64_C(1) << 62) - 1, (INT64_C(1) << 62) - 1},
		{10, INT64_C(1) << 62, 10},
		{10, INT64_MAX, 10},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		for (int source = POSITION_EVENTS; source <= POSITION_PROGRESS; source++) {
			start(rows[i].from);
			assert_int_equal(
				position_propose(&p, (enum position_source)source, rows[i].rev),
				rows[i].to != rows[i].from);
			assert_int_equal(p.rev, rows[i].to);
		}
	}
}

static void nothing_moves_what_is_not_known(void **state)
{
	struct etcd_header h = header(7, 50, 3);

	(void)state;
	position_init(&p, IDLE_MS, SETTLE_MS);
	position_connected(&p, 0);
	assert_false(position_propose(&p, POSITION_EVENTS, 5));
	assert_false(position_propose(&p, POSITION_PROGRESS, 5));
	position_note_probe(&p, 0, &h);
	assert_false(position_idle(&p, 100 * IDLE_MS, false));
	assert_int_equal(position_idle_due_ms(&p), INT64_MAX);
	assert_false(p.is_known);
	start(5);
	position_forget(&p);
	assert_false(position_propose(&p, POSITION_EVENTS, 9));
	assert_int_equal(p.dirt, POSITION_CLEAN);
}

static void dirt_tells_what_moved_it(void **state)
{
	(void)state;
	start(5);
	assert_int_equal(p.dirt, POSITION_CLEAN);
	position_propose(&p, POSITION_PROGRESS, 6);
	assert_int_equal(p.dirt, POSITION_MOVED_QUIETLY);
	position_propose(&p, POSITION_EVENTS, 7);
	assert_int_equal(p.dirt, POSITION_MOVED_BY_EVENT);
	position_propose(&p, POSITION_PROGRESS, 8);
	assert_int_equal(p.dirt, POSITION_MOVED_BY_EVENT);
	position_saved(&p);
	assert_int_equal(p.dirt, POSITION_CLEAN);
	position_propose(&p, POSITION_PROGRESS, 8);
	assert_int_equal(p.dirt, POSITION_CLEAN);
}

static void a_restart_may_move_it_back(void **state)
{
	struct etcd_header h = header(8, 4, 1);

	(void)state;
	start(50);
	position_restart(&p, 4, &h);
	assert_int_equal(p.rev, 4);
	assert_int_equal(p.cluster_id, 8);
	assert_int_equal(p.raft_term, 1);
	assert_int_equal(p.dirt, POSITION_MOVED_BY_EVENT);
	assert_int_equal(position_judge(&p, &h), POSITION_FITS);
}

/* -- the idle rule ---------------------------------------------------------------------------- */

static void idle_moves_to_the_newest_probe_that_is_old_enough(void **state)
{
	(void)state;
	start(5);
	probe(100, 20);
	probe(560, 30);
	probe(590, 40);
	assert_false(position_idle(&p, IDLE_MS - 1, false));
	assert_true(position_idle(&p, IDLE_MS, false));
	assert_int_equal(p.rev, 20);
	assert_false(position_idle(&p, 619, false));
	assert_true(position_idle(&p, 620, false));
	assert_int_equal(p.rev, 30);
	assert_true(position_idle(&p, 650, false));
	assert_int_equal(p.rev, 40);
	assert_false(position_idle(&p, 10000, false));
	assert_int_equal(p.dirt, POSITION_MOVED_QUIETLY);
}

/* Each row: what happens at 300 ms, and whether idle moves it at 600 ms and at 900 ms. */
static void idle_waits_for_a_quiet_and_unbroken_time(void **state)
{
	static const struct {
		const char *what;
		bool is_at_600, is_at_900;
	} rows[] = {
		{"nothing", true, true},
		{"event", false, true},
		{"reconnect", false, false},
		{"disconnect", false, false},
		{"waiting", false, false},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		bool is_waiting = rows[i].what[0] == 'w';

		start(5);
		probe(100, 20);
		if (rows[i].what[0] == 'e')
			position_note_event(&p, 300);
		if (rows[i].what[0] == 'r' || rows[i].what[0] == 'd')
			position_disconnected(&p);
		if (rows[i].what[0] == 'r')
			position_connected(&p, 300);
		assert_int_equal(position_idle(&p, 600, is_waiting), rows[i].is_at_600);
		assert_int_equal(
			position_idle(&p, 900, is_waiting) || rows[i].is_at_600, rows[i].is_at_900);
		assert_int_equal(p.rev, rows[i].is_at_900 ? 20 : 5);
	}
}

static void a_probe_of_another_connection_counts_for_nothing(void **state)
{
	(void)state;
	start(5);
	probe(100, 20);
	position_disconnected(&p);
	position_connected(&p, 200);
	assert_false(position_idle(&p, 5000, false));
	probe(5000, 21);
	assert_false(position_idle(&p, 5000 + SETTLE_MS - 1, false));
	assert_true(position_idle(&p, 5000 + SETTLE_MS, false));
	assert_int_equal(p.rev, 21);
}

static void many_probes_do_not_push_out_the_old_ones(void **state)
{
	(void)state;
	start(5);
	for (int i = 0; i < 100; i++)
		probe(580 + i / 10, 100 + i);
	assert_false(position_idle(&p, 639, false));
	assert_true(position_idle(&p, 640, false));
	assert_in_range(p.rev, 100, 110);
	assert_true(position_idle(&p, 700, false));
	assert_int_equal(p.rev, 199);
}

static void it_tells_when_idle_is_due(void **state)
{
	(void)state;
	start(5);
	assert_int_equal(position_idle_due_ms(&p), INT64_MAX);
	probe(100, 5);
	assert_int_equal(position_idle_due_ms(&p), INT64_MAX);
	probe(100, 6);
	assert_int_equal(position_idle_due_ms(&p), IDLE_MS);
	probe(580, 7);
	assert_int_equal(position_idle_due_ms(&p), IDLE_MS);
	assert_true(position_idle(&p, IDLE_MS, false));
	assert_int_equal(position_idle_due_ms(&p), 580 + SETTLE_MS);
	assert_true(position_idle(&p, position_idle_due_ms(&p), false));
	assert_int_equal(p.rev, 7);
	assert_int_equal(position_idle_due_ms(&p), INT64_MAX);
}

/* -- other histories -------------------------------------------------------------------------- */

static void answers_are_judged(void **state)
{
	static const struct {
		uint64_t cluster;
		int64_t rev;
		uint64_t term;
		bool is_present;
		enum position_fit linearizable, any;
	} rows[] = {
		{7, 50, 3, true, POSITION_FITS, POSITION_FITS},
		{7, 51, 4, true, POSITION_FITS, POSITION_FITS},
		{7, 49, 3, true, POSITION_BEHIND, POSITION_FITS},
		{7, 60, 2, true, POSITION_BEHIND, POSITION_FITS},
		{7, 60, 0, true, POSITION_FITS, POSITION_FITS},
		{8, 60, 9, true, POSITION_OTHER_CLUSTER, POSITION_OTHER_CLUSTER},
		{8, 1, 1, true, POSITION_OTHER_CLUSTER, POSITION_OTHER_CLUSTER},
		{0, 60, 3, true, POSITION_FITS, POSITION_FITS},
		{0, 40, 3, true, POSITION_BEHIND, POSITION_FITS},
		{8, 1, 1, false, POSITION_FITS, POSITION_FITS},
	};

	(void)state;
	start(50);
	position_note_asked(&p);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct etcd_header h = header(rows[i].cluster, rows[i].rev, rows[i].term);

		h.is_present = rows[i].is_present;
		assert_int_equal(position_judge(&p, &h), rows[i].linearizable);
		assert_int_equal(position_judge_cluster(&p, &h), rows[i].any);
	}
}

static void an_answer_is_held_against_the_position_of_its_question(void **state)
{
	struct etcd_header h = header(7, 50, 3);

	(void)state;
	start(50);
	position_note_asked(&p);
	position_propose(&p, POSITION_EVENTS, 51);
	assert_int_equal(position_judge(&p, &h), POSITION_FITS);
	position_note_asked(&p);
	assert_int_equal(position_judge(&p, &h), POSITION_BEHIND);
}

static void nothing_is_held_against_what_the_user_gave(void **state)
{
	struct etcd_header h = header(7, 5, 1);

	(void)state;
	position_init(&p, IDLE_MS, SETTLE_MS);
	position_give(&p, 1000);
	assert_int_equal(p.rev, 999);
	position_note_asked(&p);
	assert_int_equal(position_judge(&p, &h), POSITION_FITS);
	assert_int_equal(p.dirt, POSITION_CLEAN);
	position_propose(&p, POSITION_EVENTS, 1000);
	position_note_asked(&p);
	assert_int_equal(position_judge(&p, &h), POSITION_BEHIND);
	position_give(&p, 0);
	assert_int_equal(p.rev, 0);
	/* Until a server has told that it lies in its past. */
	position_init(&p, IDLE_MS, SETTLE_MS);
	position_give(&p, 10);
	position_note_probe(&p, 0, &(struct etcd_header){7, 0, 8, 3, true});
	position_note_asked(&p);
	assert_int_equal(position_judge(&p, &h), POSITION_FITS);
	position_note_probe(&p, 0, &(struct etcd_header){7, 0, 9, 3, true});
	position_note_asked(&p);
	assert_int_equal(position_judge(&p, &h), POSITION_BEHIND);
}

static void the_cluster_becomes_known_once(void **state)
{
	struct etcd_header h = header(9, 5, 1);

	(void)state;
	position_init(&p, IDLE_MS, SETTLE_MS);
	position_load(&p, 5, 0, 0);
	assert_int_equal(position_judge(&p, &h), POSITION_FITS);
	position_note_header(&p, &h);
	assert_int_equal(p.cluster_id, 9);
	h.cluster_id = 10;
	position_note_header(&p, &h);
	assert_int_equal(p.cluster_id, 9);
	assert_int_equal(position_judge(&p, &h), POSITION_OTHER_CLUSTER);
}

static void the_raft_term_only_rises(void **state)
{
	(void)state;
	start(5);
	probe(1, 6);
	assert_int_equal(p.raft_term, 3);
	position_note_probe(&p, 2, &(struct etcd_header){7, 0, 6, 9, true});
	assert_int_equal(p.raft_term, 9);
	position_note_probe(&p, 3, &(struct etcd_header){7, 0, 6, 4, true});
	assert_int_equal(p.raft_term, 9);
}

/* -- all sequences ---------------------------------------------------------------------------- */

enum step {
	STEP_PROCESSED, /* the oldest event that waits was processed */
	STEP_SENT, /* the server has a matching event; it will arrive within SETTLE_MS */
	STEP_ARRIVED, /* it is received */
	STEP_OTHER, /* something else happens in etcd */
	STEP_PROBE,
	STEP_TICK, /* time goes on by half of SETTLE_MS; the idle rule is looked at */
	STEP_LONG, /* time goes on by IDLE_MS, unless an event is under way */
	STEP_BREAK, /* the connection breaks and is made again; what was under way comes again */
	STEP_COUNT,
};

/*
 * A world with one matching event at most at a time in each stage. What must always hold: every
 * matching event at or below the position was processed.
 */
struct world {
	struct position pos;
	int64_t now_ms, cluster_rev;
	int64_t sent_rev, sent_ms; /* under way; 0: none */
	int64_t waiting_rev; /* received, not processed; 0: none */
};

static bool world_step(struct world *w, enum step step)
{
	struct etcd_header h = header(7, w->cluster_rev, 3);

	switch (step) {
	case STEP_PROCESSED:
		if (!w->waiting_rev)
			return false;
		position_propose(&w->pos, POSITION_EVENTS, w->waiting_rev);
		w->waiting_rev = 0;
		break;
	case STEP_SENT:
		if (w->sent_rev)
			return false;
		w->sent_rev = ++w->cluster_rev;
		w->sent_ms = w->now_ms;
		break;
	case STEP_ARRIVED:
		if (!w->sent_rev || w->waiting_rev)
			return false;
		position_note_event(&w->pos, w->now_ms);
		w->waiting_rev = w->sent_rev;
		w->sent_rev = 0;
		break;
	case STEP_OTHER:
		w->cluster_rev++;
		break;
	case STEP_PROBE:
		position_note_asked(&w->pos);
		position_note_probe(&w->pos, w->now_ms, &h);
		break;
	case STEP_TICK:
		/* An event is not under way for longer than SETTLE_MS. */
		if (w->sent_rev && w->now_ms + SETTLE_MS / 2 - w->sent_ms >= SETTLE_MS)
			return false;
		w->now_ms += SETTLE_MS / 2;
		position_idle(&w->pos, w->now_ms, w->waiting_rev != 0);
		break;
	case STEP_LONG:
		if (w->sent_rev)
			return false;
		w->now_ms += IDLE_MS;
		position_idle(&w->pos, w->now_ms, w->waiting_rev != 0);
		break;
	case STEP_BREAK:
		position_disconnected(&w->pos);
		position_connected(&w->pos, w->now_ms);
		if (w->sent_rev)
			w->sent_ms = w->now_ms;
		break;
	case STEP_COUNT:
		return false;
	}
	return true;
}

static void no_sequence_of_steps_skips_an_event(void **state)
{
	enum { DEPTH = 8 };
	struct world stack[DEPTH + 1];
	uint8_t next[DEPTH + 1] = {0};
	size_t depth = 0;
	unsigned long seen = 0, moved = 0;

	(void)state;
	stack[0] = (struct world){.cluster_rev = 5};
	position_init(&stack[0].pos, IDLE_MS, SETTLE_MS);
	position_load(&stack[0].pos, 5, 7, 3);
	position_connected(&stack[0].pos, 0);
	for (;;) {
		struct world *w = &stack[depth];
		struct world *n = &stack[depth + 1];

		if (depth == DEPTH || next[depth] == STEP_COUNT) {
			if (depth == 0)
				break;
			next[depth] = 0;
			depth--;
			continue;
		}
		*n = *w;
		if (!world_step(n, (enum step)next[depth]++))
			continue;
		seen++;
		moved += n->pos.rev > w->pos.rev;
		assert_true(n->pos.rev >= w->pos.rev);
		assert_true(n->pos.rev <= n->cluster_rev);
		assert_true(!n->sent_rev || n->pos.rev < n->sent_rev);
		assert_true(!n->waiting_rev || n->pos.rev < n->waiting_rev);
		next[++depth] = 0;
	}
	/* The search must have been one: it saw many worlds, and positions moved in them. */
	assert_true(seen > 1000000);
	assert_true(moved > 10000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_proposal_moves_it_on_and_never_back),
		cmocka_unit_test(nothing_moves_what_is_not_known),
		cmocka_unit_test(dirt_tells_what_moved_it),
		cmocka_unit_test(a_restart_may_move_it_back),
		cmocka_unit_test(idle_moves_to_the_newest_probe_that_is_old_enough),
		cmocka_unit_test(idle_waits_for_a_quiet_and_unbroken_time),
		cmocka_unit_test(a_probe_of_another_connection_counts_for_nothing),
		cmocka_unit_test(many_probes_do_not_push_out_the_old_ones),
		cmocka_unit_test(it_tells_when_idle_is_due),
		cmocka_unit_test(answers_are_judged),
		cmocka_unit_test(an_answer_is_held_against_the_position_of_its_question),
		cmocka_unit_test(nothing_is_held_against_what_the_user_gave),
		cmocka_unit_test(the_cluster_becomes_known_once),
		cmocka_unit_test(the_raft_term_only_rises),
		cmocka_unit_test(no_sequence_of_steps_skips_an_event),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
