/*
 * Delayed messages: what keeps them, and what moves them into the log at their time.
 *
 * Happy path: core_produce checks the batch as any other and calls delay_keep, which puts it into
 * the open flight as a row. When that is durable the row goes into the page if it falls below the
 * page's end, else it stays on disk alone. A timer fires at the first due time; rows that are due
 * are appended as batches of the broker's own, and deleted in the same flight: never lost, never
 * doubled.
 *
 * What can fail: a full disk (the flight did not happen: a new batch is refused, a due one comes
 * again after a second), a row that cannot be read (logged, it stays where it is). A topic that was
 * deleted leaves its rows behind: they are dropped when they are due.
 *
 * Time: due times are wall time; the steady clock of the core (walltime.h) is what they are
 * compared with, so a jump of the wall clock delivers nothing early.
 *
 * Who owns what: delay_core owns every struct delayed; a row that leaves is also its own waiter.
 */
#include "broker/core/delay_impl.h"

#include <assert.h>
#include <stddef.h>

#include "broker/core/mem.h"
#include "broker/core/moved.h"
#include "proto/killpoint.h"

enum { STATE_VERSION = 1, STATE_BYTES = 1 + 8 + 8 };
enum { EPOCH_SHIFT = 40 }; /* of a sequence: epoch of the store above, counter below */
static const int64_t SECOND_NS = 1000000000, NS_PER_MS = 1000000, BUSY_NS = 10000000;

/* ---------------------------------------------------------------- figures */

void delay_count(struct delay_core *dc, int64_t messages)
{
    dc->pending += (uint64_t)messages;
    dc->co->gstats.delayed_pending = dc->pending;
    dc->dirty = true;
}

/*
 * The count of waiting messages is a row that goes with every flight that changes it: exact after a
 * crash without reading the table, which a count in the background would have to, for minutes with
 * ten million rows. It costs 18 bytes per flight.
 */
void delay_write(struct core *co)
{
    struct delay_core *dc = co->delay;
    const struct meta_key k = meta_key(META_DELAYED);
    uint8_t row[STATE_BYTES];

    if (dc == NULL || !dc->dirty) {
        return;
    }
    dc->dirty = false;
    row[0] = STATE_VERSION;
    put_be64(row + 1, dc->counter);
    put_be64(row + 9, dc->pending);
    txn_put(flight_rows(co, STORE_LAZY), TABLE_META, key_slice(&k), slice_of(row, sizeof row));
}

static void count_late(struct core *co, const struct delayed *d)
{
    static const int64_t limits_ms[CORE_LATE_BUCKETS - 1] = {1,   2,   5,   10,   20,   50,
                                                             100, 200, 500, 1000, 10000};
    int64_t late_ms = core_wall_ms(co) - d->visible_ms;
    unsigned i = 0;

    late_ms = late_ms > 0 ? late_ms : 0;
    while (i < CORE_LATE_BUCKETS - 1 && late_ms > limits_ms[i]) {
        i++;
    }
    co->gstats.late[i]++;
    co->gstats.late_ms_total += (uint64_t)late_ms;
    co->gstats.delayed_delivered += d->left;
}

/* ---------------------------------------------------------------- keeping */

enum werr delay_check(struct core *co, struct core_produce *rq)
{
    const int64_t ahead_ms = rq->deliver_at_ms - core_wall_ms(co);

    if (rq->deliver_at_ms < 0) {
        return werror_set(&rq->err, WERR_MALFORMED, "deliver_at before 1970");
    }
    if (ahead_ms > LIMIT_DELAY_MS) {
        return werror_set(&rq->err, WERR_TOO_LARGE,
                          "deliver_at is %lld ms ahead, limit %lld (366 days)", (long long)ahead_ms,
                          (long long)LIMIT_DELAY_MS);
    }
    return WERR_OK;
}

void delay_name(const struct part *pt, uint64_t sequence, struct core_produce *rq)
{
    const size_t n = delay_id_text(rq->delay_text, rq->deliver_at_ms, pt->p, sequence);

    rq->ok.delay_id = slice_of(rq->delay_text, n);
}

bool delay_arriving(struct core *co, const struct part *pt, uint64_t sequence,
                    const struct core_produce *rq)
{
    const struct meta_key k = delay_key((uint64_t)rq->deliver_at_ms, pt->id, sequence);
    const struct delayed *d = delayed_find(co->delay, k.p);

    return d != NULL && d->state == DELAYED_ARRIVING;
}

uint64_t delay_keep(struct core *co, struct part *pt, struct dedupe *dedupe, struct batch_head *h,
                    struct core_produce *rq, struct bytes batch)
{
    struct delay_core *dc = co->delay;
    struct flight *g = flight_open(co, batch.n);
    struct delayed *d = core_calloc(1, sizeof *d);
    const uint64_t sequence = store_epoch(co->st) << EPOCH_SHIFT | dc->counter++;
    const struct meta_key k = delay_key((uint64_t)rq->deliver_at_ms, pt->id, sequence);
    struct buf row;

    h->append_ms = g->append_ms;
    h->base_offset = sequence;
    /* a head with a checksum, so that damage on disk is found before the broker signs it anew */
    batch_stamp((uint8_t *)(uintptr_t)batch.p, 0, h->append_ms, co->epoch);
    d->co = co;
    memcpy(d->key, k.p, DELAY_KEY_BYTES);
    d->part_id = pt->id;
    d->due_ms = rq->deliver_at_ms;
    d->visible_ms = d->due_ms > h->append_ms ? d->due_ms : h->append_ms;
    d->count = h->count;
    d->batch = batch;
    blob_ref(batch.owner);
    d->state = DELAYED_ARRIVING;
    HASH_ADD(hh, dc->rows, key, DELAY_KEY_BYTES, d);
    flight_add(co, g,
               &(struct append){.part = pt,
                                .dedupe = dedupe,
                                .rq = rq,
                                .batch = batch,
                                .base = sequence,
                                .count = h->count,
                                .os = pt->topic->conf.durability == TOPIC_DURABILITY_OS,
                                .delayed = d},
               h);
    buf_init(&row, 0);
    delayed_encode(d, &row);
    if (row.failed) {
        abort();
    }
    txn_put(g->txn, TABLE_DELAY, key_slice(&k), buf_slice(&row));
    buf_fini(&row);
    WEIR_KILLPOINT(delay_kept);
    delay_count(dc, d->count);
    return sequence;
}

void delay_stored(struct core *co, struct delayed *d)
{
    page_take(co->delay, d);
    delay_rearm(co->delay);
}

void delay_failed(struct core *co, struct delayed *d)
{
    delay_count(co->delay, -(int64_t)d->count);
    delayed_free(co->delay, d);
}

/* ---------------------------------------------------------------- delivering */

static struct delay_part *part_entry(struct delay_core *dc, uint32_t id)
{
    struct delay_part *at = NULL;

    HASH_FIND(hh, dc->parts, &id, sizeof id, at);
    return at;
}

static void parts_clear(struct delay_core *dc)
{
    struct delay_part *at;

    while ((at = dc->parts) != NULL) {
        /* NOLINTNEXTLINE(clang-analyzer-*): it left its list before it was freed */
        HASH_DEL(dc->parts, at);
        free(at);
    }
}

static void parts_gather(struct delay_core *dc)
{
    const struct core *co = dc->co;

    parts_clear(dc);
    dc->parts_version = co->version;
    for (size_t i = 0; i < co->n_names; i++) {
        const struct core_topic *t = co->names[i];
        for (uint32_t p = 0; p < t->n_parts; p++) {
            struct delay_part *at = core_calloc(1, sizeof *at);
            at->id = t->parts[p]->id;
            at->p = p;
            at->tid = t->tid;
            HASH_ADD(hh, dc->parts, id, sizeof at->id, at);
        }
    }
}

struct part *delay_part_find(struct delay_core *dc, uint32_t id)
{
    const struct delay_part *at = part_entry(dc, id);
    struct werror e;

    if (at == NULL && dc->parts_version != dc->co->version) {
        parts_gather(dc); /* topics came or went */
        at = part_entry(dc, id);
    }
    if (at == NULL) {
        return NULL;
    }
    struct part *pt = topic_part(dc->co, at->tid, at->p, true, &e);
    return pt != NULL && pt->id == id ? pt : NULL;
}

/* Adds the messages that were not cancelled. */
static enum werr add_live(struct batch_builder *bb, const struct delayed *d,
                          const struct batch_head *h, struct record_iter *it)
{
    struct record_header hs[LIMIT_HEADERS];
    struct record rec;
    enum werr rc = WERR_OK;

    for (unsigned i = 0; rc == WERR_OK && record_next(it, &rec); i++) {
        size_t n = 0;
        while (n < LIMIT_HEADERS && record_header_next(&rec.headers, &hs[n].name, &hs[n].value)) {
            n++;
        }
        if (i < d->count && !delayed_is_cancelled(d, i)) {
            rc = batch_add(bb, h->base_ts_ms + rec.ts_delta_ms, rec.key, rec.value, hs, n);
        }
    }
    return rc != WERR_OK ? rc : it->err;
}

/* The batch without its cancelled messages. NULL: it could not be made. */
static struct blob *rebuilt(const struct delayed *d)
{
    const struct batch_producer nobody = {0};
    struct buf scratch = {0}, zip = {0};
    struct batch_builder bb;
    struct batch_head h;
    struct record_iter it;
    struct slice out;
    struct blob *b = NULL;
    struct werror e;

    batch_builder_init(&bb, 0);
    batch_head_read(d->batch.p, &h);
    if (record_open(&it, slice_of(d->batch.p, d->batch.n), &h, &scratch, &e) == WERR_OK &&
        add_live(&bb, d, &h, &it) == WERR_OK && bb.count == delayed_live(d) &&
        batch_finish(&bb, &nobody, h.codec, &zip, &out) == WERR_OK) {
        b = moved_batch(out);
    }
    batch_builder_fini(&bb);
    buf_fini(&scratch);
    buf_fini(&zip);
    return b;
}

static struct blob *due_batch(struct core *co, const struct delayed *d)
{
    struct blob *b = d->n_cancelled > 0 ? rebuilt(d) : NULL;

    if (b == NULL && d->n_cancelled > 0) {
        /* Nobody can read it, then, message by message: none is lost, some may come too much. */
        core_log(co, 0, "delayed_batch_unreadable", "partition=%u due_ms=%lld", d->part_id,
                 (long long)d->due_ms);
    }
    return b != NULL ? b : moved_batch(slice_of(d->batch.p, d->batch.n));
}

/* How the flight that takes it to the log ended. */
static void left(struct waiter *w, enum werr rc, const struct werror *e)
{
    struct delayed *d =
        (struct delayed *)(void *)((uint8_t *)w - offsetof(struct delayed, leaving));
    struct core *co = d->co;
    struct delay_core *dc = co->delay;

    (void)e;
    dc->leaving--;
    if (dc->leaving == 0) {
        dc->cut_while_leaving = false;
    }
    if (rc == WERR_OK) {
        WEIR_KILLPOINT(delay_durable);
        if (d->delivers) {
            count_late(co, d);
        }
        delayed_free(dc, d);
    } else if (rc == WERR_STORAGE_FULL) {
        delay_count(dc, d->left);
        dc->not_before_ns = core_mono_ns(co) + SECOND_NS;
        page_take(dc, d);
    } else {
        return; /* nobody knows: the core stops, delay_fini frees */
    }
    delay_rearm(dc);
}

/* Puts the first row of the page into the open flight, as batch and deletion. false: not now. */
static bool leave(struct delay_core *dc, struct delayed *d, size_t *bytes)
{
    struct core *co = dc->co;
    struct part *pt = delay_part_find(dc, d->part_id);
    struct blob *b = NULL;

    if (pt != NULL && pt->topic->deleting) {
        return false; /* soon known */
    }
    if (pt != NULL && delayed_live(d) > 0) {
        b = due_batch(co, d);
        if (b == NULL) {
            dc->not_before_ns = core_mono_ns(co) + SECOND_NS;
            return false; /* no memory */
        }
        *bytes += b->n;
    }
    (void)page_pop(dc);
    if (b != NULL && co->flight != NULL && co->flight->append_ms < d->due_ms) {
        flight_submit(co); /* it was begun before: its stamp would say that this came early */
    }
    if (b != NULL) {
        (void)flight_append(co, pt, b);
    }
    txn_delete(flight_rows(co, STORE_SYNC), TABLE_DELAY, slice_of(d->key, DELAY_KEY_BYTES));
    d->left = (uint16_t)delayed_live(d);
    delay_count(dc, -(int64_t)d->left);
    d->state = DELAYED_LEAVING;
    d->delivers = b != NULL;
    d->leaving.run = left;
    dc->leaving++;
    flight_wait(co, &d->leaving);
    WEIR_KILLPOINT(delay_entered);
    return true;
}

/* Nothing is appended while a flight that failed is being taken back, or onto a full disk. */
static bool may_deliver(struct delay_core *dc)
{
    struct core *co = dc->co;

    if (co->settling || store_state(co->st) == STORE_FULL) {
        dc->not_before_ns = core_mono_ns(co) + SECOND_NS;
        return false;
    }
    return core_mono_ns(co) >= dc->not_before_ns && core_accepts_produce(co);
}

static void deliver(struct delay_core *dc)
{
    struct core *co = dc->co;
    const int64_t now_ms = core_wall_ms(co);
    size_t n = 0, bytes = 0;
    struct delayed *d;

    while (n < DELAY_TICK_ROWS && bytes < DELAY_TICK_BYTES && may_deliver(dc) &&
           (d = page_first(dc)) != NULL && d->due_ms <= now_ms && leave(dc, d, &bytes)) {
        n++;
    }
}

static bool stopped(const struct core *co)
{
    return co->closing || co->draining || co->failed;
}

static void on_timer(struct timer *t)
{
    struct delay_core *dc =
        (struct delay_core *)(void *)((uint8_t *)t - offsetof(struct delay_core, timer));

    if (!stopped(dc->co)) {
        deliver(dc);
    }
    delay_rearm(dc);
}

/*
 * When the timer has to fire for the first row of the page. Not more than a second ahead: the wall
 * clock may be corrected meanwhile.
 */
static int64_t first_due_ns(struct core *co, const struct delayed *d, int64_t now_ns)
{
    const int64_t ahead_ms = d->due_ms - core_wall_ms(co);

    if (ahead_ms > SECOND_NS / NS_PER_MS) {
        return now_ns + SECOND_NS;
    }
    if (ahead_ms <= 0) {
        /* what is due and was not taken waits for the disk, or just for its turn */
        return now_ns + (core_accepts_produce(co) ? 1 : BUSY_NS);
    }
    return (d->due_ms - co->wall.offset_ms) * NS_PER_MS;
}

void delay_rearm(struct delay_core *dc)
{
    struct core *co = dc->co;

    if (stopped(co)) {
        timer_unset(&co->timers, &dc->timer);
        return;
    }
    const int64_t now_ns = core_mono_ns(co);
    int64_t due_ns = INT64_MAX;

    page_read(dc);
    const struct delayed *first = page_first(dc);
    if (first != NULL) {
        const struct part *pt = delay_part_find(dc, first->part_id);
        due_ns = first_due_ns(co, first, now_ns);
        if (pt != NULL && pt->topic->deleting && due_ns < now_ns + BUSY_NS) {
            due_ns = now_ns + BUSY_NS;
        }
    }
    if (dc->not_before_ns > now_ns && (first != NULL || !dc->complete)) {
        due_ns = due_ns < INT64_MAX && due_ns > dc->not_before_ns ? due_ns : dc->not_before_ns;
    }
    if (due_ns == INT64_MAX) {
        timer_unset(&co->timers, &dc->timer);
    } else if (!timer_is_set(&dc->timer) || dc->timer.due_mono_ns != due_ns) {
        timer_set(&co->timers, &dc->timer, due_ns);
    }
}

/* ---------------------------------------------------------------- life */

static enum werr state_load(struct delay_core *dc, struct werror *e)
{
    const struct meta_key k = meta_key(META_DELAYED);
    struct buf row;
    enum werr rc;

    buf_init(&row, 0);
    rc = store_get(dc->co->st, TABLE_META, key_slice(&k), &row, e);
    if (rc == WERR_NOT_FOUND) {
        rc = WERR_OK;
    } else if (rc == WERR_OK && (row.len != STATE_BYTES || row.p[0] != STATE_VERSION)) {
        rc = werror_set(
            e, row.len > 0 && row.p[0] > STATE_VERSION ? WERR_FORMAT_NEWER : WERR_CORRUPT,
            "row of delayed messages: %zu bytes, version %d", row.len, row.len > 0 ? row.p[0] : -1);
    } else if (rc == WERR_OK) {
        dc->counter = be64(row.p + 1);
        dc->pending = be64(row.p + 9);
    }
    buf_fini(&row);
    return rc;
}

enum werr delay_load(struct core *co, struct werror *e)
{
    struct delay_core *dc = core_calloc(1, sizeof *dc);

    dc->co = co;
    co->delay = dc;
    dc->timer.fire = on_timer;
    dc->max_rows = DELAY_PAGE_ROWS;
    dc->max_bytes = DELAY_PAGE_BYTES;
    TAILQ_INIT(&dc->beside);
    TAILQ_INIT(&dc->cancels);
    LIST_INIT(&dc->listings);
    const enum werr rc = state_load(dc, e);
    co->gstats.delayed_pending = dc->pending;
    /* The first tick reads the first stretch: a read begun here could outlive a failed open. */
    timer_set(&co->timers, &dc->timer, core_mono_ns(co));
    return rc;
}

void delay_fini(struct core *co)
{
    struct delay_core *dc = co->delay;

    if (dc == NULL) {
        return;
    }
    timer_unset(&co->timers, &dc->timer);
    cancel_fini(dc);
    listing_fini(dc);
    while (dc->rows != NULL) {
        delayed_free(dc, dc->rows);
    }
    parts_clear(dc);
    free(dc->page);
    free(dc);
    co->delay = NULL;
}
