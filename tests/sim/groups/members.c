/* Members come, go, and in log mode read and commit; what must hold of all that. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gsim.h"

static bool is_log(const struct g_member *m)
{
    return m->group >= GROUP_LOG;
}

static struct msg_who who_of(const struct g_member *m, uint64_t epoch)
{
    return (struct msg_who){.group = slice_str(g_group_names[m->group]),
                            .member = slice_of(m->id, MSG_MEMBER_BYTES),
                            .epoch = epoch};
}

static void on_news(void *arg, enum core_session_news what)
{
    struct g_member *m = arg;

    m->news = true;
    if (what == SESSION_FENCED) {
        m->joined = false;
        m->n_parts = 0;
    }
}

static void take_parts(struct g_member *m, const struct msg_assigned *parts, size_t n)
{
    struct msg_assigned old[2 * G_PARTS];
    uint64_t positions[2 * G_PARTS];
    const size_t n_old = m->n_parts;

    memcpy(old, m->parts, sizeof old);
    memcpy(positions, m->position, sizeof positions);
    m->n_parts = 0;
    for (size_t i = 0; i < n && i < 2 * G_PARTS; i++) {
        uint64_t position = parts[i].offset;
        for (size_t k = 0; k < n_old; k++) {
            if (old[k].tid == parts[i].tid && old[k].p == parts[i].p &&
                old[k].epoch == parts[i].epoch) {
                position = positions[k];
            }
        }
        m->parts[m->n_parts] = parts[i];
        m->position[m->n_parts++] = position;
    }
    m->s->n.assigned += m->n_parts > n_old;
    m->s->n.revoked += m->n_parts < n_old;
}

/* ---------------------------------------------------------------- joining */

struct join {
    struct core_join_rq rq;
    struct g_member *m;
    struct slice topics[2];
    uint64_t serial; /* the connection may have ended meanwhile */
};

static void on_joined(struct core_join_rq *rq)
{
    struct join *j = rq->arg;
    struct g_member *m = j->m;
    struct gsim *s = m->s;

    if (!s->down && m->session != NULL && j->serial == m->join_serial) {
        m->joining = false;
        m->joined = rq->err.code == WERR_OK;
        g_trace(s, "joined", m->group * 10 + m->index, (uint64_t)rq->err.code, rq->epoch);
        if (m->joined) {
            if (rq->epoch < m->epoch) {
                g_fail(s, "epoch %llu after %llu", (unsigned long long)rq->epoch,
                       (unsigned long long)m->epoch);
            }
            COUNT(s, joined);
            s->n.resumed += rq->resumed;
            if (!rq->resumed) {
                m->n_parts = 0;
                m->n_held = 0;
            }
            m->epoch = rq->epoch;
            take_parts(m, rq->parts, rq->n_parts);
        } else if (rq->err.code == WERR_STORAGE_FULL) {
            COUNT(s, refused_full);
        } else if (rq->err.code != WERR_FENCED_MEMBER && rq->err.code != WERR_UNKNOWN_MEMBER &&
                   rq->err.code != WERR_INDETERMINATE && rq->err.code != WERR_OVERLOADED &&
                   rq->err.code != WERR_SHUTTING_DOWN) {
            g_fail(s, "join refused: %s %s", werr_name(rq->err.code), rq->err.text);
        }
    }
    free(rq->parts);
    free(j);
}

static void join(struct gsim *s, struct g_member *m)
{
    struct join *j = calloc(1, sizeof *j);

    if (j == NULL) {
        abort();
    }
    if (m->session == NULL) {
        m->session = core_session_new(s->co, on_news, m);
    }
    j->m = m;
    j->serial = ++m->join_serial;
    j->topics[0] = slice_str(g_topic_names[TOPIC_WORK]);
    j->rq =
        (struct core_join_rq){.session = m->session,
                              .group = slice_str(g_group_names[m->group]),
                              .member = slice_of(m->id, MSG_MEMBER_BYTES),
                              .topics = j->topics,
                              .n_topics = 1,
                              .mode = is_log(m) ? GROUP_MODE_LOG : GROUP_MODE_QUEUE,
                              .order = m->group == GROUP_KEYED ? GROUP_ORDER_KEY : GROUP_ORDER_NONE,
                              .start = -1,
                              .client = slice_str("sim"),
                              .address = slice_str("nowhere"),
                              .done = on_joined,
                              .arg = j};
    m->joining = true;
    m->news = false;
    core_group_join(s->co, &j->rq);
}

/* The connection is gone; the member may come back. */
static void cut(struct gsim *s, struct g_member *m)
{
    struct core_session *session = m->session;

    m->join_serial++;
    g_trace(s, "cut", m->group * 10 + m->index, 0, 0);
    COUNT(s, cut);
    m->session = NULL;
    m->joined = m->joining = false;
    m->away_since_ns = s->mono_ns;
    core_session_end(session);
    worker_gone(s, m, false);
}

void members_crashed(struct gsim *s)
{
    for (unsigned g = 0; g < G_GROUPS; g++) {
        for (unsigned k = 0; k < G_MEMBERS; k++) {
            struct g_member *m = &s->members[g][k];
            if (m->session != NULL) {
                cut(s, m);
                s->n.cut--;
            }
        }
    }
}

static void simple_done(struct core_simple_rq *rq)
{
    (void)rq; /* answered at once */
}

static void leave(struct gsim *s, struct g_member *m)
{
    struct core_simple_rq rq = {.who = who_of(m, m->epoch), .done = simple_done};

    core_group_leave(s->co, &rq);
    g_trace(s, "leave", m->group * 10 + m->index, (uint64_t)rq.err.code, 0);
    if (rq.err.code == WERR_OK) {
        COUNT(s, left);
        worker_gone(s, m, true);
        m->joined = false;
        m->n_parts = m->n_held = 0;
        m->repeat = false;
        core_session_end(m->session);
        m->session = NULL;
    }
}

/* ---------------------------------------------------------------- log mode */

static struct g_log_part *log_part(struct gsim *s, const struct g_member *m, uint32_t p)
{
    return &s->log[m->group - GROUP_LOG][p];
}

static void beat_done(struct core_heartbeat_rq *rq)
{
    (void)rq; /* answered at once */
}

static void heartbeat(struct gsim *s, struct g_member *m)
{
    struct msg_tp owned[2 * G_PARTS];
    struct core_heartbeat_rq rq = {.who = who_of(m, m->epoch),
                                   .owned = owned,
                                   .n_owned = m->n_parts,
                                   .has_owned = true,
                                   .done = beat_done};

    for (size_t i = 0; i < m->n_parts; i++) {
        owned[i] = (struct msg_tp){m->parts[i].tid, m->parts[i].p};
    }
    m->news = false;
    core_group_heartbeat(s->co, &rq);
    g_trace(s, "heartbeat", m->group * 10 + m->index, (uint64_t)rq.err.code, rq.n_parts);
    if (rq.err.code == WERR_OK) {
        m->epoch = rq.epoch;
        if (rq.has_parts) {
            const size_t before = m->n_parts;
            take_parts(m, rq.parts, rq.n_parts);
            m->news = m->news || m->n_parts < before; /* says so at the next one */
        }
    } else if (rq.err.code == WERR_UNKNOWN_MEMBER || rq.err.code == WERR_FENCED_MEMBER ||
               rq.err.code == WERR_UNKNOWN_GROUP) {
        m->joined = false;
        m->n_parts = 0;
    }
    free(rq.parts);
}

struct commit {
    struct core_commit_rq rq;
    struct g_member *m;
    struct msg_commit_item item;
    uint64_t generation;
};

static void on_committed(struct core_commit_rq *rq)
{
    struct commit *c = rq->arg;
    struct gsim *s = c->m->s;
    struct g_log_part *lp = log_part(s, c->m, c->item.p);
    const bool ok = rq->err.code == WERR_OK && rq->results[0].code == WERR_OK;

    if (ok) {
        COUNT(s, committed);
        if (!lp->wild && c->item.offset > lp->committed) {
            lp->committed = c->item.offset;
        }
    } else if (rq->err.code == WERR_INDETERMINATE) {
        COUNT(s, commit_unknown);
    } else {
        COUNT(s, commit_refused);
    }
    free(rq->results);
    free(c);
}

static void commit(struct gsim *s, struct g_member *m, uint64_t epoch, size_t i, uint64_t offset)
{
    struct commit *c = calloc(1, sizeof *c);

    if (c == NULL) {
        abort();
    }
    c->m = m;
    c->generation = s->generation;
    c->item =
        (struct msg_commit_item){.tid = m->parts[i].tid, .p = m->parts[i].p, .offset = offset};
    c->rq = (struct core_commit_rq){
        .who = who_of(m, epoch), .items = &c->item, .n = 1, .done = on_committed, .arg = c};
    struct g_log_part *lp = log_part(s, m, c->item.p);
    lp->asked = offset > lp->asked ? offset : lp->asked;
    core_group_commit(s->co, &c->rq);
}

static void saw_record(struct gsim *s, void *arg, uint64_t offset, const struct record *r)
{
    (void)r;
    (void)offset;
    ++*(uint64_t *)arg;
    COUNT(s, read);
}

static void read_some(struct gsim *s, struct g_member *m)
{
    const size_t i = g_below(s, (uint32_t)m->n_parts);
    const struct msg_who who = who_of(m, m->epoch);
    struct werror e = {0};
    uint64_t n = 0;

    if (core_group_may_read(s->co, &who, m->parts[i].tid, m->parts[i].p, &e) == WERR_OK &&
        g_read(s, m->parts[i].tid, m->parts[i].p, m->position[i], saw_record, &n)) {
        m->position[i] += n;
        core_group_handed_out(s->co, &who, m->parts[i].tid, m->parts[i].p, m->position[i]);
    }
}

static void log_member_step(struct gsim *s, struct g_member *m)
{
    const uint32_t dice = g_below(s, 100);

    if (m->news || dice < 10) {
        heartbeat(s, m);
    } else if (m->n_parts > 0 && dice < 50) {
        read_some(s, m);
    } else if (m->n_parts > 0 && dice < 95) {
        const size_t i = g_below(s, (uint32_t)m->n_parts);
        const uint64_t at = m->position[i];
        commit(s, m, m->epoch, i, at > 0 && g_chance(s, 10) ? at - 1 : at);
    } else if (m->n_parts > 0 && m->epoch > 1) { /* an epoch of before */
        commit(s, m, m->epoch - 1 - g_below(s, (uint32_t)(m->epoch - 1)), 0, m->position[0]);
        COUNT(s, stale_refused);
    }
}

void actor_step(struct gsim *s, struct g_member *m)
{
    const uint32_t dice = s->healing ? 999 : g_below(s, 1000);

    if (m->joining) {
        if (dice < 20) {
            cut(s, m);
        }
    } else if (m->session == NULL) {
        if (s->healing || g_chance(s, 30)) {
            join(s, m);
        }
    } else if (!m->joined) {
        join(s, m);
    } else if (dice < 12) {
        cut(s, m);
    } else if (dice < 18) {
        leave(s, m);
    } else if (dice < 24) { /* the same member over another connection */
        struct core_session *old = m->session;
        COUNT(s, took_over);
        m->session = NULL;
        m->joined = false;
        join(s, m);
        core_session_end(old);
        worker_gone(s, m, false);
    } else if (is_log(m)) {
        log_member_step(s, m);
    } else {
        worker_step(s, m);
    }
}

/* ---------------------------------------------------------------- what must hold */

/* Nobody but one may read a partition, under any epoch that was ever told. */
static void check_owner(struct gsim *s, unsigned group, uint32_t p)
{
    unsigned owners = 0;

    for (unsigned k = 0; k < G_MEMBERS; k++) {
        const struct g_member *m = &s->members[group][k];
        const struct msg_who who = who_of(m, m->epoch);
        struct werror e = {0};
        const enum werr rc = core_group_may_read(s->co, &who, s->tid[TOPIC_WORK], p, &e);
        owners += rc == WERR_OK || rc == WERR_AGAIN;
    }
    if (owners > 1) {
        g_fail(s, "partition %u of group %s has %u owners", p, g_group_names[group], owners);
    }
}

static void check_committed(struct gsim *s, unsigned group)
{
    struct msg_committed *c = NULL;
    size_t n = 0;
    struct werror e = {0};

    if (core_group_committed(s->co, slice_str(g_group_names[group]), NULL, 0, true, &c, &n, &e) !=
        WERR_OK) {
        return;
    }
    for (size_t i = 0; i < n; i++) {
        const struct g_log_part *lp = &s->log[group - GROUP_LOG][c[i].p];
        if (c[i].tid != s->tid[TOPIC_WORK] || lp->wild) {
            continue;
        }
        if (c[i].offset < lp->committed) {
            g_fail(s, "group %s partition %u: %llu was acknowledged as committed, %llu is",
                   g_group_names[group], c[i].p, (unsigned long long)lp->committed,
                   (unsigned long long)c[i].offset);
        }
        if (c[i].offset > lp->asked) {
            g_fail(s, "group %s partition %u: %llu is committed, nobody asked beyond %llu",
                   g_group_names[group], c[i].p, (unsigned long long)c[i].offset,
                   (unsigned long long)lp->asked);
        }
    }
    free(c);
}

void log_check(struct gsim *s)
{
    for (unsigned g = GROUP_LOG; g <= GROUP_LOG2 && !s->failed; g++) {
        for (uint32_t p = 0; p < s->n_parts[TOPIC_WORK]; p++) {
            check_owner(s, g, p);
        }
        check_committed(s, g);
    }
}

void log_converged(struct gsim *s)
{
    for (unsigned g = GROUP_LOG; g <= GROUP_LOG2 && !s->failed; g++) {
        unsigned owner_of[G_PARTS] = {0}, least = G_PARTS, most = 0, live = 0;
        for (unsigned k = 0; k < G_MEMBERS; k++) {
            const struct g_member *m = &s->members[g][k];
            if (!m->joined) {
                g_fail(s, "member %u of %s did not get back", k, g_group_names[g]);
                return;
            }
            live++;
            least = m->n_parts < least ? (unsigned)m->n_parts : least;
            most = m->n_parts > most ? (unsigned)m->n_parts : most;
            for (size_t i = 0; i < m->n_parts; i++) {
                owner_of[m->parts[i].p]++;
            }
        }
        for (uint32_t p = 0; p < s->n_parts[TOPIC_WORK]; p++) {
            if (owner_of[p] != 1) {
                g_fail(s, "after all calmed down partition %u of %s has %u owners", p,
                       g_group_names[g], owner_of[p]);
            }
        }
        if (most > least + 1) {
            g_fail(s, "%s: one member has %u partitions, another %u", g_group_names[g], most,
                   least);
        }
        COUNT(s, converged);
        check_committed(s, g);
    }
}

/* ---------------------------------------------------------------- seek, pause */

static void reset_done(struct core_reset_rq *rq)
{
    *(bool *)rq->arg = true;
}

static void seek(struct gsim *s, unsigned group)
{
    const uint32_t p = g_below(s, s->n_parts[TOPIC_WORK]);
    struct msg_reset_item it = {.tid = s->tid[TOPIC_WORK], .p = p};
    const bool force = g_chance(s, 30);
    bool done = false;
    struct core_reset_rq rq = {.group = slice_str(g_group_names[group]),
                               .items = &it,
                               .n = 1,
                               .force = force,
                               .done = reset_done,
                               .arg = &done};

    bool wild = false;

    if (group >= GROUP_LOG) {
        wild = s->log[group - GROUP_LOG][p].wild;
        s->log[group - GROUP_LOG][p].wild = true;
    } else {
        queue_reset_model(s, group, p);
    }
    if (group < GROUP_LOG && force) {
        queue_fenced(s, group);
    }
    core_group_reset(s->co, &rq);
    for (int i = 0; i < 50 && !done; i++) {
        core_flush(s->co);
        store_step(s->st);
    }
    g_trace(s, "seek", group, p, (uint64_t)rq.err.code);
    if (!done) {
        g_fail(s, "a seek is not answered");
    } else if (rq.err.code == WERR_OK) {
        s->n.sought++;
        s->n.sought_forced += force;
        if (group >= GROUP_LOG) {
            s->log[group - GROUP_LOG][p] = (struct g_log_part){0};
        }
    } else {
        COUNT(s, seek_refused);
        if (group >= GROUP_LOG && rq.err.code == WERR_GROUP_BUSY) {
            s->log[group - GROUP_LOG][p].wild = wild;
        }
    }
    free(rq.results);
}

static void alter_done(struct core_alter_rq *rq)
{
    *(bool *)rq->arg = true;
}

static void alter(struct gsim *s, unsigned group, const struct group_config *c)
{
    bool done = false;
    struct core_alter_rq rq = {
        .group = slice_str(g_group_names[group]), .conf = *c, .done = alter_done, .arg = &done};

    core_group_alter(s->co, &rq);
    for (int i = 0; i < 50 && !done; i++) {
        core_flush(s->co);
        store_step(s->st);
    }
    if (!done) {
        g_fail(s, "an alter is not answered");
    }
}

void groups_begin(struct gsim *s)
{
    for (unsigned g = 0; g < G_GROUPS; g++) {
        join(s, &s->members[g][0]);
    }
    g_settle(s);
    for (unsigned g = 0; g < GROUP_LOG; g++) {
        const struct group_config c = {.set = GKEY_MAX_DELIVER | GKEY_BACKOFF | GKEY_BACKOFF_MAX |
                                              GKEY_PROCESSING,
                                       .max_deliver = 3 + g_below(s, 3),
                                       .backoff_ms = 50,
                                       .backoff_max_ms = 400,
                                       .max_processing_ms = 4000};
        s->max_deliver[g] = c.max_deliver;
        alter(s, g, &c);
    }
}

void group_admin_step(struct gsim *s)
{
    const unsigned group = g_below(s, G_GROUPS);
    struct group_config c = {0};

    if (core_group_by_name(s->co, slice_str(g_group_names[group])) == NULL) {
        return;
    }
    if (g_chance(s, 15)) {
        seek(s, group);
        return;
    }
    c.set = GKEY_PAUSED_UNTIL;
    c.paused_until_ms = g_chance(s, 60) ? 0 : (uint64_t)(g_wall_ms(s) + (int64_t)g_below(s, 5000));
    s->n.paused += c.paused_until_ms != 0;
    alter(s, group, &c);
}
