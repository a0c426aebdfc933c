#include "tests/lib/test.h"

#include <math.h>
#include <stdlib.h>

#include "client/cli/histogram.h"

static uint64_t next_random(uint64_t *x)
{
    *x ^= *x << 13;
    *x ^= *x >> 7;
    *x ^= *x << 17;
    return *x;
}

static int compare(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a;
    int64_t y = *(const int64_t *)b;
    return x < y ? -1 : x > y;
}

enum { VALUES = 200000 };

/* Fills both, then compares all percentiles with those of the sorted values. */
static void check_against_exact(int64_t (*make)(uint64_t *x))
{
    static const double percents[] = {0, 1, 10, 25, 50, 75, 90, 99, 99.9, 99.99, 100};
    struct histogram *h = histogram_new();
    int64_t *v = malloc(VALUES * sizeof *v);
    uint64_t x = 88172645463325252;
    assert_non_null(h);
    assert_non_null(v);
    for (int i = 0; i < VALUES; i++) {
        v[i] = make(&x);
        histogram_add(h, v[i]);
    }
    qsort(v, VALUES, sizeof *v, compare);
    for (size_t i = 0; i < sizeof percents / sizeof percents[0]; i++) {
        double rank = ceil(percents[i] * VALUES / 100);
        int64_t exact = v[rank < 1 ? 0 : (size_t)rank - 1];
        int64_t got = histogram_percentile(h, percents[i]);
        if (got < exact || (double)(got - exact) > (double)exact / 1024) {
            fail_msg("p%g: %lld, exactly %lld", percents[i], (long long)got, (long long)exact);
        }
    }
    assert_int_equal(h->min, v[0]);
    assert_int_equal(h->max, v[VALUES - 1]);
    assert_int_equal(histogram_percentile(h, 100), v[VALUES - 1]);
    assert_int_equal(h->count, VALUES);
    free(v);
    histogram_free(h);
}

static int64_t small(uint64_t *x)
{
    return (int64_t)(next_random(x) % 3000);
}

static int64_t wide(uint64_t *x)
{
    return (int64_t)(next_random(x) >> (22 + next_random(x) % 42));
}

static int64_t like_latency(uint64_t *x)
{
    uint64_t r = next_random(x);
    return (int64_t)(200000 + r % 50000 + (r % 1000 == 0 ? next_random(x) % 800000000 : 0));
}

static void error_is_bounded(void **state)
{
    (void)state;
    check_against_exact(small);
    check_against_exact(wide);
    check_against_exact(like_latency);
}

/* Values next to each power of two: the cell's upper end is not below, and at most 0.1 % above. */
static void every_boundary(void **state)
{
    (void)state;
    for (int bit = 0; bit < HISTOGRAM_TOP_BITS; bit++) {
        for (int64_t d = -1; d <= 1; d++) {
            struct histogram *h = histogram_new();
            int64_t v = (INT64_C(1) << bit) + d;
            histogram_add(h, v);
            histogram_add(h, INT64_C(1) << 45);
            int64_t got = histogram_percentile(h, 50);
            assert_true(got >= v && got - v <= v / 1024);
            histogram_free(h);
        }
    }
}

static void edges(void **state)
{
    struct histogram *h = histogram_new();
    (void)state;
    assert_int_equal(histogram_percentile(h, 50), 0);
    assert_true(histogram_mean(h) == 0);
    histogram_add(h, -5);
    assert_int_equal(histogram_percentile(h, 50), 0);
    histogram_add(h, INT64_MAX);
    assert_int_equal(histogram_percentile(h, 100), INT64_MAX);
    assert_int_equal(h->count, 2);
    histogram_free(h);
}

/* 1 to 1000 once each: p99.9 is 999, whatever binary fractions do. */
static void ranks_are_exact(void **state)
{
    struct histogram *h = histogram_new();
    (void)state;
    for (int i = 1; i <= 1000; i++) {
        histogram_add(h, i);
    }
    assert_int_equal(histogram_percentile(h, 99.9), 999);
    assert_int_equal(histogram_percentile(h, 99), 990);
    assert_int_equal(histogram_percentile(h, 50), 500);
    assert_int_equal(histogram_percentile(h, 0), 1);
    assert_true(histogram_mean(h) == 500.5);
    histogram_free(h);
}

static void merging_adds(void **state)
{
    struct histogram *a = histogram_new();
    struct histogram *b = histogram_new();
    struct histogram *all = histogram_new();
    uint64_t x = 1;
    (void)state;
    for (int i = 0; i < 1000; i++) {
        int64_t v = wide(&x) + 7; /* never 0, which is what an empty one has */
        histogram_add(i % 3 ? a : b, v);
        histogram_add(all, v);
    }
    histogram_merge(a, b);
    assert_int_equal(a->count, all->count);
    assert_int_equal(a->min, all->min);
    assert_int_equal(a->max, all->max);
    assert_memory_equal(a->cells, all->cells, sizeof all->cells);
    histogram_free(b);
    b = histogram_new();
    histogram_merge(a, b); /* an empty one changes nothing */
    assert_int_equal(a->min, all->min);
    histogram_merge(b, all); /* into an empty one */
    assert_int_equal(b->min, all->min);
    histogram_free(a);
    histogram_free(b);
    histogram_free(all);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(error_is_bounded),
        cmocka_unit_test(every_boundary),
        cmocka_unit_test(edges),
        cmocka_unit_test(ranks_are_exact),
        cmocka_unit_test(merging_adds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
