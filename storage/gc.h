#ifndef WEIR_STORAGE_GC_H
#define WEIR_STORAGE_GC_H
/* Space: what is dead, what has to move, what may be freed. State of the owner thread. */
#include "storage/readers.h"

enum { GC_CHUNK_BYTES = 1 << 20, GC_DEAD_PERCENT = 70 };

/* A row that a chunk job read, to be moved. */
struct gc_row {
    uint32_t partition;
    enum store_table table;
    uint64_t base;
    uint32_t count;
    int64_t min_ms, max_ms;
    size_t at, n; /* in the chunk's data */
};
struct gc_span {
    uint32_t partition;
    struct span span;
};
/* One bucket's survivors on their way to TABLE_HOLD, chunk by chunk: at most one at a time. */
struct gc_move {
    struct job job;
    struct store *st;
    uint32_t bucket;
    struct gc_span *spans;
    size_t n_spans, at; /* at: the span that the next chunk goes on with */
    struct gc_row *rows;
    size_t n_rows, cap_rows;
    struct blob *data;
    bool in_flight;     /* rows are submitted, not durable: readers look in the old place */
    uint32_t to_bucket; /* where they go */
    enum werr rc;
    struct werror err;
};
struct gc_dropped {
    uint32_t partition, bucket; /* bucket: the active one when it was dropped */
    uint64_t seq;               /* of the txn */
    bool clearing;
};
struct gc {
    struct gc_move *move;
    int64_t retry_mono_ns; /* no move before */
    struct gc_dropped *dropped;
    size_t n_dropped, cap_dropped;
    uint64_t moved_bytes, reclaimed_bytes;
    unsigned jobs; /* frees and checkpoints under way */
    bool orphans_seen;
    bool probing; /* an empty record is under way to see whether the disk takes it */
    int64_t probe_mono_ns;
};

struct store_txn;
void gc_fini(struct gc *g);
void gc_add_dropped(struct gc *g, uint32_t partition, uint32_t bucket, uint64_t seq);
/* What a durable txn means for space. */
void gc_txn_durable(struct store *st, const struct store_txn *t);
/* Where the rows of a span really are while their move is under way; emits 1..n spans. */
void gc_place(const struct store *st, uint32_t partition, const struct span *s,
              void (*emit)(void *arg, const struct span *s), void *arg);

#endif
