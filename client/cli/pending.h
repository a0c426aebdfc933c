#ifndef WEIR_CLI_PENDING_H
#define WEIR_CLI_PENDING_H
/*
 * What a program remembers of each message that is under way: its owner and one number. Slots are
 * reused, so a long run allocates only as many as are under way at a time. One thread at a time.
 */
#include <stdint.h>

struct pending {
    struct pending *next; /**< while free */
    void *owner;
    int64_t number; /**< a line, or a planned time */
};

struct pending_pool {
    struct pending *free;
    struct pending_block *blocks;
};

/** A slot; NULL when out of memory. Gives it back with pending_give. */
struct pending *pending_take(struct pending_pool *p, void *owner, int64_t number);
void pending_give(struct pending_pool *p, struct pending *slot);
/** Frees everything. Safe on zeroed memory and twice. */
void pending_fini(struct pending_pool *p);

#endif
