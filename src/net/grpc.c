/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A failure never ends the channel in the middle of a call from below: it is noted in fail_err,
 * and the flush task, which runs at the end of the turn, ends the channel and tells its owner.
 */
#include "net/grpc.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "base/version.h"

enum {
	GRPC_READS_PER_TURN = 16, /* then others get their turn */
	GRPC_KEEPALIVE_FACTOR_MAX = 64,
	GRPC_FIELDS_FIXED = 8,
};

static const char *const grpc_code_names[] = {
	"OK",
	"CANCELLED",
	"UNKNOWN",
	"INVALID_ARGUMENT",
	"DEADLINE_EXCEEDED",
	"NOT_FOUND",
	"ALREADY_EXISTS",
	"PERMISSION_DENIED",
	"RESOURCE_EXHAUSTED",
	"FAILED_PRECONDITION",
	"ABORTED",
	"OUT_OF_RANGE",
	"UNIMPLEMENTED",
	"INTERNAL",
	"UNAVAILABLE",
	"DATA_LOSS",
	"UNAUTHENTICATED",
};

const char *grpc_code_name(int code)
{
	if (code < 0 || (size_t)code >= sizeof(grpc_code_names) / sizeof(grpc_code_names[0]))
		return "UNKNOWN";
	return grpc_code_names[code];
}

static struct grpc_call *call_of(struct h2_stream *s)
{
	return s->user;
}

static struct grpc_channel *channel_of_h2(struct h2 *h2)
{
	return h2->user;
}

__attribute__((format(printf, 3, 4))) static void channel_fail(
	struct grpc_channel *ch, int err, const char *fmt, ...)
{
	va_list ap;

	if (ch->fail_err || !ch->is_open)
		return;
	ch->fail_err = err;
	va_start(ap, fmt);
	vsnprintf(ch->why, sizeof(ch->why), fmt, ap);
	va_end(ap);
	loop_task_post(ch->loop, &ch->flush);
}

/* -- calls: how they end ---------------------------------------------------------------------- */

static void call_unlink(struct grpc_call *call)
{
	struct grpc_channel *ch = call->channel;

	for (struct grpc_call **c = &ch->calls; *c; c = &(*c)->next) {
		if (*c == call) {
			*c = call->next;
			break;
		}
	}
	call->next = NULL;
	call->channel = NULL;
	loop_timer_clear(ch->loop, &call->deadline);
	if (ch->tx_call == call) {
		ch->tx_call = NULL;
		buf_clear(&ch->tx);
	}
	if (!ch->calls)
		loop_timer_clear(ch->loop, &ch->keepalive_timer);
	loop_task_post(ch->loop, &ch->flush);
}

static void call_finish(
	struct grpc_call *call, int code, bool is_local, const char *msg, size_t len)
{
	struct grpc_status st = {
		.code = code, .is_local = is_local, .message = msg, .message_len = len};

	call_unlink(call);
	call->ops->done(call, &st);
}

/* Ends a call with a status of our own making. */
__attribute__((format(printf, 3, 4))) static void call_finish_local(
	struct grpc_call *call, enum grpc_code code, const char *fmt, ...)
{
	char text[GRPC_MESSAGE_MAX];
	va_list ap;
	int n;

	h2_stream_reset(&call->channel->h2, &call->stream, H2_CANCEL);
	va_start(ap, fmt);
	n = vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	if (n >= (int)sizeof(text))
		n = sizeof(text) - 1;
	call_finish(call, (int)code, true, text, n > 0 ? (size_t)n : 0);
}

/* https://github.com/grpc/grpc/blob/master/doc/http-grpc-status-mapping.md */
static enum grpc_code code_of_http(int status)
{
	switch (status) {
	case 400:
	case 431:
		return GRPC_INTERNAL;
	case 401:
		return GRPC_UNAUTHENTICATED;
	case 403:
		return GRPC_PERMISSION_DENIED;
	case 404:
		return GRPC_UNIMPLEMENTED;
	case 429:
	case 502:
	case 503:
	case 504:
		return GRPC_UNAVAILABLE;
	default:
		return GRPC_UNKNOWN;
	}
}

/* The table of gRPC's HTTP/2 mapping, "HTTP2 Transport Mapping, Errors". */
static enum grpc_code code_of_reset(enum h2_code code)
{
	switch (code) {
	case H2_REFUSED_STREAM:
		return GRPC_UNAVAILABLE;
	case H2_CANCEL:
		return GRPC_CANCELLED;
	case H2_ENHANCE_YOUR_CALM:
		return GRPC_RESOURCE_EXHAUSTED;
	case H2_INADEQUATE_SECURITY:
		return GRPC_PERMISSION_DENIED;
	default:
		return GRPC_INTERNAL;
	}
}

/* -- calls: what comes from the stream -------------------------------------------------------- */

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	return -1;
}

/* "Status-Message": bytes outside printable ASCII are percent-encoded; a wrong escape stands for itself. */
static void call_set_message(struct grpc_call *call, const char *v, size_t len)
{
	size_t out = 0;

	for (size_t i = 0; i < len && out < sizeof(call->message); i++) {
		int hi = -1, lo = -1;

		if (v[i] == '%' && len - i > 2) {
			hi = hex_digit(v[i + 1]);
			lo = hex_digit(v[i + 2]);
		}
		if (hi >= 0 && lo >= 0) {
			call->message[out++] = (char)(hi * 16 + lo);
			i += 2;
		} else {
			call->message[out++] = v[i];
		}
	}
	call->message_len = (uint16_t)out;
}

static bool is_name(const char *name, size_t len, const char *want)
{
	return len == strlen(want) && memcmp(name, want, len) == 0;
}

static void call_set_status(struct grpc_call *call, const char *v, size_t len)
{
	unsigned code = 0;

	for (size_t i = 0; i < len; i++) {
		if (v[i] < '0' || v[i] > '9' || code > 99) {
			code = GRPC_UNKNOWN;
			break;
		}
		code = code * 10 + (unsigned)(v[i] - '0');
	}
	call->status_code = len && code <= GRPC_UNAUTHENTICATED ? (uint8_t)code : GRPC_UNKNOWN;
	call->has_status = true;
}

static void on_header(
	struct h2_stream *s, const char *name, size_t name_len, const char *value, size_t value_len)
{
	static const char type[] = "application/grpc";
	struct grpc_call *call = call_of(s);

	if (is_name(name, name_len, "grpc-status"))
		call_set_status(call, value, value_len);
	else if (is_name(name, name_len, "grpc-message"))
		call_set_message(call, value, value_len);
	else if (is_name(name, name_len, "content-type"))
		call->is_grpc = value_len >= sizeof(type) - 1 &&
				memcmp(value, type, sizeof(type) - 1) == 0 &&
				(value_len == sizeof(type) - 1 || value[sizeof(type) - 1] == '+' ||
					value[sizeof(type) - 1] == ';');
}

static void on_header_end(struct h2_stream *s, enum h2_block block, int status)
{
	struct grpc_call *call = call_of(s);

	if (block != H2_BLOCK_HEADERS || call->channel->fail_err)
		return;
	call->http_status = status;
	if (status != 200 && !call->has_status)
		call_finish_local(
			call, code_of_http(status), "HTTP status %d instead of gRPC", status);
	else if (!call->is_grpc && !call->has_status)
		call_finish_local(call, GRPC_UNKNOWN, "the answer is not gRPC (content-type)");
}

/* Between messages: collects the prefix. Returns bytes taken; call->is_in_message tells whether it is whole. */
static size_t call_take_prefix(struct grpc_call *call, const uint8_t *p, size_t len)
{
	size_t n = GRPC_PREFIX_LEN - call->prefix_len;
	const uint8_t *pre = call->prefix;

	if (n > len)
		n = len;
	memcpy(call->prefix + call->prefix_len, p, n);
	call->prefix_len = (uint8_t)(call->prefix_len + n);
	if (call->prefix_len == GRPC_PREFIX_LEN) {
		call->prefix_len = 0;
		call->is_in_message = true;
		call->msg_left = (uint32_t)pre[1] << 24 | (uint32_t)pre[2] << 16 |
				 (uint32_t)pre[3] << 8 | pre[4];
	}
	return n;
}

/* msg_end() is due: calls it. Whether bytes may go on. */
static bool call_end_message(struct grpc_call *call)
{
	int err;

	call->is_end_due = true;
	err = call->ops->msg_end(call);
	if (err == ERR_AGAIN || !call->channel)
		return false;
	call->is_end_due = false;
	call->is_in_message = false;
	if (err < 0)
		channel_fail(call->channel, err, "answer from the server: %s", err_text(err));
	return err >= 0;
}

/* One step through the bytes of a message; false: no more for now. */
static bool call_take_message(struct grpc_call *call, const uint8_t *p, size_t len, size_t *taken)
{
	ssize_t n = 0;
	size_t offer = len < call->msg_left ? len : call->msg_left;

	*taken = 0;
	if (offer)
		n = call->ops->msg_data(call, p, offer);
	if (!call->channel)
		return false;
	if (n < 0 && n != ERR_AGAIN) {
		channel_fail(call->channel, (int)n, "answer from the server: %s", err_text((int)n));
		return false;
	}
	if (n > 0) {
		*taken = (size_t)n;
		call->msg_left -= (uint32_t)n;
	}
	if (call->msg_left)
		return *taken == offer;
	return call_end_message(call);
}

static size_t on_data(struct h2_stream *s, const uint8_t *p, size_t len)
{
	struct grpc_call *call = call_of(s);
	struct grpc_channel *ch = call->channel;
	size_t at = 0;

	while (at < len && !ch->fail_err) {
		size_t n;
		int err;

		if (call->is_end_due)
			return at;
		if (!call->is_in_message) {
			at += call_take_prefix(call, p + at, len - at);
			if (!call->is_in_message)
				break;
			if (call->prefix[0] != 0) {
				channel_fail(ch, ERR_GRPC,
					"a compressed message that was not asked for");
				break;
			}
			err = call->ops->msg_begin(call, call->msg_left);
			if (!call->channel)
				return len;
			if (err < 0) {
				channel_fail(ch, err, "answer from the server: %s", err_text(err));
				break;
			}
			if (call->msg_left)
				continue;
		}
		if (!call_take_message(call, p + at, len - at, &n)) {
			at += n;
			if (!call->channel || ch->fail_err)
				return len;
			return at;
		}
		at += n;
	}
	return ch->fail_err ? len : at;
}

static void call_end_stream(struct grpc_call *call)
{
	if (call->is_in_message || call->prefix_len)
		call_finish_local(call, GRPC_INTERNAL, "the answer ended inside a message");
	else if (call->has_status)
		call_finish(call, call->status_code, false, call->message, call->message_len);
	else
		call_finish_local(call, GRPC_UNKNOWN, "the answer ended without grpc-status");
}

static void on_end(struct h2_stream *s)
{
	struct grpc_call *call = call_of(s);

	call->is_ended = true;
	/* Of a channel that has failed data was dropped: a status of 0 would call that complete. */
	if (!call->is_end_due && !call->channel->fail_err)
		call_end_stream(call);
}

static void on_reset(struct h2_stream *s, enum h2_code code, bool is_by_peer, bool is_unprocessed)
{
	struct grpc_call *call = call_of(s);

	if (is_unprocessed)
		call_finish_local(call, GRPC_UNAVAILABLE, "the server did not take the call");
	else
		call_finish_local(call, code_of_reset(code), "stream reset %s: %s",
			is_by_peer ? "by the server" : "for a violation of HTTP/2",
			h2_code_name(code));
}

static const struct h2_stream_ops call_stream_ops = {
	.header = on_header,
	.header_end = on_header_end,
	.data = on_data,
	.end = on_end,
	.reset = on_reset,
};

static void on_call_deadline(struct loop_timer *timer)
{
	struct grpc_call *call = timer->user;

	call_finish_local(call, GRPC_DEADLINE_EXCEEDED, "no answer in time");
}

/* -- sending ---------------------------------------------------------------------------------- */

/* Moves what can be moved of the waiting message into HTTP/2 frames. */
static void channel_pump(struct grpc_channel *ch)
{
	struct grpc_call *call = ch->tx_call;
	ssize_t n;

	if (!call)
		return;
	n = h2_stream_send(
		&ch->h2, &call->stream, buf_head(&ch->tx), buf_len(&ch->tx), ch->is_tx_last);
	if (n == ERR_CLOSED) {
		/* The server has ended the stream and wants no more of it (RFC 9113 8.1); the owner
		 * learns of it by done(), once it has taken the answer. */
		buf_clear(&ch->tx);
		n = 0;
	} else if (n < 0) {
		channel_fail(ch, (int)n, "cannot send: %s", err_text((int)n));
		return;
	}
	buf_drop(&ch->tx, (size_t)n);
	if (!buf_len(&ch->tx))
		ch->tx_call = NULL;
}

static void channel_put_message(
	struct grpc_channel *ch, struct grpc_call *call, const void *msg, size_t len, bool is_last)
{
	const uint8_t prefix[GRPC_PREFIX_LEN] = {
		0, (uint8_t)(len >> 24), (uint8_t)(len >> 16), (uint8_t)(len >> 8), (uint8_t)len};

	buf_clear(&ch->tx);
	if (buf_put(&ch->tx, prefix, sizeof(prefix)) || buf_put(&ch->tx, msg, len)) {
		channel_fail(ch, ERR_BUG, "a message larger than the send buffer");
		return;
	}
	ch->tx_call = call;
	ch->is_tx_last = is_last;
	channel_pump(ch);
}

static int channel_request(struct grpc_channel *ch, struct grpc_call *call, const char *path,
	const struct grpc_metadata *md, size_t n, int64_t timeout_ms)
{
	struct h2_field f[GRPC_FIELDS_FIXED + GRPC_METADATA_MAX];
	char timeout[24], agent[48];
	size_t k = 0;

	f[k++] = (struct h2_field){":method", "POST", 4, false};
	f[k++] = ch->cfg->target.tls ? (struct h2_field){":scheme", "https", 5, false}
				     : (struct h2_field){":scheme", "http", 4, false};
	f[k++] = (struct h2_field){":path", path, strlen(path), false};
	f[k++] = (struct h2_field){
		":authority", ch->cfg->authority, strlen(ch->cfg->authority), false};
	f[k++] = (struct h2_field){"content-type", "application/grpc", 16, false};
	f[k++] = (struct h2_field){"te", "trailers", 8, false};
	snprintf(agent, sizeof(agent), "etchlet/%s", version_string());
	f[k++] = (struct h2_field){"user-agent", agent, strlen(agent), false};
	if (timeout_ms > 0 && timeout_ms < 100000000) {
		snprintf(timeout, sizeof(timeout), "%" PRId64 "m", timeout_ms);
		f[k++] = (struct h2_field){"grpc-timeout", timeout, strlen(timeout), false};
	}
	for (size_t i = 0; i < n && i < GRPC_METADATA_MAX; i++)
		f[k++] = (struct h2_field){
			md[i].name, md[i].value, strlen(md[i].value), md[i].is_secret};
	return h2_request(&ch->h2, &call->stream, f, k, false);
}

static void channel_arm_keepalive(struct grpc_channel *ch)
{
	int64_t time_ms = grpc_channel_keepalive_ms(ch);

	/* It may slide a little, so that the answer to a probe of the same interval comes first. */
	ch->keepalive_timer.slack_ms = (uint32_t)(ch->cfg->keepalive_timeout_ms / 2);
	if (ch->keepalive_timer.slack_ms > time_ms / 20)
		ch->keepalive_timer.slack_ms = (uint32_t)(time_ms / 20);
	loop_timer_set_at(ch->loop, &ch->keepalive_timer, ch->last_recv_ms + time_ms);
}

int grpc_call_start(struct grpc_channel *ch, struct grpc_call *call, const char *path,
	const struct grpc_metadata *md, size_t n, const void *msg, size_t len, bool is_unary,
	int64_t timeout_ms)
{
	int err;

	if (call->channel || n > GRPC_METADATA_MAX)
		return ERR_BUG;
	if (!ch->is_up || ch->fail_err || ch->h2.is_going_away)
		return ERR_GOAWAY;
	if (len > CONFIG_GRPC_SEND_BYTES)
		return ERR_LIMIT;
	if (ch->tx_call) {
		ch->is_writable_wanted = true;
		return ERR_AGAIN;
	}
	call->prefix_len = 0;
	call->is_in_message = call->is_end_due = call->is_ended = false;
	call->is_grpc = call->has_status = false;
	call->message_len = 0;
	call->http_status = 0;
	call->stream.ops = &call_stream_ops;
	call->stream.user = call;
	err = channel_request(ch, call, path, md, n, timeout_ms);
	if (err) {
		ch->is_writable_wanted = ch->is_writable_wanted || err == ERR_AGAIN;
		return err;
	}
	if (!ch->calls) {
		/* gRPC proposal A8: a PING only while a call is open. The time without one does not count. */
		ch->last_recv_ms = ch->loop->now_ms;
		ch->ping_sent_ms = 0;
	}
	call->channel = ch;
	call->next = ch->calls;
	ch->calls = call;
	call->deadline.fn = on_call_deadline;
	call->deadline.user = call;
	if (timeout_ms > 0)
		loop_timer_set(ch->loop, &call->deadline, timeout_ms);
	if (!ch->keepalive_timer.is_set)
		channel_arm_keepalive(ch);
	if (msg)
		channel_put_message(ch, call, msg, len, is_unary);
	loop_task_post(ch->loop, &ch->flush);
	return 0;
}

int grpc_call_send(struct grpc_call *call, const void *msg, size_t len)
{
	struct grpc_channel *ch = call->channel;

	if (!ch || ch->fail_err || call->is_ended || call->stream.is_local_closed)
		return ERR_CLOSED;
	if (len > CONFIG_GRPC_SEND_BYTES)
		return ERR_LIMIT;
	if (ch->tx_call) {
		ch->is_writable_wanted = true;
		return ERR_AGAIN;
	}
	channel_put_message(ch, call, msg, len, false);
	loop_task_post(ch->loop, &ch->flush);
	return 0;
}

void grpc_call_resume(struct grpc_call *call)
{
	struct grpc_channel *ch = call->channel;

	if (!ch || ch->fail_err)
		return;
	loop_task_post(ch->loop, &ch->flush);
	if (call->is_end_due && !call_end_message(call))
		return;
	if (call->is_ended)
		call_end_stream(call);
	else
		h2_stream_resume(&ch->h2, &call->stream);
}

void grpc_call_cancel(struct grpc_call *call)
{
	if (!call->channel)
		return;
	h2_stream_reset(&call->channel->h2, &call->stream, H2_CANCEL);
	call_unlink(call);
}

/* -- the channel ------------------------------------------------------------------------------ */

/* Ends everything that runs. The owner is told by whoever calls this. */
static void channel_shut(struct grpc_channel *ch, const char *why)
{
	ch->is_open = ch->is_up = false;
	ch->is_writable_wanted = false;
	ch->ping_sent_ms = 0;
	loop_timer_clear(ch->loop, &ch->settings_timer);
	loop_timer_clear(ch->loop, &ch->keepalive_timer);
	while (ch->calls) {
		struct grpc_call *call = ch->calls;

		h2_stream_reset(&ch->h2, &call->stream, H2_CANCEL);
		call_finish(call, GRPC_UNAVAILABLE, true, why, strlen(why));
	}
	loop_task_cancel(ch->loop, &ch->flush);
	loop_timer_clear(ch->loop, &ch->more);
	conn_close(&ch->conn);
}

static void channel_end(struct grpc_channel *ch)
{
	int err = ch->fail_err;

	ch->fail_err = 0;
	channel_shut(ch, ch->why);
	ch->ops->down(ch, err, ch->why);
}

static void channel_send(struct grpc_channel *ch)
{
	struct buf *out = &ch->h2.out;

	while (buf_len(out)) {
		ssize_t n = conn_send(&ch->conn, buf_head(out), buf_len(out));

		if (n == ERR_AGAIN)
			break;
		if (n < 0) {
			channel_fail(ch, (int)n, "%s",
				*conn_why(&ch->conn) ? conn_why(&ch->conn) : err_text((int)n));
			return;
		}
		buf_drop(out, (size_t)n);
		h2_sent(&ch->h2);
		channel_pump(ch);
	}
	conn_want_write(&ch->conn, buf_len(out) > 0);
}

static void on_flush(struct loop_task *task)
{
	struct grpc_channel *ch = task->user;

	if (ch->conn.state == CONN_OPEN)
		channel_send(ch);
	if (ch->fail_err) {
		channel_end(ch);
		return;
	}
	if (ch->is_up && ch->is_writable_wanted && !ch->tx_call) {
		ch->is_writable_wanted = false;
		ch->ops->writable(ch);
	}
}

static void on_h2_settings(struct h2 *h2)
{
	struct grpc_channel *ch = channel_of_h2(h2);

	if (ch->is_up || !ch->is_open)
		return;
	loop_timer_clear(ch->loop, &ch->settings_timer);
	ch->is_up = true;
	ch->ops->up(ch);
}

static void on_h2_ping_ack(struct h2 *h2)
{
	channel_of_h2(h2)->ping_sent_ms = 0;
}

static void on_h2_goaway(
	struct h2 *h2, uint32_t last_id, enum h2_code code, const uint8_t *debug, size_t debug_len)
{
	static const char calm[] = "too_many_pings";
	struct grpc_channel *ch = channel_of_h2(h2);
	char shown[LOG_SHOW_MAX];

	(void)last_id;
	log_show(shown, sizeof(shown), debug, debug_len);
	snprintf(ch->why, sizeof(ch->why), "GOAWAY %s%s%s", h2_code_name(code), *shown ? ": " : "",
		shown);
	/* gRPC proposal A8 */
	if (code == H2_ENHANCE_YOUR_CALM && debug_len == sizeof(calm) - 1 &&
		memcmp(debug, calm, debug_len) == 0 &&
		ch->keepalive_factor < GRPC_KEEPALIVE_FACTOR_MAX) {
		ch->keepalive_factor *= 2;
		log_warn("the server asks for fewer PINGs (too_many_pings): now one after %" PRId64
			 " s without a byte, twice as long as before",
			grpc_channel_keepalive_ms(ch) / 1000);
	}
	ch->ops->going_away(ch, ch->why);
}

static void on_h2_writable(struct h2 *h2)
{
	struct grpc_channel *ch = channel_of_h2(h2);

	ch->is_writable_wanted = true;
	channel_pump(ch);
	loop_task_post(ch->loop, &ch->flush);
}

static const struct h2_ops channel_h2_ops = {
	.settings = on_h2_settings,
	.ping_ack = on_h2_ping_ack,
	.goaway = on_h2_goaway,
	.writable = on_h2_writable,
};

static void on_settings_timer(struct loop_timer *timer)
{
	struct grpc_channel *ch = timer->user;

	channel_fail(ch, ERR_TIMEOUT, "no HTTP/2 SETTINGS from the server within %" PRId64 " ms",
		ch->cfg->settings_timeout_ms);
}

/* RFC 9113 6.7 and gRPC proposal A8: any byte that was received counts as life. */
static void on_keepalive_timer(struct loop_timer *timer)
{
	struct grpc_channel *ch = timer->user;
	int64_t now_ms = ch->loop->now_ms;

	if (ch->ping_sent_ms && ch->last_recv_ms >= ch->ping_sent_ms)
		ch->ping_sent_ms = 0;
	if (ch->ping_sent_ms) {
		channel_fail(ch, ERR_TIMEOUT, "no answer to a PING within %" PRId64 " ms",
			ch->cfg->keepalive_timeout_ms);
		return;
	}
	if (now_ms - ch->last_recv_ms < grpc_channel_keepalive_ms(ch)) {
		channel_arm_keepalive(ch);
		return;
	}
	/* No room for it, or the last one is still unanswered: then the wait for an answer begins
	 * all the same, for nothing is received either way. */
	(void)h2_ping(&ch->h2);
	ch->ping_sent_ms = now_ms;
	timer->slack_ms = 0;
	loop_timer_set(ch->loop, timer, ch->cfg->keepalive_timeout_ms);
	loop_task_post(ch->loop, &ch->flush);
}

static void on_conn_open(struct conn *c)
{
	struct grpc_channel *ch = c->user;

	h2_init(&ch->h2, &channel_h2_ops, ch, ch->out_mem, sizeof(ch->out_mem));
	ch->last_recv_ms = ch->loop->now_ms;
	loop_timer_set(ch->loop, &ch->settings_timer, ch->cfg->settings_timeout_ms);
	loop_task_post(ch->loop, &ch->flush);
}

static void channel_read(struct grpc_channel *ch)
{
	for (int i = 0; i < GRPC_READS_PER_TURN; i++) {
		ssize_t n = conn_recv(&ch->conn, ch->rx_mem, sizeof(ch->rx_mem));
		int err;

		if (n == ERR_AGAIN)
			return;
		if (n < 0) {
			channel_fail(ch, (int)n, "%s",
				*conn_why(&ch->conn) ? conn_why(&ch->conn) : err_text((int)n));
			return;
		}
		ch->last_recv_ms = ch->loop->now_ms;
		err = h2_recv(&ch->h2, ch->rx_mem, (size_t)n);
		loop_task_post(ch->loop, &ch->flush);
		if (err < 0)
			channel_fail(ch, err, "the server broke HTTP/2: %s (%s)",
				h2_error_text(&ch->h2), h2_code_name(h2_error_code(&ch->h2)));
		if (!ch->is_open || ch->fail_err || ch->conn.state != CONN_OPEN)
			return;
		if ((size_t)n < sizeof(ch->rx_mem) && !conn_has_pending(&ch->conn))
			return;
	}
	/* More may be there that no poll would tell of. */
	loop_timer_set(ch->loop, &ch->more, 0);
}

static void on_conn_readable(struct conn *c)
{
	struct grpc_channel *ch = c->user;

	channel_read(ch);
	if (ch->keepalive_timer.is_set && !ch->fail_err)
		channel_arm_keepalive(ch);
}

static void on_more(struct loop_timer *timer)
{
	struct grpc_channel *ch = timer->user;

	if (ch->conn.state == CONN_OPEN && !ch->fail_err)
		channel_read(ch);
}

static void on_conn_writable(struct conn *c)
{
	struct grpc_channel *ch = c->user;

	loop_task_post(ch->loop, &ch->flush);
}

static void on_conn_failed(struct conn *c, int err, const char *why)
{
	struct grpc_channel *ch = c->user;

	channel_fail(ch, err, "%s", why);
}

static const struct conn_ops channel_conn_ops = {
	.open = on_conn_open,
	.readable = on_conn_readable,
	.writable = on_conn_writable,
	.failed = on_conn_failed,
};

void grpc_channel_init(
	struct grpc_channel *ch, struct loop *loop, const struct grpc_channel_ops *ops, void *user)
{
	memset(ch, 0, sizeof(*ch));
	ch->ops = ops;
	ch->user = user;
	ch->loop = loop;
	ch->keepalive_factor = 1;
	buf_init(&ch->tx, ch->tx_mem, sizeof(ch->tx_mem));
	conn_init(&ch->conn, loop, &channel_conn_ops, ch);
	ch->settings_timer.fn = on_settings_timer;
	ch->settings_timer.user = ch;
	ch->keepalive_timer.fn = on_keepalive_timer;
	ch->keepalive_timer.user = ch;
	ch->flush.fn = on_flush;
	ch->flush.user = ch;
	ch->more.fn = on_more;
	ch->more.user = ch;
}

void grpc_channel_open(struct grpc_channel *ch, const struct grpc_channel_cfg *cfg)
{
	ch->cfg = cfg;
	ch->is_open = true;
	ch->is_up = false;
	ch->fail_err = 0;
	ch->why[0] = '\0';
	conn_open(&ch->conn, &cfg->target);
}

void grpc_channel_close(struct grpc_channel *ch)
{
	if (!ch->is_open)
		return;
	ch->fail_err = 0;
	if (ch->conn.state == CONN_OPEN) {
		h2_close(&ch->h2, H2_NO_ERROR);
		channel_send(ch);
		ch->fail_err = 0;
	}
	channel_shut(ch, "closed here");
}

uint32_t grpc_channel_max_calls(const struct grpc_channel *ch)
{
	return h2_max_streams(&ch->h2);
}

int64_t grpc_channel_keepalive_ms(const struct grpc_channel *ch)
{
	return ch->cfg->keepalive_time_ms * ch->keepalive_factor;
}
