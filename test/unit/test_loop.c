/* SPDX-License-Identifier: Apache-2.0 */
/* The loop against a clock that stands still: port_poll() lets time pass, and nothing else does. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "base/err.h"
#include "base/loop.h"

enum {
	NODES = 8,
	TURNS_MAX = 1000,
	START_MS = 5000,
	FOREVER = -1,
};

/* -- the platform ----------------------------------------------------------------------------- */

static int64_t now_ms;
static int64_t slept_ms; /* what the last poll was asked for */
static size_t polled_count;
static struct port_poll polled_last[CONFIG_LOOP_FD_COUNT];
static int ready[NODES]; /* by descriptor */
static int poll_err;

int64_t port_now_ms(void)
{
	return now_ms;
}

int64_t port_wall_s(void)
{
	return 0;
}

int port_random(void *dst, size_t len)
{
	memset(dst, 0, len);
	return 0;
}

int port_poll(struct port_poll *fds, size_t n, int64_t timeout_ms)
{
	int count = 0;

	slept_ms = timeout_ms;
	polled_count = n;
	if (n)
		memcpy(polled_last, fds, n * sizeof(*fds));
	if (poll_err)
		return poll_err;
	for (size_t i = 0; i < n; i++) {
		fds[i].got = ready[fds[i].fd] & (fds[i].want | PORT_POLL_ERR);
		count += fds[i].got != 0;
	}
	if (!count && timeout_ms > 0)
		now_ms += timeout_ms;
	return count;
}

int port_signals_open(void)
{
	return ERR_UNSUPPORTED;
}

int port_signals_take(void)
{
	return 0;
}

/* -- what happened, one letter each ----------------------------------------------------------- */

static struct loop loop;
static struct loop_timer timers[NODES];
static struct loop_task tasks[NODES];
static struct loop_fd fds[NODES];
static char trace[256];
static size_t trace_len;
static void (*act)(void); /* within the next callback */

static void note(char what, ptrdiff_t i)
{
	void (*once)(void) = act;

	assert_true(trace_len + 3 < sizeof(trace));
	trace[trace_len++] = what;
	trace[trace_len++] = (char)('0' + i);
	trace[trace_len] = '\0';
	act = NULL;
	if (once)
		once();
}

static void expect(const char *want)
{
	assert_string_equal(trace, want);
	trace_len = 0;
	trace[0] = '\0';
}

static void on_timer(struct loop_timer *t)
{
	assert_false(t->is_set);
	note('t', t - timers);
}

static void on_task(struct loop_task *t)
{
	assert_false(t->is_posted);
	note('k', t - tasks);
}

static void on_fd(struct loop_fd *f, int events)
{
	note(events & PORT_POLL_ERR ? 'e' : events == PORT_POLL_IN ? 'r' : 'w', f - fds);
}

static int set_up(void **state)
{
	(void)state;
	now_ms = START_MS;
	poll_err = 0;
	act = NULL;
	trace_len = 0;
	trace[0] = '\0';
	memset(ready, 0, sizeof(ready));
	memset(timers, 0, sizeof(timers));
	memset(tasks, 0, sizeof(tasks));
	memset(fds, 0, sizeof(fds));
	for (int i = 0; i < NODES; i++) {
		timers[i].fn = on_timer;
		tasks[i].fn = on_task;
		fds[i].fn = on_fd;
		fds[i].fd = i;
		fds[i].want = PORT_POLL_IN;
	}
	loop_init(&loop);
	return 0;
}

static void turn(void)
{
	assert_int_equal(loop_turn(&loop), 0);
}

/* -- timers ----------------------------------------------------------------------------------- */

static void timers_come_in_the_order_of_their_deadlines(void **state)
{
	(void)state;
	loop_timer_set(&loop, &timers[0], 30);
	loop_timer_set(&loop, &timers[1], 10);
	loop_timer_set(&loop, &timers[2], 20);
	loop_timer_set(&loop, &timers[3], 10);
	turn();
	assert_int_equal(now_ms, START_MS + 10);
	expect("t1t3");
	turn();
	assert_int_equal(now_ms, START_MS + 20);
	expect("t2");
	turn();
	expect("t0");
	assert_int_equal(loop.wakeups, 3);
	turn();
	assert_int_equal(slept_ms, FOREVER);
	expect("");
}

static void a_timer_is_moved_or_cleared_by_its_last_word(void **state)
{
	(void)state;
	loop_timer_set(&loop, &timers[0], 10);
	loop_timer_set(&loop, &timers[1], 20);
	loop_timer_set(&loop, &timers[0], 30);
	loop_timer_clear(&loop, &timers[1]);
	loop_timer_clear(&loop, &timers[1]);
	assert_false(timers[1].is_set);
	turn();
	assert_int_equal(now_ms, START_MS + 30);
	expect("t0");
	loop_timer_set(&loop, &timers[2], -5);
	assert_int_equal(timers[2].due_ms, loop.now_ms);
	turn();
	assert_int_equal(slept_ms, 0);
	expect("t2");
}

static void slack_joins_wake_ups(void **state)
{
	(void)state;
	timers[0].slack_ms = 100;
	loop_timer_set(&loop, &timers[0], 10);
	loop_timer_set(&loop, &timers[1], 60);
	turn();
	assert_int_equal(now_ms, START_MS + 60);
	expect("t0t1");
	/* Alone it comes when it can slide no further; never before it is due. */
	loop_timer_set(&loop, &timers[0], 10);
	turn();
	assert_int_equal(now_ms, START_MS + 60 + 110);
	expect("t0");
	loop_timer_set(&loop, &timers[0], 50);
	loop_timer_set(&loop, &timers[1], 20);
	turn();
	expect("t1");
	turn();
	assert_int_equal(now_ms, START_MS + 170 + 150);
	expect("t0");
	/* The one with the least patience counts, not the one that is due first. */
	timers[2].slack_ms = 5;
	loop_timer_set(&loop, &timers[0], 10);
	loop_timer_set(&loop, &timers[2], 30);
	turn();
	assert_int_equal(slept_ms, 35);
	expect("t0t2");
}

static void set_now(void)
{
	loop_timer_set(&loop, &timers[0], 0);
}

static void set_past(void)
{
	loop_timer_set_at(&loop, &timers[0], START_MS - 100);
}

static void a_timer_that_sets_itself_cannot_hold_the_loop(void **state)
{
	void (*const acts[])(void) = {set_now, set_past};

	for (size_t i = 0; i < 2; i++) {
		set_up(state);
		loop_timer_set(&loop, &timers[0], 0);
		act = acts[i];
		turn();
		expect("t0");
		assert_true(timers[0].is_set);
		assert_int_equal(timers[0].due_ms, START_MS + 1);
		turn();
		expect("t0");
		assert_int_equal(now_ms, START_MS + 1);
	}
}

static void clear_next(void)
{
	loop_timer_clear(&loop, &timers[1]);
	loop_timer_set(&loop, &timers[2], 7);
}

static void a_due_timer_can_be_cleared_or_moved_by_one_before_it(void **state)
{
	(void)state;
	for (int i = 0; i < 4; i++)
		loop_timer_set(&loop, &timers[i], 5);
	act = clear_next;
	turn();
	expect("t0t3");
	turn();
	assert_int_equal(now_ms, START_MS + 12);
	expect("t2");
}

static void the_clock_is_read_once_before_callbacks(void **state)
{
	(void)state;
	loop_timer_set(&loop, &timers[0], 40);
	turn();
	assert_int_equal(loop.now_ms, START_MS + 40);
	now_ms += 5;
	assert_int_equal(loop.now_ms, START_MS + 40);
	loop_update_now(&loop);
	assert_int_equal(loop.now_ms, START_MS + 45);
}

/* -- tasks ------------------------------------------------------------------------------------ */

static void post_more(void)
{
	loop_task_post(&loop, &tasks[2]);
	loop_task_post(&loop, &tasks[0]);
}

static void tasks_run_in_order_at_the_end_of_the_turn(void **state)
{
	(void)state;
	ready[0] = PORT_POLL_IN;
	assert_int_equal(loop_fd_add(&loop, &fds[0]), 0);
	loop_timer_set(&loop, &timers[0], 0);
	loop_task_post(&loop, &tasks[1]);
	loop_task_post(&loop, &tasks[0]);
	loop_task_post(&loop, &tasks[1]);
	turn();
	expect("r0t0k1k0");
	turn();
	expect("r0");
}

static void tasks_posted_by_tasks_run_in_the_same_turn(void **state)
{
	(void)state;
	loop_task_post(&loop, &tasks[0]);
	loop_task_post(&loop, &tasks[1]);
	act = post_more;
	turn();
	assert_int_equal(slept_ms, 0);
	expect("k0k1k2k0");
}

static void cancel_two(void)
{
	loop_task_cancel(&loop, &tasks[1]);
	loop_task_cancel(&loop, &tasks[2]);
	loop_task_post(&loop, &tasks[3]);
}

static void a_task_can_be_cancelled(void **state)
{
	(void)state;
	loop_task_cancel(&loop, &tasks[0]);
	for (int i = 0; i < 3; i++)
		loop_task_post(&loop, &tasks[i]);
	act = cancel_two;
	turn();
	expect("k0k3");
	assert_false(tasks[1].is_posted);
	/* The end of the queue is where it was. */
	loop_task_post(&loop, &tasks[4]);
	turn();
	expect("k4");
}

static void a_posted_task_keeps_the_loop_awake(void **state)
{
	(void)state;
	loop_timer_set(&loop, &timers[0], 1000);
	loop_task_post(&loop, &tasks[0]);
	turn();
	assert_int_equal(slept_ms, 0);
	expect("k0");
}

/* -- descriptors ------------------------------------------------------------------------------ */

static void descriptors_are_told_of_what_they_want(void **state)
{
	(void)state;
	for (int i = 0; i < 4; i++)
		assert_int_equal(loop_fd_add(&loop, &fds[i]), 0);
	fds[1].want = PORT_POLL_OUT;
	fds[2].want = 0;
	fds[3].fd = -1;
	for (int i = 0; i < 4; i++)
		ready[i] = PORT_POLL_IN | PORT_POLL_OUT;
	turn();
	assert_int_equal(polled_count, 3);
	expect("w1r0");
	ready[0] = ready[1] = 0;
	ready[2] = PORT_POLL_ERR;
	turn();
	expect("e2");
}

static void remove_others(void)
{
	loop_fd_remove(&loop, &fds[0]);
	loop_fd_remove(&loop, &fds[1]);
	loop_fd_remove(&loop, &fds[2]);
}

static void replace_one(void)
{
	loop_fd_remove(&loop, &fds[1]);
	fds[1].fd = 5;
	assert_int_equal(loop_fd_add(&loop, &fds[1]), 0);
	assert_int_equal(loop_fd_add(&loop, &fds[4]), 0);
}

static void want_nothing(void)
{
	fds[0].want = fds[1].want = fds[2].want = 0;
}

static void callbacks_may_add_and_remove_any_descriptor(void **state)
{
	(void)state;
	for (int i = 0; i < 3; i++) {
		ready[i] = PORT_POLL_IN;
		assert_int_equal(loop_fd_add(&loop, &fds[i]), 0);
	}
	act = remove_others;
	turn();
	expect("r2");
	turn();
	assert_int_equal(polled_count, 0);
	expect("");

	/* What was polled for another descriptor is not told to the new one. */
	for (int i = 0; i < 3; i++)
		assert_int_equal(loop_fd_add(&loop, &fds[i]), 0);
	ready[4] = PORT_POLL_IN;
	act = replace_one;
	turn();
	expect("r2r0");
	turn();
	expect("r4r2r0");
	fds[1].fd = 1;
	loop_fd_remove(&loop, &fds[4]);
	act = want_nothing;
	turn();
	assert_int_equal(trace_len, 2);
}

static void there_is_a_limit_of_descriptors(void **state)
{
	static struct loop_fd many[CONFIG_LOOP_FD_COUNT + 1];

	(void)state;
	for (int i = 0; i < CONFIG_LOOP_FD_COUNT; i++) {
		many[i] = (struct loop_fd){.fd = 0, .fn = on_fd};
		assert_int_equal(loop_fd_add(&loop, &many[i]), 0);
	}
	many[CONFIG_LOOP_FD_COUNT] = (struct loop_fd){.fd = 0, .fn = on_fd};
	assert_int_equal(loop_fd_add(&loop, &many[CONFIG_LOOP_FD_COUNT]), ERR_LIMIT);
	assert_false(many[CONFIG_LOOP_FD_COUNT].is_added);
	assert_int_equal(loop_fd_add(&loop, &many[3]), 0);
	turn();
	assert_int_equal(polled_count, CONFIG_LOOP_FD_COUNT);
	loop_fd_remove(&loop, &many[CONFIG_LOOP_FD_COUNT]);
	loop_fd_remove(&loop, &many[3]);
	loop_fd_remove(&loop, &many[3]);
	assert_int_equal(loop_fd_add(&loop, &many[CONFIG_LOOP_FD_COUNT]), 0);
}

/* -- the loop itself -------------------------------------------------------------------------- */

static void stop(void)
{
	loop_stop(&loop);
}

static void the_loop_runs_until_it_is_stopped_or_poll_fails(void **state)
{
	(void)state;
	loop_timer_set(&loop, &timers[0], 10);
	loop_timer_set(&loop, &timers[1], 20);
	act = stop;
	assert_int_equal(loop_run(&loop), 0);
	expect("t0");
	loop.is_stopped = false;
	poll_err = ERR_IO;
	assert_int_equal(loop_run(&loop), ERR_IO);
	expect("");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(timers_come_in_the_order_of_their_deadlines, set_up),
		cmocka_unit_test_setup(a_timer_is_moved_or_cleared_by_its_last_word, set_up),
		cmocka_unit_test_setup(slack_joins_wake_ups, set_up),
		cmocka_unit_test_setup(a_timer_that_sets_itself_cannot_hold_the_loop, set_up),
		cmocka_unit_test_setup(
			a_due_timer_can_be_cleared_or_moved_by_one_before_it, set_up),
		cmocka_unit_test_setup(the_clock_is_read_once_before_callbacks, set_up),
		cmocka_unit_test_setup(tasks_run_in_order_at_the_end_of_the_turn, set_up),
		cmocka_unit_test_setup(tasks_posted_by_tasks_run_in_the_same_turn, set_up),
		cmocka_unit_test_setup(a_task_can_be_cancelled, set_up),
		cmocka_unit_test_setup(a_posted_task_keeps_the_loop_awake, set_up),
		cmocka_unit_test_setup(descriptors_are_told_of_what_they_want, set_up),
		cmocka_unit_test_setup(callbacks_may_add_and_remove_any_descriptor, set_up),
		cmocka_unit_test_setup(there_is_a_limit_of_descriptors, set_up),
		cmocka_unit_test_setup(the_loop_runs_until_it_is_stopped_or_poll_fails, set_up),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
