/* SPDX-License-Identifier: Apache-2.0 */
/* Output of the Linux port: files, FIFOs, and standard output of every kind. */
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/err.h"
#include "port/port.h"

static char dir[] = "/tmp/etchlet-output-XXXXXX";
static char path[64];

static int set_up(void **state)
{
	(void)state;
	memcpy(dir + sizeof(dir) - 7, "XXXXXX", 6);
	if (!mkdtemp(dir))
		return -1;
	snprintf(path, sizeof(path), "%s/out", dir);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	unlink(path);
	return rmdir(dir);
}

static void write_file(const char *text, size_t len)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0644);

	assert_int_equal(write(fd, text, len), len);
	close(fd);
}

static void expect_file(const char *text)
{
	char got[64] = "";
	ssize_t n = port_file_read(path, got, sizeof(got) - 1);

	assert_true(n >= 0);
	assert_string_equal(got, text);
}

static void test_file(void **state)
{
	static const struct {
		const char *before, *after;
	} cases[] = {{"", "new\n"}, {"a\n", "a\nnew\n"}, {"a\nb", "a\nnew\n"}, {"torn", "new\n"},
		{"\n", "\nnew\n"}};
	struct port_output o;
	struct stat st;

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		write_file(cases[i].before, strlen(cases[i].before));
		assert_int_equal(port_output_open(&o, path), 0);
		assert_true(o.is_file);
		assert_int_equal(port_output_write(&o, "new\n", 4), 4);
		assert_int_equal(port_output_sync(&o), 0);
		port_output_close(&o);
		port_output_close(&o);
		expect_file(cases[i].after);
	}
	/* Made when missing. */
	unlink(path);
	umask(022);
	assert_int_equal(port_output_open(&o, path), 0);
	assert_int_equal(fstat(o.fd, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0644);
	assert_true(fcntl(o.fd, F_GETFD) & FD_CLOEXEC);
	port_output_close(&o);
	assert_int_equal(port_output_open(&o, "/no/such/folder/out"), ERR_NOENT);
	assert_int_equal(port_output_open(&o, "/tmp"), ERR_IO);
}

/* The end of the last whole line lies blocks before the end of the file. */
static void test_long_torn_line(void **state)
{
	static const size_t lens[] = {4095, 4096, 4097, 8191, 8192, 8193, 100000};
	static char text[100016];
	struct port_output o;
	struct stat st;

	(void)state;
	for (size_t i = 0; i < sizeof(lens) / sizeof(lens[0]); i++) {
		memcpy(text, "whole\n", 6);
		memset(text + 6, 'x', lens[i]);
		write_file(text, 6 + lens[i]);
		assert_int_equal(port_output_open(&o, path), 0);
		assert_int_equal(fstat(o.fd, &st), 0);
		assert_int_equal(st.st_size, 6);
		port_output_close(&o);
	}
}

static void test_fifo(void **state)
{
	static char much[100000];
	struct port_output o;
	ssize_t n;
	int reader;
	char got[8];

	(void)state;
	unlink(path);
	assert_int_equal(mkfifo(path, 0600), 0);
	assert_int_equal(port_output_open(&o, path), ERR_AGAIN);
	assert_int_equal(o.fd, -1);
	reader = open(path, O_RDONLY | O_NONBLOCK);
	assert_int_equal(port_output_open(&o, path), 0);
	assert_false(o.is_file);
	assert_int_equal(port_output_write(&o, "line\n", 5), 5);
	assert_int_equal(read(reader, got, sizeof(got)), 5);
	n = port_output_write(&o, much, sizeof(much));
	assert_true(n > 0 && n < (ssize_t)sizeof(much));
	assert_int_equal(port_output_write(&o, much, sizeof(much)), ERR_AGAIN);
	assert_int_equal(port_output_sync(&o), 0);
	close(reader);
	assert_int_equal(port_output_write(&o, much, 1), ERR_PIPE);
	port_output_close(&o);
}

static void test_full_device(void **state)
{
	struct port_output o;

	(void)state;
	assert_int_equal(port_output_open(&o, "/dev/full"), 0);
	assert_int_equal(port_output_write(&o, "x", 1), ERR_NOSPACE);
	port_output_close(&o);
}

/* Opens "-" while fd stands in for standard output. What is tested runs with it in place. */
static int stdout_begin(int fd)
{
	int saved;

	fflush(stdout);
	saved = fcntl(1, F_DUPFD_CLOEXEC, 10);
	dup2(fd, 1);
	return saved;
}

static void stdout_end(int saved)
{
	dup2(saved, 1);
	close(saved);
}

static void test_stdout_pipe(void **state)
{
	static char much[100000];
	struct port_output o;
	int ends[2], saved, ret, flags;
	ssize_t taken, full, gone;

	(void)state;
	assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
	saved = stdout_begin(ends[1]);
	ret = port_output_open(&o, "-");
	taken = port_output_write(&o, much, sizeof(much));
	/* A pipe of 64 KiB: it would block here. */
	while ((full = port_output_write(&o, much, sizeof(much))) > 0)
		taken += full;
	flags = fcntl(1, F_GETFL);
	stdout_end(saved);
	close(ends[0]);
	gone = port_output_write(&o, much, 1);
	port_output_close(&o);
	close(ends[1]);
	assert_int_equal(ret, 0);
	assert_int_equal(taken, 65536);
	assert_int_equal(full, ERR_AGAIN);
	assert_int_equal(gone, ERR_PIPE);
	/* The shell's descriptor is as it was. */
	assert_false(flags & O_NONBLOCK);
}

/* Where the pipe cannot be opened anew, it is written to in pieces. */
static void test_stdout_pipe_shared(void **state)
{
	static char much[100000];
	struct port_output o;
	int ends[2], saved, flags;
	ssize_t n, taken = 0;

	(void)state;
	assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
	saved = stdout_begin(ends[1]);
	o = (struct port_output){.fd = 1};
	while ((n = port_output_write(&o, much, sizeof(much))) > 0)
		taken += n;
	flags = fcntl(1, F_GETFL);
	port_output_close(&o);
	stdout_end(saved);
	close(ends[0]);
	close(ends[1]);
	assert_int_equal(taken, 65536);
	assert_int_equal(n, ERR_AGAIN);
	assert_false(flags & O_NONBLOCK);
}

static void test_stdout_socket(void **state)
{
	static char much[1000000];
	struct port_output o;
	int ends[2], saved, ret, flags;
	ssize_t first, n;

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
	saved = stdout_begin(ends[1]);
	ret = port_output_open(&o, "-");
	first = port_output_write(&o, much, sizeof(much));
	while ((n = port_output_write(&o, much, sizeof(much))) > 0)
		;
	flags = fcntl(1, F_GETFL);
	close(ends[0]);
	ssize_t gone = port_output_write(&o, much, 1);
	port_output_close(&o);
	stdout_end(saved);
	close(ends[1]);
	assert_int_equal(ret, 0);
	assert_true(first > 0);
	assert_int_equal(n, ERR_AGAIN);
	assert_int_equal(gone, ERR_PIPE);
	assert_false(flags & O_NONBLOCK);
}

static void test_stdout_terminal(void **state)
{
	struct port_output o;
	int master = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
	int slave, saved, ret, flags;
	char got[8] = "";
	ssize_t n;

	(void)state;
	assert_int_equal(grantpt(master) | unlockpt(master), 0);
	slave = open(ptsname(master), O_RDWR | O_NOCTTY | O_CLOEXEC);
	saved = stdout_begin(slave);
	ret = port_output_open(&o, "-");
	n = port_output_write(&o, "hello", 5);
	flags = fcntl(1, F_GETFL);
	port_output_close(&o);
	stdout_end(saved);
	assert_int_equal(ret, 0);
	assert_int_equal(n, 5);
	assert_false(flags & O_NONBLOCK);
	assert_int_equal(read(master, got, sizeof(got)), 5);
	assert_string_equal(got, "hello");
	close(slave);
	close(master);
}

static void test_stdout_file(void **state)
{
	struct port_output o;
	int fd, saved, ret;
	ssize_t n;

	(void)state;
	write_file("torn by others", 14);
	fd = open(path, O_WRONLY | O_APPEND | O_CLOEXEC);
	saved = stdout_begin(fd);
	ret = port_output_open(&o, "-");
	n = port_output_write(&o, "+\n", 2);
	stdout_end(saved);
	close(fd);
	assert_int_equal(ret, 0);
	assert_true(o.is_file);
	port_output_close(&o);
	assert_int_equal(n, 2);
	/* What a shell redirected to is not ours to cut. */
	expect_file("torn by others+\n");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_file, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_long_torn_line, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_fifo, set_up, tear_down),
		cmocka_unit_test(test_full_device),
		cmocka_unit_test(test_stdout_pipe),
		cmocka_unit_test(test_stdout_pipe_shared),
		cmocka_unit_test(test_stdout_socket),
		cmocka_unit_test(test_stdout_terminal),
		cmocka_unit_test_setup_teardown(test_stdout_file, set_up, tear_down),
	};

	port_signals_open();
	alarm(60);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
