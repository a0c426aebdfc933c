#ifndef WEIR_STORAGE_STORE_PRIV_H
#define WEIR_STORAGE_STORE_PRIV_H
/* The whole store. Everything here belongs to the owner thread but for what has its own lock. */
#include <stdatomic.h>

#include "storage/commit.h"
#include "storage/gc.h"
#include "storage/upkeep.h"

struct store {
    struct kv *kv;
    struct clog *log;
    enum front_mode mode;
    struct store_conf conf;
    uint8_t uuid[16];
    uint64_t epoch;

    struct index ix;
    struct commit commit;
    struct upkeep upkeep;
    struct workers readers, helper;
    struct job_list finished;
    struct read_list reads;
    struct gc gc;

    uint64_t next_seq; /* of txns */
    uint64_t pending;  /* submitted, not completed */
    uint64_t queued_bytes;
    uint64_t row_bytes; /* about what rows take in memory that were submitted since the last roll */
    bool hard_full;     /* a record met a full disk; a probe has to go through first */
    bool closing;
    struct werror reason;
    _Atomic bool awake; /* conf.wakeup was called, store_poll has not run since */
};

/* A key's clock: conf.mono_ns or the store's own. */
int64_t store_now_ns(struct store *st);

#endif
