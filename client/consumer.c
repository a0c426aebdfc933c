/*
 * Subscribing. Happy path: the topic's metadata, then the offsets that the options name
 * (LIST_OFFSETS), then SUBSCRIBE with credit. After a lost connection the same again, but positions
 * are known: it goes on at the next expected offset.
 * What can fail: unknown or recreated topic, offset out of range (fatal: the caller decides what a
 * gap means), refusals for now (again later).
 * Owns batches and messages of the subscription.
 */
#include "client/consumer.h"

#include <stdlib.h>
#include <string.h>

#include "client/handle.h"

enum { SUB_RETRY_MS = 50, SUB_RETRY_MAX_MS = 2000 };

/* ---------------------------------------------------------------- life */

weir_sub *weir_subscribe(weir *w, const char *topic, const char *group, const char *options)
{
    weir_sub *s = calloc(1, sizeof *s);
    struct werror we = {0};
    weir_error e = err_done();

    if (!s) {
        return NULL;
    }
    s->error = s->next_error = e;
    TAILQ_INIT(&s->queue);
    TAILQ_INIT(&s->opened);
    sub_options_defaults(&s->opt);
    if (!handle_usable(w, &e)) {
        s->state = SUB_FAILED;
        s->error = e;
        return s; /* without a handle; weir_unsubscribe frees it */
    }
    s->w = w;
    TAILQ_INSERT_TAIL(&w->subs, s, link);
    if (group) {
        sub_fail(s, err_make(WERR_UNKNOWN_OP, "groups are not available in this version"));
    } else if (sub_options_parse(&s->opt, options, &we) != WERR_OK) {
        sub_fail(s, err_from_local(&we));
    } else if (!(s->topic = handle_topic(w, topic, &e))) {
        sub_fail(s, e);
    } else {
        memcpy(s->name, s->topic->name, s->topic->name_len + 1);
        conn_want(&w->conn, handle_now(w));
        meta_want(w, s->topic);
        handle_dirty(w);
    }
    return s;
}

static void free_batches(struct rx_batch_list *list)
{
    struct rx_batch *b;

    while ((b = TAILQ_FIRST(list))) {
        TAILQ_REMOVE(list, b, link);
        rx_batch_free(b);
    }
}

/* Tells the broker to stop sending on the current id. */
static void forget_id(struct weir_sub *s)
{
    struct buf b = {0};
    struct req *r;

    if (s->id == 0 || !conn_ready(&s->w->conn)) {
        s->id = 0;
        return;
    }
    r = &s->req;
    if (r->state == REQ_FREE && conn_prepare(&s->w->conn, r) == WERR_OK) {
        msg_put_sub_update(&b, r->corr, s->id, NULL, 0, NULL, 0);
        buf_fini(&r->frame);
        r->frame = b;
        r->repeat = false;
        r->deadline_mono_ns = CLOCK_NEVER;
        if (conn_submit(&s->w->conn, r) == WERR_OK) {
            conn_cancel(&s->w->conn, r); /* nobody needs the answer */
        }
    }
    s->id = 0;
}

void sub_free(struct weir_sub *s)
{
    struct message_block *block;

    if (s->w) {
        conn_cancel(&s->w->conn, &s->req);
        forget_id(s);
        TAILQ_REMOVE(&s->w->subs, s, link);
    }
    buf_fini(&s->req.frame);
    free_batches(&s->queue);
    free_batches(&s->opened);
    while ((block = s->blocks)) {
        s->blocks = block->next;
        free(block);
    }
    free(s->parts);
    free(s);
}

void weir_unsubscribe(weir_sub *s)
{
    if (s) {
        struct weir *w = s->w;

        sub_free(s);
        if (w && w->tr && !w->closing) {
            w->tr->push(w);
        }
    }
}

void sub_fail(struct weir_sub *s, weir_error e)
{
    conn_cancel(&s->w->conn, &s->req);
    forget_id(s);
    s->state = SUB_FAILED;
    s->error = e;
    s->w->last_error = e;
}

void sub_again(struct weir_sub *s, uint32_t retry_after_ms)
{
    uint32_t ms = (uint32_t)SUB_RETRY_MS << (s->tries < 6 ? s->tries : 6);

    ms = ms < SUB_RETRY_MAX_MS ? ms : SUB_RETRY_MAX_MS;
    ms = retry_after_ms > ms ? retry_after_ms : ms;
    s->tries++;
    conn_cancel(&s->w->conn, &s->req);
    forget_id(s);
    s->state = SUB_META;
    s->retry_ns = clock_after_ms(s->w->now_ns, ms < 60000 ? ms : 60000);
    handle_timer(s->w, s->retry_ns);
    meta_refresh(s->w, s->topic);
}

void sub_on_lost(struct weir_sub *s)
{
    s->id = 0;
    if (s->state != SUB_FAILED) {
        conn_cancel(&s->w->conn, &s->req);
        s->state = SUB_META;
        s->retry_ns = 0;
    }
}

/* A refusal of a request of ours. */
static void refused(struct weir_sub *s, const struct answer *a)
{
    weir_error e = err_from(&a->err, a->cls);

    if (a->err.code == WERR_CLOSED || a->err.code == WERR_CONNECTION_LOST) {
        return; /* sub_on_lost follows */
    }
    if (a->cls == WCLASS_RETRY || a->cls == WCLASS_REFRESH) {
        sub_again(s, a->err.retry_after_ms);
        return;
    }
    err_wrap(&e, "topic %s", s->name);
    sub_fail(s, e);
}

static void broken(struct weir_sub *s, struct werror *e)
{
    werror_wrap(e, "the server broke the protocol");
    conn_break(&s->w->conn, s->w->now_ns, e);
}

/* ---------------------------------------------------------------- partitions */

struct sub_part *sub_part(struct weir_sub *s, uint32_t p)
{
    return p < LIMIT_PARTITIONS && s->index[p] ? &s->parts[s->index[p] - 1] : NULL;
}

static bool wanted(const struct weir_sub *s, uint32_t p)
{
    return !s->opt.some || (s->opt.set[p / 8] >> (p % 8) & 1);
}

/*
 * Makes the table of partitions, or adds those the topic has grown by (read from their start: all
 * that is in them is new). Room for all a topic may have is allocated once, since received batches
 * point into the table.
 */
static bool make_parts(struct weir_sub *s)
{
    const struct topic *t = s->topic;
    bool first = s->parts == NULL;

    for (uint32_t p = t->n_parts; p < LIMIT_PARTITIONS && s->opt.some; p++) {
        if (wanted(s, p)) {
            sub_fail(s, err_make(WERR_UNKNOWN_TOPIC, "topic %s has no partition %u, only 0 to %u",
                                 s->name, p, t->n_parts - 1));
            return false;
        }
    }
    if (first) {
        s->parts = calloc(LIMIT_PARTITIONS, sizeof *s->parts);
        if (!s->parts) {
            sub_fail(s, err_make(WERR_NOMEM, "out of memory"));
            return false;
        }
        s->tid = t->tid;
    }
    for (uint32_t p = 0; p < t->n_parts; p++) {
        if (s->index[p] || !wanted(s, p) || (!first && s->opt.stop_at_end)) {
            continue;
        }
        s->parts[s->n_parts] = (struct sub_part){.p = p, .high = -1};
        if (!first || s->opt.start == START_OFFSET) {
            s->parts[s->n_parts].known = true;
            s->parts[s->n_parts].recv = first ? (uint64_t)s->opt.start_value : 0;
            s->parts[s->n_parts].next = s->parts[s->n_parts].recv;
        }
        s->index[p] = (uint16_t)++s->n_parts;
    }
    return true;
}

void sub_on_topic(struct weir_sub *s)
{
    weir_error e;

    if (s->state == SUB_FAILED) {
        return;
    }
    if (!s->topic->valid) {
        e = err_from(&s->topic->err, s->topic->err_class);
        err_wrap(&e, "topic %s", s->name);
        sub_fail(s, e);
        return;
    }
    if (s->parts && s->tid != s->topic->tid) {
        sub_fail(s, err_make(WERR_UNKNOWN_TOPIC,
                             "topic %s was deleted and created anew: its offsets begin again",
                             s->name));
        return;
    }
    if (s->state == SUB_ACTIVE && !s->opt.some && !s->opt.stop_at_end &&
        s->topic->n_parts > s->n_parts) {
        forget_id(s); /* the topic has grown: subscribe to all of it */
        s->state = SUB_META;
    }
}

/* ---------------------------------------------------------------- offsets */

static bool needs_offsets(const struct weir_sub *s)
{
    for (uint32_t i = 0; i < s->n_parts; i++) {
        if (!s->parts[i].known || (s->opt.stop_at_end && !s->parts[i].has_end)) {
            return true;
        }
    }
    return false;
}

static int64_t start_spec(const struct sub_options *o)
{
    switch (o->start) {
    case START_LATEST:
        return OFFSET_SPEC_END;
    case START_TIME:
        return o->start_value;
    case START_EARLIEST:
    case START_OFFSET:
        break;
    }
    return OFFSET_SPEC_START;
}

/* The answer has one element per question, in the order asked. */
static enum werr take_offsets(struct weir_sub *s, const struct answer *a, struct answer *refusal,
                              struct werror *e)
{
    struct mpread cur = a->result;
    struct msg_offset o;
    uint32_t n;
    enum werr rc = msg_get_list_offsets_ok(&cur, &n, e);

    for (uint32_t i = 0; rc == WERR_OK && i < n; i++) {
        struct sub_part *part;

        rc = msg_get_offset(&cur, &o, e);
        part = rc == WERR_OK && o.tid == s->tid ? sub_part(s, o.p) : NULL;
        if (rc != WERR_OK || !part) {
            continue;
        }
        if (o.err.code != WERR_OK) {
            refusal->err = o.err;
            refusal->cls = werr_class(o.err.code);
            continue;
        }
        if (!part->known) { /* asked first */
            part->known = true;
            part->recv = part->next = o.offset;
        } else if (s->opt.stop_at_end && !part->has_end) {
            part->has_end = true;
            part->end = o.offset;
            part->high = (int64_t)o.offset;
        }
    }
    if (rc == WERR_OK && refusal->err.code == WERR_OK && needs_offsets(s)) {
        rc = werror_set(e, WERR_MALFORMED, "list_offsets: answers are missing");
    }
    return rc;
}

static void on_offsets(struct req *r, const struct answer *a)
{
    struct weir_sub *s = r->arg;
    struct answer refusal = {0};
    struct werror e = {0};

    if (a->err.code != WERR_OK) {
        refused(s, a);
    } else if (take_offsets(s, a, &refusal, &e) != WERR_OK) {
        broken(s, &e);
    } else if (refusal.err.code != WERR_OK) {
        refused(s, &refusal);
    } else {
        s->state = SUB_SUBSCRIBE;
        sub_count_ended(s);
    }
}

static bool prepare(struct weir_sub *s, void (*done)(struct req *, const struct answer *))
{
    s->req.done = done;
    s->req.arg = s;
    s->req.repeat = false;
    s->req.deadline_mono_ns = CLOCK_NEVER;
    buf_clear(&s->req.frame);
    return conn_prepare(&s->w->conn, &s->req) == WERR_OK;
}

static void ask_offsets(struct weir_sub *s)
{
    struct msg_offset_spec *specs = calloc((size_t)s->n_parts * 2, sizeof *specs);
    size_t n = 0;

    if (!specs || !prepare(s, on_offsets)) {
        free(specs);
        sub_again(s, 0);
        return;
    }
    for (uint32_t i = 0; i < s->n_parts; i++) {
        const struct sub_part *part = &s->parts[i];

        if (!part->known) {
            specs[n++] = (struct msg_offset_spec){s->tid, part->p, start_spec(&s->opt)};
        }
        if (s->opt.stop_at_end && !part->has_end) {
            specs[n++] = (struct msg_offset_spec){s->tid, part->p, OFFSET_SPEC_END};
        }
    }
    msg_put_list_offsets(&s->req.frame, s->req.corr, specs, n);
    free(specs);
    if (conn_submit(&s->w->conn, &s->req) != WERR_OK) {
        sub_again(s, 0);
    }
}

/* ---------------------------------------------------------------- SUBSCRIBE */

static void on_subscribed(struct req *r, const struct answer *a)
{
    struct weir_sub *s = r->arg;

    if (a->err.code != WERR_OK) {
        s->id = 0;
        refused(s, a);
    } else {
        s->tries = 0;
    }
}

static void ask_subscribe(struct weir_sub *s)
{
    struct msg_sub_part *parts = calloc(s->n_parts, sizeof *parts);
    struct msg_subscribe m = {0};
    size_t n = 0;

    for (uint32_t i = 0; parts && i < s->n_parts; i++) {
        const struct sub_part *part = &s->parts[i];

        if (!part->has_end || part->recv < part->end) {
            parts[n++] = (struct msg_sub_part){.tid = s->tid, .p = part->p, .offset = part->recv};
        }
    }
    if (!parts || (n > 0 && !prepare(s, on_subscribed))) {
        free(parts);
        sub_again(s, 0);
        return;
    }
    s->state = SUB_ACTIVE;
    if (n > 0) {
        s->id = ++s->w->next_sub_id;
        s->received = 0;
        s->limit = s->opt.window_bytes > s->outstanding ? s->opt.window_bytes - s->outstanding : 0;
        m.sub = s->id;
        m.credit = s->limit;
        msg_put_subscribe(&s->req.frame, s->req.corr, &m, parts, n);
        if (conn_submit(&s->w->conn, &s->req) != WERR_OK) {
            s->id = 0;
            sub_again(s, 0);
        }
    }
    free(parts);
}

void sub_step(struct weir_sub *s)
{
    if (s->state == SUB_FAILED || s->state == SUB_ACTIVE || s->req.state != REQ_FREE) {
        return;
    }
    if (s->w->now_ns < s->retry_ns) {
        handle_timer(s->w, s->retry_ns);
        return;
    }
    if (s->state == SUB_META) {
        if (!s->topic->valid) {
            if (s->topic->state == TOPIC_FAILED) {
                sub_on_topic(s);
            } else {
                meta_want(s->w, s->topic);
            }
            return;
        }
        if (!make_parts(s)) {
            return;
        }
        s->state = SUB_OFFSETS;
    }
    if (!conn_ready(&s->w->conn)) {
        return;
    }
    if (s->state == SUB_OFFSETS) {
        if (needs_offsets(s)) {
            ask_offsets(s);
            return;
        }
        s->state = SUB_SUBSCRIBE;
    }
    if (s->state == SUB_SUBSCRIBE) {
        ask_subscribe(s);
    }
}
