/*
 * Cancelling delayed messages.
 *
 * Happy path: ids are names of rows; each id is judged against its row, the row is written again
 * with the message's bit set, and the answer comes when that is durable. A row in the page is
 * marked at once, so the message is either on its way to the log already, or will never be: nothing
 * is in between. A row behind the page is read first; whoever does that has the turn
 * (delay_impl.h), so that neither the page nor another cancel works on an older version of it.
 *
 * A row whose messages are all cancelled loses its content but stays until it is due: a cancel that
 * comes again, because its answer was lost, is told the same. After that nobody remembers, and the
 * answer is "delivered already", as for anything that was given out and is due.
 *
 * Many ids are done in steps, each at most STEP_BYTES of rows.
 *
 * What can fail: a full disk: the marks of this step are taken back, and the request fails as a
 * whole (what earlier steps cancelled stays so; asking again is safe). Reading: it fails.
 *
 * Who owns what: a cancel owns copies of rows behind the page; it is its own waiter.
 */
#include <stddef.h>
#include <stdio.h>

#include "broker/core/delay_impl.h"
#include "broker/core/mem.h"

enum { STEP_BYTES = 8 << 20, EPOCH_SHIFT = 40 };
static const uint64_t COUNTER_MASK = (UINT64_C(1) << EPOCH_SHIFT) - 1;

struct cancel_id {
    uint8_t key[DELAY_KEY_BYTES];
    uint32_t message;
    int64_t due_ms;
    uint64_t sequence;
    bool valid;
    bool marked; /* by this step */
};

/* A row behind the page, as read. */
struct far_row {
    UT_hash_handle hh;
    struct delayed d; /* count 0: there is none */
    bool touched;
};

struct cancel {
    TAILQ_ENTRY(cancel) in_cancels;
    struct delay_core *dc;
    struct core_cancel_rq *rq;
    struct cancel_id *ids;
    uint8_t *status;
    size_t n, done, upto; /* decided; ready to be decided */
    struct far_row *fars;
    size_t far_bytes;
    struct store_rows read;
    uint8_t read_lo[DELAY_KEY_BYTES], read_hi[DELAY_KEY_BYTES + 1];
    bool wants_turn;
    struct waiter waiter;
};

/* ---------------------------------------------------------------- ids */

size_t delay_id_text(char *out, int64_t due_ms, uint32_t p, uint64_t sequence)
{
    return (size_t)snprintf(out, LIMIT_DELAY_ID, "%llx-%u-%llx", (unsigned long long)due_ms, p,
                            (unsigned long long)sequence);
}

bool delay_id_parse(struct slice id, int64_t *due_ms, uint32_t *p, uint64_t *sequence,
                    uint32_t *message)
{
    char text[LIMIT_DELAY_ID + 1], again[LIMIT_DELAY_ID + 16];
    unsigned long long due, seq;
    unsigned part, i = 0;

    if (id.n == 0 || id.n > LIMIT_DELAY_ID) {
        return false;
    }
    memcpy(text, id.p, id.n);
    text[id.n] = '\0';
    if (message == NULL ? sscanf(text, "%16llx-%9u-%16llx", &due, &part, &seq) != 3
                        : sscanf(text, "%16llx-%9u-%16llx.%9u", &due, &part, &seq, &i) != 4) {
        return false;
    }
    if (due == 0 || due > LIMIT_UINT) {
        return false;
    }
    const size_t n = delay_id_text(again, (int64_t)due, part, seq);
    if (message != NULL) {
        (void)snprintf(again + n, sizeof again - n, ".%u", i);
        *message = i;
    }
    *due_ms = (int64_t)due;
    *p = part;
    *sequence = seq;
    return strcmp(text, again) == 0; /* no other spelling of it */
}

/* ---------------------------------------------------------------- answering */

static void fars_free(struct cancel *c)
{
    struct far_row *f;

    while ((f = c->fars) != NULL) {
        /* NOLINTNEXTLINE(clang-analyzer-*): it left its list before it was freed */
        HASH_DEL(c->fars, f);
        blob_unref(f->d.batch.owner);
        free(f->d.cancelled);
        free(f);
    }
    c->far_bytes = 0;
}

/* Gives the turn back. The page comes before the next cancel. */
static void turn_end(struct cancel *c)
{
    struct delay_core *dc = c->dc;

    if (dc->turn == c) {
        dc->turn = NULL;
        delay_rearm(dc);
        cancel_next(dc);
    }
}

static void answer(struct cancel *c)
{
    struct core_cancel_rq *rq = c->rq;

    TAILQ_REMOVE(&c->dc->cancels, c, in_cancels);
    rq->status = c->status;
    if (rq->err.code != WERR_OK) {
        free(c->status);
        rq->status = NULL;
    }
    fars_free(c);
    turn_end(c);
    free(c->ids);
    free(c);
    rq->done(rq);
}

static void fail(struct cancel *c, enum werr rc, const char *text)
{
    werror_set(&c->rq->err, rc, "%s", text);
    answer(c);
}

/* ---------------------------------------------------------------- deciding */

static struct far_row *far_find(const struct cancel *c, const uint8_t *key)
{
    struct far_row *f = NULL;

    HASH_FIND(hh, c->fars, key, DELAY_KEY_BYTES, f);
    return f;
}

/* There is no such row (any more). */
static uint8_t judge_gone(struct delay_core *dc, const struct cancel_id *id)
{
    const uint64_t epoch = id->sequence >> EPOCH_SHIFT;
    const bool given_out = epoch > 0 && epoch <= store_epoch(dc->co->st) &&
                           (id->sequence & COUNTER_MASK) < dc->counter;

    return given_out && id->due_ms <= core_wall_ms(dc->co) ? CANCEL_DELIVERED : CANCEL_UNKNOWN;
}

static uint8_t mark(struct cancel *c, struct cancel_id *id, struct delayed *d, bool *touched)
{
    if (id->message >= d->count) {
        return CANCEL_UNKNOWN;
    }
    if (!delayed_is_cancelled(d, id->message)) {
        delayed_cancel(d, id->message, true);
        id->marked = true;
        *touched = true;
        delay_count(c->dc, -1);
    }
    return CANCEL_DONE;
}

static void decide(struct cancel *c, size_t i)
{
    struct delay_core *dc = c->dc;
    struct cancel_id *id = &c->ids[i];
    struct delayed *d = id->valid ? delayed_find(dc, id->key) : NULL;
    struct far_row *f = id->valid && d == NULL ? far_find(c, id->key) : NULL;

    if (!id->valid) {
        c->status[i] = CANCEL_UNKNOWN;
    } else if (d != NULL && d->state == DELAYED_LEAVING) {
        c->status[i] = CANCEL_DELIVERED;
    } else if (d != NULL) {
        c->status[i] = mark(c, id, d, &d->touched);
        d->writes = (uint16_t)(d->writes + id->marked);
    } else if (f != NULL && f->d.count > 0) {
        c->status[i] = mark(c, id, &f->d, &f->touched);
    } else {
        c->status[i] = judge_gone(dc, id);
    }
}

static void put_row(struct core *co, const struct delayed *d, const uint8_t *key)
{
    struct buf row;

    buf_init(&row, 0);
    delayed_encode(d, &row);
    if (row.failed) {
        abort();
    }
    txn_put(flight_rows(co, STORE_SYNC), TABLE_DELAY, slice_of(key, DELAY_KEY_BYTES),
            buf_slice(&row));
    buf_fini(&row);
}

/* Rows that were touched, each once. */
static void put_rows(struct cancel *c)
{
    for (size_t i = c->done; i < c->upto; i++) {
        const struct cancel_id *id = &c->ids[i];
        struct delayed *d = id->marked ? delayed_find(c->dc, id->key) : NULL;
        struct far_row *f = id->marked && d == NULL ? far_find(c, id->key) : NULL;
        if (d != NULL && d->touched) {
            d->touched = false;
            put_row(c->dc->co, d, id->key);
        } else if (f != NULL && f->touched) {
            f->touched = false;
            put_row(c->dc->co, &f->d, id->key);
        }
    }
}

/* The step is over: its marks stay, or go. */
static void settle(struct cancel *c, bool ok)
{
    struct delay_core *dc = c->dc;

    for (size_t i = c->done; i < c->upto; i++) {
        struct cancel_id *id = &c->ids[i];
        struct delayed *d = id->marked ? delayed_find(dc, id->key) : NULL;
        if (!id->marked) {
            continue;
        }
        if (d != NULL && far_find(c, id->key) == NULL) {
            d->writes--;
            if (!ok) {
                delayed_cancel(d, id->message, false);
            }
        }
        if (ok) {
            dc->co->gstats.delayed_cancelled++;
        } else {
            delay_count(dc, 1);
        }
        id->marked = false;
    }
    c->done = c->upto;
    fars_free(c);
}

static void cancel_go(struct cancel *c);

static void step_done(struct waiter *w, enum werr rc, const struct werror *e)
{
    struct cancel *c = (struct cancel *)(void *)((uint8_t *)w - offsetof(struct cancel, waiter));

    settle(c, rc == WERR_OK);
    page_cut(c->dc);
    if (rc != WERR_OK) {
        fail(c, rc, e != NULL ? e->text : werr_text(rc));
        return;
    }
    turn_end(c);
    cancel_go(c);
}

/* Decides what is ready. What was found out may rest on flights that are under way: the answer
 * waits for them. */
static void step(struct cancel *c)
{
    struct core *co = c->dc->co;

    for (size_t i = c->done; i < c->upto; i++) {
        decide(c, i);
    }
    put_rows(c);
    if (co->flight != NULL || co->flights_out > 0) {
        c->waiter.run = step_done;
        flight_wait(co, &c->waiter);
    } else {
        step_done(&c->waiter, WERR_OK, NULL);
    }
}

/* ---------------------------------------------------------------- finding the rows */

static void on_far(struct store_rows *r)
{
    struct cancel *c = r->arg;
    struct slice key, value;
    size_t at = 0;

    if (r->rc != WERR_OK) {
        const bool closed = r->rc == WERR_CLOSED;
        fail(c, closed ? WERR_SHUTTING_DOWN : r->rc,
             closed ? werr_text(WERR_SHUTTING_DOWN) : r->err.text);
        return;
    }
    struct far_row *f = core_calloc(1, sizeof *f);
    memcpy(f->d.key, c->read_lo, DELAY_KEY_BYTES);
    if (store_rows_next(r, &at, &key, &value) && delayed_decode(c->dc->co, key, value, &f->d)) {
        f->d.batch.owner = blob_ref(r->data);
        c->far_bytes += r->data->n;
    }
    memcpy(f->d.key, c->read_lo, DELAY_KEY_BYTES);
    HASH_ADD(hh, c->fars, d.key, DELAY_KEY_BYTES, f);
    blob_unref(r->data);
    r->data = NULL;
    cancel_go(c);
}

static void read_far(struct cancel *c, const uint8_t *key)
{
    memcpy(c->read_lo, key, DELAY_KEY_BYTES);
    memcpy(c->read_hi, key, DELAY_KEY_BYTES); /* and a zero: just behind it */
    c->read = (struct store_rows){.table = TABLE_DELAY,
                                  .lo = slice_of(c->read_lo, DELAY_KEY_BYTES),
                                  .hi = slice_of(c->read_hi, DELAY_KEY_BYTES + 1),
                                  .max_rows = 1,
                                  .fn = on_far,
                                  .arg = c};
    store_rows(c->dc->co->st, &c->read);
}

static void go_on(struct waiter *w, enum werr rc, const struct werror *e)
{
    struct cancel *c = (struct cancel *)(void *)((uint8_t *)w - offsetof(struct cancel, waiter));

    if (rc != WERR_OK) {
        fail(c, rc, e != NULL ? e->text : werr_text(rc));
        return;
    }
    cancel_go(c);
}

enum where { HERE, BEHIND, IN_FLIGHT };

static enum where where_is(const struct cancel *c, const struct cancel_id *id)
{
    const struct delayed *d = id->valid ? delayed_find(c->dc, id->key) : NULL;

    if (d != NULL && d->state == DELAYED_ARRIVING) {
        return IN_FLIGHT;
    }
    if (!id->valid || (d != NULL && d->state != DELAYED_BESIDE)) {
        return HERE;
    }
    if (d == NULL && (page_covers(c->dc, id->key) || far_find(c, id->key) != NULL)) {
        return HERE;
    }
    return BEHIND;
}

/* Goes through the ids until something has to be waited for. */
static void cancel_go(struct cancel *c)
{
    struct delay_core *dc = c->dc;
    size_t i = c->done;

    c->wants_turn = false;
    if (c->done == c->n) {
        answer(c);
        return;
    }
    for (; i < c->n && c->far_bytes < STEP_BYTES; i++) {
        const enum where where = where_is(c, &c->ids[i]);
        if (where == IN_FLIGHT) {
            c->waiter.run = go_on;
            flight_wait(dc->co, &c->waiter);
            return;
        }
        if (where == BEHIND && dc->turn != c && (dc->turn != NULL || dc->reading)) {
            c->wants_turn = true;
            return;
        }
        if (where == BEHIND) {
            dc->turn = c;
            read_far(c, c->ids[i].key);
            return;
        }
    }
    c->upto = i;
    step(c);
}

void cancel_next(struct delay_core *dc)
{
    struct cancel *c;

    while (dc->turn == NULL && !dc->reading && !dc->co->closing) {
        TAILQ_FOREACH (c, &dc->cancels, in_cancels) {
            if (c->wants_turn) {
                break;
            }
        }
        if (c == NULL) {
            return;
        }
        cancel_go(c); /* takes the turn, or found out that it does not need it */
    }
}

/* ---------------------------------------------------------------- the request */

void core_delay_cancel(struct core *co, struct core_cancel_rq *rq)
{
    struct delay_core *dc = co->delay;
    struct cancel *c;
    uint32_t p;

    rq->err = (struct werror){.code = WERR_OK};
    rq->status = NULL;
    if (co->draining || co->failed || co->closing) {
        werror_set(&rq->err, WERR_SHUTTING_DOWN, "%s", werr_text(WERR_SHUTTING_DOWN));
    } else if (core_topic_by_id(co, rq->tid) == NULL) {
        werror_set(&rq->err, WERR_UNKNOWN_TOPIC, "no topic has the id %llu",
                   (unsigned long long)rq->tid);
    }
    if (rq->err.code != WERR_OK) {
        rq->done(rq);
        return;
    }
    c = core_calloc(1, sizeof *c);
    c->dc = dc;
    c->rq = rq;
    c->n = rq->n;
    c->ids = core_calloc(rq->n, sizeof *c->ids);
    c->status = core_calloc(rq->n, 1);
    for (size_t i = 0; i < rq->n; i++) {
        struct cancel_id *id = &c->ids[i];
        struct werror e;
        const struct part *pt = NULL;
        if (delay_id_parse(rq->ids[i], &id->due_ms, &p, &id->sequence, &id->message)) {
            pt = topic_part(co, rq->tid, p, false, &e);
        }
        if (pt != NULL) {
            const struct meta_key k = delay_key((uint64_t)id->due_ms, pt->id, id->sequence);
            memcpy(id->key, k.p, DELAY_KEY_BYTES);
            id->valid = true;
        }
    }
    TAILQ_INSERT_TAIL(&dc->cancels, c, in_cancels);
    cancel_go(c);
}

void cancel_fini(struct delay_core *dc)
{
    struct cancel *c;

    while ((c = TAILQ_FIRST(&dc->cancels)) != NULL) {
        /* NOLINTNEXTLINE(clang-analyzer-*): it left its list before it was freed */
        fail(c, WERR_SHUTTING_DOWN, werr_text(WERR_SHUTTING_DOWN));
    }
}
