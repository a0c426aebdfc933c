/* weir-dump's rules: a store that keeps them has no problems, one that breaks one has that problem.
 */
#include <stdio.h>
#include <stdlib.h>

#include "broker/dump/dump.h"
#include "group_world.h"
#include "tests/lib/test.h"

struct bench {
    struct world w;
    struct peer m;
    struct dump d;
    uint64_t tid, gid;
    char *said;
    size_t said_n;
};

static struct bench *bench_new(void)
{
    static struct bench b;

    memset(&b, 0, sizeof b);
    world_init(&b.w);
    world_open(&b.w);
    b.tid = world_topic(&b.w, "t", "partitions", "2", NULL);
    peer_init(&b.m, &b.w, "g", 'a');
    peer_join(&b.m, "t", WERR_OK);
    world_produce(&b.w, b.tid, 0, 0, 0, 10, WERR_OK);
    world_produce(&b.w, b.tid, 1, 0, 0, 4, WERR_OK);
    assert_int_equal(peer_commit(&b.m, b.tid, 0, 7), WERR_OK);
    b.gid = 1;
    return &b;
}

static void look(struct bench *b)
{
    b->d = (struct dump){.st = b->w.st, .co = b->w.co};
    b->d.out = open_memstream(&b->said, &b->said_n);
    assert_non_null(b->d.out);
    dump_map_parts(&b->d);
    dump_walk(&b->d, true);
    dump_check_meta(&b->d);
    fclose(b->d.out);
    dump_fini(&b->d);
}

static void bench_free(struct bench *b)
{
    peer_fini(&b->m);
    world_fini(&b->w);
    free(b->said);
}

/* Puts a row past the core. */
static void put(struct bench *b, enum store_table table, struct meta_key k, struct slice value)
{
    struct store_txn *t = store_txn_new(b->w.st);

    txn_put(t, table, key_slice(&k), value);
    store_submit(b->w.st, t, STORE_SYNC, false, NULL, NULL);
    world_step(&b->w);
}

/* The only problem is one that says `text`. */
static void expect_problem(struct bench *b, const char *text)
{
    look(b);
    if (b->d.problems == 0 || strstr(b->said, text) == NULL) {
        fail_msg("%llu problems, not '%s' but: %s", (unsigned long long)b->d.problems, text,
                 b->said);
    }
    bench_free(b);
}

static void test_a_good_store_has_no_problem(void **state)
{
    struct bench *b = bench_new();
    (void)state;

    look(b);
    assert_int_equal(b->d.problems, 0);
    assert_int_equal(b->d.messages, 14);
    assert_int_equal(b->d.batches, 2);
    assert_int_equal(b->d.tags[META_GPART], 2);
    bench_free(b);
}

static void test_position_past_the_end(void **state)
{
    struct bench *b = bench_new();
    uint8_t row[26] = {1};
    (void)state;

    put_be64(row + 1, 11);
    put(b, TABLE_META, meta_key_32_64(META_GPART, 0, b->gid), slice_of(row, sizeof row));
    expect_problem(b, "position 11, the log ends at 10");
}

static void test_rows_of_nobody(void **state)
{
    struct bench *b = bench_new();
    uint8_t row[1 + 16 * 8] = {1};
    (void)state;

    put(b, TABLE_META, meta_key_32_64_64(META_ACKED, 0, 99, 0), slice_of(row, sizeof row));
    expect_problem(b, "a settled chunk of group 99 in partition 0: one of them does not exist");
    b = bench_new();
    put(b, TABLE_META, meta_key_32_64_64(META_ACKED, 77, b->gid, 0), slice_of(row, sizeof row));
    expect_problem(b, "in partition 77: one of them");
}

static void test_settled_past_the_end(void **state)
{
    struct bench *b = bench_new();
    uint8_t row[1 + 16 * 8] = {1};
    (void)state;

    put_be64(row + 1, UINT64_C(1) << 12);
    put(b, TABLE_META, meta_key_32_64_64(META_ACKED, 0, b->gid, 0), slice_of(row, sizeof row));
    expect_problem(b, "12 is settled, the log ends at 10");
}

static void test_lease_past_the_end(void **state)
{
    struct bench *b = bench_new();
    uint8_t lease[65 + 8] = {1};
    (void)state;

    put_be64(lease + 1, 8);
    put_be64(lease + 9, 10);
    put(b, TABLE_META, meta_key_32_64_64(META_LEASE, 0, b->gid, 5), slice_of(lease, sizeof lease));
    expect_problem(b, "a lease of 8 to 10");
}

static void test_retry_past_the_end(void **state)
{
    struct bench *b = bench_new();
    uint8_t row[38] = {1};
    (void)state;

    put(b, TABLE_META, meta_key_32_64_64(META_RETRY, 1, b->gid, 4), slice_of(row, sizeof row));
    expect_problem(b, "a retry of 4, the log ends at 4");
}

static void test_damaged_window_and_wrong_count(void **state)
{
    struct bench *b = bench_new();
    uint8_t row[17] = {1};
    (void)state;

    put(b, TABLE_META, meta_key_32_64(META_WINDOW, 0, 9), slice_of(row, sizeof row));
    expect_problem(b, "the window of producer 9");
    b = bench_new();
    put_be64(row + 9, 3);
    put(b, TABLE_META, meta_key(META_DELAYED), slice_of(row, sizeof row));
    expect_problem(b, "3 delayed messages are counted, 0 wait");
}

static void test_delayed_row_that_is_none(void **state)
{
    struct bench *b = bench_new();
    uint8_t row[3 + BATCH_HEAD] = {1};
    struct batch_head h = {.length = BATCH_HEAD, .magic = BATCH_MAGIC, .count = 1};
    (void)state;

    put(b, TABLE_DELAY, delay_key(1, 0, 1), slice_of(row, 2));
    expect_problem(b, "a delayed row with 20 and 2 bytes");
    b = bench_new();
    batch_head_write(row + 3, &h);
    put(b, TABLE_DELAY, delay_key(1, 0, 1), slice_of(row, sizeof row));
    expect_problem(b, "delayed batch 1 of partition 0");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_good_store_has_no_problem),
        cmocka_unit_test(test_position_past_the_end),
        cmocka_unit_test(test_rows_of_nobody),
        cmocka_unit_test(test_settled_past_the_end),
        cmocka_unit_test(test_lease_past_the_end),
        cmocka_unit_test(test_retry_past_the_end),
        cmocka_unit_test(test_damaged_window_and_wrong_count),
        cmocka_unit_test(test_delayed_row_that_is_none),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
