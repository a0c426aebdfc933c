#ifndef WEIR_BENCH_LOAD_H
#define WEIR_BENCH_LOAD_H
/*
 * A closed loop of produces against a store on disk, as the broker makes them: one txn per batch,
 * K batches outstanding, rolls when they are due, a pass of store_gc every second. One thread.
 */
#include "storage/store.h"

struct bench {
    struct store *st;
    const char *dir;
    int wake_fd;
    uint8_t *pool; /* random bytes: nothing here compresses */
    uint64_t random;
    bool rolling, gc_busy;
    int64_t gc_mono_ns;
    int64_t *lat_ns; /* of the batches since load_reset, in order of completion */
    size_t n_lat, cap_lat;
    unsigned in_flight;
};

struct load {
    unsigned partitions;
    unsigned outstanding;
    uint32_t batch_bytes; /* whole batch, header included */
    uint64_t total_bytes; /* stops after so much, */
    double seconds;       /* or after so long; 0 = no limit */
    enum store_table table;
};
struct load_result {
    uint64_t batches, bytes;
    double seconds;
    double p50_ms, p99_ms, max_ms;
    double groups_per_s, group_bytes;
    double cpu_s; /* of the whole process */
};

int64_t bench_now_ns(void);
/* Makes the random bytes (bench_open does it otherwise). */
void bench_prepare(struct bench *b);
/* Opens (creates) the store; ends the process with a message when it cannot. */
void bench_open(struct bench *b, const char *dir, struct store_conf conf);
void bench_close(struct bench *b);
/* Runs one load to its end, everything durable. */
void bench_run(struct bench *b, const struct load *l, struct load_result *r);
/* Submits one batch without waiting; fn NULL = counted in b->in_flight. */
void bench_append(struct bench *b, enum store_table t, uint32_t partition, uint32_t batch_bytes);
/* Polls until nothing is in flight. */
void bench_drain(struct bench *b);
/* Waits for a wake-up at most this long, then polls; with a pass of gc when one is due. */
void bench_turn(struct bench *b, int wait_ms);
/* Ends the bucket and waits until its rows are in tables and the log is gone. */
void bench_settle(struct bench *b);
/* write_bytes of /proc/self/io: what this process made the kernel write. */
uint64_t bench_written(void);
/* Bytes of the plain files in a directory. */
uint64_t bench_dir_bytes(const char *dir);
/* Of its write-ahead logs alone. */
uint64_t bench_log_bytes(const char *dir);
void bench_remove(const char *dir);
/* A fresh directory below `base`; gives, free(). Ends the process when it cannot. */
char *bench_dir(const char *base);
_Noreturn void bench_die(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

#endif
