/*
 * Every kind of damage that RocksDB itself opens over, on a real store: made in a child process
 * that ends by kill -9, copied for each case, damaged, opened. Expected: a refusal that names
 * partition and offsets and leaves every byte as it was, or a clean open with nothing missing.
 */
#include <fcntl.h>
#include <poll.h>
#include <rocksdb/c.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/inotify.h>
#include <sys/resource.h>
#include <unistd.h>

#include "storage/floor.h"
#include "storage/rocks_records.h"
#include "storage/store_rocks.h"
#include "tests/lib/test.h"
#include "tests/unit/storage/rocks_env.h"

enum {
    PARTITIONS = 4,
    BATCHES = 30, /* per partition and bucket */
    BATCH_BYTES = 4000,
};

/* What was acknowledged when the process died. */
struct facts {
    uint64_t next[PARTITIONS];
    uint64_t wal_mid; /* end of a record in the middle of the newest log */
    uint64_t wal_end; /* and of the last */
    char wal[32], manifest[32];
};
struct image {
    const char *name;
    bool keep_old_log; /* the bucket before is still in its log only */
    char path[300];
    struct facts facts;
};
static struct image sealed = {.name = "sealed"};
static struct image two_logs = {.name = "two_logs", .keep_old_log = true};
static struct tmp_dir *home;

/* ---------------------------------------------------------------- images */

static void fill(struct store *st)
{
    for (int i = 0; i < BATCHES; i++) {
        for (uint32_t p = 0; p < PARTITIONS; p++) {
            assert_int_equal(append_sync(st, TABLE_LOG_7D, p, 2, BATCH_BYTES), WERR_OK);
        }
    }
}

/* Waits until the floor on disk covers everything. It is written by the store's own thread. */
static void wait_floor(const char *dir, struct store *st)
{
    struct pollfd p = {.fd = inotify_init1(IN_CLOEXEC), .events = POLLIN};
    struct store_stats s;
    char events[4096];
    uint64_t lsn = 0;

    assert_true(p.fd >= 0 && inotify_add_watch(p.fd, dir, IN_CLOSE_WRITE) >= 0);
    store_stats(st, &s);
    for (;;) {
        struct floor_mark *marks = NULL;
        struct kv_floor f = {0};

        if (floor_load(dir, &f, &marks, NULL) == WERR_OK) {
            lsn = f.lsn;
        }
        free(marks);
        if (lsn >= s.lsn) {
            break;
        }
        assert_int_equal(poll(&p, 1, 60000), 1);
        assert_true(read(p.fd, events, sizeof events) > 0);
    }
    close(p.fd);
}

static void save_facts(const struct image *im, struct store *st, const struct facts *f)
{
    char dir[300];

    for (uint32_t p = 0; p < PARTITIONS; p++) {
        assert_true(f->next[p] == store_next_offset(st, p));
    }
    snprintf(dir, sizeof dir, "%s", home->path);
    write_file(dir, im->name[0] == 's' ? "facts.s" : "facts.t", f, sizeof *f);
}

static void make_image(void *arg)
{
    struct image *im = arg;
    struct store_conf conf = rocks_conf();
    struct facts f = {.wal_mid = 0};
    struct store *st = NULL;
    struct werror e = {0};

    if (store_open_rocks(&st, im->path, &conf, &e) != WERR_OK) {
        fail_msg("%s", e.text);
    }
    fill(st);
    roll_sync(st);
    fill(st);
    if (im->keep_old_log) { /* nobody to write the memtable out: its log stays */
        rocksdb_env_t *env = rocksdb_create_default_env();

        rocksdb_env_set_high_priority_background_threads(env, 0);
        rocksdb_env_set_background_threads(env, 0);
        rocksdb_env_destroy(env);
    }
    roll_sync(st);
    fill(st);
    assert_true(nth_file(im->path, ".log", 0, f.wal, sizeof f.wal));
    f.wal_mid = size_of(im->path, f.wal);
    fill(st);
    f.wal_end = size_of(im->path, f.wal);
    wait_floor(im->path, st);
    manifest_name(im->path, f.manifest, sizeof f.manifest);
    for (uint32_t p = 0; p < PARTITIONS; p++) {
        f.next[p] = store_next_offset(st, p);
    }
    save_facts(im, st, &f);
}

static void load_facts(struct image *im)
{
    char path[320];
    FILE *file =
        fopen(tmp_path(home, im->name[0] == 's' ? "facts.s" : "facts.t", path, sizeof path), "rb");

    assert_non_null(file);
    assert_int_equal(fread(&im->facts, 1, sizeof im->facts, file), sizeof im->facts);
    fclose(file);
}

static int make_images(void **state)
{
    struct image *const all[] = {&sealed, &two_logs};
    (void)state;

    home = tmp_dir_new();
    for (int i = 0; i < 2; i++) {
        tmp_path(home, all[i]->name, all[i]->path, sizeof all[i]->path);
        in_killed_child(make_image, all[i]);
        load_facts(all[i]);
    }
    return 0;
}

static int drop_images(void **state)
{
    (void)state;
    tmp_dir_free(home);
    return 0;
}

/* ---------------------------------------------------------------- one case */

struct damage_case {
    const struct image *im;
    char dir[300];
    char wal[32], manifest[32];
};

static int setup(void **state)
{
    struct damage_case *c = calloc(1, sizeof *c);

    assert_non_null(c);
    tmp_path(home, "case", c->dir, sizeof c->dir);
    *state = c;
    return 0;
}

static int teardown(void **state)
{
    struct damage_case *c = *state;

    remove_tree(c->dir);
    free(c);
    return 0;
}

static struct damage_case *use(void **state, const struct image *im)
{
    struct damage_case *c = *state;

    c->im = im;
    copy_dir(im->path, c->dir);
    snprintf(c->wal, sizeof c->wal, "%s", im->facts.wal);
    snprintf(c->manifest, sizeof c->manifest, "%s", im->facts.manifest);
    return c;
}

static void on_log(void *arg, const char *event, const char *text)
{
    if (strcmp(event, "data_loss") == 0 && strstr(text, "partition ") != NULL) {
        ++*(int *)arg;
    }
}

/* The store refuses, says why and where, and touches nothing. */
static void expect_refusal(struct damage_case *c, const char *words)
{
    struct store_conf conf = rocks_conf();
    struct store *st = NULL;
    struct werror e = {0};
    uint64_t before = hash_dir(c->dir);
    int named = 0;
    enum werr rc;

    conf.log = on_log;
    conf.log_arg = &named;
    rc = store_open_rocks(&st, c->dir, &conf, &e);
    if (rc == WERR_OK) {
        store_close(st);
        fail_msg("opened without a word");
    }
    print_message("             %s\n", e.text);
    assert_int_equal(rc, WERR_DATA_LOSS);
    if (words != NULL && strstr(e.text, words) == NULL) {
        fail_msg("no \"%s\" in: %s", words, e.text);
    }
    assert_true(hash_dir(c->dir) == before);
}

static struct store *open_with(struct damage_case *c, bool accept)
{
    struct store_conf conf = rocks_conf();
    struct store *st = NULL;
    struct werror e = {0};

    conf.accept_data_loss = accept;
    if (store_open_rocks(&st, c->dir, &conf, &e) != WERR_OK) {
        fail_msg("%s", e.text);
    }
    return st;
}

/* The only way past: offsets go on above everything acknowledged, and the next start is clean. */
static void expect_acceptance(struct damage_case *c)
{
    struct store *st = open_with(c, true);
    enum werr rc;

    for (uint32_t p = 0; p < PARTITIONS; p++) {
        uint64_t next = store_next_offset(st, p);

        assert_true(next >= c->im->facts.next[p]);
        assert_int_equal(append_sync(st, TABLE_LOG_7D, p, 1, 200), WERR_OK);
        assert_true(store_next_offset(st, p) == next + 1);
    }
    roll_sync(st);
    store_close(st);
    st = open_with(c, false);
    (void)read_all(st, 0, &rc);
    assert_int_equal(append_sync(st, TABLE_LOG_7D, 0, 1, 200), WERR_OK);
    store_close(st);
}

/* Opens as if nothing had happened, with every acknowledged batch. */
static void expect_clean_open(struct damage_case *c)
{
    for (int i = 0; i < 2; i++) {
        struct store *st = open_with(c, false);

        for (uint32_t p = 0; p < PARTITIONS; p++) {
            enum werr rc;

            assert_true(read_all(st, p, &rc) >= c->im->facts.next[p]);
            assert_int_equal(rc, WERR_OK);
        }
        assert_int_equal(append_sync(st, TABLE_LOG_7D, 0, 1, 200), WERR_OK);
        store_close(st);
    }
}

/* ---------------------------------------------------------------- cases */

static void test_undamaged(void **state)
{
    expect_clean_open(use(state, &sealed));
}

static void test_undamaged_two_logs(void **state)
{
    struct damage_case *c = use(state, &two_logs);
    char older[32];

    assert_true(nth_file(c->dir, ".log", 1, older, sizeof older)); /* or the image proves nothing */
    assert_true(size_of(c->dir, older) > BATCHES * PARTITIONS * BATCH_BYTES);
    expect_clean_open(c);
}

static void test_log_bit_flip(void **state) /* 0.1 */
{
    struct damage_case *c = use(state, &sealed);

    flip_byte(c->dir, c->wal, c->im->facts.wal_mid / 2);
    expect_refusal(c, "partition 0: offsets ");
    expect_acceptance(c);
}

static void test_log_cut_on_boundary(void **state) /* 0.2 */
{
    struct damage_case *c = use(state, &sealed);

    cut_file(c->dir, c->wal, c->im->facts.wal_mid);
    expect_refusal(c, "partition 0: offsets 180 to 239");
    expect_acceptance(c);
}

static void test_log_deleted(void **state) /* 0.2 */
{
    struct damage_case *c = use(state, &sealed);

    delete_file(c->dir, c->wal);
    expect_refusal(c, "partition 0: offsets 120 to 239");
    expect_acceptance(c);
}

/* Reads a whole file; the caller frees it. */
static uint8_t *slurp(const char *dir, const char *name, size_t *n)
{
    char path[512];
    FILE *f;
    uint8_t *p;

    *n = (size_t)size_of(dir, name);
    p = malloc(*n);
    snprintf(path, sizeof path, "%s/%s", dir, name);
    f = fopen(path, "rb");
    assert_non_null(f);
    assert_non_null(p);
    assert_int_equal(fread(p, 1, *n, f), *n);
    fclose(f);
    return p;
}

/* The first whole record in log[at, n) that has so many bytes. */
static bool find_record(const uint8_t *log, size_t n, size_t at, size_t bytes, struct wal_record *r)
{
    while (at < n) {
        if (record_at(log, n, at, r) != RECORD_HERE) {
            at += RECORD_BLOCK_BYTES - at % RECORD_BLOCK_BYTES;
            continue;
        }
        if (r->begins && r->ends && r->bytes == bytes) {
            return true;
        }
        at += r->bytes;
    }
    return false;
}

/* A sound record was written over a later one of the same size. RocksDB would apply it again, and
 * abort where it checks itself. */
static void test_log_record_again(void **state)
{
    struct damage_case *c = use(state, &sealed);
    struct wal_record first, later;
    size_t n;
    uint8_t *log = slurp(c->dir, c->wal, &n);

    assert_int_equal(record_at(log, n, 0, &first), RECORD_HERE);
    assert_true(find_record(log, n, c->im->facts.wal_mid / 2, first.bytes, &later));
    memcpy(log + (later.p - log), first.p, first.bytes);
    write_file(c->dir, c->wal, log, n);
    free(log);
    expect_refusal(c, "partition ");
    expect_acceptance(c);
}

/* Behind everything that was synced it is only a tail that nobody was promised. */
static void test_log_record_again_at_the_end(void **state)
{
    struct damage_case *c = use(state, &sealed);
    struct wal_record r;
    size_t n;
    uint8_t *log = slurp(c->dir, c->wal, &n), *longer;
    const size_t block = n + RECORD_BLOCK_BYTES - n % RECORD_BLOCK_BYTES; /* the next one */

    assert_int_equal(record_at(log, n, 0, &r), RECORD_HERE);
    assert_true(r.begins && r.ends);
    longer = calloc(1, block + r.bytes);
    assert_non_null(longer);
    memcpy(longer, log, n);
    memcpy(longer + block, r.p, r.bytes);
    write_file(c->dir, c->wal, longer, block + r.bytes);
    free(longer);
    free(log);
    expect_clean_open(c);
}

/* A power cut may take back the name of a log that had just been made; nothing was synced in it. */
static void test_log_of_which_nothing_was_synced(void **state)
{
    struct damage_case *c = use(state, &sealed);
    struct floor_mark *marks = NULL;
    struct kv_floor f;
    struct werror e;

    assert_int_equal(floor_load(c->dir, &f, &marks, &e), WERR_OK);
    f.seq++;
    snprintf(f.wal_name, sizeof f.wal_name, "900000.log");
    f.wal_synced_bytes = 0;
    assert_int_equal(floor_save(c->dir, &f, &e), WERR_OK);
    expect_clean_open(c);
    free(marks);
}

static void test_older_log_halved(void **state) /* 0.3 */
{
    struct damage_case *c = use(state, &two_logs);
    char older[32];

    assert_true(nth_file(c->dir, ".log", 1, older, sizeof older));
    cut_file(c->dir, older, size_of(c->dir, older) / 2);
    expect_refusal(c, "partition ");
    expect_acceptance(c);
}

static void test_older_log_deleted(void **state) /* 0.3 */
{
    struct damage_case *c = use(state, &two_logs);
    char older[32];

    assert_true(nth_file(c->dir, ".log", 1, older, sizeof older));
    delete_file(c->dir, older);
    expect_refusal(c, "partition ");
    expect_acceptance(c);
}

static void test_manifest_shortened(void **state) /* 0.4 */
{
    struct damage_case *c = use(state, &sealed);

    cut_file(c->dir, c->manifest, size_of(c->dir, c->manifest) - 20);
    expect_refusal(c, c->manifest);
}

/* The floor did not see the manifest's size: it was written before the manifest grew. */
static void forget_manifest(const char *dir)
{
    struct floor_mark *marks = NULL;
    struct kv_floor f;
    struct werror e;

    assert_int_equal(floor_load(dir, &f, &marks, &e), WERR_OK);
    f.manifest_bytes = 0;
    f.seq++;
    assert_int_equal(floor_save(dir, &f, &e), WERR_OK);
    free(marks);
}

/*
 * What the last 20 bytes say depends on when RocksDB moved its files: they may name a table, or
 * only a move that can be repeated. So: refused, or everything acknowledged is there.
 */
static void test_manifest_shortened_unseen(void **state)
{
    struct damage_case *c = use(state, &sealed);
    struct store_conf conf = rocks_conf();
    struct store *st = NULL;
    struct werror e = {0};
    enum werr rc;

    forget_manifest(c->dir);
    cut_file(c->dir, c->manifest, size_of(c->dir, c->manifest) - 20);
    rc = store_open_rocks(&st, c->dir, &conf, &e);
    if (rc == WERR_OK) {
        store_close(st);
        expect_clean_open(c);
        return;
    }
    assert_int_equal(rc, WERR_DATA_LOSS);
    expect_refusal(c, NULL);
    expect_acceptance(c);
}

/* Here RocksDB would open, and delete the tables that its manifest no longer names. */
static void test_manifest_halved_unseen(void **state)
{
    struct damage_case *c = use(state, &sealed);

    forget_manifest(c->dir);
    cut_file(c->dir, c->manifest, size_of(c->dir, c->manifest) / 2);
    expect_refusal(c, "partition 0: offsets ");
}

static void test_manifest_bit_flip(void **state)
{
    struct damage_case *c = use(state, &sealed);

    flip_byte(c->dir, c->manifest, size_of(c->dir, c->manifest) / 2);
    expect_refusal(c, NULL);
}

static void biggest_table(const char *dir, char *name, size_t n)
{
    char one[32];
    uint64_t best = 0;

    for (unsigned i = 0; nth_file(dir, ".sst", i, one, sizeof one); i++) {
        if (size_of(dir, one) > best) {
            best = size_of(dir, one);
            snprintf(name, n, "%s", one);
        }
    }
    assert_true(best > 100000);
}

static void test_table_truncated(void **state) /* 0.4 */
{
    struct damage_case *c = use(state, &sealed);
    char table[32];

    biggest_table(c->dir, table, sizeof table);
    cut_file(c->dir, table, size_of(c->dir, table) - 1000);
    expect_refusal(c, "partition 0: offsets ");
    expect_acceptance(c);
}

static void test_table_missing(void **state) /* 0.4 */
{
    struct damage_case *c = use(state, &sealed);
    char table[32];

    biggest_table(c->dir, table, sizeof table);
    delete_file(c->dir, table);
    expect_refusal(c, "partition 0: offsets ");
    expect_acceptance(c);
}

/* Not seen at the start: no start reads all data. But never the end of the log. */
static void test_table_bit_flip(void **state) /* 0.4 */
{
    struct damage_case *c = use(state, &sealed);
    int corrupt = 0;
    char table[32];
    struct store *st;

    biggest_table(c->dir, table, sizeof table);
    flip_byte(c->dir, table, size_of(c->dir, table) / 2);
    st = open_with(c, false);
    for (uint32_t p = 0; p < PARTITIONS; p++) {
        enum werr rc;
        uint64_t at = read_all(st, p, &rc);

        assert_true(rc == WERR_CORRUPT || (rc == WERR_OK && at >= c->im->facts.next[p]));
        corrupt += rc == WERR_CORRUPT;
    }
    assert_int_equal(corrupt, 1);
    assert_int_equal(append_sync(st, TABLE_LOG_7D, 0, 1, 200), WERR_OK);
    store_close(st);
}

static void test_current_empty(void **state) /* 0.4 */
{
    struct damage_case *c = use(state, &sealed);

    cut_file(c->dir, "CURRENT", 0);
    expect_refusal(c, "CURRENT");
    expect_acceptance(c); /* put back: the manifest is all right */
}

static void test_current_missing(void **state) /* 0.4 */
{
    struct damage_case *c = use(state, &sealed);
    struct store *st;
    enum werr rc;

    delete_file(c->dir, "CURRENT");
    expect_refusal(c, "CURRENT");
    st = open_with(c, true);
    for (uint32_t p = 0; p < PARTITIONS; p++) {
        assert_true(read_all(st, p, &rc) == c->im->facts.next[p] && rc == WERR_OK);
    }
    store_close(st);
}

static void test_floor_slot_damaged(void **state)
{
    struct damage_case *c = use(state, &sealed);

    flip_byte(c->dir, "floor.1", 40);
    expect_clean_open(c);
}

static void test_floor_damaged(void **state)
{
    struct damage_case *c = use(state, &sealed);

    flip_byte(c->dir, "floor.0", 40);
    flip_byte(c->dir, "floor.1", 40);
    expect_refusal(c, "floor");
    expect_acceptance(c);
}

static void test_floor_deleted(void **state)
{
    struct damage_case *c = use(state, &sealed);

    delete_file(c->dir, "floor.0");
    delete_file(c->dir, "floor.1");
    expect_refusal(c, "floor");
    expect_acceptance(c);
}

static void test_other_stores_floor(void **state)
{
    struct damage_case *c = use(state, &sealed);

    for (int i = 0; i < 2; i++) {
        struct floor_mark *marks = NULL;
        struct kv_floor f;
        struct werror e;

        assert_int_equal(floor_load(c->dir, &f, &marks, &e), WERR_OK);
        f.store_uuid[0] = (uint8_t)(f.store_uuid[0] + 1);
        f.seq++;
        assert_int_equal(floor_save(c->dir, &f, &e), WERR_OK);
        free(marks);
    }
    {
        struct store_conf conf = rocks_conf();
        struct store *st = NULL;
        struct werror e = {0};

        assert_int_equal(store_open_rocks(&st, c->dir, &conf, &e), WERR_DATA_LOSS);
        assert_non_null(strstr(e.text, "another store"));
    }
}

static void append_file(const char *dir, const char *name, const void *p, size_t n)
{
    char path[400];
    int fd;

    snprintf(path, sizeof path, "%s/%s", dir, name);
    fd = open(path, O_WRONLY | O_APPEND);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, p, n), n);
    close(fd);
}

/* After a power cut the log ends in what was not synced: cut short, ... */
static void test_torn_tail(void **state)
{
    static const uint8_t torn[57] = {1, 2, 3, 4, 0, 2, 1};
    struct damage_case *c = use(state, &sealed);

    append_file(c->dir, c->wal, torn, sizeof torn);
    expect_clean_open(c);
}

/* ... or whole but wrong, because its blocks came to disk in another order, ... */
static void test_damaged_tail(void **state)
{
    static const uint8_t wrong[7 + 100] = {1, 2, 3, 4, 100, 0, 1};
    struct damage_case *c = use(state, &sealed);

    append_file(c->dir, c->wal, wrong, sizeof wrong);
    expect_clean_open(c);
}

/* ... or zeros. */
static void test_zero_tail(void **state)
{
    static const uint8_t zeros[8192];
    struct damage_case *c = use(state, &sealed);

    append_file(c->dir, c->wal, zeros, sizeof zeros);
    expect_clean_open(c);
}

static void test_torn_manifest(void **state)
{
    static const uint8_t torn[57] = {1, 2, 3, 4, 0, 2, 1};
    struct damage_case *c = use(state, &sealed);

    append_file(c->dir, c->manifest, torn, sizeof torn);
    expect_clean_open(c);
}

/* Without descriptors nothing can be said about the data, and nothing is: with one more at each
 * turn, every open of a start fails once. */
static void test_no_descriptors(void **state)
{
    struct damage_case *c = use(state, &two_logs);
    const int first_free = open("/dev/null", O_RDONLY | O_CLOEXEC);
    struct store_conf conf = rocks_conf();
    struct rlimit usual, few;
    enum werr rc = WERR_IO;
    int turns = 0;

    close(first_free);
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &usual), 0);
    few = usual;
    few.rlim_cur = (rlim_t)first_free;
    for (; rc != WERR_OK && turns < 100; turns++, few.rlim_cur++) {
        struct store *st = NULL;
        struct werror e = {0};

        assert_int_equal(setrlimit(RLIMIT_NOFILE, &few), 0);
        rc = store_open_rocks(&st, c->dir, &conf, &e);
        assert_int_equal(setrlimit(RLIMIT_NOFILE, &usual), 0);
        if (rc == WERR_DATA_LOSS || rc == WERR_CORRUPT) {
            fail_msg("%d descriptors: %s", turns, e.text);
        }
        if (rc == WERR_OK) {
            store_close(st);
        }
    }
    assert_int_equal(rc, WERR_OK);
    assert_true(turns > 5);
    expect_clean_open(c);
}

int main(void)
{
#define CASE(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)
    const struct CMUnitTest tests[] = {
        CASE(test_undamaged),
        CASE(test_undamaged_two_logs),
        CASE(test_log_bit_flip),
        CASE(test_log_cut_on_boundary),
        CASE(test_log_deleted),
        CASE(test_log_of_which_nothing_was_synced),
        CASE(test_log_record_again),
        CASE(test_log_record_again_at_the_end),
        CASE(test_older_log_halved),
        CASE(test_older_log_deleted),
        CASE(test_manifest_shortened),
        CASE(test_manifest_shortened_unseen),
        CASE(test_manifest_halved_unseen),
        CASE(test_manifest_bit_flip),
        CASE(test_table_truncated),
        CASE(test_table_missing),
        CASE(test_table_bit_flip),
        CASE(test_current_empty),
        CASE(test_current_missing),
        CASE(test_floor_slot_damaged),
        CASE(test_floor_damaged),
        CASE(test_floor_deleted),
        CASE(test_other_stores_floor),
        CASE(test_torn_tail),
        CASE(test_damaged_tail),
        CASE(test_zero_tail),
        CASE(test_torn_manifest),
        CASE(test_no_descriptors),
    };
#undef CASE
    return cmocka_run_group_tests(tests, make_images, drop_images);
}
