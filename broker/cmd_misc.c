/* PING, INIT_PRODUCER, METRICS. */
#include <stdlib.h>

#include "broker/clock.h"
#include "broker/metrics.h"
#include "broker/session.h"

enum werr cmd_ping(struct cmd *m, struct werror *e)
{
    enum werr rc = msg_get_empty(&m->args, e);

    if (rc == WERR_OK) {
        msg_put_ping_ok(conn_ctl(m->c), m->corr, clock_wall_ms());
        conn_sent(m->c);
    }
    return rc;
}

struct producer {
    struct core_producer_rq rq;
    struct conn *c;
    uint32_t corr;
};

static void producer_done(struct core_producer_rq *rq)
{
    struct producer *p = rq->arg;
    struct conn *c = p->c;

    if (rq->err.code != WERR_OK) {
        conn_put_error(c, p->corr, &rq->err, NULL, 0);
    } else if (c->state != CONN_CLOSED) {
        msg_put_init_producer_ok(conn_ctl(c), p->corr, rq->pid, rq->epoch, rq->pos, rq->n_pos);
        conn_sent(c);
    }
    conn_finish(c, 0);
    free(rq->pos);
    free(p);
}

enum werr cmd_init_producer(struct cmd *m, struct werror *e)
{
    struct msg_init_producer in;
    enum werr rc = msg_get_init_producer(&m->args, &in, e);
    struct producer *p;

    if (rc != WERR_OK) {
        return rc;
    }
    p = calloc(1, sizeof *p);
    if (p == NULL) {
        return werror_set(e, WERR_OVERLOADED, "no memory for a producer");
    }
    p->c = m->c;
    p->corr = m->corr;
    p->rq.name = in.name;
    p->rq.done = producer_done;
    p->rq.arg = p;
    conn_begin(m->c, 0);
    core_init_producer(m->srv->core, &p->rq);
    return WERR_OK;
}

/* Counts, then writes: the array's length stands in front. */
struct metric_out {
    struct buf *b; /* NULL: only count */
    struct slice prefix;
    size_t n;
};

static void put_metric(void *arg, const char *name, const char *label, const char *label_value,
                       uint64_t v)
{
    struct metric_out *out = arg;

    if (strncmp(name, out->prefix.n != 0 ? (const char *)out->prefix.p : "", out->prefix.n) != 0) {
        return;
    }
    out->n++;
    if (out->b != NULL) {
        msg_put_metric(out->b, name, label, label_value, v);
    }
}

enum werr cmd_metrics(struct cmd *m, struct werror *e)
{
    struct metric_out out = {0};
    enum werr rc = msg_get_metrics(&m->args, &out.prefix, e);
    struct metrics figures;
    size_t at;

    if (rc != WERR_OK) {
        return rc;
    }
    metrics_take(&figures, m->srv);
    metrics_walk(&figures, put_metric, &out);
    at = msg_begin_metrics_ok(conn_ctl(m->c), m->corr, out.n);
    out.b = conn_ctl(m->c);
    out.n = 0;
    metrics_walk(&figures, put_metric, &out);
    frame_end(conn_ctl(m->c), at, 0);
    conn_sent(m->c);
    return WERR_OK;
}
