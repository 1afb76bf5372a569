/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What print.c, print_json.c and print_simple.c share: how a line is put together, and where in it
 * an event stands. Private to the print sink.
 *
 * Where an event stands, and what leads on from there:
 *
 *	IDLE         event(): its line has been begun up to the key -> VALUE, or KEY for a long key
 *	KEY          the key is printed from hold as room comes -> VALUE
 *	VALUE        the value is gathered in hold; whole -> VALUE_OUT, or -> TAIL when it was
 *	             printed from where it lay; too long to be held -> VALUE_STREAM
 *	VALUE_OUT    the value is printed from hold -> TAIL
 *	VALUE_STREAM -> TAIL with its last byte
 *	TAIL         the value is printed; what stands behind it is printed when a previous one comes
 *	             -> PREV, or at event_end() -> IDLE
 *	PREV         the previous value, as in VALUE -> PREV_OUT, PREV_STREAM or END
 *	PREV_OUT     it is printed from hold -> END
 *	PREV_STREAM  -> END with event_end()
 *	END          only the line's end is missing; event_end() -> IDLE
 *
 * In the simple format with --prev-kv a value waits in VALUE until event_end(), for the previous
 * pair is printed first: VALUE -> PREV_STREAM -> KEY_AGAIN -> VALUE_OUT -> END.
 *
 * event() takes all or nothing. event_end() and sync_begin() lead on as far as there is room and
 * answer ERR_AGAIN until they are through: nothing else can come in between but the same call, or a
 * sync_begin() that closes the line as torn.
 */
#ifndef ETCHLET_SINK_PRINT_LINE_H
#define ETCHLET_SINK_PRINT_LINE_H

#include <string.h>

#include "sink/print.h"

enum {
	PRINT_FIXED_MAX = 256, /* bytes of any row of names and numbers */
	PRINT_STEP_MIN =
		8, /* room that is worth printing into: an escape or a group of base64 fits */
	/* Text of more bytes is printed from hold, so that it needs no room at once. */
	PRINT_DIRECT_LEN = CONFIG_PRINT_BUFFER_BYTES / 4,
};

static inline bool print_is_json(const struct print_sink *s)
{
	return s->cfg.format == PRINT_JSON;
}

/* -- bytes at a place with enough room; each returns where the next go ------------------------- */

#define PRINT_PUT(at, literal) print_put(at, literal, sizeof(literal) - 1)

static inline uint8_t *print_put(uint8_t *at, const void *p, size_t len)
{
	memcpy(at, p, len);
	return at + len;
}

static inline uint8_t *print_put_int(uint8_t *at, int64_t n)
{
	return at + json_format_int((char *)at, n);
}

/* Room that src needs in that form at most. */
static inline size_t print_text_max(enum json_text_kind form, size_t len)
{
	if (form == JSON_TEXT_PLAIN)
		return len;
	return form == JSON_TEXT_ESCAPE ? len * JSON_ESCAPE_MAX : base64_len(len);
}

/* The whole of src with escapes, or as base64. */
uint8_t *print_put_coded(uint8_t *at, enum json_text_kind form, const uint8_t *src, size_t len);

/* The whole of src in its form. */
static inline uint8_t *print_put_text(
	uint8_t *at, enum json_text_kind form, const uint8_t *src, size_t len)
{
	return form == JSON_TEXT_PLAIN ? print_put(at, src, len)
				       : print_put_coded(at, form, src, len);
}

/* What was put between from and to is printed. */
static inline void print_added(struct print_sink *s, const uint8_t *from, const uint8_t *to)
{
	print_out_added(&s->client, (size_t)(to - from));
}

/* -- as there is room -------------------------------------------------------------------------- */

/* Terminated, at most PRINT_FIXED_MAX bytes, all or nothing; false: not now. */
bool print_fixed(struct print_sink *s, const char *text);
/* As much of src as there is room for, base64 through s->base64. Returns how many bytes it took. */
size_t print_some(struct print_sink *s, enum json_text_kind form, const uint8_t *src, size_t len);
/* The end of a text that was printed with print_some(), with its closing quote or line end. */
bool print_text_end(struct print_sink *s, enum json_text_kind form);

/* Keeps bytes in hold, which has room for them. */
void print_hold_add(struct print_sink *s, const uint8_t *p, size_t len);

/* Prints what is held back for want of room; false: there is still none. */
bool print_advance_held(struct print_sink *s);

static inline bool print_advance(struct print_sink *s)
{
	const unsigned held = 1U << PRINT_KEY | 1U << PRINT_VALUE_OUT | 1U << PRINT_PREV_OUT;

	return !(held >> s->state & 1) || print_advance_held(s);
}

/* Closes the line of an event that will not be continued; false: not now. */
bool print_close_torn(struct print_sink *s);
/* -> IDLE; others may have the output. */
void print_line_ended(struct print_sink *s);

/* -- the two formats: bytes taken; 0 or ERR_AGAIN ---------------------------------------------- */

size_t print_json_value(struct print_sink *s, const uint8_t *p, size_t len);
size_t print_json_prev(
	struct print_sink *s, const struct etcd_event *e, const uint8_t *p, size_t len);
int print_json_end(struct print_sink *s, const struct etcd_event *e);

size_t print_simple_value(struct print_sink *s, const uint8_t *p, size_t len);
size_t print_simple_prev(struct print_sink *s, const uint8_t *p, size_t len);
int print_simple_end(struct print_sink *s, const struct etcd_event *e);

#endif
