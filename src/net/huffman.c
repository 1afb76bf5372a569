/* SPDX-License-Identifier: Apache-2.0 */
#include "net/huffman.h"

#include "base/err.h"

enum {
	CODE_LENGTHS = 21,
	CODE_LEN_MIN = 5,
	SYMBOL_EOS = 256, /* its place in the list of symbols; it never stands in a string */
};

/* clang-format off */

/* By length: the first code of that length as the upper bits of 32, ... */
static const uint32_t code_first[CODE_LENGTHS] = {
	0x00000000, 0x50000000, 0xb8000000, 0xf8000000, 0xfe000000, 0xff400000, 0xffa00000,
	0xffc00000, 0xfff00000, 0xfff80000, 0xfffe0000, 0xfffe6000, 0xfffee000, 0xffff4800,
	0xffffb000, 0xffffea00, 0xfffff600, 0xfffff800, 0xfffffbc0, 0xfffffe20, 0xfffffff0,
};

/* ... the length in bits, and where the symbols of that length begin. */
static const uint8_t code_len[CODE_LENGTHS] = {
	5, 6, 7, 8, 10, 11, 12, 13, 14, 15, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 30};
static const uint8_t code_base[CODE_LENGTHS] = {0, 10, 36, 68, 74, 79, 82, 84, 90, 92, 95, 98, 106,
	119, 145, 174, 186, 190, 205, 224, 253};

/* The symbols in the order of their codes. */
static const uint8_t symbols[SYMBOL_EOS] = {
	48, 49, 50, 97, 99, 101, 105, 111, 115, 116, 32, 37, 45, 46, 47, 51,
	52, 53, 54, 55, 56, 57, 61, 65, 95, 98, 100, 102, 103, 104, 108, 109,
	110, 112, 114, 117, 58, 66, 67, 68, 69, 70, 71, 72, 73, 74, 75, 76,
	77, 78, 79, 80, 81, 82, 83, 84, 85, 86, 87, 89, 106, 107, 113, 118,
	119, 120, 121, 122, 38, 42, 44, 59, 88, 90, 33, 34, 40, 41, 63, 39,
	43, 124, 35, 62, 0, 36, 64, 91, 93, 126, 94, 125, 60, 96, 123, 92,
	195, 208, 128, 130, 131, 162, 184, 194, 224, 226, 153, 161, 167, 172, 176, 177,
	179, 209, 216, 217, 227, 229, 230, 129, 132, 133, 134, 136, 146, 154, 156, 160,
	163, 164, 169, 170, 173, 178, 181, 185, 186, 187, 189, 190, 196, 198, 228, 232,
	233, 1, 135, 137, 138, 139, 140, 141, 143, 147, 149, 150, 151, 152, 155, 157,
	158, 165, 166, 168, 174, 175, 180, 182, 183, 188, 191, 197, 231, 239, 9, 142,
	144, 145, 148, 159, 171, 206, 215, 225, 236, 237, 199, 207, 234, 235, 192, 193,
	200, 201, 202, 205, 210, 213, 218, 219, 238, 240, 242, 243, 255, 203, 204, 211,
	212, 214, 221, 222, 223, 241, 244, 245, 246, 247, 248, 250, 251, 252, 253, 254,
	2, 3, 4, 5, 6, 7, 8, 11, 12, 14, 15, 16, 17, 18, 19, 20,
	21, 23, 24, 25, 26, 27, 28, 29, 30, 31, 127, 220, 249, 10, 13, 22,
};

/* clang-format on */

void huffman_init(struct huffman *h)
{
	h->bits = 0;
	h->bits_len = 0;
}

ssize_t huffman_decode(struct huffman *h, const uint8_t *p, size_t len, uint8_t *dst, size_t cap)
{
	uint64_t bits = h->bits;
	unsigned bits_len = h->bits_len;
	size_t done = 0;

	for (; len; len--) {
		/* At most 29 bits are left from before: a code has 30 at most. */
		bits = bits << 8 | *p++;
		bits_len += 8;
		while (bits_len >= CODE_LEN_MIN) {
			/* Bits that are not there yet count as zeros. That can only make the code look
			 * shorter than it is, and then no shorter than what is there. */
			uint32_t window = (uint32_t)(bits_len < 32 ? bits << (32 - bits_len)
								   : bits >> (bits_len - 32));
			unsigned i = 0;

			while (i + 1 < CODE_LENGTHS && window >= code_first[i + 1])
				i++;
			if (code_len[i] > bits_len)
				break;
			unsigned at =
				code_base[i] + ((window - code_first[i]) >> (32 - code_len[i]));
			if (at >= SYMBOL_EOS)
				return ERR_HTTP2;
			if (done < cap)
				dst[done] = symbols[at];
			done++;
			bits_len -= code_len[i];
		}
	}
	h->bits = bits & ((UINT64_C(1) << bits_len) - 1);
	h->bits_len = (uint8_t)bits_len;
	return (ssize_t)done;
}

int huffman_end(const struct huffman *h)
{
	/* RFC 7541 5.2: the padding is the upper bits of EOS, which are ones. */
	if (h->bits_len > 7 || h->bits != (UINT64_C(1) << h->bits_len) - 1)
		return ERR_HTTP2;
	return 0;
}
