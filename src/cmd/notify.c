/* SPDX-License-Identifier: Apache-2.0 */
#include "cmd/notify.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "base/log.h"

/* Notices that are kept until they could be sent, in the order of their bits. */
enum notice {
	NOTICE_RELOADING = 1,
	NOTICE_READY = 2,
	NOTICE_STOPPING = 4,
	NOTICE_WATCHDOG = 8,
	NOTICE_STATUS = 16,
	NOTICE_END = 32,
};

static int notify_send_one(struct notify *n, enum notice notice)
{
	char text[REPORT_LINE_MAX + 64];
	int len = 0;

	switch (notice) {
	case NOTICE_RELOADING:
		/* Its time tells it from an older one. */
		len = snprintf(text, sizeof(text), "RELOADING=1\nMONOTONIC_USEC=%" PRIu64,
			port_notify_time_us());
		break;
	case NOTICE_READY:
		len = snprintf(text, sizeof(text), "READY=1");
		break;
	case NOTICE_STOPPING:
		len = snprintf(text, sizeof(text), "STOPPING=1");
		break;
	case NOTICE_WATCHDOG:
		len = snprintf(text, sizeof(text), "WATCHDOG=1");
		break;
	case NOTICE_STATUS:
		len = snprintf(text, sizeof(text), "STATUS=%s", n->told);
		break;
	case NOTICE_END:
		break;
	}
	return port_notify_send(&n->port, text, (size_t)len);
}

static void notify_send(struct notify *n, unsigned notices)
{
	if (!n->loop || n->port.fd < 0)
		return;
	n->due |= notices;
	for (unsigned bit = 1; bit < NOTICE_END; bit <<= 1) {
		int err = n->due & bit ? notify_send_one(n, (enum notice)bit) : 0;

		/* Its queue is full, or it is just being restarted: that passes. */
		if (err) {
			log_debug("notice to the init system: %s", err_text(err));
			n->retry_timer.slack_ms = err == ERR_AGAIN ? 0 : NOTIFY_STATUS_SLACK_MS;
			loop_timer_set(n->loop, &n->retry_timer,
				err == ERR_AGAIN ? NOTIFY_RETRY_MS : NOTIFY_AWAY_MS);
			return;
		}
		n->due &= ~bit;
	}
}

static void on_retry(struct loop_timer *timer)
{
	notify_send(timer->user, 0);
}

static void on_watchdog(struct loop_timer *timer)
{
	struct notify *n = timer->user;

	notify_send(n, NOTICE_WATCHDOG);
	loop_timer_set(n->loop, &n->watchdog_timer, n->watchdog_ms - n->watchdog_timer.slack_ms);
}

static void on_status(struct loop_timer *timer)
{
	struct notify *n = timer->user;
	char line[REPORT_LINE_MAX];

	report_line(n->report, line);
	if (strcmp(line, n->told)) {
		memcpy(n->told, line, sizeof(line));
		notify_send(n, NOTICE_STATUS);
	}
	/* Whatever changes comes with a wake-up of the loop. */
	loop_timer_set(n->loop, &n->status_timer, NOTIFY_STATUS_MS);
}

void notify_open(struct notify *n, struct loop *loop, const struct report *report)
{
	*n = (struct notify){
		.loop = loop,
		.report = report,
		.status_timer = {.slack_ms = NOTIFY_STATUS_SLACK_MS, .fn = on_status, .user = n},
		.watchdog_timer = {.fn = on_watchdog, .user = n},
		.retry_timer = {.fn = on_retry, .user = n},
	};
	port_notify_open(&n->port);
	if (n->port.fd < 0)
		return;
	if (n->port.watchdog_us) {
		uint64_t half_ms = n->port.watchdog_us / 2000;

		n->watchdog_ms = half_ms < 1           ? 1
				 : half_ms > INT32_MAX ? INT32_MAX
						       : (int64_t)half_ms;
		n->watchdog_timer.slack_ms = (uint32_t)n->watchdog_ms / 4;
		on_watchdog(&n->watchdog_timer);
	}
}

void notify_ready(struct notify *n)
{
	if (!n->loop || n->port.fd < 0)
		return;
	notify_send(n, NOTICE_READY);
	on_status(&n->status_timer);
}

void notify_reloading(struct notify *n)
{
	notify_send(n, NOTICE_RELOADING);
}

void notify_stopping(struct notify *n)
{
	notify_send(n, NOTICE_STOPPING);
}

void notify_close(struct notify *n)
{
	if (!n->loop)
		return;
	loop_timer_clear(n->loop, &n->status_timer);
	loop_timer_clear(n->loop, &n->watchdog_timer);
	loop_timer_clear(n->loop, &n->retry_timer);
	port_notify_close(&n->port);
	n->loop = NULL;
}
