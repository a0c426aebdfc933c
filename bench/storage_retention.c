/*
 * How space comes back. Fills a store, then: trims the older half of every partition (whole buckets
 * die), drops most partitions (buckets that are more than 70 % dead are emptied first), drops the
 * rest. For each: seconds until the disk has the space, bytes written for it, and the share that is
 * dead and still there.
 *
 *   bench-storage-retention [GB] [DIR]
 *
 * Exits 1 when space takes longer than 10 s, or more is rewritten than was alive in those buckets.
 */
#include <stdio.h>
#include <stdlib.h>

#include "bench/load.h"

enum { PARTITIONS = 64, BATCH_BYTES = 16384, LIMIT_S = 10 };

static void on_done(void *arg, enum store_stage stage, enum werr rc, const struct werror *e)
{
    (void)stage;
    if (rc != WERR_OK) {
        bench_die("%s", e->text);
    }
    *(bool *)arg = true;
}

static void commit(struct bench *b, struct store_txn *t)
{
    bool done = false;

    store_submit(b->st, t, STORE_SYNC, false, on_done, &done);
    while (!done) {
        bench_turn(b, 1000);
    }
}

/* Waits until gc has nothing to do and the disk shows it; prints a line. */
static bool wait_space(struct bench *b, const char *name, struct store_txn *t)
{
    struct store_stats before, after;
    uint64_t disk0 = bench_dir_bytes(b->dir), written0 = bench_written(), disk, last = 0;
    int64_t start_ns = bench_now_ns(), same_ns = start_ns, end_ns;
    double seconds;
    bool ok;

    store_stats(b->st, &before);
    commit(b, t);
    store_gc(b->st, bench_now_ns());
    for (;;) { /* until nothing has changed for two seconds; the last change counts */
        bench_turn(b, 50);
        disk = bench_dir_bytes(b->dir);
        if (disk != last || store_gc_busy(b->st)) {
            last = disk;
            same_ns = bench_now_ns();
        }
        end_ns = bench_now_ns();
        if (end_ns - same_ns > 2000000000 || end_ns - start_ns > 60000000000) {
            break;
        }
    }
    store_stats(b->st, &after);
    seconds = (double)(same_ns - start_ns) / 1e9;
    ok = seconds < LIMIT_S;
    printf(
        "%-34s %7.2f s  disk %7.1f -> %7.1f MB  live %7.1f MB  moved %6.1f MB  written %6.1f MB\n",
        name, seconds, (double)disk0 / 1e6, (double)disk / 1e6, (double)after.live_bytes / 1e6,
        (double)(after.moved_bytes - before.moved_bytes) / 1e6,
        (double)(bench_written() - written0) / 1e6);
    fflush(stdout);
    return ok;
}

int main(int argc, char **argv)
{
    double gb = argc > 1 ? strtod(argv[1], NULL) : 2;
    char *dir = bench_dir(argc > 2 ? argv[2] : "/tmp");
    struct store_conf conf = {.min_free_bytes = 1 << 30};
    const struct load l = {.partitions = PARTITIONS,
                           .outstanding = 64,
                           .batch_bytes = BATCH_BYTES,
                           .total_bytes = (uint64_t)(gb * 1e9),
                           .table = TABLE_LOG_7D};
    struct bench b = {0};
    struct load_result r;
    struct store_txn *t;
    bool ok = true;

    bench_open(&b, dir, conf);
    bench_run(&b, &l, &r);
    bench_settle(&b);
    printf("filled %.1f GB over %d partitions in %.1f s\n", (double)r.bytes / 1e9, PARTITIONS,
           r.seconds);
    t = store_txn_new(b.st);
    for (uint32_t p = 0; p < PARTITIONS; p++) {
        txn_trim(t, p, store_next_offset(b.st, p) / 2);
    }
    ok = wait_space(&b, "trim the older half", t) && ok;
    t = store_txn_new(b.st);
    for (uint32_t p = 0; p < PARTITIONS * 8 / 10; p++) {
        txn_drop_partition(t, p);
    }
    ok = wait_space(&b, "drop 8 of 10 partitions", t) && ok;
    t = store_txn_new(b.st);
    for (uint32_t p = PARTITIONS * 8 / 10; p < PARTITIONS; p++) {
        txn_drop_partition(t, p);
    }
    ok = wait_space(&b, "drop the rest", t) && ok;
    bench_close(&b);
    bench_remove(dir);
    free(dir);
    printf("space back within %d s: %s\n", LIMIT_S, ok ? "yes" : "NO");
    return ok ? 0 : 1;
}
