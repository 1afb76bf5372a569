/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The one list of error codes.
 *
 * A function that can fail returns an int (or ssize_t): 0 or more is success or a count, below 0 is
 * one of the codes here. The class of a code says what its receiver does:
 *
 *   AGAIN   nothing is wrong, call again when the file descriptor or the sink is ready
 *   PEER    the other side or the network between is at fault: close, back off, try again
 *   LOCAL   this device is at fault (disk, memory): keep what is there, try again, say so
 *   CONFIG  a person must act; tried again slowly, for somebody may just be acting
 *   BUG     cannot happen
 */
#ifndef ETCHLET_BASE_ERR_H
#define ETCHLET_BASE_ERR_H

enum err_class {
	ERR_CLASS_NONE,
	ERR_CLASS_AGAIN,
	ERR_CLASS_PEER,
	ERR_CLASS_LOCAL,
	ERR_CLASS_CONFIG,
	ERR_CLASS_BUG,
};

/* X(code without ERR_, text for a person, class) */
#define ERR_LIST(X) \
	X(AGAIN, "not ready yet", AGAIN) \
	X(BUSY, "busy for a while", AGAIN) \
	X(CLOSED, "connection closed by the peer", PEER) \
	X(RESET, "connection reset by the peer", PEER) \
	X(REFUSED, "connection refused", PEER) \
	X(UNREACHABLE, "network or host unreachable", PEER) \
	X(TIMEOUT, "timed out", PEER) \
	X(DNS, "name not resolved", PEER) \
	X(NET, "network error", PEER) \
	X(TLS, "TLS failed", PEER) \
	X(TLS_VERIFY, "certificate not accepted", CONFIG) \
	X(TLS_ALPN, "the server does not speak HTTP/2 (ALPN h2)", PEER) \
	X(HTTP2, "HTTP/2 protocol error", PEER) \
	X(HTTP, "HTTP failed", PEER) \
	X(GOAWAY, "the server closes the connection", PEER) \
	X(GRPC, "gRPC protocol error", PEER) \
	X(PROTO, "malformed protobuf message", PEER) \
	X(REVISION, "impossible revision from the server", PEER) \
	X(LIMIT, "the peer exceeded a limit", PEER) \
	X(HISTORY, "the server tells another history than before", PEER) \
	X(STATUS, "the server answered with an error", PEER) \
	X(NOMEM, "out of memory", LOCAL) \
	X(IO, "input/output error", LOCAL) \
	X(NOSPACE, "no space left", LOCAL) \
	X(READONLY, "read-only", LOCAL) \
	X(ENTROPY, "no random numbers yet", LOCAL) \
	X(PIPE, "the reader of the output is gone", LOCAL) \
	X(NOENT, "no such file", CONFIG) \
	X(ACCESS, "permission denied", CONFIG) \
	X(LOCKED, "in use by another process", CONFIG) \
	X(CONFIG, "wrong configuration", CONFIG) \
	X(AUTH, "authentication failed", CONFIG) \
	X(RANGE, "value out of range", CONFIG) \
	X(UNSUPPORTED, "not supported by this build", CONFIG) \
	X(BUG, "internal error", BUG)

enum err_index {
#define ERR_X(code, text, cls) ERR_INDEX_##code,
	ERR_INDEX_NONE,
	ERR_LIST(ERR_X) ERR_INDEX_COUNT
#undef ERR_X
};

enum err_code {
#define ERR_X(code, text, cls) ERR_##code = -(int)ERR_INDEX_##code,
	ERR_LIST(ERR_X)
#undef ERR_X
};

/* The code's name without ERR_ ("AGAIN"); "OK" for 0 and more, "UNKNOWN" for what is no code. */
const char *err_name(int code);

/* A few words for a person, without a full stop. */
const char *err_text(int code);

enum err_class err_class_of(int code);

/* The code that stands for a value of errno; ERR_IO when nothing fits better. */
int err_from_errno(int errnum);

#endif
