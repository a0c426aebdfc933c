#ifndef WEIR_BENCH_DEMO_BOARD_H
#define WEIR_BENCH_DEMO_BOARD_H
/*
 * The board: memory shared by the director and its workers, one file mapped by all. It carries the
 * orders one way and live counters the other, for the plots only: the verdict comes from histories.
 * Every counter has one writer unless it says otherwise; all accesses are atomic and relaxed.
 */
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define DEMO_TOPIC "flights"
#define DEMO_PARTITIONS 8
#define DEMO_MAX_WORKERS 16
#define DEMO_MAX_EPOCHS 16
#define DEMO_PATH_BYTES 512

/* Written by the director before the first worker starts, constant from then on. */
struct board_orders {
    char url[128];
    char data_path[DEMO_PATH_BYTES];
    uint32_t producers, consumers;
    uint64_t messages_per_producer;
    uint32_t bursts;
    uint64_t burst_period_ns;
    double out_rate; /* messages a second, all consumers together */
    uint64_t start_mono_ns;
};

struct board_worker {
    _Alignas(64) _Atomic uint64_t sent; /* producers, as the next three; a cache line each */
    _Atomic uint64_t acked, failed, unknown;
    _Atomic uint64_t delivered; /* consumers */
    _Atomic uint64_t bytes;     /* keys and values sent or delivered */
};

struct board {
    struct board_orders orders;
    _Atomic uint32_t producers_done; /* by the director: read to the end and stop */
    _Atomic uint32_t epoch;          /* by the director: how often the server was restarted */
    /* Monotonic time of the first acknowledgement in each epoch, 0 = none yet. Many writers. */
    _Atomic uint64_t first_ack_ns[DEMO_MAX_EPOCHS];
    /* Per partition: one past the highest offset acknowledged (many writers), and read. */
    _Atomic uint64_t acked_end[DEMO_PARTITIONS];
    _Atomic uint64_t read_end[DEMO_PARTITIONS];
    /* The consumers' common pace: monotonic time at which the next message is due. Many writers. */
    _Atomic uint64_t pace_ns;
    struct board_worker producers[DEMO_MAX_WORKERS], consumers[DEMO_MAX_WORKERS];
};

/** Maps the board in work_dir, creates it when asked. @return NULL with errno. */
struct board *board_map(const char *work_dir, bool create);
/** NULL allowed. */
void board_unmap(struct board *b);

/** Adds to a counter that only this process writes. */
static inline void board_add(_Atomic uint64_t *counter, uint64_t n)
{
    atomic_store_explicit(counter, atomic_load_explicit(counter, memory_order_relaxed) + n,
                          memory_order_relaxed);
}
static inline uint64_t board_get(const _Atomic uint64_t *counter)
{
    return atomic_load_explicit(counter, memory_order_relaxed);
}
/** Raises a value that many write. */
void board_raise(_Atomic uint64_t *value, uint64_t to);
/** Notes an acknowledgement for the restart time. */
void board_note_ack(struct board *b, uint64_t now_ns);
/**
 * Asks for leave to take up to n messages at the common pace.
 * @return how many (n or 0). When 0, *wait_ns is how long to wait.
 */
uint32_t board_claim(struct board *b, uint32_t n, uint64_t now_ns, uint64_t *wait_ns);

/** CLOCK_MONOTONIC in nanoseconds. */
uint64_t mono_ns(void);

#endif
