#include "proto/mpwrite.h"

#include "proto/mpread.h"
#include "tests/lib/test.h"

static void expect(struct buf *b, const char *bytes, size_t n)
{
    assert_int_equal(b->len, n);
    assert_memory_equal(b->p, bytes, n);
    buf_clear(b);
}
#define EXPECT(b, s) expect(b, "" s, sizeof(s) - 1)

static void test_shortest_encodings(void **state)
{
    struct buf b = {0};

    (void)state;
    mpw_uint(&b, 0);
    mpw_uint(&b, 127);
    mpw_uint(&b, 128);
    mpw_uint(&b, 65535);
    mpw_uint(&b, 65536);
    mpw_uint(&b, UINT64_C(1) << 32);
    EXPECT(&b,
           "\x00\x7f\xcc\x80\xcd\xff\xff\xce\x00\x01\x00\x00\xcf\x00\x00\x00\x01\x00\x00\x00\x00");
    mpw_int(&b, -1);
    mpw_int(&b, -33);
    mpw_int(&b, 5);
    EXPECT(&b, "\xff\xd0\xdf\x05");
    mpw_nil(&b);
    mpw_bool(&b, true);
    mpw_bool(&b, false);
    EXPECT(&b, "\xc0\xc3\xc2");
    mpw_array(&b, 15);
    mpw_array(&b, 16);
    mpw_map(&b, 15);
    mpw_map(&b, 16);
    EXPECT(&b, "\x9f\xdc\x00\x10\x8f\xde\x00\x10");
    mpw_cstr(&b, "hi");
    mpw_str(&b, slice_of(NULL, 0));
    mpw_bin(&b, slice_str("hi"));
    mpw_bin(&b, slice_of(NULL, 0));
    EXPECT(&b, "\xa2hi\xa0\xc4\x02hi\xc4\x00");
    mpw_bin_head(&b, 255);
    mpw_bin_head(&b, 256);
    mpw_bin_head(&b, 65536);
    EXPECT(&b, "\xc4\xff\xc5\x01\x00\xc6\x00\x01\x00\x00");
    buf_fini(&b);
}

static void test_what_is_written_is_read(void **state)
{
    struct buf b = {0};

    (void)state;
    for (unsigned bit = 0; bit < 64; bit++) {
        for (int d = -1; d <= 1; d++) {
            uint64_t v = (UINT64_C(1) << bit) + (uint64_t)d;
            struct mpread r;

            buf_clear(&b);
            mpw_uint(&b, v);
            mpw_int(&b, (int64_t)v);
            mpread_init(&r, b.p, b.len);
            assert_true(mpread_uint(&r, UINT64_MAX) == v);
            assert_true(mpread_int(&r, INT64_MIN, INT64_MAX) == (int64_t)v);
            assert_true(mpread_done(&r));
        }
    }
    buf_fini(&b);
}

static void test_failure_is_sticky(void **state)
{
    struct buf b;

    (void)state;
    buf_init(&b, 4);
    mpw_uint(&b, 1);
    mpw_uint(&b, UINT64_MAX);
    mpw_nil(&b);
    assert_true(b.failed);
    assert_true(b.len <= 4);
    buf_fini(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_shortest_encodings),
        cmocka_unit_test(test_what_is_written_is_read),
        cmocka_unit_test(test_failure_is_sticky),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
