/* Readers and fetches: what is given, in which order, when they wake, what they cost. */
#include "core_world.h"

#include <stdio.h>
#include <stdlib.h>

#include "tests/lib/test.h"

static void fill(struct world *w, uint64_t tid, uint32_t p, unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        world_produce(w, tid, p, 0, 0, 2, WERR_OK);
    }
}

/* Reads one partition to its end; returns how often the store had to be stepped. */
static int read_all(struct world *w, struct watch *v, uint32_t max_bytes, uint64_t *next,
                    uint64_t end)
{
    struct core_piece piece;
    int steps = 0;

    while (*next < end && steps < 1000) {
        if (!watch_pull(v, max_bytes, &piece)) {
            world_step(w);
            steps++;
            continue;
        }
        assert_int_equal(piece.err.code, WERR_OK);
        piece_check(&piece, next);
        blob_unref(piece.data.owner);
    }
    assert_int_equal(*next, end);
    return steps;
}

static void test_tail_and_store_give_the_same(void **state)
{
    (void)state;
    for (int cached = 0; cached < 2; cached++) {
        struct world w;
        struct watch v;
        struct core_stats stats;
        uint64_t next = 0;

        world_init(&w);
        w.conf.tail_cache_bytes = cached ? 1 << 20 : 0;
        world_open(&w);
        const uint64_t tid = world_topic(&w, "a", "partitions", "1", NULL);
        fill(&w, tid, 0, 200);
        watch_init(&v, &w);
        assert_int_equal(core_reader_add(v.rd, tid, 0, 0, false, 0, NULL), WERR_OK);
        const int steps = read_all(&w, &v, 3000, &next, 400);
        core_stats(w.co, &stats);
        assert_int_equal(stats.read_store_reads > 0, !cached);
        assert_int_equal(steps > 0, !cached);
        core_reader_free(v.rd);
        world_fini(&w);
    }
}

/* An offset inside a batch gives the whole batch. */
static void test_offset_inside_a_batch(void **state)
{
    struct world w;
    struct watch v;
    struct core_piece piece;
    uint64_t next = 0;
    (void)state;

    world_init(&w);
    world_open(&w);
    const uint64_t tid = world_topic(&w, "a", "partitions", "1", NULL);
    world_produce(&w, tid, 0, 0, 0, 9, WERR_OK);
    watch_init(&v, &w);
    assert_int_equal(core_reader_add(v.rd, tid, 0, 4, false, 0, NULL), WERR_OK);
    assert_true(watch_pull(&v, 1, &piece)); /* one whole batch, even over max_bytes */
    piece_check(&piece, &next);
    assert_int_equal(next, 9);
    blob_unref(piece.data.owner);
    core_reader_free(v.rd);
    world_fini(&w);
}

static void test_out_of_range_and_diverged(void **state)
{
    struct world w;
    struct watch v;
    struct core_piece piece;
    struct msg_part_meta parts[4];
    struct msg_slot_run runs[LIMIT_SLOTS];
    size_t n_runs;
    (void)state;

    world_init(&w);
    world_open(&w);
    const uint64_t tid = world_topic(&w, "a", "partitions", "4", NULL);
    core_topic_layout(core_topic_by_id(w.co, tid), parts, runs, &n_runs);
    const uint32_t epoch = parts[0].epoch;
    fill(&w, tid, 0, 3);
    watch_init(&v, &w);
    assert_int_equal(core_reader_add(v.rd, tid, 0, 7, true, epoch, NULL), WERR_OK);
    assert_true(watch_pull(&v, 1000, &piece));
    assert_int_equal(piece.err.code, WERR_OFFSET_OUT_OF_RANGE);
    assert_int_equal(piece.hw, 6);
    assert_int_equal(piece.log_start, 0);
    /* The error ended the partition: it can be followed again. */
    assert_int_equal(core_reader_add(v.rd, tid, 0, 7, true, epoch - 1, NULL), WERR_OK);
    assert_true(watch_pull(&v, 1000, &piece));
    assert_int_equal(piece.err.code, WERR_DIVERGED);
    assert_int_equal(core_reader_add(v.rd, tid, 0, 6, false, 0, NULL), WERR_OK);
    assert_int_equal(core_reader_add(v.rd, tid, 0, 6, false, 0, NULL), WERR_EXISTS);
    assert_int_equal(core_reader_add(v.rd, tid, 4, 0, false, 0, NULL), WERR_UNKNOWN_TOPIC);
    assert_true(core_reader_drop(v.rd, tid, 0));
    assert_false(core_reader_drop(v.rd, tid, 0));
    core_reader_free(v.rd);
    world_fini(&w);
}

/* Many ready partitions: each gets its turn before one gets its second. */
static void test_fair(void **state)
{
    struct world w;
    struct watch v;
    struct core_piece piece;
    uint64_t next[8] = {0};
    unsigned turns[8] = {0};
    char big[9000];
    (void)state;

    world_init(&w);
    w.conf.tail_cache_bytes = 8 << 20;
    world_open(&w);
    memset(big, 'x', sizeof big - 1);
    big[sizeof big - 1] = '\0';
    const uint64_t tid = world_topic(&w, "a", "partitions", "8", NULL);
    for (int i = 0; i < 20; i++) {
        for (uint32_t p = 0; p < 8; p++) {
            struct sent *s = world_send(&w, tid, p, 0, 0, 0, 1, big);
            world_step(&w);
            sent_free(s);
        }
    }
    watch_init(&v, &w);
    for (uint32_t p = 0; p < 8; p++) {
        assert_int_equal(core_reader_add(v.rd, tid, p, 0, false, 0, NULL), WERR_OK);
    }
    for (int i = 0; i < 8 * 10; i++) {
        assert_true(watch_pull(&v, 1 << 20, &piece));
        piece_check(&piece, &next[piece.p]);
        turns[piece.p]++;
        blob_unref(piece.data.owner);
        for (uint32_t p = 0; p < 8; p++) {
            assert_true(turns[p] + 1 >= turns[piece.p]);
        }
    }
    core_reader_free(v.rd);
    world_fini(&w);
}

/* ready() is called when there is news, and then not again before a pull came back empty. */
static void test_ready_discipline(void **state)
{
    struct world w;
    struct watch v;
    struct core_piece piece;
    (void)state;

    world_init(&w);
    world_open(&w);
    const uint64_t tid = world_topic(&w, "a", "partitions", "2", NULL);
    watch_init(&v, &w);
    assert_int_equal(core_reader_add(v.rd, tid, 0, 0, false, 0, NULL), WERR_OK);
    assert_int_equal(v.ready, 0); /* never inside add */
    core_flush(w.co);
    assert_int_equal(v.ready, 1);
    world_produce(&w, tid, 0, 0, 0, 1, WERR_OK);
    world_produce(&w, tid, 0, 0, 0, 1, WERR_OK);
    assert_int_equal(v.ready, 1);
    while (watch_pull(&v, 1000, &piece)) {
        blob_unref(piece.data.owner);
    }
    world_produce(&w, tid, 1, 0, 0, 1, WERR_OK); /* not followed */
    assert_int_equal(v.ready, 1);
    world_produce(&w, tid, 0, 0, 0, 1, WERR_OK);
    assert_int_equal(v.ready, 2);
    core_reader_free(v.rd);
    world_produce(&w, tid, 0, 0, 0, 1, WERR_OK);
    assert_int_equal(v.ready, 2);
    world_fini(&w);
}

/* A reader may be freed, or lose a partition, while the store reads for it. */
static void test_gone_while_reading(void **state)
{
    struct world w;
    struct watch v;
    struct core_piece piece;
    (void)state;

    world_init(&w);
    w.conf.tail_cache_bytes = 0;
    world_open(&w);
    const uint64_t tid = world_topic(&w, "a", "partitions", "2", NULL);
    fill(&w, tid, 0, 5);
    fill(&w, tid, 1, 5);
    for (int how = 0; how < 3; how++) {
        watch_init(&v, &w);
        assert_int_equal(core_reader_add(v.rd, tid, 0, 0, false, 0, NULL), WERR_OK);
        assert_int_equal(core_reader_add(v.rd, tid, 1, 0, false, 0, NULL), WERR_OK);
        assert_false(watch_pull(&v, 1000, &piece)); /* one is being read, one waits */
        assert_false(core_idle(w.co));
        if (how == 0) {
            core_reader_free(v.rd);
        } else if (how == 1) {
            assert_true(core_reader_drop(v.rd, tid, 0));
        } else {
            world_change(&w, CORE_TOPIC_DELETE, "a", NULL, WERR_OK, NULL);
        }
        world_step(&w);
        if (how == 1) {
            uint64_t next = 0;
            (void)read_all(&w, &v, 1000, &next, 10);
        } else if (how == 2) {
            for (int i = 0; i < 2; i++) {
                assert_true(watch_pull(&v, 1000, &piece));
                assert_int_equal(piece.err.code, WERR_UNKNOWN_TOPIC);
            }
        }
        if (how > 0) {
            core_reader_free(v.rd);
        }
    }
    world_fini(&w);
}

/* ---------------------------------------------------------------- fetch */

struct polled {
    struct core_fetch rq;
    int done;
};

static void on_fetched(struct core_fetch *rq)
{
    ((struct polled *)rq->arg)->done++;
}

static void poll(struct world *w, struct polled *po, uint64_t tid, uint64_t offset,
                 uint32_t wait_ms, uint32_t min_bytes, uint32_t max_bytes)
{
    *po = (struct polled){.rq = {.max_wait_ms = wait_ms,
                                 .min_bytes = min_bytes,
                                 .max_bytes = max_bytes,
                                 .parts = {{.tid = tid, .p = 0, .offset = offset}},
                                 .n_parts = 1,
                                 .done = on_fetched}};
    po->rq.arg = po;
    core_fetch(w->co, &po->rq);
}

static void test_fetch_waits_for_news(void **state)
{
    struct world w;
    struct polled po;
    (void)state;

    world_init(&w);
    world_open(&w);
    const uint64_t tid = world_topic(&w, "a", "partitions", "1", NULL);
    poll(&w, &po, tid, 0, 1000, 1, 100000);
    assert_int_equal(po.done, 0);
    assert_true(core_deadline_mono_ns(w.co) <= w.mono_ns + INT64_C(1000000000));
    world_produce(&w, tid, 0, 0, 0, 1, WERR_OK);
    assert_int_equal(po.done, 1);
    assert_int_equal(po.rq.n_pieces, 1);
    core_fetch_fini(&po.rq);

    poll(&w, &po, tid, 1, 1000, 1, 100000); /* nothing comes */
    world_pass(&w, 990);
    assert_int_equal(po.done, 0);
    world_pass(&w, 20);
    assert_int_equal(po.done, 1);
    assert_int_equal(po.rq.n_pieces, 0);
    core_fetch_fini(&po.rq);

    poll(&w, &po, tid, 1, 1000, 200, 100000); /* min_bytes: one batch is not enough */
    world_produce(&w, tid, 0, 0, 0, 1, WERR_OK);
    assert_int_equal(po.done, 0);
    for (int i = 0; i < 3; i++) {
        world_produce(&w, tid, 0, 0, 0, 1, WERR_OK);
    }
    assert_int_equal(po.done, 1);
    assert_true(po.rq.bytes >= 200);
    core_fetch_fini(&po.rq);

    poll(&w, &po, tid, 99, 1000, 1, 100000); /* an error does not wait */
    assert_int_equal(po.done, 1);
    assert_int_equal(po.rq.pieces[0].err.code, WERR_OFFSET_OUT_OF_RANGE);
    core_fetch_fini(&po.rq);

    poll(&w, &po, tid, 5, 1000, 1, 100000); /* cancelled: done() never runs */
    core_fetch_cancel(&po.rq);
    world_pass(&w, 2000);
    assert_int_equal(po.done, 0);
    core_fetch_fini(&po.rq);
    world_fini(&w);
}

static void test_fetch_without_waiting_still_reads_the_disk(void **state)
{
    struct world w;
    struct polled po;
    (void)state;

    world_init(&w);
    w.conf.tail_cache_bytes = 0;
    world_open(&w);
    const uint64_t tid = world_topic(&w, "a", "partitions", "1", NULL);
    fill(&w, tid, 0, 50);
    poll(&w, &po, tid, 0, 0, 1, 1 << 20);
    assert_int_equal(po.done, 0); /* the store reads */
    core_tick(w.co);
    assert_int_equal(po.done, 0);
    world_step(&w);
    assert_int_equal(po.done, 1);
    uint64_t next = 0;
    for (size_t i = 0; i < po.rq.n_pieces; i++) {
        piece_check(&po.rq.pieces[i], &next);
    }
    assert_int_equal(next, 100);
    core_fetch_fini(&po.rq);
    poll(&w, &po, tid, 100, 0, 1, 1 << 20); /* at the end: answered at once */
    assert_int_equal(po.done, 1);
    core_fetch_fini(&po.rq);
    world_fini(&w);
}

static void test_many_deadlines(void **state)
{
    static struct polled po[300];
    struct world w;
    (void)state;

    world_init(&w);
    world_open(&w);
    const uint64_t tid = world_topic(&w, "a", "partitions", "1", NULL);
    for (uint32_t i = 0; i < 300; i++) {
        poll(&w, &po[i], tid, 0, 1 + (i * 7919) % 1000, 1, 1000);
    }
    for (uint32_t i = 0; i < 300; i += 3) {
        core_fetch_cancel(&po[i].rq);
    }
    for (int64_t ms = 0; ms <= 1000; ms++) {
        for (uint32_t i = 0; i < 300; i++) {
            const bool due = i % 3 != 0 && (int64_t)(1 + (i * 7919) % 1000) <= ms;
            assert_int_equal(po[i].done, due);
        }
        w.mono_ns += 1000000;
        core_tick(w.co);
    }
    for (uint32_t i = 0; i < 300; i++) {
        core_fetch_fini(&po[i].rq);
    }
    world_fini(&w);
}

static void on_offset(struct core_offset_rq *rq)
{
    ++*(int *)rq->arg;
}

static uint64_t offset_at(struct world *w, uint64_t tid, int64_t spec, enum werr want)
{
    int done = 0;
    struct core_offset_rq rq = {
        .spec = {.tid = tid, .p = 0, .spec = spec}, .done = on_offset, .arg = &done};

    core_list_offset(w->co, &rq);
    world_step(w);
    assert_int_equal(done, 1);
    assert_int_equal(rq.result.err.code, want);
    return rq.result.offset;
}

static void test_offsets_by_time(void **state)
{
    struct world w;
    (void)state;

    world_init(&w);
    world_open(&w);
    const uint64_t tid = world_topic(&w, "a", "partitions", "1", NULL);
    const int64_t t0_ms = w.wall_ms;
    for (int i = 0; i < 10; i++) {
        world_produce(&w, tid, 0, 0, 0, 2, WERR_OK);
        w.wall_ms += 100;
        w.mono_ns += 100000000;
    }
    assert_int_equal(offset_at(&w, tid, OFFSET_SPEC_START, WERR_OK), 0);
    assert_int_equal(offset_at(&w, tid, OFFSET_SPEC_END, WERR_OK), 20);
    assert_int_equal(offset_at(&w, tid, t0_ms, WERR_OK), 0);
    assert_int_equal(offset_at(&w, tid, t0_ms + 101, WERR_OK), 4);
    assert_int_equal(offset_at(&w, tid, t0_ms + 5000, WERR_OK), 20);
    (void)offset_at(&w, tid, -3, WERR_UNSUPPORTED_FIELD);
    (void)offset_at(&w, tid + 1, 0, WERR_UNKNOWN_TOPIC);
    world_fini(&w);
}

/* Three partitions that only the store has, a reader each. */
static void cold_world(struct world *w, struct watch v[3])
{
    world_init(w);
    w->conf.tail_cache_bytes = 0;
    world_open(w);
    const uint64_t tid = world_topic(w, "a", "partitions", "3", NULL);
    for (uint32_t p = 0; p < 3; p++) {
        fill(w, tid, p, 20);
        watch_init(&v[p], w);
        assert_int_equal(core_reader_add(v[p].rd, tid, p, 0, false, 0, NULL), WERR_OK);
    }
    world_step(w);
    for (unsigned p = 0; p < 3; p++) {
        v[p].ready = 0;
    }
}

static uint64_t store_reads(struct world *w)
{
    struct core_stats stats;

    core_stats(w->co, &stats);
    return stats.read_store_reads;
}

static void test_readers_wait_for_the_store(void **state)
{
    struct core_piece piece;
    struct world w;
    struct watch v[3];
    (void)state;

    cold_world(&w, v);
    core_allow_reads(w.co, 1);
    for (unsigned p = 0; p < 3; p++) {
        assert_false(watch_pull(&v[p], 1000, &piece));
    }
    assert_int_equal(store_reads(&w), 1);
    world_step(&w); /* the first has its data; the others are offered the turn that none took */
    for (unsigned p = 0; p < 3; p++) {
        assert_int_equal(v[p].ready, 1);
    }
    assert_false(watch_pull(&v[1], 1000, &piece));
    assert_false(watch_pull(&v[2], 1000, &piece));
    assert_int_equal(store_reads(&w), 2);
    core_allow_reads(w.co, 0);
    world_step(&w);
    assert_int_equal(v[2].ready, 1);
    assert_false(core_has_reads(w.co));
    assert_false(watch_pull(&v[2], 1000, &piece));
    assert_int_equal(store_reads(&w), 2);
    core_allow_reads(w.co, 1);
    assert_true(core_has_reads(w.co));
    world_step(&w);
    assert_int_equal(v[2].ready, 2);
    assert_false(core_has_reads(w.co));
    for (unsigned p = 0; p < 3; p++) {
        uint64_t next = 0;
        read_all(&w, &v[p], 500, &next, 40);
        core_reader_free(v[p].rd);
    }
    world_fini(&w);
}

/* Who goes makes room only once its read is over; who goes while it waits is forgotten. */
static void test_reads_of_those_who_went_count(void **state)
{
    struct core_piece piece;
    struct world w;
    struct watch v[3];
    (void)state;

    cold_world(&w, v);
    core_allow_reads(w.co, 1);
    for (unsigned p = 0; p < 3; p++) {
        assert_false(watch_pull(&v[p], 1000, &piece));
    }
    assert_true(core_held_bytes(w.co) > 0);
    core_reader_free(v[0].rd);
    core_reader_free(v[1].rd);
    assert_true(core_held_bytes(w.co) > 0);
    assert_false(core_has_reads(w.co));
    world_step(&w);
    assert_int_equal(core_held_bytes(w.co), 0);
    assert_int_equal(v[2].ready, 1);
    assert_false(watch_pull(&v[2], 1000, &piece));
    assert_int_equal(store_reads(&w), 2);
    core_reader_free(v[2].rd);
    world_step(&w);
    assert_int_equal(core_held_bytes(w.co), 0);
    world_fini(&w);
}

static void test_what_was_let_go_is_read_again(void **state)
{
    struct core_piece piece;
    struct world w;
    struct watch v[3];
    uint64_t next = 0;
    size_t meter = 0;
    (void)state;

    cold_world(&w, v);
    core_reader_meter(v[0].rd, &meter);
    assert_false(watch_pull(&v[0], 4000, &piece));
    assert_true(meter > 0);
    world_step(&w);
    assert_true(watch_pull(&v[0], 1, &piece)); /* one batch of many */
    piece_check(&piece, &next);
    blob_unref(piece.data.owner);
    assert_true(core_reader_held(v[0].rd) > 0);
    core_reader_let_go(v[0].rd);
    assert_int_equal(core_reader_held(v[0].rd), 0);
    assert_int_equal(meter, 0);
    core_reader_let_go(v[0].rd);
    assert_int_equal(store_reads(&w), 1);
    read_all(&w, &v[0], 4000, &next, 40);
    assert_int_equal(store_reads(&w), 2);
    for (unsigned p = 0; p < 3; p++) {
        core_reader_free(v[p].rd);
    }
    assert_int_equal(meter, 0);
    assert_int_equal(core_held_bytes(w.co), 0);
    world_fini(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_tail_and_store_give_the_same),
        cmocka_unit_test(test_offset_inside_a_batch),
        cmocka_unit_test(test_out_of_range_and_diverged),
        cmocka_unit_test(test_fair),
        cmocka_unit_test(test_ready_discipline),
        cmocka_unit_test(test_gone_while_reading),
        cmocka_unit_test(test_fetch_waits_for_news),
        cmocka_unit_test(test_fetch_without_waiting_still_reads_the_disk),
        cmocka_unit_test(test_many_deadlines),
        cmocka_unit_test(test_offsets_by_time),
        cmocka_unit_test(test_readers_wait_for_the_store),
        cmocka_unit_test(test_reads_of_those_who_went_count),
        cmocka_unit_test(test_what_was_let_go_is_read_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
