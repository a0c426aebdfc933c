/*
 * A full disk, for real: a small ext4 image on a loop device. Produce is refused as STORAGE_FULL,
 * reads go on, everything resumes by itself within 10 s of space coming back, nothing acknowledged
 * is lost and nothing refused appears. Needs root and loop devices; says so when it cannot run.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "storage/front.h"
#include "storage/store_rocks.h"
#include "tests/lib/store_world.h"
#include "tests/lib/test.h"
#include "tests/unit/storage/rocks_env.h"

enum { IMAGE_MIB = 96, BALLAST_MIB = 40, BATCH_BYTES = 20000, RESUME_S = 10 };

struct small_disk {
    struct tmp_dir *home;
    char image[300], mount[300], data[320], ballast[320];
    bool mounted;
};

/* Runs "program a b" without a shell's surprises. */
static int run(const char *program, const char *a, const char *b)
{
    char cmd[1024];

    snprintf(cmd, sizeof cmd, "%s '%s' '%s'", program, a, b);
    return system(cmd);
}

static void ballast_put(const struct small_disk *d)
{
    int fd = open(d->ballast, O_WRONLY | O_CREAT, 0600);

    assert_true(fd >= 0);
    assert_int_equal(posix_fallocate(fd, 0, (off_t)BALLAST_MIB << 20), 0);
    close(fd);
}

/* A file over everything that is free. */
static void foreign_put(const struct small_disk *d)
{
    int fd = open(d->ballast, O_WRONLY | O_CREAT, 0600);
    struct stat st;

    assert_true(fd >= 0);
    for (off_t step = 1 << 20; step >= 4096;) {
        assert_int_equal(fstat(fd, &st), 0);
        if (posix_fallocate(fd, st.st_size, step) != 0) {
            step /= 2;
        }
    }
    close(fd);
}

static int make_disk(void **state)
{
    struct small_disk *d = calloc(1, sizeof *d);
    int fd;

    assert_non_null(d);
    *state = d;
    d->home = tmp_dir_new();
    tmp_path(d->home, "image", d->image, sizeof d->image);
    tmp_path(d->home, "mount", d->mount, sizeof d->mount);
    snprintf(d->data, sizeof d->data, "%s/data", d->mount);
    snprintf(d->ballast, sizeof d->ballast, "%s/ballast", d->mount);
    fd = open(d->image, O_WRONLY | O_CREAT, 0600);
    assert_true(fd >= 0 && ftruncate(fd, (off_t)IMAGE_MIB << 20) == 0 &&
                mkdir(d->mount, 0700) == 0);
    close(fd);
    /* a mount namespace of our own: whatever happens, nothing stays mounted */
    if (geteuid() != 0 || unshare(CLONE_NEWNS) != 0 ||
        mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0) {
        return 0;
    }
    d->mounted = run("mkfs.ext4 -q -F -m", "0", d->image) == 0 &&
                 run("mount -o loop", d->image, d->mount) == 0;
    return 0;
}

static int drop_disk(void **state)
{
    struct small_disk *d = *state;

    if (d->mounted) {
        umount(d->mount);
    }
    tmp_dir_free(d->home);
    free(d);
    return 0;
}

static struct small_disk *need_disk(void **state)
{
    struct small_disk *d = *state;

    if (!d->mounted) {
        print_message("SKIPPED: a full disk needs root and a loop device\n");
        skip();
    }
    return d;
}

static struct store *open_store(const struct small_disk *d)
{
    struct store_conf conf = rocks_conf();
    struct store *st = NULL;
    struct werror e = {0};

    conf.memory_bytes = 16 << 20;
    if (store_open_rocks(&st, d->data, &conf, &e) != WERR_OK) {
        fail_msg("%s", e.text);
    }
    return st;
}

/* Appends one after the other until one is refused. Returns how many were acknowledged. */
static uint64_t fill(struct store *st)
{
    for (;;) {
        enum werr rc = append_sync(st, TABLE_LOG_7D, 1, 1, BATCH_BYTES);

        if (rc != WERR_OK) {
            assert_int_equal(rc, WERR_STORAGE_FULL);
            return store_next_offset(st, 1);
        }
        if (store_roll_due(st, 0)) {
            struct store_txn *t = store_txn_new(st);

            txn_roll(t);
            store_submit(st, t, STORE_LAZY, false, NULL, NULL);
        }
    }
}

static void expect_all(struct store *st, uint64_t n)
{
    enum werr rc;

    assert_true(read_all(st, 1, &rc) == n);
    assert_int_equal(rc, WERR_OK);
}

static int64_t now_ms(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

/* What the broker's tick does, until produce works again. Returns after how long. */
static int64_t resume(struct store *st)
{
    int64_t start_ms = now_ms();

    while (store_state(st) != STORE_READY) {
        assert_int_not_equal(store_state(st), STORE_FAILED);
        assert_true(now_ms() - start_ms < RESUME_S * 1000);
        store_gc(st, now_ms() * 1000000);
        poll(NULL, 0, 50); /* the tick's period */
        store_poll(st);
    }
    assert_int_equal(append_sync(st, TABLE_LOG_7D, 1, 1, BATCH_BYTES), WERR_OK);
    return now_ms() - start_ms;
}

static void test_refuses_reads_on_and_resumes(void **state)
{
    struct small_disk *d = need_disk(state);
    struct store *st;
    uint64_t n;

    ballast_put(d);
    st = open_store(d);
    n = fill(st);
    assert_true(n > 100);
    assert_int_equal(store_state(st), STORE_FULL);
    assert_true(store_state_reason(st)->text[0] != '\0');
    for (int i = 0; i < 5;
         i++) { /* no harm done by asking; a log that was written out makes room */
        const enum werr rc = append_sync(st, TABLE_LOG_7D, 1, 1, BATCH_BYTES);

        assert_true(rc == WERR_OK || rc == WERR_STORAGE_FULL);
        n += rc == WERR_OK;
        expect_all(st, n);
    }
    assert_int_equal(unlink(d->ballast), 0);
    print_message("             %llu batches, resumed after %lld ms\n", (unsigned long long)n,
                  (long long)resume(st));
    expect_all(st, n + 1);
    n = fill(st); /* a second time, without ballast */
    expect_all(st, n);
    store_close(st);
}

struct burst {
    unsigned answered, ok, full;
    bool all;
};
enum { BURST = 24 };

static void on_burst(void *arg, enum store_stage stage, enum werr rc, const struct werror *e)
{
    struct burst *b = arg;

    (void)stage;
    if (rc != WERR_OK && rc != WERR_STORAGE_FULL) {
        fail_msg("%d: %s", (int)rc, e->text);
    }
    b->ok += rc == WERR_OK;
    b->full += rc == WERR_STORAGE_FULL;
    b->all = ++b->answered == BURST;
}

/* Records are being synced, and others wait for it, when one meets the full disk. */
static void test_many_under_way(void **state)
{
    struct small_disk *d = need_disk(state);
    uint64_t n = 0;
    struct burst b = {.answered = 0};
    struct store *st;

    remove_tree(d->data);
    ballast_put(d);
    st = open_store(d);
    while (b.full == 0) {
        b = (struct burst){.answered = 0};
        for (int i = 0; i < BURST; i++) {
            struct store_txn *t = store_txn_new(st);

            world_txn_append(t, TABLE_LOG_7D, 1, store_next_offset(st, 1), 1, BATCH_BYTES, 1000);
            store_submit(st, t, i % 3 == 0 ? STORE_LAZY : STORE_SYNC, false, on_burst, &b);
        }
        poll_until(st, &b.all);
        n += b.ok;
        if (store_roll_due(st, 0) && b.full == 0) {
            roll_sync(st);
        }
    }
    assert_true(store_next_offset(st, 1) == n);
    expect_all(st, n);
    assert_int_equal(unlink(d->ballast), 0);
    (void)resume(st);
    expect_all(st, n + 1);
    store_close(st);
    st = open_store(d);
    expect_all(st, n + 1);
    store_close(st);
}

/* Dies while the disk is full: at the next start exactly the acknowledged batches are there. */
static void test_dies_while_full(void **state)
{
    struct small_disk *d = need_disk(state);
    struct store *st;
    uint64_t n;

    remove_tree(d->data);
    ballast_put(d);
    st = open_store(d);
    n = fill(st);
    n += append_sync(st, TABLE_LOG_7D, 1, 1, 4000000) == WERR_OK;
    front_abandon(st);
    assert_int_equal(unlink(d->ballast), 0);
    st = open_store(d);
    expect_all(st, n);
    assert_true(store_next_offset(st, 1) == n);
    assert_int_equal(append_sync(st, TABLE_LOG_7D, 1, 1, BATCH_BYTES), WERR_OK);
    store_close(st);
}

/* Another program's file takes all that is left at once, while a bucket is on its way to disk. */
static void test_filled_by_others(void **state)
{
    struct small_disk *d = need_disk(state);
    struct store *st;
    uint64_t n = 0;

    remove_tree(d->data);
    st = open_store(d);
    for (int round = 0; round < 4; round++) {
        foreign_put(d);
        n = fill(st);
        assert_int_equal(unlink(d->ballast), 0);
        (void)resume(st);
        expect_all(st, n + 1);
    }
    store_close(st);
    st = open_store(d);
    expect_all(st, n + 1);
    store_close(st);
}

/* Files of no bytes until no more can be made; or away with them. */
static void crowd(const struct small_disk *d, bool away)
{
    char path[400];
    int fd = 0;

    for (unsigned i = 0; fd >= 0; i++) {
        snprintf(path, sizeof path, "%s/file%u", d->mount, i);
        fd = away ? unlink(path) : open(path, O_WRONLY | O_CREAT, 0600);
        if (fd > 0) {
            close(fd);
        }
    }
}

/* No file can be made any more: refused in time, and all is well as soon as files can be made. */
static void test_no_inodes(void **state)
{
    struct small_disk *d = need_disk(state);
    struct store *st;
    uint64_t n = 0;

    remove_tree(d->data);
    st = open_store(d);
    for (int round = 0; round < 2; round++) {
        crowd(d, false);
        assert_int_equal(append_sync(st, TABLE_LOG_7D, 1, 1, BATCH_BYTES), WERR_STORAGE_FULL);
        n = store_next_offset(st, 1);
        expect_all(st, n);
        crowd(d, true);
        (void)resume(st);
        expect_all(st, n + 1);
    }
    store_close(st);
}

/* The same while a bucket ends: RocksDB never gets over it, so the store fails and a restart helps.
 */
static void test_stuck_gives_up(void **state)
{
    static struct kv *left; /* for leak checkers: it is never closed */
    struct small_disk *d = need_disk(state);
    struct werror e = {0};
    struct store *st;
    const int64_t start_ms = now_ms();
    enum werr rc = WERR_STORAGE_FULL;

    remove_tree(d->data);
    st = open_store(d);
    assert_int_equal(append_sync(st, TABLE_LOG_7D, 1, 1, BATCH_BYTES), WERR_OK);
    crowd(d, false);
    left = front_kv(st);
    assert_int_equal(left->ops->bucket_end(left, &e), WERR_STORAGE_FULL);
    crowd(d, true);
    while (rc == WERR_STORAGE_FULL && now_ms() - start_ms < 60000) {
        rc = append_sync(st, TABLE_LOG_7D, 1, 1, BATCH_BYTES);
        store_gc(st, now_ms() * 1000000);
        poll(NULL, 0, 50);
        store_poll(st);
    }
    assert_int_equal(rc, WERR_INDETERMINATE);
    assert_int_equal(store_state(st), STORE_FAILED);
    store_close(st);
}

/* The soft limit: refuse before the disk is full. */
static void test_soft_limit(void **state)
{
    struct small_disk *d = need_disk(state);
    struct store_conf conf = rocks_conf();
    struct store *st = NULL;
    struct werror e = {0};

    remove_tree(d->data);
    ballast_put(d);
    conf.memory_bytes = 16 << 20;
    conf.min_free_bytes = 24 << 20; /* beside what RocksDB allots to its log */
    assert_int_equal(store_open_rocks(&st, d->data, &conf, &e), WERR_OK);
    assert_int_equal(store_state(st), STORE_FULL); /* known from the first moment */
    assert_non_null(strstr(store_state_reason(st)->text, "MiB free of"));
    assert_int_equal(append_sync(st, TABLE_LOG_7D, 1, 1, 100),
                     WERR_OK); /* what fits goes through */
    assert_int_equal(unlink(d->ballast), 0);
    (void)resume(st);
    store_close(st);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_refuses_reads_on_and_resumes),
        cmocka_unit_test(test_many_under_way),
        cmocka_unit_test(test_dies_while_full),
        cmocka_unit_test(test_filled_by_others),
        cmocka_unit_test(test_no_inodes),
        cmocka_unit_test(test_soft_limit),
        cmocka_unit_test(test_stuck_gives_up), /* last: what it leaves holds the directory */
    };
    return cmocka_run_group_tests(tests, make_disk, drop_disk);
}
