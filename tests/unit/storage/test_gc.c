/* Space comes back: how much is moved, what readers see meanwhile, what a crash in between leaves.
 */
#include <stdlib.h>

#include "storage/store_mem.h"
#include "tests/lib/store_world.h"
#include "tests/lib/test.h"

static struct store *open_mode(void *disk, enum store_mem_mode mode, const struct store_conf *conf)
{
    struct store *st = NULL;
    struct werror e;
    if (store_open_mem(&st, disk, mode, conf, &e) != WERR_OK)
        fail_msg("%s", e.text);
    return st;
}

static struct store *open_stepped(void *disk, const struct store_conf *conf)
{
    return open_mode(disk, STORE_MEM_STEPPED, conf);
}

static struct store *open_threaded(void *disk, const struct store_conf *conf)
{
    return open_mode(disk, STORE_MEM_THREADED, conf);
}

struct fixture {
    struct memdisk *d;
    struct world_env env;
    struct world w;
};

static void begin(struct fixture *f, bool threads, uint64_t seed)
{
    f->d = memdisk_new();
    f->env = (struct world_env){f->d, threads ? open_threaded : open_stepped, !threads,
                                threads ? NULL : store_step};
    world_init(&f->w, &f->env, seed);
    world_open(&f->w);
}

static void end(struct fixture *f)
{
    world_fini(&f->w);
    memdisk_free(f->d);
}

/* Every partition gets n batches of bytes in one bucket, which then ends. */
static void fill_bucket(struct world *w, unsigned n, uint32_t bytes)
{
    for (unsigned i = 0; i < n; i++) {
        for (unsigned p = 0; p < WORLD_PARTITIONS; p++)
            world_append(w, p, TABLE_LOG_7D, bytes);
    }
    world_roll(w);
    world_settle(w);
}

static void kill_first(struct world *w, unsigned n_partitions)
{
    for (unsigned p = 0; p < n_partitions; p++)
        world_trim(w, p, w->parts[p].next);
    world_settle(w);
}

/* ---------------------------------------------------------------- how much is moved */

static void test_share_that_moves(void **state)
{
    (void)state;
    for (unsigned dead = 0; dead <= WORLD_PARTITIONS; dead++) {
        struct fixture f;
        struct store_stats s;
        begin(&f, false, dead + 1);
        fill_bucket(&f.w, 4, 2000);
        kill_first(&f.w, dead);
        world_gc(&f.w);
        store_stats(f.w.st, &s);
        uint64_t total = 4 * 2000 * WORLD_PARTITIONS;
        uint64_t live = 4 * 2000 * (WORLD_PARTITIONS - dead);
        bool freed = dead * 100 > WORLD_PARTITIONS * 70;
        assert_int_equal(s.live_bytes, live);
        assert_int_equal(s.moved_bytes, freed ? live : 0);
        assert_int_equal(s.reclaimed_bytes, freed ? total : 0);
        assert_true(s.moved_bytes <= total * 30 / 100);
        assert_int_equal(s.buckets, freed ? 1 : 2);
        if (freed) /* the rows are really gone */
            assert_true(s.disk_bytes < total);
        world_check(&f.w, f.w.seq);
        end(&f);
    }
}

/* Over a long life with random lifetimes: what gc writes stays a small share of what came in. */
static void test_long_run(void **state)
{
    (void)state;
    struct fixture f;
    struct store_stats s;
    uint64_t in = 0;
    begin(&f, false, 3);
    f.w.conf.bucket_bytes = 256 << 10;
    world_close(&f.w);
    world_open(&f.w);
    for (int i = 0; i < 6000; i++) {
        unsigned p = (unsigned)world_random(&f.w, WORLD_PARTITIONS);
        struct world_part *part = &f.w.parts[p];
        world_append(&f.w, p, TABLE_LOG_7D, 1000);
        in += 1000;
        /* most partitions keep about 40 batches, two keep everything */
        if (p >= 2 && part->next - part->start > 400)
            world_trim(&f.w, p, part->next - 400);
        if (store_roll_due(f.w.st, 0))
            world_roll(&f.w);
        if (i % 20 == 0) {
            world_settle(&f.w);
            store_gc(f.w.st, (int64_t)i << 30);
        }
    }
    world_settle(&f.w);
    world_gc(&f.w);
    store_stats(f.w.st, &s);
    print_message(
        "in %llu, live %llu, moved %llu (%.1f %%), reclaimed %llu, kept %llu, buckets %u\n",
        (unsigned long long)in, (unsigned long long)s.live_bytes, (unsigned long long)s.moved_bytes,
        100.0 * (double)s.moved_bytes / (double)in, (unsigned long long)s.reclaimed_bytes,
        (unsigned long long)s.disk_bytes, s.buckets);
    assert_true(s.moved_bytes < in / 2);
    /* at most 70 % of each sealed bucket is dead, beside the active one */
    assert_true(s.disk_bytes < s.live_bytes * 10 / 3 + 2 * (256 << 10));
    world_check(&f.w, f.w.seq);
    world_close(&f.w);
    world_open(&f.w);
    world_check(&f.w, f.w.seq);
    end(&f);
}

static void test_roll_due(void **state)
{
    (void)state;
    struct fixture f;
    begin(&f, false, 1);
    f.w.conf.bucket_bytes = 100000;
    world_close(&f.w);
    world_open(&f.w);
    assert_false(store_roll_due(f.w.st, 0));
    for (int i = 0; i < 10; i++) {
        assert_false(store_roll_due(f.w.st, 0));
        world_append(&f.w, (unsigned)i, TABLE_LOG_7D, 10000);
    }
    assert_true(store_roll_due(f.w.st, 0)); /* full */
    world_roll(&f.w);
    assert_false(store_roll_due(f.w.st, 0));
    world_append(&f.w, 0, TABLE_LOG_7D, 10000);
    world_append(&f.w, 1, TABLE_LOG_7D, 3000);
    world_trim(&f.w, 0, f.w.parts[0].next);
    assert_true(store_roll_due(f.w.st, 0)); /* mostly dead */
    world_roll(&f.w);
    world_settle(&f.w);
    for (uint64_t i = 0; i < 49; i++) { /* rows lie in memory too until a bucket ends */
        static const uint8_t value[1984];
        struct meta_key k = delay_key(i, 1, i);
        struct store_txn *t = store_txn_new(f.w.st);
        assert_false(store_roll_due(f.w.st, 0));
        txn_put(t, TABLE_DELAY, key_slice(&k), slice_of(value, sizeof(value)));
        store_submit(f.w.st, t, STORE_LAZY, false, NULL, NULL);
    }
    assert_true(store_roll_due(f.w.st, 0));
    struct store_txn *t = store_txn_new(f.w.st);
    txn_roll(t);
    store_submit(f.w.st, t, STORE_LAZY, false, NULL, NULL);
    assert_false(store_roll_due(f.w.st, 0));
    world_settle(&f.w);
    end(&f);
}

/* ---------------------------------------------------------------- reads during gc */

struct reading {
    struct store_read r;
    bool busy, done;
};

static void on_read(struct store_read *r)
{
    struct reading *x = r->arg;
    x->done = true;
}

/* The whole content of a partition, or a failed test. */
static void check_read(const struct reading *x, uint32_t batches, uint32_t bytes)
{
    if (x->r.rc != WERR_OK)
        fail_msg("partition %u: %s", x->r.partition, x->r.err.text);
    assert_non_null(x->r.data);
    struct slice run = slice_of(x->r.data->p, x->r.data->n), batch;
    struct batch_head h;
    struct werror e;
    uint64_t at = x->r.offset;
    uint32_t n = 0;
    while (run.n > 0) {
        assert_int_equal(batch_next(&run, true, &h, &batch, &e), WERR_OK);
        assert_int_equal(h.base_offset, at);
        assert_int_equal(batch.n, bytes);
        at += h.count;
        n++;
    }
    assert_int_equal(at, x->r.end);
    assert_int_equal(n, batches);
}

/*
 * At every point between two steps of a move - read, submitted, written, synced, completed - a read
 * that is planned there and run later finds everything.
 */
static void test_reads_at_every_step(void **state)
{
    (void)state;
    enum { LIVE = 6, N = 45, BYTES = 8000, STEPS = 400 };
    for (unsigned delay = 0; delay < 5; delay++) {
        struct fixture f;
        static struct reading reads[STEPS];
        struct store_stats s;
        unsigned n = 0;
        memset(reads, 0, sizeof(reads));
        begin(&f, false, 9);
        fill_bucket(&f.w, N, BYTES); /* several chunks of survivors */
        kill_first(&f.w, WORLD_PARTITIONS - LIVE);
        store_gc(f.w.st, 0);
        bool idle = false;
        for (; n < STEPS && !idle; n++) {
            struct reading *x = &reads[n];
            uint32_t p = WORLD_PARTITIONS - LIVE + n % LIVE;
            x->r = (struct store_read){.partition = p,
                                       .end = store_next_offset(f.w.st, p),
                                       .max_bytes = 10 << 20,
                                       .fn = on_read,
                                       .arg = x};
            store_read(f.w.st, &x->r);
            if (n % 5 == delay)
                store_step_write(f.w.st);
            if (n % 5 == (delay + 2) % 5)
                store_step_sync(f.w.st);
            if (n % 2 == 0)
                store_poll(f.w.st);
            if (n % 7 == 0)
                store_gc(f.w.st, 0);
            store_stats(f.w.st, &s);
            idle = s.buckets == 1;
        }
        assert_true(idle);
        assert_true(n > 12);
        for (int i = 0; i < 10; i++)
            store_step(f.w.st);
        assert_int_equal(s.moved_bytes, LIVE * N * BYTES);
        for (unsigned i = 0; i < n; i++) {
            assert_true(reads[i].done);
            check_read(&reads[i], N, BYTES);
            blob_unref(reads[i].r.data);
        }
        world_check(&f.w, f.w.seq);
        end(&f);
    }
}

static void test_reads_with_threads(void **state)
{
    (void)state;
    enum { LIVE = 2, N = 30, BYTES = 4000, READS = 16 };
    struct fixture f;
    static struct reading reads[READS];
    unsigned n = 0;
    begin(&f, true, 4);
    for (int round = 0; round < 3; round++) {
        struct store_stats s, now;
        fill_bucket(&f.w, N, BYTES);
        kill_first(&f.w, WORLD_PARTITIONS - LIVE);
        store_stats(f.w.st, &s);
        memset(reads, 0, sizeof(reads));
        bool busy = true;
        for (unsigned turns = 0; busy; turns++) {
            assert_true(turns < 10000000);
            store_gc(f.w.st, 0);
            for (unsigned i = 0; i < READS; i++) {
                struct reading *x = &reads[i];
                if (x->done) {
                    check_read(x, N * (unsigned)(round + 1), BYTES);
                    blob_unref(x->r.data);
                    x->done = x->busy = false;
                    n++;
                }
                uint32_t p = WORLD_PARTITIONS - LIVE + i % LIVE;
                if (x->busy)
                    continue;
                x->busy = true;
                x->r = (struct store_read){.partition = p,
                                           .end = store_next_offset(f.w.st, p),
                                           .max_bytes = 100 << 20,
                                           .fn = on_read,
                                           .arg = x};
                store_read(f.w.st, &x->r);
            }
            store_poll(f.w.st);
            store_stats(f.w.st, &now);
            busy = now.reclaimed_bytes == s.reclaimed_bytes || store_gc_busy(f.w.st);
        }
        for (unsigned i = 0; i < READS; i++) {
            world_wait(&f.w, &reads[i].done);
            check_read(&reads[i], N * (unsigned)(round + 1), BYTES);
            blob_unref(reads[i].r.data);
        }
    }
    assert_true(n > 0);
    world_check(&f.w, f.w.seq);
    end(&f);
}

/* A trim and a drop that come while their rows are being moved win. */
static void test_trim_during_move(void **state)
{
    (void)state;
    for (unsigned steps = 0; steps < 12; steps++) {
        struct fixture f;
        begin(&f, false, 2);
        fill_bucket(&f.w, 60, 8000);
        kill_first(&f.w, WORLD_PARTITIONS - 5);
        store_gc(f.w.st, 0);
        for (unsigned i = 0; i < steps; i++)
            store_poll(f.w.st), (i % 2 ? store_step_sync : store_step_write)(f.w.st);
        world_trim(&f.w, WORLD_PARTITIONS - 2, f.w.parts[WORLD_PARTITIONS - 2].next / 2);
        world_trim(&f.w, WORLD_PARTITIONS - 3, f.w.parts[WORLD_PARTITIONS - 3].next);
        struct store_txn *t = store_txn_new(f.w.st);
        txn_drop_partition(t, 100);
        store_submit(f.w.st, t, STORE_SYNC, false, NULL, NULL);
        world_roll(&f.w); /* and the bucket that takes them ends */
        world_append(&f.w, WORLD_PARTITIONS - 1, TABLE_LOG_7D, 500);
        world_settle(&f.w);
        world_gc(&f.w);
        world_check(&f.w, f.w.seq);
        world_close(&f.w);
        world_open(&f.w);
        world_check(&f.w, f.w.seq);
        end(&f);
    }
}

/* ---------------------------------------------------------------- crashes during gc */

static void test_crash_at_every_step(void **state)
{
    (void)state;
    enum { LIVE = 6, N = 30, BYTES = 8000 };
    for (unsigned steps = 0; steps < 60; steps++) {
        struct fixture f;
        struct store_stats s;
        begin(&f, false, 9);
        fill_bucket(&f.w, N, BYTES);
        kill_first(&f.w, WORLD_PARTITIONS - LIVE);
        for (unsigned i = 0; i < steps; i++) {
            switch (i % 4) {
            case 0:
                store_gc(f.w.st, 0);
                break;
            case 1:
                store_poll(f.w.st);
                break;
            case 2:
                store_step_write(f.w.st);
                break;
            default:
                store_step_sync(f.w.st);
                break;
            }
        }
        store_abandon(f.w.st);
        memdisk_crash(f.d, steps % 2);
        world_open(&f.w);
        store_stats(f.w.st, &s);
        assert_int_equal(s.live_bytes, LIVE * N * BYTES); /* nothing lost, nothing twice */
        world_check(&f.w, f.w.seq);
        world_gc(&f.w);
        store_stats(f.w.st, &s);
        assert_int_equal(s.live_bytes, LIVE * N * BYTES);
        assert_true(s.disk_bytes < LIVE * N * BYTES * 12 / 10); /* the rest is gone */
        world_check(&f.w, f.w.seq);
        end(&f);
    }
}

/* ---------------------------------------------------------------- housekeeping of rows */

static enum werr count_row(void *arg, struct slice key, struct slice value)
{
    (void)key;
    (void)value;
    ++*(unsigned *)arg;
    return WERR_OK;
}

static unsigned count_tag(struct store *st, enum meta_tag tag)
{
    struct meta_key lo = meta_key(tag), hi = meta_key_after(&lo);
    struct werror e;
    unsigned n = 0;
    assert_int_equal(store_scan(st, TABLE_META, key_slice(&lo), key_slice(&hi), count_row, &n, &e),
                     WERR_OK);
    return n;
}

static void test_rows_of_the_store_do_not_pile_up(void **state)
{
    (void)state;
    struct fixture f;
    begin(&f, false, 1);
    for (unsigned i = 0; i < 300; i++) {
        struct store_txn *t = store_txn_new(f.w.st);
        world_txn_append(t, TABLE_LOG_7D, 1000 + i, 0, 1, 500, 1);
        if (i >= 10)
            txn_drop_partition(t, 1000 + i - 10);
        if (i % 10 == 9)
            txn_roll(t);
        store_submit(f.w.st, t, STORE_SYNC, false, NULL, NULL);
        store_step(f.w.st);
        store_gc(f.w.st, 0);
    }
    world_gc(&f.w);
    assert_true(count_tag(f.w.st, META_BUCKET) < 8);
    assert_true(count_tag(f.w.st, META_DROPPED) < 60);
    assert_true(count_tag(f.w.st, META_RANGE) < 30);
    assert_int_equal(count_tag(f.w.st, META_START), 0);
    for (unsigned i = 0; i < 3; i++) {
        world_close(&f.w);
        world_open(&f.w);
        for (uint32_t p = 1000; p < 1300; p++)
            assert_int_equal(store_next_offset(f.w.st, p), p >= 1290);
    }
    end(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_share_that_moves),
        cmocka_unit_test(test_long_run),
        cmocka_unit_test(test_roll_due),
        cmocka_unit_test(test_reads_at_every_step),
        cmocka_unit_test(test_reads_with_threads),
        cmocka_unit_test(test_trim_during_move),
        cmocka_unit_test(test_crash_at_every_step),
        cmocka_unit_test(test_rows_of_the_store_do_not_pile_up),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
