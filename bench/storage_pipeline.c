/*
 * Who syncs: the committer itself (inline), a thread of its own while the next record is written
 * (handed), or the log's choice. Every load with every pipeline, in turns, so that a disk that
 * changes its mind hits all of them.
 *
 *   bench-storage-pipeline [SECONDS] [DIR] [ROUNDS]
 */
#include <stdio.h>
#include <stdlib.h>

#include "bench/load.h"
#include "storage/front.h"
#include "storage/rocks.h"

enum { PIPELINES = 3, MAX_ROUNDS = 8 };
static const char *const pipeline_names[PIPELINES] = {"choose", "inline", "handed"};
static const struct {
    uint32_t bytes;
    unsigned outstanding;
} loads[] = {{1 << 10, 1},   {1 << 10, 16},   {1 << 10, 256},  {16 << 10, 1},
             {16 << 10, 64}, {16 << 10, 256}, {100 << 10, 64}, {100 << 10, 256}};

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return x < y ? -1 : x > y;
}

static double median(double *v, unsigned n)
{
    qsort(v, n, sizeof *v, by_value);
    return v[n / 2];
}

static void one_load(struct bench *b, size_t i, double seconds, unsigned rounds)
{
    double mb[PIPELINES][MAX_ROUNDS], p50[PIPELINES][MAX_ROUNDS], p99[PIPELINES][MAX_ROUNDS];
    double groups[PIPELINES][MAX_ROUNDS];

    for (unsigned round = 0; round < rounds; round++) {
        for (int p = 0; p < PIPELINES; p++) {
            const struct load l = {.partitions = 64,
                                   .outstanding = loads[i].outstanding,
                                   .batch_bytes = loads[i].bytes,
                                   .total_bytes = UINT64_MAX,
                                   .seconds = seconds,
                                   .table = TABLE_LOG_7D};
            struct load_result r;

            clog_rocks_pipeline(front_clog(b->st), (enum rocks_pipeline)p);
            bench_run(b, &l, &r);
            mb[p][round] = (double)r.bytes / 1e6 / r.seconds;
            p50[p][round] = r.p50_ms;
            p99[p][round] = r.p99_ms;
            groups[p][round] = r.groups_per_s;
        }
    }
    printf("%4u KB x %-4u", loads[i].bytes >> 10, loads[i].outstanding);
    for (int p = 0; p < PIPELINES; p++) {
        printf("  | %7.1f %6.2f %7.2f %6.0f", median(mb[p], rounds), median(p50[p], rounds),
               median(p99[p], rounds), median(groups[p], rounds));
    }
    printf("\n");
    fflush(stdout);
}

int main(int argc, char **argv)
{
    double seconds = argc > 1 ? strtod(argv[1], NULL) : 1;
    unsigned rounds = argc > 3 ? (unsigned)strtoul(argv[3], NULL, 10) : 3;
    char *dir = bench_dir(argc > 2 ? argv[2] : "/tmp");
    struct store_conf conf = {.min_free_bytes = 1 << 30};
    struct bench b = {0};

    rounds = rounds < 1 ? 1 : rounds > MAX_ROUNDS ? MAX_ROUNDS : rounds;
    bench_open(&b, dir, conf);
    printf("%-14s", "");
    for (int p = 0; p < PIPELINES; p++) {
        printf("  | %-29s", pipeline_names[p]);
    }
    printf("\n%-14s", "load");
    for (int p = 0; p < PIPELINES; p++) {
        printf("  | %7s %6s %7s %6s", "MB/s", "p50 ms", "p99 ms", "grp/s");
    }
    printf("\n");
    for (size_t i = 0; i < sizeof loads / sizeof loads[0]; i++) {
        one_load(&b, i, seconds, rounds);
    }
    bench_close(&b);
    bench_remove(dir);
    free(dir);
    return 0;
}
