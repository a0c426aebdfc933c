#include "broker/core/tailcache.h"

#include "tests/lib/test.h"

static void put(struct tailcache *tc, struct tail *t, uint64_t base, uint32_t count, size_t n)
{
    struct blob *b = blob_new(n);

    tail_put(tc, t, base, count, (struct bytes){.owner = b, .p = b->p, .n = n});
    blob_unref(b);
}

static void test_find(void **state)
{
    struct tailcache tc;
    struct tail t = {0};
    (void)state;

    tailcache_init(&tc, 1 << 20);
    assert_int_equal(tail_find(&t, 0), -1);
    for (uint64_t i = 0; i < 100; i++) {
        put(&tc, &t, 10 + i * 3, 3, 50);
    }
    assert_int_equal(tail_find(&t, 9), -1);
    for (uint64_t o = 10; o < 310; o++) {
        assert_int_equal(tail_find(&t, o), (o - 10) / 3);
    }
    assert_int_equal(tail_find(&t, 310), -1);
    tail_trim(&tc, &t, 14);
    assert_int_equal(tail_find(&t, 12), -1);
    assert_int_equal(tail_find(&t, 13), 0); /* ends above 14: stays whole */
    tail_fini(&tc, &t);
    assert_int_equal(tc.bytes, 0);
}

static void test_budget_takes_the_oldest_of_all(void **state)
{
    struct tailcache tc;
    struct tail a = {0}, b = {0};
    (void)state;

    tailcache_init(&tc, 10000);
    put(&tc, &a, 0, 1, 1000);
    for (uint64_t i = 0; i < 50; i++) {
        put(&tc, &b, i, 1, 1000);
        assert_true(tc.bytes <= 10000);
    }
    assert_int_equal(a.n, 0);
    assert_true(b.n >= 5);
    assert_int_equal(tail_at(&b, b.n - 1)->base_offset, 49);
    put(&tc, &b, 50, 1, 20000); /* larger than the budget: nothing below may be taken for the end */
    assert_int_equal(b.n, 0);
    assert_int_equal(tc.bytes, 0);
    tail_fini(&tc, &a);
}

static void test_another_budget(void **state)
{
    struct tailcache tc;
    struct tail a = {0}, b = {0};
    (void)state;

    tailcache_init(&tc, 100000);
    put(&tc, &a, 0, 1, 1000);
    put(&tc, &b, 0, 1, 1000);
    put(&tc, &b, 1, 1, 1000);
    tailcache_resize(&tc, tc.bytes);
    assert_int_equal(a.n, 1);
    tailcache_resize(&tc, tc.bytes - 1); /* the oldest has to go */
    assert_int_equal(a.n, 0);
    assert_int_equal(b.n, 2);
    tailcache_resize(&tc, 0);
    assert_int_equal(b.n, 0);
    assert_int_equal(tc.bytes, 0);
    put(&tc, &b, 2, 1, 1000);
    assert_int_equal(b.n, 0);
    tailcache_resize(&tc, 100000);
    put(&tc, &b, 3, 1, 1000);
    assert_int_equal(b.n, 1);
    tail_fini(&tc, &b);
}

static void test_no_holes(void **state)
{
    struct tailcache tc;
    struct tail t = {0};
    (void)state;

    tailcache_init(&tc, 10000);
    put(&tc, &t, 0, 2, 10);
    put(&tc, &t, 5, 2, 10); /* 2..4 never came */
    assert_int_equal(t.n, 1);
    assert_int_equal(tail_find(&t, 0), -1);
    assert_int_equal(tail_find(&t, 5), 0);
    tail_fini(&tc, &t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_find),
        cmocka_unit_test(test_budget_takes_the_oldest_of_all),
        cmocka_unit_test(test_another_budget),
        cmocka_unit_test(test_no_holes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
