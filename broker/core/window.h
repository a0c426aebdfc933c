#ifndef WEIR_BROKER_CORE_WINDOW_H
#define WEIR_BROKER_CORE_WINDOW_H
/*
 * What a partition remembers of one idempotent producer: the last LIMIT_PRODUCER_WINDOW batches and
 * the next sequence. Pure rules (docs/GUARANTEES.md, G5) and the bytes of a snapshot; no I/O.
 *
 * A producer's sequence counts its records in this partition, starts at 0 and wraps at 2^32 on the
 * wire. Inside it is 64 bits wide, so "never sent" and "forgotten" can be told apart. The batches
 * of a window are contiguous in sequence: only offsets and counts are kept.
 */
#include "proto/buf.h"
#include "proto/error.h"
#include "proto/limits.h"

struct window_entry {
    uint64_t base_offset;
    uint16_t count;
};

struct window {
    uint64_t next_seq; /* of the record after the newest batch */
    int64_t last_ms;   /* append time of the newest batch */
    uint64_t floor;    /* offset after the newest batch that the ring forgot; 0 = none */
    struct window_entry *ring;
    uint8_t head, n, cap; /* cap: 0 or a power of two <= LIMIT_PRODUCER_WINDOW */
    uint16_t epoch;       /* highest producer epoch that appended */
};

enum window_verdict {
    WINDOW_APPEND,    /* the next one */
    WINDOW_KNOWN,     /* stored before, *offset says where */
    WINDOW_FORGOTTEN, /* stored before, below the window */
    WINDOW_AHEAD,     /* a gap: earlier sequences are missing */
    WINDOW_MISFIT,    /* overlaps stored batches without being one of them, or precedes all */
};

void window_fini(struct window *w); /* frees the ring; safe twice and on zeroed memory */
/* Judges a batch of `count` records that begins at wire sequence base_seq. */
enum window_verdict window_judge(const struct window *w, uint32_t base_seq, uint16_t count,
                                 uint64_t *offset);
/* Adds the batch after the newest. Grows the ring on demand, forgets the oldest when it is full. */
void window_push(struct window *w, uint64_t base_offset, uint16_t count);
/* Takes back every batch at or above base_offset, newest first: they did not happen. */
void window_rollback(struct window *w, uint64_t base_offset);
/* i-th batch, 0 = oldest, and the 64-bit sequence of its first record. */
const struct window_entry *window_at(const struct window *w, unsigned i);
uint64_t window_oldest_seq(const struct window *w);
/* Offset after the newest batch, also when a rollback emptied the ring; 0 when there is none. */
uint64_t window_end_offset(const struct window *w);

/* Snapshot row: version u8, epoch u16, next_seq u64, last_ms i64, floor u64, n u8,
 * n * (offset u64, count u16). */
void window_encode(const struct window *w, struct buf *out);
enum werr window_decode(struct window *w, struct slice row, struct werror *e) WEIR_NODISCARD;

#endif
