/*
 * Log mode: positions out. Happy path: giving a message back moves its partition's `acked`, the
 * partition becomes dirty, and one COMMIT for all dirty ones leaves when commit_ms have passed
 * since the last, when weir_commit asks, or before a partition goes. Only what was given back
 * without a gap is ever committed.
 * What can fail: refusals for now (again later), a partition that is not ours any more (forgotten),
 * the membership (group_fenced).
 */
#include <stdlib.h>

#include "client/group.h"
#include "client/handle.h"

enum { COMMIT_RETRY_MS = 50 };

static void mark_dirty(struct weir_sub *s, struct sub_part *part)
{
    struct sub_group *g = s->g;
    struct weir *w = s->w;

    if (part->on_dirty) {
        return;
    }
    part->on_dirty = true;
    if (TAILQ_EMPTY(&g->dirty) && !s->opt.manual && w) {
        s->unsent = true;
        if (g->commit_due_ns <= w->now_ns) {
            handle_dirty(w);
        } else {
            handle_timer(w, g->commit_due_ns);
            if (w->wakeup) {
                w->wakeup(w->wakeup_arg);
            }
        }
    }
    TAILQ_INSERT_TAIL(&g->dirty, part, dirty);
}

void commit_clean(struct sub_group *g, struct sub_part *part)
{
    if (part->on_dirty) {
        part->on_dirty = false;
        TAILQ_REMOVE(&g->dirty, part, dirty);
    }
}

/* Not acknowledged: the position can't pass it, so the subscription ends there. */
static void stop_at(struct weir_sub *s, const struct sub_part *part, uint64_t offset)
{
    if (s->state != SUB_FAILED) {
        sub_drop_unread(s, NULL);
        sub_fail(s, err_make(WERR_CONDITION_FAILED,
                             "topic %s partition %u offset %llu was given back without an ack: log "
                             "mode stops there, its next owner gets it again",
                             part->name, part->p, (unsigned long long)offset));
    }
}

void log_done(struct weir_sub *s, const struct rx_batch *b, uint64_t offset, weir_verdict v)
{
    struct sub_part *part = b->part;

    if (b->gen != part->gen || !s->w) {
        return; /* stale: another member has it */
    }
    if (v != WEIR_ACK) {
        stop_at(s, part, offset);
    } else if (part_ack(part, offset)) {
        mark_dirty(s, part);
    }
}

bool commit_pending(const struct sub_group *g)
{
    return !TAILQ_EMPTY(&g->dirty) || g->commit_req.state != REQ_FREE;
}

/* ---------------------------------------------------------------- answers */

/* What was asked for part. `again`: it was not done, and may be later. */
static void part_answered(struct weir_sub *s, struct sub_part *part, bool done, bool again)
{
    if (part->committing_gen != part->gen && part->held) {
        return; /* lost and got again meanwhile */
    }
    if (done) {
        part->committed = part->committing > part->committed ? part->committing : part->committed;
    }
    if (part->acked > part->committed && (again || (done && part->held))) {
        mark_dirty(s, part);
    }
}

static void results(struct weir_sub *s, struct mpread *cur)
{
    struct sub_group *g = s->g;
    struct werror result, e = {0};
    enum werr_class cls;
    uint32_t n = 0;
    enum werr rc = msg_get_results(cur, &n, &e);

    if (rc == WERR_OK && n != g->n_commit_parts) {
        rc = werror_set(&e, WERR_MALFORMED, "commit: %u results for %zu items", n,
                        g->n_commit_parts);
    }
    for (uint32_t i = 0; rc == WERR_OK && i < n; i++) {
        rc = msg_get_result(cur, &result, &cls, &e);
        if (rc == WERR_OK && result.code != WERR_OK) {
            const weir_error err = err_from(&result, cls);

            if (g->commit_parts[i]->held) {
                group_note_failure(g, &err);
                g->beat = true;
            }
        }
        if (rc == WERR_OK) {
            part_answered(s, g->commit_parts[i], result.code == WERR_OK, cls == WCLASS_RETRY);
        }
    }
    if (rc != WERR_OK) {
        sub_broken(s, &e);
    }
}

static void on_committed(struct req *r, const struct answer *a)
{
    struct weir_sub *s = r->arg;
    struct sub_group *g = s->g;
    struct mpread cur = a->result;
    bool again = a->err.code == WERR_CONNECTION_LOST || a->cls == WCLASS_RETRY ||
                 a->cls == WCLASS_UNKNOWN || a->cls == WCLASS_REFRESH;
    weir_error e;

    if (a->err.code == WERR_CLOSED) {
        return;
    }
    if (a->err.code == WERR_OK) {
        g->commit_tries = 0;
        results(s, &cur);
        return;
    }
    if (group_was_fenced(s, a)) {
        return;
    }
    for (size_t i = 0; i < g->n_commit_parts; i++) {
        part_answered(s, g->commit_parts[i], false, again);
    }
    if (!again) {
        e = err_from(&a->err, a->cls);
        group_note_failure(g, &e);
        s->w->last_error = e;
    }
    g->commit_due_ns = clock_after_ms(
        s->w->now_ns, a->err.retry_after_ms ? a->err.retry_after_ms
                                            : (uint32_t)COMMIT_RETRY_MS
                                                  << (g->commit_tries < 6 ? g->commit_tries : 6));
    g->commit_tries++;
}

/* ---------------------------------------------------------------- requests */

/* Takes up to a request's worth of the dirty partitions. 0: none, or no memory. */
static size_t take_items(struct sub_group *g, struct msg_commit_item **out)
{
    size_t n = 0, cap = 0;
    struct sub_part *part;
    struct msg_commit_item *items;

    TAILQ_FOREACH (part, &g->dirty, dirty) {
        cap++;
    }
    cap = cap < LIMIT_COMMIT_ITEMS ? cap : LIMIT_COMMIT_ITEMS;
    if (cap > g->cap_commit_parts) {
        struct sub_part **grown = realloc(g->commit_parts, cap * sizeof(struct sub_part *));

        if (!grown) {
            return 0;
        }
        g->commit_parts = grown;
        g->cap_commit_parts = cap;
    }
    items = calloc(cap + 1, sizeof *items);
    while (items && n < cap && (part = TAILQ_FIRST(&g->dirty))) {
        commit_clean(g, part);
        part->committing = part->acked;
        part->committing_gen = part->gen;
        g->commit_parts[n] = part;
        items[n++] =
            (struct msg_commit_item){.tid = part->tid, .p = part->p, .offset = part->acked};
    }
    g->n_commit_parts = n;
    *out = items;
    return n;
}

/* False: nothing was sent. */
static bool commit(struct weir_sub *s)
{
    struct sub_group *g = s->g;
    const struct msg_who who = group_who(g);
    struct msg_commit_item *items = NULL;
    bool sent = false;
    size_t n;

    if (!group_prepare(s, &g->commit_req, on_committed)) {
        return false;
    }
    n = take_items(g, &items);
    if (n > 0) {
        msg_put_commit(&g->commit_req.frame, g->commit_req.corr, &who, items, n);
        sent = conn_submit(&s->w->conn, &g->commit_req) == WERR_OK;
        for (size_t i = 0; i < n && !sent; i++) {
            mark_dirty(s, g->commit_parts[i]);
        }
    } else {
        conn_cancel(&s->w->conn, &g->commit_req);
    }
    free(items);
    return sent;
}

void commit_step(struct weir_sub *s)
{
    struct sub_group *g = s->g;
    int64_t now = s->w->now_ns;

    s->unsent = !TAILQ_EMPTY(&g->dirty) && !s->opt.manual;
    if (TAILQ_EMPTY(&g->dirty) || g->commit_req.state != REQ_FREE ||
        (s->opt.manual && !g->commit_now)) {
        g->commit_now = g->commit_now && commit_pending(g);
        return;
    }
    if (now < g->commit_due_ns && (!g->commit_now || g->commit_tries > 0)) {
        handle_timer(s->w, g->commit_due_ns);
        return;
    }
    if (commit(s)) {
        g->commit_due_ns = clock_after_ms(now, s->opt.commit_ms);
        s->unsent = false;
    } else {
        g->commit_due_ns = clock_after_ms(now, COMMIT_RETRY_MS);
        handle_timer(s->w, g->commit_due_ns);
    }
}

void commit_farewell(struct weir_sub *s)
{
    struct sub_group *g = s->g;

    while (!s->opt.manual && !TAILQ_EMPTY(&g->dirty) && commit(s)) {
        conn_cancel(&s->w->conn, &g->commit_req); /* nobody waits for the answer */
    }
}
