/*
 * What became of batches. Happy path: the answer has the offset, the messages are done.
 * Refusals: by class. "Not now" queues the batch again and holds the part back until all in flight
 * are answered (the broker refuses every later sequence too); "never" ends it and renumbers what is
 * behind; "register anew" asks for a new identity; "fenced" ends the handle. No answer:
 * maybe_stored.
 */
#include <string.h>

#include "client/handle.h"
#include "proto/msg_group.h"

enum { HOLD_MIN_MS = 10, HOLD_MAX_MS = 1000, DEADLINE_RETRY_MS = 5 };

void part_skip(struct part *part, const struct outbatch *b)
{
    if (!b->has_seq) {
        return;
    }
    if (!part->renumber || (int32_t)(b->base_seq - part->renumber_from) < 0) {
        part->renumber_from = b->base_seq;
    }
    part->renumber = true;
    part->recover = true;
}

void outbatch_give_up(struct weir *w, struct outbatch *b, const weir_error *e)
{
    weir_error unknown = *e;

    if (b->maybe_stored) {
        unknown.outcome = WEIR_UNKNOWN; /* an earlier attempt may have been stored */
    }
    outbatch_report(w, b, false, &unknown, -1, 0);
    outbatch_drop(w, b);
}

static void done(struct weir *w, struct outbatch *b, const struct msg_produce_ok *ok)
{
    weir_error e = err_done();

    e.duplicate = ok->flags & PRODUCE_DUPLICATE ? 1 : 0;
    if (ok->delay_id.n > 0 && ok->delay_id.n <= LIMIT_DELAY_ID && b->report) {
        b->report->delay_id = strndup((const char *)ok->delay_id.p, ok->delay_id.n);
    }
    b->part->refusals = 0;
    b->part->refused.code = WERR_OK;
    outbatch_report(w, b, false, &e, ok->has_offset ? (int64_t)ok->base_offset : -1, ok->append_ms);
    outbatch_drop(w, b);
}

/* Not now: the part waits, then begins again at the first refused batch. */
static void hold(struct weir *w, struct part *part, const struct werror *e)
{
    uint32_t shift = part->refusals < 7 ? part->refusals : 7;
    uint32_t ms = (uint32_t)HOLD_MIN_MS << shift;

    ms = ms < HOLD_MAX_MS ? ms : HOLD_MAX_MS;
    ms = ms / 2 + (uint32_t)(conn_random(&w->conn) % (ms / 2 + 1));
    ms = e->retry_after_ms > ms ? e->retry_after_ms : ms;
    ms = ms < 60000 ? ms : 60000;
    if (!part->recover) {
        part->refusals++; /* once per round, not per batch */
        part->hold_until_ns = clock_after_ms(w->now_ns, ms);
        handle_timer(w, part->hold_until_ns);
    }
    part->refused = *e;
    part->recover = true;
}

static void requeue(struct outbatch *b)
{
    b->state = BATCH_QUEUED;
    b->part->recover = true;
}

static void refused(struct weir *w, struct outbatch *b, const struct answer *a)
{
    struct part *part = b->part;
    weir_error e = err_from(&a->err, a->cls);

    b->state = BATCH_QUEUED;
    if (producer_failed(&w->prod)) {
        b->maybe_stored = b->maybe_stored || a->cls == WCLASS_UNKNOWN;
        outbatch_give_up(w, b, &w->prod.fatal);
        return;
    }
    if (a->err.code == WERR_REREGISTER ||
        (a->err.code == WERR_UNKNOWN_PRODUCER && !b->maybe_stored)) {
        b->maybe_stored = false;
        part->reregister = true;
        requeue(b);
        return;
    }
    if (a->err.code == WERR_OUT_OF_ORDER_SEQ && part->recover) {
        b->maybe_stored = false; /* the gap is a batch that was refused just before */
        requeue(b);
        return;
    }
    switch (a->cls) {
    case WCLASS_FENCED:
        outbatch_give_up(w, b, &e);
        producer_fail(w, &e);
        return;
    case WCLASS_REFRESH:
        part->check_topic = true;
        meta_refresh(w, part->topic);
        hold(w, part, &a->err);
        return;
    case WCLASS_RETRY:
        hold(w, part, &a->err);
        return;
    case WCLASS_UNKNOWN:
        b->maybe_stored = true; /* asking again with the same sequence is safe */
        hold(w, part, &a->err);
        return;
    case WCLASS_NEVER:
        break;
    }
    if (b->maybe_stored) {
        part->reregister = true; /* its sequence may be taken: nobody else may use it */
        part->recover = true;
    } else {
        part_skip(part, b);
    }
    outbatch_give_up(w, b, &e);
}

void outbatch_answered(struct req *r, const struct answer *a)
{
    struct weir *w = r->arg;
    struct outbatch *b = (struct outbatch *)(void *)((char *)r - offsetof(struct outbatch, req));
    struct part *part = b->part;
    struct mpread cur = a->result;
    struct msg_produce_ok ok = {.has_offset = false};
    struct werror e;

    part->n_inflight--;
    w->prod.n_inflight--;
    w->prod.inflight_bytes -= b->image_bytes;
    part_work(w, part);
    if (a->err.code == WERR_CONNECTION_LOST || a->err.code == WERR_CLOSED) {
        b->state = BATCH_LOST;
    } else if (a->err.code == WERR_DUP_UNKNOWN_OFFSET) {
        ok.flags = PRODUCE_DUPLICATE;
        done(w, b, &ok);
    } else if (a->err.code != WERR_OK) {
        refused(w, b, a);
    } else if (msg_get_produce_ok(&cur, &ok, &e) == WERR_OK) {
        done(w, b, &ok);
    } else {
        b->state = BATCH_LOST;
        werror_wrap(&e, "the server broke the protocol: produce");
        conn_break(&w->conn, w->now_ns, &e);
    }
}

void producer_fail(struct weir *w, const weir_error *e)
{
    struct part *part, *next_part;
    struct outbatch *b, *next;
    struct topic *t;
    struct waiting *m;

    w->prod.fatal = *e;
    w->last_error = *e;
    for (part = TAILQ_FIRST(&w->prod.busy); part; part = next_part) {
        next_part = TAILQ_NEXT(part, busy);
        for (b = TAILQ_FIRST(&part->q); b; b = next) {
            next = TAILQ_NEXT(b, link);
            if (b->state != BATCH_INFLIGHT) {
                outbatch_give_up(w, b, e);
            }
        }
    }
    TAILQ_FOREACH (t, &w->meta.topics, link) {
        while ((m = TAILQ_FIRST(&t->waiting))) {
            report_waiting(w, t, m, e);
        }
    }
}

/* ---------------------------------------------------------------- connection */

void producer_on_ready(struct weir *w)
{
    struct part *part;

    TAILQ_FOREACH (part, &w->prod.busy, busy) {
        part_work(w, part);
    }
}

/* What was in flight is queued again; it may be stored, unless something ahead of it is not. */
static void part_lost(struct weir *w, struct part *part)
{
    struct outbatch *b, *next;
    bool gap = false; /* a batch ahead is known not to be stored: nor is any behind it */

    for (b = TAILQ_FIRST(&part->q); b; b = next) {
        next = TAILQ_NEXT(b, link);
        gap = gap ||
              (part->renumber && b->has_seq && (int32_t)(b->base_seq - part->renumber_from) >= 0);
        if (b->state == BATCH_LOST) {
            b->state = BATCH_QUEUED;
            b->maybe_stored = b->maybe_stored || !gap;
            if (producer_failed(&w->prod)) {
                outbatch_give_up(w, b, &w->prod.fatal);
            }
        } else if (b->state == BATCH_QUEUED && b->has_seq && !b->maybe_stored) {
            gap = true;
        }
    }
    part->unsent = TAILQ_FIRST(&part->q);
}

void producer_on_lost(struct weir *w)
{
    struct part *part, *next;

    for (part = TAILQ_FIRST(&w->prod.busy); part; part = next) {
        next = TAILQ_NEXT(part, busy);
        part_lost(w, part);
    }
}

/* ---------------------------------------------------------------- deadlines */

/* The error of a message whose time ran out before it was sent. */
static weir_error not_sent(const struct weir *w, const struct part *part)
{
    weir_error e;

    if (w->conn.state != CONN_READY) {
        return handle_unreachable(w);
    }
    if (part && part->refused.code != WERR_OK) {
        e = err_from_local(&part->refused);
        err_wrap(&e, "gave up");
        return e;
    }
    return err_make_as(WERR_TIMEOUT, WEIR_RETRY, "not sent in time");
}

/* True: b may be dropped since it is not in the broker and nothing behind it is in flight. */
static void expire(struct weir *w, struct part *part, struct outbatch *b)
{
    weir_error e;

    if (b->state == BATCH_INFLIGHT || b->maybe_stored) {
        e = w->conn.state == CONN_READY
                ? err_make(WERR_TIMEOUT, "no answer in time: it may have been stored")
                : err_make(WERR_CONNECTION_LOST,
                           "the connection was lost before an answer: it may have been stored");
        outbatch_report(w, b, true, &e, -1, 0); /* b stays until the broker tells: see producer.h */
    } else if (b->has_seq && part->n_inflight > 0) {
        handle_timer(w, clock_after_ms(w->now_ns, DEADLINE_RETRY_MS));
    } else {
        e = not_sent(w, part);
        part_skip(part, b);
        outbatch_give_up(w, b, &e);
        part_work(w, part);
    }
}

static void tick_waiting(struct weir *w)
{
    struct topic *t;
    struct waiting *m, *next;
    weir_error e;

    TAILQ_FOREACH (t, &w->meta.topics, link) {
        for (m = TAILQ_FIRST(&t->waiting); m; m = next) {
            next = TAILQ_NEXT(m, link);
            if (m->deadline_ns <= w->now_ns) {
                e = not_sent(w, NULL);
                report_waiting(w, t, m, &e);
            } else {
                handle_timer(w, m->deadline_ns);
            }
        }
    }
}

void producer_tick(struct weir *w)
{
    struct part *part, *next_part;
    struct outbatch *b, *next;

    for (part = TAILQ_FIRST(&w->prod.busy); part; part = next_part) {
        next_part = TAILQ_NEXT(part, busy);
        part_work(w, part); /* lingers and holds set their timers there */
        for (b = TAILQ_FIRST(&part->q); b; b = next) {
            next = TAILQ_NEXT(b, link);
            if (!b->report) {
                continue;
            }
            if (b->deadline_ns <= w->now_ns) {
                expire(w, part, b);
            } else {
                handle_timer(w, b->deadline_ns);
            }
        }
    }
    if (w->prod.n_waiting > 0) {
        tick_waiting(w);
    }
}
