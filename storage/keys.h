#ifndef WEIR_STORAGE_KEYS_H
#define WEIR_STORAGE_KEYS_H
/*
 * Order-preserving key bytes (all big-endian) and the registry of every row kind in the store.
 * docs/STORAGE_FORMAT.md is the normative text.
 */
#include <stdbool.h>
#include <stdint.h>

#include "proto/buf.h"

/* Tables = column families, created in this order, ids verified at every open. */
enum store_table {
    TABLE_META = 0, /* RocksDB's default family */
    TABLE_LOG_1D,
    TABLE_LOG_7D,
    TABLE_LOG_30D,
    TABLE_LOG_FOREVER,
    TABLE_DELAY,
    TABLE_HOLD,
    TABLE_COUNT,
};

/* Log tables (LOG_*, HOLD): bucket u32 | partition u32 | base_offset u64 -> batches back to back.
 */
enum { LOG_KEY_BYTES = 16 };
void log_key(uint8_t out[LOG_KEY_BYTES], uint32_t bucket, uint32_t partition, uint64_t base_offset);
void log_key_parse(const uint8_t *key, uint32_t *bucket, uint32_t *partition,
                   uint64_t *base_offset);

/* Rows of TABLE_META by first byte. Rows in the first group are the store's own. */
enum meta_tag {
    META_APPLIED =
        'a', /* "a"                -> struct applied: position and running sum of the log */
    META_BUCKET = 'b',   /* b bucket u32       -> sealed bucket: ranges per partition */
    META_IDENTITY = 'i', /* "i"                -> format version, store uuid, shard, table ids */
    META_START = 'l',    /* l partition u32    -> log start offset (after a trim) */
    META_DROPPED = 'x',  /* x partition u32    -> partition dropped, its ranges are dead */
    META_RANGE = 'r',    /* r bucket | partition -> how far a bucket's survivors went to HOLD */
    META_GAP = 'h',      /* h partition u32 | first u64 -> next: a hole accepted after data loss */
    /* rows of the broker core */
    META_TOPIC = 't',    /* t tid u64          -> topic record */
    META_COUNTERS = 'c', /* "c"                -> next tid, next partition, next producer id */
    META_WINDOW = 'w',   /* w partition u32 | pid u64 -> dedupe window snapshot */
    META_PRODUCER = 'n', /* n name             -> named producer: pid, epoch */
    META_GROUP = 'g',   /* g gid u64          -> consumer group: name, mode, settings, generation */
    META_GPART = 'p',   /* p partition u32 | gid u64 -> position, owner, assignment epoch */
    META_ACKED = 'k',   /* k partition u32 | gid u64 | chunk u64 -> settled out of order */
    META_LEASE = 'L',   /* L partition u32 | gid u64 | lease u64 -> range, member, deadline */
    META_RETRY = 'R',   /* R partition u32 | gid u64 | offset u64 -> deliveries, due, reason */
    META_DELAYED = 'd', /* "d"                -> next sequence and count of delayed messages */
};

/* True for the tables that hold batches (LOG_*, HOLD). */
static inline bool table_is_log(enum store_table t)
{
    return (t >= TABLE_LOG_1D && t <= TABLE_LOG_FOREVER) || t == TABLE_HOLD;
}

/* True for the tags of the first group: rows that only the store itself writes. */
bool meta_tag_is_own(uint8_t tag);

/* A small key, built in place. */
struct meta_key {
    uint8_t p[21];
    uint8_t n;
};
struct meta_key meta_key(enum meta_tag tag);
struct meta_key meta_key_32(enum meta_tag tag, uint32_t a);
struct meta_key meta_key_32_32(enum meta_tag tag, uint32_t a, uint32_t b);
struct meta_key meta_key_32_64(enum meta_tag tag, uint32_t a, uint64_t b);
struct meta_key meta_key_64(enum meta_tag tag, uint64_t a);
struct meta_key meta_key_32_64_64(enum meta_tag tag, uint32_t a, uint64_t b, uint64_t c);
/*
 * Rows of TABLE_DELAY: due ms u64 | partition u32 | sequence u64 -> a delayed batch; in the order
 * in which they are delivered.
 */
enum { DELAY_KEY_BYTES = 20 };
struct meta_key delay_key(uint64_t due_ms, uint32_t partition, uint64_t sequence);
/* False when it has not the length of such a key. */
bool delay_key_parse(struct slice key, uint64_t *due_ms, uint32_t *partition, uint64_t *sequence);
/* The log key of (bucket, partition, base_offset) in the same clothes. */
struct meta_key log_meta_key(uint32_t bucket, uint32_t partition, uint64_t base_offset);
/* Exclusive end of all rows of one bucket / of all keys that begin with k. */
struct meta_key log_bucket_end(uint32_t bucket);
struct meta_key meta_key_after(const struct meta_key *k);

/* Borrows k. */
static inline struct slice key_slice(const struct meta_key *k)
{
    return (struct slice){k->p, k->n};
}

#endif
