/* SPDX-License-Identifier: Apache-2.0 */
#include "cmd/report.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "base/heap.h"
#include "base/json.h"
#include "base/version.h"
#include "cmd/report_facts.h"
#include "cmd/report_fetch.h"

/* How long the texts may be, one try after the other. */
static const size_t text_sizes[] = {LOG_SHOW_MAX, 64, 24};

/* -- facts ------------------------------------------------------------------------------------ */

bool report_is_connected(const struct report *r)
{
	return etcd_reader_is_running(&r->agent->stream);
}

bool report_is_synced(const struct watch *w)
{
	return w->pos.is_known && w->is_synced && !w->is_list_due;
}

const struct sink *report_failing_sink(const struct watch *w)
{
	for (size_t i = 0; i < w->feed.sink_count; i++) {
		if (w->feed.sinks[i]->is_failing)
			return w->feed.sinks[i];
	}
	return NULL;
}

const char *report_waits(const struct watch *w, char *dst, size_t cap)
{
	const struct sink *failing = report_failing_sink(w);
	const char *text = failing ? sink_condition(failing, dst, cap) : NULL;

	for (size_t i = 0; i < w->feed.sink_count && !text; i++)
		text = sink_condition(w->feed.sinks[i], dst, cap);
	return text;
}

bool report_is_in_step(const struct watch *w)
{
	return report_is_synced(w) && w->state == WATCH_LIVE && !w->trouble.is_on &&
	       !feed_is_waiting(&w->feed) && !report_failing_sink(w);
}

uint64_t report_sink_errors(const struct watch *w)
{
	uint64_t errors = 0;

	for (size_t i = 0; i < w->feed.sink_count; i++)
		errors += w->feed.sinks[i]->errors;
	return errors;
}

const char *report_last_error(const struct watch *w)
{
	const char *why = w->trouble.why[0] ? w->trouble.why : NULL;
	int64_t why_ms = w->trouble.told_ms;

	for (size_t i = 0; i < w->feed.sink_count; i++) {
		const struct sink *s = w->feed.sinks[i];
		/* Of two at once a sink's tells more, unless the watch's own goes on. */
		bool is_newer = w->trouble.is_on ? s->why_ms > why_ms : s->why_ms >= why_ms;

		if (s->why[0] && (!why || is_newer)) {
			why = s->why;
			why_ms = s->why_ms;
		}
	}
	return why;
}

uint64_t report_cluster_id(const struct report *r)
{
	uint64_t id = r->agent->session.status.header.cluster_id;

	for (const struct watch *w = r->agent->watches; w && !id; w = w->next)
		id = w->pos.cluster_id;
	return id;
}

static uint64_t report_member_id(const struct report *r)
{
	const struct etcd_session *s = &r->agent->session;

	return s->state == ETCD_SESSION_READY ? s->status.header.member_id : 0;
}

/* NULL: none was tried yet. */
static const char *report_endpoint(const struct report *r)
{
	return r->agent->session.authority[0] ? agent_url(r->agent) : NULL;
}

int64_t report_age_ms(const struct report *r, int64_t since_ms)
{
	int64_t age_ms = r->agent->loop->now_ms - since_ms;

	return age_ms > 0 ? age_ms : 0;
}

void report_state(const struct report *r, struct journal_stat *stat)
{
	memset(stat, 0, sizeof(*stat));
	if (r->agent->keeper.cfg.path)
		journal_stat(&r->agent->keeper.journal, stat, r->agent->loop->now_ms);
}

/* -- JSON ------------------------------------------------------------------------------------- */

struct report_writer {
	const struct report *r;
	struct json json;
	size_t text_size;
	size_t fetch_left; /* more downloads that may be listed */
};

static void put_shown(struct report_writer *o, const char *name, const void *text, size_t len)
{
	char shown[LOG_SHOW_MAX];

	json_member(&o->json, name);
	if (text)
		json_string(&o->json, log_show(shown, o->text_size, text, len));
	else
		json_null(&o->json);
}

static void put_text(struct report_writer *o, const char *name, const char *text)
{
	put_shown(o, name, text, text ? strlen(text) : 0);
}

static void put_id(struct report_writer *o, const char *name, uint64_t id)
{
	json_member(&o->json, name);
	if (id)
		json_uint_string(&o->json, id);
	else
		json_null(&o->json);
}

static void put_known(struct report_writer *o, const char *name, int64_t n, bool is_known)
{
	if (is_known)
		json_member_int(&o->json, name, n);
	else
		json_member_null(&o->json, name);
}

static void put_agent(struct report_writer *o)
{
	const struct agent *a = o->r->agent;
	const bool is_probed = a->probed.rev > 0;
	uint64_t resident = port_memory_resident();
	struct journal_stat stat;
	struct json *j = &o->json;

	put_text(o, "version", version_string());
	json_member_int(j, "pid", port_pid());
	json_member_int(j, "uptime_s", report_age_ms(o->r, o->r->start_ms) / 1000);
	json_member_bool(j, "connected", report_is_connected(o->r));
	put_text(o, "endpoint", report_endpoint(o->r));
	put_id(o, "cluster_id", report_cluster_id(o->r));
	put_id(o, "member_id", report_member_id(o->r));
	json_member_uint(j, "reconnects", a->reconnects);
	put_text(o, "last_error", a->trouble.why[0] ? a->trouble.why : NULL);
	json_member(j, "probe");
	json_object_begin(j);
	put_known(o, "revision", a->probed.rev, is_probed);
	put_known(o, "age_s", report_age_ms(o->r, a->probed.at_ms) / 1000, is_probed);
	json_object_end(j);
	report_state(o->r, &stat);
	json_member(j, "state");
	json_object_begin(j);
	put_text(o, "file", a->keeper.cfg.path);
	json_member_uint(j, "writes", stat.session_records);
	json_member_uint(j, "bytes", (uint64_t)stat.session_records * JOURNAL_RECORD_LEN);
	json_member_uint(j, "erases", stat.session_erases);
	json_member_bool(j, "recovered", a->keeper.is_recovered);
	json_object_end(j);
	json_member(j, "memory");
	json_object_begin(j);
	put_known(o, "rss_kb", (int64_t)(resident / 1024), resident > 0);
	json_member_uint(j, "heap_peak_bytes", heap_peak_bytes());
	json_object_end(j);
}

static void put_fetch(struct report_writer *o, const struct fetch_progress *p)
{
	struct json *j = &o->json;

	json_object_begin(j);
	put_text(o, "key", p->key);
	put_text(o, "name", p->name[0] ? p->name : NULL);
	json_member_string(j, "state", p->state);
	json_member_uint(j, "bytes", p->bytes);
	put_known(o, "size", (int64_t)p->size, p->size > 0);
	json_member_uint(j, "rate", p->rate_bytes_s);
	put_known(o, "eta_s", p->eta_s, p->eta_s >= 0);
	put_text(o, "error", p->why[0] ? p->why : NULL);
	json_object_end(j);
}

static void put_fetches(struct report_writer *o, const struct fetch_sink *f)
{
	struct fetch_progress p;

	json_member(&o->json, "fetch");
	json_array_begin(&o->json);
	for (size_t i = 0; (!i || o->fetch_left) && fetch_progress(f, i, &p); i++) {
		put_fetch(o, &p);
		o->fetch_left -= i > 0;
	}
	json_array_end(&o->json);
}

static void put_watch(struct report_writer *o, const struct report_watch *rw)
{
	const struct watch *w = rw->watch;
	struct json *j = &o->json;

	json_object_begin(j);
	put_text(o, "name", w->name);
	put_shown(o, "key", rw->key ? rw->key : "", rw->key_len);
	json_member_bool(j, "prefix", rw->is_prefix);
	json_member_bool(j, "synced", report_is_synced(w));
	put_known(o, "position", w->pos.rev, w->pos.is_known);
	put_known(o, "saved_position", w->entry.saved_rev, w->entry.saved_rev >= 0);
	json_member_uint(j, "events", w->feed.events);
	json_member_uint(j, "batches", w->feed.batches);
	json_member_uint(j, "syncs", w->syncs);
	put_text(o, "last_sync_reason", w->syncs ? sync_reason_name(w->last_reason) : NULL);
	json_member_uint(j, "sink_errors", report_sink_errors(w));
	json_member_uint(j, "unmappable", w->feed.unmappable);
	json_member_uint(j, "too_long", w->feed.too_long);
	json_member_uint(j, "unknown", w->feed.unknown);
	put_text(o, "last_skipped", w->feed.last_skipped[0] ? w->feed.last_skipped : NULL);
	put_text(o, "last_error", report_last_error(w));
	if (IS_ENABLED(CONFIG_SINK_FETCH) && rw->fetch)
		put_fetches(o, rw->fetch);
	json_object_end(j);
}

static ssize_t report_json_sized(const struct report *r, char *dst, size_t cap, size_t text_size)
{
	struct report_writer o = {.r = r, .text_size = text_size, .fetch_left = REPORT_FETCH_COUNT};

	json_begin(&o.json, dst, cap);
	json_object_begin(&o.json);
	put_agent(&o);
	json_member(&o.json, "watches");
	json_array_begin(&o.json);
	for (size_t i = 0; i < r->watch_count; i++)
		put_watch(&o, &r->watches[i]);
	json_array_end(&o.json);
	json_object_end(&o.json);
	json_newline(&o.json);
	return json_end(&o.json);
}

ssize_t report_json(const struct report *r, char *dst, size_t cap)
{
	ssize_t n = ERR_LIMIT;

	for (size_t i = 0; n < 0 && i < sizeof(text_sizes) / sizeof(text_sizes[0]); i++)
		n = report_json_sized(r, dst, cap, text_sizes[i]);
	return n;
}

/* -- table ------------------------------------------------------------------------------------ */

enum {
	TABLE_NAME_COLUMNS = 14, /* a longer name has a line of its own */
};

struct table {
	const struct report *r;
	char *dst;
	size_t cap, len;
	size_t text_size;
	size_t fetch_left; /* more downloads that may be shown */
	bool is_full;
};

__attribute__((format(printf, 2, 3))) static void say(struct table *t, const char *fmt, ...)
{
	va_list ap;
	int n;

	if (t->is_full)
		return;
	va_start(ap, fmt);
	n = vsnprintf(t->dst + t->len, t->cap - t->len, fmt, ap);
	va_end(ap);
	if (n < 0 || (size_t)n >= t->cap - t->len)
		t->is_full = true;
	else
		t->len += (size_t)n;
}

static const char *show(const struct table *t, char shown[LOG_SHOW_MAX], const char *text)
{
	return log_show(shown, t->text_size, text, strlen(text));
}

/* "5 s", "12 min", "3 h", "40 days". */
static const char *age_text(char dst[32], int64_t age_ms)
{
	static const struct {
		int64_t from_s, unit_s;
		const char *name;
	} units[] = {{172800, 86400, "days"}, {7200, 3600, "h"}, {120, 60, "min"}, {0, 1, "s"}};
	int64_t age_s = age_ms / 1000;
	size_t i = 0;

	while (age_s < units[i].from_s)
		i++;
	snprintf(dst, 32, "%" PRId64 " %s", age_s / units[i].unit_s, units[i].name);
	return dst;
}

static void say_connection(struct table *t)
{
	struct agent *a = t->r->agent;
	const char *url = report_endpoint(t->r);
	char shown[LOG_SHOW_MAX], age[32];

	say(t, "connection  %s%s%s", report_is_connected(t->r) ? "connected" : "not connected",
		!url                        ? ""
		: report_is_connected(t->r) ? " to "
					    : ", last tried ",
		url ? show(t, shown, url) : "");
	say(t, ", %" PRIu64 " reconnect%s\n", a->reconnects, a->reconnects == 1 ? "" : "s");
	if (a->trouble.is_on)
		say(t, "            ! %s (for %s)\n", show(t, shown, a->trouble.why),
			age_text(age, report_age_ms(t->r, a->trouble.since_ms)));
	if (report_cluster_id(t->r))
		say(t, "cluster     %" PRIu64 "\n", report_cluster_id(t->r));
	if (a->probed.rev > 0)
		say(t, "revision    %" PRId64 ", as of %s ago\n", a->probed.rev,
			age_text(age, report_age_ms(t->r, a->probed.at_ms)));
	else
		say(t, "revision    not known yet\n");
}

static void say_state(struct table *t)
{
	const struct keeper *k = &t->r->agent->keeper;
	char shown[LOG_SHOW_MAX], age[32];
	struct journal_stat stat;

	if (!k->cfg.path) {
		say(t, "state       in memory only\n");
		return;
	}
	report_state(t->r, &stat);
	say(t,
		"state       %s, %" PRIu32 " record%s written (%" PRIu64 " bytes), %" PRIu32
		" erase%s%s\n",
		show(t, shown, k->cfg.path), stat.session_records,
		stat.session_records == 1 ? "" : "s",
		(uint64_t)stat.session_records * JOURNAL_RECORD_LEN, stat.session_erases,
		stat.session_erases == 1 ? "" : "s", k->is_recovered ? ", recovered" : "");
	if (k->trouble.is_on)
		say(t, "            ! %s (for %s)\n", show(t, shown, k->trouble.why),
			age_text(age, report_age_ms(t->r, k->trouble.since_ms)));
}

/* waits: what hinders its sinks; NULL: nothing. */
static const char *state_word(const struct report *r, const struct watch *w, const char *waits)
{
	if (w->trouble.is_on || w->state == WATCH_PAUSE || report_failing_sink(w))
		return "trouble";
	if (w->is_list_due || w->state == WATCH_LIST)
		return w->state == WATCH_LIST ? "listing" : "to list";
	if (w->state == WATCH_LIVE)
		return !feed_is_waiting(&w->feed) ? "in step" : waits ? "waiting" : "working";
	if (w->state == WATCH_PARK)
		return waits ? "waiting" : "parked";
	return r->agent->session.state == ETCD_SESSION_READY ? "starting" : "offline";
}

/* A number, or "-" when it is not known. */
static const char *number_text(char dst[24], int64_t n, bool is_known)
{
	snprintf(dst, 24, is_known ? "%" PRId64 : "-", n);
	return dst;
}

static void say_fetches(struct table *t, const struct fetch_sink *f)
{
	char line[REPORT_FETCH_LINE_MAX];
	struct fetch_progress p;
	size_t i = 0;

	for (; (!i || t->fetch_left) && fetch_progress(f, i, &p); i++) {
		say(t, "    %s %s\n", p.why[0] && !report_fetch_is_loading(&p) ? "!" : ".",
			report_fetch_line(line, &p, t->text_size));
		t->fetch_left -= i > 0;
	}
	if (i && fetch_progress(f, i, &p))
		say(t, "    . and more artifacts that are not in place\n");
}

static void say_watch(struct table *t, const struct report_watch *rw)
{
	const struct watch *w = rw->watch;
	const char *why = report_last_error(w);
	uint64_t skipped = w->feed.unmappable + w->feed.too_long + w->feed.unknown;
	char shown[LOG_SHOW_MAX], pos[24], saved[24], age[32], text[SINK_WHY_MAX + 64];
	const char *waits = report_is_in_step(w) ? NULL : report_waits(w, text, sizeof(text));

	show(t, shown, w->name);
	if (strlen(shown) > TABLE_NAME_COLUMNS) {
		say(t, "%s\n", shown);
		shown[0] = '\0';
	}
	say(t, "%-*s %-8s %11s %11s %8" PRIu64 " %8" PRIu64 " %s%" PRIu64 "%s%s%s\n",
		TABLE_NAME_COLUMNS, shown, state_word(t->r, w, waits),
		number_text(pos, w->pos.rev, w->pos.is_known),
		number_text(saved, w->entry.saved_rev, w->entry.saved_rev >= 0), w->feed.events,
		w->feed.batches, w->syncs < 10 ? " " : "", w->syncs, w->syncs ? " (" : "",
		w->syncs ? sync_reason_name(w->last_reason) : "", w->syncs ? ")" : "");
	if (w->trouble.is_on)
		say(t, "    ! %s (for %s)\n", show(t, shown, w->trouble.why),
			age_text(age, report_age_ms(t->r, w->trouble.since_ms)));
	else if (why && !report_failing_sink(w))
		say(t, "    last error: %s\n", show(t, shown, why));
	if (waits)
		say(t, "    %s %s\n", report_failing_sink(w) ? "!" : ".", show(t, shown, waits));
	if (IS_ENABLED(CONFIG_SINK_FETCH) && rw->fetch)
		say_fetches(t, rw->fetch);
	if (skipped)
		say(t, "    not delivered: %" PRIu64 ", the last one '%s'\n", skipped,
			show(t, shown, w->feed.last_skipped));
}

static ssize_t report_table_sized(const struct report *r, char *dst, size_t cap, size_t text_size)
{
	struct table t = {.r = r,
		.dst = dst,
		.cap = cap,
		.text_size = text_size,
		.fetch_left = REPORT_FETCH_COUNT};
	char age[32];

	say(&t, "etchlet     %s, process %" PRId64 ", up for %s\n", version_string(), port_pid(),
		age_text(age, report_age_ms(r, r->start_ms)));
	say_connection(&t);
	say_state(&t);
	say(&t, "memory      %" PRIu64 " KB resident, heap %zu KB at most\n",
		port_memory_resident() / 1024, (heap_peak_bytes() + 1023) / 1024);
	say(&t, "\n%-*s %-8s %11s %11s %8s %8s %s\n", TABLE_NAME_COLUMNS, "watch", "", "position",
		"saved", "events", "batches", "syncs");
	for (size_t i = 0; i < r->watch_count; i++)
		say_watch(&t, &r->watches[i]);
	return t.is_full ? ERR_LIMIT : (ssize_t)t.len;
}

ssize_t report_table(const struct report *r, char *dst, size_t cap)
{
	ssize_t n = ERR_LIMIT;

	for (size_t i = 0; n < 0 && cap && i < sizeof(text_sizes) / sizeof(text_sizes[0]); i++)
		n = report_table_sized(r, dst, cap, text_sizes[i]);
	return n;
}

/* -- one line --------------------------------------------------------------------------------- */

void report_line(const struct report *r, char dst[REPORT_LINE_MAX])
{
	const char *url = report_endpoint(r);
	char shown[96];
	size_t good = 0;

	for (size_t i = 0; i < r->watch_count; i++)
		good += report_is_in_step(r->watches[i].watch);
	log_show(shown, sizeof(shown), url ? url : "", url ? strlen(url) : 0);
	snprintf(dst, REPORT_LINE_MAX, "%s%s%s, %zu of %zu watch%s in step",
		report_is_connected(r) ? "connected" : "not connected",
		url && report_is_connected(r) ? " to "
		: url                         ? ", last tried "
					      : "",
		shown, good, r->watch_count, r->watch_count == 1 ? "" : "es");
}
