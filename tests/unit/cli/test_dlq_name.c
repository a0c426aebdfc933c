#include "tests/lib/test.h"

#include "client/cli/dlq_name.h"

static void what_is_one(void **state)
{
    (void)state;
    assert_true(dlq_name_is("orders~mail~dlq"));
    assert_true(dlq_name_is("a.b-c~g_1~dlq"));
    assert_false(dlq_name_is("orders"));
    assert_false(dlq_name_is("orders~dlq"));
    assert_false(dlq_name_is("~mail~dlq"));
    assert_false(dlq_name_is("orders~~dlq"));
    assert_false(dlq_name_is("orders~mail~dl"));
    assert_false(dlq_name_is("orders~mail~dlq2"));
    assert_false(dlq_name_is("orders~mail~x~dlq"));
    assert_false(dlq_name_is(""));
}

static void whose_it_is(void **state)
{
    (void)state;
    assert_true(dlq_name_of("orders~mail~dlq", "orders"));
    assert_false(dlq_name_of("orders~mail~dlq", "order"));
    assert_false(dlq_name_of("orders~mail~dlq", "orders2"));
    assert_false(dlq_name_of("orders~mail~dlq", "mail"));
    assert_false(dlq_name_of("orders", "orders"));
}

static void joining(void **state)
{
    char name[16];
    (void)state;
    assert_true(dlq_name_join("orders", "mail", name, sizeof name));
    assert_string_equal(name, "orders~mail~dlq");
    assert_false(dlq_name_join("orders", "mails", name, sizeof name));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_one),
        cmocka_unit_test(whose_it_is),
        cmocka_unit_test(joining),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
