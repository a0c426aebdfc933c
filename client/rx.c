#include "client/rx.h"

#include "proto/frame.h"

void rx_fini(struct rx *rx)
{
    blob_unref(rx->chunk);
    *rx = (struct rx){0};
}

void rx_clear(struct rx *rx)
{
    rx_fini(rx);
}

/* True when somebody else still looks at the chunk. */
static bool shared(const struct rx *rx)
{
    return atomic_load_explicit(&rx->chunk->refs, memory_order_relaxed) > 1;
}

/* Moves what is unread to the front of a chunk with room. */
static bool make_room(struct rx *rx)
{
    size_t have = rx->end - rx->start, cap = have * 2 < RX_CHUNK ? RX_CHUNK : have * 2;
    struct blob *fresh;

    if (!shared(rx) && rx->start > 0 && have * 2 <= rx->chunk->n) {
        memmove(rx->chunk->p, rx->chunk->p + rx->start, have);
    } else {
        fresh = blob_new(cap);
        if (!fresh) {
            return false;
        }
        memcpy(fresh->p, rx->chunk->p + rx->start, have);
        blob_unref(rx->chunk);
        rx->chunk = fresh;
    }
    rx->start = 0;
    rx->end = have;
    return true;
}

uint8_t *rx_space(struct rx *rx, size_t *n)
{
    if (!rx->chunk) {
        rx->chunk = blob_new(RX_CHUNK);
        if (!rx->chunk) {
            return NULL;
        }
        rx->start = rx->end = 0;
    }
    if (rx->start == rx->end && !shared(rx)) {
        rx->start = rx->end = 0;
    } else if (rx->chunk->n - rx->end < RX_CHUNK / 4 && !make_room(rx)) {
        return NULL;
    }
    *n = rx->chunk->n - rx->end;
    return rx->chunk->p + rx->end;
}

void rx_filled(struct rx *rx, size_t n)
{
    rx->end += n;
}

enum werr rx_next(struct rx *rx, size_t limit, struct slice *body, struct werror *e)
{
    size_t have = rx->end - rx->start, total;
    const uint8_t *p;
    enum werr rc;

    if (have == 0) {
        return WERR_AGAIN;
    }
    p = rx->chunk->p + rx->start;
    rc = frame_length(p, have, limit, &total, e);
    if (rc != WERR_OK) {
        return rc;
    }
    if (have < total) {
        return WERR_AGAIN;
    }
    *body = slice_of(p + FRAME_HEAD, total - FRAME_HEAD);
    rx->start += total;
    return WERR_OK;
}
