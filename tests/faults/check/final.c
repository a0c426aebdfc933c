/*
 * The final read: is it there, do its two passes agree, is it without holes (A6).
 *
 * Happy path: per partition two ranges with the same end, and every offset in them.
 * What can fail: a pass that is absent or ends too early. Then the run is invalid, and nothing is
 * judged about that partition that needs its final read.
 */
#include "tests/faults/check/impl.h"

static void note_range(struct check *c, const struct hist_event *e)
{
    struct part *p = &c->parts[index_part(c, e->topic, e->partition)];
    if (e->extra < 1 || e->extra > PASSES || p->pass[e->extra - 1].e) {
        invalid(c, "the final read reads topic %u partition %d twice in a pass, or a third time",
                e->topic, e->partition);
        return;
    }
    p->pass[e->extra - 1].e = e;
}

/* True when the pass reaches the high watermark that it was told. */
static bool reaches_end(const struct check *c, const struct part *p, int pass)
{
    const struct range *r = &p->pass[pass];
    return r->e->offset >= p->hw ||
           (r->to > r->from && c->finals[pass][r->to - 1].offset >= p->hw - 1);
}

/* A log that begins later than it may excuses all losses below its start. */
static void judge_start(struct check *c, const struct part *p)
{
    for (int pass = 0; pass < PASSES; pass++) {
        const struct hist_event *e = p->pass[pass].e;
        if (e && e->offset > 0 && c->o.keeps_all) {
            const struct found v = {
                .what = CHECK_TRIMMED, .msg = NONE, .part = (uint32_t)(p - c->parts), .ev = {e}};
            report(c, &v, "the log begins at %lld, and nothing may have been deleted",
                   (long long)e->offset);
            return;
        }
    }
}

static void look_at(struct check *c, struct part *p)
{
    const struct hist_event *one = p->pass[0].e, *two = p->pass[1].e;
    judge_start(c, p);
    if (!one || !two) {
        if (p->used || one || two) {
            invalid(c, "no final read of topic %u partition %d%s", p->topic, p->partition,
                    one || two ? ": one pass only" : "");
        }
        return;
    }
    p->start = one->offset > two->offset ? one->offset : two->offset;
    p->hw = (int64_t)one->counter;
    if (one->counter != two->counter) {
        invalid(c, "topic %u partition %d changed during the final read: ends at %llu, then %llu",
                p->topic, p->partition, (unsigned long long)one->counter,
                (unsigned long long)two->counter);
        return;
    }
    p->complete = true;
    for (int pass = 0; pass < PASSES; pass++) {
        if (!reaches_end(c, p, pass)) {
            invalid(c, "pass %d of the final read does not reach the end of topic %u partition %d",
                    pass + 1, p->topic, p->partition);
            p->complete = false;
        }
    }
}

/* Every offset of [start, hw) is in one pass at least; what only one of them lacks is a skip. */
static void find_holes(struct check *c, uint32_t part)
{
    const struct part *p = &c->parts[part];
    uint32_t at[PASSES] = {p->pass[0].from, p->pass[1].from};
    int64_t want = p->start;
    while (want < p->hw) {
        const struct final *next = NULL;
        for (int pass = 0; pass < PASSES; pass++) {
            while (at[pass] < p->pass[pass].to && c->finals[pass][at[pass]].offset < want) {
                at[pass]++;
            }
            const struct final *f = at[pass] < p->pass[pass].to ? &c->finals[pass][at[pass]] : NULL;
            next = f && (!next || f->offset < next->offset) ? f : next;
        }
        const int64_t found = next && next->offset < p->hw ? next->offset : p->hw;
        if (found > want) {
            const struct found v = {.what = CHECK_HOLE,
                                    .msg = NONE,
                                    .part = part,
                                    .ev = {next ? next->e : p->pass[0].e, p->pass[0].e}};
            report(c, &v, "offsets %lld to %lld are not in the log, which goes from %lld to %lld",
                   (long long)want, (long long)found - 1, (long long)p->start,
                   (long long)p->hw - 1);
        }
        want = found + 1;
    }
}

void judge_final(struct check *c)
{
    for (size_t i = 0; i < c->n_files; i++) {
        const struct hist_file *h = &c->files[i].h;
        for (size_t k = 0; h->role == HIST_LAST_READER && k < h->n; k++) {
            if (h->events[k].kind == HIST_FINAL_RANGE && h->events[k].partition >= 0) {
                note_range(c, &h->events[k]);
            }
        }
    }
    for (uint32_t i = 0; i < c->n_parts; i++) {
        look_at(c, &c->parts[i]);
        if (c->parts[i].complete) {
            find_holes(c, i);
        }
    }
    for (size_t i = 0; i < c->n_seen; i++) {
        if (c->seen[i].e->kind == HIST_FINAL && c->seen[i].msg != NONE) {
            c->messages[c->seen[i].msg].in_final = true;
        }
    }
}
