/* What becomes of leased messages: verdicts, deadlines, retries. */
#include <stdio.h>
#include <stdlib.h>

#include "queue_world.h"
#include "tests/lib/test.h"

struct bench {
    struct world w;
    struct peer a, b;
    uint64_t tid;
    struct take t;
};

static void setup(struct bench *x, unsigned messages)
{
    *x = (struct bench){.tid = 0};
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

static struct msg_group_part row(struct bench *x)
{
    return queue_part_row(&x->w, "g", x->tid, 0);
}

/* ---------------------------------------------------------------- ack */

static void test_floor(void **state)
{
    struct bench x;

    (void)state;
    setup(&x, 10);
    assert_int_equal(take(&x.t, &x.a, 1, 10), 10);
    const struct slip s = x.t.v[0];
    assert_int_equal(settle(&x.a, &s, 0, 2, VERB_ACK, -1), WERR_OK);
    assert_int_equal(row(&x).position, 3);
    assert_int_equal(settle(&x.a, &s, 5, 9, VERB_ACK, -1), WERR_OK);
    assert_int_equal(row(&x).position, 3);
    assert_int_equal(row(&x).in_flight, 2);
    assert_int_equal(row(&x).lag_msgs, 2);
    assert_int_equal(settle(&x.a, &s, 4, 4, VERB_ACK, -1), WERR_OK);
    assert_int_equal(settle(&x.a, &s, 3, 3, VERB_ACK, -1), WERR_OK);
    assert_int_equal(row(&x).position, 10);
    assert_int_equal(row(&x).in_flight, 0);
    teardown(&x);
}

/* Again and again: fine. What is held by nobody, or by somebody else: lost. */
static void test_who_may(void **state)
{
    struct bench x;
    struct slip s, other;

    (void)state;
    setup(&x, 10);
    assert_int_equal(take(&x.t, &x.a, 1, 4), 4);
    s = x.t.v[0];
    assert_int_equal(take(&x.t, &x.b, 1, 4), 4);
    other = x.t.v[0];
    assert_int_equal(ack(&x.a, &s), WERR_OK);
    assert_int_equal(ack(&x.a, &s), WERR_OK);
    assert_int_equal(settle(&x.b, &s, 1, 1, VERB_ACK, -1), WERR_OK); /* it is settled */
    assert_int_equal(settle(&x.a, &s, 1, 1, VERB_NACK, -1), WERR_LEASE_LOST);
    assert_int_equal(settle(&x.a, &s, 1, 1, VERB_RELEASE, -1), WERR_LEASE_LOST);
    assert_int_equal(settle(&x.a, &s, 1, 1, VERB_DEAD, -1), WERR_LEASE_LOST);
    assert_int_equal(settle(&x.a, &s, 1, 1, VERB_EXTEND, -1), WERR_LEASE_LOST);
    assert_int_equal(ack(&x.a, &other), WERR_LEASE_LOST);
    other.lease++; /* no such lease */
    assert_int_equal(ack(&x.b, &other), WERR_LEASE_LOST);
    other.lease--;
    assert_int_equal(settle(&x.b, &other, 8, 8, VERB_ACK, -1), WERR_LEASE_LOST); /* never given */
    other.p = 7;
    assert_int_not_equal(ack(&x.b, &other), WERR_OK);
    other.p = 0;
    other.tid += 100;
    assert_int_not_equal(ack(&x.b, &other), WERR_OK);
    other.tid -= 100;
    assert_int_equal(settle(&x.b, &other, 0, UINT64_MAX >> 12, VERB_ACK, -1), WERR_LEASE_LOST);
    assert_int_equal(ack(&x.b, &other), WERR_OK);
    assert_int_equal(row(&x).position, 8);
    x.b.epoch += 1000;
    assert_int_equal(ack(&x.b, &other), WERR_FENCED_MEMBER);
    x.b.epoch -= 1000;
    teardown(&x);
}

/* All of an item or nothing of it; each item by itself. */
static void test_items(void **state)
{
    struct bench x;
    struct settling st;
    struct msg_settle_item it[4];

    (void)state;
    setup(&x, 10);
    assert_int_equal(take(&x.t, &x.a, 1, 6), 6);
    const struct slip s = x.t.v[0];
    it[0] = item_of(&s, 4, 8, VERB_ACK); /* 6 to 8 are not held */
    it[1] = item_of(&s, 1, 1, VERB_ACK);
    it[2] = item_of(&s, 0, 2, VERB_NACK); /* 1 is settled by the item before */
    it[3] = item_of(&s, 0, 2, VERB_ACK);
    settle_start(&st, &x.a, it, 4);
    assert_int_equal(st.done, 0);
    core_flush(x.w.co);
    store_step_write(x.w.st);
    store_poll(x.w.st);
    assert_int_equal(st.done, 0); /* not before it is durable */
    world_step(&x.w);
    assert_int_equal(st.done, 1);
    assert_int_equal(st.results[0], WERR_LEASE_LOST);
    assert_int_equal(st.results[1], WERR_OK);
    assert_int_equal(st.results[2], WERR_LEASE_LOST);
    assert_int_equal(st.results[3], WERR_OK);
    assert_int_equal(row(&x).position, 3);
    assert_int_equal(row(&x).in_flight, 3);
    teardown(&x);
}

static void test_full_disk(void **state)
{
    const struct store_fault full = {.kind = FAULT_APPEND, .k = 1, .rc = WERR_STORAGE_FULL};
    struct bench x;

    (void)state;
    setup(&x, 10);
    assert_int_equal(take(&x.t, &x.a, 1, 10), 10);
    const struct slip s = x.t.v[0];
    store_mem_fault(x.w.st, &full);
    assert_int_equal(settle(&x.a, &s, 0, 4, VERB_ACK, -1), WERR_STORAGE_FULL);
    world_pass(&x.w, 2000);
    assert_int_equal(settle(&x.a, &s, 0, 4, VERB_ACK, -1), WERR_OK);
    assert_int_equal(settle(&x.a, &s, 6, 6, VERB_ACK, -1), WERR_OK);
    peer_fini(&x.a);
    peer_fini(&x.b);
    world_crash(&x.w, 0);
    world_open(&x.w);
    assert_int_equal(row(&x).position, 5);
    assert_int_equal(row(&x).in_flight, 4);
    world_fini(&x.w);
}

/* ---------------------------------------------------------------- nack, release, dead */

/* 1 s, then twice as long each time, up to the maximum; random gives - 20 % + 4 ms here. */
static void test_backoff(void **state)
{
    static const int64_t wait_ms[] = {804, 1604, 3204, 4004, 4004};
    struct bench x;

    (void)state;
    setup(&x, 2);
    assert_int_equal(world_group_set(&x.w, "g", "backoff_max_ms", "5s"), WERR_OK);
    assert_int_equal(take(&x.t, &x.a, 1, 1), 1);
    for (unsigned i = 0; i < 5; i++) {
        assert_int_equal(x.t.v[0].first, 0);
        assert_int_equal(x.t.v[0].deliveries, i + 1);
        assert_string_equal(x.t.v[0].reason, i == 0 ? "" : "no good");
        assert_int_equal(settle(&x.a, &x.t.v[0], 0, 0, VERB_NACK, -1), WERR_OK);
        assert_int_equal(row(&x).retrying, 1);
        x.t.rq.max_wait_ms = 60000;
        assert_int_equal(settle(&x.a, &x.t.v[0], 0, 0, VERB_ACK, -1), WERR_LEASE_LOST);
        struct take other = {0}; /* others flow meanwhile */
        if (i == 0) {
            assert_int_equal(take(&other, &x.b, 1, 10), 1);
            assert_int_equal(other.v[0].first, 1);
        }
        const int64_t at_ns = x.w.mono_ns;
        take_start(&x.t, &x.a, 2 + i, 1);
        while (x.t.done == 0) {
            world_pass(&x.w, 1);
        }
        assert_in_range((x.w.mono_ns - at_ns) / 1000000 + (i == 0), wait_ms[i] - 1, wait_ms[i] + 2);
    }
    assert_int_equal(ack(&x.a, &x.t.v[0]), WERR_OK);
    assert_int_equal(row(&x).retrying, 0);
    assert_int_equal(row(&x).position, 1);
    teardown(&x);
}

static void test_nack_delay(void **state)
{
    struct bench x;

    (void)state;
    setup(&x, 3);
    assert_int_equal(take(&x.t, &x.a, 1, 3), 3);
    const struct slip s = x.t.v[0];
    assert_int_equal(settle(&x.a, &s, 2, 2, VERB_NACK, 0), WERR_OK);
    assert_int_equal(settle(&x.a, &s, 0, 1, VERB_NACK, 5000), WERR_OK);
    assert_int_equal(take(&x.t, &x.b, 1, 3), 1);
    assert_int_equal(x.t.v[0].first, 2);
    assert_int_equal(x.t.v[0].deliveries, 2);
    world_pass(&x.w, 4990);
    assert_int_equal(take(&x.t, &x.b, 2, 3), 0);
    world_pass(&x.w, 20);
    assert_int_equal(take(&x.t, &x.b, 3, 3), 2);
    assert_int_equal(x.t.n, 2); /* each alone */
    teardown(&x);
}

/* Given back it does not count, and comes before what follows it. */
static void test_release(void **state)
{
    struct bench x;

    (void)state;
    setup(&x, 10);
    assert_int_equal(take(&x.t, &x.a, 1, 6), 6);
    const struct slip s = x.t.v[0];
    assert_int_equal(settle(&x.a, &s, 2, 3, VERB_RELEASE, -1), WERR_OK);
    assert_int_equal(take(&x.t, &x.b, 1, 1), 1);
    assert_int_equal(x.t.v[0].first, 2);
    assert_int_equal(x.t.v[0].deliveries, 1);
    assert_int_equal(settle(&x.b, &x.t.v[0], 2, 2, VERB_NACK, 0), WERR_OK);
    assert_int_equal(take(&x.t, &x.b, 2, 1), 1); /* a retry that is given back stays one */
    assert_int_equal(x.t.v[0].deliveries, 2);
    assert_int_equal(settle(&x.b, &x.t.v[0], 2, 2, VERB_RELEASE, -1), WERR_OK);
    assert_int_equal(take(&x.t, &x.b, 3, 1), 1);
    assert_int_equal(x.t.v[0].first, 2);
    assert_int_equal(x.t.v[0].deliveries, 2);
    assert_string_equal(x.t.v[0].reason, "no good");
    assert_int_equal(settle(&x.a, &s, 2, 2, VERB_ACK, -1), WERR_LEASE_LOST);
    assert_int_equal(row(&x).in_flight, 5);
    teardown(&x);
}

/* The only message is dead and moved: nobody waits for it. */
static void check_moved(struct bench *x)
{
    world_pass(&x->w, 2000);
    assert_int_equal(row(x).position, 1);
    assert_int_equal(row(x).retrying, 0);
    assert_non_null(core_topic_by_name(x->w.co, slice_str("t~g~dlq")));
}

static void test_dead(void **state)
{
    struct bench x;

    (void)state;
    setup(&x, 1);
    assert_int_equal(take(&x.t, &x.a, 1, 1), 1);
    assert_int_equal(settle(&x.a, &x.t.v[0], 0, 0, VERB_DEAD, -1), WERR_OK);
    check_moved(&x);
    assert_int_equal(take(&x.t, &x.a, 2, 1), 0);
    teardown(&x);
}

static void test_max_deliver(void **state)
{
    struct bench x;

    (void)state;
    setup(&x, 1);
    assert_int_equal(world_group_set(&x.w, "g", "max_deliver", "3"), WERR_OK);
    for (unsigned i = 1; i <= 3; i++) {
        assert_int_equal(take(&x.t, &x.a, i, 1), 1);
        assert_int_equal(x.t.v[0].deliveries, i);
        assert_int_equal(row(&x).position, 0);
        assert_int_equal(settle(&x.a, &x.t.v[0], 0, 0, VERB_NACK, 0), WERR_OK);
    }
    check_moved(&x);
    assert_int_equal(take(&x.t, &x.a, 9, 1), 0);
    teardown(&x);
}

/* ---------------------------------------------------------------- deadlines */

/* Leases end in the order of their deadlines, not of their grant; what was settled stays so. */
static void test_expiry_order(void **state)
{
    struct bench x;

    (void)state;
    setup(&x, 30);
    x.t.rq.lease_ms = 3000;
    assert_int_equal(take(&x.t, &x.a, 1, 10), 10);
    assert_int_equal(settle(&x.a, &x.t.v[0], 0, 7, VERB_ACK, -1), WERR_OK);
    x.t.rq.lease_ms = 1000;
    assert_int_equal(take(&x.t, &x.a, 2, 10), 10);
    x.t.rq.lease_ms = 0;
    world_pass(&x.w, 1100);
    assert_int_equal(row(&x).in_flight, 2);
    assert_int_equal(row(&x).retrying, 10);
    assert_int_equal(take(&x.t, &x.b, 1, 100),
                     20); /* the ten that ran out first, then fresh ones */
    assert_int_equal(x.t.v[0].first, 10);
    assert_int_equal(x.t.v[0].deliveries, 2);
    assert_string_equal(x.t.v[0].reason, "lease expired");
    world_pass(&x.w, 2000);
    assert_int_equal(take(&x.t, &x.b, 2, 100), 2);
    assert_int_equal(x.t.v[0].first, 8);
    assert_int_equal(x.t.v[1].first, 9);
    teardown(&x);
}

static void test_extend(void **state)
{
    struct bench x;

    (void)state;
    setup(&x, 3);
    x.t.rq.lease_ms = 2000;
    assert_int_equal(take(&x.t, &x.a, 1, 3), 3);
    const struct slip s = x.t.v[0];
    for (int i = 0; i < 5; i++) { /* each time as at the start */
        world_pass(&x.w, 1500);
        assert_int_equal(settle(&x.a, &s, 0, 2, VERB_EXTEND, -1), WERR_OK);
    }
    assert_int_equal(settle(&x.a, &s, 0, 2, VERB_EXTEND, 10000), WERR_OK);
    world_pass(&x.w, 9900);
    assert_int_equal(row(&x).in_flight, 3);
    world_pass(&x.w, 200);
    assert_int_equal(row(&x).in_flight, 0);
    assert_int_equal(settle(&x.a, &s, 0, 2, VERB_EXTEND, -1), WERR_LEASE_LOST);
    assert_int_equal(ack(&x.a, &s), WERR_LEASE_LOST);
    teardown(&x);
}

/* Without a limit of its own a lease lasts as long as the group's max_processing_ms. */
static void test_processing(void **state)
{
    struct bench x;

    (void)state;
    setup(&x, 1);
    assert_int_equal(take(&x.t, &x.a, 1, 1), 1);
    world_pass(&x.w, 15 * 60 * 1000 - 1000);
    assert_int_equal(row(&x).in_flight, 1);
    world_pass(&x.w, 2000);
    assert_int_equal(row(&x).in_flight, 0);
    assert_int_equal(row(&x).retrying, 1);
    teardown(&x);
}

static void test_session_lost(void **state)
{
    struct bench x;

    (void)state;
    setup(&x, 2);
    assert_int_equal(take(&x.t, &x.a, 1, 2), 2);
    const struct slip s = x.t.v[0];
    peer_drop(&x.a);
    world_pass(&x.w, 9000);
    assert_int_equal(settle(&x.a, &s, 0, 0, VERB_ACK, -1), WERR_OK); /* within its grace time */
    assert_int_equal(take(&x.t, &x.b, 1, 2), 0);
    world_pass(&x.w, 2000);
    assert_int_equal(take(&x.t, &x.b, 2, 2), 1);
    assert_int_equal(x.t.v[0].first, 1);
    assert_int_equal(x.t.v[0].deliveries, 2);
    assert_string_equal(x.t.v[0].reason, "lost its connection");
    teardown(&x);
}

/* A lease with a time of its own lasts so long, session or not; its member may come back for it. */
static void test_hard_lease(void **state)
{
    struct bench x;

    (void)state;
    setup(&x, 6);
    x.t.rq.lease_ms = 60000;
    assert_int_equal(take(&x.t, &x.a, 1, 2), 2);
    const struct slip hard = x.t.v[0];
    x.t.rq.lease_ms = 0;
    assert_int_equal(take(&x.t, &x.a, 2, 2), 2);
    peer_drop(&x.a);
    world_pass(&x.w, 11000);
    assert_int_equal(row(&x).in_flight, 2);
    assert_int_equal(take(&x.t, &x.b, 1, 10), 4); /* those of the session, and the rest */
    assert_int_equal(settle(&x.b, &hard, 0, 0, VERB_NACK, -1), WERR_LEASE_LOST);
    peer_join(&x.a, "t", WERR_OK);
    assert_int_equal(settle(&x.a, &hard, 0, 0, VERB_ACK, -1), WERR_OK);
    peer_drop(&x.a);
    world_pass(&x.w, 20000);
    assert_int_equal(row(&x).in_flight, 5);
    world_crash(&x.w, 0);
    peer_drop(&x.b);
    world_open(&x.w);
    peer_join(&x.a, "t", WERR_OK);
    peer_drop(&x.a); /* a session of its own again, and lost again */
    world_pass(&x.w, 15000);
    assert_int_equal(row(&x).in_flight, 5);
    world_pass(&x.w, 16000);
    assert_int_equal(row(&x).in_flight, 4);
    assert_int_equal(row(&x).retrying, 3);
    teardown(&x);
}

static void test_leave(void **state)
{
    struct bench x;

    (void)state;
    setup(&x, 2);
    assert_int_equal(take(&x.t, &x.a, 1, 2), 2);
    assert_int_equal(peer_leave(&x.a), WERR_OK);
    assert_int_equal(take(&x.t, &x.b, 1, 2), 2);
    assert_int_equal(x.t.v[0].deliveries, 1);
    teardown(&x);
}

/* ---------------------------------------------------------------- many */

/* 40,000 messages of which every second one stays out: settled backwards, the rest at the end. */
static void test_many_out_of_order(void **state)
{
    enum { BATCHES = 40, EACH = 1000 };
    struct bench x;
    struct slip *s = calloc(BATCHES, sizeof *s);

    (void)state;
    setup(&x, 0);
    assert_int_equal(world_group_set(&x.w, "g", "member_max", "100000"), WERR_OK);
    for (unsigned i = 0; i < BATCHES; i++) {
        world_produce(&x.w, x.tid, 0, 0, 0, EACH, WERR_OK);
    }
    for (unsigned i = 0; i < BATCHES; i++) {
        assert_int_equal(take(&x.t, &x.a, i + 1, EACH), EACH);
        s[i] = x.t.v[0];
    }
    for (unsigned odd = 1; odd < 2; odd--) {
        for (unsigned i = BATCHES; i-- > 0;) {
            for (unsigned k = 0; k < EACH; k += 2) {
                const uint64_t o = s[i].first + k + odd;
                assert_int_equal(settle(&x.a, &s[i], o, o, VERB_ACK, -1), WERR_OK);
            }
        }
        assert_int_equal(row(&x).position, odd == 1 ? 0 : BATCHES * EACH);
        assert_int_equal(row(&x).lag_msgs, odd == 1 ? BATCHES * EACH / 2 : 0);
    }
    free(s);
    teardown(&x);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_floor),        cmocka_unit_test(test_who_may),
        cmocka_unit_test(test_items),        cmocka_unit_test(test_full_disk),
        cmocka_unit_test(test_backoff),      cmocka_unit_test(test_nack_delay),
        cmocka_unit_test(test_release),      cmocka_unit_test(test_dead),
        cmocka_unit_test(test_max_deliver),  cmocka_unit_test(test_expiry_order),
        cmocka_unit_test(test_extend),       cmocka_unit_test(test_processing),
        cmocka_unit_test(test_session_lost), cmocka_unit_test(test_leave),
        cmocka_unit_test(test_hard_lease),   cmocka_unit_test(test_many_out_of_order),
    };

    return cmocka_run_group_tests_name("core_settle", tests, NULL, NULL);
}
