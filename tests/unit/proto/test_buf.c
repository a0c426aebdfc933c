#include "proto/buf.h"

#include "tests/lib/test.h"

static void test_put_grows_and_keeps_content(void **state)
{
    struct buf b = {0};

    (void)state;
    for (unsigned i = 0; i < 1000; i++) {
        buf_put_u8(&b, (uint8_t)i);
    }
    assert_int_equal(b.len, 1000);
    for (unsigned i = 0; i < 1000; i++) {
        assert_int_equal(b.p[i], (uint8_t)i);
    }
    buf_clear(&b);
    assert_int_equal(b.len, 0);
    assert_true(b.cap >= 1000);
    buf_fini(&b);
    buf_fini(&b);
    assert_null(b.p);
}

static void test_integers_are_big_endian(void **state)
{
    static const uint8_t want[] = {1, 2, 1, 2, 3, 4, 1, 2, 3, 4, 5, 6, 7, 8};
    struct buf b = {0};

    (void)state;
    buf_put_be16(&b, 0x0102);
    buf_put_be32(&b, 0x01020304);
    buf_put_be64(&b, 0x0102030405060708);
    assert_int_equal(b.len, sizeof want);
    assert_memory_equal(b.p, want, sizeof want);
    assert_int_equal(be16(b.p), 0x0102);
    assert_int_equal(be32(b.p + 2), 0x01020304);
    assert_true(be64(b.p + 6) == 0x0102030405060708);
    buf_fini(&b);
}

static void test_limit_at_n_and_one_more(void **state)
{
    struct buf b;

    (void)state;
    buf_init(&b, 10);
    buf_put(&b, "0123456789", 10);
    assert_false(b.failed);
    assert_int_equal(b.len, 10);
    buf_put(&b, "x", 1);
    assert_true(b.failed);
    assert_int_equal(b.len, 10);
    assert_memory_equal(b.p, "0123456789", 10);
    assert_false(buf_reserve(&b, 0)); /* sticky */
    buf_clear(&b);
    assert_true(buf_reserve(&b, 10));
    assert_false(buf_reserve(&b, 11));
    buf_fini(&b);
    assert_int_equal(b.limit, 10);
}

static void test_reserve_does_not_overflow(void **state)
{
    struct buf b = {0};

    (void)state;
    buf_put(&b, "abc", 3);
    assert_false(buf_reserve(&b, SIZE_MAX - 1));
    assert_true(b.failed);
    assert_int_equal(b.len, 3);
    buf_fini(&b);
}

static void test_consume_drops_the_front(void **state)
{
    struct buf b = {0};

    (void)state;
    buf_consume(&b, 0);
    buf_put(&b, "abcdef", 6);
    buf_consume(&b, 2);
    assert_int_equal(b.len, 4);
    assert_memory_equal(b.p, "cdef", 4);
    buf_consume(&b, 4);
    assert_int_equal(b.len, 0);
    buf_put(&b, "x", 1);
    buf_consume(&b, 99);
    assert_int_equal(b.len, 0);
    buf_fini(&b);
}

static void test_slices(void **state)
{
    (void)state;
    assert_true(slice_eq(slice_of(NULL, 0), slice_str("")));
    assert_true(slice_eq(slice_str("ab"), slice_of("abc", 2)));
    assert_false(slice_eq(slice_str("ab"), slice_str("ac")));
    assert_false(slice_eq(slice_str("ab"), slice_str("abc")));
}

static void test_blob_counts_references(void **state)
{
    struct blob *b = blob_copy("hello", 5);

    (void)state;
    assert_non_null(b);
    assert_int_equal(b->n, 5);
    assert_memory_equal(b->p, "hello", 5);
    assert_ptr_equal(blob_ref(b), b);
    blob_unref(b);
    assert_memory_equal(b->p, "hello", 5); /* the second reference keeps it */
    blob_unref(b);
    blob_unref(NULL);
    b = blob_copy(NULL, 0);
    assert_non_null(b);
    assert_int_equal(b->n, 0);
    blob_unref(b);
    assert_null(blob_new(SIZE_MAX));
}

static void test_blob_resize_keeps_content(void **state)
{
    struct blob *b = blob_copy("hello", 5), *bigger = blob_resize(b, 100000);

    (void)state;
    assert_non_null(bigger);
    assert_int_equal(bigger->n, 100000);
    assert_memory_equal(bigger->p, "hello", 5);
    assert_null(blob_resize(bigger, SIZE_MAX));
    assert_memory_equal(bigger->p, "hello", 5); /* still there */
    b = blob_resize(bigger, 2);
    assert_non_null(b);
    assert_int_equal(b->n, 2);
    assert_memory_equal(b->p, "he", 2);
    blob_unref(b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_put_grows_and_keeps_content),
        cmocka_unit_test(test_integers_are_big_endian),
        cmocka_unit_test(test_limit_at_n_and_one_more),
        cmocka_unit_test(test_reserve_does_not_overflow),
        cmocka_unit_test(test_consume_drops_the_front),
        cmocka_unit_test(test_slices),
        cmocka_unit_test(test_blob_counts_references),
        cmocka_unit_test(test_blob_resize_keeps_content),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
