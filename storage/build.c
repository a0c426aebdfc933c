/*
 * From a group of txns to one record.
 *
 * Happy path: appends are sorted by (bucket, table, partition, offset), neighbours become one row
 * of up to COMMIT_ROW_BYTES; then every other change in submit order; META_APPLIED last. Rows of
 * log tables have keys of their own, so taking them first changes nothing.
 * What can fail: memory for the record; then the group fails as "did not happen".
 * Who owns what: the record is the group's; batches are copied, then their references dropped.
 */
#include "storage/commit.h"

#include "storage/alloc.h"
#include "storage/hash.h"
#include "storage/rep.h"
#include "storage/rows.h"

static int by_place(const void *a, const void *b)
{
    const struct txn_op *x = *(struct txn_op *const *)a, *y = *(struct txn_op *const *)b;
    if (x->bucket != y->bucket) {
        return x->bucket < y->bucket ? -1 : 1;
    }
    if (x->table != y->table) {
        return x->table < y->table ? -1 : 1;
    }
    if (x->partition != y->partition) {
        return x->partition < y->partition ? -1 : 1;
    }
    return x->base < y->base ? -1 : x->base > y->base;
}

static size_t collect_appends(struct commit *c, struct group *g)
{
    size_t n = 0;
    for (struct store_txn *t = g->txns; t != NULL; t = t->next) {
        if (n + t->n_ops > c->cap_sorted) {
            c->cap_sorted = (n + t->n_ops) * 2;
            c->sorted = must_realloc(c->sorted, c->cap_sorted, sizeof(struct txn_op *));
        }
        for (uint32_t i = 0; i < t->n_ops; i++) {
            if (t->ops[i].kind == TXN_APPEND) {
                c->sorted[n++] = &t->ops[i];
            }
        }
    }
    bool in_order = true;
    for (size_t i = 1; i < n && in_order; i++) {
        in_order = by_place(&c->sorted[i - 1], &c->sorted[i]) < 0;
    }
    if (!in_order) {
        qsort(c->sorted, n, sizeof(struct txn_op *), by_place);
    }
    return n;
}

static bool joins(const struct txn_op *a, const struct txn_op *b)
{
    return a->bucket == b->bucket && a->table == b->table && a->partition == b->partition &&
           a->base + a->count == b->base;
}

/* Rows of a bucket that the same record ends are sealed: only the last bucket is being summed. */
static void count_row(struct applied *a, uint32_t bucket, size_t bytes, uint64_t hash)
{
    if (bucket != a->bucket) {
        return;
    }
    a->rows++;
    a->bytes += bytes;
    a->sum += hash;
}

static void put_rows(struct commit *c, struct group *g, size_t n)
{
    for (size_t i = 0; i < n;) {
        const struct txn_op *first = c->sorted[i];
        size_t bytes = first->batch.n, end = i + 1;
        while (end < n && joins(c->sorted[end - 1], c->sorted[end]) &&
               bytes + c->sorted[end]->batch.n <= COMMIT_ROW_BYTES) {
            bytes += c->sorted[end++]->batch.n;
        }
        enum store_table table = (enum store_table)first->table;
        struct meta_key k = log_meta_key(first->bucket, first->partition, first->base);
        uint64_t hash = row_hash_begin(table, key_slice(&k), bytes);
        rep_put_begin(&g->rep, table, key_slice(&k), bytes);
        for (; i < end; i++) {
            rep_raw(&g->rep, slice_of(c->sorted[i]->batch.p, c->sorted[i]->batch.n));
            hash = row_hash_batch(hash, c->sorted[i]->crc);
        }
        count_row(&g->after, first->bucket, bytes, hash);
    }
}

static void put_move(struct group *g, const struct store_txn *t, const struct txn_op *op)
{
    struct meta_key k = log_meta_key(op->bucket, op->partition, op->base);
    struct slice row = slice_of(op->batch.p, op->batch.n);
    uint64_t hash = row_hash_begin(TABLE_HOLD, key_slice(&k), row.n);
    rep_put(&g->rep, TABLE_HOLD, key_slice(&k), row);
    while (row.n >= BATCH_HEAD) {
        struct batch_head h;
        batch_head_read(row.p, &h);
        hash = row_hash_batch(hash, h.crc);
        row = slice_of(row.p + h.length, row.n - h.length);
    }
    count_row(&g->after, op->bucket, op->batch.n, hash);
    rep_put(&g->rep, TABLE_META, txn_key(t, op), txn_value(t, op));
}

static void put_drop(struct group *g, const struct txn_op *op)
{
    struct meta_key k = meta_key_32(META_DROPPED, op->partition);
    struct meta_key start = meta_key_32(META_START, op->partition);
    uint8_t value[4];
    put_be32(value, op->bucket);
    rep_put(&g->rep, TABLE_META, key_slice(&k), slice_of(value, sizeof(value)));
    rep_delete(&g->rep, TABLE_META, key_slice(&start));
    if (op->count != 0) {
        struct meta_key lo = meta_key_32(META_GAP, op->partition), hi = meta_key_after(&lo);
        rep_delete_range(&g->rep, TABLE_META, key_slice(&lo), key_slice(&hi));
    }
}

static void put_clear(struct group *g, const struct txn_op *op)
{
    struct meta_key k = meta_key_32(META_BUCKET, op->bucket);
    struct meta_key lo = meta_key_32(META_RANGE, op->bucket);
    struct meta_key hi = meta_key_after(&lo);
    rep_delete(&g->rep, TABLE_META, key_slice(&k));
    rep_delete_range(&g->rep, TABLE_META, key_slice(&lo), key_slice(&hi));
}

static void put_op(struct group *g, const struct store_txn *t, const struct txn_op *op)
{
    switch ((enum txn_kind)op->kind) {
    case TXN_PUT:
    case TXN_TRIM:
    case TXN_AT:
    case TXN_ROLL:
        rep_put(&g->rep, (enum store_table)op->table, txn_key(t, op), txn_value(t, op));
        break;
    case TXN_DELETE:
        rep_delete(&g->rep, (enum store_table)op->table, txn_key(t, op));
        break;
    case TXN_DELETE_RANGE:
        rep_delete_range(&g->rep, (enum store_table)op->table, txn_key(t, op), txn_value(t, op));
        break;
    case TXN_DROP:
        put_drop(g, op);
        break;
    case TXN_MOVE:
        put_move(g, t, op);
        break;
    case TXN_CLEAR:
        put_clear(g, op);
        break;
    case TXN_APPEND:
    case TXN_SKIP:
        break;
    }
}

bool commit_build(struct commit *c, struct group *g, const struct applied *now)
{
    g->after = *now;
    g->after.lsn++;
    for (const struct store_txn *t = g->txns; t != NULL; t = t->next) {
        for (uint32_t i = 0; t->has_roll && i < t->n_ops; i++) {
            if (t->ops[i].kind == TXN_ROLL) {
                g->after.bucket = t->ops[i].bucket;
                g->after.rows = g->after.bytes = g->after.sum = 0;
            }
        }
    }
    rep_begin(&g->rep);
    (void)buf_reserve(&g->rep, g->bytes + 256);
    put_rows(c, g, collect_appends(c, g));
    for (const struct store_txn *t = g->txns; t != NULL; t = t->next) {
        for (uint32_t i = 0; i < t->n_ops; i++) {
            put_op(g, t, &t->ops[i]);
        }
    }
    struct meta_key k = meta_key(META_APPLIED);
    uint8_t value[APPLIED_BYTES];
    applied_encode(value, &g->after);
    rep_put(&g->rep, TABLE_META, key_slice(&k), slice_of(value, sizeof(value)));
    for (struct store_txn *t = g->txns; t != NULL; t = t->next) {
        txn_unref_batches(t);
    }
    return !g->rep.failed;
}
