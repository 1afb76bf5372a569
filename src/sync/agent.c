/* SPDX-License-Identifier: Apache-2.0 */
#include "sync/agent.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "base/kconfig.h"
#include "base/log.h"

enum {
	AGENT_RELOGIN_MAX = 3, /* in a row, on one connection */
	AGENT_IDLE_SLACK_MS = 500, /* the idle rule may wait for another wake-up */
	AGENT_ONCE_MS = 50, /* how often --once looks whether it is done */
};

static struct agent *agent_of(struct etcd_session *s)
{
	return s->user;
}

uint32_t agent_random(struct agent *a)
{
	uint32_t r;

	if (port_random(&r, sizeof(r)) == 0)
		return r;
	/* xorshift32: only jitter hangs on it, while the system has no random numbers yet. */
	a->random ^= a->random << 13;
	a->random ^= a->random >> 17;
	a->random ^= a->random << 5;
	return a->random;
}

bool agent_has_user(const struct agent *a)
{
	return a->cfg.session.user != NULL;
}

const char *agent_url(struct agent *a)
{
	snprintf(a->url, sizeof(a->url), "%s%s",
		a->session.endpoint.is_tls ? "https://" : "http://", a->session.authority);
	return a->url;
}

bool agent_has_id(const struct agent *a, int64_t id)
{
	for (const struct watch *w = a->watches; w; w = w->next) {
		if (w->state == WATCH_LIVE && w->id == id)
			return true;
	}
	return false;
}

void agent_proved(struct agent *a)
{
	char text[AGENT_URL_MAX + 16];

	if (!a->trouble.is_on)
		return;
	snprintf(text, sizeof(text), "%s: connected", agent_url(a));
	trouble_end(&a->trouble, a->loop->now_ms, text);
}

void agent_wake(struct agent *a)
{
	if (!a->is_stopping)
		loop_task_post(a->loop, &a->pump);
}

bool agent_has_list_due(const struct agent *a)
{
	for (const struct watch *w = a->watches; w; w = w->next) {
		if ((w->state == WATCH_LIST || (w->state == WATCH_OFF && w->is_list_due)) &&
			(a->listing == w || feed_is_ready(&w->feed)))
			return true;
	}
	return false;
}

/* -- probes ----------------------------------------------------------------------------------- */

static void agent_arm_idle(struct agent *a)
{
	int64_t due_ms = INT64_MAX;

	for (struct watch *w = a->watches; w; w = w->next) {
		int64_t ms = w->state == WATCH_LIVE ? position_idle_due_ms(&w->pos) : INT64_MAX;

		if (ms < due_ms)
			due_ms = ms;
	}
	if (due_ms == INT64_MAX)
		loop_timer_clear(a->loop, &a->idle_timer);
	else
		loop_timer_set_at(a->loop, &a->idle_timer, due_ms);
}

static void agent_run_idle(struct agent *a)
{
	for (struct watch *w = a->watches; w; w = w->next)
		watch_idle(w);
	agent_arm_idle(a);
}

static void on_idle_timer(struct loop_timer *timer)
{
	agent_run_idle(timer->user);
}

/* Whose key is asked for: any watch's will do, but for those that may not read theirs. */
static struct watch *agent_pick_probe(struct agent *a)
{
	for (struct watch *w = a->watches; w; w = w->next) {
		if (!w->is_denied && w->state != WATCH_GONE)
			return w;
	}
	return NULL;
}

static void agent_pump_probe(struct agent *a)
{
	struct watch *w = agent_pick_probe(a);
	int err;

	if (!a->is_probe_due || !w || etcd_probe_is_running(&a->probe))
		return;
	/* Where the server allows one stream only, the keepalive PING stands in for the probe. */
	if (grpc_channel_max_calls(&a->session.channel) < 2 && etcd_reader_is_running(&a->stream)) {
		a->is_probe_due = false;
		return;
	}
	err = etcd_probe_start(&a->probe, &a->session, &w->range);
	if (err == ERR_AGAIN) {
		if (!a->call_timer.is_set)
			loop_timer_set(
				a->loop, &a->call_timer, 2 * a->cfg.session.command_timeout_ms);
		return;
	}
	loop_timer_clear(a->loop, &a->call_timer);
	a->is_probe_due = false;
	if (err) {
		agent_drop(a, err, "probe: %s", err_text(err));
		return;
	}
	a->probing = w;
	a->probe_asked_ms = a->loop->now_ms;
	for (w = a->watches; w; w = w->next)
		watch_note_asked(w);
}

static void agent_probe_answered(struct agent *a, const struct etcd_header *header)
{
	bool fits = true;

	a->probed.rev = header->revision;
	a->probed.at_ms = a->loop->now_ms;
	a->probed.asked_ms = a->probe_asked_ms;
	a->relogins = 0;
	if (!a->once_rev)
		a->once_rev = header->revision;
	for (struct watch *w = a->watches; w; w = w->next)
		fits = watch_probed(w, header) && fits;
	if (!fits)
		return;
	agent_run_idle(a);
	agent_wake(a);
}

/* Whether no watch waits for the proof that a probe gives. */
static bool agent_is_checked(const struct agent *a)
{
	for (const struct watch *w = a->watches; w; w = w->next) {
		if (!w->is_checked && w->state != WATCH_GONE)
			return false;
	}
	return true;
}

static void on_probe_done(
	struct etcd_probe *p, const struct grpc_status *st, const struct etcd_header *header)
{
	struct agent *a = p->user;
	char shown[LOG_SHOW_MAX + 32];

	if (!a->session.channel.is_open || a->is_stopping)
		return;
	etcd_status_show(shown, sizeof(shown), st);
	switch (etcd_status_verdict(st, agent_has_user(a))) {
	case ETCD_VERDICT_OK:
		agent_proved(a);
		agent_probe_answered(a, header);
		break;
	case ETCD_VERDICT_SLOWER:
		/* An answer too, of a server that has too much to do: less often, then. */
		log_debug("%s: probe: %s", agent_url(a), shown);
		if (!agent_is_checked(a))
			loop_timer_set(a->loop, &a->probe_timer,
				1 + backoff_next_ms(&a->backoff, agent_random(a)));
		break;
	case ETCD_VERDICT_LOGIN:
		a->is_probe_due = true;
		agent_relogin(a, false, shown);
		break;
	case ETCD_VERDICT_DENIED:
		/* It is an answer, so the connection lives; the next watch's key may be readable. */
		agent_proved(a);
		if (a->probing)
			watch_denied(a->probing, shown);
		a->is_probe_due = agent_pick_probe(a) != NULL;
		agent_wake(a);
		break;
	default:
		agent_drop(a, st->code == GRPC_DEADLINE_EXCEEDED ? ERR_TIMEOUT : ERR_STATUS,
			"probe: %s", shown);
		break;
	}
}

/* A message that began and does not go on, although nobody here holds it up. */
static bool is_stuck(const struct agent *a, const struct etcd_reader *r, bool is_answer_due)
{
	return etcd_reader_is_running(r) && (r->is_in_message || is_answer_due) && !r->is_blocked &&
	       a->loop->now_ms - r->last_data_ms > a->cfg.session.command_timeout_ms;
}

/* A server that lets no stream be opened. */
static void on_call_timer(struct loop_timer *timer)
{
	struct agent *a = timer->user;

	if (a->is_probe_due && agent_pick_probe(a) && !etcd_reader_is_running(&a->lister.reader))
		agent_drop(a, ERR_TIMEOUT, "the server takes no calls (MAX_CONCURRENT_STREAMS)");
}

static void on_probe_timer(struct loop_timer *timer)
{
	struct agent *a = timer->user;

	loop_timer_set(a->loop, timer, a->cfg.probe_interval_ms);
	if (is_stuck(a, &a->stream, a->is_orphan_due) || is_stuck(a, &a->lister.reader, true)) {
		agent_drop(a, ERR_TIMEOUT, "an answer stopped in its middle");
		return;
	}
	for (struct watch *w = a->watches; w; w = w->next) {
		if (w->state == WATCH_LIVE)
			w->is_denied = false;
	}
	a->is_probe_due = true;
	agent_wake(a);
}

/* -- the connection --------------------------------------------------------------------------- */

/* Once for each proxy that comes into use. */
static void agent_tell_proxy(struct agent *a)
{
	const struct proxy *proxy = etcd_session_proxy(&a->session);
	char text[PROXY_TEXT_MAX];

	if (proxy && proxy != a->proxy && IS_ENABLED(CONFIG_NET_PROXY)) {
		a->proxy = proxy;
		log_info("%s: through proxy %s", agent_url(a), proxy_format(text, proxy));
	}
}

static void agent_connect(struct agent *a)
{
	const struct etcd_endpoint *e = &a->cfg.endpoints[a->endpoint_next % a->cfg.endpoint_count];

	a->endpoint_next++;
	a->conn_count++;
	a->had_event = a->is_ready_again = false;
	a->relogins = 0;
	etcd_session_open(&a->session, e);
	agent_tell_proxy(a);
}

static void on_connect_timer(struct loop_timer *timer)
{
	agent_connect(timer->user);
}

static void on_session_ready(struct etcd_session *s)
{
	struct agent *a = agent_of(s);

	if (!a->is_ready_again) {
		a->is_ready_again = true;
		log_debug("%s: ready", agent_url(a));
		for (struct watch *w = a->watches; w; w = w->next)
			watch_connected(w);
		a->is_probe_due = true;
		loop_timer_set(a->loop, &a->probe_timer, a->cfg.probe_interval_ms);
	}
	/* Also after a login in between: what was asked for before it may not have been answered. */
	if (!agent_is_checked(a))
		a->is_probe_due = true;
	agent_wake(a);
}

static void on_session_version(struct etcd_session *s)
{
	struct agent *a = agent_of(s);
	char shown[LOG_SHOW_MAX];

	log_show(shown, sizeof(shown), s->status.version_text, strlen(s->status.version_text));
	if (!a->had_connection)
		log_info("%s: connected, etcd %s", agent_url(a),
			*shown ? shown : "of a version it does not tell");
	a->had_connection = true;
	agent_wake(a);
}

/* Everything that lived on the connection is gone. */
static void agent_disconnected(struct agent *a)
{
	lister_stop(&a->lister);
	a->listing = a->creating = a->current = a->probing = NULL;
	a->is_held = a->is_listed = a->is_stream_stale = a->is_probe_due = a->is_orphan_due = false;
	a->orphan_id = -1;
	etcd_reader_close(&a->stream);
	etcd_probe_cancel(&a->probe);
	loop_timer_clear(a->loop, &a->probe_timer);
	loop_timer_clear(a->loop, &a->call_timer);
	loop_timer_clear(a->loop, &a->idle_timer);
	loop_timer_clear(a->loop, &a->hold_timer);
	loop_task_cancel(a->loop, &a->pump);
	for (struct watch *w = a->watches; w; w = w->next)
		watch_disconnected(w);
}

static void on_session_down(struct etcd_session *s, int err, const char *why)
{
	struct agent *a = agent_of(s);
	int64_t delay_ms;
	char then[AGENT_URL_MAX + 64];
	char url[AGENT_URL_MAX];
	const struct etcd_endpoint *next =
		&a->cfg.endpoints[a->endpoint_next % a->cfg.endpoint_count];

	if (a->is_ready_again) {
		a->reconnects++;
		if (a->had_event || a->loop->now_ms - s->ready_since_ms > a->cfg.backoff_max_ms)
			backoff_start_over(&a->backoff);
	}
	agent_disconnected(a);
	delay_ms = backoff_next_ms(&a->backoff, agent_random(a));
	/* What only a person can mend is not worth the load of a quick retry (a login costs etcd a
	 * bcrypt), once every endpoint has had its try. */
	if (err_class_of(err) == ERR_CLASS_CONFIG && a->backoff.tries > a->backoff.round_len)
		delay_ms = backoff_slow_ms(&a->backoff, agent_random(a));
	snprintf(url, sizeof(url), "%s", agent_url(a));
	snprintf(then, sizeof(then), "trying %s%.256s in %" PRId64 ".%03" PRId64 " s",
		a->cfg.endpoint_count > 1 ? "the next, " : "again",
		a->cfg.endpoint_count > 1 ? next->host : "", delay_ms / 1000, delay_ms % 1000);
	trouble_meet(&a->trouble, a->loop->now_ms, url, why, then);
	loop_timer_set(a->loop, &a->connect_timer, delay_ms);
}

static void on_session_going_away(struct etcd_session *s, const char *why)
{
	etcd_session_fail(s, ERR_GOAWAY, "%s", why);
}

static void on_session_writable(struct etcd_session *s)
{
	agent_wake(agent_of(s));
}

static const struct etcd_session_ops agent_session_ops = {
	.ready = on_session_ready,
	.version = on_session_version,
	.down = on_session_down,
	.going_away = on_session_going_away,
	.writable = on_session_writable,
};

void agent_relogin(struct agent *a, bool is_stream, const char *why)
{
	if (++a->relogins > AGENT_RELOGIN_MAX) {
		agent_drop(a, ERR_AUTH, "%s, although logged in anew", why);
		return;
	}
	log_debug("%s: %s: logging in again", agent_url(a), why);
	a->is_stream_stale = a->is_stream_stale || is_stream;
	etcd_session_relogin(&a->session);
	agent_wake(a);
}

/* -- whose turn it is ------------------------------------------------------------------------- */

static void on_pump(struct loop_task *task)
{
	struct agent *a = task->user;

	if (a->is_stopping || a->session.fail_err)
		return;
	if (a->is_stream_stale)
		agent_close_stream(a);
	if (a->is_listed)
		agent_pump_listed(a);
	/* What was held up for a watch that left the stream is passed over. */
	if (a->stream.is_blocked && !a->current && !a->is_held)
		agent_resume_stream(a);
	if (a->orphan_id >= 0 && etcd_reader_cancel(&a->stream, a->orphan_id) != ERR_AGAIN)
		a->orphan_id = -1;
	if (a->session.state != ETCD_SESSION_READY)
		return;
	agent_pump_probe(a);
	for (struct watch *w = a->watches; w; w = w->next) {
		int err = watch_pump(w);

		if (err && err != ERR_AGAIN) {
			agent_drop(a, err, "watch %s: %s", w->name, err_text(err));
			return;
		}
	}
	agent_arm_idle(a);
	agent_arm_hold(a);
}

/* -- sinks, and the end ----------------------------------------------------------------------- */

static void agent_finish(struct agent *a)
{
	if (a->is_finished)
		return;
	a->is_finished = true;
	loop_timer_clear(a->loop, &a->stop_timer);
	for (struct watch *w = a->watches; w; w = w->next)
		watch_update(w);
	keeper_close(&a->keeper);
	if (a->stopped)
		a->stopped(a, a->stop_err);
}

void agent_check_stopped(struct agent *a)
{
	for (const struct watch *w = a->watches; w; w = w->next) {
		if (!watch_has_ended(w))
			return;
	}
	agent_finish(a);
}

static void on_stop_timer(struct loop_timer *timer)
{
	agent_finish(timer->user);
}

void agent_stop(struct agent *a, int64_t timeout_ms)
{
	if (a->is_stopping)
		return;
	a->is_stopping = true;
	loop_timer_clear(a->loop, &a->connect_timer);
	etcd_session_close(&a->session);
	agent_disconnected(a);
	loop_timer_clear(a->loop, &a->once_timer);
	for (struct watch *w = a->watches; w; w = w->next) {
		loop_timer_clear(a->loop, &w->timer);
		loop_timer_clear(a->loop, &w->leave_timer);
		if (w->state != WATCH_GONE)
			watch_stop_sinks(w, timeout_ms);
	}
	loop_timer_set(a->loop, &a->stop_timer, timeout_ms);
	agent_check_stopped(a);
}

void agent_retry(struct agent *a)
{
	if (a->is_stopping)
		return;
	if (a->connect_timer.is_set)
		loop_timer_set(a->loop, &a->connect_timer, 0);
	for (struct watch *w = a->watches; w; w = w->next)
		watch_retry(w);
	keeper_retry(&a->keeper);
	if (a->session.state == ETCD_SESSION_READY)
		a->is_probe_due = true;
	agent_wake(a);
}

/* --once: whether all is done that there was at the start. */
static void on_once_timer(struct loop_timer *timer)
{
	struct agent *a = timer->user;

	for (struct watch *w = a->watches; w; w = w->next) {
		if (!a->once_rev || w->state == WATCH_GONE ||
			!watch_has_caught_up(w, a->once_rev)) {
			watch_prove_past(w);
			loop_timer_set(a->loop, timer, AGENT_ONCE_MS);
			return;
		}
	}
	if (!a->caught_up(a))
		loop_timer_set(a->loop, timer, AGENT_ONCE_MS);
}

void agent_init(struct agent *a, struct loop *loop, const struct agent_cfg *cfg)
{
	memset(a, 0, sizeof(*a));
	a->loop = loop;
	a->cfg = *cfg;
	a->random = (uint32_t)port_now_ms() | 1;
	agent_shuffle(a);
	keeper_init(&a->keeper, loop, &cfg->keeper);
	etcd_session_init(&a->session, loop, &a->cfg.session, &agent_session_ops, a);
	etcd_probe_init(&a->probe, on_probe_done, a);
	backoff_init(&a->backoff, cfg->backoff_min_ms, cfg->backoff_max_ms,
		(uint32_t)cfg->endpoint_count);
	trouble_init(&a->trouble, cfg->backoff_max_ms);
	a->pump = (struct loop_task){.fn = on_pump, .user = a};
	a->connect_timer = (struct loop_timer){.fn = on_connect_timer, .user = a};
	a->probe_timer = (struct loop_timer){.fn = on_probe_timer, .user = a};
	a->call_timer = (struct loop_timer){.fn = on_call_timer, .user = a};
	a->idle_timer = (struct loop_timer){.fn = on_idle_timer, .user = a};
	a->idle_timer.slack_ms = (uint32_t)(cfg->probe_interval_ms / 4 < AGENT_IDLE_SLACK_MS
						    ? cfg->probe_interval_ms / 4
						    : AGENT_IDLE_SLACK_MS);
	a->stop_timer = (struct loop_timer){.fn = on_stop_timer, .user = a};
	a->once_timer = (struct loop_timer){.fn = on_once_timer, .user = a};
	agent_init_stream(a);
}

int agent_open(struct agent *a)
{
	return keeper_open(&a->keeper);
}

void agent_start(struct agent *a)
{
	loop_timer_set(a->loop, &a->connect_timer, 0);
	if (a->cfg.is_once)
		loop_timer_set(a->loop, &a->once_timer, AGENT_ONCE_MS);
}
