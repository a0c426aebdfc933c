/*
 * Messages out. Happy path: the next record of the batch at hand becomes a message; a used-up batch
 * is replaced by the next of the queue; an empty queue means a turn of the transport. When the last
 * message of a batch is given back its memory goes and the broker gets credit.
 * What can fail: a batch whose records don't parse or don't add up (fatal for the subscription).
 */
#include <stdlib.h>

#include "client/consumer.h"
#include "client/group.h"
#include "client/handle.h"

enum { TURN_EVERY_MS = 1 };

static bool more_messages(struct weir_sub *s)
{
    struct message_block *block = malloc(sizeof *block);

    if (!block) {
        return false;
    }
    block->next = s->blocks;
    s->blocks = block;
    for (size_t i = 0; i < MESSAGES_PER_BLOCK; i++) {
        block->messages[i].batch = NULL;
        block->messages[i].m.deliveries = 1;
        block->messages[i].m.reason = NULL;
        block->messages[i].next_free = s->free_messages;
        s->free_messages = &block->messages[i];
    }
    return true;
}

void sub_retire(struct weir_sub *s, struct rx_batch *b)
{
    TAILQ_REMOVE(&s->opened, b, link);
    s->outstanding -= b->charged;
    s->held_bytes -= b->held_bytes;
    rx_batch_free(b);
    sub_grant(s);
}

/* What was received before is handed out first; what came after a damaged batch is not. */
static void corrupt(struct weir_sub *s, const struct rx_batch *b, const char *what)
{
    struct rx_batch *q;

    while ((q = TAILQ_FIRST(&s->queue))) {
        TAILQ_REMOVE(&s->queue, q, link);
        s->outstanding -= q->charged;
        rx_batch_free(q);
    }
    sub_fail(s, err_make(WERR_CORRUPT, "topic %s partition %u, batch at offset %llu: %s",
                         b->part->name, b->part->p, (unsigned long long)b->head.base_offset, what));
}

/* The batch at hand is used up (or damaged). */
static void close_batch(struct weir_sub *s)
{
    struct rx_batch *b = s->cur;
    struct sub_part *part = b->part;
    uint64_t end = b->head.base_offset + b->head.count;
    bool was_ended = part->has_end && part->next >= part->end;

    s->cur = NULL;
    if (s->it.err != WERR_OK) {
        corrupt(s, b, s->it.what ? s->it.what : "records that cannot be read");
    } else if (s->kind != SUB_QUEUE && b->gen == part->gen) {
        part->next = end > part->next ? end : part->next;
        s->n_ended += !was_ended && part->has_end && part->next >= part->end;
    }
    b->read = true;
    if (b->out == 0) {
        sub_retire(s, b);
    }
}

/* Opens the next batch of the queue. False: none, or the caller holds too much. */
static bool open_batch(struct weir_sub *s)
{
    struct rx_batch *b = TAILQ_FIRST(&s->queue);
    struct zstd_ctx *z;
    struct werror e = {0};

    if (!b || (s->kind != SUB_QUEUE && s->held_bytes >= s->opt.window_bytes && s->held_bytes > 0)) {
        return false;
    }
    TAILQ_REMOVE(&s->queue, b, link);
    TAILQ_INSERT_TAIL(&s->opened, b, link);
    buf_init(&b->scratch, LIMIT_UNZIPPED);
    z = b->head.codec == BATCH_CODEC_ZSTD ? handle_zstd(s->w) : NULL;
    if (record_open_with(z, &s->it, b->bytes, &b->head, &b->scratch, &e) != WERR_OK) {
        b->read = true;
        corrupt(s, b, e.text);
        sub_retire(s, b);
        return false;
    }
    b->held_bytes = b->bytes.n + b->scratch.cap;
    s->held_bytes += b->held_bytes;
    s->cur = b;
    s->cur_offset = b->head.base_offset;
    s->cur_range = b->ranges;
    s->ranges_left = b->n_ranges;
    return true;
}

/* A free message becomes the one that rec is. */
static inline struct rx_message *make_message(struct weir_sub *s, struct rx_batch *b,
                                              uint64_t offset, const struct record *rec)
{
    struct rx_message *x = s->free_messages;

    s->free_messages = x->next_free;
    x->batch = b;
    b->out++;
    x->offset = offset;
    x->m.topic = b->part->name;
    x->m.partition = (int32_t)b->part->p;
    x->m.offset = (int64_t)offset;
    x->m.timestamp_ms = b->head.base_ts_ms + rec->ts_delta_ms;
    x->m.append_ms = b->head.append_ms;
    x->m.key = weir_bytes_of(rec->key.p, rec->key.n);
    x->m.value = weir_bytes_of(rec->value.p, rec->value.n);
    x->m.raw_headers = weir_bytes_of(rec->headers.p, rec->headers.n);
    return x;
}

/* The next leased message of the batch at hand; NULL: used up. */
static const weir_message *read_leased(struct weir_sub *s)
{
    struct rx_batch *b = s->cur;
    struct rx_message *x;
    struct record rec;
    uint64_t offset;

    if (!s->free_messages && !more_messages(s)) {
        return NULL;
    }
    do {
        offset = s->cur_offset;
        if (!record_next(&s->it, &rec)) {
            return NULL;
        }
        s->cur_offset++;
    } while (!lease_covers(s, offset));
    s->g->unread--;
    s->g->handed_out++;
    x = make_message(s, b, offset, &rec);
    x->range = s->cur_range;
    x->m.deliveries = s->cur_range->deliveries;
    x->m.reason = s->cur_range->reason;
    if (b->part->topic->dead_letters) {
        acquire_show_origin(s, x);
    }
    return &x->m;
}

/* The next message of the batch at hand; NULL: used up. The hot path. */
static const weir_message *read_message(struct weir_sub *s)
{
    struct rx_batch *b = s->cur;
    struct sub_part *part = b->part;
    struct record rec;
    uint64_t offset;

    if (s->kind == SUB_QUEUE) {
        return read_leased(s);
    }
    if (!s->free_messages && !more_messages(s)) {
        return NULL;
    }
    do {
        offset = s->cur_offset;
        if (!record_next(&s->it, &rec) || (part->has_end && offset >= part->end)) {
            return NULL;
        }
        s->cur_offset++;
    } while (offset < part->next); /* below the offset asked for */
    if (s->kind == SUB_LOG && !part_room(part, offset)) {
        sub_fail(s, err_make(WERR_NOMEM, "out of memory"));
        s->cur_offset = UINT64_MAX; /* nothing more of this batch */
        return NULL;
    }
    part->next = offset + 1;
    if (part->has_end && part->next == part->end) {
        s->n_ended++;
    }
    return &make_message(s, b, offset, &rec)->m;
}

void sub_drop_unread(struct weir_sub *s, const struct sub_part *part)
{
    struct rx_batch *b, *next;

    for (b = TAILQ_FIRST(&s->queue); b; b = next) {
        next = TAILQ_NEXT(b, link);
        if (!part || b->part == part) {
            TAILQ_REMOVE(&s->queue, b, link);
            s->outstanding -= b->charged;
            rx_batch_free(b);
        }
    }
    b = s->cur;
    if (b && (!part || b->part == part)) {
        s->cur = NULL;
        b->read = true;
        if (b->out == 0) {
            sub_retire(s, b);
        }
    }
    sub_grant(s);
}

const weir_message *sub_take(struct weir_sub *s)
{
    const weir_message *m = NULL;

    while (!m && (s->cur || open_batch(s))) {
        m = read_message(s);
        if (!m && !s->free_messages) {
            sub_fail(s, err_make(WERR_NOMEM, "out of memory"));
            break;
        }
        if (!m) {
            close_batch(s);
        }
    }
    return m;
}

static weir_error nothing_came(const struct weir_sub *s)
{
    weir_error e;

    if (s->w->conn.state != CONN_READY) {
        e = handle_unreachable(s->w);
        e.code = WEIR_E_TIMEOUT;
        return e;
    }
    return err_make_as(WERR_TIMEOUT, WEIR_RETRY, "no message came in time");
}

/* True: give up waiting; next_error tells why. */
static bool over(struct weir_sub *s, int64_t until_ns)
{
    if (s->state == SUB_FAILED) {
        s->next_error = s->error;
    } else if (sub_stopped(s) || sub_ended(s)) {
        s->next_error = err_done();
    } else if (handle_now(s->w) >= until_ns) {
        s->next_error = nothing_came(s);
    } else {
        return false;
    }
    return true;
}

static const weir_message *next_slow(struct weir_sub *s, int timeout_ms)
{
    struct weir *w = s->w;
    const weir_message *m = NULL;
    bool open = true;
    int64_t until;
    weir_error e;

    if (!w || sub_stopped(s)) {
        s->next_error = sub_stopped(s) ? err_done() : s->error;
        return NULL;
    }
    if (s->state == SUB_FAILED || w->in_callback) { /* no I/O inside a callback */
        m = sub_take(s);
        if (!m) {
            (void)over(s, INT64_MIN);
        }
        return m;
    }
    if (!handle_enter(w, true, &e)) {
        s->next_error = e;
        return NULL;
    }
    until = clock_after_ms(w->now_ns, timeout_ms);
    sub_hold(s);
    /* Now and then a turn though messages are here: keeps data and answers coming. */
    if (w->now_ns - w->turned_ns > TURN_EVERY_MS * CLOCK_NS_PER_MS) {
        open = handle_wait(w, w->now_ns);
    }
    while (open && !s->gone && !(m = sub_take(s)) && !over(s, until)) {
        sub_grant(s);
        open = handle_wait(w, until);
    }
    handle_leave(w);
    (void)sub_unhold(s);
    return m;
}

/* Something was given back, and nothing was sent for a while: verdicts want to leave. */
static bool turn_is_due(const struct weir_sub *s)
{
    const struct weir *w = s->w;

    return s->unsent &&
           w->clock.mono_ns(w->clock.arg) - w->turned_ns > TURN_EVERY_MS * CLOCK_NS_PER_MS;
}

const weir_message *weir_next(weir_sub *s, int timeout_ms)
{
    const weir_message *m;

    if (!s) {
        return NULL;
    }
    if (s->cur && !sub_stopped(s) && !turn_is_due(s) && (m = read_message(s))) {
        return m;
    }
    return next_slow(s, timeout_ms);
}

/* Its memory is free again. */
static inline void give_back(struct weir_sub *s, struct rx_message *x)
{
    struct rx_batch *b = x->batch;

    x->batch = NULL;
    x->next_free = s->free_messages;
    s->free_messages = x;
    b->charged -= b->share;
    s->outstanding -= b->share;
    if (--b->out == 0 && b->read) {
        uint64_t limit = s->limit;

        sub_retire(s, b);
        if (s->limit != limit && s->w && s->w->tr) {
            s->w->tr->push(s->w);
        }
    }
}

void weir_done_with(const weir_message *m, weir_verdict v, int64_t delay_ms, const char *reason)
{
    struct rx_message *x = (struct rx_message *)(uintptr_t)m;
    struct weir_sub *s;

    if (!m || !x->batch) {
        return; /* NULL, or given back before */
    }
    s = x->batch->sub;
    if (s->kind == SUB_LOG) {
        log_done(s, x->batch, x->offset, v);
    } else if (s->kind == SUB_QUEUE) {
        queue_done(s, x, v, delay_ms, reason);
    }
    give_back(s, x);
}

void weir_done(const weir_message *m, weir_verdict v)
{
    weir_done_with(m, v, -1, NULL);
}

void weir_extend(const weir_message *m, int64_t ms)
{
    struct rx_message *x = (struct rx_message *)(uintptr_t)m;

    if (m && x->batch && x->batch->sub->kind == SUB_QUEUE) {
        queue_extend(x->batch->sub, x, ms);
    }
}

weir_error weir_sub_error(const weir_sub *s)
{
    if (!s) {
        return err_make(WERR_MISUSE, "the subscription is NULL");
    }
    return s->state == SUB_FAILED && s->next_error.code == WEIR_OK && !sub_stopped(s)
               ? s->error
               : s->next_error;
}

int weir_sub_at_end(const weir_sub *s)
{
    const struct sub_part *part;

    if (!s || TAILQ_EMPTY(&s->parts) || s->state == SUB_FAILED || s->kind == SUB_QUEUE) {
        return 0;
    }
    TAILQ_FOREACH (part, &s->parts, link) {
        if (s->kind == SUB_LOG && !part->held) {
            continue;
        }
        if (!part->known || part->high < 0 || part->next < (uint64_t)part->high) {
            return 0;
        }
    }
    return 1;
}

weir_error weir_sub_position(const weir_sub *s, int32_t partition, int64_t *next, int64_t *high)
{
    const struct sub_part *part = NULL, *x;

    if (!s) {
        return err_make(WERR_MISUSE, "the subscription is NULL");
    }
    TAILQ_FOREACH (x, &s->parts, link) {
        if (partition >= 0 && x->p == (uint32_t)partition && !part &&
            (s->kind == SUB_PLAIN || x->held)) {
            part = x;
        }
    }
    if (!part) {
        return err_make(WERR_UNKNOWN_TOPIC, "partition %d is not part of the subscription",
                        partition);
    }
    if (next) {
        *next = part->known ? (int64_t)part->next : -1;
    }
    if (high) {
        *high = part->high;
    }
    return err_done();
}

void weir_stop(weir_sub *s)
{
    if (s) {
        atomic_store_explicit(&s->stop, 1, memory_order_relaxed);
        if (s->w && s->w->tr) {
            s->w->tr->interrupt(s->w);
        }
    }
}
