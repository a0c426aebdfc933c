/* A binary heap with back pointers. Nothing can fail but memory, which aborts as all over the core.
 */
#include "broker/core/timers.h"

#include "broker/core/mem.h"

static bool before(const struct timer *a, const struct timer *b)
{
    return a->due_mono_ns != b->due_mono_ns ? a->due_mono_ns < b->due_mono_ns : a->order < b->order;
}

static void place(struct timers *ts, size_t i, struct timer *t)
{
    ts->heap[i] = t;
    t->index = i + 1;
}

static void sift_up(struct timers *ts, size_t i, struct timer *t)
{
    while (i > 0 && before(t, ts->heap[(i - 1) / 2])) {
        place(ts, i, ts->heap[(i - 1) / 2]);
        i = (i - 1) / 2;
    }
    place(ts, i, t);
}

static void sift_down(struct timers *ts, size_t i, struct timer *t)
{
    for (;;) {
        size_t child = 2 * i + 1;
        if (child + 1 < ts->n && before(ts->heap[child + 1], ts->heap[child])) {
            child++;
        }
        if (child >= ts->n || !before(ts->heap[child], t)) {
            break;
        }
        place(ts, i, ts->heap[child]);
        i = child;
    }
    place(ts, i, t);
}

void timer_unset(struct timers *ts, struct timer *t)
{
    if (t->index == 0) {
        return;
    }
    const size_t i = t->index - 1;
    struct timer *last = ts->heap[--ts->n];

    t->index = 0;
    if (last == t) {
        return;
    }
    if (i > 0 && before(last, ts->heap[(i - 1) / 2])) {
        sift_up(ts, i, last);
    } else {
        sift_down(ts, i, last);
    }
}

void timer_set(struct timers *ts, struct timer *t, int64_t due_mono_ns)
{
    timer_unset(ts, t);
    if (ts->n == ts->cap) {
        ts->cap = ts->cap > 0 ? 2 * ts->cap : 64;
        ts->heap = core_realloc(ts->heap, ts->cap, sizeof(struct timer *));
    }
    t->due_mono_ns = due_mono_ns;
    t->order = ts->next_order++;
    sift_up(ts, ts->n++, t);
}

int64_t timers_next(const struct timers *ts)
{
    return ts->n > 0 ? ts->heap[0]->due_mono_ns : INT64_MAX;
}

unsigned timers_run(struct timers *ts, int64_t now_mono_ns, unsigned limit)
{
    unsigned n = 0;

    while (n < limit && ts->n > 0 && ts->heap[0]->due_mono_ns <= now_mono_ns) {
        struct timer *t = ts->heap[0];
        timer_unset(ts, t);
        n++;
        t->fire(t);
    }
    return n;
}

void timers_fini(struct timers *ts)
{
    free(ts->heap);
    *ts = (struct timers){0};
}
