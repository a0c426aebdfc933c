#include "storage/keys.h"

#include "storage/rows.h"
#include "tests/lib/test.h"

static int cmp(const uint8_t *a, const uint8_t *b)
{
    return memcmp(a, b, LOG_KEY_BYTES);
}

static void test_log_key_order(void **state)
{
    static const uint64_t offsets[] = {0, 1, 255, 256, UINT32_MAX, UINT64_MAX};
    static const uint32_t numbers[] = {0, 1, 255, 256, UINT32_MAX};
    (void)state;
    uint8_t last[LOG_KEY_BYTES], key[LOG_KEY_BYTES];
    memset(last, 0, sizeof(last));
    bool any = false;
    for (size_t b = 0; b < 5; b++) {
        for (size_t p = 0; p < 5; p++) {
            for (size_t o = 0; o < 6; o++) {
                uint32_t bucket = 0, partition = 0;
                uint64_t offset = 0;
                log_key(key, numbers[b], numbers[p], offsets[o]);
                assert_true(!any || cmp(last, key) < 0);
                log_key_parse(key, &bucket, &partition, &offset);
                assert_true(bucket == numbers[b] && partition == numbers[p]);
                assert_true(offset == offsets[o]);
                memcpy(last, key, sizeof(last));
                any = true;
            }
        }
    }
}

static void test_bytes_on_disk(void **state)
{
    static const uint8_t want[] = {0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 1, 3};
    static const uint8_t gap[] = {'h', 0, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0, 9};
    (void)state;
    uint8_t key[LOG_KEY_BYTES];
    log_key(key, 1, 2, 259);
    assert_memory_equal(key, want, sizeof(want));
    struct meta_key k = meta_key_32_64(META_GAP, 7, 9);
    assert_int_equal(k.n, sizeof(gap));
    assert_memory_equal(k.p, gap, sizeof(gap));
    k = meta_key_32_32(META_RANGE, 1, 2);
    assert_int_equal(k.n, 9);
    /* the registry is part of the format */
    assert_int_equal(META_APPLIED, 'a');
    assert_int_equal(META_BUCKET, 'b');
    assert_int_equal(META_IDENTITY, 'i');
    assert_int_equal(META_START, 'l');
    assert_int_equal(META_DROPPED, 'x');
    assert_int_equal(META_RANGE, 'r');
    assert_int_equal(META_TOPIC, 't');
    assert_int_equal(META_COUNTERS, 'c');
    assert_int_equal(META_WINDOW, 'w');
    assert_int_equal(META_PRODUCER, 'n');
    assert_int_equal(META_GROUP, 'g');
    assert_int_equal(META_GPART, 'p');
    assert_int_equal(META_ACKED, 'k');
    assert_int_equal(META_LEASE, 'L');
    assert_int_equal(META_RETRY, 'R');
    assert_int_equal(META_DELAYED, 'd');
    assert_int_equal(TABLE_DELAY, 5);
    assert_int_equal(TABLE_COUNT, 7);
}

static void test_delay_key(void **state)
{
    static const uint8_t want[] = {0, 0, 1, 0, 0, 0, 0, 2, 0, 0, 0, 3, 0, 0, 5, 0, 0, 0, 0, 4};
    (void)state;
    uint64_t due = 0, sequence = 0;
    uint32_t partition = 0;
    struct meta_key k = delay_key((UINT64_C(1) << 40) + 2, 3, (UINT64_C(5) << 40) + 4);
    assert_int_equal(k.n, sizeof(want));
    assert_memory_equal(k.p, want, sizeof(want));
    assert_true(delay_key_parse(key_slice(&k), &due, &partition, &sequence));
    assert_true(due == (UINT64_C(1) << 40) + 2 && partition == 3);
    assert_true(sequence == (UINT64_C(5) << 40) + 4);
    assert_false(delay_key_parse(slice_of(k.p, k.n - 1U), &due, &partition, &sequence));
    /* due first, then partition, then arrival */
    const struct meta_key a = delay_key(1, 9, 9), b = delay_key(2, 0, 0), c = delay_key(2, 0, 1),
                          d = delay_key(2, 1, 0);
    assert_true(memcmp(a.p, b.p, a.n) < 0 && memcmp(b.p, c.p, a.n) < 0);
    assert_true(memcmp(c.p, d.p, a.n) < 0);
}

static void test_ends(void **state)
{
    (void)state;
    struct meta_key end = log_bucket_end(1), key = log_meta_key(2, 0, 0);
    assert_true(memcmp(end.p, key.p, end.n) == 0); /* shorter sorts first: exclusive */
    end = log_bucket_end(0xff);
    key = log_meta_key(0x100, 0, 0);
    assert_true(memcmp(end.p, key.p, end.n) <= 0);
    key = log_meta_key(0xff, UINT32_MAX, UINT64_MAX);
    assert_true(memcmp(key.p, end.p, end.n) < 0);
    end = log_bucket_end(UINT32_MAX);
    assert_int_equal(end.n, 0); /* to the end */
    struct meta_key k = meta_key_32(META_BUCKET, UINT32_MAX);
    end = meta_key_after(&k);
    assert_int_equal(end.n, 1);
    assert_int_equal(end.p[0], META_BUCKET + 1);
}

static void test_tables(void **state)
{
    (void)state;
    for (int t = 0; t < TABLE_COUNT; t++)
        assert_int_equal(table_is_log((enum store_table)t), t != TABLE_META && t != TABLE_DELAY);
    assert_true(meta_tag_is_own(META_GAP));
    assert_false(meta_tag_is_own(META_TOPIC));
    assert_false(meta_tag_is_own(META_RETRY));
}

static void test_bucket_row(void **state)
{
    (void)state;
    struct buf b = {0};
    struct werror e;
    const struct index_range in[] = {
        {0, 1, 1, 0, 0, 5, TABLE_LOG_1D},
        {UINT64_MAX - 1, UINT64_MAX, UINT64_MAX, INT64_MIN, INT64_MAX, 5, TABLE_HOLD},
        {1000, 2000, 1 << 20, -5, 1700000000000, 5, TABLE_LOG_FOREVER},
    };
    bucket_row_begin(&b, 77);
    for (uint32_t i = 0; i < 3; i++)
        bucket_row_add(&b, i * 1000000000, &in[i]);
    struct meta_key k = meta_key_32(META_BUCKET, 5);
    struct bucket_row row;
    assert_int_equal(bucket_row_open(&row, key_slice(&k), buf_slice(&b), &e), WERR_OK);
    assert_int_equal(row.total_bytes, 77);
    for (uint32_t i = 0; i < 3; i++) {
        uint32_t partition = 0;
        struct index_range r;
        assert_int_equal(bucket_row_next(&row, &partition, &r, &e), WERR_OK);
        assert_int_equal(partition, i * 1000000000);
        assert_memory_equal(&r, &in[i], offsetof(struct index_range, table) + 1);
    }
    uint32_t partition = 0;
    struct index_range r;
    assert_int_equal(bucket_row_next(&row, &partition, &r, &e), WERR_NOT_FOUND);
    /* cut anywhere: an error or fewer ranges, never a wild read (ASan watches) */
    for (size_t n = 0; n < b.len; n++) {
        struct buf cut = {0};
        buf_put(&cut, b.p, n);
        enum werr rc = bucket_row_open(&row, key_slice(&k), buf_slice(&cut), &e);
        while (rc == WERR_OK)
            rc = bucket_row_next(&row, &partition, &r, &e);
        assert_true(rc == WERR_CORRUPT || rc == WERR_NOT_FOUND);
        buf_fini(&cut);
    }
    buf_fini(&b);
}

static void test_small_rows(void **state)
{
    (void)state;
    struct werror e;
    struct applied a = {1, 2, 3, 4, 5, 6}, back;
    uint8_t v[APPLIED_BYTES];
    applied_encode(v, &a);
    assert_int_equal(applied_decode(slice_of(v, sizeof(v)), &back, &e), WERR_OK);
    assert_true(back.epoch == 1 && back.lsn == 2 && back.bucket == 3 && back.rows == 4);
    assert_true(back.bytes == 5 && back.sum == 6);
    assert_int_equal(applied_decode(slice_of(v, sizeof(v) - 1), &back, &e), WERR_CORRUPT);

    struct buf b = {0};
    struct identity id = {.format = STORE_FORMAT,
                          .uuid = "0123456789abcde",
                          .shard = 9,
                          .tables = TABLE_COUNT},
                    got;
    identity_encode(&b, &id);
    assert_int_equal(identity_decode(buf_slice(&b), &got, &e), WERR_OK);
    assert_memory_equal(got.uuid, id.uuid, sizeof(id.uuid));
    b.p[3]++; /* the next format */
    assert_int_equal(identity_decode(buf_slice(&b), &got, &e), WERR_FORMAT_NEWER);
    assert_non_null(strstr(e.text, "2"));
    assert_non_null(strstr(e.text, "1"));
    buf_fini(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_log_key_order), cmocka_unit_test(test_bytes_on_disk),
        cmocka_unit_test(test_delay_key),     cmocka_unit_test(test_ends),
        cmocka_unit_test(test_tables),        cmocka_unit_test(test_bucket_row),
        cmocka_unit_test(test_small_rows),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
