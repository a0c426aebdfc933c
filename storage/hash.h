#ifndef WEIR_STORAGE_HASH_H
#define WEIR_STORAGE_HASH_H
/* A fast 64-bit hash for comparing states and for META_APPLIED's sum. Not cryptographic. */
#include "proto/batch.h"
#include "storage/keys.h"

/* Hash of a, continued from seed. Part of the store's format: META_APPLIED.sum is built of it. */
uint64_t hash64(uint64_t seed, struct slice a);

/*
 * One log row in META_APPLIED.sum: table, key, value size and the body crcs of its batches. Rows
 * add up, so the sum does not depend on the order in which they are met.
 */
uint64_t row_hash_begin(enum store_table t, struct slice key, size_t value_bytes);
uint64_t row_hash_batch(uint64_t hash, uint32_t crc);

#endif
