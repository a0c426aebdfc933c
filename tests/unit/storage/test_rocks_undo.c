/*
 * An open that is refused leaves the store as it was, also when RocksDB has replayed its log by
 * then; and one that was cut short before it was verified is taken back at the next start.
 */
#include <stdio.h>
#include <stdlib.h>

#include "storage/floor.h"
#include "storage/rocks.h"
#include "storage/store_rocks.h"
#include "tests/lib/test.h"
#include "tests/unit/storage/rocks_env.h"

enum { PARTITIONS = 3, BATCHES = 20, BATCH_BYTES = 100 };

static struct tmp_dir *home;
static char image[300];
static uint64_t image_next; /* of each partition */

static void make_image(void *arg)
{
    const struct store_conf conf = rocks_conf();
    struct store *st = NULL;
    struct werror e = {0};

    for (int life = 0; life < 2; life++) { /* the second one finds tables, and has a log */
        if (store_open_rocks(&st, arg, &conf, &e) != WERR_OK) {
            fail_msg("%s", e.text);
        }
        for (int i = 0; i < BATCHES; i++) {
            for (uint32_t p = 0; p < PARTITIONS; p++) {
                assert_int_equal(append_sync(st, TABLE_LOG_7D, p, 2, BATCH_BYTES), WERR_OK);
            }
        }
        store_close(st); /* writes the floor, and leaves the log as it is */
    }
}

static int make_home(void **state)
{
    (void)state;
    home = tmp_dir_new();
    tmp_path(home, "image", image, sizeof image);
    in_killed_child(make_image, image);
    image_next = 2 * BATCHES * 2;
    return 0;
}

static int drop_home(void **state)
{
    (void)state;
    tmp_dir_free(home);
    return 0;
}

struct undo_case {
    char dir[300], wal[32];
};

static int setup(void **state)
{
    struct undo_case *c = calloc(1, sizeof *c);

    assert_non_null(c);
    tmp_path(home, "case", c->dir, sizeof c->dir);
    copy_dir(image, c->dir);
    assert_true(nth_file(c->dir, ".log", 0, c->wal, sizeof c->wal));
    *state = c;
    return 0;
}

static int teardown(void **state)
{
    struct undo_case *c = *state;

    remove_tree(c->dir);
    free(c);
    return 0;
}

static enum werr open_store(const struct undo_case *c, bool accept, struct store **st)
{
    struct store_conf conf = rocks_conf();
    struct werror e = {0};
    enum werr rc;

    *st = NULL;
    conf.accept_data_loss = accept;
    rc = store_open_rocks(st, c->dir, &conf, &e);
    if (rc != WERR_OK) {
        print_message("             %s\n", e.text);
    }
    return rc;
}

static void expect_all(struct undo_case *c)
{
    struct store *st;
    enum werr rc;

    assert_int_equal(open_store(c, false, &st), WERR_OK);
    for (uint32_t p = 0; p < PARTITIONS; p++) {
        assert_true(read_all(st, p, &rc) == image_next);
        assert_int_equal(rc, WERR_OK);
    }
    store_close(st);
}

static uint64_t floor_seq(const char *dir)
{
    struct floor_mark *marks = NULL;
    struct kv_floor f = {0};
    struct werror e;

    assert_int_equal(floor_load(dir, &f, &marks, &e), WERR_OK);
    free(marks);
    return f.seq;
}

/* RocksDB takes a log that begins with zeros for an empty one, and deletes it. */
static void zero_front(const struct undo_case *c)
{
    static const char zeros[4096];
    char path[400];
    FILE *f;

    snprintf(path, sizeof path, "%s/%s", c->dir, c->wal);
    f = fopen(path, "r+b");
    assert_non_null(f);
    assert_int_equal(fwrite(zeros, 1, sizeof zeros, f), sizeof zeros);
    fclose(f);
}

static void test_refusal_keeps_the_log(void **state)
{
    struct undo_case *c = *state;
    struct store *st;
    uint64_t before;

    zero_front(c);
    before = hash_dir(c->dir);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(open_store(c, false, &st), WERR_DATA_LOSS);
        assert_true(hash_dir(c->dir) == before);
    }
}

/* What lies behind the damage is kept: the log was not given up as a whole. */
static void test_acceptance_keeps_what_can_be_read(void **state)
{
    struct undo_case *c = *state;
    struct store *st;
    enum werr rc;

    zero_front(c);
    assert_int_equal(open_store(c, true, &st), WERR_OK);
    for (uint32_t p = 0; p < PARTITIONS; p++) {
        assert_true(store_next_offset(st, p) >= image_next);
        (void)read_all(st, p, &rc);
        assert_int_equal(append_sync(st, TABLE_LOG_7D, p, 1, BATCH_BYTES), WERR_OK);
    }
    store_close(st);
    assert_int_equal(open_store(c, false, &st), WERR_OK);
    store_close(st);
}

/* One damaged byte in any table: seen now, or at a read; a start that sees it changes nothing. */
static void test_tables(void **state)
{
    struct undo_case *c = *state;
    struct store *st;
    char name[32];
    unsigned refused = 0;

    for (unsigned i = 0; nth_file(image, ".sst", i, name, sizeof name); i++) {
        uint64_t before;

        remove_tree(c->dir);
        copy_dir(image, c->dir);
        flip_byte(c->dir, name, size_of(c->dir, name) / 3);
        before = hash_dir(c->dir);
        if (open_store(c, false, &st) == WERR_OK) {
            store_close(st);
        } else {
            assert_true(hash_dir(c->dir) == before);
            refused++;
        }
    }
    assert_true(refused > 0); /* that of the small rows at least */
}

/* The process died after RocksDB had deleted the log, before anything was verified. */
static void test_crash_in_between(void **state)
{
    struct undo_case *c = *state;
    struct werror e;

    assert_int_equal(rocks_undo_keep(c->dir, floor_seq(c->dir), &e), WERR_OK);
    delete_file(c->dir, c->wal);
    delete_file(c->dir, "CURRENT");
    write_file(c->dir, "999999.sst", "x", 1);
    expect_all(c);
    expect_all(c);
}

/* A later floor: that open was verified, and what it kept is out of date. */
static void test_left_over_is_dropped(void **state)
{
    struct undo_case *c = *state;
    struct werror e;
    char path[400];

    assert_int_equal(rocks_undo_keep(c->dir, floor_seq(c->dir) - 1, &e), WERR_OK);
    write_file(c->dir, "undo.file", "x", 1);
    expect_all(c);
    snprintf(path, sizeof path, "%s/undo.%llu", c->dir, (unsigned long long)floor_seq(image) - 1);
    assert_null(fopen(path, "rb"));
}

/* Taking back may itself be cut short: it is repeated. */
static void test_undo_twice(void **state)
{
    struct undo_case *c = *state;
    const uint64_t seq = floor_seq(c->dir), before = hash_dir(c->dir);
    struct werror e;

    for (int i = 0; i < 2; i++) {
        assert_int_equal(rocks_undo_keep(c->dir, seq, &e), WERR_OK);
        delete_file(c->dir, c->wal);
        assert_int_equal(rocks_undo(c->dir, seq, &e), WERR_OK);
        assert_true(hash_dir(c->dir) == before);
    }
    assert_int_equal(rocks_undo(c->dir, seq, &e), WERR_IO); /* nothing is kept any more */
    assert_true(hash_dir(c->dir) == before);
}

#define CASE(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(test_refusal_keeps_the_log),
        CASE(test_acceptance_keeps_what_can_be_read),
        CASE(test_tables),
        CASE(test_crash_in_between),
        CASE(test_left_over_is_dropped),
        CASE(test_undo_twice),
    };
    return cmocka_run_group_tests(tests, make_home, drop_home);
}
