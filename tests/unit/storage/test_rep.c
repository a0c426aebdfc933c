#include "storage/rep.h"

#include <stdlib.h>

#include "tests/lib/test.h"

static void build(struct buf *b)
{
    rep_begin(b);
    rep_put(b, TABLE_META, slice_str("k"), slice_str("value"));
    rep_delete(b, TABLE_META, slice_str("gone"));
    rep_delete_range(b, TABLE_META, slice_str("a"), slice_str("b"));
    rep_put(b, TABLE_LOG_7D, slice_str("k2"), slice_str(""));
    rep_delete(b, TABLE_DELAY, slice_str(""));
    rep_delete_range(b, TABLE_HOLD, slice_str("x"), slice_str("y"));
    rep_put_begin(b, TABLE_LOG_1D, slice_str("big"), 300);
    for (int i = 0; i < 3; i++) {
        uint8_t piece[100];
        memset(piece, i, sizeof(piece));
        rep_raw(b, slice_of(piece, sizeof(piece)));
    }
}

/* The bytes that RocksDB's WriteBatch::Rep has for the same changes (db/write_batch.cc). */
static void test_bytes(void **state)
{
    (void)state;
    static const uint8_t want[] = {
        0,   0, 0,   0,   0,   0,   0,   0,        /* sequence */
        4,   0, 0,   0,                            /* count */
        1,   1, 'k', 5,   'v', 'a', 'l', 'u', 'e', /* put, default family */
        0,   4, 'g', 'o', 'n', 'e',                /* delete */
        0xf, 1, 'a', 1,   'b',                     /* delete range */
        5,   2, 2,   'k', '2', 0,                  /* put, family 2 */
    };
    struct buf b = {0};
    rep_begin(&b);
    rep_put(&b, TABLE_META, slice_str("k"), slice_str("value"));
    rep_delete(&b, TABLE_META, slice_str("gone"));
    rep_delete_range(&b, TABLE_META, slice_str("a"), slice_str("b"));
    rep_put(&b, TABLE_LOG_7D, slice_str("k2"), slice_str(""));
    assert_int_equal(b.len, sizeof(want));
    assert_memory_equal(b.p, want, sizeof(want));
    assert_int_equal(rep_count(&b), 4);
    buf_fini(&b);
}

static void test_round_trip(void **state)
{
    (void)state;
    static const struct {
        enum rep_kind kind;
        enum store_table table;
        const char *key, *value;
    } want[] = {{REP_PUT, TABLE_META, "k", "value"},      {REP_DELETE, TABLE_META, "gone", ""},
                {REP_DELETE_RANGE, TABLE_META, "a", "b"}, {REP_PUT, TABLE_LOG_7D, "k2", ""},
                {REP_DELETE, TABLE_DELAY, "", ""},        {REP_DELETE_RANGE, TABLE_HOLD, "x", "y"}};
    struct buf b = {0};
    struct rep_iter it;
    struct rep_op op;
    struct werror e;
    build(&b);
    assert_int_equal(rep_open(&it, buf_slice(&b), &e), WERR_OK);
    for (size_t i = 0; i < sizeof(want) / sizeof(want[0]); i++) {
        assert_int_equal(rep_next(&it, &op, &e), WERR_OK);
        assert_int_equal(op.kind, want[i].kind);
        assert_int_equal(op.table, want[i].table);
        assert_true(slice_eq(op.key, slice_str(want[i].key)));
        assert_true(slice_eq(op.value, slice_str(want[i].value)));
    }
    assert_int_equal(rep_next(&it, &op, &e), WERR_OK);
    assert_int_equal(op.value.n, 300);
    assert_int_equal(op.value.p[299], 2);
    assert_int_equal(rep_next(&it, &op, &e), WERR_NOT_FOUND);
    buf_fini(&b);
}

static enum werr walk(struct slice rep)
{
    struct rep_iter it;
    struct rep_op op;
    struct werror e;
    enum werr rc = rep_open(&it, rep, &e);
    while (rc == WERR_OK)
        rc = rep_next(&it, &op, &e);
    return rc;
}

static void test_damage(void **state)
{
    (void)state;
    struct buf b = {0};
    build(&b);
    for (size_t n = 0; n < b.len; n++) {
        struct buf cut = {0};
        buf_put(&cut, b.p, n); /* a copy of its own: ASan sees every byte too far */
        assert_int_equal(walk(buf_slice(&cut)), WERR_CORRUPT);
        buf_fini(&cut);
    }
    /* flipped bits: an error or other operations, never a wild read; the count and tags are checked
     */
    for (size_t i = 8; i < b.len; i++) {
        for (int bit = 0; bit < 8; bit++) {
            b.p[i] ^= (uint8_t)(1 << bit);
            enum werr rc = walk(buf_slice(&b));
            assert_true(rc == WERR_CORRUPT || rc == WERR_NOT_FOUND);
            if (i < REP_HEAD)
                assert_int_equal(rc, WERR_CORRUPT);
            b.p[i] ^= (uint8_t)(1 << bit);
        }
    }
    b.p[REP_HEAD] = 0x7; /* a tag that we never write */
    assert_int_equal(walk(buf_slice(&b)), WERR_CORRUPT);
    buf_fini(&b);
}

static void test_unknown_table(void **state)
{
    (void)state;
    struct buf b = {0};
    rep_begin(&b);
    rep_put(&b, TABLE_COUNT, slice_str("k"), slice_str("v"));
    assert_int_equal(walk(buf_slice(&b)), WERR_CORRUPT);
    buf_fini(&b);
}

static void test_over_the_cap(void **state)
{
    (void)state;
    struct buf b;
    buf_init(&b, 32);
    rep_begin(&b);
    rep_put(&b, TABLE_META, slice_str("key"),
            slice_str("0123456789012345678901234567890123456789"));
    assert_true(b.failed);
    rep_begin(&b);
    assert_false(b.failed);
    assert_int_equal(rep_count(&b), 0);
    buf_fini(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bytes),        cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_damage),       cmocka_unit_test(test_unknown_table),
        cmocka_unit_test(test_over_the_cap),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
