/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The sink that sends each batch to a service: "post = URL" of a watch.
 *
 * URL is http://..., https://... or, for a service of this device, unix:PATH, with unix:PATH:/REQUEST where the
 * request is for another place than "/"; its Host is "localhost". The batch's JSON lines (sink/batch.h) are the body of a POST, streamed
 * from the spool, with
 *
 *	Content-Type: application/x-ndjson
 *	Etchlet-Watch, Etchlet-Revision (the highest of the batch, or the listing's), Etchlet-Reason ("event"
 *	or that of a listing), Etchlet-Device (where there is one)
 *	Idempotency-Key: "DEVICE/WATCH/REVISION/REASON/CRC", the same for each try of a batch; a batch that is made again after a
 *	restart has the same one when it holds the same lines
 *	Authorization: Bearer, from a file that is read again for each try
 *
 * In these values a byte that is not visible ASCII is %XX, and so are '%', '"', '\' and, in the key, '/'.
 *
 * What the answer means, as soon as its headers are there:
 *
 *	2xx                     processed
 *	408, 425, 429, 5xx      tried again, as is every trouble of the network or with the token's file
 *	3xx (none is followed)  rejected
 *	other 4xx               rejected
 *
 * A rejected batch is held: it is tried again at the longest delay only, until the service takes it; or, with is_skipped, it counts as processed,
 * which is logged and counted. Retry-After is obeyed up to CONFIG_POST_RETRY_AFTER_S: nothing
 * shortens it. Of an answer's body CONFIG_POST_ANSWER_BYTES are read, for timeout_ms at most, then the connection is dropped. Its first line is
 * told with a failure.
 *
 * At a stop a request that is under way has POST_STOP_MS, or less, to be answered; then it is given up, and the batch comes again after
 * the next start.
 *
 * fail() is called with ERR_IO for an answer that is no success, or with the error of net/http.h.
 */
#ifndef ETCHLET_SINK_POST_H
#define ETCHLET_SINK_POST_H

#include "base/log.h"
#include "net/http.h"
#include "sink/batch.h"

enum {
	POST_STOP_MS = 800, /* a stop takes at most a second */
	POST_REVISION_MAX = 48, /* bytes of Etchlet-Revision: ... */
	POST_REASON_MAX = 40, /* bytes of Etchlet-Reason: ... */
	POST_HEADER_MAX = 8,
	POST_SHOWN_MAX =
		88, /* bytes of the URL as it is told: without user, password and query, cut */
	POST_TEXT_MAX = 64, /* bytes of an answer's first line that are shown, about */
};

struct post_cfg {
	struct loop *loop;
	const char *watch_name;
	const char *url; /* as the user wrote it; lives as long as the sink, as all strings here */
	const char *device; /* NULL: none */
	const char *token_path; /* NULL: none */
	bool is_skipped; /* what is rejected */
	int64_t connect_timeout_ms;
	int64_t timeout_ms; /* without progress in sending, and for the answer */
	int64_t settle_ms;
	int64_t backoff_min_ms, backoff_max_ms;
	bool want_prev;
	const char *spool_folder; /* NULL: CONFIG_BATCH_SPOOL_FOLDER */
	struct http_cfg http; /* its loop is filled in */
};

struct post_sink {
	struct batch batch;
	struct post_cfg cfg; /* private, as is all that follows */
	struct http *http;
	struct http_request request;
	struct loop_timer timer; /* for the body of an answer, and at a stop */
	struct log_limit skip_limit;
	const char *headers[POST_HEADER_MAX];
	char *key; /* in batch.mem: Idempotency-Key: ... */
	char *token; /* as well */
	char shown[POST_SHOWN_MAX]; /* the URL as it is told */
	size_t key_len; /* of what does not change */
	uint32_t crc; /* of the lines */
	uint64_t crc_at; /* of so many bytes of them; all: the key is there */
	size_t answer_len; /* bytes of the answer's body that have come */
	size_t text_len;
	bool is_text_whole; /* its first line is over */
	uint8_t text[POST_TEXT_MAX];
	char trouble[HTTP_WHY_MAX]; /* of a try that got no answer */
	char revision[POST_REVISION_MAX];
	char reason[POST_REASON_MAX];
};

/* Whether a URL could be used, and why not: 0, ERR_CONFIG, ERR_LIMIT or ERR_UNSUPPORTED. */
int post_check_url(const char *url, char *why, size_t why_cap);
/* Whether the server behind it must show a certificate. */
bool post_is_tls(const char *url);
/* The path of a local socket, terminated; false: it is none, or does not fit. */
bool post_local_path(const char *url, char *dst, size_t cap);
/* Whether the file holds a token that could be sent: 0, or an error with why. */
int post_check_token(const char *path, char *why, size_t why_cap);

/*
 * Allocates once: what batch_init() does, with the headers and the token; and as http_open(). Fills in batch.sink.ops and name; the owner sets
 * wake, fail and user. 0, or an error with why: ERR_NOMEM, ERR_LIMIT or ERR_RANGE (the watch's name), those of post_check_url() and
 * of http_open().
 */
int post_init(struct post_sink *s, const struct post_cfg *cfg, char *why, size_t why_cap);
/* Certificates and keys are read again; an error keeps those at hand. As http_reload(). */
int post_reload(struct post_sink *s, char *why, size_t why_cap);
/* Delays of the tries to come. */
void post_set_delays(struct post_sink *s, int64_t backoff_min_ms, int64_t backoff_max_ms,
	int64_t connect_timeout_ms);
/* Harmless after a failed post_init(), and on zeros. A request that is under way is given up. */
void post_free(struct post_sink *s);

#endif
