/*
 * Messages that were delivered before: counted, waiting for their turn, or dead. One object and,
 * while it matters, one row each.
 */
#include "broker/core/mem.h"
#include "broker/core/queue_impl.h"

static const int64_t MS_NS = 1000000;

static struct core *core_of(const struct retry *r)
{
    return r->qp->gp->group->co;
}

struct retry *retry_find(struct queue_part *qp, uint64_t offset)
{
    struct retry *r = NULL;

    HASH_FIND(hh, qp->retries, &offset, sizeof offset, r);
    return r;
}

static void on_due(struct timer *t)
{
    struct retry *r = (struct retry *)(void *)((char *)t - offsetof(struct retry, due));

    retry_wait(r, 0);
}

struct retry *retry_get(struct queue_part *qp, uint64_t offset)
{
    struct retry *r = retry_find(qp, offset);

    if (r == NULL) {
        r = core_calloc(1, sizeof *r);
        r->offset = offset;
        r->qp = qp;
        r->state = RETRY_LEASED;
        r->due.fire = on_due;
        HASH_ADD(hh, qp->retries, offset, sizeof r->offset, r);
    }
    return r;
}

void retry_count(struct retry *r)
{
    r->qp->q->retrying += !r->counted;
    r->counted = true;
}

/* Out of whatever list its state keeps it in. */
static void unplace(struct retry *r)
{
    if (r->state == RETRY_READY) {
        TAILQ_REMOVE(&r->qp->ready, r, link);
    } else if (r->state == RETRY_MOVING) {
        TAILQ_REMOVE(&r->qp->moving, r, link);
    }
    timer_unset(&core_of(r)->timers, &r->due);
    r->state = RETRY_LEASED;
}

void retry_dirty(struct retry *r)
{
    if (!r->dirty) {
        r->dirty = true;
        TAILQ_INSERT_TAIL(&r->qp->dirty_retries, r, in_dirty);
    }
    qp_dirty(r->qp);
}

void retry_free(struct retry *r)
{
    struct queue_part *qp = r->qp;
    const bool moving = r->state == RETRY_MOVING;

    unplace(r);
    if (r->dirty) {
        TAILQ_REMOVE(&qp->dirty_retries, r, in_dirty);
    }
    if (r->stored && !moving) {
        qp_gone(qp, META_RETRY, r->offset);
    }
    HASH_DEL(qp->retries, r);
    qp->q->retrying -= r->counted;
    queue_unblock(qp->q);
    lane_leave(r);
    free(r->reason);
    free(r);
}

void retry_reason(struct retry *r, struct slice reason)
{
    const size_t n = reason.n < LIMIT_REASON ? reason.n : LIMIT_REASON;

    free(r->reason);
    r->reason = NULL;
    if (n > 0) {
        r->reason = core_calloc(n + 1, 1);
        memcpy(r->reason, reason.p, n);
    }
}

void retry_place(struct retry *r, int64_t due_ms)
{
    struct core *co = core_of(r);
    const int64_t wait_ms = due_ms - core_wall_ms(co);

    unplace(r);
    r->due_ms = due_ms;
    if (wait_ms > 0) {
        r->state = RETRY_WAITING;
        timer_set(&co->timers, &r->due, core_mono_ns(co) + wait_ms * MS_NS);
    } else {
        r->state = RETRY_READY;
        TAILQ_INSERT_TAIL(&r->qp->ready, r, link);
    }
    qp_look(r->qp);
}

void retry_wait_until(struct retry *r, int64_t due_ms)
{
    retry_place(r, due_ms);
    retry_dirty(r);
}

void retry_wait(struct retry *r, int64_t delay_ms)
{
    struct core *co = core_of(r);

    unplace(r);
    if (delay_ms > 0) {
        r->state = RETRY_WAITING;
        r->due_ms = core_wall_ms(co) + delay_ms;
        timer_set(&co->timers, &r->due, core_mono_ns(co) + delay_ms * MS_NS);
    } else {
        r->state = RETRY_READY;
        TAILQ_INSERT_TAIL(&r->qp->ready, r, link);
        qp_look(r->qp);
    }
}

void retry_dead(struct retry *r)
{
    struct dead_letter *d = core_calloc(1, sizeof *d);
    struct core *co = core_of(r);

    unplace(r);
    lane_leave(r);
    r->state = RETRY_DEAD;
    d->gp = r->qp->gp;
    d->offset = r->offset;
    d->attempts = r->deliveries;
    d->first_ms = r->first_ms;
    d->last_ms = r->last_ms;
    if (r->reason != NULL) {
        memcpy(d->reason, r->reason, strlen(r->reason) + 1);
    }
    co->gstats.dead++;
    dlq_add(co, d);
}

int64_t retry_backoff_ms(struct queue *q, uint32_t deliveries)
{
    const struct group_config *c = &q->g->conf;
    struct core *co = q->g->co;
    uint64_t ms = c->backoff_ms;

    for (uint32_t i = 1; i < deliveries && ms < c->backoff_max_ms; i++) {
        ms *= 2;
    }
    ms = ms < c->backoff_max_ms ? ms : c->backoff_max_ms;
    return (int64_t)(ms * 4 / 5 + (ms > 0 ? co->env.random(co->env.arg) % (ms * 2 / 5 + 1) : 0));
}

void retry_failed(struct queue_part *qp, struct retry *r, uint64_t offset, const struct lease *l,
                  struct slice reason, int64_t delay_ms)
{
    const uint64_t max = qp->q->g->conf.max_deliver;

    r = r != NULL ? r : retry_get(qp, offset);
    if (r->deliveries == 0) {
        r->first_ms = l->since_ms;
    }
    r->deliveries++;
    retry_count(r);
    r->last_ms = l->since_ms;
    r->last_lease = l->id;
    retry_reason(r, reason);
    if (max > 0 && r->deliveries >= max) {
        retry_dead(r);
    } else {
        retry_wait(r, delay_ms >= 0 ? delay_ms : retry_backoff_ms(qp->q, r->deliveries));
    }
    retry_dirty(r);
}
