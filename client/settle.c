/*
 * Queue mode: verdicts out. Happy path: an ack is a bit of its range; other verdicts are gathered
 * in a list. When there is room for another SETTLE, neighbours become one item, and the request is
 * kept until it is answered. Giving back is O(1) and allocates nothing per message. What can fail:
 * a lost connection or a refusal for now (the same items again, in order), LEASE_LOST of several
 * messages at once (asked again one by one), and of one (the caller hears of it).
 */
#include <stdlib.h>
#include <string.h>

#include "client/group.h"
#include "client/handle.h"

enum { SETTLE_RETRY_MS = 50, SPARE_VERDICTS = 64 };

/* ---------------------------------------------------------------- gathering */

static bool set_bit(uint64_t *bits, uint64_t i)
{
    bool was = bits[i / 64] >> (i % 64) & 1;

    bits[i / 64] |= UINT64_C(1) << (i % 64);
    return !was;
}

/* Something is to be sent. */
static void restless(struct weir_sub *s)
{
    struct weir *w = s->w;

    if (s->unsent || !w) {
        return;
    }
    s->unsent = true;
    s->g->settle_due_ns = clock_after_ms(w->now_ns, s->opt.settle_ms);
    if (s->opt.settle_ms == 0) {
        handle_dirty(w);
    } else {
        handle_timer(w, s->g->settle_due_ns);
        if (w->wakeup) {
            w->wakeup(w->wakeup_arg);
        }
    }
}

static struct verdict *add(struct weir_sub *s)
{
    struct sub_group *g = s->g;

    if (g->n_v == g->cap_v) {
        size_t cap = g->cap_v ? g->cap_v * 2 : SPARE_VERDICTS;
        struct verdict *grown = realloc(g->v, cap * sizeof *grown);

        if (!grown) {
            sub_fail(s, err_make(WERR_NOMEM, "out of memory"));
            return NULL;
        }
        g->v = grown;
        g->cap_v = cap;
    }
    restless(s);
    return &g->v[g->n_v++];
}

/* The message behind the last verdict, with the same: they become one. */
static bool joins(const struct sub_group *g, const struct verdict *x, const char *reason)
{
    const struct verdict *last = g->n_v > 0 ? &g->v[g->n_v - 1] : NULL;

    return last && !last->alone && last->lease == x->lease && last->tid == x->tid &&
           last->p == x->p && last->verb == x->verb && last->has_arg == x->has_arg &&
           last->arg == x->arg && last->last + 1 == x->first && last->n_reason == x->n_reason &&
           (x->n_reason == 0 || memcmp(g->text.p + last->reason, reason, x->n_reason) == 0);
}

/* How much of a text fits, without cutting a character. */
static uint32_t cut_reason(const char *reason)
{
    struct slice t = slice_of(reason, reason ? strnlen(reason, LIMIT_REASON) : 0);

    return (uint32_t)(t.n ? utf8_prefix(t) : 0);
}

static void gather(struct weir_sub *s, const struct lease_range *r, uint64_t first, uint64_t last,
                   enum msg_verb verb, int64_t arg, const char *reason)
{
    struct sub_group *g = s->g;
    struct verdict x = {.tid = r->part->tid,
                        .p = r->part->p,
                        .lease = r->lease,
                        .first = first,
                        .last = last,
                        .verb = (uint8_t)verb,
                        .has_arg = arg >= 0,
                        .arg = arg >= 0 ? (uint64_t)arg : 0,
                        .n_reason = cut_reason(reason)};
    struct verdict *to;

    if (joins(g, &x, reason)) {
        g->v[g->n_v - 1].last = last;
        return;
    }
    x.reason = g->text.len;
    buf_put(&g->text, reason, x.n_reason);
    if (g->text.failed) {
        g->text.failed = false;
        x.n_reason = 0; /* better without a reason than not at all */
    }
    to = add(s);
    if (to) {
        *to = x;
    }
}

void queue_done(struct weir_sub *s, struct rx_message *x, weir_verdict v, int64_t delay_ms,
                const char *reason)
{
    static const enum msg_verb verbs[] = {VERB_ACK, VERB_NACK, VERB_RELEASE, VERB_DEAD};
    struct lease_range *r = x->range;
    uint64_t i = x->offset - r->first;

    if (!set_bit(r->done, i)) {
        return; /* released when the handle was being closed */
    }
    if (v != WEIR_ACK) {
        enum msg_verb verb = (unsigned)v < 4 ? verbs[v] : VERB_RELEASE;

        gather(s, r, x->offset, x->offset, verb, verb == VERB_NACK ? delay_ms : -1,
               verb == VERB_NACK || verb == VERB_DEAD ? reason : NULL);
        return;
    }
    set_bit(r->acks, i);
    if (!r->on_dirty) {
        r->on_dirty = true;
        r->lot->refs++;
        TAILQ_INSERT_TAIL(&s->g->dirty_ranges, r, dirty);
        restless(s);
    }
}

void queue_extend(struct weir_sub *s, struct rx_message *x, int64_t ms)
{
    gather(s, x->range, x->offset, x->offset, VERB_EXTEND, ms > 0 ? ms : -1, NULL);
}

void settle_release(struct weir_sub *s, struct lease_range *r, uint64_t first, uint64_t last)
{
    for (uint64_t o = first; o <= last; o++) {
        set_bit(r->done, o - r->first);
    }
    gather(s, r, first, last, VERB_RELEASE, -1, NULL);
}

void settle_release_all(struct weir_sub *s)
{
    struct lot *lot;

    LIST_FOREACH (lot, &s->g->lots, link) {
        for (uint32_t i = 0; i < lot->n; i++) {
            struct lease_range *r = &lot->ranges[i];

            for (uint64_t o = r->first; o <= r->last; o++) {
                if (!(r->done[(o - r->first) / 64] >> ((o - r->first) % 64) & 1)) {
                    settle_release(s, r, o, o);
                }
            }
        }
    }
}

bool settle_pending(const struct sub_group *g)
{
    return g->n_v > 0 || !TAILQ_EMPTY(&g->dirty_ranges) || !TAILQ_EMPTY(&g->settles);
}

/* ---------------------------------------------------------------- requests */

static bool room_for(struct settle *x)
{
    if (x->n == x->cap) {
        size_t cap = x->cap ? x->cap * 2 : SPARE_VERDICTS;
        struct verdict *grown = realloc(x->v, cap * sizeof *grown);

        if (!grown) {
            return false;
        }
        x->v = grown;
        x->cap = cap;
    }
    return true;
}

/* The acked messages of r become items. False: x is full, or no memory; r stays dirty. */
static bool take_acks(struct settle *x, struct lease_range *r)
{
    uint64_t n = r->last - r->first + 1, i = 0;

    while (i < n) {
        uint64_t word = r->acks[i / 64] >> (i % 64), from, to;

        if (word == 0) {
            i = (i / 64 + 1) * 64;
            continue;
        }
        from = to = i + (uint64_t)__builtin_ctzll(word);
        while (to + 1 < n && (r->acks[(to + 1) / 64] >> ((to + 1) % 64) & 1)) {
            to++;
        }
        if (x->n >= LIMIT_SETTLE_ITEMS || !room_for(x)) {
            return false;
        }
        x->v[x->n++] = (struct verdict){.tid = r->part->tid,
                                        .p = r->part->p,
                                        .lease = r->lease,
                                        .first = r->first + from,
                                        .last = r->first + to,
                                        .verb = VERB_ACK};
        for (i = from; i <= to; i++) {
            r->acks[i / 64] &= ~(UINT64_C(1) << (i % 64));
        }
    }
    return true;
}

static void settle_drop(struct settle *x)
{
    if (x) {
        buf_fini(&x->req.frame);
        buf_fini(&x->text);
        free(x->v);
        free(x);
    }
}

/* What was gathered, as a request. NULL: nothing, or no memory. */
static struct settle *settle_new(struct weir_sub *s)
{
    struct sub_group *g = s->g;
    struct settle *x = calloc(1, sizeof *x);
    struct lease_range *r;

    if (!x) {
        return NULL;
    }
    x->sub = s;
    if (g->n_v > LIMIT_SETTLE_ITEMS) { /* the first of them; reasons are few enough to be copied */
        x->v = malloc(LIMIT_SETTLE_ITEMS * sizeof *x->v);
        if (x->v) {
            x->n = x->cap = LIMIT_SETTLE_ITEMS;
            memcpy(x->v, g->v, x->n * sizeof *x->v);
            memmove(g->v, g->v + x->n, (g->n_v - x->n) * sizeof *x->v);
            g->n_v -= x->n;
            buf_put(&x->text, g->text.p, g->text.len);
        }
    } else if (g->n_v > 0) {
        x->v = g->v;
        x->n = g->n_v;
        x->cap = g->cap_v;
        x->text = g->text;
        g->v = NULL;
        g->n_v = g->cap_v = 0;
        g->text = (struct buf){.p = NULL};
    }
    while ((r = TAILQ_FIRST(&g->dirty_ranges)) && take_acks(x, r)) {
        TAILQ_REMOVE(&g->dirty_ranges, r, dirty);
        r->on_dirty = false;
        lot_unref(r->lot);
    }
    if (x->n == 0) {
        settle_drop(x);
        return NULL;
    }
    TAILQ_INSERT_TAIL(&g->settles, x, link);
    return x;
}

static void on_settled(struct req *r, const struct answer *a);

/* False: not now. */
static bool settle_send(struct settle *x)
{
    struct weir_sub *s = x->sub;
    const struct msg_who who = group_who(s->g);
    struct msg_settle_item *items = calloc(x->n, sizeof *items);
    bool sent = false;

    if (!items || !group_prepare(s, &x->req, on_settled)) {
        free(items);
        return false;
    }
    for (size_t i = 0; i < x->n; i++) {
        const struct verdict *v = &x->v[i];

        items[i] = (struct msg_settle_item){.tid = v->tid,
                                            .p = v->p,
                                            .lease = v->lease,
                                            .first = v->first,
                                            .last = v->last,
                                            .verb = (enum msg_verb)v->verb,
                                            .has_arg = v->has_arg,
                                            .arg = v->arg};
        if (v->n_reason > 0 && x->text.p) {
            items[i].reason = slice_of(x->text.p + v->reason, v->n_reason);
        }
    }
    x->req.arg = x;
    msg_put_settle(&x->req.frame, x->req.corr, &who, items, x->n);
    sent = conn_submit(&s->w->conn, &x->req) == WERR_OK;
    if (sent) {
        x->sent = true;
        s->g->n_settles_sent++;
        buf_fini(&x->req.frame); /* made anew should it be needed again */
    }
    free(items);
    return sent;
}

void settle_step(struct weir_sub *s)
{
    struct sub_group *g = s->g;
    int64_t now = s->w->now_ns;
    struct settle *x;

    if (now < g->settle_retry_ns) {
        handle_timer(s->w, g->settle_retry_ns);
        return;
    }
    TAILQ_FOREACH (x, &g->settles, link) { /* those of a lost connection, or refused for now */
        if (!x->sent && (g->n_settles_sent >= SETTLES_IN_FLIGHT || !settle_send(x))) {
            return;
        }
    }
    while (g->n_settles_sent < SETTLES_IN_FLIGHT &&
           (g->n_v > 0 || !TAILQ_EMPTY(&g->dirty_ranges))) {
        if (now < g->settle_due_ns && !g->closing && !g->commit_now) {
            handle_timer(s->w, g->settle_due_ns);
            return;
        }
        x = settle_new(s);
        if (!x || !settle_send(x)) {
            g->settle_retry_ns = clock_after_ms(now, SETTLE_RETRY_MS);
            handle_timer(s->w, g->settle_retry_ns);
            return;
        }
    }
    s->unsent = g->n_v > 0 || !TAILQ_EMPTY(&g->dirty_ranges);
}

/* ---------------------------------------------------------------- answers */

/* Messages first to last of v won't be settled: the caller is to know. */
static void tell(struct weir_sub *s, const struct verdict *v, const weir_error *e)
{
    const struct sub_part *part = sub_part_find(s, v->tid, v->p);
    struct unsettled *u;

    if (v->verb == VERB_RELEASE) {
        return; /* it is somebody else's already, as was wanted */
    }
    group_note_failure(s->g, e);
    if (!s->g->on_unsettled) {
        return;
    }
    u = calloc(1, sizeof *u);
    if (!u) {
        sub_fail(s, err_make(WERR_NOMEM, "out of memory"));
        return;
    }
    *u = (struct unsettled){.topic = part ? part->name : "",
                            .p = v->p,
                            .first = v->first,
                            .last = v->last,
                            .error = *e};
    TAILQ_INSERT_TAIL(&s->g->unsettled, u, link);
}

/* The verdict goes back to those that are to be sent; `split`: a message at a time. */
static void put_back(struct weir_sub *s, const struct settle *x, const struct verdict *v,
                     bool split)
{
    uint64_t first = v->first, last;

    do {
        struct verdict one = *v, *to;

        last = split ? first : v->last;
        one.first = first;
        one.last = last;
        one.alone = split;
        one.reason = s->g->text.len;
        buf_put(&s->g->text, v->n_reason > 0 ? x->text.p + v->reason : NULL, v->n_reason);
        one.n_reason = s->g->text.failed ? 0 : v->n_reason;
        s->g->text.failed = false;
        to = add(s);
        if (!to) {
            return;
        }
        *to = one;
    } while (last < v->last && (first = last + 1) != 0);
}

static void one_result(struct weir_sub *s, const struct settle *x, const struct verdict *v,
                       const struct werror *e, enum werr_class cls)
{
    weir_error err;

    if (e->code == WERR_OK) {
        return;
    }
    if (e->code == WERR_LEASE_LOST && v->first < v->last) {
        put_back(s, x, v, true); /* which of them? */
    } else if (cls == WCLASS_RETRY || cls == WCLASS_UNKNOWN || cls == WCLASS_REFRESH) {
        put_back(s, x, v, false);
        s->g->settle_retry_ns = clock_after_ms(
            s->w->now_ns, e->retry_after_ms ? e->retry_after_ms : (uint32_t)SETTLE_RETRY_MS);
    } else {
        err = err_from(e, cls);
        tell(s, v, &err);
    }
}

static void results(struct weir_sub *s, struct settle *x, struct mpread *cur)
{
    struct werror result, e = {0};
    enum werr_class cls;
    uint32_t n = 0;
    enum werr rc = msg_get_results(cur, &n, &e);

    if (rc == WERR_OK && n != x->n) {
        rc = werror_set(&e, WERR_MALFORMED, "settle: %u results for %zu items", n, x->n);
    }
    for (uint32_t i = 0; rc == WERR_OK && i < n; i++) {
        rc = msg_get_result(cur, &result, &cls, &e);
        if (rc == WERR_OK) {
            one_result(s, x, &x->v[i], &result, cls);
        }
    }
    if (rc != WERR_OK) { /* sent again after the reconnect: settling twice does no harm */
        x->sent = false;
        sub_broken(s, &e);
        return;
    }
    TAILQ_REMOVE(&s->g->settles, x, link);
    settle_drop(x);
}

static void on_settled(struct req *r, const struct answer *a)
{
    struct settle *x = r->arg;
    struct weir_sub *s = x->sub;
    struct sub_group *g = s->g;
    struct mpread cur = a->result;
    weir_error e;
    uint32_t ms;

    g->n_settles_sent--;
    x->sent = false;
    if (a->err.code == WERR_OK) {
        g->settle_tries = 0;
        x->sent = true;
        results(s, x, &cur);
        return;
    }
    if (a->err.code == WERR_CLOSED || a->err.code == WERR_CONNECTION_LOST ||
        group_was_fenced(s, a)) {
        return; /* again when we have joined */
    }
    if (a->cls == WCLASS_NEVER) {
        e = err_from(&a->err, a->cls);
        for (size_t i = 0; i < x->n; i++) {
            tell(s, &x->v[i], &e);
        }
        TAILQ_REMOVE(&g->settles, x, link);
        settle_drop(x);
        return;
    }
    ms = (uint32_t)SETTLE_RETRY_MS << (g->settle_tries < 5 ? g->settle_tries : 5);
    ms = a->err.retry_after_ms > ms ? a->err.retry_after_ms : ms;
    g->settle_tries++;
    g->settle_retry_ns = clock_after_ms(s->w->now_ns, ms < 60000 ? ms : 60000);
}

/* ---------------------------------------------------------------- ends */

void settle_on_lost(struct weir_sub *s)
{
    struct settle *x;

    TAILQ_FOREACH (x, &s->g->settles, link) {
        if (x->sent && x->req.state != REQ_FREE) {
            conn_cancel(&s->w->conn, &x->req);
        }
        x->sent = false;
    }
    s->g->n_settles_sent = 0;
}

void settle_farewell(struct weir_sub *s)
{
    struct settle *x;

    TAILQ_FOREACH (x, &s->g->settles, link) {
        if (!x->sent) {
            (void)settle_send(x);
        }
    }
    while ((x = settle_new(s)) && settle_send(x)) {
    }
}

void settle_free(struct sub_group *g)
{
    struct settle *x;

    while ((x = TAILQ_FIRST(&g->settles))) {
        TAILQ_REMOVE(&g->settles, x, link);
        settle_drop(x);
    }
    free(g->v);
    buf_fini(&g->text);
    g->v = NULL;
    g->n_v = g->cap_v = 0;
}
