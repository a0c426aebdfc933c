/* Workers: they acquire, settle, forget, die, and come back; what must hold of every message. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gsim.h"

static const int64_t MS = 1000000;
enum { LEASE_MS = 4000 }; /* the shortest that any lease has here */

struct g_acquire {
    struct core_acquire_rq rq;
    struct g_member *m;
    int64_t asked_ns;
    bool again;
};

static struct msg_who who_of(const struct g_member *m)
{
    return (struct msg_who){.group = slice_str(g_group_names[m->group]),
                            .member = slice_of(m->id, MSG_MEMBER_BYTES),
                            .epoch = m->epoch};
}

static struct g_message *message(struct gsim *s, unsigned group, uint32_t p, uint64_t offset)
{
    if (offset >= G_OFFSETS) {
        g_fail(s, "the model holds no offset %llu", (unsigned long long)offset);
        return &s->queue[group][p].m[0];
    }
    return &s->queue[group][p].m[offset];
}

/* ---------------------------------------------------------------- what an answer may say */

static void check_keyed(struct gsim *s, const struct g_member *m, uint32_t p, uint64_t offset,
                        struct g_message *msg)
{
    struct g_queue_part *qp = &s->queue[m->group][p];
    const unsigned key = msg->key - 1u;

    COUNT(s, keyed);
    for (uint64_t o = 0; o < G_OFFSETS && !qp->wild; o++) {
        const struct g_message *other = &qp->m[o];
        if (o != offset && other->key == msg->key && other->hold.member != 0 &&
            !other->hold.settling && other->hold.until_ns > s->mono_ns) {
            g_fail(s, "partition %u: %llu is given out while %llu of the same key is held", p,
                   (unsigned long long)offset, (unsigned long long)o);
        }
    }
    if (!msg->seen && !qp->wild) {
        if (offset + 1 < qp->last_first[key]) {
            g_fail(s, "partition %u: %llu comes first after %llu of the same key", p,
                   (unsigned long long)offset, (unsigned long long)(qp->last_first[key] - 1));
        }
        qp->last_first[key] = offset + 1;
    }
}

static void got(struct gsim *s, struct g_acquire *a, const struct core_lot *lot, uint64_t offset,
                const struct msg_range *r, unsigned key)
{
    struct g_member *m = a->m;
    struct g_message *msg = message(s, m->group, lot->p, offset);
    const struct g_hold *h = &msg->hold;
    const bool wild = s->queue[m->group][lot->p].wild;

    if (msg->acked && !wild) {
        g_fail(s, "group %s partition %u: %llu was acknowledged as settled and comes again",
               g_group_names[m->group], lot->p, (unsigned long long)offset);
    }
    if (h->member != 0 && h->lease != r->lease && !h->settling && h->until_ns > s->mono_ns &&
        !wild) {
        g_fail(s,
               "group %s partition %u: %llu is held by member %u under %llu, and given under %llu",
               g_group_names[m->group], lot->p, (unsigned long long)offset, h->member - 1,
               (unsigned long long)h->lease, (unsigned long long)r->lease);
    }
    if (r->deliveries < 1 || r->deliveries > 16 || (r->deliveries < msg->deliveries && !wild)) {
        g_fail(s, "group %s partition %u: %llu in its delivery %u after %u",
               g_group_names[m->group], lot->p, (unsigned long long)offset, r->deliveries,
               msg->deliveries);
    }
    g_trace(s, "  got", m->group * 100000 + lot->p * 10000 + offset, r->deliveries, r->lease);
    msg->key = (uint8_t)(key + 1);
    if (m->group == GROUP_KEYED) {
        check_keyed(s, m, lot->p, offset, msg);
    }
    s->n.redelivered += r->deliveries > 1;
    if (h->lease != r->lease || h->member == 0) {
        msg->hold = (struct g_hold){.lease = r->lease,
                                    .member = m->index + 1,
                                    .until_ns = a->again ? 0 : a->asked_ns + LEASE_MS * MS};
    }
    msg->deliveries = (uint8_t)r->deliveries;
    msg->seen = true;
}

/* Keys of a lot's records, by offset. */
static void read_keys(struct gsim *s, const struct core_lot *lot, uint8_t *keys)
{
    struct slice run = slice_of(lot->data.p, lot->data.n), batch;
    struct buf scratch = {0};
    struct batch_head h;

    while (batch_next(&run, true, &h, &batch, NULL) == WERR_OK) {
        struct record_iter it;
        struct record r;
        if (record_open(&it, batch, &h, &scratch, NULL) != WERR_OK) {
            g_fail(s, "a batch of a lot does not open");
            break;
        }
        for (uint64_t o = h.base_offset; record_next(&it, &r) && o < G_OFFSETS; o++) {
            keys[o] = r.key.n > 0 ? (uint8_t)(r.key.p[0] + 1) : 255;
        }
    }
    buf_fini(&scratch);
}

static void remember(struct g_member *m, uint64_t tid, uint32_t p, uint64_t offset, uint64_t lease)
{
    for (size_t i = 0; i < m->n_held; i++) {
        if (m->held[i].tid == tid && m->held[i].p == p && m->held[i].offset == offset) {
            m->held[i].lease = lease;
            return;
        }
    }
    if (m->n_held < G_HELD) {
        m->held[m->n_held].tid = tid;
        m->held[m->n_held].p = p;
        m->held[m->n_held].offset = offset;
        m->held[m->n_held++].lease = lease;
    }
}

static void take_lot(struct gsim *s, struct g_acquire *a, const struct core_lot *lot)
{
    uint8_t keys[G_OFFSETS] = {0};

    read_keys(s, lot, keys);
    for (size_t i = 0; i < lot->n_ranges && !s->failed; i++) {
        const struct msg_range *r = &lot->ranges[i];
        for (uint64_t o = r->first; o <= r->last && !s->failed; o++) {
            if (o >= G_OFFSETS || keys[o] == 0) {
                g_fail(s, "the batches of a lot do not hold offset %llu", (unsigned long long)o);
                return;
            }
            COUNT(s, acquired);
            if (lot->tid == s->tid[TOPIC_WORK]) {
                got(s, a, lot, o, r, keys[o] == 255 ? 0 : keys[o] - 1u);
            } else {
                COUNT(s, redelivered_dead);
            }
            remember(a->m, lot->tid, lot->p, o, r->lease);
        }
    }
}

static void on_acquired(struct core_acquire_rq *rq)
{
    struct g_acquire *a = rq->arg;
    struct g_member *m = a->m;
    struct gsim *s = m->s;

    m->acquire = NULL;
    g_trace(s, "acquired", m->group * 10 + m->index, (uint64_t)rq->err.code, rq->n_lots);
    if (!s->down && rq->err.code == WERR_OK) {
        s->n.acquire_empty += rq->n_lots == 0;
        s->n.repeated += a->again && rq->n_lots > 0;
        for (size_t i = 0; i < rq->n_lots; i++) {
            take_lot(s, a, &rq->lots[i]);
        }
    } else if (rq->err.code == WERR_UNKNOWN_MEMBER || rq->err.code == WERR_FENCED_MEMBER) {
        m->joined = false;
    }
    core_acquire_fini(rq);
    free(a);
}

static void acquire(struct gsim *s, struct g_member *m)
{
    struct g_acquire *a = calloc(1, sizeof *a);

    if (a == NULL) {
        abort();
    }
    a->m = m;
    a->asked_ns = s->mono_ns;
    a->again = m->repeat;
    m->attempt += !m->repeat;
    m->repeat = false;
    a->rq = (struct core_acquire_rq){.who = who_of(m),
                                     .max_msgs = 1 + g_below(s, 6),
                                     .max_bytes = 1 + g_below(s, 2000),
                                     .max_wait_ms = g_below(s, 400),
                                     .attempt = m->attempt,
                                     .done = on_acquired,
                                     .arg = a};
    m->acquire = a;
    core_acquire(s->co, &a->rq);
}

/* ---------------------------------------------------------------- verdicts */

struct settle {
    struct core_settle_rq rq;
    struct g_member *m;
    struct msg_settle_item items[3];
    bool sure[3]; /* it held the message when it asked */
    size_t n;
    bool stale;
};

static void verdict_done(struct gsim *s, const struct g_member *m, const struct msg_settle_item *it,
                         const struct werror *e, bool stale, bool sure)
{
    if (it->tid != s->tid[TOPIC_WORK]) {
        return;
    }
    struct g_message *msg = message(s, m->group, it->p, it->first);
    g_trace(s, "  settled", m->group * 100000 + it->p * 10000 + it->first, it->verb,
            (uint64_t)e->code);
    if (e->code != WERR_OK) {
        s->n.lease_lost += e->code == WERR_LEASE_LOST;
        return;
    }
    if (stale && it->verb != VERB_ACK) {
        g_fail(s, "a verdict under a lease of before was taken");
    }
    switch (it->verb) {
    case VERB_ACK:
        msg->acked = true; /* or dead before: an ack of what is settled is fine */
        msg->acked_surely = msg->acked_surely || sure;
        COUNT(s, acked);
        break;
    case VERB_NACK:
        COUNT(s, nacked);
        break;
    case VERB_RELEASE:
        COUNT(s, released);
        break;
    case VERB_DEAD:
        msg->dead = true;
        COUNT(s, killed);
        break;
    case VERB_EXTEND:
        COUNT(s, extended);
        break;
    }
}

static void on_settled(struct core_settle_rq *rq)
{
    struct settle *t = rq->arg;
    struct gsim *s = t->m->s;

    if (rq->err.code == WERR_OK) {
        for (size_t i = 0; i < t->n; i++) {
            verdict_done(s, t->m, &t->items[i], &rq->results[i], t->stale, t->sure[i]);
        }
    } else if (rq->err.code == WERR_STORAGE_FULL) {
        COUNT(s, refused_full);
    } else {
        s->n.ack_unknown += rq->err.code == WERR_INDETERMINATE;
    }
    free(rq->results);
    free(t);
}

/* The model as it is once a verdict has left: it may count, whatever the answer. */
static bool verdict_asked(struct gsim *s, struct g_member *m, const struct msg_settle_item *it)
{
    if (it->tid != s->tid[TOPIC_WORK]) {
        return false;
    }
    struct g_message *msg = message(s, m->group, it->p, it->first);
    const bool sure =
        msg->hold.lease == it->lease && msg->hold.until_ns > s->mono_ns && !msg->hold.settling;
    if (it->verb != VERB_EXTEND && msg->hold.lease == it->lease) {
        msg->hold.settling = true;
    }
    msg->maybe_acked = msg->maybe_acked || it->verb == VERB_ACK;
    msg->maybe_dead = msg->maybe_dead || it->verb == VERB_DEAD || it->verb == VERB_NACK;
    if (it->verb == VERB_RELEASE) {
        msg->deliveries = (uint8_t)(msg->deliveries - (msg->deliveries > 0));
    }
    return sure;
}

static void settle(struct gsim *s, struct g_member *m)
{
    struct settle *t = calloc(1, sizeof *t);

    if (t == NULL) {
        abort();
    }
    t->m = m;
    for (; t->n < 3 && m->n_held > 0; t->n++) {
        const size_t i = g_below(s, (uint32_t)m->n_held);
        const bool dlq = m->held[i].tid != s->tid[TOPIC_WORK];
        struct msg_settle_item *it = &t->items[t->n];
        const uint32_t dice = s->healing || dlq ? 0 : g_below(s, 100);
        *it = (struct msg_settle_item){.tid = m->held[i].tid,
                                       .p = m->held[i].p,
                                       .lease = m->held[i].lease,
                                       .first = m->held[i].offset,
                                       .last = m->held[i].offset,
                                       .verb = dice < 55   ? VERB_ACK
                                               : dice < 75 ? VERB_NACK
                                               : dice < 85 ? VERB_RELEASE
                                               : dice < 92 ? VERB_DEAD
                                                           : VERB_EXTEND,
                                       .reason = slice_str("because")};
        it->has_arg = it->verb == VERB_NACK && g_chance(s, 30);
        it->arg = it->has_arg ? g_below(s, 500) : 0;
        t->sure[t->n] = verdict_asked(s, m, it);
        g_trace(s, "  settle", m->group * 100000 + it->p * 10000 + it->first, it->verb, it->lease);
        if (it->verb != VERB_EXTEND) {
            m->held[i] = m->held[--m->n_held];
        }
    }
    t->rq = (struct core_settle_rq){
        .who = who_of(m), .items = t->items, .n = t->n, .done = on_settled, .arg = t};
    core_settle(s->co, &t->rq);
}

/* A lease that this member cannot have. */
static void settle_stale(struct gsim *s, struct g_member *m)
{
    struct settle *t = calloc(1, sizeof *t);

    if (t == NULL) {
        abort();
    }
    COUNT(s, stale_settle);
    t->m = m;
    t->n = 1;
    t->stale = true;
    t->items[0] = (struct msg_settle_item){.tid = s->tid[TOPIC_WORK],
                                           .lease = 1 + g_below(s, 1000),
                                           .first = g_below(s, 50),
                                           .verb = VERB_NACK};
    t->items[0].last = t->items[0].first;
    t->rq = (struct core_settle_rq){
        .who = who_of(m), .items = t->items, .n = 1, .done = on_settled, .arg = t};
    core_settle(s->co, &t->rq);
}

/* ---------------------------------------------------------------- a member's life */

void worker_step(struct gsim *s, struct g_member *m)
{
    const uint32_t dice = g_below(s, 100);

    if (m->acquire == NULL && (m->n_held == 0 || dice < 30) && m->n_held + 6 < G_HELD) {
        acquire(s, m);
    } else if (m->n_held > 0 && (s->healing || (dice < 90 && !(m->slow && dice > 5)))) {
        settle(s, m);
    } else if (dice > 97 && !s->healing) {
        settle_stale(s, m);
    } else if (m->slow && dice > 95) {
        m->n_held = 0; /* forgets them: their leases run out */
        COUNT(s, lease_expired);
    }
}

void worker_gone(struct gsim *s, struct g_member *m, bool left)
{
    if (m->group >= GROUP_LOG) {
        return;
    }
    if (m->acquire != NULL) { /* the core has let go of it without an answer */
        COUNT(s, acquire_cut);
        core_acquire_fini(&m->acquire->rq);
        free(m->acquire);
        m->acquire = NULL;
        m->repeat = !left;
    }
    for (uint32_t p = 0; p < G_PARTS; p++) {
        for (uint64_t o = 0; o < G_OFFSETS; o++) {
            struct g_hold *h = &s->queue[m->group][p].m[o].hold;
            const int64_t until_ns = left ? 0 : s->mono_ns + CORE_GRACE_MS * MS;
            if (h->member == m->index + 1 && h->until_ns > until_ns) {
                h->until_ns = until_ns;
            }
            if (h->member == m->index + 1 && left) { /* given back, uncounted */
                struct g_message *msg = &s->queue[m->group][p].m[o];
                msg->deliveries = (uint8_t)(msg->deliveries - (msg->deliveries > 0));
                h->member = 0;
            }
        }
    }
}

void queue_fenced(struct gsim *s, unsigned group)
{
    for (uint32_t p = 0; p < G_PARTS; p++) {
        for (uint64_t o = 0; o < G_OFFSETS; o++) {
            s->queue[group][p].m[o].hold = (struct g_hold){0};
        }
    }
}

void queue_reset_model(struct gsim *s, unsigned group, uint32_t p)
{
    struct g_queue_part *qp = &s->queue[group][p];

    for (uint64_t o = 0; o < G_OFFSETS; o++) {
        qp->m[o].acked = false;
        qp->m[o].hold = (struct g_hold){0};
    }
    qp->wild = true;
}

/* ---------------------------------------------------------------- the end */

static uint64_t high(struct gsim *s, uint32_t p)
{
    struct msg_part_stat stat[G_PARTS];
    struct core_topic *t = core_topic_by_id(s->co, s->tid[TOPIC_WORK]);

    core_topic_stats(s->co, t, stat);
    return stat[p].hw;
}

bool queue_drained(struct gsim *s)
{
    for (unsigned g = 0; g < GROUP_LOG; g++) {
        struct msg_committed *c = NULL;
        size_t n = 0, done = 0;
        if (core_group_committed(s->co, slice_str(g_group_names[g]), NULL, 0, true, &c, &n, NULL) !=
            WERR_OK) {
            return false;
        }
        for (size_t i = 0; i < n; i++) {
            done += c[i].tid == s->tid[TOPIC_WORK] && c[i].offset == high(s, c[i].p);
        }
        free(c);
        if (done < s->n_parts[TOPIC_WORK]) {
            return false;
        }
    }
    return true;
}

void queue_show(struct gsim *s)
{
    for (unsigned g = 0; g < GROUP_LOG && s->verbose; g++) {
        struct core_group *group = core_group_by_name(s->co, slice_str(g_group_names[g]));
        struct msg_group_describe d;
        struct msg_group_member *members = NULL;
        struct msg_group_part *parts = NULL;
        size_t n_members = 0, n_parts = 0;
        if (group == NULL) {
            continue;
        }
        core_group_describe(s->co, group, &d, &members, &n_members, &parts, &n_parts);
        for (size_t i = 0; i < n_parts; i++) {
            printf("%s %.*s/%u: floor %llu next %llu hw %llu leased %llu retrying %llu\n",
                   g_group_names[g], (int)parts[i].topic.n, (const char *)parts[i].topic.p,
                   parts[i].p, (unsigned long long)parts[i].position,
                   (unsigned long long)parts[i].next, (unsigned long long)parts[i].hw,
                   (unsigned long long)parts[i].in_flight, (unsigned long long)parts[i].retrying);
        }
        free(members);
        free(parts);
    }
}

struct copies {
    unsigned group;
    uint8_t n[G_PARTS][G_OFFSETS];
};

static bool header_is(struct slice name, const char *text)
{
    return slice_eq(name, slice_str(text));
}

static void count_copy(struct gsim *s, void *arg, uint64_t offset, const struct record *r)
{
    struct copies *c = arg;
    struct slice headers = r->headers, name, value;
    uint64_t p = UINT64_MAX, o = UINT64_MAX;

    (void)offset;
    while (record_header_next(&headers, &name, &value)) {
        char text[24] = {0};
        memcpy(text, value.p, value.n < 23 ? value.n : 23);
        if (header_is(name, "weir-origin-partition")) {
            p = strtoull(text, NULL, 10);
        } else if (header_is(name, "weir-origin-offset")) {
            o = strtoull(text, NULL, 10);
        }
    }
    if (p >= G_PARTS || o >= G_OFFSETS) {
        g_fail(s, "a dead letter does not say where it came from");
        return;
    }
    c->n[p][o]++;
    g_trace(s, "  copy", c->group * 100000 + p * 10000 + o, offset, 0);
    COUNT(s, dead);
}

static void check_message(struct gsim *s, unsigned g, uint32_t p, uint64_t o, unsigned copies)
{
    const struct g_message *msg = &s->queue[g][p].m[o];
    const bool wild = s->queue[g][p].wild;

    if (copies > 1 && !wild && s->n.redriven == 0) {
        g_fail(s, "group %s partition %u: %llu has %u copies in the dead letters", g_group_names[g],
               p, (unsigned long long)o, copies);
    }
    if (copies > 0 && msg->acked_surely && !wild && s->n.redriven == 0) {
        g_fail(s, "group %s partition %u: %llu is settled and dead", g_group_names[g], p,
               (unsigned long long)o);
    }
    if (copies == 0 && !msg->acked && !msg->maybe_acked && !wild) {
        g_fail(s, "group %s partition %u: %llu is neither settled nor dead: lost", g_group_names[g],
               p, (unsigned long long)o);
    }
}

void queue_final(struct gsim *s)
{
    for (unsigned g = 0; g < GROUP_LOG && !s->failed; g++) {
        static struct copies c;
        char name[64];
        snprintf(name, sizeof name, "%s~%s~dlq", g_topic_names[TOPIC_WORK], g_group_names[g]);
        memset(&c, 0, sizeof c);
        c.group = g;
        struct core_topic *t = core_topic_by_name(s->co, slice_str(name));
        if (t != NULL && !g_read(s, core_topic_id(t), 0, 0, count_copy, &c)) {
            g_fail(s, "%s cannot be read", name);
        }
        for (uint32_t p = 0; p < s->n_parts[TOPIC_WORK]; p++) {
            const uint64_t hw = high(s, p);
            for (uint64_t o = 0; o < hw && !s->failed; o++) {
                check_message(s, g, p, o, c.n[p][o]);
            }
        }
    }
}

static void dlq_done(struct core_dlq_rq *rq)
{
    *(bool *)rq->arg = true;
}

void dlq_step(struct gsim *s)
{
    const unsigned g = g_below(s, GROUP_LOG);
    const bool purge = g_chance(s, 30);
    struct msg_dlq_span span = {.first = g_below(s, 20)};
    char name[64];
    bool done = false;

    snprintf(name, sizeof name, "%s~%s~dlq", g_topic_names[TOPIC_WORK], g_group_names[g]);
    if (s->seed % 2 != 0 || core_topic_by_name(s->co, slice_str(name)) == NULL) {
        return; /* every other run is without: its dead letters are counted exactly */
    }
    span.last = span.first + g_below(s, 5);
    struct core_dlq_rq rq = {.topic = slice_str(name),
                             .spans = &span,
                             .n = 1,
                             .rate = 10 + g_below(s, 100),
                             .done = dlq_done,
                             .arg = &done};
    if (purge) {
        core_dlq_purge(s->co, &rq);
    } else {
        core_dlq_redrive(s->co, &rq);
    }
    for (int i = 0; i < 50 && !done; i++) {
        core_tick(s->co);
        core_flush(s->co);
        store_step(s->st);
    }
    if (!done) {
        g_fail(s, "a redrive is not answered");
    }
    g_trace(s, purge ? "purge" : "redrive", g, rq.moved, rq.skipped);
    s->n.purged += purge ? rq.moved : 0;
    s->n.redriven += purge ? 0 : 1 + rq.moved;
}
