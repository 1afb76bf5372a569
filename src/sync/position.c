/* SPDX-License-Identifier: Apache-2.0 */
#include "sync/position.h"

void position_init(struct position *p, int64_t idle_after_ms, int64_t settle_ms)
{
	*p = (struct position){.idle_after_ms = idle_after_ms, .settle_ms = settle_ms};
}

void position_set_times(struct position *p, int64_t idle_after_ms, int64_t settle_ms)
{
	p->idle_after_ms = idle_after_ms;
	p->settle_ms = settle_ms;
}

void position_load(struct position *p, int64_t rev, uint64_t cluster_id, uint64_t raft_term)
{
	p->rev = rev;
	p->cluster_id = cluster_id;
	p->raft_term = raft_term;
	p->is_known = true;
	p->is_given = false;
	p->dirt = POSITION_CLEAN;
}

void position_give(struct position *p, int64_t rev)
{
	p->rev = rev > 0 ? rev - 1 : 0;
	p->has_fitted = false;
	p->is_known = p->is_given = true;
}

void position_restart(struct position *p, int64_t rev, const struct etcd_header *header)
{
	p->rev = rev;
	p->cluster_id = header->cluster_id;
	p->raft_term = header->raft_term;
	p->is_known = true;
	p->is_given = false;
	p->dirt = POSITION_MOVED_BY_EVENT;
	p->probe_count = 0;
	p->asked_rev = 0;
}

void position_forget(struct position *p)
{
	p->is_known = p->is_given = false;
	p->cluster_id = p->raft_term = 0;
	p->dirt = POSITION_CLEAN;
}

static bool position_move(struct position *p, int64_t rev, enum position_dirt dirt)
{
	if (!p->is_known || !etcd_revision_is_valid(rev) || rev <= p->rev)
		return false;
	p->rev = rev;
	p->is_given = false;
	if (p->dirt < dirt)
		p->dirt = dirt;
	return true;
}

bool position_propose(struct position *p, enum position_source source, int64_t rev)
{
	return position_move(p, rev,
		source == POSITION_EVENTS ? POSITION_MOVED_BY_EVENT : POSITION_MOVED_QUIETLY);
}

void position_connected(struct position *p, int64_t now_ms)
{
	p->is_connected = true;
	p->quiet_since_ms = now_ms;
	p->probe_count = 0;
}

void position_disconnected(struct position *p)
{
	p->is_connected = false;
	p->probe_count = 0;
}

void position_note_event(struct position *p, int64_t now_ms)
{
	p->quiet_since_ms = now_ms;
}

bool position_is_firm(const struct position *p)
{
	return p->is_known && (!p->is_given || p->has_fitted);
}

void position_note_asked(struct position *p)
{
	p->asked_rev = position_is_firm(p) ? p->rev : 0;
}

void position_note_probe(struct position *p, int64_t now_ms, const struct etcd_header *header)
{
	position_note_header(p, header);
	if (header->revision >= p->rev)
		p->has_fitted = true;
	/* A position that was saved without its term is worth saving again. */
	if (!p->raft_term && header->raft_term && p->is_known && !p->is_given)
		p->dirt = POSITION_MOVED_BY_EVENT;
	if (header->raft_term > p->raft_term)
		p->raft_term = header->raft_term;
	if (!p->is_connected)
		return;
	/* When all places are taken the newest answer gives way: an older one matures earlier. */
	if (p->probe_count == POSITION_PROBE_COUNT)
		p->probe_count--;
	p->probes[p->probe_count].at_ms = now_ms;
	p->probes[p->probe_count].rev = header->revision;
	p->probe_count++;
}

bool position_idle(struct position *p, int64_t now_ms, bool is_waiting)
{
	bool has_moved = false;
	uint8_t ripe = 0;

	while (ripe < p->probe_count && now_ms - p->probes[ripe].at_ms >= p->settle_ms)
		ripe++;
	if (!ripe)
		return false;
	if (p->is_connected && !is_waiting && now_ms - p->quiet_since_ms >= p->idle_after_ms)
		has_moved = position_move(p, p->probes[ripe - 1].rev, POSITION_MOVED_QUIETLY);
	/* Of the ripe ones only the newest can still be of use. */
	for (uint8_t i = ripe - 1; i < p->probe_count; i++)
		p->probes[i - (ripe - 1)] = p->probes[i];
	p->probe_count = (uint8_t)(p->probe_count - (ripe - 1));
	return has_moved;
}

int64_t position_idle_due_ms(const struct position *p)
{
	int64_t quiet_ms = p->quiet_since_ms + p->idle_after_ms;

	if (!p->is_connected || !p->is_known)
		return INT64_MAX;
	for (uint8_t i = 0; i < p->probe_count; i++) {
		int64_t ripe_ms = p->probes[i].at_ms + p->settle_ms;

		if (p->probes[i].rev > p->rev)
			return ripe_ms > quiet_ms ? ripe_ms : quiet_ms;
	}
	return INT64_MAX;
}

enum position_fit position_judge_cluster(const struct position *p, const struct etcd_header *header)
{
	if (p->is_known && p->cluster_id && header->is_present && header->cluster_id &&
		header->cluster_id != p->cluster_id)
		return POSITION_OTHER_CLUSTER;
	return POSITION_FITS;
}

enum position_fit position_judge(const struct position *p, const struct etcd_header *header)
{
	if (position_judge_cluster(p, header) != POSITION_FITS)
		return POSITION_OTHER_CLUSTER;
	if (!position_is_firm(p) || !header->is_present)
		return POSITION_FITS;
	if (header->revision < p->asked_rev)
		return POSITION_BEHIND;
	if (header->raft_term && header->raft_term < p->raft_term)
		return POSITION_BEHIND;
	return POSITION_FITS;
}

void position_note_header(struct position *p, const struct etcd_header *header)
{
	if (!p->cluster_id && header->is_present)
		p->cluster_id = header->cluster_id;
}

void position_saved(struct position *p)
{
	p->dirt = POSITION_CLEAN;
}
