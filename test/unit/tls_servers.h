/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Certificates made for a test, and servers that show them: OpenSSL's, by tls_server.py. Included by the tests that need
 * them, with their includes before it.
 */
#ifndef ETCHLET_TEST_TLS_SERVERS_H
#define ETCHLET_TEST_TLS_SERVERS_H

enum { TLS_SERVERS_MAX = 40 };

static char tls_dir[] = "/tmp/etchlet-tls-XXXXXX";
static struct port_child tls_servers_child;
static int tls_servers_stdin = -1;
static struct {
	char name[24];
	uint16_t port;
} tls_servers[TLS_SERVERS_MAX];
static size_t tls_server_count;

/* A file in the folder of certificates; good until the fourth call after it. */
static const char *path(const char *file)
{
	static char text[4][128];
	static unsigned turn;
	char *dst = text[turn++ % 4];

	snprintf(dst, sizeof(text[0]), "%s/%s", tls_dir, file);
	return dst;
}

static void run_to_end(char *const argv[])
{
	struct port_child child;
	int null = open("/dev/null", O_WRONLY | O_CLOEXEC);
	int ret;

	assert_int_equal(port_child_start(&child, argv, NULL, -1, null, null), 0);
	close(null);
	while ((ret = port_child_result(&child)) == ERR_AGAIN)
		poll(NULL, 0, 5);
	assert_int_equal(ret, 0);
}

/* argv: tls_server.py with tls_dir and a word for each server, NULL at the end. 0, or -1: not all of them run. */
static int tls_servers_start(char *const argv[])
{
	int out[2], in[2];
	char line[64], name[24];
	unsigned port;
	size_t count = 0;
	FILE *list;
	char *const pki[] = {"/bin/sh", "test/unit/tls_pki.sh", tls_dir, NULL};

	while (argv[3 + count])
		count++;
	if (!mkdtemp(tls_dir) || pipe2(out, O_CLOEXEC) || pipe2(in, O_CLOEXEC))
		return -1;
	run_to_end(pki);
	if (port_child_start(&tls_servers_child, argv, NULL, in[0], out[1], -1))
		return -1;
	close(in[0]);
	close(out[1]);
	tls_servers_stdin = in[1];
	list = fdopen(out[0], "r");
	while (list && fgets(line, sizeof(line), list) &&
		sscanf(line, "%23s %u", name, &port) == 2 && tls_server_count < TLS_SERVERS_MAX) {
		snprintf(tls_servers[tls_server_count].name, sizeof(name), "%s", name);
		tls_servers[tls_server_count++].port = (uint16_t)port;
	}
	fclose(list);
	return tls_server_count == count ? 0 : -1;
}

static void tls_servers_stop(void)
{
	char *const clean[] = {"/bin/rm", "-rf", tls_dir, NULL};

	close(tls_servers_stdin);
	port_child_kill(&tls_servers_child, true);
	while (port_child_result(&tls_servers_child) == ERR_AGAIN)
		poll(NULL, 0, 5);
	run_to_end(clean);
}

static uint16_t port_of(const char *name)
{
	for (size_t i = 0; i < tls_server_count; i++) {
		if (strcmp(tls_servers[i].name, name) == 0)
			return tls_servers[i].port;
	}
	fail_msg("no server %s", name);
	return 0;
}

#endif
