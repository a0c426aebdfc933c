/*
 * Groups in memory: found by name through a hash, listed through a sorted array; their gparts; what
 * topics that come, grow and go mean to them. Rows are in group_rows.c.
 *
 * What can fail: loading a row that is damaged or newer. Who owns what: core owns groups, a group
 * owns its members and gparts. A group or gpart that ends while a flight (or a waiter) refers to it
 * leaves every list at once and its memory with the last of those.
 */
#include "broker/core/group_impl.h"
#include "broker/core/mem.h"

static const int64_t SEEN_ROW_MS = INT64_C(3600) * 1000;

/* ---------------------------------------------------------------- names */

static struct slice name_of(const struct core_group *g)
{
    return slice_of(g->name, g->name_n);
}

static int name_compare(struct slice a, struct slice b)
{
    const size_t n = a.n < b.n ? a.n : b.n;
    const int c = n > 0 ? memcmp(a.p, b.p, n) : 0;

    return c != 0 ? c : (a.n > b.n) - (a.n < b.n);
}

/* First position whose name is >= name, or > name with `after`. */
static size_t name_position(const struct core *co, struct slice name, bool after)
{
    size_t lo = 0, hi = co->n_groups;

    while (lo < hi) {
        const size_t mid = lo + (hi - lo) / 2;
        const int c = name_compare(name_of(co->group_names[mid]), name);
        if (c < 0 || (after && c == 0)) {
            lo = mid + 1;
        } else {
            hi = mid;
        }
    }
    return lo;
}

struct core_group *group_lookup(struct core *co, struct slice name)
{
    struct core_group *g = NULL;

    if (name.n > 0 && name.n <= LIMIT_NAME) {
        HASH_FIND(hh, co->groups, name.p, name.n, g);
    }
    return g;
}

struct core_group *group_find(struct core *co, struct slice name)
{
    struct core_group *g = group_lookup(co, name);

    return g != NULL && !g->deleting ? g : NULL;
}

struct core_group *core_group_by_name(struct core *co, struct slice name)
{
    return group_find(co, name);
}

struct core_group *core_group_after(struct core *co, struct slice name)
{
    for (size_t at = name.n > 0 ? name_position(co, name, true) : 0; at < co->n_groups; at++) {
        if (!co->group_names[at]->deleting) {
            return co->group_names[at];
        }
    }
    return NULL;
}

size_t core_group_count(const struct core *co)
{
    return co->n_groups;
}

/* ---------------------------------------------------------------- life of a group */

static void on_resume(struct timer *t)
{
    struct core_group *g =
        (struct core_group *)(void *)((char *)t - offsetof(struct core_group, resume));

    group_pause_look(g);
}

static void group_link(struct core_group *g)
{
    struct core *co = g->co;
    const size_t at = name_position(co, name_of(g), false);

    if (co->n_groups == co->cap_groups) {
        co->cap_groups = co->cap_groups > 0 ? co->cap_groups * 2 : 64;
        co->group_names =
            core_realloc(co->group_names, co->cap_groups, sizeof(struct core_group *));
    }
    memmove(co->group_names + at + 1, co->group_names + at,
            (co->n_groups - at) * sizeof(struct core_group *));
    co->group_names[at] = g;
    co->n_groups++;
    HASH_ADD(hh, co->groups, name, g->name_n, g);
}

static void group_unlink(struct core_group *g)
{
    struct core *co = g->co;
    const size_t at = name_position(co, name_of(g), false);

    co->n_groups--;
    memmove(co->group_names + at, co->group_names + at + 1,
            (co->n_groups - at) * sizeof(struct core_group *));
    HASH_DEL(co->groups, g);
    g->gone = true;
}

struct core_group *group_make(struct core *co, struct slice name, uint64_t gid,
                              enum msg_group_mode mode)
{
    struct core_group *g = core_calloc(1, sizeof *g);

    g->co = co;
    g->gid = gid;
    g->mode = mode;
    group_config_defaults(&g->conf, mode);
    g->name_n = (uint8_t)name.n;
    memcpy(g->name, name.p, name.n);
    g->rebalance_soon.fire = rebalance_fire;
    g->resume.fire = on_resume;
    group_link(g);
    if (mode == GROUP_MODE_QUEUE) {
        queue_new(g);
    }
    return g;
}

struct core_group *group_new(struct core *co, struct slice name, enum msg_group_mode mode,
                             enum msg_group_order order, int64_t start)
{
    struct core_group *g = group_make(co, name, co->next_gid++, mode);

    co->counters_dirty = true;
    g->conf.order = order;
    g->start = start;
    g->created_ms = g->seen_ms = core_wall_ms(co);
    group_dirty(g, STORE_SYNC);
    return g;
}

static void group_free(struct core_group *g)
{
    if (g->gone && g->flights == 0) {
        free(g);
    }
}

void group_ref(struct core_group *g)
{
    g->flights++;
}

void group_unref(struct core_group *g)
{
    g->flights--;
    group_free(g);
}

void group_discard(struct core_group *g)
{
    struct core *co = g->co;
    struct member *m, *next_m;
    struct gpart *gp, *next_gp;

    if (g->queue != NULL) {
        queue_closing(g);
    }
    HASH_ITER (hh, g->parts, gp, next_gp) {
        gpart_free(gp); /* its leases refer to members */
    }
    HASH_ITER (hh, g->members, m, next_m) {
        member_fini(m);
    }
    if (g->queue != NULL) {
        queue_free(g);
    }
    group_undirty(g);
    timer_unset(&co->timers, &g->rebalance_soon);
    timer_unset(&co->timers, &g->resume);
    group_unlink(g);
    group_free(g);
}

bool group_is_live(const struct core_group *g)
{
    const struct member *m;

    for (m = g->members; m != NULL; m = m->hh.next) {
        if (!m->restored || g->mode == GROUP_MODE_LOG) {
            return true;
        }
    }
    return false;
}

void group_seen(struct core_group *g)
{
    g->seen_ms = core_wall_ms(g->co);
    g->hold_warned = false;
    if (g->seen_ms - g->row_seen_ms >= SEEN_ROW_MS) {
        group_dirty(g, STORE_LAZY);
    }
}

enum werr group_refuse_dead(const struct core *co, struct werror *e)
{
    return co->closing || co->failed
               ? werror_set(e, WERR_SHUTTING_DOWN, "%s", werr_text(WERR_SHUTTING_DOWN))
               : WERR_OK;
}

enum werr group_refuse(const struct core *co, struct werror *e)
{
    if (group_refuse_dead(co, e) == WERR_OK && co->settling) {
        werror_set(e, WERR_STORAGE_FULL, "%s", werr_text(WERR_STORAGE_FULL));
        e->retry_after_ms = 1000;
        return e->code;
    }
    return co->closing || co->failed ? WERR_SHUTTING_DOWN : WERR_OK;
}

uint64_t group_bump(struct core_group *g)
{
    if (!g->bumped) {
        g->generation++;
        g->bumped = true;
    }
    group_dirty(g, STORE_SYNC);
    return g->generation;
}

/* ---------------------------------------------------------------- pause */

bool group_paused(const struct core_group *g)
{
    const uint64_t until = g->conf.paused_until_ms;

    return until == LIMIT_UINT || (until > 0 && (int64_t)until > core_wall_ms(g->co));
}

void group_pause_look(struct core_group *g)
{
    struct core *co = g->co;
    const uint64_t until = g->conf.paused_until_ms;
    const bool paused = group_paused(g);
    struct member *m;

    timer_unset(&co->timers, &g->resume);
    if (paused && until != LIMIT_UINT) {
        int64_t wait_ms = (int64_t)until - core_wall_ms(co);
        wait_ms = wait_ms < 86400000 ? wait_ms : 86400000; /* looks at the clock once a day */
        timer_set(&co->timers, &g->resume, core_mono_ns(co) + wait_ms * 1000000);
    }
    if (paused == g->was_paused) {
        return;
    }
    g->was_paused = paused;
    core_log(co, 2, paused ? "group_paused" : "group_resumed", "group=%.*s", (int)g->name_n,
             g->name);
    if (g->mode == GROUP_MODE_QUEUE) {
        queue_paused(g, paused);
        return;
    }
    for (m = g->members; m != NULL; m = m->hh.next) {
        if (m->session != NULL && m->joining == 0 && !paused) {
            session_tell(m->session, SESSION_CHANGED);
        }
    }
}

/* ---------------------------------------------------------------- gparts */

struct gpart *gpart_find(struct core_group *g, uint32_t part_id)
{
    struct gpart *gp = NULL;

    HASH_FIND(hh, g->parts, &part_id, sizeof part_id, gp);
    return gp;
}

struct gpart *gpart_link(struct core_group *g, struct part *pt, uint64_t start)
{
    struct gpart *gp = core_calloc(1, sizeof *gp);

    gp->part_id = pt->id;
    gp->part = pt;
    gp->group = g;
    gp->committed = gp->pending = gp->floor = start;
    HASH_ADD(hh, g->parts, part_id, sizeof gp->part_id, gp);
    struct gpart *after = NULL, *at = LIST_FIRST(&pt->groups);
    if (g->mode == GROUP_MODE_LOG) { /* queues come first: groups_part_raised stops behind them */
        for (; at != NULL && at->group->mode == GROUP_MODE_QUEUE; at = LIST_NEXT(at, of_part)) {
            after = at;
        }
    }
    if (after != NULL) {
        LIST_INSERT_AFTER(after, gp, of_part);
    } else {
        LIST_INSERT_HEAD(&pt->groups, gp, of_part);
    }
    return gp;
}

struct gpart *gpart_make(struct core_group *g, struct part *pt, uint64_t start)
{
    struct gpart *gp = gpart_link(g, pt, start);

    if (g->mode == GROUP_MODE_QUEUE) {
        queue_part_new(gp);
    }
    gpart_dirty(gp, STORE_SYNC);
    return gp;
}

struct gpart *gpart_get(struct core_group *g, struct part *pt)
{
    struct gpart *gp = gpart_find(g, pt->id);

    return gp != NULL ? gp : gpart_make(g, pt, part_start(g->co, pt));
}

static void gpart_memory(struct gpart *gp)
{
    if (gp->gone && gp->flights == 0) {
        free(gp->note);
        free(gp->pending_note);
        free(gp);
    }
}

void gpart_unref(struct gpart *gp)
{
    gp->flights--;
    gpart_memory(gp);
}

void gpart_free(struct gpart *gp)
{
    struct core_group *g = gp->group;

    if (gp->q != NULL) {
        queue_part_free(gp);
    }
    if (gp->owner != NULL) {
        gp->owner->told_stale = true;
        TAILQ_REMOVE(&gp->owner->owned, gp, by_owner);
        gp->owner = NULL;
    }
    gpart_undirty(gp);
    LIST_REMOVE(gp, of_part);
    HASH_DEL(g->parts, gp);
    gp->part = NULL;
    gp->target = NULL;
    gp->gone = true;
    gpart_memory(gp);
}

uint64_t gpart_position(const struct gpart *gp)
{
    return gp->group->mode == GROUP_MODE_QUEUE ? gp->floor : gp->committed;
}
