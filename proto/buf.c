#include "proto/buf.h"

#include <stdlib.h>

enum { BUF_FIRST = 256 };

void buf_init(struct buf *b, size_t limit)
{
    *b = (struct buf){.limit = limit};
}

void buf_fini(struct buf *b)
{
    free(b->p);
    *b = (struct buf){.limit = b->limit};
}

void buf_clear(struct buf *b)
{
    b->len = 0;
    b->failed = false;
}

bool buf_reserve(struct buf *b, size_t more)
{
    size_t want, cap;
    uint8_t *p;

    if (b->failed) {
        return false;
    }
    if (__builtin_add_overflow(b->len, more, &want) || (b->limit != 0 && want > b->limit)) {
        b->failed = true;
        return false;
    }
    if (want <= b->cap) {
        return true;
    }
    cap = b->cap == 0 ? BUF_FIRST : b->cap;
    while (cap < want) {
        cap = cap > SIZE_MAX / 2 ? want : cap * 2;
    }
    if (b->limit != 0 && cap > b->limit) {
        cap = b->limit;
    }
    p = realloc(b->p, cap);
    if (p == NULL) {
        b->failed = true;
        return false;
    }
    b->p = p;
    b->cap = cap;
    return true;
}

void buf_put(struct buf *b, const void *p, size_t n)
{
    if (n != 0 && buf_reserve(b, n)) {
        memcpy(b->p + b->len, p, n);
        b->len += n;
    }
}

void buf_put_u8(struct buf *b, uint8_t v)
{
    buf_put(b, &v, 1);
}

void buf_put_be16(struct buf *b, uint16_t v)
{
    uint8_t p[2];

    put_be16(p, v);
    buf_put(b, p, sizeof p);
}

void buf_put_be32(struct buf *b, uint32_t v)
{
    uint8_t p[4];

    put_be32(p, v);
    buf_put(b, p, sizeof p);
}

void buf_put_be64(struct buf *b, uint64_t v)
{
    uint8_t p[8];

    put_be64(p, v);
    buf_put(b, p, sizeof p);
}

void buf_consume(struct buf *b, size_t n)
{
    if (n >= b->len) {
        b->len = 0;
        return;
    }
    memmove(b->p, b->p + n, b->len - n);
    b->len -= n;
}

struct blob *blob_new(size_t n)
{
    struct blob *b;

    if (n > SIZE_MAX - sizeof *b) {
        return NULL;
    }
    b = malloc(sizeof *b + n);
    if (b != NULL) {
        atomic_init(&b->refs, 1);
        b->reserved = 0;
        b->n = n;
    }
    return b;
}

struct blob *blob_copy(const void *p, size_t n)
{
    struct blob *b = blob_new(n);

    if (b != NULL && n != 0) {
        memcpy(b->p, p, n);
    }
    return b;
}

struct blob *blob_resize(struct blob *b, size_t n)
{
    struct blob *bigger = n > SIZE_MAX - sizeof *b ? NULL : realloc(b, sizeof *b + n);

    if (bigger != NULL) {
        bigger->n = n;
    }
    return bigger;
}

struct blob *blob_ref(struct blob *b)
{
    atomic_fetch_add_explicit(&b->refs, 1, memory_order_relaxed);
    return b;
}

void blob_unref(struct blob *b)
{
    if (b != NULL && atomic_fetch_sub_explicit(&b->refs, 1, memory_order_acq_rel) == 1) {
        free(b);
    }
}
