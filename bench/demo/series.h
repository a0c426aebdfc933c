#ifndef WEIR_BENCH_DEMO_SERIES_H
#define WEIR_BENCH_DEMO_SERIES_H
/* What was measured over time, and what it is worth in the end. Filled by the director from the
 * board; pure otherwise. */
#include <stddef.h>
#include <stdint.h>

#include "bench/demo/board.h"

#define SAMPLE_NS UINT64_C(250000000)
#define MAX_SAMPLES 8192
#define LAG_MARKS 4096

enum measure { M_IN, M_OUT, M_BACKLOG, M_LAG, M_DISK, M_MEMORY, MEASURES };

/* "At this time this offset was known to be acknowledged", per partition: a ring. */
struct lag_ring {
    uint64_t at_ns[LAG_MARKS], end[LAG_MARKS];
    size_t first, n;
};

struct series {
    double values[MEASURES][MAX_SAMPLES]; /* a second, a second, messages, seconds, bytes, bytes */
    double peak[MEASURES];
    size_t n;
    uint64_t start_ns, last_ns;
    uint64_t acked, delivered; /* totals at the last sample */
    struct lag_ring lag[DEMO_PARTITIONS];
};

void series_begin(struct series *s, uint64_t now_ns);
/** Notes which offsets are acknowledged now: call often, its period is the lag's precision. */
void series_mark(struct series *s, const struct board *b, uint64_t now_ns);
/** Age in seconds of the oldest acknowledged message that was not read yet. */
double series_lag_s(struct series *s, const struct board *b, uint64_t now_ns);
/** Takes one sample of everything. */
void series_sample(struct series *s, const struct board *b, uint64_t disk, uint64_t memory,
                   uint64_t now_ns);
/** Mean of the last n samples. */
double series_now(const struct series *s, enum measure m, size_t n);
/**
 * Spreads a measure over columns that stand for span_s seconds; each gets the largest sample in
 * it. @return how many columns have data.
 */
size_t series_columns(const struct series *s, enum measure m, double span_s, double *columns,
                      size_t n_columns);

/** Sums over workers. */
uint64_t board_acked(const struct board *b);
uint64_t board_delivered(const struct board *b);
uint64_t board_unanswered(const struct board *b);

#endif
