/* The life of dead letters: moved once, whatever happens in between; redriven, dead again, purged.
 */
#include "broker/core/dlq_impl.h"
#include "core_world.h"

#include <stdio.h>
#include <stdlib.h>

#include "tests/lib/test.h"

/* ---------------------------------------------------------------- a worker */

struct worker {
    struct world *w;
    struct core_session *session;
    const char *group;
    uint8_t id[MSG_MEMBER_BYTES];
    uint64_t epoch, attempt;
};

static void on_news(void *arg, enum core_session_news what)
{
    (void)arg;
    (void)what;
}

static void joined(struct core_join_rq *rq)
{
    ++*(int *)rq->arg;
}

static void worker_join(struct worker *k, struct world *w, const char *group, const char *topic)
{
    const struct slice topics[] = {slice_str(topic)};
    int done = 0;
    struct core_join_rq rq = {.topics = topics,
                              .n_topics = 1,
                              .mode = GROUP_MODE_QUEUE,
                              .start = -1,
                              .group = slice_str(group),
                              .member = slice_of(k->id, sizeof k->id),
                              .done = joined,
                              .arg = &done};

    k->w = w;
    k->group = group;
    k->session = rq.session = core_session_new(w->co, on_news, k);
    core_group_join(w->co, &rq);
    world_step(w);
    assert_int_equal(done, 1);
    if (rq.err.code != WERR_OK) {
        fail_msg("join: %s", rq.err.text);
    }
    free(rq.parts);
    k->epoch = rq.epoch;
}

static struct msg_who who(const struct worker *k)
{
    return (struct msg_who){slice_str(k->group), slice_of(k->id, sizeof k->id), k->epoch};
}

/* A message that was acquired. */
struct got {
    uint64_t tid, offset, lease;
    uint32_t p, deliveries;
};
enum { GOT_MAX = 2000 };

static void acquired(struct core_acquire_rq *rq)
{
    ++*(int *)rq->arg;
}

static size_t worker_acquire(struct worker *k, unsigned n, struct got *out)
{
    int done = 0;
    size_t count = 0;
    struct core_acquire_rq rq = {.who = who(k),
                                 .max_msgs = n,
                                 .max_bytes = 1 << 20,
                                 .max_wait_ms = 20, /* what is not in memory is read first */
                                 .attempt = ++k->attempt,
                                 .done = acquired,
                                 .arg = &done};

    core_acquire(k->w->co, &rq);
    world_step(k->w);
    for (int i = 0; i < 30 && done == 0; i++) {
        world_pass(k->w, 1);
    }
    assert_int_equal(done, 1);
    if (rq.err.code != WERR_OK) {
        fail_msg("acquire: %s", rq.err.text);
    }
    for (size_t i = 0; i < rq.n_lots; i++) {
        for (size_t r = 0; r < rq.lots[i].n_ranges; r++) {
            const struct msg_range *g = &rq.lots[i].ranges[r];
            for (uint64_t o = g->first; o <= g->last; o++) {
                assert_true(count < GOT_MAX);
                out[count++] =
                    (struct got){rq.lots[i].tid, o, g->lease, rq.lots[i].p, g->deliveries};
            }
        }
    }
    core_acquire_fini(&rq);
    return count;
}

static void settled(struct core_settle_rq *rq)
{
    free(rq->results);
    ++*(int *)rq->arg;
}

/* rq and *done stay until the answer. */
static void worker_settle_start(struct worker *k, const struct got *g, size_t n, enum msg_verb verb,
                                struct core_settle_rq *rq, int *done)
{
    struct msg_settle_item *items = calloc(n, sizeof *items);

    for (size_t i = 0; i < n; i++) {
        items[i] = (struct msg_settle_item){.tid = g[i].tid,
                                            .p = g[i].p,
                                            .lease = g[i].lease,
                                            .first = g[i].offset,
                                            .last = g[i].offset,
                                            .verb = verb,
                                            .reason = slice_str("no good")};
    }
    *rq = (struct core_settle_rq){
        .who = who(k), .items = items, .n = n, .done = settled, .arg = done};
    core_settle(k->w->co, rq);
    free(items);
}

static void worker_settle(struct worker *k, const struct got *g, size_t n, enum msg_verb verb)
{
    struct core_settle_rq rq;
    int done = 0;

    worker_settle_start(k, g, n, verb, &rq, &done);
    world_step(k->w);
    assert_int_equal(done, 1);
    assert_int_equal(rq.err.code, WERR_OK);
}

/* ---------------------------------------------------------------- what lies in the topic */

struct copy {
    char topic[LIMIT_TOPIC_NAME + 1], reason[64], lost[64];
    uint64_t offset, attempts;
};

static void copy_read(struct copy *c, const struct record *rec)
{
    struct slice raw = rec->headers, n, v;
    char text[300];

    *c = (struct copy){.offset = UINT64_MAX};
    while (raw.n > 0 && record_header_next(&raw, &n, &v)) {
        snprintf(text, sizeof text, "%.*s", (int)v.n, (const char *)v.p);
        if (slice_eq(n, slice_str("weir-origin-topic"))) {
            snprintf(c->topic, sizeof c->topic, "%.205s", text);
        } else if (slice_eq(n, slice_str("weir-origin-offset"))) {
            c->offset = strtoull(text, NULL, 10);
        } else if (slice_eq(n, slice_str("weir-attempts"))) {
            c->attempts = strtoull(text, NULL, 10);
        } else if (slice_eq(n, slice_str("weir-reason"))) {
            snprintf(c->reason, sizeof c->reason, "%.63s", text);
        } else if (slice_eq(n, slice_str("weir-lost"))) {
            snprintf(c->lost, sizeof c->lost, "%.63s", text);
        }
    }
}

/* All copies in the topic, in order. 0 when there is no such topic. */
static size_t copies(struct world *w, const char *name, struct copy *out, size_t max)
{
    struct core_topic *t = core_topic_by_name(w->co, slice_str(name));
    struct core_piece piece;
    struct watch v;
    size_t n = 0;

    if (t == NULL) {
        return 0;
    }
    watch_init(&v, w);
    assert_int_equal(core_reader_add(v.rd, core_topic_id(t), 0, 0, false, 0, NULL), WERR_OK);
    for (int i = 0; i < 100; i++) {
        while (watch_pull(&v, 1 << 20, &piece)) {
            struct slice run = slice_of(piece.data.p, piece.data.n), batch;
            struct batch_head h;
            struct record_iter it;
            struct record rec;

            assert_int_equal(piece.err.code, WERR_OK);
            while (run.n > 0) {
                assert_int_equal(batch_next(&run, true, &h, &batch, NULL), WERR_OK);
                assert_int_equal(record_open(&it, batch, &h, NULL, NULL), WERR_OK);
                while (record_next(&it, &rec)) {
                    assert_true(n < max);
                    copy_read(&out[n++], &rec);
                }
            }
            blob_unref(piece.data.owner);
        }
        world_step(w);
    }
    core_reader_free(v.rd);
    return n;
}

static uint64_t tid_of(struct world *w, const char *name)
{
    struct core_topic *t = core_topic_by_name(w->co, slice_str(name));

    assert_non_null(t);
    return core_topic_id(t);
}

static void start(struct world *w, struct worker *k, unsigned messages)
{
    world_init(w);
    world_open(w);
    const uint64_t tid = world_topic(w, "t", "partitions", "1", NULL);
    if (messages > 0) {
        (void)world_produce(w, tid, 0, 0, 0, messages, WERR_OK);
    }
    *k = (struct worker){.id = "worker number 1"};
    worker_join(k, w, "g", "t");
}

static void finish(struct world *w, struct worker *k)
{
    core_session_end(k->session);
    world_fini(w);
}

/* ---------------------------------------------------------------- tests */

static void test_moved_in_order(void **state)
{
    static struct got g[GOT_MAX];
    static struct copy c[64];
    struct worker k;
    struct world w;
    struct core_group_stats st;

    (void)state;
    start(&w, &k, 20);
    assert_int_equal(worker_acquire(&k, 20, g), 20);
    worker_settle(&k, g, 20, VERB_DEAD);
    world_pass(&w, 100);
    assert_int_equal(copies(&w, "t~g~dlq", c, 64), 20);
    for (unsigned i = 0; i < 20; i++) {
        assert_string_equal(c[i].topic, "t");
        assert_int_equal(c[i].offset, i);
        assert_int_equal(c[i].attempts, 1);
        assert_string_equal(c[i].reason, "no good");
    }
    assert_int_equal(worker_acquire(&k, 20, g), 0);
    core_group_stats(w.co, &st);
    assert_int_equal(st.dlq_moved, 20);
    const struct topic_config *conf =
        core_topic_config(core_topic_by_name(w.co, slice_str("t~g~dlq")));
    assert_int_equal(conf->partitions, 1);
    assert_int_equal(conf->retention_ms, INT64_C(14) * 24 * 3600 * 1000);
    assert_int_equal(conf->message_max_bytes, LIMIT_MESSAGE_CAP);
    finish(&w, &k);
}

/* One small step of the world; which one follows from the number. */
static void micro(struct world *w, unsigned i)
{
    switch (i % 4) {
    case 0:
        w->mono_ns += 1000000;
        w->wall_ms++;
        core_tick(w->co);
        break;
    case 1:
        store_step_write(w->st);
        break;
    case 2:
        store_step_sync(w->st);
        break;
    case 3:
        store_poll(w->st);
        core_flush(w->co);
        break;
    }
}

/* Everything that is not settled yet is called dead, until nothing is left. */
static void kill_the_rest(struct world *w, struct worker *k)
{
    static struct got g[GOT_MAX];

    for (int i = 0; i < 4; i++) {
        world_pass(w, 20 * 60 * 1000); /* leases of before run out */
        const size_t n = worker_acquire(k, 100, g);
        if (n > 0) {
            worker_settle(k, g, n, VERB_DEAD);
        }
    }
    world_pass(w, 5000);
}

/* The power goes after `steps` small steps, with `keep` unsynced records left. */
static bool crash_after(unsigned steps, unsigned keep)
{
    enum { MESSAGES = 3 };
    struct core_settle_rq rq;
    static struct got g[GOT_MAX];
    static struct copy c[64];
    struct worker k;
    struct world w;
    int done = 0;
    unsigned seen = 0;

    start(&w, &k, MESSAGES);
    assert_int_equal(worker_acquire(&k, MESSAGES, g), MESSAGES);
    worker_settle_start(&k, g, MESSAGES, VERB_DEAD, &rq, &done);
    for (unsigned i = 0; i < steps; i++) {
        micro(&w, i);
    }
    struct core_group_stats st;
    core_group_stats(w.co, &st);
    const bool over = st.dlq_moved == MESSAGES;
    core_session_end(k.session);
    world_crash(&w, keep);
    assert_int_equal(done, 1);
    world_open(&w);
    worker_join(&k, &w, "g", "t");
    kill_the_rest(&w, &k);
    const size_t n = copies(&w, "t~g~dlq", c, 64);
    if (n != MESSAGES) {
        fail_msg("%zu copies of %d messages; crash after %u steps, %u kept", n, MESSAGES, steps,
                 keep);
    }
    for (size_t i = 0; i < n; i++) {
        assert_true(c[i].offset < MESSAGES);
        seen |= 1U << c[i].offset;
    }
    assert_int_equal(seen, (1U << MESSAGES) - 1);
    finish(&w, &k);
    return over;
}

static void test_crash_at_every_step(void **state)
{
    unsigned steps = 0;

    (void)state;
    for (bool over = false; !over; steps++) {
        over = crash_after(steps, 0);
        (void)crash_after(steps, 1);
        (void)crash_after(steps, 2);
        assert_true(steps < 200);
    }
    assert_true(steps > 8);
}

/* The store is full for the k-th write and for `writes` more. */
static void full_at(unsigned k_th)
{
    struct store_fault full = {.kind = FAULT_APPEND, .k = k_th, .rc = WERR_STORAGE_FULL};
    struct core_settle_rq rq;
    static struct got g[GOT_MAX];
    static struct copy c[64];
    struct worker k;
    struct world w;
    int done = 0;

    start(&w, &k, 3);
    assert_int_equal(worker_acquire(&k, 3, g), 3);
    store_mem_fault(w.st, &full);
    worker_settle_start(&k, g, 3, VERB_DEAD, &rq, &done);
    for (int i = 0; i < 40; i++) {
        micro(&w, (unsigned)i);
    }
    world_pass(&w, 100);
    assert_int_equal(done, 1);
    const bool fired = store_mem_faults_fired(w.st) > 0;
    kill_the_rest(&w, &k);
    assert_int_equal(copies(&w, "t~g~dlq", c, 64), 3);
    for (unsigned i = 0; i < 3; i++) {
        for (unsigned j = 0; j < i; j++) {
            assert_int_not_equal(c[i].offset, c[j].offset);
        }
    }
    assert_true(fired || k_th > 2);
    finish(&w, &k);
}

static void test_full_disk_at_every_write(void **state)
{
    (void)state;
    for (unsigned k = 1; k < 8; k++) {
        full_at(k);
    }
}

/* A full disk, then a crash while the second try is on its way: still neither lost nor doubled. */
static void test_full_disk_then_crash(void **state)
{
    struct store_fault full = {.kind = FAULT_APPEND, .rc = WERR_STORAGE_FULL};
    struct core_settle_rq rq;
    static struct got g[GOT_MAX];
    static struct copy c[64];
    struct worker k;
    struct world w;

    (void)state;
    for (unsigned k_th = 1; k_th < 5; k_th++) {
        for (unsigned steps = 0; steps < 24; steps++) {
            int done = 0;
            start(&w, &k, 3);
            assert_int_equal(worker_acquire(&k, 3, g), 3);
            full.k = k_th;
            store_mem_fault(w.st, &full);
            worker_settle_start(&k, g, 3, VERB_DEAD, &rq, &done);
            for (unsigned i = 0; i < 40; i++) {
                micro(&w, i);
            }
            world_pass(&w, steps % 2 == 0 ? 0 : 999);
            for (unsigned i = 0; i < steps; i++) {
                micro(&w, i);
            }
            core_session_end(k.session);
            world_crash(&w, 0);
            world_open(&w);
            worker_join(&k, &w, "g", "t");
            kill_the_rest(&w, &k);
            assert_int_equal(copies(&w, "t~g~dlq", c, 64), 3);
            assert_int_equal(c[0].offset + c[1].offset + c[2].offset, 3);
            finish(&w, &k);
        }
    }
}

/* ---------------------------------------------------------------- list, redrive, purge */

static size_t list(struct world *w, struct msg_dlq_range *out, size_t max)
{
    const struct msg_dlq_list q = {.topic = slice_str("t~g~dlq")};
    struct msg_dlq_range *ranges = NULL;
    struct werror e = {0};
    bool has_next = true;
    uint64_t next = 0;
    size_t n = 0;

    if (core_dlq_list(w->co, &q, &ranges, &n, &has_next, &next, &e) != WERR_OK) {
        fail_msg("%s", e.text);
    }
    assert_false(has_next);
    assert_true(n <= max);
    memcpy(out, ranges, n * sizeof *out);
    free(ranges);
    return n;
}

static void moved(struct core_dlq_rq *rq)
{
    ++*(int *)rq->arg;
}

static struct core_dlq_rq move(struct world *w, bool purge, uint64_t first, uint64_t last,
                               uint32_t rate, bool dry_run)
{
    const struct msg_dlq_span span = {0, first, last};
    int done = 0;
    struct core_dlq_rq rq = {.topic = slice_str("t~g~dlq"),
                             .spans = &span,
                             .n = 1,
                             .rate = rate,
                             .dry_run = dry_run,
                             .done = moved,
                             .arg = &done};

    (purge ? core_dlq_purge : core_dlq_redrive)(w->co, &rq);
    for (int i = 0; i < 20; i++) {
        core_tick(w->co);
        world_step(w);
    }
    assert_int_equal(done, 1);
    return rq;
}

static void start_dead(struct world *w, struct worker *k, unsigned n)
{
    static struct got g[GOT_MAX];

    start(w, k, n);
    assert_int_equal(worker_acquire(k, n, g), n);
    worker_settle(k, g, n, VERB_DEAD);
    world_pass(w, 200);
}

static void test_redrive(void **state)
{
    struct msg_dlq_range r[8];
    static struct got g[GOT_MAX];
    struct core_dlq_rq rq;
    static struct copy c[64];
    struct worker k;
    struct world w;

    (void)state;
    start_dead(&w, &k, 10);
    assert_int_equal(list(&w, r, 8), 1);
    assert_int_equal(r[0].first, 0);
    assert_int_equal(r[0].last, 9);
    assert_int_equal(r[0].state, DLQ_DEAD);
    rq = move(&w, false, 0, 3, 0, true);
    assert_int_equal(rq.err.code, WERR_OK);
    assert_int_equal(rq.moved, 4);
    assert_int_equal(list(&w, r, 8), 1);
    rq = move(&w, false, 0, 3, 0, false);
    assert_int_equal(rq.moved, 4);
    assert_int_equal(rq.skipped, 0);
    rq = move(&w, false, 0, 4, 0, false); /* twice is once */
    assert_int_equal(rq.moved, 1);
    assert_int_equal(rq.skipped, 4);
    assert_int_equal(list(&w, r, 8), 2);
    assert_int_equal(r[0].state, DLQ_WAITING);
    assert_int_equal(r[0].last, 4);
    assert_int_equal(worker_acquire(&k, 10, g), 1); /* 100 a second: one every 10 ms */
    world_pass(&w, 15);
    assert_int_equal(worker_acquire(&k, 10, g + 1), 1);
    world_pass(&w, 100);
    assert_int_equal(worker_acquire(&k, 10, g + 2), 3);
    assert_int_equal(worker_acquire(&k, 10, g + 5), 0);
    for (unsigned i = 0; i < 5; i++) {
        assert_int_equal(g[i].tid, tid_of(&w, "t~g~dlq"));
        assert_int_equal(g[i].offset, i);
        assert_int_equal(g[i].deliveries, 1);
    }
    assert_int_equal(list(&w, r, 8), 2);
    assert_int_equal(r[0].state, DLQ_LEASED);
    worker_settle(&k, g, 4, VERB_ACK);
    worker_settle(&k, g + 4, 1, VERB_DEAD);
    world_pass(&w, 100);
    assert_int_equal(copies(&w, "t~g~dlq", c, 64), 11);
    assert_string_equal(c[10].topic, "t");
    assert_int_equal(c[10].offset, 4);
    assert_int_equal(c[10].attempts, 2);
    assert_int_equal(list(&w, r, 8), 1);
    assert_int_equal(r[0].first, 5);
    assert_int_equal(r[0].last, 10);
    assert_int_equal(r[0].state, DLQ_DEAD);
    finish(&w, &k);
}

static void test_redrive_and_purge_survive(void **state)
{
    struct msg_dlq_range r[8];
    static struct got g[GOT_MAX];
    struct core_dlq_rq rq;
    struct worker k;
    struct world w;

    (void)state;
    start_dead(&w, &k, 6);
    rq = move(&w, false, 1, 2, 1000, false);
    assert_int_equal(rq.moved, 2);
    rq = move(&w, true, 4, UINT64_MAX, 0, true);
    assert_int_equal(rq.moved, 2);
    rq = move(&w, true, 4, UINT64_MAX, 0, false);
    assert_int_equal(rq.moved, 2);
    core_session_end(k.session);
    world_crash(&w, 0);
    world_open(&w);
    worker_join(&k, &w, "g", "t");
    assert_int_equal(list(&w, r, 8), 3);
    assert_int_equal(r[0].state, DLQ_DEAD);
    assert_int_equal(r[1].first, 1);
    assert_int_equal(r[1].last, 2);
    assert_int_equal(r[1].state, DLQ_WAITING);
    assert_int_equal(r[2].first, 3);
    assert_int_equal(r[2].last, 3);
    rq = move(&w, false, 0, 100, 1000, false);
    assert_int_equal(rq.moved, 2);
    assert_int_equal(rq.skipped, 4);
    world_pass(&w, 100);
    for (size_t n = 0; n < 4;) { /* one by one: they are read from the store now */
        const size_t got = worker_acquire(&k, 10, g + n);
        assert_true(got > 0);
        n += got;
    }
    rq = move(&w, true, 0, 100, 0, false); /* leased ones stay */
    assert_int_equal(rq.moved, 0);
    worker_settle(&k, g, 4, VERB_ACK);
    assert_int_equal(list(&w, r, 8), 0);
    finish(&w, &k);
}

static void test_rate_is_shared(void **state)
{
    static struct got g[GOT_MAX];
    struct worker k;
    struct world w;

    (void)state;
    start_dead(&w, &k, 40);
    (void)move(&w, false, 0, 19, 10, false);
    (void)move(&w, false, 20, 39, 10, false); /* behind the first, not beside it */
    size_t n = worker_acquire(&k, 100, g);
    world_pass(&w, 2050);
    n += worker_acquire(&k, 100, g + n);
    assert_in_range(n, 20, 22);
    world_pass(&w, 2000);
    n += worker_acquire(&k, 100, g + n);
    assert_int_equal(n, 40);
    finish(&w, &k);
}

static void test_refusals(void **state)
{
    const struct msg_dlq_span span = {0, 0, 9}, backwards = {0, 9, 0}, far = {1, 0, 9};
    const struct {
        const char *topic;
        const struct msg_dlq_span *span;
        enum werr want;
    } cases[] = {{"t", &span, WERR_INVALID_CONFIG},
                 {"u~g~dlq", &span, WERR_UNKNOWN_TOPIC},
                 {"t~g~dlq", &backwards, WERR_MALFORMED},
                 {"t~g~dlq", &far, WERR_UNKNOWN_TOPIC}};
    struct topic_config c = {0};
    struct worker k;
    struct world w;

    (void)state;
    start_dead(&w, &k, 1);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        int done = 0;
        struct core_dlq_rq rq = {.topic = slice_str(cases[i].topic),
                                 .spans = cases[i].span,
                                 .n = 1,
                                 .done = moved,
                                 .arg = &done};
        core_dlq_redrive(w.co, &rq);
        assert_int_equal(done, 1);
        assert_int_equal(rq.err.code, cases[i].want);
    }
    /* Only the broker makes such topics; anybody may delete them. */
    world_change(&w, CORE_TOPIC_CREATE, "x~g~dlq", &c, WERR_INVALID_CONFIG, NULL);
    world_change(&w, CORE_TOPIC_DELETE, "t~g~dlq", &c, WERR_OK, NULL);
    finish(&w, &k);
}

/* The topic of dead letters is deleted, and comes back with the next one. */
static void test_topic_deleted(void **state)
{
    struct topic_config none = {0};
    static struct got g[GOT_MAX];
    static struct copy c[64];
    struct worker k;
    struct world w;

    (void)state;
    start_dead(&w, &k, 2);
    (void)move(&w, false, 0, 0, 0, false);
    world_change(&w, CORE_TOPIC_DELETE, "t~g~dlq", &none, WERR_OK, NULL);
    (void)world_produce(&w, tid_of(&w, "t"), 0, 0, 0, 1, WERR_OK);
    assert_int_equal(worker_acquire(&k, 10, g), 1);
    worker_settle(&k, g, 1, VERB_DEAD);
    world_pass(&w, 100);
    assert_int_equal(copies(&w, "t~g~dlq", c, 64), 1);
    assert_int_equal(c[0].offset, 2);
    finish(&w, &k);
}

/* More dead letters than a turn of the pump, from several partitions. */
static void test_many(void **state)
{
    enum { PARTS = 5, EACH = 300 };
    static struct copy c[PARTS * EACH + 1];
    static struct got g[GOT_MAX];
    struct worker k = {.id = "worker number 1"};
    struct world w;

    (void)state;
    world_init(&w);
    world_open(&w);
    const uint64_t tid = world_topic(&w, "t", "partitions", "5", NULL);
    for (uint32_t p = 0; p < PARTS; p++) {
        (void)world_produce(&w, tid, p, 0, 0, EACH / 3, WERR_OK);
        (void)world_produce(&w, tid, p, 0, 0, EACH / 3 * 2, WERR_OK);
    }
    worker_join(&k, &w, "g", "t");
    for (size_t left = PARTS * EACH; left > 0;) {
        const size_t n = worker_acquire(&k, 500, g);
        assert_true(n > 0);
        worker_settle(&k, g, n, VERB_DEAD);
        left -= n;
    }
    world_pass(&w, 2000);
    assert_int_equal(copies(&w, "t~g~dlq", c, PARTS * EACH + 1), PARTS * EACH);
    uint64_t sum = 0;
    for (size_t i = 0; i < (size_t)PARTS * EACH; i++) {
        sum += c[i].offset;
    }
    assert_int_equal(sum, (uint64_t)PARTS * EACH * (EACH - 1) / 2);
    finish(&w, &k);
}

/* Another group works through the dead letters: its own dead ones go to a topic of its own. */
static void test_dead_in_another_group(void **state)
{
    static struct got g[GOT_MAX];
    static struct copy c[64];
    struct worker k, other = {.id = "worker number 2"};
    struct world w;

    (void)state;
    start_dead(&w, &k, 3);
    worker_join(&other, &w, "h", "t~g~dlq");
    assert_int_equal(worker_acquire(&other, 10, g), 3);
    assert_int_equal(g[0].tid, tid_of(&w, "t~g~dlq"));
    worker_settle(&other, g + 1, 1, VERB_DEAD);
    worker_settle(&other, g, 1, VERB_ACK);
    world_pass(&w, 100);
    assert_int_equal(copies(&w, "t~h~dlq", c, 64), 1);
    assert_string_equal(c[0].topic, "t");
    assert_int_equal(c[0].offset, 1);
    assert_int_equal(c[0].attempts, 2);
    assert_int_equal(copies(&w, "t~g~dlq", c, 64), 3);
    core_session_end(other.session);
    finish(&w, &k);
}

static void was_reset(struct core_reset_rq *rq)
{
    free(rq->results);
    ++*(int *)rq->arg;
}

/* A seek takes back what was on its way to the dead letters: delivered again, and not copied too.
 */
static void test_seek_takes_dead_letters_back(void **state)
{
    static struct got g[GOT_MAX];
    static struct copy c[64];
    struct worker k;
    struct world w;
    int done = 0;

    (void)state;
    start(&w, &k, 3);
    assert_int_equal(worker_acquire(&k, 3, g), 3);
    worker_settle(&k, g, 3, VERB_DEAD); /* nothing is moved before time goes on */
    const struct msg_reset_item item = {g[0].tid, 0, 1};
    struct core_reset_rq rq = {.group = slice_str("g"),
                               .items = &item,
                               .n = 1,
                               .force = true,
                               .done = was_reset,
                               .arg = &done};
    core_group_reset(w.co, &rq);
    world_step(&w);
    assert_int_equal(done, 1);
    assert_int_equal(rq.err.code, WERR_OK);
    world_pass(&w, 1000);
    assert_int_equal(copies(&w, "t~g~dlq", c, 64), 0);
    core_session_end(k.session);
    worker_join(&k, &w, "g", "t");
    assert_int_equal(worker_acquire(&k, 10, g), 2);
    assert_int_equal(g[0].offset, 1);
    assert_int_equal(g[0].deliveries, 1);
    finish(&w, &k);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_moved_in_order),
        cmocka_unit_test(test_crash_at_every_step),
        cmocka_unit_test(test_full_disk_at_every_write),
        cmocka_unit_test(test_full_disk_then_crash),
        cmocka_unit_test(test_redrive),
        cmocka_unit_test(test_redrive_and_purge_survive),
        cmocka_unit_test(test_rate_is_shared),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_topic_deleted),
        cmocka_unit_test(test_many),
        cmocka_unit_test(test_dead_in_another_group),
        cmocka_unit_test(test_seek_takes_dead_letters_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
