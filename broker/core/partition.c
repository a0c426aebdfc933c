/*
 * One partition: where it stands, who reads it, and the moment when appended batches become
 * visible. The high watermark moves in one place, part_raise, and only after the store said that
 * the batches are durable.
 */
#include <assert.h>

#include "broker/core/group_impl.h"
#include "broker/core/mem.h"

static const uint64_t DAY_MS = UINT64_C(24) * 3600 * 1000;

struct part *part_new(struct core *co, struct core_topic *t, uint32_t p, uint32_t id)
{
    struct part *pt = core_calloc(1, sizeof *pt);

    pt->topic = t;
    pt->p = p;
    pt->id = id;
    pt->next = store_next_offset(co->st, id);
    pt->hw = pt->next; /* the store recovered it, so it is durable */
    pt->last_append_ms = store_last_append_ms(co->st, id);
    LIST_INIT(&pt->waiting);
    LIST_INIT(&pt->busy);
    LIST_INIT(&pt->dedupes);
    LIST_INIT(&pt->groups);
    co->n_parts++;
    return pt;
}

void part_free(struct core *co, struct part *pt)
{
    assert(pt->first == NULL || co->closing);
    groups_part_gone(co, pt);
    while (!LIST_EMPTY(&pt->waiting)) {
        rpart_orphan(LIST_FIRST(&pt->waiting));
    }
    while (!LIST_EMPTY(&pt->busy)) {
        rpart_orphan(LIST_FIRST(&pt->busy));
    }
    while (!LIST_EMPTY(&pt->dedupes)) {
        dedupe_free(co, LIST_FIRST(&pt->dedupes));
    }
    tail_fini(&co->tail, &pt->tail);
    co->n_parts--;
    free(pt);
}

void part_raise(struct core *co, struct part *pt, uint64_t end)
{
    (void)co;
    if (end <= pt->hw) {
        return;
    }
    pt->hw = end;
    part_wake_all(pt);
    groups_part_raised(pt);
}

void part_wake_all(struct part *pt)
{
    while (!LIST_EMPTY(&pt->waiting)) {
        rpart_ready(LIST_FIRST(&pt->waiting)); /* moves it to busy */
    }
}

uint64_t part_start(const struct core *co, const struct part *pt)
{
    const uint64_t start = store_log_start(co->st, pt->id);

    /* The store counts submitted trims at once; they never pass what is visible. */
    return start < pt->hw ? start : pt->hw;
}

enum store_table part_table(const struct core_topic *t)
{
    const uint64_t ms = t->conf.retention_ms;

    if (ms == 0 || ms > 30 * DAY_MS) {
        return TABLE_LOG_FOREVER;
    }
    return ms <= DAY_MS ? TABLE_LOG_1D : ms <= 7 * DAY_MS ? TABLE_LOG_7D : TABLE_LOG_30D;
}
