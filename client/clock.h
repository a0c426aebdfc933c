#ifndef WEIR_CLIENT_CLOCK_H
#define WEIR_CLIENT_CLOCK_H
/* Where the library gets time and randomness from. A test puts its own functions in. */
#include <stdint.h>

#define CLOCK_NS_PER_MS INT64_C(1000000)
#define CLOCK_NEVER INT64_MAX

struct clock_source {
    int64_t (*mono_ns)(void *arg); /* never goes back */
    int64_t (*wall_ms)(void *arg); /* ms since 1970 */
    void *arg;
};

/* The machine's clocks. */
struct clock_source clock_system(void);
/* A seed that differs between processes. */
uint64_t clock_seed(void);

/* now + ms, saturating; negative ms = never. */
int64_t clock_after_ms(int64_t now_ns, int64_t ms);
/* Whole ms from now until t, rounded up, 0 when passed; capped at 24 h. -1 for never. */
int clock_ms_until(int64_t now_ns, int64_t t_ns);

#endif
