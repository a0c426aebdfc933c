#include "broker/core/tailcache.h"

#include "broker/core/mem.h"

enum { ENTRY_COST = sizeof(struct tail_entry) + sizeof(struct blob) + 4 * sizeof(void *) };

void tailcache_init(struct tailcache *tc, uint64_t budget)
{
    *tc = (struct tailcache){.budget = budget};
    TAILQ_INIT(&tc->ages);
}

static struct tail_entry **slot(const struct tail *t, uint32_t i)
{
    return &t->ring[(t->head + i) & (t->cap - 1)];
}

const struct tail_entry *tail_at(const struct tail *t, uint32_t i)
{
    return *slot(t, i);
}

static void drop_oldest(struct tailcache *tc, struct tail *t)
{
    struct tail_entry *en = *slot(t, 0);

    t->head = (t->head + 1) & (t->cap - 1);
    t->n--;
    TAILQ_REMOVE(&tc->ages, en, by_age);
    tc->bytes -= en->batch.n + ENTRY_COST;
    blob_unref(en->batch.owner);
    free(en);
    if (t->n == 0) {
        free(t->ring);
        *t = (struct tail){0};
    }
}

void tailcache_resize(struct tailcache *tc, uint64_t budget)
{
    tc->budget = budget;
    while (tc->bytes > tc->budget) {
        drop_oldest(tc, TAILQ_FIRST(&tc->ages)->owner);
    }
}

void tail_fini(struct tailcache *tc, struct tail *t)
{
    while (t->n > 0) {
        drop_oldest(tc, t);
    }
}

void tail_trim(struct tailcache *tc, struct tail *t, uint64_t offset)
{
    while (t->n > 0 && tail_at(t, 0)->base_offset + tail_at(t, 0)->count <= offset) {
        drop_oldest(tc, t);
    }
}

static void grow(struct tail *t)
{
    const uint32_t cap = t->cap > 0 ? t->cap * 2 : 4;
    struct tail_entry **ring = core_calloc(cap, sizeof *ring);

    for (uint32_t i = 0; i < t->n; i++) {
        ring[i] = *slot(t, i);
    }
    free(t->ring);
    *t = (struct tail){.ring = ring, .n = t->n, .cap = cap};
}

void tail_put(struct tailcache *tc, struct tail *t, uint64_t base_offset, uint32_t count,
              struct bytes batch)
{
    const uint64_t cost = batch.n + ENTRY_COST;

    if (t->n > 0) {
        const struct tail_entry *last = tail_at(t, t->n - 1);
        if (last->base_offset + last->count != base_offset) {
            tail_fini(tc, t);
        }
    }
    if (cost > tc->budget) {
        tail_fini(tc, t); /* what it holds would not reach up to the newest any more */
        return;
    }
    while (tc->bytes + cost > tc->budget) {
        drop_oldest(tc, TAILQ_FIRST(&tc->ages)->owner);
    }
    if (t->n == t->cap) {
        grow(t);
    }
    struct tail_entry *en = core_calloc(1, sizeof *en);
    *en =
        (struct tail_entry){.owner = t, .base_offset = base_offset, .count = count, .batch = batch};
    blob_ref(batch.owner);
    *slot(t, t->n) = en;
    t->n++;
    TAILQ_INSERT_TAIL(&tc->ages, en, by_age);
    tc->bytes += cost;
}

int64_t tail_find(const struct tail *t, uint64_t offset)
{
    uint32_t lo = 0, hi = t->n;

    if (t->n == 0 || offset < tail_at(t, 0)->base_offset) {
        return -1;
    }
    while (hi - lo > 1) { /* the answer is in [lo, hi) */
        const uint32_t mid = lo + (hi - lo) / 2;
        if (tail_at(t, mid)->base_offset <= offset) {
            lo = mid;
        } else {
            hi = mid;
        }
    }
    return offset < tail_at(t, lo)->base_offset + tail_at(t, lo)->count ? (int64_t)lo : -1;
}
