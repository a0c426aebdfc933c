#ifndef WEIR_BROKER_CORE_RATE_H
#define WEIR_BROKER_CORE_RATE_H
/*
 * An exact steady rate: two token buckets (as in GCRA, ITU-T I.371). The small one bounds what any
 * 100 ms can see: rate * 0.1 * 1.02 + 1. The large one remembers what late ticks lost, and the
 * small one refills a little faster than the rate, so that it is made good. Pure.
 */
#include <stdbool.h>
#include <stdint.h>

struct rate {
    uint64_t per_s;                /* 0 = no limit */
    int64_t ramp_ns, ramp_from_ns; /* while the rate rises from a tenth to the whole */
    int64_t at_ns;
    double small, large; /* messages that may go now */
};

void rate_set(struct rate *r, uint64_t per_s, int64_t now_ns);
/* A pause ended: rises from a tenth of the rate to all of it within ramp_ns. */
void rate_ramp(struct rate *r, int64_t ramp_ns, int64_t now_ns);
/* Most messages that one answer should carry. */
uint32_t rate_quantum(const struct rate *r);
/* n messages may go now: takes them. */
bool rate_take(struct rate *r, uint32_t n, int64_t now_ns);
/* When n may go, if nothing goes before. */
int64_t rate_when(const struct rate *r, uint32_t n, int64_t now_ns);

#endif
