#include "proto/batch.h"

#include <stdlib.h>

#include "proto/crc32c.h"
#include "tests/lib/test.h"
#include "tests/unit/proto/samples.h"
#include "tests/unit/proto/walk.h"

static const struct batch_rules rules = {
    .max_bytes = LIMIT_BATCH, .max_message_bytes = LIMIT_MESSAGE_DEFAULT, .walk_records = true};

static void reseal(struct buf *b)
{
    put_be32(b->p + 28, crc32c(b->p + 32, b->len - 32));
}

static enum werr check(struct buf *b, const struct batch_rules *r)
{
    struct batch_head h;
    struct werror e = {0};
    enum werr rc = batch_check(b->p, b->len, r, &h, &e);

    assert_int_equal(e.code, rc);
    assert_int_equal(rc == WERR_OK, e.text[0] == '\0');
    return rc;
}

static void test_header_round_trip(void **state)
{
    const struct batch_head h = {.base_offset = 0x0102030405060708,
                                 .append_ms = 0x1112131415161718,
                                 .epoch = 0x21222324,
                                 .length = 0x31323334,
                                 .head_crc = 0x41424344,
                                 .crc = 0x51525354,
                                 .magic = 0x61,
                                 .codec = 0x62,
                                 .flags = 0x6364,
                                 .max_ts_delta_ms = 0x71727374,
                                 .producer_id = 0x8182838485868788,
                                 .base_ts_ms = 0x1192939495969798,
                                 .base_seq = 0xa1a2a3a4,
                                 .producer_epoch = 0xb1b2,
                                 .count = 0xc1c2};
    static const uint8_t want[BATCH_HEAD] = {
        0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x07, 0x08, 0x11, 0x12, 0x13, 0x14, 0x15,
        0x16, 0x17, 0x18, 0x21, 0x22, 0x23, 0x24, 0x31, 0x32, 0x33, 0x34, 0x41, 0x42,
        0x43, 0x44, 0x51, 0x52, 0x53, 0x54, 0x61, 0x62, 0x63, 0x64, 0x71, 0x72, 0x73,
        0x74, 0x81, 0x82, 0x83, 0x84, 0x85, 0x86, 0x87, 0x88, 0x11, 0x92, 0x93, 0x94,
        0x95, 0x96, 0x97, 0x98, 0xa1, 0xa2, 0xa3, 0xa4, 0xb1, 0xb2, 0xc1, 0xc2};
    uint8_t p[BATCH_HEAD];
    struct batch_head got = {0};

    (void)state;
    batch_head_write(p, &h);
    assert_memory_equal(p, want, sizeof want);
    batch_head_read(p, &got);
    assert_true(got.base_offset == h.base_offset && got.append_ms == h.append_ms);
    assert_true(got.epoch == h.epoch && got.length == h.length && got.head_crc == h.head_crc);
    assert_true(got.crc == h.crc && got.magic == h.magic && got.codec == h.codec);
    assert_true(got.flags == h.flags && got.max_ts_delta_ms == h.max_ts_delta_ms);
    assert_true(got.producer_id == h.producer_id && got.base_ts_ms == h.base_ts_ms);
    assert_true(got.base_seq == h.base_seq && got.producer_epoch == h.producer_epoch);
    assert_true(got.count == h.count);
}

static void test_good_batches_pass(void **state)
{
    struct batch_rules full = rules;
    struct buf b = {0};

    (void)state;
    full.unzip = true;
    sample_batch(&b);
    assert_int_equal(check(&b, &rules), WERR_OK);
    assert_int_equal(check(&b, &full), WERR_OK);
    buf_clear(&b);
    sample_zstd_batch(&b);
    assert_int_equal(b.p[33], BATCH_CODEC_ZSTD);
    assert_int_equal(check(&b, &rules), WERR_OK);
    assert_int_equal(check(&b, &full), WERR_OK);
    buf_fini(&b);
}

/* Each row changes bytes of a good batch; the crc is made right again. */
static void test_header_lies_are_refused(void **state)
{
    static const struct {
        const char *what;
        size_t at, n;
        uint64_t v;
        enum werr rc;
    } rows[] = {
        {"length - 1", 20, 4, 77, WERR_CORRUPT_BATCH},
        {"length + 1", 20, 4, 79, WERR_CORRUPT_BATCH},
        {"length 0", 20, 4, 0, WERR_CORRUPT_BATCH},
        {"magic 0", 32, 1, 0, WERR_CORRUPT_BATCH},
        {"magic 2", 32, 1, 2, WERR_CORRUPT_BATCH},
        {"codec 2", 33, 1, 2, WERR_CORRUPT_BATCH},
        {"control", 34, 2, BATCH_CONTROL, WERR_CORRUPT_BATCH},
        {"transaction", 34, 2, BATCH_TXN, WERR_CORRUPT_BATCH},
        {"dictionary", 34, 2, BATCH_ZDICT, WERR_CORRUPT_BATCH},
        {"unknown critical flag", 34, 2, 0x80, WERR_CORRUPT_BATCH},
        {"ignorable flags", 34, 2, 0xff00, WERR_OK},
        {"no crc", 34, 2, BATCH_NO_CRC, WERR_OK},
        {"count 0", 62, 2, 0, WERR_CORRUPT_BATCH},
        {"count 2", 62, 2, 2, WERR_CORRUPT_BATCH},
        {"count 65535", 62, 2, 65535, WERR_CORRUPT_BATCH},
        {"pid 2^53 - 1", 40, 8, LIMIT_UINT, WERR_OK},
        {"pid 2^53", 40, 8, LIMIT_UINT + 1, WERR_CORRUPT_BATCH},
        {"time 2^53 - 1", 48, 8, LIMIT_UINT, WERR_OK},
        {"time 2^53", 48, 8, LIMIT_UINT + 1, WERR_CORRUPT_BATCH},
        {"time -1", 48, 8, UINT64_MAX, WERR_CORRUPT_BATCH},
        {"sequence at its wrap", 56, 4, UINT32_MAX, WERR_OK},
        {"base offset, broker's own", 0, 8, 999, WERR_OK},
    };
    struct buf b = {0};

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        enum werr rc;

        buf_clear(&b);
        sample_batch(&b);
        assert_int_equal(b.len, 78);
        for (size_t k = 0; k < rows[i].n; k++) {
            b.p[rows[i].at + k] = (uint8_t)(rows[i].v >> (8 * (rows[i].n - 1 - k)));
        }
        reseal(&b);
        rc = check(&b, &rules);
        if (rc != rows[i].rc) {
            print_error("%s: %s\n", rows[i].what, werr_name(rc));
        }
        assert_int_equal(rc, rows[i].rc);
    }
    buf_fini(&b);
}

static void test_sizes_at_n_and_one_more(void **state)
{
    struct batch_rules r = rules;
    struct buf b = {0};

    (void)state;
    sample_batch(&b);
    r.max_bytes = 78;
    assert_int_equal(check(&b, &r), WERR_OK);
    r.max_bytes = 77;
    assert_int_equal(check(&b, &r), WERR_TOO_LARGE);
    r = rules;
    r.max_message_bytes = 7; /* "42" and "hello" */
    assert_int_equal(check(&b, &r), WERR_OK);
    r.max_message_bytes = 6;
    assert_int_equal(check(&b, &r), WERR_TOO_LARGE);
    buf_clear(&b);
    sample_zstd_batch(&b);
    r = rules;
    r.max_records = 40;
    assert_int_equal(check(&b, &r), WERR_OK);
    r.max_records = 39;
    assert_int_equal(check(&b, &r), WERR_TOO_LARGE);
    for (size_t n = 0; n < BATCH_HEAD; n++) {
        b.len = n;
        assert_int_equal(check(&b, &rules), WERR_CORRUPT_BATCH);
    }
    buf_fini(&b);
}

static void test_every_flipped_bit_is_seen(void **state)
{
    struct buf b = {0};

    (void)state;
    sample_batch(&b);
    for (size_t bit = 28 * 8; bit < b.len * 8; bit++) {
        if (bit == 34 * 8 + 15) {
            continue; /* NO_CRC: the batch says that it has none */
        }
        b.p[bit / 8] ^= (uint8_t)(0x80 >> (bit % 8));
        assert_int_not_equal(check(&b, &rules), WERR_OK);
        b.p[bit / 8] ^= (uint8_t)(0x80 >> (bit % 8));
    }
    assert_int_equal(check(&b, &rules), WERR_OK);
    buf_fini(&b);
}

static void test_no_crc_is_computed(void **state)
{
    struct batch_head h;
    struct slice run, batch;
    struct buf b = {0};

    (void)state;
    sample_batch(&b);
    b.p[35] = BATCH_NO_CRC;
    put_be32(b.p + 28, 0);
    assert_int_equal(batch_check(b.p, b.len, &rules, &h, NULL), WERR_OK);
    assert_int_equal(h.crc, crc32c(b.p + 32, b.len - 32));
    assert_int_equal(be32(b.p + 28), h.crc);
    batch_stamp(b.p, 1, 2, 3);
    run = buf_slice(&b);
    assert_int_equal(batch_next(&run, true, &h, &batch, NULL), WERR_OK);
    buf_fini(&b);
}

static void test_unzip_only_when_asked(void **state)
{
    struct batch_rules full = rules;
    struct buf b = {0};

    (void)state;
    full.unzip = true;
    sample_zstd_batch(&b);
    b.p[b.len - 1] ^= 1; /* damage inside the zstd frame, under a right crc */
    b.p[b.len - 9] ^= 1;
    reseal(&b);
    assert_int_equal(check(&b, &rules), WERR_OK);
    assert_int_equal(check(&b, &full), WERR_CORRUPT_BATCH);
    buf_fini(&b);
}

static void test_lies_inside_records(void **state)
{
    struct buf b = {0};

    (void)state;
    sample_batch(&b);
    b.p[65] = 1; /* the record's delta; max_ts_delta is 0 */
    reseal(&b);
    assert_int_equal(check(&b, &rules), WERR_CORRUPT_BATCH);
    put_be32(b.p + 36, 1);
    reseal(&b);
    assert_int_equal(check(&b, &rules), WERR_OK);
    buf_clear(&b);
    sample_zstd_batch(&b); /* nobody walks it, but its count is looked at */
    b.p[62] = b.p[63] = 0;
    reseal(&b);
    assert_int_equal(check(&b, &rules), WERR_CORRUPT_BATCH);
    buf_fini(&b);
}

static void test_stamp_changes_only_the_brokers_bytes(void **state)
{
    struct buf a = {0}, b = {0};

    (void)state;
    sample_batch(&a);
    sample_batch(&b);
    batch_stamp(b.p, 41, 1798000000005, 9);
    assert_true(be64(b.p) == 41 && be64(b.p + 8) == 1798000000005 && be32(b.p + 16) == 9);
    assert_int_equal(be32(b.p + 24), crc32c(b.p, 24));
    assert_memory_equal(a.p + 20, b.p + 20, 4);
    assert_memory_equal(a.p + 28, b.p + 28, a.len - 28);
    buf_fini(&a);
    buf_fini(&b);
}

static void test_next_walks_a_run(void **state)
{
    struct buf b = {0};
    struct slice run, batch;
    struct batch_head h;

    (void)state;
    sample_stored_batch(&b);
    sample_stored_batch(&b);
    batch_stamp(b.p + 78, 42, 1798000000006, 1);
    run = buf_slice(&b);
    assert_int_equal(batch_next(&run, true, &h, &batch, NULL), WERR_OK);
    assert_true(h.base_offset == 41 && batch.p == b.p && batch.n == 78);
    assert_int_equal(batch_next(&run, true, &h, &batch, NULL), WERR_OK);
    assert_true(h.base_offset == 42 && batch.p == b.p + 78);
    assert_int_equal(batch_next(&run, true, &h, &batch, NULL), WERR_NOT_FOUND);
    assert_int_equal(run.n, 0);
    buf_fini(&b);
}

static enum werr next(struct buf *b, bool verify)
{
    struct slice run = buf_slice(b), batch;
    struct batch_head h;
    struct werror e;

    return batch_next(&run, verify, &h, &batch, &e);
}

static void test_next_finds_every_damage(void **state)
{
    struct buf b = {0};

    (void)state;
    sample_stored_batch(&b);
    for (size_t bit = 0; bit < b.len * 8; bit++) {
        b.p[bit / 8] ^= (uint8_t)(1 << (bit % 8));
        assert_int_equal(next(&b, true), WERR_CORRUPT);
        b.p[bit / 8] ^= (uint8_t)(1 << (bit % 8));
    }
    b.p[70] ^= 1;
    assert_int_equal(next(&b, false), WERR_OK); /* content was not asked about */
    b.p[70] ^= 1;
    for (size_t n = b.len - 1; n > 0; n--) {
        b.len = n;
        assert_int_equal(next(&b, true), WERR_CORRUPT);
    }
    buf_fini(&b);
}

static void test_next_refuses_what_would_overflow(void **state)
{
    struct buf b = {0};

    (void)state;
    sample_batch(&b);
    batch_stamp(b.p, LIMIT_UINT, (int64_t)LIMIT_UINT, 1);
    assert_int_equal(next(&b, true), WERR_OK);
    batch_stamp(b.p, LIMIT_UINT + 1, 1, 1);
    assert_int_equal(next(&b, true), WERR_CORRUPT);
    batch_stamp(b.p, 1, (int64_t)LIMIT_UINT + 1, 1);
    assert_int_equal(next(&b, true), WERR_CORRUPT);
    batch_stamp(b.p, 1, -1, 1);
    assert_int_equal(next(&b, true), WERR_CORRUPT);
    batch_stamp(b.p, 1, 1, 1);
    put_be64(b.p + 48, INT64_MAX);
    reseal(&b);
    assert_int_equal(next(&b, true), WERR_CORRUPT);
    buf_fini(&b);
}

static void test_truncated_batches(void **state)
{
    static void (*const put[])(struct buf *) = {sample_batch, sample_zstd_batch};
    struct buf b = {0};

    (void)state;
    for (size_t k = 0; k < 2; k++) {
        buf_clear(&b);
        put[k](&b);
        for (size_t n = 1; n < b.len; n++) {
            uint8_t *exact = malloc(n);

            assert_non_null(exact);
            memcpy(exact, b.p, n);
            if (n >= BATCH_HEAD) { /* a cut that says so, under a right crc */
                put_be32(exact + 20, (uint32_t)n);
                put_be32(exact + 28, crc32c(exact + 32, n - 32));
            }
            assert_int_equal(walk_produced(slice_of(exact, n), true, NULL), WERR_CORRUPT_BATCH);
            free(exact);
        }
        assert_int_equal(walk_produced(buf_slice(&b), true, NULL), WERR_OK);
    }
    buf_fini(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_header_round_trip),
        cmocka_unit_test(test_good_batches_pass),
        cmocka_unit_test(test_header_lies_are_refused),
        cmocka_unit_test(test_sizes_at_n_and_one_more),
        cmocka_unit_test(test_every_flipped_bit_is_seen),
        cmocka_unit_test(test_no_crc_is_computed),
        cmocka_unit_test(test_unzip_only_when_asked),
        cmocka_unit_test(test_lies_inside_records),
        cmocka_unit_test(test_stamp_changes_only_the_brokers_bytes),
        cmocka_unit_test(test_next_walks_a_run),
        cmocka_unit_test(test_next_finds_every_damage),
        cmocka_unit_test(test_next_refuses_what_would_overflow),
        cmocka_unit_test(test_truncated_batches),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
