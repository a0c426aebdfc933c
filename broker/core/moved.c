#include "broker/core/moved.h"

#include <assert.h>

#include "proto/crc32c.h"

enum { BODY = 32 }; /* what the checksum covers begins here */

struct blob *moved_batch(struct slice batch)
{
    struct blob *b = blob_copy(batch.p, batch.n);
    struct batch_head h;

    if (b == NULL) {
        return NULL;
    }
    assert(batch.n >= BATCH_HEAD);
    batch_head_read(b->p, &h);
    h.base_offset = 0;
    h.append_ms = 0;
    h.epoch = 0;
    h.head_crc = 0; /* flight_append stamps these */
    h.flags = (uint16_t)((h.flags & ~BATCH_NO_CRC) | BATCH_MOVED);
    h.producer_id = 0;
    h.producer_epoch = 0;
    h.base_seq = 0;
    batch_head_write(b->p, &h);
    h.crc = crc32c(b->p + BODY, b->n - BODY);
    batch_head_write(b->p, &h);
    return b;
}
