/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The splitter. A table says what becomes of each field of each message; one loop follows it.
 *
 * Sub-messages are frames on a small stack: each knows where it ends in the whole message, and a
 * length is checked against the end of the frame that it stands in before anything is done with it.
 * So whatever a peer sends, no sum can overflow and no frame can reach beyond another.
 *
 * A state is what is wanted next. Those that call back wait until one more byte is there, or until
 * the message ends: with ERR_AGAIN there is always a byte left that was not taken, which is how the
 * caller learns of it.
 */
#include "etcd/split.h"

#include "base/err.h"
#include "etcd/split_fields.h"

#include <string.h>

enum {
	VARINT_MAX = 10, /* bytes */
};

enum state {
	/* a varint is wanted */
	STATE_TAG,
	STATE_NUMBER,
	STATE_LEN,
	/* bytes are wanted */
	STATE_SKIP,
	STATE_COLLECT,
	STATE_STREAM,
	/* a callback is due */
	STATE_BEGIN,
	STATE_TELL, /* event(), and then STATE_STREAM */
	STATE_CLOSE, /* event() unless it was told, and event_end() */
	STATE_DONE, /* all bytes were taken */
	STATE_ENDED,
};

/* What is offered in one call. */
struct input {
	const uint8_t *start;
	const uint8_t *p;
	const uint8_t *stop; /* of what belongs to the innermost frame */
	const uint8_t *lim;
	bool is_frame_end; /* stop is where the frame ends */
	bool is_last; /* nothing comes behind lim */
};

/* Where in the message the next byte stands. */
static inline uint64_t input_pos(const struct etcd_split *s, const struct input *in)
{
	return s->pos + (uint64_t)(in->p - in->start);
}

static inline void frame_enter(const struct etcd_split *s, struct input *in)
{
	uint64_t left = s->frames[s->depth].end - input_pos(s, in);

	in->is_frame_end = left <= (uint64_t)(in->lim - in->p);
	in->stop = in->is_frame_end ? in->p + left : in->lim;
}

static inline void frame_push(
	struct etcd_split *s, struct input *in, enum message msg, uint64_t len)
{
	s->depth++;
	s->frames[s->depth].end = input_pos(s, in) + len;
	s->frames[s->depth].msg = (uint8_t)msg;
	s->state = STATE_TAG;
	frame_enter(s, in);
}

/* The innermost frame is complete. */
static inline void frame_pop(struct etcd_split *s, struct input *in)
{
	if (s->depth == 0) {
		s->state = STATE_DONE;
		return;
	}
	if (s->depth == 1 && s->frames[1].msg != MSG_HEADER)
		s->state = STATE_CLOSE;
	s->depth--;
	frame_enter(s, in);
}

static void event_reset(struct etcd_split *s)
{
	s->event = (struct etcd_event){.key = s->key, .is_listed = s->is_listing};
	s->told &= (uint8_t)~TOLD_EVENT;
	s->has_kv = s->is_listing;
	s->has_prev_value = false;
}

static int event_tell(struct etcd_split *s)
{
	int r;

	/* No etcd has a key of no bytes, and a sink should not have to think about one. */
	if (!s->event.key_len &&
		(s->event.type == ETCD_EVENT_PUT || s->event.type == ETCD_EVENT_DELETE))
		return ERR_PROTO;
	r = s->ops->event(s->user, &s->event);
	if (r < 0)
		return r;
	s->told |= TOLD_EVENT;
	return 1;
}

static int take_tag(struct etcd_split *s, struct input *in, uint64_t tag)
{
	uint64_t number = tag >> 3;
	unsigned int wire = (unsigned int)tag & 7;
	uint8_t msg = s->frames[s->depth].msg;

	/* Numbers go up to 2^29 - 1, and 0 is none. */
	if (number == 0 || tag > UINT32_MAX)
		return ERR_PROTO;
	s->field = number < messages[msg].count ? &messages[msg].fields[number] : &field_unknown;
	if (s->field->kind != FIELD_SKIP && wire != field_wire(s->field))
		return ERR_PROTO;
	if (wire == WIRE_VARINT) {
		s->state = STATE_NUMBER;
	} else if (wire == WIRE_LEN) {
		s->state = STATE_LEN;
	} else if (wire == WIRE_64 || wire == WIRE_32) {
		s->left = wire == WIRE_64 ? 8 : 4;
		if (s->left > s->frames[s->depth].end - input_pos(s, in))
			return ERR_PROTO;
		s->state = STATE_SKIP;
	} else {
		/* 3 and 4 are groups, which etcd never had; 6 and 7 do not exist */
		return ERR_PROTO;
	}
	return 1;
}

static inline int put_number(struct etcd_split *s, const struct etcd_split_field *f, uint64_t v)
{
	void *at = (char *)s + f->offset;
	bool is_fixed = (f->told & s->told) != 0;

	if (f->kind <= FIELD_REVISION) {
		if (f->kind == FIELD_REVISION && !etcd_revision_is_valid((int64_t)v))
			return ERR_REVISION;
		if (!f->offset)
			return 1;
		if (is_fixed && *(uint64_t *)at != v)
			return ERR_PROTO;
		*(uint64_t *)at = v;
	} else if (f->kind == FIELD_BOOL) {
		if (is_fixed && *(bool *)at != (v != 0))
			return ERR_PROTO;
		*(bool *)at = v != 0;
	} else {
		if (is_fixed && *(int32_t *)at != (int32_t)(uint32_t)v)
			return ERR_PROTO;
		*(int32_t *)at = (int32_t)(uint32_t)v;
	}
	return 1;
}

/* The value of a kv or a prev_kv: told only if it has bytes. */
static int take_value_len(struct etcd_split *s, uint64_t len)
{
	if (s->field->kind == FIELD_VALUE) {
		if (s->told & TOLD_EVENT)
			return ERR_PROTO;
		s->event.value_len = len;
	} else {
		if (s->has_prev_value)
			return ERR_PROTO;
		s->event.prev_len = len;
		s->has_prev_value = len != 0;
	}
	s->left = len;
	s->after_value = STATE_TAG;
	s->state = len == 0 ? STATE_TAG : s->told & TOLD_EVENT ? STATE_STREAM : STATE_TELL;
	return 1;
}

/* What is collected: its bytes come in STATE_COLLECT. */
static int take_text_len(struct etcd_split *s, uint64_t len)
{
	if (s->field->kind == FIELD_KEY) {
		if (s->told & TOLD_EVENT)
			return ERR_PROTO;
		s->event.key_len = len > SIZE_MAX ? SIZE_MAX : (size_t)len;
		s->event.is_key_long = len > sizeof(s->key);
	} else {
		if ((s->told & TOLD_ANSWER) && (len || s->answer.reason_len))
			return ERR_PROTO;
		s->answer.reason_len = len < ETCD_REASON_MAX ? (size_t)len : ETCD_REASON_MAX;
	}
	s->kept = 0;
	s->left = len;
	s->state = STATE_COLLECT;
	return 1;
}

/* What is behind a varint that lies whole before stop; NULL: it does not, or is malformed. */
static const uint8_t *varint_get_long(const uint8_t *p, const uint8_t *stop, uint64_t *v)
{
	unsigned int bits = 0;
	/* The top bit of a byte, which tells that one more follows, weighs as much as the 1 that is
	 * taken off that one. */
	uint64_t acc = 1;

	if (stop - p > VARINT_MAX)
		stop = p + VARINT_MAX;
	for (; p < stop; bits += 7) {
		uint64_t b = *p++;

		acc += (b - 1) << bits;
		if (b < 0x80) {
			*v = acc;
			/* Ten bytes hold 70 bits; what is above 64 must not be there. */
			return bits < 63 || b <= 1 ? p : NULL;
		}
	}
	return NULL;
}

/* Most varints of an event are one byte, and a call would cost more than they do. */
static inline __attribute__((always_inline)) const uint8_t *varint_get(
	const uint8_t *p, const uint8_t *stop, uint64_t *v)
{
	if (p == stop || *p >= 0x80)
		return varint_get_long(p, stop, v);
	*v = *p;
	return p + 1;
}

/* A number of a kv, if it is the next field. NULL: not whole, or no revision. */
static inline const uint8_t *get_kv_number(
	const uint8_t *p, const uint8_t *end, unsigned int number, int64_t *dst)
{
	uint64_t v;

	if (!p || p == end || *p != TAG(number, WIRE_VARINT))
		return p;
	p = varint_get(p + 1, end, &v);
	if (!p || !etcd_revision_is_valid((int64_t)v))
		return NULL;
	*dst = (int64_t)v;
	return p;
}

/*
 * The fast path: an event that lies whole in the input and is as etcd writes it, fields in the order
 * of their numbers and nothing behind the value. All that stands before the value is taken at once.
 * False: nothing was taken; whatever is wrong or unusual is the table's, which gives the same.
 */
static bool take_usual_event(struct etcd_split *s, struct input *in, uint64_t len)
{
	const uint8_t *p = in->p, *end;
	struct etcd_event *e = &s->event;
	uint64_t v;

	if (len > (uint64_t)(in->stop - p))
		return false;
	end = p + len;
	if (!s->is_listing) {
		if (len > 2 && p[0] == TAG(1, WIRE_VARINT) && p[1] < 0x80) {
			e->type = p[1];
			p += 2;
		}
		if (p == end || *p != TAG(2, WIRE_LEN))
			return false;
		p = varint_get(p + 1, end, &v);
		if (!p || v != (uint64_t)(end - p))
			return false;
		s->has_kv = true;
	}
	if (p == end || *p != TAG(1, WIRE_LEN))
		return false;
	p = varint_get(p + 1, end, &v);
	if (!p || v > (uint64_t)(end - p) || v > sizeof(s->key))
		return false;
	memcpy(s->key, p, (size_t)v);
	e->key_len = (size_t)v;
	p = get_kv_number(p + v, end, 2, &e->create_rev);
	p = get_kv_number(p, end, 3, &e->mod_rev);
	p = get_kv_number(p, end, 4, &e->version);
	if (!p)
		return false;
	s->state = STATE_CLOSE;
	if (p != end) {
		if (*p != TAG(5, WIRE_LEN))
			return false;
		p = varint_get(p + 1, end, &v);
		if (!p || v != (uint64_t)(end - p) || !v)
			return false;
		e->value_len = v;
		s->field = &fields_kv[5];
		s->left = v;
		s->state = STATE_TELL;
		s->after_value = STATE_CLOSE;
	}
	in->p = p;
	return true;
}

/* Its bytes, s->left of them, come next. */
static void event_open(struct etcd_split *s, struct input *in)
{
	event_reset(s);
	if (take_usual_event(s, in, s->left))
		return;
	event_reset(s);
	frame_push(s, in, s->is_listing ? MSG_KV : MSG_EVENT, s->left);
}

static int take_len(struct etcd_split *s, struct input *in, uint64_t len)
{
	if (len > (uint64_t)(in->stop - in->p) && len > s->frames[s->depth].end - input_pos(s, in))
		return ERR_PROTO;
	switch (s->field->kind) {
	case FIELD_HEADER:
		if ((s->told & TOLD_ANSWER) && !s->answer.header.is_present)
			return ERR_PROTO;
		s->answer.header.is_present = true;
		frame_push(s, in, MSG_HEADER, len);
		return 1;
	case FIELD_EVENT:
	case FIELD_LISTED:
		s->left = len;
		s->state = STATE_BEGIN;
		if (s->told & TOLD_ANSWER)
			event_open(s, in);
		return 1;
	case FIELD_KV:
		if (s->has_kv)
			return ERR_PROTO;
		s->has_kv = true;
		frame_push(s, in, MSG_KV, len);
		return 1;
	case FIELD_PREV:
		if (s->event.has_prev)
			return ERR_PROTO;
		s->event.has_prev = true;
		frame_push(s, in, MSG_PREV, len);
		return 1;
	case FIELD_KEY:
	case FIELD_REASON:
		return take_text_len(s, len);
	case FIELD_VALUE:
	case FIELD_PREV_VALUE:
		return take_value_len(s, len);
	default:
		s->left = len;
		s->state = STATE_SKIP;
		return 1;
	}
}

/* 1: *v is complete; 0: the input, or the frame, has no more bytes. */
static inline int take_varint(struct etcd_split *s, struct input *in, uint64_t *v)
{
	const uint8_t *p = in->p;
	uint64_t acc = s->acc;
	unsigned int bits = s->acc_bits;

	while (p < in->stop) {
		uint8_t b = *p++;

		if (bits == 63 && b > 1)
			return ERR_PROTO;
		acc |= (uint64_t)(b & 0x7f) << bits;
		bits += 7;
		if (b < 0x80) {
			in->p = p;
			s->acc = 0;
			s->acc_bits = 0;
			*v = acc;
			return 1;
		}
	}
	in->p = p;
	s->acc = acc;
	s->acc_bits = (uint8_t)bits;
	return 0;
}

static int take_bytes(struct etcd_split *s, struct input *in)
{
	size_t n = (size_t)(in->lim - in->p);

	if (n > s->left)
		n = (size_t)s->left;
	if (s->state == STATE_COLLECT) {
		bool is_key = s->field->kind == FIELD_KEY;
		uint8_t *dst = is_key ? s->key : (uint8_t *)s->answer.reason;
		size_t room = (is_key ? sizeof(s->key) : sizeof(s->answer.reason)) - s->kept;

		if (room > n)
			room = n;
		if (room)
			memcpy(dst + s->kept, in->p, room);
		s->kept += room;
	}
	in->p += n;
	s->left -= n;
	if (s->left)
		return 0;
	s->state = STATE_TAG;
	return 1;
}

static int take_value(struct etcd_split *s, struct input *in)
{
	size_t n = (size_t)(in->lim - in->p);
	ssize_t r;

	if (n > s->left)
		n = (size_t)s->left;
	if (!n)
		return 0;
	r = s->ops->value(
		s->user, s->field->kind == FIELD_VALUE ? ETCD_VALUE : ETCD_VALUE_PREV, in->p, n);
	if (r < 0)
		return (int)r;
	if ((size_t)r > n)
		return ERR_BUG;
	in->p += r;
	s->left -= (uint64_t)r;
	if (!s->left)
		s->state = s->after_value;
	return (size_t)r < n ? ERR_AGAIN : 1;
}

static int call_back(struct etcd_split *s, struct input *in)
{
	int r;

	switch (s->state) {
	case STATE_BEGIN:
		r = s->ops->begin(s->user, &s->answer);
		if (r < 0)
			return r;
		s->told |= TOLD_ANSWER;
		event_open(s, in);
		return 1;
	case STATE_TELL:
		r = event_tell(s);
		if (r <= 0)
			return r;
		s->state = STATE_STREAM;
		return take_value(s, in);
	default:
		if (!(s->told & TOLD_EVENT)) {
			r = event_tell(s);
			if (r < 0)
				return r;
		}
		r = s->ops->event_end(s->user, &s->event);
		if (r < 0)
			return r;
		s->answer.event_count++;
		s->state = STATE_TAG;
		return 1;
	}
}

/* The frame has no more bytes in this input. */
static inline int take_frame_end(struct etcd_split *s, struct input *in)
{
	if (!in->is_frame_end)
		return 0;
	/* Right before a tag it may end; else something is cut off. */
	if (s->state != STATE_TAG || s->acc_bits)
		return ERR_PROTO;
	frame_pop(s, in);
	return 1;
}

/* A varint, and what is to become of it. */
static int take_word(struct etcd_split *s, struct input *in)
{
	uint64_t v = 0;
	int r = take_varint(s, in, &v);

	if (r < 0)
		return r;
	if (r == 0)
		return take_frame_end(s, in);
	if (s->state == STATE_TAG)
		return take_tag(s, in, v);
	if (s->state == STATE_NUMBER) {
		s->state = STATE_TAG;
		return put_number(s, s->field, v);
	}
	return take_len(s, in, v);
}

/*
 * The fast path: known numbers, and the length of one known field, that lie whole in the input and
 * have tags of one byte. Whatever else comes, errors too, is left where it is for take_word(), which
 * gives the same, a word at a time.
 */
static inline int take_fields(struct etcd_split *s, struct input *in)
{
	const struct etcd_split_field *fields = messages[s->frames[s->depth].msg].fields;
	unsigned int count = messages[s->frames[s->depth].msg].count;
	const uint8_t *p = in->p;

	if (s->acc_bits)
		return take_word(s, in);
	while (p < in->stop) {
		unsigned int number = *p >> 3;
		unsigned int wire = *p & 7;
		const struct etcd_split_field *f = &fields[number];
		const uint8_t *next;
		uint64_t v;

		if (number >= count || f->kind == FIELD_SKIP || wire != field_wire(f))
			break;
		next = varint_get(p + 1, in->stop, &v);
		if (!next)
			break;
		if (wire == WIRE_LEN) {
			in->p = next;
			s->field = f;
			return take_len(s, in, v);
		}
		if (put_number(s, f, v) < 0)
			break;
		p = next;
	}
	in->p = p;
	return p < in->stop ? take_word(s, in) : take_frame_end(s, in);
}

/* Until there is nothing to do (0) or something is in the way (an error, ERR_AGAIN among them). */
static int run(struct etcd_split *s, struct input *in)
{
	int r;

	frame_enter(s, in);
	do {
		switch (s->state) {
		case STATE_TAG:
			r = take_fields(s, in);
			break;
		case STATE_NUMBER:
		case STATE_LEN:
			r = take_word(s, in);
			break;
		case STATE_SKIP:
		case STATE_COLLECT:
			r = take_bytes(s, in);
			break;
		case STATE_STREAM:
			r = take_value(s, in);
			break;
		case STATE_BEGIN:
		case STATE_TELL:
		case STATE_CLOSE:
			r = in->p < in->lim || in->is_last ? call_back(s, in) : 0;
			break;
		default:
			r = 0;
			break;
		}
	} while (r > 0);
	s->pos += (uint64_t)(in->p - in->start);
	if (r < 0 && r != ERR_AGAIN)
		s->err = r;
	return r;
}

void etcd_split_begin(struct etcd_split *s, enum etcd_split_kind kind, uint64_t len,
	const struct etcd_split_ops *ops, void *user)
{
	/* All but the key and the reason, whose lengths tell what is theirs: this runs for each of many
	 * small messages. */
	memset(s, 0, offsetof(struct etcd_split, answer.reason));
	s->answer.reason_len = 0;
	s->answer.has_more = false;
	s->answer.count = 0;
	s->answer.event_count = 0;
	s->ops = ops;
	s->user = user;
	s->is_listing = kind == ETCD_SPLIT_RANGE;
	s->frames[0].end = len;
	s->frames[0].msg = s->is_listing ? MSG_RANGE : MSG_WATCH;
	s->state = STATE_TAG;
}

ssize_t etcd_split_feed(struct etcd_split *s, const uint8_t *p, size_t len)
{
	struct input in = {.start = p, .p = p, .lim = p + len};
	int r;

	if (!s->err && len > s->frames[0].end - s->pos)
		s->err = ERR_BUG;
	if (s->err)
		return s->err;
	r = run(s, &in);
	return r < 0 && r != ERR_AGAIN ? r : (ssize_t)(in.p - p);
}

int etcd_split_end(struct etcd_split *s)
{
	static const uint8_t nothing[1];
	struct input in = {.start = nothing, .p = nothing, .lim = nothing, .is_last = true};
	int r;

	if (!s->err && s->pos != s->frames[0].end)
		s->err = ERR_PROTO;
	if (s->err)
		return s->err;
	r = run(s, &in);
	if (r < 0 || s->state == STATE_ENDED)
		return r;
	if (!(s->told & TOLD_ANSWER)) {
		r = s->ops->begin(s->user, &s->answer);
		if (r >= 0)
			s->told |= TOLD_ANSWER;
	}
	if (r >= 0)
		r = s->ops->end(s->user, &s->answer);
	if (r >= 0)
		s->state = STATE_ENDED;
	else if (r != ERR_AGAIN)
		s->err = r;
	return r < 0 ? r : 0;
}
