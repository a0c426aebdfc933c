#include "tests/lib/test.h"

#include <string.h>

#include "client/cli/nearest.h"

static size_t distance(const char *a, const char *b)
{
    size_t d = edit_distance(a, strlen(a), b, strlen(b));
    assert_int_equal(edit_distance(b, strlen(b), a, strlen(a)), d);
    return d;
}

static void distances(void **state)
{
    (void)state;
    assert_int_equal(distance("", ""), 0);
    assert_int_equal(distance("", "abc"), 3);
    assert_int_equal(distance("kitten", "sitting"), 3);
    assert_int_equal(distance("topic", "topci"), 1);
    assert_int_equal(distance("ab", "ba"), 1);
    assert_int_equal(distance("orders", "order"), 1);
}

static const char *best(const char *typed, const char *const *words)
{
    struct nearest n;
    nearest_init(&n, typed, strlen(typed));
    for (; *words; words++) {
        nearest_offer(&n, *words);
    }
    return n.best;
}

static void only_near_words_are_suggested(void **state)
{
    static const char *const words[] = {"produce",   "consume",    "peek",
                                        "partition", "partitions", NULL};
    (void)state;
    assert_string_equal(best("prodcue", words), "produce");
    assert_string_equal(best("pek", words), "peek");
    assert_string_equal(best("partitons", words), "partitions");
    assert_string_equal(best("parti", words), "partition");
    assert_null(best("x", words));
    assert_null(best("banana", words));
}

static void long_words_are_never_near(void **state)
{
    char word[NEAREST_WORD_MAX + 2];
    (void)state;
    memset(word, 'a', sizeof word);
    assert_true(edit_distance(word, NEAREST_WORD_MAX, word, NEAREST_WORD_MAX) == 0);
    assert_true(edit_distance(word, NEAREST_WORD_MAX + 1, word, 1) == SIZE_MAX);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(distances),
        cmocka_unit_test(only_near_words_are_suggested),
        cmocka_unit_test(long_words_are_never_near),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
