/* SPDX-License-Identifier: Apache-2.0 */
/* SHA-256 by the examples of FIPS 180-4, and signatures by openssl. */
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/err.h"
#include "base/heap.h"
#include "net/tls_digest.h"
#include "tls_digest_keys.h"

static const char *hex_of(const void *src, size_t len, size_t piece)
{
	static char text[2 * TLS_SHA256_LEN + 1];
	uint8_t digest[TLS_SHA256_LEN];
	struct tls_sha256 s;

	tls_sha256_begin(&s);
	for (size_t at = 0; at < len; at += piece)
		tls_sha256_update(
			&s, (const uint8_t *)src + at, len - at < piece ? len - at : piece);
	assert_int_equal(tls_sha256_end(&s, digest), 0);
	for (int i = 0; i < TLS_SHA256_LEN; i++)
		snprintf(text + 2 * i, 3, "%02x", digest[i]);
	return text;
}

static void test_digest(void **state)
{
	static const char two_blocks[] = "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq";

	(void)state;
	assert_string_equal(hex_of("", 0, 1),
		"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
	for (size_t piece = 1; piece < 70; piece++)
		assert_string_equal(hex_of(two_blocks, sizeof(two_blocks) - 1, piece),
			"248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
	assert_string_equal(hex_of(SIGNED_TEXT, strlen(SIGNED_TEXT), 4), SIGNED_SHA256);
}

/* A copy goes on by itself. */
static void test_copy(void **state)
{
	uint8_t a[TLS_SHA256_LEN], b[TLS_SHA256_LEN];
	struct tls_sha256 s, t;

	(void)state;
	tls_sha256_begin(&s);
	tls_sha256_update(&s, "arti", 4);
	t = s;
	tls_sha256_update(&s, "fact\n", 5);
	tls_sha256_update(&t, "fact\n", 5);
	assert_int_equal(tls_sha256_end(&s, a), 0);
	assert_int_equal(tls_sha256_end(&t, b), 0);
	assert_memory_equal(a, b, sizeof(a));
}

static int load(struct tls_pubkey **key, const char *text, size_t len, char *why, size_t cap)
{
	char path[] = "/tmp/etchlet-key-XXXXXX";
	int fd = mkstemp(path), err;

	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, len), len);
	close(fd);
	err = tls_pubkey_load(key, path, why, cap);
	if (err)
		assert_non_null(strstr(why, path));
	unlink(path);
	return err;
}

static void test_keys(void **state)
{
	static char long_text[5000];
	struct tls_pubkey *key = NULL, *was;
	size_t heap = heap_bytes();
	char why[256];

	(void)state;
	memset(long_text, 'x', sizeof(long_text));
	assert_int_equal(tls_pubkey_load(&key, "/nothing/here", why, sizeof(why)), ERR_NOENT);
	assert_non_null(strstr(why, "/nothing/here"));
	assert_int_equal(load(&key, "", 0, why, sizeof(why)), ERR_CONFIG);
	assert_int_equal(load(&key, "no key", 6, why, sizeof(why)), ERR_CONFIG);
	assert_int_equal(load(&key, long_text, sizeof(long_text), why, sizeof(why)), ERR_CONFIG);
	assert_int_equal(load(&key, P384_KEY, strlen(P384_KEY), why, sizeof(why)), ERR_CONFIG);
	assert_null(key);
	for (size_t len = 0; len < strlen(SIGNED_KEY) - 8; len += 7)
		assert_int_equal(load(&key, SIGNED_KEY, len, why, sizeof(why)), ERR_CONFIG);
	assert_int_equal(load(&key, SIGNED_KEY, strlen(SIGNED_KEY), why, sizeof(why)), 0);
	was = key;
	/* What is wrong leaves the one at hand. */
	assert_int_equal(load(&key, P384_KEY, strlen(P384_KEY), why, sizeof(why)), ERR_CONFIG);
	assert_ptr_equal(key, was);
	assert_int_equal(load(&key, SIGNED_KEY, strlen(SIGNED_KEY), why, sizeof(why)), 0);
	tls_pubkey_free(key);
	tls_pubkey_free(NULL);
	assert_int_equal(heap_bytes(), heap);
}

static void test_signatures(void **state)
{
	struct tls_pubkey *key = NULL;
	uint8_t digest[TLS_SHA256_LEN];
	struct tls_sha256 s;
	char why[256], sig[sizeof(SIGNED_SIG)];

	(void)state;
	assert_int_equal(load(&key, SIGNED_KEY, strlen(SIGNED_KEY), why, sizeof(why)), 0);
	tls_sha256_begin(&s);
	tls_sha256_update(&s, SIGNED_TEXT, strlen(SIGNED_TEXT));
	assert_int_equal(tls_sha256_end(&s, digest), 0);
	assert_int_equal(tls_pubkey_verify(key, digest, SIGNED_SIG), 0);
	/* No character of it may be another one, and no bit of the digest. */
	for (size_t i = 0; i < strlen(SIGNED_SIG) - 3; i++) {
		memcpy(sig, SIGNED_SIG, sizeof(sig));
		sig[i] = sig[i] == 'A' ? 'B' : 'A';
		assert_int_not_equal(tls_pubkey_verify(key, digest, sig), 0);
		sig[i] = '!';
		assert_int_equal(tls_pubkey_verify(key, digest, sig), ERR_RANGE);
		memcpy(sig, SIGNED_SIG, sizeof(sig));
		sig[i] = '\0';
		assert_int_not_equal(tls_pubkey_verify(key, digest, sig), 0);
	}
	for (int i = 0; i < TLS_SHA256_LEN; i++) {
		digest[i] ^= 1;
		assert_int_equal(tls_pubkey_verify(key, digest, SIGNED_SIG), ERR_TLS_VERIFY);
		digest[i] ^= 1;
	}
	assert_int_equal(tls_pubkey_verify(key, digest, ""), ERR_RANGE);
	/* More behind it, and more than any signature has. */
	assert_int_not_equal(tls_pubkey_verify(key, digest,
				     "MEQCIGqoL49xWAClDl38tVywkU5WorCf58lOWswWPxVrm8yNAiAR78+"
				     "W3zoa6bpnYoOY7szU9CnoVW6UtHoS1qPfZORI4gAA"),
		0);
	{
		char large[161];

		memset(large, 'A', 160);
		large[160] = '\0';
		assert_int_equal(tls_pubkey_verify(key, digest, large), ERR_RANGE);
	}
	tls_pubkey_free(key);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_digest),
		cmocka_unit_test(test_copy),
		cmocka_unit_test(test_keys),
		cmocka_unit_test(test_signatures),
	};

	return cmocka_run_group_tests_name("tls_digest", tests, NULL, NULL);
}
