#ifndef WEIR_BROKER_CLOCK_H
#define WEIR_BROKER_CLOCK_H
/* The only file of the broker that reads clocks or random numbers. Any thread. */
#include <stdint.h>

int64_t clock_mono_ns(void); /* CLOCK_MONOTONIC: never goes back */
int64_t clock_wall_ms(void); /* ms since 1970; may jump */
uint64_t clock_random(void); /* from the kernel */

#endif
