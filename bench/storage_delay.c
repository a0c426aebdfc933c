/*
 * What a table of N delayed messages costs everybody else: the same produces, in turns, on a store
 * without and on one with N rows in DELAY, and on that one while rows come and go beside them.
 *
 *   bench-storage-delay [MILLIONS] [DIR] [ROUNDS] [SECONDS]
 *
 * Exits 1 when the median rate with the rows is more than 10 % below the one without.
 */
#include <stdio.h>
#include <stdlib.h>

#include "bench/load.h"

enum {
    BATCH_BYTES = 4096,
    VALUE_BYTES = 3 + 64 + 110, /* a row with a message of 100 bytes */
    ROWS_PER_TXN = 1000,
    MAX_ROUNDS = 21,
    PAGE_ROWS = 8192,
};
static const uint64_t SPREAD_MS = UINT64_C(7) * 24 * 3600 * 1000;

struct delay_load {
    struct bench b;
    char *dir;
    uint64_t sequence;
    uint64_t delivered; /* rows below this due time are gone */
};

static uint64_t next_random(struct bench *b)
{
    b->random ^= b->random << 13;
    b->random ^= b->random >> 7;
    b->random ^= b->random << 17;
    return b->random;
}

static void put_rows(struct delay_load *d, unsigned n)
{
    struct store_txn *t = store_txn_new(d->b.st);

    for (unsigned i = 0; i < n; i++) {
        const uint64_t due_ms = d->delivered + next_random(&d->b) % SPREAD_MS;
        const struct meta_key k = delay_key(due_ms, (uint32_t)(due_ms % 64), d->sequence++);
        txn_put(t, TABLE_DELAY, key_slice(&k),
                slice_of(d->b.pool + next_random(&d->b) % (1 << 20), VALUE_BYTES));
    }
    store_submit(d->b.st, t, STORE_LAZY, false, NULL, NULL);
}

static void roll_if_due(struct bench *b)
{
    if (store_roll_due(b->st, bench_now_ns())) {
        struct store_txn *t = store_txn_new(b->st);
        txn_roll(t);
        store_submit(b->st, t, STORE_LAZY, false, NULL, NULL);
    }
}

static void fill(struct delay_load *d, uint64_t rows)
{
    const uint64_t written = bench_written();
    const int64_t start_ns = bench_now_ns();
    struct store_stats s;

    for (uint64_t n = 0; n < rows; n += ROWS_PER_TXN) {
        put_rows(d, ROWS_PER_TXN);
        roll_if_due(&d->b);
        do {
            bench_turn(&d->b, 0);
            store_stats(d->b.st, &s);
        } while (s.queued_bytes > 16 << 20);
    }
    bench_settle(&d->b);
    printf(
        "%.1f million rows of %d bytes in %.1f s: %.2f GB on disk, %.1f bytes written per byte\n",
        (double)rows / 1e6, VALUE_BYTES, (double)(bench_now_ns() - start_ns) / 1e9,
        (double)bench_dir_bytes(d->dir) / 1e9,
        (double)(bench_written() - written) / ((double)rows * VALUE_BYTES));
    fflush(stdout);
}

struct page {
    struct store_rows r;
    bool done;
};

static void on_page(struct store_rows *r)
{
    ((struct page *)r->arg)->done = true;
}

/* Reads the first page; deletes its rows as a delivery would when asked to. */
static double page(struct delay_load *d, bool deliver)
{
    struct page p = {.r = {.table = TABLE_DELAY, .max_rows = PAGE_ROWS, .fn = on_page}};
    const struct meta_key lo = delay_key(d->delivered, 0, 0);
    const int64_t start_ns = bench_now_ns();
    struct slice key, value;
    size_t at = 0;

    p.r.lo = key_slice(&lo);
    p.r.arg = &p;
    store_rows(d->b.st, &p.r);
    while (!p.done) {
        bench_turn(&d->b, 10);
    }
    const double ms = (double)(bench_now_ns() - start_ns) / 1e6;
    if (deliver && p.r.n > 0) {
        struct store_txn *t = store_txn_new(d->b.st);
        uint64_t due_ms = 0, sequence;
        uint32_t partition;
        for (unsigned i = 0; i < ROWS_PER_TXN && store_rows_next(&p.r, &at, &key, &value); i++) {
            txn_delete(t, TABLE_DELAY, key);
            (void)delay_key_parse(key, &due_ms, &partition, &sequence);
        }
        d->delivered = due_ms;
        store_submit(d->b.st, t, STORE_LAZY, false, NULL, NULL);
    }
    blob_unref(p.r.data);
    return ms;
}

static int by_value(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

static double median(double *v, unsigned n)
{
    qsort(v, n, sizeof *v, by_value);
    return v[n / 2];
}

static double turn(struct delay_load *d, const struct load *l, const char *name)
{
    struct load_result r;

    bench_run(&d->b, l, &r);
    printf("  %-22s %8.0f batches/s  p50 %6.2f ms  p99 %7.2f ms\n", name,
           (double)r.batches / r.seconds, r.p50_ms, r.p99_ms);
    fflush(stdout);
    return (double)r.batches / r.seconds;
}

/* One second of produces, then a thousand rows delivered and as many kept, and so on. */
static double living(struct delay_load *d, struct load l, double seconds)
{
    double rate = 0;
    unsigned n = 0;
    struct load_result r;

    l.seconds = 0.1;
    for (double t = 0; t < seconds; t += l.seconds, n++) {
        put_rows(d, ROWS_PER_TXN);
        (void)page(d, true);
        bench_run(&d->b, &l, &r);
        rate += (double)r.batches / r.seconds;
    }
    printf("  %-22s %8.0f batches/s  beside 10,000 rows/s in and out\n", "with rows, living",
           rate / n);
    fflush(stdout);
    return rate / n;
}

static void start(struct delay_load *d, const char *base)
{
    const struct store_conf conf = {.memory_bytes = 256 << 20, .min_free_bytes = 1 << 30};

    d->dir = bench_dir(base);
    d->b.random = 88172645463325252;
    bench_open(&d->b, d->dir, conf);
}

int main(int argc, char **argv)
{
    const double millions = argc > 1 ? strtod(argv[1], NULL) : 10;
    const char *base = argc > 2 ? argv[2] : "/tmp";
    unsigned rounds = argc > 3 ? (unsigned)strtoul(argv[3], NULL, 10) : 5;
    const double seconds = argc > 4 ? strtod(argv[4], NULL) : 3;
    const struct load l = {.partitions = 64,
                           .outstanding = 32,
                           .batch_bytes = BATCH_BYTES,
                           .total_bytes = UINT64_MAX,
                           .seconds = seconds,
                           .table = TABLE_LOG_7D};
    static struct delay_load without, with;
    double a[MAX_ROUNDS], b[MAX_ROUNDS], c[MAX_ROUNDS], pages[MAX_ROUNDS];

    rounds = rounds < MAX_ROUNDS ? rounds : MAX_ROUNDS;
    start(&without, base);
    start(&with, base);
    fill(&with, (uint64_t)(millions * 1e6));
    for (unsigned i = 0; i < rounds; i++) {
        a[i] = turn(&without, &l, "without rows");
        b[i] = turn(&with, &l, "with rows");
        c[i] = living(&with, l, seconds);
        pages[i] = page(&with, false);
    }
    const double share = median(b, rounds) / median(a, rounds);
    printf("with rows %.1f %% of the rate without, living %.1f %%; a page of %d rows in %.1f ms; "
           "target 90 %%: %s\n",
           100 * share, 100 * median(c, rounds) / median(a, rounds), PAGE_ROWS,
           median(pages, rounds), share >= 0.9 ? "reached" : "MISSED");
    bench_close(&without.b);
    bench_close(&with.b);
    bench_remove(without.dir);
    bench_remove(with.dir);
    free(without.dir);
    free(with.dir);
    return share >= 0.9 ? 0 : 1;
}
