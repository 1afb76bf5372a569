/* SPDX-License-Identifier: Apache-2.0 */
/* Waiting, signals, clocks, random numbers and small files of the Linux port. */
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#include "base/err.h"
#include "port/port.h"

static void test_poll(void **state)
{
	struct port_poll p[CONFIG_LOOP_FD_COUNT + 1] = {{0}};
	int ends[2];
	int64_t before_ms;
	char byte;

	(void)state;
	assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
	p[0] = (struct port_poll){.fd = ends[0], .want = PORT_POLL_IN};
	p[1] = (struct port_poll){.fd = ends[1], .want = 0};
	before_ms = port_now_ms();
	assert_int_equal(port_poll(p, 2, 30), 0);
	assert_true(port_now_ms() - before_ms >= 29);
	p[1].want = PORT_POLL_OUT;
	assert_int_equal(port_poll(p, 2, -1), 1);
	assert_int_equal(p[0].got, 0);
	assert_int_equal(p[1].got, PORT_POLL_OUT);
	assert_int_equal(write(ends[1], "x", 1), 1);
	assert_int_equal(port_poll(p, 2, INT64_MAX), 2);
	assert_int_equal(p[0].got, PORT_POLL_IN);
	assert_int_equal(read(ends[0], &byte, 1), 1);
	close(ends[0]);
	/* An error is told even when nothing is wanted; so is a descriptor that is none. */
	p[1].want = 0;
	assert_int_equal(port_poll(p, 2, -1), 2);
	assert_int_equal(p[0].got, PORT_POLL_ERR);
	assert_int_equal(p[1].got, PORT_POLL_ERR);
	close(ends[1]);
	assert_int_equal(port_poll(p, CONFIG_LOOP_FD_COUNT + 1, 0), ERR_BUG);
}

static void test_signals(void **state)
{
	int fd = port_signals_open();
	struct port_poll p = {.fd = fd, .want = PORT_POLL_IN};
	struct itimerval soon = {.it_value = {.tv_usec = 20000}};

	(void)state;
	assert_true(fd >= 0);
	assert_int_equal(port_signals_open(), fd);
	assert_int_equal(port_signals_take(), 0);
	raise(SIGTERM);
	assert_int_equal(port_poll(&p, 1, 0), 1);
	assert_int_equal(port_signals_take(), PORT_SIGNAL_STOP);
	assert_int_equal(port_poll(&p, 1, 0), 0);
	raise(SIGINT);
	raise(SIGHUP);
	raise(SIGUSR1);
	raise(SIGCHLD);
	assert_int_equal(port_signals_take(),
		PORT_SIGNAL_STOP | PORT_SIGNAL_RELOAD | PORT_SIGNAL_RETRY | PORT_SIGNAL_CHILD);
	assert_int_equal(port_signals_take(), 0);
	/* More than the pipe holds: none is lost, and nothing stays behind. */
	for (int i = 0; i < 100000; i++)
		raise(SIGHUP);
	assert_int_equal(port_signals_take(), PORT_SIGNAL_RELOAD);
	assert_int_equal(port_poll(&p, 1, 0), 0);
	raise(SIGPIPE);
	/* It ends a wait that is on. */
	signal(SIGALRM, SIG_DFL);
	struct sigaction act = {.sa_flags = 0};
	sigaction(SIGHUP, NULL, &act);
	sigaction(SIGALRM, &act, NULL);
	setitimer(ITIMER_REAL, &soon, NULL);
	assert_int_equal(port_poll(&p, 1, 10000), 0);
	signal(SIGALRM, SIG_DFL);
	alarm(60);
	(void)port_signals_take();
}

static void test_clocks(void **state)
{
	int64_t last_ms = port_now_ms();

	(void)state;
	for (int i = 0; i < 1000; i++) {
		int64_t now_ms = port_now_ms();

		assert_true(now_ms >= last_ms);
		last_ms = now_ms;
	}
	assert_true(llabs(port_wall_s() - (int64_t)time(NULL)) <= 1);
}

static void test_random(void **state)
{
	uint8_t a[1000] = {0}, b[1000] = {0};
	int zeroes = 0;

	(void)state;
	assert_int_equal(port_random(a, sizeof(a)), 0);
	assert_int_equal(port_random(b, sizeof(b)), 0);
	assert_memory_not_equal(a, b, sizeof(a));
	for (size_t i = 0; i < sizeof(a); i++)
		zeroes += a[i] == 0;
	assert_true(zeroes < 50);
	assert_int_equal(port_random(NULL, 0), 0);
}

static void test_files(void **state)
{
	char path[] = "/tmp/etchlet-file-XXXXXX";
	int fd = mkstemp(path);
	char got[8];

	(void)state;
	assert_int_equal(write(fd, "12345", 5), 5);
	close(fd);
	assert_int_equal(port_file_read(path, got, 8), 5);
	assert_int_equal(port_file_read(path, got, 5), 5);
	assert_memory_equal(got, "12345", 5);
	assert_int_equal(port_file_read(path, got, 4), ERR_LIMIT);
	assert_int_equal(port_file_read(path, got, 0), ERR_LIMIT);
	assert_int_equal(port_file_read("/dev/null", got, 8), 0);
	assert_int_equal(port_file_read("/tmp", got, 8), ERR_IO);
	unlink(path);
	assert_int_equal(port_file_read(path, got, 8), ERR_NOENT);
	/* A FIFO without a writer, or with one that is silent, holds nobody. */
	assert_int_equal(mkfifo(path, 0600), 0);
	assert_int_equal(port_file_read(path, got, 8), 0);
	fd = open(path, O_RDWR);
	assert_int_equal(port_file_read(path, got, 8), ERR_IO);
	close(fd);
	unlink(path);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_poll),
		cmocka_unit_test(test_signals),
		cmocka_unit_test(test_clocks),
		cmocka_unit_test(test_random),
		cmocka_unit_test(test_files),
	};

	alarm(60);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
