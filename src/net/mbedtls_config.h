/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What of mbedTLS 3.6 is built: a TLS client with certificates and nothing else. Choices come from the
 * symbols of Kconfig.tls. It is mbedTLS's whole configuration (MBEDTLS_CONFIG_FILE), not additions to
 * one. What is left out on purpose:
 *
 *  - files and sockets: the port reads and sends;
 *  - entropy and a generator of its own: the port's random numbers are given to the library by
 *    mbedtls_ssl_conf_rng(), and with TLS 1.3 by mbedtls_psa_external_get_random();
 *  - CBC, static RSA and finite-field key exchange, renegotiation, SHA-1, DTLS, pre-shared keys: HTTP/2
 *    forbids or nobody needs them (RFC 9113 9.2.2, appendix A);
 *  - error texts: the adapter says what went wrong in its own words.
 */
#ifndef ETCHLET_NET_MBEDTLS_CONFIG_H
#define ETCHLET_NET_MBEDTLS_CONFIG_H

/* The system. The clock is needed for the validity of certificates. */
#define MBEDTLS_HAVE_ASM
#define MBEDTLS_HAVE_TIME
#define MBEDTLS_HAVE_TIME_DATE
#define MBEDTLS_PLATFORM_C
#define MBEDTLS_PLATFORM_MEMORY
/* Counted: base/heap.h. This file also stands alone in the library's build, so it can't include that. */
#include <stddef.h>
void *heap_calloc(size_t n, size_t size);
void heap_free(void *p);
#define MBEDTLS_PLATFORM_CALLOC_MACRO heap_calloc
#define MBEDTLS_PLATFORM_FREE_MACRO heap_free

/* Protocol */
#define MBEDTLS_SSL_TLS_C
#define MBEDTLS_SSL_CLI_C
#define MBEDTLS_SSL_PROTO_TLS1_2
#define MBEDTLS_SSL_ALPN
#define MBEDTLS_SSL_SERVER_NAME_INDICATION
#define MBEDTLS_SSL_SESSION_TICKETS
#define MBEDTLS_SSL_EXTENDED_MASTER_SECRET
#define MBEDTLS_SSL_IN_CONTENT_LEN 16384
#define MBEDTLS_SSL_OUT_CONTENT_LEN CONFIG_TLS_OUT_CONTENT_LEN
#define MBEDTLS_KEY_EXCHANGE_ECDHE_ECDSA_ENABLED

/* Ciphers and hashes */
#define MBEDTLS_AES_C
#define MBEDTLS_GCM_C
#define MBEDTLS_CIPHER_C
#define MBEDTLS_MD_C
#define MBEDTLS_SHA256_C
#define MBEDTLS_SHA384_C
#define MBEDTLS_SHA512_C
/* Tables in the file, not computed into RAM at the first use. */
#define MBEDTLS_AES_ROM_TABLES

/* Keys and certificates */
#define MBEDTLS_BIGNUM_C
#define MBEDTLS_MPI_MAX_SIZE 512
#define MBEDTLS_ECP_C
#define MBEDTLS_ECP_DP_SECP256R1_ENABLED
#define MBEDTLS_ECP_DP_SECP384R1_ENABLED
#define MBEDTLS_ECP_NIST_OPTIM
#define MBEDTLS_ECDH_C
#define MBEDTLS_ECDSA_C
#define MBEDTLS_ASN1_PARSE_C
#define MBEDTLS_ASN1_WRITE_C
#define MBEDTLS_OID_C
#define MBEDTLS_BASE64_C
#define MBEDTLS_PEM_PARSE_C
#define MBEDTLS_PK_C
#define MBEDTLS_PK_PARSE_C
#define MBEDTLS_X509_USE_C
#define MBEDTLS_X509_CRT_PARSE_C

#ifdef CONFIG_TLS_RSA
#define MBEDTLS_RSA_C
#define MBEDTLS_PKCS1_V15
#define MBEDTLS_PKCS1_V21
#define MBEDTLS_X509_RSASSA_PSS_SUPPORT
#define MBEDTLS_KEY_EXCHANGE_ECDHE_RSA_ENABLED
#endif

#ifdef CONFIG_TLS_X25519
#define MBEDTLS_ECP_DP_CURVE25519_ENABLED
#endif

#ifdef CONFIG_TLS_CHACHA20
#define MBEDTLS_CHACHA20_C
#define MBEDTLS_POLY1305_C
#define MBEDTLS_CHACHAPOLY_C
#endif

#ifdef CONFIG_TLS_HW_CRYPTO
#if defined(__x86_64__) || defined(__i386__)
#define MBEDTLS_AESNI_C
#elif defined(__aarch64__)
#define MBEDTLS_AESCE_C
#define MBEDTLS_SHA256_USE_ARMV8_A_CRYPTO_IF_PRESENT
#endif
#endif

#ifdef CONFIG_TLS_CURVE_TABLES
#define MBEDTLS_ECP_FIXED_POINT_OPTIM 1
#else
#define MBEDTLS_ECP_FIXED_POINT_OPTIM 0
#endif
#define MBEDTLS_ECP_WINDOW_SIZE 4

/* The small forms of these were measured to be as fast, or nearly, on x86-64. */
#define MBEDTLS_AES_FEWER_TABLES
#define MBEDTLS_SHA256_SMALLER
#define MBEDTLS_SHA512_SMALLER

#ifdef CONFIG_TLS_1_3
#define MBEDTLS_SSL_PROTO_TLS1_3
#define MBEDTLS_SSL_TLS1_3_COMPATIBILITY_MODE
#define MBEDTLS_SSL_TLS1_3_KEY_EXCHANGE_MODE_EPHEMERAL_ENABLED
#define MBEDTLS_SSL_TLS1_3_KEY_EXCHANGE_MODE_PSK_EPHEMERAL_ENABLED
/* Demanded by TLS 1.3 in 3.6: check_config.h. */
#define MBEDTLS_SSL_KEEP_PEER_CERTIFICATE
#define MBEDTLS_PSA_CRYPTO_C
#define MBEDTLS_PSA_CRYPTO_EXTERNAL_RNG
#define MBEDTLS_HKDF_C
#else
/* GCM only enciphers blocks, whichever way it goes. */
#define MBEDTLS_BLOCK_CIPHER_NO_DECRYPT
#endif

#endif
