/*
 * Positions of log groups: who may read, commits, what is committed; seek for both modes.
 *
 * Happy path: a commit raises `pending` and marks the gpart; the flight of the turn carries all of
 * them; when it is durable, pending has become `committed` and the commit is answered.
 *
 * What can fail: single items (their results say why); the flight with STORAGE_FULL: pending goes
 * back. Seeks check every item before they change one.
 *
 * Who owns what: requests belong to their callers; a wait refers to the request and, for a seek, to
 * nothing else.
 */
#include "broker/core/group_impl.h"
#include "broker/core/mem.h"

/* ---------------------------------------------------------------- reading */

/* The member's gpart. NULL and *e: NOT_ASSIGNED, UNKNOWN_TOPIC. */
static struct gpart *gpart_of_member(struct member *m, uint64_t epoch, uint64_t tid, uint32_t p,
                                     struct werror *e)
{
    const struct core_group *g = m->group;
    struct part *pt = topic_part(g->co, tid, p, false, e);
    struct gpart *gp = pt != NULL ? gpart_find(m->group, pt->id) : NULL;

    if (pt == NULL) {
        return NULL;
    }
    if (gp == NULL || gp->owner != m || gp->granting || gp->assign_epoch > epoch) {
        werror_set(e, WERR_NOT_ASSIGNED,
                   "group %s: partition %u of %.*s is not assigned to this member at epoch %llu",
                   g->name, p, (int)pt->topic->name_n, pt->topic->name, (unsigned long long)epoch);
        return NULL;
    }
    return gp;
}

static enum werr log_mode_only(const struct core_group *g, struct werror *e)
{
    return g->mode == GROUP_MODE_LOG
               ? WERR_OK
               : werror_set(e, WERR_GROUP_MODE, "group %s reads in queue mode: it has no positions",
                            g->name);
}

enum werr core_group_may_read(struct core *co, const struct msg_who *who, uint64_t tid, uint32_t p,
                              struct werror *e)
{
    struct member *m;
    enum werr rc = member_look(co, who, &m, e);
    struct gpart *gp;

    if (rc == WERR_OK) {
        rc = log_mode_only(m->group, e);
    }
    if (rc != WERR_OK) {
        return rc;
    }
    gp = gpart_of_member(m, who->epoch, tid, p, e);
    if (gp == NULL) {
        return e != NULL ? e->code : WERR_NOT_ASSIGNED;
    }
    if (gp->handed_out <= gp->pending) {
        member_heard(m); /* else it may be a delivery to one that does nothing any more */
    }
    if (group_paused(m->group)) {
        return werror_set(e, WERR_AGAIN, "group %s is paused", m->group->name);
    }
    return WERR_OK;
}

void core_group_handed_out(struct core *co, const struct msg_who *who, uint64_t tid, uint32_t p,
                           uint64_t next)
{
    struct member *m;
    struct gpart *gp;

    if (member_look(co, who, &m, NULL) != WERR_OK ||
        (gp = gpart_of_member(m, who->epoch, tid, p, NULL)) == NULL) {
        return;
    }
    if (next > gp->handed_out) {
        gp->handed_out = next;
        member_working(m);
    }
}

/* ---------------------------------------------------------------- commit */

struct commit_wait {
    struct waiter waiter;
    struct core_commit_rq *rq;
};

static void commit_end(struct waiter *w, enum werr rc, const struct werror *e)
{
    struct core_commit_rq *rq = ((struct commit_wait *)(void *)w)->rq;

    free(w);
    if (rc != WERR_OK) {
        group_fail(&rq->err, rc, e);
        free(rq->results);
        rq->results = NULL;
    }
    rq->done(rq);
}

/* WERR_OK: pending says so now. *wait: it is not durable yet. */
static enum werr commit_one(struct member *m, uint64_t epoch, const struct msg_commit_item *it,
                            bool *wait, struct werror *e)
{
#ifdef WEIR_BUG_COMMIT_NO_FENCE
    const struct part *pt = topic_part(m->group->co, it->tid, it->p, false, e);
    struct gpart *gp = pt != NULL ? gpart_find(m->group, pt->id) : NULL;
    const uint64_t least = 0 * epoch;
#else
    struct gpart *gp = gpart_of_member(m, epoch, it->tid, it->p, e);
    const uint64_t least = gp != NULL ? gp->pending : 0;
#endif

    if (gp == NULL) {
        return e->code;
    }
    if (it->offset < least) {
        return werror_set(e, WERR_CONDITION_FAILED,
                          "partition %u: %llu is below %llu, which is committed: only a seek goes "
                          "back",
                          it->p, (unsigned long long)it->offset, (unsigned long long)gp->pending);
    }
    if (it->offset > gp->part->hw) {
        return werror_set(e, WERR_OFFSET_OUT_OF_RANGE,
                          "partition %u: %llu is beyond the end of the log, %llu", it->p,
                          (unsigned long long)it->offset, (unsigned long long)gp->part->hw);
    }
    if (it->note.n > LIMIT_NOTE) {
        return werror_set(e, WERR_TOO_LARGE, "a note of %zu bytes: at most %d", it->note.n,
                          LIMIT_NOTE);
    }
    gp->pending = it->offset;
    gp->pending_ms = core_wall_ms(m->group->co);
    free(gp->pending_note);
    gp->pending_note = NULL;
    if (it->note.n > 0) {
        gp->pending_note = core_calloc(it->note.n + 1, 1);
        memcpy(gp->pending_note, it->note.p, it->note.n);
    }
    gpart_dirty(gp, STORE_SYNC);
    *wait = true;
    return WERR_OK;
}

void core_group_commit(struct core *co, struct core_commit_rq *rq)
{
    struct member *m = NULL;
    bool wait = false;

    rq->err = (struct werror){.code = WERR_OK};
    rq->results = NULL;
    enum werr rc = group_refuse(co, &rq->err);
    if (rc == WERR_OK) {
        rc = member_check(co, &rq->who, &m, &rq->err);
    }
#ifdef WEIR_BUG_COMMIT_NO_FENCE
    struct core_group *g = group_find(co, rq->who.group);
    if (m == NULL && g != NULL && g->members != NULL) { /* whoever speaks for the group */
        m = g->members;
        rc = WERR_OK;
    }
#endif
    if (rc != WERR_OK || log_mode_only(m->group, &rq->err) != WERR_OK) {
        rq->done(rq);
        return;
    }
    rq->results = core_calloc(rq->n, sizeof *rq->results);
    for (size_t i = 0; i < rq->n; i++) {
        (void)commit_one(m, rq->who.epoch, &rq->items[i], &wait, &rq->results[i]);
    }
    co->gstats.commits++;
#ifdef WEIR_BUG_COMMIT_BEFORE_DURABLE
    wait = false;
#endif
    if (!wait) {
        rq->done(rq);
        return;
    }
    struct commit_wait *w = core_calloc(1, sizeof *w);
    w->waiter.run = commit_end;
    w->rq = rq;
    flight_wait(co, &w->waiter);
}

/* ---------------------------------------------------------------- committed */

static void fill_committed(const struct gpart *gp, struct msg_committed *c)
{
    *c = (struct msg_committed){.tid = gp->part->topic->tid,
                                .p = gp->part->p,
                                .offset = gp->committed,
                                .ts_ms = gp->committed_ms};
    if (gp->note != NULL) {
        c->note = slice_str(gp->note);
    }
}

enum werr core_group_committed(struct core *co, struct slice group, const struct msg_tp *parts,
                               size_t n, bool all, struct msg_committed **out, size_t *n_out,
                               struct werror *e)
{
    struct core_group *g = group_find(co, group);
    size_t k = 0;

    *out = NULL;
    *n_out = 0;
    if (g == NULL) {
        return werror_set(e, WERR_UNKNOWN_GROUP, "no group is called %.*s", (int)group.n,
                          group.n > 0 ? (const char *)group.p : "");
    }
    *out = core_calloc(all ? HASH_COUNT(g->parts) : n, sizeof **out);
    if (all) {
        for (const struct gpart *gp = g->parts; gp != NULL; gp = gp->hh.next) {
            fill_committed(gp, &(*out)[k++]);
        }
    }
    for (size_t i = 0; i < n && !all; i++) {
        const struct part *pt = topic_part(co, parts[i].tid, parts[i].p, false, NULL);
        const struct gpart *gp = pt != NULL ? gpart_find(g, pt->id) : NULL;
        if (gp != NULL) { /* one that the group does not know has no position: left out */
            fill_committed(gp, &(*out)[k++]);
        }
    }
    *n_out = k;
    return WERR_OK;
}

/* ---------------------------------------------------------------- seek */

struct reset_wait {
    struct waiter waiter;
    struct core_reset_rq *rq;
};

static void reset_end(struct waiter *w, enum werr rc, const struct werror *e)
{
    struct core_reset_rq *rq = ((struct reset_wait *)(void *)w)->rq;

    free(w);
    if (rc != WERR_OK) {
        group_fail(&rq->err, rc, e);
    }
    rq->done(rq);
}

/* Fills the results; the first item that cannot be is the request's error. */
static enum werr reset_check(struct core *co, struct core_group *g, struct core_reset_rq *rq)
{
    for (size_t i = 0; i < rq->n; i++) {
        const struct msg_reset_item *it = &rq->items[i];
        struct msg_reset_result *res = &rq->results[i];
        const struct part *pt = topic_part(co, it->tid, it->p, false, &res->err);
        const struct gpart *gp = pt != NULL ? gpart_find(g, pt->id) : NULL;
        res->tid = it->tid;
        res->p = it->p;
        res->new_offset = it->offset;
        if (pt != NULL) {
            const uint64_t start = part_start(co, pt);
            res->old = gp != NULL ? gpart_position(gp) : start;
            if (it->offset < start || it->offset > pt->hw) {
                werror_set(&res->err, WERR_OFFSET_OUT_OF_RANGE,
                           "partition %u of %.*s has offsets %llu to %llu, not %llu", it->p,
                           (int)pt->topic->name_n, pt->topic->name, (unsigned long long)start,
                           (unsigned long long)pt->hw, (unsigned long long)it->offset);
            }
        }
        if (res->err.code != WERR_OK && rq->err.code == WERR_OK) {
            rq->err = res->err;
        }
    }
    return rq->err.code;
}

static void reset_one(struct core *co, struct core_group *g, const struct msg_reset_item *it)
{
    struct part *pt = topic_part(co, it->tid, it->p, false, NULL);
    struct gpart *gp = gpart_find(g, pt->id);

    core_log(co, 2, "group_seek", "group=%s topic=%.*s partition=%u from=%llu to=%llu", g->name,
             (int)pt->topic->name_n, pt->topic->name, it->p,
             (unsigned long long)(gp != NULL ? gpart_position(gp) : 0),
             (unsigned long long)it->offset);
    if (gp == NULL) {
        (void)gpart_make(g, pt, it->offset);
        return;
    }
    /* NOLINTNEXTLINE(clang-analyzer-*): never NULL here */
    if (g->mode == GROUP_MODE_QUEUE) {
        queue_reset(gp, it->offset);
    }
    gp->pending = it->offset;
    gp->pending_ms = core_wall_ms(co);
    gp->handed_out = it->offset;
    gpart_dirty(gp, STORE_SYNC);
}

void members_fence(struct core_group *g, const char *why)
{
    struct member *m, *next;

    /* NOLINTNEXTLINE(clang-analyzer-*): never NULL here */
    HASH_ITER (hh, g->members, m, next) {
        member_remove(m, why, true);
    }
    (void)group_bump(g);
}

void core_group_reset(struct core *co, struct core_reset_rq *rq)
{
    struct core_group *g = group_find(co, rq->group);

    rq->err = (struct werror){.code = WERR_OK};
    rq->results = core_calloc(rq->n, sizeof *rq->results);
    if (g == NULL) {
        werror_set(&rq->err, WERR_UNKNOWN_GROUP, "no group is called %.*s", (int)rq->group.n,
                   rq->group.n > 0 ? (const char *)rq->group.p : "");
    } else if (group_refuse(co, &rq->err) == WERR_OK && group_is_live(g) && !rq->force) {
        werror_set(&rq->err, WERR_GROUP_BUSY, "group %s has %u members: stop them, or force it",
                   g->name, HASH_COUNT(g->members));
    }
    if (rq->err.code != WERR_OK || reset_check(co, g, rq) != WERR_OK || rq->dry_run) {
        rq->done(rq);
        return;
    }
    if (group_is_live(g)) {
        members_fence(g, "the group's position was set");
    }
    for (size_t i = 0; i < rq->n; i++) {
        reset_one(co, g, &rq->items[i]);
    }
    struct reset_wait *w = core_calloc(1, sizeof *w);
    w->waiter.run = reset_end;
    w->rq = rq;
    flight_wait(co, &w->waiter);
}
