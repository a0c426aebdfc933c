/*
 * Looking at groups and changing them: GROUP_LIST and GROUP_DESCRIBE answer at once; GROUP_RESET,
 * GROUP_DELETE and GROUP_ALTER when durable.
 */
#include <stdlib.h>

#include "broker/core/core_group.h"
#include "broker/session.h"

enum { LIST_DEFAULT = 1000 };

/* ---------------------------------------------------------------- looking */

/* Rows first, into a buffer of their own: their number stands in front, and a row's texts hold only
 * until the next question to the core. */
enum werr cmd_group_list(struct cmd *m, struct werror *e)
{
    struct core *co = m->srv->core;
    struct slice after, next = {NULL, 0};
    char last[LIMIT_NAME];
    struct msg_group_row row;
    struct core_group *g;
    struct buf rows = {0};
    uint32_t limit, n = 0;
    size_t at;
    enum werr rc = msg_get_group_list(&m->args, &after, &limit, e);

    if (rc != WERR_OK) {
        return rc;
    }
    limit = limit == 0 || limit > LIST_DEFAULT ? LIST_DEFAULT : limit;
    for (g = core_group_after(co, after); g != NULL && n < limit; n++) {
        core_group_row(co, g, &row);
        msg_put_group_row(&rows, &row);
        memcpy(last, row.name.p, row.name.n);
        next = slice_of(last, row.name.n);
        g = core_group_after(co, next);
    }
    if (g == NULL) {
        next = (struct slice){NULL, 0};
    }
    if (rows.failed) {
        rc = werror_set(e, WERR_OVERLOADED, "no memory for %u groups", n);
        goto out;
    }
    at = msg_begin_group_list_ok(conn_ctl(m->c), m->corr, n);
    buf_put(conn_ctl(m->c), rows.p, rows.len);
    msg_end_group_list_ok(conn_ctl(m->c), at, next);
    conn_sent(m->c);
out:
    buf_fini(&rows);
    return rc;
}

static enum werr unknown_group(struct slice name, struct werror *e)
{
    return werror_set(e, WERR_UNKNOWN_GROUP, "no group is called %.*s",
                      (int)(name.n < LIMIT_NAME ? name.n : LIMIT_NAME), (const char *)name.p);
}

enum werr cmd_group_describe(struct cmd *m, struct werror *e)
{
    struct msg_group_describe d;
    struct msg_group_member *members = NULL;
    struct msg_group_part *parts = NULL;
    size_t n_members = 0, n_parts = 0;
    struct slice name;
    enum werr rc = msg_get_group_name(&m->args, &name, e);

    if (rc != WERR_OK) {
        return rc;
    }
    struct core_group *g = core_group_by_name(m->srv->core, name);
    if (g == NULL) {
        return unknown_group(name, e);
    }
    core_group_describe(m->srv->core, g, &d, &members, &n_members, &parts, &n_parts);
    msg_put_group_describe_ok(conn_ctl(m->c), m->corr, &d, members, n_members, parts, n_parts);
    conn_sent(m->c);
    free(members);
    free(parts);
    return WERR_OK;
}

/* ---------------------------------------------------------------- GROUP_RESET */

struct reset {
    struct core_reset_rq rq;
    struct conn *c;
    uint32_t corr;
};

static void reset_done(struct core_reset_rq *rq)
{
    struct reset *r = rq->arg;
    struct conn *c = r->c;

    if (rq->err.code != WERR_OK) {
        conn_put_error(c, r->corr, &rq->err, NULL, 0);
    } else if (c->state != CONN_CLOSED) {
        msg_put_reset_ok(conn_ctl(c), r->corr, rq->results, rq->n);
        conn_sent(c);
    }
    conn_finish(c, 0);
    free(rq->results);
    free(r);
}

enum werr cmd_group_reset(struct cmd *m, struct werror *e)
{
    struct msg_reset in;
    struct msg_reset_item *items = NULL;
    struct reset *r = NULL;
    enum werr rc = msg_get_reset(&m->args, &in, e);

    if (rc != WERR_OK) {
        return rc;
    }
    items = calloc(in.n_items > 0 ? in.n_items : 1, sizeof *items);
    r = calloc(1, sizeof *r);
    if (items == NULL || r == NULL) {
        free(r);
        rc = werror_set(e, WERR_OVERLOADED, "no memory for %u positions", in.n_items);
        goto out;
    }
    while (r->rq.n < in.n_items && msg_next_reset_item(&in.items, &items[r->rq.n])) {
        r->rq.n++;
    }
    r->c = m->c;
    r->corr = m->corr;
    r->rq.group = in.group;
    r->rq.items = items;
    r->rq.force = in.force;
    r->rq.dry_run = in.dry_run;
    r->rq.done = reset_done;
    r->rq.arg = r;
    conn_begin(m->c, 0);
    core_group_reset(m->srv->core, &r->rq);
out:
    free(items);
    return rc;
}

/* ---------------------------------------------------------------- GROUP_DELETE */

struct deletion {
    struct core_simple_rq rq;
    struct conn *c;
    uint32_t corr;
};

static void deleted(struct core_simple_rq *rq)
{
    struct deletion *d = rq->arg;
    struct conn *c = d->c;

    if (rq->err.code != WERR_OK) {
        conn_put_error(c, d->corr, &rq->err, NULL, 0);
    } else if (c->state != CONN_CLOSED) {
        msg_put_ok(conn_ctl(c), d->corr);
        conn_sent(c);
    }
    conn_finish(c, 0);
    free(d);
}

enum werr cmd_group_delete(struct cmd *m, struct werror *e)
{
    struct msg_group_delete in;
    struct deletion *d;
    enum werr rc = msg_get_group_delete(&m->args, &in, e);

    if (rc != WERR_OK) {
        return rc;
    }
    d = calloc(1, sizeof *d);
    if (d == NULL) {
        return werror_set(e, WERR_OVERLOADED, "no memory for a request");
    }
    d->c = m->c;
    d->corr = m->corr;
    d->rq.who.group = in.group;
    d->rq.force = in.force;
    d->rq.dry_run = in.dry_run;
    d->rq.done = deleted;
    d->rq.arg = d;
    conn_begin(m->c, 0);
    core_group_delete(m->srv->core, &d->rq);
    return WERR_OK;
}

/* ---------------------------------------------------------------- GROUP_ALTER */

struct alter {
    struct core_alter_rq rq;
    struct conn *c;
    uint32_t corr;
};

static void altered(struct core_alter_rq *rq)
{
    struct alter *a = rq->arg;
    struct conn *c = a->c;

    if (rq->err.code != WERR_OK) {
        conn_put_error(c, a->corr, &rq->err, NULL, 0);
    } else if (c->state != CONN_CLOSED) {
        msg_put_group_alter_ok(conn_ctl(c), a->corr, &rq->result);
        conn_sent(c);
    }
    conn_finish(c, 0);
    free(a);
}

enum werr cmd_group_alter(struct cmd *m, struct werror *e)
{
    struct msg_group_alter in;
    struct alter *a;
    enum werr rc = msg_get_group_alter(&m->args, &in, e);

    if (rc != WERR_OK) {
        return rc;
    }
    a = calloc(1, sizeof *a);
    if (a == NULL) {
        return werror_set(e, WERR_OVERLOADED, "no memory for a request");
    }
    a->c = m->c;
    a->corr = m->corr;
    a->rq.group = in.group;
    a->rq.conf = in.conf;
    a->rq.dry_run = in.dry_run;
    a->rq.done = altered;
    a->rq.arg = a;
    conn_begin(m->c, 0);
    core_group_alter(m->srv->core, &a->rq);
    return WERR_OK;
}
