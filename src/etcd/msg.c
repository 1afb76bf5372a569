/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The small messages of etcd's API, by nanopb. Its structs hold no bytes: keys, names and tokens go
 * through callbacks from and to the caller's memory.
 */
#include "etcd/msg.h"

#include "base/err.h"
#include "proto/etcd.pb.h"

#include <pb_decode.h>
#include <pb_encode.h>
#include <string.h>

struct bytes {
	const void *p;
	size_t len;
};

/* proto3: an empty field is left out. */
static bool encode_bytes(pb_ostream_t *stream, const pb_field_t *field, void *const *arg)
{
	const struct bytes *b = *arg;

	return !b->len ||
	       (pb_encode_tag_for_field(stream, field) && pb_encode_string(stream, b->p, b->len));
}

static pb_callback_t encoder(struct bytes *b)
{
	return (pb_callback_t){.funcs.encode = encode_bytes, .arg = b};
}

static ssize_t encode(uint8_t *dst, size_t cap, const pb_msgdesc_t *desc, const void *msg)
{
	pb_ostream_t stream = pb_ostream_from_buffer(dst, cap);

	/* Nothing but the room can be wrong. */
	return pb_encode(&stream, desc, msg) ? (ssize_t)stream.bytes_written : ERR_LIMIT;
}

ssize_t msg_encode_range(uint8_t *dst, size_t cap, const struct etcd_range_request *req)
{
	struct bytes key = {req->range.key, req->range.key_len};
	struct bytes end = {req->range.end, req->range.end_len};
	etcdserverpb_RangeRequest msg = {
		.key = encoder(&key),
		.range_end = encoder(&end),
		.limit = req->limit,
		.revision = req->rev,
		.serializable = req->is_serializable,
		.keys_only = req->is_keys_only,
		.count_only = req->is_count_only,
	};

	return encode(dst, cap, etcdserverpb_RangeRequest_fields, &msg);
}

ssize_t msg_encode_watch_create(uint8_t *dst, size_t cap, const struct etcd_watch_request *req)
{
	struct bytes key = {req->range.key, req->range.key_len};
	struct bytes end = {req->range.end, req->range.end_len};
	etcdserverpb_WatchRequest msg = {
		.which_request_union = etcdserverpb_WatchRequest_create_request_tag,
		.request_union.create_request =
			{
				.key = encoder(&key),
				.range_end = encoder(&end),
				.start_revision = req->start_rev,
				.progress_notify = req->want_progress,
				.prev_kv = req->want_prev,
				.fragment = req->want_fragment,
			},
	};

	return encode(dst, cap, etcdserverpb_WatchRequest_fields, &msg);
}

ssize_t msg_encode_watch_cancel(uint8_t *dst, size_t cap, int64_t watch_id)
{
	etcdserverpb_WatchRequest msg = {
		.which_request_union = etcdserverpb_WatchRequest_cancel_request_tag,
		.request_union.cancel_request.watch_id = watch_id,
	};

	return encode(dst, cap, etcdserverpb_WatchRequest_fields, &msg);
}

ssize_t msg_encode_watch_progress(uint8_t *dst, size_t cap)
{
	etcdserverpb_WatchRequest msg = {
		.which_request_union = etcdserverpb_WatchRequest_progress_request_tag,
	};

	return encode(dst, cap, etcdserverpb_WatchRequest_fields, &msg);
}

ssize_t msg_encode_authenticate(uint8_t *dst, size_t cap, const char *name, size_t name_len,
	const char *password, size_t password_len)
{
	struct bytes n = {name, name_len};
	struct bytes p = {password, password_len};
	etcdserverpb_AuthenticateRequest msg = {
		.name = encoder(&n),
		.password = encoder(&p),
	};

	return encode(dst, cap, etcdserverpb_AuthenticateRequest_fields, &msg);
}

ssize_t msg_encode_status(uint8_t *dst, size_t cap)
{
	(void)dst;
	(void)cap;
	return 0;
}

struct text {
	char *dst;
	size_t cap; /* the end's NUL included */
	size_t len; /* as on the wire: cut if it is not below cap */
};

/*
 * Keeps what fits. A field that is given twice: the last one counts. The text may stand further on
 * in the memory that it goes to, for it goes there by way of a few bytes here.
 */
static bool decode_text(pb_istream_t *stream, const pb_field_t *field, void **arg)
{
	struct text *t = *arg;
	size_t keep, done = 0;

	(void)field;
	t->len = stream->bytes_left;
	keep = t->len < t->cap ? t->len : t->cap - 1;
	while (done < keep) {
		pb_byte_t some[64];
		size_t n = keep - done < sizeof(some) ? keep - done : sizeof(some);

		if (!pb_read(stream, some, n))
			return false;
		memcpy(t->dst + done, some, n);
		done += n;
	}
	t->dst[keep] = 0;
	return pb_read(stream, NULL, stream->bytes_left);
}

/* It becomes the value of a header field: RFC 9110 5.5. */
static bool is_token(const char *p, size_t len)
{
	size_t i;

	if (!len || p[0] == ' ' || p[len - 1] == ' ')
		return false;
	for (i = 0; i < len; i++)
		if (p[i] < 0x20 || p[i] > 0x7e)
			return false;
	return true;
}

ssize_t msg_decode_authenticate(const uint8_t *p, size_t len, char *dst, size_t cap)
{
	struct text t = {dst, cap, 0};
	etcdserverpb_AuthenticateResponse msg = {
		.token = {.funcs.decode = decode_text, .arg = &t},
	};
	pb_istream_t stream = pb_istream_from_buffer(p, len);

	if (!cap)
		return ERR_AUTH;
	if (!pb_decode_noinit(&stream, etcdserverpb_AuthenticateResponse_fields, &msg))
		return ERR_PROTO;
	if (t.len > ETCD_TOKEN_MAX || t.len >= cap || !is_token(dst, t.len))
		return ERR_AUTH;
	return (ssize_t)t.len;
}

static int header_take(
	struct etcd_header *dst, const etcdserverpb_ResponseHeader *src, bool is_present)
{
	if (!etcd_revision_is_valid(src->revision))
		return ERR_REVISION;
	*dst = (struct etcd_header){
		.cluster_id = src->cluster_id,
		.member_id = src->member_id,
		.revision = src->revision,
		.raft_term = src->raft_term,
		.is_present = is_present,
	};
	return 0;
}

int msg_decode_range_header(const uint8_t *p, size_t len, struct etcd_header *header)
{
	etcdserverpb_RangeResponse msg = etcdserverpb_RangeResponse_init_zero;
	pb_istream_t stream = pb_istream_from_buffer(p, len);

	*header = (struct etcd_header){0};
	if (!pb_decode_noinit(&stream, etcdserverpb_RangeResponse_fields, &msg))
		return ERR_PROTO;
	return header_take(header, &msg.header, msg.has_header);
}

int msg_decode_status(const uint8_t *p, size_t len, struct etcd_status *st)
{
	struct text t = {st->version_text, sizeof(st->version_text), 0};
	etcdserverpb_StatusResponse msg = {
		.version = {.funcs.decode = decode_text, .arg = &t},
	};
	pb_istream_t stream = pb_istream_from_buffer(p, len);
	int r;

	memset(st, 0, sizeof(*st));
	if (!pb_decode_noinit(&stream, etcdserverpb_StatusResponse_fields, &msg))
		return ERR_PROTO;
	r = header_take(&st->header, &msg.header, msg.has_header);
	if (r < 0)
		return r;
	etcd_version_parse(&st->version, st->version_text,
		t.len < sizeof(st->version_text) ? t.len : sizeof(st->version_text) - 1);
	st->leader = msg.leader;
	st->raft_term = msg.raftTerm;
	st->is_learner = msg.isLearner;
	return 0;
}

void etcd_version_parse(struct etcd_version *v, const char *text, size_t len)
{
	uint16_t n[3] = {0};
	size_t i = 0, part;

	*v = (struct etcd_version){0};
	for (part = 0; part < 3; part++) {
		uint32_t value = 0;
		size_t start;

		if (part && (i == len || text[i++] != '.'))
			return;
		for (start = i; i < len && text[i] >= '0' && text[i] <= '9'; i++) {
			value = value * 10 + (uint32_t)(text[i] - '0');
			if (value > UINT16_MAX)
				return;
		}
		if (i == start)
			return;
		n[part] = (uint16_t)value;
	}
	if (i < len && text[i] != '-' && text[i] != '+')
		return;
	*v = (struct etcd_version){n[0], n[1], n[2], true};
}

bool etcd_version_loses_delete(const struct etcd_version *v)
{
	if (!v->is_known || v->major > 3)
		return false;
	if (v->major < 3 || v->minor < 4)
		return true;
	return (v->minor == 4 && v->patch < 36) || (v->minor == 5 && v->patch < 18);
}
