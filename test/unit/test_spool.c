/* SPDX-License-Identifier: Apache-2.0 */
/* Spools of the Linux port: what goes in comes out, from memory and from a file that nobody sees. */
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/err.h"
#include "port/port.h"

enum { MEM_MAX = 10000 };

static char dir[] = "/tmp/etchlet-spool-XXXXXX";
static bool is_without_memfd;
static size_t descriptors;

/* Some systems have none. */
int memfd_create(const char *name, unsigned flags)
{
	if (is_without_memfd) {
		errno = ENOSYS;
		return -1;
	}
	return (int)syscall(SYS_memfd_create, name, flags);
}

static size_t count_entries(const char *path)
{
	DIR *d = opendir(path);
	size_t n = 0;

	assert_non_null(d);
	while (readdir(d))
		n++;
	closedir(d);
	return n;
}

static int setup(void **state)
{
	(void)state;
	is_without_memfd = false;
	strcpy(dir, "/tmp/etchlet-spool-XXXXXX");
	assert_non_null(mkdtemp(dir));
	descriptors = count_entries("/proc/self/fd");
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	assert_int_equal(count_entries("/proc/self/fd"), descriptors);
	assert_int_equal(rmdir(dir), 0);
	return 0;
}

static void append(struct port_spool *s, char byte, size_t len)
{
	char *text = malloc(len);

	assert_non_null(text);
	memset(text, byte, len);
	for (size_t done = 0; done < len;) {
		ssize_t n = port_spool_append(s, text + done, len - done);

		assert_true(n > 0);
		done += (size_t)n;
	}
	free(text);
}

/* The bytes of byte that come next. */
static size_t count_next(int fd, char byte)
{
	size_t n = 0;
	char c;

	while (read(fd, &c, 1) == 1) {
		if (c != byte) {
			assert_true(lseek(fd, -1, SEEK_CUR) >= 0);
			break;
		}
		n++;
	}
	return n;
}

static void check_growing(bool is_file_at_once)
{
	struct port_spool s;
	struct stat st;
	char text[8];
	int fd, again;

	port_spool_init(&s, dir, MEM_MAX);
	assert_int_equal(port_spool_read(&s, 0, text, sizeof(text)), 0);
	append(&s, 'a', 6000);
	assert_int_equal(s.is_file, is_file_at_once);
	append(&s, 'b', 4000);
	assert_int_equal(s.is_file, is_file_at_once);
	append(&s, 'c', 1);
	assert_true(s.is_file);
	append(&s, 'd', 100000);
	assert_int_equal(s.len, 110001);
	/* Nobody else finds it, now or after a crash. */
	assert_int_equal(count_entries(dir), 2);
	assert_int_equal(fstat(s.fd, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
	assert_int_equal(fcntl(s.fd, F_GETFD), FD_CLOEXEC);
	assert_int_equal(port_spool_read(&s, 9998, text, sizeof(text)), 8);
	assert_memory_equal(text, "bbcddddd", 8);
	assert_int_equal(port_spool_read(&s, 110000, text, sizeof(text)), 1);
	assert_int_equal(port_spool_read(&s, 110001, text, sizeof(text)), 0);
	/* Each reader has its own place, and what is appended later is there for it. */
	fd = port_spool_reader(&s);
	assert_true(fd >= 0);
	assert_int_equal(fcntl(fd, F_GETFD), FD_CLOEXEC);
	assert_int_equal(fcntl(fd, F_GETFL) & O_ACCMODE, O_RDONLY);
	assert_int_equal(count_next(fd, 'a'), 6000);
	again = port_spool_reader(&s);
	append(&s, 'e', 3);
	assert_int_equal(count_next(again, 'a'), 6000);
	assert_int_equal(count_next(fd, 'b'), 4000);
	assert_int_equal(count_next(fd, 'c'), 1);
	assert_int_equal(count_next(fd, 'd'), 100000);
	assert_int_equal(count_next(fd, 'e'), 3);
	/* Cut, and written on from there. */
	assert_int_equal(port_spool_cut(&s, 200000), 0);
	assert_int_equal(s.len, 110004);
	assert_int_equal(port_spool_cut(&s, 9999), 0);
	assert_int_equal(s.len, 9999);
	assert_int_equal(fstat(s.fd, &st), 0);
	assert_int_equal(st.st_size, 9999);
	append(&s, 'g', 1);
	assert_int_equal(port_spool_read(&s, 9998, text, sizeof(text)), 2);
	assert_memory_equal(text, "bg", 2);
	port_spool_clear(&s);
	assert_int_equal(s.len, 0);
	/* A reader that is left holds no space, and sees nothing of what comes next. */
	assert_int_equal(fstat(again, &st), 0);
	assert_int_equal(st.st_size, 0);
	append(&s, 'f', 5);
	assert_int_equal(s.is_file, is_file_at_once);
	assert_int_equal(count_next(again, 'f'), 0);
	port_fd_close(fd);
	port_fd_close(again);
	fd = port_spool_reader(&s);
	assert_int_equal(count_next(fd, 'f'), 5);
	port_fd_close(fd);
	port_spool_clear(&s);
	port_spool_clear(&s);
}

static void test_memory_then_file(void **state)
{
	(void)state;
	check_growing(false);
}

static void test_without_memory(void **state)
{
	(void)state;
	is_without_memfd = true;
	check_growing(true);
}

static void test_empty(void **state)
{
	struct port_spool s = {0};
	int fd;

	(void)state;
	port_spool_clear(&s);
	port_spool_init(&s, dir, MEM_MAX);
	fd = port_spool_reader(&s);
	assert_true(fd >= 0);
	assert_int_equal(count_next(fd, 'a'), 0);
	port_fd_close(fd);
	port_spool_clear(&s);
}

static void test_large_at_once(void **state)
{
	struct port_spool s;
	int fd;

	(void)state;
	port_spool_init(&s, dir, 0);
	append(&s, 'a', 1);
	assert_true(s.is_file);
	append(&s, 'b', 3 << 20);
	fd = port_spool_reader(&s);
	assert_int_equal(count_next(fd, 'a'), 1);
	assert_int_equal(lseek(fd, 0, SEEK_END), (3 << 20) + 1);
	port_fd_close(fd);
	port_spool_clear(&s);
}

/* After an error all is as it was, and goes on when there is room. */
static void test_no_folder(void **state)
{
	struct port_spool s;
	char folder[64], text[MEM_MAX];
	int fd;

	(void)state;
	memset(text, 'b', sizeof(text));
	snprintf(folder, sizeof(folder), "%s/later", dir);
	port_spool_init(&s, folder, MEM_MAX);
	append(&s, 'a', 9000);
	assert_int_equal(port_spool_append(&s, text, sizeof(text)), ERR_NOENT);
	assert_int_equal(port_spool_append(&s, text, sizeof(text)), ERR_NOENT);
	assert_int_equal(s.len, 9000);
	append(&s, 'b', 1000);
	assert_int_equal(mkdir(folder, 0700), 0);
	append(&s, 'c', 9000);
	fd = port_spool_reader(&s);
	assert_int_equal(count_next(fd, 'a'), 9000);
	assert_int_equal(count_next(fd, 'b'), 1000);
	assert_int_equal(count_next(fd, 'c'), 9000);
	port_fd_close(fd);
	port_spool_clear(&s);
	assert_int_equal(rmdir(folder), 0);
	s.folder = NULL;
	append(&s, 'a', MEM_MAX);
	assert_int_equal(port_spool_append(&s, text, 1), ERR_NOSPACE);
	assert_int_equal(s.len, MEM_MAX);
	port_spool_clear(&s);
}

static void test_no_room(void **state)
{
	struct rlimit old, small;
	struct port_spool s;
	char text[4096];
	int fd;

	(void)state;
	memset(text, 'b', sizeof(text));
	port_spool_init(&s, dir, 0);
	append(&s, 'a', 10000);
	/* As near to a full disk as a test comes that is not root: a limit within the piece. */
	signal(SIGXFSZ, SIG_IGN);
	assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
	small = (struct rlimit){.rlim_cur = 12000, .rlim_max = old.rlim_max};
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
	assert_int_equal(port_spool_append(&s, text, sizeof(text)), 2000);
	assert_true(port_spool_append(&s, text, sizeof(text)) < 0);
	assert_int_equal(s.len, 12000);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
	append(&s, 'b', 1);
	fd = port_spool_reader(&s);
	assert_int_equal(count_next(fd, 'a'), 10000);
	assert_int_equal(count_next(fd, 'b'), 2001);
	port_fd_close(fd);
	port_spool_clear(&s);
}

static void test_no_descriptors(void **state)
{
	struct rlimit old, none;
	struct port_spool s;

	(void)state;
	port_spool_init(&s, dir, MEM_MAX);
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &old), 0);
	none = (struct rlimit){.rlim_cur = 3, .rlim_max = old.rlim_max};
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
	assert_int_equal(port_spool_append(&s, "a", 1), ERR_NOMEM);
	assert_int_equal(port_spool_reader(&s), ERR_NOMEM);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &old), 0);
	append(&s, 'a', 1);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
	assert_int_equal(port_spool_reader(&s), ERR_NOMEM);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &old), 0);
	port_spool_clear(&s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_memory_then_file, setup, teardown),
		cmocka_unit_test_setup_teardown(test_without_memory, setup, teardown),
		cmocka_unit_test_setup_teardown(test_empty, setup, teardown),
		cmocka_unit_test_setup_teardown(test_large_at_once, setup, teardown),
		cmocka_unit_test_setup_teardown(test_no_folder, setup, teardown),
		cmocka_unit_test_setup_teardown(test_no_room, setup, teardown),
		cmocka_unit_test_setup_teardown(test_no_descriptors, setup, teardown),
	};

	alarm(60);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
