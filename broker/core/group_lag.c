/*
 * How old the oldest message is that a group has not consumed yet: by its append time.
 *
 * The tail cache knows it exactly; else what was looked up before, if the group still stands there;
 * else the index of ranges gives an estimate (by where the offset lies between the range's ends),
 * and describe has the store read the batch, so that the next one who asks hears it exactly.
 *
 * What can fail: the read; then the estimate stays. Who owns what: a look-up belongs to core->lags
 * until the store answered, and keeps its gpart's memory meanwhile.
 */
#include "broker/core/group_impl.h"
#include "broker/core/mem.h"

struct lag {
    struct store_read read;
    LIST_ENTRY(lag) link;
    struct core *co;
    struct gpart *gp;
};

static void lag_free(struct lag *l)
{
    LIST_REMOVE(l, link);
    l->gp->lag_reading = false;
    gpart_unref(l->gp);
    free(l);
}

static void on_read(struct store_read *r)
{
    struct lag *l = r->arg;
    struct batch_head h;

    if (r->rc == WERR_OK && r->data != NULL) {
        batch_head_read(r->data->p, &h);
        l->gp->lag_offset = r->offset;
        l->gp->lag_append_ms = h.append_ms;
    }
    blob_unref(r->data);
    lag_free(l);
}

static void look_up(struct core *co, struct gpart *gp, uint64_t offset)
{
    struct lag *l;

    if (gp->lag_reading || co->closing || co->failed) {
        return;
    }
    l = core_calloc(1, sizeof *l);
    l->co = co;
    l->gp = gp;
    l->read = (struct store_read){.partition = gp->part_id,
                                  .offset = offset,
                                  .end = gp->part->hw,
                                  .max_bytes = 1,
                                  .fn = on_read,
                                  .arg = l};
    gp->lag_reading = true;
    gp->flights++;
    LIST_INSERT_HEAD(&co->lags, l, link);
    store_read(co->st, &l->read);
}

void lags_fini(struct core *co)
{
    while (!LIST_EMPTY(&co->lags)) {
        /* NOLINTNEXTLINE(clang-analyzer-*): it left its list before it was freed */
        lag_free(LIST_FIRST(&co->lags));
    }
}

/* By the index of ranges. 0: nothing is there. *exact: it is not an estimate. */
static int64_t by_ranges(struct core *co, const struct part *pt, uint64_t offset, bool *exact)
{
    struct store_range r;

    for (size_t i = 0; store_range_at(co->st, pt->id, i, &r); i++) {
        if (offset <= r.first) {
            *exact = true;
            return r.min_append_ms;
        }
        if (offset < r.next) {
            const double at = (double)(offset - r.first) / (double)(r.next - r.first);
            *exact = r.min_append_ms == r.max_append_ms;
            return r.min_append_ms + (int64_t)(at * (double)(r.max_append_ms - r.min_append_ms));
        }
    }
    *exact = true;
    return 0;
}

static int64_t append_ms_at(struct core *co, struct gpart *gp, uint64_t offset, bool refresh)
{
    const struct part *pt = gp->part;
    const int64_t i = tail_find(&pt->tail, offset);
    bool exact = false;

    if (i >= 0) {
        struct batch_head h;
        batch_head_read(tail_at(&pt->tail, (uint32_t)i)->batch.p, &h);
        return h.append_ms;
    }
    if (gp->lag_append_ms > 0 && gp->lag_offset == offset) {
        return gp->lag_append_ms;
    }
    const int64_t ms = by_ranges(co, pt, offset, &exact);
    if (!exact && refresh) {
        look_up(co, gp, offset);
    }
    return ms;
}

uint64_t gpart_lag_ms(struct gpart *gp, uint64_t offset, bool refresh)
{
    struct core *co = gp->group->co;
    int64_t appended_ms, now_ms;

    if (offset >= gp->part->hw) {
        return 0;
    }
    appended_ms = append_ms_at(co, gp, offset, refresh);
    now_ms = core_wall_ms(co);
    return appended_ms > 0 && now_ms > appended_ms ? (uint64_t)(now_ms - appended_ms) : 0;
}
