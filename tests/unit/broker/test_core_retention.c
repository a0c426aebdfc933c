/* Deleting by age and size, clocks that jump, idle cost. */
#include "core_world.h"

#include "tests/lib/test.h"

static struct msg_part_stat stat_of(struct world *w, uint64_t tid)
{
    struct msg_part_stat stats[4];

    core_topic_stats(w->co, core_topic_by_id(w->co, tid), stats);
    return stats[0];
}

static void test_by_age(void **state)
{
    struct world w;
    (void)state;

    world_init(&w);
    world_open(&w);
    const uint64_t tid = world_topic(&w, "a", "partitions", "1", "retention.ms", "60s", NULL);
    const uint64_t kept = world_topic(&w, "b", "partitions", "1", "retention.ms", "0", NULL);
    struct core_producer_rq rq;
    world_init_producer(&w, NULL, &rq);
    world_produce(&w, tid, 0, rq.pid, 0, 5, WERR_OK);
    world_produce(&w, kept, 0, 0, 0, 5, WERR_OK);
    world_pass(&w, 59000);
    assert_int_equal(stat_of(&w, tid).log_start, 0);
    world_pass(&w, 130000); /* an idle core looks once a minute */
    assert_int_equal(stat_of(&w, tid).log_start, 5);
    assert_int_equal(stat_of(&w, tid).hw, 5);
    assert_int_equal(stat_of(&w, tid).bytes, 0);
    assert_int_equal(stat_of(&w, kept).log_start, 0);
    /* The producer's state outlives its messages, over restarts too. */
    assert_int_equal(world_produce(&w, tid, 0, rq.pid, 0, 5, WERR_OK), 0);
    world_crash(&w, 0);
    world_open(&w);
    assert_int_equal(stat_of(&w, tid).log_start, 5);
    assert_int_equal(world_produce(&w, tid, 0, rq.pid, 0, 5, WERR_OK), 0);
    assert_int_equal(world_produce(&w, tid, 0, rq.pid, 5, 1, WERR_OK), 5);
    world_fini(&w);
}

static void test_by_size(void **state)
{
    struct world w;
    char big[2000];
    (void)state;

    world_init(&w);
    w.store_conf.bucket_bytes = 16 << 10;
    world_open(&w);
    memset(big, 'x', sizeof big - 1);
    big[sizeof big - 1] = '\0';
    const uint64_t tid = world_topic(&w, "a", "partitions", "2", "retention.bytes", "64k", NULL);
    for (int i = 0; i < 200; i++) {
        struct sent *s = world_send(&w, tid, (uint32_t)i % 2, 0, 0, 0, 1, big);
        world_step(&w);
        sent_free(s);
        world_pass(&w, 200);
    }
    world_pass(&w, 10000);
    struct msg_part_stat stats[2];
    core_topic_stats(w.co, core_topic_by_id(w.co, tid), stats);
    assert_true(stats[0].log_start > 0 && stats[1].log_start > 0);
    assert_true(stats[0].bytes + stats[1].bytes >= 64 << 10); /* never more than asked for */
    assert_true(stats[0].bytes + stats[1].bytes <= (64 << 10) + (40 << 10));
    world_fini(&w);
}

static void test_a_clock_jump_deletes_nothing(void **state)
{
    struct world w;
    (void)state;

    world_init(&w);
    world_open(&w);
    const uint64_t tid = world_topic(&w, "a", "partitions", "1", "retention.ms", "7d", NULL);
    world_produce(&w, tid, 0, 0, 0, 5, WERR_OK);
    w.wall_ms += INT64_C(10) * 365 * 86400 * 1000;
    world_pass(&w, 3500 * 1000);
    assert_true(world_logged(&w, "clock_jumped"));
    assert_int_equal(stat_of(&w, tid).log_start, 0);
    struct sent *s = world_send(&w, tid, 0, 0, 0, 0, 1, "x");
    world_step(&w);
    assert_true(s->rq.ok.append_ms < INT64_C(1700000000000) + 86400000); /* the old pace */
    sent_free(s);
    world_pass(&w, 400 * 1000); /* an hour is over: it is the time */
    assert_true(world_logged(&w, "clock_believed"));
    world_pass(&w, 300 * 1000);
    assert_int_equal(stat_of(&w, tid).log_start, 6);
    world_fini(&w);
}

static void test_idle_costs_nothing(void **state)
{
    struct world w;
    int ticks = 0;
    (void)state;

    world_init(&w);
    world_open(&w);
    (void)world_topic(&w, "a", NULL);
    world_pass(&w, 30000);
    const int64_t end_ns = w.mono_ns + INT64_C(3600) * 1000000000;
    while (w.mono_ns < end_ns) {
        w.wall_ms += (core_deadline_mono_ns(w.co) - w.mono_ns) / 1000000;
        w.mono_ns = core_deadline_mono_ns(w.co);
        core_tick(w.co);
        ticks++;
    }
    assert_true(ticks <= 61); /* once a minute */
    world_fini(&w);
}

static void test_readers_below_the_start(void **state)
{
    struct world w;
    struct watch v;
    struct core_piece piece;
    (void)state;

    world_init(&w);
    world_open(&w);
    const uint64_t tid = world_topic(&w, "a", "partitions", "1", "retention.ms", "60s", NULL);
    world_produce(&w, tid, 0, 0, 0, 5, WERR_OK);
    world_pass(&w, 200000);
    world_produce(&w, tid, 0, 0, 0, 1, WERR_OK);
    watch_init(&v, &w);
    assert_int_equal(core_reader_add(v.rd, tid, 0, 2, false, 0, NULL), WERR_OK);
    assert_true(watch_pull(&v, 1000, &piece));
    assert_int_equal(piece.err.code, WERR_OFFSET_OUT_OF_RANGE);
    assert_int_equal(piece.log_start, 5);
    assert_int_equal(piece.hw, 6);
    core_reader_free(v.rd);
    world_fini(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_by_age),
        cmocka_unit_test(test_by_size),
        cmocka_unit_test(test_a_clock_jump_deletes_nothing),
        cmocka_unit_test(test_idle_costs_nothing),
        cmocka_unit_test(test_readers_below_the_start),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
