#ifndef WEIR_STORAGE_ROCKS_H
#define WEIR_STORAGE_ROCKS_H
/* What the RocksDB files share: one open database, used by a kv and a clog side by side. */
#include <rocksdb/c.h>

#include "storage/clog.h"
#include "storage/floor.h"
#include "storage/kv.h"
#include "storage/store.h"

enum rocks_wal_mode {
    ROCKS_TAIL = 0,  /* kTolerateCorruptedTailRecords: the normal way */
    ROCKS_POINT = 2, /* kPointInTimeRecovery: only when the floor proves that nothing is missing */
};

struct rocks {
    rocksdb_t *db;
    rocksdb_column_family_handle_t *cf[TABLE_COUNT];
    rocksdb_options_t *options, *cf_options[TABLE_COUNT];
    rocksdb_cache_t *cache;
    rocksdb_flushoptions_t *flush_options;
    rocksdb_readoptions_t *point_reads; /* any thread */
    bool read_only;
    int lock_fd; /* -1 = none; held until the database is closed */
    char dir[4000];
};

/*
 * Opens (and, unless read_only, creates) the database in dir with the options of
 * docs/decisions/0100. Verifies the numbers of the column families. read_only changes nothing on
 * disk. WERR_CORRUPT, WERR_IO, WERR_STORAGE_FULL.
 */
enum werr rocks_open(struct rocks **out, const char *dir, const struct store_conf *conf,
                     enum rocks_wal_mode wal_mode, bool read_only, struct werror *e) WEIR_NODISCARD;
void rocks_close(struct rocks *rk); /* NULL allowed */

/* Turns RocksDB's message into an error and frees it. Takes msg; NULL gives WERR_OK. */
enum werr rocks_error(char *msg, const char *what, struct werror *e);

/* Tables on an open database. Takes rk: closing the kv closes the database. Never NULL. */
struct kv *kv_rocks_new(struct rocks *rk);
/* Its write-ahead log. Borrows rk, which must outlive it. Never NULL. */
struct clog *clog_rocks_new(struct rocks *rk);

/*
 * Compares names and sizes of WAL, MANIFEST and CURRENT in dir with what the floor says was synced.
 * WERR_OK: nothing is missing as far as sizes tell. WERR_DATA_LOSS: *e says what is short.
 */
enum werr rocks_preflight(const char *dir, const struct kv_floor *floor,
                          struct werror *e) WEIR_NODISCARD;

#endif
