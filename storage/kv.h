#ifndef WEIR_STORAGE_KV_H
#define WEIR_STORAGE_KV_H
/*
 * The tables that a commit log is applied to: RocksDB, or memory. Everything here is physical; what
 * rows mean is the store's business. get/scan may run on any thread, apply on the committer only.
 */
#include "proto/buf.h"
#include "proto/error.h"
#include "storage/keys.h"

struct kv_floor;
struct kv_iter; /* an ordered cursor; owned by the caller, closed by iter_close */

struct kv_stats {
    uint64_t disk_bytes; /* files of the store */
    uint64_t free_bytes; /* of the file system */
    uint64_t total_bytes;
    uint64_t log_bytes; /* commit log not yet flushed */
    uint64_t memory_bytes;
};

struct kv;
struct kv_ops {
    const char *name;
    /* Applies one record. Only when the log is not FUSED. */
    enum werr (*apply)(struct kv *k, struct slice rep, struct werror *e);
    /* Point read, appended to *out. WERR_NOT_FOUND. */
    enum werr (*get)(struct kv *k, enum store_table t, struct slice key, struct buf *out,
                     struct werror *e);
    /*
     * Cursor over [lo, hi) of a table; hi.n == 0: to the end. bulk = long sequential read.
     * After open it stands before the first row; next() moves: true = on a row (key and value are
     * valid until the next call), false = end or error, and iter_error tells which: a corrupt block
     * must never look like the end.
     */
    enum werr (*iter_open)(struct kv *k, enum store_table t, struct slice lo, struct slice hi,
                           bool bulk, struct kv_iter **out, struct werror *e);
    bool (*iter_next)(struct kv_iter *it, struct slice *key, struct slice *value);
    /* Moves to the last row with key <= target inside [lo, hi). false: none, or error. */
    bool (*iter_seek_floor)(struct kv_iter *it, struct slice target, struct slice *key,
                            struct slice *value);
    enum werr (*iter_error)(struct kv_iter *it, struct werror *e);
    void (*iter_close)(struct kv_iter *it);
    /* The active bucket ended: start writing its rows out (does not wait). Committer thread. */
    enum werr (*bucket_end)(struct kv *k, struct werror *e);
    /* Frees the space of rows [lo, hi) of a log table that no index row refers to any more. May
     * block for long; helper thread. Rows of it that still lie in memory or shared files may stay.
     */
    enum werr (*reclaim)(struct kv *k, enum store_table t, struct slice lo, struct slice hi,
                         struct werror *e);
    /* A backup (backup.h) at dir, which must not exist; wall_ms goes into its list. Helper thread.
     */
    enum werr (*checkpoint)(struct kv *k, const char *dir, int64_t wall_ms, struct werror *e);
    void (*stats)(struct kv *k, struct kv_stats *s); /* may touch the disk; helper thread */
    /* The durable floor: remember that everything up to here is on disk. Helper thread; NULL =
     * none. */
    enum werr (*floor_write)(struct kv *k, const struct kv_floor *f, struct werror *e);
    void (*close)(struct kv *k);
};

struct kv {
    const struct kv_ops *ops;
};

#endif
