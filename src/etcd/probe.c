/* SPDX-License-Identifier: Apache-2.0 */
#include "etcd/probe.h"

#include <string.h>

static int on_msg_begin(struct grpc_call *call, uint32_t len)
{
	struct etcd_probe *p = call->user;

	return p->reply_len || len > sizeof(p->reply) ? ERR_LIMIT : 0;
}

static ssize_t on_msg_data(struct grpc_call *call, const uint8_t *data, size_t len)
{
	struct etcd_probe *p = call->user;

	memcpy(p->reply + p->reply_len, data, len);
	p->reply_len += len;
	return (ssize_t)len;
}

static int on_msg_end(struct grpc_call *call)
{
	(void)call;
	return 0;
}

static void on_done(struct grpc_call *call, const struct grpc_status *st)
{
	static const char odd[] = "the answer to a probe cannot be read";
	const struct grpc_status odd_st = {.code = GRPC_INTERNAL,
		.is_local = true,
		.message = odd,
		.message_len = sizeof(odd) - 1};
	struct etcd_probe *p = call->user;
	struct etcd_header header = {0};

	if (st->code == GRPC_OK && (msg_decode_range_header(p->reply, p->reply_len, &header) ||
					   !header.is_present || header.revision <= 0))
		st = &odd_st;
	p->done(p, st, &header);
}

static const struct grpc_call_ops probe_call_ops = {
	.msg_begin = on_msg_begin,
	.msg_data = on_msg_data,
	.msg_end = on_msg_end,
	.done = on_done,
};

void etcd_probe_init(struct etcd_probe *p, etcd_probe_fn *done, void *user)
{
	memset(p, 0, sizeof(*p));
	p->done = done;
	p->user = user;
	p->call.ops = &probe_call_ops;
	p->call.user = p;
}

int etcd_probe_start(struct etcd_probe *p, struct etcd_session *s, const struct etcd_range *range)
{
	struct etcd_range first;

	etcd_range_first(&first, range);
	return etcd_probe_start_whole(p, s, &first);
}

int etcd_probe_start_whole(
	struct etcd_probe *p, struct etcd_session *s, const struct etcd_range *range)
{
	const struct etcd_range_request req = {.range = *range, .is_count_only = true};
	uint8_t msg[2 * CONFIG_ETCD_KEY_BYTES + 64];
	struct grpc_metadata md[GRPC_METADATA_MAX];
	ssize_t len = msg_encode_range(msg, sizeof(msg), &req);

	if (len < 0)
		return (int)len;
	p->reply_len = 0;
	return grpc_call_start(&s->channel, &p->call, "/etcdserverpb.KV/Range", md,
		etcd_session_metadata(s, md, false), msg, (size_t)len, true,
		s->cfg->command_timeout_ms);
}

bool etcd_probe_is_running(const struct etcd_probe *p)
{
	return grpc_call_is_running(&p->call);
}

void etcd_probe_cancel(struct etcd_probe *p)
{
	grpc_call_cancel(&p->call);
}
