#include "tests/lib/test.h"

#include <string.h>

#include "client/cli/text.h"

static void utf8(void **state)
{
    static const char *const good[] = {"",
                                       "a",
                                       "\x7f",
                                       "\xC2\x80",
                                       "\xDF\xBF",
                                       "\xE0\xA0\x80",
                                       "\xED\x9F\xBF",
                                       "\xEE\x80\x80",
                                       "\xEF\xBF\xBF",
                                       "\xF0\x90\x80\x80",
                                       "\xF4\x8F\xBF\xBF"};
    static const char *const bad[] = {"\x80",
                                      "\xC0\x80",
                                      "\xC1\xBF",
                                      "\xC2",
                                      "\xC2x",
                                      "\xE0\x9F\xBF",
                                      "\xED\xA0\x80",
                                      "\xE2\x82",
                                      "\xF0\x8F\xBF\xBF",
                                      "\xF4\x90\x80\x80",
                                      "\xF5\x80\x80\x80",
                                      "\xF0\x9F\x98",
                                      "\xFF"};
    (void)state;
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        assert_true(utf8_valid(good[i], strlen(good[i])));
    }
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_false(utf8_valid(bad[i], strlen(bad[i])));
    }
    assert_true(utf8_valid("a\0b", 3));
}

/* All code points that exist are valid, and each has the length that its first byte says. */
static void all_code_points(void **state)
{
    (void)state;
    for (uint32_t v = 0x800; v < 0x10000; v++) {
        uint8_t s[3] = {(uint8_t)(0xE0 | v >> 12), (uint8_t)(0x80 | (v >> 6 & 63)),
                        (uint8_t)(0x80 | (v & 63))};
        assert_int_equal(utf8_next(s, 3), v >= 0xD800 && v <= 0xDFFF ? 0 : 3);
    }
}

static void cells(void **state)
{
    char out[64];
    (void)state;
    assert_string_equal(text_for_cell(out, sizeof out, "abc", 3, 10), "abc");
    assert_string_equal(text_for_cell(out, sizeof out, "a\tb\n\x1b[31m", 9, 20),
                        "a\\tb\\n\\x1b[31m");
    assert_string_equal(text_for_cell(out, sizeof out, "\xFF\x00x", 3, 20), "\\xff\\x00x");
    assert_string_equal(text_for_cell(out, sizeof out, "\xC2\x9B", 2, 20), "\\xc2\\x9b");
    assert_string_equal(text_for_cell(out, sizeof out, "\xC3\xA9t\xC3\xA9", 5, 3),
                        "\xC3\xA9t\xC3\xA9");
    assert_string_equal(text_for_cell(out, sizeof out, "abcd", 4, 3), "abc\xE2\x80\xA6");
    assert_string_equal(text_for_cell(out, 8, "abcdefghij", 10, 99), "abc\xE2\x80\xA6");
    assert_string_equal(text_for_cell(out, sizeof out, "", 0, 3), "");
    assert_int_equal(text_columns("\xC3\xA9t\xC3\xA9"), 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(utf8),
        cmocka_unit_test(all_code_points),
        cmocka_unit_test(cells),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
