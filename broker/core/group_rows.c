/*
 * Rows of groups and gparts: when they are written, and what it means when they are. group_load.c
 * reads them.
 *
 * Happy path: memory changes and is marked dirty; flight_submit calls groups_write, which encodes
 * the rows as memory is now and leaves a waiter that knows what they said. The waiter runs before
 * every other one of its flight: so who waits for a commit or a grant finds it done.
 *
 * What can fail: STORAGE_FULL = none of it happened. Commits go back to what is durable; grants and
 * the rest stay as they are in memory, are told to nobody, and are written again a second later.
 *
 * Who owns what: a waiter refers to its groups and gparts (flights), which may be gone meanwhile.
 */
#include "broker/core/group_impl.h"
#include "broker/core/mem.h"
#include "proto/killpoint.h"
#include "proto/mpwrite.h"

static const int64_t FULL_RETRY_NS = 1000000000;

struct meta_key group_key(uint64_t gid)
{
    return meta_key_64(META_GROUP, gid);
}

struct meta_key gpart_key(uint32_t part_id, uint64_t gid)
{
    return meta_key_32_64(META_GPART, part_id, gid);
}

/* ---------------------------------------------------------------- what a flight carries */

struct wrote_group {
    struct core_group *g;
    uint64_t generation;
};
struct wrote_part {
    struct gpart *gp;
    uint64_t position;
    int64_t ms;
    char *note;
    uint64_t assign_epoch;
};
struct wrote {
    struct waiter waiter;
    struct core *co;
    struct wrote_group *groups;
    struct wrote_part *parts;
    size_t n_groups, n_parts;
};

static void wrote_run(struct waiter *waiter, enum werr rc, const struct werror *e);

static struct wrote *wrote_new(struct core *co)
{
    struct wrote *w = core_calloc(1, sizeof *w);

    w->co = co;
    w->waiter.run = wrote_run;
    TAILQ_INSERT_HEAD(&co->flight->waiters, &w->waiter, link);
    return w;
}

/* ---------------------------------------------------------------- dirty */

/* The open flight (opens one) has a waiter of ours, ahead of all others. */
static void flight_watch(struct core *co, enum store_sync sync)
{
    if (co->closing || co->failed) {
        return;
    }
    (void)flight_rows(co, sync);
    if (co->wrote == NULL) {
        co->wrote = wrote_new(co);
    }
}

void group_dirty(struct core_group *g, enum store_sync sync)
{
    struct core *co = g->co;

    if (!g->dirty && !g->gone) {
        g->dirty = true;
        TAILQ_INSERT_TAIL(&co->groups_dirty, g, in_dirty);
    }
    flight_watch(co, sync);
}

void group_undirty(struct core_group *g)
{
    if (g->dirty) {
        g->dirty = false;
        TAILQ_REMOVE(&g->co->groups_dirty, g, in_dirty);
    }
}

static void gpart_mark(struct gpart *gp)
{
    if (!gp->dirty && !gp->gone) {
        gp->dirty = true;
        TAILQ_INSERT_TAIL(&gp->group->co->gparts_dirty, gp, in_dirty);
    }
}

void gpart_dirty(struct gpart *gp, enum store_sync sync)
{
    gpart_mark(gp);
    flight_watch(gp->group->co, sync);
}

void gpart_undirty(struct gpart *gp)
{
    if (gp->dirty) {
        gp->dirty = false;
        TAILQ_REMOVE(&gp->group->co->gparts_dirty, gp, in_dirty);
    }
}

/* ---------------------------------------------------------------- encoding */

/* [version, gid, name, mode, created_ms, seen_ms, start, generation, {config}] */
static void group_put(struct core_group *g, struct store_txn *t)
{
    const struct meta_key k = group_key(g->gid);
    struct buf row;

    buf_init(&row, 0);
    mpw_array(&row, 9);
    mpw_uint(&row, GROUP_ROW_VERSION);
    mpw_uint(&row, g->gid);
    mpw_str(&row, slice_of(g->name, g->name_n));
    mpw_uint(&row, g->mode);
    mpw_int(&row, g->created_ms);
    mpw_int(&row, g->seen_ms);
    mpw_int(&row, g->start);
    mpw_uint(&row, g->generation);
    group_config_put(&row, g->altering > 0 ? &g->conf_next : &g->conf, true);
    if (row.failed) {
        abort();
    }
    txn_put(t, TABLE_META, key_slice(&k), buf_slice(&row));
    WEIR_KILLPOINT(generation_row);
    buf_fini(&row);
    g->row_seen_ms = g->seen_ms;
}

/* version u8, position u64, committed ms u64, assignment epoch u64, 1 and owner or 0, note */
static void gpart_put(struct gpart *gp, struct store_txn *t)
{
    const struct meta_key k = gpart_key(gp->part_id, gp->group->gid);
    const char *note = gp->pending_note;
    uint8_t row[GPART_ROW_BYTES + MSG_MEMBER_BYTES + LIMIT_NOTE];
    size_t n = GPART_ROW_BYTES;

    row[0] = GPART_ROW_VERSION;
    put_be64(row + 1, gp->pending);
    put_be64(row + 9, (uint64_t)gp->pending_ms);
    put_be64(row + 17, gp->assign_epoch);
    row[25] = gp->owner != NULL;
    if (gp->owner != NULL) {
        memcpy(row + n, gp->owner->id, MSG_MEMBER_BYTES);
        n += MSG_MEMBER_BYTES;
    }
    if (note != NULL) {
        const size_t note_n = strlen(note);
        /* NOLINTNEXTLINE(bugprone-not-null-terminated-result): a row has no end mark */
        memcpy(row + n, note, note_n);
        n += note_n;
    }
    txn_put(t, TABLE_META, key_slice(&k), slice_of(row, n));
    WEIR_KILLPOINT(commit_row);
}

/* ---------------------------------------------------------------- what became of it */

static void retry_fire(struct timer *t)
{
    struct core *co = (struct core *)(void *)((char *)t - offsetof(struct core, groups_retry));

    if (!TAILQ_EMPTY(&co->groups_dirty) || !TAILQ_EMPTY(&co->gparts_dirty)) {
        flight_watch(co, STORE_SYNC);
    }
}

static void part_durable(struct wrote_part *wp)
{
    struct gpart *gp = wp->gp;

    WEIR_KILLPOINT(commit_durable);
    gp->committed = wp->position;
    gp->committed_ms = wp->ms;
    free(gp->note);
    gp->note = wp->note;
    wp->note = NULL;
    if (gp->granting && gp->assign_epoch == wp->assign_epoch) {
        WEIR_KILLPOINT(grant_before);
        gpart_granted(gp);
    }
    if (gp->owner != NULL) {
        member_working(gp->owner);
    }
}

/* Nothing of it happened, nor will anything that was asked for since. */
static void part_failed(struct gpart *gp)
{
    gp->pending = gp->committed;
    gp->pending_ms = gp->committed_ms;
    free(gp->pending_note);
    gp->pending_note = gp->note != NULL ? core_strdup(gp->note) : NULL;
    gp->rewrite = true;
    gpart_mark(gp);
}

static void retry_soon(struct core *co)
{
    if (!co->closing && !timer_is_set(&co->groups_retry)) {
        co->groups_retry.fire = retry_fire;
        timer_set(&co->timers, &co->groups_retry, core_mono_ns(co) + FULL_RETRY_NS);
    }
}

void group_rewrite(struct core_group *g)
{
    if (!g->dirty && !g->gone) {
        g->dirty = true;
        TAILQ_INSERT_TAIL(&g->co->groups_dirty, g, in_dirty);
    }
    for (struct gpart *gp = g->parts; gp != NULL; gp = gp->hh.next) {
        gp->rewrite = true;
        gpart_mark(gp);
    }
    retry_soon(g->co);
}

static void wrote_groups(struct wrote *w, enum werr rc)
{
    for (size_t i = 0; i < w->n_groups; i++) {
        const struct wrote_group *wg = &w->groups[i];
        struct core_group *g = wg->g;
        if (rc == WERR_OK && wg->generation > g->durable_generation) {
            WEIR_KILLPOINT(generation_durable);
            g->durable_generation = wg->generation;
        } else if (rc == WERR_STORAGE_FULL && !g->gone && !g->dirty) {
            g->dirty = true;
            TAILQ_INSERT_TAIL(&w->co->groups_dirty, g, in_dirty);
            w->co->counters_dirty = true; /* it may be new, and so its number */
        }
    }
}

static void wrote_parts(struct wrote *w, enum werr rc)
{
    for (size_t i = 0; i < w->n_parts; i++) {
        struct wrote_part *wp = &w->parts[i];
        struct gpart *gp = wp->gp;
        if (!gp->gone && gp->q != NULL) {
            queue_written(gp, rc);
        }
        if (gp->gone || rc == WERR_INDETERMINATE || rc == WERR_SHUTTING_DOWN) {
            continue;
        }
        if (rc == WERR_OK) {
            part_durable(wp);
        } else {
            part_failed(gp);
        }
    }
}

/* What was to go with the flight that was withdrawn. */
static void dirty_failed(struct core *co)
{
    struct gpart *gp;

    TAILQ_FOREACH (gp, &co->gparts_dirty, in_dirty) {
        part_failed(gp);
        if (gp->q != NULL) {
            queue_withdrawn(gp);
        }
    }
}

static void wrote_run(struct waiter *waiter, enum werr rc, const struct werror *e)
{
    struct wrote *w = (struct wrote *)(void *)waiter;
    struct core *co = w->co;

    (void)e;
    if (co->wrote == w) { /* the flight never left */
        co->wrote = NULL;
        if (rc == WERR_STORAGE_FULL) {
            dirty_failed(co);
        }
    }
    wrote_groups(w, rc);
    wrote_parts(w, rc);
    for (size_t i = 0; i < w->n_parts; i++) {
        free(w->parts[i].note);
        gpart_unref(w->parts[i].gp);
    }
    for (size_t i = 0; i < w->n_groups; i++) {
        group_unref(w->groups[i].g);
    }
    if (rc == WERR_STORAGE_FULL) {
        retry_soon(co);
    }
    free(w->groups);
    free(w->parts);
    free(w);
}

/* ---------------------------------------------------------------- writing */

static void write_groups(struct core *co, struct wrote *w)
{
    struct store_txn *t = co->flight->txn;
    struct core_group *g;
    size_t cap = 0;

    while ((g = TAILQ_FIRST(&co->groups_dirty)) != NULL) {
        group_undirty(g);
        if (g->deleting) {
            continue;
        }
        if (w->n_groups == cap) {
            cap = cap > 0 ? 2 * cap : 16;
            w->groups = core_realloc(w->groups, cap, sizeof *w->groups);
        }
        group_put(g, t);
        g->bumped = false;
        group_ref(g);
        w->groups[w->n_groups++] = (struct wrote_group){g, g->generation};
    }
}

static void write_parts(struct core *co, struct wrote *w)
{
    struct store_txn *t = co->flight->txn;
    struct gpart *gp, *next;
    size_t cap = 0;

    for (gp = TAILQ_FIRST(&co->gparts_dirty); gp != NULL; gp = next) {
        next = TAILQ_NEXT(gp, in_dirty);
        if (gp->part->topic->deleting) {
            continue; /* its rows are going; if they stay after all, it is written then */
        }
        gpart_undirty(gp);
        if (gp->group->deleting) {
            continue;
        }
        if (w->n_parts == cap) {
            cap = cap > 0 ? 2 * cap : 64;
            w->parts = core_realloc(w->parts, cap, sizeof *w->parts);
        }
        if (gp->q != NULL) {
            queue_write(gp, t);
            if (gp->floor != gp->pending) {
                gp->pending = gp->floor;
                gp->pending_ms = core_wall_ms(co);
            }
        }
        gpart_put(gp, t);
        gp->rewrite = false;
        gp->flights++;
        w->parts[w->n_parts++] = (struct wrote_part){
            gp, gp->pending, gp->pending_ms,
            gp->pending_note != NULL ? core_strdup(gp->pending_note) : NULL, gp->assign_epoch};
    }
}

void groups_write(struct core *co)
{
    struct core_group *g, *next;

    if (co->closing || co->failed) {
        co->wrote = NULL;
        return;
    }
    for (g = TAILQ_FIRST(&co->groups_dirty); g != NULL; g = next) {
        next = TAILQ_NEXT(g, in_dirty);
        if (g->plan_wanted && !g->deleting) {
            rebalance(g);
        }
    }
    if (co->counters_dirty) {
        co->counters_dirty = false;
        counters_put(co, co->flight->txn);
    }
    if (!TAILQ_EMPTY(&co->groups_dirty) || !TAILQ_EMPTY(&co->gparts_dirty)) {
        flight_watch(co, STORE_LAZY);
        write_groups(co, co->wrote);
        write_parts(co, co->wrote);
    }
    co->wrote = NULL; /* it goes with this flight */
}
