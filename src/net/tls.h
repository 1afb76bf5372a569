/* SPDX-License-Identifier: Apache-2.0 */
/*
 * TLS over mbedTLS: the only files that know its API. TLS 1.2, by option 1.3; ALPN "h2" is demanded;
 * the peer's certificates and name are verified unless that was switched off.
 *
 * A tls_context holds what connections share: trusted certificates, our own certificate and key, and
 * the last session with each of a few servers (CONFIG_TLS_SESSION_COUNT), which saves the next
 * handshake most of its work. There is one connection at a time per context, and its state lies in
 * the context. What mbedTLS takes for itself comes from the heap and is given back when the
 * connection ends. Keys are wiped before their memory is given back.
 *
 * The time that certificates are held against is the wall clock, but never less than the time at
 * which this program was built.
 *
 * Without CONFIG_NET_TLS everything here returns ERR_UNSUPPORTED.
 */
#ifndef ETCHLET_NET_TLS_H
#define ETCHLET_NET_TLS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct tls; /* one connection */
struct tls_context; /* one for the program */

struct tls_files {
	const char *cacert; /* PEM bundle; NULL: none, then only is_unverified can connect */
	const char *cert; /* PEM client certificate, with its chain; NULL: none */
	const char *key; /* PEM key of cert, without a passphrase */
	bool is_unverified; /* any server certificate will do */
};

/*
 * Sets up a context from files. *out is NULL, or a context that takes over what the files hold now:
 * all or nothing, for on an error it stays as it was. A connection that runs keeps what it began
 * with; sessions are forgotten.
 *
 * 0; ERR_NOENT, ERR_ACCESS, ERR_IO; ERR_CONFIG (not PEM, a kind that is not supported, the key does
 * not fit the certificate); ERR_NOMEM; ERR_ENTROPY (keys cannot be checked yet: try again). why: one
 * line for a person that names the file ("/etc/ca.pem: no certificate in it (PEM)").
 */
int tls_context_load(
	struct tls_context **out, const struct tls_files *files, char *why, size_t why_cap);

/* NULL is harmless. While a connection runs, its end does it. */
void tls_context_free(struct tls_context *ctx);

/*
 * Begins a connection on a connected socket, which stays the caller's. host: a name or a literal
 * address, which must be in a subject alternative name of the certificate (RFC 9525 6; a common
 * name does not count). 0, or an error with why filled and *out NULL.
 */
int tls_start(struct tls **out, struct tls_context *ctx, int fd, const char *host, uint16_t port,
	char *why, size_t why_cap);

/* 0 when done; ERR_AGAIN (tls_want() tells for what); ERR_TLS_VERIFY, ERR_TLS_ALPN, ERR_TLS,
 * ERR_ENTROPY or an error of the port, with why filled: then only tls_end() is left. */
int tls_handshake(struct tls *t, char *why, size_t why_cap);

/* As port_tcp_recv() and port_tcp_send(), with why filled on an error. After ERR_AGAIN the next
 * tls_send() must begin with the same bytes, wherever they lie, and may add more. */
ssize_t tls_recv(struct tls *t, void *dst, size_t len, char *why, size_t why_cap);
ssize_t tls_send(struct tls *t, const void *src, size_t len, char *why, size_t why_cap);

/* PORT_POLL_IN or PORT_POLL_OUT: what the last ERR_AGAIN waits for. */
int tls_want(const struct tls *t);

/* Whether tls_recv() has something to give that the socket will not announce. */
bool tls_has_pending(const struct tls *t);

/* Tries close_notify once, without waiting, and frees the connection. NULL is harmless. */
void tls_end(struct tls *t);

/* "TLSv1.2 TLS-ECDHE-ECDSA-WITH-AES-128-GCM-SHA256, resumed"; "" before the handshake is done or
 * when t is NULL. Returns dst. */
const char *tls_describe(const struct tls *t, char *dst, size_t cap);

/*
 * What is wrong with the context's own certificates, one finding at a time from index 0: expired, not
 * valid yet, about to expire, weak. 1 with is_error and what filled, 0 when there are no more. now_s:
 * the wall clock.
 */
int tls_context_finding(const struct tls_context *ctx, unsigned index, int64_t now_s,
	bool *is_error, char *what, size_t cap);

/* "mbedTLS 3.6.6" */
const char *tls_library_version(void);

#endif
