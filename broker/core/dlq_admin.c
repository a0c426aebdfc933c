/*
 * Looking at dead letters, giving them back, throwing them away.
 *
 * Happy path: a move walks its spans a stretch at a time; each stretch changes the queue's state
 * and waits until that is durable, so a million messages do not stop the loop. What can fail: the
 * topic or the group goes meanwhile, the disk is full: the answer says so; what was moved until
 * then stays moved, and asking again skips it.
 *
 * Who owns what: a move copies what it needs of the request and belongs to dlq_core->moves.
 */
#include "broker/core/dlq_impl.h"

#include "broker/core/mem.h"

enum {
    STRETCH = 2000,      /* messages looked at per step */
    LIST_LOOKS = 200000, /* messages looked at per listing */
    LIST_RANGES = 1000,  /* default */
    LIST_RANGES_MAX = 10000,
    RATE = 100, /* redriven messages a second, default */
    US_PER_S = 1000000,
};

/* Until when redriven messages of a topic are due already: two redrives do not double the rate. */
struct dlq_pace {
    UT_hash_handle hh;
    uint64_t tid;
    int64_t next_us; /* wall time of the next one */
};

struct move {
    struct waiter w;
    TAILQ_ENTRY(move) link;
    struct dlq_core *dl;
    struct core_dlq_rq *rq;
    struct timer go_on;
    bool purge;
    bool waits; /* for its flight */
    uint64_t tid, gid;
    uint64_t step_moved; /* in the flight that it waits for */
    size_t n, i;         /* spans, the one it is at */
    uint64_t at;         /* next offset in it */
    struct msg_dlq_span spans[];
};

static void move_step(struct move *m);

/* ---------------------------------------------------------------- finding */

/* The group of a dead-letter topic. */
static struct core_group *dlq_group(struct core *co, const struct core_topic *t, struct werror *e)
{
    struct slice topic, group;
    struct core_group *g;

    if (!dlq_name_split(slice_of(t->name, t->name_n), &topic, &group)) {
        werror_set(e, WERR_INVALID_CONFIG, "%.*s is not a topic of dead letters (TOPIC~GROUP~dlq)",
                   (int)t->name_n, t->name);
        return NULL;
    }
    g = group_find(co, group);
    if (g == NULL) {
        werror_set(e, WERR_UNKNOWN_GROUP, "group %.*s of these dead letters is gone", (int)group.n,
                   (const char *)group.p);
    } else if (g->mode != GROUP_MODE_QUEUE) {
        werror_set(e, WERR_GROUP_MODE, "group %.*s is a log group: it has no dead letters",
                   (int)group.n, (const char *)group.p);
        g = NULL;
    }
    return g;
}

static struct core_topic *dlq_topic(struct core *co, struct slice name, struct werror *e)
{
    struct core_topic *t = core_topic_by_name(co, name);

    if (t == NULL) {
        werror_set(e, WERR_UNKNOWN_TOPIC, "no topic is called %.*s", (int)name.n,
                   (const char *)name.p);
    }
    return t;
}

static struct part *dlq_part(struct core_topic *t, uint32_t p, struct werror *e)
{
    if (p >= t->n_parts) {
        werror_set(e, WERR_UNKNOWN_TOPIC, "topic %.*s has partitions 0 to %u, not %u",
                   (int)t->name_n, t->name, t->n_parts - 1, p);
        return NULL;
    }
    return t->parts[p];
}

static uint64_t max_u64(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

/* ---------------------------------------------------------------- list */

struct listing {
    struct msg_dlq_range *ranges;
    size_t n, limit;
};

static bool list_add(struct listing *ls, uint64_t offset, enum msg_dlq_state state)
{
    struct msg_dlq_range *last = ls->n > 0 ? &ls->ranges[ls->n - 1] : NULL;

    if (last != NULL && last->state == state && last->last + 1 == offset) {
        last->last = offset;
        return true;
    }
    if (ls->n == ls->limit) {
        return false;
    }
    ls->ranges[ls->n++] =
        (struct msg_dlq_range){.first = offset, .last = offset, .state = (uint32_t)state};
    return true;
}

enum werr core_dlq_list(struct core *co, const struct msg_dlq_list *q, struct msg_dlq_range **out,
                        size_t *n, bool *has_next, uint64_t *next, struct werror *e)
{
    struct werror none;
    struct core_topic *t = dlq_topic(co, q->topic, e);
    struct part *pt = t != NULL ? dlq_part(t, q->p, e) : NULL;
    enum msg_dlq_state state;

    *out = NULL;
    *n = 0;
    *has_next = false;
    if (pt == NULL) {
        return e->code;
    }
    struct core_group *g = dlq_group(co, t, &none);
    if (g == NULL && none.code != WERR_UNKNOWN_GROUP) {
        *e = none;
        return e->code;
    }
    struct listing ls = {.limit = q->limit > 0 ? q->limit : LIST_RANGES};
    ls.limit = ls.limit < LIST_RANGES_MAX ? ls.limit : LIST_RANGES_MAX;
    ls.ranges = core_calloc(ls.limit, sizeof *ls.ranges);
    uint64_t at = max_u64(q->from, part_start(co, pt));
    struct gpart *gp = g != NULL ? gpart_get(g, pt) : NULL;
    if (gp == NULL && at < pt->hw) { /* nobody can be given them: all are just there */
        ls.ranges[ls.n++] =
            (struct msg_dlq_range){.first = at, .last = pt->hw - 1, .state = DLQ_DEAD};
        at = pt->hw;
    }
    at = gp != NULL ? max_u64(at, gp->floor) : at;
    for (unsigned looks = 0; at < pt->hw && looks < LIST_LOOKS; looks++, at++) {
        if (queue_state_of(gp, at, &state) && !list_add(&ls, at, state)) {
            break;
        }
    }
    *has_next = at < pt->hw;
    *next = at;
    *out = ls.ranges;
    *n = ls.n;
    return WERR_OK;
}

/* ---------------------------------------------------------------- moves: life */

static void move_answer(struct move *m)
{
    struct core_dlq_rq *rq = m->rq;

    TAILQ_REMOVE(&m->dl->moves, m, link);
    timer_unset(&m->dl->co->timers, &m->go_on);
    free(m);
    rq->done(rq);
}

static void move_fail(struct move *m, enum werr rc, const struct werror *e)
{
    if (e != NULL) {
        m->rq->err = *e;
        m->rq->err.code = rc;
    } else {
        werror_set(&m->rq->err, rc, "%s", werr_text(rc));
    }
    move_answer(m);
}

static void on_durable(struct waiter *w, enum werr rc, const struct werror *e)
{
    struct move *m = (struct move *)(void *)w;
    struct core *co = m->dl->co;

    m->waits = false;
    if (rc != WERR_OK) {
        move_fail(m, rc, e);
        return;
    }
    m->rq->moved += m->step_moved;
    if (m->purge) {
        co->gstats.dlq_purged += m->step_moved;
    } else {
        co->gstats.dlq_redriven += m->step_moved;
    }
    m->step_moved = 0;
    if (co->closing) {
        move_fail(m, WERR_SHUTTING_DOWN, NULL);
    } else if (m->i == m->n) {
        move_answer(m);
    } else {
        timer_set(&co->timers, &m->go_on, core_mono_ns(co));
    }
}

static void on_timer(struct timer *t)
{
    move_step((struct move *)(void *)((char *)t - offsetof(struct move, go_on)));
}

void dlq_moves_fini(struct dlq_core *dl)
{
    struct dlq_pace *pace, *next;
    struct move *m;

    while ((m = TAILQ_FIRST(&dl->moves)) != NULL) {
        /* NOLINTNEXTLINE(clang-analyzer-*): it left its list before it was freed */
        move_fail(m, WERR_SHUTTING_DOWN, NULL);
    }
    HASH_ITER (hh, dl->paces, pace, next) {
        /* NOLINTNEXTLINE(clang-analyzer-*): it left its list before it was freed */
        HASH_DEL(dl->paces, pace);
        free(pace);
    }
}

/* ---------------------------------------------------------------- moves: work */

static struct dlq_pace *pace_get(struct dlq_core *dl, uint64_t tid)
{
    const int64_t now_us = core_wall_ms(dl->co) * 1000;
    struct dlq_pace *pace, *next;

    HASH_ITER (hh, dl->paces, pace, next) { /* few topics are redriven at a time */
        if (pace->tid != tid && pace->next_us < now_us) {
            /* NOLINTNEXTLINE(clang-analyzer-*): it left its list before it was freed */
            HASH_DEL(dl->paces, pace);
            free(pace);
        }
    }
    /* NOLINTNEXTLINE(clang-analyzer-*): it left its list before it was freed */
    HASH_FIND(hh, dl->paces, &tid, sizeof tid, pace);
    if (pace == NULL) {
        pace = core_calloc(1, sizeof *pace);
        pace->tid = tid;
        HASH_ADD(hh, dl->paces, tid, sizeof pace->tid, pace);
    }
    pace->next_us = pace->next_us > now_us ? pace->next_us : now_us;
    return pace;
}

/* One message. Returns whether it is moved (or would be). */
static bool move_one(struct move *m, struct gpart *gp, uint64_t offset, struct dlq_pace *pace)
{
    enum msg_dlq_state state;

    if (!queue_state_of(gp, offset, &state)) {
        return false;
    }
    if (m->purge) {
        return m->rq->dry_run ? state != DLQ_LEASED : queue_settle_quietly(gp, offset);
    }
    if (state != DLQ_DEAD || m->rq->dry_run) {
        return state == DLQ_DEAD;
    }
    if (!queue_offer(gp, offset, pace->next_us / 1000)) {
        return false;
    }
    pace->next_us += US_PER_S / (int64_t)(m->rq->rate > 0 ? m->rq->rate : RATE);
    return true;
}

/* A stretch of one span; the next span when this one ends. *left counts down. */
static void move_span(struct move *m, struct core_group *g, struct part *pt, unsigned *left)
{
    const struct msg_dlq_span *s = &m->spans[m->i];
    const uint64_t start = part_start(m->dl->co, pt);
    const uint64_t end = s->last < pt->hw ? s->last + 1 : pt->hw;
    struct gpart *gp = gpart_get(g, pt);
    struct dlq_pace *pace = m->purge ? NULL : pace_get(m->dl, m->tid);

    m->at = max_u64(max_u64(m->at, s->first), start);
    if (m->at < gp->floor) {
        const uint64_t to = gp->floor < end ? gp->floor : end;
        m->rq->skipped += to > m->at ? to - m->at : 0;
        m->at = gp->floor;
    }
    for (; m->at<end && * left> 0; m->at++, --*left) {
        if (!move_one(m, gp, m->at, pace)) {
            m->rq->skipped++;
        } else if (m->rq->dry_run) {
            m->rq->moved++;
        } else {
            m->step_moved++;
        }
    }
    if (m->at >= end) {
        m->i++;
        m->at = 0;
    }
}

static void move_step(struct move *m)
{
    struct core *co = m->dl->co;
    struct core_topic *t = core_topic_by_id(co, m->tid);
    struct werror e = {0};
    unsigned left = STRETCH;

    if (t == NULL) {
        werror_set(&e, WERR_UNKNOWN_TOPIC, "the topic was deleted");
        move_fail(m, e.code, &e);
        return;
    }
    struct core_group *g = dlq_group(co, t, &e);
    if (g == NULL || g->gid != m->gid) {
        werror_set(&e, WERR_UNKNOWN_GROUP, "the group was deleted");
        move_fail(m, e.code, &e);
        return;
    }
    while (m->i < m->n && left > 0) {
        struct part *pt = dlq_part(t, m->spans[m->i].p, &e);
        if (pt == NULL) {
            break;
        }
        move_span(m, g, pt, &left);
    }
    if (m->step_moved > 0) {
        m->waits = true;
        m->w.run = on_durable;
        flight_wait(co, &m->w);
    } else if (m->i == m->n) {
        move_answer(m);
    } else {
        timer_set(&co->timers, &m->go_on, core_mono_ns(co));
    }
}

static enum werr check_move(struct core *co, struct core_dlq_rq *rq, struct core_topic **t,
                            struct core_group **g)
{
    struct werror *e = &rq->err;

    if (co->draining || co->failed || co->closing) {
        return werror_set(e, WERR_SHUTTING_DOWN, "%s", werr_text(WERR_SHUTTING_DOWN));
    }
    *t = dlq_topic(co, rq->topic, e);
    *g = *t != NULL ? dlq_group(co, *t, e) : NULL;
    if (*g == NULL) {
        return e->code;
    }
    for (size_t i = 0; i < rq->n; i++) {
        if (dlq_part(*t, rq->spans[i].p, e) == NULL) {
            return e->code;
        }
        if (rq->spans[i].first > rq->spans[i].last) {
            return werror_set(e, WERR_MALFORMED, "span %llu to %llu ends before it begins",
                              (unsigned long long)rq->spans[i].first,
                              (unsigned long long)rq->spans[i].last);
        }
    }
    return WERR_OK;
}

static void move_begin(struct core *co, struct core_dlq_rq *rq, bool purge)
{
    struct dlq_core *dl = dlq_get(co);
    struct core_topic *t = NULL;
    struct core_group *g = NULL;

    rq->err = (struct werror){0};
    rq->moved = rq->skipped = 0;
    if (check_move(co, rq, &t, &g) != WERR_OK || rq->n == 0) {
        rq->done(rq);
        return;
    }
    struct move *m = core_calloc(1, sizeof *m + rq->n * sizeof m->spans[0]);
    m->dl = dl;
    m->rq = rq;
    m->purge = purge;
    /* NOLINTNEXTLINE(clang-analyzer-*): never NULL here */
    m->tid = t->tid;
    m->gid = g->gid;
    m->n = rq->n;
    memcpy(m->spans, rq->spans, rq->n * sizeof m->spans[0]);
    m->go_on.fire = on_timer;
    TAILQ_INSERT_TAIL(&dl->moves, m, link);
    move_step(m);
}

void core_dlq_redrive(struct core *co, struct core_dlq_rq *rq)
{
    move_begin(co, rq, false);
}

void core_dlq_purge(struct core *co, struct core_dlq_rq *rq)
{
    move_begin(co, rq, true);
}
