#ifndef WEIR_TESTS_LIB_STORE_CONTRACT_H
#define WEIR_TESTS_LIB_STORE_CONTRACT_H
/*
 * What every store has to do, whatever is behind it: the same cases run on the store in memory and
 * on RocksDB.
 */
#include "tests/lib/store_world.h"

struct contract {
    const char *name;
    /* A new, empty disk (gives), and its end. */
    void *(*disk_new)(void);
    void (*disk_free)(void *disk);
    struct store *(*open)(void *disk, const struct store_conf *conf);
    bool stepped;
    void (*step)(struct store *st);
    /* Ends a store as kill -9 does. NULL = cannot. */
    void (*kill)(struct store *st);
    bool replays;     /* store_replay reaches back to the first record */
    bool checkpoints; /* store_checkpoint works */
};

/* Runs all cases as one cmocka group. Returns the number of failures. */
int contract_run(const struct contract *c);

#endif
