/*
 * What an acquire was given, and its answer: batches back to back and the ranges in them, one lot a
 * partition. Who owns what: a lot holds a reference to its batch, or a copy of several; the request
 * owns what it was answered with.
 */
#include "broker/core/acquire_impl.h"
#include "broker/core/mem.h"

enum { FULL_RETRY_MS = 1000 };

/* Their reasons are copies: a lease may end before its answer goes. */
static void ranges_free(struct msg_range *ranges, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        free((void *)(uintptr_t)ranges[i].reason.p);
    }
    free(ranges);
}

static void lot_fini(struct lot *l)
{
    buf_fini(&l->data);
    blob_unref(l->whole.owner);
    ranges_free(l->ranges, l->ranges != NULL ? l->n : 0);
}

struct lot *lot_of(struct acquire *a, struct queue_part *qp)
{
    struct lot *l = a->n_lots > 0 ? &a->lots[a->n_lots - 1] : NULL;

    if (l != NULL && l->qp == qp) {
        return l;
    }
    if (a->n_lots == a->cap_lots) {
        a->cap_lots = a->cap_lots > 0 ? 2 * a->cap_lots : 2;
        a->lots = core_realloc(a->lots, a->cap_lots, sizeof *a->lots);
    }
    l = &a->lots[a->n_lots++];
    *l = (struct lot){.qp = qp, .tid = qp->gp->part->topic->tid, .p = qp->gp->part->p};
    buf_init(&l->data, 0);
    return l;
}

void lot_batch(struct acquire *a, struct lot *l, struct bytes batch, const struct batch_head *h)
{
    if (l->batch_end == h->base_offset + h->count) {
        return; /* the same batch again */
    }
    a->bytes += batch.n;
    l->batch_end = h->base_offset + h->count;
    if (l->whole.owner == NULL && l->data.len == 0) {
        l->whole = batch;
        blob_ref(batch.owner);
        return;
    }
    if (l->whole.owner != NULL) {
        buf_put(&l->data, l->whole.p, l->whole.n);
        blob_unref(l->whole.owner);
        l->whole = (struct bytes){0};
    }
    buf_put(&l->data, batch.p, batch.n);
}

void lot_range(struct lot *l, uint64_t first, uint64_t last, uint32_t deliveries, uint64_t lease,
               const char *reason)
{
    struct msg_range *r = l->n > 0 ? &l->ranges[l->n - 1] : NULL;

    if (r != NULL && r->lease == lease && r->last + 1 == first) {
        r->last = last;
        return;
    }
    if (l->n == l->cap) {
        l->cap = l->cap > 0 ? 2 * l->cap : 4;
        l->ranges = core_realloc(l->ranges, l->cap, sizeof *l->ranges);
    }
    l->ranges[l->n++] = (struct msg_range){.first = first,
                                           .last = last,
                                           .deliveries = deliveries,
                                           .lease = lease,
                                           .reason = {NULL, 0}};
    if (reason != NULL) {
        l->ranges[l->n - 1].reason = slice_str(core_strdup(reason));
    }
}

void acquire_free(struct acquire *a)
{
    for (size_t i = 0; i < a->n_lots; i++) {
        lot_fini(&a->lots[i]);
    }
    blob_unref(a->read_data.owner);
    free(a->lots);
    free(a->leases);
    free(a);
}

void acquire_unlink(struct acquire *a)
{
    struct acquire **at;

    timer_unset(&a->q->g->co->timers, &a->timeout);
    if (a->ahead) {
        a->ahead = false;
        a->q->ahead -= a->n_msgs;
        queue_pump_soon(a->q); /* there is room for more ahead of the rate */
    }
    if (a->reading) {
        a->reading = false;
        part_read_cancel(&a->read);
    }
    if (a->state == ACQ_WAITING) {
        TAILQ_REMOVE(&a->q->waiting, a, link);
    } else if (a->state == ACQ_PACED) {
        TAILQ_REMOVE(&a->q->paced, a, link);
    }
    for (at = a->member != NULL ? &a->member->waiting : NULL; at != NULL && *at != NULL;
         at = &(*at)->next) {
        if (*at == a) {
            *at = a->next;
            break;
        }
    }
    a->member = NULL;
}

/* A lease may end while its answer waits for the disk, a read or its slot: that is not told. */
static void drop_ended(struct acquire *a)
{
    size_t n_lots = 0;

    for (size_t i = 0; i < a->n_lots; i++) {
        struct lot *l = &a->lots[i];
        size_t n = 0;
        for (size_t k = 0; k < l->n; k++) {
            if (lease_find(a->q, l->ranges[k].lease) != NULL) {
                const struct msg_range r = l->ranges[k];
                l->ranges[k] = l->ranges[n];
                l->ranges[n++] = r;
            } else {
                free((void *)(uintptr_t)l->ranges[k].reason.p);
                l->ranges[k].reason = (struct slice){NULL, 0};
            }
        }
        l->n = n;
        if (n == 0) {
            lot_fini(l);
        } else {
            const struct lot kept = *l;
            a->lots[n_lots++] = kept;
        }
    }
    a->n_lots = n_lots;
}

void acquire_answer(struct acquire *a, enum werr rc, const struct werror *e)
{
    struct core_acquire_rq *rq = a->rq;

    acquire_unlink(a);
    if (rq == NULL) {
        acquire_free(a);
        return;
    }
    rq->internal = NULL;
    if (rc == WERR_OK) {
        drop_ended(a);
    }
    if (rc != WERR_OK) {
        werror_set(&rq->err, rc, "%s", e != NULL && e->text[0] != '\0' ? e->text : werr_text(rc));
        rq->err.retry_after_ms = rc == WERR_STORAGE_FULL ? FULL_RETRY_MS : 0;
    } else if (a->n_lots > 0) {
        rq->lots = core_calloc(a->n_lots, sizeof *rq->lots);
        rq->n_lots = a->n_lots;
        for (size_t i = 0; i < a->n_lots; i++) {
            struct lot *l = &a->lots[i];
            struct core_lot *out = &rq->lots[i];
            *out = (struct core_lot){.tid = l->tid, .p = l->p, .data = l->whole};
            l->whole = (struct bytes){0};
            if (l->data.len > 0) {
                struct blob *b = blob_copy(l->data.p, l->data.len);
                out->data = (struct bytes){b, b != NULL ? b->p : NULL, b != NULL ? b->n : 0};
            }
            out->ranges = l->ranges;
            out->n_ranges = l->n;
            l->ranges = NULL;
        }
    }
    rq->done(rq);
    acquire_free(a);
}

void core_acquire_fini(struct core_acquire_rq *rq)
{
    for (size_t i = 0; i < rq->n_lots; i++) {
        blob_unref(rq->lots[i].data.owner);
        ranges_free(rq->lots[i].ranges, rq->lots[i].n_ranges);
    }
    free(rq->lots);
    rq->lots = NULL;
    rq->n_lots = 0;
}
