#include "tests/lib/test.h"

#include <string.h>

#include "client/cli/seekspec.h"

enum { NOW_MS = 10 * 3600 * 1000 };

static void parsed(const char *text, enum seek_kind kind, int64_t value)
{
    struct seek_spec s = {SEEK_EARLIEST, -1};
    if (!seek_spec_parse(text, NOW_MS, &s)) {
        fail_msg("'%s' was refused", text);
    }
    assert_int_equal(s.kind, kind);
    assert_int_equal(s.value, value);
}

static void specs(void **state)
{
    (void)state;
    parsed("earliest", SEEK_EARLIEST, 0);
    parsed("latest", SEEK_LATEST, 0);
    parsed("0", SEEK_OFFSET, 0);
    parsed("1500", SEEK_OFFSET, 1500);
    parsed("-1", SEEK_BACK, 1);
    parsed("-100", SEEK_BACK, 100);
    parsed("-0", SEEK_BACK, 0);
    parsed("-1h", SEEK_TIME, NOW_MS - 3600 * 1000);
    parsed("-1h30m", SEEK_TIME, NOW_MS - 5400 * 1000);
    parsed("-500ms", SEEK_TIME, NOW_MS - 500);
    parsed("@-1h", SEEK_TIME, NOW_MS - 3600 * 1000);
    parsed("@12345", SEEK_TIME, 12345);
    parsed("@1970-01-01T00:00:02Z", SEEK_TIME, 2000);
    parsed("@now", SEEK_TIME, NOW_MS);
}

static void no_specs(void **state)
{
    static const char *const wrong[] = {"",
                                        "-",
                                        "--1",
                                        "-1x",
                                        "-h",
                                        "+5",
                                        "1h",
                                        "@",
                                        "@soon",
                                        "Earliest",
                                        "1.5",
                                        "-1.5",
                                        "-11h" /* before 1970 */,
                                        "yesterday",
                                        "@+1h"};
    (void)state;
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        struct seek_spec s = {SEEK_LATEST, 7};
        if (seek_spec_parse(wrong[i], NOW_MS, &s)) {
            fail_msg("'%s' was taken", wrong[i]);
        }
        assert_int_equal(s.kind, SEEK_LATEST); /* untouched */
        assert_int_equal(s.value, 7);
    }
}

static void offsets(void **state)
{
    const int64_t position = 500;
    const int64_t start = 450;
    const int64_t end = 900;
    (void)state;
    assert_int_equal(seek_spec_offset(&(struct seek_spec){SEEK_EARLIEST, 0}, position, start, end),
                     start);
    assert_int_equal(seek_spec_offset(&(struct seek_spec){SEEK_LATEST, 0}, position, start, end),
                     end);
    assert_int_equal(seek_spec_offset(&(struct seek_spec){SEEK_BACK, 20}, position, start, end),
                     480);
    assert_int_equal(seek_spec_offset(&(struct seek_spec){SEEK_BACK, 51}, position, start, end),
                     start);
    assert_int_equal(
        seek_spec_offset(&(struct seek_spec){SEEK_BACK, INT64_C(1) << 53}, position, start, end),
        start);
    /* not clamped: the server refuses what is out of range and says so */
    assert_int_equal(seek_spec_offset(&(struct seek_spec){SEEK_OFFSET, 901}, position, start, end),
                     901);
}

static void position_is(const char *line, const char *topic, int32_t partition, int64_t offset)
{
    struct position p;
    assert_int_equal(position_parse(line, strlen(line), &p), POSITION_OK);
    assert_string_equal(p.topic, topic);
    assert_int_equal(p.partition, partition);
    assert_int_equal(p.offset, offset);
}

static void position_lines(void **state)
{
    static const char *const none[] = {"", "  \t", "# a comment", "  # too", "\r"};
    static const char *const bad[] = {"orders",       "orders 1",    "orders 1 2 3",
                                      "orders x 2",   "orders 1 -2", "orders -1 2",
                                      "orders 1 2.5", "orders 1 2x", "orders 4294967296 1"};
    struct position p;
    (void)state;
    position_is("orders 3 1500", "orders", 3, 1500);
    position_is("  orders\t3   1500 \r", "orders", 3, 1500);
    position_is("orders~mail~dlq 0 0", "orders~mail~dlq", 0, 0);
    for (size_t i = 0; i < sizeof none / sizeof none[0]; i++) {
        assert_int_equal(position_parse(none[i], strlen(none[i]), &p), POSITION_NONE);
    }
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        if (position_parse(bad[i], strlen(bad[i]), &p) != POSITION_BAD) {
            fail_msg("'%s' was taken", bad[i]);
        }
    }
    assert_int_equal(position_parse("a\0b 1 2", 7, &p), POSITION_BAD);
    assert_int_equal(position_parse("a 1 2\0", 6, &p), POSITION_BAD);
}

static void a_long_topic(void **state)
{
    char line[POSITION_TOPIC_MAX + 16];
    struct position p;
    (void)state;
    memset(line, 'x', sizeof line);
    memcpy(line + POSITION_TOPIC_MAX - 1, " 1 2", 5);
    assert_int_equal(position_parse(line, strlen(line), &p), POSITION_OK);
    memset(line, 'x', sizeof line);
    memcpy(line + POSITION_TOPIC_MAX, " 1 2", 5);
    assert_int_equal(position_parse(line, strlen(line), &p), POSITION_BAD);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(specs),          cmocka_unit_test(no_specs),     cmocka_unit_test(offsets),
        cmocka_unit_test(position_lines), cmocka_unit_test(a_long_topic),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
