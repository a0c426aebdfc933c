/*
 * FETCH: a stateless long-poll on top of the core's readers. LIST_OFFSETS: one answer for a list of
 * questions that finish one by one. Who owns what: requests are ours until the core is done with
 * them.
 */
#include <stdlib.h>

#include "broker/reply.h"
#include "broker/session.h"

/* A fetch counts as the bytes it may answer with, so that a connection cannot ask for more at once
 * than it may have in flight. */
enum { FETCH_MAX = CONN_OUTPUT_HIGH, FETCH_CHARGE_MIN = 4 << 10 };

struct fetch {
    struct core_fetch rq;
    struct conn *c;
    LIST_ENTRY(fetch) of_conn;
    uint32_t corr;
    size_t charge;
};

static bool same_part(const struct core_piece *a, const struct core_piece *b)
{
    return a->tid == b->tid && a->p == b->p;
}

/* The first piece of its partition: it makes the entry. */
static bool leads(const struct core_piece *p, size_t i)
{
    for (size_t k = 0; k < i; k++) {
        if (same_part(&p[k], &p[i])) {
            return false;
        }
    }
    return true;
}

/* One entry with all pieces of p[i]'s partition. An error behind data is left out: it comes again
 * once the client has read up to it. */
static void put_entry(struct reply *r, struct core_piece *p, size_t i, size_t n)
{
    const struct frame_detail d[] = {{"log_start", NULL, p[i].log_start}, {"hw", NULL, p[i].hw}};
    size_t bytes = 0;

    for (size_t k = i; k < n; k++) {
        bytes += same_part(&p[k], &p[i]) ? p[k].data.n : 0;
    }
    msg_put_fetch_part_head(&r->heads, p[i].tid, p[i].p, &p[i].err, d,
                            p[i].err.code == WERR_OFFSET_OUT_OF_RANGE ? 2 : 0, p[i].hw,
                            p[i].log_start, bytes);
    for (size_t k = i; k < n; k++) {
        if (same_part(&p[k], &p[i]) && p[k].data.n > 0) {
            reply_data(r, p[k].data);
            p[k].data = (struct bytes){NULL, NULL, 0}; /* the reply's now */
        }
    }
}

static void answer(struct fetch *f)
{
    struct core_piece *p = f->rq.pieces;
    size_t n = f->rq.n_pieces < REPLY_PARTS ? f->rq.n_pieces : REPLY_PARTS;
    size_t entries = 0;
    struct reply r;

    for (size_t i = 0; i < n; i++) {
        entries += leads(p, i);
    }
    reply_init(&r);
    (void)msg_begin_fetch_ok(&r.heads, f->corr, entries);
    for (size_t i = 0; i < n; i++) {
        if (leads(p, i)) {
            put_entry(&r, p, i, n);
        }
    }
    reply_send(&r, f->c);
}

static void fetch_free(struct fetch *f)
{
    LIST_REMOVE(f, of_conn);
    core_fetch_fini(&f->rq);
    conn_finish(f->c, f->charge);
    free(f);
}

static void fetch_done(struct core_fetch *rq)
{
    struct fetch *f = rq->arg;

    if (f->c->state != CONN_CLOSED) {
        answer(f);
    }
    fetch_free(f);
}

void fetches_cancel(struct conn *c)
{
    struct fetch *f;

    while ((f = LIST_FIRST(&c->fetches)) != NULL) {
        /* NOLINTNEXTLINE(clang-analyzer-*): each one unlinks itself */
        fetch_free(f);
    }
}

enum werr cmd_fetch(struct cmd *m, struct werror *e)
{
    struct msg_fetch in;
    enum werr rc = msg_get_fetch(&m->args, &in, e);
    struct fetch *f;

    if (rc != WERR_OK) {
        return rc;
    }
    f = calloc(1, sizeof *f);
    if (f == NULL) {
        return werror_set(e, WERR_OVERLOADED, "no memory for a fetch");
    }
    f->c = m->c;
    f->corr = m->corr;
    f->rq.max_wait_ms = in.max_wait_ms;
    f->rq.min_bytes = in.min_bytes;
    f->rq.max_bytes = in.max_bytes < FETCH_MAX ? in.max_bytes : FETCH_MAX;
    f->charge = f->rq.max_bytes > FETCH_CHARGE_MIN ? f->rq.max_bytes : FETCH_CHARGE_MIN;
    while (f->rq.n_parts < in.n_parts &&
           msg_next_fetch_part(&in.parts, &f->rq.parts[f->rq.n_parts])) {
        f->rq.n_parts++;
    }
    f->rq.done = fetch_done;
    f->rq.arg = f;
    conn_begin(m->c, f->charge);
    LIST_INSERT_HEAD(&m->c->fetches, f, of_conn);
    core_fetch(m->srv->core, &f->rq);
    return WERR_OK;
}

/* ---------------------------------------------------------------- LIST_OFFSETS */

struct offsets;
struct one_offset {
    struct core_offset_rq rq;
    struct offsets *all;
};
struct offsets {
    struct conn *c;
    uint32_t corr;
    uint32_t n, left;
    struct one_offset one[];
};

static void offsets_answer(struct offsets *o)
{
    struct msg_offset *results = calloc(o->n > 0 ? o->n : 1, sizeof *results);

    if (results == NULL) {
        conn_close(o->c, "no_memory");
        return;
    }
    for (uint32_t i = 0; i < o->n; i++) {
        results[i] = o->one[i].rq.result;
    }
    msg_put_list_offsets_ok(conn_ctl(o->c), o->corr, results, o->n);
    conn_sent(o->c);
    free(results);
}

static void offset_done(struct core_offset_rq *rq)
{
    struct one_offset *one = rq->arg;
    struct offsets *o = one->all;

    if (--o->left > 0) {
        return;
    }
    if (o->c->state != CONN_CLOSED) {
        offsets_answer(o);
    }
    conn_finish(o->c, 0);
    free(o);
}

enum werr cmd_list_offsets(struct cmd *m, struct werror *e)
{
    uint32_t n;
    enum werr rc = msg_get_list_offsets(&m->args, &n, e);
    struct offsets *o;

    if (rc != WERR_OK) {
        return rc;
    }
    if (n > LIMIT_SUB_PARTITIONS) {
        return werror_set(e, WERR_TOO_LARGE, "%u offsets asked for, limit %d", n,
                          LIMIT_SUB_PARTITIONS);
    }
    o = calloc(1, sizeof *o + n * sizeof o->one[0]);
    if (o == NULL) {
        return werror_set(e, WERR_OVERLOADED, "no memory for %u offsets", n);
    }
    o->c = m->c;
    o->corr = m->corr;
    o->n = n;
    o->left = n + 1; /* the last one is ours: answers may come at once */
    conn_begin(m->c, 0);
    for (uint32_t i = 0; i < n && msg_next_offset_spec(&m->args, &o->one[i].rq.spec); i++) {
        o->one[i].all = o;
        o->one[i].rq.done = offset_done;
        o->one[i].rq.arg = &o->one[i];
    }
    for (uint32_t i = 0; i < n; i++) {
        core_list_offset(m->srv->core, &o->one[i].rq);
    }
    if (--o->left == 0) {
        offsets_answer(o);
        conn_finish(o->c, 0);
        free(o);
    }
    return WERR_OK;
}
