/*
 * ACQUIRE: a long-poll that counts like a FETCH, its answer refers to stored batches. SETTLE: what
 * became of messages, answered when durable. Who owns what: a waiting acquire is on its
 * connection's list and ends with the connection or its seat; what the core leased for it meanwhile
 * is given again to the same attempt.
 */
#include <stdlib.h>

#include "broker/members.h"
#include "broker/reply.h"
#include "broker/session.h"

enum { ACQUIRE_MAX_BYTES = CONN_PIECE_MAX, ACQUIRE_CHARGE_MIN = 4 << 10, ACQUIRE_SHARE = 8 };

/* ---------------------------------------------------------------- ACQUIRE */

struct acquire {
    struct core_acquire_rq rq;
    LIST_ENTRY(acquire) of_conn;
    struct conn *c;
    struct as_member as;
    uint32_t corr;
    size_t charge;
};

static void acquire_free(struct acquire *a)
{
    LIST_REMOVE(a, of_conn);
    conn_finish(a->c, a->charge);
    free(a);
}

static void acquire_answer(struct acquire *a)
{
    struct reply r;

    reply_init(&r);
    (void)msg_begin_acquire_ok(&r.heads, a->corr, a->rq.n_lots);
    for (size_t i = 0; i < a->rq.n_lots; i++) {
        struct core_lot *lot = &a->rq.lots[i];
        msg_put_acquired_head(&r.heads, lot->tid, lot->p, lot->ranges, lot->n_ranges, lot->data.n);
        if (lot->data.n > 0) {
            reply_data(&r, lot->data);
            lot->data = (struct bytes){NULL, NULL, 0}; /* the reply's now */
        }
    }
    reply_send(&r, a->c);
}

static void acquire_done(struct core_acquire_rq *rq)
{
    struct acquire *a = rq->arg;

    if (rq->err.code != WERR_OK) {
        conn_put_error(a->c, a->corr, &rq->err, NULL, 0);
    } else if (a->c->state != CONN_CLOSED) {
        acquire_answer(a);
    }
    core_acquire_fini(rq);
    acquire_free(a);
}

void acquires_end(struct conn *c, const struct as_member *as, enum werr why)
{
    struct acquire *a, *next;
    struct werror e;

    (void)werror_set(&e, why, "%s", werr_text(why));

    for (a = LIST_FIRST(&c->acquires); a != NULL; a = next) {
        next = LIST_NEXT(a, of_conn);
        if (as == NULL || as_member_is(&a->as, as)) {
            core_acquire_cancel(&a->rq);
            conn_put_error(c, a->corr, &e, NULL, 0);
            acquire_free(a);
        }
    }
}

/* A waiting acquire counts as what it may answer with. Members of one connection share that, so
 * that all of them can wait and their verdicts are still read. */
static uint32_t byte_limit(const struct conn *c, uint32_t asked)
{
    const uint32_t share =
        (uint32_t)c->srv->conf->max_request_bytes / ACQUIRE_SHARE / (c->n_seats + 1);
    const uint32_t most = share < ACQUIRE_MAX_BYTES ? share : ACQUIRE_MAX_BYTES;

    return asked < most ? asked : most;
}

enum werr cmd_acquire(struct cmd *m, struct werror *e)
{
    struct msg_acquire in;
    struct acquire *a;
    enum werr rc = msg_get_acquire(&m->args, &in, e);

    if (rc != WERR_OK) {
        return rc;
    }
    a = calloc(1, sizeof *a);
    if (a == NULL) {
        return werror_set(e, WERR_OVERLOADED, "no memory for an acquire");
    }
    if (!as_member_set(&a->as, &in.who)) {
        free(a);
        return werror_set(e, WERR_UNKNOWN_MEMBER, "%s", werr_text(WERR_UNKNOWN_MEMBER));
    }
    a->c = m->c;
    a->corr = m->corr;
    a->rq.who = a->as.who;
    a->rq.max_msgs = in.max_msgs;
    a->rq.max_bytes = byte_limit(m->c, in.max_bytes);
    a->rq.max_wait_ms = in.max_wait_ms;
    a->rq.lease_ms = in.lease_ms;
    a->rq.attempt = in.attempt;
    a->rq.done = acquire_done;
    a->rq.arg = a;
    a->charge = a->rq.max_bytes > ACQUIRE_CHARGE_MIN ? a->rq.max_bytes : ACQUIRE_CHARGE_MIN;
    conn_begin(m->c, a->charge);
    LIST_INSERT_HEAD(&m->c->acquires, a, of_conn);
    core_acquire(m->srv->core, &a->rq);
    return WERR_OK;
}

/* ---------------------------------------------------------------- SETTLE */

struct settle {
    struct core_settle_rq rq;
    struct conn *c;
    uint32_t corr;
};

static void settle_done(struct core_settle_rq *rq)
{
    struct settle *s = rq->arg;
    struct conn *c = s->c;

    if (rq->err.code != WERR_OK) {
        conn_put_error(c, s->corr, &rq->err, NULL, 0);
    } else if (c->state != CONN_CLOSED) {
        msg_put_results(conn_ctl(c), s->corr, rq->results, rq->n);
        conn_sent(c);
    }
    conn_finish(c, 0);
    free(rq->results);
    free(s);
}

enum werr cmd_settle(struct cmd *m, struct werror *e)
{
    struct msg_settle in;
    struct msg_settle_item *items = NULL;
    struct settle *s = NULL;
    enum werr rc = msg_get_settle(&m->args, &in, e);

    if (rc != WERR_OK) {
        return rc;
    }
    items = calloc(in.n_items > 0 ? in.n_items : 1, sizeof *items);
    s = calloc(1, sizeof *s);
    if (items == NULL || s == NULL) {
        free(s);
        rc = werror_set(e, WERR_OVERLOADED, "no memory for %u results", in.n_items);
        goto out;
    }
    while (s->rq.n < in.n_items && msg_next_settle_item(&in.items, &items[s->rq.n])) {
        s->rq.n++;
    }
    s->c = m->c;
    s->corr = m->corr;
    s->rq.who = in.who;
    s->rq.items = items;
    s->rq.done = settle_done;
    s->rq.arg = s;
    conn_begin(m->c, 0);
    core_settle(m->srv->core, &s->rq);
out:
    free(items);
    return rc;
}
