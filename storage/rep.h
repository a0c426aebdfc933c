#ifndef WEIR_STORAGE_REP_H
#define WEIR_STORAGE_REP_H
/*
 * The representation of one commit record: an ordered list of blind puts, deletes and range deletes
 * on numbered tables. The bytes are those of a RocksDB WriteBatch (db/write_batch.cc: u64 sequence,
 * u32 count, both little-endian, then tag, varint table, varint-prefixed slices), so that applying
 * a record to RocksDB is one call and a follower on any engine can replay it.
 */
#include "proto/buf.h"
#include "proto/error.h"
#include "storage/keys.h"

enum { REP_HEAD = 12 };

void rep_begin(struct buf *b); /* clears, writes an empty head */
void rep_put(struct buf *b, enum store_table t, struct slice key, struct slice value);
/* A put whose value comes in pieces: announces n value bytes, then rep_raw() supplies exactly n. */
void rep_put_begin(struct buf *b, enum store_table t, struct slice key, size_t value_bytes);
void rep_raw(struct buf *b, struct slice piece);
void rep_delete(struct buf *b, enum store_table t, struct slice key);
void rep_delete_range(struct buf *b, enum store_table t, struct slice lo, struct slice hi);
uint32_t rep_count(const struct buf *b);

enum rep_kind { REP_PUT, REP_DELETE, REP_DELETE_RANGE };
struct rep_op {
    enum rep_kind kind;
    enum store_table table;
    struct slice key;   /* range: lo */
    struct slice value; /* range: hi, exclusive */
};
struct rep_iter {
    const uint8_t *p, *end;
    uint32_t left;
};
/* Walks a record that came from a log. WERR_CORRUPT names the position. rep_next: WERR_NOT_FOUND at
 * the end. */
enum werr rep_open(struct rep_iter *it, struct slice rep, struct werror *e) WEIR_NODISCARD;
enum werr rep_next(struct rep_iter *it, struct rep_op *op, struct werror *e) WEIR_NODISCARD;

#endif
