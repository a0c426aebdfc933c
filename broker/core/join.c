/*
 * Joining a group.
 *
 * Happy path: checks; for a new topic of a group that starts at a point in time, the store looks up
 * the offsets; then group, gparts and member are there in memory, a plan grants what is free, and
 * all of that is one flight with the plans and joins of the same turn. When it is durable, the join
 * is answered with the partitions that the member has.
 *
 * What can fail: the checks; the look-up; STORAGE_FULL: a member that was new goes again, one that
 * came back is away again, a group that was new is forgotten. The connection may end meanwhile: the
 * member is away, the caller hears about its request all the same.
 *
 * Who owns what: a join is on core->joins until it is answered; it copies what it needs of the
 * request, refers to its group, and finds its member again by id and serial.
 */
#include "broker/core/group_impl.h"
#include "broker/core/mem.h"

enum { MAX_LOG_MEMBERS = 10 * 1000, MAX_QUEUE_MEMBERS = 100 * 1000, MAX_TOPICS = 1000 };
enum { RETRY_MS = 100, START_LATEST = -2 };

struct lookup {
    struct store_find find;
    struct join *join;
};
struct join {
    struct waiter waiter;
    LIST_ENTRY(join) link;
    struct core *co;
    struct core_join_rq *rq;
    struct core_session *session; /* NULL: it ended */
    struct core_group *group;     /* from when it waits for the disk */
    uint64_t serial, epoch;
    bool resumed;
    enum msg_group_mode mode;
    enum msg_group_order order;
    int64_t start;
    uint8_t member[MSG_MEMBER_BYTES];
    char (*topics)[LIMIT_TOPIC_NAME + 1];
    uint32_t n_topics;
    struct lookup *lookups;
    uint32_t n_lookups, waiting;
    bool looked;
    uint8_t name_n;
    char name[LIMIT_NAME + 1];
    char client[64], address[64];
};

static void join_answer(struct join *j)
{
    struct core_join_rq *rq = j->rq;

    LIST_REMOVE(j, link);
    free(j->lookups);
    free(j->topics);
    free(j);
    rq->done(rq);
}

/* ---------------------------------------------------------------- checks */

static enum werr check_request(const struct core_join_rq *rq, struct werror *e)
{
    if (name_check(rq->group, false, e) != WERR_OK) {
        return e->code = WERR_MALFORMED;
    }
    if (rq->member.n != MSG_MEMBER_BYTES) {
        return werror_set(e, WERR_MALFORMED, "a member id has %d bytes, not %zu", MSG_MEMBER_BYTES,
                          rq->member.n);
    }
    if (rq->start < START_LATEST) {
        return werror_set(e, WERR_MALFORMED, "start %lld: want -1, -2 or a time",
                          (long long)rq->start);
    }
    if (rq->n_topics < 1 || rq->n_topics > MAX_TOPICS) {
        return werror_set(e, rq->n_topics < 1 ? WERR_MALFORMED : WERR_TOO_LARGE,
                          "%zu topics: want 1 to %d", rq->n_topics, MAX_TOPICS);
    }
    for (size_t i = 0; i < rq->n_topics; i++) {
        if (name_check(rq->topics[i], true, e) != WERR_OK) {
            return e->code = WERR_MALFORMED;
        }
    }
    return WERR_OK;
}

static enum werr check_topics(const struct join *j, struct werror *e)
{
    for (uint32_t i = 0; i < j->n_topics; i++) {
        if (core_topic_by_name(j->co, slice_str(j->topics[i])) == NULL) {
            return werror_set(e, WERR_UNKNOWN_TOPIC, "no topic is called %s", j->topics[i]);
        }
    }
    return WERR_OK;
}

static enum werr check_group(const struct join *j, struct core_group *g, struct werror *e)
{
    static const char *const modes[] = {"log", "queue"};
    const uint32_t max = g->mode == GROUP_MODE_LOG ? MAX_LOG_MEMBERS : MAX_QUEUE_MEMBERS;

    if (g->deleting) {
        werror_set(e, WERR_OVERLOADED, "group %s is being deleted", g->name);
        e->retry_after_ms = RETRY_MS;
        return e->code;
    }
    if (g->mode != j->mode) {
        return werror_set(e, WERR_GROUP_MODE, "group %s reads in %s mode, not in %s mode", g->name,
                          modes[g->mode], modes[j->mode]);
    }
    if (j->order == GROUP_ORDER_KEY && g->conf.order != GROUP_ORDER_KEY) {
        return werror_set(e, WERR_INVALID_CONFIG,
                          "group %s was made without order=key, which cannot change", g->name);
    }
    if (member_find(g, j->member) == NULL && HASH_COUNT(g->members) >= max) {
        return werror_set(e, WERR_TOO_LARGE, "group %s has %u members, no more are allowed",
                          g->name, max);
    }
    return WERR_OK;
}

static enum werr check_state(const struct join *j, struct werror *e)
{
    const struct core *co = j->co;

    if (group_refuse(co, e) != WERR_OK) {
        return e->code;
    }
    if (co->draining) {
        return werror_set(e, WERR_SHUTTING_DOWN, "%s", werr_text(WERR_SHUTTING_DOWN));
    }
    if (j->session == NULL) {
        return werror_set(e, WERR_UNKNOWN_MEMBER, "the connection ended before it joined");
    }
    if (j->session->member != NULL &&
        memcmp(j->session->member->id, j->member, MSG_MEMBER_BYTES) != 0) {
        return werror_set(e, WERR_MALFORMED, "the session belongs to another member");
    }
    return WERR_OK;
}

/* ---------------------------------------------------------------- where to begin */

static void join_try(struct join *j);

static void on_found(struct store_find *f)
{
    struct join *j = ((struct lookup *)f->arg)->join;

    if (--j->waiting == 0) {
        join_try(j);
    }
}

/* A group knows all partitions of a topic or none: see group_grow. */
static bool knows_topic(struct core_group *g, const struct core_topic *t)
{
    return g != NULL && gpart_find(g, t->parts[0]->id) != NULL;
}

/* True: looking up, join_try comes again. */
static bool look_up(struct join *j, struct core_group *g)
{
    const int64_t start = g != NULL ? g->start : j->start;
    uint32_t n = 0;

    if (start < 0 || j->looked) {
        return false;
    }
    j->looked = true;
    for (uint32_t i = 0; i < j->n_topics; i++) {
        const struct core_topic *t = core_topic_by_name(j->co, slice_str(j->topics[i]));
        n += knows_topic(g, t) ? 0 : t->n_parts;
    }
    j->lookups = core_calloc(n, sizeof *j->lookups);
    for (uint32_t i = 0; i < j->n_topics; i++) {
        const struct core_topic *t = core_topic_by_name(j->co, slice_str(j->topics[i]));
        for (uint32_t p = 0; p < t->n_parts && !knows_topic(g, t); p++) {
            struct lookup *l = &j->lookups[j->n_lookups++];
            l->join = j;
            l->find = (struct store_find){.partition = t->parts[p]->id,
                                          .ts_ms = start,
                                          .end = t->parts[p]->hw,
                                          .fn = on_found,
                                          .arg = l};
        }
    }
    j->waiting = n;
    for (uint32_t i = 0; i < n; i++) {
        store_find(j->co->st, &j->lookups[i].find); /* answers later, never at once */
    }
    return n > 0;
}

/* Offset for a partition of a topic that is new to the group. */
static uint64_t first_offset(const struct join *j, const struct core_group *g,
                             const struct part *pt)
{
    const uint64_t log_start = part_start(j->co, pt);

    if (g->start == START_LATEST) {
        return pt->hw;
    }
    for (uint32_t i = 0; i < j->n_lookups && g->start >= 0; i++) {
        const struct store_find *f = &j->lookups[i].find;
        if (f->partition == pt->id) {
            return f->offset > log_start ? f->offset : log_start;
        }
    }
    return log_start;
}

static enum werr check_lookups(const struct join *j, struct werror *e)
{
    for (uint32_t i = 0; i < j->n_lookups; i++) {
        const struct store_find *f = &j->lookups[i].find;
        if (f->rc != WERR_OK) {
            return werror_set(e, f->rc, "where the group starts is not known: %s", f->err.text);
        }
    }
    return WERR_OK;
}

/* ---------------------------------------------------------------- joining, in memory */

static void make_parts(struct join *j, struct core_group *g)
{
    for (uint32_t i = 0; i < j->n_topics; i++) {
        const struct core_topic *t = core_topic_by_name(j->co, slice_str(j->topics[i]));
        for (uint32_t p = 0; p < t->n_parts; p++) {
            struct part *pt = t->parts[p];
            if (gpart_find(g, pt->id) == NULL) {
                (void)gpart_make(g, pt, first_offset(j, g, pt));
            }
        }
    }
}

static void take_session(struct member *m, struct core_session *s)
{
    struct core_session *old = m->session;

    if (old != NULL && old != s) {
        if (m->group->mode == GROUP_MODE_QUEUE) {
            queue_session_gone(m);
        }
        old->member = NULL;
        session_tell(old, SESSION_FENCED);
        m->group->co->gstats.fenced++;
    }
    m->session = s;
    s->member = m;
#ifdef WEIR_BUG_BLIND3
    if (m->restored)
#endif
        timer_unset(&m->group->co->timers, &m->grace);
    m->restored = false;
}

static void make_member(struct join *j, struct core_group *g)
{
    struct member *m = member_find(g, j->member);

    j->resumed = m != NULL;
    m = m != NULL ? m : member_new(g, j->member);
    take_session(m, j->session);
    free(m->topics);
    m->topics = j->topics;
    m->n_topics = j->n_topics;
    j->topics = NULL;
    memcpy(m->client, j->client, sizeof m->client);
    memcpy(m->address, j->address, sizeof m->address);
    member_heard(m);
    m->joining++;
    j->serial = m->serial;
    j->epoch = m->join_epoch = group_bump(g);
}

/* ---------------------------------------------------------------- it is durable, or failed */

static void fill_answer(struct join *j, struct member *m)
{
    struct core_join_rq *rq = j->rq;
    const struct gpart *gp;

    m->epoch = rq->epoch = m->group->durable_generation;
    rq->resumed = j->resumed;
    m->told_stale = false;
    if (m->group->mode == GROUP_MODE_QUEUE) {
        return;
    }
    rq->n_parts = member_assignment(m, &rq->parts);
    m->session->changed_told = false;
    TAILQ_FOREACH (gp, &m->owned, by_owner) {
        if (gp->target != m) { /* it is asked for what it did not give up yet */
            session_tell(m->session, SESSION_CHANGED);
            break;
        }
    }
}

static void undo(struct join *j, struct member *m)
{
    struct core_group *g = j->group;

    if (m != NULL && m->joining == 0 && j->resumed) {
        member_away(m);
    } else if (m != NULL && m->joining == 0) {
        member_remove(m, "the disk is full", false);
    }
    if (!g->gone && g->durable_generation == 0 && g->members == NULL) {
        group_discard(g);
    }
}

static void join_end(struct waiter *w, enum werr rc, const struct werror *e)
{
    struct join *j = (struct join *)(void *)w;
    struct core_group *g = j->group;
    struct core_join_rq *rq = j->rq;
    struct member *m = g->gone ? NULL : member_find(g, j->member);

    m = m != NULL && m->serial == j->serial ? m : NULL;
    if (m != NULL) {
        m->joining--;
    }
    if (rc != WERR_OK) {
        group_fail(&rq->err, rc, e);
        if (rc == WERR_STORAGE_FULL) {
            undo(j, m);
        }
    } else if (m == NULL || j->session == NULL || m->session != j->session ||
               m->join_epoch != j->epoch) {
        werror_set(&rq->err, WERR_FENCED_MEMBER, "the member joined again, or left, meanwhile");
    } else {
        fill_answer(j, m);
    }
    join_answer(j);
    group_unref(g);
}

/* ---------------------------------------------------------------- the request */

static void join_try(struct join *j)
{
    struct core *co = j->co;
    struct werror *e = &j->rq->err;
    const struct slice name = slice_of(j->name, j->name_n);
    struct core_group *g = group_lookup(co, name);

    if (check_state(j, e) != WERR_OK || check_topics(j, e) != WERR_OK ||
        (g != NULL && check_group(j, g, e) != WERR_OK) || check_lookups(j, e) != WERR_OK) {
        join_answer(j);
        return;
    }
    if (look_up(j, g)) {
        return;
    }
    g = g != NULL ? g : group_new(co, name, j->mode, j->order, j->start);
    make_parts(j, g);
    make_member(j, g);
    rebalance_want(g);
    j->group = g;
    group_ref(g);
    flight_wait(co, &j->waiter);
}

static void copy_text(char out[64], struct slice s)
{
    const size_t n = s.n < 63 ? s.n : 63;

    if (n > 0) {
        memcpy(out, s.p, utf8_prefix(slice_of(s.p, n)));
    }
}

/* Each once. */
static void copy_topics(struct join *j, const struct core_join_rq *rq)
{
    j->topics = core_calloc(rq->n_topics, sizeof *j->topics);
    for (size_t i = 0; i < rq->n_topics; i++) {
        bool known = false;
        for (uint32_t k = 0; k < j->n_topics && !known; k++) {
            known = slice_eq(slice_str(j->topics[k]), rq->topics[i]);
        }
        if (!known) {
            memcpy(j->topics[j->n_topics++], rq->topics[i].p, rq->topics[i].n);
        }
    }
}

void core_group_join(struct core *co, struct core_join_rq *rq)
{
    struct join *j;

    rq->err = (struct werror){.code = WERR_OK};
    rq->epoch = 0;
    rq->resumed = false;
    rq->parts = NULL;
    rq->n_parts = 0;
    if (check_request(rq, &rq->err) != WERR_OK) {
        rq->done(rq);
        return;
    }
    j = core_calloc(1, sizeof *j);
    j->waiter.run = join_end;
    j->co = co;
    j->rq = rq;
    j->session = rq->session;
    j->mode = rq->mode;
    j->order = rq->order;
    j->start = rq->start;
    memcpy(j->member, rq->member.p, MSG_MEMBER_BYTES);
    copy_topics(j, rq);
    j->name_n = (uint8_t)rq->group.n;
    memcpy(j->name, rq->group.p, rq->group.n);
    copy_text(j->client, rq->client);
    copy_text(j->address, rq->address);
    LIST_INSERT_HEAD(&co->joins, j, link);
    join_try(j);
}

void join_session_gone(struct core_session *s)
{
    struct join *j;

    LIST_FOREACH (j, &s->co->joins, link) {
        if (j->session == s) {
            j->session = NULL;
        }
    }
}

/* Those that wait for the disk were answered with their flight. */
void joins_fini(struct core *co)
{
    struct join *j;

    while ((j = LIST_FIRST(&co->joins)) != NULL) {
        /* NOLINTNEXTLINE(clang-analyzer-*): it left its list before it was freed */
        werror_set(&j->rq->err, WERR_SHUTTING_DOWN, "%s", werr_text(WERR_SHUTTING_DOWN));
        join_answer(j);
    }
}
