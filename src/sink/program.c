/* SPDX-License-Identifier: Apache-2.0 */
/*
 * States and what leads on:
 *
 *	IDLE  program_start() -> RUN
 *	RUN   it ended -> IDLE; its time is over, at a stop PROGRAM_STOP_MS -> TERM
 *	TERM  SIGTERM was sent; it ended -> IDLE; PROGRAM_KILL_MS -> KILL
 *	KILL  SIGKILL was sent; it ended -> IDLE; PROGRAM_KILL_MS -> KILL; the stop's time is over ->
 *	      IDLE
 */
#include "sink/program.h"

#include "base/err.h"

enum {
	PROGRAM_LAST_MS = 500, /* before a stop's end: so long a killed program has to be gone */
};

static void program_set_idle(struct program *p)
{
	loop_timer_clear(p->loop, &p->timer);
	loop_timer_clear(p->loop, &p->poll);
	p->state = PROGRAM_IDLE;
}

/* Sends the next signal, and sets how long the program has until the one after it. */
static void program_signal(struct program *p)
{
	bool is_forced = p->state != PROGRAM_RUN;
	int64_t next_ms = p->loop->now_ms + PROGRAM_KILL_MS;
	int64_t last_ms = p->stop_due_ms - (is_forced ? 0 : PROGRAM_LAST_MS);

	port_child_kill(&p->child, is_forced);
	p->state = is_forced ? PROGRAM_KILL : PROGRAM_TERM;
	if (p->is_stopping && (is_forced || next_ms > last_ms))
		next_ms = last_ms;
	loop_timer_set_at(p->loop, &p->timer, next_ms);
}

static void program_on_timer(struct loop_timer *timer)
{
	struct program *p = timer->user;

	if (p->state == PROGRAM_RUN && !p->is_stopping)
		p->was_late = true;
	/* Not even SIGKILL ends what waits for a dead disk. */
	if (p->state == PROGRAM_KILL && p->is_stopping && p->loop->now_ms >= p->stop_due_ms) {
		port_child_abandon(&p->child);
		program_set_idle(p);
		p->ended(p, ERR_TIMEOUT);
		return;
	}
	program_signal(p);
}

void program_child_ended(struct program *p)
{
	int result;

	if (!program_is_running(p) || !port_child_has_ended(&p->child))
		return;
	/* A program that was ended by force takes with it what it has started. */
	if (p->state != PROGRAM_RUN)
		port_child_kill(&p->child, true);
	result = port_child_result(&p->child);
	program_set_idle(p);
	p->ended(p, p->was_late ? ERR_TIMEOUT : result);
}

static void program_on_poll(struct loop_timer *timer)
{
	struct program *p = timer->user;

	loop_timer_set(p->loop, timer, PROGRAM_POLL_MS);
	program_child_ended(p);
}

int program_start(struct program *p, char *const argv[], char *const env[], int stdin_fd,
	int stdout_fd, int stderr_fd)
{
	int err = port_child_start(&p->child, argv, env, stdin_fd, stdout_fd, stderr_fd);

	if (err)
		return err;
	p->timer = (struct loop_timer){.fn = program_on_timer, .user = p};
	p->poll =
		(struct loop_timer){.fn = program_on_poll, .user = p, .slack_ms = PROGRAM_POLL_MS};
	p->state = PROGRAM_RUN;
	p->was_late = p->is_stopping = false;
	if (p->timeout_ms > 0)
		loop_timer_set(p->loop, &p->timer, p->timeout_ms);
	loop_timer_set(p->loop, &p->poll, PROGRAM_POLL_MS);
	return 0;
}

void program_stop(struct program *p, int64_t timeout_ms)
{
	int64_t now_ms = p->loop->now_ms, due_ms = now_ms + PROGRAM_STOP_MS;

	p->is_stopping = true;
	p->stop_due_ms = now_ms + timeout_ms;
	if (due_ms > p->stop_due_ms - PROGRAM_LAST_MS)
		due_ms = p->stop_due_ms - PROGRAM_LAST_MS;
	if (!p->timer.is_set || p->timer.due_ms > due_ms)
		loop_timer_set_at(p->loop, &p->timer, due_ms);
}

void program_free(struct program *p)
{
	if (!program_is_running(p))
		return;
	port_child_abandon(&p->child);
	program_set_idle(p);
}
