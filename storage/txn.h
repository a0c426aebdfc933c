#ifndef WEIR_STORAGE_TXN_H
#define WEIR_STORAGE_TXN_H
/*
 * A txn from the inside: its operations, and what submitting it did to the index. Built and
 * submitted on the owner thread, read by the commit thread while it is queued, given back to the
 * owner with its outcome.
 */
#include "storage/front.h"
#include "storage/index.h"

enum txn_kind {
    TXN_APPEND,
    TXN_PUT,
    TXN_DELETE,
    TXN_DELETE_RANGE,
    TXN_TRIM,  /* writes META_START */
    TXN_DROP,  /* writes META_DROPPED */
    TXN_ROLL,  /* writes META_BUCKET of the bucket that ends */
    TXN_AT,    /* writes META_START of a partition that begins beyond 0 */
    TXN_MOVE,  /* one surviving row to TABLE_HOLD, writes META_RANGE */
    TXN_CLEAR, /* deletes the rows of a bucket that has nothing live */
    TXN_SKIP,  /* turned out to change nothing */
};

/* A surviving row on its way to TABLE_HOLD. */
struct txn_move {
    uint32_t from_bucket;
    uint8_t from_table;
    int64_t min_ms, max_ms;
};

struct txn_op {
    uint8_t kind, table;
    uint32_t partition;
    uint32_t bucket; /* APPEND, MOVE: where to; ROLL: the one that begins; CLEAR: which */
    uint32_t count;
    uint64_t base;        /* APPEND, MOVE: base offset; TRIM, AT: start */
    int64_t append_ms;    /* APPEND */
    uint32_t crc;         /* APPEND: body crc */
    uint32_t batch_bytes; /* APPEND, MOVE: batch.n, kept when the reference is gone */
    struct bytes batch;   /* APPEND: one batch; MOVE: the row. Holds a reference */
    uint32_t key_at, key_n, value_at, value_n; /* in txn.arena */
    struct txn_move move;
    struct index_append undo;  /* APPEND */
    struct index_saved *saved; /* TRIM, DROP, AT, MOVE: the partition before */
};

struct store_txn {
    struct store_txn *next;
    struct txn_op *ops;
    uint32_t n_ops, cap_ops;
    size_t n_rows; /* ops with a key */
    struct buf arena;
    size_t bytes; /* about what it adds to a record */
    uint64_t seq; /* of submission */
    bool lazy, want_written, has_roll;
    store_txn_fn fn;
    void *arg;
};

/* The store's own operations. */
void txn_at(struct store_txn *t, uint32_t partition, uint64_t next_offset);
/* Takes a reference to row.owner. [base, base + count) and the row's times. */
void txn_move(struct store_txn *t, uint32_t partition, const struct txn_move *m, uint64_t base,
              uint32_t count, struct bytes row);
void txn_clear(struct store_txn *t, uint32_t bucket);
/* Deletes META_DROPPED of a partition that nothing can mention any more. */
void txn_forget(struct store_txn *t, uint32_t partition);

/* Copies bytes into the arena as the op's key / value. */
void txn_set_key(struct store_txn *t, struct txn_op *op, struct slice key);
void txn_set_value(struct store_txn *t, struct txn_op *op, struct slice value);
static inline struct slice txn_key(const struct store_txn *t, const struct txn_op *op)
{
    return slice_of(t->arena.p + op->key_at, op->key_n);
}
static inline struct slice txn_value(const struct store_txn *t, const struct txn_op *op)
{
    return slice_of(t->arena.p + op->value_at, op->value_n);
}

/* Drops the references to batches, as soon as their bytes were copied. Any one thread. */
void txn_unref_batches(struct store_txn *t);

/*
 * Enters a txn into the index and completes its operations with what the record needs (bucket
 * numbers, rows of the store's own). Owner thread.
 */
void txn_enter(struct store_txn *t, struct index *ix);
/* Takes it back out; only newest first. */
void txn_undo(struct store_txn *t, struct index *ix);

#endif
