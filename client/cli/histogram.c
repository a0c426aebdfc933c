/*
 * A value below 2 * 1024 is its own cell. Above, with e the number of bits beyond the leading 11,
 * cells hold 2^e neighbouring values each; 1,024 cells cover one power of two.
 */
#include "client/cli/histogram.h"

#include <math.h>
#include <stdlib.h>

enum { SUB = 1 << HISTOGRAM_SUB_BITS };

struct histogram *histogram_new(void)
{
    return calloc(1, sizeof(struct histogram));
}

void histogram_free(struct histogram *h)
{
    free(h);
}

static unsigned beyond(uint64_t v)
{
    unsigned bits = 64 - (unsigned)__builtin_clzll(v | 1);
    return bits > HISTOGRAM_SUB_BITS + 1 ? bits - (HISTOGRAM_SUB_BITS + 1) : 0;
}

static uint64_t cell_of(uint64_t v)
{
    unsigned e = beyond(v);
    return (uint64_t)e * SUB + (v >> e);
}

/* The largest value in a cell. */
static uint64_t cell_top(uint64_t cell)
{
    if (cell < (uint64_t)2 * SUB) {
        return cell;
    }
    uint64_t e = cell / SUB - 1;
    uint64_t part = cell - e * SUB;
    return ((part + 1) << e) - 1;
}

void histogram_add(struct histogram *h, int64_t value)
{
    int64_t v = value < 0 ? 0 : value;
    uint64_t top = (UINT64_C(1) << HISTOGRAM_TOP_BITS) - 1;
    uint64_t counted = (uint64_t)v > top ? top : (uint64_t)v;
    if (h->count == 0 || v < h->min) {
        h->min = v;
    }
    if (v > h->max) {
        h->max = v;
    }
    h->count++;
    h->sum += (double)v;
    h->cells[cell_of(counted)]++;
}

void histogram_merge(struct histogram *h, const struct histogram *from)
{
    if (from->count == 0) {
        return;
    }
    if (h->count == 0 || from->min < h->min) {
        h->min = from->min;
    }
    if (from->max > h->max) {
        h->max = from->max;
    }
    h->count += from->count;
    h->sum += from->sum;
    for (uint64_t i = 0; i < HISTOGRAM_CELLS; i++) {
        h->cells[i] += from->cells[i];
    }
}

int64_t histogram_percentile(const struct histogram *h, double percent)
{
    if (h->count == 0) {
        return 0;
    }
    /* the subtraction forgives what binary fractions add to 99.9 / 100 * 1000 */
    double exact = ceil(percent / 100 * (double)h->count - 1e-6);
    uint64_t rank = exact < 1 ? 1 : (uint64_t)exact;
    if (rank >= h->count) {
        return h->max;
    }
    uint64_t seen = 0;
    for (uint64_t i = 0; i < HISTOGRAM_CELLS; i++) {
        seen += h->cells[i];
        if (seen >= rank) {
            int64_t top = (int64_t)cell_top(i);
            return top < h->max ? top : h->max;
        }
    }
    return h->max;
}

double histogram_mean(const struct histogram *h)
{
    return h->count ? h->sum / (double)h->count : 0;
}
