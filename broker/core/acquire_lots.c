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
    for (size_t i = 0; i < l->n_pieces; i++) {
        blob_unref(l->pieces[i].batch.owner);
    }
    free(l->pieces);
    ranges_free(l->ranges, l->ranges != NULL ? l->n : 0);
}

struct lot *lot_of(struct acquire *a, struct queue_part *qp)
{
    const struct part *pt = qp->gp->part;
    struct lot *l = qp->lot_at < a->n_lots ? &a->lots[qp->lot_at] : NULL;

    if (l != NULL && l->tid == pt->topic->tid && l->p == pt->p) {
        return l;
    }
    if (a->n_lots == a->cap_lots) {
        a->cap_lots = a->cap_lots > 0 ? 2 * a->cap_lots : 2;
        a->lots = core_realloc(a->lots, a->cap_lots, sizeof *a->lots);
    }
    qp->lot_at = a->n_lots;
    l = &a->lots[a->n_lots++];
    /* NOLINTNEXTLINE(clang-analyzer-*): never NULL here */
    *l = (struct lot){.tid = pt->topic->tid, .p = pt->p};
    return l;
}

void lot_batch(struct acquire *a, struct lot *l, struct bytes batch, const struct batch_head *h)
{
    size_t at = l->n_pieces; /* mostly the next one */

    while (at > 0 && l->pieces[at - 1].base > h->base_offset) {
        at--;
    }
    if (at > 0 && l->pieces[at - 1].base == h->base_offset) {
        return;
    }
    if (l->n_pieces == l->cap_pieces) {
        l->cap_pieces = l->cap_pieces > 0 ? 2 * l->cap_pieces : 2;
        l->pieces = core_realloc(l->pieces, l->cap_pieces, sizeof *l->pieces);
    }
    memmove(l->pieces + at + 1, l->pieces + at, (l->n_pieces - at) * sizeof *l->pieces);
    l->pieces[at] = (struct piece){h->base_offset, batch};
    l->n_pieces++;
    a->bytes += batch.n;
    blob_ref(batch.owner);
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
    /* NOLINTNEXTLINE(clang-analyzer-*): never NULL here */
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

static int by_first(const void *x, const void *y)
{
    const uint64_t a = ((const struct msg_range *)x)->first;
    const uint64_t b = ((const struct msg_range *)y)->first;

    return a < b ? -1 : a > b;
}

/* Its batches back to back; the only one by reference. False: no memory. */
static bool lot_join(struct lot *l, struct bytes *data)
{
    struct blob *b;
    size_t n = 0;

    if (l->n_pieces == 1) {
        l->n_pieces = 0;
        *data = l->pieces[0].batch;
        return true;
    }
    for (size_t i = 0; i < l->n_pieces; i++) {
        n += l->pieces[i].batch.n;
    }
    b = blob_new(n);
    if (b == NULL) {
        return false;
    }
    n = 0;
    for (size_t i = 0; i < l->n_pieces; i++) {
        memcpy(b->p + n, l->pieces[i].batch.p, l->pieces[i].batch.n);
        n += l->pieces[i].batch.n;
    }
    *data = (struct bytes){b, b->p, n};
    return true;
}

static void lots_give(struct acquire *a, struct core_acquire_rq *rq)
{
    rq->lots = core_calloc(a->n_lots, sizeof *rq->lots);
    rq->n_lots = a->n_lots;
    for (size_t i = 0; i < a->n_lots; i++) {
        struct lot *l = &a->lots[i];
        struct core_lot *out = &rq->lots[i];
        if (!lot_join(l, &out->data)) {
            core_acquire_fini(rq);
            werror_set(&rq->err, WERR_NOMEM, "no memory for the batches of an answer");
            return; /* the same attempt may have more luck */
        }
        qsort(l->ranges, l->n, sizeof *l->ranges, by_first); /* retries came as they were due */
        out->tid = l->tid;
        out->p = l->p;
        out->ranges = l->ranges;
        out->n_ranges = l->n;
        l->ranges = NULL;
    }
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
        lots_give(a, rq);
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
