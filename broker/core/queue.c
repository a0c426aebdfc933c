/*
 * Queue mode: acquires wait, the pump gives them what is there, leases become durable, answers go.
 *
 * Happy path: core_acquire puts the request in the group's line; the pump goes round the partitions
 * that have something, takes due retries and then fresh ranges, and makes leases; when the flight
 * with their rows is durable the request is answered, at the pace of max_rate.
 *
 * What can fail: the flight: leases are undone. Data that is not in the tail cache is read first;
 * what cannot be read is passed on to the dead letters by its own way or skipped below the log's
 * start.
 *
 * Who owns what: an acquire belongs to the group's `all` list until it is answered or cancelled;
 * the request belongs to its caller.
 */
#include <assert.h>

#include "broker/core/mem.h"
#include "broker/core/queue_impl.h"

enum { RETRIES_MAX = 1000000, FULL_RETRY_MS = 1000 };
static const int64_t MS_NS = 1000000;

enum acquire_state { ACQ_WAITING, ACQ_FLYING, ACQ_PACED, ACQ_REPEATING };

struct lot {
    struct queue_part *qp; /* NULL: its partition went meanwhile */
    uint64_t tid;
    uint32_t p;
    struct buf data;
    struct bytes whole; /* the only batch, by reference */
    struct msg_range *ranges;
    size_t n, cap;
    uint64_t batch_end; /* of the last batch in data */
};

struct acquire {
    struct waiter waiter;
    TAILQ_ENTRY(acquire) link; /* q->waiting or q->paced */
    struct queue *q;
    struct member *member;      /* NULL: gone meanwhile */
    struct acquire *next;       /* member->waiting */
    struct core_acquire_rq *rq; /* NULL: cancelled */
    enum acquire_state state;
    struct timer timeout;
    uint32_t max_msgs, max_bytes, lease_ms, n_msgs;
    uint64_t attempt;
    size_t bytes;
    struct lot *lots;
    size_t n_lots, cap_lots;
    uint64_t *leases; /* ids: given by it, or to be given again */
    size_t n_leases, cap_leases, at_lease;
    /* while repeating */
    uint64_t at_offset;
    bool reading, stepping, read_failed;
    struct part_read read;
    struct bytes read_data;
};
/* ---------------------------------------------------------------- an acquire's lots */

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

static struct lot *lot_of(struct acquire *a, struct queue_part *qp)
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

static void lot_batch(struct acquire *a, struct lot *l, struct bytes batch,
                      const struct batch_head *h)
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

static void lot_range(struct lot *l, uint64_t first, uint64_t last, uint32_t deliveries,
                      uint64_t lease, const char *reason)
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
        const size_t n = strlen(reason);
        char *copy = core_calloc(n + 1, 1);
        memcpy(copy, reason, n);
        l->ranges[l->n - 1].reason = slice_of(copy, n);
    }
}

static void acquire_free(struct acquire *a)
{
    for (size_t i = 0; i < a->n_lots; i++) {
        lot_fini(&a->lots[i]);
    }
    blob_unref(a->read_data.owner);
    free(a->lots);
    free(a->leases);
    free(a);
}

/* Out of every list but memory. */
static void acquire_unlink(struct acquire *a)
{
    struct acquire **at;

    timer_unset(&a->q->g->co->timers, &a->timeout);
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

/* Takes a. */
static void acquire_answer(struct acquire *a, enum werr rc, const struct werror *e)
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

/* ---------------------------------------------------------------- data */

static void on_ahead(struct part_read *r)
{
    struct queue_part *qp = r->arg;

    qp->reading = false;
    if (r->err.code == WERR_OK) {
        qp_drop_ahead(qp);
        qp->ahead = r->data;
    } else {
        core_log(qp->gp->group->co, 1, "queue_read_failed", "group=%s offset=%llu text=\"%s\"",
                 qp->gp->group->name, (unsigned long long)r->offset, r->err.text);
    }
    qp_look(qp);
    queue_pump_soon(qp->q);
}

/* The batch that holds o, from memory. The bytes are borrowed. False: a read was started. */
static bool find_batch(struct queue_part *qp, uint64_t o, struct bytes *batch, struct batch_head *h)
{
    struct part *pt = qp->gp->part;
    const int64_t i = tail_find(&pt->tail, o);

    if (i >= 0) {
        *batch = tail_at(&pt->tail, (uint32_t)i)->batch;
        batch_head_read(batch->p, h);
        return true;
    }
    size_t at = 0;
    while (qp->ahead.n - at >= BATCH_HEAD) {
        batch_head_read(qp->ahead.p + at, h);
        if (o < h->base_offset || h->length > qp->ahead.n - at) {
            break;
        }
        if (o < h->base_offset + h->count) {
            *batch = (struct bytes){qp->ahead.owner, qp->ahead.p + at, h->length};
            return true;
        }
        at += h->length;
    }
    if (!qp->reading) {
        qp->reading = true;
        qp->read = (struct part_read){
            .part = pt, .offset = o, .max_bytes = AHEAD_BYTES, .fn = on_ahead, .arg = qp};
        part_read(qp->gp->group->co, &qp->read);
    }
    return false;
}

/* ---------------------------------------------------------------- giving */

static uint64_t new_lease_id(struct core *co)
{
    return ((uint64_t)co->epoch & 0xfffff) << 33 | (++co->next_lease & 0x1ffffffff);
}

static struct lease *give(struct acquire *a, struct queue_part *qp, uint64_t first, uint64_t last)
{
    struct core *co = a->q->g->co;
    const uint64_t most_ms = a->q->g->conf.max_processing_ms;
    struct lease *l = lease_new(qp, a->member, new_lease_id(co), first, last);

    l->attempt = a->attempt;
    lease_deadline(l, a->lease_ms > 0 ? a->lease_ms
                                      : (int64_t)(most_ms > 0 ? most_ms : LIMIT_LEASE_MAX_MS));
    if (a->n_leases == a->cap_leases) {
        a->cap_leases = a->cap_leases > 0 ? 2 * a->cap_leases : 4;
        a->leases = core_realloc(a->leases, a->cap_leases, sizeof *a->leases);
    }
    a->leases[a->n_leases++] = l->id;
    a->n_msgs += (uint32_t)(last - first + 1);
    co->gstats.acquired += last - first + 1;
    return l;
}

/* What was deleted before anybody read it. */
static void skip_lost(struct queue_part *qp, uint64_t start)
{
    core_log(qp->gp->group->co, 1, "queue_lost",
             "group=%s topic=%.*s partition=%u from=%llu to=%llu reason=\"deleted by retention\"",
             qp->gp->group->name, (int)qp->gp->part->topic->name_n, qp->gp->part->topic->name,
             qp->gp->part->p, (unsigned long long)qp->next, (unsigned long long)start);
    while (qp->next < start) {
        qp_settle(qp, qp->next);
        qp->next = acked_next_free(&qp->set, qp->next);
    }
}

enum served { SERVED, SERVED_NOTHING, SERVED_LATER, SERVED_FULL };

static enum served serve_retry(struct acquire *a, struct queue_part *qp)
{
    struct retry *r = TAILQ_FIRST(&qp->ready);
    struct bytes batch;
    struct batch_head h;

    if (r->offset < part_start(a->q->g->co, qp->gp->part)) {
        retry_reason(r, slice_str("deleted by retention"));
        retry_dead(r); /* what is left of it goes to the dead letters */
        retry_dirty(r);
        return SERVED;
    }
    if (!find_batch(qp, r->offset, &batch, &h)) {
        return SERVED_LATER;
    }
    if (a->n_msgs > 0 && a->bytes + batch.n > a->max_bytes) {
        return SERVED_FULL;
    }
    TAILQ_REMOVE(&qp->ready, r, link);
    r->state = RETRY_LEASED;
    struct lease *l = give(a, qp, r->offset, r->offset);
    l->retry = r;
    struct lot *lot = lot_of(a, qp);
    lot_batch(a, lot, batch, &h);
    lot_range(lot, r->offset, r->offset, r->deliveries + 1, l->id, r->reason);
    a->q->g->co->gstats.redelivered++;
    return SERVED;
}

/* order=key: the messages of one batch whose keys are free, one by one. */
static enum served serve_keyed(struct acquire *a, struct queue_part *qp, uint64_t room)
{
    struct buf scratch = {0};
    struct record_iter it;
    struct record rec = {0};
    struct bytes batch;
    struct batch_head h;
    bool open;

    if (a->q->parked >= PARKED_MAX) {
        return SERVED_NOTHING;
    }
    if (!find_batch(qp, qp->next, &batch, &h)) {
        return SERVED_LATER;
    }
    if (a->n_msgs > 0 && a->bytes + batch.n > a->max_bytes) {
        return SERVED_FULL;
    }
    open = record_open(&it, slice_of(batch.p, batch.n), &h, &scratch, NULL) == WERR_OK;
    for (uint64_t o = h.base_offset; o < h.base_offset + h.count && room > 0; o++) {
        open = open && record_next(&it, &rec);
        if (o < qp->next || o >= qp->gp->part->hw || acked_is_taken(&qp->set, o)) {
            continue;
        }
        struct retry *r = lane_enter(qp, o, open ? rec.key : (struct slice){NULL, 0});
        if (r != NULL) {
            struct lease *l = give(a, qp, o, o);
            struct lot *lot = lot_of(a, qp);
            l->retry = r;
            lot_batch(a, lot, batch, &h);
            lot_range(lot, o, o, 1, l->id, NULL);
            room--;
        }
    }
    buf_fini(&scratch);
    qp->next = acked_next_free(&qp->set, qp->next);
    return SERVED;
}

static enum served serve_fresh(struct acquire *a, struct queue_part *qp, uint64_t room)
{
    const uint64_t start = part_start(a->q->g->co, qp->gp->part);
    struct bytes batch;
    struct batch_head h;

    if (qp->next < start) {
        skip_lost(qp, start);
    }
    if (!qp_has_fresh(qp) || a->q->retrying >= RETRIES_MAX) {
        return SERVED_NOTHING;
    }
    if (a->q->g->conf.order == GROUP_ORDER_KEY) {
        return serve_keyed(a, qp, room);
    }
    const uint64_t o = qp->next;
    if (!find_batch(qp, o, &batch, &h)) {
        return SERVED_LATER;
    }
    if (a->n_msgs > 0 && a->bytes + batch.n > a->max_bytes) {
        return SERVED_FULL;
    }
    uint64_t end = h.base_offset + h.count;
    end = end < qp->gp->part->hw ? end : qp->gp->part->hw;
    end = acked_free_run(&qp->set, o, end);
    if (end - o > room) {
        if (a->n_msgs > 0 && h.base_offset == o) {
            return SERVED_FULL; /* another member gets the batch whole */
        }
        end = o + room;
    }
    end = end - o > LEASE_MESSAGES ? o + LEASE_MESSAGES : end;
    acked_take(&qp->set, o, end - 1);
    struct lease *l = give(a, qp, o, end - 1);
    struct lot *lot = lot_of(a, qp);
    lot_batch(a, lot, batch, &h);
    lot_range(lot, o, end - 1, 1, l->id, NULL);
    qp->next = acked_next_free(&qp->set, end);
    return SERVED;
}

static uint64_t room_for(const struct acquire *a)
{
    const struct queue *q = a->q;
    const struct group_config *c = &q->g->conf;
    uint64_t room = a->max_msgs - a->n_msgs;
    const uint64_t member =
        a->member->leased < c->member_max ? c->member_max - a->member->leased : 0;
    const uint64_t group = q->leased < c->max_concurrency ? c->max_concurrency - q->leased : 0;
    const uint32_t quantum = rate_quantum(&q->rate);

    room = room < member ? room : member;
    room = room < group ? room : group;
    if (quantum != UINT32_MAX) {
        const uint64_t paced = quantum > a->n_msgs ? quantum - a->n_msgs : 0;
        room = room < paced ? room : paced;
    }
    return room;
}

/* Fills a from whatever is ready. */
static void fill(struct acquire *a)
{
    struct queue *q = a->q;
    struct queue_part *qp;
    uint64_t room;

    while ((room = room_for(a)) > 0 && (a->n_msgs == 0 || a->bytes < a->max_bytes) &&
           (qp = TAILQ_FIRST(&q->ready)) != NULL) {
        enum served s = SERVED_NOTHING;
        TAILQ_REMOVE(&q->ready, qp, link);
        qp->listed = false;
        if (!TAILQ_EMPTY(&qp->ready)) {
            s = serve_retry(a, qp);
        } else if (qp_has_fresh(qp)) {
            s = serve_fresh(a, qp, room);
        }
        if (s == SERVED || s == SERVED_FULL) {
            qp_look(qp); /* behind the others */
        }
        if (s == SERVED_FULL) {
            break;
        }
    }
}

/* ---------------------------------------------------------------- answering */

static void pace(struct queue *q)
{
    struct core *co = q->g->co;
    struct acquire *a;

    while ((a = TAILQ_FIRST(&q->paced)) != NULL) {
        const int64_t now_ns = core_mono_ns(co);
        if (!rate_take(&q->rate, a->n_msgs, now_ns)) {
            timer_set(&co->timers, &q->pace, rate_when(&q->rate, a->n_msgs, now_ns));
            return;
        }
        acquire_answer(a, WERR_OK, NULL);
    }
}

static void on_pace(struct timer *t)
{
    pace((struct queue *)(void *)((char *)t - offsetof(struct queue, pace)));
}

static void fly_end(struct waiter *w, enum werr rc, const struct werror *e)
{
    struct acquire *a = (struct acquire *)(void *)w;
    struct queue *q = a->q;
    struct core_group *g = q->g;

    for (size_t i = 0; rc == WERR_STORAGE_FULL && i < a->n_leases && !g->gone; i++) {
        struct lease *l = lease_find(q, a->leases[i]);
        if (l != NULL) {
            lease_undo(l);
        }
    }
    if (rc != WERR_OK || g->gone || a->rq == NULL) {
        acquire_answer(a, rc != WERR_OK ? rc : WERR_UNKNOWN_GROUP, e);
    } else if (a->member == NULL) {
        acquire_answer(a, WERR_UNKNOWN_MEMBER, NULL);
    } else if (q->rate.per_s > 0) {
        a->state = ACQ_PACED;
        TAILQ_INSERT_TAIL(&q->paced, a, link);
        pace(q);
    } else {
        acquire_answer(a, WERR_OK, NULL);
    }
    if (!g->gone) {
        queue_pump_soon(q);
    }
    group_unref(g);
}

static void fly(struct acquire *a)
{
    struct core *co = a->q->g->co;

    TAILQ_REMOVE(&a->q->waiting, a, link);
    a->state = ACQ_FLYING;
    timer_unset(&co->timers, &a->timeout);
    a->waiter.run = fly_end;
    group_ref(a->q->g);
    flight_wait(co, &a->waiter);
}

static void pump(struct queue *q)
{
    struct acquire *a, *next;

    if (q->paused || q->g->co->draining) {
        return;
    }
    for (a = TAILQ_FIRST(&q->waiting); a != NULL && !TAILQ_EMPTY(&q->ready); a = next) {
        next = TAILQ_NEXT(a, link);
        fill(a);
        if (a->n_msgs > 0) {
            fly(a);
        }
    }
}

static void on_pump(struct timer *t)
{
    pump((struct queue *)(void *)((char *)t - offsetof(struct queue, pump_soon)));
}

void queue_pump_soon(struct queue *q)
{
    if (!timer_is_set(&q->pump_soon) && !TAILQ_EMPTY(&q->waiting) && !q->g->co->closing) {
        timer_set(&q->g->co->timers, &q->pump_soon, core_mono_ns(q->g->co));
    }
}

/* ---------------------------------------------------------------- the same attempt again */

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

static void repeat_step(struct acquire *a);

static void on_repeat(struct part_read *r)
{
    struct acquire *a = r->arg;

    a->reading = false;
    blob_unref(a->read_data.owner);
    a->read_data = r->err.code == WERR_OK ? r->data : (struct bytes){0};
    a->read_failed = r->err.code != WERR_OK;
    if (!a->stepping) {
        repeat_step(a);
    }
}

/* Gives the messages of l from a->at_offset on. False: waits for a read. */
static bool repeat_lease(struct acquire *a, struct lease *l)
{
    struct bytes batch;
    struct batch_head h;

    for (uint64_t o = a->at_offset > l->first ? a->at_offset : l->first; o <= l->last; o++) {
        if (!lease_has(l, o)) {
            continue;
        }
        a->at_offset = o;
        if (!repeat_batch(a, l->qp, o, &batch, &h)) {
            if (a->read_failed) {
                a->read_failed = false;
                continue; /* it cannot be had: its lease runs out */
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

static void repeat_step(struct acquire *a)
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

/* Leases of this attempt that the member still holds. */
static bool collect(struct acquire *a)
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

/* ---------------------------------------------------------------- the request */

static void on_timeout(struct timer *t)
{
    acquire_answer((struct acquire *)(void *)((char *)t - offsetof(struct acquire, timeout)),
                   WERR_OK, NULL);
}

/* An older request of the same attempt hands its place, or its leases, to the new one. */
static bool take_over(struct acquire *a)
{
    struct acquire *old;

    for (old = a->member->waiting; old != NULL; old = old->next) {
        if (old->attempt != a->attempt) {
            continue;
        }
        if (old->rq != NULL) {
            struct core_acquire_rq *rq = old->rq;
            old->rq = NULL;
            rq->internal = NULL;
            werror_set(&rq->err, WERR_FENCED_MEMBER, "the same attempt came again");
            rq->done(rq);
        }
        if (old->state == ACQ_WAITING || old->state == ACQ_REPEATING) {
            acquire_unlink(old);
            acquire_free(old);
            return false;
        }
        old->rq = a->rq; /* it is on its way */
        old->rq->internal = old;
        return true;
    }
    return false;
}

static enum werr check(struct core *co, struct core_acquire_rq *rq, struct member **m)
{
    struct werror *e = &rq->err;

    if (group_refuse(co, e) != WERR_OK || member_check(co, &rq->who, m, e) != WERR_OK) {
        return e->code;
    }
    if ((*m)->group->mode != GROUP_MODE_QUEUE) {
        return werror_set(e, WERR_GROUP_MODE, "group %s reads in log mode: it has no leases",
                          (*m)->group->name);
    }
    if ((*m)->session == NULL) {
        return werror_set(e, WERR_UNKNOWN_MEMBER, "the member has to join again first");
    }
    if (rq->max_msgs < 1 || rq->attempt < 1 ||
        (rq->lease_ms != 0 &&
         (rq->lease_ms < LIMIT_LEASE_MIN_MS || rq->lease_ms > LIMIT_LEASE_MAX_MS))) {
        return werror_set(e, WERR_INVALID_CONFIG,
                          "max_msgs %u, attempt %llu, lease_ms %u: out of range", rq->max_msgs,
                          (unsigned long long)rq->attempt, rq->lease_ms);
    }
    return WERR_OK;
}

void core_acquire(struct core *co, struct core_acquire_rq *rq)
{
    struct member *m = NULL;
    struct acquire *a;

    rq->err = (struct werror){.code = WERR_OK};
    rq->lots = NULL;
    rq->n_lots = 0;
    rq->internal = NULL;
    if (check(co, rq, &m) != WERR_OK) {
        rq->done(rq);
        return;
    }
    a = core_calloc(1, sizeof *a);
    a->q = m->group->queue;
    a->member = m;
    a->rq = rq;
    a->max_msgs = rq->max_msgs < LIMIT_ACQUIRE_MSGS ? rq->max_msgs : LIMIT_ACQUIRE_MSGS;
    a->max_bytes = rq->max_bytes;
    a->lease_ms = rq->lease_ms;
    a->attempt = rq->attempt;
    a->timeout.fire = on_timeout;
    a->state = ACQ_REPEATING;
    if (take_over(a)) {
        free(a);
        return;
    }
    rq->internal = a;
    a->next = m->waiting;
    m->waiting = a;
    if (m->attempt == rq->attempt && collect(a)) {
        repeat_step(a);
        return;
    }
    m->attempt = rq->attempt;
    a->state = ACQ_WAITING;
    TAILQ_INSERT_TAIL(&a->q->waiting, a, link);
    const uint32_t wait_ms =
        rq->max_wait_ms < LIMIT_ACQUIRE_WAIT_MS ? rq->max_wait_ms : LIMIT_ACQUIRE_WAIT_MS;
    timer_set(&co->timers, &a->timeout, core_mono_ns(co) + wait_ms * MS_NS);
    pump(a->q);
}

void core_acquire_cancel(struct core_acquire_rq *rq)
{
    struct acquire *a = rq->internal;

    rq->internal = NULL;
    if (a == NULL) {
        return;
    }
    a->rq = NULL;
    if (a->state == ACQ_WAITING || a->state == ACQ_REPEATING) {
        acquire_unlink(a);
        acquire_free(a);
    }
}

/* ---------------------------------------------------------------- sessions and members */

void queue_session_gone(struct member *m)
{
    struct acquire *a, *next;

    for (a = m->waiting; a != NULL; a = next) {
        next = a->next;
        if (a->rq != NULL) {
            core_acquire_cancel(a->rq);
        }
    }
}

void queue_member_leaves(struct member *m)
{
    struct lease *l;

    while ((l = LIST_FIRST(&m->leases)) != NULL) {
        lease_release(l);
    }
}

/* All of a member's acquires end now; what those under way were given stays leased. */
static void end_acquires(struct member *m, enum werr rc)
{
    struct acquire *a;

    while ((a = m->waiting) != NULL) {
        if (a->state == ACQ_FLYING) {
            struct core_acquire_rq *rq = a->rq;
            m->waiting = a->next;
            a->member = NULL;
            a->rq = NULL;
            if (rq != NULL) {
                rq->internal = NULL;
                werror_set(&rq->err, rc, "%s", werr_text(rc));
                rq->done(rq);
            }
        } else {
            acquire_answer(a, rc, NULL);
        }
    }
}

void queue_closing(struct core_group *g)
{
    struct member *m;

    for (m = g->members; m != NULL; m = m->hh.next) {
        end_acquires(m, WERR_SHUTTING_DOWN);
    }
}

void queue_member_gone(struct member *m, const char *why)
{
    struct lease *l;
    const bool restored = m->restored;

    end_acquires(m, WERR_UNKNOWN_MEMBER);
    m->restored = false; /* it is not forgotten with its last lease: we hold it */
    while ((l = LIST_FIRST(&m->leases)) != NULL) {
        lease_fail(l, why);
    }
    m->restored = restored;
}

/* ---------------------------------------------------------------- the group */

void queue_new(struct core_group *g)
{
    struct queue *q = core_calloc(1, sizeof *q);

    q->g = g;
    TAILQ_INIT(&q->ready);
    TAILQ_INIT(&q->waiting);
    TAILQ_INIT(&q->paced);
    q->pace.fire = on_pace;
    q->pump_soon.fire = on_pump;
    g->queue = q;
    rate_set(&q->rate, g->conf.max_rate, core_mono_ns(g->co));
}

void queue_free(struct core_group *g)
{
    struct queue *q = g->queue;
    struct acquire *a;

    while ((a = TAILQ_FIRST(&q->waiting)) != NULL || (a = TAILQ_FIRST(&q->paced)) != NULL) {
        acquire_answer(a, WERR_SHUTTING_DOWN, NULL);
    }
    timer_unset(&g->co->timers, &q->pace);
    timer_unset(&g->co->timers, &q->pump_soon);
    free(q);
    g->queue = NULL;
}

void queue_conf_changed(struct core_group *g)
{
    rate_set(&g->queue->rate, g->conf.max_rate, core_mono_ns(g->co));
    pace(g->queue);
    queue_pump_soon(g->queue);
}

void queue_paused(struct core_group *g, bool paused)
{
    struct queue *q = g->queue;

    q->paused = paused;
    if (!paused) {
        rate_ramp(&q->rate, (int64_t)g->conf.ramp_ms * MS_NS, core_mono_ns(g->co));
        queue_pump_soon(q);
    }
}

uint64_t queue_leased(const struct core_group *g)
{
    return g->queue->leased;
}

const char *queue_blocked(const struct core_group *g)
{
    const struct queue *q = g->queue;

    if (q->leased >= g->conf.max_concurrency) {
        return "blocked: in-flight limit";
    }
    if (q->parked >= PARKED_MAX) {
        return "blocked: key order";
    }
    return q->retrying >= RETRIES_MAX ? "blocked: too many retries" : NULL;
}
