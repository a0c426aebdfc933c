#include "storage/clock.h"

enum { NS_PER_S = 1000000000 };

int64_t store_mono_ns(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (int64_t)ts.tv_sec * NS_PER_S + ts.tv_nsec;
}

struct timespec store_mono_abs(int64_t mono_ns)
{
    struct timespec ts = {.tv_sec = (time_t)(mono_ns / NS_PER_S),
                          .tv_nsec = (long)(mono_ns % NS_PER_S)};
    return ts;
}
