#ifndef WEIR_STORAGE_CLOG_H
#define WEIR_STORAGE_CLOG_H
/*
 * The commit log: the one ordered stream of records that makes a shard's state. On one machine the
 * driver is RocksDB's own WAL (FUSED: append also applies) or memory with faults; in a cluster a
 * shared log takes its place and nothing above this interface changes.
 *
 * Rules that every driver keeps: records become durable in append order; after the first error
 * every later append fails; a failed append may or may not be in the log (WERR_INDETERMINATE).
 */
#include "proto/buf.h"
#include "proto/error.h"

struct clog_pos {
    uint64_t epoch;
    uint64_t lsn; /* +1 per record, never reused inside a shard */
};

enum clog_kind {
    CLOG_BATCH = 1, /* a rep (storage/rep.h) */
    CLOG_SST,       /* reserved: commit as an ingested table file */
    CLOG_SEAL,      /* reserved: end of an owner's epoch */
    CLOG_CKPT,      /* reserved: checkpoint taken here */
    CLOG_NOOP,
};

enum clog_caps {
    CLOG_FUSED = 1,  /* append also applies (RocksDB's WAL) */
    CLOG_SHARED = 2, /* any broker may read it (reserved) */
    CLOG_ELECTS = 4, /* the engine picks the owner (reserved) */
};

/* Called by the driver, from any of its threads, in append order, one at a time; both may be called
 * inside append(). */
struct clog_cb {
    /* The record is in the operating system (survives kill -9). Before appended(), or not at all.
     */
    void (*written)(void *arg, uint64_t tag);
    /* The record is durable, or failed: WERR_OK, WERR_STORAGE_FULL (not in the log),
     * WERR_INDETERMINATE. */
    void (*appended)(void *arg, uint64_t tag, enum werr rc, struct clog_pos pos);
};

/* A record as replay hands it out. Bytes are borrowed for the call. Return non-OK to stop. */
typedef enum werr (*clog_record_fn)(void *arg, struct clog_pos pos, enum clog_kind kind,
                                    struct slice rec);

struct clog;
struct clog_ops {
    const char *name;
    uint32_t caps;
    uint32_t best_group_bytes; /* the committer gathers up to this while the log is busy */
    uint32_t max_record_bytes; /* 4 MiB soft: the committer splits groups, never a txn */
    /*
     * Called by the committer thread only. Takes over nothing: `rec` is borrowed until the call
     * returns. lazy = nobody waits for durability: the driver may delay the sync up to 100 ms.
     * more = the committer has more work queued (the driver chooses its pipeline by it).
     * WERR_OK: taken, its outcome comes by appended(). Anything else: failed at once, no callback
     * for this tag; the codes are those of appended(), WERR_IO counts as WERR_INDETERMINATE.
     * After WERR_STORAGE_FULL the committer tries again later, with the same position.
     */
    enum werr (*append)(struct clog *l, uint64_t tag, enum clog_kind kind, struct clog_pos pos,
                        struct slice rec, bool lazy, bool more);
    /* True when a further append would only queue behind a sync: keep gathering. Any thread. */
    bool (*busy)(struct clog *l);
    /* Blocks until busy() turns false or the log is closed/failed. Committer thread. */
    void (*wait_idle)(struct clog *l);
    /* Hands out committed records with lsn >= from.lsn in order, up to the durable end. Any thread.
     */
    enum werr (*replay)(struct clog *l, struct clog_pos from, clog_record_fn fn, void *arg,
                        struct werror *e);
    /* Syncs everything, stops threads. No callback after it returns. Frees l. */
    void (*close)(struct clog *l);
    /*
     * Only in drivers without threads (FRONT_STEPPED): syncs everything appended; callbacks run
     * inside. NULL in drivers with threads.
     */
    void (*step_sync)(struct clog *l);
    /* Adds to *e why appends fail from now on (the first error, in the words of who reported it),
     * and to its code when it is damage. Any thread. NULL = there is nothing to add. */
    void (*why)(struct clog *l, struct werror *e);
};

struct clog {
    const struct clog_ops *ops;
    struct clog_cb cb; /* set by the committer before the first append */
    void *cb_arg;
};

#endif
