#ifndef WEIR_STORAGE_INDEX_H
#define WEIR_STORAGE_INDEX_H
/*
 * The index in memory: where every partition's offsets lie, and how much of every bucket is alive.
 * It belongs to the store's owner thread and always shows everything submitted; what was changed by
 * a txn that then did not happen is undone, newest first, by the index_undo_* calls.
 *
 * Pure: no I/O, no clock. An empty partition costs sizeof(struct index_part).
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/error.h"
#include "storage/keys.h"

struct index_range {
    uint64_t first, next; /* offsets [first, next); the row that holds first may begin before it */
    uint64_t bytes;
    int64_t min_ms, max_ms;
    uint32_t bucket;
    uint8_t table;
};

struct index_part {
    struct index_range *ranges; /* by offset; dense but for accepted gaps */
    uint32_t n, cap;
    uint64_t start, next; /* log start, next offset */
    uint64_t bytes;       /* of all ranges */
    int64_t last_ms;      /* append time of the newest batch, 0 = none */
    bool known;
    bool gaps; /* has META_GAP rows */
};

enum index_bucket_state {
    BUCKET_ACTIVE,
    BUCKET_SEALED,   /* its roll was submitted */
    BUCKET_DROPPING, /* the record that deletes its rows was submitted */
    BUCKET_DROPPED,  /* that record is durable: space may go when no reader looks there */
    BUCKET_FREEING,
};
struct index_bucket {
    uint32_t id;
    enum index_bucket_state state;
    bool durable;         /* its roll is durable */
    uint64_t total, live; /* batch bytes ever put there; those that are not dead (estimate) */
    uint64_t read_seq;    /* DROPPED: reads up to this one may still look there */
};

enum { INDEX_PAGE = 64 };
struct index_page {
    unsigned n_known;
    struct index_part parts[INDEX_PAGE];
};
/* Partition numbers are dense and never reused: pages of them, freed when all are dropped. */
struct index {
    struct index_page **pages;
    size_t n_pages;
    struct index_bucket *buckets; /* by id */
    size_t n_buckets, cap_buckets;
    uint32_t active; /* bucket that takes appends */
};

/* An index with one empty active bucket. */
void index_init(struct index *ix, uint32_t active);
void index_fini(struct index *ix);

/* NULL when unknown. Valid until the partition is dropped. */
struct index_part *index_part(const struct index *ix, uint32_t partition);
struct index_part *index_part_make(struct index *ix, uint32_t partition);
/* The next known partition >= *partition; false: none. */
bool index_part_next(const struct index *ix, uint32_t *partition);
struct index_bucket *index_bucket(const struct index *ix, uint32_t id); /* NULL = unknown */
/* Position of the range that holds offset, or of the first one after it; part->n = none. */
size_t index_find(const struct index_part *part, uint64_t offset);
/* Bytes of r that are not below start: exact at the borders, in proportion between them. */
uint64_t index_live_bytes(const struct index_range *r, uint64_t start);
uint64_t index_part_bytes(const struct index_part *part);

/* What index_append changed, beside what its arguments say. */
struct index_append {
    int64_t min_ms, max_ms, last_ms;
};
void index_append(struct index *ix, uint32_t partition, enum store_table t, uint64_t base,
                  uint32_t count, uint32_t bytes, int64_t ms, struct index_append *undo);
void index_undo_append(struct index *ix, uint32_t partition, uint64_t base, uint32_t bytes,
                       const struct index_append *undo);

/* A partition as it was; gives, index_restore takes it, or free() forgets it. */
struct index_saved;
struct index_saved *index_save(struct index *ix, uint32_t partition);
void index_restore(struct index *ix, struct index_saved *s);

/* start <= part->next. Ranges that are wholly below it go. */
void index_trim(struct index *ix, uint32_t partition, uint64_t start);
void index_drop(struct index *ix, uint32_t partition);
/*
 * Points [m->first, m->next), which lies in (from_bucket, from_table), to `m`, whose bucket is the
 * active one. Returns false, and changes nothing, when the partition no longer has that stretch.
 * *left = bytes of the old range beyond it.
 */
bool index_move(struct index *ix, uint32_t partition, uint32_t from_bucket,
                enum store_table from_table, const struct index_range *m, uint64_t *left);
/* Seals the active bucket and begins the next. */
void index_roll(struct index *ix);
void index_undo_roll(struct index *ix);
void index_bucket_remove(struct index *ix, uint32_t id);

/* Recovery: a bucket, a range at any position, and the check that all offsets are there. */
void index_add_bucket(struct index *ix, uint32_t id, uint64_t total);
/* Sorted in by offset; extends a neighbour of the same bucket and table that ends at its first. */
void index_add_range(struct index *ix, uint32_t partition, const struct index_range *r);
/* Recomputes next, bytes and live bytes of a partition from its ranges. */
void index_settle(struct index *ix, uint32_t partition);
/*
 * Looks for a hole or an overlap from range *i on. true: everything is dense. false: range *i does
 * not begin at *expect.
 */
bool index_dense(const struct index_part *part, size_t *i, uint64_t *expect);

#endif
