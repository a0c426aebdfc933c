/*
 * What happens to frames. Bytes of the source are gathered until a frame is whole; then the rules
 * decide, and it is queued, cut, doubled, or swallowed.
 *
 * Happy path: no rule: bytes are queued as they come, and the frame is gathered only to know its
 * correlation. What can fail: bytes that are not weir's: the pipe turns raw, everything passes.
 * Memory: a frame over CHAOS_FRAME_MAX turns the pipe raw as well.
 */
#include <stdlib.h>
#include <string.h>

#include "tests/faults/inject/chaos.h"

static struct chaos_request *request_of(struct chaos_conn *k, uint32_t corr)
{
    return &k->requests[corr & (CHAOS_CORRS - 1)];
}

static int choose(struct chaos *c, int how)
{
    return how == CHAOS_ANY ? (int)chaos_random(c, 2) : how;
}

static void count(struct chaos_conn *k, enum chaos_fault f)
{
    k->c->counts[f]++;
}

/* Ends the connection when what is queued is out. */
static void cut(struct chaos_conn *k, int how, enum chaos_fault why)
{
    enum { OUT_WITHIN_NS = 2000000000 };

    count(k, why);
    k->cut = choose(k->c, how);
    k->cut_by_ns = chaos_now_ns() + OUT_WITHIN_NS;
}

static void up_request(struct chaos_conn *k, const struct chaos_head *h, const uint8_t *p, size_t n,
                       enum chaos_fault f, const struct chaos_rule *rule)
{
    enum { PRODUCE = 10 };
    struct chaos_request *q = request_of(k, h->corr);

    *q = (struct chaos_request){.corr = h->corr, .op = h->op};
    if (h->op == PRODUCE) {
        chaos_read_batch(p, n, &q->batch);
    }
    if (f == CHAOS_DUP) {
        q->answers = 2;
        chaos_queue(k, CHAOS_UP, p, n);
    } else if (f == CHAOS_LOST_ACK) {
        q->swallow = true;
        q->how = rule->how;
    }
}

/* True: the client does not get this answer. */
static bool swallowed(struct chaos_conn *k, struct chaos_request *q, const uint8_t *p, size_t n)
{
    uint64_t offset = 0;
    bool dup = false, has = q->batch.known && chaos_read_offset(p, n, &offset, &dup);

    if (q->swallow) {
        if (has) {
            chaos_remember(k->c, &q->batch, offset);
        }
        cut(k, q->how, CHAOS_LOST_ACK);
        return true;
    }
    if (has && q->answers == 0) {
        chaos_compare(k->c, &q->batch, offset);
    }
    if (q->answers == 2) {
        q->answers = 1;
        q->has_offset = has;
        q->offset = offset;
        return false;
    }
    if (q->answers == 1) {
        count(k, CHAOS_DUP);
        if (q->has_offset && has) {
            *(q->offset == offset ? &k->c->same : &k->c->other) += 1;
        }
        q->op = 0;
        return true;
    }
    q->op = 0;
    return false;
}

static void cut_frame(struct chaos_conn *k, enum chaos_dir dir, const uint8_t *p, size_t at,
                      const struct chaos_rule *rule)
{
    chaos_queue(k, dir, p, at);
    cut(k, rule->how, CHAOS_CUT);
}

/* A frame of this op went on: connections that hold one back for it may follow, a little later. */
static void release(const struct chaos_conn *k, enum chaos_dir dir, uint32_t op)
{
    enum { LATER_NS = 2000000 };

    for (struct chaos_conn *o = k->c->all; o; o = o->next) {
        if (o != k && o->hold_op == (int)op && o->hold_dir == dir && op != 0) {
            o->hold_op = 0;
            o->stalled_until_ns = chaos_now_ns() + LATER_NS;
            count(o, CHAOS_HOLD);
        }
    }
}

/* A whole frame whose bytes have not gone on yet. */
static void decide(struct chaos_conn *k, enum chaos_dir dir, const struct chaos_head *h,
                   const uint8_t *p, size_t n)
{
    const struct chaos_rule *rule = NULL;
    size_t at = 0;
    const enum chaos_fault f = chaos_decide(k->c, dir, h, n, &rule, &at);

    if (f == CHAOS_CUT) {
        cut_frame(k, dir, p, at, rule);
        return;
    }
    if (h->kind == CHAOS_REQUEST && dir == CHAOS_UP) {
        up_request(k, h, p, n, f, rule);
    }
    if (f == CHAOS_STALL) {
        k->stalled_until_ns = chaos_now_ns() + rule->for_ms * 1000000;
        count(k, f);
    } else if (f == CHAOS_HALF_OPEN) {
        k->half_open = true;
        count(k, f);
    } else if (f == CHAOS_HOLD && k->hold_op == 0) {
        k->hold_op = (int)h->op;
        k->hold_dir = dir;
        k->hold_until_ns = chaos_now_ns() + rule->for_ms * 1000000;
    }
    chaos_queue(k, dir, p, n);
    if (f != CHAOS_HOLD) {
        release(k, dir, h->op);
    }
}

static void whole_frame(struct chaos_conn *k, enum chaos_dir dir)
{
    struct chaos_pipe *t = &k->pipe[dir];
    struct chaos_head h = {0};
    const bool known = chaos_read_head(t->frame, t->have, &h);
    struct chaos_request *q = NULL;

    k->c->frames++;
    if (known && h.kind == CHAOS_RESPONSE && dir == CHAOS_DOWN) {
        q = request_of(k, h.corr);
        if (q->corr == h.corr && q->op != 0) {
            h.op = q->op;
            if (swallowed(k, q, t->frame, t->have)) {
                return;
            }
        }
    }
    if (t->passed > 0) {
        if (known && h.kind == CHAOS_REQUEST && dir == CHAOS_UP) {
            up_request(k, &h, t->frame, t->have, CHAOS_NONE, NULL);
        }
        chaos_queue(k, dir, t->frame + t->passed, t->have - t->passed);
        return;
    }
    decide(k, dir, &h, t->frame, t->have);
}

static size_t frame_size(const struct chaos_pipe *t)
{
    return 4 + ((size_t)t->frame[0] << 24 | (size_t)t->frame[1] << 16 | (size_t)t->frame[2] << 8 |
                t->frame[3]);
}

static void reserve(struct chaos_pipe *t, size_t n)
{
    if (t->cap < n) {
        t->cap = n < 4096 ? 4096 : n;
        t->frame = realloc(t->frame, t->cap);
        if (!t->frame) {
            abort();
        }
    }
}

/* Without rules nothing is held back: what came so far of a frame goes on. A duplicate's second
 * answer and one that is to be lost must still be seen whole. */
static void pass_on(struct chaos_conn *k, enum chaos_dir dir)
{
    struct chaos_pipe *t = &k->pipe[dir];

    if (k->c->n_rules == 0 && dir == CHAOS_UP && t->passed < t->have) {
        chaos_queue(k, dir, t->frame + t->passed, t->have - t->passed);
        t->passed = t->have;
    }
}

static void turn_raw(struct chaos_conn *k, enum chaos_dir dir)
{
    struct chaos_pipe *t = &k->pipe[dir];

    chaos_queue(k, dir, t->frame + t->passed, t->have - t->passed);
    t->have = t->passed = 0;
    t->raw = true;
}

void chaos_input(struct chaos_conn *k, enum chaos_dir dir, const uint8_t *p, size_t n)
{
    struct chaos_pipe *t = &k->pipe[dir];

    k->c->bytes[dir] += n;
    while (n > 0 && k->cut == CHAOS_ANY && !t->raw) {
        reserve(t, 4);
        const size_t want = t->have < 4 ? 4 : frame_size(t);
        const size_t take = want - t->have < n ? want - t->have : n;

        reserve(t, want);
        memcpy(t->frame + t->have, p, take);
        t->have += take;
        p += take;
        n -= take;
        if (t->have == 4 && want == 4) {
            if (frame_size(t) > CHAOS_FRAME_MAX || frame_size(t) == 4) {
                turn_raw(k, dir);
            }
        } else if (t->have == want && want > 4) {
            whole_frame(k, dir);
            t->have = t->passed = 0;
        }
    }
    if (t->raw && k->cut == CHAOS_ANY) {
        chaos_queue(k, dir, p, n);
    } else if (k->cut == CHAOS_ANY) {
        pass_on(k, dir);
    }
}

void chaos_input_end(struct chaos_conn *k, enum chaos_dir dir)
{
    struct chaos_pipe *t = &k->pipe[dir];

    if (k->cut == CHAOS_ANY) {
        chaos_queue(k, dir, t->frame + t->passed, t->have - t->passed);
    }
    t->have = t->passed = 0;
    t->eof = true;
}
