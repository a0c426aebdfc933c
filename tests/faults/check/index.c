/*
 * Builds the sorted arrays that all judges work on.
 *
 * Happy path: one pass counts events and meets the partitions, one fills the arrays, then they are
 * sorted and tied together: answers to questions, values seen to values sent.
 * What can fail: histories that contradict themselves (a value sent twice, an answer without a
 * question). Then they are worth nothing, and the run is invalid.
 */
#include "tests/faults/check/impl.h"

#include <stdlib.h>
#include <string.h>

/* ---------------------------------------------------------------- looking up */

uint32_t index_part(const struct check *c, uint8_t topic, int32_t partition)
{
    if (partition < 0 || (uint32_t)partition >= c->part_top[topic]) {
        return NONE;
    }
    return c->part_of[topic][partition] - 1; /* 0 - 1 = NONE */
}

uint32_t index_message(const struct check *c, uint32_t producer, uint64_t counter)
{
    uint32_t lo = 0, hi = c->n_producers;
    while (lo < hi) {
        const uint32_t mid = (lo + hi) / 2;
        if (c->producers[mid].number < producer) {
            lo = mid + 1;
        } else {
            hi = mid;
        }
    }
    if (lo == c->n_producers || c->producers[lo].number != producer) {
        return NONE;
    }
    const struct producer *p = &c->producers[lo];
    const uint64_t first = c->messages[p->first].send->counter;
    if (counter < first) {
        return NONE;
    }
    /* Counters are dense as a rule: look there first. */
    if (counter - first < p->n &&
        c->messages[p->first + (counter - first)].send->counter == counter) {
        return p->first + (uint32_t)(counter - first);
    }
    lo = p->first;
    hi = p->first + p->n;
    while (lo < hi) {
        const uint32_t mid = lo + (hi - lo) / 2;
        if (c->messages[mid].send->counter < counter) {
            lo = mid + 1;
        } else {
            hi = mid;
        }
    }
    return lo < p->first + p->n && c->messages[lo].send->counter == counter ? lo : NONE;
}

uint32_t index_file(const struct check *c, const struct hist_event *e)
{
    for (uint32_t i = 0; i < c->n_files; i++) {
        const struct hist_file *h = &c->files[i].h;
        if (e >= h->events && e < h->events + h->n) {
            return i;
        }
    }
    return NONE;
}

struct ask *index_ask(const struct check *c, uint32_t file, uint64_t op)
{
    size_t lo = 0, hi = c->n_asks;
    while (lo < hi) {
        const size_t mid = lo + (hi - lo) / 2;
        const struct ask *a = &c->asks[mid];
        if (a->file < file || (a->file == file && a->ask->op < op)) {
            lo = mid + 1;
        } else {
            hi = mid;
        }
    }
    return lo < c->n_asks && c->asks[lo].file == file && c->asks[lo].ask->op == op ? &c->asks[lo]
                                                                                   : NULL;
}

bool index_sought(const struct check *c, uint32_t group, uint32_t part, int64_t from, int64_t to)
{
    for (size_t i = 0; i < c->n_seeks; i++) {
        const struct ask *a = &c->asks[c->seeks[i]];
        const struct hist_event *e = a->ask;
        const bool ended = a->answer && a->answer->outcome == HIST_OK && a->answer->at_ns < from;
        if (e->group == group && e->at_ns < to && !ended &&
            (e->topic == 0 || e->topic == c->parts[part].topic) &&
            (e->partition < 0 || e->partition == c->parts[part].partition)) {
            return true;
        }
    }
    return false;
}

const struct final *index_final(const struct check *c, uint32_t part, int pass, int64_t offset)
{
    const struct range *r = &c->parts[part].pass[pass];
    const struct final *f = c->finals[pass];
    uint32_t lo = r->from, hi = r->to;
    while (lo < hi) {
        const uint32_t mid = lo + (hi - lo) / 2;
        if (f[mid].offset < offset) {
            lo = mid + 1;
        } else {
            hi = mid;
        }
    }
    return lo < r->to ? &f[lo] : NULL;
}

enum check_anomaly index_jump(const struct check *c, uint32_t part, int64_t next, int64_t offset,
                              int64_t *at)
{
    const struct part *p = &c->parts[part];
    for (int pass = 0; next < offset && pass < PASSES; pass++) {
        const struct final *f = index_final(c, part, pass, next);
        if (f && f->offset < offset) {
            *at = f->offset;
            return CHECK_READ_SKIP;
        }
    }
    *at = p->start;
    return next < offset && p->complete && next < p->start ? CHECK_SILENT_RESET : CHECK_ANOMALIES;
}

/* ---------------------------------------------------------------- sorting */

static int order_u64(uint64_t a, uint64_t b)
{
    return (a > b) - (a < b);
}

static int order_i64(int64_t a, int64_t b)
{
    return (a > b) - (a < b);
}

static int by_name(const void *a, const void *b)
{
    const struct message *x = a, *y = b;
    const int r = order_u64(x->send->producer, y->send->producer);
    return r ? r : order_u64(x->send->counter, y->send->counter);
}

static int by_offset(const void *a, const void *b)
{
    const struct seen *x = a, *y = b;
    int r = order_u64(x->part, y->part);
    r = r ? r : order_i64(x->offset, y->offset);
    return r ? r : order_i64(x->at, y->at);
}

static int by_time(const void *a, const void *b)
{
    const struct hist_event *const *x = a, *const *y = b;
    return order_i64((*x)->at_ns, (*y)->at_ns);
}

static int by_op(const void *a, const void *b)
{
    const struct ask *x = a, *y = b;
    const int r = order_u64(x->file, y->file);
    return r ? r : order_u64(x->ask->op, y->ask->op);
}

static int by_point(const void *a, const void *b)
{
    const struct point *x = a, *y = b;
    int r = order_u64(x->group, y->group);
    r = r ? r : order_u64(x->part, y->part);
    r = r ? r : order_i64(x->at, y->at);
    return r ? r : order_u64(x->type, y->type);
}

void point_sort(struct point *p, size_t n)
{
    if (n) { /* p may be NULL */
        qsort(p, n, sizeof(*p), by_point);
    }
}

/* Most arrays are nearly always in order already. */
static void sort_if_needed(void *base, size_t n, size_t size,
                           int (*order)(const void *, const void *))
{
    const char *b = base;
    for (size_t i = 1; i < n; i++) {
        if (order(b + (i - 1) * size, b + i * size) > 0) {
            qsort(base, n, size, order);
            return;
        }
    }
}

/* ---------------------------------------------------------------- filling */

static bool has_part(enum hist_kind kind)
{
    switch (kind) {
    case HIST_SEND:
    case HIST_SENT:
    case HIST_READ:
    case HIST_FINAL:
    case HIST_FINAL_RANGE:
    case HIST_HW:
    case HIST_GAINED:
    case HIST_LOST:
    case HIST_DELIVERED:
    case HIST_COMMIT:
    case HIST_COMMITTED:
    case HIST_POSITION:
    case HIST_SETTLE:
    case HIST_SETTLED:
    case HIST_SEEK:
    case HIST_SEEK_DONE:
        return true;
    case HIST_NONE:
    case HIST_BEGIN:
    case HIST_END:
    case HIST_SUB_ERROR:
    case HIST_JOIN:
    case HIST_LEFT:
    case HIST_FAULT:
    case HIST_START:
    case HIST_HEAL:
    case HIST_PROBE:
    case HIST_UNSEEN:
    case HIST_CUT:
    default:
        return false;
    }
}

/* Meets the partition of e. */
static bool meet_part(struct check *c, const struct hist_event *e, uint32_t *room)
{
    const uint32_t p = (uint32_t)e->partition;
    if (e->partition < 0 || index_part(c, e->topic, e->partition) != NONE) {
        return true;
    }
    if (p >= PARTITIONS_MAX) {
        invalid(c, "partition %u of topic %u", p, e->topic);
        return false;
    }
    if (p >= c->part_top[e->topic]) {
        const uint32_t top = p * 2 + 16;
        uint32_t *table = check_alloc(top, sizeof(*table));
        if (c->part_of[e->topic]) {
            memcpy(table, c->part_of[e->topic], c->part_top[e->topic] * sizeof(*table));
        }
        free(c->part_of[e->topic]);
        c->part_of[e->topic] = table;
        c->part_top[e->topic] = top;
    }
    if (c->n_parts == *room) {
        *room = *room * 2 + 16;
        struct part *more = check_alloc(*room, sizeof(*more));
        if (c->parts) {
            memcpy(more, c->parts, c->n_parts * sizeof(*more));
        }
        free(c->parts);
        c->parts = more;
    }
    c->parts[c->n_parts] = (struct part){.topic = e->topic, .partition = e->partition, .hw = -1};
    c->part_of[e->topic][p] = ++c->n_parts;
    return true;
}

struct sizes {
    size_t messages, seen, asks, director;
};

static bool count_events(struct check *c, struct sizes *n)
{
    uint32_t room = 0;
    bool ok = true;
    memset(n, 0, sizeof(*n));
    for (size_t i = 0; ok && i < c->n_files; i++) {
        const struct hist_file *h = &c->files[i].h;
        c->f.events += h->n;
        n->director += h->role == HIST_DIRECTOR ? h->n : 0;
        for (size_t k = 0; ok && k < h->n; k++) {
            const struct hist_event *e = &h->events[k];
            const enum hist_kind kind = (enum hist_kind)e->kind;
            n->messages += kind == HIST_SEND;
            n->seen += kind == HIST_READ || kind == HIST_DELIVERED || kind == HIST_FINAL;
            n->asks += kind == HIST_COMMIT || kind == HIST_SETTLE || kind == HIST_SEEK;
            ok = !has_part(kind) || meet_part(c, e, &room);
        }
    }
    c->f.files = c->n_files;
    c->f.partitions = c->n_parts;
    if (n->messages >= NONE || n->seen >= NONE) {
        invalid(c, "more than 2^32 events");
        ok = false;
    }
    return ok;
}

static void fill(struct check *c, const struct sizes *n)
{
    c->messages = check_alloc(n->messages, sizeof(*c->messages));
    c->seen = check_alloc(n->seen, sizeof(*c->seen));
    c->asks = check_alloc(n->asks, sizeof(*c->asks));
    c->director = check_alloc(n->director, sizeof(*c->director));
    for (uint32_t i = 0; i < c->n_files; i++) {
        const struct hist_file *h = &c->files[i].h;
        for (size_t k = 0; k < h->n; k++) {
            const struct hist_event *e = &h->events[k];
            if (h->role == HIST_DIRECTOR) {
                c->director[c->n_director++] = e;
            }
            if (e->kind == HIST_SEND) {
                c->messages[c->n_messages++] =
                    (struct message){.send = e, .part = index_part(c, e->topic, e->partition)};
            } else if (e->kind == HIST_READ || e->kind == HIST_DELIVERED || e->kind == HIST_FINAL) {
                c->seen[c->n_seen++] = (struct seen){.e = e,
                                                     .offset = e->offset,
                                                     .at = e->at_ns,
                                                     .part = index_part(c, e->topic, e->partition),
                                                     .msg = NONE};
            } else if (e->kind == HIST_COMMIT || e->kind == HIST_SETTLE || e->kind == HIST_SEEK) {
                c->asks[c->n_asks++] = (struct ask){.ask = e, .file = i};
            }
        }
    }
}

/* Sorts what was sent, and finds who sent it. */
static bool tie_messages(struct check *c)
{
    sort_if_needed(c->messages, c->n_messages, sizeof(*c->messages), by_name);
    c->producers = check_alloc(c->n_messages, sizeof(*c->producers));
    for (uint32_t i = 0; i < c->n_messages; i++) {
        struct message *m = &c->messages[i];
        struct producer *last = c->n_producers ? &c->producers[c->n_producers - 1] : NULL;
        if (!last || last->number != m->send->producer) {
            last = &c->producers[c->n_producers++];
            *last = (struct producer){.number = m->send->producer, .first = i};
        } else if (by_name(m, m - 1) == 0) {
            invalid(c, "%u:%llu was sent twice", m->send->producer,
                    (unsigned long long)m->send->counter);
            return false;
        }
        last->n++;
    }
    c->f.producers = c->n_producers;
    return true;
}

static bool tie_sent(struct check *c, const struct hist_event *e)
{
    const uint32_t i = index_message(c, e->producer, e->counter);
    if (i == NONE || c->messages[i].sent) {
        invalid(c, "%u:%llu was answered %s", e->producer, (unsigned long long)e->counter,
                i == NONE ? "and not sent" : "twice");
        return false;
    }
    struct message *m = &c->messages[i];
    const uint32_t part = index_part(c, e->topic, e->partition);
    m->sent = e;
    m->part = part == NONE ? m->part : part;
    if (e->outcome == HIST_OK && m->part != NONE) {
        c->parts[m->part].used = true;
    }
    return true;
}

static bool tie_answer(struct check *c, uint32_t file, const struct hist_event *e)
{
    struct ask *a = index_ask(c, file, e->op);
    if (!a || a->answer) {
        invalid(c, "%s: answer to question %llu, which was %s", c->files[file].name,
                (unsigned long long)e->op, a ? "answered before" : "not asked");
        return false;
    }
    a->answer = e;
    return true;
}

static bool tie_answers(struct check *c)
{
    bool ok = true;
    sort_if_needed(c->asks, c->n_asks, sizeof(*c->asks), by_op);
    for (uint32_t i = 0; ok && i < c->n_files; i++) {
        const struct hist_file *h = &c->files[i].h;
        for (size_t k = 0; ok && k < h->n; k++) {
            const struct hist_event *e = &h->events[k];
            if (e->kind == HIST_SENT) {
                ok = tie_sent(c, e);
            } else if (e->kind == HIST_COMMITTED || e->kind == HIST_SETTLED ||
                       e->kind == HIST_SEEK_DONE) {
                ok = tie_answer(c, i, e);
            }
        }
    }
    return ok;
}

static void find_seeks(struct check *c)
{
    size_t n = 0;
    for (size_t i = 0; i < c->n_asks; i++) {
        n += c->asks[i].ask->kind == HIST_SEEK;
    }
    c->seeks = check_alloc(n, sizeof(*c->seeks));
    for (uint32_t i = 0; i < c->n_asks; i++) {
        const struct ask *a = &c->asks[i];
        if (a->ask->kind == HIST_SEEK && !(a->answer && a->answer->outcome == HIST_FAIL)) {
            c->seeks[c->n_seeks++] = i;
        }
    }
}

/* Sorts what was seen, and takes the final read out of it. */
static bool tie_seen(struct check *c)
{
    size_t n[PASSES] = {0, 0};
    for (size_t i = 0; i < c->n_seen; i++) {
        struct seen *s = &c->seen[i];
        if (s->part == NONE || s->e->offset < 0 ||
            (s->e->kind == HIST_FINAL && (s->e->extra < 1 || s->e->extra > PASSES))) {
            invalid(c, "a message was seen nowhere, or in no pass of the final read");
            return false;
        }
        c->parts[s->part].used = true;
        s->msg =
            s->e->flags & HIST_BAD_VALUE ? NONE : index_message(c, s->e->producer, s->e->counter);
        if (s->e->kind == HIST_FINAL) {
            n[s->e->extra - 1]++;
        }
    }
    sort_if_needed(c->seen, c->n_seen, sizeof(*c->seen), by_offset);
    for (int pass = 0; pass < PASSES; pass++) {
        c->finals[pass] = check_alloc(n[pass], sizeof(**c->finals));
    }
    for (size_t i = 0; i < c->n_seen; i++) {
        const struct seen *s = &c->seen[i];
        if (s->e->kind == HIST_FINAL) {
            const int pass = (int)s->e->extra - 1;
            struct range *r = &c->parts[s->part].pass[pass];
            const size_t at = c->n_finals[pass]++;
            r->from = r->to ? r->from : (uint32_t)at;
            r->to = (uint32_t)at + 1;
            c->finals[pass][at] =
                (struct final){.offset = s->e->offset, .e = s->e, .part = s->part, .msg = s->msg};
        }
    }
    return true;
}

bool index_build(struct check *c)
{
    struct sizes n;
    if (!count_events(c, &n)) {
        return false;
    }
    fill(c, &n);
    sort_if_needed(c->director, c->n_director, sizeof(const struct hist_event *), by_time);
    if (!tie_messages(c) || !tie_answers(c) || !tie_seen(c)) {
        return false;
    }
    find_seeks(c);
    return true;
}
