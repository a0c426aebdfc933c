/*
 * PRODUCE. Happy path: decode, hand the batch to the core, answer when it is durable. Who owns
 * what: the request is ours until its answer; the core keeps its own reference to the batch's
 * bytes.
 */
#include <stdlib.h>

#include "broker/session.h"

struct produce {
    struct core_produce rq;
    struct conn *c;
    uint32_t corr;
    size_t bytes;
};

static void put_error(struct produce *p)
{
    const struct core_produce *rq = &p->rq;
    const struct frame_detail seq[] = {{"expected", NULL, rq->expected_seq},
                                       {"got", NULL, rq->got_seq}};
    size_t n = rq->err.code == WERR_OUT_OF_ORDER_SEQ ? 2 : 0;

    conn_put_error(p->c, p->corr, &rq->err, seq, n);
}

static void done(struct core_produce *rq)
{
    struct produce *p = rq->arg;
    struct conn *c = p->c;

    if (rq->err.code == WERR_OK && c->state != CONN_CLOSED) {
        msg_put_produce_ok(conn_ctl(c), p->corr, &rq->ok);
        conn_sent(c);
    } else {
        put_error(p);
    }
    conn_finish(c, p->bytes);
    free(p);
}

enum werr cmd_produce(struct cmd *m, struct werror *e)
{
    struct msg_produce in;
    enum werr rc = msg_get_produce(&m->args, &in, e);
    struct produce *p;
    struct blob *b;

    if (rc != WERR_OK) {
        return rc;
    }
    p = calloc(1, sizeof *p);
    /* small batches get bytes of their own size, so that they never pin a big buffer */
    b = m->owner != NULL ? blob_ref(m->owner) : blob_copy(in.batch.p, in.batch.n);
    if (p == NULL || b == NULL) {
        free(p);
        blob_unref(b);
        return werror_set(e, WERR_OVERLOADED, "no memory for a batch of %zu bytes", in.batch.n);
    }
    p->c = m->c;
    p->corr = m->corr;
    p->bytes = in.batch.n;
    p->rq.tid = in.tid;
    p->rq.p = in.p;
    p->rq.deliver_at_ms = in.deliver_at_ms;
    p->rq.batch = (struct bytes){b, m->owner != NULL ? in.batch.p : b->p, in.batch.n};
    p->rq.done = done;
    p->rq.arg = p;
    conn_begin(m->c, p->bytes);
    core_produce(m->srv->core, &p->rq);
    blob_unref(b);
    return WERR_OK;
}
