/*
 * Which fault meets which frame. Rules are asked in the order in which they were given; the first
 * that wants the frame gets it.
 */
#include <string.h>

#include "tests/faults/inject/chaos.h"

uint64_t chaos_random(struct chaos *c, uint64_t n)
{
    c->rng ^= c->rng << 13; /* xorshift64 (Marsaglia 2003) */
    c->rng ^= c->rng >> 7;
    c->rng ^= c->rng << 17;
    return (c->rng >> 11) % n;
}

/* A sweep cuts each kind of frame once at every byte, 0 to its length: whole, but nothing after. */
static bool sweep(struct chaos *c, enum chaos_dir dir, uint32_t op, size_t n, size_t *at)
{
    struct chaos_sweep *s = &c->sweep[dir][op];

    if (s->longest < n) {
        s->longest = (uint32_t)n;
    }
    if (s->shortest == 0 || s->shortest > n) {
        s->shortest = (uint32_t)n;
    }
    if (s->next > n) {
        return false;
    }
    *at = s->next++;
    return true;
}

static bool wants(struct chaos *c, struct chaos_rule *r, enum chaos_dir dir,
                  const struct chaos_head *h, size_t n, size_t *at)
{
    if ((r->op != CHAOS_ANY && (uint32_t)r->op != h->op) ||
        (r->dir != CHAOS_ANY && (enum chaos_dir)r->dir != dir) || r->times == 0 || h->op == 0) {
        return false;
    }
    if ((r->fault == CHAOS_LOST_ACK || r->fault == CHAOS_DUP) && h->kind != CHAOS_REQUEST) {
        return false;
    }
    if (r->chance < 1 && (double)chaos_random(c, 1000000) >= r->chance * 1e6) {
        return false;
    }
    if (r->after > 0) {
        r->after--;
        return false;
    }
    if (r->fault != CHAOS_CUT) {
        return true;
    }
    switch (r->at) {
    case CHAOS_AT_SWEEP:
        return sweep(c, dir, h->op, n, at);
    case CHAOS_AT_RANDOM:
        *at = chaos_random(c, n + 1);
        return true;
    case CHAOS_AT_END:
        *at = n;
        return true;
    default:
        *at = (size_t)r->at;
        return *at <= n;
    }
}

enum chaos_fault chaos_decide(struct chaos *c, enum chaos_dir dir, const struct chaos_head *h,
                              size_t n, const struct chaos_rule **rule, size_t *at)
{
    for (int i = 0; i < c->n_rules; i++) {
        struct chaos_rule *r = &c->rules[i];

        if (wants(c, r, dir, h, n, at)) {
            r->times -= r->times > 0;
            *rule = r;
            return r->fault;
        }
    }
    return CHAOS_NONE;
}

static struct chaos_ack *slot(struct chaos *c, const struct chaos_batch *b)
{
    uint64_t h = b->tid * 0x9e3779b97f4a7c15u ^ b->pid * 0xc2b2ae3d27d4eb4fu ^
                 ((uint64_t)b->p << 32 | b->seq) * 0x165667b19e3779f9u;

    return &c->acks[(h >> 40) & (CHAOS_ACKS - 1)];
}

static bool same_batch(const struct chaos_batch *a, const struct chaos_batch *b)
{
    return a->known && b->known && a->tid == b->tid && a->pid == b->pid && a->p == b->p &&
           a->seq == b->seq && a->epoch == b->epoch;
}

void chaos_remember(struct chaos *c, const struct chaos_batch *b, uint64_t offset)
{
    if (b->known) {
        *slot(c, b) = (struct chaos_ack){*b, offset};
    }
}

void chaos_compare(struct chaos *c, const struct chaos_batch *b, uint64_t offset)
{
    struct chaos_ack *a = slot(c, b);

    if (same_batch(&a->batch, b)) {
        if (a->offset == offset) {
            c->same++;
        } else {
            c->other++;
        }
        a->batch.known = false;
    }
}

const char *chaos_fault_name(enum chaos_fault f)
{
    static const char *const names[CHAOS_FAULTS] = {
        "none", "cut",   "lost_ack", "duplicate", "stall", "half_open",
        "hold", "delay", "throttle", "segment",   "refuse"};

    return names[f];
}
