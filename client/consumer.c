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

#include "client/group.h"
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
    TAILQ_INIT(&s->topics);
    TAILQ_INIT(&s->parts);
    sub_options_defaults(&s->opt);
    if (!handle_usable(w, &e)) {
        s->state = SUB_FAILED;
        s->error = e;
        return s; /* without a handle; weir_unsubscribe frees it */
    }
    s->w = w;
    TAILQ_INSERT_TAIL(&w->subs, s, link);
    if (sub_options_parse(&s->opt, options, group != NULL, &we) != WERR_OK) {
        sub_fail(s, err_from_local(&we));
    } else if (group) {
        s->kind = s->opt.queue ? SUB_QUEUE : SUB_LOG;
        if (!group_init(s, topic, group, &e)) {
            sub_fail(s, e);
        }
    } else if (!(s->topic = handle_topic(w, topic, &e))) {
        sub_fail(s, e);
    } else {
        meta_want(w, s->topic);
    }
    if (s->state != SUB_FAILED) {
        conn_want(&w->conn, handle_now(w));
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

void sub_forget_id(struct weir_sub *s)
{
    struct buf b = {0};
    struct req r = {.state = REQ_FREE};

    if (s->id == 0 || !conn_ready(&s->w->conn)) {
        s->id = 0;
        return;
    }
    if (conn_prepare(&s->w->conn, &r) == WERR_OK) {
        msg_put_sub_update(&b, r.corr, s->id, NULL, 0, NULL, 0);
        r.frame = b;
        r.deadline_mono_ns = CLOCK_NEVER;
        if (conn_submit(&s->w->conn, &r) == WERR_OK) {
            conn_cancel(&s->w->conn, &r); /* nobody needs the answer */
        }
        buf_fini(&r.frame);
    }
    s->id = 0;
}

void sub_free(struct weir_sub *s)
{
    struct message_block *block;

    if (s->w) {
        conn_cancel(&s->w->conn, &s->req);
        if (s->g) {
            group_farewell(s);
        }
        sub_forget_id(s);
        TAILQ_REMOVE(&s->w->subs, s, link);
        s->w = NULL;
    }
    if (s->busy > 0) {
        s->gone = true; /* the call that is still using it frees it */
        return;
    }
    buf_fini(&s->req.frame);
    free_batches(&s->queue);
    free_batches(&s->opened);
    if (s->g) {
        group_free(s);
    }
    while ((block = s->blocks)) {
        s->blocks = block->next;
        free(block);
    }
    sub_parts_free(s);
    free(s);
}

bool sub_unhold(struct weir_sub *s)
{
    bool gone = s->gone;

    s->busy--;
    if (gone && s->busy == 0) {
        sub_free(s);
    }
    return !gone;
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
    sub_forget_id(s);
    s->state = SUB_FAILED;
    s->error = e;
    s->w->last_error = e;
}

int64_t sub_backoff(struct weir_sub *s, uint32_t retry_after_ms)
{
    uint32_t ms = (uint32_t)SUB_RETRY_MS << (s->tries < 6 ? s->tries : 6);

    ms = ms < SUB_RETRY_MAX_MS ? ms : SUB_RETRY_MAX_MS;
    ms = retry_after_ms > ms ? retry_after_ms : ms;
    s->tries++;
    s->retry_ns = clock_after_ms(s->w->now_ns, ms < 60000 ? ms : 60000);
    handle_timer(s->w, s->retry_ns);
    return s->retry_ns;
}

void sub_again(struct weir_sub *s, uint32_t retry_after_ms)
{
    (void)sub_backoff(s, retry_after_ms);
    conn_cancel(&s->w->conn, &s->req);
    sub_forget_id(s);
    s->state = SUB_META;
    meta_refresh(s->w, s->topic);
}

void sub_on_lost(struct weir_sub *s)
{
    s->id = 0;
    if (s->g) {
        group_on_lost(s);
    } else if (s->state != SUB_FAILED) {
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
    err_wrap(&e, "topic %s", s->topic->name);
    sub_fail(s, e);
}

void sub_broken(struct weir_sub *s, struct werror *e)
{
    werror_wrap(e, "the server broke the protocol");
    conn_break(&s->w->conn, s->w->now_ns, e);
}

/* ---------------------------------------------------------------- partitions */

static bool wanted(const struct weir_sub *s, uint32_t p)
{
    return !s->opt.some || (s->opt.set[p / 8] >> (p % 8) & 1);
}

/*
 * Makes the table of partitions, or adds those the topic has grown by (read from their start: all
 * that is in them is new).
 */
static bool make_parts(struct weir_sub *s)
{
    struct topic *t = s->topic;
    struct sub_topic *st = TAILQ_FIRST(&s->topics);
    bool first = st == NULL;

    for (uint32_t p = t->n_parts; p < LIMIT_PARTITIONS && s->opt.some; p++) {
        if (wanted(s, p)) {
            sub_fail(s, err_make(WERR_UNKNOWN_TOPIC, "topic %s has no partition %u, only 0 to %u",
                                 t->name, p, t->n_parts - 1));
            return false;
        }
    }
    if (first) {
        st = sub_topic_add(s, t->tid, t);
    }
    for (uint32_t p = 0; st && p < t->n_parts; p++) {
        struct sub_part *part;

        if ((p < st->n_parts && st->parts[p]) || !wanted(s, p) || (!first && s->opt.stop_at_end)) {
            continue;
        }
        part = sub_part_add(s, st, p);
        if (!part) {
            st = NULL;
        } else if (!first || s->opt.start == START_OFFSET) {
            part_reset(part, first ? (uint64_t)s->opt.start_value : 0);
        }
    }
    if (!st) {
        sub_fail(s, err_make(WERR_NOMEM, "out of memory"));
    }
    return st != NULL;
}

static void on_topic(struct weir_sub *s)
{
    const struct sub_topic *st = TAILQ_FIRST(&s->topics);
    weir_error e;

    if (s->state == SUB_FAILED) {
        return;
    }
    if (!s->topic->valid) {
        e = err_from(&s->topic->err, s->topic->err_class);
        err_wrap(&e, "topic %s", s->topic->name);
        sub_fail(s, e);
        return;
    }
    if (st && st->tid != s->topic->tid) {
        sub_fail(s, err_make(WERR_UNKNOWN_TOPIC,
                             "topic %s was deleted and created anew: its offsets begin again",
                             s->topic->name));
        return;
    }
    if (s->state == SUB_ACTIVE && !s->opt.some && !s->opt.stop_at_end &&
        s->topic->n_parts > s->n_parts) {
        sub_forget_id(s); /* the topic has grown: subscribe to all of it */
        s->state = SUB_META;
    }
}

void sub_on_topic(struct weir_sub *s, struct topic *t)
{
    if (s->g) {
        group_on_topic(s, t);
    } else if (s->topic == t) {
        on_topic(s);
    }
}

/* ---------------------------------------------------------------- offsets */

static bool needs_offsets(const struct weir_sub *s)
{
    const struct sub_part *part;

    TAILQ_FOREACH (part, &s->parts, link) {
        if (!part->known || (s->opt.stop_at_end && !part->has_end)) {
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
        part = rc == WERR_OK ? sub_part_find(s, o.tid, o.p) : NULL;
        if (rc != WERR_OK || !part) {
            continue;
        }
        if (o.err.code != WERR_OK) {
            refusal->err = o.err;
            refusal->cls = werr_class(o.err.code);
            continue;
        }
        if (!part->known) { /* asked first */
            part_reset(part, o.offset);
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
        sub_broken(s, &e);
    } else if (refusal.err.code != WERR_OK) {
        refused(s, &refusal);
    } else {
        s->state = SUB_SUBSCRIBE;
        sub_count_ended(s);
    }
}

bool sub_prepare(struct weir_sub *s, void (*done)(struct req *, const struct answer *))
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
    const struct sub_part *part;
    size_t n = 0;

    if (!specs || !sub_prepare(s, on_offsets)) {
        free(specs);
        sub_again(s, 0);
        return;
    }
    TAILQ_FOREACH (part, &s->parts, link) {
        if (!part->known) {
            specs[n++] = (struct msg_offset_spec){part->tid, part->p, start_spec(&s->opt)};
        }
        if (s->opt.stop_at_end && !part->has_end) {
            specs[n++] = (struct msg_offset_spec){part->tid, part->p, OFFSET_SPEC_END};
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

void sub_ask_subscribe(struct weir_sub *s, void (*done)(struct req *, const struct answer *))
{
    struct msg_sub_part *parts = calloc(s->n_parts + 1, sizeof *parts);
    struct msg_subscribe m = {.sub = 0};
    struct sub_part *part;
    size_t n = 0;

    TAILQ_FOREACH (part, &s->parts, link) {
        part->subscribed = false;
        if (!parts || (part->has_end && part->recv >= part->end) ||
            (s->kind == SUB_LOG && !part->held)) {
            continue;
        }
        part->subscribed = true;
        parts[n++] = (struct msg_sub_part){.tid = part->tid, .p = part->p, .offset = part->recv};
    }
    if (!parts || (n > 0 && !sub_prepare(s, done))) {
        free(parts);
        (void)sub_backoff(s, 0);
        return;
    }
    s->state = SUB_ACTIVE;
    if (n > 0) {
        s->id = ++s->w->next_sub_id;
        s->received = 0;
        s->limit = s->opt.window_bytes > s->outstanding ? s->opt.window_bytes - s->outstanding : 0;
        m.sub = s->id;
        m.credit = s->limit;
        if (s->g) {
            m.who = group_who(s->g);
        }
        msg_put_subscribe(&s->req.frame, s->req.corr, &m, parts, n);
        if (conn_submit(&s->w->conn, &s->req) != WERR_OK) {
            s->id = 0;
            s->state = SUB_SUBSCRIBE;
            (void)sub_backoff(s, 0);
        }
    }
    free(parts);
}

void sub_step(struct weir_sub *s)
{
    if (s->g) {
        group_step(s);
        return;
    }
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
                on_topic(s);
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
        sub_ask_subscribe(s, on_subscribed);
    }
}
