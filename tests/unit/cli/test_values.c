#include "tests/lib/test.h"

#include <string.h>

#include "client/cli/values.h"

#define NONE INT64_MIN

static int64_t with(bool (*fn)(const char *s, int64_t *out), const char *s)
{
    int64_t v = NONE;
    bool ok = fn(s, &v);
    assert_int_equal(ok, v != NONE); /* untouched on failure */
    return v;
}

static void counts(void **state)
{
    (void)state;
    assert_int_equal(with(value_count, "0"), 0);
    assert_int_equal(with(value_count, "007"), 7);
    assert_int_equal(with(value_count, "9007199254740992"), VALUE_COUNT_MAX);
    assert_int_equal(with(value_count, "9007199254740993"), NONE);
    assert_int_equal(with(value_count, "99999999999999999999999"), NONE);
    assert_int_equal(with(value_count, ""), NONE);
    assert_int_equal(with(value_count, "-1"), NONE);
    assert_int_equal(with(value_count, "1 "), NONE);
    assert_int_equal(with(value_count, " 1"), NONE);
}

static void sizes(void **state)
{
    (void)state;
    assert_int_equal(with(value_size, "100"), 100);
    assert_int_equal(with(value_size, "100b"), 100);
    assert_int_equal(with(value_size, "4k"), 4096);
    assert_int_equal(with(value_size, "4K"), 4096);
    assert_int_equal(with(value_size, "2kb"), 2048);
    assert_int_equal(with(value_size, "1MiB"), 1 << 20);
    assert_int_equal(with(value_size, "8t"), INT64_C(8) << 40);
    assert_int_equal(with(value_size, "8193t"), NONE);
    assert_int_equal(with(value_size, "1x"), NONE);
    assert_int_equal(with(value_size, "1kk"), NONE);
    assert_int_equal(with(value_size, "1ib"), NONE);
    assert_int_equal(with(value_size, "k"), NONE);
}

static void durations(void **state)
{
    (void)state;
    assert_int_equal(with(value_duration, "10"), 10000);
    assert_int_equal(with(value_duration, "500ms"), 500);
    assert_int_equal(with(value_duration, "0.5s"), 500);
    assert_int_equal(with(value_duration, "1h30m"), 5400000);
    assert_int_equal(with(value_duration, "7d"), 604800000);
    assert_int_equal(with(value_duration, "0"), 0);
    assert_int_equal(with(value_duration, ""), NONE);
    assert_int_equal(with(value_duration, "h"), NONE);
    assert_int_equal(with(value_duration, "1h30"), NONE);
    assert_int_equal(with(value_duration, "1 h"), NONE);
    assert_int_equal(with(value_duration, "9007199254740992"), NONE);
    assert_int_equal(with(value_duration, "9007199254740992d"), NONE);
}

static void rates(void **state)
{
    double v = 0;
    (void)state;
    assert_true(value_rate("1000", &v) && v == 1000);
    assert_true(value_rate("5/s", &v) && v == 5);
    assert_false(value_rate("0", &v));
    assert_false(value_rate("5/m", &v));
    assert_false(value_rate("1000000001", &v));
    assert_true(v == 5);
}

static void texts(void **state)
{
    char t[32];
    (void)state;
    assert_string_equal(text_count(t, sizeof t, 0), "0");
    assert_string_equal(text_count(t, sizeof t, 999), "999");
    assert_string_equal(text_count(t, sizeof t, 1000), "1,000");
    assert_string_equal(text_count(t, sizeof t, -1234567), "-1,234,567");
    assert_string_equal(text_count(t, sizeof t, INT64_MAX), "9,223,372,036,854,775,807");
    assert_string_equal(text_bytes(t, sizeof t, 0), "0 B");
    assert_string_equal(text_bytes(t, sizeof t, 999), "999 B");
    assert_string_equal(text_bytes(t, sizeof t, 1000), "1.00 kB");
    assert_string_equal(text_bytes(t, sizeof t, 999999), "1.00 MB");
    assert_string_equal(text_bytes(t, sizeof t, 12.34e9), "12.3 GB");
    assert_string_equal(text_nanos(t, sizeof t, 845), "845 ns");
    assert_string_equal(text_nanos(t, sizeof t, 12340), "12.3 us");
    assert_string_equal(text_nanos(t, sizeof t, 999999), "1.00 ms");
    assert_string_equal(text_nanos(t, sizeof t, INT64_C(90000000000)), "90.0 s");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(counts), cmocka_unit_test(sizes), cmocka_unit_test(durations),
        cmocka_unit_test(rates),  cmocka_unit_test(texts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
