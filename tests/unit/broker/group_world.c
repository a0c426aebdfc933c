#include "group_world.h"

#include <stdio.h>
#include <stdlib.h>

#include "tests/lib/test.h"

static void on_news(void *arg, enum core_session_news what)
{
    struct peer *m = arg;

    m->changed += what == SESSION_CHANGED;
    m->fenced += what == SESSION_FENCED;
}

void peer_init(struct peer *m, struct world *w, const char *group, char letter)
{
    *m = (struct peer){.w = w};
    snprintf(m->group, sizeof m->group, "%s", group);
    memset(m->id, letter, sizeof m->id);
    m->join.start = -1;
}

static void take_parts(struct peer *m, struct msg_assigned *parts, size_t n)
{
    free(m->parts);
    m->parts = parts;
    m->n_parts = n;
}

static void join_done(struct core_join_rq *rq)
{
    struct peer *m = rq->arg;

    m->done++;
    m->err = rq->err;
    if (rq->err.code == WERR_OK) {
        m->epoch = rq->epoch;
        m->resumed = rq->resumed;
        take_parts(m, rq->parts, rq->n_parts);
    } else {
        assert_null(rq->parts);
    }
}

void peer_join_start(struct peer *m, const char *topics)
{
    struct slice names[16];
    size_t n = 0;

    for (const char *at = topics; *at != '\0'; n++) {
        const size_t len = strcspn(at, ",");
        names[n] = slice_of(at, len);
        at += len + (at[len] == ',');
    }
    if (m->session == NULL) {
        m->session = core_session_new(m->w->co, on_news, m);
    }
    m->done = 0;
    m->join.session = m->session;
    m->join.group = slice_str(m->group);
    m->join.member = slice_of(m->id, sizeof m->id);
    m->join.topics = names;
    m->join.n_topics = n;
    m->join.client = slice_str("test");
    m->join.address = slice_str("127.0.0.1:1");
    m->join.done = join_done;
    m->join.arg = m;
    core_group_join(m->w->co, &m->join);
}

void peer_join(struct peer *m, const char *topics, enum werr want)
{
    peer_join_start(m, topics);
    world_step(m->w);
    assert_int_equal(m->done, 1);
    if (m->err.code != want) {
        fail_msg("join: %s %s", werr_name(m->err.code), m->err.text);
    }
}

struct msg_who peer_who(const struct peer *m)
{
    return (struct msg_who){
        .group = slice_str(m->group), .member = slice_of(m->id, sizeof m->id), .epoch = m->epoch};
}

static void beat_done(struct core_heartbeat_rq *rq)
{
    struct peer *m = rq->arg;

    m->done++;
    m->err = rq->err;
    if (rq->err.code == WERR_OK) {
        m->epoch = rq->epoch;
        if (rq->has_parts) {
            take_parts(m, rq->parts, rq->n_parts);
        }
    }
}

static void beat(struct peer *m, bool owning, enum werr want)
{
    struct msg_tp *owned = calloc(m->n_parts + 1, sizeof *owned);
    struct core_heartbeat_rq rq = {
        .who = peer_who(m), .owned = owned, .has_owned = owning, .done = beat_done, .arg = m};

    for (size_t i = 0; i < m->n_parts && owning; i++) {
        owned[rq.n_owned++] = (struct msg_tp){m->parts[i].tid, m->parts[i].p};
    }
    m->done = 0;
    core_group_heartbeat(m->w->co, &rq);
    free(owned);
    assert_int_equal(m->done, 1);
    if (m->err.code != want) {
        fail_msg("heartbeat: %s %s", werr_name(m->err.code), m->err.text);
    }
    world_step(m->w);
}

void peer_beat(struct peer *m, enum werr want)
{
    beat(m, false, want);
}

void peer_beat_owning(struct peer *m, enum werr want)
{
    beat(m, true, want);
}

void peers_settle(struct peer *m, size_t n)
{
    bool again = true;

    for (int round = 0; again; round++) {
        assert_true(round < 100);
        world_pass(m->w, 20);
        again = false;
        for (size_t i = 0; i < n; i++) {
            if (m[i].session == NULL || m[i].changed == 0) {
                continue;
            }
            m[i].changed = 0;
            peer_beat(&m[i], WERR_OK);
            peer_beat_owning(&m[i], WERR_OK);
            again = true;
        }
    }
}

static void commit_done(struct core_commit_rq *rq)
{
    ++*(int *)rq->arg;
}

enum werr peer_commit(struct peer *m, uint64_t tid, uint32_t p, uint64_t offset)
{
    const struct msg_commit_item item = {
        .tid = tid, .p = p, .offset = offset, .note = slice_str("note")};
    int done = 0;
    struct core_commit_rq rq = {
        .who = peer_who(m), .items = &item, .n = 1, .done = commit_done, .arg = &done};

    core_group_commit(m->w->co, &rq);
    world_step(m->w);
    assert_int_equal(done, 1);
    m->err = rq.err.code != WERR_OK ? rq.err : rq.results[0];
    free(rq.results);
    return m->err.code;
}

static void simple_done(struct core_simple_rq *rq)
{
    ++*(int *)rq->arg;
}

enum werr peer_leave(struct peer *m)
{
    int done = 0;
    struct core_simple_rq rq = {.who = peer_who(m), .done = simple_done, .arg = &done};

    core_group_leave(m->w->co, &rq);
    world_step(m->w);
    assert_int_equal(done, 1);
    return rq.err.code;
}

void peer_drop(struct peer *m)
{
    if (m->session != NULL) {
        core_session_end(m->session);
        m->session = NULL;
    }
}

void peer_fini(struct peer *m)
{
    peer_drop(m);
    take_parts(m, NULL, 0);
}

bool peer_has(const struct peer *m, uint64_t tid, uint32_t p)
{
    for (size_t i = 0; i < m->n_parts; i++) {
        if (m->parts[i].tid == tid && m->parts[i].p == p) {
            return true;
        }
    }
    return false;
}

enum werr peer_may_read(const struct peer *m, uint64_t tid, uint32_t p)
{
    const struct msg_who who = peer_who(m);
    struct werror e = {0};

    return core_group_may_read(m->w->co, &who, tid, p, &e);
}

struct msg_committed world_committed(struct world *w, const char *group, uint64_t tid, uint32_t p)
{
    const struct msg_tp tp = {tid, p};
    struct msg_committed *list = NULL, found;
    struct werror e = {0};
    size_t n = 0;

    if (core_group_committed(w->co, slice_str(group), &tp, 1, false, &list, &n, &e) != WERR_OK) {
        fail_msg("committed: %s", e.text);
    }
    assert_int_equal(n, 1);
    found = list[0];
    free(list);
    return found;
}

enum werr world_group_delete(struct world *w, const char *group, bool force)
{
    int done = 0;
    struct core_simple_rq rq = {
        .who = {.group = slice_str(group)}, .force = force, .done = simple_done, .arg = &done};

    core_group_delete(w->co, &rq);
    world_step(w);
    assert_int_equal(done, 1);
    return rq.err.code;
}

static void alter_done(struct core_alter_rq *rq)
{
    ++*(int *)rq->arg;
}

enum werr world_group_set(struct world *w, const char *group, const char *key, const char *value)
{
    int done = 0;
    struct core_alter_rq rq = {.group = slice_str(group), .done = alter_done, .arg = &done};
    struct werror e = {0};

    if (group_config_set(&rq.conf, key, value, &e) != WERR_OK) {
        fail_msg("%s", e.text);
    }
    core_group_alter(w->co, &rq);
    world_step(w);
    assert_int_equal(done, 1);
    return rq.err.code;
}

static void reset_done(struct core_reset_rq *rq)
{
    ++*(int *)rq->arg;
}

enum werr world_seek(struct world *w, const char *group, uint64_t tid, uint32_t p, uint64_t offset,
                     bool force)
{
    const struct msg_reset_item item = {.tid = tid, .p = p, .offset = offset};
    int done = 0;
    struct core_reset_rq rq = {.group = slice_str(group),
                               .items = &item,
                               .n = 1,
                               .force = force,
                               .done = reset_done,
                               .arg = &done};

    core_group_reset(w->co, &rq);
    world_step(w);
    assert_int_equal(done, 1);
    free(rq.results);
    return rq.err.code;
}

const char *world_group_state(struct world *w, const char *group)
{
    static char text[80];
    struct core_group *g = core_group_by_name(w->co, slice_str(group));
    struct msg_group_row row;

    assert_non_null(g);
    core_group_row(w->co, g, &row);
    snprintf(text, sizeof text, "%.*s", (int)row.state.n, (const char *)row.state.p);
    return text;
}
