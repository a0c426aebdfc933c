/*
 * A read that fails must never look like the end of a table, wherever in it that is. This program
 * has a pread of its own in front of the system's: RocksDB, a shared library, finds it first.
 */
#include <dlfcn.h>
#include <errno.h>
#include <rocksdb/c.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "storage/rocks.h"
#include "tests/lib/test.h"
#include "tests/unit/storage/rocks_env.h"

enum { ROWS = 1000, VALUE_BYTES = 200, READS = 12 };

struct failing {
    char suffix[32]; /* "" = none */
    int after;       /* so many reads of it are answered */
    bool once;
    int failed;
};
static struct failing failing;

__attribute__((visibility("default"))) ssize_t pread(int fd, void *p, size_t n, off_t at);

ssize_t pread(int fd, void *p, size_t n, off_t at)
{
    static ssize_t (*real)(int, void *, size_t, off_t);
    char link[64], path[512];
    ssize_t len;

    if (real == NULL) {
        *(void **)&real = dlsym(RTLD_NEXT, "pread");
    }
    if (failing.suffix[0] != '\0') {
        snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
        len = readlink(link, path, sizeof path - 1);
        path[len > 0 ? len : 0] = '\0';
        if (strstr(path, failing.suffix) != NULL && failing.after-- <= 0 &&
            !(failing.once && failing.failed > 0)) {
            failing.failed++;
            errno = EIO;
            return -1;
        }
    }
    return real(fd, p, n, at);
}

struct world {
    struct tmp_dir *home;
    struct rocks *rk;
    struct kv *kv;
};

/* A key that a table of any kind takes: of a log row, or a small one. */
static size_t key_of(enum store_table t, uint32_t i, uint8_t out[32])
{
    struct meta_key k;

    if (table_is_log(t)) {
        k = log_meta_key(3, i / 100, i % 100);
    } else {
        k = meta_key_32(META_START, i);
    }
    memcpy(out, key_slice(&k).p, key_slice(&k).n);
    return key_slice(&k).n;
}

/* Many small tables, side by side in one level. */
static void fill(struct world *w, enum store_table t)
{
    const char *names[] = {"target_file_size_base", "disable_auto_compactions"};
    const char *values[] = {"4096", "true"};
    rocksdb_writeoptions_t *wo = rocksdb_writeoptions_create();
    uint8_t key[32];
    char value[VALUE_BYTES], *msg = NULL;

    memset(value, 'v', sizeof value);
    rocksdb_set_options_cf(w->rk->db, w->rk->cf[t], 2, names, values, &msg);
    assert_null(msg);
    for (int turn = 0; turn < 2; turn++) { /* two, or they would only be moved down */
        for (uint32_t i = 0; i < ROWS; i++) {
            const size_t n = key_of(t, i, key);

            rocksdb_put_cf(w->rk->db, wo, w->rk->cf[t], (const char *)key, n, value, sizeof value,
                           &msg);
            assert_null(msg);
        }
        rocksdb_flush_cf(w->rk->db, w->rk->flush_options, w->rk->cf[t], &msg);
        assert_null(msg);
    }
    rocksdb_compact_range_cf(w->rk->db, w->rk->cf[t], NULL, 0, NULL, 0);
    rocksdb_writeoptions_destroy(wo);
}

static int set_up(void **state)
{
    struct world *w = calloc(1, sizeof *w);
    const struct rocks_how how = {.wal_mode = ROCKS_TAIL, .create = true};
    struct store_conf conf = rocks_conf();
    struct werror e;

    memset(&failing, 0, sizeof failing);
    w->home = tmp_dir_new();
    if (rocks_open(&w->rk, w->home->path, &conf, &how, &e) != WERR_OK) {
        fail_msg("%s", e.text);
    }
    w->rk->lock_fd = -1;
    w->kv = kv_rocks_new(w->rk);
    *state = w;
    return 0;
}

static int tear_down(void **state)
{
    struct world *w = *state;

    memset(&failing, 0, sizeof failing);
    w->kv->ops->close(w->kv);
    tmp_dir_free(w->home);
    free(w);
    return 0;
}

/* Rows until the end or an error. */
static unsigned count(struct world *w, enum store_table t, bool bulk, enum werr *rc)
{
    struct kv_iter *it = NULL;
    struct slice key, value;
    struct werror e;
    unsigned n = 0;

    *rc = w->kv->ops->iter_open(w->kv, t, (struct slice){0}, (struct slice){0}, bulk, &it, &e);
    assert_int_equal(*rc, WERR_OK);
    while (w->kv->ops->iter_next(it, &key, &value)) {
        n++;
    }
    *rc = w->kv->ops->iter_error(it, &e);
    assert_false(w->kv->ops->iter_next(it, &key, &value)); /* an end stays one */
    w->kv->ops->iter_close(it);
    return n;
}

/* Each table file, each read of it, once and from then on. Returns how many reads failed. */
static int fail_everywhere(struct world *w, enum store_table t, bool bulk)
{
    const rocksdb_livefiles_t *files = rocksdb_livefiles(w->rk->db);
    const int n = rocksdb_livefiles_count(files);
    int failed = 0, tables = 0;

    for (int i = 0; i < n; i++) {
        if (strcmp(rocksdb_livefiles_column_family_name(files, i), rocks_family_name(t)) != 0) {
            continue;
        }
        tables++;
        for (int k = 0; k < 2 * READS; k++) {
            enum werr rc;
            unsigned got;

            failing = (struct failing){.after = k / 2, .once = k % 2 == 1};
            snprintf(failing.suffix, sizeof failing.suffix, "%s", rocksdb_livefiles_name(files, i));
            got = count(w, t, bulk, &rc);
            if (failing.failed == 0) {
                break;
            }
            failed += failing.failed;
            if (rc == WERR_OK && got != ROWS) {
                fail_msg("%s: %u rows of %d when read %d fails%s", failing.suffix, got, ROWS, k / 2,
                         k % 2 == 1 ? " once" : "");
            }
        }
        failing.suffix[0] = '\0';
    }
    rocksdb_livefiles_destroy(files);
    assert_true(tables > 10); /* or the test proves nothing */
    return failed;
}

static void each_read_of_a(struct world *w, enum store_table t)
{
    enum werr rc;

    fill(w, t);
    assert_int_equal(count(w, t, false, &rc), ROWS);
    assert_int_equal(rc, WERR_OK);
    assert_true(fail_everywhere(w, t, false) > 10);
    assert_true(fail_everywhere(w, t, true) > 10);
    assert_int_equal(count(w, t, true, &rc), ROWS);
    assert_int_equal(rc, WERR_OK);
}

static void log_table(void **state)
{
    each_read_of_a(*state, TABLE_LOG_7D);
}

static void meta_table(void **state)
{
    each_read_of_a(*state, TABLE_META);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(log_table, set_up, tear_down),
        cmocka_unit_test_setup_teardown(meta_table, set_up, tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
