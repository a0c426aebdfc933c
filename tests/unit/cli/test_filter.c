#include "tests/lib/test.h"

#include <string.h>

#include "client/cli/filter.h"

/* Stands in for the library: two headers. */
weir_bytes weir_message_header(const weir_message *m, const char *name)
{
    (void)m;
    if (strcmp(name, HEADER_REASON) == 0) {
        return weir_str("connect: timeout after 5 s");
    }
    return strcmp(name, "kind") == 0 ? weir_str("mail") : weir_bytes_of(NULL, 0);
}

static bool fits(const char *pair, weir_bytes key)
{
    struct filter f;
    weir_message m = {.topic = "orders~mail~dlq", .key = key};
    const char *fault = filter_parse(pair, &f);
    if (fault) {
        fail_msg("'%s' %s", pair, fault);
    }
    return filter_fits(&f, &m);
}

static void reasons_contain(void **state)
{
    weir_bytes none = {NULL, 0};
    (void)state;
    assert_true(fits("reason=timeout", none));
    assert_true(fits("reason=connect", none));
    assert_true(fits("reason=", none)); /* everything that has a reason */
    assert_false(fits("reason=Timeout", none));
    assert_false(fits("reason=timeouts", none));
}

static void keys_and_headers_are_equal(void **state)
{
    weir_bytes none = {NULL, 0};
    (void)state;
    assert_true(fits("key=alice", weir_str("alice")));
    assert_true(fits("key=a=b", weir_str("a=b")));
    assert_true(fits("key=", weir_str("")));
    assert_false(fits("key=", none));
    assert_false(fits("key=alic", weir_str("alice")));
    assert_false(fits("key=alice", weir_str("alic")));
    assert_false(fits("key=alice", weir_bytes_of("alice\0", 6)));
    assert_true(fits("header:kind=mail", none));
    assert_false(fits("header:kind=mai", none));
    assert_false(fits("header:other=", none));
}

static void wrong_ones(void **state)
{
    char name[400] = "header:";
    struct filter f;
    (void)state;
    assert_non_null(filter_parse("reason", &f));
    assert_non_null(filter_parse("value=x", &f));
    assert_non_null(filter_parse("Reason=x", &f));
    assert_non_null(filter_parse("header:=x", &f));
    assert_non_null(filter_parse("headers:a=x", &f));
    assert_non_null(filter_parse("=x", &f));
    memset(name + 7, 'h', 300);
    memcpy(name + 307, "=x", 3);
    assert_non_null(filter_parse(name, &f));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reasons_contain),
        cmocka_unit_test(keys_and_headers_are_equal),
        cmocka_unit_test(wrong_ones),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
