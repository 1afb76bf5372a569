/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Timers are a list ordered by deadline: there are about a dozen, most are set far ahead, and a
 * list that is walked is smaller than any heap. A timer that may slide is joined with a later one
 * when it is set off: whenever the loop wakes for one timer, it also serves all whose own deadline
 * has passed, and it sleeps until the first moment at which some timer can wait no longer.
 */
#include "base/loop.h"

#include "base/err.h"

void loop_init(struct loop *loop)
{
	*loop = (struct loop){.now_ms = port_now_ms()};
	loop->tasks_end = &loop->tasks;
}

void loop_update_now(struct loop *loop)
{
	loop->now_ms = port_now_ms();
}

int loop_fd_add(struct loop *loop, struct loop_fd *fd)
{
	size_t n = 0;

	if (fd->is_added)
		return 0;
	for (struct loop_fd *f = loop->fds; f; f = f->next)
		n++;
	if (n >= CONFIG_LOOP_FD_COUNT)
		return ERR_LIMIT;
	fd->next = loop->fds;
	fd->is_added = true;
	loop->fds = fd;
	return 0;
}

void loop_fd_remove(struct loop *loop, struct loop_fd *fd)
{
	if (!fd->is_added)
		return;
	for (struct loop_fd **f = &loop->fds; *f; f = &(*f)->next) {
		if (*f == fd) {
			*f = fd->next;
			break;
		}
	}
	fd->is_added = false;
	fd->next = NULL;
}

void loop_timer_clear(struct loop *loop, struct loop_timer *timer)
{
	if (!timer->is_set)
		return;
	for (struct loop_timer **t = &loop->timers; *t; t = &(*t)->next) {
		if (*t == timer) {
			*t = timer->next;
			break;
		}
	}
	timer->is_set = false;
	timer->next = NULL;
}

void loop_timer_set_at(struct loop *loop, struct loop_timer *timer, int64_t due_ms)
{
	struct loop_timer **t = &loop->timers;

	loop_timer_clear(loop, timer);
	if (loop->is_in_timers && due_ms <= loop->now_ms)
		due_ms = loop->now_ms + 1;
	timer->due_ms = due_ms;
	timer->is_set = true;
	while (*t && (*t)->due_ms <= due_ms)
		t = &(*t)->next;
	timer->next = *t;
	*t = timer;
}

void loop_timer_set(struct loop *loop, struct loop_timer *timer, int64_t delay_ms)
{
	loop_timer_set_at(loop, timer, loop->now_ms + (delay_ms > 0 ? delay_ms : 0));
}

void loop_task_post(struct loop *loop, struct loop_task *task)
{
	if (task->is_posted)
		return;
	task->is_posted = true;
	task->next = NULL;
	*loop->tasks_end = task;
	loop->tasks_end = &task->next;
}

void loop_task_cancel(struct loop *loop, struct loop_task *task)
{
	if (!task->is_posted)
		return;
	for (struct loop_task **t = &loop->tasks; *t; t = &(*t)->next) {
		if (*t == task) {
			*t = task->next;
			if (!*t)
				loop->tasks_end = t;
			break;
		}
	}
	task->is_posted = false;
	task->next = NULL;
}

/* How long poll may sleep: until the first timer can slide no further. */
static int64_t loop_sleep_ms(const struct loop *loop)
{
	int64_t latest_ms = INT64_MAX;

	if (loop->tasks || loop->is_stopped)
		return 0;
	for (const struct loop_timer *t = loop->timers; t && t->due_ms < latest_ms; t = t->next) {
		if (t->due_ms + t->slack_ms < latest_ms)
			latest_ms = t->due_ms + t->slack_ms;
	}
	if (latest_ms == INT64_MAX)
		return -1;
	return latest_ms > loop->now_ms ? latest_ms - loop->now_ms : 0;
}

/*
 * Calls what is due. A timer that is set anew while others are served is due after now, by at
 * least a millisecond, so that no timer can hold the loop.
 */
static void loop_run_timers(struct loop *loop)
{
	int64_t until_ms = loop->now_ms;

	loop->is_in_timers = true;
	while (loop->timers && loop->timers->due_ms <= until_ms) {
		struct loop_timer *t = loop->timers;

		loop_timer_clear(loop, t);
		t->fn(t);
	}
	loop->is_in_timers = false;
}

static void loop_run_tasks(struct loop *loop)
{
	while (loop->tasks) {
		struct loop_task *t = loop->tasks;

		loop_task_cancel(loop, t);
		t->fn(t);
	}
}

/* Calls back for each descriptor that is ready and is still watched by the node it was polled for. */
static void loop_run_fds(
	struct loop *loop, const struct port_poll *polled, struct loop_fd *const *nodes, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		struct loop_fd *f = loop->fds;

		if (!polled[i].got)
			continue;
		while (f && f != nodes[i])
			f = f->next;
		if (f && f->fd == polled[i].fd) {
			int got = polled[i].got & (f->want | PORT_POLL_ERR);

			if (got)
				f->fn(f, got);
		}
	}
}

int loop_turn(struct loop *loop)
{
	struct port_poll polled[CONFIG_LOOP_FD_COUNT];
	struct loop_fd *nodes[CONFIG_LOOP_FD_COUNT];
	size_t n = 0;
	int ret;

	for (struct loop_fd *f = loop->fds; f; f = f->next) {
		if (f->fd < 0)
			continue;
		polled[n] = (struct port_poll){.fd = f->fd, .want = f->want};
		nodes[n++] = f;
	}
	loop_update_now(loop);
	ret = port_poll(polled, n, loop_sleep_ms(loop));
	loop_update_now(loop);
	loop->wakeups++;
	if (ret < 0)
		return ret;
	if (ret > 0)
		loop_run_fds(loop, polled, nodes, n);
	loop_run_timers(loop);
	loop_run_tasks(loop);
	return 0;
}

int loop_run(struct loop *loop)
{
	while (!loop->is_stopped) {
		int err = loop_turn(loop);

		if (err)
			return err;
	}
	return 0;
}

void loop_stop(struct loop *loop)
{
	loop->is_stopped = true;
}
