/* SPDX-License-Identifier: Apache-2.0 */
/* Programs that the Linux port starts. */
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/err.h"
#include "port/port.h"

static int wait_child(struct port_child *c)
{
	int64_t end_ms = port_now_ms() + 10000;
	int ret;

	while ((ret = port_child_result(c)) == ERR_AGAIN && port_now_ms() < end_ms) {
		struct pollfd p = {.fd = port_signals_open(), .events = POLLIN};

		poll(&p, 1, 1000);
		port_signals_take();
	}
	return ret;
}

/* Runs a script of the shell and collects what it prints. */
static int run_script(const char *script, char *const env[], int in, char *out, size_t cap)
{
	char *argv[] = {"sh", "-c", (char *)(uintptr_t)script, NULL};
	struct port_child c;
	int ends[2];
	size_t len = 0;
	ssize_t n;

	assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
	assert_int_equal(port_child_start(&c, argv, env, in, ends[1], -1), 0);
	close(ends[1]);
	while ((n = read(ends[0], out + len, cap - 1 - len)) > 0)
		len += (size_t)n;
	out[len] = '\0';
	close(ends[0]);
	return wait_child(&c);
}

static void test_exit_status(void **state)
{
	char out[64];

	(void)state;
	assert_int_equal(run_script("exit 0", NULL, -1, out, sizeof(out)), 0);
	assert_int_equal(run_script("exit 3", NULL, -1, out, sizeof(out)), 3);
	assert_int_equal(run_script("kill -9 $$", NULL, -1, out, sizeof(out)), 128 + SIGKILL);
}

static void test_environment_and_input(void **state)
{
	char *const env[] = {"ETCHLET_WATCH=a b", "HOME=/changed", NULL};
	char out[64];
	int ends[2];

	(void)state;
	setenv("KEPT", "yes", 1);
	assert_int_equal(
		run_script("echo \"$ETCHLET_WATCH|$HOME|$KEPT\"", env, -1, out, sizeof(out)), 0);
	assert_string_equal(out, "a b|/changed|yes\n");
	assert_null(getenv("ETCHLET_WATCH"));
	/* A name alone is taken out. */
	char *const none[] = {"KEPT", NULL};
	assert_int_equal(run_script("echo \"${KEPT-none}\"", none, -1, out, sizeof(out)), 0);
	assert_string_equal(out, "none\n");
	assert_string_equal(getenv("KEPT"), "yes");
	/* /dev/null without a descriptor. */
	assert_int_equal(run_script("cat; echo end", NULL, -1, out, sizeof(out)), 0);
	assert_string_equal(out, "end\n");
	assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
	assert_int_equal(write(ends[1], "batch\n", 6), 6);
	close(ends[1]);
	assert_int_equal(run_script("cat", NULL, ends[0], out, sizeof(out)), 0);
	assert_string_equal(out, "batch\n");
	close(ends[0]);
}

static void test_nothing_is_inherited(void **state)
{
	char out[512];
	int fds[20];
	bool is_only = true;

	(void)state;
	for (int i = 0; i < 20; i++)
		fds[i] = open("/dev/zero", O_RDONLY); /* without O_CLOEXEC */
	assert_int_equal(run_script("ls /proc/$$/fd", NULL, -1, out, sizeof(out)), 0);
	for (char *word = strtok(out, " \n"); word; word = strtok(NULL, " \n")) {
		/* A shell keeps its own script at 10 or above only when it reads a file. */
		is_only = is_only && strlen(word) == 1 && word[0] <= '2';
	}
	assert_true(is_only);
	for (int i = 0; i < 20; i++)
		close(fds[i]);
}

/* Standard output of the child may be our descriptor 0, and so on around. */
static void test_descriptors_that_overlap(void **state)
{
	char *argv[] = {"sh", "-c", "read x; echo \"out $x\"; echo \"err $x\" >&2", NULL};
	struct port_child c;
	int in[2], out[2], err[2];
	char text[32] = "";

	(void)state;
	assert_int_equal(pipe2(in, O_CLOEXEC) | pipe2(out, O_CLOEXEC) | pipe2(err, O_CLOEXEC), 0);
	assert_int_equal(write(in[1], "1\n", 2), 2);
	int saved[3] = {dup(0), dup(1), dup(2)};
	dup2(in[0], 2);
	dup2(out[1], 0);
	dup2(err[1], 1);
	int ret = port_child_start(&c, argv, NULL, 2, 0, 1);
	for (int i = 0; i < 3; i++) {
		dup2(saved[i], i);
		close(saved[i]);
	}
	close(out[1]);
	close(err[1]);
	assert_int_equal(ret, 0);
	assert_int_equal(wait_child(&c), 0);
	assert_true(read(out[0], text, sizeof(text) - 1) > 0);
	assert_string_equal(text, "out 1\n");
	memset(text, 0, sizeof(text));
	assert_true(read(err[0], text, sizeof(text) - 1) > 0);
	assert_string_equal(text, "err 1\n");
	close(in[0]);
	close(in[1]);
	close(out[0]);
	close(err[0]);
}

static void test_signals_are_default(void **state)
{
	sigset_t all, old;
	char out[64];

	(void)state;
	/* Ours is ignored and blocked; a child that inherited that would live on. */
	signal(SIGUSR2, SIG_IGN);
	sigfillset(&all);
	sigprocmask(SIG_BLOCK, &all, &old);
	int ret = run_script("kill -USR2 $$; echo alive", NULL, -1, out, sizeof(out));
	sigprocmask(SIG_SETMASK, &old, NULL);
	assert_int_equal(ret, 128 + SIGUSR2);
	assert_int_equal(
		run_script("kill -PIPE $$; echo alive", NULL, -1, out, sizeof(out)), 128 + SIGPIPE);
}

static void test_start_failures(void **state)
{
	char script[] = "/tmp/etchlet-child-XXXXXX";
	char *missing[] = {"/no/such/program", NULL};
	char *unknown[] = {"etchlet-no-such-program", NULL};
	char *folder[] = {"/tmp", NULL};
	char *closed[] = {script, NULL};
	char *long_argv[] = {"true", NULL, NULL};
	size_t long_len = 4 << 20;
	struct port_child c;
	int fd = mkstemp(script);

	(void)state;
	close(fd);
	chmod(script, 0600);
	assert_int_equal(port_child_start(&c, missing, NULL, -1, -1, -1), ERR_NOENT);
	assert_true(c.pid <= 0);
	assert_int_equal(port_child_start(&c, unknown, NULL, -1, -1, -1), ERR_NOENT);
	assert_int_equal(port_child_start(&c, folder, NULL, -1, -1, -1), ERR_ACCESS);
	assert_int_equal(port_child_start(&c, closed, NULL, -1, -1, -1), ERR_ACCESS);
	long_argv[1] = malloc(long_len + 1);
	memset(long_argv[1], 'x', long_len);
	long_argv[1][long_len] = '\0';
	assert_int_equal(port_child_start(&c, long_argv, NULL, -1, -1, -1), ERR_LIMIT);
	free(long_argv[1]);
	unlink(script);
	/* None of them was left behind. */
	int64_t end_ms = port_now_ms() + 10000;
	siginfo_t info;
	while (waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) == 0 &&
		port_now_ms() < end_ms) {
		poll(NULL, 0, 5);
		port_signals_take();
	}
	assert_int_equal(waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT), -1);
}

static void test_group_is_killed(void **state)
{
	/* A grandchild that holds the pipe: its end is seen only when it is gone too. */
	char *argv[] = {"sh", "-c", "trap '' TERM; sleep 1000 & echo ready; wait; wait", NULL};
	struct port_child c;
	int ends[2];
	char byte[16];

	(void)state;
	assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
	assert_int_equal(port_child_start(&c, argv, NULL, -1, ends[1], -1), 0);
	close(ends[1]);
	assert_true(read(ends[0], byte, sizeof(byte)) > 0);
	assert_int_equal(port_child_result(&c), ERR_AGAIN);
	port_child_kill(&c, false);
	assert_int_equal(port_child_result(&c), ERR_AGAIN);
	port_child_kill(&c, true);
	assert_int_equal(read(ends[0], byte, sizeof(byte)), 0);
	assert_int_equal(wait_child(&c), 128 + SIGKILL);
	/* Harmless without a child. */
	port_child_kill(&c, true);
	close(ends[0]);
}

static void test_program_that_left_its_group_is_killed(void **state)
{
	char *argv[] = {"/usr/bin/python3", "-c",
		"import os, time; os.setpgid(0, os.getpgid(os.getppid())); os.write(1, b'x'); time.sleep(1000)",
		NULL};
	struct port_child c;
	int ends[2];
	char byte;

	(void)state;
	assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
	assert_int_equal(port_child_start(&c, argv, NULL, -1, ends[1], -1), 0);
	close(ends[1]);
	assert_int_equal(read(ends[0], &byte, 1), 1);
	port_child_kill(&c, false);
	assert_int_equal(wait_child(&c), 128 + SIGTERM);
	close(ends[0]);
}

static void test_pipe(void **state)
{
	char *argv[] = {
		"sh", "-c", "echo out; echo err >&2; read x; head -c 1000000 /dev/zero", NULL};
	struct port_child c;
	struct port_pipe p;
	static char text[65536];
	size_t len = 0;
	int in[2];
	ssize_t n;

	(void)state;
	assert_int_equal(pipe2(in, O_CLOEXEC), 0);
	assert_int_equal(port_pipe_open(&p), 0);
	assert_int_equal(fcntl(p.read_fd, F_GETFD), FD_CLOEXEC);
	assert_int_equal(fcntl(p.write_fd, F_GETFD), FD_CLOEXEC);
	assert_int_equal(fcntl(p.write_fd, F_GETFL) & O_NONBLOCK, 0);
	assert_int_equal(port_pipe_read(p.read_fd, text, sizeof(text)), ERR_AGAIN);
	assert_int_equal(port_child_start(&c, argv, NULL, in[0], p.write_fd, p.write_fd), 0);
	port_fd_close(p.write_fd);
	while (len < 8) {
		n = port_pipe_read(p.read_fd, text + len, sizeof(text) - len);
		if (n == ERR_AGAIN)
			poll(NULL, 0, 1);
		else
			len += (size_t)n;
	}
	assert_memory_equal(text, "out\nerr\n", 8);
	assert_false(port_child_has_ended(&c));
	assert_int_equal(write(in[1], "\n", 1), 1);
	for (len = 0; (n = port_pipe_read(p.read_fd, text, sizeof(text))) != ERR_CLOSED;) {
		if (n == ERR_AGAIN)
			poll(NULL, 0, 1);
		else
			len += (size_t)n;
	}
	assert_int_equal(len, 1000000);
	while (!port_child_has_ended(&c))
		poll(NULL, 0, 1);
	/* Asked twice, it has still ended, and its result is there. */
	assert_true(port_child_has_ended(&c));
	assert_int_equal(port_child_result(&c), 0);
	port_fd_close(p.read_fd);
	port_fd_close(-1);
	close(in[0]);
	close(in[1]);
}

static void test_pipe_without_descriptors(void **state)
{
	struct rlimit old, none;
	struct port_pipe p;

	(void)state;
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &old), 0);
	none = (struct rlimit){.rlim_cur = 3, .rlim_max = old.rlim_max};
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
	assert_int_equal(port_pipe_open(&p), ERR_NOMEM);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &old), 0);
	assert_int_equal(p.read_fd, -1);
	assert_int_equal(p.write_fd, -1);
}

static void test_abandoned(void **state)
{
	char *argv[] = {"sleep", "1000", NULL};
	int64_t end_ms = port_now_ms() + 10000;
	struct port_child c;
	siginfo_t info;

	(void)state;
	assert_int_equal(port_child_start(&c, argv, NULL, -1, -1, -1), 0);
	port_child_abandon(&c);
	assert_int_equal(c.pid, 0);
	port_child_abandon(&c);
	while (waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) == 0 &&
		port_now_ms() < end_ms) {
		poll(NULL, 0, 5);
		port_signals_take();
	}
	assert_int_equal(waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT), -1);
}

static void test_check(void **state)
{
	char folder[] = "/tmp/etchlet-child-XXXXXX", path[64], name[] = "etchlet-test-program";
	char *saved = strdup(getenv("PATH"));
	char both[256];

	(void)state;
	assert_int_equal(port_child_check("sh"), 0);
	assert_int_equal(port_child_check("/bin/sh"), 0);
	assert_int_equal(port_child_check("/tmp"), ERR_ACCESS);
	assert_int_equal(port_child_check("/no/such/program"), ERR_NOENT);
	assert_int_equal(port_child_check(""), ERR_NOENT);
	assert_non_null(mkdtemp(folder));
	snprintf(path, sizeof(path), "%s/%s", folder, name);
	snprintf(both, sizeof(both), "/no/such:%s", folder);
	setenv("PATH", both, 1);
	assert_int_equal(port_child_check(name), ERR_NOENT);
	close(open(path, O_CREAT | O_WRONLY, 0600));
	assert_int_equal(port_child_check(name), ERR_ACCESS);
	chmod(path, 0700);
	assert_int_equal(port_child_check(name), 0);
	setenv("PATH", saved, 1);
	free(saved);
	unlink(path);
	rmdir(folder);
}

static void test_path_absolute(void **state)
{
	char old[4096], want[4200], got[4200];

	(void)state;
	assert_non_null(getcwd(old, sizeof(old)));
	snprintf(want, sizeof(want), "%s/a/../b", old);
	assert_int_equal(port_path_absolute("a/../b", got, sizeof(got)), strlen(want));
	assert_string_equal(got, want);
	assert_int_equal(port_path_absolute("/x", got, 3), 2);
	assert_string_equal(got, "/x");
	assert_int_equal(port_path_absolute("/x", got, 2), ERR_LIMIT);
	assert_int_equal(port_path_absolute("x", got, 2), ERR_LIMIT);
	assert_int_equal(chdir("/"), 0);
	assert_int_equal(port_path_absolute("x", got, sizeof(got)), 2);
	assert_string_equal(got, "/x");
	assert_int_equal(chdir(old), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_exit_status),
		cmocka_unit_test(test_environment_and_input),
		cmocka_unit_test(test_nothing_is_inherited),
		cmocka_unit_test(test_descriptors_that_overlap),
		cmocka_unit_test(test_signals_are_default),
		cmocka_unit_test(test_start_failures),
		cmocka_unit_test(test_group_is_killed),
		cmocka_unit_test(test_program_that_left_its_group_is_killed),
		cmocka_unit_test(test_pipe),
		cmocka_unit_test(test_pipe_without_descriptors),
		cmocka_unit_test(test_abandoned),
		cmocka_unit_test(test_check),
		cmocka_unit_test(test_path_absolute),
	};

	port_signals_open();
	alarm(60);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
