/* SPDX-License-Identifier: Apache-2.0 */
#include "test/sim/check.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "test/sim/model.h"
#include "test/sim/verdict.h"

enum {
	LINE_SHOWN = 300,
	VALUE_AS_TEXT_MAX = CONFIG_PRINT_VALUE_BYTES,
};

/* How far the lines of a watch have come. */
struct cursor {
	int history;
	int64_t rev;
	int index; /* of the last event printed; UINT16_MAX: all of rev */
};

struct tracked {
	uint16_t from, to; /* keys */
	bool is_begun; /* a position is known: done and run stand */
	struct cursor run; /* in this run */
	/* the furthest, of each history; rev -1: not begun */
	struct cursor done[MODEL_HISTORIES];
	bool is_listing;
	int64_t list_rev;
	uint32_t list_fits; /* histories whose listing it may be */
	uint16_t list_next[MODEL_HISTORIES]; /* the next key */
	int64_t pos_rev; /* as seen last, in memory */
	bool was_known;
	int64_t durable_rev; /* what a flash that keeps its word must give back; -1: nothing */
	int durable_history;
	uint64_t durable_term;
	int64_t seen_saved_rev;
	int64_t progress_rev;
	bool may_go_back; /* a listing is complete */
};

static struct {
	struct tracked watches[DEVICE_WATCHES];
	struct bytes line;
	bool could_read; /* the state file, at the start of this run */
	bool is_running;
	uint64_t events, syncs;
	char last_reason[16];
	char allowed[16];
} check;

void check_reset(void)
{
	bytes_free(&check.line);
	memset(&check, 0, sizeof(check));
	for (int i = 0; i < DEVICE_WATCHES; i++) {
		struct tracked *t = &check.watches[i];

		t->from = (uint16_t)(i * HISTORY_ZONE);
		t->to = (uint16_t)(t->from + HISTORY_ZONE);
		t->durable_rev = -1;
		for (int j = 0; j < MODEL_HISTORIES; j++)
			t->done[j].rev = -1;
	}
}

void check_allow(const char *reason)
{
	snprintf(check.allowed, sizeof(check.allowed), "%s", reason);
}

bool check_knows_history(void)
{
	for (int i = 0; i < device.cfg.watch_count; i++) {
		const struct tracked *t = &check.watches[i];
		const struct position *p = &device.watches[i].pos;

		if (t->durable_rev >= 0 && !t->durable_term)
			return false;
		if (!device.is_out[i] && (p->is_given || (p->is_known && !p->raft_term)))
			return false;
	}
	return true;
}

uint64_t check_event_count(void)
{
	return check.events;
}

uint64_t check_sync_count(void)
{
	return check.syncs;
}

const char *check_last_reason(void)
{
	return check.last_reason;
}

/* -- the lines as they must be ---------------------------------------------------------------- */

static void put_text(struct bytes *b, const char *text)
{
	bytes_put(b, text, strlen(text));
}

static void put_int(struct bytes *b, const char *before, int64_t v, const char *after)
{
	char text[64];

	snprintf(text, sizeof(text), "%s%" PRId64 "%s", before, v, after);
	put_text(b, text);
}

static void put_base64(struct bytes *b, const struct bytes *v)
{
	static const char digits[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

	for (size_t i = 0; i < v->len; i += 3) {
		size_t n = v->len - i < 3 ? v->len - i : 3;
		uint32_t x = (uint32_t)v->p[i] << 16 | (n > 1 ? (uint32_t)v->p[i + 1] << 8 : 0) |
			     (n > 2 ? v->p[i + 2] : 0);
		char text[4] = {digits[x >> 18 & 63], digits[x >> 12 & 63],
			n > 1 ? digits[x >> 6 & 63] : '=', n > 2 ? digits[x & 63] : '='};

		bytes_put(b, text, 4);
	}
}

static void put_value(struct bytes *b, const char *name, const struct hist_event *e)
{
	bool is_binary =
		e->value_len > VALUE_AS_TEXT_MAX || (e->value_len && e->value_seed % 4 == 3);
	struct bytes v = {0};

	history_value(&v, e);
	put_text(b, ",\"");
	put_text(b, name);
	put_text(b, is_binary ? "_base64\":\"" : "\":\"");
	if (is_binary) {
		put_base64(b, &v);
	} else {
		for (size_t i = 0; i < v.len; i++) {
			if (v.p[i] == '\n') {
				put_text(b, "\\n");
				continue;
			}
			if (v.p[i] == '"' || v.p[i] == '\\')
				put_text(b, "\\");
			bytes_put(b, &v.p[i], 1);
		}
	}
	put_text(b, "\"");
	bytes_free(&v);
}

/* The line of an event, without what run's lines begin with. */
static void put_line(struct bytes *b, const struct history *h, const struct hist_event *e,
	bool is_listed, bool has_prev)
{
	char name[HISTORY_NAME_MAX];

	b->len = 0;
	put_text(
		b, e->is_delete ? "\"type\":\"delete\",\"key\":\"" : "\"type\":\"put\",\"key\":\"");
	put_text(b, history_name(name, e->key));
	put_text(b, "\"");
	if (!e->is_delete) {
		put_value(b, "value", e);
		put_int(b, ",\"create_revision\":", e->create_rev, "");
	}
	put_int(b, ",\"mod_revision\":", e->rev, "");
	if (!e->is_delete) {
		put_int(b, ",\"version\":", e->version, "");
		put_int(b, ",\"lease\":\"", e->lease, "\"");
	}
	if (has_prev && e->prev)
		put_value(b, "prev_value", &h->events[e->prev - 1]);
	put_text(b, is_listed ? ",\"sync\":true}" : "}");
}

static bool is_line(const struct bytes *want, const uint8_t *p, size_t len)
{
	return want->len == len && memcmp(want->p, p, len) == 0;
}

static bool is_event_line(const struct history *h, const struct hist_event *e, bool is_listed,
	const uint8_t *p, size_t len)
{
	struct bytes want = {0};
	bool is_same;

	put_line(&want, h, e, is_listed, false);
	is_same = is_line(&want, p, len);
	if (!is_same && device.cfg.want_prev && !is_listed) {
		put_line(&want, h, e, false, true);
		is_same = is_line(&want, p, len);
	}
	bytes_free(&want);
	return is_same;
}

/* -- cursors ---------------------------------------------------------------------------------- */

static bool is_behind(const struct cursor *a, const struct cursor *b)
{
	return a->rev != b->rev ? a->rev < b->rev : a->index < b->index;
}

static const struct hist_event *next_of(const struct tracked *t, const struct cursor *c)
{
	return history_next(&model.histories[c->history], c->rev, c->index, t->from, t->to);
}

static void advance(struct tracked *t, int64_t rev, int index)
{
	t->run.rev = rev;
	t->run.index = index;
	if (is_behind(&t->done[t->run.history], &t->run))
		t->done[t->run.history] = t->run;
}

/* Whether everything up to rev is written (or was listed). */
static void judge_covered(struct tracked *t, int history, int64_t rev, const char *what)
{
	struct cursor *done = &t->done[history];
	const struct hist_event *e;

	if (done->rev < 0) {
		verdict_fail(
			"%s %" PRId64 " is of a history that nothing was printed of", what, rev);
		return;
	}
	e = next_of(t, done);
	if (e && e->rev <= rev)
		verdict_fail("%s %" PRId64 " covers revision %" PRId64
			     " (event %d, key %d), which is not written",
			what, rev, e->rev, e->index, e->key);
}

/* -- lines ------------------------------------------------------------------------------------ */

static bool starts_with(const uint8_t *p, size_t len, const char *text)
{
	return len >= strlen(text) && memcmp(p, text, strlen(text)) == 0;
}

static int64_t number_behind(const uint8_t *p, size_t len, const char *name)
{
	size_t n = strlen(name);

	for (size_t i = 0; i + n < len; i++) {
		int64_t v = 0;

		if (memcmp(p + i, name, n) != 0)
			continue;
		for (i += n; i < len && p[i] >= '0' && p[i] <= '9'; i++)
			v = v * 10 + (p[i] - '0');
		return v;
	}
	return -1;
}

static void judge_compacted(const struct tracked *t, int64_t compact_rev)
{
	bool was_done = false;

	for (int i = 0; i <= model.current; i++) {
		const struct history *h = &model.histories[i];

		for (size_t j = 0; j < h->compaction_count; j++)
			was_done |= h->compactions[j] == compact_rev;
		was_done |= h->compact_rev == compact_rev;
	}
	if (!was_done)
		verdict_fail("compact_revision %" PRId64 " is none", compact_rev);
	if (t->is_begun && t->run.history == model.current && t->pos_rev >= compact_rev)
		verdict_fail("a synchronisation for compaction at %" PRId64
			     " with position %" PRId64,
			compact_rev, t->pos_rev);
}

static void judge_reason(const struct tracked *t, const uint8_t *p, size_t len, int64_t compact_rev)
{
	char reason[16];
	const uint8_t *end;
	const char *name = "\"reason\":\"";
	size_t skip = strlen("\"type\":\"sync\",") + strlen(name);

	if (len < skip || !(end = memchr(p + skip, '"', len - skip)) || end - (p + skip) > 15) {
		verdict_fail("a sync line without a reason");
		return;
	}
	snprintf(reason, sizeof(reason), "%.*s", (int)(end - (p + skip)), (const char *)p + skip);
	snprintf(check.last_reason, sizeof(check.last_reason), "%s", reason);
	if (strcmp(reason, check.allowed) == 0)
		return;
	if (strcmp(reason, "first") == 0) {
		if (!device.cfg.want_first_list || (t->is_begun && t->was_known))
			verdict_fail("a first synchronisation although a position is known");
	} else if (strcmp(reason, "compacted") == 0) {
		judge_compacted(t, compact_rev);
	} else if (strcmp(reason, "cluster") == 0) {
		if (!model.was_replaced)
			verdict_fail("a synchronisation for another cluster, which there is not");
	} else if (strcmp(reason, "rollback") == 0) {
		if (!model.was_restored)
			verdict_fail("a synchronisation for a rollback, which there was not");
	} else if (strcmp(reason, "state") == 0) {
		/* A file that could not be read at the start may turn up later, with an older position. */
		if (!sim_flash.was_damaged && !device.cfg.is_relaxed && t->durable_rev >= 0 &&
			check.could_read)
			verdict_fail("a synchronisation for a damaged state, which it is not");
	} else {
		verdict_fail("reason '%s'", reason);
	}
}

static void on_sync(struct tracked *t, const uint8_t *p, size_t len)
{
	int64_t rev = number_behind(p, len, "\"revision\":");

	judge_reason(t, p, len, number_behind(p, len, "\"compact_revision\":"));
	check.syncs++;
	t->is_listing = true;
	t->list_rev = rev;
	t->list_fits = 0;
	for (int i = 0; i <= model.current; i++) {
		t->list_next[i] = t->from;
		if (rev <= model.histories[i].rev)
			t->list_fits |= 1U << i;
	}
	if (!t->list_fits)
		verdict_fail("a listing as of revision %" PRId64 ", which never was", rev);
}

/* The next key of a listing of that history. */
static const struct hist_event *list_next(struct tracked *t, int history)
{
	const struct hist_event *e = NULL;

	while (!e && t->list_next[history] < t->to)
		e = history_at(&model.histories[history], t->list_next[history]++, t->list_rev);
	return e;
}

static void on_listed(struct tracked *t, const uint8_t *p, size_t len)
{
	if (!t->is_listing) {
		verdict_fail("a listed key outside a listing");
		return;
	}
	for (int i = 0; i <= model.current; i++) {
		const struct hist_event *e;

		if (!(t->list_fits & 1U << i))
			continue;
		e = list_next(t, i);
		if (!e || !is_event_line(&model.histories[i], e, true, p, len))
			t->list_fits &= ~(1U << i);
	}
	if (!t->list_fits)
		verdict_fail(
			"a listed key is not what the store had at revision %" PRId64, t->list_rev);
}

static void on_synced(struct tracked *t, int64_t rev)
{
	const struct etcd_header *header = &device.watches[t - check.watches].sync_header;
	int history = -1;

	if (!t->is_listing || rev != t->list_rev) {
		verdict_fail("a listing ends that did not begin");
		return;
	}
	for (int i = 0; i <= model.current; i++) {
		if (!(t->list_fits & 1U << i) || list_next(t, i))
			continue;
		/* Where two histories fit, the one that the agent was told of counts. */
		if (history < 0 || i == model_history_of(header->cluster_id, header->raft_term))
			history = i;
	}
	if (history < 0) {
		verdict_fail("the listing as of revision %" PRId64 " lacks keys", rev);
		return;
	}
	t->is_listing = false;
	t->is_begun = true;
	t->may_go_back = true;
	t->progress_rev = 0;
	t->run.history = history;
	advance(t, rev, UINT16_MAX);
}

static void on_event(struct tracked *t, const uint8_t *p, size_t len)
{
	const struct hist_event *e;

	check.events++;
	if (!t->is_begun || t->is_listing) {
		verdict_fail("an event %s",
			t->is_listing ? "within a listing" : "before a position is known");
		return;
	}
	e = next_of(t, &t->run);
	if (!e) {
		verdict_fail("an event where none follows revision %" PRId64 ": %.*s", t->run.rev,
			(int)(len < LINE_SHOWN ? len : LINE_SHOWN), (const char *)p);
		return;
	}
	if (!is_event_line(&model.histories[t->run.history], e, false, p, len)) {
		struct bytes want = {0};

		put_line(&want, &model.histories[t->run.history], e, false, device.cfg.want_prev);
		if (sim_log)
			fprintf(sim_log, "want %.*s\nhave %.*s\n", (int)want.len, (char *)want.p,
				(int)len, (const char *)p);
		bytes_free(&want);
		verdict_fail("behind revision %" PRId64
			     " (event %d) the line should be of revision %" PRId64
			     " (event %d, key %d), and is: %.*s",
			t->run.rev, t->run.index, e->rev, e->index, e->key,
			(int)(len < LINE_SHOWN ? len : LINE_SHOWN), (const char *)p);
		return;
	}
	advance(t, e->rev, e->index);
}

static void on_progress(struct tracked *t, int64_t rev)
{
	if (!t->is_begun || t->is_listing) {
		verdict_fail("a progress line out of place");
		return;
	}
	if (rev <= t->progress_rev)
		verdict_fail("progress %" PRId64 " behind %" PRId64, rev, t->progress_rev);
	t->progress_rev = rev;
	judge_covered(t, t->run.history, rev, "progress");
}

static void on_line(const uint8_t *p, size_t len)
{
	static const char truncated[] = ",\"truncated\":true}";
	struct tracked *t = &check.watches[0];

	if (device.cfg.watch_count > 1) {
		static const char head[] = "{\"watch\":\"";

		if (!starts_with(p, len, head) || len < sizeof(head) + 2) {
			verdict_fail("a line without its watch: %.*s", (int)(len < 80 ? len : 80),
				(const char *)p);
			return;
		}
		t = &check.watches[p[sizeof(head) - 1] == 'b'];
		p += sizeof(head) + 2;
		len -= sizeof(head) + 2;
	} else {
		if (!len || p[0] != '{') {
			verdict_fail("not a JSON line: %.*s", (int)(len < 80 ? len : 80),
				(const char *)p);
			return;
		}
		p++;
		len--;
	}
	verdict_note("> %.*s", (int)(len < 110 ? len : 110), (const char *)p);
	/* An event that could not be ended: it counts for nothing. */
	if (len > sizeof(truncated) &&
		memcmp(p + len - sizeof(truncated) + 1, truncated, sizeof(truncated) - 1) == 0)
		return;
	if (starts_with(p, len, "\"type\":\"synced\""))
		on_synced(t, number_behind(p, len, "\"revision\":"));
	else if (starts_with(p, len, "\"type\":\"sync\""))
		on_sync(t, p, len);
	else if (starts_with(p, len, "\"type\":\"progress\""))
		on_progress(t, number_behind(p, len, "\"revision\":"));
	else if (len > 12 && memcmp(p + len - 13, ",\"sync\":true}", 13) == 0)
		on_listed(t, p, len);
	else
		on_event(t, p, len);
}

/* The begin of a run: where each watch stands, as far as it is known yet. */
static void look_at_position(int i)
{
	struct tracked *t = &check.watches[i];
	const struct position *p = &device.watches[i].pos;

	if (!p->is_known) {
		t->was_known = false;
		return;
	}
	if (!t->is_begun) {
		/* The watch begins now, or where it was told. */
		t->is_begun = true;
		t->run = (struct cursor){
			.history = model.current, .rev = p->rev, .index = UINT16_MAX};
		/* Where the state file cannot be read it may begin behind what was printed. */
		if (is_behind(&t->done[model.current], &t->run))
			t->done[model.current] = t->run;
		t->durable_history = model.current;
		if (check.could_read && t->durable_rev >= 0)
			verdict_fail("watch %d: begins at %" PRId64 " although %" PRId64
				     " was saved",
				i, p->rev, t->durable_rev);
	}
	if (t->was_known && p->rev < t->pos_rev && !t->may_go_back)
		verdict_fail("watch %d: its position goes back from %" PRId64 " to %" PRId64, i,
			t->pos_rev, p->rev);
	if (!t->was_known || p->rev != t->pos_rev) {
		judge_covered(t, t->run.history, p->rev, "position");
		/* What follows behind it will be printed, what it covers was. */
		t->pos_rev = p->rev;
		t->may_go_back = false;
	}
	t->was_known = true;
}

static void on_taken(void *user, const uint8_t *p, size_t len, bool is_cut)
{
	(void)user;
	if (is_cut)
		check.line.len = 0;
	while (len) {
		const uint8_t *end = memchr(p, '\n', len);
		size_t n = end ? (size_t)(end - p) : len;

		bytes_put(&check.line, p, n);
		if (!end)
			return;
		/* A watch that begins "now" knows where before it prints. */
		for (int i = 0; i < device.cfg.watch_count; i++)
			if (!device.is_out[i] && !check.watches[i].is_begun)
				look_at_position(i);
		on_line(check.line.p, check.line.len);
		check.line.len = 0;
		p += n + 1;
		len -= n + 1;
	}
}

/* -- positions -------------------------------------------------------------------------------- */

/* What the agent holds for saved must be there after any power cut. */
static void look_at_saved(int i)
{
	struct tracked *t = &check.watches[i];
	int64_t rev = device.watches[i].entry.saved_rev;

	if (rev < 0 || rev == t->seen_saved_rev)
		return;
	if (!t->is_begun)
		look_at_position(i);
	t->seen_saved_rev = rev;
	judge_covered(t, t->run.history, rev, "saved position");
	if (device.cfg.is_relaxed)
		return;
	t->durable_rev = rev;
	t->durable_history = t->run.history;
	t->durable_term = device.watches[i].pos.raft_term;
}

void check_added(int i)
{
	struct tracked *t = &check.watches[i];
	const struct position *p = &device.watches[i].pos;
	int history = model_history_of(p->cluster_id, p->raft_term);

	t->seen_saved_rev = device.watches[i].entry.saved_rev;
	t->is_listing = false;
	t->was_known = false;
	t->is_begun = false;
	t->progress_rev = 0;
	if (!p->is_known || p->is_given) {
		if (t->durable_rev >= 0 && check.could_read && !sim_flash.was_damaged)
			verdict_fail("watch %d: the saved position %" PRId64 " is lost", i,
				t->durable_rev);
		return;
	}
	/* Without a term it goes on in the history that there is now, where it is the same one. */
	if (!p->raft_term && history >= 0 && t->done[history].rev < 0 &&
		model.histories[history].fork_rev >= p->rev) {
		judge_covered(t, t->durable_history, p->rev, "loaded position");
		t->done[history] =
			(struct cursor){.history = history, .rev = p->rev, .index = UINT16_MAX};
	}
	if (history < 0) {
		verdict_fail("watch %d: its position %" PRId64 " is of no history (cluster %" PRIu64
			     ", term %" PRIu64 ")",
			i, p->rev, p->cluster_id, p->raft_term);
		return;
	}
	if (t->durable_rev > p->rev && t->durable_history == history && !sim_flash.was_damaged)
		verdict_fail("watch %d: saved position %" PRId64 " was %" PRId64 " before", i,
			p->rev, t->durable_rev);
	t->is_begun = true;
	t->run = (struct cursor){.history = history, .rev = p->rev, .index = UINT16_MAX};
	judge_covered(t, history, p->rev, "loaded position");
	t->pos_rev = p->rev;
	t->was_known = true;
}

void check_forgotten(int i)
{
	check.watches[i].durable_rev = -1;
}

void check_started(void)
{
	sim_output.taken = on_taken;
	check.is_running = true;
	check.could_read = device.cfg.has_state && !sim_flash.open_code;
	for (int i = 0; i < device.cfg.watch_count; i++)
		check_added(i);
}

static bool is_there(int i)
{
	return !device.is_out[i];
}

void check_turned(void)
{
	for (int i = 0; i < device.cfg.watch_count; i++) {
		if (!is_there(i))
			continue;
		look_at_position(i);
		look_at_saved(i);
	}
}

/* A clean stop saves what was processed: all revisions but the last that was printed, which may not be complete. */
static void judge_stop(int i)
{
	struct tracked *t = &check.watches[i];
	const struct watch *w = &device.watches[i];
	struct cursor before = {
		.history = t->run.history, .rev = w->entry.saved_rev, .index = UINT16_MAX};
	const struct hist_event *e;

	if (!t->is_begun || t->is_listing || !w->pos.is_known || w->synced_rev)
		return;
	if (device.keepers[i].is_unsettled || device.followers[i].is_unsettled)
		return;
	if (w->entry.saved_rev < w->pos.rev && w->pos.dirt != POSITION_CLEAN) {
		verdict_fail("watch %d: a clean stop saved %" PRId64 ", not the position %" PRId64,
			i, w->entry.saved_rev, w->pos.rev);
		return;
	}
	/* Where much waited for the output, not each revision is known by itself; and others may have been slower. */
	if (w->entry.saved_rev < 0 || buf_len(&device.out.buf) || device.cfg.has_keeper ||
		device.cfg.has_follower)
		return;
	e = next_of(t, &before);
	if (e && e->rev < t->run.rev)
		verdict_fail("watch %d: a clean stop saved %" PRId64 ", and revision %" PRId64
			     " was printed",
			i, w->entry.saved_rev, t->run.rev);
}

void check_ended(bool is_clean, bool could_save)
{
	check.is_running = false;
	/* A power cut came within a turn. */
	for (int i = 0; i < device.cfg.watch_count; i++)
		if (is_there(i) && (is_clean || !check.watches[i].is_begun))
			look_at_position(i);
	for (int i = 0; is_clean && i < device.cfg.watch_count; i++)
		if (is_there(i))
			look_at_saved(i);
	for (int i = 0;
		is_clean && could_save && device.cfg.has_state && i < device.cfg.watch_count; i++)
		if (is_there(i) && !device.is_leaving[i])
			judge_stop(i);
}

bool check_is_caught_up(void)
{
	for (int i = 0; i < device.cfg.watch_count; i++) {
		const struct tracked *t = &check.watches[i];
		const struct hist_event *e = t->is_begun ? next_of(t, &t->run) : NULL;

		if (!is_there(i) || device.is_leaving[i])
			continue;
		if (!t->is_begun || t->is_listing || t->run.history != model.current || e)
			return false;
		if (device.watches[i].state != WATCH_LIVE)
			return false;
	}
	return device_is_caught_up();
}
