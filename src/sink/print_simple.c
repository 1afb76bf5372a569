/* SPDX-License-Identifier: Apache-2.0 */
#include "base/log.h"
#include "sink/print_line.h"

size_t print_simple_value(struct print_sink *s, const uint8_t *p, size_t len)
{
	bool may_have_prev =
		s->cfg.want_prev && !s->is_delete && !s->is_listed && s->create_rev != s->mod_rev;

	if (s->state == PRINT_VALUE && may_have_prev && s->value_len <= CONFIG_PRINT_VALUE_BYTES) {
		if (len > s->value_len - s->value_got)
			return len; /* more than was announced */
		print_hold_add(s, p, len);
		s->value_got += len;
		return len;
	}
	s->state = PRINT_VALUE_STREAM;
	return print_some(s, JSON_TEXT_PLAIN, p, len);
}

size_t print_simple_prev(struct print_sink *s, const uint8_t *p, size_t len)
{
	if (s->state == PRINT_VALUE_STREAM) {
		if (!s->was_told)
			log_warn("print: previous values are left out where the value is longer "
				 "than %d bytes: only -w json has both",
				CONFIG_PRINT_VALUE_BYTES);
		s->was_told = true;
		return len;
	}
	s->state = PRINT_PREV_STREAM;
	return print_some(s, JSON_TEXT_PLAIN, p, len);
}

int print_simple_end(struct print_sink *s, const struct etcd_event *e)
{
	if (s->state == PRINT_PREV_STREAM || (s->state == PRINT_VALUE && e->has_prev)) {
		if (!print_fixed(s, "\n"))
			return ERR_AGAIN;
		s->state = PRINT_KEY_AGAIN;
	}
	if (s->state == PRINT_KEY_AGAIN) {
		s->key_at +=
			print_some(s, JSON_TEXT_PLAIN, e->key + s->key_at, e->key_len - s->key_at);
		if (s->key_at < e->key_len || !print_fixed(s, "\n"))
			return ERR_AGAIN;
		s->state = PRINT_VALUE_OUT;
	}
	if (s->state == PRINT_VALUE)
		s->state = PRINT_VALUE_OUT;
	s->form = JSON_TEXT_PLAIN;
	if (s->state == PRINT_VALUE_OUT && !print_advance(s))
		return ERR_AGAIN;
	if (s->state == PRINT_VALUE_STREAM && !print_text_end(s, JSON_TEXT_PLAIN))
		return ERR_AGAIN;
	print_line_ended(s);
	return 0;
}
