/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where a key lies in a mirror: a pure function of the key, and no two keys lie at one place.
 *
 * The watch's key is cut off up to and including its last '/', the rest is split at '/'. In a
 * component every byte other than A-Z a-z 0-9 . _ - + , = @ : ~ and space is written %XX. "." and
 * ".." are "%2E" and "%2E%2E", an empty component is "%", and a first component ".etchlet" is
 * "%2Eetchlet". So no component is ever "..", "%%" or, at the top, ".etchlet".
 */
#ifndef ETCHLET_SINK_MIRROR_NAME_H
#define ETCHLET_SINK_MIRROR_NAME_H

#include <stddef.h>
#include <stdint.h>

#define MIRROR_OWN_NAME ".etchlet" /* the agent's own folder */
#define MIRROR_SELF_NAME "%%" /* in a folder: the key that is this folder too */

enum {
	MIRROR_PATH_MAX =
		4096, /* bytes of DIR, '/' and the path in it, NUL included: Linux's PATH_MAX */
	MIRROR_NAME_MAX = 255, /* bytes of one component: Linux's NAME_MAX */
	MIRROR_SELF_LEN = 3, /* of "/%%" */
};

/* How much of the watch's key is cut off its keys. */
size_t mirror_name_cut(const uint8_t *key, size_t key_len);

/*
 * Writes the path of `key` without its first `cut` bytes, terminated. Its length, 1 or more; 0 when the
 * key can't be a file: a component is longer than MIRROR_NAME_MAX, or the path takes more than cap.
 */
size_t mirror_name_make(const uint8_t *key, size_t key_len, size_t cut, char *dst, size_t cap);

#endif
