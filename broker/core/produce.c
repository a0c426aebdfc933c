/*
 * Happy path: find the partition, check the batch, judge its sequence, stamp it, add it to the open
 * flight. The answer comes with the flight's completion (flight.c). A delayed batch takes the same
 * way, with a dedupe state of its own, and ends as a row instead of an append (delay.c).
 *
 * What can fail: the batch (never again), the sequence (see judge), and room: a refusal for want of
 * room is shared by every later sequence of that producer in that partition until all that were
 * refused have come again in order, so pipelining never turns a refusal into a gap.
 *
 * Who owns what: the request belongs to its caller, but hangs on its partition's list until it is
 * answered. The batch is copied into a blob of its own size unless it has one: a small batch must
 * not keep a large receive buffer alive in the store's queue and the tail cache.
 */
#include <assert.h>

#include "broker/core/delay_impl.h"
#include "broker/core/mem.h"

enum { RETRY_MS = 100, FULL_RETRY_MS = 1000, MAX_DEDUPES = 1000 * 1000 };

/* What one request is about, while it is being judged. */
struct attempt {
    struct core_produce *rq;
    struct part *part;
    struct dedupe *dedupe;
    struct batch_head h;
};

static bool is_delayed(const struct attempt *a)
{
    return a->rq->deliver_at_ms != 0;
}

static void finish(struct core *co, struct core_produce *rq)
{
    const enum werr rc = rq->err.code;

    if (rc != WERR_OK &&
        (unsigned)rc < sizeof co->stats.produce_refused / sizeof co->stats.produce_refused[0]) {
        co->stats.produce_refused[rc]++;
    }
    rq->done(rq);
}

/* ---------------------------------------------------------------- checks */

static enum werr check_batch(struct attempt *a)
{
    const struct topic_config *c = &a->part->topic->conf;
    const struct batch_rules rules = {.max_bytes = LIMIT_BATCH,
                                      .max_message_bytes = c->message_max_bytes,
                                      .max_records = c->batch_max_records > 0 ? c->batch_max_records
                                                                              : LIMIT_BATCH_RECORDS,
                                      .walk_records = c->validate != TOPIC_VALIDATE_HEADER,
                                      .unzip = c->validate == TOPIC_VALIDATE_FULL};

    /* core.h: writable until the call returns */
    return batch_check((uint8_t *)(uintptr_t)a->rq->batch.p, a->rq->batch.n, &rules, &a->h,
                       &a->rq->err);
}

/*
 * Why nothing can be appended now; WERR_OK = it can. The store is asked once per flight: what
 * changes in between shows in the flight's outcome.
 */
static enum werr room(struct core *co, const struct attempt *a)
{
    struct werror *e = &a->rq->err;
    const uint64_t n = a->rq->batch.n;

    if (a->part->topic->deleting) {
        /* Held like the others: the deletion may still fail. */
        werror_set(e, WERR_UNKNOWN_TOPIC, "the topic is being deleted");
    } else if (co->settling || (co->flight == NULL && store_state(co->st) == STORE_FULL)) {
        const struct werror *why = store_state_reason(co->st);
        werror_set(e, WERR_STORAGE_FULL, "%s",
                   why != NULL && why->text[0] != '\0' ? why->text : werr_text(WERR_STORAGE_FULL));
        e->retry_after_ms = FULL_RETRY_MS;
    } else if (co->inflight_bytes + n > 2 * co->conf.inflight_bytes + LIMIT_BATCH) {
        werror_set(e, WERR_OVERLOADED, "%llu bytes wait for the disk",
                   (unsigned long long)co->inflight_bytes);
        e->retry_after_ms = RETRY_MS;
    } else if (hold_check_produce(co, a->part, e) != WERR_OK) {
        return e->code;
    } else if (a->dedupe != NULL && a->dedupe->unanswered >= LIMIT_PRODUCER_WINDOW) {
        werror_set(e, WERR_THROTTLED, "producer %llu has %d unanswered batches in this partition",
                   (unsigned long long)a->h.producer_id, LIMIT_PRODUCER_WINDOW);
        e->retry_after_ms = RETRY_MS;
    } else {
        return WERR_OK;
    }
    return e->code;
}

static enum werr out_of_order(const struct attempt *a, const char *what)
{
    const struct window *w = &a->dedupe->w;

    a->rq->expected_seq = (uint32_t)w->next_seq;
    a->rq->got_seq = a->h.base_seq;
    if (a->dedupe->recovered && a->part->topic->conf.durability == TOPIC_DURABILITY_OS) {
        return werror_set(&a->rq->err, WERR_REREGISTER,
                          "sequence %u expected after the restart, got %u: what was acknowledged "
                          "as written was lost",
                          a->rq->expected_seq, a->h.base_seq);
    }
    return werror_set(&a->rq->err, WERR_OUT_OF_ORDER_SEQ, "sequence %u %s, expected %u",
                      a->h.base_seq, what, a->rq->expected_seq);
}

/* True for the request that waits for that offset, or that delay sequence. */
static bool is_twin(const struct attempt *a, const struct core_produce *rq, uint64_t offset)
{
    if (is_delayed(a)) {
        return rq->internal[1] == offset;
    }
    return rq->internal[1] == 0 && rq->ok.base_offset == offset;
}

/* The stored twin of a request that came again. Returns true when the answer has to wait. */
static bool duplicate(struct core *co, struct attempt *a, uint64_t offset)
{
    struct core_produce *first = a->part->first;
#ifdef WEIR_BUG_BLIND1
    bool durable = offset <= a->part->hw;
#else
    bool durable = offset < a->part->hw;
#endif

    co->stats.produce_duplicates++;
    a->rq->ok = (struct msg_produce_ok){.has_offset = !is_delayed(a),
                                        .base_offset = is_delayed(a) ? 0 : offset,
                                        .append_ms = a->dedupe->w.last_ms,
                                        .level = LEVEL_DISK,
                                        .flags = PRODUCE_DUPLICATE};
    if (is_delayed(a)) {
        delay_name(a->part, offset, a->rq);
        durable = !delay_arriving(co, a->part, offset, a->rq);
    }
    if (durable) {
        return false;
    }
    while (first != NULL && !is_twin(a, first, offset)) {
        first = first->next;
    }
    if (first == NULL) {
        a->rq->ok.level = LEVEL_WRITTEN; /* answered as written, not yet on disk */
        return false;
    }
    memcpy(&a->rq->internal[0], &first->internal[0], sizeof first);
    memcpy(&first->internal[0], &a->rq, sizeof first);
    return true;
}

/* A producer that this partition does not know may only begin. */
static enum werr judge_new(struct core *co, struct attempt *a)
{
    struct werror *e = &a->rq->err;

#ifndef WEIR_BUG_DEDUPE_RAM_ONLY
    if (a->h.base_seq != 0) {
        if (a->part->topic->conf.durability == TOPIC_DURABILITY_OS &&
            producer_older(co, a->h.producer_id)) {
            return werror_set(e, WERR_REREGISTER,
                              "producer %llu is not known after the restart: what was acknowledged "
                              "as written was lost",
                              (unsigned long long)a->h.producer_id);
        }
        return werror_set(e, WERR_UNKNOWN_PRODUCER,
                          "producer %llu is not known here and begins with sequence %u, not 0",
                          (unsigned long long)a->h.producer_id, a->h.base_seq);
    }
#endif
    if (HASH_CNT(hh, co->dedupes) >= MAX_DEDUPES) {
        werror_set(e, WERR_OVERLOADED, "%d producers are remembered, no more are allowed",
                   MAX_DEDUPES);
        e->retry_after_ms = RETRY_MS;
        return e->code;
    }
    a->dedupe = dedupe_new(co, a->part, a->h.producer_id, is_delayed(a));
    a->dedupe->w.last_ms = core_wall_ms(co);
#ifdef WEIR_BUG_DEDUPE_RAM_ONLY
    a->dedupe->w.next_seq = a->h.base_seq;
#endif
    return WERR_OK;
}

/*
 * INIT of a named producer tells where it stands in the logs, not in its delayed batches: in a new
 * epoch it counts those from 0 again.
 */
static void new_delayed_epoch(struct attempt *a)
{
    if (a->h.producer_epoch > a->dedupe->w.epoch && a->h.base_seq == 0) {
        window_fini(&a->dedupe->w);
        a->dedupe->w.epoch = a->h.producer_epoch;
        a->dedupe->held = 0;
    }
}

/*
 * The rules of G5. WERR_OK = append it. *wait: it is the twin of one in flight, answered with it.
 * *known: it is stored already, rq->ok says where.
 */
static enum werr judge(struct core *co, struct attempt *a, bool *known, bool *wait)
{
    struct werror *e = &a->rq->err;
    uint64_t offset = 0;
    enum werr rc;

    a->dedupe = dedupe_find(co, a->part, a->h.producer_id, is_delayed(a));
    rc = producer_check(co, a->dedupe, a->h.producer_id, a->h.producer_epoch, e);
    if (rc == WERR_OK && a->dedupe == NULL) {
        rc = judge_new(co, a);
    }
    if (rc != WERR_OK) {
        return rc;
    }
    assert(a->dedupe != NULL);
    if (is_delayed(a)) {
        new_delayed_epoch(a);
    }
    switch (window_judge(&a->dedupe->w, a->h.base_seq, a->h.count, &offset)) {
    case WINDOW_APPEND:
        return WERR_OK;
    case WINDOW_KNOWN:
        *known = true;
        *wait = duplicate(co, a, offset);
        return WERR_OK;
    case WINDOW_FORGOTTEN:
        return werror_set(e, WERR_DUP_UNKNOWN_OFFSET,
                          "sequence %u was stored before the last %d batches", a->h.base_seq,
                          LIMIT_PRODUCER_WINDOW);
    case WINDOW_AHEAD:
        if (a->dedupe->held != 0) {
            const struct window *w = &a->dedupe->w;
            const uint64_t seq = w->next_seq + (uint32_t)(a->h.base_seq - (uint32_t)w->next_seq);
            dedupe_hold(a->dedupe, (enum werr)a->dedupe->held, seq + a->h.count);
            werror_set(e, (enum werr)a->dedupe->held,
                       "sequence %u was refused and has to come first", (uint32_t)w->next_seq);
            e->retry_after_ms = RETRY_MS;
            return e->code;
        }
        return out_of_order(a, "leaves a gap");
    case WINDOW_MISFIT:
        break;
    }
    return out_of_order(a, "does not match what was stored");
}

/* ---------------------------------------------------------------- appending */

/* The batch in a blob of about its own size; takes a reference or copies. NULL owner: no memory. */
static struct bytes own_batch(struct bytes b)
{
    if (b.owner != NULL && b.owner->n <= b.n + b.n / 4 + 256) {
        blob_ref(b.owner);
        return b;
    }
    struct blob *copy = blob_copy(b.p, b.n);
    return (struct bytes){
        .owner = copy, .p = copy != NULL ? copy->p : NULL, .n = copy != NULL ? b.n : 0};
}

static void link_request(struct part *pt, struct core_produce *rq)
{
    rq->next = NULL;
    if (pt->last != NULL) {
        pt->last->next = rq;
    } else {
        pt->first = rq;
    }
    pt->last = rq;
}

static void count_append(struct core *co, struct attempt *a, struct bytes batch)
{
    co->stats.produce_records += a->h.count;
    co->stats.produce_bytes += batch.n;
    if (a->dedupe != NULL) {
        struct dedupe *d = a->dedupe;
        window_push(&d->w, a->h.base_offset, a->h.count);
        d->w.epoch = a->h.producer_epoch;
        d->w.last_ms = a->h.append_ms;
        if (d->w.next_seq >= d->held_end) {
            d->held = 0;
        }
        d->recovered = false;
        d->refs++;
        d->unanswered++;
        if (!d->delayed) {
            dedupe_changed(co, d);
        }
    }
}

/* A delayed batch: a row in the open flight, and the window's beside it. */
static void keep(struct core *co, struct attempt *a, struct bytes batch)
{
    const uint64_t seq = delay_keep(co, a->part, a->dedupe, &a->h, a->rq, batch);

    a->h.base_offset = seq; /* what its window counts by */
    count_append(co, a, batch);
    if (a->dedupe != NULL) {
        dedupe_put(a->dedupe, flight_rows(co, STORE_LAZY));
    }
    a->rq->ok = (struct msg_produce_ok){.append_ms = a->h.append_ms};
    delay_name(a->part, seq, a->rq);
    a->rq->internal[0] = 0;
    a->rq->internal[1] = seq;
    link_request(a->part, a->rq);
}

static void append(struct core *co, struct attempt *a, struct bytes batch)
{
    struct flight *g = flight_open(co, batch.n);
    struct part *pt = a->part;
    uint64_t told;

    a->h.base_offset = pt->next;
    a->h.append_ms = g->append_ms > pt->last_append_ms ? g->append_ms : pt->last_append_ms;
    a->h.epoch = co->epoch;
    told = a->h.base_offset;
#ifdef WEIR_BUG_OFFSET_REUSE
    if (g->n > 0 && g->items[g->n - 1].part == pt) {
        told = g->items[g->n - 1].base;
    }
#endif
    batch_stamp((uint8_t *)(uintptr_t)batch.p, a->h.base_offset, a->h.append_ms, a->h.epoch);
    flight_add(co, g,
               &(struct append){.part = pt,
                                .dedupe = a->dedupe,
                                .rq = a->rq,
                                .batch = batch,
                                .base = a->h.base_offset,
                                .count = a->h.count,
                                .os = pt->topic->conf.durability == TOPIC_DURABILITY_OS},
               &a->h);
    count_append(co, a, batch);
    a->rq->ok = (struct msg_produce_ok){
        .has_offset = true, .base_offset = told, .append_ms = a->h.append_ms};
    a->rq->internal[0] = a->rq->internal[1] = 0;
    link_request(pt, a->rq);
#ifdef WEIR_BUG_ACK_BEFORE_SYNC
    g->items[g->n - 1].rq = NULL;
    a->rq->ok.level = LEVEL_DISK;
    if (a->dedupe != NULL) {
        a->dedupe->unanswered--;
    }
    produce_answer(co, pt, a->rq, WERR_OK, NULL);
#endif
}

/* WERR_OK with *answered = false: it is in flight. */
static enum werr try_produce(struct core *co, struct attempt *a, bool *answered)
{
    struct werror *e = &a->rq->err;
    bool known = false, wait = false;
    enum werr rc;

    a->part = topic_part(co, a->rq->tid, a->rq->p, true, e);
    if (a->part == NULL) {
        return e->code;
    }
    rc = check_batch(a);
    if (rc != WERR_OK) {
        return rc;
    }
    if (co->draining || co->failed) {
        return werror_set(e, WERR_SHUTTING_DOWN, "%s", werr_text(WERR_SHUTTING_DOWN));
    }
    if (a->h.producer_id != 0) {
        rc = judge(co, a, &known, &wait);
        if (rc != WERR_OK || known) {
            *answered = !wait;
            return rc;
        }
    }
    rc = room(co, a);
    if (rc != WERR_OK) {
        if (a->dedupe != NULL) {
            /* If the topic stays after all, it is known, but the sequence has to wait. */
            dedupe_hold(a->dedupe, rc == WERR_UNKNOWN_TOPIC ? WERR_OVERLOADED : rc,
                        a->dedupe->w.next_seq + a->h.count);
        }
        return rc;
    }
    const struct bytes batch = own_batch(a->rq->batch);
    if (batch.owner == NULL) {
        return werror_set(e, WERR_OVERLOADED, "no memory for a batch of %zu bytes", a->rq->batch.n);
    }
    if (is_delayed(a)) {
        keep(co, a, batch);
    } else {
        append(co, a, batch);
    }
    *answered = false;
    return WERR_OK;
}

void core_produce(struct core *co, struct core_produce *rq)
{
    struct attempt a = {.rq = rq};
    bool answered = true;

    rq->err = (struct werror){.code = WERR_OK};
    rq->ok = (struct msg_produce_ok){0};
    rq->expected_seq = rq->got_seq = 0;
    co->stats.produce_requests++;
    if (rq->deliver_at_ms == 0 || delay_check(co, rq) == WERR_OK) {
        (void)try_produce(co, &a, &answered);
    }
    if (answered) {
        finish(co, rq);
    }
}
