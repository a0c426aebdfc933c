/*
 * Log mode: who shall have which partition, and how it gets there.
 *
 * A partition moves in three steps. (1) It gets a target; its owner is told (SESSION_CHANGED, then
 * a heartbeat answers an assignment without it). (2) The owner heartbeats without it, or its
 * session ends: it is free. (3) It is granted: a new generation, which becomes its assignment
 * epoch, in one flight with the owner's name; when that is durable the new owner is told.
 *
 * What can fail: the flight. Then nobody is told, and the same grant is written again.
 * Plans run when the flight with the rows of what changed is about to leave, so that many joins in
 * one turn are one plan; in a burst they are no more than a few in 10 ms.
 */
#include "broker/core/assign.h"
#include "broker/core/group_impl.h"
#include "broker/core/mem.h"

enum { PLANS_AT_ONCE = 4 };
static const int64_t PLANS_APART_NS = INT64_C(10) * 1000000;

/* ---------------------------------------------------------------- when */

void rebalance_fire(struct timer *t)
{
    struct core_group *g =
        (struct core_group *)(void *)((char *)t - offsetof(struct core_group, rebalance_soon));

    if (g->plan_wanted) {
        group_dirty(g, STORE_SYNC); /* groups_write plans */
    }
}

void rebalance_want(struct core_group *g)
{
    struct core *co = g->co;

    if (g->mode != GROUP_MODE_LOG || g->gone || co->closing) {
        return;
    }
    g->plan_wanted = true;
    if (!timer_is_set(&g->rebalance_soon)) {
        timer_set(&co->timers, &g->rebalance_soon, core_mono_ns(co));
    }
}

/* False: too many plans just now, the timer is set. */
static bool plan_now(struct core_group *g)
{
    struct core *co = g->co;
    const int64_t now_ns = core_mono_ns(co);

    if (now_ns - g->plan_mono_ns >= PLANS_APART_NS) {
        g->plan_mono_ns = now_ns;
        g->plans = 0;
    }
    if (g->plans >= PLANS_AT_ONCE) {
        timer_set(&co->timers, &g->rebalance_soon, g->plan_mono_ns + PLANS_APART_NS);
        return false;
    }
    g->plans++;
    timer_unset(&co->timers, &g->rebalance_soon);
    return true;
}

/* ---------------------------------------------------------------- moving one partition */

static void tell_changed(struct member *m)
{
    m->told_stale = true;
    if (m->session != NULL && m->joining == 0) {
        session_tell(m->session, SESSION_CHANGED);
    }
}

/* Nobody has it and somebody shall. */
static void grant(struct gpart *gp)
{
    struct member *m = gp->target;

    if (m->session == NULL) {
        return; /* back or gone: a plan follows */
    }
    gp->owner = m;
    TAILQ_INSERT_TAIL(&m->owned, gp, by_owner);
    gp->assign_epoch = group_bump(gp->group);
    gp->granting = true;
    gp->handed_out = gp->pending;
    gpart_dirty(gp, STORE_SYNC);
#ifdef WEIR_BUG_GRANT_EARLY
    gp->group->durable_generation = gp->assign_epoch;
    gpart_granted(gp);
#endif
}

void gpart_release(struct gpart *gp)
{
    TAILQ_REMOVE(&gp->owner->owned, gp, by_owner);
    gp->owner = NULL;
    gp->granting = false;
    gpart_dirty(gp, STORE_LAZY);
    if (gp->target != NULL) {
        grant(gp);
    }
}

void gpart_granted(struct gpart *gp)
{
    gp->granting = false;
    if (gp->owner == NULL) {
        return;
    }
    if (gp->target == gp->owner) {
        tell_changed(gp->owner);
    } else {
        gpart_release(gp); /* it changed its mind meanwhile; the owner never knew */
    }
}

static void set_target(struct gpart *gp, struct member *target)
{
    struct member *owner = gp->owner;

    gp->target = target;
    if (owner == NULL) {
        if (target != NULL) {
            grant(gp);
        }
        return;
    }
    if (owner == target || gp->granting) {
        return;
    }
    if (gp->assign_epoch > owner->epoch && owner->joining == 0 && !owner->restored) {
        gpart_release(gp); /* durable, but it was never told */
        return;
    }
    tell_changed(owner);
}

/* ---------------------------------------------------------------- the plan */

struct planning {
    struct core_group *g;
    struct core_topic **topics;
    uint32_t n_topics, cap_topics;
    struct assign_member *members;
    struct member **who;
    uint32_t n_members;
    struct assign_part *parts;
    struct gpart **gparts;
    uint32_t n_parts;
};

static uint32_t topic_number(struct planning *pl, struct core_topic *t)
{
    if (t->plan_mark != pl->g->co->plan_mark) {
        if (pl->n_topics == pl->cap_topics) {
            pl->cap_topics = pl->cap_topics > 0 ? 2 * pl->cap_topics : 16;
            pl->topics = core_realloc(pl->topics, pl->cap_topics, sizeof(struct core_topic *));
        }
        t->plan_mark = pl->g->co->plan_mark;
        t->plan_index = pl->n_topics;
        pl->topics[pl->n_topics++] = t;
    }
    return t->plan_index;
}

static bool same_wishes(const struct member *a, const struct member *b)
{
    return a->n_topics == b->n_topics &&
           (a->n_topics == 0 || memcmp(a->topics, b->topics, a->n_topics * sizeof *a->topics) == 0);
}

/* Its topics that exist; shared with the member before when they are the same, as they mostly are.
 */
static void plan_member(struct planning *pl, struct member *m)
{
    const uint32_t at = pl->n_members++;
    struct assign_member *am = &pl->members[at];
    uint32_t *topics;

    pl->who[at] = m;
    am->frozen = m->session == NULL;
    if (at > 0 && same_wishes(m, pl->who[at - 1])) {
        am->topics = pl->members[at - 1].topics;
        am->n_topics = pl->members[at - 1].n_topics;
        return;
    }
    topics = core_calloc(m->n_topics, sizeof *topics);
    for (uint32_t i = 0; i < m->n_topics; i++) {
        struct core_topic *t = core_topic_by_name(pl->g->co, slice_str(m->topics[i]));
        if (t != NULL) {
            topics[am->n_topics++] = topic_number(pl, t);
        }
    }
    am->topics = topics;
}

static void plan_part(struct planning *pl, struct gpart *gp)
{
    const struct core_topic *t = gp->part->topic;
    const struct member *has = gp->target != NULL ? gp->target : gp->owner;

    if (t->plan_mark != pl->g->co->plan_mark) {
        /* Nobody who is known wants it; away owners may. */
        set_target(gp, gp->owner != NULL && gp->owner->session == NULL ? gp->owner : NULL);
        return;
    }
    pl->gparts[pl->n_parts] = gp;
    pl->parts[pl->n_parts++] = (struct assign_part){
        .topic = t->plan_index, .owner = has != NULL ? (int32_t)has->plan_index : -1};
}

static void planning_fini(struct planning *pl)
{
    for (uint32_t i = 0; i < pl->n_members; i++) {
        if (i == 0 || pl->members[i].topics != pl->members[i - 1].topics) {
            free((void *)(uintptr_t)pl->members[i].topics);
        }
    }
    free(pl->topics);
    free(pl->members);
    free(pl->who);
    free(pl->parts);
    free(pl->gparts);
}

void rebalance(struct core_group *g)
{
    const uint32_t n = HASH_COUNT(g->members), n_parts = HASH_COUNT(g->parts);
    struct planning pl = {.g = g};
    struct member *m;
    struct gpart *gp;

    if (!plan_now(g)) {
        return;
    }
    g->plan_wanted = false;
    g->co->plan_mark++;
    pl.members = core_calloc(n, sizeof *pl.members);
    pl.who = core_calloc(n, sizeof(struct member *));
    pl.parts = core_calloc(n_parts, sizeof *pl.parts);
    pl.gparts = core_calloc(n_parts, sizeof(struct gpart *));
    for (m = g->members; m != NULL; m = m->hh.next) {
        m->plan_index = pl.n_members;
        plan_member(&pl, m);
    }
    for (gp = g->parts; gp != NULL; gp = gp->hh.next) {
        plan_part(&pl, gp);
    }
    assign_plan(pl.members, pl.n_members, pl.parts, pl.n_parts, pl.n_topics);
    bool moved = false;
    for (uint32_t i = 0; i < pl.n_parts; i++) {
        const int32_t to = pl.parts[i].target;
        struct member *target = to >= 0 ? pl.who[to] : NULL;
        moved = moved || target != pl.gparts[i]->target;
        set_target(pl.gparts[i], target);
    }
    g->co->gstats.rebalances += moved;
    planning_fini(&pl);
}

/* ---------------------------------------------------------------- what a member has */

size_t member_assignment(const struct member *m, struct msg_assigned **out)
{
    const struct gpart *gp;
    size_t n = 0, k = 0;

    TAILQ_FOREACH (gp, &m->owned, by_owner) {
        n++;
    }
    struct msg_assigned *parts = core_calloc(n, sizeof *parts);
    TAILQ_FOREACH (gp, &m->owned, by_owner) {
        if (gp->target == m && !gp->granting) {
            parts[k++] = (struct msg_assigned){.tid = gp->part->topic->tid,
                                               .p = gp->part->p,
                                               .epoch = gp->assign_epoch,
                                               .offset = gp->committed};
        }
    }
    *out = parts;
    return k;
}
