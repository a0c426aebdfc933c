/*
 * A producer: sends messages of its own names to random partitions, at a rate, with a bounded
 * number of them unanswered.
 *
 * Happy path: HIST_SEND, weir_send_async, HIST_SENT from the callback. A handle that the library
 * declares dead (fenced, out of order) is replaced, and the new one produces under a new number: no
 * order is promised between the two.
 * What can fail: everything; each outcome is recorded as the library names it.
 */
#include <poll.h>
#include <stdlib.h>
#include <string.h>

#include "tests/faults/history/value.h"
#include "tests/faults/load/load.h"

enum { NUMBERS_APART = 10000, CLOSE_MS = 60000, PROBE_MS = 10000 };

struct sender {
    struct load *l;
    weir *w;
    uint32_t producer; /* number under which the handle sends */
    uint64_t counter, waiting;
    bool dead; /* the handle must be replaced */
    uint8_t *value;
};

/* One message that has no answer yet. */
struct sent {
    struct sender *s;
    struct hist_event e;
};

static void on_sent(void *user, const weir_receipt *r)
{
    struct sent *m = user;
    struct hist_event e = m->e;
    e.kind = HIST_SENT;
    e.outcome = (uint8_t)load_outcome(&r->error);
    e.offset = r->offset;
    e.flags = r->error.duplicate ? HIST_DUPLICATE : 0;
    e.extra = (uint32_t)r->error.code;
    e.at_ns = 0;
    if (r->partition >= 0) {
        e.partition = r->partition;
    }
    hist_add(&m->s->l->hist, &e);
    m->s->waiting--;
    m->s->dead = m->s->dead || r->error.fenced;
    free(m);
}

static bool open_handle(struct sender *s)
{
    const struct load_options *o = s->l->o;
    s->w = weir_open(o->url, o->handle);
    s->dead = false;
    return s->w != NULL;
}

static void send_one(struct sender *s)
{
    const struct load_options *o = s->l->o;
    const struct load_topic *t = &o->topics[load_random(s->l, (uint64_t)o->n_topics)];
    const size_t size = o->size_min + load_random(s->l, o->size_max - o->size_min + 1);
    const struct value_name name = {
        .run = o->run, .producer = s->producer, .topic = t->number, .counter = ++s->counter};
    struct sent *m = calloc(1, sizeof(*m));
    weir_send_options so = WEIR_SEND_OPTIONS;
    if (!m) {
        abort();
    }
    value_make(&name, s->value, size);
    so.partition = (int32_t)load_random(s->l, (uint64_t)t->partitions);
    m->s = s;
    m->e = (struct hist_event){.kind = HIST_SEND,
                               .topic = t->number,
                               .partition = so.partition,
                               .offset = -1,
                               .producer = s->producer,
                               .counter = s->counter,
                               .op = ++s->l->op,
                               .extra = (uint32_t)o->level};
    if (o->delay_ms) {
        so.delay_ms = 1 + (int64_t)load_random(s->l, o->delay_ms);
        m->e.generation = (uint64_t)(hist_now_ns() + so.delay_ms * 1000000);
    }
    hist_add(&s->l->hist, &m->e);
    m->e.generation = 0;
    s->waiting++;
    const weir_error e = weir_send_async(s->w, t->name, weir_bytes_of(NULL, 0),
                                         weir_bytes_of(s->value, size), &so, on_sent, m);
    if (e.outcome != WEIR_DONE) {
        weir_receipt r = {.error = e, .partition = -1, .offset = -1};
        r.error.outcome = WEIR_NOT_DONE; /* it was not taken: it cannot have happened */
        on_sent(m, &r);
    }
}

/* Lets the library work until there is room or `ms` passed. */
static void work(struct sender *s, int ms)
{
    struct pollfd p = {.fd = weir_fd(s->w), .events = POLLIN};
    const int wish = weir_timeout_ms(s->w);
    poll(&p, 1, wish >= 0 && wish < ms ? wish : ms);
    weir_on_io(s->w);
}

static void replace(struct sender *s)
{
    weir_close(s->w, 0); /* what it still had ends as unknown or not done, in the callbacks */
    s->producer += NUMBERS_APART;
    open_handle(s);
}

int load_produce(struct load *l)
{
    struct sender s = {.l = l, .producer = l->o->number, .value = malloc(VALUE_MAX)};
    const int64_t begin = hist_now_ns();
    int rc = 2;
    if (!s.value || !open_handle(&s)) {
        goto out;
    }
    while (!load_stopped() && (l->o->count == 0 || s.counter < l->o->count)) {
        if (s.dead) {
            replace(&s);
        }
        const int64_t since = hist_now_ns() - begin;
        const uint64_t due = l->o->rate ? (uint64_t)((double)since / 1e9 * l->o->rate) : UINT64_MAX;
        if (s.waiting < l->o->inflight && s.counter < due) {
            send_one(&s);
            if (s.counter % 16 == 0) {
                weir_on_io(s.w);
            }
        } else {
            work(&s, s.waiting < l->o->inflight ? 2 : 50);
        }
    }
    rc = 0;
out:
    weir_close(s.w, CLOSE_MS);
    free(s.value);
    return rc;
}

/* ---------------------------------------------------------------- probes */

static void add_probe(struct load *l, enum hist_probe what, int64_t from_ns, bool ok)
{
    const struct hist_event e = {.kind = HIST_PROBE,
                                 .outcome = ok ? HIST_OK : HIST_FAIL,
                                 .partition = -1,
                                 .offset = -1,
                                 .counter = (uint64_t)what,
                                 .extra = (uint32_t)((hist_now_ns() - from_ns) / 1000000)};
    hist_add(&l->hist, &e);
}

/* A new client after healing: does producing, fetching and joining work again, and how soon? */
int load_probe(struct load *l)
{
    struct sender s = {.l = l, .producer = l->o->number, .value = malloc(VALUE_MAX)};
    const struct load_topic *t = &l->o->topics[0];
    weir_sub *sub = NULL;
    if (!s.value || !open_handle(&s)) {
        free(s.value);
        return 2;
    }
    int64_t from = hist_now_ns();
    send_one(&s);
    const weir_error sent = weir_flush(s.w, PROBE_MS);
    add_probe(l, HIST_PROBE_PRODUCE, from, sent.outcome == WEIR_DONE);

    from = hist_now_ns();
    sub = weir_subscribe(s.w, t->name, NULL, "start=earliest");
    const weir_message *m = weir_next(sub, PROBE_MS);
    add_probe(l, HIST_PROBE_FETCH, from, m != NULL);
    weir_done(m, WEIR_ACK);
    weir_unsubscribe(sub);

    from = hist_now_ns();
    sub = weir_subscribe(s.w, t->name, "weir-load-probe", "mode=log");
    m = weir_next(sub, PROBE_MS);
    add_probe(l, HIST_PROBE_JOIN, from, m != NULL);
    weir_done(m, WEIR_ACK);
    weir_unsubscribe(sub);
    weir_close(s.w, PROBE_MS);
    free(s.value);
    return 0;
}
