/* SPDX-License-Identifier: Apache-2.0 */
#include "cmd/cmd.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "base/json.h"
#include "base/log.h"
#include "store/journal.h"

enum {
	/* One watch: a name of which every byte is escaped, three numbers, their names. */
	PIECE_MAX = CONFIG_JOURNAL_NAME_LEN * JSON_ESCAPE_MAX + 256,
};

/* stdio keeps an error until cmd_output_end(). */
static void json_flush(struct json *j)
{
	(void)fwrite(j->dst, 1, j->len, stdout);
	j->len = 0;
}

static void print_json(const struct journal *journal, const struct journal_stat *stat)
{
	char piece[PIECE_MAX];
	struct json j;

	json_begin(&j, piece, sizeof(piece));
	json_object_begin(&j);
	json_member_bool(&j, "intact", stat->intact > 0);
	json_member_uint(&j, "sector_size", journal->flash.sector_size);
	json_member_uint(&j, "sectors", journal->flash.sector_count);
	json_member_uint(&j, "writes", stat->records);
	json_member_uint(&j, "erases", stat->erases);
	if (stat->life_s < 0)
		json_member_null(&j, "life_s");
	else
		json_member_int(&j, "life_s", stat->life_s);
	json_member(&j, "watches");
	json_array_begin(&j);
	for (size_t i = 0; i < CONFIG_JOURNAL_WATCH_COUNT; i++) {
		const struct journal_watch *w = &journal->watches[i];

		json_flush(&j);
		if (!w->is_known || !w->has_record)
			continue;
		json_object_begin(&j);
		json_member_string(&j, "name", w->name[0] ? w->name : NULL);
		json_member_int(&j, "position", w->record.position_rev);
		json_member(&j, "cluster_id");
		json_uint_string(&j, w->record.cluster_id);
		json_member_uint(&j, "raft_term", w->record.raft_term);
		json_object_end(&j);
	}
	json_array_end(&j);
	json_object_end(&j);
	json_newline(&j);
	json_flush(&j);
}

static void print_life(int64_t life_s)
{
	const int64_t day_s = 86400, year_days = 365;
	int64_t days = life_s / day_s;

	if (life_s < 0)
		(void)printf("life      not known yet: too little was written\n");
	else if (days < 2 * year_days)
		(void)printf("life      %" PRId64 " days more at the rate seen\n", days);
	else
		(void)printf(
			"life      %" PRId64 " years more at the rate seen\n", days / year_days);
}

static void print_table(const struct journal *journal, const struct journal_stat *stat)
{
	char name[LOG_SHOW_MAX];

	(void)printf("sectors   %" PRIu32 " of %" PRIu32 " bytes\n", journal->flash.sector_count,
		journal->flash.sector_size);
	(void)printf(
		"records   %" PRIu32 " intact, %" PRIu32 " damaged\n", stat->intact, stat->damaged);
	(void)printf("writes    %" PRIu32 "\n", stat->records);
	(void)printf("erases    %" PRIu32 "\n", stat->erases);
	print_life(stat->life_s);
	(void)printf("\n%-24s %14s %20s %10s\n", "watch", "position", "cluster id", "raft term");
	for (size_t i = 0; i < CONFIG_JOURNAL_WATCH_COUNT; i++) {
		const struct journal_watch *w = &journal->watches[i];

		if (!w->is_known || !w->has_record)
			continue;
		(void)printf("%-24s %14" PRId64 " %20" PRIu64 " %10" PRIu64 "\n",
			w->name[0] ? log_show(name, sizeof(name), w->name, strlen(w->name)) : "?",
			w->record.position_rev, w->record.cluster_id, w->record.raft_term);
	}
}

int cmd_state(struct conf *conf)
{
	static struct journal journal;
	const char *path = conf->operands[0];
	char shown[CMD_SHOW_MAX];
	struct journal_stat stat;
	int64_t now_ms = port_now_ms();
	int err = journal_open(&journal, path, PORT_FLASH_READ, false, now_ms);

	log_show(shown, sizeof(shown), path, strlen(path));
	if (err)
		return cmd_tell(CMD_FAILED, "%s: %s", shown,
			journal.flash.why ? journal.flash.why : err_text(err));
	journal_stat(&journal, &stat, now_ms);
	if (conf->is_json)
		print_json(&journal, &stat);
	else if (stat.intact)
		print_table(&journal, &stat);
	journal_close(&journal);
	if (stat.intact)
		return cmd_output_end(CMD_DONE);
	if (cmd_output_end(CMD_DONE) != CMD_DONE)
		return CMD_FAILED;
	return cmd_tell(CMD_FAILED, "%s: no record in it is intact", shown);
}
