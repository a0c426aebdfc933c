/*
 * What is submitted to the store, and what happens when it comes back.
 *
 * Happy path: core_produce adds appends to the open flight, groups add rows; core_flush submits it
 * as one txn; the completion raises high watermarks, fills the tail cache, answers producers and
 * other waiters, wakes readers.
 *
 * What can fail: STORAGE_FULL = nothing of the flight happened. The store then fails everything
 * that was submitted behind it too, so the core refuses new appends until all of that is back
 * (`settling`), takes offsets and dedupe windows back to where the store stands, and goes on.
 * Anything else: nobody knows. Everybody in flight hears INDETERMINATE, nothing is accepted again.
 *
 * Who owns what: a job belongs to core->jobs until it ran to STORE_DONE. A flight holds a reference
 * to each batch until then.
 */
#include <assert.h>

#include "broker/core/group_impl.h"
#include "broker/core/mem.h"
#include "proto/killpoint.h"

enum { FLIGHT_BYTES = 4 << 20, FULL_RETRY_MS = 1000 };

/* ---------------------------------------------------------------- jobs */

static struct flight *flight_withdraw(struct core *co, enum werr rc);
static void flight_end(struct core *co, struct flight *g, enum werr rc, const struct werror *e);

static void on_stage(void *arg, enum store_stage stage, enum werr rc, const struct werror *e)
{
    struct job *j = arg;
    struct core *co = j->co;
    struct flight *open = NULL;

    if (stage == STORE_DONE) {
        TAILQ_REMOVE(&co->jobs, j, link);
        if (rc != WERR_OK && rc != WERR_STORAGE_FULL && !co->failed) {
            co->failed = true;
            core_log(co, 0, "store_failed", "code=%s text=\"%s\"", werr_name(rc),
                     e != NULL ? e->text : "");
        }
    }
    if (stage == STORE_DONE && rc == WERR_STORAGE_FULL) {
        /* The store is back at the durable offsets already, and everything behind this job fails
         * the same way: what is being gathered counts on offsets that will not come. Whatever kind
         * of job is the first to tell. */
        open = flight_withdraw(co, rc);
        co->settling = co->flights_out > 0;
    }
    j->run(j, stage, rc, e);
    if (open != NULL) {
        flight_end(co, open, WERR_STORAGE_FULL, e);
    }
    readers_wake(co);
}

void job_submit(struct core *co, struct job *j, struct store_txn *t, enum store_sync sync,
                bool want_written)
{
    flight_submit(co);
    j->co = co;
    TAILQ_INSERT_TAIL(&co->jobs, j, link);
    store_submit(co->st, t, sync, want_written, on_stage, j);
}

/* ---------------------------------------------------------------- answers */

static void answer_one(struct core *co, struct core_produce *rq, enum werr rc,
                       const struct werror *e)
{
    rq->next = NULL;
    if (rc == WERR_OK) {
        WEIR_KILLPOINT(ack_before);
        rq->err = (struct werror){.code = WERR_OK};
    } else {
        if (e != NULL) {
            rq->err = *e;
            rq->err.code = rc;
        } else {
            werror_set(&rq->err, rc, "%s", werr_text(rc));
        }
        if (rc == WERR_STORAGE_FULL) {
            rq->err.retry_after_ms = FULL_RETRY_MS;
        }
        if ((unsigned)rc < sizeof co->stats.produce_refused / sizeof co->stats.produce_refused[0]) {
            co->stats.produce_refused[rc]++;
        }
    }
    rq->done(rq);
}

/* The duplicates of a request that is in flight hang on its internal[0]. */
static struct core_produce *twins(const struct core_produce *rq)
{
    struct core_produce *twin;

    memcpy(&twin, &rq->internal[0], sizeof twin);
    return twin;
}

void produce_answer(struct core *co, struct part *pt, struct core_produce *rq, enum werr rc,
                    const struct werror *e)
{
    struct core_produce *before = NULL;

    for (struct core_produce *r = pt->first; r != rq; r = r->next) {
        before = r;
    }
    if (before != NULL) {
        before->next = rq->next;
    } else {
        pt->first = rq->next;
    }
    if (pt->last == rq) {
        pt->last = before;
    }
    const struct msg_produce_ok ok = rq->ok;
    struct core_produce *twin = twins(rq);
    answer_one(co, rq, rc, e); /* rq may be gone from here on */
    while (twin != NULL) {
        struct core_produce *next = twins(twin);
        const struct slice delay_id = twin->ok.delay_id; /* in its own text */
        twin->ok = ok;
        twin->ok.delay_id = delay_id;
        twin->ok.flags |= PRODUCE_DUPLICATE;
        answer_one(co, twin, rc, e);
        twin = next;
    }
}

static void item_answer(struct core *co, struct append *it, uint32_t level, enum werr rc,
                        const struct werror *e)
{
    struct core_produce *rq = it->rq;

    if (rq == NULL) {
        return;
    }
    it->rq = NULL;
    if (it->dedupe != NULL) {
        it->dedupe->unanswered--;
    }
    rq->ok.level = level;
    produce_answer(co, it->part, rq, rc, e);
}

/* ---------------------------------------------------------------- completions */

static void item_done(struct core *co, struct append *it)
{
    co->inflight_bytes -= it->batch.n;
    blob_unref(it->batch.owner);
    it->batch = (struct bytes){0};
    if (it->dedupe != NULL) {
        it->dedupe->refs--;
    }
}

static void make_visible(struct core *co, struct flight *g)
{
    for (uint32_t i = 0; i < g->n; i++) {
        struct append *it = &g->items[i];
        if (it->delayed != NULL) {
            delay_stored(co, it->delayed);
            it->delayed = NULL; /* not ours any more */
            continue;
        }
        if (it->base < it->part->hw) {
            continue;
        }
        tail_put(&co->tail, &it->part->tail, it->base, it->count, it->batch);
        part_raise(co, it->part, it->base + it->count);
    }
}

/* Nothing of it happened: offsets and windows go back to where the store stands. */
static void take_back(struct core *co, struct flight *g, enum werr rc)
{
    for (uint32_t i = 0; i < g->n; i++) {
        struct append *it = &g->items[i];
        if (it->delayed != NULL) {
            delay_failed(co, it->delayed);
            it->delayed = NULL;    /* freed */
        } else if (!co->closing) { /* the store may be gone already */
            it->part->next = store_next_offset(co->st, it->part->id);
        }
        if (it->dedupe != NULL) {
            dedupe_hold(it->dedupe, rc, it->dedupe->w.next_seq);
#ifdef WEIR_BUG_BLIND2
            window_rollback(&it->dedupe->w, it->base + it->count);
#else
            window_rollback(&it->dedupe->w, it->base);
#endif
        }
    }
}

static void flight_free(struct flight *g)
{
    free(g->items);
    free(g);
}

static void flight_end(struct core *co, struct flight *g, enum werr rc, const struct werror *e)
{
    struct waiter *w;

    for (uint32_t i = 0; i < g->n; i++) {
        item_done(co, &g->items[i]);
        item_answer(co, &g->items[i], LEVEL_DISK, rc, e);
    }
    while ((w = TAILQ_FIRST(&g->waiters)) != NULL) {
        TAILQ_REMOVE(&g->waiters, w, link);
        w->run(w, rc, e);
    }
    flight_free(g);
}

/* The open flight, taken back and to be answered; NULL = there was none. */
static struct flight *flight_withdraw(struct core *co, enum werr rc)
{
    struct flight *g = co->flight;

    if (g != NULL) {
        co->flight = NULL;
        store_txn_free(g->txn);
        take_back(co, g, rc);
    }
    return g;
}

void flight_drop(struct core *co, enum werr rc, const char *why)
{
    struct flight *g = flight_withdraw(co, rc);
    struct werror e;

    if (g != NULL) {
        werror_set(&e, rc, "%s", why);
        flight_end(co, g, rc, &e);
    }
}

/* All state goes back before the first answer: an answer may bring the next request. */
static void flight_full(struct core *co, struct flight *g, const struct werror *e)
{
    co->settling = co->flights_out > 0;
    retention_changed(co);
    take_back(co, g, WERR_STORAGE_FULL);
    flight_end(co, g, WERR_STORAGE_FULL, e);
}

static void flight_run(struct job *j, enum store_stage stage, enum werr rc, const struct werror *e)
{
    struct flight *g = (struct flight *)(void *)j;
    struct core *co = j->co;

    if (stage == STORE_WRITTEN) {
#ifdef WEIR_BUG_HW_EARLY
        make_visible(co, g);
#endif
        for (uint32_t i = 0; i < g->n; i++) {
            if (g->items[i].os) {
                item_answer(co, &g->items[i], LEVEL_WRITTEN, WERR_OK, NULL);
            }
        }
        return;
    }
    co->flights_out--;
    if (rc == WERR_STORAGE_FULL) {
        flight_full(co, g, e);
        return;
    }
    if (co->flights_out == 0) {
        co->settling = false;
    }
    if (rc == WERR_OK) {
        WEIR_KILLPOINT(hw_raise_before);
        make_visible(co, g);
        WEIR_KILLPOINT(hw_raise_after);
    } else {
        rc = WERR_INDETERMINATE;
    }
    flight_end(co, g, rc, e);
}

/* ---------------------------------------------------------------- gathering */

struct flight *flight_open(struct core *co, uint64_t bytes)
{
    if (co->flight != NULL && co->flight->bytes + bytes > FLIGHT_BYTES) {
        flight_submit(co);
    }
    if (co->flight == NULL) {
        co->flight = core_calloc(1, sizeof *co->flight);
        co->flight->job.run = flight_run;
        co->flight->txn = store_txn_new(co->st);
        co->flight->append_ms = core_wall_ms(co);
        TAILQ_INIT(&co->flight->waiters);
    }
    return co->flight;
}

struct store_txn *flight_rows(struct core *co, enum store_sync sync)
{
    struct flight *g = co->flight != NULL ? co->flight : flight_open(co, 0);

    g->disk = g->disk || sync == STORE_SYNC;
    return g->txn;
}

void flight_wait(struct core *co, struct waiter *w)
{
    (void)flight_rows(co, STORE_SYNC);
    TAILQ_INSERT_TAIL(&co->flight->waiters, w, link);
}

uint64_t flight_append(struct core *co, struct part *pt, struct blob *batch)
{
    struct flight *g = flight_open(co, batch->n);
    struct batch_head h;

    batch_head_read(batch->p, &h);
    h.base_offset = pt->next;
    h.append_ms = g->append_ms > pt->last_append_ms ? g->append_ms : pt->last_append_ms;
    h.epoch = co->epoch;
    batch_stamp(batch->p, h.base_offset, h.append_ms, h.epoch);
    flight_add(co, g,
               &(struct append){.part = pt,
                                .batch = {.owner = batch, .p = batch->p, .n = batch->n},
                                .base = h.base_offset,
                                .count = h.count},
               &h);
    return h.base_offset;
}

void flight_add(struct core *co, struct flight *g, const struct append *item,
                const struct batch_head *h)
{
    struct part *pt = item->part;

    if (g->n == g->cap) {
        g->cap = g->cap > 0 ? g->cap * 2 : 8;
        g->items = core_realloc(g->items, g->cap, sizeof *g->items);
    }
    g->items[g->n++] = *item;
    g->os = g->os || item->os;
    g->disk = g->disk || !item->os;
    g->bytes += item->batch.n;
    co->inflight_bytes += item->batch.n;
    if (item->delayed != NULL) {
        return; /* a row, which its owner puts */
    }
    pt->next += h->count;
    pt->last_append_ms = h->append_ms;
    txn_append(g->txn, part_table(pt->topic), pt->id, h, item->batch);
}

void flight_submit(struct core *co)
{
    struct flight *g = co->flight;

    if (g == NULL) {
        return;
    }
    groups_write(co);
    delay_write(co);
    co->flight = NULL;
    co->flights_out++;
    bool want_written = g->os;
#ifdef WEIR_BUG_HW_EARLY
    want_written = true;
#endif
    struct store_txn *t = g->txn;
    g->txn = NULL; /* the store's now */
    job_submit(co, &g->job, t, g->disk ? STORE_SYNC : STORE_LAZY, want_written);
    retention_changed(co);
    retention_roll_soon(co);
}
