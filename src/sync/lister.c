/* SPDX-License-Identifier: Apache-2.0 */
#include "sync/lister.h"

#include <string.h>

enum {
	LISTER_OVERTAKEN_MAX = 3, /* then everything is asked for at once */
	LISTER_OVERTAKEN_FACTOR = 8,
};

static struct lister *lister_of(void *reader)
{
	return ((struct etcd_reader *)reader)->user;
}

static int on_begin(void *user, const struct etcd_answer *a)
{
	struct lister *l = lister_of(user);
	int err;

	/* A listing may go on over another connection, but not in another cluster. */
	if (l->has_begun)
		return l->header.cluster_id && a->header.cluster_id &&
				       a->header.cluster_id != l->header.cluster_id
			       ? ERR_HISTORY
			       : 0;
	if (!a->header.is_present || a->header.revision <= 0)
		return ERR_REVISION;
	if (!l->rev)
		l->rev = a->header.revision;
	l->header = a->header;
	err = l->ops->begin(l, l->rev, &a->header);
	if (err)
		return err;
	l->has_begun = true;
	return 0;
}

/* Keys must ascend: it is what makes the next page begin behind this one, and the listing end. */
static bool is_behind(const struct lister *l, const struct etcd_event *e)
{
	size_t len = e->is_key_long ? CONFIG_ETCD_KEY_BYTES : e->key_len;
	size_t common = len < l->next_len ? len : l->next_len;
	int order = memcmp(e->key, l->next, common);

	if (order)
		return order > 0;
	return e->is_key_long ? len >= l->next_len : len > l->next_len;
}

static int on_event(void *user, const struct etcd_event *e)
{
	struct lister *l = lister_of(user);

	if (l->has_key && !is_behind(l, e))
		return ERR_PROTO;
	return l->ops->event(l, e);
}

static ssize_t on_value(void *user, enum etcd_value which, const uint8_t *p, size_t len)
{
	struct lister *l = lister_of(user);

	return l->ops->value(l, which, p, len);
}

static int on_event_end(void *user, const struct etcd_event *e)
{
	struct lister *l = lister_of(user);
	int err = l->ops->event_end(l, e);

	if (err)
		return err;
	/* Of a key that is too long its beginning is kept: all keys that begin so come in a row. */
	l->next_len = e->is_key_long ? CONFIG_ETCD_KEY_BYTES : e->key_len;
	memcpy(l->next, e->key, l->next_len);
	l->is_next_cut = e->is_key_long;
	l->has_key = true;
	l->page_bytes += e->key_len + e->value_len;
	return 0;
}

static int on_end(void *user, const struct etcd_answer *a)
{
	struct lister *l = lister_of(user);

	/* More is promised and nothing comes: it would go on for ever. */
	if (a->has_more && !a->event_count)
		return ERR_PROTO;
	l->has_more = a->has_more;
	l->has_page = true;
	return 0;
}

static void lister_fit_page(struct lister *l)
{
	if (!l->page_len)
		return;
	if (l->page_bytes > CONFIG_LISTER_PAGE_BYTES && l->page_len > 1)
		l->page_len /= 2;
	else if (l->page_bytes < CONFIG_LISTER_PAGE_BYTES / 4 &&
		 l->page_len < CONFIG_LISTER_PAGE_KEYS)
		l->page_len *= 2;
}

/* Whether a key can lie behind the last one: not behind a beginning of 0xff alone. */
static bool lister_has_next(const struct lister *l)
{
	size_t i = 0;

	while (l->is_next_cut && i < l->next_len && l->next[i] == 0xff)
		i++;
	return !l->is_next_cut || i < l->next_len;
}

static void on_done(struct etcd_reader *r, const struct grpc_status *st)
{
	struct lister *l = r->user;
	static const char none[] = "the answer to a listing held no message";
	const struct grpc_status none_st = {.code = GRPC_INTERNAL,
		.is_local = true,
		.message = none,
		.message_len = sizeof(none) - 1};

	/* Of a later page as well: keys would be missing, and be taken for deleted. */
	if (st->code == GRPC_OK && !l->has_page)
		st = &none_st;
	if (st->code == GRPC_OK && l->has_more && lister_has_next(l)) {
		lister_fit_page(l);
		l->is_page_due = true;
		l->ops->page(l);
		return;
	}
	l->is_running = false;
	l->ops->done(l, st);
}

static const struct etcd_reader_ops lister_reader_ops = {
	.split =
		{
			.begin = on_begin,
			.event = on_event,
			.value = on_value,
			.event_end = on_event_end,
			.end = on_end,
		},
	.done = on_done,
};

void lister_init(struct lister *l, const struct lister_ops *ops, void *user)
{
	memset(l, 0, sizeof(*l));
	l->ops = ops;
	l->user = user;
	etcd_reader_init(&l->reader, &lister_reader_ops, l);
}

void lister_start(
	struct lister *l, struct etcd_session *s, const struct etcd_range *range, int64_t rev)
{
	l->session = s;
	l->range = *range;
	l->rev = rev;
	l->header = (struct etcd_header){0};
	l->has_begun = l->has_more = l->has_key = false;
	l->is_page_due = l->is_running = true;
	l->page_len = CONFIG_LISTER_PAGE_KEYS;
	if (l->overtaken >= LISTER_OVERTAKEN_MAX)
		l->page_len = 0;
	for (uint32_t i = 0; i < l->overtaken && l->page_len; i++)
		l->page_len *= LISTER_OVERTAKEN_FACTOR;
}

void lister_go_on(struct lister *l, struct etcd_session *s)
{
	l->session = s;
	l->is_page_due = l->is_running = true;
}

/* The first key of the next page: right behind the last one. end_mem: CONFIG_ETCD_KEY_BYTES. */
static void lister_next_key(struct lister *l, struct etcd_range *range, uint8_t *end_mem)
{
	struct etcd_range same;

	if (l->is_next_cut && lister_has_next(l)) {
		etcd_range_prefix(&same, l->next, l->next_len, end_mem);
		range->key = same.end;
		range->key_len = same.end_len;
	} else {
		l->next[l->next_len] = '\0';
		range->key = l->next;
		range->key_len = l->next_len + 1;
	}
}

int lister_pump(struct lister *l)
{
	struct etcd_range_request req = {.range = l->range, .rev = l->rev, .limit = l->page_len};
	uint8_t end_mem[CONFIG_ETCD_KEY_BYTES];
	int err;

	if (!l->is_running || !l->is_page_due || etcd_reader_is_running(&l->reader))
		return 0;
	if (l->has_key)
		lister_next_key(l, &req.range, end_mem);
	l->page_bytes = 0;
	l->has_more = l->has_page = false;
	err = etcd_reader_range(&l->reader, l->session, &req);
	if (err != ERR_AGAIN)
		l->is_page_due = false;
	return err;
}

void lister_resume(struct lister *l)
{
	etcd_reader_resume(&l->reader);
}

void lister_stop(struct lister *l)
{
	etcd_reader_close(&l->reader);
	l->is_running = l->is_page_due = false;
}

void lister_note_overtaken(struct lister *l)
{
	if (l->overtaken < LISTER_OVERTAKEN_MAX)
		l->overtaken++;
}

void lister_forget_overtaken(struct lister *l)
{
	l->overtaken = 0;
}
