#ifndef WEIR_BROKER_CORE_SLOTS_H
#define WEIR_BROKER_CORE_SLOTS_H
/*
 * Key slots: slot = CRC32C(key) mod LIMIT_SLOTS, and a table says which partition a slot belongs
 * to. Growing a topic moves only the slots that the new partitions need, so most keys stay where
 * they are. Pure.
 *
 * The rule: with n partitions, partition p owns LIMIT_SLOTS / n slots, and one more if
 * p < LIMIT_SLOTS % n. A topic that never grew owns them in one contiguous run per partition; such
 * a topic needs no table (NULL).
 */
#include "proto/limits.h"
#include "proto/msg.h"

/* How many slots partition p of n owns. */
uint32_t slots_share(uint32_t n, uint32_t p);
/* The table of a topic that never grew. n in 1..LIMIT_PARTITIONS. */
void slots_contiguous(uint16_t table[LIMIT_SLOTS], uint32_t n);
/*
 * Grows `table` from `from` to `to` partitions (from <= to): each old partition gives away its
 * highest slots down to its new share, the new partitions take them in order. Deterministic, and
 * minimal: exactly the new partitions' shares move.
 */
void slots_grow(uint16_t table[LIMIT_SLOTS], uint32_t from, uint32_t to);
/* Run-length form; table NULL = contiguous over n partitions. Returns the number of runs. */
size_t slots_runs(const uint16_t *table, uint32_t n, struct msg_slot_run runs[LIMIT_SLOTS]);

#endif
