/* Delayed messages that wait: CANCEL_DELAYED and DELAYED_LIST. */
#include <stdlib.h>

#include "broker/core/core_group.h"
#include "broker/session.h"

/* ---------------------------------------------------------------- CANCEL_DELAYED */

struct cancel {
    struct core_cancel_rq rq;
    struct conn *c;
    uint32_t corr;
};

static void cancel_done(struct core_cancel_rq *rq)
{
    struct cancel *k = rq->arg;
    struct conn *c = k->c;

    if (rq->err.code != WERR_OK) {
        conn_put_error(c, k->corr, &rq->err, NULL, 0);
    } else if (c->state != CONN_CLOSED) {
        msg_put_cancel_ok(conn_ctl(c), k->corr, rq->status, rq->n);
        conn_sent(c);
    }
    conn_finish(c, 0);
    free(rq->status);
    free(k);
}

enum werr cmd_cancel_delayed(struct cmd *m, struct werror *e)
{
    struct msg_cancel_rq in;
    struct slice *ids = NULL;
    struct cancel *k = NULL;
    enum werr rc = msg_get_cancel(&m->args, &in, e);

    if (rc != WERR_OK) {
        return rc;
    }
    ids = calloc(in.n_ids > 0 ? in.n_ids : 1, sizeof *ids);
    k = calloc(1, sizeof *k);
    if (ids == NULL || k == NULL) {
        free(k);
        rc = werror_set(e, WERR_OVERLOADED, "no memory for %u ids", in.n_ids);
        goto out;
    }
    while (k->rq.n < in.n_ids && msg_next_name(&in.ids, &ids[k->rq.n])) {
        k->rq.n++;
    }
    k->c = m->c;
    k->corr = m->corr;
    k->rq.tid = in.tid;
    k->rq.ids = ids;
    k->rq.done = cancel_done;
    k->rq.arg = k;
    conn_begin(m->c, 0);
    core_delay_cancel(m->srv->core, &k->rq);
out:
    free(ids);
    return rc;
}

/* ---------------------------------------------------------------- DELAYED_LIST */

struct listing {
    struct core_delayed_rq rq;
    struct conn *c;
    uint32_t corr;
};

static void listed(struct core_delayed_rq *rq)
{
    struct listing *l = rq->arg;
    struct conn *c = l->c;

    if (rq->err.code != WERR_OK) {
        conn_put_error(c, l->corr, &rq->err, NULL, 0);
    } else if (c->state != CONN_CLOSED) {
        const struct slice next =
            rq->more && rq->n > 0 ? rq->items[rq->n - 1].id : (struct slice){NULL, 0};
        msg_put_delayed_list_ok(conn_ctl(c), l->corr, rq->items, rq->n, next);
        conn_sent(c);
    }
    conn_finish(c, 0);
    free(rq->items);
    free(rq->text);
    free(l);
}

enum werr cmd_delayed_list(struct cmd *m, struct werror *e)
{
    struct listing *l = calloc(1, sizeof *l);
    enum werr rc;

    if (l == NULL) {
        return werror_set(e, WERR_OVERLOADED, "no memory for a listing");
    }
    rc = msg_get_delayed_list(&m->args, &l->rq.tid, &l->rq.after, &l->rq.limit, e);
    if (rc != WERR_OK) {
        free(l);
        return rc;
    }
    l->c = m->c;
    l->corr = m->corr;
    l->rq.done = listed;
    l->rq.arg = l;
    conn_begin(m->c, 0);
    core_delay_list(m->srv->core, &l->rq);
    return WERR_OK;
}
