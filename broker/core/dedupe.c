/*
 * Dedupe states of all producers in all partitions: found by (partition, producer), snapshotted
 * when a bucket ends, rebuilt at start from the snapshots and the headers of the active bucket.
 * A batch costs no row of its own: its header in the log is the state (SETTLED 10). Delayed batches
 * have a state apart, whose row comes with each of them (delay.c).
 *
 * A state lives at least 7 days after its producer's last batch, whatever retention does to the
 * messages; then a sweep forgets it, and its row.
 */
#include <assert.h>

#include "broker/core/core_impl.h"
#include "broker/core/mem.h"

static const int64_t LIFE_MS = INT64_C(7) * 24 * 3600 * 1000;
enum { SNAPSHOT_TXN_BYTES = 2 << 20 };

/* Of the partition number in the key of a row: the state counts delayed batches. */
static const uint32_t ROW_DELAYED = UINT32_C(1) << 31;
/* The same in the key in memory. */
static const uint64_t KEY_DELAYED = UINT64_C(1) << 32;

static struct meta_key window_key(const struct dedupe *d)
{
    const uint32_t id = d->part->id | (d->delayed ? ROW_DELAYED : 0);

    return meta_key_32_64(META_WINDOW, id, d->key.pid);
}

struct dedupe *dedupe_find(struct core *co, const struct part *pt, uint64_t pid, bool delayed)
{
    struct dedupe *d = NULL,
                  key = {.key = {.pid = pid, .part_id = pt->id | (delayed ? KEY_DELAYED : 0)}};

    HASH_FIND(hh, co->dedupes, &key.key, sizeof key.key, d);
    return d;
}

struct dedupe *dedupe_new(struct core *co, struct part *pt, uint64_t pid, bool delayed)
{
    struct dedupe *d = core_calloc(1, sizeof *d);

    d->key.pid = pid;
    d->key.part_id = pt->id | (delayed ? KEY_DELAYED : 0);
    d->delayed = delayed;
    d->part = pt;
    d->named = named_by_pid(co, pid);
    LIST_INSERT_HEAD(&pt->dedupes, d, of_part);
    if (d->named != NULL) {
        LIST_INSERT_HEAD(&d->named->dedupes, d, of_named);
    }
    HASH_ADD(hh, co->dedupes, key, sizeof d->key, d);
    return d;
}

void dedupe_free(struct core *co, struct dedupe *d)
{
    assert(d->refs == 0 || co->closing);
    if (d == co->evict_at) {
        co->evict_at = d->hh.next;
    }
    HASH_DEL(co->dedupes, d);
    LIST_REMOVE(d, of_part);
    if (d->named != NULL) {
        LIST_REMOVE(d, of_named);
    }
    if (d->in_rolling) {
        TAILQ_REMOVE(&co->rolling, d, by_change);
    } else if (d->in_changed) {
        TAILQ_REMOVE(&co->changed, d, by_change);
    }
    window_fini(&d->w);
    free(d);
}

void dedupe_hold(struct dedupe *d, enum werr code, uint64_t end)
{
    if (d->held == 0 || end > d->held_end) {
        d->held_end = end;
    }
    if (d->held == 0) {
        d->held = (uint8_t)code;
    }
}

void dedupe_changed(struct core *co, struct dedupe *d)
{
    if (!d->in_changed && !d->in_rolling) {
        TAILQ_INSERT_TAIL(&co->changed, d, by_change);
    }
    d->in_changed = true;
}

/* ---------------------------------------------------------------- snapshots */

static size_t put_row(const struct dedupe *d, struct buf *row, struct store_txn *t)
{
    const struct meta_key k = window_key(d);

    buf_clear(row);
    window_encode(&d->w, row);
    if (row->failed) { /* cov: no memory, and then we stop */
        abort();
    }
    txn_put(t, TABLE_META, key_slice(&k), buf_slice(row));
    return row->len;
}

void dedupe_put(const struct dedupe *d, struct store_txn *t)
{
    struct buf row;

    buf_init(&row, 0);
    (void)put_row(d, &row, t);
    buf_fini(&row);
}

void dedupe_rows_delete(uint32_t part_id, struct store_txn *t)
{
    for (int i = 0; i < 2; i++) {
        const struct meta_key lo = meta_key_32(META_WINDOW, part_id | (i > 0 ? ROW_DELAYED : 0));
        const struct meta_key hi = meta_key_after(&lo);
        txn_delete_range(t, TABLE_META, key_slice(&lo), key_slice(&hi));
    }
}

struct store_txn *dedupe_snapshot(struct core *co)
{
    struct store_txn *t = store_txn_new(co->st);
    struct dedupe *d;
    struct buf row;
    size_t bytes = 0;

    assert(TAILQ_EMPTY(&co->rolling));
    buf_init(&row, 0);
    while ((d = TAILQ_FIRST(&co->changed)) != NULL) {
        if (bytes > SNAPSHOT_TXN_BYTES) {
            /* A row may be older than the roll it belongs to: loading skips what it knows. */
            store_submit(co->st, t, STORE_LAZY, false, NULL, NULL);
            t = store_txn_new(co->st);
            bytes = 0;
        }
        bytes += put_row(d, &row, t);
        TAILQ_REMOVE(&co->changed, d, by_change);
        TAILQ_INSERT_TAIL(&co->rolling, d, by_change);
        d->in_changed = false;
        d->in_rolling = true;
    }
    buf_fini(&row);
    return t;
}

void dedupe_rolled(struct core *co, bool ok)
{
    struct dedupe *d;

    while ((d = TAILQ_FIRST(&co->rolling)) != NULL) {
        TAILQ_REMOVE(&co->rolling, d, by_change);
        d->in_rolling = false;
        if (d->in_changed || !ok) {
            d->in_changed = false;
            dedupe_changed(co, d);
        }
    }
}

/* ---------------------------------------------------------------- loading */

struct loader {
    struct core *co;
    struct part_list parts;
    struct werror e;
};

static enum werr load_row(void *arg, struct slice key, struct slice value)
{
    struct loader *ld = arg;

    if (key.n != 1 + 4 + 8) {
        return werror_set(&ld->e, WERR_CORRUPT, "window key of %zu bytes", key.n);
    }
    const uint32_t id = be32(key.p + 1);
    struct part *pt = part_list_find(&ld->parts, id & ~ROW_DELAYED);
    if (pt == NULL) {
        return WERR_OK; /* of a topic that is gone */
    }
    struct window w;
    const enum werr rc = window_decode(&w, value, &ld->e);
    if (rc != WERR_OK) {
        return werror_wrap(&ld->e, "partition %u, producer %llu", pt->id,
                           (unsigned long long)be64(key.p + 5));
    }
    struct dedupe *d = dedupe_new(ld->co, pt, be64(key.p + 5), (id & ROW_DELAYED) != 0);
    d->w = w;
    d->recovered = true;
    return WERR_OK;
}

static enum werr load_head(void *arg, uint32_t partition, const struct batch_head *h)
{
    struct loader *ld = arg;
    struct part *pt = part_list_find(&ld->parts, partition);

    if (pt == NULL || h->producer_id == 0) {
        return WERR_OK;
    }
    struct dedupe *d = dedupe_find(ld->co, pt, h->producer_id, false);
    if (d == NULL) {
        d = dedupe_new(ld->co, pt, h->producer_id, false);
        d->recovered = true;
    }
    if (h->base_offset < window_end_offset(&d->w)) {
        return WERR_OK; /* the snapshot has it */
    }
    if ((uint32_t)d->w.next_seq != h->base_seq) {
        /* Older batches are unknown (lost data was accepted): the window begins here. */
        window_fini(&d->w);
        d->w.next_seq = (UINT64_C(1) << 32) + h->base_seq;
    }
    window_push(&d->w, h->base_offset, h->count);
    d->w.epoch = h->producer_epoch;
    d->w.last_ms = h->append_ms;
    dedupe_changed(ld->co, d);
    return WERR_OK;
}

enum werr dedupe_load(struct core *co, struct werror *e)
{
    struct loader ld = {.co = co};
    const struct meta_key lo = meta_key(META_WINDOW), hi = meta_key_after(&lo);
    enum werr rc;

    topic_parts(co, &ld.parts);
    const struct part *last = ld.parts.n > 0 ? ld.parts.p[ld.parts.n - 1] : NULL;
    if (last != NULL && last->id >= co->next_part) {
        rc = werror_set(e, WERR_CORRUPT, "topic %.*s has partition number %u, next is %u",
                        (int)last->topic->name_n, last->topic->name, last->id, co->next_part);
        goto out;
    }
#ifdef WEIR_BUG_DEDUPE_RAM_ONLY
    rc = WERR_OK;
    (void)load_row;
    (void)load_head;
    (void)lo;
    (void)hi;
#else
    rc = store_scan(co->st, TABLE_META, key_slice(&lo), key_slice(&hi), load_row, &ld, &ld.e);
    if (rc == WERR_OK) {
        rc = store_tail(co->st, load_head, &ld, &ld.e);
    }
#endif
    if (rc != WERR_OK) {
        werror_set(e, rc, "dedupe state: %s", ld.e.text);
    }
out:
    free(ld.parts.p);
    return rc;
}

/* ---------------------------------------------------------------- forgetting */

void dedupe_evict(struct core *co, unsigned n)
{
    const int64_t now_ms = core_wall_ms(co);
    struct store_txn *t = NULL;

    if (co->wall.frozen) {
        return;
    }
    for (; n > 0 && co->dedupes != NULL; n--) {
        struct dedupe *d = co->evict_at != NULL ? co->evict_at : co->dedupes;
        co->evict_at = d->hh.next;
        if (d->refs == 0 && !d->in_rolling && now_ms - d->w.last_ms > LIFE_MS) {
            const struct meta_key k = window_key(d);
            t = t != NULL ? t : store_txn_new(co->st);
            txn_delete(t, TABLE_META, key_slice(&k));
            dedupe_free(co, d);
        }
        if (co->evict_at == NULL) {
            break; /* once round */
        }
    }
    if (t != NULL) {
        store_submit(co->st, t, STORE_LAZY, false, NULL, NULL);
    }
}
