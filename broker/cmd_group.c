/*
 * Members of groups: GROUP_JOIN, GROUP_HEARTBEAT, GROUP_LEAVE, COMMIT, COMMITTED. Happy path:
 * decode, ask the core, answer when it is durable. Who owns what: a request struct is ours until
 * its done() ran; the seat of a member belongs to the connection (members.h).
 */
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>

#include "broker/members.h"
#include "broker/session.h"

/* n things of size bytes, zeroed; at least one. NULL and *e: no memory. */
static void *list_new(size_t n, size_t size, struct werror *e)
{
    void *p = calloc(n > 0 ? n : 1, size);

    if (p == NULL) {
        werror_set(e, WERR_OVERLOADED, "no memory for a list of %zu", n);
    }
    return p;
}

/* ---------------------------------------------------------------- GROUP_JOIN */

struct join {
    struct core_join_rq rq;
    struct conn *c;
    struct seat *seat; /* NULL: it closed meanwhile */
    uint32_t corr;
};

void join_forget(struct join *j)
{
    if (j != NULL) {
        j->seat = NULL;
    }
}

static void join_done(struct core_join_rq *rq)
{
    struct join *j = rq->arg;
    struct conn *c = j->c;

    if (j->seat != NULL) {
        j->seat->join = NULL;
        if (rq->err.code == WERR_OK) {
            j->seat->as.who.epoch = rq->epoch;
        } else {
            seat_close_later(j->seat);
        }
    }
    if (rq->err.code != WERR_OK) {
        conn_put_error(c, j->corr, &rq->err, NULL, 0);
    } else if (c->state != CONN_CLOSED) {
        const struct msg_join_ok ok = {.epoch = rq->epoch,
                                       .grace_ms = CORE_GRACE_MS,
                                       .mode = rq->mode,
                                       .resumed = rq->resumed};
        msg_put_join_ok(conn_ctl(c), j->corr, &ok, rq->parts, rq->n_parts);
        conn_sent(c);
    }
    conn_finish(c, 0);
    free(rq->parts);
    free(j);
}

static void peer_text(const struct sockaddr_storage *ss, char out[64])
{
    char host[INET6_ADDRSTRLEN] = "";
    const void *addr = NULL;
    unsigned port = 0;

    if (ss->ss_family == AF_INET) {
        const struct sockaddr_in *in = (const struct sockaddr_in *)(const void *)ss;
        addr = &in->sin_addr;
        port = ntohs(in->sin_port);
    } else if (ss->ss_family == AF_INET6) {
        const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)(const void *)ss;
        addr = &in6->sin6_addr;
        port = ntohs(in6->sin6_port);
    }
    if (addr == NULL || inet_ntop(ss->ss_family, addr, host, sizeof host) == NULL) {
        snprintf(out, 64, "unix");
    } else {
        snprintf(out, 64, ss->ss_family == AF_INET6 ? "[%s]:%u" : "%s:%u", host, port);
    }
}

/* "weir/0.2 (libweir)" and "127.0.0.1:41234", for describe. */
static void join_from(struct conn *c, struct core_join_rq *rq, char address[64])
{
    rq->client = slice_str(c->client);
    peer_text(&c->peer, address);
    rq->address = slice_str(address);
}

static enum werr join_start(struct cmd *m, const struct msg_join *in, struct slice *topics,
                            struct join *j, struct werror *e)
{
    const struct msg_who who = {.group = in->group, .member = in->member};
    struct mpread names = in->topics;
    struct seat *old = seat_find(m->c, &who);
    char address[64];

    if (old != NULL && old->join != NULL) {
        return werror_set(e, WERR_GROUP_BUSY, "this member is joining already");
    }
    if (old != NULL) {
        seat_close(old); /* joins again: a session of its own */
    }
    j->seat = seat_open(m->c, &who, e);
    if (j->seat == NULL) {
        return e->code;
    }
    j->seat->join = j;
    j->c = m->c;
    j->corr = m->corr;
    for (uint32_t i = 0; i < in->n_topics && msg_next_name(&names, &topics[i]); i++) {
        j->rq.n_topics++;
    }
    j->rq.session = j->seat->session;
    j->rq.group = in->group;
    j->rq.member = in->member;
    j->rq.topics = topics;
    j->rq.mode = in->mode;
    j->rq.order = in->order;
    j->rq.start = in->start;
    j->rq.done = join_done;
    j->rq.arg = j;
    join_from(m->c, &j->rq, address);
    conn_begin(m->c, 0);
    core_group_join(m->srv->core, &j->rq);
    return WERR_OK;
}

enum werr cmd_group_join(struct cmd *m, struct werror *e)
{
    struct msg_join in;
    struct slice *topics = NULL;
    struct join *j = NULL;
    enum werr rc = msg_get_join(&m->args, &in, e);

    if (rc != WERR_OK) {
        return rc;
    }
    topics = list_new(in.n_topics, sizeof *topics, e);
    j = topics != NULL ? list_new(1, sizeof *j, e) : NULL;
    if (j == NULL) {
        rc = e->code;
        goto out;
    }
    rc = join_start(m, &in, topics, j, e);
    if (rc != WERR_OK) {
        free(j);
    }
out:
    /* NOLINTNEXTLINE(clang-analyzer-*): the core owns j now */
    free(topics);
    return rc;
}

/* ---------------------------------------------------------------- GROUP_HEARTBEAT */

struct heartbeat {
    struct core_heartbeat_rq rq;
    struct conn *c;
    struct as_member as;
    uint32_t corr;
};

static void heartbeat_done(struct core_heartbeat_rq *rq)
{
    struct heartbeat *h = rq->arg;
    struct conn *c = h->c;

    if (rq->err.code != WERR_OK) {
        conn_put_error(c, h->corr, &rq->err, NULL, 0);
    } else if (c->state != CONN_CLOSED) {
        struct seat *s = seat_find(c, &h->as.who);
        if (s != NULL && rq->epoch > s->as.who.epoch) {
            s->as.who.epoch = rq->epoch;
        }
        msg_put_heartbeat_ok(conn_ctl(c), h->corr, rq->epoch, rq->has_parts, rq->parts,
                             rq->n_parts);
        conn_sent(c);
    }
    conn_finish(c, 0);
    free(rq->parts);
    free(h);
}

enum werr cmd_group_heartbeat(struct cmd *m, struct werror *e)
{
    struct msg_heartbeat in;
    struct msg_tp *owned = NULL;
    struct heartbeat *h = NULL;
    enum werr rc = msg_get_heartbeat(&m->args, &in, e);

    if (rc != WERR_OK) {
        return rc;
    }
    owned = list_new(in.n_owned, sizeof *owned, e);
    h = owned != NULL ? list_new(1, sizeof *h, e) : NULL;
    if (h == NULL) {
        rc = e->code;
        goto out;
    }
    if (!as_member_set(&h->as, &in.who)) {
        free(h);
        rc = werror_set(e, WERR_UNKNOWN_MEMBER, "%s", werr_text(WERR_UNKNOWN_MEMBER));
        goto out;
    }
    while (h->rq.n_owned < in.n_owned &&
           msg_next_drop(&in.owned, &owned[h->rq.n_owned].tid, &owned[h->rq.n_owned].p)) {
        h->rq.n_owned++;
    }
    h->c = m->c;
    h->corr = m->corr;
    h->rq.who = in.who;
    h->rq.owned = owned;
    h->rq.has_owned = in.has_owned;
    h->rq.done = heartbeat_done;
    h->rq.arg = h;
    conn_begin(m->c, 0);
    core_group_heartbeat(m->srv->core, &h->rq);
out:
    free(owned);
    return rc;
}

/* ---------------------------------------------------------------- GROUP_LEAVE */

struct leave {
    struct core_simple_rq rq;
    struct conn *c;
    uint32_t corr;
};

static void leave_done(struct core_simple_rq *rq)
{
    struct leave *l = rq->arg;
    struct conn *c = l->c;

    if (rq->err.code != WERR_OK) {
        conn_put_error(c, l->corr, &rq->err, NULL, 0);
    } else if (c->state != CONN_CLOSED) {
        msg_put_ok(conn_ctl(c), l->corr);
        conn_sent(c);
    }
    conn_finish(c, 0);
    free(l);
}

enum werr cmd_group_leave(struct cmd *m, struct werror *e)
{
    struct msg_who who;
    struct leave *l;
    enum werr rc = msg_get_leave(&m->args, &who, e);

    if (rc != WERR_OK) {
        return rc;
    }
    l = list_new(1, sizeof *l, e);
    if (l == NULL) {
        return e->code;
    }
    l->c = m->c;
    l->corr = m->corr;
    l->rq.who = who;
    l->rq.done = leave_done;
    l->rq.arg = l;
    conn_begin(m->c, 0);
    core_group_leave(m->srv->core, &l->rq);
    return WERR_OK;
}

/* ---------------------------------------------------------------- COMMIT */

struct commit {
    struct core_commit_rq rq;
    struct conn *c;
    uint32_t corr;
};

static void commit_done(struct core_commit_rq *rq)
{
    struct commit *k = rq->arg;
    struct conn *c = k->c;

    if (rq->err.code != WERR_OK) {
        conn_put_error(c, k->corr, &rq->err, NULL, 0);
    } else if (c->state != CONN_CLOSED) {
        msg_put_results(conn_ctl(c), k->corr, rq->results, rq->n);
        conn_sent(c);
    }
    conn_finish(c, 0);
    free(rq->results);
    free(k);
}

enum werr cmd_commit(struct cmd *m, struct werror *e)
{
    struct msg_commit in;
    struct msg_commit_item *items;
    struct commit *k = NULL;
    enum werr rc = msg_get_commit(&m->args, &in, e);

    if (rc != WERR_OK) {
        return rc;
    }
    items = list_new(in.n_items, sizeof *items, e);
    k = items != NULL ? list_new(1, sizeof *k, e) : NULL;
    if (k == NULL) {
        rc = e->code;
        goto out;
    }
    while (k->rq.n < in.n_items && msg_next_commit_item(&in.items, &items[k->rq.n])) {
        k->rq.n++;
    }
    k->c = m->c;
    k->corr = m->corr;
    k->rq.who = in.who;
    k->rq.items = items;
    k->rq.done = commit_done;
    k->rq.arg = k;
    conn_begin(m->c, 0);
    core_group_commit(m->srv->core, &k->rq);
out:
    free(items);
    return rc;
}

/* ---------------------------------------------------------------- COMMITTED */

enum werr cmd_committed(struct cmd *m, struct werror *e)
{
    struct msg_committed_rq in;
    struct msg_committed *list = NULL;
    struct msg_tp *parts;
    size_t n = 0, n_list = 0;
    enum werr rc = msg_get_committed(&m->args, &in, e);

    if (rc != WERR_OK) {
        return rc;
    }
    parts = list_new(in.n_parts, sizeof *parts, e);
    if (parts == NULL) {
        return e->code;
    }
    while (n < in.n_parts && msg_next_drop(&in.parts, &parts[n].tid, &parts[n].p)) {
        n++;
    }
    rc = core_group_committed(m->srv->core, in.group, parts, n, in.all, &list, &n_list, e);
    if (rc == WERR_OK) {
        msg_put_committed_ok(conn_ctl(m->c), m->corr, list, n_list);
        conn_sent(m->c);
    }
    free(list);
    free(parts);
    return rc;
}
