#ifndef WEIR_TESTS_LIB_STORE_WORLD_H
#define WEIR_TESTS_LIB_STORE_WORLD_H
/*
 * A random user of a store together with a model of what the store must hold. Every txn also writes
 * its number into one row, so that after any crash the store itself tells how far it got, and the
 * model is built for exactly that prefix and compared byte by byte.
 */
#include "storage/store.h"

/* How to open a store on one "disk"; the disk outlives the stores. */
struct world_env {
    void *disk;
    /* Opens; fails the test when it cannot. conf has wakeup set already. */
    struct store *(*open)(void *disk, const struct store_conf *conf);
    bool stepped;
    /* Steps a stepped store (write, sync, poll); NULL with threads. */
    void (*step)(struct store *st);
};

enum { WORLD_PARTITIONS = 24, WORLD_KEYS = 40 };
enum world_kind { W_APPEND, W_TRIM, W_DROP, W_PUT, W_DELETE, W_DELETE_RANGE, W_ROLL };
struct world_op {
    uint64_t seq;
    enum world_kind kind;
    enum store_table table;
    uint32_t partition;
    uint64_t base; /* append, trim */
    uint32_t count, bytes;
    int64_t ms;
    unsigned key, key_end; /* meta: number of the key */
};
struct world_part {
    uint64_t start, next;
    bool dropped;
};
struct world {
    const struct world_env *env;
    struct store_conf conf;
    struct store *st;
    uint64_t random;
    struct world_op *ops;
    size_t n_ops, cap_ops;
    struct world_part parts[WORLD_PARTITIONS]; /* as submitted */
    uint32_t base_partition;                   /* number of parts[0]; moves on with drops */
    uint64_t seq, done_seq;                    /* submitted, last durable */
    uint64_t first_failed;                     /* 0 = none failed */
    enum werr fail_rc;
    unsigned in_submit, completions, written;
    int64_t now_ms;
    unsigned roll_percent, max_batch_bytes;
    struct pump *pump;
    struct pending *pendings;
};

void world_init(struct world *w, const struct world_env *env, uint64_t seed);
void world_fini(struct world *w); /* closes the store if it is open */
void world_open(struct world *w);
void world_close(struct world *w);
uint64_t world_random(struct world *w, uint64_t below);
/* Submits one random txn. */
void world_act(struct world *w);
void world_roll(struct world *w);
void world_trim(struct world *w, unsigned part, uint64_t start);
void world_append(struct world *w, unsigned part, enum store_table table, uint32_t bytes);
/* Polls (and steps) until everything submitted was answered. */
void world_settle(struct world *w);
/* Waits until *flag becomes true. */
void world_wait(struct world *w, const bool *flag);
/* Lets store_gc run until it has nothing more to do. */
void world_gc(struct world *w);
/* Forgets ops from first_failed on (they did not happen) and goes on from there. */
void world_forget_failed(struct world *w);
/* The number of the last txn that the (just opened) store knows. */
uint64_t world_stored_seq(struct world *w);
/* Compares the store with the model after txn `seq`; fails the test where they differ. */
void world_check(struct world *w, uint64_t seq);
/* Forgets ops after seq: they were lost in a crash. */
void world_cut(struct world *w, uint64_t seq);

/* Synchronous helpers on any store, through w's pump. */
enum werr world_read(struct world *w, uint32_t partition, uint64_t offset, uint64_t end,
                     uint32_t max_bytes, struct blob **data, struct werror *e);

/* A whole batch of `bytes` whose content follows from (partition, base). Gives. */
struct blob *world_batch(uint32_t partition, uint64_t base, uint32_t count, uint32_t bytes,
                         int64_t ms, struct batch_head *h);
/* Appends it in a txn. */
void world_txn_append(struct store_txn *t, enum store_table table, uint32_t partition,
                      uint64_t base, uint32_t count, uint32_t bytes, int64_t ms);

#endif
