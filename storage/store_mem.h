#ifndef WEIR_STORAGE_STORE_MEM_H
#define WEIR_STORAGE_STORE_MEM_H
/* A store in memory with explicit sync, for simulation, tests and `weir-server --dev`. */
#include "storage/store.h"

/* The "disk": outlives stores opened on it. Not thread-safe beside an open store. */
struct memdisk;
struct memdisk *memdisk_new(void);
void memdisk_free(struct memdisk *d);
/*
 * Power cut: forgets every log record that was not synced, except the first `keep` unsynced ones
 * (a prefix may survive). Close or abandon the store first (store_abandon).
 */
void memdisk_crash(struct memdisk *d, unsigned keep);

/*
 * Forgets the tables: the next open builds them from the log alone (nothing happens when
 * memdisk_log_limit has cut the log).
 */
void memdisk_forget_tables(struct memdisk *d);
/* Forgets applied log records while more than `bytes` of them are kept; 0 = keep all (default).
 * For --dev: store_replay then begins later, and recovery rests on the tables. */
void memdisk_log_limit(struct memdisk *d, uint64_t bytes);
/* Follower: applies one record of store_replay. In order; records known already may come again. */
enum werr memdisk_apply(struct memdisk *d, uint64_t lsn, struct slice rec,
                        struct werror *e) WEIR_NODISCARD;

enum store_mem_mode {
    STORE_MEM_THREADED, /* commit thread as in production, for TSan and --dev */
    STORE_MEM_STEPPED,  /* nothing happens until store_step(): one thread, deterministic */
};
enum werr store_open_mem(struct store **out, struct memdisk *d, enum store_mem_mode mode,
                         const struct store_conf *conf, struct werror *e) WEIR_NODISCARD;
/* Stepped mode: gathers all submitted txns into one group, writes (STORE_WRITTEN) ... */
void store_step_write(struct store *st);
/* ... and syncs and applies everything written (STORE_DONE). Reads and finds queued are served too.
 */
void store_step_sync(struct store *st);
/* Both, then store_poll. */
void store_step(struct store *st);
/* Drops the store without closing it: what a kill -9 leaves. Completions are not delivered. */
void store_abandon(struct store *st);

/*
 * Faults: the k-th call (1 = next) of a kind from now on fails, once or for ever. With `torn` a
 * failed append is present after a restart all the same (a write that failed is unknown, not
 * absent).
 */
enum fault_kind { FAULT_APPEND, FAULT_SYNC, FAULT_READ, FAULT_APPLY, FAULT_KINDS };
struct store_fault {
    enum fault_kind kind;
    unsigned k;
    enum werr rc; /* WERR_IO or WERR_STORAGE_FULL */
    bool sticky, torn;
};
void store_mem_fault(struct store *st, const struct store_fault *f); /* k = 0: no fault */
/* Faults that have fired on this disk. */
unsigned store_mem_faults_fired(struct store *st);

#endif
