#ifndef WEIR_STORAGE_ROCKS_RECORDS_H
#define WEIR_STORAGE_ROCKS_RECORDS_H
/*
 * The format of RocksDB's logs and manifests (its db/log_format.h): blocks of 32 KiB, in them
 * physical records of checksum, length, type and data; a record that does not fit goes on in the
 * next block. Pure functions over bytes.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/buf.h"

enum { RECORD_BLOCK_BYTES = 32768 };

struct wal_record {
    const uint8_t *p; /* where it begins */
    size_t bytes;     /* of all of it */
    struct slice data;
    bool begins, ends; /* the first, the last physical record of a logical one */
};
enum record_step {
    RECORD_HERE, /* *r is one; its checksum was not looked at */
    RECORD_PAD,  /* the rest of the block is padding */
    RECORD_BAD,  /* no record, or one that ends behind the block or the bytes */
};
/* What begins at p + at; p is the start of a block, n bytes are there from p on. Borrows p. */
enum record_step record_at(const uint8_t *p, size_t n, size_t at, struct wal_record *r);
bool record_is_sound(const struct wal_record *r); /* its checksum is right */

#endif
