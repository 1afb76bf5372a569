/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The text format of Prometheus, version 0.0.4: families one after the other, each with HELP, TYPE and its samples.
 * Names by its conventions: base units, counters end in _total. A figure that is not known has no sample.
 */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/heap.h"
#include "base/json.h"
#include "base/log.h"
#include "base/version.h"
#include "cmd/report_facts.h"
#include "sink/fetch.h"

enum {
	SAMPLE_MAX = 2 * LOG_SHOW_MAX + 160, /* bytes of a line: its label may be escaped */
	CLOCK_SLACK_S = 2, /* the start by the wall clock is told anew when it is off by more */
};

struct metrics_out {
	struct report *r;
	report_put_fn *put;
	void *user;
	int err;
};

__attribute__((format(printf, 2, 3))) static void out_line(
	struct metrics_out *o, const char *fmt, ...)
{
	char line[SAMPLE_MAX];
	va_list ap;
	int n;

	if (o->err)
		return;
	va_start(ap, fmt);
	n = vsnprintf(line, sizeof(line), fmt, ap);
	va_end(ap);
	if (n < 0 || (size_t)n >= sizeof(line))
		o->err = ERR_BUG;
	else
		o->err = o->put(o->user, line, (size_t)n);
}

/* A label's value: log_show() leaves no line end, and what else must be escaped is as in JSON. */
static const char *label(char dst[2 * LOG_SHOW_MAX], const char *text)
{
	char shown[LOG_SHOW_MAX];
	size_t used;

	log_show(shown, sizeof(shown), text, strlen(text));
	(void)json_escape(dst, 2 * LOG_SHOW_MAX - 1, &used, (const uint8_t *)shown, strlen(shown));
	dst[used] = '\0';
	return dst;
}

static void family(struct metrics_out *o, const char *name, const char *type, const char *help)
{
	out_line(o, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

static void one(
	struct metrics_out *o, const char *name, const char *type, const char *help, uint64_t n)
{
	family(o, name, type, help);
	out_line(o, "%s %" PRIu64 "\n", name, n);
}

static void put_connection(struct metrics_out *o)
{
	const struct agent *a = o->r->agent;

	one(o, "etchlet_connected", "gauge", "Whether the Watch stream is open.",
		report_is_connected(o->r));
	one(o, "etchlet_reconnects_total", "counter", "Connections made again after one was lost.",
		a->reconnects);
	family(o, "etchlet_probe_revision", "gauge", "Newest revision that the server told.");
	if (a->probed.rev > 0)
		out_line(o, "etchlet_probe_revision %" PRId64 "\n", a->probed.rev);
	family(o, "etchlet_probe_timestamp_seconds", "gauge",
		"When it was told, by this device's clock.");
	if (a->probed.rev > 0)
		out_line(o, "etchlet_probe_timestamp_seconds %" PRId64 "\n",
			port_wall_s() - report_age_ms(o->r, a->probed.at_ms) / 1000);
}

static void put_process(struct metrics_out *o)
{
	struct report *r = o->r;
	int64_t start_s = port_wall_s() - report_age_ms(r, r->start_ms) / 1000;
	uint64_t resident = port_memory_resident();
	char text[2 * LOG_SHOW_MAX];
	struct journal_stat stat;

	/* A device may start in 1970 and be set right later: then the start moves too, and by nothing less. */
	if (start_s > r->start_wall_s + CLOCK_SLACK_S || start_s < r->start_wall_s - CLOCK_SLACK_S)
		r->start_wall_s = start_s;
	family(o, "etchlet_build_info", "gauge", "Version of the agent.");
	out_line(o, "etchlet_build_info{version=\"%s\"} 1\n", label(text, version_string()));
	family(o, "etchlet_start_time_seconds", "gauge",
		"When it was started, by this device's clock.");
	out_line(o, "etchlet_start_time_seconds %" PRId64 "\n", r->start_wall_s);
	put_connection(o);
	report_state(r, &stat);
	one(o, "etchlet_state_writes_total", "counter", "Records written to the state file.",
		stat.session_records);
	one(o, "etchlet_state_written_bytes_total", "counter", "Bytes written to the state file.",
		(uint64_t)stat.session_records * JOURNAL_RECORD_LEN);
	one(o, "etchlet_state_erases_total", "counter", "Sectors of the state file erased.",
		stat.session_erases);
	if (resident)
		one(o, "etchlet_process_resident_memory_bytes", "gauge",
			"Memory of the process that is resident.", resident);
	one(o, "etchlet_heap_bytes", "gauge", "Memory taken from the heap now.", heap_bytes());
	one(o, "etchlet_heap_peak_bytes", "gauge", "The most that ever was taken from the heap.",
		heap_peak_bytes());
}

/* -- of each watch ---------------------------------------------------------------------------- */

enum watch_value {
	VALUE_SYNCED,
	VALUE_IN_STEP,
	VALUE_POSITION,
	VALUE_SAVED,
	VALUE_EVENTS,
	VALUE_BATCHES,
	VALUE_SYNCS,
	VALUE_SINK_ERRORS,
};

static const struct {
	const char *name, *type, *help;
	enum watch_value value;
} watch_families[] = {
	{"etchlet_watch_synced", "gauge",
		"Whether the watch has a position and owes no full synchronisation.", VALUE_SYNCED},
	{"etchlet_watch_in_step", "gauge",
		"Whether the watch is live, and all that came is processed.", VALUE_IN_STEP},
	{"etchlet_position_revision", "gauge", "Highest revision that is processed in full.",
		VALUE_POSITION},
	{"etchlet_saved_position_revision", "gauge", "The same as the state file has it.",
		VALUE_SAVED},
	{"etchlet_events_total", "counter", "Events delivered; listed keys do not count.",
		VALUE_EVENTS},
	{"etchlet_batches_total", "counter", "Answers with events that were delivered.",
		VALUE_BATCHES},
	{"etchlet_syncs_total", "counter", "Full synchronisations.", VALUE_SYNCS},
	{"etchlet_sink_errors_total", "counter", "Failures of the watch's sinks.",
		VALUE_SINK_ERRORS},
};

/* Below 0: not known. */
static int64_t watch_value(const struct watch *w, enum watch_value value)
{
	switch (value) {
	case VALUE_SYNCED:
		return report_is_synced(w);
	case VALUE_IN_STEP:
		return report_is_in_step(w);
	case VALUE_POSITION:
		return w->pos.is_known ? w->pos.rev : -1;
	case VALUE_SAVED:
		return w->entry.saved_rev;
	case VALUE_EVENTS:
		return (int64_t)w->feed.events;
	case VALUE_BATCHES:
		return (int64_t)w->feed.batches;
	case VALUE_SYNCS:
		return (int64_t)w->syncs;
	case VALUE_SINK_ERRORS:
		return (int64_t)report_sink_errors(w);
	}
	return -1;
}

static void put_watches(struct metrics_out *o)
{
	char text[2 * LOG_SHOW_MAX];

	for (size_t f = 0; f < sizeof(watch_families) / sizeof(watch_families[0]); f++) {
		family(o, watch_families[f].name, watch_families[f].type, watch_families[f].help);
		for (size_t i = 0; i < o->r->watch_count; i++) {
			const struct watch *w = o->r->watches[i].watch;
			int64_t n = watch_value(w, watch_families[f].value);

			if (n >= 0)
				out_line(o, "%s{watch=\"%s\"} %" PRId64 "\n",
					watch_families[f].name, label(text, w->name), n);
		}
	}
	family(o, "etchlet_skipped_total", "counter", "Keys and events that were not delivered.");
	for (size_t i = 0; i < o->r->watch_count; i++) {
		const struct watch *w = o->r->watches[i].watch;
		const struct {
			const char *cause;
			uint64_t n;
		} causes[] = {
			{"unmappable", w->feed.unmappable},
			{"too_long", w->feed.too_long},
			{"unknown", w->feed.unknown},
		};

		for (size_t c = 0; c < sizeof(causes) / sizeof(causes[0]); c++)
			out_line(o,
				"etchlet_skipped_total{watch=\"%s\",cause=\"%s\"} %" PRIu64 "\n",
				label(text, w->name), causes[c].cause, causes[c].n);
	}
}

/* Of watches that download. */
static void put_fetches(struct metrics_out *o)
{
	char text[2 * LOG_SHOW_MAX];
	bool is_any = false;

	for (size_t i = 0; i < o->r->watch_count; i++)
		is_any = is_any || o->r->watches[i].fetch;
	if (!is_any)
		return;
	family(o, "etchlet_fetch_bytes_total", "counter", "Bytes of artifacts downloaded.");
	for (size_t i = 0; i < o->r->watch_count; i++) {
		const struct report_watch *rw = &o->r->watches[i];

		if (rw->fetch)
			out_line(o, "etchlet_fetch_bytes_total{watch=\"%s\"} %" PRIu64 "\n",
				label(text, rw->watch->name), rw->fetch->bytes);
	}
	family(o, "etchlet_fetch_artifacts_total", "counter",
		"Artifacts put in place, and those that were refused.");
	for (size_t i = 0; i < o->r->watch_count; i++) {
		const struct report_watch *rw = &o->r->watches[i];

		if (!rw->fetch)
			continue;
		label(text, rw->watch->name);
		out_line(o,
			"etchlet_fetch_artifacts_total{watch=\"%s\",result=\"placed\"} %" PRIu64
			"\n",
			text, rw->fetch->placed);
		out_line(o,
			"etchlet_fetch_artifacts_total{watch=\"%s\",result=\"refused\"} %" PRIu64
			"\n",
			text, rw->fetch->refused);
	}
}

int report_metrics(struct report *r, report_put_fn *put, void *user)
{
	struct metrics_out o = {.r = r, .put = put, .user = user};

	put_process(&o);
	put_watches(&o);
	if (IS_ENABLED(CONFIG_SINK_FETCH))
		put_fetches(&o);
	return o.err;
}
