#include "bench/demo/board.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

/* How far behind the pace a consumer may be and still catch up: more would not be steady. */
#define PACE_SLACK_NS UINT64_C(10000000)

struct board *board_map(const char *work_dir, bool create)
{
    char path[DEMO_PATH_BYTES + 16];
    struct board *b = MAP_FAILED;
    int fd, saved;

    (void)snprintf(path, sizeof path, "%s/board", work_dir);
    fd = open(path, O_RDWR | O_CLOEXEC | (create ? O_CREAT | O_EXCL : 0), 0600);
    if (fd >= 0 && (!create || ftruncate(fd, sizeof *b) == 0)) {
        b = mmap(NULL, sizeof *b, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    }
    saved = errno;
    if (fd >= 0) {
        close(fd);
    }
    errno = saved;
    return b == MAP_FAILED ? NULL : b;
}

void board_unmap(struct board *b)
{
    if (b != NULL) {
        munmap(b, sizeof *b);
    }
}

void board_raise(_Atomic uint64_t *value, uint64_t to)
{
    uint64_t old = atomic_load_explicit(value, memory_order_relaxed);

    while (old < to && !atomic_compare_exchange_weak_explicit(value, &old, to, memory_order_relaxed,
                                                              memory_order_relaxed)) {
    }
}

void board_note_ack(struct board *b, uint64_t now_ns)
{
    const uint32_t epoch = atomic_load_explicit(&b->epoch, memory_order_relaxed);
    uint64_t none = 0;

    if (epoch < DEMO_MAX_EPOCHS && board_get(&b->first_ack_ns[epoch]) == 0) {
        atomic_compare_exchange_strong_explicit(&b->first_ack_ns[epoch], &none, now_ns,
                                                memory_order_relaxed, memory_order_relaxed);
    }
}

uint32_t board_claim(struct board *b, uint32_t n, uint64_t now_ns, uint64_t *wait_ns)
{
    const uint64_t cost = (uint64_t)(1e9 * n / b->orders.out_rate);
    uint64_t due = board_get(&b->pace_ns);

    for (;;) {
        uint64_t from = due + PACE_SLACK_NS < now_ns ? now_ns - PACE_SLACK_NS : due;

        if (from > now_ns) {
            *wait_ns = from - now_ns;
            return 0;
        }
        if (atomic_compare_exchange_weak_explicit(&b->pace_ns, &due, from + cost,
                                                  memory_order_relaxed, memory_order_relaxed)) {
            return n;
        }
    }
}

uint64_t mono_ns(void)
{
    struct timespec t;

    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * UINT64_C(1000000000) + (uint64_t)t.tv_nsec;
}
