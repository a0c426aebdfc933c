/*
 * Readers without a group: one that follows the newest through all faults, the last one, which
 * reads everything twice when they are over, and the observer, who asks for watermarks and
 * positions.
 */
#include <poll.h>
#include <stdio.h>
#include <string.h>

#include "tests/faults/load/load.h"

enum { ANSWER_MS = 30000, IDLE_MS = 60000, OBSERVE_MS = 100, STEP_MS = 200 };

static void add_sub_error(struct load *l, weir_sub *sub, uint32_t group)
{
    const weir_error e = weir_sub_error(sub);
    const struct hist_event ev = {.kind = HIST_SUB_ERROR,
                                  .partition = -1,
                                  .offset = -1,
                                  .group = group,
                                  .extra = (uint32_t)e.code};
    hist_add(&l->hist, &ev);
}

/* One that follows the newest messages of a topic. */
struct reader {
    struct load *l;
    const struct load_topic *t;
    weir *w;
    weir_sub *sub;
    uint32_t number;
    int64_t next[LOAD_MAX_PARTITIONS]; /* of this subscription */
};

static void begin(struct reader *r)
{
    const struct hist_event e = {
        .kind = HIST_JOIN, .partition = -1, .offset = -1, .extra = ++r->number};
    memset(r->next, 0, sizeof(r->next));
    hist_add(&r->l->hist, &e);
    r->sub = weir_subscribe(r->w, r->t->name, NULL, "start=earliest");
}

static void step(struct reader *r)
{
    if (!r->sub) {
        begin(r);
    }
    const weir_message *m = weir_next(r->sub, STEP_MS);
    if (m) {
        const struct hist_event e = {.kind = HIST_READ, .extra = r->number};
        load_add_message(r->l, e, m, r->t->number);
        if (m->partition >= 0 && m->partition < r->t->partitions) {
            r->next[m->partition] = m->offset + 1;
        }
        weir_done(m, WEIR_ACK);
    } else if (weir_sub_error(r->sub).code != WEIR_OK &&
               weir_sub_error(r->sub).code != WEIR_E_TIMEOUT) {
        add_sub_error(r->l, r->sub, 0);
        weir_unsubscribe(r->sub);
        r->sub = NULL;
    }
}

/* How much lies between the reader and the ends of the logs, which are asked for when ask is set.
 */
static uint64_t missing(struct reader *r, int64_t *ends, bool ask)
{
    uint64_t n = 0;
    for (int32_t p = 0; p < r->t->partitions; p++) {
        int64_t start = 0;
        weir_error e = {.outcome = WEIR_DONE};
        if (ask) {
            e = weir_offset(r->w, r->t->name, p, WEIR_OFFSET_END, &ends[p], NULL, ANSWER_MS);
        }
        if (ask && e.outcome == WEIR_DONE) {
            e = weir_offset(r->w, r->t->name, p, WEIR_OFFSET_START, &start, NULL, ANSWER_MS);
        }
        if (e.outcome != WEIR_DONE) {
            return UINT64_MAX; /* it cannot be told: that is no end either */
        }
        if (start >= ends[p]) {
            ends[p] = 0; /* nothing is there */
        }
        n += ends[p] > r->next[p] ? (uint64_t)(ends[p] - r->next[p]) : 0;
    }
    return n;
}

/* After faults and producers have stopped a reader comes to the end, like a group. */
static void read_to_end(struct reader *r)
{
    int64_t ends[LOAD_MAX_PARTITIONS] = {0};
    const int64_t until = hist_now_ns() + (int64_t)IDLE_MS * 1000000;
    struct hist_event e = {.kind = HIST_UNSEEN, .partition = -1, .offset = -1};
    e.counter = missing(r, ends, true);
    while (e.counter > 0 && e.counter != UINT64_MAX && hist_now_ns() < until) {
        step(r);
        e.counter = missing(r, ends, false);
    }
    hist_add(&r->l->hist, &e);
}

int load_read(struct load *l)
{
    static struct reader r;
    r.l = l;
    r.t = &l->o->topics[0];
    r.w = weir_open(l->o->url, l->o->handle);
    while (!load_stopped()) {
        step(&r);
    }
    read_to_end(&r);
    weir_unsubscribe(r.sub);
    weir_close(r.w, 1000);
    return 0;
}

/* ---------------------------------------------------------------- the last read */

/* Reads [log start, high watermark) of one partition. @return false: it cannot be read. */
static bool final_partition(struct load *l, weir *w, const struct load_topic *t, int32_t p,
                            uint32_t pass)
{
    struct hist_event range = {
        .kind = HIST_FINAL_RANGE, .topic = t->number, .partition = p, .extra = pass};
    int64_t high = 0;
    weir_error e = weir_offset(w, t->name, p, WEIR_OFFSET_START, &range.offset, NULL, ANSWER_MS);
    if (e.outcome == WEIR_DONE) {
        e = weir_offset(w, t->name, p, WEIR_OFFSET_END, &high, NULL, ANSWER_MS);
    }
    if (e.outcome != WEIR_DONE) {
        fprintf(stderr, "weir-load: final read: %s[%d]: %s\n", t->name, p, e.text);
        return false;
    }
    range.counter = (uint64_t)high;
    hist_add(&l->hist, &range);
    if (range.offset >= high) {
        return true;
    }
    char options[128];
    snprintf(options, sizeof(options), "partitions=%d start=%lld stop_at_end=1", p,
             (long long)range.offset);
    weir_sub *sub = weir_subscribe(w, t->name, NULL, options);
    int64_t next = range.offset;
    const weir_message *m;
    while (next < high && (m = weir_next(sub, IDLE_MS))) {
        const struct hist_event ev = {.kind = HIST_FINAL, .extra = pass};
        load_add_message(l, ev, m, t->number);
        next = m->offset + 1;
        weir_done(m, WEIR_ACK);
    }
    e = weir_sub_error(sub);
    if (next < high) {
        fprintf(stderr, "weir-load: final read: %s[%d] stopped at %lld of %lld: %s\n", t->name, p,
                (long long)next, (long long)high, e.text);
        add_sub_error(l, sub, 0);
    }
    weir_unsubscribe(sub);
    return true;
}

int load_final(struct load *l)
{
    bool ok = true;
    for (uint32_t pass = 1; pass <= 2; pass++) {
        weir *w = weir_open(l->o->url, l->o->handle);
        for (int i = 0; i < l->o->n_topics; i++) {
            for (int32_t p = 0; p < l->o->topics[i].partitions; p++) {
                ok = final_partition(l, w, &l->o->topics[i], p, pass) && ok;
            }
        }
        weir_close(w, 1000);
    }
    return ok ? 0 : 1;
}

/* ---------------------------------------------------------------- the observer */

static void observe_positions(struct load *l, weir *w)
{
    weir_group *g = NULL;
    const int64_t asked = hist_now_ns();
    const weir_error e = weir_group_describe(w, l->o->group, &g, 1000);
    const weir_group_partition_info *p;
    for (size_t i = 0; e.outcome == WEIR_DONE && (p = weir_group_partition(g, i)); i++) {
        const struct hist_event ev = {.kind = HIST_POSITION,
                                      .topic = load_topic_number(l, p->topic),
                                      .partition = p->partition,
                                      .offset = p->position,
                                      .group = l->o->group_number,
                                      .counter = (uint64_t)asked};
        hist_add(&l->hist, &ev);
    }
    weir_group_free(g);
}

int load_observe(struct load *l)
{
    weir *w = weir_open(l->o->url, l->o->handle);
    while (!load_stopped()) {
        for (int i = 0; i < l->o->n_topics; i++) {
            const struct load_topic *t = &l->o->topics[i];
            const int32_t p = (int32_t)load_random(l, (uint64_t)t->partitions);
            struct hist_event ev = {.kind = HIST_HW, .topic = t->number, .partition = p};
            ev.counter = (uint64_t)hist_now_ns();
            const weir_error e =
                weir_offset(w, t->name, p, WEIR_OFFSET_END, &ev.offset, NULL, 1000);
            if (e.outcome == WEIR_DONE) {
                hist_add(&l->hist, &ev);
            }
        }
        if (l->o->group) {
            observe_positions(l, w);
        }
        poll(NULL, 0, (int)(1 + load_random(l, OBSERVE_MS)));
    }
    weir_close(w, 1000);
    return 0;
}
