/* SPDX-License-Identifier: Apache-2.0 */
/* etchlet check, without the network: what a start needs to find on this device. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "base/heap.h"
#include "base/kconfig.h"
#include "base/wipe.h"
#include "cmd/check.h"
#include "sink/hook.h"
#include "sink/mirror.h"
#include "store/journal.h"

enum {
	CHECK_ABOUT_MAX = 128, /* "watch NAME" */
	STATE_FOLDER_LEVELS = 2, /* folders above it of which one must be there */
	CONTROL_FOLDER_LEVELS = 2,
};

static void check_config(const struct conf *conf)
{
	struct conf_warning w;

	for (unsigned i = 0; conf_warning(conf, i, &w); i++)
		check_find(FINDING_WARNING, w.about, w.advice, "%s", w.what);
	if (conf->has_file && !conf->watch_count)
		check_find(FINDING_CONFIG, "config", "add one, with a key and a sink",
			"%s has no section [watch NAME]", conf->config_path);
	if (conf->password_path) {
		char password[ETCD_PASSWORD_MAX];
		ssize_t n = port_file_read(conf->password_path, password, sizeof(password));

		if (n < 0)
			check_find(FINDING_ERROR, "password-file",
				"make the file readable for the user that etchlet runs as",
				"%s: %s", conf->password_path, err_text((int)n));
		while (n > 0 && (password[n - 1] == '\n' || password[n - 1] == '\r'))
			n--;
		if (n == 0)
			check_find(FINDING_ERROR, "password-file", "write the password into it",
				"%s has no password in it", conf->password_path);
		wipe(password, sizeof(password));
	}
}

void check_certificates(const struct tls_context *tls, const char *about)
{
	char what[CHECK_TEXT_MAX];
	bool is_error;

	for (unsigned i = 0;
		tls_context_finding(tls, i, port_wall_s(), &is_error, what, sizeof(what)); i++)
		check_find(is_error ? FINDING_ERROR : FINDING_WARNING, about,
			is_error ? "install a valid one" : "renew it in time", "%s", what);
}

/* Whether a folder above path is there, not more than levels above it. */
static bool has_folder(const char *path, int levels)
{
	char folder[CHECK_TEXT_MAX];
	size_t len = strlen(path);

	if (len >= sizeof(folder))
		return false;
	memcpy(folder, path, len + 1);
	while (levels--) {
		if (!port_path_cut(folder) || port_folder_exists(folder))
			return true;
	}
	return false;
}

static void check_state(const struct conf *conf, struct journal *journal, int64_t now_ms)
{
	const char *path = conf->state_path;
	struct journal_stat stat;
	int64_t holder;
	int err;

	/* A start makes the file, and the folder that it is to be in, but not that one's. */
	err = has_folder(path, STATE_FOLDER_LEVELS) ? port_file_check_write(path) : 0;
	if (err)
		check_find(FINDING_WARNING, "state",
			"make the file and its folder writable for the user that etchlet runs as",
			"%s cannot be written: %s", path, err_text(err));
	err = journal_open(journal, path, PORT_FLASH_READ, false, now_ms);
	if (err == ERR_NOENT && has_folder(path, STATE_FOLDER_LEVELS)) {
		check_find(FINDING_INFO, "state", NULL,
			"%s does not exist yet; the first start makes it", path);
		return;
	}
	if (err) {
		check_find(FINDING_WARNING, "state", "without it positions are lost at a restart",
			"%s: %s", path, journal->flash.why ? journal->flash.why : err_text(err));
		return;
	}
	holder = port_flash_holder(&journal->flash);
	if (holder > 0)
		check_find(FINDING_INFO, "state", NULL,
			"%s is in use by the agent that runs as process %" PRId64, path, holder);
	journal_stat(journal, &stat, now_ms);
	if (journal->is_damaged)
		check_find(FINDING_WARNING, "state", "the next start synchronises in full",
			"%s holds no intact record; the next start puts it aside as %s.damaged",
			path, path);
	else
		check_find(FINDING_INFO, "state", NULL,
			"%s: %" PRIu32 " intact records, %" PRIu32 " damaged", path, stat.intact,
			stat.damaged);
	journal_close(journal);
}

/* What is written for others: without it the agent runs all the same. */
static void check_place(const char *option, const char *path, int levels)
{
	int err = port_file_check_write(path);

	if (!has_folder(path, levels))
		check_find(FINDING_WARNING, option, "make the folder", "%s: its folder is missing",
			path);
	else if (err)
		check_find(FINDING_WARNING, option,
			"make its folder writable for the user that etchlet runs as",
			"%s cannot be written: %s", path, err_text(err));
}

static void check_control(const char *path)
{
	if (port_local_check(path) == ERR_CONFIG)
		check_find(FINDING_WARNING, "control",
			"remove it, or name another path: nobody could ask for the status",
			"%s: there is something else than a socket", path);
	else
		check_place("control", path, CONTROL_FOLDER_LEVELS);
}

/* -- sinks ------------------------------------------------------------------------------------ */

static const char *advice_for_folder(int err)
{
	switch (err) {
	case ERR_CONFIG:
		return "name another folder, empty this one, or let it be taken over by mirror-adopt = yes";
	case ERR_NOENT:
		return "make the folder that it is to lie in writable, or another one";
	case ERR_ACCESS:
		return "make the folder writable for the user that etchlet runs as";
	case ERR_READONLY:
		return "name a folder on a file system that can be written";
	case ERR_NOSPACE:
		return "make room on its file system";
	default:
		return "see what is wrong with its file system";
	}
}

/* The process that holds a mirror or what is fetched into; 0: nobody, or not known. */
static int64_t folder_holder(const char *path)
{
	int dir = port_dir_open(path, 0);
	int64_t pid = dir < 0 ? 0 : port_fd_lock_holder(dir);

	port_dir_close(dir);
	return pid;
}

static void check_mirror(struct client *c, const struct conf_watch *w, const char *about)
{
	char why[CHECK_TEXT_MAX / 2];
	struct mirror_cfg cfg;
	int64_t holder;
	int err;

	if (client_mirror_cfg(c, c->conf, w, &cfg)) {
		check_find(FINDING_CONFIG, about, "name a user, and a group, of this system", "%s",
			c->conf->why);
		return;
	}
	err = mirror_check(&cfg, why, sizeof(why));
	holder = err ? 0 : folder_holder(w->mirror);
	if (holder > 0)
		check_find(FINDING_INFO, about, NULL,
			"mirror %s is in use by process %" PRId64 ", the agent that runs",
			w->mirror, holder);
	else if (!err)
		check_find(FINDING_INFO, about, NULL, "mirror %s can be kept", w->mirror);
	else
		check_find(err == ERR_CONFIG ? FINDING_CONFIG : FINDING_ERROR, about,
			advice_for_folder(err), "%s", why);
}

static void check_fetch(struct client *c, const struct conf_watch *w, const char *about)
{
	char why[CHECK_TEXT_MAX / 2];
	struct fetch_cfg cfg;
	int64_t holder;
	int err;

	if (client_fetch_cfg(c, c->conf, w, NULL, &cfg)) {
		check_find(FINDING_CONFIG, about, "name a user, and a group, of this system", "%s",
			c->conf->why);
		return;
	}
	err = fetch_check(&cfg, why, sizeof(why));
	holder = err ? 0 : folder_holder(w->fetch);
	if (holder > 0)
		check_find(FINDING_INFO, about, NULL,
			"fetch %s is in use by process %" PRId64 ", the agent that runs", w->fetch,
			holder);
	else if (!err)
		check_find(FINDING_INFO, about, NULL, "fetch %s can be kept", w->fetch);
	else
		check_find(err == ERR_CONFIG ? FINDING_CONFIG : FINDING_ERROR, about,
			err == ERR_CONFIG ? "install the public key, as PEM with P-256"
					  : advice_for_folder(err),
			"%s", why);
}

static void check_hook(const struct conf_watch *w, const char *about)
{
	int err = hook_check(w->exec);

	if (!err)
		check_find(FINDING_INFO, about, NULL, "exec %s can be run", w->exec[0]);
	else
		check_find(FINDING_ERROR, about,
			err == ERR_ACCESS ? "make it executable for the user that etchlet runs as"
					  : "install the program, or mend its path",
			"exec %s: %s", w->exec[0], err_text(err));
}

static void check_print(const struct conf_watch *w, const char *about)
{
	int err = port_file_check_write(w->print);

	if (!strcmp(w->print, "-"))
		return;
	if (!has_folder(w->print, 1))
		check_find(FINDING_ERROR, about, "make the folder",
			"print %s: its folder is missing", w->print);
	else if (port_folder_exists(w->print))
		check_find(FINDING_ERROR, about, "name a file or a FIFO", "print %s is a folder",
			w->print);
	else if (err)
		check_find(FINDING_ERROR, about,
			"make it writable for the user that etchlet runs as",
			"print %s cannot be written: %s", w->print, err_text(err));
	else
		check_find(FINDING_INFO, about, NULL, "print %s can be written", w->print);
}

static void check_sinks(struct client *c)
{
	char about[CHECK_ABOUT_MAX];

	for (size_t i = 0; i < c->conf->watch_count; i++) {
		const struct conf_watch *w = &c->conf->watches[i];

		(void)snprintf(about, sizeof(about), "watch %s", w->name);
		if (client_check_build(c->conf, w)) {
			check_find(FINDING_CONFIG, about,
				"leave it out, or take a build that has it", "%s", c->conf->why);
			continue;
		}
		if (IS_ENABLED(CONFIG_SINK_MIRROR) && w->mirror)
			check_mirror(c, w, about);
		if (IS_ENABLED(CONFIG_SINK_FETCH) && w->fetch)
			check_fetch(c, w, about);
		if (IS_ENABLED(CONFIG_SINK_HOOK) && w->exec)
			check_hook(w, about);
		if (w->print)
			check_print(w, about);
		if (IS_ENABLED(CONFIG_NET_HTTP) && (w->post || w->fetch))
			check_http(c, w, about);
	}
}

void check_local(struct client *c)
{
	const struct conf *conf = c->conf;
	struct journal *journal;

	check_config(conf);
	if (c->session.tls)
		check_certificates(c->session.tls, "certificates");
	journal = heap_calloc(1, sizeof(*journal));
	if (journal)
		check_state(conf, journal, c->loop.now_ms);
	heap_free(journal);
	if (IS_ENABLED(CONFIG_CMD_STATUS))
		check_control(conf->control_path);
	if (IS_ENABLED(CONFIG_METRICS) && conf->metrics_path)
		check_place("metrics", conf->metrics_path, 1);
	check_sinks(c);
}
