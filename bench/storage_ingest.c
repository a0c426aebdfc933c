/*
 * Write amplification: bytes this process made the kernel write, over stored batch bytes, after the
 * last bucket is in its tables. 16 KB batches in groups, and 100 B messages unbatched beside it.
 *
 *   bench-storage-ingest [GB] [DIR] [MEMORY_MB]
 *
 * Exits 1 when the first figure is above 2.1.
 */
#include <stdio.h>
#include <stdlib.h>

#include "bench/load.h"

enum { PARTITIONS = 256, BATCH_BYTES = 16384, SMALL_BYTES = 64 + 110 };
#define TARGET 2.1

static double measure(const char *base, const struct store_conf *conf, const struct load *l,
                      const char *name)
{
    char *dir = bench_dir(base);
    struct bench b = {0};
    struct load_result r;
    uint64_t written = bench_written();
    int64_t start_ns = bench_now_ns();
    double wa, settled_s;

    bench_open(&b, dir, *conf);
    bench_run(&b, l, &r);
    bench_settle(&b);
    settled_s = (double)(bench_now_ns() - start_ns) / 1e9 - 1.5;
    wa = (double)(bench_written() - written) / (double)r.bytes;
    printf("%-26s %8.2f %8.1f %8.1f %9.0f %9.0f %8.2f %8.2f %7.1f %9.2f %6.2f\n", name,
           (double)r.bytes / 1e9, (double)r.bytes / 1e6 / r.seconds,
           (double)r.bytes / 1e6 / settled_s, (double)r.batches / r.seconds, r.group_bytes / 1024,
           r.p50_ms, r.p99_ms, r.max_ms, r.cpu_s / ((double)r.bytes / 1e9), wa);
    fflush(stdout);
    bench_close(&b);
    bench_remove(dir);
    free(dir);
    return wa;
}

int main(int argc, char **argv)
{
    double gb = argc > 1 ? strtod(argv[1], NULL) : 5;
    const char *base = argc > 2 ? argv[2] : "/tmp";
    struct store_conf conf = {.memory_bytes = (argc > 3 ? strtoull(argv[3], NULL, 10) : 256) << 20,
                              .min_free_bytes = 1 << 30};
    const struct load big = {.partitions = PARTITIONS,
                             .outstanding = 64,
                             .batch_bytes = BATCH_BYTES,
                             .total_bytes = (uint64_t)(gb * 1e9),
                             .table = TABLE_LOG_7D};
    const struct load small = {.partitions = PARTITIONS,
                               .outstanding = 256,
                               .batch_bytes = SMALL_BYTES,
                               .total_bytes = (uint64_t)(gb * 4e7),
                               .table = TABLE_LOG_7D};
    double wa;

    printf("%-26s %8s %8s %8s %9s %9s %8s %8s %7s %9s %6s\n", "", "GB", "MB/s", "settled",
           "batches/s", "KiB/group", "p50 ms", "p99 ms", "max", "cpu s/GB", "WA");
    wa = measure(base, &conf, &big, "16 KB batches, 64 under way");
    measure(base, &conf, &small, "100 B alone, 256 under way");
    printf("write amplification %.2f, target %.1f: %s\n", wa, TARGET,
           wa <= TARGET ? "reached" : "MISSED");
    return wa <= TARGET ? 0 : 1;
}
