/*
 * What was sent against what was seen: lost (A1), duplicated (A2), out of order (A3), phantoms
 * (A4), two values at one offset and answers that name the wrong place (A5).
 *
 * Happy path: one walk over all observations by place, which notes where each message is; one over
 * all messages by producer and counter.
 */
#include "tests/faults/check/impl.h"

#include <stdlib.h>

static const int64_t delay_patience_ns = INT64_C(10000000000);

static bool is_delayed(const struct message *m)
{
    return m->send->generation != 0;
}

static bool is_ok(const struct message *m)
{
    return m->sent && m->sent->outcome == HIST_OK;
}

/* ---------------------------------------------------------------- what was seen */

/* A value that nobody may have seen there. */
static void judge_value(struct check *c, const struct seen *s)
{
    struct found v = {.msg = s->msg, .part = s->part, .ev = {s->e}};
    if (s->e->flags & HIST_BAD_VALUE) {
        v.what = CHECK_DAMAGED;
        report(c, &v, "a value that is damaged, foreign, or of another topic");
    } else if (s->msg == NONE) {
        v.what = CHECK_NEVER_SENT;
        report(c, &v, "%u:%llu was never sent", s->e->producer, (unsigned long long)s->e->counter);
    }
}

/* What its first place says about a message. */
static void judge_first_place(struct check *c, const struct seen *s, const struct message *m)
{
    struct found v = {.msg = s->msg, .part = s->part, .ev = {s->e, m->send, m->sent}};
    if (m->sent && m->sent->outcome == HIST_FAIL) {
        v.what = CHECK_FAILED_SEEN;
        report(c, &v, "%u:%llu was answered as not done, and is there", s->e->producer,
               (unsigned long long)s->e->counter);
    }
}

/* The broker counts whole milliseconds, of a clock that may be corrected by a thousandth. */
static int64_t slack_of(const struct message *m)
{
    return 2000000 + ((int64_t)m->send->generation - m->send->at_ns) / 1000;
}

static void judge_place(struct check *c, const struct seen *s)
{
    struct message *m = &c->messages[s->msg];
    struct found v = {.msg = s->msg, .part = s->part, .ev = {s->e, m->send}};
    const int64_t due = (int64_t)m->send->generation;
    if (s->at < m->send->at_ns && !m->early) {
        m->early = true;
        v.what = CHECK_NEVER_SENT;
        report(c, &v, "%u:%llu was seen before it was sent", s->e->producer,
               (unsigned long long)s->e->counter);
    } else if (due && s->at + slack_of(m) < due && !m->early) {
        m->early = true;
        v.what = CHECK_EARLY;
        report(c, &v, "%u:%llu was seen %lld ms before its time", s->e->producer,
               (unsigned long long)s->e->counter, (long long)(due - s->at) / 1000000);
    }
    if (!m->seen) {
        m->seen = s->e;
        m->seen_part = s->part;
        judge_first_place(c, s, m);
    } else if ((m->seen_part != s->part || m->seen->offset != s->offset) && !m->twice) {
        m->twice = true;
        v.what = CHECK_DUPLICATE;
        v.ev[1] = m->seen;
        report(c, &v, "%u:%llu is at partition %d offset %lld and at partition %d offset %lld",
               s->e->producer, (unsigned long long)s->e->counter, m->seen->partition,
               (long long)m->seen->offset, s->e->partition, (long long)s->offset);
    }
}

/* All observations, place by place. */
static void judge_seen(struct check *c)
{
    size_t next = 0;
    for (size_t from = 0; from < c->n_seen; from = next) {
        const struct seen *first = &c->seen[from], *known = NULL;
        bool two = false, bad = false;
        for (next = from; next < c->n_seen && c->seen[next].part == first->part &&
                          c->seen[next].offset == first->offset;
             next++) {
            const struct seen *s = &c->seen[next];
            if (s->msg == NONE) {
                if (!bad) {
                    judge_value(c, s);
                }
                bad = true;
                continue;
            }
            judge_place(c, s);
            if (known && known->msg != s->msg && !two) {
                const struct found v = {.what = CHECK_TWO_VALUES,
                                        .msg = s->msg,
                                        .part = s->part,
                                        .ev = {s->e, known->e}};
                two = true;
                report(c, &v, "offset %lld showed %u:%llu and then %u:%llu", (long long)s->offset,
                       known->e->producer, (unsigned long long)known->e->counter, s->e->producer,
                       (unsigned long long)s->e->counter);
            }
            known = s;
        }
    }
}

/* ---------------------------------------------------------------- what was answered */

/* Somebody saw a message at this place; NULL: nobody. */
static const struct seen *seen_at(const struct check *c, uint32_t part, int64_t offset)
{
    size_t lo = 0, hi = c->n_seen;
    while (lo < hi) {
        const size_t mid = lo + (hi - lo) / 2;
        const struct seen *s = &c->seen[mid];
        if (s->part < part || (s->part == part && s->offset < offset)) {
            lo = mid + 1;
        } else {
            hi = mid;
        }
    }
    for (; lo < c->n_seen && c->seen[lo].part == part && c->seen[lo].offset == offset; lo++) {
        if (c->seen[lo].msg != NONE) {
            return &c->seen[lo];
        }
    }
    return NULL;
}

/* Below the start of the log nothing need be there, but not another message either. */
static void judge_below(struct check *c, uint32_t i)
{
    const struct message *m = &c->messages[i];
    if (!is_ok(m) || m->seen || m->part == NONE || m->excused || is_delayed(m) ||
        m->sent->offset < 0 || m->sent->offset >= c->parts[m->part].start) {
        return;
    }
    const struct seen *s = seen_at(c, m->part, m->sent->offset);
    if (s && !c->messages[s->msg].twice) {
        const struct found v = {
            .what = CHECK_TWO_VALUES, .msg = i, .part = m->part, .ev = {s->e, m->sent}};
        report(c, &v, "%u:%llu was acknowledged at offset %lld, which showed %u:%llu",
               m->send->producer, (unsigned long long)m->send->counter, (long long)m->sent->offset,
               s->e->producer, (unsigned long long)s->e->counter);
    }
}

/* The answer names a place; is it there? */
static void judge_answer(struct check *c, uint32_t i)
{
    const struct message *m = &c->messages[i];
    const bool told = is_ok(m) && m->sent->offset >= 0;
    struct found v = {.msg = i, .part = m->seen_part, .ev = {m->seen, m->sent, m->send}};
    if (m->twice || !m->seen || m->part == NONE ||
        (m->part == m->seen_part && (!told || m->sent->offset == m->seen->offset))) {
        return;
    }
    if (told && m->sent->flags & HIST_DUPLICATE) {
        v.what = CHECK_DUP_ANSWER;
        report(c, &v,
               "%u:%llu was answered as a duplicate of partition %d offset %lld, and is at "
               "partition %d offset %lld",
               m->send->producer, (unsigned long long)m->send->counter, m->sent->partition,
               (long long)m->sent->offset, m->seen->partition, (long long)m->seen->offset);
    } else {
        const struct hist_event *a = told ? m->sent : m->send;
        v.what = CHECK_MISPLACED;
        report(c, &v,
               "%u:%llu should be at partition %d offset %lld, and is at partition %d "
               "offset %lld",
               m->send->producer, (unsigned long long)m->send->counter, a->partition,
               (long long)a->offset, m->seen->partition, (long long)m->seen->offset);
    }
}

/* True when the final read must show it. */
static bool must_be_there(const struct check *c, const struct message *m)
{
    if (!is_ok(m) || m->in_final || m->part == NONE) {
        return false;
    }
    const struct part *p = &c->parts[m->part];
    if (!p->complete || (m->seen && m->seen->offset < p->start)) {
        return false;
    }
    if (is_delayed(m)) {
        return p->start == 0 &&
               (int64_t)m->send->generation + delay_patience_ns < p->pass[0].e->at_ns;
    }
    return m->sent->offset < 0 ? p->start == 0 : m->sent->offset >= p->start;
}

static void judge_loss(struct check *c, uint32_t i)
{
    const struct message *m = &c->messages[i];
    struct found v = {.what = CHECK_LOST, .msg = i, .part = m->part, .ev = {m->sent, m->send}};
    const char *text = "and is not in the final read";
    if (!must_be_there(c, m)) {
        return;
    }
    if (m->excused) {
        c->f.written_lost++;
        return;
    }
    if (m->no_cut) {
        v.what = CHECK_LOST_WRITTEN;
        text = "and is lost without a power cut";
    } else if (m->no_suffix) {
        v.what = CHECK_LOST_HOLE;
        text = "and is lost, while later ones of before the power cut are there";
    }
    report(c, &v, "%u:%llu was acknowledged at partition %d offset %lld, %s", m->send->producer,
           (unsigned long long)m->send->counter, m->sent->partition, (long long)m->sent->offset,
           text);
}

static void count_message(struct check *c, const struct message *m)
{
    struct check_figures *f = &c->f;
    f->sent++;
    f->written += m->send->extra == HIST_WRITTEN;
    if (is_ok(m)) {
        f->ok++;
        f->duplicate_answers += (m->sent->flags & HIST_DUPLICATE) != 0;
    } else if (m->sent && m->sent->outcome == HIST_FAIL) {
        f->fail++;
    } else {
        f->unknown++;
        f->unknown_seen += m->seen != NULL;
    }
    f->in_final += m->in_final;
}

/* ---------------------------------------------------------------- order */

struct place {
    uint32_t producer; /* whose the rest is */
    uint32_t msg;
    int64_t offset;
};

/* Where it is; -1: not known, or no order is promised. */
static int64_t place_of(const struct message *m, uint32_t *part)
{
    if (is_delayed(m) || m->excused) {
        return -1;
    }
    if (m->seen) {
        *part = m->seen_part;
        return m->seen->offset;
    }
    *part = m->part;
    return is_ok(m) && !m->no_cut && !m->no_suffix && m->part != NONE ? m->sent->offset : -1;
}

static void judge_order(struct check *c)
{
    struct place *last = check_alloc(c->n_parts, sizeof(*last));
    for (uint32_t i = 0; i < c->n_messages; i++) {
        const struct message *m = &c->messages[i];
        uint32_t part = NONE;
        const int64_t offset = place_of(m, &part);
        if (offset < 0) {
            continue;
        }
        struct place *l = &last[part];
        /* A message that is lost is a finding of its own. */
        const bool here = m->seen || offset < c->parts[part].start || !c->parts[part].complete;
        if (!here) {
            continue;
        }
        if (l->offset > offset && l->producer == m->send->producer + 1) {
            const struct message *before = &c->messages[l->msg];
            const struct found v = {
                .what = CHECK_REORDER,
                .msg = i,
                .part = part,
                .ev = {m->seen ? m->seen : m->sent, before->seen ? before->seen : before->sent}};
            report(c, &v, "%u:%llu is at offset %lld, before %llu of the same producer at %lld",
                   m->send->producer, (unsigned long long)m->send->counter, (long long)offset,
                   (unsigned long long)before->send->counter, (long long)l->offset);
        }
        *l = (struct place){.producer = m->send->producer + 1, .msg = i, .offset = offset};
    }
    free(last);
}

void judge_produce(struct check *c)
{
    judge_seen(c);
    for (uint32_t i = 0; i < c->n_messages; i++) {
        count_message(c, &c->messages[i]);
        judge_answer(c, i);
        judge_below(c, i);
        judge_loss(c, i);
    }
    judge_order(c);
}
