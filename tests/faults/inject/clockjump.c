/*
 * Clock shim: preload it (LD_PRELOAD) into a process, and its wall clock is what WEIR_CLOCK_FILE
 * (clockjump.h) says, from one call to the next: it jumps while the process runs, as by `date -s`,
 * and runs too fast or too slow. MONOTONIC stays; BOOTTIME can jump, as after a suspend.
 *
 * Shifted are clock_gettime for REALTIME, REALTIME_COARSE and BOOTTIME, gettimeofday, time and
 * timespec_get. Waits until a wall time (pthread_cond_timedwait on a condition of that clock,
 * sem_timedwait, pthread_mutex_timedlock) get their time shifted back, so that they end when they
 * would after a real jump, up to jumps during the wait. Not seen: raw system calls, timerfd, file
 * times.
 *
 * Happy path: read the control twice until it holds still, add. What can fail: a control file that
 * cannot be mapped ends the process (97), for a fault that does not fire proves nothing.
 */
#include "tests/faults/inject/clockjump.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

enum { NS_PER_S = 1000000000, COND_MONOTONIC = 2 };

#define REAL(ret, name, version, ...)                   \
    static ret (*real_##name)(__VA_ARGS__);             \
    static void find_##name(void)                       \
    {                                                   \
        union {                                         \
            void *p;                                    \
            ret (*f)(__VA_ARGS__);                      \
        } u = {.p = dlvsym(RTLD_NEXT, #name, version)}; \
        if (u.p == NULL) {                              \
            u.p = dlsym(RTLD_NEXT, #name);              \
        }                                               \
        real_##name = u.f;                              \
    }

REAL(int, clock_gettime, "GLIBC_2.17", clockid_t, struct timespec *)
REAL(int, pthread_cond_timedwait, "GLIBC_2.3.2", pthread_cond_t *, pthread_mutex_t *,
     const struct timespec *)
REAL(int, pthread_cond_clockwait, "GLIBC_2.34", pthread_cond_t *, pthread_mutex_t *, clockid_t,
     const struct timespec *)
REAL(int, pthread_mutex_timedlock, "GLIBC_2.34", pthread_mutex_t *, const struct timespec *)
REAL(int, sem_timedwait, "GLIBC_2.34", sem_t *, const struct timespec *)

/* A preloaded library has nobody to hand its state to. */
static struct clock_control *control;

static void map_control(const char *path)
{
    const int fd = open(path, O_RDWR | O_CLOEXEC);
    void *map = MAP_FAILED;

    if (fd >= 0) {
        map = mmap(NULL, sizeof *control, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        close(fd);
    }
    if (map == MAP_FAILED || ((struct clock_control *)map)->magic != CLOCK_JUMP_MAGIC) {
        (void)dprintf(2, "clockjump: cannot map the control file: %s\n", path);
        _exit(97);
    }
    control = map;
}

static void find_all(void)
{
    if (real_clock_gettime == NULL) {
        find_pthread_cond_timedwait();
        find_pthread_cond_clockwait();
        find_pthread_mutex_timedlock();
        find_sem_timedwait();
        find_clock_gettime();
    }
}

__attribute__((constructor)) static void shim_start(void)
{
    const char *path = getenv("WEIR_CLOCK_FILE");

    find_all();
    if (path != NULL) {
        map_control(path);
    }
}

static int64_t real_ns(clockid_t id)
{
    struct timespec t = {0};

    (void)real_clock_gettime(id, &t);
    return (int64_t)t.tv_sec * NS_PER_S + t.tv_nsec;
}

static struct timespec spec_of(int64_t ns)
{
    int64_t s = ns / NS_PER_S, rest = ns % NS_PER_S;

    if (rest < 0) {
        s--;
        rest += NS_PER_S;
    }
    return (struct timespec){.tv_sec = s, .tv_nsec = (long)rest};
}

/* A copy of the control that no writer was in the middle of. */
static struct clock_control look(void)
{
    struct clock_control c;
    uint32_t before, after;

    do {
        before = __atomic_load_n(&control->seq, __ATOMIC_ACQUIRE);
        c = *(volatile struct clock_control *)control;
        __atomic_thread_fence(__ATOMIC_ACQUIRE);
        after = __atomic_load_n(&control->seq, __ATOMIC_RELAXED);
    } while (before != after || (before & 1) != 0);
    return c;
}

/* What is added to the wall clock now. */
static int64_t wall_shift_ns(void)
{
    const struct clock_control c = look();
    /* in microseconds: ten years of drift fit */
    const int64_t us = c.rate_ppm == 0 ? 0 : (real_ns(CLOCK_MONOTONIC) - c.since_ns) / 1000;

    return c.offset_ns + us * c.rate_ppm / 1000;
}

static bool is_wall(clockid_t id)
{
    return id == CLOCK_REALTIME || id == CLOCK_REALTIME_COARSE;
}

int clock_gettime(clockid_t id, struct timespec *t)
{
    int64_t ns;

    find_all();
    if (control == NULL || (!is_wall(id) && id != CLOCK_BOOTTIME)) {
        return real_clock_gettime(id, t);
    }
    ns = real_ns(id) + (is_wall(id) ? wall_shift_ns() : look().boot_offset_ns);
    *t = spec_of(ns);
    __atomic_add_fetch(&control->reads, 1, __ATOMIC_RELAXED);
    return 0;
}

int gettimeofday(struct timeval *restrict t, void *restrict zone)
{
    struct timespec ts;

    (void)zone; /* obsolete, and NULL everywhere */
    (void)clock_gettime(CLOCK_REALTIME, &ts);
    *t = (struct timeval){.tv_sec = ts.tv_sec, .tv_usec = ts.tv_nsec / 1000};
    return 0;
}

time_t time(time_t *out)
{
    struct timespec ts;

    (void)clock_gettime(CLOCK_REALTIME, &ts);
    if (out != NULL) {
        *out = ts.tv_sec;
    }
    return ts.tv_sec;
}

int timespec_get(struct timespec *t, int base)
{
    if (base != TIME_UTC) {
        return 0;
    }
    (void)clock_gettime(CLOCK_REALTIME, t);
    return base;
}

/* ---- waits: from the process's wall time to the kernel's */

static struct timespec back(const struct timespec *until)
{
    int64_t ns;

    if (control == NULL || __builtin_mul_overflow(until->tv_sec, (int64_t)NS_PER_S, &ns) ||
        __builtin_add_overflow(ns, until->tv_nsec, &ns) ||
        __builtin_sub_overflow(ns, wall_shift_ns(), &ns)) {
        return *until; /* for ever */
    }
    return spec_of(ns);
}

/* glibc keeps the clock of a condition in bit 1 of wrefs; there is no function that tells it. */
int pthread_cond_timedwait(pthread_cond_t *restrict cond, pthread_mutex_t *restrict mutex,
                           const struct timespec *restrict until)
{
    const bool mono = (cond->__data.__wrefs & COND_MONOTONIC) != 0;
    struct timespec t;

    find_all();
    t = mono ? *until : back(until);
    return real_pthread_cond_timedwait(cond, mutex, &t);
}

int pthread_cond_clockwait(pthread_cond_t *restrict cond, pthread_mutex_t *restrict mutex,
                           clockid_t id, const struct timespec *restrict until)
{
    struct timespec t;

    find_all();
    t = is_wall(id) ? back(until) : *until;
    return real_pthread_cond_clockwait(cond, mutex, id, &t);
}

int pthread_mutex_timedlock(pthread_mutex_t *restrict mutex, const struct timespec *restrict until)
{
    struct timespec t;

    find_all();
    t = back(until);
    return real_pthread_mutex_timedlock(mutex, &t);
}

int sem_timedwait(sem_t *restrict sem, const struct timespec *restrict until)
{
    struct timespec t;

    find_all();
    t = back(until);
    return real_sem_timedwait(sem, &t);
}
