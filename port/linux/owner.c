/* SPDX-License-Identifier: Apache-2.0 */
/* Users and groups by name. */
#include "port/port.h"

#include <grp.h>
#include <pwd.h>
#include <string.h>

#include "base/err.h"

enum { OWNER_NAME_MAX = 64 };

/* 1 when text is a number, 0 when it is a name, ERR_RANGE when it is a number that no user can have. */
static int owner_number(const char *text, uint32_t *id)
{
	uint64_t v = 0;

	if (!*text)
		return 0;
	for (const char *p = text; *p; p++) {
		if (*p < '0' || *p > '9')
			return 0;
		if (v < UINT32_MAX)
			v = v * 10 + (uint64_t)(*p - '0');
	}
	/* The last number stands for none. */
	if (v >= UINT32_MAX)
		return ERR_RANGE;
	*id = (uint32_t)v;
	return 1;
}

static int owner_find_user(const char *name, uint32_t *uid, uint32_t *login_gid)
{
	int is_number = owner_number(name, uid);
	const struct passwd *pw;

	if (is_number < 0)
		return is_number;
	pw = is_number ? getpwuid((uid_t)*uid) : getpwnam(name);
	if (pw) {
		*uid = pw->pw_uid;
		*login_gid = pw->pw_gid;
	}
	return pw || is_number ? 0 : ERR_NOENT;
}

static int owner_find_group(const char *name, uint32_t *gid)
{
	int is_number = owner_number(name, gid);
	const struct group *gr;

	if (is_number)
		return is_number < 0 ? is_number : 0;
	gr = getgrnam(name);
	if (!gr)
		return ERR_NOENT;
	*gid = gr->gr_gid;
	return 0;
}

int port_owner_find(const char *text, uint32_t *uid, uint32_t *gid)
{
	char user[OWNER_NAME_MAX];
	const char *colon = strchr(text, ':');
	size_t len = colon ? (size_t)(colon - text) : strlen(text);
	uint32_t login_gid = UINT32_MAX;

	*uid = *gid = UINT32_MAX;
	if (len >= sizeof(user) || (len == 0 && (!colon || !colon[1])))
		return ERR_RANGE;
	memcpy(user, text, len);
	user[len] = '\0';
	if (len) {
		int err = owner_find_user(user, uid, &login_gid);

		if (err)
			return err;
	}
	if (!colon)
		return 0;
	if (colon[1])
		return owner_find_group(colon + 1, gid);
	/* "user:" is its login group, which a number without a user does not have. */
	*gid = login_gid;
	return login_gid == UINT32_MAX ? ERR_NOENT : 0;
}
