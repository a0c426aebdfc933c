/* Chunks of bits. Nothing can fail but memory, which aborts as all over the core. */
#include "broker/core/acked.h"

#include <string.h>

#include "broker/core/mem.h"

static uint64_t number_of(uint64_t offset)
{
    return offset / CHUNK_MESSAGES;
}

void acked_fini(struct acked *a)
{
    for (size_t i = 0; i < a->n; i++) {
        free(a->v[a->head + i]);
    }
    free(a->v);
    *a = (struct acked){0};
    TAILQ_INIT(&a->dirty);
}

void acked_reset(struct acked *a, uint64_t floor)
{
    acked_fini(a);
    a->first = number_of(floor);
}

static struct chunk *find(const struct acked *a, uint64_t offset)
{
    const uint64_t i = number_of(offset) - a->first;

    return number_of(offset) >= a->first && i < a->n ? a->v[a->head + i] : NULL;
}

struct chunk *acked_chunk(struct acked *a, uint64_t offset, bool make)
{
    const uint64_t number = number_of(offset);
    struct chunk *c = find(a, offset);

    if (c != NULL || !make || number < a->first) {
        return c;
    }
    const size_t i = (size_t)(number - a->first);
    if (i >= a->n) {
        if (a->head + i >= a->cap) {
            if (a->head > 0) {
                memmove(a->v, a->v + a->head, a->n * sizeof(struct chunk *));
                a->head = 0;
            }
            if (i >= a->cap) {
                a->cap = i + 1 > 2 * a->cap ? i + 8 : 2 * a->cap;
                a->v = core_realloc(a->v, a->cap, sizeof(struct chunk *));
            }
        }
        memset(a->v + a->head + a->n, 0, (i + 1 - a->n) * sizeof(struct chunk *));
        a->n = i + 1;
    }
    c = core_calloc(1, sizeof *c);
    c->number = number;
    a->v[a->head + i] = c;
    return c;
}

static bool bit(const uint64_t *words, uint64_t offset)
{
    const unsigned i = (unsigned)(offset % CHUNK_MESSAGES);

    return (words[i / 64] >> (i % 64) & 1) != 0;
}

static void set_bit(uint64_t *words, uint64_t offset, bool on)
{
    const unsigned i = (unsigned)(offset % CHUNK_MESSAGES);

    if (on) {
        /* NOLINTNEXTLINE(clang-analyzer-*): never NULL here */
        words[i / 64] |= UINT64_C(1) << (i % 64);
    } else {
        /* NOLINTNEXTLINE(clang-analyzer-*): never NULL here */
        words[i / 64] &= ~(UINT64_C(1) << (i % 64));
    }
}

bool acked_is_done(const struct acked *a, uint64_t offset)
{
    const struct chunk *c = find(a, offset);

    return c != NULL && bit(c->done, offset);
}

bool acked_is_taken(const struct acked *a, uint64_t offset)
{
    const struct chunk *c = find(a, offset);

    return c != NULL && bit(c->taken, offset);
}

void acked_mark(struct acked *a, struct chunk *c)
{
    if (!c->dirty) {
        c->dirty = true;
        TAILQ_INSERT_TAIL(&a->dirty, c, in_dirty);
    }
}

void acked_clean(struct acked *a, struct chunk *c)
{
    if (c->dirty) {
        c->dirty = false;
        TAILQ_REMOVE(&a->dirty, c, in_dirty);
    }
}

static void set_run(struct acked *a, uint64_t first, uint64_t last, bool done)
{
    for (uint64_t o = first; o <= last;) {
        struct chunk *c = acked_chunk(a, o, true);
        const uint64_t chunk_end = (number_of(o) + 1) * CHUNK_MESSAGES;
        const uint64_t end = last + 1 < chunk_end ? last + 1 : chunk_end;
        while (o < end) {
            const unsigned at = (unsigned)(o % CHUNK_MESSAGES), in = at % 64;
            const uint64_t n = end - o < 64 - in ? end - o : 64 - in;
            const uint64_t bits = (n == 64 ? UINT64_MAX : (UINT64_C(1) << n) - 1) << in;
            c->taken[at / 64] |= bits;
            c->done[at / 64] |= done ? bits : 0;
            o += n;
        }
        if (done) {
            acked_mark(a, c);
        }
    }
}

void acked_take(struct acked *a, uint64_t first, uint64_t last)
{
    set_run(a, first, last, false);
}

void acked_done_run(struct acked *a, uint64_t first, uint64_t last)
{
    set_run(a, first, last, true);
}

void acked_untake(struct acked *a, uint64_t offset)
{
    struct chunk *c = acked_chunk(a, offset, false);

    if (c != NULL) {
        set_bit(c->taken, offset, false);
    }
}

void acked_done(struct acked *a, uint64_t offset)
{
    struct chunk *c = acked_chunk(a, offset, true);

    set_bit(c->done, offset, true);
    set_bit(c->taken, offset, true);
    acked_mark(a, c);
}

void acked_undone(struct acked *a, uint64_t offset)
{
    struct chunk *c = acked_chunk(a, offset, true);

    set_bit(c->done, offset, false);
    acked_mark(a, c);
}

/* First offset >= from whose bit is clear, looking at `done` or at `taken`. */
static uint64_t next_clear(const struct acked *a, uint64_t from, bool done)
{
    uint64_t o = from;

    for (;;) {
        const struct chunk *c = find(a, o);
        if (c == NULL) {
            return o;
        }
        const uint64_t *words = done ? c->done : c->taken;
        unsigned at = (unsigned)(o % CHUNK_MESSAGES);
        while (at < CHUNK_MESSAGES) {
            const uint64_t clear = ~words[at / 64] >> (at % 64);
            if (clear != 0) {
                return o - o % CHUNK_MESSAGES + at + (unsigned)__builtin_ctzll(clear);
            }
            at = (at / 64 + 1) * 64;
        }
        o = (number_of(o) + 1) * CHUNK_MESSAGES;
    }
}

uint64_t acked_next_free(const struct acked *a, uint64_t from)
{
    return next_clear(a, from, false);
}

uint64_t acked_next_undone(const struct acked *a, uint64_t from)
{
    return next_clear(a, from, true);
}

uint64_t acked_free_run(const struct acked *a, uint64_t from, uint64_t limit)
{
    uint64_t o = from;

    while (o < limit) {
        const struct chunk *c = find(a, o);
        const uint64_t chunk_end = (number_of(o) + 1) * CHUNK_MESSAGES;
        if (c == NULL) {
            o = chunk_end;
            continue;
        }
        unsigned at = (unsigned)(o % CHUNK_MESSAGES);
        const uint64_t set = c->taken[at / 64] >> (at % 64);
        if (set != 0) {
            o += (unsigned)__builtin_ctzll(set);
            return o < limit ? o : limit;
        }
        o += 64 - at % 64;
    }
    return limit;
}

struct chunk *acked_pop_below(struct acked *a, uint64_t floor)
{
    while (a->n > 0 && a->first < number_of(floor)) {
        struct chunk *c = a->v[a->head];
        a->head++;
        a->n--;
        a->first++;
        if (c != NULL) {
            acked_clean(a, c);
            return c;
        }
    }
    if (a->n == 0) {
        a->head = 0;
        if (a->first < number_of(floor)) {
            a->first = number_of(floor);
        }
    }
    return NULL;
}

bool acked_has_done(const struct chunk *c, uint64_t floor)
{
    const uint64_t base = c->number * CHUNK_MESSAGES;
    uint64_t any = 0;

    for (unsigned w = 0; w < CHUNK_WORDS; w++) {
        const uint64_t from = base + (uint64_t)w * 64;
        if (from + 64 > floor) {
            any |= from >= floor ? c->done[w] : c->done[w] & UINT64_MAX << (floor - from);
        }
    }
    return any != 0;
}

uint64_t acked_count_done(const struct acked *a, uint64_t floor)
{
    uint64_t n = 0;

    for (size_t i = 0; i < a->n; i++) {
        const struct chunk *c = a->v[a->head + i];
        for (unsigned w = 0; c != NULL && w < CHUNK_WORDS; w++) {
            const uint64_t base = c->number * CHUNK_MESSAGES + (uint64_t)w * 64;
            uint64_t word = c->done[w];
            if (base + 64 <= floor) {
                continue;
            }
            if (base < floor) {
                word &= UINT64_MAX << (floor - base);
            }
            n += (unsigned)__builtin_popcountll(word);
        }
    }
    return n;
}
