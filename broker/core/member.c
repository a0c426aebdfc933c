/*
 * Who is there: sessions, members, what ends them.
 *
 * Happy path: a session joins (join.c), lives as long as its connection, and leaves. A connection
 * that is lost leaves its member away: it keeps what it has for the grace time, and comes back with
 * a join of the same id. After a restart, owners are known from rows and are away too.
 *
 * What can fail: nothing here touches the disk but through dirty rows. Who owns what: the group
 * owns members; a session belongs to the shell and only points to its member.
 */
#include "broker/core/group_impl.h"
#include "broker/core/mem.h"

static const int64_t MS_NS = 1000000;

/* ---------------------------------------------------------------- sessions and their news */

struct core_session *
core_session_new(struct core *co, void (*news)(void *arg, enum core_session_news what), void *arg)
{
    struct core_session *s = core_calloc(1, sizeof *s);

    s->co = co;
    s->news = news;
    s->arg = arg;
    LIST_INSERT_HEAD(&co->sessions, s, of_core);
    return s;
}

static void news_forget(struct core_session *s)
{
    if (s->has_news) {
        s->has_news = false;
        TAILQ_REMOVE(&s->co->news, s, in_news);
    }
}

void core_session_end(struct core_session *s)
{
    if (s->co != NULL) {
        struct member *m = s->member;
        join_session_gone(s);
        if (m != NULL) {
            member_away(m);
        }
        news_forget(s);
        LIST_REMOVE(s, of_core);
    }
    free(s);
}

void session_tell(struct core_session *s, enum core_session_news what)
{
    if (what == SESSION_FENCED) {
        s->fenced = true;
    } else if (s->fenced || s->changed_told) {
        return;
    }
    if (!s->has_news) {
        s->has_news = true;
        TAILQ_INSERT_TAIL(&s->co->news, s, in_news);
    }
}

void groups_tell(struct core *co)
{
    struct core_session *s;

    while ((s = TAILQ_FIRST(&co->news)) != NULL) {
        const enum core_session_news what = s->fenced ? SESSION_FENCED : SESSION_CHANGED;
        news_forget(s);
        s->changed_told = !s->fenced;
        s->fenced = false;
        s->news(s->arg, what); /* may end any session */
    }
}

void sessions_fini(struct core *co)
{
    struct core_session *s;

    while ((s = LIST_FIRST(&co->sessions)) != NULL) {
        news_forget(s);
        LIST_REMOVE(s, of_core);
        s->member = NULL;
        s->co = NULL;
    }
}

/* ---------------------------------------------------------------- members */

struct member *member_find(struct core_group *g, const uint8_t id[MSG_MEMBER_BYTES])
{
    struct member *m = NULL;

    HASH_FIND(hh, g->members, id, MSG_MEMBER_BYTES, m);
    return m;
}

static void on_grace(struct timer *t)
{
    struct member *m = (struct member *)(void *)((char *)t - offsetof(struct member, grace));

    core_log(m->group->co, 2, "member_lost", "group=%.*s client=%s away_ms=%d",
             (int)m->group->name_n, m->group->name, m->client, CORE_GRACE_MS);
    member_remove(m, "lost its connection", false);
}

/* Something handed out is not committed yet. */
static bool has_work(const struct member *m)
{
    const struct gpart *gp;

    TAILQ_FOREACH (gp, &m->owned, by_owner) {
        if (gp->handed_out > gp->committed) {
            return true;
        }
    }
    return false;
}

static void on_processing(struct timer *t)
{
    struct member *m = (struct member *)(void *)((char *)t - offsetof(struct member, processing));
    struct core_group *g = m->group;
    const int64_t max_ns = (int64_t)g->conf.max_processing_ms * MS_NS;
    const int64_t now_ns = core_mono_ns(g->co);

    if (max_ns == 0 || !has_work(m)) {
        return;
    }
    if (m->heard_mono_ns + max_ns > now_ns) {
        timer_set(&g->co->timers, t, m->heard_mono_ns + max_ns);
        return;
    }
    core_log(g->co, 1, "member_stuck", "group=%.*s client=%s max_processing_ms=%llu",
             (int)g->name_n, g->name, m->client, (unsigned long long)g->conf.max_processing_ms);
    member_remove(m, "did not process in time", true);
}

void member_working(struct member *m)
{
    struct core_group *g = m->group;
    const int64_t max_ns = (int64_t)g->conf.max_processing_ms * MS_NS;

    if (g->mode == GROUP_MODE_LOG && max_ns > 0 && !timer_is_set(&m->processing) && has_work(m)) {
        m->heard_mono_ns = core_mono_ns(g->co); /* it was idle until now */
        timer_set(&g->co->timers, &m->processing, m->heard_mono_ns + max_ns);
    }
}

struct member *member_new(struct core_group *g, const uint8_t id[MSG_MEMBER_BYTES])
{
    struct member *m = core_calloc(1, sizeof *m);

    memcpy(m->id, id, MSG_MEMBER_BYTES);
    m->group = g;
    m->serial = g->co->next_serial++;
    m->grace.fire = on_grace;
    m->processing.fire = on_processing;
    m->since_ms = core_wall_ms(g->co);
    m->heard_mono_ns = core_mono_ns(g->co);
    TAILQ_INIT(&m->owned);
    LIST_INIT(&m->leases);
    HASH_ADD(hh, g->members, id, MSG_MEMBER_BYTES, m);
    return m;
}

struct member *member_restore(struct core_group *g, const uint8_t id[MSG_MEMBER_BYTES])
{
    struct member *m = member_new(g, id);

    m->restored = true;
    if (g->mode == GROUP_MODE_LOG) {
        timer_set(&g->co->timers, &m->grace, core_mono_ns(g->co) + CORE_GRACE_MS * MS_NS);
    }
    return m;
}

void member_away(struct member *m)
{
    struct core_group *g = m->group;

    if (m->session == NULL) {
        return;
    }
    if (g->mode == GROUP_MODE_QUEUE) {
        queue_session_gone(m);
    }
    m->session->member = NULL;
    m->session = NULL;
    timer_set(&g->co->timers, &m->grace, core_mono_ns(g->co) + CORE_GRACE_MS * MS_NS);
    group_seen(g);
}

void member_fini(struct member *m)
{
    struct core_group *g = m->group;
    struct gpart *gp;

    while ((gp = TAILQ_FIRST(&m->owned)) != NULL) {
        TAILQ_REMOVE(&m->owned, gp, by_owner);
        gp->owner = NULL;
    }
    timer_unset(&g->co->timers, &m->grace);
    timer_unset(&g->co->timers, &m->processing);
    if (m->session != NULL) {
        m->session->member = NULL;
    }
    HASH_DEL(g->members, m);
    free(m->topics);
    free(m);
}

void member_remove(struct member *m, const char *why, bool fence)
{
    struct core_group *g = m->group;
    struct gpart *gp;

    if (g->mode == GROUP_MODE_QUEUE) {
        queue_member_gone(m, why);
    }
    for (gp = g->parts; gp != NULL; gp = gp->hh.next) {
        if (gp->target == m) {
            gp->target = NULL;
        }
        if (gp->owner == m) {
            gp->granting = false;
            gpart_dirty(gp, STORE_LAZY);
        }
    }
    if (fence) {
        g->co->gstats.fenced++;
    }
    if (fence && m->session != NULL) {
        session_tell(m->session, SESSION_FENCED);
    }
    core_log(g->co, 3, "member_gone", "group=%.*s client=%s why=\"%s\"", (int)g->name_n, g->name,
             m->client, why);
    member_fini(m);
    g->seen_ms = core_wall_ms(g->co);
    group_dirty(g, STORE_LAZY);
    rebalance_want(g);
}

void member_forget_if_idle(struct member *m)
{
    if (m->restored && m->session == NULL && LIST_EMPTY(&m->leases) && TAILQ_EMPTY(&m->owned)) {
        member_fini(m);
    }
}

/* ---------------------------------------------------------------- who may act */

void member_heard(struct member *m)
{
    /* NOLINTNEXTLINE(clang-analyzer-*): never NULL here */
    m->heard_mono_ns = core_mono_ns(m->group->co);
    group_seen(m->group);
}

enum werr member_check(struct core *co, const struct msg_who *who, struct member **out,
                       struct werror *e)
{
    const enum werr rc = member_look(co, who, out, e);

    if (rc == WERR_OK) {
        member_heard(*out);
    }
    return rc;
}

enum werr member_look(struct core *co, const struct msg_who *who, struct member **out,
                      struct werror *e)
{
    struct core_group *g = group_find(co, who->group);
    struct member *m = NULL;

    *out = NULL;
    if (g == NULL) {
        return werror_set(e, WERR_UNKNOWN_GROUP, "no group is called %.*s", (int)who->group.n,
                          who->group.n > 0 ? (const char *)who->group.p : "");
    }
    if (who->member.n == MSG_MEMBER_BYTES) {
        m = member_find(g, who->member.p);
    }
    if (m == NULL) {
        return werror_set(
            e, WERR_UNKNOWN_MEMBER,
            "group %.*s has no such member: it left, was lost for %d s, or was removed",
            (int)g->name_n, g->name, CORE_GRACE_MS / 1000);
    }
    if (who->epoch > g->durable_generation) {
        return werror_set(e, WERR_FENCED_MEMBER,
                          "epoch %llu was never given out, group %.*s has %llu",
                          (unsigned long long)who->epoch, (int)g->name_n, g->name,
                          (unsigned long long)g->durable_generation);
    }
    if (who->epoch < m->join_epoch) {
        return werror_set(e, WERR_FENCED_MEMBER,
                          "epoch %llu: this member joined again since, with epoch %llu",
                          (unsigned long long)who->epoch, (unsigned long long)m->join_epoch);
    }
    *out = m;
    return WERR_OK;
}

/* ---------------------------------------------------------------- leaving */

void core_group_leave(struct core *co, struct core_simple_rq *rq)
{
    struct member *m;

    rq->err = (struct werror){.code = WERR_OK};
    if (group_refuse_dead(co, &rq->err) == WERR_OK &&
        member_check(co, &rq->who, &m, &rq->err) == WERR_OK) {
        if (m->group->mode == GROUP_MODE_QUEUE) {
            queue_member_leaves(m);
        }
        member_remove(m, "left", false);
    }
    rq->done(rq);
}

/* ---------------------------------------------------------------- heartbeats */

/* Marks what the member says it holds. How many of those it may hold. */
static void mark_owned(struct core *co, struct member *m, const struct core_heartbeat_rq *rq,
                       uint32_t mark)
{
    for (size_t i = 0; i < rq->n_owned; i++) {
        struct part *pt = topic_part(co, rq->owned[i].tid, rq->owned[i].p, true, NULL);
        struct gpart *gp = pt != NULL ? gpart_find(m->group, pt->id) : NULL;
        if (gp != NULL) {
            gp->mark = mark;
        }
    }
}

/* What it was asked to give up and holds no more goes to the next. */
static void take_released(struct member *m, uint32_t mark)
{
    struct gpart *gp, *next;

    for (gp = TAILQ_FIRST(&m->owned); gp != NULL; gp = next) {
        next = TAILQ_NEXT(gp, by_owner);
        if (gp->target != m && !gp->granting && gp->mark != mark) {
            gpart_release(gp);
        }
    }
}

/* True when the member has to be told: something new for it, or something that it has to leave. */
static bool assignment_differs(const struct member *m, const struct core_heartbeat_rq *rq,
                               uint32_t mark, size_t n)
{
    const struct gpart *gp;
    size_t both = 0;

    TAILQ_FOREACH (gp, &m->owned, by_owner) {
        if (gp->target == m && !gp->granting) {
            both += gp->mark == mark;
            if (gp->assign_epoch > m->epoch) {
                return true;
            }
        }
    }
    return rq->has_owned ? both != n || n != rq->n_owned : m->told_stale;
}

void core_group_heartbeat(struct core *co, struct core_heartbeat_rq *rq)
{
    struct member *m;

    rq->err = (struct werror){.code = WERR_OK};
    rq->epoch = 0;
    rq->has_parts = false;
    rq->parts = NULL;
    rq->n_parts = 0;
    if (group_refuse_dead(co, &rq->err) != WERR_OK ||
        member_check(co, &rq->who, &m, &rq->err) != WERR_OK) {
        rq->done(rq);
        return;
    }
    if (m->session != NULL) {
        m->session->changed_told = false;
    }
    if (m->group->mode == GROUP_MODE_LOG) {
        const uint32_t mark = ++m->group->mark;
        struct msg_assigned *parts = NULL;
        if (rq->has_owned) {
            mark_owned(co, m, rq, mark);
            take_released(m, mark);
        }
        const size_t n = member_assignment(m, &parts);
        rq->has_parts = assignment_differs(m, rq, mark, n);
        if (rq->has_parts) {
            rq->parts = parts;
            rq->n_parts = n;
        } else {
            free(parts);
        }
        m->told_stale = false;
    }
    m->epoch = rq->epoch = m->group->durable_generation;
    rq->done(rq);
}
