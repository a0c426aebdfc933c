#include "tests/lib/test.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/cli/keyscan.h"

/* The key "k" of a line, or a word for the result. The line has no NUL behind it, so that a
 * sanitizer sees a read past its end. */
static const char *key_n(const char *line, size_t n, const char *field)
{
    static char out[256];
    struct keyscan k;
    const char *value = NULL;
    size_t n_value = 0;
    char *exact = malloc(n ? n : 1);
    assert_non_null(exact);
    memcpy(exact, line, n);
    keyscan_init(&k, field);
    switch (keyscan_find(&k, exact, n, &value, &n_value)) {
    case KEYSCAN_FOUND:
        snprintf(out, sizeof out, "%.*s", (int)n_value, value);
        break;
    case KEYSCAN_ABSENT:
        snprintf(out, sizeof out, "ABSENT");
        break;
    case KEYSCAN_NESTED:
        snprintf(out, sizeof out, "NESTED");
        break;
    case KEYSCAN_BAD:
        snprintf(out, sizeof out, "BAD");
        break;
    case KEYSCAN_NOMEM:
        fail();
        break;
    }
    keyscan_fini(&k);
    keyscan_fini(&k);
    free(exact);
    return out;
}

static const char *key(const char *line)
{
    return key_n(line, strlen(line), "k");
}

static void plain_values(void **state)
{
    (void)state;
    assert_string_equal(key("{\"k\":\"ORD\"}"), "ORD");
    assert_string_equal(key(" {\t\"a\" : 1 , \"k\" : \"x y\" } "), "x y");
    assert_string_equal(key("{\"k\":\"\"}"), "");
    assert_string_equal(key("{\"k\":12.50}"), "12.50");
    assert_string_equal(key("{\"k\":-0e+7}"), "-0e+7");
    assert_string_equal(key("{\"k\":true}"), "true");
    assert_string_equal(key("{\"k\":false,\"b\":2}"), "false");
    assert_string_equal(key("{\"k\":1,\"k\":2}"), "1");
    assert_string_equal(key("{\"kk\":1,\"k\":2}"), "2");
}

static void absent(void **state)
{
    (void)state;
    assert_string_equal(key("{}"), "ABSENT");
    assert_string_equal(key("{\"a\":1}"), "ABSENT");
    assert_string_equal(key("{\"k\":null}"), "ABSENT");
    assert_string_equal(key("{\"a\":{\"k\":1}}"), "ABSENT");
    assert_string_equal(key("{\"a\":[{\"k\":1},\"k\",\"}\"],\"b\":\"k\"}"), "ABSENT");
    assert_string_equal(key("{\"K\":1}"), "ABSENT");
}

static void only_the_top_level_counts(void **state)
{
    (void)state;
    assert_string_equal(key("{\"a\":{\"k\":1,\"b\":[1,{}]},\"k\":2}"), "2");
    assert_string_equal(key("{\"a\":\"\\\"k\\\":1\",\"k\":2}"), "2");
    assert_string_equal(key("{\"k\":{}}"), "NESTED");
    assert_string_equal(key("{\"k\":[1]}"), "NESTED");
}

static void escapes(void **state)
{
    (void)state;
    assert_string_equal(key("{\"k\":\"a\\\"b\\\\c\\/d\"}"), "a\"b\\c/d");
    assert_string_equal(key("{\"k\":\"\\b\\f\\n\\r\\t\"}"), "\b\f\n\r\t");
    assert_string_equal(key("{\"k\":\"\\u0041\\u00e9\\u20AC\"}"), "A\xC3\xA9\xE2\x82\xAC");
    assert_string_equal(key("{\"k\":\"\\ud83d\\uDE00!\"}"), "\xF0\x9F\x98\x80!");
    assert_string_equal(key("{\"\\u006b\":7}"), "7");
    assert_string_equal(key("{\"\\u006bk\":7,\"k\":8}"), "8");
    assert_string_equal(key_n("{\"a\\\"b\":1}", 10, "a\"b"), "1");
}

static void not_json_objects(void **state)
{
    static const char *const bad[] = {"",
                                      " ",
                                      "x",
                                      "[]",
                                      "\"k\"",
                                      "{",
                                      "{\"",
                                      "{\"k",
                                      "{\"k\"",
                                      "{\"k\":",
                                      "{\"k\":}",
                                      "{\"k\":\"",
                                      "{\"k\":\"a",
                                      "{\"k\":\"a\\",
                                      "{\"k\":\"a\\\"}",
                                      "{k:1}",
                                      "{\"k\" 1}",
                                      "{,\"k\":1}",
                                      "{\"a\":1 \"k\":2}",
                                      "{\"a\":1,}",
                                      "{\"a\":01,\"k\":1}",
                                      "{\"a\":1.,\"k\":1}",
                                      "{\"k\":-}",
                                      "{\"k\":1e}",
                                      "{\"k\":truex}",
                                      "{\"k\":nul}",
                                      "{\"k\":12abc}",
                                      "{\"k\":\"\\x\"}",
                                      "{\"k\":\"\\u12\"}",
                                      "{\"k\":\"\\u12g4\"}",
                                      "{\"k\":\"\\ud83d\"}",
                                      "{\"k\":\"\\ude00\"}",
                                      "{\"k\":\"\\ud83d\\u0041\"}",
                                      "{\"k\":\"\\ud83dxxxxxx\"}",
                                      "{\"k\":\"a\nb\"}",
                                      "{\"a\":{\"k\":1]",
                                      "{\"a\":[}],\"k\":1}",
                                      "{\"a\":[1}",
                                      "{\"a\":[\"x",
                                      "{\"a\":1"};
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        if (strcmp(key(bad[i]), "BAD") != 0) {
            fail_msg("%s gives %s", bad[i], key(bad[i]));
        }
    }
}

/* Every beginning of a line is read safely, and none is taken for the whole. */
static void every_prefix(void **state)
{
    static const char line[] =
        "{\"a\":[1,{\"b\":\"\\u00e9\\n\"},null],\"c\\u0041\":-1.5e3,\"k\":\"\\ud83d\\ude00\"}";
    (void)state;
    /* the last byte, the closing bracket, is not needed: reading stops after the value */
    for (size_t n = 0; n < sizeof line - 2; n++) {
        assert_string_equal(key_n(line, n, "k"), "BAD");
    }
    assert_string_equal(key(line), "\xF0\x9F\x98\x80");
}

static void deep_nesting_is_bounded(void **state)
{
    enum { DEPTH = 1024 };
    char line[2 * DEPTH + 64];
    size_t n = 0;
    (void)state;
    for (size_t depth = DEPTH; depth <= DEPTH + 1; depth++) {
        n = (size_t)snprintf(line, sizeof line, "{\"a\":");
        memset(line + n, '[', depth);
        memset(line + n + depth, ']', depth);
        n += 2 * depth;
        n += (size_t)snprintf(line + n, sizeof line - n, ",\"k\":1}");
        assert_string_equal(key_n(line, n, "k"), depth == DEPTH ? "1" : "BAD");
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(plain_values),
        cmocka_unit_test(absent),
        cmocka_unit_test(escapes),
        cmocka_unit_test(only_the_top_level_counts),
        cmocka_unit_test(not_json_objects),
        cmocka_unit_test(every_prefix),
        cmocka_unit_test(deep_nesting_is_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
