#include "tests/lib/test.h"

#include "client/cli/spans.h"

static void one_or_many(void **state)
{
    weir_span s;
    (void)state;
    assert_true(span_parse("0:17", &s));
    assert_int_equal(s.partition, 0);
    assert_int_equal(s.first, 17);
    assert_int_equal(s.last, 17);
    assert_true(span_parse("3:20-29", &s));
    assert_int_equal(s.partition, 3);
    assert_int_equal(s.first, 20);
    assert_int_equal(s.last, 29);
    assert_true(span_parse("3:20-20", &s));
}

static void wrong_ones(void **state)
{
    static const char *const wrong[] = {
        "",     "17",    ":17",  "0:",      "0:x",  "x:0",    "0:5-4", "0:5-",
        "0:-5", "0:1:2", "-1:5", "0:1-2-3", "0 :1", "0:1 -2", "0:1,2", "4294967296:1"};
    (void)state;
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        weir_span s = {1, 2, 3};
        if (span_parse(wrong[i], &s)) {
            fail_msg("'%s' was taken", wrong[i]);
        }
        assert_int_equal(s.last, 3); /* untouched */
    }
}

static void neighbours_are_joined(void **state)
{
    struct span_list l = {0};
    (void)state;
    for (int64_t i = 0; i < 1000; i++) {
        assert_true(spans_add(&l, 0, i, i));
    }
    assert_int_equal(l.n, 1);
    assert_true(spans_add(&l, 0, 1001, 1010)); /* a gap */
    assert_true(spans_add(&l, 1, 1011, 1011)); /* another partition */
    assert_int_equal(l.n, 3);
    assert_int_equal(spans_messages(&l), 1000 + 10 + 1);
    assert_true(spans_have(&l, 0, 999));
    assert_false(spans_have(&l, 0, 1000));
    assert_true(spans_have(&l, 0, 1001));
    assert_false(spans_have(&l, 0, 1011));
    assert_true(spans_have(&l, 1, 1011));
    for (int64_t i = 0; i < 200; i++) { /* grows */
        assert_true(spans_add(&l, 2, i * 2, i * 2));
    }
    assert_int_equal(l.n, 203);
    spans_fini(&l);
    spans_fini(&l);
    assert_false(spans_have(&l, 0, 0));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_or_many),
        cmocka_unit_test(wrong_ones),
        cmocka_unit_test(neighbours_are_joined),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
