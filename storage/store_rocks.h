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

#endif
