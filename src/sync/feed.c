/* SPDX-License-Identifier: Apache-2.0 */
#include "sync/feed.h"

#include <inttypes.h>
#include <string.h>

#include "base/err.h"
#include "base/log.h"

void feed_init(struct feed *f, const char *name, uint64_t max_value_len)
{
	memset(f, 0, sizeof(*f));
	f->name = name;
	f->max_value_len = max_value_len;
}

int feed_add_sink(struct feed *f, struct sink *sink)
{
	if (f->sink_count == CONFIG_SINK_COUNT)
		return ERR_LIMIT;
	f->sinks[f->sink_count++] = sink;
	return 0;
}

static void feed_commit(struct feed *f, int64_t rev)
{
	f->closed_rev = rev;
	for (size_t i = 0; i < f->sink_count; i++)
		f->sinks[i]->ops->commit(f->sinks[i], rev);
}

void feed_set_closed(struct feed *f, int64_t rev)
{
	f->closed_rev = rev;
	for (size_t i = 0; i < f->sink_count; i++)
		f->sinks[i]->done_rev = rev;
}

void feed_advance(struct feed *f, int64_t rev)
{
	if (rev > f->closed_rev)
		feed_set_closed(f, rev);
}

void feed_restart(struct feed *f)
{
	f->in_rev = 0;
	f->in_index = 0;
	f->is_in_event = false;
	f->asked_mask = 0;
}

/* Where the cursor stands, seen from the input's event: below 0 before it, 0 at it, above 0 past it. */
static int cursor_compare(const struct feed *f, const struct feed_cursor *c)
{
	if (c->rev != f->in_rev)
		return c->rev < f->in_rev ? -1 : 1;
	if (c->index != f->in_index)
		return c->index < f->in_index ? -1 : 1;
	return 0;
}

/* Seldom: apart, so that each event does without its text. */
__attribute__((noinline)) static void skip_long(struct feed *f, const struct etcd_event *e)
{
	char shown[LOG_SHOW_MAX];
	size_t kept = e->is_key_long ? CONFIG_ETCD_KEY_BYTES : e->key_len;

	f->too_long++;
	log_show(shown, sizeof(shown), e->key, kept);
	if (e->is_key_long)
		log_warn("watch %s: key '%s' at revision %" PRId64
			 " has %zu bytes, more than %d: not delivered",
			f->name, shown, e->mod_rev, e->key_len, CONFIG_ETCD_KEY_BYTES);
	else
		log_warn("watch %s: the value of key '%s' at revision %" PRId64 " has %" PRIu64
			 " bytes, more than --max-value %" PRIu64 ": not delivered",
			f->name, shown, e->mod_rev, e->value_len, f->max_value_len);
}

__attribute__((noinline)) static void skip_unknown(struct feed *f, const struct etcd_event *e)
{
	f->unknown++;
	log_warn("watch %s: an event of unknown type %" PRId32 " at revision %" PRId64
		 ": not delivered",
		f->name, e->type, e->mod_rev);
}

/* Places the event that begins, and decides whether it goes to the sinks at all. */
static int feed_place(struct feed *f, const struct etcd_event *e)
{
	bool is_again;

	if (!f->is_listing) {
		if (e->mod_rev <= 0)
			return ERR_REVISION;
		if (e->mod_rev > f->in_rev) {
			if (f->in_rev > f->closed_rev)
				feed_commit(f, f->in_rev);
			f->in_rev = e->mod_rev;
			f->in_index = 0;
		}
		/* etcd issues 15271 and 15272: members have sent events again. */
		is_again = e->mod_rev <= f->closed_rev || e->mod_rev < f->in_rev;
	} else {
		is_again = false;
	}
	f->is_in_event = true;
	f->in_offset[ETCD_VALUE] = f->in_offset[ETCD_VALUE_PREV] = 0;
	f->is_prev_skipped = false;
	f->is_skipped = true;
	if (is_again)
		return 0;
	if (e->is_key_long || e->value_len > f->max_value_len) {
		skip_long(f, e);
	} else if (e->type != ETCD_EVENT_PUT && e->type != ETCD_EVENT_DELETE) {
		skip_unknown(f, e);
	} else {
		f->is_skipped = false;
	}
	return 0;
}

int feed_event(struct feed *f, const struct etcd_event *e)
{
	int err = f->is_in_event ? 0 : feed_place(f, e);

	f->event = e;
	if (err || f->is_skipped)
		return err;
	/* The last sink is asked first, and so none begins what one behind it is not ready for: the
	 * line of an event is not printed while the command of the one before still runs. */
	for (size_t i = f->sink_count; i-- > 0;) {
		struct feed_cursor *c = &f->cursors[i];
		int at = cursor_compare(f, c);

		if (at > 0 || (at == 0 && c->is_begun))
			continue;
		/* The sink is inside an event that is not where it was. */
		if (at < 0 && c->is_begun)
			return ERR_HISTORY;
		err = f->sinks[i]->ops->event(f->sinks[i], e);
		if (err < 0)
			return ERR_AGAIN;
		*c = (struct feed_cursor){.rev = f->in_rev, .index = f->in_index, .is_begun = true};
	}
	return 0;
}

/* Offers the part of p[len], at offset of the value, that the sink has not taken. Returns how much of p it is done with. */
static size_t feed_value_to(struct feed *f, size_t i, enum etcd_value which, uint64_t offset,
	const uint8_t *p, size_t len)
{
	struct feed_cursor *c = &f->cursors[i];
	uint64_t has = c->taken[which];
	ssize_t n;

	if (cursor_compare(f, c) > 0 || has >= offset + len)
		return len;
	n = f->sinks[i]->ops->value(
		f->sinks[i], f->event, which, p + (has - offset), len - (size_t)(has - offset));
	if (n > 0)
		c->taken[which] += (uint64_t)n;
	return (size_t)(c->taken[which] - offset);
}

ssize_t feed_value(struct feed *f, enum etcd_value which, const uint8_t *p, size_t len)
{
	size_t done = len;

	if (which == ETCD_VALUE_PREV)
		f->is_prev_skipped = f->event->prev_len > f->max_value_len;
	if (f->is_skipped || f->is_prev_skipped)
		return (ssize_t)len;
	for (size_t i = 0; i < f->sink_count; i++) {
		size_t n = feed_value_to(f, i, which, f->in_offset[which], p, len);

		if (n < done)
			done = n;
	}
	f->in_offset[which] += done;
	return (ssize_t)done;
}

/* Counts the event at hand, unless it was counted on an earlier connection. */
static void feed_count(struct feed *f)
{
	if (f->in_rev == f->event_rev && f->in_index < f->event_index)
		return;
	f->events++;
	f->event_rev = f->in_rev;
	f->event_index = f->in_index + 1;
}

int feed_event_end(struct feed *f, const struct etcd_event *e)
{
	struct etcd_event without_prev;

	if (f->is_prev_skipped) {
		without_prev = *e;
		without_prev.has_prev = false;
		without_prev.prev_len = 0;
		e = &without_prev;
	}
	if (!f->is_skipped) {
		for (size_t i = 0; i < f->sink_count; i++) {
			struct feed_cursor *c = &f->cursors[i];

			if (cursor_compare(f, c) > 0)
				continue;
			if (f->sinks[i]->ops->event_end(f->sinks[i], e) < 0)
				return ERR_AGAIN;
			*c = (struct feed_cursor){.rev = f->in_rev, .index = f->in_index + 1};
		}
		if (!f->is_listing)
			feed_count(f);
	}
	f->is_in_event = false;
	/* An older one that came again has no place among those of this revision. */
	if (f->is_listing || e->mod_rev == f->in_rev)
		f->in_index++;
	return 0;
}

void feed_close(struct feed *f)
{
	if (f->in_rev > f->closed_rev)
		feed_commit(f, f->in_rev);
}

/* Calls that are about the stream: each sink takes them once, in turn. */
#define FEED_ASK(f, call) \
	do { \
		for (size_t i = 0; i < (f)->sink_count; i++) { \
			struct sink *sink = (f)->sinks[i]; \
			if ((f)->asked_mask & (1U << i)) \
				continue; \
			if ((call) < 0) \
				return ERR_AGAIN; \
			(f)->asked_mask |= 1U << i; \
		} \
		(f)->asked_mask = 0; \
	} while (0)

int feed_progress(struct feed *f, int64_t rev)
{
	/* A revision of which more may come is under way: then it cannot be true. */
	if (rev <= f->closed_rev || f->in_rev > f->closed_rev)
		return 0;
	FEED_ASK(f, sink->ops->progress(sink, rev));
	feed_commit(f, rev);
	return 0;
}

int feed_list_begin(struct feed *f, const struct sink_sync *sync)
{
	FEED_ASK(f, sink->ops->sync_begin(sink, sync));
	f->is_listing = true;
	f->is_in_event = false;
	f->in_rev = sync->revision;
	f->in_index = 0;
	f->event_rev = 0;
	for (size_t i = 0; i < f->sink_count; i++) {
		f->cursors[i] = (struct feed_cursor){.rev = sync->revision};
		f->sinks[i]->done_rev = 0;
	}
	return 0;
}

int feed_list_end(struct feed *f, int64_t rev)
{
	FEED_ASK(f, sink->ops->synced(sink, rev));
	f->is_listing = false;
	feed_restart(f);
	feed_commit(f, rev);
	return 0;
}

void feed_list_go_on(struct feed *f)
{
	f->is_in_event = false;
	f->asked_mask = 0;
}

void feed_list_abort(struct feed *f)
{
	f->is_listing = false;
	feed_restart(f);
}

int64_t feed_done_rev(const struct feed *f)
{
	int64_t rev = f->closed_rev;

	for (size_t i = 0; i < f->sink_count; i++) {
		if (f->sinks[i]->done_rev < rev)
			rev = f->sinks[i]->done_rev;
	}
	return rev;
}

bool feed_is_mid_event(const struct feed *f)
{
	for (size_t i = 0; i < f->sink_count; i++) {
		if (f->cursors[i].is_begun)
			return true;
	}
	return false;
}

bool feed_is_waiting(const struct feed *f)
{
	return f->is_in_event || f->is_listing || f->in_rev > f->closed_rev ||
	       feed_done_rev(f) < f->closed_rev;
}
