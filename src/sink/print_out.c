/* SPDX-License-Identifier: Apache-2.0 */
#include "sink/print_out.h"

#include <string.h>

#include "base/log.h"

static bool print_out_is_stdout(const struct print_out *o)
{
	return !o->spool && strcmp(o->path, "-") == 0;
}

static const char *print_out_name(const struct print_out *o)
{
	return print_out_is_stdout(o) ? "standard output" : o->path;
}

static void print_out_wait(struct print_out *o, int64_t delay_ms)
{
	o->is_blocked = true;
	loop_timer_set(o->loop, &o->timer, delay_ms);
}

static void print_out_trouble(struct print_out *o, int err)
{
	if (o->trouble == err)
		return;
	o->trouble = err;
	if (!o->spool)
		log_warn("print %s: %s; it is tried again every %d s", print_out_name(o),
			err_text(err), PRINT_RETRY_MS / 1000);
	for (struct print_client *c = o->clients; c; c = c->next)
		c->want_fail = true;
	loop_task_post(o->loop, &o->task);
}

static void print_out_trouble_over(struct print_out *o)
{
	if (!o->trouble)
		return;
	o->trouble = 0;
	for (struct print_client *c = o->clients; c; c = c->next) {
		if (c->over)
			c->over(c);
	}
	if (!o->spool)
		log_info("print %s: written again", print_out_name(o));
}

static int print_out_try_open(struct print_out *o)
{
	int err = port_output_open(&o->output, o->path);

	if (err == ERR_AGAIN) {
		print_out_wait(o, PRINT_RETRY_MS);
		return 0;
	}
	if (err) {
		print_out_trouble(o, err);
		print_out_wait(o, PRINT_RETRY_MS);
		return err;
	}
	o->is_open = true;
	o->is_blocked = false;
	o->fd.fd = o->output.fd;
	print_out_trouble_over(o);
	return 0;
}

/* The reader is gone. */
static void print_out_broken(struct print_out *o)
{
	if (print_out_is_stdout(o)) {
		o->is_failed = true;
		o->trouble = ERR_PIPE;
		for (struct print_client *c = o->clients; c; c = c->next)
			c->want_fail = true;
		loop_task_post(o->loop, &o->task);
		return;
	}
	log_info_limited("print %s: its reader is gone; waiting for the next", o->path);
	if (o->is_mid_line && o->is_json) {
		log_warn_limited("print %s: a line of more than %d bytes was cut off with it",
			o->path, PRINT_ATOMIC_LEN);
		o->is_skipping = true;
	}
	o->is_mid_line = false;
	port_output_close(&o->output);
	o->is_open = false;
	print_out_wait(o, PRINT_RETRY_MS);
}

/* The output has had len bytes at the head, or is not to have them. */
static void print_out_took(struct print_out *o, size_t len)
{
	o->written += len;
	buf_drop(&o->buf, len);
	for (struct print_client *c = o->clients; c; c = c->next) {
		size_t n = 0;

		if (c->want_room)
			loop_task_post(o->loop, &o->task);
		while (n < c->mark_count && c->marks[n].offset <= o->written)
			n++;
		if (!n)
			continue;
		c->done_rev = c->marks[n - 1].revision;
		c->has_moved = true;
		c->mark_count -= n;
		memmove(c->marks, c->marks + n, c->mark_count * sizeof(c->marks[0]));
		loop_task_post(o->loop, &o->task);
	}
}

/* How much to write in one go. A FIFO gets whole lines, and a part of one only when it can't be
 * written as a whole anyway. 0: there is no whole line yet. */
static size_t print_out_chunk_len(const struct print_out *o)
{
	const size_t atomic =
		PRINT_ATOMIC_LEN < sizeof(o->mem) / 2 ? PRINT_ATOMIC_LEN : sizeof(o->mem) / 2;
	const uint8_t *p = buf_head(&o->buf);
	size_t len = buf_len(&o->buf), n;

	if (o->output.is_file || print_out_is_stdout(o))
		return len;
	if (len > atomic)
		len = atomic;
	for (n = len; n; n--)
		if (p[n - 1] == '\n')
			return n;
	return len == atomic || o->is_mid_line ? len : 0;
}

/* Passes over what is left of a torn line. */
static void print_out_skip(struct print_out *o)
{
	const uint8_t *p = buf_head(&o->buf);
	const uint8_t *end = memchr(p, '\n', buf_len(&o->buf));

	o->is_skipping = !end;
	print_out_took(o, end ? (size_t)(end - p) + 1 : buf_len(&o->buf));
}

bool print_out_flush(struct print_out *o)
{
	while (buf_len(&o->buf) && o->is_open && !o->is_blocked && !o->is_failed) {
		const uint8_t *p = buf_head(&o->buf);
		size_t len;
		ssize_t n;

		if (o->is_skipping) {
			print_out_skip(o);
			continue;
		}
		len = print_out_chunk_len(o);
		if (!len)
			break;
		n = o->spool ? port_spool_append(o->spool, p, len)
			     : port_output_write(&o->output, p, len);
		if (n > 0) {
			o->is_mid_line = p[n - 1] != '\n';
			print_out_trouble_over(o);
			print_out_took(o, (size_t)n);
		} else if (n == ERR_AGAIN || n == 0) {
			o->is_blocked = true;
			if (o->fd.fd < 0 || loop_fd_add(o->loop, &o->fd))
				print_out_wait(o, PRINT_RETRY_MS);
		} else if (n == ERR_PIPE) {
			print_out_broken(o);
		} else {
			print_out_trouble(o, (int)n);
			print_out_wait(o, PRINT_RETRY_MS);
		}
	}
	return buf_len(&o->buf) == 0;
}

/* Tells the clients what they wait for. Each may print at once. */
static void print_out_tell(struct print_out *o)
{
	struct print_client *c, *next;

	for (c = o->clients; c; c = next) {
		bool has_room = (!o->holder || o->holder == c) &&
				buf_room(&o->buf) >= o->buf.cap / 2 && !o->is_failed;

		next = c->next;
		if (c->want_fail) {
			c->want_fail = false;
			if (o->trouble)
				c->fail(c, o->trouble);
		}
		if (c->has_moved || (c->want_room && has_room)) {
			c->has_moved = c->want_room = false;
			c->wake(c);
		}
	}
}

static void print_out_on_task(struct loop_task *task)
{
	struct print_out *o = task->user;

	print_out_flush(o);
	print_out_tell(o);
}

static void print_out_on_fd(struct loop_fd *fd, int events)
{
	struct print_out *o = fd->user;

	(void)events;
	loop_fd_remove(o->loop, fd);
	o->is_blocked = false;
	print_out_flush(o);
	print_out_tell(o);
}

static void print_out_try_again(struct print_out *o)
{
	if (o->is_failed)
		return;
	if (o->is_open)
		o->is_blocked = false;
	else
		(void)print_out_try_open(o);
	loop_task_post(o->loop, &o->task);
}

bool print_out_is_unread(const struct print_out *o)
{
	return !o->is_open && !o->is_failed && !o->trouble;
}

void print_out_retry(struct print_out *o)
{
	if (!o->timer.is_set)
		return;
	loop_timer_clear(o->loop, &o->timer);
	print_out_try_again(o);
}

static void print_out_on_timer(struct loop_timer *timer)
{
	print_out_try_again(timer->user);
}

static void print_out_init(struct print_out *o, struct loop *loop, const char *path)
{
	o->loop = loop;
	o->path = path;
	o->spool = NULL;
	o->is_json = false;
	o->output = (struct port_output){.fd = -1};
	o->is_open = o->is_failed = o->is_blocked = o->is_mid_line = o->is_skipping = false;
	o->trouble = 0;
	o->fd = (struct loop_fd){.fd = -1, .want = PORT_POLL_OUT, .fn = print_out_on_fd, .user = o};
	o->timer = (struct loop_timer){.fn = print_out_on_timer, .user = o};
	o->task = (struct loop_task){.fn = print_out_on_task, .user = o};
	o->clients = o->holder = NULL;
	o->written = 0;
	o->hold_len = o->hold_at = 0;
	buf_init(&o->buf, o->mem, sizeof(o->mem));
}

int print_out_open(struct print_out *o, struct loop *loop, const char *path)
{
	print_out_init(o, loop, path);
	return print_out_try_open(o);
}

void print_out_open_spool(struct print_out *o, struct loop *loop, struct port_spool *spool)
{
	print_out_init(o, loop, NULL);
	o->spool = spool;
	o->output.is_file = true;
	o->is_open = true;
}

void print_out_drop(struct print_client *c)
{
	struct print_out *o = c->out;

	buf_clear(&o->buf);
	loop_timer_clear(o->loop, &o->timer);
	o->is_blocked = o->is_mid_line = false;
	o->trouble = 0;
	c->mark_count = 0;
	c->want_fail = c->has_moved = c->want_room = false;
}

void print_out_close(struct print_out *o)
{
	if (!o->loop)
		return;
	print_out_flush(o);
	loop_fd_remove(o->loop, &o->fd);
	loop_timer_clear(o->loop, &o->timer);
	loop_task_cancel(o->loop, &o->task);
	if (o->is_open)
		port_output_close(&o->output);
	o->is_open = false;
	o->is_failed = true;
}

int print_out_sync(struct print_out *o)
{
	return o->is_open ? port_output_sync(&o->output) : 0;
}

void print_out_add(struct print_out *o, struct print_client *c)
{
	struct print_client **at = &o->clients;

	while (*at)
		at = &(*at)->next;
	c->out = o;
	c->next = NULL;
	c->want_fail = o->trouble != 0;
	*at = c;
}

void print_out_remove(struct print_client *c)
{
	if (!c->out)
		return;
	/* There was no room to close its line. */
	if (c->out->holder == c) {
		c->out->is_torn = true;
		print_out_release(c);
	}
	for (struct print_client **at = &c->out->clients; *at; at = &(*at)->next) {
		if (*at == c) {
			*at = c->next;
			break;
		}
	}
	c->out = NULL;
}

/* A line whose client has gone stands alone. */
static bool print_out_end_torn(struct print_client *c)
{
	uint8_t *at = print_out_room(c, 1);

	if (!at)
		return false;
	*at = '\n';
	print_out_added(c, 1);
	c->out->is_torn = false;
	return true;
}

bool print_out_hold(struct print_client *c)
{
	struct print_out *o = c->out;

	if (o->holder && o->holder != c) {
		c->want_room = true;
		return false;
	}
	o->holder = c;
	if (o->is_torn && !print_out_end_torn(c)) {
		o->holder = NULL;
		return false;
	}
	return true;
}

void print_out_release(struct print_client *c)
{
	struct print_out *o = c->out;

	if (o->holder != c)
		return;
	o->holder = NULL;
	o->hold_len = o->hold_at = 0;
	/* For the others that may wait for it. */
	loop_task_post(o->loop, &o->task);
}

void print_out_forget(struct print_client *c)
{
	c->done_rev = 0;
	c->mark_count = 0;
}

void print_out_commit(struct print_client *c, int64_t revision)
{
	struct print_out *o = c->out;
	struct print_mark *last = c->mark_count ? &c->marks[c->mark_count - 1] : NULL;

	if (!buf_len(&o->buf)) {
		c->done_rev = revision;
		return;
	}
	/* The last mark may be moved on and on; those before it stay, so done_rev does move while
	 * output never ceases. */
	if (!last ||
		(last->offset != o->written + buf_len(&o->buf) && c->mark_count < PRINT_MARK_COUNT))
		last = &c->marks[c->mark_count++];
	*last = (struct print_mark){.offset = o->written + buf_len(&o->buf), .revision = revision};
}

uint8_t *print_out_make_room(struct print_client *c, size_t len)
{
	struct print_out *o = c->out;
	struct buf *b = &o->buf;

	if (o->is_failed) {
		c->want_room = true;
		return NULL;
	}
	if (len > buf_room(b))
		print_out_flush(o);
	if (len > buf_room(b) || o->is_failed) {
		c->want_room = true;
		return NULL;
	}
	return buf_tail(b);
}
