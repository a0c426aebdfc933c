#include "proto/compress.h"

#include <stdlib.h>

#include "proto/limits.h"
#include "tests/lib/test.h"

static void test_round_trip(void **state)
{
    struct zstd_ctx *z = zstd_ctx_new();
    struct buf packed = {0}, out = {0};
    uint8_t *text = malloc(100000);

    (void)state;
    assert_non_null(z);
    assert_non_null(text);
    for (size_t i = 0; i < 100000; i++) {
        text[i] = (uint8_t)(i * i >> 5);
    }
    for (size_t n = 0; n <= 100000; n = n * 3 + 1) {
        for (int own = 0; own < 2; own++) {
            buf_clear(&packed);
            buf_clear(&out);
            buf_put(&out, "before", 6);
            assert_int_equal(zstd_pack(own ? NULL : z, slice_of(text, n), &packed), WERR_OK);
            assert_int_equal(zstd_unpack(own ? NULL : z, buf_slice(&packed), n, &out, NULL),
                             WERR_OK);
            assert_int_equal(out.len, n + 6);
            assert_memory_equal(out.p + 6, text, n);
        }
    }
    free(text);
    buf_fini(&packed);
    buf_fini(&out);
    zstd_ctx_free(z);
    zstd_ctx_free(NULL);
}

/*
 * A frame by hand (RFC 8878): `content` bytes of 'x' as RLE blocks, content size in 4 bytes.
 * window < 0: single segment; else that byte as window descriptor.
 */
static size_t rle_frame(uint8_t *p, uint32_t content, int window)
{
    static const uint8_t magic[] = {0x28, 0xb5, 0x2f, 0xfd};
    size_t n = 4;
    uint32_t left = content;

    memcpy(p, magic, 4);
    p[n++] = (uint8_t)(0x80 | (window < 0 ? 0x20 : 0)); /* 4-byte content size */
    if (window >= 0) {
        p[n++] = (uint8_t)window;
    }
    for (unsigned i = 0; i < 4; i++) {
        p[n++] = (uint8_t)(content >> (8 * i));
    }
    do {
        uint32_t size = left < (128U << 10) ? left : 128U << 10;
        uint32_t head = (size << 3) | (1U << 1) | (left == size);

        for (unsigned i = 0; i < 3; i++) {
            p[n++] = (uint8_t)(head >> (8 * i));
        }
        p[n++] = 'x';
        left -= size;
    } while (left > 0);
    return n;
}

static enum werr unpack(const uint8_t *p, size_t n, size_t max)
{
    uint8_t *exact = malloc(n + 1);
    struct buf out = {0};
    struct werror e = {0};
    enum werr rc;

    assert_non_null(exact);
    memcpy(exact + 1, p, n);
    rc = zstd_unpack(NULL, slice_of(exact + 1, n), max, &out, &e);
    assert_int_equal(e.code, rc);
    if (rc != WERR_OK) {
        assert_int_equal(out.len, 0);
    }
    buf_fini(&out);
    free(exact);
    return rc;
}

static void test_ratio_at_n_and_one_more(void **state)
{
    uint8_t p[64];
    const uint32_t bytes = 13; /* magic, descriptor, size, one block */

    (void)state;
    assert_int_equal(rle_frame(p, bytes * LIMIT_ZSTD_RATIO, -1), bytes);
    assert_int_equal(unpack(p, bytes, LIMIT_UNZIPPED), WERR_OK);
    assert_int_equal(rle_frame(p, bytes * LIMIT_ZSTD_RATIO + 1, -1), bytes);
    assert_int_equal(unpack(p, bytes, LIMIT_UNZIPPED), WERR_CORRUPT);
}

static void test_window_at_n_and_one_more(void **state)
{
    uint8_t p[64];
    size_t n = rle_frame(p, 10000, (LIMIT_ZSTD_WINDOW_LOG - 10) << 3);

    (void)state;
    assert_int_equal(unpack(p, n, LIMIT_UNZIPPED), WERR_OK);
    n = rle_frame(p, 10000, ((LIMIT_ZSTD_WINDOW_LOG - 10) << 3) + 1);
    assert_int_equal(unpack(p, n, LIMIT_UNZIPPED), WERR_CORRUPT);
}

static void test_content_at_n_and_one_more(void **state)
{
    uint8_t *text = malloc(LIMIT_UNZIPPED + 1);
    struct buf packed = {0};

    (void)state;
    assert_non_null(text);
    for (size_t i = 0; i <= LIMIT_UNZIPPED; i++) {
        text[i] = (uint8_t)(i * 2654435761U >> 24); /* little to compress: no question of ratio */
    }
    assert_int_equal(zstd_pack(NULL, slice_of(text, LIMIT_UNZIPPED), &packed), WERR_OK);
    assert_int_equal(unpack(packed.p, packed.len, LIMIT_UNZIPPED), WERR_OK);
    buf_clear(&packed);
    assert_int_equal(zstd_pack(NULL, slice_of(text, LIMIT_UNZIPPED + 1), &packed), WERR_OK);
    assert_int_equal(unpack(packed.p, packed.len, LIMIT_UNZIPPED), WERR_CORRUPT);
    free(text);
    buf_fini(&packed);
}

static void test_frames_that_are_refused(void **state)
{
    static const struct {
        const char *p;
        size_t n;
        const char *why;
    } bad[] = {
        {"", 0, "empty"},
        {"\x28\xb5\x2f\xfd", 4, "magic only"},
        {"\x28\xb5\x2f\xfd\x00\x58\x09\x00\x00x", 10, "no content size"},
        {"\x50\x2a\x4d\x18\x03\x00\x00\x00"
         "abc",
         11, "skippable"},
        {"\x28\xb5\x2f\xfd\x21\x07\x01\x09\x00\x00x", 11, "dictionary 7"},
        {"\x28\xb5\x2f\xfd\x20\x01\x09\x00\x00xy", 11, "a byte after the frame"},
        {"\x28\xb5\x2f\xfd\x20\x02\x09\x00\x00x", 10, "says 2, holds 1"},
        {"\x28\xb5\x2f\xfd\x20\x00\x09\x00\x00x", 10, "says 0, holds 1"},
        {"\x28\xb5\x2f\xfd\x28\x01\x09\x00\x00x", 10, "reserved bit"},
        {"\x28\xb5\x2f\xfd\x24\x01\x09\x00\x00x\x00\x00\x00\x00", 14, "wrong checksum"},
        {"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03", 10, "gzip"},
        {"\x25\xb5\x2f\xfd\x20\x01\x09\x00\x00x", 10, "zstd 0.5"},
    };

    (void)state;
    assert_int_equal(unpack((const uint8_t *)"\x28\xb5\x2f\xfd\x20\x01\x09\x00\x00x", 10, 1),
                     WERR_OK);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        enum werr rc = unpack((const uint8_t *)bad[i].p, bad[i].n, LIMIT_UNZIPPED);

        if (rc != WERR_CORRUPT) {
            print_error("accepted: %s\n", bad[i].why);
        }
        assert_int_equal(rc, WERR_CORRUPT);
    }
}

static void test_two_frames_are_refused(void **state)
{
    struct buf b = {0};

    (void)state;
    assert_int_equal(zstd_pack(NULL, slice_str("one"), &b), WERR_OK);
    assert_int_equal(zstd_pack(NULL, slice_str("two"), &b), WERR_OK);
    assert_int_equal(unpack(b.p, b.len, 100), WERR_CORRUPT);
    buf_clear(&b);
    assert_int_equal(zstd_pack(NULL, slice_str("one"), &b), WERR_OK);
    buf_put(&b, "\x50\x2a\x4d\x18\x00\x00\x00\x00", 8); /* a skippable frame behind it */
    assert_int_equal(unpack(b.p, b.len, 100), WERR_CORRUPT);
    buf_fini(&b);
}

static void test_every_truncated_prefix_fails(void **state)
{
    struct buf b = {0};

    (void)state;
    assert_int_equal(
        zstd_pack(NULL, slice_str("the same words, the same words, the same words"), &b), WERR_OK);
    for (size_t n = 0; n < b.len; n++) {
        assert_int_equal(unpack(b.p, n, 1000), WERR_CORRUPT);
    }
    assert_int_equal(unpack(b.p, b.len, 1000), WERR_OK);
    buf_fini(&b);
}

static void test_output_over_its_cap_is_no_crash(void **state)
{
    struct buf b = {0}, out;

    (void)state;
    assert_int_equal(zstd_pack(NULL, slice_str("hello hello hello"), &b), WERR_OK);
    buf_init(&out, 5);
    assert_int_equal(zstd_unpack(NULL, buf_slice(&b), 1000, &out, NULL), WERR_NOMEM);
    buf_fini(&out);
    buf_init(&out, 5);
    assert_int_equal(zstd_pack(NULL, slice_str("hello hello"), &out), WERR_NOMEM);
    buf_fini(&out);
    buf_fini(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_ratio_at_n_and_one_more),
        cmocka_unit_test(test_window_at_n_and_one_more),
        cmocka_unit_test(test_content_at_n_and_one_more),
        cmocka_unit_test(test_frames_that_are_refused),
        cmocka_unit_test(test_two_frames_are_refused),
        cmocka_unit_test(test_every_truncated_prefix_fails),
        cmocka_unit_test(test_output_over_its_cap_is_no_crash),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
