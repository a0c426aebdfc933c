#include "broker/core/walltime.h"

#include "tests/lib/test.h"

static const int64_t SECOND_NS = 1000000000;
static const int64_t START_MS = INT64_C(1700000000000);

static void test_small_steps_are_followed(void **state)
{
    struct walltime w;
    (void)state;

    walltime_init(&w, 0, START_MS);
    assert_int_equal(walltime_look(&w, SECOND_NS, START_MS + 1000 + 59999), WALLTIME_SAME);
    assert_int_equal(walltime_ms(&w, SECOND_NS), START_MS + 60999);
    assert_int_equal(walltime_look(&w, 2 * SECOND_NS, START_MS + 2000), WALLTIME_SAME);
    assert_int_equal(walltime_ms(&w, 3 * SECOND_NS), START_MS + 3000);
}

static void test_a_jump_freezes_and_goes_back(void **state)
{
    const int64_t jump_ms = INT64_C(10) * 365 * 86400 * 1000;
    struct walltime w;
    (void)state;

    walltime_init(&w, 0, START_MS);
    assert_int_equal(walltime_look(&w, SECOND_NS, START_MS + jump_ms), WALLTIME_FROZEN);
    assert_true(w.frozen);
    assert_int_equal(walltime_ms(&w, 5 * SECOND_NS), START_MS + 5000);
    assert_int_equal(walltime_look(&w, 9 * SECOND_NS, START_MS + 9000), WALLTIME_BACK);
    assert_false(w.frozen);
    assert_int_equal(walltime_look(&w, 9 * SECOND_NS, START_MS - 60001 + 9000), WALLTIME_FROZEN);
}

static void test_believed_after_a_stable_hour(void **state)
{
    const int64_t jump_ms = 7200000;
    struct walltime w;
    (void)state;

    walltime_init(&w, 0, START_MS);
    assert_int_equal(walltime_look(&w, 0, START_MS + jump_ms), WALLTIME_FROZEN);
    for (int64_t s = 60; s < 3600; s += 60) {
        assert_int_equal(walltime_look(&w, s * SECOND_NS, START_MS + jump_ms + s * 1000),
                         WALLTIME_SAME);
        assert_true(w.frozen);
    }
    assert_int_equal(walltime_look(&w, 3600 * SECOND_NS, START_MS + jump_ms + 3600000),
                     WALLTIME_BELIEVED);
    assert_int_equal(walltime_ms(&w, 3600 * SECOND_NS), START_MS + jump_ms + 3600000);
}

static void test_another_jump_starts_the_hour_again(void **state)
{
    struct walltime w;
    (void)state;

    walltime_init(&w, 0, START_MS);
    (void)walltime_look(&w, 0, START_MS + 7200000);
    assert_int_equal(walltime_look(&w, 3599 * SECOND_NS, START_MS + 99999999), WALLTIME_SAME);
    assert_int_equal(walltime_look(&w, 3601 * SECOND_NS, START_MS + 99999999 + 2000),
                     WALLTIME_SAME);
    assert_true(w.frozen);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_small_steps_are_followed),
        cmocka_unit_test(test_a_jump_freezes_and_goes_back),
        cmocka_unit_test(test_believed_after_a_stable_hour),
        cmocka_unit_test(test_another_jump_starts_the_hour_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
