#include <stdlib.h>

#include "proto/batch.h"
#include "proto/compress.h"
#include "tests/lib/test.h"

static const struct batch_rules rules = {.max_bytes = LIMIT_BATCH,
                                         .max_message_bytes = LIMIT_MESSAGE_CAP,
                                         .walk_records = true,
                                         .unzip = true};

static struct slice finish(struct batch_builder *bb, int codec, struct buf *zip,
                           struct batch_head *h)
{
    const struct batch_producer prod = {.id = 7, .epoch = 3, .base_seq = 99};
    struct slice out;
    struct werror e = {0};
    enum werr rc;

    assert_int_equal(batch_finish(bb, &prod, codec, zip, &out), WERR_OK);
    rc = batch_check((uint8_t *)(uintptr_t)out.p, out.n, &rules, h, &e);
    if (rc != WERR_OK) {
        print_error("%s\n", e.text);
    }
    assert_int_equal(rc, WERR_OK);
    return out;
}

/* n bytes that hardly compress; every call gives the same memory. */
static struct slice bytes(size_t n)
{
    static uint8_t p[LIMIT_BATCH];

    assert_true(n <= sizeof p);
    if (p[0] == 0) {
        uint32_t x = 1;

        for (size_t i = 0; i < sizeof p; i++) {
            x = x * 1664525 + 1013904223;
            p[i] = (uint8_t)(x >> 24);
        }
    }
    return slice_of(p, n);
}

static void test_header_fields(void **state)
{
    struct batch_builder bb;
    struct buf zip = {0};
    struct batch_head h;

    (void)state;
    batch_builder_init(&bb, 0);
    assert_int_equal(batch_add(&bb, 1000, slice_str("k"), slice_str("v"), NULL, 0), WERR_OK);
    assert_int_equal(batch_add(&bb, 1500, slice_of(NULL, 0), slice_str("v"), NULL, 0), WERR_OK);
    assert_int_equal(batch_add(&bb, 900, slice_str("k"), slice_of(NULL, 0), NULL, 0), WERR_OK);
    (void)finish(&bb, BATCH_CODEC_NONE, &zip, &h);
    assert_true(h.base_ts_ms == 1000 && h.max_ts_delta_ms == 500 && h.count == 3);
    assert_true(h.producer_id == 7 && h.producer_epoch == 3 && h.base_seq == 99);
    assert_true(h.magic == BATCH_MAGIC && h.codec == BATCH_CODEC_NONE && h.flags == 0);
    assert_true(h.base_offset == 0 && h.append_ms == 0 && h.epoch == 0 && h.head_crc == 0);
    batch_builder_fini(&bb);
    batch_builder_fini(&bb);
    buf_fini(&zip);
}

/* Sizes around every change of a length prefix, nil and empty, read back as written. */
static void test_what_is_added_is_read(void **state)
{
    static const size_t sizes[] = {0, 1, 31, 32, 255, 256, 65535, 65536, 70000};
    enum { N = sizeof sizes / sizeof sizes[0] };
    const struct record_header hs[] = {{slice_str("a"), slice_of(NULL, 0)},
                                       {slice_str("traceparent"), slice_str("00-1-2-3")}};
    struct batch_builder bb;
    struct buf zip = {0}, scratch = {0};
    struct batch_head h;
    struct record_iter it;
    struct record rec;
    struct slice out;

    (void)state;
    batch_builder_init(&bb, 0);
    for (size_t i = 0; i < N; i++) {
        assert_int_equal(batch_add(&bb, (int64_t)(1 + i * i * i * i * 30), bytes(sizes[i]),
                                   bytes(sizes[N - 1 - i]), hs, i % 3),
                         WERR_OK);
    }
    for (int codec = 0; codec < 2; codec++) {
        out = finish(&bb, codec, &zip, &h);
        assert_int_equal(record_open(&it, out, &h, &scratch, NULL), WERR_OK);
        for (size_t i = 0; i < N; i++) {
            struct slice name, value;
            unsigned n = 0;

            assert_true(record_next(&it, &rec));
            assert_true(rec.ts_delta_ms == (int64_t)(i * i * i * i * 30));
            assert_true(slice_eq(rec.key, bytes(sizes[i])) && rec.key.p != NULL);
            assert_true(slice_eq(rec.value, bytes(sizes[N - 1 - i])));
            while (record_header_next(&rec.headers, &name, &value)) {
                assert_true(slice_eq(name, hs[n].name) && slice_eq(value, hs[n].value));
                n++;
            }
            assert_int_equal(n, i % 3);
        }
        assert_false(record_next(&it, &rec));
    }
    batch_builder_fini(&bb);
    buf_fini(&zip);
    buf_fini(&scratch);
}

/* The shortest head for every size; names of 31 and 32 bytes are where theirs changes. */
static void test_lengths_are_exact(void **state)
{
    static const struct {
        size_t size, head;
    } rows[] = {{0, 2}, {255, 2}, {256, 3}, {65535, 3}, {65536, 5}};
    struct batch_builder bb;

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        batch_builder_init(&bb, 0);
        assert_int_equal(batch_add(&bb, 0, slice_of(NULL, 0), bytes(rows[i].size), NULL, 0),
                         WERR_OK);
        assert_int_equal(bb.b.len, BATCH_HEAD + 3 + rows[i].head + rows[i].size + 1);
        batch_builder_fini(&bb);
    }
    for (size_t name = 31; name <= 32; name++) {
        const char *text = "nnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnn";
        size_t room = LIMIT_HEADER_BYTES - 1 - (size_t)(name < 32 ? 1 : 2) - name - 3;
        struct record_header h = {slice_of(text, name), bytes(room)};

        batch_builder_init(&bb, 0);
        assert_int_equal(batch_add(&bb, 0, bytes(1), bytes(1), &h, 1), WERR_OK);
        h.value.n++;
        assert_int_equal(batch_add(&bb, 0, bytes(1), bytes(1), &h, 1), WERR_TOO_LARGE);
        batch_builder_fini(&bb);
    }
}

static void test_bound_is_never_too_small(void **state)
{
    static const size_t sizes[] = {0, 1, 31, 32, 255, 256, 65535, 65536};
    enum { N = sizeof sizes / sizeof sizes[0] };

    (void)state;
    for (size_t i = 0; i < N * N; i++) {
        struct record_header hs[20];
        struct slice key = bytes(sizes[i % N]), value = bytes(sizes[i / N]);
        size_t n = i % 20, bound, at;
        struct batch_builder bb;

        for (size_t k = 0; k < n; k++) {
            hs[k] = (struct record_header){slice_str("name"), bytes(k * 17)};
        }
        batch_builder_init(&bb, 0);
        assert_int_equal(batch_add(&bb, 0, key, value, NULL, 0), WERR_OK);
        at = bb.b.len;
        bound = batch_record_bound(key, value, hs, n);
        assert_int_equal(batch_add(&bb, INT64_MAX, key, value, hs, n), WERR_OK);
        assert_true(bb.b.len - at <= bound);
        assert_true(bb.b.len - at + 16 >= bound);
        batch_builder_fini(&bb);
    }
}

static void test_limit_says_full_then_too_large(void **state)
{
    struct batch_builder bb;
    struct slice out;
    struct buf zip = {0};

    (void)state;
    assert_int_equal(batch_record_bound(bytes(100), bytes(100), NULL, 0), 217);
    batch_builder_init(&bb, BATCH_HEAD + 2 * 217);
    assert_int_equal(batch_finish(&bb, NULL, 0, &zip, &out), WERR_MISUSE); /* empty */
    assert_int_equal(batch_add(&bb, 0, bytes(300), bytes(300), NULL, 0), WERR_TOO_LARGE);
    assert_int_equal(batch_add(&bb, 0, bytes(100), bytes(100), NULL, 0), WERR_OK);
    assert_int_equal(batch_add(&bb, 0, bytes(100), bytes(100), NULL, 0), WERR_OK);
    assert_int_equal(batch_add(&bb, 0, bytes(100), bytes(100), NULL, 0), WERR_BUFFER_FULL);
    assert_int_equal(bb.count, 2);
    assert_int_equal(batch_finish(&bb, NULL, 0, &zip, &out), WERR_OK);
    batch_builder_reset(&bb);
    assert_int_equal(batch_add(&bb, 0, bytes(100), bytes(100), NULL, 0), WERR_OK);
    assert_int_equal(bb.count, 1);
    batch_builder_fini(&bb);
    buf_fini(&zip);
}

static void test_record_count_at_n_and_one_more(void **state)
{
    struct batch_builder bb;
    struct buf zip = {0};
    struct batch_head h;

    (void)state;
    batch_builder_init(&bb, 0);
    for (unsigned i = 0; i < LIMIT_BATCH_RECORDS; i++) {
        assert_int_equal(batch_add(&bb, 0, slice_of(NULL, 0), slice_of(NULL, 0), NULL, 0), WERR_OK);
    }
    assert_int_equal(batch_add(&bb, 0, slice_of(NULL, 0), slice_of(NULL, 0), NULL, 0),
                     WERR_BUFFER_FULL);
    (void)finish(&bb, BATCH_CODEC_NONE, &zip, &h);
    assert_int_equal(h.count, LIMIT_BATCH_RECORDS);
    batch_builder_fini(&bb);
    buf_fini(&zip);
}

static void test_batch_bytes_at_n_and_one_more(void **state)
{
    struct batch_builder bb;
    struct buf zip = {0};
    struct slice out;

    (void)state;
    for (int more = 0; more < 2; more++) {
        size_t n = LIMIT_BATCH - BATCH_HEAD - 9 + (size_t)more; /* 94 00 c0 c6 + 4, value, c0 */

        batch_builder_init(&bb, 0);
        assert_int_equal(batch_add(&bb, 0, slice_of(NULL, 0), bytes(n), NULL, 0), WERR_OK);
        assert_int_equal(batch_finish(&bb, NULL, 0, &zip, &out), more ? WERR_TOO_LARGE : WERR_OK);
        batch_builder_fini(&bb);
    }
    assert_int_equal(out.n, LIMIT_BATCH);
    batch_builder_init(&bb, 0);
    assert_int_equal(
        batch_add(&bb, 0, slice_of(NULL, 0), slice_of("", (size_t)LIMIT_BATCH + 1), NULL, 0),
        WERR_TOO_LARGE);
    batch_builder_fini(&bb);
    buf_fini(&zip);
}

static void test_header_limits_at_n_and_one_more(void **state)
{
    struct record_header hs[LIMIT_HEADERS + 1];
    struct batch_builder bb;
    struct buf zip = {0};
    struct batch_head h;

    (void)state;
    for (size_t i = 0; i <= LIMIT_HEADERS; i++) {
        hs[i] = (struct record_header){slice_str("n"), slice_str("v")};
    }
    batch_builder_init(&bb, 0);
    assert_int_equal(batch_add(&bb, 0, bytes(1), bytes(1), hs, LIMIT_HEADERS), WERR_OK);
    assert_int_equal(batch_add(&bb, 0, bytes(1), bytes(1), hs, LIMIT_HEADERS + 1), WERR_TOO_LARGE);
    hs[0].value = bytes(LIMIT_HEADER_BYTES - 6); /* map head, name head, name, bin16 head */
    assert_int_equal(batch_add(&bb, 0, bytes(1), bytes(1), hs, 1), WERR_OK);
    hs[0].value = bytes(LIMIT_HEADER_BYTES - 5);
    assert_int_equal(batch_add(&bb, 0, bytes(1), bytes(1), hs, 1), WERR_TOO_LARGE);
    hs[0] = (struct record_header){slice_str("bad\xff"), slice_str("v")};
    assert_int_equal(batch_add(&bb, 0, bytes(1), bytes(1), hs, 1), WERR_MISUSE);
    (void)finish(&bb, BATCH_CODEC_NONE, &zip, &h); /* what was accepted, every reader takes */
    assert_int_equal(h.count, 2);
    batch_builder_fini(&bb);
    buf_fini(&zip);
}

static void test_times_are_clamped(void **state)
{
    struct batch_builder bb;
    struct buf zip = {0};
    struct batch_head h;

    (void)state;
    batch_builder_init(&bb, 0);
    assert_int_equal(batch_add(&bb, INT64_MIN, bytes(1), bytes(1), NULL, 0), WERR_OK);
    assert_int_equal(batch_add(&bb, INT64_MAX, bytes(1), bytes(1), NULL, 0), WERR_OK);
    assert_int_equal(batch_add(&bb, INT64_MIN, bytes(1), bytes(1), NULL, 0), WERR_OK);
    (void)finish(&bb, BATCH_CODEC_NONE, &zip, &h);
    assert_true(h.base_ts_ms == 0 && h.max_ts_delta_ms == UINT32_MAX);
    batch_builder_reset(&bb);
    assert_int_equal(batch_add(&bb, INT64_MAX, bytes(1), bytes(1), NULL, 0), WERR_OK);
    (void)finish(&bb, BATCH_CODEC_NONE, &zip, &h);
    assert_true(h.base_ts_ms == (int64_t)LIMIT_UINT && h.max_ts_delta_ms == 0);
    batch_builder_fini(&bb);
    buf_fini(&zip);
}

static void test_zstd_only_when_it_pays(void **state)
{
    static const uint8_t zeros[100000];
    const struct {
        struct slice value;
        unsigned times;
        int codec;
    } rows[] = {
        {slice_str("the same text again and again, "), 100, BATCH_CODEC_ZSTD},
        {slice_str("the same text again and again, "), 10, BATCH_CODEC_NONE}, /* under 1 KiB */
        {bytes(100000), 1, BATCH_CODEC_NONE},                   /* noise: saves a few percent */
        {slice_of(zeros, sizeof zeros), 150, BATCH_CODEC_NONE}, /* over the ratio readers allow */
    };
    struct zstd_ctx *z = zstd_ctx_new();
    struct buf zip = {0};

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct batch_builder bb;
        struct batch_head h;

        batch_builder_init(&bb, 0);
        bb.z = i % 2 == 0 ? z : NULL;
        for (unsigned k = 0; k < rows[i].times; k++) {
            assert_int_equal(batch_add(&bb, 0, bytes(0), rows[i].value, NULL, 0), WERR_OK);
        }
        (void)finish(&bb, BATCH_CODEC_ZSTD, &zip, &h);
        assert_int_equal(h.codec, rows[i].codec);
        batch_builder_fini(&bb);
    }
    buf_fini(&zip);
    zstd_ctx_free(z);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_header_fields),
        cmocka_unit_test(test_what_is_added_is_read),
        cmocka_unit_test(test_lengths_are_exact),
        cmocka_unit_test(test_bound_is_never_too_small),
        cmocka_unit_test(test_limit_says_full_then_too_large),
        cmocka_unit_test(test_record_count_at_n_and_one_more),
        cmocka_unit_test(test_batch_bytes_at_n_and_one_more),
        cmocka_unit_test(test_header_limits_at_n_and_one_more),
        cmocka_unit_test(test_times_are_clamped),
        cmocka_unit_test(test_zstd_only_when_it_pays),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
