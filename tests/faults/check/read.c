/*
 * What readers were shown (A9): nothing skipped, nothing again, no high watermark that goes back,
 * nothing that was seen and is gone.
 *
 * Happy path: each reader is followed in the order of its own history, per subscription and
 * partition; watermarks are taken in real time; places seen are compared with the final read.
 */
#include "tests/faults/check/impl.h"

#include <stdlib.h>

/* Where a reader stands in a partition. */
struct stand {
    uint32_t stamp; /* subscription + 1; 0 = never */
    int64_t next;
    const struct hist_event *last;
};

/* A reader got e and stood at s. */
static void follow(struct check *c, const struct hist_event *e, uint32_t part, struct stand *s,
                   uint32_t stamp)
{
    struct found v = {.msg = NONE, .part = part, .ev = {e, s->last}};
    int64_t at = 0;
    if (s->stamp == stamp && e->offset < s->next) {
        v.what = CHECK_READ_BACK;
        report(c, &v, "got offset %lld when %lld was next", (long long)e->offset,
               (long long)s->next);
    } else if (s->stamp == stamp) {
        v.what = index_jump(c, part, s->next, e->offset, &at);
        if (v.what != CHECK_ANOMALIES) {
            report(c, &v, "got offset %lld when %lld was next%s%lld", (long long)e->offset,
                   (long long)s->next,
                   v.what == CHECK_READ_SKIP ? ", and there is " : "; the log begins at ",
                   (long long)at);
        }
    }
    *s = (struct stand){.stamp = stamp, .next = e->offset + 1, .last = e};
}

static void follow_readers(struct check *c)
{
    struct stand *reads = check_alloc(c->n_parts, sizeof(*reads));
    struct stand *finals = check_alloc(c->n_parts, sizeof(*finals));
    uint32_t stamp = 0;
    for (size_t i = 0; i < c->n_files; i++) {
        const struct hist_file *h = &c->files[i].h;
        uint32_t number = 0, earliest = 0;
        stamp++;
        for (size_t k = 0; k < h->n; k++) {
            const struct hist_event *e = &h->events[k];
            const uint32_t part = index_part(c, e->topic, e->partition);
            if (e->kind == HIST_READ) {
                stamp += e->extra != number;
                number = e->extra;
                if (number == earliest && reads[part].stamp != stamp && c->parts[part].complete) {
                    /* It began at the start of the log, which was not behind the present one. */
                    const int64_t start = c->parts[part].start;
                    reads[part] = (struct stand){
                        .stamp = stamp, .next = e->offset < start ? e->offset : start, .last = e};
                }
                follow(c, e, part, &reads[part], stamp);
                c->f.read++;
            } else if (e->kind == HIST_FINAL_RANGE && part != NONE) {
                finals[part] = (struct stand){.stamp = e->extra, .next = e->offset, .last = e};
            } else if (e->kind == HIST_FINAL) {
                follow(c, e, part, &finals[part], e->extra);
            } else if (e->kind == HIST_JOIN && h->role == HIST_READER) {
                earliest = e->extra;
            } else if (e->kind == HIST_JOIN) {
                c->f.joins++;
            }
        }
    }
    free(reads);
    free(finals);
}

/* ---------------------------------------------------------------- high watermarks */

enum point_type { ASKED, ANSWERED, SHOWN };

/* A watermark is asked for and told. The final read asks when it begins. */
static void add_watermark(struct point *p, size_t *n, const struct hist_event *e, uint32_t part,
                          int64_t asked)
{
    p[*n] = (struct point){.part = part, .at = asked, .type = ASKED, .e = e};
    p[*n].index = (uint32_t)(*n / 2);
    p[*n + 1] = (struct point){.part = part, .at = e->at_ns, .type = ANSWERED, .e = e};
    p[*n + 1].index = (uint32_t)(*n / 2);
    *n += 2;
}

/* When the client began; that event is not among `events`. */
static int64_t begin_of(const struct hist_file *h)
{
    return h->events[-1].at_ns;
}

static bool is_seen(const struct hist_event *e)
{
    return e->kind == HIST_READ || e->kind == HIST_DELIVERED || e->kind == HIST_FINAL;
}

static int64_t told(const struct hist_event *e)
{
    if (e->kind == HIST_FINAL_RANGE) {
        return (int64_t)e->counter;
    }
    return e->kind == HIST_HW ? e->offset : e->offset + 1; /* shown, or acknowledged as durable */
}

static void judge_points(struct check *c, struct point *p, size_t n, size_t questions)
{
    const struct hist_event **before = check_alloc(questions, sizeof(*before));
    /* the greatest that was told; and with what was shown: the final read has findings of its own
     */
    const struct hist_event *top = NULL, *any = NULL;
    point_sort(p, n);
    for (size_t i = 0; i < n; i++) {
        if (i == 0 || p[i].part != p[i - 1].part) {
            top = any = NULL;
        }
        if (p[i].type == ASKED) {
            before[p[i].index] = p[i].e->kind == HIST_HW ? any : top;
            continue;
        }
        const struct hist_event *b = p[i].type == ANSWERED ? before[p[i].index] : NULL;
        if (b && told(p[i].e) < told(b)) {
            const struct found v = {
                .what = CHECK_HW_BACK, .msg = NONE, .part = p[i].part, .ev = {p[i].e, b}};
            report(c, &v, "a high watermark of %lld, after %s %lld had been %s",
                   (long long)told(p[i].e),
                   b->kind == HIST_SENT || is_seen(b) ? "offset" : "one of",
                   (long long)(is_seen(b) || b->kind == HIST_SENT ? b->offset : told(b)),
                   is_seen(b)             ? "shown"
                   : b->kind == HIST_SENT ? "acknowledged as durable"
                                          : "told");
        }
        any = !any || told(p[i].e) > told(any) ? p[i].e : any;
        if (p[i].type == ANSWERED && (!top || told(p[i].e) > told(top))) {
            top = p[i].e;
        }
    }
    free(before);
}

/* What was shown or acknowledged as durable lies below the watermark from then on. */
static void add_shown(const struct check *c, struct point *p, size_t *n)
{
    for (size_t i = 0; i < c->n_seen; i++) {
        const struct seen *s = &c->seen[i];
        p[(*n)++] = (struct point){.part = s->part, .at = s->at, .type = SHOWN, .e = s->e};
    }
    for (uint32_t i = 0; i < c->n_messages; i++) {
        const struct message *m = &c->messages[i];
        if (m->sent && m->sent->outcome == HIST_OK && m->sent->offset >= 0 && m->part != NONE &&
            m->send->extra == HIST_DURABLE && m->send->generation == 0) {
            p[(*n)++] =
                (struct point){.part = m->part, .at = m->sent->at_ns, .type = SHOWN, .e = m->sent};
        }
    }
}

static void judge_watermarks(struct check *c)
{
    size_t n = 0, room = 0;
    for (int fill = 0; fill < 2; fill++) {
        struct point *p =
            fill ? check_alloc(room * 2 + c->n_seen + c->n_messages, sizeof(*p)) : NULL;
        for (size_t i = 0; i < c->n_files; i++) {
            const struct hist_file *h = &c->files[i].h;
            for (size_t k = 0; k < h->n; k++) {
                const struct hist_event *e = &h->events[k];
                const bool range = e->kind == HIST_FINAL_RANGE;
                const uint32_t part = index_part(c, e->topic, e->partition);
                if ((e->kind != HIST_HW && !range) || part == NONE) {
                    continue;
                }
                room += !fill;
                if (fill) {
                    add_watermark(p, &n, e, part, range ? begin_of(h) : (int64_t)e->counter);
                    c->f.watermarks += !range;
                }
            }
        }
        if (fill) {
            add_shown(c, p, &n);
            judge_points(c, p, n, room);
        }
        free(p);
    }
}

/* ---------------------------------------------------------------- seen and gone */

/* One place: somebody saw a message there; the final read must show one. */
static void judge_place(struct check *c, const struct seen *s, size_t n)
{
    const struct part *p = &c->parts[s->part];
    const struct seen *early = NULL;
    for (size_t i = 0; i < n; i++) {
        if (s[i].e->kind == HIST_FINAL) {
            return;
        }
        early = early ? early : &s[i];
    }
    if (!p->complete || s->offset < p->start) {
        return;
    }
    const struct found v = {
        .what = CHECK_SEEN_LOST, .msg = early->msg, .part = s->part, .ev = {early->e}};
    report(c, &v, "offset %lld was read, and the log is %lld to %lld without it",
           (long long)s->offset, (long long)p->start, (long long)p->hw - 1);
}

void judge_read(struct check *c)
{
    size_t next = 0;
    follow_readers(c);
    judge_watermarks(c);
    for (size_t from = 0; from < c->n_seen; from = next) {
        const struct seen *s = &c->seen[from];
        for (next = from + 1;
             next < c->n_seen && c->seen[next].part == s->part && c->seen[next].offset == s->offset;
             next++) {
        }
        judge_place(c, s, next - from);
    }
}
