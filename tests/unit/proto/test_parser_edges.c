/* Branches of the parser that the tests of each function leave open: see .ci/coverage. */
#include "proto/frame.h"
#include "proto/mpread.h"
#include "tests/lib/test.h"

static void test_integer_of_nothing(void **state)
{
    struct mpread r;
    (void)state;

    mpread_init(&r, NULL, 0);
    assert_int_equal(mpread_int(&r, INT64_MIN, INT64_MAX), 0);
    assert_int_equal(r.err, WERR_MALFORMED);
    assert_string_equal(r.what, "truncated");
    mpread_init(&r, "\xd1\x80", 2); /* one of two bytes */
    assert_int_equal(mpread_int(&r, INT64_MIN, INT64_MAX), 0);
    assert_string_equal(r.what, "truncated");
}

static void test_ends_of_utf8(void **state)
{
    static const struct {
        const char *p;
        size_t n, good;
    } rows[] = {
        {"\xe0\xa0\x80", 3, 3},     {"\xe0\x9f\xbf", 3, 0}, /* overlong */
        {"\xed\x9f\xbf", 3, 3},     {"\xed\xa0\x80", 3, 0}, /* surrogate */
        {"\xf0\x90\x80\x80", 4, 4}, {"\xf0\x8f\xbf\xbf", 4, 0},
        {"\xf4\x8f\xbf\xbf", 4, 4}, {"\xf4\x90\x80\x80", 4, 0}, /* above U+10FFFF */
        {"\xf5\x80\x80\x80", 4, 0}, {"\xe1\x80", 2, 0},
    };
    (void)state;

    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        assert_int_equal(utf8_prefix(slice_of(rows[i].p, rows[i].n)), rows[i].good);
    }
}

static void test_error_text_longer_than_ours(void **state)
{
    uint8_t err[1200] = {0x94, 0x16, 0x04, 0xda, 0x04, 0x00};
    enum werr_class cls;
    struct werror e;
    (void)state;

    memset(err + 6, 'x', 1024);
    err[6 + 1024] = 0x80;
    assert_int_equal(frame_get_error(slice_of(err, 6 + 1024 + 1), &e, &cls), WERR_OK);
    assert_int_equal(strlen(e.text), sizeof e.text - 1);
}

static void test_details_that_end_early(void **state)
{
    (void)state;

    /* A map of one pair whose value is cut: a width byte without its number. */
    assert_int_equal(frame_error_detail(slice_of("\x94\x16\x04\xa1x\x81\xa1k\xcd", 9), "k", 5), 5);
    assert_int_equal(frame_error_detail(slice_of("\x94\x16\x04\xa1x\x81\xa1k\x07", 9), "k", 5), 7);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_integer_of_nothing),
        cmocka_unit_test(test_ends_of_utf8),
        cmocka_unit_test(test_error_text_longer_than_ours),
        cmocka_unit_test(test_details_that_end_early),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
