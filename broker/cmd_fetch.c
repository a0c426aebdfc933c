/*
 * FETCH: a stateless long-poll on top of the core's readers. LIST_OFFSETS: one answer for a list of
 * questions that finish one by one. Who owns what: requests are ours until the core is done with
 * them.
 *
 * A fetch for a member of a group asks the core about every partition, at the start and before the
 * answer: one that the member does not have is answered with an error, one of a paused group is
 * left out until there is news, and then the fetch begins again with what is left of its time.
 */
#include <stdlib.h>
#include <string.h>

#include "broker/clock.h"
#include "broker/members.h"
#include "broker/reply.h"
#include "broker/session.h"

/* A fetch counts as the bytes it may answer with, so that a connection cannot ask for more at once
 * than it may have in flight. */
enum { FETCH_MAX = CONN_PIECE_MAX, FETCH_CHARGE_MIN = 4 << 10 };

struct fetch_refused {
    uint64_t tid;
    uint32_t p;
    struct werror err;
};

/* What a fetch for a member needs beyond the core's request. Its arrays are as large as it asks
 * for: there may be many that wait. */
struct fetch_for {
    struct as_member as;
    int64_t deadline_mono_ns;
    uint32_t min_bytes;
    size_t n_all, n_refused, n_held;
    struct msg_fetch_part *all; /* as asked for */
    struct fetch_refused *refused;
};

struct fetch {
    struct core_fetch rq;
    struct fetch_for *member; /* NULL: for nobody */
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

/* Before the answer to a member: leaves out what it may not have. Returns how many are left. */
static size_t sift(struct fetch *f, struct core_piece *p, size_t n)
{
    struct as_member *as = &f->member->as;
    size_t kept = 0;

    for (size_t i = 0; i < n; i++) {
        struct werror e = {.code = WERR_OK};
        const enum werr rc = member_may_read(f->c, as, p[i].tid, p[i].p, &e);

        if (rc == WERR_OK) {
            member_sends(f->c, as, p[i].tid, p[i].p, slice_of(p[i].data.p, p[i].data.n));
            p[kept++] = p[i];
            continue;
        }
        blob_unref(p[i].data.owner);
        p[i].data = (struct bytes){NULL, NULL, 0};
        p[i].err = e;
        if (rc != WERR_AGAIN) {
            p[kept++] = p[i];
        }
    }
    return kept;
}

static void answer(struct fetch *f)
{
    struct core_piece *p = f->rq.pieces;
    size_t entries = 0;
    struct reply r;

    if (f->member != NULL) {
        f->rq.n_pieces = sift(f, p, f->rq.n_pieces);
        entries = f->member->n_refused;
    }
    const size_t n = f->rq.n_pieces < REPLY_PARTS ? f->rq.n_pieces : REPLY_PARTS;
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
    for (size_t i = 0; f->member != NULL && i < f->member->n_refused; i++) {
        msg_put_fetch_part_head(&r.heads, f->member->refused[i].tid, f->member->refused[i].p,
                                &f->member->refused[i].err, NULL, 0, 0, 0, 0);
    }
    reply_send(&r, f->c);
}

static void member_free(struct fetch_for *mf)
{
    if (mf != NULL) {
        free(mf->all);
        free(mf->refused);
        free(mf);
    }
}

static void fetch_free(struct fetch *f)
{
    LIST_REMOVE(f, of_conn);
    core_fetch_fini(&f->rq);
    conn_finish(f->c, f->charge);
    member_free(f->member);
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

size_t fetches_parts(const struct conn *c)
{
    const struct fetch *f;
    size_t n = 0;

    LIST_FOREACH (f, &c->fetches, of_conn) {
        n += f->rq.n_parts;
    }
    return n;
}

void fetches_hurry(struct conn *c)
{
    struct fetch *f, *next;

    for (f = LIST_FIRST(&c->fetches); f != NULL; f = next) {
        next = LIST_NEXT(f, of_conn);
        core_fetch_hurry(&f->rq);
    }
}

/* For a member: asks for what it may read now. May end in fetch_done. */
static void fetch_start(struct fetch *f)
{
    struct fetch_for *mf = f->member;
    /* NOLINTNEXTLINE(clang-analyzer-*): the one before unlinked itself */
    const int64_t left_ns = mf->deadline_mono_ns - clock_mono_ns();

    f->rq.n_parts = mf->n_refused = mf->n_held = 0;
    for (size_t i = 0; i < mf->n_all; i++) {
        struct werror e = {.code = WERR_OK};
        const struct msg_fetch_part *fp = &mf->all[i];
        const enum werr rc = member_may_read(f->c, &mf->as, fp->tid, fp->p, &e);

        if (rc == WERR_OK) {
            f->rq.parts[f->rq.n_parts++] = *fp;
        } else if (rc == WERR_AGAIN) {
            mf->n_held++;
        } else {
            mf->refused[mf->n_refused].tid = fp->tid;
            mf->refused[mf->n_refused].p = fp->p;
            mf->refused[mf->n_refused++].err = e;
        }
    }
    f->rq.max_wait_ms = left_ns > 0 ? (uint32_t)((left_ns + 999999) / 1000000) : 0;
    f->rq.min_bytes = mf->min_bytes;
    if (mf->n_refused > 0) { /* tell at once */
        f->rq.max_wait_ms = f->rq.min_bytes = 0;
    }
    core_fetch(f->c->srv->core, &f->rq);
}

void fetches_look_again(struct conn *c, const struct as_member *as)
{
    struct fetch *f, *next;

    for (f = LIST_FIRST(&c->fetches); f != NULL; f = next) {
        next = LIST_NEXT(f, of_conn);
        if (f->member != NULL &&
            (as != NULL ? as_member_is(&f->member->as, as) : f->member->n_held > 0)) {
            core_fetch_fini(&f->rq);
            fetch_start(f);
        }
    }
}

static enum werr take_member(struct fetch *f, const struct msg_fetch *in, struct werror *e)
{
    if (in->who.group.n == 0) {
        return WERR_OK;
    }
    const size_t n = f->rq.n_parts > 0 ? f->rq.n_parts : 1;
    f->member = calloc(1, sizeof *f->member);
    if (f->member != NULL) {
        f->member->all = calloc(n, sizeof *f->member->all);
        f->member->refused = calloc(n, sizeof *f->member->refused);
    }
    if (f->member == NULL || f->member->all == NULL || f->member->refused == NULL) {
        member_free(f->member);
        return werror_set(e, WERR_OVERLOADED, "no memory for a fetch");
    }
    if (!as_member_set(&f->member->as, &in->who)) {
        member_free(f->member);
        return werror_set(e, WERR_UNKNOWN_MEMBER, "%s", werr_text(WERR_UNKNOWN_MEMBER));
    }
    f->member->deadline_mono_ns = clock_mono_ns() + (int64_t)in->max_wait_ms * 1000000;
    f->member->min_bytes = in->min_bytes;
    memcpy(f->member->all, f->rq.parts, f->rq.n_parts * sizeof f->rq.parts[0]);
    f->member->n_all = f->rq.n_parts;
    return WERR_OK;
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
    f->rq.max_bytes = conn_piece(m->c, in.max_bytes < FETCH_MAX ? in.max_bytes : FETCH_MAX);
    f->rq.meter = &m->c->held_bytes;
    f->charge = f->rq.max_bytes > FETCH_CHARGE_MIN ? f->rq.max_bytes : FETCH_CHARGE_MIN;
    while (f->rq.n_parts < in.n_parts &&
           msg_next_fetch_part(&in.parts, &f->rq.parts[f->rq.n_parts])) {
        f->rq.n_parts++;
    }
    rc = take_member(f, &in, e);
    if (rc != WERR_OK) {
        free(f);
        return rc;
    }
    f->rq.done = fetch_done;
    f->rq.arg = f;
    conn_begin(m->c, f->charge);
    LIST_INSERT_HEAD(&m->c->fetches, f, of_conn);
    if (f->member != NULL) {
        fetch_start(f);
    } else {
        core_fetch(m->srv->core, &f->rq);
    }
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
    uint32_t n, next, running;
    bool going; /* in offsets_go: answers may come at once */
    struct one_offset one[];
};

/* So many questions of one request at once: each by time is a read, and others read too. */
enum { OFFSETS_AT_ONCE = 8 };

static size_t offsets_bytes(uint32_t n)
{
    return sizeof(struct offsets) + n * sizeof(struct one_offset);
}

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

static void offsets_go(struct offsets *o);

static void offset_done(struct core_offset_rq *rq)
{
    struct one_offset *one = rq->arg;

    one->all->running--;
    offsets_go(one->all);
}

/* Asks on; answers and frees when all is known. */
static void offsets_go(struct offsets *o)
{
    if (o->going) {
        return;
    }
    o->going = true;
    while (o->next < o->n && o->running < OFFSETS_AT_ONCE) {
        o->running++;
        core_list_offset(o->c->srv->core, &o->one[o->next++].rq);
    }
    o->going = false;
    if (o->running > 0) {
        return;
    }
    if (o->c->state != CONN_CLOSED) {
        offsets_answer(o);
    }
    o->c->srv->offsets_bytes -= offsets_bytes(o->n);
    conn_finish(o->c, offsets_bytes(o->n));
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
    o = calloc(1, offsets_bytes(n));
    if (o == NULL) {
        return werror_set(e, WERR_OVERLOADED, "no memory for %u offsets", n);
    }
    o->c = m->c;
    o->corr = m->corr;
    o->n = n;
    conn_begin(m->c, offsets_bytes(n));
    m->srv->offsets_bytes += offsets_bytes(n);
    for (uint32_t i = 0; i < n && msg_next_offset_spec(&m->args, &o->one[i].rq.spec); i++) {
        o->one[i].all = o;
        o->one[i].rq.done = offset_done;
        o->one[i].rq.arg = &o->one[i];
    }
    offsets_go(o);
    return WERR_OK;
}
