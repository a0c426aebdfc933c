#ifndef WEIR_BROKER_CORE_TIMERS_H
#define WEIR_BROKER_CORE_TIMERS_H
/*
 * The one time index: lease expiry, retries, delayed batches, grace of sessions, long-polls of
 * queues, pacing. A binary heap of timers that live inside their owners (so nothing is allocated
 * per timer), ordered by monotonic due time; equal times fire in the order they were set. Deadlines
 * that must survive a restart are rows with wall time; whoever loads them sets a timer here.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct timer {
    int64_t due_mono_ns;
    uint64_t order;                /* the heap's */
    size_t index;                  /* the heap's: place + 1; 0 = not set */
    void (*fire)(struct timer *t); /* t is not set any more; may set, unset or free any timer */
};

struct timers {
    struct timer **heap;
    size_t n, cap;
    uint64_t next_order;
};

/* Sets t, or moves it when it is set. t->fire was filled by the owner; t stays where it is. */
void timer_set(struct timers *ts, struct timer *t, int64_t due_mono_ns);
void timer_unset(struct timers *ts, struct timer *t); /* allowed when not set */
static inline bool timer_is_set(const struct timer *t)
{
    return t->index != 0;
}
/* Earliest due time; INT64_MAX = none. */
int64_t timers_next(const struct timers *ts);
/* Fires what is due at `now`, at most `limit` of them (the rest is still due). Returns how many. */
unsigned timers_run(struct timers *ts, int64_t now_mono_ns, unsigned limit);
/* Frees the heap; every timer was unset or its owner is going too. */
void timers_fini(struct timers *ts);

#endif
