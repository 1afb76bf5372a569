/* SPDX-License-Identifier: Apache-2.0 */
#include "net/http_multi.h"

#include <string.h>

#include "base/err.h"
#include "base/log.h"
#include "net/http_curl.h"

/* -- what waited until libcurl returned ----------------------------------------------------------- */

static void multi_unlink(struct http_multi *m, struct http_transfer *t)
{
	struct http_transfer **at = &m->transfers;

	while (*at != t)
		at = &(*at)->next;
	*at = t->next;
	t->next = NULL;
	t->multi = NULL;
}

static void multi_drop(struct http_multi *m, struct http_transfer *t)
{
	multi_unlink(m, t);
	if (t->is_added)
		(void)curl_multi_remove_handle(m->curl, t->easy);
	curl_easy_cleanup(t->easy);
	t->easy = NULL;
	if (t->gone)
		t->gone(t);
}

static void multi_begin(struct http_multi *m, struct http_transfer *t)
{
	t->is_new = false;
	if (curl_multi_add_handle(m->curl, t->easy) == CURLM_OK) {
		t->is_added = true;
		return;
	}
	t->is_over = true;
	t->result = CURLE_OUT_OF_MEMORY;
}

/* One step of what is left to do; false: nothing is. Each may change the list, so it is read from its beginning. */
static bool multi_step(struct http_multi *m)
{
	for (struct http_transfer *t = m->transfers; t; t = t->next) {
		if (t->is_ended || m->is_closed) {
			multi_drop(m, t);
			return true;
		}
		if (t->is_new) {
			multi_begin(m, t);
			return true;
		}
		if (t->is_over && t->done) {
			void (*done)(struct http_transfer *, CURLcode) = t->done;

			t->done = NULL;
			done(t, t->result);
			return true;
		}
	}
	return false;
}

static void multi_take_results(struct http_multi *m)
{
	const CURLMsg *msg;
	int left;

	while ((msg = curl_multi_info_read(m->curl, &left))) {
		struct http_transfer *t = NULL;

		if (msg->msg == CURLMSG_DONE &&
			curl_easy_getinfo(msg->easy_handle, CURLINFO_PRIVATE, &t) == CURLE_OK &&
			t) {
			t->result = msg->data.result;
			t->is_over = true;
		}
	}
}

/* Closes it for good: nothing of libcurl is on the stack. */
static void multi_finish(struct http_multi *m)
{
	void (*gone)(struct http_multi *) = m->gone;

	/* It still tells which sockets it closes. */
	(void)curl_multi_cleanup(m->curl);
	m->curl = NULL;
	loop_timer_clear(m->loop, &m->timer);
	loop_task_cancel(m->loop, &m->task);
	for (size_t i = 0; i < HTTP_SOCKET_COUNT; i++)
		loop_fd_remove(m->loop, &m->fds[i]);
	http_curl_close();
	if (gone)
		gone(m);
}

/* Around each call of libcurl: m may be gone after multi_leave(). */
static void multi_enter(struct http_multi *m)
{
	m->depth++;
}

static void multi_leave(struct http_multi *m, bool is_from_loop)
{
	if (m->depth == 1 && is_from_loop) {
		do {
			multi_take_results(m);
		} while (multi_step(m));
	}
	if (--m->depth)
		return;
	if (m->is_closed)
		multi_finish(m);
}

/* -- the loop's side ------------------------------------------------------------------------------ */

static void multi_on_fd(struct loop_fd *fd, int events)
{
	struct http_multi *m = fd->user;
	int mask = (events & PORT_POLL_IN ? CURL_CSELECT_IN : 0) |
		   (events & PORT_POLL_OUT ? CURL_CSELECT_OUT : 0) |
		   (events & PORT_POLL_ERR ? CURL_CSELECT_ERR : 0);
	int running;

	multi_enter(m);
	(void)curl_multi_socket_action(m->curl, fd->fd, mask, &running);
	multi_leave(m, true);
}

static void multi_on_timer(struct loop_timer *timer)
{
	struct http_multi *m = timer->user;
	int running;

	multi_enter(m);
	(void)curl_multi_socket_action(m->curl, CURL_SOCKET_TIMEOUT, 0, &running);
	multi_leave(m, true);
}

static void multi_on_task(struct loop_task *task)
{
	struct http_multi *m = task->user;

	multi_enter(m);
	multi_leave(m, true);
}

/* -- libcurl's side ------------------------------------------------------------------------------- */

static int multi_on_socket(CURL *easy, curl_socket_t s, int what, void *user, void *socket_user)
{
	struct http_multi *m = user;
	struct loop_fd *fd = socket_user;

	(void)easy;
	if (what == CURL_POLL_REMOVE) {
		if (fd) {
			loop_fd_remove(m->loop, fd);
			fd->fd = -1;
		}
		return 0;
	}
	for (size_t i = 0; !fd && i < HTTP_SOCKET_COUNT; i++) {
		if (m->fds[i].fd == -1)
			fd = &m->fds[i];
	}
	/* Told -1, libcurl would give up everything. What nobody polls ends by its own timeout. */
	if (!fd) {
		log_debug("http: more sockets than are polled");
		return 0;
	}
	if (fd->fd == -1) {
		fd->fd = s;
		if (loop_fd_add(m->loop, fd)) {
			log_debug("http: the loop watches no more sockets");
			fd->fd = -1;
			return 0;
		}
		(void)curl_multi_assign(m->curl, s, fd);
	}
	fd->want = (what & CURL_POLL_IN ? PORT_POLL_IN : 0) |
		   (what & CURL_POLL_OUT ? PORT_POLL_OUT : 0);
	return 0;
}

static int multi_on_timeout(CURLM *curl, long timeout_ms, void *user)
{
	struct http_multi *m = user;

	(void)curl;
	if (timeout_ms < 0)
		loop_timer_clear(m->loop, &m->timer);
	else
		loop_timer_set(m->loop, &m->timer, timeout_ms);
	return 0;
}

/* -- the owner's side ----------------------------------------------------------------------------- */

int http_multi_open(struct http_multi *m, struct loop *loop, long idle)
{
	if (http_curl_open())
		return ERR_NOMEM;
	memset(m, 0, sizeof(*m));
	m->loop = loop;
	m->timer.fn = multi_on_timer;
	m->timer.user = m;
	m->task.fn = multi_on_task;
	m->task.user = m;
	for (size_t i = 0; i < HTTP_SOCKET_COUNT; i++) {
		m->fds[i].fd = -1;
		m->fds[i].fn = multi_on_fd;
		m->fds[i].user = m;
	}
	m->curl = curl_multi_init();
	if (!m->curl) {
		http_curl_close();
		return ERR_NOMEM;
	}
	(void)curl_multi_setopt(m->curl, CURLMOPT_SOCKETFUNCTION, multi_on_socket);
	(void)curl_multi_setopt(m->curl, CURLMOPT_SOCKETDATA, m);
	(void)curl_multi_setopt(m->curl, CURLMOPT_TIMERFUNCTION, multi_on_timeout);
	(void)curl_multi_setopt(m->curl, CURLMOPT_TIMERDATA, m);
	(void)curl_multi_setopt(m->curl, CURLMOPT_MAXCONNECTS, idle);
	(void)curl_multi_setopt(
		m->curl, CURLMOPT_MAX_TOTAL_CONNECTIONS, (long)HTTP_SOCKET_COUNT / 2);
	(void)curl_multi_setopt(m->curl, CURLMOPT_PIPELINING, (long)CURLPIPE_NOTHING);
	return 0;
}

int http_multi_add(struct http_multi *m, struct http_transfer *t)
{
	if (curl_easy_setopt(t->easy, CURLOPT_PRIVATE, (void *)t))
		return ERR_NOMEM;
	t->multi = m;
	t->next = m->transfers;
	t->is_new = true;
	t->is_added = t->is_over = t->is_ended = false;
	m->transfers = t;
	/* From the loop, for what comes of it may be told at once. */
	loop_task_post(m->loop, &m->task);
	return 0;
}

void http_multi_end(struct http_transfer *t)
{
	struct http_multi *m = t->multi;

	if (!m || t->is_ended)
		return;
	t->is_ended = true;
	if (m->depth) {
		loop_task_post(m->loop, &m->task);
		return;
	}
	multi_enter(m);
	multi_drop(m, t);
	multi_leave(m, false);
}

void http_multi_resume(struct http_transfer *t)
{
	struct http_multi *m = t->multi;

	if (!m || !t->is_added || t->is_ended || t->is_over)
		return;
	multi_enter(m);
	(void)curl_easy_pause(t->easy, CURLPAUSE_CONT);
	multi_leave(m, true);
}

bool http_transfer_is_ended(const struct http_transfer *t)
{
	return t->is_ended || t->multi->is_closed;
}

void http_multi_close(struct http_multi *m, void (*gone)(struct http_multi *m))
{
	if (!m->curl || m->is_closed)
		return;
	m->is_closed = true;
	m->gone = gone;
	for (struct http_transfer *t = m->transfers; t; t = t->next)
		t->is_ended = true;
	if (m->depth)
		return;
	multi_enter(m);
	while (m->transfers)
		multi_drop(m, m->transfers);
	multi_leave(m, false);
}
