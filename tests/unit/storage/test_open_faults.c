/* Opening a store and its floor file when a call fails, one after the other. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "proto/crc32c.h"
#include "storage/floor.h"
#include "storage/rocks.h"
#include "tests/lib/test.h"
#include "tests/unit/storage/rocks_env.h"
#include "tests/unit/storage/wraps.h"

#define MIB ((size_t)1 << 20)

static struct kv_floor sample(uint64_t seq)
{
    static const struct floor_mark mark = {5, 500};

    return (struct kv_floor){.seq = seq, .marks = &mark, .n_marks = 1};
}

static enum werr save(const struct tmp_dir *d, uint64_t seq, struct werror *e)
{
    const struct kv_floor f = sample(seq);

    *e = (struct werror){0};
    return floor_save(d->path, &f, e);
}

/* Loads; the floor's number, 0 when there is none. */
static uint64_t load(const struct tmp_dir *d, enum werr *rc, struct werror *e)
{
    struct floor_mark *marks = NULL;
    struct kv_floor f = {0};

    *e = (struct werror){0};
    *rc = floor_load(d->path, &f, &marks, e);
    free(marks);
    return f.seq;
}

static void test_saving_fails_at_every_call(void **state)
{
    static const struct {
        enum wrapped call;
        unsigned k;
        int error;
        enum werr rc;
        const char *text;
    } rows[] = {
        {WRAP_OPEN, 1, EACCES, WERR_IO, "open"},
        {WRAP_PWRITE, 1, EIO, WERR_IO, "write"},
        {WRAP_PWRITE, 1, 0, WERR_IO, "write"},
        {WRAP_PWRITE, 1, ENOSPC, WERR_STORAGE_FULL, "write"},
        {WRAP_FTRUNCATE, 1, EIO, WERR_IO, "sync"},
        {WRAP_FDATASYNC, 1, EIO, WERR_IO, "sync"},
        {WRAP_OPEN, 2, EMFILE, WERR_IO, "sync"}, /* the directory, of a new file */
        {WRAP_FSYNC, 1, EIO, WERR_IO, "sync"},
        {WRAP_REALLOC, 1, ENOMEM, WERR_NOMEM, "no memory for 1 marks"},
    };
    (void)state;

    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct tmp_dir *d = tmp_dir_new();
        struct werror e;
        enum werr rc;

        assert_int_equal(save(d, 4, &e), WERR_OK);
        wrap_fail(rows[i].call, rows[i].k, rows[i].error);
        assert_int_equal(save(d, 5, &e), rows[i].rc);
        assert_int_equal(wrap_reset(), 1);
        assert_non_null(strstr(e.text, rows[i].text));
        assert_true(load(d, &rc, &e) >= 4); /* the slot before is whole */
        assert_int_equal(rc, WERR_OK);
        assert_int_equal(save(d, 5, &e), WERR_OK);
        assert_int_equal(load(d, &rc, &e), 5);
        tmp_dir_free(d);
    }
}

static void test_nobody_asks_why(void **state)
{
    struct tmp_dir *d = tmp_dir_new();
    struct floor_mark *marks = NULL;
    struct kv_floor f = sample(1);
    (void)state;

    wrap_fail(WRAP_OPEN, 1, EACCES);
    assert_int_equal(floor_save(d->path, &f, NULL), WERR_IO);
    wrap_fail(WRAP_OPEN, 1, EACCES);
    assert_int_equal(floor_load(d->path, &f, &marks, NULL), WERR_IO);
    assert_int_equal(wrap_reset(), 2);
    tmp_dir_free(d);
}

static void test_interrupted_calls_are_made_again(void **state)
{
    struct tmp_dir *d = tmp_dir_new();
    struct werror e;
    enum werr rc;
    (void)state;

    wrap_fail(WRAP_PWRITE, 1, EINTR);
    assert_int_equal(save(d, 4, &e), WERR_OK);
    wrap_fail(WRAP_READ, 1, EINTR);
    assert_int_equal(load(d, &rc, &e), 4);
    assert_int_equal(rc, WERR_OK);
    assert_int_equal(wrap_reset(), 2);
    tmp_dir_free(d);
}

static void test_loading_fails_at_every_call(void **state)
{
    static const struct {
        enum wrapped call;
        int error;
        enum werr rc;
        const char *text;
    } rows[] = {
        {WRAP_OPEN, EACCES, WERR_IO, "open"},
        {WRAP_READ, EIO, WERR_IO, "read"},
        {WRAP_CALLOC, ENOMEM, WERR_NOMEM, "no memory for 1 marks"},
    };
    struct tmp_dir *d = tmp_dir_new();
    struct werror e;
    enum werr rc;
    (void)state;

    assert_int_equal(save(d, 4, &e), WERR_OK);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        wrap_fail(rows[i].call, 1, rows[i].error);
        (void)load(d, &rc, &e);
        assert_int_equal(wrap_reset(), 1);
        assert_int_equal(rc, rows[i].rc);
        assert_non_null(strstr(e.text, rows[i].text));
    }
    assert_int_equal(load(d, &rc, &e), 4);
    tmp_dir_free(d);
}

static void test_a_slot_that_is_too_large(void **state)
{
    struct tmp_dir *d = tmp_dir_new();
    struct werror e;
    enum werr rc;
    (void)state;

    write_file(d->path, "floor.0", "x", 1);
    cut_file(d->path, "floor.0", 65 * MIB); /* longer: a hole */
    assert_int_equal(load(d, &rc, &e), 0);
    assert_int_equal(rc, WERR_CORRUPT);
    assert_non_null(strstr(e.text, "is over"));
    tmp_dir_free(d);
}

static void test_a_path_that_is_too_long(void **state)
{
    const struct kv_floor f = sample(1);
    struct floor_mark *marks;
    struct kv_floor got;
    struct werror e = {0};
    char *dir = malloc(5000);
    (void)state;

    memset(dir, 'x', 4999);
    dir[4999] = '\0';
    assert_int_equal(floor_save(dir, &f, &e), WERR_IO);
    assert_non_null(strstr(e.text, "path too long"));
    assert_int_equal(floor_load(dir, &got, &marks, &e), WERR_IO);
    free(dir);
}

static void test_marks_that_do_not_fit(void **state)
{
    struct kv_floor in = sample(1), out;
    struct floor_mark *marks = NULL;
    struct buf b = {0};
    struct werror e;
    (void)state;

    floor_encode(&b, &in);
    b.p[16 + 124] = 2; /* marks, of which there is one */
    put_be32(b.p + b.len - 4, crc32c(b.p, b.len - 4));
    assert_int_equal(floor_decode(buf_slice(&b), &out, &marks, &e), WERR_CORRUPT);
    assert_non_null(strstr(e.text, "2 marks do not fit"));
    buf_fini(&b);
}

/* ---------------------------------------------------------------- RocksDB */

static const struct rocks_how how = {.create = true};

static enum werr open_close(const struct tmp_dir *d, const struct store_conf *conf,
                            const struct rocks_how *h, struct werror *e)
{
    struct rocks *rk = NULL;
    enum werr rc;

    *e = (struct werror){0};
    rc = rocks_open(&rk, d->path, conf, h, e);
    assert_true((rc == WERR_OK) == (rk != NULL));
    rocks_close(rk);
    return rc;
}

static void test_open_without_direct_io_or_known_limits(void **state)
{
    static const size_t descriptors[] = {100, 4096, 1 << 20}; /* few, usual, very many */
    struct tmp_dir *d = tmp_dir_new();
    struct store_conf conf = rocks_conf();
    struct werror e;
    (void)state;

    wrap_fail(WRAP_OPEN, 1, EOPNOTSUPP); /* no O_TMPFILE or no O_DIRECT there */
    wrap_fail(WRAP_GETRLIMIT, 1, EPERM);
    wrap_fail(WRAP_STATVFS, 1, ENOSYS);
    assert_int_equal(open_close(d, &conf, &how, &e), WERR_OK);
    assert_int_equal(wrap_reset(), 3);
    for (size_t i = 0; i < sizeof descriptors / sizeof *descriptors; i++) {
        wrap_limits(descriptors[i], 0);
        assert_int_equal(open_close(d, &conf, &how, &e), WERR_OK);
    }
    (void)wrap_reset();
    conf.memory_bytes = conf.bucket_bytes = 0; /* the defaults, and a cache above its least size */
    assert_int_equal(open_close(d, &conf, &how, &e), WERR_OK);
    conf.memory_bytes = 32 * MIB;
    conf.bucket_bytes = 4 * MIB;
    assert_int_equal(open_close(d, &conf, &how, &e), WERR_OK);
    tmp_dir_free(d);
}

static void test_open_on_a_full_disk(void **state)
{
    struct tmp_dir *d = tmp_dir_new();
    const struct store_conf conf = rocks_conf();
    struct werror e;
    (void)state;

    wrap_limits(0, 15 * MIB);
    assert_int_equal(open_close(d, &conf, &how, &e), WERR_STORAGE_FULL);
    assert_non_null(strstr(e.text, "a start needs 16 MiB"));
    wrap_limits(0, 17 * MIB);
    assert_int_equal(open_close(d, &conf, &how, &e), WERR_OK);
    (void)wrap_reset();
    tmp_dir_free(d);
}

static void test_open_with_options_that_rocksdb_refuses(void **state)
{
    struct tmp_dir *d = tmp_dir_new();
    const struct store_conf conf = rocks_conf();
    struct werror e;
    (void)state;

    wrap_fail(WRAP_OPTIONS, 1, EINVAL);
    assert_int_equal(open_close(d, &conf, &how, &e), WERR_INTERNAL);
    assert_int_equal(wrap_reset(), 1);
    assert_int_equal(open_close(d, &conf, &how, &e), WERR_OK);
    tmp_dir_free(d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_saving_fails_at_every_call),
        cmocka_unit_test(test_nobody_asks_why),
        cmocka_unit_test(test_interrupted_calls_are_made_again),
        cmocka_unit_test(test_loading_fails_at_every_call),
        cmocka_unit_test(test_a_slot_that_is_too_large),
        cmocka_unit_test(test_a_path_that_is_too_long),
        cmocka_unit_test(test_marks_that_do_not_fit),
        cmocka_unit_test(test_open_without_direct_io_or_known_limits),
        cmocka_unit_test(test_open_on_a_full_disk),
        cmocka_unit_test(test_open_with_options_that_rocksdb_refuses),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
