#ifndef WEIR_CLI_HISTOGRAM_H
#define WEIR_CLI_HISTOGRAM_H
/*
 * Log-linear histogram in the manner of HdrHistogram (docs/decisions/0300-histogram.md): every
 * power of two is divided into 1,024 equal parts, so a value that is read back is at most 1/1024
 * (0.1 %) above the true one, whatever its size. Memory is fixed: 264 KiB.
 *
 * One thread at a time.
 */
#include <stdint.h>

enum {
    HISTOGRAM_SUB_BITS = 10,
    HISTOGRAM_TOP_BITS = 42, /* values from 2^42 ns (73 min) on count as the largest below */
    HISTOGRAM_CELLS = (HISTOGRAM_TOP_BITS - HISTOGRAM_SUB_BITS + 1) << HISTOGRAM_SUB_BITS
};

struct histogram {
    uint64_t count;
    int64_t min, max; /* exact; 0 when empty */
    double sum;
    uint64_t cells[HISTOGRAM_CELLS];
};

/** A new, empty one; NULL when out of memory. Gives it: free with histogram_free. */
struct histogram *histogram_new(void);
void histogram_free(struct histogram *h);
/** Counts a value; below 0 counts as 0. */
void histogram_add(struct histogram *h, int64_t value);
/** Adds all of `from`. */
void histogram_merge(struct histogram *h, const struct histogram *from);
/**
 * The smallest value that at least `percent` of all values do not exceed: exact for 100, else the
 * upper end of the cell, at most 0.1 % too high, never above max. 0 when empty.
 * @param percent 0 to 100
 */
int64_t histogram_percentile(const struct histogram *h, double percent);
double histogram_mean(const struct histogram *h);

#endif
