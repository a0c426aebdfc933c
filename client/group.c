/*
 * Membership, the same for both modes. Happy path: the topics' metadata, then GROUP_JOIN; what
 * comes after is the mode's (assign.c, acquire.c). After a lost connection the same member joins
 * again. At the end: everything is given back, then GROUP_LEAVE.
 * What can fail: unknown topics, a group of the other mode (fatal); the broker that knows the
 * member no more (everything held is lost, it joins again); refusals for now (again later).
 * Owns what struct sub_group has; messages and batches are the subscription's.
 */
#include "client/group.h"

#include <stdlib.h>
#include <string.h>

#include "client/handle.h"

/* ---------------------------------------------------------------- life */

/* Random enough to be nobody else's: from the handle's generator, which was seeded per process. */
static void make_member(struct weir_sub *s)
{
    for (size_t i = 0; i < MSG_MEMBER_BYTES; i += 8) {
        put_be64(s->g->member + i, conn_random(&s->w->conn) ^ clock_seed());
    }
}

/* The topics' names, separated by commas. */
static bool read_topics(struct weir_sub *s, const char *names, weir_error *e)
{
    struct sub_group *g = s->g;
    const char *at = names ? names : "";

    do {
        size_t n = strcspn(at, ",");
        char name[LIMIT_TOPIC_NAME + 1] = "";

        if (g->n_topics == GROUP_TOPICS || n > LIMIT_TOPIC_NAME) {
            *e = err_make(WERR_TOO_LARGE, "topics: up to %d, names of up to %d characters",
                          GROUP_TOPICS, LIMIT_TOPIC_NAME);
            return false;
        }
        memcpy(name, at, n);
        g->topics[g->n_topics] = handle_topic(s->w, name, e);
        if (!g->topics[g->n_topics]) {
            return false;
        }
        for (size_t i = 0; i < g->n_topics; i++) {
            if (g->topics[i] == g->topics[g->n_topics]) {
                *e = err_make(WERR_INVALID_CONFIG, "topic %s is named twice", name);
                return false;
            }
        }
        meta_want(s->w, g->topics[g->n_topics++]);
        at += n + (at[n] == ',');
    } while (at[0] || (at > names && at[-1] == ','));
    return true;
}

bool group_init(struct weir_sub *s, const char *topics, const char *group, weir_error *e)
{
    struct sub_group *g = calloc(1, sizeof *g);
    struct werror we = {0};

    if (!g) {
        *e = err_make(WERR_NOMEM, "out of memory");
        return false;
    }
    s->g = g;
    TAILQ_INIT(&g->dirty);
    TAILQ_INIT(&g->limbo);
    LIST_INIT(&g->lots);
    TAILQ_INIT(&g->dirty_ranges);
    TAILQ_INIT(&g->settles);
    TAILQ_INIT(&g->unsettled);
    g->first_failure = err_done();
    if (name_check(slice_str(group), false, &we) != WERR_OK) {
        *e = err_from_local(&we);
        err_wrap(e, "group");
        return false;
    }
    memcpy(g->name, group, strlen(group) + 1);
    if (s->opt.has_member) {
        memcpy(g->member, s->opt.member, sizeof g->member);
    } else {
        make_member(s);
    }
    g->attempt = (uint64_t)handle_wall_ms(s->w); /* grows over restarts, should the member too */
    return read_topics(s, topics, e);
}

void group_free(struct weir_sub *s)
{
    struct sub_group *g = s->g;
    struct unsettled *u;
    struct rx_batch *b;
    struct lot *lot;

    while ((u = TAILQ_FIRST(&g->unsettled))) {
        TAILQ_REMOVE(&g->unsettled, u, link);
        free(u);
    }
    while ((b = TAILQ_FIRST(&g->limbo))) {
        TAILQ_REMOVE(&g->limbo, b, link);
        rx_batch_free(b);
    }
    settle_free(g);
    while ((lot = LIST_FIRST(&g->lots))) { /* only those that verdicts still referred to */
        LIST_REMOVE(lot, link);
        free(lot);
    }
    buf_fini(&g->req.frame);
    buf_fini(&g->commit_req.frame);
    buf_fini(&g->acquire_req.frame);
    free(g->commit_parts);
    free(g->target);
    free(g);
    s->g = NULL;
}

struct msg_who group_who(const struct sub_group *g)
{
    return (struct msg_who){.group = slice_str(g->name),
                            .member = slice_of(g->member, sizeof g->member),
                            .epoch = g->epoch};
}

bool group_prepare(struct weir_sub *s, struct req *r,
                   void (*done)(struct req *, const struct answer *))
{
    r->done = done;
    r->arg = s;
    r->repeat = false;
    r->deadline_mono_ns = CLOCK_NEVER;
    buf_clear(&r->frame);
    return conn_prepare(&s->w->conn, r) == WERR_OK;
}

void group_note_failure(struct sub_group *g, const weir_error *e)
{
    if (g->first_failure.outcome == WEIR_DONE) {
        g->first_failure = *e;
    }
}

struct topic *group_topic_of(const struct weir_sub *s, uint64_t tid)
{
    for (size_t i = 0; i < s->g->n_topics; i++) {
        if (s->g->topics[i]->valid && s->g->topics[i]->tid == tid) {
            return s->g->topics[i];
        }
    }
    return NULL;
}

/* ---------------------------------------------------------------- losing the membership */

void group_on_lost(struct weir_sub *s)
{
    struct sub_group *g = s->g;

    conn_cancel(&s->w->conn, &s->req);
    conn_cancel(&s->w->conn, &g->req);
    conn_cancel(&s->w->conn, &g->acquire_req);
    settle_on_lost(s);
    g->joined = false;
    if (g->closing && !commit_pending(g) && !settle_pending(g)) {
        g->left = true; /* nothing is worth coming back for */
    }
    if (s->state != SUB_FAILED) {
        s->state = SUB_META;
        s->retry_ns = 0;
    }
}

void group_fenced(struct weir_sub *s, const struct answer *a)
{
    struct sub_group *g = s->g;
    weir_error e = err_from(&a->err, a->cls);

    if (!g->joined) {
        return; /* told before */
    }
    conn_cancel(&s->w->conn, &g->req);
    conn_cancel(&s->w->conn, &s->req);
    conn_cancel(&s->w->conn, &g->acquire_req);
    s->id = 0;
    g->joined = g->known = false;
    group_note_failure(g, &e);
    s->w->last_error = e;
    if (s->kind == SUB_LOG) {
        assign_lose_all(s);
    } else {
        acquire_drop_unread(s);
        settle_on_lost(s);
    }
    if (g->closing) {
        g->left = true;
    } else if (s->state != SUB_FAILED) {
        s->state = SUB_JOIN;
        (void)sub_backoff(s, 0);
    }
}

bool group_was_fenced(struct weir_sub *s, const struct answer *a)
{
    bool fenced = a->err.code == WERR_UNKNOWN_MEMBER || a->err.code == WERR_FENCED_MEMBER;

    if (fenced) {
        group_fenced(s, a);
    }
    return fenced;
}

void group_on_changed(struct weir *w, struct slice name)
{
    struct weir_sub *s;

    TAILQ_FOREACH (s, &w->subs, link) {
        if (s->g && (name.n == 0 || slice_eq(name, slice_str(s->g->name)))) {
            s->g->beat = true;
        }
    }
}

/* ---------------------------------------------------------------- joining */

static void on_joined(struct req *r, const struct answer *a)
{
    struct weir_sub *s = r->arg;
    struct sub_group *g = s->g;
    struct mpread cur = a->result;
    struct msg_join_ok ok;
    struct werror e = {0};
    weir_error fatal;

    if (a->err.code == WERR_CLOSED || a->err.code == WERR_CONNECTION_LOST) {
        return;
    }
    if (a->err.code != WERR_OK) {
        fatal = err_from(&a->err, a->cls);
        if (a->err.code != WERR_UNKNOWN_TOPIC && a->cls != WCLASS_NEVER) {
            (void)sub_backoff(s, a->err.retry_after_ms);
            return;
        }
        err_wrap(&fatal, "group %s", g->name);
        sub_fail(s, fatal);
        return;
    }
    if (msg_get_join_ok(&cur, &ok, &e) != WERR_OK) {
        sub_broken(s, &e);
        return;
    }
    if (!ok.resumed && g->known) {
        if (s->kind == SUB_LOG) {
            assign_lose_all(s);
        } else {
            acquire_drop_unread(s);
        }
    }
    g->joined = g->known = true;
    g->beat = false;
    g->epoch = ok.epoch;
    s->retry_ns = 0;
    if (s->kind == SUB_LOG) {
        s->state = SUB_SUBSCRIBE;
        assign_set(s, &ok.parts, ok.n_parts);
    } else {
        s->state = SUB_ACTIVE;
        g->acquire_retry_ns = 0;
    }
}

static void ask_join(struct weir_sub *s)
{
    struct sub_group *g = s->g;
    struct slice names[GROUP_TOPICS];
    struct msg_join m = {.group = slice_str(g->name),
                         .member = slice_of(g->member, sizeof g->member),
                         .mode = s->kind == SUB_QUEUE ? GROUP_MODE_QUEUE : GROUP_MODE_LOG,
                         .order = s->opt.by_key ? GROUP_ORDER_KEY : GROUP_ORDER_NONE,
                         .start = -1};

    if (s->opt.start == START_LATEST) {
        m.start = -2;
    } else if (s->opt.start == START_TIME) {
        m.start = s->opt.start_value;
    }
    for (size_t i = 0; i < g->n_topics; i++) {
        names[i] = slice_of(g->topics[i]->name, g->topics[i]->name_len);
    }
    if (!group_prepare(s, &g->req, on_joined)) {
        (void)sub_backoff(s, 0);
        return;
    }
    msg_put_join(&g->req.frame, g->req.corr, &m, names, g->n_topics);
    if (conn_submit(&s->w->conn, &g->req) != WERR_OK) {
        (void)sub_backoff(s, 0);
    }
}

/* The broker tells ids, callers want names: they are learnt before. */
static bool topics_are_known(struct weir_sub *s)
{
    bool known = true;

    for (size_t i = 0; i < s->g->n_topics && s->state != SUB_FAILED; i++) {
        struct topic *t = s->g->topics[i];

        if (!t->valid && t->state == TOPIC_FAILED) {
            group_on_topic(s, t);
        } else if (!t->valid) {
            meta_want(s->w, t);
        }
        known = known && t->valid;
    }
    return known && s->state != SUB_FAILED;
}

void group_on_topic(struct weir_sub *s, struct topic *t)
{
    bool ours = false;
    weir_error e;

    for (size_t i = 0; i < s->g->n_topics; i++) {
        ours = ours || s->g->topics[i] == t;
    }
    if (ours && !t->valid && s->state != SUB_FAILED) {
        e = err_from(&t->err, t->err_class);
        err_wrap(&e, "topic %s", t->name);
        sub_fail(s, e);
    }
    if (ours && s->kind == SUB_LOG) {
        s->g->changed = s->g->joined; /* ids may have got their names */
    }
    if (s->kind == SUB_QUEUE && s->g->learn) {
        acquire_on_topic(s);
    }
}

/* ---------------------------------------------------------------- leaving */

static void on_left(struct req *r, const struct answer *a)
{
    struct weir_sub *s = r->arg;

    (void)a;
    s->g->left = true;
    s->g->joined = false;
}

void group_close(struct weir_sub *s)
{
    struct sub_group *g = s->g;

    if (!g || g->closing) {
        return;
    }
    g->closing = true;
    if (!g->joined) {
        g->left = s->state == SUB_FAILED || (!commit_pending(g) && !settle_pending(g));
    }
    if (g->joined && s->kind == SUB_QUEUE) {
        conn_cancel(&s->w->conn, &g->acquire_req);
        settle_release_all(s);
    }
    sub_drop_unread(s, NULL); /* nothing more is handed out */
    while (s->opt.manual && !TAILQ_EMPTY(&g->dirty)) {
        commit_clean(g, TAILQ_FIRST(&g->dirty));
    }
    g->commit_now = true;
}

bool group_closed(const struct weir_sub *s)
{
    return !s->g || s->g->left;
}

static void leave_step(struct weir_sub *s)
{
    struct sub_group *g = s->g;
    struct msg_who who = group_who(g);

    if (g->left || g->req.state != REQ_FREE || commit_pending(g) || settle_pending(g) ||
        !group_prepare(s, &g->req, on_left)) {
        return;
    }
    msg_put_leave(&g->req.frame, g->req.corr, &who);
    if (conn_submit(&s->w->conn, &g->req) != WERR_OK) {
        g->left = true;
    }
}

void group_farewell(struct weir_sub *s)
{
    struct sub_group *g = s->g;
    struct conn *c = &s->w->conn;
    struct msg_who who = group_who(g);

    conn_cancel(c, &g->acquire_req);
    conn_cancel(c, &g->commit_req);
    conn_cancel(c, &g->req);
    if (g->joined && !g->left && conn_ready(c)) {
        s->w->farewells = true;
        if (s->kind == SUB_QUEUE) {
            settle_release_all(s);
            settle_farewell(s);
        } else {
            commit_farewell(s);
        }
        if (group_prepare(s, &g->req, on_left)) {
            msg_put_leave(&g->req.frame, g->req.corr, &who);
            if (conn_submit(c, &g->req) == WERR_OK) {
                conn_cancel(c, &g->req); /* nobody waits for the answer */
            }
        }
    }
    settle_on_lost(s); /* their requests are forgotten */
    g->joined = false;
    g->left = true;
}

/* ---------------------------------------------------------------- time */

void group_step(struct weir_sub *s)
{
    struct sub_group *g = s->g;

    if (g->closing && g->left) {
        return;
    }
    if (g->joined && conn_ready(&s->w->conn)) { /* in FAILED too: what was done stays done */
        if (s->kind == SUB_LOG) {
            commit_step(s);
        } else {
            settle_step(s);
        }
        if (g->closing) {
            leave_step(s);
            return;
        }
    }
    if (s->state == SUB_FAILED) {
        return;
    }
    if (s->w->now_ns < s->retry_ns) {
        handle_timer(s->w, s->retry_ns);
        return;
    }
    if (s->state == SUB_META && topics_are_known(s)) {
        s->state = SUB_JOIN;
    }
    if (!conn_ready(&s->w->conn) || s->state == SUB_FAILED) {
        return;
    }
    if (s->state == SUB_JOIN && g->req.state == REQ_FREE) {
        ask_join(s);
    }
    if (g->joined && s->kind == SUB_LOG) {
        assign_step(s);
    } else if (g->joined) {
        if (g->beat && g->req.state == REQ_FREE) {
            assign_beat(s); /* a fenced member hears of it in this way */
        }
        acquire_step(s);
    }
}

/* ---------------------------------------------------------------- the caller's questions */

weir_error weir_commit(weir_sub *s, int timeout_ms)
{
    struct sub_group *g;
    struct weir *w;
    int64_t until;
    weir_error e;

    if (!s || !s->g || !s->w) {
        return err_make(WERR_MISUSE, "not a subscription with a group");
    }
    w = s->w;
    g = s->g;
    if (!handle_enter(w, true, &e)) {
        return e;
    }
    until = clock_after_ms(w->now_ns, timeout_ms);
    sub_hold(s);
    do {
        g->commit_now = true; /* again when something was given back meanwhile */
    } while ((commit_pending(g) || settle_pending(g)) && handle_now(w) < until &&
             (g->joined || s->state != SUB_FAILED) && handle_wait(w, until) && !s->gone);
    if (s->gone || w->closing) {
        e = err_make_as(WERR_CLOSED, WEIR_UNKNOWN, "the subscription was closed");
    } else {
        g->commit_now = false;
        e = g->first_failure;
        g->first_failure = err_done();
        if (e.outcome == WEIR_DONE && (commit_pending(g) || settle_pending(g))) {
            e = w->conn.state == CONN_READY
                    ? err_make(WERR_TIMEOUT, "no answer in time: it may have been stored")
                    : handle_unreachable(w);
        }
        e = handle_result(w, e);
    }
    handle_leave(w);
    (void)sub_unhold(s);
    return e;
}

uint64_t weir_sub_epoch(const weir_sub *s)
{
    return s && s->g ? s->g->epoch : 0;
}
