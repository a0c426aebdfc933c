#include "bench/demo/series.h"

#include <string.h>

uint64_t board_acked(const struct board *b)
{
    uint64_t sum = 0;

    for (size_t i = 0; i < DEMO_MAX_WORKERS; i++) {
        sum += board_get(&b->producers[i].acked);
    }
    return sum;
}

uint64_t board_delivered(const struct board *b)
{
    uint64_t sum = 0;

    for (size_t i = 0; i < DEMO_MAX_WORKERS; i++) {
        sum += board_get(&b->consumers[i].delivered);
    }
    return sum;
}

uint64_t board_unanswered(const struct board *b)
{
    uint64_t sum = 0;

    for (size_t i = 0; i < DEMO_MAX_WORKERS; i++) {
        const struct board_worker *w = &b->producers[i];

        sum += board_get(&w->sent) - board_get(&w->acked) - board_get(&w->failed) -
               board_get(&w->unknown);
    }
    return sum;
}

void series_begin(struct series *s, uint64_t now_ns)
{
    memset(s, 0, sizeof *s);
    s->start_ns = s->last_ns = now_ns;
}

void series_mark(struct series *s, const struct board *b, uint64_t now_ns)
{
    for (size_t p = 0; p < DEMO_PARTITIONS; p++) {
        struct lag_ring *r = &s->lag[p];
        const uint64_t end = board_get(&b->acked_end[p]);
        const size_t last = (r->first + r->n + LAG_MARKS - 1) % LAG_MARKS;

        if (r->n > 0 ? r->end[last] == end : end == 0) {
            continue;
        }
        if (r->n == LAG_MARKS) { /* too long a story: join the two newest marks */
            r->end[last] = end;
            continue;
        }
        r->at_ns[(last + 1) % LAG_MARKS] = now_ns;
        r->end[(last + 1) % LAG_MARKS] = end;
        r->n++;
    }
}

double series_lag_s(struct series *s, const struct board *b, uint64_t now_ns)
{
    uint64_t oldest = now_ns;

    for (size_t p = 0; p < DEMO_PARTITIONS; p++) {
        struct lag_ring *r = &s->lag[p];
        const uint64_t next = board_get(&b->read_end[p]);

        while (r->n > 0 && r->end[r->first] <= next) {
            r->first = (r->first + 1) % LAG_MARKS;
            r->n--;
        }
        if (r->n > 0 && r->at_ns[r->first] < oldest) {
            oldest = r->at_ns[r->first];
        }
    }
    return (double)(now_ns - oldest) / 1e9;
}

void series_sample(struct series *s, const struct board *b, uint64_t disk, uint64_t memory,
                   uint64_t now_ns)
{
    const uint64_t acked = board_acked(b), delivered = board_delivered(b);
    const double dt = (double)(now_ns - s->last_ns) / 1e9;
    const double v[MEASURES] = {
        [M_IN] = (double)(acked - s->acked) / dt,
        [M_OUT] = (double)(delivered - s->delivered) / dt,
        [M_BACKLOG] = acked > delivered ? (double)(acked - delivered) : 0,
        [M_LAG] = series_lag_s(s, b, now_ns),
        [M_DISK] = (double)disk,
        [M_MEMORY] = (double)memory,
    };

    if (s->n == MAX_SAMPLES || dt <= 0) {
        return;
    }
    for (size_t m = 0; m < MEASURES; m++) {
        s->values[m][s->n] = v[m];
        s->peak[m] = v[m] > s->peak[m] ? v[m] : s->peak[m];
    }
    s->n++;
    s->acked = acked;
    s->delivered = delivered;
    s->last_ns = now_ns;
}

double series_now(const struct series *s, enum measure m, size_t n)
{
    double sum = 0;

    n = n < s->n ? n : s->n;
    for (size_t i = 0; i < n; i++) {
        sum += s->values[m][s->n - 1 - i];
    }
    return n == 0 ? 0 : sum / (double)n;
}

size_t series_columns(const struct series *s, enum measure m, double span_s, double *columns,
                      size_t n_columns)
{
    const double samples_in_span = span_s * 1e9 / (double)SAMPLE_NS;
    size_t used = 0;

    for (size_t c = 0; c < n_columns; c++) {
        size_t from = (size_t)((double)c * samples_in_span / (double)n_columns);
        size_t to = (size_t)((double)(c + 1) * samples_in_span / (double)n_columns);

        if (from >= s->n) {
            break;
        }
        to = to > s->n ? s->n : to;
        columns[c] = s->values[m][from];
        for (size_t i = from + 1; i < to; i++) {
            columns[c] = s->values[m][i] > columns[c] ? s->values[m][i] : columns[c];
        }
        used++;
    }
    return used;
}
