/*
 * Subscriptions: a reader of the core with a credit. Happy path: the core says "ready", the sub
 * goes on the server's ready list, and once per turn of the loop a chunk is delivered while credit
 * and output have room. What stops it: credit (until CREDIT), output (until the socket drains), no
 * data (until the core says "ready" again). Who owns what: a conn owns its subs, a sub owns its
 * reader.
 */
#include <stdlib.h>

#include "broker/reply.h"
#include "broker/session.h"

enum {
    PUSH_DEFAULT = 64 << 10,
    PUSH_MAX = 4 << 20,
    PUSH_PIECES = 32,
    TURN_PUSHES = 4,
    TURN_SUBS = 256,
};

struct sub {
    LIST_ENTRY(sub) of_conn;
    TAILQ_ENTRY(sub) ready_link;
    struct conn *c;
    struct core_reader *rd;
    uint32_t id, max_push;
    uint64_t limit, sent; /* bin bytes */
    bool listed;          /* on the server's ready list */
    bool has_more;        /* the core has data that credit or output keeps back */
};

static void list_sub(struct sub *s)
{
    if (!s->listed) {
        s->listed = true;
        TAILQ_INSERT_TAIL(&s->c->srv->ready_subs, s, ready_link);
        server_again(s->c->srv);
    }
}

static void unlist_sub(struct sub *s)
{
    if (s->listed) {
        s->listed = false;
        TAILQ_REMOVE(&s->c->srv->ready_subs, s, ready_link);
    }
}

static void on_ready(void *arg)
{
    struct sub *s = arg;

    s->has_more = true;
    list_sub(s);
}

static struct sub *find_sub(struct conn *c, uint32_t id)
{
    struct sub *s;

    LIST_FOREACH (s, &c->subs, of_conn) {
        if (s->id == id) {
            return s;
        }
    }
    return NULL;
}

static void free_sub(struct sub *s)
{
    unlist_sub(s);
    LIST_REMOVE(s, of_conn);
    s->c->n_subs--;
    core_reader_free(s->rd);
    free(s);
}

void subs_close(struct conn *c)
{
    while (!LIST_EMPTY(&c->subs)) {
        /* NOLINTNEXTLINE(clang-analyzer-*): each one unlinks itself */
        free_sub(LIST_FIRST(&c->subs));
    }
}

void subs_resume(struct conn *c)
{
    struct sub *s;

    LIST_FOREACH (s, &c->subs, of_conn) {
        if (s->has_more && s->sent < s->limit) {
            list_sub(s);
        }
    }
}

/* ---------------------------------------------------------------- delivering */

static void put_error(struct sub *s, const struct core_piece *p)
{
    const struct frame_detail d[] = {{"log_start", NULL, p->log_start}, {"hw", NULL, p->hw}};

    msg_put_sub_error(conn_ctl(s->c), s->id, p->tid, p->p, &p->err, d,
                      p->err.code == WERR_OFFSET_OUT_OF_RANGE ? 2 : 0);
    conn_sent(s->c);
}

/* How many pieces from i on belong to one partition, and their bytes: they share one bin. */
static size_t run_of(const struct core_piece *p, size_t i, size_t n, size_t *bytes)
{
    size_t k = i;

    *bytes = 0;
    while (k < n && p[k].err.code == WERR_OK && p[k].tid == p[i].tid && p[k].p == p[i].p) {
        *bytes += p[k++].data.n;
    }
    return k - i;
}

static void deliver(struct sub *s, struct core_piece *p, size_t n)
{
    struct reply r;
    size_t runs = 0, bytes, k;

    for (size_t i = 0; i < n; i += k) {
        k = run_of(p, i, n, &bytes);
        runs += k > 0;
        k += k == 0;
    }
    if (runs > 0) {
        reply_init(&r);
        (void)msg_begin_deliver(&r.heads, s->id, runs);
        for (size_t i = 0; i < n; i += k) {
            k = run_of(p, i, n, &bytes);
            if (k == 0) {
                k = 1; /* an error piece: sent on its own below */
                continue;
            }
            msg_put_deliver_part_head(&r.heads, p[i].tid, p[i].p, p[i + k - 1].hw, bytes);
            for (size_t j = i; j < i + k; j++) {
                if (p[j].data.n > 0) {
                    reply_data(&r, p[j].data);
                }
            }
            s->sent += bytes;
        }
        reply_send(&r, s->c);
    }
    for (size_t i = 0; i < n; i++) {
        if (p[i].err.code != WERR_OK) {
            put_error(s, &p[i]);
        }
    }
}

/* One push. False when it stopped. */
static bool push(struct sub *s)
{
    struct core_piece pieces[PUSH_PIECES];
    uint64_t credit = s->limit > s->sent ? s->limit - s->sent : 0;
    size_t n;

    if (credit == 0 || conn_output_full(s->c)) {
        return false;
    }
    n = core_reader_pull(s->rd, credit < s->max_push ? (uint32_t)credit : s->max_push, true, pieces,
                         PUSH_PIECES);
    if (n == 0) {
        s->has_more = false;
        return false;
    }
    deliver(s, pieces, n);
    return true;
}

void subs_pump(struct server *srv)
{
    struct sub *s;

    for (int n = 0; n < TURN_SUBS && (s = TAILQ_FIRST(&srv->ready_subs)) != NULL; n++) {
        struct conn *c = s->c;
        int i = 0;

        unlist_sub(s);
        while (i < TURN_PUSHES && c->state == CONN_READY && push(s)) {
            i++;
        }
        if (i == TURN_PUSHES && c->state == CONN_READY) {
            list_sub(s); /* behind the others: its turn is over */
        }
    }
    if (!TAILQ_EMPTY(&srv->ready_subs)) {
        server_again(srv);
    }
}

/* ---------------------------------------------------------------- requests */

enum werr cmd_subscribe(struct cmd *m, struct werror *e)
{
    struct msg_subscribe in;
    struct msg_sub_part part;
    enum werr rc = msg_get_subscribe(&m->args, &in, e);
    struct sub *s;

    if (rc != WERR_OK) {
        return rc;
    }
    if (find_sub(m->c, in.sub) != NULL) {
        return werror_set(e, WERR_EXISTS, "subscription %u exists on this connection", in.sub);
    }
    if (m->c->n_subs >= LIMIT_SUBS) {
        return werror_set(e, WERR_TOO_LARGE, "%u subscriptions on this connection, limit %d",
                          m->c->n_subs, LIMIT_SUBS);
    }
    s = calloc(1, sizeof *s);
    if (s == NULL) {
        return werror_set(e, WERR_OVERLOADED, "no memory for a subscription");
    }
    s->c = m->c;
    s->id = in.sub;
    s->limit = in.credit;
    s->max_push = in.max_push == 0 ? PUSH_DEFAULT : in.max_push < PUSH_MAX ? in.max_push : PUSH_MAX;
    s->rd = core_reader_new(m->srv->core, on_ready, s);
    LIST_INSERT_HEAD(&m->c->subs, s, of_conn);
    m->c->n_subs++;
    for (uint32_t i = 0; i < in.n_parts && msg_next_sub_part(&in.parts, &part); i++) {
        rc = core_reader_add(s->rd, part.tid, part.p, part.offset, part.has_epoch, part.epoch, e);
        if (rc != WERR_OK) {
            free_sub(s);
            return rc;
        }
    }
    msg_put_ok(conn_ctl(m->c), m->corr);
    conn_sent(m->c);
    s->has_more = true;
    list_sub(s);
    return WERR_OK;
}

enum werr cmd_credit(struct cmd *m, struct werror *e)
{
    struct sub *s = find_sub(m->c, m->corr);
    uint64_t limit;
    enum werr rc = msg_get_credit(&m->args, &limit, e);

    if (rc != WERR_OK) {
        return rc;
    }
    if (s != NULL && limit > s->limit) { /* late credit for a sub that is gone means nothing */
        s->limit = limit;
        if (s->has_more) {
            list_sub(s);
        }
    }
    return WERR_OK;
}

enum werr cmd_sub_update(struct cmd *m, struct werror *e)
{
    struct msg_sub_update in;
    struct msg_sub_part part;
    enum werr rc = msg_get_sub_update(&m->args, &in, e);
    struct sub *s;

    if (rc != WERR_OK) {
        return rc;
    }
    s = find_sub(m->c, in.sub);
    if (s == NULL) {
        return werror_set(e, WERR_UNKNOWN_SUB, "no subscription %u on this connection", in.sub);
    }
    for (uint32_t i = 0; i < in.n_drop; i++) {
        uint64_t tid;
        uint32_t p;

        if (!msg_next_drop(&in.drop, &tid, &p)) {
            break;
        }
        (void)core_reader_drop(s->rd, tid, p);
    }
    if (core_reader_parts(s->rd) + in.n_add > LIMIT_SUB_PARTITIONS) {
        return werror_set(e, WERR_TOO_LARGE, "%zu partitions in a subscription, limit %d",
                          core_reader_parts(s->rd) + in.n_add, LIMIT_SUB_PARTITIONS);
    }
    for (uint32_t i = 0; i < in.n_add && msg_next_sub_part(&in.add, &part); i++) {
        rc = core_reader_add(s->rd, part.tid, part.p, part.offset, part.has_epoch, part.epoch, e);
        if (rc != WERR_OK) {
            return rc;
        }
    }
    msg_put_ok(conn_ctl(m->c), m->corr);
    conn_sent(m->c);
    if (in.n_add == 0 && in.n_drop == 0) {
        free_sub(s);
    } else {
        s->has_more = true;
        list_sub(s);
    }
    return WERR_OK;
}
