/*
 * Members of groups. A log-mode member commits by hand, so that every position it asks for and
 * every answer is in its history; a worker (queue mode) gives each message a verdict.
 *
 * Happy path: HIST_JOIN, HIST_GAINED, HIST_DELIVERED ..., HIST_COMMIT, weir_commit, HIST_COMMITTED.
 * What can fail: a member that was replaced (its subscription ends) records HIST_LEFT and joins
 * again. A commit that fails is recorded as unknown: parts of it may have happened.
 */
#include <poll.h>
#include <stdio.h>
#include <string.h>

#include "tests/faults/load/load.h"

enum { STEP_MS = 100, COMMIT_MS = 30000, MAX_PENDING = 4096, LEAVE_MS = 10000 };

/* One answer that is awaited: a position, or a verdict. */
struct pending {
    uint8_t topic;
    bool doubtful; /* something happened meanwhile: its answer counts for nothing */
    int32_t partition;
    int64_t offset;
    uint64_t op;
    uint32_t verdict;
};

struct member {
    struct load *l;
    weir *w;
    weir_sub *sub;
    uint32_t joins;
    bool queue;
    struct pending pending[MAX_PENDING];
    size_t n;
};

static struct hist_event event_of(const struct member *m, enum hist_kind kind)
{
    return (struct hist_event){.kind = (uint8_t)kind,
                               .partition = -1,
                               .offset = -1,
                               .group = m->l->o->group_number,
                               .generation = weir_sub_epoch(m->sub),
                               .extra = m->joins};
}

static void on_assignment(void *user, weir_sub *s, const weir_partition_ref *gained,
                          size_t n_gained, const weir_partition_ref *lost, size_t n_lost)
{
    struct member *m = user;
    (void)s;
    for (size_t i = 0; i < n_lost; i++) {
        struct hist_event e = event_of(m, HIST_LOST);
        e.topic = load_topic_number(m->l, lost[i].topic);
        e.partition = lost[i].partition;
        hist_add(&m->l->hist, &e);
        for (size_t k = 0; k < m->n; k++) {
            if (m->pending[k].topic == e.topic && m->pending[k].partition == e.partition) {
                m->pending[k].doubtful = true;
            }
        }
    }
    for (size_t i = 0; i < n_gained; i++) {
        struct hist_event e = event_of(m, HIST_GAINED);
        e.topic = load_topic_number(m->l, gained[i].topic);
        e.partition = gained[i].partition;
        e.offset = gained[i].offset;
        hist_add(&m->l->hist, &e);
    }
}

static void on_unsettled(void *user, weir_sub *s, const char *topic, int32_t partition,
                         int64_t offset, const weir_error *e)
{
    struct member *m = user;
    const uint8_t number = load_topic_number(m->l, topic);
    (void)s;
    (void)e;
    for (size_t k = 0; k < m->n; k++) {
        struct pending *p = &m->pending[k];
        if (p->topic == number && p->partition == partition && p->offset == offset) {
            p->doubtful = true;
        }
    }
}

static void join(struct member *m)
{
    const struct load_options *o = m->l->o;
    char topics[1024] = "", options[600];
    size_t at = 0;
    for (int i = 0; i < o->n_topics; i++) {
        at += (size_t)snprintf(topics + at, sizeof(topics) - at, "%s%s", i ? "," : "",
                               o->topics[i].name);
    }
    snprintf(options, sizeof(options), "mode=%s %s%s", m->queue ? "queue" : "log",
             m->queue ? "" : "commit=manual ", o->extra);
    m->joins++;
    m->sub = NULL;
    struct hist_event e = event_of(m, HIST_JOIN);
    hist_add(&m->l->hist, &e);
    m->sub = weir_subscribe(m->w, topics, o->group, options);
    if (m->queue) {
        weir_on_unsettled(m->sub, on_unsettled, m);
    } else {
        weir_on_assignment(m->sub, on_assignment, m);
    }
}

static void leave(struct member *m)
{
    weir_unsubscribe(m->sub);
    m->sub = NULL;
    const struct hist_event e = event_of(m, HIST_LEFT);
    hist_add(&m->l->hist, &e);
    m->n = 0;
}

/* Asks for everything pending to be kept, and records what came of it. */
static void settle(struct member *m)
{
    if (m->n == 0) {
        return;
    }
    const enum hist_kind before = m->queue ? HIST_SETTLE : HIST_COMMIT;
    for (size_t k = 0; k < m->n && !m->queue; k++) {
        struct hist_event e = event_of(m, before);
        e.topic = m->pending[k].topic;
        e.partition = m->pending[k].partition;
        e.offset = m->pending[k].offset;
        e.op = m->pending[k].op = ++m->l->op;
        hist_add(&m->l->hist, &e);
    }
    const uint64_t epoch = weir_sub_epoch(m->sub);
    const weir_error r = weir_commit(m->sub, COMMIT_MS);
    for (size_t k = 0; k < m->n; k++) {
        const struct pending *p = &m->pending[k];
        struct hist_event e = event_of(m, m->queue ? HIST_SETTLED : HIST_COMMITTED);
        e.topic = p->topic;
        e.partition = p->partition;
        e.offset = p->offset;
        e.op = p->op;
        e.generation = epoch;
        e.extra = p->verdict;
        e.outcome = r.outcome == WEIR_DONE && !p->doubtful ? HIST_OK : HIST_UNKNOWN;
        hist_add(&m->l->hist, &e);
    }
    m->n = 0;
}

/* Notes that the position of its partition goes past m. */
static void note_position(struct member *m, uint8_t topic, const weir_message *msg)
{
    for (size_t k = 0; k < m->n; k++) {
        if (m->pending[k].topic == topic && m->pending[k].partition == msg->partition &&
            !m->pending[k].doubtful) {
            m->pending[k].offset = msg->offset + 1;
            return;
        }
    }
    if (m->n < MAX_PENDING) {
        m->pending[m->n++] = (struct pending){
            .topic = topic, .partition = msg->partition, .offset = msg->offset + 1};
    }
}

static void give_verdict(struct member *m, uint8_t topic, const weir_message *msg)
{
    const weir_verdict v = load_random(m->l, 100) < m->l->o->nack_percent ? WEIR_NACK : WEIR_ACK;
    struct pending *p = &m->pending[m->n++];
    *p = (struct pending){.topic = topic,
                          .partition = msg->partition,
                          .offset = msg->offset,
                          .op = ++m->l->op,
                          .verdict = (uint32_t)v};
    struct hist_event e = event_of(m, HIST_SETTLE);
    e.topic = topic;
    e.partition = msg->partition;
    e.offset = msg->offset;
    e.op = p->op;
    e.extra = p->verdict;
    hist_add(&m->l->hist, &e);
    weir_done_with(msg, v, v == WEIR_NACK ? 50 : -1, NULL);
}

static void take(struct member *m, const weir_message *msg)
{
    const uint8_t topic = load_topic_number(m->l, msg->topic);
    struct hist_event e = event_of(m, HIST_DELIVERED);
    e.extra = msg->deliveries;
    load_add_message(m->l, e, msg, topic);
    if (m->l->o->work_us) {
        poll(NULL, 0, (int)(load_random(m->l, m->l->o->work_us) / 1000));
    }
    if (m->queue) {
        give_verdict(m, topic, msg);
    } else {
        note_position(m, topic, msg);
        weir_done(msg, WEIR_ACK);
    }
}

static bool ended(weir_sub *s)
{
    const weir_error e = weir_sub_error(s);
    return e.code != WEIR_OK && e.code != WEIR_E_TIMEOUT;
}

static int take_part(struct load *l, bool queue)
{
    static struct member m;
    uint32_t since = 0;
    m.l = l;
    m.queue = queue;
    m.w = weir_open(l->o->url, l->o->handle);
    join(&m);
    while (!load_stopped()) {
        const weir_message *msg = weir_next(m.sub, STEP_MS);
        if (msg) {
            take(&m, msg);
            since++;
        }
        if (since >= l->o->every || (!msg && since > 0) || m.n == MAX_PENDING) {
            settle(&m);
            since = 0;
        }
        if (!msg && ended(m.sub)) {
            struct hist_event e = event_of(&m, HIST_SUB_ERROR);
            e.extra = (uint32_t)weir_sub_error(m.sub).code;
            hist_add(&l->hist, &e);
            leave(&m);
            join(&m);
        }
    }
    settle(&m);
    leave(&m);
    weir_close(m.w, LEAVE_MS);
    return 0;
}

int load_member(struct load *l)
{
    return take_part(l, false);
}

int load_work(struct load *l)
{
    return take_part(l, true);
}
