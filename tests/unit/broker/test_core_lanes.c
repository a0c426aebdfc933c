/* order=key: one message of a key at a time, and nothing else waits for it. */
#include <stdlib.h>
#include <string.h>

#include "queue_world.h"
#include "tests/lib/test.h"

struct bench {
    struct world w;
    struct peer a, b;
    uint64_t tid;
    struct take t, u;
};

static void setup(struct bench *x, const char *partitions)
{
    *x = (struct bench){.t.rq.max_wait_ms = 20, .u.rq.max_wait_ms = 20};
    world_init(&x->w);
    world_open(&x->w);
    x->tid = world_topic(&x->w, "t", "partitions", partitions, NULL);
    worker_join_keyed(&x->a, &x->w, "g", 'a', "t");
    worker_join_keyed(&x->b, &x->w, "g", 'b', "t");
}

static void teardown(struct bench *x)
{
    peer_fini(&x->a);
    peer_fini(&x->b);
    world_fini(&x->w);
}

static void crash(struct bench *x)
{
    world_crash(&x->w, 0);
    peer_drop(&x->a);
    peer_drop(&x->b);
    world_open(&x->w);
    peer_join(&x->a, "t", WERR_OK);
    peer_join(&x->b, "t", WERR_OK);
}

static void expect(const struct take *t, const uint64_t *offsets, size_t n)
{
    assert_int_equal(t->n, n);
    for (size_t i = 0; i < n; i++) {
        assert_int_equal(t->v[i].first, offsets[i]);
        assert_int_equal(t->v[i].last, offsets[i]);
    }
}

static void test_one_at_a_time(void **state)
{
    for (int zip = 0; zip < 2; zip++) {
        struct bench x;
        (void)state;
        setup(&x, "1");
        produce_keys(&x.w, x.tid, 0, "aabab-c-", zip);
        take(&x.t, &x.a, 1, 100);
        expect(&x.t, (uint64_t[]){0, 2, 5, 6, 7}, 5); /* messages without a key are free */
        take(&x.u, &x.b, 1, 100);
        assert_int_equal(x.u.n, 0);
        assert_int_equal(ack(&x.a, &x.t.v[0]), WERR_OK);
        take(&x.u, &x.b, 2, 100);
        expect(&x.u, (uint64_t[]){1}, 1);
        assert_int_equal(x.u.v[0].deliveries, 1);
        assert_int_equal(ack(&x.b, &x.u.v[0]), WERR_OK);
        assert_int_equal(ack(&x.a, &x.t.v[1]), WERR_OK);
        take(&x.u, &x.b, 3, 100);
        expect(&x.u, (uint64_t[]){3, 4}, 2);
        teardown(&x);
    }
}

/* A key whose message failed waits with it; released, it is the first again. */
static void test_failed(void **state)
{
    struct bench x;

    (void)state;
    setup(&x, "1");
    produce_keys(&x.w, x.tid, 0, "abab", false);
    take(&x.t, &x.a, 1, 100);
    expect(&x.t, (uint64_t[]){0, 1}, 2);
    assert_int_equal(settle(&x.a, &x.t.v[0], 0, 0, VERB_NACK, 5000), WERR_OK);
    assert_int_equal(settle(&x.a, &x.t.v[1], 1, 1, VERB_RELEASE, -1), WERR_OK);
    take(&x.u, &x.b, 1, 100);
    expect(&x.u, (uint64_t[]){1}, 1);
    assert_int_equal(x.u.v[0].deliveries, 1);
    assert_int_equal(ack(&x.b, &x.u.v[0]), WERR_OK);
    take(&x.u, &x.b, 2, 100);
    expect(&x.u, (uint64_t[]){3}, 1);
    world_pass(&x.w, 5100);
    take(&x.u, &x.b, 3, 100);
    expect(&x.u, (uint64_t[]){0}, 1);
    assert_int_equal(x.u.v[0].deliveries, 2);
    assert_int_equal(settle(&x.b, &x.u.v[0], 0, 0, VERB_DEAD, -1), WERR_OK);
    take(&x.u, &x.b, 4, 100);
    expect(&x.u, (uint64_t[]){2}, 1); /* the dead do not hold up their key */
    teardown(&x);
}

static void test_expired(void **state)
{
    struct bench x;

    (void)state;
    setup(&x, "1");
    produce_keys(&x.w, x.tid, 0, "aa", false);
    x.t.rq.lease_ms = 1000;
    take(&x.t, &x.a, 1, 100);
    expect(&x.t, (uint64_t[]){0}, 1);
    world_pass(&x.w, 1100);
    take(&x.u, &x.b, 1, 100);
    expect(&x.u, (uint64_t[]){0}, 1);
    assert_int_equal(x.u.v[0].deliveries, 2);
    teardown(&x);
}

/* Keys of different partitions are different keys. */
static void test_partitions(void **state)
{
    struct bench x;

    (void)state;
    setup(&x, "2");
    produce_keys(&x.w, x.tid, 0, "aa", false);
    produce_keys(&x.w, x.tid, 1, "aa", false);
    take(&x.t, &x.a, 1, 100);
    assert_int_equal(x.t.n, 2);
    assert_int_not_equal(x.t.v[0].p, x.t.v[1].p);
    teardown(&x);
}

/* A full disk: the message keeps its lane, and comes as if for the first time. */
static void test_full_disk(void **state)
{
    const struct store_fault full = {.kind = FAULT_APPEND, .k = 1, .rc = WERR_STORAGE_FULL};
    struct bench x;

    (void)state;
    setup(&x, "1");
    produce_keys(&x.w, x.tid, 0, "aab", false);
    store_mem_fault(x.w.st, &full);
    take_start(&x.t, &x.a, 1, 100);
    world_step(&x.w);
    assert_int_equal(x.t.rq.err.code, WERR_STORAGE_FULL);
    world_pass(&x.w, 3000);
    take(&x.t, &x.b, 1, 100);
    expect(&x.t, (uint64_t[]){0, 2}, 2);
    assert_int_equal(x.t.v[0].deliveries, 1);
    teardown(&x);
}

/* After a restart a key in flight is still in flight, also one that waits for its retry. */
static void test_restart(void **state)
{
    struct bench x;

    (void)state;
    setup(&x, "1");
    produce_keys(&x.w, x.tid, 0, "abcabc", true);
    produce_keys(&x.w, x.tid, 0, "abcd", true);
    take(&x.t, &x.a, 1, 100);
    expect(&x.t, (uint64_t[]){0, 1, 2, 9}, 4);
    assert_int_equal(settle(&x.a, &x.t.v[1], 1, 1, VERB_NACK, 30000), WERR_OK);
    assert_int_equal(ack(&x.a, &x.t.v[2]), WERR_OK);
    crash(&x);
    take(&x.u, &x.b, 1, 100);
    expect(&x.u, (uint64_t[]){5}, 1); /* only c is free */
    assert_int_equal(ack(&x.a, &x.t.v[0]), WERR_OK);
    take(&x.u, &x.b, 2, 100);
    expect(&x.u, (uint64_t[]){3}, 1);
    world_pass(&x.w, 31000);
    take(&x.u, &x.b, 3, 100);
    expect(&x.u, (uint64_t[]){1}, 1);
    assert_int_equal(ack(&x.b, &x.u.v[0]), WERR_OK);
    take(&x.u, &x.b, 4, 100);
    expect(&x.u, (uint64_t[]){4}, 1);
    teardown(&x);
}

/* Nothing is handed out before the keys in flight are known: the disk fails for a while. */
static void test_restart_read_error(void **state)
{
    const struct store_fault broken = {.kind = FAULT_READ, .k = 1, .rc = WERR_IO, .sticky = true};
    const struct store_fault none = {.kind = FAULT_READ};
    struct bench x;

    (void)state;
    setup(&x, "1");
    produce_keys(&x.w, x.tid, 0, "aab", true);
    take(&x.t, &x.a, 1, 1);
    expect(&x.t, (uint64_t[]){0}, 1);
    world_crash(&x.w, 0);
    peer_drop(&x.a);
    peer_drop(&x.b);
    world_open(&x.w);
    store_mem_fault(x.w.st, &broken);
    peer_join(&x.b, "t", WERR_OK);
    produce_keys(&x.w, x.tid, 0, "ac", true); /* in the tail cache */
    take(&x.u, &x.b, 1, 100);
    assert_int_equal(x.u.n, 0);
    store_mem_fault(x.w.st, &none);
    world_pass(&x.w, 3000);
    take(&x.u, &x.b, 2, 100);
    expect(&x.u, (uint64_t[]){2, 4}, 2);
    teardown(&x);
}

/* So many of one key that no more are parked: that blocks the group, until one of them goes; then
 * other partitions go on too. */
static void test_parked_limit(void **state)
{
    struct bench x;
    char *many = malloc(10001);

    (void)state;
    setup(&x, "2");
    memset(many, 'a', 10000);
    many[10000] = '\0';
    for (int i = 0; i < 11; i++) {
        produce_keys(&x.w, x.tid, 0, many, true);
    }
    free(many);
    assert_int_equal(take(&x.t, &x.a, 1, 100), 1);
    for (unsigned i = 2; i < 20; i++) {
        assert_int_equal(take(&x.u, &x.b, i, 100), 0);
    }
    assert_string_equal(world_group_state(&x.w, "g"), "blocked: key order");
    produce_keys(&x.w, x.tid, 1, "b", false);
    assert_int_equal(take(&x.u, &x.b, 20, 100), 0);
    for (unsigned i = 0; i < 12; i++) { /* below the limit again: both partitions have something */
        const struct slip s = x.t.v[0];
        assert_int_equal(ack(&x.a, &s), WERR_OK);
        assert_int_equal(take(&x.t, &x.a, 2 + i, 1), 1);
        if (x.t.v[0].p == 1) {
            teardown(&x);
            return;
        }
    }
    fail_msg("partition 1 was forgotten");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_one_at_a_time),
        cmocka_unit_test(test_failed),
        cmocka_unit_test(test_expired),
        cmocka_unit_test(test_partitions),
        cmocka_unit_test(test_full_disk),
        cmocka_unit_test(test_restart),
        cmocka_unit_test(test_restart_read_error),
        cmocka_unit_test(test_parked_limit),
    };

    return cmocka_run_group_tests_name("core_lanes", tests, NULL, NULL);
}
