/* The public error codes are those of proto, and each has the outcome that its class means. */
#include <string.h>

#include <weir/weir.h>

#include "client/err.h"
#include "tests/lib/test.h"

/* One case per public code: a code missing on either side does not compile, or fails below. */
static void public_codes_equal_the_wires(void **state)
{
    (void)state;
#define SAME(name) assert_int_equal(WEIR_E_##name, WERR_##name)
    SAME(UNSUPPORTED_PROTO);
    SAME(MALFORMED);
    SAME(UNKNOWN_OP);
    SAME(UNSUPPORTED_FIELD);
    SAME(TOO_LARGE);
    SAME(AUTH_REQUIRED);
    SAME(AUTH_FAILED);
    SAME(DENIED);
    SAME(THROTTLED);
    SAME(OVERLOADED);
    SAME(SHUTTING_DOWN);
    SAME(TIMEOUT);
    SAME(STORAGE_FULL);
    SAME(INDETERMINATE);
    SAME(INTERNAL);
    SAME(NOT_OWNER);
    SAME(STALE_EPOCH);
    SAME(DEADLINE);
    SAME(UNKNOWN_TOPIC);
    SAME(CORRUPT_BATCH);
    SAME(OUT_OF_ORDER_SEQ);
    SAME(UNKNOWN_PRODUCER);
    SAME(PRODUCER_FENCED);
    SAME(DUP_UNKNOWN_OFFSET);
    SAME(OFFSET_OUT_OF_RANGE);
    SAME(DIVERGED);
    SAME(EXISTS);
    SAME(INVALID_CONFIG);
    SAME(CONDITION_FAILED);
    SAME(REREGISTER);
    SAME(RETENTION_HELD);
    SAME(UNKNOWN_MEMBER);
    SAME(FENCED_MEMBER);
    SAME(NOT_ASSIGNED);
    SAME(GROUP_MODE);
    SAME(GROUP_BUSY);
    SAME(LEASE_LOST);
    SAME(UNKNOWN_SUB);
    SAME(UNKNOWN_GROUP);
    SAME(IO);
    SAME(NOMEM);
    SAME(CORRUPT);
    SAME(CLOSED);
    SAME(UNREACHABLE);
    SAME(MISUSE);
    SAME(BUFFER_FULL);
    SAME(CONNECTION_LOST);
#undef SAME
}

static int is_public(int code)
{
    switch ((weir_code)code) { /* -Wswitch-enum: a public code without a case does not compile */
    case WEIR_OK:
    case WEIR_E_UNSUPPORTED_PROTO:
    case WEIR_E_MALFORMED:
    case WEIR_E_UNKNOWN_OP:
    case WEIR_E_UNSUPPORTED_FIELD:
    case WEIR_E_TOO_LARGE:
    case WEIR_E_AUTH_REQUIRED:
    case WEIR_E_AUTH_FAILED:
    case WEIR_E_DENIED:
    case WEIR_E_THROTTLED:
    case WEIR_E_OVERLOADED:
    case WEIR_E_SHUTTING_DOWN:
    case WEIR_E_TIMEOUT:
    case WEIR_E_STORAGE_FULL:
    case WEIR_E_INDETERMINATE:
    case WEIR_E_INTERNAL:
    case WEIR_E_NOT_OWNER:
    case WEIR_E_STALE_EPOCH:
    case WEIR_E_DEADLINE:
    case WEIR_E_UNKNOWN_TOPIC:
    case WEIR_E_CORRUPT_BATCH:
    case WEIR_E_OUT_OF_ORDER_SEQ:
    case WEIR_E_UNKNOWN_PRODUCER:
    case WEIR_E_PRODUCER_FENCED:
    case WEIR_E_DUP_UNKNOWN_OFFSET:
    case WEIR_E_OFFSET_OUT_OF_RANGE:
    case WEIR_E_DIVERGED:
    case WEIR_E_EXISTS:
    case WEIR_E_INVALID_CONFIG:
    case WEIR_E_CONDITION_FAILED:
    case WEIR_E_REREGISTER:
    case WEIR_E_RETENTION_HELD:
    case WEIR_E_UNKNOWN_MEMBER:
    case WEIR_E_FENCED_MEMBER:
    case WEIR_E_NOT_ASSIGNED:
    case WEIR_E_GROUP_MODE:
    case WEIR_E_GROUP_BUSY:
    case WEIR_E_LEASE_LOST:
    case WEIR_E_UNKNOWN_SUB:
    case WEIR_E_UNKNOWN_GROUP:
    case WEIR_E_IO:
    case WEIR_E_NOMEM:
    case WEIR_E_CORRUPT:
    case WEIR_E_CLOSED:
    case WEIR_E_UNREACHABLE:
    case WEIR_E_MISUSE:
    case WEIR_E_BUFFER_FULL:
    case WEIR_E_CONNECTION_LOST:
        return 1;
    }
    return 0;
}

/* The other direction: every code of the wire (below 200) has a public name. */
static void no_wire_code_is_missing(void **state)
{
    (void)state;
#define X(name, num, cls, text)                                       \
    if ((num) < 200) {                                                \
        assert_string_equal(weir_code_name((weir_code)(num)), #name); \
        assert_true(is_public(num));                                  \
    }
    WERR_TABLE(X)
#undef X
    assert_string_equal(weir_code_name(WEIR_OK), "OK");
    assert_string_equal(weir_code_name((weir_code)9999), "UNKNOWN_CODE");
}

static void outcomes_follow_the_class(void **state)
{
    static const struct {
        enum werr code;
        weir_outcome outcome;
        int fenced;
    } cases[] = {
        {WERR_TOO_LARGE, WEIR_NOT_DONE, 0},       {WERR_STORAGE_FULL, WEIR_RETRY, 0},
        {WERR_TIMEOUT, WEIR_UNKNOWN, 0},          {WERR_INDETERMINATE, WEIR_UNKNOWN, 0},
        {WERR_NOT_OWNER, WEIR_RETRY, 0},          {WERR_UNKNOWN_TOPIC, WEIR_NOT_DONE, 0},
        {WERR_PRODUCER_FENCED, WEIR_NOT_DONE, 1}, {WERR_DUP_UNKNOWN_OFFSET, WEIR_DONE, 0},
        {WERR_UNREACHABLE, WEIR_RETRY, 0},        {WERR_CONNECTION_LOST, WEIR_UNKNOWN, 0},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct werror we = {.code = cases[i].code, .retry_after_ms = 7};
        weir_error e = err_from(&we, werr_class(cases[i].code));

        assert_int_equal(e.outcome, cases[i].outcome);
        assert_int_equal(e.fenced, cases[i].fenced);
        assert_int_equal(e.retry_after_ms, cases[i].outcome == WEIR_RETRY ? 7 : 0);
        assert_true(e.text[0] != 0);
    }
    { /* a code of a later version: its class decides */
        struct werror we = {.code = (enum werr)99};

        assert_int_equal(err_from(&we, WCLASS_RETRY).outcome, WEIR_RETRY);
        assert_int_equal(err_from(&we, WCLASS_FENCED).fenced, 1);
        assert_int_equal(err_from(&we, WCLASS_UNKNOWN).outcome, WEIR_UNKNOWN);
    }
}

static void texts_are_one_line(void **state)
{
    struct werror we = {.code = WERR_DENIED};
    weir_error e;

    (void)state;
    memset(we.text, '\n', sizeof we.text - 1);
    e = err_from(&we, WCLASS_NEVER);
    assert_null(strchr(e.text, '\n'));
    err_wrap(&e, "%0200d", 0);
    err_wrap(&e, "%0200d", 0);
    assert_in_range(strlen(e.text), 200, sizeof e.text - 1);
    assert_int_equal(sizeof(weir_error), 256);
    assert_string_equal(weir_outcome_name(WEIR_UNKNOWN), "unknown");
    assert_string_equal(weir_outcome_name((weir_outcome)9), "?");
    assert_int_equal(weir_version_number(), WEIR_VERSION_NUMBER);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(public_codes_equal_the_wires),
        cmocka_unit_test(no_wire_code_is_missing),
        cmocka_unit_test(outcomes_follow_the_class),
        cmocka_unit_test(texts_are_one_line),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
