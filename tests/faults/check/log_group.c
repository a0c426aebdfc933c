/*
 * Groups in log mode: who owns a partition, what commits are accepted (A7), where positions stand
 * (A8), and what a member gets between gaining and losing a partition (A9).
 *
 * Happy path: each member is followed in the order of its own history; then all that concerns one
 * group and partition is walked in the order of time. A question remembers what was known when it
 * was asked; its answer is judged by that.
 * Why generations may be compared: a member tells the generation it was last told, and owns what it
 * was told then; so an owner before it has a smaller one, an owner after it a greater one.
 */
#include "tests/faults/check/impl.h"

#include <stdlib.h>
#include <string.h>

/* ---------------------------------------------------------------- members, one by one */

/* A member's partition. */
struct span {
    uint32_t stamp; /* of the membership; else it does not hold it */
    int64_t next;
    const struct hist_event *last;
};

static void delivered(struct check *c, const struct hist_event *e, uint32_t part, struct span *s,
                      uint32_t stamp)
{
    struct found v = {.msg = NONE, .part = part, .ev = {e, s->last}};
    int64_t at = 0;
    if (s->stamp != stamp) {
        v.what = CHECK_UNOWNED;
        report(c, &v,
               "group %u: offset %lld was handed to a member that does not hold the partition",
               e->group, (long long)e->offset);
        return;
    }
    if (e->offset < s->next) {
        v.what = CHECK_READ_BACK;
        report(c, &v, "group %u: a member got offset %lld when %lld was next", e->group,
               (long long)e->offset, (long long)s->next);
    } else if ((v.what = index_jump(c, part, s->next, e->offset, &at)) != CHECK_ANOMALIES) {
        report(c, &v, "group %u: a member got offset %lld when %lld was next%s%lld", e->group,
               (long long)e->offset, (long long)s->next,
               v.what == CHECK_READ_SKIP ? ", and there is " : "; the log begins at ",
               (long long)at);
    }
    s->next = e->offset + 1;
    s->last = e;
}

static void follow_members(struct check *c)
{
    struct span *spans = check_alloc(c->n_parts, sizeof(*spans));
    uint32_t stamp = 0;
    for (size_t i = 0; i < c->n_files; i++) {
        const struct hist_file *h = &c->files[i].h;
        stamp++;
        for (size_t k = 0; h->role == HIST_MEMBER && k < h->n; k++) {
            const struct hist_event *e = &h->events[k];
            const uint32_t part = index_part(c, e->topic, e->partition);
            if (e->kind == HIST_JOIN || e->kind == HIST_LEFT) {
                stamp++;
            } else if (e->kind == HIST_GAINED && part != NONE) {
                spans[part] = (struct span){.stamp = stamp, .next = e->offset, .last = e};
                c->f.gained++;
            } else if (e->kind == HIST_LOST && part != NONE) {
                spans[part] = (struct span){.last = e};
            } else if (e->kind == HIST_DELIVERED) {
                delivered(c, e, part, &spans[part], stamp);
            }
        }
    }
    free(spans);
}

/* ---------------------------------------------------------------- all that concerns a partition */

/* At the same time, questions go before answers. */
enum point_type {
    ASKED_COMMIT,
    ASKED_POSITION,
    ASKED_SEEK,
    GAINED,
    TOLD_COMMIT,
    TOLD_POSITION,
    TOLD_SEEK
};

/* What was known when a question was asked. */
struct known {
    const struct hist_event *gained; /* the greatest generation that had got the partition */
    const struct hist_event *floor;  /* the greatest position committed or told */
    const struct hist_event *commit; /* the greatest position committed */
    uint32_t seeks;
    bool seeking;
};

/* The walk through one group and partition. */
struct walk {
    struct known now;
    struct known *at; /* by index of the question */
    /* the greatest commit, and the greatest of generations below that of `commit_top` */
    const struct hist_event *top, *below;
    const struct hist_event *asked; /* the greatest commit that was asked for */
    uint32_t open;                  /* seeks that are under way */
    int64_t seek_end;
};

static uint64_t generation_of(const struct hist_event *ask, const struct hist_event *answer)
{
    return ask->generation > answer->generation ? ask->generation : answer->generation;
}

/* A position goes forward only as far as somebody asked: what lies between would be handed to
 * nobody again, also when whoever had got it died over it. */
static void judge_ahead(struct check *c, const struct point *p, const struct walk *w)
{
    const struct part *part = &c->parts[p->part];
    const int64_t asked = w->asked ? w->asked->offset : 0;
    if (part->complete && w->now.seeks == 0 && p->e->offset > asked && p->e->offset > part->start) {
        const struct found v = {
            .what = CHECK_POSITION_AHEAD, .msg = NONE, .part = p->part, .ev = {p->e, w->asked}};
        report(c, &v, "group %u: position %lld, and nobody had asked for more than %lld",
               p->e->group, (long long)p->e->offset, (long long)asked);
    }
}

static void judge_gained(struct check *c, const struct point *p, struct walk *w)
{
    const struct hist_event *e = p->e;
    const struct hist_event *b = NULL;
    if (w->top && w->top->generation < e->generation) {
        b = w->top;
    } else if (w->below && w->below->generation < e->generation) {
        b = w->below;
    }
    if (b && w->open == 0 && e->offset < b->offset) {
        const struct found v = {
            .what = CHECK_GAINED_BACK, .msg = NONE, .part = p->part, .ev = {e, b}};
        report(c, &v, "group %u: generation %llu begins at %lld, and %lld was committed before",
               e->group, (unsigned long long)e->generation, (long long)e->offset,
               (long long)b->offset);
    }
    if (!w->now.gained || e->generation > w->now.gained->generation) {
        w->now.gained = e;
    }
}

/* Remembers a commit: the greatest, and the greatest of older generations than that one's. */
static void note_commit(struct walk *w, const struct hist_event *e)
{
    if (!w->top || e->generation > w->top->generation) {
        if (w->top && (!w->below || w->top->offset > w->below->offset)) {
            w->below = w->top;
        }
        w->top = e;
    } else if (e->generation == w->top->generation && e->offset > w->top->offset) {
        w->top = e;
    } else if (e->generation < w->top->generation && (!w->below || e->offset > w->below->offset)) {
        w->below = e;
    }
    if (!w->now.commit || e->offset > w->now.commit->offset) {
        w->now.commit = e;
    }
    if (!w->now.floor || e->offset > w->now.floor->offset) {
        w->now.floor = e;
    }
}

static void judge_past(struct check *c, const struct point *p)
{
    const struct part *part = &c->parts[p->part];
    if (part->complete && p->e->offset > part->hw) {
        const struct found v = {.what = CHECK_POSITION_PAST,
                                .msg = NONE,
                                .part = p->part,
                                .ev = {p->e, part->pass[0].e}};
        report(c, &v, "group %u: position %lld, and the log ends at %lld", p->e->group,
               (long long)p->e->offset, (long long)part->hw);
    }
}

static void judge_commit(struct check *c, const struct point *p, struct walk *w)
{
    const struct ask *a = &c->asks[p->index];
    const struct known *k = &w->at[p->index];
    struct found v = {.msg = NONE, .part = p->part, .ev = {a->answer, NULL, a->ask}};
    if (k->gained && k->gained->generation > generation_of(a->ask, a->answer)) {
        v.what = CHECK_STALE_COMMIT;
        v.ev[1] = k->gained;
        report(c, &v,
               "group %u: a commit of generation %llu was accepted, and generation %llu had "
               "the partition when it was asked",
               p->e->group, (unsigned long long)generation_of(a->ask, a->answer),
               (unsigned long long)k->gained->generation);
    }
    judge_past(c, p);
    if (w->open || k->seeking || k->seeks != w->now.seeks) {
        return; /* a seek went on meanwhile: no telling which was first */
    }
    if (k->commit && a->answer->offset < k->commit->offset) {
        v.what = CHECK_COMMIT_BACK;
        v.ev[1] = k->commit;
        report(c, &v, "group %u: a commit to %lld was accepted, and %lld had been committed",
               p->e->group, (long long)a->answer->offset, (long long)k->commit->offset);
    }
    note_commit(w, a->answer);
}

static void judge_position(struct check *c, const struct point *p, struct walk *w, bool log_mode)
{
    const struct known *k = &w->at[p->index];
    const struct hist_event *e = p->e;
    judge_past(c, p);
    if (w->open || k->seeking || k->seeks != w->now.seeks) {
        return;
    }
    if (k->floor && e->offset < k->floor->offset) {
        const struct found v = {
            .what = CHECK_POSITION_BACK, .msg = NONE, .part = p->part, .ev = {e, k->floor}};
        report(c, &v, "group %u: position %lld was told, and %lld had been %s", e->group,
               (long long)e->offset, (long long)k->floor->offset,
               k->floor->kind == HIST_POSITION ? "told" : "committed");
    }
    if (log_mode && (!w->now.floor || e->offset > w->now.floor->offset)) {
        w->now.floor = e;
    }
}

/* A seek begins or ends: what was committed before binds nobody. */
static void seek(struct walk *w, const struct point *p)
{
    if (p->type == ASKED_SEEK) {
        w->open++;
        w->now.seeks++;
    } else {
        w->open--;
    }
    w->now.floor = w->now.commit = w->top = w->below = NULL;
}

static void step(struct check *c, const struct point *p, struct walk *w, bool log_mode)
{
    switch ((enum point_type)p->type) {
    case ASKED_COMMIT:
        if (!w->asked || p->e->offset > w->asked->offset) {
            w->asked = p->e;
        }
        w->at[p->index] = w->now;
        w->at[p->index].seeking = w->open > 0;
        break;
    case ASKED_POSITION:
        w->at[p->index] = w->now;
        w->at[p->index].seeking = w->open > 0;
        break;
    case ASKED_SEEK:
    case TOLD_SEEK:
        seek(w, p);
        break;
    case GAINED:
        judge_gained(c, p, w);
        judge_ahead(c, p, w);
        break;
    case TOLD_COMMIT:
        judge_commit(c, p, w);
        break;
    case TOLD_POSITION:
        judge_position(c, p, w, log_mode);
        if (log_mode) {
            judge_ahead(c, p, w);
        }
        break;
    default:
        break;
    }
}

/* ---------------------------------------------------------------- gathering the points */

struct points {
    struct point *p;
    size_t n, room;
};

static void add(struct points *to, struct point p)
{
    if (to->n == to->room) {
        const size_t room = to->room * 2 + 1024;
        struct point *more = check_alloc(room, sizeof(*more));
        if (to->p) {
            memcpy(more, to->p, to->n * sizeof(*more));
        }
        free(to->p);
        to->p = more;
        to->room = room;
    }
    to->p[to->n++] = p;
}

/* A seek of one partition, or of all of a topic, or of all. */
static void add_seek(const struct check *c, struct points *to, const struct ask *a, uint32_t index)
{
    for (uint32_t part = 0; part < c->n_parts; part++) {
        const struct hist_event *e = a->ask;
        if ((e->partition >= 0 && c->parts[part].partition != e->partition) ||
            (e->topic && c->parts[part].topic != e->topic)) {
            continue;
        }
        add(to, (struct point){.group = e->group,
                               .part = part,
                               .at = e->at_ns,
                               .index = index,
                               .type = ASKED_SEEK,
                               .e = e});
        if (a->answer && a->answer->outcome == HIST_OK) {
            add(to, (struct point){.group = e->group,
                                   .part = part,
                                   .at = a->answer->at_ns,
                                   .index = index,
                                   .type = TOLD_SEEK,
                                   .e = a->answer});
        }
    }
}

static void add_commit(const struct check *c, struct points *to, const struct ask *a,
                       uint32_t index)
{
    const uint32_t part = index_part(c, a->ask->topic, a->ask->partition);
    if (part == NONE) {
        return;
    }
    struct point p = {.group = a->ask->group,
                      .part = part,
                      .at = a->ask->at_ns,
                      .index = index,
                      .type = ASKED_COMMIT,
                      .e = a->ask};
    add(to, p);
    if (!a->answer || a->answer->outcome != HIST_OK) {
        return; /* it may have happened: a position may go as far */
    }
    p.at = a->answer->at_ns;
    p.type = TOLD_COMMIT;
    p.e = a->answer;
    add(to, p);
}

/* Questions without an event of their own are numbered behind those that have one. */
static void add_others(struct check *c, struct points *to, uint32_t *questions)
{
    for (size_t i = 0; i < c->n_files; i++) {
        const struct hist_file *h = &c->files[i].h;
        for (size_t k = 0; k < h->n; k++) {
            const struct hist_event *e = &h->events[k];
            const uint32_t part = index_part(c, e->topic, e->partition);
            struct point p = {.group = e->group, .part = part, .at = e->at_ns, .e = e};
            if (e->kind == HIST_GAINED && part != NONE) {
                p.type = GAINED;
                add(to, p);
            } else if (e->kind == HIST_POSITION && part != NONE) {
                c->f.positions++;
                p.type = TOLD_POSITION;
                p.index = (*questions)++;
                add(to, p);
                p.type = ASKED_POSITION;
                p.at = (int64_t)e->counter;
                add(to, p);
            }
        }
    }
}

static bool is_log_mode(const struct check *c, uint32_t group)
{
    for (size_t i = 0; i < c->n_files; i++) {
        const struct hist_file *h = &c->files[i].h;
        if (h->role == HIST_MEMBER && h->n && h->events[0].group == group) {
            return true;
        }
    }
    return false;
}

/* ---------------------------------------------------------------- two owners */

static int by_generation(const void *a, const void *b)
{
    const struct point *x = a, *y = b;
    if (x->group != y->group) {
        return x->group < y->group ? -1 : 1;
    }
    if (x->part != y->part) {
        return x->part < y->part ? -1 : 1;
    }
    return (x->e->generation > y->e->generation) - (x->e->generation < y->e->generation);
}

/* One generation of a partition has one owner. */
static void judge_owners(struct check *c, const struct points *all)
{
    struct point *p = check_alloc(all->n, sizeof(*p));
    size_t n = 0;
    for (size_t i = 0; i < all->n; i++) {
        if (all->p[i].type == GAINED) {
            p[n++] = all->p[i];
        }
    }
    qsort(p, n, sizeof(*p), by_generation);
    for (size_t i = 1; i < n; i++) {
        if (by_generation(&p[i - 1], &p[i]) == 0 && p[i].e->generation &&
            index_file(c, p[i].e) != index_file(c, p[i - 1].e)) {
            const struct found v = {.what = CHECK_DOUBLE_OWNER,
                                    .msg = NONE,
                                    .part = p[i].part,
                                    .ev = {p[i].e, p[i - 1].e}};
            report(c, &v, "group %u: two members got the partition in generation %llu",
                   p[i].e->group, (unsigned long long)p[i].e->generation);
        }
    }
    free(p);
}

/* ---------------------------------------------------------------- generations */

enum { JOINED, GOT };

/* A generation that a member that joined now is told; both times of each are points. */
static void gather_generations(const struct check *c, struct points *to, uint32_t *questions)
{
    for (size_t i = 0; i < c->n_files; i++) {
        const struct hist_file *h = &c->files[i].h;
        int64_t joined = -1;
        for (size_t k = 0; h->role == HIST_MEMBER && k < h->n; k++) {
            const struct hist_event *e = &h->events[k];
            if (e->kind == HIST_JOIN) {
                joined = e->at_ns;
            } else if (e->kind == HIST_GAINED && e->generation && joined >= 0) {
                struct point p = {.group = e->group, .at = joined, .type = JOINED, .e = e};
                p.index = (*questions)++;
                add(to, p);
                p.at = e->at_ns;
                p.type = GOT;
                add(to, p);
            }
        }
    }
}

/* It counts up with every join, so who joined later is told a greater one. */
static void judge_generations(struct check *c)
{
    struct points all = {0};
    uint32_t questions = 0;
    gather_generations(c, &all, &questions);
    const struct hist_event **before = check_alloc(questions, sizeof(*before));
    const struct hist_event *top = NULL;
    point_sort(all.p, all.n);
    for (size_t i = 0; i < all.n; i++) {
        const struct point *p = &all.p[i];
        if (i == 0 || p->group != p[-1].group) {
            top = NULL;
        }
        if (p->type == JOINED) {
            before[p->index] = top;
            continue;
        }
        const struct hist_event *b = before[p->index];
        if (b && p->e->generation <= b->generation) {
            const struct found v = {.what = CHECK_EPOCH_BACK,
                                    .msg = NONE,
                                    .part = index_part(c, p->e->topic, p->e->partition),
                                    .ev = {p->e, b}};
            report(c, &v,
                   "group %u: generation %llu for a member that joined when generation %llu had "
                   "been told",
                   p->e->group, (unsigned long long)p->e->generation,
                   (unsigned long long)b->generation);
        }
        top = !top || p->e->generation > top->generation ? p->e : top;
    }
    free(before);
    free(all.p);
}

void judge_log(struct check *c)
{
    struct points all = {0};
    uint32_t questions = (uint32_t)c->n_asks;
    struct walk w = {0};
    bool log_mode = false;
    follow_members(c);
    for (uint32_t i = 0; i < c->n_asks; i++) {
        const struct ask *a = &c->asks[i];
        if (a->ask->kind == HIST_COMMIT) {
            c->f.commits += a->answer && a->answer->outcome == HIST_OK;
            add_commit(c, &all, a, i);
        } else if (a->ask->kind == HIST_SETTLE) {
            c->f.settles += a->answer && a->answer->outcome == HIST_OK;
        }
    }
    for (size_t i = 0; i < c->n_seeks; i++) {
        add_seek(c, &all, &c->asks[c->seeks[i]], c->seeks[i]);
    }
    add_others(c, &all, &questions);
    point_sort(all.p, all.n);
    w.at = check_alloc(questions, sizeof(*w.at));
    for (size_t i = 0; i < all.n; i++) {
        const struct point *p = &all.p[i];
        if (i == 0 || p->group != p[-1].group || p->part != p[-1].part) {
            w = (struct walk){.at = w.at};
            log_mode = is_log_mode(c, p->group);
        }
        step(c, p, &w, log_mode);
    }
    judge_owners(c, &all);
    judge_generations(c);
    free(w.at);
    free(all.p);
}
