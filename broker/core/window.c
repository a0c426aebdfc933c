#include "broker/core/window.h"

#include "broker/core/mem.h"

enum { ROW_VERSION = 1, ROW_HEAD = 1 + 2 + 8 + 8 + 8 + 1, ROW_ENTRY = 8 + 2, FIRST_CAP = 2 };

void window_fini(struct window *w)
{
    free(w->ring);
    *w = (struct window){0};
}

static struct window_entry *slot(const struct window *w, unsigned i)
{
    return &w->ring[(w->head + i) & (w->cap - 1U)];
}

const struct window_entry *window_at(const struct window *w, unsigned i)
{
    return slot(w, i);
}

uint64_t window_oldest_seq(const struct window *w)
{
    uint64_t seq = w->next_seq;

    for (unsigned i = 0; i < w->n; i++) {
        seq -= slot(w, i)->count;
    }
    return seq;
}

uint64_t window_end_offset(const struct window *w)
{
    return w->n > 0 ? slot(w, w->n - 1U)->base_offset + slot(w, w->n - 1U)->count : w->floor;
}

enum window_verdict window_judge(const struct window *w, uint32_t base_seq, uint16_t count,
                                 uint64_t *offset)
{
    const uint32_t ahead = base_seq - (uint32_t)w->next_seq;

    if (ahead == 0) {
        return WINDOW_APPEND;
    }
    if (ahead < UINT32_C(1) << 31) {
        return WINDOW_AHEAD;
    }
    const uint64_t back = (uint32_t)w->next_seq - base_seq; /* modulo 2^32 */
    if (back > w->next_seq) {
        return WINDOW_MISFIT; /* before this producer's first record */
    }
    const uint64_t seq = w->next_seq - back;
    uint64_t at = w->next_seq;
    for (unsigned i = w->n; i > 0; i--) {
        const struct window_entry *en = slot(w, i - 1);
        at -= en->count;
        if (seq == at && count == en->count) {
            *offset = en->base_offset;
            return WINDOW_KNOWN;
        }
        if (seq >= at) {
            return WINDOW_MISFIT;
        }
    }
    return seq + count <= at ? WINDOW_FORGOTTEN : WINDOW_MISFIT;
}

static void grow(struct window *w)
{
    const unsigned cap = w->cap > 0 ? w->cap * 2U : FIRST_CAP;
    struct window_entry *ring = core_calloc(cap, sizeof *ring);

    for (unsigned i = 0; i < w->n; i++) {
        ring[i] = *slot(w, i);
    }
    free(w->ring);
    w->ring = ring;
    w->head = 0;
    w->cap = (uint8_t)cap;
}

void window_push(struct window *w, uint64_t base_offset, uint16_t count)
{
    if (w->n == LIMIT_PRODUCER_WINDOW) {
        w->floor = slot(w, 0)->base_offset + slot(w, 0)->count;
        w->head = (uint8_t)((w->head + 1U) & (w->cap - 1U));
        w->n--;
    } else if (w->n == w->cap) {
        grow(w);
    }
    *slot(w, w->n) = (struct window_entry){.base_offset = base_offset, .count = count};
    w->n++;
    w->next_seq += count;
}

void window_rollback(struct window *w, uint64_t base_offset)
{
    while (w->n > 0 && slot(w, w->n - 1U)->base_offset >= base_offset) {
        w->next_seq -= slot(w, w->n - 1U)->count;
        w->n--;
    }
}

void window_encode(const struct window *w, struct buf *out)
{
    buf_put_u8(out, ROW_VERSION);
    buf_put_be16(out, w->epoch);
    buf_put_be64(out, w->next_seq);
    buf_put_be64(out, (uint64_t)w->last_ms);
    buf_put_be64(out, w->floor);
    buf_put_u8(out, w->n);
    for (unsigned i = 0; i < w->n; i++) {
        buf_put_be64(out, slot(w, i)->base_offset);
        buf_put_be16(out, slot(w, i)->count);
    }
}

enum werr window_decode(struct window *w, struct slice row, struct werror *e)
{
    *w = (struct window){0};
    if (row.n < ROW_HEAD || row.p[0] != ROW_VERSION) {
        return werror_set(e, row.n > 0 && row.p[0] > ROW_VERSION ? WERR_FORMAT_NEWER : WERR_CORRUPT,
                          "window row of %zu bytes, version %d", row.n, row.n > 0 ? row.p[0] : -1);
    }
    const unsigned n = row.p[ROW_HEAD - 1];
    if (n > LIMIT_PRODUCER_WINDOW || row.n != ROW_HEAD + (size_t)n * ROW_ENTRY) {
        return werror_set(e, WERR_CORRUPT, "window row of %zu bytes with %u batches", row.n, n);
    }
    uint64_t records = 0;
    for (unsigned i = 0; i < n; i++) {
        const uint8_t *p = row.p + ROW_HEAD + (size_t)i * ROW_ENTRY;
        window_push(w, be64(p), be16(p + 8));
        records += be16(p + 8);
    }
    w->epoch = be16(row.p + 1);
    w->next_seq = be64(row.p + 3);
    w->last_ms = (int64_t)be64(row.p + 11);
    w->floor = be64(row.p + 19);
    if (records > w->next_seq) {
        window_fini(w);
        return werror_set(e, WERR_CORRUPT, "window row counts more records than were sent");
    }
    return WERR_OK;
}
