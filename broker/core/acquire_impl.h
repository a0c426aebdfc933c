#ifndef WEIR_BROKER_CORE_ACQUIRE_IMPL_H
#define WEIR_BROKER_CORE_ACQUIRE_IMPL_H
/*
 * One acquire, from the request to its answer: what acquire.c (the request), acquire_give.c (what
 * it gets), acquire_lots.c (the answer), acquire_again.c (the same attempt once more) and queue.c
 * (whose turn it is) share.
 */
#include "broker/core/queue_impl.h"

enum acquire_state { ACQ_WAITING, ACQ_FLYING, ACQ_PACED, ACQ_REPEATING };

struct piece {
    uint64_t base;
    struct bytes batch; /* a reference */
};
struct lot {
    uint64_t tid;
    uint32_t p;
    struct piece *pieces; /* by offset, each batch once */
    size_t n_pieces, cap_pieces;
    struct msg_range *ranges; /* by offset only when answered */
    size_t n, cap;
};

struct acquire {
    struct waiter waiter;
    TAILQ_ENTRY(acquire) link; /* q->waiting or q->paced */
    struct queue *q;
    struct member *member;      /* NULL: gone meanwhile */
    struct acquire *next;       /* member->waiting */
    struct core_acquire_rq *rq; /* NULL: cancelled */
    enum acquire_state state;
    struct timer timeout;
    uint32_t max_msgs, max_bytes, lease_ms, n_msgs;
    uint64_t attempt;
    size_t bytes;
    bool ahead; /* its messages count in q->ahead */
    struct lot *lots;
    size_t n_lots, cap_lots;
    uint64_t *leases; /* ids: given by it, or to be given again */
    size_t n_leases, cap_leases, at_lease;
    /* while repeating */
    uint64_t at_offset;
    bool reading, stepping, read_failed;
    struct part_read read;
    struct bytes read_data;
};

/* ---------------------------------------------------------------- acquire_lots.c */
struct lot *lot_of(struct acquire *a, struct queue_part *qp); /* its own, or a new one */
/* Adds a batch unless it is there already; takes a reference when it is not. */
void lot_batch(struct acquire *a, struct lot *l, struct bytes batch, const struct batch_head *h);
void lot_range(struct lot *l, uint64_t first, uint64_t last, uint32_t deliveries, uint64_t lease,
               const char *reason);
void acquire_free(struct acquire *a);
void acquire_unlink(struct acquire *a); /* out of every list but memory */
/* Runs done(), if somebody still asks. Takes a. */
void acquire_answer(struct acquire *a, enum werr rc, const struct werror *e);

/* ---------------------------------------------------------------- acquire_give.c */
void acquire_fill(struct acquire *a); /* leases from whatever is ready, within every limit */

/* ---------------------------------------------------------------- acquire_again.c */
/* Leases of this attempt that the member still holds: they are given again. */
bool acquire_collect(struct acquire *a);
void acquire_repeat(struct acquire *a); /* answers a, now or when it was read */

/* ---------------------------------------------------------------- queue.c */
void queue_pump(struct queue *q);

#endif
