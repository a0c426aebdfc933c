/*
 * The partitions of a subscription, and how far each was given back. `acked` moves over what was
 * given back in order; what was given back above it is a bit in a ring, so that giving back costs
 * the same in any order. Owned by the subscription until it ends: batches and messages point here.
 */
#include <stdlib.h>
#include <string.h>

#include "client/consumer.h"
#include "client/meta.h"

enum { RING_MIN_BITS = 1024 };

struct sub_topic *sub_topic_find(struct weir_sub *s, uint64_t tid)
{
    struct sub_topic *st;

    TAILQ_FOREACH (st, &s->topics, link) {
        if (st->tid == tid) {
            break;
        }
    }
    return st;
}

struct sub_topic *sub_topic_add(struct weir_sub *s, uint64_t tid, struct topic *t)
{
    struct sub_topic *st = calloc(1, sizeof *st);

    if (st) {
        st->tid = tid;
        st->topic = t;
        TAILQ_INSERT_TAIL(&s->topics, st, link);
    }
    return st;
}

struct sub_part *sub_part_find(struct weir_sub *s, uint64_t tid, uint32_t p)
{
    const struct sub_topic *st = sub_topic_find(s, tid);

    return st && p < st->n_parts ? st->parts[p] : NULL;
}

struct sub_part *sub_part_add(struct weir_sub *s, struct sub_topic *st, uint32_t p)
{
    struct sub_part *part;

    if (p >= LIMIT_PARTITIONS) {
        return NULL;
    }
    if (p >= st->n_parts) {
        uint32_t n = p + 1 < 8 ? 8 : (p + 1) * 2;
        struct sub_part **grown = realloc(st->parts, n * sizeof(struct sub_part *));

        if (!grown) {
            return NULL;
        }
        memset(grown + st->n_parts, 0, (n - st->n_parts) * sizeof(struct sub_part *));
        st->parts = grown;
        st->n_parts = n;
    }
    part = calloc(1, sizeof *part);
    if (part) {
        part->topic = st;
        part->name = st->topic ? st->topic->name : "";
        part->tid = st->tid;
        part->p = p;
        part->high = -1;
        st->parts[p] = part;
        TAILQ_INSERT_TAIL(&s->parts, part, link);
        s->n_parts++;
    }
    return part;
}

void sub_parts_free(struct weir_sub *s)
{
    struct sub_topic *st;
    struct sub_part *part;

    while ((part = TAILQ_FIRST(&s->parts))) {
        TAILQ_REMOVE(&s->parts, part, link);
        free(part->above);
        free(part);
    }
    while ((st = TAILQ_FIRST(&s->topics))) {
        TAILQ_REMOVE(&s->topics, st, link);
        free(st->parts);
        free(st);
    }
    s->n_parts = 0;
}

/* ---------------------------------------------------------------- given back */

static uint64_t *word_of(const struct sub_part *part, uint64_t offset)
{
    return &part->above[(offset & (part->above_cap - 1)) / 64];
}

static uint64_t bit_of(uint64_t offset)
{
    return UINT64_C(1) << (offset & 63);
}

bool part_room(struct sub_part *part, uint64_t offset)
{
    uint64_t need = offset - part->acked + 1, cap = part->above_cap, *grown, *old = part->above;
    uint64_t old_cap = part->above_cap;

    if (need <= cap) {
        return true;
    }
    cap = cap ? cap : RING_MIN_BITS;
    while (cap < need) {
        cap *= 2;
    }
    grown = calloc(cap / 64, sizeof *grown);
    if (!grown) {
        return false;
    }
    part->above = grown;
    part->above_cap = cap;
    for (uint64_t o = part->acked; part->n_above > 0 && o < part->acked + old_cap; o++) {
        if (old[(o & (old_cap - 1)) / 64] & bit_of(o)) {
            *word_of(part, o) |= bit_of(o);
        }
    }
    free(old);
    return true;
}

bool part_ack(struct sub_part *part, uint64_t offset)
{
    if (offset > part->acked) {
        uint64_t *word = word_of(part, offset);

        part->n_above += !(*word & bit_of(offset));
        *word |= bit_of(offset);
        return false;
    }
    if (offset < part->acked) {
        return false;
    }
    part->acked++;
    while (part->n_above > 0 && (*word_of(part, part->acked) & bit_of(part->acked))) {
        *word_of(part, part->acked) &= ~bit_of(part->acked);
        part->n_above--;
        part->acked++;
    }
    return true;
}

void part_reset(struct sub_part *part, uint64_t offset)
{
    if (part->n_above > 0) {
        memset(part->above, 0, part->above_cap / 8);
    }
    part->n_above = 0;
    part->known = true;
    part->recv = part->next = part->acked = part->committed = offset;
    part->high = -1;
}
