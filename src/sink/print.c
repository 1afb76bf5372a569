/* SPDX-License-Identifier: Apache-2.0 */
#include "sink/print.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "base/log.h"
#include "base/utf8.h"
#include "sink/print_line.h"

_Static_assert(PRINT_PREFIX_MAX + PRINT_FIXED_MAX <= CONFIG_PRINT_BUFFER_BYTES,
	"what begins a line must fit into the buffer");

enum {
	PRINT_WHY_PATH_MAX = 120, /* of a path in the reason of a trouble */
};

static struct print_sink *print_of(struct sink *s)
{
	return (struct print_sink *)s;
}

static int print_event(struct sink *sink, const struct etcd_event *e)
{
	struct print_sink *s = print_of(sink);
	bool is_json = print_is_json(s);
	bool is_delete = e->type == ETCD_EVENT_DELETE;
	enum json_text_kind form = is_json ? json_text_scan(e->key, e->key_len) : JSON_TEXT_PLAIN;
	size_t key_max = print_text_max(form, e->key_len);
	bool is_direct = key_max <= PRINT_DIRECT_LEN;
	uint8_t *at, *from;

	if (e->type != ETCD_EVENT_PUT && !is_delete)
		return ERR_BUG;
	if (e->key_len > PRINT_HOLD_LEN)
		return ERR_BUG;
	if (s->state != PRINT_IDLE || s->is_stopping)
		return ERR_AGAIN;
	at = from = print_out_room(
		&s->client, s->prefix_len + PRINT_FIXED_MAX / 2 + (is_direct ? key_max : 0));
	if (!at || !print_out_hold(&s->client))
		return ERR_AGAIN;
	if (is_json) {
		*at++ = '{';
		if (s->prefix_len)
			at = print_put(at, s->prefix, s->prefix_len);
		if (is_delete)
			at = PRINT_PUT(at, "\"type\":\"delete\"");
		else
			at = PRINT_PUT(at, "\"type\":\"put\"");
		if (form == JSON_TEXT_BINARY)
			at = PRINT_PUT(at, ",\"key_base64\":\"");
		else
			at = PRINT_PUT(at, ",\"key\":\"");
	} else if (!s->cfg.is_get) {
		at = is_delete ? PRINT_PUT(at, "DELETE\n") : PRINT_PUT(at, "PUT\n");
	}
	s->state = PRINT_VALUE;
	if (is_direct) {
		at = print_put_text(at, form, e->key, e->key_len);
		*at++ = is_json ? '"' : '\n';
	} else {
		s->state = PRINT_KEY;
		s->form = form;
		s->base64 = (struct base64){0};
		print_hold_add(s, e->key, e->key_len);
	}
	print_added(s, from, at);
	s->is_delete = is_delete;
	s->has_value = !is_delete && !s->cfg.path;
	s->is_listed = e->is_listed;
	s->create_rev = e->create_rev;
	s->mod_rev = e->mod_rev;
	s->version = e->version;
	s->value_len = e->value_len;
	s->value_got = 0;
	s->key_at = 0;
	return 0;
}

static ssize_t print_value(struct sink *sink, const struct etcd_event *e, enum etcd_value which,
	const uint8_t *p, size_t len)
{
	struct print_sink *s = print_of(sink);

	if (s->state == PRINT_IDLE)
		return ERR_BUG;
	if (s->is_stopping || !print_advance(s))
		return ERR_AGAIN;
	if (which == ETCD_VALUE && !s->has_value)
		return (ssize_t)len;
	if (which == ETCD_VALUE)
		return (ssize_t)(print_is_json(s) ? print_json_value(s, p, len)
						  : print_simple_value(s, p, len));
	return (ssize_t)(print_is_json(s) ? print_json_prev(s, e, p, len)
					  : print_simple_prev(s, p, len));
}

static int print_event_end(struct sink *sink, const struct etcd_event *e)
{
	struct print_sink *s = print_of(sink);

	if (s->state == PRINT_IDLE)
		return ERR_BUG;
	if (s->is_stopping || !print_advance(s))
		return ERR_AGAIN;
	return print_is_json(s) ? print_json_end(s, e) : print_simple_end(s, e);
}

/* -- lines about the stream ------------------------------------------------------------------- */

/* The line of type, with ,"reason":... where there is one, and a revision. */
static int print_stream_line(
	struct print_sink *s, const char *type, const struct sink_sync *sync, int64_t revision)
{
	char line[PRINT_PREFIX_MAX + PRINT_FIXED_MAX];
	struct json j;
	ssize_t len;
	uint8_t *at;

	json_begin(&j, line, sizeof(line));
	json_object_begin(&j);
	if (s->cfg.watch_name)
		json_member_string(&j, "watch", s->cfg.watch_name);
	json_member_string(&j, "type", type);
	if (sync)
		json_member_string(&j, "reason", sync_reason_name(sync->reason));
	json_member_int(&j, "revision", revision);
	if (sync && sync->reason == SYNC_COMPACTED)
		json_member_int(&j, "compact_revision", sync->compact_revision);
	json_object_end(&j);
	json_newline(&j);
	len = json_end(&j);
	if (len < 0)
		return ERR_BUG;
	at = print_out_room(&s->client, (size_t)len);
	if (!at || !print_out_hold(&s->client))
		return ERR_AGAIN;
	memcpy(at, line, (size_t)len);
	print_out_added(&s->client, (size_t)len);
	print_out_release(&s->client);
	return 0;
}

/* "watch NAME" or "watch", for a log line. */
static const char *print_log_name(const struct print_sink *s)
{
	return s->cfg.watch_name ? s->cfg.watch_name : "watch";
}

static int print_sync_begin(struct sink *sink, const struct sink_sync *sync)
{
	struct print_sink *s = print_of(sink);
	int err = 0;

	if (s->is_stopping || !print_close_torn(s))
		return ERR_AGAIN;
	if (s->cfg.is_get)
		return 0;
	if (print_is_json(s))
		err = print_stream_line(s, "sync", sync, sync->revision);
	else if (sync->reason == SYNC_COMPACTED)
		log_info("%s: a full listing begins as of revision %" PRId64
			 " (compacted up to %" PRId64 ")",
			print_log_name(s), sync->revision, sync->compact_revision);
	else
		log_info("%s: a full listing begins as of revision %" PRId64 " (%s)",
			print_log_name(s), sync->revision, sync_reason_name(sync->reason));
	if (!err)
		print_out_forget(&s->client);
	return err;
}

static int print_synced(struct sink *sink, int64_t revision)
{
	struct print_sink *s = print_of(sink);

	if (s->is_stopping)
		return ERR_AGAIN;
	if (s->cfg.is_get)
		return 0;
	if (print_is_json(s))
		return print_stream_line(s, "synced", NULL, revision);
	log_info(
		"%s: the listing is complete as of revision %" PRId64, print_log_name(s), revision);
	return 0;
}

static int print_progress(struct sink *sink, int64_t revision)
{
	struct print_sink *s = print_of(sink);
	uint8_t *at, *from;

	if (s->is_stopping)
		return ERR_AGAIN;
	if (!s->cfg.want_progress)
		return 0;
	if (print_is_json(s))
		return print_stream_line(s, "progress", NULL, revision);
	at = from = print_out_room(&s->client, PRINT_FIXED_MAX);
	if (!at || !print_out_hold(&s->client))
		return ERR_AGAIN;
	at = PRINT_PUT(at, "progress notify: ");
	at = print_put_int(at, revision);
	at = PRINT_PUT(at, "\n");
	print_added(s, from, at);
	print_out_release(&s->client);
	return 0;
}

/* -- the rest of the sink --------------------------------------------------------------------- */

/* The owner may know of more than was printed here: never back. */
static void print_raise_done(struct print_sink *s)
{
	if (s->client.done_rev > s->sink.done_rev)
		s->sink.done_rev = s->client.done_rev;
}

static void print_commit(struct sink *sink, int64_t revision)
{
	struct print_sink *s = print_of(sink);

	print_out_commit(&s->client, revision);
	print_raise_done(s);
}

/* At a stop: whether all is written, or the time for it is over. */
static void print_look_stopped(struct print_sink *s, bool is_late)
{
	struct print_out *o = s->client.out;

	if (!s->is_stopping || s->sink.is_stopped)
		return;
	if (!is_late && !o->is_failed && buf_len(&o->buf))
		return;
	loop_timer_clear(o->loop, &s->stop_timer);
	s->sink.is_stopped = true;
}

static void print_wake(struct print_client *client)
{
	struct print_sink *s =
		(struct print_sink *)((char *)client - offsetof(struct print_sink, client));

	print_raise_done(s);
	print_look_stopped(s, false);
	/* Nothing moves at the end: ask again when the output takes more. */
	if (s->is_stopping && !s->sink.is_stopped)
		client->want_room = true;
	s->sink.wake(&s->sink);
}

static void print_fail(struct print_client *client, int err)
{
	struct print_sink *s =
		(struct print_sink *)((char *)client - offsetof(struct print_sink, client));

	s->sink.errors++;
	s->sink.why_ms = s->client.out->loop->now_ms;
	s->sink.is_failing = true;
	(void)snprintf(s->sink.why, sizeof(s->sink.why), "print %.*s: %s", PRINT_WHY_PATH_MAX,
		s->client.out->path ? s->client.out->path : "", err_text(err));
	s->sink.fail(&s->sink, err);
}

static void print_over(struct print_client *client)
{
	struct print_sink *s =
		(struct print_sink *)((char *)client - offsetof(struct print_sink, client));

	s->sink.is_failing = false;
}

static void print_on_stop_timer(struct loop_timer *timer)
{
	struct print_sink *s = timer->user;

	print_look_stopped(s, true);
	s->sink.wake(&s->sink);
}

static void print_stop(struct sink *sink, int64_t timeout_ms)
{
	struct print_sink *s = print_of(sink);

	s->is_stopping = true;
	(void)print_out_flush(s->client.out);
	print_raise_done(s);
	print_look_stopped(s, timeout_ms <= 0);
	/* Also when it has stopped: the owner is told from the loop. */
	loop_timer_set(s->client.out->loop, &s->stop_timer, sink->is_stopped ? 0 : timeout_ms);
	s->client.want_room = true;
}

static void print_now(const struct sink *sink, char *dst, size_t cap)
{
	const struct print_out *o = ((const struct print_sink *)sink)->client.out;

	if (sink->is_failing)
		(void)snprintf(dst, cap, "not written, tried again");
	else if (o && print_out_is_unread(o))
		(void)snprintf(dst, cap, "no reader at %.*s", PRINT_WHY_PATH_MAX, o->path);
}

static void print_retry(struct sink *sink)
{
	print_out_retry(print_of(sink)->client.out);
}

static const struct sink_ops print_ops = {
	.sync_begin = print_sync_begin,
	.event = print_event,
	.value = print_value,
	.event_end = print_event_end,
	.synced = print_synced,
	.progress = print_progress,
	.commit = print_commit,
	.stop = print_stop,
	.now = print_now,
	.retry = print_retry,
};

int print_init(struct print_sink *s, const struct print_cfg *cfg)
{
	struct json j;
	ssize_t len;

	*s = (struct print_sink){.cfg = *cfg};
	s->sink.ops = &print_ops;
	s->sink.name = "print";
	s->client.wake = print_wake;
	s->client.fail = print_fail;
	s->client.over = print_over;
	s->stop_timer = (struct loop_timer){.fn = print_on_stop_timer, .user = s};
	json_begin(&j, s->prefix, sizeof(s->prefix));
	if (cfg->watch_name) {
		if (!utf8_is_valid((const uint8_t *)cfg->watch_name, strlen(cfg->watch_name)))
			return ERR_RANGE;
		json_member_string(&j, "watch", cfg->watch_name);
		json_raw(&j, "", 0);
	}
	len = json_end(&j);
	if (len < 0)
		return ERR_LIMIT;
	s->prefix_len = (size_t)len;
	cfg->out->is_json = cfg->format == PRINT_JSON;
	print_out_add(cfg->out, &s->client);
	return 0;
}

void print_drop(struct print_sink *s)
{
	if (s->state != PRINT_IDLE)
		print_line_ended(s);
	print_out_drop(&s->client);
}

void print_free(struct print_sink *s)
{
	if (!s->client.out)
		return;
	loop_timer_clear(s->client.out->loop, &s->stop_timer);
	/* What is printed next must not stand behind a line that has begun. */
	(void)print_close_torn(s);
	print_out_remove(&s->client);
}
