/* SPDX-License-Identifier: Apache-2.0 */
#include "net/tls_digest.h"

#include <stdio.h>
#include <string.h>

#include <mbedtls/base64.h>
#include <mbedtls/ecp.h>
#include <mbedtls/pk.h>
#include <mbedtls/sha256.h>

#include "base/err.h"
#include "base/heap.h"
#include "port/port.h"

enum {
	PUBKEY_FILE_MAX = 4096, /* bytes of a key's file */
	SIGNATURE_MAX = 80, /* bytes of a signature: 72 with P-256 */
};

_Static_assert(sizeof(mbedtls_sha256_context) <= sizeof(((struct tls_sha256 *)0)->impl),
	"the state of SHA-256 has room");

static mbedtls_sha256_context *state_of(struct tls_sha256 *s)
{
	return (mbedtls_sha256_context *)(void *)s->impl;
}

void tls_sha256_begin(struct tls_sha256 *s)
{
	mbedtls_sha256_init(state_of(s));
	s->is_broken = mbedtls_sha256_starts(state_of(s), 0) != 0;
}

void tls_sha256_update(struct tls_sha256 *s, const void *src, size_t len)
{
	if (mbedtls_sha256_update(state_of(s), src, len))
		s->is_broken = true;
}

int tls_sha256_end(struct tls_sha256 *s, uint8_t digest[TLS_SHA256_LEN])
{
	if (mbedtls_sha256_finish(state_of(s), digest))
		s->is_broken = true;
	mbedtls_sha256_free(state_of(s));
	return s->is_broken ? ERR_IO : 0;
}

struct tls_pubkey {
	mbedtls_pk_context pk;
};

static int pubkey_parse(struct tls_pubkey *key, const uint8_t *text, size_t len)
{
	int err = mbedtls_pk_parse_public_key(&key->pk, text, len);

	if (err == MBEDTLS_ERR_PK_ALLOC_FAILED)
		return ERR_NOMEM;
	if (err || !mbedtls_pk_can_do(&key->pk, MBEDTLS_PK_ECDSA) ||
		mbedtls_ecp_keypair_get_group_id(mbedtls_pk_ec(key->pk)) !=
			MBEDTLS_ECP_DP_SECP256R1)
		return ERR_CONFIG;
	return 0;
}

int tls_pubkey_load(struct tls_pubkey **out, const char *path, char *why, size_t why_cap)
{
	uint8_t text[PUBKEY_FILE_MAX + 1];
	struct tls_pubkey *key = NULL;
	ssize_t len = port_file_read(path, text, PUBKEY_FILE_MAX);
	int err = len == ERR_LIMIT ? ERR_CONFIG : len < 0 ? (int)len : 0;

	if (!err) {
		key = heap_calloc(1, sizeof(*key));
		err = key ? 0 : ERR_NOMEM;
	}
	if (!err) {
		mbedtls_pk_init(&key->pk);
		/* PEM is text that ends with a NUL, for this library. */
		text[len] = '\0';
		err = pubkey_parse(key, text, (size_t)len + 1);
	}
	if (err) {
		tls_pubkey_free(key);
		(void)snprintf(why, why_cap, "%s: %s", path,
			err == ERR_CONFIG ? "no public key with P-256 in it (PEM)" : err_text(err));
		return err;
	}
	tls_pubkey_free(*out);
	*out = key;
	return 0;
}

void tls_pubkey_free(struct tls_pubkey *key)
{
	if (!key)
		return;
	mbedtls_pk_free(&key->pk);
	heap_free(key);
}

int tls_pubkey_verify(struct tls_pubkey *key, const uint8_t digest[TLS_SHA256_LEN], const char *sig)
{
	uint8_t der[SIGNATURE_MAX];
	size_t len;
	int err;

	if (mbedtls_base64_decode(der, sizeof(der), &len, (const uint8_t *)sig, strlen(sig)) ||
		!len)
		return ERR_RANGE;
	err = mbedtls_pk_verify(&key->pk, MBEDTLS_MD_SHA256, digest, TLS_SHA256_LEN, der, len);
	if (err == MBEDTLS_ERR_ECP_ALLOC_FAILED || err == MBEDTLS_ERR_MPI_ALLOC_FAILED)
		return ERR_NOMEM;
	return err ? ERR_TLS_VERIFY : 0;
}
