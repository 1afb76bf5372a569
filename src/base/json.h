/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Writes JSON (RFC 8259) into a bounded piece of memory of the caller: objects and arrays with
 * their commas, no white space, and nothing escaped but the double quote, the backslash and control
 * characters below 0x20. It does not check that calls are nested well.
 *
 * The first thing that does not fit makes it full: it writes nothing from then on, and json_end()
 * says so.
 */
#ifndef ETCHLET_BASE_JSON_H
#define ETCHLET_BASE_JSON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/buf.h"

enum {
	JSON_ESCAPE_MAX = 6, /* bytes that one byte of text may become: \u00XX */
	JSON_NUMBER_MAX = 20, /* bytes of a 64-bit number */
};

struct json {
	char *dst;
	size_t cap, len;
	bool want_comma; /* before what comes next */
	bool is_full;
};

/* Into dst[cap]; nothing is terminated. */
void json_begin(struct json *j, char *dst, size_t cap);
/* Bytes written, or ERR_LIMIT. */
ssize_t json_end(struct json *j);

/* The same at the tail of b. json_end_buf() keeps all of it: 0; or nothing: ERR_AGAIN. */
void json_begin_buf(struct json *j, struct buf *b);
int json_end_buf(struct json *j, struct buf *b);

void json_object_begin(struct json *j);
void json_object_end(struct json *j);
void json_array_begin(struct json *j);
void json_array_end(struct json *j);

/* A member's name, plain ASCII that needs no escape; its value comes next. */
void json_member(struct json *j, const char *name);

/* Values. Bytes of text that are not valid UTF-8 come out as U+FFFD. */
void json_text(struct json *j, const void *p, size_t len);
/* Terminated; NULL is null. */
void json_string(struct json *j, const char *text);
void json_int(struct json *j, int64_t n);
void json_uint(struct json *j, uint64_t n);
void json_bool(struct json *j, bool is_true);
void json_null(struct json *j);
/* A number in a string, for ids that a reader's doubles can't hold. */
void json_uint_string(struct json *j, uint64_t n);
/* Ready JSON, taken as it is. */
void json_raw(struct json *j, const char *text, size_t len);
/* A line end; no comma follows it, so that a file of lines can be made of one writer. */
void json_newline(struct json *j);

/* json_member() and a value in one call. */
void json_member_text(struct json *j, const char *name, const void *p, size_t len);
void json_member_string(struct json *j, const char *name, const char *text);
void json_member_int(struct json *j, const char *name, int64_t n);
void json_member_uint(struct json *j, const char *name, uint64_t n);
void json_member_bool(struct json *j, const char *name, bool is_true);
void json_member_null(struct json *j, const char *name);
/* name as text where it is valid UTF-8, else name_base64. */
void json_member_bytes(struct json *j, const char *name, const void *p, size_t len);

/* -- for those that write JSON piece by piece -------------------------------------------------- */

enum json_text_kind {
	JSON_TEXT_PLAIN, /* can be copied as it is */
	JSON_TEXT_ESCAPE, /* valid UTF-8, with something to escape */
	JSON_TEXT_BINARY, /* not valid UTF-8 */
};

enum json_text_kind json_text_scan(const uint8_t *p, size_t len);

/*
 * Takes as many bytes of src as fit into cap when escaped, never half an escape, and expects them
 * to be of valid text. Returns how many it took and sets *used to the bytes written.
 */
size_t json_escape(char *dst, size_t cap, size_t *used, const uint8_t *src, size_t len);

/* In decimal, not terminated; returns the length. */
size_t json_format_uint(char dst[JSON_NUMBER_MAX], uint64_t n);
size_t json_format_int(char dst[JSON_NUMBER_MAX], int64_t n);

#endif
