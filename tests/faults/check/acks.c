/*
 * Acknowledgements among themselves: offsets that are used again (A6), and which written messages
 * a power cut may have taken.
 *
 * Happy path: a message sent after another was acknowledged has a greater offset in that partition.
 * A message at level `written` may be lost by the first power cut after it was sent, when the
 * broker had not served again before it was answered, and when nothing behind it that was
 * acknowledged before that cut survived.
 */
#include "tests/faults/check/impl.h"

#include <stdlib.h>

/* ---------------------------------------------------------------- power cuts */

/* A power cut, and when the broker served again. */
struct cut {
    int64_t at, again;
};

struct cuts {
    struct cut *v;
    size_t n;
};

static struct cuts find_cuts(const struct check *c)
{
    struct cuts r = {.v = check_alloc(c->n_director, sizeof(*r.v))};
    size_t open = 0;
    for (size_t i = 0; i < c->n_director; i++) {
        const struct hist_event *e = c->director[i];
        if (e->kind == HIST_CUT) {
            r.v[r.n++] = (struct cut){.at = e->at_ns, .again = INT64_MAX};
        } else if (e->kind == HIST_START) {
            for (; open < r.n; open++) {
                r.v[open].again = e->at_ns;
            }
        }
    }
    return r;
}

/* The first cut that may have taken m; NULL: none. Both times of the cuts rise. */
static const struct cut *cut_of(const struct cuts *cuts, const struct message *m)
{
    size_t lo = 0, hi = cuts->n;
    while (lo < hi) {
        const size_t mid = (lo + hi) / 2;
        if (cuts->v[mid].at < m->send->at_ns || cuts->v[mid].again < m->sent->at_ns) {
            lo = mid + 1;
        } else {
            hi = mid;
        }
    }
    return lo < cuts->n ? &cuts->v[lo] : NULL;
}

/* What was acknowledged and is there: by partition and time, with the greatest offset so far. */
static struct point *find_survivors(const struct check *c, size_t *n)
{
    struct point *s = check_alloc(c->n_messages, sizeof(*s));
    *n = 0;
    for (uint32_t i = 0; i < c->n_messages; i++) {
        const struct message *m = &c->messages[i];
        if (m->in_final && m->sent && m->sent->outcome == HIST_OK && m->sent->offset >= 0 &&
            m->part != NONE) {
            s[(*n)++] = (struct point){.part = m->part, .at = m->sent->at_ns, .e = m->sent};
        }
    }
    point_sort(s, *n);
    for (size_t i = 1; i < *n; i++) {
        if (s[i - 1].part == s[i].part && s[i - 1].e->offset > s[i].e->offset) {
            s[i].e = s[i - 1].e;
        }
    }
    return s;
}

/* True when something behind m was acknowledged before the cut and survived it. */
static bool later_survived(const struct point *s, size_t n, const struct message *m,
                           const struct cut *cut)
{
    size_t lo = 0, hi = n;
    while (lo < hi) {
        const size_t mid = (lo + hi) / 2;
        if (s[mid].part < m->part || (s[mid].part == m->part && s[mid].at < cut->at)) {
            lo = mid + 1;
        } else {
            hi = mid;
        }
    }
    return lo > 0 && s[lo - 1].part == m->part && s[lo - 1].e->offset > m->sent->offset;
}

static void excuse_written(struct check *c)
{
    size_t n = 0;
    const struct cuts cuts = find_cuts(c);
    struct point *survivors = find_survivors(c, &n);
    c->f.cuts = cuts.n;
    for (uint32_t i = 0; i < c->n_messages; i++) {
        struct message *m = &c->messages[i];
        if (m->send->extra != HIST_WRITTEN || !m->sent || m->sent->outcome != HIST_OK ||
            m->in_final || m->part == NONE ||
            (m->sent->offset >= 0 && m->sent->offset < c->parts[m->part].start)) {
            continue;
        }
        const struct cut *cut = cut_of(&cuts, m);
        m->no_cut = !cut;
        m->no_suffix = cut && later_survived(survivors, n, m, cut);
        m->excused = cut && !m->no_suffix;
    }
    free(cuts.v);
    free(survivors);
}

/* ---------------------------------------------------------------- offsets */

enum point_type { ASKED, ANSWERED };

static void reused(struct check *c, uint32_t msg, const struct hist_event *before)
{
    struct message *m = &c->messages[msg];
    const struct found v = {
        .what = CHECK_OFFSET_REUSED, .msg = msg, .part = m->part, .ev = {m->sent, before, m->send}};
    if (!m->reused) {
        m->reused = true;
        report(c, &v, "%u:%llu got offset %lld, and %u:%llu had been acknowledged at %lld",
               m->send->producer, (unsigned long long)m->send->counter, (long long)m->sent->offset,
               before->producer, (unsigned long long)before->counter, (long long)before->offset);
    }
}

/* In real time: what is sent later has a greater offset. */
static void judge_rising(struct check *c, struct point *p, size_t n)
{
    const struct hist_event **before = check_alloc(c->n_messages, sizeof(*before));
    const struct hist_event *top = NULL;
    point_sort(p, n);
    for (size_t i = 0; i < n; i++) {
        if (i == 0 || p[i].part != p[i - 1].part) {
            top = NULL;
        }
        if (p[i].type == ASKED) {
            before[p[i].index] = top;
            continue;
        }
        const struct hist_event *b = before[p[i].index];
        if (b && p[i].e->offset <= b->offset) {
            reused(c, p[i].index, b);
        }
        if (!top || p[i].e->offset > top->offset) {
            top = p[i].e;
        }
    }
    free(before);
}

/* Whatever the time: two messages have two offsets. Sorts by offset in place of time. */
static void judge_twice(struct check *c, struct point *p, size_t n)
{
    size_t answers = 0;
    for (size_t i = 0; i < n; i++) {
        if (p[i].type == ANSWERED) {
            p[answers] = p[i];
            p[answers++].at = p[i].e->offset;
        }
    }
    point_sort(p, answers);
    for (size_t i = 1; i < answers; i++) {
        if (p[i].part == p[i - 1].part && p[i].at == p[i - 1].at &&
            !c->messages[p[i - 1].index].reused) {
            reused(c, p[i].index, p[i - 1].e);
        }
    }
}

void judge_acks(struct check *c)
{
    struct point *p = check_alloc((size_t)c->n_messages * 2, sizeof(*p));
    size_t n = 0;
    excuse_written(c);
    for (uint32_t i = 0; i < c->n_messages; i++) {
        const struct message *m = &c->messages[i];
        if (!m->sent || m->sent->outcome != HIST_OK || m->sent->offset < 0 || m->part == NONE ||
            m->excused || m->send->generation) {
            continue;
        }
        const struct point asked = {
            .part = m->part, .at = m->send->at_ns, .index = i, .type = ASKED, .e = m->send};
        p[n++] = asked;
        p[n++] = (struct point){
            .part = m->part, .at = m->sent->at_ns, .index = i, .type = ANSWERED, .e = m->sent};
    }
    judge_rising(c, p, n);
    judge_twice(c, p, n);
    free(p);
}
