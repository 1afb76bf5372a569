/* SPDX-License-Identifier: Apache-2.0 */
#include "test/sim/model.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "test/sim/server.h"
#include "test/sim/verdict.h"

enum {
	OK = 0,
	INVALID_ARGUMENT = 3,
	PERMISSION_DENIED = 7,
	RESOURCE_EXHAUSTED = 8,
	OUT_OF_RANGE = 11,
	UNIMPLEMENTED = 12,
	UNAVAILABLE = 14,
	UNAUTHENTICATED = 16,
	TERM_STEP = 1000, /* between histories: a restored cluster's terms stay below */
	RETRY_US = 20000,
	REQUEST_US = 7000000, /* etcd's ReqTimeout */
};

struct watch {
	int64_t id;
	bool is_on;
	bool is_live; /* has caught up once */
	uint16_t from, to;
	int64_t next_rev;
	int64_t lost_delete; /* the revision whose delete an old server has lost; 0: none */
	bool want_progress, want_prev, want_fragment;
	bool had_events; /* since the last notification */
};

struct watch_stream {
	struct watch watches[MODEL_WATCHES];
	int64_t next_id;
};

struct model model;

static void pump_stream(struct server_call *c);

struct history *model_history(void)
{
	return &model.histories[model.current];
}

bool model_is_old(void)
{
	bool is_old = false;

	for (int i = 0; i < model.member_count; i++)
		is_old |= model.members[i].loses_delete;
	return is_old;
}

void model_set_version(int member, const char *version, bool loses_delete, bool has_dups)
{
	model.members[member].version = version;
	model.members[member].loses_delete = loses_delete;
	model.members[member].has_dups = has_dups;
}

static void pump_all(void *user, uint64_t id)
{
	(void)user;
	(void)id;
	for (struct server_call *c = server_next(NULL); c; c = server_next(c)) {
		if (c->user)
			pump_stream(c);
	}
}

static void pump_soon(void)
{
	sim_at(sim_between(0, model.watch_delay_us), pump_all, NULL, 0);
}

/* -- what happens to the cluster -------------------------------------------------------------- */

void model_commit(void)
{
	struct history *h = model_history();

	history_commit(h);
	for (int i = 0; i < model.member_count; i++) {
		if (!model.members[i].is_lagging)
			model.members[i].rev = h->rev;
	}
	pump_soon();
}

void model_put(uint16_t key, uint32_t value_len)
{
	history_put(model_history(), key, value_len, sim_random(1 << 30), 0);
	model_commit();
}

void model_compact(int64_t rev)
{
	/* A watch that keeps up has been given everything by then; one whose stream is full has not. */
	pump_all(NULL, 0);
	history_compact(model_history(), rev);
	pump_soon();
}

void model_lag(int member, bool on)
{
	model.members[member].is_lagging = on;
	if (!on)
		model.members[member].rev = model_history()->rev;
	pump_soon();
}

void model_partition(int member, bool on)
{
	model.members[member].is_partitioned = on;
	if (!on) {
		model_lag(member, false);
		return;
	}
	model.members[member].is_lagging = true;
	for (struct server_call *c = server_next(NULL); c; c = server_next(c)) {
		if (c->host == member && c->user && c->has_leader && sim_chance(700))
			server_finish(c, UNAVAILABLE, "etcdserver: no leader");
	}
}

void model_elect(void)
{
	struct history *h = model_history();

	if (h->term + 1 < h->term_first + TERM_STEP)
		h->term++;
}

void model_restore(int64_t rev, bool is_other)
{
	struct history *from = model_history(), *to = from + 1;

	if (model.current + 1 == MODEL_HISTORIES)
		return;
	history_fork(to, from, rev);
	to->cluster_id = from->cluster_id + is_other;
	to->term = to->term_first = from->term_first - TERM_STEP;
	model.current++;
	model.was_restored = true;
	model.was_replaced |= is_other;
	for (int i = 0; i < model.member_count; i++) {
		model.members[i].rev = rev;
		model.members[i].is_lagging = model.members[i].is_partitioned = false;
		model.members[i].stale_rev = 0;
	}
	sim_host_cut(-1, sim_chance(500) ? SIM_CUT_END : SIM_CUT_RESET);
}

int model_history_of(uint64_t cluster_id, uint64_t term)
{
	for (int i = model.current; i >= 0; i--) {
		const struct history *h = &model.histories[i];

		if ((!cluster_id || h->cluster_id == cluster_id) &&
			(!term || (term >= h->term_first && term < h->term_first + TERM_STEP)))
			return i;
	}
	return -1;
}

/* -- answers ---------------------------------------------------------------------------------- */

static void put_header(struct bytes *b, int host, int64_t rev)
{
	const struct model_member *m = &model.members[host];
	struct bytes h = {0};

	pb_put_uint(&h, 1, m->stray_id ? m->stray_id : model_history()->cluster_id);
	pb_put_uint(&h, 2, 100 + (uint64_t)host);
	pb_put_uint(&h, 3, (uint64_t)rev);
	pb_put_uint(&h, 4, model_history()->term);
	pb_put_bytes(b, 1, h.p, h.len);
	bytes_free(&h);
}

static void put_kv(struct bytes *b, unsigned field, const struct hist_event *e, bool is_keys_only)
{
	char name[HISTORY_NAME_MAX];
	struct bytes kv = {0}, value = {0};

	history_name(name, e->key);
	pb_put_bytes(&kv, 1, name, strlen(name));
	pb_put_uint(&kv, 2, (uint64_t)e->create_rev);
	pb_put_uint(&kv, 3, (uint64_t)e->rev);
	pb_put_uint(&kv, 4, (uint64_t)e->version);
	history_value(&value, e);
	if (value.len && !is_keys_only)
		pb_put_bytes(&kv, 5, value.p, value.len);
	pb_put_uint(&kv, 6, (uint64_t)e->lease);
	pb_put_bytes(b, field, kv.p, kv.len);
	bytes_free(&kv);
	bytes_free(&value);
}

static void reply(struct server_call *c, struct bytes *b)
{
	uint64_t serial = c->serial;

	server_send(c, b->p, b->len);
	bytes_free(b);
	c = server_find(serial);
	if (c)
		server_finish(c, OK, "");
}

static bool is_path(const struct server_call *c, const char *path)
{
	return strcmp(c->path, path) == 0;
}

/* Tokens are "t" and the millisecond until which they are good. */
static bool is_logged_in(const struct server_call *c)
{
	return !model.has_auth || (c->token[0] == 't' && atoll(c->token + 1) * 1000 > sim_now_us());
}

/* -- Range ------------------------------------------------------------------------------------ */

/* A unary call while it waits: its request, and when it came. */
struct pending {
	struct pending *next;
	uint64_t serial;
	int64_t since_us, rev; /* rev: what a linearizable answer must have seen */
	struct bytes request;
};

static struct pending *pendings;

struct range {
	uint16_t from, to;
	int64_t limit, rev;
	bool is_count_only, is_keys_only;
};

static bool read_range(struct range *r, const uint8_t *p, size_t len)
{
	const uint8_t *key = NULL, *end = NULL;
	size_t key_len = 0, end_len = 0, at = 0;
	struct pb_field f;

	*r = (struct range){0};
	while (pb_next(p, len, &at, &f)) {
		switch (f.number) {
		case 1:
			key = f.p;
			key_len = f.len;
			break;
		case 2:
			end = f.p;
			end_len = f.len;
			break;
		case 3:
			r->limit = (int64_t)f.value;
			break;
		case 4:
			r->rev = (int64_t)f.value;
			break;
		case 8:
			r->is_keys_only = f.value != 0;
			break;
		case 9:
			r->is_count_only = f.value != 0;
			break;
		default:
			break;
		}
	}
	if (!key)
		return false;
	r->from = history_key_from(key, key_len);
	r->to = r->from;
	if (end_len == 1 && end[0] == 0) {
		r->to = HISTORY_KEYS;
	} else if (end_len) {
		r->to = history_key_from(end, end_len);
	} else {
		char name[HISTORY_NAME_MAX];

		if (r->from < HISTORY_KEYS && strlen(history_name(name, r->from)) == key_len &&
			memcmp(name, key, key_len) == 0)
			r->to++;
	}
	return true;
}

static void answer_range(struct server_call *c, const struct pending *p)
{
	const struct history *h = model_history();
	const struct model_member *m = &model.members[c->host];
	struct bytes b = {0};
	struct range r;
	int64_t count = 0, now_rev = m->stale_rev ? m->stale_rev : m->rev, rev;
	bool has_more = false;

	if (!read_range(&r, p->request.p, p->request.len)) {
		server_finish(c, INVALID_ARGUMENT, "etcdserver: key is not provided");
		return;
	}
	rev = r.rev ? r.rev : now_rev;
	if (rev < h->compact_rev && !m->stale_rev) {
		server_finish(
			c, OUT_OF_RANGE, "etcdserver: mvcc: required revision has been compacted");
		return;
	}
	if (rev > now_rev) {
		server_finish(c, OUT_OF_RANGE,
			"etcdserver: mvcc: required revision is a future revision");
		return;
	}
	put_header(&b, c->host, now_rev);
	for (uint16_t key = r.from; key < r.to; key++) {
		const struct hist_event *e = history_at(h, key, rev);

		if (!e)
			continue;
		count++;
		if (r.is_count_only)
			continue;
		if (r.limit && count > r.limit)
			has_more = true;
		else
			put_kv(&b, 2, e, r.is_keys_only);
	}
	pb_put_uint(&b, 3, has_more);
	pb_put_uint(&b, 4, (uint64_t)count);
	reply(c, &b);
}

static void note_range(const struct server_call *c, const struct pending *p)
{
	struct range r;

	if (!read_range(&r, p->request.p, p->request.len))
		return;
	model.range_calls++;
	if (!r.is_count_only) {
		model.list_calls++;
		return;
	}
	model.probe_calls++;
	if (model.probe_conn == c->conn && sim_now_us() - model.last_probe_us > model.probe_gap_us)
		model.probe_gap_us = sim_now_us() - model.last_probe_us;
	model.probe_conn = c->conn;
	model.last_probe_us = sim_now_us();
}

/* -- Watch ------------------------------------------------------------------------------------ */

static void send_created(struct server_call *c, int64_t id)
{
	struct bytes b = {0};
	int64_t rev = model.members[c->host].rev;

	put_header(&b, c->host, rev);
	pb_put_uint(&b, 2, (uint64_t)id);
	pb_put_uint(&b, 3, 1);
	server_send(c, b.p, b.len);
	bytes_free(&b);
}

static void send_refused(struct server_call *c, const char *reason)
{
	struct bytes b = {0};

	put_header(&b, c->host, model.members[c->host].rev);
	pb_put_uint(&b, 2, UINT64_MAX); /* -1 */
	pb_put_uint(&b, 3, 1);
	pb_put_uint(&b, 4, 1);
	pb_put_bytes(&b, 6, reason, strlen(reason));
	server_send(c, b.p, b.len);
	bytes_free(&b);
}

static void send_compacted(struct server_call *c, struct watch *w)
{
	struct bytes b = {0};

	/* etcd sends its header without a revision here. */
	put_header(&b, c->host, 0);
	pb_put_uint(&b, 2, (uint64_t)w->id);
	pb_put_uint(&b, 4, 1);
	pb_put_uint(&b, 5, (uint64_t)model_history()->compact_rev);
	w->is_on = false;
	server_send(c, b.p, b.len);
	bytes_free(&b);
}

static void on_progress(void *user, uint64_t serial)
{
	struct server_call *c = server_find(serial);
	struct watch_stream *ws = c ? c->user : NULL;
	int64_t rev;

	(void)user;
	if (!ws)
		return;
	rev = model.members[c->host].rev;
	for (struct watch *w = ws->watches; w < ws->watches + MODEL_WATCHES; w++) {
		struct bytes b = {0};
		bool is_due = w->is_on && w->want_progress && w->is_live && !w->had_events &&
			      w->next_rev > rev && !server_backlog(c);

		w->had_events = false;
		if (!is_due)
			continue;
		put_header(&b, c->host, rev);
		pb_put_uint(&b, 2, (uint64_t)w->id);
		server_send(c, b.p, b.len);
		bytes_free(&b);
		if (!server_find(serial))
			return;
	}
	sim_at(model.progress_us + sim_between(0, model.progress_us / 10), on_progress, NULL,
		serial);
}

static void put_event(struct bytes *b, const struct watch *w, const struct hist_event *e)
{
	const struct history *h = model_history();
	struct bytes ev = {0};

	pb_put_uint(&ev, 1, e->is_delete);
	put_kv(&ev, 2, e, false);
	/* The pair before may be compacted away by now. */
	if (w->want_prev && e->prev && e->rev - 1 >= h->compact_rev)
		put_kv(&ev, 3, &h->events[e->prev - 1], false);
	pb_put_bytes(b, 11, ev.p, ev.len);
	bytes_free(&ev);
}

static bool is_event_lost(const struct watch *w, const struct hist_event *e)
{
	return e->is_delete && e->rev == w->lost_delete;
}

/* Sends the events of first_rev to last_rev, in fragments where they are too long. */
static void send_events(struct server_call *c, struct watch *w, int64_t first_rev, int64_t last_rev)
{
	uint64_t serial = c->serial;
	int64_t head_rev = model.members[c->host].rev;
	const struct hist_event *e =
		history_next(model_history(), first_rev - 1, UINT16_MAX, w->from, w->to);

	while (e && e->rev <= last_rev) {
		struct bytes events = {0}, b = {0};

		do {
			if (!is_event_lost(w, e))
				put_event(&events, w, e);
			e = history_next(model_history(), e->rev, e->index, w->from, w->to);
		} while (e && e->rev <= last_rev &&
			 !(w->want_fragment && events.len > model.fragment_len));
		if (events.len) {
			put_header(&b, c->host, head_rev);
			pb_put_uint(&b, 2, (uint64_t)w->id);
			pb_put_uint(&b, 7, e && e->rev <= last_rev);
			bytes_put(&b, events.p, events.len);
			server_send(c, b.p, b.len);
			bytes_free(&b);
		}
		bytes_free(&events);
		if (!server_find(serial))
			return;
	}
}

/* Sends one response of w, if there is one to be sent. */
static bool pump_watch(struct server_call *c, struct watch *w)
{
	const struct history *h = model_history();
	const struct model_member *m = &model.members[c->host];
	const struct hist_event *e;
	int64_t first = w->next_rev, last = 0;
	int revs = 0;

	if (!w->is_on || server_backlog(c) > model.backlog_max)
		return false;
	if (w->next_rev > m->rev) {
		w->is_live = true;
		return false;
	}
	if (w->next_rev < h->compact_rev) {
		send_compacted(c, w);
		return true;
	}
	/* What was sent before is sent again (etcd issues 15271 and 15272). */
	if (m->has_dups && sim_chance(100) && first > h->compact_rev + 2)
		first -= sim_between(1, 2);
	e = history_next(h, first - 1, UINT16_MAX, w->from, w->to);
	while (e && e->rev <= m->rev && (e->rev == last || revs < model.batch_revs)) {
		revs += e->rev != last;
		last = e->rev;
		e = history_next(h, e->rev, e->index, w->from, w->to);
	}
	if (e && e->rev <= m->rev) {
		w->next_rev = last + 1;
	} else {
		w->next_rev = m->rev + 1;
		w->is_live = true;
	}
	if (!last)
		return false;
	w->had_events = true;
	send_events(c, w, first, last);
	return true;
}

static void pump_stream(struct server_call *c)
{
	struct watch_stream *ws = c->user;
	uint64_t serial = c->serial;
	bool has_moved = true;

	while (has_moved) {
		has_moved = false;
		for (int i = 0; i < MODEL_WATCHES; i++) {
			has_moved = pump_watch(c, &ws->watches[i]) || has_moved;
			if (!server_find(serial))
				return;
		}
	}
}

static void pump_later(void *user, uint64_t serial)
{
	struct server_call *c = server_find(serial);

	(void)user;
	if (c && c->user)
		pump_stream(c);
}

static struct watch *free_watch(struct watch_stream *ws)
{
	for (struct watch *w = ws->watches; w < ws->watches + MODEL_WATCHES; w++) {
		if (!w->is_on)
			return w;
	}
	verdict_fail("more watches on a stream than the simulated server takes");
	return ws->watches;
}

static void watch_create(struct server_call *c, const uint8_t *p, size_t len)
{
	struct watch_stream *ws = c->user;
	const struct history *h = model_history();
	const struct model_member *m = &model.members[c->host];
	struct watch w = {.is_on = true, .id = ws->next_id}, *at;
	uint64_t serial = c->serial;
	size_t i = 0;
	struct pb_field f;
	struct range r;
	int64_t start = 0;

	while (pb_next(p, len, &i, &f)) {
		if (f.number == 3)
			start = (int64_t)f.value;
		w.want_progress |= f.number == 4 && f.value;
		w.want_prev |= f.number == 6 && f.value;
		w.want_fragment |= f.number == 8 && f.value;
	}
	/* Of the fields of a range, only key and end have the same numbers. */
	read_range(&r, p, len);
	w.from = r.from;
	w.to = r.to;
	w.next_rev = start ? start : m->rev + 1;
	model.watch_calls++;
	model.last_start_rev = start;
	if (!is_logged_in(c)) {
		send_refused(c,
			"rpc error: code = Unauthenticated desc = etcdserver: invalid auth token");
		return;
	}
	if (model.is_denied) {
		send_refused(c,
			"rpc error: code = PermissionDenied desc = etcdserver: permission denied");
		return;
	}
	if (sim_chance(model.cancel_chance)) {
		send_refused(c, "");
		return;
	}
	if (m->loses_delete && start && start == h->compact_rev)
		w.lost_delete = start;
	ws->next_id += !model.has_same_ids;
	at = free_watch(ws);
	*at = w;
	send_created(c, w.id);
	if (server_find(serial))
		sim_at(sim_between(0, model.watch_delay_us), pump_later, NULL, serial);
}

static void watch_message(struct server_call *c, const uint8_t *p, size_t len)
{
	struct watch_stream *ws;
	struct pb_field f;
	size_t at = 0;

	if (model.members[c->host].is_partitioned && c->has_leader) {
		server_finish(c, UNAVAILABLE, "etcdserver: no leader");
		return;
	}
	if (!c->user) {
		c->user = calloc(1, sizeof(*ws));
		if (!c->user)
			abort();
		if (model.progress_us)
			sim_at(sim_between(1, model.progress_us), on_progress, NULL, c->serial);
	}
	ws = c->user;
	while (pb_next(p, len, &at, &f)) {
		size_t i = 0;
		struct pb_field id = {0}; /* number 0 is not written */

		if (f.number == 1 && f.p)
			watch_create(c, f.p, f.len);
		if (f.number != 2 || !f.p)
			continue;
		(void)pb_next(f.p, f.len, &i, &id);
		for (struct watch *w = ws->watches; w < ws->watches + MODEL_WATCHES; w++) {
			struct bytes b = {0};

			if (!w->is_on || w->id != (int64_t)id.value)
				continue;
			w->is_on = false;
			put_header(&b, c->host, model.members[c->host].rev);
			pb_put_uint(&b, 2, (uint64_t)w->id);
			pb_put_uint(&b, 4, 1);
			server_send(c, b.p, b.len);
			bytes_free(&b);
			return;
		}
	}
}

/* -- unary calls ------------------------------------------------------------------------------ */

static void answer_status(struct server_call *c)
{
	const struct model_member *m = &model.members[c->host];
	struct bytes b = {0};

	put_header(&b, c->host, m->rev);
	pb_put_bytes(&b, 2, m->version, strlen(m->version));
	pb_put_uint(&b, 4, m->is_partitioned ? 0 : 100);
	pb_put_uint(&b, 6, model_history()->term);
	reply(c, &b);
}

static void answer_login(struct server_call *c)
{
	struct bytes b = {0};
	char token[32];

	model.login_calls++;
	if (!model.has_auth) {
		server_finish(c, 9, "etcdserver: authentication is not enabled");
		return;
	}
	snprintf(
		token, sizeof(token), "t%lld", (long long)((sim_now_us() + model.token_us) / 1000));
	put_header(&b, c->host, model.members[c->host].rev);
	pb_put_bytes(&b, 2, token, strlen(token));
	reply(c, &b);
}

static void pending_free(struct pending *p)
{
	struct pending **at = &pendings;

	while (*at != p)
		at = &(*at)->next;
	*at = p->next;
	bytes_free(&p->request);
	free(p);
}

static bool fail_somehow(struct server_call *c)
{
	static const struct {
		int code;
		const char *message;
	} fails[] = {{UNAVAILABLE, "etcdserver: leader changed"},
		{UNAVAILABLE, "etcdserver: request timed out"},
		{RESOURCE_EXHAUSTED, "etcdserver: too many requests"}, {2, "something%20else"},
		{14, ""}};
	uint32_t i = sim_random(sizeof(fails) / sizeof(fails[0]));

	if (!sim_chance(model.fail_chance))
		return false;
	server_finish(c, fails[i].code, fails[i].message);
	return true;
}

static void on_answer(void *user, uint64_t id)
{
	struct pending *p = user;
	struct server_call *c = server_find(p->serial);
	bool is_range = c && is_path(c, "/etcdserverpb.KV/Range");

	(void)id;
	if (c && is_range &&
		(model.members[c->host].is_partitioned || model.members[c->host].rev < p->rev) &&
		!model.members[c->host].stale_rev) {
		/* Linearizable: waits until the member has seen what the cluster had. */
		if (sim_now_us() - p->since_us < REQUEST_US) {
			sim_at(RETRY_US, on_answer, p, 0);
			return;
		}
		server_finish(c, UNAVAILABLE, "etcdserver: request timed out");
	} else if (c && !fail_somehow(c)) {
		if (is_path(c, "/etcdserverpb.Auth/Authenticate"))
			answer_login(c);
		else if (is_path(c, "/etcdserverpb.Maintenance/Status"))
			answer_status(c);
		else if (!is_range)
			server_finish(c, UNIMPLEMENTED, "unknown service");
		else if (!is_logged_in(c))
			server_finish(c, UNAUTHENTICATED, "etcdserver: invalid auth token");
		else if (model.is_denied)
			server_finish(c, PERMISSION_DENIED, "etcdserver: permission denied");
		else
			answer_range(c, p);
	}
	pending_free(p);
}

static void on_message(struct server_call *c, const uint8_t *p, size_t len)
{
	struct pending *wait;
	int64_t delay_us = sim_between(0, model.delay_us);

	if (is_path(c, "/etcdserverpb.Watch/Watch")) {
		watch_message(c, p, len);
		return;
	}
	if (sim_chance(model.drop_chance))
		return;
	if (sim_chance(model.slow_chance))
		delay_us = sim_between(0, 8 * SIM_S);
	wait = calloc(1, sizeof(*wait));
	if (!wait)
		abort();
	wait->next = pendings;
	pendings = wait;
	wait->serial = c->serial;
	wait->since_us = sim_now_us();
	wait->rev = model_history()->rev;
	bytes_put(&wait->request, p, len);
	if (is_path(c, "/etcdserverpb.KV/Range"))
		note_range(c, wait);
	sim_at(delay_us, on_answer, wait, 0);
}

static void on_ended(struct server_call *c)
{
	free(c->user);
	c->user = NULL;
}

static void on_drained(struct server_call *c)
{
	if (c->user)
		sim_at(0, pump_later, NULL, c->serial);
}

static void on_opened(uint32_t conn, int host)
{
	(void)conn;
	(void)host;
}

static const struct server_ops model_server_ops = {
	.opened = on_opened,
	.message = on_message,
	.ended = on_ended,
	.drained = on_drained,
};

void model_reset(int members, int64_t rev)
{
	model_free();
	server_reset(&model_server_ops);
	model = (struct model){.member_count = members,
		.batch_revs = 1000,
		.fragment_len = 2 << 20,
		.delay_us = 1000,
		.watch_delay_us = 1000,
		.backlog_max = 1 << 20,
		.token_us = 300 * SIM_S};
	history_init(&model.histories[0], 7777, 100 * TERM_STEP, rev);
	for (int i = 0; i < members; i++)
		model.members[i] = (struct model_member){.rev = rev, .version = "3.5.21"};
}

void model_free(void)
{
	while (pendings)
		pending_free(pendings);
	for (int i = 0; i < MODEL_HISTORIES; i++)
		history_free(&model.histories[i]);
}
