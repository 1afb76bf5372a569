/* SPDX-License-Identifier: Apache-2.0 */
/* Folders by descriptor, and owners by name. */
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/err.h"
#include "port/port.h"

static char base[] = "/tmp/etchlet-dir-XXXXXX";
static char path[64];
static int dir;

static int set_up(void **state)
{
	(void)state;
	memcpy(base + sizeof(base) - 7, "XXXXXX", 6);
	if (!mkdtemp(base))
		return -1;
	snprintf(path, sizeof(path), "%s/d", base);
	dir = port_dir_open(path, 0750);
	return dir < 0;
}

static int tear_down(void **state)
{
	(void)state;
	port_dir_close(dir);
	return rmdir(path) || rmdir(base);
}

static void make_file(const char *name, const char *text)
{
	int fd = port_dir_create(dir, name);

	assert_true(fd >= 0);
	assert_int_equal(port_fd_write_at(fd, 0, text, strlen(text)), strlen(text));
	port_dir_close(fd);
}

static enum port_node node_of(const char *name)
{
	struct port_stat st;

	assert_int_equal(port_dir_query(dir, name, &st), 0);
	return st.node;
}

static void test_open(void **state)
{
	char link_path[80];
	struct stat st;
	int fd;

	(void)state;
	snprintf(link_path, sizeof(link_path), "%s/new/er//est/", base);
	assert_int_equal(port_dir_open(link_path, 0), ERR_NOENT);
	/* Those above it are made too. */
	fd = port_dir_open(link_path, 0700);
	assert_true(fd >= 0);
	assert_int_equal(port_dir_is_at(fd, link_path), 1);
	port_dir_close(fd);
	for (int i = 0; i < 3; i++) {
		assert_int_equal(stat(link_path, &st), 0);
		assert_int_equal(st.st_mode & 07777, 0700);
		assert_int_equal(rmdir(link_path), 0);
		snprintf(link_path, sizeof(link_path), i ? "%s/new" : "%s/new/er", base);
	}
	/* A file in the middle of the path is left as it is. */
	make_file("file", "");
	snprintf(link_path, sizeof(link_path), "%s/file/folder/x", path);
	assert_int_equal(port_dir_open(link_path, 0755), ERR_NOENT);
	assert_int_equal(port_dir_unlink(dir, "file"), 0);
	assert_int_equal(port_dir_open("/etc/passwd", 0), ERR_NOENT);
	assert_int_equal(port_dir_is_at(dir, path), 1);
	/* The folder itself may be reached by a link. */
	snprintf(link_path, sizeof(link_path), "%s/link", base);
	assert_int_equal(symlink(path, link_path), 0);
	fd = port_dir_open(link_path, 0);
	assert_true(fd >= 0);
	assert_int_equal(port_dir_is_at(fd, path), 1);
	assert_int_equal(port_dir_is_at(fd, base), 0);
	assert_int_equal(port_dir_lock(fd), 0);
	assert_int_equal(port_dir_lock(dir), ERR_LOCKED);
	port_dir_close(fd);
	assert_int_equal(port_dir_lock(dir), 0);
	unlink(link_path);
	assert_int_equal(rmdir(path), 0);
	assert_int_equal(port_dir_is_at(dir, path), 0);
	assert_int_equal(mkdir(path, 0755), 0);
	assert_int_equal(port_dir_is_at(dir, path), 0);
}

/* Removes it, by its name, and goes to the folder above. */
static int leave_and_remove(int at)
{
	int up = openat(at, "..", O_RDONLY | O_DIRECTORY);

	assert_true(up >= 0);
	port_dir_close(at);
	assert_int_equal(port_dir_remove(up, "s"), 0);
	return up;
}

static void test_inside(void **state)
{
	enum { DEPTH = 2100, LEFT = 2 };
	char deep[80], link_path[80];
	int at = dup(dir), other, link_fd, root = port_dir_open("/", 0);

	(void)state;
	for (int i = 0; i < DEPTH; i++) {
		int sub;

		assert_int_equal(port_dir_make(at, "s", 0700), 0);
		sub = port_dir_enter(at, "s");
		assert_true(sub >= 0);
		port_dir_close(at);
		at = sub;
		if (i == 1000) {
			assert_int_equal(port_dir_is_inside(at, dir), 1);
			assert_int_equal(port_dir_is_inside(dir, at), 0);
		}
	}
	assert_int_equal(port_dir_is_inside(at, dir), ERR_LIMIT);
	for (int i = LEFT; i < DEPTH; i++)
		at = leave_and_remove(at);
	assert_int_equal(port_dir_is_inside(dir, dir), 1);
	assert_int_equal(port_dir_is_inside(dir, root), 1);
	assert_int_equal(port_dir_is_inside(root, dir), 0);
	assert_int_equal(port_dir_is_inside(root, root), 1);
	snprintf(deep, sizeof(deep), "%s/s/s", path);
	snprintf(link_path, sizeof(link_path), "%s/link", base);
	assert_int_equal(symlink(deep, link_path), 0);
	link_fd = port_dir_open(link_path, 0);
	other = port_dir_open(base, 0);
	assert_int_equal(port_dir_is_inside(link_fd, dir), 1);
	assert_int_equal(port_dir_is_inside(link_fd, other), 1);
	assert_int_equal(port_dir_is_inside(dir, link_fd), 0);
	assert_int_equal(unlink(link_path), 0);
	port_dir_close(link_fd);
	port_dir_close(other);
	port_dir_close(root);
	for (int i = 0; i < LEFT; i++)
		at = leave_and_remove(at);
	port_dir_close(at);
}

static void test_links_are_not_followed(void **state)
{
	struct port_stat st;

	(void)state;
	assert_int_equal(symlinkat("/etc", dir, "folder"), 0);
	assert_int_equal(symlinkat("/etc/passwd", dir, "file"), 0);
	assert_int_equal(symlinkat("nowhere", dir, "dangling"), 0);
	assert_int_equal(mkfifoat(dir, "fifo", 0600), 0);
	assert_int_equal(port_dir_enter(dir, "folder"), ERR_NOENT);
	assert_int_equal(port_dir_open_file(dir, "file", &st), ERR_NOENT);
	assert_int_equal(port_dir_open_file(dir, "folder", &st), ERR_NOENT);
	assert_int_equal(port_dir_open_file(dir, "fifo", &st), ERR_NOENT);
	assert_int_equal(port_dir_create(dir, "dangling"), ERR_LOCKED);
	assert_int_equal(node_of("folder"), PORT_NODE_OTHER);
	assert_int_equal(node_of("dangling"), PORT_NODE_OTHER);
	assert_int_equal(node_of("fifo"), PORT_NODE_OTHER);
	assert_int_equal(node_of("nothing"), PORT_NODE_NONE);
	assert_int_equal(port_dir_make(dir, "dangling", 0755), 1);
	for (const char *const *p =
			(const char *const[]){"folder", "file", "dangling", "fifo", NULL};
		*p; p++) {
		assert_int_equal(port_dir_unlink(dir, *p), 0);
		assert_int_equal(port_dir_unlink(dir, *p), 0);
	}
}

static void test_names(void **state)
{
	struct port_stat st;
	int err, fd;

	(void)state;
	make_file("a", "hello");
	assert_int_equal(port_dir_create(dir, "a"), ERR_LOCKED);
	assert_int_equal(port_dir_make(dir, "sub", 0755), 0);
	err = port_dir_exchange(dir, "a", dir, "sub");
	assert_true(err == 0 || err == ERR_UNSUPPORTED);
	if (!err) {
		assert_int_equal(node_of("a"), PORT_NODE_FOLDER);
		assert_int_equal(port_dir_exchange(dir, "a", dir, "sub"), 0);
	}
	assert_int_equal(port_dir_link(dir, "a", dir, "b"), 0);
	fd = port_dir_open_file(dir, "b", &st);
	assert_true(fd >= 0);
	assert_int_equal(st.links, 2);
	assert_int_equal(st.len, 5);
	assert_int_equal(st.mode, 0600);
	assert_int_equal(port_fd_set_mode(fd, 0640), 0);
	assert_int_equal(port_fd_query(fd, &st), 0);
	assert_int_equal(st.mode, 0640);
	port_dir_close(fd);
	assert_int_equal(port_dir_rename(dir, "b", dir, "c"), 0);
	assert_int_equal(port_dir_unlink(dir, "c"), 0);
	assert_int_equal(port_dir_remove(dir, "sub"), 0);
	assert_int_equal(port_dir_remove(dir, "sub"), 0);
	assert_int_equal(port_dir_make(dir, "sub", 0755), 0);
	fd = port_dir_enter(dir, "sub");
	assert_int_equal(port_dir_rename(dir, "a", fd, "a"), 0);
	assert_int_equal(port_dir_remove(dir, "sub"), 1);
	assert_int_equal(port_dir_unlink(fd, "a"), 0);
	port_dir_close(fd);
	assert_int_equal(port_dir_remove(dir, "sub"), 0);
	assert_int_equal(port_dir_sync(dir), 0);
	assert_int_equal(port_dir_sync_all(dir), 0);
}

static void test_list(void **state)
{
	enum { COUNT = 300 };
	bool seen[COUNT] = {false};
	struct port_dir_list list;
	enum port_node node;
	const char *name;
	char text[260];
	int n = 0, err;

	(void)state;
	memset(text, 'x', sizeof(text));
	for (int i = 0; i < COUNT; i++) {
		text[0] = (char)('0' + i / 100);
		text[1] = (char)('0' + i / 10 % 10);
		text[2] = (char)('0' + i % 10);
		text[i % 2 ? 255 : 10] = '\0';
		make_file(text, "");
		text[i % 2 ? 255 : 10] = 'x';
	}
	assert_int_equal(port_dir_list_begin(&list, dir), 0);
	while ((err = port_dir_list_next(&list, &name, &node)) > 0) {
		long i = strtol(name, NULL, 10);

		assert_false(seen[i]);
		seen[i] = true;
		assert_int_equal(node, PORT_NODE_FILE);
		/* What was told may go at once. */
		assert_int_equal(port_dir_unlink(dir, name), 0);
		n++;
	}
	assert_int_equal(err, 0);
	assert_int_equal(n, COUNT);
}

static void test_unnamed(void **state)
{
	const int where[] = {-1, dir};
	struct port_dir_list list;
	enum port_node node;
	const char *name;
	char back[8] = "";

	(void)state;
	for (int i = 0; i < 2; i++) {
		int fd = port_dir_create_unnamed(where[i]);

		assert_true(fd >= 0);
		assert_int_equal(port_fd_write_at(fd, 3, "abc", 3), 3);
		assert_int_equal(port_fd_read_at(fd, 3, back, 8), 3);
		assert_memory_equal(back, "abc", 3);
		assert_int_equal(port_fd_reserve(fd, 10000), 0);
		assert_int_equal(port_fd_sync(fd), 0);
		assert_int_equal(port_dir_list_begin(&list, dir), 0);
		assert_int_equal(port_dir_list_next(&list, &name, &node), 0);
		port_dir_close(fd);
	}
	port_dir_close(-1);
}

static void test_update(void **state)
{
	struct port_stat st;
	uint64_t space = 0;
	char back[8] = "";
	int fd = port_dir_create(dir, "part");

	(void)state;
	assert_true(fd >= 0);
	assert_int_equal(port_fd_write_at(fd, 0, "abcdef", 6), 6);
	assert_int_equal(port_fd_space(fd, &space), 0);
	assert_true(space > 0);
	port_dir_close(fd);
	fd = port_dir_open_update(dir, "part", &st);
	assert_true(fd >= 0 && st.node == PORT_NODE_FILE && st.len == 6);
	assert_int_equal(port_fd_cut(fd, 4), 0);
	assert_int_equal(port_fd_write_at(fd, 3, "X", 1), 1);
	assert_int_equal(port_fd_read_at(fd, 0, back, 8), 4);
	assert_string_equal(back, "abcX");
	port_dir_close(fd);
	assert_int_equal(port_dir_open_update(dir, "none", &st), ERR_NOENT);
	assert_int_equal(symlinkat("part", dir, "link"), 0);
	assert_int_equal(port_dir_open_update(dir, "link", &st), ERR_NOENT);
	assert_int_equal(mkdirat(dir, "folder", 0700), 0);
	assert_true(port_dir_open_update(dir, "folder", &st) < 0);
	assert_int_equal(mkfifoat(dir, "fifo", 0600), 0);
	assert_int_equal(port_dir_open_update(dir, "fifo", &st), ERR_NOENT);
	assert_int_equal(port_dir_unlink(dir, "fifo"), 0);
	assert_int_equal(port_dir_remove(dir, "folder"), 0);
	assert_int_equal(port_dir_unlink(dir, "link"), 0);
	assert_int_equal(port_dir_unlink(dir, "part"), 0);
}

static void test_owner(void **state)
{
	uint32_t uid, gid;

	(void)state;
	assert_int_equal(port_owner_find("root", &uid, &gid), 0);
	assert_true(uid == 0 && gid == UINT32_MAX);
	assert_int_equal(port_owner_find("root:", &uid, &gid), 0);
	assert_true(uid == 0 && gid == 0);
	assert_int_equal(port_owner_find("123:456", &uid, &gid), 0);
	assert_true(uid == 123 && gid == 456);
	assert_int_equal(port_owner_find(":root", &uid, &gid), 0);
	assert_true(uid == UINT32_MAX && gid == 0);
	assert_int_equal(port_owner_find("4294967294:root", &uid, &gid), 0);
	assert_true(uid == 4294967294u && gid == 0);
	assert_int_equal(port_owner_find("4294967295", &uid, &gid), ERR_RANGE);
	assert_int_equal(port_owner_find("99999999999999999999", &uid, &gid), ERR_RANGE);
	assert_int_equal(port_owner_find("", &uid, &gid), ERR_RANGE);
	assert_int_equal(port_owner_find(":", &uid, &gid), ERR_RANGE);
	assert_int_equal(port_owner_find("no-such-user", &uid, &gid), ERR_NOENT);
	assert_int_equal(port_owner_find("root:no-such-group", &uid, &gid), ERR_NOENT);
	assert_int_equal(port_owner_find("4000000000:", &uid, &gid), ERR_NOENT);
}

static void test_boot_id(void **state)
{
	char a[40], b[40], small[4];

	(void)state;
	port_boot_id(a, sizeof(a));
	port_boot_id(b, sizeof(b));
	assert_string_equal(a, b);
	assert_true(strlen(a) == 36 || a[0] == '\0');
	port_boot_id(small, sizeof(small));
	assert_true(strlen(small) < sizeof(small));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_open),
		TEST(test_inside),
		TEST(test_links_are_not_followed),
		TEST(test_names),
		TEST(test_list),
		TEST(test_unnamed),
		TEST(test_update),
		TEST(test_owner),
		TEST(test_boot_id),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
