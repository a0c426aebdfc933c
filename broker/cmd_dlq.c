/* Dead letters: DLQ_LIST answers at once, DLQ_REDRIVE and DLQ_PURGE when durable. */
#include <stdlib.h>

#include "broker/core/core_group.h"
#include "broker/session.h"

enum werr cmd_dlq_list(struct cmd *m, struct werror *e)
{
    struct msg_dlq_list in;
    struct msg_dlq_range *ranges = NULL;
    size_t n = 0;
    bool has_next = false;
    uint64_t next = 0;
    enum werr rc = msg_get_dlq_list(&m->args, &in, e);

    if (rc == WERR_OK) {
        rc = core_dlq_list(m->srv->core, &in, &ranges, &n, &has_next, &next, e);
    }
    if (rc == WERR_OK) {
        msg_put_dlq_list_ok(conn_ctl(m->c), m->corr, ranges, n, has_next, next);
        conn_sent(m->c);
    }
    free(ranges);
    return rc;
}

struct move {
    struct core_dlq_rq rq;
    struct conn *c;
    uint32_t corr;
};

static void move_done(struct core_dlq_rq *rq)
{
    struct move *v = rq->arg;
    struct conn *c = v->c;

    if (rq->err.code != WERR_OK) {
        conn_put_error(c, v->corr, &rq->err, NULL, 0);
    } else if (c->state != CONN_CLOSED) {
        msg_put_dlq_moved(conn_ctl(c), v->corr, rq->moved, rq->skipped);
        conn_sent(c);
    }
    conn_finish(c, 0);
    free(v);
}

static enum werr begin(struct cmd *m, struct msg_dlq_move *in,
                       void (*fn)(struct core *co, struct core_dlq_rq *rq), struct werror *e)
{
    struct msg_dlq_span *spans = calloc(in->n_spans > 0 ? in->n_spans : 1, sizeof *spans);
    struct move *v = calloc(1, sizeof *v);
    enum werr rc = WERR_OK;

    if (spans == NULL || v == NULL) {
        free(v);
        rc = werror_set(e, WERR_OVERLOADED, "no memory for %u spans", in->n_spans);
        goto out;
    }
    while (v->rq.n < in->n_spans && msg_next_dlq_span(&in->spans, &spans[v->rq.n])) {
        v->rq.n++;
    }
    v->c = m->c;
    v->corr = m->corr;
    v->rq.topic = in->topic;
    v->rq.spans = spans;
    v->rq.rate = in->rate;
    v->rq.dry_run = in->dry_run;
    v->rq.done = move_done;
    v->rq.arg = v;
    conn_begin(m->c, 0);
    fn(m->srv->core, &v->rq);
out:
    free(spans);
    return rc;
}

enum werr cmd_dlq_redrive(struct cmd *m, struct werror *e)
{
    struct msg_dlq_move in;
    enum werr rc = msg_get_dlq_redrive(&m->args, &in, e);

    return rc != WERR_OK ? rc : begin(m, &in, core_dlq_redrive, e);
}

enum werr cmd_dlq_purge(struct cmd *m, struct werror *e)
{
    struct msg_dlq_move in;
    enum werr rc = msg_get_dlq_purge(&m->args, &in, e);

    return rc != WERR_OK ? rc : begin(m, &in, core_dlq_purge, e);
}
