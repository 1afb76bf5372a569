/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One multi handle of libcurl on the loop: its sockets are loop_fd nodes, its timeouts one loop_timer.
 *
 * libcurl must not be called from within its own callbacks. Everything here may be: what libcurl would refuse then is done
 * when it has returned.
 */
#ifndef ETCHLET_NET_HTTP_MULTI_H
#define ETCHLET_NET_HTTP_MULTI_H

#include <curl/curl.h>

#include "base/loop.h"
#include "net/http.h"

/* An easy handle and what becomes of it. The owner's memory, from http_multi_add() until gone() is called. */
struct http_transfer {
	CURL *easy; /* the owner's; http_multi_end() frees it */
	/* It is over, well or not, once, from the loop: never from within a call of the owner's. The easy handle stays as it is until
	 * http_multi_end(). */
	void (*done)(struct http_transfer *t, CURLcode result);
	/* After http_multi_end(): libcurl knows nothing of it any more, and neither does this module. NULL: nobody wants to know. */
	void (*gone)(struct http_transfer *t);
	void *user;
	struct http_multi *multi; /* private; NULL: not added */
	struct http_transfer *next; /* private, as all that follows */
	bool is_new, is_added, is_over, is_ended;
	CURLcode result;
};

struct http_multi {
	struct loop *loop;
	CURLM *curl; /* NULL: not open */
	struct http_transfer *transfers;
	void (*gone)(struct http_multi *m); /* of http_multi_close() */
	int depth; /* calls of libcurl, and of done(), that have not returned */
	bool is_closed;
	struct loop_timer timer;
	struct loop_task task;
	struct loop_fd fds[HTTP_SOCKET_COUNT];
};

/* Of at most HTTP_SOCKET_COUNT / 2 connections at once, for each may try two addresses; those that are too many wait.
 * idle: connections that are kept for the next transfer, at most. 0 or ERR_NOMEM. */
int http_multi_open(struct http_multi *m, struct loop *loop, long idle);

/* Begins a transfer whose easy handle has all its options. 0 or ERR_NOMEM: then it was not begun, and is the owner's. */
int http_multi_add(struct http_multi *m, struct http_transfer *t);

/* Ends it, whatever its state, and frees the easy handle, now or when libcurl has returned; neither done() nor a callback of
 * libcurl's that heeds http_transfer_is_ended() does anything more. Harmless when it is not added, and a second time. */
void http_multi_end(struct http_transfer *t);
/* Goes on with one that a callback of libcurl's paused. From the loop. */
void http_multi_resume(struct http_transfer *t);
/* For callbacks of libcurl's: whether the owner is done with it. */
bool http_transfer_is_ended(const struct http_transfer *t);

/* Ends all transfers and closes all connections. The struct is libcurl's until gone(m) is called, which may be from
 * within (NULL: nobody wants to know). Harmless when it is not open. */
void http_multi_close(struct http_multi *m, void (*gone)(struct http_multi *m));

#endif
