/* The heap of timers against a sorted list. */
#include <stdlib.h>

#include "broker/core/timers.h"
#include "tests/lib/test.h"

enum { N = 200 };

struct alarm {
    struct timer t; /* first */
    int64_t due;    /* -1: not set */
    uint64_t order;
    int fired;
};

static struct timers ts;
static struct alarm alarms[N];
static uint64_t orders;

static void on_fire(struct timer *t)
{
    struct alarm *a = (struct alarm *)(void *)t;

    assert_false(timer_is_set(t));
    /* Nobody that is set should have come before. */
    for (int i = 0; i < N; i++) {
        if (alarms[i].due >= 0) {
            assert_true(alarms[i].due > a->due ||
                        (alarms[i].due == a->due && alarms[i].order >= a->order));
        }
    }
    a->due = -1;
    a->fired++;
}

static void set(struct alarm *a, int64_t due)
{
    a->t.fire = on_fire;
    a->due = due;
    a->order = orders++;
    timer_set(&ts, &a->t, due);
}

static void test_against_a_list(void **state)
{
    uint64_t seed = 1;
    int64_t now = 0;
    (void)state;

    for (int i = 0; i < N; i++) {
        alarms[i].due = -1;
    }
    for (int step = 0; step < 20000; step++) {
        seed = seed * UINT64_C(6364136223846793005) + 1;
        struct alarm *a = &alarms[(seed >> 33) % N];
        switch ((seed >> 50) % 8) {
        case 0:
            timer_unset(&ts, &a->t);
            a->due = -1;
            break;
        case 1:
            now += (int64_t)((seed >> 20) % 20);
            (void)timers_run(&ts, now, (seed >> 10) % 4 == 0 ? 1 : N);
            break;
        default:
            set(a, now + (int64_t)((seed >> 20) % 64));
            break;
        }
        int64_t first = INT64_MAX;
        for (int i = 0; i < N; i++) {
            assert_true(timer_is_set(&alarms[i].t) == (alarms[i].due >= 0));
            if (alarms[i].due >= 0 && alarms[i].due < first) {
                first = alarms[i].due;
            }
        }
        assert_true(timers_next(&ts) == first);
    }
    timers_fini(&ts);
}

static struct alarm pair[2];

static void fire_sets_and_unsets(struct timer *t)
{
    (void)t;
    timer_unset(&ts, &pair[1].t);
    timer_set(&ts, t, 100);
}

static void test_firing_may_change_the_heap(void **state)
{
    (void)state;
    pair[0].t.fire = fire_sets_and_unsets;
    pair[1].t.fire = on_fire;
    pair[1].fired = 0;
    timer_set(&ts, &pair[0].t, 5);
    timer_set(&ts, &pair[1].t, 5);
    assert_int_equal(timers_run(&ts, 5, 10), 1);
    assert_int_equal(pair[1].fired, 0);
    assert_int_equal(timers_next(&ts), 100);
    timer_unset(&ts, &pair[0].t);
    timer_unset(&ts, &pair[0].t); /* allowed */
    assert_true(timers_next(&ts) == INT64_MAX);
    timers_fini(&ts);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_against_a_list),
        cmocka_unit_test(test_firing_may_change_the_heap),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
