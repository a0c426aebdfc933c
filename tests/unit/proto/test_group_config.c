#include <stdlib.h>

#include "proto/mpwrite.h"
#include "proto/msg_group.h"
#include "tests/lib/test.h"

static struct group_config defaults(enum msg_group_mode mode)
{
    struct group_config c;

    group_config_defaults(&c, mode);
    return c;
}

static void test_defaults(void **state)
{
    const struct group_config q = defaults(GROUP_MODE_QUEUE), l = defaults(GROUP_MODE_LOG);

    (void)state;
    assert_int_equal(q.set, 0);
    assert_int_equal(q.max_rate, 0);
    assert_int_equal(q.max_concurrency, 100000);
    assert_int_equal(q.member_max, 1000);
    assert_int_equal(q.max_deliver, 16);
    assert_int_equal(q.backoff_ms, 1000);
    assert_int_equal(q.backoff_max_ms, 600000);
    assert_int_equal(q.max_processing_ms, 900000);
    assert_int_equal(q.paused_until_ms, 0);
    assert_int_equal(q.ramp_ms, 10000);
    assert_int_equal(q.order, GROUP_ORDER_NONE);
    assert_int_equal(l.set, 0);
    assert_int_equal(l.max_processing_ms, 0); /* who computes for an hour keeps its partitions */
    assert_int_equal(l.max_deliver, q.max_deliver);
}

static void test_text_and_ranges(void **state)
{
    static const struct {
        const char *key, *value;
        bool ok;
    } rows[] = {
        {"max_rate", "0", true},
        {"max_rate", "500", true},
        {"max_rate", "500/s", true},
        {"max_rate", "10000000", true},
        {"max_rate", "10000001", false},
        {"max_rate", "500/m", false},
        {"max_rate", "500s", false},
        {"max_rate", "-1", false},
        {"max_concurrency", "1", true},
        {"max_concurrency", "0", false},
        {"max_concurrency", "1000000", true},
        {"max_concurrency", "1000001", false},
        {"max_concurrency", "100k", false},
        {"member_max", "1", true},
        {"member_max", "0", false},
        {"member_max", "1000000", true},
        {"member_max", "1000001", false},
        {"max_deliver", "0", true},
        {"max_deliver", "1000", true},
        {"max_deliver", "1001", false},
        {"backoff_ms", "0", true},
        {"backoff_ms", "30s", true},
        {"backoff_ms", "1h", true},
        {"backoff_ms", "3600001", false},
        {"backoff_max_ms", "0", false},
        {"backoff_max_ms", "1", true},
        {"backoff_max_ms", "12h", true},
        {"backoff_max_ms", "43200001", false},
        {"max_processing_ms", "0", true},
        {"max_processing_ms", "1", false},
        {"max_processing_ms", "999", false},
        {"max_processing_ms", "1000", true},
        {"max_processing_ms", "15m", true},
        {"max_processing_ms", "12h", true},
        {"max_processing_ms", "43200001", false},
        {"ramp_ms", "0", true},
        {"ramp_ms", "3600000", true},
        {"ramp_ms", "3600001", false},
        {"paused_until", "0", true},
        {"paused_until", "1798000000000", true},
        {"paused_until", "forever", true},
        {"paused_until", "9007199254740991", true},
        {"paused_until", "9007199254740992", false},
        {"paused_until", "tomorrow", false},
        {"paused_until", "5s", false},
        {"order", "none", true},
        {"order", "key", true},
        {"order", "KEY", false},
        {"mode", "log", false},
        {"", "1", false},
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct group_config c = defaults(GROUP_MODE_QUEUE);
        struct werror e = {0};
        enum werr rc = group_config_set(&c, rows[i].key, rows[i].value, &e);

        if ((rc == WERR_OK) != rows[i].ok) {
            print_error("%s = %s: %s\n", rows[i].key, rows[i].value, e.text);
        }
        assert_int_equal(rc, rows[i].ok ? WERR_OK : WERR_INVALID_CONFIG);
        assert_int_equal(c.set != 0, rows[i].ok);
        assert_true(rows[i].ok || strstr(e.text, rows[i].key) != NULL);
        assert_true(rows[i].ok || strstr(e.text, rows[i].value) != NULL ||
                    strstr(e.text, "unknown group setting") != NULL);
    }
}

static void test_units(void **state)
{
    struct group_config c = defaults(GROUP_MODE_QUEUE);

    (void)state;
    assert_int_equal(group_config_set(&c, "max_rate", "500/s", NULL), WERR_OK);
    assert_int_equal(c.max_rate, 500);
    assert_int_equal(group_config_set(&c, "backoff_ms", "30s", NULL), WERR_OK);
    assert_int_equal(c.backoff_ms, 30000);
    assert_int_equal(group_config_set(&c, "max_processing_ms", "15m", NULL), WERR_OK);
    assert_int_equal(c.max_processing_ms, 900000);
    assert_int_equal(group_config_set(&c, "backoff_max_ms", "12h", NULL), WERR_OK);
    assert_int_equal(c.backoff_max_ms, 43200000);
    assert_int_equal(group_config_set(&c, "paused_until", "forever", NULL), WERR_OK);
    assert_true(c.paused_until_ms == LIMIT_UINT);
    assert_int_equal(group_config_set(&c, "order", "key", NULL), WERR_OK);
    assert_int_equal(c.order, GROUP_ORDER_KEY);
}

static void test_every_key_round_trips(void **state)
{
    static const char *const values[] = {"7",  "8",    "9",  "10", "11",
                                         "12", "1300", "14", "15", "key"};
    const char *const *keys = group_config_keys();
    struct buf b = {0};
    size_t i;

    (void)state;
    for (i = 0; keys[i] != NULL; i++) {
        struct group_config c = defaults(GROUP_MODE_LOG), got = c, merged = c;
        struct mpread r;

        assert_true(i < sizeof values / sizeof values[0]);
        assert_int_equal(group_config_set(&c, keys[i], values[i], NULL), WERR_OK);
        assert_int_equal(c.set, 1U << i);
        buf_clear(&b);
        group_config_put(&b, &c, false);
        mpread_init(&r, b.p, b.len);
        assert_int_equal(mpread_map(&r), 1);
        mpread_init(&r, b.p, b.len);
        assert_int_equal(group_config_get(&r, true, &got, NULL), WERR_OK);
        assert_true(mpread_done(&r));
        assert_memory_equal(&got, &c, sizeof c);
        group_config_merge(&merged, &c);
        assert_memory_equal(&merged, &c, sizeof c);
        /* all keys: the same values, every bit set */
        buf_clear(&b);
        group_config_put(&b, &c, true);
        mpread_init(&r, b.p, b.len);
        got = defaults(GROUP_MODE_QUEUE);
        assert_int_equal(group_config_get(&r, true, &got, NULL), WERR_OK);
        assert_int_equal(got.set, 0x3ff);
        got.set = c.set;
        assert_memory_equal(&got, &c, sizeof c);
    }
    assert_int_equal(i, sizeof values / sizeof values[0]);
    buf_fini(&b);
}

static enum werr get(bool strict, const char *p, size_t n, struct group_config *c)
{
    struct mpread r;
    struct werror e;

    *c = defaults(GROUP_MODE_QUEUE);
    mpread_init(&r, p, n);
    return group_config_get(&r, strict, c, &e);
}
#define GET(strict, s) get(strict, "" s, sizeof(s) - 1, &c)

static void test_strict_and_lenient(void **state)
{
    struct group_config c;

    (void)state;
    assert_int_equal(GET(true, "\x81\xa3new\x01"), WERR_UNSUPPORTED_FIELD);
    assert_int_equal(GET(false, "\x82\xa3new\x92\x01\x02\xa8max_rate\x05"), WERR_OK);
    assert_int_equal(c.max_rate, 5);
    assert_int_equal(GET(true, "\x81\xa5order\xa5topic"), WERR_INVALID_CONFIG);
    assert_int_equal(GET(false, "\x81\xa5order\xa5topic"), WERR_OK);
    assert_int_equal(c.set, 0);
    assert_int_equal(GET(true, "\x82\xa8max_rate\x05\xa8max_rate\x05"), WERR_MALFORMED);
    assert_int_equal(GET(true, "\x81\xa8max_rate\xa3"
                               "9/s"),
                     WERR_OK);
    assert_int_equal(c.max_rate, 9);
    assert_int_equal(GET(true, "\x81\xa8max_rate\xff"), WERR_INVALID_CONFIG);
    assert_int_equal(GET(true, "\x81\xa5order\x01"), WERR_INVALID_CONFIG);
    assert_int_equal(GET(true, "\x90"), WERR_MALFORMED);
    assert_int_equal(GET(true, "\x80"), WERR_OK);
}

static void test_truncated_prefixes(void **state)
{
    struct group_config c = defaults(GROUP_MODE_QUEUE);
    struct buf b = {0};

    (void)state;
    group_config_put(&b, &c, true);
    for (size_t n = 0; n < b.len; n++) {
        uint8_t *exact = malloc(n + 1);

        assert_non_null(exact);
        memcpy(exact + 1, b.p, n);
        assert_int_not_equal(get(true, (char *)exact + 1, n, &c), WERR_OK);
        assert_int_not_equal(get(false, (char *)exact + 1, n, &c), WERR_OK);
        free(exact);
    }
    buf_fini(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_defaults),
        cmocka_unit_test(test_text_and_ranges),
        cmocka_unit_test(test_units),
        cmocka_unit_test(test_every_key_round_trips),
        cmocka_unit_test(test_strict_and_lenient),
        cmocka_unit_test(test_truncated_prefixes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
