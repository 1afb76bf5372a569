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
	f->max_value_len = f->value_limit = max_value_len;
}

int feed_add_sink(struct feed *f, struct sink *sink)
{
	if (f->sink_count == CONFIG_SINK_COUNT)
		return ERR_LIMIT;
	f->sinks[f->sink_count++] = sink;
	return 0;
}

/* Of the sinks that take part; with none it stays. */
static void feed_find_closed(struct feed *f)
{
	int64_t rev = INT64_MAX;

	for (size_t i = 0; i < f->sink_count; i++) {
		const struct feed_cursor *c = &f->cursors[i];

		if (!c->is_behind && c->closed_rev < rev)
			rev = c->closed_rev;
	}
	if (rev != INT64_MAX)
		f->closed_rev = rev;
}

static void feed_commit_to(struct feed *f, size_t i, int64_t rev, bool is_mid_answer)
{
	struct feed_cursor *c = &f->cursors[i];

	if (c->is_behind || c->closed_rev >= rev)
		return;
	c->closed_rev = rev;
	f->sinks[i]->is_mid_answer = is_mid_answer;
	f->sinks[i]->ops->commit(f->sinks[i], rev);
}

static void feed_commit(struct feed *f, int64_t rev, bool is_mid_answer)
{
	for (size_t i = 0; i < f->sink_count; i++)
		feed_commit_to(f, i, rev, is_mid_answer);
	feed_find_closed(f);
}

void feed_set_closed(struct feed *f, int64_t rev)
{
	f->closed_rev = rev;
	for (size_t i = 0; i < f->sink_count; i++) {
		f->cursors[i].closed_rev = rev;
		f->sinks[i]->done_rev = rev;
	}
}

void feed_restart(struct feed *f)
{
	f->in_rev = 0;
	f->in_index = 0;
	f->is_in_event = false;
	f->asked_mask = f->blocked_mask = 0;
}

/* Leaves a sink behind, and with a keeper those that follow it. */
static void feed_leave(struct feed *f, size_t left)
{
	for (size_t i = 0; i < f->sink_count; i++) {
		struct feed_cursor *c = &f->cursors[i];
		bool is_following = f->sinks[left]->is_keeper && f->sinks[i]->is_follower;

		if (c->is_behind || (i != left && !is_following))
			continue;
		c->is_behind = true;
		c->is_free = i != left;
		log_debug("watch %s: %s is left behind at revision %" PRId64, f->name,
			f->sinks[i]->name, c->closed_rev);
	}
	feed_find_closed(f);
}

/*
 * What a sink has answered to the call at hand. Returns whether all must wait for it: in a listing for any,
 * else for one that is ready in a moment; another is left behind.
 */
static bool feed_must_wait(struct feed *f, size_t i, int answer)
{
	if (answer >= 0) {
		f->steps++;
		f->blocked_mask &= ~(1U << i);
		return false;
	}
	if (answer != ERR_AGAIN && !f->is_listing) {
		feed_leave(f, i);
		return false;
	}
	f->blocked_mask |= 1U << i;
	f->blocked_err = answer;
	return true;
}

/* Where the cursor stands, seen from the input's event: below 0 before it, 0 at it, above 0 past it. */
static int cursor_compare(const struct feed *f, const struct feed_cursor *c)
{
	if (!f->is_listing && f->in_rev <= c->closed_rev)
		return 1;
	if (c->rev != f->in_rev)
		return c->rev < f->in_rev ? -1 : 1;
	if (c->index != f->in_index)
		return c->index < f->in_index ? -1 : 1;
	return 0;
}

static void feed_note_skipped(struct feed *f, const struct etcd_event *e)
{
	size_t kept = e->is_key_long ? CONFIG_ETCD_KEY_BYTES : e->key_len;

	log_show(f->last_skipped, sizeof(f->last_skipped), e->key, kept);
}

void feed_note_unmappable(struct feed *f, const struct etcd_event *e)
{
	f->unmappable++;
	feed_note_skipped(f, e);
}

/* Whether the event at hand has been before, on an earlier stream: then it was counted and told. */
static bool feed_is_old(const struct feed *f)
{
	return !f->is_listing &&
	       (f->in_rev < f->event_rev ||
		       (f->in_rev == f->event_rev && f->in_index < f->event_index));
}

static void feed_note_place(struct feed *f)
{
	if (f->is_listing)
		return;
	f->event_rev = f->in_rev;
	f->event_index = f->in_index + 1;
}

/* Seldom: apart, so that each event does without its text. */
__attribute__((noinline)) static void skip_long(struct feed *f, const struct etcd_event *e)
{
	if (feed_is_old(f))
		return;
	f->too_long++;
	feed_note_skipped(f, e);
	feed_note_place(f); /* now, so that it is counted once, however often it begins */
	if (e->is_key_long)
		(void)log_printf_limited(&f->long_key, LOG_LEVEL_WARN,
			"watch %s: key '%s' at revision %" PRId64
			" has %zu bytes, more than %d: not delivered",
			f->name, f->last_skipped, e->mod_rev, e->key_len, CONFIG_ETCD_KEY_BYTES);
	else
		(void)log_printf_limited(&f->long_value, LOG_LEVEL_WARN,
			"watch %s: the value of key '%s' at revision %" PRId64 " has %" PRIu64
			" bytes, more than --max-value %" PRIu64 ": not delivered",
			f->name, f->last_skipped, e->mod_rev, e->value_len, f->value_limit);
}

__attribute__((noinline)) static void skip_unknown(struct feed *f, const struct etcd_event *e)
{
	if (feed_is_old(f))
		return;
	f->unknown++;
	if (e->key_len)
		feed_note_skipped(f, e);
	feed_note_place(f);
	(void)log_printf_limited(&f->unknown_type, LOG_LEVEL_WARN,
		"watch %s: an event of unknown type %" PRId32 " at revision %" PRId64
		": not delivered",
		f->name, e->type, e->mod_rev);
}

/* Another limit holds for events that no sink has a part of: one that has begun goes on as it began. */
static void feed_renew_limit(struct feed *f)
{
	for (size_t i = 0; i < f->sink_count; i++) {
		if (f->cursors[i].is_begun)
			return;
	}
	f->value_limit = f->max_value_len;
}

/* Places the event that begins, and decides whom it goes to. */
static int feed_place(struct feed *f, const struct etcd_event *e)
{
	bool is_again;

	if (!f->is_listing) {
		if (e->mod_rev <= 0)
			return ERR_REVISION;
		if (e->mod_rev > f->in_rev) {
			if (f->in_rev > f->closed_rev)
				feed_commit(f, f->in_rev, true);
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
	f->audience = FEED_NOBODY;
	if (is_again)
		return 0;
	feed_renew_limit(f);
	if (e->is_key_long || e->value_len > f->value_limit) {
		skip_long(f, e);
		if (!e->is_key_long && !f->is_listing)
			f->audience = FEED_KEEPERS;
	} else if (e->type != ETCD_EVENT_PUT && e->type != ETCD_EVENT_DELETE) {
		skip_unknown(f, e);
	} else {
		f->audience = FEED_ALL;
	}
	return 0;
}

static bool feed_hears(const struct feed *f, size_t i)
{
	return !f->cursors[i].is_behind &&
	       (f->audience == FEED_ALL || (f->audience == FEED_KEEPERS && f->sinks[i]->is_keeper));
}

/* What is told of an event that is too long: its key has nothing any more. */
static struct etcd_event removal_of(const struct etcd_event *e)
{
	struct etcd_event removal = {
		.type = ETCD_EVENT_DELETE,
		.key = e->key,
		.key_len = e->key_len,
		.mod_rev = e->mod_rev,
	};

	return removal;
}

/* Tells one sink of the event at hand. 0, ERR_AGAIN or ERR_HISTORY. */
static int feed_event_to(struct feed *f, size_t i, const struct etcd_event *e)
{
	struct feed_cursor *c = &f->cursors[i];
	int at, answer;

	if (!feed_hears(f, i))
		return 0;
	at = cursor_compare(f, c);
	if (at > 0 || (at == 0 && c->is_begun))
		return 0;
	/* The sink is inside an event that is not where it was. */
	if (at < 0 && c->is_begun)
		return ERR_HISTORY;
	answer = f->sinks[i]->ops->event(f->sinks[i], e);
	if (feed_must_wait(f, i, answer))
		return ERR_AGAIN;
	if (answer >= 0) {
		c->rev = f->in_rev;
		c->index = f->in_index;
		c->is_begun = true;
		c->taken[ETCD_VALUE] = c->taken[ETCD_VALUE_PREV] = 0;
	}
	return 0;
}

int feed_event(struct feed *f, const struct etcd_event *e)
{
	struct etcd_event removal;
	int err = f->is_in_event ? 0 : feed_place(f, e);

	f->event = e;
	if (err || f->audience == FEED_NOBODY)
		return err;
	if (f->audience == FEED_KEEPERS) {
		removal = removal_of(e);
		e = &removal;
	}
	/* Keepers first: they may have no room, and the others' lines are not begun then. Of the others the last
	 * one is asked first, and so none begins what one behind it is not ready for: the line of an event
	 * is not printed while the command of the one before still runs. */
	for (size_t i = 0; i < f->sink_count && !err; i++) {
		if (f->sinks[i]->is_keeper)
			err = feed_event_to(f, i, e);
	}
	for (size_t i = f->sink_count; i-- > 0 && !err;) {
		if (!f->sinks[i]->is_keeper)
			err = feed_event_to(f, i, e);
	}
	return err;
}

/* Offers the part of p[len], at offset of the value, that the sink has not taken. Returns how much of p it is done with. */
static size_t feed_value_to(struct feed *f, size_t i, enum etcd_value which, uint64_t offset,
	const uint8_t *p, size_t len)
{
	struct feed_cursor *c = &f->cursors[i];
	uint64_t has = c->taken[which];
	ssize_t n;

	if (c->is_behind || cursor_compare(f, c) > 0 || has >= offset + len)
		return len;
	n = f->sinks[i]->ops->value(
		f->sinks[i], f->event, which, p + (has - offset), len - (size_t)(has - offset));
	if (n > 0) {
		c->taken[which] += (uint64_t)n;
		f->steps++;
		if (c->taken[which] < offset + len)
			(void)feed_must_wait(f, i, ERR_AGAIN);
	} else if (!feed_must_wait(f, i, n ? (int)n : ERR_AGAIN)) {
		return len;
	}
	return (size_t)(c->taken[which] - offset);
}

ssize_t feed_value(struct feed *f, enum etcd_value which, const uint8_t *p, size_t len)
{
	size_t done = len;

	if (which == ETCD_VALUE_PREV)
		f->is_prev_skipped = f->event->prev_len > f->value_limit;
	if (f->audience != FEED_ALL || f->is_prev_skipped)
		return (ssize_t)len;
	f->blocked_mask = 0;
	for (size_t i = 0; i < f->sink_count; i++) {
		size_t n = feed_value_to(f, i, which, f->in_offset[which], p, len);

		if (n < done)
			done = n;
	}
	f->in_offset[which] += done;
	return (ssize_t)done;
}

/* The event at hand is delivered to a sink; counted with the first. */
static void feed_count(struct feed *f)
{
	if (f->is_listing || feed_is_old(f))
		return;
	if (f->audience == FEED_ALL)
		f->events++;
	feed_note_place(f);
}

static int feed_event_end_to_all(struct feed *f, const struct etcd_event *e)
{
	for (size_t i = 0; i < f->sink_count; i++) {
		struct feed_cursor *c = &f->cursors[i];
		int answer;

		if (!feed_hears(f, i) || cursor_compare(f, c) > 0)
			continue;
		answer = f->sinks[i]->ops->event_end(f->sinks[i], e);
		if (feed_must_wait(f, i, answer))
			return ERR_AGAIN;
		if (answer < 0)
			continue;
		feed_count(f);
		c->rev = f->in_rev;
		c->index = f->in_index + 1;
		c->is_begun = false;
		c->taken[ETCD_VALUE] = c->taken[ETCD_VALUE_PREV] = 0;
	}
	return 0;
}

int feed_event_end(struct feed *f, const struct etcd_event *e)
{
	struct etcd_event other;
	const struct etcd_event *told = e;
	int err = 0;

	if (f->audience == FEED_KEEPERS) {
		other = removal_of(e);
		told = &other;
	} else if (f->is_prev_skipped) {
		other = *e;
		other.has_prev = false;
		other.prev_len = 0;
		told = &other;
	}
	if (f->audience != FEED_NOBODY)
		err = feed_event_end_to_all(f, told);
	if (err)
		return err;
	f->is_in_event = false;
	/* An older one that came again has no place among those of this revision. */
	if (f->is_listing || e->mod_rev == f->in_rev)
		f->in_index++;
	return 0;
}

void feed_close(struct feed *f)
{
	if (f->events != f->batch_events)
		f->batches++;
	f->batch_events = f->events;
	if (f->in_rev > f->closed_rev)
		feed_commit(f, f->in_rev, false);
}

int feed_progress(struct feed *f, int64_t rev)
{
	/* A revision of which more may come is under way: then it cannot be true. */
	if (rev <= f->closed_rev || f->in_rev > f->closed_rev)
		return 0;
	/* Nor while a sink waits for the rest of an event: when that lies behind, it will not come. */
	for (size_t i = 0; i < f->sink_count; i++) {
		const struct feed_cursor *c = &f->cursors[i];

		if (c->is_begun && !c->is_behind)
			return c->rev <= rev ? ERR_HISTORY : 0;
	}
	for (size_t i = 0; i < f->sink_count; i++) {
		struct feed_cursor *c = &f->cursors[i];
		int answer;

		if (c->is_behind || c->closed_rev >= rev)
			continue;
		answer = f->sinks[i]->ops->progress(f->sinks[i], rev);
		if (answer == ERR_AGAIN) {
			(void)feed_must_wait(f, i, answer);
			return answer;
		}
		/* It is not worth a new stream for one that is at work. */
		if (answer < 0)
			continue;
		(void)feed_must_wait(f, i, answer);
		feed_commit_to(f, i, rev, false);
	}
	feed_find_closed(f);
	return 0;
}

/* Calls about a listing: each sink takes them once, in turn. */
#define FEED_ASK(f, call) \
	do { \
		for (size_t i = 0; i < (f)->sink_count; i++) { \
			struct sink *sink = (f)->sinks[i]; \
			if ((f)->asked_mask & (1U << i)) \
				continue; \
			if (feed_must_wait(f, i, (call))) \
				return ERR_AGAIN; \
			(f)->asked_mask |= 1U << i; \
		} \
		(f)->asked_mask = 0; \
	} while (0)

int feed_list_begin(struct feed *f, const struct sink_sync *sync)
{
	f->is_listing = true; /* nobody is left behind any more */
	for (size_t i = 0; i < f->sink_count; i++)
		f->cursors[i].is_behind = f->cursors[i].is_free = false;
	FEED_ASK(f, sink->ops->sync_begin(sink, sync));
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
	feed_commit(f, rev, false);
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

bool feed_is_ready(const struct feed *f)
{
	for (size_t i = 0; i < f->sink_count; i++) {
		if (f->sinks[i]->ops->is_ready && !f->sinks[i]->ops->is_ready(f->sinks[i]))
			return false;
	}
	return true;
}

/* -- sinks that are left behind --------------------------------------------------------------- */

void feed_note_wake(struct feed *f, const struct sink *s)
{
	for (size_t i = 0; i < f->sink_count; i++) {
		if (f->sinks[i] == s && f->cursors[i].is_behind)
			f->cursors[i].is_free = true;
	}
}

void feed_leave_blocked(struct feed *f)
{
	uint32_t blocked = f->blocked_mask;

	f->blocked_mask = 0;
	for (size_t i = 0; i < f->sink_count && !f->is_listing; i++) {
		if (blocked >> i & 1)
			feed_leave(f, i);
	}
}

/* A follower waits for its keeper, however free it is. */
static bool feed_is_kept(const struct feed *f, size_t follower)
{
	if (!f->sinks[follower]->is_follower)
		return false;
	for (size_t i = 0; i < f->sink_count; i++) {
		if (f->sinks[i]->is_keeper && f->cursors[i].is_behind && !f->cursors[i].is_free)
			return true;
	}
	return false;
}

bool feed_can_catch_up(const struct feed *f)
{
	for (size_t i = 0; i < f->sink_count; i++) {
		if (f->cursors[i].is_behind && f->cursors[i].is_free && !feed_is_kept(f, i))
			return true;
	}
	return false;
}

void feed_catch_up(struct feed *f)
{
	uint32_t free = 0;

	for (size_t i = 0; i < f->sink_count; i++) {
		if (f->cursors[i].is_behind && f->cursors[i].is_free && !feed_is_kept(f, i))
			free |= 1U << i;
	}
	for (size_t i = 0; i < f->sink_count; i++) {
		if (free >> i & 1)
			f->cursors[i].is_behind = f->cursors[i].is_free = false;
	}
	feed_restart(f);
	feed_find_closed(f);
}

bool feed_is_parked(const struct feed *f)
{
	for (size_t i = 0; i < f->sink_count; i++) {
		if (!f->cursors[i].is_behind)
			return false;
	}
	return f->sink_count > 0;
}

bool feed_has_others(const struct feed *f)
{
	size_t n = 0;

	for (size_t i = 0; i < f->sink_count; i++)
		n += !f->cursors[i].is_behind;
	return n > 1;
}

int64_t feed_done_rev(const struct feed *f)
{
	int64_t rev = INT64_MAX;

	for (size_t i = 0; i < f->sink_count; i++) {
		if (f->sinks[i]->done_rev < rev)
			rev = f->sinks[i]->done_rev;
	}
	return rev == INT64_MAX ? f->closed_rev : rev;
}

bool feed_is_mid_event(const struct feed *f)
{
	for (size_t i = 0; i < f->sink_count; i++) {
		if (f->cursors[i].is_begun && !f->cursors[i].is_behind)
			return true;
	}
	return false;
}

bool feed_is_waiting(const struct feed *f)
{
	for (size_t i = 0; i < f->sink_count; i++) {
		if (f->cursors[i].is_behind)
			return true;
	}
	return f->is_in_event || f->is_listing || f->in_rev > f->closed_rev ||
	       feed_is_mid_event(f) || feed_done_rev(f) < f->closed_rev;
}
