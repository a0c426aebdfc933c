/*
 * Log mode: which partitions are ours. Happy path: the broker tells what we shall have (JOIN,
 * HEARTBEAT); it is compared with what we hold; the caller hears of the difference; what goes is
 * committed, dropped from the subscription and given up by a heartbeat; what comes is added.
 * What can fail: a topic whose name is not known yet (looked up), a refused SUBSCRIBE (again from
 * where it was received to), the membership (group_fenced).
 */
#include <stdlib.h>
#include <string.h>

#include "client/group.h"
#include "client/handle.h"

void assign_set(struct weir_sub *s, struct mpread *parts, uint32_t n)
{
    struct sub_group *g = s->g;
    struct msg_assigned *target = calloc((size_t)n + 1, sizeof *target), a;
    size_t got = 0;

    if (!target) {
        sub_fail(s, err_make(WERR_NOMEM, "out of memory"));
        return;
    }
    while (got < n && msg_next_assigned(parts, &a)) {
        target[got++] = a;
    }
    free(g->target);
    g->target = target;
    g->n_target = got;
    g->changed = true;
}

/* ---------------------------------------------------------------- comparing */

/* A partition that we shall have: remembered until the caller knows. */
static void find_coming(struct weir_sub *s, const struct msg_assigned *a)
{
    struct sub_topic *st = sub_topic_find(s, a->tid);
    struct topic *t = st ? st->topic : group_topic_of(s, a->tid);
    struct sub_part *part;

    if (!t) { /* made anew since we looked: group_on_topic comes back to it */
        for (size_t i = 0; i < s->g->n_topics; i++) {
            meta_refresh(s->w, s->g->topics[i]);
        }
        return;
    }
    st = st ? st : sub_topic_add(s, a->tid, t);
    part = st ? sub_part_find(s, a->tid, a->p) : NULL;
    part = st && !part ? sub_part_add(s, st, a->p) : part;
    if (!part) {
        sub_fail(s, err_make(WERR_NOMEM, "out of memory"));
        return;
    }
    if (!part->held || part->assign_epoch != a->epoch) {
        part->coming = true;
        part->coming_epoch = a->epoch;
        part->coming_offset = a->offset;
    }
    part->leaving = part->held && part->coming; /* lost and got again: begins anew */
}

static void compare(struct weir_sub *s)
{
    struct sub_group *g = s->g;
    struct sub_part *part;
    bool news = false;

    g->changed = false;
    TAILQ_FOREACH (part, &s->parts, link) {
        part->leaving = part->held;
        part->coming = false;
    }
    for (size_t i = 0; i < g->n_target && s->state != SUB_FAILED; i++) {
        find_coming(s, &g->target[i]);
    }
    TAILQ_FOREACH (part, &s->parts, link) {
        news = news || part->leaving || part->coming;
        if (part->leaving) {
            sub_drop_unread(s, part); /* nothing more of it is handed out */
        }
    }
    g->telling = news;
}

/* The caller knows: now it counts. */
static void take_over(struct weir_sub *s)
{
    struct sub_group *g = s->g;
    struct sub_part *part;

    g->telling = false;
    TAILQ_FOREACH (part, &s->parts, link) {
        if (part->leaving) {
            part->held = false;
            part->gen++;
            g->give_up = g->give_up || !part->coming;
            g->commit_now = g->commit_now || (part->on_dirty && !s->opt.manual);
            if (part->coming || s->opt.manual) {
                commit_clean(g, part);
            }
            if (part->coming && part->subscribed) {
                s->state = s->state == SUB_ACTIVE ? SUB_SUBSCRIBE : s->state;
            }
        }
        if (part->coming) {
            part->gen++;
            part->held = true;
            part->assign_epoch = part->coming_epoch;
            part_reset(part, part->coming_offset);
        }
        g->parts_changed = g->parts_changed || part->leaving || part->coming;
        part->leaving = part->coming = false;
    }
}

void assign_tell(struct weir_sub *s)
{
    struct sub_group *g = s->g;
    struct weir *w = s->w;
    weir_partition_ref *refs = calloc((size_t)s->n_parts * 2 + 1, sizeof *refs);
    const struct sub_part *part;
    size_t n_gained = 0, n_lost = 0;
    weir_partition_ref *lost = refs ? refs + s->n_parts : NULL;

    TAILQ_FOREACH (part, &s->parts, link) {
        const weir_partition_ref ref = {part->name, (int32_t)part->p, (int64_t)part->coming_offset};

        if (refs && part->coming) {
            refs[n_gained++] = ref;
        }
        if (refs && part->leaving) {
            lost[n_lost++] = ref;
        }
    }
    if (refs && g->on_assignment) {
        w->in_callback = true;
        g->on_assignment(g->on_assignment_user, s, refs, n_gained, lost, n_lost);
        w->in_callback = false;
    }
    free(refs);
    if (!s->gone && g->telling) {
        take_over(s);
    }
}

void assign_lose_all(struct weir_sub *s)
{
    struct sub_group *g = s->g;
    struct sub_part *part;

    g->n_target = 0;
    g->changed = g->parts_changed = g->give_up = g->beat = false;
    sub_drop_unread(s, NULL);
    TAILQ_FOREACH (part, &s->parts, link) {
        commit_clean(g, part);
        part->gen++; /* what the caller holds of it is stale */
        part->leaving = part->held;
        part->coming = part->subscribed = false;
        g->telling = g->telling || part->leaving;
    }
    if (!g->on_assignment && g->telling) {
        take_over(s);
    }
    g->give_up = false; /* there is nothing left to tell */
}

/* ---------------------------------------------------------------- the subscription */

static void resubscribe(struct weir_sub *s, uint32_t retry_after_ms)
{
    struct sub_part *part;

    conn_cancel(&s->w->conn, &s->req);
    sub_forget_id(s);
    TAILQ_FOREACH (part, &s->parts, link) {
        part->subscribed = false;
    }
    s->state = SUB_SUBSCRIBE;
    (void)sub_backoff(s, retry_after_ms);
}

/* SUBSCRIBE or SUB_UPDATE was answered. */
static void on_subscribed(struct req *r, const struct answer *a)
{
    struct weir_sub *s = r->arg;
    weir_error e;

    if (a->err.code == WERR_OK) {
        s->tries = 0;
        return;
    }
    if (a->err.code == WERR_CLOSED || a->err.code == WERR_CONNECTION_LOST ||
        group_was_fenced(s, a)) {
        return;
    }
    if (a->cls == WCLASS_RETRY || a->cls == WCLASS_REFRESH || a->err.code == WERR_NOT_ASSIGNED ||
        a->err.code == WERR_UNKNOWN_SUB) {
        s->g->beat = true;
        if (a->err.code == WERR_UNKNOWN_TOPIC) {
            for (size_t i = 0; i < s->g->n_topics; i++) {
                meta_refresh(s->w, s->g->topics[i]);
            }
        }
        resubscribe(s, a->err.retry_after_ms);
        return;
    }
    e = err_from(&a->err, a->cls);
    err_wrap(&e, "group %s", s->g->name);
    sub_fail(s, e);
}

void assign_error(struct weir_sub *s, const struct msg_sub_error *m)
{
    const struct answer a = {.err = m->err, .cls = m->err_class};

    on_subscribed(&(struct req){.arg = s}, &a);
}

/* Brings the subscription on the wire up to what is held. */
static void update(struct weir_sub *s)
{
    struct msg_sub_part *parts = calloc((size_t)s->n_parts * 2 + 1, sizeof *parts);
    struct msg_sub_part *drop = parts ? parts + s->n_parts : NULL;
    struct sub_part *part;
    size_t n_add = 0, n_drop = 0;

    if (!parts || !sub_prepare(s, on_subscribed)) {
        free(parts);
        (void)sub_backoff(s, 0);
        return;
    }
    TAILQ_FOREACH (part, &s->parts, link) {
        const struct msg_sub_part x = {.tid = part->tid, .p = part->p, .offset = part->recv};

        if (part->held && !part->subscribed) {
            parts[n_add++] = x;
        } else if (!part->held && part->subscribed) {
            drop[n_drop++] = x;
        }
        part->subscribed = part->held;
    }
    s->g->parts_changed = false;
    if (n_add + n_drop == 0) { /* both empty would end the subscription */
        conn_cancel(&s->w->conn, &s->req);
    } else {
        msg_put_sub_update(&s->req.frame, s->req.corr, s->id, parts, n_add, drop, n_drop);
        if (conn_submit(&s->w->conn, &s->req) != WERR_OK) {
            resubscribe(s, 0);
        }
    }
    free(parts);
}

/* ---------------------------------------------------------------- HEARTBEAT */

static void on_beat(struct req *r, const struct answer *a)
{
    struct weir_sub *s = r->arg;
    struct mpread cur = a->result;
    struct msg_heartbeat_ok ok;
    struct werror e = {0};
    weir_error fatal;

    if (a->err.code == WERR_OK && msg_get_heartbeat_ok(&cur, &ok, &e) == WERR_OK) {
        s->g->epoch = ok.epoch;
        if (ok.has_parts && s->kind == SUB_LOG) {
            assign_set(s, &ok.parts, ok.n_parts);
        }
    } else if (a->err.code == WERR_OK) {
        sub_broken(s, &e);
    } else if (a->err.code == WERR_CLOSED || a->err.code == WERR_CONNECTION_LOST ||
               group_was_fenced(s, a)) {
        return;
    } else if (a->cls == WCLASS_RETRY || a->cls == WCLASS_REFRESH || a->cls == WCLASS_UNKNOWN) {
        s->g->give_up = true; /* telling what we hold is right at any time */
        (void)sub_backoff(s, a->err.retry_after_ms);
    } else {
        fatal = err_from(&a->err, a->cls);
        err_wrap(&fatal, "group %s", s->g->name);
        sub_fail(s, fatal);
    }
}

/* What was given up must be committed before another member gets it. */
static bool ready_to_give_up(const struct sub_group *g)
{
    const struct sub_part *part;

    TAILQ_FOREACH (part, &g->dirty, dirty) {
        if (!part->held) {
            return false;
        }
    }
    for (size_t i = 0; g->commit_req.state != REQ_FREE && i < g->n_commit_parts; i++) {
        if (!g->commit_parts[i]->held) {
            return false;
        }
    }
    return true;
}

void assign_beat(struct weir_sub *s)
{
    struct sub_group *g = s->g;
    struct msg_tp *owned = calloc((size_t)s->n_parts + 1, sizeof *owned);
    const struct msg_who who = group_who(g);
    const struct sub_part *part;
    size_t n = 0;

    if (!owned || !group_prepare(s, &g->req, on_beat)) {
        free(owned);
        (void)sub_backoff(s, 0);
        return;
    }
    TAILQ_FOREACH (part, &s->parts, link) {
        if (part->held) {
            owned[n++] = (struct msg_tp){part->tid, part->p};
        }
    }
    msg_put_heartbeat(&g->req.frame, g->req.corr, &who, owned, g->give_up ? n : 0, g->give_up);
    g->give_up = g->beat = false;
    if (conn_submit(&s->w->conn, &g->req) != WERR_OK) {
        g->give_up = true;
        (void)sub_backoff(s, 0);
    }
    free(owned);
}

void assign_step(struct weir_sub *s)
{
    struct sub_group *g = s->g;

    if (g->changed && !g->telling) {
        compare(s);
    }
    if (g->telling && !g->on_assignment) {
        take_over(s);
    }
    if (g->telling || s->state == SUB_FAILED) {
        return; /* the caller is to hear of it first */
    }
    if ((g->beat || (g->give_up && ready_to_give_up(g))) && g->req.state == REQ_FREE) {
        assign_beat(s);
    }
    if (s->req.state != REQ_FREE || !conn_ready(&s->w->conn)) {
        return;
    }
    if (s->state == SUB_SUBSCRIBE || (g->parts_changed && s->id == 0)) {
        sub_forget_id(s);
        g->parts_changed = false;
        sub_ask_subscribe(s, on_subscribed);
    } else if (g->parts_changed) {
        update(s);
    }
}

void weir_on_assignment(weir_sub *s, weir_assignment_fn fn, void *user)
{
    if (s && s->g) {
        s->g->on_assignment = fn;
        s->g->on_assignment_user = user;
    }
}
