#ifndef WEIR_BENCH_DEMO_HISTORY_H
#define WEIR_BENCH_DEMO_HISTORY_H
/*
 * Histories: what each process of the demo saw, written by that process alone. The judge reads
 * nothing else. A file is a header and records of 32 bytes in the byte order of the machine (a
 * history is judged where it was written), and ends with HIST_END, so that a cut file is noticed.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

enum hist_role {
    HIST_PRODUCER = 1,
    HIST_CONSUMER = 2,
    HIST_DIRECTOR = 3,
};

enum hist_kind {
    HIST_SENT = 1,      /* id, hash: written before the message is given to the library */
    HIST_RESULT = 2,    /* id, outcome, latency_us, and partition and offset when known */
    HIST_DELIVERED = 3, /* id, hash, partition, offset: as the consumer computed them */
    HIST_KILL = 4,      /* the server was killed; id = its pid, offset = milliseconds since start */
    HIST_RESTART = 5,   /* a new server answers; id = its pid, offset as above */
    HIST_END = 6,       /* last record: id = records before it, hash = their running hash */
};

enum hist_outcome {
    HIST_ACKED = 0,   /* the broker promised to keep it */
    HIST_FAILED = 1,  /* it did not happen */
    HIST_UNKNOWN = 2, /* it may have happened */
};

struct hist_rec {
    uint8_t kind;
    uint8_t outcome;
    uint16_t partition;
    uint32_t latency_us;
    uint64_t id; /* hist_id() */
    uint64_t hash;
    int64_t offset; /* -1 = not known */
};
_Static_assert(sizeof(struct hist_rec) == 32, "record layout");

/* A message's name: who sent it, and its place in the order in which they sent. */
static inline uint64_t hist_id(uint32_t producer, uint64_t counter)
{
    return ((uint64_t)producer << 40) | counter;
}
static inline uint32_t hist_producer(uint64_t id)
{
    return (uint32_t)(id >> 40);
}
static inline uint64_t hist_counter(uint64_t id)
{
    return id & ((UINT64_C(1) << 40) - 1);
}

/** Hash of what a message says: FNV-1a 64 over the key, a separator, the value. @thread any */
uint64_t hist_hash(const void *key, size_t key_size, const void *value, size_t value_size);

struct hist_writer {
    FILE *file;
    uint64_t n, running;
    bool failed; /* a write failed: sticky, told by hist_finish */
};

/** Creates path (must not exist). @return 0, or -1 with errno. */
int hist_create(struct hist_writer *h, const char *path, enum hist_role role, uint32_t number);
/** Appends one record; buffered. Failures are told by hist_finish. */
void hist_add(struct hist_writer *h, const struct hist_rec *r);
/** Writes HIST_END and closes. @return 0, or -1: the history is not complete. Idempotent. */
int hist_finish(struct hist_writer *h);

/* A history in memory, without its end record. */
struct hist_file {
    enum hist_role role;
    uint32_t number;
    const struct hist_rec *recs; /* borrowed from the mapping */
    size_t n;
    void *map;
    size_t map_bytes;
};

/** Maps path and checks header, kinds and end. @return 0, or -1 with a sentence in err. */
int hist_load(struct hist_file *f, const char *path, char *err, size_t err_size);
/** Unmaps. Safe on a zeroed struct. */
void hist_unload(struct hist_file *f);

#endif
