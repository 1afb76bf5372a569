/* SPDX-License-Identifier: Apache-2.0 */
#include "base/err.h"

#include <errno.h>

static const struct {
	const char *name;
	const char *text;
	enum err_class cls;
} err_table[ERR_INDEX_COUNT] = {[ERR_INDEX_NONE] = {"OK", "no error", ERR_CLASS_NONE},
#define ERR_X(code, text, cls) [ERR_INDEX_##code] = {#code, text, ERR_CLASS_##cls},
	ERR_LIST(ERR_X)
#undef ERR_X
};

static int err_index_of(int code)
{
	if (code >= 0)
		return ERR_INDEX_NONE;
	return code > -(int)ERR_INDEX_COUNT ? -code : -1;
}

const char *err_name(int code)
{
	int i = err_index_of(code);

	return i < 0 ? "UNKNOWN" : err_table[i].name;
}

const char *err_text(int code)
{
	int i = err_index_of(code);

	return i < 0 ? "unknown error" : err_table[i].text;
}

enum err_class err_class_of(int code)
{
	int i = err_index_of(code);

	return i < 0 ? ERR_CLASS_BUG : err_table[i].cls;
}

int err_from_errno(int errnum)
{
	switch (errnum) {
	case 0:
		return 0;
	case EAGAIN:
#if EWOULDBLOCK != EAGAIN
	case EWOULDBLOCK:
#endif
	case EINTR:
	case EINPROGRESS:
		return ERR_AGAIN;
	case ECONNRESET:
	case ECONNABORTED:
		return ERR_RESET;
	case EPIPE:
		return ERR_PIPE;
	case ECONNREFUSED:
		return ERR_REFUSED;
	case ENETUNREACH:
	case EHOSTUNREACH:
	case ENETDOWN:
	case EHOSTDOWN:
	case EADDRNOTAVAIL:
		return ERR_UNREACHABLE;
	case ETIMEDOUT:
		return ERR_TIMEOUT;
	case ENOMEM:
	case ENOBUFS:
	case EMFILE:
	case ENFILE:
		return ERR_NOMEM;
	case ENOSPC:
	case EDQUOT:
	case EFBIG:
		return ERR_NOSPACE;
	case EROFS:
		return ERR_READONLY;
	case ENOENT:
	case ENOTDIR:
		return ERR_NOENT;
	case EACCES:
	case EPERM:
		return ERR_ACCESS;
	case EBUSY:
	case ETXTBSY:
		return ERR_LOCKED;
	case EAFNOSUPPORT:
	case EPROTONOSUPPORT:
		return ERR_UNSUPPORTED;
	default:
		return ERR_IO;
	}
}
