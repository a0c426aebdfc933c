/*
 * Happy path: txn_* collect operations; store_submit calls txn_enter, which applies them to the
 * index and turns them into rows; the commit thread copies them into a record; txn_free.
 * What can fail: nothing here; a caller that breaks the contract (wrong base offset) is stopped by
 * an assertion before anything is written.
 * Who owns what: the txn owns its operations, arena and saved partitions, and holds one reference
 * to every batch.
 */
#include "storage/txn.h"

#include <assert.h>

#include "storage/alloc.h"
#include "storage/rows.h"

struct store_txn *store_txn_new(struct store *st)
{
    (void)st;
    return must_calloc(1, sizeof(struct store_txn));
}

void txn_unref_batches(struct store_txn *t)
{
    for (uint32_t i = 0; i < t->n_ops; i++) {
        blob_unref(t->ops[i].batch.owner);
        t->ops[i].batch = (struct bytes){0};
    }
}

void store_txn_free(struct store_txn *t)
{
    if (t == NULL) {
        return;
    }
    txn_unref_batches(t);
    for (uint32_t i = 0; i < t->n_ops; i++) {
        free(t->ops[i].saved);
    }
    free(t->ops);
    buf_fini(&t->arena);
    free(t);
}

static struct txn_op *op_new(struct store_txn *t, enum txn_kind kind)
{
    if (t->n_ops == t->cap_ops) {
        t->cap_ops = t->cap_ops ? t->cap_ops * 2 : 2;
        t->ops = must_realloc(t->ops, t->cap_ops, sizeof(*t->ops));
    }
    struct txn_op *op = &t->ops[t->n_ops++];
    *op = (struct txn_op){.kind = (uint8_t)kind};
    return op;
}

static uint32_t arena_put(struct store_txn *t, struct slice s)
{
    uint32_t at = (uint32_t)t->arena.len;
    buf_put(&t->arena, s.p, s.n);
    if (t->arena.failed) {
        abort();
    }
    t->bytes += s.n;
    return at;
}

void txn_set_key(struct store_txn *t, struct txn_op *op, struct slice key)
{
    t->n_rows++;
    op->key_at = arena_put(t, key);
    op->key_n = (uint32_t)key.n;
}

void txn_set_value(struct store_txn *t, struct txn_op *op, struct slice value)
{
    op->value_at = arena_put(t, value);
    op->value_n = (uint32_t)value.n;
}

void txn_append(struct store_txn *t, enum store_table table, uint32_t partition,
                const struct batch_head *h, struct bytes batch)
{
    assert(table_is_log(table) && table != TABLE_HOLD);
    assert(h->length == batch.n && h->count > 0);
    struct txn_op *op = op_new(t, TXN_APPEND);
    op->table = (uint8_t)table;
    op->partition = partition;
    op->base = h->base_offset;
    op->count = h->count;
    op->append_ms = h->append_ms;
    op->crc = h->crc;
    op->batch = batch;
    op->batch_bytes = (uint32_t)batch.n;
    if (batch.owner != NULL) {
        blob_ref(batch.owner);
    }
    t->bytes += batch.n + LOG_KEY_BYTES;
}

/* Callers own every row but those of the log tables and the store's own tags. */
static void check_table(enum store_table table, struct slice key)
{
    assert(!table_is_log(table));
    assert(table != TABLE_META || (key.n > 0 && !meta_tag_is_own(key.p[0])));
}

void txn_put(struct store_txn *t, enum store_table table, struct slice key, struct slice value)
{
    check_table(table, key);
    struct txn_op *op = op_new(t, TXN_PUT);
    op->table = (uint8_t)table;
    txn_set_key(t, op, key);
    txn_set_value(t, op, value);
}

void txn_delete(struct store_txn *t, enum store_table table, struct slice key)
{
    check_table(table, key);
    struct txn_op *op = op_new(t, TXN_DELETE);
    op->table = (uint8_t)table;
    txn_set_key(t, op, key);
}

void txn_delete_range(struct store_txn *t, enum store_table table, struct slice lo, struct slice hi)
{
    check_table(table, lo);
    struct txn_op *op = op_new(t, TXN_DELETE_RANGE);
    op->table = (uint8_t)table;
    txn_set_key(t, op, lo);
    txn_set_value(t, op, hi);
}

void txn_trim(struct store_txn *t, uint32_t partition, uint64_t start)
{
    struct txn_op *op = op_new(t, TXN_TRIM);
    op->partition = partition;
    op->base = start;
}

void txn_drop_partition(struct store_txn *t, uint32_t partition)
{
    op_new(t, TXN_DROP)->partition = partition;
}

void txn_roll(struct store_txn *t)
{
    op_new(t, TXN_ROLL);
    t->has_roll = true;
}

void txn_at(struct store_txn *t, uint32_t partition, uint64_t next_offset)
{
    struct txn_op *op = op_new(t, TXN_AT);
    op->partition = partition;
    op->base = next_offset;
}

void txn_move(struct store_txn *t, uint32_t partition, const struct txn_move *m, uint64_t base,
              uint32_t count, struct bytes row)
{
    struct txn_op *op = op_new(t, TXN_MOVE);
    op->table = TABLE_HOLD;
    op->partition = partition;
    op->base = base;
    op->count = count;
    op->batch = row;
    op->batch_bytes = (uint32_t)row.n;
    op->move = *m;
    if (row.owner != NULL) {
        blob_ref(row.owner);
    }
    t->bytes += row.n + LOG_KEY_BYTES;
}

void txn_clear(struct store_txn *t, uint32_t bucket)
{
    op_new(t, TXN_CLEAR)->bucket = bucket;
}

void txn_forget(struct store_txn *t, uint32_t partition)
{
    struct meta_key k = meta_key_32(META_DROPPED, partition);
    struct txn_op *op = op_new(t, TXN_DELETE);
    op->table = TABLE_META;
    txn_set_key(t, op, key_slice(&k));
}

/* ---------------------------------------------------------------- entering the index */

static void enter_start(struct store_txn *t, struct txn_op *op, struct index *ix)
{
    struct index_part *p = index_part(ix, op->partition);
    bool at = op->kind == TXN_AT;
    if (at && (p == NULL || p->next == 0)) {
        op->saved = index_save(ix, op->partition);
        p = index_part_make(ix, op->partition);
        p->start = p->next = op->base;
    } else {
        if (!at && p != NULL && op->base > p->next) {
            op->base = p->next;
        }
        if (at || p == NULL || op->base <= p->start) {
            op->kind = TXN_SKIP;
            return;
        }
        op->saved = index_save(ix, op->partition);
        index_trim(ix, op->partition, op->base);
    }
    struct meta_key k = meta_key_32(META_START, op->partition);
    uint8_t value[8];
    put_be64(value, op->base);
    txn_set_key(t, op, key_slice(&k));
    txn_set_value(t, op, slice_of(value, sizeof(value)));
}

static void enter_roll(struct store_txn *t, struct txn_op *op, struct index *ix)
{
    struct buf row = {0};
    struct index_bucket *b = index_bucket(ix, ix->active);
    bucket_row_begin(&row, b->total);
    for (uint32_t p = 0; index_part_next(ix, &p); p++) {
        const struct index_part *part = index_part(ix, p);
        /* Ranges of the active bucket are at the end, but moved ones may lie anywhere. */
        for (uint32_t i = 0; i < part->n; i++) {
            if (part->ranges[i].bucket == ix->active) {
                bucket_row_add(&row, p, &part->ranges[i]);
            }
        }
    }
    struct meta_key k = meta_key_32(META_BUCKET, ix->active);
    txn_set_key(t, op, key_slice(&k));
    txn_set_value(t, op, buf_slice(&row));
    if (row.failed) {
        abort();
    }
    buf_fini(&row);
    index_roll(ix);
    op->bucket = ix->active;
}

static void enter_move(struct store_txn *t, struct txn_op *op, struct index *ix)
{
    struct index_range m = {.first = op->base,
                            .next = op->base + op->count,
                            .bytes = op->batch_bytes,
                            .min_ms = op->move.min_ms,
                            .max_ms = op->move.max_ms,
                            .bucket = ix->active,
                            .table = TABLE_HOLD};
    struct moved_row row = {.next = m.next};
    op->saved = index_save(ix, op->partition);
    if (!index_move(ix, op->partition, op->move.from_bucket, (enum store_table)op->move.from_table,
                    &m, &row.bytes_left)) {
        op->kind = TXN_SKIP; /* trimmed or dropped in the meantime */
        return;
    }
    op->bucket = ix->active;
    struct meta_key k = meta_key_32_32(META_RANGE, op->move.from_bucket, op->partition);
    uint8_t value[MOVED_BYTES];
    moved_row_encode(value, &row);
    txn_set_key(t, op, key_slice(&k));
    txn_set_value(t, op, slice_of(value, sizeof(value)));
}

static void enter_op(struct store_txn *t, struct txn_op *op, struct index *ix)
{
    switch ((enum txn_kind)op->kind) {
    case TXN_APPEND:
        op->bucket = ix->active;
        index_append(ix, op->partition, (enum store_table)op->table, op->base, op->count,
                     op->batch_bytes, op->append_ms, &op->undo);
        break;
    case TXN_TRIM:
    case TXN_AT:
        enter_start(t, op, ix);
        break;
    case TXN_DROP:
        op->saved = index_save(ix, op->partition);
        op->bucket = ix->active;
        op->count = index_part(ix, op->partition) != NULL && index_part(ix, op->partition)->gaps;
        index_drop(ix, op->partition);
        break;
    case TXN_ROLL:
        enter_roll(t, op, ix);
        break;
    case TXN_MOVE:
        enter_move(t, op, ix);
        break;
    case TXN_CLEAR:
        index_bucket(ix, op->bucket)->state = BUCKET_DROPPING;
        break;
    case TXN_PUT:
    case TXN_DELETE:
    case TXN_DELETE_RANGE:
    case TXN_SKIP:
        break;
    }
}

void txn_enter(struct store_txn *t, struct index *ix)
{
    for (uint32_t i = 0; i < t->n_ops; i++) {
        enter_op(t, &t->ops[i], ix);
    }
}

static void undo_op(struct txn_op *op, struct index *ix)
{
    switch ((enum txn_kind)op->kind) {
    case TXN_APPEND:
        index_undo_append(ix, op->partition, op->base, op->batch_bytes, &op->undo);
        break;
    case TXN_MOVE:
        index_bucket(ix, op->bucket)->total -= op->batch_bytes;
        index_restore(ix, op->saved);
        op->saved = NULL;
        break;
    case TXN_TRIM:
    case TXN_AT:
    case TXN_DROP:
        index_restore(ix, op->saved);
        op->saved = NULL;
        break;
    case TXN_ROLL:
        index_undo_roll(ix);
        break;
    case TXN_CLEAR:
        index_bucket(ix, op->bucket)->state = BUCKET_SEALED;
        break;
    case TXN_PUT:
    case TXN_DELETE:
    case TXN_DELETE_RANGE:
    case TXN_SKIP:
        break;
    }
}

void txn_undo(struct store_txn *t, struct index *ix)
{
    for (uint32_t i = t->n_ops; i > 0; i--) {
        undo_op(&t->ops[i - 1], ix);
    }
}
