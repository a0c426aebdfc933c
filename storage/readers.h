#ifndef WEIR_STORAGE_READERS_H
#define WEIR_STORAGE_READERS_H
/*
 * Reads: planned on the owner thread from the index, run on reader threads on the tables alone.
 * A plan stays good while it runs because space is only freed when no older read is under way.
 */
#include "storage/store.h"
#include "storage/worker.h"

/* A stretch of a partition's offsets in one place. */
struct span {
    uint32_t bucket;
    enum store_table table;
    uint64_t first, next;
};

struct read_job {
    struct job job;
    struct read_job *older, *newer; /* among the reads under way */
    struct store *st;
    uint64_t seq;
    struct span *spans;
    size_t n_spans, cap_spans;
    uint64_t start; /* log start when it was planned */
    size_t bytes;   /* about what it will bring, at most max_bytes */
    struct store_read *read;
    struct store_find *find; /* one of the two */
    enum werr planned;       /* an answer that needs no reading */
};

/* Reads under way, oldest first. Owner thread. */
struct read_list {
    struct read_job *oldest, *newest;
    uint64_t next_seq;
    uint64_t reads, read_bytes;
};

/* True when no read that was planned at or before seq is under way. */
bool reads_done_upto(const struct read_list *l, uint64_t seq);

#endif
