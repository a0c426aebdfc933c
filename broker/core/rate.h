#ifndef WEIR_BROKER_CORE_RATE_H
#define WEIR_BROKER_CORE_RATE_H
/*
 * An exact steady rate. Two token buckets (as in GCRA, ITU-T I.371) say when messages may go: the
 * small one keeps it steady, the large one keeps the mean. A ledger of what went within the last
 * 100 ms says how many at most: rate * 0.1 * 1.02 + 1, whatever happened before. Pure.
 */
#include <stdbool.h>
#include <stdint.h>

enum { RATE_LEDGER = 256 };
struct rate_entry {
    int64_t at_ns;
    uint64_t n;
};
struct rate {
    uint64_t per_s;                /* 0 = no limit */
    int64_t ramp_ns, ramp_from_ns; /* while the rate rises from a tenth to the whole */
    int64_t at_ns;                 /* the buckets are as of then */
    double small, large;           /* messages that may go now; below 0: owed */
    double small_s;                /* size of the small one, in seconds of the rate */
    /* What went, oldest first. A ring; entries that are close together are one. */
    struct rate_entry gone[RATE_LEDGER];
    uint32_t head, n_gone;
    int64_t newest_from_ns; /* first message of the newest entry */
    uint64_t sum;           /* of all entries */
};

/* Zeroed memory is a rate without limit. */
void rate_set(struct rate *r, uint64_t per_s, int64_t now_ns);
/* A pause ended: rises from a tenth of the rate to all of it within ramp_ns. */
void rate_ramp(struct rate *r, int64_t ramp_ns, int64_t now_ns);
/*
 * How many messages the next answer may carry when `ahead` are granted already and wait for their
 * time; 0 = that is far enough ahead. UINT32_MAX without a limit. When less was asked for than the
 * rate allows, answers are larger, so that few members with a slow disk reach it too.
 */
uint32_t rate_quantum(struct rate *r, uint64_t ahead, int64_t now_ns);
/* n messages may go now: takes them. */
bool rate_take(struct rate *r, uint64_t n, int64_t now_ns);
/* When to try n again, if nothing goes before; while the rate rises it may be too early. */
int64_t rate_when(struct rate *r, uint64_t n, int64_t now_ns);

#endif
