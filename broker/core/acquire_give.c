/*
 * What an acquire gets: due retries first, then fresh messages, partition by partition in turn.
 *
 * Happy path: the batch that holds the next message is in the tail cache or was read ahead; a range
 * of it becomes a lease. What can fail: a read, which is tried again; messages that retention
 * deleted before anybody read them are passed over and logged.
 */
#include "broker/core/acquire_impl.h"
#include "broker/core/mem.h"

enum { LOST_RUN = 64 << 10, TURN_BYTES = 64 << 10 };
static const int64_t AGAIN_NS = 1000000000;

/* ---------------------------------------------------------------- data */

void queue_read_again(struct timer *t)
{
    qp_look((struct queue_part *)(void *)((char *)t - offsetof(struct queue_part, read_again)));
}

static void on_ahead(struct part_read *r)
{
    struct queue_part *qp = r->arg;

    qp->reading = false;
    if (r->err.code == WERR_OK) {
        qp_keep_ahead(qp, r->data);
    } else {
        core_log(qp->gp->group->co, 1, "queue_read_failed", "group=%s offset=%llu text=\"%s\"",
                 qp->gp->group->name, (unsigned long long)r->offset, r->err.text);
    }
    if (r->err.code != WERR_OK && r->err.code != WERR_OFFSET_OUT_OF_RANGE) {
        struct core *co = qp->gp->group->co;
        timer_set(&co->timers, &qp->read_again, core_mono_ns(co) + AGAIN_NS);
        return;
    }
    qp_look(qp);
    queue_pump_soon(qp->q);
}

/* The batch that holds o, from memory. The bytes are borrowed. */
static bool at_hand(const struct queue_part *qp, uint64_t o, struct bytes *batch,
                    struct batch_head *h)
{
    const struct part *pt = qp->gp->part;
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
    return false;
}

/* The same. False: a read was started. */
static bool find_batch(struct queue_part *qp, uint64_t o, struct bytes *batch, struct batch_head *h)
{
    if (at_hand(qp, o, batch, h)) {
        return true;
    }
    if (!qp->reading) {
        qp->reading = true;
        qp->read = (struct part_read){
            .part = qp->gp->part, .offset = o, .max_bytes = AHEAD_BYTES, .fn = on_ahead, .arg = qp};
        part_read(qp->gp->group->co, &qp->read);
    }
    return false;
}

/* ---------------------------------------------------------------- giving */

static uint64_t new_lease_id(struct core *co)
{
#ifdef WEIR_BUG_BLIND4
    return ++co->next_lease & 0x1ffffffff;
#else
    return ((uint64_t)co->epoch & 0xfffff) << 33 | (++co->next_lease & 0x1ffffffff);
#endif
}

static struct lease *give(struct acquire *a, struct queue_part *qp, uint64_t first, uint64_t last)
{
    struct core *co = a->q->g->co;
    const uint64_t most_ms = a->q->g->conf.max_processing_ms;
    struct lease *l = lease_new(qp, a->member, new_lease_id(co), first, last);

    l->attempt = a->attempt;
    l->hard = a->lease_ms > 0;
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
    while (qp->next < start) { /* in runs: there may be many millions */
        uint64_t end = acked_free_run(&qp->set, qp->next, start);
        end = end - qp->next > LOST_RUN ? qp->next + LOST_RUN : end;
        acked_done_run(&qp->set, qp->next, end - 1);
        if (qp->next == qp->gp->floor) {
            qp_move_floor(qp);
        }
        qp->next = acked_next_free(&qp->set, end);
    }
    qp_dirty(qp);
}

enum served { SERVED, SERVED_NOTHING, SERVED_LATER, SERVED_FULL, SERVED_BLOCKED };

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

    if (!find_batch(qp, qp->next, &batch, &h)) {
        return SERVED_LATER;
    }
    if (a->n_msgs > 0 && a->bytes + batch.n > a->max_bytes) {
        return SERVED_FULL;
    }
    open = record_open(&it, slice_of(batch.p, batch.n), &h, &scratch, NULL) == WERR_OK;
    for (uint64_t o = h.base_offset;
         o < h.base_offset + h.count && room > 0 && a->q->parked < PARKED_MAX; o++) {
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

/* End of what is free of a batch, from o on. */
static uint64_t free_end(const struct queue_part *qp, uint64_t o, const struct batch_head *h)
{
    const uint64_t end = h->base_offset + h->count, hw = qp->gp->part->hw;

    return acked_free_run(&qp->set, o, end < hw ? end : hw);
}

/*
 * [o, end) is to be leased and ends with the batch h: whole batches behind it join the lease while
 * they are at hand, for small batches would need a row each. Returns the new end.
 */
static uint64_t add_batches(struct acquire *a, struct queue_part *qp, struct lot *lot, uint64_t o,
                            uint64_t end, uint64_t room, struct batch_head *h)
{
    const size_t began = a->bytes;
    struct bytes batch;

    while (end == h->base_offset + h->count && end < qp->gp->part->hw &&
           a->bytes - began < TURN_BYTES && at_hand(qp, end, &batch, h)) {
        const uint64_t whole = end + h->count;
        if (h->base_offset != end || free_end(qp, end, h) != whole || whole - o > room ||
            whole - o > LEASE_MESSAGES || a->bytes + batch.n > a->max_bytes) {
            break;
        }
        lot_batch(a, lot, batch, h);
        end = whole;
    }
    return end;
}

static enum served serve_fresh(struct acquire *a, struct queue_part *qp, uint64_t room)
{
    const uint64_t start = part_start(a->q->g->co, qp->gp->part);
    struct bytes batch;
    struct batch_head h;

    if (qp->next < start) {
        skip_lost(qp, start);
    }
    if (!qp_has_fresh(qp)) {
        return SERVED_NOTHING;
    }
    if (queue_refuses_fresh(a->q)) {
        return SERVED_BLOCKED;
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
    uint64_t end = free_end(qp, o, &h);
    if (end - o > room) {
        if (a->n_msgs > 0 && h.base_offset == o) {
            return SERVED_FULL; /* another member gets the batch whole */
        }
        end = o + room;
    }
    end = end - o > LEASE_MESSAGES ? o + LEASE_MESSAGES : end;
    struct lot *lot = lot_of(a, qp);
    lot_batch(a, lot, batch, &h);
    end = add_batches(a, qp, lot, o, end, room, &h);
    acked_take(&qp->set, o, end - 1);
    struct lease *l = give(a, qp, o, end - 1);
    lot_range(lot, o, end - 1, 1, l->id, NULL);
    qp->next = acked_next_free(&qp->set, end);
    return SERVED;
}

static uint64_t room_for(const struct acquire *a)
{
    struct queue *q = a->q;
    const struct group_config *c = &q->g->conf;
    uint64_t room = a->max_msgs - a->n_msgs;
    const uint64_t member =
        a->member->leased < c->member_max ? c->member_max - a->member->leased : 0;
    const uint64_t group = q->leased < c->max_concurrency ? c->max_concurrency - q->leased : 0;
    const uint32_t quantum = rate_quantum(&q->rate, q->ahead, core_mono_ns(q->g->co));

    room = room < member ? room : member;
    room = room < group ? room : group;
    if (quantum != UINT32_MAX) {
        const uint64_t paced = quantum > a->n_msgs ? quantum - a->n_msgs : 0;
        room = room < paced ? room : paced;
    }
    return room;
}

void acquire_fill(struct acquire *a)
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
        if (s == SERVED_BLOCKED) {
            qp_block(qp);
        }
        if (s == SERVED_FULL) {
            break;
        }
    }
}
