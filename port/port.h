/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What differs by platform. This header is the whole contract; port/linux fulfils it with POSIX
 * calls, port/sim with a seeded simulation. Nothing above it calls the system by itself.
 *
 * A port MUST: never block except in port_poll(); return the codes of base/err.h; be usable from
 * one thread only. It SHOULD allocate nothing after start-up.
 *
 * Units: _ms milliseconds, _s seconds, lengths in bytes.
 */
#ifndef ETCHLET_PORT_H
#define ETCHLET_PORT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* -- clock and entropy ------------------------------------------------------------------------ */

/* Monotonic. MUST never go back and SHOULD go on while the device sleeps. */
int64_t port_now_ms(void);

/* Wall clock, seconds since 1970 in UTC. May be wrong, may jump. */
int64_t port_wall_s(void);

/* Fills dst with random bytes fit for cryptography. 0, or ERR_ENTROPY when the system's pool is not
 * ready yet: MUST NOT block, MUST NOT return weak bytes. */
int port_random(void *dst, size_t len);

/* -- waiting ---------------------------------------------------------------------------------- */

enum {
	PORT_POLL_IN = 1,
	PORT_POLL_OUT = 2,
	PORT_POLL_ERR = 4, /* only as an answer: error or hang-up */
};

struct port_poll {
	int fd;
	int want; /* PORT_POLL_IN, PORT_POLL_OUT */
	int got;
};

/* Waits for the first of n descriptors or for timeout_ms (-1: for ever). A signal ends the wait
 * early. Returns how many descriptors are ready, or ERR_IO. */
int port_poll(struct port_poll *fds, size_t n, int64_t timeout_ms);

enum port_signal {
	PORT_SIGNAL_STOP = 1, /* SIGTERM, SIGINT */
	PORT_SIGNAL_RELOAD = 2, /* SIGHUP */
	PORT_SIGNAL_RETRY = 4, /* SIGUSR1 */
	PORT_SIGNAL_CHILD = 8, /* SIGCHLD */
};

/* Catches these signals, ignores SIGPIPE, and returns a descriptor that is readable when one came. */
int port_signals_open(void);
/* The set of signals since the last call. */
int port_signals_take(void);

/* -- network ---------------------------------------------------------------------------------- */

enum {
	PORT_HOST_MAX = 256, /* bytes of a host name, NUL included (RFC 1035 2.3.4) */
	PORT_ADDR_MAX = 8, /* addresses of one name that are tried */
	PORT_ADDR_TEXT_MAX = 72,
};

struct port_addr {
	uint8_t ip[16]; /* network order; 4 bytes used when is_v6 is false */
	bool is_v6;
	uint16_t port; /* host order */
	uint32_t scope; /* of a link-local IPv6 address, else 0 */
};

/* Literal addresses only, IPv6 without brackets, "%scope" allowed. 0, or ERR_RANGE when text is a name. */
int port_addr_parse(struct port_addr *addr, const char *text, uint16_t port);
/* "10.0.0.1:2379" or "[::1]:2379", terminated. Returns dst. */
char *port_addr_format(char dst[PORT_ADDR_TEXT_MAX], const struct port_addr *addr);

/* A name being resolved by the system's own resolver (hosts file, DNS, whatever it is set up for),
 * in the order that it prefers (RFC 6724). */
struct port_resolve {
	int fd; /* readable when the answer is there */
	int pid; /* private */
};

/* 0, or an error; on 0 poll r->fd for PORT_POLL_IN. */
int port_resolve_start(struct port_resolve *r, const char *host, uint16_t port);
/* How many of addrs[max] were filled; ERR_AGAIN; or ERR_DNS, with a few words for a person in why. */
int port_resolve_take(
	struct port_resolve *r, struct port_addr *addrs, size_t max, char *why, size_t why_cap);
/* Ends it, whatever its state, also after port_resolve_take(). Harmless when fd is -1. */
void port_resolve_cancel(struct port_resolve *r);

/* Starts a TCP connection (TCP_NODELAY, keepalive off, close-on-exec, dead after user_timeout_ms
 * without an acknowledgement). Returns a descriptor, writable when connected or failed; or an error. */
int port_tcp_connect(const struct port_addr *addr, int64_t user_timeout_ms);
/* 0 when connected, or the error that ended it. */
int port_tcp_result(int fd);
/* Bytes received (1 or more), ERR_AGAIN, ERR_CLOSED at the end, or another error. */
ssize_t port_tcp_recv(int fd, void *dst, size_t len);
/* Bytes taken (1 or more), ERR_AGAIN, or another error. Never raises SIGPIPE. */
ssize_t port_tcp_send(int fd, const void *src, size_t len);
void port_tcp_close(int fd);

/* -- flash ------------------------------------------------------------------------------------ */

/*
 * An array of equal sectors that are erased (all bits one) as a whole and programmed in order: a
 * plain file or a raw device. A struct that was never opened must be zero.
 */
struct port_flash {
	uint32_t sector_size; /* bytes; of a plain file the opener may change it */
	uint32_t sector_count; /* this as well */
	uint32_t size; /* bytes that were there at the opening, all sectors when is_new */
	uint8_t fill; /* what reads past the end give, 0xFF until the opener changes it */
	bool is_new; /* there was nothing (or an empty file): it was made now and reads as erased */
	bool is_device; /* the sectors are the hardware's and cannot be laid out otherwise */
	bool is_readonly; /* asked for or not, it can only be read now */
	const char *why; /* after a failed open: a few words for a person, or NULL */
	void *impl; /* private */
	bool is_open; /* private */
	int fd; /* private */
};

enum port_flash_mode {
	PORT_FLASH_READ, /* never writes, takes no lock */
	PORT_FLASH_UPDATE, /* exclusive lock, made when missing */
};

/*
 * Opens what lies at path. sector_size and sector_count lay out what is made anew (at once at its
 * full size, whole or not at all), and at first any plain file. Where a file cannot be written, by
 * its permissions or on a file system that went read-only, UPDATE opens it with is_readonly.
 * 0; ERR_LOCKED (another process has it), ERR_NOENT (UPDATE makes the folder it lies in, and no
 * more), ERR_CONFIG (no plain file and no flash device, see why), ERR_UNSUPPORTED (a raw device, and
 * this build has no support for it), ERR_ACCESS, ERR_READONLY (missing, and it cannot be made),
 * ERR_NOSPACE, ERR_IO.
 */
int port_flash_open(struct port_flash *f, const char *path, enum port_flash_mode mode,
	uint32_t sector_size, uint32_t sector_count);
/*
 * Fills a plain file that is shorter than its sectors up with bytes of the value fill. Before, the
 * opener may lay other sectors over it. Nothing to do for a device, and where it is_readonly. 0,
 * ERR_NOSPACE, ERR_IO.
 */
int port_flash_fit(struct port_flash *f);
/*
 * Puts the file aside under the name PATH.damaged (replacing an older one) and a new one in its
 * place that begins with len bytes of src and is erased otherwise. A power cut leaves the old or
 * the new one under its name (or, on a file system without hard links, none). f goes on with the
 * new one, is_new; after an error with the old one, wherever it lies now. 0, ERR_UNSUPPORTED for a
 * device, ERR_ACCESS, ERR_READONLY, ERR_NOSPACE, ERR_LOCKED, ERR_IO.
 */
int port_flash_renew(struct port_flash *f, const char *path, const void *src, uint32_t len);
/* offset and len lie within the sectors, or in what there was. 0 or ERR_IO. */
int port_flash_read(struct port_flash *f, uint32_t offset, void *dst, uint32_t len);
/* Programs bytes that are erased now; len within one sector. May be torn by a power cut. 0,
 * ERR_READONLY, ERR_NOSPACE, ERR_IO. */
int port_flash_program(struct port_flash *f, uint32_t offset, const void *src, uint32_t len);
/* Erases one whole sector. May be torn by a power cut. Errors as port_flash_program(). */
int port_flash_erase(struct port_flash *f, uint32_t sector);
/* After it, what was programmed and erased before is on storage. 0 or an error. */
int port_flash_sync(struct port_flash *f);
/* Frees the lock. Harmless after a failed open, a second time, and on zeros. */
void port_flash_close(struct port_flash *f);

/* -- surroundings ----------------------------------------------------------------------------- */

/* Call it first. Takes the places of standard input, output and error where they are closed, so
 * that no socket gets them (what is written to a closed standard output fails), and ignores
 * SIGPIPE. 0 or ERR_IO. */
int port_std_open(void);

/* The host name, terminated. 0, ERR_LIMIT or ERR_IO. */
int port_host_name(char *dst, size_t cap);

/* One line to the system's log; level: 0 error, 1 warning, 2 information, 3 debugging. */
void port_syslog_write(int level, const char *line, size_t len);

/* -- files ------------------------------------------------------------------------------------ */

/* Reads a whole small file (a key, a password) into dst. Its length, ERR_LIMIT when it is longer
 * than cap, ERR_NOENT, ERR_ACCESS, ERR_IO. */
ssize_t port_file_read(const char *path, void *dst, size_t cap);

bool port_folder_exists(const char *path);

/* Whether a file can be written, or made where it or its folder is missing, by this user. */
bool port_file_can_write(const char *path);

/* -- output ----------------------------------------------------------------------------------- */

/*
 * A stream of bytes to somebody: standard output, a regular file or a FIFO. Writing MUST NOT block,
 * and MUST NOT change how other holders of the descriptor (a shell's terminal) see it.
 */
struct port_output {
	int fd; /* poll it for PORT_POLL_OUT after ERR_AGAIN; -1 when there is nothing to poll */
	bool is_file; /* a regular file: it can be cut, and is always ready */
	bool is_owned; /* private: opened here */
	bool is_socket; /* private */
};

/* path "-": standard output. Else a FIFO (ERR_AGAIN while it has no reader) or a file, appended to.
 * A last line of the file without its end is cut off. */
int port_output_open(struct port_output *o, const char *path);
/* Bytes taken (1 or more), ERR_AGAIN, ERR_PIPE when the reader is gone, ERR_NOSPACE, ERR_IO. */
ssize_t port_output_write(struct port_output *o, const void *src, size_t len);
/* What was written is on storage after it (regular files; nothing to do for others). */
int port_output_sync(struct port_output *o);
void port_output_close(struct port_output *o);

/* Writes one line to standard error, whole if it can be; never fails the caller. */
void port_stderr_write(const char *line, size_t len);

/* -- programs --------------------------------------------------------------------------------- */

struct port_child {
	int pid; /* 0 or below: none */
};

/* Starts argv[0] (searched in PATH) in a process group of its own, with standard input from
 * /dev/null or from stdin_fd (0 or more), and the other descriptors as stdout_fd and stderr_fd say
 * (below 0: inherited); nothing else is inherited. env: NULL-terminated "NAME=value" pairs that are
 * added to the environment. 0, ERR_NOENT, ERR_ACCESS, ERR_LIMIT (arguments or environment too long),
 * ERR_NOMEM. */
int port_child_start(struct port_child *c, char *const argv[], char *const env[], int stdin_fd,
	int stdout_fd, int stderr_fd);
/* ERR_AGAIN while it runs; else its exit status, or 128 + the signal that ended it. */
int port_child_result(struct port_child *c);
/* A signal to its whole group; force: SIGKILL, else SIGTERM. */
void port_child_kill(struct port_child *c, bool force);

#endif
