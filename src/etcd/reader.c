/* SPDX-License-Identifier: Apache-2.0 */
#include "etcd/reader.h"

#include <string.h>

static const char path_range[] = "/etcdserverpb.KV/Range";
static const char path_watch[] = "/etcdserverpb.Watch/Watch";

static int on_msg_begin(struct grpc_call *call, uint32_t len)
{
	struct etcd_reader *r = call->user;

	r->is_in_message = true;
	r->last_data_ms = call->channel->loop->now_ms;
	etcd_split_begin(&r->split, r->kind, len, &r->ops->split, r);
	return 0;
}

static ssize_t on_msg_data(struct grpc_call *call, const uint8_t *p, size_t len)
{
	struct etcd_reader *r = call->user;
	ssize_t n = etcd_split_feed(&r->split, p, len);

	r->last_data_ms = call->channel ? call->channel->loop->now_ms : r->last_data_ms;
	r->is_blocked = n >= 0 && (size_t)n < len;
	return n;
}

static int on_msg_end(struct grpc_call *call)
{
	struct etcd_reader *r = call->user;
	int err = etcd_split_end(&r->split);

	r->is_blocked = err == ERR_AGAIN;
	if (err == 0)
		r->is_in_message = false;
	return err;
}

static void on_done(struct grpc_call *call, const struct grpc_status *st)
{
	struct etcd_reader *r = call->user;

	r->is_in_message = r->is_blocked = false;
	r->ops->done(r, st);
}

static const struct grpc_call_ops reader_call_ops = {
	.msg_begin = on_msg_begin,
	.msg_data = on_msg_data,
	.msg_end = on_msg_end,
	.done = on_done,
};

void etcd_reader_init(struct etcd_reader *r, const struct etcd_reader_ops *ops, void *user)
{
	memset(r, 0, sizeof(*r));
	r->ops = ops;
	r->user = user;
	r->call.ops = &reader_call_ops;
	r->call.user = r;
}

bool etcd_reader_is_running(const struct etcd_reader *r)
{
	return grpc_call_is_running(&r->call);
}

static int reader_start(struct etcd_reader *r, struct etcd_session *s, enum etcd_split_kind kind,
	const char *path, const uint8_t *msg, ssize_t len)
{
	struct grpc_metadata md[GRPC_METADATA_MAX];
	bool is_stream = kind == ETCD_SPLIT_WATCH;

	if (len < 0)
		return (int)len;
	r->kind = kind;
	r->is_in_message = r->is_blocked = false;
	r->last_data_ms = s->channel.loop->now_ms;
	buf_init(&r->call.stream.ring, r->ring, sizeof(r->ring));
	return grpc_call_start(&s->channel, &r->call, path, md,
		etcd_session_metadata(s, md, is_stream), msg, (size_t)len, !is_stream, 0);
}

int etcd_reader_range(
	struct etcd_reader *r, struct etcd_session *s, const struct etcd_range_request *req)
{
	uint8_t msg[CONFIG_GRPC_SEND_BYTES];

	return reader_start(
		r, s, ETCD_SPLIT_RANGE, path_range, msg, msg_encode_range(msg, sizeof(msg), req));
}

int etcd_reader_watch(
	struct etcd_reader *r, struct etcd_session *s, const struct etcd_watch_request *req)
{
	uint8_t msg[CONFIG_GRPC_SEND_BYTES];

	return reader_start(r, s, ETCD_SPLIT_WATCH, path_watch, msg,
		msg_encode_watch_create(msg, sizeof(msg), req));
}

int etcd_reader_create(struct etcd_reader *r, const struct etcd_watch_request *req)
{
	uint8_t msg[CONFIG_GRPC_SEND_BYTES];
	ssize_t len = msg_encode_watch_create(msg, sizeof(msg), req);

	return len < 0 ? (int)len : grpc_call_send(&r->call, msg, (size_t)len);
}

int etcd_reader_cancel(struct etcd_reader *r, int64_t watch_id)
{
	uint8_t msg[32];
	ssize_t len = msg_encode_watch_cancel(msg, sizeof(msg), watch_id);

	return len < 0 ? (int)len : grpc_call_send(&r->call, msg, (size_t)len);
}

void etcd_reader_resume(struct etcd_reader *r)
{
	/* The time that the owner took is not the server's. */
	if (r->call.channel)
		r->last_data_ms = r->call.channel->loop->now_ms;
	grpc_call_resume(&r->call);
}

void etcd_reader_close(struct etcd_reader *r)
{
	grpc_call_cancel(&r->call);
	r->is_in_message = r->is_blocked = false;
}
