/* SPDX-License-Identifier: Apache-2.0 */
/* Made by openssl: ecparam -genkey, dgst -sha256 -sign, base64. Who has signed is forgotten. */
#ifndef ETCHLET_TEST_TLS_DIGEST_KEYS_H
#define ETCHLET_TEST_TLS_DIGEST_KEYS_H

#define SIGNED_TEXT "artifact\n"
#define SIGNED_SHA256 "5b3513f580c8397212ff2c8f459c199efc0c90e4354a5f3533adf0a3fff3a530"
#define SIGNED_SIG \
	"MEQCIGqoL49xWAClDl38tVywkU5WorCf58lOWswWPxVrm8yNAiAR78+W3zoa6bpnYoOY7szU9CnoVW6UtHoS1qPfZORI4g=="
#define SIGNED_KEY \
	"-----BEGIN PUBLIC KEY-----\n" \
	"MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE6avHAtx1zdH/ee4tiHy6Np++xgEc\n" \
	"KxoffD/LtnxWpFRXWx61dKvk0902KZw88AtdTNcXIiDwlb3dhcHqRYjTjQ==\n" \
	"-----END PUBLIC KEY-----\n"
#define P384_KEY \
	"-----BEGIN PUBLIC KEY-----\n" \
	"MHYwEAYHKoZIzj0CAQYFK4EEACIDYgAEA0bi7S5yESL8nXmf9IVkcs7cHrr3k0vH\n" \
	"F0fRvE5VpaGFs3BeLGVhCNWwqdDubfgYKlg3QUHTcGZHjY1K7wz3SKSeITgskQeg\n" \
	"neux9mPZ018MYwkElvUJfKTWIarxNADd\n" \
	"-----END PUBLIC KEY-----\n"

#endif
