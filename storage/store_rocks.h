#ifndef WEIR_STORAGE_STORE_ROCKS_H
#define WEIR_STORAGE_STORE_ROCKS_H
/* The store on disk: RocksDB through its C API, guarded by a floor file. */
#include "storage/store.h"

/*
 * Opens or creates the store in dir (created when missing, mode 0700). One process per directory.
 *
 * Refuses, without changing anything there: WERR_LOCKED (names the other process),
 * WERR_FORMAT_NEWER (both versions), WERR_DATA_LOSS (acknowledged data is missing: *e names the
 * partition and offsets, and conf->accept_data_loss goes on), WERR_CORRUPT, WERR_IO.
 */
enum werr store_open_rocks(struct store **out, const char *dir, const struct store_conf *conf,
                           struct werror *e) WEIR_NODISCARD;

/*
 * Opens a private copy of the stopped store in dir, to look at it: hard links of its files in
 * `scratch`, a new directory on the same file system. Whatever opening repairs or writes happens in
 * the copy; dir stays as it is, and is locked until store_copy_close. Errors as above, and WERR_IO
 * when there is no store.
 */
struct store_copy {
    struct store *st;
    int lock_fd;
    char scratch[4000];
};
enum werr store_copy_open(struct store_copy *c, const char *dir, const char *scratch,
                          const struct store_conf *conf, struct werror *e) WEIR_NODISCARD;
/* Closes and removes the copy. Safe after a failed open. */
void store_copy_close(struct store_copy *c);

#endif
