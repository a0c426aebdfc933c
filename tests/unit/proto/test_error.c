#include "proto/error.h"

#include <string.h>

#include "tests/lib/test.h"

struct row {
    const char *name;
    int number;
    enum werr_class cls;
};

/* Wire contract, written down a second time: a row that changes here breaks clients. */
static const struct row wire[] = {
    {"UNSUPPORTED_PROTO", 1, WCLASS_NEVER},
    {"MALFORMED", 2, WCLASS_NEVER},
    {"UNKNOWN_OP", 3, WCLASS_NEVER},
    {"UNSUPPORTED_FIELD", 4, WCLASS_NEVER},
    {"TOO_LARGE", 5, WCLASS_NEVER},
    {"AUTH_REQUIRED", 6, WCLASS_NEVER},
    {"AUTH_FAILED", 7, WCLASS_NEVER},
    {"DENIED", 8, WCLASS_NEVER},
    {"THROTTLED", 9, WCLASS_RETRY},
    {"OVERLOADED", 10, WCLASS_RETRY},
    {"SHUTTING_DOWN", 11, WCLASS_RETRY},
    {"TIMEOUT", 12, WCLASS_UNKNOWN},
    {"STORAGE_FULL", 13, WCLASS_RETRY},
    {"INDETERMINATE", 14, WCLASS_UNKNOWN},
    {"INTERNAL", 15, WCLASS_UNKNOWN},
    {"NOT_OWNER", 16, WCLASS_REFRESH},
    {"STALE_EPOCH", 17, WCLASS_REFRESH},
    {"DEADLINE", 18, WCLASS_RETRY},
    {"UNKNOWN_TOPIC", 20, WCLASS_REFRESH},
    {"CORRUPT_BATCH", 21, WCLASS_NEVER},
    {"OUT_OF_ORDER_SEQ", 22, WCLASS_FENCED},
    {"UNKNOWN_PRODUCER", 23, WCLASS_FENCED},
    {"PRODUCER_FENCED", 24, WCLASS_FENCED},
    {"DUP_UNKNOWN_OFFSET", 25, WCLASS_NEVER},
    {"OFFSET_OUT_OF_RANGE", 26, WCLASS_NEVER},
    {"DIVERGED", 27, WCLASS_NEVER},
    {"EXISTS", 28, WCLASS_NEVER},
    {"INVALID_CONFIG", 29, WCLASS_NEVER},
    {"CONDITION_FAILED", 30, WCLASS_NEVER},
    {"REREGISTER", 31, WCLASS_FENCED},
    {"RETENTION_HELD", 32, WCLASS_RETRY},
    {"UNKNOWN_MEMBER", 40, WCLASS_FENCED},
    {"FENCED_MEMBER", 41, WCLASS_FENCED},
    {"NOT_ASSIGNED", 42, WCLASS_NEVER},
    {"GROUP_MODE", 43, WCLASS_NEVER},
    {"GROUP_BUSY", 44, WCLASS_NEVER},
    {"LEASE_LOST", 45, WCLASS_NEVER},
    {"UNKNOWN_SUB", 46, WCLASS_NEVER},
    {"UNKNOWN_GROUP", 47, WCLASS_NEVER},
};

static void test_wire_codes_are_frozen(void **state)
{
    size_t n = sizeof wire / sizeof wire[0];

    (void)state;
    for (size_t i = 0; i < n; i++) {
        enum werr code = (enum werr)wire[i].number;

        assert_string_equal(werr_name(code), wire[i].name);
        assert_int_equal(werr_class(code), wire[i].cls);
        assert_true(strlen(werr_text(code)) > 3);
    }
    /* and nothing else below 200 has a name */
    for (int c = 1; c < WERR_IO; c++) {
        bool known = false;

        for (size_t i = 0; i < n; i++) {
            known = known || wire[i].number == c;
        }
        if (!known) {
            assert_string_equal(werr_name((enum werr)c), "UNKNOWN_CODE");
            assert_int_equal(werr_class((enum werr)c), WCLASS_UNKNOWN);
        }
    }
    assert_string_equal(werr_name(WERR_OK), "OK");
    assert_string_equal(werr_text((enum werr)150), "unknown error code");
}

static void test_classes_are_frozen(void **state)
{
    (void)state;
    assert_int_equal(WCLASS_NEVER, 0);
    assert_int_equal(WCLASS_RETRY, 1);
    assert_int_equal(WCLASS_UNKNOWN, 2);
    assert_int_equal(WCLASS_REFRESH, 3);
    assert_int_equal(WCLASS_FENCED, 4);
}

static void test_set_fills_and_returns(void **state)
{
    struct werror e = {.code = WERR_IO, .sys_errno = 5, .retry_after_ms = 9, .text = "old"};

    (void)state;
    assert_int_equal(werror_set(&e, WERR_TOO_LARGE, "frame of %d bytes", 17), WERR_TOO_LARGE);
    assert_int_equal(e.code, WERR_TOO_LARGE);
    assert_int_equal(e.sys_errno, 0);
    assert_int_equal(e.retry_after_ms, 0);
    assert_string_equal(e.text, "frame of 17 bytes");
    assert_int_equal(werror_set(NULL, WERR_DENIED, "x"), WERR_DENIED);
}

static void test_text_is_cut_to_fit(void **state)
{
    struct werror e;
    char big[1000];

    (void)state;
    memset(big, 'x', sizeof big - 1);
    big[sizeof big - 1] = '\0';
    (void)werror_set(&e, WERR_INTERNAL, "%s", big);
    assert_int_equal(strlen(e.text), sizeof e.text - 1);
    (void)werror_wrap(&e, "store %d", 1);
    assert_int_equal(strlen(e.text), sizeof e.text - 1);
    assert_memory_equal(e.text, "store 1: xxx", 12);
    (void)werror_wrap(&e, "%s", big);
    assert_int_equal(strlen(e.text), sizeof e.text - 1);
}

static void test_wrap_adds_one_layer(void **state)
{
    struct werror e;

    (void)state;
    (void)werror_set(&e, WERR_CORRUPT, "row 7");
    assert_int_equal(werror_wrap(&e, "open %s", "/data"), WERR_CORRUPT);
    assert_string_equal(e.text, "open /data: row 7");
    assert_int_equal(werror_wrap(NULL, "x"), WERR_INTERNAL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_wire_codes_are_frozen), cmocka_unit_test(test_classes_are_frozen),
        cmocka_unit_test(test_set_fills_and_returns), cmocka_unit_test(test_text_is_cut_to_fit),
        cmocka_unit_test(test_wrap_adds_one_layer),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
