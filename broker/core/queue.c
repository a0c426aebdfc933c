/*
 * Queue mode: whose turn it is, when leases are durable, and the pace of answers.
 *
 * Happy path: the pump fills waiting acquires, oldest first; each flies with the rows of its
 * leases; when they are durable it is answered, at the pace of max_rate. What can fail: the flight:
 * leases are undone. Who owns what: an acquire belongs to the member's and the group's lists until
 * it is answered or cancelled; the request belongs to its caller.
 */
#include "broker/core/acquire_impl.h"
#include "broker/core/mem.h"

static const int64_t MS_NS = 1000000;

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
    a->ahead = true;
    a->q->ahead += a->n_msgs;
    timer_unset(&co->timers, &a->timeout);
    a->waiter.run = fly_end;
    group_ref(a->q->g);
    flight_wait(co, &a->waiter);
}

void queue_pump(struct queue *q)
{
    struct acquire *a, *next;

    if (q->paused || q->g->co->draining) {
        return;
    }
    for (a = TAILQ_FIRST(&q->waiting); a != NULL && !TAILQ_EMPTY(&q->ready); a = next) {
        if (q->leased >= q->g->conf.max_concurrency ||
            rate_quantum(&q->rate, q->ahead, core_mono_ns(q->g->co)) == 0) {
            return; /* no room for anybody: what makes room pumps again */
        }
        next = TAILQ_NEXT(a, link);
        acquire_fill(a);
        if (a->n_msgs > 0) {
            fly(a);
        }
    }
}

static void on_pump(struct timer *t)
{
    queue_pump((struct queue *)(void *)((char *)t - offsetof(struct queue, pump_soon)));
}

void queue_pump_soon(struct queue *q)
{
    if (!timer_is_set(&q->pump_soon) && !TAILQ_EMPTY(&q->waiting) && !q->g->co->closing) {
        timer_set(&q->g->co->timers, &q->pump_soon, core_mono_ns(q->g->co));
    }
}

/* ---------------------------------------------------------------- limits of the group */

static bool too_many_retries(const struct queue *q)
{
    const uint64_t more = 10 * q->g->conf.max_concurrency;

    return q->retrying >= (more > QUEUE_RETRIES ? more : QUEUE_RETRIES);
}

bool queue_refuses_fresh(const struct queue *q)
{
    return too_many_retries(q) || q->parked >= PARKED_MAX;
}

void queue_unblock(struct queue *q)
{
    struct queue_part *qp;

    while (!queue_refuses_fresh(q) && (qp = TAILQ_FIRST(&q->blocked)) != NULL) {
        TAILQ_REMOVE(&q->blocked, qp, link);
        qp->blocked = false;
        qp->listed = true;
        TAILQ_INSERT_TAIL(&q->ready, qp, link);
        queue_pump_soon(q);
    }
}

/* ---------------------------------------------------------------- the group */

void queue_new(struct core_group *g)
{
    struct queue *q = core_calloc(1, sizeof *q);

    q->g = g;
    TAILQ_INIT(&q->ready);
    TAILQ_INIT(&q->blocked);
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
    queue_unblock(g->queue);
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
    return too_many_retries(q) ? "blocked: too many retries" : NULL;
}
