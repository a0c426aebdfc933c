#include "client/cli/pending.h"

#include <stddef.h>
#include <stdlib.h>

enum { SLOTS_PER_BLOCK = 1024 };

struct pending_block {
    struct pending_block *next;
    struct pending slots[SLOTS_PER_BLOCK];
};

static int grow(struct pending_pool *p)
{
    struct pending_block *b = malloc(sizeof *b);
    if (!b) {
        return -1;
    }
    b->next = p->blocks;
    p->blocks = b;
    for (size_t i = 0; i < SLOTS_PER_BLOCK; i++) {
        pending_give(p, &b->slots[i]);
    }
    return 0;
}

struct pending *pending_take(struct pending_pool *p, void *owner, int64_t number)
{
    if (!p->free && grow(p)) {
        return NULL;
    }
    struct pending *slot = p->free;
    p->free = slot->next;
    slot->owner = owner;
    slot->number = number;
    return slot;
}

void pending_give(struct pending_pool *p, struct pending *slot)
{
    slot->next = p->free;
    p->free = slot;
}

void pending_fini(struct pending_pool *p)
{
    while (p->blocks) {
        struct pending_block *b = p->blocks;
        p->blocks = b->next;
        free(b);
    }
    p->free = NULL;
}
