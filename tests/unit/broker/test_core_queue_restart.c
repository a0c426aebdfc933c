/* Queue groups over restarts: what was answered holds, what was not may come again. */
#include <stdlib.h>

#include "queue_world.h"
#include "storage/store_mem.h"
#include "tests/lib/test.h"

struct bench {
    struct world w;
    struct peer a, b;
    uint64_t tid;
    struct take t;
};

static void setup(struct bench *x, unsigned messages)
{
    *x = (struct bench){.t.rq.max_wait_ms = 20}; /* after a restart data is read first */
    world_init(&x->w);
    world_open(&x->w);
    x->tid = world_topic(&x->w, "t", "partitions", "1", NULL);
    worker_join(&x->a, &x->w, "g", 'a', "t");
    worker_join(&x->b, &x->w, "g", 'b', "t");
    if (messages > 0) {
        world_produce(&x->w, x->tid, 0, 0, 0, messages, WERR_OK);
    }
}

static void teardown(struct bench *x)
{
    peer_fini(&x->a);
    peer_fini(&x->b);
    world_fini(&x->w);
}

/* The power goes: all that was not synced is lost but the first `keep` records. */
static void crash(struct bench *x, unsigned keep)
{
    world_crash(&x->w, keep);
    peer_drop(&x->a);
    peer_drop(&x->b);
    world_open(&x->w);
}

static struct msg_group_part row(struct bench *x)
{
    return queue_part_row(&x->w, "g", x->tid, 0);
}

/* What is leased stays so, to the deadline of before; the same attempt gives it again. */
static void test_leases_hold(void **state)
{
    struct bench x;

    (void)state;
    setup(&x, 10);
    x.t.rq.lease_ms = 30000;
    assert_int_equal(take(&x.t, &x.a, 5, 4), 4);
    const struct slip s = x.t.v[0];
    world_pass(&x.w, 10000);
    crash(&x, 0);
    assert_int_equal(row(&x).in_flight, 4);
    peer_join(&x.b, "t", WERR_OK);
    assert_int_equal(take(&x.t, &x.b, 1, 10), 6);
    assert_int_equal(x.t.v[0].first, 4);
    peer_join(&x.a, "t", WERR_OK);
    assert_int_equal(take(&x.t, &x.a, 5, 4), 4);
    assert_int_equal(x.t.v[0].lease, s.lease);
    assert_int_equal(x.t.v[0].deliveries, 1);
    assert_int_equal(settle(&x.a, &s, 0, 1, VERB_ACK, -1), WERR_OK);
    world_pass(&x.w, 19000);
    assert_int_equal(row(&x).in_flight, 2 + 6);
    world_pass(&x.w, 1100); /* 30 s after it was granted */
    assert_int_equal(row(&x).in_flight, 6);
    assert_int_equal(row(&x).retrying, 2);
    teardown(&x);
}

/* The answer was lost, and when it is asked for again its data cannot be read for once: the
 * messages do not wait for the end of their lease. */
static void test_repeat_without_data(void **state)
{
    struct bench x;
    uint64_t got;

    (void)state;
    setup(&x, 10);
    assert_int_equal(take(&x.t, &x.a, 5, 4), 4);
    crash(&x, 0);
    peer_join(&x.a, "t", WERR_OK);
    store_mem_fault(x.w.st, &(struct store_fault){.kind = FAULT_READ, .k = 1, .rc = WERR_IO});
    got = take(&x.t, &x.a, 5, 4);
    store_mem_fault(x.w.st, &(struct store_fault){.kind = FAULT_READ});
    for (uint64_t attempt = 6; attempt < 20 && got < 10; attempt++) {
        got += take(&x.t, &x.a, attempt, 10);
        world_pass(&x.w, 500);
    }
    assert_int_equal(got, 10);
    teardown(&x);
}

/* Its member never comes back: the deadline is what ends it, not a grace time. */
static void test_lease_of_the_lost(void **state)
{
    struct bench x;

    (void)state;
    setup(&x, 3);
    x.t.rq.lease_ms = 60000;
    assert_int_equal(take(&x.t, &x.a, 5, 3), 3);
    x.t.rq.lease_ms = 0;
    crash(&x, 0);
    world_pass(&x.w, 50000);
    assert_int_equal(row(&x).in_flight, 3);
    peer_join(&x.b, "t", WERR_OK);
    world_pass(&x.w, 11000);
    assert_int_equal(take(&x.t, &x.b, 1, 10), 3);
    assert_int_equal(x.t.v[0].deliveries, 2);
    teardown(&x);
}

/* A member known by its leases only settles them, or leaves, without joining first. */
static void test_not_joined(void **state)
{
    struct bench x;
    struct settling st;
    struct msg_settle_item it[3];

    (void)state;
    setup(&x, 10);
    assert_int_equal(take(&x.t, &x.a, 1, 2), 2);
    const struct slip s = x.t.v[0];
    assert_int_equal(take(&x.t, &x.b, 1, 2), 2);
    crash(&x, 0);
    it[0] = item_of(&s, 0, 1, VERB_ACK); /* it holds nothing after that */
    it[1] = item_of(&s, 0, 1, VERB_ACK);
    it[2] = item_of(&s, 0, 1, VERB_NACK);
    settle_start(&st, &x.a, it, 3);
    world_step(&x.w);
    assert_int_equal(st.done, 1);
    if (st.whole == WERR_OK) {
        assert_int_equal(st.results[0], WERR_OK);
        assert_int_equal(st.results[1], WERR_OK);
        assert_int_equal(st.results[2], WERR_LEASE_LOST);
        assert_int_equal(row(&x).position, 2);
    } else {
        assert_int_equal(st.whole, WERR_UNKNOWN_MEMBER);
    }
    (void)peer_leave(&x.b);
    (void)peer_leave(&x.a);
    teardown(&x);
}

/* An ack that was not synced is forgotten, and its message is held again. */
static void test_lost_ack(void **state)
{
    struct bench x;
    struct settling st;

    (void)state;
    setup(&x, 4);
    assert_int_equal(take(&x.t, &x.a, 1, 4), 4);
    const struct slip s = x.t.v[0];
    assert_int_equal(settle(&x.a, &s, 0, 0, VERB_ACK, -1), WERR_OK);
    const struct msg_settle_item it = item_of(&s, 1, 1, VERB_ACK);
    settle_start(&st, &x.a, &it, 1);
    core_flush(x.w.co);
    store_step_write(x.w.st); /* written, not synced */
    crash(&x, 0);
    assert_int_equal(row(&x).position, 1);
    assert_int_equal(row(&x).in_flight, 3);
    peer_join(&x.a, "t", WERR_OK);
    assert_int_equal(settle(&x.a, &s, 1, 3, VERB_ACK, -1), WERR_OK);
    assert_int_equal(row(&x).position, 4);
    teardown(&x);
}

/* A lease that was not synced was given to nobody. */
static void test_lost_lease(void **state)
{
    struct bench x;
    struct take lost = {0};

    (void)state;
    setup(&x, 4);
    assert_int_equal(take(&x.t, &x.a, 1, 2), 2);
    take_start(&lost, &x.a, 2, 2);
    core_flush(x.w.co);
    store_step_write(x.w.st);
    crash(&x, 0);
    assert_int_equal(row(&x).in_flight, 2);
    peer_join(&x.b, "t", WERR_OK);
    assert_int_equal(take(&x.t, &x.b, 1, 4), 2);
    assert_int_equal(x.t.v[0].first, 2);
    assert_int_equal(x.t.v[0].deliveries, 1);
    teardown(&x);
}

/* Lease ids of before never come again, also when the newest of them was lost. */
static void test_lease_ids(void **state)
{
    struct bench x;
    uint64_t newest = 0;

    (void)state;
    setup(&x, 10);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(take(&x.t, &x.a, (uint64_t)i + 1, 2), 2);
        assert_true(x.t.v[0].lease > newest);
        assert_true(x.t.v[0].lease < UINT64_C(1) << 53);
        newest = x.t.v[0].lease;
        crash(&x, 0);
        peer_join(&x.a, "t", WERR_OK);
    }
    teardown(&x);
}

/* Deliveries, reason and due time of a retry are as durable as anything. */
static void test_retry(void **state)
{
    struct bench x;

    (void)state;
    setup(&x, 3);
    assert_int_equal(take(&x.t, &x.a, 1, 3), 3);
    const struct slip s = x.t.v[0];
    assert_int_equal(settle(&x.a, &s, 1, 1, VERB_NACK, 20000), WERR_OK);
    world_pass(&x.w, 5000);
    crash(&x, 0);
    assert_int_equal(row(&x).retrying, 1);
    assert_int_equal(row(&x).in_flight, 2);
    peer_join(&x.b, "t", WERR_OK);
    world_pass(&x.w, 14000);
    assert_int_equal(take(&x.t, &x.b, 1, 3), 0);
    world_pass(&x.w, 1100);
    assert_int_equal(take(&x.t, &x.b, 2, 3), 1);
    assert_int_equal(x.t.v[0].first, 1);
    assert_int_equal(x.t.v[0].deliveries, 2);
    assert_string_equal(x.t.v[0].reason, "no good");
    /* Given again, then another restart: it is held, by b. */
    crash(&x, 0);
    assert_int_equal(row(&x).in_flight, 3);
    assert_int_equal(row(&x).retrying, 1);
    peer_join(&x.b, "t", WERR_OK);
    assert_int_equal(settle(&x.b, &x.t.v[0], 1, 1, VERB_NACK, 0), WERR_OK);
    assert_int_equal(take(&x.t, &x.b, 3, 3), 1);
    assert_int_equal(x.t.v[0].deliveries, 3);
    assert_int_equal(ack(&x.b, &x.t.v[0]), WERR_OK);
    crash(&x, 0);
    assert_int_equal(row(&x).retrying, 0);
    assert_int_equal(row(&x).in_flight, 2);
    teardown(&x);
}

/* What a lease no longer holds is not held after a restart, whatever its row said at first. */
static void test_shrunk_lease(void **state)
{
    struct bench x;

    (void)state;
    setup(&x, 8);
    assert_int_equal(take(&x.t, &x.a, 1, 8), 8);
    const struct slip s = x.t.v[0];
    assert_int_equal(settle(&x.a, &s, 1, 1, VERB_ACK, -1), WERR_OK);
    assert_int_equal(settle(&x.a, &s, 2, 2, VERB_NACK, 60000), WERR_OK);
    assert_int_equal(settle(&x.a, &s, 3, 4, VERB_RELEASE, -1), WERR_OK);
    crash(&x, 0);
    assert_int_equal(row(&x).in_flight, 4); /* 0, 5, 6, 7 */
    assert_int_equal(row(&x).retrying, 1);
    peer_join(&x.b, "t", WERR_OK);
    assert_int_equal(take(&x.t, &x.b, 1, 8), 2);
    assert_int_equal(x.t.v[0].first, 3);
    assert_int_equal(x.t.v[0].deliveries, 1);
    /* One of them again, while the old lease still has a row. */
    crash(&x, 0);
    assert_int_equal(row(&x).in_flight, 6);
    peer_join(&x.a, "t", WERR_OK);
    assert_int_equal(settle(&x.a, &s, 3, 3, VERB_ACK, -1), WERR_LEASE_LOST);
    assert_int_equal(settle(&x.a, &s, 5, 7, VERB_ACK, -1), WERR_OK);
    peer_join(&x.b, "t", WERR_OK);
    assert_int_equal(ack(&x.b, &x.t.v[0]), WERR_OK);
    assert_int_equal(settle(&x.a, &s, 0, 0, VERB_ACK, -1), WERR_OK);
    assert_int_equal(row(&x).position, 2);
    assert_int_equal(row(&x).lag_msgs, 1);
    teardown(&x);
}

/* Extended: the new deadline is the durable one. */
static void test_extended(void **state)
{
    struct bench x;

    (void)state;
    setup(&x, 1);
    x.t.rq.lease_ms = 5000;
    assert_int_equal(take(&x.t, &x.a, 1, 1), 1);
    assert_int_equal(settle(&x.a, &x.t.v[0], 0, 0, VERB_EXTEND, 60000), WERR_OK);
    crash(&x, 0);
    world_pass(&x.w, 50000);
    assert_int_equal(row(&x).in_flight, 1);
    world_pass(&x.w, 11000);
    assert_int_equal(row(&x).in_flight, 0);
    teardown(&x);
}

/* The down time counts: what ran out meanwhile is available at once. */
static void test_expired_while_down(void **state)
{
    struct bench x;

    (void)state;
    setup(&x, 1);
    x.t.rq.lease_ms = 5000;
    assert_int_equal(take(&x.t, &x.a, 1, 1), 1);
    world_crash(&x.w, 0);
    peer_drop(&x.a);
    peer_drop(&x.b);
    x.w.wall_ms += 10000;
    world_open(&x.w);
    peer_join(&x.b, "t", WERR_OK);
    world_pass(&x.w, 5);
    assert_int_equal(take(&x.t, &x.b, 1, 1), 1);
    assert_int_equal(x.t.v[0].deliveries, 2);
    assert_string_equal(x.t.v[0].reason, "lease expired");
    teardown(&x);
}

/* Thousands settled out of order stay settled, also through a second restart without a change. */
static void test_out_of_order(void **state)
{
    enum { BATCHES = 8, EACH = 1000 };
    struct bench x;
    uint64_t seen = 0;

    (void)state;
    setup(&x, 0);
    assert_int_equal(world_group_set(&x.w, "g", "member_max", "100000"), WERR_OK);
    for (unsigned i = 0; i < BATCHES; i++) {
        world_produce(&x.w, x.tid, 0, 0, 0, EACH, WERR_OK);
    }
    assert_int_equal(take(&x.t, &x.a, 1, EACH), EACH);
    const struct slip s = x.t.v[0];
    for (uint64_t o = s.first; o <= s.last; o++) {
        assert_int_equal(settle(&x.a, &s, o, o, o % 2 == 1 ? VERB_ACK : VERB_RELEASE, -1), WERR_OK);
    }
    for (int round = 0; round < 2; round++) {
        crash(&x, 0);
        assert_int_equal(row(&x).position, 0);
        assert_int_equal(row(&x).lag_msgs, BATCHES * EACH - EACH / 2);
    }
    peer_join(&x.b, "t", WERR_OK);
    for (uint64_t i = 1; seen < EACH / 2; i++) {
        assert_true(take(&x.t, &x.b, i, 50) > 0);
        for (size_t k = 0; k < x.t.n; k++) {
            assert_int_equal(x.t.v[k].first % 2, 0);
            assert_int_equal(x.t.v[k].first, x.t.v[k].last);
            assert_int_equal(ack(&x.b, &x.t.v[k]), WERR_OK);
            seen++;
        }
    }
    assert_int_equal(row(&x).position, EACH);
    crash(&x, 0);
    assert_int_equal(row(&x).position, EACH);
    teardown(&x);
}

/* A full disk, then a crash: what was answered before and after is there, nothing else. */
static void test_full_then_crash(void **state)
{
    const struct store_fault full = {.kind = FAULT_APPEND, .k = 1, .rc = WERR_STORAGE_FULL};
    struct bench x;

    (void)state;
    setup(&x, 10);
    assert_int_equal(take(&x.t, &x.a, 1, 10), 10);
    const struct slip s = x.t.v[0];
    assert_int_equal(settle(&x.a, &s, 2, 2, VERB_NACK, 90000), WERR_OK);
    assert_int_equal(settle(&x.a, &s, 4, 4, VERB_ACK, -1), WERR_OK);
    store_mem_fault(x.w.st, &full);
    assert_int_equal(settle(&x.a, &s, 6, 6, VERB_NACK, 90000), WERR_STORAGE_FULL);
    crash(&x, 0); /* before anything was written again */
    assert_int_equal(row(&x).in_flight, 8);
    assert_int_equal(row(&x).retrying, 1);
    peer_join(&x.a, "t", WERR_OK);
    store_mem_fault(x.w.st, &full);
    assert_int_equal(settle(&x.a, &s, 6, 6, VERB_NACK, 90000), WERR_STORAGE_FULL);
    world_pass(&x.w, 3000); /* now it is, all of it */
    crash(&x, 0);
    assert_int_equal(row(&x).in_flight, 7);
    assert_int_equal(row(&x).retrying, 2);
    assert_int_equal(row(&x).lag_msgs, 9);
    teardown(&x);
}

/* Dead, and down before the copy was made: it comes after the restart, once. */
static void test_dead(void **state)
{
    struct bench x;

    (void)state;
    setup(&x, 2);
    assert_int_equal(take(&x.t, &x.a, 1, 1), 1);
    const struct msg_settle_item it = item_of(&x.t.v[0], 0, 0, VERB_DEAD);
    struct settling st;
    settle_start(&st, &x.a, &it, 1);
    core_flush(x.w.co);
    store_step(x.w.st); /* one step: the verdict, not the copy */
    crash(&x, 0);
    world_pass(&x.w, 3000);
    assert_int_equal(row(&x).position, 1);
    const struct core_topic *dlq = core_topic_by_name(x.w.co, slice_str("t~g~dlq"));
    assert_non_null(dlq);
    crash(&x, 0);
    world_pass(&x.w, 3000);
    assert_int_equal(row(&x).position, 1);
    peer_join(&x.b, "t", WERR_OK);
    assert_int_equal(take(&x.t, &x.b, 1, 5), 1);
    assert_int_equal(x.t.v[0].first, 1);
    teardown(&x);
}

/* Nothing to do after a restart: nothing is written. */
static void test_quiet_start(void **state)
{
    struct bench x;
    struct store_stats before, after;

    (void)state;
    setup(&x, 50);
    assert_int_equal(take(&x.t, &x.a, 1, 50), 50);
    assert_int_equal(settle(&x.a, &x.t.v[0], 10, 39, VERB_NACK, 3600000), WERR_OK);
    world_close(&x.w);
    peer_drop(&x.a);
    peer_drop(&x.b);
    world_open(&x.w);
    store_stats(x.w.st, &before);
    world_step(&x.w);
    store_stats(x.w.st, &after);
    assert_true(after.records_bytes - before.records_bytes < 1000);
    assert_int_equal(row(&x).retrying, 30);
    assert_int_equal(row(&x).in_flight, 20);
    teardown(&x);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_repeat_without_data),
        cmocka_unit_test(test_leases_hold),
        cmocka_unit_test(test_lease_of_the_lost),
        cmocka_unit_test(test_not_joined),
        cmocka_unit_test(test_lost_ack),
        cmocka_unit_test(test_lost_lease),
        cmocka_unit_test(test_lease_ids),
        cmocka_unit_test(test_retry),
        cmocka_unit_test(test_shrunk_lease),
        cmocka_unit_test(test_extended),
        cmocka_unit_test(test_expired_while_down),
        cmocka_unit_test(test_out_of_order),
        cmocka_unit_test(test_full_then_crash),
        cmocka_unit_test(test_dead),
        cmocka_unit_test(test_quiet_start),
    };

    return cmocka_run_group_tests_name("core_queue_restart", tests, NULL, NULL);
}
