/*
 * The same attempt once more: its answer may have been lost with the connection, so it gets the
 * leases that it still holds, one by one, from the tail cache or read again. What cannot be read is
 * left out and given back: whoever asks next has it read again.
 */
#include "broker/core/acquire_impl.h"
#include "broker/core/mem.h"

/* The batch that holds o, from the tail cache or from what was read. False: a read was started. */
static bool repeat_batch(struct acquire *a, struct queue_part *qp, uint64_t o, struct bytes *batch,
                         struct batch_head *h)
{
    struct part *pt = qp->gp->part;
    const int64_t i = tail_find(&pt->tail, o);

    if (i >= 0) {
        *batch = tail_at(&pt->tail, (uint32_t)i)->batch;
        batch_head_read(batch->p, h);
        return true;
    }
    for (size_t at = 0; a->read.part == pt && a->read_data.n - at >= BATCH_HEAD; at += h->length) {
        batch_head_read(a->read_data.p + at, h);
        if (o >= h->base_offset && o < h->base_offset + h->count) {
            *batch = (struct bytes){a->read_data.owner, a->read_data.p + at, h->length};
            return true;
        }
    }
    return false;
}

static void on_repeat(struct part_read *r)
{
    struct acquire *a = r->arg;

    a->reading = false;
    blob_unref(a->read_data.owner);
    a->read_data = r->err.code == WERR_OK ? r->data : (struct bytes){0};
    a->read_failed = r->err.code != WERR_OK;
    if (!a->stepping) {
        acquire_repeat(a);
    }
}

/* Gives the messages of l from a->at_offset on. False: waits for a read. */
static bool repeat_lease(struct acquire *a, struct lease *l)
{
    struct bytes batch;
    struct batch_head h;

    const uint64_t last = l->last;
    uint32_t left = l->n_left;

    for (uint64_t o = a->at_offset > l->first ? a->at_offset : l->first; left > 0 && o <= last;
         o++) {
        if (!lease_has(l, o)) {
            continue;
        }
        a->at_offset = o;
        if (!repeat_batch(a, l->qp, o, &batch, &h)) {
            if (a->read_failed) {
                a->read_failed = false;
                left--;
                lease_release_one(l, o); /* frees l with its last message */
                continue;
            }
            a->reading = true;
            a->read = (struct part_read){.part = l->qp->gp->part,
                                         .offset = o,
                                         .max_bytes = AHEAD_BYTES,
                                         .fn = on_repeat,
                                         .arg = a};
            part_read(l->qp->gp->group->co, &a->read);
            if (a->reading) {
                return false;
            }
            o--; /* it came at once */
            continue;
        }
        struct lot *lot = lot_of(a, l->qp);
        lot_batch(a, lot, batch, &h);
        lot_range(lot, o, o, l->retry != NULL ? l->retry->deliveries + 1 : 1, l->id,
                  l->retry != NULL ? l->retry->reason : NULL);
    }
    return true;
}

void acquire_repeat(struct acquire *a)
{
    a->stepping = true;
    while (a->at_lease < a->n_leases) {
        struct lease *l = lease_find(a->q, a->leases[a->at_lease]);
        if (l != NULL && l->member == a->member && !repeat_lease(a, l)) {
            a->stepping = false;
            return;
        }
        a->at_lease++;
        a->at_offset = 0;
    }
    a->stepping = false;
    acquire_answer(a, WERR_OK, NULL);
}

static int by_id(const void *x, const void *y)
{
    const uint64_t a = *(const uint64_t *)x, b = *(const uint64_t *)y;

    return a < b ? -1 : a > b;
}

bool acquire_collect(struct acquire *a)
{
    const struct lease *l;

    LIST_FOREACH (l, &a->member->leases, of_member) {
        if (l->attempt == a->attempt) {
            if (a->n_leases == a->cap_leases) {
                a->cap_leases = a->cap_leases > 0 ? 2 * a->cap_leases : 4;
                a->leases = core_realloc(a->leases, a->cap_leases, sizeof *a->leases);
            }
            a->leases[a->n_leases++] = l->id;
        }
    }
    if (a->n_leases > 0) {
        qsort(a->leases, a->n_leases, sizeof *a->leases, by_id);
    }
    return a->n_leases > 0;
}
