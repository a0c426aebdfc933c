/* Groups in log mode: joining, grants, fencing, grace, restarts, growth. */
#include "group_world.h"

#include <stdio.h>
#include <stdlib.h>

#include "tests/lib/test.h"

static uint64_t open_with_topic(struct world *w, const char *partitions)
{
    world_init(w);
    world_open(w);
    return world_topic(w, "t", "partitions", partitions, NULL);
}

static void test_first_member_gets_all_at_once(void **state)
{
    struct world w;
    struct peer a;
    (void)state;

    const uint64_t tid = open_with_topic(&w, "4");
    world_produce(&w, tid, 1, 0, 0, 3, WERR_OK);
    peer_init(&a, &w, "g", 'a');
    peer_join(&a, "t", WERR_OK);
    assert_int_equal(a.n_parts, 4);
    assert_true(a.epoch > 0);
    for (uint32_t p = 0; p < 4; p++) {
        assert_true(peer_has(&a, tid, p));
        assert_true(a.parts[p].epoch <= a.epoch);
        assert_int_equal(peer_may_read(&a, tid, p), WERR_OK);
    }
    assert_int_equal(a.changed, 0);
    assert_int_equal(peer_commit(&a, tid, 1, 3), WERR_OK);
    const struct msg_committed c = world_committed(&w, "g", tid, 1);
    assert_int_equal(c.offset, 3);
    assert_int_equal(c.ts_ms, w.wall_ms);
    assert_true(slice_eq(c.note, slice_str("note")));
    assert_string_equal(world_group_state(&w, "g"), "active");
    assert_int_equal(peer_leave(&a), WERR_OK);
    assert_string_equal(world_group_state(&w, "g"), "empty");
    assert_int_equal(world_committed(&w, "g", tid, 1).offset, 3);
    peer_fini(&a);
    world_fini(&w);
}

/* The three steps of a move, each seen. */
static void test_a_partition_moves_in_three_steps(void **state)
{
    struct world w;
    struct peer m[2];
    (void)state;

    const uint64_t tid = open_with_topic(&w, "4");
    peer_init(&m[0], &w, "g", 'a');
    peer_init(&m[1], &w, "g", 'b');
    peer_join(&m[0], "t", WERR_OK);
    peer_join(&m[1], "t", WERR_OK);
    assert_int_equal(m[1].n_parts, 0); /* all of it is a's */
    assert_string_equal(world_group_state(&w, "g"), "rebalancing");
    assert_int_equal(m[0].changed, 1);
    assert_int_equal(m[1].changed, 0);
    struct peer before = m[0];
    before.parts = calloc(4, sizeof *before.parts);
    memcpy(before.parts, m[0].parts, 4 * sizeof *before.parts);
    peer_beat_owning(&m[0], WERR_OK); /* still has all; is told to keep two */
    assert_int_equal(m[1].changed, 0);
    assert_int_equal(m[0].n_parts, 2);
    /* It may still read and commit what it is to give up. */
    uint32_t given = 0;
    while (peer_has(&m[0], tid, given)) {
        given++;
    }
    assert_int_equal(peer_may_read(&m[0], tid, given), WERR_OK);
    assert_int_equal(peer_commit(&m[0], tid, given, 0), WERR_OK);
    assert_int_equal(peer_may_read(&m[1], tid, given), WERR_NOT_ASSIGNED);
    world_pass(&w, 60000); /* however long it takes */
    assert_int_equal(m[1].changed, 0);
    peer_beat_owning(&m[0], WERR_OK); /* gave them up */
    assert_int_equal(peer_may_read(&m[0], tid, given), WERR_NOT_ASSIGNED);
    assert_int_equal(peer_may_read(&before, tid, given), WERR_NOT_ASSIGNED);
    assert_int_equal(m[1].changed, 1);
    assert_int_equal(peer_may_read(&m[1], tid, given), WERR_NOT_ASSIGNED); /* with an old epoch */
    peer_beat(&m[1], WERR_OK);
    assert_int_equal(m[1].n_parts, 2);
    assert_true(peer_has(&m[1], tid, given));
    assert_int_equal(peer_may_read(&m[1], tid, given), WERR_OK);
    assert_true(m[1].epoch > m[0].parts[0].epoch);
    assert_int_equal(peer_commit(&m[0], tid, given, 0), WERR_NOT_ASSIGNED);
    assert_string_equal(world_group_state(&w, "g"), "active");
    free(before.parts);
    peer_fini(&m[0]);
    peer_fini(&m[1]);
    world_fini(&w);
}

/* Nobody is told a grant, or an epoch, that is not on disk. */
static void test_told_only_when_durable(void **state)
{
    struct world w;
    struct peer a, b;
    (void)state;

    const uint64_t tid = open_with_topic(&w, "2");
    peer_init(&a, &w, "g", 'a');
    peer_init(&b, &w, "g", 'b');
    peer_join_start(&a, "t");
    core_flush(w.co);
    store_step_write(w.st);
    assert_int_equal(a.done, 0);
    assert_int_equal(peer_may_read(&a, tid, 0), WERR_FENCED_MEMBER);
    world_crash(&w, 0); /* it was never synced; the join ends, unknown */
    assert_int_equal(a.done, 1);
    assert_int_equal(a.err.code, WERR_INDETERMINATE);
    peer_fini(&a);
    world_open(&w);
    assert_null(core_group_by_name(w.co, slice_str("g")));
    peer_init(&a, &w, "g", 'a');
    peer_join(&a, "t", WERR_OK);
    const uint64_t epoch = a.epoch;
    /* b's join raises the generation; a heartbeat of a must not tell it before it is durable. */
    peer_join_start(&b, "t");
    core_flush(w.co);
    struct peer ahead = a;
    ahead.epoch = epoch + 1;
    assert_int_equal(peer_may_read(&ahead, tid, 0), WERR_FENCED_MEMBER);
    store_step(w.st);
    assert_int_equal(b.done, 1);
    peer_beat(&a, WERR_OK);
    assert_true(a.epoch > epoch);
    assert_int_equal(peer_may_read(&ahead, tid, 0), WERR_OK);
    peer_fini(&a);
    peer_fini(&b);
    world_fini(&w);
}

static void test_grace(void **state)
{
    struct world w;
    struct peer m[2];
    (void)state;

    const uint64_t tid = open_with_topic(&w, "4");
    peer_init(&m[0], &w, "g", 'a');
    peer_init(&m[1], &w, "g", 'b');
    peer_join(&m[0], "t", WERR_OK);
    peer_join(&m[1], "t", WERR_OK);
    peers_settle(m, 2);
    assert_int_equal(m[1].n_parts, 2);
    const struct msg_assigned had = m[1].parts[0];
    /* Back in time: it keeps what it had, nobody else noticed. */
    peer_drop(&m[1]);
    world_pass(&w, CORE_GRACE_MS - 100);
    assert_int_equal(m[0].changed, 0);
    assert_int_equal(world_seek(&w, "g", tid, 0, 0, false), WERR_GROUP_BUSY);
    const uint64_t old_epoch = m[1].epoch;
    peer_join(&m[1], "t", WERR_OK);
    assert_true(m[1].resumed);
    assert_true(m[1].epoch > old_epoch);
    assert_int_equal(m[1].n_parts, 2);
    assert_true(peer_has(&m[1], had.tid, had.p));
    assert_int_equal(m[0].changed, 0);
    /* What was under way over the old connection is fenced. */
    struct peer stale = m[1];
    stale.epoch = old_epoch;
    assert_int_equal(peer_may_read(&stale, had.tid, had.p), WERR_FENCED_MEMBER);
    assert_int_equal(peer_commit(&stale, had.tid, had.p, 0), WERR_FENCED_MEMBER);
    assert_int_equal(peer_leave(&stale), WERR_FENCED_MEMBER);
    assert_int_equal(peer_may_read(&m[1], had.tid, had.p), WERR_OK);
    /* Not back in time: the other gets everything. */
    peer_drop(&m[1]);
    world_pass(&w, CORE_GRACE_MS + 100);
    peers_settle(m, 1);
    assert_int_equal(m[0].n_parts, 4);
    assert_int_equal(peer_may_read(&m[1], had.tid, had.p), WERR_UNKNOWN_MEMBER);
    peer_join(&m[1], "t", WERR_OK);
    assert_false(m[1].resumed);
    peers_settle(m, 2);
    assert_int_equal(m[0].n_parts, 2);
    assert_int_equal(m[1].n_parts, 2);
    /* Leaving needs no grace. */
    peer_leave(&m[0]);
    peers_settle(m, 2);
    assert_int_equal(m[1].n_parts, 4);
    peer_fini(&m[0]);
    peer_fini(&m[1]);
    world_fini(&w);
}

static void test_taken_over(void **state)
{
    struct world w;
    struct peer a, twin;
    (void)state;

    const uint64_t tid = open_with_topic(&w, "2");
    peer_init(&a, &w, "g", 'a');
    peer_init(&twin, &w, "g", 'a');
    peer_join(&a, "t", WERR_OK);
    peer_join(&twin, "t", WERR_OK);
    assert_true(twin.resumed);
    assert_int_equal(twin.n_parts, 2);
    assert_int_equal(a.fenced, 1);
    assert_int_equal(twin.fenced, 0);
    assert_int_equal(peer_commit(&a, tid, 0, 0), WERR_FENCED_MEMBER);
    peer_drop(&a); /* ends nothing: the member lives in the other session */
    world_pass(&w, 2 * CORE_GRACE_MS);
    assert_int_equal(peer_may_read(&twin, tid, 0), WERR_OK);
    peer_fini(&a);
    peer_fini(&twin);
    world_fini(&w);
}

/* Owners, epochs and positions survive; the generation is never used twice. */
static void restart(unsigned keep)
{
    struct world w;
    struct peer m[2];

    const uint64_t tid = open_with_topic(&w, "4");
    world_produce(&w, tid, 0, 0, 0, 9, WERR_OK);
    peer_init(&m[0], &w, "g", 'a');
    peer_init(&m[1], &w, "g", 'b');
    peer_join(&m[0], "t", WERR_OK);
    peer_join(&m[1], "t", WERR_OK);
    peers_settle(m, 2);
    const int who = peer_has(&m[0], tid, 0) ? 0 : 1;
    assert_int_equal(peer_commit(&m[who], tid, 0, 5), WERR_OK);
    const uint64_t highest = m[0].epoch > m[1].epoch ? m[0].epoch : m[1].epoch;
    peer_drop(&m[0]);
    peer_drop(&m[1]);
    world_crash(&w, keep);
    world_open(&w);
    assert_int_equal(world_committed(&w, "g", tid, 0).offset, 5);
    /* Its partitions are kept for it while it is away, and its epoch is still good. */
    assert_int_equal(peer_may_read(&m[who], tid, 0), WERR_OK);
    assert_int_equal(peer_may_read(&m[1 - who], tid, 0), WERR_NOT_ASSIGNED);
    assert_int_equal(world_seek(&w, "g", tid, 0, 0, false), WERR_GROUP_BUSY);
    peer_join(&m[who], "t", WERR_OK);
    assert_true(m[who].resumed);
    assert_true(m[who].epoch > highest);
    assert_int_equal(m[who].n_parts, 2);
    assert_true(peer_has(&m[who], tid, 0));
    for (size_t i = 0; i < 2; i++) {
        assert_int_equal(m[who].parts[i].offset, m[who].parts[i].p == 0 ? 5 : 0);
    }
    world_pass(&w, CORE_GRACE_MS - 1000);
    peers_settle(m, 2);
    assert_int_equal(m[who].n_parts, 2); /* the other may still come */
    world_pass(&w, 2000);
    peers_settle(m, 2);
    assert_int_equal(m[who].n_parts, 4);
    assert_int_equal(peer_may_read(&m[1 - who], tid, 1), WERR_UNKNOWN_MEMBER);
    peer_fini(&m[0]);
    peer_fini(&m[1]);
    world_fini(&w);
}

static void test_restart(void **state)
{
    (void)state;
    restart(0);
    restart(1);
}

static void test_two_hundred_join_at_once(void **state)
{
    enum { N = 200 };
    static struct peer m[N];
    struct world w;
    struct core_group_stats s;
    (void)state;

    (void)open_with_topic(&w, "1000");
    for (int i = 0; i < N; i++) {
        peer_init(&m[i], &w, "g", (char)('0' + i % 10));
        m[i].id[0] = (uint8_t)i;
        peer_join_start(&m[i], "t");
        if (i % 20 == 19) {
            world_step(&w);
        }
    }
    world_step(&w);
    core_group_stats(w.co, &s);
    assert_int_equal(s.members, N);
    assert_true(s.rebalances <= 8);
    peers_settle(m, N);
    core_group_stats(w.co, &s);
    assert_true(s.rebalances <= 16);
    size_t total = 0;
    for (int i = 0; i < N; i++) {
        assert_int_equal(m[i].n_parts, 5);
        total += m[i].n_parts;
    }
    assert_int_equal(total, 1000);
    for (int i = 0; i < N; i++) {
        peer_fini(&m[i]);
    }
    world_fini(&w);
}

static void test_topics_grow_go_and_come_back(void **state)
{
    struct world w;
    struct peer a;
    struct topic_config c = {.set = TKEY_PARTITIONS, .partitions = 5};
    (void)state;

    const uint64_t tid = open_with_topic(&w, "2");
    world_topic(&w, "u", "partitions", "1", NULL);
    peer_init(&a, &w, "g", 'a');
    a.join.start = -2;
    peer_join(&a, "t,u", WERR_OK);
    assert_int_equal(a.n_parts, 3);
    world_change(&w, CORE_TOPIC_ALTER, "t", &c, WERR_OK, NULL);
    world_produce(&w, tid, 4, 0, 0, 7, WERR_OK);
    world_pass(&w, 1);
    assert_int_equal(a.changed, 1);
    peers_settle(&a, 1);
    assert_int_equal(a.n_parts, 6);
    assert_true(peer_has(&a, tid, 4));
    assert_int_equal(world_committed(&w, "g", tid, 4).offset, 0); /* not the latest: all of it */
    a.changed = 0;
    world_change(&w, CORE_TOPIC_DELETE, "t", NULL, WERR_OK, NULL);
    world_pass(&w, 100);
    assert_int_equal(a.changed, 1);
    peers_settle(&a, 1);
    assert_int_equal(a.n_parts, 1);
    assert_int_equal(peer_may_read(&a, tid, 4), WERR_UNKNOWN_TOPIC);
    const uint64_t again = world_topic(&w, "t", "partitions", "3", NULL);
    peers_settle(&a, 1);
    assert_int_equal(a.n_parts, 4);
    assert_true(peer_has(&a, again, 0));
    peer_drop(&a);
    world_crash(&w, 0); /* rows fit together */
    world_open(&w);
    peer_join(&a, "t,u", WERR_OK);
    assert_int_equal(a.n_parts, 4);
    peer_fini(&a);
    world_fini(&w);
}

/* Growth while nobody is there: what came meanwhile is not skipped, over a crash neither. */
static void test_growth_while_away(void **state)
{
    struct world w;
    struct peer a;
    struct topic_config c = {.set = TKEY_PARTITIONS, .partitions = 3};
    (void)state;

    const uint64_t tid = open_with_topic(&w, "2");
    peer_init(&a, &w, "g", 'a');
    a.join.start = -2;
    peer_join(&a, "t", WERR_OK);
    peer_leave(&a);
    world_change(&w, CORE_TOPIC_ALTER, "t", &c, WERR_OK, NULL);
    world_produce(&w, tid, 2, 0, 0, 5, WERR_OK);
    peer_drop(&a);
    world_crash(&w, 0);
    world_open(&w);
    peer_join(&a, "t", WERR_OK);
    assert_int_equal(a.n_parts, 3);
    assert_int_equal(world_committed(&w, "g", tid, 2).offset, 0);
    peer_fini(&a);
    world_fini(&w);
}

static void count_done(struct core_topic_rq *rq)
{
    ++*(int *)rq->arg;
}

/* The growth is durable, the rows of the new partitions are not. */
static void test_a_cut_between_growth_and_its_rows(void **state)
{
    struct world w;
    struct peer a;
    int done = 0;
    struct core_topic_rq rq = {.verb = CORE_TOPIC_ALTER,
                               .name = slice_str("t"),
                               .conf = {.set = TKEY_PARTITIONS, .partitions = 3},
                               .done = count_done,
                               .arg = &done};
    struct msg_committed *list = NULL;
    struct werror e;
    size_t n = 0;
    (void)state;

    (void)open_with_topic(&w, "2");
    peer_init(&a, &w, "g", 'a');
    peer_join(&a, "t", WERR_OK);
    core_topic_change(w.co, &rq);
    core_flush(w.co);
    store_step(w.st);
    assert_int_equal(done, 1);
    peer_drop(&a);
    world_crash(&w, 0);
    world_open(&w);
    assert_int_equal(core_group_committed(w.co, slice_str("g"), NULL, 0, true, &list, &n, &e),
                     WERR_OK);
    assert_int_equal(n, 3);
    free(list);
    peer_fini(&a);
    world_fini(&w);
}

/* What changes in a group while its topic is being deleted must not bring rows back. */
static void test_a_member_leaves_a_topic_that_goes(void **state)
{
    struct world w;
    struct peer a;
    int done = 0;
    struct core_topic_rq rq = {
        .verb = CORE_TOPIC_DELETE, .name = slice_str("t"), .done = count_done, .arg = &done};
    (void)state;

    (void)open_with_topic(&w, "2");
    peer_init(&a, &w, "g", 'a');
    peer_join(&a, "t", WERR_OK);
    core_topic_change(w.co, &rq);
    core_flush(w.co);
    assert_int_equal(peer_leave(&a), WERR_OK);
    assert_int_equal(done, 1);
    peer_drop(&a);
    world_crash(&w, 0);
    world_open(&w); /* a row without its partition would be refused */
    world_topic(&w, "t", "partitions", "1", NULL);
    peer_join(&a, "t", WERR_OK);
    assert_int_equal(a.n_parts, 1);
    peer_fini(&a);
    world_fini(&w);
}

/* Numbers of groups are not used again after a restart. */
static void test_two_groups_over_a_restart(void **state)
{
    struct world w;
    struct peer a, b;
    (void)state;

    const uint64_t tid = open_with_topic(&w, "1");
    world_produce(&w, tid, 0, 0, 0, 9, WERR_OK);
    peer_init(&a, &w, "a", 'a');
    peer_init(&b, &w, "b", 'b');
    peer_join(&a, "t", WERR_OK);
    assert_int_equal(peer_commit(&a, tid, 0, 3), WERR_OK);
    peer_drop(&a);
    world_crash(&w, 0);
    world_open(&w);
    peer_join(&b, "t", WERR_OK);
    assert_int_equal(peer_commit(&b, tid, 0, 7), WERR_OK);
    peer_drop(&b);
    world_crash(&w, 0);
    world_open(&w);
    assert_int_equal(core_group_count(w.co), 2);
    assert_int_equal(world_committed(&w, "a", tid, 0).offset, 3);
    assert_int_equal(world_committed(&w, "b", tid, 0).offset, 7);
    peer_fini(&a);
    peer_fini(&b);
    world_fini(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_first_member_gets_all_at_once),
        cmocka_unit_test(test_a_partition_moves_in_three_steps),
        cmocka_unit_test(test_told_only_when_durable),
        cmocka_unit_test(test_grace),
        cmocka_unit_test(test_taken_over),
        cmocka_unit_test(test_restart),
        cmocka_unit_test(test_two_hundred_join_at_once),
        cmocka_unit_test(test_topics_grow_go_and_come_back),
        cmocka_unit_test(test_growth_while_away),
        cmocka_unit_test(test_a_cut_between_growth_and_its_rows),
        cmocka_unit_test(test_a_member_leaves_a_topic_that_goes),
        cmocka_unit_test(test_two_groups_over_a_restart),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
