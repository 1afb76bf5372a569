/* SPDX-License-Identifier: Apache-2.0 */
#include "sink/print_line.h"

bool print_fixed(struct print_sink *s, const char *text)
{
	size_t len = strlen(text);
	uint8_t *at = print_out_room(&s->client, len);

	if (!at)
		return false;
	print_added(s, at, print_put(at, text, len));
	return true;
}

uint8_t *print_put_coded(uint8_t *at, enum json_text_kind form, const uint8_t *src, size_t len)
{
	struct base64 b64 = {0};
	size_t used = 0;

	if (form == JSON_TEXT_ESCAPE) {
		json_escape((char *)at, len * JSON_ESCAPE_MAX, &used, src, len);
		return at + used;
	}
	base64_put(&b64, (char *)at, base64_len(len) + 4, &used, src, len);
	return at + used + base64_end(&b64, (char *)at + used);
}

size_t print_some(struct print_sink *s, enum json_text_kind form, const uint8_t *src, size_t len)
{
	size_t in = 0;

	while (in < len) {
		uint8_t *at = print_out_room(&s->client, PRINT_STEP_MIN);
		size_t room, used, n;

		if (!at)
			break;
		room = print_out_room_len(&s->client);
		if (form == JSON_TEXT_ESCAPE) {
			n = json_escape((char *)at, room, &used, src + in, len - in);
		} else if (form == JSON_TEXT_BINARY) {
			n = base64_put(&s->base64, (char *)at, room, &used, src + in, len - in);
		} else {
			n = used = len - in < room ? len - in : room;
			memcpy(at, src + in, n);
		}
		print_out_added(&s->client, used);
		in += n;
	}
	return in;
}

bool print_text_end(struct print_sink *s, enum json_text_kind form)
{
	uint8_t *at = print_out_room(&s->client, BASE64_END_MAX + 1), *end = at;

	if (!at)
		return false;
	if (form == JSON_TEXT_BINARY)
		end += base64_end(&s->base64, (char *)at);
	*end++ = print_is_json(s) ? '"' : '\n';
	print_added(s, at, end);
	return true;
}

/* The name that stands before the text in hold, once. */
static bool print_open(struct print_sink *s, const char *text_name, const char *base64_name)
{
	if (s->is_opened)
		return true;
	if (print_is_json(s) &&
		!print_fixed(s, s->form == JSON_TEXT_BINARY ? base64_name : text_name))
		return false;
	s->base64 = (struct base64){0};
	s->is_opened = true;
	return true;
}

/* What is held, as far as there is room; true: all of it. */
static bool print_from_hold(struct print_sink *s)
{
	struct print_out *o = s->client.out;

	o->hold_at += print_some(s, s->form, o->hold + o->hold_at, o->hold_len - o->hold_at);
	return o->hold_at == o->hold_len;
}

static void print_hold_clear(struct print_sink *s)
{
	s->client.out->hold_len = s->client.out->hold_at = 0;
	s->is_opened = false;
}

void print_hold_add(struct print_sink *s, const uint8_t *p, size_t len)
{
	struct print_out *o = s->client.out;

	memcpy(o->hold + o->hold_len, p, len);
	o->hold_len += len;
}

bool print_advance_held(struct print_sink *s)
{
	switch (s->state) {
	case PRINT_KEY:
		if (!print_from_hold(s) || !print_text_end(s, s->form))
			return false;
		print_hold_clear(s);
		s->state = PRINT_VALUE;
		return true;
	case PRINT_VALUE_OUT:
		if (!print_open(s, s->cfg.path ? ",\"path\":\"" : ",\"value\":\"",
			    ",\"value_base64\":\"") ||
			!print_from_hold(s) || !print_text_end(s, s->form))
			return false;
		print_hold_clear(s);
		s->state = PRINT_TAIL;
		return true;
	case PRINT_PREV_OUT:
		if (!print_open(s, ",\"prev_value\":\"", ",\"prev_value_base64\":\"") ||
			!print_from_hold(s) || !print_text_end(s, s->form))
			return false;
		print_hold_clear(s);
		s->state = PRINT_END;
		return true;
	default:
		return true;
	}
}

void print_line_ended(struct print_sink *s)
{
	s->state = PRINT_IDLE;
	print_hold_clear(s);
	print_out_release(&s->client);
}

bool print_close_torn(struct print_sink *s)
{
	if (s->state == PRINT_IDLE)
		return true;
	if (print_is_json(s)) {
		if (!print_advance(s))
			return false;
		if (s->state == PRINT_VALUE_STREAM || s->state == PRINT_PREV_STREAM) {
			if (!print_text_end(s, JSON_TEXT_BINARY))
				return false;
			s->state = PRINT_END;
		}
		if (!print_fixed(s, ",\"truncated\":true}\n"))
			return false;
	} else if (!print_fixed(s, "\n")) {
		return false;
	}
	print_line_ended(s);
	return true;
}
