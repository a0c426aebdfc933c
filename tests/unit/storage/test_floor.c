/* The floor file: bytes, slots, torn writes. */
#include <stdlib.h>

#include "storage/floor.h"
#include "tests/lib/test.h"
#include "tests/unit/storage/rocks_env.h"

enum { FIXED_BYTES = 16 + 125 + 4 };

static struct kv_floor sample(uint64_t seq, const struct floor_mark *marks, size_t n)
{
    struct kv_floor f = {.seq = seq,
                         .store_uuid = "0123456789abcde",
                         .epoch = 3,
                         .lsn = 70000,
                         .clean = true,
                         .marks = marks,
                         .n_marks = n,
                         .wal_name = "000012.log",
                         .manifest_name = "MANIFEST-000004",
                         .wal_synced_bytes = 123456789012,
                         .manifest_bytes = 4242};
    return f;
}

static void assert_same(const struct kv_floor *a, const struct kv_floor *b)
{
    assert_true(a->seq == b->seq && a->epoch == b->epoch && a->lsn == b->lsn);
    assert_int_equal(a->clean, b->clean);
    assert_memory_equal(a->store_uuid, b->store_uuid, sizeof a->store_uuid);
    assert_string_equal(a->wal_name, b->wal_name);
    assert_string_equal(a->manifest_name, b->manifest_name);
    assert_true(a->wal_synced_bytes == b->wal_synced_bytes);
    assert_true(a->manifest_bytes == b->manifest_bytes);
    assert_int_equal(a->n_marks, b->n_marks);
    for (size_t i = 0; i < a->n_marks; i++) {
        assert_int_equal(a->marks[i].partition, b->marks[i].partition);
        assert_true(a->marks[i].next_offset == b->marks[i].next_offset);
    }
}

static void test_round_trip(void **state)
{
    static const struct floor_mark marks[] = {{0, 1}, {7, 1ULL << 40}, {UINT32_MAX, UINT64_MAX}};
    (void)state;

    for (size_t n = 0; n <= 3; n++) {
        struct kv_floor in = sample(9, marks, n), out;
        struct floor_mark *got = NULL;
        struct buf b = {0};
        struct werror e;

        floor_encode(&b, &in);
        assert_int_equal(b.len, FIXED_BYTES + n * 12);
        assert_int_equal(floor_decode(buf_slice(&b), &out, &got, &e), WERR_OK);
        assert_same(&in, &out);
        free(got);
        buf_fini(&b);
    }
}

static void test_every_flip_and_every_cut_is_noticed(void **state)
{
    static const struct floor_mark marks[] = {{1, 10}, {2, 20}};
    struct kv_floor in = sample(9, marks, 2), out;
    struct floor_mark *got = NULL;
    struct buf b = {0};
    struct werror e;
    (void)state;

    floor_encode(&b, &in);
    for (size_t at = 0; at < b.len; at++) {
        for (int bit = 0; bit < 8; bit++) {
            b.p[at] ^= (uint8_t)(1 << bit);
            assert_int_not_equal(floor_decode(buf_slice(&b), &out, &got, &e), WERR_OK);
            b.p[at] ^= (uint8_t)(1 << bit);
        }
        assert_int_equal(floor_decode(slice_of(b.p, at), &out, &got, &e), WERR_CORRUPT);
    }
    b.p[11] = FLOOR_FORMAT + 1; /* the format counts before the checksum: it may have moved */
    assert_int_equal(floor_decode(buf_slice(&b), &out, &got, &e), WERR_FORMAT_NEWER);
    assert_non_null(strstr(e.text, "format 2"));
    assert_null(got);
    buf_fini(&b);
}

static void save(const struct tmp_dir *d, uint64_t seq)
{
    struct floor_mark mark = {5, seq * 100};
    struct kv_floor f = sample(seq, &mark, 1);
    struct werror e;

    assert_int_equal(floor_save(d->path, &f, &e), WERR_OK);
}

static void expect_seq(const struct tmp_dir *d, uint64_t seq)
{
    struct floor_mark *marks = NULL;
    struct kv_floor f;
    struct werror e;

    assert_int_equal(floor_load(d->path, &f, &marks, &e), WERR_OK);
    assert_true(f.seq == seq);
    assert_true(marks[0].next_offset == seq * 100 && f.marks == marks);
    free(marks);
}

static void test_slots_take_turns(void **state)
{
    struct tmp_dir *d = tmp_dir_new();
    struct floor_mark *marks = NULL;
    struct kv_floor f;
    struct werror e;
    (void)state;

    assert_int_equal(floor_load(d->path, &f, &marks, &e), WERR_NOT_FOUND);
    for (uint64_t seq = 1; seq < 6; seq++) {
        save(d, seq);
        expect_seq(d, seq);
    }
    flip_byte(d->path, "floor.1", 60); /* seq 5 lies there: seq 4 counts */
    expect_seq(d, 4);
    cut_file(d->path, "floor.1", 0);
    expect_seq(d, 4);
    flip_byte(d->path, "floor.0", 60);
    assert_int_equal(floor_load(d->path, &f, &marks, &e), WERR_CORRUPT);
    assert_null(marks);
    delete_file(d->path, "floor.1");
    assert_int_equal(floor_load(d->path, &f, &marks, &e), WERR_CORRUPT);
    save(d, 6); /* a shorter or longer slot before does not matter */
    expect_seq(d, 6);
    tmp_dir_free(d);
}

static void test_newer_format_wins(void **state)
{
    struct tmp_dir *d = tmp_dir_new();
    struct floor_mark *marks = NULL;
    struct kv_floor f;
    struct werror e;
    (void)state;

    save(d, 1);
    save(d, 2);
    flip_byte(d->path, "floor.1", 8 + 3); /* format 1 becomes 65 */
    assert_int_equal(floor_load(d->path, &f, &marks, &e), WERR_FORMAT_NEWER);
    assert_null(marks);
    assert_non_null(strstr(e.text, "format 65"));
    tmp_dir_free(d);
}

static void test_missing_directory(void **state)
{
    struct kv_floor f = sample(1, NULL, 0);
    struct werror e = {0};
    (void)state;

    assert_int_equal(floor_save("/nonexistent/weir", &f, &e), WERR_IO);
    assert_non_null(strstr(e.text, "/nonexistent/weir/floor.1"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_every_flip_and_every_cut_is_noticed),
        cmocka_unit_test(test_slots_take_turns),
        cmocka_unit_test(test_newer_format_wins),
        cmocka_unit_test(test_missing_directory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
