/* Groups: refusals, full disks, pause, deletion, limits of processing, what a person sees. */
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

static void test_refusals(void **state)
{
    struct world w;
    struct peer a, b;
    (void)state;

    (void)open_with_topic(&w, "2");
    peer_init(&a, &w, "g", 'a');
    peer_init(&b, &w, "g", 'b');
    peer_join(&a, "nope", WERR_UNKNOWN_TOPIC);
    assert_null(core_group_by_name(w.co, slice_str("g")));
    peer_join(&a, "t", WERR_OK);
    b.join.mode = GROUP_MODE_QUEUE;
    peer_join(&b, "t", WERR_GROUP_MODE);
    b.join.mode = GROUP_MODE_LOG;
    b.join.start = -3;
    peer_join(&b, "t", WERR_MALFORMED);
    b.join.start = -1;
    snprintf(b.group, sizeof b.group, "a/b");
    peer_join(&b, "t", WERR_MALFORMED);
    snprintf(b.group, sizeof b.group, "h");
    assert_int_equal(peer_leave(&b), WERR_UNKNOWN_GROUP);
    assert_int_equal(world_group_set(&w, "g", "max_rate", "5"), WERR_INVALID_CONFIG);
    assert_int_equal(world_group_set(&w, "g", "order", "key"), WERR_INVALID_CONFIG);
    assert_int_equal(world_group_set(&w, "h", "order", "key"), WERR_UNKNOWN_GROUP);
    core_drain(w.co);
    peer_join(&b, "t", WERR_SHUTTING_DOWN);
    peer_beat(&a, WERR_OK); /* members stay */
    peer_fini(&a);
    peer_fini(&b);
    world_fini(&w);
}

static void test_full_disk(void **state)
{
    const struct store_fault full = {.kind = FAULT_APPEND, .k = 1, .rc = WERR_STORAGE_FULL};
    struct world w;
    struct peer m[2];
    (void)state;

    const uint64_t tid = open_with_topic(&w, "2");
    peer_init(&m[0], &w, "g", 'a');
    peer_init(&m[1], &w, "g", 'b');
    store_mem_fault(w.st, &full);
    peer_join(&m[0], "t", WERR_STORAGE_FULL);
    assert_null(core_group_by_name(w.co, slice_str("g"))); /* as if it had never been */
    peer_join(&m[0], "t", WERR_OK);
    assert_int_equal(m[0].n_parts, 2);
    store_mem_fault(w.st, &full);
    peer_join(&m[1], "t", WERR_STORAGE_FULL);
    world_pass(&w, 2000);
    peers_settle(m, 2);
    assert_int_equal(m[0].n_parts, 2); /* the other is not there */
    peer_join(&m[1], "t", WERR_OK);
    peer_beat(&m[0], WERR_OK);
    store_mem_fault(w.st, &full); /* the grant meets it */
    peer_beat_owning(&m[0], WERR_OK);
    assert_int_equal(m[1].changed, 0);
    world_pass(&w, 2000); /* and is tried again */
    assert_int_equal(m[1].changed, 1);
    peers_settle(m, 2);
    assert_int_equal(m[1].n_parts, 1);
    store_mem_fault(w.st, &full);
    const uint32_t p = m[1].parts[0].p;
    world_produce(&w, tid, p, 0, 0, 5, WERR_STORAGE_FULL);
    world_pass(&w, 2000);
    world_produce(&w, tid, p, 0, 0, 5, WERR_OK);
    store_mem_fault(w.st, &full);
    assert_int_equal(peer_commit(&m[1], tid, p, 4), WERR_STORAGE_FULL);
    assert_int_equal(world_committed(&w, "g", tid, p).offset, 0);
    assert_int_equal(peer_commit(&m[1], tid, p, 3), WERR_OK); /* lower than what failed */
    store_mem_fault(w.st, &full);
    assert_int_equal(world_group_set(&w, "g", "max_processing_ms", "60s"), WERR_STORAGE_FULL);
    store_mem_fault(w.st, &full);
    assert_int_equal(world_group_delete(&w, "g", true), WERR_STORAGE_FULL);
    assert_non_null(core_group_by_name(w.co, slice_str("g")));
    world_pass(&w, 2000);
    peer_fini(&m[0]);
    peer_fini(&m[1]);
    world_crash(&w, 0);
    world_open(&w);
    assert_int_equal(world_committed(&w, "g", tid, p).offset, 3);
    world_fini(&w);
}

static void test_pause(void **state)
{
    struct world w;
    struct peer a;
    char until[32];
    (void)state;

    const uint64_t tid = open_with_topic(&w, "1");
    peer_init(&a, &w, "g", 'a');
    peer_join(&a, "t", WERR_OK);
    snprintf(until, sizeof until, "%lld", (long long)w.wall_ms + 60000);
    assert_int_equal(world_group_set(&w, "g", "paused_until", until), WERR_OK);
    assert_int_equal(peer_may_read(&a, tid, 0), WERR_AGAIN);
    assert_int_equal(strncmp(world_group_state(&w, "g"), "paused until ", 13), 0);
    assert_int_equal(peer_commit(&a, tid, 0, 0), WERR_OK);
    world_pass(&w, 59000);
    assert_int_equal(a.changed, 0);
    world_pass(&w, 1100);
    assert_int_equal(a.changed, 1);
    assert_int_equal(peer_may_read(&a, tid, 0), WERR_OK);
    peer_beat(&a, WERR_OK);
    assert_int_equal(world_group_set(&w, "g", "paused_until", "forever"), WERR_OK);
    world_pass(&w, 90000000);
    assert_int_equal(peer_may_read(&a, tid, 0), WERR_AGAIN);
    assert_string_equal(world_group_state(&w, "g"), "paused");
    peer_drop(&a);
    world_crash(&w, 0); /* a restart does not end it */
    world_open(&w);
    peer_join(&a, "t", WERR_OK);
    assert_int_equal(peer_may_read(&a, tid, 0), WERR_AGAIN);
    a.changed = 0;
    assert_int_equal(world_group_set(&w, "g", "paused_until", "0"), WERR_OK);
    assert_int_equal(peer_may_read(&a, tid, 0), WERR_OK);
    assert_int_equal(a.changed, 1);
    peer_fini(&a);
    world_fini(&w);
}

static void test_delete(void **state)
{
    struct world w;
    struct peer a;
    struct core_group_stats s;
    (void)state;

    const uint64_t tid = open_with_topic(&w, "3");
    peer_init(&a, &w, "g", 'a');
    peer_join(&a, "t", WERR_OK);
    assert_int_equal(world_group_delete(&w, "nope", false), WERR_UNKNOWN_GROUP);
    assert_int_equal(world_group_delete(&w, "g", false), WERR_GROUP_BUSY);
    assert_int_equal(world_group_delete(&w, "g", true), WERR_OK);
    assert_int_equal(a.fenced, 1);
    assert_int_equal(peer_may_read(&a, tid, 0), WERR_UNKNOWN_GROUP);
    core_group_stats(w.co, &s);
    assert_int_equal(s.groups, 0);
    peer_drop(&a);
    world_crash(&w, 0);
    world_open(&w);
    assert_null(core_group_by_name(w.co, slice_str("g")));
    /* A new one of the name is another: positions are not the old ones. */
    world_produce(&w, tid, 0, 0, 0, 5, WERR_OK);
    peer_join(&a, "t", WERR_OK);
    assert_false(a.resumed);
    assert_int_equal(peer_commit(&a, tid, 0, 5), WERR_OK);
    peer_leave(&a);
    assert_int_equal(world_group_delete(&w, "g", false), WERR_OK);
    peer_join(&a, "t", WERR_OK);
    assert_int_equal(world_committed(&w, "g", tid, 0).offset, 0);
    peer_fini(&a);
    world_fini(&w);
}

static void test_max_processing(void **state)
{
    struct world w;
    struct peer a;
    (void)state;

    const uint64_t tid = open_with_topic(&w, "1");
    world_produce(&w, tid, 0, 0, 0, 5, WERR_OK);
    peer_init(&a, &w, "g", 'a');
    peer_join(&a, "t", WERR_OK);
    struct msg_who who = peer_who(&a);
    /* Without a limit it may take as long as it likes. */
    core_group_handed_out(w.co, &who, tid, 0, 2);
    world_pass(&w, 3600 * 1000);
    assert_int_equal(peer_commit(&a, tid, 0, 2), WERR_OK);
    assert_int_equal(world_group_set(&w, "g", "max_processing_ms", "60s"), WERR_OK);
    world_pass(&w, 200000); /* nothing to do, nothing to be late with */
    assert_int_equal(a.fenced, 0);
    core_group_handed_out(w.co, &who, tid, 0, 4);
    world_pass(&w, 50000);
    peer_beat(&a, WERR_OK); /* sign of life */
    world_pass(&w, 50000);
    assert_int_equal(a.fenced, 0);
    assert_int_equal(peer_may_read(&a, tid, 0), WERR_OK); /* the broker's own look is none */
    world_pass(&w, 11000);
    assert_int_equal(a.fenced, 1);
    assert_int_equal(peer_may_read(&a, tid, 0), WERR_UNKNOWN_MEMBER);
    peer_fini(&a);
    world_fini(&w);
}

static void test_views(void **state)
{
    struct world w;
    struct peer m[2];
    struct msg_group_describe d;
    struct msg_group_member *members;
    struct msg_group_part *parts;
    size_t n_members, n_parts;
    (void)state;

    const uint64_t tid = open_with_topic(&w, "2");
    peer_init(&m[0], &w, "b", 'a');
    peer_init(&m[1], &w, "a", 'b');
    peer_join(&m[0], "t", WERR_OK);
    peer_join(&m[1], "t", WERR_OK);
    struct core_group *g = core_group_after(w.co, slice_str(""));
    assert_true(g == core_group_by_name(w.co, slice_str("a")));
    g = core_group_after(w.co, slice_str("a"));
    assert_true(g == core_group_by_name(w.co, slice_str("b")));
    assert_null(core_group_after(w.co, slice_str("b")));
    assert_int_equal(core_group_count(w.co), 2);
    world_produce(&w, tid, 1, 0, 0, 6, WERR_OK);
    world_pass(&w, 5000);
    world_produce(&w, tid, 1, 0, 0, 4, WERR_OK);
    world_pass(&w, 1000);
    assert_int_equal(peer_commit(&m[0], tid, 1, 2), WERR_OK);
    const struct msg_who who = peer_who(&m[0]);
    core_group_handed_out(w.co, &who, tid, 1, 5);
    core_group_describe(w.co, g, &d, &members, &n_members, &parts, &n_parts);
    assert_int_equal(n_members, 1);
    assert_int_equal(n_parts, 2);
    assert_int_equal(d.epoch, m[0].epoch);
    assert_int_equal(d.row.lag_msgs, 8);
    assert_int_equal(d.row.lag_ms, 6000);
    assert_int_equal(parts[1].position, 2);
    assert_int_equal(parts[1].next, 5);
    assert_int_equal(parts[1].in_flight, 3);
    assert_int_equal(parts[1].hw, 10);
    assert_int_equal(parts[0].lag_ms, 0);
    assert_true(slice_eq(parts[1].owner, slice_of(m[0].id, 16)));
    assert_true(slice_eq(members[0].client, slice_str("test")));
    assert_int_equal(members[0].partitions, 2);
    assert_false(members[0].away);
    free(members);
    free(parts);
    assert_int_equal(peer_commit(&m[0], tid, 1, 6), WERR_OK);
    struct msg_group_row row;
    core_group_row(w.co, g, &row);
    assert_int_equal(row.lag_ms, 1000); /* the second batch is the oldest now */
    core_group_handed_out(w.co, &who, tid, 1, 9);
    core_group_row(w.co, g, &row);
    assert_int_equal(row.in_flight, 3);
    peer_leave(&m[0]);
    core_group_row(w.co, g, &row);
    assert_int_equal(row.in_flight, 0); /* nobody has them */
    peer_fini(&m[0]);
    peer_fini(&m[1]);
    world_fini(&w);
}

static uint64_t described_lag(struct world *w)
{
    struct core_group *g = core_group_by_name(w->co, slice_str("g"));
    struct msg_group_describe d;
    struct msg_group_member *members;
    struct msg_group_part *parts;
    size_t n_members, n_parts;

    core_group_describe(w->co, g, &d, &members, &n_members, &parts, &n_parts);
    const uint64_t lag_ms = parts[0].lag_ms;
    free(members);
    free(parts);
    return lag_ms;
}

/* What the tail cache does not have is estimated, then looked up. */
static void test_lag_of_what_is_on_disk(void **state)
{
    struct world w;
    struct peer a;
    (void)state;

    const uint64_t tid = open_with_topic(&w, "1");
    peer_init(&a, &w, "g", 'a');
    peer_join(&a, "t", WERR_OK);
    world_produce(&w, tid, 0, 0, 0, 10, WERR_OK);
    world_pass(&w, 1000);
    world_produce(&w, tid, 0, 0, 0, 80, WERR_OK);
    world_pass(&w, 99000);
    world_produce(&w, tid, 0, 0, 0, 10, WERR_OK);
    assert_int_equal(peer_commit(&a, tid, 0, 50), WERR_OK);
    assert_int_equal(described_lag(&w), 99000);
    peer_drop(&a);
    world_crash(&w, 0);
    world_open(&w);
    const uint64_t guess = described_lag(&w);
    assert_true(guess > 0 && guess < 100000 && guess != 99000);
    world_step(&w);
    assert_int_equal(described_lag(&w), 99000);
    world_produce(&w, tid, 0, 0, 0, 10, WERR_OK);
    peer_join(&a, "t", WERR_OK);
    assert_int_equal(peer_commit(&a, tid, 0, 60), WERR_OK);
    (void)described_lag(&w);
    peer_fini(&a);
    world_crash(&w, 0); /* with a look-up under way */
    world_open(&w);
    world_fini(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_full_disk),
        cmocka_unit_test(test_pause),
        cmocka_unit_test(test_delete),
        cmocka_unit_test(test_max_processing),
        cmocka_unit_test(test_views),
        cmocka_unit_test(test_lag_of_what_is_on_disk),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
