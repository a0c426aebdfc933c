#include "queue_world.h"

#include <stdio.h>
#include <stdlib.h>

#include "proto/batch.h"
#include "tests/lib/test.h"

static void join(struct peer *m, struct world *w, const char *group, char letter,
                 const char *topics, enum msg_group_order order)
{
    peer_init(m, w, group, letter);
    m->join.mode = GROUP_MODE_QUEUE;
    m->join.order = order;
    peer_join(m, topics, WERR_OK);
}

void worker_join(struct peer *m, struct world *w, const char *group, char letter,
                 const char *topics)
{
    join(m, w, group, letter, topics, GROUP_ORDER_NONE);
}

void worker_join_keyed(struct peer *m, struct world *w, const char *group, char letter,
                       const char *topics)
{
    join(m, w, group, letter, topics, GROUP_ORDER_KEY);
}

/* ---------------------------------------------------------------- acquire */

/* Batches come by offset, each once; [first, last] is in them. */
static bool in_batches(struct slice run, uint64_t first, uint64_t last, uint64_t *batches)
{
    struct batch_head h;
    struct slice batch;
    uint64_t next = first, n = 0, end = 0;

    while (batch_next(&run, true, &h, &batch, NULL) == WERR_OK) {
        assert_true(h.base_offset >= end);
        end = h.base_offset + h.count;
        n++;
        if (next >= h.base_offset && next < h.base_offset + h.count) {
            next = h.base_offset + h.count;
        }
    }
    *batches = n;
    return next > last;
}

static void taken(struct core_acquire_rq *rq)
{
    struct take *t = rq->arg;

    t->done++;
    t->n = t->lots = 0;
    t->msgs = t->bytes = 0;
    for (size_t i = 0; i < rq->n_lots; i++) {
        const struct core_lot *l = &rq->lots[i];
        uint64_t batches = 0;
        t->bytes += l->data.n;
        t->lots++;
        for (size_t k = 0; k < l->n_ranges; k++) {
            const struct msg_range *r = &l->ranges[k];
            struct slip *s = &t->v[t->n++];
            assert_true(t->n < SLIPS_MAX);
            assert_true(k == 0 || r->first > l->ranges[k - 1].last);
            assert_true(in_batches(slice_of(l->data.p, l->data.n), r->first, r->last, &batches));
            *s = (struct slip){.tid = l->tid,
                               .p = l->p,
                               .first = r->first,
                               .last = r->last,
                               .lease = r->lease,
                               .deliveries = r->deliveries};
            snprintf(s->reason, sizeof s->reason, "%.*s", (int)r->reason.n,
                     r->reason.n > 0 ? (const char *)r->reason.p : "");
            t->msgs += r->last - r->first + 1;
        }
        t->batches += batches;
    }
    core_acquire_fini(rq);
}

void take_start(struct take *t, struct peer *m, uint64_t attempt, uint32_t max_msgs)
{
    t->done = 0;
    t->batches = 0;
    t->rq.who = peer_who(m);
    t->rq.max_msgs = max_msgs;
    t->rq.max_bytes = t->rq.max_bytes > 0 ? t->rq.max_bytes : 1 << 20;
    t->rq.attempt = attempt;
    t->rq.done = taken;
    t->rq.arg = t;
    core_acquire(m->w->co, &t->rq);
}

uint64_t take(struct take *t, struct peer *m, uint64_t attempt, uint32_t max_msgs)
{
    take_start(t, m, attempt, max_msgs);
    world_step(m->w);
    for (uint32_t i = 0; i < t->rq.max_wait_ms + 50 && t->done == 0; i++) {
        world_pass(m->w, 1);
    }
    assert_int_equal(t->done, 1);
    if (t->rq.err.code != WERR_OK) {
        fail_msg("acquire: %s", t->rq.err.text);
    }
    return t->msgs;
}

/* ---------------------------------------------------------------- settle */

static void settled(struct core_settle_rq *rq)
{
    struct settling *st = rq->arg;

    st->done++;
    st->whole = rq->err.code;
    for (size_t i = 0; rq->err.code == WERR_OK && i < rq->n; i++) {
        st->results[i] = rq->results[i].code;
    }
    free(rq->results);
}

void settle_start(struct settling *st, struct peer *m, const struct msg_settle_item *items,
                  size_t n)
{
    assert_true(n <= SLIPS_MAX);
    *st = (struct settling){
        .rq = {.who = peer_who(m), .items = items, .n = n, .done = settled, .arg = st}};
    core_settle(m->w->co, &st->rq);
}

struct msg_settle_item item_of(const struct slip *s, uint64_t first, uint64_t last,
                               enum msg_verb verb)
{
    return (struct msg_settle_item){.tid = s->tid,
                                    .p = s->p,
                                    .lease = s->lease,
                                    .first = first,
                                    .last = last,
                                    .verb = verb,
                                    .reason = slice_str("no good")};
}

enum werr settle(struct peer *m, const struct slip *s, uint64_t first, uint64_t last,
                 enum msg_verb verb, int64_t arg)
{
    struct msg_settle_item it = item_of(s, first, last, verb);
    struct settling st;

    it.has_arg = arg >= 0;
    it.arg = arg >= 0 ? (uint64_t)arg : 0;
    settle_start(&st, m, &it, 1);
    world_step(m->w);
    assert_int_equal(st.done, 1);
    return st.whole != WERR_OK ? st.whole : st.results[0];
}

enum werr ack(struct peer *m, const struct slip *s)
{
    return settle(m, s, s->first, s->last, VERB_ACK, -1);
}

/* ---------------------------------------------------------------- messages, figures */

static void produced(struct core_produce *rq)
{
    ++*(int *)rq->arg;
}

uint64_t produce_keys(struct world *w, uint64_t tid, uint32_t p, const char *keys, bool zip)
{
    static const char value[] = "0123456789012345678901234567890123456789";
    const struct batch_producer prod = {.id = 0};
    struct batch_builder bb;
    struct buf zipped = {0};
    struct slice out;
    struct blob *b;
    int done = 0;

    batch_builder_init(&bb, 0);
    for (const char *k = keys; *k != '\0'; k++) {
        const struct slice key = *k == '-' ? (struct slice){0} : slice_of(k, 1);
        assert_int_equal(batch_add(&bb, 1000, key, slice_str(value), NULL, 0), WERR_OK);
    }
    assert_int_equal(
        batch_finish(&bb, &prod, zip ? BATCH_CODEC_ZSTD : BATCH_CODEC_NONE, &zipped, &out),
        WERR_OK);
    b = blob_copy(out.p, out.n);
    struct core_produce rq = {.tid = tid,
                              .p = p,
                              .batch = {.owner = b, .p = b->p, .n = b->n},
                              .done = produced,
                              .arg = &done};
    core_produce(w->co, &rq);
    world_step(w);
    assert_int_equal(done, 1);
    assert_int_equal(rq.err.code, WERR_OK);
    blob_unref(b);
    batch_builder_fini(&bb);
    buf_fini(&zipped);
    return rq.ok.base_offset;
}

struct msg_group_part queue_part_row(struct world *w, const char *group, uint64_t tid, uint32_t p)
{
    struct core_group *g = core_group_by_name(w->co, slice_str(group));
    struct msg_group_describe d;
    struct msg_group_member *members = NULL;
    struct msg_group_part *parts = NULL, found = {0};
    size_t n_members = 0, n_parts = 0;
    bool known = false;

    assert_non_null(g);
    core_group_describe(w->co, g, &d, &members, &n_members, &parts, &n_parts);
    for (size_t i = 0; i < n_parts; i++) {
        if (parts[i].tid == tid && parts[i].p == p) {
            found = parts[i];
            known = true;
        }
    }
    free(members);
    free(parts);
    assert_true(known);
    return found;
}
