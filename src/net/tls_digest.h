/* SPDX-License-Identifier: Apache-2.0 */
/*
 * SHA-256 over pieces, and signatures of such a digest: ECDSA with P-256, as "openssl dgst -sha256 -sign" makes
 * them. Over mbedTLS, whose API stays in here.
 */
#ifndef ETCHLET_NET_TLS_DIGEST_H
#define ETCHLET_NET_TLS_DIGEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
	TLS_SHA256_LEN = 32,
};

/* Nothing is to be freed; a copy of it goes on by itself. */
struct tls_sha256 {
	_Alignas(8) uint8_t impl[128]; /* private */
	bool is_broken; /* private */
};

void tls_sha256_begin(struct tls_sha256 *s);
void tls_sha256_update(struct tls_sha256 *s, const void *src, size_t len);
/* 0; or ERR_IO where the hardware that computes it has failed, and then digest is nothing's. */
int tls_sha256_end(struct tls_sha256 *s, uint8_t digest[TLS_SHA256_LEN]);

struct tls_pubkey;

/*
 * Reads a public key, PEM ("BEGIN PUBLIC KEY"), with P-256. *out is NULL, or a key that is replaced: on an error it stays.
 * 0; ERR_NOENT, ERR_ACCESS, ERR_IO; ERR_CONFIG (no such key in it); ERR_NOMEM. why: one line for a person that names the
 * file.
 */
int tls_pubkey_load(struct tls_pubkey **out, const char *path, char *why, size_t why_cap);
/* NULL is harmless. */
void tls_pubkey_free(struct tls_pubkey *key);
/* sig: base64 (RFC 4648 4) of a signature in DER (RFC 3279 2.2.3). 0; ERR_RANGE: it is none; ERR_TLS_VERIFY: not one of this
 * key for this digest; ERR_NOMEM. */
int tls_pubkey_verify(
	struct tls_pubkey *key, const uint8_t digest[TLS_SHA256_LEN], const char *sig);

#endif
