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

/* -- local sockets ---------------------------------------------------------------------------- */

enum {
	PORT_LOCAL_PATH_MAX = 108, /* bytes of a socket's path, NUL included */
};

/* A stream socket that others on this device connect to by its path. */
struct port_local {
	int fd; /* readable when somebody connects; -1: not open */
	uint64_t device, inode; /* private */
};

/*
 * Makes it with mode 0600, and the folder that it lies in where only that is missing. A socket at that path which
 * nobody answers on is replaced; two that start at once do not replace each other's.
 * 0; ERR_LOCKED: somebody answers there; ERR_BUSY: another process is about to make one; ERR_CONFIG: something that is no socket
 * lies there; ERR_LIMIT: the path is too long; ERR_NOENT, ERR_ACCESS, ERR_READONLY, ERR_NOSPACE, ERR_IO.
 */
int port_local_listen(struct port_local *l, const char *path);
/* Whether that could be tried, before anything is made: 0; ERR_LIMIT and ERR_CONFIG as above. */
int port_local_check(const char *path);
/* Closes it, and removes the path when it still leads to it. Harmless when fd is -1. */
void port_local_close(struct port_local *l, const char *path);
/* A descriptor for port_tcp_recv(), port_tcp_send() and port_tcp_close(), which never block; ERR_AGAIN; or another error. */
int port_local_accept(struct port_local *l);
/* The other side: such a descriptor; ERR_NOENT, ERR_REFUSED (nobody answers), ERR_AGAIN (many wait to be answered),
 * ERR_ACCESS, ERR_LIMIT, ERR_IO. */
int port_local_connect(const char *path);

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
/* The process that holds the lock of the file which was opened, as far as the system tells; 0: nobody, or not known.
 * Takes no lock. */
int64_t port_flash_holder(const struct port_flash *f);
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

/* The init system, where it wants to be told how the program is: sd_notify(3). */
struct port_notify {
	int fd; /* private; -1: it does not */
	uint64_t watchdog_us; /* it wants to hear from this process in that time; 0: no */
	char path[PORT_LOCAL_PATH_MAX]; /* private */
	size_t path_len;
};

/* Reads the environment and takes it out of there. */
void port_notify_open(struct port_notify *n);
/* One notice of lines "NAME=value". 0, also when nobody wants it; ERR_AGAIN; or another error. MUST NOT block. */
int port_notify_send(struct port_notify *n, const char *text, size_t len);
/* Microseconds of the clock that notices refer to. */
uint64_t port_notify_time_us(void);
void port_notify_close(struct port_notify *n);

/* Number of this process. */
int64_t port_pid(void);

/* Memory of this process that is resident, in bytes; 0: not known. */
uint64_t port_memory_resident(void);

/* -- files ------------------------------------------------------------------------------------ */

/* Reads a whole small file (a key, a password) into dst. Its length, ERR_LIMIT when it is longer
 * than cap, ERR_NOENT, ERR_ACCESS, ERR_IO. */
ssize_t port_file_read(const char *path, void *dst, size_t cap);

bool port_folder_exists(const char *path);
/* Something else than a folder, whatever it is. */
bool port_file_exists(const char *path);

/* Cuts path down to the folder that it lies in. Its length; 0: the one at hand. */
size_t port_path_cut(char *path);

/* Where path lies, seen from the root, terminated; links and dots in it stay. Its length, or
 * ERR_LIMIT, ERR_NOENT, ERR_IO. */
ssize_t port_path_absolute(const char *path, char *dst, size_t cap);

/* Whether a file can be written, or made where it or its folder is missing, by this user: 0, ERR_ACCESS, ERR_READONLY, or
 * another error. */
int port_file_check_write(const char *path);

/* Whether standard output is a terminal. */
bool port_stdout_is_terminal(void);

/* Whether standard error is one, and this process is in its foreground. */
bool port_stderr_is_terminal(void);

/* A file that appears under its name whole: it is written beside it, as PATH.new, and renamed. */
struct port_replace {
	const char *path; /* lives as long as it is open */
	int fd; /* private; -1: not open */
};

/* 0, ERR_LIMIT (path too long), ERR_NOENT, ERR_ACCESS, ERR_READONLY, ERR_NOSPACE, ERR_IO. mode: of the file, whatever
 * the umask. After an error there is nothing to abort. */
int port_replace_begin(struct port_replace *r, const char *path, uint32_t mode);
/* All of it: 0 or an error. */
int port_replace_write(struct port_replace *r, const void *src, size_t len);
/* Puts it in its place, without waiting for the storage. 0 or an error, with nothing left behind. */
int port_replace_commit(struct port_replace *r);
void port_replace_abort(struct port_replace *r);

/* 0, also when there is none; or an error. */
int port_file_remove(const char *path);

/* -- folders ---------------------------------------------------------------------------------- */

/*
 * A tree of files that others may change at any time. A step goes from an open folder to a name
 * in it, one component without a '/', and follows no link. Descriptors are closed with
 * port_dir_close(), and no program inherits them.
 *
 * Where nothing else is told a function returns 0, or an error: ERR_NOENT, ERR_ACCESS, ERR_READONLY,
 * ERR_NOSPACE, ERR_NOMEM (no descriptor is left, too), ERR_IO, and ERR_UNSUPPORTED where the file
 * system cannot do it at all.
 */
enum port_node {
	PORT_NODE_NONE, /* nothing has this name */
	PORT_NODE_FILE, /* a regular file */
	PORT_NODE_FOLDER,
	PORT_NODE_OTHER, /* a link, a FIFO, a device, a socket */
};

struct port_stat {
	enum port_node node;
	uint32_t mode; /* of permissions, 07777 */
	uint32_t uid, gid;
	uint32_t links; /* names that a file has, saturated */
	uint64_t len;
	int64_t mtime_s; /* last change of a file's bytes */
	uint32_t mtime_ns;
	uint64_t device; /* the file system that it lies on */
};

/* Opens a folder by its path, links followed; it and those above it are made with mode when missing, if that is not 0. Returns the
 * descriptor. */
int port_dir_open(const char *path, uint32_t mode);
/* Whether the folder lies at path still: 1, 0 when there is nothing or something else, or an error. */
int port_dir_is_at(int dir, const char *path);
/* Whether it is the folder outer, or lies in it however deep: 1, 0, or an error; ERR_LIMIT when it lies too deep
 * to tell. */
int port_dir_is_inside(int dir, int outer);
/* An exclusive lock for as long as it is open. 0, ERR_LOCKED, or an error. */
int port_dir_lock(int dir);
/* Opens a folder in it. Returns the descriptor; ERR_NOENT also where name is no folder. */
int port_dir_enter(int dir, const char *name);
/* Makes a folder. 0; 1 when something has this name. */
int port_dir_make(int dir, const char *name, uint32_t mode);
/* Makes a file that only its owner may read and write, and opens it for both. Returns the descriptor; ERR_LOCKED when
 * something has this name. */
int port_dir_create(int dir, const char *name);
/* The same for a file without a name: where dir lies, or in the system's memory when dir is -1. */
int port_dir_create_unnamed(int dir);
/* Opens a regular file for reading. Returns the descriptor; ERR_NOENT also where name is none. */
int port_dir_open_file(int dir, const char *name, struct port_stat *st);
/* The same for reading and writing; what is there stays. */
int port_dir_open_update(int dir, const char *name, struct port_stat *st);
/* What name is; 0 with PORT_NODE_NONE when it is nothing. */
int port_dir_query(int dir, const char *name, struct port_stat *st);
/* Of an open file or folder. */
int port_fd_query(int fd, struct port_stat *st);
/* Whether something is mounted there, be it a part of the same file system: 1, or 0, also where the system does not tell. */
int port_dir_is_mount(int dir);
/* What is at `to` is replaced, unless only one of them is a folder, or `to` is a folder that is not empty. */
int port_dir_rename(int from_dir, const char *from, int to_dir, const char *to);
/* Each gets the other's place, in one step. ERR_UNSUPPORTED also across file systems. */
int port_dir_exchange(int a_dir, const char *a, int b_dir, const char *b);
/* A second name for a file. */
int port_dir_link(int from_dir, const char *from, int to_dir, const char *to);
/* Removes what is no folder. 0 also when it is gone already. */
int port_dir_unlink(int dir, const char *name);
/* Removes an empty folder. 0, also when it is gone already; 1 when there is something in it. */
int port_dir_remove(int dir, const char *name);
/* The names in it are on storage. */
int port_dir_sync(int dir);
/* All that was written to the file system that it lies on is on storage. */
int port_dir_sync_all(int dir);

enum {
	PORT_DIR_LIST_BYTES = 1024, /* room for at least three names of 255 bytes */
};

/* What is in a folder, but "." and "..". Removing what was told is harmless; what is made meanwhile
 * may be told or not. One list a descriptor: the place is the descriptor's. */
struct port_dir_list {
	int dir; /* private, as all that follows */
	uint32_t at, len;
	_Alignas(8) uint8_t bytes[PORT_DIR_LIST_BYTES];
};

/* Begins at the beginning. */
int port_dir_list_begin(struct port_dir_list *list, int dir);
/* 1 with the next name, which is good until the next call; 0 at the end; or an error. */
int port_dir_list_next(struct port_dir_list *list, const char **name, enum port_node *node);

/* Files by descriptor. Reading and writing at an offset: bytes done, 0 at the end, or an error. */
ssize_t port_fd_read_at(int fd, uint64_t offset, void *dst, size_t len);
ssize_t port_fd_write_at(int fd, uint64_t offset, const void *src, size_t len);
/* There is space for len bytes, or ERR_NOSPACE. 0 also where this cannot be told. The length stays. */
int port_fd_reserve(int fd, uint64_t len);
/* Bytes that are free for this user on the file system that it lies on. 0 or an error. */
int port_fd_space(int fd, uint64_t *len);
/* What lies beyond len is gone. */
int port_fd_cut(int fd, uint64_t len);
/* The bytes and what is needed to read them are on storage. */
int port_fd_sync(int fd);
int port_fd_set_mode(int fd, uint32_t mode);
/* UINT32_MAX: stays as it is. */
int port_fd_set_owner(int fd, uint32_t uid, uint32_t gid);
void port_dir_close(int fd);
/* The process that holds the lock of what was opened, as far as the system tells; 0: nobody, or not known. */
int64_t port_fd_lock_holder(int fd);

/* "USER[:GROUP]", names or numbers, as chown takes them; what is not named is UINT32_MAX. 0, ERR_NOENT (no such user or
 * group), ERR_RANGE (malformed). */
int port_owner_find(const char *text, uint32_t *uid, uint32_t *gid);

/* Differs after each start of the system, terminated; "" where that is not told. */
void port_boot_id(char *dst, size_t cap);

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

/* -- spool ------------------------------------------------------------------------------------ */

/*
 * Bytes that are kept until they are read again, by a program too. They begin in memory of the
 * system (where that is missing, in a file) and move to a file in `folder` when there are more than
 * mem_max of them. The file has no name, so nothing is left behind by a crash, and nobody else can
 * open it. Nothing is open while it is empty. All zero is a spool that was cleared.
 */
struct port_spool {
	const char *folder; /* must live as long as the spool */
	uint64_t mem_max;
	uint64_t len; /* bytes held */
	int fd; /* private, as is what follows */
	bool is_open;
	bool is_file;
};

void port_spool_init(struct port_spool *s, const char *folder, uint64_t mem_max);
/* Bytes taken (1 or more); ERR_NOSPACE, ERR_NOENT or ERR_ACCESS or ERR_READONLY (the folder),
 * ERR_NOMEM (no descriptor is left, too), ERR_IO: none were, and the same may be tried again. */
ssize_t port_spool_append(struct port_spool *s, const void *src, size_t len);
/* Bytes read from offset on, 0 at the end, or ERR_IO. */
ssize_t port_spool_read(const struct port_spool *s, uint64_t offset, void *dst, size_t len);
/* A descriptor for a program's standard input, that stands at the first byte and can only be read
 * (where the system has no way to open it anew, it is a copy). The caller closes it with
 * port_fd_close(). Or an error as of port_spool_append(). */
int port_spool_reader(struct port_spool *s);
/* What lies beyond len, which is not more than it holds, is gone. 0 or ERR_IO. */
int port_spool_cut(struct port_spool *s, uint64_t len);
/* What it holds is gone, for those too who still have a reader, and its space is given back. */
void port_spool_clear(struct port_spool *s);

/* Harmless when fd is -1. */
void port_fd_close(int fd);

/* -- programs --------------------------------------------------------------------------------- */

struct port_child {
	int pid; /* 0 or below: none */
};

/* A pipe for what a program prints. Nobody inherits either end. */
struct port_pipe {
	int read_fd; /* never blocks; poll it for PORT_POLL_IN */
	int write_fd; /* for port_child_start(), then to be closed */
};

/* 0 or ERR_NOMEM; then both are -1. */
int port_pipe_open(struct port_pipe *p);
/* Bytes read (1 or more), ERR_AGAIN, ERR_CLOSED when nobody can write into it any more, ERR_IO. */
ssize_t port_pipe_read(int fd, void *dst, size_t len);

/* Starts argv[0] (searched in PATH) in a process group of its own, with standard input from
 * /dev/null or from stdin_fd (0 or more), and the other descriptors as stdout_fd and stderr_fd say
 * (below 0: inherited); nothing else is inherited. env: NULL-terminated "NAME=value" pairs that are
 * added to the environment; "NAME" alone is taken out of it. 0, ERR_NOENT, ERR_ACCESS, ERR_LIMIT (arguments or environment too long),
 * ERR_NOMEM. */
int port_child_start(struct port_child *c, char *const argv[], char *const env[], int stdin_fd,
	int stdout_fd, int stderr_fd);
/* ERR_AGAIN while it runs; else its exit status, or 128 + the signal that ended it. */
int port_child_result(struct port_child *c);
/* Whether it has ended, while its result is left for port_child_result(): until that is called, its
 * group can still be told, without the danger that the number belongs to somebody else by now. */
bool port_child_has_ended(const struct port_child *c);
/* Whether argv0 can be run, as PATH finds it. 0, ERR_NOENT, ERR_ACCESS. */
int port_child_check(const char *argv0);
/* A signal to its whole group; force: SIGKILL, else SIGTERM. */
void port_child_kill(struct port_child *c, bool force);
/* SIGKILL to its group, and nobody asks for its result any more. */
void port_child_abandon(struct port_child *c);

#endif
