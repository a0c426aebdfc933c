#include "client/clock.h"

#include <sys/random.h>
#include <time.h>

static int64_t system_mono_ns(void *arg)
{
    struct timespec t = {0};

    (void)arg;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static int64_t system_wall_ms(void *arg)
{
    struct timespec t = {0};

    (void)arg;
    clock_gettime(CLOCK_REALTIME, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / CLOCK_NS_PER_MS;
}

struct clock_source clock_system(void)
{
    return (struct clock_source){system_mono_ns, system_wall_ms, NULL};
}

uint64_t clock_seed(void)
{
    uint64_t seed = 0;

    /* A weak seed only weakens the spreading of reconnects: failure is no error. */
    if (getrandom(&seed, sizeof seed, GRND_NONBLOCK) != (ssize_t)sizeof seed) {
        seed = (uint64_t)system_mono_ns(NULL);
    }
    return seed | 1;
}

int64_t clock_after_ms(int64_t now_ns, int64_t ms)
{
    int64_t ns;

    if (ms < 0 || __builtin_mul_overflow(ms, (int64_t)CLOCK_NS_PER_MS, &ns) ||
        __builtin_add_overflow(ns, now_ns, &ns)) {
        return CLOCK_NEVER;
    }
    return ns;
}

int clock_ms_until(int64_t now_ns, int64_t t_ns)
{
    const int64_t day_ms = INT64_C(24) * 3600 * 1000;
    int64_t ms;

    if (t_ns == CLOCK_NEVER) {
        return -1;
    }
    if (t_ns <= now_ns) {
        return 0;
    }
    ms = (t_ns - now_ns + CLOCK_NS_PER_MS - 1) / CLOCK_NS_PER_MS;
    return (int)(ms < day_ms ? ms : day_ms);
}
