/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The control socket: a local stream socket on which the running agent tells how it is. A client sends
 * one line, "json" or "table", gets the report and the end of the stream.
 *
 * Nobody can hold the agent up with it: clients are few (CONFIG_CONTROL_CLIENT_COUNT) and each has CONTROL_CLIENT_MS; when
 * all places are taken, the one that has said nothing for the longest time makes room. A report is written
 * into one piece of memory and handed to the kernel; only a client for which the kernel does not take it whole keeps
 * that memory, and the others wait for it.
 *
 * A socket that can't be made is trouble like any other: told, and tried again every CONTROL_RETRY_MS.
 */
#ifndef ETCHLET_CMD_CONTROL_H
#define ETCHLET_CMD_CONTROL_H

#include "base/loop.h"
#include "cmd/report.h"
#include "sync/trouble.h"

enum {
	CONTROL_RETRY_MS = 10000,
	CONTROL_CLIENT_MS = 5000, /* from the connection to the end of the report */
	CONTROL_REQUEST_MAX = 16, /* bytes of a request, its end included */
	CONTROL_PAUSE_MS = 1000, /* after a connection that could not be taken */
};

struct control;

struct control_client {
	struct control *control;
	struct loop_fd fd; /* fd.fd below 0: the place is free */
	struct loop_timer deadline;
	char request[CONTROL_REQUEST_MAX];
	size_t request_len;
	bool is_waiting; /* has asked; its turn comes when the report's memory is free */
};

struct control {
	struct loop *loop;
	const char *path;
	const struct report *report;
	/* private */
	struct port_local socket;
	struct loop_fd listener;
	struct loop_timer timer; /* the next try to make the socket, or to take connections */
	struct trouble trouble;
	struct control_client clients[CONFIG_CONTROL_CLIENT_COUNT];
	struct control_client *holder; /* whose report lies in memory; NULL: nobody's */
	size_t report_len, report_sent;
	char *memory;
	size_t memory_len;
};

/*
 * Makes the socket, for its owner alone (mode 0600), and the folder it lies in where that is missing. A socket that nobody
 * answers on is taken over. path and report outlive it.
 * 0, also when the socket can't be made now; ERR_LOCKED: another process answers on it (the same is told and tried
 * again, so that the owner may go on); ERR_NOMEM.
 */
int control_open(
	struct control *c, struct loop *loop, const char *path, const struct report *report);

/* A socket that could not be made is tried now. Harmless on zeros. */
void control_retry(struct control *c);

/* Ends every client and removes the socket, when it is still this one. Harmless on zeros and a second time. */
void control_close(struct control *c);

#endif
