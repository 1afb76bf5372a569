/* SPDX-License-Identifier: Apache-2.0 */
/* Flash as a plain file: made whole, locked, put aside; and the journal on it. */
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/err.h"
#include "port/port.h"
#include "store/journal.h"

enum {
	SECTOR = 512,
	COUNT = 4,
	SIZE = SECTOR * COUNT,
};

static char folder[64], path[128];
static struct port_flash flash, other;

static const char *in_folder(const char *name)
{
	static char paths[4][160];
	static unsigned next;
	char *p = paths[next++ % 4];

	(void)snprintf(p, sizeof(paths[0]), "%s/%s", folder, name);
	return p;
}

static int setup(void **state)
{
	(void)state;
	(void)snprintf(folder, sizeof(folder), "/tmp/etchlet-flash-XXXXXX");
	assert_non_null(mkdtemp(folder));
	(void)snprintf(path, sizeof(path), "%s/state", folder);
	return 0;
}

static void remove_all(const char *dir)
{
	DIR *d = opendir(dir);
	struct dirent *e;

	if (!d)
		return;
	while ((e = readdir(d)) != NULL) {
		char p[512];

		if (!strcmp(e->d_name, ".") || !strcmp(e->d_name, ".."))
			continue;
		(void)snprintf(p, sizeof(p), "%s/%s", dir, e->d_name);
		if (unlink(p))
			remove_all(p);
	}
	(void)closedir(d);
	(void)rmdir(dir);
}

static int teardown(void **state)
{
	(void)state;
	port_flash_close(&flash);
	port_flash_close(&other);
	(void)chmod(folder, 0700);
	remove_all(folder);
	return 0;
}

static void put_file(const char *name, const void *bytes, size_t len)
{
	FILE *f = fopen(name, "w");

	assert_non_null(f);
	assert_int_equal(fwrite(bytes, 1, len, f), len);
	assert_int_equal(fclose(f), 0);
}

/* Its length, or -1. */
static long get_file(const char *name, uint8_t *bytes, size_t cap)
{
	FILE *f = fopen(name, "r");
	size_t len;

	if (!f)
		return -1;
	len = fread(bytes, 1, cap, f);
	assert_int_equal(fclose(f), 0);
	return (long)len;
}

static unsigned files_in_folder(void)
{
	DIR *d = opendir(folder);
	unsigned n = 0;

	assert_non_null(d);
	while (readdir(d))
		n++;
	(void)closedir(d);
	return n - 2;
}

static int open_flash(struct port_flash *f)
{
	return port_flash_open(f, path, PORT_FLASH_UPDATE, SECTOR, COUNT);
}

static void test_made_erased(void **state)
{
	uint8_t bytes[SIZE + 1], expected[SIZE];
	struct stat st;

	(void)state;
	memset(expected, 0xff, sizeof(expected));
	assert_int_equal(open_flash(&flash), 0);
	assert_true(flash.is_new);
	assert_int_equal(flash.size, SIZE);
	assert_int_equal(get_file(path, bytes, sizeof(bytes)), SIZE);
	assert_memory_equal(bytes, expected, SIZE);
	assert_int_equal(files_in_folder(), 1);
	/* Real blocks, so that a full disk is told now. */
	assert_int_equal(stat(path, &st), 0);
	assert_true(st.st_blocks * 512 >= SIZE);

	assert_int_equal(port_flash_program(&flash, 700, "hello", 5), 0);
	assert_int_equal(port_flash_sync(&flash), 0);
	assert_int_equal(port_flash_read(&flash, 699, bytes, 7), 0);
	assert_memory_equal(bytes, "\xffhello\xff", 7);
	port_flash_close(&flash);
	port_flash_close(&flash);
	assert_int_equal(open_flash(&flash), 0);
	assert_false(flash.is_new || flash.is_readonly || flash.is_device);
	assert_int_equal(flash.size, SIZE);
	assert_int_equal(port_flash_program(&flash, 0, "x", 1), 0);
	assert_int_equal(port_flash_erase(&flash, 1), 0);
	expected[0] = 'x';
	assert_int_equal(get_file(path, bytes, sizeof(bytes)), SIZE);
	assert_memory_equal(bytes, expected, SIZE);
}

static void test_folder_is_made(void **state)
{
	(void)state;
	(void)snprintf(path, sizeof(path), "%s/var/state", folder);
	assert_int_equal(open_flash(&flash), 0);
	(void)snprintf(path, sizeof(path), "%s/a/b/state", folder);
	assert_int_equal(open_flash(&other), ERR_NOENT);
	/* A folder of the name that leads nowhere. */
	assert_int_equal(symlink("nowhere", in_folder("link")), 0);
	(void)snprintf(path, sizeof(path), "%s/link/state", folder);
	assert_int_equal(open_flash(&other), ERR_NOENT);
	(void)snprintf(path, sizeof(path), "%s/var/state/state", folder);
	assert_int_equal(open_flash(&other), ERR_NOENT);
	assert_int_equal(port_flash_open(&other, in_folder("none"), PORT_FLASH_READ, SECTOR, COUNT),
		ERR_NOENT);
	/* A name alone lies in the working directory. */
	assert_int_equal(chdir(folder), 0);
	(void)snprintf(path, sizeof(path), "name");
	assert_int_equal(open_flash(&other), 0);
	assert_int_equal(access(in_folder("name"), F_OK), 0);
	assert_int_equal(chdir("/"), 0);
}

static void test_what_is_no_file(void **state)
{
	uint8_t bytes[8];

	(void)state;
	for (int mode = PORT_FLASH_READ; mode <= PORT_FLASH_UPDATE; mode++) {
		const enum port_flash_mode m = (enum port_flash_mode)mode;

		(void)mkdir(in_folder("dir"), 0755);
		assert_int_equal(
			port_flash_open(&flash, in_folder("dir"), m, SECTOR, COUNT), ERR_CONFIG);
		assert_string_equal(flash.why, "is a folder");
		(void)mkfifo(in_folder("fifo"), 0644);
		assert_int_equal(
			port_flash_open(&flash, in_folder("fifo"), m, SECTOR, COUNT), ERR_CONFIG);
		assert_string_equal(flash.why, "is not a plain file");
		assert_int_equal(
			port_flash_open(&flash, "/dev/null", m, SECTOR, COUNT), ERR_UNSUPPORTED);
		assert_non_null(flash.why);
	}
	/* A link is followed for reading only. */
	put_file(in_folder("file"), "hello", 5);
	assert_int_equal(symlink("file", in_folder("link")), 0);
	assert_int_equal(
		port_flash_open(&flash, in_folder("link"), PORT_FLASH_UPDATE, SECTOR, COUNT),
		ERR_CONFIG);
	assert_string_equal(flash.why, "is a symbolic link");
	assert_int_equal(
		port_flash_open(&flash, in_folder("link"), PORT_FLASH_READ, SECTOR, COUNT), 0);
	assert_int_equal(flash.size, 5);
	assert_int_equal(port_flash_read(&flash, 0, bytes, 8), 0);
	assert_memory_equal(bytes, "hello\xff\xff\xff", 8);
	flash.fill = 0;
	assert_int_equal(port_flash_fit(&flash), 0);
	assert_int_equal(port_flash_read(&flash, 0, bytes, 8), 0);
	assert_memory_equal(bytes, "hello\0\0", 8);
	assert_int_equal(port_flash_program(&flash, 0, "x", 1), ERR_READONLY);
	assert_int_equal(port_flash_erase(&flash, 0), ERR_READONLY);
	assert_int_equal(port_flash_renew(&flash, in_folder("file"), "", 0), ERR_READONLY);
	assert_int_equal(get_file(in_folder("file"), bytes, 8), 5);
}

static void test_locked(void **state)
{
	pid_t pid;
	int status;

	(void)state;
	assert_int_equal(open_flash(&flash), 0);
	assert_int_equal(open_flash(&other), ERR_LOCKED);
	/* Reading takes no lock; a program that is started does not keep it. */
	assert_int_equal(port_flash_open(&other, path, PORT_FLASH_READ, SECTOR, COUNT), 0);
	port_flash_close(&other);
	assert_true(fcntl(flash.fd, F_GETFD) & FD_CLOEXEC);
	/* In another process as well, and free when that one dies. */
	pid = fork();
	if (pid == 0)
		_exit(open_flash(&other) == ERR_LOCKED ? 7 : 8);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(WEXITSTATUS(status), 7);
	port_flash_close(&flash);
	pid = fork();
	if (pid == 0)
		_exit(open_flash(&other) == 0 ? 7 : 8);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(WEXITSTATUS(status), 7);
	assert_int_equal(open_flash(&flash), 0);
}

/* Several agents start at once where nothing is: one gets it, whole, the others are told. */
static void test_race(void **state)
{
	(void)state;
	for (int round = 0; round < 40; round++) {
		int start[2], done[2], winners = 0, status;
		pid_t pids[6];
		char byte;

		/* Nothing there, an empty file, or what a power cut left of making one. */
		if (round % 3 == 1)
			put_file(path, "", 0);
		if (round % 3 == 2)
			put_file(in_folder("state.new"), "half", 4);
		assert_int_equal(pipe(start), 0);
		assert_int_equal(pipe(done), 0);
		for (int i = 0; i < 6; i++) {
			pids[i] = fork();
			if (pids[i] == 0) {
				int err;

				(void)close(start[1]);
				(void)close(done[1]);
				(void)!read(start[0], &byte, 1);
				err = open_flash(&flash);
				if (err) {
					_exit(err == ERR_LOCKED ? 1 : 2);
				}
				/* Holds it until all have tried. */
				(void)!read(done[0], &byte, 1);
				_exit(flash.is_new ? 0 : 3);
			}
		}
		(void)close(start[0]);
		(void)close(start[1]);
		(void)close(done[0]);
		for (int left = 6; left > 1; left--) {
			assert_true(wait(&status) > 0);
			assert_int_equal(WEXITSTATUS(status), 1);
		}
		(void)close(done[1]);
		assert_true(wait(&status) > 0);
		winners += WEXITSTATUS(status) == 0;
		assert_int_equal(winners, 1);
		assert_int_equal(files_in_folder(), 1);
		assert_int_equal(open_flash(&flash), 0);
		assert_int_equal(flash.size, SIZE);
		port_flash_close(&flash);
		assert_int_equal(unlink(path), 0);
	}
}

static void test_left_over(void **state)
{
	uint8_t bytes[SIZE + 1];
	struct stat before, after;

	(void)state;
	/* One inode under both names, as JFFS2 may leave it: the file's content is not touched. */
	put_file(in_folder("keep"), "content", 7);
	assert_int_equal(link(in_folder("keep"), in_folder("state.new")), 0);
	assert_int_equal(open_flash(&flash), 0);
	assert_int_equal(get_file(in_folder("keep"), bytes, sizeof(bytes)), 7);
	assert_int_equal(stat(in_folder("keep"), &before), 0);
	assert_int_equal(stat(path, &after), 0);
	assert_true(before.st_ino != after.st_ino);
	port_flash_close(&flash);
	assert_int_equal(unlink(path), 0);
	/* A link in its place is not followed, a folder is not removed. */
	assert_int_equal(symlink("keep", in_folder("state.new")), 0);
	assert_int_equal(open_flash(&flash), 0);
	assert_int_equal(get_file(in_folder("keep"), bytes, sizeof(bytes)), 7);
	port_flash_close(&flash);
	assert_int_equal(unlink(path), 0);
	assert_int_equal(mkdir(in_folder("state.new"), 0755), 0);
	assert_true(open_flash(&flash) < 0);
	assert_int_equal(access(path, F_OK), -1);
}

/* No half-made file, whatever size the disk lets it become. */
static void test_no_space(void **state)
{
	static uint8_t bytes[SIZE];
	int status;
	pid_t pid;

	(void)state;
	put_file(in_folder("old"), "damaged", 7);
	pid = fork();
	if (pid == 0) {
		struct rlimit limit = {.rlim_cur = 1000, .rlim_max = 1000};
		int err;

		if (setrlimit(RLIMIT_FSIZE, &limit) || signal(SIGXFSZ, SIG_IGN) == SIG_ERR)
			_exit(3);
		if (open_flash(&flash) != ERR_NOSPACE || access(path, F_OK) == 0)
			_exit(4);
		(void)snprintf(path, sizeof(path), "%s/old", folder);
		if (open_flash(&flash))
			_exit(5);
		err = port_flash_fit(&flash);
		if (err != ERR_NOSPACE)
			_exit(6);
		err = port_flash_renew(&flash, path, "first", 5);
		_exit(err == ERR_NOSPACE ? 0 : 7);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(WEXITSTATUS(status), 0);
	assert_int_equal(files_in_folder(), 1);
	assert_true(get_file(in_folder("old"), bytes, sizeof(bytes)) >= 7);
	assert_memory_equal(bytes, "damaged", 7);
}

static void test_renew(void **state)
{
	uint8_t bytes[SIZE + 1], expected[SIZE];

	(void)state;
	memset(expected, 0xff, sizeof(expected));
	memcpy(expected, "first", 5);
	for (int round = 0; round < 2; round++) {
		put_file(path, round ? "second ruin" : "ruin", round ? 11 : 4);
		assert_int_equal(open_flash(&flash), 0);
		assert_int_equal(port_flash_renew(&flash, path, "first", 5), 0);
		assert_true(flash.is_new);
		assert_int_equal(get_file(path, bytes, sizeof(bytes)), SIZE);
		assert_memory_equal(bytes, expected, SIZE);
		assert_int_equal(
			get_file(in_folder("state.damaged"), bytes, sizeof(bytes)), round ? 11 : 4);
		assert_memory_equal(bytes, round ? "second ruin" : "ruin", round ? 11 : 4);
		assert_int_equal(files_in_folder(), 2);
		/* The lock is on the new one. */
		assert_int_equal(open_flash(&other), ERR_LOCKED);
		assert_int_equal(port_flash_program(&flash, 100, "x", 1), 0);
		assert_int_equal(get_file(path, bytes, sizeof(bytes)), SIZE);
		assert_int_equal(bytes[100], 'x');
		port_flash_close(&flash);
	}
	/* What lies in the way of PATH.damaged keeps the old file where it is. */
	assert_int_equal(unlink(in_folder("state.damaged")), 0);
	assert_int_equal(mkdir(in_folder("state.damaged"), 0755), 0);
	put_file(path, "ruin", 4);
	assert_int_equal(open_flash(&flash), 0);
	assert_true(port_flash_renew(&flash, path, "first", 5) < 0);
	assert_int_equal(get_file(path, bytes, sizeof(bytes)), 4);
	assert_int_equal(files_in_folder(), 2);
}

/* Somebody who may read only is told where it was, and that nothing can be saved. */
static void test_without_permission(void **state)
{
	struct journal_record record = {.position_rev = 5};
	static struct journal journal;
	int status;
	pid_t pid;

	(void)state;
	if (geteuid() != 0)
		skip();
	assert_int_equal(journal_open(&journal, path, PORT_FLASH_UPDATE, false, 0), 0);
	assert_int_equal(journal_append(&journal, 1, "a", &record, 0), 0);
	journal_close(&journal);
	assert_int_equal(chmod(folder, 0755), 0);
	pid = fork();
	if (pid == 0) {
		if (setgid(65534) || setuid(65534))
			_exit(2);
		if (journal_open(&journal, path, PORT_FLASH_UPDATE, false, 0))
			_exit(3);
		if (journal_find(&journal, 1, &record) != JOURNAL_FOUND || record.position_rev != 5)
			_exit(4);
		if (journal_append(&journal, 1, "a", &record, 0) != ERR_READONLY)
			_exit(5);
		if (journal_open(&journal, in_folder("none"), PORT_FLASH_UPDATE, false, 0) !=
			ERR_ACCESS)
			_exit(6);
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(WEXITSTATUS(status), 0);
}

/* The journal on a real file: kept, cut short, replaced by something else, made for other sectors. */
static void test_journal_on_a_file(void **state)
{
	struct journal_record record = {.position_rev = 0, .cluster_id = 9, .raft_term = 3};
	static uint8_t bytes[CONFIG_JOURNAL_SECTOR_SIZE * CONFIG_JOURNAL_SECTOR_COUNT + 1];
	static struct journal journal, second;
	long size = sizeof(bytes) - 1;

	(void)state;
	for (int i = 0; i < 3000; i++) {
		record.position_rev = i;
		if (i % 300 == 0)
			assert_int_equal(
				journal_open(&journal, path, PORT_FLASH_UPDATE, i % 600 == 0, 0),
				0);
		assert_int_equal(journal_append(&journal, 1, "a", &record, 0), 0);
		assert_int_equal(journal_sync(&journal), 0);
	}
	assert_int_equal(journal_open(&second, path, PORT_FLASH_UPDATE, false, 0), ERR_LOCKED);
	assert_int_equal(journal_open(&second, path, PORT_FLASH_READ, false, 0), 0);
	assert_int_equal(journal_find(&second, 1, &record), JOURNAL_FOUND);
	assert_int_equal(record.position_rev, 2999);
	journal_close(&second);
	journal_close(&journal);
	assert_int_equal(get_file(path, bytes, sizeof(bytes)), size);

	for (long len = size - 1; len > 0; len = len * 7 / 10) {
		put_file(path, bytes, (size_t)len);
		assert_int_equal(journal_open(&journal, path, PORT_FLASH_UPDATE, false, 0), 0);
		assert_true(journal.is_recovered);
		assert_int_equal(journal.is_damaged, len < 32);
		assert_int_equal(journal_find(&journal, 1, &record),
			len < 96 ? JOURNAL_LOST : JOURNAL_FOUND);
		assert_true(len < 96 || record.position_rev > 1900);
		journal_close(&journal);
	}
	put_file(path, "key = value\n", 12);
	assert_int_equal(journal_open(&journal, path, PORT_FLASH_UPDATE, false, 0), 0);
	assert_true(journal.is_damaged);
	journal_close(&journal);
	assert_int_equal(journal_open(&journal, path, PORT_FLASH_READ, false, 0), 0);
	assert_false(journal.is_damaged || journal.is_recovered);
	assert_int_equal(journal_find(&journal, 1, &record), JOURNAL_LOST);
	journal_close(&journal);
	assert_int_equal(get_file(in_folder("state.damaged"), bytes, sizeof(bytes)), 12);
	assert_memory_equal(bytes, "key = value\n", 12);
	put_file(path, "", 0);
	assert_int_equal(journal_open(&journal, path, PORT_FLASH_READ, false, 0), 0);
	assert_int_equal(journal_find(&journal, 1, &record), JOURNAL_NONE);
	assert_int_equal(journal_open(&journal, path, PORT_FLASH_UPDATE, false, 0), 0);
	assert_int_equal(journal_find(&journal, 1, &record), JOURNAL_NONE);
	assert_int_equal(get_file(path, bytes, sizeof(bytes)), size);
	journal_close(&journal);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_made_erased, setup, teardown),
		cmocka_unit_test_setup_teardown(test_folder_is_made, setup, teardown),
		cmocka_unit_test_setup_teardown(test_what_is_no_file, setup, teardown),
		cmocka_unit_test_setup_teardown(test_locked, setup, teardown),
		cmocka_unit_test_setup_teardown(test_race, setup, teardown),
		cmocka_unit_test_setup_teardown(test_left_over, setup, teardown),
		cmocka_unit_test_setup_teardown(test_no_space, setup, teardown),
		cmocka_unit_test_setup_teardown(test_renew, setup, teardown),
		cmocka_unit_test_setup_teardown(test_without_permission, setup, teardown),
		cmocka_unit_test_setup_teardown(test_journal_on_a_file, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
