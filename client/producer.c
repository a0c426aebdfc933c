/*
 * Messages in. Happy path: check, choose the partition, copy into the open batch of the partition;
 * before the topic is known, into its waiting list. What can fail: limits, memory, buffer_bytes
 * full. Owns parts and, through their queues, batches.
 */
#include "client/producer.h"

#include <stdlib.h>
#include <string.h>

#include "client/handle.h"

void producer_init(struct producer *p)
{
    *p = (struct producer){0};
    TAILQ_INIT(&p->work);
    TAILQ_INIT(&p->busy);
    TAILQ_INIT(&p->all);
    TAILQ_INIT(&p->reports);
    p->first_failure = err_done();
    p->fatal = err_done();
}

static void outbatch_free(struct outbatch *b)
{
    if (b) {
        report_free(b->report);
        batch_builder_fini(&b->bb);
        buf_fini(&b->zip);
        free(b);
    }
}

void producer_fini(struct weir *w)
{
    struct producer *p = &w->prod;
    struct part *part;
    struct outbatch *b;

    while ((part = TAILQ_FIRST(&p->all))) {
        TAILQ_REMOVE(&p->all, part, all);
        while ((b = TAILQ_FIRST(&part->q))) {
            TAILQ_REMOVE(&part->q, b, link);
            outbatch_free(b);
        }
        free(part);
    }
    outbatch_free(p->spare);
    buf_fini(&p->head);
    buf_fini(&p->pid_req.frame);
    free(p->positions);
    producer_init(p);
}

/* ---------------------------------------------------------------- parts */

void part_work(struct weir *w, struct part *part)
{
    if (!part->on_work) {
        part->on_work = true;
        TAILQ_INSERT_TAIL(&w->prod.work, part, work);
    }
}

void part_busy(struct weir *w, struct part *part)
{
    if (!part->on_busy) {
        part->on_busy = true;
        TAILQ_INSERT_TAIL(&w->prod.busy, part, busy);
    }
}

/* The table grows: [0, n) for messages of now, [n, 2 n) for delayed ones. */
static bool grow_parts(struct topic *t)
{
    size_t old = t->n_producer_parts, n = t->n_parts;
    struct part **grown = calloc(2 * n, sizeof(struct part *));

    if (!grown) {
        return false;
    }
    if (old > 0) {
        memcpy(grown, t->parts, old * sizeof(struct part *));
        memcpy(grown + n, t->parts + old, old * sizeof(struct part *));
    }
    free(t->parts);
    t->parts = grown;
    t->n_producer_parts = t->n_parts;
    return true;
}

struct part *producer_part(struct weir *w, struct topic *t, uint32_t p, bool delayed)
{
    struct part *part, **at;

    if (p >= t->n_producer_parts && !grow_parts(t)) {
        return NULL;
    }
    at = &t->parts[delayed ? t->n_producer_parts + p : p];
    part = *at;
    if (!part) {
        part = calloc(1, sizeof *part);
        if (!part) {
            return NULL;
        }
        part->topic = t;
        part->p = p;
        part->delayed = delayed;
        TAILQ_INIT(&part->q);
        TAILQ_INSERT_TAIL(&w->prod.all, part, all);
        *at = part;
    }
    return part;
}

uint32_t producer_route(struct topic *t, const struct outgoing *m, weir_error *e)
{
    if (m->partition >= 0) {
        if ((uint32_t)m->partition >= t->n_parts) {
            *e = err_make(WERR_UNKNOWN_TOPIC, "topic %s has no partition %d, only 0 to %u", t->name,
                          m->partition, t->n_parts - 1);
            return UINT32_MAX;
        }
        return (uint32_t)m->partition;
    }
    if (m->key.p) {
        return meta_partition_of_key(t, m->key.p, m->key.n);
    }
    return t->sticky % t->n_parts;
}

/* ---------------------------------------------------------------- batches */

struct outbatch *outbatch_new(struct weir *w, struct part *part)
{
    struct outbatch *b = w->prod.spare;
    struct report *r = calloc(1, sizeof *r);

    w->prod.spare = NULL;
    if (!b) {
        b = calloc(1, sizeof *b);
    }
    if (!b || !r) {
        outbatch_free(b);
        free(r);
        return NULL;
    }
    b->report = r;
    b->part = part;
    b->state = BATCH_OPEN;
    b->created_ns = w->now_ns;
    r->topic = part->topic;
    r->partition = (int32_t)part->p;
    r->error = err_done();
    return b;
}

void outbatch_drop(struct weir *w, struct outbatch *b)
{
    struct part *part = b->part;

    if (part->unsent == b) {
        part->unsent = TAILQ_NEXT(b, link);
    }
    TAILQ_REMOVE(&part->q, b, link);
    w->prod.pending_bytes -= b->bytes;
    if (TAILQ_EMPTY(&part->q)) {
        TAILQ_REMOVE(&w->prod.busy, part, busy);
        part->on_busy = false;
    }
    if (w->prod.spare || b->report || b->bb.b.cap > 2 * w->opt.batch_bytes + 4096) {
        outbatch_free(b);
        return;
    }
    batch_builder_reset(&b->bb);
    buf_clear(&b->zip);
    *b = (struct outbatch){.bb = b->bb, .zip = b->zip};
    w->prod.spare = b;
}

void outbatch_report(struct weir *w, struct outbatch *b, bool stays, const weir_error *e,
                     int64_t offset, int64_t append_ms)
{
    struct report *r = b->report;

    if (!r) {
        return;
    }
    b->report = NULL;
    r->error = *e;
    r->offset = offset;
    r->append_ms = append_ms;
    r->count = b->count;
    if (r->listeners && !stays) { /* the memory stays accounted until the results are taken */
        r->bytes = b->bytes;
        b->bytes = 0;
    }
    report_finish(w, r);
}

static uint32_t max_records(const struct weir *w, const struct topic *t)
{
    uint32_t own = w->opt.batch_records, topics = t->conf.batch_max_records;

    return topics && topics < own ? topics : own;
}

/* Does m fit into the open batch b? */
static bool joins(const struct weir *w, const struct outbatch *b, const struct outgoing *m,
                  size_t bound)
{
    int64_t spread = (int64_t)w->opt.send_timeout_ms * CLOCK_NS_PER_MS / 8;
    /* A batch has one deadline, its first message's: only messages with about the same join. */
    return b->state == BATCH_OPEN && b->count < max_records(w, b->part->topic) &&
           m->deliver_at_ms == b->deliver_at_ms && b->bb.b.len + bound <= w->opt.batch_bytes &&
           m->deadline_ns >= b->deadline_ns && m->deadline_ns - b->deadline_ns <= spread;
}

/* Remembers who listens; arrays are made when the first listener comes. */
static bool add_listener(struct outbatch *b, struct listener l)
{
    struct report *r = b->report;

    if (!l.fn && !r->listeners) {
        return true;
    }
    if (!r->listeners || b->count == r->cap) {
        uint32_t cap = b->count < 8 ? 8 : b->count * 2;
        struct listener *grown = realloc(r->listeners, cap * sizeof *grown);

        if (!grown) {
            return false;
        }
        if (!r->listeners) {
            memset(grown, 0, b->count * sizeof *grown);
        }
        r->listeners = grown;
        r->cap = cap;
    }
    r->listeners[b->count] = l;
    return true;
}

static void seal_open(struct weir *w, struct part *part)
{
    struct outbatch *last = TAILQ_LAST(&part->q, batch_list);

    if (last && last->state == BATCH_OPEN) {
        last->state = BATCH_QUEUED;
        part->topic->sticky++;
        part_work(w, part);
    }
}

void part_add(struct weir *w, struct part *part, const struct outgoing *m, weir_error *e)
{
    struct outbatch *b = TAILQ_LAST(&part->q, batch_list);
    size_t bound = batch_record_bound(m->key, m->value, m->headers, m->n_headers), before;
    bool fresh = false;
    enum werr rc;

    if (!b || !joins(w, b, m, bound)) {
        seal_open(w, part);
        b = outbatch_new(w, part);
        if (!b) {
            *e = err_make(WERR_NOMEM, "out of memory");
            return;
        }
        b->deadline_ns = m->deadline_ns;
        b->deliver_at_ms = m->deliver_at_ms;
        fresh = true;
    }
    before = b->bb.b.len;
    rc = add_listener(b, m->listener)
             ? batch_add(&b->bb, m->timestamp_ms, m->key, m->value, m->headers, m->n_headers)
             : WERR_NOMEM;
    if (rc != WERR_OK) {
        if (fresh) {
            outbatch_free(b);
        }
        *e = err_make(rc, "the message cannot be encoded: %s", werr_text(rc));
        return;
    }
    if (fresh) {
        TAILQ_INSERT_TAIL(&part->q, b, link);
        part->unsent = part->unsent ? part->unsent : b;
        part_busy(w, part);
        part_work(w, part);
        handle_timer(w, b->deadline_ns);
    }
    b->count++;
    before = b->bb.b.len - before + (m->listener.fn ? sizeof(struct listener) : 0);
    b->bytes += before;
    w->prod.pending_bytes += before;
    if (b->bb.b.len >= w->opt.batch_bytes || b->count >= max_records(w, part->topic)) {
        seal_open(w, part);
    }
    err_set_done(e);
}

/* ---------------------------------------------------------------- messages */

/* A copy that waits for the topic's metadata. */
static void wait_for_topic(struct weir *w, const struct outgoing *m, weir_error *e)
{
    size_t n = sizeof(struct waiting) + m->n_headers * sizeof(struct record_header) + m->key.n +
               m->value.n;
    struct waiting *x;
    uint8_t *at;

    for (size_t i = 0; i < m->n_headers; i++) {
        n += m->headers[i].name.n + m->headers[i].value.n;
    }
    x = malloc(n);
    if (!x) {
        *e = err_make(WERR_NOMEM, "out of memory");
        return;
    }
    *x = (struct waiting){.partition = m->partition,
                          .timestamp_ms = m->timestamp_ms,
                          .deadline_ns = m->deadline_ns,
                          .deliver_at_ms = m->deliver_at_ms,
                          .listener = m->listener,
                          .n_headers = m->n_headers,
                          .bytes = n};
    x->headers = (struct record_header *)(x + 1);
    at = (uint8_t *)(x->headers + m->n_headers);
#define COPY(to, from)                                   \
    do {                                                 \
        (to) = slice_of((from).p ? at : NULL, (from).n); \
        if ((from).p && (from).n) {                      \
            memcpy(at, (from).p, (from).n);              \
        }                                                \
        at += (from).n;                                  \
    } while (0)
    COPY(x->key, m->key);
    COPY(x->value, m->value);
    for (size_t i = 0; i < m->n_headers; i++) {
        COPY(x->headers[i].name, m->headers[i].name);
        COPY(x->headers[i].value, m->headers[i].value);
    }
#undef COPY
    TAILQ_INSERT_TAIL(&m->topic->waiting, x, link);
    w->prod.n_waiting++;
    w->prod.pending_bytes += n;
    handle_timer(w, m->deadline_ns);
    meta_want(w, m->topic);
    err_set_done(e);
}

static size_t payload(const struct outgoing *m)
{
    size_t n = m->key.n + m->value.n;

    for (size_t i = 0; i < m->n_headers; i++) {
        n += m->headers[i].name.n + m->headers[i].value.n;
    }
    return n;
}

static void put_known(struct weir *w, const struct outgoing *m, size_t bytes, weir_error *e)
{
    const struct topic_config *conf = &m->topic->conf;
    struct part *part;
    uint32_t p;

    if ((conf->set & TKEY_MESSAGE_MAX) && bytes > conf->message_max_bytes) {
        *e = err_make(WERR_TOO_LARGE, "message of %zu bytes, topic %s takes %u", bytes,
                      m->topic->name, conf->message_max_bytes);
        return;
    }
    p = producer_route(m->topic, m, e);
    if (p == UINT32_MAX) {
        return;
    }
    part = producer_part(w, m->topic, p, m->deliver_at_ms != 0);
    if (!part) {
        *e = err_make(WERR_NOMEM, "out of memory");
        return;
    }
    part_add(w, part, m, e);
}

void producer_put(struct weir *w, const struct outgoing *m, weir_error *e)
{
    size_t bytes = payload(m);
    size_t need = bytes + sizeof(struct waiting) + m->n_headers * sizeof(struct record_header);

    if (w->prod.fatal.outcome != WEIR_DONE) {
        *e = w->prod.fatal;
        return;
    }
    if (bytes > LIMIT_MESSAGE_CAP || need > w->opt.buffer_bytes) {
        *e = err_make(WERR_TOO_LARGE, "message of %zu bytes, limit %llu", bytes,
                      (unsigned long long)(w->opt.buffer_bytes < LIMIT_MESSAGE_CAP
                                               ? w->opt.buffer_bytes
                                               : LIMIT_MESSAGE_CAP));
        return;
    }
    if (w->prod.pending_bytes + need > w->opt.buffer_bytes) {
        *e = err_make(WERR_BUFFER_FULL, "%zu bytes are waiting, buffer_bytes is %llu",
                      w->prod.pending_bytes, (unsigned long long)w->opt.buffer_bytes);
        return;
    }
    if (m->topic->valid && TAILQ_EMPTY(&m->topic->waiting)) {
        put_known(w, m, bytes, e);
    } else {
        wait_for_topic(w, m, e);
    }
    if (e->outcome == WEIR_DONE) {
        w->prod.pending_messages++;
        handle_dirty(w);
    }
}

/* The topic is known now, or failed: its waiting messages go on or end. */
void producer_on_topic(struct weir *w, struct topic *t)
{
    weir_error e = t->valid ? err_done() : err_from(&t->err, t->err_class);
    struct waiting *m;
    struct part *part;

    if (t->valid && !t->parts) {
        t->sticky += w->prod.sticky_seed >> 8; /* spreads keyless messages of many clients */
    }
    while ((m = TAILQ_FIRST(&t->waiting))) {
        if (t->valid) {
            struct outgoing o = {t,           m->partition,    m->timestamp_ms, m->deadline_ns,
                                 m->key,      m->value,        m->headers,      m->n_headers,
                                 m->listener, m->deliver_at_ms};

            put_known(w, &o, payload(&o), &e);
        }
        report_waiting(w, t, m, &e);
    }
    for (uint32_t i = 0; t->parts && i < 2 * t->n_producer_parts; i++) {
        part = t->parts[i];
        if (part && !TAILQ_EMPTY(&part->q)) {
            part_work(w, part);
        }
    }
}
