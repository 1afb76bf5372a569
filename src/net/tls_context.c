/* SPDX-License-Identifier: Apache-2.0 */
/* Certificates and keys: from files into mbedTLS, and what there is to say about them. */
#include "net/tls_internal.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <mbedtls/error.h>
#include <mbedtls/pem.h>
#include <mbedtls/platform_util.h>

#if defined(MBEDTLS_PSA_CRYPTO_C)
#include <psa/crypto.h>
#endif

#include "base/err.h"
#include "base/kconfig.h"
#include "base/log.h"

enum {
	FILE_STEP_LEN = 4096, /* a file is tried with that much memory first, then with double */
	FINDING_DAYS = 30, /* a certificate that expires within that time is worth a word */
	RSA_BITS_MIN = 2048,
};

/* -- what differs between the versions of mbedTLS --------------------------------------------- */

#if MBEDTLS_VERSION_NUMBER < 0x04000000

static void adapt_conf_rng(mbedtls_ssl_config *conf, int *cause)
{
	mbedtls_ssl_conf_rng(conf, tls_random, cause);
}

static int adapt_parse_key(mbedtls_pk_context *key, const uint8_t *pem, size_t len, int *cause)
{
	return mbedtls_pk_parse_key(key, pem, len, NULL, 0, tls_random, cause);
}

static int adapt_check_pair(mbedtls_x509_crt *cert, mbedtls_pk_context *key, int *cause)
{
	return mbedtls_pk_check_pair(&cert->pk, key, tls_random, cause);
}

#else

static void adapt_conf_rng(mbedtls_ssl_config *conf, int *cause)
{
	(void)conf;
	(void)cause;
}

static int adapt_parse_key(mbedtls_pk_context *key, const uint8_t *pem, size_t len, int *cause)
{
	(void)cause;
	return mbedtls_pk_parse_key(key, pem, len, NULL, 0);
}

static int adapt_check_pair(mbedtls_x509_crt *cert, mbedtls_pk_context *key, int *cause)
{
	(void)cause;
	return mbedtls_pk_check_pair(&cert->pk, key);
}

#endif

int tls_random(void *cause, unsigned char *dst, size_t len)
{
	int err = port_random(dst, len);

	if (err && cause)
		*(int *)cause = err;
	/* Any code but 0 makes mbedTLS give up; *cause says why. */
	return err ? MBEDTLS_ERR_ERROR_GENERIC_ERROR : 0;
}

#if defined(MBEDTLS_PSA_CRYPTO_EXTERNAL_RNG)
psa_status_t mbedtls_psa_external_get_random(mbedtls_psa_external_random_context_t *context,
	uint8_t *output, size_t output_size, size_t *output_length)
{
	(void)context;
	*output_length = 0;
	if (port_random(output, output_size))
		return PSA_ERROR_INSUFFICIENT_ENTROPY;
	*output_length = output_size;
	return PSA_SUCCESS;
}
#endif

/* -- files ------------------------------------------------------------------------------------ */

/* A whole file, with a NUL behind it, as mbedTLS wants PEM. *len counts the NUL. */
static int file_load(const char *path, uint8_t **out, size_t *len)
{
	size_t cap = FILE_STEP_LEN;

	for (;;) {
		uint8_t *mem = mbedtls_calloc(1, cap + 1);
		ssize_t n;

		if (!mem)
			return ERR_NOMEM;
		n = port_file_read(path, mem, cap);
		if (n >= 0) {
			*out = mem;
			*len = (size_t)n + 1;
			return 0;
		}
		mbedtls_platform_zeroize(mem, cap);
		mbedtls_free(mem);
		if (n != ERR_LIMIT || cap >= CONFIG_TLS_FILE_BYTES)
			return (int)n;
		cap = cap * 2 < CONFIG_TLS_FILE_BYTES ? cap * 2 : CONFIG_TLS_FILE_BYTES;
	}
}

static void file_free(uint8_t *mem, size_t len)
{
	/* It may be a key. */
	mbedtls_platform_zeroize(mem, len);
	mbedtls_free(mem);
}

static int load_failed(char *why, size_t why_cap, const char *path, const char *what, int err)
{
	(void)snprintf(why, why_cap, "%s: %s", path, what);
	return err;
}

static int load_certs(
	mbedtls_x509_crt *crt, const char *path, int *unusable, char *why, size_t why_cap)
{
	uint8_t *pem;
	size_t len;
	bool is_pem;
	int err = file_load(path, &pem, &len);

	if (err == ERR_LIMIT)
		return load_failed(why, why_cap, path, "too long for this build", ERR_CONFIG);
	if (err)
		return load_failed(why, why_cap, path, err_text(err), err);
	is_pem = strstr((const char *)pem, "-----BEGIN CERTIFICATE-----") != NULL;
	*unusable = is_pem ? mbedtls_x509_crt_parse(crt, pem, len) : -1;
	file_free(pem, len);
	if (!is_pem)
		return load_failed(why, why_cap, path, "no certificate in it (PEM)", ERR_CONFIG);
	if (*unusable == MBEDTLS_ERR_X509_ALLOC_FAILED)
		return load_failed(why, why_cap, path, err_text(ERR_NOMEM), ERR_NOMEM);
	if (*unusable < 0)
		return load_failed(
			why, why_cap, path, "no certificate in it that can be used", ERR_CONFIG);
	return 0;
}

static int load_key(mbedtls_pk_context *key, const char *path, char *why, size_t why_cap)
{
	uint8_t *pem;
	size_t len;
	bool is_pem, is_encrypted;
	int cause = 0, ret = 0;
	int err = file_load(path, &pem, &len);

	if (err)
		return load_failed(why, why_cap, path, err_text(err), err);
	is_pem = strstr((const char *)pem, "PRIVATE KEY-----") != NULL;
	is_encrypted = strstr((const char *)pem, "ENCRYPTED") != NULL;
	if (is_pem && !is_encrypted)
		ret = adapt_parse_key(key, pem, len, &cause);
	file_free(pem, len);
	if (!is_pem)
		return load_failed(why, why_cap, path, "no private key in it (PEM)", ERR_CONFIG);
	if (is_encrypted)
		return load_failed(why, why_cap, path,
			"the private key is protected by a passphrase, which nobody could enter",
			ERR_CONFIG);
	if (cause)
		return load_failed(why, why_cap, path, err_text(cause), cause);
	if (ret == MBEDTLS_ERR_PK_ALLOC_FAILED)
		return load_failed(why, why_cap, path, err_text(ERR_NOMEM), ERR_NOMEM);
	if (ret)
		return load_failed(why, why_cap, path,
			"the private key is damaged or of a kind that is not supported",
			ERR_CONFIG);
	return 0;
}

static int load_client(struct tls_keys *k, const struct tls_files *files, char *why, size_t why_cap)
{
	int unusable = 0, cause = 0;
	int err;

	if (!files->cert || !files->key) {
		(void)snprintf(why, why_cap, "%s: there is no %s for it",
			files->cert ? files->cert : files->key,
			files->cert ? "key" : "certificate (cert)");
		return ERR_CONFIG;
	}
	err = load_certs(&k->cert, files->cert, &unusable, why, why_cap);
	if (!err && unusable)
		err = load_failed(why, why_cap, files->cert,
			"a certificate in it is damaged or of a kind that is not supported",
			ERR_CONFIG);
	if (!err)
		err = load_key(&k->key, files->key, why, why_cap);
	if (err)
		return err;
	if (adapt_check_pair(&k->cert, &k->key, &cause)) {
		err = cause ? cause : ERR_CONFIG;
		(void)snprintf(why, why_cap, "%s: %s%s", files->key,
			cause ? err_text(cause) : "the key does not fit the certificate ",
			cause ? "" : files->cert);
		return err;
	}
	k->has_cert = true;
	return 0;
}

/* -- the configuration of mbedTLS ------------------------------------------------------------- */

/* Signatures in certificates: no SHA-1 (collisions are cheap), no RSA below 2048 bits. */
static const mbedtls_x509_crt_profile tls_profile = {
	.allowed_mds = MBEDTLS_X509_ID_FLAG(MBEDTLS_MD_SHA256) |
		       MBEDTLS_X509_ID_FLAG(MBEDTLS_MD_SHA384) |
		       MBEDTLS_X509_ID_FLAG(MBEDTLS_MD_SHA512),
	.allowed_pks = 0xfffffff,
	.allowed_curves = MBEDTLS_X509_ID_FLAG(MBEDTLS_ECP_DP_SECP256R1) |
			  MBEDTLS_X509_ID_FLAG(MBEDTLS_ECP_DP_SECP384R1) |
			  MBEDTLS_X509_ID_FLAG(MBEDTLS_ECP_DP_SECP521R1),
	.rsa_min_bitlen = RSA_BITS_MIN,
};

/* Forward secrecy and AEAD only: HTTP/2 forbids the rest (RFC 9113 9.2.2, appendix A). What the
 * library was built without is passed over by it. */
static const int tls_ciphers[] = {
	MBEDTLS_TLS1_3_AES_128_GCM_SHA256,
	MBEDTLS_TLS1_3_AES_256_GCM_SHA384,
	MBEDTLS_TLS1_3_CHACHA20_POLY1305_SHA256,
	MBEDTLS_TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
	MBEDTLS_TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
	MBEDTLS_TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
	MBEDTLS_TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
	MBEDTLS_TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
	MBEDTLS_TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
	0,
};

static const char *tls_alpn[] = {"h2", NULL};

int tls_conf_set_up(mbedtls_ssl_config *conf, struct tls_keys *k, int *cause)
{
	mbedtls_ssl_conf_min_tls_version(conf, MBEDTLS_SSL_VERSION_TLS1_2);
	if (!IS_ENABLED(CONFIG_TLS_1_3))
		mbedtls_ssl_conf_max_tls_version(conf, MBEDTLS_SSL_VERSION_TLS1_2);
	mbedtls_ssl_conf_ciphersuites(conf, tls_ciphers);
	mbedtls_ssl_conf_cert_profile(conf, &tls_profile);
	mbedtls_ssl_conf_authmode(
		conf, k->is_unverified ? MBEDTLS_SSL_VERIFY_NONE : MBEDTLS_SSL_VERIFY_REQUIRED);
	if (k->has_ca)
		mbedtls_ssl_conf_ca_chain(conf, &k->ca, NULL);
	adapt_conf_rng(conf, cause);
	return k->has_cert ? mbedtls_ssl_conf_own_cert(conf, &k->cert, &k->key) : 0;
}

static int conf_set_up(struct tls_keys *k, int *cause)
{
	mbedtls_ssl_config *conf = &k->conf;
	int ret = mbedtls_ssl_config_defaults(conf, MBEDTLS_SSL_IS_CLIENT,
		MBEDTLS_SSL_TRANSPORT_STREAM, MBEDTLS_SSL_PRESET_DEFAULT);

	if (!ret)
		ret = tls_conf_set_up(conf, k, cause);
	if (ret)
		return ret;
#if defined(MBEDTLS_SSL_SESSION_TICKETS)
	mbedtls_ssl_conf_session_tickets(conf, MBEDTLS_SSL_SESSION_TICKETS_ENABLED);
#if defined(MBEDTLS_SSL_PROTO_TLS1_3)
	mbedtls_ssl_conf_tls13_enable_signal_new_session_tickets(
		conf, MBEDTLS_SSL_TLS1_3_SIGNAL_NEW_SESSION_TICKETS_ENABLED);
#endif
#endif
	return mbedtls_ssl_conf_alpn_protocols(conf, tls_alpn);
}

void tls_keys_free(struct tls_keys *k)
{
	if (!k)
		return;
	mbedtls_ssl_config_free(&k->conf);
	mbedtls_x509_crt_free(&k->ca);
	mbedtls_x509_crt_free(&k->cert);
	mbedtls_pk_free(&k->key);
	mbedtls_platform_zeroize(k, sizeof(*k));
	mbedtls_free(k);
}

static int keys_load(
	struct tls_keys *k, const struct tls_files *files, int *cause, char *why, size_t why_cap)
{
	int err = 0;

	k->is_unverified = files->is_unverified;
	if (files->cacert) {
		err = load_certs(&k->ca, files->cacert, &k->ca_unusable, why, why_cap);
		k->has_ca = !err;
	}
	if (!err && (files->cert || files->key))
		err = load_client(k, files, why, why_cap);
	if (!err && conf_set_up(k, cause)) {
		(void)snprintf(why, why_cap, "TLS cannot be set up: %s", err_text(ERR_NOMEM));
		err = ERR_NOMEM;
	}
	return err;
}

int tls_context_load(
	struct tls_context **out, const struct tls_files *files, char *why, size_t why_cap)
{
	struct tls_context *ctx = *out ? *out : mbedtls_calloc(1, sizeof(*ctx));
	struct tls_keys *k = mbedtls_calloc(1, sizeof(*k));
	int err = ERR_NOMEM;

	if (ctx && k) {
		mbedtls_ssl_config_init(&k->conf);
		mbedtls_x509_crt_init(&k->ca);
		mbedtls_x509_crt_init(&k->cert);
		mbedtls_pk_init(&k->key);
		err = 0;
	} else {
		(void)snprintf(why, why_cap, "TLS: %s", err_text(err));
		mbedtls_free(k);
		k = NULL;
	}
#if defined(MBEDTLS_PSA_CRYPTO_C)
	if (!err && psa_crypto_init() != PSA_SUCCESS) {
		err = ERR_ENTROPY;
		(void)snprintf(why, why_cap, "TLS: %s", err_text(err));
	}
#endif
	if (!err)
		err = keys_load(k, files, &ctx->conn.peer.cause, why, why_cap);
	if (err) {
		tls_keys_free(k);
		if (!*out)
			mbedtls_free(ctx);
		return err;
	}
	if (ctx->keys && ctx->is_in_use && ctx->conn.keys == ctx->keys)
		ctx->keys->is_replaced = true;
	else
		tls_keys_free(ctx->keys);
	ctx->keys = k;
	/* What vouched for those servers may not be trusted any more. */
	for (size_t i = 0; i < CONFIG_TLS_SESSION_COUNT; i++)
		tls_session_drop(&ctx->sessions[i]);
	*out = ctx;
	if (tls_is_clock_behind()) {
		char clock[16], taken[16];

		log_warn("the clock says %s, before this program was built: taking %s as now for "
			 "certificates",
			tls_date(clock, port_wall_s()), tls_date(taken, tls_now_s()));
	}
	return 0;
}

void tls_context_free(struct tls_context *ctx)
{
	if (!ctx)
		return;
	if (ctx->is_in_use) {
		ctx->is_freed = true;
		return;
	}
	for (size_t i = 0; i < CONFIG_TLS_SESSION_COUNT; i++)
		tls_session_drop(&ctx->sessions[i]);
	tls_keys_free(ctx->keys);
	mbedtls_platform_zeroize(ctx, sizeof(*ctx));
	mbedtls_free(ctx);
}

/* -- findings --------------------------------------------------------------------------------- */

/* What is to be said about one certificate, if anything. */
static bool find_in_cert(const mbedtls_x509_crt *crt, const char *what, bool is_needed,
	int64_t now_s, bool *is_error, char *dst, size_t cap)
{
	char name[TLS_SUBJECT_MAX], date[16];
	int64_t from_s = tls_time_s(&crt->valid_from), until_s = tls_time_s(&crt->valid_to);
	size_t bits = mbedtls_pk_get_bitlen(&crt->pk);

	tls_subject(name, &crt->subject);
	*is_error = is_needed;
	if (now_s > until_s) {
		(void)snprintf(
			dst, cap, "%s '%s' has expired on %s", what, name, tls_date(date, until_s));
		return true;
	}
	if (now_s < from_s) {
		(void)snprintf(dst, cap, "%s '%s' is not valid before %s", what, name,
			tls_date(date, from_s));
		return true;
	}
	*is_error = false;
	if (mbedtls_pk_can_do(&crt->pk, MBEDTLS_PK_RSA) && bits < RSA_BITS_MIN) {
		*is_error = is_needed;
		(void)snprintf(dst, cap, "%s '%s' has a weak key: RSA of %u bits, %d are the least",
			what, name, (unsigned)bits, (int)RSA_BITS_MIN);
		return true;
	}
	if (until_s - now_s < (int64_t)FINDING_DAYS * 86400) {
		(void)snprintf(dst, cap, "%s '%s' expires in %" PRId64 " days, on %s", what, name,
			(until_s - now_s) / 86400, tls_date(date, until_s));
		return true;
	}
	return false;
}

int tls_context_finding(const struct tls_context *ctx, unsigned index, int64_t now_s,
	bool *is_error, char *what, size_t cap)
{
	const struct tls_keys *k = ctx->keys;
	unsigned found = 0;

	*is_error = false;
	if (now_s < tls_now_s())
		now_s = tls_now_s();
	if (tls_is_clock_behind() && found++ == index) {
		char clock[16];

		(void)snprintf(what, cap, "the clock says %s, before this program was built",
			tls_date(clock, port_wall_s()));
		return 1;
	}
	if (k->ca_unusable > 0 && found++ == index) {
		(void)snprintf(what, cap,
			"%d certificates of the CA file are damaged or of a kind that is not "
			"supported, and are left out",
			k->ca_unusable);
		return 1;
	}
	/* Of a bundle with many, one that expired is no trouble by itself. */
	for (const mbedtls_x509_crt *c = k->has_ca ? &k->ca : NULL; c; c = c->next) {
		if (find_in_cert(c, "CA certificate", !k->ca.next, now_s, is_error, what, cap) &&
			found++ == index)
			return 1;
	}
	for (const mbedtls_x509_crt *c = k->has_cert ? &k->cert : NULL; c; c = c->next) {
		if (find_in_cert(
			    c, "client certificate", c == &k->cert, now_s, is_error, what, cap) &&
			found++ == index)
			return 1;
	}
	*is_error = false;
	return 0;
}
