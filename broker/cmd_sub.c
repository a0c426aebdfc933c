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
#include "broker/sub_impl.h"

enum {
    PUSH_DEFAULT = 64 << 10,
    PUSH_MAX = 4 << 20,
    PUSH_PIECES = 32,
    TURN_PUSHES = 4,
    TURN_SUBS = 256,
    TURN_QUEUED_BYTES = 16 << 20, /* of all subscriptions */
};

void sub_list(struct sub *s)
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
    sub_list(s);
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
    free(s->as);
    free(s->parts);
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
            sub_list(s);
        }
    }
}

void subs_let_go(struct conn *c)
{
    struct sub *s;

    LIST_FOREACH (s, &c->subs, of_conn) {
        if (s->sent >= s->limit) {
            core_reader_let_go(s->rd);
        }
    }
}

/* ---------------------------------------------------------------- delivering */

void sub_put_error(struct sub *s, const struct core_piece *p)
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
            sub_put_error(s, &p[i]);
        }
    }
}

/* ---------------------------------------------------------------- the pump */

/* One push. False when it stopped. */
static bool push(struct sub *s)
{
    struct core_piece pieces[PUSH_PIECES];
    uint64_t credit = s->limit > s->sent ? s->limit - s->sent : 0;
    uint32_t most;
    size_t n;

    if (credit == 0 || conn_output_full(s->c) ||
        (core_reader_held(s->rd) == 0 && conn_hoards(s->c))) {
        return false;
    }
    most = conn_piece(s->c, credit < s->max_push ? (uint32_t)credit : s->max_push);
    n = core_reader_pull(s->rd, most, true, pieces, PUSH_PIECES);
    if (n == 0) {
        s->has_more = false;
        return false;
    }
    if (s->as != NULL) {
        n = sub_sift(s, pieces, n);
    }
    deliver(s, pieces, n);
    return true;
}

void subs_pump(struct server *srv)
{
    const size_t until = srv->out_bytes + TURN_QUEUED_BYTES;
    struct sub *s;

    for (int n = 0;
         n < TURN_SUBS && srv->out_bytes < until && (s = TAILQ_FIRST(&srv->ready_subs)) != NULL;
         n++) {
        struct conn *c = s->c;
        int i = 0;

        unlist_sub(s);
        while (i < TURN_PUSHES && c->state == CONN_READY && push(s)) {
            i++;
        }
        if (i == TURN_PUSHES && c->state == CONN_READY) {
            sub_list(s); /* behind the others: its turn is over */
        }
    }
    if (!TAILQ_EMPTY(&srv->ready_subs)) {
        server_again(srv);
    }
}

/* ---------------------------------------------------------------- requests */

/* An error that is about one partition only: told by SUB_ERROR, once the request is answered. */
static bool only_that_part(const struct sub *s, enum werr rc)
{
    return s->as != NULL && rc == WERR_NOT_ASSIGNED;
}

/* Adds partitions; those that the member does not have are told behind the answer. */
static enum werr add_parts(struct sub *s, struct mpread *parts, uint32_t n, struct buf *later,
                           struct werror *e)
{
    struct msg_sub_part part;

    for (uint32_t i = 0; i < n && msg_next_sub_part(parts, &part); i++) {
        const enum werr rc = sub_add_part(s, &part, e);
        if (only_that_part(s, rc)) {
            msg_put_sub_error(later, s->id, part.tid, part.p, e, NULL, 0);
        } else if (rc != WERR_OK) {
            return rc;
        }
    }
    return later->failed ? werror_set(e, WERR_OVERLOADED, "no memory for errors") : WERR_OK;
}

static void answer_ok(struct cmd *m, const struct buf *later)
{
    msg_put_ok(conn_ctl(m->c), m->corr);
    buf_put(conn_ctl(m->c), later->p, later->len);
    conn_sent(m->c);
}

/* For whom, if for anybody. */
static enum werr take_who(struct sub *s, const struct msg_who *who, struct werror *e)
{
    if (who->group.n == 0) {
        return WERR_OK;
    }
    s->as = calloc(1, sizeof *s->as);
    if (s->as == NULL) {
        return werror_set(e, WERR_OVERLOADED, "no memory for a subscription");
    }
    if (!as_member_set(s->as, who)) {
        return werror_set(e, WERR_UNKNOWN_MEMBER, "%s", werr_text(WERR_UNKNOWN_MEMBER));
    }
    return WERR_OK;
}

enum werr cmd_subscribe(struct cmd *m, struct werror *e)
{
    struct msg_subscribe in;
    struct buf later = {0};
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
    core_reader_meter(s->rd, &m->c->held_bytes);
    LIST_INSERT_HEAD(&m->c->subs, s, of_conn);
    m->c->n_subs++;
    rc = take_who(s, &in.who, e);
    if (rc == WERR_OK) {
        rc = add_parts(s, &in.parts, in.n_parts, &later, e);
    }
    if (rc != WERR_OK) {
        free_sub(s);
        goto out;
    }
    answer_ok(m, &later);
    s->has_more = true;
    sub_list(s);
out:
    buf_fini(&later);
    return rc;
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
            sub_list(s);
        }
    }
    return WERR_OK;
}

/* Takes partitions out of a subscription. */
static void drop_parts(struct sub *s, struct mpread *drop, uint32_t n)
{
    uint64_t tid;
    uint32_t p;

    for (uint32_t i = 0; i < n && msg_next_drop(drop, &tid, &p); i++) {
        sub_drop_part(s, tid, p);
    }
}

enum werr cmd_sub_update(struct cmd *m, struct werror *e)
{
    struct msg_sub_update in;
    struct buf later = {0};
    enum werr rc = msg_get_sub_update(&m->args, &in, e);
    struct sub *s;

    if (rc != WERR_OK) {
        return rc;
    }
    s = find_sub(m->c, in.sub);
    if (s == NULL) {
        return werror_set(e, WERR_UNKNOWN_SUB, "no subscription %u on this connection", in.sub);
    }
    drop_parts(s, &in.drop, in.n_drop);
    const size_t have = core_reader_parts(s->rd) + s->n_held;
    if (have + in.n_add > LIMIT_SUB_PARTITIONS) {
        return werror_set(e, WERR_TOO_LARGE, "%zu partitions in a subscription, limit %d",
                          have + in.n_add, LIMIT_SUB_PARTITIONS);
    }
    rc = add_parts(s, &in.add, in.n_add, &later, e);
    if (rc != WERR_OK) {
        goto out;
    }
    answer_ok(m, &later);
    if (in.n_add == 0 && in.n_drop == 0) {
        free_sub(s);
    } else {
        s->has_more = true;
        sub_list(s);
    }
out:
    buf_fini(&later);
    return rc;
}
