#ifndef WEIR_BROKER_CORE_MOVED_H
#define WEIR_BROKER_CORE_MOVED_H
/*
 * Batches that the broker puts into a log by itself: delayed ones at their time, copies for dead
 * letters. They carry BATCH_MOVED, no producer, no sequence, and a checksum of their own, because
 * the producer's covered the fields that change.
 */
#include "proto/batch.h"

enum { BATCH_MOVED = 0x0100 }; /* in the half of the flags that readers may ignore */

/*
 * A copy of a whole batch (checked before, or just built) as the broker's own: producer 0, sequence
 * 0, BATCH_MOVED, checksum recomputed. Ready for flight_append. Gives a reference to a blob of its
 * own size; NULL = no memory.
 */
struct blob *moved_batch(struct slice batch);

#endif
