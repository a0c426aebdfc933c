#include <stdio.h>
#include <stdlib.h>

#include "proto/mpwrite.h"
#include "proto/msg.h"
#include "tests/lib/test.h"

static struct topic_config defaults(void)
{
    struct topic_config c;

    topic_config_defaults(&c);
    return c;
}

static void test_defaults(void **state)
{
    const struct topic_config c = defaults();

    (void)state;
    assert_int_equal(c.set, 0);
    assert_int_equal(c.partitions, 4);
    assert_true(c.retention_ms == UINT64_C(7) * 24 * 3600 * 1000);
    assert_true(c.retention_bytes == 0 && c.hold_bytes == 0);
    assert_int_equal(c.durability, TOPIC_DURABILITY_DISK);
    assert_int_equal(c.message_max_bytes, LIMIT_MESSAGE_DEFAULT);
    assert_int_equal(c.batch_max_records, 0);
    assert_int_equal(c.compression, TOPIC_COMPRESS_PRODUCER);
    assert_int_equal(c.validate, TOPIC_VALIDATE_RECORDS);
    assert_int_equal(c.unread, TOPIC_UNREAD_KEEP);
}

static void test_text(void **state)
{
    static const struct {
        const char *key, *value;
        bool ok;
    } rows[] = {
        {"partitions", "1", true},
        {"partitions", "1024", true},
        {"partitions", "1025", false},
        {"partitions", "0", false},
        {"partitions", "4k", false},
        {"partitions", "-1", false},
        {"partitions", " 4", false},
        {"partitions", "", false},
        {"partitions", "4x", false},
        {"retention.ms", "0", true},
        {"retention.ms", "7d", true},
        {"retention.ms", "3660d", true},
        {"retention.ms", "3661d", false},
        {"retention.ms", "90s", true},
        {"retention.ms", "5m", true},
        {"retention.ms", "5ms", true},
        {"retention.ms", "2h", true},
        {"retention.ms", "5k", false},
        {"retention", "1d", true},
        {"retention.bytes", "10G", true},
        {"retention.bytes", "9007199254740991", true},
        {"retention.bytes", "9007199254740992", false},
        {"retention.bytes", "99999999999999999999", false},
        {"retention.bytes", "99999999999T", false},
        {"durability", "disk", true},
        {"durability", "os", true},
        {"durability", "none", false},
        {"durability", "OS", false},
        {"message.max_bytes", "8M", true},
        {"message.max_bytes", "8388609", false},
        {"message.max_bytes", "0", false},
        {"batch.max_records", "65535", true},
        {"batch.max_records", "65536", false},
        {"compression", "zstd", true},
        {"compression", "lz4", false},
        {"validate", "header", true},
        {"retention.unread", "drop", true},
        {"hold.bytes", "1GiB", true},
        {"color", "red", false},
        {"", "1", false},
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct topic_config c = defaults();
        struct werror e = {0};
        enum werr rc = topic_config_set(&c, rows[i].key, rows[i].value, &e);

        if ((rc == WERR_OK) != rows[i].ok) {
            print_error("%s = %s: %s\n", rows[i].key, rows[i].value, e.text);
        }
        assert_int_equal(rc, rows[i].ok ? WERR_OK : WERR_INVALID_CONFIG);
        assert_int_equal(c.set != 0, rows[i].ok);
        if (!rows[i].ok) {
            assert_non_null(strstr(e.text, rows[i].key));
        }
    }
}

static void test_units(void **state)
{
    struct topic_config c = defaults();
    struct werror e;

    (void)state;
    assert_int_equal(topic_config_set(&c, "retention.ms", "2h", &e), WERR_OK);
    assert_true(c.retention_ms == 7200000);
    assert_int_equal(topic_config_set(&c, "retention.bytes", "3k", &e), WERR_OK);
    assert_true(c.retention_bytes == 3072);
    assert_int_equal(topic_config_set(&c, "partitions", "many", &e), WERR_INVALID_CONFIG);
    assert_string_equal(e.text, "partitions = many: want a number from 1 to 1024");
    assert_int_equal(topic_config_set(&c, "durability", "x", &e), WERR_INVALID_CONFIG);
    assert_string_equal(e.text, "durability = x: want disk|os");
}

static void test_every_key_round_trips(void **state)
{
    static const char *const values[] = {"7",  "1h",   "5G",   "os",   "2M",
                                         "16", "zstd", "full", "drop", "1G"};
    const char *const *keys = topic_config_keys();
    struct buf b = {0};

    (void)state;
    for (size_t i = 0; keys[i] != NULL; i++) {
        struct topic_config c = defaults(), got = defaults(), merged = defaults();
        struct mpread r;

        assert_true(i < sizeof values / sizeof values[0]);
        assert_int_equal(topic_config_set(&c, keys[i], values[i], NULL), WERR_OK);
        assert_int_equal(c.set, 1U << i);
        buf_clear(&b);
        topic_config_put(&b, &c, false);
        mpread_init(&r, b.p, b.len);
        assert_int_equal(topic_config_get(&r, true, &got, NULL), WERR_OK);
        assert_true(mpread_done(&r));
        assert_memory_equal(&got, &c, sizeof c);
        topic_config_merge(&merged, &c);
        assert_memory_equal(&merged, &c, sizeof c);
        /* all keys: the same values, every bit set */
        buf_clear(&b);
        topic_config_put(&b, &c, true);
        mpread_init(&r, b.p, b.len);
        got = defaults();
        assert_int_equal(topic_config_get(&r, true, &got, NULL), WERR_OK);
        assert_int_equal(got.set, 0x3ff);
        got.set = c.set;
        assert_memory_equal(&got, &c, sizeof c);
    }
    buf_fini(&b);
}

static enum werr get(bool strict, const char *p, size_t n, struct topic_config *c)
{
    struct mpread r;
    struct werror e;

    *c = defaults();
    mpread_init(&r, p, n);
    return topic_config_get(&r, strict, c, &e);
}
#define GET(strict, s) get(strict, "" s, sizeof(s) - 1, &c)

static void test_strict_and_lenient(void **state)
{
    struct topic_config c;

    (void)state;
    /* an unknown key */
    assert_int_equal(GET(true, "\x81\xa3new\x01"), WERR_UNSUPPORTED_FIELD);
    assert_int_equal(GET(false, "\x82\xa3new\x92\x01\x02\xa8validate\xa4"
                                "full"),
                     WERR_OK);
    assert_int_equal(c.validate, TOPIC_VALIDATE_FULL);
    /* a value that only a later version knows */
    assert_int_equal(GET(true, "\x81\xaa"
                               "durability\xa6quorum"),
                     WERR_INVALID_CONFIG);
    assert_int_equal(GET(false, "\x81\xaa"
                                "durability\xa6quorum"),
                     WERR_OK);
    assert_int_equal(c.durability, TOPIC_DURABILITY_DISK);
    assert_int_equal(c.set, 0);
    /* a key twice */
    assert_int_equal(GET(true, "\x82\xaapartitions\x02\xaapartitions\x03"), WERR_MALFORMED);
    assert_int_equal(GET(true, "\x82\xa9retention\x02\xacretention.ms\x03"), WERR_MALFORMED);
    /* wrong types */
    assert_int_equal(GET(true, "\x81\xaapartitions\xc0"), WERR_INVALID_CONFIG);
    assert_int_equal(GET(true, "\x81\xaapartitions\xff"), WERR_INVALID_CONFIG);
    assert_int_equal(GET(true, "\x81\xaa"
                               "durability\x01"),
                     WERR_INVALID_CONFIG);
    assert_int_equal(GET(true, "\x81\x01\x01"), WERR_MALFORMED);
    assert_int_equal(GET(true, "\x90"), WERR_MALFORMED);
    assert_int_equal(GET(true, "\x81\xaapartitions\xcd\x04\x00"), WERR_OK);
    assert_int_equal(GET(true, "\x81\xaapartitions\xcd\x04\x01"), WERR_INVALID_CONFIG);
    assert_int_equal(GET(true, "\x81\xaapartitions\x00"), WERR_INVALID_CONFIG);
    /* numbers as text, as a person typed them */
    assert_int_equal(GET(true, "\x81\xacretention.ms\xa2"
                               "2h"),
                     WERR_OK);
    assert_true(c.retention_ms == 7200000);
    assert_int_equal(GET(true, "\x80"), WERR_OK);
}

static void test_truncated_prefixes(void **state)
{
    struct topic_config c = defaults();
    struct buf b = {0};

    (void)state;
    topic_config_put(&b, &c, true);
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
        cmocka_unit_test(test_text),
        cmocka_unit_test(test_units),
        cmocka_unit_test(test_every_key_round_trips),
        cmocka_unit_test(test_strict_and_lenient),
        cmocka_unit_test(test_truncated_prefixes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
