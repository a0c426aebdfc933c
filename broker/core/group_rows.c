/*
 * Rows of groups and gparts: what they say, when they are written, what it means when they are.
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
#include "proto/mpread.h"
#include "proto/mpwrite.h"

enum { GROUP_ROW_VERSION = 1, GPART_ROW_VERSION = 1 };
enum { GPART_ROW_BYTES = 1 + 8 + 8 + 8 + 1 }; /* then the owner, then the note */
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
        memcpy(row + n, note, note_n);
        n += note_n;
    }
    txn_put(t, TABLE_META, key_slice(&k), slice_of(row, n));
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

    gp->committed = wp->position;
    gp->committed_ms = wp->ms;
    free(gp->note);
    gp->note = wp->note;
    wp->note = NULL;
    if (gp->granting && gp->assign_epoch == wp->assign_epoch) {
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

/* ---------------------------------------------------------------- loading */

struct load {
    struct core *co;
    struct part **parts; /* by partition id */
    size_t n_parts;
    struct core_group **groups; /* by gid */
    size_t n_groups, cap_groups;
};

static enum werr load_group(void *arg, struct slice key, struct slice value)
{
    struct load *l = arg;
    struct group_config c;
    struct mpread r;

    mpread_init(&r, value.p, value.n);
    const uint32_t n = mpread_array(&r);
    const uint64_t version = mpread_uint(&r, UINT32_MAX);
    if (r.err == WERR_OK && version > GROUP_ROW_VERSION) {
        return WERR_FORMAT_NEWER;
    }
    const uint64_t gid = mpread_uint(&r, LIMIT_UINT);
    const struct slice name = mpread_str(&r, LIMIT_NAME);
    const uint64_t mode = mpread_uint(&r, GROUP_MODE_QUEUE);
    const int64_t created_ms = mpread_int(&r, INT64_MIN, INT64_MAX);
    const int64_t seen_ms = mpread_int(&r, INT64_MIN, INT64_MAX);
    const int64_t start = mpread_int(&r, INT64_MIN, INT64_MAX);
    const uint64_t generation = mpread_uint(&r, UINT64_MAX);
    const struct meta_key want = group_key(gid);
    group_config_defaults(&c, (enum msg_group_mode)mode);
    if (n != 9 || r.err != WERR_OK || name.n == 0 ||
        group_config_get(&r, false, &c, NULL) != WERR_OK || !mpread_done(&r) ||
        !slice_eq(key, key_slice(&want)) || group_lookup(l->co, name) != NULL) {
        return WERR_CORRUPT;
    }
    struct core_group *g = group_make(l->co, name, gid, (enum msg_group_mode)mode);
    g->conf = c;
    g->created_ms = created_ms;
    g->seen_ms = g->row_seen_ms = seen_ms;
    g->start = start;
    g->generation = g->durable_generation = generation;
    if (l->n_groups == l->cap_groups) {
        l->cap_groups = l->cap_groups > 0 ? 2 * l->cap_groups : 64;
        l->groups = core_realloc(l->groups, l->cap_groups, sizeof(struct core_group *));
    }
    l->groups[l->n_groups++] = g; /* keys come in order */
    return WERR_OK;
}

static struct core_group *group_by_gid(const struct load *l, uint64_t gid)
{
    size_t lo = 0, hi = l->n_groups;

    while (lo < hi) {
        const size_t mid = lo + (hi - lo) / 2;
        if (l->groups[mid]->gid < gid) {
            lo = mid + 1;
        } else {
            hi = mid;
        }
    }
    return lo < l->n_groups && l->groups[lo]->gid == gid ? l->groups[lo] : NULL;
}

static void load_owner(struct gpart *gp, const uint8_t *id)
{
    struct member *m = member_find(gp->group, id);

    m = m != NULL ? m : member_restore(gp->group, id);
    gp->owner = gp->target = m;
    TAILQ_INSERT_TAIL(&m->owned, gp, by_owner);
}

static enum werr load_part(void *arg, struct slice key, struct slice value)
{
    struct load *l = arg;
    const uint8_t *row = value.p;
    size_t n = GPART_ROW_BYTES;

    if (key.n != 13 || value.n < n || row[25] > 1) {
        return WERR_CORRUPT;
    }
    if (row[0] != GPART_ROW_VERSION) {
        return row[0] > GPART_ROW_VERSION ? WERR_FORMAT_NEWER : WERR_CORRUPT;
    }
    n += row[25] != 0 ? MSG_MEMBER_BYTES : 0;
    const uint32_t part_id = be32(key.p + 1);
    struct core_group *g = group_by_gid(l, be64(key.p + 5));
    if (value.n < n || value.n > n + LIMIT_NOTE || g == NULL || part_id >= l->n_parts ||
        l->parts[part_id] == NULL) {
        return WERR_CORRUPT;
    }
    struct gpart *gp = gpart_link(g, l->parts[part_id], be64(row + 1));
    gp->committed_ms = gp->pending_ms = (int64_t)be64(row + 9);
    gp->assign_epoch = be64(row + 17);
    if (row[25] != 0) {
        load_owner(gp, row + GPART_ROW_BYTES);
    }
    if (value.n > n) {
        gp->note = core_calloc(1, value.n - n + 1);
        memcpy(gp->note, row + n, value.n - n);
        gp->pending_note = core_strdup(gp->note);
    }
    if (g->mode == GROUP_MODE_QUEUE) {
        queue_part_new(gp);
    }
    return WERR_OK;
}

static enum werr load_table(struct load *l, enum meta_tag tag, store_row_fn fn, const char *what,
                            struct werror *e)
{
    const struct meta_key lo = meta_key(tag), hi = meta_key_after(&lo);
    struct werror why = {0};
    const enum werr rc =
        store_scan(l->co->st, TABLE_META, key_slice(&lo), key_slice(&hi), fn, l, &why);

    if (rc == WERR_OK) {
        return rc;
    }
    return why.code != WERR_OK ? werror_set(e, rc, "%s: %s", what, why.text)
                               : werror_set(e, rc, "a row of %s is damaged", what);
}

enum werr group_rows_load(struct core *co, struct werror *e)
{
    struct load l = {.co = co, .n_parts = co->next_part};
    enum werr rc;

    l.parts = core_calloc(l.n_parts, sizeof(struct part *));
    for (size_t i = 0; i < co->n_names; i++) {
        const struct core_topic *t = co->names[i];
        for (uint32_t p = 0; p < t->n_parts; p++) {
            if (t->parts[p]->id < l.n_parts) {
                l.parts[t->parts[p]->id] = t->parts[p];
            }
        }
    }
    rc = load_table(&l, META_GROUP, load_group, "groups", e);
    if (rc == WERR_OK) {
        rc = load_table(&l, META_GPART, load_part, "positions of groups", e);
    }
    free(l.parts);
    free(l.groups);
    return rc;
}
