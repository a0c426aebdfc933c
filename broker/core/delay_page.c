/*
 * The page: the near future of TABLE_DELAY, in memory.
 *
 * Happy path: it is a sorted array of rows; the first leave at their time, new ones that fall below
 * its end are inserted, and when it is half empty the next stretch is read behind its end.
 *
 * The race between that reading and new rows: a row that becomes durable behind the end while it is
 * being read may be in what comes back or not. It waits beside the page, and is added when the
 * reading is done, to where it belongs. If the end moves down meanwhile (the page was full), what
 * was read does not fit to it any more and is thrown away.
 *
 * A row must not be read while its deletion is on its way, or it would be delivered twice: rows
 * that leave lie below the end, unless the end moved below them; then nothing is read until they
 * are gone.
 *
 * What can fail: reading. It is tried again after a second.
 */
#include <assert.h>
#include <stddef.h>

#include "broker/core/delay_impl.h"
#include "broker/core/mem.h"

static const int64_t SECOND_NS = 1000000000;

bool page_covers(const struct delay_core *dc, const uint8_t *key)
{
    return dc->complete || delay_key_cmp(key, dc->end) < 0;
}

struct delayed *page_first(const struct delay_core *dc)
{
    return dc->n > 0 ? dc->page[dc->head] : NULL;
}

struct delayed *page_pop(struct delay_core *dc)
{
    struct delayed *d = dc->page[dc->head];

    dc->head++;
    dc->n--;
    dc->bytes -= d->batch.n;
    if (dc->n == 0) {
        dc->head = 0;
    }
    return d;
}

static void make_room(struct delay_core *dc)
{
    if (dc->head + dc->n < dc->cap) {
        return;
    }
    if (dc->head > dc->cap / 2) {
        memmove(dc->page, dc->page + dc->head, dc->n * sizeof(struct delayed *));
        dc->head = 0;
        return;
    }
    dc->cap = dc->cap > 0 ? 2 * dc->cap : 256;
    dc->page = core_realloc(dc->page, dc->cap, sizeof(struct delayed *));
}

void page_insert(struct delay_core *dc, struct delayed *d)
{
    make_room(dc);
    struct delayed **at = dc->page + dc->head;
    size_t lo = 0, hi = dc->n;

    if (hi > 0 && delay_key_cmp(at[hi - 1]->key, d->key) < 0) {
        lo = hi; /* the usual place */
    }
    while (lo < hi) {
        const size_t mid = lo + (hi - lo) / 2;
        const int c = delay_key_cmp(at[mid]->key, d->key);
        assert(c != 0);
        if (c < 0) {
            lo = mid + 1;
        } else {
            hi = mid;
        }
    }
    memmove(at + lo + 1, at + lo, (dc->n - lo) * sizeof(struct delayed *));
    at[lo] = d;
    dc->n++;
    dc->bytes += d->batch.n;
    d->state = DELAYED_PAGED;
}

void page_cut(struct delay_core *dc)
{
    while (dc->n > 1 && (dc->n > dc->max_rows || dc->bytes > dc->max_bytes)) {
        struct delayed *d = dc->page[dc->head + dc->n - 1];
        if (d->writes > 0) {
            return; /* its row is about to change: to be read only after that */
        }
        memcpy(dc->end, d->key, DELAY_KEY_BYTES);
        dc->complete = false;
        dc->spoiled = true;
        dc->cut_while_leaving = dc->cut_while_leaving || dc->leaving > 0;
        dc->n--;
        dc->bytes -= d->batch.n;
        delayed_free(dc, d);
    }
}

/* ---------------------------------------------------------------- rows that come beside a reading
 */

static void beside_add(struct delay_core *dc, struct delayed *d)
{
    d->state = DELAYED_BESIDE;
    TAILQ_INSERT_TAIL(&dc->beside, d, in_beside);
    dc->n_beside++;
    dc->beside_bytes += d->batch.n;
    if (dc->n_beside > dc->max_rows || dc->beside_bytes > dc->max_bytes) {
        dc->spoiled = true; /* more than the page would take: read again instead */
    }
}

/* Each goes into the page if it belongs there, else it is on disk. */
static void beside_settle(struct delay_core *dc)
{
    struct delayed *d;

    while ((d = TAILQ_FIRST(&dc->beside)) != NULL) {
        TAILQ_REMOVE(&dc->beside, d, in_beside);
        if (page_covers(dc, d->key)) {
            page_insert(dc, d);
        } else {
            delayed_free(dc, d);
        }
    }
    dc->n_beside = 0;
    dc->beside_bytes = 0;
}

void page_take(struct delay_core *dc, struct delayed *d)
{
    if (page_covers(dc, d->key)) {
        page_insert(dc, d);
        page_cut(dc);
    } else if (dc->reading && !dc->spoiled) {
        beside_add(dc, d);
    } else {
        delayed_free(dc, d);
    }
}

/* ---------------------------------------------------------------- reading */

static void take_row(struct delay_core *dc, struct slice key, struct slice value)
{
    struct delayed row;

    if (!delayed_decode(dc->co, key, value, &row)) {
        return;
    }
    if (delayed_find(dc, row.key) != NULL) {
        free(row.cancelled); /* about to arrive, or beside */
        return;
    }
    struct delayed *d = core_calloc(1, sizeof *d);
    struct blob *b = blob_copy(row.batch.p, row.batch.n);
    if (b == NULL) {
        abort();
    }
    *d = row;
    d->batch = (struct bytes){.owner = b, .p = b->p, .n = b->n};
    HASH_ADD(hh, dc->rows, key, DELAY_KEY_BYTES, d);
    page_insert(dc, d);
}

/* The least key above k. */
static void successor(uint8_t k[DELAY_KEY_BYTES])
{
    for (size_t i = DELAY_KEY_BYTES; i > 0; i--) {
        if (++k[i - 1] != 0) {
            return;
        }
    }
}

static void take_rows(struct delay_core *dc, const struct store_rows *r)
{
    struct slice key = {0}, value;
    size_t at = 0;

    while (store_rows_next(r, &at, &key, &value)) {
        take_row(dc, key, value);
    }
    if (!r->more) {
        dc->complete = true;
    } else if (key.n == DELAY_KEY_BYTES) {
        memcpy(dc->end, key.p, DELAY_KEY_BYTES);
        successor(dc->end);
    }
}

static void on_read(struct store_rows *r)
{
    struct delay_core *dc = r->arg;
    struct core *co = dc->co;

    dc->reading = false;
    if (r->rc == WERR_OK && !dc->spoiled) {
        take_rows(dc, r);
    } else if (r->rc != WERR_OK && r->rc != WERR_CLOSED) {
        core_log(co, 0, "delayed_read_failed", "code=%s text=\"%s\" action=\"again in 1 s\"",
                 werr_name(r->rc), r->err.text);
        dc->not_before_ns = core_mono_ns(co) + SECOND_NS;
    } else if (r->rc == WERR_CLOSED) {
        dc->not_before_ns = INT64_MAX; /* the store is closing */
    }
    blob_unref(r->data);
    r->data = NULL;
    beside_settle(dc);
    page_cut(dc);
    cancel_next(dc);
    delay_rearm(dc);
}

void page_read(struct delay_core *dc)
{
    struct core *co = dc->co;
    const bool low = dc->n <= dc->max_rows / 2 && dc->bytes <= dc->max_bytes / 2;

    if (dc->complete || dc->reading || !low || dc->turn != NULL || dc->cut_while_leaving ||
        core_mono_ns(co) < dc->not_before_ns) {
        return;
    }
    memcpy(dc->read_from, dc->end, DELAY_KEY_BYTES);
    dc->reading = true;
    dc->spoiled = false;
    dc->read = (struct store_rows){.table = TABLE_DELAY,
                                   .lo = slice_of(dc->read_from, DELAY_KEY_BYTES),
                                   .max_rows = (uint32_t)(dc->max_rows - dc->n),
                                   .max_bytes = (uint32_t)(dc->max_bytes - dc->bytes),
                                   .fn = on_read,
                                   .arg = dc};
    store_rows(co->st, &dc->read);
}
