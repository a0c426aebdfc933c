/* Opening a store: lock, versions, families, half-made stores, copies. */
#include <dlfcn.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "storage/floor.h"
#include "storage/rocks.h"
#include "storage/rows.h"
#include "storage/store_rocks.h"
#include "tests/lib/test.h"
#include "tests/unit/storage/rocks_env.h"

static struct store *open_ok(const char *dir)
{
    struct store_conf conf = rocks_conf();
    struct store *st = NULL;
    struct werror e = {0};

    if (store_open_rocks(&st, dir, &conf, &e) != WERR_OK) {
        fail_msg("%s", e.text);
    }
    return st;
}

static enum werr open_fails(const char *dir, struct werror *e)
{
    struct store_conf conf = rocks_conf();
    struct store *st = NULL;
    enum werr rc = store_open_rocks(&st, dir, &conf, e);

    assert_int_not_equal(rc, WERR_OK);
    assert_null(st);
    return rc;
}

static void test_directory_is_made_private(void **state)
{
    struct tmp_dir *d = tmp_dir_new();
    char path[300];
    struct stat sb;
    (void)state;

    store_close(open_ok(tmp_path(d, "data", path, sizeof path)));
    assert_int_equal(stat(path, &sb), 0);
    assert_int_equal(sb.st_mode & 0777, 0700);
    tmp_dir_free(d);
}

static void test_one_process_per_directory(void **state)
{
    struct tmp_dir *d = tmp_dir_new();
    struct werror e = {0};
    struct store *st = open_ok(d->path);
    char pid[32];
    (void)state;

    assert_int_equal(open_fails(d->path, &e), WERR_LOCKED);
    snprintf(pid, sizeof pid, "process %ld", (long)getpid());
    assert_non_null(strstr(e.text, pid));
    store_close(st);
    store_close(open_ok(d->path)); /* released */
    tmp_dir_free(d);
}

static void test_newer_floor_is_refused_unchanged(void **state)
{
    struct tmp_dir *d = tmp_dir_new();
    struct werror e = {0};
    uint64_t before;
    (void)state;

    store_close(open_ok(d->path));
    flip_byte(d->path, "floor.0", 8 + 3);
    before = hash_dir(d->path);
    assert_int_equal(open_fails(d->path, &e), WERR_FORMAT_NEWER);
    assert_true(hash_dir(d->path) == before);
    tmp_dir_free(d);
}

/* Writes an identity row of a newer version behind the store's back. */
static void make_newer(const char *dir)
{
    const struct rocks_how how = {.wal_mode = ROCKS_TAIL};
    struct store_conf conf = rocks_conf();
    struct identity id = {.format = STORE_FORMAT + 1, .tables = TABLE_COUNT};
    rocksdb_writeoptions_t *wo = rocksdb_writeoptions_create();
    struct rocks *rk = NULL;
    struct buf v = {0};
    struct werror e;
    char *msg = NULL;

    assert_int_equal(rocks_open(&rk, dir, &conf, &how, &e), WERR_OK);
    identity_encode(&v, &id);
    rocksdb_put_cf(rk->db, wo, rk->cf[TABLE_META], "i", 1, (const char *)v.p, v.len, &msg);
    assert_null(msg);
    rocksdb_writeoptions_destroy(wo);
    rocks_close(rk);
    buf_fini(&v);
}

static void test_newer_identity_without_floor_is_refused_unchanged(void **state)
{
    struct tmp_dir *d = tmp_dir_new();
    struct store_conf conf = rocks_conf();
    struct store *st = NULL;
    struct werror e = {0};
    uint64_t before;
    (void)state;

    store_close(open_ok(d->path));
    make_newer(d->path);
    delete_file(d->path, "floor.0");
    delete_file(d->path, "floor.1");
    before = hash_dir(d->path);
    conf.accept_data_loss = true; /* that does not help against a version */
    assert_int_equal(store_open_rocks(&st, d->path, &conf, &e), WERR_FORMAT_NEWER);
    assert_true(hash_dir(d->path) == before);
    tmp_dir_free(d);
}

static void test_foreign_family_order_is_refused(void **state)
{
    static const char *const names[] = {"default", "log_7d", "log_1d"};
    struct tmp_dir *d = tmp_dir_new();
    rocksdb_options_t *o = rocksdb_options_create();
    const rocksdb_options_t *os[] = {o, o, o};
    rocksdb_column_family_handle_t *cf[3];
    const struct rocks_how how = {.wal_mode = ROCKS_TAIL, .create = true};
    struct store_conf conf = rocks_conf();
    struct rocks *rk = NULL;
    struct werror e = {0};
    char *msg = NULL;
    rocksdb_t *db;
    (void)state;

    rocksdb_options_set_create_if_missing(o, 1);
    rocksdb_options_set_create_missing_column_families(o, 1);
    db = rocksdb_open_column_families(o, d->path, 3, names, os, cf, &msg);
    assert_null(msg);
    for (int i = 0; i < 3; i++) {
        rocksdb_column_family_handle_destroy(cf[i]);
    }
    rocksdb_close(db);
    rocksdb_options_destroy(o);
    assert_int_equal(rocks_open(&rk, d->path, &conf, &how, &e), WERR_CORRUPT);
    assert_non_null(strstr(e.text, "log_1d has number 2, want 1"));
    tmp_dir_free(d);
}

static void test_half_made_store_is_finished(void **state)
{
    struct tmp_dir *d = tmp_dir_new();
    const struct rocks_how how = {.wal_mode = ROCKS_TAIL, .create = true};
    struct store_conf conf = rocks_conf();
    struct kv_floor f = {.seq = 0};
    struct rocks *rk = NULL;
    struct werror e = {0};
    (void)state;

    /* died after the first floor; after the database was made, before the first record */
    assert_int_equal(floor_save(d->path, &f, &e), WERR_OK);
    store_close(open_ok(d->path));
    remove_tree(d->path);
    assert_int_equal(mkdir(d->path, 0700), 0);
    assert_int_equal(floor_save(d->path, &f, &e), WERR_OK);
    assert_int_equal(rocks_open(&rk, d->path, &conf, &how, &e), WERR_OK);
    rocks_close(rk);
    store_close(open_ok(d->path));
    tmp_dir_free(d);
}

struct copied {
    bool done;
    enum werr rc;
    struct werror err;
};

static void on_copied(void *arg, enum werr rc, const struct werror *e)
{
    struct copied *c = arg;

    c->rc = rc;
    c->err = *e;
    c->done = true;
}

/* Floors are written by the store's own thread: polls until one covers everything so far. */
static void test_checkpoint_is_a_store(void **state)
{
    struct tmp_dir *d = tmp_dir_new();
    struct copied c = {.done = false};
    char data[300], copy[300];
    struct floor_mark *marks = NULL;
    struct kv_floor f;
    struct werror e = {0};
    struct store *st;
    enum werr rc;
    (void)state;

    tmp_path(d, "data", data, sizeof data);
    tmp_path(d, "copy", copy, sizeof copy);
    st = open_ok(data);
    for (int i = 0; i < 20; i++) {
        assert_int_equal(append_sync(st, TABLE_LOG_7D, 3, 5, 2000), WERR_OK);
    }
    roll_sync(st);
    store_close(st);
    st = open_ok(data); /* its first floor knows the 100 offsets */
    assert_int_equal(append_sync(st, TABLE_LOG_7D, 4, 5, 2000), WERR_OK);
    store_checkpoint(st, copy, 1234, on_copied, &c);
    poll_until(st, &c.done);
    assert_int_equal(c.rc, WERR_OK);
    assert_int_equal(append_sync(st, TABLE_LOG_7D, 4, 5, 2000), WERR_OK); /* not in the copy */
    c.done = false;
    store_checkpoint(st, copy, 1234, on_copied, &c); /* is there already */
    poll_until(st, &c.done);
    assert_int_not_equal(c.rc, WERR_OK);
    assert_true(c.err.text[0] != '\0');
    store_close(st);

    assert_int_equal(floor_load(copy, &f, &marks, &e), WERR_OK);
    assert_true(f.n_marks >= 1 && marks[0].partition == 3 && marks[0].next_offset == 100);
    free(marks);
    st = open_ok(copy);
    assert_true(read_all(st, 3, &rc) == 100 && rc == WERR_OK);
    assert_true(read_all(st, 4, &rc) == 5 && rc == WERR_OK);
    store_close(st);
    tmp_dir_free(d);
}

static void test_bytes_come_back(void **state)
{
    struct tmp_dir *d = tmp_dir_new();
    struct store *st = open_ok(d->path);
    struct store_txn *t = store_txn_new(st);
    bool done = false;
    enum werr rc;
    (void)state;

    for (uint32_t p = 0; p < 8; p++) {
        append_async(st, TABLE_LOG_1D, p, 3, 100 + p * 10000, NULL);
    }
    store_submit(st, t, STORE_SYNC, false, NULL, NULL);
    append_async(st, TABLE_LOG_1D, 8, 1, 100, &done);
    poll_until(st, &done);
    store_close(st);
    st = open_ok(d->path);
    for (uint32_t p = 0; p < 8; p++) {
        assert_true(read_all(st, p, &rc) == 3 && rc == WERR_OK);
    }
    store_close(st);
    tmp_dir_free(d);
}

/* Makes syncs of the log fail: its descriptor becomes one that cannot be synced. */
static void break_sync(const char *dir)
{
    unsigned found = 0;

    for (int fd = 3; fd < 512; fd++) {
        char link[64], path[512];
        ssize_t n;

        snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
        n = readlink(link, path, sizeof path - 1);
        path[n > 0 ? n : 0] = '\0';
        if (n > 4 && strcmp(path + n - 4, ".log") == 0 && strstr(path, dir) == path &&
            (fcntl(fd, F_GETFL) & O_ACCMODE) == O_RDONLY) {
            int bad = open(path, O_PATH); /* has a size, cannot be synced */

            assert_int_equal(dup2(bad, fd), fd);
            close(bad);
            found++;
        }
    }
    assert_true(found >= 1); /* the floor may be looking at the file as well */
}

static void test_failed_sync_is_final(void **state)
{
    struct tmp_dir *d = tmp_dir_new();
    struct store *st = open_ok(d->path);
    enum werr rc;
    (void)state;

    assert_int_equal(append_sync(st, TABLE_LOG_7D, 1, 1, 1000), WERR_OK);
    break_sync(d->path);
    assert_int_equal(append_sync(st, TABLE_LOG_7D, 1, 1, 1000), WERR_INDETERMINATE);
    assert_int_equal(append_sync(st, TABLE_LOG_7D, 1, 1, 1000), WERR_INDETERMINATE);
    assert_int_equal(store_state(st), STORE_FAILED);
    store_close(st);
    st = open_ok(d->path);
    assert_true(read_all(st, 1, &rc) >= 1 && rc == WERR_OK);
    assert_int_equal(append_sync(st, TABLE_LOG_7D, 1, 1, 1000), WERR_OK);
    store_close(st);
    tmp_dir_free(d);
}

/* Is a file of this name open for reading only? That is what syncs look like. */
static bool syncs_go_to(const char *dir, const char *name)
{
    char want[400], link[64], path[512];

    snprintf(want, sizeof want, "%s/%s", dir, name);
    for (int fd = 3; fd < 512; fd++) {
        ssize_t n;

        snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
        n = readlink(link, path, sizeof path - 1);
        path[n > 0 ? n : 0] = '\0';
        if (strcmp(path, want) == 0 && (fcntl(fd, F_GETFL) & O_ACCMODE) == O_RDONLY) {
            return true;
        }
    }
    return false;
}

/* Metadata outgrows its memtable: RocksDB begins another log without being told to. */
static void test_log_that_rocksdb_switched(void **state)
{
    struct tmp_dir *d = tmp_dir_new();
    struct store_conf conf = rocks_conf();
    struct store *st = NULL;
    struct werror e = {0};
    char before[32], after[32];
    static uint8_t value[1 << 20];
    (void)state;

    conf.memory_bytes = 16 << 20;
    assert_int_equal(store_open_rocks(&st, d->path, &conf, &e), WERR_OK);
    assert_true(nth_file(d->path, ".log", 0, before, sizeof before));
    for (uint8_t i = 0; i < 40; i++) {
        struct store_txn *t = store_txn_new(st);
        uint8_t key[2] = {META_TOPIC, i};

        txn_put(t, TABLE_META, slice_of(key, sizeof key), slice_of(value, sizeof value));
        store_submit(st, t, STORE_SYNC, false, NULL, NULL);
        assert_int_equal(append_sync(st, TABLE_LOG_7D, 1, 1, 1000), WERR_OK);
    }
    assert_true(nth_file(d->path, ".log", 0, after, sizeof after));
    assert_string_not_equal(before, after); /* or this test proves nothing */
    assert_true(syncs_go_to(d->path, after));
    store_close(st);
    store_close(open_ok(d->path));
    tmp_dir_free(d);
}

static enum werr said(const char *text)
{
    struct werror e = {0};

    return rocks_error(strdup(text), "open", &e); /* frees it */
}

/* A bad disk is no other process. */
static void test_a_lock_that_is_held_and_one_that_fails(void **state)
{
    (void)state;

    assert_int_equal(said("IO error: While lock file: /d/LOCK: Resource temporarily unavailable"),
                     WERR_LOCKED);
    assert_int_equal(said("IO error: lock hold by current process, acquire time 1 acquiring "
                          "thread 2: /d/LOCK: No locks available"),
                     WERR_LOCKED);
    assert_int_equal(said("IO error: while open a file for lock: /d/LOCK: Input/output error"),
                     WERR_IO);
    assert_int_equal(said("IO error: While lock file: /d/LOCK: Input/output error"), WERR_IO);
    assert_int_equal(said("IO error: while open a file for lock: /d/LOCK: No space left on device"),
                     WERR_STORAGE_FULL);
}

/* RocksDB's own function, wherever it is; ours stands in front of it. */
static void test_rocksdb_sums_with_the_fast_crc(void **state)
{
    static const char name[] = "_ZN7rocksdb6crc32c6ExtendEjPKcm";
    static const char text[] = "123456789";
    uint32_t (*own)(uint32_t, const char *, size_t);
    void *first = dlsym(RTLD_DEFAULT, name), *theirs;
    void *library = dlopen("librocksdb.so.7.8", RTLD_NOW | RTLD_NOLOAD);
    char bytes[700];
    (void)state;

    assert_int_equal(rocks_crc32c_extend(0, text, 9), 0xe3069283);
    assert_int_equal(rocks_crc32c_extend(rocks_crc32c_extend(0, text, 4), text + 4, 5), 0xe3069283);
    assert_int_equal(rocks_crc32c_extend(7, text, 0), 7);
    if (library == NULL) { /* another version, or a static one: it may sum as it likes */
        return;
    }
    theirs = dlsym(library, name);
    assert_non_null(theirs);
    assert_ptr_not_equal(first, theirs); /* the linker gives it ours */
    memcpy(&own, &theirs, sizeof own);
    for (size_t i = 0; i < sizeof bytes; i++) {
        bytes[i] = (char)(i * 131 + i / 7);
    }
    for (size_t n = 0; n < sizeof bytes; n += 1 + n / 9) {
        assert_int_equal(rocks_crc32c_extend((uint32_t)n, bytes, n), own((uint32_t)n, bytes, n));
    }
    dlclose(library);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_directory_is_made_private),
        cmocka_unit_test(test_one_process_per_directory),
        cmocka_unit_test(test_newer_floor_is_refused_unchanged),
        cmocka_unit_test(test_newer_identity_without_floor_is_refused_unchanged),
        cmocka_unit_test(test_foreign_family_order_is_refused),
        cmocka_unit_test(test_half_made_store_is_finished),
        cmocka_unit_test(test_checkpoint_is_a_store),
        cmocka_unit_test(test_bytes_come_back),
        cmocka_unit_test(test_failed_sync_is_final),
        cmocka_unit_test(test_log_that_rocksdb_switched),
        cmocka_unit_test(test_a_lock_that_is_held_and_one_that_fails),
        cmocka_unit_test(test_rocksdb_sums_with_the_fast_crc),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
