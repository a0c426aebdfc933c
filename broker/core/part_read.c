/*
 * Batches of a partition for those who want them by offset: from the tail cache at once, else from
 * the store. A read in flight outlives a cancelled request; core_close frees what is left.
 */
#include "broker/core/group_impl.h"
#include "broker/core/mem.h"

struct read_in_flight {
    struct cold_read cold; /* on core->colds, like those of readers */
    struct part_read *r;   /* NULL: cancelled */
};

static void on_read(struct store_read *sr)
{
    struct read_in_flight *f = sr->arg;
    struct part_read *r = f->r;

    LIST_REMOVE(&f->cold, of_core);
    if (r == NULL) {
        blob_unref(sr->data);
    } else {
        r->internal = NULL;
        r->err = sr->err;
        r->err.code = sr->rc;
        if (sr->rc == WERR_OK && sr->data != NULL && sr->data->n > 0) {
            r->data = (struct bytes){.owner = sr->data, .p = sr->data->p, .n = sr->data->n};
        } else {
            blob_unref(sr->data);
            if (sr->rc == WERR_OK) {
                werror_set(&r->err, WERR_CORRUPT, "the log has no batch with offset %llu",
                           (unsigned long long)r->offset);
            }
        }
        r->fn(r);
    }
    free(f);
}

void part_read(struct core *co, struct part_read *r)
{
    struct part *pt = r->part;
    const int64_t i = tail_find(&pt->tail, r->offset);

    r->data = (struct bytes){0};
    r->err = (struct werror){.code = WERR_OK};
    r->internal = NULL;
    if (r->offset < part_start(co, pt) || r->offset >= pt->hw) {
        werror_set(&r->err, WERR_OFFSET_OUT_OF_RANGE, "offset %llu, the log has %llu to %llu",
                   (unsigned long long)r->offset, (unsigned long long)part_start(co, pt),
                   (unsigned long long)pt->hw);
        r->fn(r);
        return;
    }
    if (i >= 0) {
        r->data = tail_at(&pt->tail, (uint32_t)i)->batch;
        blob_ref(r->data.owner);
        r->fn(r);
        return;
    }
    struct read_in_flight *f = core_calloc(1, sizeof *f);
    f->r = r;
    r->internal = f;
    f->cold.co = co;
    f->cold.r = (struct store_read){.partition = pt->id,
                                    .offset = r->offset,
                                    .end = pt->hw,
                                    .max_bytes = r->max_bytes,
                                    .fn = on_read,
                                    .arg = f};
    LIST_INSERT_HEAD(&co->colds, &f->cold, of_core);
    co->stats.read_store_reads++;
    store_read(co->st, &f->cold.r);
}

void part_read_cancel(struct part_read *r)
{
    struct read_in_flight *f = r->internal;

    if (f != NULL) {
        f->r = NULL;
        r->internal = NULL;
    }
}
