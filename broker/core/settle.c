/*
 * SETTLE: what became of leased messages. Each item is checked as a whole, then applied to memory;
 * the rows go with the flight of the turn, the answer comes when it is durable.
 */
#include "broker/core/mem.h"
#include "broker/core/queue_impl.h"
#include "proto/killpoint.h"

enum { FULL_RETRY_MS = 1000, SPAN_MAX = 65536 };
static const uint64_t NACK_MAX_MS = UINT64_C(12) * 3600 * 1000;

struct settle_wait {
    struct waiter waiter;
    struct core_settle_rq *rq;
};

static void settle_end(struct waiter *w, enum werr rc, const struct werror *e)
{
    struct core_settle_rq *rq = ((struct settle_wait *)(void *)w)->rq;

    WEIR_KILLPOINT(settle_before);
    free(w);
    if (rc != WERR_OK) {
        werror_set(&rq->err, rc, "%s", e != NULL ? e->text : werr_text(rc));
        rq->err.retry_after_ms = rc == WERR_STORAGE_FULL ? FULL_RETRY_MS : 0;
        free(rq->results);
        rq->results = NULL;
    }
    rq->done(rq);
}

static enum werr lost(const struct msg_settle_item *it, struct queue *q, struct werror *e)
{
    q->g->co->gstats.lease_lost++;
    return werror_set(e, WERR_LEASE_LOST,
                      "offsets %llu to %llu of partition %u are not all held under lease %llu",
                      (unsigned long long)it->first, (unsigned long long)it->last, it->p,
                      (unsigned long long)it->lease);
}

/* Every message of it is held under the lease; with `or_done`, or settled already. */
static bool covered(const struct queue_part *qp, const struct lease *l,
                    const struct msg_settle_item *it, bool or_done)
{
    if (or_done && it->last < qp->gp->floor) {
        return true;
    }
    if (it->last - it->first >= SPAN_MAX) {
        return false;
    }
    for (uint64_t o = it->first; o <= it->last; o++) {
        const bool held = l != NULL && lease_has(l, o);
        if (!held && !(or_done && (o < qp->gp->floor || acked_is_done(&qp->set, o)))) {
            return false;
        }
    }
    return true;
}

static void apply_one(struct queue_part *qp, struct lease *l, const struct msg_settle_item *it,
                      uint64_t o)
{
    struct core_group_stats *st = &qp->gp->group->co->gstats;
    struct retry *r = l->retry;

    switch (it->verb) {
    case VERB_ACK:
        st->acked++;
        if (r != NULL) {
            retry_free(r);
        }
        qp_settle(qp, o);
        break;
    case VERB_NACK:
        st->nacked++;
        retry_failed(qp, r, o, l, it->reason,
                     !it->has_arg ? -1 : (int64_t)(it->arg < NACK_MAX_MS ? it->arg : NACK_MAX_MS));
        break;
    case VERB_RELEASE: /* see apply */
        break;
    case VERB_DEAD:
        r = r != NULL ? r : retry_get(qp, o);
        r->first_ms = r->deliveries == 0 ? l->since_ms : r->first_ms;
        r->deliveries++;
        retry_count(r);
        r->last_ms = l->since_ms;
        r->last_lease = l->id;
        retry_reason(r, it->reason);
        retry_dead(r);
        retry_dirty(r);
        break;
    case VERB_EXTEND:
        break;
    }
}

static void apply(struct queue_part *qp, struct lease *l, const struct msg_settle_item *it)
{
    uint64_t left = l->n_left;

    for (uint64_t o = it->first; o <= it->last && left > 0; o++) {
        if (o >= l->first && o <= l->last && lease_has(l, o)) {
            left--;
            if (it->verb == VERB_RELEASE) {
                lease_release_one(l, o);
            } else {
                apply_one(qp, l, it, o);
                lease_drop(l, o);
            }
        }
    }
    qp_look(qp);
}

static enum werr settle_one(struct member *m, const struct msg_settle_item *it, bool *wait,
                            struct werror *e)
{
    struct queue *q = m->group->queue;
    struct part *pt = topic_part(m->group->co, it->tid, it->p, false, e);
    struct gpart *gp = pt != NULL ? gpart_find(m->group, pt->id) : NULL;
    struct lease *l = lease_find(q, it->lease);

    if (pt == NULL) {
        return e->code;
    }
    if (gp == NULL) {
        return lost(it, q, e);
    }
    if (l != NULL && (l->member != m || l->qp != gp->q)) {
        l = NULL;
    }
    if (!covered(gp->q, l, it, it->verb == VERB_ACK)) {
        return lost(it, q, e);
    }
    *wait = true;
    qp_dirty(gp->q); /* an ack that came again waits for the first one's flight */
    if (l == NULL) {
        return WERR_OK;
    }
    if (it->verb == VERB_EXTEND) {
        const uint64_t most = LIMIT_LEASE_MAX_MS;
        q->g->co->gstats.extended++;
        lease_deadline(l, !it->has_arg || it->arg == 0
                              ? l->span_ms
                              : (int64_t)(it->arg < most ? it->arg : most));
        return WERR_OK;
    }
    apply(gp->q, l, it);
    return WERR_OK;
}

void core_settle(struct core *co, struct core_settle_rq *rq)
{
    struct member *m = NULL;
    bool wait = false;

    rq->err = (struct werror){.code = WERR_OK};
    rq->results = NULL;
    if (group_refuse(co, &rq->err) != WERR_OK ||
        member_check(co, &rq->who, &m, &rq->err) != WERR_OK) {
        rq->done(rq);
        return;
    }
    if (m->group->mode != GROUP_MODE_QUEUE) {
        werror_set(&rq->err, WERR_GROUP_MODE, "group %s reads in log mode: it has no leases",
                   m->group->name);
        rq->done(rq);
        return;
    }
    const bool restored = m->restored;
    struct queue *q = m->group->queue;
    m->restored = false; /* it is not forgotten with its last lease: we look at it still */
    rq->results = core_calloc(rq->n, sizeof *rq->results);
    for (size_t i = 0; i < rq->n; i++) {
        (void)settle_one(m, &rq->items[i], &wait, &rq->results[i]);
    }
    m->restored = restored;
    member_forget_if_idle(m); /* m may be gone from here on */
    if (!wait) {
        rq->done(rq);
        return;
    }
    struct settle_wait *w = core_calloc(1, sizeof *w);
    w->waiter.run = settle_end;
    w->rq = rq;
    flight_wait(co, &w->waiter);
    queue_pump_soon(q);
}
