#ifndef WEIR_BROKER_CORE_WALLTIME_H
#define WEIR_BROKER_CORE_WALLTIME_H
/*
 * Wall time that cannot jump (SETTLED 18): a mapping from the monotonic clock to the wall clock,
 * followed while they drift apart by less than a minute. A larger jump freezes the mapping: append
 * times go on at the old pace, and nobody deletes by age. The new time is believed after it held
 * for an hour, the old one as soon as it is back. Pure.
 */
#include <stdbool.h>
#include <stdint.h>

struct walltime {
    int64_t offset_ms; /* wall = mono + offset */
    int64_t other_ms;  /* while frozen: the offset that the wall clock claims */
    int64_t since_mono_ns;
    bool frozen;
};

enum walltime_event { WALLTIME_SAME, WALLTIME_FROZEN, WALLTIME_BELIEVED, WALLTIME_BACK };

void walltime_init(struct walltime *w, int64_t mono_ns, int64_t wall_ms);
/* Tells it what both clocks say. Call it at least once a minute while work goes on. */
enum walltime_event walltime_look(struct walltime *w, int64_t mono_ns, int64_t wall_ms);
int64_t walltime_ms(const struct walltime *w, int64_t mono_ns);

#endif
