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

struct rocks_how {
    enum rocks_wal_mode wal_mode;
    bool create; /* a new store: database and families are made */
    /* Opens although files are missing or too short, and skips damaged stretches of the log (what
     * lies behind them is kept; the holes show up in the index): to look at a damaged store, or to
     * go on with it after accept_data_loss. */
    bool lenient;
};

struct rocks {
    rocksdb_t *db;
    rocksdb_column_family_handle_t *cf[TABLE_COUNT];
    rocksdb_options_t *options, *cf_options[TABLE_COUNT];
    rocksdb_cache_t *cache;
    rocksdb_flushoptions_t *flush_options, *flush_and_wait;
    rocksdb_readoptions_t *point_reads; /* any thread */
    uint64_t bucket_bytes;
    int lock_fd;       /* -1 = none; held until the database is closed */
    bool wal_switched; /* the log may have another file than at the last append. Committer */
    bool stuck; /* its recovery hangs, and so would its close. Committer, then whoever closes */
    char dir[4000];
};

/*
 * Opens the database in dir with the options of docs/decisions/0100. Verifies the numbers of the
 * column families. WERR_CORRUPT, WERR_IO, WERR_STORAGE_FULL, WERR_LOCKED.
 */
enum werr rocks_open(struct rocks **out, const char *dir, const struct store_conf *conf,
                     const struct rocks_how *how, struct werror *e) WEIR_NODISCARD;
void rocks_close(struct rocks *rk); /* NULL allowed */
/* Name of the column family that holds a table. */
const char *rocks_family_name(enum store_table t);

/* Turns RocksDB's message into an error and frees it. Takes msg; NULL gives WERR_OK. */
enum werr rocks_error(char *msg, const char *what, struct werror *e);

/* Tables on an open database. Takes rk: closing the kv closes the database. Never NULL. */
struct kv *kv_rocks_new(struct rocks *rk);
/* Its write-ahead log. Borrows rk, which must outlive it. Never NULL. */
struct clog *clog_rocks_new(struct rocks *rk);
/* Who syncs a record (docs/decisions/0102). For measurements; the log chooses by itself. */
enum rocks_pipeline {
    ROCKS_CHOOSE,
    ROCKS_INLINE, /* always the committer */
    ROCKS_HANDED, /* always the sync thread */
};
void clog_rocks_pipeline(struct clog *l, enum rocks_pipeline p);

/* ---------------------------------------------------------------- sums (rocks_crc.c) */

/* What RocksDB calls for CRC32C, under its own name: crc is the sum of what is in front of p. Any
 * thread. */
uint32_t rocks_crc32c_extend(uint32_t crc, const char *p,
                             size_t n) __asm__("_ZN7rocksdb6crc32c6ExtendEjPKcm");

/* ---------------------------------------------------------------- files (preflight.c) */

/*
 * Compares CURRENT, the manifest and the newest write-ahead log in dir with what the floor says was
 * synced; reads no rows and changes nothing. WERR_OK: nothing is missing as far as sizes tell.
 * WERR_DATA_LOSS: *e says which file is short. WERR_CORRUPT: the manifest ends in the middle of a
 * record: normal after a power cut, but the rows have to be compared with the floor first. WERR_IO.
 */
enum werr rocks_preflight(const char *dir, const struct kv_floor *floor,
                          struct werror *e) WEIR_NODISCARD;
/* Name of the newest write-ahead log by number; "" when there is none. Bytes of all of them. False:
 * the directory cannot be read, errno says why. */
bool rocks_newest_wal(const char *dir, char *name, size_t n, uint64_t *all_bytes);
/* The name that CURRENT holds; "" when it is missing or empty. False: it cannot be read, errno says
 * why; that tells nothing about what it holds. */
bool rocks_current(const char *dir, char *name, size_t n);

/* ---------------------------------------------------------------- copies (rocks_copy.c) */

/* Makes `to` (removed first when it is there) and links every file of the store into it, but locks
 * and floors. WERR_IO. */
enum werr rocks_link_copy(const char *dir, const char *to, struct werror *e) WEIR_NODISCARD;
void rocks_remove_copy(const char *dir);
/* Does a file of this name belong to a copy? Not locks, text logs, floors and other copies. */
bool rocks_copy_has(const char *name);

/* ---------------------------------------------------------------- repeats (rocks_repeats.c) */

/*
 * Before an open: a log in which a record comes again is replaced by a copy in which that record is
 * damaged (RocksDB would abort). Files themselves are never changed: links to them stay as they
 * are. WERR_IO, WERR_STORAGE_FULL.
 */
enum werr rocks_hide_repeats(const char *dir, struct werror *e) WEIR_NODISCARD;

/* ---------------------------------------------------------------- undo (rocks_undo.c) */

/* Before an open: keeps all files of the store in dir as they are, under the number of its floor.
 * WERR_IO, WERR_STORAGE_FULL: then nothing is kept. */
enum werr rocks_undo_keep(const char *dir, uint64_t seq, struct werror *e) WEIR_NODISCARD;
/* The open was verified: what was kept goes. */
void rocks_undo_drop(const char *dir, uint64_t seq);
/* Puts back what was kept, byte for byte; the database is closed. May be repeated. WERR_IO. */
enum werr rocks_undo(const char *dir, uint64_t seq, struct werror *e) WEIR_NODISCARD;
/*
 * After a crash, seq being the number of the floor as it is now: takes back an open that was not
 * verified, and removes what else is left over. WERR_IO.
 */
enum werr rocks_undo_leftover(const char *dir, uint64_t seq, struct werror *e) WEIR_NODISCARD;

/* ---------------------------------------------------------------- damage (rocks_damage.c) */

/*
 * Looks at a store without changing it: opens a copy made of hard links and compares it with the
 * floor. WERR_OK:
 * nothing that the floor knows is missing. WERR_DATA_LOSS: *e names file, partition and offsets.
 * WERR_FORMAT_NEWER. Others: it cannot be looked at. One line per loss goes to conf->log.
 */
enum werr rocks_examine(const char *dir, const struct store_conf *conf,
                        const struct kv_floor *floor, struct werror *e) WEIR_NODISCARD;
/*
 * After accept_data_loss, before the store is opened: puts back a missing CURRENT when the manifest
 * that the floor names is there.
 */
enum werr rocks_restore_current(const char *dir, const struct kv_floor *floor,
                                struct werror *e) WEIR_NODISCARD;
/* After accept_data_loss: forgets table files that are missing or too short, so that nothing trips
 * over them later. */
enum werr rocks_drop_damaged(struct rocks *rk, struct werror *e) WEIR_NODISCARD;

#endif
