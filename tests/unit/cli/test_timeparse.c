#include "tests/lib/test.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#include "client/cli/timeparse.h"

#define NOW INT64_C(1769860800000) /* 2026-01-31T12:00:00Z */
#define NONE INT64_MIN

static int64_t parsed(const char *s)
{
    int64_t ms = NONE;
    bool ok = time_parse(s, NOW, &ms);
    assert_int_equal(ok, ms != NONE);
    return ms;
}

static void rfc3339(void **state)
{
    (void)state;
    assert_int_equal(parsed("2026-01-31T12:00:00Z"), NOW);
    assert_int_equal(parsed("2026-01-31t12:00:00z"), NOW);
    assert_int_equal(parsed("2026-01-31 12:00:00Z"), NOW);
    assert_int_equal(parsed("2026-01-31T14:00:00+02:00"), NOW);
    assert_int_equal(parsed("2026-01-31T06:30:00-0530"), NOW);
    assert_int_equal(parsed("2026-01-31T12:00:00.5Z"), NOW + 500);
    assert_int_equal(parsed("2026-01-31T12:00:00.123999Z"), NOW + 123);
    assert_int_equal(parsed("1970-01-01T00:00:00Z"), 0);
    assert_int_equal(parsed("2024-02-29T00:00:00Z"), INT64_C(1709164800000));
    assert_int_equal(parsed("2000-02-29T00:00:00Z"), INT64_C(951782400000));
    assert_int_equal(parsed("2016-12-31T23:59:60Z"), parsed("2017-01-01T00:00:00Z"));
}

static void not_times(void **state)
{
    static const char *const bad[] = {"",
                                      "yesterday",
                                      "2026-01-31",
                                      "2026-01-31T12:00:00",
                                      "2026-01-31T12:00Z",
                                      "2026-13-01T00:00:00Z",
                                      "2026-00-01T00:00:00Z",
                                      "2026-02-29T00:00:00Z",
                                      "2100-02-29T00:00:00Z",
                                      "2026-01-32T00:00:00Z",
                                      "2026-01-00T00:00:00Z",
                                      "2026-01-31T24:00:00Z",
                                      "2026-01-31T12:60:00Z",
                                      "2026-01-31T12:00:61Z",
                                      "2026-01-31T12:00:00.Z",
                                      "2026-01-31T12:00:00Zx",
                                      "2026-01-31T12:00:00+24:00",
                                      "2026-01-31T12:00:00+2:00",
                                      "1969-12-31T23:59:59Z",
                                      "1970-01-01T00:00:00+01:00",
                                      "-",
                                      "-1",
                                      "-h",
                                      "- 1h",
                                      "+1h",
                                      "-99999d",
                                      "12:00",
                                      "1.5",
                                      "99999999999999999999"};
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        int64_t ms = NONE;
        if (time_parse(bad[i], NOW, &ms) || ms != NONE) {
            fail_msg("accepted: %s", bad[i]);
        }
    }
}

static void milliseconds_and_relative(void **state)
{
    (void)state;
    assert_int_equal(parsed("0"), 0);
    assert_int_equal(parsed("1769860800000"), NOW);
    assert_int_equal(parsed("now"), NOW);
    assert_int_equal(parsed("-1h"), NOW - 3600000);
    assert_int_equal(parsed("-1h30m"), NOW - 5400000);
    assert_int_equal(parsed("-2d"), NOW - 2 * INT64_C(86400000));
}

static void times_to_come(void **state)
{
    static const char *const wrong[] = {"", "-1h", "soon", "now", "10x", "2026-02-30T00:00:00Z"};
    int64_t ms = 0;
    (void)state;
    assert_true(time_parse_ahead("10m", NOW, &ms));
    assert_int_equal(ms, NOW + 600000);
    assert_true(time_parse_ahead("1h30m", NOW, &ms));
    assert_int_equal(ms, NOW + 5400000);
    assert_true(time_parse_ahead("1769860800000", NOW, &ms));
    assert_int_equal(ms, NOW);
    assert_true(time_parse_ahead("2026-01-31T12:00:01Z", NOW, &ms));
    assert_int_equal(ms, NOW + 1000);
    assert_true(time_parse_ahead("10", NOW, &ms)); /* milliseconds since 1970, not seconds */
    assert_int_equal(ms, 10);
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        ms = 7;
        assert_false(time_parse_ahead(wrong[i], NOW, &ms));
        assert_int_equal(ms, 7);
    }
}

/* Against the C library, over days of 400 years and a bit. */
static void texts_agree_with_gmtime(void **state)
{
    char text[TIME_TEXT_MAX];
    char expected[64];
    (void)state;
    for (int64_t day = 0; day < 150000; day++) {
        int64_t s = day * 86400 + day % 86400;
        int64_t ms = 0;
        time_t t = (time_t)s;
        struct tm tm;
        gmtime_r(&t, &tm);
        size_t n = strftime(expected, sizeof expected, "%Y-%m-%dT%H:%M:%S", &tm);
        snprintf(expected + n, sizeof expected - n, ".%03dZ", (int)(day % 1000));
        time_text(text, s * 1000 + day % 1000);
        if (strcmp(text, expected) != 0) {
            fail_msg("%s is not %s", text, expected);
        }
        assert_true(time_parse(text, 0, &ms));
        assert_int_equal(ms, s * 1000 + day % 1000);
    }
    assert_string_equal(time_text(text, -5), "-5");
    assert_string_equal(time_text(text, INT64_MAX), "9223372036854775807");
}

static void starts(void **state)
{
    struct start s;
    char text[32];
    (void)state;
    assert_true(start_parse("earliest", NOW, &s));
    assert_string_equal(start_text(&s, text, sizeof text), "earliest");
    assert_true(start_parse("latest", NOW, &s));
    assert_string_equal(start_text(&s, text, sizeof text), "latest");
    assert_true(start_parse("42", NOW, &s));
    assert_string_equal(start_text(&s, text, sizeof text), "42");
    assert_true(start_parse("@-1h", NOW, &s));
    assert_string_equal(start_text(&s, text, sizeof text), "@1769857200000");
    assert_true(start_parse("@2026-01-31T12:00:00Z", NOW, &s));
    assert_string_equal(start_text(&s, text, sizeof text), "@1769860800000");
    assert_false(start_parse("", NOW, &s));
    assert_false(start_parse("@", NOW, &s));
    assert_false(start_parse("-1", NOW, &s));
    assert_false(start_parse("-1h", NOW, &s));
    assert_false(start_parse("oldest", NOW, &s));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rfc3339),
        cmocka_unit_test(not_times),
        cmocka_unit_test(milliseconds_and_relative),
        cmocka_unit_test(times_to_come),
        cmocka_unit_test(texts_agree_with_gmtime),
        cmocka_unit_test(starts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
