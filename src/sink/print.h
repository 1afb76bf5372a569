/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The sink that prints: one JSON line an event, or what etcdctl prints. done_rev moves when the
 * bytes were taken by the output (see print_out.h, which also says what happens in its trouble).
 *
 * A value of up to CONFIG_PRINT_VALUE_BYTES is whole before its form is chosen; a longer one is
 * base64 and streams. An event that never ended because sync_begin() came instead is closed as a
 * valid line with "truncated":true as its last member; in the simple format with a line end. At a
 * stop the line stays torn, so that no reader takes it for a whole one.
 *
 * In the simple format etcdctl prints the previous pair before the new one; where the new value is
 * longer than that and streams, the previous pair is left out, and this is logged.
 *
 * In a watch with a mirror, the lines for a hook have the "path" of a put's file in place of its value.
 *
 * fail(ERR_PIPE) is for good: standard output has lost its reader. fail() with any other code is
 * for the counters: the trouble has been logged, and is tried again by itself.
 */
#ifndef ETCHLET_SINK_PRINT_H
#define ETCHLET_SINK_PRINT_H

#include "base/base64.h"
#include "base/json.h"
#include "sink/print_out.h"
#include "sink/sink.h"

enum {
	PRINT_PREFIX_MAX = 512, /* bytes of "watch":"NAME", */
};

enum print_format {
	PRINT_SIMPLE,
	PRINT_JSON,
};

struct print_cfg {
	struct print_out *out; /* opened; shared by all sinks that print to its path */
	enum print_format format;
	const char *watch_name; /* lines of run begin with it; NULL: they do not */
	bool want_progress; /* --progress-notify */
	bool want_prev; /* --prev-kv */
	bool is_get; /* the two forms of get: no lines about the stream, no "sync" */
	/* PRINT_JSON only. NULL: a put has its value. Else it has the path that this answers: text
	 * without '"', '\\' or control characters, not terminated, of at most cap (more than 4096)
	 * bytes; 0: it has neither. */
	size_t (*path)(void *user, const uint8_t *key, size_t key_len, char *dst, size_t cap);
	void *path_user;
};

/* See print_line.h */
enum print_state {
	PRINT_IDLE,
	PRINT_KEY,
	PRINT_VALUE,
	PRINT_VALUE_OUT,
	PRINT_VALUE_STREAM,
	PRINT_TAIL,
	PRINT_PREV,
	PRINT_PREV_OUT,
	PRINT_PREV_STREAM,
	PRINT_KEY_AGAIN,
	PRINT_END,
};

struct print_sink {
	struct sink sink;
	struct print_client client; /* private, as is all that follows */
	struct print_cfg cfg;
	struct loop_timer stop_timer;
	enum print_state state;
	enum json_text_kind form; /* of what is in out->hold */
	struct base64 base64;
	bool is_delete, is_listed;
	bool has_value; /* the bytes of the value at hand are printed */
	bool is_opened; /* of what is printed from hold, the name has been */
	bool is_stopping;
	bool was_told; /* that a previous pair was left out */
	int64_t create_rev, mod_rev, version;
	uint64_t value_len, value_got; /* of the value at hand, which may be the previous one */
	size_t key_at; /* bytes printed in PRINT_KEY_AGAIN */
	size_t prefix_len;
	char prefix[PRINT_PREFIX_MAX]; /* what stands first in an object */
};

/* Fills in sink.ops and sink.name; the owner sets wake, fail and user. 0; ERR_LIMIT: watch_name is
 * too long; ERR_RANGE: it is not valid UTF-8. */
int print_init(struct print_sink *s, const struct print_cfg *cfg);
/* Forgets the line that has begun, and all that its output has not written. */
void print_drop(struct print_sink *s);
/* Takes s away from its output, where a line that has begun is closed when others share it and there is room.
 * Harmless when it is not there. */
void print_free(struct print_sink *s);

#endif
