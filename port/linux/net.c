/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Addresses, names and TCP.
 *
 * The system's resolver, getaddrinfo(), blocks for as long as its servers are silent. It therefore
 * runs in a child that lives for one name and writes the addresses into a pipe in one piece:
 *
 *	'A', count, and for each: 4 or 6, ip[16], scope (4 bytes, big endian), port (2 bytes, big endian)
 *	'E', words for a person
 *
 * To give up is to kill it.
 */
#define _GNU_SOURCE
#include "port/port.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <net/if.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/err.h"
#include "port/linux/internal.h"

/* -- addresses -------------------------------------------------------------------------------- */

/* The number of an interface: by its name, or decimal. 0 when there is none. */
static uint32_t scope_parse(const char *text)
{
	uint32_t scope = 0;

	for (const char *p = text; *p; p++) {
		if (*p < '0' || *p > '9' || scope > UINT32_MAX / 10 - 1)
			return if_nametoindex(text);
		scope = scope * 10 + (uint32_t)(*p - '0');
	}
	return scope;
}

int port_addr_parse(struct port_addr *addr, const char *text, uint16_t port)
{
	char ip[INET6_ADDRSTRLEN];
	const char *percent = strchr(text, '%');
	size_t len = percent ? (size_t)(percent - text) : strlen(text);

	*addr = (struct port_addr){.port = port};
	if (!percent && inet_pton(AF_INET, text, addr->ip) == 1)
		return 0;
	if (len >= sizeof(ip))
		return ERR_RANGE;
	memcpy(ip, text, len);
	ip[len] = '\0';
	if (inet_pton(AF_INET6, ip, addr->ip) != 1)
		return ERR_RANGE;
	addr->is_v6 = true;
	if (percent) {
		addr->scope = scope_parse(percent + 1);
		if (!addr->scope)
			return ERR_RANGE;
	}
	return 0;
}

char *port_addr_format(char dst[PORT_ADDR_TEXT_MAX], const struct port_addr *addr)
{
	char ip[INET6_ADDRSTRLEN] = "?";

	/* Cannot fail: the family is known and the buffer is of the size that POSIX names. */
	(void)inet_ntop(addr->is_v6 ? AF_INET6 : AF_INET, addr->ip, ip, sizeof(ip));
	if (!addr->is_v6)
		(void)snprintf(dst, PORT_ADDR_TEXT_MAX, "%s:%u", ip, (unsigned)addr->port);
	else if (addr->scope)
		(void)snprintf(dst, PORT_ADDR_TEXT_MAX, "[%s%%%" PRIu32 "]:%u", ip, addr->scope,
			(unsigned)addr->port);
	else
		(void)snprintf(dst, PORT_ADDR_TEXT_MAX, "[%s]:%u", ip, (unsigned)addr->port);
	return dst;
}

static socklen_t addr_to_sockaddr(struct sockaddr_storage *ss, const struct port_addr *addr)
{
	memset(ss, 0, sizeof(*ss));
	if (addr->is_v6) {
		struct sockaddr_in6 sin6 = {
			.sin6_family = AF_INET6,
			.sin6_port = htons(addr->port),
			.sin6_scope_id = addr->scope,
		};

		memcpy(&sin6.sin6_addr, addr->ip, sizeof(sin6.sin6_addr));
		memcpy(ss, &sin6, sizeof(sin6));
		return sizeof(sin6);
	}
	struct sockaddr_in sin = {.sin_family = AF_INET, .sin_port = htons(addr->port)};

	memcpy(&sin.sin_addr, addr->ip, sizeof(sin.sin_addr));
	memcpy(ss, &sin, sizeof(sin));
	return sizeof(sin);
}

/* -- names ------------------------------------------------------------------------------------ */

enum {
	RESOLVE_ADDR_LEN = 1 + 16 + 4 + 2,
	RESOLVE_WORDS_MAX = 120,
	RESOLVE_ANSWER_MAX = 2 + PORT_ADDR_MAX * RESOLVE_ADDR_LEN, /* below PIPE_BUF: one piece */
};

static bool resolve_put(uint8_t *dst, const struct addrinfo *ai, uint16_t port)
{
	memset(dst, 0, RESOLVE_ADDR_LEN);
	if (ai->ai_family == AF_INET && ai->ai_addrlen >= sizeof(struct sockaddr_in)) {
		struct sockaddr_in sin;

		memcpy(&sin, ai->ai_addr, sizeof(sin));
		dst[0] = 4;
		memcpy(dst + 1, &sin.sin_addr, 4);
	} else if (ai->ai_family == AF_INET6 && ai->ai_addrlen >= sizeof(struct sockaddr_in6)) {
		struct sockaddr_in6 sin6;

		memcpy(&sin6, ai->ai_addr, sizeof(sin6));
		dst[0] = 6;
		memcpy(dst + 1, &sin6.sin6_addr, 16);
		dst[17] = (uint8_t)(sin6.sin6_scope_id >> 24);
		dst[18] = (uint8_t)(sin6.sin6_scope_id >> 16);
		dst[19] = (uint8_t)(sin6.sin6_scope_id >> 8);
		dst[20] = (uint8_t)sin6.sin6_scope_id;
	} else {
		return false;
	}
	dst[21] = (uint8_t)(port >> 8);
	dst[22] = (uint8_t)port;
	return true;
}

static size_t resolve_answer(uint8_t answer[RESOLVE_ANSWER_MAX], const char *host, uint16_t port)
{
	struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
	struct addrinfo *list = NULL;
	int err = getaddrinfo(host, NULL, &hints, &list);
	size_t len = 2;

	answer[0] = 'A';
	answer[1] = 0;
	for (const struct addrinfo *ai = list; !err && ai && answer[1] < PORT_ADDR_MAX;
		ai = ai->ai_next) {
		if (resolve_put(answer + len, ai, port)) {
			len += RESOLVE_ADDR_LEN;
			answer[1]++;
		}
	}
	if (answer[1])
		return len;
	const char *words = !err                ? "it has no address"
			    : err == EAI_SYSTEM ? strerror(errno)
						: gai_strerror(err);

	len = strlen(words);
	if (len > RESOLVE_WORDS_MAX)
		len = RESOLVE_WORDS_MAX;
	answer[0] = 'E';
	memcpy(answer + 1, words, len);
	return 1 + len;
}

static void resolve_child(int out, const char *host, uint16_t port) __attribute__((noreturn));

static void resolve_child(int out, const char *host, uint16_t port)
{
	uint8_t answer[RESOLVE_ANSWER_MAX];
	size_t len;
	int null;

	/* Nothing else stays open: a pipe held here would keep its reader from seeing the end. */
	linux_signals_reset();
	(void)!dup2(out, 3);
	linux_close_from(4);
	null = open("/dev/null", O_RDWR);
	for (int fd = 0; fd < 3; fd++)
		(void)!(null < 0 ? close(fd) : dup2(null, fd));
	if (null > 3)
		(void)close(null);
	(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
	len = resolve_answer(answer, host, port);
	_exit(write(3, answer, len) == (ssize_t)len ? 0 : 1);
}

int port_resolve_start(struct port_resolve *r, const char *host, uint16_t port)
{
	int ends[2];
	int pid;

	*r = (struct port_resolve){.fd = -1};
	linux_reap();
	if (strlen(host) >= PORT_HOST_MAX)
		return ERR_LIMIT;
	if (pipe2(ends, O_CLOEXEC))
		return err_from_errno(errno);
	pid = fork();
	if (pid == 0)
		resolve_child(ends[1], host, port);
	(void)close(ends[1]);
	if (pid < 0 || fcntl(ends[0], F_SETFL, O_NONBLOCK)) {
		(void)close(ends[0]);
		if (pid > 0) {
			(void)kill(pid, SIGKILL);
			linux_reap_later(pid);
		}
		return ERR_NOMEM; /* EAGAIN, too many processes, is no less a shortage */
	}
	r->fd = ends[0];
	r->pid = pid;
	return 0;
}

int port_resolve_take(
	struct port_resolve *r, struct port_addr *addrs, size_t max, char *why, size_t why_cap)
{
	uint8_t answer[RESOLVE_ANSWER_MAX];
	const uint8_t *p = answer + 2;
	ssize_t len = read(r->fd, answer, sizeof(answer));
	size_t n = 0;

	if (len < 0 && (errno == EAGAIN || errno == EINTR))
		return ERR_AGAIN;
	if (len > 1 && answer[0] == 'E') {
		(void)snprintf(why, why_cap, "%.*s", (int)(len - 1), (const char *)answer + 1);
		return ERR_DNS;
	}
	if (len < 2 || len != 2 + answer[1] * RESOLVE_ADDR_LEN) {
		(void)snprintf(why, why_cap, "the resolver ended without an answer");
		return ERR_DNS;
	}
	for (; n < answer[1] && n < max; n++, p += RESOLVE_ADDR_LEN) {
		addrs[n] = (struct port_addr){
			.is_v6 = p[0] == 6,
			.scope = (uint32_t)p[17] << 24 | (uint32_t)p[18] << 16 |
				 (uint32_t)p[19] << 8 | p[20],
			.port = (uint16_t)(p[21] << 8 | p[22]),
		};
		memcpy(addrs[n].ip, p + 1, sizeof(addrs[n].ip));
	}
	return (int)n;
}

void port_resolve_cancel(struct port_resolve *r)
{
	if (r->fd >= 0) {
		(void)close(r->fd);
		/* Also one that has answered: it may not have got as far as its end, and must not be
		 * waited for. It is not collected yet, so its pid is still its own. */
		(void)kill(r->pid, SIGKILL);
		linux_reap_later(r->pid);
	}
	*r = (struct port_resolve){.fd = -1};
}

/* -- TCP -------------------------------------------------------------------------------------- */

/* A failing write means that the connection is gone, not that a pipe's reader is. */
static int tcp_err_from_errno(int errnum)
{
	switch (errnum) {
	case EPIPE:
		return ERR_RESET;
	case EACCES:
	case EPERM:
		return ERR_UNREACHABLE; /* a local packet filter says no */
	default: {
		int err = err_from_errno(errnum);

		return err == ERR_IO ? ERR_NET : err;
	}
	}
}

int port_tcp_connect(const struct port_addr *addr, int64_t user_timeout_ms)
{
	struct sockaddr_storage ss;
	socklen_t len = addr_to_sockaddr(&ss, addr);
	int fd = socket(ss.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, IPPROTO_TCP);
	unsigned user_timeout = user_timeout_ms > INT32_MAX ? INT32_MAX : (unsigned)user_timeout_ms;
	int on = 1;

	/* EAFNOSUPPORT: a kernel without IPv6 cannot reach such an address, and others may do. */
	if (fd < 0)
		return errno == EAFNOSUPPORT ? ERR_UNREACHABLE : tcp_err_from_errno(errno);
	if (setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)) ||
		(user_timeout_ms > 0 && setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &user_timeout,
						sizeof(user_timeout))) ||
		(connect(fd, (const struct sockaddr *)&ss, len) && errno != EINPROGRESS &&
			errno != EINTR)) {
		int err = tcp_err_from_errno(errno);

		(void)close(fd);
		/* EAGAIN: no local port is left, which is not "ask again when the socket is ready". */
		return err == ERR_AGAIN ? ERR_NOMEM : err;
	}
	return fd;
}

int port_tcp_result(int fd)
{
	int errnum = 0;
	socklen_t len = sizeof(errnum);
	struct sockaddr_storage peer;
	socklen_t peer_len = sizeof(peer);

	if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &errnum, &len))
		return ERR_NET;
	if (errnum)
		return tcp_err_from_errno(errnum);
	/* No error, and yet not connected: a wake-up that came too early. */
	if (getpeername(fd, (struct sockaddr *)&peer, &peer_len))
		return errno == ENOTCONN ? ERR_AGAIN : ERR_NET;
	return 0;
}

ssize_t port_tcp_recv(int fd, void *dst, size_t len)
{
	ssize_t n;

	do {
		n = recv(fd, dst, len, 0);
	} while (n < 0 && errno == EINTR);
	if (n < 0)
		return tcp_err_from_errno(errno);
	return n ? n : ERR_CLOSED;
}

ssize_t port_tcp_send(int fd, const void *src, size_t len)
{
	ssize_t n;

	do {
		n = send(fd, src, len, MSG_NOSIGNAL);
	} while (n < 0 && errno == EINTR);
	return n < 0 ? tcp_err_from_errno(errno) : n;
}

void port_tcp_close(int fd)
{
	/* The connection is given up: whatever close says changes nothing. */
	if (fd >= 0)
		(void)close(fd);
}
