/*
 * A row of TABLE_DELAY and its struct in memory: bytes, marks of cancelled messages, the index by
 * key. What can fail: bytes from the disk, which are checked to the last before the broker signs
 * them anew; a damaged row is told once and stays where it is.
 */
#include "broker/core/delay_impl.h"
#include "broker/core/mem.h"

enum { ROW_VERSION = 1, ROW_HEAD = 1 + 2 };

int delay_key_cmp(const uint8_t *a, const uint8_t *b)
{
    return memcmp(a, b, DELAY_KEY_BYTES);
}

struct delayed *delayed_find(const struct delay_core *dc, const uint8_t *key)
{
    struct delayed *d = NULL;

    HASH_FIND(hh, dc->rows, key, DELAY_KEY_BYTES, d);
    return d;
}

void delayed_free(struct delay_core *dc, struct delayed *d)
{
    HASH_DEL(dc->rows, d);
    blob_unref(d->batch.owner);
    free(d->cancelled);
    free(d);
}

bool delayed_is_cancelled(const struct delayed *d, unsigned i)
{
    return d->cancelled != NULL && (d->cancelled[i / 8] & (1U << i % 8)) != 0;
}

void delayed_cancel(struct delayed *d, unsigned i, bool cancelled)
{
    if (d->cancelled == NULL) {
        d->cancelled = core_calloc((d->count + 7U) / 8, 1);
    }
    d->cancelled[i / 8] ^= (uint8_t)(1U << i % 8);
    d->n_cancelled = (uint16_t)(cancelled ? d->n_cancelled + 1 : d->n_cancelled - 1);
}

/* version u8 | bytes of the bitmap u16 | bitmap | batch, or its head alone when all is cancelled */
void delayed_encode(const struct delayed *d, struct buf *out)
{
    const size_t map_n = d->n_cancelled > 0 ? (d->count + 7U) / 8 : 0;

    buf_put_u8(out, ROW_VERSION);
    buf_put_be16(out, (uint16_t)map_n);
    buf_put(out, d->cancelled, map_n);
    buf_put(out, d->batch.p, delayed_live(d) > 0 ? d->batch.n : (size_t)BATCH_HEAD);
}

static bool take_bitmap(struct delayed *d, struct slice map)
{
    if (map.n == 0) {
        return true;
    }
    if (map.n != (d->count + 7U) / 8) {
        return false;
    }
    d->cancelled = core_calloc(map.n, 1);
    memcpy(d->cancelled, map.p, map.n);
    for (unsigned i = 0; i < map.n * 8; i++) {
        const bool set = (map.p[i / 8] & (1U << i % 8)) != 0;
        if (set && i >= d->count) {
            return false;
        }
        d->n_cancelled = (uint16_t)(d->n_cancelled + set);
    }
    return true;
}

static const char *decode(struct slice key, struct slice value, struct delayed *d)
{
    struct batch_head h;
    struct slice batch, run;
    uint64_t due_ms, sequence;
    struct werror e;

    if (!delay_key_parse(key, &due_ms, &d->part_id, &sequence) || due_ms > LIMIT_UINT) {
        return "key";
    }
    if (value.n < ROW_HEAD || value.p[0] != ROW_VERSION) {
        return "version";
    }
    const size_t map_n = be16(value.p + 1);
    if (value.n < ROW_HEAD + map_n + BATCH_HEAD) {
        return "length";
    }
    run = slice_of(value.p + ROW_HEAD + map_n, value.n - ROW_HEAD - map_n);
    batch_head_read(run.p, &h);
    memcpy(d->key, key.p, DELAY_KEY_BYTES);
    d->due_ms = d->visible_ms = (int64_t)due_ms;
    d->count = h.count;
    d->batch = (struct bytes){.p = run.p, .n = run.n};
    if (!take_bitmap(d, slice_of(value.p + ROW_HEAD, map_n)) || d->count == 0) {
        return "bitmap";
    }
    if (run.n == BATCH_HEAD && delayed_live(d) == 0) {
        return NULL;
    }
    if (batch_next(&run, true, &h, &batch, &e) != WERR_OK || run.n != 0) {
        return "batch";
    }
    return NULL;
}

bool delayed_decode(struct core *co, struct slice key, struct slice value, struct delayed *d)
{
    *d = (struct delayed){.co = co};
    const char *what = decode(key, value, d);

    if (what != NULL) {
        core_log(co, 0, "delayed_row_damaged",
                 "what=%s due_ms=%lld partition=%u action=\"it stays, undelivered\"", what,
                 (long long)d->due_ms, d->part_id);
        free(d->cancelled);
        d->cancelled = NULL;
    }
    return what == NULL;
}
