/*
 * ACQUIRE: the request, its checks, and how it ends before its time.
 *
 * Happy path: it waits in its group's line until the pump gives it something, or its time is up.
 * What can fail: the checks; a cancelled or fenced one is answered or forgotten at once, and what a
 * flight under way leased for it stays leased to the member, for the same attempt.
 */
#include "broker/core/acquire_impl.h"
#include "broker/core/mem.h"

static const int64_t MS_NS = 1000000;

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
    /* NOLINTNEXTLINE(clang-analyzer-*): never NULL here */
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
    if (m->attempt == rq->attempt && acquire_collect(a)) {
        acquire_repeat(a);
        return;
    }
    m->attempt = rq->attempt;
    a->state = ACQ_WAITING;
    TAILQ_INSERT_TAIL(&a->q->waiting, a, link);
    const uint32_t wait_ms =
        rq->max_wait_ms < LIMIT_ACQUIRE_WAIT_MS ? rq->max_wait_ms : LIMIT_ACQUIRE_WAIT_MS;
    timer_set(&co->timers, &a->timeout, core_mono_ns(co) + wait_ms * MS_NS);
    queue_pump(a->q);
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
    const bool restored = m->restored;

    m->restored = false; /* it is not forgotten with its last lease: the caller removes it */
    while ((l = LIST_FIRST(&m->leases)) != NULL) {
        lease_release(l);
    }
    m->restored = restored;
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

/* Leases that were asked for with a time of their own last so long, session or not: somebody else
 * of the same id has them, as after a restart. */
static void keep_hard(struct member *m)
{
    struct member *heir = NULL;
    struct lease *l, *next;

    for (l = LIST_FIRST(&m->leases); l != NULL; l = next) {
        next = LIST_NEXT(l, of_member);
        if (l->hard) {
            heir = heir != NULL ? heir : member_restore(m->group, m->id);
            lease_move(l, heir);
        }
    }
    if (heir != NULL) {
        heir->attempt = m->attempt;
    }
}

void queue_member_gone(struct member *m, const char *why)
{
    struct lease *l;
    const bool restored = m->restored;

    end_acquires(m, WERR_UNKNOWN_MEMBER);
    if (m->session == NULL && !restored) { /* lost, not fenced */
        keep_hard(m);
    }
    m->restored = false; /* it is not forgotten with its last lease: we hold it */
    while ((l = LIST_FIRST(&m->leases)) != NULL) {
        lease_fail(l, why);
    }
    m->restored = restored;
}
