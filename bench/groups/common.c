#include "bench/groups/common.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static int64_t clock_ns(clockid_t id)
{
    struct timespec t;

    clock_gettime(id, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

int64_t now_mono_ns(void)
{
    return clock_ns(CLOCK_MONOTONIC);
}

int64_t now_wall_ms(void)
{
    return clock_ns(CLOCK_REALTIME) / 1000000;
}

_Noreturn void die(const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    vfprintf(stderr, fmt, ap);
    va_end(ap);
    fputc('\n', stderr);
    exit(1);
}

void must(weir_error e, const char *what)
{
    if (e.outcome != WEIR_DONE) {
        die("%s: %s", what, e.text);
    }
}

uint64_t number(const char *text, uint64_t low, uint64_t high)
{
    char *end;
    const uint64_t v = strtoull(text, &end, 10);

    if (*text == '\0' || *end != '\0' || v < low || v > high) {
        die("%s: want a number from %llu to %llu", text, (unsigned long long)low,
            (unsigned long long)high);
    }
    return v;
}

static int compare(const void *a, const void *b)
{
    const int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;

    return x < y ? -1 : x > y;
}

void sort_values(int64_t *values, size_t n)
{
    if (n > 0) {
        qsort(values, n, sizeof *values, compare);
    }
}

int64_t percentile(const int64_t *sorted, size_t n, double p)
{
    size_t i = (size_t)((double)n * p / 100);

    return n == 0 ? 0 : sorted[i < n ? i : n - 1];
}

void make_topic(weir *w, const char *name, const char *config)
{
    const weir_error e = weir_topic_create(w, name, config, 0, NULL, 10000);

    if (e.code != WEIR_E_EXISTS) {
        must(e, name);
    }
}
