/* The unread guard: what is kept, what it costs, and when it ends. */
#include "group_world.h"

#include <stdlib.h>

#include "tests/lib/test.h"

enum { DAY_MS = 24 * 3600 * 1000 };

static struct msg_part_stat stat_of(struct world *w, uint64_t tid)
{
    struct msg_part_stat stats[4];

    core_topic_stats(w->co, core_topic_by_id(w->co, tid), stats);
    return stats[0];
}

static uint64_t holds(struct world *w)
{
    struct core_group_stats s;

    core_group_stats(w->co, &s);
    return s.holds;
}

static void test_unread_is_kept(void **state)
{
    struct world w;
    struct peer a;
    (void)state;

    world_init(&w);
    world_open(&w);
    const uint64_t tid =
        world_topic(&w, "t", "partitions", "1", "retention.ms", "60s", "hold.bytes", "1M", NULL);
    const uint64_t drop = world_topic(&w, "d", "partitions", "1", "retention.ms", "60s",
                                      "retention.unread", "drop", NULL);
    peer_init(&a, &w, "g", 'a');
    peer_join(&a, "t,d", WERR_OK);
    world_produce(&w, tid, 0, 0, 0, 5, WERR_OK);
    world_produce(&w, drop, 0, 0, 0, 5, WERR_OK);
    world_pass(&w, 200000);
    assert_int_equal(stat_of(&w, tid).log_start, 0);
    assert_int_equal(stat_of(&w, drop).log_start, 5);
    assert_int_equal(holds(&w), 1);
    world_produce(&w, tid, 0, 0, 0, 5, WERR_OK);
    world_pass(&w, 200000);
    assert_int_equal(stat_of(&w, tid).log_start, 0);
    assert_int_equal(peer_commit(&a, tid, 0, 7), WERR_OK);
    world_pass(&w, 200000);
    assert_int_equal(stat_of(&w, tid).log_start, 7); /* up to what is read, no further */
    assert_int_equal(holds(&w), 1);
    assert_int_equal(peer_commit(&a, tid, 0, 10), WERR_OK);
    world_pass(&w, 200000);
    assert_int_equal(stat_of(&w, tid).log_start, 10);
    assert_int_equal(holds(&w), 0);
    peer_fini(&a);
    world_fini(&w);
}

static void test_only_a_full_topic_refuses(void **state)
{
    struct world w;
    struct peer a;
    (void)state;

    world_init(&w);
    world_open(&w);
    const uint64_t tid =
        world_topic(&w, "t", "partitions", "1", "retention.ms", "60s", "hold.bytes", "3000", NULL);
    const uint64_t other = world_topic(&w, "u", "partitions", "1", "retention.ms", "60s", NULL);
    peer_init(&a, &w, "slow", 'a');
    peer_join(&a, "t", WERR_OK);
    for (int i = 0; i < 20; i++) {
        world_produce(&w, tid, 0, 0, 0, 50, WERR_OK);
    }
    world_pass(&w, 200000);
    struct sent *s = world_send(&w, tid, 0, 0, 0, 0, 1, "x");
    world_step(&w);
    assert_int_equal(s->rq.err.code, WERR_RETENTION_HELD);
    assert_non_null(strstr(s->rq.err.text, "group slow"));
    assert_non_null(strstr(s->rq.err.text, "3000"));
    sent_free(s);
    assert_true(world_logged(&w, "hold_full"));
    world_produce(&w, other, 0, 0, 0, 1, WERR_OK);
    assert_int_equal(peer_commit(&a, tid, 0, 1000), WERR_OK);
    world_pass(&w, 200); /* no need to wait for the next sweep */
    world_produce(&w, tid, 0, 0, 0, 1, WERR_OK);
    peer_fini(&a);
    world_fini(&w);
}

/* A group that nobody saw for 7 days holds nothing; it is said a day before. */
static void test_a_hold_ends(void **state)
{
    struct world w;
    struct peer a;
    (void)state;

    world_init(&w);
    world_open(&w);
    const uint64_t tid = world_topic(&w, "t", "partitions", "1", "retention.ms", "60s", NULL);
    peer_init(&a, &w, "g", 'a');
    peer_join(&a, "t", WERR_OK);
    world_produce(&w, tid, 0, 0, 0, 5, WERR_OK);
    for (int day = 0; day < 10; day++) { /* as long as it is there, it holds */
        world_pass(&w, DAY_MS);
    }
    assert_int_equal(stat_of(&w, tid).log_start, 0);
    assert_false(world_logged(&w, "hold_ends_soon"));
    peer_drop(&a);
    world_crash(&w, 0); /* it was silent all the time, but there */
    world_open(&w);
    world_pass(&w, 60000);
    assert_int_equal(stat_of(&w, tid).log_start, 0);
    peer_join(&a, "t", WERR_OK);
    peer_drop(&a);
    world_pass(&w, 60000);
    for (int day = 0; day < 5; day++) {
        world_pass(&w, DAY_MS);
    }
    assert_false(world_logged(&w, "hold_ends_soon"));
    world_crash(&w, 0); /* when it was seen is known over a restart */
    world_open(&w);
    assert_int_equal(stat_of(&w, tid).log_start, 0);
    world_pass(&w, DAY_MS + 3600000);
    assert_true(world_logged(&w, "hold_ends_soon"));
    assert_int_equal(stat_of(&w, tid).log_start, 0);
    world_pass(&w, DAY_MS);
    assert_int_equal(stat_of(&w, tid).log_start, 5);
    assert_int_equal(holds(&w), 0);
    peer_join(&a, "t", WERR_OK); /* it is still a group, and has lost that */
    assert_int_equal(a.parts[0].offset, 0);
    peer_fini(&a);
    world_fini(&w);
}

static void test_by_size(void **state)
{
    struct world w;
    struct peer a;
    char big[2000];
    (void)state;

    world_init(&w);
    w.store_conf.bucket_bytes = 16 << 10;
    world_open(&w);
    memset(big, 'x', sizeof big - 1);
    big[sizeof big - 1] = '\0';
    const uint64_t tid = world_topic(&w, "t", "partitions", "1", "retention.bytes", "32k",
                                     "hold.bytes", "10M", NULL);
    peer_init(&a, &w, "g", 'a');
    peer_join(&a, "t", WERR_OK);
    for (int i = 0; i < 100; i++) {
        struct sent *s = world_send(&w, tid, 0, 0, 0, 0, 1, big);
        world_step(&w);
        assert_int_equal(s->rq.err.code, WERR_OK);
        sent_free(s);
        world_pass(&w, 200);
    }
    world_pass(&w, 10000);
    assert_int_equal(stat_of(&w, tid).log_start, 0);
    assert_int_equal(holds(&w), 1);
    assert_int_equal(world_group_delete(&w, "g", true), WERR_OK);
    world_pass(&w, 70000);
    assert_true(stat_of(&w, tid).log_start > 0);
    assert_int_equal(holds(&w), 0);
    peer_fini(&a);
    world_fini(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_unread_is_kept),
        cmocka_unit_test(test_only_a_full_topic_refuses),
        cmocka_unit_test(test_a_hold_ends),
        cmocka_unit_test(test_by_size),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
