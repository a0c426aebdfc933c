#include <stdio.h>
#include <stdlib.h>

#include "proto/batch.h"
#include "proto/compress.h"
#include "proto/mpwrite.h"
#include "tests/lib/test.h"
#include "tests/unit/proto/samples.h"

/* A stored batch with these record bytes; checks are not its business. */
static enum werr walk(const void *p, size_t n, uint16_t count, struct record *last)
{
    struct batch_head h = {.codec = BATCH_CODEC_NONE, .count = count};
    uint8_t *batch = calloc(1, BATCH_HEAD + n);
    static uint8_t keep[70000]; /* the views of *last outlive the batch */
    struct record_iter it;
    struct record rec;
    enum werr rc;

    assert_non_null(batch);
    assert_true(n <= sizeof keep);
    memcpy(batch + BATCH_HEAD, p, n);
    rc = record_open(&it, slice_of(batch, BATCH_HEAD + n), &h, NULL, NULL);
    assert_int_equal(rc, WERR_OK);
    while (record_next(&it, &rec)) {
    }
    if (last != NULL && it.err == WERR_OK) {
        memcpy(keep, p, n);
        it = (struct record_iter){keep, keep + n, count, WERR_OK, NULL};
        while (record_next(&it, last)) {
        }
    }
    free(batch);
    assert_int_equal(it.err == WERR_OK, it.what == NULL);
    return it.err;
}
#define WALK(s, count, last) walk("" s, sizeof(s) - 1, count, last)

static void test_both_ways_read_the_same(void **state)
{
    /* the short form of each record, and legal longer forms of the same */
    static const struct {
        const char *p;
        size_t n;
    } same[] = {
        {"\x94\x05\xc4\x01k\xc4\x02xy\xc0", 10},
        {"\x94\xcc\x05\xc4\x01k\xc4\x02xy\xc0", 11},
        {"\x94\xcd\x00\x05\xc4\x01k\xc4\x02xy\xc0", 12},
        {"\x94\xce\x00\x00\x00\x05\xc4\x01k\xc4\x02xy\xc0", 14},
        {"\x94\xd0\x05\xc4\x01k\xc4\x02xy\xc0", 11},
        {"\x94\x05\xc5\x00\x01k\xc4\x02xy\xc0", 11},
        {"\x94\x05\xc6\x00\x00\x00\x01k\xc5\x00\x02xy\xc0", 14},
        {"\x94\x05\xa1k\xa2xy\xc0", 8}, /* str for bin */
        {"\xdc\x00\x04\x05\xc4\x01k\xc4\x02xy\xc0", 12},
        {"\xdd\x00\x00\x00\x04\x05\xc4\x01k\xc4\x02xy\xc0", 14},
        {"\x95\x05\xc4\x01k\xc4\x02xy\xc0\x07", 11}, /* elements of a later version */
        {"\x96\x05\xc4\x01k\xc4\x02xy\xc0\x81\x01\x02\xc0", 14},
    };

    (void)state;
    for (size_t i = 0; i < sizeof same / sizeof same[0]; i++) {
        struct record rec = {0};

        assert_int_equal(walk(same[i].p, same[i].n, 1, &rec), WERR_OK);
        assert_true(rec.ts_delta_ms == 5);
        assert_true(slice_eq(rec.key, slice_str("k")));
        assert_true(slice_eq(rec.value, slice_str("xy")));
        assert_null(rec.headers.p);
    }
}

static void test_nil_is_not_empty(void **state)
{
    struct record rec;

    (void)state;
    assert_int_equal(WALK("\x94\x00\xc0\xc4\x00\xc0", 1, &rec), WERR_OK);
    assert_null(rec.key.p);
    assert_non_null(rec.value.p);
    assert_int_equal(rec.value.n, 0);
    assert_int_equal(WALK("\x94\x00\xc4\x00\xc0\x80", 1, &rec), WERR_OK);
    assert_non_null(rec.key.p);
    assert_null(rec.value.p);
    assert_int_equal(rec.headers.n, 1);
}

static void test_records_that_are_refused(void **state)
{
    static const struct {
        const char *p;
        size_t n;
    } bad[] = {
        {"", 0},
        {"\x93\x00\xc0\xc0", 4},
        {"\x94\xff\xc0\xc0\xc0", 5},                                  /* delta -1 */
        {"\x94\xd3\x80\x00\x00\x00\x00\x00\x00\x00\xc0\xc0\xc0", 13}, /* INT64_MIN */
        {"\x94\xcf\x00\x00\x00\x01\x00\x00\x00\x00\xc0\xc0\xc0", 13}, /* over u32 */
        {"\x94\xc0\xc0\xc0\xc0", 5},
        {"\x94\x00\x01\xc0\xc0", 5},                 /* key an integer */
        {"\x94\x00\xc0\x90\xc0", 5},                 /* value an array */
        {"\x94\x00\xc0\xc0\x01", 5},                 /* headers an integer */
        {"\x94\x00\xc0\xc0\x81\x01\xc4\x00", 8},     /* name an integer */
        {"\x94\x00\xc0\xc0\x81\xa1k\xc0", 8},        /* value nil */
        {"\x94\x00\xc0\xc0\x81\xa1\xff\xc4\x00", 9}, /* name not UTF-8 */
        {"\x94\x00\xc0\xc0\x82\xa1k\xc4\x00", 9},    /* a pair missing */
        {"\x94\x00\xc4\xff\xc0\xc0", 6},             /* key longer than all */
        {"\x94\x00\xc6\xff\xff\xff\xff\xc0", 8},
        {"\xdd\x10\x00\x00\x00\x00\xc0\xc0\xc0", 9}, /* 2^28 elements */
        {"\x84\x00\xc0\xc0\xc0\x00\x00\x00\x00", 9}, /* a map */
        {"\x95\x00\xc0\xc0\xc0", 5},                 /* fifth missing */
        {"\x95\x00\xc0\xc0\xc0\xc1", 6},
    };

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_int_equal(walk(bad[i].p, bad[i].n, 1, NULL), WERR_CORRUPT);
    }
    assert_int_equal(WALK("\x94\x00\xc0\xc0\xc0", 2, NULL), WERR_CORRUPT); /* one of two */
}

static void test_every_truncated_prefix_fails(void **state)
{
    static const char full[] = "\x95\xcd\x01\x00\xc5\x00\x01k\xc4\x02xy\x81\xa1h\xc4\x01v\x2a";

    (void)state;
    for (size_t n = 0; n < sizeof full - 1; n++) {
        assert_int_equal(walk(full, n, 1, NULL), WERR_CORRUPT);
    }
    assert_int_equal(walk(full, sizeof full - 1, 1, NULL), WERR_OK);
}

/* Good bytes lie behind the end: only the end itself says that they do not count. */
static void test_the_end_is_respected(void **state)
{
    static const uint8_t full[] = {0x94, 0x00, 0xc4, 0x01, 'k', 0xc5, 0x00, 0x02, 'x', 'y', 0xc0};

    (void)state;
    for (size_t n = 0; n <= sizeof full; n++) {
        struct record_iter it = {full, full + n, 1, WERR_OK, NULL};
        struct record rec;

        assert_int_equal(record_next(&it, &rec), n == sizeof full);
        assert_int_equal(it.err, n == sizeof full ? WERR_OK : WERR_CORRUPT);
    }
}

static void test_headers_are_walked(void **state)
{
    struct slice name, value;
    struct record rec;

    (void)state;
    assert_int_equal(WALK("\x94\x00\xc0\xc0\x82\xa1"
                          "a\xc4\x01x\xa2"
                          "bc\xa1y",
                          1, &rec),
                     WERR_OK);
    assert_true(record_header_next(&rec.headers, &name, &value));
    assert_true(slice_eq(name, slice_str("a")) && slice_eq(value, slice_str("x")));
    assert_true(record_header_next(&rec.headers, &name, &value));
    assert_true(slice_eq(name, slice_str("bc")) && slice_eq(value, slice_str("y")));
    assert_false(record_header_next(&rec.headers, &name, &value));
    rec.headers = slice_of("\x80", 1);
    assert_false(record_header_next(&rec.headers, &name, &value));
    rec.headers = slice_of(NULL, 0);
    assert_false(record_header_next(&rec.headers, &name, &value));
}

/* One record with `pairs` headers whose map takes exactly `bytes` bytes. */
static enum werr with_headers(size_t pairs, size_t bytes)
{
    static char fill[LIMIT_HEADER_BYTES + 100];
    struct buf b = {0};
    enum werr rc;
    size_t at;

    buf_put(&b, "\x94\x00\xc0\xc0", 4);
    at = b.len;
    mpw_map(&b, pairs);
    for (size_t i = 1; i < pairs; i++) {
        mpw_cstr(&b, "n");
        mpw_bin(&b, slice_of(NULL, 0));
    }
    mpw_cstr(&b, "n");
    if (bytes != 0) {
        mpw_bin(&b, slice_of(fill, bytes - (b.len - at) - 3)); /* bin16 */
        assert_int_equal(b.len - at, bytes);
    } else {
        mpw_nil(&b);
        b.p[b.len - 1] = 0xa0;
    }
    rc = walk(b.p, b.len, 1, NULL);
    buf_fini(&b);
    return rc;
}

static void test_header_limits_at_n_and_one_more(void **state)
{
    (void)state;
    assert_int_equal(with_headers(LIMIT_HEADERS, 0), WERR_OK);
    assert_int_equal(with_headers(LIMIT_HEADERS + 1, 0), WERR_CORRUPT);
    assert_int_equal(with_headers(1, LIMIT_HEADER_BYTES), WERR_OK);
    assert_int_equal(with_headers(1, LIMIT_HEADER_BYTES + 1), WERR_CORRUPT);
    assert_int_equal(with_headers(3, LIMIT_HEADER_BYTES), WERR_OK);
    assert_int_equal(with_headers(3, LIMIT_HEADER_BYTES + 1), WERR_CORRUPT);
}

static void test_compressed_records(void **state)
{
    struct zstd_ctx *z = zstd_ctx_new();
    struct buf b = {0}, scratch = {0};
    struct batch_head h;

    (void)state;
    sample_zstd_batch(&b);
    batch_head_read(b.p, &h);
    for (int own = 0; own < 2; own++) {
        struct record_iter it;
        struct record rec;
        unsigned n = 0;

        assert_int_equal(record_open_with(own ? NULL : z, &it, buf_slice(&b), &h, &scratch, NULL),
                         WERR_OK);
        while (record_next(&it, &rec)) {
            assert_true(rec.ts_delta_ms == (int64_t)n * 100);
            assert_int_equal(rec.value.n, 48);
            assert_int_equal(rec.headers.n == 0, n % 3 == 0);
            n++;
        }
        assert_int_equal(it.err, WERR_OK);
        assert_int_equal(n, 40);
        assert_ptr_equal(it.p, it.end);
    }
    buf_fini(&b);
    buf_fini(&scratch);
    zstd_ctx_free(z);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_both_ways_read_the_same),
        cmocka_unit_test(test_nil_is_not_empty),
        cmocka_unit_test(test_records_that_are_refused),
        cmocka_unit_test(test_every_truncated_prefix_fails),
        cmocka_unit_test(test_the_end_is_respected),
        cmocka_unit_test(test_headers_are_walked),
        cmocka_unit_test(test_header_limits_at_n_and_one_more),
        cmocka_unit_test(test_compressed_records),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
