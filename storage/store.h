#ifndef WEIR_STORAGE_STORE_H
#define WEIR_STORAGE_STORE_H
/*
 * THE storage contract. A store keeps partitioned logs of record batches and small rows of
 * metadata. Every change is a txn: an ordered group of operations with one completion, durable all
 * or nothing.
 *
 * Threads: one owner thread (the broker's loop, or a test) calls everything here unless a function
 * says otherwise. Completions are delivered by store_poll() on the owner thread, in submit order,
 * exactly once, never inside submit. Other threads inside the store only call conf.wakeup.
 *
 * Two implementations, one front: store_open_rocks (storage/store_rocks.h) and store_open_mem
 * (storage/store_mem.h: explicit sync, can drop what was not synced, can be stepped by a test).
 *
 * Words: bucket = a stretch of the log over all partitions, about conf.bucket_bytes, that shares
 * files and is dropped as a whole; range = the part of one partition that lies in one bucket.
 */
#include <stdbool.h>
#include <stdint.h>

#include "proto/batch.h"
#include "proto/buf.h"
#include "proto/error.h"
#include "storage/keys.h"

struct store;
struct store_txn;

/* ---------------------------------------------------------------- txn: build and submit */

enum store_stage {
    STORE_WRITTEN, /* in the operating system: survives kill -9, not power loss. Only if asked for
                    */
    STORE_DONE,    /* durable, or failed */
};
/*
 * rc: WERR_OK, WERR_STORAGE_FULL (did not happen; may work later), WERR_INDETERMINATE (unknown; the
 * store has stopped for good: answer and exit). *e names the cause, borrowed for the call.
 */
typedef void (*store_txn_fn)(void *arg, enum store_stage stage, enum werr rc,
                             const struct werror *e);

struct store_txn *store_txn_new(struct store *st); /* never NULL: aborts on no memory (small) */
void store_txn_free(struct store_txn *t);          /* only for one that was not submitted */

/*
 * Appends one stamped batch (proto/batch.h) to a partition of a log table. base_offset must be the
 * partition's store_next_offset() as of all earlier appends, submitted or in this txn.
 * Takes a reference to batch.owner.
 */
void txn_append(struct store_txn *t, enum store_table table, uint32_t partition,
                const struct batch_head *h, struct bytes batch);
void txn_put(struct store_txn *t, enum store_table table, struct slice key, struct slice value);
void txn_delete(struct store_txn *t, enum store_table table, struct slice key);
void txn_delete_range(struct store_txn *t, enum store_table table, struct slice lo,
                      struct slice hi);
/* Moves a partition's log start up to `start` (never down). Rows below become dead. */
void txn_trim(struct store_txn *t, uint32_t partition, uint64_t start);
/* Drops a partition with all its rows. Its number is never used again. */
void txn_drop_partition(struct store_txn *t, uint32_t partition);
/*
 * Ends the active bucket: everything appended before lies in it, everything after in the next. The
 * caller adds what must survive the bucket (dedupe windows) to the same txn. Submit one when
 * store_roll_due() says so.
 */
void txn_roll(struct store_txn *t);

enum store_sync {
    STORE_SYNC, /* durable as soon as possible */
    STORE_LAZY, /* nobody waits: durable within 100 ms */
};
/* Takes t. fn may be NULL. want_written: also call fn with STORE_WRITTEN. */
void store_submit(struct store *st, struct store_txn *t, enum store_sync sync, bool want_written,
                  store_txn_fn fn, void *arg);

/* Runs completions that are ready. Returns how many. */
unsigned store_poll(struct store *st);

/* ---------------------------------------------------------------- reading */

/*
 * One asynchronous read of stored batches. The caller fills the first part, keeps the struct alive
 * until fn runs (on the owner thread, exactly once), and owns `data` afterwards (blob_unref).
 */
struct store_read {
    uint32_t partition;
    uint64_t offset; /* wanted: the first batch returned is the one that contains it */
    uint64_t end;    /* exclusive, the caller's high watermark: nothing at or above is returned */
    uint32_t max_bytes; /* whole batches; at least one even if it is larger */
    void (*fn)(struct store_read *r);
    void *arg;

    struct blob *data; /* batches back to back; NULL on error or when nothing is there */
    enum werr rc;      /* WERR_OK, WERR_OFFSET_OUT_OF_RANGE, WERR_CORRUPT, WERR_IO, WERR_CLOSED */
    struct werror err;
    struct store_read *next; /* the store's */
};
void store_read(struct store *st, struct store_read *r);

/* First offset in [log start, end) whose batch has append time >= ts_ms; asynchronous like
 * store_read. */
struct store_find {
    uint32_t partition;
    int64_t ts_ms;
    uint64_t end;
    void (*fn)(struct store_find *f);
    void *arg;

    uint64_t offset;  /* end when every batch is older */
    int64_t found_ms; /* its append time, 0 at the end */
    enum werr rc;
    struct werror err;
    struct store_find *next;
};
void store_find(struct store *st, struct store_find *f);

/*
 * Rows of META or DELAY with lo <= key < hi, asynchronous like store_read (hi.n = 0: to the end of
 * the table). Sees every txn whose STORE_DONE was delivered before the call, and maybe later ones.
 * The caller fills the first part, keeps lo and hi alive until fn ran, and owns `data` afterwards.
 */
struct store_rows {
    enum store_table table;
    struct slice lo, hi;
    uint32_t max_rows, max_bytes; /* 0 = no limit; the first row comes even if it is larger */
    void (*fn)(struct store_rows *r);
    void *arg;

    struct blob *data; /* rows back to back: key length u32, value length u32, key, value; NULL when
                          there are none */
    uint32_t n;        /* rows in it */
    bool more;         /* a limit was met: there were rows behind the last one */
    enum werr rc;      /* WERR_OK, WERR_CORRUPT, WERR_IO, WERR_NOMEM, WERR_CLOSED: then no data */
    struct werror err;
    struct store_rows *next; /* the store's */
};
void store_rows(struct store *st, struct store_rows *r);
/* Next row of `data`: start with *at = 0; false at the end. Views into data. */
bool store_rows_next(const struct store_rows *r, size_t *at, struct slice *key,
                     struct slice *value);

/* Metadata, synchronous: for start-up and tests. Sees what is applied. */
enum werr store_get(struct store *st, enum store_table t, struct slice key, struct buf *out,
                    struct werror *e) WEIR_NODISCARD;
typedef enum werr (*store_row_fn)(void *arg, struct slice key, struct slice value);
enum werr store_scan(struct store *st, enum store_table t, struct slice lo, struct slice hi,
                     store_row_fn fn, void *arg, struct werror *e) WEIR_NODISCARD;
/* Every batch header of the active bucket, per partition in offset order: to rebuild dedupe
 * windows. */
typedef enum werr (*store_tail_fn)(void *arg, uint32_t partition, const struct batch_head *h);
enum werr store_tail(struct store *st, store_tail_fn fn, void *arg,
                     struct werror *e) WEIR_NODISCARD;

/* ---------------------------------------------------------------- index: what is where */

struct store_range {
    uint32_t bucket;
    enum store_table table;
    uint64_t first, next; /* offsets [first, next) */
    uint64_t bytes;
    int64_t min_append_ms, max_append_ms;
    bool sealed; /* its bucket has ended */
};
/* Unknown partition: 0, 0, false. Submitted appends and trims count at once. */
uint64_t store_log_start(struct store *st, uint32_t partition);
uint64_t store_next_offset(struct store *st, uint32_t partition);
int64_t store_last_append_ms(struct store *st, uint32_t partition); /* 0 = nothing there */
uint64_t store_partition_bytes(struct store *st, uint32_t partition);
/* i-th range from the log start; false past the last. */
bool store_range_at(struct store *st, uint32_t partition, size_t i, struct store_range *r);
/*
 * Starts an empty partition at an offset (after accepted data loss: offsets are never reused). Only
 * before its first append.
 */
void store_partition_at(struct store *st, uint32_t partition, uint64_t next_offset);

/* ---------------------------------------------------------------- upkeep and state */

/* The active bucket is full (with the rows of META and DELAY beside it) or mostly dead: submit a
 * roll. */
bool store_roll_due(struct store *st, int64_t now_mono_ns);
/*
 * Frees space: reclaims buckets without live rows; a sealed bucket that is more than 70 % dead has
 * its survivors copied to TABLE_HOLD first. Starts work on helper threads and returns; call it
 * after trims and about once a second.
 */
void store_gc(struct store *st, int64_t now_mono_ns);
/* True while store_gc's work is under way: moves, drops, frees. */
bool store_gc_busy(struct store *st);
/* Makes a backup (backup.h) of the store at dir, which must not exist (WERR_EXISTS), while it goes
 * on; wall_ms, the time now, goes into its list. fn on the owner thread, unless the store is closed
 * before. WERR_IO, WERR_STORAGE_FULL: nothing is left of it. */
void store_checkpoint(struct store *st, const char *dir, int64_t wall_ms,
                      void (*fn)(void *arg, enum werr rc, const struct werror *e), void *arg);

enum store_state {
    STORE_READY,
    STORE_FULL, /* free space below the soft limit, or ENOSPC met: refuse produce, go on reading */
    STORE_FAILED, /* latched: nothing will be committed any more, restart the process */
};
enum store_state store_state(struct store *st);
const struct werror *store_state_reason(struct store *st); /* text for FULL and FAILED */

/* store_conf.min_free_bytes while running: in force within a second. */
void store_set_min_free(struct store *st, uint64_t min_free_bytes);

struct store_stats {
    uint64_t disk_bytes, free_bytes, log_bytes;  /* at most 1 s old */
    uint64_t live_bytes;                         /* stored batch bytes that are not dead */
    uint64_t groups, records_bytes, txns, syncs; /* commit groups, their bytes, since open */
    uint64_t sync_ns_total, sync_ns_max;
    uint64_t reads, read_bytes;
    uint64_t moved_bytes, reclaimed_bytes; /* by store_gc */
    uint32_t buckets;
    uint64_t epoch, lsn;
    uint64_t queued_bytes; /* submitted, not yet durable */
};
void store_stats(struct store *st, struct store_stats *s);
uint64_t store_epoch(struct store *st);      /* shard epoch: raised at every open */
const uint8_t *store_uuid(struct store *st); /* 16 bytes */

/*
 * A hash over every live row of every table, in key order: equal for a store and for any store that
 * replayed the same log. Blocks; quiesce first. Rows that no index entry refers to do not count.
 */
enum werr store_hash(struct store *st, uint64_t *hash, struct werror *e) WEIR_NODISCARD;
/* The committed records from lsn on (see clog.h), for followers and tests. */
enum werr store_replay(struct store *st, uint64_t from_lsn,
                       enum werr (*fn)(void *arg, uint64_t lsn, struct slice rec), void *arg,
                       struct werror *e) WEIR_NODISCARD;

/* Commits what was submitted, syncs, writes a clean floor, frees everything. Blocks. Completions
 * still due are delivered first. */
void store_close(struct store *st);

/* ---------------------------------------------------------------- opening */

struct store_conf {
    uint64_t memory_bytes; /* all memory of the store; 0 = 256 MiB. Bucket size derives from it */
    /* 0 = memory_bytes / 4. What is submitted and not yet durable must stay below twice this and
     * one batch: a bucket that cannot end before holds so much more, and RocksDB must not end it.
     */
    uint64_t bucket_bytes;
    uint64_t min_free_bytes; /* soft limit; 0 = max(5 % of the file system, 2 GiB) */
    unsigned readers;        /* reader threads; 0 = 2 */
    /* Clock for pacing and statistics, called with wakeup_arg on any thread; NULL =
     * CLOCK_MONOTONIC. */
    int64_t (*mono_ns)(void *arg);
    void (*wakeup)(void *arg); /* any thread; NULL = none (the owner polls) */
    void *wakeup_arg;
    bool accept_data_loss; /* go on after losing acknowledged data: the only way past a refusal */
    void (*log)(void *arg, const char *event,
                const char *text); /* progress of long recovery; NULL = none */
    void *log_arg;
};

#endif
