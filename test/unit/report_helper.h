/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An agent that stands still, for tests of what is told of it; and a strict reader of JSON (RFC 8259).
 */
#ifndef ETCHLET_TEST_REPORT_HELPER_H
#define ETCHLET_TEST_REPORT_HELPER_H

#include <stdio.h>
#include <string.h>

#include "base/utf8.h"
#include "cmd/report.h"

enum {
	REPORT_TEST_WATCHES = CONFIG_CONF_WATCH_COUNT,
};

static struct {
	struct loop loop;
	struct agent agent;
	struct watch watches[REPORT_TEST_WATCHES];
	struct sink sinks[REPORT_TEST_WATCHES];
	char names[REPORT_TEST_WATCHES][32];
	struct report_watch rows[REPORT_TEST_WATCHES];
	struct report report;
} rig;

/* The platform's clocks, in place of clock.c: they stand still. */
static int64_t rig_now_ms, rig_wall_s;

int64_t port_now_ms(void)
{
	return rig_now_ms;
}

int64_t port_wall_s(void)
{
	return rig_wall_s;
}

int port_random(void *dst, size_t len)
{
	memset(dst, 0x5a, len);
	return 0;
}

/* Nothing has happened yet. Each watch has one sink. */
static inline void rig_set_up(size_t watches)
{
	static const struct sink_ops none;

	memset(&rig, 0, sizeof(rig));
	rig_now_ms = 1000000;
	rig_wall_s = 1700000000;
	loop_init(&rig.loop);
	rig.agent.loop = &rig.loop;
	rig.report = (struct report){
		.agent = &rig.agent,
		.start_ms = rig.loop.now_ms,
		.watches = rig.rows,
		.watch_count = watches,
	};
	for (size_t i = watches; i-- > 0;) {
		struct watch *w = &rig.watches[i];

		(void)snprintf(rig.names[i], sizeof(rig.names[i]), "w%zu", i);
		w->name = rig.names[i];
		w->entry.saved_rev = -1;
		w->is_list_due = true;
		w->agent = &rig.agent;
		w->feed.sinks[0] = &rig.sinks[i];
		w->feed.sink_count = 1;
		rig.sinks[i].ops = &none;
		w->next = rig.agent.watches;
		rig.agent.watches = w;
		rig.rows[i] = (struct report_watch){
			.watch = w, .key = "/config/", .key_len = 8, .is_prefix = true};
	}
}

/* Connected, and every watch in step at revision rev. */
static inline void rig_go_live(int64_t rev)
{
	struct etcd_session *s = &rig.agent.session;

	s->state = ETCD_SESSION_READY;
	(void)snprintf(s->authority, sizeof(s->authority), "10.0.0.1:2379");
	s->status.header.cluster_id = UINT64_MAX;
	s->status.header.member_id = UINT64_C(9223372036854775809);
	rig.agent.stream.call.channel = &s->channel;
	rig.agent.probed.rev = rev;
	rig.agent.probed.at_ms = rig.loop.now_ms;
	for (size_t i = 0; i < rig.report.watch_count; i++) {
		struct watch *w = &rig.watches[i];

		w->state = WATCH_LIVE;
		w->is_synced = true;
		w->is_list_due = false;
		w->pos.is_known = true;
		w->pos.rev = rev;
		w->entry.saved_rev = rev - 2;
		w->syncs = 1;
		w->feed.closed_rev = w->feed.in_rev = rev;
		rig.sinks[i].done_rev = rev;
	}
}

/* -- JSON ------------------------------------------------------------------------------------- */

struct json_reader {
	const char *p, *end;
};

static inline bool json_read_word(struct json_reader *r, const char *word)
{
	size_t len = strlen(word);

	if ((size_t)(r->end - r->p) < len || memcmp(r->p, word, len))
		return false;
	r->p += len;
	return true;
}

static inline bool json_read_string(struct json_reader *r)
{
	if (!json_read_word(r, "\""))
		return false;
	while (r->p < r->end && *r->p != '"') {
		size_t n = utf8_sequence_len((const uint8_t *)r->p, (size_t)(r->end - r->p));

		if (!n || (uint8_t)*r->p < 0x20)
			return false;
		if (*r->p == '\\') {
			if (r->end - r->p < 2 || !strchr("\"\\", r->p[1]))
				return false;
			n = 2;
		}
		r->p += n;
	}
	return json_read_word(r, "\"");
}

static inline bool json_read_number(struct json_reader *r)
{
	const char *from = r->p;

	if (r->p < r->end && *r->p == '-')
		r->p++;
	if (r->p < r->end && *r->p == '0')
		return r->p++, true;
	while (r->p < r->end && *r->p >= '0' && *r->p <= '9')
		r->p++;
	return r->p > from && r->p[-1] != '-';
}

static inline bool json_read_value(struct json_reader *r, int depth);

static inline bool json_read_members(struct json_reader *r, char close, int depth)
{
	r->p++;
	if (r->p < r->end && *r->p == close)
		return r->p++, true;
	for (;;) {
		if (close == '}' && (!json_read_string(r) || !json_read_word(r, ":")))
			return false;
		if (!json_read_value(r, depth))
			return false;
		if (r->p < r->end && *r->p == close)
			return r->p++, true;
		if (!json_read_word(r, ","))
			return false;
	}
}

static inline bool json_read_value(struct json_reader *r, int depth)
{
	if (r->p == r->end || depth == 0)
		return false;
	switch (*r->p) {
	case '{':
		return json_read_members(r, '}', depth - 1);
	case '[':
		return json_read_members(r, ']', depth - 1);
	case '"':
		return json_read_string(r);
	case 't':
		return json_read_word(r, "true");
	case 'f':
		return json_read_word(r, "false");
	case 'n':
		return json_read_word(r, "null");
	default:
		return json_read_number(r);
	}
}

/* One value and a line end, and nothing else. */
static inline bool json_is_line(const char *p, size_t len)
{
	struct json_reader r = {p, p + len};

	return json_read_value(&r, 8) && json_read_word(&r, "\n") && r.p == r.end;
}

#endif
