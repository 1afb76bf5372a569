/* SPDX-License-Identifier: Apache-2.0 */
#include "sink/print_line.h"

static uint8_t *print_put_numbers(const struct print_sink *s, uint8_t *at, int64_t lease)
{
	if (!s->is_delete) {
		at = PRINT_PUT(at, ",\"create_revision\":");
		at = print_put_int(at, s->create_rev);
	}
	at = PRINT_PUT(at, ",\"mod_revision\":");
	at = print_put_int(at, s->mod_rev);
	if (!s->is_delete) {
		at = PRINT_PUT(at, ",\"version\":");
		at = print_put_int(at, s->version);
		at = PRINT_PUT(at, ",\"lease\":\"");
		at = print_put_int(at, lease);
		at = PRINT_PUT(at, "\"");
	}
	return at;
}

enum {
	PRINT_NAME_MAX = 24, /* the longest, with a NUL at its end */
};

/* The two texts that come in pieces: a name for each form, and where the line stands meanwhile. */
struct print_json_text {
	char name[PRINT_NAME_MAX], base64_name[PRINT_NAME_MAX];
	uint8_t name_len, base64_name_len;
	enum print_state out, stream, done;
};

#define PRINT_NAME(text) .name = text, .name_len = sizeof(text) - 1
#define PRINT_BASE64_NAME(text) .base64_name = text, .base64_name_len = sizeof(text) - 1

static const struct print_json_text value_text = {
	PRINT_NAME(",\"value\":\""),
	PRINT_BASE64_NAME(",\"value_base64\":\""),
	.out = PRINT_VALUE_OUT,
	.stream = PRINT_VALUE_STREAM,
	.done = PRINT_TAIL,
};
static const struct print_json_text prev_text = {
	PRINT_NAME(",\"prev_value\":\""),
	PRINT_BASE64_NAME(",\"prev_value_base64\":\""),
	.out = PRINT_PREV_OUT,
	.stream = PRINT_PREV_STREAM,
	.done = PRINT_END,
};

/* A text that lies here in full is printed without being held. Returns false when it is too long
 * for that; else *taken is all or, for want of room, nothing. */
static bool print_text_direct(struct print_sink *s, const struct print_json_text *t,
	const uint8_t *p, size_t len, size_t *taken)
{
	size_t max = print_text_max(s->form, len);
	uint8_t *at, *from;

	*taken = 0;
	if (max > PRINT_DIRECT_LEN)
		return false;
	at = from = print_out_room(&s->client, max + PRINT_FIXED_MAX / 2);
	if (!at)
		return true;
	/* Copied in full, which takes no call, and then cut. */
	memcpy(at, s->form == JSON_TEXT_BINARY ? t->base64_name : t->name, PRINT_NAME_MAX);
	at += s->form == JSON_TEXT_BINARY ? t->base64_name_len : t->name_len;
	at = print_put_text(at, s->form, p, len);
	*at++ = '"';
	print_added(s, from, at);
	s->value_got = len;
	s->state = t->done;
	*taken = len;
	return true;
}

/* The next bytes of the text that is not begun, or is being gathered. */
static size_t print_text(
	struct print_sink *s, const struct print_json_text *t, const uint8_t *p, size_t len)
{
	struct print_out *o = s->client.out;
	size_t taken;

	if (s->value_len > CONFIG_PRINT_VALUE_BYTES) {
		if (!print_fixed(s, t->base64_name))
			return 0;
		s->base64 = (struct base64){0};
		s->state = t->stream;
		return print_some(s, JSON_TEXT_BINARY, p, len);
	}
	if (len > s->value_len - s->value_got)
		len = (size_t)(s->value_len - s->value_got);
	if (!s->value_got && len == s->value_len) {
		s->form = json_text_scan(p, len);
		if (print_text_direct(s, t, p, len, &taken))
			return taken;
		print_hold_add(s, p, len);
	} else {
		print_hold_add(s, p, len);
		if (s->value_got + len == s->value_len)
			s->form = json_text_scan(o->hold, o->hold_len);
	}
	s->value_got += len;
	if (s->value_got == s->value_len) {
		s->state = t->out;
		(void)print_advance(s);
	}
	return len;
}

size_t print_json_value(struct print_sink *s, const uint8_t *p, size_t len)
{
	if (s->state == PRINT_VALUE)
		return print_text(s, &value_text, p, len);
	if (s->state == PRINT_VALUE_STREAM)
		return print_some(s, JSON_TEXT_BINARY, p, len);
	return len; /* more than was announced */
}

/* Where the key's file is, through hold, for it may be longer than there is room at once. */
static bool print_json_path(struct print_sink *s, const struct etcd_event *e)
{
	struct print_out *o = s->client.out;

	o->hold_len =
		s->cfg.path(s->cfg.path_user, e->key, e->key_len, (char *)o->hold, sizeof(o->hold));
	s->form = JSON_TEXT_PLAIN;
	s->state = o->hold_len ? PRINT_VALUE_OUT : PRINT_TAIL;
	return print_advance(s);
}

/* Leads from the value to what stands behind it; false: no room. */
static bool print_json_value_end(struct print_sink *s, const struct etcd_event *e)
{
	if (s->state == PRINT_VALUE_STREAM) {
		if (!print_text_end(s, JSON_TEXT_BINARY))
			return false;
		s->state = PRINT_TAIL;
	} else if (s->state == PRINT_VALUE) {
		if (s->cfg.path && !s->is_delete)
			return print_json_path(s, e);
		if (!s->is_delete && !print_fixed(s, ",\"value\":\"\""))
			return false;
		s->state = PRINT_TAIL;
	}
	return true;
}

size_t print_json_prev(
	struct print_sink *s, const struct etcd_event *e, const uint8_t *p, size_t len)
{
	uint8_t *at;

	if (s->state == PRINT_PREV_STREAM)
		return print_some(s, JSON_TEXT_BINARY, p, len);
	if (!print_json_value_end(s, e))
		return 0;
	if (s->state == PRINT_TAIL) {
		at = print_out_room(&s->client, PRINT_FIXED_MAX);
		if (!at)
			return 0;
		print_added(s, at, print_put_numbers(s, at, e->lease));
		s->value_len = e->prev_len;
		s->value_got = 0;
		s->client.out->hold_len = 0;
		s->state = PRINT_PREV;
	}
	/* else it is more than was announced */
	return s->state == PRINT_PREV ? print_text(s, &prev_text, p, len) : len;
}

int print_json_end(struct print_sink *s, const struct etcd_event *e)
{
	uint8_t *at, *from;

	if (!print_json_value_end(s, e))
		return ERR_AGAIN;
	at = from = print_out_room(&s->client, PRINT_FIXED_MAX);
	if (!at)
		return ERR_AGAIN;
	if (s->state == PRINT_TAIL) {
		at = print_put_numbers(s, at, e->lease);
		if (e->has_prev)
			at = PRINT_PUT(at, ",\"prev_value\":\"\"");
		else if (s->is_listed && !s->cfg.is_get)
			at = PRINT_PUT(at, ",\"sync\":true");
	} else if (s->state == PRINT_PREV_STREAM) {
		at += base64_end(&s->base64, (char *)at);
		at = PRINT_PUT(at, "\"");
	}
	at = PRINT_PUT(at, "}\n");
	print_added(s, from, at);
	print_line_ended(s);
	return 0;
}
