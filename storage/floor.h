#ifndef WEIR_STORAGE_FLOOR_H
#define WEIR_STORAGE_FLOOR_H
/*
 * The floor: what is known to be on disk, kept apart from RocksDB, so that an open that comes up
 * short is noticed (RocksDB itself opens silently after several kinds of damage). Two slot files,
 * written in turn and synced; each carries a CRC32C, so a torn write leaves the older one.
 */
#include "proto/buf.h"
#include "proto/error.h"

/* Version of the whole directory, read before anything in it is touched: raised together with
 * STORE_FORMAT (storage/rows.h). */
enum { FLOOR_FORMAT = 1 };

struct floor_mark {
    uint32_t partition;
    uint64_t next_offset; /* first offset that is not yet durable */
};

struct kv_floor {
    uint64_t seq; /* of this floor; the higher valid slot counts */
    uint8_t store_uuid[16];
    uint64_t epoch, lsn; /* applied position that is durable */
    bool clean;          /* written by an orderly stop: nothing may differ at all */
    const struct floor_mark *marks;
    size_t n_marks;
    /* Filled in by the RocksDB side, opaque to others: names and synced sizes of WAL and MANIFEST.
     */
    char wal_name[32], manifest_name[32];
    uint64_t wal_synced_bytes, manifest_bytes;
};

/* Pure: bytes of a slot. decode: views marks into *marks_out (given, caller frees with free()). */
void floor_encode(struct buf *b, const struct kv_floor *f);
enum werr floor_decode(struct slice bytes, struct kv_floor *f, struct floor_mark **marks_out,
                       struct werror *e) WEIR_NODISCARD;
/* Writes the next slot in dir and syncs it (and the directory when the file is new). Helper thread.
 */
enum werr floor_save(const char *dir, const struct kv_floor *f, struct werror *e) WEIR_NODISCARD;
/* The newest valid slot. WERR_NOT_FOUND: no slot file (new store); WERR_CORRUPT: none is valid. */
enum werr floor_load(const char *dir, struct kv_floor *f, struct floor_mark **marks_out,
                     struct werror *e) WEIR_NODISCARD;

#endif
