/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Texts of the sink that posts: what is put into headers, what is read from the user, what a person is told.
 * Private to it.
 */
#ifndef ETCHLET_SINK_POST_TEXT_H
#define ETCHLET_SINK_POST_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <sys/types.h>

#define POST_TEXT_KEY "Idempotency-Key: \""

struct post_target {
	const char *url; /* for struct http_request, as unix_path */
	const char *unix_path;
};

/* What a URL of the user stands for; it may point into mem, of cap bytes, or to url. 0; or ERR_CONFIG or ERR_LIMIT with why. */
int post_text_target(struct post_target *target, const char *url, char *mem, size_t cap, char *why,
	size_t why_cap);
bool post_text_is_tls(const char *url);
/* The URL without user, password and query, fit to be shown; a long one is cut. */
void post_text_shown(char *dst, size_t cap, const char *url);

/* Bytes that post_text_encode() needs at most, with a NUL. */
size_t post_text_encoded_max(const char *text);
/* %XX for what is not visible ASCII, '%', '"', '\' and, in a key, '/'. Terminated. Its length. */
size_t post_text_encode(char *dst, const char *text, bool is_key);

/* The token in a file, terminated, dst: CONFIG_POST_TOKEN_BYTES. Its length; or an error with why, and dst is wiped. */
ssize_t post_text_token(const char *path, char *dst, char *why, size_t why_cap);

/* "URL: rejected with 422 Unprocessable Entity: first line". redirect: what is told of one, in place of all else but
 * the status; "": it is none. */
void post_text_answer(char *dst, size_t cap, const char *shown, const char *verb, int status,
	const char *redirect, const uint8_t *line, size_t line_len);
/* A copy; the middle of a longer one is left out, for its end says what is wrong. */
void post_text_fit(char *dst, size_t cap, const char *text);

#endif
