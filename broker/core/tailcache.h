#ifndef WEIR_BROKER_CORE_TAILCACHE_H
#define WEIR_BROKER_CORE_TAILCACHE_H
/*
 * Just-committed batches, kept in memory up to a budget so that consumers at the tail never touch
 * the disk. One budget over all partitions; the oldest commit goes first. Each partition keeps its
 * batches in a ring sorted by offset, without holes. Pure.
 */
#include <sys/queue.h>

#include "proto/buf.h"

struct tail_entry {
    TAILQ_ENTRY(tail_entry) by_age;
    struct tail *owner;
    uint64_t base_offset;
    uint32_t count;
    struct bytes batch; /* holds a reference */
};
TAILQ_HEAD(tail_ages, tail_entry);

/* Of one partition. Zeroed memory is an empty tail. */
struct tail {
    struct tail_entry **ring;
    uint32_t head, n, cap; /* cap: 0 or a power of two */
};

struct tailcache {
    struct tail_ages ages;
    uint64_t bytes, budget;
};

void tailcache_init(struct tailcache *tc, uint64_t budget);
/* Another budget; what is over it goes at once, oldest first. */
void tailcache_resize(struct tailcache *tc, uint64_t budget);
/* Adds the newest batch of a partition; takes a reference. A batch that does not follow the newest
 * one there empties the partition's tail first. */
void tail_put(struct tailcache *tc, struct tail *t, uint64_t base_offset, uint32_t count,
              struct bytes batch);
/* Index of the batch that holds offset, or -1. */
int64_t tail_find(const struct tail *t, uint64_t offset);
const struct tail_entry *tail_at(const struct tail *t, uint32_t i);
/* Forgets batches that end at or below offset. */
void tail_trim(struct tailcache *tc, struct tail *t, uint64_t offset);
/* Forgets everything and frees the ring. */
void tail_fini(struct tailcache *tc, struct tail *t);

#endif
