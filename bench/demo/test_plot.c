/* Plots, numbers and series: what a person sees must be what was measured. */
#include "tests/lib/test.h"

#include <stdlib.h>
#include <string.h>

#include "bench/demo/plot.h"
#include "bench/demo/series.h"

static const char *row(const double *v, size_t n, double max, unsigned r, unsigned rows, bool ascii)
{
    static char buf[512];
    struct text t = {.buf = buf, .size = sizeof buf};

    plot_row(&t, v, n, max, r, rows, ascii);
    return buf;
}

static void test_plot_one_row(void **state)
{
    const double v[] = {0, 0.01, 4, 8, 6};

    (void)state;
    assert_string_equal(row(v, 5, 8, 0, 1, false), " ▁▄█▆");
    assert_string_equal(row(v, 5, 8, 0, 1, true), " .:#+");
    assert_string_equal(row(v, 5, 0, 0, 1, false), " ▁▁▁▁");
}

static void test_plot_two_rows(void **state)
{
    const double v[] = {0, 2, 8, 10, 16, 20};

    (void)state;
    assert_string_equal(row(v, 6, 16, 1, 2, false), "   ▂██");
    assert_string_equal(row(v, 6, 16, 0, 2, false), " ▂████");
}

static void test_text_never_overflows(void **state)
{
    const double v[] = {8, 8, 8, 8};
    char buf[8];
    struct text t = {.buf = buf, .size = sizeof buf};

    (void)state;
    plot_row(&t, v, 4, 8, 0, 1, false);
    assert_string_equal(buf, "██"); /* three bytes each: the third does not fit with its end */
}

static void test_bar(void **state)
{
    char buf[64];
    struct text t = {.buf = buf, .size = sizeof buf};

    (void)state;
    plot_bar(&t, 0.5, 4, true);
    plot_bar(&t, 7, 2, true);
    assert_string_equal(buf, "##..##");
}

static void test_numbers(void **state)
{
    char b[32];

    (void)state;
    assert_string_equal(short_number(b, 0), "0");
    assert_string_equal(short_number(b, 999), "999");
    assert_string_equal(short_number(b, 1000), "1.00 k");
    assert_string_equal(short_number(b, 99960), "100 k");
    assert_string_equal(short_number(b, 182340), "182 k");
    assert_string_equal(short_number(b, 999960), "1.00 M");
    assert_string_equal(short_bytes(b, 214000000), "214 MB");
    assert_string_equal(short_time(b, 0.00085), "850 us");
    assert_string_equal(short_time(b, 0.0123), "12.3 ms");
    assert_string_equal(short_time(b, 15.25), "15.2 s");
    assert_string_equal(long_number(b, 7), "7");
    assert_string_equal(long_number(b, 2000000), "2,000,000");
    assert_string_equal(long_number(b, 123456), "123,456");
}

/* Aligned as a mapping is. */
static struct board *new_board(void)
{
    struct board *b = aligned_alloc(64, sizeof *b);

    assert_non_null(b);
    memset(b, 0, sizeof *b);
    return b;
}

static void test_lag_is_the_age_of_the_oldest_unread(void **state)
{
    struct board *b = new_board();
    struct series *s = calloc(1, sizeof *s);
    const uint64_t sec = UINT64_C(1000000000);

    (void)state;
    series_begin(s, sec);
    assert_true(series_lag_s(s, b, 5 * sec) < 1e-9);
    b->acked_end[2] = 10;
    series_mark(s, b, 2 * sec);
    b->acked_end[2] = 30;
    series_mark(s, b, 4 * sec);
    b->acked_end[5] = 1;
    series_mark(s, b, 6 * sec);
    assert_float_equal(series_lag_s(s, b, 7 * sec), 5, 1e-6); /* offsets 0..9 are from second 2 */
    b->read_end[2] = 9;
    assert_float_equal(series_lag_s(s, b, 7 * sec), 5, 1e-6);
    b->read_end[2] = 10;
    assert_float_equal(series_lag_s(s, b, 7 * sec), 3, 1e-6);
    b->read_end[2] = 30;
    assert_float_equal(series_lag_s(s, b, 7 * sec), 1, 1e-6);
    b->read_end[5] = 1;
    assert_float_equal(series_lag_s(s, b, 7 * sec), 0, 1e-6);
    free(s);
    free(b);
}

static void test_samples_and_columns(void **state)
{
    struct board *b = new_board();
    struct series *s = calloc(1, sizeof *s);
    double columns[4];

    (void)state;
    series_begin(s, 0);
    for (uint64_t i = 1; i <= 4; i++) {
        b->producers[1].acked += 100 * i;
        b->consumers[0].delivered += 50;
        series_sample(s, b, 1000 * i, 7, i * SAMPLE_NS);
    }
    assert_float_equal(series_now(s, M_IN, 1), 1600, 1e-6);
    assert_float_equal(series_now(s, M_IN, 2), 1400, 1e-6);
    assert_float_equal(s->peak[M_OUT], 200, 1e-6);
    assert_float_equal(s->peak[M_BACKLOG], 800, 1e-6);
    assert_int_equal(series_columns(s, M_DISK, 2.0, columns, 4), 2); /* 2 samples a column */
    assert_float_equal(columns[0], 2000, 1e-6);
    assert_float_equal(columns[1], 4000, 1e-6);
    assert_int_equal(series_columns(s, M_DISK, 0.5, columns, 4), 4); /* 2 columns a sample */
    assert_float_equal(columns[1], 1000, 1e-6);
    assert_float_equal(columns[2], 2000, 1e-6);
    free(s);
    free(b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_plot_one_row),
        cmocka_unit_test(test_plot_two_rows),
        cmocka_unit_test(test_text_never_overflows),
        cmocka_unit_test(test_bar),
        cmocka_unit_test(test_numbers),
        cmocka_unit_test(test_lag_is_the_age_of_the_oldest_unread),
        cmocka_unit_test(test_samples_and_columns),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
